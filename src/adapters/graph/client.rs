//! The calls.

use core::time::Duration;
use std::sync::Arc;

use serde_json::Value;
use url::Url;

use super::error::{GraphError, GraphErrorKind, request_ids};
use super::odata::{literal, percent};
use super::pages::{PfxFilter, PfxPages};
use super::record::{PfxId, PfxRecord};
use super::settings::GraphSettings;
use super::upload::UserPfxCertificate;
use crate::adapters::entra::TokenSource;
use crate::adapters::http::{ClientBuildError, HttpMethod, HttpRequest, HttpResponse, HttpTransport, base_url, guid};
use crate::crypto::CryptoProvider;
use crate::event::printable;
use crate::ids::{Thumbprint, UserId};
use crate::ports::Runtime;
use crate::retry::Effect;
use crate::secret::SecretBytes;

/// The admin's client of Graph's `userPfxCertificates` (beta): list, create, update, delete.
///
/// Needs an app registration with DeviceManagementConfiguration.ReadWrite.All, and User.Read.All for [`user_id`](Self::user_id). It keeps no
/// state between calls; use one from as many tasks as you like.
///
/// What passes is tried again, within the bounds of [`GraphSettings`] and as the service asks by Retry-After. A create is never repeated
/// blindly: when its outcome is unknown, Graph is asked for the record first.
#[derive(Debug, Clone)]
pub struct GraphPfx {
    transport: Arc<dyn HttpTransport>,
    tokens: Arc<dyn TokenSource>,
    runtime: Arc<dyn Runtime>,
    provider: CryptoProvider,
    pub(super) settings: GraphSettings,
    origin: Url,
}

/// What a create led to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Created {
    /// The record.
    pub record: PfxRecord,
    /// The `request-id` of the answer that told of it.
    pub request_id: Option<String>,
    /// An answer was lost, and the record was found by asking for it.
    pub found: bool,
}

/// What a delete led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// The record is gone.
    Deleted,
    /// There was none, or an attempt whose answer was lost removed it.
    NotThere,
}

/// What is sent: the body is made anew for each attempt, so that no copy waits between two.
pub(super) struct Call<'a> {
    doing: &'a str,
    method: HttpMethod,
    url: String,
    body: Option<&'a (dyn Fn() -> Result<SecretBytes, GraphError> + Send + Sync)>,
    /// Whether sending it twice does no more than once.
    repeatable: bool,
}

impl<'a> Call<'a> {
    pub(super) fn get(doing: &'a str, url: String) -> Self {
        Self { doing, method: HttpMethod::Get, url, body: None, repeatable: true }
    }
}

impl GraphPfx {
    /// A client over that transport, with those tokens. The provider gives random numbers for the ids of calls.
    ///
    /// # Errors
    /// [`ClientBuildError`] with every mistake in the settings.
    pub fn new(
        transport: Arc<dyn HttpTransport>,
        tokens: Arc<dyn TokenSource>,
        runtime: Arc<dyn Runtime>,
        provider: CryptoProvider,
        settings: GraphSettings,
    ) -> Result<Self, ClientBuildError> {
        let origin = settings.check(&provider).map_err(|findings| ClientBuildError::new("client of Graph", findings))?;
        Ok(Self { transport, tokens, runtime, provider, settings, origin })
    }

    /// The runtime, for whoever builds on this client.
    pub(super) fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    /// The records, page by page.
    #[must_use]
    pub fn pages(&self, filter: PfxFilter) -> PfxPages<'_> {
        let url = self.certificates() + &filter.query();
        PfxPages::new(self, filter, url)
    }

    /// All records that the filter takes, whatever the number of pages.
    ///
    /// # Errors
    /// [`GraphError`]; also when there are more than `max_pages` or `max_records`: nothing is cut off silently.
    pub async fn list(&self, filter: PfxFilter) -> Result<Vec<PfxRecord>, GraphError> {
        let mut pages = self.pages(filter);
        let mut records = Vec::new();
        while let Some(page) = pages.next().await? {
            records.extend(page);
        }
        Ok(records)
    }

    /// That user's record of that certificate.
    ///
    /// # Errors
    /// [`GraphError`]; a record that is not there is none.
    pub async fn find(&self, upn: &str, thumbprint: Thumbprint) -> Result<Option<PfxRecord>, GraphError> {
        Ok(self.list(PfxFilter::One { upn: upn.to_owned(), thumbprint }).await?.into_iter().next())
    }

    /// The object id of a user; needs User.Read.All.
    ///
    /// # Errors
    /// [`GraphErrorKind::NotFound`] when the tenant has no such user.
    pub async fn user_id(&self, upn: &str) -> Result<UserId, GraphError> {
        let filter = percent(&format!("userPrincipalName eq {}", literal(upn)));
        let url = format!("{}/{}?$filter={filter}", self.base(), self.settings.users_path);
        let answer = self.send(&Call::get("look up the user", url)).await?;
        let body = object(&answer)?;
        let users = body.get("value").and_then(Value::as_array).ok_or_else(|| no_list(&answer))?;
        // A service that passes over the filter must not hand out another's id.
        let is_meant = |user: &Value| {
            let name = user.get("userPrincipalName").and_then(Value::as_str);
            name.is_none_or(|name| name.to_lowercase() == upn.to_lowercase())
        };
        let mut ids = users.iter().filter(|user| is_meant(user)).filter_map(|user| user.get("id").and_then(Value::as_str));
        match (ids.next().and_then(|id| id.parse().ok()), ids.next()) {
            (Some(id), None) => Ok(id),
            (_, Some(_)) => Err(GraphError::new(GraphErrorKind::Answer, "Graph knows several users of that UPN").naming(&answer)),
            (None, None) => {
                let text = format!("the tenant has no user with the UPN {}", printable(upn));
                Err(GraphError::new(GraphErrorKind::NotFound, text).with_effect(Effect::None).naming(&answer))
            }
        }
    }

    /// Creates the record.
    ///
    /// When an answer is lost, Graph is asked for the record before the create is sent again: one upload leads to one record. A record of the
    /// same user and thumbprint that was there before cannot be told from one whose answer was lost: look with [`find`](Self::find) first where
    /// that matters, as the bulk import does.
    ///
    /// # Errors
    /// [`GraphErrorKind::Conflict`] when Graph says that there is one; [`GraphErrorKind::Refused`] with what is likely wrong. The effect is
    /// `Unknown` when neither the create nor the search for the record was answered.
    pub async fn create(&self, certificate: &UserPfxCertificate) -> Result<Created, GraphError> {
        let body = || certificate.body(self.runtime.now(), true);
        let call =
            Call { doing: "create the record", method: HttpMethod::Post, url: self.certificates(), body: Some(&body), repeatable: false };
        let mut lost = false;
        let mut waited = Duration::ZERO;
        let mut attempt = 1;
        loop {
            let error = match self.send(&call).await {
                Ok(answer) => {
                    let request_id = request_ids(&answer).0;
                    let is_meant = |record: &PfxRecord| record.thumbprint.is_none_or(|thumbprint| thumbprint == certificate.thumbprint);
                    let told = object(&answer).ok().as_ref().and_then(PfxRecord::read).filter(is_meant);
                    if let Some(record) = told {
                        return Ok(Created { record, request_id, found: false });
                    }
                    GraphError::new(GraphErrorKind::Answer, "Graph took the record, but answered with none").naming(&answer)
                }
                Err(error) => error,
            };
            let refused = matches!(error.kind, GraphErrorKind::Conflict | GraphErrorKind::Refused | GraphErrorKind::NotFound);
            if error.effect == Effect::None && !(lost && refused) {
                return Err(if refused { self.explain(error, certificate).await } else { error });
            }
            lost |= error.effect == Effect::Unknown;
            let wait = if refused { None } else { self.wait_before(attempt, waited, error.retry_after) };
            if let Some(wait) = wait {
                self.runtime.sleep(wait).await;
                waited += wait;
                attempt += 1;
            }
            match self.find(&certificate.user_principal_name, certificate.thumbprint).await {
                Ok(Some(record)) => return Ok(Created { record, request_id: error.request_id, found: true }),
                Ok(None) if refused => return Err(self.explain(error, certificate).await),
                Ok(None) if wait.is_none() => return Err(error),
                Ok(None) => {}
                Err(find) => {
                    return Err(error.with_effect(Effect::Unknown).adding(&format!("and the search for the record failed: {find}")));
                }
            }
        }
    }

    /// Replaces what a record holds.
    ///
    /// # Errors
    /// [`GraphErrorKind::NotFound`] when there is no such record.
    pub async fn update(&self, id: &PfxId, certificate: &UserPfxCertificate) -> Result<Option<String>, GraphError> {
        let body = || certificate.body(self.runtime.now(), false);
        let url = format!("{}({})", self.certificates(), percent(&literal(id.as_str())));
        let call = Call { doing: "update the record", method: HttpMethod::Patch, url, body: Some(&body), repeatable: true };
        Ok(request_ids(&self.send(&call).await?).0)
    }

    /// Removes a record.
    ///
    /// # Errors
    /// [`GraphError`]; a record that is not there is none.
    pub async fn delete(&self, id: &PfxId) -> Result<Removal, GraphError> {
        let url = format!("{}/{}", self.certificates(), percent(id.as_str()));
        let call = Call { doing: "delete the record", method: HttpMethod::Delete, url, body: None, repeatable: true };
        match self.send(&call).await {
            Ok(_) => Ok(Removal::Deleted),
            Err(error) if error.kind == GraphErrorKind::NotFound => Ok(Removal::NotThere),
            Err(error) => Err(error),
        }
    }

    /// A refusal of Graph seldom says why: the most likely reason is looked for.
    async fn explain(&self, error: GraphError, certificate: &UserPfxCertificate) -> GraphError {
        if error.kind == GraphErrorKind::Conflict {
            return error;
        }
        match self.user_id(&certificate.user_principal_name).await {
            // A listing without the user, not a 404 of whatever kind.
            Err(user) if user.kind == GraphErrorKind::NotFound && user.status.is_none() => error.adding(user.message()),
            _ => error,
        }
    }

    fn base(&self) -> String {
        format!("{}/{}", self.settings.graph.trim_end_matches('/'), self.settings.version)
    }

    fn certificates(&self) -> String {
        format!("{}/{}", self.base(), self.settings.certificates_path)
    }

    /// Whether a URL from an answer may be given the token: the same scheme, host and port, and no name or password in it.
    pub(super) fn is_ours(&self, url: &str) -> bool {
        let visible = url.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#'));
        let base = url.split('?').next().unwrap_or_default();
        let url = base_url(base, self.settings.dangerous_plain_http_on_loopback);
        visible && url.is_ok_and(|url| url.origin() == self.origin.origin())
    }

    /// Sends a call until it is answered with success, or is not worth another attempt.
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<HttpResponse, GraphError> {
        let id = guid(&self.provider).map_err(GraphError::no_token)?;
        let mut waited = Duration::ZERO;
        let mut attempt = 1;
        let mut fresh = false;
        loop {
            let mut error = match self.attempt(call, &id, &mut fresh).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if error.kind != GraphErrorKind::Token {
                error.client_request_id.get_or_insert_with(|| id.clone());
            }
            if !error.is_passing() || !call.repeatable && error.effect == Effect::Unknown {
                return Err(error);
            }
            let Some(wait) = self.wait_before(attempt, waited, error.retry_after) else { return Err(error) };
            waited += wait;
            attempt += 1;
            self.runtime.sleep(wait).await;
        }
    }

    /// Sends once, or twice when the first token is refused: one from before a role was granted never gets it.
    async fn attempt(&self, call: &Call<'_>, id: &str, fresh: &mut bool) -> Result<HttpResponse, GraphError> {
        loop {
            let token = self.tokens.token(&self.settings.scope, self.settings.timeout).await.map_err(GraphError::no_token)?;
            let mut request = HttpRequest::new(call.method, &*call.url)
                .with_timeout(self.settings.timeout)
                .with_bearer(token.secret_str())
                .with_header("Accept", "application/json")
                .with_header("client-request-id", id);
            if let Some(body) = call.body {
                request = request.with_body("application/json", body()?);
            }
            let answer = self.transport.send(request).await.map_err(|error| GraphError::no_answer(&error))?;
            match answer.status {
                200..=299 => return Ok(answer),
                401 | 403 => {
                    self.tokens.refused(&self.settings.scope, &token);
                    if !core::mem::replace(fresh, true) {
                        continue;
                    }
                }
                _ => {}
            }
            return Err(GraphError::from_answer(call.doing, &answer, self.runtime.now()));
        }
    }

    /// How long to wait after that attempt; `None` when there is to be no other.
    fn wait_before(&self, attempt: u32, waited: Duration, named: Option<Duration>) -> Option<Duration> {
        if attempt >= self.settings.attempts {
            return None;
        }
        let wait = named.unwrap_or_else(|| Duration::from_secs(1 << attempt.min(6)));
        (waited.saturating_add(wait) <= self.settings.longest_wait).then_some(wait)
    }
}

/// The body of a success as a JSON object.
pub(super) fn object(answer: &HttpResponse) -> Result<Value, GraphError> {
    // serde's error is not shown: it quotes what it reads.
    let value = serde_json::from_slice::<Value>(answer.body.secret_bytes()).ok().filter(Value::is_object);
    value.ok_or_else(|| {
        let text = format!("Graph answered {} with a body that is no JSON object: check Graph's URL and the proxy", answer.status);
        GraphError::new(GraphErrorKind::Answer, text).naming(answer)
    })
}

pub(super) fn no_list(answer: &HttpResponse) -> GraphError {
    GraphError::new(GraphErrorKind::Answer, "Graph's answer has no list `value`").naming(answer)
}
