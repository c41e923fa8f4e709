//! The writer of DER under the names that PFX files use, with object identifiers from this module's constants.

pub(crate) use crate::codec::der::write::{null, octet_string, sequence, set_of, value as tlv};

/// A non-negative INTEGER.
pub(crate) fn integer(value: u32) -> Vec<u8> {
    crate::codec::der::write::unsigned(u64::from(value))
}

/// An OBJECT IDENTIFIER from its dotted decimal form, which is one of this crate's constants.
pub(crate) fn oid(dotted: &str) -> Vec<u8> {
    tlv(0x06, &[&super::oid::contents(dotted)])
}

/// Identifier octets, for [`tlv`].
pub(crate) mod ber {
    pub(crate) use crate::codec::der::write::SET;

    /// `[number]`, constructed, for numbers below 31.
    pub(crate) const fn context(number: u8) -> u8 {
        0xa0 | number
    }
}
