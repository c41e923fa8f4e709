//! `RecipientIdentifier` and `SignerIdentifier` (RFC 5652 sections 6.2.1 and 5.3): the same choice.

use crate::codec::der::{DerError, Reader, Tag, write};
use crate::limits::Budget;

/// Names a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateIdentifier {
    /// `IssuerAndSerialNumber ::= SEQUENCE { issuer Name, serialNumber INTEGER }`
    IssuerAndSerialNumber {
        /// The issuer's name as received.
        issuer: Vec<u8>,
        /// The content octets of the serial number as received.
        serial: Vec<u8>,
    },
    /// `[0] SubjectKeyIdentifier`
    SubjectKeyIdentifier(Vec<u8>),
}

impl CertificateIdentifier {
    /// Reads the next value.
    pub fn read(reader: &mut Reader<'_>, budget: &mut Budget) -> Result<Self, DerError> {
        if let Some(key) = reader.optional(Tag::context(0), budget)? {
            return Ok(Self::SubjectKeyIdentifier(key.octets(budget)?.into_owned()));
        }
        let mut inner = reader.sequence(budget)?;
        let issuer = inner.expect(Tag::SEQUENCE, budget)?.raw().to_vec();
        let serial = inner.expect(Tag::INTEGER, budget)?.integer()?.to_vec();
        inner.finish()?;
        Ok(Self::IssuerAndSerialNumber { issuer, serial })
    }

    /// DER.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::IssuerAndSerialNumber { issuer, serial } => write::sequence(&[issuer, &write::value(0x02, &[serial])]),
            Self::SubjectKeyIdentifier(key) => write::context_primitive(0, key),
        }
    }

    /// The version of the structure that holds it: 0 and 1 for recipients and signers by issuer, 2 and 3 by key identifier.
    pub fn is_key_identifier(&self) -> bool {
        matches!(self, Self::SubjectKeyIdentifier(_))
    }
}
