//! What whoever runs the simulator does with its tenant: the same in process and, through the control endpoint, over HTTP.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;

use super::entra::Federation;
use super::faults::arrive;
use super::identity::guid;
use super::scep::Sealing;
use super::state::State;
use super::{
    Arrival, ChallengeFlaw, Endpoint, ExpectedCsr, FaultPlan, Inner, IssuedChallenge, LedgerFinding, OpenQueue, PfxRecord, PlayedFault,
    RegisteredKey, RevocationEntry, RevocationRequest, Role, SimError, SimulatedIntune, Stale, TransactionEntry,
};
use crate::adapters::intune::Cloud;
use crate::limits::Limits;
use crate::message::certificate::Certificate;
use crate::time::Timestamp;

/// The most certificates and the most federations of the app.
const MOST_CREDENTIALS: usize = 64;

impl SimulatedIntune {
    /// The settings of clients: Microsoft's own scopes, names and paths, at the simulator's hosts.
    #[must_use]
    pub fn cloud(&self) -> Cloud {
        cloud(&self.inner.state().base)
    }

    /// The tenant's id.
    #[must_use]
    pub fn tenant_id(&self) -> &str {
        &self.inner.identity.tenant
    }

    /// A domain of the tenant, which stands for its id.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.inner.identity.domain
    }

    /// The registered app's id.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.inner.identity.client
    }

    /// The app's secret.
    #[must_use]
    pub fn client_secret(&self) -> &str {
        self.inner.identity.secret.secret_str().unwrap_or_default()
    }

    /// What the control endpoint demands in the header `x-control-key`.
    #[must_use]
    pub fn control_key(&self) -> &str {
        self.inner.identity.control_key.secret_str().unwrap_or_default()
    }

    /// The open queue, unless [`SimulatedIntuneBuilder::open_queue`](super::SimulatedIntuneBuilder::open_queue) put another in its place. It is
    /// below `/open-queue/v1` and serves the simulator's tenant.
    #[must_use]
    pub fn open_queue(&self) -> Option<&Arc<OpenQueue>> {
        self.inner.open_queue.own()
    }

    /// The bearer token of the open queue.
    #[must_use]
    pub fn open_queue_token(&self) -> &str {
        self.inner.identity.queue_token.secret_str().unwrap_or_default()
    }

    /// The certificate of the simulator's own CA, whose subject says TEST. It signs the certificate that signs challenges.
    #[must_use]
    pub fn ca_certificate(&self) -> CertificateDer<'static> {
        self.inner.identity.ca.certificate().der().clone()
    }

    /// Sets when the app's secret ends; `None` for never.
    pub fn expire_secret(&self, at: Option<Timestamp>) {
        self.inner.state().credentials.secret_expires = at;
    }

    /// Registers a certificate of the app, for client assertions.
    ///
    /// # Errors
    /// [`SimError::X509`] when it cannot be read, [`SimError::Invalid`] when there are too many.
    pub fn register_certificate(&self, certificate: &[u8]) -> Result<(), SimError> {
        register_certificate(&mut self.inner.state(), certificate)
    }

    /// Takes tokens of another issuer for the app's credential: those of that subject, signed with RS256 or PS256 by the key in `spki`
    /// (SubjectPublicKeyInfo DER), for the audience `api://AzureADTokenExchange`.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when there are too many.
    pub fn federate(&self, issuer: &str, subject: &str, spki: &[u8]) -> Result<(), SimError> {
        let federations = &mut self.inner.state().credentials.federations;
        if federations.len() >= MOST_CREDENTIALS {
            return Err(SimError::Invalid("the app has too many federations".to_owned()));
        }
        federations.push(Federation { issuer: issuer.to_owned(), subject: subject.to_owned(), spki: spki.to_vec() });
        Ok(())
    }

    /// Grants a role. Tokens that were given before never get it.
    pub fn grant(&self, role: Role) {
        self.inner.state().roles.insert(role);
    }

    /// Takes a role away. Tokens that were given before keep it.
    pub fn revoke_role(&self, role: Role) {
        self.inner.state().roles.remove(&role);
    }

    /// Sets whether the tenant has a licence; without one, discovery lists no service.
    pub fn set_licensed(&self, licensed: bool) {
        self.inner.state().licensed = licensed;
    }

    /// Ends all tokens that were given.
    pub fn expire_tokens(&self) {
        self.inner.state().token_generation += 1;
    }

    /// Moves the services to another scale unit.
    pub fn move_location(&self, stale: Stale) {
        self.inner.state().location.move_on(stale);
    }

    /// Issues a challenge for a CSR that is expected.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when the subject cannot be read or too many were issued; the provider's errors.
    pub fn issue_challenge(&self, expected: &ExpectedCsr) -> Result<IssuedChallenge, SimError> {
        issue_challenge(&self.inner, &mut self.inner.state(), expected, None)
    }

    /// Issues one that is wrong in that way.
    ///
    /// # Errors
    /// As [`SimulatedIntune::issue_challenge`].
    pub fn issue_flawed_challenge(&self, expected: &ExpectedCsr, flaw: ChallengeFlaw) -> Result<IssuedChallenge, SimError> {
        issue_challenge(&self.inner, &mut self.inner.state(), expected, Some(flaw))
    }

    /// Signs challenges with a new certificate from now on; those of the former are refused.
    ///
    /// # Errors
    /// The provider's.
    pub fn change_challenge_signer(&self) -> Result<(), SimError> {
        let inner = &*self.inner;
        inner.state().challenges.change_signer(&inner.provider, &inner.identity.ca)
    }

    /// Sets whether the profile of a request is assigned to its device. Says whether there is such a request.
    pub fn set_targeted(&self, request_id: &str, targeted: bool) -> bool {
        self.inner.state().challenges.set_condition(request_id, Some(targeted), None)
    }

    /// Sets whether the key of a request must be a registered one. Says whether there is such a request.
    pub fn set_registered_key(&self, request_id: &str, key: RegisteredKey) -> bool {
        self.inner.state().challenges.set_condition(request_id, None, Some(key))
    }

    /// Answers the next `times` calls of a SCEP action with that code, whatever they ask: `Success`, one of [`RejectionCode`](super::RejectionCode),
    /// or one that nobody knows.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when the endpoint is none of the three, or too many wait.
    pub fn provoke(&self, endpoint: Endpoint, code: &str, times: usize) -> Result<(), SimError> {
        provoke(&mut self.inner.state(), endpoint, code, times)
    }

    /// Adds a revocation request; gives its `requestContext`.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when it is malformed, its context is taken, or there are too many.
    pub fn enqueue_revocation(&self, request: RevocationRequest) -> Result<String, SimError> {
        enqueue_revocation(&self.inner, &mut self.inner.state(), request)
    }

    /// Adds a revocation request for each certificate that was notified in a transaction, with the names that were notified; gives their contexts.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when there is no such certificate; as [`SimulatedIntune::enqueue_revocation`].
    pub fn enqueue_revocation_of(&self, transaction_id: &str) -> Result<Vec<String>, SimError> {
        enqueue_revocation_of(&self.inner, &mut self.inner.state(), transaction_id)
    }

    /// Ends the cool-down of revocation now.
    pub fn end_cool_down(&self) {
        self.inner.state().revocation.end_cool_down();
    }

    /// Adds a user, and gives the object id.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when the name is blank or there are too many.
    pub fn add_user(&self, user_principal_name: &str) -> Result<String, SimError> {
        let id = guid(&self.inner.provider)?;
        self.inner.state().pfx.add_user(user_principal_name, id).map_err(SimError::Invalid)
    }

    /// The imported certificates.
    #[must_use]
    pub fn pfx_records(&self) -> Vec<PfxRecord> {
        self.settled().pfx.copies()
    }

    /// Another plan of faults, and another seed. Calls are counted from 1 again.
    pub fn set_faults(&self, seed: u64, plan: FaultPlan) {
        self.inner.state().faults.set_plan(seed, plan);
    }

    /// The faults that were played, the first 100,000.
    #[must_use]
    pub fn played_faults(&self) -> Vec<PlayedFault> {
        self.inner.state().faults.played().to_vec()
    }

    /// The requests that arrived, the last 10,000.
    #[must_use]
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.inner.state().arrivals.all()
    }

    /// The transactions of SCEP.
    #[must_use]
    pub fn transactions(&self) -> Vec<TransactionEntry> {
        self.settled().ledger.transactions()
    }

    /// The revocation requests.
    #[must_use]
    pub fn revocations(&self) -> Vec<RevocationEntry> {
        self.settled().revocation.entries()
    }

    /// All that is wrong in the ledgers.
    #[must_use]
    pub fn findings(&self) -> Vec<LedgerFinding> {
        findings(&self.settled())
    }

    /// Transactions that were validated and of whose end nothing was heard.
    #[must_use]
    pub fn lost(&self) -> Vec<String> {
        self.settled().ledger.lost()
    }

    /// Transactions for which more than one certificate was notified, or whose challenge was used for more than one.
    #[must_use]
    pub fn doubled(&self) -> Vec<String> {
        self.settled().ledger.doubled()
    }

    /// Contexts of revocation requests without a final result.
    #[must_use]
    pub fn open_revocations(&self) -> Vec<String> {
        self.settled().revocation.open()
    }

    /// The state, once all that was on its way has arrived.
    fn settled(&self) -> std::sync::MutexGuard<'_, State> {
        let mut state = self.inner.state();
        settle(&self.inner, &mut state);
        state
    }
}

pub(super) fn settle(inner: &Inner, state: &mut State) {
    for request in state.faults.take_held() {
        arrive(inner, state, &request);
    }
}

pub(super) fn cloud(base: &str) -> Cloud {
    let mut cloud = Cloud::global();
    cloud.authority = format!("{base}/");
    cloud.graph = base.to_owned();
    let host = super::request::host_of(base.split_once("://").map_or("", |(_, rest)| rest));
    // An IPv6 address stands in brackets in a URL.
    cloud.host_suffixes = if host.contains(':') { [format!("[{host}]"), host].into() } else { [host].into() };
    cloud.dangerous_plain_http_on_loopback = base.starts_with("http://");
    cloud
}

pub(super) fn register_certificate(state: &mut State, certificate: &[u8]) -> Result<(), SimError> {
    let certificate = Certificate::from_der(certificate, &Limits::default())?;
    if state.credentials.certificates.len() >= MOST_CREDENTIALS {
        return Err(SimError::Invalid("the app has too many certificates".to_owned()));
    }
    state.credentials.certificates.push(certificate);
    Ok(())
}

pub(super) fn issue_challenge(
    inner: &Inner,
    state: &mut State,
    expected: &ExpectedCsr,
    flaw: Option<ChallengeFlaw>,
) -> Result<IssuedChallenge, SimError> {
    let with =
        Sealing { provider: &inner.provider, identity: &inner.identity, now: inner.runtime.now(), lifetime: inner.settings.challenge_life };
    state.challenges.issue(with, expected, flaw)
}

pub(super) fn provoke(state: &mut State, endpoint: Endpoint, code: &str, times: usize) -> Result<(), SimError> {
    if !matches!(endpoint, Endpoint::ValidateRequest | Endpoint::SuccessNotification | Endpoint::FailureNotification) {
        return Err(SimError::Invalid(format!(
            "{endpoint} answers with no code; give validateRequest, successNotification or failureNotification"
        )));
    }
    state.provoked.provoke(endpoint, code, times).map_err(SimError::Invalid)
}

pub(super) fn enqueue_revocation(inner: &Inner, state: &mut State, request: RevocationRequest) -> Result<String, SimError> {
    let context = request.request_context.clone().filter(|context| !context.trim().is_empty());
    let context = context.map_or_else(|| guid(&inner.provider), Ok)?;
    state.revocation.enqueue(request, context.clone()).map_err(SimError::Invalid)?;
    Ok(context)
}

pub(super) fn enqueue_revocation_of(inner: &Inner, state: &mut State, transaction: &str) -> Result<Vec<String>, SimError> {
    let certificates = state.ledger.transaction(transaction).map(|entry| entry.certificates.clone()).unwrap_or_default();
    if certificates.is_empty() {
        return Err(SimError::Invalid("no certificate was notified in a transaction of that id".to_owned()));
    }
    let request = |certificate: super::NotifiedCertificate| RevocationRequest {
        serial_number: certificate.serial_number,
        issuer_name: Some(certificate.issuing_authority),
        ca_configuration: certificate.ca_configuration,
        request_context: None,
    };
    certificates.into_iter().map(|certificate| enqueue_revocation(inner, state, request(certificate))).collect()
}

pub(super) fn findings(state: &State) -> Vec<LedgerFinding> {
    state.ledger.findings().into_iter().chain(state.revocation.findings()).collect()
}
