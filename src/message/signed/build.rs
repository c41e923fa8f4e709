//! Writing SignedData.

use rustls_pki_types::CertificateDer;

use super::algorithm::{digest_of, signature_identifier};
use super::verify::looks_like_attributes;
use super::{SignedAttribute, issuer_and_serial};
use crate::codec::cms::{
    AlgorithmIdentifier, Attribute, CertificateIdentifier, EncapsulatedContentInfo, SignedAttributes, SignedData, SignerInfo, oids,
};
use crate::codec::der::write;
use crate::crypto::{CryptoProvider, SignatureAlgorithm, SigningKey};
use crate::message::certificate::Certificate;
use crate::message::cms_error::CmsError;
use crate::terms::oid;

/// Where the signed content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignedContent<'a> {
    /// In the message; may be empty, which is not the same as absent.
    Attached(&'a [u8]),
    /// Beside the message: the reader must have it.
    Detached(&'a [u8]),
    /// There is none: the signature covers the attributes and an empty content.
    Absent,
}

/// What the signature is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SignatureOver {
    /// Signed attributes that hold the content's digest: what every peer reads.
    #[default]
    Attributes,
    /// The content itself, without attributes: some readers demand it of detached signatures. Nothing else can be signed then.
    ///
    /// Readers that do not look can be shown the attributes of another message as such content, so prefer [`SignatureOver::Attributes`].
    Content,
}

/// How the signer's certificate is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SignerNamedBy {
    /// Issuer and serial number: what every peer reads.
    #[default]
    IssuerAndSerialNumber,
    /// The subject key identifier of the certificate, which must have one.
    SubjectKeyIdentifier,
}

/// Signs content.
#[derive(Debug)]
pub struct SignedBuilder<'a> {
    content: SignedContent<'a>,
    over: SignatureOver,
    named_by: SignerNamedBy,
    attributes: Vec<SignedAttribute>,
    certificates: Vec<Vec<u8>>,
}

impl<'a> SignedBuilder<'a> {
    /// Content of type id-data to sign.
    #[must_use]
    pub fn new(content: SignedContent<'a>) -> Self {
        Self {
            content,
            over: SignatureOver::Attributes,
            named_by: SignerNamedBy::IssuerAndSerialNumber,
            attributes: Vec::new(),
            certificates: Vec::new(),
        }
    }

    /// Adds a signed attribute; contentType and messageDigest are there already.
    #[must_use]
    pub fn attribute(mut self, attribute: SignedAttribute) -> Self {
        self.attributes.push(attribute);
        self
    }

    /// What the signature is over.
    #[must_use]
    pub fn signature_over(mut self, over: SignatureOver) -> Self {
        self.over = over;
        self
    }

    /// How the signer's certificate is named.
    #[must_use]
    pub fn signer_named_by(mut self, named_by: SignerNamedBy) -> Self {
        self.named_by = named_by;
        self
    }

    /// Adds a certificate, the signer's as a rule: it is not added by itself.
    #[must_use]
    pub fn certificate(mut self, certificate: &CertificateDer<'_>) -> Self {
        self.certificates.push(certificate.to_vec());
        self
    }

    /// What the key of `signer` must sign.
    ///
    /// # Errors
    /// [`CmsError::MissingSlot`] and [`CmsError::Crypto`] from the digest slot; [`CmsError::Certificate`] when it lacks the key
    /// identifier that was asked for; [`CmsError::Malformed`] for attributes beside [`SignatureOver::Content`], or content there that has their form.
    pub fn to_be_signed(
        self,
        signer: &Certificate,
        algorithm: SignatureAlgorithm,
        provider: &CryptoProvider,
    ) -> Result<SignedToBeSigned, CmsError> {
        provider.permits_signing(algorithm)?;
        let digest = digest_of(algorithm);
        let octets = match self.content {
            SignedContent::Attached(octets) | SignedContent::Detached(octets) => octets,
            SignedContent::Absent => &[],
        };
        let sid = match self.named_by {
            SignerNamedBy::IssuerAndSerialNumber => issuer_and_serial(signer),
            SignerNamedBy::SubjectKeyIdentifier => CertificateIdentifier::SubjectKeyIdentifier(
                signer.subject_key_identifier().ok_or(CmsError::Certificate("it has no subject key identifier"))?.to_vec(),
            ),
        };
        let (signed_attrs, message) = match self.over {
            SignatureOver::Content if looks_like_attributes(octets) => {
                return Err(CmsError::Malformed("content that could be taken for signed attributes"));
            }
            SignatureOver::Content if self.attributes.is_empty() => (None, octets.to_vec()),
            SignatureOver::Content => return Err(CmsError::Malformed("attributes cannot be signed by a signature over the content")),
            SignatureOver::Attributes => {
                let content_digest = provider.digest()?.digest(digest, &[octets])?;
                let mut attributes = vec![
                    Attribute::single(oid(oids::CONTENT_TYPE), write::oid(&oid(oids::DATA))),
                    Attribute::single(oid(oids::MESSAGE_DIGEST), write::octet_string(content_digest.as_ref())),
                ];
                attributes.extend(self.attributes.into_iter().map(|attribute| attribute.0));
                let attributes = SignedAttributes::new(&attributes);
                let message = attributes.to_be_verified();
                (Some(attributes), message)
            }
        };
        // RFC 5754 section 2: SHA-2 identifiers are written without parameters.
        let digest_algorithm = AlgorithmIdentifier::new(oid(digest.oid()), None);
        let data = SignedData {
            digest_algorithms: vec![digest_algorithm.clone()],
            encap_content_info: EncapsulatedContentInfo {
                content_type: oid(oids::DATA),
                content: match self.content {
                    SignedContent::Attached(octets) => Some(octets.to_vec()),
                    SignedContent::Detached(_) | SignedContent::Absent => None,
                },
                is_octet_string: true,
            },
            certificates: self.certificates,
            crls: Vec::new(),
            skipped: Vec::new(),
            signer_infos: vec![SignerInfo {
                sid,
                digest_algorithm,
                signed_attrs,
                signature_algorithm: signature_identifier(algorithm),
                signature: Vec::new(),
                unsigned_attr_types: Vec::new(),
            }],
        };
        Ok(SignedToBeSigned { data, message, algorithm })
    }

    /// Signs with `key` and gives the DER of a `ContentInfo`.
    ///
    /// # Errors
    /// As for [`SignedBuilder::to_be_signed`]; [`CmsError::Sign`] from the key.
    pub async fn sign(
        self,
        signer: &Certificate,
        key: &dyn SigningKey,
        algorithm: SignatureAlgorithm,
        provider: &CryptoProvider,
    ) -> Result<Vec<u8>, CmsError> {
        let to_be_signed = self.to_be_signed(signer, algorithm, provider)?;
        let signature = key.sign(to_be_signed.algorithm(), to_be_signed.message()).await?;
        Ok(to_be_signed.finish(&signature))
    }
}

/// A message that lacks only its signature.
#[derive(Debug)]
pub struct SignedToBeSigned {
    pub(super) data: SignedData,
    message: Vec<u8>,
    algorithm: SignatureAlgorithm,
}

impl SignedToBeSigned {
    /// The bytes to sign (not their digest): the DER of the signed attributes, or the content.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// How to sign them.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// Adds the signers of `others` to this message: each signed the same content with an own key. The certificates are joined.
    /// Detached content is not there to be compared: that it is the same is up to the caller.
    ///
    /// # Errors
    /// [`CmsError::Malformed`] when one of them has other content.
    pub fn finish_with(mut self, signature: &[u8], others: Vec<(Self, Vec<u8>)>) -> Result<Vec<u8>, CmsError> {
        self.set_signature(signature);
        for (mut other, signature) in others {
            other.set_signature(&signature);
            if other.data.encap_content_info.content != self.data.encap_content_info.content {
                return Err(CmsError::Malformed("the signers of one message sign the same content"));
            }
            for digest in other.data.digest_algorithms {
                if !self.data.digest_algorithms.contains(&digest) {
                    self.data.digest_algorithms.push(digest);
                }
            }
            for certificate in other.data.certificates {
                if !self.data.certificates.contains(&certificate) {
                    self.data.certificates.push(certificate);
                }
            }
            self.data.signer_infos.append(&mut other.data.signer_infos);
        }
        Ok(self.data.encode())
    }

    /// The DER of the finished `ContentInfo`.
    #[must_use]
    pub fn finish(mut self, signature: &[u8]) -> Vec<u8> {
        self.set_signature(signature);
        self.data.encode()
    }

    fn set_signature(&mut self, signature: &[u8]) {
        for signer in &mut self.data.signer_infos {
            signer.signature = signature.to_vec();
        }
    }
}

/// A message without a signer that carries certificates and CRLs ("degenerate", `.p7b`). DER sorts them: their order says nothing.
#[must_use]
pub fn certs_only(certificates: &[CertificateDer<'_>], crls: &[Vec<u8>]) -> Vec<u8> {
    let data = SignedData {
        digest_algorithms: Vec::new(),
        encap_content_info: EncapsulatedContentInfo { content_type: oid(oids::DATA), content: None, is_octet_string: true },
        certificates: certificates.iter().map(|certificate| certificate.to_vec()).collect(),
        crls: crls.to_vec(),
        skipped: Vec::new(),
        signer_infos: Vec::new(),
    };
    data.encode()
}
