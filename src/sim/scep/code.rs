//! The result codes, and codes that are provoked.

use core::fmt;
use std::collections::{BTreeMap, VecDeque};

use serde_json::json;

use crate::adapters::http::HttpResponse;
use crate::sim::endpoint::Endpoint;
use crate::sim::reply;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A code by which the service refuses a request, in the service's own spelling (facts A.7).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum RejectionCode {
            $($(#[$doc])* $name,)*
        }

        impl RejectionCode {
            /// All 23.
            pub const ALL: [Self; 23] = [$(Self::$name,)*];

            /// The code on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

codes! {
    /// The CSR cannot be read.
    CertificateRequestDecodingFailed,
    /// The CSR has no challenge.
    ChallengePasswordMissing,
    /// The challenge's structure is wrong.
    ChallengeDeserializationError,
    /// The challenge cannot be decrypted.
    ChallengeDecryptionError,
    /// The challenge is no base64.
    ChallengeDecodingError,
    /// The challenge's time cannot be read, or lies ahead.
    ChallengeInvalidTimestamp,
    /// The challenge is too old.
    ChallengeExpired,
    /// The CSR has no subject, and one is expected.
    SubjectNameMissing,
    /// The subject is another.
    SubjectNameMismatch,
    /// The CSR has no subjectAltName, and one is expected.
    SubjectAltNameMissing,
    /// The subjectAltName is another.
    SubjectAltNameMismatch,
    /// The key usage is another.
    KeyUsageMismatch,
    /// The key's length is another.
    KeyLengthMismatch,
    /// The CSR has no extendedKeyUsage, and one is expected.
    EnhancedKeyUsageMissing,
    /// The extendedKeyUsage is another.
    EnhancedKeyUsageMismatch,
    /// A registered key is demanded, and none is known for the device.
    AadKeyIdentifierListMissing,
    /// The key is not the registered one.
    RegisteredKeyMismatch,
    /// The challenge is signed by another certificate.
    SigningCertThumbprintMismatch,
    /// The profile is no longer assigned.
    ScepProfileNoLongerTargetedToTheClient,
    /// The challenge's signature is wrong.
    SignatureValidationFailed,
    /// The challenge is for a request that is not known.
    BadCertificateRequestIdInChallenge,
    /// The challenge is for another device than the request.
    BadDeviceIdInChallenge,
    /// The challenge is for another user than the request.
    BadUserIdInChallenge,
}

impl fmt::Display for RejectionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why the service refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rejection {
    pub(super) code: RejectionCode,
    pub(super) text: String,
}

impl Rejection {
    pub(super) fn new(code: RejectionCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// The service's answer: always 200, and the code says yes or no.
pub(super) fn result(base: &str, code: &str, description: &str) -> HttpResponse {
    let context = format!("{base}/$metadata#Microsoft.Management.Services.Api.ScepActionResult");
    reply::odata(200, &json!({ "@odata.context": context, "code": code, "errorDescription": description }))
}

/// Codes that the next calls get, whatever they ask; set through the control endpoint.
#[derive(Debug, Default)]
pub(in crate::sim) struct ProvokedCodes(BTreeMap<Endpoint, VecDeque<String>>);

impl ProvokedCodes {
    /// Most codes that wait for calls of one endpoint.
    pub(in crate::sim) const MOST: usize = 10_000;

    /// The next `times` calls get that code.
    ///
    /// # Errors
    /// When too many wait.
    pub(in crate::sim) fn provoke(&mut self, endpoint: Endpoint, code: &str, times: usize) -> Result<(), String> {
        let waiting = self.0.entry(endpoint).or_default();
        if times > Self::MOST - waiting.len().min(Self::MOST) {
            return Err(format!("at most {} provoked codes wait for {endpoint}", Self::MOST));
        }
        waiting.extend(core::iter::repeat_n(code.to_owned(), times));
        Ok(())
    }

    pub(super) fn next(&mut self, endpoint: Endpoint) -> Option<String> {
        self.0.get_mut(&endpoint)?.pop_front()
    }
}
