//! Intune online: from a body to the service's answer.

use core::fmt::{self, Debug};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::actions::{HttpAnswer, ProviderName, ScepAction, ScepActions, ScepCall};
use super::cloud::Cloud;
use super::config::IntuneOnlineBuilder;
use super::discovery::{Discovery, Means};
use super::location::Services;
use super::repeat::{Ended, Next, Repeat, Tried, next};
use super::revocation_actions::{RevocationAction, RevocationActions, RevocationCall};
use crate::adapters::entra::{AccessToken, TokenClaims, TokenSource};
use crate::adapters::http::{Deadline, Failure, HttpMethod, HttpRequest, HttpTransport, guid};
use crate::crypto::CryptoProvider;
use crate::ports::{PortError, PortErrorKind, Runtime};
use crate::retry::Effect;
use crate::secret::SecretBytes;
use crate::time::Timestamp;

/// Answers of the validation API are cut after [`HttpAnswer::MAX_BODY`]; a longer page of a gateway still shows its status. In bytes.
const MAX_PAGE: usize = 1 << 20;

/// Intune's services of one tenant over HTTP: give it to [`IntuneScep`](super::IntuneScep), and as [`RevocationActions`] to the revocation queue.
///
/// Each call finds its location by service discovery, which is kept (12 hours unless set) and shared by all who wait for it; takes a token for
/// Intune; posts; and gives back the service's answer whatever its status is.
///
/// - After 401 and 403 the token is dropped and the call made once more with another.
/// - After no such host, no connection, no TLS, 404, 410, 421 and 5xx the location is forgotten, discovered anew, and the call made once more in
///   the same call; not when the service names a time to wait. A *download* of revocation requests is made again only when the service
///   certainly saw nothing of it.
/// - All of that takes no longer than the time-out of a call (60 s unless set).
///
/// ```
/// use std::sync::Arc;
///
/// use intune_connector::adapters::StdRuntime;
/// use intune_connector::adapters::entra::{Credential, SecretSource};
/// use intune_connector::adapters::http::{ClientBuildError, HttpTransport};
/// use intune_connector::adapters::intune::{Cloud, IntuneOnline, IntuneScep, ProviderName};
/// use intune_connector::crypto::CryptoProvider;
///
/// fn scep(transport: Arc<dyn HttpTransport>, runtime: Arc<StdRuntime>, name: ProviderName) -> Result<IntuneScep, ClientBuildError> {
///     let (cloud, provider) = (Cloud::global(), CryptoProvider::ring_and_aws_lc_rs());
///     let credential = Credential::client_secret(SecretSource::file("/run/secrets/intune"));
///     let tokens = cloud
///         .tokens("contoso.onmicrosoft.com", "11111111-2222-3333-4444-555555555555", credential)
///         .build(transport.clone(), runtime.clone(), provider.clone())?;
///     let online = IntuneOnline::builder("contoso.onmicrosoft.com", Arc::new(tokens), transport, runtime, provider)
///         .cloud(cloud)
///         .provider_name(name.clone())
///         .build()?;
///     Ok(IntuneScep::new(Arc::new(online)).with_provider_name(name))
/// }
/// ```
pub struct IntuneOnline {
    means: Means,
    provider_name: ProviderName,
    timeout: Duration,
    discovery: Discovery,
}

/// Which call of which service.
#[derive(Debug, Clone, Copy)]
struct Target<'a> {
    service: &'a str,
    version: &'a str,
    path: &'a str,
    repeat: Repeat,
    max_answer: usize,
}

/// What a call needs before it is sent.
struct Ready {
    services: Arc<Services>,
    url: String,
    token: Arc<AccessToken>,
    activity: String,
}

impl IntuneOnline {
    /// Starts with the tenant (domain or id) and what the client works with; the random numbers of the provider make the ids of calls.
    #[must_use]
    pub fn builder(
        tenant: impl Into<String>,
        tokens: Arc<dyn TokenSource>,
        transport: Arc<dyn HttpTransport>,
        runtime: Arc<dyn Runtime>,
        provider: CryptoProvider,
    ) -> IntuneOnlineBuilder {
        IntuneOnlineBuilder::new(tenant.into(), tokens, transport, runtime, provider)
    }

    pub(super) fn new(means: Means, provider_name: ProviderName, timeout: Duration, max_age: Option<Duration>) -> Self {
        Self { discovery: Discovery::new(means.clone(), max_age), means, provider_name, timeout }
    }

    /// The cloud that it was built for.
    #[must_use]
    pub fn cloud(&self) -> &Cloud {
        &self.means.cloud
    }

    /// When the credential behind the tokens ends, where it is known; see [`credential_warning`](crate::adapters::entra::credential_warning).
    #[must_use]
    pub fn credential_expires(&self) -> Option<Timestamp> {
        self.means.tokens.credential_expires()
    }

    /// The tenant's services, names and URIs as discovery gives them; nothing of it is checked. For diagnosis.
    ///
    /// # Errors
    /// When there is no token for Graph, or no list of Graph.
    pub async fn services(&self) -> Result<BTreeMap<String, String>, PortError> {
        let deadline = self.deadline();
        Ok(self.discovered(&deadline).await?.listed())
    }

    /// The base URI of a service, such as [`Cloud::scep_service`], checked as for a call. For diagnosis.
    ///
    /// # Errors
    /// As [`services`](Self::services), and `Misconfigured` when the service is not listed, or when its URI must not be used.
    pub async fn location(&self, service: &str) -> Result<String, PortError> {
        let deadline = self.deadline();
        let services = self.discovered(&deadline).await?;
        Ok(self.base(&services, service)?)
    }

    /// What a token for that scope says of itself, roles above all, **without verification**: for diagnosis, never for a decision.
    ///
    /// # Errors
    /// When there is no token, and `Unsupported` when it is opaque.
    pub async fn token_roles(&self, scope: &str) -> Result<TokenClaims, PortError> {
        let deadline = self.deadline();
        let token = self.token(scope, &deadline).await?;
        TokenClaims::read_unverified(&token)
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(&self.means.runtime, self.timeout)
    }

    async fn discovered(&self, deadline: &Deadline) -> Result<Arc<Services>, Failure> {
        self.discovery.services(deadline).await.unwrap_or_else(|| Err(self.late("Graph's service discovery")))
    }

    fn base(&self, services: &Arc<Services>, service: &str) -> Result<String, Failure> {
        services.base(service).map(str::to_owned).map_err(|problem| {
            self.discovery.doubt(services);
            self.means.no_location(service, &problem, services)
        })
    }

    async fn token(&self, scope: &str, deadline: &Deadline) -> Result<Arc<AccessToken>, Failure> {
        match deadline.within(self.means.tokens.token(scope, deadline.left())).await {
            Some(token) => Ok(token?),
            None => Err(self.late("the source of tokens")),
        }
    }

    fn late(&self, whose: &str) -> Failure {
        Failure::new(PortErrorKind::Transient, format!("no answer of {whose} within {} s, all told", self.timeout.as_secs_f32()))
    }

    async fn ready(&self, target: Target<'_>, deadline: &Deadline) -> Result<Ready, Failure> {
        let services = self.discovered(deadline).await?;
        let base = self.base(&services, target.service)?;
        let url = format!("{base}/{}", target.path.trim_start_matches('/'));
        let token = self.token(&self.means.cloud.intune_scope, deadline).await?;
        let activity = guid(&self.means.provider)?;
        if deadline.left().is_zero() {
            return Err(self.late(target.service));
        }
        Ok(Ready { services, url, token, activity })
    }

    async fn call(&self, target: Target<'_>, body: &SecretBytes) -> Result<HttpAnswer, PortError> {
        let deadline = self.deadline();
        let (mut tried, mut acted, mut last) = (Tried::default(), false, None);
        loop {
            let ready = match self.ready(target, &deadline).await {
                Ok(ready) => ready,
                // What the service said first tells more.
                Err(failure) => return last.unwrap_or_else(|| Err(failure.into())),
            };
            let (ended, outcome) = self.send(target, &ready, body, &deadline).await;
            acted |= ended.may_have_acted();
            let outcome = outcome.map_err(|error| error.with_effect(if acted { Effect::Unknown } else { Effect::None }));
            let next = next(ended, target.repeat, tried);
            match next {
                Next::FreshToken | Next::DoneDrop => {
                    self.means.tokens.refused(&self.means.cloud.intune_scope, &ready.token);
                    tried.token = true;
                }
                Next::Rediscover | Next::DoneForget => {
                    self.discovery.forget(&ready.services);
                    tried.location = true;
                }
                Next::Done => {}
            }
            if !matches!(next, Next::FreshToken | Next::Rediscover) {
                return outcome;
            }
            last = Some(outcome);
        }
    }

    /// One HTTP call.
    async fn send(
        &self,
        target: Target<'_>,
        ready: &Ready,
        body: &SecretBytes,
        deadline: &Deadline,
    ) -> (Ended, Result<HttpAnswer, PortError>) {
        let activity = &ready.activity;
        let request = HttpRequest::new(HttpMethod::Post, &ready.url)
            .with_bearer(ready.token.secret_str())
            .with_body("application/json; charset=utf-8", SecretBytes::copy_from(body.secret_bytes()))
            .with_header("client-request-id", activity)
            .with_header("api-version", target.version)
            // The service's own clients send either, and which one it reads is not known.
            .with_header("User-Agent", self.provider_name.as_str())
            .with_header("UserAgent", self.provider_name.as_str())
            .with_timeout(deadline.left())
            .with_max_answer(target.max_answer);
        let answer = match deadline.within(self.means.transport.send(request)).await {
            Some(Ok(answer)) => answer,
            Some(Err(error)) => {
                let kind = error.kind();
                let failure = Failure::unanswered(&format!("no answer of Intune's {}", target.path), error, activity);
                return (Ended::Error(kind), Err(failure.into()));
            }
            None => {
                let late = self.late(&format!("Intune's {}", target.path));
                let message = format!("{} (client-request-id {activity})", late.message);
                return (Ended::Late, Err(PortError::transient(message)));
            }
        };
        let wait = answer.header("retry-after").map(str::to_owned);
        let ended = Ended::Answer { status: answer.status, wait: wait.is_some() };
        let body = answer.body.secret_bytes();
        let body = body.get(..target.shown()).unwrap_or(body).to_vec();
        let mut out = HttpAnswer::new(answer.status, body, self.means.runtime.now()).with_activity(activity);
        out.retry_after = wait;
        (ended, Ok(out))
    }
}

impl Target<'_> {
    /// How much of a body is handed on, in bytes: of the validation API's one more than any answer has.
    fn shown(&self) -> usize {
        if self.max_answer == MAX_PAGE { HttpAnswer::MAX_BODY + 1 } else { self.max_answer }
    }
}

#[async_trait]
impl ScepActions for IntuneOnline {
    async fn post(&self, call: ScepCall<'_>) -> Result<HttpAnswer, PortError> {
        let cloud = &self.means.cloud;
        let path = match call.action {
            ScepAction::ValidateRequest => &cloud.validate_request_path,
            ScepAction::SuccessNotification => &cloud.success_notification_path,
            ScepAction::FailureNotification => &cloud.failure_notification_path,
        };
        let (service, version) = (&cloud.scep_service, &cloud.scep_version);
        self.call(Target { service, version, path, repeat: Repeat::Safe, max_answer: MAX_PAGE }, call.body).await
    }
}

#[async_trait]
impl RevocationActions for IntuneOnline {
    async fn post(&self, call: RevocationCall<'_>) -> Result<HttpAnswer, PortError> {
        let cloud = &self.means.cloud;
        let (path, repeat) = match call.action {
            RevocationAction::DownloadRevocationRequests => (&cloud.download_revocations_path, Repeat::UnlessSeen),
            RevocationAction::UploadRevocationResults => (&cloud.upload_revocations_path, Repeat::Safe),
        };
        let (service, version) = (&cloud.revocation_service, &cloud.revocation_version);
        self.call(Target { service, version, path, repeat, max_answer: HttpRequest::MAX_ANSWER }, call.body).await
    }
}

impl Debug for IntuneOnline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntuneOnline")
            .field("tenant", &self.means.tenant)
            .field("tokens", &self.means.tokens)
            .field("provider_name", &self.provider_name)
            .field("timeout", &self.timeout)
            .field("discovery", &self.discovery)
            .finish_non_exhaustive()
    }
}
