//! Records as Graph lists them.

use core::fmt;
use core::str::FromStr;

use serde_json::Value;

use super::purpose::IntendedPurpose;
use crate::ids::{InvalidId, Thumbprint, UserId};
use crate::terms::PaddingScheme;
use crate::time::Timestamp;

/// The key of a record: the user's object id without dashes, a dash, and the thumbprint in lower case. The service makes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PfxId(String);

impl PfxId {
    /// The key that the service gives to that user's certificate.
    #[must_use]
    pub fn of(user: &UserId, thumbprint: Thumbprint) -> Self {
        Self(format!("{}-{}", user.as_str().replace('-', ""), lower(thumbprint)))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PfxId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        // What a user id takes is what a key takes; dots alone would change the path.
        let id: UserId = text.parse().map_err(|error| InvalidId { kind: "PFX record id", ..error })?;
        if id.as_str().bytes().all(|byte| byte == b'.') {
            return Err(InvalidId { kind: "PFX record id", reason: "it holds dots alone" });
        }
        Ok(Self(id.into()))
    }
}

impl fmt::Display for PfxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A thumbprint as `userPfxCertificates` has it.
pub(super) fn lower(thumbprint: Thumbprint) -> String {
    thumbprint.to_string().to_ascii_lowercase()
}

/// A `userPFXCertificate` as Graph gives it: PFX and password never come back. What is absent, or not in the form that is documented, is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PfxRecord {
    /// The key.
    pub id: PfxId,
    /// SHA-1 of the certificate.
    pub thumbprint: Option<Thumbprint>,
    /// What it is for.
    pub intended_purpose: Option<IntendedPurpose>,
    /// Whose it is.
    pub user_principal_name: Option<String>,
    /// The first second of the certificate's validity.
    pub start: Option<Timestamp>,
    /// The last.
    pub expiration: Option<Timestamp>,
    /// The key storage provider on the connector.
    pub provider_name: Option<String>,
    /// The name of the key in it.
    pub key_name: Option<String>,
    /// How the password is encrypted to that key.
    pub padding_scheme: Option<PaddingScheme>,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// When it was last changed.
    pub last_modified: Option<Timestamp>,
}

impl PfxRecord {
    /// Reads one; `None` without a usable `id`.
    pub(super) fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let owned = |name: &str| text(name).filter(|text| !text.is_empty()).map(str::to_owned);
        let time = |name: &str| text(name).and_then(timestamp);
        Some(Self {
            id: text("id")?.parse().ok()?,
            thumbprint: owned("thumbprint").and_then(|hex| Thumbprint::try_from(hex).ok()),
            intended_purpose: text("intendedPurpose").and_then(|name| name.parse().ok()),
            user_principal_name: owned("userPrincipalName"),
            start: time("startDateTime"),
            expiration: time("expirationDateTime"),
            provider_name: owned("providerName"),
            key_name: owned("keyName"),
            padding_scheme: text("paddingScheme").and_then(padding),
            created: time("createdDateTime"),
            last_modified: time("lastModifiedDateTime"),
        })
    }

    /// Whether it is that user's record of that certificate.
    #[must_use]
    pub fn is_of(&self, upn: &str, thumbprint: Thumbprint) -> bool {
        self.is_of_user(upn) && self.thumbprint == Some(thumbprint)
    }

    /// Whether it is that user's.
    #[must_use]
    pub fn is_of_user(&self, upn: &str) -> bool {
        self.user_principal_name.as_ref().is_some_and(|name| name.to_lowercase() == upn.to_lowercase())
    }
}

/// Graph's name of a padding.
pub(super) const fn padding_name(scheme: PaddingScheme) -> &'static str {
    match scheme {
        PaddingScheme::Pkcs1 => "pkcs1",
        PaddingScheme::OaepSha1 => "oaepSha1",
        PaddingScheme::OaepSha256 => "oaepSha256",
        PaddingScheme::OaepSha384 => "oaepSha384",
        PaddingScheme::OaepSha512 => "oaepSha512",
    }
}

/// Microsoft's module writes names in Pascal case.
pub(super) fn padding(name: &str) -> Option<PaddingScheme> {
    use PaddingScheme as P;
    let all = [P::Pkcs1, P::OaepSha1, P::OaepSha256, P::OaepSha384, P::OaepSha512];
    all.into_iter().find(|scheme| padding_name(*scheme).eq_ignore_ascii_case(name))
}

fn timestamp(text: &str) -> Option<Timestamp> {
    let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    Some(Timestamp::from_micros(time.timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_the_user_without_dashes_and_the_thumbprint_in_lower_case() {
        let user: UserId = "0a1b2c3d-0000-1111-2222-333344445555".parse().unwrap();
        let id = PfxId::of(&user, Thumbprint::new([0xAB; 20]));
        assert_eq!(id.as_str(), format!("0a1b2c3d000011112222333344445555-{}", "ab".repeat(20)));
        for bad in ["", ".", "..", "a\nb"] {
            assert!(bad.parse::<PfxId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn both_spellings_of_enumerations_and_dates_with_offset_are_read() {
        let record = |purpose: &str, padding: &str, start: &str| {
            PfxRecord::read(&json!({ "id": "u-t", "intendedPurpose": purpose, "paddingScheme": padding, "startDateTime": start })).unwrap()
        };
        let camel = record("smimeEncryption", "oaepSha512", "2026-11-28T10:00:00Z");
        assert_eq!(camel, record("SmimeEncryption", "OaepSha512", "2026-11-28T11:00:00.0000000+01:00"));
        assert_eq!(camel.intended_purpose, Some(IntendedPurpose::SmimeEncryption));
        assert_eq!(record("new", "none", "yesterday").padding_scheme, None);
        assert!(PfxRecord::read(&json!({ "thumbprint": "x" })).is_none());
    }
}
