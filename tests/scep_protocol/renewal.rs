//! A request signed by a certificate of ours.

use std::sync::atomic::Ordering;

use intune_connector::event::EventId;
use intune_connector::ids::TransactionId;
use intune_connector::message::certificate::{Certificate, CertificateBuilder};
use intune_connector::message::csr::CsrBuilder;
use intune_connector::message::scep::{FailInfo, MessageType, PkiStatus, ScepResponse};
use intune_connector::scep::{RenewalPolicy, Request};
use intune_connector::secret::Password;
use intune_connector::terms::{KeyUsage, SubjectAltName, oids};
use intune_connector::time::Timestamp;

use crate::scep_lab::{CHALLENGE, Client, Fault, KeyPair, Lab, TestCa, name, shared_key, sign};
use crate::{DAY, ask, enrolled, new_key, outcome, read};

const REFUSED: (PkiStatus, Option<FailInfo>) = (PkiStatus::Failure, Some(FailInfo::BadRequest));
const NOT_VERIFIED: (PkiStatus, Option<FailInfo>) = (PkiStatus::Failure, Some(FailInfo::BadMessageCheck));
const GRANTED: (PkiStatus, Option<FailInfo>) = (PkiStatus::Success, None);

fn lab(renewal: RenewalPolicy) -> Lab {
    Lab::with_ca(TestCa::new(shared_key(0)).that_looks_up(), |builder| builder.renewal(renewal))
}

/// A CSR as the lab's clients make it, but for what is given.
fn csr(key: &KeyPair, subject: &str, names: &[SubjectAltName], challenge: Option<&str>) -> Vec<u8> {
    let mut builder = CsrBuilder::new(name(subject), &key.spki).extended_key_usage(&[oids::CLIENT_AUTH.parse().unwrap()]);
    if !names.is_empty() {
        builder = builder.subject_alt_names(names);
    }
    if let Some(challenge) = challenge {
        builder = builder.challenge_password(&Password::from(challenge));
    }
    sign(key.signing.as_ref(), builder.to_be_signed(intune_connector::crypto::SignatureAlgorithm::RsaPkcs1Sha256).unwrap())
}

fn names() -> Vec<SubjectAltName> {
    vec![SubjectAltName::Dns("device.lab.example".to_owned())]
}

/// The holder of `certificate`, asking anew.
fn renewer(holder: &Client, certificate: &Certificate, csr: Vec<u8>) -> Client {
    let transaction = TransactionId::try_from(b"renewal".to_vec()).unwrap();
    Client { key: holder.key, signer: certificate.clone(), csr, transaction }
}

fn renew(lab: &Lab, message_type: MessageType, client: &Client) -> ScepResponse {
    let csr = client.csr.clone();
    ask(lab, client, message_type, &csr)
}

#[test]
fn a_certificate_is_renewed_by_renewal_req_and_by_pkcs_req_with_the_same_key_and_with_a_new_one() {
    for message_type in [MessageType::RenewalReq, MessageType::PkcsReq] {
        for key in [shared_key(2), new_key()] {
            let lab = lab(RenewalPolicy::WithChallenge);
            let (holder, certificate) = enrolled(&lab);
            let subject = certificate.subject().to_string();
            let client = renewer(&holder, &certificate, csr(key, &subject, &names(), Some(CHALLENGE)));
            let _ = lab.sink.take();
            let reply = renew(&lab, message_type, &client);
            assert_eq!(outcome(&reply), GRANTED);
            let renewed = client.certificate_for(&reply, &key.spki);
            assert_ne!(renewed.serial(), certificate.serial());
            assert_eq!(renewed.subject().to_string(), subject);
            assert_eq!(lab.codes(), [4003, 4004, 4006, 4008, 4000]);
        }
    }
}

#[test]
fn a_renewal_needs_a_challenge_unless_the_policy_says_that_the_certificate_suffices() {
    for (policy, expected) in [(RenewalPolicy::WithChallenge, REFUSED), (RenewalPolicy::CertificateSuffices, GRANTED)] {
        let lab = lab(policy);
        let (holder, certificate) = enrolled(&lab);
        let client = renewer(&holder, &certificate, csr(new_key(), &certificate.subject().to_string(), &names(), None));
        assert_eq!(outcome(&renew(&lab, MessageType::RenewalReq, &client)), expected, "{policy:?}");
        let asked = lab.validator.calls.load(Ordering::SeqCst);
        assert_eq!(asked, if policy == RenewalPolicy::WithChallenge { 2 } else { 1 }, "the first enrolment and the renewal");
    }
}

#[test]
fn a_certificate_that_suffices_is_not_renewed_for_other_usages() {
    let lab = lab(RenewalPolicy::CertificateSuffices);
    let (holder, certificate) = enrolled(&lab);
    let ask_for = |usages: &[&str]| {
        let usages: Vec<_> = usages.iter().map(|usage| usage.parse().unwrap()).collect();
        let builder =
            CsrBuilder::new(certificate.subject().clone(), &holder.key.spki).extended_key_usage(&usages).subject_alt_names(&names());
        let unsigned = builder.to_be_signed(intune_connector::crypto::SignatureAlgorithm::RsaPkcs1Sha256).unwrap();
        let client = renewer(&holder, &certificate, sign(holder.key.signing.as_ref(), unsigned));
        outcome(&renew(&lab, MessageType::RenewalReq, &client))
    };
    assert_eq!(ask_for(&[oids::CLIENT_AUTH, oids::SERVER_AUTH]), REFUSED);
    assert_eq!(lab.sink.count(EventId::ScepVerifyFailure), 1);
    assert_eq!(ask_for(&[oids::CLIENT_AUTH]), GRANTED);
}

#[test]
fn where_nothing_is_renewed_capabilities_say_so_and_requests_are_refused() {
    for (policy, listed) in [(RenewalPolicy::Refuse, false), (RenewalPolicy::WithChallenge, true)] {
        let lab = lab(policy);
        let caps = String::from_utf8(lab.handle(Request::get("operation=GetCACaps")).body).unwrap();
        assert_eq!(caps.lines().any(|word| word == "Renewal"), listed, "{caps}");
    }
    let lab = lab(RenewalPolicy::Refuse);
    let (holder, certificate) = enrolled(&lab);
    let client = renewer(&holder, &certificate, csr(new_key(), &certificate.subject().to_string(), &names(), Some(CHALLENGE)));
    assert_eq!(outcome(&renew(&lab, MessageType::PkcsReq, &client)), REFUSED);
    assert_eq!(lab.ca.asks.load(Ordering::SeqCst), 1);
}

#[test]
fn other_names_than_those_of_the_certificate_are_not_renewed() {
    let lab = lab(RenewalPolicy::CertificateSuffices);
    let (holder, certificate) = enrolled(&lab);
    let own = certificate.subject().to_string();
    let other = SubjectAltName::Dns("admin.lab.example".to_owned());
    for (what, subject, names) in [
        ("another subject", "CN=admin", names()),
        ("another name", own.as_str(), vec![other.clone()]),
        ("one name more", own.as_str(), [names(), vec![other]].concat()),
        ("no name", own.as_str(), vec![]),
    ] {
        let client = renewer(&holder, &certificate, csr(new_key(), subject, &names, Some(CHALLENGE)));
        assert_eq!(outcome(&renew(&lab, MessageType::RenewalReq, &client)), NOT_VERIFIED, "{what}");
    }
    assert_eq!(lab.ca.asks.load(Ordering::SeqCst), 1);
}

#[test]
fn a_revoked_certificate_is_not_renewed_whether_the_ca_or_its_crl_says_so() {
    for by_lookup in [true, false] {
        let ca = TestCa::new(shared_key(0));
        ca.looks_up.store(by_lookup, Ordering::SeqCst);
        ca.gives_crl.store(!by_lookup, Ordering::SeqCst);
        let lab = Lab::with_ca(ca, |builder| builder.renewal(RenewalPolicy::CertificateSuffices));
        let (holder, certificate) = enrolled(&lab);
        let request = || csr(new_key(), &certificate.subject().to_string(), &names(), None);
        assert_eq!(outcome(&renew(&lab, MessageType::RenewalReq, &renewer(&holder, &certificate, request()))), GRANTED);
        lab.ca.revoked.lock().unwrap().push(certificate.serial().unwrap().clone());
        let mut again = renewer(&holder, &certificate, request());
        again.transaction = TransactionId::try_from(b"again".to_vec()).unwrap();
        let _ = lab.sink.take();
        assert_eq!(outcome(&renew(&lab, MessageType::RenewalReq, &again)), REFUSED);
        assert_eq!(lab.codes(), [4003, 4005, 4001]);
    }
}

#[test]
fn a_certificate_whose_status_nobody_knows_is_not_renewed() {
    let lab = Lab::new(|builder| builder);
    let (holder, certificate) = enrolled(&lab);
    let client = renewer(&holder, &certificate, csr(new_key(), &certificate.subject().to_string(), &names(), Some(CHALLENGE)));
    assert_eq!(outcome(&renew(&lab, MessageType::RenewalReq, &client)), REFUSED);
}

#[test]
fn a_certificate_of_another_ca_one_that_has_ended_and_one_that_is_no_clients_renew_nothing() {
    let lab = lab(RenewalPolicy::CertificateSuffices);
    let (holder, _) = enrolled(&lab);
    let now = Timestamp::system_now();
    let leaf = |ca: &TestCa, until: Timestamp| {
        let certificate = ca.make(name("CN=device"), &holder.key.spki, |builder| builder.subject_alt_names(&names()), until);
        ca.issued.lock().unwrap().insert([until.as_secs() as u8; 32], certificate.clone());
        read(&certificate)
    };
    // Same name, other key.
    let foreign = TestCa::new(shared_key(3));
    let cross = lab.ca.make(name("CN=device"), &holder.key.spki, |builder| builder.ca(None), now.saturating_add(DAY));
    lab.ca.issued.lock().unwrap().insert([1; 32], cross.clone());
    for (what, signer) in [
        ("of another CA", leaf(&foreign, now.saturating_add(DAY))),
        ("ended", leaf(&lab.ca, now.saturating_sub(DAY / 48))),
        ("a CA's", read(&cross)),
    ] {
        let client = renewer(&holder, &signer, csr(holder.key, "CN=device", &names(), Some(CHALLENGE)));
        for message_type in [MessageType::RenewalReq, MessageType::PkcsReq] {
            assert_eq!(outcome(&renew(&lab, message_type, &client)), REFUSED, "{what}");
        }
    }
    // One that the CA did not issue although its key signed it.
    let unknown = lab.ca.make(name("CN=device"), &holder.key.spki, |builder| builder.subject_alt_names(&names()), now.saturating_add(DAY));
    let client = renewer(&holder, &read(&unknown), csr(holder.key, "CN=device", &names(), Some(CHALLENGE)));
    assert_eq!(outcome(&renew(&lab, MessageType::RenewalReq, &client)), REFUSED);
    assert_eq!(lab.ca.asks.load(Ordering::SeqCst), 1);
}

#[test]
fn the_ras_own_certificate_renews_nothing() {
    let lab = lab(RenewalPolicy::CertificateSuffices);
    let ra_key = shared_key(1);
    lab.ca.issued.lock().unwrap().insert([7; 32], lab.ra.der().as_ref().to_vec());
    let transaction = TransactionId::try_from(b"ra".to_vec()).unwrap();
    let client = Client { key: ra_key, signer: lab.ra.clone(), csr: csr(ra_key, "CN=TEST RA", &[], Some(CHALLENGE)), transaction };
    assert_eq!(outcome(&renew(&lab, MessageType::RenewalReq, &client)), REFUSED);
    assert_eq!(lab.ra.key_usage(), Some(KeyUsage::SIGN_AND_ENCIPHER));
}

#[test]
fn a_renewal_req_signed_by_a_self_signed_certificate_is_refused() {
    let lab = lab(RenewalPolicy::CertificateSuffices);
    let client = lab.client();
    assert_eq!(outcome(&renew(&lab, MessageType::RenewalReq, &client)), REFUSED);
    assert_eq!((lab.validator.calls.load(Ordering::SeqCst), lab.ca.asks.load(Ordering::SeqCst)), (0, 0));
}

#[test]
fn a_renewal_whose_csr_is_not_signed_by_its_own_key_is_refused_as_everything_inside_is() {
    let lab = lab(RenewalPolicy::CertificateSuffices);
    let (holder, certificate) = enrolled(&lab);
    let mut request = csr(new_key(), &certificate.subject().to_string(), &names(), None);
    let at = request.len() - 3;
    request[at] ^= 1;
    let client = renewer(&holder, &certificate, request);
    assert_eq!(outcome(&renew(&lab, MessageType::RenewalReq, &client)), NOT_VERIFIED);
    let client = renewer(&holder, &certificate, b"no CSR".to_vec());
    assert_eq!(outcome(&renew(&lab, MessageType::RenewalReq, &client)), NOT_VERIFIED);
}

#[test]
fn a_certificate_that_the_ca_finds_by_the_key_of_the_client_is_not_taken_for_a_new_one() {
    for revoked in [false, true] {
        let lab = lab(RenewalPolicy::CertificateSuffices);
        let (holder, certificate) = enrolled(&lab);
        let subject = certificate.subject().to_string();
        // The answer is lost, and the CA goes by the key: it finds the certificate from before, or one that was revoked since.
        let older = if revoked {
            let until = Timestamp::system_now().saturating_add(90 * DAY);
            let usage = [oids::CLIENT_AUTH.parse().unwrap()];
            let fill = |builder: CertificateBuilder| {
                builder.key_usage(KeyUsage::SIGN_AND_ENCIPHER).extended_key_usage(&usage).subject_alt_names(&names())
            };
            lab.ca.make(certificate.subject().clone(), &holder.key.spki, fill, until)
        } else {
            certificate.der().as_ref().to_vec()
        };
        if revoked {
            lab.ca.revoked.lock().unwrap().push(read(&older).serial().unwrap().clone());
        }
        lab.ca.faults.lock().unwrap().push(Fault::LoseAnswer);
        *lab.ca.finds.lock().unwrap() = Some(older);
        let client = renewer(&holder, &certificate, csr(holder.key, &subject, &names(), None));
        assert_eq!(outcome(&renew(&lab, MessageType::RenewalReq, &client)), REFUSED, "revoked: {revoked}");
        assert_eq!(lab.notifier.successes.lock().unwrap().len(), 1, "of the first enrolment");
    }
}
