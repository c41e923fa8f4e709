//! AES key wrap (RFC 3565, RFC 3394) and the recipients that share a key with the sender.

use crate::codec::cms::{AlgorithmIdentifier, KekRecipientInfo, oids};
use crate::crypto::{CryptoError, CryptoProvider};
use crate::message::cms_error::CmsError;
use crate::secret::SecretBytes;
use crate::terms::oid;

/// AES key wrap, by the length of the key that wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyWrapAlgorithm {
    /// id-aes128-wrap
    Aes128,
    /// id-aes192-wrap
    Aes192,
    /// id-aes256-wrap
    Aes256,
}

impl KeyWrapAlgorithm {
    /// The length of the key that wraps, in bytes.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }

    pub(super) const fn key_bits(self) -> u32 {
        match self {
            Self::Aes128 => 128,
            Self::Aes192 => 192,
            Self::Aes256 => 256,
        }
    }

    /// The one for a key of this length.
    fn for_key(kek: &SecretBytes) -> Result<Self, CmsError> {
        match kek.len() {
            16 => Ok(Self::Aes128),
            24 => Ok(Self::Aes192),
            32 => Ok(Self::Aes256),
            _ => Err(CryptoError::InvalidKey("a key encryption key is 16, 24 or 32 bytes long").into()),
        }
    }

    /// Reads an identifier; what is no AES key wrap is refused by name. Parameters must be absent, yet NULL is seen.
    pub(super) fn read(identifier: &AlgorithmIdentifier) -> Result<Self, CmsError> {
        let found = match identifier.algorithm.as_str() {
            oids::AES128_WRAP => Self::Aes128,
            oids::AES192_WRAP => Self::Aes192,
            oids::AES256_WRAP => Self::Aes256,
            _ => return Err(CmsError::UnsupportedAlgorithm { role: "key wrap", oid: identifier.algorithm.clone() }),
        };
        if !identifier.has_no_parameters() {
            return Err(CmsError::Malformed("AES key wrap with parameters"));
        }
        Ok(found)
    }

    pub(super) fn identifier(self) -> AlgorithmIdentifier {
        let text = match self {
            Self::Aes128 => oids::AES128_WRAP,
            Self::Aes192 => oids::AES192_WRAP,
            Self::Aes256 => oids::AES256_WRAP,
        };
        AlgorithmIdentifier::new(oid(text), None)
    }
}

/// Wraps the content key under a key that the recipient has.
pub(super) fn encrypt(
    key_identifier: &[u8],
    kek: &SecretBytes,
    content_key: &SecretBytes,
    provider: &CryptoProvider,
) -> Result<KekRecipientInfo, CmsError> {
    Ok(KekRecipientInfo {
        key_identifier: key_identifier.to_vec(),
        key_encryption_algorithm: KeyWrapAlgorithm::for_key(kek)?.identifier(),
        encrypted_key: provider.key_wrap()?.wrap(kek.secret_bytes(), content_key.secret_bytes())?,
    })
}

/// The content key; `None` when it does not unwrap.
pub(super) fn decrypt(recipient: &KekRecipientInfo, kek: &SecretBytes, provider: &CryptoProvider) -> Result<Option<SecretBytes>, CmsError> {
    let wrap = KeyWrapAlgorithm::read(&recipient.key_encryption_algorithm)?;
    if kek.len() != wrap.key_len() {
        return Err(CryptoError::InvalidKey("the key encryption key is not of the length that the message names").into());
    }
    let slot = provider.key_wrap()?;
    slot.check(kek.len())?;
    Ok(slot.unwrap(kek.secret_bytes(), &recipient.encrypted_key).ok())
}
