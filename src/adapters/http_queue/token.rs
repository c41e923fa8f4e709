//! A token that does not change.

use core::fmt::{self, Debug};
use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;

use crate::adapters::entra::{AccessToken, TokenSource};
use crate::ports::PortError;
use crate::secret::Password;
use crate::time::Timestamp;

/// Gives one bearer token for every scope: a shared secret of queue and connector. At least 128 bits of randomness, and changed by hand.
pub struct StaticToken(Arc<AccessToken>);

impl StaticToken {
    /// That token, which never ends.
    ///
    /// # Errors
    /// `Misconfigured` when it is empty or is no visible ASCII, since it stands in a header.
    pub fn new(token: Password) -> Result<Self, PortError> {
        let visible = token.secret_bytes().iter().all(u8::is_ascii_graphic) && !token.secret_bytes().is_empty();
        if visible {
            Ok(Self(Arc::new(AccessToken::new(token, Timestamp::from_micros(i64::MAX)))))
        } else {
            Err(PortError::misconfigured(
                "the open queue's token is empty or holds something else than visible ASCII; give it as base64 or hexadecimal",
            ))
        }
    }
}

impl Debug for StaticToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticToken(..)")
    }
}

#[async_trait]
impl TokenSource for StaticToken {
    async fn token(&self, _: &str, _: Duration) -> Result<Arc<AccessToken>, PortError> {
        Ok(Arc::clone(&self.0))
    }

    /// There is no other: the caller sees that the next one is the same, and gives up.
    fn refused(&self, _: &str, _: &AccessToken) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_could_split_a_header_is_refused_and_none_is_shown() {
        for bad in ["", "hunter2 hunter2", "hunter2\r\nX: y", "h\u{fc}nter2"] {
            let error = StaticToken::new(Password::from(bad)).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        assert_eq!(format!("{:?}", StaticToken::new(Password::from("hunter2")).unwrap()), "StaticToken(..)");
    }
}
