//! The private keys that imported PFX passwords are encrypted to.

use core::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::PortError;
use crate::crypto::DecryptionKey;

/// Names a key as an import request does: key storage provider and key name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ImportKeyName {
    /// Graph `providerName`.
    pub provider: String,
    /// Graph `keyName`.
    pub key: String,
}

/// A store of decryption keys: memory, PKCS#8 files, an HSM.
///
/// Every instance of a tenant must reach the same keys, since any may get any import request.
#[async_trait]
pub trait DecryptionKeys: Debug + Send + Sync {
    /// All keys of that name, newest first; several while a key is rotated. Empty when there is none. At most the first four are tried.
    ///
    /// # Errors
    /// `Transient` when the store is away; retried.
    async fn find(&self, name: &ImportKeyName) -> Result<Vec<Arc<dyn DecryptionKey>>, PortError>;
}
