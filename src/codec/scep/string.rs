//! The character strings of SCEP's attributes: PrintableString by the RFC, other types by some clients.

use crate::codec::der::{DerError, Rules, Tag, single, write};
use crate::limits::Budget;

/// A character string with the type it came with. Its bytes are kept: they are compared and echoed, never recoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScepString {
    identifier: u8,
    octets: Vec<u8>,
}

impl ScepString {
    /// A PrintableString.
    pub fn printable(octets: &[u8]) -> Self {
        Self { identifier: write::PRINTABLE_STRING, octets: octets.to_vec() }
    }

    /// Reads a PrintableString, UTF8String, IA5String or TeletexString.
    pub fn decode(value: &[u8], budget: &mut Budget) -> Result<Self, DerError> {
        let value = single(value, Rules::Ber, budget)?;
        match value.tag() {
            Tag::PRINTABLE_STRING | Tag::UTF8_STRING | Tag::IA5_STRING | Tag::TELETEX_STRING => {
                // All four tag numbers are below 31, so the identifier is one octet: universal, primitive.
                Ok(Self { identifier: value.tag().number() as u8, octets: value.octets(budget)?.into_owned() })
            }
            _ => Err(value.error("an attribute of SCEP is not a character string")),
        }
    }

    /// The identifier octet, for keeping beside the bytes.
    pub fn identifier(&self) -> u8 {
        self.identifier
    }

    /// The bytes.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// DER, with the type it came with.
    pub fn encode(&self) -> Vec<u8> {
        write::value(self.identifier, &[&self.octets])
    }
}
