//! The open queue's messages: ports' types to JSON and back. Both halves use it, so that they cannot differ.

#![cfg_attr(not(feature = "sim"), allow(dead_code, reason = "the other half, in the simulator, speaks it too"))]

mod json;
mod messages;
mod names;
mod request;
mod result;
#[cfg(all(test, feature = "sim"))]
mod tests;

#[cfg(feature = "sim")]
pub(crate) use json::read_time;
pub(crate) use json::{Problem, write_time};
#[cfg(feature = "sim")]
pub(crate) use messages::{
    BATCH_OVERHEAD, Complete, is_guid, read_health, write_answers, write_batch, write_capabilities, write_error, write_lost,
};
pub(crate) use messages::{
    ExtendLease, LEAST_BYTES, MAX_BATCH, Receive, read_answers, read_batch, read_capabilities, read_error, read_lost, write_complete,
    write_health,
};
#[cfg(feature = "sim")]
pub(crate) use {
    json::{Document, Object},
    request::{read_item_strictly, write_item},
};

/// The path below the base URL, with a `/` before and behind.
pub(crate) const MOUNT: &str = "/open-queue/v1/";
/// A fresh GUID for each POST.
pub(crate) const REQUEST_ID: &str = "Request-Id";
/// The client's clock when it sent it, RFC 3339.
pub(crate) const REQUEST_TIMESTAMP: &str = "Request-Timestamp";

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Capabilities,
    Receive,
    Complete,
    ExtendLease,
    Health,
}

impl Operation {
    #[cfg(feature = "sim")]
    pub(crate) const ALL: [Self; 5] = [Self::Capabilities, Self::Receive, Self::Complete, Self::ExtendLease, Self::Health];

    /// The last segment of its path.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Capabilities => "capabilities",
            Self::Receive => "receive",
            Self::Complete => "complete",
            Self::ExtendLease => "extend-lease",
            Self::Health => "health",
        }
    }

    pub(crate) const fn method(self) -> crate::adapters::http::HttpMethod {
        match self {
            Self::Capabilities => crate::adapters::http::HttpMethod::Get,
            _ => crate::adapters::http::HttpMethod::Post,
        }
    }
}
