//! The connector under load, over doubles of queue and CA and a journal of your choice: requests a second, times, memory, transactions.
//!
//! `cargo run --release --features sqlite --features postgres --example load -- --toy --requests 20000 --in-flight 512 --journal sqlite load.db`
//!
//! `--help` lists all options. Nothing is judged by time; `--soak` fails when memory, descriptors or the journal grow.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program talks to its user")]

mod arguments;
mod authority;
mod faults;
mod fleet;
mod journal;
mod measure;
mod queue;
mod soak;

use std::error::Error;
use std::io::BufRead as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use intune_connector::adapters::{LocalCa, StdRuntime};
use intune_connector::connector::{Connector, FlowSpec, QueueSettings, Summary};
use intune_connector::crypto::CryptoProvider;
use intune_connector::event::{Event, EventId};
use intune_connector::message::name::Name;
use intune_connector::pkcs::PkcsConfig;
use intune_connector::policy::{IssuancePolicy, RecipientPolicy};
use intune_connector::ports::{EventSink, Runtime};
use intune_connector::revoke::RevokeConfig;
use intune_connector::terms::{KeyAlgorithm, KeyUsage, oids};
use rustls_pki_types::CertificateDer;

use crate::arguments::{Arguments, Command, Work};
use crate::authority::LoadCa;
use crate::faults::Faults;
use crate::journal::Counted;
use crate::queue::LoadQueue;

const TENANT: &str = "load.example";
const CA: &str = "Load CA";
const DEVICE: &str = "device-4711";

fn main() -> ExitCode {
    let line: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments::parse(&line) {
        Ok(Command::Help) => {
            print!("{}", arguments::USAGE);
            return ExitCode::SUCCESS;
        }
        Ok(Command::Run(arguments)) if arguments.processes > 1 && arguments.child.is_none() => fleet::run(&arguments, &line),
        Ok(Command::Run(arguments)) => run(&arguments),
        Err(wrong) => {
            eprint!("load: {wrong}\n\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Counts events, as a sink does at least.
#[derive(Debug, Default)]
struct Counts {
    events: AtomicU64,
    journal_failures: AtomicU64,
}

impl EventSink for Counts {
    fn emit(&self, event: &Event) {
        self.events.fetch_add(1, Ordering::Relaxed);
        if event.id == EventId::JournalFailure {
            self.journal_failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A certificate that results are encrypted to.
fn device(provider: &CryptoProvider) -> Result<CertificateDer<'static>, Box<dyn Error>> {
    let ca = LocalCa::new(provider.clone(), "Devices".parse()?, KeyAlgorithm::EcP256)?;
    let key = provider.key_generation()?.generate(KeyAlgorithm::Rsa2048)?;
    let spki = provider.decryption_keys()?.load(&key)?.public_key();
    let name = Name::parse_cert_str(&format!("CN={DEVICE}"))?;
    let month = Duration::from_secs(30 * 86_400);
    Ok(ca.issue_service_certificate(name, &spki, KeyUsage::SIGN_AND_ENCIPHER, &[], month)?.der().clone())
}

fn flow(
    arguments: &Arguments,
    queue: &Arc<LoadQueue>,
    ca: Arc<LoadCa>,
    device: CertificateDer<'static>,
) -> Result<FlowSpec, Box<dyn Error>> {
    let pause = Duration::from_millis(if arguments.rate.is_some() || arguments.idle.is_some() { 100 } else { 1 });
    let settings = QueueSettings::new(Arc::clone(queue) as _)
        .with_poll_interval(pause)
        .with_concurrency(arguments.in_flight)
        .with_batch(arguments.batch)
        .with_backoff(Duration::from_millis(50), Duration::from_secs(2));
    if arguments.work == Work::Revoke {
        return Ok(RevokeConfig::new(Arc::clone(queue) as _, CA.parse()?, ca).with_settings(settings).into());
    }
    let issuance = IssuancePolicy::deny_all().allow_extended_key_usage(oids::CLIENT_AUTH.parse()?);
    let recipients = RecipientPolicy::new().pin_certificate(device);
    let config = PkcsConfig::new(Arc::clone(queue) as _, CA.parse()?, ca, issuance, recipients);
    let key = if arguments.work == Work::PkcsP256 { KeyAlgorithm::EcP256 } else { KeyAlgorithm::Rsa2048 };
    Ok(config.with_settings(settings).with_key_pool(key, arguments.key_pool).into())
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let runtime = Arc::new(StdRuntime::new()?);
    let seed = arguments.child.unwrap_or(0) as u64;
    let faults = |salt: u64| Arc::new(Faults::new(arguments.faults, seed.wrapping_mul(1_000_003).wrapping_add(salt)));
    let journal = Arc::new(Counted::open(arguments, faults(1))?);
    let device = device(&provider)?;
    let born = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
    let prefix = format!("{born}-{}", arguments.child.unwrap_or(0));
    let share = arguments.requests / arguments.processes as u64;
    let requests = if arguments.idle.is_some() { 0 } else { share };
    let queue = Arc::new(LoadQueue::new(arguments, requests, prefix, device.clone(), faults(2)));
    let ca = Arc::new(LoadCa::new(provider.clone(), arguments.ca_time, Arc::clone(&runtime) as _, faults(3))?);
    let sink = Arc::new(Counts::default());
    let mut builder = Connector::builder(provider.clone(), Arc::clone(&journal) as _)
        .tenant(TENANT.parse()?)
        .instance(format!("load-{}", arguments.child.unwrap_or(0)).parse()?)
        .sink(Arc::clone(&sink) as _)
        .runtime(Arc::clone(&runtime) as _)
        .ca_concurrency(arguments.in_flight)
        .retention(arguments.retention)
        .flow(flow(arguments, &queue, ca, device)?);
    if let Some(keys) = journal::sealing_key(arguments, &provider)? {
        builder = builder.sealing_key(keys);
    }
    let connector = builder.build()?;
    if arguments.child.is_some() {
        println!("{}", fleet::READY);
        std::io::stdin().lock().read_line(&mut String::new())?;
    }
    let before = measure::processor_time();
    let mut watch = soak::Watch::default();
    let limit = arguments.idle.or(arguments.seconds);
    let summary = runtime.block_on(connector.run_until(async {
        if let Some(time) = arguments.soak {
            return watch.until_the_end(arguments, time, &queue, &runtime).await;
        }
        let start = runtime.monotonic();
        let is_over = || limit.is_some_and(|limit| runtime.monotonic() - start >= limit);
        while !is_over() && (arguments.idle.is_some() || !queue.is_done()) {
            runtime.sleep(Duration::from_millis(5)).await;
        }
    }));
    let processor = measure::processor_time().unwrap_or_default().saturating_sub(before.unwrap_or_default());
    if arguments.child.is_some() {
        print!("{} {} {} ", fleet::DONE, queue.account().accepted, processor.as_millis());
    }
    println!("{}", report(arguments, &queue, &summary, &journal, &sink, processor));
    let account = queue.account();
    if account.accepted < account.made {
        return Err(format!("{} requests have no result", account.made - account.accepted).into());
    }
    arguments.soak.map_or(Ok(()), |time| watch.judge(time))
}

/// One line.
fn report(arguments: &Arguments, queue: &LoadQueue, summary: &Summary, journal: &Counted, sink: &Counts, processor: Duration) -> String {
    let account = queue.account();
    let mut parts = Vec::new();
    if arguments.idle.is_none() {
        let rate = account.accepted as f64 / account.took.as_secs_f64().max(1e-6);
        parts.push(format!("{} requests in {:.2} s: {rate:.1}/s", account.accepted, account.took.as_secs_f64()));
    }
    if let Some(flow) = summary.flows.values().find(|flow| !flow.latency.is_empty()) {
        let millis = |time: Option<Duration>| time.unwrap_or_default().as_secs_f64() * 1_000.0;
        parts.push(format!("p50 {:.1} ms, p99 {:.1} ms", millis(flow.latency.median()), millis(flow.latency.p99())));
    }
    if let Some(memory) = measure::memory() {
        parts.push(format!("memory {} (at most {})", measure::mib(memory.now), measure::mib(memory.most)));
    }
    let (calls, changes, transactions) = journal.figures();
    parts.push(match transactions {
        Some(transactions) => format!("{changes} changes in {calls} commits in {transactions} transactions"),
        None => format!("{changes} changes in {calls} commits"),
    });
    parts.push(format!("processor {:.2} s", processor.as_secs_f64()));
    parts.push(format!("{} events", sink.events.load(Ordering::Relaxed)));
    for (count, what) in [
        (account.failed, "failed"),
        (account.again, "uploaded again"),
        (sink.journal_failures.load(Ordering::Relaxed), "failures of the journal"),
        (summary.left as u64, "left in hand"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    if let Some(failure) = account.first_failure {
        parts.push(format!("the first failure: {failure}"));
    }
    parts.join("; ")
}
