//! The recrypt flow through the connector.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![cfg(feature = "pkcs")]

#[path = "support/pki.rs"]
mod pki;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use intune_connector::adapters::{InMemoryQueue, RecordingSink, StdRuntime, VolatileJournal};
use intune_connector::connector::{Connector, QueueSettings};
use intune_connector::crypto::{
    ContentCipherAlgorithm, CryptoProvider, DecryptionKey, KeyTransportAlgorithm, UnwrapError, UnwrapRequest, unwrap_now,
};

use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::enveloped::{EnvelopeBuilder, Opening};
use intune_connector::policy::RecipientPolicy;
use intune_connector::ports::{Outcome, Payload, PortError, QueueItem, RecryptRequest, RequestMeta};
use intune_connector::recrypt::{RecryptConfig, RecryptKey};
use intune_connector::retry::ErrorClass;
use intune_connector::secret::SecretBytes;
use intune_connector::terms::Flow;
use pki::Identity;
use rustls_pki_types::SubjectPublicKeyInfoDer;

/// A key behind a network: not local, and away for the first calls, or silent.
#[derive(Debug)]
struct RemoteKey {
    key: Arc<dyn DecryptionKey>,
    away: AtomicU32,
    silent: AtomicU32,
}

#[async_trait]
impl DecryptionKey for RemoteKey {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.key.public_key()
    }

    async fn unwrap(&self, request: &UnwrapRequest) -> Result<SecretBytes, UnwrapError> {
        if self.away.load(Ordering::SeqCst) > 0 {
            self.away.fetch_sub(1, Ordering::SeqCst);
            return Err(UnwrapError::Unavailable(None));
        }
        if self.silent.load(Ordering::SeqCst) > 0 {
            self.silent.fetch_sub(1, Ordering::SeqCst);
            core::future::pending::<()>().await;
        }
        self.key.unwrap(request).await
    }
}

struct World {
    provider: Arc<CryptoProvider>,
    runtime: Arc<StdRuntime>,
    queue: Arc<InMemoryQueue>,
    sink: Arc<RecordingSink>,
    service: Identity,
    device: Identity,
    connector: Connector,
}

fn world(away: Option<u32>) -> World {
    world_with_key(|key| match away {
        Some(times) => Arc::new(RemoteKey { key, away: AtomicU32::new(times), silent: AtomicU32::new(0) }),
        None => key,
    })
}

/// With a key that gives no answer for the first calls.
fn silent_world(times: u32) -> World {
    world_with_key(|key| Arc::new(RemoteKey { key, away: AtomicU32::new(0), silent: AtomicU32::new(times) }))
}

fn world_with_key(adapt: impl FnOnce(Arc<dyn DecryptionKey>) -> Arc<dyn DecryptionKey>) -> World {
    let provider = pki::provider();
    let root = pki::root(&provider, "device CA");
    let service = pki::device(&provider, &root, "connector");
    let older = pki::device(&provider, &root, "older connector");
    let device = pki::device(&provider, &root, "dev-1");
    let load = |identity: &Identity| provider.decryption_keys().unwrap().load(&identity.key).unwrap();
    let key = adapt(load(&service));
    let queue = Arc::new(InMemoryQueue::new());
    let sink = Arc::new(RecordingSink::new());
    let runtime = Arc::new(StdRuntime::with_threads(2, 64).unwrap());
    let settings = QueueSettings::new(queue.clone())
        .with_poll_interval(Duration::from_millis(1))
        .with_max_attempts(3)
        .with_backoff(Duration::from_millis(1), Duration::from_millis(5));
    let recipients = RecipientPolicy::new().trust_root(root.certificate.clone());
    let config = RecryptConfig::new(queue.clone(), RecryptKey::new(older.certificate.clone(), load(&older)), recipients)
        .with_key(RecryptKey::new(service.certificate.clone(), key))
        .with_key_timeout(Duration::from_millis(50))
        .with_settings(settings);
    let connector = Connector::builder((*provider).clone(), Arc::new(VolatileJournal::new()))
        .tenant("contoso.com".parse().unwrap())
        .instance("i1".parse().unwrap())
        .sink(sink.clone())
        .runtime(runtime.clone())
        .recrypt(config)
        .build()
        .unwrap();
    World { provider, runtime, queue, sink, service, device, connector }
}

impl World {
    fn envelope(&self, to: &Identity) -> Vec<u8> {
        let certificate = Certificate::from_der(&to.certificate, &Limits::default()).unwrap();
        EnvelopeBuilder::new(ContentCipherAlgorithm::Aes256Cbc, KeyTransportAlgorithm::RsaOaepSha256)
            .recipient(&certificate)
            .build(b"stored payload", &self.provider)
            .unwrap()
    }

    fn run(&self, payload: Vec<u8>, device: &str) -> Outcome {
        let mut meta = RequestMeta::new("r1".parse().unwrap(), "contoso.com".parse().unwrap(), Flow::PkcsRecrypt);
        meta.device = Some(device.parse().unwrap());
        let request = RecryptRequest::new(payload, self.device.certificate.clone());
        self.queue.push(QueueItem::new(meta, Payload::Recrypt(Box::new(request))));
        let until = Instant::now() + Duration::from_secs(60);
        self.runtime.block_on(async {
            while self.queue.waiting() > 0 || !self.queue.unanswered().is_empty() {
                self.connector.run_once().await;
                assert!(Instant::now() < until, "no answer; events: {:?}", self.events());
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        self.queue.result_of(Flow::PkcsRecrypt, &"r1".parse().unwrap()).expect("there is a result")
    }

    fn events(&self) -> Vec<u16> {
        self.sink.events().iter().map(|event| event.id.code()).filter(|code| *code > 3).collect()
    }

    fn open_as_device(&self, outcome: &Outcome) -> Vec<u8> {
        let Outcome::Recrypt(result) = outcome else { panic!("{outcome:?}") };
        let certificate = Certificate::from_der(&self.device.certificate, &Limits::default()).unwrap();
        let mut opening = Opening::parse(&result.envelope, &Limits::default()).unwrap();
        let request = opening.unwrap_request(&certificate, &self.provider).unwrap();
        let key = self.provider.decryption_keys().unwrap().load(&self.device.key).unwrap();
        opening.finish(unwrap_now(&*key, &request), &self.provider).unwrap().secret_bytes().to_vec()
    }
}

#[test]
fn a_stored_payload_goes_to_the_new_device_with_its_events_in_order() {
    let world = world(None);
    let outcome = world.run(world.envelope(&world.service), "dev-1");
    assert_eq!(world.open_as_device(&outcome), b"stored payload");
    assert_eq!(world.events(), [1202, 1220, 1251, 1250, 1302, 1300, 1200]);
}

#[test]
fn a_remote_key_that_is_away_is_waited_for() {
    let world = world(Some(2));
    let outcome = world.run(world.envelope(&world.service), "dev-1");
    assert_eq!(world.open_as_device(&outcome), b"stored payload");
    assert_eq!(world.events(), [1202, 1220, 1251, 1250, 1302, 1300, 1200]);
}

#[test]
fn a_key_that_stays_away_ends_the_request_as_a_failed_decryption() {
    let world = world(Some(9));
    let outcome = world.run(world.envelope(&world.service), "dev-1");
    assert!(matches!(&outcome, Outcome::Failed(failure) if failure.class == ErrorClass::Transient), "{outcome:?}");
    assert_eq!(world.events(), [1202, 1220, 1252, 1302, 1300, 1201]);
}

#[test]
fn a_key_that_never_answers_is_abandoned_and_counts_as_away() {
    let world = silent_world(2);
    let outcome = world.run(world.envelope(&world.service), "dev-1");
    assert_eq!(world.open_as_device(&outcome), b"stored payload", "the third attempt got an answer");
    assert_eq!(world.events(), [1202, 1220, 1251, 1250, 1302, 1300, 1200]);

    let world = silent_world(u32::MAX);
    let outcome = world.run(world.envelope(&world.service), "dev-1");
    assert!(matches!(&outcome, Outcome::Failed(failure) if failure.class == ErrorClass::Transient), "{outcome:?}");
    assert_eq!(world.events(), [1202, 1220, 1252, 1302, 1300, 1201]);
}

#[test]
fn damaged_and_foreign_payloads_are_decryption_failures() {
    for foreign in [false, true] {
        let world = world(None);
        let payload = if foreign {
            world.envelope(&world.device)
        } else {
            let mut payload = world.envelope(&world.service);
            let last = payload.len() - 1;
            payload[last] ^= 1;
            payload.truncate(last);
            payload
        };
        let outcome = world.run(payload, "dev-1");
        assert!(matches!(&outcome, Outcome::Failed(failure) if failure.class == ErrorClass::Request), "{outcome:?}");
        assert_eq!(world.events(), [1202, 1220, 1252, 1302, 1300, 1201]);
    }
}

#[test]
fn nothing_is_decrypted_for_another_device() {
    let world = world(None);
    let outcome = world.run(world.envelope(&world.service), "dev-2");
    assert!(matches!(&outcome, Outcome::Failed(failure) if failure.code.as_deref() == Some("recipient-device")), "{outcome:?}");
    assert_eq!(world.events(), [1202, 1220, 6, 1253, 1302, 1300, 1201]);
}

#[test]
fn failed_polls_and_uploads_raise_their_events() {
    let world = world(None);
    world.queue.fail_next_receive(PortError::transient("no network"));
    world.queue.fail_next_complete(PortError::transient("no network"));
    world.run(world.envelope(&world.service), "dev-1");
    assert_eq!(world.events(), [1203, 1202, 1220, 1251, 1250, 1301, 1302, 1300, 1200]);
}
