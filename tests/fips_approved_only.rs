//! A provider that is restricted to what FIPS approves refuses everything else with an error that says so, and does the rest.
//!
//! Run on the ordinary backends: the restriction is about algorithms. The same runs inside a FIPS module in the member `tests/fips`.
#![cfg(all(feature = "ring", feature = "aws-lc-rs", feature = "pkcs", feature = "import", feature = "scep"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/fips_flows.rs"]
mod flows;
#[path = "support/pki.rs"]
mod pki;
#[path = "support/providers.rs"]
mod providers;
#[path = "support/fips_refusals.rs"]
mod refusals;
#[path = "support/scep_lab.rs"]
mod scep_lab;

use std::sync::Arc;
use std::time::Duration;

use intune_connector::adapters::{InMemoryQueue, MemoryDecryptionKeys, StdRuntime, VolatileJournal};
use intune_connector::connector::{Connector, ConnectorBuilder};
use intune_connector::crypto::{ContentCipherAlgorithm, CryptoProvider, KeyTransportAlgorithm};
use intune_connector::import::ImportConfig;
use intune_connector::pkcs::PkcsConfig;
use intune_connector::policy::{IssuancePolicy, RecipientPolicy};
use intune_connector::recrypt::{RecryptConfig, RecryptKey};
use intune_connector::scep::{AlgorithmPolicy, RegistrationAuthority, Service, ServiceBuilder};
use scep_lab::{Lab, TestCa, TestJournal, shared_key};

/// The flows' tests run on a provider that is restricted, and not on a module.
fn provider() -> CryptoProvider {
    CryptoProvider::ring_and_aws_lc_rs()
}

fn builder() -> ConnectorBuilder {
    Connector::builder(provider().fips_approved_only(), Arc::new(VolatileJournal::new()))
}

fn scep_lab() -> Lab {
    Lab::on(provider().fips_approved_only(), TestCa::new(shared_key(0)), |builder| builder)
}

#[test]
fn every_setting_that_cannot_work_under_fips_is_named_in_one_build_error() {
    let provider = provider();
    let root = pki::root(&provider, "device CA");
    let service = pki::device(&provider, &root, "connector");
    let key = provider.decryption_keys().unwrap().load(&service.key).unwrap();
    let recipients = || RecipientPolicy::new().trust_root(root.certificate.clone());
    let queue = Arc::new(InMemoryQueue::new());
    let ca = Arc::new(TestCa::new(shared_key(0)));
    let pkcs = PkcsConfig::new(queue.clone(), "ca".parse().unwrap(), ca, IssuancePolicy::deny_all(), recipients());
    let recrypt = RecryptConfig::new(queue.clone(), RecryptKey::new(service.certificate.clone(), key), recipients());
    let import = ImportConfig::new(queue, Arc::new(MemoryDecryptionKeys::new()), recipients())
        .with_envelope(ContentCipherAlgorithm::DesEde3Cbc, KeyTransportAlgorithm::RsaPkcs1v15)
        .dangerous_allow_triple_des_envelopes()
        .dangerous_accept_pkcs1_passwords();
    let error = Connector::builder(provider, Arc::new(VolatileJournal::new()))
        .tenant("contoso.com".parse().unwrap())
        .instance("i1".parse().unwrap())
        .without_events_nobody_learns_of_failures()
        .runtime(Arc::new(StdRuntime::new().unwrap()))
        .pkcs(pkcs)
        .recrypt(recrypt)
        .import(import)
        .require_fips()
        .build()
        .unwrap_err();
    let settings: Vec<&str> = error.findings().iter().map(|finding| finding.setting.as_str()).collect();
    let slots =
        ["random", "digest", "hmac", "pbkdf2", "content_cipher", "aead", "key_generation", "verification", "key_transport", "signing_keys"];
    let mut expected: Vec<String> =
        ["pkcs.envelope", "pkcs-recrypt.envelope", "import.envelope", "import.envelope"].map(String::from).to_vec();
    expected.extend(["import.triple_des", "import.pkcs1_passwords"].map(String::from));
    expected.extend(slots.map(|slot| format!("provider.{slot}")));
    expected.push("pkcs-recrypt.keys[0]".to_owned());
    assert_eq!(settings, expected);
    let text = error.to_string();
    for told in [
        "RSA PKCS#1 v1.5 key transport is not approved by FIPS",
        "3DES (or single DES) is not approved by FIPS",
        "`KeyTransportAlgorithm::RsaOaepSha256`, by `with_envelope`",
        "leave out `ImportConfig::dangerous_accept_pkcs1_passwords`",
        "enable the FIPS module of the backend in your own manifest",
        "the key does not say that it is inside a FIPS module",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert!(error.findings().iter().all(|finding| !finding.remedy.is_empty()));
}

#[test]
fn a_scep_service_names_its_algorithms_its_slots_and_its_keys() {
    let (ca, key) = (Arc::new(TestCa::new(shared_key(0))), shared_key(1));
    let until = intune_connector::time::Timestamp::system_now().saturating_add(Duration::from_secs(86_400));
    let usage = intune_connector::terms::KeyUsage::SIGN_AND_ENCIPHER;
    let ra = ca.make(scep_lab::name("CN=TEST RA"), &key.spki, |builder| builder.key_usage(usage), until);
    let ra = RegistrationAuthority::single(ra.into(), key.signing.clone(), key.decryption.clone().unwrap());
    let runtime = Arc::new(StdRuntime::new().unwrap());
    let challenge = Arc::new(intune_connector::adapters::DangerousStaticChallenge::new("open-sesame-4711".into()).unwrap());
    let build = |change: fn(ServiceBuilder) -> ServiceBuilder| {
        let builder = Service::builder(
            provider(),
            Arc::new(TestJournal::default()),
            "Lab CA".parse().unwrap(),
            ca.clone(),
            ra.clone(),
            challenge.clone(),
            Arc::new(scep_lab::TestNotifier::default()),
        );
        let builder = builder.tenant("contoso.example".parse().unwrap()).instance("lab-1".parse().unwrap()).runtime(runtime.clone());
        let builder = builder.sink(Arc::new(intune_connector::adapters::RecordingSink::new()));
        let built = runtime.block_on(change(builder.policy(IssuancePolicy::dangerous_allow_any_identity())).build());
        built.map(drop).map_err(|error| error.findings.into_iter().map(|finding| finding.setting).collect::<Vec<_>>())
    };
    assert_eq!(build(|builder| builder), Ok(()));
    let told = build(|builder| builder.algorithms(AlgorithmPolicy::DangerousReadSingleDes).require_fips()).unwrap_err();
    assert_eq!(told.iter().filter(|setting| *setting == "scep.algorithms").count(), 1, "{told:?}");
    let told = build(|builder| builder.algorithms(AlgorithmPolicy::DangerousAllow3DesAndSha1).require_fips()).unwrap_err();
    assert_eq!(
        told,
        [
            "scep.algorithms",
            "provider.random",
            "provider.digest",
            "provider.verification",
            "provider.content_cipher",
            "provider.key_transport",
            "provider.aead",
            "scep.ra.signing_key",
            "scep.ra.decryption_key",
        ]
    );
}
