//! What a dry run says.

use std::collections::BTreeMap;

use rustls_pki_types::CertificateDer;
use serde::{Serialize, Serializer};

use crate::flow::Finding;
use crate::ids::{CaName, CorrelationId, DeviceId, Oid, SerialNumber, Sid, TemplateName, TenantId, UserId};
use crate::limits::Limits;
use crate::message::certificate::Certificate;
use crate::message::name::Name;
use crate::ports::CertificatePlan;
use crate::retry::ErrorClass;
use crate::terms::{Flow, KeyAlgorithm, KeyUsage, RevocationReason, SubjectAltName};
use crate::time::Timestamp;

/// Times as people read them.
fn as_text<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

/// What the connector would do with the requests that were given. `Display` prints a table, `Serialize` is for JSON.
///
/// It holds names and serial numbers of people and devices, and no secret: no challenge, no key, no password, no file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DryRunReport {
    /// The tenant.
    pub tenant: TenantId,
    /// When the dry run began; certificates and validities were judged by this time and later.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// Mistakes in the configuration, for which the connector would not be built.
    pub configuration: Vec<ConfigurationFinding>,
    /// How many requests came to which verdict.
    pub counts: BTreeMap<&'static str, usize>,
    /// One for each request, in the order in which they were given.
    pub requests: Vec<RequestReport>,
}

impl DryRunReport {
    /// Without requests.
    #[must_use]
    pub fn new(tenant: TenantId, at: Timestamp) -> Self {
        Self { tenant, at, configuration: Vec::new(), counts: BTreeMap::new(), requests: Vec::new() }
    }

    /// Adds a request and counts it, such as a CSR that was judged by [`judge_csr`](super::judge_csr).
    pub fn push(&mut self, request: RequestReport) {
        *self.counts.entry(request.verdict.as_str()).or_insert(0) += 1;
        self.requests.push(request);
    }

    /// How many requests came to that verdict, by the name that [`Verdict::as_str`] gives.
    #[must_use]
    pub fn count(&self, verdict: &str) -> usize {
        self.counts.get(verdict).copied().unwrap_or(0)
    }
}

/// A mistake in the configuration, as the connector's `build()` names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConfigurationFinding {
    /// The setting.
    pub setting: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl From<Finding> for ConfigurationFinding {
    fn from(finding: Finding) -> Self {
        Self { setting: finding.setting, problem: finding.problem, remedy: finding.remedy }
    }
}

/// What would become of one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RequestReport {
    /// The queue's id, or the caller's for a CSR.
    pub id: String,
    /// The flow.
    pub flow: Flow,
    /// The device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// Ids of the same work in other systems' logs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub correlation: Vec<CorrelationId>,
    /// What else is to be known, in sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What would become of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl RequestReport {
    /// Without device, user, correlation and notes.
    #[must_use]
    pub fn new(id: impl Into<String>, flow: Flow, verdict: Verdict) -> Self {
        Self { id: id.into(), flow, device: None, user: None, correlation: Vec::new(), notes: Vec::new(), verdict }
    }
}

/// What would become of a request. In JSON the member `verdict` has the name that [`as_str`](Self::as_str) gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verdict {
    /// The CA would be asked for this certificate. What it would answer is not known.
    WouldIssue(Box<WouldIssue>),
    /// It was decrypted and encrypted for the recipient; the result would be uploaded. It was dropped.
    WouldUpload {
        /// For whom it was encrypted.
        recipient: Option<Recipient>,
        /// The size of the envelopes in bytes.
        bytes: usize,
    },
    /// The CA would be asked to revoke.
    WouldRevoke {
        /// The CA.
        ca: CaName,
        /// The serial number.
        serial: SerialNumber,
        /// The reason.
        reason: RevocationReason,
    },
    /// A policy refuses it; the failure would be uploaded.
    RefusedByPolicy {
        /// The rule, as [`Rule::as_str`](crate::policy::Rule::as_str) names it, or the setting of the flow.
        rule: String,
        /// The policy's sentence.
        reason: String,
    },
    /// It would end without what it asks for; the failure would be uploaded.
    WouldFail {
        /// Whose fault it is.
        class: ErrorClass,
        /// A code, where there is one.
        code: Option<String>,
        /// Why.
        reason: String,
    },
    /// It did not work now, and may later: a key store that is away. The connector would try again with backoff.
    WouldTryAgain {
        /// Why.
        reason: String,
    },
    /// It could not be read; the failure would be uploaded.
    Malformed {
        /// Why.
        reason: String,
    },
    /// It would not be answered: it is not for this connector.
    LeftToOthers {
        /// Why.
        reason: String,
    },
    /// A request of this id came before: the first one stands.
    Repeated {
        /// Whether it asks for the same.
        same: bool,
    },
    /// Only the CA can say, and it was not asked: see [`DryRun::allow_lookups`](super::DryRun::allow_lookups).
    Undecided {
        /// Why.
        reason: String,
    },
}

impl Verdict {
    /// The name in tables, counts and JSON.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::WouldIssue(_) => "would-issue",
            Self::WouldUpload { .. } => "would-upload",
            Self::WouldRevoke { .. } => "would-revoke",
            Self::RefusedByPolicy { .. } => "refused-by-policy",
            Self::WouldFail { .. } => "would-fail",
            Self::WouldTryAgain { .. } => "would-try-again",
            Self::Malformed { .. } => "malformed",
            Self::LeftToOthers { .. } => "left-to-others",
            Self::Repeated { .. } => "repeated",
            Self::Undecided { .. } => "undecided",
        }
    }
}

/// A certificate as the CA would have been asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WouldIssue {
    /// The CA.
    pub ca: CaName,
    /// The template or profile.
    pub template: Option<TemplateName>,
    /// The subject, as RFC 4514 writes it: the last part first.
    pub subject: String,
    /// The subjectAltName.
    pub subject_alt_names: Vec<SubjectAltName>,
    /// The extendedKeyUsage.
    pub extended_key_usage: Vec<Oid>,
    /// The keyUsage.
    pub key_usage: KeyUsage,
    /// The key's algorithm.
    pub key: KeyAlgorithm,
    /// The latest end of validity.
    #[serde(serialize_with = "as_text")]
    pub not_after: Timestamp,
    /// The SID in the extension 1.3.6.1.4.1.311.25.2.
    pub sid_extension: Option<Sid>,
    /// For whom the PKCS#12 file would be encrypted; absent for SCEP, where the device has the key.
    pub recipient: Option<Recipient>,
}

impl WouldIssue {
    pub(super) fn new(plan: CertificatePlan, recipient: Option<Recipient>) -> Self {
        // The policy has read it before; bytes that are no name cannot come here.
        let subject = Name::from_der(&plan.subject).map(|name| name.to_string()).unwrap_or_default();
        Self {
            ca: plan.ca,
            template: plan.template,
            subject,
            subject_alt_names: plan.subject_alt_names,
            extended_key_usage: plan.extended_key_usage,
            key_usage: plan.key_usage,
            key: plan.key,
            not_after: plan.not_after,
            sid_extension: plan.sid_extension,
            recipient,
        }
    }
}

/// A recipient, by its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Recipient {
    /// The subject, as RFC 4514 writes it.
    pub subject: String,
    /// The serial number, where it can be read.
    pub serial: Option<SerialNumber>,
    /// The end of validity.
    #[serde(serialize_with = "as_text")]
    pub not_after: Timestamp,
}

impl Recipient {
    /// `None` for a certificate that cannot be read; the policy says why.
    pub(super) fn read(certificate: &CertificateDer<'_>, limits: &Limits) -> Option<Self> {
        let certificate = Certificate::from_der(certificate, limits).ok()?;
        let (subject, serial) = (certificate.subject().to_string(), certificate.serial().cloned());
        Some(Self { subject, serial, not_after: certificate.not_after() })
    }
}
