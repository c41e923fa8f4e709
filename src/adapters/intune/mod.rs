//! Intune's SCEP validation API: whether a challenge is good, and the news of what became of it. Without HTTP: a [`ScepActions`] carries it.
//!
//! [`IntuneScep`] is validator and notifier in one. What the service spells stands in `wire`, what its answers mean in `answer`.

mod actions;
mod answer;
mod cloud;
mod codes;
mod revocation_actions;
mod scep;
mod wire;

pub use actions::{HttpAnswer, InvalidProviderName, ProviderName, ScepAction, ScepActions, ScepCall};
pub use cloud::Cloud;
pub use revocation_actions::{RevocationAction, RevocationActions, RevocationCall};
pub use scep::IntuneScep;
