//! The HTTP client against servers that misbehave at every stage, on real sockets: plain, with TLS, and behind a proxy.

#![cfg(all(feature = "intune", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use futures_util::FutureExt as _;
use intune_connector::adapters::http::{
    ClientCertificate, HttpClient, HttpClientBuilder, HttpError, HttpErrorKind, HttpMethod, HttpRequest, HttpResponse, HttpTransport as _,
    Proxy, ProxySetting, TrustAnchors,
};
use intune_connector::adapters::{LocalCa, StdRuntime};
use intune_connector::crypto::CryptoProvider;
use intune_connector::message::name::Name;
use intune_connector::ports::PortError;
use intune_connector::retry::Effect;
use intune_connector::secret::{Password, PrivateKeyPkcs8, SecretBytes};
use intune_connector::terms::{KeyAlgorithm, KeyUsage, SubjectAltName, oids};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ALL_VERSIONS, RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

#[path = "http_client/hostile.rs"]
mod hostile;

const SHORT: Duration = Duration::from_millis(300);

/// Serves each connection by that function, on threads that end with the test program.
fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (serve, stream) = (Arc::clone(&serve), stream.unwrap());
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Reads a request with its body.
fn read_request(stream: &mut impl Read) -> String {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or_default() == 1 {
        read.extend(byte);
    }
    let mut text = String::from_utf8(read).unwrap();
    let length = text.to_ascii_lowercase().split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).unwrap();
    text.push_str(core::str::from_utf8(&body).unwrap());
    text
}

/// A server that reads a request and writes these bytes.
fn says(bytes: &'static [u8]) -> SocketAddr {
    server(move |mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(bytes);
    })
}

fn builder() -> HttpClientBuilder {
    HttpClient::builder().proxy(ProxySetting::Direct).trust(TrustAnchors::Only(Vec::new()))
}

fn send(client: &HttpClient, request: HttpRequest) -> Result<HttpResponse, HttpError> {
    StdRuntime::new().unwrap().block_on(client.send(request))
}

fn get(address: SocketAddr) -> HttpRequest {
    HttpRequest::new(HttpMethod::Get, format!("http://{address}/a?b=c"))
}

fn failure(client: &HttpClient, request: HttpRequest) -> HttpError {
    send(client, request).unwrap_err()
}

#[test]
fn a_request_arrives_as_it_was_given_and_its_answer_whole() {
    let (tell, told) = mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let address = server(move |mut stream| {
        tell.lock().unwrap().send(read_request(&mut stream)).unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad\r\nX-Thing: 1\r\nContent-Length: 5\r\n\r\nhello").unwrap();
    });
    let request = HttpRequest::new(HttpMethod::Patch, format!("http://{address}/a%20b?c=%27"))
        .with_bearer("tok")
        .with_header("UserAgent", "Contoso/1")
        .with_body("application/json; charset=utf-8", SecretBytes::copy_from("{\"a\":\"ü\"}".as_bytes()));
    let response = send(&builder().build().unwrap(), request).unwrap();
    assert_eq!((response.status, response.body.secret_bytes(), response.header("x-thing")), (400, &b"hello"[..], Some("1")));
    let seen = told.recv().unwrap();
    assert!(seen.starts_with("PATCH /a%20b?c=%27 HTTP/1.1\r\n"), "{seen}");
    for line in ["authorization: Bearer tok", "useragent: Contoso/1", "content-type: application/json; charset=utf-8"] {
        assert!(seen.to_ascii_lowercase().contains(&format!("\r\n{}\r\n", line.to_ascii_lowercase())), "{line} is not in {seen}");
    }
    assert!(seen.ends_with("\r\n\r\n{\"a\":\"ü\"}") && !seen.to_ascii_lowercase().contains("accept-encoding"), "{seen}");
}

#[test]
fn a_redirect_is_handed_over_and_not_followed() {
    let second = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&second);
    let elsewhere = server(move |_| {
        seen.fetch_add(1, Ordering::SeqCst);
    });
    let address = server(move |mut stream| {
        read_request(&mut stream);
        let _ = write!(stream, "HTTP/1.1 307 Go\r\nLocation: http://{elsewhere}/\r\nContent-Length: 0\r\n\r\n");
    });
    assert_eq!(send(&builder().build().unwrap(), get(address).with_bearer("secret")).unwrap().status, 307);
    assert_eq!(second.load(Ordering::SeqCst), 0);
}

#[test]
fn every_stage_has_an_error_of_its_own() {
    use HttpErrorKind as K;
    let client = builder().connect_timeout(SHORT).build().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = server(|mut stream| {
        read_request(&mut stream);
        thread::sleep(Duration::from_secs(30));
    });
    let slow_body = server(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
        thread::sleep(Duration::from_secs(30));
    });
    let mute = server(|_stream| thread::sleep(Duration::from_secs(30)));
    let cases = [
        ("no such host", HttpRequest::new(HttpMethod::Get, "http://no-such-host.invalid/"), K::Dns),
        ("nobody listens", get(closed), K::Connect),
        ("no TLS handshake in time", HttpRequest::new(HttpMethod::Get, format!("https://{mute}/")), K::Connect),
        ("no answer in time", get(silent).with_timeout(SHORT), K::Timeout),
        ("half an answer in time", get(slow_body).with_timeout(SHORT), K::Timeout),
        ("closed before the answer", get(server(|mut stream| drop(read_request(&mut stream)))), K::Closed),
        ("closed within the header", get(says(b"HTTP/1.1 200 O")), K::Closed),
        ("closed within the body", get(says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")), K::Closed),
        ("closed within a chunk", get(says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe")), K::Closed),
        ("no HTTP", get(says(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")), K::Closed),
        ("too long", get(says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789")).with_max_answer(8), K::TooLarge),
        ("no URL", HttpRequest::new(HttpMethod::Get, "graph.microsoft.com"), K::Request),
        ("another scheme", HttpRequest::new(HttpMethod::Get, "file:///etc/passwd"), K::Request),
        ("a header that would split", get(closed).with_header("X-A", "a\r\nb: c"), K::Request),
    ];
    for (name, request, kind) in cases {
        let error = failure(&client, request.with_bearer("hunter2"));
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{name}: {error:?}");
        // Only what certainly sent nothing may be repeated.
        let effect = PortError::from(error).effect();
        let sent = matches!(kind, K::Timeout | K::Closed | K::TooLarge);
        assert_eq!(effect, if sent { Effect::Unknown } else { Effect::None }, "{name}");
    }
}

#[test]
fn requests_beyond_the_limit_wait_and_those_that_wait_too_long_were_not_sent() {
    let (release, hold) = mpsc::channel::<()>();
    let hold = std::sync::Mutex::new(hold);
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let address = server(move |mut stream| {
        read_request(&mut stream);
        count.fetch_add(1, Ordering::SeqCst);
        let _ = hold.lock().unwrap().recv();
        let _ = stream.write_all(b"HTTP/1.1 204 No\r\nConnection: close\r\n\r\n");
    });
    let client = Arc::new(builder().max_requests(1).build().unwrap());
    let first = thread::spawn({
        let client = Arc::clone(&client);
        move || send(&client, get(address)).unwrap().status
    });
    while seen.load(Ordering::SeqCst) == 0 {
        thread::yield_now();
    }
    let error = failure(&client, get(address).with_timeout(SHORT));
    assert_eq!((error.kind(), seen.load(Ordering::SeqCst)), (HttpErrorKind::Connect, 1), "{error}");
    release.send(()).unwrap();
    assert_eq!(first.join().unwrap(), 204);
}

#[test]
fn a_call_that_is_dropped_gives_its_place_free() {
    let address = server(|mut stream| {
        let request = read_request(&mut stream);
        if request.starts_with("GET /wait") {
            thread::sleep(Duration::from_secs(30));
        }
        let _ = stream.write_all(b"HTTP/1.1 204 No\r\n\r\n");
    });
    let client = builder().max_requests(1).build().unwrap();
    let waiting = client.send(HttpRequest::new(HttpMethod::Get, format!("http://{address}/wait")));
    assert!(waiting.now_or_never().is_none());
    assert_eq!(send(&client, get(address)).unwrap().status, 204);
}

#[test]
fn it_serves_tokio_and_ends_within_it() {
    let address = says(b"HTTP/1.1 204 No\r\n\r\n");
    let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
    tokio.block_on(async {
        let client = builder().build().unwrap();
        assert_eq!(client.send(get(address)).await.unwrap().status, 204);
    });
}

/// A CA, and what it certifies.
struct Pki {
    provider: CryptoProvider,
    ca: LocalCa,
}

impl Pki {
    fn new() -> Self {
        let provider = CryptoProvider::ring_and_aws_lc_rs();
        let ca = LocalCa::new(provider.clone(), "Test Root".parse().unwrap(), KeyAlgorithm::EcP256).unwrap();
        Self { provider, ca }
    }

    fn root(&self) -> CertificateDer<'static> {
        self.ca.certificate().der().clone()
    }

    fn key(&self) -> (PrivateKeyPkcs8, Vec<u8>) {
        let key = self.provider.key_generation().unwrap().generate(KeyAlgorithm::EcP256).unwrap();
        let spki = self.provider.signing_keys().unwrap().load(&key).unwrap().public_key();
        (key, spki.as_ref().to_vec())
    }

    fn config(&self, names: &[SubjectAltName], wants_client: bool) -> Arc<ServerConfig> {
        self.config_of(ALL_VERSIONS, names, wants_client)
    }

    /// What a TLS server for these names runs on.
    fn config_of(&self, versions: &[&'static SupportedProtocolVersion], names: &[SubjectAltName], wants_client: bool) -> Arc<ServerConfig> {
        let (key, spki) = self.key();
        let day = Duration::from_secs(86_400);
        let certificate = self.ca.issue_server_certificate(Name::parse_cert_str("CN=server").unwrap(), &spki, names, day).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_protocol_versions(versions).unwrap();
        let builder = if wants_client {
            let mut roots = RootCertStore::empty();
            roots.add(self.root()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()));
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.secret_pkcs8_der().to_vec()));
        Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).unwrap())
    }

    /// A TLS server for these names; it answers with the certificate that the client showed, if any.
    fn server(&self, names: &[SubjectAltName], wants_client: bool) -> SocketAddr {
        let config = self.config(names, wants_client);
        server(move |stream| {
            let mut stream = accepted(&config, stream);
            if !read_request(&mut stream).ends_with("\r\n\r\n") {
                return;
            }
            let shown = stream.conn.peer_certificates().map_or(0, <[_]>::len);
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n{shown}");
            let _ = stream.flush();
        })
    }
}

/// The server's end of a connection, whose handshake follows with the first read.
fn accepted(config: &Arc<ServerConfig>, stream: TcpStream) -> StreamOwned<ServerConnection, TcpStream> {
    StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), stream)
}

fn tls(address: SocketAddr) -> HttpRequest {
    HttpRequest::new(HttpMethod::Get, format!("https://{address}/"))
}

#[test]
fn a_server_must_chain_to_a_root_that_is_trusted_and_have_the_name() {
    let pki = Pki::new();
    let here = [SubjectAltName::Ip(IpAddr::from([127, 0, 0, 1]))];
    let trusting = builder().trust(TrustAnchors::Only(vec![pki.root()])).build().unwrap();
    assert_eq!(send(&trusting, tls(pki.server(&here, false))).unwrap().body.secret_bytes(), b"0");

    let other = pki.server(&[SubjectAltName::Dns("other.example".to_owned())], false);
    let error = failure(&trusting, tls(other));
    assert_eq!(error.kind(), HttpErrorKind::Tls, "{error}");
    assert!(error.to_string().contains("name"), "{error}");

    for anchors in [TrustAnchors::Only(Vec::new()), TrustAnchors::Only(vec![Pki::new().root()])] {
        let error = failure(&builder().trust(anchors).build().unwrap(), tls(pki.server(&here, false)));
        assert_eq!(error.kind(), HttpErrorKind::Tls, "{error}");
        assert!(error.to_string().contains("TrustAnchors::SystemAnd"), "the cure is named: {error}");
    }
}

#[test]
fn a_client_certificate_is_shown_to_a_server_that_wants_one() {
    let pki = Pki::new();
    let address = pki.server(&[SubjectAltName::Ip(IpAddr::from([127, 0, 0, 1]))], true);
    let trust = || TrustAnchors::Only(vec![pki.root()]);
    let (key, spki) = pki.key();
    let usage = KeyUsage { digital_signature: true, ..KeyUsage::default() };
    let purposes = [oids::CLIENT_AUTH.parse().unwrap()];
    let subject = Name::parse_cert_str("CN=connector").unwrap();
    let own = pki.ca.issue_service_certificate(subject, &spki, usage, &purposes, Duration::from_secs(86_400)).unwrap();
    let identity = ClientCertificate::new(vec![own.der().clone()], key);
    let client = builder().trust(trust()).client_certificate(identity).build().unwrap();
    assert_eq!(send(&client, tls(address)).unwrap().body.secret_bytes(), b"1");
    assert!(send(&builder().trust(trust()).build().unwrap(), tls(address)).is_err());
}

/// A proxy that connects whoever asks with these words, in lower case.
fn tunnel(mut client: TcpStream, target: SocketAddr, words: &str) {
    let request = read_request(&mut client).to_ascii_lowercase();
    if !request.contains(words) || !request.starts_with("connect intune.example:443 ") {
        let _ = client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
        return;
    }
    let mut server = TcpStream::connect(target).unwrap();
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || std::io::copy(&mut from, &mut to));
    let _ = std::io::copy(&mut server, &mut client);
}

#[test]
fn a_proxy_gets_its_credentials_and_its_refusal_is_told_apart() {
    let pki = Pki::new();
    let target = pki.server(&[SubjectAltName::Dns("intune.example".to_owned())], false);
    // "user:hunter2", and a name that only the proxy resolves.
    let proxy = server(move |client| tunnel(client, target, "proxy-authorization: basic dxnlcjpodw50zxiy"));
    let through = |setting: Proxy| {
        let trust = TrustAnchors::Only(vec![pki.root()]);
        HttpClient::builder().proxy(ProxySetting::Through(setting)).trust(trust).build().unwrap()
    };
    let request = || HttpRequest::new(HttpMethod::Get, "https://intune.example/").with_bearer("token");
    let url = format!("http://{proxy}");
    let client = through(Proxy::new(&url).with_credentials("user", Password::from("hunter2")));
    assert_eq!(send(&client, request()).unwrap().body.secret_bytes(), b"0");
    assert!(!format!("{client:?}").contains("hunter2"));

    let open = server(move |client| tunnel(client, target, "connect intune.example:443 "));
    assert_eq!(send(&through(Proxy::new(format!("http://{open}"))), request()).unwrap().status, 200, "a proxy that wants no credentials");

    for wrong in [Proxy::new(&url), Proxy::new(&url).with_credentials("user", Password::from("hunter3"))] {
        let error = failure(&through(wrong), request());
        assert_eq!(error.kind(), HttpErrorKind::Proxy, "{error}");
        assert!(error.to_string().contains("credentials") && !error.to_string().contains("hunter"), "{error}");
    }
}

#[test]
fn wrong_settings_are_listed_at_once_without_their_secrets() {
    let proxies = [
        Proxy::new("proxy:3128"),
        Proxy::new("http://user:hunter2@proxy.example"),
        Proxy::new("http://proxy.example").with_credentials("user", Password::from("")),
        Proxy::new("http://proxy.example").with_credentials("a:b", Password::from("hunter2")),
    ];
    for proxy in proxies {
        let junk = TrustAnchors::Only(vec![CertificateDer::from(vec![1, 2, 3])]);
        let builder = HttpClient::builder().connect_timeout(Duration::ZERO).max_requests(0).trust(junk);
        let error = builder.proxy(ProxySetting::Through(proxy)).build().unwrap_err();
        let settings: Vec<&str> = error.findings().iter().map(|finding| finding.setting.as_str()).collect();
        assert_eq!(settings, ["http.connect_timeout", "http.max_requests", "http.proxy", "http.trust"], "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
