//! Users, to find the id of a user principal name.

use serde_json::{Value, json};

use super::{filter, permit};
use crate::adapters::http::{HttpMethod, HttpResponse};
use crate::sim::Inner;
use crate::sim::entra::Role;
use crate::sim::reply::{self, Answered, graph_error};
use crate::sim::request::Ask;
use crate::sim::state::State;

pub(in crate::sim) fn users(inner: &Inner, state: &State, ask: &Ask<'_>) -> Answered {
    let wrong = |text: &str| graph_error(400, "Request_UnsupportedQuery", text, inner.runtime.now());
    permit_get(inner, state, ask)?;
    let comparisons =
        ask.query("$filter").map(filter::parse).transpose().map_err(|text| wrong(&format!("Invalid filter clause: {text}")))?;
    let mut comparisons = comparisons.unwrap_or_default();
    if comparisons.iter().any(|comparison| !matches!(comparison.name.as_str(), "userPrincipalName" | "id")) {
        return Err(wrong("Unsupported or invalid query filter clause specified for property."));
    }
    // Entra compares these without regard to case.
    for comparison in &mut comparisons {
        comparison.lower = true;
        comparison.literal = comparison.literal.to_lowercase();
    }
    let matching = state
        .pfx
        .users()
        .filter(|(name, id)| comparisons.iter().all(|comparison| comparison.holds(if comparison.name == "id" { id } else { name })));
    let value: Vec<Value> = matching.take(inner.settings.page_size).map(shown).collect();
    let context = format!("{}/beta/$metadata#users", state.base);
    Ok(reply::odata(200, &json!({ "@odata.context": context, "value": value })))
}

pub(in crate::sim) fn user(inner: &Inner, state: &State, ask: &Ask<'_>, key: &str) -> Answered {
    permit_get(inner, state, ask)?;
    let absent = || graph_error(404, "Request_ResourceNotFound", "The user does not exist.", inner.runtime.now());
    state.pfx.user(key).map(|user| reply::odata(200, &shown(user))).ok_or_else(absent)
}

fn permit_get(inner: &Inner, state: &State, ask: &Ask<'_>) -> Result<(), HttpResponse> {
    if ask.method() != HttpMethod::Get {
        return Err(graph_error(405, "Request_BadRequest", "The method is not allowed for the resource.", inner.runtime.now()));
    }
    permit(inner, state, ask, Role::UserReadAll)
}

fn shown((name, id): (&str, &str)) -> Value {
    json!({ "id": id, "userPrincipalName": name, "displayName": name })
}
