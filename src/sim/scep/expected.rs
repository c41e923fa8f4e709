//! What a SCEP profile says a device's CSR must be.

use core::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::Oid;
use crate::terms::{KeyUsage, SubjectAltName, oids};

/// The CSR that a challenge is bound to, and for whom.
///
/// The default of `new` is what Intune's profiles mostly say: RSA of 2048 bits or more, digitalSignature and keyEncipherment, clientAuth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct ExpectedCsr {
    /// The subject, as Windows writes names, such as `CN=Jane,O=Contoso`. Empty for none.
    pub subject: String,
    /// The names, in any order. Empty for none.
    #[serde(default)]
    pub subject_alt_names: Vec<SubjectAltName>,
    /// The key usage; nothing is compared when it is absent.
    #[serde(default = "default_usage", with = "usage")]
    pub key_usage: Option<KeyUsage>,
    /// The extended key usages, in any order. Empty for none.
    #[serde(default = "client_auth")]
    pub extended_key_usage: Vec<Oid>,
    /// The size of the RSA key in bits; other keys, and all when it is absent, are not measured.
    #[serde(default = "default_length")]
    pub key_length: Option<usize>,
    /// The device; random when absent.
    #[serde(default)]
    pub device_id: Option<String>,
    /// The user; random when absent.
    #[serde(default)]
    pub user_id: Option<String>,
    /// The certificate request; random when absent.
    #[serde(default)]
    pub request_id: Option<String>,
    /// How long the challenge is good, in seconds; the simulator's setting when absent.
    #[serde(default)]
    pub lifetime_seconds: Option<u64>,
}

impl ExpectedCsr {
    /// A CSR with that subject.
    #[must_use]
    pub fn new(subject: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            subject_alt_names: Vec::new(),
            key_usage: default_usage(),
            extended_key_usage: client_auth(),
            key_length: default_length(),
            device_id: None,
            user_id: None,
            request_id: None,
            lifetime_seconds: None,
        }
    }

    /// Expects these names.
    #[must_use]
    pub fn with_subject_alt_names(mut self, names: impl IntoIterator<Item = SubjectAltName>) -> Self {
        self.subject_alt_names = names.into_iter().collect();
        self
    }

    /// Expects this key usage; `None` compares nothing.
    #[must_use]
    pub fn with_key_usage(mut self, usage: Option<KeyUsage>) -> Self {
        self.key_usage = usage;
        self
    }

    /// Expects these extended key usages.
    #[must_use]
    pub fn with_extended_key_usage(mut self, purposes: impl IntoIterator<Item = Oid>) -> Self {
        self.extended_key_usage = purposes.into_iter().collect();
        self
    }

    /// Expects an RSA key of so many bits; `None` measures nothing.
    #[must_use]
    pub fn with_key_length(mut self, bits: Option<usize>) -> Self {
        self.key_length = bits;
        self
    }

    /// Sets the device.
    #[must_use]
    pub fn with_device_id(mut self, id: impl Into<String>) -> Self {
        self.device_id = Some(id.into());
        self
    }

    /// Sets the user.
    #[must_use]
    pub fn with_user_id(mut self, id: impl Into<String>) -> Self {
        self.user_id = Some(id.into());
        self
    }

    /// Sets the id of the certificate request.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }

    /// Sets how long the challenge is good.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime_seconds = Some(lifetime.as_secs());
        self
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the default of a field that is an Option")]
fn default_usage() -> Option<KeyUsage> {
    Some(KeyUsage::SIGN_AND_ENCIPHER)
}

fn client_auth() -> Vec<Oid> {
    vec![crate::terms::oid(oids::CLIENT_AUTH)]
}

#[expect(clippy::unnecessary_wraps, reason = "the default of a field that is an Option")]
fn default_length() -> Option<usize> {
    Some(2048)
}

/// A key usage as a list of the names of RFC 5280.
mod usage {
    use super::{Deserialize as _, Deserializer, KeyUsage, Serialize as _, Serializer};

    type Bit = fn(&mut KeyUsage) -> &mut bool;
    const BITS: [(&str, Bit); 7] = [
        ("digitalSignature", |usage| &mut usage.digital_signature),
        ("nonRepudiation", |usage| &mut usage.content_commitment),
        ("keyEncipherment", |usage| &mut usage.key_encipherment),
        ("dataEncipherment", |usage| &mut usage.data_encipherment),
        ("keyAgreement", |usage| &mut usage.key_agreement),
        ("keyCertSign", |usage| &mut usage.key_cert_sign),
        ("cRLSign", |usage| &mut usage.crl_sign),
    ];

    pub(super) fn serialize<S: Serializer>(usage: &Option<KeyUsage>, serializer: S) -> Result<S::Ok, S::Error> {
        let names = usage.map(|mut usage| BITS.iter().filter(|(_, bit)| *bit(&mut usage)).map(|(name, _)| *name).collect::<Vec<_>>());
        names.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<KeyUsage>, D::Error> {
        let Some(names) = Option::<Vec<String>>::deserialize(deserializer)? else { return Ok(None) };
        let mut usage = KeyUsage::default();
        for name in names {
            let bit = BITS.iter().find(|(known, _)| *known == name);
            let (_, bit) = bit.ok_or_else(|| serde::de::Error::custom(format!("there is no key usage `{name}`")))?;
            *bit(&mut usage) = true;
        }
        Ok(Some(usage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expected_csr_is_read_from_json_with_defaults() {
        let expected: ExpectedCsr = serde_json::from_str(r#"{"subject":"CN=Jane"}"#).unwrap();
        assert_eq!(expected, ExpectedCsr::new("CN=Jane"));
        let text = r#"{"subject":"","subjectAltNames":[{"upn":"jane@contoso.example"}],"keyUsage":["digitalSignature"],
            "extendedKeyUsage":["1.3.6.1.5.5.7.3.4"],"keyLength":null,"deviceId":"d"}"#;
        let expected: ExpectedCsr = serde_json::from_str(text).unwrap();
        assert_eq!(expected.key_usage, Some(KeyUsage { digital_signature: true, ..KeyUsage::default() }));
        let again: ExpectedCsr = serde_json::from_str(&serde_json::to_string(&expected).unwrap()).unwrap();
        assert_eq!(again, expected);
        assert!(serde_json::from_str::<ExpectedCsr>(r#"{"subject":"","keyUsage":["sign"]}"#).unwrap_err().to_string().contains("`sign`"));
        assert!(serde_json::from_str::<ExpectedCsr>(r#"{"subject":"","sans":[]}"#).is_err());
    }
}
