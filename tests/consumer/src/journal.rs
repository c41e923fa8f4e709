//! A journal as a database table would hold it: each row taken apart into columns and put together again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use intune_connector::ids::InstanceId;
use intune_connector::ports::{
    Change, ClaimRequest, CommitAnswer, Journal, JournalScope, JournalStats, LoadRequest, PortError, PruneRequest, RenewRequest, Row,
    RowKey, RowState, SealedBlob,
};
use intune_connector::terms::Flow;
use intune_connector::time::Timestamp;

#[derive(Debug, Default)]
pub struct OwnJournal(Mutex<BTreeMap<RowKey, Columns>>);

#[derive(Debug, Clone)]
struct Columns {
    flow: Flow,
    route: Option<String>,
    state: RowState,
    version: u64,
    lease_epoch: u64,
    owner: Option<String>,
    lease_until: i64,
    attempt: u32,
    delivery: u32,
    due: i64,
    created: i64,
    updated: i64,
    blob: Vec<u8>,
}

impl Columns {
    fn of(row: &Row) -> Self {
        Self {
            flow: row.flow,
            route: row.route.as_ref().map(ToString::to_string),
            state: row.state,
            version: row.version,
            lease_epoch: row.lease_epoch,
            owner: row.owner.as_ref().map(ToString::to_string),
            lease_until: row.lease_until.as_micros(),
            attempt: row.attempt,
            delivery: row.delivery,
            due: row.due.as_micros(),
            created: row.created.as_micros(),
            updated: row.updated.as_micros(),
            blob: row.blob.as_bytes().to_vec(),
        }
    }

    fn row(&self, key: RowKey) -> Result<Row, PortError> {
        let mut row = Row::new(key, self.flow, Timestamp::from_micros(self.created), SealedBlob::new(self.blob.clone()));
        let owner: Option<Result<InstanceId, _>> = self.owner.as_ref().map(|owner| owner.parse());
        row.route = self.route.as_ref().and_then(|route| route.parse().ok());
        row.state = self.state;
        row.version = self.version;
        row.lease_epoch = self.lease_epoch;
        row.owner = owner.transpose().map_err(|error| PortError::misconfigured("a row is damaged").with_source(error))?;
        row.lease_until = Timestamp::from_micros(self.lease_until);
        row.attempt = self.attempt;
        row.delivery = self.delivery;
        row.due = Timestamp::from_micros(self.due);
        row.updated = Timestamp::from_micros(self.updated);
        Ok(row)
    }
}

impl OwnJournal {
    fn table(&self) -> MutexGuard<'_, BTreeMap<RowKey, Columns>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All rows.
    pub fn rows(&self) -> Vec<Row> {
        self.table().iter().filter_map(|(key, columns)| columns.row(*key).ok()).collect()
    }
}

#[async_trait]
impl Journal for OwnJournal {
    fn scope(&self) -> JournalScope {
        JournalScope::Instance
    }

    fn is_durable(&self) -> bool {
        false
    }

    async fn load(&self, request: LoadRequest) -> Result<Vec<Row>, PortError> {
        let table = self.table();
        match request {
            LoadRequest::Keys(keys) => keys.into_iter().filter_map(|key| Some(table.get(&key)?.row(key))).collect(),
            LoadRequest::Parked { kind, max } => {
                let parked = table.iter().filter(|(key, columns)| key.kind == kind && columns.state == RowState::Parked);
                let mut rows: Vec<Row> = parked.map(|(key, columns)| columns.row(*key)).collect::<Result<_, _>>()?;
                rows.sort_by_key(|row| row.created);
                rows.truncate(max);
                Ok(rows)
            }
            LoadRequest::Open { kind, max } => {
                let open = table.iter().filter(|(key, columns)| key.kind == kind && !columns.state.is_final());
                let mut rows: Vec<Row> = open.map(|(key, columns)| columns.row(*key)).collect::<Result<_, _>>()?;
                rows.sort_by_key(|row| row.created);
                rows.truncate(max);
                Ok(rows)
            }
            _ => Err(PortError::unsupported("this journal does not know such a question")),
        }
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<CommitAnswer>, PortError> {
        let mut table = self.table();
        let answers = changes.into_iter().map(|Change { mut row, .. }| {
            let stored = table.get(&row.key).map_or((0, row.lease_epoch), |columns| (columns.version, columns.lease_epoch));
            if stored != (row.version, row.lease_epoch) {
                return CommitAnswer::Conflict;
            }
            row.version += 1;
            table.insert(row.key, Columns::of(&row));
            CommitAnswer::Stored(row.version)
        });
        Ok(answers.collect())
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Row>, PortError> {
        let mut table = self.table();
        let now = request.now.as_micros();
        let free = table.iter_mut().filter(|(key, columns)| {
            let own = request.own && columns.owner.as_deref() == Some(request.owner.as_str());
            let leased = columns.owner.is_some() && columns.lease_until > now && !own;
            let can = match (&request.routes, &columns.route) {
                (Some(routes), Some(route)) => routes.iter().any(|can| can.as_str() == route),
                _ => true,
            };
            let open = key.kind == request.kind && columns.flow == request.flow && !columns.state.is_final();
            open && can && (columns.due <= now || own) && !leased
        });
        let claimed = free.take(request.max).map(|(key, columns)| {
            columns.version += 1;
            columns.lease_epoch += 1;
            columns.owner = Some(request.owner.to_string());
            columns.lease_until = request.now.saturating_add(request.lease).as_micros();
            columns.updated = now;
            columns.row(*key)
        });
        claimed.collect()
    }

    async fn renew(&self, request: RenewRequest) -> Result<Vec<RowKey>, PortError> {
        let mut table = self.table();
        let mut held = Vec::new();
        for (key, epoch) in request.rows {
            if let Some(columns) = table.get_mut(&key)
                && columns.lease_epoch == epoch
                && columns.owner.as_deref() == Some(request.owner.as_str())
            {
                columns.lease_until = request.now.saturating_add(request.lease).as_micros();
                held.push(key);
            }
        }
        Ok(held)
    }

    async fn prune(&self, request: PruneRequest) -> Result<u64, PortError> {
        let mut table = self.table();
        let old = |columns: &Columns| columns.state.is_final() && request.forgets(columns.state, Timestamp::from_micros(columns.updated));
        let keys: Vec<RowKey> = table.iter().filter(|(_, columns)| old(columns)).map(|(key, _)| *key).take(request.max).collect();
        keys.iter().for_each(|key| drop(table.remove(key)));
        Ok(keys.len() as u64)
    }

    async fn stats(&self) -> Result<JournalStats, PortError> {
        let table = self.table();
        let mut stats = JournalStats::default();
        stats.open = table.values().filter(|columns| !columns.state.is_final()).count() as u64;
        stats.finished = table.len() as u64 - stats.open;
        let open = table.values().filter(|columns| !columns.state.is_final());
        stats.oldest_open = open.map(|columns| Timestamp::from_micros(columns.created)).min();
        Ok(stats)
    }
}
