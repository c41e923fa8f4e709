//! Why a revocation failed, as Intune spells it.

use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// `CARequestErrorCode` of the revocation API (facts, B.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RevocationError {
    /// 4000, final
    NonRetryableServiceException,
    /// 4001, final
    DataSerializationError,
    /// 4002, final
    ParameterDataInvalidError,
    /// 4003, final
    CryptographyError,
    /// 4004, final
    CertificateNotFoundError,
    /// 4005, final
    ConflictError,
    /// 4006, final
    NotSupportedError,
    /// 4007, final
    PayloadTooLargeError,
    /// 4100, retryable
    RetryableServiceException,
    /// 4101, retryable
    ServiceUnavailableException,
    /// 4102, retryable
    ServiceTooBusyException,
    /// 4103, retryable
    AuthenticationException,
}

/// That is no error of the revocation API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is neither the name nor the number of an error of the revocation API (`None` and `0` are its success)")]
pub struct UnknownRevocationError;

impl FromStr for RevocationError {
    type Err = UnknownRevocationError;

    /// From the name in any case, or the number: clients write either.
    fn from_str(text: &str) -> Result<Self, UnknownRevocationError> {
        let text = text.trim();
        let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let is_meant = |error: &Self| error.name().eq_ignore_ascii_case(text) || number == Some(error.code());
        Self::ALL.into_iter().find(is_meant).ok_or(UnknownRevocationError)
    }
}

impl RevocationError {
    /// Every error.
    pub const ALL: [Self; 12] = [
        Self::NonRetryableServiceException,
        Self::DataSerializationError,
        Self::ParameterDataInvalidError,
        Self::CryptographyError,
        Self::CertificateNotFoundError,
        Self::ConflictError,
        Self::NotSupportedError,
        Self::PayloadTooLargeError,
        Self::RetryableServiceException,
        Self::ServiceUnavailableException,
        Self::ServiceTooBusyException,
        Self::AuthenticationException,
    ];

    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NonRetryableServiceException => "NonRetryableServiceException",
            Self::DataSerializationError => "DataSerializationError",
            Self::ParameterDataInvalidError => "ParameterDataInvalidError",
            Self::CryptographyError => "CryptographyError",
            Self::CertificateNotFoundError => "CertificateNotFoundError",
            Self::ConflictError => "ConflictError",
            Self::NotSupportedError => "NotSupportedError",
            Self::PayloadTooLargeError => "PayloadTooLargeError",
            Self::RetryableServiceException => "RetryableServiceException",
            Self::ServiceUnavailableException => "ServiceUnavailableException",
            Self::ServiceTooBusyException => "ServiceTooBusyException",
            Self::AuthenticationException => "AuthenticationException",
        }
    }

    /// The number.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::NonRetryableServiceException => 4000,
            Self::DataSerializationError => 4001,
            Self::ParameterDataInvalidError => 4002,
            Self::CryptographyError => 4003,
            Self::CertificateNotFoundError => 4004,
            Self::ConflictError => 4005,
            Self::NotSupportedError => 4006,
            Self::PayloadTooLargeError => 4007,
            Self::RetryableServiceException => 4100,
            Self::ServiceUnavailableException => 4101,
            Self::ServiceTooBusyException => 4102,
            Self::AuthenticationException => 4103,
        }
    }

    /// Whether the service offers the request again.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        self.code() >= 4100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revocation_errors_are_read_by_name_and_by_number() {
        for error in RevocationError::ALL {
            assert_eq!(error.name(), format!("{error:?}"));
            for text in
                [error.name().to_owned(), error.name().to_ascii_lowercase(), error.code().to_string(), format!(" {} ", error.code())]
            {
                assert_eq!(text.parse(), Ok(error), "{text}");
            }
        }
        for text in ["", "None", "0", "4008", "4099", "4104", "+4005", "-4005", "4005.0", "0x0fa5", "99999999999", "Conflict"] {
            assert_eq!(text.parse::<RevocationError>(), Err(UnknownRevocationError), "{text}");
        }
    }
}
