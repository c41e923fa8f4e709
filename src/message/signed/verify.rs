//! Reading and verifying SignedData.

use rustls_pki_types::CertificateDer;
use subtle::ConstantTimeEq as _;

use super::algorithm::signature_algorithm;
use super::identifies;
use crate::codec::cms::{AlgorithmIdentifier, ContentInfo, SignedAttributes, SignedData, SignerInfo, oids};
use crate::codec::der::{Reader, Rules, Tag, single};
use crate::crypto::{CryptoError, CryptoProvider, DigestAlgorithm, SignatureAlgorithm};
use crate::ids::Oid;
use crate::limits::{Budget, Limits};
use crate::message::algorithm::PublicKeyAlgorithm;
use crate::message::certificate::Certificate;
use crate::message::cms_error::CmsError;
use crate::terms::oid;

/// Whether SHA-1 is accepted under a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LegacyDigests {
    /// SHA-2 only.
    #[default]
    Refuse,
    /// Also SHA-1, for which chosen-prefix collisions are affordable: only for old peers.
    AllowSha1,
}

/// Whether RSA keys under 2048 bits are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ShortRsaKeys {
    /// From 2048 bits only.
    #[default]
    Refuse,
    /// From 1024 bits: such keys can be factored at a price, so a signature proves little. Only to read what was signed long ago.
    DangerouslyAllow1024Bits,
}

/// How to verify.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct VerifyOptions<'a> {
    /// The content when it is not in the message.
    pub detached: Option<&'a [u8]>,
    /// Certificates to look for the signer in, beside those in the message.
    pub certificates: &'a [Certificate],
    /// Whether SHA-1 is accepted.
    pub legacy_digests: LegacyDigests,
    /// Whether RSA keys under 2048 bits are accepted.
    pub short_rsa_keys: ShortRsaKeys,
}

impl<'a> VerifyOptions<'a> {
    /// Gives content that is not in the message.
    #[must_use]
    pub fn detached(mut self, content: &'a [u8]) -> Self {
        self.detached = Some(content);
        self
    }

    /// Gives certificates beside those in the message.
    #[must_use]
    pub fn certificates(mut self, certificates: &'a [Certificate]) -> Self {
        self.certificates = certificates;
        self
    }

    /// Whether SHA-1 is accepted.
    #[must_use]
    pub fn legacy_digests(mut self, legacy: LegacyDigests) -> Self {
        self.legacy_digests = legacy;
        self
    }

    /// Whether RSA keys under 2048 bits are accepted.
    #[must_use]
    pub fn short_rsa_keys(mut self, short: ShortRsaKeys) -> Self {
        self.short_rsa_keys = short;
        self
    }
}

/// What a message may carry beside X.509 certificates and CRLs (RFC 5652 sections 10.2.1 and 10.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SkippedChoice {
    /// A certificate of PKCS#6, obsolete.
    ExtendedCertificate,
    /// An attribute certificate of version 1, obsolete.
    AttributeCertificateV1,
    /// An attribute certificate (RFC 5755).
    AttributeCertificateV2,
    /// A certificate of another format.
    OtherCertificate,
    /// Revocation information of another format, such as an OCSP response (RFC 5940).
    OtherRevocationInfo,
    /// A choice that RFC 5652 does not know.
    Unknown,
}

impl SkippedChoice {
    fn of_tag(revocation: bool, number: u32) -> Self {
        match (revocation, number) {
            (false, 0) => Self::ExtendedCertificate,
            (false, 1) => Self::AttributeCertificateV1,
            (false, 2) => Self::AttributeCertificateV2,
            (false, 3) => Self::OtherCertificate,
            (true, 1) => Self::OtherRevocationInfo,
            _ => Self::Unknown,
        }
    }
}

/// A SignedData message that has been read; nothing about it is verified yet.
#[derive(Debug)]
pub struct Signed {
    data: SignedData,
    limits: Limits,
}

impl Signed {
    /// Reads a `ContentInfo` with SignedData, in DER or BER. PKCS#7 1.5 content that is not an OCTET STRING is read as well.
    ///
    /// Signed attributes must hold contentType and messageDigest exactly once with one value (RFC 5652 section 11).
    ///
    /// # Errors
    /// [`CmsError::Malformed`], [`CmsError::ContentType`], [`CmsError::Limit`].
    pub fn parse(message: &[u8], limits: &Limits) -> Result<Self, CmsError> {
        let mut budget = Budget::new(limits);
        let info = ContentInfo::decode(message, &mut budget)?;
        if info.content_type.as_str() != oids::SIGNED_DATA {
            return Err(CmsError::ContentType(info.content_type));
        }
        let data = SignedData::decode(info.content.ok_or(CmsError::Malformed("there is no content"))?, &mut budget)?;
        for signer in &data.signer_infos {
            check_attributes(signer, &data.encap_content_info.content_type, &mut budget)?;
        }
        Ok(Self { data, limits: limits.clone() })
    }

    /// What the content is.
    #[must_use]
    pub fn content_type(&self) -> &Oid {
        &self.data.encap_content_info.content_type
    }

    /// The content, not verified; `None` when absent. [`Signed::verify`] gives it verified.
    #[must_use]
    pub fn unverified_content(&self) -> Option<&[u8]> {
        self.data.encap_content_info.content.as_deref()
    }

    /// The certificates in the message's order. Their order says nothing: find a signer by [`Signed::verify`].
    pub fn certificates(&self) -> impl ExactSizeIterator<Item = CertificateDer<'_>> {
        self.data.certificates.iter().map(|der| CertificateDer::from(der.as_slice()))
    }

    /// The DER of the CRLs in the message's order.
    pub fn crls(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.data.crls.iter().map(Vec::as_slice)
    }

    /// What stands among certificates and CRLs and is neither, in the message's order: nothing is used of it.
    #[must_use]
    pub fn skipped(&self) -> Vec<SkippedChoice> {
        self.data.skipped.iter().map(|(revocation, number)| SkippedChoice::of_tag(*revocation, *number)).collect()
    }

    /// How many signers there are; none in a message that only carries certificates.
    #[must_use]
    pub fn signer_count(&self) -> usize {
        self.data.signer_infos.len()
    }

    /// Verifies every signer against the certificate that its identifier names.
    ///
    /// That says the holder of that certificate's key signed. Whether the certificate is to be trusted is another question.
    ///
    /// # Errors
    /// [`CmsError::NotSigned`], [`CmsError::Detached`], [`CmsError::SignerNotFound`], [`CmsError::Signature`],
    /// [`CmsError::UnsupportedAlgorithm`], [`CmsError::WeakAlgorithm`], [`CmsError::MissingSlot`].
    pub fn verify<'a>(&'a self, options: VerifyOptions<'a>, provider: &CryptoProvider) -> Result<VerifiedSigned<'a>, CmsError> {
        if self.data.signer_infos.is_empty() {
            return Err(CmsError::NotSigned);
        }
        let content = self.unverified_content().or(options.detached).ok_or(CmsError::Detached)?;
        // One that is not read (another kind of certificate, a broken one) may be there for another purpose.
        let carried = self.data.certificates.iter().filter_map(|der| Certificate::from_der(der, &self.limits).ok());
        let candidates: Vec<Certificate> = carried.chain(options.certificates.iter().cloned()).collect();
        let mut signers = Vec::with_capacity(self.data.signer_infos.len());
        for signer in &self.data.signer_infos {
            signers.push(self.verify_signer(signer, content, &candidates, options, provider)?);
        }
        Ok(VerifiedSigned { content, signers })
    }

    fn verify_signer<'a>(
        &'a self,
        signer: &'a SignerInfo,
        content: &[u8],
        candidates: &[Certificate],
        options: VerifyOptions<'_>,
        provider: &CryptoProvider,
    ) -> Result<VerifiedSigner<'a>, CmsError> {
        let named = candidates.iter().find(|certificate| identifies(&signer.sid, certificate));
        let certificate = named.ok_or(CmsError::SignerNotFound)?.clone();
        let digest = DigestAlgorithm::from_oid(&signer.digest_algorithm.algorithm)
            .ok_or_else(|| CmsError::UnsupportedAlgorithm { role: "digest algorithm", oid: signer.digest_algorithm.algorithm.clone() })?;
        // RFC 5652 section 5.1 lets a reader refuse this; OpenSSL does, and readers that did not were caught by an empty set.
        let listed = self.data.digest_algorithms.iter().any(|listed| DigestAlgorithm::from_oid(&listed.algorithm) == Some(digest));
        if !listed {
            return Err(CmsError::Malformed("the signer's digest is not among the digests of the message"));
        }
        let mut budget = Budget::new(&self.limits);
        let algorithm = signature_algorithm(&signer.signature_algorithm, digest, certificate.public_key_algorithm(), &mut budget)?;
        let sha1 = digest == DigestAlgorithm::Sha1 || algorithm.digest() == Some(DigestAlgorithm::Sha1);
        if sha1 && options.legacy_digests != LegacyDigests::AllowSha1 {
            return Err(CmsError::WeakAlgorithm("SHA-1 (LegacyDigests::AllowSha1)"));
        }
        if sha1 {
            // Over the content it carries the signature as much as inside it; the digest slot alone approves SHA-1, for names.
            provider.permits_signing(SignatureAlgorithm::RsaPkcs1Sha1)?;
        }
        // The signature may be over another digest than the content's only where attributes hold the latter.
        if signer.signed_attrs.is_none() && algorithm.digest().is_some_and(|signed| signed != digest) {
            return Err(CmsError::Malformed("the signature algorithm and the digest algorithm name different digests"));
        }
        let short = matches!(certificate.public_key_algorithm(), PublicKeyAlgorithm::Rsa { bits } | PublicKeyAlgorithm::RsaPss { bits } if *bits < 2048);
        if short && options.short_rsa_keys == ShortRsaKeys::Refuse {
            return Err(CmsError::WeakAlgorithm("an RSA key under 2048 bits (ShortRsaKeys::DangerouslyAllow1024Bits)"));
        }
        let verification = provider.verification()?;
        let verify = |message: &[u8]| {
            let (spki, signature) = (certificate.spki(), &signer.signature);
            let outcome = if short {
                verification.dangerous_verify_with_short_rsa_key(algorithm, spki, message, signature)
            } else {
                verification.verify(algorithm, spki, message, signature)
            };
            match outcome {
                Ok(()) => Ok(true),
                Err(error @ (CryptoError::Unsupported(_) | CryptoError::NotApproved { .. })) => Err(CmsError::Crypto(error)),
                Err(_) => Ok(false),
            }
        };
        let verified = match &signer.signed_attrs {
            None => {
                // RFC 5652 section 5.3: attributes may be missing over id-data only.
                if self.content_type().as_str() != oids::DATA {
                    return Err(CmsError::Malformed("content other than id-data is signed without attributes"));
                }
                // Without attributes the content itself is signed; content that looks like attributes may be attributes of another message.
                if looks_like_attributes(content) {
                    return Err(CmsError::Signature);
                }
                verify(content)?
            }
            Some(attributes) => {
                let actual = provider.digest()?.digest(digest, &[content])?;
                let stated = message_digest(attributes, &mut budget)?;
                if !bool::from(actual.as_ref().ct_eq(&stated)) {
                    return Err(CmsError::Signature);
                }
                let received = attributes.to_be_verified();
                verify(&received)? || {
                    let sorted = attributes.to_be_verified_sorted();
                    sorted != received && verify(&sorted)?
                }
            }
        };
        if verified { Ok(VerifiedSigner { certificate, digest, algorithm, signer }) } else { Err(CmsError::Signature) }
    }
}

/// Content whose signatures have all verified.
#[derive(Debug)]
pub struct VerifiedSigned<'a> {
    content: &'a [u8],
    signers: Vec<VerifiedSigner<'a>>,
}

impl<'a> VerifiedSigned<'a> {
    /// The content.
    #[must_use]
    pub fn content(&self) -> &'a [u8] {
        self.content
    }

    /// The signers, at least one.
    #[must_use]
    pub fn signers(&self) -> &[VerifiedSigner<'a>] {
        &self.signers
    }

    /// The signer when there is exactly one.
    #[must_use]
    pub fn single_signer(&self) -> Option<&VerifiedSigner<'a>> {
        match self.signers.as_slice() {
            [signer] => Some(signer),
            _ => None,
        }
    }
}

/// A signer whose signature has verified.
#[derive(Debug)]
pub struct VerifiedSigner<'a> {
    certificate: Certificate,
    digest: DigestAlgorithm,
    algorithm: SignatureAlgorithm,
    signer: &'a SignerInfo,
}

impl<'a> VerifiedSigner<'a> {
    /// The certificate whose key signed. It is not trusted by that.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The digest over the content.
    #[must_use]
    pub fn digest(&self) -> DigestAlgorithm {
        self.digest
    }

    /// The signature algorithm.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// Whether attributes were signed beside the content.
    #[must_use]
    pub fn has_signed_attributes(&self) -> bool {
        self.signer.signed_attrs.is_some()
    }

    /// The value of a signed attribute, as received, tag and length included; `None` when it is absent.
    ///
    /// # Errors
    /// [`CmsError::Malformed`] when the attribute is there twice or has not exactly one value.
    pub fn attribute(&self, attribute: &Oid) -> Result<Option<&'a [u8]>, CmsError> {
        match &self.signer.signed_attrs {
            Some(attributes) => single_value(attributes, attribute),
            None => Ok(None),
        }
    }
}

fn single_value<'a>(attributes: &'a SignedAttributes, wanted: &Oid) -> Result<Option<&'a [u8]>, CmsError> {
    let mut found = attributes.attributes.iter().filter(|attribute| attribute.attr_type == *wanted);
    match (found.next(), found.next()) {
        (None, _) => Ok(None),
        (Some(attribute), None) => match attribute.values.as_slice() {
            [value] => Ok(Some(value)),
            _ => Err(CmsError::Malformed("a signed attribute has not exactly one value")),
        },
        (Some(_), Some(_)) => Err(CmsError::Malformed("a signed attribute is there twice")),
    }
}

fn message_digest(attributes: &SignedAttributes, budget: &mut Budget) -> Result<Vec<u8>, CmsError> {
    let value = single_value(attributes, &oid(oids::MESSAGE_DIGEST))?.ok_or(CmsError::Malformed("there is no messageDigest"))?;
    let value = single(value, Rules::Ber, budget)?;
    if value.tag() != Tag::OCTET_STRING {
        return Err(CmsError::Malformed("messageDigest is not an OCTET STRING"));
    }
    Ok(value.octets(budget)?.into_owned())
}

/// The rules of RFC 5652 sections 5.3 and 11, which a decoder alone does not check.
fn check_attributes(signer: &SignerInfo, content_type: &Oid, budget: &mut Budget) -> Result<(), CmsError> {
    // RFC 5652 sections 11.1 to 11.3: these MUST NOT be unsigned.
    if [oids::CONTENT_TYPE, oids::MESSAGE_DIGEST, oids::SIGNING_TIME].iter().any(|text| signer.unsigned_attr_types.contains(&oid(text))) {
        return Err(CmsError::Malformed("an attribute that must be signed is not"));
    }
    let Some(attributes) = &signer.signed_attrs else { return Ok(()) };
    let stated = single_value(attributes, &oid(oids::CONTENT_TYPE))?.ok_or(CmsError::Malformed("there is no contentType"))?;
    if single(stated, Rules::Ber, budget)?.oid()?.as_ref() != Some(content_type) {
        return Err(CmsError::Malformed("contentType is not the type of the content"));
    }
    message_digest(attributes, budget)?;
    if let Some(protection) = single_value(attributes, &oid(oids::CMS_ALGORITHM_PROTECT))? {
        check_algorithm_protection(signer, protection, budget)?;
    }
    if let Some(time) = single_value(attributes, &oid(oids::SIGNING_TIME))? {
        let time = single(time, Rules::Ber, budget)?;
        let digits = match time.tag() {
            Tag::UTC_TIME => 10,
            Tag::GENERALIZED_TIME => 14,
            _ => return Err(CmsError::Malformed("signingTime is not a time")),
        };
        let octets = time.octets(budget)?;
        if octets.len() < digits || !octets.iter().take(digits).all(u8::is_ascii_digit) {
            return Err(CmsError::Malformed("signingTime is not a time"));
        }
    }
    Ok(())
}

/// `CMSAlgorithmProtection` (RFC 6211): the algorithms as the signer saw them, so that nobody swaps the unsigned identifiers.
fn check_algorithm_protection(signer: &SignerInfo, value: &[u8], budget: &mut Budget) -> Result<(), CmsError> {
    let mut inner = single(value, Rules::Ber, budget)?.inner()?;
    let digest = AlgorithmIdentifier::read(&mut inner, budget)?;
    let signature = inner.expect(Tag::context(1), budget)?;
    let signature = AlgorithmIdentifier::from_tlv(signature, budget)?;
    inner.finish()?;
    if digest.is_equivalent(&signer.digest_algorithm) && signature.is_equivalent(&signer.signature_algorithm) {
        Ok(())
    } else {
        Err(CmsError::Malformed("the algorithms are not those that the signer protected"))
    }
}

/// Whether content could be taken for signed attributes: a SET whose first value is a SEQUENCE that starts with an object identifier.
pub(super) fn looks_like_attributes(content: &[u8]) -> bool {
    let budget = &mut Budget::new(&Limits::default());
    let mut reader = Reader::new(content, Rules::Ber);
    let Ok(mut set) = reader.set(budget) else { return false };
    let Ok(mut first) = set.sequence(budget) else { return false };
    reader.is_empty() && first.expect(Tag::OID, budget).is_ok() && first.expect(Tag::SET, budget).is_ok()
}
