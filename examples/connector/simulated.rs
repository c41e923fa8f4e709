//! The far side as a server on a loopback address: SCEP and revocation by Intune's public protocols, the other flows by the open queue, and a
//! network that fails by a seed.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use intune_connector::adapters::StdRuntime;
use intune_connector::adapters::VolatileJournal;
use intune_connector::adapters::entra::{ClientCredentials, Credential};
use intune_connector::adapters::http::{HttpClient, HttpTransport, ProxySetting, TrustAnchors};
use intune_connector::adapters::http_queue::{HttpQueue, HttpQueueConfig, QueueAuthentication, StaticToken};
use intune_connector::adapters::intune::{IntuneOnline, IntuneRevocations, IntuneScep};
use intune_connector::crypto::CryptoProvider;
use intune_connector::ids::{RequestId, TenantId};
use intune_connector::ports::{
    ChallengeValidator, CompleteAnswer, IntuneQueue, Outcome, Payload, QueueCapabilities, QueueItem, RevocationError, RevokeResult,
    ScepNotifier,
};
use intune_connector::secret::Password;
use intune_connector::sim::{ExpectedCsr, FaultPlan, OpenQueue, OpenQueueSettings, RevocationRequest, RevocationState, SimulatedIntune};
use intune_connector::terms::{Flow, SubjectAltName};
use tokio::sync::oneshot;

use crate::device::Checked;
use crate::intune::Intune;

const TOKEN: &str = "of-the-demonstration-alone";
/// Intune's is an hour; the demonstration is in a hurry.
const COOL_DOWN: Duration = Duration::from_secs(1);

pub struct Simulated {
    intune: SimulatedIntune,
    open_queue: Arc<OpenQueue>,
    base: String,
    queue: Arc<dyn IntuneQueue>,
    revocations: Arc<dyn IntuneQueue>,
    scep: Arc<IntuneScep>,
    /// Ends the server when it is dropped.
    _stop: oneshot::Sender<()>,
}

impl Simulated {
    pub fn start(provider: &CryptoProvider, runtime: &Arc<StdRuntime>, tenant: &TenantId, seed: u64, faults: FaultPlan) -> Checked<Self> {
        let settings = OpenQueueSettings::new(tenant.clone()).with_token(Password::from(TOKEN)).with_lease(Duration::from_secs(60));
        let open_queue = Arc::new(OpenQueue::new(settings, runtime.clone()));
        let answering = Arc::clone(&open_queue);
        let intune = SimulatedIntune::builder(provider.clone(), runtime.clone())
            .seed(seed)
            .faults(faults)
            .cool_down(COOL_DOWN)
            .offer_unanswered_revocations_again(true)
            .open_queue(move |request| answering.handle(request))
            .build()?;
        let server = intune.listen(TcpListener::bind("127.0.0.1:0")?)?;
        let base = server.base_url().to_owned();
        let (stop, stopped) = oneshot::channel::<()>();
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        std::thread::spawn(move || {
            tokio.block_on(server.run(async {
                let _ = stopped.await;
            }))
        });

        let client = HttpClient::builder().proxy(ProxySetting::Direct).trust(TrustAnchors::Only(Vec::new())).build()?;
        let transport: Arc<dyn HttpTransport> = Arc::new(client);
        let cloud = intune.cloud();
        let secret = Credential::client_secret(Password::from(intune.client_secret()));
        let tokens = ClientCredentials::builder(intune.tenant_id(), intune.client_id(), secret)
            .authority(&cloud.authority)
            .dangerous_plain_http_on_loopback(true)
            .build(transport.clone(), runtime.clone(), provider.clone())?;
        let online = IntuneOnline::builder(intune.tenant_id(), Arc::new(tokens), transport.clone(), runtime.clone(), provider.clone());
        let online = Arc::new(online.cloud(cloud).build()?);
        let journal = Arc::new(VolatileJournal::new());
        let revocations = IntuneRevocations::builder(online.clone(), journal, tenant.clone(), runtime.clone(), provider.clone());
        let revocations = revocations.max_requests(500).cool_down(COOL_DOWN).build()?;

        let token = Arc::new(StaticToken::new(Password::from(TOKEN))?);
        let config = HttpQueueConfig::new(&base, tenant.clone(), QueueAuthentication::bearer(token, ""));
        let mut capabilities = QueueCapabilities::new(vec![Flow::Pkcs, Flow::PkcsRecrypt, Flow::PkcsImport]);
        capabilities.lease = Some(Duration::from_secs(60));
        // `HttpQueue::connect` would ask for them; here the faults start with the connector.
        let queue = HttpQueue::with_capabilities(
            config.dangerous_plain_http_on_loopback(),
            transport,
            runtime.clone(),
            provider.clone(),
            capabilities,
        )?;
        Ok(Self {
            intune,
            open_queue,
            base,
            queue: Arc::new(queue),
            revocations: Arc::new(revocations),
            scep: Arc::new(IntuneScep::new(online)),
            _stop: stop,
        })
    }
}

impl Intune for Simulated {
    fn push(&self, item: QueueItem) -> Checked<()> {
        match &item.payload {
            Payload::Revoke(request) => {
                let mut revocation = RevocationRequest::new(&request.serial).with_request_context(item.meta.id.as_str());
                if let Some(issuer) = &request.issuer {
                    revocation = revocation.with_issuer_name(issuer);
                }
                self.intune.enqueue_revocation(revocation)?;
            }
            _ => self.open_queue.enqueue(item)?,
        }
        Ok(())
    }

    fn arrange_faults(&self, refused_at_first: &[&str], again: QueueItem) -> Checked<()> {
        for id in refused_at_first {
            let flow = match id.split('-').next() {
                Some("pkcs") => Flow::Pkcs,
                Some("recrypt") => Flow::PkcsRecrypt,
                _ => Flow::PkcsImport,
            };
            self.open_queue.answer_next(flow, id.parse()?, CompleteAnswer::TryAgain("the service is busy".into()));
        }
        self.open_queue.offer_again(again.meta.flow, &again.meta.id);
        Ok(())
    }

    fn queue(&self, flow: Flow) -> Arc<dyn IntuneQueue> {
        if flow == Flow::Revoke { self.revocations.clone() } else { self.queue.clone() }
    }

    fn accepted(&self) -> HashMap<(Flow, RequestId), Outcome> {
        let mut accepted = self.open_queue.accepted();
        for entry in self.intune.revocations() {
            let outcome = match entry.state {
                RevocationState::Succeeded => RevokeResult::succeeded(None),
                RevocationState::Failed => RevokeResult::failed(RevocationError::CertificateNotFoundError, "as uploaded"),
                _ => continue,
            };
            if let Some(Ok(id)) = entry.request.request_context.map(|context| context.parse()) {
                accepted.insert((Flow::Revoke, id), Outcome::Revoke(outcome));
            }
        }
        accepted
    }

    fn changed_results(&self) -> Vec<RequestId> {
        let queued = self.open_queue.changed_results().into_iter().map(|(_, id)| id);
        // What contradicts itself in Intune's ledger names a transaction or a context.
        queued.chain(self.intune.findings().into_iter().filter_map(|finding| finding.subject.parse().ok())).collect()
    }

    fn challenge(&self, device: &str) -> Checked<String> {
        let expected =
            ExpectedCsr::new(format!("CN={device}")).with_subject_alt_names([SubjectAltName::Dns(format!("{device}.contoso.example"))]);
        let issued = self.intune.issue_challenge(&expected)?;
        Ok(issued.challenge.secret_str().unwrap_or_default().to_owned())
    }

    fn validator(&self) -> Arc<dyn ChallengeValidator> {
        self.scep.clone()
    }

    fn notifier(&self) -> Arc<dyn ScepNotifier> {
        self.scep.clone()
    }

    fn notified(&self) -> Vec<String> {
        let transactions = self.intune.transactions().into_iter();
        transactions.flat_map(|transaction| transaction.certificates).map(|certificate| certificate.thumbprint).collect()
    }

    fn summary(&self) -> String {
        let (calls, faults) = (self.intune.arrivals().len(), self.intune.played_faults().len());
        format!("Intune was simulated at {}: {calls} calls over HTTP, {faults} of them with a fault.", self.base)
    }
}
