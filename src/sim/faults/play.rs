//! Plays the faults around the handlers.

use core::time::Duration;
use std::collections::BTreeMap;

use super::random::SplitMix64;
use super::{Fault, FaultPlan, PlayedFault, RetryAfter};
use crate::adapters::http::{HttpRequest, HttpResponse};
use crate::sim::Inner;
use crate::sim::answer::{SimAnswer, SimOutcome};
use crate::sim::endpoint::{Endpoint, Route};
use crate::sim::handle::{Bent, handle, stale};
use crate::sim::reply::{self, gateway_error, graph_error};
use crate::sim::request::{Ask, copy};
use crate::sim::state::State;
use crate::time::Timestamp;

/// Most faults whose list is kept; more are counted.
const MOST_LISTED: usize = 100_000;
/// Most requests that arrive late at a time.
const MOST_HELD: usize = 1_024;

#[derive(Debug, Default)]
pub(in crate::sim) struct FaultState {
    pub(in crate::sim) seed: u64,
    plan: FaultPlan,
    calls: BTreeMap<Endpoint, u64>,
    played: Vec<PlayedFault>,
    count: u64,
    /// Of those, the ones of earlier plans.
    earlier: u64,
    held: Vec<HttpRequest>,
}

impl FaultState {
    pub(in crate::sim) fn new(seed: u64, plan: FaultPlan) -> Self {
        Self { seed, plan, ..Self::default() }
    }

    /// Another plan; calls are counted from 1 again, and so are the faults that it may play.
    pub(in crate::sim) fn set_plan(&mut self, seed: u64, plan: FaultPlan) {
        self.seed = seed;
        self.plan = plan;
        self.calls.clear();
        self.earlier = self.count;
    }

    pub(in crate::sim) fn played(&self) -> &[PlayedFault] {
        &self.played
    }

    pub(in crate::sim) fn count(&self) -> u64 {
        self.count
    }

    fn next(&mut self, endpoint: Endpoint) -> (u64, Option<Fault>) {
        let call = self.calls.entry(endpoint).or_default();
        *call += 1;
        let call = *call;
        let fault = self.plan.decide(self.seed, endpoint, call, self.count.saturating_sub(self.earlier));
        if let Some(fault) = fault {
            self.count += 1;
            if self.played.len() < MOST_LISTED {
                self.played.push(PlayedFault { endpoint, call, fault });
            }
        }
        (call, fault)
    }

    fn hold(&mut self, request: &HttpRequest) {
        if self.held.len() < MOST_HELD {
            self.held.push(copy(request));
        }
    }

    /// What has been held: it arrives now.
    pub(in crate::sim) fn take_held(&mut self) -> Vec<HttpRequest> {
        core::mem::take(&mut self.held)
    }
}

/// Answers a request, with the fault that is planned for it. Requests that were held arrive after it.
pub(in crate::sim) fn play(inner: &Inner, state: &mut State, ask: &Ask<'_>, route: &Route) -> SimAnswer {
    let endpoint = route.endpoint(ask.method());
    let (call, fault) = state.faults.next(endpoint);
    let late = state.faults.take_held();
    let mut random = SplitMix64::of(!state.faults.seed, [endpoint as u64, call]);
    let answer = match fault {
        None => done(inner, state, ask, route),
        Some(fault) => faulty(inner, state, ask, route, fault, &mut random),
    };
    for request in late {
        arrive(inner, state, &request);
    }
    if fault == Some(Fault::Reorder) {
        state.faults.hold(ask.request);
    }
    answer
}

/// Handles a request whose client is gone.
pub(in crate::sim) fn arrive(inner: &Inner, state: &mut State, request: &HttpRequest) {
    if let Ok(ask) = Ask::read(request) {
        let route = crate::sim::endpoint::route(&ask);
        let _unheard = done(inner, state, &ask, &route);
    }
}

fn done(inner: &Inner, state: &mut State, ask: &Ask<'_>, route: &Route) -> SimAnswer {
    if let Some(stale) = stale(state, route) {
        return SimAnswer::now(stale);
    }
    SimAnswer::respond(handle(inner, state, ask, route, Bent::default()))
}

fn faulty(inner: &Inner, state: &mut State, ask: &Ask<'_>, route: &Route, fault: Fault, random: &mut SplitMix64) -> SimAnswer {
    let endpoint = route.endpoint(ask.method());
    let now = inner.runtime.now();
    let unless = |is_done: bool, state: &mut State| {
        if is_done {
            let _unheard = done(inner, state, ask, route);
        }
    };
    match fault {
        Fault::DropBefore | Fault::Reorder => SimAnswer::now(SimOutcome::Close),
        Fault::DropAfter => {
            let _unheard = done(inner, state, ask, route);
            SimAnswer::now(SimOutcome::Close)
        }
        Fault::Delay { millis } => SimAnswer { delay: Duration::from_millis(millis), ..done(inner, state, ask, route) },
        Fault::Duplicate => {
            let first = done(inner, state, ask, route);
            let second = done(inner, state, ask, route);
            // An assertion is taken once: its repeat tells the client nothing that it could use.
            if endpoint == Endpoint::Token || random.below(2) == 0 { first } else { second }
        }
        Fault::Truncate => match done(inner, state, ask, route).outcome {
            SimOutcome::Respond(response) if !response.body.is_empty() => {
                let length = usize::try_from(random.below(response.body.len() as u64)).unwrap_or(0);
                SimAnswer::now(SimOutcome::TruncateAfter(response, length))
            }
            _ => SimAnswer::now(SimOutcome::Close),
        },
        Fault::Status { status, retry_after, done } => {
            unless(done, state);
            SimAnswer::respond(error(endpoint, status, retry_after, now))
        }
        Fault::HtmlPage { done } => {
            unless(done, state);
            let page = "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n";
            SimAnswer::respond(HttpResponse::new(502, page.as_bytes().to_vec()).with_header("content-type", "text/html"))
        }
        Fault::WrongJson => {
            let _unheard = done(inner, state, ask, route);
            let bodies = ["{\"code\":", "[]", "null", "{}", "{\"value\":\"none\",\"code\":null}", "<html><body>Service</body></html>"];
            let body = random.pick(&bodies).unwrap_or_default();
            SimAnswer::respond(
                HttpResponse::new(200, body.as_bytes().to_vec()).with_header("content-type", "application/json; charset=utf-8"),
            )
        }
        Fault::StaleLocation { stale: left } => {
            if endpoint == Endpoint::Discovery {
                return SimAnswer::respond(handle(inner, state, ask, route, Bent { stale_discovery: true, ..Bent::default() }));
            }
            // A request for where the service was already finds that; else it moves now.
            if stale(state, route).is_none() {
                state.location.move_on(left);
            }
            stale(state, route).map_or_else(|| done(inner, state, ask, route), SimAnswer::now)
        }
        Fault::ExpiredToken if endpoint == Endpoint::Token => {
            SimAnswer::respond(handle(inner, state, ask, route, Bent { expired_token: true, ..Bent::default() }))
        }
        Fault::ExpiredToken => SimAnswer::respond(error(endpoint, 401, None, now)),
    }
}

/// An error status in the endpoint's own shape.
fn error(endpoint: Endpoint, status: u16, retry_after: Option<RetryAfter>, now: Timestamp) -> HttpResponse {
    let (code, text) = match status {
        401 => ("InvalidAuthenticationToken", "Lifetime validation failed, the token is expired."),
        404 => ("ResourceNotFound", "The resource is not found."),
        429 => ("TooManyRequests", "Too many requests."),
        503 => ("ServiceUnavailable", "The service is unavailable."),
        _ => ("InternalServerError", "An internal server error has occurred."),
    };
    let response = match endpoint {
        Endpoint::Discovery | Endpoint::Users => graph_error(status, code, text, now),
        Endpoint::Token | Endpoint::Metadata => {
            let body = serde_json::json!({ "error": "temporarily_unavailable", "error_description": format!("AADSTS90033: {text}"), "error_codes": [90_033] });
            reply::json(status, &body)
        }
        _ => gateway_error(status, code, text),
    };
    match retry_after {
        None => response,
        Some(RetryAfter::Seconds(seconds)) => response.with_header("retry-after", seconds.to_string()),
        Some(RetryAfter::Date(seconds)) => response.with_header("retry-after", http_date(now, seconds)),
    }
}

/// IMF-fixdate (RFC 9110 section 5.6.7).
fn http_date(now: Timestamp, seconds: u32) -> String {
    let at = now.saturating_add(Duration::from_secs(u64::from(seconds)));
    let at = chrono::DateTime::from_timestamp(at.as_secs(), 0).unwrap_or_default();
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_as_a_date_is_an_http_date() {
        assert_eq!(http_date(Timestamp::from_secs(784_111_770), 7), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
