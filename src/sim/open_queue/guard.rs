//! Who is let in, and that each call is taken once.

use core::time::Duration;
use std::collections::{HashSet, VecDeque};

use super::refusal::{Refusal, Refused};
use super::settings::OpenQueueSettings;
use crate::adapters::http::HttpRequest;
use crate::adapters::http_queue::wire::{REQUEST_ID, REQUEST_TIMESTAMP, is_guid, read_time};
use crate::crypto::constant_time_eq;
use crate::time::Timestamp;

/// Checks the token. How long it takes tells nothing but the length of what was given.
pub(super) fn authorise(request: &HttpRequest, settings: &OpenQueueSettings) -> Result<(), Refused> {
    if settings.dangerous_without_token {
        return Ok(());
    }
    let given = request.header("authorization").unwrap_or_default();
    let token = match given.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("bearer ") => given.get(7..).unwrap_or_default().trim(),
        _ => return Err(Refused(Refusal::Unauthorized, "a bearer token is missing".to_owned())),
    };
    // Every token is looked at, whether or not one was right.
    let known = settings.tokens.iter().fold(false, |known, of| known | constant_time_eq(of.secret_bytes(), token.as_bytes()));
    if known && !token.is_empty() { Ok(()) } else { Err(Refused(Refusal::Unauthorized, "the bearer token is not accepted".to_owned())) }
}

/// The ids of the calls that were taken, for as long as their time would be taken again.
#[derive(Debug, Default)]
pub(super) struct Seen {
    ids: HashSet<String>,
    order: VecDeque<(Timestamp, String)>,
}

impl Seen {
    /// Takes a call, or refuses it.
    pub(super) fn take(&mut self, request: &HttpRequest, window: Duration, most: usize, now: Timestamp) -> Result<(), Refused> {
        let malformed = |text: &str| Refused(Refusal::MalformedRequest, text.to_owned());
        let id = request.header(REQUEST_ID).filter(|id| is_guid(id)).map(str::to_ascii_lowercase);
        let id = id.ok_or_else(|| malformed("the header `Request-Id` is missing or no GUID"))?;
        let sent = request.header(REQUEST_TIMESTAMP).and_then(read_time);
        let sent = sent.ok_or_else(|| malformed("the header `Request-Timestamp` is missing or no time of RFC 3339"))?;
        let off = now.since(sent).max(sent.since(now));
        if off > window {
            let text = format!("the call's time is {} s off the queue's clock; {} s are allowed", off.as_secs(), window.as_secs());
            return Err(Refused(Refusal::ClockSkew, text));
        }
        // An id is kept from its call on for as long as any time near that call could still be in the window.
        let old = now.saturating_sub(window.saturating_mul(2));
        while self.order.front().is_some_and(|(taken, _)| *taken < old) {
            if let Some((_, id)) = self.order.pop_front() {
                self.ids.remove(&id);
            }
        }
        if self.ids.contains(&id) {
            return Err(Refused(Refusal::ReplayedRequest, "a call with this `Request-Id` was taken before".to_owned()));
        }
        // To forget an id early would let it in again.
        if self.ids.len() >= most {
            return Err(Refused(Refusal::Overloaded, "more calls came than their ids can be remembered".to_owned()));
        }
        self.ids.insert(id.clone());
        self.order.push_back((now, id));
        Ok(())
    }
}
