//! Opening the file: who may have it, whose it is, which version it has, and how SQLite treats it.

use core::time::Duration;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::PowerCut;
use super::error::{JournalOpenError, JournalOpenErrorKind};

/// "ICJ1": marks the file as a journal of this crate.
const APPLICATION_ID: i64 = 0x4943_4A31;

/// Each step leads from the version that is its index to the next one. Steps that were released never change.
const LADDER: &[&str] = &[
    "
    CREATE TABLE entry (
        id          INTEGER PRIMARY KEY,
        kind        INTEGER NOT NULL,
        key         BLOB NOT NULL CHECK (length(key) = 32),
        flow        INTEGER NOT NULL,
        state       INTEGER NOT NULL,
        open        INTEGER NOT NULL CHECK (open IN (0, 1)),
        version     INTEGER NOT NULL,
        lease_epoch INTEGER NOT NULL,
        owner       TEXT,
        lease_until INTEGER NOT NULL,
        attempt     INTEGER NOT NULL,
        delivery    INTEGER NOT NULL,
        due         INTEGER NOT NULL,
        available   INTEGER NOT NULL,
        created     INTEGER NOT NULL,
        updated     INTEGER NOT NULL,
        blob        BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX entry_key ON entry (kind, key);
    CREATE INDEX entry_claim ON entry (kind, flow, available) WHERE open = 1;
    CREATE INDEX entry_open ON entry (kind, created) WHERE open = 1;
    CREATE INDEX entry_finished ON entry (updated) WHERE open = 0;
    ",
    "
    ALTER TABLE entry ADD COLUMN route TEXT;
    DROP INDEX entry_claim;
    CREATE INDEX entry_claim ON entry (kind, flow, route, available) WHERE open = 1;
    CREATE INDEX entry_owner ON entry (owner, kind, flow, due) WHERE open = 1 AND owner IS NOT NULL;
    CREATE INDEX entry_parked ON entry (kind, created) WHERE state = 9;
    ",
];

/// One process has the file, so the index of the log stays in memory and there is no `-shm` file. FULL: a commit that was answered survives
/// a power cut. Bounds: 8 MiB of cache; the log is written back after 1,000 pages (4 MB) and cut to 16 MiB after a large transaction.
const SETTINGS: &str = "
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA synchronous = FULL;
    PRAGMA fullfsync = ON;
    PRAGMA checkpoint_fullfsync = ON;
    PRAGMA secure_delete = FAST;
    PRAGMA cell_size_check = ON;
    PRAGMA trusted_schema = OFF;
    PRAGMA temp_store = MEMORY;
    PRAGMA mmap_size = 0;
    PRAGMA cache_size = -8192;
    PRAGMA wal_autocheckpoint = 1000;
    PRAGMA journal_size_limit = 16777216;
";

/// Opens or makes the journal, for this connection alone.
pub(super) fn open(path: &Path, lock_timeout: Duration, power_cut: PowerCut) -> Result<Connection, JournalOpenError> {
    make_private(path).map_err(|error| JournalOpenError::from_io(&error, path))?;
    let failed = |error: rusqlite::Error| JournalOpenError::from_sql(&error, path);
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
    // SQLite opens what it cannot write for reading, without a word.
    if connection.is_readonly("main").map_err(failed)? {
        return Err(JournalOpenError::new(JournalOpenErrorKind::ReadOnly, path));
    }
    connection.busy_timeout(lock_timeout).map_err(failed)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map_err(failed)?;
    connection.execute_batch(SETTINGS).map_err(failed)?;
    if power_cut == PowerCut::LosesTheLast {
        connection.execute_batch("PRAGMA synchronous = NORMAL").map_err(failed)?;
    }
    // Takes the lock, which is then held, before anything is read; nothing is written to a file that turns out to be another's.
    connection.execute_batch("BEGIN EXCLUSIVE; COMMIT").map_err(failed)?;
    recognise(&connection, path)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", (), |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        let reason = format!("its journal mode is {mode} and cannot be changed to WAL");
        return Err(JournalOpenError::new(JournalOpenErrorKind::CannotOpen { reason }, path));
    }
    migrate(&connection, LADDER).map_err(failed)?;
    Ok(connection)
}

/// Nobody else reads the file, nor those that SQLite makes beside it with the same mode.
fn make_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        // A file that is there is never opened here: closing it would end the locks that this process may hold on it (POSIX).
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => tighten(path),
        Err(error) => Err(error),
    }
}

fn tighten(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    #[cfg(unix)]
    for suffix in ["", "-wal", "-journal"] {
        use std::os::unix::fs::PermissionsExt as _;
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        match fs::metadata(&beside) {
            Ok(found) if found.permissions().mode() & 0o077 != 0 => fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the file is new or one of ours, of a version that is known.
fn recognise(connection: &Connection, path: &Path) -> Result<(), JournalOpenError> {
    let number = |sql: &str| -> Result<i64, JournalOpenError> {
        connection.query_row(sql, (), |row| row.get(0)).map_err(|error| JournalOpenError::from_sql(&error, path))
    };
    let (application, version) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let known = LADDER.len() as i64;
    if application == 0 && version == 0 && tables == 0 {
        return Ok(());
    }
    if application != APPLICATION_ID {
        return Err(JournalOpenError::new(JournalOpenErrorKind::NotAJournal, path));
    }
    if version > known {
        return Err(JournalOpenError::new(JournalOpenErrorKind::NewerSchema { found: version, known }, path));
    }
    if version < 0 {
        return Err(JournalOpenError::new(JournalOpenErrorKind::Damaged, path));
    }
    Ok(())
}

/// Takes the steps that are missing, all or none.
fn migrate(connection: &Connection, ladder: &[&str]) -> Result<(), rusqlite::Error> {
    let transaction = connection.unchecked_transaction()?;
    let version: i64 = transaction.query_row("PRAGMA user_version", (), |row| row.get(0))?;
    let missing = usize::try_from(version).ok().and_then(|version| ladder.get(version..)).unwrap_or_default();
    if missing.is_empty() {
        return Ok(());
    }
    for step in missing {
        transaction.execute_batch(step)?;
    }
    transaction.execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {}", ladder.len()))?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::StdRuntime;
    use crate::adapters::journal::sqlite::SqliteJournal;
    use crate::ports::{ClaimRequest, Journal as _, LoadRequest, RowKind};
    use crate::terms::Flow;
    use crate::time::Timestamp;

    const OLD: &[&str] = &["CREATE TABLE a (x INTEGER) STRICT"];
    const NEW: &[&str] = &[OLD[0], "ALTER TABLE a ADD COLUMN y INTEGER", "UPDATE a SET y = x + 1"];

    #[test]
    fn an_older_file_climbs_the_ladder_once_and_a_failing_step_changes_nothing() {
        let connection = Connection::open_in_memory().unwrap();
        migrate(&connection, OLD).unwrap();
        connection.execute_batch("INSERT INTO a VALUES (7)").unwrap();
        let broken = &[NEW[0], NEW[1], "UPDATE nothing SET x = 1"];
        migrate(&connection, broken).unwrap_err();
        let version = || connection.query_row("PRAGMA user_version", (), |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(version(), 1);
        migrate(&connection, NEW).unwrap();
        migrate(&connection, NEW).unwrap();
        let row: (i64, i64) = connection.query_row("SELECT x, y FROM a", (), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!((row, version()), ((7, 8), 3));
    }

    /// Rows of version 1 have no route; they are read, claimed and counted as before.
    #[test]
    fn a_file_of_version_1_is_served() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let connection = Connection::open(&path).unwrap();
        migrate(&connection, &LADDER[..1]).unwrap();
        let insert =
            "INSERT INTO entry (kind, key, flow, state, open, version, lease_epoch, owner, lease_until, attempt, delivery, due, available,
             created, updated, blob) VALUES (1, ?1, 1, ?2, ?3, 3, 2, ?4, ?5, 0, 1, 10, ?6, 5, 7, x'0102')";
        for (number, state, open, owner, until, available) in
            [(1u8, 1, 1, None, 10, 10), (2, 3, 1, Some("a"), 10_000, 10_000), (3, 7, 0, None, 10, 10)]
        {
            connection.execute(insert, rusqlite::params![[number; 32], state, open, owner, until, available]).unwrap();
        }
        drop(connection);
        let runtime = StdRuntime::with_threads(1, 1).unwrap();
        let journal = SqliteJournal::open(&path).unwrap();
        let stats = runtime.block_on(journal.stats()).unwrap();
        assert_eq!((stats.open, stats.finished), (2, 1));
        let open = runtime.block_on(journal.load(LoadRequest::Open { kind: RowKind::Request, max: 9 })).unwrap();
        assert_eq!(open.iter().map(|row| (row.key.key.as_bytes()[0], row.route.clone())).collect::<Vec<_>>(), [(1, None), (2, None)]);
        let claim = |owner: &str| {
            ClaimRequest::new(RowKind::Request, Flow::Pkcs, owner.parse().unwrap(), 9, Timestamp::from_micros(100), Duration::from_secs(1))
        };
        let claimed = runtime.block_on(journal.claim(claim("b").with_routes(vec!["x".parse().unwrap()]).with_own())).unwrap();
        assert_eq!(claimed.iter().map(|row| (row.key.key.as_bytes()[0], row.version, row.lease_epoch)).collect::<Vec<_>>(), [(1, 4, 3)]);
        let claimed = runtime.block_on(journal.claim(claim("a").with_own())).unwrap();
        assert_eq!(claimed.iter().map(|row| row.key.key.as_bytes()[0]).collect::<Vec<_>>(), [2]);
    }
}
