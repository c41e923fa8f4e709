//! What an answer that is none says: the statuses of both APIs, with what to do about each.

use super::actions::HttpAnswer;
use crate::adapters::http::{fit, quoted, retry_after};
use crate::ports::{PortError, PortErrorKind};
use crate::retry::Effect;

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
