//! Why a call to Graph failed, what it may have done, and what helps.

use core::fmt;
use core::time::Duration;

use serde_json::Value;

use crate::adapters::http::{HttpError, HttpErrorKind, HttpResponse, fit, quoted, retry_after};
use crate::event::printable;
use crate::ports::{PortError, PortErrorKind};
use crate::retry::Effect;
use crate::time::Timestamp;

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GraphErrorKind {
    /// A setting, or the request itself, cannot be sent.
    Settings,
    /// There is no token.
    Token,
    /// No answer came, or none in time.
    NoAnswer,
    /// 401 or 403, also with a fresh token: a permission or a licence is missing.
    Denied,
    /// 404: no such record, user or collection.
    NotFound,
    /// 409: there is one already.
    Conflict,
    /// 400 and the like: Graph refuses what the request says.
    Refused,
    /// 429 or 503 for longer than was to be waited.
    Throttled,
    /// 5xx.
    Unavailable,
    /// The answer is none that Graph gives, or more than the bounds allow.
    Answer,
}

/// A call to Graph failed. The text says what is likely wrong and what to do; it holds no token, no password and no PFX.
#[derive(Debug)]
pub struct GraphError {
    pub(super) kind: GraphErrorKind,
    pub(super) effect: Effect,
    pub(super) status: Option<u16>,
    pub(super) retry_after: Option<Duration>,
    pub(super) request_id: Option<String>,
    pub(super) client_request_id: Option<String>,
    message: String,
    source: Option<Box<PortError>>,
}

impl GraphError {
    pub(super) fn new(kind: GraphErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            effect: Effect::Unknown,
            status: None,
            retry_after: None,
            request_id: None,
            client_request_id: None,
            message: message.into(),
            source: None,
        }
    }

    pub(super) fn settings(message: impl Into<String>) -> Self {
        Self::new(GraphErrorKind::Settings, message).with_effect(Effect::None)
    }

    pub(super) fn with_effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// The text without the ids.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Adds a sentence.
    pub(super) fn adding(mut self, text: &str) -> Self {
        self.message.push_str("; ");
        self.message.push_str(text);
        self
    }

    pub(super) fn no_token(error: PortError) -> Self {
        let retry_after = match error.retry() {
            crate::retry::Retry::After(wait) => Some(wait),
            _ => None,
        };
        let text = error.to_string();
        let text = if text.starts_with("no token") { text } else { format!("no token for Graph: {text}") };
        let mut this = Self::new(GraphErrorKind::Token, text).with_effect(Effect::None);
        this.retry_after = retry_after;
        this.source = Some(Box::new(error));
        this
    }

    pub(super) fn no_answer(error: &HttpError) -> Self {
        let kind = if error.kind() == HttpErrorKind::Request { GraphErrorKind::Settings } else { GraphErrorKind::NoAnswer };
        let effect = if error.kind().is_unsent() { Effect::None } else { Effect::Unknown };
        Self::new(kind, format!("no answer from Graph: {error}")).with_effect(effect)
    }

    /// What an answer that is no success means. `doing` says what was asked, for the operator.
    pub(super) fn from_answer(doing: &str, answer: &HttpResponse, now: Timestamp) -> Self {
        use GraphErrorKind as K;
        let status = answer.status;
        let (kind, effect, advice) = match status {
            300..=399 => (K::Settings, Effect::None, "a redirect, which is not followed: check the proxy and Graph's URL"),
            401 => (
                K::Denied,
                Effect::None,
                "the token is not accepted: grant the app registration DeviceManagementConfiguration.ReadWrite.All (and User.Read.All to look up \
                 users) of Microsoft Graph as application permissions, with admin consent; check the scope and the clock",
            ),
            403 => (
                K::Denied,
                Effect::None,
                "the app registration may not do this: grant it DeviceManagementConfiguration.ReadWrite.All (and User.Read.All to look up users) \
                 of Microsoft Graph, with admin consent, and check that the tenant has Intune licences",
            ),
            404 => (K::NotFound, Effect::None, "not found: check the UPN or the record's id, and Graph's URL and version"),
            407 => (K::Settings, Effect::None, "the proxy wants other credentials: check the proxy's setting"),
            408 => (K::Unavailable, Effect::Unknown, "Graph gave up waiting for the request"),
            409 => (K::Conflict, Effect::None, "there is such a record already: update it instead"),
            413 => (K::Refused, Effect::None, "the request is larger than Graph takes: export the PFX without superfluous certificates"),
            429 => (K::Throttled, Effect::None, "too many requests"),
            400..=499 => (
                K::Refused,
                Effect::None,
                "Graph refuses what the request says: check that the UPN is that of a user with an Intune licence, that thumbprint and dates are \
                 those of the certificate, the purpose, and that a connector with the named provider and key serves the tenant",
            ),
            503 => (K::Throttled, Effect::Unknown, "the service is overloaded or being serviced"),
            500..=599 => (K::Unavailable, Effect::Unknown, "the service, or a gateway before it, failed"),
            _ => (K::Answer, Effect::Unknown, "this status is no answer of Graph"),
        };
        let said = quoted(answer.body.secret_bytes());
        let mut error = Self::new(kind, format!("{doing}: Graph answered {status}: {advice}{said}")).with_effect(effect);
        error.status = Some(status);
        error.retry_after = named_wait(answer, now);
        error.naming(answer)
    }

    /// Keeps the ids by which Microsoft finds a call.
    pub(super) fn naming(mut self, answer: &HttpResponse) -> Self {
        let (request_id, client_request_id) = request_ids(answer);
        self.request_id = request_id;
        self.client_request_id = client_request_id.or(self.client_request_id);
        self
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> GraphErrorKind {
        self.kind
    }

    /// What the call may have done.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// The status, where there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// The wait that Graph asked for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The `request-id` of the answer, for Microsoft's support.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// The `client-request-id` under which the call was sent.
    #[must_use]
    pub fn client_request_id(&self) -> Option<&str> {
        self.client_request_id.as_deref()
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self.kind {
            GraphErrorKind::NoAnswer | GraphErrorKind::Throttled | GraphErrorKind::Unavailable => true,
            GraphErrorKind::Token => !self.concerns_all(),
            _ => false,
        }
    }

    /// Whether every other call fails the same way: the settings, the credential or a permission is wrong.
    #[must_use]
    pub fn concerns_all(&self) -> bool {
        match self.kind {
            GraphErrorKind::Settings | GraphErrorKind::Denied => true,
            GraphErrorKind::Token => self.source.as_ref().is_none_or(|error| error.kind() == PortErrorKind::Misconfigured),
            _ => false,
        }
    }
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.message))?;
        if let Some(id) = &self.request_id {
            write!(f, " (request-id {id})")?;
        }
        if let Some(id) = &self.client_request_id {
            write!(f, " (client-request-id {id})")?;
        }
        Ok(())
    }
}

impl std::error::Error for GraphError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|error| error as _)
    }
}

impl From<GraphError> for PortError {
    fn from(error: GraphError) -> Self {
        let kind = match error.kind {
            _ if error.concerns_all() => PortErrorKind::Misconfigured,
            GraphErrorKind::Throttled => PortErrorKind::Throttled,
            GraphErrorKind::NotFound | GraphErrorKind::Conflict | GraphErrorKind::Refused => PortErrorKind::Rejected,
            _ => PortErrorKind::Transient,
        };
        let mut port = PortError::new(kind, error.to_string()).with_effect(error.effect);
        if let Some(status) = error.status {
            port = port.with_code(status.to_string());
        }
        if let Some(wait) = error.retry_after {
            port = port.with_retry_after(wait);
        }
        port.with_source(error)
    }
}

/// `request-id` and `client-request-id`, from the headers or else from the error in the body.
pub(super) fn request_ids(answer: &HttpResponse) -> (Option<String>, Option<String>) {
    let body: Option<Value> = if answer.status >= 400 { serde_json::from_slice(answer.body.secret_bytes()).ok() } else { None };
    let inner = body.as_ref().and_then(|body| {
        let error = body.get("error")?;
        error.get("innerError").or_else(|| error.get("innererror"))
    });
    let id = |name: &str| {
        let id = answer.header(name).or_else(|| inner?.get(name)?.as_str())?;
        Some(fit(id)).filter(|id| !id.is_empty())
    };
    (id("request-id"), id("client-request-id"))
}

/// How long Graph asks to wait: `x-ms-retry-after-ms` is in milliseconds; `Retry-After` counts where both are there.
fn named_wait(answer: &HttpResponse, now: Timestamp) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(86_400);
    let standard = answer.header("retry-after").and_then(|value| retry_after(value, now));
    standard.or_else(|| {
        let value = answer.header("x-ms-retry-after-ms")?.trim();
        let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        // What does not fit is longer than the longest.
        digits.then(|| value.parse().map_or(LONGEST, Duration::from_millis).min(LONGEST))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> HttpResponse {
        HttpResponse::new(status, body.as_bytes().to_vec())
    }

    #[test]
    fn the_wait_is_read_in_all_its_forms() {
        let now = Timestamp::from_secs(784_111_777 - 90);
        let wait = |name: &str, value: &str| named_wait(&answer(429, "").with_header(name, value), now);
        assert_eq!(wait("Retry-After", "7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(90)));
        assert_eq!(wait("x-ms-retry-after-ms", "1500"), Some(Duration::from_millis(1_500)));
        assert_eq!(wait("x-ms-retry-after-ms", "99999999999999999999999"), Some(Duration::from_secs(86_400)));
        assert_eq!(wait("x-ms-retry-after-ms", "soon"), None);
        let both = answer(429, "").with_header("x-ms-retry-after-ms", "1").with_header("Retry-After", "3");
        assert_eq!(named_wait(&both, now), Some(Duration::from_secs(3)));
    }

    #[test]
    fn ids_come_from_the_headers_and_else_from_the_error_in_the_body() {
        let body = r#"{"error":{"code":"BadRequest","message":"no","innerError":{"request-id":"body-1","client-request-id":"body-2"}}}"#;
        assert_eq!(request_ids(&answer(400, body)), (Some("body-1".into()), Some("body-2".into())));
        let headers = answer(400, body).with_header("request-id", "head-1");
        assert_eq!(request_ids(&headers).0.as_deref(), Some("head-1"));
    }
}
