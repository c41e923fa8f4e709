//! Slots from *ring*: random, digest, HMAC, PBKDF2, AES-GCM, signing, verification.
//!
//! *ring* has no RSA decryption, RSA encryption, key generation, AES-CBC, key wrap or ECDH that leaves its own types.

use core::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use ring::{aead, digest, hmac, pbkdf2, rsa, signature};
use rustls_pki_types::SubjectPublicKeyInfoDer;

use super::compression;
use super::hmac::{hmac_over_digest, pbkdf2_over_hmac};
use super::rare_digests;
use super::rsa_public::{self, ShortKeys};
use super::slots::one_by_one;
use super::spki::{PrivateKeyKind, PublicKey};
use super::{
    Aead, AeadAlgorithm, CryptoError, CryptoProvider, Digest, DigestAlgorithm, DigestOutput, Hmac, Pbkdf2, SecureRandom, SignError,
    SignatureAlgorithm, SignatureVerification, SigningKey, SigningKeyLoader,
};
use crate::secret::{PrivateKeyPkcs8, SecretBytes};

impl CryptoProvider {
    /// *ring* alone: enough to sign, verify and derive; decryption of RSA or AES-CBC, key generation and the like are missing slots.
    #[must_use]
    pub fn ring_only() -> Self {
        let provider = Self::empty("ring")
            .with_random(Arc::new(RingRandom))
            .with_digest(Arc::new(RingDigest))
            .with_hmac(Arc::new(RingHmac))
            .with_pbkdf2(Arc::new(RingPbkdf2))
            .with_aead(Arc::new(RingAead))
            .with_verification(Arc::new(RingVerification))
            .with_signing_keys(Arc::new(RingSigningKeys));
        #[cfg(feature = "scrypt")]
        let provider = provider.with_scrypt(Arc::new(super::scrypt::SoftwareScrypt));
        provider
    }
}

#[derive(Debug)]
pub(super) struct RingRandom;

impl SecureRandom for RingRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), CryptoError> {
        SystemRandom::new().fill(out).map_err(|_| CryptoError::Failed)
    }
}

#[derive(Debug)]
pub(super) struct RingDigest;

impl Digest for RingDigest {
    fn digest(&self, algorithm: DigestAlgorithm, parts: &[&[u8]]) -> Result<DigestOutput, CryptoError> {
        let algorithm = match algorithm {
            DigestAlgorithm::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            DigestAlgorithm::Sha256 => &digest::SHA256,
            DigestAlgorithm::Sha384 => &digest::SHA384,
            DigestAlgorithm::Sha512 => &digest::SHA512,
            DigestAlgorithm::Sha512_256 => &digest::SHA512_256,
            DigestAlgorithm::Sha224 => return Err(CryptoError::Unsupported("SHA-224")),
            DigestAlgorithm::Sha512_224 | DigestAlgorithm::Blake2b512 | DigestAlgorithm::Blake2s256 => {
                return rare_digests::digest(algorithm, parts);
            }
        };
        let mut context = digest::Context::new(algorithm);
        for part in parts {
            context.update(part);
        }
        DigestOutput::new(context.finish().as_ref())
    }

    fn digest_repeated(&self, algorithm: DigestAlgorithm, parts: &[&[u8]], rounds: u32) -> Result<DigestOutput, CryptoError> {
        if compression::is_quickest(algorithm) {
            return compression::digest_repeated(self, algorithm, parts, rounds);
        }
        one_by_one(|parts| self.digest(algorithm, parts), parts, rounds)
    }
}

#[derive(Debug)]
pub(super) struct RingHmac;

impl Hmac for RingHmac {
    fn hmac(&self, algorithm: DigestAlgorithm, key: &[u8], parts: &[&[u8]]) -> Result<DigestOutput, CryptoError> {
        let native = match algorithm {
            DigestAlgorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            DigestAlgorithm::Sha256 => hmac::HMAC_SHA256,
            DigestAlgorithm::Sha384 => hmac::HMAC_SHA384,
            DigestAlgorithm::Sha512 => hmac::HMAC_SHA512,
            _ => {
                return hmac_over_digest(&RingDigest, algorithm, key, parts);
            }
        };
        let mut context = hmac::Context::with_key(&hmac::Key::new(native, key));
        for part in parts {
            context.update(part);
        }
        DigestOutput::new(context.sign().as_ref())
    }
}

#[derive(Debug)]
pub(super) struct RingPbkdf2;

impl Pbkdf2 for RingPbkdf2 {
    fn derive(&self, prf: DigestAlgorithm, password: &[u8], salt: &[u8], iterations: u32, out: &mut [u8]) -> Result<(), CryptoError> {
        if compression::is_quickest(prf) {
            return compression::pbkdf2(&RingDigest, &RingHmac, prf, password, salt, iterations, out);
        }
        let native = match prf {
            DigestAlgorithm::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            DigestAlgorithm::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            DigestAlgorithm::Sha384 => pbkdf2::PBKDF2_HMAC_SHA384,
            DigestAlgorithm::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
            #[cfg(feature = "rare-digests")]
            DigestAlgorithm::Sha512_224 | DigestAlgorithm::Sha512_256 | DigestAlgorithm::Blake2b512 | DigestAlgorithm::Blake2s256 => {
                return rare_digests::pbkdf2(prf, password, salt, iterations, out);
            }
            _ => {
                return pbkdf2_over_hmac(&RingHmac, prf, password, salt, iterations, out);
            }
        };
        let iterations = NonZeroU32::new(iterations).ok_or(CryptoError::InvalidArgument("PBKDF2 needs at least one iteration"))?;
        pbkdf2::derive(native, iterations, salt, password, out);
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct RingAead;

impl RingAead {
    fn key(algorithm: AeadAlgorithm, key: &[u8], nonce: &[u8]) -> Result<(aead::LessSafeKey, aead::Nonce), CryptoError> {
        let algorithm = match algorithm {
            AeadAlgorithm::Aes128Gcm => &aead::AES_128_GCM,
            AeadAlgorithm::Aes256Gcm => &aead::AES_256_GCM,
            AeadAlgorithm::Aes192Gcm => return Err(CryptoError::Unsupported("AES-192-GCM")),
        };
        let key = aead::UnboundKey::new(algorithm, key).map_err(|_| CryptoError::InvalidArgument("the AES key has the wrong length"))?;
        let nonce = aead::Nonce::try_assume_unique_for_key(nonce)
            .map_err(|_| CryptoError::InvalidArgument("the AES-GCM nonce is not 12 bytes long"))?;
        Ok((aead::LessSafeKey::new(key), nonce))
    }
}

impl Aead for RingAead {
    fn seal(&self, algorithm: AeadAlgorithm, key: &[u8], nonce: &[u8], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let (key, nonce) = Self::key(algorithm, key, nonce)?;
        // Room for the tag from the start: a growing buffer would leave plaintext behind.
        let mut out = Vec::with_capacity(plaintext.len() + 16);
        out.extend_from_slice(plaintext);
        key.seal_in_place_append_tag(nonce, aead::Aad::from(aad), &mut out).map_err(|_| CryptoError::Failed)?;
        Ok(out)
    }

    fn open(
        &self,
        algorithm: AeadAlgorithm,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        ciphertext_and_tag: &[u8],
    ) -> Result<SecretBytes, CryptoError> {
        let (key, nonce) = Self::key(algorithm, key, nonce)?;
        let mut out = SecretBytes::copy_from(ciphertext_and_tag);
        let len = key.open_in_place(nonce, aead::Aad::from(aad), out.secret_bytes_mut()).map_err(|_| CryptoError::Failed)?.len();
        out.truncate(len);
        Ok(out)
    }
}

#[derive(Debug)]
pub(super) struct RingVerification;

impl SignatureVerification for RingVerification {
    fn verify(&self, algorithm: SignatureAlgorithm, spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        use SignatureAlgorithm as A;
        let parsed = PublicKey::from_spki(spki)?;
        parsed.check_rsa_use(algorithm.pss_parameters())?;
        let (algorithm, key): (&dyn signature::VerificationAlgorithm, &[u8]) = match (algorithm, parsed) {
            (A::RsaPkcs1Sha1, PublicKey::Rsa { key, .. }) => (&signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, key),
            (A::RsaPkcs1Sha256, PublicKey::Rsa { key, .. }) => (&signature::RSA_PKCS1_2048_8192_SHA256, key),
            (A::RsaPkcs1Sha384, PublicKey::Rsa { key, .. }) => (&signature::RSA_PKCS1_2048_8192_SHA384, key),
            (A::RsaPkcs1Sha512, PublicKey::Rsa { key, .. }) => (&signature::RSA_PKCS1_2048_8192_SHA512, key),
            (A::RsaPssSha256, PublicKey::Rsa { key, .. } | PublicKey::RsaPss { key, .. }) => (&signature::RSA_PSS_2048_8192_SHA256, key),
            (A::RsaPssSha384, PublicKey::Rsa { key, .. } | PublicKey::RsaPss { key, .. }) => (&signature::RSA_PSS_2048_8192_SHA384, key),
            (A::RsaPssSha512, PublicKey::Rsa { key, .. } | PublicKey::RsaPss { key, .. }) => (&signature::RSA_PSS_2048_8192_SHA512, key),
            (A::EcdsaP256Sha256, PublicKey::EcP256(key)) => (&signature::ECDSA_P256_SHA256_ASN1, key),
            (A::EcdsaP256Sha384, PublicKey::EcP256(key)) => (&signature::ECDSA_P256_SHA384_ASN1, key),
            (A::EcdsaP384Sha256, PublicKey::EcP384(key)) => (&signature::ECDSA_P384_SHA256_ASN1, key),
            (A::EcdsaP384Sha384, PublicKey::EcP384(key)) => (&signature::ECDSA_P384_SHA384_ASN1, key),
            (A::Ed25519, PublicKey::Ed25519(key)) => (&signature::ED25519, key),
            (A::RsaPkcs1Sha224 | A::RsaPss(_), PublicKey::Rsa { .. } | PublicKey::RsaPss { .. }) => {
                return rsa_public::verify(&RingDigest, algorithm, parsed, message, signature, ShortKeys::Refuse);
            }
            (A::EcdsaP256Sha512, PublicKey::EcP256(_)) | (A::EcdsaP384Sha512, PublicKey::EcP384(_)) => {
                return Err(CryptoError::Unsupported("ECDSA with SHA-512 on P-256 or P-384"));
            }
            (_, PublicKey::EcP521(_)) => return Err(CryptoError::Unsupported("ECDSA on P-521")),
            _ => return Err(CryptoError::Failed),
        };
        UnparsedPublicKey::new(algorithm, key).verify(message, signature).map_err(|_| CryptoError::Failed)
    }

    fn dangerous_verify_with_short_rsa_key(
        &self,
        algorithm: SignatureAlgorithm,
        spki: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        rsa_public::verify(&RingDigest, algorithm, PublicKey::from_spki(spki)?, message, signature, ShortKeys::FromBits1024)
    }
}

#[derive(Debug)]
pub(super) struct RingSigningKeys;

impl SigningKeyLoader for RingSigningKeys {
    fn load(&self, key: &PrivateKeyPkcs8) -> Result<Arc<dyn SigningKey>, CryptoError> {
        let der = key.secret_pkcs8_der();
        match PrivateKeyKind::from_pkcs8(der)? {
            PrivateKeyKind::Rsa { .. } => {
                let pair = rsa::KeyPair::from_pkcs8(der).map_err(|_| {
                    CryptoError::InvalidKey("the RSA key is inconsistent, carries attributes, or is not of 2048, 3072 or 4096 bits")
                })?;
                let spki = PublicKey::from_rsa(pair.public_key().as_ref())?.to_spki().into();
                Ok(Arc::new(RsaSigningKey { pair, spki }))
            }
            PrivateKeyKind::EcP256 => {
                let pair = ecdsa_pair(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, der)?;
                let spki = PublicKey::EcP256(pair.public_key().as_ref()).to_spki().into();
                Ok(Arc::new(EcSigningKey { pair, spki, algorithm: SignatureAlgorithm::EcdsaP256Sha256 }))
            }
            PrivateKeyKind::EcP384 => {
                let pair = ecdsa_pair(&signature::ECDSA_P384_SHA384_ASN1_SIGNING, der)?;
                let spki = PublicKey::EcP384(pair.public_key().as_ref()).to_spki().into();
                Ok(Arc::new(EcSigningKey { pair, spki, algorithm: SignatureAlgorithm::EcdsaP384Sha384 }))
            }
            PrivateKeyKind::Ed25519 => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                    .map_err(|_| CryptoError::InvalidKey("the Ed25519 key is inconsistent or carries attributes"))?;
                let spki = PublicKey::Ed25519(pair.public_key().as_ref()).to_spki().into();
                Ok(Arc::new(Ed25519SigningKey { pair, spki }))
            }
            PrivateKeyKind::EcP521 => Err(CryptoError::Unsupported("signing with a P-521 key")),
            PrivateKeyKind::X25519 => Err(CryptoError::InvalidKey("an X25519 key does not sign")),
        }
    }
}

fn ecdsa_pair(algorithm: &'static signature::EcdsaSigningAlgorithm, der: &[u8]) -> Result<EcdsaKeyPair, CryptoError> {
    EcdsaKeyPair::from_pkcs8(algorithm, der, &SystemRandom::new())
        .map_err(|_| CryptoError::InvalidKey("the elliptic curve key is inconsistent, carries attributes, or has no public half"))
}

#[derive(Debug)]
struct RsaSigningKey {
    pair: rsa::KeyPair,
    spki: SubjectPublicKeyInfoDer<'static>,
}

#[async_trait]
impl SigningKey for RsaSigningKey {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.spki.clone()
    }

    fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        super::RSA_SIGNATURES.to_vec()
    }

    fn is_local(&self) -> bool {
        true
    }

    async fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let encoding: &'static dyn signature::RsaEncoding = match algorithm {
            SignatureAlgorithm::RsaPkcs1Sha256 => &signature::RSA_PKCS1_SHA256,
            SignatureAlgorithm::RsaPkcs1Sha384 => &signature::RSA_PKCS1_SHA384,
            SignatureAlgorithm::RsaPkcs1Sha512 => &signature::RSA_PKCS1_SHA512,
            SignatureAlgorithm::RsaPssSha256 => &signature::RSA_PSS_SHA256,
            SignatureAlgorithm::RsaPssSha384 => &signature::RSA_PSS_SHA384,
            SignatureAlgorithm::RsaPssSha512 => &signature::RSA_PSS_SHA512,
            other => return Err(SignError::Unsupported(other)),
        };
        let mut out = vec![0; self.pair.public().modulus_len()];
        self.pair.sign(encoding, &SystemRandom::new(), message, &mut out).map_err(|_| SignError::Rejected)?;
        Ok(out)
    }
}

#[derive(Debug)]
struct EcSigningKey {
    pair: EcdsaKeyPair,
    spki: SubjectPublicKeyInfoDer<'static>,
    algorithm: SignatureAlgorithm,
}

#[async_trait]
impl SigningKey for EcSigningKey {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.spki.clone()
    }

    fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        vec![self.algorithm]
    }

    fn is_local(&self) -> bool {
        true
    }

    async fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, SignError> {
        if algorithm != self.algorithm {
            return Err(SignError::Unsupported(algorithm));
        }
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| SignError::Rejected)?;
        Ok(signature.as_ref().to_vec())
    }
}

#[derive(Debug)]
struct Ed25519SigningKey {
    pair: Ed25519KeyPair,
    spki: SubjectPublicKeyInfoDer<'static>,
}

#[async_trait]
impl SigningKey for Ed25519SigningKey {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.spki.clone()
    }

    fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        vec![SignatureAlgorithm::Ed25519]
    }

    fn is_local(&self) -> bool {
        true
    }

    async fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match algorithm {
            SignatureAlgorithm::Ed25519 => Ok(self.pair.sign(message).as_ref().to_vec()),
            other => Err(SignError::Unsupported(other)),
        }
    }
}
