//! The journals: changes a second by the size of a commit, claims out of 100,000 waiting rows, and the same inserts by SQLite alone.
//!
//! The files are made in `TMPDIR`: a durable commit costs what that disk takes to sync, so compare within one run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot run shall fail")]

use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use intune_connector::adapters::{SqliteJournal, StdRuntime, VolatileJournal};
use intune_connector::ids::IdempotencyKey;
use intune_connector::ports::{Change, ClaimRequest, CommitAnswer, Journal, Row, RowKey, RowKind, RowState, SealedBlob};
use intune_connector::terms::Flow;
use intune_connector::time::Timestamp;
use rusqlite::{Connection, params};

const BATCHES: [usize; 4] = [1, 10, 100, 1_000];
/// A row of the PKCS flow with its key pair takes about so much.
const BLOB: usize = 2_500;
const WAITING: usize = 100_000;

fn main() {
    divan::main();
}

fn unique() -> u64 {
    // Others than in the last run: a database may still have its rows.
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(Timestamp::system_now().as_micros().unsigned_abs() << 8));
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn key() -> IdempotencyKey {
    // Spread as digests are.
    let mut bytes = [0; 32];
    for (place, part) in bytes.chunks_mut(8).zip(1u64..) {
        place.copy_from_slice(&unique().wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(part as u32 * 7).to_be_bytes());
    }
    IdempotencyKey::new(bytes)
}

fn rows(count: usize) -> Vec<Change> {
    let now = Timestamp::from_secs(1_800_000_000);
    let row = |_| Row::new(RowKey { kind: RowKind::Request, key: key() }, Flow::Pkcs, now, SealedBlob::new(vec![7; BLOB]));
    (0..count).map(row).map(Change::new).collect()
}

fn store(runtime: &StdRuntime, journal: &dyn Journal, changes: Vec<Change>) {
    let answers = runtime.block_on(journal.commit(changes)).unwrap();
    assert!(answers.iter().all(|answer| matches!(answer, CommitAnswer::Stored(_))));
}

fn commits(bencher: Bencher, journal: &dyn Journal, size: usize) {
    let runtime = StdRuntime::with_threads(1, 1).unwrap();
    bencher.counter(ItemsCount::new(size)).with_inputs(|| rows(size)).bench_local_values(|changes| store(&runtime, journal, changes));
}

#[divan::bench_group(sample_count = 50, sample_size = 1)]
mod changes_in_one_commit {
    use super::*;

    #[divan::bench(args = BATCHES)]
    fn memory(bencher: Bencher, size: usize) {
        commits(bencher, &VolatileJournal::new(), size);
    }

    #[divan::bench(args = BATCHES)]
    fn sqlite(bencher: Bencher, size: usize) {
        let folder = tempfile::tempdir().unwrap();
        commits(bencher, &SqliteJournal::open(folder.path().join("journal.db")).unwrap(), size);
    }

    /// In the database of `INTUNE_CONNECTOR_BENCH_POSTGRES`, a connection string; its schema `bench_journal` is left behind.
    #[cfg(feature = "postgres")]
    #[divan::bench(args = BATCHES)]
    fn postgres(bencher: Bencher, size: usize) {
        let Ok(url) = std::env::var("INTUNE_CONNECTOR_BENCH_POSTGRES") else { return };
        let options = intune_connector::adapters::PostgresJournalOptions::new(url.as_str()).schema("bench_journal");
        commits(bencher, &options.open().unwrap(), size);
    }

    /// Plain inserts in one transaction, with the same durability, by SQLite on this thread: no compare-and-set, one index.
    #[divan::bench(args = BATCHES)]
    fn sqlite_alone(bencher: Bencher, size: usize) {
        let folder = tempfile::tempdir().unwrap();
        let connection = alone(&folder.path().join("alone.db"));
        let mut insert = connection.prepare("INSERT INTO entry (key, state, version, due, blob) VALUES (?, ?, 1, ?, ?)").unwrap();
        bencher.counter(ItemsCount::new(size)).with_inputs(|| rows(size)).bench_local_values(|changes| {
            connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            for Change { row, .. } in &changes {
                insert.execute(params![row.key.key.as_bytes(), 1, row.due.as_micros(), row.blob.as_bytes()]).unwrap();
            }
            connection.execute_batch("COMMIT").unwrap();
        });
    }
}

fn alone(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON;
             PRAGMA checkpoint_fullfsync = ON; PRAGMA secure_delete = FAST; PRAGMA cell_size_check = ON;
             CREATE TABLE entry (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, state INTEGER NOT NULL, version INTEGER NOT NULL,
                                 due INTEGER NOT NULL, blob BLOB NOT NULL) STRICT;",
        )
        .unwrap();
    connection
}

#[divan::bench_group(sample_count = 20, sample_size = 1)]
mod claim_out_of_100_000 {
    use super::*;

    #[divan::bench(args = [1, 100])]
    fn sqlite(bencher: Bencher, most: usize) {
        let runtime = StdRuntime::with_threads(1, 1).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let journal = SqliteJournal::open(folder.path().join("journal.db")).unwrap();
        (0..WAITING / 1_000).for_each(|_| store(&runtime, &journal, rows(1_000)));
        let now = Timestamp::from_secs(1_800_000_001);
        bencher.counter(ItemsCount::new(most)).bench_local(|| {
            let lease = Duration::from_secs(60);
            let request = ClaimRequest::new(RowKind::Request, Flow::Pkcs, "bench".parse().unwrap(), most, now, lease);
            let claimed = runtime.block_on(journal.claim(request)).unwrap();
            assert!(claimed.len() == most && claimed.iter().all(|row| row.state == RowState::Received));
        });
    }
}

/// A row's content sealed and opened as the connector does it: AES-256-GCM, its key and the row's columns as associated data.
#[divan::bench_group(sample_count = 200)]
mod seal {
    use divan::counter::BytesCount;
    use intune_connector::crypto::{AeadAlgorithm, CryptoProvider};

    use super::*;

    const KEY: [u8; 32] = [7; 32];
    const NONCE: [u8; 12] = [1; 12];
    const COLUMNS: [u8; 120] = [2; 120];

    #[divan::bench]
    fn seal(bencher: Bencher) {
        let provider = CryptoProvider::ring_and_aws_lc_rs();
        let aead = provider.aead().unwrap();
        let content = vec![3; BLOB];
        bencher
            .counter(BytesCount::new(BLOB))
            .bench_local(|| aead.seal(AeadAlgorithm::Aes256Gcm, &KEY, &NONCE, &COLUMNS, divan::black_box(&content)).unwrap());
    }

    #[divan::bench]
    fn open(bencher: Bencher) {
        let provider = CryptoProvider::ring_and_aws_lc_rs();
        let aead = provider.aead().unwrap();
        let sealed = aead.seal(AeadAlgorithm::Aes256Gcm, &KEY, &NONCE, &COLUMNS, &vec![3; BLOB]).unwrap();
        bencher
            .counter(BytesCount::new(BLOB))
            .bench_local(|| aead.open(AeadAlgorithm::Aes256Gcm, &KEY, &NONCE, &COLUMNS, divan::black_box(&sealed)).unwrap());
    }
}
