//! The revocation flow, over ports of this crate alone.
#![cfg(all(feature = "revoke", any(feature = "ring", feature = "aws-lc-rs")))]

use std::sync::Arc;
use std::time::Duration;

use consumer::{Lab, OwnCa, OwnRuntime, block_on, item, provider};
use intune_connector::connector::{Durability, FlowMode, QueueSettings};
use intune_connector::health::HealthConfig;
use intune_connector::ports::{Outcome, Payload, RevocationError, RevokeRequest, RevokeResult, Runtime};
use intune_connector::revoke::RevokeConfig;
use intune_connector::terms::Flow;

fn request(id: &str, serial: &str) -> intune_connector::ports::QueueItem {
    let mut request = RevokeRequest::new(serial);
    request.issuer = Some("Own CA".to_owned());
    item(Flow::Revoke, id, "device-1", Payload::Revoke(request))
}

fn lab() -> (Lab, Arc<OwnCa>) {
    let ca = Arc::new(OwnCa::without_key(provider(), "Own CA".parse().unwrap()));
    ca.enter("0A1B2C".parse().unwrap());
    (Lab::default(), ca)
}

#[test]
fn a_revocation_request_is_served_to_its_admin_event() {
    let (lab, ca) = lab();
    lab.queue.push(request("revoke-1", "0a:1b:2c"));
    let connector = lab.builder(provider()).revoke(RevokeConfig::new(lab.queue.clone(), ca.name(), ca.clone())).build().unwrap();
    assert_eq!(lab.run(&connector), [3000], "{:?}", lab.sink.complaints());
    assert!(ca.is_revoked(&"0A1B2C".parse().unwrap()));
    assert!(matches!(lab.queue.outcome(), Outcome::Revoke(RevokeResult { error: None, .. })));
    assert!(lab.journal.rows().iter().all(|row| row.state.is_final()));
    assert_eq!(connector.guarantees().durability, Durability::Volatile);
}

#[test]
fn an_unknown_serial_number_is_answered_for_good() {
    let (lab, ca) = lab();
    lab.queue.push(request("revoke-2", "7777"));
    let connector = lab.builder(provider()).revoke(RevokeConfig::new(lab.queue.clone(), ca.name(), ca)).build().unwrap();
    assert_eq!(lab.run(&connector), [3001]);
    let Outcome::Revoke(result) = lab.queue.outcome() else { panic!("{:?}", lab.queue.outcome()) };
    assert_eq!(result.error, Some(RevocationError::CertificateNotFoundError));
}

#[test]
fn a_run_drains_reports_health_and_sums_up() {
    let (lab, ca) = lab();
    lab.queue.push(request("revoke-3", "0A1B2C"));
    let settings = QueueSettings::new(lab.queue.clone()).with_poll_interval(Duration::from_millis(5)).with_concurrency(2);
    let connector = lab
        .builder(provider())
        .revoke(RevokeConfig::new(lab.queue.clone(), ca.name(), ca).with_settings(settings))
        .health(HealthConfig::new(lab.queue.clone()).with_interval(Duration::from_millis(20)))
        .build()
        .unwrap();
    let handle = connector.handle();
    let runtime = OwnRuntime::new();
    let summary = block_on(connector.run_until(runtime.sleep(Duration::from_millis(400))));
    assert_eq!(summary.flows[&Flow::Revoke].counters.succeeded, 1, "{:?}", lab.sink.complaints());
    assert_eq!(summary.left, 0);
    assert!(!lab.queue.health().is_empty());
    assert_eq!(lab.queue.health()[0].instance.as_str(), "consumer-1");
    assert_eq!(handle.status()[&Flow::Revoke].mode, FlowMode::Running);
}
