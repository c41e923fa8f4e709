//! Where the queue is, and who asks.

use core::time::Duration;
use std::sync::Arc;

use url::{Host, Url};

use super::wire::{LEAST_BYTES, MOUNT, Operation};
use crate::adapters::entra::TokenSource;
use crate::ids::TenantId;
use crate::ports::PortError;

/// How the queue knows the connector.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum QueueAuthentication {
    /// By a bearer token: [`StaticToken`](super::StaticToken), or tokens of an identity provider for that scope.
    Bearer {
        /// Where tokens come from.
        source: Arc<dyn TokenSource>,
        /// What is asked of it; a [`StaticToken`](super::StaticToken) does not look at it.
        scope: String,
    },
    /// By the client certificate that the transport presents (mutual TLS). No header is sent: the transport must have that certificate.
    MutualTls,
}

impl QueueAuthentication {
    /// Bearer tokens for that scope.
    #[must_use]
    pub fn bearer(source: Arc<dyn TokenSource>, scope: impl Into<String>) -> Self {
        Self::Bearer { source, scope: scope.into() }
    }
}

/// The settings of an [`HttpQueue`](super::HttpQueue).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HttpQueueConfig {
    /// What stands before `/open-queue/v1/`: scheme, host, and a path if there is one. HTTPS.
    pub base: String,
    /// The tenant whose requests are asked for.
    pub tenant: TenantId,
    /// How the queue knows the connector.
    pub authentication: QueueAuthentication,
    /// The longest time for one call. Default 60 s.
    pub timeout: Duration,
    /// The longest batch of requests that is read, in bytes; the queue is told. Default 16 MiB.
    pub max_batch_bytes: usize,
    /// The longest body that is sent, in bytes: more results are sent in several calls. Default 16 MiB.
    pub max_upload_bytes: usize,
    /// Plain HTTP is taken for hosts that are loopback addresses, for a simulator on this machine. Nothing else is ever plain.
    pub dangerous_plain_http_on_loopback: bool,
}

impl HttpQueueConfig {
    /// The longest that any body may be set to, in bytes.
    pub const MOST_BYTES: usize = 256 << 20;
    /// The shortest, in bytes.
    pub const LEAST_BYTES: usize = LEAST_BYTES;

    /// A queue at that base URL, with the defaults for the rest.
    #[must_use]
    pub fn new(base: impl Into<String>, tenant: TenantId, authentication: QueueAuthentication) -> Self {
        Self {
            base: base.into(),
            tenant,
            authentication,
            timeout: Duration::from_secs(60),
            max_batch_bytes: 16 << 20,
            max_upload_bytes: 16 << 20,
            dangerous_plain_http_on_loopback: false,
        }
    }

    /// Sets the longest time for one call.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the longest batch of requests, in bytes.
    #[must_use]
    pub fn with_max_batch_bytes(mut self, bytes: usize) -> Self {
        self.max_batch_bytes = bytes;
        self
    }

    /// Sets the longest body that is sent, in bytes.
    #[must_use]
    pub fn with_max_upload_bytes(mut self, bytes: usize) -> Self {
        self.max_upload_bytes = bytes;
        self
    }

    /// Takes plain HTTP for loopback addresses. Tokens and PFX files then cross the machine in clear: for a simulator only.
    #[must_use]
    pub fn dangerous_plain_http_on_loopback(mut self) -> Self {
        self.dangerous_plain_http_on_loopback = true;
        self
    }

    /// Checks the settings.
    pub(super) fn checked(self) -> Result<Checked, PortError> {
        let wrong = |problem: &str| Err(PortError::misconfigured(format!("the open queue's settings: {problem}")));
        let Ok(url) = Url::parse(&self.base) else {
            return wrong("`base` is no absolute URL, such as `https://queue.contoso.example/intune`");
        };
        let loopback = match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            _ => false,
        };
        match url.scheme() {
            "https" => {}
            "http" if loopback && self.dangerous_plain_http_on_loopback => {}
            "http" if loopback => {
                return wrong("`base` is plain HTTP; for a simulator on a loopback address call `dangerous_plain_http_on_loopback`");
            }
            "http" => return wrong("`base` is plain HTTP, which is taken for loopback addresses only; use https"),
            _ => return wrong("`base` is neither https nor http"),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return wrong("`base` holds a user name or a password; give a token instead");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return wrong("`base` has a query or a fragment");
        }
        let sizes = Self::LEAST_BYTES..=Self::MOST_BYTES;
        if !sizes.contains(&self.max_batch_bytes) || !sizes.contains(&self.max_upload_bytes) {
            return wrong("`max_batch_bytes` and `max_upload_bytes` are from 64 KiB to 256 MiB");
        }
        if self.timeout.is_zero() {
            return wrong("`timeout` is zero");
        }
        Ok(Checked { root: format!("{}{MOUNT}", url.as_str().trim_end_matches('/')), config: self })
    }
}

/// Settings that were checked.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) config: HttpQueueConfig,
    root: String,
}

impl Checked {
    pub(super) fn url(&self, operation: Operation) -> String {
        format!("{}{}", self.root, operation.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(base: &str) -> HttpQueueConfig {
        HttpQueueConfig::new(base, "contoso.example".parse().unwrap(), QueueAuthentication::MutualTls)
    }

    #[test]
    fn the_operations_stand_below_the_base() {
        for base in ["https://q.example", "https://q.example/", "https://Q.example:443"] {
            let url = config(base).checked().unwrap().url(Operation::ExtendLease);
            assert_eq!(url, "https://q.example/open-queue/v1/extend-lease");
        }
        let url = config("https://q.example:8443/intune/").checked().unwrap().url(Operation::Receive);
        assert_eq!(url, "https://q.example:8443/intune/open-queue/v1/receive");
    }

    #[test]
    fn what_is_not_https_is_refused_but_loopback_by_an_alarming_setting() {
        for base in
            ["http://q.example", "http://localhost", "http://10.0.0.1", "ftp://127.0.0.1", "q.example", "http://127.0.0.1.q.example"]
        {
            assert!(config(base).dangerous_plain_http_on_loopback().checked().is_err(), "{base}");
        }
        for base in ["http://127.0.0.1:8080", "http://[::1]:8080"] {
            assert!(config(base).checked().is_err(), "{base}");
            assert!(config(base).dangerous_plain_http_on_loopback().checked().is_ok(), "{base}");
        }
    }

    #[test]
    fn a_base_with_credentials_or_a_query_is_refused_and_not_quoted() {
        for base in ["https://user:hunter2@q.example", "https://q.example/?key=hunter2", "https://q.example/#hunter2"] {
            let error = config(base).checked().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn sizes_and_times_that_cannot_work_are_refused() {
        assert!(config("https://q.example").with_max_batch_bytes(0).checked().is_err());
        assert!(config("https://q.example").with_max_upload_bytes(usize::MAX).checked().is_err());
        assert!(config("https://q.example").with_timeout(Duration::ZERO).checked().is_err());
    }
}
