//! What an answer of the service means. Any doubt is an error: nothing but 200 with `Success` is a yes.

use serde_json::Value;

use super::actions::{HttpAnswer, ScepAction};
use super::codes::{self, SUCCESS, UNKNOWN};
use super::wire::Answer;
use crate::adapters::http::{fit, quoted, retry_after, says};
use crate::ports::{PortError, PortErrorKind};
use crate::retry::Effect;

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
