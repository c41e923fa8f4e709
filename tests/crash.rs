//! Kills the connector's process at every commit and every call, and cuts its power; queue and CA live in another process and judge.
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
#[path = "crash/clock.rs"]
mod clock;
#[path = "crash/device.rs"]
mod device;
#[path = "crash/fixture.rs"]
mod fixture;
#[path = "crash/judge.rs"]
mod judge;
#[path = "crash/layer.rs"]
mod layer;
#[path = "crash/life.rs"]
mod life;
#[path = "crash/play.rs"]
mod play;
#[path = "crash/points.rs"]
mod points;
#[path = "crash/random.rs"]
mod random;
#[path = "crash/remote.rs"]
mod remote;
#[path = "crash/wire.rs"]
mod wire;
#[path = "crash/world.rs"]
mod world;

use ca::CaKind;
use intune_connector::terms::Flow;
use play::{Plan, play};

/// Not a test of its own: what the killed process does.
#[test]
fn in_another_process() {
    life::live();
}

#[test]
fn census() {
    for flow in [Flow::Pkcs, Flow::PkcsRecrypt, Flow::PkcsImport, Flow::Revoke, Flow::Scep] {
        for kind in CaKind::ALL {
            let started = std::time::Instant::now();
            let played = play(&mut Plan::new(flow, kind, 1));
            println!("{flow} {kind:?} {:?} {:?}", started.elapsed(), played);
        }
    }
}
