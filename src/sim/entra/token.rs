//! The token endpoint, and whether a token opens a service.

use core::time::Duration;
use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Role;
use super::jwt::{self, Jwt};
use crate::adapters::http::{HttpMethod, HttpResponse};
use crate::crypto::constant_time_eq;
use crate::sim::encoding::{form, from_base64, percent_decoded};
use crate::sim::endpoint::TokenVersion;
use crate::sim::identity::guid;
use crate::sim::reply::{self, Answered};
use crate::sim::request::Ask;
use crate::sim::state::State;
use crate::sim::{Inner, Settings};
use crate::time::Timestamp;

/// Whose tokens they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Audience {
    Intune,
    Graph,
}

const INTUNE: &str = "https://api.manage.microsoft.com/";
const GRAPH: &str = "https://graph.microsoft.com";
/// A claim of ours: tokens of an earlier generation have been ended by the control endpoint.
const GENERATION: &str = "xms_sim_generation";

/// How the authority says no.
pub(super) struct Refusal {
    status: u16,
    error: &'static str,
    code: u32,
    text: String,
}

impl Refusal {
    pub(super) fn new(status: u16, error: &'static str, code: u32, text: impl Into<String>) -> Self {
        Self { status, error, code, text: text.into() }
    }

    pub(super) fn internal() -> Self {
        Self::new(500, "server_error", 90_100, "the simulated authority failed")
    }

    fn answer(&self, inner: &Inner, now: Timestamp) -> HttpResponse {
        let ids = (guid(&inner.provider).unwrap_or_default(), guid(&inner.provider).unwrap_or_default());
        let text = format!("AADSTS{}: {} Trace ID: {} Correlation ID: {} Timestamp: {now}", self.code, self.text, ids.0, ids.1);
        let body = json!({
            "error": self.error, "error_description": text, "error_codes": [self.code], "timestamp": now.to_string(),
            "trace_id": ids.0, "correlation_id": ids.1,
        });
        reply::json(self.status, &body).with_header("cache-control", "no-store, no-cache").with_header("pragma", "no-cache")
    }
}

/// Gives a token, or says no as Entra does. `expired` makes one whose time is over, which its answer does not tell.
pub(in crate::sim) fn token(
    inner: &Inner,
    state: &mut State,
    ask: &Ask<'_>,
    tenant: &str,
    version: TokenVersion,
    expired: bool,
) -> Answered {
    let now = inner.runtime.now();
    let asked = Asked::read(ask).and_then(|asked| {
        let audience = permit(inner, state, ask, &asked, tenant, version, now)?;
        Ok((asked, audience))
    });
    let (asked, audience) = asked.map_err(|refusal| refusal.answer(inner, now))?;
    let life = inner.settings.token_life;
    let begins = if expired { now.saturating_sub(life).saturating_sub(Duration::from_secs(600)) } else { now };
    let claims = claims(inner, state, &asked, &audience, begins);
    let token = jwt::sign(inner.identity.token_key.as_ref(), &inner.identity.token_key_id, &claims);
    let token = token.map_err(|_| reply::internal("the token's key does not sign"))?;
    // One second less, as Entra says it.
    let seconds = life.as_secs().saturating_sub(1);
    let body = match version {
        TokenVersion::Two => json!({
            "token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token,
        }),
        TokenVersion::One => json!({
            "token_type": "Bearer", "expires_in": seconds.to_string(), "ext_expires_in": seconds.to_string(),
            "expires_on": now.saturating_add(life).as_secs().to_string(), "not_before": now.as_secs().to_string(),
            "resource": audience.1, "access_token": token,
        }),
    };
    Ok(reply::json(200, &body).with_header("cache-control", "no-store, no-cache").with_header("pragma", "no-cache"))
}

/// What the client says of itself, and what it wants.
#[derive(Default)]
struct Asked {
    grant_type: Option<String>,
    client: Option<String>,
    secret: Option<String>,
    assertion_type: Option<String>,
    assertion: Option<String>,
    scope: Option<String>,
    resource: Option<String>,
}

impl Asked {
    fn read(ask: &Ask<'_>) -> Result<Self, Refusal> {
        let invalid = |code, text: &str| Refusal::new(400, "invalid_request", code, text);
        if ask.method() != HttpMethod::Post {
            return Err(invalid(900_561, "The endpoint only accepts POST requests."));
        }
        let fields = core::str::from_utf8(ask.body()).ok().and_then(form);
        let fields = fields.filter(|_| ask.media_type() == "application/x-www-form-urlencoded");
        let fields = fields.ok_or_else(|| invalid(900_144, "The request body must be application/x-www-form-urlencoded."))?;
        let mut asked = Self::default();
        for (name, value) in fields {
            let place = match name.as_str() {
                "grant_type" => &mut asked.grant_type,
                "client_id" => &mut asked.client,
                "client_secret" => &mut asked.secret,
                "client_assertion_type" => &mut asked.assertion_type,
                "client_assertion" => &mut asked.assertion,
                "scope" => &mut asked.scope,
                "resource" => &mut asked.resource,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(invalid(90_014, "A parameter is in the request body twice."));
            }
        }
        if let Some((client, secret)) = basic(ask) {
            asked.client.get_or_insert(client);
            asked.secret.get_or_insert(secret);
        }
        Ok(asked)
    }
}

/// Client and secret from `Authorization: Basic` (RFC 6749 section 2.3.1).
fn basic(ask: &Ask<'_>) -> Option<(String, String)> {
    let (scheme, value) = ask.header("authorization")?.split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| from_base64(value.trim()))??;
    let text = String::from_utf8(decoded).ok()?;
    let (client, secret) = text.split_once(':')?;
    Some((percent_decoded(client, true)?, percent_decoded(secret, true)?))
}

/// Whether the client is who it says, and whose token it may have, with the audience as text.
fn permit(
    inner: &Inner,
    state: &mut State,
    ask: &Ask<'_>,
    asked: &Asked,
    tenant: &str,
    version: TokenVersion,
    now: Timestamp,
) -> Result<(Audience, String), Refusal> {
    let missing = |name: &str| {
        Refusal::new(400, "invalid_request", 900_144, format!("The request body must contain the following parameter: '{name}'."))
    };
    let identity = &inner.identity;
    if !identity.is_tenant(tenant) {
        let text = format!("Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID.");
        return Err(Refusal::new(400, "invalid_request", 90_002, text));
    }
    match asked.grant_type.as_deref() {
        Some("client_credentials") => {}
        None => return Err(missing("grant_type")),
        Some(_) => {
            return Err(Refusal::new(400, "unsupported_grant_type", 70_003, "The app requested an unsupported grant type."));
        }
    }
    let client = asked.client.as_deref().ok_or_else(|| missing("client_id"))?;
    if client != identity.client {
        let text = format!("Application with identifier '{client}' was not found in the directory '{}'.", identity.tenant);
        return Err(Refusal::new(400, "unauthorized_client", 700_016, text));
    }
    match (&asked.secret, &asked.assertion) {
        (Some(secret), None) => check_secret(inner, state, secret, now)?,
        (None, Some(assertion)) => {
            if asked.assertion_type.as_deref() != Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer") {
                return Err(Refusal::new(400, "invalid_request", 900_144, "The parameter 'client_assertion_type' is missing or unknown."));
            }
            let audiences = assertion_audiences(inner, state, ask);
            state.credentials.check(assertion, identity, &audiences, now, &inner.provider)?;
        }
        (None, None) => {
            let text = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
            return Err(Refusal::new(401, "invalid_client", 7_000_218, text));
        }
        (Some(_), Some(_)) => return Err(Refusal::new(400, "invalid_request", 90_023, "Two credentials are in the request.")),
    }
    match version {
        TokenVersion::Two => audience_of_scope(asked.scope.as_deref().ok_or_else(|| missing("scope"))?, &state.base, &inner.settings),
        TokenVersion::One => audience(asked.resource.as_deref().ok_or_else(|| missing("resource"))?, &state.base, &inner.settings),
    }
}

fn check_secret(inner: &Inner, state: &State, secret: &str, now: Timestamp) -> Result<(), Refusal> {
    if !constant_time_eq(secret.as_bytes(), inner.identity.secret.secret_bytes()) {
        let text = "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID.";
        return Err(Refusal::new(401, "invalid_client", 7_000_215, text));
    }
    if state.credentials.secret_expires.is_some_and(|end| end <= now) {
        return Err(Refusal::new(401, "invalid_client", 7_000_222, "The provided client secret keys are expired."));
    }
    Ok(())
}

/// What may stand for this authority in an assertion.
fn assertion_audiences(inner: &Inner, state: &State, ask: &Ask<'_>) -> BTreeSet<String> {
    let base = &state.base;
    let mut audiences = BTreeSet::from([ask.request.url.split('?').next().unwrap_or_default().to_owned()]);
    for tenant in [&inner.identity.tenant, &inner.identity.domain] {
        for path in ["/oauth2/v2.0/token", "/oauth2/token", "/v2.0", "/", ""] {
            audiences.insert(format!("{base}/{tenant}{path}"));
        }
    }
    audiences
}

/// Version 2 takes the audience from the scope, without `/.default` (facts A.2).
fn audience_of_scope(scope: &str, base: &str, settings: &Settings) -> Result<(Audience, String), Refusal> {
    let Some(resource) = scope.strip_suffix("/.default") else {
        let text = format!(
            "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier."
        );
        return Err(Refusal::new(400, "invalid_scope", 1_002_012, text));
    };
    audience(resource, base, settings)
}

fn audience(resource: &str, base: &str, settings: &Settings) -> Result<(Audience, String), Refusal> {
    // Intune's audience is registered with a slash at its end, and nothing else is the same.
    let without = settings.intune_audience_without_slash && Some(resource) == INTUNE.strip_suffix('/');
    if resource == INTUNE || without {
        return Ok((Audience::Intune, INTUNE.to_owned()));
    }
    if resource == GRAPH || resource.strip_suffix('/') == Some(GRAPH) {
        return Ok((Audience::Graph, resource.to_owned()));
    }
    // Microsoft's reference library has one setting for Graph's address and its audience.
    if resource.strip_suffix('/').unwrap_or(resource) == base {
        return Ok((Audience::Graph, GRAPH.to_owned()));
    }
    let text = format!("The resource principal named {resource} was not found in the tenant.");
    Err(Refusal::new(400, "invalid_resource", 500_011, text))
}

fn claims(inner: &Inner, state: &State, asked: &Asked, audience: &(Audience, String), begins: Timestamp) -> Value {
    let identity = &inner.identity;
    let roles: Vec<&str> = state.roles.iter().filter(|role| role.audience() == audience.0).map(|role| role.as_str()).collect();
    let mut claims = json!({
        "aud": audience.1,
        "iss": format!("https://sts.windows.net/{}/", identity.tenant),
        "iat": begins.as_secs(), "nbf": begins.as_secs(), "exp": begins.saturating_add(inner.settings.token_life).as_secs(),
        "appid": identity.client, "appidacr": if asked.assertion.is_some() { "2" } else { "1" },
        "idp": format!("https://sts.windows.net/{}/", identity.tenant),
        "oid": identity.client_object, "sub": identity.client_object, "tid": identity.tenant,
        "uti": guid(&inner.provider).unwrap_or_default(), "ver": "1.0",
        GENERATION: state.token_generation,
    });
    // A token without roles has no such claim at all.
    if let (false, Some(object)) = (roles.is_empty(), claims.as_object_mut()) {
        object.insert("roles".to_owned(), json!(roles));
    }
    claims
}

/// Why a token does not open a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sim) enum Unauthorised {
    /// 401: none, a forged one, another audience's, or its time is over.
    Token(&'static str),
    /// The token is good and lacks this role. It lacks it for all its life.
    Role(Role),
}

/// Whether the request's token opens a service of that audience.
pub(in crate::sim) fn authorise(inner: &Inner, state: &State, ask: &Ask<'_>, audience: Audience, role: Role) -> Result<(), Unauthorised> {
    let token = ask.bearer().ok_or(Unauthorised::Token("Access token is empty."))?;
    let jwt = Jwt::read(token).ok_or(Unauthorised::Token("CompactToken parsing failed with error code: 80049217"))?;
    let identity = &inner.identity;
    jwt::verify(&jwt, identity.token_key.as_ref(), &identity.token_key_id, &inner.provider)
        .map_err(|_| Unauthorised::Token("Access token validation failure. The signature is invalid."))?;
    let expected = jwt.claim("aud").is_some_and(|given| match audience {
        Audience::Intune => given == INTUNE,
        Audience::Graph => given.trim_end_matches('/') == GRAPH,
    });
    if !expected {
        return Err(Unauthorised::Token("Access token validation failure. Invalid audience."));
    }
    let now = inner.runtime.now().as_secs();
    let over = jwt.date("exp").is_none_or(|end| end <= now) || jwt.date("nbf").is_none_or(|begin| begin > now);
    if over || jwt.date(GENERATION) != Some(state.token_generation) {
        return Err(Unauthorised::Token("Lifetime validation failed, the token is expired."));
    }
    let roles = jwt.claims.get("roles").and_then(Value::as_array);
    let has = roles.is_some_and(|roles| roles.iter().any(|given| given.as_str() == Some(role.as_str())));
    if has { Ok(()) } else { Err(Unauthorised::Role(role)) }
}
