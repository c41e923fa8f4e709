//! What a seed decides: drawn in the order in which the world asks, which is the same each time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use intune_connector::adapters::VirtualRuntime;
use intune_connector::ports::Runtime as _;

use crate::random::Seeded;

/// Chance, the budget of faults, and what happened.
#[derive(Debug)]
pub struct Chance {
    dice: Seeded,
    /// One call in so many goes wrong, while there are faults left.
    one_in: u64,
    faults_left: AtomicU64,
    faults: AtomicU64,
    clock_jumps: AtomicU64,
    calm: AtomicBool,
    trace: Mutex<Trace>,
    runtime: VirtualRuntime,
}

#[derive(Debug, Default)]
struct Trace {
    wanted: Wanted,
    digest: u64,
    lines: Vec<String>,
}

/// What becomes of the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wanted {
    #[default]
    Nothing,
    Lines,
}

impl Chance {
    pub fn new(seed: u64, wanted: Wanted, runtime: VirtualRuntime) -> Self {
        let dice = Seeded::new(seed ^ 0xc4a7_ce00);
        let one_in = [4, 8, 16][dice.below(3) as usize];
        let faults_left = AtomicU64::new(10 + dice.below(25));
        let trace = Mutex::new(Trace { wanted, digest: 0xcbf2_9ce4_8422_2325, lines: Vec::new() });
        let (faults, clock_jumps) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { dice, one_in, faults_left, faults, clock_jumps, calm: AtomicBool::new(false), trace, runtime }
    }

    /// Below the bound.
    pub fn below(&self, bound: u64) -> u64 {
        self.dice.below(bound)
    }

    pub fn one_in(&self, number: u64) -> bool {
        self.below(number) == 0
    }

    pub fn seconds(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from * 1_000 + self.below((to - from) * 1_000 + 1))
    }

    /// Whether something goes wrong now.
    pub fn strikes(&self) -> bool {
        if self.calm.load(Ordering::Relaxed) || self.faults_left.load(Ordering::Relaxed) == 0 || !self.one_in(self.one_in) {
            return false;
        }
        self.faults_left.fetch_sub(1, Ordering::Relaxed);
        self.faults.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Faults that do not come from `strikes`.
    pub fn count_clock_jump(&self) {
        self.clock_jumps.fetch_add(1, Ordering::Relaxed);
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    pub fn count_stop(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    pub fn clock_jumps(&self) -> u64 {
        self.clock_jumps.load(Ordering::Relaxed)
    }

    /// All that was to go wrong has.
    pub fn is_spent(&self) -> bool {
        self.faults_left.load(Ordering::Relaxed) == 0
    }

    /// From now on nothing goes wrong.
    pub fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    /// One line of what happens. It holds nothing that differs between two runs: no key, no signature.
    pub fn tell(&self, line: impl FnOnce() -> String) {
        let mut trace = self.trace.lock().unwrap();
        if trace.wanted == Wanted::Nothing {
            return;
        }
        let line = format!("{:>12.3} {}", self.runtime.monotonic().as_secs_f64(), line());
        for byte in line.bytes() {
            trace.digest = (trace.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        trace.lines.push(line);
    }

    pub fn is_traced(&self) -> bool {
        self.trace.lock().unwrap().wanted != Wanted::Nothing
    }

    pub fn trace(&self) -> (u64, Vec<String>) {
        let mut trace = self.trace.lock().unwrap();
        (trace.digest, std::mem::take(&mut trace.lines))
    }
}
