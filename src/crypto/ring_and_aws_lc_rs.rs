//! The default provider: *ring* where it is as fast, aws-lc-rs for what *ring* lacks or is slow at.

use std::sync::Arc;

use super::aws_lc_rs::{
    AwsLcAead, AwsLcContentCipher, AwsLcDecryptionKeys, AwsLcDigest, AwsLcHmac, AwsLcKeyAgreement, AwsLcKeyGeneration, AwsLcKeyTransport,
    AwsLcKeyWrap, AwsLcPbkdf2, AwsLcSigningKeys, AwsLcVerification,
};
use super::compression;
use super::ring::{RingAead, RingDigest, RingHmac, RingPbkdf2, RingRandom, RingSigningKeys, RingVerification};
use super::spki::PrivateKeyKind;
use super::{
    Aead, AeadAlgorithm, CryptoError, CryptoProvider, Digest, DigestAlgorithm, DigestOutput, Hmac, Pbkdf2, SignatureAlgorithm,
    SignatureVerification, SigningKey, SigningKeyLoader,
};
use crate::secret::{PrivateKeyPkcs8, SecretBytes};

impl CryptoProvider {
    /// *ring* for random, digests, HMAC, PBKDF2, AES-GCM, P-256 signatures and RSA verification; aws-lc-rs for the rest:
    /// RSA signing, encryption and decryption, key generation, AES-CBC, key wrap, ECDH, P-384, SHA-224, PBKDF2 with SHA-1.
    ///
    /// Every slot is filled (scrypt only with the feature `scrypt`).
    #[must_use]
    pub fn ring_and_aws_lc_rs() -> Self {
        let provider = Self::empty("ring + aws-lc-rs")
            .with_random(Arc::new(RingRandom))
            .with_digest(Arc::new(CombinedDigest))
            .with_hmac(Arc::new(CombinedHmac))
            .with_pbkdf2(Arc::new(CombinedPbkdf2))
            .with_content_cipher(super::legacy::with_legacy_ciphers(Arc::new(AwsLcContentCipher)))
            .with_aead(Arc::new(CombinedAead))
            .with_key_wrap(Arc::new(AwsLcKeyWrap))
            .with_key_agreement(Arc::new(AwsLcKeyAgreement))
            .with_key_generation(Arc::new(AwsLcKeyGeneration))
            .with_verification(Arc::new(CombinedVerification))
            .with_key_transport(Arc::new(AwsLcKeyTransport))
            .with_signing_keys(Arc::new(CombinedSigningKeys))
            .with_decryption_keys(Arc::new(AwsLcDecryptionKeys));
        #[cfg(feature = "scrypt")]
        let provider = provider.with_scrypt(Arc::new(super::scrypt::SoftwareScrypt));
        provider
    }
}

#[derive(Debug)]
struct CombinedDigest;

impl Digest for CombinedDigest {
    fn digest(&self, algorithm: DigestAlgorithm, parts: &[&[u8]]) -> Result<DigestOutput, CryptoError> {
        match algorithm {
            DigestAlgorithm::Sha224 => AwsLcDigest.digest(algorithm, parts),
            _ => RingDigest.digest(algorithm, parts),
        }
    }

    fn digest_repeated(&self, algorithm: DigestAlgorithm, parts: &[&[u8]], rounds: u32) -> Result<DigestOutput, CryptoError> {
        match algorithm {
            DigestAlgorithm::Sha224 => AwsLcDigest.digest_repeated(algorithm, parts, rounds),
            _ => RingDigest.digest_repeated(algorithm, parts, rounds),
        }
    }
}

#[derive(Debug)]
struct CombinedHmac;

impl Hmac for CombinedHmac {
    fn hmac(&self, algorithm: DigestAlgorithm, key: &[u8], parts: &[&[u8]]) -> Result<DigestOutput, CryptoError> {
        match algorithm {
            DigestAlgorithm::Sha224 => AwsLcHmac.hmac(algorithm, key, parts),
            _ => RingHmac.hmac(algorithm, key, parts),
        }
    }
}

#[derive(Debug)]
struct CombinedPbkdf2;

impl Pbkdf2 for CombinedPbkdf2 {
    fn derive(&self, prf: DigestAlgorithm, password: &[u8], salt: &[u8], iterations: u32, out: &mut [u8]) -> Result<(), CryptoError> {
        match prf {
            // The compression functions themselves, where the processor has instructions for them, and digests that aws-lc-rs lacks.
            prf if compression::is_quickest(prf) => RingPbkdf2.derive(prf, password, salt, iterations, out),
            DigestAlgorithm::Sha512_224 | DigestAlgorithm::Sha512_256 | DigestAlgorithm::Blake2b512 | DigestAlgorithm::Blake2s256 => {
                RingPbkdf2.derive(prf, password, salt, iterations, out)
            }
            // ring takes 1.2 to 3 times as long.
            _ => AwsLcPbkdf2.derive(prf, password, salt, iterations, out),
        }
    }
}

#[derive(Debug)]
struct CombinedAead;

impl CombinedAead {
    fn backend(algorithm: AeadAlgorithm) -> &'static dyn Aead {
        match algorithm {
            AeadAlgorithm::Aes192Gcm => &AwsLcAead,
            AeadAlgorithm::Aes128Gcm | AeadAlgorithm::Aes256Gcm => &RingAead,
        }
    }
}

impl Aead for CombinedAead {
    fn seal(&self, algorithm: AeadAlgorithm, key: &[u8], nonce: &[u8], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        Self::backend(algorithm).seal(algorithm, key, nonce, aad, plaintext)
    }

    fn open(
        &self,
        algorithm: AeadAlgorithm,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        ciphertext_and_tag: &[u8],
    ) -> Result<SecretBytes, CryptoError> {
        Self::backend(algorithm).open(algorithm, key, nonce, aad, ciphertext_and_tag)
    }
}

#[derive(Debug)]
struct CombinedVerification;

impl SignatureVerification for CombinedVerification {
    fn verify(&self, algorithm: SignatureAlgorithm, spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        match algorithm {
            // ring's P-384 takes three to four times as long; the others it does not have.
            SignatureAlgorithm::EcdsaP384Sha256
            | SignatureAlgorithm::EcdsaP384Sha384
            | SignatureAlgorithm::EcdsaP256Sha512
            | SignatureAlgorithm::EcdsaP384Sha512
            | SignatureAlgorithm::EcdsaP521Sha256
            | SignatureAlgorithm::EcdsaP521Sha384
            | SignatureAlgorithm::EcdsaP521Sha512
            | SignatureAlgorithm::RsaPkcs1Sha224
            | SignatureAlgorithm::RsaPss(_) => AwsLcVerification.verify(algorithm, spki, message, signature),
            _ => RingVerification.verify(algorithm, spki, message, signature),
        }
    }

    fn dangerous_verify_with_short_rsa_key(
        &self,
        algorithm: SignatureAlgorithm,
        spki: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        AwsLcVerification.dangerous_verify_with_short_rsa_key(algorithm, spki, message, signature)
    }
}

#[derive(Debug)]
struct CombinedSigningKeys;

impl SigningKeyLoader for CombinedSigningKeys {
    fn load(&self, key: &PrivateKeyPkcs8) -> Result<Arc<dyn SigningKey>, CryptoError> {
        match PrivateKeyKind::from_pkcs8(key.secret_pkcs8_der())? {
            // ring's RSA takes 1.8 times as long on processors with AVX-512 IFMA, which it does not use, and refuses odd sizes.
            PrivateKeyKind::Rsa { .. } | PrivateKeyKind::EcP384 | PrivateKeyKind::EcP521 | PrivateKeyKind::X25519 => {
                AwsLcSigningKeys.load(key)
            }
            // ring refuses some sound keys: with PKCS#8 attributes, without the public point.
            PrivateKeyKind::EcP256 | PrivateKeyKind::Ed25519 => RingSigningKeys.load(key).or_else(|_| AwsLcSigningKeys.load(key)),
        }
    }
}
