//! A crate that links `intune-connector` as an embedder does: every port is its own, written with the public API alone.
//!
//! It is no example of good adapters, only the proof that nothing an embedder needs is private.

mod ca;
mod journal;
mod keys;
mod lab;
mod queue;
mod runtime;
#[cfg(feature = "scep")]
mod scep;
mod sink;

pub use ca::OwnCa;
pub use journal::OwnJournal;
pub use keys::{OwnKeys, RemoteDecryptionKey, RemoteSigningKey, Yield};
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
pub use lab::provider;
#[cfg(feature = "aws-lc-rs")]
pub use lab::{Device, issuing_ca};
pub use lab::{Lab, TENANT, item, meta};
pub use queue::OwnQueue;
pub use runtime::{OwnRuntime, block_on};
#[cfg(feature = "scep")]
pub use scep::{OwnNotifier, OwnValidator};
pub use sink::OwnSink;
