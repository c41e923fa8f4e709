//! Key pair generation from aws-lc-rs.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm};

use super::is_fips;
use crate::crypto::{CryptoError, KeyGeneration};
use crate::secret::PrivateKeyPkcs8;
use crate::terms::KeyAlgorithm;

#[derive(Debug)]
pub(in crate::crypto) struct AwsLcKeyGeneration;

impl KeyGeneration for AwsLcKeyGeneration {
    fn generate(&self, algorithm: KeyAlgorithm) -> Result<PrivateKeyPkcs8, CryptoError> {
        match algorithm {
            KeyAlgorithm::Rsa2048 => rsa(KeySize::Rsa2048),
            KeyAlgorithm::Rsa3072 => rsa(KeySize::Rsa3072),
            KeyAlgorithm::Rsa4096 => rsa(KeySize::Rsa4096),
            KeyAlgorithm::EcP256 => ec(&ECDSA_P256_SHA256_ASN1_SIGNING),
            KeyAlgorithm::EcP384 => ec(&ECDSA_P384_SHA384_ASN1_SIGNING),
        }
    }

    fn fips(&self) -> bool {
        is_fips()
    }
}

fn rsa(size: KeySize) -> Result<PrivateKeyPkcs8, CryptoError> {
    let pair = KeyPair::generate(size).map_err(|_| CryptoError::Failed)?;
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(|_| CryptoError::Failed)?;
    Ok(PrivateKeyPkcs8::new(der.as_ref().to_vec()))
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> Result<PrivateKeyPkcs8, CryptoError> {
    let pair = EcdsaKeyPair::generate(algorithm).map_err(|_| CryptoError::Failed)?;
    // The document wipes itself on drop.
    let der = pair.to_pkcs8v1().map_err(|_| CryptoError::Failed)?;
    Ok(PrivateKeyPkcs8::new(der.as_ref().to_vec()))
}
