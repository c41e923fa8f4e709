//! The network of this machine.

use core::fmt::{self, Debug};
use core::time::Duration;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use base64::Engine as _;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use url::Url;
use zeroize::Zeroizing;

use super::network::{NetworkProbe, TlsHandshake};
use crate::adapters::http::{HttpError, HttpErrorKind, ProxySetting, TrustAnchors, tls_config};
use crate::ports::Runtime;
use crate::secret::Password;

/// The longest head of a proxy's answer, in bytes.
const MAX_HEAD: usize = 8 << 10;
/// Addresses of a host that are tried.
const MAX_ADDRESSES: usize = 8;

/// Looks at the network by the system's resolver, sockets of the standard library and rustls, on the runtime's threads.
///
/// Give it the trust anchors and the proxy of your [`HttpClient`](crate::adapters::http::HttpClient), so that it sees what that sees. A proxy
/// of the environment is read as that client reads it: `HTTPS_PROXY` or `ALL_PROXY` in either case, unless `NO_PROXY` names the host or a
/// domain above it (networks in `NO_PROXY` are not compared). TLS is looked at directly and through proxies of the scheme `http`.
pub struct SystemNetwork {
    runtime: Arc<dyn Runtime>,
    tls: Arc<ClientConfig>,
    proxy: Route,
    timeout: Duration,
}

enum Route {
    Direct,
    Environment(Option<Arc<ProxyAddress>>, Vec<String>),
    Through(Arc<ProxyAddress>),
}

/// Where a proxy is.
struct ProxyAddress {
    scheme: String,
    host: String,
    port: u16,
    /// The value of `Proxy-Authorization`.
    authorization: Option<Zeroizing<String>>,
}

impl SystemNetwork {
    /// With the trust anchors and the proxy of the HTTP client, and the longest time for one connection with all that belongs to it.
    ///
    /// # Errors
    /// What is wrong with the proxy or the trust anchors, and how to cure it.
    pub fn new(runtime: Arc<dyn Runtime>, trust: &TrustAnchors, proxy: &ProxySetting, timeout: Duration) -> Result<Self, String> {
        let route = match proxy {
            ProxySetting::Direct => Route::Direct,
            ProxySetting::Through(proxy) => Route::Through(Arc::new(ProxyAddress::parse(proxy.url(), proxy.credentials())?)),
            ProxySetting::Environment => {
                let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
                let first = |names: [&str; 2]| names.into_iter().find_map(variable);
                let url = first(["HTTPS_PROXY", "https_proxy"]).or_else(|| first(["ALL_PROXY", "all_proxy"]));
                let spared = first(["NO_PROXY", "no_proxy"]).unwrap_or_default();
                let spared = spared.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty()).collect();
                Route::Environment(url.map(|url| ProxyAddress::of_environment(&url)).transpose()?.map(Arc::new), spared)
            }
        };
        Ok(Self { runtime, tls: Arc::new(tls_config(trust)?), proxy: route, timeout })
    }

    fn route(&self, host: &str) -> Option<&Arc<ProxyAddress>> {
        // The client reaches this machine's addresses directly.
        if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback()) {
            return None;
        }
        match &self.proxy {
            Route::Direct => None,
            Route::Through(proxy) => Some(proxy),
            Route::Environment(proxy, spared) => proxy.as_ref().filter(|_| !is_spared(host, spared)),
        }
    }

    /// Runs blocking work on the runtime's threads.
    async fn offload<T: Send + 'static>(&self, job: impl FnOnce() -> Result<T, HttpError> + Send + 'static) -> Result<T, HttpError> {
        let (done, result) = futures_channel::oneshot::channel();
        let busy = || HttpError::new(HttpErrorKind::Connect, "too much work is waiting on the runtime's threads");
        self.runtime
            .offload(Box::new(move || {
                let _ = done.send(job());
            }))
            .map_err(|_| busy())?;
        result.await.unwrap_or_else(|_| Err(busy()))
    }
}

impl Debug for SystemNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let through_proxy = !matches!(self.proxy, Route::Direct | Route::Environment(None, _));
        f.debug_struct("SystemNetwork").field("through_proxy", &through_proxy).finish_non_exhaustive()
    }
}

/// Whether `NO_PROXY` names the host or a domain above it.
fn is_spared(host: &str, spared: &[String]) -> bool {
    let host = host.to_ascii_lowercase();
    spared.iter().any(|name| {
        let name = name.trim_start_matches('.');
        name == "*" || host == name || host.strip_suffix(name).is_some_and(|front| front.ends_with('.'))
    })
}

/// What an address may not hold as it is stands in it as `%XX`; what is none of that stays.
fn percent_decoded(text: &str) -> Zeroizing<String> {
    let raw = text.as_bytes();
    let digit = |at: usize| raw.get(at).and_then(|byte| char::from(*byte).to_digit(16)).and_then(|digit| u8::try_from(digit).ok());
    let mut out = Zeroizing::new(Vec::with_capacity(raw.len()));
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    Zeroizing::new(String::from_utf8_lossy(&out).into_owned())
}

impl ProxyAddress {
    /// As the client reads a variable: `http` where the scheme is left out.
    fn of_environment(text: &str) -> Result<Self, String> {
        if text.contains("://") { Self::parse(text, None) } else { Self::parse(&Zeroizing::new(format!("http://{text}")), None) }
    }

    fn parse(url: &str, credentials: Option<(&str, &Password)>) -> Result<Self, String> {
        // Not quoted: it may hold a password.
        let wrong =
            || "proxy: that is no proxy's URI; give an absolute URI with scheme, such as `http://proxy.contoso.example:3128`".to_owned();
        let url = Url::parse(url).map_err(|_| wrong())?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let port = url.port_or_known_default().unwrap_or(1080);
        let basic = |user: &str, password: &str| {
            let plain = Zeroizing::new(format!("{user}:{password}"));
            Zeroizing::new(format!("Basic {}", *Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(plain.as_bytes()))))
        };
        let authorization = match credentials {
            Some((user, password)) => Some(basic(user, password.secret_str().unwrap_or_default())),
            // Only the environment puts them into the URI.
            None if url.username().is_empty() && url.password().is_none() => None,
            None => Some(basic(&percent_decoded(url.username()), &percent_decoded(url.password().unwrap_or_default()))),
        };
        Ok(Self { scheme: url.scheme().to_owned(), host: host.trim_matches(['[', ']']).to_owned(), port, authorization })
    }

    fn shown(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

#[async_trait]
impl NetworkProbe for SystemNetwork {
    fn proxy(&self, host: &str) -> Option<String> {
        self.route(host).map(|proxy| proxy.shown())
    }

    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, HttpError> {
        let host = host.to_owned();
        self.offload(move || resolve(&host)).await
    }

    async fn reach_proxy(&self, host: &str) -> Result<(), HttpError> {
        let Some(proxy) = self.route(host).cloned() else { return Ok(()) };
        let timeout = self.timeout;
        self.offload(move || connect_proxy(&proxy, timeout).map(drop)).await
    }

    async fn handshake(&self, host: &str, port: u16) -> Result<TlsHandshake, HttpError> {
        let (host, proxy, tls, timeout) = (host.to_owned(), self.route(host).cloned(), Arc::clone(&self.tls), self.timeout);
        self.offload(move || handshake(&host, port, proxy.as_deref(), tls, timeout)).await
    }
}

fn resolve(host: &str) -> Result<Vec<IpAddr>, HttpError> {
    let found = (host, 0).to_socket_addrs();
    let found = found.map_err(|error| HttpError::new(HttpErrorKind::Dns, format!("its name cannot be resolved: {error}")))?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.dedup();
    Ok(addresses)
}

fn connect(host: &str, port: u16, until: Instant) -> Result<TcpStream, HttpError> {
    let mut last = None;
    for address in resolve(host)?.into_iter().take(MAX_ADDRESSES) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&(address, port).into(), left) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    let why = last.map_or_else(|| "no address could be tried in time".to_owned(), |error| error.to_string());
    Err(HttpError::new(HttpErrorKind::Connect, format!("no connection to {host}:{port}: {why}")))
}

fn connect_proxy(proxy: &ProxyAddress, timeout: Duration) -> Result<TcpStream, HttpError> {
    let failed = |error: HttpError| HttpError::new(HttpErrorKind::Proxy, format!("the proxy is out of reach: {error}"));
    connect(&proxy.host, proxy.port, Instant::now() + timeout).map_err(failed)
}

fn handshake(
    host: &str,
    port: u16,
    proxy: Option<&ProxyAddress>,
    tls: Arc<ClientConfig>,
    timeout: Duration,
) -> Result<TlsHandshake, HttpError> {
    let until = Instant::now() + timeout;
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
    let name = name.map_err(|_| HttpError::new(HttpErrorKind::Request, format!("`{host}` is no name that a certificate could have")))?;
    let mut stream = match proxy {
        None => connect(host, port, until)?,
        Some(proxy) if proxy.scheme == "http" => tunnel(host, port, proxy, until, timeout)?,
        Some(proxy) => {
            let what =
                format!("TLS is not looked at through a proxy of the scheme `{}`; the calls below tell whether it works", proxy.scheme);
            return Err(HttpError::new(HttpErrorKind::Request, what));
        }
    };
    let failed = |error: &dyn fmt::Display| HttpError::new(HttpErrorKind::Tls, format!("no TLS: {error}"));
    let mut connection = ClientConnection::new(tls, name).map_err(|error| failed(&error))?;
    while connection.is_handshaking() {
        bound(&stream, until)?;
        connection.complete_io(&mut stream).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                HttpError::new(HttpErrorKind::Timeout, "no answer to the TLS handshake in time")
            }
            _ => failed(&error),
        })?;
    }
    let version = connection.protocol_version().map_or_else(|| "TLS".to_owned(), |version| format!("{version:?}"));
    let certificate = connection.peer_certificates().and_then(|chain| chain.first()).map(|der| der.clone().into_owned());
    connection.send_close_notify();
    // The other side may be gone already, which is as good.
    let _ = connection.complete_io(&mut stream);
    Ok(TlsHandshake::new(version, certificate))
}

/// A socket that gives up at that time.
fn bound(stream: &TcpStream, until: Instant) -> Result<(), HttpError> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(HttpError::new(HttpErrorKind::Timeout, "the time was over"));
    }
    let set = stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left)));
    set.map_err(|error| HttpError::new(HttpErrorKind::Connect, format!("the socket takes no time-out: {error}")))
}

/// Has the proxy connect to the host.
fn tunnel(host: &str, port: u16, proxy: &ProxyAddress, until: Instant, timeout: Duration) -> Result<TcpStream, HttpError> {
    let failed = |what: String| HttpError::new(HttpErrorKind::Proxy, what);
    let mut stream = connect_proxy(proxy, timeout)?;
    bound(&stream, until)?;
    let target = if host.contains(':') { format!("[{}]:{port}", host.trim_matches(['[', ']'])) } else { format!("{host}:{port}") };
    let authorization = proxy.authorization.as_ref().map(|value| Zeroizing::new(format!("Proxy-Authorization: {}\r\n", value.as_str())));
    let authorization = authorization.as_ref().map_or("", |line| line.as_str());
    let request = Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n"));
    stream.write_all(request.as_bytes()).map_err(|error| failed(format!("the proxy took no request: {error}")))?;
    let mut head = Vec::new();
    // One byte at a time: what follows the head belongs to TLS.
    let mut byte = [0u8; 1];
    while !head.ends_with(b"\r\n\r\n") {
        bound(&stream, until)?;
        match stream.read(&mut byte) {
            Ok(1) if head.len() < MAX_HEAD => head.extend_from_slice(&byte),
            Ok(0) => return Err(failed("the proxy closed the connection".to_owned())),
            Ok(_) => return Err(failed("the proxy's answer has no end".to_owned())),
            Err(error) => return Err(failed(format!("the proxy gave no answer: {error}"))),
        }
    }
    let line: String = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    match line.split_whitespace().nth(1) {
        Some(status) if status.len() == 3 && status.starts_with('2') => Ok(stream),
        Some("407") => Err(failed("the proxy wants credentials, or others than were given (407)".to_owned())),
        _ => Err(failed(format!("the proxy does not connect to {target}; it says `{line}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_spares_a_host_and_what_is_below_a_domain() {
        let spared = |host: &str, names: &[&str]| is_spared(host, &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert!(spared("Graph.microsoft.com", &["graph.microsoft.com"]) && spared("a.contoso.example", &[".contoso.example"]));
        assert!(spared("a.contoso.example", &["contoso.example"]) && spared("anything", &["*"]));
        assert!(!spared("evilcontoso.example", &["contoso.example"]) && !spared("a.example", &[]));
    }

    #[test]
    fn a_proxy_of_the_environment_is_read_as_the_client_reads_it() {
        let read = |text: &str| ProxyAddress::of_environment(text).map(|proxy| (proxy.shown(), proxy.authorization)).unwrap();
        let plain = base64::engine::general_purpose::STANDARD.encode("user:p@ss:w%rd");
        for text in ["http://user:p%40ss%3Aw%rd@proxy.contoso.example:3128", "user:p%40ss:w%25rd@proxy.contoso.example:3128/"] {
            let (shown, authorization) = read(text);
            assert_eq!(
                (shown.as_str(), authorization.unwrap().as_str()),
                ("proxy.contoso.example:3128", &*format!("Basic {plain}")),
                "{text}"
            );
        }
        let (shown, authorization) = read("proxy.contoso.example:3128");
        assert_eq!((shown.as_str(), authorization), ("proxy.contoso.example:3128", None));
        let (_, authorization) = read("http://user@proxy.contoso.example");
        assert_eq!(authorization.unwrap().as_str(), "Basic dXNlcjo=");
        assert!(ProxyAddress::of_environment("http://").is_err());
    }

    #[test]
    fn a_proxy_uri_with_a_password_is_never_shown() {
        for wrong in ["hunter2:3128", "", "http://"] {
            let error = ProxyAddress::parse(wrong, None).map(|proxy| proxy.shown());
            assert!(error.as_ref().err().is_none_or(|text| !text.contains("hunter2")), "{error:?}");
        }
        let proxy = ProxyAddress::parse("http://user:hunter2@proxy.contoso.example:3128", None).map_err(|_| ()).unwrap();
        assert_eq!((proxy.shown().as_str(), proxy.authorization.is_some()), ("proxy.contoso.example:3128", true));
    }
}
