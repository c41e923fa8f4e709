//! How far a request came, read from the causes of an error.

use std::error::Error;
use std::io;

use super::resolver::NameError;
use crate::adapters::http::{HttpError, HttpErrorKind};

/// An error of the library underneath, for the host that was asked. Its own text is shown as far as it holds neither URL nor header.
pub(super) fn explain(error: &reqwest::Error, host: &str, through_proxy: bool) -> HttpError {
    use HttpErrorKind as K;
    let causes = Causes::of(error);
    let (kind, advice) = if causes.name {
        (K::Dns, "the name cannot be resolved: check name, DNS and proxy settings")
    } else if let Some(tls) = causes.tls.as_ref().filter(|_| error.is_connect()) {
        // Later, with the request on its way, it is a connection that ended.
        return HttpError::new(K::Tls, format!("no TLS with {host}: {tls}; {}", tls_advice(tls)));
    } else if error.is_connect() && through_proxy && causes.is_tunnel {
        (K::Proxy, "the proxy makes no connection: check its address and credentials, and whether it allows this host")
    } else if error.is_connect() {
        (K::Connect, "no connection: check firewall, proxy settings and whether the service runs")
    } else if error.is_builder() {
        (K::Request, "the request cannot be sent: check its URL and headers")
    } else if error.is_timeout() {
        (K::Timeout, "no answer in time")
    } else {
        (K::Closed, "the connection ended before the answer did")
    };
    HttpError::new(kind, format!("{host}: {advice} ({})", causes.text))
}

fn tls_advice(error: &str) -> &'static str {
    // rustls says a name in Debug form, or a sentence with the times.
    if error.contains("UnknownIssuer") || error.contains("BadSignature") {
        "if a proxy opens TLS here, add its root by `TrustAnchors::SystemAnd`"
    } else if ["Expired", "NotValidYet", "certificate expired", "certificate not valid yet"].iter().any(|words| error.contains(words)) {
        "check the clock of this machine, and the server's certificate"
    } else {
        "TLS 1.2 at least and a certificate for this name are needed"
    }
}

#[derive(Default)]
struct Causes {
    name: bool,
    tls: Option<String>,
    is_tunnel: bool,
    /// The innermost cause.
    text: String,
}

impl Causes {
    fn of(error: &reqwest::Error) -> Self {
        let mut causes = Self::default();
        let mut next: Option<&(dyn Error + 'static)> = error.source();
        // The innermost text says most; the outer ones repeat that a request failed.
        for _ in 0..16 {
            let Some(cause) = next else { break };
            causes.look_at(cause);
            next = cause.source();
        }
        if causes.text.is_empty() {
            causes.text = if error.is_timeout() { "time-out".to_owned() } else { "no more is known".to_owned() };
        }
        causes
    }

    fn look_at(&mut self, cause: &(dyn Error + 'static)) {
        self.name |= cause.is::<NameError>();
        self.tls = self.tls.take().or_else(|| cause.downcast_ref::<rustls::Error>().map(ToString::to_string));
        let text = cause.to_string();
        self.is_tunnel |= text.contains("tunnel") || text.contains("proxy");
        if !text.is_empty() {
            self.text = text;
        }
        // An I/O error hides what it wraps from `source`.
        if let Some(inner) = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            self.look_at(inner);
        }
    }
}
