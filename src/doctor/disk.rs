//! Folders that must be writable, and files that hold secrets.
//!
//! Free space cannot be asked for with Rust's standard library: a probe file of some size is written, synced and removed instead.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use super::report::{Check, Finding};
use super::scope::Scope;

/// Written in pieces of this size.
const PIECE: usize = 64 << 10;

pub(super) async fn folder(scope: &Scope, path: &Path, probe: usize) -> Vec<Finding> {
    let (subject, path) = (path.display().to_string(), path.to_owned());
    let mut name = [0u8; 8];
    if let Ok(random) = scope.provider.random() {
        // Without randomness the name is the same each time, and an old probe file is an error that says so.
        let _ = random.fill(&mut name);
    }
    let name = u64::from_be_bytes(name);
    let work = async {
        let shown = subject.clone();
        match scope.offload(move || judge_folder(&shown, &path, name, probe)).await {
            Ok(findings) => findings,
            Err(why) => vec![Finding::error(Check::Disk, &subject, why, "run the check again")],
        }
    };
    scope.guard(Check::Disk, &subject, work).await
}

fn judge_folder(subject: &str, path: &Path, name: u64, probe: usize) -> Vec<Finding> {
    let probe_path = path.join(format!(".intune-connector-doctor-{name:016x}"));
    let written = write_probe(&probe_path, probe);
    let mut findings = vec![match written {
        Ok(()) => {
            let room = probe >> 10;
            Finding::ok(
                Check::Disk,
                subject,
                format!("it can be written to, and has room for {room} KiB; the free space itself is not known here"),
            )
        }
        Err(error) => {
            let cure = match error.kind() {
                ErrorKind::NotFound => "make the folder, or correct the setting that names it",
                ErrorKind::PermissionDenied => "let the connector's account write to it",
                ErrorKind::ReadOnlyFilesystem => "mount it writable, or name another folder",
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space, or raise the quota: without it nothing is issued",
                _ => "see the disk and the system's log",
            };
            Finding::error(Check::Disk, subject, format!("a file cannot be written to it: {error}"), cure)
        }
    }];
    findings.extend(open_to_others(Check::Disk, subject, path, 0o022, "chmod go-w"));
    findings
}

/// The probe file goes away in every case.
fn write_probe(path: &Path, bytes: usize) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let written = fill(&mut file, bytes).and_then(|()| file.sync_all());
    drop(file);
    let removed = fs::remove_file(path);
    written.and(removed)
}

fn fill(file: &mut File, bytes: usize) -> io::Result<()> {
    let piece = vec![0xa5_u8; PIECE.min(bytes)];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(piece.len());
        file.write_all(piece.get(..now).unwrap_or(&piece))?;
        left -= now;
    }
    Ok(())
}

pub(super) async fn secret_file(scope: &Scope, path: &Path) -> Vec<Finding> {
    let (subject, path) = (path.display().to_string(), path.to_owned());
    let work = async {
        let shown = subject.clone();
        match scope.offload(move || judge_secret_file(&shown, &path)).await {
            Ok(findings) => findings,
            Err(why) => vec![Finding::error(Check::SecretFile, &subject, why, "run the check again")],
        }
    };
    scope.guard(Check::SecretFile, &subject, work).await
}

fn judge_secret_file(subject: &str, path: &Path) -> Vec<Finding> {
    let error = |what: String, cure: &str| vec![Finding::error(Check::SecretFile, subject, what, cure)];
    // Opened, not read: what is in it is nobody's business here.
    let is_folder = match fs::metadata(path) {
        // Opening a named pipe waits for whoever writes to it.
        Ok(metadata) if !metadata.is_dir() && !metadata.is_file() => {
            return error("it is neither a file nor a folder".to_owned(), "put the file there, or correct the setting that names it");
        }
        Ok(metadata) => metadata.is_dir(),
        Err(why) => return error(format!("it cannot be looked at: {why}"), "put the file there, or correct the setting that names it"),
    };
    let opened = if is_folder { fs::read_dir(path).map(drop) } else { File::open(path).map(drop) };
    if let Err(why) = opened {
        return error(format!("it cannot be opened: {why}"), "let the connector's account, and nobody else, read it");
    }
    let change = if is_folder { "chmod 0700" } else { "chmod 0600" };
    let mut findings: Vec<Finding> = open_to_others(Check::SecretFile, subject, path, 0o077, change).into_iter().collect();
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        findings.extend(open_to_others(Check::SecretFile, subject, folder, 0o022, "chmod go-w"));
    }
    if findings.is_empty() {
        findings.push(if cfg!(unix) {
            Finding::ok(Check::SecretFile, subject, "its owner alone can read it")
        } else {
            Finding::skipped(Check::SecretFile, subject, "it can be opened; access lists are not read on this system")
        });
    }
    findings
}

/// Whether others may do what the bits of `mask` allow.
#[cfg(unix)]
fn open_to_others(check: Check, subject: &str, path: &Path, mask: u32, change: &str) -> Option<Finding> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    // In a folder with the sticky bit nobody replaces another's file.
    let sticky = mask == 0o022 && mode & 0o1000 != 0;
    if mode & mask == 0 || sticky {
        return None;
    }
    let verb = if mask == 0o022 { "write to" } else { "use" };
    let what = format!("others than its owner may {verb} {} (mode {mode:04o})", path.display());
    Some(Finding::warning(check, subject, what, format!("{change} {}", path.display())))
}

#[cfg(not(unix))]
fn open_to_others(_: Check, _: &str, _: &Path, _: u32, _: &str) -> Option<Finding> {
    None
}

/// Where the Intune Connector for Active Directory is installed.
pub(super) fn ad_connector_folders() -> Vec<PathBuf> {
    let programs = std::env::var_os("ProgramFiles").map_or_else(|| PathBuf::from(r"C:\Program Files"), PathBuf::from);
    vec![programs.join("Microsoft Intune").join("ODJConnector")]
}
