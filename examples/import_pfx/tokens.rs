//! Tokens that this program does not fetch itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::adapters::entra::{AccessToken, TokenSource};
use intune_connector::ports::PortError;
use intune_connector::secret::Password;
use intune_connector::time::Timestamp;

/// One token, as long as it is good.
#[derive(Debug)]
pub(crate) struct Given {
    token: Option<Arc<AccessToken>>,
    refused: AtomicBool,
}

impl Given {
    pub(crate) fn new(token: String) -> Self {
        // When it ends stands in it, for others to read: Graph says when it is over.
        let token = AccessToken::new(Password::from(token), Timestamp::from_micros(i64::MAX));
        Self { token: Some(Arc::new(token)), refused: AtomicBool::new(false) }
    }

    /// For runs that send nothing.
    pub(crate) fn nothing() -> Self {
        Self { token: None, refused: AtomicBool::new(false) }
    }
}

#[async_trait]
impl TokenSource for Given {
    async fn token(&self, _: &str, _: Duration) -> Result<Arc<AccessToken>, PortError> {
        match &self.token {
            Some(token) if !self.refused.load(Ordering::SeqCst) => Ok(token.clone()),
            Some(_) => Err(PortError::misconfigured(
                "Graph refuses the given token: it is over, or lacks DeviceManagementConfiguration.ReadWrite.All",
            )),
            None => Err(PortError::misconfigured("no credential is given")),
        }
    }

    fn refused(&self, _: &str, _: &AccessToken) {
        self.refused.store(true, Ordering::SeqCst);
    }
}
