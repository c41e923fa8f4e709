//! PKCS#10 certification requests (RFC 2986).

pub mod certification_request;

/// pkcs-9-at-challengePassword (RFC 2985 section 5.4.1)
pub const CHALLENGE_PASSWORD: &str = "1.2.840.113549.1.9.7";
/// pkcs-9-at-extensionRequest (RFC 2985 section 5.4.2)
pub const EXTENSION_REQUEST: &str = "1.2.840.113549.1.9.14";
/// szOID_CERT_EXTENSIONS: Microsoft's older number for the same attribute.
pub const MICROSOFT_EXTENSION_REQUEST: &str = "1.3.6.1.4.1.311.2.1.14";
