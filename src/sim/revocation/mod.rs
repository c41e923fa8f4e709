//! The revocation service (facts B).

mod book;
mod code;
mod download;
mod upload;

pub(super) use book::RevocationBook;
pub use book::{RevocationEntry, RevocationRequest, RevocationResultEntry, RevocationState};

use super::Inner;
use super::reply::Answered;
use super::request::Ask;
use super::state::State;
use crate::adapters::intune::RevocationAction;

pub(super) fn revocation(inner: &Inner, state: &mut State, ask: &Ask<'_>, action: RevocationAction) -> Answered {
    match action {
        RevocationAction::DownloadRevocationRequests => download::download(inner, state, ask),
        RevocationAction::UploadRevocationResults => upload::upload(inner, state, ask),
    }
}
