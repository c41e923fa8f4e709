//! The proof that a finished validation allowed a certificate to be issued.

use serde::{Deserialize, Serialize};

use crate::ids::{CaName, TemplateName};
use crate::terms::Flow;
use crate::time::Timestamp;

/// What an approval is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ApprovalSubject {
    /// The flow whose validation it was.
    pub flow: Flow,
    /// SHA-256 of the CSR's DER.
    pub csr_digest: [u8; 32],
    /// SHA-256 of [`CertificatePlan::digest_input`](super::CertificatePlan::digest_input).
    pub plan_digest: [u8; 32],
    /// The CA.
    pub ca: CaName,
    /// The template or profile, where the CA has one.
    pub template: Option<TemplateName>,
    /// Whom the certificate will name, for the audit log.
    pub identity: String,
}

/// Permission to issue one certificate, made only by a finished validation of this crate.
///
/// Borrowed by [`CertificateAuthority::issue`](super::CertificateAuthority::issue), never stored, not `Clone`, without public constructor:
/// after a restart the same policy mints it anew from the stored plan. A skipped check does not compile.
///
/// ```compile_fail,E0624
/// # fn forge(subject: intune_connector::ports::ApprovalSubject) {
/// let approved = intune_connector::ports::Approved::mint(subject, intune_connector::time::Timestamp::system_now());
/// # }
/// ```
///
/// ```compile_fail,E0599
/// # fn keep(approved: intune_connector::ports::Approved) {
/// let kept = approved.clone();
/// # }
/// ```
#[derive(Debug)]
pub struct Approved {
    subject: ApprovalSubject,
    expires: Timestamp,
}

impl Approved {
    /// Only validations call this; `clippy.toml` disallows it everywhere else.
    pub(crate) fn mint(subject: ApprovalSubject, expires: Timestamp) -> Self {
        Self { subject, expires }
    }

    /// What was approved.
    #[must_use]
    pub fn subject(&self) -> &ApprovalSubject {
        &self.subject
    }

    /// When the approval ends.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.expires
    }
}
