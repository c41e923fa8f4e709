//! How strong mapping (KB5014754) is written into certificates, and whose SIDs may be.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{IssuancePolicy, PolicyRefusal, Rule};
use crate::ids::Sid;
#[cfg(feature = "scep")]
use crate::message::certificate::Certificate;
use crate::terms::SID_URI_PREFIX;
#[cfg(feature = "scep")]
use crate::terms::SubjectAltName;

/// Where the SID of a request goes. A request without SID gets none: it is never invented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SidPolicy {
    /// Nowhere. Domain controllers then refuse the certificate for logon unless `altSecurityIdentities` maps it (since September 2025).
    Off,
    /// Into the extension 1.3.6.1.4.1.311.25.2, as Microsoft's connector does with `EnableSidSecurityExtension`.
    #[default]
    Extension,
    /// Into a subjectAltName URI, as SCEP profiles do; some VPN gateways refuse URIs.
    Uri,
    /// Into both.
    Both,
}

impl SidPolicy {
    /// Whether the extension is written.
    #[must_use]
    pub const fn writes_extension(self) -> bool {
        matches!(self, Self::Extension | Self::Both)
    }

    /// Whether the URI is written.
    #[must_use]
    pub const fn writes_uri(self) -> bool {
        matches!(self, Self::Uri | Self::Both)
    }
}

/// An account domain, `S-1-5-21-a-b-c`: a SID without its last part.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SidDomain([u32; 3]);

impl SidDomain {
    /// Whether the account is of this domain.
    #[must_use]
    pub fn contains(self, sid: &Sid) -> bool {
        sid.domain() == self.0
    }
}

/// A text that is no account domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid SID domain: it is not S-1-5-21 with three more decimal parts below 2^32")]
pub struct InvalidSidDomain;

impl FromStr for SidDomain {
    type Err = InvalidSidDomain;
    fn from_str(text: &str) -> Result<Self, InvalidSidDomain> {
        // A domain is what becomes a SID when a relative id follows.
        format!("{text}-1000").parse::<Sid>().map(|sid| Self(sid.domain())).map_err(|_| InvalidSidDomain)
    }
}

impl TryFrom<String> for SidDomain {
    type Error = InvalidSidDomain;
    fn try_from(text: String) -> Result<Self, InvalidSidDomain> {
        text.parse()
    }
}

impl From<SidDomain> for String {
    fn from(domain: SidDomain) -> String {
        domain.to_string()
    }
}

impl fmt::Display for SidDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.0;
        write!(f, "S-1-5-21-{a}-{b}-{c}")
    }
}

impl fmt::Debug for SidDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SidDomain({self})")
    }
}

/// The SID that a certificate names, in the extension or in a URI.
#[cfg(feature = "scep")]
pub(crate) fn sid_of(certificate: &Certificate) -> Option<Sid> {
    let of_name = |name: &SubjectAltName| match name {
        SubjectAltName::Uri(uri) => sid_of_uri(uri).ok().flatten(),
        _ => None,
    };
    certificate.sid().cloned().or_else(|| certificate.subject_alt_names().iter().find_map(of_name))
}

/// The SID in a URI: `None` when the URI is no SID URI at all, an error when it nearly is one.
pub(super) fn sid_of_uri(uri: &str) -> Result<Option<Sid>, PolicyRefusal> {
    if let Some(sid) = uri.strip_prefix(SID_URI_PREFIX) {
        let parsed = sid.parse().map_err(|error| PolicyRefusal::new(Rule::Sid, format!("the SID URI {uri:?} holds no SID: {error}")))?;
        return Ok(Some(parsed));
    }
    // Readers differ in how loosely they compare; what only resembles the prefix is not let through as an ordinary URI.
    let folded = uri.to_ascii_lowercase();
    if folded.starts_with("tag:microsoft.com") || folded.contains("sid:s-1-") {
        return Err(PolicyRefusal::new(Rule::Sid, format!("the URI {uri:?} resembles a SID URI but is not spelt like one")));
    }
    Ok(None)
}

/// Whether the account may be named at all.
pub(super) fn check_sid(policy: &IssuancePolicy, sid: &Sid) -> Result<(), PolicyRefusal> {
    let named = policy.built_in_sids.contains(sid);
    if sid.rid() < 1000 && !named {
        return Err(PolicyRefusal::new(
            Rule::BuiltInSid,
            format!("{sid} is a built-in account (RID under 1000); name it with `allow_built_in_sid` if that is meant"),
        ));
    }
    if named || policy.any_identity || policy.sid_domains.iter().any(|domain| domain.contains(sid)) {
        return Ok(());
    }
    Err(PolicyRefusal::new(Rule::SidDomain, format!("the domain of {sid} is not allowed; see `allow_sid_domain`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_sid_without_its_last_part() {
        let domain: SidDomain = "S-1-5-21-1-2-3".parse().unwrap();
        assert!(domain.contains(&"S-1-5-21-1-2-3-1104".parse().unwrap()));
        assert!(!domain.contains(&"S-1-5-21-1-2-4-1104".parse().unwrap()));
        for wrong in ["", "S-1-5-21-1-2", "S-1-5-21-1-2-3-4", "S-1-5-21-01-2-3", "S-1-5-21-1-2-3-"] {
            assert_eq!(wrong.parse::<SidDomain>(), Err(InvalidSidDomain), "{wrong}");
        }
    }

    #[test]
    fn what_resembles_a_sid_uri_is_no_ordinary_uri() {
        assert_eq!(sid_of_uri("https://contoso.com/x"), Ok(None));
        assert!(matches!(sid_of_uri("tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-1001"), Ok(Some(sid)) if sid.rid() == 1001));
        for wrong in [
            "TAG:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-1001",
            "tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-01001",
            "tag:microsoft.com,2022-09-14:sid:",
            "urn:x:SID:S-1-5-21-1-2-3-500",
        ] {
            assert!(sid_of_uri(wrong).is_err(), "{wrong}");
        }
    }
}
