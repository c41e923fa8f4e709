//! The rows in SQL. Statements are prepared once; indexed columns are written only when they change, since each costs a page of the log.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Statement, params};

use super::room;
use super::row::read;
use crate::adapters::journal::codes;
use crate::ids::{InstanceId, Route};
use crate::ports::{Change, ClaimRequest, CommitAnswer, JournalStats, LoadRequest, PortError, PruneRequest, RenewRequest, Row, RowKey};
use crate::time::Timestamp;

/// Most rows that one call claims or prunes, whatever it asks for: a transaction has bounds.
const MOST_ROWS: usize = 10_000;

/// What ends an operation.
#[derive(Debug)]
pub(super) enum StoreError {
    /// The transaction is to be rolled back.
    Sql(rusqlite::Error),
    /// The operation did nothing; others of its transaction go on.
    Row(PortError),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// Open and finished rows.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    open: i64,
    finished: i64,
}

impl Counts {
    fn of(&mut self, open: bool) -> &mut i64 {
        if open { &mut self.open } else { &mut self.finished }
    }
}

macro_rules! columns {
    () => {
        "id, kind, key, flow, state, version, lease_epoch, owner, lease_until, attempt, delivery, due, created, updated, blob, route, available"
    };
}

/// Where `available` stands among them.
const COLUMN_AVAILABLE: usize = 16;

pub(super) const CLAIMABLE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM entry INDEXED BY entry_claim WHERE open = 1 AND kind = ?1 AND flow = ?2 AND route IS ?5 AND available <= ?3
               ORDER BY available LIMIT ?4"
);

pub(super) const CLAIMABLE_OWN: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM entry INDEXED BY entry_owner WHERE open = 1 AND owner = ?4 AND kind = ?1 AND flow = ?2 AND available > ?3
               ORDER BY due"
);

/// The first route after another one: a seek for each, however many rows there are.
pub(super) const NEXT_ROUTE: &str =
    "SELECT route FROM entry INDEXED BY entry_claim WHERE open = 1 AND kind = ?1 AND flow = ?2 AND route > ?3
                 ORDER BY route LIMIT 1";

/// The statements on one connection.
pub(super) struct Store<'c> {
    path: &'c Path,
    begin: Statement<'c>,
    commit: Statement<'c>,
    by_key: Statement<'c>,
    open_rows: Statement<'c>,
    parked_rows: Statement<'c>,
    stored: Statement<'c>,
    insert: Statement<'c>,
    update: Statement<'c>,
    update_content: Statement<'c>,
    update_availability: Statement<'c>,
    routes: Statement<'c>,
    claimable: Statement<'c>,
    claimable_own: Statement<'c>,
    claim: Statement<'c>,
    lease: Statement<'c>,
    prune: Statement<'c>,
    oldest: Statement<'c>,
    count_open: Statement<'c>,
    count_finished: Statement<'c>,
    /// Counted when first asked for, then kept: nobody else writes to the file.
    counts: Option<Counts>,
    /// What the running transaction changes about them.
    delta: Counts,
}

/// What a change is held against.
struct Stored {
    id: i64,
    version: u64,
    lease_epoch: u64,
    open: bool,
    available: i64,
    /// Whether all else that is indexed is as in the change.
    indexed_alike: bool,
}

impl<'c> Store<'c> {
    pub(super) fn new(connection: &'c Connection, path: &'c Path) -> Result<Self, rusqlite::Error> {
        let by_key = concat!("SELECT ", columns!(), " FROM entry WHERE kind = ?1 AND key = ?2");
        let open_rows =
            concat!("SELECT ", columns!(), " FROM entry INDEXED BY entry_open WHERE open = 1 AND kind = ?1 ORDER BY created, id LIMIT ?2");
        let parked_rows = concat!(
            "SELECT ",
            columns!(),
            " FROM entry INDEXED BY entry_parked WHERE state = 9 AND kind = ?1 ORDER BY created, id LIMIT ?2"
        );
        Ok(Self {
            path,
            begin: connection.prepare("BEGIN IMMEDIATE")?,
            commit: connection.prepare("COMMIT")?,
            by_key: connection.prepare(by_key)?,
            open_rows: connection.prepare(open_rows)?,
            parked_rows: connection.prepare(parked_rows)?,
            stored: connection
                .prepare(
                    "SELECT id, version, lease_epoch, open, available, flow = ?3 AND route IS ?4 AND owner IS ?5 AND due = ?6 AND created = ?7
                     FROM entry WHERE kind = ?1 AND key = ?2",
                )?,
            insert: connection.prepare(
                "INSERT INTO entry (kind, key, flow, state, open, version, lease_epoch, owner, lease_until, attempt, delivery, due, available,
                 created, updated, blob, route) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
            )?,
            update: connection.prepare(
                "UPDATE entry SET flow = ?2, state = ?3, open = ?4, version = ?5, owner = ?6, lease_until = ?7, attempt = ?8, delivery = ?9,
                 due = ?10, available = ?11, created = ?12, updated = ?13, blob = ?14, route = ?15 WHERE id = ?1",
            )?,
            update_content: connection.prepare(
                "UPDATE entry SET state = ?2, version = ?3, lease_until = ?4, attempt = ?5, delivery = ?6, updated = ?7, blob = ?8
                 WHERE id = ?1",
            )?,
            update_availability: connection.prepare(
                "UPDATE entry SET state = ?2, version = ?3, lease_until = ?4, attempt = ?5, delivery = ?6, updated = ?7, blob = ?8,
                 available = ?9 WHERE id = ?1",
            )?,
            routes: connection.prepare(NEXT_ROUTE)?,
            claimable: connection.prepare(CLAIMABLE)?,
            claimable_own: connection.prepare(CLAIMABLE_OWN)?,
            claim: connection.prepare(
                "UPDATE entry SET version = ?2, lease_epoch = ?3, owner = ?4, lease_until = ?5, available = ?6, updated = ?7 WHERE id = ?1",
            )?,
            lease: connection.prepare(
                "UPDATE entry SET lease_until = ?5, available = max(due, ?5)
                 WHERE kind = ?1 AND key = ?2 AND lease_epoch = ?3 AND owner = ?4",
            )?,
            prune: connection.prepare(
                "DELETE FROM entry WHERE id IN
                 (SELECT id FROM entry INDEXED BY entry_finished WHERE open = 0 AND updated < ?1
                  AND (state <> 9 OR updated < ?3) ORDER BY updated LIMIT ?2)",
            )?,
            oldest: connection.prepare("SELECT min(created) FROM entry INDEXED BY entry_open WHERE open = 1 AND kind = ?1")?,
            count_open: connection.prepare("SELECT count(*) FROM entry INDEXED BY entry_open WHERE open = 1")?,
            count_finished: connection.prepare("SELECT count(*) FROM entry INDEXED BY entry_finished WHERE open = 0")?,
            counts: None,
            delta: Counts::default(),
        })
    }

    pub(super) fn begin(&mut self) -> Result<(), rusqlite::Error> {
        self.delta = Counts::default();
        self.begin.execute(()).map(drop)
    }

    /// An error means: not known whether stored.
    pub(super) fn commit(&mut self) -> Result<(), rusqlite::Error> {
        let counts = self.counts.take();
        self.commit.execute(())?;
        self.counts = counts.map(|counts| Counts {
            open: counts.open.saturating_add(self.delta.open),
            finished: counts.finished.saturating_add(self.delta.finished),
        });
        Ok(())
    }

    pub(super) fn load(&mut self, request: &LoadRequest) -> Result<Vec<Row>, StoreError> {
        let mut found = Vec::new();
        match request {
            LoadRequest::Keys(keys) => {
                for key in keys {
                    let mut rows = self.by_key.query(params![codes::of_kind(key.kind), key.key.as_bytes()])?;
                    if let Some(row) = rows.next()? {
                        found.push(read(row, self.path)?.1);
                    }
                }
            }
            LoadRequest::Open { kind, max } | LoadRequest::Parked { kind, max } => {
                let max = i64::try_from(*max).unwrap_or(i64::MAX);
                let is_open = matches!(request, LoadRequest::Open { .. });
                let statement = if is_open { &mut self.open_rows } else { &mut self.parked_rows };
                let mut rows = statement.query(params![codes::of_kind(*kind), max])?;
                while let Some(row) = rows.next()? {
                    found.push(read(row, self.path)?.1);
                }
            }
        }
        Ok(found)
    }

    pub(super) fn change(&mut self, changes: &[Change]) -> Result<Vec<CommitAnswer>, StoreError> {
        Ok(changes.iter().map(|change| self.change_one(&change.row)).collect::<Result<_, _>>()?)
    }

    fn change_one(&mut self, row: &Row) -> Result<CommitAnswer, rusqlite::Error> {
        let (kind, key) = (codes::of_kind(row.key.kind), row.key.key.as_bytes());
        let (flow, state, open) = (codes::of_flow(row.flow), codes::of_state(row.state), !row.state.is_final());
        let (owner, route) = (row.owner.as_ref().map(InstanceId::as_str), row.route.as_ref().map(Route::as_str));
        let (lease_until, due) = (row.lease_until.as_micros(), row.due.as_micros());
        let (created, updated) = (row.created.as_micros(), row.updated.as_micros());
        let stored = self.stored.query_row(params![kind, key, flow, route, owner, due, created], |found| {
            Ok(Stored {
                id: found.get(0)?,
                version: found.get::<_, i64>(1)?.cast_unsigned(),
                lease_epoch: found.get::<_, i64>(2)?.cast_unsigned(),
                open: found.get(3)?,
                available: found.get(4)?,
                indexed_alike: found.get(5)?,
            })
        });
        let stored = stored.optional()?;
        let fits =
            stored.as_ref().map_or(row.version == 0, |stored| stored.version == row.version && stored.lease_epoch == row.lease_epoch);
        let Some(version) = row.version.checked_add(1).filter(|_| fits) else { return Ok(CommitAnswer::Conflict) };
        let (available, blob, new) = (available(row).as_micros(), row.blob.as_bytes(), version.cast_signed());
        let (attempt, delivery) = (row.attempt, row.delivery);
        match &stored {
            None => {
                let epoch = row.lease_epoch.cast_signed();
                self.insert.execute(params![
                    kind,
                    key,
                    flow,
                    state,
                    open,
                    new,
                    epoch,
                    owner,
                    lease_until,
                    attempt,
                    delivery,
                    due,
                    available,
                    created,
                    updated,
                    blob,
                    route
                ])?
            }
            Some(stored) if stored.open == open && stored.indexed_alike && stored.available == available => {
                self.update_content.execute(params![stored.id, state, new, lease_until, attempt, delivery, updated, blob])?
            }
            Some(stored) if stored.open == open && stored.indexed_alike => self.update_availability.execute(params![
                stored.id,
                state,
                new,
                lease_until,
                attempt,
                delivery,
                updated,
                blob,
                available
            ])?,
            Some(stored) => self.update.execute(params![
                stored.id,
                flow,
                state,
                open,
                new,
                owner,
                lease_until,
                attempt,
                delivery,
                due,
                available,
                created,
                updated,
                blob,
                route
            ])?,
        };
        if let Some(stored) = &stored {
            *self.delta.of(stored.open) -= 1;
        }
        *self.delta.of(open) += 1;
        Ok(CommitAnswer::Stored(version))
    }

    pub(super) fn claim(&mut self, request: &ClaimRequest) -> Result<Vec<Row>, StoreError> {
        let max = request.max.min(MOST_ROWS);
        let (kind, flow, now) = (codes::of_kind(request.kind), codes::of_flow(request.flow), request.now.as_micros());
        let mut claimed = if request.own { self.own(request, kind, flow, max)? } else { Vec::new() };
        let mut free = Vec::new();
        for route in self.claimed_routes(request, kind, flow)? {
            let mut rows = self.claimable.query(params![kind, flow, now, (max - claimed.len()) as i64, route])?;
            while let Some(row) = rows.next()? {
                free.push((row.get::<_, i64>(COLUMN_AVAILABLE)?, read(row, self.path)?));
            }
            drop(rows);
            // No more than twice what is asked for is in memory, however many routes there are.
            free.sort_by_key(|(available, (id, _))| (*available, *id));
            free.truncate(max - claimed.len());
        }
        claimed.extend(free.into_iter().map(|(_, row)| row));
        for (id, row) in &mut claimed {
            row.version = row.version.saturating_add(1);
            row.lease_epoch = row.lease_epoch.saturating_add(1);
            row.owner = Some(request.owner.clone());
            row.lease_until = request.now.saturating_add(request.lease);
            row.updated = request.now;
            self.claim.execute(params![
                *id,
                row.version.cast_signed(),
                row.lease_epoch.cast_signed(),
                request.owner.as_str(),
                row.lease_until.as_micros(),
                available(row).as_micros(),
                now
            ])?;
        }
        let mut claimed: Vec<Row> = claimed.into_iter().map(|(_, row)| row).collect();
        claimed.sort_by_key(|row| (row.created, row.key));
        Ok(claimed)
    }

    /// Rows that the owner holds, for how long it may be.
    fn own(&mut self, request: &ClaimRequest, kind: i64, flow: i64, max: usize) -> Result<Vec<(i64, Row)>, StoreError> {
        let mut found = Vec::new();
        let mut rows = self.claimable_own.query(params![kind, flow, request.now.as_micros(), request.owner.as_str()])?;
        while found.len() < max {
            let Some(row) = rows.next()? else { break };
            let row = read(row, self.path)?;
            if request.routes.as_ref().is_none_or(|routes| row.1.route.as_ref().is_none_or(|route| routes.contains(route))) {
                found.push(row);
            }
        }
        Ok(found)
    }

    /// The routes to look at, the absent one among them.
    fn claimed_routes(&mut self, request: &ClaimRequest, kind: i64, flow: i64) -> Result<Vec<Option<String>>, StoreError> {
        let mut routes = vec![None];
        match &request.routes {
            Some(wanted) => {
                let wanted: BTreeSet<&Route> = wanted.iter().collect();
                routes.extend(wanted.into_iter().map(|route| Some(route.as_str().to_owned())));
            }
            None => {
                let mut last = String::new();
                while let Some(route) = self.routes.query_row(params![kind, flow, last], |row| row.get::<_, String>(0)).optional()? {
                    last.clone_from(&route);
                    routes.push(Some(route));
                }
            }
        }
        Ok(routes)
    }

    pub(super) fn renew(&mut self, request: &RenewRequest) -> Result<Vec<RowKey>, StoreError> {
        let until = request.now.saturating_add(request.lease).as_micros();
        let mut held = Vec::new();
        for (key, epoch) in &request.rows {
            let (kind, bytes) = (codes::of_kind(key.kind), key.key.as_bytes());
            if self.lease.execute(params![kind, bytes, epoch.cast_signed(), request.owner.as_str(), until])? > 0 {
                held.push(*key);
            }
        }
        Ok(held)
    }

    pub(super) fn prune(&mut self, request: &PruneRequest) -> Result<u64, StoreError> {
        let pruned = self.prune.execute(params![
            request.before.as_micros(),
            request.max.min(MOST_ROWS) as i64,
            request.parked_before.as_micros()
        ])?;
        self.delta.finished -= pruned as i64;
        Ok(pruned as u64)
    }

    /// Only outside of a transaction.
    pub(super) fn stats(&mut self) -> Result<JournalStats, StoreError> {
        let counts = match self.counts {
            Some(counts) => counts,
            None => Counts {
                open: self.count_open.query_row((), |row| row.get(0))?,
                finished: self.count_finished.query_row((), |row| row.get(0))?,
            },
        };
        self.counts = Some(counts);
        let mut stats = JournalStats {
            open: u64::try_from(counts.open).unwrap_or(0),
            finished: u64::try_from(counts.finished).unwrap_or(0),
            ..JournalStats::default()
        };
        for kind in codes::KINDS {
            let oldest: Option<i64> = self.oldest.query_row(params![codes::of_kind(kind)], |row| row.get(0))?;
            let oldest = oldest.map(Timestamp::from_micros);
            stats.oldest_open = stats.oldest_open.into_iter().chain(oldest).min();
        }
        stats.storage = room::of(self.path);
        Ok(stats)
    }
}

/// From when on it may be claimed.
fn available(row: &Row) -> Timestamp {
    if row.owner.is_some() { row.due.max(row.lease_until) } else { row.due }
}
