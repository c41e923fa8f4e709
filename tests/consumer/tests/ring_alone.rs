//! What `build()` says to a provider that lacks slots.
#![cfg(all(feature = "pkcs", feature = "ring"))]

use std::sync::Arc;

use consumer::{Lab, OwnCa};
use intune_connector::crypto::CryptoProvider;
use intune_connector::pkcs::PkcsConfig;
use intune_connector::policy::{IssuancePolicy, RecipientPolicy};

#[test]
fn the_error_of_build_names_slot_flow_and_remedy() {
    let (lab, provider) = (Lab::default(), CryptoProvider::ring_only());
    let ca = Arc::new(OwnCa::without_key(provider.clone(), "Own CA".parse().unwrap()));
    let recipients = RecipientPolicy::dangerous_encrypt_to_anyone();
    let config = PkcsConfig::new(lab.queue.clone(), ca.name(), ca, IssuancePolicy::deny_all(), recipients);
    let error = lab.builder(provider).pkcs(config).build().unwrap_err();
    let missing: Vec<&str> = error.findings().iter().map(|finding| finding.setting.as_str()).collect();
    assert!(missing.contains(&"provider.key_generation") && missing.contains(&"provider.content_cipher"), "{missing:?}");
    for finding in error.findings() {
        assert!(finding.problem.contains("the flow pkcs") && finding.problem.contains("`ring`"), "{finding}");
        assert!(finding.remedy.contains("aws-lc-rs") && finding.remedy.contains("with_"), "{finding}");
    }
}

#[test]
fn without_a_recipient_nobody_is_trusted_and_nothing_is_built() {
    let (lab, provider) = (Lab::default(), CryptoProvider::ring_only());
    let ca = Arc::new(OwnCa::without_key(provider.clone(), "Own CA".parse().unwrap()));
    let config = PkcsConfig::new(lab.queue.clone(), ca.name(), ca, IssuancePolicy::deny_all(), RecipientPolicy::new());
    let error = lab.builder(provider).pkcs(config).build().unwrap_err();
    assert!(error.to_string().contains("pkcs.recipients"), "{error}");
}
