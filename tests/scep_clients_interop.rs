//! Real SCEP clients against the `scep_service` example, with an RSA and with an EC CA.

#![allow(clippy::unwrap_used, clippy::panic, reason = "support functions of tests")]
#![cfg(all(feature = "scep", feature = "ring", feature = "aws-lc-rs"))]

mod support;

#[path = "support/scep_example.rs"]
mod scep_example;

use std::process::Command;

use scep_example::{CHALLENGE, Server};

fn strongswan(ca: &str) {
    let (Some(pki), Some(openssl)) = (support::tool("pki"), support::tool("openssl")) else { return };
    let server = Server::start(ca, &[]);
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
    let server = Server::start("ec", &[]);
    let (head, body) = server.raw("GET /certsrv/mscep/mscep.dll/pkiclient.exe?operation=GetCACaps&message=default HTTP/1.0");
    assert!(head.contains(" 200 ") && head.lines().any(|line| line == "content-type: text/plain"), "{head}");
    assert!(String::from_utf8(body).unwrap().lines().any(|word| word == "POSTPKIOperation"));
    let (head, _) = server.raw("GET /?operation=GetCACert HTTP/1.0");
    assert!(head.lines().any(|line| line == "content-type: application/x-x509-ca-ra-cert"), "{head}");
    let (head, _) = server.raw("PUT /scep?operation=GetCACert HTTP/1.0");
    assert!(head.contains(" 405 "), "{head}");
}
