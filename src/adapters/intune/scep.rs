//! Validator and notifier over the validation API.

use std::sync::Arc;

use async_trait::async_trait;

use super::actions::{ProviderName, ScepAction, ScepActions, ScepCall};
use super::answer::{self, Said};
use super::wire;
use crate::ids::CaName;
use crate::ports::{
    ChallengeValidator, FailureNotification, PortError, ScepNotifier, SuccessNotification, ValidateRequest, ValidatorCapabilities, Verdict,
    Vouched,
};
use crate::secret::SecretBytes;

/// Has Intune say whether a challenge is good, and tells it what became of it. Give one to the service as validator and as notifier.
///
/// Nothing but HTTP 200 with the code `Success` accepts. Intune compares the whole CSR with the profile, names and SID URI included, so what it
/// accepts is vouched for with [`Vouched::names_checked`]; device and user stay unknown, since the challenge is Intune's to read. A request
/// carries the same transactionID in all its calls.
///
/// Intune knows no pending requests and wants a challenge with each renewal: `build()` of the service refuses settings to the contrary.
#[derive(Debug, Clone)]
pub struct IntuneScep {
    actions: Arc<dyn ScepActions>,
    provider_name: ProviderName,
    ca_configuration: Option<CaName>,
    certificate_authority: Option<CaName>,
}

impl IntuneScep {
    /// Over that transport, under the name of this crate.
    #[must_use]
    pub fn new(actions: Arc<dyn ScepActions>) -> Self {
        Self { actions, provider_name: ProviderName::default(), ca_configuration: None, certificate_authority: None }
    }

    /// Sets the name under which Intune sees the caller; the transport's user agent should be the same.
    #[must_use]
    pub fn with_provider_name(mut self, name: ProviderName) -> Self {
        self.provider_name = name;
        self
    }

    /// Sets the label of the CA's configuration. Revocation requests come back with it, and users report that it is what Intune compares an
    /// issuer filter with: the same label as the service's `issuing_authority` works either way. Default absent.
    #[must_use]
    pub fn with_ca_configuration(mut self, label: CaName) -> Self {
        self.ca_configuration = Some(label);
        self
    }

    /// Sets the CA's name for the portal. Default absent.
    #[must_use]
    pub fn with_certificate_authority(mut self, name: CaName) -> Self {
        self.certificate_authority = Some(name);
        self
    }

    async fn call(&self, action: ScepAction, body: SecretBytes) -> Result<Said, PortError> {
        let answer = self.actions.post(ScepCall::new(action, &body)).await?;
        drop(body);
        answer::read(action, &answer)
    }

    async fn notify(&self, action: ScepAction, body: SecretBytes) -> Result<(), PortError> {
        match self.call(action, body).await? {
            Said::Success => Ok(()),
            Said::No { code, description } => {
                Err(PortError::rejected(format!("Intune refuses the notification: {description}")).with_code(code))
            }
        }
    }
}

#[async_trait]
impl ChallengeValidator for IntuneScep {
    fn capabilities(&self) -> ValidatorCapabilities {
        ValidatorCapabilities::minimal()
    }

    async fn validate(&self, request: ValidateRequest<'_>) -> Result<Verdict, PortError> {
        let body = wire::validate_request(&request, self.provider_name.as_str())?;
        Ok(match self.call(ScepAction::ValidateRequest, body).await? {
            Said::Success => Verdict::Accepted(Vouched { names_checked: true, ..Vouched::default() }),
            Said::No { code, description } => Verdict::Rejected { code, description },
        })
    }
}

#[async_trait]
impl ScepNotifier for IntuneScep {
    async fn success(&self, notification: SuccessNotification<'_>) -> Result<(), PortError> {
        let (configuration, ca) = (self.ca_configuration.as_ref(), self.certificate_authority.as_ref());
        let name = self.provider_name.as_str();
        let body = wire::success_notification(&notification, name, configuration.map(CaName::as_str), ca.map(CaName::as_str))?;
        self.notify(ScepAction::SuccessNotification, body).await
    }

    async fn failure(&self, notification: FailureNotification<'_>) -> Result<(), PortError> {
        let body = wire::failure_notification(&notification, self.provider_name.as_str())?;
        self.notify(ScepAction::FailureNotification, body).await
    }
}
