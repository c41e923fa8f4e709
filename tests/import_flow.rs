//! The import flow through the engine: every event in its order, files from four producers, keys, paddings, refusals and repeats.
#![cfg(feature = "import")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/pki.rs"]
mod pki;
mod support;

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::collections::VecDeque;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex};

use async_trait::async_trait;
use intune_connector::adapters::{InMemoryQueue, LocalCa, MemoryDecryptionKeys, RecordingSink, StdRuntime, VolatileJournal};
use intune_connector::connector::{Connector, QueueSettings};
use intune_connector::crypto::{CryptoProvider, DecryptionKey, UnwrapError, UnwrapRequest};
use intune_connector::event::EventId;
use intune_connector::ids::RequestId;
use intune_connector::import::{GeneratedImportKey, ImportConfig, generate_import_key};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::enveloped::{self, LegacyCiphers};
use intune_connector::message::name::Name;
use intune_connector::message::pfx::{PfxBuilder, PfxProfile};
use intune_connector::message::reencrypt::{LegacyPadding, encrypt_password};
use intune_connector::policy::RecipientPolicy;
use intune_connector::ports::{
    DecryptionKeys, Failure, ImportKeyName, ImportPayload, ImportRequest, ImportResult, Outcome, Payload, PortError, QueueItem,
    RequestMeta, Runtime as _,
};
use intune_connector::retry::ErrorClass;
use intune_connector::secret::{Password, PrivateKeyPkcs8, SecretBytes};
use intune_connector::terms::{Flow, KeyAlgorithm, KeyUsage, PaddingScheme};
use rustls_pki_types::SubjectPublicKeyInfoDer;

const PASSWORD: &str = "Correct-Horse-7";
const DEVICE: &str = "device-1";
const OAEP: [PaddingScheme; 3] = [PaddingScheme::OaepSha256, PaddingScheme::OaepSha384, PaddingScheme::OaepSha512];

/// Keys are slow to make, so the tests share them.
struct World {
    provider: CryptoProvider,
    ca: LocalCa,
    device: Certificate,
    device_key: PrivateKeyPkcs8,
    import_key: GeneratedImportKey,
    other_key: GeneratedImportKey,
    pfx: Vec<u8>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let ca = LocalCa::new(provider.clone(), "Device CA".parse().unwrap(), KeyAlgorithm::EcP256).unwrap();
    let pair = |subject: &str| {
        let key = provider.key_generation().unwrap().generate(KeyAlgorithm::Rsa2048).unwrap();
        let spki = provider.decryption_keys().unwrap().load(&key).unwrap().public_key();
        let name = Name::parse_cert_str(subject).unwrap();
        let month = Duration::from_secs(30 * 86_400);
        (ca.issue_service_certificate(name, &spki, KeyUsage::SIGN_AND_ENCIPHER, &[], month).unwrap(), key)
    };
    let (device, device_key) = pair(&format!("CN={DEVICE}"));
    let (leaf, key) = pair("CN=Jane Doe");
    let pfx = PfxBuilder::new(PfxProfile::Modern)
        .key(&key)
        .certificate(leaf.der())
        .iterations(2_000)
        .build(&Password::from(PASSWORD), &provider)
        .unwrap();
    let import_key = generate_import_key(&provider, KeyAlgorithm::Rsa2048).unwrap();
    let other_key = generate_import_key(&provider, KeyAlgorithm::Rsa2048).unwrap();
    World { pfx: pfx.secret_bytes().to_vec(), provider, ca, device, device_key, import_key, other_key }
});

fn key_name() -> ImportKeyName {
    ImportKeyName { provider: "Microsoft Software Key Storage Provider".to_owned(), key: "PFXEncryptionKey".to_owned() }
}

fn encrypted(password: &[u8], scheme: PaddingScheme) -> Vec<u8> {
    let password = Password::new(password.to_vec());
    let legacy = LegacyPadding::DangerouslyAllowPkcs1AndOaepSha1;
    encrypt_password(&WORLD.provider, WORLD.import_key.public_key.spki(), scheme, legacy, &password).unwrap()
}

fn trusting() -> RecipientPolicy {
    RecipientPolicy::new().trust_root(WORLD.ca.certificate().der().clone())
}

/// A key that counts, that may be out of reach for some calls, and that calls itself remote.
#[derive(Debug)]
struct SpyKey {
    key: Arc<dyn DecryptionKey>,
    unwraps: AtomicUsize,
    unavailable: AtomicUsize,
}

impl SpyKey {
    fn new(key: &Arc<dyn DecryptionKey>, unavailable: usize) -> Arc<Self> {
        Arc::new(Self { key: Arc::clone(key), unwraps: AtomicUsize::new(0), unavailable: AtomicUsize::new(unavailable) })
    }

    fn unwraps(&self) -> usize {
        self.unwraps.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl DecryptionKey for SpyKey {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.key.public_key()
    }

    async fn unwrap(&self, request: &UnwrapRequest) -> Result<SecretBytes, UnwrapError> {
        self.unwraps.fetch_add(1, Ordering::SeqCst);
        if self.unavailable.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(UnwrapError::Unavailable(None));
        }
        self.key.unwrap(request).await
    }
}

/// A key store with errors on request.
#[derive(Debug, Default)]
struct FaultyKeys {
    keys: Vec<Arc<dyn DecryptionKey>>,
    errors: Mutex<VecDeque<PortError>>,
}

#[async_trait]
impl DecryptionKeys for FaultyKeys {
    async fn find(&self, _: &ImportKeyName) -> Result<Vec<Arc<dyn DecryptionKey>>, PortError> {
        match self.errors.lock().unwrap().pop_front() {
            Some(error) => Err(error),
            None => Ok(self.keys.clone()),
        }
    }
}

fn keys(keys: &[&Arc<dyn DecryptionKey>]) -> Arc<MemoryDecryptionKeys> {
    let store = MemoryDecryptionKeys::new();
    // The first given is the newest.
    for key in keys.iter().rev() {
        store.insert(key_name(), Arc::clone(key));
    }
    Arc::new(store)
}

struct Rig {
    queue: Arc<InMemoryQueue>,
    sink: Arc<RecordingSink>,
    runtime: Arc<StdRuntime>,
    connector: Connector,
}

impl Rig {
    fn new(keys: Arc<dyn DecryptionKeys>, adjust: impl FnOnce(ImportConfig) -> ImportConfig) -> Self {
        Self::with_policy(keys, trusting(), adjust)
    }

    fn with_policy(keys: Arc<dyn DecryptionKeys>, policy: RecipientPolicy, adjust: impl FnOnce(ImportConfig) -> ImportConfig) -> Self {
        let queue = Arc::new(InMemoryQueue::new());
        let sink = Arc::new(RecordingSink::new());
        let runtime = Arc::new(StdRuntime::new().unwrap());
        let settings = QueueSettings::new(queue.clone())
            .with_poll_interval(Duration::from_micros(1))
            .with_max_attempts(3)
            .with_batch(10)
            .with_backoff(Duration::from_millis(1), Duration::from_millis(2));
        let config = adjust(ImportConfig::new(queue.clone(), keys, policy).with_settings(settings));
        let connector = Connector::builder(WORLD.provider.clone(), Arc::new(VolatileJournal::new()))
            .tenant("contoso.example".parse().unwrap())
            .instance("one".parse().unwrap())
            .sink(sink.clone())
            .runtime(runtime.clone())
            .import(config)
            .build()
            .unwrap();
        Self { queue, sink, runtime, connector }
    }

    fn with_key() -> Self {
        Self::new(keys(&[&WORLD.import_key.decryption_key]), |config| config)
    }

    fn push(&self, id: &str, encrypted_password: Vec<u8>, padding: PaddingScheme, pfx: &[u8]) {
        let recipient = WORLD.device.der().clone();
        let request = ImportRequest::new(key_name(), padding, encrypted_password, SecretBytes::copy_from(pfx), recipient);
        let mut meta = RequestMeta::new(id.parse().unwrap(), "contoso.example".parse().unwrap(), Flow::PkcsImport);
        meta.device = Some(DEVICE.parse().unwrap());
        self.queue.push(QueueItem::new(meta, Payload::Import(Box::new(request))));
    }

    fn push_good(&self, id: &str) {
        self.push(id, encrypted(PASSWORD.as_bytes(), PaddingScheme::OaepSha512), PaddingScheme::OaepSha512, &WORLD.pfx);
    }

    /// Runs until nothing is in hand and nothing waits.
    fn settle(&self) {
        self.runtime.block_on(async {
            for _ in 0..500 {
                let report = self.connector.run_once().await;
                if report.held == 0 && self.queue.waiting() == 0 {
                    return;
                }
                if let Some(due) = report.next_due {
                    self.runtime.sleep(due).await;
                }
            }
            panic!("work is left after 500 rounds");
        });
    }

    fn ids(&self, scope: &str) -> Vec<u16> {
        self.sink.events_of(scope).iter().map(|event| event.id.code()).collect()
    }

    fn all_ids(&self) -> Vec<u16> {
        self.sink.events().iter().map(|event| event.id.code()).collect()
    }

    fn outcome(&self, id: &str) -> Outcome {
        self.queue.result_of(Flow::PkcsImport, &id.parse::<RequestId>().unwrap()).expect("an answer")
    }

    fn failure(&self, id: &str) -> Failure {
        match self.outcome(id) {
            Outcome::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    fn result(&self, id: &str) -> ImportResult {
        match self.outcome(id) {
            Outcome::Import(result) => result,
            other => panic!("{other:?}"),
        }
    }

    /// What the device decrypts.
    fn as_device(&self, envelope: &[u8]) -> Vec<u8> {
        let key = WORLD.provider.decryption_keys().unwrap().load(&WORLD.device_key).unwrap();
        let opened = self.runtime.block_on(enveloped::decrypt(
            envelope,
            &WORLD.device,
            &*key,
            LegacyCiphers::AllowTripleDes,
            &WORLD.provider,
            &Limits::default(),
        ));
        opened.unwrap().secret_bytes().to_vec()
    }
}

#[test]
fn an_import_raises_its_events_in_the_documented_order_and_gives_the_device_the_password() {
    let rig = Rig::with_key();
    rig.push_good("r1");
    rig.settle();
    assert_eq!(rig.all_ids(), [2202, 2020, 2050, 2102, 2100, 2000]);
    let result = rig.result("r1");
    assert_eq!((result.payload, &result.pfx_envelope), (ImportPayload::Password, &None), "the password alone is the default");
    assert_eq!(rig.as_device(&result.password_envelope), PASSWORD.as_bytes());
}

#[test]
fn the_whole_file_travels_unchanged_when_configured() {
    let rig = Rig::new(keys(&[&WORLD.import_key.decryption_key]), |config| config.with_payload(ImportPayload::Pfx));
    rig.push_good("r1");
    rig.settle();
    let result = rig.result("r1");
    assert_eq!(rig.as_device(&result.password_envelope), PASSWORD.as_bytes());
    assert_eq!(rig.as_device(&result.pfx_envelope.unwrap()), WORLD.pfx);
}

#[test]
fn a_key_store_that_is_away_raises_2051_and_is_asked_again() {
    let store = FaultyKeys { keys: vec![WORLD.import_key.decryption_key.clone()], ..FaultyKeys::default() };
    store.errors.lock().unwrap().push_back(PortError::transient("the vault is sealed"));
    let rig = Rig::new(Arc::new(store), |config| config);
    rig.push_good("r1");
    rig.settle();
    assert_eq!(rig.ids("r1"), [2020, 2051, 2050, 2102, 2000]);
}

#[test]
fn a_remote_key_that_is_away_is_tried_again_until_2052() {
    let spy = SpyKey::new(&WORLD.import_key.decryption_key, 3);
    let rig = Rig::new(Arc::new(FaultyKeys { keys: vec![spy.clone()], ..FaultyKeys::default() }), |config| config);
    rig.push_good("r1");
    rig.settle();
    assert_eq!(rig.ids("r1"), [2020, 2051, 2051, 2052, 2102, 2001]);
    assert_eq!(rig.failure("r1").class, ErrorClass::Transient);

    rig.push_good("r2");
    rig.settle();
    assert_eq!(rig.ids("r2"), [2020, 2050, 2102, 2000], "a remote key is awaited");
    assert_eq!(spy.unwraps(), 4);
}

#[test]
fn a_key_that_never_answers_counts_as_away() {
    #[derive(Debug)]
    struct Hanging(Arc<dyn DecryptionKey>);
    #[async_trait]
    impl DecryptionKey for Hanging {
        fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
            self.0.public_key()
        }
        async fn unwrap(&self, _: &UnwrapRequest) -> Result<SecretBytes, UnwrapError> {
            core::future::pending().await
        }
    }
    let key = &WORLD.import_key.decryption_key;
    let hanging: Arc<dyn DecryptionKey> = Arc::new(Hanging(key.clone()));
    let timeout = |config: ImportConfig| config.with_key_timeout(Duration::from_millis(5));
    let rig = Rig::new(Arc::new(FaultyKeys { keys: vec![hanging.clone()], ..FaultyKeys::default() }), timeout);
    rig.push_good("r1");
    rig.settle();
    assert_eq!(rig.ids("r1"), [2020, 2051, 2051, 2052, 2102, 2001]);

    // Another key of the same name that works is enough.
    let rig = Rig::new(Arc::new(FaultyKeys { keys: vec![hanging, key.clone()], ..FaultyKeys::default() }), timeout);
    rig.push_good("r1");
    rig.settle();
    assert_eq!(rig.ids("r1"), [2020, 2050, 2102, 2000]);
}

#[test]
fn failed_polls_and_uploads_raise_2203_and_2101() {
    let rig = Rig::with_key();
    rig.queue.fail_next_receive(PortError::transient("no route"));
    rig.queue.fail_next_complete(PortError::transient("no route"));
    rig.push_good("r1");
    rig.settle();
    assert_eq!(rig.all_ids(), [2203, 2202, 2020, 2050, 2101, 2102, 2100, 2000]);
}

#[test]
fn wrong_key_wrong_password_and_bad_padding_give_the_queue_one_answer() {
    let rig = Rig::new(keys(&[&WORLD.import_key.decryption_key]), |config| config.dangerous_accept_pkcs1_passwords());
    let scheme = PaddingScheme::OaepSha256;
    rig.push("password", encrypted(b"another password", scheme), scheme, &WORLD.pfx);
    let other = WORLD.other_key.public_key.spki();
    let foreign = encrypt_password(&WORLD.provider, other, scheme, LegacyPadding::Refuse, &Password::from(PASSWORD)).unwrap();
    rig.push("key", foreign, scheme, &WORLD.pfx);
    let mut damaged = encrypted(PASSWORD.as_bytes(), scheme);
    damaged[100] ^= 1;
    rig.push("padding", damaged, scheme, &WORLD.pfx);
    rig.push("length", vec![1; 17], scheme, &WORLD.pfx);
    rig.push("scheme", encrypted(PASSWORD.as_bytes(), PaddingScheme::OaepSha512), scheme, &WORLD.pfx);
    let mut damaged = encrypted(PASSWORD.as_bytes(), PaddingScheme::Pkcs1);
    damaged[100] ^= 1;
    rig.push("pkcs1", damaged, PaddingScheme::Pkcs1, &WORLD.pfx);
    rig.push("pkcs1-password", encrypted(b"another password", PaddingScheme::Pkcs1), PaddingScheme::Pkcs1, &WORLD.pfx);
    rig.settle();
    let expected = rig.failure("password");
    assert_eq!((expected.class, expected.code.as_deref()), (ErrorClass::Request, Some("password-rejected")));
    for id in ["password", "key", "padding", "length", "scheme", "pkcs1", "pkcs1-password"] {
        assert_eq!(rig.failure(id), expected, "{id}");
        assert_eq!(rig.ids(id), [2020, 2052, 2102, 2001], "{id}");
    }
}

#[test]
fn a_file_without_mac_is_refused_alike_for_right_and_wrong_passwords_and_no_key_is_used() {
    let spy = SpyKey::new(&WORLD.import_key.decryption_key, 0);
    let store = || Arc::new(FaultyKeys { keys: vec![spy.clone()], ..FaultyKeys::default() });
    let pfx = pki::without_mac(&WORLD.pfx);
    let scheme = PaddingScheme::OaepSha512;
    let rig = Rig::new(store(), |config| config);
    rig.push("right", encrypted(PASSWORD.as_bytes(), scheme), scheme, &pfx);
    rig.push("wrong", encrypted(b"a guess", scheme), scheme, &pfx);
    rig.settle();
    let refused = rig.failure("right");
    assert_eq!((refused.class, refused.code.as_deref()), (ErrorClass::Request, Some("unauthenticated")));
    assert!(refused.message.contains("export the file again with a password and a MAC"), "{}", refused.message);
    assert_eq!(rig.failure("wrong"), refused);
    for id in ["right", "wrong"] {
        assert_eq!(rig.ids(id), [2020, 2052, 2102, 2001], "{id}");
    }
    assert_eq!(spy.unwraps(), 0);

    // The file is whole otherwise: with the opt-in it is forwarded.
    let rig = Rig::new(store(), |config| config.dangerous_accept_unauthenticated_pfx());
    rig.push("right", encrypted(PASSWORD.as_bytes(), scheme), scheme, &pfx);
    rig.settle();
    assert_eq!(rig.as_device(&rig.result("right").password_envelope), PASSWORD.as_bytes());
    assert_eq!(spy.unwraps(), 1);
}

#[test]
fn while_keys_are_rotated_the_old_one_still_opens() {
    let new = &WORLD.other_key.decryption_key;
    let rig = Rig::new(keys(&[new, new, new, &WORLD.import_key.decryption_key]), |config| config);
    rig.push_good("r1");
    rig.settle();
    assert_eq!(rig.as_device(&rig.result("r1").password_envelope), PASSWORD.as_bytes());

    let rig = Rig::new(keys(&[new, new, new, new, &WORLD.import_key.decryption_key]), |config| config);
    rig.push_good("r1");
    rig.settle();
    assert_eq!(rig.failure("r1").code.as_deref(), Some("password-rejected"), "a fifth key is not tried");
}

#[test]
fn an_unknown_key_name_is_a_matter_of_configuration() {
    let rig = Rig::new(Arc::new(MemoryDecryptionKeys::new()), |config| config);
    rig.push_good("r1");
    rig.settle();
    assert_eq!(rig.failure("r1").class, ErrorClass::Configuration);
}

#[test]
fn oaep_with_sha_2_opens_and_legacy_paddings_need_their_opt_in() {
    let key = || keys(&[&WORLD.import_key.decryption_key]);
    let rig = Rig::new(key(), |config| config);
    let all = OAEP.into_iter().chain([PaddingScheme::Pkcs1, PaddingScheme::OaepSha1]);
    for scheme in all {
        rig.push(&format!("{scheme:?}"), encrypted(PASSWORD.as_bytes(), scheme), scheme, &WORLD.pfx);
    }
    rig.settle();
    for scheme in OAEP {
        assert_eq!(rig.as_device(&rig.result(&format!("{scheme:?}")).password_envelope), PASSWORD.as_bytes());
    }
    for id in ["Pkcs1", "OaepSha1"] {
        assert_eq!(rig.failure(id).class, ErrorClass::Policy);
        assert_eq!(rig.ids(id), [2020, EventId::PolicyRefusal.code(), 2052, 2102, 2001]);
    }
    for (scheme, other, adjust) in [
        (PaddingScheme::Pkcs1, PaddingScheme::OaepSha1, ImportConfig::dangerous_accept_pkcs1_passwords as fn(ImportConfig) -> ImportConfig),
        (PaddingScheme::OaepSha1, PaddingScheme::Pkcs1, ImportConfig::dangerous_accept_oaep_sha1_passwords),
    ] {
        let rig = Rig::new(key(), adjust);
        rig.push("yes", encrypted(PASSWORD.as_bytes(), scheme), scheme, &WORLD.pfx);
        rig.push("no", encrypted(PASSWORD.as_bytes(), other), other, &WORLD.pfx);
        rig.settle();
        assert_eq!(rig.as_device(&rig.result("yes").password_envelope), PASSWORD.as_bytes());
        assert_eq!(rig.failure("no").class, ErrorClass::Policy);
    }
}

#[test]
fn a_recipient_that_the_policy_does_not_know_gets_nothing_and_no_key_is_used() {
    let spy = SpyKey::new(&WORLD.import_key.decryption_key, 0);
    let other = LocalCa::new(WORLD.provider.clone(), "Other CA".parse().unwrap(), KeyAlgorithm::EcP256).unwrap();
    let policy = RecipientPolicy::new().trust_root(other.certificate().der().clone());
    let rig = Rig::with_policy(Arc::new(FaultyKeys { keys: vec![spy.clone()], ..FaultyKeys::default() }), policy, |config| config);
    rig.push_good("r1");
    rig.settle();
    assert_eq!(rig.ids("r1"), [2020, EventId::PolicyRefusal.code(), 2052, 2102, 2001]);
    assert_eq!(rig.failure("r1").class, ErrorClass::Policy);
    assert_eq!(spy.unwraps(), 0);
}

#[test]
fn without_a_recipient_policy_build_fails() {
    let queue = Arc::new(InMemoryQueue::new());
    let error = Connector::builder(WORLD.provider.clone(), Arc::new(VolatileJournal::new()))
        .tenant("contoso.example".parse().unwrap())
        .instance("one".parse().unwrap())
        .sink(Arc::new(RecordingSink::new()))
        .runtime(Arc::new(StdRuntime::new().unwrap()))
        .import(ImportConfig::new(queue, Arc::new(MemoryDecryptionKeys::new()), RecipientPolicy::new()))
        .build()
        .unwrap_err();
    assert!(error.findings().iter().any(|finding| finding.setting == "import.recipients"), "{error}");
}

#[test]
fn no_secret_reaches_an_event_or_an_error() {
    let rig = Rig::with_key();
    rig.push_good("good");
    let scheme = PaddingScheme::OaepSha512;
    rig.push("bad", encrypted(b"Tr0ub4dor&3", scheme), scheme, &WORLD.pfx);
    rig.settle();
    let shown = format!("{:?} {:?}", rig.sink.events(), rig.outcome("bad"));
    for secret in [PASSWORD, "Tr0ub4dor"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

/// The bug of May 2019: finished requests were processed for ever and new ones starved.
#[test]
fn a_finished_batch_replayed_thousands_of_times_is_not_worked_on_again_and_starves_nothing() {
    let spy = SpyKey::new(&WORLD.import_key.decryption_key, 0);
    let rig = Rig::new(Arc::new(FaultyKeys { keys: vec![spy.clone()], ..FaultyKeys::default() }), |config| config);
    let scheme = PaddingScheme::OaepSha512;
    let ciphertexts: Vec<Vec<u8>> = (0..5).map(|_| encrypted(PASSWORD.as_bytes(), scheme)).collect();
    let replay = |rig: &Rig| {
        for (number, ciphertext) in ciphertexts.iter().enumerate() {
            rig.push(&format!("old-{number}"), ciphertext.clone(), scheme, &WORLD.pfx);
        }
    };
    replay(&rig);
    rig.settle();
    let mut new = 0;
    for round in 0..2_000 {
        replay(&rig);
        if round % 100 == 0 {
            // Eight times the batch stands before it, as after a flood.
            (0..8).for_each(|_| replay(&rig));
            new += 1;
            rig.push_good(&format!("new-{new}"));
        }
        rig.settle();
        assert_eq!(rig.sink.count(EventId::PkcsImportRequestSuccess), 5 + new, "in round {round}");
    }
    assert_eq!(spy.unwraps(), 5 + new, "each request was decrypted once");
    assert_eq!(rig.sink.admin_events().len(), 5 + new, "one Admin event each");
    assert!(rig.queue.changed_results().is_empty());
    let deliveries: u32 = rig.queue.deliveries().values().sum();
    assert!(deliveries > 10_000, "{deliveries}");
}

/// Runs the whole flow with a file and a password.
fn imports(id: &str, pfx: &[u8], password: &[u8]) {
    let rig = Rig::with_key();
    rig.push(id, encrypted(password, PaddingScheme::OaepSha512), PaddingScheme::OaepSha512, pfx);
    rig.settle();
    assert_eq!(rig.ids(id), [2020, 2050, 2102, 2000], "{id}: {:?}", rig.outcome(id));
    assert_eq!(rig.as_device(&rig.result(id).password_envelope), password, "{id}");
}

/// A PFX made by OpenSSL, with further options of `pkcs12 -export`.
fn by_openssl(openssl: &Path, folder: &Path, password: &[u8], options: &[&str]) -> Vec<u8> {
    let run = |arguments: &[&str]| {
        support::run(Command::new(openssl).args(arguments).current_dir(folder));
    };
    std::fs::write(folder.join("password"), password).unwrap();
    run(&["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out", "c.pem", "-subj", "/CN=Jane Doe", "-days", "30"]);
    let export = ["pkcs12", "-export", "-inkey", "k.pem", "-in", "c.pem", "-name", "jane", "-passout", "file:password", "-out", "o.p12"];
    run(&[&export[..], options].concat());
    std::fs::read(folder.join("o.p12")).unwrap()
}

#[test]
fn files_made_by_openssl_are_imported() {
    let Some(openssl) = support::tool("openssl") else { return };
    let folder = support::scratch();
    let make = |password: &[u8], options: &[&str]| by_openssl(&openssl, folder.path(), password, options);
    imports("default", &make(PASSWORD.as_bytes(), &[]), PASSWORD.as_bytes());
    let triple_des = ["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"];
    imports("3des", &make(PASSWORD.as_bytes(), &triple_des), PASSWORD.as_bytes());
    // The password is opaque: UTF-8 and Latin-1 arrive at the device as the bytes that they were.
    imports("utf-8", &make("pä€🍕".as_bytes(), &[]), "pä€🍕".as_bytes());
    imports("latin-1", &make(b"p\xe4ss", &triple_des), b"p\xe4ss");
}

#[test]
fn a_file_without_mac_is_refused_unless_opted_in() {
    let Some(openssl) = support::tool("openssl") else { return };
    let folder = support::scratch();
    let pfx = by_openssl(&openssl, folder.path(), PASSWORD.as_bytes(), &["-nomac"]);
    let ciphertext = encrypted(PASSWORD.as_bytes(), PaddingScheme::OaepSha512);
    let rig = Rig::with_key();
    rig.push("r1", ciphertext.clone(), PaddingScheme::OaepSha512, &pfx);
    rig.settle();
    assert_eq!(rig.failure("r1").code.as_deref(), Some("unauthenticated"));
    let rig = Rig::new(keys(&[&WORLD.import_key.decryption_key]), |config| config.dangerous_accept_unauthenticated_pfx());
    rig.push("r1", ciphertext, PaddingScheme::OaepSha512, &pfx);
    rig.settle();
    assert_eq!(rig.as_device(&rig.result("r1").password_envelope), PASSWORD.as_bytes());
}

#[test]
fn files_made_by_nss_are_imported() {
    let (Some(openssl), Some(pk12util)) = (support::tool("openssl"), support::tool("pk12util")) else { return };
    let folder = support::scratch();
    by_openssl(&openssl, folder.path(), PASSWORD.as_bytes(), &[]);
    let database = folder.path().join("nss");
    std::fs::create_dir(&database).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&pk12util);
        command.args(["-K", "", "-W", PASSWORD, "-d"]).arg(format!("sql:{}", database.display())).args(arguments);
        support::run(command.current_dir(folder.path()));
    };
    run(&["-i", "o.p12"]);
    run(&["-n", "jane", "-o", "nss.p12"]);
    imports("nss", &std::fs::read(folder.path().join("nss.p12")).unwrap(), PASSWORD.as_bytes());
}

#[test]
fn files_made_by_keytool_are_imported() {
    let Some(keytool) = support::tool("keytool") else { return };
    let folder = support::scratch();
    let path = folder.path().join("java.p12");
    let mut command = Command::new(keytool);
    command.args(["-genkeypair", "-alias", "jane", "-keyalg", "RSA", "-keysize", "2048", "-validity", "30", "-dname", "CN=Jane Doe"]);
    support::run(command.args(["-storetype", "PKCS12", "-storepass", PASSWORD, "-keystore"]).arg(&path));
    imports("keytool", &std::fs::read(&path).unwrap(), PASSWORD.as_bytes());
}

#[test]
fn openssl_as_the_upload_tool_and_as_the_device() {
    let Some(openssl) = support::tool("openssl") else { return };
    let folder = support::scratch();
    let run = |arguments: &[&str]| support::run(Command::new(&openssl).args(arguments).current_dir(folder.path()));
    std::fs::write(folder.path().join("key.pem"), WORLD.import_key.public_key.to_pem()).unwrap();
    std::fs::write(folder.path().join("password"), PASSWORD).unwrap();
    let encrypt = ["pkeyutl", "-encrypt", "-pubin", "-inkey", "key.pem", "-in", "password", "-out", "encrypted"];
    let padding = ["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha512", "-pkeyopt", "rsa_mgf1_md:sha512"];
    run(&[&encrypt[..], &padding].concat());
    let rig = Rig::with_key();
    rig.push("r1", std::fs::read(folder.path().join("encrypted")).unwrap(), PaddingScheme::OaepSha512, &WORLD.pfx);
    rig.settle();
    std::fs::write(folder.path().join("envelope"), rig.result("r1").password_envelope).unwrap();
    std::fs::write(folder.path().join("device.der"), WORLD.device.der()).unwrap();
    std::fs::write(folder.path().join("device.key"), WORLD.device_key.secret_pkcs8_der()).unwrap();
    run(&["x509", "-inform", "DER", "-in", "device.der", "-out", "device.pem"]);
    run(&["pkey", "-inform", "DER", "-in", "device.key", "-out", "device.key.pem"]);
    let decrypt = ["cms", "-decrypt", "-binary", "-inform", "DER", "-in", "envelope", "-recip", "device.pem", "-inkey", "device.key.pem"];
    assert_eq!(run(&decrypt).stdout, PASSWORD.as_bytes());
}

#[test]
fn import_keys_are_rsa_of_three_sizes() {
    for (algorithm, bits) in [(KeyAlgorithm::Rsa2048, 2048), (KeyAlgorithm::Rsa3072, 3072), (KeyAlgorithm::Rsa4096, 4096)] {
        let key = generate_import_key(&WORLD.provider, algorithm).unwrap();
        assert_eq!(key.public_key.bits(), bits);
        let blob = key.public_key.to_cng_public_blob();
        assert_eq!((&blob[..4], &blob[4..8]), (&b"RSA1"[..], &u32::try_from(bits).unwrap().to_le_bytes()[..]));
    }
    assert!(generate_import_key(&WORLD.provider, KeyAlgorithm::EcP256).is_err());
}
