//! The chosen journal, its calls counted, some of them failing.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use intune_connector::adapters::{PostgresJournalOptions, SealingKeyError, SealingKeyFile, SqliteJournal, VolatileJournal};
use intune_connector::crypto::CryptoProvider;
use intune_connector::ports::{
    Change, ClaimRequest, CommitAnswer, Journal, JournalScope, JournalStats, LoadRequest, PortError, PruneRequest, RenewRequest, Row,
    RowKey,
};

use crate::arguments::{Arguments, JournalKind};
use crate::faults::{Faults, lost};

/// Passes calls on.
#[derive(Debug)]
pub struct Counted {
    inner: Arc<dyn Journal>,
    sqlite: Option<Arc<SqliteJournal>>,
    faults: Arc<Faults>,
    calls: AtomicU64,
    changes: AtomicU64,
}

impl Counted {
    pub fn open(arguments: &Arguments, faults: Arc<Faults>) -> Result<Self, Box<dyn Error>> {
        let mut sqlite = None;
        let inner: Arc<dyn Journal> = match &arguments.journal {
            JournalKind::Memory => Arc::new(VolatileJournal::new()),
            JournalKind::Sqlite(path) => {
                let journal = Arc::new(SqliteJournal::open(path)?);
                sqlite = Some(Arc::clone(&journal));
                journal
            }
            JournalKind::Postgres(url) => {
                let options = PostgresJournalOptions::new(url.as_str());
                Arc::new(options.connections(if arguments.processes > 1 || arguments.child.is_some() { 2 } else { 4 }).open()?)
            }
        };
        Ok(Self { inner, sqlite, faults, calls: AtomicU64::new(0), changes: AtomicU64::new(0) })
    }

    /// Commits that were asked for, the changes in them, and the transactions that the journal made of them where it says so.
    pub fn figures(&self) -> (u64, u64, Option<u64>) {
        let transactions = self.sqlite.as_ref().map(|journal| journal.transactions());
        (self.calls.load(Ordering::Relaxed), self.changes.load(Ordering::Relaxed), transactions)
    }
}

/// The size of the journal's files; nothing where it is not in one file.
pub fn size(kind: &JournalKind) -> Option<u64> {
    let JournalKind::Sqlite(path) = kind else { return None };
    let log = PathBuf::from(format!("{}-wal", path.display()));
    Some([path, &log].into_iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum())
}

/// The file of the sealing key, made when it is not there. `None` with the journal in memory.
pub fn sealing_key(arguments: &Arguments, provider: &CryptoProvider) -> Result<Option<SealingKeyFile>, Box<dyn Error>> {
    let beside = |path: &Path| PathBuf::from(format!("{}.key", path.display()));
    let file = match (&arguments.sealing_key, &arguments.journal) {
        (Some(file), _) => file.clone(),
        (None, JournalKind::Sqlite(path)) => beside(path),
        (None, _) => return Ok(None),
    };
    match SealingKeyFile::create(&file, provider) {
        Ok(made) => Ok(Some(made)),
        Err(SealingKeyError::Exists(_)) => Ok(Some(SealingKeyFile::new(&file))),
        Err(error) => Err(error.into()),
    }
}

#[async_trait]
impl Journal for Counted {
    fn scope(&self) -> JournalScope {
        self.inner.scope()
    }

    fn is_durable(&self) -> bool {
        self.inner.is_durable()
    }

    async fn load(&self, request: LoadRequest) -> Result<Vec<Row>, PortError> {
        self.faults.before("load")?;
        self.inner.load(request).await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<CommitAnswer>, PortError> {
        let is_lost = self.faults.before("commit")?;
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.changes.fetch_add(changes.len() as u64, Ordering::Relaxed);
        let answers = self.inner.commit(changes).await?;
        if is_lost { Err(lost("commit")) } else { Ok(answers) }
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Row>, PortError> {
        self.faults.before("claim")?;
        self.inner.claim(request).await
    }

    async fn renew(&self, request: RenewRequest) -> Result<Vec<RowKey>, PortError> {
        self.inner.renew(request).await
    }

    async fn prune(&self, request: PruneRequest) -> Result<u64, PortError> {
        self.inner.prune(request).await
    }

    async fn stats(&self) -> Result<JournalStats, PortError> {
        self.inner.stats().await
    }
}
