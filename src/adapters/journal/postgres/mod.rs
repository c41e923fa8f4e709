//! The journal that a fleet shares, in a PostgreSQL database.

mod batch;
mod calls;
mod connect;
mod error;
mod options;
mod pool;
mod row;
mod schema;
mod statements;
mod tls;

use core::fmt;
use core::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use async_trait::async_trait;
use futures_channel::oneshot;
use tokio::runtime::Runtime as Threads;

use batch::{Call, Commits};
use connect::{Link, Server, SharedServer};
use error::Fault;
pub use error::{PostgresOpenError, PostgresOpenErrorKind};
pub use options::PostgresJournalOptions;
use pool::Pool;

use crate::ports::{
    Change, ClaimRequest, CommitAnswer, Journal, JournalScope, JournalStats, LoadRequest, PortError, PruneRequest, RenewRequest, Row,
    RowKey,
};
use crate::retry::Effect;

/// Keeps rows in a PostgreSQL database that all instances of a tenant share: what `commit` answered as stored survives the process, and the
/// server's crash where the server's own settings (`fsync`, `full_page_writes`) are not weakened.
///
/// Leases end by the database's clock, whatever the instances' clocks say; only `due` and the times of a row are the instances' own. An
/// instance that was paused beyond its lease finds that its commits are conflicts. Each call is one statement and one transaction of its
/// own: an instance that stops in the middle holds no lock.
///
/// It has one thread of its own for its connections, so a caller may use any executor. All commits that wait while another is on its way are
/// stored together, at the cost of one. A caller that stops waiting breaks nothing; its change may be stored. When more waits than the options
/// allow, callers get a passing error at once. Connections that break are made anew by the next call; what was on its way ends with an error
/// whose effect is unknown. Dropping the journal ends the thread, and what still waits may not be stored.
///
/// `claim` takes the rows that have been available longest, at most 1,000 in one call; `prune` at most 10,000. `stats` counts rows, which
/// takes longer the more there are.
///
/// Rows are sealed by the connector; who can change the tables can still withhold or repeat rows: let the connectors' user alone have rights
/// on the schema. A pooler between (PgBouncer) must keep sessions, since statements are prepared and settings belong to the session.
pub struct PostgresJournal {
    shared: Arc<Shared>,
    threads: Option<Threads>,
}

struct Shared {
    server: SharedServer,
    pool: Pool,
    commits: Commits,
    waiting: Arc<Waiting>,
}

impl PostgresJournal {
    /// Opens the journal in that database, and makes its tables when they are not there; with the defaults of [`PostgresJournalOptions`].
    ///
    /// # Errors
    /// As [`PostgresJournalOptions::open`].
    pub fn open(url: impl Into<crate::secret::Password>) -> Result<Self, PostgresOpenError> {
        PostgresJournalOptions::new(url).open()
    }

    fn start(options: PostgresJournalOptions) -> Result<Self, PostgresOpenError> {
        let waiting = Arc::new(Waiting::new(options.most_waiting, options.most_waiting_bytes));
        let (connections, patience) = (options.connections, options.statement_timeout);
        let server = Arc::new(Server::new(options).map_err(|(kind, place)| PostgresOpenError { kind, place })?);
        let refused = |kind| PostgresOpenError { kind, place: server.place.clone() };
        let threads =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().thread_name("connector-journal").build().map_err(
                |error| refused(PostgresOpenErrorKind::Setting { reason: format!("no thread can be started: {error}; see its limits") }),
            )?;
        let pool = Pool::new(Arc::clone(&server), connections, patience);
        let shared = Arc::new(Shared { server: Arc::clone(&server), pool, commits: Commits::default(), waiting });
        let (opened, outcome) = mpsc::sync_channel(1);
        let opening = Arc::clone(&shared);
        threads.spawn(async move {
            let outcome = async {
                opening.server.prepare().await?;
                opening.pool.take().await?.give_back(None);
                Ok::<(), Fault>(())
            };
            let _ = opened.send(outcome.await);
        });
        let journal = Self { shared, threads: Some(threads) };
        match outcome.recv() {
            Ok(Ok(())) => Ok(journal),
            Ok(Err(fault)) => Err(refused(fault.into_kind())),
            Err(_) => Err(refused(PostgresOpenErrorKind::CannotConnect { reason: "its thread ended".to_owned() })),
        }
    }

    /// The servers, the database and the schema, for messages; without credentials.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.shared.server.place
    }

    fn admit(&self, bytes: usize) -> Result<Admitted, PortError> {
        let place = self.place();
        if bytes > self.shared.waiting.most_bytes {
            let message = format!("the journal at {place}: {bytes} bytes in one call are more than its options let wait: split it");
            return Err(PortError::rejected(message));
        }
        Waiting::admit(&self.shared.waiting, bytes).ok_or_else(|| {
            PortError::transient(format!("the journal at {place}: too much waits for the server; it is slow or overloaded"))
                .with_effect(Effect::None)
        })
    }

    fn ended(&self) -> PortError {
        PortError::transient(format!("the journal at {}: its thread has ended; start the program anew", self.place()))
    }

    /// Does that on a connection, on the journal's thread; not begun when the caller has gone before there is a connection.
    async fn call<T: Send + 'static, W>(&self, bytes: usize, work: W) -> Result<T, PortError>
    where
        W: for<'l> FnOnce(&'l Link) -> std::pin::Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'l>> + Send + 'static,
    {
        let admitted = self.admit(bytes)?;
        let threads = self.threads.as_ref().ok_or_else(|| self.ended().with_effect(Effect::None))?;
        let gone = Arc::new(AtomicBool::new(false));
        let _leaving = Leaving(Arc::clone(&gone));
        let (tell, told) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        threads.spawn(async move {
            let _admitted = admitted;
            let answer = async {
                let lent = shared.pool.take().await?;
                if gone.load(Ordering::Acquire) {
                    lent.give_back(None);
                    return Ok(None);
                }
                let answer = work(&lent.link).await;
                lent.give_back(answer.as_ref().err());
                answer.map(Some)
            };
            if let Some(answer) = answer.await.transpose() {
                let _ = tell.send(answer.map_err(|fault| fault.port_error(&shared.server.place)));
            }
        });
        told.await.unwrap_or_else(|_| Err(self.ended()))
    }
}

/// Says so when the caller goes.
struct Leaving(Arc<AtomicBool>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// How much may wait, and does.
struct Waiting {
    calls: AtomicUsize,
    bytes: AtomicUsize,
    most: usize,
    most_bytes: usize,
}

/// Room among what waits.
struct Admitted {
    waiting: Arc<Waiting>,
    bytes: usize,
}

impl Waiting {
    fn new(most: usize, most_bytes: usize) -> Self {
        Self { calls: AtomicUsize::new(0), bytes: AtomicUsize::new(0), most: most.max(1), most_bytes }
    }

    fn admit(this: &Arc<Self>, bytes: usize) -> Option<Admitted> {
        let calls = this.calls.fetch_add(1, Ordering::AcqRel);
        let held = this.bytes.fetch_add(bytes, Ordering::AcqRel);
        // Given up again by dropping it.
        let admitted = Admitted { waiting: Arc::clone(this), bytes };
        (calls < this.most && bytes <= this.most_bytes.saturating_sub(held)).then_some(admitted)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.waiting.calls.fetch_sub(1, Ordering::AcqRel);
        self.waiting.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl fmt::Debug for PostgresJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresJournal").field("place", &self.shared.server.place).finish_non_exhaustive()
    }
}

impl Drop for PostgresJournal {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            // Dropping it would wait, and panics inside another runtime.
            threads.shutdown_background();
        }
    }
}

/// What a row takes in memory besides its blob, roughly.
const ROW: usize = 256;

#[async_trait]
impl Journal for PostgresJournal {
    fn scope(&self) -> JournalScope {
        JournalScope::Fleet
    }

    fn is_durable(&self) -> bool {
        true
    }

    async fn load(&self, request: LoadRequest) -> Result<Vec<Row>, PortError> {
        let keys = if let LoadRequest::Keys(keys) = &request { keys.len() } else { 1 };
        self.call(keys.saturating_mul(ROW), |link| Box::pin(async move { calls::load(link, &request).await })).await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<CommitAnswer>, PortError> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = changes.iter().fold(0usize, |sum, change| sum.saturating_add(ROW).saturating_add(change.row.blob.as_bytes().len()));
        let admitted = self.admit(bytes)?;
        let threads = self.threads.as_ref().ok_or_else(|| self.ended().with_effect(Effect::None))?;
        let (caller, answer) = oneshot::channel();
        if self.shared.commits.push(Call { changes, caller, _admitted: admitted }) {
            let shared = Arc::clone(&self.shared);
            threads.spawn(async move { shared.commits.run(&shared.pool, &shared.server.place).await });
        }
        answer.await.unwrap_or_else(|_| Err(self.ended()))
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Row>, PortError> {
        self.call(ROW, |link| Box::pin(async move { calls::claim(link, &request).await })).await
    }

    async fn renew(&self, request: RenewRequest) -> Result<Vec<RowKey>, PortError> {
        self.call(request.rows.len().saturating_mul(ROW), |link| Box::pin(async move { calls::renew(link, &request).await })).await
    }

    async fn prune(&self, request: PruneRequest) -> Result<u64, PortError> {
        self.call(ROW, |link| Box::pin(async move { calls::prune(link, &request).await })).await
    }

    async fn stats(&self) -> Result<JournalStats, PortError> {
        self.call(ROW, |link| Box::pin(calls::stats(link))).await
    }
}
