//! A clock that is set by hand, an Intune that answers as scripted, and journals that fail on request.

use core::future::Future;
use core::pin::Pin;
use core::time::Duration;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use async_trait::async_trait;
use intune_connector::adapters::intune::{
    HttpAnswer, IntuneRevocations, RevocationAction, RevocationActions, RevocationCall, RevocationsBuilder,
};
use intune_connector::adapters::{SqliteJournal, StdRuntime, VolatileJournal};
use intune_connector::crypto::CryptoProvider;
use intune_connector::ports::{
    Batch, Busy, Change, ClaimRequest, CommitAnswer, CompleteAnswer, CompleteRequest, IntuneQueue, Journal, JournalScope, JournalStats,
    LoadRequest, Outcome, PortError, PruneRequest, QueueItem, ReceiveRequest, RenewRequest, RequestMeta, ResultItem, RevokeResult, Row,
    RowKey, Runtime,
};
use intune_connector::secret::SecretBytes;
use intune_connector::terms::Flow;
use intune_connector::time::Timestamp;
use serde_json::{Value, json};

pub const DOWNLOAD: RevocationAction = RevocationAction::DownloadRevocationRequests;
pub const UPLOAD: RevocationAction = RevocationAction::UploadRevocationResults;
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3_600);

static RUNTIME: LazyLock<StdRuntime> = LazyLock::new(|| StdRuntime::new().unwrap());

pub fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.block_on(future)
}

pub fn provider() -> CryptoProvider {
    CryptoProvider::ring_and_aws_lc_rs()
}

/// Time that stands still until it is told to go on. Time-outs never end, and rounds of `run_once` need no timers.
#[derive(Debug, Default)]
pub struct Clock(Mutex<Duration>);

impl Clock {
    pub fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Runtime for Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1_800_000_000).saturating_add(self.monotonic())
    }
    fn monotonic(&self) -> Duration {
        *self.0.lock().unwrap()
    }
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(core::future::pending())
    }
    fn offload(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Busy> {
        job();
        Ok(())
    }
}

pub fn answer(status: u16, body: &str) -> HttpAnswer {
    HttpAnswer::new(status, body.as_bytes().to_vec(), Timestamp::from_secs(784_111_777)).with_activity("5b2f6d0c-activity")
}

/// A download that brings these.
pub fn brings(items: &[Value]) -> HttpAnswer {
    answer(200, &json!({ "@odata.context": "https://fef.example/$metadata#x", "value": items }).to_string())
}

pub fn item(context: &str, serial: &str, issuer: Option<&str>) -> Value {
    json!({ "requestContext": context, "serialNumber": serial, "issuerName": issuer, "caConfiguration": null })
}

/// Answers as scripted, then with no requests and with `true`; keeps what it was asked.
#[derive(Debug, Default)]
pub struct Script {
    answers: Mutex<VecDeque<(RevocationAction, Scripted)>>,
    calls: Mutex<Vec<(RevocationAction, String)>>,
    /// A list with this context in it is never taken.
    pub dislikes: Mutex<Option<String>>,
}

#[derive(Debug)]
enum Scripted {
    Answer(HttpAnswer),
    Fails(fn() -> PortError),
    NeverAnswers,
}

impl Script {
    pub fn then(&self, action: RevocationAction, answer: HttpAnswer) -> &Self {
        self.push(action, Scripted::Answer(answer))
    }
    pub fn then_fails(&self, action: RevocationAction, error: fn() -> PortError) -> &Self {
        self.push(action, Scripted::Fails(error))
    }
    pub fn then_never_answers(&self, action: RevocationAction) -> &Self {
        self.push(action, Scripted::NeverAnswers)
    }
    fn push(&self, action: RevocationAction, scripted: Scripted) -> &Self {
        self.answers.lock().unwrap().push_back((action, scripted));
        self
    }
    /// The bodies of the calls of that kind.
    pub fn bodies(&self, action: RevocationAction) -> Vec<String> {
        self.calls.lock().unwrap().iter().filter(|(of, _)| *of == action).map(|(_, body)| body.clone()).collect()
    }
    pub fn count(&self, action: RevocationAction) -> usize {
        self.bodies(action).len()
    }
    /// Every uploaded result, in order: context and error code.
    pub fn uploaded(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for body in self.bodies(UPLOAD) {
            for result in serde_json::from_str::<Value>(&body).unwrap()["results"].as_array().unwrap() {
                all.push((result["requestContext"].as_str().unwrap().to_owned(), result["errorCode"].as_str().unwrap().to_owned()));
            }
        }
        all
    }
}

#[async_trait]
impl RevocationActions for Script {
    async fn post(&self, call: RevocationCall<'_>) -> Result<HttpAnswer, PortError> {
        let body = String::from_utf8(call.body.secret_bytes().to_vec()).unwrap();
        let is_disliked = self.dislikes.lock().unwrap().as_ref().is_some_and(|context| body.contains(&format!("{context:?}")));
        self.calls.lock().unwrap().push((call.action, body));
        let scripted = {
            let mut answers = self.answers.lock().unwrap();
            let at = answers.iter().position(|(action, _)| *action == call.action);
            at.and_then(|at| answers.remove(at)).map(|(_, scripted)| scripted)
        };
        match scripted {
            Some(Scripted::Answer(answer)) => Ok(answer),
            Some(Scripted::Fails(error)) => Err(error()),
            Some(Scripted::NeverAnswers) => core::future::pending().await,
            None if call.action == DOWNLOAD => Ok(brings(&[])),
            None if is_disliked => Ok(answer(200, r#"{"value":false}"#)),
            None => Ok(answer(200, r#"{"@odata.context":"x","value":true}"#)),
        }
    }
}

/// A journal that fails or says that it is the fleet's.
#[derive(Debug)]
pub struct Faulty {
    pub rows: VolatileJournal,
    pub scope: JournalScope,
    pub fails: AtomicBool,
    /// The next load after a commit never ends.
    pub hangs: AtomicBool,
    committed: AtomicBool,
    /// How many more commits succeed.
    pub commits_left: Mutex<Option<usize>>,
}

impl Faulty {
    pub fn new(scope: JournalScope) -> Arc<Self> {
        Arc::new(Self {
            rows: VolatileJournal::new(),
            scope,
            fails: AtomicBool::new(false),
            hangs: AtomicBool::new(false),
            committed: AtomicBool::new(false),
            commits_left: Mutex::new(None),
        })
    }
}

impl Faulty {
    pub fn hang_after_the_next_commit(&self) {
        self.committed.store(false, Ordering::SeqCst);
        self.hangs.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Journal for Faulty {
    fn scope(&self) -> JournalScope {
        self.scope
    }
    fn is_durable(&self) -> bool {
        false
    }
    async fn load(&self, request: LoadRequest) -> Result<Vec<Row>, PortError> {
        if self.hangs.load(Ordering::SeqCst) && self.committed.load(Ordering::SeqCst) {
            core::future::pending::<()>().await;
        }
        self.rows.load(request).await
    }
    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<CommitAnswer>, PortError> {
        let is_full = self.commits_left.lock().unwrap().as_mut().is_some_and(|left| {
            let is_full = *left == 0;
            *left = left.saturating_sub(1);
            is_full
        });
        if is_full || self.fails.load(Ordering::SeqCst) {
            return Err(PortError::transient("the disk is full (injected)"));
        }
        self.committed.store(true, Ordering::SeqCst);
        self.rows.commit(changes).await
    }
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Row>, PortError> {
        self.rows.claim(request).await
    }
    async fn renew(&self, request: RenewRequest) -> Result<Vec<RowKey>, PortError> {
        self.rows.renew(request).await
    }
    async fn prune(&self, request: PruneRequest) -> Result<u64, PortError> {
        self.rows.prune(request).await
    }
    async fn stats(&self) -> Result<JournalStats, PortError> {
        self.rows.stats().await
    }
}

/// Where the rows are: each test of a restart runs with both.
#[derive(Debug)]
pub enum Kept {
    InMemory(Arc<VolatileJournal>),
    OnDisk(tempfile::TempDir),
}

impl Kept {
    pub fn both() -> [Self; 2] {
        [Self::InMemory(Arc::default()), Self::OnDisk(tempfile::tempdir().unwrap())]
    }

    /// The journal as a process finds it that starts now. The one of the process before must be gone.
    pub fn open(&self) -> Arc<dyn Journal> {
        match self {
            Self::InMemory(journal) => journal.clone(),
            Self::OnDisk(folder) => {
                let path: PathBuf = folder.path().join("journal");
                Arc::new(SqliteJournal::open(path).unwrap())
            }
        }
    }
}

/// Script, clock and journal, over which queues come and go.
#[derive(Debug)]
pub struct Bench {
    pub script: Arc<Script>,
    pub clock: Arc<Clock>,
    pub journal: Arc<dyn Journal>,
}

pub fn key() -> SecretBytes {
    SecretBytes::new(vec![7; 32])
}

impl Bench {
    pub fn new() -> Self {
        Self::on(Arc::new(VolatileJournal::new()))
    }

    pub fn on(journal: Arc<dyn Journal>) -> Self {
        Self { script: Arc::default(), clock: Arc::default(), journal }
    }

    pub fn builder(&self) -> RevocationsBuilder {
        let tenant = "contoso.example".parse().unwrap();
        IntuneRevocations::builder(self.script.clone(), self.journal.clone(), tenant, self.clock.clone(), provider()).sealing_key(key())
    }

    pub fn queue(&self) -> IntuneRevocations {
        self.builder().build().unwrap()
    }

    /// A queue whose first download brings these, already given out.
    pub fn with(&self, items: &[Value]) -> (IntuneRevocations, Vec<QueueItem>) {
        self.script.then(DOWNLOAD, brings(items));
        let queue = self.queue();
        let given = receive(&queue, 500).unwrap().items;
        (queue, given)
    }
}

pub fn receive(queue: &IntuneRevocations, max: usize) -> Result<Batch, PortError> {
    receive_as(queue, "one", max)
}

pub fn receive_as(queue: &IntuneRevocations, instance: &str, max: usize) -> Result<Batch, PortError> {
    block_on(queue.receive(ReceiveRequest::new(Flow::Revoke, instance.parse().unwrap(), max)))
}

pub fn ids(items: &[QueueItem]) -> Vec<&str> {
    items.iter().map(|item| item.meta.id.as_str()).collect()
}

pub fn meta(id: &str) -> RequestMeta {
    RequestMeta::new(id.parse().unwrap(), "contoso.example".parse().unwrap(), Flow::Revoke)
}

pub fn revoked() -> Outcome {
    Outcome::Revoke(RevokeResult::succeeded(None))
}

pub fn complete(queue: &IntuneRevocations, results: &[(&str, Outcome)]) -> Result<Vec<CompleteAnswer>, PortError> {
    let results = results.iter().map(|(id, outcome)| ResultItem::new(meta(id), outcome.clone())).collect();
    block_on(queue.complete(CompleteRequest::new(Flow::Revoke, "one".parse().unwrap(), results)))
}
