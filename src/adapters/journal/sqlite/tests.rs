//! What needs the inside of the journal to be seen: which operations share a transaction, and what becomes of the thread.

use core::task::{Context, Waker};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::task::Wake;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tempfile::TempDir;

use super::*;
use crate::adapters::StdRuntime;
use crate::adapters::journal::codes;
use crate::ids::IdempotencyKey;
use crate::ports::{PortErrorKind, RowKind, RowState, SealedBlob};
use crate::terms::Flow;
use crate::time::Timestamp;

fn block_on<F: Future>(future: F) -> F::Output {
    static RUNTIME: std::sync::LazyLock<StdRuntime> = std::sync::LazyLock::new(|| StdRuntime::with_threads(1, 1).unwrap());
    RUNTIME.block_on(future)
}

fn row(number: u32) -> Row {
    let mut key = [7; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    let key = RowKey { kind: RowKind::Request, key: IdempotencyKey::new(key) };
    Row::new(key, Flow::Pkcs, Timestamp::from_secs(i64::from(number)), SealedBlob::new(vec![1; 3_000]))
}

fn change(number: u32) -> Vec<Change> {
    vec![Change::new(row(number))]
}

fn load(journal: &SqliteJournal, number: u32) -> Option<Row> {
    block_on(journal.load(LoadRequest::Keys(vec![row(number).key]))).unwrap().pop()
}

struct Lab {
    journal: Arc<SqliteJournal>,
    folder: TempDir,
}

fn lab() -> Lab {
    with(|options| options)
}

fn with(change: impl FnOnce(SqliteJournalOptions) -> SqliteJournalOptions) -> Lab {
    let folder = tempfile::tempdir().unwrap();
    let journal = Arc::new(change(SqliteJournalOptions::new(folder.path().join("journal.db"))).open().unwrap());
    Lab { journal, folder }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

fn start<T>(future: &mut Boxed<'_, T>) {
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(), "the thread is held");
}

/// Keeps the journal's thread busy until the sender is dropped.
fn hold(journal: &Arc<SqliteJournal>) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let (started, running) = mpsc::channel();
    let journal = Arc::clone(journal);
    thread::spawn(move || {
        let work = move |_: &mut Store<'_>| {
            started.send(()).unwrap();
            let _ = held.recv();
            Ok(())
        };
        block_on(journal.call(Access::Read, 0, work)).unwrap();
    });
    running.recv().unwrap();
    release
}

#[test]
fn what_waits_is_stored_in_one_transaction_and_each_change_has_its_own_answer() {
    let Lab { journal, .. } = lab();
    block_on(journal.commit(change(0))).unwrap();
    let before = journal.transactions.load(Ordering::Relaxed);
    let release = hold(&journal);
    // Number 0 is there already: a conflict among 200.
    let mut commits: Vec<_> = (0..200).map(|number| journal.commit(change(number))).collect();
    commits.iter_mut().for_each(start);
    drop(release);
    for (number, answer) in block_on(join_all(commits)).into_iter().enumerate() {
        let expected = if number == 0 { CommitAnswer::Conflict } else { CommitAnswer::Stored(1) };
        assert_eq!(answer.unwrap(), [expected], "{number}");
    }
    assert_eq!(journal.transactions.load(Ordering::Relaxed) - before, 1);
}

#[test]
fn an_error_of_sqlite_is_everybodys_and_nothing_of_the_batch_is_stored() {
    let Lab { journal, .. } = lab();
    let release = hold(&journal);
    let mut first = journal.commit(change(1));
    let mut failing: Boxed<'_, _> =
        Box::pin(journal.call(Access::Write, 0, |_| -> Result<(), _> { Err(rusqlite::Error::InvalidQuery.into()) }));
    let mut last = journal.commit(change(2));
    let mut read = journal.load(LoadRequest::Keys(vec![row(1).key]));
    start(&mut first);
    start(&mut failing);
    start(&mut last);
    start(&mut read);
    drop(release);
    for error in [block_on(first).unwrap_err(), block_on(failing).unwrap_err(), block_on(last).unwrap_err()] {
        assert_eq!(error.effect(), Effect::None, "{error}");
    }
    assert_eq!(block_on(read).unwrap(), [], "a read of the same batch is not drawn in");
    assert_eq!(block_on(journal.commit(change(1))).unwrap(), [CommitAnswer::Stored(1)]);
    assert_eq!(load(&journal, 2), None);
    assert_eq!(block_on(journal.stats()).unwrap().open, 1, "what was rolled back is not counted");
}

#[test]
fn too_much_is_turned_away_with_a_passing_error_and_without_effect() {
    let Lab { journal, .. } = with(|options| options.most_waiting(3, 8_000));
    let release = hold(&journal);
    let (mut one, mut two) = (journal.commit(change(1)), journal.commit(change(2)));
    start(&mut one);
    start(&mut two);
    // By bytes, then by number.
    let error = journal.commit(change(3)).now_or_never().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.effect()), (PortErrorKind::Transient, Effect::None));
    let mut three = journal.stats();
    start(&mut three);
    let error = journal.stats().now_or_never().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.effect()), (PortErrorKind::Transient, Effect::None));
    let large = [change(4), change(5), change(6)].concat();
    assert_eq!(journal.commit(large).now_or_never().unwrap().unwrap_err().kind(), PortErrorKind::Rejected);
    drop(release);
    assert_eq!(block_on(one).unwrap(), [CommitAnswer::Stored(1)]);
    assert_eq!(block_on(two).unwrap(), [CommitAnswer::Stored(1)]);
    assert_eq!(block_on(three).unwrap().open, 2);
    assert_eq!(block_on(journal.commit(change(3))).unwrap(), [CommitAnswer::Stored(1)]);
}

#[test]
fn a_change_whose_caller_left_is_stored_and_a_claim_is_not_begun() {
    let Lab { journal, .. } = lab();
    block_on(journal.commit(change(1))).unwrap();
    let release = hold(&journal);
    let mut commit = journal.commit(change(2));
    start(&mut commit);
    drop(commit);
    let request =
        ClaimRequest::new(RowKind::Request, Flow::Pkcs, "a".parse().unwrap(), 9, Timestamp::from_secs(99), Duration::from_secs(9));
    let mut claim = journal.claim(request);
    start(&mut claim);
    drop(claim);
    drop(release);
    assert_eq!(load(&journal, 2).unwrap().version, 1);
    assert_eq!(load(&journal, 1).unwrap().lease_epoch, 0);
}

#[test]
fn dropping_stores_what_waits_and_ends_the_thread() {
    let Lab { journal, folder } = lab();
    let release = hold(&journal);
    let mut commit = journal.commit(change(1));
    start(&mut commit);
    drop(commit);
    let thread: Weak<Queue> = Arc::downgrade(&journal.queue);
    let mut journal = journal;
    drop(release);
    let alone = loop {
        match Arc::try_unwrap(journal) {
            Ok(alone) => break alone,
            Err(shared) => journal = shared,
        }
        thread::yield_now();
    };
    drop(alone);
    assert!(thread.upgrade().is_none(), "the thread holds the queue for as long as it runs");
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["journal.db"], "a clean end leaves no log");
    assert!(load(&SqliteJournal::open(folder.path().join("journal.db")).unwrap(), 1).is_some());
}

#[test]
fn a_panicking_waker_and_one_that_drops_the_journal_do_no_harm() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a bug of the caller");
        }
    }
    struct Holds(Mutex<Option<Arc<SqliteJournal>>>);
    impl Wake for Holds {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().unwrap().take());
        }
    }
    let Lab { journal, folder } = lab();
    let release = hold(&journal);
    let mut commit = journal.commit(change(1));
    assert!(commit.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::new(Panics)))).is_pending());
    drop(release);
    assert_eq!(block_on(journal.commit(change(2))).unwrap(), [CommitAnswer::Stored(1)]);
    assert_eq!(block_on(commit).unwrap(), [CommitAnswer::Stored(1)]);

    let thread = Arc::downgrade(&journal.queue);
    let release = hold(&journal);
    let holder = Waker::from(Arc::new(Holds(Mutex::new(Some(Arc::clone(&journal))))));
    let (operation, mut answer) = queue::call(Access::Read, |_| Ok(()));
    assert!(answer.poll_unpin(&mut Context::from_waker(&holder)).is_pending());
    journal.queue.push(operation, 0).unwrap();
    drop((release, journal));
    // Nobody can join it now, but it ends.
    for _ in 0..10_000 {
        if thread.upgrade().is_none() {
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    assert!(thread.upgrade().is_none());
    assert!(load(&SqliteJournal::open(folder.path().join("journal.db")).unwrap(), 1).is_some());
}

#[test]
fn when_the_thread_dies_callers_get_errors_and_nothing_hangs() {
    let Lab { journal, .. } = lab();
    let release = hold(&journal);
    let mut dying: Boxed<'_, _> = Box::pin(journal.call(Access::Write, 0, |_| -> Result<(), StoreError> { panic!("a bug of ours") }));
    let mut commit = journal.commit(change(1));
    start(&mut dying);
    start(&mut commit);
    drop(release);
    for error in [block_on(dying).unwrap_err(), block_on(commit).unwrap_err()] {
        assert_eq!(error.effect(), Effect::Unknown);
    }
    while !journal.thread.as_ref().unwrap().is_finished() {
        thread::yield_now();
    }
    let error = block_on(journal.commit(change(1))).unwrap_err();
    assert!(error.effect() == Effect::None && error.to_string().contains("its thread has ended"), "{error}");
}

#[test]
fn a_row_is_read_back_whatever_is_in_it() {
    let Lab { mut journal, folder } = lab();
    let states = (0..20).filter_map(codes::state);
    let flows = (0..20).filter_map(codes::flow);
    let mut rows = Vec::new();
    for (kind, flow) in codes::KINDS.into_iter().flat_map(|kind| flows.clone().map(move |flow| (kind, flow))) {
        for state in states.clone() {
            let mut row = row(u32::try_from(rows.len()).unwrap());
            row.key.kind = kind;
            (row.flow, row.state) = (flow, state);
            row.owner = (rows.len() % 2 == 0).then(|| "instance ü".parse().unwrap());
            row.lease_until = Timestamp::from_micros([i64::MIN, -1, i64::MAX][rows.len() % 3]);
            row.due = Timestamp::from_micros([0, i64::MAX, i64::MIN][rows.len() % 3]);
            (row.created, row.updated) = (Timestamp::from_micros(i64::MIN + 1), Timestamp::from_micros(i64::MAX - 1));
            (row.attempt, row.delivery) = (u32::MAX, u32::MAX - 1);
            row.lease_epoch = u64::MAX - rows.len() as u64;
            row.blob = SealedBlob::new(vec![rows.len() as u8; [0, 1, 4_061, 70_000][rows.len() % 4]]);
            rows.push(row);
        }
    }
    assert_eq!(rows.len(), 9 * 6 * 10);
    let changes = rows.iter().map(|row| Change::new(row.clone())).collect();
    assert!(block_on(journal.commit(changes)).unwrap().iter().all(|answer| *answer == CommitAnswer::Stored(1)));
    drop(journal);
    journal = Arc::new(SqliteJournal::open(folder.path().join("journal.db")).unwrap());
    let read = block_on(journal.load(LoadRequest::Keys(rows.iter().map(|row| row.key).collect()))).unwrap();
    rows.iter_mut().for_each(|row| row.version = 1);
    assert!(read == rows, "a row was read differently");
    let open = rows.iter().filter(|row| !row.state.is_final()).count() as u64;
    let stats = block_on(journal.stats()).unwrap();
    assert_eq!((stats.open, stats.finished), (open, 540 - open));
}

#[test]
fn values_that_no_version_wrote_are_errors_and_never_guessed_at() {
    let Lab { journal, folder } = lab();
    block_on(journal.commit(change(1))).unwrap();
    drop(journal);
    let path = folder.path().join("journal.db");
    for (damage, shown) in [
        ("state = 77", "the state 77"),
        ("flow = -1", "the flow -1"),
        ("owner = ''", "owner of length 0"),
        ("attempt = -1", "damaged"),
        ("delivery = 4294967296", "damaged"),
    ] {
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch(&format!("SAVEPOINT s; UPDATE entry SET {damage}; RELEASE s")).unwrap();
        drop(connection);
        let journal = SqliteJournal::open(&path).unwrap();
        let error = block_on(journal.load(LoadRequest::Keys(vec![row(1).key]))).unwrap_err();
        assert!(error.kind() == PortErrorKind::Misconfigured && error.to_string().contains(shown), "{damage}: {error}");
        // It harms nobody else.
        let claim = ClaimRequest::new(RowKind::Request, Flow::Pkcs, "a".parse().unwrap(), 9, Timestamp::from_secs(99), Duration::ZERO);
        let (claimed, stored) = block_on(futures_util::future::join(journal.claim(claim), journal.commit(change(2))));
        assert_eq!(claimed.is_err(), damage != "flow = -1", "{damage}");
        assert_eq!(stored.unwrap(), [CommitAnswer::Stored(1)]);
        drop(journal);
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection
            .execute_batch("UPDATE entry SET state = 1, flow = 1, owner = NULL, attempt = 0, delivery = 1, available = 1; DELETE FROM entry WHERE id > 1")
            .unwrap();
    }
}

#[test]
fn numbers_kept_in_memory_follow_every_kind_of_change() {
    let Lab { journal, folder } = lab();
    let counted = |journal: &SqliteJournal| {
        let stats = block_on(journal.stats()).unwrap();
        (stats.open, stats.finished, stats.oldest_open.map(Timestamp::as_secs))
    };
    assert_eq!(counted(&journal), (0, 0, None));
    block_on(journal.commit((1..=9).flat_map(change).collect())).unwrap();
    assert_eq!(counted(&journal), (9, 0, Some(1)));
    let ended = |number: u32| {
        let mut row = load(&journal, number).unwrap();
        (row.state, row.updated) = (RowState::Failed, Timestamp::from_secs(100));
        Change::new(row)
    };
    block_on(journal.commit((1..=4).map(ended).collect())).unwrap();
    assert_eq!(counted(&journal), (5, 4, Some(5)));
    let mut again = load(&journal, 1).unwrap();
    again.state = RowState::Received;
    block_on(journal.commit(vec![Change::new(again)])).unwrap();
    assert_eq!(counted(&journal), (6, 3, Some(1)));
    assert_eq!(block_on(journal.prune(PruneRequest::new(Timestamp::from_secs(101), 2))).unwrap(), 2);
    assert_eq!(block_on(journal.prune(PruneRequest::new(Timestamp::from_secs(100), 2))).unwrap(), 0);
    assert_eq!(counted(&journal), (6, 1, Some(1)));
    drop(journal);
    assert_eq!(counted(&SqliteJournal::open(folder.path().join("journal.db")).unwrap()), (6, 1, Some(1)));
}

/// The plans of the claim's statements, as they are prepared: each walks an index in its order and sorts nothing.
#[test]
fn a_claim_looks_into_an_index_however_many_rows_wait() {
    let Lab { journal, folder } = lab();
    drop(journal);
    let path = folder.path().join("journal.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    for (sql, index) in [
        (store::CLAIMABLE, "USING INDEX entry_claim (kind=? AND flow=? AND route=? AND available<?)"),
        (store::CLAIMABLE_OWN, "USING INDEX entry_owner (owner=? AND kind=? AND flow=?)"),
        (store::NEXT_ROUTE, "USING COVERING INDEX entry_claim (kind=? AND flow=? AND route>?)"),
    ] {
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let count = plan.parameter_count();
        let nothing = rusqlite::params_from_iter(vec![rusqlite::types::Null; count]);
        let lines: Vec<String> = plan.query_map(nothing, |row| row.get(3)).unwrap().map(Result::unwrap).collect();
        assert!(lines.len() == 1 && lines[0].contains(index), "{lines:?}");
    }
}
