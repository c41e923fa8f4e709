//! The attributes of bags.

use super::contents::PfxAttribute;
use super::error::PfxError;
use crate::codec::der::{Tag, Tlv};
use crate::codec::pkcs12::{Attribute, oid};
use crate::limits::Budget;

/// The attributes of a bag. What is odd in them never costs the key or certificate that they describe.
#[derive(Default)]
pub(super) struct Attributes {
    pub(super) friendly_name: Option<String>,
    pub(super) local_key_id: Option<Vec<u8>>,
    pub(super) all: Vec<PfxAttribute>,
}

impl Attributes {
    pub(super) fn read(attributes: &[Attribute<'_>], budget: &mut Budget) -> Result<Self, PfxError> {
        let mut read = Self::default();
        for attribute in attributes {
            if let Some(value) = attribute.values.first() {
                match attribute.id.as_str() {
                    oid::FRIENDLY_NAME if read.friendly_name.is_none() => read.friendly_name = text(value, budget),
                    oid::LOCAL_KEY_ID if read.local_key_id.is_none() => {
                        let is_octets = value.tag() == Tag::OCTET_STRING;
                        let id = if is_octets { value.octets(budget)?.into_owned() } else { value.content().to_vec() };
                        read.local_key_id = Some(id);
                    }
                    _ => {}
                }
            }
            read.all.push(PfxAttribute {
                name: oid::name(&attribute.id),
                oid: attribute.id.clone(),
                values: attribute.values.iter().map(|value| value.raw().to_vec()).collect(),
            });
        }
        Ok(read)
    }
}

/// A friendlyName: BMPString by the standard, other string types in real files. Broken UTF-16 is shown with replacement characters.
fn text(value: &Tlv<'_>, budget: &mut Budget) -> Option<String> {
    let octets = value.octets(budget).ok()?;
    match value.tag() {
        Tag::BMP_STRING => {
            let units = octets.chunks_exact(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
            let text = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect::<String>();
            // Some writers count a terminating zero in.
            Some(text.trim_end_matches('\0').to_owned())
        }
        Tag::UTF8_STRING | Tag::PRINTABLE_STRING | Tag::IA5_STRING | Tag::VISIBLE_STRING => {
            Some(String::from_utf8_lossy(&octets).into_owned())
        }
        Tag::TELETEX_STRING => Some(octets.iter().map(|byte| char::from(*byte)).collect()),
        _ => None,
    }
}
