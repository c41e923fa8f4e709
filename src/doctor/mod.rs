//! Checks an installation, and says for each finding how to cure it.
//!
//! [`Doctor`] takes what the connector works with and gives a [`Report`]: a table, JSON, and an exit code. It never downloads revocation
//! requests: Intune would give out none for an hour after.

mod authority;
mod clock;
mod disk;
mod expiry;
mod host;
mod journal;
mod keys;
mod network;
mod online;
mod permission;
mod report;
mod run;
mod scope;
mod system;
mod watched;

pub use network::{NetworkProbe, TlsHandshake};
pub use online::OnlineChecks;
pub use report::{Check, Finding, Report, Severity};
pub use run::Doctor;
pub use system::SystemNetwork;
