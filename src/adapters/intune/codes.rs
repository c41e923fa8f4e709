//! The result codes of the validation API.

/// The only code that means yes.
pub(super) const SUCCESS: &str = "Success";

/// The service could not say: neither accepted nor refused.
pub(super) const UNKNOWN: &str = "Unknown";

/// What refuses a request, by the service's name, and what it tells the operator.
const REJECTIONS: [(&str, &str); 23] = [
    ("CertificateRequestDecodingFailed", "Intune cannot read the CSR"),
    ("ChallengePasswordMissing", "the CSR holds no challenge; the client is not enrolled by an Intune SCEP profile"),
    ("ChallengeDeserializationError", "the challenge is malformed"),
    (
        "ChallengeDecryptionError",
        "Intune cannot decrypt the challenge; was it made for another tenant than the one that is configured here?",
    ),
    ("ChallengeDecodingError", "the challenge is malformed"),
    ("ChallengeInvalidTimestamp", "the challenge's time cannot be read"),
    ("ChallengeExpired", "the challenge is too old; the device gets a new one with its profile. If this is frequent, look for a slow path"),
    ("SubjectNameMissing", "the CSR has no subject, and the profile demands one"),
    ("SubjectNameMismatch", "the CSR's subject is not what the profile says"),
    ("SubjectAltNameMissing", "the CSR has no subjectAltName, and the profile demands one"),
    ("SubjectAltNameMismatch", "the CSR's subjectAltName is not what the profile says"),
    ("KeyUsageMismatch", "the CSR's keyUsage is not what the profile says; was the profile changed?"),
    ("KeyLengthMismatch", "the key's size is not what the profile says; was the profile changed?"),
    ("EnhancedKeyUsageMissing", "the CSR has no extendedKeyUsage, and the profile demands one; was the profile changed?"),
    ("EnhancedKeyUsageMismatch", "the CSR's extendedKeyUsage is not what the profile says; was the profile changed?"),
    ("AadKeyIdentifierListMissing", "Intune knows no registered key of the device"),
    ("RegisteredKeyMismatch", "the key is not the one that the device registered"),
    ("SigningCertThumbprintMismatch", "the challenge is signed with another certificate than Intune expects"),
    ("ScepProfileNoLongerTargetedToTheClient", "the SCEP profile is no longer assigned to the device or user"),
    ("SignatureValidationFailed", "the challenge's signature is wrong"),
    ("BadCertificateRequestIdInChallenge", "the challenge belongs to another certificate request"),
    ("BadDeviceIdInChallenge", "the challenge belongs to another device"),
    ("BadUserIdInChallenge", "the challenge belongs to another user"),
];

/// What a code that is not `Success` tells the operator. Codes are told apart by case; one that differs in case alone is named as that.
pub(super) fn explain(code: &str) -> String {
    if let Some((_, explanation)) = REJECTIONS.iter().find(|(name, _)| *name == code) {
        return (*explanation).to_owned();
    }
    let mut known = REJECTIONS.iter().map(|(name, _)| *name).chain([SUCCESS, UNKNOWN]);
    match known.find(|name| name.eq_ignore_ascii_case(code)) {
        Some(name) if name != code => format!("the code differs from `{name}` in its case, and is taken for an unknown one"),
        _ => "a code that is not known here".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart_by_case() {
        assert_eq!(explain("ChallengeExpired"), REJECTIONS[6].1);
        assert!(explain("challengeexpired").contains("`ChallengeExpired`"));
        assert!(explain("SUCCESS").contains("`Success`"));
        assert!(explain("QuotaExceeded").contains("not known"));
    }

    #[test]
    fn no_code_is_listed_twice() {
        let names: std::collections::BTreeSet<_> = REJECTIONS.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), REJECTIONS.len());
        assert!(!names.contains(&SUCCESS) && !names.contains(&UNKNOWN));
    }
}
