//! A provider that writes down each call of a primitive, so that the same calls can be made again without the flow around them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use divan::black_box;
use intune_connector::crypto::{
    Aead, AeadAlgorithm, ContentCipher, ContentCipherAlgorithm, CryptoError, CryptoProvider, DecryptionKey, DecryptionKeyLoader, Digest,
    DigestAlgorithm, DigestOutput, Hmac, KeyGeneration, KeyTransport, KeyTransportAlgorithm, Pbkdf2, SecureRandom, SignError,
    SignatureAlgorithm, SignatureVerification, SigningKey, SigningKeyLoader, UnwrapError, UnwrapRequest, sign_now, unwrap_now,
};
use intune_connector::secret::{PrivateKeyPkcs8, SecretBytes};
use intune_connector::terms::KeyAlgorithm;
use rustls_pki_types::SubjectPublicKeyInfoDer;

type Repeat = Box<dyn Fn() + Send>;

/// The calls in order.
#[derive(Clone, Default)]
pub struct Tape(Arc<Mutex<Vec<Call>>>);

struct Call {
    name: String,
    again: Repeat,
}

impl core::fmt::Debug for Tape {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Tape({} calls)", self.calls().len())
    }
}

impl Tape {
    fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, name: String, again: impl Fn() + Send + 'static) {
        self.calls().push(Call { name, again: Box::new(again) });
    }

    pub fn clear(&self) {
        self.calls().clear();
    }

    /// Makes all calls again, with the arguments that they had.
    pub fn play(&self) {
        self.calls().iter().for_each(|call| (call.again)());
    }

    /// How often each primitive was called.
    pub fn counts(&self) -> Vec<(String, usize)> {
        let mut counts = BTreeMap::new();
        for call in &*self.calls() {
            *counts.entry(call.name.clone()).or_default() += 1;
        }
        counts.into_iter().collect()
    }

    /// `plain` with every slot that the flows use writing to this tape.
    pub fn record(&self, plain: &CryptoProvider) -> CryptoProvider {
        let slot = Recorder { plain: plain.clone(), tape: self.clone() };
        let slot = || Arc::new(slot.clone());
        plain
            .clone()
            .with_random(slot())
            .with_digest(slot())
            .with_hmac(slot())
            .with_pbkdf2(slot())
            .with_content_cipher(slot())
            .with_aead(slot())
            .with_key_generation(slot())
            .with_verification(slot())
            .with_key_transport(slot())
            .with_signing_keys(slot())
            .with_decryption_keys(slot())
    }
}

#[derive(Debug, Clone)]
struct Recorder {
    plain: CryptoProvider,
    tape: Tape,
}

const FILLED: &str = "the provider is complete";

impl SecureRandom for Recorder {
    fn fill(&self, out: &mut [u8]) -> Result<(), CryptoError> {
        let (plain, len) = (self.plain.clone(), out.len());
        self.tape.note(format!("random {len}"), move || {
            let mut out = vec![0; len];
            let _ = plain.random().expect(FILLED).fill(black_box(&mut out));
        });
        self.plain.random().expect(FILLED).fill(out)
    }
}

impl Digest for Recorder {
    fn digest(&self, algorithm: DigestAlgorithm, parts: &[&[u8]]) -> Result<DigestOutput, CryptoError> {
        self.digest_repeated(algorithm, parts, 1)
    }

    fn digest_repeated(&self, algorithm: DigestAlgorithm, parts: &[&[u8]], rounds: u32) -> Result<DigestOutput, CryptoError> {
        let (plain, input) = (self.plain.clone(), parts.concat());
        let size = input.len().next_multiple_of(64);
        let repeated = if rounds > 1 { format!(" x{rounds}") } else { String::new() };
        self.tape.note(format!("{algorithm:?} to {size} B{repeated}"), move || {
            let slot = plain.digest().expect(FILLED);
            drop(black_box(slot.digest_repeated(algorithm, &[black_box(&input)], rounds)));
        });
        self.plain.digest().expect(FILLED).digest_repeated(algorithm, parts, rounds)
    }
}

impl Hmac for Recorder {
    fn hmac(&self, algorithm: DigestAlgorithm, key: &[u8], parts: &[&[u8]]) -> Result<DigestOutput, CryptoError> {
        let (plain, own_key, input) = (self.plain.clone(), key.to_vec(), parts.concat());
        self.tape.note(format!("HMAC-{algorithm:?} {} B", input.len()), move || {
            drop(black_box(plain.hmac().expect(FILLED).hmac(algorithm, &own_key, &[black_box(&input)])));
        });
        self.plain.hmac().expect(FILLED).hmac(algorithm, key, parts)
    }
}

impl Pbkdf2 for Recorder {
    fn derive(&self, prf: DigestAlgorithm, password: &[u8], salt: &[u8], iterations: u32, out: &mut [u8]) -> Result<(), CryptoError> {
        let (plain, password_, salt_, len) = (self.plain.clone(), password.to_vec(), salt.to_vec(), out.len());
        self.tape.note(format!("PBKDF2-HMAC-{prf:?} {iterations} rounds to {len} B"), move || {
            let mut out = vec![0; len];
            let _ = plain.pbkdf2().expect(FILLED).derive(prf, &password_, &salt_, iterations, black_box(&mut out));
        });
        self.plain.pbkdf2().expect(FILLED).derive(prf, password, salt, iterations, out)
    }
}

impl ContentCipher for Recorder {
    fn supports(&self, algorithm: ContentCipherAlgorithm) -> bool {
        self.plain.content_cipher().expect(FILLED).supports(algorithm)
    }

    fn encrypt(&self, algorithm: ContentCipherAlgorithm, key: &[u8], iv: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let (plain, key_, iv_, input) = (self.plain.clone(), key.to_vec(), iv.to_vec(), plaintext.to_vec());
        self.tape.note(format!("{algorithm:?} encrypt"), move || {
            drop(black_box(plain.content_cipher().expect(FILLED).encrypt(algorithm, &key_, &iv_, black_box(&input))));
        });
        self.plain.content_cipher().expect(FILLED).encrypt(algorithm, key, iv, plaintext)
    }

    fn decrypt(&self, algorithm: ContentCipherAlgorithm, key: &[u8], iv: &[u8], ciphertext: &[u8]) -> Result<SecretBytes, CryptoError> {
        let (plain, key_, iv_, input) = (self.plain.clone(), key.to_vec(), iv.to_vec(), ciphertext.to_vec());
        self.tape.note(format!("{algorithm:?} decrypt"), move || {
            drop(black_box(plain.content_cipher().expect(FILLED).decrypt(algorithm, &key_, &iv_, black_box(&input))));
        });
        self.plain.content_cipher().expect(FILLED).decrypt(algorithm, key, iv, ciphertext)
    }
}

impl Aead for Recorder {
    fn seal(&self, algorithm: AeadAlgorithm, key: &[u8], nonce: &[u8], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let (plain, key_, nonce_, aad_, input) = (self.plain.clone(), key.to_vec(), nonce.to_vec(), aad.to_vec(), plaintext.to_vec());
        self.tape.note(format!("{algorithm:?} seal"), move || {
            drop(black_box(plain.aead().expect(FILLED).seal(algorithm, &key_, &nonce_, &aad_, black_box(&input))));
        });
        self.plain.aead().expect(FILLED).seal(algorithm, key, nonce, aad, plaintext)
    }

    fn open(&self, algorithm: AeadAlgorithm, key: &[u8], nonce: &[u8], aad: &[u8], sealed: &[u8]) -> Result<SecretBytes, CryptoError> {
        let (plain, key_, nonce_, aad_, input) = (self.plain.clone(), key.to_vec(), nonce.to_vec(), aad.to_vec(), sealed.to_vec());
        self.tape.note(format!("{algorithm:?} open"), move || {
            drop(black_box(plain.aead().expect(FILLED).open(algorithm, &key_, &nonce_, &aad_, black_box(&input))));
        });
        self.plain.aead().expect(FILLED).open(algorithm, key, nonce, aad, sealed)
    }
}

impl KeyGeneration for Recorder {
    fn generate(&self, algorithm: KeyAlgorithm) -> Result<PrivateKeyPkcs8, CryptoError> {
        let plain = self.plain.clone();
        self.tape.note(format!("generate {algorithm:?}"), move || {
            drop(black_box(plain.key_generation().expect(FILLED).generate(algorithm)));
        });
        self.plain.key_generation().expect(FILLED).generate(algorithm)
    }
}

impl SignatureVerification for Recorder {
    fn verify(&self, algorithm: SignatureAlgorithm, spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let (plain, spki_, message_, signature_) = (self.plain.clone(), spki.to_vec(), message.to_vec(), signature.to_vec());
        self.tape.note(format!("verify {algorithm:?}"), move || {
            let _ = black_box(plain.verification().expect(FILLED).verify(algorithm, &spki_, black_box(&message_), &signature_));
        });
        self.plain.verification().expect(FILLED).verify(algorithm, spki, message, signature)
    }
}

impl KeyTransport for Recorder {
    fn supports(&self, algorithm: KeyTransportAlgorithm) -> bool {
        self.plain.key_transport().expect(FILLED).supports(algorithm)
    }

    fn encrypt(&self, algorithm: KeyTransportAlgorithm, spki: &[u8], secret: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let (plain, spki_, input) = (self.plain.clone(), spki.to_vec(), secret.to_vec());
        self.tape.note(format!("{algorithm:?} encrypt"), move || {
            drop(black_box(plain.key_transport().expect(FILLED).encrypt(algorithm, &spki_, black_box(&input))));
        });
        self.plain.key_transport().expect(FILLED).encrypt(algorithm, spki, secret)
    }
}

impl SigningKeyLoader for Recorder {
    fn load(&self, key: &PrivateKeyPkcs8) -> Result<Arc<dyn SigningKey>, CryptoError> {
        let (plain, der) = (self.plain.clone(), key.secret_pkcs8_der().to_vec());
        self.tape.note("load a signing key".to_owned(), move || {
            drop(black_box(plain.signing_keys().expect(FILLED).load(&PrivateKeyPkcs8::new(der.clone()))));
        });
        let key = self.plain.signing_keys().expect(FILLED).load(key)?;
        Ok(Arc::new(RecordedKey { key, tape: self.tape.clone() }))
    }
}

impl DecryptionKeyLoader for Recorder {
    fn load(&self, key: &PrivateKeyPkcs8) -> Result<Arc<dyn DecryptionKey>, CryptoError> {
        let (plain, der) = (self.plain.clone(), key.secret_pkcs8_der().to_vec());
        self.tape.note("load a decryption key".to_owned(), move || {
            drop(black_box(plain.decryption_keys().expect(FILLED).load(&PrivateKeyPkcs8::new(der.clone()))));
        });
        let key = self.plain.decryption_keys().expect(FILLED).load(key)?;
        Ok(Arc::new(RecordedKey { key, tape: self.tape.clone() }))
    }
}

#[derive(Debug)]
struct RecordedKey<K: ?Sized> {
    tape: Tape,
    key: Arc<K>,
}

#[async_trait]
impl SigningKey for RecordedKey<dyn SigningKey> {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.key.public_key()
    }

    fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        self.key.algorithms()
    }

    fn is_local(&self) -> bool {
        self.key.is_local()
    }

    async fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let (key, input) = (self.key.clone(), message.to_vec());
        self.tape.note(format!("sign {algorithm:?}"), move || drop(black_box(sign_now(&*key, algorithm, black_box(&input)))));
        self.key.sign(algorithm, message).await
    }
}

#[async_trait]
impl DecryptionKey for RecordedKey<dyn DecryptionKey> {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.key.public_key()
    }

    fn is_local(&self) -> bool {
        self.key.is_local()
    }

    async fn unwrap(&self, request: &UnwrapRequest) -> Result<SecretBytes, UnwrapError> {
        let (key, again) = (self.key.clone(), request.clone());
        self.tape.note(format!("{:?} decrypt", request.algorithm()), move || drop(black_box(unwrap_now(&*key, black_box(&again)))));
        self.key.unwrap(request).await
    }
}
