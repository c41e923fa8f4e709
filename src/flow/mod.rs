//! What the queue-driven flows share: the contract between a flow and the engine that drives it.
//!
//! A flow turns a delivered item into a [`Task`]; the engine calls [`Task::step`] until it is done. A step that must be journalled first
//! answers [`Step::Commit`] and is called again once the state is stored: *journal before effect* is the engine's loop, not a habit.

pub(crate) mod ca_gate;
pub(crate) mod credential;
mod fips;
#[cfg_attr(not(any(feature = "pkcs", feature = "scep")), allow(dead_code, reason = "the flows that plan certificates keep their plans"))]
pub(crate) mod plan;
pub(crate) mod record;
pub(crate) mod seal;
mod settings;

use core::fmt::Debug;
use core::future::Future;
use core::pin::pin;
use core::sync::atomic::{AtomicI64, Ordering};
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::{Either, select};

#[cfg(any(feature = "pkcs", feature = "import"))]
pub(crate) use fips::envelope_findings;
pub(crate) use fips::module_findings;
pub use settings::{Finding, QueueSettings};

use crate::crypto::{CryptoProvider, SlotName};
use crate::event::{Event, EventId, EventKey};
use crate::ids::{CaName, IdempotencyKey, InstanceId, TenantId};
use crate::limits::Limits;
use crate::ports::{Busy, CaCapabilities, CertificateAuthority, EventSink, Failure, Outcome, QueueItem, RequestMeta, RowState, Runtime};
use crate::retry::{ErrorClass, Retry};
use crate::terms::Flow;
use crate::time::Timestamp;

/// The event ids of one flow, so that the engine can raise them without knowing the flow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FlowEvents {
    pub(crate) download_success: EventId,
    pub(crate) download_failure: EventId,
    pub(crate) downloaded_request: EventId,
    /// Raised by the engine for each failed attempt that will be repeated.
    pub(crate) attempt_failed: Option<EventId>,
    /// Raised by the engine once when a request fails for good; absent where the task raises its own.
    pub(crate) failed: Option<EventId>,
    pub(crate) upload_success: EventId,
    pub(crate) upload_failure: EventId,
    pub(crate) uploaded_request: EventId,
    /// Admin, after the queue accepted a success.
    pub(crate) request_success: EventId,
    /// Admin, after the queue accepted a failure, or when a request ended without upload.
    pub(crate) request_failure: EventId,
}

/// What every flow needs of its surroundings.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) tenant: TenantId,
    pub(crate) instance: InstanceId,
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) sink: Arc<dyn EventSink>,
    pub(crate) limits: Limits,
    /// One for each CA, shared by all flows.
    pub(crate) gates: Arc<ca_gate::Gates>,
}

impl Context {
    /// Builds and emits an event when the sink wants it; a panic of the sink is contained.
    pub(crate) fn emit(&self, id: EventId, scope: EventScope<'_>, fill: impl FnOnce(Event) -> Event) {
        let wanted = catch_unwind(AssertUnwindSafe(|| self.sink.enabled(id))).unwrap_or(false);
        if wanted {
            let key = EventKey {
                tenant: self.tenant.clone(),
                instance: self.instance.clone(),
                flow: scope.flow,
                scope: crate::event::printable(scope.name),
                delivery: scope.delivery,
                attempt: scope.attempt,
                event: id,
            };
            let event = fill(Event::new(key, self.runtime.now()));
            let _ = catch_unwind(AssertUnwindSafe(|| self.sink.emit(&event)));
        }
    }

    /// Uniform over all of `u64`; the greatest when there is no randomness, so that pauses are the longest.
    pub(crate) fn random(&self) -> u64 {
        let mut bytes = [0xff; 8];
        if let Ok(random) = self.provider.random()
            && random.fill(&mut bytes).is_err()
        {
            bytes = [0xff; 8];
        }
        u64::from_be_bytes(bytes)
    }

    /// Awaits a call of an adapter, and abandons it after `limit`: its effect is then unknown. `None` says that it gave no answer in time.
    pub(crate) async fn within<T>(&self, limit: Duration, call: impl Future<Output = T>) -> Option<T> {
        match select(pin!(call), self.runtime.sleep(limit)).await {
            Either::Left((answer, _)) => Some(answer),
            Either::Right(((), _)) => None,
        }
    }

    /// Runs CPU work on the runtime's threads; a panic in it comes back as an error.
    pub(crate) async fn offload<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, OffloadError> {
        let (done, result) = futures_channel::oneshot::channel();
        self.runtime.offload(Box::new(move || {
            let _ = done.send(catch_unwind(AssertUnwindSafe(job)));
        }))?;
        match result.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_)) | Err(_) => Err(OffloadError::Panicked),
        }
    }
}

/// What an event is about, for its deterministic key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventScope<'a> {
    pub(crate) flow: Option<Flow>,
    pub(crate) name: &'a str,
    pub(crate) delivery: u32,
    pub(crate) attempt: u32,
}

/// Why off-loaded work gave no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OffloadError {
    #[error("too much CPU work is waiting; the request is tried again")]
    Busy,
    #[error("code panicked while it worked on the request; the panic was contained")]
    Panicked,
}

impl From<Busy> for OffloadError {
    fn from(_: Busy) -> Self {
        Self::Busy
    }
}

impl From<OffloadError> for Step {
    fn from(error: OffloadError) -> Self {
        match error {
            OffloadError::Busy => Self::retry(Failure::new(ErrorClass::Transient, error.to_string())),
            OffloadError::Panicked => Self::Failed(Failure::new(ErrorClass::Internal, error.to_string())),
        }
    }
}

/// How long a call of a key store or of a remote key may take unless configured otherwise; HSMs answer within a second.
pub(crate) const KEY_TIMEOUT: Duration = Duration::from_secs(30);

/// The mistake of a time-out that lets no key ever answer.
pub(crate) fn key_timeout_finding(flow: &str, timeout: Duration) -> Option<Finding> {
    let finding = || Finding::new(format!("{flow}.key_timeout"), "every call of a key would be abandoned at once", "set more than zero");
    timeout.is_zero().then(finding)
}

/// One request on its way through the engine.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) meta: RequestMeta,
    pub(crate) key: IdempotencyKey,
    /// From 1.
    pub(crate) delivery: u32,
    /// From 1; raised by each [`Step::Retry`].
    pub(crate) attempt: u32,
    pub(crate) deadline: Timestamp,
    /// The CA must be asked by `find` before the first ask: another instance may have asked it.
    pub(crate) find_first: bool,
    /// Until when the request is certainly this instance's.
    pub(crate) lease: Arc<Lease>,
}

/// How long a request is certainly this instance's, by both clocks: the monotonic one may stand still while the machine sleeps, the wall clock may
/// be set back.
#[derive(Debug)]
pub(crate) struct Lease {
    /// Microseconds of the monotonic clock; `i64::MAX` when nobody else can have it.
    monotonic: AtomicI64,
    wall: AtomicI64,
}

impl Lease {
    /// One that nobody can take away: the journal is this instance's alone.
    pub(crate) fn for_ever() -> Arc<Self> {
        Arc::new(Self { monotonic: AtomicI64::new(i64::MAX), wall: AtomicI64::new(i64::MAX) })
    }

    /// One that is over until it is prolonged.
    pub(crate) fn over() -> Arc<Self> {
        Arc::new(Self { monotonic: AtomicI64::new(i64::MIN), wall: AtomicI64::new(i64::MIN) })
    }

    /// Prolongs it, from when the journal was asked to.
    pub(crate) fn prolong(&self, asked: (Duration, Timestamp), lease: Duration) {
        if self.monotonic.load(Ordering::Acquire) == i64::MAX {
            return;
        }
        // A quarter less than the journal's, so that it ends here before it ends there.
        let sure = lease - lease / 4;
        self.wall.store(asked.1.saturating_add(sure).as_micros(), Ordering::Release);
        self.monotonic.store(i64::try_from(asked.0.saturating_add(sure).as_micros()).unwrap_or(i64::MAX - 1), Ordering::Release);
    }

    /// Whether the request is certainly still this instance's.
    pub(crate) fn holds(&self, runtime: &dyn Runtime) -> bool {
        let monotonic = i64::try_from(runtime.monotonic().as_micros()).unwrap_or(i64::MAX - 1);
        let end = self.monotonic.load(Ordering::Acquire);
        end == i64::MAX || (monotonic < end && runtime.now().as_micros() < self.wall.load(Ordering::Acquire))
    }
}

impl Job {
    /// The scope of the request's events at its present attempt.
    pub(crate) fn scope(&self) -> EventScope<'_> {
        EventScope { flow: Some(self.meta.flow), name: self.meta.id.as_str(), delivery: self.delivery, attempt: self.attempt }
    }

    /// Emits an event about this request, with its correlation ids.
    pub(crate) fn emit(&self, context: &Context, id: EventId, fill: impl FnOnce(Event) -> Event) {
        context.emit(id, self.scope(), |event| fill(event.with_correlation(self.meta.correlation.clone())));
    }
}

/// What a flow makes of a delivered item.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// Work to do.
    Task(Box<dyn Task>),
    /// Not for this connector: left to others, never answered.
    Foreign(String),
    /// Ours, but it cannot be served: the outcome is uploaded.
    Refused(Outcome),
}

/// Gives the CA that stands in for the one of that name.
pub(crate) type ReplaceCa<'a> = &'a dyn Fn(&CaName, Arc<dyn CertificateAuthority>) -> Arc<dyn CertificateAuthority>;

/// One flow, as the engine sees it.
#[async_trait]
pub(crate) trait Worker: Debug + Send + Sync {
    /// Which flow.
    fn flow(&self) -> Flow;
    /// Its events.
    fn events(&self) -> FlowEvents;
    /// The slots of the provider that it needs as configured; `build()` refuses a provider without them.
    fn required_slots(&self) -> Vec<SlotName>;
    /// What is wrong with its configuration, beside its [`QueueSettings`] and missing slots, which the builder checks.
    fn findings(&self, provider: &CryptoProvider) -> Vec<Finding>;
    /// The settings that hold a private key which does not say that it is inside a FIPS module.
    fn keys_outside_fips(&self) -> Vec<String> {
        Vec::new()
    }
    /// The CAs that it uses and what they can do, for the guarantees.
    fn authorities(&self) -> Vec<(CaName, CaCapabilities)> {
        Vec::new()
    }
    /// The certificates that it works with, watched for their end.
    fn credentials(&self) -> Vec<credential::Credential> {
        Vec::new()
    }
    /// The same flow over other CAs, sharing no state with this one: a dry run puts CAs in front of its own that issue and revoke nothing.
    fn with_authorities(&self, replace: ReplaceCa<'_>) -> Arc<dyn Worker>;
    /// Told often whether the flow has nothing to do at the moment: it may then use CPU threads to prepare, and has to stop that otherwise.
    /// Called with `false` when a run ends.
    fn set_idle(&self, context: &Context, is_idle: bool) {
        let _ = (context, is_idle);
    }
    /// Looks at an item. Cheap: no crypto, no waiting. `Malformed` and `Unknown` payloads are handled by the engine.
    fn accept(&self, context: &Context, item: QueueItem) -> Accepted;
    /// As `accept`, for a request that was begun before: with what its task kept.
    fn resume(&self, context: &Context, item: QueueItem, kept: Resumed<'_>) -> Accepted {
        let _ = kept;
        self.accept(context, item)
    }
    /// Looks for certificates that nobody gets, by what a task told in [`Task::suspicion`], and revokes those that are not `delivered`.
    async fn sweep(&self, context: &Context, suspicion: &record::RecordReader, delivered: Option<&[u8]>) -> Swept {
        let _ = (context, suspicion, delivered);
        Swept::CannotTell
    }
}

/// What is known of a request that was begun before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resumed<'a> {
    /// What its task kept.
    pub(crate) task: &'a crate::secret::SecretBytes,
    /// What the CA knows the request by.
    pub(crate) key: IdempotencyKey,
    /// As in [`Job`].
    pub(crate) find_first: bool,
}

/// A configured flow, as the connector's builder takes it. Every flow's config converts into one.
#[derive(Debug, Clone)]
pub struct FlowSpec {
    pub(crate) worker: Arc<dyn Worker>,
    pub(crate) settings: QueueSettings,
}

impl FlowSpec {
    /// A flow from its worker; each config's `From` calls this.
    pub(crate) fn new(worker: Arc<dyn Worker>, settings: QueueSettings) -> Self {
        Self { worker, settings }
    }

    /// Which flow.
    #[must_use]
    pub fn flow(&self) -> Flow {
        self.worker.flow()
    }
}

/// The work on one request. It keeps what it has made (key pair, CSR, certificate) between steps and attempts.
#[async_trait]
pub(crate) trait Task: Debug + Send {
    /// The CA that it needs, for the limit per CA.
    fn ca(&self) -> Option<&CaName>;

    /// Whether it is for DigiCert: the CA is named `Symantec`. The engine raises 1032 or 3032 after the downloaded-request event.
    fn digicert_event(&self) -> Option<EventId> {
        None
    }

    /// Does the next piece of work.
    async fn step(&mut self, context: &Context, job: &Job) -> Step;

    /// What it has made so far and must not make again. The engine stores it, sealed, with each state, and gives it back to
    /// [`Worker::resume`] when another process goes on.
    fn keep(&self) -> Kept {
        Kept::default()
    }

    /// What is to be watched at the CA since it was asked, or may have issued, without anybody getting that certificate. Stored in the
    /// ledger of orphans together with the next state; `ended` says that the request has failed.
    fn suspicion(&self, ended: bool) -> Option<Suspicion> {
        let _ = ended;
        None
    }

    /// What is to be watched, as in [`Suspicion`], should the queue not take the result.
    fn if_not_taken(&self) -> Option<crate::secret::SecretBytes> {
        None
    }

    /// Called once when the request ends without a result of this task: reports a certificate that exists, or may, and that nobody gets.
    fn left_behind(&self, _context: &Context, _job: &Job, _why: &str) {}

    /// The outcome to upload after the last attempt failed, or the deadline passed.
    fn give_up(&mut self, failure: Failure) -> Outcome {
        Outcome::Failed(failure)
    }
}

/// What a task keeps in its row.
#[derive(Default)]
pub(crate) struct Kept {
    /// The flow's own record; it may hold a private key.
    pub(crate) task: Option<record::RecordWriter>,
    /// The certificate that the CA issued, and the CA's own name for it.
    pub(crate) certificate: Option<(Vec<u8>, Option<String>)>,
}

/// What may exist at a CA that nobody gets.
pub(crate) struct Suspicion {
    /// The flow's own record, for [`Worker::sweep`]: no private key.
    pub(crate) record: crate::secret::SecretBytes,
    /// How many certificates it may be.
    pub(crate) most: u32,
    /// When to look first, from now.
    pub(crate) after: Duration,
}

/// What a look at the CA for certificates that nobody gets brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Swept {
    /// These serial numbers are revoked now; the others that may exist have not shown up.
    Revoked(Vec<String>),
    /// The CA has issued nothing else so far.
    Nothing,
    /// The CA cannot tell: an operator must look.
    CannotTell,
    /// It could not be asked, or did not revoke: later.
    NotNow(String),
}

/// What a step asks the engine to do.
#[derive(Debug)]
pub(crate) enum Step {
    /// Store this state, then call `step` again. Nothing outside has been done since the last one.
    Commit(RowState),
    /// Make sure that the request is still this instance's, then call `step` again.
    Renew,
    /// The request is done; upload this. A failure outcome raises the flow's `failed` event.
    Done(Outcome),
    /// It failed for good: like `Done` with what `give_up` makes of it.
    Failed(Failure),
    /// This attempt failed; try again with backoff unless it was the last.
    Retry { failure: Failure, retry: Retry },
    /// It turned out not to be for this connector: never answered, and reported as `Accepted::Foreign` is.
    LeaveToOthers(String),
    /// Not an attempt: call again after this time.
    Wait(Duration),
    /// The same; the CA has it in hand, so it may be given back to the journal meanwhile.
    Pending(Duration),
}

impl Step {
    /// A retry with the engine's own backoff.
    pub(crate) fn retry(failure: Failure) -> Self {
        Self::Retry { failure, retry: Retry::Later }
    }

    /// What an error of a port means for the request.
    pub(crate) fn from_port_error(error: &crate::ports::PortError) -> Self {
        let failure = Failure::new(error.class(), error.to_string()).with_code(error.code().map(str::to_owned));
        match error.retry() {
            Retry::Never => Self::Failed(failure),
            retry => Self::Retry { failure, retry },
        }
    }
}
