//! An error that several waiters get.

use core::time::Duration;

use super::HttpError;
use crate::ports::{PortError, PortErrorKind};
use crate::retry::{Effect, Retry};

/// Why something that precedes a call (a token, a location) is not there. The call itself was not made: the effect is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: PortErrorKind,
    pub(crate) code: Option<String>,
    pub(crate) message: String,
    pub(crate) retry_after: Option<Duration>,
    /// Kept as the source, for whoever asks how far a request came.
    pub(crate) http: Option<HttpError>,
}

impl Failure {
    pub(crate) fn new(kind: PortErrorKind, message: impl Into<String>) -> Self {
        Self { kind, code: None, message: message.into(), retry_after: None, http: None }
    }

    pub(crate) fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    pub(crate) fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// There was no answer to `what`, which was sent as `activity`.
    pub(crate) fn unanswered(what: &str, error: HttpError, activity: &str) -> Self {
        let port = PortError::from(error.clone());
        let failure = Self::new(port.kind(), format!("{what}: {port} (client-request-id {activity})"));
        Self { http: Some(error), ..failure }
    }
}

impl From<PortError> for Failure {
    fn from(error: PortError) -> Self {
        let retry_after = match error.retry() {
            Retry::After(wait) => Some(wait),
            _ => None,
        };
        let code = error.code().map(str::to_owned);
        let http = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<HttpError>()).cloned();
        Self { kind: error.kind(), retry_after, message: error.message().to_owned(), code, http }
    }
}

impl From<Failure> for PortError {
    fn from(failure: Failure) -> Self {
        let mut error = Self::new(failure.kind, failure.message).with_effect(Effect::None);
        if let Some(code) = failure.code {
            error = error.with_code(code);
        }
        if let Some(wait) = failure.retry_after {
            error = error.with_retry_after(wait);
        }
        match failure.http {
            Some(http) => error.with_source(http),
            None => error,
        }
    }
}
