//! Whether a certificate fits its purpose and its user. Mostly warnings: mail programs and networks differ in what they insist on.

use super::PfxCandidate;
use super::problem::PfxProblem;
use crate::adapters::graph::purpose::IntendedPurpose;
use crate::message::algorithm::PublicKeyAlgorithm;
use crate::message::certificate::Certificate;
use crate::terms::{KeyUsage, SubjectAltName, oids};

/// emailAddress in a subject (PKCS#9).
const EMAIL_ADDRESS: &str = "1.2.840.113549.1.9.1";

pub(super) fn judge(
    certificate: &Certificate,
    candidate: &PfxCandidate<'_>,
    problems: &mut Vec<PfxProblem>,
    warnings: &mut Vec<PfxProblem>,
) {
    if certificate.is_ca() {
        problems.push(PfxProblem::CaCertificate);
    }
    let purpose = candidate.purpose;
    let algorithm = certificate.public_key_algorithm();
    if !is_imported_everywhere(algorithm) {
        warnings.push(PfxProblem::KeyKind(algorithm.to_string()));
    }
    if let (Some(usage), Some((needed, name))) = (certificate.key_usage(), needed_usage(purpose, algorithm))
        && !needed(&usage)
    {
        warnings.push(PfxProblem::KeyUsage(name, purpose));
    }
    let extended = match purpose {
        IntendedPurpose::SmimeEncryption | IntendedPurpose::SmimeSigning => Some((oids::EMAIL_PROTECTION, "emailProtection")),
        IntendedPurpose::Wifi => Some((oids::CLIENT_AUTH, "clientAuth")),
        _ => None,
    };
    if let Some((needed, name)) = extended
        && certificate.has_extended_key_usage()
        && !certificate.extended_key_usage().iter().any(|oid| [needed, oids::ANY_EXTENDED_KEY_USAGE].contains(&oid.as_str()))
    {
        warnings.push(PfxProblem::ExtendedKeyUsage(name, purpose));
    }
    if purpose.is_smime() && !names_mailbox(certificate, candidate) {
        warnings.push(PfxProblem::MailAddress(candidate.mail.unwrap_or(candidate.upn).to_owned()));
    }
}

fn is_imported_everywhere(algorithm: &PublicKeyAlgorithm) -> bool {
    match algorithm {
        PublicKeyAlgorithm::Rsa { bits } => *bits >= 2_048,
        PublicKeyAlgorithm::EcP256 | PublicKeyAlgorithm::EcP384 => true,
        _ => false,
    }
}

type Needed = (fn(&KeyUsage) -> bool, &'static str);

/// An EC key encrypts mail by key agreement, an RSA key by key transport (RFC 8551 section 2.3, RFC 8550 section 4.4.2).
fn needed_usage(purpose: IntendedPurpose, algorithm: &PublicKeyAlgorithm) -> Option<Needed> {
    let is_rsa = matches!(algorithm, PublicKeyAlgorithm::Rsa { .. } | PublicKeyAlgorithm::RsaPss { .. });
    match purpose {
        IntendedPurpose::SmimeEncryption if is_rsa => Some((|usage| usage.key_encipherment, "keyEncipherment")),
        IntendedPurpose::SmimeEncryption => Some((|usage| usage.key_agreement, "keyAgreement")),
        IntendedPurpose::SmimeSigning => Some((|usage| usage.digital_signature || usage.content_commitment, "digitalSignature")),
        IntendedPurpose::Wifi => Some((|usage| usage.digital_signature, "digitalSignature")),
        _ => None,
    }
}

/// Mail programs compare without regard to case.
fn names_mailbox(certificate: &Certificate, candidate: &PfxCandidate<'_>) -> bool {
    let wanted = [Some(candidate.upn), candidate.mail];
    let is_wanted = |address: &str| wanted.iter().flatten().any(|wanted| wanted.to_lowercase() == address.to_lowercase());
    let named = certificate.subject_alt_names().iter().any(|name| matches!(name, SubjectAltName::Email(address) if is_wanted(address)));
    named || certificate.subject().texts(EMAIL_ADDRESS).any(is_wanted)
}
