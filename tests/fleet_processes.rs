//! Ten connectors in ten processes over one PostgreSQL server, killed and stopped at random; queue and CAs live with the judges.
//!
//! 20 kills unless `INTUNE_CONNECTOR_FLEET_KILLS` says otherwise; every second one stops its process for longer than the lease and lets it
//! go on.

#![cfg(all(unix, feature = "postgres", feature = "pkcs", feature = "revoke", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/fleet_lab.rs"]
mod fleet_lab;
#[path = "support/postgres.rs"]
mod postgres;
mod support;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_lab::{Configuration, Lab, Way, flows, provider};
use intune_connector::adapters::{PostgresJournal, PostgresJournalOptions, StdRuntime};
use intune_connector::connector::{Connector, QueueSettings};
use intune_connector::event::Event;
use intune_connector::ports::{EventSink, Journal as _, LoadRequest, RowKind};
use intune_connector::secret::SecretBytes;
use intune_connector::time::Timestamp;
use postgres::Server;
use serde::{Deserialize, Serialize};

const INSTANCES: usize = 10;
const LEASE: Duration = Duration::from_millis(1_500);
/// The CA takes so long.
const CA_TAKES: Duration = Duration::from_millis(20);
/// Requests that wait or are in hand while processes are killed: more than the hands of all.
const LOAD: usize = 300;
/// Whoever waits longer has lost something. The ledger of orphans is looked at each half minute.
const PATIENCE: Duration = Duration::from_secs(150);
/// The file with the orders for one process.
const ORDERS: &str = "INTUNE_CONNECTOR_FLEET_LIFE";

#[derive(Debug, Serialize, Deserialize)]
struct Orders {
    name: String,
    url: String,
    socket: PathBuf,
    configuration: Configuration,
}

/// For whoever looks into a run that went wrong.
#[derive(Debug)]
struct Log(String);

impl EventSink for Log {
    fn emit(&self, event: &Event) {
        if std::env::var_os("INTUNE_CONNECTOR_FLEET_LOG").is_some() {
            eprintln!("{} {:?} {} {}", self.0, event.id, event.key.scope, event.message);
        }
    }
}

/// Not a test of its own: what the processes do.
#[test]
fn in_another_process() {
    let Some(orders) = std::env::var_os(ORDERS) else { return };
    let orders: Orders = serde_json::from_slice(&std::fs::read(orders).unwrap()).unwrap();
    // Its end is the end of this process.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let runtime = Arc::new(StdRuntime::with_threads(1, 1_024).unwrap());
    let journal = Arc::new(PostgresJournalOptions::new(orders.url.as_str()).connections(2).open().unwrap());
    let builder = Connector::builder(provider().clone(), journal)
        .sealing_key(SecretBytes::copy_from(&[7; 32]))
        .require_durable()
        .lease(LEASE)
        .runtime(runtime.clone())
        .sink(Arc::new(Log(orders.name.clone())));
    let settings = |settings: QueueSettings| {
        let settings = settings.with_poll_interval(Duration::from_millis(500)).with_concurrency(4).with_batch(8);
        settings.with_backoff(Duration::from_millis(200), Duration::from_secs(2)).with_max_attempts(50)
    };
    let way = Way::There(orders.socket.clone());
    let connector = flows(builder, &orders.name, &way, &orders.configuration, &[0, 1], true, settings).build().unwrap();
    runtime.block_on(connector.run_until(std::future::pending()));
}

struct Fleet {
    folder: tempfile::TempDir,
    children: Vec<Child>,
    /// Until when each stands still.
    stopped: Vec<Option<Instant>>,
}

impl Fleet {
    fn start(folder: tempfile::TempDir, url: &str, socket: &Path, lab: &Lab) -> Self {
        for number in 0..INSTANCES {
            let orders = Orders {
                name: format!("instance {number}"),
                url: url.to_owned(),
                socket: socket.to_owned(),
                configuration: lab.configuration.clone(),
            };
            std::fs::write(folder.path().join(number.to_string()), serde_json::to_vec(&orders).unwrap()).unwrap();
        }
        let children = (0..INSTANCES).map(|number| spawn(folder.path(), number)).collect();
        Self { folder, children, stopped: vec![None; INSTANCES] }
    }

    fn kill(&mut self, number: usize) {
        self.children[number].kill().unwrap();
        self.children[number].wait().unwrap();
        self.children[number] = spawn(self.folder.path(), number);
    }

    fn stop(&mut self, number: usize, time: Duration) {
        self.signal(number, "-STOP");
        self.stopped[number] = Some(Instant::now() + time);
    }

    fn signal(&self, number: usize, signal: &str) {
        support::run(Command::new("kill").arg(signal).arg(self.children[number].id().to_string()));
    }

    /// Lets those go on whose time has come, or all.
    fn go_on(&mut self, all: bool) {
        for number in 0..INSTANCES {
            if self.stopped[number].is_some_and(|until| all || until <= Instant::now()) {
                self.signal(number, "-CONT");
                self.stopped[number] = None;
            }
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn spawn(folder: &Path, number: usize) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["in_another_process", "--exact", "--nocapture"]).env(ORDERS, folder.join(number.to_string()));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

/// Numbers that look random, the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    start.elapsed()
}

fn fill(lab: &Lab, up_to: usize) {
    while lab.state().open < up_to {
        let count = lab.state().requests.len();
        match count % 4 {
            0 => lab.push_pkcs(0),
            1 => lab.push_pkcs(1),
            _ => lab.push_revocation(),
        }
    }
}

#[test]
fn ten_processes_complete_each_request_once_while_they_are_killed_and_stopped() {
    let Some(server) = Server::start() else { return };
    server.database("fleet");
    let url = server.url("fleet");
    let journal = PostgresJournal::open(url.as_str()).unwrap();
    let kills: usize = std::env::var("INTUNE_CONNECTOR_FLEET_KILLS").ok().map_or(20, |text| text.parse().unwrap());
    let lab = Lab::new(Timestamp::system_now());
    let folder = support::scratch();
    let socket = folder.path().join("socket");
    lab.serve(&socket, CA_TAKES);
    fill(&lab, LOAD);
    let mut fleet = Fleet::start(folder, &url, &socket, &lab);
    // Each has had work before the first dies.
    wait_until("all work", || {
        (lab.shares(None, 0).len() == INSTANCES) || {
            fill(&lab, LOAD);
            false
        }
    });

    // Who has started first has done more until now.
    let first = lab.state().requests.len();
    let mut random = Random(2026);
    for kill in 0..kills {
        let next = Instant::now() + Duration::from_millis(100 + random.below(600));
        while Instant::now() < next {
            fill(&lab, LOAD);
            fleet.go_on(false);
            std::thread::sleep(Duration::from_millis(20));
        }
        // Half of them go on standing, at least.
        wait_until("somebody goes on", || {
            fleet.go_on(false);
            fleet.stopped.iter().flatten().count() < INSTANCES / 2
        });
        let running: Vec<usize> = (0..INSTANCES).filter(|number| fleet.stopped[*number].is_none()).collect();
        let number = running[random.below(running.len() as u64) as usize];
        if kill % 2 == 0 {
            fleet.kill(number);
        } else {
            fleet.stop(number, LEASE + Duration::from_millis(500 + random.below(2_000)));
        }
    }
    wait_until("all go on", || {
        fleet.go_on(false);
        fleet.stopped.iter().flatten().next().is_none()
    });
    wait_until("each request has its result", || lab.state().open == 0);
    let runtime = StdRuntime::with_threads(1, 16).unwrap();
    wait_until("each request is finished in the journal", || {
        let open = runtime.block_on(journal.load(LoadRequest::Open { kind: RowKind::Request, max: 10 })).unwrap();
        open.is_empty()
    });
    let extra = lab.undelivered();
    let swept = wait_until("what nobody got is revoked", || lab.undelivered() == 0);
    drop(fleet);

    let wrong = lab.wrong();
    assert!(wrong.is_empty(), "{} wrong, such as {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    let state = lab.state();
    let requests = state.requests.len();
    let repeated = state.requests.iter().enumerate().filter(|(at, request)| request.uploads > if at % 7 == 0 { 2 } else { 1 }).count();
    let twice = state.issued.iter().filter(|entry| entry.key.is_none() && entry.revoked > 1).count();
    drop(state);
    let shares: Vec<(usize, f64)> = [None, Some(0), Some(1)]
        .map(|ca| {
            let shares = lab.shares(ca, first);
            let all: usize = shares.values().sum();
            (all, shares.values().copied().max().unwrap_or(0) as f64 * INSTANCES as f64 / all as f64)
        })
        .to_vec();
    let taken_over = server.sql("fleet", "SELECT count(*) FROM intune_connector.entry WHERE lease_epoch > 0 AND kind = 1");
    println!(
        "{kills} kills, {requests} requests, {taken_over} claimed from the journal, {repeated} uploaded again with the same bytes, {twice} \
         revoked again at the CA, {extra} certificates too many, revoked within {swept:.0?}; requests and greatest share against the mean, by \
         kind of work: {shares:.2?}"
    );
    assert!(shares.iter().all(|(_, share)| *share <= 3.0), "{shares:?}");
}
