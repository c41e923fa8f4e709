//! What an answer of the service means. Any doubt is an error: nothing but 200 with `Success` is a yes.

use serde_json::Value;

use super::actions::{HttpAnswer, ScepAction};
use super::codes::{self, SUCCESS, UNKNOWN};
use super::retry_after::retry_after;
use super::wire::Answer;
use crate::event::printable;
use crate::ports::{PortError, PortErrorKind};
use crate::retry::Effect;

/// So much of what the service says is shown.
const QUOTE_CHARS: usize = 300;

/// A longer run of base64 is no word: it may be the challenge, repeated.
const LONGEST_RUN: usize = 60;

/// The service's verdict.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Success,
    /// It refuses, by this code.
    No {
        code: String,
        description: String,
    },
}

/// Reads an answer.
pub(super) fn read(action: ScepAction, answer: &HttpAnswer) -> Result<Said, PortError> {
    // The status first: the body of a gateway's error is no JSON.
    if answer.status != 200 {
        return Err(refused(action, answer));
    }
    if answer.body.len() > HttpAnswer::MAX_BODY {
        return Err(no_answer(action, answer, "the body is longer than 64 KiB"));
    }
    // serde takes an array for an object. Its error is not shown: it quotes what it reads.
    let object = Some(&answer.body).filter(|body| body.trim_ascii_start().starts_with(b"{"));
    let Some(said) = object.and_then(|body| serde_json::from_slice::<Answer>(body).ok()) else {
        let problem = format!("the body is no JSON object with one text `code`{}", quoted(&answer.body));
        return Err(no_answer(action, answer, &problem));
    };
    let text = said.error_description.as_ref().and_then(Value::as_str).map(fit).unwrap_or_default();
    match said.code.as_str() {
        SUCCESS => Ok(Said::Success),
        UNKNOWN => {
            let problem = format!("it answers `{UNKNOWN}`{}; try again later", says(&text));
            Err(no_answer(action, answer, &problem).with_code(UNKNOWN))
        }
        code => Ok(Said::No { code: fit(code), description: format!("{}{}.", codes::explain(code), says(&text)) }),
    }
}

/// A 200 that is none.
fn no_answer(action: ScepAction, answer: &HttpAnswer, problem: &str) -> PortError {
    let message = format!("Intune's {action} gave no verdict: {problem}{}", activity(answer));
    PortError::transient(message)
}

fn refused(action: ScepAction, answer: &HttpAnswer) -> PortError {
    use PortErrorKind as K;
    let status = answer.status;
    let (kind, advice) = match status {
        401 => (
            K::Misconfigured,
            "the token is not accepted: grant the app registration `scep_challenge_provider` of the Intune API, with admin consent; a token from \
             before the grant must be dropped; check its audience https://api.manage.microsoft.com/ and the clock",
        ),
        403 => (
            K::Misconfigured,
            "the app registration may not do this: grant it `scep_challenge_provider` of the Intune API, with admin consent, drop the token, and \
             check that the tenant has Intune licences",
        ),
        300..=399 => (
            K::Misconfigured,
            "a redirect, which is not followed since the call holds the challenge: check the proxy and the base URI from service discovery",
        ),
        404 | 410 | 421 => (K::Transient, "the service has moved: discover its location anew, and check the base URI if it is configured"),
        407 => (K::Misconfigured, "the proxy wants other credentials: check the proxy's setting"),
        408 => (K::Transient, "the service gave up waiting"),
        429 => (K::Throttled, "too many calls"),
        503 => (K::Throttled, "the service is overloaded or being serviced"),
        413 => (K::Rejected, "the CSR is larger than the service takes"),
        400..=499 => (K::Rejected, "the service cannot take the call: check its `api-version`, and the base URI from service discovery"),
        500..=599 => (K::Transient, "the service, or a gateway before it, failed"),
        _ => (K::Transient, "this status is no answer of the service"),
    };
    let said = if answer.body.len() > HttpAnswer::MAX_BODY { String::new() } else { quoted(&answer.body) };
    let message = format!("Intune's {action} answered {status}: {advice}{said}{}", activity(answer));
    // What was refused before it was read did nothing.
    let effect = if matches!(status, 401 | 403 | 429) { Effect::None } else { Effect::Unknown };
    let error = PortError::new(kind, message).with_code(status.to_string()).with_effect(effect);
    match answer.retry_after.as_deref().and_then(|value| retry_after(value, answer.received)) {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

fn activity(answer: &HttpAnswer) -> String {
    answer.activity.as_ref().map(|id| format!(" (client-request-id {})", fit(id))).unwrap_or_default()
}

fn says(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(". Intune says: {text}") }
}

/// What a body that is no verdict says, for the operator: a page's title, the innermost message of the gateway's envelope, or its beginning.
fn quoted(body: &[u8]) -> String {
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
fn fit(text: &str) -> String {
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
