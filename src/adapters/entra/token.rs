//! Tokens and where they come from.

use core::fmt::{self, Debug};
use core::time::Duration;

use async_trait::async_trait;

use crate::ports::PortError;
use crate::secret::Password;
use crate::time::Timestamp;

/// A bearer token. A secret: it is wiped on drop, and `Debug` hides it.
pub struct AccessToken {
    token: Password,
    expires: Timestamp,
}

impl AccessToken {
    /// A token that is good until then.
    #[must_use]
    pub fn new(token: Password, expires: Timestamp) -> Self {
        Self { token, expires }
    }

    /// The token, for the header `Authorization`.
    #[must_use]
    pub fn secret_str(&self) -> &str {
        self.token.secret_str().unwrap_or_default()
    }

    /// Until when it is good.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.expires
    }
}

impl Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// Gives tokens for a scope.
///
/// Called before each request to a service, from many tasks at a time: keep tokens, and let one task at a time fetch a new one. A call may be
/// dropped at any await.
///
/// Mistakes that are security mistakes: logging a token or a credential, or putting one into an error; giving the token of one scope for
/// another; keeping one after [`TokenSource::refused`].
#[async_trait]
pub trait TokenSource: Debug + Send + Sync {
    /// A token for that scope, good for some more minutes; `timeout` is the longest wait.
    ///
    /// # Errors
    /// `Misconfigured` when the credential or a permission is wrong, `Transient` and `Throttled` when a later call may succeed.
    async fn token(&self, scope: &str, timeout: Duration) -> Result<std::sync::Arc<AccessToken>, PortError>;

    /// A service refused this token with 401 or 403: it is given to nobody any more. One from before a role was granted never gets it.
    fn refused(&self, scope: &str, token: &AccessToken);

    /// When the credential itself (a secret, a certificate) ends, where it is known: operators are warned ahead of time.
    fn credential_expires(&self) -> Option<Timestamp> {
        None
    }
}
