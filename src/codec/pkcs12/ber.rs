//! A bounded BER walker: definite and indefinite lengths, constructed strings, every element charged.

use crate::limits::{Budget, LimitExceeded};
use zeroize::Zeroizing;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
/// The bit that marks a constructed encoding.
pub(crate) const CONSTRUCTED: u8 = 0x20;

/// The context-specific constructed tag `[number]`, for numbers below 31.
pub(crate) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// Why bytes are not the structure that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// The structure is broken; says where.
    #[error("{0}")]
    Malformed(&'static str),
    /// It costs more than allowed.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

/// One element: its identifier octet, its contents and its whole encoding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tlv<'a> {
    pub(crate) tag: u8,
    pub(crate) contents: &'a [u8],
    pub(crate) raw: &'a [u8],
    depth: usize,
}

/// The value of an OCTET STRING: borrowed, or put together from chunks and wiped afterwards.
#[derive(Debug)]
pub(crate) enum Octets<'a> {
    Borrowed(&'a [u8]),
    Joined(Zeroizing<Vec<u8>>),
}

impl AsRef<[u8]> for Octets<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Joined(bytes) => bytes,
        }
    }
}

impl<'a> Tlv<'a> {
    /// A reader over the elements inside.
    pub(crate) fn children(&self, budget: &Budget) -> Result<Reader<'a>, DecodeError> {
        budget.check_nesting(self.depth + 1)?;
        Ok(Reader { rest: self.contents, depth: self.depth + 1 })
    }

    /// The value of a string type: the contents, or the chunks of a constructed encoding joined (X.690 section 8.7.3).
    pub(crate) fn octets(&self, budget: &mut Budget) -> Result<Octets<'a>, DecodeError> {
        if self.tag & CONSTRUCTED == 0 {
            return Ok(Octets::Borrowed(self.contents));
        }
        // The joined length is below that of the contents: no reallocation that would leave an unwiped copy behind.
        let mut joined = Zeroizing::new(Vec::with_capacity(self.contents.len()));
        let mut open = vec![self.children(budget)?];
        while let Some(reader) = open.last_mut() {
            if reader.is_empty() {
                open.pop();
                continue;
            }
            let chunk = reader.next(budget)?;
            match chunk.tag {
                OCTET_STRING => joined.extend_from_slice(chunk.contents),
                tag if tag == OCTET_STRING | CONSTRUCTED => open.push(chunk.children(budget)?),
                _ => return Err(DecodeError::Malformed("a constructed OCTET STRING holds something else than OCTET STRINGs")),
            }
        }
        Ok(Octets::Joined(joined))
    }

    /// A non-negative INTEGER; values beyond `u64` come out as `u64::MAX`, which every limit refuses.
    pub(crate) fn unsigned(&self) -> Result<u64, DecodeError> {
        match self.contents {
            [] => Err(DecodeError::Malformed("an INTEGER is empty")),
            [first, ..] if first & 0x80 != 0 => Err(DecodeError::Malformed("an INTEGER is negative where it must not be")),
            bytes => Ok(bytes.iter().try_fold(0u64, |value, byte| Some(value.checked_mul(256)? | u64::from(*byte))).unwrap_or(u64::MAX)),
        }
    }

    /// An OBJECT IDENTIFIER in dotted decimal form.
    pub(crate) fn oid(&self) -> Result<String, DecodeError> {
        super::oid::dotted(self.contents).ok_or(DecodeError::Malformed("an OBJECT IDENTIFIER is malformed"))
    }
}

/// A cursor over sibling elements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    depth: usize,
}

impl<'a> Reader<'a> {
    /// A reader over `bytes`, which lie `depth` levels deep in the input as a whole.
    pub(crate) fn new(bytes: &'a [u8], depth: usize) -> Self {
        Self { rest: bytes, depth }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The identifier octet of the next element.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next element.
    pub(crate) fn next(&mut self, budget: &mut Budget) -> Result<Tlv<'a>, DecodeError> {
        budget.charge_elements(1)?;
        budget.check_nesting(self.depth)?;
        let header = Header::parse(self.rest)?;
        let (end_of_contents, end) = match header.length {
            Some(length) => {
                let end = header.size.checked_add(length).filter(|end| *end <= self.rest.len()).ok_or(TRUNCATED)?;
                (end, end)
            }
            None if header.tag & CONSTRUCTED == 0 => return Err(DecodeError::Malformed("a primitive element has an indefinite length")),
            None => end_of_indefinite(self.rest, header.size, self.depth, budget)?,
        };
        let tlv = Tlv { tag: header.tag, contents: &self.rest[header.size..end_of_contents], raw: &self.rest[..end], depth: self.depth };
        self.rest = &self.rest[end..];
        Ok(tlv)
    }

    /// The next element, which must have this tag; `what` is said when it has not.
    pub(crate) fn expect(&mut self, tag: u8, what: &'static str, budget: &mut Budget) -> Result<Tlv<'a>, DecodeError> {
        match self.peek() {
            Some(found) if found == tag => self.next(budget),
            _ => Err(DecodeError::Malformed(what)),
        }
    }

    /// The next element when it has this tag.
    pub(crate) fn optional(&mut self, tag: u8, budget: &mut Budget) -> Result<Option<Tlv<'a>>, DecodeError> {
        if self.peek() == Some(tag) { self.next(budget).map(Some) } else { Ok(None) }
    }

    /// The next element, which must be an OCTET STRING, primitive or constructed.
    pub(crate) fn octet_string(&mut self, what: &'static str, budget: &mut Budget) -> Result<Octets<'a>, DecodeError> {
        match self.peek() {
            Some(tag) if tag & !CONSTRUCTED == OCTET_STRING => self.next(budget)?.octets(budget),
            _ => Err(DecodeError::Malformed(what)),
        }
    }

    /// Demands that nothing is left.
    pub(crate) fn finish(&self, what: &'static str) -> Result<(), DecodeError> {
        if self.is_empty() { Ok(()) } else { Err(DecodeError::Malformed(what)) }
    }
}

const TRUNCATED: DecodeError = DecodeError::Malformed("the file ends inside an element: it is truncated");

/// Identifier and length octets.
struct Header {
    tag: u8,
    /// How many bytes identifier and length take.
    size: usize,
    /// `None` for the indefinite form.
    length: Option<usize>,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let tag = *bytes.first().ok_or(TRUNCATED)?;
        let mut size = 1;
        if tag & 0x1f == 0x1f {
            // High tag numbers occur in no structure here, but may stand in an attribute that is only carried along.
            loop {
                let byte = *bytes.get(size).ok_or(TRUNCATED)?;
                size += 1;
                if byte & 0x80 == 0 {
                    break;
                }
                if size > 6 {
                    return Err(DecodeError::Malformed("a tag number is too large"));
                }
            }
        }
        let first = *bytes.get(size).ok_or(TRUNCATED)?;
        size += 1;
        let length = match first {
            0..=0x7f => Some(usize::from(first)),
            0x80 => None,
            0xff => return Err(DecodeError::Malformed("a length is malformed")),
            _ => {
                let count = usize::from(first & 0x7f);
                let octets = bytes.get(size..size + count).ok_or(TRUNCATED)?;
                size += count;
                let value = octets.iter().try_fold(0usize, |value, byte| Some(value.checked_mul(256)? | usize::from(*byte)));
                Some(value.ok_or(TRUNCATED)?)
            }
        };
        Ok(Self { tag, size, length })
    }
}

/// Finds the end-of-contents octets that close the element at the start of `bytes`, whose header takes `start` bytes.
/// Gives the end of the contents and the end of the whole. Nothing is recursed into: open indefinite elements are only counted.
fn end_of_indefinite(bytes: &[u8], start: usize, depth: usize, budget: &mut Budget) -> Result<(usize, usize), DecodeError> {
    let mut at = start;
    let mut open = 1usize;
    loop {
        let rest = bytes.get(at..).ok_or(TRUNCATED)?;
        if rest.starts_with(&[0, 0]) {
            open -= 1;
            if open == 0 {
                return Ok((at, at + 2));
            }
            at += 2;
            continue;
        }
        budget.charge_elements(1)?;
        let header = Header::parse(rest)?;
        at += header.size;
        match header.length {
            Some(length) => at = at.checked_add(length).filter(|end| *end <= bytes.len()).ok_or(TRUNCATED)?,
            None if header.tag & CONSTRUCTED == 0 => return Err(DecodeError::Malformed("a primitive element has an indefinite length")),
            None => {
                open += 1;
                budget.check_nesting(depth + open)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn budget() -> Budget {
        Budget::new(&Limits::default())
    }

    #[test]
    fn definite_and_indefinite_lengths_give_the_same_contents() {
        for bytes in
            [&[0x30, 0x03, 0x02, 0x01, 0x05][..], &[0x30, 0x80, 0x02, 0x01, 0x05, 0x00, 0x00], &[0x30, 0x81, 0x03, 0x02, 0x01, 0x05]]
        {
            let mut reader = Reader::new(bytes, 0);
            let sequence = reader.next(&mut budget()).unwrap();
            assert!(reader.is_empty());
            assert_eq!(sequence.raw, bytes);
            let value = sequence.children(&budget()).unwrap().next(&mut budget()).unwrap();
            assert_eq!(value.unsigned(), Ok(5));
        }
    }

    #[test]
    fn chunks_of_a_constructed_string_are_joined_in_order() {
        let bytes = [0x24, 0x80, 0x04, 0x01, b'a', 0x24, 0x03, 0x04, 0x01, b'b', 0x04, 0x01, b'c', 0x00, 0x00];
        let octets = Reader::new(&bytes, 0).octet_string("", &mut budget()).unwrap();
        assert_eq!(octets.as_ref(), b"abc");
    }

    #[test]
    fn depth_is_limited_in_nested_indefinite_elements_and_strings() {
        let mut deep = [0x30, 0x80].repeat(100_000);
        deep.extend([0, 0].repeat(100_000));
        assert!(matches!(Reader::new(&deep, 0).next(&mut budget()), Err(DecodeError::Limit(limit)) if limit.what == "nesting"));
        let strings = [0x24, 0x80].repeat(100);
        assert!(Reader::new(&strings, 0).next(&mut budget()).is_err());
    }

    #[test]
    fn lengths_beyond_the_input_are_truncation_and_cost_nothing() {
        for bytes in
            [&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..], &[0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], &[0x30], &[]]
        {
            assert_eq!(Reader::new(bytes, 0).next(&mut budget()).unwrap_err(), TRUNCATED);
        }
    }

    #[test]
    fn integers_saturate_and_negative_ones_are_refused() {
        let value = |bytes: &[u8]| Reader::new(bytes, 0).next(&mut budget()).unwrap().unsigned();
        assert_eq!(value(&[2, 9, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]), Ok(1 << 63));
        assert_eq!(value(&[2, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0]), Ok(u64::MAX));
        assert!(value(&[2, 1, 0xff]).is_err());
        assert!(value(&[2, 0]).is_err());
    }
}
