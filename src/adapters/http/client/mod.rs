//! The transport over TCP and TLS.

mod failure;
mod resolver;
mod settings;
mod tls;

use core::fmt::{self, Debug};
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use futures_channel::oneshot;
use rustls::ClientConfig;
use tokio::runtime::Runtime as Threads;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use url::{Host, Url};

use super::{ClientBuildError, HttpError, HttpErrorKind, HttpMethod, HttpRequest, HttpResponse, HttpTransport};
use crate::flow::Finding;
use crate::secret::SecretBytes;
#[cfg(feature = "doctor")]
pub(crate) use tls::trusting as tls_config;

pub use crate::adapters::tls::TrustAnchors;
pub use settings::{ClientCertificate, HttpClientBuilder, Proxy, ProxySetting};

/// Sends requests over TCP and TLS (rustls over *ring*, version 1.2 and up; the server's certificate is always verified).
///
/// It has one thread of its own for its connections, so a caller may use any executor, `StdRuntime` among them. A call that is dropped is
/// abandoned at once. Dropping the client ends the thread. Redirects are never followed, nothing is repeated but on a kept connection that
/// turned out to be closed before anything of the request was sent, no cookie is kept, no body is decompressed. Loopback addresses are reached
/// without the proxy, whatever is set: what is sent to them in the clear never leaves the machine.
pub struct HttpClient {
    client: reqwest::Client,
    /// For this machine's own addresses, which no proxy is to see: a request in the clear goes there.
    direct: reqwest::Client,
    places: Arc<Semaphore>,
    through_proxy: bool,
    threads: Option<Threads>,
}

impl HttpClient {
    /// The defaults to start from.
    #[must_use]
    pub fn builder() -> HttpClientBuilder {
        HttpClientBuilder::new()
    }

    fn start(settings: HttpClientBuilder) -> Result<Self, ClientBuildError> {
        let mut findings = Vec::new();
        for (name, time) in [("http.connect_timeout", settings.connect_timeout), ("http.idle_timeout", settings.idle_timeout)] {
            if time.is_zero() {
                findings.push(Finding::new(name, "it would end before it began", "set more than zero"));
            }
        }
        if settings.max_requests == 0 || settings.max_requests > Semaphore::MAX_PERMITS {
            findings.push(Finding::new(
                "http.max_requests",
                "no request could be sent, or more than can be counted",
                "set 1 to a few hundred",
            ));
        }
        let through_proxy = !matches!(settings.proxy, ProxySetting::Direct);
        let proxy = proxy(settings.proxy).map_err(|finding| findings.push(finding)).unwrap_or_default();
        let tls = tls::config(&settings.trust, settings.client_certificate).map_err(|finding| findings.push(finding)).ok();
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().thread_name("http-client").build();
        let threads = threads
            .map_err(|error| {
                findings.push(Finding::new("http", format!("no thread can be started: {error}"), "see the limits of this process"))
            })
            .ok();

        let builder = |tls: ClientConfig| {
            reqwest::Client::builder()
                .http1_only()
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .connect_timeout(settings.connect_timeout)
                .pool_idle_timeout(settings.idle_timeout)
                .pool_max_idle_per_host(settings.max_requests)
                .tcp_nodelay(true)
                .dns_resolver(resolver::SystemNames)
                .tls_backend_preconfigured(tls)
        };
        if let Some(tls) = tls {
            let direct = builder(tls.clone()).no_proxy().build();
            let client = match proxy {
                Chosen::Environment => builder(tls).build(),
                Chosen::Direct => builder(tls).no_proxy().build(),
                Chosen::Through(proxy) => builder(tls).no_proxy().proxy(*proxy).build(),
            };
            match (client, direct, threads) {
                (Ok(client), Ok(direct), Some(threads)) if findings.is_empty() => {
                    let places = Arc::new(Semaphore::new(settings.max_requests));
                    return Ok(Self { client, direct, places, through_proxy, threads: Some(threads) });
                }
                (Err(error), ..) | (_, Err(error), _) => {
                    findings.push(Finding::new("http", format!("it cannot be started: {}", error.without_url()), "see the text"))
                }
                _ => {}
            }
        }
        Err(ClientBuildError::new("HTTP client", findings))
    }
}

impl Drop for HttpClient {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            // Dropping it would wait, and panics inside another runtime.
            threads.shutdown_background();
        }
    }
}

impl Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("through_proxy", &self.through_proxy).finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpTransport for HttpClient {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let url = Url::parse(&request.url).ok().filter(|url| url.has_host() && matches!(url.scheme(), "https" | "http"));
        let Some(url) = url else {
            return Err(HttpError::new(HttpErrorKind::Request, "the URL is not absolute, or neither https nor http"));
        };
        let host = url.host_str().unwrap_or_default().to_owned();
        let Some(threads) = &self.threads else {
            return Err(HttpError::new(HttpErrorKind::Request, "the client was shut down"));
        };
        let here = is_here(&url);
        let client = if here { self.direct.clone() } else { self.client.clone() };
        let (places, through_proxy) = (Arc::clone(&self.places), self.through_proxy && !here);
        let (tell, told) = oneshot::channel();
        let task = threads.spawn(async move {
            let (mut request, started) = (request, Instant::now());
            let timeout = request.timeout;
            let answer = match tokio::time::timeout(timeout, places.acquire_owned()).await {
                // A place is given up when the answer is there, or the task is dropped.
                Ok(Ok(_place)) => {
                    request.timeout = timeout.saturating_sub(started.elapsed());
                    exchange(&client, request, url, &host, through_proxy).await
                }
                _ => Err(waited_too_long(&host, timeout)),
            };
            let _ = tell.send(answer);
        });
        let _abandon = Abandon(task.abort_handle());
        told.await.unwrap_or_else(|_| Err(HttpError::new(HttpErrorKind::Closed, "the client was shut down")))
    }
}

/// Whether that is an address of this machine.
fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        _ => false,
    }
}

/// Ends the task when the caller is gone.
struct Abandon(AbortHandle);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn waited_too_long(host: &str, timeout: Duration) -> HttpError {
    let message = format!("{host}: so many requests are on their way that this one was not sent within {} s", timeout.as_secs());
    HttpError::new(HttpErrorKind::Connect, message)
}

async fn exchange(
    client: &reqwest::Client,
    request: HttpRequest,
    url: Url,
    host: &str,
    through_proxy: bool,
) -> Result<HttpResponse, HttpError> {
    let failed = |error: reqwest::Error| failure::explain(&error, host, through_proxy);
    let method = match request.method {
        HttpMethod::Get => reqwest::Method::GET,
        HttpMethod::Post => reqwest::Method::POST,
        HttpMethod::Patch => reqwest::Method::PATCH,
        HttpMethod::Delete => reqwest::Method::DELETE,
    };
    let mut sending = client.request(method, url).timeout(request.timeout);
    for (name, value) in &request.headers {
        let value = reqwest::header::HeaderValue::from_bytes(value.secret_bytes());
        let Ok(mut value) = value else {
            return Err(HttpError::new(HttpErrorKind::Request, format!("the value of the header `{name}` cannot be sent")));
        };
        value.set_sensitive(true);
        sending = sending.header(name, value);
    }
    if let Some(body) = request.body {
        // The bytes stay where they are, and are wiped when the last reader lets go.
        sending = sending.body(Bytes::from_owner(Wiped(body)));
    }
    let mut answer = sending.send().await.map_err(failed)?;
    let mut response = HttpResponse::new(answer.status().as_u16(), Vec::new());
    for (name, value) in answer.headers() {
        response.headers.push((name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    }
    let announced = answer.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
    let mut body = Vec::with_capacity(announced.min(request.max_answer));
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > request.max_answer {
            let message = format!("{host}: the answer ({}) is longer than {} bytes", response.status, request.max_answer);
            return Err(HttpError::new(HttpErrorKind::TooLarge, message));
        }
        body.extend_from_slice(&chunk);
    }
    response.body = SecretBytes::new(body);
    Ok(response)
}

struct Wiped(SecretBytes);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.secret_bytes()
    }
}

#[derive(Default)]
enum Chosen {
    #[default]
    Environment,
    Direct,
    Through(Box<reqwest::Proxy>),
}

fn proxy(setting: ProxySetting) -> Result<Chosen, Finding> {
    let Proxy { url, credentials } = match setting {
        ProxySetting::Environment => return Ok(Chosen::Environment),
        ProxySetting::Direct => return Ok(Chosen::Direct),
        ProxySetting::Through(proxy) => proxy,
    };
    let finding = |problem: &str, remedy: &str| Finding::new("http.proxy", problem, remedy);
    // The URL is not quoted: it may hold a password against the advice.
    let no_uri = || finding("that is no proxy's URI", "give an absolute one with scheme, such as `http://proxy.contoso.example:3128`");
    let parsed = Url::parse(&url).ok().filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h"));
    let parsed = parsed.ok_or_else(no_uri)?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(finding("credentials stand in the URI, where logs show them", "set them by `Proxy::with_credentials`"));
    }
    let mut proxy = reqwest::Proxy::all(parsed).map_err(|_| no_uri())?;
    if let Some((user, password)) = credentials {
        let password = password.secret_str().filter(|password| !password.is_empty());
        let password = password.ok_or_else(|| finding("the user has no password, or one that is no text", "set both or none"))?;
        if user.trim().is_empty() || user.contains(':') {
            return Err(finding("the user is blank, or holds a colon", "give the user's name alone"));
        }
        proxy = proxy.basic_auth(&user, password);
    }
    Ok(Chosen::Through(Box::new(proxy)))
}
