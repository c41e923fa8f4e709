//! `uploadRevocationResults`

use serde_json::{Map, Value, json};

use super::book::RevocationResultEntry;
use super::code::Code;
use crate::adapters::http::HttpResponse;
use crate::sim::Inner;
use crate::sim::reply::{self, Answered, gateway_error};
use crate::sim::request::{Ask, member};
use crate::sim::scep::{optional, permit};
use crate::sim::state::State;

const MOST: usize = 10_000;

pub(super) fn upload(inner: &Inner, state: &mut State, ask: &Ask<'_>) -> Answered {
    permit(inner, state, ask)?;
    let body: Map<String, Value> = serde_json::from_slice(ask.body()).map_err(|_| wrong("The body is no JSON object in UTF-8."))?;
    let results = member(&body, "results").and_then(Value::as_array).ok_or_else(|| wrong("The body has no array `results`."))?;
    if results.is_empty() || results.len() > MOST {
        return Err(wrong("The array `results` is empty, or too long."));
    }
    if state.revocation.is_full_of_findings() {
        return Err(reply::full("findings"));
    }
    // All of them are read before any is taken.
    let results = results.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    for (context, result, code) in results {
        state.revocation.take(&context, result, code);
    }
    let context = format!("{}/$metadata#Edm.Boolean", state.base);
    Ok(reply::odata(200, &json!({ "@odata.context": context, "value": true })))
}

fn read(value: &Value) -> Result<(String, RevocationResultEntry, Code), HttpResponse> {
    let result = value.as_object().ok_or_else(|| wrong("A result is no object."))?;
    let context = member(result, "requestContext").and_then(Value::as_str).filter(|context| !context.is_empty());
    let context = context.ok_or_else(|| wrong("A result has no string `requestContext`."))?;
    let succeeded = member(result, "succeeded").and_then(Value::as_bool);
    let succeeded = succeeded.ok_or_else(|| wrong("A result has no boolean `succeeded`."))?;
    let code = match member(result, "errorCode") {
        None | Some(Value::Null) => Code::parse(Code::NONE),
        Some(Value::String(text)) => Code::parse(text),
        Some(Value::Number(number)) => Code::parse(&number.to_string()),
        Some(_) => None,
    };
    let code = code.ok_or_else(|| wrong("A result has an `errorCode` that is neither a name nor a number of a code."))?;
    let message = optional(result, "errorMessage")?.map(str::to_owned);
    match (succeeded, code.is_none(), message.as_deref().is_none_or(|message| message.trim().is_empty())) {
        (true, true, true) | (false, false, _) => {}
        (true, false, _) => return Err(wrong("A result succeeded and has an `errorCode`.")),
        (true, true, false) => return Err(wrong("A result succeeded and has an `errorMessage`.")),
        (false, true, _) => return Err(wrong("A result failed and has no `errorCode`.")),
    }
    let entry = RevocationResultEntry { succeeded, error_code: code.name.to_owned(), error_message: message };
    Ok((context.to_owned(), entry, code))
}

fn wrong(text: &str) -> HttpResponse {
    gateway_error(400, "BadRequest", text)
}
