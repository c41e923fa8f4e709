//! `Certificate` and `TBSCertificate` (RFC 5280 section 4.1), kept as received.

use core::ops::Range;

use super::spki::AlgorithmIdentifier;
use crate::codec::der::{DerError, Octets, Reader, Rules, Tag, Tlv};
use crate::codec::time;
use crate::ids::Oid;
use crate::limits::Budget;
use crate::time::Timestamp;

/// `Extension`, its value not looked into.
#[derive(Debug, Clone)]
pub struct Extension<'a> {
    /// The type; `None` when an arc is over 32 bits.
    pub oid: Option<Oid>,
    /// The content octets of the type.
    pub oid_octets: &'a [u8],
    /// Whether it is critical.
    pub critical: bool,
    /// The content of `extnValue`.
    pub value: Octets<'a>,
}

/// The parts of a certificate, as received.
#[derive(Debug, Clone)]
pub struct Certificate<'a> {
    /// `tbsCertificate`: what is signed.
    pub tbs: Tlv<'a>,
    /// `serialNumber`, two's complement.
    pub serial: &'a [u8],
    /// `signature` inside the signed part.
    pub inner_algorithm: AlgorithmIdentifier<'a>,
    /// `issuer`
    pub issuer: Tlv<'a>,
    /// `notBefore`
    pub not_before: Timestamp,
    /// `notAfter`
    pub not_after: Timestamp,
    /// `subject`
    pub subject: Tlv<'a>,
    /// `subjectPublicKeyInfo`
    pub spki: Tlv<'a>,
    /// `extensions`
    pub extensions: Vec<Extension<'a>>,
    /// `signatureAlgorithm`
    pub algorithm: AlgorithmIdentifier<'a>,
    /// `signature`
    pub signature: &'a [u8],
    /// Where the signature lies in the input.
    pub signature_range: Range<usize>,
}

impl<'a> Certificate<'a> {
    /// Reads a certificate.
    ///
    /// # Errors
    /// When the structure is malformed or holds an extension twice.
    pub fn decode(der: &'a [u8], budget: &mut Budget) -> Result<Self, DerError> {
        budget.check_input(der.len())?;
        budget.charge_certificates(1)?;
        let mut outer = Reader::new(der, Rules::Ber);
        let mut certificate = outer.sequence(budget)?;
        outer.finish()?;
        let tbs = certificate.expect(Tag::SEQUENCE, budget)?;
        let algorithm = AlgorithmIdentifier::read(&mut certificate, budget)?;
        let signature_value = certificate.expect(Tag::BIT_STRING, budget)?;
        let signature = signature_value.bit_octets()?;
        let signature_start = signature_value.offset() + 1;
        let signature_range = signature_start..signature_start + signature.len();
        certificate.finish()?;

        let mut inner = tbs.inner()?;
        if let Some(version) = inner.optional(Tag::context(0), budget)? {
            let number = version.explicit(budget)?;
            if number.tag() != Tag::INTEGER || number.unsigned()? > 2 {
                return Err(number.error("the version of a certificate is unknown"));
            }
        }
        let serial = inner.expect(Tag::INTEGER, budget)?.integer()?;
        let inner_algorithm = AlgorithmIdentifier::read(&mut inner, budget)?;
        let issuer = inner.expect(Tag::SEQUENCE, budget)?;
        let mut validity = inner.sequence(budget)?;
        let not_before = time::decode(&validity.any(budget)?)?;
        let not_after = time::decode(&validity.any(budget)?)?;
        validity.finish()?;
        let subject = inner.expect(Tag::SEQUENCE, budget)?;
        let spki = inner.expect(Tag::SEQUENCE, budget)?;
        inner.optional(Tag::context(1), budget)?;
        inner.optional(Tag::context(2), budget)?;
        let extensions = match inner.optional(Tag::context(3), budget)? {
            Some(explicit) => decode_extensions(&explicit.explicit(budget)?, budget)?,
            None => Vec::new(),
        };
        inner.finish()?;
        Ok(Self {
            tbs,
            serial,
            inner_algorithm,
            issuer,
            not_before,
            not_after,
            subject,
            spki,
            extensions,
            algorithm,
            signature,
            signature_range,
        })
    }
}

/// Reads `Extensions ::= SEQUENCE SIZE (1..MAX) OF Extension`; an empty one is tolerated.
///
/// # Errors
/// When it is malformed or holds an extension twice (RFC 5280 section 4.2).
pub fn decode_extensions<'a>(value: &Tlv<'a>, budget: &mut Budget) -> Result<Vec<Extension<'a>>, DerError> {
    if value.tag() != Tag::SEQUENCE {
        return Err(value.error("extensions are not a SEQUENCE"));
    }
    let mut sequence = value.inner()?;
    let mut extensions: Vec<Extension<'a>> = Vec::new();
    while !sequence.is_empty() {
        let mut extension = sequence.sequence(budget)?;
        let oid = extension.expect(Tag::OID, budget)?;
        let critical = extension.optional(Tag::BOOLEAN, budget)?.map_or(Ok(false), |critical| critical.boolean())?;
        let octets = extension.expect(Tag::OCTET_STRING, budget)?.octets(budget)?;
        extension.finish()?;
        // Quadratic, so bounded: no certificate has more than a few dozen.
        if extensions.len() >= 256 {
            return Err(oid.error("there are more than 256 extensions"));
        }
        if extensions.iter().any(|other| other.oid_octets == oid.content()) {
            return Err(oid.error("an extension appears twice"));
        }
        extensions.push(Extension { oid: oid.oid()?, oid_octets: oid.content(), critical, value: octets });
    }
    Ok(extensions)
}
