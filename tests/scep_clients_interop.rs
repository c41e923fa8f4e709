//! Real SCEP clients against the `scep_service` example, with an RSA and with an EC CA.

#![allow(clippy::unwrap_used, clippy::panic, reason = "support functions of tests")]
#![cfg(all(feature = "scep", feature = "ring", feature = "aws-lc-rs"))]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const CHALLENGE: &str = "lab-challenge-1";

/// The example, running; stopped on drop.
struct Server {
    child: Child,
    url: String,
    dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(ca: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(example())
            .args(["--listen", "127.0.0.1:0", "--challenge", CHALLENGE, "--ca", ca, "--dir"])
            .arg(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("ready ").unwrap_or_else(|| panic!("not ready: {line:?}")).to_owned();
        Self { child, url, dir }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap()
    }

    /// One request over HTTP/1.0 without a Host header, as old devices send it; gives head and body.
    fn raw(&self, request_line: &str) -> (String, Vec<u8>) {
        let address = self.url.trim_start_matches("http://").split('/').next().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "{request_line}\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        (String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase(), answer[end + 4..].to_vec())
    }
}

/// The example's program; cargo builds examples for `cargo test`, and it is built here when it is not there yet.
fn example() -> PathBuf {
    // target/debug/deps/this-test
    let target = std::env::current_exe().unwrap().parent().and_then(Path::parent).unwrap().to_path_buf();
    let program = target.join("examples").join(format!("scep_service{}", std::env::consts::EXE_SUFFIX));
    if !program.is_file() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let build = Command::new(cargo)
            .args(["build", "--example", "scep_service", "--manifest-path"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
            .arg("--target-dir")
            .arg(target.parent().unwrap())
            .status()
            .unwrap();
        assert!(build.success(), "the example does not build");
    }
    program
}

fn strongswan(ca: &str) {
    let (Some(pki), Some(openssl)) = (support::tool("pki"), support::tool("openssl")) else { return };
    let server = Server::start(ca);
    let dir = tempfile::tempdir().unwrap();
    let run = |command: &mut Command| support::run(command.current_dir(dir.path())).stdout;
    let (url, out) = (server.url.as_str(), dir.path());
    let fetched = support::try_run(Command::new(&pki).current_dir(out).args([
        "--scepca",
        "--url",
        url,
        "--caout",
        "ca.crt",
        "--raout",
        "ra.crt",
        "--outform",
        "pem",
        "--force",
    ]));
    if String::from_utf8_lossy(&fetched.stderr).contains("no capable fetcher") {
        support::skip("the curl plugin of strongSwan");
        return;
    }
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    run(Command::new(&openssl).args(["genrsa", "-out", "key.pem", "2048"]));
    for (digest, challenge, accepted) in [("sha256", CHALLENGE, true), ("sha512", CHALLENGE, true), ("sha256", "wrong", false)] {
        let dn = format!("C=US, O=lab, CN=strongswan {digest}");
        let enrolled = support::try_run(Command::new(&pki).current_dir(out).args([
            "--scep",
            "--url",
            url,
            "--in",
            "key.pem",
            "--dn",
            &dn,
            "--san",
            "device.example.org",
            "--password",
            challenge,
            "--cacert-enc",
            "ra.crt",
            "--cacert-sig",
            "ra.crt",
            "--cacert",
            "ca.crt",
            "--cipher",
            "aes",
            "--digest",
            digest,
            "--interval",
            "1",
            "--maxpolltime",
            "20",
            "--outform",
            "pem",
        ]));
        let said = String::from_utf8_lossy(&enrolled.stderr).into_owned();
        assert_eq!(enrolled.status.success(), accepted, "{ca} {digest} {challenge}: {said}");
        if accepted {
            std::fs::write(out.join("cert.pem"), &enrolled.stdout).unwrap();
            run(Command::new(&openssl).args(["verify", "-CAfile"]).arg(server.file("ca.pem")).arg("cert.pem"));
            run(Command::new(&openssl)
                .args(["verify", "-crl_check", "-CRLfile"])
                .arg(server.file("crl.pem"))
                .arg("-CAfile")
                .arg(server.file("ca.pem"))
                .arg("cert.pem"));
            let of_certificate = run(Command::new(&openssl).args(["x509", "-in", "cert.pem", "-noout", "-pubkey"]));
            assert_eq!(of_certificate, run(Command::new(&openssl).args(["pkey", "-in", "key.pem", "-pubout"])));
        }
    }
    let admin = server.log("admin.jsonl");
    assert_eq!(admin.lines().count(), 3, "{admin}");
    assert_eq!((admin.matches("\"id\":4000").count(), admin.matches("\"id\":4001").count()), (2, 1), "{admin}");
    assert!(!admin.contains(CHALLENGE) && !server.log("operational.jsonl").contains(CHALLENGE));
}

#[test]
fn strongswan_enrols_with_an_rsa_ca() {
    strongswan("rsa");
}

#[test]
fn strongswan_enrols_with_an_ec_ca_behind_an_rsa_ra() {
    strongswan("ec");
}

#[test]
fn http_1_0_without_host_and_any_path_are_served_with_exact_media_types() {
    let server = Server::start("ec");
    let (head, body) = server.raw("GET /certsrv/mscep/mscep.dll/pkiclient.exe?operation=GetCACaps&message=default HTTP/1.0");
    assert!(head.contains(" 200 ") && head.lines().any(|line| line == "content-type: text/plain"), "{head}");
    assert!(String::from_utf8(body).unwrap().lines().any(|word| word == "POSTPKIOperation"));
    let (head, _) = server.raw("GET /?operation=GetCACert HTTP/1.0");
    assert!(head.lines().any(|line| line == "content-type: application/x-x509-ca-ra-cert"), "{head}");
    let (head, _) = server.raw("PUT /scep?operation=GetCACert HTTP/1.0");
    assert!(head.contains(" 405 "), "{head}");
}
