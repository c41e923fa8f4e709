//! A runtime whose clock moves only when nothing else can: hours of waiting pass at once, and the same way each time.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic, reason = "support of tests, each of which uses a part of it")]

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use intune_connector::ports::{Busy, Runtime};
use intune_connector::time::Timestamp;

#[derive(Debug, Default)]
struct Clock {
    now: Duration,
    next: u64,
    sleepers: BTreeMap<(Duration, u64), Waker>,
}

/// The clock starts at [`START`]; CPU work runs at once.
#[derive(Debug, Clone, Default)]
pub struct VirtualRuntime(Arc<Mutex<Clock>>);

pub const START: Timestamp = Timestamp::from_secs(1_790_000_000);

impl VirtualRuntime {
    pub fn advance(&self, by: Duration) {
        let due = {
            let mut clock = self.0.lock().unwrap();
            clock.now += by;
            let now = clock.now;
            let later = clock.sleepers.split_off(&(now, u64::MAX));
            std::mem::replace(&mut clock.sleepers, later)
        };
        due.into_values().for_each(Waker::wake);
    }

    /// Runs to the end; whenever it waits, the clock goes to the next sleeper.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        for _ in 0..100_000 {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            if woken.0.swap(false, Ordering::SeqCst) {
                continue;
            }
            let (now, next) = {
                let clock = self.0.lock().unwrap();
                (clock.now, clock.sleepers.keys().next().map(|(at, _)| *at))
            };
            self.advance(next.expect("it waits for something that never comes").saturating_sub(now));
        }
        panic!("it never ends");
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Sleep {
    runtime: VirtualRuntime,
    until: Duration,
    id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let shared = Arc::clone(&self.runtime.0);
        let mut clock = shared.lock().unwrap();
        if clock.now >= self.until {
            return Poll::Ready(());
        }
        clock.next += 1;
        let id = *self.id.get_or_insert(clock.next);
        clock.sleepers.insert((self.until, id), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let waker = self.runtime.0.lock().unwrap().sleepers.remove(&(self.until, id));
            drop(waker);
        }
    }
}

impl Runtime for VirtualRuntime {
    fn now(&self) -> Timestamp {
        START.saturating_add(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().unwrap().now
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(Sleep { runtime: self.clone(), until: self.monotonic().saturating_add(duration), id: None })
    }

    fn offload(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Busy> {
        job();
        Ok(())
    }
}
