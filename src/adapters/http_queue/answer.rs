//! What an answer that is no success means.

use core::time::Duration;

use super::wire::{Operation, Problem, read_error};
use crate::adapters::http::{HttpResponse, fit, quoted, retry_after};
use crate::ports::{PortError, PortErrorKind};
use crate::retry::Effect;
use crate::time::Timestamp;

/// An error for a status other than 200. `asked` is the connector's clock when the call was sent, `now` when the answer came.
pub(super) fn refused(operation: Operation, response: &HttpResponse, asked: Timestamp, now: Timestamp) -> PortError {
    use PortErrorKind as K;
    let status = response.status;
    let told = read_error(response.body.secret_bytes());
    let code = told.as_ref().map_or("", |(code, _)| code.as_str());
    let (kind, advice): (K, String) = match status {
        400 if code == "clockSkew" => (K::Misconfigured, skew(told.as_ref().and_then(|(_, time)| *time), asked)),
        401 => (K::Misconfigured, "the token, or the client certificate, is not accepted: check the credential and the clock".to_owned()),
        403 => (K::Misconfigured, "the credential may not do this: let the queue's operator permit it, for this tenant".to_owned()),
        300..=399 => (K::Misconfigured, "a redirect, which is not followed: check the base URL and the proxy".to_owned()),
        404 | 405 | 410 | 421 => (K::Misconfigured, "there is no open queue at this URL: check the base URL".to_owned()),
        407 => (K::Misconfigured, "the proxy wants other credentials: check the proxy's setting".to_owned()),
        408 => (K::Transient, "the queue gave up waiting".to_owned()),
        409 => (K::Transient, "the queue has seen this very call before: something between repeats requests, perhaps a proxy".to_owned()),
        413 => (K::Rejected, "the call is larger than the queue takes: lower `max_upload_bytes`".to_owned()),
        415 => (K::Rejected, "the queue takes no JSON at this URL: check the base URL".to_owned()),
        422 if code == "foreignTenant" => (K::Misconfigured, "the queue does not serve this tenant: check `tenant`".to_owned()),
        422 => (K::Unsupported, "the queue does not serve this flow".to_owned()),
        429 => (K::Throttled, "too many calls".to_owned()),
        501 => (K::Unsupported, "the queue does not have this operation".to_owned()),
        503 => (K::Throttled, "the queue is overloaded or being serviced".to_owned()),
        400..=499 => (K::Rejected, "the queue cannot take the call: check that it speaks version 1 of the protocol".to_owned()),
        500..=599 => (K::Transient, "the queue, or a gateway before it, failed".to_owned()),
        _ => (K::Transient, "this status is no answer of the protocol".to_owned()),
    };
    let message = format!("the open queue's `{}` answered {status}: {advice}{}", operation.path(), quoted(response.body.secret_bytes()));
    // What was refused before it was read did nothing.
    let effect = if matches!(status, 400..=407 | 410..=429) { Effect::None } else { Effect::Unknown };
    let error = PortError::new(kind, message).with_effect(effect);
    let error = error.with_code(if code.is_empty() { status.to_string() } else { fit(code) });
    match response.header("retry-after").and_then(|value| retry_after(value, now)) {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

fn skew(server: Option<Timestamp>, asked: Timestamp) -> String {
    let Some(server) = server else {
        return "the clocks of connector and queue differ too much: let both follow NTP".to_owned();
    };
    let seconds = |by: Duration| by.as_secs();
    let (by, which) = if server > asked { (seconds(server.since(asked)), "behind") } else { (seconds(asked.since(server)), "ahead of") };
    format!("this machine's clock is {by} s {which} the queue's: let both follow NTP")
}

/// A 200 that is none. Its body may hold requests, so it is not quoted, unless it is a page.
pub(super) fn unreadable(operation: Operation, response: &HttpResponse, problem: &Problem) -> PortError {
    let body = response.body.secret_bytes();
    let page = body.trim_ascii_start().starts_with(b"<");
    let quote = if page { quoted(body) } else { format!(" ({} bytes)", body.len()) };
    PortError::transient(format!("the open queue's `{}` gave an answer that cannot be read: {problem}{quote}", operation.path()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry::Retry;

    fn answer(status: u16, body: &str) -> HttpResponse {
        HttpResponse::new(status, body.as_bytes().to_vec())
    }

    fn error(response: &HttpResponse) -> PortError {
        refused(Operation::Receive, response, Timestamp::from_secs(1_000), Timestamp::from_secs(1_001))
    }

    #[test]
    fn each_status_says_who_must_act() {
        use PortErrorKind as K;
        for (status, kind) in [
            (302, K::Misconfigured),
            (400, K::Rejected),
            (401, K::Misconfigured),
            (403, K::Misconfigured),
            (404, K::Misconfigured),
            (405, K::Misconfigured),
            (407, K::Misconfigured),
            (408, K::Transient),
            (409, K::Transient),
            (413, K::Rejected),
            (415, K::Rejected),
            (422, K::Unsupported),
            (429, K::Throttled),
            (500, K::Transient),
            (501, K::Unsupported),
            (502, K::Transient),
            (503, K::Throttled),
            (204, K::Transient),
            (999, K::Transient),
        ] {
            let error = error(&answer(status, ""));
            assert_eq!((error.kind(), error.code()), (kind, Some(status.to_string().as_str())), "{status}");
        }
        assert_eq!(error(&answer(409, "")).effect(), Effect::Unknown);
        assert_eq!(error(&answer(429, "")).effect(), Effect::None);
    }

    #[test]
    fn the_time_for_the_next_try_is_the_one_that_was_named() {
        let error = error(&answer(503, "").with_header("Retry-After", "90"));
        assert_eq!(error.retry(), Retry::After(Duration::from_secs(90)));
    }

    #[test]
    fn clock_skew_is_named_with_its_size() {
        let told = |time: &str| error(&answer(400, &format!(r#"{{"error":{{"code":"clockSkew","message":"m","serverTime":"{time}"}}}}"#)));
        assert!(told("1970-01-01T00:20:00Z").to_string().contains("clock is 200 s behind the queue's"), "{}", told("1970-01-01T00:20:00Z"));
        assert!(told("1970-01-01T00:15:00Z").to_string().contains("clock is 100 s ahead of the queue's"));
        assert_eq!(told("1970-01-01T00:15:00Z").code(), Some("clockSkew"));
        assert_eq!(told("nonsense").kind(), PortErrorKind::Misconfigured);
    }

    #[test]
    fn a_page_is_quoted_by_its_title_and_an_unreadable_batch_not_at_all() {
        let page = answer(200, "<!DOCTYPE html><title>Sign in</title>");
        let batch = answer(200, r#"{"items": [{"request": {"pfx": "aHVudGVyMg"#);
        let problem = Problem("it is no JSON".to_owned());
        assert!(unreadable(Operation::Receive, &page, &problem).to_string().contains("`Sign in`"));
        assert!(!unreadable(Operation::Receive, &batch, &problem).to_string().contains("aHVudGVyMg"));
    }
}
