//! Seeded fault plans over all flows, from Intune to the CA and back, on a virtual clock: nothing is lost, nothing is doubled.
//!
//! Each plan is a simulated Intune and a CA of its own, at least 20 requests over PKCS, recrypt, import, revocation and SCEP, and at least 5
//! faults among the calls and at the CA. Judged is by the simulator's and the CA's own ledgers, and by opening each result with the device's key.
//!
//! `INTUNE_CONNECTOR_FAULT_PLANS=10000` plays the seeds below that; `=17..18` plays seed 17 alone, as the message of a failure says: the same calls of
//! each endpoint go wrong in the same way. Keys and signatures are new each time, so what comes at once may come in another order.

#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "fault_plans/device.rs"]
mod device;
#[path = "fault_plans/doom.rs"]
mod doom;
#[path = "fault_plans/judge.rs"]
mod judge;
#[path = "fault_plans/random.rs"]
mod random;
#[path = "fault_plans/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use intune_connector::sim::{Endpoint, Fault};
use world::{Played, play};

/// So many where nothing is said.
const QUICK: u64 = 24;

#[test]
fn nothing_is_lost_and_nothing_doubled_whatever_the_network_does() {
    let seeds = seeds();
    let (next, ended, started) = (AtomicU64::new(seeds.start), AtomicU64::new(0), Instant::now());
    let (failures, totals) = (Mutex::new(Vec::new()), Mutex::new((0_u64, 0_u64, 0_u64, u64::MAX, u64::MAX)));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let Played { requests, faults, calls, restarts, mut wrong, .. } = play(seed);
                    if seed % 2 == 1 && restarts == 0 {
                        wrong.push("the process was to end in its work, and did not".to_owned());
                    }
                    ended.fetch_add(restarts, Ordering::Relaxed);
                    let mut totals = totals.lock().unwrap();
                    *totals = (totals.0 + requests, totals.1 + faults, totals.2 + calls, totals.3.min(requests), totals.4.min(faults));
                    if !wrong.is_empty() {
                        failures.lock().unwrap().push(format!("seed {seed}:\n  {}", wrong.join("\n  ")));
                    }
                }
            });
        }
    });
    let (requests, faults, calls, least_requests, least_faults) = totals.into_inner().unwrap();
    let failures = failures.into_inner().unwrap();
    let count = seeds.end - seeds.start;
    println!(
        "{count} plans in {} s: {requests} requests (at least {least_requests} a plan) in {calls} calls with {faults} faults (at least \
         {least_faults} a plan) and {} restarts: {} plans failed",
        started.elapsed().as_secs(),
        ended.load(Ordering::Relaxed),
        failures.len()
    );
    let shown: Vec<&str> = failures.iter().take(5).map(String::as_str).collect();
    assert!(
        failures.is_empty(),
        "{} of {count} plans; `INTUNE_CONNECTOR_FAULT_PLANS=N..M cargo test --all-features --test fault_plans` replays seeds\n{}",
        failures.len(),
        shown.join("\n")
    );
    assert!(least_requests >= 20 && least_faults >= 5, "{least_requests} requests, {least_faults} faults");
}

#[test]
fn a_seed_replays_its_faults_at_each_endpoint() {
    let [first, second] = [3, 3].map(|seed| {
        let mut at: BTreeMap<Endpoint, BTreeMap<u64, Fault>> = BTreeMap::new();
        for played in play(seed).played {
            at.entry(played.endpoint).or_default().insert(played.call, played.fault);
        }
        at
    });
    for (endpoint, faults) in &first {
        // One of them may have come further.
        let last = |faults: &BTreeMap<u64, Fault>| faults.keys().last().copied().unwrap_or(0);
        let both = last(faults).min(second.get(endpoint).map_or(0, last));
        let until = |faults: &BTreeMap<u64, Fault>| faults.range(..=both).map(|(call, fault)| (*call, *fault)).collect::<Vec<_>>();
        assert_eq!(until(faults), second.get(endpoint).map(until).unwrap_or_default(), "{endpoint}");
    }
    assert!(first.len() >= 5, "{:?}", first.keys());
}

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("INTUNE_CONNECTOR_FAULT_PLANS") else { return 0..QUICK };
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("`{text}` is no number of plans"));
    match text.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => 0..number(&text),
    }
}
