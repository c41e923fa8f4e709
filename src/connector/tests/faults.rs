//! What the engine does when the ports fail, panic, or say nothing.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;

use super::rig::{Rig, id, item};
use crate::adapters::VolatileJournal;
use crate::connector::QueueSettings;
use crate::event::{Event, EventId};
use crate::ports::{
    Batch, Change, ClaimRequest, CommitAnswer, CompleteAnswer, CompleteRequest, EventSink, ExtendLeaseRequest, IntuneQueue, Journal,
    JournalScope, JournalStats, LoadRequest, PortError, PruneRequest, QueueCapabilities, ReceiveRequest, RenewRequest, Row, RowKey,
    RowState,
};
use crate::terms::Flow;

/// Numbers without rhyme, the same in each run.
#[derive(Debug)]
struct Dice(AtomicU64);

impl Dice {
    fn throw(&self, sides: u64) -> u64 {
        let mut x = self.0.load(Ordering::SeqCst);
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.0.store(x, Ordering::SeqCst);
        x % sides
    }
}

#[derive(Debug)]
struct FaultyQueue {
    inner: Arc<crate::adapters::InMemoryQueue>,
    dice: Dice,
    /// One call in so many goes wrong.
    one_in: u64,
}

impl FaultyQueue {
    async fn fault(&self) -> Result<(), PortError> {
        if self.dice.throw(self.one_in) != 0 {
            return Ok(());
        }
        match self.dice.throw(4) {
            0 => panic!("planted"),
            1 => core::future::pending().await,
            2 => Err(PortError::misconfigured("wrong credentials")),
            _ => Err(PortError::transient("503")),
        }
    }
}

#[async_trait]
impl IntuneQueue for FaultyQueue {
    fn capabilities(&self) -> QueueCapabilities {
        self.inner.capabilities()
    }
    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, PortError> {
        self.fault().await?;
        self.inner.receive(request).await
    }
    async fn complete(&self, request: CompleteRequest) -> Result<Vec<CompleteAnswer>, PortError> {
        self.fault().await?;
        let mut answers = self.inner.complete(request).await?;
        // The answer may be lost, or come short.
        self.fault().await?;
        if self.dice.throw(self.one_in) == 0 {
            answers.pop();
        }
        Ok(answers)
    }
}

#[derive(Debug)]
struct FaultyJournal {
    inner: Arc<VolatileJournal>,
    dice: Dice,
    one_in: u64,
}

impl FaultyJournal {
    fn fault(&self) -> Result<(), PortError> {
        match self.dice.throw(self.one_in) {
            0 if self.dice.throw(4) == 0 => panic!("planted"),
            0 => Err(PortError::transient("the disk is away")),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Journal for FaultyJournal {
    fn scope(&self) -> JournalScope {
        self.inner.scope()
    }
    fn is_durable(&self) -> bool {
        false
    }
    async fn load(&self, request: LoadRequest) -> Result<Vec<Row>, PortError> {
        self.fault()?;
        self.inner.load(request).await
    }
    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<CommitAnswer>, PortError> {
        self.fault()?;
        let answers = self.inner.commit(changes).await;
        // It may be stored, and the answer lost.
        self.fault()?;
        answers
    }
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Row>, PortError> {
        self.inner.claim(request).await
    }
    async fn renew(&self, request: RenewRequest) -> Result<Vec<RowKey>, PortError> {
        self.inner.renew(request).await
    }
    async fn prune(&self, request: PruneRequest) -> Result<u64, PortError> {
        self.fault()?;
        self.inner.prune(request).await
    }
    async fn stats(&self) -> Result<JournalStats, PortError> {
        self.inner.stats().await
    }
}

/// Passes events on, then panics.
#[derive(Debug)]
struct PanickingSink(Arc<crate::adapters::RecordingSink>);

impl EventSink for PanickingSink {
    fn emit(&self, event: &Event) {
        self.0.emit(event);
        panic!("planted");
    }
}

fn faulty_settings(rig: &Rig, seed: u64, one_in: u64) -> QueueSettings {
    let queue = FaultyQueue { inner: Arc::clone(&rig.queue), dice: Dice(AtomicU64::new(seed)), one_in };
    QueueSettings::new(Arc::new(queue)).with_poll_interval(Duration::from_secs(5)).with_deadline(Duration::from_secs(20_000))
}

#[test]
fn a_storm_of_queue_errors_does_not_end_the_run_and_loses_nothing() {
    for seed in 1..20 {
        let rig = Rig::new();
        for number in 0..100 {
            rig.queue.push(item(&format!("r{number}"), ["ok", "retry:1", "slow:3"][number % 3]));
        }
        let connector = rig.builder().flow(rig.spec(faulty_settings(&rig, seed * 0x9e37_79b9, 2))).build().unwrap();
        // Long: nothing is downloaded while results wait, and seven of eight uploads fail.
        let summary = rig.run_for(&connector, 60_000);
        assert!(rig.queue.unanswered().is_empty() && rig.queue.waiting() == 0, "seed {seed}: {:?}", rig.queue.unanswered());
        assert!(rig.queue.changed_results().is_empty());
        for number in 0..100 {
            assert_eq!(rig.admin_count(&format!("r{number}")), 1, "seed {seed}");
        }
        assert_eq!(summary.flows[&Flow::Pkcs].counters.succeeded, 100);
        assert!(summary.flows[&Flow::Pkcs].counters.poll_failures > 0);
        assert!(rig.sink.count(EventId::PanicContained) > 0 && rig.sink.count(EventId::PkcsDownloadFailure) > 0);
    }
}

#[test]
fn a_failing_journal_holds_effects_back_but_loses_nothing() {
    for seed in 1..20 {
        let rig = Rig::new();
        for number in 0..50 {
            rig.queue.push(item(&format!("r{number}"), ["ok", "retry:1", "wait:3"][number % 3]));
        }
        let journal = FaultyJournal { inner: Arc::clone(&rig.journal), dice: Dice(AtomicU64::new(seed * 0x51ed_270b)), one_in: 3 };
        let settings = rig.settings().with_deadline(Duration::from_secs(20_000));
        let connector = rig.builder_on(Arc::new(journal)).flow(rig.spec(settings)).build().unwrap();
        rig.run_for(&connector, 15_000);
        assert!(rig.queue.unanswered().is_empty() && rig.queue.waiting() == 0, "seed {seed}: {:?}", rig.queue.unanswered());
        for number in 0..50 {
            assert_eq!(rig.admin_count(&format!("r{number}")), 1, "seed {seed}");
        }
        assert_eq!(rig.ledger.unjournalled.load(Ordering::SeqCst), 0, "seed {seed}: an effect came before its commit");
        assert!(rig.sink.count(EventId::JournalFailure) > 0);
    }
}

#[test]
fn a_panicking_sink_is_contained() {
    let rig = Rig::new();
    rig.queue.push(item("r1", "ok"));
    let connector = rig.builder().sink(Arc::new(PanickingSink(Arc::clone(&rig.sink)))).flow(rig.spec(rig.settings())).build().unwrap();
    rig.run_for(&connector, 5);
    assert_eq!(rig.codes_of("r1"), [1020, 1102, 1000]);
}

#[test]
fn an_outage_of_the_queue_longer_than_the_patience_ends_in_one_admin_failure() {
    let rig = Rig::new();
    rig.queue.push(item("r1", "ok"));
    for _ in 0..1_000 {
        rig.queue.fail_next_complete(PortError::transient("503"));
    }
    let connector = rig.builder().upload_patience(Duration::from_secs(1_000)).flow(rig.spec(rig.settings())).build().unwrap();
    rig.run_for(&connector, 5_000);
    assert_eq!(rig.codes_of("r1"), [1020, 1001]);
    assert!(rig.queue.result_of(Flow::Pkcs, &id("r1")).is_none());
}

/// Takes no call in which the result of `poison` is.
#[derive(Debug)]
struct PoisonedQueue(Arc<crate::adapters::InMemoryQueue>);

#[async_trait]
impl IntuneQueue for PoisonedQueue {
    fn capabilities(&self) -> QueueCapabilities {
        self.0.capabilities()
    }
    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, PortError> {
        self.0.receive(request).await
    }
    async fn complete(&self, request: CompleteRequest) -> Result<Vec<CompleteAnswer>, PortError> {
        if request.results.iter().any(|result| result.meta.id == id("poison")) {
            return Err(PortError::transient("413"));
        }
        self.0.complete(request).await
    }
}

#[test]
fn a_result_that_makes_every_upload_fail_does_not_hold_up_the_others() {
    let rig = Rig::new();
    for number in 0..40 {
        rig.queue.push(item(&format!("early{number}"), "ok"));
        if number == 20 {
            rig.queue.push(item("poison", "ok"));
        }
    }
    // One more each 30 s, all the while.
    for number in 1..100 {
        rig.queue.push(item(&format!("late{number}"), &format!("wait:{}", number * 30)));
    }
    let settings = QueueSettings::new(Arc::new(PoisonedQueue(Arc::clone(&rig.queue)))).with_deadline(Duration::from_secs(20_000));
    let settings = settings.with_batch(200).with_poll_interval(Duration::from_secs(5));
    let connector = rig.builder().upload_patience(Duration::from_secs(4_000)).flow(rig.spec(settings)).build().unwrap();
    rig.run_for(&connector, 3_500);
    let others = || (0..40).map(|number| format!("early{number}")).chain((1..100).map(|number| format!("late{number}")));
    for name in others() {
        assert_eq!(rig.codes_of(&name), [1020, 1102, 1000], "{name}");
    }
    assert_eq!(rig.codes_of("poison"), [1020], "it is tried on");
    let calls = rig.sink.count(EventId::PkcsUploadFailure);
    assert!(calls < 60, "{calls} failed calls");
    rig.run_for(&connector, 2_000);
    assert_eq!(rig.codes_of("poison"), [1020, 1001]);
    let row = |state| rig.journal.rows().iter().filter(|row| row.state == state).count();
    assert_eq!((row(RowState::Acknowledged), row(RowState::Parked)), (139, 1));
    assert!(rig.queue.result_of(Flow::Pkcs, &id("poison")).is_none() && rig.queue.changed_results().is_empty());
}

/// Leases for 30 s, and counts how often each is prolonged.
#[derive(Debug)]
struct LeasedQueue {
    inner: Arc<crate::adapters::InMemoryQueue>,
    extensions: AtomicU64,
}

#[async_trait]
impl IntuneQueue for LeasedQueue {
    fn capabilities(&self) -> QueueCapabilities {
        let mut capabilities = self.inner.capabilities();
        capabilities.lease = Some(Duration::from_secs(30));
        capabilities
    }
    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, PortError> {
        self.inner.receive(request).await
    }
    async fn complete(&self, request: CompleteRequest) -> Result<Vec<CompleteAnswer>, PortError> {
        self.inner.complete(request).await
    }
    async fn extend_lease(&self, request: ExtendLeaseRequest) -> Result<(), PortError> {
        assert_eq!(request.requests, [id("r1")]);
        self.extensions.fetch_add(1, Ordering::SeqCst);
        Err(PortError::transient("503"))
    }
}

#[test]
fn leases_are_prolonged_while_a_request_is_in_hand_and_not_after() {
    let rig = Rig::new();
    rig.queue.push(item("r1", "slow:95"));
    let queue = Arc::new(LeasedQueue { inner: Arc::clone(&rig.queue), extensions: AtomicU64::new(0) });
    let settings = QueueSettings::new(Arc::clone(&queue) as Arc<dyn IntuneQueue>);
    let connector = rig.builder().flow(rig.spec(settings)).build().unwrap();
    rig.run_for(&connector, 600);
    assert_eq!(queue.extensions.load(Ordering::SeqCst), 9, "every 10 s of 95");
    assert_eq!(rig.codes_of("r1"), [1020, 1102, 1000]);
}
