//! `PasswordRecipientInfo` (RFC 5652 section 6.2.4) and the parameters of PBKDF2 (RFC 8018 appendix A.2).

use super::{AlgorithmIdentifier, oids, read_oid};
use crate::codec::der::{DerError, Reader, Rules, Tag, single, write};
use crate::ids::Oid;
use crate::limits::Budget;
use crate::terms::oid;

/// `PasswordRecipientInfo ::= SEQUENCE { version, [0] keyDerivationAlgorithm OPTIONAL, keyEncryptionAlgorithm, encryptedKey OCTET STRING }`
#[derive(Debug, Clone)]
pub struct PasswordRecipientInfo {
    /// How the password becomes a key; absent: the password's owner knows.
    pub key_derivation_algorithm: Option<AlgorithmIdentifier>,
    /// How the content key is encrypted.
    pub key_encryption_algorithm: AlgorithmIdentifier,
    /// The encrypted content key.
    pub encrypted_key: Vec<u8>,
}

impl PasswordRecipientInfo {
    /// Reads what is under the tag.
    pub(super) fn read(inner: &mut Reader<'_>, budget: &mut Budget) -> Result<Self, DerError> {
        inner.expect(Tag::INTEGER, budget)?.unsigned()?;
        let key_derivation_algorithm = match inner.optional(Tag::context(0), budget)? {
            Some(value) => Some(AlgorithmIdentifier::read_value(value, budget)?),
            None => None,
        };
        let key_encryption_algorithm = AlgorithmIdentifier::read(inner, budget)?;
        let encrypted_key = inner.expect(Tag::OCTET_STRING, budget)?.octets(budget)?.into_owned();
        Ok(Self { key_derivation_algorithm, key_encryption_algorithm, encrypted_key })
    }

    /// DER.
    pub(super) fn encode(&self) -> Vec<u8> {
        let derivation = self.key_derivation_algorithm.as_ref().map(|algorithm| {
            let parameters = algorithm.parameters.as_deref().unwrap_or_default();
            write::context(0, &[&write::oid(&algorithm.algorithm), parameters])
        });
        write::context(
            3,
            &[
                &write::unsigned(0),
                &derivation.unwrap_or_default(),
                &self.key_encryption_algorithm.encode(),
                &write::octet_string(&self.encrypted_key),
            ],
        )
    }
}

/// `PBKDF2-params ::= SEQUENCE { salt CHOICE { specified OCTET STRING, .. }, iterationCount, keyLength OPTIONAL, prf DEFAULT hmacWithSHA1 }`
#[derive(Debug, Clone)]
pub struct Pbkdf2Params {
    /// The salt.
    pub salt: Vec<u8>,
    /// The rounds.
    pub iteration_count: u64,
    /// The length of the derived key in bytes, when it is told.
    pub key_length: Option<u64>,
    /// The pseudo-random function.
    pub prf: Oid,
}

impl Pbkdf2Params {
    /// Reads the parameters.
    pub fn decode(parameters: &[u8], budget: &mut Budget) -> Result<Self, DerError> {
        let mut inner = single(parameters, Rules::Ber, budget)?.inner()?;
        let salt = inner.expect(Tag::OCTET_STRING, budget)?.octets(budget)?.into_owned();
        let iteration_count = inner.expect(Tag::INTEGER, budget)?.unsigned()?;
        let key_length = match inner.optional(Tag::INTEGER, budget)? {
            Some(length) => Some(length.unsigned()?),
            None => None,
        };
        let prf = match inner.optional(Tag::SEQUENCE, budget)? {
            Some(prf) => read_oid(&mut prf.inner()?, budget)?,
            None => oid(oids::HMAC_WITH_SHA1),
        };
        inner.finish()?;
        Ok(Self { salt, iteration_count, key_length, prf })
    }

    /// DER.
    pub fn encode(&self) -> Vec<u8> {
        let key_length = self.key_length.map(write::unsigned).unwrap_or_default();
        let prf =
            if self.prf.as_str() == oids::HMAC_WITH_SHA1 { Vec::new() } else { write::algorithm_identifier(&self.prf, &write::null()) };
        write::sequence(&[&write::octet_string(&self.salt), &write::unsigned(self.iteration_count), &key_length, &prf])
    }
}
