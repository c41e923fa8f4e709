//! `EnvelopedData` (RFC 5652 section 6).

use super::{AlgorithmIdentifier, CertificateIdentifier, read_oid};
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
        let mut recipients = inner.set(budget)?;
        let mut recipient_infos = Vec::new();
        while !recipients.is_empty() {
            budget.charge_recipients(1)?;
            recipient_infos.push(RecipientInfo::read(&mut recipients, budget)?);
        }
        let encrypted_content_info = EncryptedContentInfo::read(&mut inner, budget)?;
        inner.optional(Tag::context(1), budget)?;
        inner.finish()?;
        Ok(Self { recipient_infos, encrypted_content_info })
    }

    /// DER. Version 0 when every recipient has version 0, else 2 (RFC 5652 section 6.1; no originator, no attributes).
    pub fn encode(&self) -> Vec<u8> {
        let plain = self.recipient_infos.iter().all(|info| matches!(info, RecipientInfo::KeyTrans(ktri) if !ktri.rid.is_key_identifier()));
        let recipients = self.recipient_infos.iter().map(RecipientInfo::encode).collect();
        write::sequence(&[&write::unsigned(if plain { 0 } else { 2 }), &write::set_of(recipients), &self.encrypted_content_info.encode()])
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
    fn read(reader: &mut Reader<'_>, budget: &mut Budget) -> Result<Self, DerError> {
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

    fn encode(&self) -> Vec<u8> {
        let content = self.encrypted_content.as_deref().map(|content| write::context_primitive(0, content)).unwrap_or_default();
        write::sequence(&[&write::oid(&self.content_type), &self.content_encryption_algorithm.encode(), &content])
    }
}

/// `RecipientInfo`: only key transport is taken apart, the other kinds are kept as received.
#[derive(Debug, Clone)]
pub enum RecipientInfo {
    /// `ktri`
    KeyTrans(KeyTransRecipientInfo),
    /// `[1] kari`
    KeyAgree(Vec<u8>),
    /// `[2] kekri`
    Kek(Vec<u8>),
    /// `[3] pwri`
    Password(Vec<u8>),
    /// `[4] ori`
    Other(Vec<u8>),
}

impl RecipientInfo {
    fn read(reader: &mut Reader<'_>, budget: &mut Budget) -> Result<Self, DerError> {
        let value = reader.any(budget)?;
        let mut inner = value.inner()?;
        if value.tag() == Tag::SEQUENCE {
            let ktri = KeyTransRecipientInfo::read(&mut inner, budget)?;
            inner.finish()?;
            return Ok(Self::KeyTrans(ktri));
        }
        if !value.tag().is_context() {
            return Err(value.error("not a kind of RecipientInfo"));
        }
        let raw = value.raw().to_vec();
        match value.tag().number() {
            1 => Ok(Self::KeyAgree(raw)),
            2 => Ok(Self::Kek(raw)),
            3 => Ok(Self::Password(raw)),
            4 => Ok(Self::Other(raw)),
            _ => Err(value.error("not a kind of RecipientInfo")),
        }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::KeyTrans(ktri) => ktri.encode(),
            Self::KeyAgree(raw) | Self::Kek(raw) | Self::Password(raw) | Self::Other(raw) => raw.clone(),
        }
    }
}

/// `KeyTransRecipientInfo ::= SEQUENCE { version, rid, keyEncryptionAlgorithm, encryptedKey OCTET STRING }`
#[derive(Debug, Clone)]
pub struct KeyTransRecipientInfo {
    /// For whom.
    pub rid: CertificateIdentifier,
    /// How the content key is encrypted.
    pub key_encryption_algorithm: AlgorithmIdentifier,
    /// The encrypted content key.
    pub encrypted_key: Vec<u8>,
}

impl KeyTransRecipientInfo {
    fn read(inner: &mut Reader<'_>, budget: &mut Budget) -> Result<Self, DerError> {
        inner.expect(Tag::INTEGER, budget)?.unsigned()?;
        let rid = CertificateIdentifier::read(inner, budget)?;
        let key_encryption_algorithm = AlgorithmIdentifier::read(inner, budget)?;
        let encrypted_key = inner.expect(Tag::OCTET_STRING, budget)?.octets(budget)?.into_owned();
        Ok(Self { rid, key_encryption_algorithm, encrypted_key })
    }

    fn encode(&self) -> Vec<u8> {
        let version = write::unsigned(if self.rid.is_key_identifier() { 2 } else { 0 });
        write::sequence(&[&version, &self.rid.encode(), &self.key_encryption_algorithm.encode(), &write::octet_string(&self.encrypted_key)])
    }
}
