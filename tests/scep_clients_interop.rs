//! Real SCEP clients against the `scep_service` example, with an RSA and with an EC CA.

#![allow(clippy::unwrap_used, clippy::panic, reason = "support functions of tests")]
#![cfg(all(feature = "scep-http", feature = "ring", feature = "aws-lc-rs"))]

#[path = "support/scep_example.rs"]
mod scep_example;
mod support;

use std::process::Command;

use scep_example::{CHALLENGE, Server};

/// The file is that of the certificate that signs replies and to which requests are encrypted: the RA's, or the CA's own.
fn strongswan(ca: &str, options: &[&str], served_by: &str) {
    let (Some(pki), Some(openssl)) = (support::tool("pki"), support::tool("openssl")) else { return };
    let server = Server::start(ca, options);
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
            served_by,
            "--cacert-sig",
            served_by,
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
fn strongswan_enrols_with_an_rsa_ca_that_serves_scep_itself() {
    strongswan("rsa", &[], "ca.crt");
}

#[test]
fn strongswan_enrols_with_an_rsa_ca_behind_an_rsa_ra() {
    strongswan("rsa", &["--ra"], "ra.crt");
}

#[test]
fn strongswan_enrols_with_an_ec_ca_behind_an_rsa_ra() {
    strongswan("ec", &[], "ra.crt");
}
