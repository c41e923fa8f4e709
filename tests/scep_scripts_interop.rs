//! Other people's SCEP clients, each driven by its script, against the `scep_service` example, with an RSA CA and with an EC CA behind an
//! RSA RA. A script succeeds only when its client got a certificate for its key that OpenSSL verifies up to the CA; then the
//! certificate is held against the CRL and read by pkilint.

#![allow(clippy::unwrap_used, clippy::panic, reason = "support functions of tests")]
#![cfg(all(feature = "scep", feature = "ring", feature = "aws-lc-rs"))]

mod support;

#[path = "support/scep_example.rs"]
mod scep_example;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use scep_example::{CHALLENGE, Server};

const CAS: [&str; 2] = ["rsa", "ec"];

/// What the scripts need.
struct Scripts {
    folder: PathBuf,
    python: PathBuf,
    openssl: PathBuf,
    out: tempfile::TempDir,
}

impl Scripts {
    /// `None` (after saying so) when something is missing.
    fn new(client: &str) -> Option<Self> {
        let found = client.starts_with('/').then(|| Path::new(client).is_file());
        match found {
            Some(true) => {}
            Some(false) => {
                support::skip(client);
                return None;
            }
            None => drop(support::tool(client)?),
        }
        support::tool("curl")?;
        Some(Self {
            folder: support::scep_clients()?,
            python: support::python_cryptography()?,
            openssl: support::tool("openssl")?,
            out: support::scratch(),
        })
    }

    /// Runs a script into a folder of that name below `out`.
    fn run(&self, server: &Server, script: &str, run: &str, challenge: &str, variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new("bash");
        command.arg(self.folder.join(script)).args([&server.url, challenge]).arg(self.folder_of(run));
        command.env("PYTHON", &self.python).env("TRUST", server.file("ca.pem")).envs(variables.iter().copied());
        support::try_run(&mut command)
    }

    fn folder_of(&self, run: &str) -> PathBuf {
        self.out.path().join(run)
    }

    /// Runs a script, which must succeed, and looks at the certificate.
    fn enrol(&self, server: &Server, script: &str, run: &str, challenge: &str, variables: &[(&str, &str)]) {
        let output = self.run(server, script, run, challenge, variables);
        let logs = || all_logs(&self.folder_of(run));
        assert!(output.status.success(), "{script} {run} {variables:?}: {}{}", text(&output), logs());
        let certificate = self.folder_of(run).join("cert.pem");
        let mut verify = Command::new(&self.openssl);
        verify.args(["verify", "-crl_check", "-x509_strict", "-CRLfile"]).arg(server.file("crl.pem"));
        support::run(verify.arg("-CAfile").arg(server.file("ca.pem")).arg(&certificate));
        if let Some(linter) = support::lint_pkix_cert() {
            assert_eq!(lint(&linter, &certificate), Vec::<String>::new(), "{script} {run}");
        }
    }

    fn serial(&self, run: &str) -> String {
        let certificate = self.folder_of(run).join("cert.pem");
        text(&support::run(Command::new(&self.openssl).args(["x509", "-noout", "-serial", "-in"]).arg(certificate)))
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// What the client wrote, for whoever reads a failure.
fn all_logs(folder: &Path) -> String {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let logs = files.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.map(|path| format!("\n--- {}\n{}", path.display(), String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()))).collect()
}

/// The codes of pkilint's errors. One is known: it does not know the URI in which strong mapping writes a SID (tag:microsoft.com).
fn lint(linter: &Path, certificate: &Path) -> Vec<String> {
    let output = support::try_run(Command::new(linter).args(["lint", "--severity", "ERROR", "--format", "JSON"]).arg(certificate));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output)));
    let mut errors = Vec::new();
    for result in report["results"].as_array().unwrap() {
        let is_san = result["node_path"].as_str().unwrap().contains("subjectAltName");
        for finding in result["finding_descriptions"].as_array().unwrap() {
            let known = is_san && finding["message"].as_str().is_some_and(|message| message.contains("tag:microsoft.com,2022-09-14:sid:"));
            if !known {
                errors.push(finding["code"].as_str().unwrap().to_owned());
            }
        }
    }
    errors
}

#[test]
fn pkilint_finds_errors_where_there_are_some() {
    let (Some(linter), Some(openssl)) = (support::lint_pkix_cert(), support::tool("openssl")) else { return };
    let dir = support::scratch();
    let request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/", "-days", "1", "-keyout", "key.pem", "-out", "cert.pem"];
    support::run(Command::new(openssl).current_dir(dir.path()).args(request));
    assert!(lint(&linter, &dir.path().join("cert.pem")).iter().any(|code| code == "pkix.name_empty"));
}

#[test]
fn the_ca_and_its_ra_pass_pkilint() {
    let (Some(linter), Some(openssl)) = (support::lint_pkix_cert(), support::tool("openssl")) else { return };
    for ca in CAS {
        let server = Server::start(ca, &["--ra"]);
        assert_eq!(lint(&linter, &server.file("ca.pem")), Vec::<String>::new(), "{ca}");
        let (head, body) = server.raw("GET /scep?operation=GetCACert HTTP/1.0");
        assert!(head.contains("application/x-x509-ca-ra-cert"), "{head}");
        let dir = support::scratch();
        std::fs::write(dir.path().join("all.p7b"), body).unwrap();
        let mut print = Command::new(&openssl);
        let all = support::run(print.current_dir(dir.path()).args(["pkcs7", "-inform", "DER", "-in", "all.p7b", "-print_certs"])).stdout;
        let certificates = String::from_utf8(all).unwrap();
        let certificates: Vec<&str> =
            certificates.split_inclusive("-----END CERTIFICATE-----\n").filter(|part| part.contains("BEGIN")).collect();
        assert_eq!(certificates.len(), 2, "RA and CA");
        for certificate in certificates {
            std::fs::write(dir.path().join("one.pem"), &certificate[certificate.find("-----BEGIN").unwrap()..]).unwrap();
            assert_eq!(lint(&linter, &dir.path().join("one.pem")), Vec::<String>::new(), "{ca}");
        }
    }
}

#[test]
fn our_strict_client_enrols_in_every_variation() {
    let Some(scripts) = Scripts::new("bash") else { return };
    const VARIATIONS: [&str; 9] = [
        "",
        "--get",
        "--get --raw-plus",
        "--cipher aes192",
        "--cipher aes256",
        "--digest sha384",
        "--digest sha512",
        "--get --cipher aes256 --digest sha512",
        "--pss",
    ];
    for ca in CAS {
        let server = Server::start(ca, &[]);
        for options in VARIATIONS {
            scripts.enrol(&server, "pyraw.sh", &format!("{ca}{options}").replace(' ', ""), CHALLENGE, &[("PYOPTS", options)]);
        }
        assert_eq!(server.log("admin.jsonl").matches("\"id\":4000").count(), VARIATIONS.len());
        let refused = scripts.run(&server, "pyraw.sh", "wrong", "not-the-challenge", &[]);
        assert!(!refused.status.success(), "{}", text(&refused));
    }
}

#[test]
fn triple_des_and_sha_1_are_refused_unless_asked_for() {
    let Some(scripts) = Scripts::new("bash") else { return };
    const OLD: [&str; 3] = ["--cipher des3", "--digest sha1", "--get --cipher des3 --digest sha1"];
    for ca in CAS {
        let (modern, legacy) = (Server::start(ca, &[]), Server::start(ca, &["--legacy"]));
        for options in OLD {
            let run = format!("{ca}{options}").replace(' ', "");
            let refused = scripts.run(&modern, "pyraw.sh", &run, CHALLENGE, &[("PYOPTS", options)]);
            assert!(!refused.status.success() && text(&refused).contains("failInfo 0"), "{options}: {}", text(&refused));
            scripts.enrol(&legacy, "pyraw.sh", &run, CHALLENGE, &[("PYOPTS", options)]);
        }
        for options in ["--cipher des", "--digest md5"] {
            let run = format!("{ca}{options}").replace(' ', "");
            let refused = scripts.run(&legacy, "pyraw.sh", &run, CHALLENGE, &[("PYOPTS", options)]);
            assert!(!refused.status.success(), "{options}: {}", text(&refused));
        }
    }
}

#[test]
fn certmonger_enrols() {
    let Some(scripts) = Scripts::new("/usr/lib/certmonger/scep-submit") else { return };
    for ca in CAS {
        let server = Server::start(ca, &[]);
        scripts.enrol(&server, "certmonger.sh", ca, CHALLENGE, &[]);
        scripts.enrol(&server, "certmonger.sh", &format!("{ca}-strong"), CHALLENGE, &[("CIPHER", "aes256"), ("DIGEST", "sha512")]);
        let refused = scripts.run(&server, "certmonger.sh", "refused", "not-the-challenge", &[]);
        assert!(!refused.status.success(), "{}", text(&refused));
    }
}

#[test]
fn strongswan_enrols_with_each_digest() {
    let Some(scripts) = Scripts::new("pki") else { return };
    for ca in CAS {
        let server = Server::start(ca, &[]);
        for digest in ["sha256", "sha384", "sha512"] {
            scripts.enrol(&server, "strongswan.sh", &format!("{ca}-{digest}"), CHALLENGE, &[("DIGEST", digest)]);
        }
        let legacy = Server::start(ca, &["--legacy"]);
        scripts.enrol(&legacy, "strongswan.sh", &format!("{ca}-old"), CHALLENGE, &[("CIPHER", "des3"), ("DIGEST", "sha1")]);
    }
}

/// The old certificate signs, no challenge is given, and the certificate is another one for the same name.
#[test]
fn strongswan_renews_with_its_old_certificate_and_without_a_challenge() {
    let Some(scripts) = Scripts::new("pki") else { return };
    for ca in CAS {
        let server = Server::start(ca, &["--renewal-without-challenge"]);
        let (first, renewed, name) = (format!("{ca}-first"), format!("{ca}-renewed"), ("DN", "C=US, O=lab, CN=renewing"));
        // The script's SAN follows CN.
        scripts.enrol(&server, "strongswan.sh", &first, CHALLENGE, &[name, ("CN", "renewing")]);
        let old = scripts.folder_of(&first);
        scripts.enrol(&server, "strongswan.sh", &renewed, "", &[name, ("CN", "renewing"), ("OLD", old.to_str().unwrap())]);
        assert_ne!(scripts.serial(&first), scripts.serial(&renewed));
        // Without the old certificate the challenge is needed.
        let refused = scripts.run(&server, "strongswan.sh", "refused", "", &[name]);
        assert!(!refused.status.success(), "{}", text(&refused));
    }
}

/// GetCertInitial: strongSwan asks again each second, for 20 s.
#[test]
fn strongswan_polls_a_pending_request_until_it_is_issued() {
    let Some(scripts) = Scripts::new("pki") else { return };
    for ca in CAS {
        let server = Server::start(ca, &["--pending", "3"]);
        let started = std::time::Instant::now();
        scripts.enrol(&server, "strongswan.sh", ca, CHALLENGE, &[]);
        assert!(started.elapsed() >= std::time::Duration::from_secs(3), "it was not held");
        let log = std::fs::read_to_string(scripts.folder_of(ca).join("scep.log")).unwrap();
        assert!(log.to_lowercase().contains("pending"), "{log}");
    }
}

/// scepclient 2.1.0 writes single DES and SHA-1 whatever the server lists, and reads AES-128 and SHA-256. It panics on an EC CA.
#[test]
fn scepclient_enrols_in_the_legacy_mode_and_is_told_badalg_otherwise() {
    let Some(scripts) = Scripts::new("scepclient") else { return };
    let modern = Server::start("rsa", &[]);
    let refused = scripts.run(&modern, "scepclient.sh", "modern", CHALLENGE, &[]);
    assert!(!refused.status.success() && text(&refused).contains("badAlg"), "{}", text(&refused));
    for (run, options) in [("ca", &["--legacy"][..]), ("ra", &["--legacy", "--ra"])] {
        let server = Server::start("rsa", options);
        scripts.enrol(&server, "scepclient.sh", run, CHALLENGE, &[]);
    }
}
