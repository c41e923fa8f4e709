//! `IssuerAndSubject` (RFC 8894 section 3.3.3), the body of a CertPoll.

use crate::codec::der::{DerError, Rules, Tag, single, write};
use crate::limits::Budget;

/// `IssuerAndSubject ::= SEQUENCE { issuer Name, subject Name }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerAndSubject {
    /// DER of the CA's name as received.
    pub issuer: Vec<u8>,
    /// DER of the subject that was asked for, as received.
    pub subject: Vec<u8>,
}

impl IssuerAndSubject {
    /// Reads one; nothing may follow it.
    pub fn decode(input: &[u8], budget: &mut Budget) -> Result<Self, DerError> {
        let mut inner = single(input, Rules::Ber, budget)?.inner()?;
        let issuer = inner.expect(Tag::SEQUENCE, budget)?.raw().to_vec();
        let subject = inner.expect(Tag::SEQUENCE, budget)?.raw().to_vec();
        inner.finish()?;
        Ok(Self { issuer, subject })
    }

    /// DER.
    pub fn encode(&self) -> Vec<u8> {
        write::sequence(&[&self.issuer, &self.subject])
    }
}
