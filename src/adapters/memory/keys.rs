//! Decryption keys in memory.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;

use crate::crypto::DecryptionKey;
use crate::ports::{DecryptionKeys, ImportKeyName, PortError};

/// Holds decryption keys by name, newest first; several under one name while a key is rotated.
#[derive(Debug, Default)]
pub struct MemoryDecryptionKeys {
    keys: RwLock<HashMap<ImportKeyName, Vec<Arc<dyn DecryptionKey>>>>,
}

impl MemoryDecryptionKeys {
    /// Without keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key as the newest of its name.
    pub fn insert(&self, name: ImportKeyName, key: Arc<dyn DecryptionKey>) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).entry(name).or_default().insert(0, key);
    }

    /// Forgets all keys of a name; says whether there were any.
    pub fn remove(&self, name: &ImportKeyName) -> bool {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).remove(name).is_some()
    }
}

#[async_trait]
impl DecryptionKeys for MemoryDecryptionKeys {
    async fn find(&self, name: &ImportKeyName) -> Result<Vec<Arc<dyn DecryptionKey>>, PortError> {
        Ok(self.keys.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned().unwrap_or_default())
    }
}
