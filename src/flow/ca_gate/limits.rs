//! What the user may set about the calls of a CA.

use core::time::Duration;

use super::super::Finding;
use crate::ids::CaName;

/// Up to so many calls a second can be paced; a CA for which that is too little needs no pacing.
const MOST_PER_SECOND: f64 = 100_000.0;
/// Slower than a call in a quarter of an hour, requests would end by their deadlines.
const LEAST_PER_SECOND: f64 = 0.001;

/// How the calls of one CA are limited, for all flows of a connector together.
///
/// The defaults suit a CA that nobody sized: no pacing beside the concurrency, and a breaker that opens on what chance does not explain.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct CaLimits {
    /// The nominal rate in calls a second, evenly spaced; in no second are more than 1.1 times as many made. Default: none, the
    /// concurrency is the limit.
    pub calls_per_second: Option<f64>,
    /// After so many passing failures in a row the CA is left alone. Default 5: with one call in ten failing by chance that is one in
    /// 100,000, and a CA that is down is asked no more than this often and once for each call under way.
    pub failures_to_open: u32,
    /// The CA is left alone as well when so many percent of its last 20 calls failed. Default 50.
    pub failed_percent_to_open: u32,
    /// The longest that a CA is left alone before one call tries whether it is back. Default 60 s: one call a minute burdens nobody, and a
    /// CA that is back is used soon. What a CA asks for itself (`Retry-After`) is kept for up to an hour.
    pub longest_pause: Duration,
    /// Repeated attempts, as a part of the successful calls, in percent. Default 10. What is over waits; it does not fail.
    pub retry_percent: u32,
    /// Repeated attempts that are free in each minute, so that lone requests are not starved. Default 10; as many may come at once.
    pub free_retries_per_minute: u32,
}

impl Default for CaLimits {
    fn default() -> Self {
        Self {
            calls_per_second: None,
            failures_to_open: 5,
            failed_percent_to_open: 50,
            longest_pause: Duration::from_secs(60),
            retry_percent: 10,
            free_retries_per_minute: 10,
        }
    }
}

impl CaLimits {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the nominal rate.
    #[must_use]
    pub fn with_calls_per_second(mut self, calls: f64) -> Self {
        self.calls_per_second = Some(calls);
        self
    }

    /// Sets when the CA is left alone: after so many failures in a row, or when so many percent of its last 20 calls failed.
    #[must_use]
    pub fn with_breaker(mut self, failures_in_a_row: u32, failed_percent: u32) -> Self {
        self.failures_to_open = failures_in_a_row;
        self.failed_percent_to_open = failed_percent;
        self
    }

    /// Sets the longest pause before one call tries whether the CA is back.
    #[must_use]
    pub fn with_longest_pause(mut self, pause: Duration) -> Self {
        self.longest_pause = pause;
        self
    }

    /// Sets the retry budget: a part of the successful calls in percent, and a number that is free each minute.
    #[must_use]
    pub fn with_retry_budget(mut self, percent: u32, free_per_minute: u32) -> Self {
        self.retry_percent = percent;
        self.free_retries_per_minute = free_per_minute;
        self
    }

    /// What is wrong with them.
    pub(crate) fn findings(&self, ca: &CaName) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut check = |wrong: bool, field: &str, problem: &str, remedy: &str| {
            if wrong {
                findings.push(Finding::new(format!("ca_limits.{ca}.{field}"), problem, remedy));
            }
        };
        let paced = self.calls_per_second.is_none_or(|rate| (LEAST_PER_SECOND..=MOST_PER_SECOND).contains(&rate));
        check(!paced, "calls_per_second", "calls cannot be paced so", "set 0.001 to 100,000, or leave it out");
        check(self.failures_to_open == 0, "failures_to_open", "the CA would be left alone without a failure", "set at least 1");
        let percent = (1..=100).contains(&self.failed_percent_to_open);
        check(!percent, "failed_percent_to_open", "it is no part of the calls", "set 1 to 100");
        let pause = (Duration::from_secs(1)..=Duration::from_secs(3_600)).contains(&self.longest_pause);
        check(!pause, "longest_pause", "it is too short to relieve the CA, or so long that its return goes unseen", "set 1 s to 1 h");
        check(self.retry_percent > 100, "retry_percent", "more repeats than calls are no budget", "set at most 100");
        let free = (1..=60_000).contains(&self.free_retries_per_minute);
        check(!free, "free_retries_per_minute", "a lone request could never be repeated, or there is no budget", "set 1 to 60,000");
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wrong_setting_is_named() {
        let ca: CaName = "Issuing CA".parse().unwrap();
        assert_eq!(CaLimits::new().with_calls_per_second(0.5).findings(&ca), []);
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert_eq!(CaLimits::new().with_calls_per_second(rate).findings(&ca).len(), 1, "{rate}");
        }
        let wrong = CaLimits::new().with_breaker(0, 101).with_longest_pause(Duration::ZERO).with_retry_budget(101, 0);
        let settings: Vec<String> = wrong.findings(&ca).into_iter().map(|finding| finding.setting).collect();
        let fields = ["failures_to_open", "failed_percent_to_open", "longest_pause", "retry_percent", "free_retries_per_minute"];
        assert_eq!(settings, fields.map(|field| format!("ca_limits.Issuing CA.{field}")));
    }
}
