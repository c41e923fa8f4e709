//! Names, connections and TLS handshakes: what an HTTP client does before it sends, looked at one by one.

use core::fmt::Debug;
use std::net::IpAddr;

use async_trait::async_trait;
use rustls_pki_types::CertificateDer;

use super::expiry::expiry;
use super::report::{Check, Finding};
use super::scope::Scope;
use crate::adapters::http::{HttpError, HttpErrorKind};
use crate::message::certificate::Certificate;

/// A TLS handshake that succeeded: the server's certificate was verified for the host's name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsHandshake {
    /// The version, such as `TLSv1_3`.
    pub version: String,
    /// The server's certificate.
    pub certificate: Option<CertificateDer<'static>>,
}

impl TlsHandshake {
    /// A handshake from its parts.
    #[must_use]
    pub fn new(version: impl Into<String>, certificate: Option<CertificateDer<'static>>) -> Self {
        Self { version: version.into(), certificate }
    }
}

/// Looks at the network below HTTP. [`SystemNetwork`](super::SystemNetwork) is the one over this machine's; calls may be dropped at any await.
#[async_trait]
pub trait NetworkProbe: Debug + Send + Sync {
    /// The proxy through which that host is reached, as `host:port`; absent when it is reached directly.
    fn proxy(&self, host: &str) -> Option<String>;

    /// The addresses of a host.
    ///
    /// # Errors
    /// [`HttpErrorKind::Dns`] when it has none, or no name server answers.
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, HttpError>;

    /// Connects to the proxy of that host and closes the connection.
    ///
    /// # Errors
    /// [`HttpErrorKind::Proxy`] or [`HttpErrorKind::Dns`].
    async fn reach_proxy(&self, host: &str) -> Result<(), HttpError>;

    /// Makes a TLS handshake with the host, through its proxy where it has one, and closes the connection. Nothing of HTTP is sent to the host.
    ///
    /// # Errors
    /// The kind says how far it came; [`HttpErrorKind::Request`] when it cannot be looked at through such a proxy.
    async fn handshake(&self, host: &str, port: u16) -> Result<TlsHandshake, HttpError>;
}

/// Looks at one host: its name or its proxy, and TLS.
pub(super) async fn check(scope: &Scope, network: &dyn NetworkProbe, host: &str, port: u16) -> Vec<Finding> {
    let mut findings = match network.proxy(host) {
        None => scope.guard(Check::Dns, host, async { vec![dns(host, network.resolve(host).await)] }).await,
        Some(proxy) => {
            let reached = async { vec![reach(host, &proxy, network.reach_proxy(host).await)] };
            let mut found = vec![Finding::skipped(Check::Dns, host, "the proxy resolves its name")];
            found.extend(scope.guard(Check::Proxy, host, reached).await);
            found
        }
    };
    let handshake = async { tls(scope, host, network.handshake(host, port).await) };
    findings.extend(scope.guard(Check::Tls, host, handshake).await);
    findings
}

fn dns(host: &str, result: Result<Vec<IpAddr>, HttpError>) -> Finding {
    match result {
        Ok(addresses) if !addresses.is_empty() => {
            let shown: Vec<String> = addresses.iter().take(3).map(ToString::to_string).collect();
            Finding::ok(Check::Dns, host, format!("its name resolves to {}", shown.join(", ")))
        }
        Ok(_) => Finding::error(Check::Dns, host, "its name has no address", "correct the name, or the zone that holds it"),
        Err(error) => {
            let cure = "see this host's name servers, and whether names of the internet are resolved by a proxy alone";
            Finding::error(Check::Dns, host, error.to_string(), cure)
        }
    }
}

fn reach(host: &str, proxy: &str, result: Result<(), HttpError>) -> Finding {
    match result {
        Ok(()) => Finding::ok(Check::Proxy, host, format!("its proxy {proxy} accepts connections")),
        Err(error) => {
            let cure = "correct the proxy's address, an absolute URI with scheme and port, and see that it runs and lets this host in";
            Finding::error(Check::Proxy, host, error.to_string(), cure)
        }
    }
}

fn tls(scope: &Scope, host: &str, result: Result<TlsHandshake, HttpError>) -> Vec<Finding> {
    let handshake = match result {
        Ok(handshake) => handshake,
        Err(error) => return vec![tls_failed(host, &error)],
    };
    let version = &handshake.version;
    let mut findings = vec![Finding::ok(Check::Tls, host, format!("{version}, and its certificate is trusted"))];
    if let Some(certificate) = handshake.certificate.and_then(|der| Certificate::from_der(&der, &scope.limits).ok()) {
        let name = format!("its certificate, issued by {},", certificate.issuer());
        let cure = "if it is a proxy's that opens TLS, renew it there; otherwise wait for the service's operator";
        findings.push(expiry(Check::Tls, host, &name, certificate.not_after(), scope.now(), cure));
    }
    findings
}

fn tls_failed(host: &str, error: &HttpError) -> Finding {
    let text = error.to_string();
    let cure = match error.kind() {
        HttpErrorKind::Request => return Finding::skipped(Check::Tls, host, text),
        HttpErrorKind::Dns => return Finding::skipped(Check::Tls, host, "its name does not resolve"),
        HttpErrorKind::Connect | HttpErrorKind::Timeout | HttpErrorKind::Closed => "open the firewall for TCP to this host and port",
        HttpErrorKind::Proxy => "let the proxy connect to this host and port, with the credentials that it wants",
        _ => untrusted(&text).unwrap_or("TLS 1.2 or 1.3 is needed on the whole way: see what stands between"),
    };
    Finding::error(Check::Tls, host, text, cure)
}

/// The cure when a certificate is refused, by what rustls says: a name such as `UnknownIssuer`, or a sentence.
fn untrusted(text: &str) -> Option<&'static str> {
    let text: String = text.chars().filter(|c| c.is_ascii_alphabetic()).collect::<String>().to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["unknownissuer", "badsignature"]) {
        return Some(
            "if a proxy opens TLS here, exempt this host or add the proxy's root by `TrustAnchors::SystemAnd`; otherwise update the root certificates",
        );
    }
    if says(&["certificateexpired", "peercertificateexpired", "notvalidyet"]) {
        return Some("see this host's clock; if it is right, the server's certificate is to be renewed");
    }
    says(&["notvalidforname"]).then_some("something else answers under this name: see DNS, the hosts file and the proxy")
}
