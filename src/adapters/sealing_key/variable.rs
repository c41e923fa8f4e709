//! Sealing keys in an environment variable.

use std::sync::Arc;

use super::error::SealingKeyError;
use super::text;
use crate::ports::{PortError, SealingKey};
use crate::secret::SecretBytes;

/// Sealing keys in an environment variable: 64 hexadecimal digits each, with commas or line ends between, the current one first.
///
/// Other processes of the same account, and crash dumps, can see it, and it changes with a restart alone: a file is better.
#[derive(Debug, Clone)]
pub struct SealingKeyVariable(String);

impl SealingKeyVariable {
    /// The keys in the variable of this name, which is not read before they are asked for.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }
}

impl SealingKey for SealingKeyVariable {
    fn keys(&self) -> Result<Vec<Arc<SecretBytes>>, PortError> {
        let value = std::env::var_os(&self.0).ok_or_else(|| SealingKeyError::NotSet(self.0.clone()))?;
        let value = SecretBytes::new(value.into_encoded_bytes());
        Ok(text::read(value.secret_bytes())?)
    }
}
