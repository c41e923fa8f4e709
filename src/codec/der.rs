//! A bounded reader of tag, length and value (X.690), strict for DER, and tolerant where BER must be read.
//!
//! `rasn::der` accepts much that is not DER (long lengths, padded integers, unsorted sets), so what must be canonical is read here.

use core::ops::Range;
use std::borrow::Cow;

use crate::ids::Oid;
use crate::limits::{Budget, LimitExceeded};

pub mod write;

/// What is wrong with an encoding, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DerError {
    /// Not an encoding of what was asked for.
    #[error("{problem} at byte {offset}")]
    Malformed {
        /// What is wrong.
        problem: &'static str,
        /// Byte offset into the input of the outermost reader.
        offset: usize,
    },
    /// The input costs more than is allowed.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

/// Which encodings are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Definite, minimal lengths; minimal integers; BOOLEAN FF or 00; primitive strings.
    Der,
    /// Also indefinite and long lengths, constructed strings, padded integers.
    Ber,
}

/// A tag without its constructed bit: class and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    class: u8,
    number: u32,
}

impl Tag {
    /// BOOLEAN
    pub const BOOLEAN: Self = Self::universal(1);
    /// INTEGER
    pub const INTEGER: Self = Self::universal(2);
    /// BIT STRING
    pub const BIT_STRING: Self = Self::universal(3);
    /// OCTET STRING
    pub const OCTET_STRING: Self = Self::universal(4);
    /// NULL
    pub const NULL: Self = Self::universal(5);
    /// OBJECT IDENTIFIER
    pub const OID: Self = Self::universal(6);
    /// ENUMERATED
    pub const ENUMERATED: Self = Self::universal(10);
    /// UTF8String
    pub const UTF8_STRING: Self = Self::universal(12);
    /// SEQUENCE and SEQUENCE OF
    pub const SEQUENCE: Self = Self::universal(16);
    /// SET and SET OF
    pub const SET: Self = Self::universal(17);
    /// NumericString
    pub const NUMERIC_STRING: Self = Self::universal(18);
    /// PrintableString
    pub const PRINTABLE_STRING: Self = Self::universal(19);
    /// TeletexString (T61String)
    pub const TELETEX_STRING: Self = Self::universal(20);
    /// IA5String
    pub const IA5_STRING: Self = Self::universal(22);
    /// UTCTime
    pub const UTC_TIME: Self = Self::universal(23);
    /// GeneralizedTime
    pub const GENERALIZED_TIME: Self = Self::universal(24);
    /// VisibleString
    pub const VISIBLE_STRING: Self = Self::universal(26);
    /// UniversalString
    pub const UNIVERSAL_STRING: Self = Self::universal(28);
    /// BMPString
    pub const BMP_STRING: Self = Self::universal(30);

    /// A universal tag.
    #[must_use]
    pub const fn universal(number: u32) -> Self {
        Self { class: 0, number }
    }

    /// `[number]`, context-specific.
    #[must_use]
    pub const fn context(number: u32) -> Self {
        Self { class: 2, number }
    }

    /// The tag number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.number
    }

    /// Whether it is a context-specific tag.
    #[must_use]
    pub const fn is_context(self) -> bool {
        self.class == 2
    }
}

/// One value: its bytes as received, and what they hold.
#[derive(Debug, Clone, Copy)]
pub struct Tlv<'a> {
    tag: Tag,
    constructed: bool,
    raw: &'a [u8],
    content: &'a [u8],
    start: usize,
    content_offset: usize,
    rules: Rules,
    depth: usize,
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

    /// The octets of an OCTET STRING or a character string, under any tag; BER chunks are joined.
    ///
    /// # Errors
    /// When it is constructed under DER, or the chunks are not octet strings.
    pub fn octets(&self, budget: &mut Budget) -> Result<Cow<'a, [u8]>, DerError> {
        if !self.constructed {
            return Ok(Cow::Borrowed(self.content));
        }
        if self.rules == Rules::Der {
            return Err(self.error("a string is constructed"));
        }
        let mut joined = Vec::new();
        let mut open = vec![self.inner()?];
        while let Some(mut reader) = open.pop() {
            if reader.is_empty() {
                continue;
            }
            let chunk = reader.any(budget)?;
            if chunk.tag.class != 0 {
                return Err(chunk.error("a chunk of a string is not a string"));
            }
            open.push(reader);
            if chunk.constructed {
                open.push(chunk.inner()?);
            } else {
                joined.extend_from_slice(chunk.content);
            }
        }
        Ok(Cow::Owned(joined))
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
}

/// The dotted form of an OBJECT IDENTIFIER's content octets, when each arc fits 32 bits.
#[must_use]
pub fn oid_from_octets(octets: &[u8]) -> Option<Oid> {
    use core::fmt::Write as _;
    let mut text = String::with_capacity(octets.len() * 3);
    let mut value: u64 = 0;
    for byte in octets {
        value = value << 7 | u64::from(byte & 0x7f);
        if value > u64::from(u32::MAX) + 80 {
            return None;
        }
        if byte & 0x80 == 0 {
            let written = if text.is_empty() {
                let root = (value / 40).min(2);
                write!(text, "{root}.{}", value - root * 40)
            } else {
                write!(text, ".{value}")
            };
            written.ok()?;
            value = 0;
        }
    }
    text.parse().ok()
}

/// Reads values one after another from a slice.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
    rules: Rules,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `input`; the caller has checked its length ([`Budget::check_input`]).
    #[must_use]
    pub fn new(input: &'a [u8], rules: Rules) -> Self {
        Self { rest: input, offset: 0, rules, depth: 0 }
    }

    /// Whether everything has been read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The bytes not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// An error at the current position.
    #[must_use]
    pub fn error(&self, problem: &'static str) -> DerError {
        DerError::Malformed { problem, offset: self.offset }
    }

    /// The tag of the next value, if there is one and its tag is readable.
    #[must_use]
    pub fn peek(&self) -> Option<Tag> {
        read_tag(self.rest).map(|(tag, _, _)| tag)
    }

    /// The next value, whatever its tag.
    ///
    /// # Errors
    /// When there is none or it is malformed.
    pub fn any(&mut self, budget: &mut Budget) -> Result<Tlv<'a>, DerError> {
        budget.charge_elements(1)?;
        budget.check_nesting(self.depth)?;
        let header = Header::read(self.rest, self.rules).map_err(|problem| self.error(problem))?;
        let available = self.rest.len() - header.len;
        let (content_len, tail) = match header.content {
            Some(len) if len <= available => (len, 0),
            Some(_) => return Err(self.error("a value is longer than what holds it")),
            None => (self.indefinite_len(header.len, budget)?, 2),
        };
        let total = header.len + content_len + tail;
        let tlv = Tlv {
            tag: header.tag,
            constructed: header.constructed,
            raw: &self.rest[..total],
            content: &self.rest[header.len..header.len + content_len],
            start: self.offset,
            content_offset: self.offset + header.len,
            rules: self.rules,
            depth: self.depth,
        };
        self.rest = &self.rest[total..];
        self.offset += total;
        Ok(tlv)
    }

    /// The next value, which must have this tag.
    ///
    /// # Errors
    /// When it has another tag, is missing or malformed.
    pub fn expect(&mut self, tag: Tag, budget: &mut Budget) -> Result<Tlv<'a>, DerError> {
        match self.peek() {
            Some(found) if found == tag => self.any(budget),
            Some(_) => Err(self.error("a value has another tag than its place demands")),
            None => Err(self.error("a value is missing")),
        }
    }

    /// The next value if it has this tag.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn optional(&mut self, tag: Tag, budget: &mut Budget) -> Result<Option<Tlv<'a>>, DerError> {
        if self.peek() == Some(tag) { self.any(budget).map(Some) } else { Ok(None) }
    }

    /// A reader of the values inside the next value, a SEQUENCE.
    ///
    /// # Errors
    /// When it is something else.
    pub fn sequence(&mut self, budget: &mut Budget) -> Result<Reader<'a>, DerError> {
        self.expect(Tag::SEQUENCE, budget)?.inner()
    }

    /// A reader of the values inside the next value, a SET.
    ///
    /// # Errors
    /// When it is something else.
    pub fn set(&mut self, budget: &mut Budget) -> Result<Reader<'a>, DerError> {
        self.expect(Tag::SET, budget)?.inner()
    }

    /// States that nothing is left.
    ///
    /// # Errors
    /// When something is.
    pub fn finish(self) -> Result<(), DerError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error("there is more data than expected")) }
    }

    /// Length of the content of an indefinite value whose header took `start` bytes.
    fn indefinite_len(&self, start: usize, budget: &mut Budget) -> Result<usize, DerError> {
        let mut position = start;
        let mut open = 1usize;
        loop {
            let at = |problem| DerError::Malformed { problem, offset: self.offset + position };
            let rest = &self.rest[position..];
            if rest.starts_with(&[0, 0]) {
                open -= 1;
                if open == 0 {
                    return Ok(position - start);
                }
                position += 2;
                continue;
            }
            budget.charge_elements(1)?;
            let header = Header::read(rest, Rules::Ber).map_err(at)?;
            match header.content {
                Some(len) if len <= rest.len() - header.len => position += header.len + len,
                Some(_) => return Err(at("a value is longer than what holds it")),
                None => {
                    open += 1;
                    budget.check_nesting(self.depth + open)?;
                    position += header.len;
                }
            }
        }
    }
}

/// The single value of `input`; nothing may follow it.
///
/// # Errors
/// When it is malformed, or followed by something.
pub fn single<'a>(input: &'a [u8], rules: Rules, budget: &mut Budget) -> Result<Tlv<'a>, DerError> {
    let mut reader = Reader::new(input, rules);
    let value = reader.any(budget)?;
    reader.finish()?;
    Ok(value)
}

struct Header {
    tag: Tag,
    constructed: bool,
    len: usize,
    content: Option<usize>,
}

impl Header {
    fn read(input: &[u8], rules: Rules) -> Result<Self, &'static str> {
        if input.is_empty() {
            return Err("a value is missing");
        }
        let (tag, constructed, tag_len) = read_tag(input).ok_or("a tag is cut off or not minimal")?;
        let (first, rest) = input[tag_len..].split_first().ok_or("a length is missing")?;
        let (len, content) = match first {
            0..=0x7f => (1, Some(usize::from(*first))),
            0x80 if rules == Rules::Ber && constructed => (1, None),
            0x80 => return Err("a length is indefinite"),
            0xff => return Err("a length is reserved"),
            _ => {
                let octets = rest.get(..usize::from(first & 0x7f)).ok_or("a length is cut off")?;
                let significant = octets.iter().position(|octet| *octet != 0).map_or(&[][..], |start| &octets[start..]);
                if significant.len() > size_of::<usize>() {
                    return Err("a value is longer than what holds it");
                }
                let value = significant.iter().fold(0usize, |value, octet| value << 8 | usize::from(*octet));
                if rules == Rules::Der && (value < 0x80 || significant.len() != octets.len()) {
                    return Err("a length is not minimal");
                }
                (1 + octets.len(), Some(value))
            }
        };
        Ok(Self { tag, constructed, len: tag_len + len, content })
    }
}

fn read_tag(input: &[u8]) -> Option<(Tag, bool, usize)> {
    let first = *input.first()?;
    let (class, constructed) = (first >> 6, first & 0x20 != 0);
    if first & 0x1f != 0x1f {
        return Some((Tag { class, number: u32::from(first & 0x1f) }, constructed, 1));
    }
    let mut number = 0u32;
    // Four octets hold tag numbers up to 2^28 - 1; no standard here needs more than one.
    for (index, octet) in input.iter().enumerate().skip(1).take(4) {
        if index == 1 && *octet == 0x80 {
            return None;
        }
        number = number << 7 | u32::from(octet & 0x7f);
        if octet & 0x80 == 0 {
            return (number >= 0x1f).then_some((Tag { class, number }, constructed, index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn budget() -> Budget {
        Budget::new(&Limits::default())
    }

    #[test]
    fn der_refuses_what_ber_allows() {
        for (bytes, what) in [
            (&[0x30, 0x81, 0x03, 2, 1, 5][..], "long length"),
            (&[0x30, 0x82, 0x00, 0x03, 2, 1, 5], "zero-padded length"),
            (&[0x30, 0x80, 2, 1, 5, 0, 0], "indefinite length"),
        ] {
            assert!(single(bytes, Rules::Der, &mut budget()).is_err(), "{what}");
            let value = single(bytes, Rules::Ber, &mut budget()).expect(what);
            assert_eq!((value.content(), value.raw()), (&[2, 1, 5][..], bytes), "{what}");
        }
        for bytes in [&[2, 2, 0, 1][..], &[2, 2, 0xff, 0x80]] {
            assert!(single(bytes, Rules::Der, &mut budget()).unwrap().integer().is_err());
            assert!(single(bytes, Rules::Ber, &mut budget()).unwrap().integer().is_ok());
        }
        assert!(single(&[1, 1, 1], Rules::Der, &mut budget()).unwrap().boolean().is_err());
        assert!(single(&[3, 2, 4, 0x1f], Rules::Der, &mut budget()).unwrap().bit_string().is_err());
        assert!(single(&[0x1f, 0x02, 0], Rules::Ber, &mut budget()).is_err(), "long form of a low tag");
    }

    #[test]
    fn a_bit_string_gives_its_octets() {
        assert_eq!(single(&[3, 1, 0], Rules::Der, &mut budget()).unwrap().bit_string(), Ok((0, &[][..])));
        assert_eq!(single(&[3, 2, 5, 0xa0], Rules::Der, &mut budget()).unwrap().bit_string(), Ok((5, &[0xa0][..])));
        assert_eq!(single(&[3, 3, 0, 1, 2], Rules::Der, &mut budget()).unwrap().bit_octets(), Ok(&[1, 2][..]));
        assert!(single(&[3, 1, 1], Rules::Der, &mut budget()).unwrap().bit_string().is_err());
        assert!(single(&[3, 2, 8, 0], Rules::Der, &mut budget()).unwrap().bit_string().is_err());
    }

    #[test]
    fn chunks_of_a_ber_string_are_joined_in_order() {
        let bytes = [0x24, 0x80, 4, 1, 1, 0x24, 0x80, 4, 1, 2, 4, 1, 3, 0, 0, 4, 1, 4, 0, 0];
        let value = single(&bytes, Rules::Ber, &mut budget()).unwrap();
        assert_eq!(value.octets(&mut budget()).unwrap().as_ref(), &[1, 2, 3, 4]);
    }

    #[test]
    fn nesting_and_length_claims_end_in_an_error() {
        let deep: Vec<u8> = [0x30, 0x80].repeat(1_000_000);
        assert!(matches!(single(&deep, Rules::Ber, &mut budget()), Err(DerError::Limit(limit)) if limit.what == "nesting"));
        for bytes in
            [&[0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 0xff]]
        {
            assert!(single(bytes, Rules::Der, &mut budget()).is_err());
        }
    }

    #[test]
    fn object_identifiers_with_large_arcs_are_kept_as_octets() {
        let uuid_arc = [6, 11, 0x69, 0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        let value = single(&uuid_arc, Rules::Der, &mut budget()).unwrap();
        assert_eq!(value.oid(), Ok(None));
        assert_eq!(value.oid_octets().unwrap().len(), 11);
        let value = single(&[6, 3, 0x55, 0x1d, 0x11], Rules::Der, &mut budget()).unwrap();
        assert_eq!(value.oid().unwrap().unwrap().as_str(), "2.5.29.17");
        assert!(single(&[6, 2, 0x55, 0x80], Rules::Der, &mut budget()).unwrap().oid().is_err());
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["2.5.29.17", "1.2.840.113549.1.1.1", "2.999.1", "1.3.6.1.4.1.311.25.2.1", "0.9.2342.19200300.100.1.25", "2.4294967295"]
        {
            let der = write::oid(&text.parse().unwrap());
            assert_eq!(single(&der, Rules::Der, &mut budget()).unwrap().oid().unwrap().unwrap().as_str(), text);
        }
        for len in [0, 127, 128, 255, 256, 65_535, 65_536] {
            let der = write::octet_string(&vec![7; len]);
            assert_eq!(single(&der, Rules::Der, &mut budget()).unwrap().content().len(), len);
        }
        for value in [0u64, 1, 127, 128, 255, 256, u64::MAX] {
            let der = write::unsigned(value);
            assert_eq!(single(&der, Rules::Der, &mut budget()).unwrap().unsigned(), Ok(value));
        }
    }
}
