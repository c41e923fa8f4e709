//! Where a secret comes from each time it is needed.

use core::fmt::{self, Debug};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_channel::oneshot;

use crate::adapters::http::Failure;
use crate::ports::{PortError, PortErrorKind, Runtime};
use crate::secret::{Password, SecretBytes};

/// A secret is not longer, in bytes.
const LONGEST: usize = 64 << 10;

/// Where a client secret or a federated token is read, at each fetch of a token: a secret that is replaced is used without a restart, and none
/// needs to stand in a configuration file.
///
/// `Debug` names the file or the variable and hides the rest.
#[derive(Clone)]
pub struct SecretSource(Inner);

#[derive(Clone)]
enum Inner {
    File(PathBuf),
    Variable(String),
    Callback(Arc<dyn Fn() -> Result<Password, PortError> + Send + Sync>),
    Literal(Arc<Password>),
}

impl SecretSource {
    /// A file whose whole content is the secret, as UTF-8 text; white space at its ends is cut off. At most 64 KiB.
    ///
    /// Who can read the file can use the app registration: let its owner be the service's account, with no rights for anybody else. This is
    /// not checked here, since mounted secrets of containers have modes of their own.
    #[must_use]
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self(Inner::File(path.as_ref().to_owned()))
    }

    /// An environment variable. Other processes of the same account, and crash dumps, can see it: a file is better.
    #[must_use]
    pub fn variable(name: impl Into<String>) -> Self {
        Self(Inner::Variable(name.into()))
    }

    /// A function of yours, such as a look-up in a vault. It may block: it runs on one of the runtime's CPU threads. Its error's message must
    /// not hold the secret.
    #[must_use]
    pub fn callback(read: impl Fn() -> Result<Password, PortError> + Send + Sync + 'static) -> Self {
        Self(Inner::Callback(Arc::new(read)))
    }

    /// The secret itself. It is not replaced while the process runs.
    #[must_use]
    pub fn literal(secret: Password) -> Self {
        Self(Inner::Literal(Arc::new(secret)))
    }

    /// Reads it, away from the caller's thread when that may block.
    pub(super) async fn read(&self, runtime: &dyn Runtime) -> Result<Password, Failure> {
        let source = self.clone();
        match &self.0 {
            Inner::Variable(_) | Inner::Literal(_) => source.read_now(),
            Inner::File(_) | Inner::Callback(_) => {
                let (done, read) = oneshot::channel();
                let job = Box::new(move || {
                    // Who asked may have gone.
                    let _ = done.send(source.read_now());
                });
                let busy = |problem: String| Failure::new(PortErrorKind::Transient, format!("{self} was not read: {problem}"));
                runtime.offload(job).map_err(|error| busy(error.to_string()))?;
                read.await.unwrap_or_else(|_| Err(busy("its thread ended".to_owned())))
            }
        }
    }

    fn read_now(&self) -> Result<Password, Failure> {
        let secret = match &self.0 {
            Inner::File(path) => read_file(path).map_err(|problem| self.misconfigured(&problem))?,
            Inner::Variable(name) => {
                let value = std::env::var_os(name).ok_or_else(|| self.misconfigured("it is not set"))?;
                SecretBytes::new(value.into_encoded_bytes())
            }
            Inner::Callback(read) => read().map_err(Failure::from)?.into_secret_bytes(),
            Inner::Literal(secret) => SecretBytes::copy_from(secret.secret_bytes()),
        };
        let text = core::str::from_utf8(secret.secret_bytes()).ok().filter(|text| !text.contains('\0'));
        let text = text.ok_or_else(|| self.misconfigured("it is not UTF-8 text; save it without another encoding"))?;
        match text.trim_start_matches('\u{feff}').trim() {
            "" => Err(self.misconfigured("it is empty")),
            text if text.len() > LONGEST => Err(self.misconfigured("it is longer than 64 KiB")),
            text => Ok(Password::from(text)),
        }
    }

    fn misconfigured(&self, problem: &str) -> Failure {
        Failure::new(PortErrorKind::Misconfigured, format!("{self}: {problem}"))
    }
}

fn read_file(path: &Path) -> Result<SecretBytes, String> {
    // A pipe could be read once alone, and might block for ever.
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let file = File::open(path).map_err(|error| error.to_string())?;
    // Of the full size from the start, so that no unwiped copy is left by growing.
    let mut content = Vec::with_capacity(LONGEST + 1);
    let read = file.take(LONGEST as u64 + 1).read_to_end(&mut content);
    let content = SecretBytes::new(content);
    match read {
        Ok(_) if content.len() > LONGEST => Err("it is longer than 64 KiB".to_owned()),
        Ok(_) => Ok(content),
        Err(error) => Err(error.to_string()),
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::File(path) => write!(f, "the secret file {}", path.display()),
            Inner::Variable(name) => write!(f, "the environment variable {name}"),
            Inner::Callback(_) => f.write_str("the secret from the callback"),
            Inner::Literal(_) => f.write_str("the given secret"),
        }
    }
}

impl Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretSource({self})")
    }
}

impl From<Password> for SecretSource {
    fn from(secret: Password) -> Self {
        Self::literal(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &SecretSource) -> Result<String, String> {
        source.read_now().map(|secret| secret.secret_str().unwrap().to_owned()).map_err(|failure| failure.message)
    }

    #[test]
    fn a_file_is_read_each_time_and_its_line_end_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let source = SecretSource::file(&path);
        for (content, secret) in [("s3cr~t", "s3cr~t"), ("s3cr~t\n", "s3cr~t"), ("rotated\r\n", "rotated"), ("\u{feff}notepad", "notepad")]
        {
            std::fs::write(&path, content).unwrap();
            assert_eq!(read(&source).as_deref(), Ok(secret), "{content:?}");
        }
    }

    #[test]
    fn what_holds_no_secret_is_a_mistake_of_the_configuration_that_names_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let missing = SecretSource::file(&path);
        assert!(read(&missing).unwrap_err().contains("secret file"));
        let contents: [(&[u8], &str); 4] =
            [(b" \n", "empty"), (b"\xff\xfes\0", "UTF-8"), (b"s\0e\0", "UTF-8"), (&[b'x'; LONGEST + 1], "64 KiB")];
        for (content, problem) in contents {
            std::fs::write(&path, content).unwrap();
            let failure = missing.read_now().unwrap_err();
            assert_eq!(failure.kind, PortErrorKind::Misconfigured);
            assert!(failure.message.contains(problem) && failure.message.contains("secret file"), "{}", failure.message);
        }
        assert!(read(&SecretSource::file(folder.path())).unwrap_err().contains("regular file"));
        assert!(read(&SecretSource::variable("INTUNE_CONNECTOR_NO_SUCH_VARIABLE")).unwrap_err().contains("not set"));
        assert!(read(&SecretSource::literal(Password::from(""))).unwrap_err().contains("empty"));
    }

    #[test]
    fn a_callback_and_a_variable_give_secrets_and_debug_shows_none() {
        let callback = SecretSource::callback(|| Ok(Password::from("hunter2")));
        let literal = SecretSource::from(Password::from("hunter2"));
        assert_eq!((read(&callback), read(&literal)), (Ok("hunter2".to_owned()), Ok("hunter2".to_owned())));
        assert!(read(&SecretSource::variable("PATH")).is_ok());
        assert!(!format!("{callback:?} {literal:?}").contains("hunter2"));
        let failing = SecretSource::callback(|| Err(PortError::transient("the vault is sealed")));
        assert_eq!(failing.read_now().unwrap_err(), Failure::new(PortErrorKind::Transient, "the vault is sealed"));
    }
}
