//! A journal full of waiting requests: how soon the connector works on the first, and how much memory it takes.
//!
//! `INTUNE_CONNECTOR_WAITING_ROWS=1000000 cargo test --features sqlite --test backpressure -- --nocapture` takes a million; fewer by default,
//! since making them takes the time.

#![cfg(all(feature = "sqlite", feature = "revoke", feature = "ring", feature = "aws-lc-rs", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use intune_connector::adapters::{SqliteJournal, StdRuntime};
use intune_connector::connector::{Connector, QueueSettings};
use intune_connector::crypto::CryptoProvider;
use intune_connector::ports::{
    Batch, CaCapabilities, CertificateAuthority, Change, ClaimRequest, CommitAnswer, CompleteAnswer, CompleteRequest, FindAnswer,
    FindRequest, HealthMessage, IntuneQueue, IssueAnswer, IssueRequest, Journal, JournalScope, JournalStats, LoadRequest, Payload,
    PortError, PruneRequest, QueueCapabilities, QueueItem, ReceiveRequest, RenewRequest, RequestMeta, RevokeAnswer, RevokeBy, RevokeCall,
    RevokeRequest, Row, RowKey, RowState, Runtime as _,
};
use intune_connector::revoke::RevokeConfig;
use intune_connector::secret::SecretBytes;
use intune_connector::terms::Flow;
use rustls_pki_types::CertificateDer;

/// Requests in one download while the journal is filled.
const BATCH: u64 = 5_000;
/// Requests that the second process works on.
const WORKED: u64 = 3_000;
const MOST_MEMORY: u64 = 256 << 10;

/// Gives out `left` requests, and counts results.
#[derive(Debug)]
struct Queue {
    left: AtomicU64,
    results: AtomicU64,
}

#[async_trait]
impl IntuneQueue for Queue {
    fn capabilities(&self) -> QueueCapabilities {
        let mut can = QueueCapabilities::new(vec![Flow::Revoke]);
        can.max_batch = BATCH as usize;
        can
    }
    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, PortError> {
        let left = self.left.load(Ordering::SeqCst);
        let count = left.min(request.max as u64);
        self.left.store(left - count, Ordering::SeqCst);
        let item = |number: u64| {
            let meta = RequestMeta::new(format!("request-{number}").parse().unwrap(), "contoso.com".parse().unwrap(), Flow::Revoke);
            let mut revoke = RevokeRequest::new(format!("{number:x}"));
            revoke.issuer = Some("ca".to_owned());
            QueueItem::new(meta, Payload::Revoke(revoke))
        };
        Ok(Batch::new((left - count + 1..=left).map(item).collect()))
    }
    async fn complete(&self, request: CompleteRequest) -> Result<Vec<CompleteAnswer>, PortError> {
        self.results.fetch_add(request.results.len() as u64, Ordering::SeqCst);
        Ok(vec![CompleteAnswer::Accepted; request.results.len()])
    }
    async fn report_health(&self, _: HealthMessage) -> Result<(), PortError> {
        Ok(())
    }
}

/// Revokes at once, or never.
#[derive(Debug)]
struct Ca {
    is_stopped: bool,
    first: OnceLock<Instant>,
}

#[async_trait]
impl CertificateAuthority for Ca {
    fn capabilities(&self) -> CaCapabilities {
        let mut can = CaCapabilities::minimal();
        can.revoke_by = vec![RevokeBy::Serial];
        can
    }
    async fn issue(&self, _: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
        Err(PortError::unsupported("it revokes"))
    }
    async fn find(&self, _: FindRequest<'_>) -> Result<FindAnswer, PortError> {
        Ok(FindAnswer::CannotTell)
    }
    async fn revoke(&self, _: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
        self.first.get_or_init(Instant::now);
        if self.is_stopped { std::future::pending().await } else { Ok(RevokeAnswer::Revoked) }
    }
    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
        Err(PortError::unsupported("it revokes"))
    }
}

/// Stores the rows of downloaded requests as nobody's, and nothing else: so they wait, sealed as the connector seals.
#[derive(Debug)]
struct Filling {
    inner: SqliteJournal,
    stored: AtomicU64,
}

#[async_trait]
impl Journal for Filling {
    fn scope(&self) -> JournalScope {
        JournalScope::Instance
    }
    fn is_durable(&self) -> bool {
        true
    }
    async fn load(&self, _: LoadRequest) -> Result<Vec<Row>, PortError> {
        Ok(Vec::new())
    }
    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<CommitAnswer>, PortError> {
        let answers = changes.iter().map(|change| CommitAnswer::Stored(change.row.version + 1)).collect();
        let fresh = changes.into_iter().filter(|change| change.row.version == 0 && change.row.state == RowState::Received);
        let fresh: Vec<Change> = fresh
            .map(|mut change| {
                change.row.owner = None;
                Change::new(change.row)
            })
            .collect();
        if !fresh.is_empty() {
            let count = fresh.len();
            let stored = self.inner.commit(fresh).await?;
            assert!(stored.iter().all(|answer| matches!(answer, CommitAnswer::Stored(_))), "{count} rows are new");
            self.stored.fetch_add(count as u64, Ordering::SeqCst);
        }
        Ok(answers)
    }
    async fn claim(&self, _: ClaimRequest) -> Result<Vec<Row>, PortError> {
        Ok(Vec::new())
    }
    async fn renew(&self, _: RenewRequest) -> Result<Vec<RowKey>, PortError> {
        Ok(Vec::new())
    }
    async fn prune(&self, _: PruneRequest) -> Result<u64, PortError> {
        Ok(0)
    }
    async fn stats(&self) -> Result<JournalStats, PortError> {
        Ok(JournalStats::default())
    }
}

fn connector(journal: Arc<dyn Journal>, queue: &Arc<Queue>, ca: &Arc<Ca>, runtime: &Arc<StdRuntime>, batch: usize) -> Connector {
    let settings =
        QueueSettings::new(Arc::clone(queue) as _).with_poll_interval(Duration::from_millis(1)).with_batch(batch).with_concurrency(50);
    let revoke = RevokeConfig::new(Arc::clone(queue) as _, "ca".parse().unwrap(), Arc::clone(ca) as _).with_settings(settings);
    Connector::builder(CryptoProvider::ring_and_aws_lc_rs(), journal)
        .tenant("contoso.com".parse().unwrap())
        .instance("one".parse().unwrap())
        .without_events_nobody_learns_of_failures()
        .runtime(Arc::clone(runtime) as _)
        .ca_concurrency(50)
        .sealing_key(SecretBytes::new(vec![7; 32]))
        .flow(revoke)
        .build()
        .unwrap()
}

/// Runs the connector until something holds, and abandons it.
fn run_until(connector: &Connector, runtime: &StdRuntime, holds: impl Fn() -> bool) {
    runtime.block_on(async {
        let mut run = pin!(connector.run_until(std::future::pending()));
        let mut tick = runtime.sleep(Duration::ZERO);
        poll_fn(|context| {
            assert!(run.as_mut().poll(context).is_pending(), "nobody stops it");
            while tick.as_mut().poll(context).is_ready() {
                if holds() {
                    return Poll::Ready(());
                }
                tick = runtime.sleep(Duration::from_millis(2));
            }
            Poll::Pending
        })
        .await;
    });
}

fn fill(path: &Path, rows: u64) {
    let runtime = Arc::new(StdRuntime::with_threads(1, 64).unwrap());
    let journal = Arc::new(Filling { inner: SqliteJournal::open(path).unwrap(), stored: AtomicU64::new(0) });
    let queue = Arc::new(Queue { left: AtomicU64::new(rows), results: AtomicU64::new(0) });
    let ca = Arc::new(Ca { is_stopped: true, first: OnceLock::new() });
    // Each connector has its hands full after one download.
    while journal.stored.load(Ordering::SeqCst) < rows {
        let before = journal.stored.load(Ordering::SeqCst);
        let connector = connector(Arc::clone(&journal) as _, &queue, &ca, &runtime, BATCH as usize);
        run_until(&connector, &runtime, || journal.stored.load(Ordering::SeqCst) > before);
    }
}

/// What is left in the journal, by its own account.
fn open_rows(path: &Path) -> u64 {
    StdRuntime::with_threads(1, 1).unwrap().block_on(SqliteJournal::open(path).unwrap().stats()).unwrap().open
}

const JOURNAL: &str = "BACKPRESSURE_TEST_JOURNAL";

/// Not a test of its own: the process that [`a_full_journal_takes_neither_memory_nor_time_to_start`] starts.
#[test]
fn the_process_that_works() {
    let Some(path) = std::env::var_os(JOURNAL).map(PathBuf::from) else { return };
    let runtime = Arc::new(StdRuntime::with_threads(1, 64).unwrap());
    let queue = Arc::new(Queue { left: AtomicU64::new(0), results: AtomicU64::new(0) });
    let ca = Arc::new(Ca { is_stopped: false, first: OnceLock::new() });
    let start = Instant::now();
    let journal = Arc::new(SqliteJournal::open(path).unwrap());
    let opened = start.elapsed();
    let connector = connector(journal, &queue, &ca, &runtime, 100);
    run_until(&connector, &runtime, || queue.results.load(Ordering::SeqCst) >= WORKED);
    let worked = start.elapsed();
    let first = *ca.first.get().unwrap() - start;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let most: u64 = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok()).unwrap();
    println!("opened after {opened:?}, asked the CA first after {first:?}, {WORKED} done after {worked:?}; at most {most} KiB of memory");
    assert!(most < MOST_MEMORY, "{most} KiB");
}

#[test]
fn a_full_journal_takes_neither_memory_nor_time_to_start() {
    let rows = std::env::var("INTUNE_CONNECTOR_WAITING_ROWS").map_or(20_000, |rows| rows.parse().unwrap());
    let folder = support::scratch();
    let path = folder.path().join("journal.db");
    let start = Instant::now();
    fill(&path, rows);
    println!("{rows} rows of {} MiB made in {:?}", path.metadata().unwrap().len() >> 20, start.elapsed());
    assert_eq!(open_rows(&path), rows);
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "the_process_that_works", "--nocapture", "--test-threads=1"]).env(JOURNAL, &path);
    let output = support::run(&mut child);
    println!("{}", String::from_utf8_lossy(&output.stdout).lines().find(|line| line.contains("opened after")).unwrap());
    let left = open_rows(&path);
    assert!(left <= rows - WORKED && left > 0, "{left} rows are left");
}
