//! Signed attributes.

use crate::codec::cms::Attribute;
use crate::codec::der::write;
use crate::ids::Oid;

/// An attribute of one value to sign beside the content.
#[derive(Debug, Clone)]
pub struct SignedAttribute(pub(super) Attribute);

impl SignedAttribute {
    /// An attribute whose value is given as DER.
    #[must_use]
    pub fn from_der(attribute: Oid, value: Vec<u8>) -> Self {
        Self(Attribute::single(attribute, value))
    }

    /// An attribute whose value is an OCTET STRING.
    #[must_use]
    pub fn octet_string(attribute: Oid, octets: &[u8]) -> Self {
        Self::from_der(attribute, write::octet_string(octets))
    }

    /// An attribute whose value is a PrintableString; `text` must be of its characters.
    #[must_use]
    pub fn printable_string(attribute: Oid, text: &str) -> Self {
        Self::from_der(attribute, write::value(write::PRINTABLE_STRING, &[text.as_bytes()]))
    }

    /// An attribute whose value is a UTF8String.
    #[must_use]
    pub fn utf8_string(attribute: Oid, text: &str) -> Self {
        Self::from_der(attribute, write::utf8_string(text))
    }
}
