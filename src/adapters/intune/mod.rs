//! Intune's SCEP validation API: whether a challenge is good, and the news of what became of it; and its revocation API. Without HTTP: a
//! [`ScepActions`] and a [`RevocationActions`] carry them.
//!
//! [`IntuneScep`] is validator and notifier in one. What the service spells stands in `wire`, what its answers mean in `answer`, what is no
//! answer in `fault`. [`IntuneRevocations`] is the queue of the revocation flow.

mod actions;
mod answer;
mod cloud;
mod codes;
mod fault;
mod retry_after;
mod revocation;
mod revocation_actions;
mod scep;
mod wire;

pub use actions::{HttpAnswer, InvalidProviderName, ProviderName, ScepAction, ScepActions, ScepCall};
pub use cloud::Cloud;
pub use revocation::{ErrorCodeForm, IntuneRevocations, RevocationsBuildError, RevocationsBuilder};
pub use revocation_actions::{RevocationAction, RevocationActions, RevocationCall};
pub use scep::IntuneScep;
