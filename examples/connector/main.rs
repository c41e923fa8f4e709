//! A simulated tenant: a few hundred requests over all flows, with faults; the connector serves them, the devices open the results.
//!
//! `cargo run --features sim --example connector [-- --requests N] [--all-events] [--faults none|mild|harsh] [--seed N]`
//!
//! With the feature `sim` Intune is a server on a loopback address, and every call goes over HTTP through a network that fails; without it,
//! or with `--in-memory`, it is a queue in memory. What is lost or doubled is judged from the ledgers of Intune and CA; then it exits with 1.
//!
//! `--intune tenant.toml` serves the flows whose protocol is public for a real tenant; `--help` shows such a file.

mod device;
mod intune;
mod judge;
#[cfg(all(feature = "intune", feature = "scep-http", feature = "sqlite", feature = "event-log", feature = "tokio"))]
mod live;
mod report;
mod scep;
#[cfg(feature = "sim")]
mod simulated;
mod tenant;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join;

use intune_connector::adapters::{RecordingSink, StdRuntime, VolatileJournal};
use intune_connector::connector::{Connector, QueueSettings, Summary};
use intune_connector::crypto::CryptoProvider;
use intune_connector::event::{Channel, Event, EventId};
use intune_connector::health::HealthConfig;
use intune_connector::ids::TenantId;
use intune_connector::import::ImportConfig;
use intune_connector::pkcs::PkcsConfig;
use intune_connector::policy::{IssuancePolicy, RecipientPolicy};
use intune_connector::ports::{CertificateAuthority, EventSink, Runtime};
use intune_connector::recrypt::RecryptConfig;
use intune_connector::revoke::RevokeConfig;
use intune_connector::terms::{Flow, oids};

use device::Checked;
use intune::{InMemory, Intune};
use scep::{Enrolments, Scep};
use tenant::{Expect, Tenant};

const USAGE: &str = "\
usage: connector [--requests N] [--all-events] [--in-memory] [--faults none|mild|harsh] [--seed N]
       connector --intune tenant.toml

  --requests N       how many requests, over all flows; 300 when left out
  --all-events       every step of every request
  --in-memory        without HTTP, as always when built without the feature `sim`
  --faults, --seed   how often calls to Intune fail, and which; mild and 1 when left out
  --intune FILE      SCEP and revocation for a real tenant or a simulator, until Ctrl-C; needs --all-features. It takes revocation
                     requests at once: Intune then gives none to any other connector of the tenant for an hour
";

fn main() -> ExitCode {
    match Command::from_arguments().and_then(Command::run) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("connector: {error}");
            ExitCode::from(2)
        }
    }
}

enum Command {
    Simulate(Options),
    Serve(PathBuf),
    Help,
}

struct Options {
    requests: usize,
    all_events: bool,
    in_memory: bool,
    faults: String,
    seed: u64,
}

impl Command {
    fn from_arguments() -> Checked<Self> {
        let mut options =
            Options { requests: 300, all_events: false, in_memory: !cfg!(feature = "sim"), faults: "mild".to_owned(), seed: 1 };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value; see --help"));
            match argument.as_str() {
                "--requests" => options.requests = value()?.parse()?,
                "--all-events" => options.all_events = true,
                "--in-memory" => options.in_memory = true,
                "--faults" => options.faults = value()?,
                "--seed" => options.seed = value()?.parse()?,
                "--intune" => return Ok(Self::Serve(value()?.into())),
                "--help" | "-h" => return Ok(Self::Help),
                other => return Err(format!("unknown argument {other}\n\n{USAGE}").into()),
            }
        }
        Ok(Self::Simulate(options))
    }

    fn run(self) -> Checked<bool> {
        match self {
            Self::Simulate(options) => simulate(&options),
            #[cfg(all(feature = "intune", feature = "scep-http", feature = "sqlite", feature = "event-log", feature = "tokio"))]
            Self::Serve(file) => live::run(&file).map(|()| true),
            #[cfg(not(all(feature = "intune", feature = "scep-http", feature = "sqlite", feature = "event-log", feature = "tokio")))]
            Self::Serve(file) => Err(format!("{} cannot be served by this build; run it with --all-features", file.display()).into()),
            Self::Help => {
                print!("{USAGE}");
                #[cfg(all(feature = "intune", feature = "scep-http", feature = "sqlite", feature = "event-log", feature = "tokio"))]
                print!("\nA tenant.toml:\n\n{}", live::tenant_file::EXAMPLE);
                Ok(true)
            }
        }
    }
}

fn simulate(options: &Options) -> Checked<bool> {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let runtime = Arc::new(StdRuntime::new()?);
    println!("Setting up CAs, devices and {} requests ...", options.requests);
    let id: TenantId = "contoso.example".parse()?;
    let intune = far_side(options, &provider, &runtime, &id)?;
    let mut tenant = Tenant::new(&provider, id, intune)?;
    tenant.fill(&provider, options.requests)?;

    let sink = Arc::new(CountingSink::default());
    let connector = connector(&provider, &tenant, Arc::clone(&runtime), Arc::clone(&sink))?;
    let scep = runtime.block_on(Scep::new(&provider, &tenant, Arc::clone(&runtime), sink.clone()))?;
    let ours = tenant.expected.values().filter(|expect| **expect != Expect::Untouched).count();
    let progress = report::Progress::start(ours, Arc::clone(&sink.answered));
    let queue_driven = connector.run_until(all_answered(&runtime, &sink, ours));
    let enrolling = scep.enrol(&provider, &*tenant.intune, options.requests / 10);
    let (summary, enrolments) = runtime.block_on(join(queue_driven, enrolling));
    drop(progress);

    report::print_events(&sink.events.events(), options.all_events);
    let faults = judge::faults(&provider, &tenant, &enrolments, &sink.events.admin_events());
    report::print_table(&lines(&summary, &enrolments));
    let guarantees = connector.guarantees();
    println!("\nPromises with these ports: journal {:?}, {:?}", guarantees.durability, guarantees.issuance);
    println!("{}", tenant.intune.summary());
    if faults.is_empty() {
        println!("\nJudged from the ledgers of Intune and CA: nothing lost, nothing doubled, every delivered result opens on its device.");
    } else {
        println!("\nJudged from the ledgers of Intune and CA, {} faults:\n{}", faults.len(), faults.join("\n"));
    }
    Ok(faults.is_empty())
}

#[cfg(feature = "sim")]
fn far_side(options: &Options, provider: &CryptoProvider, runtime: &Arc<StdRuntime>, tenant: &TenantId) -> Checked<Box<dyn Intune>> {
    if options.in_memory {
        return Ok(Box::new(InMemory::new()));
    }
    let faults = intune_connector::sim::FaultPlan::named(&options.faults).ok_or("--faults is none, mild or harsh")?;
    Ok(Box::new(simulated::Simulated::start(provider, runtime, tenant, options.seed, faults)?))
}

#[cfg(not(feature = "sim"))]
fn far_side(options: &Options, _: &CryptoProvider, _: &Arc<StdRuntime>, _: &TenantId) -> Checked<Box<dyn Intune>> {
    if (options.faults.as_str(), options.seed) != ("mild", 1) {
        return Err("--faults and --seed are for the simulator; run with --features sim".into());
    }
    Ok(Box::new(InMemory::new()))
}

fn connector(provider: &CryptoProvider, tenant: &Tenant, runtime: Arc<StdRuntime>, sink: Arc<CountingSink>) -> Checked<Connector> {
    let ca: Arc<dyn CertificateAuthority> = tenant.ca.clone();
    let digicert: Arc<dyn CertificateAuthority> = tenant.digicert.clone();
    let queue = tenant.intune.queue(Flow::Pkcs);
    // A real tenant is polled every 30 s; the demonstration is in a hurry.
    let settings = |flow: Flow| {
        QueueSettings::new(tenant.intune.queue(flow))
            .with_max_attempts(20)
            .with_poll_interval(Duration::from_millis(200))
            .with_backoff(Duration::from_millis(50), Duration::from_secs(1))
    };
    let issuance = IssuancePolicy::deny_all()
        .allow_upn_suffix("contoso.example")
        .allow_email_domain("contoso.example")
        .allow_sid_domain("S-1-5-21-1004336348-1177238915-682003330".parse()?)
        .allow_extended_key_usage(oids::CLIENT_AUTH.parse()?);
    let recipients = RecipientPolicy::new().trust_root(tenant.ca.certificate().der().clone());

    let pkcs = PkcsConfig::new(queue.clone(), tenant.ca_name.clone(), ca.clone(), issuance, recipients.clone())
        .with_ca(tenant.digicert_name.clone(), digicert.clone())
        .with_settings(settings(Flow::Pkcs));
    let recrypt =
        RecryptConfig::new(queue.clone(), tenant.recrypt_key.clone(), recipients.clone()).with_settings(settings(Flow::PkcsRecrypt));
    let import = ImportConfig::new(queue.clone(), tenant.import_keys.clone(), recipients).with_settings(settings(Flow::PkcsImport));
    let revoke = RevokeConfig::new(tenant.intune.queue(Flow::Revoke), tenant.ca_name.clone(), ca)
        .with_ca(tenant.digicert_name.clone(), digicert)
        .with_settings(settings(Flow::Revoke));

    Ok(Connector::builder(provider.clone(), Arc::new(VolatileJournal::new()))
        .tenant(tenant.id.clone())
        .instance("demonstration-1".parse()?)
        .runtime(runtime)
        .sink(sink)
        .flow(pkcs)
        .flow(recrypt)
        .flow(import)
        .flow(revoke)
        .health(HealthConfig::new(queue).with_interval(Duration::from_secs(2)))
        .build()?)
}

/// Ready when every request of ours has its Admin event, or after five minutes.
async fn all_answered(runtime: &StdRuntime, sink: &CountingSink, ours: usize) {
    let give_up = runtime.monotonic() + Duration::from_secs(300);
    while sink.answered.load(Ordering::Relaxed) < ours && runtime.monotonic() < give_up {
        runtime.sleep(Duration::from_millis(50)).await;
    }
}

fn lines(summary: &Summary, enrolments: &Enrolments) -> Vec<report::Line> {
    let line = |(flow, done): (&Flow, &intune_connector::connector::FlowSummary)| report::Line {
        flow: flow.to_string(),
        received: done.counters.received,
        succeeded: done.counters.succeeded,
        failed: done.counters.failed,
        retried: done.counters.retried,
        median: done.latency.median(),
        p99: done.latency.quantile(0.99),
    };
    let mut times = enrolments.times.clone();
    times.sort();
    let scep = report::Line {
        flow: "scep".into(),
        received: enrolments.sent,
        succeeded: enrolments.issued,
        failed: enrolments.refused,
        retried: enrolments.sent - enrolments.issued - enrolments.refused,
        median: times.get(times.len() / 2).copied(),
        p99: times.get(times.len() * 99 / 100).copied(),
    };
    summary.flows.iter().map(line).chain([scep]).collect()
}

/// Keeps the events and counts requests that ended, each by its one Admin event.
#[derive(Debug, Default)]
struct CountingSink {
    events: RecordingSink,
    ended: Mutex<BTreeSet<(Flow, String)>>,
    answered: Arc<AtomicUsize>,
}

impl EventSink for CountingSink {
    fn emit(&self, event: &Event) {
        if let Some(flow) = event.key.flow.filter(|flow| *flow != Flow::Scep)
            && event.id.channel() == Channel::Admin
            && EventId::is_documented(event.id)
            && let Ok(mut ended) = self.ended.lock()
            && ended.insert((flow, event.key.scope.clone()))
        {
            self.answered.store(ended.len(), Ordering::Relaxed);
        }
        self.events.emit(event);
    }
}
