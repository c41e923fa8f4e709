//! The SQLite journal against what happens to files: kills, full disks, read-only file systems, foreign and damaged files, second owners.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[cfg(unix)]
#[path = "support/mounts.rs"]
mod mounts;
mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use intune_connector::adapters::{JournalOpenError, JournalOpenErrorKind, SqliteJournal, SqliteJournalOptions, StdRuntime};
use intune_connector::ids::IdempotencyKey;
use intune_connector::ports::{
    Change, CommitAnswer, Journal, LoadRequest, PortError, PortErrorKind, PruneRequest, Row, RowKey, RowKind, RowState, SealedBlob,
};
use intune_connector::retry::Effect;
use intune_connector::terms::Flow;
use intune_connector::time::Timestamp;
use rusqlite::Connection;

fn runtime() -> &'static StdRuntime {
    static RUNTIME: std::sync::LazyLock<StdRuntime> = std::sync::LazyLock::new(|| StdRuntime::with_threads(1, 1).unwrap());
    &RUNTIME
}

fn row(number: u64, size: usize) -> Row {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    let key = RowKey { kind: RowKind::Notification, key: IdempotencyKey::new(key) };
    Row::new(key, Flow::Scep, Timestamp::from_secs(1_000), SealedBlob::new(vec![number as u8; size]))
}

fn commit(journal: &SqliteJournal, row: Row) -> Result<CommitAnswer, PortError> {
    runtime().block_on(journal.commit(vec![Change::new(row)])).map(|answers| answers[0])
}

fn load(journal: &SqliteJournal, number: u64) -> Result<Option<Row>, PortError> {
    runtime().block_on(journal.load(LoadRequest::Keys(vec![row(number, 0).key]))).map(|mut rows| rows.pop())
}

fn open_now(path: &Path) -> Result<SqliteJournal, JournalOpenError> {
    SqliteJournalOptions::new(path).lock_timeout(Duration::ZERO).open()
}

fn refusal(path: &Path) -> JournalOpenErrorKind {
    let error = open_now(path).unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    error.kind
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn integrity(path: &Path) -> String {
    Connection::open(path).unwrap().query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap()
}

// ---- other processes: this program itself, with one test chosen

const CHILD: &str = "JOURNAL_SQLITE_TEST_CHILD";

/// Not a test of its own: what the other process of some tests does.
#[test]
fn in_another_process() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let journal = Arc::new(open_now(Path::new(&path)).unwrap());
    println!("\nopen");
    let threads: Vec<_> = (0..4u64)
        .map(|of| {
            let journal = Arc::clone(&journal);
            thread::spawn(move || {
                for number in (0..).map(|count| count * 4 + of) {
                    assert_eq!(commit(&journal, row(number, 2_000)).unwrap(), CommitAnswer::Stored(1));
                    println!("\nstored {number}");
                    std::io::stdout().flush().unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn another_process(path: &Path, umask: &str) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = Command::new("sh")
        .args(["-c", &format!("umask {umask} && exec \"$0\" --exact in_another_process --nocapture")])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    (child, lines.filter(|line| line.starts_with("open") || line.starts_with("stored")))
}

#[cfg(unix)]
#[test]
fn a_killed_process_loses_no_change_that_was_answered() {
    let folder = support::scratch();
    let path = folder.path().join("journal.db");
    let mut answered = 0;
    for kill_after in [1, 150, 700] {
        let journal = open_now(&path).unwrap();
        runtime().block_on(journal.prune(PruneRequest::new(Timestamp::from_secs(1 << 40), 10_000))).unwrap();
        drop(journal);
        fs::remove_file(&path).unwrap();
        let (mut child, mut lines) = another_process(&path, "022");
        let mut stored: Vec<u64> = Vec::new();
        let number = |line: String| line.strip_prefix("stored ").and_then(|number| number.parse::<u64>().ok());
        stored.extend(lines.by_ref().filter_map(number).take(kill_after));
        child.kill().unwrap();
        child.wait().unwrap();
        stored.extend(lines.filter_map(number));
        assert!(stored.len() >= kill_after, "{stored:?}");
        assert!(beside(&path, "-wal").exists(), "it had no time to write the log back");
        let journal = open_now(&path).unwrap();
        for number in &stored {
            let found = load(&journal, *number).unwrap().unwrap_or_else(|| panic!("row {number} was answered as stored and is lost"));
            assert_eq!((found.version, found.blob), (1, row(*number, 2_000).blob));
        }
        answered += stored.len();
        // At most one change of each thread was stored and not answered.
        let open = runtime().block_on(journal.stats()).unwrap().open as usize;
        assert!((stored.len()..=stored.len() + 4).contains(&open), "{open} rows, {} answers", stored.len());
        drop(journal);
        assert_eq!(integrity(&path), "ok");
    }
    assert!(answered > 850);
}

#[cfg(unix)]
#[test]
fn a_second_owner_is_refused_and_waits_for_a_predecessor_that_ends() {
    let folder = support::scratch();
    let path = folder.path().join("journal.db");
    let journal = open_now(&path).unwrap();
    commit(&journal, row(u64::MAX, 10)).unwrap();
    assert_eq!(refusal(&path), JournalOpenErrorKind::InUse);
    // The refused one has not broken the lock of the first.
    let (mut child, mut lines) = another_process(&path, "022");
    assert_eq!(lines.next(), None, "another process opened a journal that this one has open");
    assert!(!child.wait().unwrap().success());
    commit(&journal, row(u64::MAX - 1, 10)).unwrap();
    drop(journal);

    let (mut child, mut lines) = another_process(&path, "022");
    assert_eq!(lines.next().as_deref(), Some("open"));
    assert_eq!(refusal(&path), JournalOpenErrorKind::InUse);
    let successor = thread::spawn({
        let path = path.clone();
        move || SqliteJournalOptions::new(path).lock_timeout(Duration::from_secs(60)).open()
    });
    thread::sleep(Duration::from_millis(50));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(load(&successor.join().unwrap().unwrap(), u64::MAX).unwrap().is_some());
}

#[cfg(unix)]
#[test]
fn only_the_owner_reads_the_files_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for umask in ["000", "022", "077"] {
        let folder = support::scratch();
        let path = folder.path().join("journal.db");
        let (mut child, mut lines) = another_process(&path, umask);
        assert!(lines.any(|line| line.starts_with("stored")));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((mode(&path), mode(&beside(&path, "-wal"))), (0o600, 0o600), "umask {umask}");
        assert!(!beside(&path, "-shm").exists());
        // What somebody opened up, or copied carelessly, is closed again.
        for file in [path.clone(), beside(&path, "-wal")] {
            fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
        }
        let journal = open_now(&path).unwrap();
        commit(&journal, row(u64::MAX, 10)).unwrap();
        assert_eq!((mode(&path), mode(&beside(&path, "-wal"))), (0o600, 0o600), "umask {umask}");
    }
}

// ---- files that are no journal of this version

#[test]
fn what_is_no_journal_of_a_known_version_is_refused_and_left_as_it_is() {
    let folder = support::scratch();
    let path = folder.path().join("file.db");
    let made_by = |sql: &str| {
        let _ = fs::remove_file(&path);
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    };
    let refused_untouched = || {
        let before = fs::read(&path).unwrap();
        let kind = refusal(&path);
        assert_eq!(fs::read(&path).unwrap(), before, "{kind:?}");
        assert!(!beside(&path, "-wal").exists());
        kind
    };
    made_by("CREATE TABLE t (x); INSERT INTO t VALUES (1)");
    assert_eq!(refused_untouched(), JournalOpenErrorKind::NotAJournal);
    made_by("PRAGMA application_id = 7");
    assert_eq!(refused_untouched(), JournalOpenErrorKind::NotAJournal);
    fs::write(&path, vec![b'x'; 5_000]).unwrap();
    assert_eq!(refused_untouched(), JournalOpenErrorKind::NotADatabase);
    assert!(matches!(refusal(folder.path()), JournalOpenErrorKind::CannotOpen { .. }));
    assert!(matches!(refusal(&folder.path().join("missing/journal.db")), JournalOpenErrorKind::CannotOpen { .. }));

    fs::remove_file(&path).unwrap();
    drop(open_now(&path).unwrap());
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 1000").unwrap();
    let known = match refused_untouched() {
        JournalOpenErrorKind::NewerSchema { found: 1000, known } => known,
        other => panic!("{other:?}"),
    };
    assert!(known > 0 && known < 1000);
    Connection::open(&path).unwrap().execute_batch(&format!("PRAGMA user_version = {known}")).unwrap();
    drop(open_now(&path).unwrap());
    Connection::open(&path).unwrap().execute_batch("DROP INDEX entry_claim").unwrap();
    assert_eq!(refusal(&path), JournalOpenErrorKind::Damaged);
}

#[test]
fn damage_inside_of_the_file_is_an_error_that_says_so() {
    let folder = support::scratch();
    let path = folder.path().join("journal.db");
    let journal = open_now(&path).unwrap();
    for number in 0..40 {
        commit(&journal, row(number, 3_000)).unwrap();
    }
    drop(journal);
    let mut bytes = fs::read(&path).unwrap();
    bytes[20 * 4_096..].fill(0xEE);
    fs::write(&path, bytes).unwrap();
    let journal = open_now(&path).unwrap();
    let errors: Vec<PortError> = (0..40).filter_map(|number| load(&journal, number).err()).collect();
    assert!(!errors.is_empty());
    for error in errors {
        assert!(error.kind() == PortErrorKind::Misconfigured && error.to_string().contains("damaged"), "{error}");
    }
}

// ---- file systems that fail

#[cfg(unix)]
#[test]
fn a_full_disk_is_a_passing_error_and_the_journal_works_again_when_there_is_space() {
    let Some(disk) = mounts::Mount::tmpfs(2_048) else { return };
    let path = disk.path().join("journal.db");
    let journal = open_now(&path).unwrap();
    let mut stored = 0;
    for number in 0..50 {
        commit(&journal, row(number, 2_000)).unwrap();
        stored += 1;
    }
    for round in 0..3 {
        disk.fill();
        // The log may have room for a few more.
        let error = (0..1_000).find_map(|_| match commit(&journal, row(stored, 2_000)) {
            Ok(answer) => {
                assert_eq!(answer, CommitAnswer::Stored(1));
                stored += 1;
                None
            }
            Err(error) => Some(error),
        });
        let error = error.expect("a full disk takes no more rows");
        assert!(error.kind() == PortErrorKind::Transient && error.to_string().contains("disk is full"), "{error}");
        assert!((0..stored).all(|number| load(&journal, number).unwrap().is_some()), "reading needs no space");
        assert_eq!(load(&journal, stored).unwrap(), None);
        assert_eq!(runtime().block_on(journal.stats()).unwrap().open, stored);
        if round == 1 {
            // Opening needs no space either; or says what is missing.
            assert_eq!(refusal(&disk.path().join("another.db")), JournalOpenErrorKind::DiskFull);
            fs::remove_file(disk.path().join("another.db")).unwrap();
        }
        disk.free();
        assert_eq!(commit(&journal, row(stored, 2_000)).unwrap(), CommitAnswer::Stored(1));
        stored += 1;
    }
    drop(journal);
    let journal = open_now(&path).unwrap();
    assert_eq!(runtime().block_on(journal.stats()).unwrap().open, stored);
    drop(journal);
    assert_eq!(integrity(&path), "ok");
}

#[cfg(unix)]
#[test]
fn a_read_only_file_system_is_refused_at_the_start() {
    let Some(disk) = mounts::Mount::tmpfs(2_048) else { return };
    let path = disk.path().join("journal.db");
    commit(&open_now(&path).unwrap(), row(1, 10)).unwrap();
    assert!(disk.remount("ro"));
    assert_eq!(refusal(&path), JournalOpenErrorKind::ReadOnly);
    assert_eq!(refusal(&disk.path().join("new.db")), JournalOpenErrorKind::ReadOnly);
    assert!(disk.remount("rw"));
    assert!(load(&open_now(&path).unwrap(), 1).unwrap().is_some());
}

#[cfg(unix)]
#[test]
fn a_file_system_that_becomes_read_only_at_work_is_an_error_and_answers_nothing_as_stored() {
    let Some(disk) = mounts::Mount::ext4(8) else { return };
    let path = disk.path().join("journal.db");
    let journal = open_now(&path).unwrap();
    commit(&journal, row(1, 10)).unwrap();
    assert!(!disk.remount("ro"), "the system makes no file system read-only under an open journal, but for its own errors");
    assert!(disk.remount("abort"), "ext4 ends its work as after an error of the disk");
    for _ in 0..3 {
        let error = commit(&journal, row(2, 10)).unwrap_err();
        assert!(error.to_string().contains("read-only"), "{error}");
    }
    assert!(load(&journal, 1).unwrap().is_some());
    assert_eq!(load(&journal, 2).unwrap(), None);
}

// ---- work

#[test]
fn a_journal_that_is_opened_again_has_all_rows_and_leases() {
    let folder = support::scratch();
    let path = folder.path().join("journal.db");
    let mut first = row(1, 100);
    first.state = RowState::OrphanSuspected;
    (first.owner, first.lease_until) = (Some("instance 1".parse().unwrap()), Timestamp::from_secs(5_000));
    let journal = open_now(&path).unwrap();
    commit(&journal, first.clone()).unwrap();
    drop(journal);
    let journal = open_now(&path).unwrap();
    first.version = 1;
    assert_eq!(load(&journal, 1).unwrap(), Some(first.clone()));
    first.version = 0;
    assert_eq!(commit(&journal, first.clone()).unwrap(), CommitAnswer::Conflict);
    (first.version, first.lease_epoch) = (1, 1);
    assert_eq!(commit(&journal, first.clone()).unwrap(), CommitAnswer::Conflict);
    first.lease_epoch = 0;
    assert_eq!(commit(&journal, first).unwrap(), CommitAnswer::Stored(2));
}

#[test]
fn of_many_threads_each_change_is_stored_once_or_answered_with_a_conflict() {
    let folder = support::scratch();
    let journal = Arc::new(open_now(&folder.path().join("journal.db")).unwrap());
    commit(&journal, row(0, 10)).unwrap();
    let threads: Vec<_> = (1..=8u64)
        .map(|of| {
            let journal = Arc::clone(&journal);
            thread::spawn(move || {
                let runtime = StdRuntime::with_threads(1, 1).unwrap();
                let mut wins = 0;
                for number in 0..40 {
                    let mut shared = runtime.block_on(journal.load(LoadRequest::Keys(vec![row(0, 0).key]))).unwrap().remove(0);
                    shared.attempt += 1;
                    let changes = vec![Change::new(row(of << 32 | number, 500)), Change::new(shared)];
                    let answers = runtime.block_on(journal.commit(changes)).unwrap();
                    assert_eq!(answers[0], CommitAnswer::Stored(1));
                    wins += u32::from(matches!(answers[1], CommitAnswer::Stored(_)));
                }
                wins
            })
        })
        .collect();
    let wins: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    let shared = load(&journal, 0).unwrap().unwrap();
    assert_eq!((shared.attempt, shared.version), (wins, u64::from(wins) + 1));
    assert_eq!(runtime().block_on(journal.stats()).unwrap().open, 1 + 8 * 40);
}

#[test]
fn the_log_beside_the_file_stays_small() {
    let folder = support::scratch();
    let path = folder.path().join("journal.db");
    let journal = open_now(&path).unwrap();
    let mut written = 0;
    for version in 0..40 {
        let changes = (0..100).map(|number| {
            let mut row = row(number, 16_000);
            row.version = version;
            Change::new(row)
        });
        let answers = runtime().block_on(journal.commit(changes.collect())).unwrap();
        assert!(answers.iter().all(|answer| *answer == CommitAnswer::Stored(version + 1)));
        written += 100 * 16_000;
        let log = fs::metadata(beside(&path, "-wal")).unwrap().len();
        assert!(log < 12 << 20, "{log} bytes of log after {written}");
    }
    assert!(written > 60 << 20);
    drop(journal);
    assert!(!beside(&path, "-wal").exists(), "a clean end writes the log back");
    assert!(fs::metadata(&path).unwrap().len() < 4 << 20);
}

#[test]
fn an_error_of_a_full_queue_or_disk_names_the_file_and_no_content() {
    let folder = support::scratch();
    let path = folder.path().join("journal.db");
    let journal = SqliteJournalOptions::new(&path).most_waiting(10, 100).open().unwrap();
    let error = commit(&journal, row(1, 1_000)).unwrap_err();
    assert_eq!((error.kind(), error.effect()), (PortErrorKind::Rejected, Effect::None));
    assert!(error.to_string().contains("journal.db"), "{error}");
    assert!(format!("{journal:?}").contains("journal.db"));
}
