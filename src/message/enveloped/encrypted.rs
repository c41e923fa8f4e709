//! Reading EncryptedData (RFC 5652 section 8): a content under a key that both sides have.

use super::LegacyCiphers;
use super::content::Content;
use crate::codec::cms::{ContentInfo, EncryptedData, oids};
use crate::crypto::{CryptoError, CryptoProvider};
use crate::limits::{Budget, Limits};
use crate::message::cms_error::CmsError;
use crate::secret::SecretBytes;

/// Decrypts EncryptedData with the content key itself. Nothing in the message tells whether the content was changed.
///
/// # Errors
/// [`CmsError::ContentType`] when it is something else, [`CmsError::UnsupportedAlgorithm`] and [`CmsError::WeakAlgorithm`] for the cipher,
/// [`CmsError::Crypto`] when the key has another length than the cipher, [`CmsError::Decryption`] for everything that the key shows.
pub fn decrypt_encrypted_data(
    message: &[u8],
    key: &SecretBytes,
    legacy: LegacyCiphers,
    provider: &CryptoProvider,
    limits: &Limits,
) -> Result<SecretBytes, CmsError> {
    let mut budget = Budget::new(limits);
    let info = ContentInfo::decode(message, &mut budget)?;
    if info.content_type.as_str() != oids::ENCRYPTED_DATA {
        return Err(CmsError::ContentType(info.content_type));
    }
    let data = EncryptedData::decode(info.content.ok_or(CmsError::Malformed("there is no content"))?, &mut budget)?;
    let content = Content::unauthenticated(data.encrypted_content_info);
    let prepared = content.prepare(legacy, provider, limits)?;
    if key.len() != prepared.substitute.len() {
        return Err(CryptoError::InvalidKey("the content key is not of the cipher's length").into());
    }
    content.decrypt(&prepared, Some(key), provider)
}
