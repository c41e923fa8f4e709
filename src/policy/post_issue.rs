//! Whether a CA did what it was asked: the check between issue and delivery.
//!
//! CAs drop names, add usages, shorten or lengthen validities, and answer with another request's certificate. A certificate that fails
//! here is never delivered, and is handed to revocation.

use core::time::Duration;

use rustls_pki_types::CertificateDer;

use super::PolicyError;
use crate::crypto::CryptoProvider;
use crate::ids::SerialNumber;
use crate::limits::Limits;
use crate::message::certificate::Certificate;
use crate::message::name::Name;
use crate::message::path;
use crate::ports::CertificatePlan;
use crate::terms::{SubjectAltName, oids};
use crate::time::Timestamp;

/// How exactly the validity must be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tolerance {
    /// The end of validity may be later than planned by this. Default 1 day: CAs round up to the end of a day.
    pub not_after: Duration,
    /// The begin of validity may lie in the future by this. Default 5 minutes of clock difference.
    pub not_before: Duration,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { not_after: Duration::from_secs(86_400), not_before: Duration::from_secs(300) }
    }
}

macro_rules! mismatches {
    ($($(#[$doc:meta])* $name:ident $text:literal $sentence:literal;)*) => {
        /// What differs from the plan.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
        #[non_exhaustive]
        pub enum Mismatch {
            $($(#[$doc])* #[error($sentence)] $name,)*
        }

        impl Mismatch {
            /// Every kind.
            pub const ALL: &'static [Mismatch] = &[$(Mismatch::$name,)*];

            /// The name in events and results.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

mismatches! {
    /// It cannot be read.
    Syntax "syntax" "the CA's certificate cannot be read";
    /// It is for another key.
    PublicKey "public-key" "the certificate is for another key";
    /// Another subject.
    Subject "subject" "the certificate has another subject than planned";
    /// Names are missing, added or changed, UPN and SID URI among them.
    SubjectAltName "subject-alt-name" "the certificate's subjectAltName is not the planned one";
    /// The SID extension is missing, added or another.
    Sid "sid" "the certificate's SID extension is not the planned one";
    /// A usage that was not planned, or no extendedKeyUsage at all.
    ExtendedKeyUsage "extended-key-usage" "the certificate's extendedKeyUsage is wider than planned";
    /// A key usage that was not planned. A certificate without keyUsage passes: many CAs leave it out, and it is no CA's.
    KeyUsage "key-usage" "the certificate's keyUsage is wider than planned";
    /// It is a CA's.
    CaCertificate "ca-certificate" "the certificate is a CA certificate";
    /// It ends too late.
    NotAfter "not-after" "the certificate is valid for longer than planned";
    /// It is not valid yet.
    NotBefore "not-before" "the certificate becomes valid only in the future";
    /// It has ended already.
    Expired "expired" "the certificate has already ended";
    /// It does not chain to a root of the CA.
    Chain "chain" "the certificate does not chain to a configured root of the CA";
}

/// What a finished check knows.
#[derive(Debug)]
#[non_exhaustive]
pub struct Checked {
    /// The certificate.
    pub certificate: Certificate,
    /// Its serial number, 1 to 20 octets.
    pub serial: SerialNumber,
    /// Its issuers as verified, from the one that signed it up to and with the root.
    pub chain: Vec<CertificateDer<'static>>,
}

/// What a certificate is held against.
#[derive(Debug)]
#[non_exhaustive]
pub struct Expected<'a> {
    /// The plan.
    pub plan: &'a CertificatePlan,
    /// The public key asked for, as SubjectPublicKeyInfo DER.
    pub public_key: &'a [u8],
    /// Roots of the CA.
    pub roots: &'a [CertificateDer<'static>],
    /// How exactly the validity must be met.
    pub tolerance: Tolerance,
    /// The time of the check.
    pub now: Timestamp,
}

impl<'a> Expected<'a> {
    /// With the default tolerance.
    #[must_use]
    pub fn new(plan: &'a CertificatePlan, public_key: &'a [u8], roots: &'a [CertificateDer<'static>], now: Timestamp) -> Self {
        Self { plan, public_key, roots, tolerance: Tolerance::default(), now }
    }

    /// Sets the tolerance.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: Tolerance) -> Self {
        self.tolerance = tolerance;
        self
    }
}

/// Why a certificate is not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostIssueError {
    /// It is not what was asked for.
    #[error("{kind}{}", colon(.detail))]
    Mismatch {
        /// In what.
        kind: Mismatch,
        /// More about it; text from the certificate may be in it.
        detail: String,
    },
    /// It could not be checked.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

fn colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// Holds an issued certificate against its plan. CPU work: signature checks.
///
/// # Errors
/// [`PostIssueError::Mismatch`]: never deliver it; hand it to revocation.
pub fn check(
    provider: &CryptoProvider,
    limits: &Limits,
    certificate: &CertificateDer<'_>,
    chain: &[CertificateDer<'static>],
    expected: &Expected<'_>,
) -> Result<Checked, PostIssueError> {
    let read = |list: &[CertificateDer<'static>]| -> Vec<Certificate> {
        list.iter().filter_map(|der| Certificate::from_der(der, limits).ok()).collect()
    };
    check_with(provider, limits, certificate, &read(chain), &read(expected.roots), expected)
}

/// The same for who has read the issuers already; the roots of `expected` are not looked at.
pub(crate) fn check_with(
    provider: &CryptoProvider,
    limits: &Limits,
    certificate: &CertificateDer<'_>,
    chain: &[Certificate],
    roots: &[Certificate],
    expected: &Expected<'_>,
) -> Result<Checked, PostIssueError> {
    let plan = expected.plan;
    let wrong = |kind, detail: String| Err(PostIssueError::Mismatch { kind, detail });
    let leaf = match Certificate::from_der(certificate, limits) {
        Ok(leaf) => leaf,
        Err(error) => return wrong(Mismatch::Syntax, error.to_string()),
    };
    let Some(serial) = leaf.serial().cloned() else {
        return wrong(Mismatch::Syntax, "its serial number is not positive or longer than 20 octets".to_owned());
    };
    if leaf.spki() != expected.public_key {
        return wrong(Mismatch::PublicKey, String::new());
    }
    if leaf.is_ca() {
        return wrong(Mismatch::CaCertificate, String::new());
    }
    match Name::from_der(&plan.subject) {
        Ok(subject) if subject.matches(leaf.subject()) => {}
        _ => return wrong(Mismatch::Subject, leaf.subject().to_string()),
    }
    check_names(&leaf, &plan.subject_alt_names)?;
    if leaf.sid() != plan.sid_extension.as_ref() {
        return wrong(Mismatch::Sid, leaf.sid().map_or_else(|| "there is none".to_owned(), ToString::to_string));
    }
    check_usages(&leaf, plan)?;
    let now = expected.now;
    if leaf.not_after() > plan.not_after.saturating_add(expected.tolerance.not_after) {
        return wrong(Mismatch::NotAfter, format!("{} instead of {}", leaf.not_after(), plan.not_after));
    }
    if leaf.not_before() > now.saturating_add(expected.tolerance.not_before) {
        return wrong(Mismatch::NotBefore, leaf.not_before().to_string());
    }
    if leaf.not_after() <= now {
        return wrong(Mismatch::Expired, leaf.not_after().to_string());
    }
    // A certificate that begins within the tolerance is checked as of its begin.
    let at = now.max(leaf.not_before());
    let verified = path::verify_chain(provider, &leaf, chain, roots, at);
    match verified {
        Ok(path) => {
            let issuers = path.into_iter().filter(|der| der.as_ref() != certificate.as_ref()).collect();
            Ok(Checked { certificate: leaf, serial, chain: issuers })
        }
        Err(error) => wrong(Mismatch::Chain, error.to_string()),
    }
}

/// The same names, no more and no fewer, in any order. DNS names and the domains of e-mail addresses are compared without case.
fn check_names(leaf: &Certificate, planned: &[SubjectAltName]) -> Result<(), PostIssueError> {
    let wrong = |detail: String| Err(PostIssueError::Mismatch { kind: Mismatch::SubjectAltName, detail });
    if leaf.has_unknown_subject_alt_names() {
        return wrong("it holds a kind of name that was not asked for".to_owned());
    }
    let found = leaf.subject_alt_names();
    if let Some(missing) = planned.iter().find(|name| !found.iter().any(|other| same_name(name, other))) {
        return wrong(format!("{missing:?} is missing"));
    }
    if let Some(extra) = found.iter().find(|name| !planned.iter().any(|other| same_name(name, other))) {
        return wrong(format!("{extra:?} was not asked for"));
    }
    Ok(())
}

fn same_name(a: &SubjectAltName, b: &SubjectAltName) -> bool {
    match (a, b) {
        (SubjectAltName::Dns(a), SubjectAltName::Dns(b)) => a.eq_ignore_ascii_case(b),
        (SubjectAltName::Email(a), SubjectAltName::Email(b)) => match (a.rsplit_once('@'), b.rsplit_once('@')) {
            (Some((account_a, domain_a)), Some((account_b, domain_b))) => account_a == account_b && domain_a.eq_ignore_ascii_case(domain_b),
            _ => a == b,
        },
        _ => a == b,
    }
}

fn check_usages(leaf: &Certificate, plan: &CertificatePlan) -> Result<(), PostIssueError> {
    let wrong = |kind, detail: String| Err(PostIssueError::Mismatch { kind, detail });
    let any_planned =
        plan.extended_key_usage.is_empty() || plan.extended_key_usage.iter().any(|usage| usage.as_str() == oids::ANY_EXTENDED_KEY_USAGE);
    if !any_planned {
        if leaf.extended_key_usage().is_empty() {
            return wrong(Mismatch::ExtendedKeyUsage, "there is none, which means any usage".to_owned());
        }
        if let Some(extra) = leaf.extended_key_usage().iter().find(|usage| !plan.extended_key_usage.contains(usage)) {
            return wrong(Mismatch::ExtendedKeyUsage, format!("{extra} was not asked for"));
        }
        // Windows takes these for usages too, and AD CS copies them from requests.
        if let Some(extra) = leaf.application_policies().iter().find(|usage| !plan.extended_key_usage.contains(usage)) {
            return wrong(Mismatch::ExtendedKeyUsage, format!("the application policy {extra} was not asked for"));
        }
        if leaf.has_unknown_usages() {
            return wrong(Mismatch::ExtendedKeyUsage, "there is one that cannot be read".to_owned());
        }
    }
    let Some(usage) = leaf.key_usage() else { return Ok(()) };
    let planned = plan.key_usage;
    let wider = [
        (usage.digital_signature, planned.digital_signature, "digitalSignature"),
        (usage.content_commitment, planned.content_commitment, "nonRepudiation"),
        (usage.key_encipherment, planned.key_encipherment, "keyEncipherment"),
        (usage.data_encipherment, planned.data_encipherment, "dataEncipherment"),
        (usage.key_agreement, planned.key_agreement, "keyAgreement"),
        (usage.key_cert_sign, planned.key_cert_sign, "keyCertSign"),
        (usage.crl_sign, planned.crl_sign, "cRLSign"),
    ];
    match wider.iter().find(|(found, planned, _)| *found && !planned) {
        Some((_, _, name)) => wrong(Mismatch::KeyUsage, format!("{name} was not asked for")),
        None => Ok(()),
    }
}
