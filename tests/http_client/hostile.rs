//! Servers, and an environment, that mean harm.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpListener};
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use intune_connector::adapters::http::{
    HttpClient, HttpErrorKind, HttpMethod, HttpRequest, HttpTransport as _, Proxy, ProxySetting, TrustAnchors,
};
use intune_connector::ports::PortError;
use intune_connector::retry::Effect;
use intune_connector::secret::SecretBytes;
use intune_connector::terms::SubjectAltName;

use tokio_rustls::rustls::version::{TLS12, TLS13};

use super::{Pki, SHORT, builder, failure, get, read_request, says, send, server, tls};

fn here() -> [SubjectAltName; 1] {
    [SubjectAltName::Ip(IpAddr::from([127, 0, 0, 1]))]
}

/// What the library underneath adds of its own: the length, the host, and an `accept` that takes anything.
#[test]
fn nothing_but_host_length_and_accept_is_added_to_a_request() {
    let seen = Arc::new(Mutex::new(String::new()));
    let keep = Arc::clone(&seen);
    let address = server(move |mut stream| {
        *keep.lock().unwrap() = read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 204 No\r\n\r\n");
    });
    let request = HttpRequest::new(HttpMethod::Post, format!("http://{address}/")).with_body("text/plain", SecretBytes::copy_from(b"x"));
    send(&builder().build().unwrap(), request).unwrap();
    let seen = seen.lock().unwrap().to_ascii_lowercase();
    let mut names: Vec<&str> = seen.lines().skip(1).filter_map(|line| line.split_once(": ")).map(|(name, _)| name).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "content-length", "content-type", "host"], "{seen}");
}

/// The handshake was good and the request was read: whoever repeats it may do a thing twice.
#[test]
fn tls_that_breaks_after_the_request_may_have_acted() {
    let pki = Pki::new();
    let client = builder().trust(TrustAnchors::Only(vec![pki.root()])).build().unwrap();
    let junk: [&[u8]; 3] = [b"\x17\x03\x03\x00\x05hello", b"HTTP/1.1 200 OK\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x28"];
    for bytes in junk {
        let config = pki.config(&here(), false);
        let error = failure(
            &client,
            tls(server(move |stream| {
                let mut stream = super::accepted(&config, stream);
                read_request(&mut stream);
                let _ = stream.sock.write_all(bytes);
            })),
        );
        assert_eq!(error.kind(), HttpErrorKind::Closed, "{error}");
        assert_eq!(PortError::from(error).effect(), Effect::Unknown);
    }
}

/// No version is pinned.
#[test]
fn servers_of_tls_1_2_alone_and_of_1_3_alone_are_served() {
    let pki = Pki::new();
    let client = builder().trust(TrustAnchors::Only(vec![pki.root()])).build().unwrap();
    for version in [&TLS12, &TLS13] {
        let config = pki.config_of(&[version], &here(), false);
        let (tell, told) = mpsc::channel();
        let tell = Mutex::new(tell);
        let address = server(move |stream| {
            let mut stream = super::accepted(&config, stream);
            read_request(&mut stream);
            tell.lock().unwrap().send(stream.conn.protocol_version()).unwrap();
            let _ = stream.write_all(b"HTTP/1.1 204 No\r\nConnection: close\r\n\r\n");
        });
        assert_eq!(send(&client, tls(address)).unwrap().status, 204);
        assert_eq!(told.recv().unwrap(), Some(version.version));
    }
}

/// Somebody between who cuts the connection cannot pass half an answer off as a whole one.
#[test]
fn an_answer_over_tls_that_ends_without_goodbye_is_none() {
    let pki = Pki::new();
    let client = builder().trust(TrustAnchors::Only(vec![pki.root()])).build().unwrap();
    let config = pki.config(&here(), false);
    let error = failure(
        &client,
        tls(server(move |stream| {
            let mut stream = super::accepted(&config, stream);
            read_request(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"value\":[]}");
            let _ = stream.flush();
        })),
    );
    assert_eq!(error.kind(), HttpErrorKind::Closed, "{error}");
}

#[test]
fn servers_of_tls_1_0_and_1_1_are_refused() {
    let client = builder().build().unwrap();
    for (name, bytes) in [
        ("TLS 1.0", hello(1, 0x13)),
        ("TLS 1.1", hello(2, 0x13)),
        ("SSL 3", hello(0, 0x0a)),
        ("protocol_version", b"\x15\x03\x01\x00\x02\x02\x46".to_vec()),
    ] {
        let error = failure(
            &client,
            tls(server(move |mut stream| {
                let mut read = [0; 4096];
                let _ = stream.read(&mut read);
                let _ = stream.write_all(&bytes);
                let _ = stream.read(&mut read);
            })),
        );
        assert_eq!(error.kind(), HttpErrorKind::Tls, "{name}: {error}");
        assert!(error.to_string().contains("TLS 1.2 at least"), "{name}: {error}");
    }
}

/// A ServerHello of version 3.`minor`, with the CBC suite of that number.
fn hello(minor: u8, suite: u8) -> Vec<u8> {
    let mut hello = vec![0x16, 3, minor, 0, 42, 2, 0, 0, 38, 3, minor];
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, suite, 0]);
    hello
}

#[test]
fn an_answer_that_trickles_ends_at_the_time_of_the_request() {
    let drip = |start: &'static [u8], drop: &'static [u8]| {
        server(move |mut stream| {
            read_request(&mut stream);
            let _ = stream.write_all(start);
            while stream.write_all(drop).is_ok() {
                thread::sleep(Duration::from_millis(5));
            }
        })
    };
    let client = builder().build().unwrap();
    for (start, drop) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"[..], &b"x"[..]),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
        // Interim answers without an end.
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
    ] {
        let error = failure(&client, get(drip(start, drop)).with_timeout(SHORT));
        assert_eq!(error.kind(), HttpErrorKind::Timeout, "{error}");
    }
}

#[test]
fn interim_answers_are_passed_over() {
    let address = says(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let answer = send(&builder().build().unwrap(), get(address)).unwrap();
    assert_eq!((answer.status, answer.body.secret_bytes(), answer.header("link")), (200, &b"ok"[..], None));
}

#[test]
fn headers_and_chunks_without_an_end_are_cut_off() {
    let endless = |start: &'static [u8], more: &'static [u8]| {
        server(move |mut stream| {
            read_request(&mut stream);
            let _ = stream.write_all(start);
            while stream.write_all(&more.repeat(1_000)).is_ok() {}
        })
    };
    let client = builder().build().unwrap();
    for (name, start, more, kind) in [
        ("a long header", &b"HTTP/1.1 200 OK\r\nX-Long: "[..], &b"xxxxxxxxxx"[..], HttpErrorKind::Closed),
        ("many headers", b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", HttpErrorKind::Closed),
        ("a long reason", b"HTTP/1.1 200 ", b"xxxxxxxxxx", HttpErrorKind::Closed),
        ("many chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", HttpErrorKind::TooLarge),
        ("a long extension", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"xxxxxxxxxx", HttpErrorKind::Closed),
        ("many trailers", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: b\r\n", HttpErrorKind::Closed),
        ("until it closes", b"HTTP/1.1 200 OK\r\n\r\n", b"xxxxxxxxxx", HttpErrorKind::TooLarge),
    ] {
        let error = failure(&client, get(endless(start, more)).with_max_answer(4096));
        assert_eq!(error.kind(), kind, "{name}: {error}");
    }
    let announced = get(says(b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nx")).with_max_answer(8);
    assert_eq!(failure(&client, announced).kind(), HttpErrorKind::Closed);
}

/// A server that answers twice at once would have its second answer taken for that of the next request.
#[test]
fn an_answer_that_was_not_asked_for_answers_no_later_request() {
    let address = server(|mut stream| {
        while read_request(&mut stream).starts_with("GET") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb");
        }
    });
    let client = builder().build().unwrap();
    for _ in 0..50 {
        assert_eq!(send(&client, get(address)).unwrap().body.secret_bytes(), b"a");
    }
}

/// Runs the test `child` of this program with these variables.
fn in_environment(variables: &[(&str, &str)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "hostile::child", "--ignored", "--nocapture"]);
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name);
    }
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{variables:?}: {text}");
}

/// Sends over TLS and plainly to this machine, and to a host that only a proxy could reach.
#[test]
#[ignore = "other tests run it, each in an environment of its own"]
fn child() {
    let pki = Pki::new();
    let trust = || TrustAnchors::Only(vec![pki.root()]);
    let client = HttpClient::builder().trust(trust()).build().unwrap();
    assert_eq!(send(&client, get(says(b"HTTP/1.1 204 No\r\n\r\n")).with_bearer("token")).unwrap().status, 204);
    assert_eq!(send(&client, tls(pki.server(&here(), false)).with_bearer("token")).unwrap().status, 200);
    let elsewhere = HttpRequest::new(HttpMethod::Get, "https://intune.invalid/").with_bearer("token");
    let error = failure(&client, elsewhere);
    assert!(matches!(error.kind(), HttpErrorKind::Dns | HttpErrorKind::Proxy), "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn no_variable_has_the_keys_of_tls_written_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    in_environment(&[("SSLKEYLOGFILE", file.to_str().unwrap())]);
    assert!(!file.exists());
}

/// A request in the clear is for this machine alone: with the token and the secret in it, a proxy must not see it.
#[test]
fn a_proxy_sees_nothing_of_a_request_to_this_machine() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    let proxy = server(move |mut stream| {
        keep.lock().unwrap().push(read_request(&mut stream));
        let _ = stream.write_all(b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n");
    });
    let url = format!("http://user:hunter2@{proxy}");
    for names in [["HTTP_PROXY", "HTTPS_PROXY"], ["http_proxy", "https_proxy"], ["ALL_PROXY", "ALL_PROXY"], ["all_proxy", "all_proxy"]] {
        in_environment(&names.map(|name| (name, url.as_str())));
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        // "user:hunter2"
        let asked: Vec<bool> =
            seen.iter().map(|text| text.starts_with("CONNECT intune.invalid:443 ") && text.contains("dXNlcjpodW50ZXIy")).collect();
        assert_eq!(asked, [true], "{names:?}: {seen:?}");
        assert!(!seen.concat().contains("token"), "{seen:?}");
    }
    in_environment(&[("HTTPS_PROXY", url.as_str()), ("NO_PROXY", ".invalid")]);
    assert!(seen.lock().unwrap().is_empty());

    let client = builder().proxy(ProxySetting::Through(Proxy::new(format!("http://{proxy}")))).build().unwrap();
    assert_eq!(send(&client, get(says(b"HTTP/1.1 204 No\r\n\r\n")).with_bearer("token")).unwrap().status, 204);
    let ipv6 = TcpListener::bind("[::1]:0").map(|listener| listener.local_addr().unwrap());
    if let Ok(closed) = ipv6 {
        assert_eq!(failure(&client, get(closed)).kind(), HttpErrorKind::Connect);
    }
    assert!(seen.lock().unwrap().is_empty(), "{seen:?}");
}

/// The last owner of the client may be a task of another runtime, with a call under way.
#[test]
fn a_client_ends_with_a_call_under_way_inside_another_runtime() {
    let address = server(|mut stream| {
        read_request(&mut stream);
        thread::sleep(Duration::from_secs(30));
    });
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    tokio.block_on(async {
        let client = Arc::new(builder().build().unwrap());
        let call = tokio::spawn({
            let client = Arc::clone(&client);
            async move { client.send(get(address)).await.map(|answer| answer.status) }
        });
        drop(client);
        tokio::task::yield_now().await;
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    });
}
