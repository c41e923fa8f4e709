//! What an answer that is none says: the statuses of both APIs, with what to do about each, and what of a body may be shown.

use serde_json::Value;

use super::actions::HttpAnswer;
use super::retry_after::retry_after;
use crate::event::printable;
use crate::ports::{PortError, PortErrorKind};
use crate::retry::Effect;

/// So much of what the service says is shown.
const QUOTE_CHARS: usize = 300;

/// A longer run of base64 is no word: it may be the challenge, repeated.
const LONGEST_RUN: usize = 60;

/// A call, as errors speak of it.
#[derive(Debug)]
pub(super) struct Asked {
    /// Its path.
    pub(super) call: String,
    /// What it asks for.
    pub(super) outcome: &'static str,
    /// Why no redirect is followed.
    pub(super) holds: &'static str,
    /// What a 413 means.
    pub(super) too_large: &'static str,
    /// A longer body, in bytes, is no answer.
    pub(super) max_body: usize,
}

impl Asked {
    /// Nothing but a 200 of bounded size is an answer. The status comes first: the body of a gateway's error is no JSON.
    pub(super) fn check(&self, answer: &HttpAnswer) -> Result<(), PortError> {
        if answer.status != 200 {
            return Err(self.refused(answer));
        }
        if answer.body.len() > self.max_body {
            return Err(self.no_answer(answer, &format!("the body is longer than {} KiB", self.max_body >> 10)));
        }
        Ok(())
    }

    /// A 200 that is none.
    pub(super) fn no_answer(&self, answer: &HttpAnswer, problem: &str) -> PortError {
        PortError::transient(format!("Intune's {} gave no {}: {problem}{}", self.call, self.outcome, activity(answer)))
    }

    fn refused(&self, answer: &HttpAnswer) -> PortError {
        let status = answer.status;
        let (kind, advice) = self.advice(status);
        let said = if answer.body.len() > self.max_body { String::new() } else { quoted(&answer.body) };
        let message = format!("Intune's {} answered {status}: {advice}{said}{}", self.call, activity(answer));
        // What was refused before it was read did nothing.
        let effect = if matches!(status, 401 | 403 | 404 | 407 | 410 | 421 | 429) { Effect::None } else { Effect::Unknown };
        let error = PortError::new(kind, message).with_code(status.to_string()).with_effect(effect);
        match answer.retry_after.as_deref().and_then(|value| retry_after(value, answer.received)) {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        }
    }

    fn advice(&self, status: u16) -> (PortErrorKind, String) {
        use PortErrorKind as K;
        let (kind, advice) = match status {
            401 => (
                K::Misconfigured,
                "the token is not accepted: grant the app registration `scep_challenge_provider` of the Intune API, with admin consent; a \
                 token from before the grant must be dropped; check its audience https://api.manage.microsoft.com/ and the clock",
            ),
            403 => (
                K::Misconfigured,
                "the app registration may not do this: grant it `scep_challenge_provider` of the Intune API, with admin consent, drop the \
                 token, and check that the tenant has Intune licences",
            ),
            300..=399 => {
                let holds = self.holds;
                let advice =
                    format!("a redirect, which is not followed since {holds}: check the proxy and the base URI from service discovery");
                return (K::Misconfigured, advice);
            }
            404 | 410 | 421 => {
                (K::Transient, "the service has moved: discover its location anew, and check the base URI if it is configured")
            }
            407 => (K::Misconfigured, "the proxy wants other credentials: check the proxy's setting"),
            408 => (K::Transient, "the service gave up waiting"),
            429 => (K::Throttled, "too many calls"),
            503 => (K::Throttled, "the service is overloaded or being serviced"),
            413 => (K::Rejected, self.too_large),
            400..=499 => {
                (K::Rejected, "the service cannot take the call: check its `api-version`, and the base URI from service discovery")
            }
            500..=599 => (K::Transient, "the service, or a gateway before it, failed"),
            _ => (K::Transient, "this status is no answer of the service"),
        };
        (kind, advice.to_owned())
    }
}

fn activity(answer: &HttpAnswer) -> String {
    answer.activity.as_ref().map(|id| format!(" (client-request-id {})", fit(id))).unwrap_or_default()
}

pub(super) fn says(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(". Intune says: {text}") }
}

/// What a body that is no verdict says, for the operator: a page's title, the innermost message of the gateway's envelope, or its beginning.
pub(super) fn quoted(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return "; the body is empty".to_owned();
    }
    if let Some(message) = serde_json::from_str::<Value>(text).ok().as_ref().and_then(enveloped) {
        return says(&fit(&message));
    }
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        let title = lower.find("<title>").map(|at| at + 7).and_then(|start| {
            let end = lower.get(start..)?.find("</title>")?;
            text.get(start..start + end)
        });
        return title
            .map_or_else(|| "; the body is an HTML page".to_owned(), |title| format!("; the body is an HTML page, `{}`", fit(title)));
    }
    format!("; it begins `{}`", fit(text))
}

/// The text of `{"error": {"code", "message"}}`, whose message is often a JSON document as text.
fn enveloped(body: &Value) -> Option<String> {
    let error = body.get("error")?;
    let code = error.get("code").and_then(Value::as_str).unwrap_or_default();
    let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
    let inner = serde_json::from_str::<Value>(message).ok();
    let member = |name: &str| inner.as_ref().and_then(|inner| inner.get(name)).and_then(Value::as_str).filter(|text| !text.is_empty());
    let parts = [Some(code).filter(|code| !code.is_empty()), member("CustomApiErrorPhrase"), member("Message").or(Some(message))];
    Some(parts.into_iter().flatten().collect::<Vec<_>>().join(": "))
}

/// Makes what the service says fit for a log: short, printable, and without anything that may be a challenge.
pub(super) fn fit(text: &str) -> String {
    let mut out = String::new();
    let is_digit = |character: char| character.is_ascii_alphanumeric() || matches!(character, '+' | '/' | '=' | '-' | '_');
    // A piece ends after what is no digit of base64.
    for piece in text.split_inclusive(|character| !is_digit(character)) {
        let run = piece.trim_end_matches(|character| !is_digit(character));
        match piece.strip_prefix(run) {
            Some(rest) if run.len() > LONGEST_RUN => {
                out.push_str("[hidden]");
                out.push_str(rest);
            }
            _ => out.push_str(piece),
        }
    }
    let short: String = out.chars().take(QUOTE_CHARS).collect();
    let cut = short.len() < out.len();
    printable(&short) + if cut { "\u{2026}" } else { "" }
}
