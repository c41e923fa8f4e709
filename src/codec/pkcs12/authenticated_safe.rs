//! `AuthenticatedSafe ::= SEQUENCE OF ContentInfo` and the two CMS content types in it (RFC 7292 section 4.1, RFC 5652 sections 3 and 8).

use super::ber::{self, DecodeError, INTEGER, Octets, Reader, SEQUENCE, Tlv};
use crate::codec::pkcs5::AlgorithmIdentifier;
use crate::limits::Budget;

/// `ContentInfo ::= SEQUENCE { contentType OBJECT IDENTIFIER, content [0] EXPLICIT ANY OPTIONAL }`.
#[derive(Debug)]
pub(crate) struct ContentInfo<'a> {
    pub(crate) content_type: String,
    content: Option<Tlv<'a>>,
}

impl<'a> ContentInfo<'a> {
    pub(crate) fn decode(tlv: &Tlv<'a>, budget: &mut Budget) -> Result<Self, DecodeError> {
        let mut fields = tlv.children(budget)?;
        let content_type = fields.expect(ber::OBJECT_IDENTIFIER, "a ContentInfo has no type", budget)?.oid()?;
        let content = match fields.optional(ber::context(0), budget)? {
            Some(explicit) => {
                let mut inner = explicit.children(budget)?;
                let content = inner.next(budget)?;
                inner.finish("a ContentInfo holds more than one content")?;
                Some(content)
            }
            None => None,
        };
        fields.finish("a ContentInfo holds more than type and content")?;
        Ok(Self { content_type, content })
    }

    /// The content of type `data`: an OCTET STRING. Its bytes are what the MAC covers.
    pub(crate) fn data(&self, budget: &mut Budget) -> Result<Octets<'a>, DecodeError> {
        // Without content: CVE-2024-0727 in other readers.
        let content = self.content.ok_or(DecodeError::Malformed("a ContentInfo of type data has no content"))?;
        if content.tag & !ber::CONSTRUCTED != ber::OCTET_STRING {
            return Err(DecodeError::Malformed("the content of type data is not an OCTET STRING"));
        }
        content.octets(budget)
    }

    /// The content of type `encryptedData`.
    pub(crate) fn encrypted_data(&self, budget: &mut Budget) -> Result<EncryptedContentInfo<'a>, DecodeError> {
        let content = self.content.ok_or(DecodeError::Malformed("a ContentInfo of type encryptedData has no content"))?;
        if content.tag != SEQUENCE {
            return Err(DecodeError::Malformed("the content of type encryptedData is not a SEQUENCE"));
        }
        let mut fields = content.children(budget)?;
        fields.expect(INTEGER, "an encryptedData has no version", budget)?.unsigned()?;
        let info = fields.expect(SEQUENCE, "an encryptedData has no encryptedContentInfo", budget)?;
        // Unprotected attributes ([1]) may follow; they say nothing about the safe.
        EncryptedContentInfo::decode(&info, budget)
    }
}

/// `EncryptedContentInfo ::= SEQUENCE { contentType, contentEncryptionAlgorithm, encryptedContent [0] IMPLICIT OCTET STRING OPTIONAL }`.
#[derive(Debug)]
pub(crate) struct EncryptedContentInfo<'a> {
    pub(crate) algorithm: AlgorithmIdentifier<'a>,
    pub(crate) encrypted_content: Octets<'a>,
}

impl<'a> EncryptedContentInfo<'a> {
    fn decode(tlv: &Tlv<'a>, budget: &mut Budget) -> Result<Self, DecodeError> {
        let mut fields = tlv.children(budget)?;
        let content_type = fields.expect(ber::OBJECT_IDENTIFIER, "an encryptedContentInfo has no type", budget)?.oid()?;
        if content_type != super::oid::DATA {
            return Err(DecodeError::Malformed("an encryptedContentInfo holds something else than data"));
        }
        let algorithm = AlgorithmIdentifier::read(&mut fields, budget)?;
        let encrypted_content = match fields.peek() {
            Some(tag) if tag & !ber::CONSTRUCTED == 0x80 => fields.next(budget)?.octets(budget)?,
            _ => return Err(DecodeError::Malformed("an encryptedContentInfo has no content")),
        };
        fields.finish("an encryptedContentInfo holds more than type, algorithm and content")?;
        Ok(Self { algorithm, encrypted_content })
    }
}

/// The safes in the bytes of an AuthenticatedSafe.
pub(crate) fn authenticated_safe<'a>(bytes: &'a [u8], depth: usize, budget: &mut Budget) -> Result<Vec<ContentInfo<'a>>, DecodeError> {
    let mut outer = Reader::new(bytes, depth);
    let mut safes = outer.expect(SEQUENCE, "the AuthenticatedSafe is not a SEQUENCE", budget)?.children(budget)?;
    let mut found = Vec::new();
    while !safes.is_empty() {
        budget.charge_safes(1)?;
        let safe = safes.expect(SEQUENCE, "a safe is not a ContentInfo", budget)?;
        found.push(ContentInfo::decode(&safe, budget)?);
    }
    Ok(found)
}
