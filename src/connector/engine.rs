//! The loop: starts polls, attempts and uploads when they are due and there is room, and takes their ends.

use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::Poll;
use core::time::Duration;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::handle::FlowMode;
use super::inner::{Active, Inner, Ready};
use super::intake::{self, Taken};
use super::schedule::{self, HeldBack, SUSPECT, Yield};
use super::{claim, stranded, upload, work};
use crate::event::EventId;
use crate::flow::FlowSpec;
use crate::flow::credential::CHECK_INTERVAL;
use crate::health;
use crate::ids::CaName;
use crate::ports::{HealthMessage, JournalScope};
use crate::terms::Flow;
use crate::time::Timestamp;

/// How often the ledger of orphans is looked at for rows that are due.
const SWEEP_PAUSE: Duration = Duration::from_secs(30);
/// How often requests are looked for that no instance can do any more.
const STRANDED_PAUSE: Duration = Duration::from_secs(60);
/// A request that waits for longer may be given back to the journal.
const LONG_WAIT: Duration = Duration::from_secs(60);

/// How often the journal is asked for its sizes: its answer may cost it a look at all of its rows.
const STATS_PAUSE: Duration = Duration::from_secs(60);

/// How long a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One poll a flow, one attempt a request.
    Once,
    /// Until told to stop.
    Until,
}

/// How a run ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) next_due: Option<Duration>,
    pub(super) held: usize,
}

/// What is in hand, also between runs.
#[derive(Debug, Default)]
pub(super) struct RunState {
    flows: BTreeMap<Flow, FlowState>,
    round: u64,
    next_prune: Option<Duration>,
    next_stats: Option<Duration>,
    asking_stats: bool,
    next_heartbeat: Option<Duration>,
    next_credential_check: Option<Duration>,
    next_health: Option<Duration>,
    sending_health: bool,
    health_round: u64,
    /// When this instance's place is taken, or kept, next.
    next_place: Duration,
    attending: bool,
    /// In which run a place was last wanted; `run_once` tries once.
    place_round: u64,
}

#[derive(Debug, Default)]
struct FlowState {
    next_poll: Duration,
    next_claim: Duration,
    claiming: bool,
    claim_failures: u32,
    claim_round: u64,
    /// What an earlier run had in hand was claimed; nothing else is begun before that.
    has_own: bool,
    /// The journal has more rows that are due than were claimed: nothing is downloaded meanwhile.
    backlog: bool,
    next_sweep: Option<Duration>,
    sweeping: bool,
    next_strand: Option<Duration>,
    stranding: bool,
    poll_failures: u32,
    poll_round: u64,
    polling: bool,
    number: u32,
    /// To be worked on, in order of arrival, and when each is due.
    active: VecDeque<Active>,
    working: usize,
    results: VecDeque<Ready>,
    /// Accepted results whose end is not stored yet.
    unclosed: Vec<upload::Unclosed>,
    closing: bool,
    repeats: VecDeque<Ready>,
    uploading: usize,
    /// Since when the oldest result in the upload that is under way has waited.
    uploading_since: Option<Timestamp>,
    uploading_repeats: bool,
    held_back: Option<HeldBack>,
    /// The last upload was of results that are no suspects; see [`FlowState::next_upload`].
    uploaded_fresh: bool,
    next_extension: Option<Duration>,
}

impl FlowState {
    fn held(&self) -> usize {
        self.active.len() + self.working + self.results.len() + self.uploading
    }

    /// Since when the oldest result has waited for its upload.
    fn oldest_result(&self) -> Option<Timestamp> {
        self.results.iter().map(|ready| ready.since).chain(self.uploading_since).min()
    }

    /// Which of the results that are due go up next, by their failed calls: those that are no suspects first, and in turn with them the
    /// suspects that wait longest, each with its like only.
    fn next_upload(&self, due: impl Fn(&Ready) -> bool) -> Option<(u32, u32)> {
        let due: Vec<&Ready> = self.results.iter().filter(|ready| due(ready)).collect();
        let fresh = due.iter().any(|ready| ready.failed_calls < SUSPECT);
        let suspect = due.iter().filter(|ready| ready.failed_calls >= SUSPECT).min_by_key(|ready| ready.held.due);
        match suspect {
            Some(suspect) if !fresh || self.uploaded_fresh => Some((suspect.failed_calls, suspect.failed_calls)),
            _ if fresh => Some((0, SUSPECT - 1)),
            _ => None,
        }
    }
}

/// Something that ended.
enum Done {
    Claimed(Flow, Arc<FlowSpec>, Taken),
    Closed(Flow, Vec<upload::Unclosed>),
    /// A request that could not be given back to the journal.
    PutBack(Flow, Option<Box<Active>>),
    Swept(Flow),
    Polled(Flow, Arc<FlowSpec>, Taken),
    Worked(Flow, Option<CaName>, Arc<FlowSpec>, bool, work::Worked),
    Uploaded(Flow, usize, upload::Uploaded),
    HealthSent,
    /// This instance's place was taken or kept, or was not; when to come back.
    Attended(Duration),
    /// Requests that nobody can do any more, as failures.
    Stranded(Flow, Vec<Ready>),
    /// The journal has told its sizes, or failed to.
    Looked,
    /// Pruning or leases: nothing waits for it.
    Upkeep,
}

type Running<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send + 'a>>>;

/// One run over the state of a connector.
struct Run<'a> {
    inner: &'a Inner,
    kind: Kind,
    state: &'a mut RunState,
    running: Running<'a>,
    /// Polls, attempts and uploads in `running`.
    busy: usize,
    ca_busy: HashMap<CaName, usize>,
    /// Requests in work that may be what ended the process before.
    suspects: usize,
    /// Since when it drains, after the stop.
    draining: Option<Duration>,
}

enum Wake {
    Done(Done),
    Stop,
    Again,
}

/// Runs; see [`Kind`].
pub(super) async fn run(inner: &Inner, kind: Kind, stop: impl Future<Output = ()>) -> Ended {
    let mut state = inner.state.lock().await;
    state.begin();
    let mut stop = pin!(stop);
    let mut run = Run {
        inner,
        kind,
        state: &mut state,
        running: FuturesUnordered::new(),
        busy: 0,
        ca_busy: HashMap::new(),
        suspects: 0,
        draining: None,
    };
    loop {
        let generation = inner.control.generation();
        let now = inner.monotonic();
        let next = run.start(now);
        run.publish();
        if run.is_over(now, next) {
            break;
        }
        let mut sleep = next.map(|next| inner.context.runtime.sleep(next.saturating_sub(now)));
        let stopped = run.draining.is_some();
        let wake = poll_fn(|context| {
            if !stopped && stop.as_mut().poll(context).is_ready() {
                return Poll::Ready(Wake::Stop);
            }
            if let Poll::Ready(Some(done)) = run.running.poll_next_unpin(context) {
                return Poll::Ready(Wake::Done(done));
            }
            inner.control.waker.register(context.waker());
            let due = sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(context).is_ready());
            if due || inner.control.generation() != generation { Poll::Ready(Wake::Again) } else { Poll::Pending }
        });
        match wake.await {
            Wake::Stop => run.draining = Some(inner.monotonic()),
            Wake::Done(done) => run.take(done),
            Wake::Again => {}
        }
    }
    let abandoned: usize = run.state.flows.values().map(|flow| flow.working + flow.uploading).sum();
    drop(run);
    state.begin();
    if inner.is_fleet() && inner.may_work() {
        inner.leave().await;
        state.next_place = Duration::ZERO;
    }
    let now = inner.monotonic();
    let next_due = state.next_due(inner, now);
    let held = state.flows.values().map(FlowState::held).sum::<usize>() + abandoned;
    publish(inner, &state);
    Ended { next_due, held }
}

impl RunState {
    /// What an abandoned run left as being under way is not.
    fn begin(&mut self) {
        self.round += 1;
        (self.sending_health, self.attending, self.asking_stats) = (false, false, false);
        for flow in self.flows.values_mut() {
            // What was abandoned in the middle is in the journal under this instance's name.
            flow.has_own &= flow.working + flow.uploading == 0 && !flow.claiming && !flow.polling;
            flow.polling = false;
            flow.claiming = false;
            (flow.sweeping, flow.stranding) = (false, false);
            flow.closing = false;
            flow.working = 0;
            flow.uploading = 0;
            flow.uploading_since = None;
            flow.uploading_repeats = false;
        }
    }

    fn next_due(&self, inner: &Inner, now: Duration) -> Option<Duration> {
        let flows = inner.control.flows();
        let mut due = Vec::new();
        if inner.is_fleet() && self.next_place > now {
            // Without a place nothing else is done.
            return Some(self.next_place.saturating_sub(now));
        }
        for (flow, control) in flows.iter().filter(|(_, control)| control.mode != FlowMode::Paused) {
            let Some(state) = self.flows.get(flow) else {
                due.push(now);
                continue;
            };
            let capabilities = control.spec.settings.queue.capabilities();
            if control.mode == FlowMode::Running && schedule::poll_size(&control.spec.settings, capabilities.max_batch, state.held()) > 0 {
                due.push(state.next_poll);
                due.push(state.next_claim);
            }
            due.extend(state.active.iter().map(|active| active.held.due));
            due.extend(state.results.iter().map(|ready| ready.held.due));
        }
        due.into_iter().min().map(|due| due.saturating_sub(now))
    }
}

fn publish(inner: &Inner, state: &RunState) {
    let mut flows = inner.control.flows();
    for (flow, control) in flows.iter_mut() {
        control.gauges =
            state.flows.get(flow).map_or((0, 0, 0), |state| (state.held(), state.working, state.results.len() + state.uploading));
        control.held_back = state.flows.get(flow).and_then(|state| state.held_back);
    }
}

impl Drop for Run<'_> {
    /// Also when the run is abandoned.
    fn drop(&mut self) {
        let specs: Vec<Arc<FlowSpec>> = self.inner.control.flows().values().map(|control| Arc::clone(&control.spec)).collect();
        specs.iter().for_each(|spec| spec.worker.set_idle(&self.inner.context, false));
    }
}

impl<'a> Run<'a> {
    fn publish(&self) {
        publish(self.inner, self.state);
    }

    /// Starts all that is due and has room; gives when to look again.
    fn start(&mut self, now: Duration) -> Option<Duration> {
        let flows: Vec<(Flow, FlowMode, Arc<FlowSpec>)> = {
            let flows = self.inner.control.flows();
            flows.iter().map(|(flow, control)| (*flow, control.mode, Arc::clone(&control.spec))).collect()
        };
        if self.inner.control.take_look() {
            self.state.flows.values_mut().for_each(|state| state.next_claim = now);
        }
        let mut next = None;
        let mut look_at = |due: Duration| {
            if due > now {
                next = Some(next.map_or(due, |next: Duration| next.min(due)));
            }
        };
        let may_work = self.inner.may_work();
        self.start_attending(may_work, now);
        if !self.state.attending {
            look_at(self.state.next_place);
        }
        for (flow, mode, spec) in flows.into_iter().filter(|_| may_work) {
            let mut state = self.state.flows.remove(&flow).unwrap_or_default();
            if mode == FlowMode::Running && self.draining.is_none() {
                self.start_claim(&spec, &mut state, now);
                if !state.claiming {
                    look_at(state.next_claim);
                }
            }
            if mode != FlowMode::Paused && state.has_own {
                self.start_work(flow, &spec, &mut state, now);
            }
            if state.has_own {
                self.start_uploads(flow, &spec, &mut state, now);
                self.start_closing(flow, &spec, &mut state, now);
                state.unclosed.iter().for_each(|unclosed| look_at(unclosed.due));
            }
            // What waits for a CA keeps no CPU thread busy.
            let is_idle = self.draining.is_none() && state.working == 0 && state.active.iter().all(|active| active.held.due > now);
            spec.worker.set_idle(&self.inner.context, is_idle);
            self.hold_back(flow, &mut state);
            if mode == FlowMode::Running && self.draining.is_none() && state.has_own {
                self.start_poll(&spec, &mut state, now);
                if !state.polling {
                    look_at(state.next_poll);
                }
                self.start_sweep(&spec, &mut state, now);
                state.next_sweep.into_iter().for_each(&mut look_at);
                self.start_stranded(&spec, &mut state, now);
                state.next_strand.into_iter().for_each(&mut look_at);
            }
            if let Some(lease) = spec.settings.queue.capabilities().lease
                && state.held() > 0
            {
                self.extend_leases(&spec, &mut state, lease, now);
                state.next_extension.into_iter().for_each(&mut look_at);
            }
            if mode != FlowMode::Paused {
                state.active.iter().for_each(|active| look_at(active.held.due));
            }
            state.results.iter().for_each(|ready| look_at(ready.held.due));
            self.state.flows.insert(flow, state);
        }
        if may_work {
            self.start_heartbeat(now);
        }
        self.state.next_heartbeat.into_iter().for_each(&mut look_at);
        if let Some(since) = self.draining {
            look_at(since.saturating_add(self.inner.options.drain_timeout));
        } else {
            self.start_upkeep(now);
            let next_health = self.state.next_health.filter(|_| self.may_send_health());
            let next_stats = self.state.next_stats.filter(|_| !self.state.asking_stats);
            let upkeep = [next_health, next_stats, self.state.next_prune, self.state.next_credential_check];
            upkeep.into_iter().flatten().for_each(look_at);
        }
        next
    }

    fn start_work(&mut self, flow: Flow, spec: &Arc<FlowSpec>, state: &mut FlowState, now: Duration) {
        let round = self.state.round;
        let mut kept = VecDeque::with_capacity(state.active.len());
        while let Some(mut active) = state.active.pop_front() {
            let room = state.working < spec.settings.concurrency
                && active.held.ca.as_ref().is_none_or(|ca| self.ca_busy.get(ca).copied().unwrap_or(0) < self.inner.options.ca_concurrency);
            let fresh = self.kind == Kind::Until || active.held.round != round;
            // What was in hand at two ends of the process goes alone, so that the next end shows which it was.
            let is_suspect = active.held.is_suspect && active.held.content.crashes > 0;
            let room = room && !(is_suspect && self.suspects > 0);
            if !room || active.held.due > now || !fresh {
                kept.push_back(active);
                continue;
            }
            state.working += 1;
            self.busy += 1;
            self.suspects += usize::from(is_suspect);
            if let Some(ca) = &active.held.ca {
                *self.ca_busy.entry(ca.clone()).or_insert(0) += 1;
            }
            active.held.round = round;
            let (inner, spec, ca) = (self.inner, Arc::clone(spec), active.held.ca.clone());
            self.running.push(Box::pin(async move {
                let worked = work::attempt(inner, &spec.settings, active).await;
                Done::Worked(flow, ca, spec, is_suspect, worked)
            }));
        }
        state.active = kept;
    }

    fn start_uploads(&mut self, flow: Flow, spec: &Arc<FlowSpec>, state: &mut FlowState, now: Duration) {
        let most = spec.settings.batch.min(spec.settings.queue.capabilities().max_batch).max(1);
        let round = self.state.round;
        let kind = self.kind;
        let due = |ready: &Ready| {
            let held = &ready.held;
            held.due <= now && (kind == Kind::Until || held.round != round || held.row.state == crate::ports::RowState::Packed)
        };
        if state.uploading == 0
            && let Some((least, greatest)) = state.next_upload(due)
        {
            let size = schedule::upload_size(most, greatest);
            let mut batch = Vec::new();
            let mut kept = VecDeque::with_capacity(state.results.len());
            while let Some(mut ready) = state.results.pop_front() {
                if batch.len() < size && (least..=greatest).contains(&ready.failed_calls) && due(&ready) {
                    ready.held.round = round;
                    batch.push(ready);
                } else {
                    kept.push_back(ready);
                }
            }
            state.results = kept;
            state.uploaded_fresh = greatest < SUSPECT;
            state.uploading = batch.len();
            state.uploading_since = batch.iter().map(|ready| ready.since).min();
            self.push_upload(flow, spec, state, batch);
        }
        // Repeats go alone and only after fresh results, one upload at a time.
        if state.uploading == 0 && !state.uploading_repeats && !state.repeats.is_empty() {
            let count = state.repeats.len().min(most);
            let batch: Vec<Ready> = state.repeats.drain(..count).collect();
            state.uploading_repeats = true;
            self.push_upload(flow, spec, state, batch);
        }
    }

    /// Stores the end of accepted results that could not be stored before.
    fn start_closing(&mut self, flow: Flow, spec: &Arc<FlowSpec>, state: &mut FlowState, now: Duration) {
        if state.closing || !state.unclosed.iter().any(|unclosed| unclosed.due <= now) {
            return;
        }
        state.closing = true;
        self.busy += 1;
        let (inner, spec, unclosed) = (self.inner, Arc::clone(spec), core::mem::take(&mut state.unclosed));
        self.running.push(Box::pin(async move { Done::Closed(flow, upload::close(inner, &spec, unclosed).await) }));
    }

    fn push_upload(&mut self, flow: Flow, spec: &Arc<FlowSpec>, state: &mut FlowState, batch: Vec<Ready>) {
        state.number = state.number.wrapping_add(1);
        self.busy += 1;
        let (inner, spec, number) = (self.inner, Arc::clone(spec), state.number);
        let count = if state.uploading_repeats && batch.iter().all(|ready| ready.repeat) { 0 } else { batch.len() };
        self.running.push(Box::pin(async move { Done::Uploaded(flow, count, upload::upload(inner, &spec, batch, number).await) }));
    }

    /// Looks whether the flow may download; told once, when that changes.
    fn hold_back(&self, flow: Flow, state: &mut FlowState) {
        let inner = self.inner;
        let age = state.oldest_result().map(|since| inner.now().since(since));
        let told = inner.control.journal().map(|(stats, _)| stats);
        let held_back = schedule::held_back(inner.options.hold, age, told.and_then(|stats| stats.storage));
        let before = core::mem::replace(&mut state.held_back, held_back);
        if before.is_some() == held_back.is_some() {
            return;
        }
        let number = inner.control.next_number();
        match held_back {
            Some(why) => inner.emit(EventId::DownloadsHeldBack, Some(flow), "downloads", number, |event| {
                event.with_detail("reason", why.as_str()).with_message(match why {
                    HeldBack::ResultsWait => "Finished results wait for their upload for too long.",
                    HeldBack::StorageFull => "The storage of the journal is nearly full.",
                })
            }),
            None => inner.emit(EventId::DownloadsResumed, Some(flow), "downloads", number, |event| event),
        }
    }

    fn start_poll(&mut self, spec: &Arc<FlowSpec>, state: &mut FlowState, now: Duration) {
        let size = schedule::poll_size(&spec.settings, spec.settings.queue.capabilities().max_batch, state.held());
        let once_done = self.kind == Kind::Once && state.poll_round == self.state.round;
        if state.held_back.is_some() || state.polling || state.claiming || state.backlog || state.next_poll > now || size == 0 || once_done
        {
            return;
        }
        state.polling = true;
        state.poll_round = self.state.round;
        state.number = state.number.wrapping_add(1);
        self.busy += 1;
        let (inner, spec, number) = (self.inner, Arc::clone(spec), state.number);
        self.running.push(Box::pin(async move {
            let taken = intake::poll(inner, &spec, size, number).await;
            Done::Polled(spec.flow(), spec, taken)
        }));
    }

    /// Takes what is due from the journal, before anything is downloaded.
    fn start_claim(&mut self, spec: &Arc<FlowSpec>, state: &mut FlowState, now: Duration) {
        let size = schedule::claim_size(&spec.settings, state.held());
        let once_done = self.kind == Kind::Once && state.claim_round == self.state.round;
        // A poll stores rows under this instance's name, which are not to be mistaken for an earlier run's.
        let busy = state.claiming || (!state.has_own && state.polling);
        if busy || state.next_claim > now || (size == 0 && state.has_own) || once_done {
            return;
        }
        state.claiming = true;
        state.claim_round = self.state.round;
        self.busy += 1;
        let (inner, spec, own) = (self.inner, Arc::clone(spec), !state.has_own);
        self.running.push(Box::pin(async move {
            let taken = claim::claim(inner, &spec, size.max(1), own).await;
            Done::Claimed(spec.flow(), spec, taken)
        }));
    }

    /// Looks at the ledger of orphans.
    fn start_sweep(&mut self, spec: &Arc<FlowSpec>, state: &mut FlowState, now: Duration) {
        let next = *state.next_sweep.get_or_insert(now);
        if state.sweeping || next > now || spec.worker.authorities().is_empty() {
            return;
        }
        state.next_sweep = Some(now.saturating_add(SWEEP_PAUSE));
        state.sweeping = true;
        self.busy += usize::from(self.kind == Kind::Once);
        let (inner, spec) = (self.inner, Arc::clone(spec));
        self.running.push(Box::pin(async move {
            inner.sweep(&spec).await;
            Done::Swept(spec.flow())
        }));
    }

    /// Looks for requests that nobody can do any more.
    fn start_stranded(&mut self, spec: &Arc<FlowSpec>, state: &mut FlowState, now: Duration) {
        let next = *state.next_strand.get_or_insert(now.saturating_add(STRANDED_PAUSE));
        if !self.inner.is_fleet() || state.stranding || next > now {
            return;
        }
        state.next_strand = Some(now.saturating_add(STRANDED_PAUSE));
        state.stranding = true;
        self.busy += 1;
        let (inner, spec) = (self.inner, Arc::clone(spec));
        self.running.push(Box::pin(async move { Done::Stranded(spec.flow(), stranded::take(inner, &spec).await) }));
    }

    /// Gives a request that waits for long back to the journal when the hands are half full: others may be worked on meanwhile.
    fn put_back(&mut self, flow: Flow, spec: &FlowSpec, active: Active, now: Duration) {
        let state = self.state.flows.entry(flow).or_default();
        let crowded = state.held().saturating_mul(2) >= schedule::claim_size(&spec.settings, 0);
        if self.kind == Kind::Once || !crowded || active.held.due.saturating_sub(now) < LONG_WAIT || active.uncommitted.is_some() {
            state.active.push_back(active);
            return;
        }
        state.working += 1;
        self.busy += 1;
        let inner = self.inner;
        self.running.push(Box::pin(async move { Done::PutBack(flow, work::put_back(inner, active).await.map(Box::new)) }));
    }

    /// Prolongs leases three times as often as they end.
    fn extend_leases(&mut self, spec: &Arc<FlowSpec>, state: &mut FlowState, lease: Duration, now: Duration) {
        let pause = (lease / 3).max(Duration::from_millis(100));
        // What has just come in is leased.
        let next = *state.next_extension.get_or_insert(now.saturating_add(pause));
        if next <= now {
            state.next_extension = Some(now.saturating_add(pause));
            self.busy += usize::from(self.kind == Kind::Once);
            let (inner, spec) = (self.inner, Arc::clone(spec));
            self.running.push(Box::pin(async move {
                inner.extend_leases(&spec).await;
                Done::Upkeep
            }));
        }
    }

    /// Wants a place among the instances of the tenant, and keeps it.
    fn start_attending(&mut self, may_work: bool, now: Duration) {
        let once_done = self.kind == Kind::Once && self.state.place_round == self.state.round;
        let ended = self.draining.is_some() && !may_work;
        if !self.inner.is_fleet() || self.state.attending || self.state.next_place > now || once_done || ended {
            return;
        }
        self.state.attending = true;
        self.state.place_round = self.state.round;
        self.busy += usize::from(self.kind == Kind::Once);
        let inner = self.inner;
        self.running.push(Box::pin(async move { Done::Attended(inner.attend().await) }));
    }

    /// Keeps what is in hand from the other instances, while it drains as well.
    fn start_heartbeat(&mut self, now: Duration) {
        let inner = self.inner;
        if inner.journal.scope() == JournalScope::Fleet && self.state.next_heartbeat.is_none_or(|next| next <= now) {
            self.state.next_heartbeat = Some(now.saturating_add(inner.options.lease / 4));
            self.busy += usize::from(self.kind == Kind::Once);
            self.running.push(Box::pin(async move {
                inner.heartbeat().await;
                Done::Upkeep
            }));
        }
    }

    /// Health messages, pruning, and a look at the connector's own certificates.
    fn start_upkeep(&mut self, now: Duration) {
        let inner = self.inner;
        if let Some(config) = &inner.health
            && self.may_send_health()
            && self.state.next_health.is_none_or(|next| next <= now)
        {
            self.state.next_health = Some(now.saturating_add(config.interval));
            self.state.sending_health = true;
            self.state.health_round = self.state.round;
            let context = &inner.context;
            let mut message = HealthMessage::new(context.tenant.clone(), context.instance.clone(), inner.now());
            message.flows = inner.control.flows().iter().map(|(flow, control)| (*flow, control.counters)).collect();
            message.events = inner.counts.take();
            for credential in inner.credentials() {
                if let Some(warning) = credential.warning(message.at) {
                    message.findings.push(format!("{}: {warning}", credential.name));
                }
                message.credentials.insert(credential.name, credential.not_after);
            }
            message.findings.extend(inner.fleet_findings());
            self.busy += usize::from(self.kind == Kind::Once);
            self.running.push(Box::pin(async move {
                health::send(context, config, message).await;
                Done::HealthSent
            }));
        }
        if self.state.next_credential_check.is_none_or(|next| next <= now) {
            self.state.next_credential_check = Some(now.saturating_add(CHECK_INTERVAL));
            for (flow, control) in inner.control.flows().iter() {
                inner.context.warn_of_expiry(Some(*flow), &control.spec.worker.credentials(), inner.now());
            }
            inner.context.warn_of_expiry(None, &inner.watched_credentials(), inner.now());
        }
        if !self.state.asking_stats && self.state.next_stats.is_none_or(|next| next <= now) {
            self.state.next_stats = Some(now.saturating_add(STATS_PAUSE));
            self.state.asking_stats = true;
            self.busy += usize::from(self.kind == Kind::Once);
            self.running.push(Box::pin(async move {
                inner.look_at_journal().await;
                Done::Looked
            }));
        }
        if self.state.next_prune.is_none_or(|next| next <= now) {
            let pause = (inner.options.retention / 24).clamp(Duration::from_secs(1), Duration::from_secs(3_600));
            self.state.next_prune = Some(now.saturating_add(pause));
            self.busy += usize::from(self.kind == Kind::Once);
            self.running.push(Box::pin(async move {
                inner.prune().await;
                Done::Upkeep
            }));
        }
    }

    /// One message at a time, and one in a run of `run_once`, however short the interval is.
    fn may_send_health(&self) -> bool {
        !self.state.sending_health && (self.kind == Kind::Until || self.state.health_round != self.state.round)
    }

    fn is_over(&self, now: Duration, next: Option<Duration>) -> bool {
        if self.kind == Kind::Once {
            return self.busy == 0;
        }
        let Some(since) = self.draining else { return false };
        let end = since.saturating_add(self.inner.options.drain_timeout);
        if !self.inner.may_work() {
            return self.busy == 0 || now >= end;
        }
        let flows = self.inner.control.flows();
        let paused = |flow: &Flow| flows.get(flow).is_some_and(|control| control.mode == FlowMode::Paused);
        let left = self.state.flows.iter().any(|(flow, state)| {
            let waiting = if paused(flow) { state.results.len() } else { state.active.len() + state.results.len() } + state.unclosed.len();
            waiting + state.working + state.uploading > 0
        });
        now >= end || (self.busy == 0 && (!left || next.is_none_or(|next| next >= end)))
    }

    fn take(&mut self, done: Done) {
        let now = self.inner.monotonic();
        match done {
            Done::Claimed(flow, spec, taken) => {
                self.busy -= 1;
                let state = self.state.flows.entry(flow).or_default();
                state.claiming = false;
                state.backlog = !taken.failed && taken.items >= taken.asked;
                state.claim_failures = if taken.failed { state.claim_failures.saturating_add(1) } else { 0 };
                state.has_own |= !taken.failed;
                let pause = if taken.failed {
                    self.inner.backoff(&spec.settings, state.claim_failures, crate::retry::Retry::Later).max(Duration::from_millis(50))
                } else if state.backlog {
                    Duration::ZERO
                } else {
                    schedule::claim_pause(&spec.settings, self.inner.options.lease, self.inner.journal.scope())
                };
                state.next_claim = now.saturating_add(pause);
                for row in taken.anew {
                    let waiting = state.active.iter_mut().map(|active| &mut active.held);
                    let ended = state.unclosed.iter_mut().map(|unclosed| &mut unclosed.held);
                    let ready = state.results.iter_mut().map(|ready| &mut ready.held);
                    let held = waiting.chain(ready).chain(ended).find(|held| held.row.key == row.key);
                    if let Some(held) = held {
                        held.in_hand.under(row.lease_epoch);
                        held.row = row;
                    }
                }
                state.active.extend(taken.active);
                state.results.extend(taken.ready);
            }
            Done::Closed(flow, unclosed) => {
                self.busy -= 1;
                let state = self.state.flows.entry(flow).or_default();
                state.closing = false;
                state.unclosed.extend(unclosed);
            }
            Done::PutBack(flow, active) => {
                self.busy -= 1;
                let state = self.state.flows.entry(flow).or_default();
                state.working = state.working.saturating_sub(1);
                state.active.extend(active.map(|active| *active));
            }
            Done::Swept(flow) => {
                self.busy -= usize::from(self.kind == Kind::Once);
                self.state.flows.entry(flow).or_default().sweeping = false;
            }
            Done::Stranded(flow, ready) => {
                self.busy -= 1;
                let state = self.state.flows.entry(flow).or_default();
                state.stranding = false;
                state.results.extend(ready);
            }
            Done::Polled(flow, spec, taken) => {
                self.busy -= 1;
                let state = self.state.flows.entry(flow).or_default();
                state.polling = false;
                state.poll_failures = if taken.failed { state.poll_failures.saturating_add(1) } else { 0 };
                if taken.failed {
                    self.inner.control.count(flow, |counters| counters.poll_failures += 1);
                }
                let fresh = taken.active.len() + taken.ready.len();
                let got = match taken {
                    _ if taken.failed => Yield::Failed(state.poll_failures),
                    _ if taken.items < taken.asked => Yield::Rest,
                    _ if fresh > 0 => Yield::Full,
                    _ => Yield::FullOfRepeats,
                };
                let minimum = spec.settings.queue.capabilities().minimum_interval;
                state.next_poll = now.saturating_add(schedule::poll_pause(&spec.settings, minimum, taken.next_poll, got));
                if taken.look && self.kind == Kind::Until {
                    state.next_claim = state.next_claim.min(now.saturating_add(Duration::from_secs(1)));
                }
                state.active.extend(taken.active);
                state.results.extend(taken.ready);
                // Repeats of the same request are told apart before; more than one upload's worth waits for its next delivery.
                let room = spec.settings.batch.saturating_sub(state.repeats.len());
                state.repeats.extend(taken.repeats.into_iter().take(room));
            }
            Done::Worked(flow, ca, spec, was_suspect, worked) => {
                self.busy -= 1;
                self.suspects = self.suspects.saturating_sub(usize::from(was_suspect));
                if let Some(busy) = ca.and_then(|ca| self.ca_busy.get_mut(&ca)) {
                    *busy = busy.saturating_sub(1);
                }
                let state = self.state.flows.entry(flow).or_default();
                state.working = state.working.saturating_sub(1);
                match worked {
                    work::Worked::Done(ready) if ready.repeat => state.repeats.push_back(ready),
                    work::Worked::Done(ready) => state.results.push_back(ready),
                    work::Worked::Again(active) => state.active.push_back(active),
                    work::Worked::Pending(active) => self.put_back(flow, &spec, active, now),
                    work::Worked::Lost => {}
                }
            }
            Done::Uploaded(flow, count, uploaded) => {
                self.busy -= 1;
                let state = self.state.flows.entry(flow).or_default();
                if count == 0 {
                    state.uploading_repeats = false;
                } else {
                    state.uploading = 0;
                    state.uploading_since = None;
                }
                state.results.extend(uploaded.later);
                state.unclosed.extend(uploaded.unclosed);
                if let Some(answered) = uploaded.answered {
                    for ready in &mut state.results {
                        ready.failed_calls = schedule::after_answer(answered, ready.failed_calls);
                    }
                }
            }
            Done::HealthSent => {
                self.state.sending_health = false;
                self.busy -= usize::from(self.kind == Kind::Once);
            }
            Done::Attended(pause) => {
                self.busy -= usize::from(self.kind == Kind::Once);
                self.state.attending = false;
                self.state.next_place = now.saturating_add(pause);
            }
            Done::Looked => {
                self.state.asking_stats = false;
                self.busy -= usize::from(self.kind == Kind::Once);
            }
            Done::Upkeep => self.busy -= usize::from(self.kind == Kind::Once),
        }
    }
}
