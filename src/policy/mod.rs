//! Who may get which certificate, for whom anything is encrypted, and whether a CA did what it was asked: data with pure checks.
//!
//! What a queue or a device says is input, not authority. Everything is refused until a policy allows it; what allows everything has an
//! alarming name.

mod issuance;
mod names;
pub mod post_issue;
mod recipient;
#[cfg(feature = "scep")]
mod registration_authority;
mod scep;
mod sid;
mod subject;

pub use issuance::IssuancePolicy;
pub use recipient::{ApprovedRecipient, DeviceBinding, RecipientPolicy};
#[cfg(feature = "scep")]
pub(crate) use registration_authority::{RegistrationProfile, RegistrationUse, approve_registration_authority};
pub use scep::ScepApproval;
#[cfg(feature = "scep")]
pub(crate) use sid::sid_of;
pub use sid::{InvalidSidDomain, SidDomain, SidPolicy};
pub use subject::SubjectRule;

use serde::{Deserialize, Serialize};

use crate::crypto::{CryptoError, MissingSlot};
use crate::ports::Failure;
use crate::retry::ErrorClass;

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident $text:literal;)*) => {
        /// The rule that a request broke: one for each setting of a policy.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum Rule {
            $($(#[$doc])* $name,)*
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Rule] = &[$(Rule::$name,)*];

            /// The name in events and results.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

rules! {
    /// The template is not allowed.
    Template "template";
    /// The subject cannot be read.
    SubjectSyntax "subject-syntax";
    /// The subject holds something that is not bound to the request, or is too long.
    Subject "subject";
    /// A name in the subjectAltName is malformed.
    AltNameSyntax "alt-name-syntax";
    /// The UPN suffix is not allowed.
    UpnSuffix "upn-suffix";
    /// The e-mail domain is not allowed.
    EmailDomain "email-domain";
    /// The DNS suffix is not allowed.
    DnsSuffix "dns-suffix";
    /// The URI scheme is not allowed.
    UriScheme "uri-scheme";
    /// The IP network is not allowed.
    IpNetwork "ip-network";
    /// The certificate would name nobody.
    NoName "no-name";
    /// A SID stands where the SID policy does not want one, or two SIDs differ.
    Sid "sid";
    /// The SID's domain is not allowed.
    SidDomain "sid-domain";
    /// The SID is that of a built-in account (RID under 1000) that is not named.
    BuiltInSid "built-in-sid";
    /// An extendedKeyUsage is not allowed, or there is none, which means any, or there are too many.
    ExtendedKeyUsage "extended-key-usage";
    /// A keyUsage bit is never allowed.
    KeyUsage "key-usage";
    /// The key's algorithm or size is not allowed.
    Key "key";
    /// The validity is too long, or ends before it begins.
    Validity "validity";
    /// A CA certificate is asked for.
    CaCertificate "ca-certificate";
    /// The CSR asks for an extension or attribute that devices may not ask for.
    CsrExtension "csr-extension";
    /// The CSR differs from the plan, or its own signature is wrong.
    CsrMismatch "csr-mismatch";
    /// The recipient's certificate cannot be read.
    RecipientSyntax "recipient-syntax";
    /// The recipient's certificate neither chains to a configured root nor is pinned.
    RecipientTrust "recipient-trust";
    /// The recipient's certificate is not valid now.
    RecipientValidity "recipient-validity";
    /// The recipient's certificate is not for key encipherment.
    RecipientKeyUsage "recipient-key-usage";
    /// The recipient's key is not RSA of 2048 bits or more.
    RecipientKey "recipient-key";
    /// The recipient's certificate does not name the request's device.
    RecipientDevice "recipient-device";
}

impl core::fmt::Display for Rule {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A policy refused a request. Final: the same request is refused again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused by policy rule `{rule}`: {reason}")]
#[non_exhaustive]
pub struct PolicyRefusal {
    /// The rule.
    pub rule: Rule,
    /// What about the request broke it, and which setting allows it. No secrets; text from the request may be in it.
    pub reason: String,
}

impl PolicyRefusal {
    pub(crate) fn new(rule: Rule, reason: impl Into<String>) -> Self {
        Self { rule, reason: crate::event::printable(&reason.into()) }
    }
}

impl From<&PolicyRefusal> for Failure {
    fn from(refusal: &PolicyRefusal) -> Self {
        Self::new(ErrorClass::Policy, crate::event::printable(&refusal.to_string())).with_code(Some(refusal.rule.as_str().to_owned()))
    }
}

/// Why a policy gave no approval.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The request is refused.
    #[error(transparent)]
    Refused(#[from] PolicyRefusal),
    /// The crypto provider lacks a slot.
    #[error(transparent)]
    MissingSlot(#[from] MissingSlot),
    /// A crypto operation failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

impl PolicyError {
    /// What it means for the request.
    #[must_use]
    pub fn to_failure(&self) -> Failure {
        match self {
            Self::Refused(refusal) => Failure::from(refusal),
            Self::MissingSlot(error) => Failure::new(ErrorClass::Configuration, error.to_string()),
            Self::Crypto(error @ (CryptoError::Unsupported(_) | CryptoError::NotApproved { .. })) => {
                Failure::new(ErrorClass::Configuration, error.to_string())
            }
            Self::Crypto(error) => Failure::new(ErrorClass::Internal, error.to_string()),
        }
    }
}
