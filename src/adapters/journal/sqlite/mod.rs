//! The journal in one SQLite file.

mod error;
mod queue;
mod room;
mod row;
mod schema;
mod store;
#[cfg(test)]
mod tests;
mod writer;

use core::fmt;
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use async_trait::async_trait;

pub use error::{JournalOpenError, JournalOpenErrorKind};
use queue::{Access, Queue, Refused};
use store::{Store, StoreError};

use crate::ports::{
    Change, ClaimRequest, CommitAnswer, Journal, JournalScope, JournalStats, LoadRequest, PortError, PruneRequest, RenewRequest, Row,
    RowKey,
};
use crate::retry::Effect;

/// Keeps rows in one SQLite file: what `commit` answered as stored survives the process and a power cut.
///
/// One process has the file at a time; a second one is refused ([`JournalOpenErrorKind::InUse`]), so that two instances never work on the
/// same rows without knowing of each other. Keep the file on a local disk: network file systems break its locks. Rows are sealed by the
/// connector, whose sealing key belongs elsewhere; file and log (`-wal`) are readable for their owner alone (mode 0600 on Unix). Copy the
/// file for a backup when the program has ended: then the log is part of it.
///
/// Needs no async runtime: a thread of its own does the work and is joined when the journal is dropped, after what waits is stored. All
/// changes that wait while the disk is busy are stored together, at the cost of one. A caller that stops waiting breaks nothing; its change
/// may be stored. When more waits than the options allow, callers get a passing error at once.
///
/// `claim` takes the rows that have been available longest. `claim` and `prune` take at most 10,000 rows in one call. The clock is the
/// caller's. The file keeps its largest size: the space of pruned rows is used again.
pub struct SqliteJournal {
    path: PathBuf,
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
    transactions: Arc<AtomicU64>,
}

/// What a power cut, or a crash of the system, may cost. A crash of the process alone costs nothing in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PowerCut {
    /// Nothing that was answered: each transaction is on the disk before its callers go on (`synchronous=FULL`).
    #[default]
    LosesNothing,
    /// The transactions of the last seconds; the file stays sound (`synchronous=NORMAL`). A CA that was asked in these seconds may be asked
    /// again, and what it issued then has no owner: only where the CA dies with the machine as well, or issues idempotently.
    LosesTheLast,
}

/// How a journal is opened.
#[derive(Debug, Clone)]
pub struct SqliteJournalOptions {
    path: PathBuf,
    lock_timeout: Duration,
    power_cut: PowerCut,
    most_waiting: usize,
    most_waiting_bytes: usize,
}

impl SqliteJournalOptions {
    /// For that file; it is made when it is not there, its folder is not.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            lock_timeout: Duration::from_secs(5),
            power_cut: PowerCut::LosesNothing,
            most_waiting: 4_096,
            most_waiting_bytes: 64 << 20,
        }
    }

    /// Sets how long opening waits for another process to let go of the file. Default 5 s: a predecessor may be ending.
    #[must_use]
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// Sets what a power cut, or a crash of the system, may cost. Default [`PowerCut::LosesNothing`].
    #[must_use]
    pub fn power_cut(mut self, power_cut: PowerCut) -> Self {
        self.power_cut = power_cut;
        self
    }

    /// Sets how many calls, with how many bytes of rows, may wait; further ones get a passing error. Default 4,096 calls and 64 MiB. A
    /// single call with more bytes is refused for good.
    #[must_use]
    pub fn most_waiting(mut self, calls: usize, bytes: usize) -> Self {
        (self.most_waiting, self.most_waiting_bytes) = (calls, bytes);
        self
    }

    /// Opens the journal; blocks the thread while it waits for the lock and reads the log.
    ///
    /// # Errors
    /// When the file cannot be opened, made or locked, or is no journal that this version knows; see [`JournalOpenErrorKind`].
    pub fn open(self) -> Result<SqliteJournal, JournalOpenError> {
        // Absolute, so that neither a change of folder nor SQLite's special names (`:memory:`, `file:`) make another file of it.
        let path = std::path::absolute(&self.path).map_err(|error| JournalOpenError::from_io(&error, &self.path))?;
        let queue = Arc::new(Queue::new(self.most_waiting, self.most_waiting_bytes));
        let transactions = Arc::<AtomicU64>::default();
        let (opened, outcome) = mpsc::sync_channel(1);
        let (of_thread, counter, file) = (Arc::clone(&queue), Arc::clone(&transactions), path.clone());
        let (lock_timeout, power_cut) = (self.lock_timeout, self.power_cut);
        let thread = thread::Builder::new()
            .name("connector-journal".to_owned())
            .spawn(move || serve(&file, lock_timeout, power_cut, &opened, &of_thread, &counter))
            .map_err(|error| JournalOpenError::from_io(&error, &path))?;
        let journal = SqliteJournal { path, queue, thread: Some(thread), transactions };
        match outcome.recv() {
            Ok(Ok(())) => Ok(journal),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                let reason = "its thread ended".to_owned();
                Err(JournalOpenError::new(JournalOpenErrorKind::CannotOpen { reason }, &journal.path))
            }
        }
    }
}

/// All that happens on the journal's thread.
fn serve(
    path: &Path,
    lock_timeout: Duration,
    power_cut: PowerCut,
    opened: &mpsc::SyncSender<Result<(), JournalOpenError>>,
    queue: &Queue,
    transactions: &AtomicU64,
) {
    /// However the thread ends, nobody waits for it.
    struct Abandon<'a>(&'a Queue);
    impl Drop for Abandon<'_> {
        fn drop(&mut self) {
            self.0.abandon();
        }
    }
    let _abandon = Abandon(queue);
    let connection = match schema::open(path, lock_timeout, power_cut) {
        Ok(connection) => connection,
        Err(error) => {
            let _ = opened.send(Err(error));
            return;
        }
    };
    match Store::new(&connection, path) {
        Ok(mut store) => {
            let _ = opened.send(Ok(()));
            writer::run(&connection, &mut store, path, queue, transactions);
        }
        Err(error) => {
            let _ = opened.send(Err(JournalOpenError::from_sql(&error, path)));
        }
    }
    // Closing writes the log back and removes it. What fails here fails after all answers: the log stays and the next start reads it.
    let _ = connection.close();
}

impl SqliteJournal {
    /// Opens the journal in that file, and makes it when it is not there; with the defaults of [`SqliteJournalOptions`].
    ///
    /// # Errors
    /// As [`SqliteJournalOptions::open`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, JournalOpenError> {
        SqliteJournalOptions::new(path).open()
    }

    /// The file, as an absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many transactions it has written since it was opened: all changes of one have the cost of one.
    #[must_use]
    pub fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    async fn call<T: Send + 'static>(
        &self,
        access: Access,
        bytes: usize,
        work: impl FnMut(&mut Store<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, PortError> {
        let (operation, answer) = queue::call(access, work);
        self.queue.push(operation, bytes).map_err(|refused| self.refused(refused, bytes))?;
        answer.await.unwrap_or_else(|_| Err(self.ended()))
    }

    fn refused(&self, refused: Refused, bytes: usize) -> PortError {
        let path = self.path.display();
        match refused {
            Refused::Full => PortError::transient(format!("the journal {path}: too much waits for the disk; it is slow or overloaded"))
                .with_effect(Effect::None),
            Refused::TooLarge => {
                PortError::rejected(format!("the journal {path}: {bytes} bytes in one call are more than its options let wait: split it"))
            }
            Refused::Closed => self.ended().with_effect(Effect::None),
        }
    }

    fn ended(&self) -> PortError {
        PortError::transient(format!("the journal {}: its thread has ended; start the program anew", self.path.display()))
    }
}

impl fmt::Debug for SqliteJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteJournal").field("path", &self.path).field("transactions", &self.transactions).finish_non_exhaustive()
    }
}

impl Drop for SqliteJournal {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take()
            // A waker may drop the last reference on the journal's own thread: it ends by itself.
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

/// What a row takes in memory besides its blob, roughly.
const ROW: usize = 256;

#[async_trait]
impl Journal for SqliteJournal {
    fn scope(&self) -> JournalScope {
        JournalScope::Instance
    }

    fn is_durable(&self) -> bool {
        true
    }

    async fn load(&self, request: LoadRequest) -> Result<Vec<Row>, PortError> {
        let keys = if let LoadRequest::Keys(keys) = &request { keys.len() } else { 1 };
        self.call(Access::Read, keys.saturating_mul(ROW), move |store| store.load(&request)).await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<CommitAnswer>, PortError> {
        let bytes = changes.iter().fold(0usize, |sum, change| sum.saturating_add(ROW).saturating_add(change.row.blob.as_bytes().len()));
        self.call(Access::Write, bytes, move |store| store.change(&changes)).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Row>, PortError> {
        self.call(Access::Claim, ROW, move |store| store.claim(&request)).await
    }

    async fn renew(&self, request: RenewRequest) -> Result<Vec<RowKey>, PortError> {
        self.call(Access::Write, request.rows.len().saturating_mul(ROW), move |store| store.renew(&request)).await
    }

    async fn prune(&self, request: PruneRequest) -> Result<u64, PortError> {
        self.call(Access::Write, ROW, move |store| store.prune(&request)).await
    }

    async fn stats(&self) -> Result<JournalStats, PortError> {
        self.call(Access::Read, ROW, |store| store.stats()).await
    }
}
