//! Settings of [`IntuneOnline`], checked all at once.

use core::time::Duration;
use std::net::IpAddr;
use std::sync::Arc;

use super::actions::ProviderName;
use super::client::IntuneOnline;
use super::cloud::Cloud;
use super::discovery::Means;
use crate::adapters::entra::TokenSource;
use crate::adapters::http::{ClientBuildError, HttpTransport, base_url, is_path_segment};
use crate::crypto::{CryptoProvider, SlotName};
use crate::flow::Finding;
use crate::ports::Runtime;

/// Builds [`IntuneOnline`].
#[derive(Debug)]
pub struct IntuneOnlineBuilder {
    tenant: String,
    cloud: Cloud,
    tokens: Arc<dyn TokenSource>,
    transport: Arc<dyn HttpTransport>,
    runtime: Arc<dyn Runtime>,
    provider: CryptoProvider,
    provider_name: ProviderName,
    timeout: Duration,
    fetch_timeout: Duration,
    max_age: Option<Duration>,
}

impl IntuneOnlineBuilder {
    pub(super) fn new(
        tenant: String,
        tokens: Arc<dyn TokenSource>,
        transport: Arc<dyn HttpTransport>,
        runtime: Arc<dyn Runtime>,
        provider: CryptoProvider,
    ) -> Self {
        Self {
            tenant,
            cloud: Cloud::global(),
            tokens,
            transport,
            runtime,
            provider,
            provider_name: ProviderName::default(),
            timeout: Duration::from_secs(60),
            fetch_timeout: Duration::from_secs(30),
            max_age: Some(Duration::from_secs(12 * 3_600)),
        }
    }

    /// Sets hosts, scopes, paths and versions. Default [`Cloud::global`].
    #[must_use]
    pub fn cloud(mut self, cloud: Cloud) -> Self {
        self.cloud = cloud;
        self
    }

    /// Sets the user agent; give [`IntuneScep`](super::IntuneScep) the same name. Default this crate's name and version.
    #[must_use]
    pub fn provider_name(mut self, name: ProviderName) -> Self {
        self.provider_name = name;
        self
    }

    /// Sets the longest time of a call with all that belongs to it: discovery, tokens, and the repetition. Default 60 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the longest time of one request to Graph. Default 30 s. A caller with less time than that waits no longer than its own.
    #[must_use]
    pub fn fetch_timeout(mut self, timeout: Duration) -> Self {
        self.fetch_timeout = timeout;
        self
    }

    /// Sets how long discovered locations are used before Graph is asked anew; `None` for as long as they work. Default 12 hours. While asking
    /// anew fails, the old ones are used.
    #[must_use]
    pub fn discovery_max_age(mut self, age: Option<Duration>) -> Self {
        self.max_age = age;
        self
    }

    /// Checks everything and builds. Nothing is sent.
    ///
    /// # Errors
    /// [`ClientBuildError`] with every mistake.
    pub fn build(self) -> Result<IntuneOnline, ClientBuildError> {
        let findings = self.findings();
        if !findings.is_empty() {
            return Err(ClientBuildError::new("client of Intune", findings));
        }
        let means = Means {
            cloud: self.cloud,
            tenant: self.tenant,
            tokens: self.tokens,
            transport: self.transport,
            runtime: self.runtime,
            provider: self.provider,
            fetch_timeout: self.fetch_timeout,
        };
        Ok(IntuneOnline::new(means, self.provider_name, self.timeout, self.max_age))
    }

    fn findings(&self) -> Vec<Finding> {
        let mut findings = cloud_findings(&self.cloud);
        let mut add = |setting: &str, problem: &str, remedy: &str| findings.push(Finding::new(setting, problem, remedy));
        if !is_path_segment(&self.tenant) {
            add("intune.tenant", "not the tenant's domain or id", "give it as `contoso.onmicrosoft.com`, or as a GUID");
        }
        let times = [("timeout", Some(self.timeout)), ("fetch_timeout", Some(self.fetch_timeout)), ("discovery_max_age", self.max_age)];
        for (name, time) in times {
            if time.is_some_and(|time| time.is_zero()) {
                add(&format!("intune.{name}"), "zero", "give at least a second");
            }
        }
        if !self.provider.has(SlotName::Random) {
            add("provider.random", &format!("the provider `{}` has no such slot", self.provider.name()), "use another crypto provider");
        }
        findings
    }
}

fn cloud_findings(cloud: &Cloud) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |name: &str, problem: &str, remedy: &str| findings.push(Finding::new(format!("cloud.{name}"), problem, remedy));
    for (name, url) in [("authority", &cloud.authority), ("graph", &cloud.graph)] {
        if let Err(problem) = base_url(url, cloud.dangerous_plain_http_on_loopback) {
            add(name, &format!("the URL {problem}"), "give it as `https://` and the host");
        }
    }
    for (name, scope) in [("graph_scope", &cloud.graph_scope), ("intune_scope", &cloud.intune_scope)] {
        let audience = scope.strip_suffix("/.default").unwrap_or_default();
        if audience.is_empty() || !scope.bytes().all(|byte| byte.is_ascii_graphic()) {
            add(name, "not an audience with `/.default` after it", "an audience that ends in `/` has two slashes there");
        }
    }
    for (name, text) in [("graph_version", &cloud.graph_version), ("intune_app_id", &cloud.intune_app_id)] {
        if !is_path_segment(text) {
            add(name, "cannot stand in a URL", "letters, digits, `-`, `.` and `_` can");
        }
    }
    for (name, text) in [
        ("scep_service", &cloud.scep_service),
        ("scep_version", &cloud.scep_version),
        ("revocation_service", &cloud.revocation_service),
        ("revocation_version", &cloud.revocation_version),
    ] {
        if text.is_empty() || text.len() > 255 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            add(name, "not 1 to 255 characters of printable ASCII without blanks", "leave today's value where it is not known better");
        }
    }
    for (name, path) in [
        ("validate_request_path", &cloud.validate_request_path),
        ("success_notification_path", &cloud.success_notification_path),
        ("failure_notification_path", &cloud.failure_notification_path),
        ("download_revocations_path", &cloud.download_revocations_path),
        ("upload_revocations_path", &cloud.upload_revocations_path),
    ] {
        if !path.strip_prefix('/').unwrap_or(path).split('/').all(is_path_segment) {
            add(name, "not a path below the discovered base", "give it as `ScepActions/validateRequest`");
        }
    }
    if cloud.host_suffixes.is_empty() {
        add("host_suffixes", "empty, so no discovered location could be used", "name the cloud's domain, such as `manage.microsoft.com`");
    }
    for suffix in cloud.host_suffixes.iter().filter(|suffix| !is_host(suffix)) {
        let problem = format!("`{suffix}` is no host: a name with two labels at least, or an address");
        add("host_suffixes", &problem, "name the cloud's domain without scheme, port and leading dot, such as `manage.microsoft.com`");
    }
    findings
}

/// A name that is no whole top-level domain, or an address without brackets.
fn is_host(text: &str) -> bool {
    let label = |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let name = || text.contains('.') && text.len() <= 253 && text.split('.').all(label);
    text.parse::<IpAddr>().is_ok() || name()
}
