//! A hundred connectors with different flows and CAs over one queue and one journal, in one process on a virtual clock.
//!
//! 5,000 requests unless `INTUNE_CONNECTOR_FLEET_REQUESTS` says otherwise.

#![cfg(all(unix, feature = "pkcs", feature = "revoke", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/fleet_lab.rs"]
mod fleet_lab;
#[path = "fleet/paused.rs"]
mod paused;

use std::sync::Arc;
use std::time::Duration;

use fleet_lab::{Lab, Way, flows, provider};
use futures_util::future::{join, join_all};
use intune_connector::adapters::{RecordingSink, VirtualRuntime, VolatileJournal};
use intune_connector::connector::{Connector, FleetRefused};
use intune_connector::ports::{Journal, Runtime as _};
use intune_connector::time::Timestamp;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// What each kind of instance can do: CAs, and whether it revokes.
const KINDS: [(&[usize], bool); 5] = [(&[0], false), (&[1], false), (&[0, 1], true), (&[], true), (&[1], true)];

/// By these features: the greatest share against the mean of those that can do the work.
fn unfairness(lab: &Lab, ca: Option<usize>, can: usize) -> f64 {
    let shares = lab.shares(ca, 0);
    let all: usize = shares.values().sum();
    let most = shares.values().copied().max().unwrap_or(0);
    most as f64 * can as f64 / all as f64
}

#[test]
fn a_hundred_instances_complete_each_request_once_and_share_the_work() {
    let requests: usize = std::env::var("INTUNE_CONNECTOR_FLEET_REQUESTS").ok().map_or(5_000, |text| text.parse().unwrap());
    let runtime = VirtualRuntime::new(START);
    let lab = Lab::new(START);
    for number in 0..requests {
        match number % 10 {
            0 => lab.push_pkcs(0),
            1 => lab.push_pkcs(1),
            _ => lab.push_revocation(),
        }
    }
    let journal: Arc<dyn Journal> = Arc::new(VolatileJournal::shared());
    let sink = Arc::new(RecordingSink::new());
    let way = Way::Here(Arc::clone(&lab), Arc::new(runtime.clone()), Duration::from_millis(50));
    let instance = |number: usize| {
        let (cas, revokes) = KINDS[number % KINDS.len()];
        let builder = Connector::builder(provider().clone(), Arc::clone(&journal))
            .sealing_key(intune_connector::secret::SecretBytes::copy_from(&[7; 32]))
            .runtime(Arc::new(runtime.clone()));
        let builder = if number == 100 { builder.sink(sink.clone()) } else { builder.without_events_nobody_learns_of_failures() };
        let settings = |settings: intune_connector::connector::QueueSettings| {
            settings.with_concurrency(4).with_batch(8).with_poll_interval(Duration::from_secs(5))
        };
        flows(builder, &format!("instance {number}"), &way, &lab.configuration, cas, revokes, settings).build().unwrap()
    };
    let fleet: Vec<Connector> = (0..100).map(instance).collect();
    let done = async {
        while lab.state().open > 0 {
            runtime.sleep(Duration::from_secs(1)).await;
        }
    };
    let (stop, stopped) = futures_channel::oneshot::channel::<()>();
    let stopped = futures_util::FutureExt::shared(stopped);
    let runs = join_all(fleet.iter().map(|connector| {
        let stopped = stopped.clone();
        connector.run_until(async {
            let _ = stopped.await;
        })
    }));
    let one_more = async {
        runtime.sleep(Duration::from_secs(2)).await;
        let one_more = instance(100);
        let stopped = stopped.clone();
        let summary = one_more
            .run_until(async {
                let _ = stopped.await;
            })
            .await;
        (summary.refused, summary.flows.values().map(|flow| flow.counters.received).sum::<u64>())
    };
    let control = async {
        done.await;
        let _ = stop.send(());
    };
    let ((summaries, more), ()) = runtime.block_on(join(join(runs, one_more), control)).unwrap();

    assert!(summaries.iter().all(|summary| summary.refused.is_none()));
    assert!(matches!(more, (Some(FleetRefused::Full { .. }), 0)), "{more:?}");
    let refused = sink.events().iter().filter(|event| event.id == intune_connector::event::EventId::InstanceRefused).count();
    assert_eq!(refused, 1);
    let wrong = lab.wrong();
    assert!(wrong.is_empty(), "{} wrong, such as {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    assert_eq!(lab.undelivered(), 0);
    let state = lab.state();
    let pkcs = state.requests.iter().filter(|request| request.ca.is_some()).count();
    assert_eq!(state.issued.iter().filter(|entry| entry.key.is_some()).count(), pkcs, "one certificate for each request");
    assert!(state.issued.iter().filter(|entry| entry.key.is_none()).all(|entry| entry.revoked == 1), "one revocation for each request");
    assert!(state.requests.iter().enumerate().all(|(at, request)| request.uploads == if at % 7 == 0 { 2 } else { 1 }));
    drop(state);
    let shares = [(Some(0), 40), (Some(1), 60), (None, 60)].map(|(ca, can)| unfairness(&lab, ca, can));
    println!(
        "{requests} requests in {:?} of virtual time; greatest share against the mean, by kind of work: {shares:.2?}",
        runtime.now().since(START)
    );
    assert!(shares.iter().all(|share| *share <= 3.0), "{shares:?}");
}
