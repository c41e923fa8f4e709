//! Checks an installation, and says for each finding how to cure it.
//!
//! [`Doctor`] takes what the connector works with and gives a [`Report`]: a table, JSON, and an exit code. It never downloads revocation
//! requests: Intune would give out none for an hour after.

mod authority;
mod disk;
mod expiry;
mod host;
mod journal;
mod keys;
mod network;
mod report;
mod run;
mod scope;
mod system;

pub use network::{NetworkProbe, TlsHandshake};
pub use report::{Check, Finding, Report, Severity};
pub use run::Doctor;
pub use system::SystemNetwork;
