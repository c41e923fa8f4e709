//! Sealing keys: made, rotated and read again; rotation over a live SQLite journal, a fleet with different lists, wrong keys, and rows that
//! were changed in the file.

#![cfg(all(feature = "scep", feature = "pkcs", feature = "sqlite", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/scep_lab.rs"]
mod scep_lab;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::adapters::{
    SealingKeyError, SealingKeyFile, SealingKeyVariable, SqliteJournal, StdRuntime, UnwrapSealingKey, WrappedSealingKeys,
};
use intune_connector::connector::Connector;
use intune_connector::event::EventId;
use intune_connector::message::scep::PkiStatus;
use intune_connector::ports::{Busy, Journal, PortError, PortErrorKind, Runtime, SealingKey as _, SealingKeys};
use intune_connector::scep::{Maintained, NotificationPolicy, Persistence};
use intune_connector::secret::SecretBytes;
use intune_connector::time::Timestamp;
use rusqlite::Connection;
use scep_lab::{Client, Lab, provider, shared_key};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

fn key(byte: u8) -> SecretBytes {
    SecretBytes::new(vec![byte; 32])
}

fn hex(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

// ---- where keys come from

#[test]
fn a_key_file_is_made_once_rotated_and_read_again() {
    let folder = support::scratch();
    let path = folder.path().join("sealing.keys");
    let missing = SealingKeyFile::new(&path).keys().unwrap_err();
    assert!(missing.kind() == PortErrorKind::Misconfigured && missing.to_string().contains("sealing.keys"), "{missing}");
    let file = SealingKeyFile::create(&path, provider()).unwrap();
    let text = fs::read(&path).unwrap();
    assert!(matches!(SealingKeyFile::create(&path, provider()), Err(SealingKeyError::Exists(of)) if of == path));
    assert_eq!(fs::read(&path).unwrap(), text, "it is never overwritten");
    let bytes = || file.keys().unwrap().iter().map(|key| key.secret_bytes().to_vec()).collect::<Vec<_>>();
    let first = bytes();
    assert_eq!((first.len(), first[0].len()), (1, 32));
    assert_eq!(file.rotate(provider()).unwrap(), 2);
    assert_eq!(file.rotate(provider()).unwrap(), 3);
    let now = bytes();
    assert_eq!(now[2], first[0]);
    assert_eq!(now.iter().collect::<BTreeSet<_>>().len(), 3);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    assert!(!format!("{file:?} {:?}", SealingKeys::from(file.clone())).contains(&String::from_utf8(text).unwrap()[..16]));

    // What another rotation holds, and what does not fit, leaves the file as it is.
    let lock = folder.path().join("sealing.keys.new");
    fs::write(&lock, "").unwrap();
    assert!(matches!(file.rotate(provider()), Err(SealingKeyError::RotationUnderWay(of)) if of.ends_with("sealing.keys.new")));
    fs::remove_file(&lock).unwrap();
    let full: String = (0..64).map(|number| format!("{number:064x}\n")).collect();
    fs::write(&path, &full).unwrap();
    assert_eq!(bytes().len(), 64);
    assert!(matches!(file.rotate(provider()), Err(SealingKeyError::TooMany)));
    assert_eq!(fs::read_to_string(&path).unwrap(), full);
    fs::write(&path, format!("{}\nxyz\n", hex(1))).unwrap();
    let error = file.rotate(provider()).unwrap_err();
    assert!(matches!(error, SealingKeyError::Malformed(2)), "{error}");
    assert!(!lock.exists());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(file.keys().unwrap_err().to_string().contains("not a regular file"));
}

#[test]
fn of_rotations_at_once_none_takes_anothers_key_away() {
    let folder = support::scratch();
    let file = SealingKeyFile::create(folder.path().join("keys"), provider()).unwrap();
    let rotated: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| (0..10).filter(|_| file.rotate(provider()).is_ok()).count())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(rotated >= 1);
    assert_eq!(file.keys().unwrap().len(), rotated + 1);
}

#[cfg(unix)]
#[test]
fn a_key_file_that_others_can_use_is_refused() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let folder = support::scratch();
    let path = folder.path().join("keys");
    let file = SealingKeyFile::create(&path, provider()).unwrap();
    let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    let is = || fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(is(), 0o600);
    for bad in [0o640, 0o604, 0o620, 0o602, 0o610, 0o644] {
        mode(bad);
        let error = file.keys().unwrap_err().to_string();
        assert!(error.contains(&format!("mode {bad:04o}")) && error.contains("chmod 0600"), "{error}");
    }
    mode(0o640);
    assert!(file.clone().dangerous_allow_group_to_read().keys().is_ok());
    file.clone().dangerous_allow_group_to_read().rotate(provider()).unwrap();
    assert_eq!(is(), 0o640, "who could read it still can");
    for bad in [0o644, 0o660, 0o650] {
        mode(bad);
        assert!(file.clone().dangerous_allow_group_to_read().keys().is_err());
    }
    mode(0o400);
    file.rotate(provider()).unwrap();
    assert_eq!((is(), file.keys().unwrap().len()), (0o400, 3));
    // A link stays one.
    let link = folder.path().join("link");
    symlink(&path, &link).unwrap();
    assert_eq!(SealingKeyFile::new(&link).rotate(provider()).unwrap(), 4);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(file.keys().unwrap().len(), 4);
}

#[test]
fn keys_in_a_variable_are_read_and_an_absent_one_is_named() {
    let error = SealingKeyVariable::new("INTUNE_CONNECTOR_TEST_ABSENT").keys().unwrap_err();
    assert!(error.to_string().contains("INTUNE_CONNECTOR_TEST_ABSENT"), "{error}");
    // Set for another process: this one has threads.
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "in_a_process_with_a_variable", "--nocapture"])
        .env("INTUNE_CONNECTOR_TEST_KEYS", format!("{},{}", hex(2), hex(1)))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(child.status.success() && text.contains("two keys"), "{text}");
}

/// Not a test of its own: what the other process does.
#[test]
fn in_a_process_with_a_variable() {
    if std::env::var_os("INTUNE_CONNECTOR_TEST_KEYS").is_none() {
        return;
    }
    let keys = SealingKeyVariable::new("INTUNE_CONNECTOR_TEST_KEYS").keys().unwrap();
    assert_eq!(keys.iter().map(|key| key.secret_bytes()[0]).collect::<Vec<_>>(), [2, 1]);
    println!("two keys");
}

/// Unwraps by turning the bits over.
#[derive(Debug, Default)]
struct Hsm {
    calls: AtomicU64,
    away: Mutex<bool>,
}

#[async_trait]
impl UnwrapSealingKey for Hsm {
    async fn unwrap_key(&self, wrapped: &[u8]) -> Result<SecretBytes, PortError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if *self.away.lock().unwrap() {
            return Err(PortError::transient("the HSM is away"));
        }
        Ok(SecretBytes::new(wrapped.iter().map(|byte| !byte).collect()))
    }
}

#[test]
fn wrapped_keys_are_unwrapped_once_and_former_ones_stay_after_an_error() {
    let runtime = StdRuntime::with_threads(1, 1).unwrap();
    let wrapped = |byte: u8| vec![!byte; 32];
    let hsm = Arc::new(Hsm::default());
    let keys = runtime.block_on(WrappedSealingKeys::unwrapped(hsm.clone(), &[wrapped(1)])).unwrap();
    let now = || keys.keys().unwrap().iter().map(|key| key.secret_bytes()[0]).collect::<Vec<_>>();
    assert_eq!(now(), [1]);
    runtime.block_on(keys.refresh(&[wrapped(2), wrapped(1)])).unwrap();
    assert_eq!((now(), hsm.calls.load(Ordering::SeqCst)), (vec![2, 1], 2));
    *hsm.away.lock().unwrap() = true;
    assert!(runtime.block_on(keys.refresh(&[wrapped(3), wrapped(2)])).unwrap_err().to_string().contains("away"));
    *hsm.away.lock().unwrap() = false;
    let short = runtime.block_on(keys.refresh(&[vec![0; 16]])).unwrap_err().to_string();
    assert!(short.contains("key 1 holds 16 bytes"), "{short}");
    for count in [0, 65] {
        assert!(runtime.block_on(keys.refresh(&vec![wrapped(9); count])).is_err());
    }
    assert_eq!(now(), [2, 1]);
    assert!(!format!("{keys:?}").contains("1, 1, 1"), "{keys:?}");
}

#[test]
fn builders_refuse_missing_and_wrong_keys_with_what_to_do() {
    let folder = support::scratch();
    let journal: Arc<dyn Journal> = Arc::new(SqliteJournal::open(folder.path().join("journal.db")).unwrap());
    let findings = |keys: Option<SealingKeys>| {
        let builder = Connector::builder(provider().clone(), Arc::clone(&journal));
        let builder = match keys {
            Some(keys) => builder.sealing_key(keys),
            None => builder,
        };
        builder.build().unwrap_err().to_string().lines().filter(|line| line.contains("sealing_key")).collect::<Vec<_>>().join("\n")
    };
    for (keys, problem) in [
        (None, "the journal is durable"),
        (Some(SecretBytes::zeroed(31).into()), "it is not 32 bytes long"),
        (Some(Vec::<SecretBytes>::new().into()), "there is no key"),
        (Some((0..65).map(key).collect::<Vec<_>>().into()), "more than 64 keys"),
        (Some(SealingKeyFile::new(folder.path().join("absent")).into()), "cannot be read"),
    ] {
        let found = findings(keys);
        assert!(found.contains(problem), "{problem}: {found}");
    }
    assert_eq!(findings(Some(vec![key(2), key(1)].into())), "");
}

// ---- rows under them

/// A clock that a test puts forward.
#[derive(Debug)]
struct Ahead(StdRuntime, Mutex<Duration>);

impl Runtime for Ahead {
    fn now(&self) -> Timestamp {
        self.0.now().saturating_add(*self.1.lock().unwrap())
    }
    fn monotonic(&self) -> Duration {
        self.0.monotonic() + *self.1.lock().unwrap()
    }
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.0.sleep(duration)
    }
    fn offload(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Busy> {
        self.0.offload(job)
    }
}

/// A service that is told to spool its notifications, on that journal.
fn lab(journal: Arc<dyn Journal>, name: &str, keys: impl Into<SealingKeys>, clock: &Arc<Ahead>) -> Lab {
    let lab = Lab::with_journal(journal, |builder| {
        builder
            .instance(name.parse().unwrap())
            .runtime(clock.clone())
            .notification(NotificationPolicy::IssueThenNotify)
            .persistence(Persistence::default().with_backoff(MINUTE, HOUR))
            .sealing_key(keys)
    });
    lab.notifier.fail.store(u32::MAX, Ordering::SeqCst);
    lab
}

fn clock() -> Arc<Ahead> {
    Arc::new(Ahead(StdRuntime::new().unwrap(), Mutex::default()))
}

fn client(number: u32) -> Client {
    Client::new(shared_key(2), &format!("CN=device-{number}"), &format!("transaction-{number}"))
}

/// Whether the service gives the client a certificate.
fn serves(lab: &Lab, client: &Client) -> bool {
    let (message, to) = client.message(&lab.ra);
    let response = lab.post(&message);
    response.status == 200 && client.reply(&response, &to, &lab.ra).status() == PkiStatus::Success
}

fn maintain(lab: &Lab, now: Timestamp) -> Maintained {
    lab.runtime.block_on(lab.service.maintain(now))
}

fn later(hours: u32) -> Timestamp {
    Timestamp::system_now().saturating_add(hours * HOUR)
}

fn journal_errors(lab: &Lab) -> Vec<String> {
    let failures = lab.sink.events().into_iter().filter(|event| event.id == EventId::JournalFailure);
    failures.map(|event| serde_json::to_string(&event).unwrap()).collect()
}

/// The ids of the keys in the file, by how many rows each has.
fn key_ids(file: &Path) -> Vec<(Vec<u8>, i64)> {
    let connection = Connection::open(file).unwrap();
    let mut query = connection.prepare("SELECT substr(blob, 2, 8), count(*) FROM entry WHERE length(blob) > 0 GROUP BY 1").unwrap();
    let mut ids: Vec<(Vec<u8>, i64)> = query.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    ids.sort_by_key(|(_, count)| *count);
    ids
}

#[test]
fn keys_are_rotated_over_a_live_journal_and_nothing_is_lost() {
    let folder = support::scratch();
    let (file, keys) = (folder.path().join("journal.db"), SealingKeyFile::create(folder.path().join("keys"), provider()).unwrap());
    let clock = clock();
    let first = lab(Arc::new(SqliteJournal::open(&file).unwrap()), "lab-1", keys.clone(), &clock);
    assert!(serves(&first, &client(1)));
    keys.rotate(provider()).unwrap();
    *clock.1.lock().unwrap() += MINUTE;
    // Without a restart: an older row is served, and a newer one is sealed with the new key.
    assert!(serves(&first, &client(1)) && serves(&first, &client(2)));
    assert_eq!(first.ca.asks.load(Ordering::SeqCst), 2);
    drop(first);
    assert_eq!(key_ids(&file).len(), 2, "rows of both keys");

    let second = lab(Arc::new(SqliteJournal::open(&file).unwrap()), "lab-1", keys.clone(), &clock);
    assert!(serves(&second, &client(1)) && serves(&second, &client(2)));
    assert_eq!(second.ca.asks.load(Ordering::SeqCst), 0, "answered from the journal");
    second.notifier.fail.store(0, Ordering::SeqCst);
    let done = maintain(&second, later(1));
    assert_eq!((done.notified, done.unopened), (2, 0));
    assert_eq!(journal_errors(&second), Vec::<String>::new());
    drop(second);

    // The old key is taken away too early: what it sealed is told, and not served.
    let text = fs::read_to_string(folder.path().join("keys")).unwrap();
    fs::write(folder.path().join("keys"), text.lines().next().unwrap()).unwrap();
    let third = lab(Arc::new(SqliteJournal::open(&file).unwrap()), "lab-1", keys, &clock);
    assert!(!serves(&third, &client(1)) && serves(&third, &client(2)));
    assert!(journal_errors(&third).iter().any(|text| text.contains("not among the sealing keys")), "{:?}", journal_errors(&third));
}

#[test]
fn of_a_fleet_that_is_being_rotated_each_serves_what_it_can_and_tells_the_rest() {
    let folder = support::scratch();
    let journal = Arc::new(SqliteJournal::open(folder.path().join("journal.db")).unwrap());
    let clock = clock();
    let shared = |name: &str, keys: Vec<SecretBytes>| lab(journal.clone(), name, keys, &clock);
    let (ahead, behind) = (shared("lab-1", vec![key(2), key(1)]), shared("lab-2", vec![key(1)]));
    assert!(serves(&behind, &client(1)) && serves(&ahead, &client(2)));
    assert!(serves(&ahead, &client(1)), "what the one behind sealed");
    assert_eq!(ahead.ca.asks.load(Ordering::SeqCst), 1);
    let asks = behind.ca.asks.load(Ordering::SeqCst);
    assert!(!serves(&behind, &client(2)), "what the one ahead sealed");
    assert_eq!(behind.ca.asks.load(Ordering::SeqCst), asks, "the CA is not asked again");
    behind.notifier.fail.store(0, Ordering::SeqCst);
    let done = maintain(&behind, later(1));
    // Of the two notifications; the transactions are final.
    assert_eq!((done.notified, done.unopened, done.given_up), (1, 1, 0));
    assert!(journal_errors(&behind).iter().all(|text| text.contains("not among the sealing keys")), "{:?}", journal_errors(&behind));
    // It held the row under a lease, and left it as it was.
    ahead.notifier.fail.store(0, Ordering::SeqCst);
    let done = maintain(&ahead, later(2));
    assert_eq!((done.notified, done.unopened), (1, 0));
    // The one behind gets the key: it serves.
    let caught_up = shared("lab-2", vec![key(1), key(2)]);
    assert!(serves(&caught_up, &client(2)));
    assert_eq!(caught_up.ca.asks.load(Ordering::SeqCst), 0);
}

#[test]
fn with_wrong_keys_no_row_is_served_and_with_the_right_ones_all_are() {
    let folder = support::scratch();
    let file = folder.path().join("journal.db");
    let open = |keys: Vec<SecretBytes>| lab(Arc::new(SqliteJournal::open(&file).unwrap()), "lab-1", keys, &clock());
    let right = open(vec![key(1)]);
    assert!(serves(&right, &client(1)));
    drop(right);
    let wrong = open(vec![key(8), key(9)]);
    assert!(!serves(&wrong, &client(1)));
    let done = maintain(&wrong, later(1));
    assert_eq!((done.notified, done.given_up, done.unopened), (0, 0, 1));
    assert_eq!((wrong.ca.asks.load(Ordering::SeqCst), wrong.ca.revoked.lock().unwrap().len()), (0, 0));
    assert!(!journal_errors(&wrong).is_empty());
    drop(wrong);
    let right = open(vec![key(8), key(1)]);
    assert!(serves(&right, &client(1)));
    assert_eq!(right.ca.asks.load(Ordering::SeqCst), 0);
}

/// Every bound column of every kind of row, changed in the file by whoever can write to it.
#[test]
fn a_row_whose_clear_columns_were_changed_is_never_served() {
    let folder = support::scratch();
    let file = folder.path().join("journal.db");
    let open = |file: &Path| lab(Arc::new(SqliteJournal::open(file).unwrap()), "lab-1", key(1), &clock());
    let first = open(&file);
    assert!(serves(&first, &client(1)) && serves(&first, &client(2)));
    drop(first);
    let columns: Vec<String> = {
        let connection = Connection::open(&file).unwrap();
        let mut query = connection.prepare("SELECT name FROM pragma_table_info('entry')").unwrap();
        query.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    // The codes stand in the journal's `codes.rs`: 2 is a transaction, 3 a notification, 7 the pointer to a client's latest transaction.
    let mut changes = vec![
        ("attempt", "attempt + 1"),
        ("created", "created + 1"),
        ("created", "created - 3600000000"),
        ("flow", "CASE flow WHEN 1 THEN 2 ELSE 1 END"),
        ("state", "CASE state WHEN 7 THEN 8 WHEN 1 THEN 2 ELSE 7 END"),
        ("key", "zeroblob(32)"),
        ("kind", "CASE kind WHEN 3 THEN 6 WHEN 2 THEN 3 ELSE 2 END"),
        ("blob", "CAST(substr(blob, 1, length(blob) - 1) || x'00' AS BLOB)"),
        ("blob", "(SELECT other.blob FROM entry other WHERE other.kind = entry.kind AND other.id <> entry.id LIMIT 1)"),
    ];
    if columns.iter().any(|column| column == "route") {
        changes.push(("route", "'elsewhere'"));
    }
    let of_first = "id IN (SELECT min(id) FROM entry GROUP BY kind)";
    let mut noticed = 0;
    for kind in [2, 3, 7] {
        for (column, value) in &changes {
            let what = format!("{column} of kind {kind} = {value}");
            let changed = support::scratch();
            let copy = changed.path().join("journal.db");
            fs::copy(&file, &copy).unwrap();
            let connection = Connection::open(&copy).unwrap();
            let sql = format!("UPDATE entry SET {column} = {value} WHERE kind = {kind} AND {of_first}");
            assert_eq!(connection.execute(&sql, ()).unwrap(), 1, "{what}");
            drop(connection);
            let lab = open(&copy);
            lab.notifier.fail.store(0, Ordering::SeqCst);
            let served = serves(&lab, &client(1));
            let asked = lab.ca.asks.load(Ordering::SeqCst);
            // A row that is not found where it was is one that was never there: the CA is asked. A row that is found is not believed.
            let is_moved = matches!(*column, "key" | "kind");
            if kind == 2 {
                assert!(!served || (is_moved && asked == 1), "{what}: served");
            } else if kind == 7 && !is_moved {
                assert!(!served, "{what}: served");
            }
            let mut done = Maintained::default();
            for hours in [1, 2, 200] {
                let more = maintain(&lab, later(hours));
                done.notified += more.notified;
                done.unopened += more.unopened;
                done.given_up += more.given_up;
            }
            // The second client's notification is good; a certificate that was issued anew here was told of at once.
            let untouched = u64::from(kind != 3) + 1;
            assert!(done.notified <= untouched, "{what}: {done:?}");
            assert_eq!((done.given_up, lab.ca.revoked.lock().unwrap().len()), (0, 0), "{what}");
            let told = !journal_errors(&lab).is_empty();
            noticed += u32::from(told);
            // Nobody comes upon a row that is not where it was, nor upon a notification of a flow that has none.
            assert!(told || (is_moved && kind != 3) || (*column == "flow" && kind == 3), "{what}: nobody was told");
        }
    }
    assert!(noticed >= 20, "{noticed}");
    // As it was, it is served.
    let lab = open(&file);
    assert!(serves(&lab, &client(1)));
    assert_eq!((lab.ca.asks.load(Ordering::SeqCst), journal_errors(&lab).len()), (0, 0));
}
