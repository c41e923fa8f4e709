//! No input costs more than its limits say: 64 MiB of heap above what is held before, a second of processor time (measured without
//! optimisation), and key derivation within `Limits::kdf_iterations`.

#![cfg(all(feature = "ring", feature = "aws-lc-rs", feature = "legacy-ciphers", feature = "scrypt"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "memory_bound/meter.rs"]
mod meter;
#[path = "support/pki.rs"]
mod pki;
mod support;

use std::path::Path;
use std::time::Duration;

use intune_connector::crypto::CryptoProvider;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::crl::Crl;
use intune_connector::message::csr::Csr;
use intune_connector::message::enveloped::Opening;
use intune_connector::message::pfx::{self, PfxErrorKind, PfxPasswords};
use intune_connector::message::private_key;
use intune_connector::message::public_key::RsaPublicKey;
use intune_connector::message::scep::ScepRequest;
use intune_connector::message::signed::{LegacyDigests, Signed, VerifyOptions};
use intune_connector::secret::{Password, PrivateKeyPkcs8};
use intune_connector::terms::KeyAlgorithm;
use meter::{Cost, measure};

#[global_allocator]
static ALLOCATOR: meter::Counting = meter::Counting;

const HEAP: usize = 64 << 20;
const SECOND: Duration = Duration::from_secs(1);

/// `None` when the cost is within bounds.
fn excess(cost: Cost) -> Option<String> {
    let work = Limits::default().kdf_iterations;
    (cost.heap > HEAP || cost.work > work || cost.time > SECOND)
        .then(|| format!("{} bytes of heap, {} units, {:?}", cost.heap, cost.work, cost.time))
}

fn within_bounds(what: &str, action: impl FnOnce(&CryptoProvider)) {
    let ((), cost) = measure(action);
    if let Some(excess) = excess(cost) {
        panic!("{what}: {excess}");
    }
}

struct Row {
    file: String,
    passwords: (Option<Password>, Option<Password>),
    expected: String,
    kind: String,
}

fn rows(folder: &Path) -> Vec<Row> {
    let manifest = std::fs::read_to_string(folder.join("manifest.tsv")).unwrap();
    let rows = manifest.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>()).filter(|row| row.len() > 8);
    let password = |column: &str| {
        if column == "(absent)" {
            return (None, None);
        }
        if let Some((mac, safes)) = column.strip_prefix("mac=").and_then(|rest| rest.split_once("|cipher=")) {
            return (Some(mac.into()), Some(safes.into()));
        }
        let one = column.strip_prefix("(latin1)").unwrap_or(column);
        (Some(one.into()), Some(one.into()))
    };
    rows.map(|row| Row { file: row[0].clone(), passwords: password(&row[2]), expected: row[4].clone(), kind: row[8].clone() }).collect()
}

#[test]
fn no_pfx_of_the_corpus_costs_more_than_its_bounds() {
    let Some(folder) = support::vectors() else { return };
    let (mut faults, mut refused, mut highest) = (Vec::new(), 0, Cost { heap: 0, time: Duration::ZERO, work: 0 });
    for row in rows(&folder).iter().filter(|row| row.kind == "pfx") {
        let der = std::fs::read(folder.join(&row.file)).unwrap();
        let passwords = PfxPasswords::separate(row.passwords.0.as_ref(), row.passwords.1.as_ref());
        let rejected = row.expected == "reject";
        let mut limits = Limits::default();
        if !rejected {
            // What opens takes the time that its iterations take; here only its memory counts.
            limits.kdf_iterations = 50_000;
        }
        let (opened, cost) = measure(|provider| pfx::open(&der, passwords, provider, &limits).is_ok());
        if rejected {
            refused += 1;
            if opened {
                faults.push(format!("{}: opened", row.file));
            }
            highest.heap = highest.heap.max(cost.heap);
            highest.time = highest.time.max(cost.time);
            highest.work = highest.work.max(cost.work);
        }
        faults.extend(excess(cost).map(|excess| format!("{} ({}): {excess}", row.file, row.expected)));
    }
    println!("{refused} files refused: at most {} bytes of heap, {} units, {:?}", highest.heap, highest.work, highest.time);
    assert!(refused > 50, "the manifest has lost its rows");
    assert!(faults.is_empty(), "{} files:\n{}", faults.len(), faults.join("\n"));
}

/// Every reader of strangers' bytes that needs no key.
fn all_readers(input: &[u8], limits: &Limits, provider: &CryptoProvider) {
    let password = Password::from("password");
    let _ = pfx::has_mac(input, limits);
    let _ = pfx::open(input, &password, provider, limits);
    let _ = Opening::parse(input, limits).map(|opening| opening.recipients().len());
    let _ = Signed::parse(input, limits).map(|signed| signed.verify(VerifyOptions::default(), provider).is_ok());
    let _ = ScepRequest::parse(input, LegacyDigests::AllowSha1, provider, limits);
    let _ = Opening::parse(input, limits).and_then(|opening| opening.decrypt_with_password(&password, provider));
    let _ = Certificate::from_der(input, limits);
    let _ = Csr::from_der(input, limits);
    let _ = Crl::from_der(input, limits);
}

#[test]
fn no_cms_message_of_the_corpus_costs_more_than_its_bounds() {
    let Some(folder) = support::vectors() else { return };
    let mut read = 0;
    for row in rows(&folder).iter().filter(|row| row.kind != "pfx") {
        let Ok(message) = std::fs::read(folder.join(&row.file)) else { continue };
        read += 1;
        within_bounds(&row.file, |provider| all_readers(&message, &Limits::default(), provider));
    }
    assert!(read > 50, "the manifest has lost its rows");
}

fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = (contents.len() as u32).to_be_bytes();
    [&[tag, 0x84], &length[..], contents].concat()
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

const DATA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
const ENCRYPTED_DATA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 6];
const SIGNED_DATA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
const ENVELOPED_DATA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 3];
const X509: &[u8] = &[6, 10, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 22, 1];
const PBES2: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13];
const PBKDF2: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 12];
const SCRYPT: &[u8] = &[6, 9, 0x2b, 6, 1, 4, 1, 0xda, 0x47, 4, 11];
const AES_256_CBC: &[u8] = &[6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 0x2a];
const FRIENDLY_NAME: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 20];

fn content(id: &[u8], value: &[u8]) -> Vec<u8> {
    sequence(&[id, &tlv(0xa0, value)])
}

fn data(contents: &[u8]) -> Vec<u8> {
    content(DATA, &tlv(4, contents))
}

/// A PFX without MAC around safes.
fn around_safes(safes: &[u8]) -> Vec<u8> {
    sequence(&[&[2, 1, 3], &data(&tlv(0x30, safes))])
}

/// A PFX without MAC around bags in one clear safe.
fn around_bags(bags: &[u8]) -> Vec<u8> {
    around_safes(&data(&tlv(0x30, bags)))
}

fn bag(arc: u8, value: &[u8], attributes: &[u8]) -> Vec<u8> {
    let id = [6, 11, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1, arc];
    sequence(&[&id, &tlv(0xa0, value), attributes])
}

fn certificate_bag(certificate: &[u8], attributes: &[u8]) -> Vec<u8> {
    bag(3, &content(X509, &tlv(4, certificate)), attributes)
}

fn encrypted_safe(kdf: &[u8]) -> Vec<u8> {
    let scheme = sequence(&[AES_256_CBC, &tlv(4, &[0; 16])]);
    let algorithm = sequence(&[PBES2, &sequence(&[kdf, &scheme])]);
    content(ENCRYPTED_DATA, &sequence(&[&[2, 1, 0], &sequence(&[DATA, &algorithm, &tlv(0x80, &[0; 64])])]))
}

/// The repetition that fills an input as large as is read at all.
fn fill(unit: &[u8]) -> Vec<u8> {
    unit.repeat(((1 << 20) - 200) / unit.len())
}

/// What an attacker repeats: the smallest elements, names with long arcs, chunks, headers that promise more than there is.
fn repeated() -> Vec<(&'static str, Vec<u8>)> {
    let long_oid = tlv(6, &[&[0x2a][..], &[0xff; 40], &[0x7f]].concat());
    let attribute = sequence(&[&[6, 3, 0x2a, 3, 4], &tlv(0x31, &[5, 0])]);
    vec![
        ("empty sequences", vec![0x30, 0]),
        ("empty indefinite sequences", vec![0x30, 0x80, 0, 0]),
        ("nulls", vec![5, 0]),
        ("short object identifiers", vec![6, 1, 0x2a]),
        ("object identifiers of long arcs", long_oid),
        ("object identifiers of many arcs", tlv(6, &[1; 1_000])),
        ("attributes", attribute),
        ("empty octet strings", vec![4, 0]),
        ("octet strings of chunks", vec![0x24, 0x80, 4, 1, 7, 0, 0]),
        ("content infos", content(DATA, &[4, 0])),
        ("bags", bag(77, &[5, 0], &[])),
        ("high tags", vec![0xbf, 0x81, 0x80, 1, 0]),
    ]
}

#[test]
fn repetitions_in_every_place_are_bounded() {
    for (what, unit) in repeated() {
        let many = fill(&unit);
        let places: [(&str, Vec<u8>); 14] = [
            ("a file", many.clone()),
            ("a sequence", tlv(0x30, &many)),
            ("safes", around_safes(&many)),
            ("bags", around_bags(&many)),
            ("a bag's value", around_bags(&bag(77, &many, &[]))),
            ("a nested safe", around_bags(&bag(6, &tlv(0x30, &many), &[]))),
            ("attributes", around_bags(&bag(77, &[5, 0], &tlv(0x31, &many)))),
            ("an attribute's values", around_bags(&bag(77, &[5, 0], &tlv(0x31, &sequence(&[FRIENDLY_NAME, &tlv(0x31, &many)]))))),
            ("a key", around_bags(&bag(1, &sequence(&[&[2, 1, 0], &many]), &[]))),
            ("a certificate", around_bags(&certificate_bag(&tlv(0x30, &many), &[]))),
            ("a constructed string", around_safes(&content(DATA, &tlv(0x24, &many)))),
            ("signed data", content(SIGNED_DATA, &sequence(&[&[2, 1, 1], &tlv(0x31, &many)]))),
            (
                "certificates of signed data",
                content(SIGNED_DATA, &sequence(&[&[2, 1, 1, 0x31, 0], &sequence(&[DATA]), &tlv(0xa0, &many), &[0x31, 0]])),
            ),
            ("enveloped data", content(ENVELOPED_DATA, &sequence(&[&[2, 1, 0], &tlv(0x31, &many)]))),
        ];
        for (place, input) in places {
            within_bounds(&format!("{what} in {place}"), |provider| all_readers(&input, &Limits::default(), provider));
        }
    }
}

#[test]
fn what_is_no_key_is_refused_as_one_within_bounds() {
    let integers = tlv(2, &[0x7f; 60]);
    let boundaries: [&[u8]; 6] =
        [b"-----", b"-----BEGIN ", b"-----BEGIN A-----\n", b"-----BEGIN A-----\n-----END A-----\n", b"-----END A-----\n", b"A: b\n"];
    let mut inputs = boundaries.map(fill).to_vec();
    inputs.extend(boundaries.map(|unit| [b"-----BEGIN PRIVATE KEY-----\n", &fill(unit)[..], b"\n-----END PRIVATE KEY-----\n"].concat()));
    inputs.extend(repeated().iter().map(|(_, unit)| sequence(&[&[2, 1, 0], &fill(unit)])));
    inputs.extend([sequence(&[&[2, 1, 0], &fill(&integers)]), sequence(&[&[2, 1, 0], &tlv(2, &[0x7f; (1 << 20) - 100])])]);
    // A key blob: how long its numbers are stands in its head.
    let head = |magic: &[u8; 4], sizes: [u32; 5]| [&magic[..], &sizes.map(u32::to_le_bytes).concat()].concat();
    for sizes in
        [[u32::MAX; 5], [4 << 20, 3, 512 << 10, 256 << 10, 256 << 10], [16_384, 3, 2_048, 1_024, 1_024], [8_000_000, 4, 1_000_000, 0, 0]]
    {
        for magic in [b"RSA1", b"RSA2", b"RSA3"] {
            inputs.push([head(magic, sizes), vec![0x7f; (1 << 20) - 100]].concat());
            inputs.push([head(magic, sizes), vec![0x7f; 9_219]].concat());
        }
    }
    for input in inputs {
        let start = input[..input.len().min(40)].to_vec();
        within_bounds(&format!("{start:02x?}"), |provider| {
            assert!(private_key::read(&input, Some(&Password::from("password")), provider, &Limits::default()).is_err());
            let _ = RsaPublicKey::read(&input);
        });
    }
}

#[test]
fn six_megabytes_of_empty_sequences_are_refused_by_size_and_by_count() {
    let input = around_bags(&[0x30, 0].repeat(3_000_000));
    within_bounds("by size", |provider| {
        let error = pfx::open(&input, None, provider, &Limits::default()).unwrap_err();
        assert_eq!(error.kind(), PfxErrorKind::LimitExceeded);
    });
    let mut limits = Limits::default();
    limits.input_bytes = 10 << 20;
    within_bounds("by count", |provider| all_readers(&input, &limits, provider));
}

#[test]
fn nesting_of_every_kind_is_bounded() {
    for (what, open, close) in [
        ("sequences", &[0x30, 0x80][..], &[0, 0][..]),
        ("strings", &[0x24, 0x80], &[0, 0]),
        ("explicit tags", &[0xa0, 0x80], &[0, 0]),
        ("sets that never end", &[0x31, 0x80], &[]),
    ] {
        for depth in [30, 63, 64, 65, 1_000, 100_000] {
            let deep = [open.repeat(depth), close.repeat(depth)].concat();
            for input in [deep.clone(), around_safes(&deep), around_bags(&deep), around_bags(&certificate_bag(&deep, &[]))] {
                within_bounds(&format!("{depth} {what}"), |provider| all_readers(&input, &Limits::default(), provider));
            }
        }
    }
    let mut definite = vec![5, 0];
    for _ in 0..3_000 {
        definite = tlv(0x30, &definite);
    }
    let safes = (0..3_000).fold(certificate_bag(&[0x30, 0], &[]), |inside, _| bag(6, &tlv(0x30, &inside), &[]));
    for input in [around_bags(&definite), around_bags(&safes)] {
        within_bounds("definite lengths", |provider| all_readers(&input, &Limits::default(), provider));
    }
}

#[test]
fn claims_of_more_than_there_is_cost_nothing() {
    for claim in
        [&[0x84, 0xff, 0xff, 0xff, 0xff][..], &[0x84, 0x7f, 0xff, 0xff, 0xff], &[0x88, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]]
    {
        for tag in [0x30, 4, 0x24, 0xa0, 6, 2] {
            let claimed = [&[tag][..], claim, &[0; 32]].concat();
            let inside = around_bags(&bag(77, &claimed, &[]));
            let cut = [&[0x30][..], claim, &around_bags(&[])[6..]].concat();
            for input in [claimed.clone(), inside, cut, around_bags(&certificate_bag(&claimed, &[]))] {
                let ((), cost) = measure(|provider| all_readers(&input, &Limits::default(), provider));
                assert!(cost.heap < 1 << 20, "{claimed:02x?}: {cost:?}");
            }
        }
    }
}

fn opened_cost(input: &[u8]) -> (Result<usize, PfxErrorKind>, Cost) {
    let password = Password::from("password");
    let open = |provider: &CryptoProvider| pfx::open(input, &password, provider, &Limits::default());
    measure(|provider| open(provider).map(|opened| opened.contents().certificates.len()).map_err(|error| error.kind()))
}

#[test]
fn scrypt_is_refused_before_it_takes_memory() {
    let integer = |value: u64| [&[2, 9, 0][..], &value.to_be_bytes()].concat();
    for (cost, block_size, parallelization) in [
        (1 << 20, 8, 1),
        (1 << 20, 1, 1),
        (1 << 10, 1 << 20, 1),
        (2, 1, 1 << 29),
        (1 << 14, 8, 1 << 20),
        (1 << 62, 8, 1),
        (u64::MAX, u64::MAX, u64::MAX),
    ] {
        let parameters = sequence(&[&tlv(4, &[1; 8]), &integer(cost), &integer(block_size), &integer(parallelization)]);
        let input = around_safes(&encrypted_safe(&sequence(&[SCRYPT, &parameters])));
        let (result, cost) = opened_cost(&input);
        assert!(result.is_err());
        assert!(cost.heap < 1 << 20 && cost.work == 0, "{cost:?}");
    }
}

#[test]
fn iterations_are_summed_over_safes_and_attempts() {
    let safe = |iterations: u32| {
        let parameters = sequence(&[&tlv(4, &[1; 8]), &tlv(2, &iterations.to_be_bytes())]);
        encrypted_safe(&sequence(&[PBKDF2, &parameters]))
    };
    let shrouded = |iterations: u32| {
        let parameters = sequence(&[&tlv(4, &[1; 8]), &tlv(2, &iterations.to_be_bytes())]);
        let algorithm = sequence(&[PBES2, &sequence(&[&sequence(&[PBKDF2, &parameters]), &sequence(&[AES_256_CBC, &tlv(4, &[0; 16])])])]);
        bag(2, &sequence(&[&algorithm, &tlv(4, &[0; 64])]), &[])
    };
    for (iterations, times) in [(5_000_001, 1), (0x7fff_ffff, 1), (100_000, 64), (1_000_000, 64), (78_126, 64)] {
        for input in [around_safes(&safe(iterations).repeat(times)), around_bags(&shrouded(iterations).repeat(times))] {
            let (result, cost) = opened_cost(&input);
            assert_eq!(result, Err(PfxErrorKind::LimitExceeded), "{iterations} {times}");
            assert_eq!(cost.work, 0, "the sum is known before anything is derived: {iterations} {times}");
            assert!(cost.heap < 1 << 20, "{iterations} {times}: {cost:?}");
        }
    }
    // What one password costs is within the limit; its other forms are charged as they are tried.
    let (result, cost) = opened_cost(&around_safes(&safe(700_000)));
    assert_eq!(result, Err(PfxErrorKind::WrongPasswordOrDamaged));
    assert!((700_000..=Limits::default().kdf_iterations).contains(&cost.work), "{cost:?}");
}

#[test]
fn password_recipients_and_encrypted_keys_are_charged_before_they_are_derived() {
    const PWRI_KEK: &[u8] = &[6, 11, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 3, 9];
    let cipher = sequence(&[AES_256_CBC, &tlv(4, &[0; 16])]);
    let parameters = |iterations: u32| sequence(&[&tlv(4, &[1; 8]), &tlv(2, &iterations.to_be_bytes())]);
    let recipient = |iterations: u32| {
        let derivation = tlv(0xa0, &[PBKDF2, &parameters(iterations)].concat());
        tlv(0xa3, &[&[2, 1, 0][..], &derivation, &sequence(&[PWRI_KEK, &cipher]), &tlv(4, &[0; 48])].concat())
    };
    for (iterations, times) in [(5_000_001, 1), (0x7fff_ffff, 1), (100_000, 64), (78_126, 64)] {
        let recipients = tlv(0x31, &recipient(iterations).repeat(times));
        let encrypted = sequence(&[DATA, &cipher, &tlv(0x80, &[0; 32])]);
        let message = content(ENVELOPED_DATA, &sequence(&[&[2, 1, 3], &recipients, &encrypted]));
        assert!(Opening::parse(&message, &Limits::default()).is_ok(), "{iterations} {times}");
        let ((), cost) = measure(|provider| all_readers(&message, &Limits::default(), provider));
        assert_eq!((excess(cost), cost.work), (None, 0), "{iterations} {times}");
        let scheme = sequence(&[PBES2, &sequence(&[&sequence(&[PBKDF2, &parameters(iterations)]), &cipher])]);
        let key = sequence(&[&scheme, &tlv(4, &[0; 64])]);
        let (_, cost) =
            measure(|provider| private_key::read(&key, Some(&Password::from("password")), provider, &Limits::default()).is_err());
        assert!(times > 1 || cost.work == 0, "{iterations}: {cost:?}");
    }
}

#[test]
fn a_friendly_name_of_a_megabyte_is_read_or_refused_within_bounds() {
    for tag in [0x1e, 0x0c, 0x14, 0x16, 0x1c, 4] {
        let name = tlv(0x31, &sequence(&[FRIENDLY_NAME, &tlv(0x31, &tlv(tag, &[0xd8; (1 << 20) - 400]))]));
        let input = around_bags(&certificate_bag(&[0x30, 0], &name));
        within_bounds("a friendly name", |provider| all_readers(&input, &Limits::default(), provider));
    }
}

#[test]
fn many_certificates_and_keys_pair_within_bounds() {
    let provider = pki::provider();
    let root = pki::root(&provider, "bound");
    let leaf = pki::leaf(&provider, &root, "CN=leaf", KeyAlgorithm::EcP256, |builder| builder);
    let one = certificate_bag(&root.certificate, &[]);
    for count in [255, 256, 257, 1_000] {
        let input =
            around_bags(&[certificate_bag(&leaf.certificate, &[]), one.repeat(count), bag(1, leaf.key.secret_pkcs8_der(), &[])].concat());
        let (result, cost) = opened_cost(&input);
        assert_eq!(result, if count < 256 { Ok(count + 1) } else { Err(PfxErrorKind::LimitExceeded) }, "{count} issuers");
        assert_eq!(excess(cost), None, "{count} issuers");
    }
    // A key that does not say its public half: the provider computes it.
    let silent = without_public_half(&leaf.key);
    let keys = bag(1, &silent, &[]).repeat(760);
    let input = around_bags(&[one.repeat(250), certificate_bag(&leaf.certificate, &[]), keys].concat());
    let (result, cost) = opened_cost(&input);
    assert_eq!(result, Ok(251));
    assert_eq!(excess(cost), None, "760 keys");
}

/// A P-256 PKCS#8 key whose `ECPrivateKey` holds the number alone.
fn without_public_half(key: &PrivateKeyPkcs8) -> Vec<u8> {
    let der = key.secret_pkcs8_der();
    let start = der.windows(5).position(|part| part == [2, 1, 1, 4, 32]).unwrap() + 5;
    let algorithm = [0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let private = [&[0x30, 37, 2, 1, 1, 4, 32][..], &der[start..start + 32]].concat();
    [&[0x30, 65, 2, 1, 0][..], &algorithm, &[4, 39], &private].concat()
}
