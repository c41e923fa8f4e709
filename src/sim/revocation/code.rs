//! The error codes of results (facts B.2).

/// Name, number, and whether Intune offers the request again.
const CODES: [(&str, u32, bool); 13] = [
    ("None", 0, false),
    ("NonRetryableServiceException", 4000, false),
    ("DataSerializationError", 4001, false),
    ("ParameterDataInvalidError", 4002, false),
    ("CryptographyError", 4003, false),
    ("CertificateNotFoundError", 4004, false),
    ("ConflictError", 4005, false),
    ("NotSupportedError", 4006, false),
    ("PayloadTooLargeError", 4007, false),
    ("RetryableServiceException", 4100, true),
    ("ServiceUnavailableException", 4101, true),
    ("ServiceTooBusyException", 4102, true),
    ("AuthenticationException", 4103, true),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) name: &'static str,
    pub(super) is_retryable: bool,
}

impl Code {
    pub(super) const NONE: &'static str = "None";

    /// By its name, or by its number as text: both are in production.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let number = text.parse::<u32>().ok();
        let found = CODES.iter().find(|(name, code, _)| name.eq_ignore_ascii_case(text) || number == Some(*code));
        found.map(|(name, _, is_retryable)| Self { name, is_retryable: *is_retryable })
    }

    pub(super) fn is_none(self) -> bool {
        self.name == Self::NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_by_name_and_by_number() {
        assert_eq!(Code::parse("4005"), Code::parse("ConflictError"));
        assert!(Code::parse("4102").unwrap().is_retryable && !Code::parse("CertificateNotFoundError").unwrap().is_retryable);
        assert!(Code::parse("0").unwrap().is_none() && Code::parse("None").unwrap().is_none());
        assert_eq!((Code::parse("4008"), Code::parse(""), Code::parse("-1")), (None, None, None));
    }
}
