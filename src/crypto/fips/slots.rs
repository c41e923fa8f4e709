//! The slots of a restricted provider: each asks the allow-lists first, then the slot that it stands in front of.

use std::sync::Arc;

use super::keys::{ApprovedDecryptionKey, ApprovedSigningKey};
use super::{
    approve_aead, approve_agreement_key, approve_content_cipher, approve_digest, approve_digest_kdf, approve_generation, approve_hmac,
    approve_key_transport, approve_key_wrap, approve_pbkdf2, approve_public_key, approve_seal, approve_signature, own_nonce, refuse,
};
use crate::crypto::{
    Aead, AeadAlgorithm, ContentCipher, ContentCipherAlgorithm, CryptoError, DecryptionKey, DecryptionKeyLoader, Digest, DigestAlgorithm,
    DigestKdf, DigestOutput, Hmac, KeyAgreement, KeyGeneration, KeyTransport, KeyTransportAlgorithm, KeyWrap, Pbkdf2, Scrypt,
    ScryptParameters, SecureRandom, SignatureAlgorithm, SignatureVerification, SigningKey, SigningKeyLoader,
};
use crate::secret::{PrivateKeyPkcs8, SecretBytes};
use crate::terms::KeyAlgorithm;

/// Random bytes have no algorithm to choose.
pub(in crate::crypto) fn random(slot: Arc<dyn SecureRandom>) -> Arc<dyn SecureRandom> {
    slot
}

/// The wrapper of a slot, and the function that puts it in front.
macro_rules! restrict {
    ($($function:ident: $wrapper:ident($trait:ident);)*) => {
        $(
            #[derive(Debug)]
            struct $wrapper(Arc<dyn $trait>);

            pub(in crate::crypto) fn $function(slot: Arc<dyn $trait>) -> Arc<dyn $trait> {
                Arc::new($wrapper(slot))
            }
        )*
    };
}

restrict! {
    digest: ApprovedDigest(Digest);
    hmac: ApprovedHmac(Hmac);
    pbkdf2: ApprovedPbkdf2(Pbkdf2);
    content_cipher: ApprovedContentCipher(ContentCipher);
    aead: ApprovedAead(Aead);
    key_wrap: ApprovedKeyWrap(KeyWrap);
    key_agreement: ApprovedKeyAgreement(KeyAgreement);
    key_generation: ApprovedKeyGeneration(KeyGeneration);
    verification: ApprovedVerification(SignatureVerification);
    key_transport: ApprovedKeyTransport(KeyTransport);
    signing_keys: ApprovedSigningKeys(SigningKeyLoader);
    decryption_keys: ApprovedDecryptionKeys(DecryptionKeyLoader);
}

impl Digest for ApprovedDigest {
    fn digest(&self, algorithm: DigestAlgorithm, parts: &[&[u8]]) -> Result<DigestOutput, CryptoError> {
        approve_digest(algorithm)?;
        self.0.digest(algorithm, parts)
    }

    fn digest_repeated(&self, algorithm: DigestAlgorithm, parts: &[&[u8]], rounds: u32) -> Result<DigestOutput, CryptoError> {
        approve_digest(algorithm)?;
        self.0.digest_repeated(algorithm, parts, rounds)
    }

    fn permits(&self, kdf: DigestKdf) -> Result<(), CryptoError> {
        Err(approve_digest_kdf(kdf))
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

impl Hmac for ApprovedHmac {
    fn hmac(&self, algorithm: DigestAlgorithm, key: &[u8], parts: &[&[u8]]) -> Result<DigestOutput, CryptoError> {
        approve_hmac(algorithm, key)?;
        self.0.hmac(algorithm, key, parts)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

impl Pbkdf2 for ApprovedPbkdf2 {
    fn derive(&self, prf: DigestAlgorithm, password: &[u8], salt: &[u8], iterations: u32, out: &mut [u8]) -> Result<(), CryptoError> {
        approve_pbkdf2(prf, password, salt, iterations, out)?;
        self.0.derive(prf, password, salt, iterations, out)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

/// Stands in the scrypt slot whether one was there or not, so that the reason is told and not that a slot is empty.
#[derive(Debug)]
pub(in crate::crypto) struct RefusedScrypt;

pub(in crate::crypto) fn scrypt(_: Arc<dyn Scrypt>) -> Arc<dyn Scrypt> {
    Arc::new(RefusedScrypt)
}

impl Scrypt for RefusedScrypt {
    fn derive(&self, _: ScryptParameters, _: &[u8], _: &[u8], _: &mut [u8]) -> Result<(), CryptoError> {
        Err(refuse("scrypt", "have the file encrypted with PBKDF2"))
    }
}

impl ContentCipher for ApprovedContentCipher {
    fn supports(&self, algorithm: ContentCipherAlgorithm) -> bool {
        approve_content_cipher(algorithm).is_ok() && self.0.supports(algorithm)
    }

    fn check(&self, algorithm: ContentCipherAlgorithm) -> Result<(), CryptoError> {
        approve_content_cipher(algorithm)?;
        self.0.check(algorithm)
    }

    fn encrypt(&self, algorithm: ContentCipherAlgorithm, key: &[u8], iv: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        approve_content_cipher(algorithm)?;
        self.0.encrypt(algorithm, key, iv, plaintext)
    }

    fn decrypt(&self, algorithm: ContentCipherAlgorithm, key: &[u8], iv: &[u8], ciphertext: &[u8]) -> Result<SecretBytes, CryptoError> {
        approve_content_cipher(algorithm)?;
        self.0.decrypt(algorithm, key, iv, ciphertext)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

impl Aead for ApprovedAead {
    fn seal(&self, _: AeadAlgorithm, _: &[u8], _: &[u8], _: &[u8], _: &[u8]) -> Result<Vec<u8>, CryptoError> {
        Err(own_nonce())
    }

    fn seal_with_random_nonce(
        &self,
        algorithm: AeadAlgorithm,
        key: &[u8],
        random: &dyn SecureRandom,
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<([u8; 12], Vec<u8>), CryptoError> {
        approve_seal(algorithm)?;
        self.0.seal_with_random_nonce(algorithm, key, random, aad, plaintext)
    }

    fn open(
        &self,
        algorithm: AeadAlgorithm,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        ciphertext_and_tag: &[u8],
    ) -> Result<SecretBytes, CryptoError> {
        approve_aead(algorithm)?;
        self.0.open(algorithm, key, nonce, aad, ciphertext_and_tag)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

impl KeyWrap for ApprovedKeyWrap {
    fn check(&self, kek_len: usize) -> Result<(), CryptoError> {
        approve_key_wrap(kek_len)?;
        self.0.check(kek_len)
    }

    fn wrap(&self, kek: &[u8], key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        approve_key_wrap(kek.len())?;
        self.0.wrap(kek, key)
    }

    fn unwrap(&self, kek: &[u8], wrapped: &[u8]) -> Result<SecretBytes, CryptoError> {
        approve_key_wrap(kek.len())?;
        self.0.unwrap(kek, wrapped)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

impl KeyAgreement for ApprovedKeyAgreement {
    fn agree_ephemeral(&self, recipient_spki: &[u8]) -> Result<(Vec<u8>, SecretBytes), CryptoError> {
        approve_agreement_key(recipient_spki)?;
        self.0.agree_ephemeral(recipient_spki)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

impl KeyGeneration for ApprovedKeyGeneration {
    fn generate(&self, algorithm: KeyAlgorithm) -> Result<PrivateKeyPkcs8, CryptoError> {
        approve_generation(algorithm)?;
        self.0.generate(algorithm)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

impl SignatureVerification for ApprovedVerification {
    fn verify(&self, algorithm: SignatureAlgorithm, spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        approve_signature(algorithm)?;
        approve_public_key(spki)?;
        self.0.verify(algorithm, spki, message, signature)
    }

    fn dangerous_verify_with_short_rsa_key(
        &self,
        algorithm: SignatureAlgorithm,
        spki: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        // Refuses the short ones by name.
        self.verify(algorithm, spki, message, signature)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

impl KeyTransport for ApprovedKeyTransport {
    fn supports(&self, algorithm: KeyTransportAlgorithm) -> bool {
        approve_key_transport(algorithm).is_ok() && self.0.supports(algorithm)
    }

    fn check(&self, algorithm: KeyTransportAlgorithm) -> Result<(), CryptoError> {
        approve_key_transport(algorithm)?;
        self.0.check(algorithm)
    }

    fn encrypt(&self, algorithm: KeyTransportAlgorithm, spki: &[u8], secret: &[u8]) -> Result<Vec<u8>, CryptoError> {
        approve_key_transport(algorithm)?;
        approve_public_key(spki)?;
        self.0.encrypt(algorithm, spki, secret)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

impl SigningKeyLoader for ApprovedSigningKeys {
    fn load(&self, key: &PrivateKeyPkcs8) -> Result<Arc<dyn SigningKey>, CryptoError> {
        let key = self.0.load(key)?;
        approve_public_key(&key.public_key())?;
        Ok(Arc::new(ApprovedSigningKey(key)))
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

impl DecryptionKeyLoader for ApprovedDecryptionKeys {
    fn load(&self, key: &PrivateKeyPkcs8) -> Result<Arc<dyn DecryptionKey>, CryptoError> {
        let key = self.0.load(key)?;
        approve_public_key(&key.public_key())?;
        Ok(Arc::new(ApprovedDecryptionKey(key)))
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}
