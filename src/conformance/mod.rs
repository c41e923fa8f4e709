//! Checks your own adapters: run them against a reserved queue, CA, journal, sink or key store, and read what they break.
//!
//! Each function runs all its checks whatever fails, and gives a [`Report`] of named checks. What an adapter does not claim is skipped.
//! The in-memory adapters pass. Approvals to issue come from a throw-away policy that allows nothing but `CN=conformance test …`.
//!
//! The suite issues and revokes certificates, stores and prunes rows and answers requests: never point it at what is in use.

mod ca;
mod journal;
mod keys;
mod queue;
mod report;
mod sink;

pub use ca::{CaUnderTest, check_certificate_authority};
pub use journal::check_journal;
pub use keys::check_decryption_keys;
pub use queue::{QueueUnderTest, check_queue};
pub use report::{Check, CheckResult, Report};
pub use sink::check_event_sink;
