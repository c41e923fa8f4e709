//! What the user sets.

use core::time::Duration;

use rustls_pki_types::CertificateDer;

use super::HttpClient;
use crate::adapters::http::ClientBuildError;
use crate::adapters::tls::TrustAnchors;
use crate::secret::{Password, PrivateKeyPkcs8};

/// How servers are reached. Loopback addresses always are without a proxy.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum ProxySetting {
    /// As the variables `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
    #[default]
    Environment,
    /// Without a proxy, whatever the environment says.
    Direct,
    /// Through this one.
    Through(Proxy),
}

/// A proxy, with or without credentials.
#[derive(Debug)]
pub struct Proxy {
    pub(super) url: String,
    pub(super) credentials: Option<(String, Password)>,
}

impl Proxy {
    /// A proxy by its absolute URI with scheme (`http`, `https` or `socks5h`), such as `http://proxy.contoso.example:3128`. `build()` refuses
    /// others, and a URI with credentials in it.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), credentials: None }
    }

    #[cfg(feature = "doctor")]
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    #[cfg(feature = "doctor")]
    pub(crate) fn credentials(&self) -> Option<(&str, &Password)> {
        self.credentials.as_ref().map(|(user, password)| (user.as_str(), password))
    }

    /// Sets user and password, sent by the scheme Basic.
    #[must_use]
    pub fn with_credentials(mut self, user: impl Into<String>, password: Password) -> Self {
        self.credentials = Some((user.into(), password));
        self
    }
}

/// A client certificate, for servers that want mutual TLS.
#[derive(Debug)]
pub struct ClientCertificate {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyPkcs8,
}

impl ClientCertificate {
    /// The certificate with its chain, its own first, and its private key (RSA, P-256, P-384 or Ed25519).
    #[must_use]
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyPkcs8) -> Self {
        Self { chain, key }
    }
}

/// Collects the settings of an [`HttpClient`].
#[derive(Debug)]
pub struct HttpClientBuilder {
    pub(super) trust: TrustAnchors,
    pub(super) proxy: ProxySetting,
    pub(super) client_certificate: Option<ClientCertificate>,
    pub(super) connect_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) max_requests: usize,
}

impl HttpClientBuilder {
    pub(super) fn new() -> Self {
        Self {
            trust: TrustAnchors::default(),
            proxy: ProxySetting::default(),
            client_certificate: None,
            connect_timeout: Duration::from_secs(15),
            // Shorter than the two minutes after which load balancers of the cloud drop a connection without a word.
            idle_timeout: Duration::from_secs(60),
            max_requests: 32,
        }
    }

    /// Sets whom a server's certificate must chain to. Default: what the operating system trusts.
    #[must_use]
    pub fn trust(mut self, anchors: TrustAnchors) -> Self {
        self.trust = anchors;
        self
    }

    /// Sets how servers are reached. Default: as the environment says.
    #[must_use]
    pub fn proxy(mut self, proxy: ProxySetting) -> Self {
        self.proxy = proxy;
        self
    }

    /// Sets the certificate to show to servers that ask for one. Default none.
    #[must_use]
    pub fn client_certificate(mut self, certificate: ClientCertificate) -> Self {
        self.client_certificate = Some(certificate);
        self
    }

    /// Sets the longest time for name, connection and TLS together. Default 15 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long an unused connection is kept. Default 60 s.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Sets how many requests are on their way at a time, each on a connection of its own; the others wait, within their time. Default 32.
    #[must_use]
    pub fn max_requests(mut self, count: usize) -> Self {
        self.max_requests = count;
        self
    }

    /// Starts the client and its thread.
    ///
    /// # Errors
    /// All wrong settings at once, each with its cure.
    pub fn build(self) -> Result<HttpClient, ClientBuildError> {
        HttpClient::start(self)
    }
}
