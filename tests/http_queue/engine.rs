//! The engine over the open queue: every flow of the queue, on a wire that loses calls and answers. Judged from the server's ledger, and
//! with the device's key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::adapters::http::{HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpTransport};
use intune_connector::adapters::http_queue::HttpQueue;
use intune_connector::adapters::{RecordingSink, StdRuntime, VolatileJournal};
use intune_connector::connector::{Connector, QueueSettings};
use intune_connector::crypto::unwrap_now;
use intune_connector::event::EventId;
use intune_connector::health::HealthConfig;
use intune_connector::import::ImportConfig;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::enveloped::Opening;
use intune_connector::message::pfx;
use intune_connector::pkcs::PkcsConfig;
use intune_connector::policy::{IssuancePolicy, RecipientPolicy};
use intune_connector::ports::{Outcome, Payload, QueueItem, Runtime as _};
use intune_connector::recrypt::{RecryptConfig, RecryptKey};
use intune_connector::revoke::RevokeConfig;
use intune_connector::secret::{Password, SecretBytes};
use intune_connector::sim::{OpenQueue, OpenQueueSettings};
use intune_connector::terms::{Flow, oids};

use crate::scripted_ca::ScriptedCa;
use crate::tenant::{self, FaultyKeys, IMPORT_PASSWORD, KEYS, RECRYPT_CONTENT, Revoker};
use crate::wire::{TOKEN, config, id};

/// Loses each fifth call before it is done, and the answer to each seventh.
#[derive(Debug)]
struct BadWire {
    server: Arc<OpenQueue>,
    calls: AtomicU64,
    lost: AtomicU64,
}

#[async_trait]
impl HttpTransport for BadWire {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        if number % 5 == 4 {
            self.lost.fetch_add(1, Ordering::SeqCst);
            return Err(HttpError::new(HttpErrorKind::Connect, "no connection"));
        }
        let answer = self.server.handle(&request);
        if number % 7 == 6 {
            self.lost.fetch_add(1, Ordering::SeqCst);
            return Err(HttpError::new(HttpErrorKind::Closed, "the connection was closed"));
        }
        Ok(answer)
    }
}

struct Run {
    server: Arc<OpenQueue>,
    wire: Arc<BadWire>,
    sink: Arc<RecordingSink>,
    ca: Arc<ScriptedCa>,
    runtime: Arc<StdRuntime>,
    connector: Connector,
}

fn run() -> Run {
    let runtime = Arc::new(StdRuntime::with_threads(2, 64).unwrap());
    let settings = OpenQueueSettings::new("contoso.com".parse().unwrap()).with_token(Password::from(TOKEN)).with_max_batch(3);
    let server = Arc::new(OpenQueue::new(settings, runtime.clone()));
    let wire = Arc::new(BadWire { server: server.clone(), calls: AtomicU64::new(0), lost: AtomicU64::new(0) });
    let connect = HttpQueue::connect(config(), wire.clone(), runtime.clone(), KEYS.provider.clone());
    let queue = Arc::new(runtime.block_on(connect).unwrap());
    let settings = || {
        QueueSettings::new(queue.clone())
            .with_poll_interval(Duration::from_millis(1))
            .with_backoff(Duration::from_millis(1), Duration::from_millis(3))
    };
    let issuance = IssuancePolicy::deny_all()
        .allow_upn_suffix("contoso.com")
        .allow_sid_domain("S-1-5-21-1-2-3".parse().unwrap())
        .allow_extended_key_usage(tenant::oid(oids::CLIENT_AUTH));
    let recipients = || RecipientPolicy::new().trust_root(KEYS.root.certificate.clone());
    let ca = Arc::new(ScriptedCa::new(Arc::new(KEYS.provider.clone())));
    let decryption = KEYS.provider.decryption_keys().unwrap().load(&KEYS.service.key).unwrap();
    let pkcs = PkcsConfig::new(queue.clone(), "ca".parse().unwrap(), ca.clone(), issuance, recipients()).with_settings(settings());
    let key = RecryptKey::new(KEYS.service.certificate.clone(), decryption);
    let recrypt = RecryptConfig::new(queue.clone(), key, recipients()).with_settings(settings());
    let import = ImportConfig::new(queue.clone(), Arc::new(FaultyKeys::default()), recipients()).with_settings(settings());
    let revoke = RevokeConfig::new(queue.clone(), "ca".parse().unwrap(), Arc::new(Revoker::default())).with_settings(settings());
    let sink = Arc::new(RecordingSink::new());
    let connector = Connector::builder(KEYS.provider.clone(), Arc::new(VolatileJournal::new()))
        .tenant("contoso.com".parse().unwrap())
        .instance("one".parse().unwrap())
        .sink(sink.clone())
        .runtime(runtime.clone())
        .flow(pkcs)
        .flow(recrypt)
        .flow(import)
        .flow(revoke)
        .health(HealthConfig::new(queue).with_interval(Duration::from_secs(3_600)).with_pause(Duration::from_millis(1)))
        .build()
        .unwrap();
    Run { server, wire, sink, ca, runtime, connector }
}

impl Run {
    fn push(&self, flow: Flow, id: &str, payload: Payload) {
        self.server.enqueue(QueueItem::new(tenant::meta(flow, id), payload)).unwrap();
    }

    /// Runs until each request that can be answered is, or for two minutes.
    fn settle(&self, answers: usize) {
        self.runtime.block_on(async {
            let give_up = self.runtime.monotonic() + Duration::from_secs(120);
            while self.server.accepted().len() < answers && self.runtime.monotonic() < give_up {
                self.connector.run_once().await;
                self.runtime.sleep(Duration::from_millis(2)).await;
            }
            // What was accepted in a lost answer is uploaded once more.
            for _ in 0..20 {
                self.connector.run_once().await;
                self.runtime.sleep(Duration::from_millis(2)).await;
            }
        });
    }

    fn outcome(&self, flow: Flow, name: &str) -> Outcome {
        self.server.result_of(flow, &id(name)).unwrap_or_else(|| panic!("{name} was lost"))
    }
}

/// What the device reads.
fn opened(envelope: &[u8]) -> SecretBytes {
    let own = Certificate::from_der(&KEYS.device.certificate, &Limits::default()).unwrap();
    let key = KEYS.provider.decryption_keys().unwrap().load(&KEYS.device.key).unwrap();
    let mut opening = Opening::parse(envelope, &Limits::default()).unwrap();
    let request = opening.unwrap_request(&own, &KEYS.provider).unwrap();
    opening.finish(unwrap_now(&*key, &request), &KEYS.provider).unwrap()
}

#[test]
fn every_flow_works_over_a_wire_that_loses_calls_and_answers_and_nothing_is_lost_or_doubled() {
    let run = run();
    for number in 0..5 {
        run.push(Flow::Pkcs, &format!("pkcs-{number}"), tenant::pkcs("ca"));
        run.push(Flow::PkcsRecrypt, &format!("recrypt-{number}"), tenant::recrypt());
        run.push(Flow::PkcsImport, &format!("import-{number}"), tenant::import(IMPORT_PASSWORD));
        run.push(Flow::Revoke, &format!("revoke-{number}"), tenant::revoke(&format!("1{number}"), "ca"));
    }
    run.push(Flow::Pkcs, "pkcs-malformed", Payload::Malformed("`subject` is missing".to_owned()));
    run.push(Flow::Revoke, "revoke-later", Payload::Unknown("attest".to_owned()));
    let mut refused = tenant::pkcs_request("ca");
    refused.extended_key_usage = vec![tenant::oid(oids::SMART_CARD_LOGON)];
    run.push(Flow::Pkcs, "pkcs-refused", Payload::Pkcs(Box::new(refused)));
    run.push(Flow::Revoke, "revoke-unknown", tenant::revoke("0F", "ca"));
    run.settle(23);

    for number in 0..5 {
        let Outcome::Pkcs(result) = run.outcome(Flow::Pkcs, &format!("pkcs-{number}")) else { panic!("no PFX") };
        let password = Password::from(opened(&result.password_envelope));
        let file = pfx::open(opened(&result.pfx_envelope).secret_bytes(), Some(&password), &KEYS.provider, &Limits::default()).unwrap();
        let leaf = file.contents().identity().unwrap().certificate.der.clone();
        assert!(run.ca.issued().contains(&leaf), "the file holds what the CA issued");
        let Outcome::Recrypt(result) = run.outcome(Flow::PkcsRecrypt, &format!("recrypt-{number}")) else { panic!("no envelope") };
        assert_eq!(opened(&result.envelope).secret_bytes(), RECRYPT_CONTENT);
        let Outcome::Import(result) = run.outcome(Flow::PkcsImport, &format!("import-{number}")) else { panic!("no import") };
        assert_eq!(opened(&result.password_envelope).secret_bytes(), IMPORT_PASSWORD.as_bytes());
        assert_eq!(run.outcome(Flow::Revoke, &format!("revoke-{number}")).failure(), None);
    }
    for (flow, name) in [(Flow::Pkcs, "pkcs-malformed"), (Flow::Pkcs, "pkcs-refused"), (Flow::Revoke, "revoke-unknown")] {
        assert!(run.outcome(flow, name).failure().is_some(), "{name} succeeded");
    }
    assert_eq!(run.ca.issued().len(), 5, "one certificate for each request");
    assert_eq!(run.server.changed_results(), []);
    assert_eq!(run.server.unanswered(), [(Flow::Revoke, id("revoke-later"))], "what is not known is left alone");
    assert!(run.server.deliveries().values().all(|count| *count == 1), "{:?}", run.server.deliveries());
    assert!(run.wire.lost.load(Ordering::SeqCst) > 10, "the wire was too good");
    assert!(!run.server.health_messages().is_empty());
    let told = run.sink.events_of("revoke-later");
    assert!(told.iter().any(|event| event.id == EventId::MalformedRequest && event.message.contains("attest")), "{told:?}");
}
