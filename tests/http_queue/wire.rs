//! A client and a server of the open queue in one process, with a clock that a test sets and a wire that a test cuts.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::adapters::StdRuntime;
use intune_connector::adapters::http::{HttpError, HttpErrorKind, HttpMethod, HttpRequest, HttpResponse, HttpTransport};
use intune_connector::adapters::http_queue::{HttpQueue, HttpQueueConfig, QueueAuthentication, StaticToken};
use intune_connector::crypto::CryptoProvider;
use intune_connector::ids::RequestId;
use intune_connector::ports::{
    Busy, CompleteAnswer, CompleteRequest, Failure, IntuneQueue, Outcome, Payload, PortError, QueueItem, ReceiveRequest, RequestMeta,
    ResultItem, RevokeRequest, Runtime,
};
use intune_connector::retry::ErrorClass;
use intune_connector::secret::{Password, SecretBytes};
use intune_connector::sim::{OpenQueue, OpenQueueSettings};
use intune_connector::terms::Flow;
use intune_connector::time::Timestamp;

pub const TOKEN: &str = "a-token-of-the-test-0f3a9c55e1";
pub const BASE: &str = "https://queue.contoso.example/intune";

/// Two clocks that stand still until they are set. No thread, no timer.
#[derive(Debug)]
pub struct Clock(Mutex<(Timestamp, Duration)>);

impl Clock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new((Timestamp::from_secs(1_800_000_000), Duration::from_secs(1)))))
    }

    pub fn advance(&self, by: Duration) {
        let mut clocks = self.0.lock().unwrap();
        *clocks = (clocks.0.saturating_add(by), clocks.1 + by);
    }

    /// The wall clock alone.
    pub fn set_back(&self, by: Duration) {
        let mut clocks = self.0.lock().unwrap();
        clocks.0 = clocks.0.saturating_sub(by);
    }
}

impl Runtime for Clock {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap().0
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().unwrap().1
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.advance(duration);
        Box::pin(std::future::ready(()))
    }

    fn offload(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Busy> {
        job();
        Ok(())
    }
}

/// What happens to the next call.
#[derive(Debug)]
pub enum Fault {
    /// It does not arrive.
    LoseRequest,
    /// It is done, and its answer does not arrive.
    LoseAnswer,
    /// It arrives twice, as a proxy that repeats would send it; the second answer is given.
    Twice,
    /// It never ends, but it was done.
    Hang,
    /// Something else answers.
    Answer(HttpResponse),
    /// The answer's text is changed.
    Edit(&'static str, String),
}

/// One call as it went over the wire.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub method: HttpMethod,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    pub status: u16,
    pub answer_headers: Vec<(String, String)>,
    pub answer: String,
}

impl Exchange {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    pub fn operation(&self) -> &str {
        self.url.rsplit('/').next().unwrap()
    }

    /// The same call again, byte for byte.
    pub fn request(&self) -> HttpRequest {
        let mut request = HttpRequest::new(self.method, self.url.clone());
        for (name, value) in &self.headers {
            request = request.with_header(name.clone(), value);
        }
        request.body = self.body.as_ref().map(|body| SecretBytes::copy_from(body.as_bytes()));
        request
    }
}

/// Carries calls to the server, and keeps them.
pub struct Wire {
    server: Arc<OpenQueue>,
    pub faults: Mutex<VecDeque<Fault>>,
    pub log: Mutex<Vec<Exchange>>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its log holds the token.
        f.write_str("Wire")
    }
}

impl Wire {
    pub fn fault(&self, fault: Fault) {
        self.faults.lock().unwrap().push_back(fault);
    }

    pub fn last(&self) -> Exchange {
        self.log.lock().unwrap().last().unwrap().clone()
    }

    pub fn calls(&self) -> Vec<Exchange> {
        self.log.lock().unwrap().clone()
    }

    fn carry(&self, request: &HttpRequest) -> HttpResponse {
        let response = self.server.handle(request);
        self.keep(request, &response);
        response
    }

    fn keep(&self, request: &HttpRequest, response: &HttpResponse) {
        let text = |bytes: &SecretBytes| String::from_utf8(bytes.secret_bytes().to_vec()).unwrap();
        self.log.lock().unwrap().push(Exchange {
            method: request.method,
            url: request.url.clone(),
            headers: request.headers.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
            body: request.body.as_ref().map(text),
            status: response.status,
            answer_headers: response.headers.clone(),
            answer: text(&response.body),
        });
    }
}

#[async_trait]
impl HttpTransport for Wire {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let fault = self.faults.lock().unwrap().pop_front();
        let response = match fault {
            Some(Fault::LoseRequest) => return Err(HttpError::new(HttpErrorKind::Connect, "no connection")),
            Some(Fault::LoseAnswer) => {
                self.carry(&request);
                return Err(HttpError::new(HttpErrorKind::Closed, "the connection was closed"));
            }
            Some(Fault::Hang) => {
                self.carry(&request);
                std::future::pending().await
            }
            Some(Fault::Twice) => {
                self.carry(&request);
                self.carry(&request)
            }
            Some(Fault::Answer(response)) => response,
            Some(Fault::Edit(from, to)) => {
                let mut response = self.carry(&request);
                let text = core::str::from_utf8(response.body.secret_bytes()).unwrap();
                assert!(text.contains(from), "{text}");
                response.body = SecretBytes::new(text.replace(from, &to).into_bytes());
                response
            }
            None => self.carry(&request),
        };
        // As a transport does that counts while it reads.
        if response.body.len() > request.max_answer {
            return Err(HttpError::new(HttpErrorKind::TooLarge, "the answer is longer than was allowed"));
        }
        Ok(response)
    }
}

pub fn provider() -> CryptoProvider {
    CryptoProvider::ring_and_aws_lc_rs()
}

pub fn block_on<F: Future>(future: F) -> F::Output {
    static RUNTIME: std::sync::LazyLock<StdRuntime> = std::sync::LazyLock::new(|| StdRuntime::with_threads(1, 8).unwrap());
    RUNTIME.block_on(future)
}

/// A server with its clock, and a client.
pub struct Lab {
    pub clock: Arc<Clock>,
    pub server: Arc<OpenQueue>,
    pub wire: Arc<Wire>,
    pub queue: HttpQueue,
}

impl Lab {
    pub fn new() -> Self {
        Self::with(|settings| settings, |config| config)
    }

    pub fn with(
        settings: impl FnOnce(OpenQueueSettings) -> OpenQueueSettings,
        config: impl FnOnce(HttpQueueConfig) -> HttpQueueConfig,
    ) -> Self {
        let clock = Clock::new();
        let own = OpenQueueSettings::new("contoso.com".parse().unwrap()).with_token(Password::from(TOKEN));
        let server = Arc::new(OpenQueue::new(settings(own), clock.clone()));
        let wire = Arc::new(Wire { server: server.clone(), faults: Mutex::default(), log: Mutex::default() });
        let connect = HttpQueue::connect(config(self::config()), wire.clone(), clock.clone(), provider());
        let queue = block_on(connect).unwrap();
        Self { clock, server, wire, queue }
    }

    pub fn push(&self, flow: Flow, id: &str, payload: Payload) {
        self.server.enqueue(QueueItem::new(meta(flow, id), payload)).unwrap();
    }

    /// Revocations, which are small.
    pub fn fill(&self, ids: &[&str]) {
        ids.iter().for_each(|id| self.push(Flow::Revoke, id, Payload::Revoke(RevokeRequest::new("01"))));
    }

    pub fn receive(&self, max: usize) -> Result<Vec<QueueItem>, PortError> {
        self.receive_as("one", max)
    }

    pub fn receive_as(&self, instance: &str, max: usize) -> Result<Vec<QueueItem>, PortError> {
        block_on(self.queue.receive(ReceiveRequest::new(Flow::Revoke, instance.parse().unwrap(), max))).map(|batch| batch.items)
    }

    pub fn complete(&self, results: &[(&str, &str)]) -> Result<Vec<CompleteAnswer>, PortError> {
        let results = results.iter().map(|(id, text)| ResultItem::new(meta(Flow::Revoke, id), failure(text))).collect();
        block_on(self.queue.complete(CompleteRequest::new(Flow::Revoke, "one".parse().unwrap(), results)))
    }
}

pub fn config() -> HttpQueueConfig {
    let token = Arc::new(StaticToken::new(Password::from(TOKEN)).unwrap());
    HttpQueueConfig::new(BASE, "contoso.com".parse().unwrap(), QueueAuthentication::bearer(token, ""))
}

pub fn meta(flow: Flow, id: &str) -> RequestMeta {
    RequestMeta::new(id.parse().unwrap(), "contoso.com".parse().unwrap(), flow)
}

pub fn failure(text: &str) -> Outcome {
    Outcome::Failed(Failure::new(ErrorClass::Request, text))
}

pub fn id(text: &str) -> RequestId {
    text.parse().unwrap()
}

pub fn ids(items: &[QueueItem]) -> Vec<&str> {
    items.iter().map(|item| item.meta.id.as_str()).collect()
}
