//! Versions of Microsoft's connector and how long each is supported, as the portal judges an instance. Pure: dates come in as arguments.

mod support;
mod version;

pub use support::{Release, Support, SupportStatus, support};
pub use version::{ConnectorVersion, InvalidVersion};
