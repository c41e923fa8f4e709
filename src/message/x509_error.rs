//! The error of certificates, requests and revocation lists.

use crate::codec::der::DerError;
use crate::crypto::{CryptoError, MissingSlot};
use crate::limits::LimitExceeded;

/// Why a certificate, request, name or revocation list was not read, verified or built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum X509Error {
    /// The input is malformed.
    #[error("malformed {what}: {problem} at byte {offset}")]
    Malformed {
        /// The structure.
        what: &'static str,
        /// What is wrong with it.
        problem: &'static str,
        /// Byte offset; into the value of an extension where one is named.
        offset: usize,
    },
    /// The input costs more than the limits allow.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// A signature does not verify.
    #[error("the signature does not verify")]
    BadSignature,
    /// A signature's algorithm is not known, does not fit the key, or is named differently inside and outside the signed part.
    #[error("the signature algorithm is unknown, ambiguous or does not fit the key")]
    UnsupportedSignature,
    /// The caller asked for something that cannot be encoded.
    #[error("cannot build: {0}")]
    CannotBuild(&'static str),
    /// The provider lacks a slot.
    #[error(transparent)]
    MissingSlot(#[from] MissingSlot),
    /// The provider failed otherwise.
    #[error(transparent)]
    Crypto(CryptoError),
}

impl X509Error {
    pub(crate) fn der(what: &'static str) -> impl Fn(DerError) -> Self {
        move |error| match error {
            DerError::Malformed { problem, offset } => Self::Malformed { what, problem, offset },
            DerError::Limit(limit) => Self::Limit(limit),
        }
    }

    pub(crate) fn verification(error: CryptoError) -> Self {
        match error {
            CryptoError::Failed => Self::BadSignature,
            other => Self::Crypto(other),
        }
    }
}
