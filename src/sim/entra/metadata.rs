//! What clients such as MSAL ask before they ask for a token.

use serde_json::json;

use super::jwt::jwk;
use crate::sim::Inner;
use crate::sim::reply::{self, Answered};
use crate::sim::request::host_of;
use crate::sim::state::State;

pub(in crate::sim) fn open_id_configuration(inner: &Inner, state: &State, tenant: &str) -> Answered {
    let common = matches!(tenant, "common" | "organizations");
    if !common && !inner.identity.is_tenant(tenant) {
        let text = format!("AADSTS90002: Tenant '{tenant}' not found.");
        return Err(reply::json(400, &json!({ "error": "invalid_tenant", "error_description": text, "error_codes": [90_002] })));
    }
    let (base, id) = (&state.base, &inner.identity.tenant);
    let at = format!("{base}/{}", if common { tenant } else { id.as_str() });
    Ok(reply::json(
        200,
        &json!({
            "issuer": format!("{base}/{id}/v2.0"),
            "token_endpoint": format!("{at}/oauth2/v2.0/token"),
            "authorization_endpoint": format!("{at}/oauth2/v2.0/authorize"),
            "jwks_uri": format!("{at}/discovery/v2.0/keys"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "token_endpoint_auth_signing_alg_values_supported": ["RS256", "PS256"],
            "response_types_supported": ["token"],
            "grant_types_supported": ["client_credentials"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "scopes_supported": ["https://graph.microsoft.com/.default", "https://api.manage.microsoft.com//.default"],
            "tenant_region_scope": null,
        }),
    ))
}

pub(in crate::sim) fn keys(inner: &Inner) -> Answered {
    let identity = &inner.identity;
    let key = jwk(&identity.token_key.public_key(), &identity.token_key_id).ok_or_else(|| reply::internal("its key cannot be shown"))?;
    Ok(reply::json(200, &json!({ "keys": [key] })))
}

pub(in crate::sim) fn instance_discovery(inner: &Inner, state: &State) -> Answered {
    let base = &state.base;
    let host = host_of(base.split_once("://").map_or("", |(_, rest)| rest));
    Ok(reply::json(
        200,
        &json!({
            "tenant_discovery_endpoint": format!("{base}/{}/v2.0/.well-known/openid-configuration", inner.identity.tenant),
            "api-version": "1.1",
            "metadata": [{ "preferred_network": host, "preferred_cache": host, "aliases": [host] }],
        }),
    ))
}
