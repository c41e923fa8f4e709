//! The PKCS flow and recrypt, over ports of this crate alone.
#![cfg(all(feature = "pkcs", feature = "aws-lc-rs"))]

use std::time::Duration;

use consumer::{Device, Lab, OwnRuntime, block_on, issuing_ca, item, provider};
use intune_connector::connector::{Issuance, QueueSettings};
use intune_connector::crypto::{ContentCipherAlgorithm, KeyTransportAlgorithm};
use intune_connector::limits::Limits;
use intune_connector::message::enveloped::EnvelopeBuilder;
use intune_connector::message::pfx::{self, OpenedPfx};
use intune_connector::pkcs::PkcsConfig;
use intune_connector::policy::{IssuancePolicy, RecipientPolicy, Rule};
use intune_connector::ports::{Outcome, Payload, PkcsRequest, PkcsResult, RecryptRequest, Runtime};
use intune_connector::recrypt::{RecryptConfig, RecryptKey};
use intune_connector::secret::Password;
use intune_connector::terms::{Flow, KeyAlgorithm, SubjectAltName, oids};

const DEVICE: &str = "device-4711";

fn policy() -> IssuancePolicy {
    IssuancePolicy::deny_all()
        .allow_upn_suffix("contoso.example")
        .allow_extended_key_usage(oids::CLIENT_AUTH.parse().unwrap())
        .allow_sid_domain("S-1-5-21-1-2-3".parse().unwrap())
        .only_keys([KeyAlgorithm::EcP256])
}

fn request(ca: &consumer::OwnCa, device: &Device) -> PkcsRequest {
    let mut request = PkcsRequest::new(ca.name(), format!("CN={DEVICE}"), device.certificate.der().clone());
    request.subject_alt_names = vec![SubjectAltName::Upn("jane@contoso.example".to_owned())];
    request.extended_key_usage = vec![oids::CLIENT_AUTH.parse().unwrap()];
    request.key = KeyAlgorithm::EcP256;
    request.sid = Some("S-1-5-21-1-2-3-1104".parse().unwrap());
    request.validity = Duration::from_secs(90 * 86_400);
    request.friendly_name = Some("Consumer".to_owned());
    request
}

/// Opens a result as the device would.
fn check_result(result: &PkcsResult, device: &Device) {
    let password = Password::from(device.open(&result.password_envelope));
    let file = device.open(&result.pfx_envelope);
    let opened = pfx::open(file.secret_bytes(), &password, &provider(), &Limits::default()).unwrap();
    let OpenedPfx::MacVerified(contents) = opened else { panic!("no MAC") };
    let identity = contents.contents().identity().unwrap();
    assert!(identity.certificates().count() >= 1);
}

#[test]
fn a_pkcs_request_is_served_to_its_admin_event() {
    let (lab, ca) = (Lab::default(), issuing_ca());
    let device = Device::new(&ca, DEVICE);
    lab.queue.push(item(Flow::Pkcs, "pkcs-1", DEVICE, Payload::Pkcs(Box::new(request(&ca, &device)))));
    let recipients = RecipientPolicy::new().trust_root(ca.root());
    let config = PkcsConfig::new(lab.queue.clone(), ca.name(), ca.clone(), policy(), recipients).with_ca_root(&ca.name(), ca.root());
    let connector = lab.builder(provider()).pkcs(config).build().unwrap();
    assert_eq!(connector.guarantees().issuance[&(Flow::Pkcs, ca.name())], Issuance::Idempotent);
    assert_eq!(lab.run(&connector), [1000], "{:?}", lab.sink.complaints());
    let Outcome::Pkcs(result) = lab.queue.outcome() else { panic!("{:?}", lab.queue.outcome()) };
    check_result(&result, &device);
    assert!(lab.sink.events().iter().all(|event| event.correlation.len() <= 1));
}

#[test]
fn a_pending_certificate_is_fetched_while_the_connector_runs() {
    let (lab, ca) = (Lab::default(), issuing_ca());
    let device = Device::new(&ca, DEVICE);
    ca.answer_pending();
    lab.queue.push(item(Flow::Pkcs, "pkcs-2", DEVICE, Payload::Pkcs(Box::new(request(&ca, &device)))));
    let settings = QueueSettings::new(lab.queue.clone()).with_poll_interval(Duration::from_millis(10));
    let recipients = RecipientPolicy::new().trust_root(ca.root());
    let config = PkcsConfig::new(lab.queue.clone(), ca.name(), ca.clone(), policy(), recipients).with_settings(settings);
    let connector = lab.builder(provider()).pkcs(config).build().unwrap();
    let summary = block_on(connector.run_until(OwnRuntime::new().sleep(Duration::from_millis(2_500))));
    assert_eq!((summary.flows[&Flow::Pkcs].counters.succeeded, summary.left), (1, 0), "{:?}", lab.sink.complaints());
}

#[test]
fn what_the_policy_does_not_allow_is_refused_by_a_rule_with_a_name() {
    let (lab, ca) = (Lab::default(), issuing_ca());
    let device = Device::new(&ca, DEVICE);
    let mut wrong = request(&ca, &device);
    wrong.subject_alt_names = vec![SubjectAltName::Upn("administrator@fabrikam.example".to_owned())];
    lab.queue.push(item(Flow::Pkcs, "pkcs-3", DEVICE, Payload::Pkcs(Box::new(wrong))));
    let recipients = RecipientPolicy::new().trust_root(ca.root());
    let config = PkcsConfig::new(lab.queue.clone(), ca.name(), ca.clone(), policy(), recipients);
    let connector = lab.builder(provider()).pkcs(config).build().unwrap();
    assert_eq!(lab.run(&connector), [1001]);
    let Outcome::Failed(failure) = lab.queue.outcome() else { panic!("{:?}", lab.queue.outcome()) };
    assert_eq!(failure.code.as_deref(), Some(Rule::UpnSuffix.as_str()));
}

#[test]
fn a_recrypt_request_is_served_to_its_admin_event_with_a_remote_key() {
    let (lab, ca) = (Lab::default(), issuing_ca());
    let (service, device) = (Device::new(&ca, "connector"), Device::new(&ca, DEVICE));
    let stored = EnvelopeBuilder::new(ContentCipherAlgorithm::Aes256Cbc, KeyTransportAlgorithm::RsaOaepSha256)
        .recipient(&service.certificate)
        .build(b"a stored PFX", &provider())
        .unwrap();
    let payload = RecryptRequest::new(stored, device.certificate.der().clone());
    lab.queue.push(item(Flow::PkcsRecrypt, "recrypt-1", DEVICE, Payload::Recrypt(Box::new(payload))));
    let key = RecryptKey::new(service.certificate.der().clone(), service.key.clone());
    let config = RecryptConfig::new(lab.queue.clone(), key, RecipientPolicy::new().trust_root(ca.root()));
    let connector = lab.builder(provider()).recrypt(config).build().unwrap();
    assert_eq!(lab.run(&connector), [1200], "{:?}", lab.sink.complaints());
    let Outcome::Recrypt(result) = lab.queue.outcome() else { panic!("{:?}", lab.queue.outcome()) };
    assert_eq!(device.open(&result.envelope).secret_bytes(), b"a stored PFX");
    assert_eq!(service.key.uses(), 1);
}
