//! Ready-made implementations of the ports. The in-memory ones are always there and lose everything with the process.

mod memory;
mod runtime;

pub use memory::{InMemoryQueue, MemoryDecryptionKeys, RecordingSink, VolatileJournal};
pub use runtime::StdRuntime;
#[cfg(feature = "tokio")]
pub use runtime::TokioRuntime;
