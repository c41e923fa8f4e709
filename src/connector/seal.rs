//! Sealing of row contents: AES-256-GCM under a key that lives as long as the process.

use core::fmt;

use zeroize::Zeroizing;

use crate::crypto::{AeadAlgorithm, CryptoError, CryptoProvider, MissingSlot};
use crate::ports::{RowKey, SealedBlob};
use crate::secret::SecretBytes;

const VERSION: u8 = 1;
const NONCE: usize = 12;

/// Why a row was not sealed or opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum SealError {
    #[error(transparent)]
    MissingSlot(#[from] MissingSlot),
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    #[error("the row's content is not of this process")]
    Foreign,
}

/// The key of this process. Rows sealed by another process do not open.
pub(super) struct Seal(Zeroizing<[u8; 32]>);

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(..)")
    }
}

impl Seal {
    pub(super) fn generate(provider: &CryptoProvider) -> Result<Self, SealError> {
        let mut key = Zeroizing::new([0; 32]);
        provider.random()?.fill(&mut key[..])?;
        Ok(Self(key))
    }

    /// Seals; the row's key is bound in, so that contents cannot be swapped between rows.
    pub(super) fn seal(&self, provider: &CryptoProvider, row: RowKey, content: &[u8]) -> Result<SealedBlob, SealError> {
        let mut nonce = [0; NONCE];
        provider.random()?.fill(&mut nonce)?;
        let sealed = provider.aead()?.seal(AeadAlgorithm::Aes256Gcm, &self.0[..], &nonce, &bound_to(row), content)?;
        let mut blob = Vec::with_capacity(1 + NONCE + sealed.len());
        blob.push(VERSION);
        blob.extend_from_slice(&nonce);
        blob.extend_from_slice(&sealed);
        Ok(SealedBlob::new(blob))
    }

    pub(super) fn open(&self, provider: &CryptoProvider, row: RowKey, blob: &SealedBlob) -> Result<SecretBytes, SealError> {
        let (version, rest) = blob.as_bytes().split_first().ok_or(SealError::Foreign)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE).ok_or(SealError::Foreign)?;
        if *version != VERSION {
            return Err(SealError::Foreign);
        }
        provider.aead()?.open(AeadAlgorithm::Aes256Gcm, &self.0[..], nonce, &bound_to(row), sealed).map_err(|_| SealError::Foreign)
    }
}

fn bound_to(row: RowKey) -> Vec<u8> {
    let mut bound = format!("{:?}", row.kind).into_bytes();
    bound.push(0);
    bound.extend_from_slice(row.key.as_bytes());
    bound
}
