//! `SafeBag ::= SEQUENCE { bagId, bagValue [0] EXPLICIT ANY, bagAttributes SET OF PKCS12Attribute OPTIONAL }` (RFC 7292 section 4.2).

use super::ber::{self, DecodeError, Reader, SEQUENCE, SET, Tlv};
use crate::limits::Budget;

/// One bag, its value still unread.
#[derive(Debug)]
pub(crate) struct SafeBag<'a> {
    pub(crate) id: String,
    pub(crate) value: Tlv<'a>,
    pub(crate) attributes: Vec<Attribute<'a>>,
}

/// `PKCS12Attribute ::= SEQUENCE { attrId OBJECT IDENTIFIER, attrValues SET OF ANY }`.
#[derive(Debug)]
pub(crate) struct Attribute<'a> {
    pub(crate) id: String,
    /// One value by the standard; none or several are seen and tolerated.
    pub(crate) values: Vec<Tlv<'a>>,
}

impl<'a> SafeBag<'a> {
    pub(crate) fn read(bags: &mut Reader<'a>, budget: &mut Budget) -> Result<Self, DecodeError> {
        budget.charge_bags(1)?;
        let mut fields = bags.expect(SEQUENCE, "a safe bag is not a SEQUENCE", budget)?.children(budget)?;
        let id = fields.expect(ber::OBJECT_IDENTIFIER, "a safe bag has no type", budget)?.oid()?;
        let mut explicit = fields.expect(ber::context(0), "a safe bag has no value", budget)?.children(budget)?;
        let value = explicit.next(budget)?;
        explicit.finish("a safe bag holds more than one value")?;
        let mut attributes = Vec::new();
        if let Some(set) = fields.optional(SET, budget)? {
            let mut set = set.children(budget)?;
            while !set.is_empty() {
                let attribute = set.expect(SEQUENCE, "an attribute of a safe bag is not a SEQUENCE", budget)?;
                attributes.push(Attribute::decode(&attribute, budget)?);
            }
        }
        fields.finish("a safe bag holds more than type, value and attributes")?;
        Ok(Self { id, value, attributes })
    }
}

impl<'a> Attribute<'a> {
    fn decode(tlv: &Tlv<'a>, budget: &mut Budget) -> Result<Self, DecodeError> {
        let mut fields = tlv.children(budget)?;
        let id = fields.expect(ber::OBJECT_IDENTIFIER, "an attribute of a safe bag has no type", budget)?.oid()?;
        let mut set = fields.expect(SET, "an attribute of a safe bag has no values", budget)?.children(budget)?;
        let mut values = Vec::new();
        while !set.is_empty() {
            values.push(set.next(budget)?);
        }
        fields.finish("an attribute of a safe bag holds more than type and values")?;
        Ok(Self { id, values })
    }
}

/// `CertBag`, `CRLBag` and `SecretBag` have one shape: `SEQUENCE { typeId OBJECT IDENTIFIER, value [0] EXPLICIT ANY }`.
pub(crate) fn typed_value<'a>(bag: &Tlv<'a>, budget: &mut Budget) -> Result<(String, Tlv<'a>), DecodeError> {
    if bag.tag != SEQUENCE {
        return Err(DecodeError::Malformed("the value of a safe bag is not a SEQUENCE"));
    }
    let mut fields = bag.children(budget)?;
    let id = fields.expect(ber::OBJECT_IDENTIFIER, "the value of a safe bag has no type", budget)?.oid()?;
    let mut explicit = fields.expect(ber::context(0), "the value of a safe bag is empty", budget)?.children(budget)?;
    let value = explicit.next(budget)?;
    explicit.finish("the value of a safe bag holds more than one element")?;
    fields.finish("the value of a safe bag holds more than type and value")?;
    Ok((id, value))
}
