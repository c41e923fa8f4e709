//! `userPfxCertificates`: lists, and one of them (facts C.1).

use serde_json::{Map, Value, json};

use super::filter::{self, Comparison};
use super::{PfxRecord, create, permit};
use crate::adapters::http::{HttpMethod, HttpResponse};
use crate::sim::Inner;
use crate::sim::encoding::{base64_url, from_base64_url, percent_encoded};
use crate::sim::entra::Role;
use crate::sim::reply::{self, Answered, gateway_error};
use crate::sim::request::Ask;
use crate::sim::state::State;

pub(in crate::sim) fn collection(inner: &Inner, state: &mut State, ask: &Ask<'_>) -> Answered {
    permit(inner, state, ask, Role::DeviceManagementConfigurationReadWriteAll)?;
    match ask.method() {
        HttpMethod::Get => list(inner, state, ask),
        HttpMethod::Post => create::create(inner, state, ask),
        _ => Err(bad("The method is not allowed for the collection.")),
    }
}

pub(in crate::sim) fn one(inner: &Inner, state: &mut State, ask: &Ask<'_>, key: &str) -> Answered {
    permit(inner, state, ask, Role::DeviceManagementConfigurationReadWriteAll)?;
    let key = key.to_ascii_lowercase();
    let absent = || gateway_error(404, "ResourceNotFound", "There is no userPFXCertificate with that key.");
    match ask.method() {
        HttpMethod::Get => state.pfx.get(&key).map(|record| shown(&state.base, record, 200)).ok_or_else(absent),
        HttpMethod::Delete => {
            if state.pfx.remove(&key) {
                Ok(reply::no_content())
            } else {
                Err(absent())
            }
        }
        HttpMethod::Patch => {
            let mut record = state.pfx.get(&key).map(PfxRecord::copy).ok_or_else(absent)?;
            record.update(&object(ask)?, inner.runtime.now()).map_err(|text| bad(&text))?;
            if state.pfx.is_full_for(&record) {
                return Err(reply::full("certificates"));
            }
            let answer = shown(&state.base, &record, 200);
            state.pfx.put(record);
            Ok(answer)
        }
        HttpMethod::Post => Err(bad("The method is not allowed for one userPFXCertificate.")),
    }
}

fn list(inner: &Inner, state: &State, ask: &Ask<'_>) -> Answered {
    let filter = ask.query("$filter").filter(|filter| !filter.trim().is_empty());
    let comparisons = filter.map(filter::parse).transpose().map_err(|text| bad(&format!("Invalid $filter: {text}.")))?.unwrap_or_default();
    let after = match ask.query("$skiptoken") {
        None => None,
        Some(token) => {
            Some(from_base64_url(token).and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| bad("Invalid $skiptoken."))?)
        }
    };
    let top =
        ask.query("$top").map(|top| top.parse::<usize>().ok().filter(|top| *top > 0).ok_or_else(|| bad("Invalid $top."))).transpose()?;
    let page = top.map_or(inner.settings.page_size, |top| top.min(inner.settings.page_size));
    let mut matching = Vec::new();
    for record in state.pfx.after(after.as_deref()) {
        if matching.len() > page {
            break;
        }
        if holds(record, &comparisons)? {
            matching.push(record);
        }
    }
    let more = matching.len() > page;
    matching.truncate(page);
    let value: Vec<Value> = matching.iter().map(|record| record.to_json()).collect();
    let mut body = json!({ "@odata.context": context(&state.base), "value": value });
    if let (true, Some(last), Some(object)) = (more && top.is_none(), matching.last(), body.as_object_mut()) {
        let filter = filter.map(|filter| format!("$filter={}&", percent_encoded(filter))).unwrap_or_default();
        let token = base64_url(last.id.as_bytes());
        let link = format!("{}/beta/deviceManagement/userPfxCertificates?{filter}$skiptoken={token}", state.base);
        object.insert("@odata.nextLink".to_owned(), Value::String(link));
    }
    Ok(reply::odata(200, &body))
}

fn holds(record: &PfxRecord, comparisons: &[Comparison]) -> Result<bool, HttpResponse> {
    for comparison in comparisons {
        let value = record.property(&comparison.name);
        let value = value.ok_or_else(|| bad(&format!("Invalid $filter: no property `{}` can be compared.", comparison.name)))?;
        if !comparison.holds(value) {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn shown(base: &str, record: &PfxRecord, status: u16) -> HttpResponse {
    let mut body = record.to_json();
    if let Some(object) = body.as_object_mut() {
        object.insert("@odata.context".to_owned(), Value::String(format!("{}/$entity", context(base))));
        object.insert("@odata.type".to_owned(), Value::String("#microsoft.graph.userPFXCertificate".to_owned()));
    }
    reply::odata(status, &body)
}

fn context(base: &str) -> String {
    format!("{base}/beta/$metadata#deviceManagement/userPfxCertificates")
}

pub(super) fn object(ask: &Ask<'_>) -> Result<Map<String, Value>, HttpResponse> {
    if ask.media_type() != "application/json" {
        return Err(gateway_error(415, "UnsupportedMediaType", "The content type is not application/json."));
    }
    serde_json::from_slice(ask.body()).map_err(|_| bad("The body is no JSON object in UTF-8."))
}

pub(super) fn bad(text: &str) -> HttpResponse {
    gateway_error(400, "BadRequest", text)
}
