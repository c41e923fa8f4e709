//! The runtime on plain threads: some for CPU work, one for timers, all joined when it is dropped.

use core::fmt;
use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::thread::{self, JoinHandle, Thread};
use std::time::Instant;

use crate::ports::{Busy, Runtime};
use crate::time::Timestamp;

type Job = Box<dyn FnOnce() + Send>;

/// CPU threads with a bounded queue, and a timer thread. Needs no async runtime; works inside any.
///
/// Dropping it joins its threads: running jobs finish, waiting ones are dropped unrun.
pub struct StdRuntime {
    start: Instant,
    work: Arc<Shared<Work>>,
    timers: Arc<Shared<Timers>>,
    threads: Vec<JoinHandle<()>>,
    most_waiting: usize,
}

#[derive(Default)]
struct Shared<T> {
    state: Mutex<T>,
    changed: Condvar,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, T> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Work {
    waiting: VecDeque<Job>,
    closed: bool,
}

#[derive(Default)]
struct Timers {
    sleepers: BTreeMap<(Instant, u64), Waker>,
    next: u64,
    closed: bool,
}

impl StdRuntime {
    /// One thread for each CPU, up to 1,024 jobs waiting.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn new() -> std::io::Result<Self> {
        Self::with_threads(thread::available_parallelism().map_or(1, NonZeroUsize::get), 1_024)
    }

    /// So many CPU threads (at least one), and at most so many jobs waiting.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn with_threads(threads: usize, most_waiting: usize) -> std::io::Result<Self> {
        let mut runtime = Self { start: Instant::now(), work: Arc::default(), timers: Arc::default(), threads: Vec::new(), most_waiting };
        for number in 0..threads.max(1) {
            let work = Arc::clone(&runtime.work);
            runtime.threads.push(thread::Builder::new().name(format!("connector-cpu-{number}")).spawn(move || run_jobs(&work))?);
        }
        let timers = Arc::clone(&runtime.timers);
        runtime.threads.push(thread::Builder::new().name("connector-timer".to_owned()).spawn(move || run_timers(&timers))?);
        Ok(runtime)
    }

    /// Runs a future on this thread until it is done. Not from inside an async runtime's worker: it blocks the thread.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let mut future = pin!(future);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    }
}

impl fmt::Debug for StdRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StdRuntime").field("threads", &self.threads.len()).field("most_waiting", &self.most_waiting).finish_non_exhaustive()
    }
}

impl Drop for StdRuntime {
    fn drop(&mut self) {
        let unrun = {
            let mut work = self.work.lock();
            work.closed = true;
            core::mem::take(&mut work.waiting)
        };
        drop(unrun);
        self.timers.lock().closed = true;
        self.work.changed.notify_all();
        self.timers.changed.notify_all();
        let own = thread::current().id();
        for thread in self.threads.drain(..) {
            // The last reference may be dropped by a job: such a thread ends by itself.
            if thread.thread().id() != own {
                let _ = thread.join();
            }
        }
    }
}

fn run_jobs(work: &Shared<Work>) {
    loop {
        let job = {
            let mut state = work.lock();
            loop {
                if state.closed {
                    return;
                }
                if let Some(job) = state.waiting.pop_front() {
                    break job;
                }
                state = work.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        };
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

fn run_timers(timers: &Shared<Timers>) {
    let mut state = timers.lock();
    while !state.closed {
        let now = Instant::now();
        let later = state.sleepers.split_off(&(now, u64::MAX));
        let due = core::mem::replace(&mut state.sleepers, later);
        if !due.is_empty() {
            drop(state);
            for waker in due.into_values() {
                let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
            }
            state = timers.lock();
            continue;
        }
        state = match state.sleepers.first_key_value() {
            Some(((first, _), _)) => {
                let wait = first.saturating_duration_since(now);
                timers.changed.wait_timeout(state, wait).map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state)
            }
            None => timers.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

/// Ready at `until`; takes itself from the timers when dropped.
struct Sleep {
    timers: Arc<Shared<Timers>>,
    until: Instant,
    id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.until {
            return Poll::Ready(());
        }
        let timers = Arc::clone(&self.timers);
        let mut state = timers.lock();
        let id = self.id.unwrap_or_else(|| {
            state.next = state.next.wrapping_add(1);
            state.next
        });
        self.id = Some(id);
        state.sleepers.insert((self.until, id), context.waker().clone());
        if state.sleepers.first_key_value().is_some_and(|(first, _)| *first == (self.until, id)) {
            timers.changed.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let waker = self.timers.lock().sleepers.remove(&(self.until, id));
            drop(waker);
        }
    }
}

impl Runtime for StdRuntime {
    fn now(&self) -> Timestamp {
        Timestamp::system_now()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let now = Instant::now();
        // A century stands for ever: `Instant` cannot hold every sum.
        let until = now.checked_add(duration).unwrap_or(now + Duration::from_secs(100 * 365 * 86_400));
        Box::pin(Sleep { timers: Arc::clone(&self.timers), until, id: None })
    }

    fn offload(&self, job: Job) -> Result<(), Busy> {
        let mut state = self.work.lock();
        if state.closed || state.waiting.len() >= self.most_waiting {
            drop(state);
            return Err(Busy);
        }
        state.waiting.push_back(job);
        drop(state);
        self.work.changed.notify_one();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn timers_fire_in_order_and_dropped_ones_leave_nothing_behind() {
        let runtime = StdRuntime::with_threads(1, 4).unwrap();
        let start = runtime.monotonic();
        runtime.block_on(async {
            let late = runtime.sleep(Duration::from_secs(3_600));
            let early = runtime.sleep(Duration::from_millis(15));
            futures_util::future::select(late, early).await;
        });
        let took = runtime.monotonic() - start;
        assert!(took >= Duration::from_millis(15) && took < Duration::from_secs(60), "{took:?}");
        assert!(runtime.timers.lock().sleepers.is_empty());
    }

    #[test]
    fn the_job_queue_is_bounded_and_a_panicking_job_kills_no_thread() {
        let runtime = StdRuntime::with_threads(1, 1).unwrap();
        let (started, running) = mpsc::channel();
        let (release, held) = mpsc::channel::<()>();
        runtime
            .offload(Box::new(move || {
                started.send(()).unwrap();
                held.recv().unwrap();
                panic!("contained");
            }))
            .unwrap();
        running.recv().unwrap();
        let (done, finished) = mpsc::channel();
        runtime.offload(Box::new(move || done.send(7).unwrap())).unwrap();
        assert_eq!(runtime.offload(Box::new(|| ())), Err(Busy));
        release.send(()).unwrap();
        assert_eq!(finished.recv().unwrap(), 7);
    }

    #[test]
    fn dropping_joins_the_threads_and_drops_waiting_jobs_unrun() {
        let runtime = StdRuntime::with_threads(1, 8).unwrap();
        let (started, running) = mpsc::channel();
        let (release, held) = mpsc::channel::<()>();
        let (ran, seen) = mpsc::channel();
        runtime
            .offload(Box::new(move || {
                started.send(()).unwrap();
                let _ = held.recv();
                ran.send("running").unwrap();
            }))
            .unwrap();
        running.recv().unwrap();
        let (other, unrun) = mpsc::channel::<()>();
        runtime.offload(Box::new(move || other.send(()).unwrap())).unwrap();
        drop(release);
        drop(runtime);
        assert_eq!(seen.try_recv(), Ok("running"));
        // Either outcome of the race is allowed for the waiting job, but nothing is left running after the drop.
        assert!(matches!(unrun.try_recv(), Ok(()) | Err(mpsc::TryRecvError::Disconnected)));
    }
}
