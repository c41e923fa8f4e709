#![cfg(all(feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that fails, fails its test")]

use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::FutureExt as _;
use rustls_pki_types::CertificateSigningRequestDer;

use super::*;
use crate::message::crl::Crl;
use crate::message::csr::CsrBuilder;
use crate::message::path::verify_chain;
use crate::ports::{
    ApprovalSubject, Approved, CertificateAuthority, FindAnswer, FindRequest, IssueAnswer, IssueRequest, PortError, PortErrorKind,
    RevokeAnswer, RevokeCall, StatusRequest,
};
use crate::retry::Effect;
use crate::terms::{Flow, RevocationReason, SubjectAltName, oids};

struct Setting {
    ca: LocalCa,
    csr: CertificateSigningRequestDer<'static>,
    spki: Vec<u8>,
    plan: CertificatePlan,
    clock: Arc<AtomicI64>,
}

const START: i64 = 1_800_000_000;

fn setting() -> Setting {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let clock = Arc::new(AtomicI64::new(START));
    let hands = Arc::clone(&clock);
    let now = move || Timestamp::from_secs(hands.load(Ordering::SeqCst));
    let ca = LocalCa::with_clock(provider.clone(), "CA".parse().unwrap(), KeyAlgorithm::EcP256, now).unwrap();
    let generated = provider.key_generation().unwrap().generate(KeyAlgorithm::EcP256).unwrap();
    let key = provider.signing_keys().unwrap().load(&generated).unwrap();
    let subject = Name::parse_cert_str("CN=Jane").unwrap();
    let signed = CsrBuilder::new(subject.clone(), &key.public_key()).to_be_signed(key.algorithms()[0]).unwrap();
    let csr = CertificateSigningRequestDer::from(sign(key.as_ref(), signed).unwrap());
    let not_after = Timestamp::from_secs(START + 86_400);
    let mut plan = CertificatePlan::new("CA".parse().unwrap(), subject.as_der().to_vec(), KeyAlgorithm::EcP256, not_after);
    plan.subject_alt_names = vec![SubjectAltName::Upn("jane@contoso.test".to_owned())];
    plan.extended_key_usage = vec![crate::terms::oid(oids::CLIENT_AUTH)];
    plan.sid_extension = Some("S-1-5-21-1-2-3-1001".parse().unwrap());
    Setting { ca, csr, spki: key.public_key().to_vec(), plan, clock }
}

impl Setting {
    #[expect(clippy::disallowed_methods, reason = "the CA's own tests need an approval")]
    fn approval(&self, change: impl FnOnce(&mut ApprovalSubject)) -> Approved {
        let mut subject = ApprovalSubject {
            flow: Flow::Pkcs,
            csr_digest: self.ca.digest(&self.csr).unwrap(),
            plan_digest: self.ca.digest(&self.plan.digest_input()).unwrap(),
            ca: "CA".parse().unwrap(),
            template: None,
            identity: "jane".to_owned(),
        };
        change(&mut subject);
        Approved::mint(subject, Timestamp::from_secs(START + 60))
    }

    fn issue_as(&self, approved: &Approved, key: u8) -> Result<IssueAnswer, PortError> {
        let key = IdempotencyKey::new([key; 32]);
        let deadline = Timestamp::from_secs(START + 60);
        let request = IssueRequest { approved, key, csr: &self.csr, plan: &self.plan, deadline };
        self.ca.issue(request).now_or_never().expect("the local CA does not wait")
    }

    fn issue(&self, key: u8) -> Result<IssueAnswer, PortError> {
        self.issue_as(&self.approval(|_| {}), key)
    }

    fn issued(&self, key: u8) -> Certificate {
        match self.issue(key).unwrap() {
            IssueAnswer::Issued(issued) => Certificate::from_der(&issued.certificate, &Limits::default()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn find(&self, key: u8) -> FindAnswer {
        let deadline = Timestamp::from_secs(START + 60);
        let request = FindRequest::new(IdempotencyKey::new([key; 32]), &self.csr, &self.spki, &self.plan, deadline);
        self.ca.find(request).now_or_never().expect("the local CA does not wait").unwrap()
    }

    fn with_faults(self, faults: LocalCaFaults) -> Self {
        self.ca.inject_faults(faults);
        self
    }
}

#[test]
fn what_the_plan_says_is_in_the_certificate_and_the_chain_verifies() {
    let setting = setting();
    let certificate = setting.issued(1);
    assert_eq!(certificate.subject().as_der(), setting.plan.subject);
    assert_eq!(certificate.subject_alt_names(), setting.plan.subject_alt_names);
    assert_eq!(certificate.extended_key_usage(), setting.plan.extended_key_usage);
    assert_eq!((certificate.sid(), certificate.key_usage()), (setting.plan.sid_extension.as_ref(), Some(setting.plan.key_usage)));
    assert_eq!((certificate.not_after(), certificate.spki()), (setting.plan.not_after, setting.spki.as_slice()));
    assert!(!certificate.is_ca());
    let roots = [setting.ca.certificate().clone()];
    assert_eq!(verify_chain(&setting.ca.provider, &certificate, &[], &roots, Timestamp::from_secs(START)).unwrap().len(), 2);
}

#[test]
fn an_approval_for_something_else_issues_nothing() {
    let setting = setting();
    let refused = |approved: &Approved| setting.issue_as(approved, 1).map_err(|error| error.kind());
    assert_eq!(refused(&setting.approval(|subject| subject.ca = "Other".parse().unwrap())), Err(PortErrorKind::Misconfigured));
    assert_eq!(refused(&setting.approval(|subject| subject.csr_digest[0] ^= 1)), Err(PortErrorKind::Rejected));
    assert_eq!(refused(&setting.approval(|subject| subject.template = Some("User".parse().unwrap()))), Err(PortErrorKind::Rejected));
    setting.clock.store(START + 60, Ordering::SeqCst);
    assert_eq!(refused(&setting.approval(|_| {})), Err(PortErrorKind::Rejected), "expired");
    assert!(setting.ca.issued().is_empty());
}

#[test]
fn a_repeated_key_gives_the_same_certificate_or_shows_as_a_double() {
    let mut setting = setting();
    assert_eq!(setting.issued(1).der(), setting.issued(1).der());
    assert_eq!(setting.ca.issued().len(), 1);
    setting.ca = setting.ca.repeats(Repeats::IssueAgain);
    assert!(!setting.ca.capabilities().idempotent_issue);
    setting.issued(1);
    let ledger = setting.ca.issued();
    assert_eq!((ledger.len(), ledger[0].idempotency_key), (2, ledger[1].idempotency_key));
}

#[test]
fn a_ledger_in_a_file_answers_as_one_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut setting = setting();
    let before = setting.issued(1);
    setting.ca = setting.ca.ledger_file(folder.path().join("ledger")).unwrap();
    assert_eq!(setting.issued(1).der(), before.der(), "moved with it");
    let second = setting.issued(2);
    let serial = second.serial().cloned().unwrap();
    let deadline = Timestamp::from_secs(START + 60);
    let revoke = || {
        let call = RevokeCall::new(&serial, None, None, RevocationReason::Superseded, deadline);
        setting.ca.revoke(call).now_or_never().expect("the local CA does not wait").unwrap()
    };
    assert_eq!((revoke(), revoke()), (RevokeAnswer::Revoked, RevokeAnswer::AlreadyRevoked));
    let FindAnswer::Found(found) = setting.find(2) else { panic!("not found") };
    assert_eq!(&found.certificate, second.der());
    assert_eq!(setting.find(9), FindAnswer::Absent, "the certificates of the same key are other requests'");
    let entries = setting.ca.issued();
    assert_eq!(entries.iter().map(|entry| entry.revoked.is_some()).collect::<Vec<_>>(), [false, true]);
    let der = setting.ca.crl().now_or_never().expect("the local CA does not wait").unwrap();
    assert!(Crl::from_der(&der, &Limits::default()).unwrap().is_revoked(&serial));
    let unwritable = LocalCa::new(setting.ca.provider.clone(), "CA".parse().unwrap(), KeyAlgorithm::EcP256).unwrap();
    assert!(matches!(unwritable.ledger_file(folder.path()), Err(LocalCaError::Ledger(_))));
}

#[test]
fn a_ledger_whose_file_is_lost_fails_calls_and_hands_nothing_out_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let mut setting = setting();
    setting.ca = setting.ca.ledger_file(&path).unwrap();
    setting.issued(1);
    std::fs::write(&path, b"").unwrap();
    let error = setting.issue(1).unwrap_err();
    assert_eq!((error.kind(), error.effect()), (PortErrorKind::Transient, Effect::None));
    assert!(error.to_string().contains("ledger"), "{error}");
}

#[cfg(feature = "scep")]
#[test]
fn a_ca_that_serves_scep_itself_may_sign_and_encipher_and_gives_its_keys() {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let (ca, authority) = LocalCa::serving_scep(provider.clone(), "CA".parse().unwrap(), KeyAlgorithm::Rsa2048).unwrap();
    let usage = KeyUsage { key_cert_sign: true, crl_sign: true, ..KeyUsage::SIGN_AND_ENCIPHER };
    assert_eq!((ca.certificate().key_usage(), ca.certificate().is_ca()), (Some(usage), true));
    assert_eq!(&authority.signing_certificate, ca.certificate().der());
    assert_eq!(authority.decryption_key.public_key().as_ref(), ca.certificate().spki());
    let plain = LocalCa::new(provider.clone(), "CA".parse().unwrap(), KeyAlgorithm::EcP256).unwrap();
    assert_eq!(plain.certificate().key_usage().map(|usage| usage.key_encipherment), Some(false));
    let refused = LocalCa::serving_scep(provider, "CA".parse().unwrap(), KeyAlgorithm::EcP256);
    assert!(matches!(refused, Err(LocalCaError::NotRsa)));
}

#[test]
fn a_server_certificate_has_its_names_and_may_serve_tls_only() {
    let setting = setting();
    let names = [SubjectAltName::Dns("scep.example".to_owned()), SubjectAltName::Ip("127.0.0.1".parse().unwrap())];
    let day = Duration::from_secs(86_400);
    let issue = |validity| setting.ca.issue_server_certificate(Name::parse_cert_str("CN=server").unwrap(), &setting.spki, &names, validity);
    let certificate = issue(day).unwrap();
    assert_eq!(certificate.subject_alt_names(), names);
    assert_eq!(certificate.extended_key_usage(), [crate::terms::oid(oids::SERVER_AUTH)]);
    assert_eq!(certificate.key_usage(), Some(KeyUsage { digital_signature: true, ..KeyUsage::default() }));
    assert!(!certificate.is_ca());
    assert!(matches!(issue(day * 36_500), Err(LocalCaError::Validity)));
}

#[test]
fn a_lost_answer_is_found_again() {
    let setting = setting().with_faults(LocalCaFaults::none().then(1, LocalCaFault::FailTransiently).then(1, LocalCaFault::LoseAnswer));
    assert_eq!(setting.issue(1).unwrap_err().effect(), Effect::None);
    assert_eq!(setting.find(1), FindAnswer::Absent);
    assert_eq!(setting.issue(1).unwrap_err().effect(), Effect::Unknown);
    assert!(matches!(setting.find(1), FindAnswer::Found(_)));
    assert_eq!(setting.find(2), FindAnswer::Absent, "the certificate of the same key is another request's");
    assert_eq!(setting.ca.issued().len(), 1);
}

#[test]
fn injected_faults_are_visible_in_the_certificate() {
    let extra = crate::terms::oid(oids::ANY_EXTENDED_KEY_USAGE);
    let setting = setting().with_faults(
        LocalCaFaults::none()
            .then(1, LocalCaFault::WrongKey)
            .then(1, LocalCaFault::DropSid)
            .then(1, LocalCaFault::ExtraExtendedKeyUsage(extra.clone()))
            .then(1, LocalCaFault::LongerValidity(Duration::from_secs(1000)))
            .then(1, LocalCaFault::Reject)
            .then(1, LocalCaFault::None)
            .every(2, LocalCaFault::Misconfigured),
    );
    assert_ne!(setting.issued(1).spki(), setting.spki);
    assert_eq!(setting.issued(2).sid(), None);
    assert!(setting.issued(3).extended_key_usage().contains(&extra));
    assert_eq!(setting.issued(4).not_after(), Timestamp::from_secs(START + 87_400));
    assert_eq!(setting.issue(5).unwrap_err().kind(), PortErrorKind::Rejected);
    setting.issued(5);
    setting.issued(6);
    assert_eq!(setting.issue(7).unwrap_err().kind(), PortErrorKind::Misconfigured);
}

#[test]
fn a_pending_request_is_issued_after_the_polls() {
    let setting = setting().with_faults(LocalCaFaults::none().then(1, LocalCaFault::Pending { polls: 2 }));
    let IssueAnswer::Pending { poll_id, .. } = setting.issue(1).unwrap() else { panic!("not pending") };
    assert_eq!(setting.find(1), FindAnswer::CannotTell);
    assert!(matches!(setting.issue(1), Ok(IssueAnswer::Pending { poll_id: again, .. }) if again == poll_id));
    let deadline = Timestamp::from_secs(START + 60);
    let poll = || {
        let request = StatusRequest::new(IdempotencyKey::new([1; 32]), &poll_id, deadline);
        setting.ca.status(request).now_or_never().expect("the local CA does not wait").unwrap()
    };
    assert!(matches!(poll(), IssueAnswer::Pending { .. }));
    assert!(matches!(poll(), IssueAnswer::Pending { .. }));
    assert!(matches!(poll(), IssueAnswer::Issued(_)));
    assert!(matches!(poll(), IssueAnswer::Issued(_)), "asked once more");
    assert_eq!(setting.ca.issued().len(), 1);
}

#[test]
fn revocation_is_idempotent_and_shows_in_the_list() {
    let setting = setting().with_faults(LocalCaFaults::none().fail_revocations(1));
    let serial = setting.issued(1).serial().cloned().unwrap();
    let deadline = Timestamp::from_secs(START + 60);
    let revoke = |serial: &SerialNumber| {
        let call = RevokeCall::new(serial, None, None, RevocationReason::Superseded, deadline);
        setting.ca.revoke(call).now_or_never().expect("the local CA does not wait")
    };
    assert!(revoke(&serial).is_err(), "injected");
    assert_eq!(revoke(&serial).unwrap(), RevokeAnswer::Revoked);
    assert_eq!(revoke(&serial).unwrap(), RevokeAnswer::AlreadyRevoked);
    assert_eq!(revoke(&SerialNumber::from_be_bytes(&[1]).unwrap()).unwrap(), RevokeAnswer::UnknownSerial);
    let der = setting.ca.crl().now_or_never().expect("the local CA does not wait").unwrap();
    let crl = Crl::from_der(&der, &Limits::default()).unwrap();
    crl.verify_signed_by(&setting.ca.provider, setting.ca.certificate().spki()).unwrap();
    assert_eq!((crl.entries().len(), crl.entries()[0].reason, crl.is_revoked(&serial)), (1, Some(4), true));
    assert_eq!(setting.ca.issued()[0].revoked, Some((Timestamp::from_secs(START), RevocationReason::Superseded)));
}
