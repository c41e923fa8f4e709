//! `AuthenticatedSafe ::= SEQUENCE OF ContentInfo` and the two CMS content types in it (RFC 7292 section 4.1, RFC 5652 sections 3 and 8).

use crate::codec::der::{DerError, Octets, Reader, Rules, Tag, Tlv};
use crate::codec::pkcs5::AlgorithmIdentifier;
use crate::limits::Budget;

/// `ContentInfo ::= SEQUENCE { contentType OBJECT IDENTIFIER, content [0] EXPLICIT ANY OPTIONAL }`.
#[derive(Debug)]
pub(crate) struct ContentInfo<'a> {
    pub(crate) content_type: String,
    whole: Tlv<'a>,
    content: Option<Tlv<'a>>,
}

impl<'a> ContentInfo<'a> {
    pub(crate) fn decode(tlv: &Tlv<'a>, budget: &mut Budget) -> Result<Self, DerError> {
        let mut fields = tlv.inner()?;
        let content_type = fields.field(Tag::OID, "a ContentInfo has no type", budget)?.dotted_oid()?;
        let content = match fields.optional(Tag::context(0), budget)? {
            Some(explicit) => {
                let mut inner = explicit.inner()?;
                let content = inner.any(budget)?;
                inner.end("a ContentInfo holds more than one content")?;
                Some(content)
            }
            None => None,
        };
        fields.end("a ContentInfo holds more than type and content")?;
        Ok(Self { content_type, whole: *tlv, content })
    }

    /// The whole ContentInfo as received.
    pub(crate) fn raw(&self) -> &'a [u8] {
        self.whole.raw()
    }

    /// The content of type `data`: an OCTET STRING. Its bytes are what the MAC covers.
    pub(crate) fn data(&self, budget: &mut Budget) -> Result<Octets<'a>, DerError> {
        // Without content: CVE-2024-0727 in other readers.
        let content = self.content.ok_or_else(|| self.whole.error("a ContentInfo of type data has no content"))?;
        if content.tag() != Tag::OCTET_STRING {
            return Err(content.error("the content of type data is not an OCTET STRING"));
        }
        content.octets(budget)
    }

    /// The content of type `encryptedData`.
    pub(crate) fn encrypted_data(&self, budget: &mut Budget) -> Result<EncryptedContentInfo<'a>, DerError> {
        let content = self.content.ok_or_else(|| self.whole.error("a ContentInfo of type encryptedData has no content"))?;
        if content.tag() != Tag::SEQUENCE {
            return Err(content.error("the content of type encryptedData is not a SEQUENCE"));
        }
        let mut fields = content.inner()?;
        fields.field(Tag::INTEGER, "an encryptedData has no version", budget)?.saturating_unsigned()?;
        let info = fields.field(Tag::SEQUENCE, "an encryptedData has no encryptedContentInfo", budget)?;
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
    fn decode(tlv: &Tlv<'a>, budget: &mut Budget) -> Result<Self, DerError> {
        let mut fields = tlv.inner()?;
        let content_type = fields.field(Tag::OID, "an encryptedContentInfo has no type", budget)?.dotted_oid()?;
        if content_type != super::oid::DATA {
            return Err(tlv.error("an encryptedContentInfo holds something else than data"));
        }
        let algorithm = AlgorithmIdentifier::read(&mut fields, budget)?;
        let encrypted_content = fields.field(Tag::context(0), "an encryptedContentInfo has no content", budget)?.octets(budget)?;
        fields.end("an encryptedContentInfo holds more than type, algorithm and content")?;
        Ok(Self { algorithm, encrypted_content })
    }
}

/// The safes in the bytes of an AuthenticatedSafe.
pub(crate) fn authenticated_safe<'a>(
    bytes: &'a [u8],
    depth: usize,
    budget: &mut Budget,
) -> Result<(Vec<ContentInfo<'a>>, usize), DerError> {
    let mut outer = Reader::inside(bytes, Rules::Ber, depth);
    let mut safes = outer.field(Tag::SEQUENCE, "the AuthenticatedSafe is not a SEQUENCE", budget)?.inner()?;
    let mut found = Vec::new();
    while !safes.is_empty() {
        budget.charge_safes(1)?;
        let safe = safes.field(Tag::SEQUENCE, "a safe is not a ContentInfo", budget)?;
        found.push(ContentInfo::decode(&safe, budget)?);
    }
    Ok((found, outer.rest().len()))
}
