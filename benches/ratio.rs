//! Each flow's time per request against the sum of its primitives, measured in turns in one process. Goal: at most 1.10.
//!
//! The primitives are not counted by hand: one request runs on a provider that writes down every call of a slot with its arguments
//! (private-key operations, verifications, encryptions, key derivations, digests, random bytes, key generation, parsing of private keys),
//! and then exactly these calls are made again without the flow around them.
//!
//! The flow is the whole of it: `Connector::run_once` (for SCEP `Service::handle`) with policy, CA, journal, events and upload over the
//! ports in memory, on one thread.
//!
//! `cargo bench --bench ratio`; `-- --calls` prints the lists, `-- SCEP` measures only the flows that have this in their names.

#![allow(clippy::print_stdout, reason = "a program whose result is what it prints")]

mod support;

use std::time::{Duration, Instant};

use intune_connector::crypto::CryptoProvider;
use support::tape::Tape;
use support::{Kind, World};

const ROUNDS: usize = 41;
const REQUESTS: usize = 20;

fn main() {
    let show_calls = std::env::args().any(|argument| argument == "--calls");
    let named = std::env::args().skip(1).find(|argument| !argument.starts_with("--")).unwrap_or_default();
    let plain = CryptoProvider::ring_and_aws_lc_rs();
    println!("| flow | per request | its primitives | ratio |");
    println!("|---|---:|---:|---:|");
    for kind in Kind::ALL.into_iter().filter(|kind| kind.name().contains(&named)) {
        let tape = Tape::default();
        let recorded = World::new(kind, &plain, |below| tape.record(below));
        let round = recorded.prepare(1);
        tape.clear();
        round.run();

        let world = World::new(kind, &plain, Clone::clone);
        world.prepare(REQUESTS).run();
        let (mut flow, mut primitives) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let round = world.prepare(REQUESTS);
            flow.push(time(|| round.run()));
            primitives.push(time(|| (0..REQUESTS).for_each(|_| tape.play())));
        }
        let (flow, primitives) = (median(flow), median(primitives));
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / REQUESTS as f64;
        let ratio = flow.as_secs_f64() / primitives.as_secs_f64();
        println!("| {} | {:.0} µs | {:.0} µs | {ratio:.2} |", kind.name(), micros(flow), micros(primitives));
        if show_calls {
            tape.counts().iter().for_each(|(name, count)| println!("    {count:>3} {name}"));
        }
    }
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
