//! The `scep_service` example over real sockets: HTTP/1.0, keep-alive, odd content types, raw plus signs, TLS, its command line.

#![allow(clippy::unwrap_used, clippy::panic, reason = "support functions of tests")]
#![cfg(all(feature = "scep-http", feature = "ring", feature = "aws-lc-rs"))]

#[path = "support/scep_example.rs"]
mod scep_example;
#[path = "support/scep_lab.rs"]
mod scep_lab;
mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::scep::{PkiStatus, ScepResponse};
use intune_connector::message::signed::LegacyDigests;
use scep_example::example::example;
use scep_example::{CHALLENGE, Server};
use scep_lab::{Client, provider, shared_key};

fn certificate(server: &Server, name: &str) -> Certificate {
    let der = support::base64(&server.log(name).lines().filter(|line| !line.starts_with("-----")).collect::<Vec<_>>().join(""));
    Certificate::from_der(&der, &Limits::default()).unwrap()
}

/// One answer of a connection that may stay open.
fn answer(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "closed after {:?}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("the length is always given");
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    (head, body)
}

fn client(number: u32) -> Client {
    let text = format!("CN=device-{number}");
    Client::with_challenge(shared_key(2), &text, &format!("{text}-{}", std::process::id()), CHALLENGE)
}

#[test]
fn http_1_0_without_host_and_any_path_are_served_with_exact_media_types() {
    let server = Server::start("ec", &[]);
    let (head, body) = server.raw("GET /certsrv/mscep/mscep.dll/pkiclient.exe?operation=GetCACaps&message=default HTTP/1.0");
    assert!(head.contains(" 200 ") && head.lines().any(|line| line == "content-type: text/plain"), "{head}");
    assert!(String::from_utf8(body).unwrap().lines().any(|word| word == "POSTPKIOperation"));
    let (head, _) = server.raw("GET /?operation=GetCACert HTTP/1.0");
    assert!(head.lines().any(|line| line == "content-type: application/x-x509-ca-ra-cert"), "{head}");
    for method in ["PUT", "HEAD"] {
        let (head, body) = server.raw(&format!("{method} /scep?operation=GetCACert HTTP/1.0"));
        assert!(head.contains(" 405 ") && head.contains("allow: get, post"), "{head}");
        assert_eq!(body.is_empty(), method == "HEAD");
    }
}

#[test]
fn an_rsa_ca_without_ra_answers_with_its_certificate_alone() {
    let server = Server::start("rsa", &[]);
    let (head, body) = server.raw("GET /scep?operation=GetCACert HTTP/1.0");
    assert!(head.lines().any(|line| line == "content-type: application/x-x509-ca-cert"), "{head}");
    assert_eq!(body, certificate(&server, "ca.pem").der().as_ref());
    assert!(!server.file("ra.pem").exists());
}

#[test]
fn one_connection_enrols_several_clients_whatever_they_call_the_content() {
    let server = Server::start("rsa", &["--ra"]);
    let (ra, mut stream) = (certificate(&server, "ra.pem"), server.connect());
    let content_types = ["", "Content-Type: application/x-www-form-urlencoded\r\n", "Content-Type: application/x-pki-message;a=b\r\n"];
    for (number, content_type) in (0..).zip(content_types) {
        let client = client(number);
        let (message, to) = client.message(&ra);
        write!(stream, "POST /scep/pkiclient.exe?operation=PKIOperation HTTP/1.1\r\nHost: x\r\n{content_type}").unwrap();
        write!(stream, "Content-Length: {}\r\n\r\n", message.len()).unwrap();
        stream.write_all(&message).unwrap();
        let (head, body) = answer(&mut stream);
        assert!(head.starts_with("http/1.1 200") && head.contains("content-type: application/x-pki-message\r\n"), "{head}");
        let reply = ScepResponse::parse(&body, &to, &ra, LegacyDigests::Refuse, provider(), &Limits::default()).unwrap();
        assert_eq!(reply.status(), PkiStatus::Success);
        let issued = client.certificate(&reply);
        issued.verify_signed_by(provider(), certificate(&server, "ca.pem").spki()).unwrap();
    }
    assert_eq!(server.log("admin.jsonl").matches("\"id\":4000").count(), 3);
}

#[test]
fn a_get_with_raw_plus_signs_is_read() {
    let server = Server::start("rsa", &[]);
    let ca = certificate(&server, "ca.pem");
    let client = client(7);
    let (text, to) = std::iter::repeat_with(|| client.message(&ca))
        .map(|(message, to)| (support::to_base64(&message), to))
        .find(|(text, _)| text.contains('+'))
        .unwrap();
    let (head, body) = server.raw(&format!("GET /scep?operation=PKIOperation&message={text} HTTP/1.0"));
    assert!(head.contains(" 200 "), "{head}");
    let reply = ScepResponse::parse(&body, &to, &ca, LegacyDigests::Refuse, provider(), &Limits::default()).unwrap();
    assert_eq!(reply.status(), PkiStatus::Success);
}

#[test]
fn an_oversized_body_is_refused_before_it_is_sent() {
    let server = Server::start("rsa", &[]);
    let mut stream = server.connect();
    stream.write_all(b"POST /scep?operation=PKIOperation HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n").unwrap();
    let (head, _) = answer(&mut stream);
    assert!(head.starts_with("http/1.1 413") && head.contains("connection: close"), "{head}");
}

#[test]
fn https_is_served_with_a_certificate_of_the_examples_ca_and_asks_for_none() {
    let (Some(openssl), Some(curl)) = (support::tool("openssl"), support::tool("curl")) else { return };
    let server = Server::start("ec", &["--tls"]);
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);
    let caps = support::run(
        Command::new(curl)
            .args(["-sS", "--max-time", "20", "--cacert"])
            .arg(server.file("ca.pem"))
            .arg(format!("{}?operation=GetCACaps", server.url)),
    );
    assert!(String::from_utf8(caps.stdout).unwrap().contains("SCEPStandard"));
    for version in ["-tls1_2", "-tls1_3"] {
        let handshake = support::run(
            Command::new(&openssl)
                .args(["s_client", version, "-verify_return_error", "-verify_ip", "127.0.0.1", "-connect", server.address(), "-CAfile"])
                .arg(server.file("ca.pem"))
                .stdin(Stdio::null()),
        );
        let said = String::from_utf8_lossy(&handshake.stdout).into_owned();
        assert!(said.contains("Verify return code: 0 (ok)") && said.contains("No client certificate CA names sent"), "{said}");
    }
}

#[test]
fn https_is_served_with_a_certificate_from_files() {
    let (Some(openssl), Some(curl)) = (support::tool("openssl"), support::tool("curl")) else { return };
    let dir = support::scratch();
    support::run(
        Command::new(openssl).current_dir(dir.path()).args(
            "req -x509 -newkey rsa:2048 -nodes -subj /CN=lab -addext subjectAltName=IP:127.0.0.1 -days 2 -keyout key.pem -out cert.pem"
                .split(' '),
        ),
    );
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let server = Server::start("rsa", &["--tls-cert", &path("cert.pem"), "--tls-key", &path("key.pem")]);
    let url = format!("{}?operation=GetCACert", server.url);
    let fetched = support::run(Command::new(curl).args(["-sS", "--max-time", "20", "--cacert", &path("cert.pem"), &url]));
    assert_eq!(fetched.stdout, certificate(&server, "ca.pem").der().as_ref());
}

#[test]
fn the_command_line_says_what_is_wrong_with_it() {
    let dir = support::scratch();
    let run = |arguments: &str| {
        let output = Command::new(example("scep_service")).args(arguments.split_whitespace()).current_dir(dir.path()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let (code, out, err) = run("--help");
    assert!(code == 0 && out.starts_with("usage: scep_service") && err.is_empty(), "{out}{err}");
    let sound = "--listen 127.0.0.1:0 --challenge x --dir d --ca rsa";
    for (arguments, wrong) in [
        ("", "--ca is missing"),
        ("--listen 127.0.0.1:0 --challenge x --ca rsa", "--dir is missing"),
        ("--listen 127.0.0.1:0 --dir d --ca rsa", "--challenge is missing"),
        ("--ca dsa", "--ca is rsa or ec, not dsa"),
        ("--listen", "--listen needs a value"),
        (&format!("{sound} --pending soon"), "--pending needs a number of seconds"),
        (&format!("{sound} --tls-cert c.pem"), "--tls-cert needs --tls-key"),
        (&format!("{sound} --force"), "--force is no option"),
    ] {
        let (code, out, err) = run(arguments);
        assert!(code == 2 && out.is_empty() && err.contains(wrong) && err.contains("usage: scep_service"), "{arguments}: {code} {err}");
    }
    let (code, _, err) = run("--listen nowhere --challenge x --dir d --ca rsa");
    assert!(code == 1 && err.contains("--listen nowhere"), "{code} {err}");
    let (code, _, err) = run(&format!("{sound} --tls-cert none.pem --tls-key none.pem"));
    assert!(code == 1 && err.contains("none.pem"), "{code} {err}");
}
