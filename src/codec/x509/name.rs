//! `Name ::= CHOICE { rdnSequence RDNSequence }` (RFC 5280 section 4.1.2.4).

use crate::codec::der::{DerError, Reader, Rules, Tag, Tlv};
use crate::limits::Budget;

/// `AttributeTypeAndValue`
#[derive(Debug, Clone, Copy)]
pub struct AttributeTypeAndValue<'a> {
    /// The type, well formed.
    pub oid: Tlv<'a>,
    /// The value.
    pub value: Tlv<'a>,
}

/// Reads a name: its relative distinguished names in the order of the encoding, each attribute as `each` makes it.
///
/// # Errors
/// When the structure is malformed; the values are not looked into.
pub fn decode<'a, T>(
    der: &'a [u8],
    mut each: impl FnMut(AttributeTypeAndValue<'a>, &mut Budget) -> T,
    budget: &mut Budget,
) -> Result<Vec<Vec<T>>, DerError> {
    let mut outer = Reader::new(der, Rules::Ber);
    let mut sequence = outer.sequence(budget)?;
    outer.finish()?;
    let mut name = Vec::new();
    while !sequence.is_empty() {
        let mut set = sequence.set(budget)?;
        let mut rdn = Vec::with_capacity(1);
        while !set.is_empty() {
            let mut attribute = set.sequence(budget)?;
            let oid = attribute.expect(Tag::OID, budget)?;
            oid.oid_octets()?;
            let value = attribute.any(budget)?;
            attribute.finish()?;
            rdn.push(each(AttributeTypeAndValue { oid, value }, budget));
        }
        name.push(rdn);
    }
    Ok(name)
}
