//! Clocks, timers and CPU threads.

mod std;
#[cfg(feature = "tokio")]
mod tokio;
mod virtual_time;

pub use self::std::StdRuntime;
#[cfg(feature = "tokio")]
pub use self::tokio::TokioRuntime;
pub use self::virtual_time::{Stalled, VirtualRuntime};
