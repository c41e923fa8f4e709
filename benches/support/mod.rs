//! The flows as benches drive them: through the connector, over the ports in memory, on one thread.

#![allow(dead_code, reason = "each bench uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot run shall fail")]

pub mod tape;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use intune_connector::adapters::{
    DangerousStaticChallenge, InMemoryQueue, LocalCa, MemoryDecryptionKeys, NoNotification, RecordingSink, StdRuntime, VolatileJournal,
};
use intune_connector::connector::{Connector, FlowSpec, QueueSettings};
use intune_connector::crypto::{
    ContentCipherAlgorithm, CryptoError, CryptoProvider, KeyGeneration, KeyTransportAlgorithm, SignatureAlgorithm, sign_now,
};
use intune_connector::ids::{CaName, SerialNumber, TransactionId};
use intune_connector::import::ImportConfig;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::{Certificate, CertificateBuilder};
use intune_connector::message::csr::CsrBuilder;
use intune_connector::message::enveloped::EnvelopeBuilder;
use intune_connector::message::name::Name;
use intune_connector::message::pfx::{PfxBuilder, PfxProfile};
use intune_connector::message::reencrypt::{LegacyPadding, encrypt_password};
use intune_connector::message::scep::PkiRequestBuilder;
use intune_connector::pkcs::PkcsConfig;
use intune_connector::policy::{IssuancePolicy, RecipientPolicy};
use intune_connector::ports::{
    Busy, ImportKeyName, ImportPayload, ImportRequest, Payload, PkcsRequest, QueueItem, RecryptRequest, RequestMeta, Runtime,
};
use intune_connector::recrypt::{RecryptConfig, RecryptKey};
use intune_connector::scep::{RegistrationAuthority, Request, Service};
use intune_connector::secret::{Password, PrivateKeyPkcs8, SecretBytes};
use intune_connector::terms::{Flow, KeyAlgorithm, KeyUsage, PaddingScheme, oids};
use intune_connector::time::Timestamp;

const DEVICE: &str = "device-4711";
const TENANT: &str = "contoso.example";
const CHALLENGE: &str = "open-sesame-4711";
/// OpenSSL's count: what imported files have, and set for the files that the PKCS flow writes, so that the flow is not hidden behind it.
const ROUNDS: u32 = 2_048;

/// Runs CPU work where it is asked for: nothing overlaps, so the wall clock sees all of the flow.
#[derive(Debug)]
struct OneThread(StdRuntime);

impl Runtime for OneThread {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.0.sleep(duration)
    }

    fn offload(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Busy> {
        job();
        Ok(())
    }
}

/// Gives the same RSA key each time: the search for primes takes from 20 ms to a second and would hide all else.
#[derive(Debug)]
struct PreparedKey(Vec<u8>);

impl KeyGeneration for PreparedKey {
    fn generate(&self, _: KeyAlgorithm) -> Result<PrivateKeyPkcs8, CryptoError> {
        Ok(PrivateKeyPkcs8::new(self.0.clone()))
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Key pair P-256, CSR, issue, check, PFX Modern with 2,048 rounds, two envelopes.
    PkcsEcP256,
    /// The same with a prepared RSA-2048 key.
    PkcsRsa2048,
    /// Decrypt and encrypt a stored payload of 4 KiB.
    Recrypt,
    /// A PFX of 2,048 rounds by OpenSSL; the password alone is encrypted again.
    Import,
    /// The same; the PFX too.
    ImportPfx,
    /// A PKCSReq of an RSA-2048 client, answered; the CA's key is P-256, the RA's RSA-2048.
    Scep,
    /// The same with an RSA-2048 CA.
    ScepRsaCa,
}

impl Kind {
    pub const ALL: [Self; 7] =
        [Self::PkcsEcP256, Self::PkcsRsa2048, Self::Recrypt, Self::Import, Self::ImportPfx, Self::Scep, Self::ScepRsaCa];

    pub const fn name(self) -> &'static str {
        match self {
            Self::PkcsEcP256 => "PKCS, P-256",
            Self::PkcsRsa2048 => "PKCS, RSA-2048 (key prepared)",
            Self::Recrypt => "PKCS recrypt",
            Self::Import => "PKCS import, password",
            Self::ImportPfx => "PKCS import, PFX",
            Self::Scep => "SCEP PKCSReq, P-256 CA",
            Self::ScepRsaCa => "SCEP PKCSReq, RSA-2048 CA",
        }
    }
}

/// A number that no other request of this process has: the CA gives the same request the same certificate again.
fn unique() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// All that outlives a round.
pub struct World {
    kind: Kind,
    provider: CryptoProvider,
    plain: CryptoProvider,
    runtime: Arc<OneThread>,
    ca_name: CaName,
    ca: Arc<LocalCa>,
    device: Party,
    service: Party,
}

struct Party {
    key: PrivateKeyPkcs8,
    certificate: Certificate,
}

/// Requests that wait, and who serves them.
pub struct Round {
    runtime: Arc<OneThread>,
    server: Server,
    requests: usize,
}

enum Server {
    Connector { connector: Connector, queue: Arc<InMemoryQueue> },
    Scep { service: Service, messages: Vec<Vec<u8>> },
}

impl World {
    /// With `provider` below the flow; everything around it is made with `plain`.
    pub fn new(kind: Kind, plain: &CryptoProvider, record: impl Fn(&CryptoProvider) -> CryptoProvider) -> Self {
        let key = || plain.key_generation().unwrap().generate(KeyAlgorithm::Rsa2048).unwrap();
        let below = match kind {
            Kind::PkcsRsa2048 => plain.clone().with_key_generation(Arc::new(PreparedKey(key().secret_pkcs8_der().to_vec()))),
            _ => plain.clone(),
        };
        let provider = record(&below);
        let ca_key = if kind == Kind::ScepRsaCa { KeyAlgorithm::Rsa2048 } else { KeyAlgorithm::EcP256 };
        let ca_name: CaName = "Bench CA".parse().unwrap();
        let ca = Arc::new(LocalCa::new(provider.clone(), ca_name.clone(), ca_key).unwrap());
        let party = |name: &str| {
            let key = key();
            let public_key = plain.signing_keys().unwrap().load(&key).unwrap().public_key();
            let name = Name::parse_cert_str(&format!("CN={name}")).unwrap();
            let days = Duration::from_secs(90 * 86_400);
            let certificate = ca.issue_service_certificate(name, public_key.as_ref(), KeyUsage::SIGN_AND_ENCIPHER, &[], days).unwrap();
            Party { key, certificate }
        };
        let (device, service) = (party(DEVICE), party("connector"));
        let runtime = Arc::new(OneThread(StdRuntime::with_threads(1, 16).unwrap()));
        Self { kind, provider, plain: plain.clone(), runtime, ca_name, ca, device, service }
    }

    /// So many requests, and a new server with an empty journal.
    pub fn prepare(&self, requests: usize) -> Round {
        let server = match self.kind {
            Kind::Scep | Kind::ScepRsaCa => self.scep(requests),
            _ => self.connector(requests),
        };
        Round { runtime: self.runtime.clone(), server, requests }
    }

    fn policy(&self) -> IssuancePolicy {
        IssuancePolicy::deny_all().allow_extended_key_usage(oids::CLIENT_AUTH.parse().unwrap()).allow_dns_suffix("contoso.example")
    }

    fn connector(&self, requests: usize) -> Server {
        let queue = Arc::new(InMemoryQueue::new());
        let settings = QueueSettings::new(queue.clone()).with_poll_interval(Duration::from_micros(1)).with_batch(requests);
        let recipients = RecipientPolicy::new().trust_root(self.ca.certificate().der().clone());
        let recipient = || self.device.certificate.der().clone();
        let (flow, spec): (Flow, FlowSpec) = match self.kind {
            Kind::Recrypt => {
                let key = self.provider.decryption_keys().unwrap().load(&self.service.key).unwrap();
                let key = RecryptKey::new(self.service.certificate.der().clone(), key);
                (Flow::PkcsRecrypt, RecryptConfig::new(queue.clone(), key, recipients).with_settings(settings).into())
            }
            Kind::Import | Kind::ImportPfx => {
                let keys = Arc::new(MemoryDecryptionKeys::new());
                keys.insert(import_key(), self.provider.decryption_keys().unwrap().load(&self.service.key).unwrap());
                let payload = if self.kind == Kind::Import { ImportPayload::Password } else { ImportPayload::Pfx };
                let config = ImportConfig::new(queue.clone(), keys, recipients).with_settings(settings).with_payload(payload);
                (Flow::PkcsImport, config.into())
            }
            _ => {
                let config = PkcsConfig::new(queue.clone(), self.ca_name.clone(), self.ca.clone(), self.policy(), recipients)
                    .with_settings(settings)
                    .with_pfx_iterations(ROUNDS);
                (Flow::Pkcs, config.into())
            }
        };
        let stored = EnvelopeBuilder::new(ContentCipherAlgorithm::Aes256Cbc, KeyTransportAlgorithm::RsaPkcs1v15)
            .recipient(&self.service.certificate)
            .build(&[7; 4_096], &self.plain)
            .unwrap();
        let password = encrypt_password(
            &self.plain,
            self.service.certificate.spki(),
            PaddingScheme::OaepSha512,
            LegacyPadding::Refuse,
            &Password::from("import-me"),
        );
        let password = password.unwrap();
        for _ in 0..requests {
            let payload = match self.kind {
                Kind::Recrypt => Payload::Recrypt(Box::new(RecryptRequest::new(stored.clone(), recipient()))),
                Kind::Import | Kind::ImportPfx => Payload::Import(Box::new(ImportRequest::new(
                    import_key(),
                    PaddingScheme::OaepSha512,
                    password.clone(),
                    SecretBytes::copy_from(include_bytes!("../../examples/connector/imported/openssl-modern.p12")),
                    recipient(),
                ))),
                _ => {
                    let mut request = PkcsRequest::new(self.ca_name.clone(), format!("CN={DEVICE}"), recipient());
                    request.extended_key_usage = vec![oids::CLIENT_AUTH.parse().unwrap()];
                    request.key = if self.kind == Kind::PkcsEcP256 { KeyAlgorithm::EcP256 } else { KeyAlgorithm::Rsa2048 };
                    request.validity = Duration::from_secs(90 * 86_400);
                    Payload::Pkcs(Box::new(request))
                }
            };
            let mut meta = RequestMeta::new(format!("request-{}", unique()).parse().unwrap(), TENANT.parse().unwrap(), flow);
            meta.device = Some(DEVICE.parse().unwrap());
            queue.push(QueueItem::new(meta, payload));
        }
        let connector = Connector::builder(self.provider.clone(), Arc::new(VolatileJournal::new()))
            .tenant(TENANT.parse().unwrap())
            .instance("bench-1".parse().unwrap())
            .sink(Arc::new(RecordingSink::new()))
            .runtime(self.runtime.clone())
            .flow(spec)
            .build()
            .unwrap();
        Server::Connector { connector, queue }
    }

    fn scep(&self, requests: usize) -> Server {
        let ra = RegistrationAuthority::single(
            self.service.certificate.der().clone(),
            self.provider.signing_keys().unwrap().load(&self.service.key).unwrap(),
            self.provider.decryption_keys().unwrap().load(&self.service.key).unwrap(),
        );
        let validator = Arc::new(DangerousStaticChallenge::new(Password::from(CHALLENGE)).unwrap());
        let journal = Arc::new(VolatileJournal::new());
        let service = Service::builder(
            self.provider.clone(),
            journal,
            self.ca_name.clone(),
            self.ca.clone(),
            ra,
            validator,
            Arc::new(NoNotification),
        )
        .tenant(TENANT.parse().unwrap())
        .instance("bench-1".parse().unwrap())
        .sink(Arc::new(RecordingSink::new()))
        .runtime(self.runtime.clone())
        .policy(IssuancePolicy::dangerous_allow_any_identity());
        let service = self.runtime.0.block_on(service.build()).unwrap();

        const ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::RsaPkcs1Sha256;
        let key = self.plain.signing_keys().unwrap().load(&self.device.key).unwrap();
        let subject = Name::parse_cert_str(&format!("CN={DEVICE}")).unwrap();
        let (now, hour) = (Timestamp::system_now(), Duration::from_secs(3_600));
        let serial = SerialNumber::from_be_bytes(&[1]).unwrap();
        let spki = self.device.certificate.spki();
        let unsigned = CertificateBuilder::new(subject.clone(), spki, now.saturating_sub(hour), now.saturating_add(hour), serial)
            .key_usage(KeyUsage::SIGN_AND_ENCIPHER)
            .to_be_signed(ALGORITHM)
            .unwrap();
        let signature = sign_now(&*key, ALGORITHM, unsigned.message()).unwrap();
        let signer = Certificate::from_der(&unsigned.finish(&signature), &Limits::default()).unwrap();
        let unsigned = CsrBuilder::new(subject, spki)
            .challenge_password(&Password::from(CHALLENGE))
            .extended_key_usage(&[oids::CLIENT_AUTH.parse().unwrap()])
            .to_be_signed(ALGORITHM)
            .unwrap();
        let signature = sign_now(&*key, ALGORITHM, unsigned.message()).unwrap();
        let csr = unsigned.finish(&signature);
        let message = |_| {
            let transaction = TransactionId::try_from(format!("transaction-{}", unique()).into_bytes()).unwrap();
            let unsigned = PkiRequestBuilder::pkcs_req(transaction, &csr)
                .to_be_signed(&signer, &self.service.certificate, ALGORITHM, &self.plain)
                .unwrap();
            let signature = sign_now(&*key, ALGORITHM, unsigned.message()).unwrap();
            unsigned.finish(&signature).0
        };
        Server::Scep { service, messages: (0..requests).map(message).collect() }
    }

    /// A PFX as the PKCS flow writes it, alone.
    pub fn write_pfx(&self) -> SecretBytes {
        let file = PfxBuilder::new(PfxProfile::Modern).key(&self.device.key).certificate(self.device.certificate.der()).iterations(ROUNDS);
        file.build(&Password::from("0123456789abcdef0123456789abcdef01234567"), &self.plain).unwrap()
    }
}

impl Round {
    /// Serves all requests; panics when one of them did not succeed.
    pub fn run(self) {
        match self.server {
            Server::Connector { connector, queue } => {
                let summary = loop {
                    let report = self.runtime.0.block_on(connector.run_once());
                    if report.held == 0 && queue.waiting() == 0 {
                        break connector.summary();
                    }
                };
                let succeeded: u64 = summary.flows.values().map(|flow| flow.counters.succeeded).sum();
                assert_eq!(succeeded, self.requests as u64, "{:?}", queue.uploads().first());
            }
            Server::Scep { service, messages } => {
                for message in messages {
                    let response = self.runtime.0.block_on(service.handle(Request::post("operation=PKIOperation", message)));
                    // A FAILURE has no certificate in it.
                    assert!(response.status == 200 && response.body.len() > 1_500, "{response:?}");
                }
            }
        }
    }
}

fn import_key() -> ImportKeyName {
    ImportKeyName { provider: "Software".to_owned(), key: "import".to_owned() }
}
