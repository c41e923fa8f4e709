//! `downloadRevocationRequests`

use serde_json::{Value, json};

use crate::sim::Inner;
use crate::sim::reply::{self, Answered, gateway_error};
use crate::sim::request::{Ask, member};
use crate::sim::scep::{optional, permit, wrapped};
use crate::sim::state::State;

const MOST: i64 = 500;
const LONGEST_ISSUER: usize = 256;

pub(super) fn download(inner: &Inner, state: &mut State, ask: &Ask<'_>) -> Answered {
    permit(inner, state, ask)?;
    let parameters = wrapped(ask, "downloadParameters")?;
    let wrong = |text: &str| gateway_error(400, "BadRequest", text);
    let most = member(&parameters, "maxRequests").and_then(Value::as_i64);
    let most = most.filter(|most| (1..=MOST).contains(most)).and_then(|most| usize::try_from(most).ok());
    let most = most.ok_or_else(|| wrong("The member `maxRequests` is no whole number from 1 to 500."))?;
    // An empty filter is none.
    let issuer = optional(&parameters, "issuerName")?.filter(|issuer| !issuer.is_empty());
    if issuer.is_some_and(|issuer| issuer.encode_utf16().count() > LONGEST_ISSUER) {
        return Err(wrong("The member `issuerName` is longer than 256 characters."));
    }
    let settings = &inner.settings;
    let given = state.revocation.give_out(most, issuer, inner.runtime.now(), settings.cool_down, settings.reoffer);
    let value: Vec<Value> = given
        .into_iter()
        .map(|request| {
            json!({
                "requestContext": request.request_context, "serialNumber": request.serial_number, "issuerName": request.issuer_name,
                "caConfiguration": request.ca_configuration,
            })
        })
        .collect();
    let context = format!("{}/$metadata#Collection(Microsoft.Management.Services.Api.CARevocationRequest)", state.base);
    Ok(reply::odata(200, &json!({ "@odata.context": context, "value": value })))
}
