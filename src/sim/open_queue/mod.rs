//! The server half of the open queue (`docs/open-queue.md`): requests in, results out, with leases, redelivery and a ledger.
//!
//! Sans-IO: it takes a request and gives the answer. For tests and development; what it holds is lost with the process.

mod guard;
mod refusal;
mod settings;
mod store;

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::guard::{Seen, authorise};
use self::refusal::{Refusal, Refused};
use self::store::Store;
use crate::adapters::http::{HttpRequest, HttpResponse};
use crate::adapters::http_queue::wire::{
    Complete, Document, ExtendLease, MAX_BATCH, MOUNT, Object, Operation, Problem, Receive, read_health, read_item_strictly, write_answers,
    write_batch, write_capabilities, write_lost,
};
use crate::ids::{InstanceId, RequestId, TenantId};
use crate::ports::{CompleteAnswer, HealthMessage, Outcome, QueueItem, ResultItem, Runtime};
use crate::secret::SecretBytes;
use crate::terms::Flow;

pub use settings::OpenQueueSettings;

/// A request that the queue cannot take. The text names what is wrong and quotes no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the open queue cannot take the request: {0}")]
pub struct NotEnqueued(String);

impl From<Problem> for NotEnqueued {
    fn from(problem: Problem) -> Self {
        Self(problem.0)
    }
}

/// A tenant's queue in memory, behind the open protocol. Its ledger tells what was delivered, uploaded and accepted, so that what is lost or
/// doubled is judged from outside the connector.
///
/// Instances are told apart by the name that they give: whoever has a token is trusted with it.
pub struct OpenQueue {
    settings: OpenQueueSettings,
    runtime: Arc<dyn Runtime>,
    seen: Mutex<Seen>,
    store: Mutex<Store>,
    next_poll: Mutex<Option<Duration>>,
}

impl fmt::Debug for OpenQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenQueue").field("settings", &self.settings).field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

impl OpenQueue {
    /// Without requests. Leases and the ages of calls go by the runtime's clocks.
    #[must_use]
    pub fn new(settings: OpenQueueSettings, runtime: Arc<dyn Runtime>) -> Self {
        Self { settings, runtime, seen: Mutex::default(), store: Mutex::default(), next_poll: Mutex::default() }
    }

    /// Answers a call: a `GET` or `POST` to a URL whose path ends in `/open-queue/v1/` and an operation.
    #[must_use]
    pub fn handle(&self, request: &HttpRequest) -> HttpResponse {
        match self.answer(request) {
            Ok(body) => {
                HttpResponse::new(200, body).with_header("content-type", "application/json").with_header("cache-control", "no-store")
            }
            Err(refused) => refused.answer(self.runtime.now()),
        }
    }

    fn answer(&self, request: &HttpRequest) -> Result<SecretBytes, Refused> {
        authorise(request, &self.settings)?;
        let operation = operation(&request.url).ok_or_else(|| Refused(Refusal::NotFound, "there is no such operation".to_owned()))?;
        if request.method != operation.method() {
            let allowed = operation.method().as_str();
            return Err(Refused(Refusal::MethodNotAllowed(allowed), format!("`{}` is called with {allowed}", operation.path())));
        }
        if operation == Operation::Capabilities {
            return written(write_capabilities(&self.settings.capabilities()));
        }
        let body = self.body(request)?;
        lock(&self.seen).take(request, self.settings.window, self.settings.most_kept, self.runtime.now())?;
        let now = self.runtime.monotonic();
        match operation {
            Operation::Capabilities => Err(Refused(Refusal::Internal, "it was answered before".to_owned())),
            Operation::Receive => self.receive(&Receive::read(body)?, now),
            Operation::Complete => self.complete(Complete::read(body)?),
            Operation::ExtendLease => {
                let asked = ExtendLease::read(body)?;
                self.served(&asked.tenant, asked.flow)?;
                written(write_lost(&lock(&self.store).extend(asked, self.settings.lease, now)))
            }
            Operation::Health => {
                let message = read_health(body)?;
                self.own_tenant(&message.tenant)?;
                lock(&self.store).keep_health(message, self.settings.most_kept);
                Ok(SecretBytes::copy_from(b"{}"))
            }
        }
    }

    fn body<'a>(&self, request: &'a HttpRequest) -> Result<&'a [u8], Refused> {
        let kind = request.header("content-type").and_then(|kind| kind.split(';').next()).unwrap_or_default();
        if !kind.trim().eq_ignore_ascii_case("application/json") {
            return Err(Refused(Refusal::UnsupportedMediaType, "the body is not called `application/json`".to_owned()));
        }
        let body = request.body.as_ref().map_or(&[][..], SecretBytes::secret_bytes);
        if body.len() > self.settings.max_body {
            return Err(Refused(Refusal::TooLarge, format!("the body is longer than {} bytes", self.settings.max_body)));
        }
        Ok(body)
    }

    fn own_tenant(&self, tenant: &TenantId) -> Result<(), Refused> {
        if *tenant == self.settings.tenant {
            Ok(())
        } else {
            Err(Refused(Refusal::ForeignTenant, "the queue does not serve this tenant".to_owned()))
        }
    }

    fn served(&self, tenant: &TenantId, flow: Flow) -> Result<(), Refused> {
        self.own_tenant(tenant)?;
        if self.settings.flows.contains(&flow) {
            Ok(())
        } else {
            Err(Refused(Refusal::UnsupportedFlow, format!("the queue does not serve the flow {flow}")))
        }
    }

    fn receive(&self, asked: &Receive, now: Duration) -> Result<SecretBytes, Refused> {
        self.served(&asked.tenant, asked.flow)?;
        let items = lock(&self.store).receive(asked, self.settings.lease, self.settings.max_batch, now);
        let items = items.map_err(|problem| Refused(Refusal::Internal, problem.0))?;
        Ok(write_batch(&items, *lock(&self.next_poll), Some(self.settings.lease)))
    }

    fn complete(&self, asked: Complete) -> Result<SecretBytes, Refused> {
        self.served(&asked.tenant, asked.flow)?;
        let mut store = lock(&self.store);
        let mut judge = |result: Result<ResultItem, Problem>| match result {
            Err(problem) => CompleteAnswer::Refused(format!("the result cannot be read: {problem}")),
            Ok(result) if result.meta.flow != asked.flow || result.meta.tenant != self.settings.tenant => {
                CompleteAnswer::Refused("the result is of another flow or tenant than the call".to_owned())
            }
            Ok(result) => store.judge(result, self.settings.most_kept),
        };
        let answers: Vec<CompleteAnswer> = asked.results.into_iter().map(&mut judge).collect();
        written(write_answers(&answers))
    }

    /// Puts a request in line.
    ///
    /// # Errors
    /// For another tenant, a flow that is not served, an id that is there already, and when the queue is full.
    pub fn enqueue(&self, item: QueueItem) -> Result<(), NotEnqueued> {
        Ok(lock(&self.store).enqueue(item, &self.settings)?)
    }

    /// Puts the requests of a document in line, written as `receive` gives them: `{"items": [...]}`. Gives how many there were.
    ///
    /// # Errors
    /// When one cannot be read, before any is taken; as for [`OpenQueue::enqueue`], after those before it were taken.
    pub fn enqueue_json(&self, body: &[u8]) -> Result<usize, NotEnqueued> {
        if body.len() > self.settings.max_body {
            return Err(NotEnqueued(format!("the document is longer than {} bytes", self.settings.max_body)));
        }
        let document = Document::read(body)?;
        let mut items = Vec::new();
        for (at, item) in document.top().and_then(|top: Object<'_>| top.required_list("items", MAX_BATCH))?.iter().enumerate() {
            items.push(read_item_strictly(item).map_err(|problem| NotEnqueued(format!("item {at}: {problem}")))?);
        }
        let count = items.len();
        items.into_iter().try_for_each(|item| self.enqueue(item))?;
        Ok(count)
    }

    /// Delivers a request again although it is leased or answered, as queues do now and then; false when it is not known.
    pub fn offer_again(&self, flow: Flow, request: &RequestId) -> bool {
        lock(&self.store).offer_again(&(flow, request.clone()))
    }

    /// The next upload for this request gets this answer instead of being judged; several calls queue several answers.
    pub fn answer_next(&self, flow: Flow, request: RequestId, answer: CompleteAnswer) {
        lock(&self.store).answers.entry((flow, request)).or_default().push_back(answer);
    }

    /// Names this time in each batch as the earliest for the next poll; in whole seconds, rounded up.
    pub fn set_next_poll(&self, after: Option<Duration>) {
        *lock(&self.next_poll) = after;
    }

    /// Ledger: requests in line, those with an ended lease too.
    #[must_use]
    pub fn waiting(&self) -> usize {
        lock(&self.store).waiting(self.runtime.monotonic())
    }

    /// Ledger: who holds which request.
    #[must_use]
    pub fn leases(&self) -> BTreeMap<(Flow, RequestId), InstanceId> {
        lock(&self.store).leases(self.runtime.monotonic())
    }

    /// Ledger: how often each request was delivered. The same delivery, sent again after its answer was lost, counts once.
    #[must_use]
    pub fn deliveries(&self) -> HashMap<(Flow, RequestId), u32> {
        lock(&self.store).deliveries()
    }

    /// Ledger: requests that were delivered and have no accepted result.
    #[must_use]
    pub fn unanswered(&self) -> Vec<(Flow, RequestId)> {
        lock(&self.store).unanswered()
    }

    /// Ledger: the first accepted result of each request; the last one where the one before made the queue offer the request again.
    #[must_use]
    pub fn accepted(&self) -> HashMap<(Flow, RequestId), Outcome> {
        lock(&self.store).accepted()
    }

    /// Ledger: the accepted result of one request.
    #[must_use]
    pub fn result_of(&self, flow: Flow, request: &RequestId) -> Option<Outcome> {
        lock(&self.store).result_of(&(flow, request.clone()))
    }

    /// Ledger: the uploaded results in order, refused and repeated ones too.
    #[must_use]
    pub fn uploads(&self) -> Vec<ResultItem> {
        lock(&self.store).uploads.iter().cloned().collect()
    }

    /// Ledger: requests for which another result was uploaded than the accepted one.
    #[must_use]
    pub fn changed_results(&self) -> Vec<(Flow, RequestId)> {
        lock(&self.store).changed.clone()
    }

    /// Ledger: how often it was polled.
    #[must_use]
    pub fn receives(&self) -> u64 {
        lock(&self.store).receives
    }

    /// Ledger: the health messages that were taken.
    #[must_use]
    pub fn health_messages(&self) -> Vec<HealthMessage> {
        lock(&self.store).health.iter().cloned().collect()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn written(body: Result<SecretBytes, Problem>) -> Result<SecretBytes, Refused> {
    body.map_err(|problem| Refused(Refusal::Internal, problem.0))
}

/// The operation that a URL names.
fn operation(url: &str) -> Option<Operation> {
    let path = url.split(['?', '#']).next()?;
    let (_, name) = path.rsplit_once(MOUNT)?;
    Operation::ALL.into_iter().find(|operation| operation.path() == name)
}
