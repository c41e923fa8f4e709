//! `CertificateList` (RFC 5280 section 5.1), version 1 lists too, which rasn refuses.

use super::certificate::{Extension, decode_extensions};
use super::spki::AlgorithmIdentifier;
use crate::codec::der::{DerError, Reader, Rules, Tag, Tlv};
use crate::codec::time;
use crate::limits::Budget;
use crate::time::Timestamp;

/// One entry of `revokedCertificates`.
#[derive(Debug, Clone)]
pub struct RevokedCertificate<'a> {
    /// `userCertificate`, two's complement.
    pub serial: &'a [u8],
    /// `revocationDate`
    pub date: Timestamp,
    /// `crlEntryExtensions`
    pub extensions: Vec<Extension<'a>>,
}

/// The parts of a revocation list, as received.
#[derive(Debug, Clone)]
pub struct CertificateList<'a> {
    /// `tbsCertList`: what is signed.
    pub tbs: Tlv<'a>,
    /// `signature` inside the signed part.
    pub inner_algorithm: AlgorithmIdentifier<'a>,
    /// `issuer`
    pub issuer: Tlv<'a>,
    /// `thisUpdate`
    pub this_update: Timestamp,
    /// `nextUpdate`
    pub next_update: Option<Timestamp>,
    /// `revokedCertificates`
    pub revoked: Vec<RevokedCertificate<'a>>,
    /// `crlExtensions`
    pub extensions: Vec<Extension<'a>>,
    /// `signatureAlgorithm`
    pub algorithm: AlgorithmIdentifier<'a>,
    /// `signatureValue`
    pub signature: &'a [u8],
}

impl<'a> CertificateList<'a> {
    /// Reads a revocation list.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn decode(der: &'a [u8], budget: &mut Budget) -> Result<Self, DerError> {
        budget.check_input(der.len())?;
        let mut outer = Reader::new(der, Rules::Ber);
        let mut list = outer.sequence(budget)?;
        outer.finish()?;
        let tbs = list.expect(Tag::SEQUENCE, budget)?;
        let algorithm = AlgorithmIdentifier::read(&mut list, budget)?;
        let signature = list.expect(Tag::BIT_STRING, budget)?.bit_octets()?;
        list.finish()?;

        let mut inner = tbs.inner()?;
        inner.optional(Tag::INTEGER, budget)?;
        let inner_algorithm = AlgorithmIdentifier::read(&mut inner, budget)?;
        let issuer = inner.expect(Tag::SEQUENCE, budget)?;
        let this_update = time::decode(&inner.any(budget)?)?;
        let next_update = match inner.peek() {
            Some(Tag::UTC_TIME | Tag::GENERALIZED_TIME) => Some(time::decode(&inner.any(budget)?)?),
            _ => None,
        };
        let mut revoked = Vec::new();
        if let Some(entries) = inner.optional(Tag::SEQUENCE, budget)? {
            let mut entries = entries.inner()?;
            while !entries.is_empty() {
                let mut entry = entries.sequence(budget)?;
                let serial = entry.expect(Tag::INTEGER, budget)?.integer()?;
                let date = time::decode(&entry.any(budget)?)?;
                let extensions = match entry.optional(Tag::SEQUENCE, budget)? {
                    Some(value) => decode_extensions(&value, budget)?,
                    None => Vec::new(),
                };
                entry.finish()?;
                revoked.push(RevokedCertificate { serial, date, extensions });
            }
        }
        let extensions = match inner.optional(Tag::context(0), budget)? {
            Some(explicit) => decode_extensions(&explicit.explicit(budget)?, budget)?,
            None => Vec::new(),
        };
        inner.finish()?;
        Ok(Self { tbs, inner_algorithm, issuer, this_update, next_update, revoked, extensions, algorithm, signature })
    }
}
