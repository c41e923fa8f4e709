//! The way to Intune: authority, tokens, roles, permissions and discovery.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::{join, join4};
use futures_util::stream;
use url::Url;

use super::expiry::expiry;
use super::network::{self, NetworkProbe};
use super::report::{Check, Finding};
use super::scope::Scope;
use super::watched::Watched;
use super::{clock, permission};
use crate::adapters::entra::{AccessToken, TokenClaims, TokenSource, advice};
use crate::adapters::http::{HttpErrorKind, HttpMethod, HttpRequest, HttpTransport, base_url, is_path_segment};
use crate::adapters::intune::{Cloud, IntuneOnline};
use crate::ports::{PortError, PortErrorKind};

/// Hosts that are looked at at a time.
const HOSTS: usize = 4;
/// Where Graph lists imported files.
const IMPORT_COLLECTION: &str = "/beta/deviceManagement/userPfxCertificates";
/// One record of an imported file; a file has some kilobytes.
const MAX_IMPORT_ANSWER: usize = 4 << 20;
/// A page of settings, or an error page.
const MAX_PAGE: usize = 1 << 20;

const GRAPH_ROLE: &str = "Application.Read.All";
const INTUNE_ROLE: &str = "scep_challenge_provider";
const IMPORT_ROLE: &str = "DeviceManagementConfiguration.ReadWrite.All";
const USER_ROLE: &str = "User.Read.All";

/// What the connector uses of Intune, and by which means.
///
/// Its calls read alone: Entra ID's public settings of the tenant, Graph's service discovery and, for imports, one entry of the list. The
/// token source is asked for tokens, by whatever way it has. Revocation requests are never downloaded. That `scep_challenge_provider` is
/// enough for Intune's own services is not tried out: there is no call of them that changes nothing.
#[derive(Debug)]
pub struct OnlineChecks {
    tenant: String,
    cloud: Cloud,
    tokens: Arc<dyn TokenSource>,
    transport: Arc<dyn HttpTransport>,
    network: Option<Arc<dyn NetworkProbe>>,
    scep: bool,
    revocation: bool,
    import: bool,
    import_collection: String,
}

impl OnlineChecks {
    /// For SCEP and revocation in the public cloud, by the tenant (domain or id) and the means of your connector.
    #[must_use]
    pub fn new(tenant: impl Into<String>, tokens: Arc<dyn TokenSource>, transport: Arc<dyn HttpTransport>) -> Self {
        Self {
            tenant: tenant.into(),
            cloud: Cloud::global(),
            tokens,
            transport,
            network: None,
            scep: true,
            revocation: true,
            import: false,
            import_collection: IMPORT_COLLECTION.to_owned(),
        }
    }

    /// Sets hosts, scopes and versions. Default [`Cloud::global`].
    #[must_use]
    pub fn cloud(mut self, cloud: Cloud) -> Self {
        self.cloud = cloud;
        self
    }

    /// Looks at names, proxy and TLS of each host as well. Default: not.
    #[must_use]
    pub fn network(mut self, network: Arc<dyn NetworkProbe>) -> Self {
        self.network = Some(network);
        self
    }

    /// The connector serves no SCEP.
    #[must_use]
    pub fn without_scep(mut self) -> Self {
        self.scep = false;
        self
    }

    /// The connector revokes nothing for Intune.
    #[must_use]
    pub fn without_revocation(mut self) -> Self {
        self.revocation = false;
        self
    }

    /// PFX files are imported with this credential.
    #[must_use]
    pub fn with_import(mut self) -> Self {
        self.import = true;
        self
    }

    /// Sets the path, below Graph, where imported files are listed. Default `/beta/deviceManagement/userPfxCertificates`.
    #[must_use]
    pub fn import_collection(mut self, path: impl Into<String>) -> Self {
        self.import_collection = path.into();
        self
    }

    fn graph(&self, path: &str) -> String {
        format!("{}/{}", self.cloud.graph.trim_end_matches('/'), path.trim_start_matches('/'))
    }

    /// The name of a service in discovery, and whether it is wanted.
    fn services(&self) -> impl Iterator<Item = &str> {
        let wanted = [(self.scep, &self.cloud.scep_service), (self.revocation, &self.cloud.revocation_service)];
        wanted.into_iter().filter(|(wanted, _)| *wanted).map(|(_, name)| name.as_str())
    }
}

/// Everything, in the order in which one thing needs another.
pub(super) async fn check(scope: &Scope, online: &OnlineChecks) -> Vec<Finding> {
    let watched = Arc::new(Watched::new(Arc::clone(&online.transport), Arc::clone(&scope.runtime)));
    let first = [online.cloud.authority.as_str(), online.cloud.graph.as_str()];
    let (mut findings, authority, (graph_token, graph), (_, intune)) = join4(
        hosts(scope, online, first.into_iter().map(str::to_owned).collect()),
        authority(scope, online, &watched),
        graph_token(scope, online),
        intune_token(scope, online),
    )
    .await;
    findings.extend(authority);
    findings.extend(graph);
    findings.extend(intune);
    let ((found, bases), imported) =
        join(discovery(scope, online, &watched, graph_token.is_some()), import(scope, online, &watched, graph_token.as_deref())).await;
    findings.extend(found);
    findings.extend(imported);
    let seen: BTreeSet<_> = first.into_iter().filter_map(host_of).collect();
    let new = bases.into_iter().filter(|base| host_of(base).is_none_or(|host| !seen.contains(&host))).collect();
    findings.extend(hosts(scope, online, new).await);
    findings.extend(clocks(&watched));
    findings.push(credential(scope, online));
    findings
}

/// Host, port, and whether it is spoken to by TLS.
fn host_of(url: &str) -> Option<(String, u16, bool)> {
    let url = Url::parse(url).ok()?;
    Some((url.host_str()?.to_owned(), url.port_or_known_default()?, url.scheme() == "https"))
}

/// Names, proxies and TLS.
async fn hosts(scope: &Scope, online: &OnlineChecks, urls: Vec<String>) -> Vec<Finding> {
    let hosts: BTreeSet<_> = urls.iter().filter_map(|url| host_of(url)).collect();
    let mut looks: Vec<core::pin::Pin<Box<dyn Future<Output = Vec<Finding>> + Send + '_>>> = Vec::new();
    for (host, port, by_tls) in hosts {
        looks.push(Box::pin(async move {
            match &online.network {
                Some(network) if by_tls => network::check(scope, &**network, &host, port).await,
                Some(_) => vec![Finding::skipped(Check::Tls, &host, "plain HTTP on this machine, for a simulator")],
                None => vec![Finding::skipped(Check::Dns, &host, "no network probe is given to look at its name, proxy and TLS")],
            }
        }));
    }
    stream::iter(looks).buffered(HOSTS).flat_map(stream::iter).collect().await
}

/// Whether the authority knows the tenant, by the settings that it publishes.
async fn authority(scope: &Scope, online: &OnlineChecks, transport: &Arc<Watched>) -> Vec<Finding> {
    let subject = format!("{} at {}", online.tenant, online.cloud.authority);
    if !is_path_segment(&online.tenant) {
        let what = "the tenant is spelt neither as a domain nor as an id";
        return vec![Finding::error(
            Check::Authority,
            &subject,
            what,
            "give the tenant's domain or its id, as the Entra portal shows them",
        )];
    }
    let url = format!("{}/{}/v2.0/.well-known/openid-configuration", online.cloud.authority.trim_end_matches('/'), online.tenant);
    let request = HttpRequest::new(HttpMethod::Get, url).with_timeout(scope.timeout).with_max_answer(MAX_PAGE);
    let work = async {
        let answer = match transport.send(request).await {
            Ok(answer) => answer,
            Err(error) => {
                let cure = match error.kind() {
                    HttpErrorKind::Request => "correct `Cloud::authority` and the tenant",
                    _ => "see the findings on its name, proxy and TLS, and the firewall",
                };
                return vec![Finding::error(Check::Authority, &subject, error.to_string(), cure)];
            }
        };
        let body = String::from_utf8_lossy(answer.body.secret_bytes());
        let unknown = body.contains("AADSTS90002") || body.contains("AADSTS900023") || body.contains("invalid_tenant");
        vec![match answer.status {
            _ if unknown => {
                let cure =
                    "correct the tenant's domain or id; national clouds have an authority of their own (`Cloud::us_government`, `china`)";
                Finding::error(Check::Authority, &subject, "the authority does not know the tenant", cure)
            }
            200 => Finding::ok(Check::Authority, &subject, "the authority answers for the tenant"),
            404 => Finding::info(Check::Authority, &subject, "the authority answers, and publishes no settings; the tokens tell more"),
            status => {
                let cure = match status {
                    300..=399 => "take what redirects out of the way: a captive portal or a proxy that wants a login",
                    407 => "give the proxy the credentials that it wants, by `Proxy::with_credentials`",
                    400..=499 => "correct `Cloud::authority` and the tenant",
                    _ => "try again later; if it stays so, see the proxy",
                };
                Finding::error(Check::Authority, &subject, format!("the authority answers {status}"), cure)
            }
        }]
    };
    scope.guard(Check::Authority, &subject, work).await
}

/// A token for a scope, with a finding when there is none.
async fn token(scope: &Scope, online: &OnlineChecks, whose: &str, of: &str) -> (Option<Arc<AccessToken>>, Vec<Finding>) {
    let mut kept = None;
    let work = async {
        match online.tokens.token(of, scope.timeout).await {
            Ok(token) => {
                let what = format!("there is a token, good until {}", token.expires());
                kept = Some(token);
                vec![Finding::ok(Check::Token, whose, what)]
            }
            Err(error) => vec![no_token(whose, &error)],
        }
    };
    let findings = scope.guard(Check::Token, whose, work).await;
    (kept, findings)
}

fn no_token(whose: &str, error: &PortError) -> Finding {
    let cure = error.code().and_then(advice).unwrap_or(match error.kind() {
        PortErrorKind::Misconfigured => "correct tenant, client id and credential of the app registration",
        PortErrorKind::Throttled => "wait, and see what asks for so many tokens",
        _ => "see the findings on the authority, its name, proxy and TLS",
    });
    Finding::error(Check::Token, whose, error.to_string(), cure)
}

/// The roles of a token, as far as it shows them.
fn role(subject: &str, token: &AccessToken, role: &str, missing: impl FnOnce(String) -> Finding) -> Finding {
    match TokenClaims::read_unverified(token) {
        Ok(claims) if claims.has_role(role) => Finding::ok(Check::Role, subject, format!("the token has the role {role}")),
        Ok(claims) => {
            let others = if claims.roles.is_empty() { "none".to_owned() } else { claims.roles.join(", ") };
            missing(format!("the token has no role {role}; its roles are: {others}"))
        }
        Err(error) => Finding::info(Check::Role, subject, error.to_string()),
    }
}

async fn graph_token(scope: &Scope, online: &OnlineChecks) -> (Option<Arc<AccessToken>>, Vec<Finding>) {
    let whose = "Microsoft Graph";
    let (token, mut findings) = token(scope, online, whose, &online.cloud.graph_scope).await;
    if let Some(token) = token.as_ref().filter(|_| online.services().next().is_some()) {
        // Another role may do as well; the call tells.
        findings.push(role(whose, token, GRAPH_ROLE, |what| Finding::info(Check::Role, whose, what)));
    }
    (token, findings)
}

async fn intune_token(scope: &Scope, online: &OnlineChecks) -> (Option<Arc<AccessToken>>, Vec<Finding>) {
    let whose = "Intune";
    if online.services().next().is_none() {
        return (None, vec![Finding::skipped(Check::Token, whose, "neither SCEP nor revocation is served")]);
    }
    let (token, mut findings) = token(scope, online, whose, &online.cloud.intune_scope).await;
    if let Some(token) = &token {
        findings.push(role(whose, token, INTUNE_ROLE, |what| {
            online.tokens.refused(&online.cloud.intune_scope, token);
            let cure = "grant the app registration the application permission `scep_challenge_provider` of the Intune API, with admin consent, \
                        and check again: the token from before was dropped";
            Finding::error(Check::Role, whose, what, cure)
        }));
    }
    (token, findings)
}

/// Graph's permission by its service discovery, and the services that it lists. Gives their locations, too.
async fn discovery(scope: &Scope, online: &OnlineChecks, transport: &Arc<Watched>, has_token: bool) -> (Vec<Finding>, Vec<String>) {
    let subject = "service discovery";
    if online.services().next().is_none() {
        return (vec![Finding::skipped(Check::Discovery, subject, "neither SCEP nor revocation is served")], Vec::new());
    }
    if !has_token {
        return (vec![Finding::skipped(Check::Discovery, subject, "there is no token for Microsoft Graph")], Vec::new());
    }
    let transport: Arc<dyn HttpTransport> = Arc::clone(transport) as Arc<dyn HttpTransport>;
    let provider = (*scope.provider).clone();
    let client = IntuneOnline::builder(&online.tenant, Arc::clone(&online.tokens), transport, Arc::clone(&scope.runtime), provider)
        .cloud(online.cloud.clone())
        .timeout(scope.timeout)
        .fetch_timeout(scope.timeout)
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            let cure = "correct these settings of `Cloud` and the tenant";
            return (vec![Finding::error(Check::Discovery, subject, error.to_string(), cure)], Vec::new());
        }
    };
    let mut bases = Vec::new();
    let work = async {
        if let Err(error) = client.services().await {
            return vec![permission::of_discovery(subject, &error)];
        }
        let mut findings = vec![Finding::ok(Check::Permission, GRAPH_ROLE, "Graph lets its service discovery be read")];
        for service in online.services() {
            findings.push(match client.location(service).await {
                Ok(base) => {
                    let what = format!("it is at {}", host_of(&base).map(|(host, ..)| host).unwrap_or_default());
                    bases.push(base);
                    Finding::ok(Check::Discovery, service, what)
                }
                Err(error) => permission::of_location(service, &error),
            });
        }
        findings
    };
    let findings = scope.guard(Check::Discovery, subject, work).await;
    (findings, bases)
}

/// The permission to import, by one entry of the list.
async fn import(scope: &Scope, online: &OnlineChecks, transport: &Arc<Watched>, token: Option<&AccessToken>) -> Vec<Finding> {
    if !online.import {
        return Vec::new();
    }
    let Some(token) = token else {
        return vec![Finding::skipped(Check::Permission, IMPORT_ROLE, "there is no token for Microsoft Graph")];
    };
    // With SCEP and revocation the client of discovery refuses such an address; here nobody else does.
    if let Err(problem) = base_url(&online.cloud.graph, online.cloud.dangerous_plain_http_on_loopback) {
        let what = format!("Graph's URL {problem}; no token is sent there");
        return vec![Finding::error(Check::Permission, IMPORT_ROLE, what, "correct `Cloud::graph`")];
    }
    let cure = "grant the app registration the application permission `DeviceManagementConfiguration.ReadWrite.All` of Microsoft Graph, with admin \
                consent, and check again: the token from before was dropped";
    let mut findings = vec![role("Microsoft Graph", token, IMPORT_ROLE, |what| {
        online.tokens.refused(&online.cloud.graph_scope, token);
        Finding::error(Check::Role, "Microsoft Graph", what, cure)
    })];
    // Without it files are imported, and a refusal does not say that the user is missing.
    findings.push(role("Microsoft Graph", token, USER_ROLE, |what| {
        let cure = "grant the app registration the application permission `User.Read.All` of Microsoft Graph, with admin consent: by it users \
                    whom the tenant does not have are told";
        Finding::warning(Check::Role, "Microsoft Graph", what, cure)
    }));
    let request = HttpRequest::new(HttpMethod::Get, format!("{}?$top=1", online.graph(&online.import_collection)))
        .with_bearer(token.secret_str())
        .with_timeout(scope.timeout)
        .with_max_answer(MAX_IMPORT_ANSWER);
    let work = async {
        vec![match transport.send(request).await {
            // What stands in the answer is somebody's certificate, and is not looked at.
            Ok(answer) => {
                if matches!(answer.status, 401 | 403) {
                    online.tokens.refused(&online.cloud.graph_scope, token);
                }
                permission::of_import(IMPORT_ROLE, answer.status, cure)
            }
            Err(error) => {
                Finding::error(Check::Permission, IMPORT_ROLE, error.to_string(), "see the findings on Graph's name, proxy and TLS")
            }
        }]
    };
    findings.extend(scope.guard(Check::Permission, IMPORT_ROLE, work).await);
    findings
}

fn clocks(watched: &Watched) -> Vec<Finding> {
    let skews = watched.skews();
    if skews.is_empty() {
        return vec![Finding::skipped(Check::Clock, "clock", "no service told its time")];
    }
    skews.iter().map(|(host, skew)| clock::judge(host, *skew)).collect()
}

fn credential(scope: &Scope, online: &OnlineChecks) -> Finding {
    let subject = "app registration";
    match online.tokens.credential_expires() {
        Some(end) => {
            let cure = "make a new secret or certificate in the app registration, give it to every instance, and remove the old one after";
            expiry(Check::Credential, subject, "its credential", end, scope.now(), cure)
        }
        None => {
            Finding::info(Check::Credential, subject, "the end of its credential is not known here: `Credential::with_expires` tells it")
        }
    }
}
