//! Signing and verification from aws-lc-rs.

use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use aws_lc_rs::{rsa, signature};
use rustls_pki_types::SubjectPublicKeyInfoDer;

use super::{AwsLcDigest, is_fips};
use crate::crypto::rsa_public::{self, ShortKeys};
use crate::crypto::spki::{PrivateKeyKind, PublicKey};
use crate::crypto::{CryptoError, RSA_SIGNATURES, SignError, SignatureAlgorithm, SignatureVerification, SigningKey, SigningKeyLoader};
use crate::secret::PrivateKeyPkcs8;

#[derive(Debug)]
pub(in crate::crypto) struct AwsLcVerification;

impl SignatureVerification for AwsLcVerification {
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
            (A::EcdsaP256Sha512, PublicKey::EcP256(key)) => (&signature::ECDSA_P256_SHA512_ASN1, key),
            (A::EcdsaP384Sha256, PublicKey::EcP384(key)) => (&signature::ECDSA_P384_SHA256_ASN1, key),
            (A::EcdsaP384Sha384, PublicKey::EcP384(key)) => (&signature::ECDSA_P384_SHA384_ASN1, key),
            (A::EcdsaP384Sha512, PublicKey::EcP384(key)) => (&signature::ECDSA_P384_SHA512_ASN1, key),
            (A::EcdsaP521Sha256, PublicKey::EcP521(key)) => (&signature::ECDSA_P521_SHA256_ASN1, key),
            (A::EcdsaP521Sha384, PublicKey::EcP521(key)) => (&signature::ECDSA_P521_SHA384_ASN1, key),
            (A::EcdsaP521Sha512, PublicKey::EcP521(key)) => (&signature::ECDSA_P521_SHA512_ASN1, key),
            (A::Ed25519, PublicKey::Ed25519(key)) => (&signature::ED25519, key),
            // Computed outside the library, so not by a validated module.
            (A::RsaPkcs1Sha224 | A::RsaPss(_), _) if is_fips() => {
                return Err(CryptoError::Unsupported("RSA with SHA-224 or with these RSASSA-PSS parameters in FIPS mode"));
            }
            (A::RsaPkcs1Sha224 | A::RsaPss(_), PublicKey::Rsa { .. } | PublicKey::RsaPss { .. }) => {
                return rsa_public::verify(&AwsLcDigest, algorithm, parsed, message, signature, ShortKeys::Refuse);
            }
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
        if is_fips() {
            return Err(CryptoError::Unsupported("RSA keys under 2048 bits in FIPS mode"));
        }
        rsa_public::verify(&AwsLcDigest, algorithm, PublicKey::from_spki(spki)?, message, signature, ShortKeys::FromBits1024)
    }

    fn fips(&self) -> bool {
        is_fips()
    }
}

#[derive(Debug)]
pub(in crate::crypto) struct AwsLcSigningKeys;

impl SigningKeyLoader for AwsLcSigningKeys {
    fn load(&self, key: &PrivateKeyPkcs8) -> Result<Arc<dyn SigningKey>, CryptoError> {
        let der = key.secret_pkcs8_der();
        match PrivateKeyKind::from_pkcs8(der)? {
            PrivateKeyKind::Rsa { .. } => {
                let pair =
                    rsa::KeyPair::from_pkcs8(der).map_err(|_| CryptoError::InvalidKey("the RSA key is malformed or inconsistent"))?;
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
            PrivateKeyKind::EcP521 => {
                let pair = ecdsa_pair(&signature::ECDSA_P521_SHA512_ASN1_SIGNING, der)?;
                let spki = PublicKey::EcP521(pair.public_key().as_ref()).to_spki().into();
                Ok(Arc::new(EcSigningKey { pair, spki, algorithm: SignatureAlgorithm::EcdsaP521Sha512 }))
            }
            PrivateKeyKind::Ed25519 => {
                let pair =
                    Ed25519KeyPair::from_pkcs8(der).map_err(|_| CryptoError::InvalidKey("the Ed25519 key is malformed or inconsistent"))?;
                let spki = PublicKey::Ed25519(pair.public_key().as_ref()).to_spki().into();
                Ok(Arc::new(Ed25519SigningKey { pair, spki }))
            }
            PrivateKeyKind::X25519 => Err(CryptoError::InvalidKey("an X25519 key does not sign")),
        }
    }

    fn fips(&self) -> bool {
        is_fips()
    }
}

fn ecdsa_pair(algorithm: &'static signature::EcdsaSigningAlgorithm, der: &[u8]) -> Result<EcdsaKeyPair, CryptoError> {
    EcdsaKeyPair::from_pkcs8(algorithm, der).map_err(|_| CryptoError::InvalidKey("the elliptic curve key is malformed or inconsistent"))
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
        RSA_SIGNATURES.to_vec()
    }

    fn is_local(&self) -> bool {
        true
    }

    fn fips(&self) -> bool {
        is_fips()
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
        let mut out = vec![0; self.pair.public_modulus_len()];
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

    fn fips(&self) -> bool {
        is_fips()
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

    fn fips(&self) -> bool {
        is_fips()
    }

    async fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match algorithm {
            SignatureAlgorithm::Ed25519 => Ok(self.pair.sign(message).as_ref().to_vec()),
            other => Err(SignError::Unsupported(other)),
        }
    }
}
