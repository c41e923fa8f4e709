//! What becomes of a request, before anybody waits or sends.

use core::time::Duration;

use crate::adapters::http::HttpResponse;

/// The answer to one request, and how it goes out.
#[derive(Debug)]
#[non_exhaustive]
pub struct SimAnswer {
    /// How long it is kept back.
    pub delay: Duration,
    /// What goes out then.
    pub outcome: SimOutcome,
}

/// What goes out.
#[derive(Debug)]
#[non_exhaustive]
pub enum SimOutcome {
    /// This answer.
    Respond(HttpResponse),
    /// As many bytes of this answer's body; then the connection ends.
    TruncateAfter(HttpResponse, usize),
    /// Nothing: the connection ends.
    Close,
    /// There is no such host. A server, which is there, answers 421.
    UnknownHost,
}

impl SimAnswer {
    pub(super) fn now(outcome: SimOutcome) -> Self {
        Self { delay: Duration::ZERO, outcome }
    }

    pub(super) fn respond(response: HttpResponse) -> Self {
        Self::now(SimOutcome::Respond(response))
    }
}
