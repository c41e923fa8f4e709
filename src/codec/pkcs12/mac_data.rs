//! `MacData ::= SEQUENCE { mac DigestInfo, macSalt OCTET STRING, iterations INTEGER DEFAULT 1 }` (RFC 7292 section 4).

use crate::codec::der::{DerError, Octets, Tag, Tlv};
use crate::codec::pkcs5::AlgorithmIdentifier;
use crate::limits::Budget;

/// How the file's integrity is protected by a password.
#[derive(Debug)]
pub(crate) struct MacData<'a> {
    /// The digest of the PKCS#12 MAC, or PBMAC1 with its parameters (RFC 9579).
    pub(crate) algorithm: AlgorithmIdentifier<'a>,
    pub(crate) digest: Octets<'a>,
    pub(crate) salt: Octets<'a>,
    pub(crate) iterations: u64,
}

impl<'a> MacData<'a> {
    pub(crate) fn decode(tlv: &Tlv<'a>, budget: &mut Budget) -> Result<Self, DerError> {
        let mut fields = tlv.inner()?;
        let mut digest_info = fields.field(Tag::SEQUENCE, "the MAC has no DigestInfo", budget)?.inner()?;
        let algorithm = AlgorithmIdentifier::read(&mut digest_info, budget)?;
        let digest = digest_info.octet_string("the MAC has no value", budget)?;
        digest_info.end("the MAC's DigestInfo holds more than algorithm and value")?;
        let salt = fields.octet_string("the MAC has no salt", budget)?;
        let iterations = match fields.optional(Tag::INTEGER, budget)? {
            Some(tlv) => tlv.saturating_unsigned()?,
            None => 1,
        };
        fields.end("macData holds more than MAC, salt and iterations")?;
        Ok(Self { algorithm, digest, salt, iterations })
    }
}
