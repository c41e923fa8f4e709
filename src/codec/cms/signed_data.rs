//! `SignedData` (RFC 5652 section 5), and its degenerate form that only carries certificates.

use super::{AlgorithmIdentifier, ContentInfo, SignerInfo, oids, read_oid};
use crate::codec::der::{DerError, Tag, Tlv, write};
use crate::ids::Oid;
use crate::limits::Budget;
use crate::terms::oid;

/// `SignedData ::= SEQUENCE { version, digestAlgorithms SET, encapContentInfo, [0] certificates OPTIONAL, [1] crls OPTIONAL, signerInfos SET }`
#[derive(Debug)]
pub struct SignedData {
    /// The digests that a one-pass reader should compute.
    pub digest_algorithms: Vec<AlgorithmIdentifier>,
    /// What is signed.
    pub encap_content_info: EncapsulatedContentInfo,
    /// X.509 certificates as received, in their order; other kinds of `CertificateChoices` are left out.
    pub certificates: Vec<Vec<u8>>,
    /// X.509 CRLs as received (v1 among them); other kinds of `RevocationInfoChoice` are left out.
    pub crls: Vec<Vec<u8>>,
    /// The context tags of the other kinds, in both sets: (whether it is revocation information, the tag's number).
    pub skipped: Vec<(bool, u32)>,
    /// The signers.
    pub signer_infos: Vec<SignerInfo>,
}

/// `EncapsulatedContentInfo ::= SEQUENCE { eContentType, eContent [0] EXPLICIT OCTET STRING OPTIONAL }`
#[derive(Debug)]
pub struct EncapsulatedContentInfo {
    /// What the content is.
    pub content_type: Oid,
    /// The octets that are hashed: those of the OCTET STRING, chunks joined; of another value (PKCS#7 1.5) its content octets.
    /// `None` when absent, which is not the same as empty.
    pub content: Option<Vec<u8>>,
    /// Whether the content is an OCTET STRING, as CMS demands.
    pub is_octet_string: bool,
}

impl SignedData {
    /// Reads the content of a `ContentInfo`.
    pub fn decode(value: Tlv<'_>, budget: &mut Budget) -> Result<Self, DerError> {
        let mut inner = value.inner()?;
        inner.expect(Tag::INTEGER, budget)?.unsigned()?;
        let mut digests = inner.set(budget)?;
        let mut digest_algorithms = Vec::new();
        while !digests.is_empty() {
            digest_algorithms.push(AlgorithmIdentifier::read(&mut digests, budget)?);
        }
        let encap_content_info = EncapsulatedContentInfo::decode(inner.expect(Tag::SEQUENCE, budget)?, budget)?;
        let mut skipped = Vec::new();
        let certificates = read_sequences(inner.optional(Tag::context(0), budget)?, budget, |number| skipped.push((false, number)))?;
        let crls = read_sequences(inner.optional(Tag::context(1), budget)?, budget, |number| skipped.push((true, number)))?;
        let mut signers = inner.set(budget)?;
        let mut signer_infos = Vec::new();
        while !signers.is_empty() {
            budget.charge_recipients(1)?;
            signer_infos.push(SignerInfo::decode(signers.expect(Tag::SEQUENCE, budget)?, budget)?);
        }
        inner.finish()?;
        Ok(Self { digest_algorithms, encap_content_info, certificates, crls, skipped, signer_infos })
    }

    /// DER of the whole message. Version 3 when a signer is named by key identifier or the content is not id-data, else 1.
    pub fn encode(&self) -> Vec<u8> {
        let by_key = self.signer_infos.iter().any(|signer| signer.sid.is_key_identifier());
        let version = if by_key || self.encap_content_info.content_type.as_str() != oids::DATA { 3 } else { 1 };
        let digests = write::set_of(self.digest_algorithms.iter().map(AlgorithmIdentifier::encode).collect());
        let signers = write::set_of(self.signer_infos.iter().map(SignerInfo::encode).collect());
        let body = write::sequence(&[
            &write::unsigned(version),
            &digests,
            &self.encap_content_info.encode(),
            &implicit_set(0, &self.certificates),
            &implicit_set(1, &self.crls),
            &signers,
        ]);
        ContentInfo::encode(&oid(oids::SIGNED_DATA), &body)
    }
}

impl EncapsulatedContentInfo {
    fn decode(value: Tlv<'_>, budget: &mut Budget) -> Result<Self, DerError> {
        let mut inner = value.inner()?;
        let content_type = read_oid(&mut inner, budget)?;
        let (mut content, mut is_octet_string) = (None, true);
        if let Some(explicit) = inner.optional(Tag::context(0), budget)? {
            let value = explicit.explicit(budget)?;
            is_octet_string = value.tag() == Tag::OCTET_STRING;
            content = Some(if is_octet_string { value.octets(budget)?.into_owned() } else { value.content().to_vec() });
        }
        inner.finish()?;
        Ok(Self { content_type, content, is_octet_string })
    }

    fn encode(&self) -> Vec<u8> {
        let content = self.content.as_deref().map(|content| write::context(0, &[&write::octet_string(content)])).unwrap_or_default();
        write::sequence(&[&write::oid(&self.content_type), &content])
    }
}

fn read_sequences(set: Option<Tlv<'_>>, budget: &mut Budget, mut skip: impl FnMut(u32)) -> Result<Vec<Vec<u8>>, DerError> {
    let mut found = Vec::new();
    let Some(set) = set else { return Ok(found) };
    let mut inner = set.inner()?;
    while !inner.is_empty() {
        budget.charge_certificates(1)?;
        let value = inner.any(budget)?;
        if value.tag() == Tag::SEQUENCE {
            found.push(value.raw().to_vec());
        } else if value.tag().is_context() {
            skip(value.tag().number());
        } else {
            return Err(value.error("neither a certificate nor a CRL"));
        }
    }
    Ok(found)
}

fn implicit_set(number: u8, values: &[Vec<u8>]) -> Vec<u8> {
    if values.is_empty() {
        return Vec::new();
    }
    let mut sorted: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
    sorted.sort();
    write::context(number, &sorted)
}
