//! Whether a CA is asked: closed, open, half-open; paced; with a budget for repeats. Pure: time, randomness and answers come in.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::budget::Budget;
use super::limits::CaLimits;
use super::pace::{Pace, part};

/// The range of the first pause; doubled with each further one up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// No pause is shorter, whatever the jitter.
const LEAST_PAUSE: Duration = Duration::from_millis(100);
/// A CA may ask for so long a pause; one that asks for more is tried then.
const LONGEST_ASKED: Duration = Duration::from_secs(3_600);
/// So many of the last calls are looked at for the part that failed.
const WINDOW: u32 = 20;
/// Who finds all probes under way comes back after at least this.
const PROBES_UNDER_WAY: Duration = Duration::from_millis(250);

/// Whether a CA is asked at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BreakerState {
    /// It is asked.
    Closed,
    /// It is left alone.
    Open,
    /// A few calls try whether it is back: one, then two, four and so on.
    HalfOpen,
}

/// What an answer says about the CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It works; refusing a request is work too.
    Healthy,
    /// It failed in passing, or said nothing in time.
    Failed,
    /// It asked for fewer calls, perhaps for how long.
    Throttled(Option<Duration>),
    /// It said that settings or permissions are wrong: it is left alone for so long.
    Misconfigured(Duration),
    /// The call was not made, or was cut off by something else than the CA.
    Unused,
}

/// What goes with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    epoch: u64,
    repeat: bool,
    pub(super) is_probe: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Go(Ticket),
    Wait { pause: Duration, misconfigured: bool },
}

/// What an operator is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It was asked, and is left alone for so long.
    Opened(Duration),
    /// It is asked again as before.
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Closed,
    Open { since: Duration, length: Duration, misconfigured: bool },
    HalfOpen { allowed: u32, under_way: u32, done: u32 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    failures_to_open: u32,
    failed_percent: u32,
    longest: Duration,
    /// With so many probes at a time the CA counts as back.
    full: u32,
    phase: Phase,
    /// Raised with each change of phase: what was asked before says nothing about what is now.
    epoch: u64,
    /// Openings since it was last closed.
    openings: u32,
    /// The last calls, the newest in the lowest bit; set for a failure.
    recent: u32,
    recent_len: u32,
    pace: Pace,
    budget: Budget,
    pub(super) in_a_row: u32,
    pub(super) in_flight: u32,
    pub(super) calls: u64,
    pub(super) failed_calls: u64,
    pub(super) times_opened: u64,
}

impl Machine {
    /// `full` is how many calls the CA gets at a time when all is well.
    pub(super) fn new(limits: &CaLimits, full: u32) -> Self {
        Self {
            failures_to_open: limits.failures_to_open.max(1),
            failed_percent: limits.failed_percent_to_open.clamp(1, 100),
            longest: limits.longest_pause.max(LEAST_PAUSE),
            full: full.max(1),
            phase: Phase::Closed,
            epoch: 0,
            openings: 0,
            recent: 0,
            recent_len: 0,
            pace: Pace::new(limits.calls_per_second),
            budget: Budget::new(limits),
            in_a_row: 0,
            in_flight: 0,
            calls: 0,
            failed_calls: 0,
            times_opened: 0,
        }
    }

    /// Somebody wants to call. A `repeat` is an attempt after a failed one.
    pub(super) fn ask(&mut self, repeat: bool, now: Duration, random: u64) -> Decision {
        self.half_open_when_due(now);
        let wait = |pause| Decision::Wait { pause, misconfigured: false };
        let is_probe = match self.phase {
            Phase::Open { since, length, misconfigured } => {
                let pause = self.pace.turn(now, since.saturating_add(length), random);
                return Decision::Wait { pause, misconfigured };
            }
            Phase::HalfOpen { allowed, under_way, .. } if under_way >= allowed => {
                return wait(self.pace.turn(now, now.saturating_add(PROBES_UNDER_WAY), random));
            }
            Phase::HalfOpen { .. } => true,
            Phase::Closed => false,
        };
        let slot = self.pace.due(now);
        if !slot.is_zero() {
            return wait(self.pace.turn(now, now.saturating_add(slot), random));
        }
        // A probe is one call, whoever makes it: without it the CA would not be found to be back.
        if repeat && !is_probe {
            let token = self.budget.due(now);
            if !token.is_zero() {
                return wait(token.saturating_add(part(token, random)));
            }
            self.budget.take();
        }
        self.pace.take(now);
        if let Phase::HalfOpen { under_way, .. } = &mut self.phase {
            *under_way += 1;
        }
        self.in_flight = self.in_flight.saturating_add(1);
        self.calls = self.calls.saturating_add(1);
        Decision::Go(Ticket { epoch: self.epoch, repeat, is_probe })
    }

    /// A call ended. Each ticket comes back once.
    pub(super) fn answer(&mut self, ticket: Ticket, verdict: Verdict, now: Duration, random: u64) -> Option<Change> {
        self.in_flight = self.in_flight.saturating_sub(1);
        if verdict == Verdict::Healthy && !ticket.repeat {
            self.budget.earn();
        }
        if matches!(verdict, Verdict::Failed | Verdict::Throttled(_) | Verdict::Misconfigured(_)) {
            self.failed_calls = self.failed_calls.saturating_add(1);
        }
        if verdict == Verdict::Unused {
            self.calls = self.calls.saturating_sub(1);
        }
        let is_current = ticket.epoch == self.epoch;
        if is_current && let Phase::HalfOpen { under_way, .. } = &mut self.phase {
            *under_way = under_way.saturating_sub(1);
        }
        match verdict {
            Verdict::Unused => None,
            Verdict::Healthy if is_current => self.well(),
            Verdict::Failed if is_current => self.failed(now, random),
            // What the CA says about itself holds, whenever it was asked.
            Verdict::Throttled(after) => {
                let pause = match after {
                    Some(after) => after.min(LONGEST_ASKED).saturating_add(part(FIRST_PAUSE, random)),
                    None => self.pause(random),
                };
                self.open(now, pause, false)
            }
            Verdict::Misconfigured(cool_down) => self.open(now, cool_down, true),
            Verdict::Healthy | Verdict::Failed => None,
        }
    }

    pub(super) fn state(&mut self, now: Duration) -> (BreakerState, Option<Duration>) {
        self.half_open_when_due(now);
        match self.phase {
            Phase::Closed => (BreakerState::Closed, None),
            Phase::Open { since, length, .. } => (BreakerState::Open, Some(since.saturating_add(length).saturating_sub(now))),
            Phase::HalfOpen { .. } => (BreakerState::HalfOpen, None),
        }
    }

    fn half_open_when_due(&mut self, now: Duration) {
        if let Phase::Open { since, length, .. } = &mut self.phase {
            // A clock that jumped back makes no pause longer.
            *since = (*since).min(now);
            if now.saturating_sub(*since) >= *length {
                self.enter(Phase::HalfOpen { allowed: 1, under_way: 0, done: 0 });
            }
        }
    }

    fn well(&mut self) -> Option<Change> {
        self.in_a_row = 0;
        self.note(false);
        let Phase::HalfOpen { allowed, done, .. } = &mut self.phase else { return None };
        *done += 1;
        if *done >= *allowed {
            *allowed = allowed.saturating_mul(2);
            *done = 0;
        }
        if *allowed < self.full {
            return None;
        }
        self.openings = 0;
        self.pace.forget_turns();
        self.enter(Phase::Closed);
        Some(Change::Closed)
    }

    fn failed(&mut self, now: Duration, random: u64) -> Option<Change> {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.note(true);
        let many = self.recent_len >= WINDOW && self.recent.count_ones() * 100 >= self.failed_percent * WINDOW;
        if matches!(self.phase, Phase::HalfOpen { .. }) || self.in_a_row >= self.failures_to_open || many {
            let pause = self.pause(random);
            return self.open(now, pause, false);
        }
        None
    }

    fn note(&mut self, failed: bool) {
        self.recent = (self.recent << 1 | u32::from(failed)) & ((1 << WINDOW) - 1);
        self.recent_len = (self.recent_len + 1).min(WINDOW);
    }

    /// Full jitter: a random part of a range that doubles with each opening.
    fn pause(&self, random: u64) -> Duration {
        let range = FIRST_PAUSE.saturating_mul(1u32.checked_shl(self.openings).unwrap_or(u32::MAX)).min(self.longest);
        part(range, random).max(LEAST_PAUSE)
    }

    fn open(&mut self, now: Duration, length: Duration, misconfigured: bool) -> Option<Change> {
        let was_closed = self.phase == Phase::Closed;
        let (length, misconfigured) = match self.phase {
            // What is asked for may prolong a pause, and never shortens one.
            Phase::Open { since, length: before, misconfigured: was } => {
                let left = since.min(now).saturating_add(before).saturating_sub(now);
                (left.max(length), was || misconfigured)
            }
            _ => {
                self.openings = self.openings.saturating_add(1);
                self.times_opened = self.times_opened.saturating_add(1);
                (length, misconfigured)
            }
        };
        self.enter(Phase::Open { since: now, length, misconfigured });
        was_closed.then_some(Change::Opened(length))
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.epoch = self.epoch.wrapping_add(1);
        self.recent = 0;
        self.recent_len = 0;
    }
}

#[cfg(test)]
mod tests;
