//! `CertificationRequest` (RFC 2986 section 4.2).

use crate::codec::der::{DerError, Reader, Rules, Tag, Tlv};
use crate::codec::x509::spki::AlgorithmIdentifier;
use crate::ids::Oid;
use crate::limits::Budget;

/// `Attribute`, its values not looked into.
#[derive(Debug, Clone)]
pub struct Attribute<'a> {
    /// The type; `None` when an arc is over 32 bits.
    pub oid: Option<Oid>,
    /// The values.
    pub values: Vec<Tlv<'a>>,
}

/// The parts of a request, as received.
#[derive(Debug, Clone)]
pub struct CertificationRequest<'a> {
    /// `certificationRequestInfo`: what is signed.
    pub info: Tlv<'a>,
    /// `subject`
    pub subject: Tlv<'a>,
    /// `subjectPKInfo`
    pub spki: Tlv<'a>,
    /// `attributes`, in the order received: strongSwan does not sort them, OpenSSL may leave them out.
    pub attributes: Vec<Attribute<'a>>,
    /// `signatureAlgorithm`
    pub algorithm: AlgorithmIdentifier<'a>,
    /// `signature`
    pub signature: &'a [u8],
}

impl<'a> CertificationRequest<'a> {
    /// Reads a request.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn decode(der: &'a [u8], budget: &mut Budget) -> Result<Self, DerError> {
        budget.check_input(der.len())?;
        let mut outer = Reader::new(der, Rules::Ber);
        let mut request = outer.sequence(budget)?;
        outer.finish()?;
        let info = request.expect(Tag::SEQUENCE, budget)?;
        let algorithm = AlgorithmIdentifier::read(&mut request, budget)?;
        let signature = request.expect(Tag::BIT_STRING, budget)?.bit_octets()?;
        request.finish()?;

        let mut inner = info.inner()?;
        let version = inner.expect(Tag::INTEGER, budget)?;
        if version.unsigned()? != 0 {
            return Err(version.error("the version of a certification request is not 0"));
        }
        let subject = inner.expect(Tag::SEQUENCE, budget)?;
        let spki = inner.expect(Tag::SEQUENCE, budget)?;
        let mut attributes = Vec::new();
        if let Some(set) = inner.optional(Tag::context(0), budget)? {
            let mut set = set.inner()?;
            while !set.is_empty() {
                let mut attribute = set.sequence(budget)?;
                let oid = attribute.expect(Tag::OID, budget)?.oid()?;
                let mut values = Vec::with_capacity(1);
                let mut value_set = attribute.set(budget)?;
                while !value_set.is_empty() {
                    values.push(value_set.any(budget)?);
                }
                attribute.finish()?;
                attributes.push(Attribute { oid, values });
            }
        }
        inner.finish()?;
        Ok(Self { info, subject, spki, attributes, algorithm, signature })
    }
}
