//! Certificates that the service has issued for itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use intune_connector::adapters::{InMemoryRegistrationAuthorities, VolatileJournal};
use intune_connector::event::EventId;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::csr::CsrBuilder;
use intune_connector::message::scep::{MessageType, PkiRequestBuilder, PkiStatus};
use intune_connector::message::signed::Signed;
use intune_connector::ports::{PortError, RegistrationAuthority, RegistrationAuthorityStore, RegistrationKey, RegistrationKeys};
use intune_connector::scep::{ManagedRegistrationAuthority, RenewalPolicy, Request, Service};
use intune_connector::terms::{KeyAlgorithm, KeyUsage, oids};
use intune_connector::time::Timestamp;

use crate::scep_lab::{Client, KeyPair, Lab, TestCa, key_pair, name, provider, shared_key, sign};
use crate::{DAY, new_key, read};

fn lab() -> Lab {
    Lab::with_ca(TestCa::new(shared_key(0)).that_looks_up(), |builder| builder)
}

fn managed(store: Arc<dyn RegistrationAuthorityStore>) -> ManagedRegistrationAuthority {
    ManagedRegistrationAuthority::new(name("CN=managed RA,O=Lab"), store)
}

fn service(lab: &Lab, ra: ManagedRegistrationAuthority) -> Service {
    let builder = lab.builder_before(Arc::new(VolatileJournal::new()), ra, lab.validator.clone());
    lab.runtime.block_on(builder.build()).unwrap()
}

/// The RA's certificates of GetCACert.
fn shown(lab: &Lab, service: &Service) -> Vec<Certificate> {
    let answer = lab.runtime.block_on(service.handle(Request::get("operation=GetCACert")));
    assert_eq!(answer.media_type, "application/x-x509-ca-ra-cert");
    let signed = Signed::parse(&answer.body, &Default::default()).unwrap();
    signed.certificates().map(|der| read(&der)).filter(|certificate| !certificate.is_ca()).collect()
}

fn enrol(lab: &Lab, service: &Service, encrypt_to: &Certificate, signed_by: &Certificate) {
    let client = lab.client();
    let (message, to) = client.message(encrypt_to);
    let response = lab.runtime.block_on(service.handle(Request::post("operation=PKIOperation", message)));
    client.certificate(&client.reply(&response, &to, signed_by));
}

#[test]
fn one_key_gets_one_certificate_with_both_usages_and_nothing_else() {
    let lab = lab();
    let service = service(&lab, managed(Arc::new(InMemoryRegistrationAuthorities::single(provider().clone()))));
    let ras = shown(&lab, &service);
    assert_eq!(ras.len(), 1);
    assert_eq!(ras[0].subject().to_string(), "O=Lab,CN=managed RA");
    assert_eq!(ras[0].key_usage(), Some(KeyUsage::SIGN_AND_ENCIPHER));
    assert!(ras[0].subject_alt_names().is_empty() && ras[0].extended_key_usage().is_empty());
    enrol(&lab, &service, &ras[0], &ras[0]);
}

#[test]
fn two_keys_get_a_certificate_for_each_use() {
    let lab = lab();
    let service = service(&lab, managed(Arc::new(InMemoryRegistrationAuthorities::pair(provider().clone()))));
    let ras = shown(&lab, &service);
    assert_eq!(ras.len(), 2);
    let with = |usage: KeyUsage| ras.iter().find(|ra| ra.key_usage() == Some(usage)).unwrap();
    let signing = with(KeyUsage { digital_signature: true, ..KeyUsage::default() });
    let decryption = with(KeyUsage { key_encipherment: true, ..KeyUsage::default() });
    enrol(&lab, &service, decryption, signing);
}

#[test]
fn the_certificates_are_kept_renewed_in_time_and_the_old_key_still_opens_requests() {
    let lab = lab();
    let store = Arc::new(InMemoryRegistrationAuthorities::single(provider().clone()));
    let ra = managed(store.clone()).validity(40 * DAY, 39 * DAY);
    let first_service = service(&lab, ra.clone());
    let first = shown(&lab, &first_service).remove(0);
    assert_eq!(shown(&lab, &service(&lab, ra.clone()))[0].der(), first.der(), "a restart takes what is kept");
    let at = |days: u32| Timestamp::system_now().saturating_add(days * DAY);
    lab.runtime.block_on(first_service.maintain(Timestamp::system_now()));
    assert_eq!(shown(&lab, &first_service)[0].der(), first.der());
    let _ = lab.sink.take();
    lab.runtime.block_on(first_service.maintain(at(2)));
    assert_eq!(lab.sink.count(EventId::CertificateRenewed), 1);
    let second = shown(&lab, &first_service).remove(0);
    assert_ne!(second.der(), first.der());
    assert_ne!(second.spki(), first.spki(), "with a new key");
    enrol(&lab, &first_service, &second, &second);
    enrol(&lab, &first_service, &first, &first);
    // Another instance with the same store takes over what this one has renewed.
    let other = service(&lab, ra);
    assert_eq!(shown(&lab, &other)[0].der(), second.der());
    enrol(&lab, &other, &first, &first);
}

#[test]
fn what_another_instance_has_renewed_is_taken_over() {
    let lab = lab();
    let store = Arc::new(InMemoryRegistrationAuthorities::single(provider().clone()));
    let ra = managed(store).validity(40 * DAY, 39 * DAY);
    let (one, two) = (service(&lab, ra.clone()), service(&lab, ra));
    let first = shown(&lab, &two).remove(0);
    lab.runtime.block_on(one.maintain(Timestamp::system_now().saturating_add(2 * DAY)));
    lab.runtime.block_on(two.maintain(Timestamp::system_now()));
    let second = shown(&lab, &two).remove(0);
    assert_eq!(second.der(), shown(&lab, &one)[0].der());
    enrol(&lab, &two, &first, &first);
    enrol(&lab, &two, &second, &second);
}

#[test]
fn the_certificate_of_a_key_that_was_replaced_renews_nothing() {
    let lab = lab();
    let store = Arc::new(InMemoryRegistrationAuthorities::single(provider().clone()));
    let ra = managed(store.clone()).validity(40 * DAY, 39 * DAY);
    let builder = lab.builder_before(Arc::new(VolatileJournal::new()), ra, lab.validator.clone());
    let service = lab.runtime.block_on(builder.renewal(RenewalPolicy::CertificateSuffices).build()).unwrap();
    let old = lab.runtime.block_on(store.load()).unwrap().remove(0);
    let (signer, decryption) = (read(&old.signing_certificate), Some(old.decryption_key));
    lab.runtime.block_on(service.maintain(Timestamp::system_now().saturating_add(2 * DAY)));
    let current = shown(&lab, &service).remove(0);
    assert_ne!(current.spki(), signer.spki());
    let algorithm = intune_connector::crypto::SignatureAlgorithm::RsaPkcs1Sha256;
    let builder = CsrBuilder::new(signer.subject().clone(), signer.spki()).extended_key_usage(&[oids::CLIENT_AUTH.parse().unwrap()]);
    let csr = sign(old.signing_key.as_ref(), builder.to_be_signed(algorithm).unwrap());
    let (signing, spki) = (old.signing_key, signer.spki().to_vec());
    let key = KeyPair { signing, decryption, spki, ..key_pair(KeyAlgorithm::EcP256) };
    let transaction = intune_connector::ids::TransactionId::try_from(b"ra".to_vec()).unwrap();
    let client = Client { key: Box::leak(Box::new(key)), signer, csr, transaction };
    let builder = PkiRequestBuilder::new(MessageType::RenewalReq, client.transaction.clone(), &client.csr);
    let (message, to) = client.message_with(&current, builder);
    let response = lab.runtime.block_on(service.handle(Request::post("operation=PKIOperation", message)));
    assert_eq!(client.reply(&response, &to, &current).status(), PkiStatus::Failure);
    assert_eq!(lab.ca.asks.load(Ordering::SeqCst), 2, "for its own certificates");
}

#[test]
fn a_ca_that_gives_less_time_than_asked_is_not_asked_again_and_again() {
    let lab = lab();
    *lab.ca.ends.lock().unwrap() = Some(Timestamp::system_now().saturating_add(20 * DAY));
    // Renewed 30 days before the end, if it were given a year.
    let service = service(&lab, managed(Arc::new(InMemoryRegistrationAuthorities::single(provider().clone()))));
    let at = |days: u32| lab.runtime.block_on(service.maintain(Timestamp::system_now().saturating_add(days * DAY)));
    let first = shown(&lab, &service).remove(0);
    for days in [0, 0, 10] {
        at(days);
    }
    assert_eq!((lab.ca.asks.load(Ordering::SeqCst), shown(&lab, &service)[0].der()), (1, first.der()));
    at(19);
    assert_eq!(lab.ca.asks.load(Ordering::SeqCst), 2);
}

/// What another instance has kept shows late.
#[derive(Debug)]
struct Late(Arc<InMemoryRegistrationAuthorities>, AtomicBool);

#[async_trait]
impl RegistrationAuthorityStore for Late {
    async fn load(&self) -> Result<Vec<RegistrationAuthority>, PortError> {
        let mut stored = self.0.load().await?;
        if self.1.load(Ordering::SeqCst) {
            stored.pop();
        }
        Ok(stored)
    }
    async fn new_keys(&self) -> Result<RegistrationKeys, PortError> {
        self.0.new_keys().await
    }
    async fn keep(&self, authority: &RegistrationAuthority, others_until: Timestamp) -> Result<(), PortError> {
        self.0.keep(authority, others_until).await
    }
}

#[test]
fn two_instances_that_renew_at_once_open_requests_to_both_certificates() {
    let lab = lab();
    let store = Arc::new(InMemoryRegistrationAuthorities::single(provider().clone()));
    let late = Arc::new(Late(store.clone(), AtomicBool::new(false)));
    let of = |store: Arc<dyn RegistrationAuthorityStore>| service(&lab, managed(store).validity(40 * DAY, 39 * DAY));
    let (one, two) = (of(store), of(late.clone()));
    let due = Timestamp::system_now().saturating_add(2 * DAY);
    lab.runtime.block_on(one.maintain(due));
    late.1.store(true, Ordering::SeqCst);
    lab.runtime.block_on(two.maintain(due));
    late.1.store(false, Ordering::SeqCst);
    let (of_one, of_two) = (shown(&lab, &one).remove(0), shown(&lab, &two).remove(0));
    assert_ne!(of_one.der(), of_two.der());
    for service in [&one, &two] {
        lab.runtime.block_on(service.maintain(Timestamp::system_now()));
        assert_eq!(shown(&lab, service)[0].der(), of_two.der(), "the newest");
        enrol(&lab, service, &of_one, &of_one);
        enrol(&lab, service, &of_two, &of_two);
    }
}

/// Gives the keys that it is told to give, and keeps nothing.
#[derive(Debug)]
struct Keys(Mutex<Option<RegistrationKeys>>);

#[async_trait]
impl RegistrationAuthorityStore for Keys {
    async fn load(&self) -> Result<Vec<RegistrationAuthority>, PortError> {
        Ok(Vec::new())
    }
    async fn new_keys(&self) -> Result<RegistrationKeys, PortError> {
        self.0.lock().unwrap().clone().ok_or_else(|| PortError::transient("the token is away"))
    }
    async fn keep(&self, _: &RegistrationAuthority, _: Timestamp) -> Result<(), PortError> {
        Ok(())
    }
}

#[test]
fn without_keys_or_certificates_the_service_is_not_built_and_says_why() {
    let lab = lab();
    let finding = |keys: Option<RegistrationKeys>| {
        let builder =
            lab.builder_before(Arc::new(VolatileJournal::new()), managed(Arc::new(Keys(Mutex::new(keys)))), lab.validator.clone());
        let error = lab.runtime.block_on(builder.build()).unwrap_err();
        assert_eq!(error.findings.len(), 1, "{error}");
        assert_eq!(error.findings[0].setting, "scep.ra");
        error.findings[0].problem.clone()
    };
    assert!(finding(None).contains("the token is away"));
    let signs_only = RegistrationKeys::Single(RegistrationKey::signing(new_key().signing.clone()));
    assert!(finding(Some(signs_only)).contains("decryption key"));
    lab.ca.faults.lock().unwrap().push(crate::scep_lab::Fault::WrongSubject);
    let key = new_key();
    let keys = RegistrationKeys::Single(RegistrationKey::decrypting(key.signing.clone(), key.decryption.clone().unwrap()));
    assert!(finding(Some(keys.clone())).contains("no usable certificate"));
    lab.ca.faults.lock().unwrap().push(crate::scep_lab::Fault::Reject);
    assert!(finding(Some(keys)).contains("denies"));
}
