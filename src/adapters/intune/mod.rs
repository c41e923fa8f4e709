//! Intune's SCEP validation API: whether a challenge is good, and the news of what became of it; and what carries calls to Intune's services.
//!
//! [`IntuneScep`] is validator and notifier in one, over a [`ScepActions`]. What the service spells stands in `wire`, what its answers mean in
//! `answer`. [`IntuneOnline`] carries the calls over HTTP: `discovery` finds the service, `repeat` decides what follows an outcome.

mod actions;
mod answer;
mod client;
mod cloud;
mod codes;
mod config;
mod discovery;
mod location;
mod repeat;
mod revocation_actions;
mod scep;
mod wire;

pub use actions::{HttpAnswer, InvalidProviderName, ProviderName, ScepAction, ScepActions, ScepCall};
pub use client::IntuneOnline;
pub use cloud::Cloud;
pub use config::IntuneOnlineBuilder;
pub use revocation_actions::{RevocationAction, RevocationActions, RevocationCall};
pub use scep::IntuneScep;
