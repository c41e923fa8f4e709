//! This crate's codecs beside its peers', in one process and over the same bytes. See `README.md` for how to run it and what came out.
//!
//! `peers` checks that all peers of every row give the same content, then times them in turns; `peers --check` only checks;
//! `peers --list` names rows and peers; `peers --row R --peer P --iterations N` runs one operation N times, for `./instructions`.

mod fixtures;
mod kdf;
mod pfx;
mod signed_and_enveloped;
mod x509;

use std::process::ExitCode;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Operations that do the same, by different crates.
pub struct Row {
    pub contenders: Vec<Contender>,
    /// Panics unless all contenders give the same content.
    pub check: Box<dyn Fn()>,
}

/// One crate's way to do it.
pub struct Contender {
    pub peer: &'static str,
    pub run: Box<dyn Fn()>,
}

impl Contender {
    pub fn new<T>(peer: &'static str, run: impl Fn() -> T + 'static) -> Self {
        Self { peer, run: Box::new(move || drop(std::hint::black_box(run()))) }
    }
}

/// Made only when it is run, so that an instruction count holds no other row's preparation.
const ROWS: &[(&str, fn() -> Row)] = &[
    ("pfx-open-compat-2048", pfx::open_compat),
    ("pfx-open-modern-2048", pfx::open_modern),
    ("pfx-open-modern-100000", pfx::open_modern_100000),
    ("pfx-build-compat-2048", pfx::build_compat),
    ("pfx-build-modern-2048", pfx::build_modern),
    ("pfx-reencrypt-modern-2048", pfx::reencrypt),
    ("enveloped-build", signed_and_enveloped::enveloped_build),
    ("enveloped-open", signed_and_enveloped::enveloped_open),
    ("signed-build", signed_and_enveloped::signed_build),
    ("signed-verify", signed_and_enveloped::signed_verify),
    ("signed-parse", signed_and_enveloped::signed_parse),
    ("certificate-parse", x509::certificate),
    ("csr-parse", x509::request),
    ("kdf-pbkdf2-sha256-2048", kdf::pbkdf2_sha256),
    ("kdf-pbkdf2-sha1-2048", kdf::pbkdf2_sha1),
    ("kdf-pkcs12-sha1-2048", kdf::pkcs12_sha1),
    ("kdf-pkcs12-sha256-2048", kdf::pkcs12_sha256),
    ("cipher-3des-decrypt-4k", kdf::triple_des),
];

/// What every ratio is to.
const OURS: &str = "intune-connector";
/// Each contender is timed so often, in turns with the others; the best round counts.
const ROUNDS: usize = 25;
/// A round repeats the operation until it takes about this long.
const ROUND: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| arguments.iter().position(|argument| argument == name).and_then(|index| arguments.get(index + 1));
    let flag = |name: &str| arguments.iter().any(|argument| argument == name);
    let rows: Vec<_> = match value("--row") {
        Some(wanted) => ROWS.iter().filter(|(name, _)| name == wanted).collect(),
        None => ROWS.iter().collect(),
    };
    if rows.is_empty() {
        eprintln!("there is no such row");
        return ExitCode::FAILURE;
    }
    if let (Some(peer), Some(iterations)) = (value("--peer"), value("--iterations").and_then(|text| text.parse::<u64>().ok())) {
        let row = rows[0].1();
        let Some(contender) = row.contenders.iter().find(|contender| contender.peer == peer) else {
            eprintln!("the row has no such peer");
            return ExitCode::FAILURE;
        };
        (0..iterations).for_each(|_| (contender.run)());
        return ExitCode::SUCCESS;
    }
    for (name, row) in rows {
        let row = row();
        if flag("--list") {
            row.contenders.iter().for_each(|contender| println!("{name} {}", contender.peer));
            continue;
        }
        (row.check)();
        if flag("--check") {
            println!("{name}: all {} agree", row.contenders.len());
            continue;
        }
        let times = time(&row.contenders);
        let ours = row.contenders.iter().position(|contender| contender.peer == OURS).map(|index| times[index]);
        for (contender, time) in row.contenders.iter().zip(&times) {
            let micros = time.as_secs_f64() * 1e6;
            let ratio = ours.map_or(f64::NAN, |ours| time.as_secs_f64() / ours.as_secs_f64());
            println!("{name}\t{}\t{micros:.2}\t{ratio:.3}", contender.peer);
        }
    }
    ExitCode::SUCCESS
}

/// The best time of each contender for one operation.
fn time(contenders: &[Contender]) -> Vec<Duration> {
    // Of the processor, for this thread: what else the machine does is not in it.
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("a time since the start of the thread");
    let once = |run: &dyn Fn(), repeat: u32| {
        let start = now();
        (0..repeat).for_each(|_| run());
        (now() - start) / repeat
    };
    let repeats: Vec<u32> = contenders
        .iter()
        .map(|contender| {
            let rough = once(&*contender.run, 3).max(Duration::from_nanos(100));
            u32::try_from(ROUND.as_nanos() / rough.as_nanos()).unwrap_or(1).max(1)
        })
        .collect();
    let mut best = vec![Duration::MAX; contenders.len()];
    for _ in 0..ROUNDS {
        for (index, contender) in contenders.iter().enumerate() {
            best[index] = best[index].min(once(&*contender.run, repeats[index]));
        }
    }
    best
}
