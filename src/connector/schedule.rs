//! When to poll, how much to take, how long to back off: pure functions of what they are given.

use core::time::Duration;

use crate::flow::QueueSettings;
use crate::retry::Retry;

/// How long to wait before try `failures + 1`: full jitter, a random part of `base` doubled for each failure, at most `cap`; on top of
/// what the other side asked for. `random` is uniform over all of `u64`.
pub(super) fn backoff(failures: u32, base: Duration, cap: Duration, retry: Retry, random: u64) -> Duration {
    let doubled = base.saturating_mul(1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    let range = doubled.min(cap).max(base.min(cap));
    let nanos = range.as_nanos().saturating_mul(u128::from(random)) >> 64;
    let jitter = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
    match retry {
        Retry::After(after) => after.saturating_add(jitter),
        _ => jitter,
    }
}

/// What a poll brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Yield {
    /// Less than asked for: the queue has no more.
    Rest,
    /// As much as asked for, new requests among it.
    Full,
    /// As much as asked for, but nothing new.
    FullOfRepeats,
    /// The poll failed, so many times in a row.
    Failed(u32),
}

/// How long to wait before the next poll of a flow.
pub(super) fn poll_pause(settings: &QueueSettings, minimum: Duration, asked: Option<Duration>, got: Yield) -> Duration {
    let pause = match got {
        Yield::Full => Duration::ZERO,
        Yield::FullOfRepeats => settings.poll_interval.min(Duration::from_secs(1)),
        Yield::Rest | Yield::Failed(_) => settings.poll_interval,
    };
    pause.max(minimum).max(asked.unwrap_or_default())
}

/// How many requests to ask for when `held` are in hand: two for each worker and one batch may be held, finished results included.
pub(super) fn poll_size(settings: &QueueSettings, max_batch: usize, held: usize) -> usize {
    let room = settings.concurrency.saturating_mul(2).max(settings.batch).saturating_sub(held);
    settings.batch.min(max_batch).min(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_secs(1);
    const CAP: Duration = Duration::from_secs(300);

    #[test]
    fn backoff_is_a_random_part_of_a_doubling_range_up_to_the_cap() {
        for (failures, most) in [(1, 1), (2, 2), (5, 16), (9, 256), (10, 300), (32, 300), (33, 300), (u32::MAX, 300)] {
            assert_eq!(backoff(failures, BASE, CAP, Retry::Later, 0), Duration::ZERO);
            let longest = backoff(failures, BASE, CAP, Retry::Later, u64::MAX);
            assert!(longest <= Duration::from_secs(most) && longest > Duration::from_millis(most * 1_000 - 1), "{failures}: {longest:?}");
            let half = backoff(failures, BASE, CAP, Retry::Later, u64::MAX / 2);
            assert!(half.as_millis().abs_diff(u128::from(most) * 500) <= 1, "{failures}: {half:?}");
        }
    }

    #[test]
    fn the_other_sides_retry_after_is_a_lower_bound() {
        let after = Retry::After(Duration::from_secs(90));
        assert_eq!(backoff(1, BASE, CAP, after, 0), Duration::from_secs(90));
        assert!(backoff(1, BASE, CAP, after, u64::MAX) < Duration::from_secs(91));
        assert_eq!(backoff(1, BASE, CAP, Retry::After(Duration::MAX), u64::MAX), Duration::MAX);
    }
}
