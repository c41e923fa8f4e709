//! The certificates and keys of a SCEP registration authority, and where they are kept.

use core::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use rustls_pki_types::CertificateDer;

use super::PortError;
use crate::crypto::{DecryptionKey, SigningKey};
use crate::time::Timestamp;

/// The certificates and keys by which the service signs replies and opens requests. The two keys may be one, or live in different tokens.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RegistrationAuthority {
    /// Signs CertReps. RSA: clients of old know nothing else.
    pub signing_certificate: CertificateDer<'static>,
    /// Its key.
    pub signing_key: Arc<dyn SigningKey>,
    /// Clients encrypt requests to it. RSA.
    pub decryption_certificate: CertificateDer<'static>,
    /// Its key.
    pub decryption_key: Arc<dyn DecryptionKey>,
}

impl RegistrationAuthority {
    /// One certificate for both uses; the CA's own when the CA serves SCEP itself.
    #[must_use]
    pub fn single(certificate: CertificateDer<'static>, signing_key: Arc<dyn SigningKey>, decryption_key: Arc<dyn DecryptionKey>) -> Self {
        Self { signing_certificate: certificate.clone(), signing_key, decryption_certificate: certificate, decryption_key }
    }

    /// A certificate for each use.
    #[must_use]
    pub fn pair(
        signing_certificate: CertificateDer<'static>,
        signing_key: Arc<dyn SigningKey>,
        decryption_certificate: CertificateDer<'static>,
        decryption_key: Arc<dyn DecryptionKey>,
    ) -> Self {
        Self { signing_certificate, signing_key, decryption_certificate, decryption_key }
    }
}

/// The key for one use of a registration authority, before it has a certificate.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RegistrationKey {
    /// Signs the request for the certificate; for the signing key, all replies as well.
    pub signing: Arc<dyn SigningKey>,
    /// The same key for decryption; not needed for a key that only signs.
    pub decryption: Option<Arc<dyn DecryptionKey>>,
}

impl RegistrationKey {
    /// A key that only signs.
    #[must_use]
    pub fn signing(key: Arc<dyn SigningKey>) -> Self {
        Self { signing: key, decryption: None }
    }

    /// A key that decrypts; it signs at least the request for its own certificate.
    #[must_use]
    pub fn decrypting(signing: Arc<dyn SigningKey>, decryption: Arc<dyn DecryptionKey>) -> Self {
        Self { signing, decryption: Some(decryption) }
    }
}

/// Fresh keys of a registration authority.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RegistrationKeys {
    /// One key, and one certificate, for both uses.
    Single(RegistrationKey),
    /// A key and a certificate for each use. The signing key may live in another token than the decryption key.
    Pair {
        /// Signs replies.
        signing: RegistrationKey,
        /// Opens requests.
        decryption: RegistrationKey,
    },
}

/// Keeps the keys and certificates of registration authorities that the SCEP service has issued for itself.
///
/// Instances that share a mount point must share a store, or clients meet certificates that another instance does not know. Keep it as
/// durable as the clients' caches of GetCACert: a lost decryption key makes every cached answer useless.
#[async_trait]
pub trait RegistrationAuthorityStore: Debug + Send + Sync {
    /// All authorities that were kept, the newest last. Asked once by `build()`. Those without an end in sight may be left out.
    ///
    /// # Errors
    /// As the store fails; the service is not built.
    async fn load(&self) -> Result<Vec<RegistrationAuthority>, PortError>;

    /// Makes new keys: at the first start, and before the certificates of the last authority end.
    ///
    /// # Errors
    /// As the store or the token fails; tried again with the next `maintain`.
    async fn new_keys(&self) -> Result<RegistrationKeys, PortError>;

    /// Keeps an authority, durably before it returns; it is in use from then on. Others are no longer shown to clients, and decrypt until
    /// `others_until`; forget them afterwards.
    ///
    /// # Errors
    /// As the store fails; the authority is then not used.
    async fn keep(&self, authority: &RegistrationAuthority, others_until: Timestamp) -> Result<(), PortError>;
}
