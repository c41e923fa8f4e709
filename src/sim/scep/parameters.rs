//! The call and its body, before anything is decided: token, version, type, members.

use serde_json::{Map, Value};

use crate::adapters::http::{HttpMethod, HttpResponse};
use crate::adapters::intune::Cloud;
use crate::sim::Inner;
use crate::sim::entra::{Audience, Role, Unauthorised, authorise};
use crate::sim::reply::gateway_error;
use crate::sim::request::{Ask, member};
use crate::sim::state::State;

/// What every call to Intune's services must be (facts A.5). `versions` are the values of `api-version` that are taken.
pub(in crate::sim) fn permit(inner: &Inner, state: &State, ask: &Ask<'_>) -> Result<(), HttpResponse> {
    if ask.method() != HttpMethod::Post {
        return Err(gateway_error(405, "MethodNotAllowed", "The action is called by POST."));
    }
    // 401 for both: that is what Microsoft's tests call ServiceRoleMismatch (facts A.7).
    authorise(inner, state, ask, Audience::Intune, Role::ScepChallengeProvider).map_err(|why| match why {
        Unauthorised::Token(text) => gateway_error(401, "Unauthorized", text),
        Unauthorised::Role(role) => gateway_error(401, "Unauthorized", &format!("ServiceRoleMismatch: the token has no role {role}.")),
    })?;
    // Products in the field send the revocation service's version to the SCEP service as well, and are served.
    let cloud = Cloud::global();
    match ask.header("api-version") {
        Some(version) if version == cloud.scep_version || version == cloud.revocation_version => {}
        Some(_) => return Err(gateway_error(400, "BadRequest", "The value of the header api-version is not supported.")),
        None => return Err(gateway_error(400, "BadRequest", "The header api-version is missing.")),
    }
    if ask.media_type() != "application/json" {
        return Err(gateway_error(415, "UnsupportedMediaType", "The content type is not application/json."));
    }
    Ok(())
}

/// The object under the body's one name.
pub(in crate::sim) fn wrapped(ask: &Ask<'_>, wrapper: &str) -> Result<Map<String, Value>, HttpResponse> {
    let wrong = |text: &str| gateway_error(400, "BadRequest", text);
    let body: Map<String, Value> = serde_json::from_slice(ask.body()).map_err(|_| wrong("The body is no JSON object in UTF-8."))?;
    match member(&body, wrapper) {
        Some(Value::Object(inner)) => Ok(inner.clone()),
        _ => Err(wrong(&format!("The body has no object `{wrapper}`."))),
    }
}

/// A member that must be there, as text that is not blank.
pub(super) fn required<'v>(object: &'v Map<String, Value>, name: &str) -> Result<&'v str, HttpResponse> {
    match member(object, name) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text),
        Some(Value::String(_)) => Err(gateway_error(400, "BadRequest", &format!("The member `{name}` is blank."))),
        Some(Value::Null) | None => Err(gateway_error(400, "BadRequest", &format!("The member `{name}` is missing."))),
        Some(_) => Err(gateway_error(400, "BadRequest", &format!("The member `{name}` is no string."))),
    }
}

/// A member that may be absent or null.
pub(in crate::sim) fn optional<'v>(object: &'v Map<String, Value>, name: &str) -> Result<Option<&'v str>, HttpResponse> {
    match member(object, name) {
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Null) | None => Ok(None),
        Some(_) => Err(gateway_error(400, "BadRequest", &format!("The member `{name}` is no string."))),
    }
}

/// As `required`, and no longer than so many UTF-16 units, as .NET counts.
pub(super) fn bounded<'v>(object: &'v Map<String, Value>, name: &str, most: usize) -> Result<&'v str, HttpResponse> {
    let text = required(object, name)?;
    if text.encode_utf16().count() > most {
        return Err(gateway_error(400, "BadRequest", &format!("The member `{name}` is longer than {most} characters.")));
    }
    Ok(text)
}
