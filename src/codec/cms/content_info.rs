//! `ContentInfo` (RFC 5652 section 3).

use super::read_oid;
use crate::codec::der::{DerError, Reader, Rules, Tag, Tlv, write};
use crate::ids::Oid;
use crate::limits::Budget;

/// `ContentInfo ::= SEQUENCE { contentType ContentType, content [0] EXPLICIT ANY DEFINED BY contentType }`
#[derive(Debug)]
pub struct ContentInfo<'a> {
    /// What the content is.
    pub content_type: Oid,
    /// The content; PKCS#7 1.5 lets it be absent.
    pub content: Option<Tlv<'a>>,
}

impl<'a> ContentInfo<'a> {
    /// Reads a message. What follows it is ignored: files in the field end in line feeds, padding or a stray byte.
    pub fn decode(input: &'a [u8], budget: &mut Budget) -> Result<Self, DerError> {
        budget.check_input(input.len())?;
        let outer = Reader::new(input, Rules::Ber).any(budget)?;
        if outer.tag() != Tag::SEQUENCE {
            return Err(outer.error("a CMS message is not a SEQUENCE"));
        }
        let mut inner = outer.inner()?;
        let content_type = read_oid(&mut inner, budget)?;
        let content = match inner.optional(Tag::context(0), budget)? {
            Some(content) => Some(content.explicit(budget)?),
            None => None,
        };
        inner.finish()?;
        Ok(Self { content_type, content })
    }

    /// DER of a message with this content.
    pub fn encode(content_type: &Oid, content: &[u8]) -> Vec<u8> {
        write::sequence(&[&write::oid(content_type), &write::context(0, &[content])])
    }
}
