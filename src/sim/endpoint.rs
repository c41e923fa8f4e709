//! The endpoints, and which one a request is for.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::request::Ask;
use crate::adapters::http::HttpMethod;
use crate::adapters::intune::{RevocationAction, ScepAction};

/// An endpoint of the simulator, as faults and counts name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Endpoint {
    /// The token endpoint, of both versions.
    Token,
    /// OpenID metadata, keys, instance discovery.
    Metadata,
    /// Graph's list of the tenant's service endpoints.
    Discovery,
    /// `ScepActions/validateRequest`
    ValidateRequest,
    /// `ScepActions/successNotification`
    SuccessNotification,
    /// `ScepActions/failureNotification`
    FailureNotification,
    /// `CertificateAuthorityRequests/downloadRevocationRequests`
    DownloadRevocationRequests,
    /// `CertificateAuthorityRequests/uploadRevocationResults`
    UploadRevocationResults,
    /// A new `userPfxCertificate`.
    PfxCreate,
    /// A page of the `userPfxCertificates`.
    PfxList,
    /// One `userPfxCertificate`.
    PfxGet,
    /// A changed `userPfxCertificate`.
    PfxUpdate,
    /// A deleted `userPfxCertificate`.
    PfxDelete,
    /// Graph's users.
    Users,
    /// The open queue.
    OpenQueue,
    /// The control endpoint, which has no faults.
    Control,
    /// No endpoint.
    Unknown,
}

impl Endpoint {
    /// Whether it is one of the services whose location discovery tells.
    #[must_use]
    pub const fn is_discovered(self) -> bool {
        matches!(
            self,
            Self::ValidateRequest
                | Self::SuccessNotification
                | Self::FailureNotification
                | Self::DownloadRevocationRequests
                | Self::UploadRevocationResults
        )
    }

    /// Whether it takes bearer tokens of the authority.
    #[must_use]
    pub const fn takes_tokens(self) -> bool {
        !matches!(self, Self::Token | Self::Metadata | Self::OpenQueue | Self::Control | Self::Unknown)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The derived name is the variant's; no variant has fields.
        fmt::Debug::fmt(self, f)
    }
}

/// Version 1 of the token endpoint names a resource, version 2 a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenVersion {
    One,
    Two,
}

/// Where a request goes, with what the path says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Token {
        tenant: String,
        version: TokenVersion,
    },
    OpenIdConfiguration {
        tenant: String,
    },
    Keys,
    InstanceDiscovery,
    Discovery {
        app_id: String,
    },
    Scep {
        unit: String,
        action: ScepAction,
    },
    Revocation {
        unit: String,
        action: RevocationAction,
    },
    /// All of them.
    PfxCollection,
    Pfx {
        key: String,
    },
    Users,
    User {
        key: String,
    },
    OpenQueue,
    Control {
        path: Vec<String>,
    },
    Unknown,
}

impl Route {
    pub(super) fn endpoint(&self, method: HttpMethod) -> Endpoint {
        match (self, method) {
            (Self::Token { .. }, _) => Endpoint::Token,
            (Self::OpenIdConfiguration { .. } | Self::Keys | Self::InstanceDiscovery, _) => Endpoint::Metadata,
            (Self::Discovery { .. }, _) => Endpoint::Discovery,
            (Self::Scep { action: ScepAction::ValidateRequest, .. }, _) => Endpoint::ValidateRequest,
            (Self::Scep { action: ScepAction::SuccessNotification, .. }, _) => Endpoint::SuccessNotification,
            (Self::Scep { .. }, _) => Endpoint::FailureNotification,
            (Self::Revocation { action: RevocationAction::DownloadRevocationRequests, .. }, _) => Endpoint::DownloadRevocationRequests,
            (Self::Revocation { .. }, _) => Endpoint::UploadRevocationResults,
            (Self::PfxCollection, HttpMethod::Post) => Endpoint::PfxCreate,
            (Self::PfxCollection, _) => Endpoint::PfxList,
            (Self::Pfx { .. }, HttpMethod::Patch) => Endpoint::PfxUpdate,
            (Self::Pfx { .. }, HttpMethod::Delete) => Endpoint::PfxDelete,
            (Self::Pfx { .. }, _) => Endpoint::PfxGet,
            (Self::Users | Self::User { .. }, _) => Endpoint::Users,
            (Self::OpenQueue, _) => Endpoint::OpenQueue,
            (Self::Control { .. }, _) => Endpoint::Control,
            (Self::Unknown, _) => Endpoint::Unknown,
        }
    }
}

/// The path of the SCEP service below its scale unit (the shape of Microsoft's test data, facts A.1).
pub(super) const SCEP_PATH: &str = "RACerts/ScepRequestValidationFEService/Gateway/StatelessScepRequestValidationService";
/// The path of the revocation service.
pub(super) const REVOCATION_PATH: &str = "RACerts/StatelessPkiConnectorService/Gateway/StatelessPkiConnectorService";

pub(super) fn route(ask: &Ask<'_>) -> Route {
    use RevocationAction::{DownloadRevocationRequests, UploadRevocationResults};
    let segments = ask.segments();
    match segments.as_slice() {
        [tenant, "oauth2", "v2.0", "token"] => Route::Token { tenant: (*tenant).to_owned(), version: TokenVersion::Two },
        [tenant, "oauth2", "token"] => Route::Token { tenant: (*tenant).to_owned(), version: TokenVersion::One },
        [tenant, "v2.0", ".well-known", "openid-configuration"] | [tenant, ".well-known", "openid-configuration"] => {
            Route::OpenIdConfiguration { tenant: (*tenant).to_owned() }
        }
        [_, "discovery", "v2.0", "keys"] | [_, "discovery", "keys"] => Route::Keys,
        ["common", "discovery", "instance"] => Route::InstanceDiscovery,
        ["v1.0" | "beta", "servicePrincipals", app, "endpoints"] if app.starts_with("appId=") => {
            Route::Discovery { app_id: app.trim_start_matches("appId=").to_owned() }
        }
        ["v1.0" | "beta", principal, "endpoints"] => match parenthesised(principal, "servicePrincipals(appId=") {
            Some(app_id) => Route::Discovery { app_id },
            None => Route::Unknown,
        },
        [unit, "RACerts", "ScepRequestValidationFEService", "Gateway", "StatelessScepRequestValidationService", collection, action] => {
            let path = format!("{collection}/{action}");
            let actions = [ScepAction::ValidateRequest, ScepAction::SuccessNotification, ScepAction::FailureNotification];
            match actions.into_iter().find(|action| action.path() == path) {
                Some(action) => Route::Scep { unit: (*unit).to_owned(), action },
                None => Route::Unknown,
            }
        }
        [unit, "RACerts", "StatelessPkiConnectorService", "Gateway", "StatelessPkiConnectorService", collection, action] => {
            let path = format!("{collection}/{action}");
            match [DownloadRevocationRequests, UploadRevocationResults].into_iter().find(|action| action.to_string() == path) {
                Some(action) => Route::Revocation { unit: (*unit).to_owned(), action },
                None => Route::Unknown,
            }
        }
        ["beta", "deviceManagement", "userPfxCertificates"] => Route::PfxCollection,
        ["beta", "deviceManagement", "userPfxCertificates", key] => Route::Pfx { key: (*key).to_owned() },
        ["beta", "deviceManagement", entity] => match parenthesised(entity, "userPfxCertificates(") {
            Some(key) => Route::Pfx { key },
            None => Route::Unknown,
        },
        ["v1.0" | "beta", "users"] => Route::Users,
        ["v1.0" | "beta", "users", key] => Route::User { key: (*key).to_owned() },
        ["open-queue", "v1", ..] => Route::OpenQueue,
        ["control", "v1", rest @ ..] => Route::Control { path: rest.iter().map(|segment| (*segment).to_owned()).collect() },
        _ => Route::Unknown,
    }
}

/// The key in `name(key)` or `name('key')`.
fn parenthesised(segment: &str, start: &str) -> Option<String> {
    let key = segment.strip_prefix(start)?.strip_suffix(')')?;
    let quoted = key.strip_prefix('\'').and_then(|key| key.strip_suffix('\''));
    Some(quoted.map_or_else(|| key.to_owned(), |key| key.replace("''", "'")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::http::HttpRequest;

    fn of(path: &str) -> Route {
        let request = HttpRequest::new(HttpMethod::Post, format!("https://sim.example/{path}"));
        route(&Ask::read(&request).unwrap())
    }

    #[test]
    fn every_path_of_the_facts_has_its_endpoint() {
        let discovery = Route::Discovery { app_id: "0000000a".to_owned() };
        assert_eq!(of("v1.0/servicePrincipals/appId=0000000a/endpoints"), discovery);
        assert_eq!(of("v1.0/servicePrincipals(appId='0000000a')/endpoints"), discovery);
        for action in [ScepAction::ValidateRequest, ScepAction::SuccessNotification, ScepAction::FailureNotification] {
            assert_eq!(of(&format!("msub01/{SCEP_PATH}//{}", action.path())), Route::Scep { unit: "msub01".to_owned(), action });
        }
        for action in [RevocationAction::DownloadRevocationRequests, RevocationAction::UploadRevocationResults] {
            assert_eq!(of(&format!("msub01/{REVOCATION_PATH}/{action}")), Route::Revocation { unit: "msub01".to_owned(), action });
        }
        for key in ["/a-b", "(a-b)", "('a-b')"] {
            assert_eq!(of(&format!("beta/deviceManagement/userPfxCertificates{key}")), Route::Pfx { key: "a-b".to_owned() });
        }
        assert_eq!(of("T/oauth2/v2.0/token").endpoint(HttpMethod::Post), Endpoint::Token);
        assert_eq!(of("msub01/ScepActions/validateRequest"), Route::Unknown);
    }
}
