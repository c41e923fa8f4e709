//! A clock that stands still until everything waits, and then jumps to the next timer: hours of backoff in no time, the same each time.

use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use crate::ports::{Busy, Runtime};
use crate::time::Timestamp;

/// A runtime for tests and simulations: time passes only when everything waits, and CPU work is done at once, on the caller's thread.
///
/// Clones share one clock. Nothing that waits for the outside world (sockets, threads) works under it.
#[derive(Debug, Clone)]
pub struct VirtualRuntime {
    start: Timestamp,
    clock: Arc<Mutex<Clock>>,
}

/// It would go on for ever: everything waits and no timer runs, or it does not come to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it never ends: everything waits and no timer runs, or it was polled {MOST_POLLS} times")]
pub struct Stalled;

/// So often a future is polled; one that does hours of a connector's work is polled some hundred thousand times.
const MOST_POLLS: u32 = 5_000_000;

#[derive(Debug, Default)]
struct Clock {
    now: Duration,
    next: u64,
    sleepers: BTreeMap<(Duration, u64), Waker>,
}

impl VirtualRuntime {
    /// A clock that stands at this time.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self { start, clock: Arc::default() }
    }

    /// Polls the future until it is ready; whenever it waits, time jumps to the next timer.
    ///
    /// # Errors
    /// [`Stalled`] when it waits for something else than a timer, or was polled five million times.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> Result<T, Stalled> {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut future = pin!(future);
        for _ in 0..MOST_POLLS {
            if woken.0.swap(false, Ordering::SeqCst) {
                if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return Ok(value);
                }
            } else {
                self.jump()?;
            }
        }
        Err(Stalled)
    }

    /// Lets so much time pass, and wakes what waited for it.
    pub fn advance(&self, by: Duration) {
        let until = self.monotonic().saturating_add(by);
        self.pass_until(until);
    }

    fn jump(&self) -> Result<(), Stalled> {
        let (first, _) = *self.lock().sleepers.keys().next().ok_or(Stalled)?;
        self.pass_until(first);
        Ok(())
    }

    fn pass_until(&self, until: Duration) {
        let due = {
            let mut clock = self.lock();
            clock.now = clock.now.max(until);
            let later = clock.sleepers.split_off(&(until, u64::MAX));
            core::mem::replace(&mut clock.sleepers, later)
        };
        due.into_values().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runtime for VirtualRuntime {
    fn now(&self) -> Timestamp {
        self.start.saturating_add(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        self.lock().now
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut clock = self.lock();
        clock.next += 1;
        Box::pin(Sleep { until: clock.now.saturating_add(duration), id: clock.next, runtime: self.clone() })
    }

    fn offload(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Busy> {
        job();
        Ok(())
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Sleep {
    runtime: VirtualRuntime,
    until: Duration,
    id: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut clock = self.runtime.lock();
        if clock.now >= self.until {
            return Poll::Ready(());
        }
        let before = clock.sleepers.insert((self.until, self.id), context.waker().clone());
        drop(clock);
        // A waker may own the task that it wakes, with sleeps of its own.
        drop(before);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let waker = self.runtime.lock().sleepers.remove(&(self.until, self.id));
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_pass_at_once_and_in_order() {
        let runtime = VirtualRuntime::new(Timestamp::from_secs(1_800_000_000));
        let day = Duration::from_secs(86_400);
        let (first, second) = (runtime.sleep(day), runtime.sleep(2 * day));
        let times = runtime.block_on(async {
            first.await;
            let after_first = runtime.monotonic();
            second.await;
            (after_first, runtime.monotonic())
        });
        assert_eq!(times, Ok((day, 2 * day)));
        assert_eq!(runtime.now(), Timestamp::from_secs(1_800_000_000 + 2 * 86_400));
    }

    #[test]
    fn what_waits_for_no_timer_or_never_ends_is_told() {
        let runtime = VirtualRuntime::new(Timestamp::default());
        assert_eq!(runtime.block_on(core::future::pending::<()>()), Err(Stalled));
        let restless = core::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert_eq!(runtime.block_on(restless), Err(Stalled));
    }
}
