//! Certificate revocation lists (RFC 5280 section 5).

use core::fmt;
use core::ops::Range;

use rustls_pki_types::CertificateRevocationListDer;

use super::algorithm::{SignatureIdentifier, identifier_der};
use super::certificate::verify;
use super::name::Name;
use super::{ToBeSigned, X509Error};
use crate::codec::der::{Rules, Tag, single, write};
use crate::codec::time;
use crate::codec::x509::crl as codec;
use crate::codec::x509::extensions as ext;
use crate::crypto::{CryptoProvider, SignatureAlgorithm};
use crate::ids::{Oid, SerialNumber};
use crate::limits::{Budget, Limits};
use crate::terms::{RevocationReason, oid};
use crate::time::Timestamp;

/// One revoked certificate of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RevokedEntry {
    /// The serial number; `None` when it is zero, negative or over 20 octets.
    pub serial: Option<SerialNumber>,
    /// When it was revoked.
    pub date: Timestamp,
    /// The CRLReason number, when the entry has one.
    pub reason: Option<u8>,
}

/// A revocation list as received.
#[derive(Clone)]
pub struct Crl {
    der: CertificateRevocationListDer<'static>,
    tbs: Range<usize>,
    signature: Vec<u8>,
    signature_algorithm: Option<SignatureIdentifier>,
    algorithms_agree: bool,
    issuer: Name,
    this_update: Timestamp,
    next_update: Option<Timestamp>,
    entries: Vec<RevokedEntry>,
    number: Option<Vec<u8>>,
    has_unknown_critical_extensions: bool,
}

impl Crl {
    /// Reads one list of version 1 or 2; nothing may follow it.
    ///
    /// # Errors
    /// [`X509Error::Malformed`], or [`X509Error::Limit`].
    pub fn from_der(der: &[u8], limits: &Limits) -> Result<Self, X509Error> {
        let mut budget = Budget::new(limits);
        let malformed = X509Error::der("revocation list");
        let parts = codec::CertificateList::decode(der, &mut budget).map_err(&malformed)?;
        let (mut unknown_critical, mut number) = (false, None);
        for extension in &parts.extensions {
            match extension.oid.as_ref().map_or("", Oid::as_str) {
                ext::CRL_NUMBER => number = Some(integer(&extension.value, Tag::INTEGER, &mut budget)?),
                ext::AUTHORITY_KEY_IDENTIFIER => {}
                _ => unknown_critical |= extension.critical,
            }
        }
        let mut entries = Vec::with_capacity(parts.revoked.len());
        for entry in &parts.revoked {
            let mut reason = None;
            for extension in &entry.extensions {
                match extension.oid.as_ref().map_or("", Oid::as_str) {
                    ext::CRL_REASON => reason = integer(&extension.value, Tag::ENUMERATED, &mut budget)?.first().copied(),
                    _ => unknown_critical |= extension.critical,
                }
            }
            let positive = entry.serial.first().is_some_and(|first| first & 0x80 == 0);
            let serial = if positive { SerialNumber::from_be_bytes(entry.serial).ok() } else { None };
            entries.push(RevokedEntry { serial, date: entry.date, reason });
        }
        Ok(Self {
            tbs: parts.tbs.range(),
            signature: parts.signature.to_vec(),
            signature_algorithm: SignatureIdentifier::from_identifier(&parts.algorithm, &mut budget),
            algorithms_agree: parts.algorithm.raw == parts.inner_algorithm.raw,
            issuer: Name::read(parts.issuer.raw(), &mut budget)?,
            this_update: parts.this_update,
            next_update: parts.next_update,
            entries,
            number,
            has_unknown_critical_extensions: unknown_critical,
            der: CertificateRevocationListDer::from(der.to_vec()),
        })
    }

    /// The whole list as received.
    #[must_use]
    pub fn der(&self) -> &CertificateRevocationListDer<'static> {
        &self.der
    }

    /// The issuer.
    #[must_use]
    pub fn issuer(&self) -> &Name {
        &self.issuer
    }

    /// When it was made.
    #[must_use]
    pub fn this_update(&self) -> Timestamp {
        self.this_update
    }

    /// When the next one will be there at the latest.
    #[must_use]
    pub fn next_update(&self) -> Option<Timestamp> {
        self.next_update
    }

    /// The revoked certificates.
    #[must_use]
    pub fn entries(&self) -> &[RevokedEntry] {
        &self.entries
    }

    /// The cRLNumber, big-endian, without leading zeros.
    #[must_use]
    pub fn crl_number(&self) -> Option<&[u8]> {
        self.number.as_deref()
    }

    /// Whether a critical extension is there that this crate does not understand (delta lists, issuing distribution points): then
    /// the list must not be used to decide that a certificate is good.
    #[must_use]
    pub fn has_unknown_critical_extensions(&self) -> bool {
        self.has_unknown_critical_extensions
    }

    /// Whether a serial number is on the list.
    #[must_use]
    pub fn is_revoked(&self, serial: &SerialNumber) -> bool {
        self.entries.iter().any(|entry| entry.serial.as_ref() == Some(serial))
    }

    /// Verifies the signature over the received bytes.
    ///
    /// # Errors
    /// [`X509Error::BadSignature`]; [`X509Error::UnsupportedSignature`]; [`X509Error::MissingSlot`].
    pub fn verify_signed_by(&self, provider: &CryptoProvider, issuer_spki: &[u8]) -> Result<(), X509Error> {
        if !self.algorithms_agree {
            return Err(X509Error::UnsupportedSignature);
        }
        verify(provider, self.signature_algorithm, issuer_spki, &self.der[self.tbs.clone()], &self.signature)
    }
}

fn integer(value: &[u8], tag: Tag, budget: &mut Budget) -> Result<Vec<u8>, X509Error> {
    let malformed = X509Error::der("revocation list");
    let value = single(value, Rules::Ber, budget).map_err(&malformed)?;
    if value.tag() != tag {
        return Err(malformed(value.error("an extension has another type than its number demands")));
    }
    let octets = value.integer().map_err(&malformed)?;
    let start = octets.iter().position(|octet| *octet != 0).unwrap_or(octets.len() - 1);
    Ok(octets[start..].to_vec())
}

impl fmt::Debug for Crl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crl")
            .field("issuer", &self.issuer)
            .field("this_update", &self.this_update)
            .field("next_update", &self.next_update)
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

/// Builds a version 2 revocation list.
#[derive(Debug, Clone)]
pub struct CrlBuilder {
    issuer: Name,
    this_update: Timestamp,
    next_update: Timestamp,
    number: u64,
    authority: Option<Vec<u8>>,
    entries: Vec<(SerialNumber, Timestamp, RevocationReason)>,
}

impl CrlBuilder {
    /// An empty list. `number` must grow with each list of an issuer.
    #[must_use]
    pub fn new(issuer: Name, this_update: Timestamp, next_update: Timestamp, number: u64) -> Self {
        Self { issuer, this_update, next_update, number, authority: None, entries: Vec::new() }
    }

    /// The issuer's subjectKeyIdentifier.
    #[must_use]
    pub fn authority_key_identifier(mut self, identifier: &[u8]) -> Self {
        self.authority = Some(identifier.to_vec());
        self
    }

    /// Adds a revoked certificate. The reason `Unspecified` is written by leaving it out (RFC 5280 section 5.3.1).
    #[must_use]
    pub fn revoked(mut self, serial: SerialNumber, date: Timestamp, reason: RevocationReason) -> Self {
        self.entries.push((serial, date, reason));
        self
    }

    /// What the issuer's key has to sign.
    ///
    /// # Errors
    /// [`X509Error::CannotBuild`] when the issuer's name is empty.
    pub fn to_be_signed(&self, algorithm: SignatureAlgorithm) -> Result<ToBeSigned, X509Error> {
        if self.issuer.is_empty() {
            return Err(X509Error::CannotBuild("the issuer's name is empty"));
        }
        let entries: Vec<Vec<u8>> = self.entries.iter().map(encode_entry).collect();
        // RFC 5280 section 5.1.2.6: absent when there are none.
        let entries = if entries.is_empty() { Vec::new() } else { write::sequence_of(&entries) };
        let mut extensions = Vec::new();
        if let Some(identifier) = &self.authority {
            let value = ext::encode_authority_key_identifier(identifier);
            extensions.push(ext::encode_extension(&oid(ext::AUTHORITY_KEY_IDENTIFIER), false, &value));
        }
        extensions.push(ext::encode_extension(&oid(ext::CRL_NUMBER), false, &write::unsigned(self.number)));
        let message = write::sequence(&[
            &write::unsigned(1),
            &identifier_der(algorithm),
            self.issuer.as_der(),
            &time::encode(self.this_update),
            &time::encode(self.next_update),
            &entries,
            &write::context(0, &[&write::sequence_of(&extensions)]),
        ]);
        Ok(ToBeSigned::new(message, algorithm))
    }
}

fn encode_entry((serial, date, reason): &(SerialNumber, Timestamp, RevocationReason)) -> Vec<u8> {
    let extensions = match reason {
        RevocationReason::Unspecified => Vec::new(),
        reason => {
            let value = write::value(0x0a, &[&[reason.code()]]);
            write::sequence(&[&ext::encode_extension(&oid(ext::CRL_REASON), false, &value)])
        }
    };
    write::sequence(&[&write::integer(serial.as_be_bytes()), &time::encode(*date), &extensions])
}
