//! A SCEP service with a CA, a validator, a notifier and a journal that fail when a test tells them to, and a client.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic, reason = "support of tests, each of which uses a part of it")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::adapters::{DangerousStaticChallenge, NoNotification, RecordingSink, StdRuntime, VolatileJournal};
use intune_connector::crypto::{
    ContentCipherAlgorithm, CryptoProvider, DecryptionKey, KeyTransportAlgorithm, SignatureAlgorithm, SigningKey, sign_now, unwrap_now,
};
use intune_connector::event::{Channel, Event};
use intune_connector::ids::{SerialNumber, TransactionId};
use intune_connector::limits::Limits;
use intune_connector::message::ToBeSigned;
use intune_connector::message::certificate::{Certificate, CertificateBuilder};
use intune_connector::message::crl::CrlBuilder;
use intune_connector::message::csr::{Csr, CsrBuilder};
use intune_connector::message::enveloped::{EnvelopeBuilder, LegacyCiphers};
use intune_connector::message::name::Name;
use intune_connector::message::scep::{
    Nonce, PkiRequestBuilder, ReplyTo, ScepResponse, TransactionName, next_ca_certificates_to_be_signed,
};
use intune_connector::message::signed::{LegacyDigests, Signed, SignedAttribute, SignedBuilder, SignedContent};
use intune_connector::policy::IssuancePolicy;
use intune_connector::ports::{
    CaCapabilities, CertificateAuthority, CertificatePlan, CertificateStatus, ChallengeValidator, Change, ClaimRequest, CommitAnswer,
    FailureNotification, FindAnswer, FindRequest, IssueAnswer, IssueRequest, Issued, Journal, JournalScope, JournalStats, KnownCertificate,
    LoadRequest, LookupAnswer, LookupRequest, PortError, PortErrorKind, PruneRequest, RenewRequest, RevokeAnswer, RevokeBy, RevokeCall,
    Row, RowKey, RowKind, RowState, ScepNotifier, SignNextCaRequest, StatusRequest, SuccessNotification, ValidateRequest,
    ValidatorCapabilities, Verdict,
};
use intune_connector::scep::{Persistence, RegistrationAuthority, RegistrationAuthoritySource, Request, Response, Service, ServiceBuilder};
use intune_connector::secret::{Password, PrivateKeyPkcs8};
use intune_connector::terms::{KeyAlgorithm, KeyUsage, RevocationReason, oids};
use intune_connector::time::Timestamp;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

pub const CHALLENGE: &str = "open-sesame-4711";

pub struct KeyPair {
    pub signing: Arc<dyn SigningKey>,
    pub decryption: Option<Arc<dyn DecryptionKey>>,
    pub spki: Vec<u8>,
    pub pkcs8: PrivateKeyPkcs8,
}

pub fn provider() -> &'static CryptoProvider {
    static PROVIDER: OnceLock<CryptoProvider> = OnceLock::new();
    #[cfg(feature = "ring")]
    let make = CryptoProvider::ring_and_aws_lc_rs;
    #[cfg(not(feature = "ring"))]
    let make = CryptoProvider::aws_lc_rs;
    PROVIDER.get_or_init(make)
}

pub fn key_pair(algorithm: KeyAlgorithm) -> KeyPair {
    let pkcs8 = provider().key_generation().unwrap().generate(algorithm).unwrap();
    let signing = provider().signing_keys().unwrap().load(&pkcs8).unwrap();
    let decryption = algorithm.is_rsa().then(|| provider().decryption_keys().unwrap().load(&pkcs8).unwrap());
    let spki = signing.public_key().as_ref().to_vec();
    KeyPair { signing, decryption, spki, pkcs8 }
}

/// RSA keys are slow to make: tests share a few.
pub fn shared_key(number: usize) -> &'static KeyPair {
    static KEYS: [OnceLock<KeyPair>; 4] = [const { OnceLock::new() }; 4];
    KEYS[number].get_or_init(|| key_pair(KeyAlgorithm::Rsa2048))
}

pub fn sign(key: &dyn SigningKey, unsigned: ToBeSigned) -> Vec<u8> {
    let signature = sign_now(key, unsigned.algorithm(), unsigned.message()).unwrap();
    unsigned.finish(&signature)
}

fn algorithm_of(key: &dyn SigningKey) -> SignatureAlgorithm {
    let ec = key.algorithms().into_iter().find(|algorithm| matches!(algorithm, SignatureAlgorithm::EcdsaP256Sha256));
    ec.unwrap_or(SignatureAlgorithm::RsaPkcs1Sha256)
}

pub fn name(text: &str) -> Name {
    Name::parse_cert_str(text).unwrap()
}

fn serial() -> SerialNumber {
    let mut bytes = [0x40; 16];
    provider().random().unwrap().fill(&mut bytes[1..]).unwrap();
    SerialNumber::from_be_bytes(&bytes).unwrap()
}

const HOUR: Duration = Duration::from_secs(3_600);

pub fn self_signed(subject: &str, key: &KeyPair) -> Certificate {
    let now = Timestamp::system_now();
    let unsigned = CertificateBuilder::new(name(subject), &key.spki, now.saturating_sub(HOUR), now.saturating_add(24 * HOUR), serial())
        .key_usage(KeyUsage::SIGN_AND_ENCIPHER)
        .to_be_signed(algorithm_of(key.signing.as_ref()))
        .unwrap();
    Certificate::from_der(&sign(key.signing.as_ref(), unsigned), &Limits::default()).unwrap()
}

/// What the CA does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Refuses for good.
    Reject,
    /// Fails, certainly without effect.
    Fail,
    /// Issues, and loses its answer.
    LoseAnswer,
    /// Issues, and never answers.
    Hang,
    /// Issues for another subject.
    WrongSubject,
    /// Panics.
    Panic,
    /// Holds the request for approval; so many answers of `status` say so.
    Pending { polls: u32 },
}

/// A request that the CA holds.
#[derive(Debug, Clone)]
pub struct Held {
    spki: Vec<u8>,
    plan: CertificatePlan,
    polls_left: u32,
    /// `status` refuses it for good.
    pub denied: bool,
}

/// A CA of its own for each test.
#[derive(Debug)]
pub struct TestCa {
    key: Arc<dyn SigningKey>,
    pub certificate: CertificateDer<'static>,
    name: Name,
    pub faults: Mutex<Vec<Fault>>,
    pub issued: Mutex<HashMap<[u8; 32], Vec<u8>>>,
    pub revoked: Mutex<Vec<SerialNumber>>,
    pub asks: AtomicU32,
    pub refuse_revocation: AtomicU32,
    pub held: Mutex<HashMap<[u8; 32], Held>>,
    pub polls: AtomicU32,
    /// What `status` fails with next, the last first.
    pub poll_errors: Mutex<Vec<PortError>>,
    /// Certificates end so much later than asked.
    pub longer: Mutex<Duration>,
    /// No certificate ends later.
    pub ends: Mutex<Option<Timestamp>>,
    /// What `find` gives, whatever is looked for.
    pub finds: Mutex<Option<Vec<u8>>>,
    /// Cannot be searched.
    pub blind: AtomicBool,
    /// Answers `lookup`.
    pub looks_up: AtomicBool,
    /// Gives a CRL.
    pub gives_crl: AtomicBool,
}

impl TestCa {
    pub fn new(key: &KeyPair) -> Self {
        Self::named("CN=TEST CA,O=Lab", key)
    }

    pub fn named(subject: &str, key: &KeyPair) -> Self {
        let now = Timestamp::system_now();
        let subject = name(subject);
        let usage = KeyUsage { key_cert_sign: true, crl_sign: true, ..KeyUsage::SIGN_AND_ENCIPHER };
        let unsigned =
            CertificateBuilder::new(subject.clone(), &key.spki, now.saturating_sub(HOUR), now.saturating_add(900 * 24 * HOUR), serial())
                .key_usage(usage)
                .ca(None)
                .to_be_signed(algorithm_of(key.signing.as_ref()))
                .unwrap();
        Self {
            certificate: CertificateDer::from(sign(key.signing.as_ref(), unsigned)),
            key: key.signing.clone(),
            name: subject,
            faults: Mutex::default(),
            issued: Mutex::default(),
            revoked: Mutex::default(),
            asks: AtomicU32::new(0),
            refuse_revocation: AtomicU32::new(0),
            held: Mutex::default(),
            polls: AtomicU32::new(0),
            poll_errors: Mutex::default(),
            longer: Mutex::default(),
            ends: Mutex::default(),
            finds: Mutex::default(),
            blind: AtomicBool::new(false),
            looks_up: AtomicBool::new(false),
            gives_crl: AtomicBool::new(false),
        }
    }

    /// Tells by `lookup` whether certificates count.
    pub fn that_looks_up(self) -> Self {
        self.looks_up.store(true, Ordering::SeqCst);
        self
    }

    fn issue_plan(&self, key: [u8; 32], spki: &[u8], plan: &CertificatePlan, subject: Name) -> Vec<u8> {
        let fill = |builder: CertificateBuilder| {
            let builder = builder.key_usage(plan.key_usage);
            let builder = if plan.extended_key_usage.is_empty() { builder } else { builder.extended_key_usage(&plan.extended_key_usage) };
            if plan.subject_alt_names.is_empty() { builder } else { builder.subject_alt_names(&plan.subject_alt_names) }
        };
        let not_after = plan.not_after.saturating_add(*self.longer.lock().unwrap());
        let not_after = self.ends.lock().unwrap().map_or(not_after, |ends| ends.min(not_after));
        let certificate = self.make(subject, spki, fill, not_after);
        self.issued.lock().unwrap().insert(key, certificate.clone());
        certificate
    }

    pub fn make(
        &self,
        subject: Name,
        spki: &[u8],
        fill: impl FnOnce(CertificateBuilder) -> CertificateBuilder,
        not_after: Timestamp,
    ) -> Vec<u8> {
        let now = Timestamp::system_now();
        let builder = CertificateBuilder::new(subject, spki, now.saturating_sub(HOUR), not_after, serial()).issuer(self.name.clone());
        sign(self.key.as_ref(), fill(builder).to_be_signed(algorithm_of(self.key.as_ref())).unwrap())
    }

    pub fn certificates(&self) -> usize {
        self.issued.lock().unwrap().len()
    }
}

#[async_trait]
impl CertificateAuthority for TestCa {
    fn capabilities(&self) -> CaCapabilities {
        let mut capabilities = CaCapabilities::minimal();
        capabilities.find = !self.blind.load(Ordering::SeqCst);
        // It issues before it answers, or not at all.
        capabilities.in_flight = Duration::ZERO;
        capabilities.revoke_by = vec![RevokeBy::Serial];
        capabilities.lookup_by_serial = self.looks_up.load(Ordering::SeqCst);
        capabilities
    }

    async fn issue(&self, request: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
        self.asks.fetch_add(1, Ordering::SeqCst);
        let fault = { self.faults.lock().unwrap().pop() };
        match fault {
            Some(Fault::Reject) => return Err(PortError::rejected("the CA denies it").with_code("0x80094014")),
            Some(Fault::Fail) => {
                return Err(PortError::transient("the CA is away").with_effect(intune_connector::retry::Effect::None));
            }
            Some(Fault::Panic) => panic!("the CA's code panics"),
            _ => {}
        }
        let csr = Csr::from_der(request.csr, &Limits::default()).unwrap();
        let plan = request.plan;
        if let Some(Fault::Pending { polls }) = fault {
            let held = Held { spki: csr.spki().to_vec(), plan: plan.clone(), polls_left: polls, denied: false };
            self.held.lock().unwrap().insert(*request.key.as_bytes(), held);
            return Ok(IssueAnswer::Pending { poll_id: "held".to_owned(), after: Duration::from_millis(1) });
        }
        let subject = if fault == Some(Fault::WrongSubject) { name("CN=somebody else") } else { Name::from_der(&plan.subject).unwrap() };
        let certificate = self.issue_plan(*request.key.as_bytes(), csr.spki(), plan, subject);
        if fault == Some(Fault::Hang) {
            std::future::pending::<()>().await;
        }
        if fault == Some(Fault::LoseAnswer) {
            return Err(PortError::transient("the connection broke"));
        }
        Ok(IssueAnswer::Issued(Box::new(Issued::new(CertificateDer::from(certificate)))))
    }

    async fn find(&self, request: FindRequest<'_>) -> Result<FindAnswer, PortError> {
        if self.blind.load(Ordering::SeqCst) {
            return Ok(FindAnswer::CannotTell);
        }
        let by_key = self.finds.lock().unwrap().clone();
        Ok(match by_key.as_ref().or(self.issued.lock().unwrap().get(request.key.as_bytes())) {
            Some(der) => FindAnswer::Found(Box::new(Issued::new(CertificateDer::from(der.clone())))),
            None => FindAnswer::Absent,
        })
    }

    async fn status(&self, request: StatusRequest<'_>) -> Result<IssueAnswer, PortError> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        assert_eq!(request.poll_id, "held");
        if let Some(error) = self.poll_errors.lock().unwrap().pop() {
            return Err(error);
        }
        let held = {
            let mut all = self.held.lock().unwrap();
            let held = all.get_mut(request.key.as_bytes()).unwrap();
            if held.denied {
                return Err(PortError::rejected("the CA denies it").with_code("0x80094014"));
            }
            if held.polls_left > 0 {
                held.polls_left -= 1;
                return Ok(IssueAnswer::Pending { poll_id: "held".to_owned(), after: Duration::from_millis(1) });
            }
            held.clone()
        };
        let certificate = self.issue_plan(*request.key.as_bytes(), &held.spki, &held.plan, Name::from_der(&held.plan.subject).unwrap());
        Ok(IssueAnswer::Issued(Box::new(Issued::new(CertificateDer::from(certificate)))))
    }

    async fn lookup(&self, request: LookupRequest<'_>) -> Result<LookupAnswer, PortError> {
        if !self.looks_up.load(Ordering::SeqCst) {
            return Ok(LookupAnswer::CannotTell);
        }
        let of_serial = |der: &&Vec<u8>| Certificate::from_der(der, &Limits::default()).unwrap().serial() == Some(request.serial);
        let found = self.issued.lock().unwrap().values().find(of_serial).cloned();
        let revoked = self.revoked.lock().unwrap().contains(request.serial);
        let status = if revoked { CertificateStatus::Revoked } else { CertificateStatus::Good };
        Ok(found.map_or(LookupAnswer::Absent, |der| {
            LookupAnswer::Found(Box::new(KnownCertificate::new(Some(CertificateDer::from(der)), None).with_status(status)))
        }))
    }

    async fn crl(&self) -> Result<CertificateRevocationListDer<'static>, PortError> {
        if !self.gives_crl.load(Ordering::SeqCst) {
            return Err(PortError::unsupported("this CA gives no CRL"));
        }
        let now = Timestamp::system_now();
        let mut builder = CrlBuilder::new(self.name.clone(), now.saturating_sub(HOUR), now.saturating_add(24 * HOUR), 1);
        for serial in self.revoked.lock().unwrap().iter() {
            builder = builder.revoked(serial.clone(), now, RevocationReason::KeyCompromise);
        }
        let unsigned = builder.to_be_signed(algorithm_of(self.key.as_ref())).unwrap();
        Ok(CertificateRevocationListDer::from(sign(self.key.as_ref(), unsigned)))
    }

    async fn sign_next_ca(&self, request: SignNextCaRequest<'_>) -> Result<Vec<u8>, PortError> {
        let own = Certificate::from_der(&self.certificate, &Limits::default()).unwrap();
        let algorithm = algorithm_of(self.key.as_ref());
        let unsigned = next_ca_certificates_to_be_signed(request.certificates, &own, algorithm, provider()).unwrap();
        let signature = sign_now(self.key.as_ref(), algorithm, unsigned.message()).unwrap();
        Ok(unsigned.finish(&signature))
    }

    async fn revoke(&self, call: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
        if take_one(&self.refuse_revocation) {
            return Err(PortError::transient("the CA is away"));
        }
        self.revoked.lock().unwrap().push(call.serial.clone());
        Ok(RevokeAnswer::Revoked)
    }

    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
        Ok(vec![self.certificate.clone()])
    }
}

/// A CA that only shows its chain.
#[derive(Debug)]
pub struct ChainedCa(Vec<CertificateDer<'static>>);

impl ChainedCa {
    pub fn new(chain: Vec<CertificateDer<'static>>) -> Self {
        Self(chain)
    }
}

#[async_trait]
impl CertificateAuthority for ChainedCa {
    fn capabilities(&self) -> CaCapabilities {
        CaCapabilities::minimal()
    }
    async fn issue(&self, _: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
        Err(PortError::rejected("this CA only shows its chain"))
    }
    async fn find(&self, _: FindRequest<'_>) -> Result<FindAnswer, PortError> {
        Ok(FindAnswer::CannotTell)
    }
    async fn revoke(&self, _: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
        Err(PortError::unsupported("this CA only shows its chain"))
    }
    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
        Ok(self.0.clone())
    }
}

fn take_one(counter: &AtomicU32) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

/// Counts, and fails as often as told.
#[derive(Debug, Default)]
pub struct TestNotifier {
    pub fail: AtomicU32,
    /// How it fails; otherwise as a passing fault.
    pub fail_with: Mutex<Option<PortErrorKind>>,
    pub successes: Mutex<Vec<(TransactionId, SerialNumber, String)>>,
    pub failures: Mutex<Vec<(i32, String)>>,
}

#[async_trait]
impl ScepNotifier for TestNotifier {
    async fn success(&self, notification: SuccessNotification<'_>) -> Result<(), PortError> {
        if take_one(&self.fail) {
            let kind = self.fail_with.lock().unwrap().unwrap_or(PortErrorKind::Transient);
            return Err(PortError::new(kind, "the service is away"));
        }
        let entry = (notification.transaction_id.clone(), notification.serial.clone(), notification.issuing_authority.clone());
        self.successes.lock().unwrap().push(entry);
        Ok(())
    }

    async fn failure(&self, notification: FailureNotification<'_>) -> Result<(), PortError> {
        if take_one(&self.fail) {
            return Err(PortError::transient("the service is away"));
        }
        self.failures.lock().unwrap().push((notification.hresult, notification.description));
        Ok(())
    }
}

/// The static challenge, counted, and away when told.
#[derive(Debug)]
pub struct TestValidator {
    challenge: DangerousStaticChallenge,
    pub calls: AtomicU32,
    pub away: AtomicU32,
}

#[async_trait]
impl ChallengeValidator for TestValidator {
    fn capabilities(&self) -> ValidatorCapabilities {
        self.challenge.capabilities()
    }

    async fn validate(&self, request: ValidateRequest<'_>) -> Result<Verdict, PortError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if take_one(&self.away) {
            return Err(PortError::transient("the validation service is away"));
        }
        self.challenge.validate(request).await
    }
}

/// Refuses to store rows of a kind when told.
#[derive(Debug, Default)]
pub struct TestJournal {
    pub rows: VolatileJournal,
    /// A journal that has the rows in place of `rows`.
    pub instead: Option<Arc<dyn Journal>>,
    pub refuse: Mutex<Option<RowKind>>,
    /// Refuses to store rows in these states.
    pub refuse_states: Mutex<Vec<RowState>>,
}

impl TestJournal {
    fn inner(&self) -> &dyn Journal {
        self.instead.as_deref().unwrap_or(&self.rows)
    }
}

#[async_trait]
impl Journal for TestJournal {
    fn scope(&self) -> JournalScope {
        self.inner().scope()
    }
    fn is_durable(&self) -> bool {
        self.inner().is_durable()
    }
    async fn load(&self, request: LoadRequest) -> Result<Vec<Row>, PortError> {
        self.inner().load(request).await
    }
    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<CommitAnswer>, PortError> {
        let refused = *self.refuse.lock().unwrap();
        let states = self.refuse_states.lock().unwrap().clone();
        if changes.iter().any(|change| Some(change.row.key.kind) == refused || states.contains(&change.row.state)) {
            return Err(PortError::transient("no space left on device"));
        }
        self.inner().commit(changes).await
    }
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Row>, PortError> {
        self.inner().claim(request).await
    }
    async fn renew(&self, request: RenewRequest) -> Result<Vec<RowKey>, PortError> {
        self.inner().renew(request).await
    }
    async fn prune(&self, request: PruneRequest) -> Result<u64, PortError> {
        self.inner().prune(request).await
    }
    async fn stats(&self) -> Result<JournalStats, PortError> {
        self.inner().stats().await
    }
}

pub struct Lab {
    pub ca: Arc<TestCa>,
    pub ra: Certificate,
    pub notifier: Arc<TestNotifier>,
    pub validator: Arc<TestValidator>,
    pub journal: Arc<TestJournal>,
    pub sink: Arc<RecordingSink>,
    pub runtime: Arc<StdRuntime>,
    pub service: Service,
    transactions: AtomicU64,
}

impl Lab {
    pub fn new(change: impl FnOnce(ServiceBuilder) -> ServiceBuilder) -> Self {
        Self::with_ca(TestCa::new(shared_key(0)), change)
    }

    pub fn with_ca(ca: TestCa, change: impl FnOnce(ServiceBuilder) -> ServiceBuilder) -> Self {
        Self::on(provider().clone(), ca, change)
    }

    /// With that provider for the service alone.
    pub fn on(service: CryptoProvider, ca: TestCa, change: impl FnOnce(ServiceBuilder) -> ServiceBuilder) -> Self {
        Self::on_journal(service, ca, TestJournal::default(), change)
    }

    /// With rows in that journal.
    pub fn with_journal(journal: Arc<dyn Journal>, change: impl FnOnce(ServiceBuilder) -> ServiceBuilder) -> Self {
        Self::with_provider_and_journal(provider().clone(), journal, change)
    }

    /// With that provider for the service alone, and rows in that journal.
    pub fn with_provider_and_journal(
        service: CryptoProvider,
        journal: Arc<dyn Journal>,
        change: impl FnOnce(ServiceBuilder) -> ServiceBuilder,
    ) -> Self {
        let journal = TestJournal { instead: Some(journal), ..TestJournal::default() };
        Self::on_journal(service, TestCa::new(shared_key(0)), journal, change)
    }

    fn on_journal(
        service: CryptoProvider,
        ca: TestCa,
        journal: TestJournal,
        change: impl FnOnce(ServiceBuilder) -> ServiceBuilder,
    ) -> Self {
        let ra_key = shared_key(1);
        let until = Timestamp::system_now().saturating_add(500 * 24 * HOUR);
        let ra = ca.make(name("CN=TEST RA"), &ra_key.spki, |builder| builder.key_usage(KeyUsage::SIGN_AND_ENCIPHER), until);
        let ra = Certificate::from_der(&ra, &Limits::default()).unwrap();
        let authority = RegistrationAuthority::single(ra.der().clone(), ra_key.signing.clone(), ra_key.decryption.clone().unwrap());
        let (ca, notifier, journal) = (Arc::new(ca), Arc::new(TestNotifier::default()), Arc::new(journal));
        let validator = Arc::new(TestValidator {
            challenge: DangerousStaticChallenge::new(Password::from(CHALLENGE)).unwrap(),
            calls: AtomicU32::new(0),
            away: AtomicU32::new(0),
        });
        let (sink, runtime) = (Arc::new(RecordingSink::new()), Arc::new(StdRuntime::new().unwrap()));
        let policy = IssuancePolicy::dangerous_allow_any_identity();
        let builder = Service::builder(
            service,
            journal.clone(),
            "Lab CA".parse().unwrap(),
            ca.clone(),
            authority,
            validator.clone(),
            notifier.clone(),
        )
        .tenant("contoso.example".parse().unwrap())
        .instance("lab-1".parse().unwrap())
        .sink(sink.clone())
        .runtime(runtime.clone())
        .policy(policy)
        .persistence(Persistence::default().with_backoff(Duration::from_millis(5), Duration::from_secs(60)));
        let service = runtime.block_on(change(builder).build()).unwrap();
        Self { ca, ra, notifier, validator, journal, sink, runtime, service, transactions: AtomicU64::new(1) }
    }

    /// A further service before the same CA, with that journal.
    pub fn builder(&self, journal: Arc<dyn Journal>) -> ServiceBuilder {
        self.builder_with(journal, self.validator.clone())
    }

    pub fn builder_with(&self, journal: Arc<dyn Journal>, validator: Arc<dyn ChallengeValidator>) -> ServiceBuilder {
        let ra_key = shared_key(1);
        let ra = RegistrationAuthority::single(self.ra.der().clone(), ra_key.signing.clone(), ra_key.decryption.clone().unwrap());
        self.builder_before(journal, ra, validator)
    }

    pub fn builder_before(
        &self,
        journal: Arc<dyn Journal>,
        ra: impl Into<RegistrationAuthoritySource>,
        validator: Arc<dyn ChallengeValidator>,
    ) -> ServiceBuilder {
        self.builder_telling(self.notifier.clone(), journal, ra, validator)
    }

    /// Tells nobody.
    pub fn silent_builder(&self, journal: Arc<dyn Journal>) -> ServiceBuilder {
        let ra_key = shared_key(1);
        let ra = RegistrationAuthority::single(self.ra.der().clone(), ra_key.signing.clone(), ra_key.decryption.clone().unwrap());
        self.builder_telling(Arc::new(NoNotification), journal, ra, self.validator.clone())
    }

    fn builder_telling(
        &self,
        notifier: Arc<dyn ScepNotifier>,
        journal: Arc<dyn Journal>,
        ra: impl Into<RegistrationAuthoritySource>,
        validator: Arc<dyn ChallengeValidator>,
    ) -> ServiceBuilder {
        Service::builder(provider().clone(), journal, "Lab CA".parse().unwrap(), self.ca.clone(), ra, validator, notifier)
            .tenant("contoso.example".parse().unwrap())
            .instance("lab-1".parse().unwrap())
            .sink(self.sink.clone())
            .runtime(self.runtime.clone())
            .policy(IssuancePolicy::dangerous_allow_any_identity())
            .persistence(Persistence::default().with_backoff(Duration::from_millis(5), Duration::from_secs(60)))
    }

    pub fn handle(&self, request: Request) -> Response {
        self.runtime.block_on(self.service.handle(request))
    }

    pub fn post(&self, message: &[u8]) -> Response {
        self.handle(Request::post("operation=PKIOperation", message.to_vec()))
    }

    /// A request as a well-behaved client makes it.
    pub fn client(&self) -> Client {
        let number = self.transactions.fetch_add(1, Ordering::SeqCst);
        Client::new(shared_key(2), &format!("CN=device-{number}"), &format!("transaction+{number}/="))
    }

    /// The codes of the events about SCEP requests, in order, of the documented ones and 6, 9, 11.
    pub fn codes(&self) -> Vec<u16> {
        self.sink.events().iter().map(|event| event.id.code()).collect()
    }

    pub fn admin(&self) -> Vec<Event> {
        self.sink.events().into_iter().filter(|event| event.id.channel() == Channel::Admin).collect()
    }
}

pub struct Client {
    pub key: &'static KeyPair,
    pub signer: Certificate,
    pub csr: Vec<u8>,
    pub transaction: TransactionId,
}

impl Client {
    pub fn new(key: &'static KeyPair, subject: &str, transaction: &str) -> Self {
        Self::with_challenge(key, subject, transaction, CHALLENGE)
    }

    pub fn with_challenge(key: &'static KeyPair, subject: &str, transaction: &str, challenge: &str) -> Self {
        let csr = CsrBuilder::new(name(subject), &key.spki)
            .challenge_password(&Password::from(challenge))
            .extended_key_usage(&[oids::CLIENT_AUTH.parse().unwrap()])
            .subject_alt_names(&[intune_connector::terms::SubjectAltName::Dns("device.lab.example".to_owned())])
            .to_be_signed(algorithm_of(key.signing.as_ref()))
            .unwrap();
        Self {
            signer: self_signed(subject, key),
            csr: sign(key.signing.as_ref(), csr),
            key,
            transaction: TransactionId::try_from(transaction.as_bytes().to_vec()).unwrap(),
        }
    }

    pub fn message(&self, server: &Certificate) -> (Vec<u8>, ReplyTo) {
        self.message_with(server, PkiRequestBuilder::pkcs_req(self.transaction.clone(), &self.csr))
    }

    pub fn message_with(&self, server: &Certificate, builder: PkiRequestBuilder<'_>) -> (Vec<u8>, ReplyTo) {
        let algorithm = algorithm_of(self.key.signing.as_ref());
        let unsigned = builder.to_be_signed(&self.signer, server, algorithm, provider()).unwrap();
        let signature = sign_now(self.key.signing.as_ref(), algorithm, unsigned.message()).unwrap();
        unsigned.finish(&signature)
    }

    /// A PKCSReq whose encrypted content has one wrong bit, under a good signature.
    pub fn damaged_message(&self, server: &Certificate, from_the_end: usize) -> (Vec<u8>, ReplyTo) {
        let mut envelope = EnvelopeBuilder::new(ContentCipherAlgorithm::Aes128Cbc, KeyTransportAlgorithm::RsaPkcs1v15)
            .recipient(server)
            .build(&self.csr, provider())
            .unwrap();
        let at = envelope.len() - from_the_end;
        envelope[at] ^= 1;
        let sign = |message: &[u8]| sign_now(self.key.signing.as_ref(), SignatureAlgorithm::RsaPkcs1Sha256, message).unwrap();
        self.message_around(&envelope, SignatureAlgorithm::RsaPkcs1Sha256, sign)
    }

    /// A PKCSReq with that envelope, whatever it is, under a good signature.
    pub fn message_around(
        &self,
        envelope: &[u8],
        algorithm: SignatureAlgorithm,
        sign: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> (Vec<u8>, ReplyTo) {
        let (transaction, nonce) = (TransactionName::new(self.transaction.clone()), Nonce::random(provider()).unwrap());
        let attribute = |arc: u8| format!("2.16.840.1.113733.1.9.{arc}").parse().unwrap();
        let unsigned = SignedBuilder::new(SignedContent::Attached(envelope))
            .attribute(SignedAttribute::printable_string(attribute(2), "19"))
            .attribute(SignedAttribute::from_der(attribute(7), transaction.to_der()))
            .attribute(SignedAttribute::octet_string(attribute(5), nonce.as_bytes()))
            .certificate(self.signer.der())
            .to_be_signed(&self.signer, algorithm, provider())
            .unwrap();
        let signature = sign(unsigned.message());
        (unsigned.finish(&signature), ReplyTo::new(transaction, nonce))
    }

    /// Reads the reply, as signed by `server`.
    pub fn reply(&self, response: &Response, to: &ReplyTo, server: &Certificate) -> ScepResponse {
        assert_eq!((response.status, response.media_type), (200, "application/x-pki-message"), "{response:?}");
        ScepResponse::parse(&response.body, to, server, LegacyDigests::Refuse, provider(), &Limits::default()).unwrap()
    }

    /// The certificate in a SUCCESS; it must be alone and for the client's key.
    pub fn certificate(&self, reply: &ScepResponse) -> Certificate {
        self.certificate_for(reply, &self.key.spki)
    }

    /// The certificate in a SUCCESS, which the client's key decrypts; it must be alone and for that key.
    pub fn certificate_for(&self, reply: &ScepResponse, spki: &[u8]) -> Certificate {
        let signed = self.content(reply);
        let certificates: Vec<_> = signed.certificates().collect();
        assert_eq!(certificates.len(), 1, "the envelope holds the issued certificate alone");
        let certificate = Certificate::from_der(certificates[0].as_ref(), &Limits::default()).unwrap();
        assert_eq!(certificate.spki(), spki);
        certificate
    }

    /// What is in the envelope of a SUCCESS.
    pub fn content(&self, reply: &ScepResponse) -> Signed {
        let mut opening = reply.open(LegacyCiphers::Refuse, &Limits::default()).unwrap();
        let request = opening.unwrap_request(&self.signer, provider()).unwrap();
        let unwrapped = unwrap_now(self.key.decryption.as_deref().unwrap(), &request);
        let content = opening.finish(unwrapped, provider()).unwrap();
        Signed::parse(content.secret_bytes(), &Limits::default()).unwrap()
    }
}

/// An EnvelopedData with single DES and PKCS#1 v1.5, which the crate does not write.
pub fn single_des_envelope(recipient: &Certificate, content: &[u8]) -> Vec<u8> {
    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let mut out = vec![tag];
        match u16::try_from(content.len()).unwrap() {
            len @ 0..0x80 => out.push(len as u8),
            len => out.extend([0x82, (len >> 8) as u8, len as u8]),
        }
        out.extend(content);
        out
    }
    const RSA_ENCRYPTION: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 0x05, 0];
    const DATA: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
    const ENVELOPED_DATA: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 3];
    const DES_CBC: &[u8] = &[0x06, 5, 0x2b, 0x0e, 3, 2, 7];
    let (mut key, mut iv) = ([0; 8], [0; 8]);
    provider().random().unwrap().fill(&mut key).unwrap();
    provider().random().unwrap().fill(&mut iv).unwrap();
    // 3DES with the same key three times is single DES.
    let cipher = provider().content_cipher().unwrap();
    let encrypted = cipher.encrypt(ContentCipherAlgorithm::DesEde3Cbc, &key.repeat(3), &iv, content).unwrap();
    let transport = provider().key_transport().unwrap();
    let wrapped = transport.encrypt(KeyTransportAlgorithm::RsaPkcs1v15, recipient.spki(), &key).unwrap();
    let rid = der(0x30, &[recipient.issuer().as_der(), &der(0x02, &[recipient.serial_raw()])]);
    let ktri = der(0x30, &[&[2, 1, 0], &rid, &der(0x30, &[RSA_ENCRYPTION]), &der(0x04, &[&wrapped])]);
    let content = der(0x30, &[DATA, &der(0x30, &[DES_CBC, &der(0x04, &[&iv])]), &der(0x80, &[&encrypted])]);
    let enveloped = der(0x30, &[&[2, 1, 0], &der(0x31, &[&ktri]), &content]);
    der(0x30, &[ENVELOPED_DATA, &der(0xa0, &[&enveloped])])
}
