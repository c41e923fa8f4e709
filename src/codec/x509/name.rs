//! `Name ::= CHOICE { rdnSequence RDNSequence }` (RFC 5280 section 4.1.2.4).

use crate::codec::der::{DerError, Reader, Rules, Tag, Tlv};
use crate::limits::Budget;

/// `AttributeTypeAndValue`
#[derive(Debug, Clone, Copy)]
pub struct AttributeTypeAndValue<'a> {
    /// Content octets of the type.
    pub oid: &'a [u8],
    /// The value.
    pub value: Tlv<'a>,
}

/// Reads a name: its relative distinguished names in the order of the encoding.
///
/// # Errors
/// When the structure is malformed; the values are not looked into.
pub fn decode<'a>(der: &'a [u8], budget: &mut Budget) -> Result<Vec<Vec<AttributeTypeAndValue<'a>>>, DerError> {
    let mut outer = Reader::new(der, Rules::Ber);
    let mut sequence = outer.sequence(budget)?;
    outer.finish()?;
    let mut name = Vec::new();
    while !sequence.is_empty() {
        let mut set = sequence.set(budget)?;
        let mut rdn = Vec::with_capacity(1);
        while !set.is_empty() {
            let mut attribute = set.sequence(budget)?;
            let oid = attribute.expect(Tag::OID, budget)?.oid_octets()?;
            let value = attribute.any(budget)?;
            attribute.finish()?;
            rdn.push(AttributeTypeAndValue { oid, value });
        }
        name.push(rdn);
    }
    Ok(name)
}
