//! What carries a call to the revocation service.

use core::fmt::{self, Debug};

use async_trait::async_trait;

use super::actions::HttpAnswer;
use crate::ports::PortError;
use crate::secret::SecretBytes;

/// One of the two calls of the revocation API (facts B.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevocationAction {
    /// Give out requests. Not safe to repeat: Intune then gives out none for an hour.
    DownloadRevocationRequests,
    /// Take results. Safe to repeat.
    UploadRevocationResults,
}

impl RevocationAction {
    /// The longest body of an answer, in bytes; read no more than this and one. A download can hold 500 requests with contexts of some
    /// kilobytes.
    #[must_use]
    pub const fn max_answer(self) -> usize {
        match self {
            Self::DownloadRevocationRequests => 4 << 20,
            Self::UploadRevocationResults => HttpAnswer::MAX_BODY,
        }
    }
}

impl fmt::Display for RevocationAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DownloadRevocationRequests => "CertificateAuthorityRequests/downloadRevocationRequests",
            Self::UploadRevocationResults => "CertificateAuthorityRequests/uploadRevocationResults",
        })
    }
}

/// One call, with UTF-8 JSON.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RevocationCall<'a> {
    /// Where it goes.
    pub action: RevocationAction,
    /// What is posted.
    pub body: &'a SecretBytes,
}

impl<'a> RevocationCall<'a> {
    /// A call from its parts.
    #[must_use]
    pub fn new(action: RevocationAction, body: &'a SecretBytes) -> Self {
        Self { action, body }
    }
}

/// Posts calls to the tenant's revocation service.
///
/// The same duties as [`ScepActions`](super::ScepActions), with two more: a download is never posted twice in one call once any of it was sent,
/// and answers may be as long as [`RevocationAction::max_answer`].
#[async_trait]
pub trait RevocationActions: Debug + Send + Sync {
    /// Posts a body and gives the answer, also when its status is an error: the caller reads statuses.
    ///
    /// # Errors
    /// When there is no answer. The effect is `None` only when the service certainly saw nothing of the call.
    async fn post(&self, call: RevocationCall<'_>) -> Result<HttpAnswer, PortError>;
}
