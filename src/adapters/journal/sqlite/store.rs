//! The rows in SQL. Statements are prepared once; indexed columns are written only when they change, since each costs a page of the log.

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Statement, params};

use super::codes;
use super::error::{damaged_row, unknown_value};
use crate::ids::{IdempotencyKey, InstanceId};
use crate::ports::{
    Change, ClaimRequest, CommitAnswer, JournalStats, LoadRequest, PortError, PruneRequest, RenewRequest, Row, RowKey, SealedBlob,
};
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
        "id, kind, key, flow, state, version, lease_epoch, owner, lease_until, attempt, delivery, due, created, updated, blob"
    };
}

/// The statements on one connection.
pub(super) struct Store<'c> {
    path: &'c Path,
    begin: Statement<'c>,
    commit: Statement<'c>,
    by_key: Statement<'c>,
    open_rows: Statement<'c>,
    stored: Statement<'c>,
    insert: Statement<'c>,
    update: Statement<'c>,
    update_content: Statement<'c>,
    claimable: Statement<'c>,
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
    /// Flow, availability and start: what is indexed.
    indexed: (i64, i64, i64),
}

impl<'c> Store<'c> {
    pub(super) fn new(connection: &'c Connection, path: &'c Path) -> Result<Self, rusqlite::Error> {
        let by_key = concat!("SELECT ", columns!(), " FROM entry WHERE kind = ?1 AND key = ?2");
        let open_rows =
            concat!("SELECT ", columns!(), " FROM entry INDEXED BY entry_open WHERE open = 1 AND kind = ?1 ORDER BY created, id LIMIT ?2");
        let claimable = concat!(
            "SELECT ",
            columns!(),
            " FROM entry INDEXED BY entry_claim WHERE open = 1 AND kind = ?1 AND flow = ?2 AND available <= ?3 ORDER BY available LIMIT ?4"
        );
        Ok(Self {
            path,
            begin: connection.prepare("BEGIN IMMEDIATE")?,
            commit: connection.prepare("COMMIT")?,
            by_key: connection.prepare(by_key)?,
            open_rows: connection.prepare(open_rows)?,
            stored: connection
                .prepare("SELECT id, version, lease_epoch, open, flow, available, created FROM entry WHERE kind = ?1 AND key = ?2")?,
            insert: connection.prepare(
                "INSERT INTO entry (kind, key, flow, state, open, version, lease_epoch, owner, lease_until, attempt, delivery, due, available,
                 created, updated, blob) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            )?,
            update: connection.prepare(
                "UPDATE entry SET flow = ?2, state = ?3, open = ?4, version = ?5, owner = ?6, lease_until = ?7, attempt = ?8, delivery = ?9,
                 due = ?10, available = ?11, created = ?12, updated = ?13, blob = ?14 WHERE id = ?1",
            )?,
            update_content: connection.prepare(
                "UPDATE entry SET state = ?2, version = ?3, owner = ?4, lease_until = ?5, attempt = ?6, delivery = ?7, due = ?8,
                 updated = ?9, blob = ?10 WHERE id = ?1",
            )?,
            claimable: connection.prepare(claimable)?,
            claim: connection.prepare(
                "UPDATE entry SET version = ?2, lease_epoch = ?3, owner = ?4, lease_until = ?5, available = ?6, updated = ?7 WHERE id = ?1",
            )?,
            lease: connection.prepare(
                "UPDATE entry SET lease_until = ?5, available = max(due, ?5)
                 WHERE kind = ?1 AND key = ?2 AND lease_epoch = ?3 AND owner = ?4",
            )?,
            prune: connection.prepare(
                "DELETE FROM entry WHERE id IN
                 (SELECT id FROM entry INDEXED BY entry_finished WHERE open = 0 AND updated < ?1 ORDER BY updated LIMIT ?2)",
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
            LoadRequest::Open { kind, max } => {
                let max = i64::try_from(*max).unwrap_or(i64::MAX);
                let mut rows = self.open_rows.query(params![codes::of_kind(*kind), max])?;
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
        let stored = self.stored.query_row(params![kind, key], |found| {
            Ok(Stored {
                id: found.get(0)?,
                version: found.get::<_, i64>(1)?.cast_unsigned(),
                lease_epoch: found.get::<_, i64>(2)?.cast_unsigned(),
                open: found.get(3)?,
                indexed: (found.get(4)?, found.get(5)?, found.get(6)?),
            })
        });
        let stored = stored.optional()?;
        let fits =
            stored.as_ref().map_or(row.version == 0, |stored| stored.version == row.version && stored.lease_epoch == row.lease_epoch);
        let Some(version) = row.version.checked_add(1).filter(|_| fits) else { return Ok(CommitAnswer::Conflict) };
        let (flow, state, open) = (codes::of_flow(row.flow), codes::of_state(row.state), !row.state.is_final());
        let available = available(row).as_micros();
        let (owner, blob) = (row.owner.as_ref().map(InstanceId::as_str), row.blob.as_bytes());
        let (lease_until, due) = (row.lease_until.as_micros(), row.due.as_micros());
        let (created, updated) = (row.created.as_micros(), row.updated.as_micros());
        match &stored {
            None => {
                let epoch = row.lease_epoch.cast_signed();
                self.insert.execute(params![
                    kind,
                    key,
                    flow,
                    state,
                    open,
                    version.cast_signed(),
                    epoch,
                    owner,
                    lease_until,
                    row.attempt,
                    row.delivery,
                    due,
                    available,
                    created,
                    updated,
                    blob
                ])?
            }
            Some(stored) if stored.open == open && stored.indexed == (flow, available, created) => self.update_content.execute(params![
                stored.id,
                state,
                version.cast_signed(),
                owner,
                lease_until,
                row.attempt,
                row.delivery,
                due,
                updated,
                blob
            ])?,
            Some(stored) => self.update.execute(params![
                stored.id,
                flow,
                state,
                open,
                version.cast_signed(),
                owner,
                lease_until,
                row.attempt,
                row.delivery,
                due,
                available,
                created,
                updated,
                blob
            ])?,
        };
        if let Some(stored) = &stored {
            *self.delta.of(stored.open) -= 1;
        }
        *self.delta.of(open) += 1;
        Ok(CommitAnswer::Stored(version))
    }

    pub(super) fn claim(&mut self, request: &ClaimRequest) -> Result<Vec<Row>, StoreError> {
        let max = request.max.min(MOST_ROWS) as i64;
        let (kind, flow, now) = (codes::of_kind(request.kind), codes::of_flow(request.flow), request.now.as_micros());
        let mut claimed = Vec::new();
        let mut rows = self.claimable.query(params![kind, flow, now, max])?;
        while let Some(row) = rows.next()? {
            claimed.push(read(row, self.path)?);
        }
        drop(rows);
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
        let pruned = self.prune.execute(params![request.before.as_micros(), request.max.min(MOST_ROWS) as i64])?;
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
        Ok(stats)
    }
}

/// From when on it may be claimed.
fn available(row: &Row) -> Timestamp {
    if row.owner.is_some() { row.due.max(row.lease_until) } else { row.due }
}

/// A row and its number in the file, from the columns in their order. What is in it harms no other operation.
fn read(row: &rusqlite::Row<'_>, path: &Path) -> Result<(i64, Row), StoreError> {
    let id: i64 = row.get(0)?;
    match decode(id, row, path) {
        Ok(decoded) => Ok((id, decoded)),
        Err(StoreError::Sql(error)) if error.sqlite_error().is_none() => Err(StoreError::Row(damaged_row(id, path))),
        Err(error) => Err(error),
    }
}

fn decode(id: i64, row: &rusqlite::Row<'_>, path: &Path) -> Result<Row, StoreError> {
    let unknown = |what: &str, value: i64| StoreError::Row(unknown_value(id, what, value, path));
    let code = |at: usize| row.get::<_, i64>(at);
    let time = |at: usize| row.get::<_, i64>(at).map(Timestamp::from_micros);
    let kind = codes::kind(code(1)?).ok_or_else(|| unknown("kind", code(1).unwrap_or(0)))?;
    let flow = codes::flow(code(3)?).ok_or_else(|| unknown("flow", code(3).unwrap_or(0)))?;
    let state = codes::state(code(4)?).ok_or_else(|| unknown("state", code(4).unwrap_or(0)))?;
    let owner = match row.get_ref(7)? {
        ValueRef::Null => None,
        owner => {
            let text = owner.as_str().map_err(rusqlite::Error::from)?;
            Some(text.parse::<InstanceId>().map_err(|_| unknown("owner of length", i64::try_from(text.len()).unwrap_or(0)))?)
        }
    };
    let blob = row.get_ref(14)?.as_blob().map_err(rusqlite::Error::from)?.to_vec();
    let mut read = Row::new(RowKey { kind, key: IdempotencyKey::new(row.get(2)?) }, flow, time(12)?, SealedBlob::new(blob));
    read.state = state;
    read.version = code(5)?.cast_unsigned();
    read.lease_epoch = code(6)?.cast_unsigned();
    read.owner = owner;
    read.lease_until = time(8)?;
    read.attempt = row.get(9)?;
    read.delivery = row.get(10)?;
    read.due = time(11)?;
    read.updated = time(13)?;
    Ok(read)
}
