//! The fuzz targets on stable: every seed, then deterministic mutations of it. A panic or an overrun is a finding.

#[path = "../fuzz/targets.rs"]
mod targets;

#[cfg(all(feature = "sim", feature = "ring"))]
#[path = "../fuzz/open_queue.rs"]
mod open_queue;

use std::path::Path;

/// Mutations of each seed; hours of real fuzzing are elsewhere.
const MUTATIONS: u64 = 200;

#[test]
fn seeds_and_their_mutations_end_in_a_result_or_an_error() {
    #[cfg(all(feature = "sim", feature = "ring"))]
    let more: &[(&str, targets::Target)] = &[("open_queue", open_queue::open_queue)];
    #[cfg(not(all(feature = "sim", feature = "ring")))]
    let more: &[(&str, targets::Target)] = &[];
    for (name, target) in targets::ALL.iter().chain(more) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
        let mut seeds = 0;
        for entry in std::fs::read_dir(&folder).expect("every target has a folder of seeds") {
            let seed = std::fs::read(entry.expect("the folder can be read").path()).expect("a seed can be read");
            target(&seed);
            for round in 0..MUTATIONS {
                target(&mutated(&seed, round));
            }
            seeds += 1;
        }
        assert!(seeds > 0, "{name} has no seeds");
    }
}

/// One of: flip a bit, overwrite a byte, cut, double a stretch; chosen by xorshift from the round.
fn mutated(seed: &[u8], round: u64) -> Vec<u8> {
    let mut state = round.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % (below.max(1) as u64)).expect("it is below a usize")
    };
    let mut out = seed.to_vec();
    for _ in 0..=next(3) {
        let len = out.len();
        if len == 0 {
            break;
        }
        let at = next(len);
        match next(4) {
            0 => out[at] ^= 1 << next(8),
            1 => out[at] = [0x00, 0x7f, 0x80, 0x84, 0xff, 0x30, 0xa0][next(7)],
            2 => out.truncate(at),
            _ => {
                let stretch = out[at..(at + next(32)).min(len)].to_vec();
                out.splice(at..at, stretch);
            }
        }
    }
    out
}

/// `cargo test --all-features --test fuzz_replay -- --ignored`, after `fuzz/make-seeds.sh`.
#[test]
#[ignore = "writes seeds that no outside program makes"]
fn write_the_seeds_of_scep_and_of_public_key_modes() {
    use intune_connector::crypto::{CryptoProvider, SignatureAlgorithm};
    use intune_connector::message::scep::PkiRequestBuilder;

    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let csr = std::fs::read(seeds.join("csr/rsa.der")).expect("a seed can be read");
    let transaction: intune_connector::ids::TransactionId = b"0123456789ABCDEF".to_vec().try_into().expect("a transaction identifier");
    let (rsa, ec) = (targets::fixed::rsa(), targets::fixed::ec());
    pfx_of_public_keys(&provider, &seeds.join("pfx"));
    for (name, signer, algorithm) in
        [("request-rsa.der", rsa, SignatureAlgorithm::RsaPkcs1Sha256), ("request-ec.der", ec, SignatureAlgorithm::EcdsaP256Sha256)]
    {
        let key = provider.signing_keys().expect("the slot").load(signer.key()).expect("it signs");
        let builder = PkiRequestBuilder::pkcs_req(transaction.clone(), &csr);
        let unsigned = builder.to_be_signed(signer.parsed(), rsa.parsed(), algorithm, &provider).expect("it encrypts");
        let signature = intune_connector::crypto::sign_now(&*key, algorithm, unsigned.message()).expect("it signs");
        std::fs::write(seeds.join("scep").join(name), unsigned.finish(&signature).0).expect("a seed can be written");
    }
}

/// Signed by the one fixed identity, encrypted to the other.
fn pfx_of_public_keys(provider: &intune_connector::crypto::CryptoProvider, folder: &Path) {
    use intune_connector::message::enveloped::EnvelopeBuilder;
    use intune_connector::message::signed::{SignedBuilder, SignedContent};

    let tlv = |tag: u8, parts: &[&[u8]]| {
        let contents = parts.concat();
        let length = u16::try_from(contents.len()).expect("a small file").to_be_bytes();
        [&[tag, 0x82], &length[..], &contents].concat()
    };
    let (rsa, ec) = (targets::fixed::rsa(), targets::fixed::ec());
    let key_bag = [6, 11, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1, 1];
    let bags = tlv(0x30, &[&tlv(0x30, &[&key_bag, &tlv(0xa0, &[rsa.key().secret_pkcs8_der()])])]);
    let envelope = EnvelopeBuilder::default().recipient(rsa.parsed()).build(&bags, provider).expect("it encrypts");
    let safes = tlv(0x30, &[&envelope]);
    let key = provider.signing_keys().expect("the slot").load(ec.key()).expect("it signs");
    let builder = SignedBuilder::new(SignedContent::Attached(&safes)).certificate(ec.certificate());
    let unsigned = builder.to_be_signed(ec.parsed(), key.algorithms()[0], provider).expect("it can be signed");
    let signature = intune_connector::crypto::sign_now(&*key, unsigned.algorithm(), unsigned.message()).expect("it signs");
    std::fs::write(folder.join("ec-signed-rsa-enveloped.p12"), tlv(0x30, &[&[2, 1, 3], &unsigned.finish(&signature)]))
        .expect("a seed can be written");
}
