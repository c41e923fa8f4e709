//! `EnvelopedData` (RFC 5652 section 6).

use super::{AlgorithmIdentifier, RecipientInfo, read_oid};
use crate::codec::der::{DerError, Reader, Tag, Tlv, write};
use crate::ids::Oid;
use crate::limits::Budget;

/// `EnvelopedData ::= SEQUENCE { version, [0] originatorInfo OPTIONAL, recipientInfos SET, encryptedContentInfo, [1] unprotectedAttrs OPTIONAL }`
#[derive(Debug)]
pub struct EnvelopedData {
    /// The recipients in the order in which they came.
    pub recipient_infos: Vec<RecipientInfo>,
    /// The encrypted content.
    pub encrypted_content_info: EncryptedContentInfo,
}

impl EnvelopedData {
    /// Reads the content of a `ContentInfo`.
    pub fn decode(value: Tlv<'_>, budget: &mut Budget) -> Result<Self, DerError> {
        let mut inner = value.inner()?;
        inner.expect(Tag::INTEGER, budget)?.unsigned()?;
        inner.optional(Tag::context(0), budget)?;
        let recipient_infos = RecipientInfo::read_set(&mut inner, budget)?;
        let encrypted_content_info = EncryptedContentInfo::read(&mut inner, budget)?;
        inner.optional(Tag::context(1), budget)?;
        inner.finish()?;
        Ok(Self { recipient_infos, encrypted_content_info })
    }

    /// DER. Version 3 with a password recipient, 0 when every recipient has version 0, else 2 (RFC 5652 section 6.1; no originator, no
    /// attributes).
    pub fn encode(&self) -> Vec<u8> {
        let infos = &self.recipient_infos;
        let version = if infos.iter().any(|info| matches!(info, RecipientInfo::Password(_) | RecipientInfo::Other(_))) {
            3
        } else if infos.iter().all(|info| matches!(info, RecipientInfo::KeyTrans(ktri) if !ktri.rid.is_key_identifier())) {
            0
        } else {
            2
        };
        let recipients = infos.iter().map(RecipientInfo::encode).collect();
        write::sequence(&[&write::unsigned(version), &write::set_of(recipients), &self.encrypted_content_info.encode()])
    }
}

/// `EncryptedContentInfo ::= SEQUENCE { contentType, contentEncryptionAlgorithm, encryptedContent [0] IMPLICIT OCTET STRING OPTIONAL }`
#[derive(Debug)]
pub struct EncryptedContentInfo {
    /// What the decrypted content is.
    pub content_type: Oid,
    /// The cipher.
    pub content_encryption_algorithm: AlgorithmIdentifier,
    /// The ciphertext, chunks joined.
    pub encrypted_content: Option<Vec<u8>>,
}

impl EncryptedContentInfo {
    /// Reads the next value.
    pub fn read(reader: &mut Reader<'_>, budget: &mut Budget) -> Result<Self, DerError> {
        let mut inner = reader.sequence(budget)?;
        let content_type = read_oid(&mut inner, budget)?;
        let content_encryption_algorithm = AlgorithmIdentifier::read(&mut inner, budget)?;
        let encrypted_content = match inner.optional(Tag::context(0), budget)? {
            Some(content) => Some(content.octets(budget)?.into_owned()),
            None => None,
        };
        inner.finish()?;
        Ok(Self { content_type, content_encryption_algorithm, encrypted_content })
    }

    /// DER.
    pub fn encode(&self) -> Vec<u8> {
        let content = self.encrypted_content.as_deref().map(|content| write::context_primitive(0, content)).unwrap_or_default();
        write::sequence(&[&write::oid(&self.content_type), &self.content_encryption_algorithm.encode(), &content])
    }
}
