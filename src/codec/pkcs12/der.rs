//! Writing DER: definite, minimal lengths. Takes no secrets: what is secret is encrypted before it comes here.

use super::ber;

/// One element.
pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut out = Vec::with_capacity(length + 10);
    out.push(tag);
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let octets = length.to_be_bytes();
        let skip = octets.iter().take_while(|byte| **byte == 0).count();
        out.push(0x80 | (octets.len() - skip) as u8);
        out.extend_from_slice(&octets[skip..]);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(ber::SEQUENCE, parts)
}

/// A SET OF, sorted as DER demands.
pub(crate) fn set_of(mut elements: Vec<Vec<u8>>) -> Vec<u8> {
    elements.sort();
    tlv(ber::SET, &[&elements.concat()])
}

pub(crate) fn octet_string(contents: &[u8]) -> Vec<u8> {
    tlv(ber::OCTET_STRING, &[contents])
}

pub(crate) fn null() -> Vec<u8> {
    tlv(ber::NULL, &[])
}

/// A non-negative INTEGER.
pub(crate) fn integer(value: u32) -> Vec<u8> {
    let octets = value.to_be_bytes();
    let skip = octets.iter().take_while(|byte| **byte == 0).count().min(3);
    let octets = &octets[skip..];
    // A leading one bit would make the number negative.
    let pad: &[u8] = if octets[0] & 0x80 != 0 { &[0] } else { &[] };
    tlv(ber::INTEGER, &[pad, octets])
}

/// An OBJECT IDENTIFIER from its dotted decimal form, which is one of this crate's constants.
pub(crate) fn oid(dotted: &str) -> Vec<u8> {
    tlv(ber::OBJECT_IDENTIFIER, &[&super::oid::contents(dotted)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_integers_are_minimal() {
        assert_eq!(tlv(0x04, &[&[0; 127]])[..2], [0x04, 127]);
        assert_eq!(tlv(0x04, &[&[0; 128]])[..3], [0x04, 0x81, 128]);
        assert_eq!(tlv(0x04, &[&[0; 256]])[..4], [0x04, 0x82, 1, 0]);
        assert_eq!(integer(0), [2, 1, 0]);
        assert_eq!(integer(128), [2, 2, 0, 128]);
        assert_eq!(integer(10_000), [2, 2, 0x27, 0x10]);
        assert_eq!(integer(u32::MAX), [2, 5, 0, 255, 255, 255, 255]);
    }

    #[test]
    fn a_set_of_is_sorted() {
        assert_eq!(set_of(vec![vec![4, 1, 2], vec![4, 1, 1]]), [0x31, 6, 4, 1, 1, 4, 1, 2]);
    }
}
