//! Where Graph is, and how long it is waited for.

use core::time::Duration;

use url::Url;

use crate::adapters::http::{base_url, is_path_segment};
use crate::crypto::{CryptoProvider, SlotName};
use crate::flow::Finding;

/// Microsoft Graph as one cloud has it, and the bounds of each call. Every value is a setting; the defaults are those of the public cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GraphSettings {
    /// Graph's origin, without a `/` at its end: `https`, a host, and a port if it needs one.
    pub graph: String,
    /// The version; `userPfxCertificates` stands in `beta` only.
    pub version: String,
    /// The scope of tokens for Graph.
    pub scope: String,
    /// The collection of PFX certificates, relative to the version.
    pub certificates_path: String,
    /// The collection of users, relative to the version.
    pub users_path: String,
    /// The longest time for one request and its answer. Default 60 s.
    pub timeout: Duration,
    /// The most times that one call is sent. Default 6.
    pub attempts: u32,
    /// The longest time that one call waits in all between its attempts. A longer wait that Graph asks for is an error that names it.
    /// Default 5 minutes.
    pub longest_wait: Duration,
    /// The most pages of one listing. Default 1,000.
    pub max_pages: usize,
    /// The most records of one listing. Default 100,000.
    pub max_records: usize,
    /// Plain HTTP is taken for hosts that are loopback addresses, for a simulator on this machine. Nothing else is ever plain.
    pub dangerous_plain_http_on_loopback: bool,
}

impl GraphSettings {
    /// Microsoft's public cloud.
    #[must_use]
    pub fn global() -> Self {
        Self {
            graph: "https://graph.microsoft.com".to_owned(),
            version: "beta".to_owned(),
            scope: "https://graph.microsoft.com/.default".to_owned(),
            certificates_path: "deviceManagement/userPfxCertificates".to_owned(),
            users_path: "users".to_owned(),
            timeout: Duration::from_secs(60),
            attempts: 6,
            longest_wait: Duration::from_secs(300),
            max_pages: 1_000,
            max_records: 100_000,
            dangerous_plain_http_on_loopback: false,
        }
    }

    /// US Government (GCC High). Whether `userPfxCertificates` is there is not documented.
    #[must_use]
    pub fn us_government() -> Self {
        Self::at("https://graph.microsoft.us")
    }

    /// China, operated by 21Vianet. Whether `userPfxCertificates` is there is not documented.
    #[must_use]
    pub fn china() -> Self {
        Self::at("https://microsoftgraph.chinacloudapi.cn")
    }

    /// Graph at another origin, with the scope that belongs to it.
    #[must_use]
    pub fn at(graph: &str) -> Self {
        let graph = graph.trim_end_matches('/').to_owned();
        Self { scope: format!("{graph}/.default"), graph, ..Self::global() }
    }

    /// Sets the scope of tokens.
    #[must_use]
    pub fn with_scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        self
    }

    /// Graph's URL, or every mistake.
    pub(super) fn check(&self, provider: &CryptoProvider) -> Result<Url, Vec<Finding>> {
        let mut findings = Vec::new();
        let mut add = |setting: &str, problem: String, remedy: &str| findings.push(Finding::new(setting, problem, remedy));
        let origin = base_url(&self.graph, self.dangerous_plain_http_on_loopback);
        if let Err(problem) = &origin {
            add("graph.graph", format!("the URL {problem}"), "give it as `https://graph.microsoft.com`");
        }
        let is_path = |path: &str| path.split('/').all(is_path_segment);
        for (setting, path) in
            [("version", &self.version), ("certificates_path", &self.certificates_path), ("users_path", &self.users_path)]
        {
            if !is_path(path) {
                add(&format!("graph.{setting}"), "not a path".to_owned(), "give it without a `/` at its ends, as the default has it");
            }
        }
        if self.attempts == 0 || self.max_pages == 0 || self.max_records == 0 || self.timeout.is_zero() {
            let remedy = "give `attempts`, `max_pages`, `max_records` and `timeout` more than zero";
            add("graph", "a bound is zero".to_owned(), remedy);
        }
        if !provider.has(SlotName::Random) {
            add("provider.random", format!("the provider `{}` has no such slot", provider.name()), "use another crypto provider");
        }
        match origin {
            Ok(origin) if findings.is_empty() => Ok(origin),
            _ => Err(findings),
        }
    }

    /// Takes plain HTTP for loopback addresses: for a simulator on this machine, where whoever is on it may read tokens and passwords.
    #[must_use]
    pub fn dangerously_plain_http_on_loopback(mut self) -> Self {
        self.dangerous_plain_http_on_loopback = true;
        self
    }
}

impl Default for GraphSettings {
    fn default() -> Self {
        Self::global()
    }
}
