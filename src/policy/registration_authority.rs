//! The approval of the SCEP service's own certificates.

use core::time::Duration;

use super::issuance::{key_algorithm, mint};
use super::{PolicyError, PolicyRefusal, Rule};
use crate::crypto::{CryptoProvider, SigningKey};
use crate::ids::{CaName, TemplateName};
use crate::message::csr::Csr;
use crate::message::name::Name;
use crate::ports::{Approved, CertificatePlan};
use crate::terms::{Flow, KeyUsage};
use crate::time::Timestamp;

/// extensionRequest (RFC 2985 section 5.4.2)
const EXTENSION_REQUEST: &str = "1.2.840.113549.1.9.14";
/// keyUsage (RFC 5280 section 4.2.1.3)
const KEY_USAGE: &str = "2.5.29.15";

/// The one kind of certificate that a service may have issued for itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RegistrationProfile<'a> {
    pub(crate) ca: &'a CaName,
    pub(crate) template: Option<&'a TemplateName>,
    pub(crate) subject: &'a Name,
    pub(crate) validity: Duration,
    pub(crate) usage: RegistrationUse,
}

/// What a key of a registration authority is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegistrationUse {
    Signing,
    Decryption,
    Both,
}

impl RegistrationUse {
    pub(crate) fn key_usage(self) -> KeyUsage {
        KeyUsage { digital_signature: self != Self::Decryption, key_encipherment: self != Self::Signing, ..KeyUsage::default() }
    }
}

/// Approves a CSR for a certificate of the service itself: for `own_key` and no other key, with the subject and the usages of the profile,
/// without names, purposes or CA rights. A challenge has no part in it, so nothing that a client sends may lead here.
pub(crate) fn approve_registration_authority(
    provider: &CryptoProvider,
    csr: &Csr,
    profile: RegistrationProfile<'_>,
    own_key: &dyn SigningKey,
    now: Timestamp,
) -> Result<(CertificatePlan, Approved), PolicyError> {
    let refuse = |reason: &str| PolicyError::from(PolicyRefusal::new(Rule::CsrMismatch, reason));
    if csr.spki() != own_key.public_key().as_ref() {
        return Err(refuse("the CSR is not for the service's own key"));
    }
    if csr.challenge_password().is_some() || !csr.attribute_oids().iter().all(|oid| oid.as_str() == EXTENSION_REQUEST) {
        return Err(refuse("the CSR of a registration authority holds no attribute but its extensions"));
    }
    if !csr.requested_extension_oids().iter().all(|oid| oid.as_str() == KEY_USAGE) || csr.has_overlong_types() {
        return Err(refuse("the CSR of a registration authority asks for keyUsage alone"));
    }
    let key = key_algorithm(csr.public_key_algorithm())
        .filter(|key| key.is_rsa())
        .ok_or_else(|| refuse("the key of a registration authority is RSA of 2048, 3072 or 4096 bits"))?;
    let mut plan = CertificatePlan::new(profile.ca.clone(), profile.subject.as_der().to_vec(), key, now.saturating_add(profile.validity));
    plan.template = profile.template.cloned();
    plan.key_usage = profile.usage.key_usage();
    let approved = mint(provider, Flow::Scep, csr, &plan, now)?;
    Ok((plan, approved))
}
