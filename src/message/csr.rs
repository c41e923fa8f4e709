//! PKCS#10 certification requests (RFC 2986): read, verified over the received bytes, built.

use core::fmt;
use core::ops::Range;

pub use self::builder::CsrBuilder;
#[cfg(feature = "scep")]
pub(crate) use self::possession::Possession;
use super::X509Error;
use super::algorithm::{PublicKeyAlgorithm, SignatureIdentifier};
use super::certificate::{Extension, KnownExtensions, verify};
use super::name::Name;
use crate::codec::pkcs10::certification_request as codec;
use crate::codec::pkcs10::{CHALLENGE_PASSWORD, EXTENSION_REQUEST, MICROSOFT_EXTENSION_REQUEST};
use crate::codec::x509::certificate::decode_extensions;
use crate::codec::x509::extensions::TEMPLATE_NAME;
use crate::codec::x509::string;
use crate::crypto::CryptoProvider;
use crate::ids::{Oid, Sid, TemplateName};
use crate::limits::{Budget, Limits};
use crate::secret::{Password, SecretBytes};
use crate::terms::{KeyUsage, SubjectAltName};

mod builder;
#[cfg(feature = "scep")]
mod possession;
#[cfg(test)]
mod tests;

/// A certification request. One from a SCEP client holds its challenge: it is wiped on drop, not `Clone`, and `Debug` hides it.
pub struct Csr {
    der: SecretBytes,
    info: Range<usize>,
    spki: Range<usize>,
    signature: Vec<u8>,
    subject: Name,
    key_algorithm: PublicKeyAlgorithm,
    signature_algorithm: Option<SignatureIdentifier>,
    challenge: Option<Password>,
    known: KnownExtensions,
    extensions: Vec<Extension>,
    requested_extension_oids: Vec<Oid>,
    attribute_oids: Vec<Oid>,
    overlong_attribute: bool,
    /// It came out of [`Csr::proven`]: its signature has verified.
    is_proven: bool,
}

impl Csr {
    /// Reads one request; nothing may follow it. The attributes may be unsorted (strongSwan) or left out. The signature is not verified yet.
    ///
    /// # Errors
    /// [`X509Error::Malformed`], also for two challenge passwords or an extension asked for twice; [`X509Error::Limit`].
    pub fn from_der(der: &[u8], limits: &Limits) -> Result<Self, X509Error> {
        let mut budget = Budget::new(limits);
        let malformed = X509Error::der("certification request");
        let parts = codec::CertificationRequest::decode(der, &mut budget).map_err(&malformed)?;
        let mut challenge = None;
        let mut requested = None;
        for attribute in &parts.attributes {
            let single = || match attribute.values.as_slice() {
                [value] => Ok(value),
                _ => Err(malformed(parts.info.error("an attribute that has one value has none or several"))),
            };
            match attribute.oid.as_ref().map_or("", Oid::as_str) {
                CHALLENGE_PASSWORD => {
                    let value = single()?;
                    let text = string::decode(value, &mut budget)
                        .ok_or_else(|| malformed(value.error("the challenge password is not a character string")))?;
                    if challenge.replace(Password::from(text)).is_some() {
                        return Err(malformed(value.error("there are two challenge passwords")));
                    }
                }
                EXTENSION_REQUEST | MICROSOFT_EXTENSION_REQUEST => {
                    let value = single()?;
                    if requested.replace(decode_extensions(value, &mut budget).map_err(&malformed)?).is_some() {
                        return Err(malformed(value.error("there are two extension requests")));
                    }
                }
                _ => {}
            }
        }
        let requested = requested.unwrap_or_default();
        let extensions: Vec<Extension> = requested.iter().map(Extension::from).collect();
        Ok(Self {
            info: parts.info.range(),
            spki: parts.spki.range(),
            signature: parts.signature.to_vec(),
            subject: Name::read(parts.subject.raw(), &mut budget)?,
            key_algorithm: PublicKeyAlgorithm::read(parts.spki.raw(), &mut budget).map_err(&malformed)?,
            signature_algorithm: SignatureIdentifier::from_identifier(&parts.algorithm, &mut budget),
            known: KnownExtensions::read(&requested, &mut budget)?,
            requested_extension_oids: extensions.iter().filter_map(|extension| extension.oid().cloned()).collect(),
            overlong_attribute: parts.attributes.iter().any(|attribute| attribute.oid.is_none()),
            attribute_oids: parts.attributes.iter().filter_map(|attribute| attribute.oid.clone()).collect(),
            extensions,
            is_proven: false,
            challenge,
            der: SecretBytes::copy_from(der),
        })
    }

    /// The whole request as received; a challenge password is in it.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        self.der.secret_bytes()
    }

    /// The subject asked for.
    #[must_use]
    pub fn subject(&self) -> &Name {
        &self.subject
    }

    /// The SubjectPublicKeyInfo as received.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.der()[self.spki.clone()]
    }

    /// The algorithm of the key.
    #[must_use]
    pub fn public_key_algorithm(&self) -> &PublicKeyAlgorithm {
        &self.key_algorithm
    }

    /// The algorithm of the request's own signature; absent when it is none that this crate verifies.
    #[must_use]
    pub fn signature_algorithm(&self) -> Option<SignatureIdentifier> {
        self.signature_algorithm
    }

    /// The challengePassword as UTF-8 text, whatever string type it came in.
    #[must_use]
    pub fn challenge_password(&self) -> Option<&Password> {
        self.challenge.as_ref()
    }

    /// The subject alternative names asked for, of the forms that this crate knows.
    #[must_use]
    pub fn subject_alt_names(&self) -> &[SubjectAltName] {
        &self.known.subject_alt_names
    }

    /// Whether names of other forms, or malformed ones, are asked for.
    #[must_use]
    pub fn has_unknown_subject_alt_names(&self) -> bool {
        self.known.unknown_subject_alt_names
    }

    /// The extended key usages asked for.
    #[must_use]
    pub fn extended_key_usage(&self) -> &[Oid] {
        self.known.extended_key_usage.as_deref().unwrap_or(&[])
    }

    /// Whether extended key usages or attributes are asked for whose types have arcs over 32 bits; readers that cut such arcs off take
    /// them for others.
    #[must_use]
    pub fn has_overlong_types(&self) -> bool {
        self.known.unknown_usages || self.overlong_attribute
    }

    /// Whether the extension 1.3.6.1.4.1.311.20.2 is absent or names this template.
    #[must_use]
    pub fn asks_for_no_template_but(&self, template: Option<&TemplateName>) -> bool {
        let wanted = template.map(|template| string::encode_bmp(template.as_str()));
        let is_template = |extension: &&Extension| extension.oid().is_some_and(|oid| oid.as_str() == TEMPLATE_NAME);
        self.extensions.iter().filter(is_template).all(|extension| wanted.as_deref() == Some(extension.value()))
    }

    /// The key usage asked for.
    #[must_use]
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.known.key_usage
    }

    /// Whether a CA certificate is asked for.
    #[must_use]
    pub fn requests_ca(&self) -> bool {
        self.known.basic_constraints.is_some_and(|(ca, _)| ca)
    }

    /// The SID asked for by the extension 1.3.6.1.4.1.311.25.2. In SCEP it must never be granted: the device wrote it.
    #[must_use]
    pub fn sid(&self) -> Option<&Sid> {
        self.known.sid.as_ref()
    }

    /// The extensions asked for.
    #[must_use]
    pub fn requested_extensions(&self) -> &[Extension] {
        &self.extensions
    }

    /// The types of the extensions asked for. A type with arcs over 32 bits is only in [`Csr::requested_extensions`].
    #[must_use]
    pub fn requested_extension_oids(&self) -> &[Oid] {
        &self.requested_extension_oids
    }

    /// The types of the attributes, in the order received.
    #[must_use]
    pub fn attribute_oids(&self) -> &[Oid] {
        &self.attribute_oids
    }

    /// Verifies that the requester holds the key: the signature over the received bytes with the key in the request.
    ///
    /// # Errors
    /// [`X509Error::BadSignature`]; [`X509Error::UnsupportedSignature`]; [`X509Error::MissingSlot`].
    pub fn verify_self_signature(&self, provider: &CryptoProvider) -> Result<(), X509Error> {
        verify(provider, self.signature_algorithm, self.spki(), &self.der()[self.info.clone()], &self.signature)
    }

    /// The same, unless it has been found when the request was opened.
    pub(crate) fn ensure_possession(&self, provider: &CryptoProvider) -> Result<(), X509Error> {
        if self.is_proven { Ok(()) } else { self.verify_self_signature(provider) }
    }
}

impl fmt::Debug for Csr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Csr").field("subject", &self.subject).field("key_algorithm", &self.key_algorithm).finish_non_exhaustive()
    }
}
