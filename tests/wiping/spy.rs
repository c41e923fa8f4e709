//! A provider whose slots plant what passes through them: passwords as they are derived from, derived keys, content keys, shared secrets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use intune_connector::crypto::{
    Aead, AeadAlgorithm, ContentCipher, ContentCipherAlgorithm, CryptoError, CryptoProvider, DecryptionKey, DecryptionKeyLoader,
    DigestAlgorithm, DigestOutput, Hmac, KeyAgreement, KeyGeneration, KeyTransport, KeyTransportAlgorithm, KeyWrap, Pbkdf2, SecureRandom,
    UnwrapError, UnwrapRequest,
};
use intune_connector::secret::{PrivateKeyPkcs8, SecretBytes};
use intune_connector::terms::KeyAlgorithm;
use rustls_pki_types::SubjectPublicKeyInfoDer;

use super::recorder::{plant, plant_exactly, unwatched};

/// The default provider, spied on. Its random bytes are the same in every run of one case, so that a second run derives the keys of the
/// first, and others in another case, where a key would be found again as an initialisation vector.
pub fn provider(case: u64) -> CryptoProvider {
    unwatched(|| {
        let spy = Arc::new(Spy(CryptoProvider::ring_and_aws_lc_rs()));
        CryptoProvider::ring_and_aws_lc_rs()
            .with_random(Arc::new(Repeating(AtomicU64::new(case << 32))))
            .with_hmac(spy.clone())
            .with_pbkdf2(spy.clone())
            .with_content_cipher(spy.clone())
            .with_aead(spy.clone())
            .with_key_wrap(spy.clone())
            .with_key_agreement(spy.clone())
            .with_key_generation(spy.clone())
            .with_key_transport(spy.clone())
            .with_decryption_keys(spy)
    })
}

#[derive(Debug)]
struct Repeating(AtomicU64);

impl SecureRandom for Repeating {
    fn fill(&self, out: &mut [u8]) -> Result<(), CryptoError> {
        for chunk in out.chunks_mut(8) {
            let mut state = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            state = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            chunk.copy_from_slice(&(state ^ state >> 27).to_be_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// Plants the secret halves of a PKCS#8 key: its structure and public half may lie anywhere.
pub fn plant_pkcs8(der: &[u8]) {
    const EC_PRIVATE_KEY: &[u8] = &[0x02, 0x01, 0x01, 0x04];
    const CURVE_PRIVATE_KEY: &[u8] = &[0x04, 0x22, 0x04, 0x20];
    let after = |marker: &[u8], skip: usize| der.windows(marker.len()).position(|part| part == marker).map(|at| at + marker.len() + skip);
    if let Some(at) = after(EC_PRIVATE_KEY, 1).or_else(|| after(CURVE_PRIVATE_KEY, 0)).filter(|_| der.len() < 400) {
        plant("an elliptic curve key", &der[at..at + 32]);
    } else if der.len() > 500 {
        // The last two fifths of an RSAPrivateKey are its primes, exponents and coefficient.
        for percent in [70, 80, 95] {
            let at = der.len() * percent / 100;
            plant_exactly("an RSA key", &der[at..at + 12]);
        }
    }
}

/// The start of a clear safe or key, that is of one SEQUENCE; the rest of it may be public, as certificates are. Other contents are planted
/// by the tests: what is encrypted twice (RFC 3211) is a ciphertext here.
fn plant_clear(bytes: &[u8]) {
    let header = match bytes {
        [0x30, 0x82, high, low, ..] => Some((4, usize::from(*high) << 8 | usize::from(*low))),
        [0x30, 0x81, length, ..] => Some((3, usize::from(*length))),
        [0x30, length @ 0..=0x7f, ..] => Some((2, usize::from(*length))),
        _ => None,
    };
    if header.is_some_and(|(header, length)| header + length == bytes.len()) || bytes.starts_with(&[0x30, 0x80]) {
        plant_exactly("a clear safe or key", &bytes[..bytes.len().min(24)]);
    }
}

#[derive(Debug)]
struct Spy(CryptoProvider);

impl Hmac for Spy {
    fn hmac(&self, algorithm: DigestAlgorithm, key: &[u8], parts: &[&[u8]]) -> Result<DigestOutput, CryptoError> {
        plant("a MAC key", key);
        self.0.hmac().expect("the slot").hmac(algorithm, key, parts)
    }
}

impl Pbkdf2 for Spy {
    fn derive(&self, prf: DigestAlgorithm, password: &[u8], salt: &[u8], iterations: u32, out: &mut [u8]) -> Result<(), CryptoError> {
        plant("a password as PBKDF2 takes it", password);
        let result = self.0.pbkdf2().expect("the slot").derive(prf, password, salt, iterations, out);
        plant("a key from PBKDF2", out);
        result
    }
}

impl ContentCipher for Spy {
    fn supports(&self, algorithm: ContentCipherAlgorithm) -> bool {
        self.0.content_cipher().expect("the slot").supports(algorithm)
    }

    fn encrypt(&self, algorithm: ContentCipherAlgorithm, key: &[u8], iv: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        plant("a content key", key);
        plant_clear(plaintext);
        self.0.content_cipher().expect("the slot").encrypt(algorithm, key, iv, plaintext)
    }

    fn decrypt(&self, algorithm: ContentCipherAlgorithm, key: &[u8], iv: &[u8], ciphertext: &[u8]) -> Result<SecretBytes, CryptoError> {
        plant("a content key", key);
        let plaintext = self.0.content_cipher().expect("the slot").decrypt(algorithm, key, iv, ciphertext)?;
        plant_clear(plaintext.secret_bytes());
        Ok(plaintext)
    }
}

impl Aead for Spy {
    fn seal(&self, algorithm: AeadAlgorithm, key: &[u8], nonce: &[u8], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        plant("an AEAD key", key);
        plant_clear(plaintext);
        self.0.aead().expect("the slot").seal(algorithm, key, nonce, aad, plaintext)
    }

    fn open(&self, algorithm: AeadAlgorithm, key: &[u8], nonce: &[u8], aad: &[u8], sealed: &[u8]) -> Result<SecretBytes, CryptoError> {
        plant("an AEAD key", key);
        let plaintext = self.0.aead().expect("the slot").open(algorithm, key, nonce, aad, sealed)?;
        plant_clear(plaintext.secret_bytes());
        Ok(plaintext)
    }
}

impl KeyWrap for Spy {
    fn wrap(&self, kek: &[u8], key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        plant("a key encryption key", kek);
        plant("a wrapped key", key);
        self.0.key_wrap().expect("the slot").wrap(kek, key)
    }

    fn unwrap(&self, kek: &[u8], wrapped: &[u8]) -> Result<SecretBytes, CryptoError> {
        plant("a key encryption key", kek);
        let key = self.0.key_wrap().expect("the slot").unwrap(kek, wrapped)?;
        plant("a wrapped key", key.secret_bytes());
        Ok(key)
    }
}

impl KeyAgreement for Spy {
    fn agree_ephemeral(&self, recipient_spki: &[u8]) -> Result<(Vec<u8>, SecretBytes), CryptoError> {
        let (public, shared) = self.0.key_agreement().expect("the slot").agree_ephemeral(recipient_spki)?;
        plant("a shared secret", shared.secret_bytes());
        Ok((public, shared))
    }
}

impl KeyGeneration for Spy {
    fn generate(&self, algorithm: KeyAlgorithm) -> Result<PrivateKeyPkcs8, CryptoError> {
        let key = self.0.key_generation().expect("the slot").generate(algorithm)?;
        plant_pkcs8(key.secret_pkcs8_der());
        Ok(key)
    }
}

impl KeyTransport for Spy {
    fn supports(&self, algorithm: KeyTransportAlgorithm) -> bool {
        self.0.key_transport().expect("the slot").supports(algorithm)
    }

    fn encrypt(&self, algorithm: KeyTransportAlgorithm, spki: &[u8], secret: &[u8]) -> Result<Vec<u8>, CryptoError> {
        plant("a transported secret", secret);
        self.0.key_transport().expect("the slot").encrypt(algorithm, spki, secret)
    }
}

impl DecryptionKeyLoader for Spy {
    fn load(&self, key: &PrivateKeyPkcs8) -> Result<Arc<dyn DecryptionKey>, CryptoError> {
        plant_pkcs8(key.secret_pkcs8_der());
        Ok(Arc::new(SpyKey(self.0.decryption_keys().expect("the slot").load(key)?)))
    }
}

#[derive(Debug)]
struct SpyKey(Arc<dyn DecryptionKey>);

#[async_trait]
impl DecryptionKey for SpyKey {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.0.public_key()
    }

    fn is_local(&self) -> bool {
        true
    }

    async fn unwrap(&self, request: &UnwrapRequest) -> Result<SecretBytes, UnwrapError> {
        let secret = self.0.unwrap(request).await?;
        plant("a transported secret", secret.secret_bytes());
        Ok(secret)
    }
}
