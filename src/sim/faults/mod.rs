//! Faults on request: which call goes wrong, and how. Each decision follows from seed, endpoint and number of the call, so that all replays.

mod plan;
mod play;
mod random;

use serde::{Deserialize, Serialize};

pub use plan::FaultPlan;
pub(super) use play::{FaultState, arrive, play};

use super::endpoint::Endpoint;
use super::location::Stale;

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Fault {
    /// The connection ends before anything is done.
    DropBefore,
    /// It is done, and the connection ends before the answer.
    DropAfter,
    /// It is done, and the answer comes late.
    Delay {
        /// How late, in milliseconds.
        millis: u64,
    },
    /// It is done twice, as when something on the way repeats it. One of both answers is given.
    Duplicate,
    /// The connection ends, and it is done after the next call: a late arrival.
    Reorder,
    /// It is done, and the answer ends in the middle.
    Truncate,
    /// The answer has another status.
    Status {
        /// The status.
        status: u16,
        /// Whether the answer says when to come again.
        #[serde(default)]
        retry_after: Option<RetryAfter>,
        /// Whether it is done all the same.
        #[serde(default)]
        done: bool,
    },
    /// 502 with an HTML page, as gateways answer.
    HtmlPage {
        /// Whether it is done all the same.
        #[serde(default)]
        done: bool,
    },
    /// It is done, and the answer's body is not what it should be.
    WrongJson,
    /// The service has moved, or discovery tells where it was before.
    StaleLocation {
        /// What is left at the old place.
        #[serde(default)]
        stale: Stale,
    },
    /// The token's time is over: for a service, the token that it is sent; for the authority, the token that it gives.
    ExpiredToken,
}

/// How `Retry-After` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum RetryAfter {
    /// In so many seconds.
    Seconds(u32),
    /// As an HTTP date, so many seconds ahead.
    Date(u32),
}

impl Fault {
    /// Whether it can happen at that endpoint.
    #[must_use]
    pub fn applies_to(self, endpoint: Endpoint) -> bool {
        match self {
            _ if endpoint == Endpoint::Control => false,
            Self::StaleLocation { .. } => endpoint.is_discovered() || endpoint == Endpoint::Discovery,
            Self::ExpiredToken => endpoint.takes_tokens() || endpoint == Endpoint::Token,
            _ => true,
        }
    }
}

/// A fault that was played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PlayedFault {
    /// Where.
    pub endpoint: Endpoint,
    /// The number of the call there, from 1.
    pub call: u64,
    /// What.
    pub fault: Fault,
}
