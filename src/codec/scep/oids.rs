//! Object identifiers of SCEP's signed attributes.

/// messageType
pub const MESSAGE_TYPE: &str = "2.16.840.1.113733.1.9.2";
/// pkiStatus
pub const PKI_STATUS: &str = "2.16.840.1.113733.1.9.3";
/// failInfo
pub const FAIL_INFO: &str = "2.16.840.1.113733.1.9.4";
/// senderNonce
pub const SENDER_NONCE: &str = "2.16.840.1.113733.1.9.5";
/// recipientNonce
pub const RECIPIENT_NONCE: &str = "2.16.840.1.113733.1.9.6";
/// transactionID
pub const TRANSACTION_ID: &str = "2.16.840.1.113733.1.9.7";
/// id-scep-failInfoText
pub const FAIL_INFO_TEXT: &str = "1.3.6.1.5.5.7.24.1";
