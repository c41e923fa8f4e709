//! Sealing of journal rows: AES-256-GCM, bound to the tenant and to what the row says in clear, so that a journal sees no secret, and nobody
//! who can write to it can add, swap or change rows.

use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use super::Finding;
use crate::crypto::{AeadAlgorithm, CryptoError, CryptoProvider, DigestAlgorithm, MissingSlot};
use crate::ids::TenantId;
use crate::ports::{Journal, PortError, Row, RowKind, RowState, Runtime, SealedBlob, SealingKeys};
use crate::secret::SecretBytes;

/// A blob: version, key id, nonce, ciphertext with tag.
const VERSION: u8 = 2;
const KEY_ID: usize = 8;
const NONCE: usize = 12;
const ALGORITHM: AeadAlgorithm = AeadAlgorithm::Aes256Gcm;
/// Never changes: old rows must find their keys.
const KEY_ID_LABEL: &[u8] = b"intune-connector sealing key id\0";
/// More are a mistake: keys that no row needs any more are to be taken out.
const MOST_KEYS: usize = 64;
/// Between two readings of the keys.
const PAUSE: Duration = Duration::from_secs(60);

/// Why a blob was not sealed or opened. It says nothing of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealError {
    #[error("the crypto provider could not seal or open a journal row")]
    Crypto,
    #[error("a journal row was changed by somebody else, or is of another tenant or version: it is not used")]
    Foreign,
    #[error(
        "a journal row was sealed with a key that is not among the sealing keys: add it behind the current one until its rows are done"
    )]
    UnknownKey,
    #[error(transparent)]
    MissingSlot(#[from] MissingSlot),
}

/// Seals rows with the current key, and opens them with the one that they name.
#[derive(Debug, Clone)]
pub(crate) struct Sealer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    provider: Arc<CryptoProvider>,
    tenant: TenantId,
    runtime: Arc<dyn Runtime>,
    /// Absent when the key was drawn here.
    source: Option<SealingKeys>,
    ring: Mutex<Ring>,
}

type Named = ([u8; KEY_ID], Arc<SecretBytes>);

#[derive(Debug)]
struct Ring {
    /// The current one first; never empty.
    keys: Vec<Named>,
    /// When they were last read, by the monotonic clock.
    read: Duration,
    /// When they were last read since a row named none of them.
    missed: Option<Duration>,
    /// Why they were not read the last time.
    problem: Option<String>,
}

impl Sealer {
    /// With keys that survive the process, for durable journals; without any, with a fresh key whose rows end with the process.
    pub(crate) fn new(
        provider: Arc<CryptoProvider>,
        tenant: TenantId,
        runtime: Arc<dyn Runtime>,
        source: Option<SealingKeys>,
    ) -> Result<Self, SealError> {
        let keys = match &source {
            Some(source) => source.source().keys().map_err(|_| SealError::Crypto)?,
            None => {
                let mut key = SecretBytes::zeroed(ALGORITHM.key_len());
                provider.random()?.fill(key.secret_bytes_mut()).map_err(|_| SealError::Crypto)?;
                vec![Arc::new(key)]
            }
        };
        if problem_of(&keys).is_some() {
            return Err(SealError::Crypto);
        }
        let keys = named(&provider, keys)?;
        let ring = Mutex::new(Ring { keys, read: runtime.monotonic(), missed: None, problem: None });
        Ok(Self(Arc::new(Inner { provider, tenant, runtime, source, ring })))
    }

    /// Seals the content of this row, which must be as it will be stored.
    pub(crate) fn seal(&self, row: &Row, content: &[u8]) -> Result<SealedBlob, SealError> {
        let (id, key) = self.current()?;
        let (random, aead) = (self.0.provider.random()?, self.0.provider.aead()?);
        let sealed = aead.seal_with_random_nonce(ALGORITHM, key.secret_bytes(), random, &self.bound_to(row, id), content);
        let (nonce, ciphertext) = sealed.map_err(|_| SealError::Crypto)?;
        Ok(SealedBlob::new([&[VERSION], &id[..], &nonce, &ciphertext].concat()))
    }

    /// Opens the content of this row.
    pub(crate) fn open(&self, row: &Row) -> Result<SecretBytes, SealError> {
        let (&version, rest) = row.blob.as_bytes().split_first().ok_or(SealError::Foreign)?;
        let (&id, rest) = rest.split_first_chunk::<KEY_ID>().ok_or(SealError::Foreign)?;
        let (nonce, ciphertext) = rest.split_at_checked(NONCE).ok_or(SealError::Foreign)?;
        if version != VERSION {
            return Err(SealError::Foreign);
        }
        let key = self.named(id)?;
        let opened = self.0.provider.aead()?.open(ALGORITHM, key.secret_bytes(), nonce, &self.bound_to(row, id), ciphertext);
        opened.map_err(|error| if error == CryptoError::Failed { SealError::Foreign } else { SealError::Crypto })
    }

    /// Why the keys were not read the last time; earlier ones are used on.
    pub(crate) fn problem(&self) -> Option<String> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner).problem.clone()
    }

    fn current(&self) -> Result<Named, SealError> {
        let mut ring = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner);
        self.read_when_old(&mut ring);
        ring.keys.first().cloned().ok_or(SealError::Crypto)
    }

    fn named(&self, id: [u8; KEY_ID]) -> Result<Arc<SecretBytes>, SealError> {
        let find = |ring: &Ring| ring.keys.iter().find(|(of, _)| *of == id).map(|(_, key)| Arc::clone(key));
        let mut ring = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner);
        self.read_when_old(&mut ring);
        if let Some(key) = find(&ring) {
            return Ok(key);
        }
        // Another instance may have the new key already.
        let now = self.0.runtime.monotonic();
        if ring.missed.is_none_or(|missed| now.saturating_sub(missed) >= PAUSE) {
            ring.missed = Some(now);
            self.read(&mut ring);
        }
        find(&ring).ok_or(SealError::UnknownKey)
    }

    fn read_when_old(&self, ring: &mut Ring) {
        if self.0.runtime.monotonic().saturating_sub(ring.read) >= PAUSE {
            self.read(ring);
        }
    }

    fn read(&self, ring: &mut Ring) {
        let Some(source) = &self.0.source else { return };
        ring.read = self.0.runtime.monotonic();
        let keys = source.source().keys().map_err(|error| error.to_string()).and_then(|keys| match problem_of(&keys) {
            Some(problem) => Err(problem.to_owned()),
            None => named(&self.0.provider, keys).map_err(|error| error.to_string()),
        });
        match keys {
            Ok(keys) => (ring.keys, ring.problem) = (keys, None),
            Err(problem) => ring.problem = Some(problem),
        }
    }

    /// The additional authenticated data: what no journal, claim or renewal changes. The names never change: old rows must open.
    ///
    /// Not in it: version, lease epoch, owner, lease, due, delivery and update time. Who can write to a journal can delay work or have it done
    /// again with them, as he can by taking rows away.
    fn bound_to(&self, row: &Row, id: [u8; KEY_ID]) -> Vec<u8> {
        let mut bound = Vec::with_capacity(256);
        let (attempt, created) = (row.attempt.to_be_bytes(), row.created.as_micros().to_be_bytes());
        let fields: [&[u8]; 10] = [
            &[VERSION],
            &id,
            self.0.tenant.as_str().as_bytes(),
            kind_name(row.key.kind),
            row.key.key.as_bytes(),
            row.flow.as_str().as_bytes(),
            state_name(row.state),
            &attempt,
            &created,
            // A route is not empty, so that it cannot be taken for an absent one.
            row.route.as_ref().map_or(&[], |route| route.as_str().as_bytes()),
        ];
        for field in fields {
            bound.extend_from_slice(&(field.len() as u64).to_be_bytes());
            bound.extend_from_slice(field);
        }
        bound
    }
}

/// What is wrong with the sealing keys of a builder.
pub(crate) fn key_finding(setting: &str, journal: &dyn Journal, keys: Option<&SealingKeys>) -> Option<Finding> {
    const REMEDY: &str = "give 32 random bytes that are kept apart from the journal";
    let finding = |problem: &str, remedy: &str| Some(Finding::new(setting, problem, remedy));
    match keys.map(|keys| keys.source().keys()) {
        None if journal.is_durable() => finding(
            "the journal is durable, and without a key of its own what is in it cannot be read after a restart",
            "set one with `sealing_key`, kept apart from the journal",
        ),
        None => None,
        Some(Ok(keys)) => problem_of(&keys).and_then(|problem| finding(problem, REMEDY)),
        Some(Err(error)) => finding(&unread(&error), "let the connector's account, and nobody else, read it"),
    }
}

fn unread(error: &PortError) -> String {
    format!("it cannot be read: {error}")
}

fn problem_of(keys: &[Arc<SecretBytes>]) -> Option<&'static str> {
    match keys {
        [] => Some("there is no key"),
        keys if keys.len() > MOST_KEYS => Some("there are more than 64 keys"),
        keys if keys.iter().any(|key| key.len() != ALGORITHM.key_len()) => Some("it is not 32 bytes long"),
        _ => None,
    }
}

/// Keys with what they are known by in rows: eight bytes of a hash tell a fleet's keys apart and say nothing of them.
fn named(provider: &CryptoProvider, keys: Vec<Arc<SecretBytes>>) -> Result<Vec<Named>, SealError> {
    let name = |key: Arc<SecretBytes>| {
        let digest = provider.digest()?.digest(DigestAlgorithm::Sha256, &[KEY_ID_LABEL, key.secret_bytes()]);
        let digest = digest.map_err(|_| SealError::Crypto)?;
        let id = digest.as_ref().first_chunk::<KEY_ID>().ok_or(SealError::Crypto)?;
        Ok((*id, key))
    };
    keys.into_iter().map(name).collect()
}

fn kind_name(kind: RowKind) -> &'static [u8] {
    match kind {
        RowKind::Request => b"request",
        RowKind::ScepTransaction => b"scep-transaction",
        RowKind::ScepTransactionId => b"scep-transaction-id",
        RowKind::Notification => b"notification",
        RowKind::Health => b"health",
        RowKind::CoolDown => b"cool-down",
        RowKind::Orphan => b"orphan",
        RowKind::Revocation => b"revocation",
        RowKind::Instance => b"instance",
    }
}

fn state_name(state: RowState) -> &'static [u8] {
    match state {
        RowState::Received => b"received",
        RowState::Planned => b"planned",
        RowState::Asked => b"asked",
        RowState::Issued => b"issued",
        RowState::Packed => b"packed",
        RowState::Uploading => b"uploading",
        RowState::Acknowledged => b"acknowledged",
        RowState::Failed => b"failed",
        RowState::Parked => b"parked",
        RowState::OrphanSuspected => b"orphan-suspected",
    }
}

#[cfg(all(test, feature = "ring", feature = "aws-lc-rs"))]
mod tests;
