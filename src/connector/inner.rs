//! What the parts of the engine share: context, journal, what is in hand, and guarded calls of the ports.

use core::future::Future;
use core::pin::pin;
use core::time::Duration;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};

use super::content::Content;
use super::engine::RunState;
use super::fleet::Fleet;
use super::handle::Control;
use super::intake::row_key;
use super::schedule;
use crate::event::EventId;
use crate::flow::credential::{Credential, WatchedCredential};
use crate::flow::seal::{SealError, Sealer};
use crate::flow::{Context, EventScope, FlowEvents, FlowSpec, Job, Lease, QueueSettings, Suspicion, Task};
use crate::health::HealthConfig;
use crate::ids::{CaName, IdempotencyKey, RequestId};
use crate::ports::{
    Change, CommitAnswer, ExtendLeaseRequest, Journal, LoadRequest, Outcome, PortError, PruneRequest, RenewRequest, Row, RowKey, RowState,
};
use crate::retry::Retry;
use crate::terms::Flow;
use crate::time::Timestamp;

/// How long parked requests are kept for an operator.
const KEEP_PARKED: Duration = Duration::from_secs(90 * 86_400);

/// What the user set beside the flows.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) ca_concurrency: usize,
    pub(super) drain_timeout: Duration,
    pub(super) retention: Duration,
    pub(super) upload_patience: Duration,
    pub(super) journal_timeout: Duration,
    pub(super) lease: Duration,
    pub(super) hold: schedule::HoldLimits,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) context: Context,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) sealer: Sealer,
    pub(super) options: Options,
    pub(super) health: Option<HealthConfig>,
    pub(super) watched: Vec<WatchedCredential>,
    pub(super) counts: Arc<crate::health::CountingSink>,
    pub(super) control: Control,
    pub(super) fleet: Fleet,
    pub(super) known: Mutex<Known>,
    pub(super) in_hand: Arc<InHandKeys>,
    /// What is in hand between two runs; locked while one runs.
    pub(super) state: futures_util::lock::Mutex<RunState>,
    pub(super) built: Timestamp,
}

impl Inner {
    /// What adapters work with, as far as its end is known.
    pub(super) fn watched_credentials(&self) -> Vec<Credential> {
        self.watched.iter().filter_map(WatchedCredential::now).collect()
    }

    /// All credentials, the flows' too.
    pub(super) fn credentials(&self) -> Vec<Credential> {
        let mut credentials = self.watched_credentials();
        credentials.extend(self.control.flows().values().flat_map(|control| control.spec.worker.credentials()));
        credentials
    }
}

/// What was seen lately, bounded.
#[derive(Debug)]
pub(super) struct Known {
    /// The key of a request's payload, or half of it, by a keyed hash of flow and id: small, since there are many.
    keys: Bounded<u128, u128>,
    secrets: [RandomState; 2],
    /// Which oddities were reported already.
    pub(super) noted: Bounded<(EventId, IdempotencyKey), ()>,
}

impl Known {
    pub(super) fn new() -> Self {
        Self { keys: Bounded::new(65_536), secrets: [RandomState::new(), RandomState::new()], noted: Bounded::new(65_536) }
    }

    fn place(&self, flow: Flow, id: &RequestId) -> u128 {
        let [high, low] = [0, 1].map(|part: usize| u128::from(self.secrets[part].hash_one((flow, id))));
        high << 64 | low
    }

    /// Whether the request was seen with another payload.
    pub(super) fn is_other(&self, flow: Flow, id: &RequestId, key: IdempotencyKey) -> bool {
        self.keys.get(&self.place(flow, id)).is_some_and(|known| *known != half(key))
    }

    pub(super) fn remember(&mut self, flow: Flow, id: &RequestId, key: IdempotencyKey) {
        self.keys.insert(self.place(flow, id), half(key));
    }
}

fn half(key: IdempotencyKey) -> u128 {
    key.as_bytes().iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte))
}

/// A map that forgets its oldest entries.
#[derive(Debug)]
pub(super) struct Bounded<K, V> {
    most: usize,
    map: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V> Bounded<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, map: HashMap::new(), order: VecDeque::new() }
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key)
    }

    /// Says whether it is new.
    pub(super) fn insert(&mut self, key: K, value: V) -> bool {
        let new = self.map.insert(key.clone(), value).is_none();
        if new {
            self.order.push_back(key);
            if self.order.len() > self.most
                && let Some(oldest) = self.order.pop_front()
            {
                self.map.remove(&oldest);
            }
        }
        new
    }
}

/// Marks a request as in hand; taken back when dropped, also by an abandoned run.
#[derive(Debug)]
pub(super) struct InHand {
    keys: Arc<InHandKeys>,
    key: IdempotencyKey,
}

/// A request in hand, as the heartbeat needs it.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) flow: Flow,
    pub(super) id: RequestId,
    pub(super) epoch: u64,
    pub(super) lease: Arc<Lease>,
}

/// The requests in hand.
pub(super) type InHandKeys = Mutex<HashMap<IdempotencyKey, Taken>>;

impl InHand {
    /// `None` when it is in hand already.
    pub(super) fn take(keys: &Arc<InHandKeys>, key: IdempotencyKey, taken: Taken) -> Option<Self> {
        match keys.lock().unwrap_or_else(PoisonError::into_inner).entry(key) {
            Entry::Occupied(_) => None,
            Entry::Vacant(place) => {
                place.insert(taken);
                Some(Self { keys: Arc::clone(keys), key })
            }
        }
    }

    /// Under this epoch from now on.
    pub(super) fn under(&self, epoch: u64) {
        if let Some(taken) = self.keys.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&self.key) {
            taken.epoch = epoch;
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// A request in hand.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) job: Job,
    pub(super) row: Row,
    pub(super) content: Content,
    pub(super) ca: Option<CaName>,
    pub(super) events: FlowEvents,
    pub(super) received: Duration,
    /// When it is worked on or uploaded next, by the monotonic clock.
    pub(super) due: Duration,
    /// In which run it was last worked on; `run_once` touches each once.
    pub(super) round: u64,
    /// Whoever had it before ended without saying so: it may be what ended it.
    pub(super) is_suspect: bool,
    pub(super) in_hand: InHand,
}

/// A request to be worked on.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) held: Box<Held>,
    pub(super) task: Box<dyn Task>,
    /// A state that the task asked to commit and that is not stored yet.
    pub(super) uncommitted: Option<RowState>,
    /// Waits for the journal, which are not attempts.
    pub(super) journal_failures: u32,
}

/// A result to be uploaded.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) held: Box<Held>,
    pub(super) outcome: Outcome,
    pub(super) uploads: u32,
    /// How many calls with it failed as a whole; see [`schedule::upload_size`].
    pub(super) failed_calls: u32,
    /// An answer to a repeated delivery of a finished request: no events, no journal.
    pub(super) repeat: bool,
    pub(super) since: Timestamp,
}

impl Inner {
    pub(super) fn now(&self) -> Timestamp {
        self.context.runtime.now()
    }

    pub(super) fn monotonic(&self) -> Duration {
        self.context.runtime.monotonic()
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Emits an event about a batch, or about the connector itself. Its scope holds the time at which the connector was built, so that
    /// numbers that start again after a restart do not look like repeats.
    pub(super) fn emit(
        &self,
        id: EventId,
        flow: Option<Flow>,
        what: &str,
        number: u32,
        fill: impl FnOnce(crate::event::Event) -> crate::event::Event,
    ) {
        let name = format!("{what}@{}", self.built);
        self.context.emit(id, EventScope { flow, name: &name, delivery: number, attempt: 0 }, fill);
    }

    /// A backoff before the next try, with jitter from the provider; the longest when there is no randomness.
    pub(super) fn backoff(&self, settings: &QueueSettings, failures: u32, retry: Retry) -> Duration {
        schedule::backoff(failures, settings.backoff_base, settings.backoff_cap, retry, self.context.random())
    }

    /// Calls a port: a panic is contained and reported, and a call that takes too long is abandoned.
    pub(super) async fn guarded<T>(
        &self,
        what: &str,
        flow: Option<Flow>,
        limit: Duration,
        call: impl Future<Output = Result<T, PortError>>,
    ) -> Result<T, PortError> {
        let call = pin!(AssertUnwindSafe(call).catch_unwind());
        match select(call, self.context.runtime.sleep(limit)).await {
            Either::Left((Ok(result), _)) => result,
            Either::Left((Err(_), _)) => {
                let number = self.control.next_number();
                self.emit(EventId::PanicContained, flow, what, number, |event| event.with_detail("where", what));
                Err(PortError::transient(format!("the adapter panicked in `{what}`")))
            }
            Either::Right(((), _)) => Err(PortError::transient(format!("`{what}` gave no answer within {limit:?}"))),
        }
    }

    pub(super) fn journal_failed(&self, what: &str, error: &PortError) {
        let number = self.control.next_number();
        self.emit(EventId::JournalFailure, None, what, number, |event| {
            event.with_error_class(error.class()).with_message(&error.to_string())
        });
    }

    /// Stores rows. `None` after an error, which is reported: nothing may be done that depends on it.
    pub(super) async fn commit(&self, rows: Vec<Row>) -> Option<Vec<CommitAnswer>> {
        if rows.is_empty() {
            return Some(Vec::new());
        }
        let count = rows.len();
        let lease = self.options.lease;
        let change = |row: Row| if row.owner.is_some() { Change::new(row).with_lease(lease) } else { Change::new(row) };
        let changes = rows.into_iter().map(change).collect();
        let call = async { self.journal.commit(changes).await };
        match self.guarded("Journal::commit", None, self.options.journal_timeout, call).await {
            Ok(answers) if answers.len() == count => Some(answers),
            Ok(_) => {
                self.journal_failed("Journal::commit", &PortError::transient("the journal did not answer for each change"));
                None
            }
            Err(error) => {
                self.journal_failed("Journal::commit", &error);
                None
            }
        }
    }

    /// The row of a request as it shall be, with its content. `None` when it cannot be sealed, which is reported.
    pub(super) fn next_row(&self, row: &Row, content: &Content, state: RowState) -> Option<Row> {
        let mut next = row.clone();
        self.stamp(&mut next, state);
        self.seal(next, content)
    }

    /// Puts the content into a row that is otherwise as it shall be.
    pub(super) fn seal(&self, mut row: Row, content: &Content) -> Option<Row> {
        match self.sealer.seal(&row, content.encode().bytes()) {
            Ok(blob) => {
                row.blob = blob;
                Some(row)
            }
            Err(error) => {
                self.journal_failed("seal", &PortError::misconfigured(error.to_string()));
                None
            }
        }
    }

    /// The content of a row; an error when its seal or its content is not as we write it.
    pub(super) fn open(&self, row: &Row) -> Result<Content, SealError> {
        Content::decode(self.sealer.open(row)?).ok_or(SealError::Foreign)
    }

    /// Stores a request in a new state and takes over its new version.
    pub(super) async fn advance(&self, held: &mut Held, state: RowState) -> Stored {
        self.advance_with(held, state, None).await
    }

    /// The same, together with what its task suspects at the CA.
    pub(super) async fn advance_with(&self, held: &mut Held, state: RowState, suspicion: Option<Suspicion>) -> Stored {
        let Some(mut next) = self.next_row(&held.row, &held.content, state) else { return Stored::Unknown };
        let asked = self.clocks();
        let orphan = match suspicion {
            Some(suspicion) => match self.orphan_row(held, suspicion).await {
                Some(orphan) => orphan,
                None => return Stored::Unknown,
            },
            None => None,
        };
        let stored = match self.store(&mut next, orphan).await {
            Stored::Conflict => self.adopt(held, &mut next).await,
            stored => stored,
        };
        if stored == Stored::Yes {
            held.row = next;
            held.job.lease.prolong(asked, self.options.lease);
        }
        stored
    }

    pub(super) fn is_in_hand(&self, key: IdempotencyKey) -> bool {
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&key)
    }

    pub(super) fn clocks(&self) -> (Duration, Timestamp) {
        (self.monotonic(), self.now())
    }

    /// Stores one row, and another one with it, whose answer does not matter: it says the same each time.
    async fn store(&self, row: &mut Row, beside: Option<Row>) -> Stored {
        let rows = core::iter::once(row.clone()).chain(beside).collect();
        match self.commit(rows).await.as_deref() {
            None => Stored::Unknown,
            Some([CommitAnswer::Stored(version), ..]) => {
                row.version = *version;
                Stored::Yes
            }
            Some(_) => Stored::Conflict,
        }
    }

    /// After a conflict: an earlier commit of ours whose answer was lost may be what is stored. Only one worker of this process has the
    /// row in hand, so a later version under this owner and epoch is such a commit, and the wanted state goes on top of it.
    async fn adopt(&self, held: &Held, next: &mut Row) -> Stored {
        let Some(rows) = self.load(vec![held.row.key]).await else { return Stored::Unknown };
        match rows.into_iter().next() {
            Some(stored) if stored.owner == next.owner && stored.lease_epoch == next.lease_epoch && stored.version > next.version => {
                next.version = stored.version;
                self.store(next, None).await
            }
            _ => Stored::Conflict,
        }
    }

    pub(super) fn stamp(&self, row: &mut Row, state: RowState) {
        let now = self.now();
        row.state = state;
        row.updated = now;
        if state.is_final() {
            row.owner = None;
        } else {
            row.owner = Some(self.context.instance.clone());
            row.lease_until = now.saturating_add(self.options.lease);
        }
    }

    /// Gives a request back to the journal: whoever is free takes it when it is due.
    pub(super) async fn give_back(&self, held: &mut Held, due: Timestamp) -> bool {
        let mut row = held.row.clone();
        (row.owner, row.due, row.updated) = (None, due, self.now());
        row.attempt = held.job.attempt.saturating_sub(1);
        held.content.given_back = true;
        let row = self.seal(row, &held.content);
        held.content.given_back = false;
        let Some(row) = row else { return false };
        // In a conflict somebody else has it: it is none of ours either way.
        self.commit(vec![row]).await.is_some()
    }

    /// Makes sure that a request is still ours.
    pub(super) async fn renew_one(&self, held: &Held) -> Stored {
        let asked = self.clocks();
        match self.renew(vec![(held.row.key, held.row.lease_epoch)]).await {
            None => Stored::Unknown,
            Some(kept) if kept.contains(&held.row.key) => {
                held.job.lease.prolong(asked, self.options.lease);
                Stored::Yes
            }
            Some(_) => Stored::Conflict,
        }
    }

    async fn renew(&self, rows: Vec<(RowKey, u64)>) -> Option<Vec<RowKey>> {
        let request = RenewRequest::new(rows, self.context.instance.clone(), self.now(), self.options.lease);
        let call = async { self.journal.renew(request).await };
        match self.guarded("Journal::renew", None, self.options.journal_timeout, call).await {
            Ok(kept) => Some(kept),
            Err(error) => {
                self.journal_failed("Journal::renew", &error);
                None
            }
        }
    }

    /// Keeps what is in hand from others.
    pub(super) async fn heartbeat(&self) {
        let held: Vec<(RowKey, u64, Arc<Lease>)> = {
            let in_hand = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
            in_hand.iter().map(|(key, taken)| (row_key(*key), taken.epoch, Arc::clone(&taken.lease))).collect()
        };
        if held.is_empty() {
            return;
        }
        let asked = self.clocks();
        let Some(kept) = self.renew(held.iter().map(|(key, epoch, _)| (*key, *epoch)).collect()).await else { return };
        let kept: std::collections::HashSet<RowKey> = kept.into_iter().collect();
        held.iter().filter(|(key, ..)| kept.contains(key)).for_each(|(_, _, lease)| lease.prolong(asked, self.options.lease));
    }

    /// Reads rows. `None` after an error, which is reported.
    pub(super) async fn load(&self, keys: Vec<RowKey>) -> Option<Vec<Row>> {
        let call = async { self.journal.load(LoadRequest::Keys(keys)).await };
        match self.guarded("Journal::load", None, self.options.journal_timeout, call).await {
            Ok(rows) => Some(rows),
            Err(error) => {
                self.journal_failed("Journal::load", &error);
                None
            }
        }
    }

    /// Forgets rows past their retention, a bounded number at a time.
    pub(super) async fn prune(&self) {
        if let Some(problem) = self.sealer.problem() {
            self.journal_failed("sealing keys", &PortError::misconfigured(problem));
        }
        let before = self.now().saturating_sub(self.options.retention);
        let parked = self.now().saturating_sub(self.options.retention.max(KEEP_PARKED));
        for _ in 0..16 {
            let call = async { self.journal.prune(PruneRequest::new(before, 1_000).with_parked_before(parked).at(self.now())).await };
            match self.guarded("Journal::prune", None, self.options.journal_timeout, call).await {
                Ok(1_000..) => {}
                Ok(_) => return,
                Err(error) => return self.journal_failed("Journal::prune", &error),
            }
        }
    }

    /// Asks the journal for its sizes. After an error, which is reported, the last answer stands.
    pub(super) async fn look_at_journal(&self) {
        let call = async { self.journal.stats().await };
        match self.guarded("Journal::stats", None, self.options.journal_timeout, call).await {
            Ok(stats) => self.control.set_journal((stats, self.now())),
            Err(error) => self.journal_failed("Journal::stats", &error),
        }
    }

    /// Prolongs the queue's leases of what is in hand of a flow.
    pub(super) async fn extend_leases(&self, spec: &FlowSpec) {
        let flow = spec.flow();
        let requests: Vec<RequestId> = {
            let in_hand = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
            in_hand.values().filter(|taken| taken.flow == flow).map(|taken| taken.id.clone()).collect()
        };
        if requests.is_empty() {
            return;
        }
        let request = ExtendLeaseRequest::new(flow, self.context.instance.clone(), requests);
        let queue = Arc::clone(&spec.settings.queue);
        let call = async { queue.extend_lease(request).await };
        // Work goes on without the lease: what another instance does as well is told apart by key, and at the CA by `find`.
        let _ = self.guarded("IntuneQueue::extend_lease", Some(flow), spec.settings.call_timeout, call).await;
    }
}

/// Whether a state is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    Yes,
    /// Another owner has the row.
    Conflict,
    /// The journal failed.
    Unknown,
}
