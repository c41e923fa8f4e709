//! Known answers of the Wycheproof project, on each complete provider.
//!
//! Every file of the corpus is either run here or named in `NOT_USED` with its reason; a file that runs no vector fails.
#![cfg(all(feature = "ring", feature = "aws-lc-rs"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    reason = "this is a test and its helpers"
)]

#[path = "support/providers.rs"]
mod providers;
#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use intune_connector::crypto::{
    AeadAlgorithm, ContentCipherAlgorithm, CryptoProvider, DigestAlgorithm, KeyTransportAlgorithm, PssParameters, SignatureAlgorithm,
    UnwrapError, UnwrapRequest, unwrap_now,
};
use intune_connector::secret::PrivateKeyPkcs8;
use providers::{for_each_provider, unhex};
use serde_json::Value;

/// Beginnings of file names, and why no slot can run them.
const NOT_USED: &[(&str, &str)] = &[
    ("aes_ccm", "no AES-CCM slot"),
    ("ecdh_secp256r1_ecpoint", "the slot takes SubjectPublicKeyInfo, not bare points"),
    ("rsa_oaep_2048_sha224", "no OAEP with SHA-224"),
    ("rsa_oaep_2048_sha256_mgf1sha1_", "MGF1 hash differs from the OAEP hash"),
    ("rsa_oaep_2048_sha384_mgf1sha1_", "MGF1 hash differs from the OAEP hash"),
    ("rsa_oaep_2048_sha512_mgf1sha1_", "MGF1 hash differs from the OAEP hash"),
    ("rsa_oaep_2048_sha512_224", "no OAEP with SHA-512/224"),
    ("rsa_oaep_3072_sha256_mgf1sha1_", "MGF1 hash differs from the OAEP hash"),
    ("rsa_oaep_3072_sha512_256", "no OAEP with SHA-512/256"),
    ("rsa_oaep_3072_sha512_mgf1sha1_", "MGF1 hash differs from the OAEP hash"),
    ("rsa_oaep_4096_sha256_mgf1sha1_", "MGF1 hash differs from the OAEP hash"),
    ("rsa_oaep_4096_sha512_mgf1sha1_", "MGF1 hash differs from the OAEP hash"),
];

/// What became of one vector.
enum Outcome {
    /// The provider accepted it, with the expected result where there is one.
    Accepted,
    /// The provider refused it, or gave another result.
    Refused,
    /// No slot for it, for this reason.
    Skipped(&'static str),
}

use Outcome::{Accepted, Refused, Skipped};

fn accepted(yes: bool) -> Outcome {
    if yes { Accepted } else { Refused }
}

fn bytes(value: &Value, name: &str) -> Vec<u8> {
    unhex(value[name].as_str().unwrap_or_else(|| panic!("a member {name}")))
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("a member {name}"))
}

/// Runs `case(provider, group, test)` over all files whose name begins so.
fn run(prefix: &str, case: impl Fn(&CryptoProvider, &Value, &Value) -> Outcome) {
    let Some(folder) = support::vectors() else { return };
    let mut files = 0;
    for (name, json) in files_of(&folder, prefix) {
        if NOT_USED.iter().any(|(unused, _)| name.starts_with(unused)) {
            continue;
        }
        files += 1;
        for_each_provider(|provider| {
            let mut passed = 0_usize;
            let mut skipped = BTreeMap::<&str, usize>::new();
            let mut wrong = Vec::new();
            for group in json["testGroups"].as_array().expect("groups") {
                for test in group["tests"].as_array().expect("tests") {
                    let result = test["result"].as_str().expect("a result");
                    match (result, case(provider, group, test)) {
                        (_, Skipped(reason)) => *skipped.entry(reason).or_default() += 1,
                        ("valid" | "acceptable", Accepted) | ("invalid" | "acceptable", Refused) => passed += 1,
                        (_, Accepted) => wrong.push(format!("{}: accepted: {}", test["tcId"], test["comment"])),
                        (_, Refused) => wrong.push(format!("{}: refused: {}", test["tcId"], test["comment"])),
                    }
                }
            }
            println!("{name}, {}: {passed} passed, {} skipped {skipped:?}", provider.name(), skipped.values().sum::<usize>());
            assert!(wrong.is_empty(), "{name}, {}: {wrong:#?}", provider.name());
            assert!(passed > 0, "{name}: no vector ran");
        });
    }
    assert!(files > 0, "no file begins with {prefix}");
}

fn files_of(folder: &std::path::Path, prefix: &str) -> Vec<(String, Value)> {
    let mut files: Vec<_> = std::fs::read_dir(folder.join("wycheproof"))
        .expect("the folder of Wycheproof")
        .map(|entry| entry.expect("an entry").path())
        .filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)))
        .filter(|(name, _)| name.starts_with(prefix) && name.ends_with(".json"))
        .collect();
    files.sort();
    let read = |path| serde_json::from_slice(&std::fs::read(path).expect("a readable file")).expect("JSON");
    files.into_iter().map(|(name, path)| (name, read(path))).collect()
}

fn digest_of(name: &str) -> Option<DigestAlgorithm> {
    Some(match name {
        "SHA-1" => DigestAlgorithm::Sha1,
        "SHA-224" => DigestAlgorithm::Sha224,
        "SHA-256" => DigestAlgorithm::Sha256,
        "SHA-384" => DigestAlgorithm::Sha384,
        "SHA-512" => DigestAlgorithm::Sha512,
        "SHA-512/256" => DigestAlgorithm::Sha512_256,
        _ => return None,
    })
}

#[test]
fn every_file_is_run_or_named_with_a_reason() {
    const RUN: &[&str] = &[
        "aes_cbc",
        "aes_gcm",
        "aes_wrap",
        "hmac_",
        "pbkdf2_",
        "pbes2_",
        "ecdh_",
        "x25519_asn",
        "ecdsa_",
        "ed25519",
        "rsa_signature",
        "rsa_pss",
        "rsa_pkcs1",
        "rsa_oaep",
    ];
    let Some(folder) = support::vectors() else { return };
    let files = files_of(&folder, "");
    assert!(!files.is_empty());
    for (name, _) in &files {
        let reason = NOT_USED.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, reason)| reason);
        if let Some(reason) = reason {
            println!("{name}: not used: {reason}");
        }
        assert!(reason.is_some() || RUN.iter().any(|prefix| name.starts_with(prefix)), "{name} is neither run nor excused");
    }
    for (prefix, _) in NOT_USED {
        assert!(files.iter().any(|(name, _)| name.starts_with(prefix)), "{prefix} excuses nothing");
    }
}

#[test]
fn aes_cbc_agrees_with_wycheproof() {
    run("aes_cbc", |provider, group, test| {
        let algorithm = aes_cbc(number(group, "keySize") / 8);
        let slot = provider.content_cipher().unwrap();
        let (key, iv, message, ciphertext) = (bytes(test, "key"), bytes(test, "iv"), bytes(test, "msg"), bytes(test, "ct"));
        let opens = slot.decrypt(algorithm, &key, &iv, &ciphertext).is_ok_and(|plain| plain.secret_bytes() == message);
        if opens {
            assert_eq!(slot.encrypt(algorithm, &key, &iv, &message).unwrap(), ciphertext);
        }
        accepted(opens)
    });
}

fn aes_cbc(key_len: u64) -> ContentCipherAlgorithm {
    match key_len {
        16 => ContentCipherAlgorithm::Aes128Cbc,
        24 => ContentCipherAlgorithm::Aes192Cbc,
        32 => ContentCipherAlgorithm::Aes256Cbc,
        other => panic!("AES with {other} bytes"),
    }
}

#[test]
fn aes_gcm_agrees_with_wycheproof() {
    run("aes_gcm", |provider, group, test| {
        if number(group, "ivSize") != 96 {
            return Skipped("the nonce is not of 12 bytes");
        }
        let algorithm = match number(group, "keySize") {
            128 => AeadAlgorithm::Aes128Gcm,
            192 => AeadAlgorithm::Aes192Gcm,
            256 => AeadAlgorithm::Aes256Gcm,
            other => panic!("AES with {other} bits"),
        };
        let slot = provider.aead().unwrap();
        let (key, nonce, aad, message) = (bytes(test, "key"), bytes(test, "iv"), bytes(test, "aad"), bytes(test, "msg"));
        let sealed = [bytes(test, "ct"), bytes(test, "tag")].concat();
        let opens = slot.open(algorithm, &key, &nonce, &aad, &sealed).is_ok_and(|plain| plain.secret_bytes() == message);
        if opens {
            assert_eq!(slot.seal(algorithm, &key, &nonce, &aad, &message).unwrap(), sealed);
        }
        accepted(opens)
    });
}

#[test]
fn aes_key_wrap_agrees_with_wycheproof() {
    run("aes_wrap", |provider, _, test| {
        let slot = provider.key_wrap().unwrap();
        let (kek, key, wrapped) = (bytes(test, "key"), bytes(test, "msg"), bytes(test, "ct"));
        let opens = slot.unwrap(&kek, &wrapped).is_ok_and(|plain| plain.secret_bytes() == key);
        if opens {
            assert_eq!(slot.wrap(&kek, &key).unwrap(), wrapped);
        }
        accepted(opens)
    });
}

#[test]
fn hmac_agrees_with_wycheproof() {
    for (prefix, algorithm) in [
        ("hmac_sha1_", DigestAlgorithm::Sha1),
        ("hmac_sha256_", DigestAlgorithm::Sha256),
        ("hmac_sha384_", DigestAlgorithm::Sha384),
        ("hmac_sha512_", DigestAlgorithm::Sha512),
    ] {
        run(prefix, |provider, group, test| {
            let len = usize::try_from(number(group, "tagSize") / 8).unwrap();
            let message = bytes(test, "msg");
            let (first, second) = message.split_at(message.len() / 2);
            let mac = provider.hmac().unwrap().hmac(algorithm, &bytes(test, "key"), &[first, second]).unwrap();
            accepted(mac.as_ref()[..len] == bytes(test, "tag"))
        });
    }
}

fn prf_of(json_name: &str) -> DigestAlgorithm {
    let hash = json_name.split("hmacsha").nth(1).expect("a PRF in the name").split('_').next().expect("a hash");
    digest_of(&format!("SHA-{hash}")).expect("a known PRF")
}

#[test]
fn pbkdf2_agrees_with_wycheproof() {
    for hash in ["1", "224", "256", "384", "512"] {
        let prefix = format!("pbkdf2_hmacsha{hash}_");
        let prf = prf_of(&prefix);
        run(&prefix, |provider, _, test| {
            let expected = bytes(test, "dk");
            let mut out = vec![0; expected.len()];
            let iterations = u32::try_from(number(test, "iterationCount")).unwrap();
            provider.pbkdf2().unwrap().derive(prf, &bytes(test, "password"), &bytes(test, "salt"), iterations, &mut out).unwrap();
            accepted(out == expected)
        });
    }
}

#[test]
fn pbes2_schemes_agree_with_wycheproof() {
    for hash in ["1", "224", "256", "384", "512"] {
        for bits in [128, 192, 256_u64] {
            let prefix = format!("pbes2_hmacsha{hash}_aes_{bits}_");
            let prf = prf_of(&prefix);
            run(&prefix, |provider, _, test| {
                let mut key = vec![0; usize::try_from(bits / 8).unwrap()];
                let iterations = u32::try_from(number(test, "iterationCount")).unwrap();
                provider.pbkdf2().unwrap().derive(prf, &bytes(test, "password"), &bytes(test, "salt"), iterations, &mut key).unwrap();
                let slot = provider.content_cipher().unwrap();
                let plain = slot.decrypt(aes_cbc(bits / 8), &key, &bytes(test, "iv"), &bytes(test, "ct"));
                accepted(plain.is_ok_and(|plain| plain.secret_bytes() == bytes(test, "msg")))
            });
        }
    }
}

/// PKCS#8 of the EC key with this secret integer, without the public point.
fn ec_pkcs8(curve: &[u8], len: usize, secret: &[u8]) -> PrivateKeyPkcs8 {
    fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        [&[tag, u8::try_from(content.len()).unwrap()][..], &content].concat()
    }
    let significant = &secret[secret.iter().position(|byte| *byte != 0).unwrap_or(secret.len())..];
    let padded = [vec![0; len.saturating_sub(significant.len())], significant.to_vec()].concat();
    let key = tlv(0x30, &[&[2, 1, 1], &tlv(4, &[&padded])]);
    let ec_public_key = [0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    PrivateKeyPkcs8::new(tlv(0x30, &[&[2, 1, 0], &tlv(0x30, &[&ec_public_key, &tlv(6, &[curve])]), &tlv(4, &[&key])]))
}

fn agrees(provider: &CryptoProvider, key: &PrivateKeyPkcs8, test: &Value) -> Outcome {
    let key = match provider.decryption_keys().unwrap().load(key) {
        Ok(key) => key,
        Err(_) => return Skipped("the private key is refused"),
    };
    match unwrap_now(&*key, &UnwrapRequest::key_agreement(bytes(test, "public"))) {
        Ok(secret) => {
            // The ephemeral half of the slot takes what the key takes.
            let sent = provider.key_agreement().unwrap().agree_ephemeral(&bytes(test, "public"));
            accepted(secret.secret_bytes() == bytes(test, "shared") && sent.is_ok_and(|(_, sent)| sent.len() == secret.len()))
        }
        Err(UnwrapError::Rejected) => Refused,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn ecdh_agrees_with_wycheproof() {
    const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    const P384: &[u8] = &[0x2b, 0x81, 4, 0, 0x22];
    for (prefix, curve, len) in [("ecdh_secp256r1_test", P256, 32), ("ecdh_secp384r1_test", P384, 48)] {
        run(prefix, |provider, _, test| agrees(provider, &ec_pkcs8(curve, len, &bytes(test, "private")), test));
    }
    run("x25519_asn", |provider, _, test| agrees(provider, &PrivateKeyPkcs8::new(bytes(test, "private")), test));
}

fn verifies(provider: &CryptoProvider, algorithm: SignatureAlgorithm, group: &Value, test: &Value) -> Outcome {
    let slot = provider.verification().unwrap();
    accepted(slot.verify(algorithm, &bytes(group, "publicKeyDer"), &bytes(test, "msg"), &bytes(test, "sig")).is_ok())
}

#[test]
fn ecdsa_and_eddsa_verification_agree_with_wycheproof() {
    run("ecdsa_", |provider, group, test| {
        use SignatureAlgorithm as S;
        let algorithm = match (group["publicKey"]["curve"].as_str(), digest_of(group["sha"].as_str().expect("a hash"))) {
            (Some("secp256r1"), Some(DigestAlgorithm::Sha256)) => S::EcdsaP256Sha256,
            (Some("secp256r1"), Some(DigestAlgorithm::Sha384)) => S::EcdsaP256Sha384,
            (Some("secp256r1"), Some(DigestAlgorithm::Sha512)) => S::EcdsaP256Sha512,
            (Some("secp384r1"), Some(DigestAlgorithm::Sha256)) => S::EcdsaP384Sha256,
            (Some("secp384r1"), Some(DigestAlgorithm::Sha384)) => S::EcdsaP384Sha384,
            (Some("secp384r1"), Some(DigestAlgorithm::Sha512)) => S::EcdsaP384Sha512,
            (Some("secp521r1"), Some(DigestAlgorithm::Sha256)) => S::EcdsaP521Sha256,
            (Some("secp521r1"), Some(DigestAlgorithm::Sha384)) => S::EcdsaP521Sha384,
            (Some("secp521r1"), Some(DigestAlgorithm::Sha512)) => S::EcdsaP521Sha512,
            other => panic!("{other:?} should be excused"),
        };
        verifies(provider, algorithm, group, test)
    });
    run("ed25519", |provider, group, test| verifies(provider, SignatureAlgorithm::Ed25519, group, test));
}

#[test]
fn rsa_verification_agrees_with_wycheproof() {
    run("rsa_signature", |provider, group, test| {
        use SignatureAlgorithm as S;
        let algorithm = match digest_of(group["sha"].as_str().expect("a hash")) {
            Some(DigestAlgorithm::Sha1) => S::RsaPkcs1Sha1,
            Some(DigestAlgorithm::Sha224) => S::RsaPkcs1Sha224,
            Some(DigestAlgorithm::Sha256) => S::RsaPkcs1Sha256,
            Some(DigestAlgorithm::Sha384) => S::RsaPkcs1Sha384,
            Some(DigestAlgorithm::Sha512) => S::RsaPkcs1Sha512,
            other => panic!("{other:?} should be excused"),
        };
        verifies_with_any_rsa_key(provider, algorithm, group, test)
    });
}

/// A salt of `slen` bytes, whichever implementation the parameters lead to.
#[test]
fn rsa_pss_verification_agrees_with_wycheproof() {
    run("rsa_pss", |provider, group, test| {
        let digests = ["sha", "mgfSha"].map(|name| digest_of(group[name].as_str().expect("a hash")));
        let [Some(digest), Some(mask_digest)] = digests else { return Skipped("no such digest slot") };
        let salt_len = u16::try_from(number(group, "sLen")).expect("a salt length");
        let algorithm = SignatureAlgorithm::rsa_pss(PssParameters { digest, mask_digest, salt_len });
        verifies_with_any_rsa_key(provider, algorithm, group, test)
    });
}

/// Both ways to verify say the same, except for a key under 2048 bits, which the one refuses and the other exists for.
fn verifies_with_any_rsa_key(provider: &CryptoProvider, algorithm: SignatureAlgorithm, group: &Value, test: &Value) -> Outcome {
    let (spki, message, signature) = (bytes(group, "publicKeyDer"), bytes(test, "msg"), bytes(test, "sig"));
    let slot = provider.verification().unwrap();
    let second = slot.dangerous_verify_with_short_rsa_key(algorithm, &spki, &message, &signature).is_ok();
    let first = slot.verify(algorithm, &spki, &message, &signature).is_ok();
    if number(group, "keySize") < 2048 {
        assert!(!first, "a short key is refused");
    } else {
        assert_eq!(first, second, "tcId {}", test["tcId"]);
    }
    accepted(second)
}

fn decrypts(provider: &CryptoProvider, algorithm: KeyTransportAlgorithm, group: &Value, test: &Value) -> Outcome {
    let key = PrivateKeyPkcs8::new(bytes(group, "privateKeyPkcs8"));
    let key = provider.decryption_keys().unwrap().load(&key).unwrap();
    match unwrap_now(&*key, &UnwrapRequest::new(algorithm, bytes(test, "ct"))) {
        Ok(plain) => accepted(plain.secret_bytes() == bytes(test, "msg")),
        Err(UnwrapError::Rejected) => Refused,
        Err(other) => panic!("only one failure is allowed: {other:?}"),
    }
}

#[test]
fn rsa_pkcs1_decryption_agrees_with_wycheproof() {
    run("rsa_pkcs1", |provider, group, test| decrypts(provider, KeyTransportAlgorithm::RsaPkcs1v15, group, test));
}

#[test]
fn rsa_oaep_decryption_agrees_with_wycheproof() {
    run("rsa_oaep", |provider, group, test| {
        assert_eq!(group["sha"], group["mgfSha"]);
        let algorithm = match digest_of(group["sha"].as_str().expect("a hash")) {
            Some(DigestAlgorithm::Sha1) => KeyTransportAlgorithm::RsaOaepSha1,
            Some(DigestAlgorithm::Sha256) => KeyTransportAlgorithm::RsaOaepSha256,
            Some(DigestAlgorithm::Sha384) => KeyTransportAlgorithm::RsaOaepSha384,
            Some(DigestAlgorithm::Sha512) => KeyTransportAlgorithm::RsaOaepSha512,
            other => panic!("OAEP with {other:?} should be excused"),
        };
        if !bytes(test, "label").is_empty() {
            return Skipped("OAEP labels are not used");
        }
        decrypts(provider, algorithm, group, test)
    });
}
