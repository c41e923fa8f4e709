//! The connector warns of its own certificates before they end, and tells when a new one is in place.
#![cfg(all(feature = "pkcs", feature = "scep", feature = "ring", feature = "aws-lc-rs"))]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use intune_connector::adapters::{
    DangerousStaticChallenge, InMemoryQueue, LocalCa, NoNotification, RecordingSink, StdRuntime, VirtualRuntime, VolatileJournal,
};
use intune_connector::connector::Connector;
use intune_connector::crypto::{CryptoProvider, DecryptionKey, SigningKey};
use intune_connector::event::EventId;
use intune_connector::health::HealthConfig;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::name::Name;
use intune_connector::policy::{IssuancePolicy, RecipientPolicy};
use intune_connector::ports::Runtime as _;
use intune_connector::recrypt::{RecryptConfig, RecryptKey};
use intune_connector::scep::{RegistrationAuthority, Service};
use intune_connector::secret::Password;
use intune_connector::terms::{KeyAlgorithm, KeyUsage};
use intune_connector::time::Timestamp;

const DAY: Duration = Duration::from_secs(86_400);

struct Party {
    ca: Arc<LocalCa>,
    signing: Arc<dyn SigningKey>,
    decryption: Arc<dyn DecryptionKey>,
}

impl Party {
    fn new(provider: &CryptoProvider) -> Self {
        let ca = LocalCa::new(provider.clone(), "ca".parse().unwrap(), KeyAlgorithm::EcP256).unwrap();
        let key = provider.key_generation().unwrap().generate(KeyAlgorithm::Rsa2048).unwrap();
        let signing = provider.signing_keys().unwrap().load(&key).unwrap();
        Self { ca: Arc::new(ca), signing, decryption: provider.decryption_keys().unwrap().load(&key).unwrap() }
    }

    fn certificate(&self, days: u32) -> Certificate {
        let subject = Name::parse_cert_str("CN=connector").unwrap();
        let spki = self.signing.public_key();
        self.ca.issue_service_certificate(subject, &spki, KeyUsage::SIGN_AND_ENCIPHER, &[], days * DAY).unwrap()
    }
}

#[test]
fn a_recrypt_certificate_is_warned_of_once_a_day_and_its_successor_is_announced() {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let party = Party::new(&provider);
    let (runtime, sink, queue) = (Arc::new(StdRuntime::new().unwrap()), Arc::new(RecordingSink::new()), Arc::new(InMemoryQueue::new()));
    let config = |days| {
        let key = RecryptKey::new(party.certificate(days).der().clone(), party.decryption.clone());
        RecryptConfig::new(queue.clone(), key, RecipientPolicy::new().trust_root(party.ca.certificate().der().clone()))
    };
    let connector = Connector::builder(provider.clone(), Arc::new(VolatileJournal::new()))
        .tenant("contoso.example".parse().unwrap())
        .instance("one".parse().unwrap())
        .runtime(runtime.clone())
        .sink(sink.clone())
        .flow(config(10))
        .build()
        .unwrap();
    for _ in 0..3 {
        runtime.block_on(connector.run_once());
    }
    let warnings: Vec<_> = sink.events().into_iter().filter(|event| event.id == EventId::CredentialExpiring).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].message.contains("in 9 days"), "{}", warnings[0].message);

    connector.handle().reconfigure(config(90)).unwrap();
    assert_eq!(sink.count(EventId::CertificateRenewed), 1);
    runtime.block_on(connector.run_once());
    assert_eq!(sink.count(EventId::CredentialExpiring), 1);
}

#[test]
fn what_an_adapter_works_with_is_warned_of_in_events_health_messages_and_a_metric() {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let start = Timestamp::from_secs(1_800_000_000);
    let (runtime, sink, queue) = (VirtualRuntime::new(start), Arc::new(RecordingSink::new()), Arc::new(InMemoryQueue::new()));
    let ends = Arc::new(Mutex::new(start.saturating_add(31 * DAY)));
    let watched = Arc::clone(&ends);
    let connector = Connector::builder(provider, Arc::new(VolatileJournal::new()))
        .tenant("contoso.example".parse().unwrap())
        .instance("one".parse().unwrap())
        .runtime(Arc::new(runtime.clone()))
        .sink(sink.clone())
        .health(HealthConfig::new(queue.clone()).with_interval(DAY))
        .watch_credential("Entra client secret", move || Some(*watched.lock().unwrap()))
        .watch_credential("of unknown end", || None)
        .watch_credential("broken", || panic!("planted"))
        .build()
        .unwrap();
    runtime.block_on(connector.run_until(runtime.sleep(Duration::from_secs(60)))).unwrap();
    assert_eq!(sink.count(EventId::CredentialExpiring), 0, "31 days before its end");
    runtime.block_on(connector.run_until(runtime.sleep(3 * DAY))).unwrap();
    assert_eq!(sink.count(EventId::CredentialExpiring), 3, "each day from 30 days before");
    let messages = queue.health_messages();
    assert!(messages[0].findings.is_empty());
    assert_eq!(messages[2].findings, ["Entra client secret: It ends at 2027-02-15T08:00:00.000Z, in 29 days: renew it."]);
    let metric = connector.handle().credentials();
    assert_eq!(metric, [("Entra client secret".to_owned(), *ends.lock().unwrap())].into());
    assert_eq!(messages[2].credentials, metric);

    *ends.lock().unwrap() = start.saturating_add(400 * DAY);
    runtime.block_on(connector.run_until(runtime.sleep(2 * DAY))).unwrap();
    assert_eq!(sink.count(EventId::CredentialExpiring), 3, "it was renewed");
}

#[test]
fn a_long_lived_certificate_is_not_warned_of() {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let party = Party::new(&provider);
    assert_eq!(warnings_of_service(&provider, &party, 90, 1), 0);
}

#[test]
fn an_ra_certificate_is_warned_of_once_a_day() {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let party = Party::new(&provider);
    assert_eq!(warnings_of_service(&provider, &party, 10, 1), 1);
    assert_eq!(warnings_of_service(&provider, &party, 10, 3), 3);
}

fn warnings_of_service(provider: &CryptoProvider, party: &Party, validity_days: u32, days: u32) -> usize {
    let (runtime, sink) = (Arc::new(StdRuntime::new().unwrap()), Arc::new(RecordingSink::new()));
    let certificate = party.certificate(validity_days).der().clone();
    let service = Service::builder(
        provider.clone(),
        Arc::new(VolatileJournal::new()),
        party.ca.name().clone(),
        party.ca.clone(),
        RegistrationAuthority::single(certificate, party.signing.clone(), party.decryption.clone()),
        Arc::new(DangerousStaticChallenge::new(Password::from("a challenge of the test")).unwrap()),
        Arc::new(NoNotification),
    );
    let service = service.tenant("contoso.example".parse().unwrap()).instance("one".parse().unwrap());
    let service = service.runtime(runtime.clone()).sink(sink.clone()).policy(IssuancePolicy::deny_all());
    let service = runtime.block_on(service.build()).unwrap();
    for day in 0..days {
        for _ in 0..3 {
            runtime.block_on(service.maintain(Timestamp::system_now().saturating_add(day * DAY)));
        }
    }
    sink.count(EventId::CredentialExpiring)
}
