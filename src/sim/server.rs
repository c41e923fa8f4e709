//! The front over HTTP/1.1, on loopback addresses alone.

use core::fmt;
use core::future::Future;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};

use super::{IN_PROCESS_BASE, SimError, SimOutcome, SimulatedIntune, reply};
use crate::adapters::http::{HttpMethod, HttpRequest, HttpResponse};
use crate::secret::SecretBytes;

const MOST_CONNECTIONS: usize = 1_024;
/// For the header of a request, for an idle connection, and for a body.
const READ: Duration = Duration::from_secs(30);
/// As the open queue takes.
const MOST_BODY: usize = 16 << 20;
/// The longest delay that a fault may make.
const LONGEST_DELAY: Duration = Duration::from_secs(600);
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// A simulator with an address of its own, before it serves.
pub struct SimServer {
    intune: SimulatedIntune,
    listener: TcpListener,
    base: String,
}

impl fmt::Debug for SimServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimServer").field("base", &self.base).finish_non_exhaustive()
    }
}

impl SimulatedIntune {
    /// Takes the listener's address for its own, unless [`base_url`](super::SimulatedIntuneBuilder::base_url) was set: for a proxy on this
    /// machine that adds TLS, say. Clients can be told where it is before it serves.
    ///
    /// # Errors
    /// [`SimError::NotLoopback`] for any address but a loopback one; [`SimError::Io`].
    pub fn listen(&self, listener: TcpListener) -> Result<SimServer, SimError> {
        let address = listener.local_addr()?;
        if !is_loopback(address) {
            return Err(SimError::NotLoopback(address));
        }
        listener.set_nonblocking(true)?;
        let mut state = self.inner.state();
        if state.base == IN_PROCESS_BASE {
            state.base = format!("http://{address}");
        }
        Ok(SimServer { intune: self.clone(), listener, base: state.base.clone() })
    }

    /// Serves until `stop` is ready: [`SimulatedIntune::listen`] and [`SimServer::run`] in one.
    ///
    /// # Errors
    /// As both.
    pub async fn serve(&self, listener: TcpListener, stop: impl Future<Output = ()>) -> Result<(), SimError> {
        self.listen(listener)?.run(stop).await
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

impl SimServer {
    /// Scheme and authority, without a `/` at the end.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base
    }

    /// Serves until `stop` is ready, and then five seconds for what has begun. Runs inside a tokio runtime with time and I/O.
    ///
    /// # Errors
    /// [`SimError::Io`] when tokio cannot take the listener.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), SimError> {
        let listener = ::tokio::net::TcpListener::from_std(self.listener)?;
        let (open, graceful) = (Arc::new(AtomicUsize::new(0)), GracefulShutdown::new());
        let mut stop = pin!(stop);
        loop {
            let accepted = match select(pin!(listener.accept()), stop.as_mut()).await {
                Either::Left((accepted, _)) => accepted,
                Either::Right(_) => break,
            };
            let Ok((stream, peer)) = accepted else {
                // Out of file descriptors, as a rule: do not spin.
                ::tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let place = Place::take(&open);
            let Some(place) = place.filter(|_| is_loopback(peer)) else { continue };
            let _ = stream.set_nodelay(true);
            let front = Front { intune: self.intune.clone(), base: self.base.clone() };
            let watcher = graceful.watcher();
            drop(::tokio::spawn(async move {
                front.connection(stream, watcher).await;
                drop(place);
            }));
        }
        drop(listener);
        let _ = ::tokio::time::timeout(LAST_REQUESTS, graceful.shutdown()).await;
        Ok(())
    }
}

/// A connection's place under the bound; given back on drop.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Option<Self> {
        let more = |count: usize| (count < MOST_CONNECTIONS).then_some(count + 1);
        open.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok().map(|_| Self(Arc::clone(open)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Clone)]
struct Front {
    intune: SimulatedIntune,
    base: String,
}

/// The connection is ended on purpose.
#[derive(Debug, thiserror::Error)]
#[error("ended by the simulator")]
struct Ended;

impl Front {
    async fn connection(self, stream: ::tokio::net::TcpStream, watcher: Watcher) {
        let service = service_fn(move |request| {
            let front = self.clone();
            async move { front.answer(request).await }
        });
        let serving =
            http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(READ).serve_connection(TokioIo::new(stream), service);
        // A connection that breaks is its client's affair.
        let _ = watcher.watch(serving).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<SimBody>, Ended> {
        let request = match ::tokio::time::timeout(READ, self.read(request)).await {
            Ok(Ok(request)) => request,
            Ok(Err(refusal)) => return Ok(whole(refusal)),
            Err(_) => return Err(Ended),
        };
        let answer = self.intune.answer(&request);
        if !answer.delay.is_zero() {
            ::tokio::time::sleep(answer.delay.min(LONGEST_DELAY)).await;
        }
        match answer.outcome {
            SimOutcome::Respond(response) => Ok(whole(response)),
            SimOutcome::TruncateAfter(response, length) => Ok(cut(response, length)),
            SimOutcome::Close => Err(Ended),
            // A server cannot vanish for one client: it says that it is the wrong one.
            SimOutcome::UnknownHost => Ok(whole(reply::text(421, "this server does not serve that host"))),
        }
    }

    async fn read(&self, request: Request<Incoming>) -> Result<HttpRequest, HttpResponse> {
        let (parts, body) = request.into_parts();
        let method = match parts.method.as_str() {
            "GET" => HttpMethod::Get,
            "POST" => HttpMethod::Post,
            "PATCH" => HttpMethod::Patch,
            "DELETE" => HttpMethod::Delete,
            _ => return Err(reply::text(405, "the simulated Intune takes GET, POST, PATCH and DELETE")),
        };
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut read = HttpRequest::new(method, format!("{}{path}", self.base));
        for (name, value) in &parts.headers {
            read.headers.push((name.as_str().to_owned(), SecretBytes::copy_from(value.as_bytes())));
        }
        let body = Limited::new(body, MOST_BODY).collect().await;
        let body =
            body.map_err(|_| reply::text(413, "the body is longer than 16 MiB, or it broke off").with_header("connection", "close"))?;
        let body = body.to_bytes();
        if !body.is_empty() {
            read.body = Some(SecretBytes::copy_from(&body));
        }
        Ok(read)
    }
}

fn whole(response: HttpResponse) -> Response<SimBody> {
    let length = response.body.len();
    cut(response, length)
}

/// An answer that announces its whole body and ends after so many bytes.
fn cut(response: HttpResponse, length: usize) -> Response<SimBody> {
    let bytes = response.body.secret_bytes();
    let shown = bytes.get(..length).unwrap_or(bytes);
    let end = if shown.len() < bytes.len() { End::BreaksAfterAPause } else { End::Whole };
    let body = SimBody { data: Some(Bytes::copy_from_slice(shown)).filter(|data| !data.is_empty()), end };
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = answer.headers_mut();
    for (name, value) in &response.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str())) {
            headers.append(name, value);
        }
    }
    if response.status != 204 {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    }
    answer
}

/// A body that ends, or breaks.
struct SimBody {
    data: Option<Bytes>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    BreaksAfterAPause,
    Breaks,
}

impl Body for SimBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match self.end {
            End::Whole => Poll::Ready(None),
            // What was written before an error is sent only when there is nothing more to do for a moment.
            End::BreaksAfterAPause => {
                self.end = End::Breaks;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            End::Breaks => Poll::Ready(Some(Err(io::Error::other(Ended)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.end == End::Whole
    }

    fn size_hint(&self) -> SizeHint {
        // The length stands in the header; a body that breaks has none that is true.
        SizeHint::default()
    }
}
