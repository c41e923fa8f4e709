//! What can be done.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{faults, fine, own_queue, refuse};
use crate::adapters::http::HttpResponse;
use crate::sim::encoding::from_base64;
use crate::sim::identity::guid;
use crate::sim::reply::Answered;
use crate::sim::request::Ask;
use crate::sim::state::State;
use crate::sim::tenant;
use crate::sim::{ChallengeFlaw, Endpoint, ExpectedCsr, Inner, RegisteredKey, RevocationRequest, Role, SimError, Stale};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Challenge {
    expected: ExpectedCsr,
    #[serde(default)]
    flaw: Option<ChallengeFlaw>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Condition {
    request_id: String,
    #[serde(default)]
    targeted: Option<bool>,
    #[serde(default)]
    registered_key: Option<RegisteredKey>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Code {
    endpoint: Endpoint,
    code: String,
    #[serde(default = "once")]
    times: usize,
}

fn once() -> usize {
    1
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Roles {
    #[serde(default)]
    grant: Vec<String>,
    #[serde(default)]
    revoke: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Licence {
    licensed: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Location {
    #[serde(default)]
    stale: Stale,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OfTransaction {
    transaction_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct User {
    user_principal_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Credential {
    /// Base64 over DER.
    certificate: String,
}

pub(super) fn write(inner: &Inner, state: &mut State, ask: &Ask<'_>, path: &[&str]) -> Answered {
    match path {
        ["challenges"] => {
            let asked: Challenge = body(ask)?;
            let issued = tenant::issue_challenge(inner, state, &asked.expected, asked.flaw).map_err(invalid)?;
            fine(&json!({
                "challenge": issued.challenge.secret_str(), "requestId": issued.request_id, "deviceId": issued.device_id,
                "userId": issued.user_id, "expires": issued.expires.to_string(),
            }))
        }
        ["challenges", "condition"] => {
            let asked: Condition = body(ask)?;
            if state.challenges.set_condition(&asked.request_id, asked.targeted, asked.registered_key) {
                fine(&json!({}))
            } else {
                Err(refuse(404, "no challenge was issued with that requestId"))
            }
        }
        ["challenges", "signer"] => {
            state.challenges.change_signer(&inner.provider, &inner.identity.ca).map_err(invalid)?;
            fine(&json!({}))
        }
        ["codes"] => {
            let asked: Code = body(ask)?;
            tenant::provoke(state, asked.endpoint, &asked.code, asked.times).map_err(invalid)?;
            fine(&json!({}))
        }
        ["revocations"] => {
            let asked: RevocationRequest = body(ask)?;
            let context = tenant::enqueue_revocation(inner, state, asked).map_err(invalid)?;
            fine(&json!({ "requestContext": context }))
        }
        ["revocations", "of-transaction"] => {
            let asked: OfTransaction = body(ask)?;
            let contexts = tenant::enqueue_revocation_of(inner, state, &asked.transaction_id).map_err(invalid)?;
            fine(&json!({ "requestContexts": contexts }))
        }
        ["revocations", "end-cool-down"] => {
            state.revocation.end_cool_down();
            fine(&json!({}))
        }
        ["open-queue", "items"] => {
            let count = own_queue(inner)?.enqueue_json(ask.body()).map_err(|error| refuse(400, &error.to_string()))?;
            fine(&json!({ "enqueued": count }))
        }
        ["roles"] => roles(state, &body(ask)?),
        ["licence"] => {
            state.licensed = body::<Licence>(ask)?.licensed;
            fine(&json!({}))
        }
        ["location"] => {
            state.location.move_on(body::<Location>(ask)?.stale);
            fine(&json!({ "unit": state.location.unit() }))
        }
        ["tokens", "expire"] => {
            state.token_generation += 1;
            fine(&json!({}))
        }
        ["users"] => {
            let asked: User = body(ask)?;
            let id = guid(&inner.provider).map_err(invalid)?;
            let id = state.pfx.add_user(&asked.user_principal_name, id).map_err(|text| refuse(400, &text))?;
            fine(&json!({ "id": id }))
        }
        ["app-certificates"] => {
            let asked: Credential = body(ask)?;
            let der = from_base64(&asked.certificate).ok_or_else(|| refuse(400, "`certificate` is no base64"))?;
            tenant::register_certificate(state, &der).map_err(invalid)?;
            fine(&json!({}))
        }
        ["faults"] => {
            let asked: faults::Plan = body(ask)?;
            let (seed, plan) = asked.read(state.faults.seed).map_err(|text| refuse(400, &text))?;
            state.faults.set_plan(seed, plan);
            fine(&json!({ "seed": seed }))
        }
        _ => Err(refuse(404, "nothing is done here; see docs/simulator.md")),
    }
}

fn roles(state: &mut State, asked: &Roles) -> Answered {
    let read = |names: &[String]| names.iter().map(|name| name.parse::<Role>()).collect::<Result<Vec<_>, _>>();
    let (grant, revoke) = (read(&asked.grant), read(&asked.revoke));
    let (grant, revoke) = (grant.map_err(|text| refuse(400, &text))?, revoke.map_err(|text| refuse(400, &text))?);
    state.roles.extend(grant);
    state.roles.retain(|role| !revoke.contains(role));
    fine(&json!({ "roles": state.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>() }))
}

fn body<T: DeserializeOwned>(ask: &Ask<'_>) -> Result<T, HttpResponse> {
    // No body at all is an empty object.
    let bytes = if ask.body().is_empty() { b"{}" } else { ask.body() };
    serde_json::from_slice(bytes).map_err(|error| refuse(400, &format!("the body: {error}")))
}

fn invalid(error: SimError) -> HttpResponse {
    refuse(400, &error.to_string())
}
