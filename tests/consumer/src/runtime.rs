//! Clocks from the standard library, a thread for each job and each timer.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use intune_connector::ports::{Busy, Runtime};
use intune_connector::time::Timestamp;

const MOST_JOBS: usize = 256;

#[derive(Debug)]
pub struct OwnRuntime {
    start: Instant,
    jobs: Arc<AtomicUsize>,
}

impl OwnRuntime {
    pub fn new() -> Self {
        Self { start: Instant::now(), jobs: Arc::default() }
    }
}

impl Default for OwnRuntime {
    fn default() -> Self {
        Self::new()
    }
}

impl Runtime for OwnRuntime {
    fn now(&self) -> Timestamp {
        Timestamp::system_now()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(Sleep { until: Instant::now() + duration, waker: None })
    }

    fn offload(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Busy> {
        if self.jobs.fetch_add(1, Ordering::SeqCst) >= MOST_JOBS {
            self.jobs.fetch_sub(1, Ordering::SeqCst);
            return Err(Busy);
        }
        let jobs = self.jobs.clone();
        thread::spawn(move || {
            job();
            jobs.fetch_sub(1, Ordering::SeqCst);
        });
        Ok(())
    }
}

struct Sleep {
    until: Instant,
    waker: Option<Arc<Mutex<Waker>>>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Poll::Ready(());
        }
        match &self.waker {
            Some(waker) => waker.lock().unwrap_or_else(PoisonError::into_inner).clone_from(context.waker()),
            None => {
                let waker = Arc::new(Mutex::new(context.waker().clone()));
                self.waker = Some(waker.clone());
                thread::spawn(move || {
                    thread::sleep(left);
                    waker.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
                });
            }
        }
        Poll::Pending
    }
}

/// Runs a future on this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
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
