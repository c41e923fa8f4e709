//! `EncryptedData` (RFC 5652 section 8).

use super::EncryptedContentInfo;
use crate::codec::der::{DerError, Tag, Tlv};
use crate::limits::Budget;

/// `EncryptedData ::= SEQUENCE { version, encryptedContentInfo, [1] unprotectedAttrs OPTIONAL }`
#[derive(Debug)]
pub struct EncryptedData {
    /// The encrypted content.
    pub encrypted_content_info: EncryptedContentInfo,
}

impl EncryptedData {
    /// Reads the content of a `ContentInfo`.
    pub fn decode(value: Tlv<'_>, budget: &mut Budget) -> Result<Self, DerError> {
        let mut inner = value.inner()?;
        inner.expect(Tag::INTEGER, budget)?.unsigned()?;
        let encrypted_content_info = EncryptedContentInfo::read(&mut inner, budget)?;
        inner.optional(Tag::context(1), budget)?;
        inner.finish()?;
        Ok(Self { encrypted_content_info })
    }
}
