//! The tenant's service discovery on Microsoft Graph: asked once for all who wait, kept, and asked anew when a location has gone stale.

use core::fmt::{self, Debug};
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::cloud::Cloud;
use super::location::{NoLocation, Services};
use crate::adapters::entra::TokenSource;
use crate::adapters::http::{
    Deadline, Failure, Flight, HttpMethod, HttpRequest, HttpResponse, HttpTransport, base_url, fit, guid, quoted, retry_after,
};
use crate::crypto::CryptoProvider;
use crate::ports::{PortErrorKind, Runtime};

/// Longer pages are no list of services, in bytes.
const MAX_ANSWER: usize = 1 << 20;
/// A tenant has about twenty services, on one page.
const MAX_PAGES: usize = 10;
const MAX_SERVICES: usize = 1_000;

/// After renewing an old list failed, it is used for so long before the next try.
const PAUSE: Duration = Duration::from_secs(60);

/// What discovery needs of the client.
#[derive(Clone)]
pub(super) struct Means {
    pub(super) cloud: Cloud,
    pub(super) tenant: String,
    pub(super) tokens: Arc<dyn TokenSource>,
    pub(super) transport: Arc<dyn HttpTransport>,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) provider: CryptoProvider,
    /// The longest time for one request to Graph, and for its token.
    pub(super) fetch_timeout: Duration,
}

pub(super) struct Discovery {
    means: Means,
    max_age: Option<Duration>,
    kept: Mutex<Option<Kept>>,
    flight: Flight,
}

#[derive(Clone)]
struct Kept {
    services: Arc<Services>,
    /// On the clock that never goes back, as the next.
    fetched: Duration,
    /// When it is to be asked for anew.
    renew: Duration,
}

impl Discovery {
    pub(super) fn new(means: Means, max_age: Option<Duration>) -> Self {
        Self { means, max_age, kept: Mutex::default(), flight: Flight::default() }
    }

    /// The services, as kept or as fetched. Nothing when the deadline comes first.
    pub(super) async fn services(&self, deadline: &Deadline) -> Option<Result<Arc<Services>, Failure>> {
        match self.look() {
            Look::Good(services) => Some(Ok(services)),
            Look::Empty => {
                let kept = || self.kept().as_ref().map(|kept| Arc::clone(&kept.services));
                deadline.within(self.flight.join(kept, self.fetch())).await
            }
            Look::Old(old) => {
                let newer = || self.kept().as_ref().map(|kept| Arc::clone(&kept.services)).filter(|kept| !Arc::ptr_eq(kept, &old));
                // An old list is better than none: Graph may be away.
                let half = Deadline::after(&self.means.runtime, deadline.left() / 2);
                match half.within(self.flight.join(newer, self.fetch())).await {
                    Some(Ok(services)) => Some(Ok(services)),
                    _ => Some(Ok(old)),
                }
            }
        }
    }

    /// Forgets the list, when it is still that one.
    pub(super) fn forget(&self, stale: &Arc<Services>) {
        let mut kept = self.kept();
        if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(&kept.services, stale)) {
            *kept = None;
        }
    }

    /// A service that is needed is not on the list: it is asked for anew after a minute, since somebody may grant the role meanwhile.
    pub(super) fn doubt(&self, lacking: &Arc<Services>) {
        let mut kept = self.kept();
        if let Some(kept) = kept.as_mut().filter(|kept| Arc::ptr_eq(&kept.services, lacking)) {
            kept.renew = kept.renew.min(kept.fetched.saturating_add(PAUSE));
        }
    }

    async fn fetch(&self) -> Result<Arc<Services>, Failure> {
        let services = Arc::new(self.means.ask().await?);
        let fetched = self.means.runtime.monotonic();
        let renew = self.max_age.map_or(Duration::MAX, |age| fetched.saturating_add(age));
        *self.kept() = Some(Kept { services: Arc::clone(&services), fetched, renew });
        Ok(services)
    }

    fn look(&self) -> Look {
        let mut kept = self.kept();
        let now = self.means.runtime.monotonic();
        match kept.as_mut() {
            None => Look::Empty,
            Some(kept) if now < kept.renew => Look::Good(Arc::clone(&kept.services)),
            Some(kept) => {
                // One caller renews; the others, and those after a failure, go on with what there is.
                kept.renew = now.saturating_add(PAUSE);
                kept.fetched = now;
                Look::Old(Arc::clone(&kept.services))
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Look {
    Good(Arc<Services>),
    Old(Arc<Services>),
    Empty,
}

impl Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery").field("known", &self.kept().as_ref().map(|kept| kept.services.len())).finish_non_exhaustive()
    }
}

impl Means {
    /// All pages.
    async fn ask(&self) -> Result<Services, Failure> {
        let Cloud { graph, graph_version, intune_app_id, .. } = &self.cloud;
        let graph = graph.trim_end_matches('/');
        let first = format!("{graph}/{graph_version}/servicePrincipals/appId={intune_app_id}/endpoints");
        let mut services = Services::default();
        let mut next = Some(first.clone());
        for _ in 0..MAX_PAGES {
            let Some(url) = next else { return Ok(services) };
            let (answer, activity) = self.page(&url).await?;
            next = read_page(&answer, &first, &mut services, &self.cloud).map_err(|problem| {
                Failure::new(PortErrorKind::Transient, format!("Graph's service discovery {problem}{}", sent_as(&activity)))
            })?;
        }
        match next {
            None => Ok(services),
            Some(_) => Err(Failure::new(PortErrorKind::Transient, format!("Graph's service discovery has more than {MAX_PAGES} pages"))),
        }
    }

    /// One page; a token that is refused is dropped, and the page asked for once more with another.
    async fn page(&self, url: &str) -> Result<(HttpResponse, String), Failure> {
        let mut renewed = false;
        loop {
            let scope = &self.cloud.graph_scope;
            let token = self.tokens.token(scope, self.fetch_timeout).await?;
            let activity = guid(&self.provider)?;
            let request = HttpRequest::new(HttpMethod::Get, url)
                .with_bearer(token.secret_str())
                .with_header("client-request-id", &activity)
                .with_timeout(self.fetch_timeout)
                .with_max_answer(MAX_ANSWER);
            let answer = self.transport.send(request).await;
            let answer = answer.map_err(|error| Failure::unanswered("no answer of Graph's service discovery", error, &activity))?;
            match answer.status {
                200 => return Ok((answer, activity)),
                401 | 403 => {
                    self.tokens.refused(scope, &token);
                    if renewed {
                        return Err(self.refused(&answer, &activity));
                    }
                    renewed = true;
                }
                _ => return Err(self.refused(&answer, &activity)),
            }
        }
    }

    fn refused(&self, answer: &HttpResponse, activity: &str) -> Failure {
        use PortErrorKind::{Misconfigured, Throttled, Transient};
        let (kind, advice) = match answer.status {
            401 => (
                Misconfigured,
                "the token is not accepted: check the scope of Graph's tokens, and the clock; grant the app registration `Application.Read.All` of \
                 Microsoft Graph, with admin consent",
            ),
            403 => (
                Misconfigured,
                "the app registration may not read it: grant it the application permission `Application.Read.All` of Microsoft Graph, with admin \
                 consent; a token from before the grant has been dropped",
            ),
            404 => {
                (Misconfigured, "the tenant does not know Intune: it has no Intune licence, or `intune_app_id` or `graph_version` is wrong")
            }
            407 => (Misconfigured, "the proxy wants other credentials: check the proxy's setting"),
            300..=399 => (Misconfigured, "a redirect, which is not followed since the call holds the token: check `graph` and the proxy"),
            408 => (Transient, "Graph gave up waiting"),
            429 => (Throttled, "too many calls"),
            503 => (Throttled, "Graph is overloaded or being serviced"),
            400..=499 => (Misconfigured, "Graph cannot take the call: check `graph`, `graph_version` and `intune_app_id`"),
            500..=599 => (Transient, "Graph, or a gateway before it, failed"),
            _ => (Transient, "this status is no answer of Graph"),
        };
        let said = quoted(answer.body.secret_bytes());
        let message = format!("Graph's service discovery answered {}: {advice}{said}{}", answer.status, sent_as(activity));
        let wait = answer.header("retry-after").and_then(|value| retry_after(value, self.runtime.now()));
        Failure::new(kind, message).with_code(answer.status.to_string()).with_retry_after(wait)
    }

    /// Why a service has no location, and what to do.
    pub(super) fn no_location(&self, service: &str, problem: &NoLocation, services: &Services) -> Failure {
        let tenant = &self.tenant;
        let message = match problem {
            NoLocation::NotListed => format!(
                "service not found: Graph's service discovery does not list `{service}` for the tenant {tenant}, but {}: grant the app \
                 registration the role `scep_challenge_provider` of the Intune API, with admin consent, and check that the tenant has Intune \
                 licences",
                services.names()
            ),
            NoLocation::Refused(problem) => format!(
                "the location of `{service}` from Graph's service discovery is not used: {problem}; when it is right, add its host to the \
                 cloud's `host_suffixes`"
            ),
        };
        Failure::new(PortErrorKind::Misconfigured, message)
    }
}

/// Reads a page into the list, and gives the URL of the next one.
fn read_page(answer: &HttpResponse, first: &str, services: &mut Services, cloud: &Cloud) -> Result<Option<String>, String> {
    let body = answer.body.secret_bytes();
    let page: Option<Value> = serde_json::from_slice(body).ok();
    let Some(entries) = page.as_ref().and_then(|page| page.get("value")).and_then(Value::as_array) else {
        return Err(format!("gave no list: the body is no JSON object with an array `value`{}", quoted(body)));
    };
    for entry in entries {
        // Azure AD Graph said `serviceName`. An entry without name or URI is none that could be called.
        let name = member(entry, "providerName").or_else(|| member(entry, "serviceName"));
        if let (Some(name), Some(uri)) = (name, member(entry, "uri")) {
            services.add(name, uri, cloud);
        }
        if services.len() > MAX_SERVICES {
            return Err(format!("lists more than {MAX_SERVICES} services"));
        }
    }
    match page.as_ref().and_then(|page| page.get("@odata.nextLink")) {
        None | Some(Value::Null) => Ok(None),
        Some(link) => {
            let link = link.as_str().unwrap_or_default();
            if !is_same_origin(link, first, cloud.dangerous_plain_http_on_loopback) {
                return Err(format!(
                    "has a next page elsewhere, which is not followed since the call holds the token; it says `{}`",
                    fit(link)
                ));
            }
            Ok(Some(link.to_owned()))
        }
    }
}

/// A member that is a text and not blank, by its name in any case.
fn member<'a>(entry: &'a Value, name: &str) -> Option<&'a str> {
    let members = entry.as_object()?;
    let value = members.get(name).or_else(|| members.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value))?;
    value.as_str().map(str::trim).filter(|text| !text.is_empty())
}

/// Whether a link leads to the same scheme, host and port; it may have a query.
fn is_same_origin(link: &str, first: &str, plain: bool) -> bool {
    let without_query = link.split('?').next().unwrap_or_default();
    let printable = link.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\' && byte != b'#');
    match (base_url(without_query, plain), base_url(first, plain)) {
        (Ok(link), Ok(first)) => printable && link.origin() == first.origin(),
        _ => false,
    }
}

fn sent_as(activity: &str) -> String {
    format!(" (client-request-id {activity})")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "https://graph.microsoft.com/v1.0/servicePrincipals/appId=x/endpoints";
    const BASE: &str = "https://fef.msub01.manage.microsoft.com/a";

    fn page(body: &str) -> Result<(Services, Option<String>), String> {
        let mut services = Services::default();
        let next = read_page(&HttpResponse::new(200, body.as_bytes().to_vec()), FIRST, &mut services, &Cloud::global())?;
        Ok((services, next))
    }

    #[test]
    fn either_name_in_any_case_is_read_and_other_members_are_passed_over() {
        for names in [
            r#""providerName":"ScepRequestValidationFEService""#,
            r#""serviceName":"ScepRequestValidationFEService""#,
            r#""ProviderName":"SCEPREQUESTVALIDATIONFESERVICE""#,
            r#""providerName":"","serviceName":"sceprequestvalidationfeservice""#,
            r#""providerName":null,"serviceName":"ScepRequestValidationFEService","capability":"x","odata.type":"y","resourceId":null"#,
            r#""providerName":"ScepRequestValidationFEService","serviceName":"other""#,
        ] {
            let body = format!(
                r#"{{"@odata.context":"x","value":[{{{names},"uri":"{BASE}","id":"1"}},{{"uri":"x"}},{{"providerName":"y"}},7,null]}}"#
            );
            let (services, next) = page(&body).unwrap();
            assert_eq!((services.base("ScepRequestValidationFEService"), services.len(), next), (Ok(BASE), 1, None), "{names}");
        }
    }

    #[test]
    fn a_body_without_a_list_is_an_error_and_an_empty_list_is_none() {
        for body in ["", "[]", "{}", r#"{"value":null}"#, r#"{"value":"x"}"#, r#"{"value":{}}"#, "<html><title>Bad gateway</title>"] {
            assert!(page(body).unwrap_err().contains("array `value`"), "{body}");
        }
        assert_eq!(page(r#"{"value":[]}"#).unwrap().0.len(), 0);
    }

    #[test]
    fn a_next_page_is_followed_on_the_same_host_alone() {
        let with = |link: &str| page(&format!(r#"{{"value":[],"@odata.nextLink":{link}}}"#));
        let good = "https://graph.microsoft.com/v1.0/x?$skiptoken=abc";
        assert_eq!(with(&format!("\"{good}\"")).unwrap().1.as_deref(), Some(good));
        assert_eq!(with("null").unwrap().1, None);
        for bad in [
            "https://evil.example/x",
            "http://graph.microsoft.com/x",
            "https://graph.microsoft.com:8443/x",
            "https://graph.microsoft.com@evil.example/x",
            "https://evil.example?https://graph.microsoft.com/",
            "/v1.0/x",
            "",
        ] {
            assert!(with(&format!("\"{bad}\"")).unwrap_err().contains("elsewhere"), "{bad}");
        }
        assert!(with("7").is_err());
    }

    #[test]
    fn a_list_is_bounded() {
        let entries: Vec<String> = (0..=MAX_SERVICES).map(|number| format!(r#"{{"providerName":"s{number}","uri":"{BASE}"}}"#)).collect();
        assert!(page(&format!(r#"{{"value":[{}]}}"#, entries.join(","))).unwrap_err().contains("1000"));
    }
}
