//! `DirectoryString` and the other character strings of names and attributes (RFC 5280 section 4.1.2.4).

use crate::codec::der::{Tag, Tlv, write};
use crate::limits::Budget;

/// The text of a character string of any type; `None` when it is not one or its octets do not fit the type.
///
/// TeletexString is read as Latin-1, as every implementation does.
#[must_use]
pub fn decode(value: &Tlv<'_>, budget: &mut Budget) -> Option<String> {
    let octets = match value.tag() {
        Tag::UTF8_STRING
        | Tag::PRINTABLE_STRING
        | Tag::IA5_STRING
        | Tag::NUMERIC_STRING
        | Tag::VISIBLE_STRING
        | Tag::TELETEX_STRING
        | Tag::BMP_STRING
        | Tag::UNIVERSAL_STRING => value.octets(budget).ok()?,
        _ => return None,
    };
    match value.tag() {
        Tag::UTF8_STRING => core::str::from_utf8(&octets).ok().map(str::to_owned),
        Tag::TELETEX_STRING => Some(octets.iter().map(|octet| char::from(*octet)).collect()),
        Tag::BMP_STRING => {
            let pairs = octets.chunks_exact(2);
            if !pairs.remainder().is_empty() {
                return None;
            }
            char::decode_utf16(pairs.map(|pair| u16::from_be_bytes([pair[0], pair[1]]))).collect::<Result<_, _>>().ok()
        }
        Tag::UNIVERSAL_STRING => {
            let quads = octets.chunks_exact(4);
            if !quads.remainder().is_empty() {
                return None;
            }
            quads.map(|quad| char::from_u32(u32::from_be_bytes([quad[0], quad[1], quad[2], quad[3]]))).collect()
        }
        _ => octets.is_ascii().then(|| octets.iter().map(|octet| char::from(*octet)).collect()),
    }
}

/// Whether a PrintableString may hold the text (X.680 section 41.4).
#[must_use]
pub fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte))
}

/// A `DirectoryString`: PrintableString when its alphabet allows, else UTF8String.
#[must_use]
pub fn encode_directory_string(text: &str) -> Vec<u8> {
    if is_printable(text) { write::value(write::PRINTABLE_STRING, &[text.as_bytes()]) } else { write::utf8_string(text) }
}

/// A BMPString; characters outside the basic plane become surrogate pairs.
#[must_use]
pub fn encode_bmp(text: &str) -> Vec<u8> {
    let octets: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    write::value(write::BMP_STRING, &[&octets])
}
