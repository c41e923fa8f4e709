//! The rig: a virtual clock, a toy flow whose requests say in their subject what shall happen to them, and faulty ports.

use core::future::Future;
use core::pin::Pin;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rustls_pki_types::CertificateDer;

use crate::adapters::{InMemoryQueue, RecordingSink, VirtualRuntime, VolatileJournal};
use crate::connector::{Connector, ConnectorBuilder, QueueSettings};
use crate::crypto::{CryptoProvider, SlotName};
use crate::event::EventId;
use crate::flow::{Accepted, Context, Finding, FlowEvents, FlowSpec, Job, ReplaceCa, Step, Task, Worker};
use crate::ids::{CaName, RequestId, SerialNumber, Thumbprint};
use crate::ports::{
    CaCapabilities, Failure, IntuneQueue, Journal, Outcome, Payload, PkcsRequest, PkcsResult, QueueItem, RequestMeta, RowState, Runtime,
};
use crate::retry::{ErrorClass, Retry};
use crate::terms::Flow;
use crate::time::Timestamp;

/// What the toy flow saw.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Effects by request.
    pub(super) effects: Mutex<HashMap<RequestId, u32>>,
    /// When each attempt started, by request.
    pub(super) attempts: Mutex<HashMap<RequestId, Vec<Duration>>>,
    pub(super) found_first: AtomicU32,
    pub(super) busy: AtomicUsize,
    pub(super) most_busy: AtomicUsize,
    pub(super) busy_by_ca: Mutex<HashMap<CaName, usize>>,
    pub(super) most_by_ca: AtomicUsize,
    /// Effects whose row was not in state `Asked`.
    pub(super) unjournalled: AtomicU32,
}

pub(super) const EVENTS: FlowEvents = FlowEvents {
    download_success: EventId::PkcsDownloadSuccess,
    download_failure: EventId::PkcsDownloadFailure,
    downloaded_request: EventId::PkcsDownloadedRequest,
    attempt_failed: Some(EventId::PkcsIssuedFailedAttempt),
    failed: Some(EventId::PkcsIssuedFailure),
    upload_success: EventId::PkcsUploadSuccess,
    upload_failure: EventId::PkcsUploadFailure,
    uploaded_request: EventId::PkcsUploadedRequest,
    request_success: EventId::PkcsRequestSuccess,
    request_failure: EventId::PkcsRequestFailure,
};

#[derive(Debug)]
pub(super) struct ToyWorker {
    pub(super) flow: Flow,
    pub(super) ledger: Arc<Ledger>,
    pub(super) journal: Arc<VolatileJournal>,
    /// Marks results, to tell configurations apart.
    pub(super) mark: u8,
    pub(super) slots: Vec<SlotName>,
    /// The CAs that it has; any, when none is named.
    pub(super) cas: Vec<CaName>,
}

#[async_trait]
impl Worker for ToyWorker {
    fn flow(&self) -> Flow {
        self.flow
    }
    fn events(&self) -> FlowEvents {
        EVENTS
    }
    fn required_slots(&self) -> Vec<SlotName> {
        self.slots.clone()
    }
    fn findings(&self, _: &CryptoProvider) -> Vec<Finding> {
        Vec::new()
    }
    fn authorities(&self) -> Vec<(CaName, CaCapabilities)> {
        self.cas.iter().map(|ca| (ca.clone(), CaCapabilities::minimal())).collect()
    }
    fn with_authorities(&self, _: ReplaceCa<'_>) -> Arc<dyn Worker> {
        let (ledger, journal) = (Arc::clone(&self.ledger), Arc::clone(&self.journal));
        Arc::new(Self { flow: self.flow, ledger, journal, mark: self.mark, slots: self.slots.clone(), cas: self.cas.clone() })
    }
    fn accept(&self, _: &Context, item: QueueItem) -> Accepted {
        let Payload::Pkcs(request) = item.payload else {
            return Accepted::Refused(Outcome::Failed(Failure::new(ErrorClass::Request, "not a PKCS request")));
        };
        if !self.cas.is_empty() && !self.cas.contains(&request.ca) {
            return Accepted::Refused(Outcome::Failed(Failure::new(ErrorClass::Policy, "no such CA here")));
        }
        match request.subject.as_str() {
            "foreign" => return Accepted::Foreign("not ours".to_owned()),
            "refuse" => return Accepted::Refused(Outcome::Failed(Failure::new(ErrorClass::Policy, "refused by policy"))),
            "panic-accept" => panic!("planted"),
            _ => {}
        }
        Accepted::Task(Box::new(ToyTask {
            ca: request.ca.clone(),
            script: request.subject.clone(),
            ledger: Arc::clone(&self.ledger),
            journal: Arc::clone(&self.journal),
            mark: self.mark,
            stage: 0,
            tried: 0,
            waited: false,
        }))
    }
}

#[derive(Debug)]
struct ToyTask {
    ca: CaName,
    script: String,
    ledger: Arc<Ledger>,
    journal: Arc<VolatileJournal>,
    mark: u8,
    stage: u8,
    tried: u32,
    waited: bool,
}

impl ToyTask {
    fn number(&self, verb: &str) -> Option<u32> {
        self.script.strip_prefix(verb)?.parse().ok()
    }
}

/// Counts a worker as busy while it lives, also when its future is dropped.
struct BusyMark(Arc<Ledger>, CaName);

impl BusyMark {
    fn new(ledger: &Arc<Ledger>, ca: &CaName) -> Self {
        let busy = ledger.busy.fetch_add(1, Ordering::SeqCst) + 1;
        ledger.most_busy.fetch_max(busy, Ordering::SeqCst);
        let mut by_ca = ledger.busy_by_ca.lock().unwrap();
        let count = by_ca.entry(ca.clone()).or_insert(0);
        *count += 1;
        ledger.most_by_ca.fetch_max(*count, Ordering::SeqCst);
        Self(Arc::clone(ledger), ca.clone())
    }
}

impl Drop for BusyMark {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::SeqCst);
        if let Some(count) = self.0.busy_by_ca.lock().unwrap().get_mut(&self.1) {
            *count -= 1;
        }
    }
}

#[async_trait]
impl Task for ToyTask {
    fn ca(&self) -> Option<&CaName> {
        Some(&self.ca)
    }

    fn digicert_event(&self) -> Option<EventId> {
        (self.ca.as_str() == "Symantec").then_some(EventId::PkcsDigiCertRequest)
    }

    async fn step(&mut self, context: &Context, job: &Job) -> Step {
        match self.stage {
            0 => {
                self.stage = 1;
                return Step::Commit(RowState::Planned);
            }
            1 => {
                self.stage = 2;
                return Step::Commit(RowState::Asked);
            }
            _ => {}
        }
        if let Some(seconds) = self.number("wait:")
            && !self.waited
        {
            self.waited = true;
            return Step::Wait(Duration::from_secs(u64::from(seconds)));
        }
        let asked = self.journal.rows().iter().any(|row| row.key.key == job.key && row.state == RowState::Asked);
        self.ledger.unjournalled.fetch_add(u32::from(!asked), Ordering::SeqCst);
        *self.ledger.effects.lock().unwrap().entry(job.meta.id.clone()).or_insert(0) += 1;
        self.ledger.attempts.lock().unwrap().entry(job.meta.id.clone()).or_default().push(context.runtime.monotonic());
        self.ledger.found_first.fetch_add(u32::from(job.find_first), Ordering::SeqCst);
        let _busy = BusyMark::new(&self.ledger, &self.ca);
        if let Some(seconds) = self.number("slow:") {
            context.runtime.sleep(Duration::from_secs(u64::from(seconds))).await;
        }
        self.tried += 1;
        let failure = |text: &str| Failure::new(ErrorClass::Transient, text);
        match self.script.as_str() {
            "panic" => panic!("planted"),
            "fail" => Step::Failed(failure("failed for good")),
            "never" => core::future::pending().await,
            "throttled" if self.tried == 1 => Step::Retry { failure: failure("429"), retry: Retry::After(Duration::from_secs(90)) },
            "leave" => Step::LeaveToOthers("it is of another CA".to_owned()),
            "loop" => Step::Commit(RowState::Asked),
            _ if self.number("retry:").is_some_and(|times| self.tried <= times) => Step::retry(failure("the CA is away")),
            _ => Step::Done(self.result()),
        }
    }
}

impl ToyTask {
    fn result(&self) -> Outcome {
        let serial = SerialNumber::from_hex("0A").unwrap();
        let body = vec![self.mark; 40];
        let result = PkcsResult::new(body, vec![1], Thumbprint::new([7; 20]), serial, Timestamp::from_secs(1), self.ca.clone());
        Outcome::Pkcs(Box::new(result))
    }
}

/// Everything that a scenario needs.
#[derive(Debug)]
pub(super) struct Rig {
    pub(super) runtime: VirtualRuntime,
    pub(super) queue: Arc<InMemoryQueue>,
    pub(super) sink: Arc<RecordingSink>,
    pub(super) journal: Arc<VolatileJournal>,
    pub(super) ledger: Arc<Ledger>,
}

pub(super) fn id(text: &str) -> RequestId {
    text.parse().unwrap()
}

pub(super) fn item_for(request: &str, script: &str, ca: &str) -> QueueItem {
    let meta = RequestMeta::new(id(request), "tenant".parse().unwrap(), Flow::Pkcs);
    let payload = PkcsRequest::new(ca.parse().unwrap(), script, CertificateDer::from(vec![0x30, 0]));
    QueueItem::new(meta, Payload::Pkcs(Box::new(payload)))
}

pub(super) fn item(request: &str, script: &str) -> QueueItem {
    item_for(request, script, "Test CA")
}

impl Rig {
    pub(super) fn new() -> Self {
        Self {
            runtime: VirtualRuntime::new(Timestamp::from_secs(1_800_000_000)),
            queue: Arc::new(InMemoryQueue::new()),
            sink: Arc::new(RecordingSink::new()),
            journal: Arc::new(VolatileJournal::new()),
            ledger: Arc::default(),
        }
    }

    pub(super) fn settings(&self) -> QueueSettings {
        QueueSettings::new(Arc::clone(&self.queue) as Arc<dyn IntuneQueue>)
    }

    pub(super) fn spec(&self, settings: QueueSettings) -> FlowSpec {
        self.marked_spec(settings, 1)
    }

    pub(super) fn marked_spec(&self, settings: QueueSettings, mark: u8) -> FlowSpec {
        let (ledger, journal) = (Arc::clone(&self.ledger), Arc::clone(&self.journal));
        FlowSpec::new(Arc::new(ToyWorker { flow: Flow::Pkcs, ledger, journal, mark, slots: Vec::new(), cas: Vec::new() }), settings)
    }

    pub(super) fn spec_for(&self, settings: QueueSettings, cas: &[&str]) -> FlowSpec {
        let (ledger, journal) = (Arc::clone(&self.ledger), Arc::clone(&self.journal));
        let cas = cas.iter().map(|ca| ca.parse().unwrap()).collect();
        FlowSpec::new(Arc::new(ToyWorker { flow: Flow::Pkcs, ledger, journal, mark: 1, slots: Vec::new(), cas }), settings)
    }

    pub(super) fn builder(&self) -> ConnectorBuilder {
        self.builder_on(Arc::clone(&self.journal) as Arc<dyn Journal>)
    }

    pub(super) fn builder_on(&self, journal: Arc<dyn Journal>) -> ConnectorBuilder {
        Connector::builder(CryptoProvider::ring_and_aws_lc_rs(), journal)
            .tenant("tenant".parse().unwrap())
            .instance("one".parse().unwrap())
            .sink(Arc::clone(&self.sink) as _)
            .runtime(Arc::new(self.runtime.clone()))
            .sealing_key(crate::secret::SecretBytes::copy_from(&[7; 32]))
    }

    pub(super) fn connector(&self, settings: QueueSettings) -> Connector {
        self.builder().flow(self.spec(settings)).build().unwrap()
    }

    pub(super) fn sleep(&self, seconds: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.runtime.sleep(Duration::from_secs(seconds))
    }

    pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future).unwrap()
    }

    /// Runs for so many seconds of the manual clock, then stops and drains.
    pub(super) fn run_for(&self, connector: &Connector, seconds: u64) -> crate::connector::Summary {
        self.block_on(connector.run_until(self.sleep(seconds)))
    }

    pub(super) fn codes_of(&self, request: &str) -> Vec<u16> {
        self.sink.events_of(request).iter().map(|event| event.id.code()).collect()
    }

    pub(super) fn admin_count(&self, request: &str) -> usize {
        self.codes_of(request).iter().filter(|code| matches!(code, 1000 | 1001)).count()
    }
}
