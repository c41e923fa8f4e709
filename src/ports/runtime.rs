//! Time and threads.

use core::fmt::Debug;
use core::future::Future;
use core::pin::Pin;
use core::time::Duration;

use crate::time::Timestamp;

/// The off-load queue is full: try again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue of CPU work is full")]
pub struct Busy;

/// Clocks, timers and CPU threads. `StdRuntime` is always there; the feature `tokio` brings another.
pub trait Runtime: Debug + Send + Sync {
    /// The wall clock, for certificates, deadlines and events.
    fn now(&self) -> Timestamp;

    /// Time since some fixed point, never going back, for backoff and durations.
    fn monotonic(&self) -> Duration;

    /// Ready after that time.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// Runs CPU work on another thread, or refuses at once.
    ///
    /// # Errors
    /// [`Busy`] when the bounded queue is full; the job is dropped unrun.
    fn offload(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Busy>;
}
