//! Key derivations and ciphers alone, by those who have them: what decides which backend fills a slot.

use intune_connector::crypto::{ContentCipherAlgorithm, CryptoProvider, DigestAlgorithm, pkcs12_kdf};

use crate::fixtures::PASSWORD;
use crate::{Contender, OURS, Row};

const SALT: &[u8] = b"saltsalt";
const ITERATIONS: u32 = 2_048;

type Derive = fn(&mut [u8]);

fn row(len: usize, ways: &[(&'static str, Derive)]) -> Row {
    let derive = move |way: Derive| {
        let mut out = vec![0; len];
        way(&mut out);
        out
    };
    let contenders = ways.iter().map(|(peer, way)| (*peer, *way)).map(|(peer, way)| Contender::new(peer, move || derive(way))).collect();
    let ways = ways.to_vec();
    let check = move || ways.iter().for_each(|(peer, way)| assert_eq!(derive(*way), derive(ways[0].1), "{peer}"));
    Row { contenders, check: Box::new(check) }
}

fn slot_pbkdf2(provider: &CryptoProvider, prf: DigestAlgorithm, out: &mut [u8]) {
    provider.pbkdf2().unwrap().derive(prf, PASSWORD.as_bytes(), SALT, ITERATIONS, out).unwrap();
}

pub fn pbkdf2_sha256() -> Row {
    row(
        32,
        &[
            (OURS, |out| slot_pbkdf2(&CryptoProvider::ring_and_aws_lc_rs(), DigestAlgorithm::Sha256, out)),
            ("ring", |out| slot_pbkdf2(&CryptoProvider::ring_only(), DigestAlgorithm::Sha256, out)),
            ("aws-lc-rs", |out| slot_pbkdf2(&CryptoProvider::aws_lc_rs(), DigestAlgorithm::Sha256, out)),
            ("RustCrypto pbkdf2", |out| pbkdf2::pbkdf2_hmac::<sha2::Sha256>(PASSWORD.as_bytes(), SALT, ITERATIONS, out)),
            ("openssl", |out| openssl_pbkdf2(openssl::hash::MessageDigest::sha256(), out)),
        ],
    )
}

pub fn pbkdf2_sha1() -> Row {
    row(
        32,
        &[
            (OURS, |out| slot_pbkdf2(&CryptoProvider::ring_and_aws_lc_rs(), DigestAlgorithm::Sha1, out)),
            ("ring", |out| slot_pbkdf2(&CryptoProvider::ring_only(), DigestAlgorithm::Sha1, out)),
            ("aws-lc-rs", |out| slot_pbkdf2(&CryptoProvider::aws_lc_rs(), DigestAlgorithm::Sha1, out)),
            ("RustCrypto pbkdf2", |out| pbkdf2::pbkdf2_hmac::<sha1::Sha1>(PASSWORD.as_bytes(), SALT, ITERATIONS, out)),
            ("openssl", |out| openssl_pbkdf2(openssl::hash::MessageDigest::sha1(), out)),
        ],
    )
}

fn openssl_pbkdf2(digest: openssl::hash::MessageDigest, out: &mut [u8]) {
    openssl::pkcs5::pbkdf2_hmac(PASSWORD.as_bytes(), SALT, ITERATIONS as usize, digest, out).unwrap();
}

fn slot_pkcs12(provider: &CryptoProvider, digest: DigestAlgorithm, out: &mut [u8]) {
    let bmp: Vec<u8> = PASSWORD.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect();
    pkcs12_kdf(provider.digest().unwrap(), digest, &bmp, SALT, 1, ITERATIONS, out).unwrap();
}

/// A key for 3DES: two blocks of SHA-1.
pub fn pkcs12_sha1() -> Row {
    row(
        24,
        &[
            (OURS, |out| slot_pkcs12(&CryptoProvider::ring_and_aws_lc_rs(), DigestAlgorithm::Sha1, out)),
            ("ring", |out| slot_pkcs12(&CryptoProvider::ring_only(), DigestAlgorithm::Sha1, out)),
            ("aws-lc-rs", |out| slot_pkcs12(&CryptoProvider::aws_lc_rs(), DigestAlgorithm::Sha1, out)),
            ("RustCrypto pkcs12", |out| out.copy_from_slice(&rustcrypto_pkcs12::<sha1::Sha1>(out.len()))),
        ],
    )
}

/// A key for a MAC with SHA-256: one block.
pub fn pkcs12_sha256() -> Row {
    row(
        32,
        &[
            (OURS, |out| slot_pkcs12(&CryptoProvider::ring_and_aws_lc_rs(), DigestAlgorithm::Sha256, out)),
            ("ring", |out| slot_pkcs12(&CryptoProvider::ring_only(), DigestAlgorithm::Sha256, out)),
            ("aws-lc-rs", |out| slot_pkcs12(&CryptoProvider::aws_lc_rs(), DigestAlgorithm::Sha256, out)),
            ("RustCrypto pkcs12", |out| out.copy_from_slice(&rustcrypto_pkcs12::<sha2::Sha256>(out.len()))),
        ],
    )
}

fn rustcrypto_pkcs12<D>(len: usize) -> Vec<u8>
where
    D: sha1::Digest + sha1::digest::FixedOutputReset + sha1::digest::core_api::BlockSizeUser,
{
    let purpose = pkcs12::kdf::Pkcs12KeyType::EncryptionKey;
    pkcs12::kdf::derive_key_utf8::<D>(PASSWORD, SALT, purpose, ITERATIONS as i32, len).unwrap()
}

pub fn triple_des() -> Row {
    const KEY: [u8; 24] = *b"0123456789abcdefghijklmn";
    let plaintext = vec![3_u8; 4_095];
    let cipher = openssl::symm::Cipher::des_ede3_cbc();
    let ciphertext = openssl::symm::encrypt(cipher, &KEY, Some(&[1; 8]), &plaintext).unwrap();
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let ours = move |ciphertext: &[u8]| {
        provider.content_cipher().unwrap().decrypt(ContentCipherAlgorithm::DesEde3Cbc, &KEY, &[1; 8], ciphertext).unwrap()
    };
    let openssl = move |ciphertext: &[u8]| openssl::symm::decrypt(cipher, &KEY, Some(&[1; 8]), ciphertext).unwrap();
    assert_eq!(ours(&ciphertext).secret_bytes(), plaintext);
    assert_eq!(openssl(&ciphertext), plaintext);
    let copy = ciphertext.clone();
    let contenders = vec![Contender::new(OURS, move || ours(&ciphertext)), Contender::new("openssl", move || openssl(&copy))];
    Row { contenders, check: Box::new(|| {}) }
}
