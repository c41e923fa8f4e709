//! Tests whether the SCEP service is an oracle: what is wrong inside an envelope must change neither its answer nor the time that it takes.
//!
//! `scep_oracle [--requests N] [--control MICROSECONDS]`
//!
//! Requests that are wrong in eight ways, N of each (2,000 unless said), are made afresh and answered in random order by a service in this
//! process, on one thread. Everything but the time must be equal for all: HTTP status, failInfo, length of the reply, events, primitives
//! called. The time of a request is compared by Welch's t for each pair of classes: |t| of 4.5 or more is a difference. 100,000 of each class
//! say much, 2,000 a little. Run it built with `--release` on a quiet machine.
//!
//! Two intervals inside a request are shown as well, with the pairs that differ there. They do not decide: whoever is outside waits for the
//! whole request. They are how a difference is tracked down, and show what is left: 0.05 to 0.25 µs (100,000 of each class, quiet machine).
//!
//! `--control 5` waits for 5 µs in one of the classes: the same test must then find that class in each of its pairs, or the program fails.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program talks to its user")]

mod classes;
mod lab;
mod stats;
#[allow(dead_code, reason = "the calls are counted here, not made again")]
#[path = "../../benches/support/tape.rs"]
mod tape;

use std::collections::BTreeSet;
use std::error::Error;
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use classes::{Class, Forger};
use intune_connector::crypto::CryptoProvider;
use intune_connector::event::Event;
use intune_connector::terms::KeyAlgorithm;
use lab::{INTERVALS, Lab};
use stats::{KEPT, Pair};

const USAGE: &str = "usage: scep_oracle [--requests N] [--control MICROSECONDS]";
/// The customary bound of leakage tests.
const BOUND: f64 = 4.5;
/// The class that a control delays.
const DELAYED: Class = Class::BadKeyPadding;
/// Rounds before the first that counts.
const WARM_UP: usize = 50;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool> {
    let (requests, control) = arguments()?;
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let ra_key = provider.key_generation()?.generate(KeyAlgorithm::Rsa2048)?;

    let recorded = Lab::new(&provider, &ra_key, true)?;
    let same = outside_is_equal(&recorded, &mut Forger::new(&provider, recorded.ra.clone())?)?;

    let lab = Lab::new(&provider, &ra_key, false)?;
    let started = Instant::now();
    let samples = measure(&lab, Forger::new(&provider, lab.ra.clone())?, requests, control)?;
    println!("{requests} requests of each of {} classes in {:.0} s", Class::ALL.len(), started.elapsed().as_secs_f64());
    if lab.asked() > 0 || recorded.asked() > 0 {
        return Err("the validator or the CA was asked about a request that is wrong".into());
    }

    let mut strongest = vec![0.0; Class::ALL.len() * Class::ALL.len()];
    for (place, (name, samples)) in INTERVALS.iter().zip(&samples).enumerate() {
        let is_request = place == 0;
        println!("\n{name}{}:", if is_request { "" } else { " (shown, not judged)" });
        for (class, samples) in Class::ALL.iter().zip(samples) {
            let (mean, deviation) = stats::summary(samples);
            println!("  {:<16} mean {:>10.2} µs, deviation {:>8.2} µs", class.name(), mean / 1e3, deviation / 1e3);
        }
        let pairs = stats::compare(samples);
        for pair in pairs.iter().filter(|_| is_request) {
            let t: &mut f64 = &mut strongest[pair.classes.0 * Class::ALL.len() + pair.classes.1];
            *t = t.max(pair.t.abs());
        }
        for kept in KEPT {
            report(pairs.iter().filter(|pair| pair.kept == kept));
        }
    }
    Ok(same & verdict(&strongest, control.is_some()))
}

/// One share of the samples, and the pairs that differ in it.
fn report<'a>(pairs: impl Iterator<Item = &'a Pair> + Clone) {
    let largest = pairs.clone().map(|pair| pair.t.abs()).fold(0.0, f64::max);
    println!("  {:>3} % kept: largest |t| {largest:.2}", pairs.clone().next().map_or(0, |pair| pair.kept));
    for pair in pairs.filter(|pair| pair.t.abs() >= BOUND) {
        let (one, other) = (Class::ALL[pair.classes.0].name(), Class::ALL[pair.classes.1].name());
        println!("        {one} - {other}: {:+.0} ns, t = {:+.1}", pair.difference, pair.t);
    }
}

/// Whether the time of the request differs for no pair in any share, but for those with the delayed class, of which each must.
fn verdict(strongest: &[f64], controlled: bool) -> bool {
    let (mut largest, mut found) = (0.0_f64, f64::INFINITY);
    for (first, one) in Class::ALL.into_iter().enumerate() {
        for (second, other) in Class::ALL.into_iter().enumerate().skip(first + 1) {
            let t = strongest[first * Class::ALL.len() + second];
            if controlled && [one, other].contains(&DELAYED) {
                found = found.min(t);
            } else {
                largest = largest.max(t);
            }
        }
    }
    println!("\nlargest |t| of the request: {largest:.2}, to be under {BOUND}");
    if controlled {
        println!("smallest |t| of a pair with the delayed class: {found:.2}, to be {BOUND} or more");
    }
    let as_expected = largest < BOUND && found >= BOUND;
    println!("{}", if as_expected { "as expected" } else { "NOT AS EXPECTED" });
    as_expected
}

/// The samples by interval and class.
fn measure(lab: &Lab, mut forger: Forger, requests: usize, control: Option<Duration>) -> Result<Vec<stats::Samples>> {
    let mut samples = vec![vec![Vec::with_capacity(requests); Class::ALL.len()]; INTERVALS.len()];
    // Requests are made on another thread while earlier ones are answered on this one.
    let (sender, receiver) = sync_channel::<Vec<(usize, Vec<u8>)>>(8);
    let maker = std::thread::spawn(move || -> Result<()> {
        for _ in 0..WARM_UP + requests {
            let mut round = Vec::with_capacity(Class::ALL.len());
            for (place, class) in Class::ALL.into_iter().enumerate() {
                round.insert(forger.random(round.len() + 1)?, (place, forger.request(class)?));
            }
            if sender.send(round).is_err() {
                break;
            }
        }
        Ok(())
    });
    for (number, round) in receiver.into_iter().enumerate() {
        for (class, message) in round {
            let delay = control.filter(|_| Class::ALL[class] == DELAYED).unwrap_or_default();
            let answered = lab.answer(message, delay);
            if number >= WARM_UP {
                samples.iter_mut().zip(answered.took).for_each(|(interval, took)| interval[class].push(took));
            }
        }
    }
    maker.join().map_err(|_| "the thread that makes requests panicked")??;
    Ok(samples)
}

/// Whether everything but the time is the same for all classes; prints what is not.
fn outside_is_equal(lab: &Lab, forger: &mut Forger) -> Result<bool> {
    let mut seen = BTreeSet::new();
    for _ in 0..4 {
        for class in Class::ALL {
            let message = forger.request(class)?;
            lab.tape.clear();
            drop(lab.sink.take());
            let response = lab.answer(message, Duration::ZERO).response;
            let events: Vec<String> = lab.sink.take().iter().map(what_happened).collect();
            let outside = format!(
                "HTTP {} {}, {} bytes, {:?}, retry after {:?}\n  events {events:?}\n  primitives {:?}",
                response.status,
                response.media_type,
                response.body.len(),
                fail_info(&response.body),
                response.retry_after,
                lab.tape.counts(),
            );
            if seen.insert(outside.clone()) {
                println!("{}: {outside}", class.name());
            }
        }
    }
    if seen.len() > 1 {
        println!("THE CLASSES CAN BE TOLD APART");
    }
    Ok(seen.len() == 1)
}

/// An event without its scope and times.
fn what_happened(event: &Event) -> String {
    format!("{} {:?} {:?} {:?}", event.id.code(), event.error_class, event.message, event.details)
}

/// pkiStatus, failInfo and failInfoText as they stand in the reply's signed attributes.
fn fail_info(reply: &[u8]) -> [Option<Vec<u8>>; 3] {
    // 2.16.840.1.113733.1.9.3 and .4, and 1.3.6.1.5.5.7.24.1, each followed by the SET of its value.
    let verisign = |arc| vec![0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x45, 0x01, 0x09, arc];
    [verisign(3), verisign(4), vec![0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x18, 0x01]].map(|oid| {
        let place = reply.windows(oid.len()).position(|window| window == oid)? + oid.len();
        let len = usize::from(*reply.get(place + 1)?);
        reply.get(place + 2..place + 2 + len).map(<[u8]>::to_vec)
    })
}

fn arguments() -> Result<(usize, Option<Duration>)> {
    let (mut requests, mut control) = (2_000, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"))?;
        match argument.as_str() {
            "--requests" => requests = value.parse().map_err(|_| format!("--requests takes a number\n{USAGE}"))?,
            "--control" => {
                control = Some(Duration::from_micros(value.parse().map_err(|_| format!("--control takes microseconds\n{USAGE}"))?));
            }
            _ => return Err(format!("{argument} is no option\n{USAGE}").into()),
        }
    }
    if requests < 2 {
        return Err("a comparison takes at least 2 requests of each class".into());
    }
    Ok((requests, control))
}
