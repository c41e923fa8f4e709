//! The SCEP service, in process: order of events, one answer for what is wrong inside, both notification policies, replays, faults.

#![cfg(all(feature = "scep", feature = "ring", feature = "aws-lc-rs"))]

#[path = "support/scep_lab.rs"]
mod scep_lab;
mod support;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use intune_connector::crypto::{ContentCipherAlgorithm, KeyTransportAlgorithm, SignatureAlgorithm, sign_now};
use intune_connector::event::EventId;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::enveloped::LegacyCiphers;
use intune_connector::message::scep::{FailInfo, MessageType, PkiRequestBuilder, PkiStatus, ReplyTo};
use intune_connector::message::signed::Signed;
use intune_connector::ports::{RowKind, RowState};
use intune_connector::scep::{Admission, AlgorithmPolicy, NotificationPolicy, Persistence, RegistrationAuthority, Request, Service};
use intune_connector::terms::KeyAlgorithm;
use intune_connector::time::Timestamp;
use scep_lab::{CHALLENGE, Client, Fault, Lab, TestCa, key_pair, provider, shared_key};

fn spooling() -> Lab {
    Lab::new(|builder| builder.notification(NotificationPolicy::IssueThenNotify))
}

fn detail<'a>(event: &'a intune_connector::event::Event, name: &str) -> &'a str {
    event.details.get(name).map_or("", String::as_str)
}

#[test]
fn a_client_enrols_and_the_events_are_in_order() {
    let lab = Lab::new(|builder| builder);
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    let reply = client.reply(&lab.post(&message), &to, &lab.ra);
    assert_eq!(reply.status(), PkiStatus::Success);
    let certificate = client.certificate(&reply);
    assert_eq!(certificate.subject().to_string(), "CN=device-1");
    assert_eq!(lab.codes(), [4003, 4004, 4006, 4008, 4000]);
    let told = lab.notifier.successes.lock().unwrap().clone();
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0].0, Some(&told[0].1), told[0].2.as_str()), (&client.transaction, certificate.serial(), "TEST CA"));
}

#[test]
fn an_ec_ca_works_behind_an_rsa_ra() {
    let lab = Lab::with_ca(TestCa::new(&key_pair(KeyAlgorithm::EcP256)), |builder| builder);
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    let certificate = client.certificate(&client.reply(&lab.post(&message), &to, &lab.ra));
    let issuer = Certificate::from_der(&lab.ca.certificate, &Limits::default()).unwrap();
    certificate.verify_signed_by(provider(), issuer.spki()).unwrap();
}

#[test]
fn every_cipher_digest_and_key_transport_is_mirrored() {
    let lab = Lab::new(|builder| builder);
    for (cipher, transport) in [
        (ContentCipherAlgorithm::Aes128Cbc, KeyTransportAlgorithm::RsaOaepSha1),
        (ContentCipherAlgorithm::Aes192Cbc, KeyTransportAlgorithm::RsaPkcs1v15),
        (ContentCipherAlgorithm::Aes256Cbc, KeyTransportAlgorithm::RsaOaepSha256),
    ] {
        let client = lab.client();
        let builder =
            PkiRequestBuilder::pkcs_req(client.transaction.clone(), &client.csr).algorithms(cipher, transport, LegacyCiphers::Refuse);
        let (message, to) = client.message_with(&lab.ra, builder);
        let reply = client.reply(&lab.post(&message), &to, &lab.ra);
        let opening = reply.open(LegacyCiphers::Refuse, &Limits::default()).unwrap();
        assert_eq!(opening.content_cipher().unwrap(), cipher);
        assert_eq!(opening.key_transport(&client.signer).unwrap(), transport);
        client.certificate(&reply);
    }
}

#[test]
fn triple_des_is_refused_with_bad_alg_unless_the_policy_has_an_alarming_name() {
    for policy in [AlgorithmPolicy::Modern, AlgorithmPolicy::DangerousAllow3DesAndSha1] {
        let lab = Lab::new(|builder| builder.algorithms(policy));
        let client = lab.client();
        let builder = PkiRequestBuilder::pkcs_req(client.transaction.clone(), &client.csr).algorithms(
            ContentCipherAlgorithm::DesEde3Cbc,
            KeyTransportAlgorithm::RsaPkcs1v15,
            LegacyCiphers::AllowTripleDes,
        );
        let (message, to) = client.message_with(&lab.ra, builder);
        let reply = client.reply(&lab.post(&message), &to, &lab.ra);
        let expected = if policy == AlgorithmPolicy::Modern { Some(FailInfo::BadAlg) } else { None };
        assert_eq!(reply.fail_info(), expected);
        assert_eq!(lab.validator.calls.load(Ordering::SeqCst), u32::from(expected.is_none()));
    }
}

/// A PKCSReq with that envelope. Software keys of the crate do not sign with SHA-1: openssl does.
fn around(client: &Client, envelope: &[u8], algorithm: SignatureAlgorithm) -> (Vec<u8>, ReplyTo) {
    client.message_around(envelope, algorithm, |message| {
        if algorithm != SignatureAlgorithm::RsaPkcs1Sha1 {
            return sign_now(client.key.signing.as_ref(), algorithm, message).unwrap();
        }
        let dir = support::scratch();
        let (key, input) = (dir.path().join("key"), dir.path().join("message"));
        std::fs::write(&key, client.key.pkcs8.secret_pkcs8_der()).unwrap();
        std::fs::write(&input, message).unwrap();
        let mut command = Command::new("openssl");
        support::run(command.args(["dgst", "-sha1", "-keyform", "DER", "-sign"]).arg(&key).arg(&input)).stdout
    })
}

#[test]
fn single_des_is_read_from_sha_1_clients_under_its_own_policy_alone_and_never_written() {
    use AlgorithmPolicy::{DangerousAllow3DesAndSha1, DangerousReadSingleDes, Modern};
    if support::tool("openssl").is_none() {
        return;
    }
    for policy in [Modern, DangerousAllow3DesAndSha1, DangerousReadSingleDes] {
        for (algorithm, is_weak) in [(SignatureAlgorithm::RsaPkcs1Sha1, true), (SignatureAlgorithm::RsaPkcs1Sha256, false)] {
            let lab = Lab::new(|builder| builder.algorithms(policy));
            let client = lab.client();
            let (message, to) = around(&client, &scep_lab::single_des_envelope(&lab.ra, &client.csr), algorithm);
            // The reply is read without SHA-1 and without old ciphers.
            let reply = client.reply(&lab.post(&message), &to, &lab.ra);
            let allowed = policy == DangerousReadSingleDes && is_weak;
            assert_eq!(reply.fail_info(), (!allowed).then_some(FailInfo::BadAlg), "{policy:?} {algorithm:?}");
            assert_eq!(lab.validator.calls.load(Ordering::SeqCst), u32::from(allowed));
            if allowed {
                let opening = reply.open(LegacyCiphers::Refuse, &Limits::default()).unwrap();
                assert_eq!(opening.content_cipher().unwrap(), ContentCipherAlgorithm::Aes128Cbc);
                assert_eq!(opening.key_transport(&client.signer).unwrap(), KeyTransportAlgorithm::RsaPkcs1v15);
                assert_eq!(client.certificate(&reply).subject(), client.signer.subject());
            }
        }
    }
}

#[test]
fn what_is_wrong_inside_single_des_gets_the_one_answer() {
    if support::tool("openssl").is_none() {
        return;
    }
    let lab = Lab::new(|builder| builder.algorithms(AlgorithmPolicy::DangerousReadSingleDes));
    let client = lab.client();
    let good = scep_lab::single_des_envelope(&lab.ra, &client.csr);
    let key_len = lab.ra.spki().len();
    // The padding, the CSR in the middle, and the content key.
    let envelopes: Vec<Vec<u8>> = [good.len() - 1, good.len() - 300, good.len() - client.csr.len() - key_len]
        .into_iter()
        .map(|at| {
            let mut damaged = good.clone();
            damaged[at] ^= 1;
            damaged
        })
        .collect();
    for envelope in envelopes {
        let (message, to) = around(&client, &envelope, SignatureAlgorithm::RsaPkcs1Sha1);
        let reply = client.reply(&lab.post(&message), &to, &lab.ra);
        assert_eq!((reply.status(), reply.fail_info()), (PkiStatus::Failure, Some(FailInfo::BadMessageCheck)));
    }
    assert_eq!(lab.validator.calls.load(Ordering::SeqCst), 0);
}

#[test]
fn a_superset_policy_serves_what_the_smaller_ones_serve_in_the_same_way() {
    let lab = Lab::new(|builder| builder.algorithms(AlgorithmPolicy::DangerousReadSingleDes));
    let cases =
        [(ContentCipherAlgorithm::Aes256Cbc, LegacyCiphers::Refuse), (ContentCipherAlgorithm::DesEde3Cbc, LegacyCiphers::AllowTripleDes)];
    for (cipher, ciphers) in cases {
        let client = lab.client();
        let builder = PkiRequestBuilder::pkcs_req(client.transaction.clone(), &client.csr);
        let (message, to) = client.message_with(&lab.ra, builder.algorithms(cipher, KeyTransportAlgorithm::RsaPkcs1v15, ciphers));
        let reply = client.reply(&lab.post(&message), &to, &lab.ra);
        assert_eq!(reply.open(LegacyCiphers::Refuse, &Limits::default()).unwrap().content_cipher().unwrap(), cipher);
    }
}

#[test]
fn a_client_with_an_ec_key_gets_bad_alg_before_anything_is_validated() {
    let lab = Lab::new(|builder| builder);
    let key = Box::leak(Box::new(key_pair(KeyAlgorithm::EcP256)));
    let client = Client::new(key, "CN=ec device", "ec");
    let (message, to) = client.message(&lab.ra);
    let reply = client.reply(&lab.post(&message), &to, &lab.ra);
    assert_eq!(reply.fail_info(), Some(FailInfo::BadAlg));
    assert_eq!(lab.validator.calls.load(Ordering::SeqCst), 0);
    assert_eq!(lab.codes(), [4003, 4001]);
}

#[test]
fn a_wrong_challenge_is_refused_and_nobody_is_notified() {
    let lab = Lab::new(|builder| builder);
    let client = Client::with_challenge(shared_key(2), "CN=thief", "t", "guess");
    let (message, to) = client.message(&lab.ra);
    let reply = client.reply(&lab.post(&message), &to, &lab.ra);
    assert_eq!((reply.status(), reply.fail_info()), (PkiStatus::Failure, Some(FailInfo::BadRequest)));
    assert_eq!(lab.codes(), [4003, 4005, 4001]);
    let admin = &lab.admin()[0];
    assert_eq!((detail(admin, "stage"), detail(admin, "notified")), ("verify", "false"));
    assert_eq!((lab.ca.asks.load(Ordering::SeqCst), lab.notifier.failures.lock().unwrap().len()), (0, 0));
    assert!(lab.journal.rows.rows().is_empty(), "a stranger must not fill the journal");
}

#[test]
fn a_validation_service_that_is_away_means_no_certificate() {
    let lab = Lab::new(|builder| builder);
    lab.validator.away.store(1, Ordering::SeqCst);
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    assert_eq!(client.reply(&lab.post(&message), &to, &lab.ra).status(), PkiStatus::Failure);
    assert_eq!(lab.codes(), [4003, 4005, 4001]);
    // The client may come again with the same bytes.
    assert_eq!(client.reply(&lab.post(&message), &to, &lab.ra).status(), PkiStatus::Success);
}

/// What is wrong inside the envelope, of every kind.
fn broken_inside(lab: &Lab) -> Vec<(&'static str, Client)> {
    let flip = |mut csr: Vec<u8>, at: usize| {
        let at = csr.len() - at;
        csr[at] ^= 1;
        csr
    };
    let mut wrong_signature = lab.client();
    wrong_signature.csr = flip(wrong_signature.csr, 3);
    let mut no_csr = lab.client();
    no_csr.csr = b"no CSR at all".to_vec();
    let mut empty = lab.client();
    empty.csr = Vec::new();
    // A captured CSR of another client, in an envelope signed by a stranger.
    let mut stranger = Client::new(shared_key(3), "CN=device-1", "stranger");
    stranger.csr = lab.client().csr;
    vec![("wrong CSR signature", wrong_signature), ("no CSR", no_csr), ("empty", empty), ("another key's CSR", stranger)]
}

#[test]
fn everything_that_is_wrong_inside_gets_one_answer() {
    let lab = Lab::new(|builder| builder);
    let mut shapes = Vec::new();
    let mut check = |what: &str, client: &Client, message: &[u8], to: &ReplyTo| {
        let _ = lab.sink.take();
        let response = lab.post(message);
        let reply = client.reply(&response, to, &lab.ra);
        assert_eq!(
            (reply.status(), reply.fail_info(), reply.fail_info_text()),
            (PkiStatus::Failure, Some(FailInfo::BadMessageCheck), None),
            "{what}"
        );
        let mut events = lab.sink.events();
        for event in &mut events {
            event.at = Timestamp::from_micros(0);
            event.key.scope = String::new();
        }
        let transaction_len = to.transaction().to_der().len();
        shapes.push((what.to_owned(), response.status, response.media_type, response.body.len() - transaction_len, format!("{events:?}")));
    };
    for (what, client) in broken_inside(&lab) {
        let (message, to) = client.message(&lab.ra);
        check(what, &client, &message, &to);
    }
    // Encrypted to another key: the unwrapped content key is garbage.
    let client = lab.client();
    let pretender = scep_lab::self_signed("CN=x", shared_key(3));
    let other_key = intune_connector::message::certificate::CertificateBuilder::new(
        lab.ra.subject().clone(),
        &shared_key(3).spki,
        pretender.not_before(),
        pretender.not_after(),
        lab.ra.serial().unwrap().clone(),
    )
    .issuer(lab.ra.issuer().clone())
    .to_be_signed(SignatureAlgorithm::RsaPkcs1Sha256)
    .unwrap();
    let other_key = Certificate::from_der(&scep_lab::sign(shared_key(3).signing.as_ref(), other_key), &Limits::default()).unwrap();
    let (message, to) = client.message(&other_key);
    check("content key encrypted to another key", &client, &message, &to);
    // A damaged ciphertext under a good outer signature: the last block decides over the padding, the others over the CSR.
    for from_the_end in [1, 17, 33, 300] {
        let client = lab.client();
        let (message, to) = client.damaged_message(&lab.ra, from_the_end);
        check("damaged ciphertext", &client, &message, &to);
    }
    // Encrypted to somebody else altogether.
    let (message, to) = client.message(&pretender);
    check("not a recipient", &client, &message, &to);
    for shape in &shapes {
        assert_eq!(
            (shape.1, shape.2, shape.3, &shape.4),
            (shapes[0].1, shapes[0].2, shapes[0].3, &shapes[0].4),
            "{} against {}",
            shape.0,
            shapes[0].0
        );
    }
    assert_eq!(lab.validator.calls.load(Ordering::SeqCst), 0);
    assert_eq!(lab.ca.asks.load(Ordering::SeqCst), 0);
}

#[test]
fn a_message_with_a_broken_outer_signature_is_no_request() {
    let lab = Lab::new(|builder| builder);
    let client = lab.client();
    let (mut message, _) = client.message(&lab.ra);
    let last = message.len() - 1;
    message[last] ^= 1;
    assert_eq!(lab.post(&message).status, 400);
    for garbage in [&b"\x30\x80"[..], b"\x30\x03\x02\x01\x01", &[0x30; 500]] {
        assert_eq!(lab.post(garbage).status, 400);
    }
    assert!(lab.codes().iter().all(|code| *code == 10), "{:?}", lab.codes());
}

#[test]
fn other_message_types_around_a_csr_of_a_stranger_are_refused() {
    let lab = Lab::new(|builder| builder);
    for (message_type, expected) in [
        (MessageType::RenewalReq, FailInfo::BadRequest),
        (MessageType::CertPoll, FailInfo::BadCertId),
        (MessageType::GetCert, FailInfo::BadCertId),
        (MessageType::GetCrl, FailInfo::BadCertId),
    ] {
        let client = lab.client();
        let builder = PkiRequestBuilder::new(message_type, client.transaction.clone(), &client.csr);
        let (message, to) = client.message_with(&lab.ra, builder);
        assert_eq!(client.reply(&lab.post(&message), &to, &lab.ra).fail_info(), Some(expected), "{message_type:?}");
    }
    assert_eq!(lab.validator.calls.load(Ordering::SeqCst), 0);
    assert_eq!(lab.admin().len(), 4);
}

#[test]
fn the_same_request_gets_the_same_certificate_and_is_issued_once() {
    let lab = Lab::new(|builder| builder);
    let client = lab.client();
    let (first, to_first) = client.message(&lab.ra);
    let certificate = client.certificate(&client.reply(&lab.post(&first), &to_first, &lab.ra));
    // The same bytes, and the same CSR in a fresh message.
    let (second, to_second) = client.message(&lab.ra);
    for (message, to) in [(&first, &to_first), (&second, &to_second)] {
        let again = client.certificate(&client.reply(&lab.post(message), to, &lab.ra));
        assert_eq!(again.der(), certificate.der());
    }
    assert_eq!((lab.ca.certificates(), lab.validator.calls.load(Ordering::SeqCst)), (1, 1));
    assert_eq!(lab.codes(), [4003, 4004, 4006, 4008, 4000, 4003, 9, 4000, 4003, 9, 4000]);
    // Another CSR under the same transactionID is another request.
    let other = Client::new(shared_key(2), "CN=another", "transaction+1/=");
    let (message, to) = other.message(&lab.ra);
    assert_ne!(other.certificate(&other.reply(&lab.post(&message), &to, &lab.ra)).der(), certificate.der());
}

#[test]
fn after_the_replay_window_the_same_csr_gets_a_new_certificate() {
    let lab = Lab::new(|builder| builder.persistence(Persistence::default().with_replay_window(Duration::from_millis(1))));
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    let first = client.certificate(&client.reply(&lab.post(&message), &to, &lab.ra));
    lab.runtime.block_on(intune_connector::ports::Runtime::sleep(lab.runtime.as_ref(), Duration::from_millis(5)));
    let second = client.certificate(&client.reply(&lab.post(&message), &to, &lab.ra));
    assert_ne!(first.serial(), second.serial());
}

#[test]
fn the_same_request_twice_at_once_is_issued_once() {
    let lab = Arc::new(Lab::new(|builder| builder));
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    let threads: Vec<_> = (0..6)
        .map(|_| {
            let (lab, message) = (lab.clone(), message.clone());
            std::thread::spawn(move || lab.post(&message))
        })
        .collect();
    let serials: Vec<_> = threads
        .into_iter()
        .map(|thread| client.certificate(&client.reply(&thread.join().unwrap(), &to, &lab.ra)).serial_raw().to_vec())
        .collect();
    assert!(serials.windows(2).all(|pair| pair[0] == pair[1]), "{serials:?}");
    assert_eq!(lab.ca.asks.load(Ordering::SeqCst), 1);
}

#[test]
fn a_ca_that_refuses_is_reported_to_the_service() {
    let lab = Lab::new(|builder| builder);
    lab.ca.faults.lock().unwrap().push(Fault::Reject);
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    assert_eq!(client.reply(&lab.post(&message), &to, &lab.ra).fail_info(), Some(FailInfo::BadRequest));
    assert_eq!(lab.codes(), [4003, 4004, 4007, 4008, 4001]);
    let admin = &lab.admin()[0];
    assert_eq!((detail(admin, "stage"), detail(admin, "notified")), ("issue", "true"));
    assert_eq!(lab.notifier.failures.lock().unwrap()[0].0, 0x8009_4014_u32 as i32);
    // The service was told that it failed: the same request is not issued any more.
    assert_eq!(client.reply(&lab.post(&message), &to, &lab.ra).status(), PkiStatus::Failure);
    assert_eq!(lab.ca.certificates(), 0);
}

#[test]
fn a_ca_that_fails_in_passing_is_asked_again() {
    let lab = Lab::new(|builder| builder);
    lab.ca.faults.lock().unwrap().extend([Fault::Fail, Fault::Fail]);
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    client.certificate(&client.reply(&lab.post(&message), &to, &lab.ra));
    assert_eq!(lab.ca.asks.load(Ordering::SeqCst), 3);
}

#[test]
fn a_lost_answer_is_found_and_not_issued_twice() {
    for fault in [Fault::LoseAnswer, Fault::Panic] {
        let lab = Lab::new(|builder| builder);
        lab.ca.faults.lock().unwrap().push(fault);
        let client = lab.client();
        let (message, to) = client.message(&lab.ra);
        client.certificate(&client.reply(&lab.post(&message), &to, &lab.ra));
        assert_eq!(lab.ca.certificates(), 1);
        assert!(lab.codes().contains(&EventId::AnswerLost.code()));
        assert_eq!(lab.admin().len(), 1);
    }
}

#[test]
fn a_certificate_that_is_not_as_planned_is_revoked_and_never_released() {
    let lab = Lab::new(|builder| builder);
    lab.ca.faults.lock().unwrap().push(Fault::WrongSubject);
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    assert_eq!(client.reply(&lab.post(&message), &to, &lab.ra).status(), PkiStatus::Failure);
    assert_eq!(lab.ca.revoked.lock().unwrap().len(), 1);
    assert_eq!(lab.codes(), [4003, 4004, 4006, 4007, 11, 4008, 4001]);
    assert_eq!(detail(&lab.admin()[0], "stage"), "check");
}

#[test]
fn strict_a_certificate_that_the_service_was_not_told_of_is_withheld_and_revoked() {
    let lab = Lab::new(|builder| builder);
    lab.notifier.fail.store(u32::MAX, Ordering::SeqCst);
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    assert_eq!(client.reply(&lab.post(&message), &to, &lab.ra).status(), PkiStatus::Failure);
    assert_eq!(lab.codes(), [4003, 4004, 4006, 4009, 4009, 4009, 11, 4002]);
    assert_eq!(detail(&lab.admin()[0], "released"), "false");
    assert_eq!(lab.ca.revoked.lock().unwrap().len(), 1);
}

#[test]
fn strict_a_notification_that_succeeds_late_releases_the_certificate() {
    let lab = Lab::new(|builder| builder);
    lab.notifier.fail.store(2, Ordering::SeqCst);
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    client.certificate(&client.reply(&lab.post(&message), &to, &lab.ra));
    assert_eq!(lab.codes(), [4003, 4004, 4006, 4009, 4009, 4008, 4000]);
}

#[test]
fn an_orphan_that_cannot_be_revoked_at_once_is_revoked_by_maintain() {
    let lab = Lab::new(|builder| builder);
    lab.notifier.fail.store(3, Ordering::SeqCst);
    lab.ca.refuse_revocation.store(1, Ordering::SeqCst);
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    assert_eq!(client.reply(&lab.post(&message), &to, &lab.ra).status(), PkiStatus::Failure);
    assert!(lab.ca.revoked.lock().unwrap().is_empty());
    let later = Timestamp::system_now().saturating_add(Duration::from_secs(60));
    assert_eq!(lab.runtime.block_on(lab.service.maintain(later)).revoked, 1);
    assert_eq!(lab.ca.revoked.lock().unwrap().len(), 1);
    assert_eq!(lab.runtime.block_on(lab.service.maintain(later)).revoked, 0);
}

#[test]
fn spooling_the_certificate_goes_out_and_the_notification_follows() {
    let lab = spooling();
    lab.notifier.fail.store(3, Ordering::SeqCst);
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    client.certificate(&client.reply(&lab.post(&message), &to, &lab.ra));
    assert_eq!(lab.codes(), [4003, 4004, 4006, 4009], "the Admin event waits for the notification");
    let mut now = Timestamp::system_now();
    for _ in 0..4 {
        now = now.saturating_add(Duration::from_secs(3_600));
        lab.runtime.block_on(lab.service.maintain(now));
    }
    assert_eq!(lab.codes(), [4003, 4004, 4006, 4009, 4009, 4009, 4008, 4000]);
    assert_eq!(lab.notifier.successes.lock().unwrap().len(), 1);
    let scopes: Vec<_> = lab.sink.events().iter().map(|event| event.key.scope.clone()).collect();
    assert!(scopes.windows(2).all(|pair| pair[0] == pair[1]), "{scopes:?}");
    let row = lab.journal.rows.rows().into_iter().find(|row| row.key.kind == RowKind::Notification).unwrap();
    assert_eq!(row.state, RowState::Acknowledged);
}

#[test]
fn spooling_a_notification_is_given_up_with_4002() {
    let lab = Lab::new(|builder| {
        builder
            .notification(NotificationPolicy::IssueThenNotify)
            .persistence(Persistence::default().with_spool_attempts(3).with_backoff(Duration::from_millis(5), Duration::from_secs(1)))
    });
    lab.notifier.fail.store(u32::MAX, Ordering::SeqCst);
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    client.certificate(&client.reply(&lab.post(&message), &to, &lab.ra));
    let mut now = Timestamp::system_now();
    for _ in 0..5 {
        now = now.saturating_add(Duration::from_secs(3_600));
        lab.runtime.block_on(lab.service.maintain(now));
    }
    assert_eq!(lab.codes(), [4003, 4004, 4006, 4009, 4009, 4009, 4002]);
    assert_eq!(detail(&lab.admin()[0], "released"), "true");
}

#[test]
fn spooling_a_failure_notification_carries_its_admin_event_too() {
    let lab = spooling();
    lab.notifier.fail.store(1, Ordering::SeqCst);
    lab.ca.faults.lock().unwrap().push(Fault::Reject);
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    assert_eq!(client.reply(&lab.post(&message), &to, &lab.ra).status(), PkiStatus::Failure);
    lab.runtime.block_on(lab.service.maintain(Timestamp::system_now().saturating_add(Duration::from_secs(60))));
    assert_eq!(lab.codes(), [4003, 4004, 4007, 4009, 4008, 4001]);
    assert_eq!(detail(&lab.admin()[0], "notified"), "true");
    assert_eq!(lab.notifier.failures.lock().unwrap().len(), 1);
}

#[test]
fn spooling_4010_is_raised_when_the_journal_refuses_the_notification() {
    let lab = spooling();
    lab.notifier.fail.store(1, Ordering::SeqCst);
    *lab.journal.refuse.lock().unwrap() = Some(RowKind::Notification);
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    client.certificate(&client.reply(&lab.post(&message), &to, &lab.ra));
    assert_eq!(lab.codes(), [4003, 4004, 4006, 4009, 4010, 4002]);
}

#[test]
fn a_journal_that_refuses_means_that_the_ca_is_not_asked() {
    let lab = Lab::new(|builder| builder);
    *lab.journal.refuse.lock().unwrap() = Some(RowKind::ScepTransaction);
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    let response = lab.post(&message);
    assert_eq!((response.status, response.retry_after), (503, Some(Duration::from_secs(5))));
    assert_eq!(lab.ca.asks.load(Ordering::SeqCst), 0);
    assert_eq!(lab.codes(), [4003, 4004, 13, 4001]);
    // Once it works again, so does the same request.
    *lab.journal.refuse.lock().unwrap() = None;
    client.certificate(&client.reply(&lab.post(&message), &to, &lab.ra));
}

#[test]
fn what_a_client_left_behind_is_cleared_away_by_maintain() {
    let lab = Lab::new(|builder| builder);
    let client = lab.client();
    let (message, _) = client.message(&lab.ra);
    lab.ca.faults.lock().unwrap().push(Fault::Hang);
    // The client hangs up while the CA works.
    {
        let mut future = Box::pin(lab.service.handle(Request::post("operation=PKIOperation", message)));
        let waker = futures_waker();
        let mut context = std::task::Context::from_waker(&waker);
        while lab.ca.asks.load(Ordering::SeqCst) == 0 {
            assert!(future.as_mut().poll(&mut context).is_pending());
            std::thread::yield_now();
        }
    }
    assert_eq!(lab.admin().len(), 1, "{:?}", lab.codes());
    let after_the_window = Timestamp::system_now().saturating_add(Duration::from_secs(2 * 86_400));
    lab.runtime.block_on(lab.service.maintain(after_the_window));
    assert_eq!(lab.ca.revoked.lock().unwrap().len(), 1);
}

fn futures_waker() -> std::task::Waker {
    std::task::Waker::noop().clone()
}

#[test]
fn get_operations_answer_with_their_media_types() {
    let lab = Lab::new(|builder| builder);
    let caps = lab.handle(Request::get("operation=GetCACaps&message=default"));
    assert_eq!((caps.status, caps.media_type), (200, "text/plain"));
    assert!(String::from_utf8(caps.body).unwrap().lines().any(|word| word == "SHA-384"));
    let certificates = lab.handle(Request::get("operation=GetCACert"));
    assert_eq!((certificates.status, certificates.media_type), (200, "application/x-x509-ca-ra-cert"));
    let signed = Signed::parse(&certificates.body, &Limits::default()).unwrap();
    let found: Vec<Vec<u8>> = signed.certificates().map(|der| der.to_vec()).collect();
    assert_eq!(found.len(), 2);
    assert!(found.contains(&lab.ra.der().to_vec()) && found.contains(&lab.ca.certificate.to_vec()));
    assert_eq!(lab.handle(Request::get("operation=Nonsense")).status, 404);
}

#[test]
fn a_ca_that_serves_scep_itself_sends_its_one_certificate() {
    let ca = TestCa::new(shared_key(0));
    let certificate = ca.certificate.clone();
    let lab = Lab::new(|builder| builder);
    let key = shared_key(0);
    let builder = Service::builder(
        provider().clone(),
        lab.journal.clone(),
        "Lab CA".parse().unwrap(),
        Arc::new(ca),
        RegistrationAuthority::single(certificate.clone(), key.signing.clone(), key.decryption.clone().unwrap()),
        lab.validator.clone(),
        lab.notifier.clone(),
    );
    let builder = builder
        .tenant("contoso.example".parse().unwrap())
        .instance("lab-1".parse().unwrap())
        .sink(lab.sink.clone())
        .runtime(lab.runtime.clone())
        .policy(intune_connector::policy::IssuancePolicy::dangerous_allow_any_identity());
    let service = lab.runtime.block_on(builder.build()).unwrap();
    let answer = lab.runtime.block_on(service.handle(Request::get("operation=GetCACert&message=ca")));
    assert_eq!((answer.media_type, answer.body.as_slice()), ("application/x-x509-ca-cert", certificate.as_ref()));
    let client = lab.client();
    let server = Certificate::from_der(&certificate, &Limits::default()).unwrap();
    let (message, to) = client.message(&server);
    let response = lab.runtime.block_on(service.handle(Request::post("operation=PKIOperation", message)));
    client.certificate(&client.reply(&response, &to, &server));
}

#[test]
fn a_get_with_raw_plus_signs_enrols() {
    let lab = Lab::new(|builder| builder);
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    let base64 = base64(&message);
    assert!(base64.contains('+'), "a message of this size has a plus in its base64");
    let response = lab.handle(Request::get(format!("operation=PKIOperation&message={base64}")));
    client.certificate(&client.reply(&response, &to, &lab.ra));
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            out.push(if at <= chunk.len() { char::from(LETTERS[(word >> (18 - 6 * at)) as usize & 63]) } else { '=' });
        }
    }
    out
}

#[test]
fn too_much_is_turned_away_before_any_work() {
    let lab = Lab::new(|builder| builder.admission(Admission::default().with_max_message(4_096)));
    assert_eq!(lab.post(&vec![0x30; 4_097]).status, 413);
    assert!(lab.codes().is_empty());
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    client.certificate(&client.reply(&lab.post(&message), &to, &lab.ra));
}

#[test]
fn requests_over_the_limit_get_503_with_retry_after() {
    let lab = Arc::new(Lab::new(|builder| builder.admission(Admission::default().with_requests(1))));
    // The CA never answers, so the first request is in hand for as long as the test wants it.
    lab.ca.faults.lock().unwrap().push(Fault::Hang);
    let client = lab.client();
    let (message, _) = client.message(&lab.ra);
    let waker = futures_waker();
    let mut context = std::task::Context::from_waker(&waker);
    let mut first = Box::pin(lab.service.handle(Request::post("operation=PKIOperation", message)));
    assert!(first.as_mut().poll(&mut context).is_pending());
    let shed = lab.handle(Request::get("operation=GetCACaps"));
    assert_eq!((shed.status, shed.retry_after), (503, Some(Duration::from_secs(5))));
    drop(first);
    assert_eq!(lab.handle(Request::get("operation=GetCACaps")).status, 200);
}

#[test]
fn the_challenge_shows_nowhere() {
    let lab = spooling();
    lab.notifier.fail.store(2, Ordering::SeqCst);
    lab.ca.faults.lock().unwrap().push(Fault::LoseAnswer);
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    let reply = client.reply(&lab.post(&message), &to, &lab.ra);
    lab.runtime.block_on(lab.service.maintain(Timestamp::system_now().saturating_add(Duration::from_secs(60))));
    let request = Request::post("operation=PKIOperation", client.csr.clone());
    let shown =
        format!("{:?} {:?} {:?} {reply:?} {:?} {request:?}", lab.sink.events(), lab.service, lab.validator, lab.journal.rows.rows());
    assert!(!shown.contains(CHALLENGE));
    for row in lab.journal.rows.rows() {
        let stored = row.blob.as_bytes();
        assert!(!stored.windows(CHALLENGE.len()).any(|window| window == CHALLENGE.as_bytes()), "{:?}", row.key.kind);
    }
}

#[test]
fn every_configuration_mistake_is_listed_at_once() {
    let lab = Lab::new(|builder| builder);
    let (ca_key, ra_key) = (shared_key(0), shared_key(1));
    let builder = Service::builder(
        intune_connector::crypto::CryptoProvider::empty("nothing"),
        lab.journal.clone(),
        "Lab CA".parse().unwrap(),
        lab.ca.clone(),
        RegistrationAuthority::pair(lab.ra.der().clone(), ca_key.signing.clone(), lab.ra.der().clone(), ra_key.decryption.clone().unwrap()),
        lab.validator.clone(),
        lab.notifier.clone(),
    )
    .validity(Duration::ZERO)
    .admission(Admission::default().with_requests(0));
    let error = lab.runtime.block_on(builder.build()).unwrap_err();
    let text = error.to_string();
    for setting in [
        "scep.tenant",
        "scep.instance",
        "scep.runtime",
        "scep.sink",
        "scep.policy",
        "scep.validity",
        "scep.admission.requests",
        "scep.provider.random",
        "scep.ra.signing_key",
    ] {
        assert!(text.contains(setting), "{setting} is missing in {text}");
    }
    assert!(!text.contains("scep.ra.decryption_key"), "{text}");
}
