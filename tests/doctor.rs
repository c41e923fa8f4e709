//! The doctor: each finding provoked, with its cure, and what it must never do.

#![cfg(all(feature = "doctor", feature = "import", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/pki.rs"]
mod pki;

#[path = "doctor/local.rs"]
mod local;
#[path = "doctor/network.rs"]
mod network;
#[path = "doctor/online.rs"]
mod online;
#[cfg(feature = "sim")]
#[path = "doctor/simulated.rs"]
mod simulated;
#[path = "doctor/world.rs"]
mod world;

use intune_connector::doctor::{Check, Finding, Report, Severity};

/// The finding of that check and severity; its text and its cure hold these words.
#[track_caller]
fn expect<'a>(report: &'a Report, check: Check, severity: Severity, what: &str, cure: &str) -> &'a Finding {
    let holds = |finding: &&Finding| {
        finding.check == check
            && finding.severity == severity
            && finding.what.contains(what)
            && finding.cure.as_deref().unwrap_or_default().contains(cure)
    };
    report.findings.iter().find(holds).unwrap_or_else(|| panic!("no {severity} of {check} with {what:?} and {cure:?} in\n{report}"))
}
