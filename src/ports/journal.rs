//! Where the state of requests survives. One shape for all flows; blobs are sealed, so an implementation sees no secret.

use core::fmt::Debug;
use core::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::PortError;
use crate::ids::{IdempotencyKey, InstanceId, Route};
use crate::terms::Flow;
use crate::time::Timestamp;

/// How far a journal's knowledge reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JournalScope {
    /// One instance sees it; another may have asked the CA for the same request.
    Instance,
    /// All instances of the tenant share it.
    Fleet,
}

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RowKind {
    /// A request of a queue.
    Request,
    /// A SCEP transaction.
    ScepTransaction,
    /// The latest transaction of a SCEP transactionID.
    ScepTransactionId,
    /// A notification that waits for the service.
    Notification,
    /// The last health message.
    Health,
    /// The time before which a queue must not be polled.
    CoolDown,
    /// A certificate to be revoked since it was never delivered.
    Orphan,
    /// A revocation request as Intune gave it out, until its result is accepted.
    Revocation,
    /// A place in the fleet, and who has it.
    Instance,
}

/// Identifies a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RowKey {
    /// What it is about.
    pub kind: RowKind,
    /// Which one.
    pub key: IdempotencyKey,
}

/// Where a request stands (facts: the state machine of the reliability design).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RowState {
    /// Downloaded.
    Received,
    /// Key pair and CSR are made.
    Planned,
    /// Committed before the CA is asked.
    Asked,
    /// The CA answered with a certificate that passed the check.
    Issued,
    /// The result is ready for upload, a failure too.
    Packed,
    /// Committed before the upload.
    Uploading,
    /// The queue accepted the result.
    Acknowledged,
    /// Ended without a result to upload.
    Failed,
    /// Left for an operator.
    Parked,
    /// A certificate may exist that nobody will get.
    OrphanSuspected,
}

impl RowState {
    /// Whether nothing more is done for it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Acknowledged | Self::Failed | Self::Parked)
    }
}

/// A row's content, encrypted and authenticated by the connector.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedBlob(Vec<u8>);

impl SealedBlob {
    /// Bytes as sealed by the connector, or as read back from storage.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Debug for SealedBlob {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SealedBlob({} bytes)", self.0.len())
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// Which one.
    pub key: RowKey,
    /// The flow.
    pub flow: Flow,
    /// What an instance must have to work on it; absent when any can.
    pub route: Option<Route>,
    /// Where it stands.
    pub state: RowState,
    /// Raised by each commit; a commit names the version that it replaces.
    pub version: u64,
    /// Raised by each claim; a commit by an older owner is refused.
    pub lease_epoch: u64,
    /// Who works on it.
    pub owner: Option<InstanceId>,
    /// When the owner's lease ends.
    pub lease_until: Timestamp,
    /// Attempts so far.
    pub attempt: u32,
    /// Deliveries by the queue so far.
    pub delivery: u32,
    /// When it is to be worked on next.
    pub due: Timestamp,
    /// When it was first seen.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// The rest.
    pub blob: SealedBlob,
}

impl Row {
    /// A new row in state `Received`, version 0 (not yet stored).
    #[must_use]
    pub fn new(key: RowKey, flow: Flow, now: Timestamp, blob: SealedBlob) -> Self {
        Self {
            key,
            flow,
            route: None,
            state: RowState::Received,
            version: 0,
            lease_epoch: 0,
            owner: None,
            lease_until: now,
            attempt: 0,
            delivery: 1,
            due: now,
            created: now,
            updated: now,
            blob,
        }
    }
}

/// Which rows to read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadRequest {
    /// These rows; missing ones are left out of the answer.
    Keys(Vec<RowKey>),
    /// Rows of a kind that are not final, oldest first, at most so many.
    Open {
        /// The kind.
        kind: RowKind,
        /// The most rows.
        max: usize,
    },
    /// Parked rows of a kind, oldest first, at most so many.
    Parked {
        /// The kind.
        kind: RowKind,
        /// The most rows.
        max: usize,
    },
}

/// One compare-and-set: the row as it shall be. It is stored when the stored version and lease epoch equal the given ones
/// (version 0: when there is no such row), with its version raised by one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The row; `version` and `lease_epoch` are those that it replaces.
    pub row: Row,
    /// For how long the owner shall have it from now on: a journal with a clock of its own ends the lease by that clock, others store the
    /// row's own `lease_until`, which says the same by the caller's. Absent: `lease_until` is stored as it is.
    pub lease: Option<Duration>,
}

impl Change {
    /// To this row, as it is.
    #[must_use]
    pub fn new(row: Row) -> Self {
        Self { row, lease: None }
    }

    /// With a lease of this length from now on.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }
}

/// What became of one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitAnswer {
    /// Stored, with this version.
    Stored(u64),
    /// Another owner or another version: nothing was stored.
    Conflict,
}

/// Takes over rows that are due and free.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClaimRequest {
    /// The kind.
    pub kind: RowKind,
    /// The flow.
    pub flow: Flow,
    /// Who claims.
    pub owner: InstanceId,
    /// The most rows.
    pub max: usize,
    /// The time; a database uses its own clock.
    pub now: Timestamp,
    /// For how long.
    pub lease: Duration,
    /// Only rows with one of these routes, or with none; absent: any.
    pub routes: Option<Vec<Route>>,
    /// Rows of this owner are free too, whatever their lease and due time: it has just started, and an earlier run of it has ended. They were in
    /// hand, so they are due; a clock that was set back would say otherwise.
    pub own: bool,
}

impl ClaimRequest {
    /// A request from its parts, for rows of any route.
    #[must_use]
    pub fn new(kind: RowKind, flow: Flow, owner: InstanceId, max: usize, now: Timestamp, lease: Duration) -> Self {
        Self { kind, flow, owner, max, now, lease, routes: None, own: false }
    }

    /// Takes only rows with one of these routes, or with none.
    #[must_use]
    pub fn with_routes(mut self, routes: Vec<Route>) -> Self {
        self.routes = Some(routes);
        self
    }

    /// Takes the owner's own rows as well.
    #[must_use]
    pub fn with_own(mut self) -> Self {
        self.own = true;
        self
    }
}

/// Keeps claimed rows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RenewRequest {
    /// The rows with the epochs under which they are held.
    pub rows: Vec<(RowKey, u64)>,
    /// Who holds them.
    pub owner: InstanceId,
    /// The time; a database uses its own clock.
    pub now: Timestamp,
    /// For how long from now.
    pub lease: Duration,
}

impl RenewRequest {
    /// A request from its parts.
    #[must_use]
    pub fn new(rows: Vec<(RowKey, u64)>, owner: InstanceId, now: Timestamp, lease: Duration) -> Self {
        Self { rows, owner, now, lease }
    }
}

/// Forgets final rows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneRequest {
    /// Rows last changed before this are forgotten.
    pub before: Timestamp,
    /// Parked rows, which wait for an operator, are kept until they were last changed before this. As `before` unless set.
    pub parked_before: Timestamp,
    /// The most rows in one call.
    pub max: usize,
    /// What time it is by the clock that `before` is of: a journal with a clock of its own then goes by the age that `before` means, so that
    /// an instance whose clock is ahead forgets nothing too early.
    pub now: Option<Timestamp>,
}

impl PruneRequest {
    /// A request from its parts.
    #[must_use]
    pub fn new(before: Timestamp, max: usize) -> Self {
        Self { before, parked_before: before, max, now: None }
    }

    /// Sets before when parked rows must have been changed to be forgotten.
    #[must_use]
    pub fn with_parked_before(mut self, before: Timestamp) -> Self {
        self.parked_before = before;
        self
    }

    /// Says what time it is by the caller's clock.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        self.now = Some(now);
        self
    }

    /// Whether a final row of that state and last change is to be forgotten.
    #[must_use]
    pub fn forgets(&self, state: RowState, updated: Timestamp) -> bool {
        updated < self.before && (state != RowState::Parked || updated < self.parked_before)
    }
}

/// Sizes of a journal, places of instances ([`RowKind::Instance`]) left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JournalStats {
    /// Rows that are not final.
    pub open: u64,
    /// Final rows not yet pruned.
    pub finished: u64,
    /// When the oldest open row was first seen.
    pub oldest_open: Option<Timestamp>,
    /// The room of the storage; absent when the journal cannot tell.
    pub storage: Option<StorageRoom>,
}

/// How much room a journal's storage has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StorageRoom {
    /// Bytes that are free.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Keeps rows.
///
/// Every change is atomic by itself; `commit` may store several, and answers for each. An error means: not known whether stored.
#[async_trait]
pub trait Journal: Debug + Send + Sync {
    /// How far its knowledge reaches.
    fn scope(&self) -> JournalScope;

    /// Whether rows survive the process.
    fn is_durable(&self) -> bool;

    /// Reads rows.
    ///
    /// # Errors
    /// When the storage fails.
    async fn load(&self, request: LoadRequest) -> Result<Vec<Row>, PortError>;

    /// Stores changes, durably before it returns when the journal is durable; one answer for each change, in order.
    ///
    /// # Errors
    /// When the storage fails: nothing that depends on the change may be done.
    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<CommitAnswer>, PortError>;

    /// Takes over rows that are not final, due, and without a living lease; raises their epoch.
    ///
    /// # Errors
    /// When the storage fails.
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Row>, PortError>;

    /// Prolongs leases; gives the keys that are still held.
    ///
    /// # Errors
    /// When the storage fails.
    async fn renew(&self, request: RenewRequest) -> Result<Vec<RowKey>, PortError>;

    /// Forgets final rows; gives how many.
    ///
    /// # Errors
    /// When the storage fails.
    async fn prune(&self, request: PruneRequest) -> Result<u64, PortError>;

    /// Sizes.
    ///
    /// # Errors
    /// When the storage fails.
    async fn stats(&self) -> Result<JournalStats, PortError>;
}
