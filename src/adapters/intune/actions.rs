//! What carries a call to the service.

use core::fmt::{self, Debug};
use core::str::FromStr;

use async_trait::async_trait;

use crate::ports::PortError;
use crate::secret::SecretBytes;
use crate::time::Timestamp;

/// One of the three calls of the validation API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ScepAction {
    /// Is the challenge in this CSR good, and does the CSR ask for what the profile says?
    ValidateRequest,
    /// A certificate was issued.
    SuccessNotification,
    /// None was.
    FailureNotification,
}

impl ScepAction {
    /// The name under which the tenant's service discovery lists the service; names there are compared without regard to case.
    pub const SERVICE: &'static str = "ScepRequestValidationFEService";

    /// The value of the header `api-version`; it is a header, not a part of the query.
    pub const API_VERSION: &'static str = "2018-02-20";

    /// What is appended to the base URI that discovery gives, with one `/` between the two.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::ValidateRequest => "ScepActions/validateRequest",
            Self::SuccessNotification => "ScepActions/successNotification",
            Self::FailureNotification => "ScepActions/failureNotification",
        }
    }
}

impl fmt::Display for ScepAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

/// One call. The body is UTF-8 JSON and holds the challenge: it is a secret, do not log it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ScepCall<'a> {
    /// Where it goes.
    pub action: ScepAction,
    /// What is posted, as `application/json; charset=utf-8`.
    pub body: &'a SecretBytes,
}

impl<'a> ScepCall<'a> {
    /// A call from its parts.
    #[must_use]
    pub fn new(action: ScepAction, body: &'a SecretBytes) -> Self {
        Self { action, body }
    }
}

/// The service's answer, whatever its status.
///
/// `Debug` hides the body: a service may repeat in it what it was asked.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// The value of the header `Retry-After` as it came: seconds, or a date.
    pub retry_after: Option<String>,
    /// When the answer came, to know how far off such a date is.
    pub received: Timestamp,
    /// The `client-request-id` that the call was sent with, which Microsoft's support asks for. Errors quote it.
    pub activity: Option<String>,
    /// The body; read no more than [`HttpAnswer::MAX_BODY`] bytes of it and one.
    pub body: Vec<u8>,
}

impl HttpAnswer {
    /// A body that is longer, in bytes, is no answer of this API: those have about a hundred.
    pub const MAX_BODY: usize = 64 << 10;

    /// An answer with that status and body.
    #[must_use]
    pub fn new(status: u16, body: Vec<u8>, received: Timestamp) -> Self {
        Self { status, retry_after: None, received, activity: None, body }
    }

    /// Sets the value of the header `Retry-After`.
    #[must_use]
    pub fn with_retry_after(mut self, value: impl Into<String>) -> Self {
        self.retry_after = Some(value.into());
        self
    }

    /// Sets the `client-request-id` that the call was sent with.
    #[must_use]
    pub fn with_activity(mut self, id: impl Into<String>) -> Self {
        self.activity = Some(id.into());
        self
    }
}

impl Debug for HttpAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpAnswer")
            .field("status", &self.status)
            .field("retry_after", &self.retry_after)
            .field("received", &self.received)
            .field("activity", &self.activity)
            .field("body", &format_args!("({} bytes)", self.body.len()))
            .finish()
    }
}

/// Posts calls to the tenant's SCEP validation service.
///
/// Called by [`IntuneScep`](super::IntuneScep): once for each validation, once for each attempt to notify, from many requests at a time. A call
/// may be dropped at any await. It waits no longer than the SCEP request's deadline, so an implementation needs no long time-out of its own,
/// but one that ends before that keeps the reason.
///
/// What an implementation adds:
/// - *Location*: the base URI is the tenant's own and comes from service discovery under [`ScepAction::SERVICE`], with one `/` before
///   [`ScepAction::path`]. When the location has gone stale (no such host, no connection, no TLS, 404, 410, 421, 5xx) discovery is repeated
///   before the next call. A validation may be posted once more in the same call, a notification too: all three are safe to repeat.
/// - *Headers*: `Authorization: Bearer`, `Content-Type: application/json; charset=utf-8`, `api-version` with [`ScepAction::API_VERSION`],
///   `client-request-id` with a fresh GUID for each HTTP call, and `User-Agent` and `UserAgent` with the [`ProviderName`].
/// - *Token*: for the audience `https://api.manage.microsoft.com/`, whose scope is spelt with two slashes before `.default`. A token is dropped
///   on 401 and on 403: one from before a role was granted never gets it.
///
/// Mistakes that are security mistakes: logging a body, or keeping it; following a redirect, which would carry challenge and token to another
/// host; not verifying the server's certificate; answering 200 for anything else than a 200 of the service.
#[async_trait]
pub trait ScepActions: Debug + Send + Sync {
    /// Posts a body and gives the answer, also when its status is an error: the caller reads statuses.
    ///
    /// # Errors
    /// When there is no answer: `Transient` for the network and for time-outs, `Misconfigured` when no token is to be had or discovery does not
    /// list the service (a missing permission, or a tenant without Intune licences). Either means: not validated, not notified.
    async fn post(&self, call: ScepCall<'_>) -> Result<HttpAnswer, PortError>;
}

/// The product that calls, as Intune's portal and support see it: `callerInfo` in each body, and the user agent.
///
/// 1 to 255 characters of printable ASCII, not blank: it stands in a header. The default is this crate's name and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderName(String);

/// That is no name of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the provider's name is not 1 to 255 characters of printable ASCII; give product and version, such as `Contoso-SCEP/2.1`")]
pub struct InvalidProviderName;

impl ProviderName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ProviderName {
    fn default() -> Self {
        Self(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")).to_owned())
    }
}

impl FromStr for ProviderName {
    type Err = InvalidProviderName;
    fn from_str(text: &str) -> Result<Self, InvalidProviderName> {
        let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let blank = text.trim().is_empty();
        if printable && !blank && text.len() <= 255 { Ok(Self(text.to_owned())) } else { Err(InvalidProviderName) }
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_name_that_could_split_a_header_is_refused() {
        let long = "x".repeat(256);
        for bad in ["", "  ", "a\r\nAuthorization: x", "a\tb", "Z\u{fc}rich", long.as_str()] {
            assert_eq!(bad.parse::<ProviderName>(), Err(InvalidProviderName), "{bad:?}");
        }
        assert_eq!("Contoso SCEP/2.1".parse::<ProviderName>().unwrap().as_str(), "Contoso SCEP/2.1");
        assert!(ProviderName::default().as_str().parse::<ProviderName>().is_ok());
    }

    #[test]
    fn nothing_that_is_shown_of_a_call_or_an_answer_has_its_body() {
        let body = SecretBytes::copy_from(b"hunter2");
        let call = ScepCall::new(ScepAction::ValidateRequest, &body);
        let answer = HttpAnswer::new(200, b"hunter2".to_vec(), Timestamp::default());
        assert!(!format!("{call:?} {answer:?}").contains("hunter2"));
    }
}
