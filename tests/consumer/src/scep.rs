//! A challenge that everybody knows, and a notifier that remembers.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use intune_connector::crypto::constant_time_eq;
use intune_connector::limits::Limits;
use intune_connector::message::csr::Csr;
use intune_connector::ports::{
    ChallengeValidator, FailureNotification, PortError, ScepNotifier, SuccessNotification, ValidateRequest, Verdict, Vouched,
};

#[derive(Debug)]
pub struct OwnValidator {
    challenge: String,
    vouched: Vouched,
}

impl OwnValidator {
    pub fn new(challenge: &str, device: &str) -> Self {
        let mut vouched = Vouched::default();
        vouched.device = device.parse().ok();
        Self { challenge: challenge.to_owned(), vouched }
    }
}

#[async_trait]
impl ChallengeValidator for OwnValidator {
    async fn validate(&self, request: ValidateRequest<'_>) -> Result<Verdict, PortError> {
        let csr = Csr::from_der(request.csr, &Limits::default())
            .map_err(|error| PortError::rejected("the request is malformed").with_source(error))?;
        let given = csr.challenge_password().map(|challenge| challenge.secret_bytes()).unwrap_or_default();
        if constant_time_eq(given, self.challenge.as_bytes()) {
            return Ok(Verdict::Accepted(self.vouched.clone()));
        }
        Ok(Verdict::Rejected { code: "ChallengeWrong".to_owned(), description: "it is another one".to_owned() })
    }
}

#[derive(Debug, Default)]
pub struct OwnNotifier(Mutex<Vec<String>>);

impl OwnNotifier {
    /// What it was told, a line each.
    pub fn told(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl ScepNotifier for OwnNotifier {
    async fn success(&self, notification: SuccessNotification<'_>) -> Result<(), PortError> {
        let line = format!("{} issued {} by {}", notification.transaction_id, notification.serial, notification.issuing_authority);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        Ok(())
    }

    async fn failure(&self, notification: FailureNotification<'_>) -> Result<(), PortError> {
        let line = format!("{} failed {:#x}", notification.transaction_id, notification.hresult);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        Ok(())
    }
}
