//! Random bytes, digests, HMAC and PBKDF2 from aws-lc-rs.

use core::num::NonZeroU32;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::{digest, hmac, pbkdf2};

use super::is_fips;
use crate::crypto::hmac::{hmac_over_digest, pbkdf2_over_hmac};
use crate::crypto::rare_digests;
use crate::crypto::{CryptoError, Digest, DigestAlgorithm, DigestOutput, Hmac, Pbkdf2, SecureRandom};

#[derive(Debug)]
pub(in crate::crypto) struct AwsLcRandom;

impl SecureRandom for AwsLcRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), CryptoError> {
        SystemRandom::new().fill(out).map_err(|_| CryptoError::Failed)
    }

    fn fips(&self) -> bool {
        is_fips()
    }
}

#[derive(Debug)]
pub(in crate::crypto) struct AwsLcDigest;

impl Digest for AwsLcDigest {
    fn digest(&self, algorithm: DigestAlgorithm, parts: &[&[u8]]) -> Result<DigestOutput, CryptoError> {
        let algorithm = match algorithm {
            DigestAlgorithm::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            DigestAlgorithm::Sha256 => &digest::SHA256,
            DigestAlgorithm::Sha384 => &digest::SHA384,
            DigestAlgorithm::Sha512 => &digest::SHA512,
            DigestAlgorithm::Sha512_256 => &digest::SHA512_256,
            DigestAlgorithm::Sha224 => &digest::SHA224,
            DigestAlgorithm::Sha512_224 | DigestAlgorithm::Blake2b512 | DigestAlgorithm::Blake2s256 if is_fips() => {
                return Err(CryptoError::Unsupported("SHA-512/224 or BLAKE2 in the FIPS module"));
            }
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

    fn fips(&self) -> bool {
        is_fips()
    }
}

#[derive(Debug)]
pub(in crate::crypto) struct AwsLcHmac;

impl Hmac for AwsLcHmac {
    fn hmac(&self, algorithm: DigestAlgorithm, key: &[u8], parts: &[&[u8]]) -> Result<DigestOutput, CryptoError> {
        let native = match algorithm {
            DigestAlgorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            DigestAlgorithm::Sha224 => hmac::HMAC_SHA224,
            DigestAlgorithm::Sha256 => hmac::HMAC_SHA256,
            DigestAlgorithm::Sha384 => hmac::HMAC_SHA384,
            DigestAlgorithm::Sha512 => hmac::HMAC_SHA512,
            _ => {
                return hmac_over_digest(&AwsLcDigest, algorithm, key, parts);
            }
        };
        let mut context = hmac::Context::with_key(&hmac::Key::new(native, key));
        for part in parts {
            context.update(part);
        }
        DigestOutput::new(context.sign().as_ref())
    }

    fn fips(&self) -> bool {
        is_fips()
    }
}

#[derive(Debug)]
pub(in crate::crypto) struct AwsLcPbkdf2;

impl Pbkdf2 for AwsLcPbkdf2 {
    fn derive(&self, prf: DigestAlgorithm, password: &[u8], salt: &[u8], iterations: u32, out: &mut [u8]) -> Result<(), CryptoError> {
        let native = match prf {
            DigestAlgorithm::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            DigestAlgorithm::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            DigestAlgorithm::Sha384 => pbkdf2::PBKDF2_HMAC_SHA384,
            DigestAlgorithm::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
            #[cfg(feature = "rare-digests")]
            DigestAlgorithm::Sha512_224 | DigestAlgorithm::Sha512_256 | DigestAlgorithm::Blake2b512 | DigestAlgorithm::Blake2s256
                if !is_fips() =>
            {
                return rare_digests::pbkdf2(prf, password, salt, iterations, out);
            }
            _ => {
                return pbkdf2_over_hmac(&AwsLcHmac, prf, password, salt, iterations, out);
            }
        };
        let iterations = NonZeroU32::new(iterations).ok_or(CryptoError::InvalidArgument("PBKDF2 needs at least one iteration"))?;
        pbkdf2::derive(native, iterations, salt, password, out);
        Ok(())
    }

    fn fips(&self) -> bool {
        is_fips()
    }
}
