//! How many attempts may be repeats: a bucket that successes fill, and time a little. Pure.

use core::time::Duration;

use super::limits::CaLimits;

/// One repeat, in the bucket's unit.
const TOKEN: u64 = 1_000_000;
/// At most so many repeats are saved up: a calm day must not pay for a storm of them.
const MOST: u64 = 100;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Budget {
    level: u64,
    /// Up to here time fills it.
    floor: u64,
    for_success: u64,
    /// Time for one repeat.
    interval: Duration,
    filled: Duration,
}

impl Budget {
    pub(super) fn new(limits: &CaLimits) -> Self {
        let free = limits.free_retries_per_minute.max(1);
        let floor = u64::from(free).saturating_mul(TOKEN);
        let for_success = u64::from(limits.retry_percent).saturating_mul(TOKEN / 100);
        Self { level: floor, floor, for_success, interval: Duration::from_secs(60) / free, filled: Duration::ZERO }
    }

    /// A call went well.
    pub(super) fn earn(&mut self) {
        let most = self.floor.max(MOST * TOKEN);
        self.level = self.level.saturating_add(self.for_success).min(most);
    }

    /// When a repeat is possible, from now: zero when it is.
    pub(super) fn due(&mut self, now: Duration) -> Duration {
        self.fill(now);
        if self.level >= TOKEN {
            return Duration::ZERO;
        }
        let next = self.filled.saturating_add(self.interval);
        next.saturating_sub(now).max(Duration::from_millis(1))
    }

    pub(super) fn take(&mut self) {
        self.level = self.level.saturating_sub(TOKEN);
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled);
        let tokens = u64::try_from(passed.as_nanos() / self.interval.as_nanos().max(1)).unwrap_or(u64::MAX);
        if tokens > 0 || now < self.filled {
            // What is left of the time counts next time; after a jump back it counts from now.
            let rest = Duration::from_nanos(u64::try_from(passed.as_nanos() % self.interval.as_nanos().max(1)).unwrap_or(0));
            self.filled = now.saturating_sub(rest);
        }
        if self.level < self.floor {
            self.level = self.level.saturating_add(tokens.saturating_mul(TOKEN)).min(self.floor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spend(budget: &mut Budget, now: Duration) -> u32 {
        let mut spent = 0;
        while budget.due(now).is_zero() {
            budget.take();
            spent += 1;
        }
        spent
    }

    #[test]
    fn a_tenth_of_the_successes_and_a_floor_may_be_repeats() {
        let mut budget = Budget::new(&CaLimits::new());
        let hour = Duration::from_secs(3_600);
        assert_eq!(spend(&mut budget, hour), 10, "the floor");
        (0..500).for_each(|_| budget.earn());
        assert_eq!(spend(&mut budget, hour), 50, "a tenth");
        (0..100_000).for_each(|_| budget.earn());
        assert_eq!(spend(&mut budget, hour), 100, "not more is saved up");
        assert_eq!(budget.due(hour), Duration::from_secs(6));
        assert_eq!(spend(&mut budget, hour + Duration::from_secs(15)), 2, "ten a minute for lone requests");
        assert_eq!(budget.due(hour + Duration::from_secs(15)), Duration::from_secs(3));
        assert_eq!(spend(&mut budget, Duration::MAX), 10, "an idle night saves up no more than the floor");
    }

    #[test]
    fn a_clock_that_jumps_back_neither_fills_nor_blocks_it() {
        let mut budget = Budget::new(&CaLimits::new());
        let late = Duration::from_secs(1_000_000);
        assert_eq!(spend(&mut budget, late), 10);
        assert!(budget.due(Duration::from_secs(5)) <= Duration::from_secs(6));
        assert_eq!(spend(&mut budget, Duration::from_secs(11)), 1);
    }
}
