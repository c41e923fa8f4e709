//! HTTP in front of the SCEP service, as a `tower_service::Service`: for hyper, axum, or whatever serves `http` types.

mod body;
mod client;
mod finish;
mod forwarded;
mod rate;

use core::convert::Infallible;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::Arc;

use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::Body;
use tower_service::Service as TowerService;

pub use self::body::ScepHttpBody;
use self::body::{BodyError, declares_more_than};
pub use self::client::{ForwardingHeader, IpPrefix, IpPrefixError, PeerAddr, TrustedProxies};
use self::finish::Finish;
pub use self::rate::RateLimit;
use self::rate::RateLimiter;
use crate::scep::{self, Method, Service};

/// A task that must run to its end, for the function given to [`ScepHttp::new`].
pub type ScepTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A SCEP server for whatever speaks HTTP: mount it at a path, and every path below it is served.
///
/// Put the client's address into the extensions of each request as [`PeerAddr`]. What is left to the server in front: TLS (never ask for a
/// client certificate: Windows and macOS then fail to renew), a bound on connections, and a deadline for the header of a request.
///
/// It reads the query as received, decides nothing by path or content type, ends a body that is too long (413) or too slow (408), limits
/// PKIOperation by client address (429), and finishes what it has begun when the client hangs up. GetCACaps and GetCACert are not
/// limited: they are answered from memory, so to refuse one would cost as much.
///
/// Cheap to clone; clones share the rate limit and the counters. Set it up before it is cloned.
///
/// With axum, `tokio` as the runtime and the client's address from the connection:
///
/// ```
/// use std::net::SocketAddr;
///
/// use axum::Router;
/// use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
/// use axum::extract::{ConnectInfo, Request};
/// use axum::middleware::{Next, from_fn};
/// use axum::response::Response;
/// use intune_connector::adapters::{PeerAddr, ScepHttp};
/// use intune_connector::scep::Service;
///
/// async fn peer(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request, next: Next) -> Response {
///     request.extensions_mut().insert(PeerAddr(peer));
///     next.run(request).await
/// }
///
/// fn app(service: Service) -> IntoMakeServiceWithConnectInfo<Router, SocketAddr> {
///     let scep = ScepHttp::new(service, |task| {
///         tokio::spawn(task);
///     });
///     Router::new().nest_service("/scep", scep).layer(from_fn(peer)).into_make_service_with_connect_info()
/// }
/// # let _ = app;
/// ```
#[derive(Clone)]
pub struct ScepHttp {
    service: Service,
    settings: Settings,
    limiter: Option<Arc<RateLimiter>>,
    proxies: Option<Arc<TrustedProxies>>,
    unlimited: Arc<[IpPrefix]>,
    spawn: Arc<dyn Fn(ScepTask) + Send + Sync>,
    shared: Arc<Shared>,
}

#[derive(Debug, Clone)]
struct Settings {
    body_deadline: Duration,
    bodies: usize,
}

#[derive(Debug, Default)]
struct Shared {
    bodies: AtomicUsize,
    rate_limited: AtomicU64,
    too_long: AtomicU64,
    too_slow: AtomicU64,
    overloaded: AtomicU64,
}

/// How many requests were refused before the service saw them, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ScepHttpRefusals {
    /// 429: the client's address asked too often.
    pub rate_limited: u64,
    /// 413: the body was too long.
    pub too_long: u64,
    /// 408: the body was too slow.
    pub too_slow: u64,
    /// 503: too many bodies were being read.
    pub overloaded: u64,
}

impl ScepHttp {
    /// HTTP in front of that service. `spawn` starts a task and returns at once, such as `|task| { tokio::spawn(task); }`. A PKIOperation whose
    /// client hangs up is given to it, so that it comes to its end; tasks that are dropped all the same, at shutdown say, are left to
    /// [`Service::maintain`].
    #[must_use]
    pub fn new(service: Service, spawn: impl Fn(ScepTask) + Send + Sync + 'static) -> Self {
        Self {
            service,
            settings: Settings { body_deadline: Duration::from_secs(20), bodies: 1_024 },
            limiter: Some(Arc::new(RateLimiter::new(RateLimit::default()))),
            proxies: None,
            unlimited: Arc::default(),
            spawn: Arc::new(spawn),
            shared: Arc::default(),
        }
    }

    /// Sets the time for the whole body of a request. Default 20 s, as Apache's mod_reqtimeout has it.
    #[must_use]
    pub fn body_deadline(mut self, deadline: Duration) -> Self {
        self.settings.body_deadline = deadline;
        self
    }

    /// Sets how many bodies may be read at a time; more requests get 503. Each takes at most twice the service's largest message. Default
    /// 1,024: at most 128 MiB, and more than three times what one address may begin within the deadline.
    #[must_use]
    pub fn bodies(mut self, bodies: usize) -> Self {
        self.settings.bodies = bodies;
        self
    }

    /// Sets how many PKIOperations one client address is served. IPv6 addresses count by their /64. Takes 512 KiB, however many clients.
    #[must_use]
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.limiter = Some(Arc::new(RateLimiter::new(limit)));
        self
    }

    /// Does not limit clients at these addresses.
    #[must_use]
    pub fn unlimited(mut self, prefixes: impl IntoIterator<Item = IpPrefix>) -> Self {
        self.unlimited = prefixes.into_iter().collect();
        self
    }

    /// Does not limit any client: when something in front does.
    #[must_use]
    pub fn without_rate_limit(mut self) -> Self {
        self.limiter = None;
        self
    }

    /// Takes the client's address from the header of these proxies. Default: no proxy is believed.
    #[must_use]
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.proxies = Some(Arc::new(proxies));
        self
    }

    /// How many requests were refused before the service saw them.
    #[must_use]
    pub fn refusals(&self) -> ScepHttpRefusals {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ScepHttpRefusals {
            rate_limited: read(&self.shared.rate_limited),
            too_long: read(&self.shared.too_long),
            too_slow: read(&self.shared.too_slow),
            overloaded: read(&self.shared.overloaded),
        }
    }

    async fn answer<B: Body>(self, request: Request<B>) -> Response<ScepHttpBody> {
        let (parts, body) = request.into_parts();
        let method = Method::from_name(parts.method.as_str());
        let mut request = scep::Request::new(method, parts.uri.query().unwrap_or_default(), Vec::new());
        if let Some(PeerAddr(peer)) = parts.extensions.get() {
            let peer = peer.ip().to_canonical();
            request = request.with_peer(self.proxies.as_ref().map_or(peer, |proxies| proxies.client(peer, &parts.headers)));
        }
        let answer =
            if request.is_pki_operation() { self.pki_operation(request, &parts, body).await } else { self.service.handle(request).await };
        let must_close = matches!(answer.status, 408 | 413);
        let mut response = response(answer, parts.method == http::Method::HEAD);
        // What is left of the body must not be taken for the next request (RFC 9110 sections 15.5.9 and 15.5.14). HTTP/2 has no such header.
        if must_close && parts.version <= Version::HTTP_11 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn pki_operation<B: Body>(&self, mut request: scep::Request, parts: &http::request::Parts, body: B) -> scep::Response {
        let runtime = self.service.runtime();
        let unlimited = request.peer.is_some_and(|peer| self.unlimited.iter().any(|prefix| prefix.contains(peer)));
        let limiter = self.limiter.as_ref().filter(|_| !unlimited);
        if let Some(Err(wait)) = limiter.map(|limiter| limiter.take(request.peer, runtime.monotonic())) {
            return refuse(&self.shared.rate_limited, 429, "too many requests from this address, try again later\n", Some(wait));
        }
        if request.method == Method::Post {
            let max = self.service.max_message();
            if declares_more_than(&parts.headers, &body, max) {
                return refuse(&self.shared.too_long, 413, "the message is too long\n", None);
            }
            let Some(_place) = BodyPlace::take(&self.shared, self.settings.bodies) else {
                return refuse(&self.shared.overloaded, 503, "the server is busy, try again later\n", Some(BUSY));
            };
            match body::read(body, max, runtime.sleep(self.settings.body_deadline)).await {
                Ok(body) => request.body = body,
                Err(BodyError::TooLong) => return refuse(&self.shared.too_long, 413, "the message is too long\n", None),
                Err(BodyError::TooSlow) => return refuse(&self.shared.too_slow, 408, "the message took too long to arrive\n", None),
                Err(BodyError::Broken) => return scep::Response::error(400, "the message is not complete\n"),
            }
        }
        let service = self.service.clone();
        Finish::new(async move { service.handle(request).await }, self.spawn.clone()).await
    }
}

/// What a client is told to wait when there is no better number; the service's own default.
const BUSY: Duration = Duration::from_secs(5);

fn refuse(counter: &AtomicU64, status: u16, text: &'static str, retry_after: Option<Duration>) -> scep::Response {
    counter.fetch_add(1, Ordering::Relaxed);
    scep::Response { retry_after, ..scep::Response::error(status, text) }
}

/// The media type goes out without parameters: some clients compare the whole header.
fn response(answer: scep::Response, head: bool) -> Response<ScepHttpBody> {
    let length = answer.body.len();
    let mut response = Response::new(if head { ScepHttpBody::default() } else { ScepHttpBody::new(answer.body) });
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.media_type));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(after) = answer.retry_after {
        let seconds = after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0));
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    if answer.status == 405 {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
    }
    response
}

/// The right to read a body; given back on drop.
struct BodyPlace<'a>(&'a Shared);

impl<'a> BodyPlace<'a> {
    fn take(shared: &'a Shared, most: usize) -> Option<Self> {
        let more = |reading: usize| (reading < most).then_some(reading + 1);
        shared.bodies.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Self(shared))
    }
}

impl Drop for BodyPlace<'_> {
    fn drop(&mut self) {
        self.0.bodies.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<B> TowerService<Request<B>> for ScepHttp
where
    B: Body + Send + 'static,
{
    type Response = Response<ScepHttpBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { Ok(this.answer(request).await) })
    }
}

impl fmt::Debug for ScepHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScepHttp")
            .field("service", &self.service)
            .field("settings", &self.settings)
            .field("refusals", &self.refusals())
            .finish_non_exhaustive()
    }
}
