//! Sealing keys in a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::SealingKeyError;
use super::text;
use crate::crypto::CryptoProvider;
use crate::ports::{PortError, SealingKey};
use crate::secret::SecretBytes;

/// Sealing keys in a file: one key a line, as 64 hexadecimal digits, the current one first. Lines that start with `#` are comments.
///
/// It is read each time that the keys are asked for, so that a rotation needs no restart. On Unix it is refused when others than its owner may
/// use it; elsewhere, see to its access list. Let it lie apart from the journal, on a disk whose backups lie apart too.
///
/// ```
/// use intune_connector::adapters::SealingKeyFile;
/// use intune_connector::crypto::CryptoProvider;
/// use intune_connector::ports::SealingKey as _;
///
/// let provider = CryptoProvider::ring_and_aws_lc_rs();
/// let folder = tempfile::tempdir()?;
/// let keys = SealingKeyFile::create(folder.path().join("sealing.keys"), &provider)?;
/// let first = keys.keys()?;
/// keys.rotate(&provider)?;
/// assert_eq!(keys.keys()?[1].secret_bytes(), first[0].secret_bytes(), "older rows still open");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SealingKeyFile {
    path: PathBuf,
    /// Permissions that are refused.
    refused: u32,
}

impl SealingKeyFile {
    /// The keys in this file, which is not read before they are asked for.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned(), refused: 0o077 }
    }

    /// Makes a file with one new key, readable for its owner alone. A file that is there is never overwritten: match
    /// [`SealingKeyError::Exists`] to go on with it.
    ///
    /// # Errors
    /// [`SealingKeyError`] when the file exists, when it cannot be written, and when the provider gives no random bytes.
    pub fn create(path: impl AsRef<Path>, provider: &CryptoProvider) -> Result<Self, SealingKeyError> {
        let made = Self::new(path);
        let key = new_key(provider)?;
        match write_new(&made.path, text::line(&key, b"").secret_bytes()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(SealingKeyError::Exists(made.path)),
            Err(error) => {
                return Err(made.failed("written", error));
            }
        }
        sync_folder_of(&made.path)?;
        Ok(made)
    }

    /// Lets the file's group read it, for mounted secrets of containers whose modes cannot be set. Every account of the group can then read and
    /// forge what the journal keeps.
    #[must_use]
    pub fn dangerous_allow_group_to_read(mut self) -> Self {
        self.refused = 0o037;
        self
    }

    /// Puts a new key before those that are there, which stay to open older rows; the file is replaced as a whole. Gives how many keys there are
    /// now. Where instances have files of their own, do not use it: [`SealingKey`] says how to rotate them.
    ///
    /// # Errors
    /// [`SealingKeyError`] when the file cannot be read or replaced, when another rotation is under way, and when there are 64 keys already.
    pub fn rotate(&self, provider: &CryptoProvider) -> Result<usize, SealingKeyError> {
        // Not the link to it.
        let path = fs::canonicalize(&self.path).map_err(|error| self.failed("read", error))?;
        let mut name = path.file_name().ok_or_else(|| SealingKeyError::NotAFile(self.path.clone()))?.to_owned();
        name.push(".new");
        let next = path.with_file_name(name);
        // Its name is the lock: of two rotations at once, the slower one would take the other's new key away.
        let mut file = match new_file(&next) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(SealingKeyError::RotationUnderWay(next)),
            Err(source) => return Err(SealingKeyError::Io { path: next, what: "written", source }),
        };
        let replaced = self.replace(&mut file, &next, &path, provider);
        if replaced.is_err() {
            let _ = fs::remove_file(&next);
        }
        let keys = replaced?;
        sync_folder_of(&path)?;
        Ok(keys)
    }

    fn replace(&self, file: &mut File, next: &Path, path: &Path, provider: &CryptoProvider) -> Result<usize, SealingKeyError> {
        let before = self.read()?;
        text::read(before.secret_bytes())?;
        let content = text::line(&new_key(provider)?, before.secret_bytes());
        // What is written is what will be read, or nothing is.
        let keys = text::read(content.secret_bytes())?.len();
        let written = same_readers(path, file).and_then(|()| file.write_all(content.secret_bytes())).and_then(|()| file.sync_all());
        written.and_then(|()| fs::rename(next, path)).map_err(|error| self.failed("replaced", error))?;
        Ok(keys)
    }

    fn read(&self) -> Result<SecretBytes, SealingKeyError> {
        // Opening a pipe would wait for whoever writes to it.
        let looked_at = fs::metadata(&self.path).map_err(|error| self.failed("read", error))?;
        if !looked_at.is_file() {
            return Err(SealingKeyError::NotAFile(self.path.clone()));
        }
        let file = File::open(&self.path).map_err(|error| self.failed("read", error))?;
        self.check_mode(&file)?;
        // Of the full size from the start, so that no unwiped copy is left by growing.
        let mut content = Vec::with_capacity(text::LONGEST + 1);
        let read = file.take(text::LONGEST as u64 + 1).read_to_end(&mut content);
        let content = SecretBytes::new(content);
        read.map_err(|error| self.failed("read", error))?;
        if content.len() > text::LONGEST { Err(SealingKeyError::TooLong) } else { Ok(content) }
    }

    #[cfg(unix)]
    fn check_mode(&self, file: &File) -> Result<(), SealingKeyError> {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = file.metadata().map_err(|error| self.failed("looked at", error))?.permissions().mode() & 0o7777;
        if mode & self.refused == 0 { Ok(()) } else { Err(SealingKeyError::OpenToOthers { path: self.path.clone(), mode }) }
    }

    #[cfg(not(unix))]
    fn check_mode(&self, _: &File) -> Result<(), SealingKeyError> {
        Ok(())
    }

    fn failed(&self, what: &'static str, source: io::Error) -> SealingKeyError {
        SealingKeyError::Io { path: self.path.clone(), what, source }
    }
}

impl SealingKey for SealingKeyFile {
    fn keys(&self) -> Result<Vec<Arc<SecretBytes>>, PortError> {
        Ok(text::read(self.read()?.secret_bytes())?)
    }
}

fn new_key(provider: &CryptoProvider) -> Result<SecretBytes, SealingKeyError> {
    let mut key = SecretBytes::zeroed(text::KEY);
    let filled = provider.random().is_ok_and(|random| random.fill(key.secret_bytes_mut()).is_ok());
    if filled { Ok(key) } else { Err(SealingKeyError::Random) }
}

fn new_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A file that is not there yet; what could not be written whole is taken away again.
fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = new_file(path)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

/// So that the file's name survives a loss of power.
#[cfg(unix)]
fn sync_folder_of(path: &Path) -> Result<(), SealingKeyError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| SealingKeyError::Io { path: folder.to_owned(), what: "synced", source })
}

#[cfg(not(unix))]
fn sync_folder_of(_: &Path) -> Result<(), SealingKeyError> {
    Ok(())
}

/// The new file is for whom the former one was for, also when an administrator rotates a service's keys.
#[cfg(unix)]
fn same_readers(former: &Path, file: &File) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, fchown};
    let (former, new) = (fs::metadata(former)?, file.metadata()?);
    if (former.uid(), former.gid()) != (new.uid(), new.gid()) {
        fchown(file, Some(former.uid()), Some(former.gid()))?;
    }
    file.set_permissions(former.permissions())
}

#[cfg(not(unix))]
fn same_readers(_: &Path, _: &File) -> io::Result<()> {
    Ok(())
}
