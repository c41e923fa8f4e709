//! Whether a CSR's challenge is good, and whether the CSR is what it is bound to.
//!
//! In the order that Microsoft documents: the challenge's signature, its time, whether the profile is still assigned, the CSR's properties.

use core::time::Duration;
use std::collections::BTreeSet;

use super::RejectionCode as Code;
use super::challenge::{Payload, RegisteredKey};
use super::code::Rejection;
use super::expected::ExpectedCsr;
use crate::crypto::{AeadAlgorithm, DigestAlgorithm};
use crate::limits::Limits;
use crate::message::algorithm::PublicKeyAlgorithm;
use crate::message::csr::Csr;
use crate::message::enveloped::CmsError;
use crate::message::name::Name;
use crate::message::signed::{Signed, VerifyOptions};
use crate::sim::Inner;
use crate::sim::encoding::{from_base64, hex};
use crate::sim::state::State;
use crate::time::Timestamp;

/// How far ahead a challenge's time may lie.
const SKEW: Duration = Duration::from_secs(300);
const NONCE: usize = 12;

/// Extensions that a CSR may ask for: those that a challenge pins, and Microsoft's list of others (facts A.11).
const KNOWN_EXTENSIONS: [&str; 10] = [
    "2.5.29.17",
    "2.5.29.15",
    "2.5.29.37",
    "2.5.29.19",
    "2.5.29.14",
    "1.3.6.1.4.1.311.21.8",
    "1.3.6.1.4.1.311.20.2",
    "2.5.29.1",
    "2.5.29.3",
    "2.16.840.1.113730.1.11",
];

/// A CSR that could be read, and what its challenge says.
pub(super) struct Opened {
    csr: Csr,
    pub(super) digest: String,
    payload: Payload,
}

impl Opened {
    pub(super) fn request_id(&self) -> &str {
        &self.payload.request_id
    }
}

/// Reads the CSR and opens its challenge: what a notification is checked for as well.
pub(super) fn open(inner: &Inner, state: &State, certificate_request: &str) -> Result<Opened, Rejection> {
    let unreadable = |text: &str| Rejection::new(Code::CertificateRequestDecodingFailed, text);
    let der = from_base64(certificate_request).ok_or_else(|| unreadable("The certificate request is no base64 on one line."))?;
    let csr = Csr::from_der(&der, &Limits::default()).map_err(|error| unreadable(&error.to_string()))?;
    csr.verify_self_signature(&inner.provider).map_err(|_| unreadable("The certificate request's own signature does not verify."))?;
    let digest = sha256(inner, &der).ok_or_else(|| unreadable("The simulator has no SHA-256."))?;
    let challenge = csr.challenge_password().and_then(|password| password.secret_str()).filter(|text| !text.is_empty());
    let challenge = challenge.ok_or_else(|| Rejection::new(Code::ChallengePasswordMissing, "The certificate request has no challenge."))?;
    let payload = open_challenge(inner, state, challenge)?;
    Ok(Opened { digest, payload, csr })
}

fn open_challenge(inner: &Inner, state: &State, challenge: &str) -> Result<Payload, Rejection> {
    let malformed = || Rejection::new(Code::ChallengeDeserializationError, "The challenge's structure is wrong.");
    let message = from_base64(challenge).ok_or_else(|| Rejection::new(Code::ChallengeDecodingError, "The challenge is no base64."))?;
    let signed = Signed::parse(&message, &Limits::default()).map_err(|_| malformed())?;
    let verified = signed.verify(VerifyOptions::default(), &inner.provider).map_err(|error| match error {
        CmsError::Signature | CmsError::SignerNotFound => {
            Rejection::new(Code::SignatureValidationFailed, "The challenge's signature does not verify.")
        }
        _ => malformed(),
    })?;
    let signer = verified.single_signer().ok_or_else(malformed)?;
    if signer.certificate().der() != state.challenges.signer.certificate.der() {
        return Err(Rejection::new(Code::SigningCertThumbprintMismatch, "The challenge is signed with another certificate."));
    }
    let undecipherable = || Rejection::new(Code::ChallengeDecryptionError, "The challenge cannot be decrypted.");
    let (nonce, sealed) = verified.content().split_at_checked(NONCE).ok_or_else(undecipherable)?;
    let (key, tenant) = (inner.identity.challenge_secret.secret_bytes(), inner.identity.tenant.as_bytes());
    let aead = inner.provider.aead().map_err(|_| undecipherable())?;
    let plain = aead.open(AeadAlgorithm::Aes256Gcm, key, nonce, tenant, sealed).map_err(|_| undecipherable())?;
    serde_json::from_slice(plain.secret_bytes()).map_err(|_| malformed())
}

/// Whether it may be issued now.
pub(super) fn validate(inner: &Inner, state: &State, opened: &Opened) -> Result<(), Rejection> {
    let (payload, csr) = (&opened.payload, &opened.csr);
    check_time(payload, inner.runtime.now())?;
    let reject = |code: Code, text: &str| Err(Rejection::new(code, text));
    let Some(record) = state.challenges.record(&payload.request_id) else {
        return reject(Code::BadCertificateRequestIdInChallenge, "There is no such certificate request.");
    };
    if record.device_id != payload.device_id {
        return reject(Code::BadDeviceIdInChallenge, "The challenge is for another device.");
    }
    if record.user_id != payload.user_id {
        return reject(Code::BadUserIdInChallenge, "The challenge is for another user.");
    }
    if !record.targeted {
        return reject(Code::ScepProfileNoLongerTargetedToTheClient, "The SCEP profile is no longer assigned.");
    }
    match &record.registered_key {
        RegisteredKey::NotDemanded => {}
        RegisteredKey::Missing => return reject(Code::AadKeyIdentifierListMissing, "No key is registered for the device."),
        RegisteredKey::Sha256(registered) => {
            if sha256(inner, csr.spki()).is_none_or(|digest| !digest.eq_ignore_ascii_case(registered)) {
                return reject(Code::RegisteredKeyMismatch, "The key is not the one that the device registered.");
            }
        }
    }
    check_csr(csr, &payload.expected)
}

fn check_time(payload: &Payload, now: Timestamp) -> Result<(), Rejection> {
    let issued = chrono::DateTime::parse_from_rfc3339(&payload.issued).map(|time| Timestamp::from_micros(time.timestamp_micros()));
    let issued = issued.ok().filter(|issued| *issued <= now.saturating_add(SKEW));
    let issued = issued.ok_or_else(|| Rejection::new(Code::ChallengeInvalidTimestamp, "The challenge's time cannot be, or be read."))?;
    if issued.saturating_add(Duration::from_secs(payload.lifetime_seconds)) <= now {
        return Err(Rejection::new(Code::ChallengeExpired, "The challenge is too old."));
    }
    Ok(())
}

/// Whether the CSR asks for what the profile says, and for nothing else.
fn check_csr(csr: &Csr, expected: &ExpectedCsr) -> Result<(), Rejection> {
    let reject = |code: Code, text: &str| Err(Rejection::new(code, text));
    let Ok(subject) = Name::parse_cert_str(&expected.subject) else {
        return reject(Code::SubjectNameMismatch, "The profile's subject cannot be read.");
    };
    if csr.subject().is_empty() && !subject.is_empty() {
        return reject(Code::SubjectNameMissing, "The certificate request has no subject.");
    }
    if !csr.subject().matches(&subject) {
        return reject(Code::SubjectNameMismatch, "The subject is not the profile's.");
    }
    let given: BTreeSet<_> = csr.subject_alt_names().iter().collect();
    let wanted: BTreeSet<_> = expected.subject_alt_names.iter().collect();
    if given.is_empty() && !wanted.is_empty() && !csr.has_unknown_subject_alt_names() {
        return reject(Code::SubjectAltNameMissing, "The certificate request has no subjectAltName.");
    }
    if given != wanted || csr.has_unknown_subject_alt_names() {
        return reject(Code::SubjectAltNameMismatch, "The subjectAltName is not the profile's.");
    }
    if expected.key_usage.is_some_and(|usage| csr.key_usage() != Some(usage)) {
        return reject(Code::KeyUsageMismatch, "The key usage is not the profile's.");
    }
    if let (PublicKeyAlgorithm::Rsa { bits }, Some(length)) = (csr.public_key_algorithm(), expected.key_length)
        && *bits != length
    {
        return reject(Code::KeyLengthMismatch, "The key's length is not the profile's.");
    }
    let given: BTreeSet<_> = csr.extended_key_usage().iter().collect();
    let wanted: BTreeSet<_> = expected.extended_key_usage.iter().collect();
    if given.is_empty() && !wanted.is_empty() && !csr.has_overlong_types() {
        return reject(Code::EnhancedKeyUsageMissing, "The certificate request has no extendedKeyUsage.");
    }
    if given != wanted || csr.has_overlong_types() {
        return reject(Code::EnhancedKeyUsageMismatch, "The extendedKeyUsage is not the profile's.");
    }
    let unknown =
        csr.requested_extensions().iter().find(|extension| extension.oid().is_none_or(|oid| !KNOWN_EXTENSIONS.contains(&oid.as_str())));
    match unknown {
        // Which code Intune has for it is not public.
        Some(_) => reject(Code::CertificateRequestDecodingFailed, "The certificate request asks for an extension that is not allowed."),
        None => Ok(()),
    }
}

fn sha256(inner: &Inner, bytes: &[u8]) -> Option<String> {
    let digest = inner.provider.digest().ok()?.digest(DigestAlgorithm::Sha256, &[bytes]).ok()?;
    Some(hex(digest.as_ref()))
}
