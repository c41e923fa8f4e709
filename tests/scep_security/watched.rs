//! A service whose private keys count what they are asked, and what of an answer an attacker sees.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::adapters::{CallbackValidator, LocalCa, VolatileJournal};
use intune_connector::crypto::{
    DecryptionKey, KeyTransportAlgorithm, SignError, SignatureAlgorithm, SigningKey, UnwrapError, UnwrapRequest,
};
use intune_connector::message::certificate::Certificate;
use intune_connector::message::csr::Csr;
use intune_connector::message::scep::{FailInfo, PkiStatus, ReplyTo, ScepResponse};
use intune_connector::policy::IssuancePolicy;
use intune_connector::ports::{ChallengeValidator, PortError, Verdict};
use intune_connector::scep::{RegistrationAuthority, Request, Response, Service, ServiceBuilder};
use intune_connector::secret::SecretBytes;
use intune_connector::terms::{KeyAlgorithm, KeyUsage};
use intune_connector::time::Timestamp;
use rustls_pki_types::SubjectPublicKeyInfoDer;

use crate::scep_lab::{Client, Lab, TestCa, name, provider, shared_key};

/// The largest message that a service takes unless it is told otherwise.
pub const LARGEST: usize = 64 << 10;
pub const NOT_VERIFIED: (PkiStatus, Option<FailInfo>) = (PkiStatus::Failure, Some(FailInfo::BadMessageCheck));
pub const REFUSED: (PkiStatus, Option<FailInfo>) = (PkiStatus::Failure, Some(FailInfo::BadRequest));
pub const BAD_ALG: (PkiStatus, Option<FailInfo>) = (PkiStatus::Failure, Some(FailInfo::BadAlg));
pub const GRANTED: (PkiStatus, Option<FailInfo>) = (PkiStatus::Success, None);

pub fn outcome(reply: &ScepResponse) -> (PkiStatus, Option<FailInfo>) {
    (reply.status(), reply.fail_info())
}

/// A decryption key that notes what it is asked.
#[derive(Debug)]
pub struct WatchedDecryption {
    key: Arc<dyn DecryptionKey>,
    pub asked: Mutex<Vec<Option<KeyTransportAlgorithm>>>,
    only_oaep: bool,
    is_remote: bool,
}

impl WatchedDecryption {
    pub fn new(key: Arc<dyn DecryptionKey>) -> Self {
        Self { key, asked: Mutex::default(), only_oaep: false, is_remote: false }
    }

    /// One that does PKCS#1 v1.5 no more, as modules under FIPS 140-3.
    pub fn only_oaep(key: Arc<dyn DecryptionKey>) -> Self {
        Self { only_oaep: true, ..Self::new(key) }
    }

    /// One that is waited for, and says in so many words what it rejects, as modules do.
    pub fn remote(key: Arc<dyn DecryptionKey>) -> Self {
        Self { is_remote: true, ..Self::new(key) }
    }
}

#[async_trait]
impl DecryptionKey for WatchedDecryption {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.key.public_key()
    }
    fn is_local(&self) -> bool {
        !self.is_remote
    }
    async fn unwrap(&self, request: &UnwrapRequest) -> Result<SecretBytes, UnwrapError> {
        self.asked.lock().unwrap().push(request.algorithm());
        if self.only_oaep && request.algorithm() == Some(KeyTransportAlgorithm::RsaPkcs1v15) {
            return Err(UnwrapError::Unsupported("RSA PKCS#1 v1.5"));
        }
        if let (true, UnwrapRequest::KeyTransport { algorithm, ciphertext, .. }) = (self.is_remote, request) {
            // Without the leave to answer with an empty secret.
            return self.key.unwrap(&UnwrapRequest::new(*algorithm, ciphertext.clone())).await;
        }
        self.key.unwrap(request).await
    }
}

/// A signing key that counts.
#[derive(Debug)]
pub struct WatchedSigning {
    key: Arc<dyn SigningKey>,
    pub asked: AtomicU32,
}

impl WatchedSigning {
    pub fn new(key: Arc<dyn SigningKey>) -> Self {
        Self { key, asked: AtomicU32::new(0) }
    }
}

#[async_trait]
impl SigningKey for WatchedSigning {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.key.public_key()
    }
    fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        self.key.algorithms()
    }
    fn is_local(&self) -> bool {
        true
    }
    async fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.key.sign(algorithm, message).await
    }
}

/// A lab with such keys before its CA.
pub struct Watched {
    pub lab: Lab,
    pub service: Service,
    pub decryption: Arc<WatchedDecryption>,
    pub signing: Arc<WatchedSigning>,
}

impl Watched {
    pub fn new(change: impl FnOnce(ServiceBuilder) -> ServiceBuilder) -> Self {
        Self::before(TestCa::new(shared_key(0)), change)
    }

    pub fn before(ca: TestCa, change: impl FnOnce(ServiceBuilder) -> ServiceBuilder) -> Self {
        Self::with_key(ca, WatchedDecryption::new(shared_key(1).decryption.clone().unwrap()), change)
    }

    /// `decryption` is over the RA's key, the lab's second.
    pub fn with_key(ca: TestCa, decryption: WatchedDecryption, change: impl FnOnce(ServiceBuilder) -> ServiceBuilder) -> Self {
        let lab = Lab::with_ca(ca, |builder| builder);
        let key = shared_key(1);
        let (decryption, signing) = (Arc::new(decryption), Arc::new(WatchedSigning::new(key.signing.clone())));
        let ra = RegistrationAuthority::single(lab.ra.der().clone(), signing.clone(), decryption.clone());
        let builder = lab.builder_before(lab.journal.clone(), ra, lab.validator.clone());
        let service = lab.runtime.block_on(change(builder).build()).unwrap();
        Self { lab, service, decryption, signing }
    }

    pub fn post(&self, message: &[u8]) -> Response {
        self.lab.runtime.block_on(self.service.handle(Request::post("operation=PKIOperation", message.to_vec())))
    }

    /// How often the decryption key was asked so far.
    pub fn unwraps(&self) -> usize {
        self.decryption.asked.lock().unwrap().len()
    }

    /// How often the challenge was looked at, and the CA asked.
    pub fn asked(&self) -> (u32, u32) {
        (self.lab.validator.calls.load(Ordering::SeqCst), self.lab.ca.asks.load(Ordering::SeqCst))
    }

    /// All that the sender sees of an answer, and all that the log says, but for what differs between any two requests; with the number of
    /// private-key operations.
    pub fn shape(&self, client: &Client, message: &[u8], to: &ReplyTo) -> Shape {
        let _ = self.lab.sink.take();
        let (unwraps, signatures) = (self.unwraps(), self.signing.asked.load(Ordering::SeqCst));
        let response = self.post(message);
        let reply = client.reply(&response, to, &self.lab.ra);
        let mut events = self.lab.sink.events();
        for event in &mut events {
            event.at = Timestamp::from_micros(0);
            event.key.scope = String::new();
        }
        Shape {
            outcome: outcome(&reply),
            text: reply.fail_info_text().map(str::to_owned),
            len: response.body.len() - to.transaction().to_der().len(),
            events: format!("{events:?}"),
            unwraps: self.unwraps() - unwraps,
            signatures: self.signing.asked.load(Ordering::SeqCst) - signatures,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    pub outcome: (PkiStatus, Option<FailInfo>),
    pub text: Option<String>,
    pub len: usize,
    pub events: String,
    pub unwraps: usize,
    pub signatures: u32,
}

/// A service before the crate's own CA, which issues what the plan says.
pub struct LocalService {
    pub lab: Lab,
    pub ca: Arc<LocalCa>,
    pub ra: Certificate,
    service: Service,
}

impl LocalService {
    pub fn new(change: impl FnOnce(ServiceBuilder) -> ServiceBuilder) -> Self {
        let lab = Lab::new(|builder| builder);
        let validator = lab.validator.clone();
        Self::build(lab, validator, change)
    }

    pub fn with_validator(
        change: impl FnOnce(ServiceBuilder) -> ServiceBuilder,
        validator: impl Fn(&Csr) -> Result<Verdict, PortError> + Send + Sync + 'static,
    ) -> Self {
        let validator = Arc::new(CallbackValidator::new(move |csr: &Csr, _: &_| validator(csr)));
        Self::build(Lab::new(|builder| builder), validator, change)
    }

    fn build(lab: Lab, validator: Arc<dyn ChallengeValidator>, change: impl FnOnce(ServiceBuilder) -> ServiceBuilder) -> Self {
        let ca = Arc::new(LocalCa::new(provider().clone(), "Lab CA".parse().unwrap(), KeyAlgorithm::EcP256).unwrap());
        let (key, year) = (shared_key(1), Duration::from_secs(365 * 86_400));
        let ra = ca.issue_service_certificate(name("CN=RA"), &key.spki, KeyUsage::SIGN_AND_ENCIPHER, &[], year).unwrap();
        let authority = RegistrationAuthority::single(ra.der().clone(), key.signing.clone(), key.decryption.clone().unwrap());
        let (journal, name) = (Arc::new(VolatileJournal::new()), "Lab CA".parse().unwrap());
        let builder = Service::builder(provider().clone(), journal, name, ca.clone(), authority, validator, lab.notifier.clone())
            .tenant("contoso.example".parse().unwrap())
            .instance("lab-1".parse().unwrap())
            .sink(lab.sink.clone())
            .runtime(lab.runtime.clone())
            .policy(IssuancePolicy::dangerous_allow_any_identity());
        let service = lab.runtime.block_on(change(builder).build()).unwrap();
        Self { lab, ca, ra, service }
    }

    pub fn post(&self, client: &Client) -> ScepResponse {
        let (message, to) = client.message(&self.ra);
        let response = self.lab.runtime.block_on(self.service.handle(Request::post("operation=PKIOperation", message)));
        client.reply(&response, &to, &self.ra)
    }
}
