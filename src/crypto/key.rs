//! Private keys that may be anywhere: in memory, in an HSM, behind a vault's API.

use core::fmt::Debug;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use rustls_pki_types::SubjectPublicKeyInfoDer;

use super::{CryptoError, KeyTransportAlgorithm, SignatureAlgorithm};
use crate::secret::SecretBytes;

/// Why a key did not sign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The key cannot sign with this algorithm; another one may work.
    #[error("the key does not sign with {0:?}")]
    Unsupported(SignatureAlgorithm),
    /// The provider that loaded the key is restricted, and refuses the algorithm.
    #[error(transparent)]
    NotApproved(#[from] CryptoError),
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

    /// Whether the key lives in a validated FIPS module, and is used there for the algorithms that FIPS approves.
    fn fips(&self) -> bool {
        false
    }

    /// Signs `message` (not its digest). Dropping the future must leave the key usable.
    ///
    /// # Errors
    /// See [`SignError`]; `Unavailable` is retried, the others are not.
    async fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// What a decryption key is asked for.
///
/// A key that does only one of the two answers [`UnwrapError::Unsupported`] to the other.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum UnwrapRequest {
    /// To decrypt one content key or password with RSA.
    #[non_exhaustive]
    KeyTransport {
        /// How the secret was encrypted.
        algorithm: KeyTransportAlgorithm,
        /// The encrypted secret.
        ciphertext: Vec<u8>,
        /// The label of RSAES-OAEP (RFC 8017 section 7.1); empty as a rule, and always for PKCS#1 v1.5.
        label: Vec<u8>,
        /// A ciphertext that is to be rejected may be answered as an empty secret instead of [`UnwrapError::Rejected`]: who asks replaces
        /// either by a substitute, and an error on its way costs time that tells the two apart (0.2 µs measured). Content keys are asked
        /// for so; passwords are not, which may be empty. Keys may ignore it.
        implicit_rejection: bool,
    },
    /// To agree on a shared secret by ECDH with a peer's public key on the key's own curve (RFC 5753, RFC 8418).
    ///
    /// The answer is the raw shared secret: the x-coordinate at the full length of the field, or X25519's output. No key derivation.
    #[non_exhaustive]
    KeyAgreement {
        /// The peer's SubjectPublicKeyInfo DER, straight from the message: the key checks that the point is on its curve.
        peer_spki: Vec<u8>,
    },
}

impl UnwrapRequest {
    /// A request to decrypt `ciphertext`, with the empty label.
    #[must_use]
    pub fn new(algorithm: KeyTransportAlgorithm, ciphertext: Vec<u8>) -> Self {
        Self::with_label(algorithm, ciphertext, Vec::new())
    }

    /// A request to decrypt `ciphertext` that was encrypted with RSAES-OAEP under `label`.
    #[must_use]
    pub fn with_label(algorithm: KeyTransportAlgorithm, ciphertext: Vec<u8>, label: Vec<u8>) -> Self {
        Self::KeyTransport { algorithm, ciphertext, label, implicit_rejection: false }
    }

    /// Allows an empty secret in the place of [`UnwrapError::Rejected`].
    pub(crate) fn with_implicit_rejection(mut self) -> Self {
        if let Self::KeyTransport { implicit_rejection, .. } = &mut self {
            *implicit_rejection = true;
        }
        self
    }

    /// A request to agree on a secret with the holder of `peer_spki` (SubjectPublicKeyInfo DER).
    #[must_use]
    pub fn key_agreement(peer_spki: Vec<u8>) -> Self {
        Self::KeyAgreement { peer_spki }
    }

    /// How the secret was encrypted; `None` for a key agreement.
    #[must_use]
    pub fn algorithm(&self) -> Option<KeyTransportAlgorithm> {
        match self {
            Self::KeyTransport { algorithm, .. } => Some(*algorithm),
            Self::KeyAgreement { .. } => None,
        }
    }

    /// The encrypted secret; `None` for a key agreement.
    #[must_use]
    pub fn ciphertext(&self) -> Option<&[u8]> {
        match self {
            Self::KeyTransport { ciphertext, .. } => Some(ciphertext),
            Self::KeyAgreement { .. } => None,
        }
    }
}

/// Why a key did not decrypt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnwrapError {
    /// The ciphertext is not for this key, its padding is bad, or the peer's point is not on the curve: one value for all of it.
    /// Callers go on with a substitute key; see the message layer.
    #[error("the decryption key rejected the ciphertext")]
    Rejected,
    /// The key cannot do what was asked whatever the ciphertext is: an RSA key asked for a key agreement, an EC key asked to decrypt,
    /// an algorithm that its token lacks. Must not depend on the ciphertext.
    #[error("the decryption key cannot do {0}")]
    Unsupported(&'static str),
    /// The provider that loaded the key is restricted, and refuses the algorithm; says nothing about the ciphertext.
    #[error(transparent)]
    NotApproved(#[from] CryptoError),
    /// The token or service could not be reached; try later.
    #[error("the decryption key is unavailable")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
}

/// A private key that decrypts content keys and passwords, or agrees on secrets from which content keys are unwrapped.
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

    /// Whether the key lives in a validated FIPS module, and is used there for the algorithms that FIPS approves.
    fn fips(&self) -> bool {
        false
    }

    /// Decrypts, or agrees. Dropping the future must leave the key usable.
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
