//! The journal that is lost with the process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::ports::{
    Change, ClaimRequest, CommitAnswer, Journal, JournalScope, JournalStats, LoadRequest, PortError, PruneRequest, RenewRequest, Row,
    RowKey, RowKind, RowState,
};

/// Keeps rows in memory: everything is lost with the process, so after a crash requests may be done twice and certificates may be issued
/// that nobody gets. For tests, demonstrations, and queues whose CA issues idempotently.
#[derive(Debug)]
pub struct VolatileJournal {
    scope: JournalScope,
    rows: Mutex<HashMap<RowKey, Row>>,
}

impl Default for VolatileJournal {
    fn default() -> Self {
        Self { scope: JournalScope::Instance, rows: Mutex::default() }
    }
}

impl VolatileJournal {
    /// Without rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Without rows, for several instances in one process that share it: tests of fleets.
    #[must_use]
    pub fn shared() -> Self {
        Self { scope: JournalScope::Fleet, rows: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RowKey, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of all rows, for tests; in no order.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        self.lock().values().cloned().collect()
    }
}

fn oldest_first(rows: &mut [Row]) {
    rows.sort_by_key(|row| (row.created, row.key));
}

#[async_trait]
impl Journal for VolatileJournal {
    fn scope(&self) -> JournalScope {
        self.scope
    }

    fn is_durable(&self) -> bool {
        false
    }

    async fn load(&self, request: LoadRequest) -> Result<Vec<Row>, PortError> {
        let rows = self.lock();
        Ok(match request {
            LoadRequest::Keys(keys) => keys.iter().filter_map(|key| rows.get(key).cloned()).collect(),
            LoadRequest::Parked { kind, max } => {
                let mut parked: Vec<Row> =
                    rows.values().filter(|row| row.key.kind == kind && row.state == RowState::Parked).cloned().collect();
                drop(rows);
                oldest_first(&mut parked);
                parked.truncate(max);
                parked
            }
            LoadRequest::Open { kind, max } => {
                let mut open: Vec<Row> = rows.values().filter(|row| row.key.kind == kind && !row.state.is_final()).cloned().collect();
                drop(rows);
                oldest_first(&mut open);
                open.truncate(max);
                open
            }
        })
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<CommitAnswer>, PortError> {
        let mut rows = self.lock();
        Ok(changes
            .into_iter()
            .map(|Change { mut row, .. }| {
                let fits = match rows.get(&row.key) {
                    Some(stored) => stored.version == row.version && stored.lease_epoch == row.lease_epoch,
                    None => row.version == 0,
                };
                if !fits {
                    return CommitAnswer::Conflict;
                }
                row.version += 1;
                let version = row.version;
                rows.insert(row.key, row);
                CommitAnswer::Stored(version)
            })
            .collect())
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Row>, PortError> {
        let mut rows = self.lock();
        let free = |row: &&Row| {
            let is_own = request.own && row.owner.as_ref() == Some(&request.owner);
            row.key.kind == request.kind
                && row.flow == request.flow
                && !row.state.is_final()
                && (is_own || row.due <= request.now)
                && request.routes.as_ref().is_none_or(|routes| row.route.as_ref().is_none_or(|route| routes.contains(route)))
                && (is_own || row.owner.is_none() || row.lease_until <= request.now)
        };
        let mut claimed: Vec<Row> = rows.values().filter(free).cloned().collect();
        oldest_first(&mut claimed);
        claimed.truncate(request.max);
        for row in &mut claimed {
            row.version += 1;
            row.lease_epoch += 1;
            row.owner = Some(request.owner.clone());
            row.lease_until = request.now.saturating_add(request.lease);
            row.updated = request.now;
            rows.insert(row.key, row.clone());
        }
        Ok(claimed)
    }

    async fn renew(&self, request: RenewRequest) -> Result<Vec<RowKey>, PortError> {
        let mut rows = self.lock();
        let mut held = Vec::new();
        for (key, epoch) in request.rows {
            if let Some(row) = rows.get_mut(&key)
                && row.lease_epoch == epoch
                && row.owner.as_ref() == Some(&request.owner)
            {
                row.lease_until = request.now.saturating_add(request.lease);
                held.push(key);
            }
        }
        Ok(held)
    }

    async fn prune(&self, request: PruneRequest) -> Result<u64, PortError> {
        let mut rows = self.lock();
        let old: Vec<RowKey> = rows
            .values()
            .filter(|row| row.state.is_final() && request.forgets(row.state, row.updated))
            .map(|row| row.key)
            .take(request.max)
            .collect();
        for key in &old {
            rows.remove(key);
        }
        Ok(old.len() as u64)
    }

    async fn stats(&self) -> Result<JournalStats, PortError> {
        let rows = self.lock();
        let mut stats = JournalStats::default();
        for row in rows.values().filter(|row| row.key.kind != RowKind::Instance) {
            if row.state.is_final() {
                stats.finished += 1;
            } else {
                stats.open += 1;
                stats.oldest_open = Some(stats.oldest_open.map_or(row.created, |oldest| oldest.min(row.created)));
            }
        }
        Ok(stats)
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::ids::IdempotencyKey;
    use crate::ports::SealedBlob;
    use crate::terms::Flow;
    use crate::time::Timestamp;

    fn row(number: u8) -> Row {
        let key = RowKey { kind: RowKind::Request, key: IdempotencyKey::new([number; 32]) };
        Row::new(key, Flow::Pkcs, Timestamp::from_secs(i64::from(number)), SealedBlob::new(vec![number]))
    }

    fn commit(journal: &VolatileJournal, row: Row) -> CommitAnswer {
        journal.commit(vec![Change::new(row)]).now_or_never().unwrap().unwrap()[0]
    }

    #[test]
    fn a_commit_of_another_version_or_an_older_owner_is_refused() {
        let journal = VolatileJournal::new();
        assert_eq!(commit(&journal, row(1)), CommitAnswer::Stored(1));
        assert_eq!(commit(&journal, row(1)), CommitAnswer::Conflict);
        let claim = |now| {
            let owner = "a".parse().unwrap();
            let request = ClaimRequest::new(RowKind::Request, Flow::Pkcs, owner, 9, Timestamp::from_secs(now), Duration::from_secs(10));
            journal.claim(request).now_or_never().unwrap().unwrap()
        };
        let old = claim(5).remove(0);
        assert!(claim(6).is_empty(), "the lease lives");
        let new = claim(16).remove(0);
        assert_eq!(commit(&journal, old), CommitAnswer::Conflict);
        assert_eq!(commit(&journal, new), CommitAnswer::Stored(4));
    }

    #[test]
    fn only_final_rows_are_pruned() {
        let journal = VolatileJournal::new();
        let mut done = row(1);
        done.state = RowState::Acknowledged;
        commit(&journal, done);
        commit(&journal, row(2));
        let pruned = journal.prune(PruneRequest::new(Timestamp::from_secs(100), 10)).now_or_never().unwrap().unwrap();
        assert_eq!((pruned, journal.rows().len()), (1, 1));
        let open = journal.load(LoadRequest::Open { kind: RowKind::Request, max: 5 }).now_or_never().unwrap().unwrap();
        assert_eq!(open[0].key, row(2).key);
    }
}
