//! Requests that the CA holds for approval.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use intune_connector::adapters::{CallbackValidator, StdRuntime, VolatileJournal};
use intune_connector::event::EventId;
use intune_connector::ids::TransactionId;
use intune_connector::message::scep::{FailInfo, IssuerAndSubject, MessageType, PkiStatus, ScepResponse};
use intune_connector::ports::{Busy, PortError, RowKind, Runtime, Verdict, Vouched};
use intune_connector::scep::{NotificationPolicy, PendingPolicy, Persistence, Service, ServiceBuilder};
use intune_connector::secret::SecretBytes;
use intune_connector::time::Timestamp;

use crate::scep_lab::{Client, Fault, Lab, TestCa, name, shared_key};
use crate::{DAY, ask, enrolled, outcome, read};

const PENDING: (PkiStatus, Option<FailInfo>) = (PkiStatus::Pending, None);
const NO_MATCH: (PkiStatus, Option<FailInfo>) = (PkiStatus::Failure, Some(FailInfo::BadCertId));

fn polled(builder: ServiceBuilder) -> ServiceBuilder {
    builder.pending(PendingPolicy::AnswerPending)
}

fn lab(polls: u32) -> Lab {
    let lab = Lab::with_ca(TestCa::new(shared_key(0)).that_looks_up(), polled);
    lab.ca.faults.lock().unwrap().push(Fault::Pending { polls });
    lab
}

fn request(lab: &Lab, client: &Client) -> ScepResponse {
    ask(lab, client, MessageType::PkcsReq, &client.csr.clone())
}

/// As the RFC has it: the CA's name and the subject asked for.
fn poll(lab: &Lab, client: &Client) -> ScepResponse {
    // The CA wants to be asked no sooner than in a millisecond.
    std::thread::sleep(Duration::from_millis(3));
    let body = IssuerAndSubject::new(read(&lab.ca.certificate).subject().clone(), name("CN=device-1")).to_der();
    ask(lab, client, MessageType::CertPoll, &body)
}

#[test]
fn a_held_request_is_pending_polled_and_then_issued_with_one_admin_event() {
    let lab = lab(1);
    let client = lab.client();
    assert_eq!(outcome(&request(&lab, &client)), PENDING);
    assert_eq!(lab.codes(), [4003, 4004]);
    assert_eq!(outcome(&poll(&lab, &client)), PENDING);
    assert!(lab.notifier.successes.lock().unwrap().is_empty(), "nobody is told before there is a certificate");
    let _ = lab.sink.take();
    let reply = poll(&lab, &client);
    assert_eq!(reply.status(), PkiStatus::Success);
    assert_eq!(client.certificate(&reply).subject().to_string(), "CN=device-1");
    assert_eq!(lab.codes(), [4003, 4006, 4008, 4000]);
    assert_eq!((lab.ca.asks.load(Ordering::SeqCst), lab.validator.calls.load(Ordering::SeqCst)), (1, 1));
    assert_eq!(lab.notifier.successes.lock().unwrap().len(), 1);
}

#[test]
fn a_poll_after_the_certificate_was_lost_on_the_way_gets_it_again() {
    let lab = lab(0);
    let client = lab.client();
    assert_eq!(outcome(&request(&lab, &client)), PENDING);
    let first = client.certificate(&poll(&lab, &client));
    let again = client.certificate(&poll(&lab, &client));
    assert_eq!(first.der(), again.der());
    assert_eq!((lab.ca.certificates(), lab.notifier.successes.lock().unwrap().len()), (1, 1));
}

#[test]
fn the_replay_window_of_a_held_request_begins_with_its_certificate() {
    let lab = Lab::with_ca(TestCa::new(shared_key(0)).that_looks_up(), |builder| {
        polled(builder).persistence(Persistence::default().with_replay_window(Duration::from_secs(2)))
    });
    lab.ca.faults.lock().unwrap().push(Fault::Pending { polls: 0 });
    let client = lab.client();
    assert_eq!(outcome(&request(&lab, &client)), PENDING);
    std::thread::sleep(Duration::from_millis(2_100));
    let first = client.certificate(&poll(&lab, &client));
    // The answer was lost on the way.
    assert_eq!(client.certificate(&poll(&lab, &client)).der(), first.der());
    assert_eq!(client.certificate(&request(&lab, &client)).der(), first.der());
    assert_eq!(lab.ca.certificates(), 1);
}

#[test]
fn the_same_bytes_again_are_answered_as_a_poll_is() {
    let lab = lab(1);
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    let send = || {
        std::thread::sleep(Duration::from_millis(3));
        client.reply(&lab.post(&message), &to, &lab.ra)
    };
    assert_eq!(outcome(&send()), PENDING);
    assert_eq!(outcome(&send()), PENDING);
    let reply = send();
    assert_eq!(reply.status(), PkiStatus::Success);
    client.certificate(&reply);
    assert_eq!(lab.ca.asks.load(Ordering::SeqCst), 1);
}

#[test]
fn the_ca_is_asked_no_sooner_than_it_wants() {
    let lab = lab(5);
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    for _ in 0..2 {
        assert_eq!(outcome(&client.reply(&lab.post(&message), &to, &lab.ra)), PENDING);
    }
    let before = lab.ca.polls.load(Ordering::SeqCst);
    assert_eq!(outcome(&poll(&lab, &client)), PENDING);
    assert_eq!(lab.ca.polls.load(Ordering::SeqCst), before + 1);
}

#[test]
fn a_poll_by_another_key_or_of_another_transaction_is_rejected() {
    let lab = lab(0);
    let client = lab.client();
    assert_eq!(outcome(&poll(&lab, &client)), NO_MATCH, "before the request");
    assert_eq!(outcome(&request(&lab, &client)), PENDING);
    let thief = Client { transaction: client.transaction.clone(), ..Client::new(shared_key(3), "CN=device-1", "thief") };
    assert_eq!(outcome(&poll(&lab, &thief)), NO_MATCH);
    let mut other = Client::new(shared_key(2), "CN=device-1", "another");
    other.transaction = TransactionId::try_from(b"another".to_vec()).unwrap();
    assert_eq!(outcome(&poll(&lab, &other)), NO_MATCH);
    assert_eq!(lab.ca.polls.load(Ordering::SeqCst), 0);
}

#[test]
fn the_answer_to_a_poll_is_encrypted_to_the_certificate_of_the_request() {
    let lab = lab(0);
    let client = lab.client();
    assert_eq!(outcome(&request(&lab, &client)), PENDING);
    // The same key under a certificate of another name: what the answer is encrypted to is named in it.
    let mut poller = Client::new(shared_key(2), "CN=poller", "x");
    poller.transaction = client.transaction.clone();
    let reply = poll(&lab, &poller);
    client.certificate(&reply);
    let opening = reply.open(intune_connector::message::enveloped::LegacyCiphers::Refuse, &Default::default()).unwrap();
    assert!(opening.key_transport(&poller.signer).is_err());
}

#[test]
fn a_poll_needs_no_readable_body() {
    let lab = lab(0);
    let client = lab.client();
    assert_eq!(outcome(&request(&lab, &client)), PENDING);
    std::thread::sleep(Duration::from_millis(3));
    let reply = ask(&lab, &client, MessageType::CertPoll, b"no IssuerAndSubject");
    assert_eq!(reply.status(), PkiStatus::Success, "transactionID and signer decide (RFC 8894 section 3.3.3)");
}

#[test]
fn a_request_that_the_ca_denies_after_a_while_fails_and_the_service_is_told() {
    let lab = lab(3);
    let client = lab.client();
    assert_eq!(outcome(&request(&lab, &client)), PENDING);
    for held in lab.ca.held.lock().unwrap().values_mut() {
        held.denied = true;
    }
    let _ = lab.sink.take();
    assert_eq!(outcome(&poll(&lab, &client)), (PkiStatus::Failure, Some(FailInfo::BadRequest)));
    assert_eq!(lab.codes(), [4003, 4007, 4008, 4001]);
    assert_eq!(lab.notifier.failures.lock().unwrap().len(), 1);
    assert_eq!(outcome(&poll(&lab, &client)), (PkiStatus::Failure, Some(FailInfo::BadRequest)), "and stays refused");
}

#[test]
fn a_ca_that_cannot_be_asked_for_a_while_still_holds_the_request() {
    let errors = || {
        let away = PortError::transient("the CA is away").with_effect(intune_connector::retry::Effect::None);
        vec![away, PortError::misconfigured("the credentials have expired"), PortError::transient("no answer")]
    };
    let held = lab(0);
    let client = held.client();
    assert_eq!(outcome(&request(&held, &client)), PENDING);
    *held.ca.poll_errors.lock().unwrap() = errors();
    for _ in 0..3 {
        assert_eq!(outcome(&poll(&held, &client)), PENDING);
    }
    client.certificate(&poll(&held, &client));
    assert_eq!((held.ca.asks.load(Ordering::SeqCst), held.ca.certificates()), (1, 1));

    // The same while the client waits.
    let waiting = Lab::with_ca(TestCa::new(shared_key(0)), |builder| builder);
    waiting.ca.faults.lock().unwrap().push(Fault::Pending { polls: 0 });
    *waiting.ca.poll_errors.lock().unwrap() = errors();
    let client = waiting.client();
    client.certificate(&request(&waiting, &client));
    assert_eq!((waiting.ca.asks.load(Ordering::SeqCst), waiting.ca.certificates()), (1, 1));
    assert!(waiting.notifier.failures.lock().unwrap().is_empty());
}

#[test]
fn a_held_renewal_of_a_certificate_that_was_revoked_meanwhile_is_not_released() {
    let lab = Lab::with_ca(TestCa::new(shared_key(0)).that_looks_up(), polled);
    let (mut client, certificate) = enrolled(&lab);
    client.signer = certificate.clone();
    client.transaction = TransactionId::try_from(b"renewal".to_vec()).unwrap();
    lab.ca.faults.lock().unwrap().push(Fault::Pending { polls: 0 });
    assert_eq!(outcome(&request(&lab, &client)), PENDING);
    lab.ca.revoked.lock().unwrap().push(certificate.serial().unwrap().clone());
    assert_eq!(outcome(&poll(&lab, &client)), (PkiStatus::Failure, Some(FailInfo::BadRequest)));
    assert_eq!((lab.ca.polls.load(Ordering::SeqCst), lab.ca.certificates()), (0, 1));
}

#[test]
fn another_csr_in_the_transaction_is_refused_while_the_first_is_held_and_new_afterwards() {
    let lab = lab(0);
    let client = lab.client();
    assert_eq!(outcome(&request(&lab, &client)), PENDING);
    let mut other = Client::new(shared_key(2), "CN=device-2", "x");
    other.transaction = client.transaction.clone();
    let _ = lab.sink.take();
    assert_eq!(outcome(&request(&lab, &other)), (PkiStatus::Failure, Some(FailInfo::BadRequest)));
    assert_eq!(lab.sink.count(EventId::RequestConflict), 1);
    assert_eq!(lab.ca.asks.load(Ordering::SeqCst), 1);
    client.certificate(&poll(&lab, &client));
    let reply = request(&lab, &other);
    assert_eq!(other.certificate(&reply).subject().to_string(), "CN=device-2");
    assert_eq!(lab.ca.certificates(), 2);
    // The first is answered as before.
    client.certificate(&request(&lab, &client));
    assert_eq!(lab.ca.certificates(), 2);
}

#[test]
fn a_held_request_survives_a_restart_of_the_service() {
    let lab = lab(0);
    let client = lab.client();
    let journal = Arc::new(VolatileJournal::new());
    let service = || -> Service {
        let builder = polled(lab.builder(journal.clone())).sealing_key(SecretBytes::copy_from(&[7; 32]));
        lab.runtime.block_on(builder.build()).unwrap()
    };
    let handle = |service: &Service, message: Vec<u8>| {
        lab.runtime.block_on(service.handle(intune_connector::scep::Request::post("operation=PKIOperation", message)))
    };
    let (message, to) = client.message(&lab.ra);
    assert_eq!(outcome(&client.reply(&handle(&service(), message), &to, &lab.ra)), PENDING);
    std::thread::sleep(Duration::from_millis(3));
    let restarted = service();
    let body = IssuerAndSubject::new(name("CN=TEST CA"), name("CN=device-1")).to_der();
    let builder = intune_connector::message::scep::PkiRequestBuilder::new(MessageType::CertPoll, client.transaction.clone(), &body);
    let (message, to) = client.message_with(&lab.ra, builder);
    let reply = client.reply(&handle(&restarted, message), &to, &lab.ra);
    assert_eq!(client.certificate(&reply).subject().to_string(), "CN=device-1");
    assert_eq!((lab.ca.asks.load(Ordering::SeqCst), lab.ca.certificates()), (1, 1));
}

/// A clock that is ahead.
#[derive(Debug)]
struct Later(Arc<StdRuntime>, Duration);

impl Runtime for Later {
    fn now(&self) -> Timestamp {
        self.0.now().saturating_add(self.1)
    }
    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.0.sleep(duration)
    }
    fn offload(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Busy> {
        self.0.offload(job)
    }
}

#[test]
fn the_validity_of_a_held_certificate_may_be_counted_from_its_approval_and_no_later() {
    for (longer, expected) in [(3, PkiStatus::Success), (5, PkiStatus::Failure)] {
        let lab = lab(0);
        let client = lab.client();
        let journal = Arc::new(VolatileJournal::new());
        let builder = || polled(lab.builder(journal.clone())).sealing_key(SecretBytes::copy_from(&[7; 32]));
        let first = lab.runtime.block_on(builder().build()).unwrap();
        let post = |service: &Service, message: Vec<u8>| {
            lab.runtime.block_on(service.handle(intune_connector::scep::Request::post("operation=PKIOperation", message)))
        };
        let (message, to) = client.message(&lab.ra);
        assert_eq!(outcome(&client.reply(&post(&first, message.clone()), &to, &lab.ra)), PENDING);
        *lab.ca.longer.lock().unwrap() = longer * DAY;
        let later = builder().runtime(Arc::new(Later(lab.runtime.clone(), 3 * DAY)));
        let later = lab.runtime.block_on(later.build()).unwrap();
        let reply = client.reply(&post(&later, message), &to, &lab.ra);
        assert_eq!(reply.status(), expected, "{longer}");
        assert_eq!(lab.ca.revoked.lock().unwrap().len(), usize::from(expected == PkiStatus::Failure));
    }
}

#[test]
fn a_request_that_waited_too_long_is_given_up_and_what_the_ca_issued_is_revoked() {
    for (polls, revoked, state) in [(0, 1, EventId::CertificateHandedToRevocation), (9, 0, EventId::AnswerLost)] {
        let lab = lab(polls);
        let client = lab.client();
        assert_eq!(outcome(&request(&lab, &client)), PENDING);
        let _ = lab.sink.take();
        lab.runtime.block_on(lab.service.maintain(Timestamp::system_now().saturating_add(6 * DAY)));
        assert_eq!(lab.sink.count(EventId::ScepRequestIssuedFailure), 0, "it still waits");
        lab.runtime.block_on(lab.service.maintain(Timestamp::system_now().saturating_add(8 * DAY)));
        assert_eq!((lab.sink.count(EventId::ScepRequestIssuedFailure), lab.sink.count(state)), (1, 1), "{:?}", lab.codes());
        assert_eq!(lab.ca.revoked.lock().unwrap().len(), revoked);
    }
}

#[test]
fn what_the_ca_issued_too_late_is_revoked_once_ca_and_journal_are_back() {
    let lab = lab(0);
    let client = lab.client();
    assert_eq!(outcome(&request(&lab, &client)), PENDING);
    let _ = lab.sink.take();
    let maintain = |days: u32| lab.runtime.block_on(lab.service.maintain(Timestamp::system_now().saturating_add(days * DAY)));
    lab.ca.poll_errors.lock().unwrap().push(PortError::transient("the CA is away"));
    maintain(8);
    assert_eq!((lab.sink.count(EventId::ScepRequestIssuedFailure), lab.sink.count(EventId::AnswerLost)), (1, 0));
    // Neither revoked nor on the list of orphans.
    lab.ca.refuse_revocation.store(1, Ordering::SeqCst);
    *lab.journal.refuse.lock().unwrap() = Some(RowKind::Orphan);
    maintain(9);
    assert!(lab.ca.certificates() == 1 && lab.ca.revoked.lock().unwrap().is_empty());
    *lab.journal.refuse.lock().unwrap() = None;
    maintain(10);
    assert_eq!(lab.ca.revoked.lock().unwrap().len(), 1);
    assert_eq!(lab.sink.count(EventId::ScepRequestIssuedFailure), 1, "told once");
}

#[test]
fn in_the_spooling_policy_a_polled_certificate_goes_out_and_the_notification_follows() {
    let lab = Lab::with_ca(TestCa::new(shared_key(0)).that_looks_up(), |builder| {
        polled(builder).notification(NotificationPolicy::IssueThenNotify)
    });
    lab.ca.faults.lock().unwrap().push(Fault::Pending { polls: 0 });
    lab.notifier.fail.store(1, Ordering::SeqCst);
    let client = lab.client();
    assert_eq!(outcome(&request(&lab, &client)), PENDING);
    client.certificate(&poll(&lab, &client));
    assert_eq!(lab.sink.count(EventId::ScepRequestSuccess), 0);
    lab.runtime.block_on(lab.service.maintain(Timestamp::system_now().saturating_add(DAY / 24)));
    assert_eq!((lab.sink.count(EventId::ScepRequestSuccess), lab.notifier.successes.lock().unwrap().len()), (1, 1));
}

#[test]
fn pending_is_refused_at_build_for_a_validator_that_does_not_know_it() {
    let lab = Lab::new(|builder| builder);
    let build = |pending: PendingPolicy| {
        let validator = Arc::new(CallbackValidator::new(|_, _| Ok(Verdict::Accepted(Vouched::default()))));
        let builder = lab.builder_with(Arc::new(VolatileJournal::new()), validator);
        lab.runtime.block_on(builder.pending(pending).persistence(Persistence::default()).build())
    };
    assert!(build(PendingPolicy::WaitForTheDeadline).is_ok());
    let findings = build(PendingPolicy::AnswerPending).unwrap_err().findings;
    assert_eq!(findings.iter().map(|finding| finding.setting.as_str()).collect::<Vec<_>>(), ["scep.pending"]);
}
