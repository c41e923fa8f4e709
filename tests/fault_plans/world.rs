//! One plan: a tenant, its CA, the connector and the SCEP service, all in one process on one virtual clock.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use futures_util::future::{Either, join, join_all, join3, select};
use intune_connector::adapters::entra::{ClientCredentials, Credential};
use intune_connector::adapters::http::HttpTransport;
use intune_connector::adapters::http_queue::{HttpQueue, HttpQueueConfig, QueueAuthentication, StaticToken};
use intune_connector::adapters::intune::{IntuneOnline, IntuneRevocations, IntuneScep};
use intune_connector::adapters::{
    LocalCa, LocalCaFault, LocalCaFaults, MemoryDecryptionKeys, RecordingSink, Repeats, VirtualRuntime, VolatileJournal,
};
use intune_connector::connector::{Connector, QueueSettings};
use intune_connector::crypto::{ContentCipherAlgorithm, CryptoProvider, KeyTransportAlgorithm};
use intune_connector::health::HealthConfig;
use intune_connector::ids::{CaName, RequestId, SerialNumber};
use intune_connector::import::{GeneratedImportKey, ImportConfig, generate_import_key};
use intune_connector::message::certificate::Certificate;
use intune_connector::message::enveloped::EnvelopeBuilder;
use intune_connector::message::name::Name;
use intune_connector::message::pfx::{PfxBuilder, PfxProfile};
use intune_connector::message::reencrypt::{LegacyPadding, encrypt_password};
use intune_connector::pkcs::PkcsConfig;
use intune_connector::policy::{IssuancePolicy, RecipientPolicy};
use intune_connector::ports::{
    CertificateAuthority, ImportKeyName, ImportRequest, IntuneQueue, Journal, Payload, PkcsRequest, QueueItem, RecryptRequest, RequestMeta,
    Runtime as _,
};
use intune_connector::recrypt::{RecryptConfig, RecryptKey};
use intune_connector::revoke::RevokeConfig;
use intune_connector::scep::{NotificationPolicy, RegistrationAuthority, Service};
use intune_connector::secret::{Password, SecretBytes};
use intune_connector::sim::{
    Endpoint, ExpectedCsr, FaultPlan, OpenQueue, OpenQueueSettings, PlayedFault, RevocationRequest, SimulatedIntune,
};
use intune_connector::terms::{Flow, KeyAlgorithm, KeyUsage, PaddingScheme, SubjectAltName, oids};
use intune_connector::time::Timestamp;

use crate::device::{KEYS, Refused, enrol};
use crate::doom::{Doom, Door, Mortal};
use crate::judge;
use crate::random::Seeded;

pub const IMPORT_PASSWORD: &str = "import-me";
pub const PAYLOAD: &[u8] = b"a stored PKCS payload";
const START: Timestamp = Timestamp::from_secs(1_800_000_000);
const DAY: Duration = Duration::from_secs(86_400);
pub const DEVICES: usize = 5;
/// Challenges that a device gets, one after the other.
const ROUNDS: usize = 20;
/// A plan that is not done by then has lost something.
const GIVE_UP: Duration = Duration::from_secs(20 * 3_600);
/// What the journals hold is sealed with it, across restarts.
const SEALING_KEY: [u8; 32] = [7; 32];

struct Imported {
    key: GeneratedImportKey,
    pfx: Vec<u8>,
}

static IMPORTED: LazyLock<Imported> = LazyLock::new(|| {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let ca = LocalCa::new(provider.clone(), "S/MIME CA".parse().unwrap(), KeyAlgorithm::EcP256).unwrap();
    let own = provider.key_generation().unwrap().generate(KeyAlgorithm::EcP256).unwrap();
    let spki = provider.signing_keys().unwrap().load(&own).unwrap().public_key();
    let subject = Name::parse_cert_str("CN=Jane Doe").unwrap();
    let certificate = ca.issue_service_certificate(subject, &spki, KeyUsage::SIGN_AND_ENCIPHER, &[], DAY).unwrap();
    let pfx = PfxBuilder::new(PfxProfile::Modern)
        .key(&own)
        .certificate(certificate.der())
        .iterations(2_000)
        .build(&Password::from(IMPORT_PASSWORD), &provider)
        .unwrap();
    Imported { key: generate_import_key(&provider, KeyAlgorithm::Rsa2048).unwrap(), pfx: pfx.secret_bytes().to_vec() }
});

/// What a plan came to.
pub struct Played {
    pub requests: u64,
    pub faults: u64,
    pub calls: u64,
    /// The faults among the calls.
    pub played: Vec<PlayedFault>,
    pub restarts: u64,
    pub wrong: Vec<String>,
}

/// What the judge looks at.
pub struct World {
    pub provider: CryptoProvider,
    pub intune: SimulatedIntune,
    pub queue: Arc<OpenQueue>,
    pub ca: Arc<LocalCa>,
    pub sink: Arc<RecordingSink>,
    /// Whose results are encrypted to it: key 0.
    pub recipient: Certificate,
    pub queued: Vec<(Flow, RequestId)>,
    pub revocations: BTreeMap<String, SerialNumber>,
    /// By transactionID.
    pub enrolled: Mutex<Vec<(String, Result<Certificate, Refused>)>>,
    /// How long it took.
    pub time: Duration,
    pub restarts: u64,
    devices_done: AtomicUsize,
    /// The queue has delivered again what it had results of.
    delivered_again: AtomicBool,
    door: Door,
}

/// What is there after a restart.
#[derive(Default)]
struct Disk {
    connector: Arc<VolatileJournal>,
    service: Arc<VolatileJournal>,
}

pub fn play(seed: u64) -> Played {
    let random = Arc::new(Seeded::new(seed));
    let provider = CryptoProvider::ring_and_aws_lc_rs().with_random(Arc::new(Seeded::new(seed ^ 0x5eed)));
    let runtime = VirtualRuntime::new(START);
    let shared: Arc<VirtualRuntime> = Arc::new(runtime.clone());
    let ca_name: CaName = "Contoso Issuing CA".parse().unwrap();
    let clock = runtime.clone();
    let ca = LocalCa::with_clock(provider.clone(), ca_name.clone(), KeyAlgorithm::EcP256, move || clock.now()).unwrap();
    // A CA that knows a repeated request, or one that must be searched.
    let ca = Arc::new(if random.below(2) == 0 { ca } else { ca.repeats(Repeats::IssueAgain) });
    let certified = |name: &str, key: usize| {
        let subject = Name::parse_cert_str(&format!("CN={name}")).unwrap();
        let spki = KEYS[key].signing.public_key();
        ca.issue_service_certificate(subject, &spki, KeyUsage::SIGN_AND_ENCIPHER, &[], 90 * DAY).unwrap()
    };
    let (recipient, stored, ra) = (certified("device", 0), certified("connector", 1), certified("RA", 2));

    let settings = OpenQueueSettings::new("contoso.example".parse().unwrap()).with_token(Password::from("token-of-the-queue"));
    let queue = Arc::new(OpenQueue::new(settings, shared.clone()));
    let answering = Arc::clone(&queue);
    // What becomes of a download whose answer is lost is not public: Intune gives the requests out again after the cool-down, or never. In
    // plans of the second kind no answer to a download is lost, so that each request that was given out must come through the restart.
    let is_offered_once = seed % 4 == 3;
    let faults =
        if is_offered_once { FaultPlan::harsh().with_rate_at(Endpoint::DownloadRevocationRequests, 0) } else { FaultPlan::harsh() };
    let intune = SimulatedIntune::builder(provider.clone(), shared.clone())
        .seed(seed)
        .faults(faults)
        .offer_unanswered_revocations_again(!is_offered_once)
        .open_queue(move |request| answering.handle(request))
        .build()
        .unwrap();
    let mut world = World {
        provider: provider.clone(),
        intune,
        queue,
        ca,
        sink: Arc::new(RecordingSink::new()),
        recipient,
        queued: Vec::new(),
        revocations: BTreeMap::new(),
        enrolled: Mutex::default(),
        time: Duration::ZERO,
        restarts: 0,
        devices_done: AtomicUsize::new(0),
        delivered_again: AtomicBool::new(false),
        door: Door::default(),
    };
    world.fill(&random, &stored);
    let ca_faults = arrange_ca_faults(&world.ca, &random);

    let notification = if random.below(2) == 0 { NotificationPolicy::NotifyBeforeRelease } else { NotificationPolicy::IssueThenNotify };
    // Every second plan ends the process in its work: at a call or a commit, and so again for up to two of its successors.
    let mut ends: Vec<u64> = (0..if seed.is_multiple_of(2) { 0 } else { 1 + random.below(3) }).map(|_| 1 + random.below(400)).collect();
    let mut restarts = 0;
    let disk = Disk::default();
    let lives = async {
        loop {
            let doom = Doom::after(ends.pop());
            let life = world.live(&disk, &shared, (&stored, &ra), notification, &doom);
            match select(pin!(life), pin!(doom.fallen())).await {
                Either::Left(_) => break,
                Either::Right(_) => {
                    world.door.close();
                    restarts += 1;
                    runtime.sleep(Duration::from_secs(random.below(600))).await;
                }
            }
        }
    };
    let devices = (0..DEVICES).map(|number| world.device(number, &runtime, &ra));
    let done = runtime.block_on(join3(lives, join_all(devices), world.deliver_again(&runtime)));
    (world.time, world.restarts) = (runtime.monotonic(), restarts);
    let mut wrong = judge::wrong(&world);
    if !world.is_done() {
        wrong.push("something is still open: it waits for ever, or is done again and again".to_owned());
    }
    if done.is_err() {
        wrong.push("everything waits for something that never comes".to_owned());
    }
    let (calls, played) = (world.intune.arrivals().len() as u64, world.intune.played_faults());
    Played {
        requests: (world.queued.len() + world.revocations.len() + world.enrolled.lock().unwrap().len()) as u64,
        faults: played.len() as u64 + ca_faults,
        played,
        calls,
        restarts,
        wrong,
    }
}

fn arrange_ca_faults(ca: &LocalCa, random: &Seeded) -> u64 {
    let mut faults = LocalCaFaults::none();
    let mut count = 0;
    for _ in 0..2 + random.below(4) {
        faults = faults.then(random.below(4) as u32, LocalCaFault::None);
        let fault = [LocalCaFault::LoseAnswer, LocalCaFault::FailTransiently, LocalCaFault::LoseAnswer][random.below(3) as usize].clone();
        faults = faults.then(1, fault);
        count += 1;
    }
    let failing = random.below(3) as u32;
    ca.inject_faults(faults.fail_revocations(failing));
    count + u64::from(failing)
}

/// What reaches Intune.
struct Clients {
    online: Arc<IntuneOnline>,
    queue: Arc<dyn IntuneQueue>,
    revocations: Arc<dyn IntuneQueue>,
}

impl Clients {
    fn new(world: &World, journal: Arc<dyn Journal>, runtime: &Arc<VirtualRuntime>, doom: &Arc<Doom>) -> Self {
        let transport: Arc<dyn HttpTransport> = Arc::new(Mortal::new(world.intune.transport(), doom));
        let (intune, provider) = (&world.intune, &world.provider);
        let secret = Credential::client_secret(Password::from(intune.client_secret()));
        let tokens = ClientCredentials::builder(intune.tenant_id(), intune.client_id(), secret)
            .authority(intune.cloud().authority)
            .build(transport.clone(), runtime.clone(), provider.clone())
            .unwrap();
        let online = IntuneOnline::builder(intune.tenant_id(), Arc::new(tokens), transport.clone(), runtime.clone(), provider.clone())
            .cloud(intune.cloud())
            .build()
            .unwrap();
        let online = Arc::new(online);
        let tenant = "contoso.example".parse().unwrap();
        let revocations = IntuneRevocations::builder(online.clone(), journal, tenant, runtime.clone(), provider.clone())
            .sealing_key(SecretBytes::copy_from(&SEALING_KEY))
            .build()
            .unwrap();
        let authentication = QueueAuthentication::bearer(Arc::new(StaticToken::new(Password::from("token-of-the-queue")).unwrap()), "");
        let base = intune.cloud().graph;
        let config = HttpQueueConfig::new(base, "contoso.example".parse().unwrap(), authentication);
        let mut capabilities = intune_connector::ports::QueueCapabilities::new(vec![Flow::Pkcs, Flow::PkcsRecrypt, Flow::PkcsImport]);
        capabilities.lease = Some(Duration::from_secs(300));
        let queue = HttpQueue::with_capabilities(config, transport, runtime.clone(), provider.clone(), capabilities).unwrap();
        Self { online, queue: Arc::new(queue), revocations: Arc::new(revocations) }
    }
}

impl World {
    fn fill(&mut self, random: &Seeded, stored: &Certificate) {
        for number in 0..6 + random.below(4) {
            let account = format!("user{number}@contoso.example");
            let mut request = PkcsRequest::new(self.ca.name().clone(), format!("CN={account}"), self.recipient.der().clone());
            request.subject_alt_names = vec![SubjectAltName::Upn(account)];
            request.extended_key_usage = vec![oids::CLIENT_AUTH.parse().unwrap()];
            request.key = KeyAlgorithm::EcP256;
            self.push(Flow::Pkcs, number, Payload::Pkcs(Box::new(request)));
        }
        for number in 0..3 + random.below(2) {
            let payload = EnvelopeBuilder::new(ContentCipherAlgorithm::Aes256Cbc, KeyTransportAlgorithm::RsaOaepSha256)
                .recipient(stored)
                .build(PAYLOAD, &self.provider)
                .unwrap();
            let request = RecryptRequest::new(payload, self.recipient.der().clone());
            self.push(Flow::PkcsRecrypt, number, Payload::Recrypt(Box::new(request)));
        }
        for number in 0..3 + random.below(2) {
            let (scheme, imported) = (PaddingScheme::OaepSha256, &*IMPORTED);
            let password = Password::from(IMPORT_PASSWORD);
            let spki = imported.key.public_key.spki();
            let encrypted = encrypt_password(&self.provider, spki, scheme, LegacyPadding::Refuse, &password).unwrap();
            let pfx = SecretBytes::copy_from(&imported.pfx);
            let request = ImportRequest::new(import_key_name(), scheme, encrypted, pfx, self.recipient.der().clone());
            self.push(Flow::PkcsImport, number, Payload::Import(Box::new(request)));
        }
        for number in 0..3 + random.below(3) {
            let subject = Name::parse_cert_str(&format!("CN=left the company {number}")).unwrap();
            let spki = KEYS[3].signing.public_key();
            let left = self.ca.issue_service_certificate(subject, &spki, KeyUsage::SIGN_AND_ENCIPHER, &[], DAY).unwrap();
            let serial = left.serial().unwrap().clone();
            let request = RevocationRequest::new(serial.to_string()).with_issuer_name(self.ca.name().as_str());
            let context = self.intune.enqueue_revocation(request).unwrap();
            self.revocations.insert(context, serial);
        }
    }

    fn push(&mut self, flow: Flow, number: u64, payload: Payload) {
        let id: RequestId = format!("{flow}-{number}").parse().unwrap();
        let mut meta = RequestMeta::new(id.clone(), "contoso.example".parse().unwrap(), flow);
        meta.device = Some("device".parse().unwrap());
        self.queue.enqueue(QueueItem::new(meta, payload)).unwrap();
        self.queued.push((flow, id));
    }

    /// A device that enrols until it has a certificate; for each failure it gets another challenge, under another transactionID.
    async fn device(&self, number: usize, runtime: &VirtualRuntime, ra: &Certificate) {
        for round in 0..ROUNDS {
            let name = format!("scep-{number}-{round}");
            let expected = ExpectedCsr::new(format!("CN={name}"))
                .with_subject_alt_names([SubjectAltName::Dns(format!("{name}.contoso.example"))])
                .with_key_usage(Some(KeyUsage::SIGN_AND_ENCIPHER))
                .with_extended_key_usage([oids::CLIENT_AUTH.parse().unwrap()]);
            let challenge = self.intune.issue_challenge(&expected).unwrap().challenge;
            let got = enrol(&self.provider, runtime, &self.door, ra, (number, &name, challenge.secret_str().unwrap())).await;
            let again = matches!(got, Err(Refused::ForGood)) && round + 1 < ROUNDS;
            self.enrolled.lock().unwrap().push((name, got));
            if !again {
                break;
            }
        }
        self.devices_done.fetch_add(1, Ordering::SeqCst);
    }

    /// The connector knows that its results were taken: each request has its Admin event.
    fn has_told_the_operator(&self) -> bool {
        let told = judge::admin_events(self);
        self.queued.iter().all(|key| told.contains_key(key))
    }

    /// Once all have results, the queue delivers each request once more, as queues do now and then.
    async fn deliver_again(&self, runtime: &VirtualRuntime) {
        while !self.is_answered() && !self.is_lost(runtime) {
            runtime.sleep(Duration::from_secs(10)).await;
        }
        self.queued.iter().for_each(|(flow, id)| assert!(self.queue.offer_again(*flow, id)));
        self.delivered_again.store(true, Ordering::SeqCst);
    }

    /// There is nothing left to wait for.
    fn is_lost(&self, runtime: &VirtualRuntime) -> bool {
        runtime.monotonic() >= GIVE_UP || !self.queue.changed_results().is_empty()
    }

    fn is_answered(&self) -> bool {
        self.queue.waiting() == 0 && self.queue.unanswered().is_empty() && self.queue.leases().is_empty()
    }

    fn is_done(&self) -> bool {
        self.delivered_again.load(Ordering::SeqCst)
            && self.is_answered()
            && self.intune.open_revocations().is_empty()
            && self.devices_done.load(Ordering::SeqCst) == DEVICES
    }

    /// A process ended in its work.
    pub fn was_ended(&self) -> bool {
        self.restarts > 0
    }

    /// What one process does, until all is done.
    async fn live(
        &self,
        disk: &Disk,
        runtime: &Arc<VirtualRuntime>,
        (stored, ra): (&Certificate, &Certificate),
        notification: NotificationPolicy,
        doom: &Arc<Doom>,
    ) {
        let journal: Arc<dyn Journal> = Arc::new(Mortal::new(disk.connector.clone(), doom));
        let clients = Clients::new(self, journal.clone(), runtime, doom);
        let connector = self.connector(&clients, journal, runtime, stored, doom);
        let service = Arc::new(self.service(&clients, disk, runtime, ra, notification, doom).await);
        self.door.open(service.clone(), doom);
        let is_over = || (self.is_done() && self.has_told_the_operator()) || self.is_lost(runtime);
        let upkeep = async {
            while !is_over() {
                service.maintain(runtime.now()).await;
                runtime.sleep(Duration::from_secs(30)).await;
            }
        };
        let stop = async {
            while !is_over() {
                runtime.sleep(Duration::from_secs(10)).await;
            }
        };
        join(connector.run_until(stop), upkeep).await;
        // Two days for what is left: a stored notification whose turn is in two hours is told, and what a client did not come back for is revoked
        // a day later.
        for _ in 0..100 {
            service.maintain(runtime.now()).await;
            runtime.sleep(Duration::from_secs(1_800)).await;
        }
    }

    fn connector(
        &self,
        clients: &Clients,
        journal: Arc<dyn Journal>,
        runtime: &Arc<VirtualRuntime>,
        stored: &Certificate,
        doom: &Arc<Doom>,
    ) -> Connector {
        let ca: Arc<dyn CertificateAuthority> = Arc::new(Mortal::new(self.ca.clone(), doom));
        let settings = || QueueSettings::new(clients.queue.clone()).with_max_attempts(20);
        let issuance =
            IssuancePolicy::deny_all().allow_upn_suffix("contoso.example").allow_extended_key_usage(oids::CLIENT_AUTH.parse().unwrap());
        let recipients = RecipientPolicy::new().trust_root(self.ca.certificate().der().clone());
        let pkcs = PkcsConfig::new(clients.queue.clone(), self.ca.name().clone(), ca.clone(), issuance, recipients.clone());
        let recrypt = RecryptKey::new(stored.der().clone(), KEYS[1].decryption.clone());
        let recrypt = RecryptConfig::new(clients.queue.clone(), recrypt, recipients.clone());
        let keys = MemoryDecryptionKeys::new();
        keys.insert(import_key_name(), IMPORTED.key.decryption_key.clone());
        let import = ImportConfig::new(clients.queue.clone(), Arc::new(keys), recipients);
        let revoke = RevokeConfig::new(clients.revocations.clone(), self.ca.name().clone(), ca)
            .with_settings(QueueSettings::new(clients.revocations.clone()).with_poll_interval(Duration::from_secs(60)));
        Connector::builder(self.provider.clone(), journal)
            .sealing_key(SecretBytes::copy_from(&SEALING_KEY))
            .tenant("contoso.example".parse().unwrap())
            .instance("one".parse().unwrap())
            .runtime(runtime.clone())
            .sink(self.sink.clone())
            .flow(pkcs.with_settings(settings()))
            .flow(recrypt.with_settings(settings()))
            .flow(import.with_settings(settings()))
            .flow(revoke)
            .health(HealthConfig::new(clients.queue.clone()))
            .build()
            .unwrap()
    }

    async fn service(
        &self,
        clients: &Clients,
        disk: &Disk,
        runtime: &Arc<VirtualRuntime>,
        ra: &Certificate,
        notification: NotificationPolicy,
        doom: &Arc<Doom>,
    ) -> Service {
        let scep = Arc::new(IntuneScep::new(clients.online.clone()));
        let policy =
            IssuancePolicy::deny_all().accept_names_checked_by_validator().allow_extended_key_usage(oids::CLIENT_AUTH.parse().unwrap());
        Service::builder(
            self.provider.clone(),
            Arc::new(Mortal::new(disk.service.clone(), doom)),
            self.ca.name().clone(),
            Arc::new(Mortal::new(self.ca.clone(), doom)),
            RegistrationAuthority::single(ra.der().clone(), KEYS[2].signing.clone(), KEYS[2].decryption.clone()),
            scep.clone(),
            scep,
        )
        .tenant("contoso.example".parse().unwrap())
        .instance("one".parse().unwrap())
        .runtime(runtime.clone())
        .sink(self.sink.clone())
        .policy(policy)
        .notification(notification)
        .sealing_key(SecretBytes::copy_from(&SEALING_KEY))
        .build()
        .await
        .unwrap()
    }
}

fn import_key_name() -> ImportKeyName {
    ImportKeyName { provider: "Key Storage".to_owned(), key: "import".to_owned() }
}
