//! Ports in memory: for tests, examples and small set-ups that may lose everything with the process.

mod journal;
mod keys;
mod queue;
mod registration_authority;
mod sink;

pub use journal::VolatileJournal;
pub use keys::MemoryDecryptionKeys;
pub use queue::InMemoryQueue;
pub use registration_authority::InMemoryRegistrationAuthorities;
pub use sink::RecordingSink;
