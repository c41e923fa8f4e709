//! Encrypting to certificates and decrypting: CMS EnvelopedData (RFC 5652 section 6) and AuthEnvelopedData (RFC 5083).
//!
//! Recipients are read and written by RSA key transport, by ECDH (RFC 5753, RFC 8418), by a shared key, and by a password.
//! Keys may be remote, so opening is split: [`Opening::parse`], [`Opening::unwrap_request`], the key's own `unwrap`, [`Opening::finish`].
//! [`decrypt`] does all four.

mod algorithm;
mod build;
mod content;
mod encrypted;
mod key_agreement;
mod key_wrap;
mod open;
mod password;
mod recipient;

pub use super::cms_error::{CmsError, CmsErrorKind};
pub use build::EnvelopeBuilder;
#[cfg(feature = "scep")]
pub(crate) use content::Decrypted;
pub use encrypted::decrypt_encrypted_data;
pub use key_wrap::KeyWrapAlgorithm;
pub use open::{Opening, decrypt};
pub use recipient::{RecipientId, RecipientKind};

use crate::crypto::ContentCipherAlgorithm;

/// Whether 3DES may be used, and single DES be read, which some stored payloads and old devices need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LegacyCiphers {
    /// Only AES.
    #[default]
    Refuse,
    /// Also 3DES-CBC: 64-bit blocks, 112-bit strength, disallowed by NIST for encryption since 2023. Needs the feature `legacy-ciphers`.
    AllowTripleDes,
    /// Also 3DES-CBC, and single DES-CBC to read: whoever recorded the message and searches 56 bits has its content. Nothing is written with
    /// single DES whatever is set here. Needs the feature `legacy-ciphers`.
    DangerousReadSingleDes,
}

impl LegacyCiphers {
    /// Refuses a cipher that is not opted in.
    fn check(self, cipher: ContentCipherAlgorithm) -> Result<(), CmsError> {
        match (cipher, self) {
            (ContentCipherAlgorithm::DesEde3Cbc, Self::Refuse) => Err(CmsError::WeakAlgorithm("3DES (LegacyCiphers::AllowTripleDes)")),
            (ContentCipherAlgorithm::DesCbc, Self::Refuse | Self::AllowTripleDes) => {
                Err(CmsError::WeakAlgorithm("single DES (LegacyCiphers::DangerousReadSingleDes)"))
            }
            _ => Ok(()),
        }
    }
}
