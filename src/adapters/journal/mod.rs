//! Journals that survive the process.

#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod codes;
//PG mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

//PG pub use postgres::{PostgresJournal, PostgresJournalOptions, PostgresOpenError, PostgresOpenErrorKind};
#[cfg(feature = "sqlite")]
pub use sqlite::{JournalOpenError, JournalOpenErrorKind, PowerCut, SqliteJournal, SqliteJournalOptions};
