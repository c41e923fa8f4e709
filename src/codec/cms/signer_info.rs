//! `SignerInfo` (RFC 5652 section 5.3) and its attributes.

use super::{AlgorithmIdentifier, CertificateIdentifier, read_oid};
use crate::codec::der::{DerError, Reader, Rules, Tag, Tlv, write};
use crate::ids::Oid;
use crate::limits::Budget;

/// `SignerInfo ::= SEQUENCE { version, sid, digestAlgorithm, [0] signedAttrs OPTIONAL, signatureAlgorithm, signature OCTET STRING, [1] unsignedAttrs OPTIONAL }`
#[derive(Debug)]
pub struct SignerInfo {
    /// Who signed.
    pub sid: CertificateIdentifier,
    /// The digest over the content.
    pub digest_algorithm: AlgorithmIdentifier,
    /// What is signed beside the content's digest; absent: the content alone is signed.
    pub signed_attrs: Option<SignedAttributes>,
    /// The signature algorithm; many write rsaEncryption and mean the digest above with it.
    pub signature_algorithm: AlgorithmIdentifier,
    /// The signature.
    pub signature: Vec<u8>,
    /// The types of the unsigned attributes, without those whose arcs exceed 32 bits. Nothing in them is used.
    pub unsigned_attr_types: Vec<Oid>,
}

impl SignerInfo {
    /// Reads one.
    pub fn decode(value: Tlv<'_>, budget: &mut Budget) -> Result<Self, DerError> {
        let mut inner = value.inner()?;
        inner.expect(Tag::INTEGER, budget)?.unsigned()?;
        let sid = CertificateIdentifier::read(&mut inner, budget)?;
        let digest_algorithm = AlgorithmIdentifier::read(&mut inner, budget)?;
        let signed_attrs = match inner.optional(Tag::context(0), budget)? {
            Some(value) => Some(SignedAttributes::decode(value, budget)?),
            None => None,
        };
        let signature_algorithm = AlgorithmIdentifier::read(&mut inner, budget)?;
        let signature = inner.expect(Tag::OCTET_STRING, budget)?.octets(budget)?.into_owned();
        let mut unsigned_attr_types = Vec::new();
        if let Some(unsigned) = inner.optional(Tag::context(1), budget)? {
            let mut unsigned = unsigned.inner()?;
            while !unsigned.is_empty() {
                unsigned_attr_types.extend(unsigned.sequence(budget)?.expect(Tag::OID, budget)?.oid()?);
            }
        }
        inner.finish()?;
        Ok(Self { sid, digest_algorithm, signed_attrs, signature_algorithm, signature, unsigned_attr_types })
    }

    /// DER, without unsigned attributes.
    pub fn encode(&self) -> Vec<u8> {
        let attributes = self.signed_attrs.as_ref().map(|attributes| write::context(0, &[&attributes.content])).unwrap_or_default();
        write::sequence(&[
            &write::unsigned(if self.sid.is_key_identifier() { 3 } else { 1 }),
            &self.sid.encode(),
            &self.digest_algorithm.encode(),
            &attributes,
            &self.signature_algorithm.encode(),
            &write::octet_string(&self.signature),
        ])
    }
}

/// `SignedAttributes ::= SET SIZE (1..MAX) OF Attribute`, with the bytes as received.
#[derive(Debug)]
pub struct SignedAttributes {
    content: Vec<u8>,
    /// The attributes in their order.
    pub attributes: Vec<Attribute>,
}

/// `Attribute ::= SEQUENCE { attrType OBJECT IDENTIFIER, attrValues SET OF ANY }`
#[derive(Debug, Clone)]
pub struct Attribute {
    /// The type.
    pub attr_type: Oid,
    /// The values as received.
    pub values: Vec<Vec<u8>>,
}

impl SignedAttributes {
    /// Attributes to sign, sorted as DER demands.
    pub fn new(attributes: &[Attribute]) -> Self {
        let mut encoded: Vec<Vec<u8>> = attributes.iter().map(Attribute::encode).collect();
        encoded.sort();
        Self { content: encoded.concat(), attributes: attributes.to_vec() }
    }

    /// Takes the set apart, whatever its tag.
    pub fn decode(value: Tlv<'_>, budget: &mut Budget) -> Result<Self, DerError> {
        let mut inner = value.inner()?;
        let mut attributes = Vec::new();
        while !inner.is_empty() {
            attributes.push(Attribute::decode(inner.expect(Tag::SEQUENCE, budget)?, budget)?);
        }
        if attributes.is_empty() {
            return Err(value.error("an empty set of signed attributes"));
        }
        Ok(Self { content: value.content().to_vec(), attributes })
    }

    /// What is signed: the attributes as received, under the tag of a SET instead of `[0]` (RFC 5652 section 5.4).
    pub fn to_be_verified(&self) -> Vec<u8> {
        write::value(write::SET, &[&self.content])
    }

    /// The same sorted as DER demands: some signers sort for the signature and not for the message.
    pub fn to_be_verified_sorted(&self) -> Vec<u8> {
        let mut budget = Budget::new(&crate::limits::Limits { elements: usize::MAX, ..Default::default() });
        let mut reader = Reader::new(&self.content, Rules::Ber);
        let mut parts: Vec<&[u8]> = Vec::with_capacity(self.attributes.len());
        while let Ok(value) = reader.any(&mut budget) {
            parts.push(value.raw());
        }
        parts.sort();
        write::value(write::SET, &parts)
    }
}

impl Attribute {
    /// An attribute of one value, given as DER.
    pub fn single(attr_type: Oid, value: Vec<u8>) -> Self {
        Self { attr_type, values: vec![value] }
    }

    fn decode(value: Tlv<'_>, budget: &mut Budget) -> Result<Self, DerError> {
        let mut inner = value.inner()?;
        let attr_type = read_oid(&mut inner, budget)?;
        let mut set = inner.set(budget)?;
        inner.finish()?;
        let mut values = Vec::new();
        while !set.is_empty() {
            values.push(set.any(budget)?.raw().to_vec());
        }
        Ok(Self { attr_type, values })
    }

    fn encode(&self) -> Vec<u8> {
        write::sequence(&[&write::oid(&self.attr_type), &write::set_of(self.values.clone())])
    }
}
