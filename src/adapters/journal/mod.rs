//! Journals that survive the process.

#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "sqlite")]
pub use sqlite::{JournalOpenError, JournalOpenErrorKind, PowerCut, SqliteJournal, SqliteJournalOptions};
