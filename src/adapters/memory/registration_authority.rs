//! Registration authorities that are lost with the process.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::crypto::{CryptoError, CryptoProvider};
use crate::ports::{PortError, RegistrationAuthority, RegistrationAuthorityStore, RegistrationKey, RegistrationKeys};
use crate::terms::KeyAlgorithm;
use crate::time::Timestamp;

/// Makes RSA-2048 keys and keeps them in memory: after a restart clients must fetch the certificates anew, and requests under way are not
/// opened. For tests, demonstrations, and CAs that die with the process as well.
#[derive(Debug)]
pub struct InMemoryRegistrationAuthorities {
    provider: CryptoProvider,
    pair: bool,
    kept: Mutex<Vec<(RegistrationAuthority, Option<Timestamp>)>>,
}

impl InMemoryRegistrationAuthorities {
    /// One key for both uses.
    #[must_use]
    pub fn single(provider: CryptoProvider) -> Self {
        Self { provider, pair: false, kept: Mutex::default() }
    }

    /// A key for each use.
    #[must_use]
    pub fn pair(provider: CryptoProvider) -> Self {
        Self { provider, pair: true, kept: Mutex::default() }
    }

    fn key(&self) -> Result<RegistrationKey, PortError> {
        let failed = |error: CryptoError| PortError::transient("the RA's key was not made").with_source(error);
        let misses = |error| PortError::misconfigured("the crypto provider cannot make RSA keys").with_source(error);
        let pkcs8 = self.provider.key_generation().map_err(misses)?.generate(KeyAlgorithm::Rsa2048).map_err(failed)?;
        let signing = self.provider.signing_keys().map_err(misses)?.load(&pkcs8).map_err(failed)?;
        let decryption = self.provider.decryption_keys().map_err(misses)?.load(&pkcs8).map_err(failed)?;
        Ok(RegistrationKey::decrypting(signing, decryption))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(RegistrationAuthority, Option<Timestamp>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl RegistrationAuthorityStore for InMemoryRegistrationAuthorities {
    async fn load(&self) -> Result<Vec<RegistrationAuthority>, PortError> {
        Ok(self.lock().iter().map(|(authority, _)| authority.clone()).collect())
    }

    async fn new_keys(&self) -> Result<RegistrationKeys, PortError> {
        let key = self.key()?;
        Ok(if self.pair { RegistrationKeys::Pair { signing: self.key()?, decryption: key } } else { RegistrationKeys::Single(key) })
    }

    async fn keep(&self, authority: &RegistrationAuthority, others_until: Timestamp) -> Result<(), PortError> {
        let now = Timestamp::system_now();
        let mut kept = self.lock();
        kept.retain(|(_, until)| until.is_none_or(|until| until > now));
        for (_, until) in kept.iter_mut() {
            until.get_or_insert(others_until);
        }
        kept.push((authority.clone(), None));
        Ok(())
    }
}
