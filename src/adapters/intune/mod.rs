//! Intune online: its SCEP validation API, its revocation API, and what carries calls to both.
//!
//! [`IntuneScep`] is validator and notifier in one, over a [`ScepActions`]. What the service spells stands in `wire`, what its answers mean in
//! `answer`, what is no answer in `fault`. [`IntuneRevocations`] is the queue of the revocation flow, over a [`RevocationActions`].
//! [`IntuneOnline`] carries the calls of both over HTTP: `discovery` finds the service, `repeat` decides what follows an outcome.

mod actions;
mod answer;
mod client;
mod cloud;
mod codes;
mod config;
mod discovery;
mod fault;
mod location;
mod repeat;
mod revocation;
mod revocation_actions;
mod scep;
mod wire;

pub use actions::{HttpAnswer, InvalidProviderName, ProviderName, ScepAction, ScepActions, ScepCall};
pub use client::IntuneOnline;
pub use cloud::Cloud;
pub use config::IntuneOnlineBuilder;
pub use revocation::{ErrorCodeForm, IntuneRevocations, RevocationsBuilder};
pub use revocation_actions::{RevocationAction, RevocationActions, RevocationCall};
pub use scep::IntuneScep;
