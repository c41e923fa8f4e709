//! Challenge validators and notifiers that need no service.

use core::fmt;

use async_trait::async_trait;

use crate::crypto::constant_time_eq;
use crate::ids::TransactionId;
use crate::limits::Limits;
use crate::message::csr::Csr;
use crate::ports::{
    ChallengeValidator, FailureNotification, PortError, ScepNotifier, SuccessNotification, ValidateRequest, ValidatorCapabilities, Verdict,
    Vouched,
};
use crate::secret::Password;

/// One challenge for all: whoever learns it enrols under any name that the issuance policy allows (VU#971035).
///
/// For tests, demonstrations and closed networks. It vouches for nothing but the challenge.
pub struct DangerousStaticChallenge {
    challenge: Password,
}

/// The static challenge is empty: every client without a challenge would know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the static challenge is empty; use a random one of at least 16 characters")]
pub struct EmptyChallenge;

impl DangerousStaticChallenge {
    /// With this challenge.
    ///
    /// # Errors
    /// [`EmptyChallenge`].
    pub fn new(challenge: Password) -> Result<Self, EmptyChallenge> {
        if challenge.secret_bytes().is_empty() { Err(EmptyChallenge) } else { Ok(Self { challenge }) }
    }
}

impl fmt::Debug for DangerousStaticChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DangerousStaticChallenge(..)")
    }
}

#[async_trait]
impl ChallengeValidator for DangerousStaticChallenge {
    fn capabilities(&self) -> ValidatorCapabilities {
        ValidatorCapabilities::all()
    }

    async fn validate(&self, request: ValidateRequest<'_>) -> Result<Verdict, PortError> {
        let csr = Csr::from_der(request.csr, &Limits::default()).map_err(|_| PortError::rejected("the CSR cannot be read"))?;
        let known = csr.challenge_password().is_some_and(|given| constant_time_eq(given.secret_bytes(), self.challenge.secret_bytes()));
        Ok(if known {
            Verdict::Accepted(Vouched::default())
        } else {
            Verdict::Rejected { code: "WrongChallenge".to_owned(), description: "The challenge is missing or wrong.".to_owned() }
        })
    }
}

/// Asks a function of yours, which sees the CSR with its challenge and says what it vouches for.
///
/// Its [`capabilities`](ChallengeValidator::capabilities) are minimal unless it is told more.
pub struct CallbackValidator<F> {
    callback: F,
    capabilities: ValidatorCapabilities,
}

impl<F: Fn(&Csr, &TransactionId) -> Result<Verdict, PortError> + Send + Sync> CallbackValidator<F> {
    /// The function runs on the async threads: let it be quick, or implement [`ChallengeValidator`] instead.
    pub fn new(callback: F) -> Self {
        Self { callback, capabilities: ValidatorCapabilities::minimal() }
    }

    /// Sets what the service behind the challenges allows beyond a certificate at once.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: ValidatorCapabilities) -> Self {
        self.capabilities = capabilities;
        self
    }
}

impl<F> fmt::Debug for CallbackValidator<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallbackValidator(..)")
    }
}

#[async_trait]
impl<F: Fn(&Csr, &TransactionId) -> Result<Verdict, PortError> + Send + Sync> ChallengeValidator for CallbackValidator<F> {
    fn capabilities(&self) -> ValidatorCapabilities {
        self.capabilities
    }

    async fn validate(&self, request: ValidateRequest<'_>) -> Result<Verdict, PortError> {
        let csr = Csr::from_der(request.csr, &Limits::default()).map_err(|_| PortError::rejected("the CSR cannot be read"))?;
        (self.callback)(&csr, request.transaction_id)
    }
}

/// Notifies nobody, and says that it did: for servers without a service behind the challenge.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNotification;

#[async_trait]
impl ScepNotifier for NoNotification {
    fn tells_nobody(&self) -> bool {
        true
    }

    async fn success(&self, _: SuccessNotification<'_>) -> Result<(), PortError> {
        Ok(())
    }

    async fn failure(&self, _: FailureNotification<'_>) -> Result<(), PortError> {
        Ok(())
    }
}
