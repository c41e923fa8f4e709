//! A simulated tenant: a few hundred requests over all flows, with faults; the connector serves them, the devices open the results.
//!
//! `cargo run --example connector [-- --requests N] [--all-events]`
//!
//! What is lost or doubled is judged from the queue's and the CA's own ledgers; then it exits with 1.

mod device;
mod judge;
#[cfg(all(feature = "intune", feature = "scep-http", feature = "sqlite", feature = "event-log", feature = "tokio"))]
mod live;
mod report;
mod scep;
mod tenant;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join;

use intune_connector::adapters::{RecordingSink, StdRuntime, VolatileJournal};
use intune_connector::connector::{Connector, QueueSettings, Summary};
use intune_connector::crypto::CryptoProvider;
use intune_connector::event::{Channel, Event, EventId};
use intune_connector::health::HealthConfig;
use intune_connector::import::ImportConfig;
use intune_connector::pkcs::PkcsConfig;
use intune_connector::policy::{IssuancePolicy, RecipientPolicy};
use intune_connector::ports::{CertificateAuthority, EventSink, IntuneQueue, Runtime};
use intune_connector::recrypt::RecryptConfig;
use intune_connector::revoke::RevokeConfig;
use intune_connector::terms::oids;

use device::Checked;
use scep::{Enrolments, Scep};
use tenant::{Expect, Tenant};

fn main() -> ExitCode {
    match Options::from_arguments().and_then(run) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("connector: {error}");
            ExitCode::from(2)
        }
    }
}

struct Options {
    requests: usize,
    all_events: bool,
}

impl Options {
    fn from_arguments() -> Checked<Self> {
        let mut options = Self { requests: 300, all_events: false };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--requests" => options.requests = arguments.next().ok_or("--requests needs a number")?.parse()?,
                "--all-events" => options.all_events = true,
                other => return Err(format!("unknown argument {other}; use [--requests N] [--all-events]").into()),
            }
        }
        Ok(options)
    }
}

fn run(options: Options) -> Checked<bool> {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let runtime = Arc::new(StdRuntime::new()?);
    println!("Setting up CAs, devices and {} requests ...", options.requests);
    let mut tenant = Tenant::new(&provider)?;
    tenant.fill(&provider, options.requests)?;

    let sink = Arc::new(CountingSink::default());
    let connector = connector(&provider, &tenant, Arc::clone(&runtime), Arc::clone(&sink))?;
    let scep = runtime.block_on(Scep::new(&provider, &tenant, Arc::clone(&runtime), sink.clone()))?;
    let devices = options.requests / 10;
    // Each SCEP message has its Admin event: one a device, one for a repeat, one for a thief.
    let messages = if devices > 0 { devices + 2 } else { 0 };
    let ours = tenant.expected.values().filter(|expect| **expect != Expect::Untouched).count() + messages;
    let progress = report::Progress::start(ours, Arc::clone(&sink.answered));
    let queue_driven = connector.run_until(all_answered(&runtime, &sink, ours));
    let (summary, enrolments) = runtime.block_on(join(queue_driven, scep.enrol(&provider, devices)));
    drop(progress);

    report::print_events(&sink.events.events(), options.all_events);
    let faults = judge::faults(&provider, &tenant, &enrolments, &sink.events.admin_events());
    report::print_table(&lines(&summary, &enrolments));
    let guarantees = connector.guarantees();
    println!("\nPromises with these ports: journal {:?}, {:?}", guarantees.durability, guarantees.issuance);
    if faults.is_empty() {
        println!("\nJudged from the ledgers of queue and CA: nothing lost, nothing doubled, every delivered result opens on its device.");
    } else {
        println!("\nJudged from the ledgers of queue and CA, {} faults:\n{}", faults.len(), faults.join("\n"));
    }
    Ok(faults.is_empty())
}

fn connector(provider: &CryptoProvider, tenant: &Tenant, runtime: Arc<StdRuntime>, sink: Arc<CountingSink>) -> Checked<Connector> {
    let ca: Arc<dyn CertificateAuthority> = tenant.ca.clone();
    let digicert: Arc<dyn CertificateAuthority> = tenant.digicert.clone();
    let queue: Arc<dyn IntuneQueue> = tenant.queue.clone();
    // A real tenant is polled every 30 s; the demonstration is in a hurry.
    let settings = || {
        QueueSettings::new(Arc::clone(&queue))
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
        .with_settings(settings());
    let recrypt = RecryptConfig::new(queue.clone(), tenant.recrypt_key.clone(), recipients.clone()).with_settings(settings());
    let import = ImportConfig::new(queue.clone(), tenant.import_keys.clone(), recipients).with_settings(settings());
    let revoke = RevokeConfig::new(queue.clone(), tenant.ca_name.clone(), ca)
        .with_ca(tenant.digicert_name.clone(), digicert)
        .with_settings(settings());

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
    let line = |(flow, done): (&intune_connector::terms::Flow, &intune_connector::connector::FlowSummary)| report::Line {
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
    answered: Arc<AtomicUsize>,
}

impl EventSink for CountingSink {
    fn emit(&self, event: &Event) {
        if event.id.channel() == Channel::Admin && EventId::is_documented(event.id) {
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        self.events.emit(event);
    }
}
