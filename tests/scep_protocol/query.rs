//! GetCert and GetCRL.

use std::sync::atomic::Ordering;

use intune_connector::ids::SerialNumber;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::crl::Crl;
use intune_connector::message::name::Name;
use intune_connector::message::scep::{FailInfo, IssuerAndSerialNumber, MessageType, PkiStatus};

use crate::scep_lab::{Client, Lab, TestCa, name, provider, shared_key};
use crate::{ask, enrolled, new_key, outcome, read, support};

const NO_MATCH: (PkiStatus, Option<FailInfo>) = (PkiStatus::Failure, Some(FailInfo::BadCertId));

fn lab() -> Lab {
    let ca = TestCa::new(shared_key(0)).that_looks_up();
    ca.gives_crl.store(true, Ordering::SeqCst);
    Lab::with_ca(ca, |builder| builder)
}

#[test]
fn a_client_gets_the_certificate_of_its_own_key() {
    let lab = lab();
    let (client, certificate) = enrolled(&lab);
    let _ = lab.sink.take();
    let body = IssuerAndSerialNumber::of(&certificate).unwrap().to_der();
    let got = client.certificate(&ask(&lab, &client, MessageType::GetCert, &body));
    assert_eq!(got.der(), certificate.der());
    assert_eq!(lab.codes(), [4003], "a query ends no request: it has no Admin event");
}

#[test]
fn a_client_that_shows_a_certificate_of_ours_gets_those_of_its_subject() {
    let lab = lab();
    let (first, old) = enrolled(&lab);
    // The same subject with another key.
    let second = Client::new(new_key(), "CN=device-1", "second");
    let (message, to) = second.message(&lab.ra);
    let new = second.certificate(&second.reply(&lab.post(&message), &to, &lab.ra));
    let body = IssuerAndSerialNumber::of(&old).unwrap().to_der();
    let mut asker = Client::new(new_key(), "CN=device-1", "asker");
    // By a certificate of its own making the subject is a mere claim.
    assert_eq!(outcome(&ask(&lab, &asker, MessageType::GetCert, &body)), NO_MATCH);
    asker.signer = new;
    let reply = ask(&lab, &asker, MessageType::GetCert, &body);
    assert_eq!(asker.certificate_for(&reply, &first.key.spki).der(), old.der());
}

#[test]
fn who_has_no_subject_gets_no_certificate_of_others_without_one() {
    let lab = lab();
    let until = intune_connector::time::Timestamp::system_now().saturating_add(crate::DAY);
    let of = |key: &[u8], number: u8| {
        let certificate = lab.ca.make(Name::from_der(&[0x30, 0x00]).unwrap(), key, |builder| builder, until);
        lab.ca.issued.lock().unwrap().insert([number; 32], certificate.clone());
        read(&certificate)
    };
    let (own, other) = (of(&new_key().spki, 1), of(&shared_key(3).spki, 2));
    let mut asker = Client::new(new_key(), "CN=device-1", "asker");
    asker.signer = own.clone();
    let get =
        |certificate: &Certificate| ask(&lab, &asker, MessageType::GetCert, &IssuerAndSerialNumber::of(certificate).unwrap().to_der());
    assert_eq!(outcome(&get(&other)), NO_MATCH);
    assert_eq!(asker.certificate(&get(&own)).der(), own.der());
}

#[test]
fn other_certificates_and_none_get_the_answer_that_an_unreadable_query_gets() {
    let lab = lab();
    let (_, certificate) = enrolled(&lab);
    let own = IssuerAndSerialNumber::of(&certificate).unwrap();
    let stranger = Client::new(shared_key(3), "CN=stranger", "stranger");
    let unknown = SerialNumber::from_be_bytes(&[0x7f; 16]).unwrap();
    let bodies = [
        own.to_der(),
        IssuerAndSerialNumber::new(own.issuer.clone(), unknown).to_der(),
        IssuerAndSerialNumber::new(name("CN=another CA"), own.serial.clone()).to_der(),
        b"no IssuerAndSerialNumber".to_vec(),
        Vec::new(),
    ];
    let mut answers = Vec::new();
    for body in bodies {
        let _ = lab.sink.take();
        let reply = ask(&lab, &stranger, MessageType::GetCert, &body);
        assert_eq!(outcome(&reply), NO_MATCH);
        let events: Vec<_> = lab.sink.events().iter().map(|event| (event.id, event.message.clone(), event.details.clone())).collect();
        answers.push(format!("{:?} {events:?}", reply.fail_info_text()));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:#?}");
}

#[test]
fn the_newest_crl_comes_alone() {
    let lab = lab();
    let (client, certificate) = enrolled(&lab);
    let body = IssuerAndSerialNumber::of(&certificate).unwrap().to_der();
    for revoked in [false, true] {
        if revoked {
            lab.ca.revoked.lock().unwrap().push(certificate.serial().unwrap().clone());
        }
        let content = client.content(&ask(&lab, &client, MessageType::GetCrl, &body));
        assert_eq!((content.certificates().len(), content.crls().len(), content.signer_count()), (0, 1, 0));
        let crl = Crl::from_der(content.crls().next().unwrap(), &Limits::default()).unwrap();
        crl.verify_signed_by(provider(), read(&lab.ca.certificate).spki()).unwrap();
        assert_eq!(crl.is_revoked(certificate.serial().unwrap()), revoked);
    }
    let elsewhere = IssuerAndSerialNumber::new(name("CN=another CA"), certificate.serial().unwrap().clone()).to_der();
    assert_eq!(outcome(&ask(&lab, &client, MessageType::GetCrl, &elsewhere)), NO_MATCH);
    lab.ca.gives_crl.store(false, Ordering::SeqCst);
    assert_eq!(outcome(&ask(&lab, &client, MessageType::GetCrl, &body)), (PkiStatus::Failure, Some(FailInfo::BadRequest)));
}

#[test]
fn openssl_goes_by_the_crl_that_a_client_fetched() {
    let Some(openssl) = support::tool("openssl") else { return };
    let lab = lab();
    let (client, certificate) = enrolled(&lab);
    let dir = support::scratch();
    let pem = |file: &str, label: &str, der: &[u8]| {
        let base64 = support::to_base64(der);
        let lines: Vec<&str> = base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let text = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"));
        std::fs::write(dir.path().join(file), text).unwrap();
    };
    pem("ca.pem", "CERTIFICATE", &lab.ca.certificate);
    pem("device.pem", "CERTIFICATE", certificate.der());
    let body = IssuerAndSerialNumber::of(&certificate).unwrap().to_der();
    for revoked in [false, true] {
        if revoked {
            lab.ca.revoked.lock().unwrap().push(certificate.serial().unwrap().clone());
        }
        let content = client.content(&ask(&lab, &client, MessageType::GetCrl, &body));
        pem("crl.pem", "X509 CRL", content.crls().next().unwrap());
        let mut command = std::process::Command::new(&openssl);
        command.current_dir(dir.path()).args(["verify", "-crl_check", "-CAfile", "ca.pem", "-CRLfile", "crl.pem", "device.pem"]);
        let output = support::try_run(&mut command);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.success(), !revoked, "{said}");
        assert!(said.contains(if revoked { "certificate revoked" } else { "device.pem: OK" }), "{said}");
    }
}

#[test]
fn a_query_by_a_certificate_of_another_ca_is_refused() {
    let lab = lab();
    let (_, certificate) = enrolled(&lab);
    let foreign = TestCa::named("CN=another CA", shared_key(3));
    let until = intune_connector::time::Timestamp::system_now().saturating_add(crate::DAY);
    let mut client = Client::new(new_key(), "CN=device-1", "foreign");
    client.signer = read(&foreign.make(name("CN=device-1"), &new_key().spki, |builder| builder, until));
    let body = IssuerAndSerialNumber::of(&certificate).unwrap().to_der();
    let refused = (PkiStatus::Failure, Some(FailInfo::BadRequest));
    assert_eq!(outcome(&ask(&lab, &client, MessageType::GetCert, &body)), refused);
    assert_eq!(outcome(&ask(&lab, &client, MessageType::GetCrl, &body)), refused);
}
