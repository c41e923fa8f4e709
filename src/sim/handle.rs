//! From a request to its answer, when nothing goes wrong.

use super::answer::SimOutcome;
use super::endpoint::Route;
use super::location::Stale;
use super::reply::{self, gateway_error};
use super::request::Ask;
use super::state::State;
use super::{Inner, control, entra, graph, revocation, scep};
use crate::adapters::http::HttpResponse;

/// What a fault bends inside a handler.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bent {
    /// The token that is given is over.
    pub(super) expired_token: bool,
    /// Discovery tells where the services were.
    pub(super) stale_discovery: bool,
}

pub(super) fn handle(inner: &Inner, state: &mut State, ask: &Ask<'_>, route: &Route, bent: Bent) -> HttpResponse {
    let answer = match route {
        Route::Token { tenant, version } => entra::token(inner, state, ask, tenant, *version, bent.expired_token),
        Route::OpenIdConfiguration { tenant } => entra::open_id_configuration(inner, state, tenant),
        Route::Keys => entra::keys(inner),
        Route::InstanceDiscovery => entra::instance_discovery(inner, state),
        Route::Discovery { app_id } => graph::discovery(inner, state, ask, app_id, bent.stale_discovery),
        Route::Scep { action, .. } => scep::scep(inner, state, ask, *action),
        Route::Revocation { action, .. } => revocation::revocation(inner, state, ask, *action),
        Route::PfxCollection => graph::collection(inner, state, ask),
        Route::Pfx { key } => graph::one(inner, state, ask, key),
        Route::Users => graph::users(inner, state, ask),
        Route::User { key } => graph::user(inner, state, ask, key),
        Route::OpenQueue => Ok(inner.open_queue.handle(ask.request)),
        Route::Control { path } => control::control(inner, state, ask, path),
        Route::Unknown => Err(reply::text(404, "the simulated Intune has nothing at this path")),
    };
    answer.unwrap_or_else(|refusal| refusal)
}

/// What is left where a service was, when the request is for another scale unit than the one that serves the tenant.
pub(super) fn stale(state: &State, route: &Route) -> Option<SimOutcome> {
    let (Route::Scep { unit, .. } | Route::Revocation { unit, .. }) = route else { return None };
    if *unit == state.location.unit() {
        return None;
    }
    Some(match state.location.stale.status() {
        Some(status) => SimOutcome::Respond(gateway_error(status, "ResourceNotFound", "The tenant is not served here.")),
        None => {
            debug_assert_eq!(state.location.stale, Stale::UnknownHost);
            SimOutcome::UnknownHost
        }
    })
}
