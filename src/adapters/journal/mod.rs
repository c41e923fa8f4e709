//! Journals that survive the process.

#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod codes;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub use postgres::{PostgresJournal, PostgresJournalOptions, PostgresOpenError, PostgresOpenErrorKind};
#[cfg(feature = "sqlite")]
pub use sqlite::{JournalOpenError, JournalOpenErrorKind, PowerCut, SqliteJournal, SqliteJournalOptions};
