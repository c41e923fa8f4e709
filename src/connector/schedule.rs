//! When to poll, how much to take, how long to back off: pure functions of what they are given.

use core::time::Duration;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::flow::QueueSettings;
use crate::ports::{JournalScope, StorageRoom};
use crate::retry::Retry;

/// Why a flow downloads nothing for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum HeldBack {
    /// A finished result waits for its upload for too long: what is downloaded would only wait behind it.
    ResultsWait,
    /// The storage of the journal is nearly full: what is downloaded could not be stored.
    StorageFull,
}

impl HeldBack {
    /// The name in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ResultsWait => "results-wait",
            Self::StorageFull => "storage-full",
        }
    }
}

/// When downloads are held back.
#[derive(Debug, Clone, Copy)]
pub(super) struct HoldLimits {
    /// The oldest result may wait for so long.
    pub(super) result_age: Duration,
    /// So many percent of the storage must be free.
    pub(super) free_percent: u8,
}

/// Whether to download nothing, by how long the oldest result has waited and the room of the journal.
pub(super) fn held_back(limits: HoldLimits, oldest_result: Option<Duration>, room: Option<StorageRoom>) -> Option<HeldBack> {
    if oldest_result.is_some_and(|age| age > limits.result_age) {
        return Some(HeldBack::ResultsWait);
    }
    let is_full = |room: StorageRoom| u128::from(room.free) * 100 < u128::from(room.total) * u128::from(limits.free_percent);
    room.is_some_and(is_full).then_some(HeldBack::StorageFull)
}

/// How many requests ended in each of the last minutes.
#[derive(Debug, Default)]
pub(super) struct Completions {
    first: Option<Duration>,
    /// A minute of the monotonic clock, and how many.
    minutes: VecDeque<(u64, u64)>,
}

impl Completions {
    /// Minutes that count as recent.
    const RECENT: u64 = 5;

    pub(super) fn add(&mut self, now: Duration) {
        self.first.get_or_insert(now);
        let minute = now.as_secs() / 60;
        match self.minutes.back_mut().filter(|(last, _)| *last == minute) {
            Some((_, count)) => *count += 1,
            None => self.minutes.push_back((minute, 1)),
        }
        while self.minutes.len() > Self::RECENT as usize {
            self.minutes.pop_front();
        }
    }

    /// How long the work on `open` requests takes at the pace of the last five minutes. `None` when nothing has ended in that time.
    pub(super) fn time_to_drain(&self, open: u64, now: Duration) -> Option<Duration> {
        if open == 0 {
            return Some(Duration::ZERO);
        }
        let oldest = (now.as_secs() / 60).saturating_sub(Self::RECENT - 1);
        let ended: u64 = self.minutes.iter().filter(|(minute, _)| *minute >= oldest).map(|(_, count)| count).sum();
        let since = self.first?.max(Duration::from_secs(oldest * 60));
        // A second at least: the first few requests say little of the pace.
        let time = now.saturating_sub(since).max(Duration::from_secs(1));
        let seconds = (ended > 0).then(|| time.as_secs_f64() * open as f64 / ended as f64)?;
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }
}

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
    fn downloads_are_held_back_by_old_results_and_by_a_full_disk_and_by_nothing_else() {
        let limits = HoldLimits { result_age: Duration::from_secs(600), free_percent: 5 };
        let room = |free, total| Some(StorageRoom { free, total });
        let age = |seconds| Some(Duration::from_secs(seconds));
        for (age, room, held) in [
            (None, None, None),
            (age(600), room(5, 100), None),
            (age(601), room(5, 100), Some(HeldBack::ResultsWait)),
            (None, room(4, 100), Some(HeldBack::StorageFull)),
            (age(601), room(0, 100), Some(HeldBack::ResultsWait)),
            (None, room(u64::MAX / 20, u64::MAX), Some(HeldBack::StorageFull)),
            (None, room(u64::MAX, u64::MAX), None),
            (None, room(0, 0), None),
        ] {
            assert_eq!(held_back(limits, age, room), held, "{age:?} {room:?}");
        }
        let never = HoldLimits { result_age: Duration::MAX, free_percent: 0 };
        assert_eq!(held_back(never, age(u64::MAX), room(0, 100)), None);
    }

    #[test]
    fn the_time_to_drain_is_by_the_last_five_minutes() {
        let at = Duration::from_secs;
        let mut ended = Completions::default();
        assert_eq!(ended.time_to_drain(10, at(50)), None, "nothing has ended");
        assert_eq!(ended.time_to_drain(0, at(50)), Some(Duration::ZERO));
        (0..100).for_each(|second| ended.add(at(1_000 + second)));
        assert_eq!(ended.time_to_drain(50, at(1_100)), Some(at(50)), "one a second");
        assert_eq!(ended.time_to_drain(50, at(2_000)), None, "long ago");
        (0..100_000).for_each(|minute| ended.add(at(minute * 60)));
        assert_eq!(ended.minutes.len(), 5);
        assert_eq!(ended.time_to_drain(5, at(99_999 * 60 + 59)), Some(at(299)));
        assert_eq!(
            ended.time_to_drain(u64::MAX, at(99_999 * 60 + 59)),
            Some(Duration::try_from_secs_f64(299.0 * u64::MAX as f64 / 5.0).unwrap_or(Duration::MAX))
        );
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
