//! One `userPFXCertificate`.

use serde_json::{Map, Value, json};

use crate::secret::SecretBytes;
use crate::sim::encoding::from_base64;
use crate::sim::request::member;
use crate::time::Timestamp;

const PURPOSES: [&str; 5] = ["unassigned", "smimeEncryption", "smimeSigning", "vpn", "wifi"];
const SCHEMES: [&str; 6] = ["none", "pkcs1", "oaepSha1", "oaepSha256", "oaepSha384", "oaepSha512"];
/// The longest text, in characters. Ours.
const LONGEST: usize = 1_024;

/// An imported certificate as the service has it (facts C.1).
#[derive(Debug)]
#[non_exhaustive]
pub struct PfxRecord {
    /// The user's object id without dashes, `-`, the thumbprint in lower case.
    pub id: String,
    /// SHA-1 of the certificate, in lower case.
    pub thumbprint: String,
    /// In camel case.
    pub intended_purpose: String,
    /// The user.
    pub user_principal_name: String,
    /// The certificate's first moment, as it was sent.
    pub start: String,
    /// The certificate's last moment, as it was sent.
    pub expiration: String,
    /// The key storage provider on the connector.
    pub provider_name: String,
    /// The key in it.
    pub key_name: String,
    /// In camel case.
    pub padding_scheme: String,
    /// The PFX file.
    pub encrypted_pfx_blob: SecretBytes,
    /// The encrypted password.
    pub encrypted_pfx_password: SecretBytes,
    /// When it was made.
    pub created: Timestamp,
    /// When it was changed last.
    pub modified: Timestamp,
}

impl PfxRecord {
    /// Reads the members of a new one. `id` is of whom it is known to be.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn read(body: &Map<String, Value>, now: Timestamp) -> Result<Self, String> {
        known_members(body)?;
        let record = Self {
            id: String::new(),
            thumbprint: thumbprint(body)?,
            intended_purpose: enumeration(body, "intendedPurpose", &PURPOSES)?.ok_or_else(|| missing("intendedPurpose"))?,
            user_principal_name: text(body, "userPrincipalName")?,
            start: date(body, "startDateTime")?.ok_or_else(|| missing("startDateTime"))?,
            expiration: date(body, "expirationDateTime")?.ok_or_else(|| missing("expirationDateTime"))?,
            provider_name: text(body, "providerName")?,
            key_name: text(body, "keyName")?,
            padding_scheme: enumeration(body, "paddingScheme", &SCHEMES)?.ok_or_else(|| missing("paddingScheme"))?,
            encrypted_pfx_blob: binary(body, "encryptedPfxBlob")?.ok_or_else(|| missing("encryptedPfxBlob"))?,
            encrypted_pfx_password: binary(body, "encryptedPfxPassword")?.ok_or_else(|| missing("encryptedPfxPassword"))?,
            created: now,
            modified: now,
        };
        record.check_dates()?;
        Ok(record)
    }

    /// Takes the members that are there.
    ///
    /// # Errors
    /// What is wrong; nothing is changed then.
    pub(super) fn update(&mut self, body: &Map<String, Value>, now: Timestamp) -> Result<(), String> {
        known_members(body)?;
        let mut changed = self.copy();
        for (name, unchangeable) in [("thumbprint", &self.thumbprint), ("userPrincipalName", &self.user_principal_name)] {
            let given = member(body, name).and_then(Value::as_str);
            if given.is_some_and(|given| !given.eq_ignore_ascii_case(unchangeable)) {
                return Err(format!("the property `{name}` cannot be changed"));
            }
        }
        let name = |name: &str| member(body, name).map(|_| text(body, name)).transpose();
        changed.provider_name = name("providerName")?.unwrap_or(changed.provider_name);
        changed.key_name = name("keyName")?.unwrap_or(changed.key_name);
        changed.intended_purpose = enumeration(body, "intendedPurpose", &PURPOSES)?.unwrap_or(changed.intended_purpose);
        changed.padding_scheme = enumeration(body, "paddingScheme", &SCHEMES)?.unwrap_or(changed.padding_scheme);
        changed.start = date(body, "startDateTime")?.unwrap_or(changed.start);
        changed.expiration = date(body, "expirationDateTime")?.unwrap_or(changed.expiration);
        // What a client read comes back as it was given out: blinded, and then it changes nothing.
        let is_blinded = |name: &str| matches!(body.get(name).and_then(Value::as_str), Some("" | "AA=="));
        let secret = |name: &str| if is_blinded(name) { Ok(None) } else { binary(body, name) };
        changed.encrypted_pfx_blob = secret("encryptedPfxBlob")?.unwrap_or(changed.encrypted_pfx_blob);
        changed.encrypted_pfx_password = secret("encryptedPfxPassword")?.unwrap_or(changed.encrypted_pfx_password);
        changed.check_dates()?;
        changed.modified = now;
        *self = changed;
        Ok(())
    }

    fn check_dates(&self) -> Result<(), String> {
        let time = |text: &str| chrono::DateTime::parse_from_rfc3339(text).ok();
        if time(&self.start) < time(&self.expiration) { Ok(()) } else { Err("the certificate ends before it begins".to_owned()) }
    }

    pub(super) fn copy(&self) -> Self {
        Self {
            id: self.id.clone(),
            thumbprint: self.thumbprint.clone(),
            intended_purpose: self.intended_purpose.clone(),
            user_principal_name: self.user_principal_name.clone(),
            start: self.start.clone(),
            expiration: self.expiration.clone(),
            provider_name: self.provider_name.clone(),
            key_name: self.key_name.clone(),
            padding_scheme: self.padding_scheme.clone(),
            encrypted_pfx_blob: SecretBytes::copy_from(self.encrypted_pfx_blob.secret_bytes()),
            encrypted_pfx_password: SecretBytes::copy_from(self.encrypted_pfx_password.secret_bytes()),
            created: self.created,
            modified: self.modified,
        }
    }

    /// As Graph shows it: the secrets come back as `AA==` and an empty string.
    pub(in crate::sim) fn to_json(&self) -> Value {
        json!({
            "id": self.id, "thumbprint": self.thumbprint, "intendedPurpose": self.intended_purpose,
            "userPrincipalName": self.user_principal_name, "startDateTime": self.start, "expirationDateTime": self.expiration,
            "providerName": self.provider_name, "keyName": self.key_name, "paddingScheme": self.padding_scheme,
            "encryptedPfxBlob": "AA==", "encryptedPfxPassword": "", "createdDateTime": self.created.to_string(),
            "lastModifiedDateTime": self.modified.to_string(),
        })
    }

    /// A property that a filter may name.
    pub(super) fn property(&self, name: &str) -> Option<&str> {
        Some(match name {
            "userPrincipalName" => &self.user_principal_name,
            "thumbprint" => &self.thumbprint,
            "id" => &self.id,
            "keyName" => &self.key_name,
            "providerName" => &self.provider_name,
            _ => return None,
        })
    }
}

const MEMBERS: [&str; 14] = [
    "@odata.type",
    "id",
    "thumbprint",
    "intendedPurpose",
    "userPrincipalName",
    "startDateTime",
    "expirationDateTime",
    "providerName",
    "keyName",
    "paddingScheme",
    "encryptedPfxBlob",
    "encryptedPfxPassword",
    "createdDateTime",
    "lastModifiedDateTime",
];

fn known_members(body: &Map<String, Value>) -> Result<(), String> {
    match body.keys().find(|name| !MEMBERS.contains(&name.as_str()) && !name.starts_with("@odata.")) {
        Some(name) => Err(format!("the property `{}` does not exist on type microsoft.graph.userPFXCertificate", name.escape_debug())),
        None => Ok(()),
    }
}

fn missing(name: &str) -> String {
    format!("the property `{name}` is missing")
}

fn text(body: &Map<String, Value>, name: &str) -> Result<String, String> {
    let text = body.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty() && text.chars().count() <= LONGEST);
    text.map(str::to_owned).ok_or_else(|| format!("the property `{name}` is missing, blank or too long"))
}

fn thumbprint(body: &Map<String, Value>) -> Result<String, String> {
    let text = text(body, "thumbprint")?;
    let is_sha1 = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_sha1 { Ok(text.to_ascii_lowercase()) } else { Err("the thumbprint is not 40 hexadecimal digits".to_owned()) }
}

/// A name of an enumeration: in camel case as documented, or in Pascal case as Microsoft's module sends it.
fn enumeration(body: &Map<String, Value>, name: &str, values: &[&str]) -> Result<Option<String>, String> {
    let Some(value) = body.get(name) else { return Ok(None) };
    let text = value.as_str().unwrap_or_default();
    let found = values.iter().find(|known| known.eq_ignore_ascii_case(text));
    found.map(|known| Some((*known).to_owned())).ok_or_else(|| format!("`{name}` is none of {}", values.join(", ")))
}

fn date(body: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    let Some(value) = body.get(name) else { return Ok(None) };
    let text = value.as_str().filter(|text| chrono::DateTime::parse_from_rfc3339(text).is_ok());
    text.map(|text| Some(text.to_owned())).ok_or_else(|| format!("`{name}` is no date and time with an offset"))
}

/// Base64 over at least one byte, when the member is there and not empty.
fn binary(body: &Map<String, Value>, name: &str) -> Result<Option<SecretBytes>, String> {
    let Some(value) = body.get(name) else { return Ok(None) };
    let bytes = value.as_str().and_then(from_base64).filter(|bytes| !bytes.is_empty());
    bytes.map(|bytes| Some(SecretBytes::new(bytes))).ok_or_else(|| format!("`{name}` is no base64 over something"))
}
