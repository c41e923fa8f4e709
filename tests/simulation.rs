//! A deterministic simulation of whole fleets: thousands of worlds, each decided by its seed, with faults, restarts and clocks that jump.
//!
//! A world is a queue, a CA, a durable journal and one to three machines, on which the real connector runs on a virtual clock, in one thread. A seed
//! gives at least 20 requests, 10 faults and 2 ends of a process in the midst of its work. Judged is by the ledgers of the queue and the CA alone.
//!
//! `INTUNE_CONNECTOR_SEEDS=100000` plays so many seeds (with `--release`: `INTUNE_CONNECTOR_SEEDS=100000 cargo test --release --all-features --test
//! simulation -- --nocapture`). `INTUNE_CONNECTOR_SEED=17` plays seed 17 alone and prints all that happened.

#![cfg(all(feature = "pkcs", feature = "import", feature = "revoke", feature = "scep", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "simulation/ca.rs"]
mod ca;
#[path = "simulation/desk.rs"]
mod desk;
#[path = "simulation/device.rs"]
mod device;
#[path = "simulation/journal.rs"]
mod journal;
#[path = "simulation/judge.rs"]
mod judge;
#[path = "simulation/plan.rs"]
mod plan;
#[path = "simulation/process.rs"]
mod process;
#[path = "simulation/queue.rs"]
mod queue;
#[path = "fault_plans/random.rs"]
mod random;
#[path = "simulation/shared.rs"]
mod shared;
#[path = "simulation/sink.rs"]
mod sink;
#[path = "simulation/world.rs"]
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use plan::Wanted;
use world::{Played, play};

/// So many where nothing is said.
const QUICK: u64 = 2_000;
/// A line of progress after so many.
const PROGRESS: u64 = 5_000;

#[derive(Debug, Default)]
struct Totals {
    requests: u64,
    faults: u64,
    restarts: u64,
    clock_jumps: u64,
    failed: Vec<(u64, Vec<String>)>,
}

#[test]
fn each_request_ends_once_whatever_happens() {
    if let Some(seed) = number("INTUNE_CONNECTOR_SEED") {
        return replay(seed);
    }
    let seeds = number("INTUNE_CONNECTOR_SEEDS").unwrap_or(QUICK);
    let (next, started, totals) = (AtomicU64::new(0), Instant::now(), Mutex::new(Totals::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let Played { requests, faults, restarts, clock_jumps, mut wrong, .. } = play_or_say(seed, Wanted::Nothing);
                    if requests < 20 || faults < 10 || restarts < 2 {
                        wrong.push(format!("too little happened: {requests} requests, {faults} faults, {restarts} restarts"));
                    }
                    let mut totals = totals.lock().unwrap();
                    totals.requests += requests;
                    totals.faults += faults;
                    totals.restarts += restarts;
                    totals.clock_jumps += clock_jumps;
                    if !wrong.is_empty() {
                        totals.failed.push((seed, wrong));
                    }
                    if (seed + 1).is_multiple_of(PROGRESS) {
                        println!("{} seeds in {} s, {} failed", seed + 1, started.elapsed().as_secs(), totals.failed.len());
                    }
                }
            });
        }
    });
    let mut totals = totals.into_inner().unwrap();
    totals.failed.sort();
    let most = number("INTUNE_CONNECTOR_SHOWN").map_or(10, |shown| shown as usize);
    println!(
        "{seeds} seeds in {:.1} s: {} requests, {} faults, {} restarts, {} clock jumps, {} seeds failed",
        started.elapsed().as_secs_f64(),
        totals.requests,
        totals.faults,
        totals.restarts,
        totals.clock_jumps,
        totals.failed.len()
    );
    let shown: Vec<String> = totals
        .failed
        .iter()
        .take(most)
        .map(|(seed, wrong)| {
            let replay = format!("INTUNE_CONNECTOR_SEED={seed} cargo test --all-features --test simulation -- --nocapture");
            format!("seed {seed}:\n  {}\n  replay: {replay}", wrong.join("\n  "))
        })
        .collect();
    assert!(totals.failed.is_empty(), "{} of {seeds} seeds failed\n{}", totals.failed.len(), shown.join("\n"));
}

#[test]
fn a_seed_is_played_the_same_each_time() {
    for seed in 0..12 {
        let [first, second] = [Wanted::Lines, Wanted::Lines].map(|wanted| play(seed, wanted));
        let differs = first.trace.iter().zip(&second.trace).find(|(first, second)| first != second);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.digest, second.digest, "seed {seed}");
        assert!(first.trace.len() > 100, "seed {seed}: {} lines", first.trace.len());
    }
}

fn replay(seed: u64) {
    let played = play_or_say(seed, Wanted::Lines);
    played.trace.iter().for_each(|line| println!("{line}"));
    println!(
        "seed {seed}: {} requests, {} faults, {} restarts, {} clock jumps, trace {:016x}",
        played.requests, played.faults, played.restarts, played.clock_jumps, played.digest
    );
    assert!(played.wrong.is_empty(), "seed {seed}:\n  {}", played.wrong.join("\n  "));
}

/// A panic names its seed.
fn play_or_say(seed: u64, wanted: Wanted) -> Played {
    std::panic::catch_unwind(|| play(seed, wanted)).unwrap_or_else(|_| panic!("seed {seed} panicked"))
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}: `{text}` is no number")))
}
