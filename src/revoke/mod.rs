//! Revocation: have the CA revoke what Intune asks for, and report what became of it.
//!
//! Requests of other CAs are left alone: an answer to them would end their revocation. A certificate that is already revoked is a
//! success, an unknown serial number is final, passing faults are tried again.

mod config;
mod run;
mod step;

pub use config::{AlreadyRevoked, IssuerlessRequests, RevokeConfig, SerialSpelling};
