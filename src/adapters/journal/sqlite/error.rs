//! What goes wrong with the file, said in terms of what to do about it. SQLite's own text is not passed on.

use core::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::ports::{PortError, PortErrorKind};
use crate::retry::Effect;

/// Why a journal was not opened; the kind is for programs, the text for operators.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct JournalOpenError {
    /// What is wrong.
    pub kind: JournalOpenErrorKind,
    /// The file, as an absolute path where one could be made.
    pub path: PathBuf,
}

/// What is wrong with a journal that was not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum JournalOpenErrorKind {
    /// Another process, or another journal of this process, has it open.
    InUse,
    /// The file, its folder or the file system cannot be written.
    ReadOnly,
    /// The file system has no space left.
    DiskFull,
    /// The file is no SQLite database.
    NotADatabase,
    /// The file is an SQLite database of another program.
    NotAJournal,
    /// The file was written by a newer version of this crate.
    NewerSchema {
        /// The version of the file.
        found: i64,
        /// The newest version that this crate reads.
        known: i64,
    },
    /// The file is damaged.
    Damaged,
    /// The file cannot be opened or made.
    CannotOpen {
        /// What the system says.
        reason: String,
    },
}

impl fmt::Display for JournalOpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.kind {
            JournalOpenErrorKind::InUse => {
                write!(f, "the journal {path} is in use: one process has it at a time, so stop the other one or give each its own file")
            }
            JournalOpenErrorKind::ReadOnly => write!(
                f,
                "the journal {path} cannot be written: make the file and its folder writable for this user, and the file system read-write"
            ),
            JournalOpenErrorKind::DiskFull => {
                write!(f, "the journal {path} cannot be made or changed: the file system is full, so free some space")
            }
            JournalOpenErrorKind::NotADatabase => {
                write!(f, "{path} is no SQLite database: name another file, or move this one away to start with an empty journal")
            }
            JournalOpenErrorKind::NotAJournal => write!(f, "{path} is an SQLite database of another program: name another file"),
            JournalOpenErrorKind::NewerSchema { found, known } => write!(
                f,
                "the journal {path} has schema version {found}, and this program knows versions up to {known}: run the program that wrote it, or a newer one"
            ),
            JournalOpenErrorKind::Damaged => write!(
                f,
                "the journal {path} is damaged: check the disk, keep a copy, and restore the file from a backup or repair it with `sqlite3 FILE .recover`"
            ),
            JournalOpenErrorKind::CannotOpen { reason } => write!(f, "the journal {path} cannot be opened: {reason}"),
        }
    }
}

impl JournalOpenError {
    pub(super) fn new(kind: JournalOpenErrorKind, path: &Path) -> Self {
        Self { kind, path: path.to_owned() }
    }

    pub(super) fn from_io(error: &io::Error, path: &Path) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem => JournalOpenErrorKind::ReadOnly,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => JournalOpenErrorKind::DiskFull,
            _ => JournalOpenErrorKind::CannotOpen { reason: error.to_string() },
        };
        Self::new(kind, path)
    }

    pub(super) fn from_sql(error: &rusqlite::Error, path: &Path) -> Self {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => JournalOpenErrorKind::InUse,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => JournalOpenErrorKind::ReadOnly,
            // The file itself was found before: what cannot be opened or made is the log beside it.
            Some(ErrorCode::CannotOpen) => JournalOpenErrorKind::ReadOnly,
            Some(ErrorCode::DiskFull) => JournalOpenErrorKind::DiskFull,
            Some(ErrorCode::NotADatabase) => JournalOpenErrorKind::NotADatabase,
            Some(ErrorCode::DatabaseCorrupt) => JournalOpenErrorKind::Damaged,
            Some(ErrorCode::SystemIoFailure) => JournalOpenErrorKind::CannotOpen { reason: format!("the disk failed ({})", code(error)) },
            // A journal whose tables are not as this crate makes them.
            Some(ErrorCode::Unknown) => JournalOpenErrorKind::Damaged,
            _ => match error {
                rusqlite::Error::SqlInputError { .. } => JournalOpenErrorKind::Damaged,
                _ => JournalOpenErrorKind::CannotOpen { reason: code(error) },
            },
        };
        Self::new(kind, path)
    }
}

/// The number that SQLite's documentation explains.
fn code(error: &rusqlite::Error) -> String {
    error.sqlite_extended_error_code().map_or_else(|| "no SQLite code".to_owned(), |code| format!("SQLite {code}"))
}

/// The same for a journal at work.
pub(super) fn port_error(error: &rusqlite::Error, effect: Effect, path: &Path) -> PortError {
    let (kind, what) = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => (PortErrorKind::Transient, "the disk is full: free some space, and it works again"),
        Some(ErrorCode::SystemIoFailure) => {
            (PortErrorKind::Transient, "the disk failed or became read-only: look into the system's log, then start the program anew")
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            (PortErrorKind::Misconfigured, "it cannot be written: make file, folder and file system writable")
        }
        Some(ErrorCode::CannotOpen) => {
            (PortErrorKind::Misconfigured, "a file beside it cannot be opened: the folder must exist and be writable")
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            (PortErrorKind::Misconfigured, "it is damaged: stop the program, check the disk, and restore the file from a backup")
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
            (PortErrorKind::Transient, "another process holds its lock: one process has it at a time")
        }
        Some(ErrorCode::OutOfMemory) => (PortErrorKind::Transient, "there is not enough memory"),
        Some(_) => (PortErrorKind::Transient, "SQLite failed"),
        None => (PortErrorKind::Misconfigured, "it holds what no version of this crate wrote: restore the file from a backup"),
    };
    PortError::new(kind, format!("the journal {}: {what}", path.display())).with_effect(effect).with_code(code(error))
}

/// For a row that holds a number out of range, or something else than a number.
pub(super) fn damaged_row(id: i64, path: &Path) -> PortError {
    PortError::misconfigured(format!(
        "the journal {}: row {id} holds what no version of this crate wrote: the file is damaged, so restore it from a backup",
        path.display()
    ))
}

/// For a row that holds a value which this version does not know.
pub(super) fn unknown_value(id: i64, what: &str, value: i64, path: &Path) -> PortError {
    PortError::misconfigured(format!(
        "the journal {}: row {id} has the {what} {value}, which this version does not know: it is of a newer version, or damaged",
        path.display()
    ))
}
