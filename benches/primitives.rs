//! The primitives that the flows are made of, on the default provider: the floor that `flows` stands on.

use divan::{Bencher, black_box};
use intune_connector::crypto::{
    ContentCipherAlgorithm, CryptoProvider, DigestAlgorithm, KeyTransportAlgorithm, SignatureAlgorithm, UnwrapRequest, pkcs12_kdf,
    sign_now, unwrap_now,
};
use intune_connector::terms::KeyAlgorithm;

fn main() {
    divan::main();
}

fn provider() -> CryptoProvider {
    CryptoProvider::ring_and_aws_lc_rs()
}

#[divan::bench(args = [KeyAlgorithm::EcP256, KeyAlgorithm::EcP384, KeyAlgorithm::Rsa2048], sample_count = 20, sample_size = 1)]
fn key_generation(bencher: Bencher, algorithm: KeyAlgorithm) {
    let provider = provider();
    let slot = provider.key_generation().unwrap();
    bencher.bench_local(|| slot.generate(black_box(algorithm)).unwrap());
}

#[divan::bench(args = [SignatureAlgorithm::EcdsaP256Sha256, SignatureAlgorithm::RsaPkcs1Sha256])]
fn sign(bencher: Bencher, algorithm: SignatureAlgorithm) {
    let (provider, kind) = (provider(), kind_of(algorithm));
    let key = provider.signing_keys().unwrap().load(&provider.key_generation().unwrap().generate(kind).unwrap()).unwrap();
    bencher.bench_local(|| sign_now(&*key, algorithm, black_box(b"to be signed")).unwrap());
}

#[divan::bench(args = [SignatureAlgorithm::EcdsaP256Sha256, SignatureAlgorithm::RsaPkcs1Sha256])]
fn verify(bencher: Bencher, algorithm: SignatureAlgorithm) {
    let (provider, kind) = (provider(), kind_of(algorithm));
    let key = provider.signing_keys().unwrap().load(&provider.key_generation().unwrap().generate(kind).unwrap()).unwrap();
    let signature = sign_now(&*key, algorithm, b"to be signed").unwrap();
    let public = key.public_key();
    let slot = provider.verification().unwrap();
    bencher.bench_local(|| slot.verify(algorithm, &public, black_box(b"to be signed"), &signature).unwrap());
}

#[divan::bench(args = [KeyTransportAlgorithm::RsaPkcs1v15, KeyTransportAlgorithm::RsaOaepSha256])]
fn rsa_2048_encrypt(bencher: Bencher, algorithm: KeyTransportAlgorithm) {
    let provider = provider();
    let key = decryption_key(&provider);
    let public = key.public_key();
    let slot = provider.key_transport().unwrap();
    bencher.bench_local(|| slot.encrypt(algorithm, &public, black_box(&[7; 32])).unwrap());
}

#[divan::bench(args = [KeyTransportAlgorithm::RsaPkcs1v15, KeyTransportAlgorithm::RsaOaepSha256])]
fn rsa_2048_decrypt(bencher: Bencher, algorithm: KeyTransportAlgorithm) {
    let provider = provider();
    let key = decryption_key(&provider);
    let ciphertext = provider.key_transport().unwrap().encrypt(algorithm, &key.public_key(), &[7; 32]).unwrap();
    let request = UnwrapRequest::new(algorithm, ciphertext);
    bencher.bench_local(|| unwrap_now(&*key, black_box(&request)).unwrap());
}

#[divan::bench(args = [2_048, 10_000, 600_000], sample_count = 10, sample_size = 1)]
fn pbkdf2_sha256(bencher: Bencher, iterations: u32) {
    let provider = provider();
    let slot = provider.pbkdf2().unwrap();
    bencher.bench_local(|| {
        let mut key = [0; 32];
        slot.derive(DigestAlgorithm::Sha256, b"password", b"saltsalt", black_box(iterations), &mut key).unwrap();
        key
    });
}

#[divan::bench(args = [DigestAlgorithm::Sha1, DigestAlgorithm::Sha256])]
fn pkcs12_kdf_2048(bencher: Bencher, digest: DigestAlgorithm) {
    let provider = provider();
    let slot = provider.digest().unwrap();
    bencher.bench_local(|| {
        let mut key = [0; 20];
        pkcs12_kdf(slot, digest, black_box(b"\0p\0w\0\0"), b"saltsalt", 3, 2_048, &mut key).unwrap();
        key
    });
}

#[divan::bench]
fn aes_256_cbc_encrypt_4_kib(bencher: Bencher) {
    let provider = provider();
    let slot = provider.content_cipher().unwrap();
    bencher.bench_local(|| slot.encrypt(ContentCipherAlgorithm::Aes256Cbc, &[1; 32], &[2; 16], black_box(&[3; 4_096])).unwrap());
}

#[divan::bench]
fn sha_256_4_kib(bencher: Bencher) {
    let provider = provider();
    let slot = provider.digest().unwrap();
    bencher.bench_local(|| slot.digest(DigestAlgorithm::Sha256, &[black_box(&[3; 4_096])]).unwrap());
}

fn kind_of(algorithm: SignatureAlgorithm) -> KeyAlgorithm {
    match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => KeyAlgorithm::EcP256,
        _ => KeyAlgorithm::Rsa2048,
    }
}

fn decryption_key(provider: &CryptoProvider) -> std::sync::Arc<dyn intune_connector::crypto::DecryptionKey> {
    provider.decryption_keys().unwrap().load(&provider.key_generation().unwrap().generate(KeyAlgorithm::Rsa2048).unwrap()).unwrap()
}
