//! The PostgreSQL journal against a real server: its restarts, other instances, paused ones, wrong settings, foreign and newer tables.

#![cfg(all(feature = "postgres", unix))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/postgres.rs"]
mod postgres;
mod support;

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use intune_connector::adapters::{PostgresJournal, PostgresJournalOptions, PostgresOpenErrorKind, StdRuntime, TrustAnchors};
use intune_connector::ids::IdempotencyKey;
use intune_connector::ports::{
    Change, ClaimRequest, CommitAnswer, Journal, JournalScope, LoadRequest, PortError, PortErrorKind, PruneRequest, RenewRequest, Row,
    RowKey, RowKind, RowState, SealedBlob,
};
use intune_connector::retry::Effect;
use intune_connector::terms::Flow;
use intune_connector::time::Timestamp;
use postgres::Server;

const LEASE: Duration = Duration::from_secs(3_600);

fn runtime() -> &'static StdRuntime {
    static RUNTIME: LazyLock<StdRuntime> = LazyLock::new(|| StdRuntime::with_threads(1, 1).unwrap());
    &RUNTIME
}

/// The server that most tests share, each with a database of its own; started once, ended with the process.
fn server() -> Option<Arc<Server>> {
    static SERVER: Mutex<Option<Arc<Server>>> = Mutex::new(None);
    let mut server = SERVER.lock().unwrap();
    if server.is_none() {
        *server = Server::with(&["max_connections=150"]).map(Arc::new);
    }
    server.clone()
}

fn row(number: u64, size: usize) -> Row {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    let key = RowKey { kind: RowKind::Request, key: IdempotencyKey::new(key) };
    Row::new(key, Flow::Pkcs, Timestamp::from_secs(1_000), SealedBlob::new(vec![number as u8; size]))
}

fn commit(journal: &PostgresJournal, row: Row) -> Result<CommitAnswer, PortError> {
    runtime().block_on(journal.commit(vec![Change::new(row)])).map(|answers| answers[0])
}

fn load(journal: &PostgresJournal, number: u64) -> Result<Option<Row>, PortError> {
    runtime().block_on(journal.load(LoadRequest::Keys(vec![row(number, 0).key]))).map(|mut rows| rows.pop())
}

fn claim(journal: &PostgresJournal, owner: &str, max: usize, lease: Duration) -> Vec<Row> {
    // A clock of the instance that is wrong by years changes nothing.
    let request = ClaimRequest::new(RowKind::Request, Flow::Pkcs, owner.parse().unwrap(), max, Timestamp::from_secs(1), lease);
    runtime().block_on(journal.claim(request)).unwrap()
}

/// Claims until that row is free.
fn take_over(journal: &PostgresJournal, owner: &str) -> Row {
    for _ in 0..100_000 {
        if let Some(row) = claim(journal, owner, 1, LEASE).pop() {
            return row;
        }
    }
    panic!("the lease does not end");
}

fn refusal(options: PostgresJournalOptions) -> PostgresOpenErrorKind {
    let shown = format!("{options:?}");
    let error = options.open().unwrap_err();
    for text in [shown, error.to_string(), format!("{error:?}")] {
        assert!(!text.contains("s3cr~t"), "{text}");
    }
    error.kind
}

// ---- the port

#[cfg(all(feature = "conformance", feature = "ring", feature = "aws-lc-rs"))]
#[test]
fn the_journal_passes_the_conformance_suite_anew_and_after_it_was_opened_again() {
    let Some(server) = server() else { return };
    server.database("conformance");
    let provider = intune_connector::crypto::CryptoProvider::ring_and_aws_lc_rs();
    for _ in 0..2 {
        let journal = PostgresJournal::open(server.url("conformance").as_str()).unwrap();
        assert_eq!((journal.scope(), journal.is_durable()), (JournalScope::Fleet, true));
        let report = runtime().block_on(intune_connector::conformance::check_journal(&journal, &provider));
        assert!(report.is_passed(), "{report}");
    }
}

#[test]
fn a_row_is_read_back_whatever_is_in_it() {
    let Some(server) = server() else { return };
    server.database("values");
    let journal = PostgresJournal::open(server.url("values").as_str()).unwrap();
    let kinds = [
        RowKind::Request,
        RowKind::ScepTransaction,
        RowKind::ScepTransactionId,
        RowKind::Notification,
        RowKind::Health,
        RowKind::CoolDown,
        RowKind::Orphan,
        RowKind::Revocation,
        RowKind::Instance,
    ];
    let flows = [Flow::Pkcs, Flow::PkcsRecrypt, Flow::PkcsImport, Flow::Revoke, Flow::Scep, Flow::Health];
    let states = [
        RowState::Received,
        RowState::Planned,
        RowState::Asked,
        RowState::Issued,
        RowState::Packed,
        RowState::Uploading,
        RowState::Acknowledged,
        RowState::Failed,
        RowState::Parked,
        RowState::OrphanSuspected,
    ];
    let mut rows = Vec::new();
    for (kind, flow) in kinds.into_iter().flat_map(|kind| flows.map(move |flow| (kind, flow))) {
        for state in states {
            let at = rows.len();
            let mut row = row(at as u64, 0);
            row.key.kind = kind;
            (row.flow, row.state) = (flow, state);
            row.owner = (at % 2 == 0).then(|| "instance ü'\\\"{}\u{1F512}".parse().unwrap());
            row.route = (at % 3 == 0).then(|| "route ß'; DROP TABLE entry; --".parse().unwrap());
            row.lease_until = Timestamp::from_micros([i64::MIN, -1, i64::MAX][at % 3]);
            row.due = Timestamp::from_micros([0, i64::MAX, i64::MIN][at % 3]);
            (row.created, row.updated) = (Timestamp::from_micros(i64::MIN + 1), Timestamp::from_micros(i64::MAX - 1));
            (row.attempt, row.delivery) = (u32::MAX, u32::MAX - 1);
            row.lease_epoch = u64::MAX - at as u64;
            row.blob = SealedBlob::new(vec![at as u8; [0, 1, 4_061, 70_000][at % 4]]);
            rows.push(row);
        }
    }
    assert_eq!(rows.len(), 9 * 6 * 10);
    // More than one transaction takes, too.
    let changes = rows.iter().map(|row| Change::new(row.clone())).collect();
    assert!(runtime().block_on(journal.commit(changes)).unwrap().iter().all(|answer| *answer == CommitAnswer::Stored(1)));
    drop(journal);
    let journal = PostgresJournal::open(server.url("values").as_str()).unwrap();
    let read = runtime().block_on(journal.load(LoadRequest::Keys(rows.iter().map(|row| row.key).collect()))).unwrap();
    rows.iter_mut().for_each(|row| row.version = 1);
    for (read, row) in read.iter().zip(&rows) {
        assert_eq!(read, row);
    }
    assert_eq!(read.len(), rows.len());
    let finished = rows.iter().filter(|row| row.state.is_final()).count() as u64;
    let open = rows.iter().filter(|row| !row.state.is_final() && row.key.kind != RowKind::Instance).count() as u64;
    let stats = runtime().block_on(journal.stats()).unwrap();
    assert_eq!((stats.open, stats.finished), (open, finished));
}

#[test]
fn a_row_that_is_changed_twice_in_one_call_takes_both_changes_in_order() {
    let Some(server) = server() else { return };
    server.database("twice");
    let journal = PostgresJournal::open(server.url("twice").as_str()).unwrap();
    let (mut second, mut third) = (row(1, 20), row(1, 30));
    (second.version, third.version) = (1, 2);
    let changes = vec![row(1, 10), row(2, 10), second, row(1, 5), third].into_iter().map(Change::new).collect();
    let answers = runtime().block_on(journal.commit(changes)).unwrap();
    use CommitAnswer::{Conflict, Stored};
    assert_eq!(answers, [Stored(1), Stored(1), Stored(2), Conflict, Stored(3)]);
    assert_eq!(load(&journal, 1).unwrap().unwrap().blob.as_bytes().len(), 30);
}

#[test]
fn too_much_is_turned_away_with_a_passing_error_and_without_effect() {
    let Some(server) = server() else { return };
    server.database("full");
    let journal = PostgresJournalOptions::new(server.url("full").as_str()).most_waiting(10, 1_000).open().unwrap();
    let error = commit(&journal, row(1, 2_000)).unwrap_err();
    assert_eq!((error.kind(), error.effect()), (PortErrorKind::Rejected, Effect::None));
    let calls = futures_util::future::join_all((0..30).map(|number| journal.commit(vec![Change::new(row(number, 1))])));
    let answers = runtime().block_on(calls);
    let (stored, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert!(!stored.is_empty() && !refused.is_empty(), "{} stored, {} refused", stored.len(), refused.len());
    for error in refused.into_iter().filter_map(Result::err) {
        assert_eq!((error.kind(), error.effect()), (PortErrorKind::Transient, Effect::None));
    }
    assert_eq!(commit(&journal, row(100, 1)).unwrap(), CommitAnswer::Stored(1), "there is room again");
    assert_eq!(runtime().block_on(journal.stats()).unwrap().open, stored.len() as u64 + 1);
}

// ---- several instances

#[test]
fn of_two_instances_that_race_each_row_has_one_owner_and_each_version_one_writer() {
    let Some(server) = server() else { return };
    server.database("race");
    let journals: Vec<_> = (0..2).map(|_| Arc::new(PostgresJournal::open(server.url("race").as_str()).unwrap())).collect();
    let numbers = 0..200u64;
    runtime().block_on(journals[0].commit(numbers.clone().map(|number| Change::new(row(number, 500))).collect())).unwrap();
    let workers: Vec<_> = (0..8)
        .map(|worker| {
            let journal = Arc::clone(&journals[worker % 2]);
            thread::spawn(move || {
                let mut mine = Vec::new();
                loop {
                    let rows = claim(&journal, &format!("instance {worker}"), 7, LEASE);
                    // Others may hold the locks of what is left at this moment.
                    if rows.is_empty() && runtime().block_on(journal.stats()).unwrap().open == 0 {
                        return mine;
                    }
                    for mut row in rows {
                        mine.push(row.key);
                        row.state = RowState::Acknowledged;
                        assert!(matches!(commit(&journal, row).unwrap(), CommitAnswer::Stored(_)));
                    }
                }
            })
        })
        .collect();
    let taken: Vec<RowKey> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
    assert_eq!((taken.len(), taken.iter().collect::<HashSet<_>>().len()), (200, 200));

    // Overlapping batches in opposite orders: nobody waits for ever, and of each version one writer wins.
    let rounds = 30;
    let workers: Vec<_> = (0..4usize)
        .map(|worker| {
            let journal = Arc::clone(&journals[worker % 2]);
            thread::spawn(move || {
                let mut won = 0;
                for _ in 0..rounds {
                    let mut keys: Vec<RowKey> = (1_000..1_020).map(|number| row(number, 0).key).collect();
                    let mut rows = runtime().block_on(journal.load(LoadRequest::Keys(keys.clone()))).unwrap();
                    keys.retain(|key| rows.iter().all(|row| row.key != *key));
                    rows.extend((1_000..1_020).map(|number| row(number, 10)).filter(|row| keys.contains(&row.key)));
                    if worker >= 2 {
                        rows.reverse();
                    }
                    let answers = runtime().block_on(journal.commit(rows.into_iter().map(Change::new).collect())).unwrap();
                    won += answers.iter().filter(|answer| matches!(answer, CommitAnswer::Stored(_))).count() as u64;
                }
                won
            })
        })
        .collect();
    let won: u64 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    let versions: u64 = (1_000..1_020).map(|number| load(&journals[1], number).unwrap().unwrap().version).sum();
    assert_eq!(versions, won, "each success raised one version by one");
}

#[test]
fn twenty_journals_that_are_opened_at_once_on_an_empty_database_make_its_tables_once() {
    let Some(server) = server() else { return };
    server.database("empty");
    let journals: Vec<_> = (0..20)
        .map(|_| {
            let url = server.url("empty");
            thread::spawn(move || PostgresJournal::open(url.as_str()).unwrap())
        })
        .collect();
    for (number, journal) in journals.into_iter().enumerate() {
        commit(&journal.join().unwrap(), row(number as u64, 10)).unwrap();
    }
    assert_eq!(server.sql("empty", "SELECT count(*) FROM intune_connector.entry"), "20");
    assert_eq!(server.sql("empty", "SELECT count(*) FROM intune_connector.journal_version"), "1");
}

const CHILD: &str = "JOURNAL_POSTGRES_TEST_CHILD";

/// Not a test of its own: what the other process of a test does.
#[test]
fn in_another_process() {
    let Some(url) = std::env::var_os(CHILD) else { return };
    let journal = PostgresJournal::open(url.to_str().unwrap()).unwrap();
    let mut row = claim(&journal, "paused", 1, Duration::from_millis(300)).pop().unwrap();
    println!("\nclaimed");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    row.attempt = 99;
    let renew = RenewRequest::new(vec![(row.key, row.lease_epoch)], "paused".parse().unwrap(), Timestamp::system_now(), LEASE);
    let answer = commit(&journal, row).unwrap();
    println!("\nanswer {answer:?} {}", runtime().block_on(journal.renew(renew)).unwrap().len());
}

fn signal(child: &Child, name: &str) {
    support::run(Command::new("kill").args([name, &child.id().to_string()]));
}

#[test]
fn a_process_that_was_paused_beyond_its_lease_can_neither_commit_nor_renew() {
    let Some(server) = server() else { return };
    server.database("paused");
    let journal = PostgresJournal::open(server.url("paused").as_str()).unwrap();
    commit(&journal, row(1, 100)).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "in_another_process", "--nocapture"])
        .env(CHILD, server.url("paused"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "claimed"));
    signal(&child, "-STOP");
    let mut taken = take_over(&journal, "awake");
    signal(&child, "-CONT");
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(lines.find(|line| line.starts_with("answer")).as_deref(), Some("answer Conflict 0"));
    assert!(child.wait().unwrap().success());
    taken.attempt = 1;
    assert!(matches!(commit(&journal, taken).unwrap(), CommitAnswer::Stored(_)));
    assert_eq!(load(&journal, 1).unwrap().unwrap().attempt, 1);
}

// ---- a server that goes away

#[test]
fn what_was_answered_survives_a_crash_of_the_server_and_the_journal_heals_by_itself() {
    let Some(mut server) = Server::start() else { return };
    let journal = Arc::new(PostgresJournal::open(server.url("postgres").as_str()).unwrap());
    let (end, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let threads: Vec<_> = (0..8u64)
        .map(|of| {
            let (journal, end, failed) = (Arc::clone(&journal), Arc::clone(&end), Arc::clone(&failed));
            thread::spawn(move || {
                let (mut stored, mut unknown, mut nothing) = (Vec::new(), Vec::new(), Vec::new());
                for number in (0..).map(|count| count * 8 + of) {
                    match commit(&journal, row(number, 2_000)) {
                        Ok(answer) => {
                            assert_eq!(answer, CommitAnswer::Stored(1));
                            stored.push(number);
                            if end.load(Ordering::Relaxed) {
                                return (stored, unknown, nothing);
                            }
                        }
                        Err(error) => {
                            assert_eq!(error.kind(), PortErrorKind::Transient, "{error}");
                            if error.effect() == Effect::None { &mut nothing } else { &mut unknown }.push(number);
                            failed.store(true, Ordering::Relaxed);
                            thread::yield_now();
                        }
                    }
                }
                unreachable!()
            })
        })
        .collect();
    for _ in 0..3 {
        let before = runtime().block_on(journal.stats()).unwrap().open;
        while runtime().block_on(journal.stats()).unwrap().open < before + 200 {}
        failed.store(false, Ordering::Relaxed);
        server.stop();
        while !failed.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        server.start_again();
        // The server's start and the journal's next connection are found out by trying.
        while runtime().block_on(journal.stats()).is_err() {}
    }
    end.store(true, Ordering::Relaxed);
    let (mut answered, mut errors, mut open) = (0u64, 0, 0);
    for thread in threads {
        let (stored, unknown, nothing) = thread.join().unwrap();
        for number in &stored {
            let found = load(&journal, *number).unwrap().unwrap_or_else(|| panic!("row {number} was answered as stored and is lost"));
            assert_eq!((found.version, found.blob), (1, row(*number, 2_000).blob));
        }
        let nothing_there: Vec<RowKey> = nothing.iter().map(|number| row(*number, 0).key).collect();
        assert_eq!(runtime().block_on(journal.load(LoadRequest::Keys(nothing_there))).unwrap(), [], "said to have had no effect");
        let unknown_keys: Vec<RowKey> = unknown.iter().map(|number| row(*number, 0).key).collect();
        open += runtime().block_on(journal.load(LoadRequest::Keys(unknown_keys))).unwrap().len() as u64;
        answered += stored.len() as u64;
        errors += unknown.len() + nothing.len();
    }
    assert!(answered >= 600 && errors > 0, "{answered} answers, {errors} errors");
    assert_eq!(runtime().block_on(journal.stats()).unwrap().open, answered + open);
}

#[test]
fn a_server_that_is_not_there_is_an_error_without_effect_and_is_found_again() {
    let Some(mut server) = Server::start() else { return };
    let journal = PostgresJournal::open(server.url("postgres").as_str()).unwrap();
    commit(&journal, row(1, 10)).unwrap();
    server.stop();
    let _ = commit(&journal, row(2, 10)).unwrap_err();
    let error = commit(&journal, row(2, 10)).unwrap_err();
    assert_eq!((error.kind(), error.effect()), (PortErrorKind::Transient, Effect::None), "{error}");
    assert!(matches!(refusal(PostgresJournalOptions::new(server.url("postgres").as_str())), PostgresOpenErrorKind::CannotConnect { .. }));
    server.start_again();
    assert_eq!(commit(&journal, row(2, 10)).unwrap(), CommitAnswer::Stored(1));
    assert!(load(&journal, 1).unwrap().is_some());
}

// ---- what cannot be opened

#[test]
fn wrong_settings_credentials_and_databases_are_named_and_no_password_is_shown() {
    let Some(server) = server() else { return };
    server.database("named");
    let by = |url: String| PostgresJournalOptions::new(url.as_str());
    drop(by(server.url_with_password("named", postgres::PASSWORD)).open().unwrap());
    assert_eq!(refusal(by(server.url_with_password("named", "s3cr~t but wrong"))), PostgresOpenErrorKind::WrongCredentials);
    assert_eq!(refusal(by(server.url("unknown"))), PostgresOpenErrorKind::UnknownDatabase);

    // From a file, which is read at each connection.
    let folder = support::scratch();
    let file = folder.path().join("password");
    std::fs::write(&file, format!("{}\n", postgres::PASSWORD)).unwrap();
    let without = format!("postgres://postgres@127.0.0.1:{}/named", server.port());
    drop(by(without.clone()).password_file(&file).open().unwrap());
    drop(by(without.clone()).password_callback(|| Ok(postgres::PASSWORD.into())).open().unwrap());
    std::fs::write(&file, "s3cr~t of yesterday").unwrap();
    assert_eq!(refusal(by(without.clone()).password_file(&file)), PostgresOpenErrorKind::WrongCredentials);
    assert!(matches!(refusal(by(without).password_file(folder.path().join("none"))), PostgresOpenErrorKind::Setting { .. }));

    for url in [
        "postgres://u:s3cr~t@:port:/x",
        "password=s3cr~t is=it",
        "host=db.example user=u password=s3cr~t s3cr~t",
        "user=u",
        "host=127.0.0.1",
    ] {
        assert!(matches!(refusal(by(url.to_owned())), PostgresOpenErrorKind::Setting { .. }), "{url}");
    }
    for schema in ["", "pg_own", "information_schema", &"x".repeat(64), "line\nbreak"] {
        assert!(matches!(refusal(by(server.url("named")).schema(schema)), PostgresOpenErrorKind::Setting { .. }), "{schema:?}");
    }
    assert!(matches!(refusal(by(server.url("named")).connections(0)), PostgresOpenErrorKind::Setting { .. }));
    assert_eq!(refusal(by("postgres://u:s3cr~t@192.0.2.1/x?sslmode=disable".to_owned())), PostgresOpenErrorKind::Unencrypted);
}

#[test]
fn tables_of_others_and_of_newer_versions_are_refused_and_left_as_they_are() {
    let Some(server) = server() else { return };
    server.database("foreign");
    let options = |schema: &str| PostgresJournalOptions::new(server.url("foreign").as_str()).schema(schema);
    server.sql("foreign", "CREATE SCHEMA a; CREATE TABLE a.entry (x int); INSERT INTO a.entry VALUES (7)");
    assert_eq!(refusal(options("a")), PostgresOpenErrorKind::NotAJournal);
    assert_eq!(server.sql("foreign", "SELECT x FROM a.entry"), "7");
    server.sql("foreign", "CREATE SCHEMA b; CREATE TABLE b.journal_version (x int)");
    assert_eq!(refusal(options("b")), PostgresOpenErrorKind::NotAJournal);
    server.sql(
        "foreign",
        "CREATE SCHEMA c; CREATE TABLE c.journal_version (format text, version bigint); INSERT INTO c.journal_version VALUES ('x', 1)",
    );
    assert_eq!(refusal(options("c")), PostgresOpenErrorKind::NotAJournal);

    drop(options("d").open().unwrap());
    server.sql("foreign", "UPDATE d.journal_version SET version = 1000");
    let PostgresOpenErrorKind::NewerSchema { found: 1000, known } = refusal(options("d")) else { panic!("another error") };
    server.sql("foreign", &format!("UPDATE d.journal_version SET version = {known}; ALTER TABLE d.entry DROP COLUMN attempt"));
    assert_eq!(refusal(options("d")), PostgresOpenErrorKind::Damaged);

    server.sql("foreign", "CREATE ROLE reader LOGIN");
    server.sql("foreign", "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    assert_eq!(refusal(PostgresJournalOptions::new(server.url("latin").as_str())), PostgresOpenErrorKind::NotUtf8);
    let reader = server.url("foreign").replace("user=postgres", "user=reader");
    assert_eq!(refusal(PostgresJournalOptions::new(reader.as_str()).schema("e")), PostgresOpenErrorKind::NotAllowed);
    // Who may make no schema may use one that was made.
    server.sql("foreign", "CREATE SCHEMA e AUTHORIZATION reader");
    let journal = PostgresJournalOptions::new(reader.as_str()).schema("e").open().unwrap();
    assert_eq!(commit(&journal, row(1, 10)).unwrap(), CommitAnswer::Stored(1));
}

#[test]
fn a_schema_of_any_name_is_quoted_and_journals_of_two_schemas_are_strangers() {
    let Some(server) = server() else { return };
    server.database("quoted");
    let names = ["Mixed Case", "a\"; DROP SCHEMA public; --", "ünïcode {schema} $1", "'\\x'"];
    for (number, name) in names.into_iter().enumerate() {
        let options = PostgresJournalOptions::new(server.url("quoted").as_str()).schema(name);
        let journal = options.clone().open().unwrap();
        assert_eq!(runtime().block_on(journal.stats()).unwrap().open, 0, "{name}");
        commit(&journal, row(number as u64, 10)).unwrap();
        drop(journal);
        let journal = options.open().unwrap();
        assert!(load(&journal, number as u64).unwrap().is_some(), "{name}");
        let mut done = claim(&journal, "a", 5, LEASE).pop().unwrap();
        done.state = RowState::Failed;
        commit(&journal, done).unwrap();
        assert_eq!(runtime().block_on(journal.prune(PruneRequest::new(Timestamp::from_secs(1 << 40), 10))).unwrap(), 1);
    }
    assert_eq!(server.sql("quoted", "SELECT count(*) FROM pg_namespace WHERE nspname = 'public'"), "1");
}

#[test]
fn tls_is_used_where_asked_for_and_the_server_must_be_trusted() {
    let Some(openssl) = support::tool("openssl") else { return };
    let folder = support::scratch();
    let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("certificate.pem"));
    let der = folder.path().join("certificate.der");
    support::run(
        Command::new(&openssl)
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=db"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate),
    );
    support::run(Command::new(&openssl).args(["x509", "-outform", "DER", "-in"]).arg(&certificate).arg("-out").arg(&der));
    let Some(mut server) = Server::start() else { return };
    server.stop();
    for (file, name) in [(&key, "server.key"), (&certificate, "server.crt")] {
        let to = server.data().join(name);
        std::fs::copy(file, &to).unwrap();
        support::run(Command::new("chmod").arg("0600").arg(&to));
        support::run(Command::new("chown").arg("--reference").arg(server.data()).arg(&to));
    }
    let conf = server.data().join("postgresql.auto.conf");
    std::fs::write(conf, "ssl = on\n").unwrap();
    server.start_again();
    let root = rustls_pki_types::CertificateDer::from(std::fs::read(&der).unwrap());
    let url = format!("{} sslmode=verify-full", server.url_with_password("postgres", postgres::PASSWORD));
    let options = || PostgresJournalOptions::new(url.as_str());
    let journal = options().trust(TrustAnchors::Only(vec![root.clone()])).open().unwrap();
    assert_eq!(commit(&journal, row(1, 10)).unwrap(), CommitAnswer::Stored(1));
    assert_eq!(
        server.sql(
            "postgres",
            "SELECT bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'intune-connector'"
        ),
        "t"
    );
    for trust in [TrustAnchors::Only(Vec::new()), TrustAnchors::System] {
        let kind = refusal(options().trust(trust));
        assert!(matches!(&kind, PostgresOpenErrorKind::CannotConnect { reason } if reason.contains("certificate")), "{kind:?}");
    }
    let by_name = url.replace("host=127.0.0.1", "host=localhost");
    let kind = refusal(PostgresJournalOptions::new(by_name.as_str()).trust(TrustAnchors::Only(vec![root])));
    assert!(matches!(&kind, PostgresOpenErrorKind::CannotConnect { .. }), "the certificate is not for that name: {kind:?}");
}

// ---- figures

/// `cargo test --release --all-features --test journal_postgres -- --ignored --nocapture commits_per_second`
#[test]
#[ignore = "a measurement"]
fn commits_per_second_of_64_callers() {
    fn measure(name: &str, journal: Arc<dyn Journal>) {
        const CALLERS: u64 = 64;
        let started = Instant::now();
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let journal = Arc::clone(&journal);
                thread::spawn(move || {
                    let mut commits = 0u64;
                    // Seven commits of each row, as a request makes them.
                    for number in (0..).map(|count| count * CALLERS + caller) {
                        for version in 0..7 {
                            let mut row = row(number, 2_000);
                            (row.version, row.owner) = (version, Some("a".parse().unwrap()));
                            if version == 6 {
                                row.state = RowState::Acknowledged;
                            }
                            let change = Change::new(row).with_lease(LEASE);
                            let answers = runtime().block_on(journal.commit(vec![change])).unwrap();
                            assert_eq!(answers, [CommitAnswer::Stored(version + 1)]);
                            commits += 1;
                        }
                        if started.elapsed() > Duration::from_secs(10) {
                            return commits;
                        }
                    }
                    commits
                })
            })
            .collect();
        let commits: u64 = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
        println!("{name}: {:.0} commits/s of rows of 2,000 bytes, {CALLERS} callers", commits as f64 / started.elapsed().as_secs_f64());
    }
    #[cfg(feature = "sqlite")]
    {
        let folder = support::scratch();
        measure("sqlite", Arc::new(intune_connector::adapters::SqliteJournal::open(folder.path().join("journal.db")).unwrap()));
    }
    if let Some(server) = Server::start() {
        measure("postgres", Arc::new(PostgresJournal::open(server.url("postgres").as_str()).unwrap()));
    }
}

/// `cargo test --release --all-features --test journal_postgres -- --ignored --nocapture a_million_rows`
#[test]
#[ignore = "a measurement"]
fn a_million_rows_that_wait_are_no_burden_of_a_claim() {
    fn measure(name: &str, opened: Duration, journal: &dyn Journal) {
        println!("{name}: opened in {opened:?}");
        let routes = |names: &[&str]| Some(names.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>());
        for (what, routes, own) in [
            ("any route", None, false),
            ("one route", routes(&["ca 1"]), false),
            ("a route without rows", routes(&["none"]), false),
            ("three routes, own", routes(&["ca 0", "ca 1", "ca 2"]), true),
            ("own without others", routes(&["none"]), true),
        ] {
            let mut request = ClaimRequest::new(RowKind::Request, Flow::Pkcs, "a".parse().unwrap(), 50, Timestamp::system_now(), LEASE);
            (request.routes, request.own) = (routes, own);
            let started = Instant::now();
            let rows = runtime().block_on(journal.claim(request)).unwrap().len();
            println!("{name}: claim of 50, {what}: {rows} rows in {:?}", started.elapsed());
        }
        let started = Instant::now();
        let stats = runtime().block_on(journal.stats()).unwrap();
        println!("{name}: stats ({} open) in {:?}", stats.open, started.elapsed());
        let started = Instant::now();
        let open = runtime().block_on(journal.load(LoadRequest::Open { kind: RowKind::Request, max: 50 })).unwrap().len();
        println!("{name}: the {open} oldest open rows in {:?}", started.elapsed());
        let started = Instant::now();
        runtime().block_on(journal.commit(vec![Change::new(row(1, 2_000))])).unwrap();
        println!("{name}: a commit in {:?}", started.elapsed());
    }
    #[cfg(feature = "sqlite")]
    {
        use intune_connector::adapters::SqliteJournal;
        let folder = support::scratch();
        let path = folder.path().join("journal.db");
        drop(SqliteJournal::open(&path).unwrap());
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection
            .execute_batch(
                "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000000)
                 INSERT INTO entry (kind, key, flow, route, state, open, version, lease_epoch, lease_until, attempt, delivery, due, available,
                     created, updated, blob)
                 SELECT 1, randomblob(32), 1, 'ca ' || (n % 3), 1, 1, 1, 0, 0, 0, 1, n, n, n, n, randomblob(1000) FROM n",
            )
            .unwrap();
        drop(connection);
        let started = Instant::now();
        let journal = SqliteJournal::open(&path).unwrap();
        measure("sqlite", started.elapsed(), &journal);
    }
    let Some(server) = Server::start() else { return };
    drop(PostgresJournal::open(server.url("postgres").as_str()).unwrap());
    server.sql(
        "postgres",
        "INSERT INTO intune_connector.entry (kind, key, flow, route, state, version, lease_epoch, lease_until, attempt, delivery, due, created,
             updated, blob)
         SELECT 1, decode(md5(n::text) || md5((n + 1)::text), 'hex'), 1, 'ca ' || (n % 3), 1, 1, 0, 0, 0, 1, n, n, n,
             decode(repeat(md5(n::text), 60), 'hex') FROM generate_series(1, 1000000) n",
    );
    let started = Instant::now();
    let journal = PostgresJournal::open(server.url("postgres").as_str()).unwrap();
    measure("postgres", started.elapsed(), &journal);
}
