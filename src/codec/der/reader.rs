//! A cursor over values that lie one after another.

use core::fmt;

use super::{DerError, Octets, Rules, Tag, Tlv, tag};
use crate::limits::Budget;

/// Reads values one after another from a slice.
#[derive(Clone)]
pub struct Reader<'a> {
    pub(super) rest: &'a [u8],
    pub(super) offset: usize,
    pub(super) rules: Rules,
    pub(super) depth: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `input`; the caller has checked its length ([`Budget::check_input`]).
    #[must_use]
    pub fn new(input: &'a [u8], rules: Rules) -> Self {
        Self::inside(input, rules, 0)
    }

    /// A reader of an inner document, such as what an OCTET STRING held, which lies `depth` levels deep in the input as a whole:
    /// nesting goes on counting from there.
    #[must_use]
    pub fn inside(input: &'a [u8], rules: Rules, depth: usize) -> Self {
        Self { rest: input, offset: 0, rules, depth }
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
        tag::read(self.rest).map(|(tag, _, _)| tag)
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
            Some(_) => return Err(self.error(CUT_OFF)),
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

    /// The next value, which must have this tag; `problem` says what is wrong when it has not.
    ///
    /// # Errors
    /// When it has another tag, is missing or malformed.
    pub fn field(&mut self, tag: Tag, problem: &'static str, budget: &mut Budget) -> Result<Tlv<'a>, DerError> {
        if self.peek() == Some(tag) { self.any(budget) } else { Err(self.error(problem)) }
    }

    /// The octets of the next value, an OCTET STRING; `problem` says what is wrong when it is none.
    ///
    /// # Errors
    /// As for [`Reader::field`] and [`Tlv::octets`].
    pub fn octet_string(&mut self, problem: &'static str, budget: &mut Budget) -> Result<Octets<'a>, DerError> {
        self.field(Tag::OCTET_STRING, problem, budget)?.octets(budget)
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
        self.end("there is more data than expected")
    }

    /// The same; `problem` says what is wrong when something is left.
    ///
    /// # Errors
    /// When something is left.
    pub fn end(self, problem: &'static str) -> Result<(), DerError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error(problem)) }
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
                Some(_) => return Err(at(CUT_OFF)),
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

const CUT_OFF: &str = "a value is longer than what holds it, as when the file is cut off";

/// Only the length: what is read may be a private key in clear.
impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({} bytes at {})", self.rest.len(), self.offset)
    }
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
        let (tag, constructed, tag_len) = tag::read(input).ok_or("a tag is cut off or not minimal")?;
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
                    return Err(CUT_OFF);
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
