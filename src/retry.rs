//! Whether something that failed is worth another try, and what it may have done already.

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// What the caller of a failed operation may do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// The same input fails again: change the input or the configuration.
    Never,
    /// The same input may work later; the connector applies its own backoff.
    Later,
    /// The other side named the earliest time for the next try.
    After(Duration),
}

/// What a failed call may have done at the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Nothing was done: a plain retry is safe.
    None,
    /// It is not known. A certificate authority is asked by `find` before it is asked again.
    #[default]
    Unknown,
}

/// The class of an error, as events, results and the journal carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorClass {
    /// A passing fault; retried with backoff.
    Transient,
    /// The other side asked for fewer calls; retried when it said.
    Throttled,
    /// The request itself cannot be served; reported, never retried.
    Request,
    /// A policy of this connector refused the request; reported, never retried.
    Policy,
    /// Configuration or permissions are wrong; an operator must act.
    Configuration,
    /// The other side cannot do what was asked.
    Unsupported,
    /// A deadline passed before the request was done.
    Deadline,
    /// An adapter broke its contract, or code panicked.
    Internal,
}

impl ErrorClass {
    /// The name in events and serialised forms.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Request => "request",
            Self::Policy => "policy",
            Self::Configuration => "configuration",
            Self::Unsupported => "unsupported",
            Self::Deadline => "deadline",
            Self::Internal => "internal",
        }
    }

    /// Whether a request that failed with this class is tried again.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Transient | Self::Throttled)
    }
}

impl core::fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}
