//! The same request again, another in the same transaction, and nonces that come twice.

use std::sync::atomic::Ordering;

use intune_connector::crypto::SignatureAlgorithm;
use intune_connector::event::EventId;
use intune_connector::ids::{IdempotencyKey, TransactionId};
use intune_connector::message::enveloped::EnvelopeBuilder;
use intune_connector::message::scep::{FailInfo, MessageType, Nonce, PkiStatus, ReplyTo, TransactionName};
use intune_connector::message::signed::{SignedAttribute, SignedBuilder, SignedContent};
use intune_connector::ports::{Change, Journal as _, Row, RowKey, RowKind, RowState, SealedBlob};
use intune_connector::scep::NotificationPolicy;
use intune_connector::terms::Flow;
use intune_connector::time::Timestamp;

use crate::scep_lab::{Client, Lab, TestCa, provider, shared_key};
use crate::{DAY, ask, enrolled, outcome};

const REFUSED: (PkiStatus, Option<FailInfo>) = (PkiStatus::Failure, Some(FailInfo::BadRequest));

fn lab() -> Lab {
    Lab::with_ca(TestCa::new(shared_key(0)).that_looks_up(), |builder| builder)
}

/// A PKCSReq with that nonce.
fn message_with_nonce(lab: &Lab, client: &Client, nonce: Nonce) -> (Vec<u8>, ReplyTo) {
    let envelope = EnvelopeBuilder::new(
        intune_connector::crypto::ContentCipherAlgorithm::Aes128Cbc,
        intune_connector::crypto::KeyTransportAlgorithm::RsaPkcs1v15,
    );
    let envelope = envelope.recipient(&lab.ra).build(&client.csr, provider()).unwrap();
    let attribute = |arc: u8| format!("2.16.840.1.113733.1.9.{arc}").parse().unwrap();
    let transaction = TransactionName::new(client.transaction.clone());
    let unsigned = SignedBuilder::new(SignedContent::Attached(&envelope))
        .attribute(SignedAttribute::printable_string(attribute(2), "19"))
        .attribute(SignedAttribute::from_der(attribute(7), transaction.to_der()))
        .attribute(SignedAttribute::octet_string(attribute(5), nonce.as_bytes()))
        .certificate(client.signer.der())
        .to_be_signed(&client.signer, SignatureAlgorithm::RsaPkcs1Sha256, provider())
        .unwrap();
    let signature = intune_connector::crypto::sign_now(client.key.signing.as_ref(), unsigned.algorithm(), unsigned.message()).unwrap();
    (unsigned.finish(&signature), ReplyTo::new(transaction, nonce))
}

#[test]
fn a_nonce_with_other_bytes_is_refused_in_any_transaction_and_the_same_bytes_are_a_repeat() {
    let lab = lab();
    let nonce = Nonce::random(provider()).unwrap();
    let first = lab.client();
    let (message, to) = message_with_nonce(&lab, &first, nonce);
    let certificate = first.certificate(&first.reply(&lab.post(&message), &to, &lab.ra));
    assert_eq!(first.certificate(&first.reply(&lab.post(&message), &to, &lab.ra)).der(), certificate.der());
    let _ = lab.sink.take();
    for (what, client) in [("the same CSR", first), ("another transaction", lab.client())] {
        let (message, to) = message_with_nonce(&lab, &client, nonce);
        assert_eq!(outcome(&client.reply(&lab.post(&message), &to, &lab.ra)), REFUSED, "{what}");
    }
    assert_eq!(lab.sink.count(EventId::RequestConflict), 2);
    assert_eq!(lab.ca.asks.load(Ordering::SeqCst), 1);
}

#[test]
fn a_nonce_is_remembered_with_its_transaction_over_a_restart() {
    let lab = lab();
    let nonce = Nonce::random(provider()).unwrap();
    let client = lab.client();
    let (message, _) = message_with_nonce(&lab, &client, nonce);
    let key = || intune_connector::secret::SecretBytes::copy_from(&[9; 32]);
    let post = |message: Vec<u8>| {
        let service = lab.runtime.block_on(lab.builder(lab.journal.clone()).sealing_key(key()).build()).unwrap();
        lab.runtime.block_on(service.handle(intune_connector::scep::Request::post("operation=PKIOperation", message)))
    };
    post(message);
    let mut other = Client::new(shared_key(2), "CN=device-9", "x");
    other.transaction = client.transaction.clone();
    let (message, to) = message_with_nonce(&lab, &other, nonce);
    assert_eq!(outcome(&other.reply(&post(message), &to, &lab.ra)), REFUSED);
    assert_eq!(lab.ca.asks.load(Ordering::SeqCst), 1);
}

#[test]
fn the_same_csr_in_a_fresh_message_gets_the_stored_certificate() {
    let lab = lab();
    let (client, certificate) = enrolled(&lab);
    let again = ask(&lab, &client, MessageType::PkcsReq, &client.csr.clone());
    assert_eq!(client.certificate(&again).der(), certificate.der());
    assert_eq!((lab.ca.certificates(), lab.validator.calls.load(Ordering::SeqCst)), (1, 1));
}

#[test]
fn another_csr_in_a_finished_transaction_is_a_new_transaction() {
    let lab = lab();
    let (client, _) = enrolled(&lab);
    let mut other = Client::new(shared_key(2), "CN=device-7", "x");
    other.transaction = client.transaction.clone();
    assert_eq!(ask(&lab, &other, MessageType::PkcsReq, &other.csr.clone()).status(), PkiStatus::Success);
    assert_eq!((lab.ca.certificates(), lab.validator.calls.load(Ordering::SeqCst)), (2, 2));
}

#[test]
fn a_stored_certificate_that_was_revoked_since_is_not_released_again() {
    let lab = lab();
    let (client, certificate) = enrolled(&lab);
    lab.ca.revoked.lock().unwrap().push(certificate.serial().unwrap().clone());
    let _ = lab.sink.take();
    assert_eq!(outcome(&ask(&lab, &client, MessageType::PkcsReq, &client.csr.clone())), REFUSED);
    assert_eq!(lab.sink.count(EventId::ScepRequestIssuedFailure), 1);
    assert_eq!(lab.ca.certificates(), 1);
}

#[test]
fn a_withheld_certificate_stays_withheld_when_its_end_could_not_be_stored() {
    // The CA of the second says whether a certificate counts; that of the first does not.
    for (looks_up, refused) in [(false, vec![RowState::Failed]), (true, vec![RowState::OrphanSuspected, RowState::Failed])] {
        let ca = TestCa::new(shared_key(0));
        ca.looks_up.store(looks_up, Ordering::SeqCst);
        let lab = Lab::with_ca(ca, |builder| builder);
        lab.notifier.fail.store(3, Ordering::SeqCst);
        *lab.journal.refuse_states.lock().unwrap() = refused;
        let client = lab.client();
        let request = || ask(&lab, &client, MessageType::PkcsReq, &client.csr.clone());
        assert_eq!(outcome(&request()), REFUSED);
        assert_eq!(lab.ca.revoked.lock().unwrap().len(), 1);
        lab.journal.refuse_states.lock().unwrap().clear();
        assert_eq!(outcome(&request()), REFUSED, "it is revoked");
        assert!(lab.notifier.successes.lock().unwrap().is_empty(), "and the service is not told of it");
    }
}

#[test]
fn a_withheld_certificate_that_can_be_neither_revoked_nor_listed_is_revoked_later() {
    let lab = lab();
    lab.notifier.fail.store(3, Ordering::SeqCst);
    lab.ca.refuse_revocation.store(1, Ordering::SeqCst);
    *lab.journal.refuse.lock().unwrap() = Some(RowKind::Orphan);
    let client = lab.client();
    assert_eq!(outcome(&ask(&lab, &client, MessageType::PkcsReq, &client.csr.clone())), REFUSED);
    assert!(lab.ca.revoked.lock().unwrap().is_empty());
    lab.runtime.block_on(lab.service.maintain(Timestamp::system_now().saturating_add(2 * DAY)));
    assert_eq!(lab.ca.revoked.lock().unwrap().len(), 1);
}

#[test]
fn old_rows_are_forgotten_however_many_there_are() {
    let lab = lab();
    enrolled(&lab);
    let old = Timestamp::system_now().saturating_sub(30 * DAY);
    let rows = (0..2_500u32).map(|number| {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        let key = RowKey { kind: RowKind::ScepTransactionId, key: IdempotencyKey::new(key) };
        let mut row = Row::new(key, Flow::Scep, old, SealedBlob::new(Vec::new()));
        row.state = RowState::Acknowledged;
        Change::new(row)
    });
    lab.runtime.block_on(lab.journal.commit(rows.collect())).unwrap();
    assert_eq!(lab.runtime.block_on(lab.service.maintain(Timestamp::system_now())).pruned, 2_500);
    assert_eq!(lab.journal.rows.rows().len(), 2, "those of the enrolment");
}

#[test]
fn a_notification_that_was_lost_is_made_up_for_before_the_certificate_is_released_again() {
    let lab = Lab::with_ca(TestCa::new(shared_key(0)).that_looks_up(), |builder| builder.notification(NotificationPolicy::IssueThenNotify));
    lab.notifier.fail.store(1, Ordering::SeqCst);
    *lab.journal.refuse.lock().unwrap() = Some(RowKind::Notification);
    let (client, certificate) = enrolled(&lab);
    assert_eq!(lab.sink.count(EventId::ScepNotifySaveToDiskFailed), 1);
    *lab.journal.refuse.lock().unwrap() = None;
    assert!(lab.notifier.successes.lock().unwrap().is_empty());
    let again = ask(&lab, &client, MessageType::PkcsReq, &client.csr.clone());
    assert_eq!(client.certificate(&again).der(), certificate.der());
    assert_eq!(lab.notifier.successes.lock().unwrap().len(), 1);
    // Told once is enough.
    ask(&lab, &client, MessageType::PkcsReq, &client.csr.clone());
    assert_eq!(lab.notifier.successes.lock().unwrap().len(), 1);
}

#[test]
fn a_stored_notification_that_was_given_up_is_stored_again() {
    let lab = Lab::with_ca(TestCa::new(shared_key(0)).that_looks_up(), |builder| {
        let persistence = intune_connector::scep::Persistence::default().with_spool_attempts(1);
        builder.notification(NotificationPolicy::IssueThenNotify).persistence(persistence)
    });
    lab.notifier.fail.store(3, Ordering::SeqCst);
    let (client, _) = enrolled(&lab);
    let maintain = |hours: u32| lab.runtime.block_on(lab.service.maintain(Timestamp::system_now().saturating_add(hours * DAY / 24)));
    assert_eq!(maintain(1).given_up, 1);
    // The third failure; then the service is back.
    ask(&lab, &client, MessageType::PkcsReq, &client.csr.clone());
    assert_eq!(lab.notifier.fail.load(Ordering::SeqCst), 0);
    assert_eq!(maintain(2).notified, 1);
    assert_eq!(lab.notifier.successes.lock().unwrap().len(), 1);
}

#[test]
fn a_renewal_with_the_same_key_in_the_same_transaction_gets_a_new_certificate_after_the_window() {
    let lab = Lab::with_ca(TestCa::new(shared_key(0)).that_looks_up(), |builder| {
        let persistence = intune_connector::scep::Persistence::default().with_replay_window(std::time::Duration::from_millis(1));
        builder.persistence(persistence)
    });
    let (client, first) = enrolled(&lab);
    std::thread::sleep(std::time::Duration::from_millis(5));
    let second = client.certificate(&ask(&lab, &client, MessageType::PkcsReq, &client.csr.clone()));
    assert_ne!(first.serial(), second.serial());
}

#[test]
fn transaction_ids_of_255_bytes_serve_and_longer_ones_are_no_request() {
    let lab = lab();
    let mut client = lab.client();
    client.transaction = TransactionId::try_from(vec![b'A'; 255]).unwrap();
    assert_eq!(ask(&lab, &client, MessageType::PkcsReq, &client.csr.clone()).status(), PkiStatus::Success);
    assert!(TransactionId::try_from(vec![b'A'; 256]).is_err());
}

#[test]
fn a_request_that_failed_since_the_ca_was_away_may_come_again_where_nobody_was_told() {
    let lab = lab();
    let build = |silent: bool| {
        let journal = std::sync::Arc::new(intune_connector::adapters::VolatileJournal::new());
        let builder = if silent { lab.silent_builder(journal) } else { lab.builder(journal) };
        lab.runtime.block_on(builder.build()).unwrap()
    };
    for (silent, expected) in [(true, PkiStatus::Success), (false, PkiStatus::Failure)] {
        let service = build(silent);
        let client = lab.client();
        let post = || {
            let (message, to) = client.message(&lab.ra);
            let response = lab.runtime.block_on(service.handle(intune_connector::scep::Request::post("operation=PKIOperation", message)));
            client.reply(&response, &to, &lab.ra).status()
        };
        lab.ca.faults.lock().unwrap().extend([crate::scep_lab::Fault::Fail; 3]);
        assert_eq!(post(), PkiStatus::Failure);
        assert_eq!(post(), expected, "after a failure was reported to the service nothing is issued");
    }
}
