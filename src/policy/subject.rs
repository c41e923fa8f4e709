//! The rules for the subject.

use serde::{Deserialize, Serialize};

use super::names::{NamesAre, contains_folded};
use super::{IssuancePolicy, PolicyRefusal, Rule};
use crate::message::name::Name;
use crate::terms::SubjectAltName;

/// Attributes that name a person, a device or an account: what relying parties take for an identity.
const COMMON_NAME: &str = "2.5.4.3";
const UID: &str = "0.9.2342.19200300.100.1.1";
const SERIAL_NUMBER: &str = "2.5.4.5";
const SURNAME: &str = "2.5.4.4";
const GIVEN_NAME: &str = "2.5.4.42";
const EMAIL_ADDRESS: &str = "1.2.840.113549.1.9.1";
/// Longest subject in bytes of DER. RFC 5280 appendix A.1 allows common names of 64 characters; subjects of Intune profiles have a few hundred
/// bytes.
const SUBJECT_BYTES: usize = 4_096;

/// What the identifying attributes of a subject (CN, UID, serialNumber, G, SN) may hold.
///
/// Other attributes (O, OU, C, DC, …) must have been listed with `allow_subject_attributes`, and E must be a name of the
/// subjectAltName or of an allowed e-mail domain, under either rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SubjectRule {
    /// A name of the subjectAltName (which has passed its own rules), its account part or first label, or the request's device or user id.
    #[default]
    BoundToRequest,
    /// Any text; with an `@` in it, the part behind must be an allowed UPN suffix or e-mail domain. Choose it for `CN=<display name>`,
    /// and only where no server (RADIUS, VPN) takes the common name for an account.
    AnyName,
}

pub(super) fn check_subject(
    policy: &IssuancePolicy,
    subject: &Name,
    names: &[SubjectAltName],
    ids: &[&str],
    trust: NamesAre,
) -> Result<(), PolicyRefusal> {
    // Also where any name is allowed: whoever reads the certificate, or the log, pays for it.
    if subject.as_der().len() > SUBJECT_BYTES {
        return Err(PolicyRefusal::new(Rule::Subject, format!("the subject is longer than {SUBJECT_BYTES} bytes")));
    }
    // What is not read here is not looked at for control characters below, and may be read by others.
    if subject.has_unreadable_text() {
        return Err(PolicyRefusal::new(Rule::Subject, "the subject holds text whose octets do not fit its string type"));
    }
    // A zero octet ends the name for some readers and not for others.
    let is_odd = |value: &str| value.chars().any(char::is_control);
    for (attribute, value) in subject.attributes() {
        let listed = attribute.zip(value).is_some_and(|(attribute, value)| policy.listed_attribute(attribute, value));
        if !listed && value.is_some_and(is_odd) {
            return Err(PolicyRefusal::new(Rule::Subject, format!("the subject value {value:?} holds a control character")));
        }
    }
    if policy.any_identity || trust == NamesAre::CheckedByValidator {
        return Ok(());
    }
    for attribute in subject.attributes() {
        let (Some(attribute), Some(value)) = attribute else {
            return Err(PolicyRefusal::new(Rule::Subject, "the subject holds an attribute that is not text"));
        };
        let allowed = policy.listed_attribute(attribute, value)
            || match attribute.as_str() {
                COMMON_NAME | UID | SERIAL_NUMBER | SURNAME | GIVEN_NAME => match policy.subject_rule {
                    SubjectRule::BoundToRequest => is_bound(value, names, ids),
                    SubjectRule::AnyName => value.rsplit_once('@').is_none_or(|(_, domain)| policy.knows_account_domain(domain)),
                },
                EMAIL_ADDRESS => {
                    is_name(value, names) || value.split_once('@').is_some_and(|(_, domain)| contains_folded(&policy.email_domains, domain))
                }
                _ => false,
            };
        if !allowed {
            return Err(PolicyRefusal::new(
                Rule::Subject,
                format!(
                    "the subject attribute {attribute} with {value:?} is neither bound to the request nor listed; see `subject_rule` and `allow_subject_attributes`"
                ),
            ));
        }
    }
    Ok(())
}

fn is_name(value: &str, names: &[SubjectAltName]) -> bool {
    names.iter().any(|name| match name {
        SubjectAltName::Upn(text) | SubjectAltName::Email(text) | SubjectAltName::Dns(text) => text.eq_ignore_ascii_case(value),
        SubjectAltName::Ip(ip) => ip.to_string() == value,
        SubjectAltName::Uri(_) => false,
    })
}

fn is_bound(value: &str, names: &[SubjectAltName], ids: &[&str]) -> bool {
    let short = |name: &SubjectAltName| match name {
        SubjectAltName::Upn(text) | SubjectAltName::Email(text) => {
            text.split_once('@').is_some_and(|(account, _)| account.eq_ignore_ascii_case(value))
        }
        SubjectAltName::Dns(text) => text.split('.').next().is_some_and(|label| label.eq_ignore_ascii_case(value)),
        _ => false,
    };
    is_name(value, names) || names.iter().any(short) || ids.iter().any(|id| id.eq_ignore_ascii_case(value))
}
