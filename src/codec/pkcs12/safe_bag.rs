//! `SafeBag ::= SEQUENCE { bagId, bagValue [0] EXPLICIT ANY, bagAttributes SET OF PKCS12Attribute OPTIONAL }` (RFC 7292 section 4.2).

use crate::codec::der::{DerError, Reader, Tag, Tlv};
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
    pub(crate) fn read(bags: &mut Reader<'a>, budget: &mut Budget) -> Result<Self, DerError> {
        budget.charge_bags(1)?;
        let mut fields = bags.field(Tag::SEQUENCE, "a safe bag is not a SEQUENCE", budget)?.inner()?;
        let id = fields.field(Tag::OID, "a safe bag has no type", budget)?.dotted_oid()?;
        let mut explicit = fields.field(Tag::context(0), "a safe bag has no value", budget)?.inner()?;
        let value = explicit.any(budget)?;
        explicit.end("a safe bag holds more than one value")?;
        let mut attributes = Vec::new();
        if let Some(set) = fields.optional(Tag::SET, budget)? {
            let mut set = set.inner()?;
            while !set.is_empty() {
                let attribute = set.field(Tag::SEQUENCE, "an attribute of a safe bag is not a SEQUENCE", budget)?;
                attributes.push(Attribute::decode(&attribute, budget)?);
            }
        }
        fields.end("a safe bag holds more than type, value and attributes")?;
        Ok(Self { id, value, attributes })
    }
}

impl<'a> Attribute<'a> {
    fn decode(tlv: &Tlv<'a>, budget: &mut Budget) -> Result<Self, DerError> {
        let mut fields = tlv.inner()?;
        let id = fields.field(Tag::OID, "an attribute of a safe bag has no type", budget)?.dotted_oid()?;
        let mut set = fields.field(Tag::SET, "an attribute of a safe bag has no values", budget)?.inner()?;
        let mut values = Vec::new();
        while !set.is_empty() {
            values.push(set.any(budget)?);
        }
        fields.end("an attribute of a safe bag holds more than type and values")?;
        Ok(Self { id, values })
    }
}

/// `CertBag`, `CRLBag` and `SecretBag` have one shape: `SEQUENCE { typeId OBJECT IDENTIFIER, value [0] EXPLICIT ANY }`.
pub(crate) fn typed_value<'a>(bag: &Tlv<'a>, budget: &mut Budget) -> Result<(String, Tlv<'a>), DerError> {
    if bag.tag() != Tag::SEQUENCE {
        return Err(bag.error("the value of a safe bag is not a SEQUENCE"));
    }
    let mut fields = bag.inner()?;
    let id = fields.field(Tag::OID, "the value of a safe bag has no type", budget)?.dotted_oid()?;
    let mut explicit = fields.field(Tag::context(0), "the value of a safe bag is empty", budget)?.inner()?;
    let value = explicit.any(budget)?;
    explicit.end("the value of a safe bag holds more than one element")?;
    fields.end("the value of a safe bag holds more than type and value")?;
    Ok((id, value))
}
