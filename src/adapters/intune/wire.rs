//! Bodies in the service's own spelling. Each holds the CSR with the challenge.

use core::fmt::Write as _;
use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::adapters::http::{Base64, secret_json};
use crate::ids::TransactionId;
use crate::ports::{FailureNotification, PortError, SuccessNotification, ValidateRequest};
use crate::secret::SecretBytes;

/// The service takes no longer descriptions. It counts UTF-16 units, as .NET does; at least as strict as counting characters.
const DESCRIPTION_UNITS: usize = 255;

#[derive(Serialize)]
struct ValidateRequestBody<'a> {
    request: ValidateRequestParameters<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ValidateRequestParameters<'a> {
    transaction_id: Cow<'a, str>,
    certificate_request: Base64<'a>,
    caller_info: &'a str,
}

#[derive(Serialize)]
struct NotificationBody<N> {
    notification: N,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SuccessNotificationParameters<'a> {
    transaction_id: Cow<'a, str>,
    certificate_request: Base64<'a>,
    certificate_thumbprint: String,
    certificate_serial_number: String,
    certificate_expiration_date_utc: String,
    issuing_certificate_authority: &'a str,
    caller_info: &'a str,
    // Absent ones are written as null, as Microsoft's C# client does.
    ca_configuration: Option<&'a str>,
    certificate_authority: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FailureNotificationParameters<'a> {
    transaction_id: Cow<'a, str>,
    certificate_request: Base64<'a>,
    h_result: i32,
    error_description: &'a str,
    caller_info: &'a str,
}

/// An answer's body, as far as it is read; other members (`@odata.context`) are passed over, a repeated one is an error.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    pub(super) code: String,
    #[serde(default)]
    pub(super) error_description: Option<serde_json::Value>,
}

pub(super) fn validate_request(request: &ValidateRequest<'_>, caller_info: &str) -> Result<SecretBytes, PortError> {
    body(&ValidateRequestBody {
        request: ValidateRequestParameters {
            transaction_id: transaction_id(request.transaction_id),
            certificate_request: Base64(request.csr),
            caller_info,
        },
    })
}

pub(super) fn success_notification(
    notification: &SuccessNotification<'_>,
    caller_info: &str,
    ca_configuration: Option<&str>,
    certificate_authority: Option<&str>,
) -> Result<SecretBytes, PortError> {
    let issuer = notification.issuing_authority.as_str();
    if issuer.trim().is_empty() {
        return Err(PortError::misconfigured("the issuing authority has no name, and Intune demands one; set `issuing_authority`"));
    }
    body(&NotificationBody {
        notification: SuccessNotificationParameters {
            transaction_id: transaction_id(notification.transaction_id),
            certificate_request: Base64(notification.csr),
            certificate_thumbprint: notification.thumbprint.to_string(),
            certificate_serial_number: notification.serial.to_string(),
            certificate_expiration_date_utc: notification.not_after.to_string(),
            issuing_certificate_authority: issuer,
            caller_info,
            ca_configuration,
            certificate_authority,
        },
    })
}

pub(super) fn failure_notification(notification: &FailureNotification<'_>, caller_info: &str) -> Result<SecretBytes, PortError> {
    let description = notification.description.as_str();
    body(&NotificationBody {
        notification: FailureNotificationParameters {
            transaction_id: transaction_id(notification.transaction_id),
            certificate_request: Base64(notification.csr),
            h_result: notification.hresult,
            error_description: if description.trim().is_empty() { "The request failed." } else { cut(description) },
            caller_info,
        },
    })
}

/// The SCEP transactionID as it is. One that is blank or no text, which the service could not take, as hexadecimal with a mark: the same in all
/// calls of a transaction.
fn transaction_id(id: &TransactionId) -> Cow<'_, str> {
    match core::str::from_utf8(id.as_bytes()) {
        Ok(text) if !text.trim().is_empty() => Cow::Borrowed(text),
        _ => {
            let mut text = "hex:".to_owned();
            for byte in id.as_bytes() {
                let _ = write!(text, "{byte:02X}");
            }
            Cow::Owned(text)
        }
    }
}

/// As much of the text as the service takes, whole characters.
pub(super) fn cut(text: &str) -> &str {
    let mut units = 0;
    let end = text.char_indices().find(|(_, character)| {
        units += character.len_utf16();
        units > DESCRIPTION_UNITS
    });
    end.map_or(text, |(end, _)| text.get(..end).unwrap_or_default())
}

pub(super) fn body(value: &impl Serialize) -> Result<SecretBytes, PortError> {
    secret_json(value).ok_or_else(|| PortError::rejected("the call to Intune could not be written as JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_cut_to_255_units_and_never_inside_a_character() {
        assert_eq!(cut(&"x".repeat(255)).len(), 255);
        assert_eq!(cut(&"x".repeat(256)).len(), 255);
        assert_eq!(cut(&"\u{20ac}".repeat(300)).chars().count(), 255);
        // A character of two units that does not fit any more is left out.
        assert_eq!(cut(&"\u{1f355}".repeat(300)).chars().count(), 127);
    }

    #[test]
    fn a_transaction_id_that_is_no_text_has_one_spelling() {
        let id = |bytes: &[u8]| TransactionId::try_from(bytes.to_vec()).unwrap();
        assert_eq!(transaction_id(&id(b"A+b/=")), "A+b/=");
        assert_eq!(transaction_id(&id("Z\u{fc}rich".as_bytes())), "Z\u{fc}rich");
        assert_eq!(transaction_id(&id(b"Z\xfcrich")), "hex:5AFC72696368");
        assert_eq!(transaction_id(&id(b"  ")), "hex:2020");
    }
}
