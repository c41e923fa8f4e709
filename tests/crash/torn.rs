//! Files that were cut short, or have bits turned or sectors zeroed: opening gives a journal or a named error, and no row is half.
//!
//! The database's pages carry no checksum, so a row can come out changed. The journal cannot know; the connector does, by the seal: from a damaged
//! journal it uploads what it had uploaded, or something as good, and never what was changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::adapters::{JournalOpenErrorKind, SqliteJournal, SqliteJournalOptions, StdRuntime};
use intune_connector::ports::{
    Change, ClaimRequest, CommitAnswer, Journal, JournalScope, JournalStats, LoadRequest, PortError, PruneRequest, RenewRequest, Row,
    RowKey, Runtime as _,
};
use intune_connector::terms::Flow;

use crate::ca::CaKind;
use crate::clock::Fast;
use crate::fixture::FIXTURE;
use crate::judge;
use crate::life::{Orders, connector};
use crate::points::Points;
use crate::remote::RemoteQueue;
use crate::wire::{Ask, Client, Reply};
use crate::world::World;

const ROWS: usize = 240;
const SECTOR: usize = 512;
const FIRST: usize = 4_096;
const LAST: usize = 64 * 1024;
/// Looks in a row, half a second of the connector's clock apart, at which nothing more has come: what is left waits for an operator.
const IDLE: u32 = 20;
/// Of each kind of damage, so many journals with changed rows are worked on by a connector.
const WORKED_ON: u64 = 4;
/// Opening a file of this size takes milliseconds.
const HANGS: Duration = Duration::from_secs(60);

/// Keeps each version of each row that was stored.
#[derive(Debug)]
struct Keeping {
    journal: Arc<SqliteJournal>,
    kept: Arc<Mutex<BTreeMap<RowKey, Vec<Row>>>>,
}

#[async_trait]
impl Journal for Keeping {
    fn scope(&self) -> JournalScope {
        self.journal.scope()
    }
    fn is_durable(&self) -> bool {
        self.journal.is_durable()
    }
    async fn load(&self, request: LoadRequest) -> Result<Vec<Row>, PortError> {
        self.journal.load(request).await
    }
    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<CommitAnswer>, PortError> {
        let keys: Vec<RowKey> = changes.iter().map(|change| change.row.key).collect();
        let answers = self.journal.commit(changes).await?;
        self.keep(keys).await?;
        Ok(answers)
    }
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Row>, PortError> {
        let rows = self.journal.claim(request).await?;
        self.keep(rows.iter().map(|row| row.key).collect()).await?;
        Ok(rows)
    }
    async fn renew(&self, request: RenewRequest) -> Result<Vec<RowKey>, PortError> {
        let keys = self.journal.renew(request).await?;
        self.keep(keys.clone()).await?;
        Ok(keys)
    }
    async fn prune(&self, request: PruneRequest) -> Result<u64, PortError> {
        self.journal.prune(request).await
    }
    async fn stats(&self) -> Result<JournalStats, PortError> {
        self.journal.stats().await
    }
}

impl Keeping {
    async fn keep(&self, keys: Vec<RowKey>) -> Result<(), PortError> {
        let rows = self.journal.load(LoadRequest::Keys(keys)).await?;
        let mut kept = self.kept.lock().unwrap();
        rows.into_iter().for_each(|row| kept.entry(row.key).or_default().push(row));
        Ok(())
    }
}

/// One connector in this process, until all requests of the world have their results.
fn work(world: &Arc<World>, folder: &Path, file: &Path, journal: Arc<dyn Journal>) {
    let socket = folder.join("judges");
    let client = Client::new(&socket);
    let clock = world.state().clock;
    let orders = Orders {
        configuration: PathBuf::new(),
        socket: socket.clone(),
        journal: file.to_owned(),
        flow: Flow::PkcsRecrypt,
        kind: CaKind::Searchable,
        clock,
        stop: None,
        skip: None,
        loses_the_last: false,
        notify_first: false,
    };
    let points = Arc::new(Points::new(client.clone(), None));
    let runtime = Arc::new(Fast { std: StdRuntime::with_threads(2, 1_024).unwrap(), clock });
    let configuration = FIXTURE.configuration();
    let queue = Arc::new(RemoteQueue { flow: orders.flow, device: configuration.device.clone(), client: client.clone(), points });
    let ca = Arc::new(intune_connector::adapters::LocalCa::new(
        intune_connector::crypto::CryptoProvider::ring_and_aws_lc_rs(),
        "unused".parse().unwrap(),
        intune_connector::terms::KeyAlgorithm::EcP256,
    ));
    let connector = connector(&orders, &configuration, queue, journal, Arc::new(Arc::into_inner(ca).unwrap().unwrap()), &runtime);
    let stop = async {
        let (mut uploads, mut idle) = (0, 0);
        while !matches!(client.call(Ask::IsOver).await, Ok(Reply::Is(true))) && idle < IDLE {
            runtime.sleep(Duration::from_millis(500)).await;
            let now: u32 = world.state().requests.iter().map(|request| request.uploads).sum();
            idle = if now == uploads { idle + 1 } else { 0 };
            uploads = now;
        }
    };
    runtime.std.block_on(connector.run_until(stop));
}

/// The files of a journal whose process has just been killed, and all that was ever stored in it.
struct Original {
    files: BTreeMap<&'static str, Vec<u8>>,
    /// The database alone, after its owner has ended.
    closed: Vec<u8>,
    rows: BTreeMap<RowKey, Vec<Row>>,
    world: Arc<World>,
}

const DATABASE: &str = "journal.db";
const LOG: &str = "journal.db-wal";
/// Not a name: the database without a log beside it.
const CLOSED: &str = "journal.db alone";

fn original(folder: &Path) -> Original {
    let (world, _points) = World::new(Flow::PkcsRecrypt, CaKind::Searchable, 1, ROWS, false);
    world.serve(&folder.join("judges"));
    let file = folder.join(DATABASE);
    let kept = Arc::<Mutex<BTreeMap<RowKey, Vec<Row>>>>::default();
    // The first half is written back from the log when the first owner ends.
    let mut held_back = world.state().requests.split_off(ROWS / 2);
    let (mut files, mut closed) = (BTreeMap::new(), Vec::new());
    for half in 0..2 {
        let journal = Arc::new(SqliteJournal::open(&file).unwrap());
        work(&world, folder, &file, Arc::new(Keeping { journal: Arc::clone(&journal), kept: Arc::clone(&kept) }));
        if half == 0 {
            world.state().requests.append(&mut held_back);
        } else {
            for name in [DATABASE, LOG] {
                files.insert(name, fs::read(folder.join(name)).unwrap());
            }
        }
        drop(journal);
        closed = fs::read(&file).unwrap();
    }
    assert!(!folder.join(LOG).exists());
    assert!(judge::wrong(&world.state(), &file).is_empty());
    let rows = Arc::into_inner(kept).unwrap().into_inner().unwrap();
    assert!(files.values().all(|bytes| bytes.len() > LAST), "{:?}", files.values().map(Vec::len).collect::<Vec<_>>());
    Original { files, closed, rows, world }
}

#[derive(Debug, Default)]
struct Outcomes {
    opened: u64,
    refused: BTreeMap<String, u64>,
    as_it_was: u64,
    /// Commits that a shorter log has lost.
    older: u64,
    missing: u64,
    /// For the seal to find.
    changed: u64,
    unreadable: u64,
    worked_on: u64,
}

fn damage(mut bytes: Vec<u8>, how: &str, at: usize) -> Vec<u8> {
    match how {
        "cut off" => bytes.truncate(at),
        "a bit turned" => bytes[at + at / SECTOR % SECTOR] ^= 1 << (at / SECTOR % 8),
        _ => {
            let end = (at + SECTOR).min(bytes.len());
            bytes[at..end].fill(0);
        }
    }
    bytes
}

pub fn torn_files() {
    let folder = tempfile::tempdir().unwrap();
    let original = original(folder.path());
    let mut all = BTreeMap::new();
    for name in [DATABASE, LOG, CLOSED] {
        let whole = original.files.get(name).unwrap_or(&original.closed);
        for how in ["cut off", "a bit turned", "a sector zeroed"] {
            let outcomes: &mut Outcomes = all.entry((name, how)).or_default();
            let length = whole.len();
            // And the first page, which says what the file is.
            for at in (0..FIRST).chain(length - LAST..length).step_by(SECTOR) {
                let copy = tempfile::tempdir_in(folder.path()).unwrap();
                for (other, bytes) in original.files.iter().filter(|_| name != CLOSED) {
                    fs::write(copy.path().join(other), bytes).unwrap();
                }
                let damaged = if name == CLOSED { DATABASE } else { name };
                fs::write(copy.path().join(damaged), damage(whole.clone(), how, at)).unwrap();
                look_at(&original, copy.path(), outcomes, &format!("{name}, {how} at {at}"));
            }
        }
    }
    for ((name, how), outcomes) in &all {
        println!("{name}, {how}: {outcomes:?}");
        assert_eq!(outcomes.opened + outcomes.refused.values().sum::<u64>(), ((FIRST + LAST) / SECTOR) as u64);
    }
    let log: Vec<&Outcomes> = all.iter().filter(|((name, _), _)| *name == LOG).map(|(_, outcomes)| outcomes).collect();
    assert!(log.iter().all(|outcomes| outcomes.changed == 0 && outcomes.unreadable == 0), "the log's frames carry checksums");
    let refused = all.iter().filter(|((name, _), _)| *name == CLOSED).flat_map(|(_, outcomes)| outcomes.refused.values());
    assert!(refused.sum::<u64>() > 0, "a file whose head is damaged was never refused");
    assert!(log.iter().any(|outcomes| outcomes.older > 0) && all.values().any(|outcomes| outcomes.opened > 0));
}

fn look_at(original: &Original, folder: &Path, outcomes: &mut Outcomes, what: &str) {
    let file = folder.join(DATABASE);
    let (done, opened) = mpsc::channel();
    let path = file.clone();
    std::thread::spawn(move || done.send(SqliteJournalOptions::new(path).lock_timeout(Duration::ZERO).open()));
    let journal = match opened.recv_timeout(HANGS).unwrap_or_else(|_| panic!("{what}: opening it hangs, or panicked")) {
        Ok(journal) => journal,
        Err(error) => {
            // Whatever is wrong, it is not that another one has it, or that the disk is full.
            use JournalOpenErrorKind::{CannotOpen, Damaged, NewerSchema, NotADatabase, NotAJournal};
            assert!(matches!(error.kind, CannotOpen { .. } | Damaged | NewerSchema { .. } | NotADatabase | NotAJournal), "{what}: {error}");
            let name = format!("{:?}", error.kind);
            *outcomes.refused.entry(name.split([' ', '{']).next().unwrap_or_default().to_owned()).or_default() += 1;
            return;
        }
    };
    outcomes.opened += 1;
    let runtime = StdRuntime::with_threads(1, 1).unwrap();
    let mut is_changed = false;
    let all = runtime.block_on(journal.load(LoadRequest::Keys(original.rows.keys().copied().collect())));
    let is_as_it_was =
        |rows: &Vec<Row>| rows.len() == original.rows.len() && rows.iter().all(|row| original.rows[&row.key].last() == Some(row));
    if all.as_ref().is_ok_and(is_as_it_was) {
        outcomes.as_it_was += original.rows.len() as u64;
        return;
    }
    for (key, versions) in &original.rows {
        match runtime.block_on(journal.load(LoadRequest::Keys(vec![*key]))) {
            Err(_) => outcomes.unreadable += 1,
            Ok(rows) => match &rows[..] {
                [] => outcomes.missing += 1,
                [row] if versions.last() == Some(row) => outcomes.as_it_was += 1,
                [row] if versions.contains(row) => outcomes.older += 1,
                [_] => {
                    outcomes.changed += 1;
                    is_changed = true;
                }
                _ => panic!("{what}: one key has {} rows", rows.len()),
            },
        }
    }
    if is_changed && outcomes.worked_on < WORKED_ON {
        outcomes.worked_on += 1;
        upload_again(original, folder, journal, what);
    }
}

/// The queue delivers all that it had once more: what comes up opens, whatever the journal holds.
fn upload_again(original: &Original, folder: &Path, journal: SqliteJournal, what: &str) {
    let (world, _points) = World::new(Flow::PkcsRecrypt, CaKind::Searchable, 1, 0, false);
    world.state().clock = original.world.state().clock;
    world.state().requests = original.world.state().requests.iter().map(crate::world::Request::anew).collect();
    let socket = folder.join("judges");
    world.serve(&socket);
    let file = folder.join(DATABASE);
    work(&world, folder, &file, Arc::new(journal));
    world.close(&socket);
    // A request whose row cannot be read may wait for an operator; what was uploaded is judged, and must be right.
    let mut state = world.state();
    state.requests.retain(|request| !request.results.is_empty());
    let wrong: Vec<String> = state.requests.iter().filter_map(|request| judge::result(&state, request).err()).collect();
    assert!(wrong.is_empty(), "{what}: {}", wrong.join("\n"));
}
