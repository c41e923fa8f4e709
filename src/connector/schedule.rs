//! When to poll, how much to take, how long to back off: pure functions of what they are given.

use core::time::Duration;

use crate::flow::QueueSettings;
use crate::ports::JournalScope;
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

/// A result is a suspect after so many failed calls: it may be what makes them fail.
pub(super) const SUSPECT: u32 = 3;

/// How many results go up together that were in so many failed calls: all that may, and from the first suspicion on half as many with
/// each further failure, down to one. So what makes every call fail ends up alone, and what was with it is delivered.
pub(super) fn upload_size(most: usize, failed_calls: u32) -> usize {
    if failed_calls < SUSPECT { most.max(1) } else { most.checked_shr(failed_calls - SUSPECT + 1).unwrap_or(0).max(1) }
}

/// The new `failed_calls` of a waiting result after a call was answered whose results had `answered`: of suspects, twice as many are
/// tried together next. They stay suspects, and fresh results say nothing about them.
pub(super) fn after_answer(answered: u32, failed_calls: u32) -> u32 {
    if answered < SUSPECT || failed_calls < answered { failed_calls } else { (answered - 1).max(SUSPECT) }
}

/// How many rows to claim when `held` are in hand: two for each worker and one batch may be held.
pub(super) fn claim_size(settings: &QueueSettings, held: usize) -> usize {
    settings.concurrency.saturating_mul(2).max(settings.batch).saturating_sub(held)
}

/// How long to wait before the journal is looked at again: a dead instance's rows are free when their leases end; in a journal of one
/// instance, rows become due by themselves only when they were given back.
pub(super) fn claim_pause(settings: &QueueSettings, lease: Duration, scope: JournalScope) -> Duration {
    match scope {
        JournalScope::Fleet => (lease / 4).min(settings.poll_interval).max(Duration::from_millis(100)),
        JournalScope::Instance => settings.poll_interval.clamp(Duration::from_secs(1), Duration::from_secs(60)),
    }
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
    fn suspects_go_up_in_halves_down_to_one_and_grow_back_without_joining_fresh_results() {
        for (failed, size) in [(0, 50), (2, 50), (3, 25), (4, 12), (5, 6), (6, 3), (7, 1), (8, 1), (66, 1), (u32::MAX, 1)] {
            assert_eq!(upload_size(50, failed), size, "{failed}");
        }
        assert_eq!((upload_size(0, 0), upload_size(1, 3)), (1, 1));
        for (answered, failed, after) in [(0, 7, 7), (2, 3, 3), (3, 2, 2), (3, 3, 3), (5, 4, 4), (5, 5, 4), (5, 40, 4)] {
            assert_eq!(after_answer(answered, failed), after, "{answered} {failed}");
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
