//! The runtime on tokio's timer and blocking threads.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use ::tokio::runtime::Handle;

use crate::ports::{Busy, Runtime};
use crate::time::Timestamp;

/// Timers and CPU work on a tokio runtime, which must have its time driver enabled.
pub struct TokioRuntime {
    handle: Handle,
    start: Instant,
    jobs: Arc<AtomicUsize>,
    most_jobs: Option<usize>,
}

impl TokioRuntime {
    /// On the runtime of that handle. CPU work runs by `spawn_blocking`, at most `most_jobs` jobs at a time, waiting ones included.
    #[must_use]
    pub fn new(handle: Handle, most_jobs: usize) -> Self {
        Self { handle, start: Instant::now(), jobs: Arc::new(AtomicUsize::new(0)), most_jobs: Some(most_jobs) }
    }

    /// On the runtime of that handle. CPU work runs at once on the worker that asks for it, which saves two changes of threads a job.
    ///
    /// For a multi-threaded runtime and short jobs alone: the SCEP service with RSA keys in memory works for about a third of a millisecond
    /// at a time. Key generation, PFX files with many rounds and slow tokens would stop all that waits for the same worker.
    #[must_use]
    pub fn with_work_on_the_workers(handle: Handle) -> Self {
        Self { handle, start: Instant::now(), jobs: Arc::new(AtomicUsize::new(0)), most_jobs: None }
    }
}

impl fmt::Debug for TokioRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokioRuntime").field("jobs", &self.jobs).field("most_jobs", &self.most_jobs).finish_non_exhaustive()
    }
}

/// Gives the place back when the job has run, panicked or was dropped unrun.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Runtime for TokioRuntime {
    fn now(&self) -> Timestamp {
        Timestamp::system_now()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let _inside = self.handle.enter();
        Box::pin(::tokio::time::sleep(duration))
    }

    fn offload(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Busy> {
        let Some(most_jobs) = self.most_jobs else {
            job();
            return Ok(());
        };
        let taken = self.jobs.fetch_update(Ordering::AcqRel, Ordering::Acquire, |jobs| (jobs < most_jobs).then_some(jobs + 1));
        if taken.is_err() {
            return Err(Busy);
        }
        let place = Place(Arc::clone(&self.jobs));
        let _detached = self.handle.spawn_blocking(move || {
            let _place = place;
            job();
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_timers_run_on_tokio_and_the_bound_holds() {
        let tokio = ::tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        let runtime = TokioRuntime::new(tokio.handle().clone(), 1);
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (done, finished) = std::sync::mpsc::channel();
        runtime
            .offload(Box::new(move || {
                held.recv().unwrap();
                done.send(()).unwrap();
            }))
            .unwrap();
        assert_eq!(runtime.offload(Box::new(|| ())), Err(Busy));
        release.send(()).unwrap();
        finished.recv().unwrap();
        let before = runtime.monotonic();
        tokio.block_on(runtime.sleep(Duration::from_millis(20)));
        assert!(runtime.monotonic() - before >= Duration::from_millis(20));
    }

    #[test]
    fn work_on_the_workers_is_done_when_the_call_returns() {
        let tokio = ::tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        let runtime = TokioRuntime::with_work_on_the_workers(tokio.handle().clone());
        let here = std::thread::current().id();
        let (done, finished) = std::sync::mpsc::channel();
        runtime.offload(Box::new(move || done.send(std::thread::current().id()).unwrap())).unwrap();
        assert_eq!(finished.try_recv(), Ok(here));
    }
}
