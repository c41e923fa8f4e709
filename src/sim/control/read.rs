//! What can be looked at.

use serde_json::{Value, json};

use super::{fine, own_queue, refuse};
use crate::ids::RequestId;
use crate::sim::arrivals::Arrival;
use crate::sim::reply::Answered;
use crate::sim::state::State;
use crate::sim::tenant::findings;
use crate::sim::{Inner, Role, location};
use crate::terms::Flow;

pub(super) fn read(inner: &Inner, state: &State, path: &[&str]) -> Answered {
    match path {
        ["ledger"] => fine(&json!({
            "transactions": state.ledger.transactions(),
            "lost": state.ledger.lost(),
            "doubled": state.ledger.doubled(),
            "revocations": state.revocation.entries(),
            "openRevocations": state.revocation.open(),
            "findings": findings(state),
        })),
        ["faults"] => fine(&json!({ "seed": state.faults.seed, "count": state.faults.count(), "played": state.faults.played() })),
        ["arrivals"] => fine(&Value::Array(state.arrivals.all().iter().map(Arrival::to_json).collect())),
        ["certificates"] => fine(&Value::Array(state.pfx.copies().iter().map(|record| record.to_json()).collect())),
        ["open-queue"] => {
            let queue = own_queue(inner)?;
            let ids = |list: Vec<(Flow, RequestId)>| -> Vec<Value> {
                list.iter().map(|(flow, request)| json!({ "flow": flow, "requestId": request.as_str() })).collect()
            };
            fine(&json!({
                "waiting": queue.waiting(),
                "unanswered": ids(queue.unanswered()),
                "accepted": ids(queue.accepted().into_keys().collect()),
                "changed": ids(queue.changed_results()),
                "uploads": queue.uploads().len(),
                "healthMessages": queue.health_messages().len(),
            }))
        }
        ["tenant"] => {
            let unit = state.location.unit();
            fine(&json!({
                "tenant": inner.identity.tenant, "domain": inner.identity.domain, "clientId": inner.identity.client,
                "roles": state.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>(),
                "allRoles": Role::ALL.map(Role::as_str),
                "licensed": state.licensed,
                "scepBase": location::scep_base(&state.base, &unit),
                "revocationBase": location::revocation_base(&state.base, &unit),
            }))
        }
        _ => Err(refuse(404, "nothing is read here; see docs/simulator.md")),
    }
}
