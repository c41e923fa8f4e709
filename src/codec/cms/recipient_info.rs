//! `RecipientInfo` (RFC 5652 section 6.2) and its simplest kind.

use super::{AlgorithmIdentifier, CertificateIdentifier, KekRecipientInfo, KeyAgreeRecipientInfo, PasswordRecipientInfo};
use crate::codec::der::{DerError, Reader, Tag, write};
use crate::limits::Budget;

/// How one recipient gets the content key.
#[derive(Debug, Clone)]
pub enum RecipientInfo {
    /// `ktri`
    KeyTrans(KeyTransRecipientInfo),
    /// `[1] kari`
    KeyAgree(KeyAgreeRecipientInfo),
    /// `[2] kekri`
    Kek(KekRecipientInfo),
    /// `[3] pwri`
    Password(PasswordRecipientInfo),
    /// `[4] ori`, kept as received.
    Other(Vec<u8>),
}

impl RecipientInfo {
    /// Reads a SET of them.
    pub fn read_set(reader: &mut Reader<'_>, budget: &mut Budget) -> Result<Vec<Self>, DerError> {
        let mut recipients = reader.set(budget)?;
        let mut recipient_infos = Vec::new();
        while !recipients.is_empty() {
            budget.charge_recipients(1)?;
            recipient_infos.push(Self::read(&mut recipients, budget)?);
        }
        Ok(recipient_infos)
    }

    fn read(reader: &mut Reader<'_>, budget: &mut Budget) -> Result<Self, DerError> {
        let value = reader.any(budget)?;
        let mut inner = value.inner()?;
        let info = match (value.tag() == Tag::SEQUENCE, value.tag().is_context(), value.tag().number()) {
            (true, ..) => Self::KeyTrans(KeyTransRecipientInfo::read(&mut inner, budget)?),
            (_, true, 1) => Self::KeyAgree(KeyAgreeRecipientInfo::read(&mut inner, budget)?),
            (_, true, 2) => Self::Kek(KekRecipientInfo::read(&mut inner, budget)?),
            (_, true, 3) => Self::Password(PasswordRecipientInfo::read(&mut inner, budget)?),
            (_, true, 4) => return Ok(Self::Other(value.raw().to_vec())),
            _ => return Err(value.error("not a kind of RecipientInfo")),
        };
        inner.finish()?;
        Ok(info)
    }

    /// DER.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::KeyTrans(ktri) => ktri.encode(),
            Self::KeyAgree(kari) => kari.encode(),
            Self::Kek(kekri) => kekri.encode(),
            Self::Password(pwri) => pwri.encode(),
            Self::Other(raw) => raw.clone(),
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
