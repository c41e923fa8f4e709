//! The recipient policy: one refusal for each rule.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/pki.rs"]
mod pki;

use intune_connector::crypto::{ContentCipherAlgorithm, CryptoProvider, DigestAlgorithm, KeyTransportAlgorithm};
use intune_connector::ids::DeviceId;
use intune_connector::limits::Limits;
use intune_connector::policy::{DeviceBinding, RecipientPolicy, Rule};
use intune_connector::terms::{KeyAlgorithm, KeyUsage, SubjectAltName};
use intune_connector::time::Timestamp;
use pki::{DAY, Identity};

fn device_id(text: &str) -> Option<DeviceId> {
    Some(text.parse().unwrap())
}

fn rule_of(policy: &RecipientPolicy, provider: &CryptoProvider, identity: &Identity, device: Option<DeviceId>) -> Option<Rule> {
    let decision = policy.check_der(provider, &Limits::default(), &identity.certificate, device.as_ref(), Timestamp::system_now());
    decision.err().map(|refusal| {
        assert!(refusal.to_string().contains(refusal.rule.as_str()), "{refusal}");
        refusal.rule
    })
}

#[test]
fn a_device_of_a_trusted_root_gets_what_is_for_it_and_nothing_else() {
    let provider = pki::provider();
    let root = pki::root(&provider, "device CA");
    let device = pki::device(&provider, &root, "dev-1");
    let policy = RecipientPolicy::new().trust_root(root.certificate.clone());
    assert_eq!(policy.problems(), Vec::<String>::new());
    assert_eq!(rule_of(&policy, &provider, &device, device_id("DEV-1")), None);
    assert_eq!(rule_of(&policy, &provider, &device, device_id("dev-2")), Some(Rule::RecipientDevice));
    assert_eq!(rule_of(&policy, &provider, &device, None), Some(Rule::RecipientDevice));
    let when_named = policy.clone().device_binding(DeviceBinding::RequireWhenNamed);
    assert_eq!(rule_of(&when_named, &provider, &device, None), None);
    assert_eq!(rule_of(&when_named, &provider, &device, device_id("dev-2")), Some(Rule::RecipientDevice));
    let unbound = policy.device_binding(DeviceBinding::DangerousIgnore);
    assert_eq!(rule_of(&unbound, &provider, &device, device_id("dev-2")), None);
}

#[test]
fn a_device_may_be_named_in_the_subject_alternative_name() {
    let provider = pki::provider();
    let root = pki::root(&provider, "device CA");
    let device = pki::leaf(&provider, &root, "CN=device", KeyAlgorithm::Rsa2048, |builder| {
        builder.subject_alt_names(&[SubjectAltName::Uri("urn:device:dev-1".into())])
    });
    let policy = RecipientPolicy::new().trust_root(root.certificate.clone());
    assert_eq!(rule_of(&policy, &provider, &device, device_id("dev-1")), None);
    assert_eq!(rule_of(&policy, &provider, &device, device_id("ev-1")), Some(Rule::RecipientDevice));
}

#[test]
fn strangers_old_certificates_wrong_usages_and_small_keys_are_refused() {
    let provider = pki::provider();
    let root = pki::root(&provider, "device CA");
    let other = pki::root(&provider, "other CA");
    let policy = RecipientPolicy::new().trust_root(root.certificate.clone());
    let id = || device_id("dev-1");
    let now = Timestamp::system_now();

    let stranger = pki::device(&provider, &other, "dev-1");
    assert_eq!(rule_of(&policy, &provider, &stranger, id()), Some(Rule::RecipientTrust));
    let (begin, end) = (now.saturating_sub(20 * DAY), now.saturating_sub(DAY));
    let old = pki::leaf_valid(&provider, &root, "CN=dev-1", KeyAlgorithm::Rsa2048, begin, end, |builder| builder);
    assert_eq!(rule_of(&policy, &provider, &old, id()), Some(Rule::RecipientValidity));
    let signer = pki::leaf(&provider, &root, "CN=dev-1", KeyAlgorithm::Rsa2048, |builder| {
        builder.key_usage(KeyUsage { key_encipherment: false, ..KeyUsage::SIGN_AND_ENCIPHER })
    });
    assert_eq!(rule_of(&policy, &provider, &signer, id()), Some(Rule::RecipientKeyUsage));
    let elliptic = pki::leaf(&provider, &root, "CN=dev-1", KeyAlgorithm::EcP256, |builder| builder);
    assert_eq!(rule_of(&policy, &provider, &elliptic, id()), Some(Rule::RecipientKey));
    let unreadable = policy.check_der(&provider, &Limits::default(), &vec![0x30, 0x00].into(), id().as_ref(), now);
    assert_eq!(unreadable.err().map(|refusal| refusal.rule), Some(Rule::RecipientSyntax));
}

#[test]
fn a_pinned_service_needs_no_root_and_no_device() {
    let provider = pki::provider();
    let root = pki::root(&provider, "service CA");
    let service = pki::device(&provider, &root, "service");
    let other = pki::device(&provider, &root, "service");
    let by_certificate = RecipientPolicy::new().pin_certificate(service.certificate.clone());
    let digest = provider.digest().unwrap().digest(DigestAlgorithm::Sha256, &[&service.spki()]).unwrap();
    let by_key = RecipientPolicy::new().pin_spki_sha256(digest.as_ref().try_into().unwrap());
    for policy in [by_certificate, by_key] {
        assert_eq!(policy.problems(), Vec::<String>::new());
        assert_eq!(rule_of(&policy, &provider, &service, None), None);
        assert_eq!(rule_of(&policy, &provider, &other, None), Some(Rule::RecipientTrust));
    }
}

#[test]
fn a_policy_without_root_or_pin_cannot_be_used_unless_opted_out() {
    assert_eq!(RecipientPolicy::new().problems().len(), 1);
    assert_eq!(RecipientPolicy::new().trust_root(vec![1, 2, 3].into()).problems().len(), 1);
    assert_eq!(RecipientPolicy::dangerous_encrypt_to_anyone().problems(), Vec::<String>::new());
    let provider = pki::provider();
    let root = pki::root(&provider, "any CA");
    let anyone = pki::device(&provider, &root, "x");
    assert_eq!(rule_of(&RecipientPolicy::new(), &provider, &anyone, device_id("x")), Some(Rule::RecipientTrust));
    assert_eq!(rule_of(&RecipientPolicy::dangerous_encrypt_to_anyone(), &provider, &anyone, None), None);
}

#[test]
fn what_is_sealed_for_an_approved_recipient_opens_with_its_key() {
    use intune_connector::crypto::unwrap_now;
    use intune_connector::message::certificate::Certificate;
    use intune_connector::message::enveloped::Opening;

    let provider = pki::provider();
    let root = pki::root(&provider, "device CA");
    let device = pki::device(&provider, &root, "dev-1");
    let policy = RecipientPolicy::new().trust_root(root.certificate.clone());
    let certificate = Certificate::from_der(&device.certificate, &Limits::default()).unwrap();
    let approved = policy.check(&provider, &certificate, device_id("dev-1").as_ref(), Timestamp::system_now()).unwrap();
    let envelope = approved.seal(b"content", ContentCipherAlgorithm::Aes256Cbc, KeyTransportAlgorithm::RsaOaepSha256, &provider).unwrap();
    let mut opening = Opening::parse(&envelope, &Limits::default()).unwrap();
    let request = opening.unwrap_request(&certificate, &provider).unwrap();
    let key = provider.decryption_keys().unwrap().load(&device.key).unwrap();
    let content = opening.finish(unwrap_now(&*key, &request), &provider).unwrap();
    assert_eq!(content.secret_bytes(), b"content");
}
