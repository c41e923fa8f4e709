//! Sealing of journal rows: AES-256-GCM, bound to the row's kind and key, so that a journal sees no secret and cannot swap rows.

use std::sync::Arc;

use crate::crypto::{AeadAlgorithm, CryptoError, CryptoProvider, MissingSlot};
use crate::ports::{Row, RowKind, SealedBlob};
use crate::secret::SecretBytes;

const VERSION: u8 = 1;
const NONCE: usize = 12;
const ALGORITHM: AeadAlgorithm = AeadAlgorithm::Aes256Gcm;

/// Why a blob was not sealed or opened. It says nothing of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealError {
    #[error("the crypto provider could not seal or open a journal row")]
    Crypto,
    #[error("a journal row does not open with the sealing key: it was sealed with another key, or changed")]
    Foreign,
    #[error(transparent)]
    MissingSlot(#[from] MissingSlot),
}

/// Seals and opens rows with one key.
#[derive(Debug, Clone)]
pub(crate) struct Sealer {
    provider: Arc<CryptoProvider>,
    key: Arc<SecretBytes>,
}

impl Sealer {
    /// With a key of 32 bytes that survives the process; for durable journals.
    pub(crate) fn new(provider: Arc<CryptoProvider>, key: SecretBytes) -> Result<Self, SealError> {
        if key.len() == ALGORITHM.key_len() { Ok(Self { provider, key: Arc::new(key) }) } else { Err(SealError::Crypto) }
    }

    /// With a fresh key that nobody else has: its rows end with the process.
    pub(crate) fn random(provider: Arc<CryptoProvider>) -> Result<Self, SealError> {
        let mut key = SecretBytes::zeroed(ALGORITHM.key_len());
        provider.random()?.fill(key.secret_bytes_mut()).map_err(|_| SealError::Crypto)?;
        Self::new(provider, key)
    }

    /// Seals the content of this row, which must be as it will be stored.
    pub(crate) fn seal(&self, row: &Row, content: &[u8]) -> Result<SealedBlob, SealError> {
        // A random nonce under one key: fine for 2^32 rows (NIST SP 800-38D section 8.3).
        let (random, aead) = (self.provider.random()?, self.provider.aead()?);
        let sealed = aead.seal_with_random_nonce(ALGORITHM, self.key.secret_bytes(), random, &bound_to(row), content);
        let (nonce, ciphertext) = sealed.map_err(|_| SealError::Crypto)?;
        let mut blob = Vec::with_capacity(1 + NONCE + ciphertext.len());
        blob.push(VERSION);
        blob.extend_from_slice(&nonce);
        blob.extend_from_slice(&ciphertext);
        Ok(SealedBlob::new(blob))
    }

    /// Opens the content of this row.
    pub(crate) fn open(&self, row: &Row) -> Result<SecretBytes, SealError> {
        let (head, ciphertext) = row.blob.as_bytes().split_at_checked(1 + NONCE).ok_or(SealError::Foreign)?;
        if head[0] != VERSION {
            return Err(SealError::Foreign);
        }
        let opened = self.provider.aead()?.open(ALGORITHM, self.key.secret_bytes(), &head[1..], &bound_to(row), ciphertext);
        opened.map_err(|error| if error == CryptoError::Failed { SealError::Foreign } else { SealError::Crypto })
    }
}

/// The additional authenticated data. The names never change: old rows must open.
fn bound_to(row: &Row) -> Vec<u8> {
    let kind: &[u8] = match row.key.kind {
        RowKind::Request => b"request",
        RowKind::ScepTransaction => b"scep-transaction",
        RowKind::ScepTransactionId => b"scep-transaction-id",
        RowKind::Notification => b"notification",
        RowKind::Health => b"health",
        RowKind::CoolDown => b"cool-down",
        RowKind::Orphan => b"orphan",
        RowKind::Revocation => b"revocation",
        RowKind::Instance => b"instance",
    };
    [kind, &[0], row.key.key.as_bytes()].concat()
}

#[cfg(all(test, feature = "ring", feature = "aws-lc-rs"))]
mod tests {
    use super::*;
    use crate::ids::IdempotencyKey;
    use crate::ports::RowKey;
    use crate::terms::Flow;
    use crate::time::Timestamp;

    #[test]
    fn a_row_opens_only_with_its_key_in_its_place_and_unchanged() {
        let provider = Arc::new(CryptoProvider::ring_and_aws_lc_rs());
        let sealer = Sealer::random(provider.clone()).unwrap();
        let row = |kind, number| {
            Row::new(
                RowKey { kind, key: IdempotencyKey::new([number; 32]) },
                Flow::Scep,
                Timestamp::from_secs(1),
                SealedBlob::new(Vec::new()),
            )
        };
        let with = |row: Row, blob: &SealedBlob| Row { blob: blob.clone(), ..row };
        let here = row(RowKind::Notification, 1);
        let blob = sealer.seal(&here, b"the challenge").unwrap();
        assert_eq!(sealer.open(&with(here.clone(), &blob)).unwrap().secret_bytes(), b"the challenge");
        assert!(!blob.as_bytes().windows(9).any(|window| window == b"challenge"));
        assert_ne!(sealer.seal(&here, b"the challenge").unwrap(), blob, "a nonce must not repeat");

        for other in [row(RowKind::Orphan, 1), row(RowKind::Notification, 2)] {
            assert_eq!(sealer.open(&with(other, &blob)).unwrap_err(), SealError::Foreign);
        }
        assert_eq!(Sealer::random(provider.clone()).unwrap().open(&with(here.clone(), &blob)).unwrap_err(), SealError::Foreign);
        for at in 0..blob.as_bytes().len() {
            let mut damaged = blob.as_bytes().to_vec();
            damaged[at] ^= 1;
            assert_eq!(sealer.open(&with(here.clone(), &SealedBlob::new(damaged))).unwrap_err(), SealError::Foreign, "{at}");
        }
        assert_eq!(sealer.open(&with(here, &SealedBlob::new(vec![VERSION; 5]))).unwrap_err(), SealError::Foreign);
        assert_eq!(Sealer::new(provider, SecretBytes::zeroed(16)).unwrap_err(), SealError::Crypto);
    }
}
