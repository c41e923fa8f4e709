//! Clocks, timers and CPU threads.

mod std;
#[cfg(feature = "tokio")]
mod tokio;

pub use self::std::StdRuntime;
#[cfg(feature = "tokio")]
pub use self::tokio::TokioRuntime;
