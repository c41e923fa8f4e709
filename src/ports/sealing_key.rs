//! Where the keys come from that journal rows are sealed with.

use core::fmt::{self, Debug};
use std::sync::Arc;

use super::PortError;
use crate::secret::SecretBytes;

/// The sealing keys of a tenant: one list for the whole fleet.
///
/// It is asked when a connector, a SCEP service or a queue of Intune's revocations is built, then before a row is sealed or opened when the
/// last answer is more than a minute old, and at once when a row names a key that is not in the list, at most once a minute. So a rotation is
/// noticed within a minute of work, without a restart. It is asked on an async thread: it must answer at once, from memory or a small file.
///
/// To rotate, put a new key first and leave the older ones behind it: new rows are sealed with the first key, and older rows open with theirs.
/// Where instances have lists of their own, append the new key on each instance before it becomes the first on any: an instance without it can
/// serve none of the rows that it seals, says so, and leaves them alone. A key may go when no row is left that was sealed with it, which is
/// when the longest retention has passed.
///
/// Rotate once a year, and before 2^32 rows were sealed with one key: their nonces are random (NIST SP 800-38D section 8.3). A request takes
/// about six seals, so that is 22 years at one request a second, and 80 days at 100.
///
/// Security duty: who has a key can read and forge every row. Keep it apart from the journal and from its backups.
pub trait SealingKey: Debug + Send + Sync {
    /// The keys, of 32 random bytes each, 1 to 64 of them: the current one, then older ones that still open rows.
    ///
    /// # Errors
    /// When they cannot be read. While building, that is a finding; later, the connector goes on with the keys that it has.
    fn keys(&self) -> Result<Vec<Arc<SecretBytes>>, PortError>;
}

/// What builders take: a [`SealingKey`], or one key as `SecretBytes`. Cheap to clone.
///
/// ```
/// use intune_connector::ports::SealingKeys;
/// use intune_connector::secret::SecretBytes;
///
/// let keys = SealingKeys::from(SecretBytes::new(vec![7; 32]));
/// assert_eq!(keys.source().keys().unwrap().len(), 1);
/// ```
#[derive(Clone)]
pub struct SealingKeys(Arc<dyn SealingKey>);

impl SealingKeys {
    /// Where they come from.
    #[must_use]
    pub fn source(&self) -> &dyn SealingKey {
        &*self.0
    }
}

impl Debug for SealingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.0, f)
    }
}

impl<K: SealingKey + 'static> From<K> for SealingKeys {
    fn from(source: K) -> Self {
        Self(Arc::new(source))
    }
}

impl<K: SealingKey + 'static> From<Arc<K>> for SealingKeys {
    fn from(source: Arc<K>) -> Self {
        Self(source)
    }
}

impl From<Arc<dyn SealingKey>> for SealingKeys {
    fn from(source: Arc<dyn SealingKey>) -> Self {
        Self(source)
    }
}

impl From<SecretBytes> for SealingKeys {
    fn from(key: SecretBytes) -> Self {
        Self::from(vec![key])
    }
}

/// The current key, then older ones.
impl From<Vec<SecretBytes>> for SealingKeys {
    fn from(keys: Vec<SecretBytes>) -> Self {
        Self::from(Fixed(keys.into_iter().map(Arc::new).collect()))
    }
}

/// Keys that do not change while the process runs.
#[derive(Debug)]
struct Fixed(Vec<Arc<SecretBytes>>);

impl SealingKey for Fixed {
    fn keys(&self) -> Result<Vec<Arc<SecretBytes>>, PortError> {
        Ok(self.0.clone())
    }
}
