//! The PKCS flow through the connector: every event in order, every way a CA can fail, and the result as the device opens it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![cfg(feature = "pkcs")]

#[path = "support/pki.rs"]
mod pki;
#[path = "support/scripted_ca.rs"]
mod scripted_ca;

use std::sync::Arc;
use std::time::{Duration, Instant};

use intune_connector::adapters::{InMemoryQueue, LocalCa, LocalCaFault, LocalCaFaults, RecordingSink, StdRuntime, VolatileJournal};
use intune_connector::connector::{Connector, QueueSettings};
use intune_connector::crypto::{CryptoProvider, unwrap_now};
use intune_connector::event::{Channel, EventId};

use intune_connector::ids::{CaName, Oid, RequestId};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::enveloped::Opening;
use intune_connector::message::path::verify_chain;
use intune_connector::message::pfx;
use intune_connector::pkcs::PkcsConfig;
use intune_connector::policy::{IssuancePolicy, RecipientPolicy};
use intune_connector::ports::{CompleteAnswer, Outcome, Payload, PkcsRequest, PkcsResult, PortError, QueueItem, RequestMeta};
use intune_connector::retry::{Effect, ErrorClass};
use intune_connector::secret::Password;
use intune_connector::terms::{Flow, KeyAlgorithm, KeyUsage, PfxProfile, SubjectAltName, oids};
use intune_connector::time::Timestamp;
use pki::Identity;
use scripted_ca::{Next, ScriptedCa};

const SID: &str = "S-1-5-21-1-2-3-1013";

fn oid(text: &str) -> Oid {
    text.parse().unwrap()
}

struct World {
    provider: Arc<CryptoProvider>,
    runtime: Arc<StdRuntime>,
    queue: Arc<InMemoryQueue>,
    sink: Arc<RecordingSink>,
    ca: Arc<ScriptedCa>,
    device: Identity,
    connector: Connector,
}

fn world() -> World {
    world_with(|ca| ca, |config| config, "ca")
}

fn world_with(ca: impl FnOnce(ScriptedCa) -> ScriptedCa, edit: impl FnOnce(PkcsConfig) -> PkcsConfig, ca_name: &str) -> World {
    world_on(Arc::new(InMemoryQueue::new()), ca, |config, _| edit(config), ca_name)
}

fn world_with_queue(edit: impl FnOnce(PkcsConfig, &Arc<InMemoryQueue>) -> PkcsConfig) -> World {
    world_on(Arc::new(InMemoryQueue::new()), |ca| ca, edit, "ca")
}

fn world_on(
    queue: Arc<InMemoryQueue>,
    ca: impl FnOnce(ScriptedCa) -> ScriptedCa,
    edit: impl FnOnce(PkcsConfig, &Arc<InMemoryQueue>) -> PkcsConfig,
    ca_name: &str,
) -> World {
    let provider = pki::provider();
    let ca = Arc::new(ca(ScriptedCa::new(provider.clone())));
    let device_ca = pki::root(&provider, "device CA");
    let device = pki::device(&provider, &device_ca, "dev-1");
    let sink = Arc::new(RecordingSink::new());
    let runtime = Arc::new(StdRuntime::with_threads(2, 64).unwrap());
    let issuance = IssuancePolicy::deny_all()
        .allow_upn_suffix("contoso.com")
        .allow_sid_domain("S-1-5-21-1-2-3".parse().unwrap())
        .allow_extended_key_usage(oid(oids::CLIENT_AUTH));
    let recipients = RecipientPolicy::new().trust_root(device_ca.certificate.clone());
    let settings = QueueSettings::new(queue.clone())
        .with_poll_interval(Duration::from_millis(1))
        .with_max_attempts(3)
        .with_backoff(Duration::from_millis(1), Duration::from_millis(5));
    let config = PkcsConfig::new(queue.clone(), ca_name.parse().unwrap(), ca.clone(), issuance, recipients).with_settings(settings);
    let connector = Connector::builder((*provider).clone(), Arc::new(VolatileJournal::new()))
        .tenant("contoso.com".parse().unwrap())
        .instance("i1".parse().unwrap())
        .sink(sink.clone())
        .runtime(runtime.clone())
        .pkcs(edit(config, &queue))
        .build()
        .unwrap();
    World { provider, runtime, queue, sink, ca, device, connector }
}

impl World {
    fn request(&self) -> PkcsRequest {
        let mut request = PkcsRequest::new("ca".parse::<CaName>().unwrap(), "CN=jane", self.device.certificate.clone());
        request.key = KeyAlgorithm::EcP256;
        request.subject_alt_names = vec![SubjectAltName::Upn("jane@contoso.com".into())];
        request.extended_key_usage = vec![oid(oids::CLIENT_AUTH)];
        request.sid = Some(SID.parse().unwrap());
        request
    }

    fn push(&self, id: &str, request: PkcsRequest) {
        let mut meta = RequestMeta::new(id.parse().unwrap(), "contoso.com".parse().unwrap(), Flow::Pkcs);
        meta.device = Some("dev-1".parse().unwrap());
        meta.correlation = vec!["activity-1".parse().unwrap()];
        self.queue.push(QueueItem::new(meta, Payload::Pkcs(Box::new(request))));
    }

    /// Runs until the queue has an answer to everything it delivered.
    fn run(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        self.runtime.block_on(async {
            loop {
                self.connector.run_once().await;
                if self.queue.waiting() == 0 && self.queue.unanswered().is_empty() {
                    return;
                }
                assert!(Instant::now() < until, "no answer; events: {:?}", self.events("r1"));
                std::thread::sleep(Duration::from_millis(2));
            }
        });
    }

    fn run_one(&self) -> Outcome {
        self.push("r1", self.request());
        self.run();
        self.outcome("r1")
    }

    fn outcome(&self, id: &str) -> Outcome {
        self.queue.result_of(Flow::Pkcs, &id.parse::<RequestId>().unwrap()).expect("there is a result")
    }

    fn events(&self, id: &str) -> Vec<u16> {
        self.sink.events_of(id).iter().map(|event| event.id.code()).collect()
    }

    /// All events of the flow, those of batches too.
    fn all_events(&self) -> Vec<u16> {
        self.sink.events().iter().map(|event| event.id.code()).filter(|code| *code > 3).collect()
    }
}

fn open(world: &World, envelope: &[u8]) -> Vec<u8> {
    let certificate = Certificate::from_der(&world.device.certificate, &Limits::default()).unwrap();
    let mut opening = Opening::parse(envelope, &Limits::default()).unwrap();
    let request = opening.unwrap_request(&certificate, &world.provider).unwrap();
    let key = world.provider.decryption_keys().unwrap().load(&world.device.key).unwrap();
    opening.finish(unwrap_now(&*key, &request), &world.provider).unwrap().secret_bytes().to_vec()
}

/// Opens a result as the device does.
fn open_as_device(world: &World, result: &PkcsResult) -> (Certificate, Password) {
    let password = open(world, &result.password_envelope);
    assert!(password.is_ascii() && password.len() >= 32, "at least 128 bits as hexadecimal digits");
    let password = Password::new(password);
    let file = open(world, &result.pfx_envelope);
    let opened = pfx::open(&file, Some(&password), &world.provider, &Limits::default()).unwrap().into_mac_verified().unwrap();
    let identity = opened.contents().identity().unwrap();
    let leaf = Certificate::from_der(&identity.certificate.der, &Limits::default()).unwrap();
    let signer = world.provider.signing_keys().unwrap().load(&identity.key.key).unwrap();
    assert_eq!(signer.public_key().as_ref(), leaf.spki(), "the private key is that of the certificate");
    let root = Certificate::from_der(&world.ca.root.certificate, &Limits::default()).unwrap();
    verify_chain(&world.provider, &leaf, &[], &[root], Timestamp::system_now()).unwrap();
    assert_eq!((leaf.serial(), leaf.not_after()), (Some(&result.serial), result.not_after));
    assert_eq!(leaf.thumbprint(&world.provider).unwrap(), result.thumbprint);
    (leaf, password)
}

fn success(outcome: Outcome) -> PkcsResult {
    match outcome {
        Outcome::Pkcs(result) => *result,
        other => panic!("{other:?}"),
    }
}

fn failure(outcome: Outcome) -> intune_connector::ports::Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_is_issued_packed_and_opened_by_the_device_with_its_events_in_order() {
    let world = world();
    let result = success(world.run_one());
    let (leaf, _) = open_as_device(&world, &result);
    assert_eq!(leaf.subject_alt_names(), [SubjectAltName::Upn("jane@contoso.com".into())]);
    assert_eq!(leaf.sid(), Some(&SID.parse().unwrap()));
    assert_eq!(world.all_events(), [1002, 1020, 1050, 1102, 1100, 1000]);
    let issued = world.sink.events().into_iter().find(|event| event.id == EventId::PkcsIssuedSuccess).unwrap();
    assert_eq!(issued.ca.as_ref().map(|ca| ca.as_str()), Some("ca"));
    assert!(issued.duration_micros.is_some() && issued.details.contains_key("serial"));
    assert_eq!(issued.correlation, ["activity-1".parse().unwrap()]);
}

#[test]
fn every_key_algorithm_and_profile_gives_a_file_that_opens() {
    let world = world();
    let kinds = [
        (KeyAlgorithm::Rsa2048, PfxProfile::Modern),
        (KeyAlgorithm::Rsa3072, PfxProfile::Compat),
        (KeyAlgorithm::EcP256, PfxProfile::Compat),
        (KeyAlgorithm::EcP384, PfxProfile::Modern),
    ];
    for (number, (key, profile)) in kinds.into_iter().enumerate() {
        let mut request = world.request();
        (request.key, request.pfx_profile) = (key, profile);
        request.friendly_name = Some("Jane's certificate \u{1f511}".into());
        world.push(&format!("k{number}"), request);
    }
    world.run();
    let mut passwords = Vec::new();
    for number in 0..4 {
        let (_, password) = open_as_device(&world, &success(world.outcome(&format!("k{number}"))));
        passwords.push(password.secret_bytes().to_vec());
    }
    let told = format!("{:?}", world.sink.events());
    for password in &passwords {
        assert!(!told.contains(std::str::from_utf8(password).unwrap()), "a password is in an event");
    }
    passwords.sort();
    passwords.dedup();
    assert_eq!(passwords.len(), 4, "each file has a password of its own");
}

#[test]
fn a_refused_request_reaches_no_ca_and_says_which_rule() {
    let world = world();
    let mut request = world.request();
    request.subject_alt_names = vec![SubjectAltName::Upn("admin@fabrikam.com".into())];
    world.push("r1", request);
    world.run();
    let failure = failure(world.outcome("r1"));
    assert_eq!((failure.class, failure.code.as_deref()), (ErrorClass::Policy, Some("upn-suffix")));
    assert_eq!(world.ca.calls(), Vec::<String>::new());
    assert_eq!(world.events("r1"), [1020, 6, 1052, 1102, 1001]);
}

#[test]
fn a_recipient_that_is_not_the_device_gets_nothing() {
    let world = world();
    let mut request = world.request();
    let other_ca = pki::root(&world.provider, "device CA");
    request.recipient = pki::device(&world.provider, &other_ca, "dev-1").certificate;
    world.push("r1", request);
    world.run();
    assert_eq!(failure(world.outcome("r1")).code.as_deref(), Some("recipient-trust"));
    assert_eq!(world.ca.calls(), Vec::<String>::new());
}

#[test]
fn failed_attempts_are_repeated_and_then_given_up() {
    let world = world();
    let away = || PortError::transient("the CA is away").with_effect(Effect::None);
    world.ca.next(Next::Fail(away()));
    open_as_device(&world, &success(world.run_one()));
    assert_eq!(world.events("r1"), [1020, 1051, 1050, 1102, 1000]);

    for _ in 0..3 {
        world.ca.next(Next::Fail(away()));
    }
    world.push("r2", world.request());
    world.run();
    assert_eq!(failure(world.outcome("r2")).class, ErrorClass::Transient);
    assert_eq!(world.events("r2"), [1020, 1051, 1051, 1052, 1102, 1001]);
    assert_eq!(world.ca.issued().len(), 1);
}

#[test]
fn a_rejected_request_is_not_repeated() {
    let world = world();
    world.ca.next(Next::Fail(PortError::rejected("denied by the policy module").with_code("0x80094800")));
    let failure = failure(world.run_one());
    assert_eq!((failure.class, failure.code.as_deref()), (ErrorClass::Request, Some("0x80094800")));
    assert_eq!(world.ca.calls(), ["issue"]);
    assert_eq!(world.events("r1"), [1020, 1052, 1102, 1001]);
}

#[test]
fn a_lost_answer_is_looked_for_and_no_second_certificate_is_made() {
    let world = world();
    world.ca.next(Next::IssueAndFail(PortError::transient("the connection broke")));
    open_as_device(&world, &success(world.run_one()));
    assert_eq!(world.ca.calls(), ["issue", "find"]);
    assert_eq!(world.ca.issued().len(), 1);
    assert_eq!(world.events("r1"), [1020, 16, 1051, 1050, 1102, 1000]);
}

#[test]
fn a_lost_request_is_asked_again_for_the_same_key() {
    let world = world();
    world.ca.next(Next::Fail(PortError::transient("the connection broke")));
    world.ca.fail_next_find(PortError::transient("still broken"));
    open_as_device(&world, &success(world.run_one()));
    assert_eq!(world.ca.calls(), ["issue", "find", "find", "issue"]);
    assert_eq!(world.ca.keys().len(), 1);
}

#[test]
fn a_blind_ca_is_asked_again_and_the_possible_orphan_is_reported() {
    let blind = |mut ca: ScriptedCa| {
        ca.capabilities.find = false;
        ca
    };
    let world = world_with(blind, |config| config, "ca");
    world.ca.next(Next::IssueAndFail(PortError::transient("the connection broke")));
    open_as_device(&world, &success(world.run_one()));
    assert_eq!(world.ca.calls(), ["issue", "issue"]);
    let keys = world.ca.keys();
    assert_eq!(keys[0], keys[1], "the key pair is made once");
    let told: Vec<_> = world.sink.events_of("r1").into_iter().filter(|event| event.id == EventId::AnswerLost).collect();
    assert!(told.iter().any(|event| event.details.get("orphan").is_some_and(|text| text == "suspected")), "{told:?}");
}

#[test]
fn a_ca_that_hangs_is_abandoned_and_then_searched() {
    let world = world_with(|ca| ca, |config| config.with_ca_timeout(Duration::from_millis(50)), "ca");
    world.ca.next(Next::Hang);
    open_as_device(&world, &success(world.run_one()));
    assert_eq!(world.ca.calls(), ["issue", "find", "issue"]);
}

#[test]
fn an_adapter_that_panics_counts_as_a_lost_answer_and_the_ca_is_searched() {
    let world = world();
    world.ca.next(Next::Panic);
    open_as_device(&world, &success(world.run_one()));
    assert_eq!(world.ca.calls(), ["issue", "find", "issue"]);
    assert_eq!(world.events("r1"), [1020, 12, 16, 1051, 1050, 1102, 1000]);
}

#[test]
fn an_adapter_that_goes_on_panicking_fails_its_request_only() {
    let world = world();
    for _ in 0..3 {
        world.ca.next(Next::Panic);
    }
    world.push("r1", world.request());
    world.run();
    let failure = failure(world.outcome("r1"));
    assert_eq!(failure.class, ErrorClass::Transient);
    assert!(failure.message.contains("panicked"), "{}", failure.message);
    world.push("r2", world.request());
    world.run();
    open_as_device(&world, &success(world.outcome("r2")));
}

#[test]
fn a_pending_certificate_is_waited_for_without_spending_attempts() {
    let world = world();
    world.ca.next(Next::Pend(1));
    open_as_device(&world, &success(world.run_one()));
    assert_eq!(world.ca.calls(), ["issue", "status", "status"]);
    assert_eq!(world.events("r1"), [1020, 1050, 1102, 1000]);
}

#[test]
fn a_misconfigured_ca_fails_the_request_and_is_left_alone_for_a_while() {
    let world = world_with(|ca| ca, |config| config.with_cool_down(Duration::from_millis(300)), "ca");
    world.ca.next(Next::Fail(PortError::misconfigured("the account may not enrol")));
    assert_eq!(failure(world.run_one()).class, ErrorClass::Configuration);
    let begin = Instant::now();
    world.push("r2", world.request());
    world.run();
    assert!(begin.elapsed() >= Duration::from_millis(200), "{:?}", begin.elapsed());
    open_as_device(&world, &success(world.outcome("r2")));
}

#[test]
fn a_certificate_that_is_not_as_planned_is_never_uploaded_and_is_revoked() {
    let wrong: Vec<(&str, Next)> = vec![
        ("subject", Next::Subject("CN=administrator")),
        ("for another key", Next::OtherKey),
        ("subjectAltName", Next::Edit(Box::new(|b| b.subject_alt_names(&[])))),
        ("SID", Next::Edit(Box::new(|b| b.sid(None)))),
        ("extendedKeyUsage", Next::Edit(Box::new(|b| b.extended_key_usage(&[oid(oids::CLIENT_AUTH), oid(oids::SERVER_AUTH)])))),
        ("keyUsage", Next::Edit(Box::new(|b| b.key_usage(KeyUsage { content_commitment: true, ..KeyUsage::SIGN_AND_ENCIPHER })))),
        ("CA certificate", Next::Edit(Box::new(|b| b.ca(None)))),
    ];
    let world = world();
    for (number, (what, next)) in wrong.into_iter().enumerate() {
        let id = format!("w{number}");
        world.ca.next(next);
        world.push(&id, world.request());
        world.run();
        let failure = failure(world.outcome(&id));
        assert_eq!(failure.class, ErrorClass::Policy, "{what}");
        assert!(failure.message.contains(what), "{what}: {}", failure.message);
        assert_eq!(world.events(&id), [1020, 11, 1052, 1102, 1001], "{what}");
        assert_eq!(world.ca.revoked().len(), number + 1, "{what}");
    }
}

#[test]
fn a_deadline_before_a_pending_certificate_reports_what_may_be_issued_for_nobody() {
    let deadline = |config: PkcsConfig, queue: &Arc<InMemoryQueue>| {
        config.with_settings(QueueSettings::new(queue.clone()).with_poll_interval(Duration::from_millis(1)).with_deadline(DEADLINE))
    };
    const DEADLINE: Duration = Duration::from_millis(400);
    let world = world_with_queue(deadline);
    world.ca.next(Next::Pend(1_000));
    let failure = failure(world.run_one());
    assert_eq!(failure.class, ErrorClass::Deadline);
    assert!(failure.message.contains("may have been issued"), "{}", failure.message);
    assert_eq!(world.events("r1"), [1020, 16, 1052, 1102, 1001]);
}

#[test]
fn a_deadline_before_a_revocation_names_the_orphan() {
    let deadline = |config: PkcsConfig, queue: &Arc<InMemoryQueue>| {
        config.with_settings(
            QueueSettings::new(queue.clone()).with_poll_interval(Duration::from_millis(1)).with_deadline(Duration::from_millis(1_200)),
        )
    };
    let world = world_with_queue(deadline);
    world.ca.next(Next::Edit(Box::new(|b| b.sid(None))));
    world.ca.fail_next_revoke(PortError::transient("the CA is away"));
    assert_eq!(failure(world.run_one()).class, ErrorClass::Deadline);
    assert_eq!(world.events("r1"), [1020, 11, 1052, 1102, 1001]);
    let event = world.sink.events_of("r1").into_iter().find(|event| event.id == EventId::CertificateHandedToRevocation).unwrap();
    assert!(event.details["revocation"].contains("orphan") && event.details["serial"] != "unknown", "{event:?}");
}

#[test]
fn a_certificate_that_another_worker_asked_for_is_not_revoked() {
    let mut capabilities = intune_connector::ports::QueueCapabilities::new(vec![Flow::Pkcs]);
    capabilities.redelivers_elsewhere = true;
    let queue = Arc::new(InMemoryQueue::with_capabilities(capabilities));
    let world = world_on(queue, |ca| ca, |config, _| config, "ca");
    // An idempotent CA answers with the certificate of whoever asked first.
    world.ca.next(Next::OtherKey);
    let failure = failure(world.run_one());
    assert_eq!(failure.code.as_deref(), Some("post-issue"));
    assert_eq!(world.ca.revoked(), Vec::<String>::new());
    assert_eq!(world.events("r1"), [1020, 11, 1052, 1102, 1001]);
}

#[test]
fn a_revocation_that_fails_is_repeated_and_a_lasting_failure_leaves_a_named_orphan() {
    let world = world();
    world.ca.next(Next::Edit(Box::new(|b| b.sid(None))));
    world.ca.fail_next_revoke(PortError::rejected("not allowed"));
    world.run_one();
    let event = world.sink.events_of("r1").into_iter().find(|event| event.id == EventId::CertificateHandedToRevocation).unwrap();
    assert!(event.details["revocation"].contains("orphan"), "{event:?}");
    assert!(event.details["serial"] != "unknown");
    assert_eq!(world.ca.revoked(), Vec::<String>::new());
}

#[test]
fn a_validity_under_five_days_is_issued_with_a_warning() {
    let world = world();
    let mut request = world.request();
    request.validity = 2 * pki::DAY;
    world.push("r1", request);
    world.run();
    success(world.outcome("r1"));
    let issued = world.sink.events_of("r1").into_iter().find(|event| event.id == EventId::PkcsIssuedSuccess).unwrap();
    assert!(issued.details.get("warning").is_some_and(|text| text.contains("5 days")), "{issued:?}");
}

#[test]
fn symantec_is_routed_to_digicerts_event() {
    let world = world_with(|ca| ca, |config| config, "Symantec");
    let mut request = world.request();
    request.ca = "Symantec".parse().unwrap();
    world.push("r1", request);
    world.run();
    assert_eq!(world.events("r1"), [1020, 1032, 1050, 1102, 1000]);
}

#[test]
fn a_profile_with_an_unknown_ca_fails_with_a_clear_text() {
    let world = world();
    let mut request = world.request();
    request.ca = "elsewhere".parse().unwrap();
    world.push("r1", request);
    world.run();
    let failure = failure(world.outcome("r1"));
    assert!(failure.message.contains("elsewhere") && failure.class == ErrorClass::Configuration, "{failure:?}");
}

#[test]
fn failed_polls_and_uploads_raise_their_events() {
    let world = world();
    world.queue.fail_next_receive(PortError::transient("no network"));
    world.queue.fail_next_complete(PortError::transient("no network"));
    success(world.run_one());
    let all = world.all_events();
    assert_eq!(all, [1003, 1002, 1020, 1050, 1101, 1102, 1100, 1000]);

    world.queue.answer_next("r2".parse().unwrap(), CompleteAnswer::Refused("gone".into()));
    world.push("r2", world.request());
    world.runtime.block_on(async {
        for _ in 0..50 {
            world.connector.run_once().await;
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    assert_eq!(world.events("r2").last(), Some(&1001));
}

#[test]
fn with_a_ca_that_fails_in_every_way_nothing_is_lost_doubled_or_wrong_by_its_own_ledger() {
    let provider = pki::provider();
    let ca = Arc::new(LocalCa::new((*provider).clone(), "local".parse().unwrap(), KeyAlgorithm::EcP256).unwrap());
    ca.inject_faults(
        LocalCaFaults::none()
            .then(1, LocalCaFault::LoseAnswer)
            .then(1, LocalCaFault::FailTransiently)
            .then(1, LocalCaFault::WrongKey)
            .then(1, LocalCaFault::DropSid)
            .then(1, LocalCaFault::ExtraExtendedKeyUsage(oid(oids::SERVER_AUTH)))
            .then(1, LocalCaFault::LongerValidity(Duration::from_secs(30 * 86_400)))
            .then(1, LocalCaFault::Reject)
            .then(1, LocalCaFault::Pending { polls: 0 })
            .every(5, LocalCaFault::LoseAnswer)
            .fail_revocations(1),
    );
    let world = world_with(|ca| ca, |config| config.with_ca("local".parse().unwrap(), ca.clone()), "ca");
    for number in 0..24 {
        let mut request = world.request();
        request.ca = "local".parse().unwrap();
        world.push(&format!("l{number}"), request);
    }
    world.run();
    let mut delivered = Vec::new();
    let mut refused = 0;
    for number in 0..24 {
        match world.outcome(&format!("l{number}")) {
            Outcome::Pkcs(result) => {
                let password = Password::new(open(&world, &result.password_envelope));
                let file = open(&world, &result.pfx_envelope);
                pfx::open(&file, Some(&password), &world.provider, &Limits::default()).unwrap().into_mac_verified().unwrap();
                delivered.push(result.serial);
            }
            Outcome::Failed(_) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((delivered.len(), refused), (19, 5), "four wrong certificates and one rejection");
    let (revoked, living): (Vec<_>, Vec<_>) = ca.issued().into_iter().partition(|entry| entry.revoked.is_some());
    assert_eq!(revoked.len(), 4);
    let mut living: Vec<_> = living.into_iter().map(|entry| entry.serial).collect();
    living.sort();
    delivered.sort();
    assert_eq!(living, delivered, "what lives was delivered, and what was delivered lives");
}

#[test]
fn every_request_ends_with_exactly_one_admin_event() {
    let world = world();
    for number in 0..12 {
        match number % 4 {
            0 => world.ca.next(Next::Fail(PortError::rejected("no"))),
            1 => world.ca.next(Next::IssueAndFail(PortError::transient("lost"))),
            _ => {}
        }
        world.push(&format!("n{number}"), world.request());
    }
    world.run();
    for number in 0..12 {
        let admin: Vec<_> =
            world.sink.events_of(&format!("n{number}")).into_iter().filter(|event| event.id.channel() == Channel::Admin).collect();
        assert_eq!(admin.len(), 1, "{admin:?}");
    }
}

#[test]
fn a_flow_without_trusted_recipients_or_with_a_ca_that_cannot_write_sids_does_not_build() {
    let provider = pki::provider();
    let mut ca = ScriptedCa::new(provider.clone());
    ca.capabilities.sid_extension = false;
    let queue = Arc::new(InMemoryQueue::new());
    let issuance = IssuancePolicy::deny_all().allow_sid_domain("S-1-5-21-1-2-3".parse().unwrap());
    let config = PkcsConfig::new(queue, "ca".parse().unwrap(), Arc::new(ca), issuance, RecipientPolicy::new()).with_pfx_iterations(1);
    let error = Connector::builder((*provider).clone(), Arc::new(VolatileJournal::new()))
        .tenant("contoso.com".parse().unwrap())
        .instance("i1".parse().unwrap())
        .runtime(Arc::new(StdRuntime::with_threads(1, 8).unwrap()))
        .pkcs(config)
        .build()
        .unwrap_err()
        .to_string();
    assert!(error.contains("pkcs.recipients") && error.contains("pkcs.ca.ca"), "{error}");
    assert!(error.contains("pkcs.pfx_iterations"), "{error}");
}
