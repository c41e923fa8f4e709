//! Ready-made implementations of the ports. The in-memory ones are always there and lose everything with the process.

mod local_ca;
mod memory;
mod runtime;

pub use local_ca::{LedgerEntry, LocalCa, LocalCaError, LocalCaFault, LocalCaFaults, Repeats};
pub use memory::{InMemoryQueue, MemoryDecryptionKeys, RecordingSink, VolatileJournal};
pub use runtime::StdRuntime;
#[cfg(feature = "tokio")]
pub use runtime::TokioRuntime;
