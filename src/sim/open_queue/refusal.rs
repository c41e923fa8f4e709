//! The answers of the open queue that are no success.

use crate::adapters::http::HttpResponse;
use crate::adapters::http_queue::wire::{Problem, write_error};
use crate::time::Timestamp;

/// Why a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    MalformedRequest,
    ClockSkew,
    Unauthorized,
    NotFound,
    MethodNotAllowed(&'static str),
    ReplayedRequest,
    TooLarge,
    UnsupportedMediaType,
    UnsupportedFlow,
    ForeignTenant,
    Overloaded,
    Internal,
}

impl Refusal {
    /// Status and code.
    const fn parts(self) -> (u16, &'static str) {
        match self {
            Self::MalformedRequest => (400, "malformedRequest"),
            Self::ClockSkew => (400, "clockSkew"),
            Self::Unauthorized => (401, "unauthorized"),
            Self::NotFound => (404, "notFound"),
            Self::MethodNotAllowed(_) => (405, "methodNotAllowed"),
            Self::ReplayedRequest => (409, "replayedRequest"),
            Self::TooLarge => (413, "tooLarge"),
            Self::UnsupportedMediaType => (415, "unsupportedMediaType"),
            Self::UnsupportedFlow => (422, "unsupportedFlow"),
            Self::ForeignTenant => (422, "foreignTenant"),
            Self::Overloaded => (503, "overloaded"),
            Self::Internal => (500, "internal"),
        }
    }
}

/// A refusal with what an operator should know.
#[derive(Debug)]
pub(super) struct Refused(pub(super) Refusal, pub(super) String);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(Refusal::MalformedRequest, problem.0)
    }
}

impl Refused {
    pub(super) fn answer(&self, now: Timestamp) -> HttpResponse {
        let (status, code) = self.0.parts();
        let response = match write_error(code, &self.1, now) {
            Ok(body) => HttpResponse::new(status, body).with_header("content-type", "application/json"),
            Err(_) => HttpResponse::new(500, Vec::new()),
        };
        match self.0 {
            Refusal::Unauthorized => response.with_header("www-authenticate", "Bearer"),
            Refusal::MethodNotAllowed(allowed) => response.with_header("allow", allowed),
            Refusal::Overloaded => response.with_header("retry-after", "30"),
            _ => response,
        }
    }
}
