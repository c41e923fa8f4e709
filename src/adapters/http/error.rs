//! Why there is no answer.

use core::fmt;

use crate::event::printable;
use crate::ports::{PortError, PortErrorKind};
use crate::retry::Effect;

/// How far a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HttpErrorKind {
    /// The request itself cannot be sent: its URL, or a header.
    Request,
    /// No such host, or no name server.
    Dns,
    /// No connection: refused, unreachable, or not in time.
    Connect,
    /// The proxy refused or failed.
    Proxy,
    /// No TLS: an untrusted certificate, another host's, no common version.
    Tls,
    /// Sent, at least in part, and no answer in time.
    Timeout,
    /// Sent, at least in part, and the connection ended before the answer did.
    Closed,
    /// The answer is longer than was allowed.
    TooLarge,
}

impl HttpErrorKind {
    /// Whether the other side certainly saw nothing of the request.
    #[must_use]
    pub const fn is_unsent(self) -> bool {
        matches!(self, Self::Request | Self::Dns | Self::Connect | Self::Proxy | Self::Tls)
    }
}

/// There is no answer. The text names the host and what to do; it holds no header, no body and no query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpError {
    kind: HttpErrorKind,
    message: String,
}

impl HttpError {
    /// An error of that kind.
    #[must_use]
    pub fn new(kind: HttpErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// How far the request came.
    #[must_use]
    pub fn kind(&self) -> HttpErrorKind {
        self.kind
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.message))
    }
}

impl std::error::Error for HttpError {}

impl From<HttpError> for PortError {
    fn from(error: HttpError) -> Self {
        let kind = match error.kind {
            HttpErrorKind::Request => PortErrorKind::Misconfigured,
            _ => PortErrorKind::Transient,
        };
        let effect = if error.kind.is_unsent() { Effect::None } else { Effect::Unknown };
        PortError::new(kind, error.message.clone()).with_effect(effect).with_source(error)
    }
}
