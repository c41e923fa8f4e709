//! A CA that follows another: GetNextCACert, two keys at once, and what becomes of the old one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use intune_connector::event::EventId;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::scep::{MessageType, PkiStatus, next_ca_certificates};
use intune_connector::policy::IssuancePolicy;
use intune_connector::scep::{NextCa, Persistence, RegistrationAuthority, RenewalPolicy, Request, RolloverError, Service};
use intune_connector::secret::SecretBytes;
use intune_connector::terms::KeyUsage;
use intune_connector::time::Timestamp;

use crate::scep_lab::{Client, Lab, TestCa, name, provider, shared_key};
use crate::{DAY, enrolled, new_key, outcome, read};

struct Next {
    ca: Arc<TestCa>,
    ra: Certificate,
}

impl Next {
    fn new() -> Self {
        let ca = TestCa::named("CN=NEXT CA", shared_key(3)).that_looks_up();
        let until = Timestamp::system_now().saturating_add(400 * DAY);
        let ra = ca.make(name("CN=NEXT RA"), &new_key().spki, |builder| builder.key_usage(KeyUsage::SIGN_AND_ENCIPHER), until);
        Self { ca: Arc::new(ca), ra: read(&ra) }
    }

    fn registration_authority(&self) -> RegistrationAuthority {
        let key = new_key();
        RegistrationAuthority::single(self.ra.der().clone(), key.signing.clone(), key.decryption.clone().unwrap())
    }

    fn announced(&self) -> NextCa {
        NextCa::new("Next CA".parse().unwrap(), self.ca.clone(), self.registration_authority())
    }
}

fn lab(cached: std::time::Duration) -> Lab {
    Lab::with_ca(TestCa::new(shared_key(0)).that_looks_up(), |builder| {
        let persistence = Persistence::default().with_cached_certificates(cached);
        builder.persistence(persistence).renewal(RenewalPolicy::CertificateSuffices)
    })
}

fn issuer_of(certificate: &Certificate, ca: &TestCa) -> bool {
    certificate.verify_signed_by(provider(), read(&ca.certificate).spki()).is_ok()
}

fn enrol_at(lab: &Lab, ra: &Certificate, client: &Client) -> Certificate {
    let (message, to) = client.message(ra);
    client.certificate(&client.reply(&lab.post(&message), &to, ra))
}

#[test]
fn get_next_ca_cert_is_signed_by_the_current_ca_and_listed_only_then() {
    let (lab, next) = (lab(DAY), Next::new());
    let caps = |lab: &Lab| String::from_utf8(lab.handle(Request::get("operation=GetCACaps")).body).unwrap();
    assert_eq!(lab.handle(Request::get("operation=GetNextCACert")).status, 404);
    assert!(!caps(&lab).contains("GetNextCACert"));
    lab.runtime.block_on(lab.service.announce_next_ca(next.announced())).unwrap();
    assert!(caps(&lab).lines().any(|word| word == "GetNextCACert"));
    let answer = lab.handle(Request::get("operation=GetNextCACert"));
    assert_eq!((answer.status, answer.media_type), (200, "application/x-x509-next-ca-cert"));
    let certificates = next_ca_certificates(&answer.body, &read(&lab.ca.certificate), provider(), &Limits::default()).unwrap();
    assert_eq!(certificates.len(), 2);
    assert!(certificates.contains(&next.ca.certificate) && certificates.contains(next.ra.der()));
    assert!(next_ca_certificates(&answer.body, &read(&next.ca.certificate), provider(), &Limits::default()).is_err(), "not by itself");
    let current = lab.handle(Request::get("operation=GetCACert")).body;
    assert!(!current.windows(next.ra.der().len()).any(|window| window == next.ra.der().as_ref()), "it is not the current one yet");
}

#[test]
fn openssl_verifies_the_answer_to_get_next_ca_cert() {
    let Some(openssl) = crate::support::tool("openssl") else { return };
    let (lab, next) = (lab(DAY), Next::new());
    lab.runtime.block_on(lab.service.announce_next_ca(next.announced())).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = |file: &str| dir.path().join(file);
    std::fs::write(path("next.p7m"), lab.handle(Request::get("operation=GetNextCACert")).body).unwrap();
    std::fs::write(path("ca.der"), &lab.ca.certificate).unwrap();
    let run = |command: &mut std::process::Command| crate::support::run(command.current_dir(dir.path()));
    run(std::process::Command::new(&openssl).args(["x509", "-inform", "DER", "-in", "ca.der", "-out", "ca.pem"]));
    run(std::process::Command::new(&openssl).args([
        "cms",
        "-verify",
        "-binary",
        "-inform",
        "DER",
        "-in",
        "next.p7m",
        "-CAfile",
        "ca.pem",
        "-purpose",
        "any",
        "-out",
        "degenerate.der",
    ]));
    let listed =
        run(std::process::Command::new(&openssl).args(["pkcs7", "-inform", "DER", "-in", "degenerate.der", "-print_certs", "-noout"]));
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("NEXT CA") && listed.contains("NEXT RA"), "{listed}");
}

#[test]
fn the_recipient_of_the_envelope_selects_the_ca() {
    let (lab, next) = (lab(DAY), Next::new());
    lab.runtime.block_on(lab.service.announce_next_ca(next.announced())).unwrap();
    let now = enrol_at(&lab, &lab.ra, &lab.client());
    let then = enrol_at(&lab, &next.ra, &lab.client());
    assert!(issuer_of(&now, &lab.ca) && issuer_of(&then, &next.ca));
    assert_eq!((lab.ca.certificates(), next.ca.certificates()), (1, 1));
    let told = lab.notifier.successes.lock().unwrap().clone();
    assert_eq!(told.iter().map(|(_, _, issuer)| issuer.as_str()).collect::<Vec<_>>(), ["TEST CA", "NEXT CA"]);
}

#[test]
fn after_the_rollover_the_old_key_serves_until_cached_answers_have_aged_out() {
    for (cached, served) in [(DAY, true), (std::time::Duration::ZERO, false)] {
        let (lab, next) = (lab(cached), Next::new());
        assert!(matches!(lab.service.roll_over(), Err(RolloverError::NoNextCa)));
        lab.runtime.block_on(lab.service.announce_next_ca(next.announced())).unwrap();
        lab.service.roll_over().unwrap();
        let shown = lab.handle(Request::get("operation=GetCACert")).body;
        assert!(shown.windows(next.ra.der().len()).any(|window| window == next.ra.der().as_ref()));
        assert_eq!(lab.handle(Request::get("operation=GetNextCACert")).status, 404);
        assert!(issuer_of(&enrol_at(&lab, &next.ra, &lab.client()), &next.ca));
        let old = lab.client();
        let (message, to) = old.message(&lab.ra);
        let response = lab.post(&message);
        if served {
            assert!(issuer_of(&old.certificate(&old.reply(&response, &to, &lab.ra)), &lab.ca));
        } else {
            assert_eq!(old.reply(&response, &to, &next.ra).status(), PkiStatus::Failure);
        }
    }
}

#[test]
fn a_certificate_of_the_old_ca_is_renewed_by_the_new_one() {
    let (lab, next) = (lab(std::time::Duration::ZERO), Next::new());
    let (mut client, certificate) = enrolled(&lab);
    lab.runtime.block_on(lab.service.announce_next_ca(next.announced())).unwrap();
    lab.service.roll_over().unwrap();
    client.signer = certificate.clone();
    client.transaction = intune_connector::ids::TransactionId::try_from(b"renewal".to_vec()).unwrap();
    let csr = client.csr.clone();
    let builder = intune_connector::message::scep::PkiRequestBuilder::new(MessageType::RenewalReq, client.transaction.clone(), &csr);
    let (message, to) = client.message_with(&next.ra, builder);
    let reply = client.reply(&lab.post(&message), &to, &next.ra);
    assert_eq!(outcome(&reply), (PkiStatus::Success, None));
    assert!(issuer_of(&client.certificate(&reply), &next.ca));
    // Its status is asked of the CA that issued it.
    lab.ca.revoked.lock().unwrap().push(certificate.serial().unwrap().clone());
    client.transaction = intune_connector::ids::TransactionId::try_from(b"again".to_vec()).unwrap();
    let builder = intune_connector::message::scep::PkiRequestBuilder::new(MessageType::RenewalReq, client.transaction.clone(), &csr);
    let (message, to) = client.message_with(&next.ra, builder);
    assert_eq!(client.reply(&lab.post(&message), &to, &next.ra).status(), PkiStatus::Failure);
}

#[test]
fn a_next_ca_that_cannot_serve_is_refused_with_what_is_wrong() {
    let (lab, next) = (lab(DAY), Next::new());
    let foreign =
        RegistrationAuthority::single(lab.ra.der().clone(), shared_key(1).signing.clone(), shared_key(1).decryption.clone().unwrap());
    let wrong = NextCa::new("Next CA".parse().unwrap(), next.ca.clone(), foreign);
    let Err(RolloverError::Configuration(findings)) = lab.runtime.block_on(lab.service.announce_next_ca(wrong)) else { panic!() };
    assert!(findings.iter().all(|finding| finding.setting.starts_with("scep.next_ca.ra.")), "{findings:?}");
    let ra_key = shared_key(1);
    let itself = RegistrationAuthority::single(lab.ra.der().clone(), ra_key.signing.clone(), ra_key.decryption.clone().unwrap());
    let same = NextCa::new("Next CA".parse().unwrap(), lab.ca.clone(), itself);
    assert!(matches!(lab.runtime.block_on(lab.service.announce_next_ca(same)), Err(RolloverError::Configuration(_))));
    let namesake = NextCa::new("Lab CA".parse().unwrap(), next.ca.clone(), next.registration_authority());
    let Err(RolloverError::Configuration(findings)) = lab.runtime.block_on(lab.service.announce_next_ca(namesake)) else { panic!() };
    assert!(findings[0].problem.contains("Lab CA"), "rows name their CA: {findings:?}");
    assert_eq!(lab.handle(Request::get("operation=GetNextCACert")).status, 404);
}

#[test]
fn what_was_asked_of_a_ca_that_is_gone_is_asked_of_no_other() {
    let (lab, next) = (lab(DAY), Next::new());
    let key = || SecretBytes::copy_from(&[5; 32]);
    let old = lab.runtime.block_on(lab.builder(lab.journal.clone()).sealing_key(key()).build()).unwrap();
    let post = |service: &Service, message: Vec<u8>| lab.runtime.block_on(service.handle(Request::post("operation=PKIOperation", message)));
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    client.certificate(&client.reply(&post(&old, message), &to, &lab.ra));
    // A second certificate is withheld and waits to be revoked.
    lab.notifier.fail.store(3, Ordering::SeqCst);
    lab.ca.refuse_revocation.store(1, Ordering::SeqCst);
    let (message, _) = lab.client().message(&lab.ra);
    post(&old, message);
    assert_eq!(lab.sink.count(EventId::CertificateHandedToRevocation), 1);

    let new = Service::builder(
        provider().clone(),
        lab.journal.clone(),
        "Next CA".parse().unwrap(),
        next.ca.clone(),
        next.registration_authority(),
        lab.validator.clone(),
        lab.notifier.clone(),
    );
    let new = new.tenant("contoso.example".parse().unwrap()).instance("lab-1".parse().unwrap()).sink(lab.sink.clone());
    let new = new.runtime(lab.runtime.clone()).policy(IssuancePolicy::dangerous_allow_any_identity()).sealing_key(key());
    let new = lab.runtime.block_on(new.build()).unwrap();
    let (message, _) = client.message(&next.ra);
    assert_eq!(post(&new, message).status, 503, "whether the certificate counts is not for another CA to say");
    assert_eq!(next.ca.certificates(), 0);
    let done = lab.runtime.block_on(new.maintain(Timestamp::system_now().saturating_add(DAY / 24)));
    assert_eq!((done.revoked, next.ca.revoked.lock().unwrap().len()), (0, 0), "another CA may have given the serial number to another");
}
