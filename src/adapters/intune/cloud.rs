//! Where the services are, and what they are called. Everything is a setting; today's values are the defaults.

use std::collections::BTreeSet;

use super::actions::ScepAction;
use super::revocation_actions::RevocationAction;
use crate::adapters::entra::{ClientCredentials, ClientCredentialsBuilder, Credential};

/// Hosts, scopes, paths and versions of one cloud (facts A.2, A.3, A.5, A.10, B.1).
///
/// Microsoft tells callers that raw calls may change, so each value can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cloud {
    /// The authority that gives tokens, without the tenant and with a `/` at its end.
    pub authority: String,
    /// Microsoft Graph, without a `/` at its end.
    pub graph: String,
    /// The scope of tokens for Graph.
    pub graph_scope: String,
    /// The scope of tokens for Intune, byte for byte. The audience ends in a `/`, so there are two before `.default`.
    pub intune_scope: String,
    /// The version of Graph that service discovery is asked by.
    pub graph_version: String,
    /// Intune's application id, by which Graph lists its endpoints.
    pub intune_app_id: String,
    /// The name of the SCEP validation service in discovery.
    pub scep_service: String,
    /// The `api-version` of its calls.
    pub scep_version: String,
    /// The name of the revocation service in discovery.
    pub revocation_service: String,
    /// The `api-version` of its calls.
    pub revocation_version: String,
    /// The path of `validateRequest`, relative to the discovered base.
    pub validate_request_path: String,
    /// The path of `successNotification`.
    pub success_notification_path: String,
    /// The path of `failureNotification`.
    pub failure_notification_path: String,
    /// The path of `downloadRevocationRequests`.
    pub download_revocations_path: String,
    /// The path of `uploadRevocationResults`.
    pub upload_revocations_path: String,
    /// Discovered URIs must have one of these hosts, or a host below one of them. Tokens and CSRs go nowhere else.
    pub host_suffixes: BTreeSet<String>,
    /// Plain HTTP is taken for hosts that are loopback addresses, for a simulator on this machine. Nothing else is ever plain.
    pub dangerous_plain_http_on_loopback: bool,
}

impl Cloud {
    /// Microsoft's public cloud.
    #[must_use]
    pub fn global() -> Self {
        Self {
            authority: "https://login.microsoftonline.com/".to_owned(),
            graph: "https://graph.microsoft.com".to_owned(),
            graph_scope: "https://graph.microsoft.com/.default".to_owned(),
            intune_scope: "https://api.manage.microsoft.com//.default".to_owned(),
            graph_version: "v1.0".to_owned(),
            intune_app_id: "0000000a-0000-0000-c000-000000000000".to_owned(),
            scep_service: ScepAction::SERVICE.to_owned(),
            scep_version: ScepAction::API_VERSION.to_owned(),
            revocation_service: "PkiConnectorFEService".to_owned(),
            revocation_version: "5019-05-05".to_owned(),
            validate_request_path: ScepAction::ValidateRequest.path().to_owned(),
            success_notification_path: ScepAction::SuccessNotification.path().to_owned(),
            failure_notification_path: ScepAction::FailureNotification.path().to_owned(),
            download_revocations_path: RevocationAction::DownloadRevocationRequests.to_string(),
            upload_revocations_path: RevocationAction::UploadRevocationResults.to_string(),
            host_suffixes: BTreeSet::from(["manage.microsoft.com".to_owned()]),
            dangerous_plain_http_on_loopback: false,
        }
    }

    /// US Government (GCC High and DoD). Authority and Graph are documented; the audience and the hosts of Intune are not: they are the public
    /// cloud's with `.us`, by inference. Set them when your tenant's differ.
    #[must_use]
    pub fn us_government() -> Self {
        Self {
            authority: "https://login.microsoftonline.us/".to_owned(),
            graph: "https://graph.microsoft.us".to_owned(),
            graph_scope: "https://graph.microsoft.us/.default".to_owned(),
            intune_scope: "https://api.manage.microsoft.us//.default".to_owned(),
            host_suffixes: BTreeSet::from(["manage.microsoft.us".to_owned()]),
            ..Self::global()
        }
    }

    /// China, operated by 21Vianet. Authority and Graph are documented; audience and hosts of Intune are inferred, as for the US Government.
    #[must_use]
    pub fn china() -> Self {
        Self {
            authority: "https://login.chinacloudapi.cn/".to_owned(),
            graph: "https://microsoftgraph.chinacloudapi.cn".to_owned(),
            graph_scope: "https://microsoftgraph.chinacloudapi.cn/.default".to_owned(),
            intune_scope: "https://api.manage.microsoftonline.cn//.default".to_owned(),
            host_suffixes: BTreeSet::from(["manage.microsoftonline.cn".to_owned()]),
            ..Self::global()
        }
    }

    /// Starts a source of tokens at this cloud's authority, for [`IntuneOnline`](super::IntuneOnline).
    #[must_use]
    pub fn tokens(&self, tenant: impl Into<String>, client_id: impl Into<String>, credential: Credential) -> ClientCredentialsBuilder {
        ClientCredentials::builder(tenant, client_id, credential)
            .authority(&self.authority)
            .dangerous_plain_http_on_loopback(self.dangerous_plain_http_on_loopback)
    }
}

impl Default for Cloud {
    fn default() -> Self {
        Self::global()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scope_of_intune_has_two_slashes_in_every_cloud() {
        assert_eq!(Cloud::global().intune_scope, "https://api.manage.microsoft.com//.default");
        for cloud in [Cloud::global(), Cloud::us_government(), Cloud::china()] {
            assert!(cloud.intune_scope.ends_with("//.default") && cloud.graph_scope.ends_with("/.default"));
            assert!(!cloud.graph_scope.ends_with("//.default"));
        }
    }
}
