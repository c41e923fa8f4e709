//! One tenant with all flows of the queue and health, on adapters that fail when a test tells them to. Needs `pki` and `scripted_ca`.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic, reason = "each test binary uses a part of it")]

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use intune_connector::adapters::{InMemoryQueue, RecordingSink, StdRuntime, VolatileJournal};
use intune_connector::connector::{Connector, ConnectorBuilder, QueueSettings};
use intune_connector::crypto::{ContentCipherAlgorithm, CryptoProvider, DecryptionKey, KeyTransportAlgorithm};
use intune_connector::health::HealthConfig;
use intune_connector::ids::{Oid, RequestId, SerialNumber};
use intune_connector::import::{GeneratedImportKey, ImportConfig, generate_import_key};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::enveloped::EnvelopeBuilder;
use intune_connector::message::pfx::{PfxBuilder, PfxProfile};
use intune_connector::message::reencrypt::{LegacyPadding, encrypt_password};
use intune_connector::pkcs::PkcsConfig;
use intune_connector::policy::{IssuancePolicy, RecipientPolicy};
use intune_connector::ports::{
    CaCapabilities, CertificateAuthority, DecryptionKeys, EventSink, FindAnswer, FindRequest, ImportKeyName, ImportRequest, IssueAnswer,
    IssueRequest, Journal, KnownCertificate, LookupAnswer, LookupRequest, Outcome, Payload, PkcsRequest, PortError, QueueItem,
    RecryptRequest, RequestMeta, RevokeAnswer, RevokeBy, RevokeCall, RevokeRequest, SealingKeys,
};
use intune_connector::recrypt::{RecryptConfig, RecryptKey};
use intune_connector::revoke::RevokeConfig;
use intune_connector::secret::{Password, SecretBytes};
use intune_connector::terms::{Flow, KeyAlgorithm, PaddingScheme, SubjectAltName, oids};
use rustls_pki_types::CertificateDer;

use crate::pki::{self, Identity};
use crate::scripted_ca::ScriptedCa;

pub const FLOWS: [Flow; 4] = [Flow::Pkcs, Flow::PkcsRecrypt, Flow::PkcsImport, Flow::Revoke];
/// Opens the imported file.
pub const IMPORT_PASSWORD: &str = "Imp0rt-Passw0rd-Marker-77";
/// What the recrypt payload holds.
pub const RECRYPT_CONTENT: &[u8] = b"Recrypt-Content-Marker-4242";

/// Keys are slow to make, so the tests share them.
pub struct Keys {
    pub provider: CryptoProvider,
    pub root: Identity,
    pub device: Identity,
    pub service: Identity,
    pub import: GeneratedImportKey,
    /// The private key in the imported file.
    pub imported: Identity,
    pub pfx: Vec<u8>,
}

pub static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let root = pki::root(&provider, "device CA");
    let device = pki::device(&provider, &root, "dev-1");
    let service = pki::device(&provider, &root, "connector");
    let imported = pki::leaf(&provider, &root, "CN=Jane Doe", KeyAlgorithm::EcP256, |builder| builder);
    let pfx = PfxBuilder::new(PfxProfile::Modern)
        .key(&imported.key)
        .certificate(&imported.certificate)
        .iterations(2_000)
        .build(&Password::from(IMPORT_PASSWORD), &provider)
        .unwrap()
        .secret_bytes()
        .to_vec();
    let import = generate_import_key(&provider, KeyAlgorithm::Rsa2048).unwrap();
    Keys { provider, root, device, service, import, imported, pfx }
});

/// A key store that fails when told, or panics.
#[derive(Debug, Default)]
pub struct FaultyKeys {
    pub errors: Mutex<VecDeque<PortError>>,
    pub panic: Mutex<Option<String>>,
}

#[async_trait]
impl DecryptionKeys for FaultyKeys {
    async fn find(&self, _: &ImportKeyName) -> Result<Vec<Arc<dyn DecryptionKey>>, PortError> {
        let panic = self.panic.lock().unwrap().take();
        assert!(panic.is_none(), "{}", panic.unwrap());
        let error = self.errors.lock().unwrap().pop_front();
        error.map_or_else(|| Ok(vec![KEYS.import.decryption_key.clone()]), Err)
    }
}

/// A CA that revokes any serial but `0F`.
#[derive(Debug, Default)]
pub struct Revoker {
    pub errors: Mutex<VecDeque<PortError>>,
    revoked: Mutex<Vec<SerialNumber>>,
}

#[async_trait]
impl CertificateAuthority for Revoker {
    fn capabilities(&self) -> CaCapabilities {
        let mut can = CaCapabilities::minimal();
        can.revoke_by = vec![RevokeBy::Serial];
        can.lookup_by_serial = true;
        can
    }
    async fn issue(&self, _: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
        Err(PortError::unsupported("it only revokes"))
    }
    async fn find(&self, _: FindRequest<'_>) -> Result<FindAnswer, PortError> {
        Ok(FindAnswer::CannotTell)
    }
    async fn lookup(&self, request: LookupRequest<'_>) -> Result<LookupAnswer, PortError> {
        let known = request.serial.to_string() != "0F";
        Ok(if known { LookupAnswer::Found(Box::new(KnownCertificate::new(None, None))) } else { LookupAnswer::Absent })
    }
    async fn revoke(&self, call: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
        if let Some(error) = self.errors.lock().unwrap().pop_front() {
            return Err(error);
        }
        if call.serial.to_string() == "0F" {
            return Ok(RevokeAnswer::UnknownSerial);
        }
        let mut revoked = self.revoked.lock().unwrap();
        if revoked.contains(call.serial) {
            return Ok(RevokeAnswer::AlreadyRevoked);
        }
        revoked.push(call.serial.clone());
        Ok(RevokeAnswer::Revoked)
    }
    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
        Err(PortError::unsupported("it only revokes"))
    }
}

pub struct Tenant {
    pub queues: Vec<(Flow, Arc<InMemoryQueue>)>,
    pub sink: Arc<RecordingSink>,
    pub journal: Arc<VolatileJournal>,
    pub ca: Arc<ScriptedCa>,
    pub keys: Arc<FaultyKeys>,
    pub revoker: Arc<Revoker>,
    pub runtime: Arc<StdRuntime>,
    pub connector: Connector,
}

pub fn oid(text: &str) -> Oid {
    text.parse().unwrap()
}

impl Tenant {
    pub fn new() -> Self {
        Self::with(KEYS.provider.clone(), |sink| sink)
    }

    /// With that provider for the connector, and with other sinks around the recording one.
    pub fn with(provider: CryptoProvider, sinks: impl FnOnce(Arc<dyn EventSink>) -> Arc<dyn EventSink>) -> Self {
        let journal = Arc::new(VolatileJournal::new());
        Self::keeping(provider, sinks, journal.clone(), journal, |builder| builder)
    }

    /// With rows in that journal, which is durable; `journal` stays empty.
    pub fn on(provider: CryptoProvider, journal: Arc<dyn Journal>, keys: impl Into<SealingKeys>) -> Self {
        Self::keeping(provider, |sink| sink, Arc::new(VolatileJournal::new()), journal, |builder| builder.sealing_key(keys))
    }

    fn keeping(
        provider: CryptoProvider,
        sinks: impl FnOnce(Arc<dyn EventSink>) -> Arc<dyn EventSink>,
        journal: Arc<VolatileJournal>,
        rows: Arc<dyn Journal>,
        change: impl FnOnce(ConnectorBuilder) -> ConnectorBuilder,
    ) -> Self {
        let queues: Vec<_> = FLOWS.into_iter().map(|flow| (flow, Arc::new(InMemoryQueue::new()))).collect();
        let settings = |at: usize| {
            QueueSettings::new(queues[at].1.clone())
                .with_poll_interval(Duration::from_millis(1))
                .with_max_attempts(3)
                .with_backoff(Duration::from_millis(1), Duration::from_millis(3))
        };
        let sink = Arc::new(RecordingSink::new());
        let (keys, revoker) = (Arc::new(FaultyKeys::default()), Arc::new(Revoker::default()));
        let ca = Arc::new(ScriptedCa::new(Arc::new(KEYS.provider.clone())));
        let runtime = Arc::new(StdRuntime::with_threads(2, 64).unwrap());
        let issuance = IssuancePolicy::deny_all()
            .allow_upn_suffix("contoso.com")
            .allow_sid_domain("S-1-5-21-1-2-3".parse().unwrap())
            .allow_extended_key_usage(oid(oids::CLIENT_AUTH));
        let recipients = || RecipientPolicy::new().trust_root(KEYS.root.certificate.clone());
        let decryption = KEYS.provider.decryption_keys().unwrap().load(&KEYS.service.key).unwrap();
        let pkcs = PkcsConfig::new(queues[0].1.clone(), "ca".parse().unwrap(), ca.clone(), issuance, recipients())
            .with_ca("Symantec".parse().unwrap(), ca.clone())
            .with_settings(settings(0));
        let recrypt = RecryptConfig::new(queues[1].1.clone(), RecryptKey::new(KEYS.service.certificate.clone(), decryption), recipients())
            .with_settings(settings(1));
        let import = ImportConfig::new(queues[2].1.clone(), keys.clone(), recipients()).with_settings(settings(2));
        let revoke = RevokeConfig::new(queues[3].1.clone(), "ca".parse().unwrap(), revoker.clone())
            .with_ca("Symantec".parse().unwrap(), revoker.clone())
            .with_settings(settings(3));
        let health = HealthConfig::new(queues[0].1.clone())
            .with_interval(Duration::from_millis(1))
            .with_attempts(2)
            .with_pause(Duration::from_millis(1));
        let connector = change(Connector::builder(provider, rows))
            .tenant("contoso.com".parse().unwrap())
            .instance("i1".parse().unwrap())
            .sink(sinks(sink.clone()))
            .runtime(runtime.clone())
            .pkcs(pkcs)
            .recrypt(recrypt)
            .import(import)
            .revoke(revoke)
            .health(health)
            .build()
            .unwrap();
        Self { queues, sink, journal, ca, keys, revoker, runtime, connector }
    }

    pub fn queue(&self, flow: Flow) -> &InMemoryQueue {
        &self.queues.iter().find(|(of, _)| *of == flow).unwrap().1
    }

    pub fn push(&self, flow: Flow, id: &str, payload: Payload) {
        self.queue(flow).push(QueueItem::new(meta(flow, id), payload));
    }

    /// Runs until nothing is in hand and nothing waits.
    pub fn settle(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        self.runtime.block_on(async {
            loop {
                let report = self.connector.run_once().await;
                if report.held == 0 && self.queues.iter().all(|(_, queue)| queue.waiting() == 0) {
                    return;
                }
                assert!(Instant::now() < until, "work is left");
                std::thread::sleep(Duration::from_millis(1));
            }
        });
    }

    /// One request to its end.
    pub fn run(&self, flow: Flow, id: &str, payload: Payload) {
        self.push(flow, id, payload);
        self.settle();
    }

    pub fn codes(&self, id: &str) -> Vec<u16> {
        self.sink.events_of(id).iter().map(|event| event.id.code()).collect()
    }

    pub fn outcome(&self, flow: Flow, id: &str) -> Option<Outcome> {
        self.queue(flow).result_of(flow, &id.parse::<RequestId>().unwrap())
    }
}

pub fn meta(flow: Flow, id: &str) -> RequestMeta {
    let mut meta = RequestMeta::new(id.parse().unwrap(), "contoso.com".parse().unwrap(), flow);
    meta.device = Some("dev-1".parse().unwrap());
    meta.correlation = vec!["activity-1".parse().unwrap()];
    meta
}

pub fn pkcs_request(ca: &str) -> PkcsRequest {
    let mut request = PkcsRequest::new(ca.parse().unwrap(), "CN=jane", KEYS.device.certificate.clone());
    request.key = KeyAlgorithm::EcP256;
    request.subject_alt_names = vec![SubjectAltName::Upn("jane@contoso.com".into())];
    request.extended_key_usage = vec![oid(oids::CLIENT_AUTH)];
    request.sid = Some("S-1-5-21-1-2-3-1013".parse().unwrap());
    request
}

pub fn pkcs(ca: &str) -> Payload {
    Payload::Pkcs(Box::new(pkcs_request(ca)))
}

pub fn recrypt_request() -> RecryptRequest {
    let certificate = Certificate::from_der(&KEYS.service.certificate, &Limits::default()).unwrap();
    let payload = EnvelopeBuilder::new(ContentCipherAlgorithm::Aes256Cbc, KeyTransportAlgorithm::RsaOaepSha256)
        .recipient(&certificate)
        .build(RECRYPT_CONTENT, &KEYS.provider)
        .unwrap();
    RecryptRequest::new(payload, KEYS.device.certificate.clone())
}

pub fn recrypt() -> Payload {
    Payload::Recrypt(Box::new(recrypt_request()))
}

pub fn import_request(password: &str) -> ImportRequest {
    let scheme = PaddingScheme::OaepSha256;
    let spki = KEYS.import.public_key.spki();
    let encrypted = encrypt_password(&KEYS.provider, spki, scheme, LegacyPadding::Refuse, &Password::from(password)).unwrap();
    let name = ImportKeyName { provider: "Key Storage Provider".to_owned(), key: "Key".to_owned() };
    ImportRequest::new(name, scheme, encrypted, SecretBytes::copy_from(&KEYS.pfx), KEYS.device.certificate.clone())
}

pub fn import(password: &str) -> Payload {
    Payload::Import(Box::new(import_request(password)))
}

pub fn revoke(serial: &str, issuer: &str) -> Payload {
    let mut request = RevokeRequest::new(serial);
    request.issuer = Some(issuer.to_owned());
    Payload::Revoke(request)
}
