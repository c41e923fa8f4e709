//! Extensions as received, and the ones that are understood.

use crate::codec::x509::certificate as codec;
use crate::codec::x509::extensions as ext;
use crate::ids::{Oid, Sid};
use crate::limits::Budget;
use crate::message::X509Error;
use crate::terms::{KeyUsage, SubjectAltName, oids};

/// One extension as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    oid: Option<Oid>,
    /// The content octets of the type, then those of the value: one allocation for both.
    octets: Vec<u8>,
    oid_len: usize,
    critical: bool,
}

impl Extension {
    /// The type; `None` when an arc is over 32 bits.
    #[must_use]
    pub fn oid(&self) -> Option<&Oid> {
        self.oid.as_ref()
    }

    /// The content octets of the type.
    #[must_use]
    pub fn oid_octets(&self) -> &[u8] {
        &self.octets[..self.oid_len]
    }

    /// Whether whoever does not understand it must refuse the certificate.
    #[must_use]
    pub fn is_critical(&self) -> bool {
        self.critical
    }

    /// The content of extnValue.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.octets[self.oid_len..]
    }
}

impl From<&codec::Extension<'_>> for Extension {
    fn from(part: &codec::Extension<'_>) -> Self {
        let octets = [part.oid_octets, part.value.as_ref()].concat();
        Self { oid: part.oid.clone(), octets, oid_len: part.oid_octets.len(), critical: part.critical }
    }
}

/// The extensions that this crate understands, decoded once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::message) struct KnownExtensions {
    pub(in crate::message) subject_alt_names: Vec<SubjectAltName>,
    pub(in crate::message) unknown_subject_alt_names: bool,
    pub(in crate::message) key_usage: Option<KeyUsage>,
    pub(in crate::message) extended_key_usage: Option<Vec<Oid>>,
    pub(in crate::message) application_policies: Vec<Oid>,
    pub(in crate::message) unknown_usages: bool,
    pub(in crate::message) basic_constraints: Option<(bool, Option<u64>)>,
    pub(in crate::message) sid: Option<Sid>,
    pub(in crate::message) subject_key_identifier: Option<Vec<u8>>,
    pub(in crate::message) authority_key_identifier: Option<Vec<u8>>,
    pub(in crate::message) unknown_critical: Vec<Extension>,
}

impl KnownExtensions {
    pub(in crate::message) fn read(parts: &[codec::Extension<'_>], budget: &mut Budget) -> Result<Self, X509Error> {
        let mut known = Self::default();
        for part in parts {
            let value = part.value.as_ref();
            match part.oid.as_ref().map_or("", Oid::as_str) {
                ext::SUBJECT_ALT_NAME => {
                    let names = ext::decode_subject_alt_names(value, budget).map_err(X509Error::der("subjectAltName"))?;
                    (known.subject_alt_names, known.unknown_subject_alt_names) = names;
                }
                ext::KEY_USAGE => known.key_usage = Some(ext::decode_key_usage(value, budget).map_err(X509Error::der("keyUsage"))?),
                ext::EXTENDED_KEY_USAGE => {
                    let (usages, unknown) = ext::decode_extended_key_usage(value, budget).map_err(X509Error::der("extKeyUsage"))?;
                    known.extended_key_usage = Some(usages);
                    known.unknown_usages |= unknown;
                }
                // Never critical for us: what it says of usages is checked by `post_issue`, and only there.
                ext::APPLICATION_POLICIES if !part.critical => match ext::decode_application_policies(value, budget) {
                    Ok((policies, unknown)) => {
                        known.application_policies = policies;
                        known.unknown_usages |= unknown;
                    }
                    Err(_) => known.unknown_usages = true,
                },
                ext::BASIC_CONSTRAINTS => {
                    let constraints = ext::decode_basic_constraints(value);
                    known.basic_constraints =
                        Some(constraints.map_err(|problem| X509Error::Malformed { what: "basicConstraints", problem, offset: 0 })?);
                }
                oids::SID_EXTENSION => known.sid = Some(ext::decode_sid(value, budget).map_err(X509Error::der("SID extension"))?),
                ext::SUBJECT_KEY_IDENTIFIER => known.subject_key_identifier = ext::decode_subject_key_identifier(value),
                ext::AUTHORITY_KEY_IDENTIFIER => known.authority_key_identifier = ext::decode_authority_key_identifier(value),
                _ if part.critical => known.unknown_critical.push(Extension::from(part)),
                _ => {}
            }
        }
        Ok(known)
    }
}

/// The first 20 octets of the SHA-256 of the key: method 1 of RFC 7093 section 2, in place of SHA-1.
pub(in crate::message) fn authority_from_spki(provider: &crate::crypto::CryptoProvider, spki: &[u8]) -> Result<Vec<u8>, X509Error> {
    let mut budget = Budget::new(&crate::limits::Limits::default());
    let info = crate::codec::x509::spki::SubjectPublicKeyInfo::decode(spki, &mut budget).map_err(X509Error::der("public key"))?;
    let digest = provider.digest()?.digest(crate::crypto::DigestAlgorithm::Sha256, &[info.key]).map_err(X509Error::Crypto)?;
    Ok(digest.as_ref().iter().copied().take(20).collect())
}
