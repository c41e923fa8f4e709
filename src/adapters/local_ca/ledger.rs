//! What a [`LocalCa`](super::LocalCa) remembers.

use rustls_pki_types::CertificateDer;

use crate::crypto::{CryptoError, CryptoProvider, DigestAlgorithm};
use crate::ids::{IdempotencyKey, SerialNumber, Thumbprint};
use crate::message::X509Error;
use crate::message::certificate::Certificate;
use crate::terms::RevocationReason;
use crate::time::Timestamp;

/// One certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LedgerEntry {
    /// Its serial number.
    pub serial: SerialNumber,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub public_key_digest: [u8; 32],
    /// Its thumbprint.
    pub thumbprint: Thumbprint,
    /// The request that it was issued for; `None` for a service certificate.
    pub idempotency_key: Option<IdempotencyKey>,
    /// When and why it was revoked.
    pub revoked: Option<(Timestamp, RevocationReason)>,
    /// The certificate.
    pub certificate: CertificateDer<'static>,
}

impl LedgerEntry {
    pub(super) fn new(provider: &CryptoProvider, certificate: &Certificate, key: Option<IdempotencyKey>) -> Result<Self, X509Error> {
        Ok(Self {
            serial: certificate.serial().cloned().ok_or(X509Error::CannotBuild("the serial number is not positive"))?,
            public_key_digest: sha256(provider, certificate.spki())?,
            thumbprint: certificate.thumbprint(provider)?,
            idempotency_key: key,
            revoked: None,
            certificate: certificate.der().clone(),
        })
    }
}

pub(super) fn sha256(provider: &CryptoProvider, bytes: &[u8]) -> Result<[u8; 32], X509Error> {
    let digest = provider.digest()?.digest(DigestAlgorithm::Sha256, &[bytes]).map_err(X509Error::Crypto)?;
    digest.as_ref().try_into().map_err(|_| X509Error::Crypto(CryptoError::Failed))
}
