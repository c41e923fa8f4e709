//! Where the RFC and real clients disagree, a setting decides, and each way is shown; and what is refused in any form.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use intune_connector::adapters::VolatileJournal;
use intune_connector::crypto::{ContentCipherAlgorithm, KeyTransportAlgorithm, SignatureAlgorithm};
use intune_connector::event::EventId;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::{Certificate, CertificateBuilder};
use intune_connector::message::csr::CsrBuilder;
use intune_connector::message::enveloped::EnvelopeBuilder;
use intune_connector::message::scep::{FailInfo, MessageType, Nonce, PkiStatus, TransactionName};
use intune_connector::message::signed::{Signed, SignedAttribute, SignedBuilder, SignedContent};
use intune_connector::scep::{AlgorithmPolicy, CaCertificates, EmptyContent, RegistrationAuthority, Request};
use intune_connector::secret::Password;
use intune_connector::terms::{KeyUsage, oids};
use intune_connector::time::Timestamp;

use crate::scep_lab::{CHALLENGE, Client, Lab, name, provider, shared_key, sign};
use crate::{DAY, ask, outcome, read};

#[test]
fn failure_and_pending_hold_an_empty_content_or_none_as_the_setting_says() {
    for (setting, content) in [(EmptyContent::Empty, Some(&[][..])), (EmptyContent::Absent, None)] {
        let lab = Lab::new(|builder| builder.empty_content(setting));
        let client = Client::with_challenge(shared_key(2), "CN=thief", "t", "guess");
        let (message, to) = client.message(&lab.ra);
        let response = lab.post(&message);
        assert_eq!(client.reply(&response, &to, &lab.ra).status(), PkiStatus::Failure);
        let signed = Signed::parse(&response.body, &Limits::default()).unwrap();
        assert_eq!(signed.unverified_content(), content, "{setting:?}");
    }
}

/// A subordinate CA that serves SCEP itself, below a root.
fn subordinate(form: CaCertificates) -> (intune_connector::scep::Response, Vec<u8>) {
    let lab = Lab::new(|builder| builder);
    let key = shared_key(3);
    let now = Timestamp::system_now();
    let usage = KeyUsage { key_cert_sign: true, crl_sign: true, ..KeyUsage::SIGN_AND_ENCIPHER };
    let der = lab.ca.make(name("CN=SUB CA"), &key.spki, |builder| builder.key_usage(usage).ca(None), now.saturating_add(300 * DAY));
    let ra = RegistrationAuthority::single(der.clone().into(), key.signing.clone(), key.decryption.clone().unwrap());
    let ca = Arc::new(crate::scep_lab::ChainedCa::new(vec![der.clone().into(), lab.ca.certificate.clone()]));
    let builder = intune_connector::scep::Service::builder(
        provider().clone(),
        Arc::new(VolatileJournal::new()),
        "Sub CA".parse().unwrap(),
        ca,
        ra,
        lab.validator.clone(),
        lab.notifier.clone(),
    )
    .tenant("contoso.example".parse().unwrap())
    .instance("sub".parse().unwrap())
    .sink(lab.sink.clone())
    .runtime(lab.runtime.clone())
    .policy(intune_connector::policy::IssuancePolicy::deny_all())
    .ca_certificates(form);
    let service = lab.runtime.block_on(builder.build()).unwrap();
    (lab.runtime.block_on(service.handle(Request::get("operation=GetCACert"))), der)
}

#[test]
fn a_subordinate_ca_without_an_ra_shows_its_chain_or_for_ios_itself_alone() {
    let (chain, der) = subordinate(CaCertificates::Chain);
    assert_eq!(chain.media_type, "application/x-x509-ca-ra-cert");
    let signed = Signed::parse(&chain.body, &Limits::default()).unwrap();
    assert_eq!(signed.certificates().len(), 2);
    let (alone, alone_der) = subordinate(CaCertificates::IssuingCertificateAlone);
    assert_eq!((alone.media_type, &alone.body), ("application/x-x509-ca-cert", &alone_der));
    assert!(signed.certificates().any(|certificate| certificate.len() == der.len()));
}

fn csr_without_names(client: &Client) -> Vec<u8> {
    let builder = CsrBuilder::new(name("CN=device-1"), &client.key.spki)
        .challenge_password(&Password::from(CHALLENGE))
        .extended_key_usage(&[oids::CLIENT_AUTH.parse().unwrap()]);
    sign(client.key.signing.as_ref(), builder.to_be_signed(SignatureAlgorithm::RsaPkcs1Sha256).unwrap())
}

/// A CSR as OpenSSL signs it with SHA-1, which the backends here verify but do not sign; with the client that has its key.
fn signed_by_openssl_with_sha1(openssl: &std::path::Path) -> Client {
    let dir = tempfile::tempdir().unwrap();
    let config = "[req]\ndistinguished_name=dn\nattributes=at\nprompt=no\nreq_extensions=ext\n[dn]\nCN=old device\n[at]\nchallengePassword=open-sesame-4711\n\
                  [ext]\nextendedKeyUsage=clientAuth\n";
    std::fs::write(dir.path().join("req.cnf"), config).unwrap();
    let mut command = std::process::Command::new(openssl);
    command.current_dir(dir.path()).args(["req", "-new", "-newkey", "rsa:2048", "-nodes", "-sha1", "-config", "req.cnf"]);
    crate::support::run(command.args(["-keyout", "key.pem", "-outform", "DER", "-out", "req.der"]));
    let pem = std::fs::read(dir.path().join("key.pem")).unwrap();
    let pkcs8 = intune_connector::message::private_key::read(&pem, None, provider(), &Limits::default()).unwrap();
    let signing = provider().signing_keys().unwrap().load(&pkcs8).unwrap();
    let decryption = provider().decryption_keys().unwrap().load(&pkcs8).ok();
    let spki = signing.public_key().as_ref().to_vec();
    let key: &'static crate::scep_lab::KeyPair = Box::leak(Box::new(crate::scep_lab::KeyPair { signing, decryption, spki, pkcs8 }));
    assert_eq!(CHALLENGE, "open-sesame-4711");
    Client { csr: std::fs::read(dir.path().join("req.der")).unwrap(), ..Client::new(key, "CN=old device", "sha1") }
}

#[test]
fn sha1_under_the_csr_is_bad_alg_unless_the_policy_has_an_alarming_name() {
    let Some(openssl) = crate::support::tool("openssl") else { return };
    let client = signed_by_openssl_with_sha1(&openssl);
    for (policy, expected) in [
        (AlgorithmPolicy::Modern, (PkiStatus::Failure, Some(FailInfo::BadAlg))),
        (AlgorithmPolicy::DangerousAllow3DesAndSha1, (PkiStatus::Success, None)),
    ] {
        let lab = Lab::new(|builder| builder.algorithms(policy));
        assert_eq!(outcome(&ask(&lab, &client, MessageType::PkcsReq, &client.csr.clone())), expected, "{policy:?}");
        assert_eq!(lab.validator.calls.load(Ordering::SeqCst), u32::from(expected.1.is_none()));
    }
}

#[test]
fn a_request_without_subject_alt_name_is_served_and_warned_of() {
    let lab = Lab::new(|builder| builder);
    let client = lab.client();
    let csr = csr_without_names(&client);
    assert_eq!(ask(&lab, &client, MessageType::PkcsReq, &csr).status(), PkiStatus::Success);
    assert_eq!(lab.sink.count(EventId::NoSubjectAltName), 1);
    let other = lab.client();
    ask(&lab, &other, MessageType::PkcsReq, &other.csr.clone());
    assert_eq!(lab.sink.count(EventId::NoSubjectAltName), 1);
}

/// A message of any type around any content, as a stranger may sign it.
fn message(client: &Client, message_type: &str, content: &[u8]) -> (Vec<u8>, intune_connector::message::scep::ReplyTo) {
    let (transaction, nonce) = (TransactionName::new(client.transaction.clone()), Nonce::random(provider()).unwrap());
    let attribute = |arc: u8| format!("2.16.840.1.113733.1.9.{arc}").parse().unwrap();
    let unsigned = SignedBuilder::new(SignedContent::Attached(content))
        .attribute(SignedAttribute::printable_string(attribute(2), message_type))
        .attribute(SignedAttribute::from_der(attribute(7), transaction.to_der()))
        .attribute(SignedAttribute::octet_string(attribute(5), nonce.as_bytes()))
        .certificate(client.signer.der())
        .to_be_signed(&client.signer, SignatureAlgorithm::RsaPkcs1Sha256, provider())
        .unwrap();
    let signature = intune_connector::crypto::sign_now(client.key.signing.as_ref(), unsigned.algorithm(), unsigned.message()).unwrap();
    (unsigned.finish(&signature), intune_connector::message::scep::ReplyTo::new(transaction, nonce))
}

fn envelope(lab: &Lab) -> EnvelopeBuilder<'_> {
    EnvelopeBuilder::new(ContentCipherAlgorithm::Aes128Cbc, KeyTransportAlgorithm::RsaPkcs1v15).recipient(&lab.ra)
}

#[test]
fn update_req_unknown_types_and_cert_rep_are_refused_before_anything_is_opened() {
    let lab = Lab::new(|builder| builder);
    let client = lab.client();
    let content = envelope(&lab).build(&client.csr, provider()).unwrap();
    for message_type in ["18", "3", "0", "1", "99", "19 "] {
        let (der, to) = message(&client, message_type, &content);
        let reply = client.reply(&lab.post(&der), &to, &lab.ra);
        assert_eq!(outcome(&reply), (PkiStatus::Failure, Some(FailInfo::BadRequest)), "{message_type}");
    }
    assert_eq!((lab.validator.calls.load(Ordering::SeqCst), lab.ca.asks.load(Ordering::SeqCst)), (0, 0));
}

#[test]
fn a_password_recipient_is_refused_before_any_derivation() {
    let lab = Lab::new(|builder| builder);
    let client = lab.client();
    // A million rounds would be noticed: the request is answered in the time of one without.
    let builder = EnvelopeBuilder::new(ContentCipherAlgorithm::Aes128Cbc, KeyTransportAlgorithm::RsaPkcs1v15);
    let challenge = Password::from(CHALLENGE);
    let content = builder.password_recipient(&challenge, 1_000_000).build(&client.csr, provider()).unwrap();
    let (der, to) = message(&client, "19", &content);
    let reply = client.reply(&lab.post(&der), &to, &lab.ra);
    assert_eq!(outcome(&reply), (PkiStatus::Failure, Some(FailInfo::BadMessageCheck)));
    assert_eq!(lab.validator.calls.load(Ordering::SeqCst), 0);
}

#[test]
fn of_several_recipients_only_ours_is_opened() {
    let lab = Lab::new(|builder| builder);
    let client = lab.client();
    let ca: Certificate = read(&lab.ca.certificate);
    let content = envelope(&lab).recipient(&ca).build(&client.csr, provider()).unwrap();
    let (der, to) = message(&client, "19", &content);
    client.certificate(&client.reply(&lab.post(&der), &to, &lab.ra));
}

#[test]
fn a_ca_used_directly_needs_the_key_usages_for_it() {
    let lab = Lab::new(|builder| builder);
    let key = shared_key(3);
    for (usage, missing) in [
        (KeyUsage { key_cert_sign: true, crl_sign: true, ..KeyUsage::default() }, 2),
        (KeyUsage { key_cert_sign: true, digital_signature: true, ..KeyUsage::default() }, 1),
        (KeyUsage { key_cert_sign: true, ..KeyUsage::SIGN_AND_ENCIPHER }, 0),
    ] {
        let now = Timestamp::system_now();
        let unsigned =
            CertificateBuilder::new(name("CN=CA"), &key.spki, now.saturating_sub(DAY), now.saturating_add(DAY), "0123".parse().unwrap())
                .key_usage(usage)
                .ca(None)
                .to_be_signed(SignatureAlgorithm::RsaPkcs1Sha256)
                .unwrap();
        let der = sign(key.signing.as_ref(), unsigned);
        let ra = RegistrationAuthority::single(der.clone().into(), key.signing.clone(), key.decryption.clone().unwrap());
        let ca = Arc::new(crate::scep_lab::ChainedCa::new(vec![der.into()]));
        let builder = intune_connector::scep::Service::builder(
            provider().clone(),
            Arc::new(VolatileJournal::new()),
            "CA".parse().unwrap(),
            ca,
            ra,
            lab.validator.clone(),
            lab.notifier.clone(),
        )
        .tenant("contoso.example".parse().unwrap())
        .instance("ca".parse().unwrap())
        .sink(lab.sink.clone())
        .runtime(lab.runtime.clone())
        .policy(intune_connector::policy::IssuancePolicy::deny_all());
        let findings = match lab.runtime.block_on(builder.build()) {
            Ok(_) => 0,
            Err(error) => error.findings.iter().filter(|finding| finding.problem.contains("keyUsage")).count(),
        };
        assert_eq!(findings, missing);
    }
}
