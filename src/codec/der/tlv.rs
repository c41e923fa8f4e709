//! One value and what it holds.

use core::fmt;
use core::ops::Range;

use zeroize::Zeroizing;

use super::{DerError, Octets, Reader, Rules, Tag, dotted, oid_from_octets};
use crate::ids::Oid;
use crate::limits::Budget;

/// One value: its bytes as received, and what they hold.
#[derive(Clone, Copy)]
pub struct Tlv<'a> {
    pub(super) tag: Tag,
    pub(super) constructed: bool,
    pub(super) raw: &'a [u8],
    pub(super) content: &'a [u8],
    pub(super) start: usize,
    pub(super) content_offset: usize,
    pub(super) rules: Rules,
    pub(super) depth: usize,
}

impl<'a> Tlv<'a> {
    /// The tag.
    #[must_use]
    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// Whether the value holds values.
    #[must_use]
    pub fn is_constructed(&self) -> bool {
        self.constructed
    }

    /// Tag, length and content, as received (with the end-of-contents octets of an indefinite length).
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The content octets, without end-of-contents octets.
    #[must_use]
    pub fn content(&self) -> &'a [u8] {
        self.content
    }

    /// Where [`Tlv::raw`] lies in the outermost input.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.raw.len()
    }

    /// Offset of the content in the outermost input.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.content_offset
    }

    /// An error at this value.
    #[must_use]
    pub fn error(&self, problem: &'static str) -> DerError {
        DerError::Malformed { problem, offset: self.content_offset }
    }

    /// A reader of the values inside a constructed value.
    ///
    /// # Errors
    /// When the value is primitive.
    pub fn inner(&self) -> Result<Reader<'a>, DerError> {
        if !self.constructed {
            return Err(self.error("a constructed value is primitive"));
        }
        Ok(Reader { rest: self.content, offset: self.content_offset, rules: self.rules, depth: self.depth + 1 })
    }

    /// The single value inside an explicit tag.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn explicit(&self, budget: &mut Budget) -> Result<Self, DerError> {
        let mut inner = self.inner()?;
        let value = inner.any(budget)?;
        inner.finish()?;
        Ok(value)
    }

    /// The content of a primitive value.
    ///
    /// # Errors
    /// When the value is constructed.
    pub fn primitive(&self) -> Result<&'a [u8], DerError> {
        if self.constructed { Err(self.error("a primitive value is constructed")) } else { Ok(self.content) }
    }

    /// The octets of an OCTET STRING or a character string, under any tag; BER chunks are joined (X.690 section 8.7.3).
    ///
    /// # Errors
    /// When it is constructed under DER, or the chunks are neither octet strings nor of the string's own type.
    pub fn octets(&self, budget: &mut Budget) -> Result<Octets<'a>, DerError> {
        if !self.constructed {
            return Ok(Octets::Borrowed(self.content));
        }
        if self.rules == Rules::Der {
            return Err(self.error("a string is constructed"));
        }
        // The chunks are shorter than the content that holds them: no reallocation that would leave an unwiped copy behind.
        let mut joined = Zeroizing::new(Vec::with_capacity(self.content.len()));
        let mut open = vec![self.inner()?];
        while let Some(reader) = open.last_mut() {
            if reader.is_empty() {
                open.pop();
                continue;
            }
            let chunk = reader.any(budget)?;
            if chunk.tag != Tag::OCTET_STRING && !(chunk.tag == self.tag && chunk.tag.is_universal()) {
                return Err(chunk.error("a chunk of a string is not a string"));
            }
            if chunk.constructed {
                open.push(chunk.inner()?);
            } else {
                joined.extend_from_slice(chunk.content);
            }
        }
        Ok(Octets::Joined(joined))
    }

    /// A BOOLEAN.
    ///
    /// # Errors
    /// When it is not one octet, or under DER neither 00 nor FF.
    pub fn boolean(&self) -> Result<bool, DerError> {
        match (self.primitive()?, self.rules) {
            ([0x00], _) => Ok(false),
            ([0xff], _) | ([_], Rules::Ber) => Ok(true),
            _ => Err(self.error("a BOOLEAN is neither 00 nor FF")),
        }
    }

    /// The content of an INTEGER or ENUMERATED: two's complement, big-endian, not empty.
    ///
    /// # Errors
    /// When it is empty, or under DER not minimal.
    pub fn integer(&self) -> Result<&'a [u8], DerError> {
        let bytes = self.primitive()?;
        let padded = matches!(bytes, [0x00, second, ..] if second & 0x80 == 0) || matches!(bytes, [0xff, second, ..] if second & 0x80 != 0);
        if bytes.is_empty() || (padded && self.rules == Rules::Der) {
            return Err(self.error("an INTEGER is empty or padded"));
        }
        Ok(bytes)
    }

    /// A non-negative INTEGER below 2^64.
    ///
    /// # Errors
    /// When it is negative or larger.
    pub fn unsigned(&self) -> Result<u64, DerError> {
        let bytes = self.integer()?;
        if bytes[0] & 0x80 != 0 {
            return Err(self.error("an INTEGER is negative"));
        }
        let significant = bytes.iter().position(|byte| *byte != 0).map_or(&[][..], |start| &bytes[start..]);
        if significant.len() > 8 {
            return Err(self.error("an INTEGER is too large"));
        }
        Ok(significant.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// A non-negative INTEGER; one beyond `u64` comes out as `u64::MAX`, which every limit refuses.
    ///
    /// # Errors
    /// When it is negative.
    pub fn saturating_unsigned(&self) -> Result<u64, DerError> {
        match self.integer()? {
            [first, ..] if first & 0x80 != 0 => Err(self.error("an INTEGER is negative")),
            bytes => Ok(bytes.iter().try_fold(0u64, |value, byte| Some(value.checked_mul(256)? | u64::from(*byte))).unwrap_or(u64::MAX)),
        }
    }

    /// A BIT STRING: the number of unused bits (0 to 7) and the octets.
    ///
    /// # Errors
    /// When it is constructed, empty, or under DER has unused bits that are set.
    pub fn bit_string(&self) -> Result<(u8, &'a [u8]), DerError> {
        match self.primitive()? {
            [0] => Ok((0, &[])),
            [unused @ 0..=7, octets @ .., last] => {
                if self.rules == Rules::Der && last & ((1u8 << unused) - 1) != 0 {
                    return Err(self.error("unused bits of a BIT STRING are set"));
                }
                Ok((*unused, &self.content[1..=octets.len() + 1]))
            }
            _ => Err(self.error("a BIT STRING has no valid number of unused bits")),
        }
    }

    /// A BIT STRING of whole octets, as signatures and keys are.
    ///
    /// # Errors
    /// As for [`Tlv::bit_string`], and when bits are unused.
    pub fn bit_octets(&self) -> Result<&'a [u8], DerError> {
        match self.bit_string()? {
            (0, octets) => Ok(octets),
            _ => Err(self.error("a BIT STRING is not made of whole octets")),
        }
    }

    /// The content octets of an OBJECT IDENTIFIER, checked for form.
    ///
    /// # Errors
    /// When it is empty, cut off, or an arc has leading zeros.
    pub fn oid_octets(&self) -> Result<&'a [u8], DerError> {
        let bytes = self.primitive()?;
        let mut at_arc_start = true;
        for byte in bytes {
            if at_arc_start && *byte == 0x80 {
                return Err(self.error("an arc of an OBJECT IDENTIFIER is padded"));
            }
            at_arc_start = byte & 0x80 == 0;
        }
        if bytes.is_empty() || !at_arc_start {
            return Err(self.error("an OBJECT IDENTIFIER is empty or cut off"));
        }
        Ok(bytes)
    }

    /// An OBJECT IDENTIFIER; `None` when it is well formed but an arc does not fit 32 bits or there are more than 40 arcs.
    ///
    /// # Errors
    /// As for [`Tlv::oid_octets`].
    pub fn oid(&self) -> Result<Option<Oid>, DerError> {
        Ok(oid_from_octets(self.oid_octets()?))
    }

    /// An OBJECT IDENTIFIER in dotted form, arcs of up to 128 bits included.
    ///
    /// # Errors
    /// As for [`Tlv::oid_octets`], and when it is longer than any in use.
    pub fn dotted_oid(&self) -> Result<String, DerError> {
        dotted(self.oid_octets()?).ok_or_else(|| self.error("an OBJECT IDENTIFIER is too long"))
    }
}

/// Only tag and length: the value may be a private key in clear.
impl fmt::Debug for Tlv<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tlv({:?}, {} bytes at {})", self.tag, self.raw.len(), self.start)
    }
}
