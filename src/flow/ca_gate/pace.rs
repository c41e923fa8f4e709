//! When the next call may go: evenly spaced by the nominal rate, and turns for those that must wait. Pure.

use core::time::Duration;

/// A timer that is late by up to this much loses nothing. In a second so many hundredths of it more calls are possible.
const TOLERANCE: Duration = Duration::from_millis(50);
/// With fewer calls a second than this, one more would be more than a tenth: none is tolerated.
const TOLERANT_FROM: f64 = 10.0;
/// Turns of calls without a nominal rate.
const UNPACED: Duration = Duration::from_millis(10);
/// Turns are given this far ahead; who comes then, comes back at a random time in between.
const SPREAD: Duration = Duration::from_secs(15);

/// A random part of it; `random` is uniform over all of `u64`.
pub(super) fn part(of: Duration, random: u64) -> Duration {
    let nanos = of.as_nanos().saturating_mul(u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pace {
    /// Between two calls; zero without a nominal rate.
    interval: Duration,
    tolerance: Duration,
    /// When the next call is due by the rate alone (the "theoretical arrival time" of GCRA).
    next: Duration,
    /// Up to when turns are given.
    turn: Duration,
}

impl Pace {
    pub(super) fn new(calls_per_second: Option<f64>) -> Self {
        let nanos = calls_per_second.filter(|rate| *rate > 0.0).map_or(0.0, |rate| (1e9 / rate).ceil());
        let interval = Duration::try_from_secs_f64(nanos / 1e9).unwrap_or(Duration::ZERO);
        let tolerance = if calls_per_second.is_some_and(|rate| rate >= TOLERANT_FROM) { TOLERANCE } else { Duration::ZERO };
        Self { interval, tolerance, next: Duration::ZERO, turn: Duration::ZERO }
    }

    /// When a call may go, from now: zero when it may.
    pub(super) fn due(&mut self, now: Duration) -> Duration {
        // A clock that jumped back must not stop the calls.
        self.next = self.next.min(now.saturating_add(self.interval).saturating_add(self.tolerance));
        self.next.saturating_sub(self.tolerance).saturating_sub(now)
    }

    pub(super) fn take(&mut self, now: Duration) {
        self.next = self.next.max(now).saturating_add(self.interval);
    }

    /// How long one waits who cannot go before `earliest`, so that those who wait come one after another.
    pub(super) fn turn(&mut self, now: Duration, earliest: Duration, random: u64) -> Duration {
        let step = self.interval.max(UNPACED);
        let last = earliest.saturating_add(SPREAD);
        if self.turn > last {
            self.turn = earliest;
        }
        let turn = self.turn.max(earliest);
        let turn = if turn.saturating_add(step) >= last {
            earliest.saturating_add(part(SPREAD, random))
        } else {
            self.turn = turn.saturating_add(step);
            turn
        };
        turn.saturating_sub(now).max(Duration::from_millis(1))
    }

    /// Nobody waits any more.
    pub(super) fn forget_turns(&mut self) {
        self.turn = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most calls in any second when everybody asks whenever possible.
    fn most_in_a_second(rate: f64, seconds: u64) -> (usize, usize) {
        let mut pace = Pace::new(Some(rate));
        let (mut now, end) = (Duration::from_secs(5), Duration::from_secs(5 + seconds));
        let mut calls = Vec::new();
        while now < end {
            match pace.due(now) {
                Duration::ZERO => {
                    pace.take(now);
                    calls.push(now);
                }
                pause => now += pause,
            }
        }
        let within = |from: Duration| calls.iter().filter(|call| **call >= from && **call < from + Duration::from_secs(1)).count();
        (calls.iter().map(|from| within(*from)).max().unwrap(), calls.len())
    }

    #[test]
    fn no_second_sees_more_than_a_tenth_over_the_nominal_rate() {
        for rate in [1.0, 2.0, 5.0, 9.0, 10.0, 20.0, 33.0, 100.0] {
            let (most, all) = most_in_a_second(rate, 20);
            #[allow(clippy::cast_precision_loss, reason = "small numbers")]
            let (most, all) = (most as f64, all as f64);
            assert!(most <= rate * 1.1, "{rate}: {most}");
            assert!(all >= rate * 20.0, "{rate}: {all} in 20 s");
        }
        assert_eq!(most_in_a_second(0.25, 40), (1, 10));
    }

    #[test]
    fn without_a_rate_every_call_may_go() {
        let mut pace = Pace::new(None);
        for _ in 0..1_000 {
            assert_eq!(pace.due(Duration::ZERO), Duration::ZERO);
            pace.take(Duration::ZERO);
        }
    }

    #[test]
    fn those_who_wait_come_one_after_another_and_never_too_late() {
        let mut pace = Pace::new(Some(10.0));
        let now = Duration::from_secs(100);
        let turns: Vec<Duration> = (0..4).map(|_| pace.turn(now, now + Duration::from_secs(1), 0)).collect();
        assert_eq!(turns, [1_000, 1_100, 1_200, 1_300].map(Duration::from_millis));
        for random in [0, u64::MAX / 3, u64::MAX] {
            (0..500).for_each(|_| assert!(pace.turn(now, now, random) <= SPREAD));
        }
        assert!(pace.turn(Duration::ZERO, Duration::ZERO, u64::MAX) <= SPREAD, "a clock that jumped back");
        assert!(pace.turn(Duration::MAX, Duration::MAX, u64::MAX) <= SPREAD);
    }
}
