//! Intune's revocation API as a queue. Without HTTP: a [`RevocationActions`](super::RevocationActions) carries it.
//!
//! What the service spells stands in `wire`, what rows hold in `record`, what is decided of them in `step`, journal calls in `stored`; `requests`
//! and `results` perform it for the two directions.

mod config;
mod queue;
mod record;
mod requests;
mod results;
mod step;
mod stored;
mod wire;

pub use config::{ErrorCodeForm, RevocationsBuilder};
pub use queue::IntuneRevocations;
