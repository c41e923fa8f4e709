//! Settings of [`ClientCredentials`], checked all at once.

use core::time::Duration;
use std::sync::{Arc, Mutex};

use super::client_credentials::ClientCredentials;
use super::credential::Credential;
use crate::adapters::http::{ClientBuildError, HttpTransport, base_url, is_path_segment};
use crate::crypto::{CryptoProvider, SlotName};
use crate::flow::Finding;
use crate::ports::Runtime;

/// Builds [`ClientCredentials`].
#[derive(Debug)]
pub struct ClientCredentialsBuilder {
    tenant: String,
    client_id: String,
    credential: Credential,
    authority: String,
    plain_on_loopback: bool,
    early_refresh: Duration,
    fetch_timeout: Duration,
}

/// Settings that were checked.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) endpoint: String,
    pub(super) client_id: String,
    pub(super) early_refresh: Duration,
    pub(super) fetch_timeout: Duration,
}

impl ClientCredentialsBuilder {
    pub(super) fn new(tenant: String, client_id: String, credential: Credential) -> Self {
        Self {
            tenant,
            client_id,
            credential,
            authority: "https://login.microsoftonline.com/".to_owned(),
            plain_on_loopback: false,
            early_refresh: Duration::from_secs(300),
            fetch_timeout: Duration::from_secs(30),
        }
    }

    /// Sets the authority, without the tenant. Default that of Microsoft's public cloud.
    #[must_use]
    pub fn authority(mut self, url: impl Into<String>) -> Self {
        self.authority = url.into();
        self
    }

    /// Takes an authority over plain HTTP when its host is a loopback address, for a simulator on this machine: the credential is sent in the
    /// clear.
    #[must_use]
    pub fn dangerous_plain_http_on_loopback(mut self, allow: bool) -> Self {
        self.plain_on_loopback = allow;
        self
    }

    /// Sets how long before its end a token is renewed. Default 300 s; never more than a quarter of a token's life.
    #[must_use]
    pub fn early_refresh(mut self, early: Duration) -> Self {
        self.early_refresh = early;
        self
    }

    /// Sets the longest time for one request to the token endpoint. Default 30 s. A caller with less time than that waits no longer than its own.
    #[must_use]
    pub fn fetch_timeout(mut self, timeout: Duration) -> Self {
        self.fetch_timeout = timeout;
        self
    }

    /// Checks everything and builds. Nothing is sent, no secret is read.
    ///
    /// # Errors
    /// [`ClientBuildError`] with every mistake.
    pub fn build(
        self,
        transport: Arc<dyn HttpTransport>,
        runtime: Arc<dyn Runtime>,
        provider: CryptoProvider,
    ) -> Result<ClientCredentials, ClientBuildError> {
        let mut findings = self.findings(&provider);
        let authority = self.authority.trim_end_matches('/');
        let settings = Settings {
            endpoint: format!("{authority}/{}/oauth2/v2.0/token", self.tenant),
            client_id: self.client_id,
            early_refresh: self.early_refresh,
            fetch_timeout: self.fetch_timeout,
        };
        match self.credential.prepare(&provider) {
            Ok(credential) if findings.is_empty() => {
                Ok(ClientCredentials { settings, credential, provider, transport, runtime, scopes: Mutex::default() })
            }
            Ok(_) => Err(ClientBuildError::new("source of tokens", findings)),
            Err(finding) => {
                findings.push(finding);
                Err(ClientBuildError::new("source of tokens", findings))
            }
        }
    }

    fn findings(&self, provider: &CryptoProvider) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut add = |setting: &str, problem: String, remedy: &str| findings.push(Finding::new(setting, problem, remedy));
        if !is_path_segment(&self.tenant) {
            add("entra.tenant", "not the tenant's domain or id".to_owned(), "give it as `contoso.onmicrosoft.com`, or as a GUID");
        } else if ["common", "organizations", "consumers"].iter().any(|name| self.tenant.eq_ignore_ascii_case(name)) {
            add("entra.tenant", format!("`{}` is no tenant", self.tenant), "name the tenant: an app's own tokens are a tenant's");
        }
        let client_id = self.client_id.as_str();
        if client_id.is_empty() || client_id.len() > 255 || !client_id.bytes().all(|byte| byte.is_ascii_graphic()) {
            add("entra.client_id", "not the app registration's id".to_owned(), "give its application (client) id, a GUID");
        }
        if let Err(problem) = base_url(&self.authority, self.plain_on_loopback) {
            add("entra.authority", format!("the URL {problem}"), "give it as `https://login.microsoftonline.com/`");
        }
        if self.fetch_timeout.is_zero() {
            add("entra.fetch_timeout", "zero".to_owned(), "give at least a second");
        }
        if !provider.has(SlotName::Random) {
            add("provider.random", format!("the provider `{}` has no such slot", provider.name()), "use another crypto provider");
        }
        findings
    }
}
