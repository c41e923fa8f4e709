//! Small file systems of a test's own, to be really filled and really made read-only. Linux, with the right to mount; else the test is skipped.

#![allow(dead_code, clippy::unwrap_used, reason = "support of tests, each of which uses a part of it")]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support;

/// Mounted until it is dropped.
pub struct Mount {
    folder: tempfile::TempDir,
    at: PathBuf,
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

impl Mount {
    /// A tmpfs of so many KiB; `None` (after saying so) where mounting is not allowed.
    pub fn tmpfs(kib: usize) -> Option<Self> {
        Self::with(|command, _| command.args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"]))
    }

    /// An ext4 of so many MiB on a loop device; `None` (after saying so) where that is not possible.
    pub fn ext4(mib: u64) -> Option<Self> {
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        Self::with(|command, folder| {
            let image = folder.join("image");
            File::create(&image).unwrap().set_len(mib << 20).unwrap();
            // What cannot be made cannot be mounted.
            succeeds(Command::new("mkfs.ext4").env("PATH", path).args(["-q", "-F"]).arg(&image));
            command.args(["-o", "loop"]).arg(image)
        })
    }

    fn with(arguments: impl for<'a> FnOnce(&'a mut Command, &Path) -> &'a mut Command) -> Option<Self> {
        let folder = support::scratch();
        let at = folder.path().join("mounted");
        fs::create_dir(&at).unwrap();
        let mut command = Command::new("mount");
        if !succeeds(arguments(&mut command, folder.path()).arg(&at)) {
            support::skip("the right to mount a file system");
            return None;
        }
        Some(Self { folder, at })
    }

    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Mounts it with other options; false when the system refuses.
    pub fn remount(&self, options: &str) -> bool {
        remount(&self.at, options)
    }

    /// Fills it to the last byte.
    pub fn fill(&self) {
        fill(&self.at);
    }

    pub fn free(&self) {
        fs::remove_file(self.at.join("ballast")).unwrap();
    }
}

/// Mounts what is mounted there with other options; false when the system refuses.
pub fn remount(at: &Path, options: &str) -> bool {
    succeeds(Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(at))
}

/// Fills the file system of that folder to the last byte.
pub fn fill(folder: &Path) {
    let mut ballast = File::options().create(true).append(true).open(folder.join("ballast")).unwrap();
    for size in [65_536, 4_096, 512, 1] {
        while ballast.write_all(&vec![0xB5; size]).is_ok() {}
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).output();
    }
}
