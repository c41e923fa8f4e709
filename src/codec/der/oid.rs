//! The text form of an OBJECT IDENTIFIER (X.690 section 8.19).

use core::fmt::Write as _;

use crate::ids::Oid;

/// The dotted form of an OBJECT IDENTIFIER's content octets; `None` when they are malformed or an arc has more than 128 bits, which
/// the UUID arcs under 2.25 have.
#[must_use]
pub fn dotted(octets: &[u8]) -> Option<String> {
    const LONGEST: usize = 64;
    if octets.len() > LONGEST || octets.last()? & 0x80 != 0 {
        return None;
    }
    let mut text = String::with_capacity(octets.len() * 3);
    let mut arc: u128 = 0;
    for byte in octets {
        if arc >> 121 != 0 || (arc == 0 && *byte == 0x80) {
            return None;
        }
        arc = arc << 7 | u128::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        let written = if text.is_empty() {
            let root = (arc / 40).min(2);
            write!(text, "{root}.{}", arc - root * 40)
        } else {
            write!(text, ".{arc}")
        };
        written.ok()?;
        arc = 0;
    }
    Some(text)
}

/// The same as an [`Oid`]; `None` also when an arc does not fit 32 bits or there are more than 40.
#[must_use]
pub fn oid_from_octets(octets: &[u8]) -> Option<Oid> {
    dotted(octets)?.parse().ok()
}
