//! The bodies of queries: `IssuerAndSubject` (RFC 8894 section 3.3.3) and `IssuerAndSerialNumber` (RFC 5652 section 10.2.4).

use crate::codec::der::{DerError, Reader, Rules, Tag, write};
use crate::limits::Budget;

/// `IssuerAndSubject ::= SEQUENCE { issuer Name, subject Name }`, each name as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerAndSubject<'a> {
    /// The name of the CA.
    pub issuer: &'a [u8],
    /// The subject asked for.
    pub subject: &'a [u8],
}

impl<'a> IssuerAndSubject<'a> {
    /// Reads one value; nothing may follow it.
    pub fn decode(der: &'a [u8], budget: &mut Budget) -> Result<Self, DerError> {
        let mut whole = Reader::new(der, Rules::Ber);
        let mut reader = whole.sequence(budget)?;
        whole.finish()?;
        let issuer = reader.expect(Tag::SEQUENCE, budget)?.raw();
        let subject = reader.expect(Tag::SEQUENCE, budget)?.raw();
        reader.finish()?;
        Ok(Self { issuer, subject })
    }

    /// DER.
    pub fn encode(&self) -> Vec<u8> {
        write::sequence(&[self.issuer, self.subject])
    }
}

/// `IssuerAndSerialNumber ::= SEQUENCE { issuer Name, serialNumber INTEGER }`, as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerAndSerialNumber<'a> {
    /// The name of the CA.
    pub issuer: &'a [u8],
    /// The content octets of the INTEGER.
    pub serial: &'a [u8],
}

impl<'a> IssuerAndSerialNumber<'a> {
    /// Reads one value; nothing may follow it.
    pub fn decode(der: &'a [u8], budget: &mut Budget) -> Result<Self, DerError> {
        let mut whole = Reader::new(der, Rules::Ber);
        let mut reader = whole.sequence(budget)?;
        whole.finish()?;
        let issuer = reader.expect(Tag::SEQUENCE, budget)?.raw();
        let serial = reader.expect(Tag::INTEGER, budget)?.integer()?;
        reader.finish()?;
        Ok(Self { issuer, serial })
    }

    /// DER.
    pub fn encode(&self) -> Vec<u8> {
        write::sequence(&[self.issuer, &write::value(0x02, &[self.serial])])
    }
}
