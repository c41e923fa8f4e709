//! Microsoft Graph: service discovery, userPfxCertificates, users.

mod create;
mod discovery;
mod filter;
mod pfx;
mod record;
mod store;
mod users;

pub(super) use discovery::discovery;
pub(super) use pfx::{collection, one};
pub use record::PfxRecord;
pub(super) use store::PfxStore;
pub(super) use users::{user, users};

use super::Inner;
use super::entra::{Audience, Role, Unauthorised, authorise};
use super::reply;
use super::request::Ask;
use super::state::State;
use crate::adapters::http::HttpResponse;

/// The token must be Graph's and have the role: 401 or 403 otherwise.
fn permit(inner: &Inner, state: &State, ask: &Ask<'_>, role: Role) -> Result<(), HttpResponse> {
    let now = inner.runtime.now();
    authorise(inner, state, ask, Audience::Graph, role).map_err(|why| match why {
        Unauthorised::Token(text) => reply::graph_error(401, "InvalidAuthenticationToken", text, now)
            .with_header("www-authenticate", format!("Bearer realm=\"\", authorization_uri=\"{}/common/oauth2/authorize\"", state.base)),
        Unauthorised::Role(_) => {
            reply::graph_error(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.", now)
        }
    })
}
