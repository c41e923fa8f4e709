//! Why a CMS message was not read or written.

use crate::crypto::{CryptoError, MissingSlot, SignError, UnwrapError};
use crate::ids::Oid;
use crate::limits::LimitExceeded;
use crate::retry::Retry;

/// Why a CMS operation failed. Decryption has one value whatever went wrong; everything told apart here is visible without the key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CmsError {
    /// Not a well-formed message of the kind asked for.
    #[error("not a well-formed CMS message: {0}")]
    Malformed(&'static str),
    /// The message costs more to read than is allowed.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// A content type that this operation does not read.
    #[error("the CMS content type {0} is not what is expected here")]
    ContentType(Oid),
    /// An algorithm that is not supported.
    #[error("the {role} {oid}{} is not supported", algorithm_name(oid))]
    UnsupportedAlgorithm {
        /// What it is used for.
        role: &'static str,
        /// Which one.
        oid: Oid,
    },
    /// RSAES-OAEP with two different hashes, which no provider has.
    #[error("OAEP with {hash} and MGF1 with {mask_hash} is not supported: both hashes must be the same")]
    UnsupportedOaepHashes {
        /// The hash of OAEP.
        hash: Oid,
        /// The hash of MGF1.
        mask_hash: Oid,
    },
    /// An algorithm that is understood and refused as too weak unless opted in.
    #[error("{0} is refused as too weak; opt in by the option of that name if old peers need it")]
    WeakAlgorithm(&'static str),
    /// No recipient in the message is the one asked for.
    #[error("the message is not encrypted to this recipient by a supported kind of recipient")]
    NotARecipient,
    /// The message could not be decrypted: wrong key, bad padding, bad length, damage. One value for all of it.
    #[error("the message could not be decrypted")]
    Decryption,
    /// The decryption key could not be reached; try later.
    #[error("the decryption key is unavailable")]
    KeyUnavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// The decryption key is of a kind that cannot do what this recipient needs, such as an RSA key where a key agreement is asked for.
    #[error("the decryption key cannot do {0}")]
    KeyUnsuitable(&'static str),
    /// The signer's certificate is neither in the message nor among those given.
    #[error("the signer's certificate is missing")]
    SignerNotFound,
    /// The message has no signer (certs-only) where one is demanded.
    #[error("the message is not signed")]
    NotSigned,
    /// The content is not in the message and was not given.
    #[error("the signed content is detached and was not given")]
    Detached,
    /// The signature, or the content's digest, does not fit.
    #[error("the signature does not verify")]
    Signature,
    /// A certificate cannot be used for this.
    #[error("the certificate cannot be used: {0}")]
    Certificate(&'static str),
    /// The password is longer than the key and the hash can carry.
    #[error("the password is too long: at most {max} bytes fit")]
    PasswordTooLong {
        /// Longest password in bytes.
        max: usize,
    },
    /// The signing key failed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The provider has no implementation for a needed slot.
    #[error(transparent)]
    MissingSlot(#[from] MissingSlot),
    /// Writing failed in the provider.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

fn algorithm_name(oid: &Oid) -> String {
    crate::codec::cms::oids::name(oid.as_str()).map(|name| format!(" ({name})")).unwrap_or_default()
}

/// A [`CmsError`] by who must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CmsErrorKind {
    /// The message is malformed, or not of the kind asked for.
    Malformed,
    /// A limit was exceeded.
    LimitExceeded,
    /// An algorithm is not supported or refused.
    UnsupportedAlgorithm,
    /// The message is for someone else, or its signer is not known.
    WrongParty,
    /// Decryption failed, whatever the reason.
    Decryption,
    /// A signature does not verify or is missing.
    Signature,
    /// A key could not be reached.
    KeyUnavailable,
    /// The provider, a key, a certificate or an argument cannot do what was asked.
    Usage,
}

impl CmsError {
    /// The group.
    #[must_use]
    pub fn kind(&self) -> CmsErrorKind {
        match self {
            Self::Malformed(_) | Self::ContentType(_) | Self::Detached => CmsErrorKind::Malformed,
            Self::Limit(_) => CmsErrorKind::LimitExceeded,
            Self::UnsupportedAlgorithm { .. }
            | Self::UnsupportedOaepHashes { .. }
            | Self::WeakAlgorithm(_)
            | Self::Crypto(CryptoError::NotApproved { .. })
            | Self::Sign(SignError::NotApproved(_)) => CmsErrorKind::UnsupportedAlgorithm,
            Self::NotARecipient | Self::SignerNotFound => CmsErrorKind::WrongParty,
            Self::Decryption => CmsErrorKind::Decryption,
            Self::Signature | Self::NotSigned => CmsErrorKind::Signature,
            Self::KeyUnavailable(_) | Self::Sign(SignError::Unavailable(_)) => CmsErrorKind::KeyUnavailable,
            Self::KeyUnsuitable(_)
            | Self::Certificate(_)
            | Self::PasswordTooLong { .. }
            | Self::Sign(_)
            | Self::MissingSlot(_)
            | Self::Crypto(_) => CmsErrorKind::Usage,
        }
    }

    /// Whether the same call may work later: only when a key was out of reach.
    #[must_use]
    pub fn retry(&self) -> Retry {
        if self.kind() == CmsErrorKind::KeyUnavailable { Retry::Later } else { Retry::Never }
    }
}

impl From<crate::codec::der::DerError> for CmsError {
    fn from(error: crate::codec::der::DerError) -> Self {
        match error {
            crate::codec::der::DerError::Malformed { problem, .. } => Self::Malformed(problem),
            crate::codec::der::DerError::Limit(limit) => Self::Limit(limit),
        }
    }
}

/// What a decryption key's answer means: unavailable is told at once, a rejection goes on with the substitute.
pub(crate) fn rejected_or_unavailable<T>(unwrapped: Result<T, UnwrapError>) -> Result<Option<T>, CmsError> {
    match unwrapped {
        Ok(secret) => Ok(Some(secret)),
        Err(UnwrapError::Unavailable(source)) => Err(CmsError::KeyUnavailable(source)),
        // Says nothing about the ciphertext: the key would have refused any.
        Err(UnwrapError::Unsupported(what)) => Err(CmsError::KeyUnsuitable(what)),
        Err(UnwrapError::NotApproved(error)) => Err(CmsError::Crypto(error)),
        Err(UnwrapError::Rejected) => Ok(None),
    }
}
