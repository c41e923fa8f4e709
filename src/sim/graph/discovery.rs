//! The tenant's service endpoints (facts A.3).

use serde_json::{Value, json};

use super::permit;
use crate::adapters::http::HttpMethod;
use crate::adapters::intune::{Cloud, ScepAction};
use crate::sim::Inner;
use crate::sim::entra::Role;
use crate::sim::location::{revocation_base, scep_base};
use crate::sim::reply::{self, Answered};
use crate::sim::request::Ask;
use crate::sim::state::State;

/// `stale` lists where the services were before.
pub(in crate::sim) fn discovery(inner: &Inner, state: &State, ask: &Ask<'_>, app_id: &str, stale: bool) -> Answered {
    let now = inner.runtime.now();
    if ask.method() != HttpMethod::Get {
        return Err(reply::graph_error(405, "Request_BadRequest", "The method is not allowed for the resource.", now));
    }
    permit(inner, state, ask, Role::ApplicationReadAll)?;
    let cloud = Cloud::global();
    if !app_id.eq_ignore_ascii_case(&cloud.intune_app_id) {
        let text = format!("Resource 'appId={app_id}' does not exist or one of its queried reference-property objects are not present.");
        return Err(reply::graph_error(404, "Request_ResourceNotFound", &text, now));
    }
    let unit = if stale { state.location.previous_unit() } else { state.location.unit() };
    let slash = if inner.settings.bases_end_in_slash { "/" } else { "" };
    let mut services = vec![("GraphResourceExplorer".to_owned(), format!("{}/{unit}/ResourceExplorer", state.base))];
    // Without a licence, or without the role in Intune, the list lacks them and the status is 200 all the same.
    if state.licensed && state.roles.contains(&Role::ScepChallengeProvider) {
        services.push((ScepAction::SERVICE.to_owned(), scep_base(&state.base, &unit) + slash));
        services.push((cloud.revocation_service, revocation_base(&state.base, &unit) + slash));
    }
    let value: Vec<Value> = services
        .into_iter()
        .enumerate()
        .map(|(number, (name, uri))| {
            json!({
                "id": format!("00000000-0000-0000-0000-{number:012}"), "deletedDateTime": null, "capability": name,
                "providerId": cloud.intune_app_id, "providerName": name, "uri": uri, "providerResourceId": null,
            })
        })
        .collect();
    let context = format!("{}/v1.0/$metadata#servicePrincipals('appId%3D{app_id}')/endpoints", state.base);
    Ok(reply::odata(200, &json!({ "@odata.context": context, "value": value })))
}
