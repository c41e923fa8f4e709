//! One process of the connector: when it ends, when it is stopped, what its wall clock says.

use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use intune_connector::adapters::VirtualRuntime;
use intune_connector::ids::InstanceId;
use intune_connector::ports::{Busy, Runtime};
use intune_connector::time::Timestamp;

/// From its start to its end; the next one on the same machine is another.
#[derive(Debug)]
pub struct Process {
    pub instance: InstanceId,
    /// Different for each process.
    pub number: u32,
    pub clock: Arc<WallClock>,
    fate: Mutex<Fate>,
}

#[derive(Debug)]
struct Fate {
    /// Points that are still passed; `None` for ever.
    left: Option<u64>,
    waiting: Vec<Waker>,
    /// Stopped until then, as by SIGSTOP.
    stopped_until: Duration,
}

impl Process {
    /// It ends at its so many-th point; never without a number.
    pub fn new(instance: InstanceId, number: u32, clock: Arc<WallClock>, points: Option<u64>) -> Arc<Self> {
        let fate = Fate { left: points.map(|points| points.max(1)), waiting: Vec::new(), stopped_until: Duration::ZERO };
        Arc::new(Self { instance, number, clock, fate: Mutex::new(fate) })
    }

    /// Returns when it has ended.
    pub async fn ended(&self) {
        poll_fn(|context| {
            let mut fate = self.fate.lock().unwrap();
            if fate.left == Some(0) {
                return Poll::Ready(());
            }
            if !fate.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                fate.waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    pub fn has_ended(&self) -> bool {
        self.fate.lock().unwrap().left == Some(0)
    }

    /// A point at which it may end: then nothing comes after it.
    pub async fn pass(&self) {
        let waiting = {
            let mut fate = self.fate.lock().unwrap();
            match &mut fate.left {
                Some(0) => Vec::new(),
                Some(left) => {
                    *left -= 1;
                    if *left > 0 {
                        return;
                    }
                    std::mem::take(&mut fate.waiting)
                }
                None => return,
            }
        };
        waiting.into_iter().for_each(Waker::wake);
        pending().await
    }

    /// Stops it for so long: nothing of it runs, though its calls go on outside.
    pub fn stop(&self, now: Duration, time: Duration) {
        self.fate.lock().unwrap().stopped_until = now.saturating_add(time);
    }

    /// Runs what the process does, but while it is stopped.
    pub async fn run<T>(&self, runtime: &VirtualRuntime, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut sleep: Option<Pin<Box<dyn Future<Output = ()> + Send>>> = None;
        poll_fn(|context| {
            loop {
                let (now, until) = (runtime.monotonic(), self.fate.lock().unwrap().stopped_until);
                if until <= now {
                    return work.as_mut().poll(context);
                }
                if sleep.as_mut().is_none_or(|sleep| sleep.as_mut().poll(context).is_ready()) {
                    sleep = Some(runtime.sleep(until - now));
                    continue;
                }
                return Poll::Pending;
            }
        })
        .await
    }
}

/// What the clock on the wall of one machine says beyond the true time, in microseconds.
#[derive(Debug, Default)]
pub struct WallClock(AtomicI64);

impl WallClock {
    pub fn jump(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::Relaxed);
    }

    pub fn at(&self, true_time: Timestamp) -> Timestamp {
        Timestamp::from_micros(true_time.as_micros() + self.0.load(Ordering::Relaxed))
    }
}

/// The true time for timers, the machine's own for the wall clock.
#[derive(Debug)]
pub struct MachineRuntime {
    pub inner: VirtualRuntime,
    pub clock: Arc<WallClock>,
}

impl Runtime for MachineRuntime {
    fn now(&self) -> Timestamp {
        self.clock.at(self.inner.now())
    }

    fn monotonic(&self) -> Duration {
        self.inner.monotonic()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.inner.sleep(duration)
    }

    fn offload(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Busy> {
        self.inner.offload(job)
    }
}
