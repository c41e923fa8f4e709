//! The open queue: bytes of strangers as calls to the server's half, and as answers to the client's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use intune_connector::adapters::StdRuntime;
use intune_connector::adapters::http::{HttpError, HttpErrorKind, HttpMethod, HttpRequest, HttpResponse, HttpTransport};
use intune_connector::adapters::http_queue::{HttpQueue, HttpQueueConfig, QueueAuthentication};
use intune_connector::crypto::CryptoProvider;
use intune_connector::ids::{InstanceId, TenantId};
use intune_connector::ports::{
    CompleteRequest, ExtendLeaseRequest, Failure, IntuneQueue, Outcome, QueueCapabilities, ReceiveRequest, RequestMeta, ResultItem, Runtime,
};
use intune_connector::retry::ErrorClass;
use intune_connector::secret::SecretBytes;
use intune_connector::sim::{OpenQueue, OpenQueueSettings};
use intune_connector::terms::Flow;

const FLOWS: [Flow; 4] = [Flow::Pkcs, Flow::PkcsRecrypt, Flow::PkcsImport, Flow::Revoke];

static RUNTIME: LazyLock<Arc<StdRuntime>> = LazyLock::new(|| Arc::new(StdRuntime::with_threads(1, 8).expect("a thread starts")));

/// Answers each call with the same bytes.
struct Stranger {
    status: u16,
    body: Vec<u8>,
}

impl std::fmt::Debug for Stranger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stranger")
    }
}

#[async_trait::async_trait]
impl HttpTransport for Stranger {
    async fn send(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
        Ok(HttpResponse::new(self.status, self.body.clone()))
    }
}

/// Carries calls to a server in this process.
#[derive(Debug)]
struct Carrier(Mutex<OpenQueue>);

#[async_trait::async_trait]
impl HttpTransport for Carrier {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let server = self.0.lock().map_err(|_| HttpError::new(HttpErrorKind::Closed, "it panicked"))?;
        Ok(server.handle(&request))
    }
}

fn tenant() -> TenantId {
    "contoso.example".parse().expect("an id")
}

fn instance() -> InstanceId {
    "one".parse().expect("an id")
}

fn client(transport: Arc<dyn HttpTransport>) -> HttpQueue {
    let config = HttpQueueConfig::new("https://queue.contoso.example", tenant(), QueueAuthentication::MutualTls);
    let mut capabilities = QueueCapabilities::new(FLOWS.to_vec());
    capabilities.max_batch = 1_000;
    HttpQueue::with_capabilities(config, transport, RUNTIME.clone(), CryptoProvider::ring_and_aws_lc_rs(), capabilities).expect("a client")
}

fn server() -> OpenQueue {
    OpenQueue::new(OpenQueueSettings::new(tenant()).dangerous_without_token().with_max_batch(1_000), RUNTIME.clone())
}

/// The bytes as the body of each call and of each answer.
pub fn open_queue(data: &[u8]) {
    as_calls(data);
    as_answers(data);
    as_work(data);
}

fn as_calls(data: &[u8]) {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let server = server();
    for operation in ["receive", "complete", "extend-lease", "health"] {
        let number = CALLS.fetch_add(1, Ordering::Relaxed);
        let request = HttpRequest::new(HttpMethod::Post, format!("https://queue.contoso.example/open-queue/v1/{operation}"))
            .with_header("Request-Id", format!("00000000-0000-4000-8000-{number:012x}"))
            .with_header("Request-Timestamp", RUNTIME.now().to_string())
            .with_body("application/json", SecretBytes::copy_from(data));
        let answer = server.handle(&request);
        assert!(matches!(answer.status, 200 | 400 | 422), "{} to {operation}", answer.status);
    }
}

fn as_answers(data: &[u8]) {
    let runtime = RUNTIME.clone();
    for status in [200, 400, 503] {
        let stranger = Arc::new(Stranger { status, body: data.to_vec() });
        let queue = client(stranger.clone());
        let asked = runtime.block_on(queue.receive(ReceiveRequest::new(Flow::Pkcs, instance(), 3)));
        assert!(asked.as_ref().map_or(true, |batch| batch.items.len() <= 3), "more than was asked for");
        let meta = RequestMeta::new("r1".parse().expect("an id"), tenant(), Flow::Pkcs);
        let result = ResultItem::new(meta, Outcome::Failed(Failure::new(ErrorClass::Request, "no")));
        let answers = runtime.block_on(queue.complete(CompleteRequest::new(Flow::Pkcs, instance(), vec![result])));
        assert!(answers.as_ref().map_or(true, |answers| answers.len() == 1), "one answer to each result");
        let lease = ExtendLeaseRequest::new(Flow::Pkcs, instance(), vec!["r1".parse().expect("an id")]);
        let _ = (format!("{asked:?} {answers:?}"), runtime.block_on(queue.extend_lease(lease)).is_ok());
        let config = HttpQueueConfig::new("https://queue.contoso.example", tenant(), QueueAuthentication::MutualTls);
        let _ = runtime.block_on(HttpQueue::connect(config, stranger, runtime.clone(), CryptoProvider::ring_and_aws_lc_rs())).is_ok();
    }
}

/// What the server takes in, the client gets out.
fn as_work(data: &[u8]) {
    let server = server();
    if server.enqueue_json(data).is_err() {
        return;
    }
    let waiting = server.waiting();
    let carrier = Arc::new(Carrier(Mutex::new(server)));
    let queue = client(carrier.clone());
    let mut received = 0;
    for flow in FLOWS {
        let batch = RUNTIME.block_on(queue.receive(ReceiveRequest::new(flow, instance(), 1_000))).expect("a batch");
        assert!(batch.items.iter().all(|item| item.meta.flow == flow), "another flow's");
        received += batch.items.len();
    }
    assert_eq!(received, waiting, "all that was put in comes out");
    assert_eq!(carrier.0.lock().unwrap_or_else(PoisonError::into_inner).waiting(), 0);
}
