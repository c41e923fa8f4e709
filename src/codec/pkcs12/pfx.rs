//! `PFX ::= SEQUENCE { version INTEGER {v3(3)}(v3,...), authSafe ContentInfo, macData MacData OPTIONAL }` (RFC 7292 section 4).

use super::{ContentInfo, MacData};
use crate::codec::der::{DerError, Reader, Rules, Tag};
use crate::limits::Budget;

/// The outermost structure.
#[derive(Debug)]
pub(crate) struct Pfx<'a> {
    pub(crate) auth_safe: ContentInfo<'a>,
    pub(crate) mac_data: Option<MacData<'a>>,
    /// Bytes after the PFX: real files have them (a line end, padding); they carry no meaning.
    pub(crate) trailing_bytes: usize,
}

impl<'a> Pfx<'a> {
    pub(crate) fn decode(der: &'a [u8], budget: &mut Budget) -> Result<Self, DerError> {
        budget.check_input(der.len())?;
        let mut outer = Reader::new(der, Rules::Ber);
        let pfx = outer.field(Tag::SEQUENCE, "it does not start with a SEQUENCE: this is not a PFX file", budget)?;
        let mut fields = pfx.inner()?;
        let version = fields.field(Tag::INTEGER, "it does not start with a version: this is not a PFX file", budget)?;
        if version.saturating_unsigned()? != 3 {
            return Err(version.error("its version is not 3, the only one that is defined"));
        }
        let auth_safe = ContentInfo::decode(&fields.field(Tag::SEQUENCE, "authSafe is missing", budget)?, budget)?;
        let mac_data = match fields.optional(Tag::SEQUENCE, budget)? {
            Some(tlv) => Some(MacData::decode(&tlv, budget)?),
            None => None,
        };
        fields.end("it holds more than version, authSafe and macData")?;
        Ok(Self { auth_safe, mac_data, trailing_bytes: outer.rest().len() })
    }
}
