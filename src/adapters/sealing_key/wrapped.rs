//! Sealing keys that a key management service unwraps.

use core::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use async_trait::async_trait;

use super::text::{KEY, MOST_KEYS};
use crate::ports::{PortError, SealingKey};
use crate::secret::SecretBytes;

/// Unwraps a sealing key: a call to a key management service, an HSM or a vault.
#[async_trait]
pub trait UnwrapSealingKey: Debug + Send + Sync {
    /// The key of 32 bytes in its wrapped form; called once for each wrapped key in [`WrappedSealingKeys::unwrapped`], and for each new one in
    /// [`WrappedSealingKeys::refresh`].
    ///
    /// Security duty: let the service authenticate what it unwraps (with AES-GCM or AES-KWP, not by bare encryption), and leave no copy of the
    /// key behind.
    ///
    /// # Errors
    /// When the service does not answer or refuses.
    async fn unwrap_key(&self, wrapped: &[u8]) -> Result<SecretBytes, PortError>;
}

/// Sealing keys that lie wrapped, such as beside the configuration, and are unwrapped by a key management service when the process starts.
/// The unwrapped keys are in memory alone, and wiped when they are dropped.
#[derive(Debug)]
pub struct WrappedSealingKeys {
    service: Arc<dyn UnwrapSealingKey>,
    keys: RwLock<Vec<Unwrapped>>,
    /// How many refreshes have begun, and which of them gave the keys: a slow one must not undo a later one.
    turns: Mutex<Turns>,
}

#[derive(Debug, Default)]
struct Turns {
    begun: u64,
    shown: u64,
}

#[derive(Debug, Clone)]
struct Unwrapped {
    wrapped: Vec<u8>,
    key: Arc<SecretBytes>,
}

impl WrappedSealingKeys {
    /// Unwraps these keys, the current one first.
    ///
    /// # Errors
    /// The service's own; and when there is no key, there are more than 64, or one is not 32 bytes long.
    pub async fn unwrapped(service: Arc<dyn UnwrapSealingKey>, wrapped: &[Vec<u8>]) -> Result<Self, PortError> {
        let keys = Self { service, keys: RwLock::default(), turns: Mutex::default() };
        keys.refresh(wrapped).await?;
        Ok(keys)
    }

    /// Puts these keys, the current one first, in the place of the former ones. Those that are unwrapped already are not unwrapped again. After
    /// an error the former ones stay. Call it after a rotation; connectors use the new list within a minute.
    ///
    /// # Errors
    /// As for [`unwrapped`](Self::unwrapped).
    pub async fn refresh(&self, wrapped: &[Vec<u8>]) -> Result<(), PortError> {
        if wrapped.is_empty() || wrapped.len() > MOST_KEYS {
            return Err(PortError::misconfigured(format!("there are {} wrapped sealing keys: give 1 to {MOST_KEYS}", wrapped.len())));
        }
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.begun += 1;
            turns.begun
        };
        let known = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut keys = Vec::with_capacity(wrapped.len());
        for (at, wrapped) in wrapped.iter().enumerate() {
            let key = match known.iter().find(|known| known.wrapped == *wrapped) {
                Some(known) => Arc::clone(&known.key),
                None => Arc::new(self.service.unwrap_key(wrapped).await?),
            };
            if key.len() != KEY {
                let problem = format!("wrapped sealing key {} holds {} bytes, not {KEY}: wrap 32 random bytes", at + 1, key.len());
                return Err(PortError::misconfigured(problem));
            }
            keys.push(Unwrapped { wrapped: wrapped.clone(), key });
        }
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turn > turns.shown {
            turns.shown = turn;
            *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        }
        Ok(())
    }
}

impl SealingKey for WrappedSealingKeys {
    fn keys(&self) -> Result<Vec<Arc<SecretBytes>>, PortError> {
        Ok(self.keys.read().unwrap_or_else(PoisonError::into_inner).iter().map(|unwrapped| Arc::clone(&unwrapped.key)).collect())
    }
}
