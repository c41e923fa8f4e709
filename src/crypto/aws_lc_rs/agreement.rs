//! Ephemeral ECDH from aws-lc-rs.

use aws_lc_rs::agreement::{ECDH_P256, ECDH_P384, PrivateKey, UnparsedPublicKey, agree};

use super::is_fips;
use crate::crypto::spki::PublicKey;
use crate::crypto::{CryptoError, KeyAgreement};
use crate::secret::SecretBytes;

#[derive(Debug)]
pub(in crate::crypto) struct AwsLcKeyAgreement;

impl KeyAgreement for AwsLcKeyAgreement {
    fn agree_ephemeral(&self, recipient_spki: &[u8]) -> Result<(Vec<u8>, SecretBytes), CryptoError> {
        let (algorithm, point) = match PublicKey::from_spki(recipient_spki)? {
            PublicKey::EcP256(point) => (&ECDH_P256, point),
            PublicKey::EcP384(point) => (&ECDH_P384, point),
            PublicKey::Rsa { .. } | PublicKey::Ed25519(_) => {
                return Err(CryptoError::Unsupported("ECDH with other keys than P-256 and P-384"));
            }
        };
        let ephemeral = PrivateKey::generate(algorithm).map_err(|_| CryptoError::Failed)?;
        let public = ephemeral.compute_public_key().map_err(|_| CryptoError::Failed)?;
        let public = if algorithm == &ECDH_P256 { PublicKey::EcP256(public.as_ref()) } else { PublicKey::EcP384(public.as_ref()) };
        // RFC 5753 section 3.1: the shared secret is the x-coordinate, at its full length.
        let secret = agree(
            &ephemeral,
            UnparsedPublicKey::new(algorithm, point),
            CryptoError::InvalidKey("the point is not on its curve"),
            |secret| Ok(SecretBytes::copy_from(secret)),
        )?;
        Ok((public.to_spki(), secret))
    }

    fn fips(&self) -> bool {
        is_fips()
    }
}
