//! Intune's revocation API as a queue, without HTTP: bodies and answers, the cool-down, restarts, and the connector on top.
//!
//! Cases of Microsoft's unit tests are named in the comments. Their "null transaction id" has no counterpart: the id is never sent, and this
//! adapter has none. `INTUNE_CONNECTOR_WRITE_GOLDEN=1` rewrites the golden files.

#![cfg(all(feature = "intune", feature = "sqlite", feature = "conformance", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "intune_revocation/answers.rs"]
mod answers;
#[path = "intune_revocation/cool_down.rs"]
mod cool_down;
#[path = "intune_revocation/engine.rs"]
mod engine;
#[path = "intune_revocation/fleet.rs"]
mod fleet;
#[path = "intune_revocation/results.rs"]
mod results;
#[path = "intune_revocation/rig.rs"]
mod rig;

use intune_connector::adapters::intune::{IntuneRevocations as Queue, RevocationsBuilder as Builder};
