//! The SCEP validation service: challenges, validation, notifications (facts A.5 to A.8).

mod challenge;
mod check;
mod code;
mod expected;
mod notify;
mod parameters;
mod validate;

pub use challenge::{ChallengeFlaw, IssuedChallenge, RegisteredKey};
pub(super) use challenge::{Challenges, Sealing};
pub(super) use code::ProvokedCodes;
pub use code::RejectionCode;
pub use expected::ExpectedCsr;
pub(super) use parameters::{optional, permit, wrapped};

use super::Inner;
use super::reply::Answered;
use super::request::Ask;
use super::state::State;
use crate::adapters::intune::ScepAction;

pub(super) fn scep(inner: &Inner, state: &mut State, ask: &Ask<'_>, action: ScepAction) -> Answered {
    match action {
        ScepAction::ValidateRequest => validate::validate(inner, state, ask),
        ScepAction::SuccessNotification => notify::success(inner, state, ask),
        ScepAction::FailureNotification => notify::failure(inner, state, ask),
    }
}
