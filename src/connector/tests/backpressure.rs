//! When nothing more is downloaded, and what the status says of the journal.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::rig::{Rig, id, item};
use crate::adapters::{InMemoryQueue, VolatileJournal};
use crate::connector::{HeldBack, QueueSettings};
use crate::event::EventId;
use crate::ports::{
    Batch, Change, ClaimRequest, CommitAnswer, CompleteAnswer, CompleteRequest, HealthMessage, IntuneQueue, Journal, JournalScope,
    JournalStats, LoadRequest, PortError, PruneRequest, QueueCapabilities, ReceiveRequest, RenewRequest, Row, RowKey, StorageRoom,
};
use crate::terms::Flow;

/// A queue that takes no results while it is away.
#[derive(Debug)]
struct Away {
    inner: Arc<InMemoryQueue>,
    is_away: AtomicBool,
}

#[async_trait]
impl IntuneQueue for Away {
    fn capabilities(&self) -> QueueCapabilities {
        self.inner.capabilities()
    }
    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, PortError> {
        self.inner.receive(request).await
    }
    async fn complete(&self, request: CompleteRequest) -> Result<Vec<CompleteAnswer>, PortError> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(PortError::transient("away"));
        }
        self.inner.complete(request).await
    }
    async fn report_health(&self, message: HealthMessage) -> Result<(), PortError> {
        self.inner.report_health(message).await
    }
}

/// A journal that tells how much room it has; `None` says that it fails to.
#[derive(Debug)]
struct Roomy {
    inner: Arc<VolatileJournal>,
    free: Mutex<Option<u64>>,
    asked: AtomicU32,
}

#[async_trait]
impl Journal for Roomy {
    fn scope(&self) -> JournalScope {
        self.inner.scope()
    }
    fn is_durable(&self) -> bool {
        true
    }
    async fn load(&self, request: LoadRequest) -> Result<Vec<Row>, PortError> {
        self.inner.load(request).await
    }
    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<CommitAnswer>, PortError> {
        self.inner.commit(changes).await
    }
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Row>, PortError> {
        self.inner.claim(request).await
    }
    async fn renew(&self, request: RenewRequest) -> Result<Vec<RowKey>, PortError> {
        self.inner.renew(request).await
    }
    async fn prune(&self, request: PruneRequest) -> Result<u64, PortError> {
        self.inner.prune(request).await
    }
    async fn stats(&self) -> Result<JournalStats, PortError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let Some(free) = *self.free.lock().unwrap() else { return Err(PortError::transient("busy")) };
        let mut stats = self.inner.stats().await?;
        stats.storage = Some(StorageRoom { free, total: 1_000 });
        Ok(stats)
    }
}

fn told(rig: &Rig) -> Vec<(u16, Option<String>)> {
    let of_downloads = |id| matches!(id, EventId::DownloadsHeldBack | EventId::DownloadsResumed);
    let events = rig.sink.events();
    let reason = |event: &crate::event::Event| event.details.iter().find(|(name, _)| *name == "reason").map(|(_, value)| value.clone());
    events.iter().filter(|event| of_downloads(event.id)).map(|event| (event.id.code(), reason(event))).collect()
}

#[test]
fn nothing_is_downloaded_behind_a_result_that_waits_for_too_long() {
    let rig = Rig::new();
    rig.queue.push(item("r1", "ok"));
    let queue = Arc::new(Away { inner: Arc::clone(&rig.queue), is_away: AtomicBool::new(true) });
    let settings = QueueSettings::new(Arc::clone(&queue) as _)
        .with_poll_interval(Duration::from_secs(5))
        .with_backoff(Duration::from_secs(1), Duration::from_secs(20));
    let connector = rig.builder().flow(rig.spec(settings)).build().unwrap();
    let handle = connector.handle();
    let held_back = || handle.status()[&Flow::Pkcs].held_back;
    rig.block_on(connector.run_until(async {
        rig.sleep(595).await;
        assert_eq!(held_back(), None);
        rig.sleep(30).await;
        assert_eq!(held_back(), Some(HeldBack::ResultsWait));
        let polls = rig.queue.receives();
        rig.queue.push(item("r2", "ok"));
        rig.sleep(300).await;
        assert_eq!((rig.queue.receives(), rig.queue.waiting()), (polls, 1), "held back");
        assert!(handle.status()[&Flow::Pkcs].results > 0);
        queue.is_away.store(false, Ordering::SeqCst);
        rig.sleep(60).await;
        assert_eq!(held_back(), None);
    }));
    assert!(rig.queue.result_of(Flow::Pkcs, &id("r1")).is_some() && rig.queue.result_of(Flow::Pkcs, &id("r2")).is_some());
    assert_eq!(told(&rig), [(23, Some("results-wait".to_owned())), (24, None)]);
}

#[test]
fn nothing_is_downloaded_while_the_storage_of_the_journal_is_nearly_full() {
    let rig = Rig::new();
    let journal = Arc::new(Roomy { inner: Arc::clone(&rig.journal), free: Mutex::new(Some(50)), asked: AtomicU32::new(0) });
    let set = |free| *journal.free.lock().unwrap() = free;
    let settings = rig.settings().with_poll_interval(Duration::from_secs(5));
    let connector = rig.builder_on(Arc::clone(&journal) as _).flow(rig.spec(settings)).build().unwrap();
    let handle = connector.handle();
    let held_back = || handle.status()[&Flow::Pkcs].held_back;
    assert_eq!(handle.journal_status(), crate::connector::JournalStatus::default());
    rig.block_on(connector.run_until(async {
        rig.queue.push(item("r1", "ok"));
        rig.sleep(30).await;
        assert!(rig.queue.result_of(Flow::Pkcs, &id("r1")).is_some(), "5 % is enough");
        set(Some(49));
        rig.sleep(61).await;
        assert_eq!(held_back(), Some(HeldBack::StorageFull));
        rig.queue.push(item("r2", "ok"));
        set(None);
        rig.sleep(300).await;
        assert_eq!((held_back(), rig.queue.waiting()), (Some(HeldBack::StorageFull), 1), "the last answer stands");
        set(Some(900));
        rig.sleep(70).await;
        assert!(rig.queue.result_of(Flow::Pkcs, &id("r2")).is_some());
    }));
    assert_eq!(told(&rig), [(23, Some("storage-full".to_owned())), (24, None)]);
    let asked = journal.asked.load(Ordering::SeqCst);
    assert!((7..=9).contains(&asked), "once a minute: {asked}");
}

#[test]
fn the_status_tells_how_long_the_journal_takes_to_drain() {
    let rig = Rig::new();
    (0..10).for_each(|number| rig.queue.push(item(&format!("slow-{number}"), "slow:600")));
    let settings = rig.settings().with_poll_interval(Duration::from_secs(5)).with_concurrency(20);
    let connector = rig.builder().ca_concurrency(20).flow(rig.spec(settings)).build().unwrap();
    let handle = connector.handle();
    rig.block_on(connector.run_until(async {
        rig.sleep(62).await;
        let status = handle.journal_status();
        assert_eq!((status.stats.map(|stats| stats.open), status.time_to_drain), (Some(10), None), "nothing has ended");
        assert!(status.asked.is_some());
        (0..5).for_each(|number| rig.queue.push(item(&format!("quick-{number}"), "ok")));
        rig.sleep(60).await;
        let left = handle.journal_status().time_to_drain.unwrap();
        // Five in the minute since the first ended: ten take two.
        assert!((Duration::from_secs(100)..=Duration::from_secs(125)).contains(&left), "{left:?}");
        rig.sleep(700).await;
    }));
}

#[test]
fn a_limit_that_no_storage_meets_is_refused() {
    let rig = Rig::new();
    let built = rig.builder().flow(rig.spec(rig.settings())).hold_downloads_when_storage_is_below(91).build();
    assert!(built.unwrap_err().to_string().contains("hold_downloads_when_storage_is_below"));
}
