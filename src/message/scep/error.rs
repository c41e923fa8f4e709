//! Why a SCEP message was not read or written.

use super::FailInfo;
use crate::message::cms_error::{CmsError, CmsErrorKind};

/// Why a SCEP message was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScepMessageError {
    /// The CMS layer: not well formed, not verified, or not decrypted.
    #[error(transparent)]
    Cms(#[from] CmsError),
    /// A messageType that RFC 8894 does not know, UpdateReq among them.
    #[error("the SCEP messageType is unknown or withdrawn")]
    UnknownMessageType,
    /// A messageType that has no place here: a CertRep sent to a server, a request sent to a client.
    #[error("a SCEP {0} has no place here")]
    UnexpectedMessageType(super::MessageType),
    /// An attribute is missing, malformed, there twice, or not signed.
    #[error("the SCEP attribute {0} is missing or malformed")]
    Attribute(&'static str),
    /// The body of a query is not what its messageType says.
    #[error("the body of the SCEP message is no {0}")]
    Content(&'static str),
    /// Not exactly one signer.
    #[error("a SCEP message has exactly one signer")]
    Signers,
    /// The reply is not the answer to our request: another transaction, or another nonce.
    #[error("the SCEP reply belongs to another request")]
    AnotherRequest,
}

impl ScepMessageError {
    /// What to answer. It is derived from what an outsider sees anyway; failures inside the envelope are `badRequest` alike.
    #[must_use]
    pub fn fail_info(&self) -> FailInfo {
        match self {
            Self::Cms(error) => match error.kind() {
                CmsErrorKind::UnsupportedAlgorithm => FailInfo::BadAlg,
                CmsErrorKind::Signature | CmsErrorKind::WrongParty => FailInfo::BadMessageCheck,
                _ => FailInfo::BadRequest,
            },
            _ => FailInfo::BadRequest,
        }
    }
}
