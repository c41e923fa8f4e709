//! What may be wrong with a list of sealing keys.

use std::io;
use std::path::PathBuf;

use crate::ports::PortError;

/// Why sealing keys cannot be read or made. It holds nothing of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealingKeyError {
    /// There is a file already, which is never overwritten: what was sealed with its keys could not be read any more.
    #[error("{0} exists already, and is not overwritten; use it, or rotate it")]
    Exists(PathBuf),
    /// A rotation is under way, or one was cut off.
    #[error("{0} is there: another rotation is under way, or one was cut off; when none is, remove it and rotate again")]
    RotationUnderWay(PathBuf),
    /// Others than the owner may use the file.
    #[error("others than its owner may use {path} (mode {mode:04o}): use `chmod 0600`, and new keys when somebody may have read it")]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A folder, a pipe or a device.
    #[error("{0} is not a regular file")]
    NotAFile(PathBuf),
    /// The environment variable is absent.
    #[error("the environment variable `{0}` is not set")]
    NotSet(String),
    /// A list of keys is not longer than 64 KiB.
    #[error("the list of sealing keys is longer than 64 KiB")]
    TooLong,
    /// A key is not written as it must be.
    #[error("key {0} of the list is not 64 hexadecimal digits (32 bytes)")]
    Malformed(usize),
    /// One key stands in two places.
    #[error("key {0} of the list stands there twice: leave the first of the two")]
    Repeated(usize),
    /// There is no key.
    #[error("there is no key; make one with `SealingKeyFile::create`, or with `openssl rand -hex 32`")]
    Empty,
    /// A list has at most 64 keys.
    #[error("there are more than 64 keys: take out those at the end that no row needs any more")]
    TooMany,
    /// The crypto provider gave no random bytes.
    #[error("the crypto provider gave no random bytes for a new key")]
    Random,
    /// The file system refused.
    #[error("{path} cannot be {what}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a participle.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl From<SealingKeyError> for PortError {
    fn from(error: SealingKeyError) -> Self {
        Self::misconfigured(error.to_string())
    }
}
