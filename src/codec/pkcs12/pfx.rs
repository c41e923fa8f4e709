//! `PFX ::= SEQUENCE { version INTEGER {v3(3)}(v3,...), authSafe ContentInfo, macData MacData OPTIONAL }` (RFC 7292 section 4).

use super::ber::{DecodeError, INTEGER, Reader, SEQUENCE};
use super::{ContentInfo, MacData};
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
    pub(crate) fn decode(der: &'a [u8], budget: &mut Budget) -> Result<Self, DecodeError> {
        budget.check_input(der.len())?;
        let mut outer = Reader::new(der, 0);
        let pfx = outer.expect(SEQUENCE, "it does not start with a SEQUENCE: this is not a PFX file", budget)?;
        let mut fields = pfx.children(budget)?;
        let version = fields.expect(INTEGER, "it does not start with a version: this is not a PFX file", budget)?;
        if version.unsigned()? != 3 {
            return Err(DecodeError::Malformed("its version is not 3, the only one that is defined"));
        }
        let auth_safe = ContentInfo::decode(&fields.expect(SEQUENCE, "authSafe is missing", budget)?, budget)?;
        let mac_data = match fields.optional(SEQUENCE, budget)? {
            Some(tlv) => Some(MacData::decode(&tlv, budget)?),
            None => None,
        };
        fields.finish("it holds more than version, authSafe and macData")?;
        Ok(Self { auth_safe, mac_data, trailing_bytes: outer.remaining() })
    }
}
