//! Writers of DER values. Each gives a whole value; nothing here can fail.

use crate::ids::Oid;

/// SEQUENCE
pub const SEQUENCE: u8 = 0x30;
/// SET
pub const SET: u8 = 0x31;
/// BIT STRING
pub const BIT_STRING: u8 = 0x03;
/// OBJECT IDENTIFIER
pub const OID: u8 = 0x06;
/// OCTET STRING
pub const OCTET_STRING: u8 = 0x04;
/// UTF8String
pub const UTF8_STRING: u8 = 0x0c;
/// PrintableString
pub const PRINTABLE_STRING: u8 = 0x13;
/// IA5String
pub const IA5_STRING: u8 = 0x16;
/// BMPString
pub const BMP_STRING: u8 = 0x1e;

/// A value of the one-octet identifier `identifier` whose content is the parts, one after another.
#[must_use]
pub fn value(identifier: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut out = Vec::with_capacity(len + 10);
    out.push(identifier);
    if len < 0x80 {
        out.push(len as u8);
    } else {
        let octets = len.to_be_bytes();
        let skip = octets.iter().take_while(|octet| **octet == 0).count();
        out.push(0x80 | (octets.len() - skip) as u8);
        out.extend_from_slice(&octets[skip..]);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// A SEQUENCE of values.
#[must_use]
pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    value(SEQUENCE, parts)
}

/// A SEQUENCE OF values.
#[must_use]
pub fn sequence_of(parts: &[Vec<u8>]) -> Vec<u8> {
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    value(SEQUENCE, &parts)
}

/// A SET OF values, sorted as DER demands (X.690 section 11.6).
#[must_use]
pub fn set_of(mut parts: Vec<Vec<u8>>) -> Vec<u8> {
    parts.sort();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    value(SET, &parts)
}

/// `[number]` around the parts, constructed: an explicit tag, or an implicit one on a constructed type. `number` is at most 30.
#[must_use]
pub fn context(number: u8, parts: &[&[u8]]) -> Vec<u8> {
    value(0xa0 | number & 0x1f, parts)
}

/// `[number]` with primitive content: an implicit tag on a primitive type. `number` is at most 30.
#[must_use]
pub fn context_primitive(number: u8, content: &[u8]) -> Vec<u8> {
    value(0x80 | number & 0x1f, &[content])
}

/// A BOOLEAN.
#[must_use]
pub fn boolean(value: bool) -> Vec<u8> {
    vec![0x01, 0x01, if value { 0xff } else { 0x00 }]
}

/// NULL
#[must_use]
pub fn null() -> Vec<u8> {
    vec![0x05, 0x00]
}

/// A non-negative INTEGER from big-endian bytes.
#[must_use]
pub fn integer(magnitude: &[u8]) -> Vec<u8> {
    let significant = magnitude.iter().position(|byte| *byte != 0).map_or(&[][..], |start| &magnitude[start..]);
    match significant.first() {
        Some(first) if first & 0x80 == 0 => value(0x02, &[significant]),
        _ => value(0x02, &[&[0], significant]),
    }
}

/// A non-negative INTEGER.
#[must_use]
pub fn unsigned(number: u64) -> Vec<u8> {
    integer(&number.to_be_bytes())
}

/// An OCTET STRING.
#[must_use]
pub fn octet_string(octets: &[u8]) -> Vec<u8> {
    value(OCTET_STRING, &[octets])
}

/// A BIT STRING of whole octets.
#[must_use]
pub fn bit_octets(octets: &[u8]) -> Vec<u8> {
    value(BIT_STRING, &[&[0], octets])
}

/// A named-bit BIT STRING: bit 0 first, trailing zero bits dropped (X.690 section 11.2.2).
#[must_use]
pub fn named_bits(bits: &[bool]) -> Vec<u8> {
    let used = bits.iter().rposition(|bit| *bit).map_or(0, |last| last + 1);
    let mut octets = vec![0u8; used.div_ceil(8)];
    for (index, _) in bits.iter().enumerate().filter(|(_, bit)| **bit) {
        octets[index / 8] |= 0x80 >> (index % 8);
    }
    let unused = (octets.len() * 8 - used) as u8;
    value(BIT_STRING, &[&[unused], &octets])
}

/// An OBJECT IDENTIFIER.
#[must_use]
pub fn oid(oid: &Oid) -> Vec<u8> {
    let mut content = Vec::with_capacity(16);
    let mut arcs = oid.arcs().map(u64::from);
    let (first, second) = (arcs.next().unwrap_or(0), arcs.next().unwrap_or(0));
    for arc in core::iter::once(first * 40 + second).chain(arcs) {
        let groups = (64 - arc.leading_zeros()).div_ceil(7).max(1);
        for group in (0..groups).rev() {
            let more = if group == 0 { 0 } else { 0x80 };
            content.push((arc >> (7 * group)) as u8 & 0x7f | more);
        }
    }
    value(0x06, &[&content])
}

/// A UTF8String.
#[must_use]
pub fn utf8_string(text: &str) -> Vec<u8> {
    value(UTF8_STRING, &[text.as_bytes()])
}

/// An `AlgorithmIdentifier` from an object identifier and the DER of its parameters (empty for absent ones).
#[must_use]
pub fn algorithm_identifier(algorithm: &Oid, parameters: &[u8]) -> Vec<u8> {
    sequence(&[&oid(algorithm), parameters])
}
