//! Full disks, disks that fail, folders that cannot be written: the connector goes on or refuses with a named error, and nothing is answered as
//! stored that is not.

use std::sync::Arc;
use std::time::Duration;

use intune_connector::terms::Flow;

use crate::ca::CaKind;
use crate::layer::Layer;
use crate::mounts::Mount;
use crate::play::{Kill, Plan, Played, describe, play};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const EROFS: i32 = 30;
/// More calls than a life makes.
const EVER: u64 = 1_000_000;

/// What a refusal may be called where the disk is at fault; never that the file is damaged or foreign.
const NAMES: [&str; 3] = ["DiskFull", "ReadOnly", "CannotOpen"];

fn plan(flow: Flow, seed: u64) -> Plan {
    let mut plan = Plan::new(flow, CaKind::Searchable, seed);
    plan.requests = 6;
    plan
}

fn check(plan: &Plan, what: &str, played: &Played) {
    assert!(played.wrong.is_empty(), "{what}: {}\n  {}", describe(plan), played.wrong.join("\n  "));
    for refusal in &played.refusals {
        assert!(NAMES.iter().any(|name| refusal.starts_with(name)), "{what}: {refusal}");
    }
}

/// The first life has the fault, and is killed where it does not come to its end; the next one finds the disk well.
pub fn failing_calls() {
    let Some(layer) = Layer::new() else { return };
    let (mut runs, mut refusals, mut went_on) = (0, 0, 0);
    for flow in [Flow::PkcsRecrypt, Flow::Revoke] {
        for (kind, errno) in [("write", ENOSPC), ("write", EIO), ("sync", EIO), ("open", EROFS), ("open", EIO)] {
            for (from, count) in [(0, EVER), (0, 1), (3, 1), (9, 4), (14, EVER), (20, 1), (31, 8)] {
                let is_cut = kind == "sync";
                let mut plan = plan(flow, from);
                let layer = layer.again().fail(kind, errno, from, count);
                plan.layer = Some(if is_cut { layer } else { layer.without_cuts() });
                plan.kills = vec![Kill::When(Duration::from_millis(350))];
                let played = play(&mut plan);
                check(&plan, &format!("{kind} fails by {errno} from {from}, {count} times"), &played);
                runs += 1;
                refusals += played.refusals.len();
                went_on += usize::from(played.kills == 0 && played.refusals.is_empty());
            }
        }
    }
    println!("failing calls: {runs} runs: the journal was refused in {refusals}, {went_on} came to their end in spite of them");
}

/// A file system that is full, or read-only, between two lives that find it well.
pub fn bad_file_system(what: &'static str) {
    let (mut refusals, mut kills) = (Vec::new(), 0);
    for seed in 0..3 {
        let Some(mount) = Mount::tmpfs(2_048) else { return };
        let mount = Arc::new(mount);
        let mut plan = plan(Flow::PkcsRecrypt, seed);
        plan.folder = Some(mount.path().to_owned());
        // The first life leaves a journal, or not even that.
        plan.kills = [if seed == 0 { 0 } else { 60 }, 300].map(|millis| Kill::When(Duration::from_millis(millis))).to_vec();
        let bad = Arc::clone(&mount);
        plan.between = Some(Box::new(move |life, _| match (life, what) {
            (1, "full") => bad.fill(),
            (2, "full") => bad.free(),
            (1, _) => assert!(bad.remount("ro")),
            (2, _) => assert!(bad.remount("rw")),
            _ => {}
        }));
        let played = play(&mut plan);
        check(&plan, what, &played);
        kills += played.kills;
        refusals.extend(played.refusals);
    }
    println!("{what}: {kills} kills; refused as {refusals:?}");
}
