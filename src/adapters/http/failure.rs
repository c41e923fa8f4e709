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
}

impl Failure {
    pub(crate) fn new(kind: PortErrorKind, message: impl Into<String>) -> Self {
        Self { kind, code: None, message: message.into(), retry_after: None }
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
        let error = PortError::from(error);
        Self::new(error.kind(), format!("{what}: {error} (client-request-id {activity})"))
    }
}

impl From<PortError> for Failure {
    fn from(error: PortError) -> Self {
        let retry_after = match error.retry() {
            Retry::After(wait) => Some(wait),
            _ => None,
        };
        let code = error.code().map(str::to_owned);
        Self { kind: error.kind(), retry_after, message: error.message().to_owned(), code }
    }
}

impl From<Failure> for PortError {
    fn from(failure: Failure) -> Self {
        let mut error = Self::new(failure.kind, failure.message).with_effect(Effect::None);
        if let Some(code) = failure.code {
            error = error.with_code(code);
        }
        match failure.retry_after {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        }
    }
}
