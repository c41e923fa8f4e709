//! Builds certificates, for CAs and tests.

use super::{ExtensionPlan, authority_from_spki};
use crate::codec::der::write;
use crate::codec::time;
use crate::codec::x509::extensions as ext;
use crate::crypto::{CryptoProvider, SignatureAlgorithm};
use crate::ids::{Oid, SerialNumber, Sid};
use crate::message::algorithm::{PublicKeyAlgorithm, identifier_der};
use crate::message::name::Name;
use crate::message::{ToBeSigned, X509Error};
use crate::terms::{KeyUsage, SubjectAltName};
use crate::time::Timestamp;

/// Builds an X.509 version 3 certificate. It is its own issuer unless [`CertificateBuilder::issuer`] says otherwise.
#[derive(Debug, Clone)]
pub struct CertificateBuilder {
    subject: Name,
    issuer: Option<Name>,
    spki: Vec<u8>,
    not_before: Timestamp,
    not_after: Timestamp,
    serial: SerialNumber,
    plan: ExtensionPlan,
}

impl CertificateBuilder {
    /// A certificate for the key in `spki` (SubjectPublicKeyInfo DER); times are cut to whole seconds.
    #[must_use]
    pub fn new(subject: Name, spki: &[u8], not_before: Timestamp, not_after: Timestamp, serial: SerialNumber) -> Self {
        Self { subject, issuer: None, spki: spki.to_vec(), not_before, not_after, serial, plan: ExtensionPlan::default() }
    }

    /// The issuer.
    #[must_use]
    pub fn issuer(mut self, issuer: Name) -> Self {
        self.issuer = Some(issuer);
        self
    }

    /// keyUsage, critical.
    #[must_use]
    pub fn key_usage(mut self, usage: KeyUsage) -> Self {
        self.plan.key_usage = Some(usage);
        self
    }

    /// extKeyUsage; none when empty.
    #[must_use]
    pub fn extended_key_usage(mut self, purposes: &[Oid]) -> Self {
        self.plan.extended_key_usage = purposes.to_vec();
        self
    }

    /// subjectAltName; none when empty; critical when the subject is empty.
    #[must_use]
    pub fn subject_alt_names(mut self, names: &[SubjectAltName]) -> Self {
        self.plan.subject_alt_names = names.to_vec();
        self
    }

    /// The SID extension 1.3.6.1.4.1.311.25.2.
    #[must_use]
    pub fn sid(mut self, sid: Option<Sid>) -> Self {
        self.plan.sid = sid;
        self
    }

    /// basicConstraints of a CA, with keyCertSign and cRLSign unless a key usage was given.
    #[must_use]
    pub fn ca(mut self, path_len: Option<u8>) -> Self {
        self.plan.basic_constraints = Some((true, path_len));
        self.plan.key_usage.get_or_insert(KeyUsage { key_cert_sign: true, crl_sign: true, ..KeyUsage::default() });
        self
    }

    /// basicConstraints that say that it is no CA.
    #[must_use]
    pub fn end_entity(mut self) -> Self {
        self.plan.basic_constraints = Some((false, None));
        self
    }

    /// subjectKeyIdentifier and authorityKeyIdentifier, each when given.
    #[must_use]
    pub fn key_identifiers(mut self, subject: Option<&[u8]>, authority: Option<&[u8]>) -> Self {
        if let Some(subject) = subject {
            self = self.extension(crate::terms::oid(ext::SUBJECT_KEY_IDENTIFIER), false, &write::octet_string(subject));
        }
        if let Some(authority) = authority {
            self =
                self.extension(crate::terms::oid(ext::AUTHORITY_KEY_IDENTIFIER), false, &ext::encode_authority_key_identifier(authority));
        }
        self
    }

    /// Both key identifiers computed from the keys (RFC 7093 section 2, method 1).
    ///
    /// # Errors
    /// When the provider has no SHA-256 or a key is malformed.
    pub fn key_identifiers_of(self, provider: &CryptoProvider, issuer_spki: &[u8]) -> Result<Self, X509Error> {
        let subject = authority_from_spki(provider, &self.spki)?;
        let authority = authority_from_spki(provider, issuer_spki)?;
        Ok(self.key_identifiers(Some(&subject), Some(&authority)))
    }

    /// cRLDistributionPoints with one URI.
    ///
    /// # Errors
    /// [`X509Error::CannotBuild`] when the URI is empty or not ASCII.
    pub fn crl_distribution_point(self, uri: &str) -> Result<Self, X509Error> {
        let value = ext::encode_crl_distribution_point(uri).map_err(X509Error::CannotBuild)?;
        Ok(self.extension(crate::terms::oid(ext::CRL_DISTRIBUTION_POINTS), false, &value))
    }

    /// Any other extension; `value` is the DER inside extnValue.
    #[must_use]
    pub fn extension(mut self, oid: Oid, critical: bool, value: &[u8]) -> Self {
        self.plan.others.push((oid, critical, value.to_vec()));
        self
    }

    /// What the issuer's key has to sign.
    ///
    /// # Errors
    /// [`X509Error::CannotBuild`] when something given cannot be encoded, or the public key is malformed.
    pub fn to_be_signed(&self, algorithm: SignatureAlgorithm) -> Result<ToBeSigned, X509Error> {
        PublicKeyAlgorithm::of_spki(&self.spki).ok_or(X509Error::CannotBuild("the public key is malformed"))?;
        if self.not_after < self.not_before {
            return Err(X509Error::CannotBuild("the validity ends before it begins"));
        }
        let issuer = self.issuer.as_ref().unwrap_or(&self.subject);
        if issuer.is_empty() {
            return Err(X509Error::CannotBuild("the issuer's name is empty"));
        }
        let extensions = self.plan.encode(&self.subject)?;
        let extensions = match extensions.is_empty() {
            true => Vec::new(),
            false => write::context(3, &[&write::sequence_of(&extensions)]),
        };
        let message = write::sequence(&[
            &write::context(0, &[&write::unsigned(2)]),
            &write::integer(self.serial.as_be_bytes()),
            &identifier_der(algorithm),
            issuer.as_der(),
            &write::sequence(&[&time::encode(self.not_before), &time::encode(self.not_after)]),
            self.subject.as_der(),
            &self.spki,
            &extensions,
        ]);
        Ok(ToBeSigned::new(message, algorithm))
    }
}
