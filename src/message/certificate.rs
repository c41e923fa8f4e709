//! X.509 certificates: read and kept as received, verified over received bytes, built.

use core::fmt;
use core::ops::Range;

use rustls_pki_types::CertificateDer;

pub use self::builder::CertificateBuilder;
pub use self::extension::Extension;
use super::X509Error;
use super::algorithm::{PublicKeyAlgorithm, SignatureIdentifier};
use super::name::Name;
use crate::codec::x509::certificate as codec;
use crate::codec::x509::extensions as ext;
use crate::crypto::{CryptoProvider, DigestAlgorithm};
use crate::ids::{Oid, SerialNumber, Sid, Thumbprint};
use crate::limits::{Budget, Limits};
use crate::terms::{KeyUsage, SubjectAltName, oids};
use crate::time::Timestamp;

mod builder;
mod extension;

pub(super) use extension::{KnownExtensions, authority_from_spki};

/// A certificate. Its DER, its signed part, its key, names and extensions are kept as received; nothing is encoded again to verify it.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: CertificateDer<'static>,
    tbs: Range<usize>,
    spki: Range<usize>,
    signature: Range<usize>,
    serial: Option<SerialNumber>,
    serial_raw: Vec<u8>,
    issuer: Name,
    subject: Name,
    not_before: Timestamp,
    not_after: Timestamp,
    key_algorithm: PublicKeyAlgorithm,
    signature_algorithm: Option<SignatureIdentifier>,
    algorithms_agree: bool,
    known: KnownExtensions,
    extensions: Vec<Extension>,
    extension_oids: Vec<Oid>,
}

impl Certificate {
    /// Reads one certificate; nothing may follow it. BER lengths are tolerated, since the bytes are kept.
    ///
    /// An extension that this crate knows must be well formed, any other is kept as it is.
    ///
    /// # Errors
    /// [`X509Error::Malformed`], or [`X509Error::Limit`].
    pub fn from_der(der: &[u8], limits: &Limits) -> Result<Self, X509Error> {
        Self::read(der, &mut Budget::new(limits))
    }

    pub(crate) fn read(der: &[u8], budget: &mut Budget) -> Result<Self, X509Error> {
        let malformed = X509Error::der("certificate");
        let parts = codec::Certificate::decode(der, budget).map_err(&malformed)?;
        let known = KnownExtensions::read(&parts.extensions, budget)?;
        let extensions: Vec<Extension> = parts.extensions.iter().map(Extension::from).collect();
        Ok(Self {
            tbs: parts.tbs.range(),
            spki: parts.spki.range(),
            signature: parts.signature_range,
            serial: parts.serial.first().filter(|first| **first & 0x80 == 0).and_then(|_| SerialNumber::from_be_bytes(parts.serial).ok()),
            serial_raw: parts.serial.to_vec(),
            issuer: Name::read(parts.issuer.raw(), budget)?,
            subject: Name::read(parts.subject.raw(), budget)?,
            not_before: parts.not_before,
            not_after: parts.not_after,
            key_algorithm: PublicKeyAlgorithm::read(parts.spki.raw(), budget).map_err(&malformed)?,
            signature_algorithm: SignatureIdentifier::from_identifier(&parts.algorithm, budget),
            algorithms_agree: parts.algorithm.raw == parts.inner_algorithm.raw,
            extension_oids: extensions.iter().filter_map(|extension| extension.oid().cloned()).collect(),
            known,
            extensions,
            der: CertificateDer::from(der.to_vec()),
        })
    }

    /// The whole certificate as received.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The signed part as received.
    #[must_use]
    pub fn tbs(&self) -> &[u8] {
        &self.der[self.tbs.clone()]
    }

    /// The SubjectPublicKeyInfo as received.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.der[self.spki.clone()]
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.der[self.signature.clone()]
    }

    /// The algorithm of the subject's key.
    #[must_use]
    pub fn public_key_algorithm(&self) -> &PublicKeyAlgorithm {
        &self.key_algorithm
    }

    /// What the signature's identifier says; `None` when this crate cannot verify it.
    #[must_use]
    pub fn signature_algorithm(&self) -> Option<SignatureIdentifier> {
        self.signature_algorithm
    }

    /// The serial number; `None` when it is zero, negative or over 20 octets, as in some old roots.
    #[must_use]
    pub fn serial(&self) -> Option<&SerialNumber> {
        self.serial.as_ref()
    }

    /// The content octets of the serial number as received, two's complement.
    #[must_use]
    pub fn serial_raw(&self) -> &[u8] {
        &self.serial_raw
    }

    /// The issuer.
    #[must_use]
    pub fn issuer(&self) -> &Name {
        &self.issuer
    }

    /// The subject.
    #[must_use]
    pub fn subject(&self) -> &Name {
        &self.subject
    }

    /// The first second of validity.
    #[must_use]
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// The last second of validity.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether it is valid at that time, both ends included (RFC 5280 section 4.1.2.5).
    #[must_use]
    pub fn is_valid_at(&self, at: Timestamp) -> bool {
        (self.not_before.as_secs()..=self.not_after.as_secs()).contains(&at.as_secs())
    }

    /// The subject alternative names of the forms that this crate knows.
    #[must_use]
    pub fn subject_alt_names(&self) -> &[SubjectAltName] {
        &self.known.subject_alt_names
    }

    /// Whether there are subject alternative names of other forms, or malformed ones.
    #[must_use]
    pub fn has_unknown_subject_alt_names(&self) -> bool {
        self.known.unknown_subject_alt_names
    }

    /// The key usage; `None` when the extension is absent, which allows all.
    #[must_use]
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.known.key_usage
    }

    /// The extended key usages; empty when the extension is absent, see [`Certificate::has_extended_key_usage`].
    #[must_use]
    pub fn extended_key_usage(&self) -> &[Oid] {
        self.known.extended_key_usage.as_deref().unwrap_or(&[])
    }

    /// The usages of Microsoft's application policies extension (1.3.6.1.4.1.311.21.10), which Windows reads beside the extended key usages.
    #[must_use]
    pub fn application_policies(&self) -> &[Oid] {
        &self.known.application_policies
    }

    /// Whether there are usages or application policies that cannot be told: with arcs over 32 bits, or malformed policies.
    #[must_use]
    pub fn has_unknown_usages(&self) -> bool {
        self.known.unknown_usages
    }

    /// Whether the extension is present; when it is not, all usages are allowed.
    #[must_use]
    pub fn has_extended_key_usage(&self) -> bool {
        self.known.extended_key_usage.is_some()
    }

    /// Whether basicConstraints say that it is a CA.
    #[must_use]
    pub fn is_ca(&self) -> bool {
        self.known.basic_constraints.is_some_and(|(ca, _)| ca)
    }

    /// How many further CA certificates may follow below it; `None` for any number.
    #[must_use]
    pub fn path_len(&self) -> Option<u64> {
        self.known.basic_constraints.and_then(|(_, path_len)| path_len)
    }

    /// The SID of the extension 1.3.6.1.4.1.311.25.2.
    #[must_use]
    pub fn sid(&self) -> Option<&Sid> {
        self.known.sid.as_ref()
    }

    /// The subjectKeyIdentifier.
    #[must_use]
    pub fn subject_key_identifier(&self) -> Option<&[u8]> {
        self.known.subject_key_identifier.as_deref()
    }

    /// The keyIdentifier of authorityKeyIdentifier.
    #[must_use]
    pub fn authority_key_identifier(&self) -> Option<&[u8]> {
        self.known.authority_key_identifier.as_deref()
    }

    /// All extensions, in the order of the certificate.
    #[must_use]
    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    /// The types of the extensions. A type with arcs over 32 bits is only in [`Certificate::extensions`].
    #[must_use]
    pub fn extension_oids(&self) -> &[Oid] {
        &self.extension_oids
    }

    /// The critical extensions that this crate does not understand; whoever relies on the certificate must refuse it then
    /// (RFC 5280 section 4.2).
    #[must_use]
    pub fn unknown_critical_extensions(&self) -> &[Extension] {
        &self.known.unknown_critical
    }

    /// Whether issuer and subject are the same name.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.issuer.matches(&self.subject)
    }

    /// Verifies the signature over the received bytes with an issuer's SubjectPublicKeyInfo. Nothing else is checked: see
    /// [`path::verify_chain`](super::path::verify_chain).
    ///
    /// # Errors
    /// [`X509Error::BadSignature`]; [`X509Error::UnsupportedSignature`]; [`X509Error::MissingSlot`].
    pub fn verify_signed_by(&self, provider: &CryptoProvider, issuer_spki: &[u8]) -> Result<(), X509Error> {
        if !self.algorithms_agree {
            return Err(X509Error::UnsupportedSignature);
        }
        verify(provider, self.signature_algorithm, issuer_spki, self.tbs(), self.signature())
    }

    /// The SHA-1 of the DER: a name for the certificate, as Windows and Intune use it.
    ///
    /// # Errors
    /// [`X509Error::MissingSlot`] or [`X509Error::Crypto`] when the provider has no SHA-1.
    pub fn thumbprint(&self, provider: &CryptoProvider) -> Result<Thumbprint, X509Error> {
        let digest = provider.digest()?.digest(DigestAlgorithm::Sha1, &[&self.der]).map_err(X509Error::Crypto)?;
        let digest = digest.as_ref().try_into().map_err(|_| X509Error::Crypto(crate::crypto::CryptoError::Failed))?;
        Ok(Thumbprint::new(digest))
    }
}

pub(super) fn verify(
    provider: &CryptoProvider,
    identifier: Option<SignatureIdentifier>,
    spki: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), X509Error> {
    let key = PublicKeyAlgorithm::of_spki(spki).ok_or(X509Error::UnsupportedSignature)?;
    let algorithm = identifier.and_then(|identifier| identifier.with_key(&key)).ok_or(X509Error::UnsupportedSignature)?;
    provider.verification()?.verify(algorithm, spki, message, signature).map_err(X509Error::verification)
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("subject", &self.subject)
            .field("issuer", &self.issuer)
            .field("serial", &self.serial)
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// The value of the SID extension 1.3.6.1.4.1.311.25.2 (MS-WCCE section 2.2.2.7.7.4).
#[must_use]
pub fn sid_extension_value(sid: &Sid) -> Vec<u8> {
    ext::encode_sid(sid)
}

/// The extensions that a request or certificate is built from, in the order in which they are written.
#[derive(Debug, Clone, Default)]
pub(super) struct ExtensionPlan {
    pub(super) basic_constraints: Option<(bool, Option<u8>)>,
    pub(super) key_usage: Option<KeyUsage>,
    pub(super) extended_key_usage: Vec<Oid>,
    pub(super) subject_alt_names: Vec<SubjectAltName>,
    pub(super) sid: Option<Sid>,
    pub(super) others: Vec<(Oid, bool, Vec<u8>)>,
}

impl ExtensionPlan {
    pub(super) fn encode(&self, subject: &Name) -> Result<Vec<Vec<u8>>, X509Error> {
        let mut out = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        let mut push = |number: &'static str, critical: bool, value: &[u8]| {
            seen.push(number);
            out.push(ext::encode_extension(&crate::terms::oid(number), critical, value));
        };
        if let Some((ca, path_len)) = self.basic_constraints {
            push(ext::BASIC_CONSTRAINTS, true, &ext::encode_basic_constraints(ca, path_len));
        }
        if let Some(usage) = self.key_usage {
            if usage == KeyUsage::default() {
                return Err(X509Error::CannotBuild("a key usage without any bit is not allowed (RFC 5280 section 4.2.1.3)"));
            }
            push(ext::KEY_USAGE, true, &ext::encode_key_usage(usage));
        }
        if !self.extended_key_usage.is_empty() {
            push(ext::EXTENDED_KEY_USAGE, false, &ext::encode_extended_key_usage(&self.extended_key_usage));
        }
        if !self.subject_alt_names.is_empty() {
            let value = ext::encode_subject_alt_names(&self.subject_alt_names).map_err(X509Error::CannotBuild)?;
            // RFC 5280 section 4.2.1.6: critical when the subject is empty.
            push(ext::SUBJECT_ALT_NAME, subject.is_empty(), &value);
        }
        if let Some(sid) = &self.sid {
            push(oids::SID_EXTENSION, false, &ext::encode_sid(sid));
        }
        for (oid, critical, value) in &self.others {
            if seen.contains(&oid.as_str()) {
                return Err(X509Error::CannotBuild("an extension was given twice"));
            }
            seen.push(oid.as_str());
            out.push(ext::encode_extension(oid, *critical, value));
        }
        Ok(out)
    }
}
