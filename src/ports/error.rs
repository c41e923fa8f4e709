//! The one error of all ports: implementers build it, the connector acts on its kind and effect.

use core::fmt;
use core::time::Duration;

use crate::event::printable;
use crate::retry::{Effect, ErrorClass, Retry};

/// What the connector does about an error of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PortErrorKind {
    /// Passing fault (network, time-out, 5xx): retried with backoff.
    Transient,
    /// The other side is overloaded (429): retried no earlier than `retry_after`.
    Throttled,
    /// The other side refuses this request for good: reported, not retried.
    Rejected,
    /// Credentials, permissions or settings are wrong: that CA or queue is left alone for a while and an operator is told.
    Misconfigured,
    /// The other side cannot do this at all.
    Unsupported,
}

/// An error of a queue, a CA, a journal, a validator or a key store.
///
/// Security duty: the message and the code reach events and logs. Put no secret into them: no token, no challenge, no password. Control
/// characters are replaced when it is shown, and overlong text is cut. The source is not shown: it is for the embedder's own code.
pub struct PortError {
    kind: PortErrorKind,
    effect: Effect,
    retry_after: Option<Duration>,
    code: Option<String>,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl PortError {
    /// An error of that kind; `message` says what failed and what to do. The effect is `Unknown` unless set.
    #[must_use]
    pub fn new(kind: PortErrorKind, message: impl Into<String>) -> Self {
        Self { kind, effect: Effect::Unknown, retry_after: None, code: None, message: message.into(), source: None }
    }

    /// A passing fault.
    #[must_use]
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(PortErrorKind::Transient, message)
    }

    /// A refusal for good; nothing was done.
    #[must_use]
    pub fn rejected(message: impl Into<String>) -> Self {
        Self::new(PortErrorKind::Rejected, message).with_effect(Effect::None)
    }

    /// Wrong settings or permissions; nothing was done.
    #[must_use]
    pub fn misconfigured(message: impl Into<String>) -> Self {
        Self::new(PortErrorKind::Misconfigured, message).with_effect(Effect::None)
    }

    /// Not possible with this adapter; nothing was done.
    #[must_use]
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(PortErrorKind::Unsupported, message).with_effect(Effect::None)
    }

    /// States what the call did: say `None` only when it certainly did nothing.
    #[must_use]
    pub fn with_effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// The earliest time for the next try, as the other side named it.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The other side's own code, such as `0x80094800` or `429`.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// The cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the connector does about it.
    #[must_use]
    pub fn kind(&self) -> PortErrorKind {
        self.kind
    }

    /// What the call may have done.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// The message alone, as it was given.
    #[cfg_attr(not(feature = "_online"), allow(dead_code, reason = "the online adapters hand errors on"))]
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The other side's code.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// The earliest time for the next try, as the other side named it.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether and when to try again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match (self.kind, self.retry_after) {
            (PortErrorKind::Transient | PortErrorKind::Throttled, Some(after)) => Retry::After(after),
            (PortErrorKind::Transient | PortErrorKind::Throttled, None) => Retry::Later,
            _ => Retry::Never,
        }
    }

    /// The class in events and results.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self.kind {
            PortErrorKind::Transient => ErrorClass::Transient,
            PortErrorKind::Throttled => ErrorClass::Throttled,
            PortErrorKind::Rejected => ErrorClass::Request,
            PortErrorKind::Misconfigured => ErrorClass::Configuration,
            PortErrorKind::Unsupported => ErrorClass::Unsupported,
        }
    }
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.message))?;
        match &self.code {
            Some(code) => write!(f, " (code {})", printable(code)),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortError")
            .field("kind", &self.kind)
            .field("effect", &self.effect)
            .field("retry_after", &self.retry_after)
            .field("code", &self.code.as_deref().map(printable))
            .field("message", &printable(&self.message))
            .finish_non_exhaustive()
    }
}

impl std::error::Error for PortError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_side_says_cannot_forge_log_lines() {
        let error = PortError::rejected("no\r\n1000 success\u{1b}[2J\u{202e}").with_code("\u{7}\n0").with_source("hunter2");
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(!shown.contains(crate::ids::is_unprintable), "{shown:?}");
            assert!(!shown.contains("hunter2"));
        }
        assert!(PortError::transient("x".repeat(100_000)).to_string().len() < 2_000);
    }
}
