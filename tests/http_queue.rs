//! The client of the open queue against the simulator's server half, in one process: conformance, faults of the wire, the documents, and
//! the engine.
#![cfg(all(feature = "sim", feature = "conformance", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "http_queue/calls.rs"]
mod calls;
#[path = "http_queue/delivery.rs"]
mod delivery;
#[path = "http_queue/engine.rs"]
mod engine;
#[path = "http_queue/openapi.rs"]
mod openapi;
#[path = "support/pki.rs"]
mod pki;
#[path = "support/schema.rs"]
mod schema;
#[path = "support/scripted_ca.rs"]
mod scripted_ca;
#[path = "support/tenant.rs"]
mod tenant;
#[path = "http_queue/wire.rs"]
mod wire;

use intune_connector::conformance::{CheckResult, QueueUnderTest, check_queue};
use intune_connector::ports::{IntuneQueue as _, Payload};
use intune_connector::terms::Flow;

use wire::{Lab, block_on};

fn payload(flow: Flow) -> Payload {
    match flow {
        Flow::Pkcs => tenant::pkcs("ca"),
        Flow::PkcsRecrypt => tenant::recrypt(),
        Flow::PkcsImport => tenant::import(tenant::IMPORT_PASSWORD),
        _ => tenant::revoke("01", "ca"),
    }
}

#[test]
fn the_queue_conforms_for_each_flow() {
    for flow in tenant::FLOWS {
        let lab = Lab::new();
        (0..3).for_each(|number| lab.push(flow, &format!("r{number}"), payload(flow)));
        let test = QueueUnderTest::new(&lab.queue, flow, "one".parse().unwrap(), "never given out".parse().unwrap());
        let report = block_on(check_queue(&test));
        assert!(report.is_passed(), "{report}");
        let skipped = report.checks.iter().filter(|check| matches!(check.result, CheckResult::Skipped(_))).count();
        assert_eq!(skipped, 0, "{report}");
        assert_eq!(lab.server.accepted().len(), 3);
        assert_eq!((lab.server.unanswered(), lab.server.changed_results()), (Vec::new(), Vec::new()));
        assert_eq!(lab.server.health_messages().len(), 1);
    }
}

#[test]
fn the_capabilities_are_the_servers() {
    let lab = Lab::with(
        |settings| settings.with_flows(vec![Flow::Pkcs]).with_max_batch(7).with_lease(core::time::Duration::from_secs(90)),
        |c| c,
    );
    let capabilities = lab.queue.capabilities();
    assert_eq!((capabilities.flows, capabilities.max_batch), (vec![Flow::Pkcs], 7));
    assert_eq!(capabilities.lease, Some(core::time::Duration::from_secs(90)));
    assert!(capabilities.redelivers_elsewhere);
}
