//! Kills the connector's process at every commit and every call, and cuts its power; queue and CA live in another process and judge.
//!
//! `INTUNE_CONNECTOR_CRASH_RUNS=200` plays each point of each flow so often instead of a few times; what was played is kept, so that a run that was
//! interrupted goes on. `INTUNE_CONNECTOR_CRASH_SKIP=asked` lets the journal lie about commits to that state: then tests must fail.

#![cfg(all(
    unix,
    feature = "sqlite",
    feature = "pkcs",
    feature = "import",
    feature = "revoke",
    feature = "scep",
    feature = "ring",
    feature = "aws-lc-rs"
))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "crash/ca.rs"]
mod ca;
#[path = "crash/campaign.rs"]
mod campaign;
#[path = "crash/clock.rs"]
mod clock;
#[path = "crash/device.rs"]
mod device;
#[path = "crash/fixture.rs"]
mod fixture;
#[path = "crash/full.rs"]
mod full;
#[path = "crash/judge.rs"]
mod judge;
#[path = "crash/layer.rs"]
mod layer;
#[path = "crash/life.rs"]
mod life;
#[path = "support/mounts.rs"]
mod mounts;
#[path = "crash/play.rs"]
mod play;
#[path = "crash/points.rs"]
mod points;
#[path = "crash/random.rs"]
mod random;
#[path = "crash/remote.rs"]
mod remote;
mod support;
#[path = "crash/torn.rs"]
mod torn;
#[path = "crash/wire.rs"]
mod wire;
#[path = "crash/world.rs"]
mod world;

use campaign::Campaign;
use intune_connector::terms::Flow;
use layer::Layer;

/// Not a test of its own: what the killed process does.
#[test]
fn in_another_process() {
    life::live();
}

#[test]
fn a_pkcs_request_ends_once_wherever_the_process_is_killed() {
    Campaign::new(Flow::Pkcs).at_every_point();
}

#[test]
fn a_recrypt_request_ends_once_wherever_the_process_is_killed() {
    Campaign::new(Flow::PkcsRecrypt).at_every_point();
}

#[test]
fn an_import_request_ends_once_wherever_the_process_is_killed() {
    Campaign::new(Flow::PkcsImport).at_every_point();
}

#[test]
fn a_revocation_ends_once_wherever_the_process_is_killed() {
    Campaign::new(Flow::Revoke).at_every_point();
}

#[test]
fn a_scep_device_gets_one_certificate_wherever_the_process_is_killed() {
    Campaign::new(Flow::Scep).at_every_point();
}

#[test]
fn many_requests_end_once_whenever_the_process_is_killed() {
    for flow in campaign::FLOWS {
        Campaign::new(flow).at_random_times();
    }
}

#[test]
fn a_power_cut_loses_nothing_that_was_answered() {
    for flow in campaign::FLOWS {
        let Some(layer) = Layer::new() else { return };
        let cut = Campaign::new(flow).cut_off(|| layer.again(), false);
        assert!(cut.wrong.is_empty(), "{flow}: {}", cut.wrong.join("\n"));
        assert!(cut.dropped > 0, "{flow}: no cut took anything");
    }
}

/// What shows that the test above would notice.
#[test]
fn without_syncs_a_power_cut_loses_what_was_answered() {
    let Some(layer) = Layer::new() else { return };
    let layer = layer.swallow_syncs();
    let cut = Campaign::new(Flow::Pkcs).cut_off(|| layer.again(), false);
    let lost =
        cut.wrong.iter().filter(|wrong| wrong.contains("was answered as stored") || wrong.contains("the journal cannot be read")).count();
    println!("without syncs: {lost} of {} runs lost commits", cut.runs);
    assert!(lost > 0, "{}", cut.wrong.join("\n"));
}

/// As its documentation says: the last transactions are lost, and the file stays sound.
#[test]
fn a_power_cut_loses_the_last_where_that_was_chosen() {
    let Some(layer) = Layer::new() else { return };
    let cut = Campaign::new(Flow::Pkcs).cut_off(|| layer.again(), true);
    let lost = cut.wrong.iter().filter(|wrong| wrong.contains("was answered as stored")).count();
    println!("PowerCut::LosesTheLast: {lost} of {} runs lost commits", cut.runs);
    assert!(lost > 0, "{}", cut.wrong.join("\n"));
    assert!(!cut.wrong.iter().any(|wrong| wrong.contains("the journal cannot be read")), "{}", cut.wrong.join("\n"));
}

#[test]
fn a_disk_that_fails_costs_no_request() {
    full::failing_calls();
}

#[test]
fn a_full_disk_costs_no_request() {
    full::bad_file_system("full");
}

#[test]
fn a_read_only_file_system_costs_no_request() {
    full::bad_file_system("read-only");
}

#[test]
fn damaged_files_give_a_journal_or_a_named_error_and_never_a_wrong_result() {
    torn::torn_files();
}
