//! Signing and verification from aws-lc-rs.

use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair as _, UnparsedPublicKey};
use aws_lc_rs::{rsa, signature};
use rustls_pki_types::SubjectPublicKeyInfoDer;

use super::is_fips;
use crate::crypto::spki::{PrivateKeyKind, PublicKey, check_rsa_bits};
use crate::crypto::{CryptoError, RSA_SIGNATURES, SignError, SignatureAlgorithm, SignatureVerification, SigningKey, SigningKeyLoader};
use crate::secret::PrivateKeyPkcs8;

#[derive(Debug)]
pub(in crate::crypto) struct AwsLcVerification;

impl SignatureVerification for AwsLcVerification {
    fn verify(&self, algorithm: SignatureAlgorithm, spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        use SignatureAlgorithm as A;
        let key = PublicKey::from_spki(spki)?;
        if let PublicKey::Rsa { bits, .. } = key {
            check_rsa_bits(bits)?;
        }
        let (algorithm, key): (&dyn signature::VerificationAlgorithm, &[u8]) = match (algorithm, key) {
            (A::RsaPkcs1Sha1, PublicKey::Rsa { key, .. }) => (&signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, key),
            (A::RsaPkcs1Sha256, PublicKey::Rsa { key, .. }) => (&signature::RSA_PKCS1_2048_8192_SHA256, key),
            (A::RsaPkcs1Sha384, PublicKey::Rsa { key, .. }) => (&signature::RSA_PKCS1_2048_8192_SHA384, key),
            (A::RsaPkcs1Sha512, PublicKey::Rsa { key, .. }) => (&signature::RSA_PKCS1_2048_8192_SHA512, key),
            (A::RsaPssSha256, PublicKey::Rsa { key, .. }) => (&signature::RSA_PSS_2048_8192_SHA256, key),
            (A::RsaPssSha384, PublicKey::Rsa { key, .. }) => (&signature::RSA_PSS_2048_8192_SHA384, key),
            (A::RsaPssSha512, PublicKey::Rsa { key, .. }) => (&signature::RSA_PSS_2048_8192_SHA512, key),
            (A::EcdsaP256Sha256, PublicKey::EcP256(key)) => (&signature::ECDSA_P256_SHA256_ASN1, key),
            (A::EcdsaP256Sha384, PublicKey::EcP256(key)) => (&signature::ECDSA_P256_SHA384_ASN1, key),
            (A::EcdsaP384Sha256, PublicKey::EcP384(key)) => (&signature::ECDSA_P384_SHA256_ASN1, key),
            (A::EcdsaP384Sha384, PublicKey::EcP384(key)) => (&signature::ECDSA_P384_SHA384_ASN1, key),
            (A::Ed25519, PublicKey::Ed25519(key)) => (&signature::ED25519, key),
            _ => return Err(CryptoError::Failed),
        };
        UnparsedPublicKey::new(algorithm, key).verify(message, signature).map_err(|_| CryptoError::Failed)
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
            PrivateKeyKind::EcP521 | PrivateKeyKind::X25519 => Err(CryptoError::Unsupported("signing with a P-521 or X25519 key")),
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
