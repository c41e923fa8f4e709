//! The probe of this machine's network, against servers on loopback addresses.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use intune_connector::adapters::StdRuntime;
use intune_connector::adapters::http::{HttpErrorKind, Proxy, ProxySetting, TrustAnchors};
use intune_connector::doctor::{NetworkProbe as _, SystemNetwork};
use intune_connector::ports::Runtime;
use intune_connector::secret::Password;
use intune_connector::terms::{KeyAlgorithm, SubjectAltName};
use intune_connector::time::Timestamp;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::pki;

struct Server {
    port: u16,
    root: CertificateDer<'static>,
    leaf: CertificateDer<'static>,
}

/// Answers TLS handshakes for `localhost` until the test ends.
fn tls_server() -> Server {
    tls_server_until(Timestamp::system_now().saturating_add(pki::DAY))
}

fn tls_server_until(end: Timestamp) -> Server {
    let provider = pki::provider();
    let root = pki::root(&provider, "root");
    let begin = end.saturating_sub(2 * pki::DAY);
    let leaf = pki::leaf_valid(&provider, &root, "CN=localhost", KeyAlgorithm::EcP256, begin, end, |builder| {
        builder.subject_alt_names(&[SubjectAltName::Dns("localhost".into())])
    });
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf.key.secret_pkcs8_der().to_vec()));
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.certificate.clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), config) = (stream, config.clone()) else { return };
            std::thread::spawn(move || {
                let mut connection = rustls::ServerConnection::new(config).unwrap();
                // The client hangs up when it has seen enough.
                while connection.complete_io(&mut stream).is_ok_and(|(read, written)| read + written > 0) {}
            });
        }
    });
    Server { port, root: root.certificate, leaf: leaf.certificate }
}

/// A proxy that answers each request with these words, and then passes everything on to that port, where there is one.
fn proxy_server(answer: &'static str, target: Option<u16>) -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut client) = stream else { return };
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|read| read == 1) {
                head.push(byte[0]);
            }
            let _ = tell.send(String::from_utf8_lossy(&head).into_owned());
            let _ = client.write_all(answer.as_bytes());
            if let Some(target) = target {
                let server = std::net::TcpStream::connect(("127.0.0.1", target)).unwrap();
                let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                let (mut from, mut to) = (server, client);
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
        }
    });
    (port, told)
}

fn probe(trust: TrustAnchors, proxy: ProxySetting) -> (Arc<StdRuntime>, SystemNetwork) {
    let runtime = Arc::new(StdRuntime::with_threads(1, 8).unwrap());
    let network = SystemNetwork::new(runtime.clone() as Arc<dyn Runtime>, &trust, &proxy, Duration::from_secs(30)).unwrap();
    (runtime, network)
}

#[test]
fn a_handshake_tells_version_and_certificate_and_wants_the_root() {
    let server = tls_server();
    let (runtime, network) = probe(TrustAnchors::Only(vec![server.root.clone()]), ProxySetting::Direct);
    let seen = runtime.block_on(network.handshake("localhost", server.port)).unwrap();
    assert_eq!((seen.version.as_str(), seen.certificate), ("TLSv1_3", Some(server.leaf)));
    assert!(runtime.block_on(network.resolve("localhost")).unwrap().iter().all(|ip| ip.is_loopback()));
    let wrong_name = runtime.block_on(network.handshake("127.0.0.1", server.port)).unwrap_err();
    assert!(wrong_name.kind() == HttpErrorKind::Tls && wrong_name.to_string().contains("not valid for name"), "{wrong_name}");
    let ended = tls_server_until(Timestamp::system_now().saturating_sub(pki::DAY));
    let (runtime, network) = probe(TrustAnchors::Only(vec![ended.root]), ProxySetting::Direct);
    let expired = runtime.block_on(network.handshake("localhost", ended.port)).unwrap_err();
    assert!(expired.kind() == HttpErrorKind::Tls && expired.to_string().contains("certificate expired"), "{expired}");
    let (runtime, network) = probe(TrustAnchors::Only(vec![tls_server().root]), ProxySetting::Direct);
    let untrusted = runtime.block_on(network.handshake("localhost", server.port)).unwrap_err();
    assert!(untrusted.kind() == HttpErrorKind::Tls && untrusted.to_string().contains("invalid peer certificate"), "{untrusted}");
}

#[test]
fn no_server_no_name_and_no_tls_are_told_apart() {
    let (runtime, network) = probe(TrustAnchors::Only(Vec::new()), ProxySetting::Direct);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(runtime.block_on(network.handshake("localhost", free)).unwrap_err().kind(), HttpErrorKind::Connect);
    assert_eq!(runtime.block_on(network.resolve("no-such-host.invalid")).unwrap_err().kind(), HttpErrorKind::Dns);
    let (plain, _) = proxy_server("", None);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let talks = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        listener.incoming().for_each(|stream| drop(stream.map(|mut stream| stream.write_all(b"220 mail ready\r\n"))))
    });
    let error = runtime.block_on(network.handshake("localhost", talks)).unwrap_err();
    assert!(matches!(error.kind(), HttpErrorKind::Tls), "{error}");
    let _ = plain;
}

#[test]
fn a_proxy_is_asked_for_a_tunnel_with_its_credentials() {
    let server = tls_server();
    let (port, told) = proxy_server("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n", Some(server.port));
    let proxy = Proxy::new(format!("http://127.0.0.1:{port}")).with_credentials("jane", Password::from("hunter2"));
    let (runtime, network) = probe(TrustAnchors::Only(vec![server.root]), ProxySetting::Through(proxy));
    assert_eq!(network.proxy("localhost"), Some(format!("127.0.0.1:{port}")));
    assert_eq!([network.proxy("127.0.0.1"), network.proxy("[::1]")], [None, None], "as the client goes there");
    let seen = runtime.block_on(network.handshake("localhost", 443)).unwrap();
    assert_eq!(seen.certificate, Some(server.leaf));
    let head = told.recv().unwrap();
    assert!(
        head.starts_with("CONNECT localhost:443 HTTP/1.1\r\n") && head.contains("Proxy-Authorization: Basic amFuZTpodW50ZXIy\r\n"),
        "{head}"
    );
    assert!(!format!("{network:?}").contains("hunter2"));
}

#[test]
fn a_proxy_that_refuses_is_told_from_one_that_is_away() {
    for (answer, words) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "wants credentials"),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "does not connect to localhost:443; it says `HTTP/1.1 403 Forbidden`"),
    ] {
        let (port, _told) = proxy_server(answer, None);
        let proxy = ProxySetting::Through(Proxy::new(format!("http://127.0.0.1:{port}")));
        let (runtime, network) = probe(TrustAnchors::Only(Vec::new()), proxy);
        assert!(runtime.block_on(network.reach_proxy("localhost")).is_ok());
        let error = runtime.block_on(network.handshake("localhost", 443)).unwrap_err();
        assert!(error.kind() == HttpErrorKind::Proxy && error.to_string().contains(words), "{error}");
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (runtime, network) = probe(TrustAnchors::Only(Vec::new()), ProxySetting::Through(Proxy::new(format!("http://127.0.0.1:{free}"))));
    assert_eq!(runtime.block_on(network.reach_proxy("localhost")).unwrap_err().kind(), HttpErrorKind::Proxy);
    let socks = ProxySetting::Through(Proxy::new("socks5h://127.0.0.1:1080"));
    let (runtime, network) = probe(TrustAnchors::Only(Vec::new()), socks);
    assert_eq!(runtime.block_on(network.handshake("localhost", 443)).unwrap_err().kind(), HttpErrorKind::Request);
    let runtime: Arc<dyn Runtime> = Arc::new(StdRuntime::with_threads(1, 8).unwrap());
    let wrong = ProxySetting::Through(Proxy::new("proxy.contoso.example"));
    let error = SystemNetwork::new(runtime, &TrustAnchors::Only(Vec::new()), &wrong, Duration::from_secs(1)).unwrap_err();
    assert!(error.contains("absolute URI with scheme"), "{error}");
}
