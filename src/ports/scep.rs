//! Who says whether a SCEP challenge is good, and who is told what became of it.

use core::fmt::Debug;

use async_trait::async_trait;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use serde::{Deserialize, Serialize};

use super::{HiddenCsr, PortError};
use crate::ids::{DeviceId, SerialNumber, Sid, Thumbprint, TransactionId, UserId};
use crate::time::Timestamp;

/// One SCEP request to validate. The CSR holds the challenge: it is a secret, do not log it.
#[non_exhaustive]
pub struct ValidateRequest<'a> {
    /// The whole CSR, challengePassword included. Its own signature has been verified.
    pub csr: &'a CertificateSigningRequestDer<'a>,
    /// The SCEP transaction.
    pub transaction_id: &'a TransactionId,
    /// The certificate to be renewed, when the request is signed by one of ours: chain, validity, status, subject and names have been checked.
    pub renewed: Option<&'a CertificateDer<'a>>,
}

impl Debug for ValidateRequest<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ValidateRequest")
            .field("csr", &HiddenCsr(self.csr))
            .field("transaction_id", &self.transaction_id)
            .field("renewal", &self.renewed.is_some())
            .finish()
    }
}

impl<'a> ValidateRequest<'a> {
    /// A first enrolment, from its parts.
    #[must_use]
    pub fn new(csr: &'a CertificateSigningRequestDer<'a>, transaction_id: &'a TransactionId) -> Self {
        Self { csr, transaction_id, renewed: None }
    }

    /// Says that this certificate is renewed.
    #[must_use]
    pub fn renewing(mut self, certificate: Option<&'a CertificateDer<'a>>) -> Self {
        self.renewed = certificate;
        self
    }
}

/// What a validator vouches for beyond "this CSR may be issued".
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Vouched {
    /// The device.
    pub device: Option<DeviceId>,
    /// The user.
    pub user: Option<UserId>,
    /// The SID that may stand in the certificate. A SID in the CSR that is not vouched for is refused.
    pub sid: Option<Sid>,
    /// Every name in the CSR was compared with what the profile expects, the SID URI included (Intune does this).
    pub names_checked: bool,
}

/// The answer to a validation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The CSR may be issued as it is.
    Accepted(Vouched),
    /// It may not.
    Rejected {
        /// The validator's code, such as `ChallengeExpired`.
        code: String,
        /// For the operator; no secrets.
        description: String,
    },
}

/// What a validator's service allows beyond a certificate at once for a good challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValidatorCapabilities {
    /// A request may wait for days between its validation and its certificate. Intune's may not: its challenges end after an hour, and it
    /// knows no pending state.
    pub pending: bool,
    /// A certificate of ours may be renewed without a challenge. Intune wants one each time.
    pub renewal_without_challenge: bool,
}

impl ValidatorCapabilities {
    /// Neither: what holds for Intune.
    #[must_use]
    pub fn minimal() -> Self {
        Self { pending: false, renewal_without_challenge: false }
    }

    /// Both: for challenges that no outside service keeps count of.
    #[must_use]
    pub fn all() -> Self {
        Self { pending: true, renewal_without_challenge: true }
    }
}

/// Validates the challenge in a CSR.
///
/// Called once for each request, before anything is asked of a CA. Any error means: do not issue.
#[async_trait]
pub trait ChallengeValidator: Debug + Send + Sync {
    /// What its service allows; asked once by `build()`, which refuses settings beyond it. The default allows nothing.
    fn capabilities(&self) -> ValidatorCapabilities {
        ValidatorCapabilities::minimal()
    }

    /// Validates.
    ///
    /// # Errors
    /// Transport and service faults. A rejected challenge is not an error but [`Verdict::Rejected`].
    async fn validate(&self, request: ValidateRequest<'_>) -> Result<Verdict, PortError>;
}

/// Tells the service that a certificate was issued. The CSR holds the challenge: it is a secret.
#[non_exhaustive]
pub struct SuccessNotification<'a> {
    /// The SCEP transaction, as at validation.
    pub transaction_id: &'a TransactionId,
    /// The CSR, as at validation.
    pub csr: &'a CertificateSigningRequestDer<'a>,
    /// SHA-1 of the certificate.
    pub thumbprint: Thumbprint,
    /// Its serial number.
    pub serial: SerialNumber,
    /// Its end of validity.
    pub not_after: Timestamp,
    /// The issuing CA's name, the same each time: revocation requests come back with it.
    pub issuing_authority: String,
}

impl Debug for SuccessNotification<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SuccessNotification")
            .field("transaction_id", &self.transaction_id)
            .field("csr", &HiddenCsr(self.csr))
            .field("thumbprint", &self.thumbprint)
            .field("serial", &self.serial)
            .field("not_after", &self.not_after)
            .field("issuing_authority", &self.issuing_authority)
            .finish()
    }
}

impl<'a> SuccessNotification<'a> {
    /// A notification from its parts.
    #[must_use]
    pub fn new(
        transaction_id: &'a TransactionId,
        csr: &'a CertificateSigningRequestDer<'a>,
        thumbprint: Thumbprint,
        serial: SerialNumber,
        not_after: Timestamp,
        issuing_authority: String,
    ) -> Self {
        Self { transaction_id, csr, thumbprint, serial, not_after, issuing_authority }
    }
}

/// Tells the service that a validated request ended without a certificate.
#[non_exhaustive]
pub struct FailureNotification<'a> {
    /// The SCEP transaction, as at validation.
    pub transaction_id: &'a TransactionId,
    /// The CSR, as at validation.
    pub csr: &'a CertificateSigningRequestDer<'a>,
    /// The HRESULT that fits best, signed 32-bit.
    pub hresult: i32,
    /// At most 255 characters.
    pub description: String,
}

impl Debug for FailureNotification<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FailureNotification")
            .field("transaction_id", &self.transaction_id)
            .field("csr", &HiddenCsr(self.csr))
            .field("hresult", &self.hresult)
            .field("description", &self.description)
            .finish()
    }
}

impl<'a> FailureNotification<'a> {
    /// A notification from its parts; the description is cut to 255 characters (not bytes).
    #[must_use]
    pub fn new(transaction_id: &'a TransactionId, csr: &'a CertificateSigningRequestDer<'a>, hresult: i32, description: &str) -> Self {
        Self { transaction_id, csr, hresult, description: description.chars().take(255).collect() }
    }
}

/// Takes notifications about SCEP requests. May be called again with the same notification: it is idempotent by transaction.
#[async_trait]
pub trait ScepNotifier: Debug + Send + Sync {
    /// Whether nobody learns anything: there is no service behind it, and each call succeeds at once. The SCEP service then stores one state
    /// less for each certificate. The default: somebody does.
    fn tells_nobody(&self) -> bool {
        false
    }

    /// A certificate was issued.
    ///
    /// # Errors
    /// In the strict policy the certificate is then withheld; in the spooling one it is retried.
    async fn success(&self, notification: SuccessNotification<'_>) -> Result<(), PortError>;

    /// A validated request failed.
    ///
    /// # Errors
    /// Retried.
    async fn failure(&self, notification: FailureNotification<'_>) -> Result<(), PortError>;
}
