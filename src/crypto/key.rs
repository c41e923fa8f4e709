//! Private keys that may be anywhere: in memory, in an HSM, behind a vault's API.

use core::fmt::Debug;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use rustls_pki_types::SubjectPublicKeyInfoDer;

use super::{KeyTransportAlgorithm, SignatureAlgorithm};
use crate::secret::SecretBytes;

/// Why a key did not sign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The key cannot sign with this algorithm; another one may work.
    #[error("the key does not sign with {0:?}")]
    Unsupported(SignatureAlgorithm),
    /// The key or its token refused for good.
    #[error("the signing key refused to sign")]
    Rejected,
    /// The token or service could not be reached; try later.
    #[error("the signing key is unavailable")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
}

/// A private key that signs.
#[async_trait]
pub trait SigningKey: Debug + Send + Sync {
    /// The public half.
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static>;

    /// What it can sign with, preferred first.
    fn algorithms(&self) -> Vec<SignatureAlgorithm>;

    /// Whether `sign` finishes without waiting (software keys). Such keys are used on the CPU threads, others on the async ones.
    fn is_local(&self) -> bool {
        false
    }

    /// Whether the key lives in a validated FIPS module.
    fn fips(&self) -> bool {
        false
    }

    /// Signs `message` (not its digest). Dropping the future must leave the key usable.
    ///
    /// # Errors
    /// See [`SignError`]; `Unavailable` is retried, the others are not.
    async fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// What a decryption key is asked for: one encrypted content key or password.
#[derive(Debug, Clone)]
pub struct UnwrapRequest {
    algorithm: KeyTransportAlgorithm,
    ciphertext: Vec<u8>,
}

impl UnwrapRequest {
    /// A request to decrypt `ciphertext`.
    #[must_use]
    pub fn new(algorithm: KeyTransportAlgorithm, ciphertext: Vec<u8>) -> Self {
        Self { algorithm, ciphertext }
    }

    /// How the secret was encrypted.
    #[must_use]
    pub fn algorithm(&self) -> KeyTransportAlgorithm {
        self.algorithm
    }

    /// The encrypted secret.
    #[must_use]
    pub fn ciphertext(&self) -> &[u8] {
        &self.ciphertext
    }
}

/// Why a key did not decrypt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnwrapError {
    /// The ciphertext is not for this key, or its padding is bad: one value for all of it.
    /// Callers go on with a substitute key; see the message layer.
    #[error("the decryption key rejected the ciphertext")]
    Rejected,
    /// The token or service could not be reached; try later.
    #[error("the decryption key is unavailable")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
}

/// A private key that decrypts content keys and passwords.
///
/// Security duty of implementers: `Rejected` must take the same time whatever is wrong with the padding.
#[async_trait]
pub trait DecryptionKey: Debug + Send + Sync {
    /// The public half.
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static>;

    /// Whether `unwrap` finishes without waiting (software keys).
    fn is_local(&self) -> bool {
        false
    }

    /// Whether the key lives in a validated FIPS module.
    fn fips(&self) -> bool {
        false
    }

    /// Decrypts. Dropping the future must leave the key usable.
    ///
    /// # Errors
    /// See [`UnwrapError`]; only `Unavailable` is retried.
    async fn unwrap(&self, request: &UnwrapRequest) -> Result<SecretBytes, UnwrapError>;
}

/// Signs with a local key without an async context.
///
/// # Errors
/// As [`SigningKey::sign`]; `Unavailable` when the key is not local and would have to wait.
pub fn sign_now(key: &dyn SigningKey, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, SignError> {
    key.sign(algorithm, message).now_or_never().unwrap_or(Err(SignError::Unavailable(None)))
}

/// Decrypts with a local key without an async context.
///
/// # Errors
/// As [`DecryptionKey::unwrap`]; `Unavailable` when the key is not local and would have to wait.
pub fn unwrap_now(key: &dyn DecryptionKey, request: &UnwrapRequest) -> Result<SecretBytes, UnwrapError> {
    key.unwrap(request).now_or_never().unwrap_or(Err(UnwrapError::Unavailable(None)))
}
