//! Secrets do not outlive their use on the heap: an allocator looks at every block before it is freed.
//!
//! Each case runs twice. The first run plants what it meets (forms of passwords, derived keys, content keys, clear keys and safes); in the
//! second all of that is known from the start, so that a copy freed before the secret was first seen is found as well.
//! Out of reach: the stack, and what *ring* and aws-lc keep in their own form (limbs, BIGNUMs, key schedules).

#![cfg(all(feature = "ring", feature = "aws-lc-rs", feature = "legacy-ciphers"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/pki.rs"]
mod pki;
#[path = "wiping/recorder.rs"]
mod recorder;
#[path = "wiping/spy.rs"]
mod spy;
mod support;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use intune_connector::crypto::{
    AeadAlgorithm, ContentCipherAlgorithm, CryptoProvider, KeyTransportAlgorithm, UnwrapError, sign_now, unwrap_now,
};
use intune_connector::limits::{Budget, Limits};
use intune_connector::message::certificate::Certificate;
use intune_connector::message::enveloped::{EnvelopeBuilder, LegacyCiphers, Opening, decrypt_encrypted_data};
use intune_connector::message::pfx::{
    self, OpenOptions, Pbes2Cipher, PfxBuilder, PfxDigest, PfxEncryption, PfxIdentity, PfxIntegrity, PfxOpening, PfxPasswords, PfxProfile,
    PfxProtection, WindowsKeyUsage,
};
use intune_connector::message::private_key;
use intune_connector::message::reencrypt::{
    LegacyPadding, PasswordOpening, Recipient, encrypt_password, password_envelope, reencrypt, reencrypt_pfx,
};
use intune_connector::message::signed::{SignedBuilder, SignedContent};
use intune_connector::secret::{Password, PrivateKeyPkcs8, SecretBytes};
use intune_connector::terms::{KeyAlgorithm, PaddingScheme};
use pki::Identity;
use recorder::{plant, unwatched, watch};

#[global_allocator]
static ALLOCATOR: recorder::Recorder = recorder::Recorder;

const PASSWORD: &str = "planted-Pässwörd-ž😀-7731";

/// Runs the case twice and fails with every leftover that was found.
fn leaves_nothing(case: &str, action: impl Fn(&CryptoProvider)) {
    let faults = leftovers(action);
    assert!(faults.is_empty(), "{case}: {} blocks were freed with secrets in them:\n{}", faults.len(), faults.join("\n"));
}

fn leftovers(action: impl Fn(&CryptoProvider)) -> Vec<String> {
    static CASES: AtomicU64 = AtomicU64::new(1);
    let case = CASES.fetch_add(1, Ordering::Relaxed);
    let mut faults = Vec::new();
    for _ in 0..2 {
        let provider = spy::provider(case);
        faults.extend(watch(|| action(&provider)));
    }
    faults.sort();
    faults.dedup();
    faults
}

/// The forms that key derivations take (RFC 7292 appendix B.1, RFC 8018, and those of real programs).
fn plant_password(text: &str) {
    let utf16 = text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>();
    let widened = text.bytes().flat_map(|byte| [0, byte]).collect::<Vec<_>>();
    let latin1 = text.chars().map(|character| u8::try_from(u32::from(character))).collect::<Result<Vec<_>, _>>().unwrap_or_default();
    for form in [text.as_bytes(), &utf16, &widened, &latin1] {
        if form.len() >= 8 {
            plant("a form of the password", form);
        }
    }
}

fn identity(algorithm: KeyAlgorithm) -> (Identity, Identity) {
    let provider = pki::provider();
    let root = pki::root(&provider, "wiping");
    let leaf = pki::leaf(&provider, &root, "CN=leaf", algorithm, |builder| builder);
    spy::plant_pkcs8(leaf.key.secret_pkcs8_der());
    (root, leaf)
}

#[test]
fn the_recorder_finds_what_is_not_wiped() {
    plant_password(PASSWORD);
    let seen = |action: fn()| watch(action).len();
    assert_eq!(seen(|| drop(PASSWORD.as_bytes().to_vec())), 1, "a plain vector");
    assert_eq!(seen(|| drop(format!("before {PASSWORD} after"))), 1, "in the middle of another text");
    assert_eq!(seen(|| drop(PASSWORD.as_bytes()[8..].to_vec())), 1, "only the end of it");
    let grown = || {
        let mut bytes = Password::from(PASSWORD).secret_bytes().to_vec();
        bytes.reserve_exact(1_000);
        zeroize::Zeroize::zeroize(&mut bytes);
    };
    assert_eq!(seen(grown), 1, "the block that a growing vector leaves behind");
    let truncated = || {
        let mut bytes = PASSWORD.as_bytes().to_vec();
        bytes.clear();
    };
    assert_eq!(seen(truncated), 1, "beyond the length, within the capacity");
    assert_eq!(seen(|| drop(Password::from(PASSWORD))), 0, "a password wipes itself");
    recorder::clear();
    assert_eq!(seen(|| drop(PASSWORD.as_bytes().to_vec())), 0, "nothing is planted");
}

#[test]
fn every_slot_plants_what_passes_through_it() {
    let leak = |action: fn(&CryptoProvider)| {
        recorder::clear();
        leftovers(action).len()
    };
    assert!(
        leak(|provider| {
            let mut key = vec![0; 32];
            provider
                .pbkdf2()
                .unwrap()
                .derive(intune_connector::crypto::DigestAlgorithm::Sha256, b"password", b"salt", 1, &mut key)
                .unwrap();
        }) > 0
    );
    assert!(
        leak(|provider| drop(provider.key_generation().unwrap().generate(KeyAlgorithm::EcP256).unwrap().secret_pkcs8_der().to_vec())) > 0
    );
    assert!(
        leak(|provider| drop(provider.key_generation().unwrap().generate(KeyAlgorithm::Rsa2048).unwrap().secret_pkcs8_der().to_vec())) > 0
    );
}

#[test]
fn writing_and_opening_a_pfx_leaves_nothing() {
    for algorithm in [KeyAlgorithm::EcP256, KeyAlgorithm::Rsa2048] {
        let (root, leaf) = identity(algorithm);
        plant_password(PASSWORD);
        for profile in [PfxProfile::Modern, PfxProfile::Compat, PfxProfile::Pbmac1] {
            leaves_nothing(&format!("{profile:?} with {algorithm:?}"), |provider| {
                let password = Password::from(PASSWORD);
                let chain = [root.certificate.clone()];
                let builder = PfxBuilder::new(profile).key(&leaf.key).certificate(&leaf.certificate).chain(&chain).friendly_name("name");
                let file = builder.iterations(2_000).build(&password, provider).unwrap();
                let opened = pfx::open(file.secret_bytes(), &password, provider, &Limits::default()).unwrap();
                assert_eq!(opened.contents().identity().unwrap().key.key.secret_pkcs8_der(), leaf.key.secret_pkcs8_der());
                assert!(pfx::has_mac(file.secret_bytes(), &Limits::default()).unwrap());
                for wrong in ["another password", ""] {
                    assert!(pfx::open(file.secret_bytes(), &Password::from(wrong), provider, &Limits::default()).is_err());
                }
                assert!(pfx::open(file.secret_bytes(), None, provider, &Limits::default()).is_err());
                assert!(pfx::open(file.secret_bytes(), &password, provider, &limits(3_000)).is_err(), "it ends between two derivations");
            });
        }
        recorder::clear();
    }
}

#[test]
fn files_of_several_keys_and_secrets_leave_nothing_when_they_are_written_again() {
    let (root, leaf) = identity(KeyAlgorithm::EcP256);
    let (_, second) = identity(KeyAlgorithm::Rsa2048);
    plant_password(PASSWORD);
    const OTHER: &str = "another-plänted-password-9920";
    plant_password(OTHER);
    const WALLET: &[u8] = b"a planted secret of a wallet";
    plant("a secret bag", WALLET);
    let foreign = secret_in_clear(WALLET);
    let protection = PfxProtection::new(
        PfxEncryption::Pbes2 { cipher: Pbes2Cipher::Aes128Cbc, prf: PfxDigest::Sha512, iterations: 2_000 },
        PfxEncryption::Pbes2 { cipher: Pbes2Cipher::Aes192Cbc, prf: PfxDigest::Sha1, iterations: 2_000 },
        PfxIntegrity::Mac { digest: PfxDigest::Sha384, iterations: 2_000 },
    );
    for protection in [protection, PfxProtection::from(PfxProfile::Compat).iterations(2_000)] {
        leaves_nothing("several keys", |provider| {
            let (password, other) = (Password::from(PASSWORD), Password::from(OTHER));
            let secrets = pfx::open(&foreign, None, provider, &Limits::default()).unwrap();
            assert_eq!(secrets.contents().others.len(), 1);
            let chain = [root.certificate.clone()];
            let builder = PfxBuilder::new(protection)
                .identity(PfxIdentity::new(&leaf.key, &leaf.certificate).chain(&chain).windows_key_usage(WindowsKeyUsage::Exchange))
                .identity(PfxIdentity::new(&second.key, &second.certificate).friendly_name("second"))
                .contents(secrets.contents());
            let file = builder.build(PfxPasswords::separate(Some(&other), Some(&password)), provider).unwrap();
            let opened =
                pfx::open(file.secret_bytes(), PfxPasswords::separate(Some(&other), Some(&password)), provider, &Limits::default())
                    .unwrap();
            assert_eq!((opened.contents().keys.len(), opened.contents().others.len()), (2, 1));
            let again = reencrypt_pfx(&opened, PfxProtection::from(PfxProfile::Pbmac1).iterations(2_000), &other, provider).unwrap();
            assert!(again.left_out.is_empty());
            pfx::open(again.pfx.secret_bytes(), &other, provider, &Limits::default()).unwrap();
        });
    }
}

#[test]
fn opening_files_of_public_keys_leaves_nothing() {
    let (root, leaf) = identity(KeyAlgorithm::Rsa2048);
    let certificates = [&leaf.certificate, &root.certificate].map(|der| Certificate::from_der(der, &Limits::default()).unwrap());
    const WALLET: &[u8] = b"a planted secret of a wallet";
    plant("a secret bag", WALLET);
    let clear = secret_in_clear(WALLET);
    // From the AuthenticatedSafe on, the file in clear is what is enveloped; the bags stand in its last bytes.
    let bags = &clear[clear.len() - bags_len(WALLET)..];
    leaves_nothing("signed and enveloped", |provider| {
        let envelope = EnvelopeBuilder::default().recipient(&certificates[0]).build(bags, provider).unwrap();
        let safes = [&[0x30, 0x82][..], &u16::try_from(envelope.len()).unwrap().to_be_bytes(), &envelope].concat();
        let unsigned = SignedBuilder::new(SignedContent::Attached(&safes))
            .certificate(&root.certificate)
            .to_be_signed(&certificates[1], pki::algorithm_of(&*root.signer), provider)
            .unwrap();
        let signature = sign_now(&*root.signer, unsigned.algorithm(), unsigned.message()).unwrap();
        let signed = [&[2, 1, 3][..], &unsigned.finish(&signature)].concat();
        let file = [&[0x30, 0x82][..], &u16::try_from(signed.len()).unwrap().to_be_bytes(), &signed].concat();
        let options = OpenOptions::new(None).signers(&certificates[1..]);
        let key = provider.decryption_keys().unwrap().load(&leaf.key).unwrap();
        let mut budget = Budget::new(&Limits::default());
        for rejected in [false, true] {
            let mut opening = PfxOpening::parse(&file, &options, provider, &mut budget).unwrap();
            let requests = opening.unwrap_requests(&certificates[0], provider).unwrap();
            let answer = |request| if rejected { Err(UnwrapError::Rejected) } else { unwrap_now(&*key, request) };
            let opened = opening.finish(requests.iter().map(answer).collect(), provider, &mut budget);
            assert_eq!(opened.is_ok(), !rejected);
            assert!(opened.is_err() || opened.unwrap().contents().others.len() == 1);
        }
    });
}

/// How long the SafeContents of [`secret_in_clear`] are.
fn bags_len(secret: &[u8]) -> usize {
    // SafeContents, SafeBag, type, [0], SecretBag, type, [0], OCTET STRING.
    2 + 2 + 13 + 2 + 2 + 5 + 2 + 2 + secret.len()
}

/// A file without MAC that holds one secret bag in clear.
fn secret_in_clear(secret: &[u8]) -> Vec<u8> {
    const DATA: [u8; 11] = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
    const SECRET_BAG: [u8; 13] = [6, 11, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1, 5];
    let tlv = |tag: u8, parts: &[&[u8]]| [&[tag, u8::try_from(parts.concat().len()).unwrap()], &parts.concat()[..]].concat();
    let data = |contents: &[u8]| tlv(0x30, &[&DATA, &tlv(0xa0, &[&tlv(4, &[contents])])]);
    let typed = tlv(0x30, &[&[6, 3, 0x2a, 3, 4], &tlv(0xa0, &[&tlv(4, &[secret])])]);
    let bags = tlv(0x30, &[&tlv(0x30, &[&SECRET_BAG, &tlv(0xa0, &[&typed])])]);
    tlv(0x30, &[&[2, 1, 3], &data(&tlv(0x30, &[&data(&bags)]))])
}

fn limits(kdf_iterations: u64) -> Limits {
    let mut limits = Limits::default();
    limits.kdf_iterations = kdf_iterations;
    limits
}

/// Opens a file under its password and wrong ones.
fn open(der: &[u8], mac: Option<&str>, safes: Option<&str>, provider: &CryptoProvider) {
    let (mac, safes) = (mac.map(Password::from), safes.map(Password::from));
    let limits = limits(30_000);
    if let Ok(opened) = pfx::open(der, PfxPasswords::separate(mac.as_ref(), safes.as_ref()), provider, &limits) {
        for key in &opened.contents().keys {
            spy::plant_pkcs8(key.key.secret_pkcs8_der());
        }
    }
    let wrong = Password::from("a wrong password");
    let _ = pfx::open(der, PfxPasswords::separate(mac.as_ref(), Some(&wrong)), provider, &limits);
    let _ = pfx::open(der, PfxPasswords::separate(None, safes.as_ref()), provider, &limits);
}

#[test]
fn opening_the_files_of_other_programs_leaves_nothing() {
    let (mut faults, mut judged) = (Vec::new(), 0);
    let mut judge = |file: &str, der: &[u8], mac: Option<&str>, safes: Option<&str>| {
        recorder::clear();
        let plain = CryptoProvider::ring_and_aws_lc_rs();
        let password = mac.map(Password::from);
        let opened = pfx::open(der, password.as_ref(), &plain, &limits(30_000)).ok();
        for password in [mac, safes].into_iter().flatten() {
            let holds = |bytes: &[u8]| bytes.windows(password.len().max(1)).any(|part| part == password.as_bytes());
            if opened.iter().flat_map(|opened| &opened.contents().certificates).any(|certificate| holds(&certificate.der)) {
                // The password `cryptography` is also a name in the certificate, where it is no secret.
                return;
            }
            plant_password(password);
        }
        judged += 1;
        let found = leftovers(|provider| open(der, mac, safes, provider));
        faults.extend(found.into_iter().map(|what| format!("{file}: {what}")));
    };
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/pfx");
    for entry in std::fs::read_dir(seeds).unwrap() {
        let path = entry.unwrap().path();
        judge(&path.display().to_string(), &std::fs::read(&path).unwrap(), Some("pw"), Some("pw"));
    }
    if let Some(folder) = support::vectors() {
        let manifest = std::fs::read_to_string(folder.join("manifest.tsv")).unwrap();
        for columns in manifest.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>()) {
            if columns.get(8) != Some(&"pfx") || columns[4] == "reject" {
                continue;
            }
            let column = columns[2].strip_prefix("(latin1)").unwrap_or(columns[2]);
            let (mac, safes) = match column.strip_prefix("mac=").and_then(|rest| rest.split_once("|cipher=")) {
                Some((mac, safes)) => (Some(mac), Some(safes)),
                None if column == "(absent)" => (None, None),
                None => (Some(column), Some(column)),
            };
            judge(columns[0], &std::fs::read(folder.join(columns[0])).unwrap(), mac, safes);
        }
    }
    println!("{judged} files");
    assert!(judged >= 6, "the seeds are there");
    assert!(faults.is_empty(), "{} leftovers:\n{}", faults.len(), faults[..faults.len().min(40)].join("\n"));
}

#[test]
fn envelopes_leave_nothing() {
    let (_root, leaf) = identity(KeyAlgorithm::Rsa2048);
    let certificate = Certificate::from_der(&leaf.certificate, &Limits::default()).unwrap();
    let content = b"planted content of the envelope, long enough for several blocks of every cipher";
    plant("the content", content);
    let ciphers = [ContentCipherAlgorithm::Aes128Cbc, ContentCipherAlgorithm::Aes256Cbc, ContentCipherAlgorithm::DesEde3Cbc];
    for cipher in ciphers {
        for transport in [KeyTransportAlgorithm::RsaPkcs1v15, KeyTransportAlgorithm::RsaOaepSha256] {
            leaves_nothing(&format!("{cipher:?} {transport:?}"), |provider| {
                let builder = EnvelopeBuilder::new(cipher, transport).legacy_ciphers(LegacyCiphers::AllowTripleDes);
                let message = builder.recipient(&certificate).build(content, provider).unwrap();
                let key = provider.decryption_keys().unwrap().load(&leaf.key).unwrap();
                let open = |rejected: bool| {
                    let opening = Opening::parse(&message, &Limits::default()).unwrap();
                    let mut opening = opening.legacy_ciphers(LegacyCiphers::AllowTripleDes);
                    let request = opening.unwrap_request(&certificate, provider).unwrap();
                    let unwrapped = if rejected { Err(UnwrapError::Rejected) } else { unwrap_now(&*key, &request) };
                    opening.finish(unwrapped, provider)
                };
                assert_eq!(open(false).unwrap().secret_bytes(), content);
                let _ = open(true);
                let secret = open(false).unwrap();
                reencrypt(&secret, Recipient::new(&certificate), provider).unwrap();
            });
        }
    }
}

#[test]
fn envelopes_to_curves_shared_keys_and_passwords_leave_nothing() {
    let content = b"planted content of the authenticated envelope, longer than a block";
    plant("the content", content);
    plant_password(PASSWORD);
    const KEK: &[u8; 32] = b"a planted key encryption key 32b";
    plant("a key encryption key", KEK);
    for algorithm in [KeyAlgorithm::EcP256, KeyAlgorithm::EcP384] {
        let (_root, leaf) = identity(algorithm);
        let certificate = Certificate::from_der(&leaf.certificate, &Limits::default()).unwrap();
        for authenticated in [false, true] {
            leaves_nothing(&format!("{algorithm:?}, authenticated: {authenticated}"), |provider| {
                let (kek, password) = (SecretBytes::copy_from(KEK), Password::from(PASSWORD));
                let transport = KeyTransportAlgorithm::RsaOaepSha256;
                let builder = match authenticated {
                    true => EnvelopeBuilder::authenticated(AeadAlgorithm::Aes256Gcm, transport),
                    false => EnvelopeBuilder::new(ContentCipherAlgorithm::Aes192Cbc, transport),
                };
                let builder = builder.recipient(&certificate).kek_recipient(b"id", &kek).password_recipient(&password, 1_000);
                let message = builder.build(content, provider).unwrap();
                let key = provider.decryption_keys().unwrap().load(&leaf.key).unwrap();
                let parse = || Opening::parse(&message, &Limits::default()).unwrap();
                let mut opening = parse();
                let request = opening.unwrap_request(&certificate, provider).unwrap();
                assert_eq!(opening.finish(unwrap_now(&*key, &request), provider).unwrap().secret_bytes(), content);
                assert_eq!(parse().decrypt_with_kek(b"id", &kek, provider).unwrap().secret_bytes(), content);
                assert_eq!(parse().decrypt_with_password(&password, provider).unwrap().secret_bytes(), content);
                let _ = parse().decrypt_with_kek(b"id", &SecretBytes::zeroed(32), provider);
                let _ = parse().decrypt_with_password(&Password::from("a wrong password"), provider);
                let _ = decrypt_encrypted_data(&message, &kek, LegacyCiphers::Refuse, provider, &Limits::default());
            });
        }
    }
}

#[test]
fn transported_passwords_leave_nothing() {
    let (_root, leaf) = identity(KeyAlgorithm::Rsa2048);
    let certificate = Certificate::from_der(&leaf.certificate, &Limits::default()).unwrap();
    plant_password(PASSWORD);
    for scheme in [PaddingScheme::OaepSha512, PaddingScheme::OaepSha256, PaddingScheme::Pkcs1] {
        leaves_nothing(&format!("{scheme:?}"), |provider| {
            let password = Password::from(PASSWORD);
            let legacy = LegacyPadding::DangerouslyAllowPkcs1AndOaepSha1;
            let sent = encrypt_password(provider, &leaf.spki(), scheme, legacy, &password).unwrap();
            let key = provider.decryption_keys().unwrap().load(&leaf.key).unwrap();
            let opening = PasswordOpening::new(sent, scheme, legacy, provider).unwrap();
            let unwrapped = unwrap_now(&*key, opening.unwrap_request());
            let received = opening.finish(unwrapped).unwrap();
            assert_eq!(received.password().secret_bytes(), PASSWORD.as_bytes());
            password_envelope(received.password(), Recipient::new(&certificate), provider).unwrap();
        });
    }
}

#[test]
fn loading_and_generating_keys_leaves_nothing() {
    for algorithm in [KeyAlgorithm::EcP256, KeyAlgorithm::EcP384, KeyAlgorithm::Rsa2048] {
        let fixed = unwatched(|| pki::provider().key_generation().unwrap().generate(algorithm).unwrap());
        spy::plant_pkcs8(fixed.secret_pkcs8_der());
        leaves_nothing(&format!("{algorithm:?}"), |provider| {
            let copy = PrivateKeyPkcs8::new(fixed.secret_pkcs8_der().to_vec());
            provider.signing_keys().unwrap().load(&copy).unwrap();
            let _ = provider.decryption_keys().unwrap().load(&copy);
            provider.key_generation().unwrap().generate(algorithm).unwrap();
        });
    }
}

#[test]
fn importing_keys_in_every_form_leaves_nothing() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/keys");
    let mut read = 0;
    for entry in std::fs::read_dir(seeds).unwrap() {
        let path = entry.unwrap().path();
        recorder::clear();
        let bytes = std::fs::read(&path).unwrap();
        plant_password("a wrong password");
        if let Some(text) = std::str::from_utf8(&bytes).ok().filter(|text| !text.contains("ENCRYPTED")) {
            // The text of a key is the key.
            text.lines().filter(|line| line.len() > 40 && !line.contains('-')).for_each(|line| plant("base64 of a key", line.as_bytes()));
        }
        let plain = CryptoProvider::ring_and_aws_lc_rs();
        if let Ok(key) = private_key::read(&bytes, Some(&Password::from("fuzz")), &plain, &Limits::default()) {
            spy::plant_pkcs8(key.secret_pkcs8_der());
            read += 1;
        }
        leaves_nothing(&path.display().to_string(), |provider| {
            for password in ["fuzz", "a wrong password"] {
                if let Ok(key) = private_key::read(&bytes, Some(&Password::from(password)), provider, &Limits::default()) {
                    let _ = private_key::to_cng_full_private_blob(&key);
                    provider.signing_keys().unwrap().load(&key).unwrap();
                    let _ = provider.decryption_keys().unwrap().load(&key);
                }
            }
        });
    }
    assert!(read >= 5, "the seeds hold private keys: {read}");
}

#[test]
fn the_numbers_of_a_key_blob_are_wiped_in_either_byte_order() {
    recorder::clear();
    let seed = |name: &str| std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/keys").join(name)).unwrap();
    // A stretch of each secret number, in the order of the blob and in that of machine words.
    let blob = seed("rsa.rsa3");
    for (start, len) in [(283, 128), (411, 128), (539, 128), (667, 128), (795, 128), (923, 256)] {
        let stretch = &blob[start + len / 2..start + len / 2 + 12];
        recorder::plant_exactly("a number of an RSA key", stretch);
        recorder::plant_exactly("a number of an RSA key, reversed", &stretch.iter().rev().copied().collect::<Vec<_>>());
    }
    for file in ["rsa.rsa2", "rsa.rsa3", "rsa.capi"] {
        let bytes = seed(file);
        let mut inconsistent = bytes.clone();
        if let Some(byte) = inconsistent.last_mut() {
            *byte ^= 2;
        }
        leaves_nothing(file, |provider| {
            let limits = Limits::default();
            let key = private_key::read(&bytes, None, provider, &limits).unwrap();
            let _ = private_key::to_cng_full_private_blob(&key);
            let _ = private_key::read(&inconsistent, None, provider, &limits);
        });
    }
}

#[cfg(feature = "intune")]
#[test]
fn a_call_to_intune_leaves_nothing_of_the_csr() {
    use async_trait::async_trait;
    use futures_util::FutureExt as _;
    use intune_connector::adapters::intune::{HttpAnswer, IntuneScep, ScepActions, ScepCall};
    use intune_connector::ports::{ChallengeValidator as _, PortError, ValidateRequest};

    #[derive(Debug)]
    struct Accepts;

    #[async_trait]
    impl ScepActions for Accepts {
        async fn post(&self, call: ScepCall<'_>) -> Result<HttpAnswer, PortError> {
            assert!(call.body.secret_bytes().windows(12).any(|part| part == b"UExBTlRFRC1J"), "the CSR is in the body");
            Ok(HttpAnswer::new(200, br#"{"code":"Success"}"#.to_vec(), intune_connector::time::Timestamp::default()))
        }
    }

    recorder::clear();
    let csr = rustls_pki_types::CertificateSigningRequestDer::from(&b"PLANTED-INTUNE-CHALLENGE-PLANTED-INTUNE-CHALLENGE"[..]);
    plant("the CSR in base64", b"UExBTlRFRC1JTlRVTkUtQ0hBTExFTkdFLVBMQU5URUQ");
    plant("the CSR", &csr);
    let id = intune_connector::ids::TransactionId::try_from(b"transaction".to_vec()).unwrap();
    leaves_nothing("validateRequest", |_| {
        let intune = IntuneScep::new(std::sync::Arc::new(Accepts));
        intune.validate(ValidateRequest::new(&csr, &id)).now_or_never().unwrap().unwrap();
    });
}
