//! Files and passwords of rows.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use super::list::{ImportRow, PasswordSource};
use crate::event::printable;
use crate::secret::{Password, SecretBytes};

/// The longest file with a password, in bytes.
const PASSWORD_BYTES: usize = 4_096;

/// The folder that the PFX files lie in.
#[derive(Debug, Clone)]
pub struct PfxFolder {
    root: PathBuf,
}

impl PfxFolder {
    /// That folder.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The file and the password of a row.
    ///
    /// # Errors
    /// What is wrong, for people; without the password.
    pub fn load(&self, row: &ImportRow, max_bytes: usize) -> Result<(SecretBytes, Password), String> {
        let name = Path::new(&row.file);
        if !name.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err("the file's name leads out of the folder: give it relative to the folder, without `..`".to_owned());
        }
        let pfx = read(&self.root.join(name), max_bytes)
            .map_err(|error| format!("the file cannot be read: {}", printable(&error.to_string())))?;
        Ok((pfx, self.password(&row.password)?))
    }

    fn password(&self, source: &PasswordSource) -> Result<Password, String> {
        match source {
            PasswordSource::Given(password) => Ok(Password::from(SecretBytes::copy_from(password.secret_bytes()))),
            PasswordSource::Environment(name) => match std::env::var(name) {
                Ok(password) => Ok(Password::from(password)),
                Err(std::env::VarError::NotPresent) => Err(format!("the variable {} with the password is not set", shown(name))),
                Err(std::env::VarError::NotUnicode(_)) => Err(format!("the variable {} does not hold text", shown(name))),
            },
            PasswordSource::File(path) => {
                let path = self.root.join(path);
                // Not named: a password in the wrong column would stand in the result file.
                let unread = |error: io::Error| format!("the file that `password_file` names cannot be read: {error}");
                let mut text = read(&path, PASSWORD_BYTES).map_err(unread)?;
                // Editors add a line end.
                let bytes = text.secret_bytes();
                let bytes = bytes.strip_suffix(b"\n").map_or(bytes, |line| line.strip_suffix(b"\r").unwrap_or(line));
                let len = bytes.len();
                text.truncate(len);
                Ok(Password::from(text))
            }
        }
    }
}

/// The name of a variable, where it looks like one: a password in the wrong column is not repeated.
fn shown(name: &str) -> &str {
    let is_name = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_' || byte.is_ascii_digit()) && name.contains('_');
    if is_name { name } else { "that `password_env` names" }
}

/// Reads a file into one buffer of its size.
fn read(path: &Path, max_bytes: usize) -> io::Result<SecretBytes> {
    let no_file = || io::Error::other("it is no file");
    // Before it is opened: a named pipe would be waited for.
    if !path.metadata()?.is_file() {
        return Err(no_file());
    }
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(no_file());
    }
    let len = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    if len > max_bytes {
        return Err(io::Error::other(format!("it is longer than {max_bytes} bytes")));
    }
    let mut bytes = SecretBytes::zeroed(len);
    file.read_exact(bytes.secret_bytes_mut())?;
    match file.read(&mut [0])? {
        0 => Ok(bytes),
        _ => Err(io::Error::other("it grows while it is read")),
    }
}
