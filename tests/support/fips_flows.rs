//! The flows on a provider that is restricted to what FIPS approves. Needs `pki`, `scep_lab`, and at the root `provider` (not restricted),
//! `builder` and `scep_lab`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use intune_connector::adapters::{InMemoryQueue, LocalCa, MemoryDecryptionKeys, RecordingSink, StdRuntime};
use intune_connector::connector::{Connector, ConnectorBuilder, QueueSettings};
use intune_connector::crypto::{ContentCipherAlgorithm, CryptoProvider, KeyTransportAlgorithm, unwrap_now};
use intune_connector::import::{GeneratedImportKey, ImportConfig, generate_import_key};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::enveloped::{EnvelopeBuilder, LegacyCiphers, Opening};
use intune_connector::message::pfx::{self, PfxBuilder, PfxProfile};
use intune_connector::message::reencrypt::{LegacyPadding, encrypt_password};
use intune_connector::message::scep::{FailInfo, PkiRequestBuilder, PkiStatus};
use intune_connector::pkcs::PkcsConfig;
use intune_connector::policy::{IssuancePolicy, RecipientPolicy};
use intune_connector::ports::{
    Failure, ImportKeyName, ImportPayload, ImportRequest, Outcome, Payload, PkcsRequest, QueueItem, RecryptRequest, RequestMeta,
};
use intune_connector::recrypt::{RecryptConfig, RecryptKey};
use intune_connector::retry::ErrorClass;
use intune_connector::secret::{Password, SecretBytes};
use intune_connector::terms::{Flow, KeyAlgorithm, PaddingScheme, SubjectAltName, oids};

use crate::pki;

const PASSWORD: &str = "Imported-Passw0rd-77";
const AES: ContentCipherAlgorithm = ContentCipherAlgorithm::Aes256Cbc;
const OAEP: KeyTransportAlgorithm = KeyTransportAlgorithm::RsaOaepSha256;

struct World {
    provider: CryptoProvider,
    root: pki::Identity,
    device: pki::Identity,
    queue: Arc<InMemoryQueue>,
    runtime: Arc<StdRuntime>,
}

impl World {
    fn new() -> Self {
        let provider = crate::provider();
        let root = pki::root(&provider, "device CA");
        let device = pki::device(&provider, &root, "dev-1");
        Self { provider, root, device, queue: Arc::new(InMemoryQueue::new()), runtime: Arc::new(StdRuntime::new().unwrap()) }
    }

    fn recipients(&self) -> RecipientPolicy {
        RecipientPolicy::new().trust_root(self.root.certificate.clone())
    }

    fn settings(&self) -> QueueSettings {
        QueueSettings::new(self.queue.clone()).with_poll_interval(Duration::from_millis(1)).with_max_attempts(2)
    }

    fn connector(&self, flows: impl FnOnce(ConnectorBuilder) -> ConnectorBuilder) -> Connector {
        let builder = crate::builder()
            .tenant("contoso.com".parse().unwrap())
            .instance("i1".parse().unwrap())
            .sink(Arc::new(RecordingSink::new()))
            .runtime(self.runtime.clone());
        flows(builder).build().unwrap()
    }

    /// One request to its result.
    fn run(&self, connector: &Connector, flow: Flow, payload: Payload) -> Outcome {
        let mut meta = RequestMeta::new("r1".parse().unwrap(), "contoso.com".parse().unwrap(), flow);
        meta.device = Some("dev-1".parse().unwrap());
        self.queue.push(QueueItem::new(meta, payload));
        let until = Instant::now() + Duration::from_secs(60);
        while self.queue.waiting() > 0 || !self.queue.unanswered().is_empty() {
            assert!(Instant::now() < until, "no answer");
            self.runtime.block_on(connector.run_once());
            std::thread::sleep(Duration::from_millis(2));
        }
        self.queue.result_of(flow, &"r1".parse().unwrap()).unwrap()
    }

    fn as_device(&self, envelope: &[u8]) -> SecretBytes {
        let provider = self.provider.clone().fips_approved_only();
        let certificate = Certificate::from_der(&self.device.certificate, &Limits::default()).unwrap();
        let mut opening = Opening::parse(envelope, &Limits::default()).unwrap();
        let request = opening.unwrap_request(&certificate, &provider).unwrap();
        let key = provider.decryption_keys().unwrap().load(&self.device.key).unwrap();
        opening.finish(unwrap_now(&*key, &request), &provider).unwrap()
    }
}

fn failure(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

fn pkcs(world: &World, profile: PfxProfile) -> (Arc<LocalCa>, Outcome) {
    let ca = LocalCa::new(world.provider.clone().fips_approved_only(), "ca".parse().unwrap(), KeyAlgorithm::EcP384).unwrap();
    let ca = Arc::new(ca);
    let issuance = IssuancePolicy::deny_all().allow_upn_suffix("contoso.com").allow_extended_key_usage(oids::CLIENT_AUTH.parse().unwrap());
    let config = PkcsConfig::new(world.queue.clone(), "ca".parse().unwrap(), ca.clone(), issuance, world.recipients());
    let connector = world.connector(|builder| builder.pkcs(config.with_settings(world.settings()).with_envelope(AES, OAEP)));
    let mut request = PkcsRequest::new("ca".parse().unwrap(), "CN=jane", world.device.certificate.clone());
    request.subject_alt_names = vec![SubjectAltName::Upn("jane@contoso.com".into())];
    request.extended_key_usage = vec![oids::CLIENT_AUTH.parse().unwrap()];
    request.pfx_profile = profile;
    let outcome = world.run(&connector, Flow::Pkcs, Payload::Pkcs(Box::new(request)));
    (ca, outcome)
}

#[test]
fn a_pkcs_request_is_issued_packed_with_pbmac1_and_opened_by_the_device() {
    let world = World::new();
    let (ca, outcome) = pkcs(&world, PfxProfile::Pbmac1);
    let Outcome::Pkcs(result) = outcome else { panic!("{outcome:?}") };
    let (password, file) = (Password::from(world.as_device(&result.password_envelope)), world.as_device(&result.pfx_envelope));
    let provider = world.provider.clone().fips_approved_only();
    let opened = pfx::open(file.secret_bytes(), &password, &provider, &Limits::default()).unwrap().into_mac_verified().unwrap();
    let identity = opened.contents().identity().unwrap();
    let leaf = Certificate::from_der(&identity.certificate.der, &Limits::default()).unwrap();
    leaf.verify_signed_by(&provider, ca.certificate().spki()).unwrap();
    assert_eq!(ca.issued().len(), 1);
}

#[test]
fn a_pkcs_request_for_another_profile_fails_with_the_reason_before_the_ca_is_asked() {
    for profile in [PfxProfile::Modern, PfxProfile::Compat] {
        let (ca, outcome) = pkcs(&World::new(), profile);
        let failure = failure(outcome);
        assert_eq!(failure.class, ErrorClass::Configuration);
        assert!(failure.message.contains("is not approved by FIPS") && failure.message.contains("Pbmac1"), "{}", failure.message);
        assert!(ca.issued().is_empty());
    }
}

fn import_request(world: &World, key: &GeneratedImportKey, profile: PfxProfile, password: &str, sent: &str) -> ImportRequest {
    let jane = pki::leaf(&world.provider, &world.root, "CN=Jane Doe", KeyAlgorithm::EcP256, |builder| builder);
    let file = PfxBuilder::new(profile).key(&jane.key).certificate(&jane.certificate).iterations(2_000);
    let file = file.build(&Password::from(password), &world.provider).unwrap();
    let scheme = PaddingScheme::OaepSha512;
    let encrypted = encrypt_password(&world.provider, key.public_key.spki(), scheme, LegacyPadding::Refuse, &Password::from(sent)).unwrap();
    ImportRequest::new(key_name(), scheme, encrypted, file, world.device.certificate.clone())
}

fn key_name() -> ImportKeyName {
    ImportKeyName { provider: "Key Storage Provider".to_owned(), key: "Key".to_owned() }
}

fn import(world: &World, key: &GeneratedImportKey, request: ImportRequest) -> Outcome {
    let keys = Arc::new(MemoryDecryptionKeys::new());
    keys.insert(key_name(), key.decryption_key.clone());
    let config = ImportConfig::new(world.queue.clone(), keys, world.recipients()).with_payload(ImportPayload::Pfx);
    let connector = world.connector(|builder| builder.import(config.with_settings(world.settings()).with_envelope(AES, OAEP)));
    world.run(&connector, Flow::PkcsImport, Payload::Import(Box::new(request)))
}

#[test]
fn an_imported_file_with_pbmac1_goes_to_the_device() {
    let world = World::new();
    let key = generate_import_key(&world.provider, KeyAlgorithm::Rsa2048).unwrap();
    let request = import_request(&world, &key, PfxProfile::Pbmac1, PASSWORD, PASSWORD);
    let file = request.pfx.secret_bytes().to_vec();
    let outcome = import(&world, &key, request);
    let Outcome::Import(result) = outcome else { panic!("{outcome:?}") };
    assert_eq!(world.as_device(&result.password_envelope).secret_bytes(), PASSWORD.as_bytes());
    assert_eq!(world.as_device(&result.pfx_envelope.unwrap()).secret_bytes(), file);
}

#[test]
fn an_imported_file_with_the_mac_of_pkcs12_fails_with_the_reason() {
    let world = World::new();
    let key = generate_import_key(&world.provider, KeyAlgorithm::Rsa2048).unwrap();
    for profile in [PfxProfile::Modern, PfxProfile::Compat] {
        let request = import_request(&world, &key, profile, PASSWORD, PASSWORD);
        let failure = failure(import(&world, &key, request));
        assert_eq!(failure.class, ErrorClass::Unsupported);
        assert!(failure.message.contains("is not approved by FIPS") && failure.message.contains("PBMAC1"), "{}", failure.message);
    }
}

#[test]
fn a_short_password_of_an_imported_file_is_not_told_from_a_wrong_one() {
    let world = World::new();
    let key = generate_import_key(&world.provider, KeyAlgorithm::Rsa2048).unwrap();
    let short = failure(import(&world, &key, import_request(&world, &key, PfxProfile::Pbmac1, "short", "short")));
    let wrong = failure(import(&world, &key, import_request(&world, &key, PfxProfile::Pbmac1, PASSWORD, "another-long-password")));
    assert_eq!(short, wrong);
}

#[test]
fn a_stored_payload_is_recrypted_from_oaep_and_not_from_pkcs1() {
    for transport in [OAEP, KeyTransportAlgorithm::RsaPkcs1v15] {
        let world = World::new();
        let service = pki::device(&world.provider, &world.root, "connector");
        let certificate = Certificate::from_der(&service.certificate, &Limits::default()).unwrap();
        let key = RecryptKey::new(service.certificate.clone(), world.provider.decryption_keys().unwrap().load(&service.key).unwrap());
        let config = RecryptConfig::new(world.queue.clone(), key, world.recipients());
        let connector = world.connector(|builder| builder.recrypt(config.with_settings(world.settings()).with_envelope(AES, OAEP)));
        let stored = EnvelopeBuilder::new(AES, transport).recipient(&certificate).build(b"stored", &world.provider).unwrap();
        let request = RecryptRequest::new(stored, world.device.certificate.clone());
        match (transport, world.run(&connector, Flow::PkcsRecrypt, Payload::Recrypt(Box::new(request)))) {
            (OAEP, Outcome::Recrypt(result)) => assert_eq!(world.as_device(&result.envelope).secret_bytes(), b"stored"),
            (KeyTransportAlgorithm::RsaPkcs1v15, Outcome::Failed(failure)) => {
                assert!(failure.message.contains("PKCS#1 v1.5 key transport is not approved by FIPS"), "{}", failure.message);
            }
            (_, other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_scep_client_enrols_with_oaep_and_gets_bad_alg_with_pkcs1() {
    let lab = crate::scep_lab();
    for transport in [KeyTransportAlgorithm::RsaOaepSha1, OAEP, KeyTransportAlgorithm::RsaPkcs1v15] {
        let client = lab.client();
        let builder = PkiRequestBuilder::pkcs_req(client.transaction.clone(), &client.csr).algorithms(
            ContentCipherAlgorithm::Aes128Cbc,
            transport,
            LegacyCiphers::Refuse,
        );
        let (message, to) = client.message_with(&lab.ra, builder);
        let reply = client.reply(&lab.post(&message), &to, &lab.ra);
        if transport == KeyTransportAlgorithm::RsaPkcs1v15 {
            assert_eq!(reply.fail_info(), Some(FailInfo::BadAlg));
        } else {
            assert_eq!(reply.status(), PkiStatus::Success);
            client.certificate(&reply);
        }
    }
}
