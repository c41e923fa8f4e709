//! ECDH from aws-lc-rs: the sender's ephemeral half and the recipient's key.

use core::fmt;

use async_trait::async_trait;
use aws_lc_rs::agreement::{Algorithm, ECDH_P256, ECDH_P384, ECDH_P521, PrivateKey, UnparsedPublicKey, X25519, agree};
use rustls_pki_types::SubjectPublicKeyInfoDer;

use super::is_fips;
use crate::crypto::spki::{PrivateKeyKind, PublicKey, x25519_private_key};
use crate::crypto::{CryptoError, DecryptionKey, KeyAgreement, UnwrapError, UnwrapRequest};
use crate::secret::SecretBytes;

#[derive(Debug)]
pub(in crate::crypto) struct AwsLcKeyAgreement;

impl KeyAgreement for AwsLcKeyAgreement {
    fn agree_ephemeral(&self, recipient_spki: &[u8]) -> Result<(Vec<u8>, SecretBytes), CryptoError> {
        let (algorithm, recipient) = curve(PublicKey::from_spki(recipient_spki)?).ok_or(NO_CURVE)?;
        let ephemeral = PrivateKey::generate(algorithm).map_err(|_| CryptoError::Failed)?;
        let secret = shared_secret(&ephemeral, algorithm, recipient).ok_or(CryptoError::InvalidKey("the point is not on its curve"))?;
        Ok((spki(&ephemeral, algorithm)?, secret))
    }

    fn fips(&self) -> bool {
        is_fips()
    }
}

/// A private key on a curve.
pub(super) struct AgreementKey {
    key: PrivateKey,
    algorithm: &'static Algorithm,
    spki: SubjectPublicKeyInfoDer<'static>,
}

impl AgreementKey {
    /// Opens PKCS#8.
    pub(super) fn load(kind: PrivateKeyKind, der: &[u8]) -> Result<Self, CryptoError> {
        const MALFORMED: CryptoError = CryptoError::InvalidKey("the key is malformed or inconsistent");
        let algorithm = match kind {
            PrivateKeyKind::EcP256 => &ECDH_P256,
            PrivateKeyKind::EcP384 => &ECDH_P384,
            PrivateKeyKind::EcP521 => &ECDH_P521,
            PrivateKeyKind::X25519 => &X25519,
            PrivateKeyKind::Rsa { .. } | PrivateKeyKind::Ed25519 => return Err(NO_CURVE),
        };
        let key = match x25519_private_key(der) {
            Some(raw) => PrivateKey::from_private_key(algorithm, raw),
            None => PrivateKey::from_private_key_der(algorithm, der),
        };
        let key = key.map_err(|_| MALFORMED)?;
        let spki = spki(&key, algorithm)?.into();
        Ok(Self { key, algorithm, spki })
    }
}

impl fmt::Debug for AgreementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgreementKey").field("algorithm", self.algorithm).finish_non_exhaustive()
    }
}

#[async_trait]
impl DecryptionKey for AgreementKey {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.spki.clone()
    }

    fn is_local(&self) -> bool {
        true
    }

    fn fips(&self) -> bool {
        is_fips()
    }

    async fn unwrap(&self, request: &UnwrapRequest) -> Result<SecretBytes, UnwrapError> {
        let UnwrapRequest::KeyAgreement { peer_spki } = request else {
            return Err(UnwrapError::Unsupported("RSA decryption, being a key for ECDH"));
        };
        match PublicKey::from_spki(peer_spki).ok().and_then(curve) {
            Some((algorithm, point)) if algorithm == self.algorithm => {
                shared_secret(&self.key, algorithm, point).ok_or(UnwrapError::Rejected)
            }
            _ => Err(UnwrapError::Rejected),
        }
    }
}

const NO_CURVE: CryptoError = CryptoError::Unsupported("ECDH with other keys than P-256, P-384, P-521 and X25519");

fn curve(key: PublicKey<'_>) -> Option<(&'static Algorithm, &[u8])> {
    match key {
        PublicKey::EcP256(point) => Some((&ECDH_P256, point)),
        PublicKey::EcP384(point) => Some((&ECDH_P384, point)),
        PublicKey::EcP521(point) => Some((&ECDH_P521, point)),
        PublicKey::X25519(point) => Some((&X25519, point)),
        PublicKey::Rsa { .. } | PublicKey::RsaPss { .. } | PublicKey::Ed25519(_) => None,
    }
}

fn spki(key: &PrivateKey, algorithm: &'static Algorithm) -> Result<Vec<u8>, CryptoError> {
    let public = key.compute_public_key().map_err(|_| CryptoError::Failed)?;
    let public = public.as_ref();
    Ok(if algorithm == &ECDH_P256 {
        PublicKey::EcP256(public)
    } else if algorithm == &ECDH_P384 {
        PublicKey::EcP384(public)
    } else if algorithm == &ECDH_P521 {
        PublicKey::EcP521(public)
    } else {
        PublicKey::X25519(public)
    }
    .to_spki())
}

/// RFC 5753 section 7.1: the x-coordinate at its full length. `None` when the point is not on the curve or (X25519) of small order.
fn shared_secret(key: &PrivateKey, algorithm: &'static Algorithm, point: &[u8]) -> Option<SecretBytes> {
    agree(key, UnparsedPublicKey::new(algorithm, point), (), |secret| Ok(SecretBytes::copy_from(secret))).ok()
}
