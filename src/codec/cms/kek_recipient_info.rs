//! `KEKRecipientInfo` (RFC 5652 section 6.2.3).

use super::AlgorithmIdentifier;
use crate::codec::der::{DerError, Reader, Tag, write};
use crate::limits::Budget;

/// `KEKRecipientInfo ::= SEQUENCE { version, kekid KEKIdentifier, keyEncryptionAlgorithm, encryptedKey OCTET STRING }`
#[derive(Debug, Clone)]
pub struct KekRecipientInfo {
    /// The name of the shared key. Its date and other attributes are not kept.
    pub key_identifier: Vec<u8>,
    /// The key wrap.
    pub key_encryption_algorithm: AlgorithmIdentifier,
    /// The wrapped content key.
    pub encrypted_key: Vec<u8>,
}

impl KekRecipientInfo {
    /// Reads what is under the tag.
    pub(super) fn read(inner: &mut Reader<'_>, budget: &mut Budget) -> Result<Self, DerError> {
        inner.expect(Tag::INTEGER, budget)?.unsigned()?;
        // KEKIdentifier ::= SEQUENCE { keyIdentifier OCTET STRING, date OPTIONAL, other OPTIONAL }
        let key_identifier = inner.sequence(budget)?.expect(Tag::OCTET_STRING, budget)?.octets(budget)?.into_owned();
        let key_encryption_algorithm = AlgorithmIdentifier::read(inner, budget)?;
        let encrypted_key = inner.expect(Tag::OCTET_STRING, budget)?.octets(budget)?.into_owned();
        Ok(Self { key_identifier, key_encryption_algorithm, encrypted_key })
    }

    /// DER.
    pub(super) fn encode(&self) -> Vec<u8> {
        write::context(
            2,
            &[
                &write::unsigned(4),
                &write::sequence(&[&write::octet_string(&self.key_identifier)]),
                &self.key_encryption_algorithm.encode(),
                &write::octet_string(&self.encrypted_key),
            ],
        )
    }
}
