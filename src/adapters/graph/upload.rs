//! What is uploaded, and its body in Graph's spelling.
//!
//! The body holds PFX and password.

use serde::Serialize;

use super::error::GraphError;
use super::purpose::IntendedPurpose;
use super::record::{lower, padding_name};
use crate::adapters::http::{Base64, secret_json};
use crate::ids::Thumbprint;
use crate::secret::SecretBytes;
use crate::terms::PaddingScheme;
use crate::time::Timestamp;

/// A PFX with all that Graph wants to know of it. [`CheckedPfx::seal`](super::CheckedPfx::seal) makes one after the checks.
///
/// `Debug` hides the PFX. The password in it is encrypted to the connector's key already.
#[derive(Debug)]
#[non_exhaustive]
pub struct UserPfxCertificate {
    /// SHA-1 of the certificate that belongs to the private key.
    pub thumbprint: Thumbprint,
    /// What it is for.
    pub intended_purpose: IntendedPurpose,
    /// Whose it is.
    pub user_principal_name: String,
    /// The first second of the certificate's validity.
    pub start: Timestamp,
    /// The last.
    pub expiration: Timestamp,
    /// The key storage provider on the connector.
    pub provider_name: String,
    /// The name of the key in it.
    pub key_name: String,
    /// How the password is encrypted.
    pub padding_scheme: PaddingScheme,
    pub(super) pfx: SecretBytes,
    pub(super) encrypted_password: Vec<u8>,
}

/// The members, in the order of Microsoft's documentation. `encryptedPfxBlob` is the file as it is: its name promises more.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(rename = "@odata.type")]
    odata_type: &'static str,
    thumbprint: String,
    intended_purpose: &'static str,
    user_principal_name: &'a str,
    start_date_time: String,
    expiration_date_time: String,
    provider_name: &'a str,
    key_name: &'a str,
    padding_scheme: &'static str,
    encrypted_pfx_blob: Base64<'a>,
    encrypted_pfx_password: Base64<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_date_time: Option<String>,
    last_modified_date_time: String,
}

impl UserPfxCertificate {
    /// The body of a create, or of an update, which leaves `createdDateTime` as it is.
    pub(super) fn body(&self, now: Timestamp, is_new: bool) -> Result<SecretBytes, GraphError> {
        let now = now.to_string();
        let body = Body {
            odata_type: "#microsoft.graph.userPFXCertificate",
            thumbprint: lower(self.thumbprint),
            intended_purpose: self.intended_purpose.as_str(),
            user_principal_name: &self.user_principal_name,
            start_date_time: self.start.to_string(),
            expiration_date_time: self.expiration.to_string(),
            provider_name: &self.provider_name,
            key_name: &self.key_name,
            padding_scheme: padding_name(self.padding_scheme),
            encrypted_pfx_blob: Base64(self.pfx.secret_bytes()),
            encrypted_pfx_password: Base64(&self.encrypted_password),
            created_date_time: is_new.then(|| now.clone()),
            last_modified_date_time: now,
        };
        secret_json(&body).ok_or_else(|| GraphError::settings("the record could not be written as JSON"))
    }
}
