//! How much room the file system of the file has.

use std::path::Path;

use crate::ports::StorageRoom;

/// Free and total bytes for this user; `None` when the system does not say.
#[cfg(unix)]
pub(super) fn of(path: &Path) -> Option<StorageRoom> {
    let found = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Some(StorageRoom { free: bytes(found.f_bavail), total: bytes(found.f_blocks) })
}

/// Not known on this system.
#[cfg(not(unix))]
pub(super) fn of(_: &Path) -> Option<StorageRoom> {
    None
}
