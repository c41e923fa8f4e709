//! The example `import_pfx` as a program, over HTTP against a small Graph with a token endpoint.

#![cfg(all(feature = "graph", feature = "ring", feature = "aws-lc-rs", feature = "legacy-ciphers"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/example.rs"]
mod example;
#[path = "support/graph_lab.rs"]
mod graph_lab;
#[path = "support/scan.rs"]
mod scan;

use std::process::{Command, Output};
use std::sync::Arc;

use graph_lab::{CLIENT_SECRET, Fault, GraphLab, TENANT, error, serve};
use intune_connector::adapters::http::HttpMethod;
use intune_connector::crypto::CryptoProvider;
use intune_connector::message::public_key::RsaPublicKey;
use intune_connector::terms::KeyAlgorithm;
use scan::{Marker, Report};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/connector/imported");
const PASSWORD: &str = "import-me";
/// Name of the file, and of the user whose mail address is in it.
const FILES: [(&str, &str); 5] =
    [("openssl-modern", "openssl"), ("openssl-legacy", "legacy"), ("openssl-ec", "ec"), ("nss", "nss"), ("keytool", "keytool")];

struct Bench {
    lab: Arc<GraphLab>,
    url: String,
    dir: tempfile::TempDir,
}

fn bench() -> Bench {
    let lab = GraphLab::new();
    let dir = tempfile::tempdir().unwrap();
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let key = provider.key_generation().unwrap().generate(KeyAlgorithm::Rsa2048).unwrap();
    let spki = provider.signing_keys().unwrap().load(&key).unwrap().public_key().to_vec();
    std::fs::write(dir.path().join("key.blob"), RsaPublicKey::from_spki(&spki).unwrap().to_cng_public_blob()).unwrap();
    std::fs::write(dir.path().join("secret"), format!("{CLIENT_SECRET}\n")).unwrap();
    let mut csv = "file,upn,password\r\n".to_owned();
    for (file, user) in FILES {
        lab.user(&format!("{user}@example.test"));
        csv += &format!("{file}.p12,{user}@example.test,{PASSWORD}\r\n");
    }
    std::fs::write(dir.path().join("list.csv"), csv).unwrap();
    let url = serve(lab.clone());
    Bench { lab, url, dir }
}

impl Bench {
    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn run(&self, more: &[&str]) -> (i32, String, String) {
        let (key, csv) = (self.path("key.blob"), self.path("list.csv"));
        let common = ["--public-key", &key, "--key-name", "k", "--provider-name", "p", "--folder", FOLDER, "--csv", &csv];
        let purpose = ["--purpose", "smimeSigning"];
        run(&[&common[..], &purpose[..], more].concat())
    }

    fn upload(&self, more: &[&str]) -> (i32, String, String) {
        let (secret, result) = (self.path("secret"), self.path("result.csv"));
        let online = [
            "--tenant",
            TENANT,
            "--client-id",
            "app",
            "--secret-file",
            &secret,
            "--authority",
            &self.url,
            "--graph",
            &self.url,
            "--plain-http-on-loopback",
            "--result",
            &result,
        ];
        self.run(&[&online[..], more].concat())
    }
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = Command::new(example::example("import_pfx")).args(arguments).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_folder_is_imported_and_a_second_run_has_nothing_to_do() {
    let bench = bench();
    bench.lab.then(HttpMethod::Post, Fault::Answer(error(429, "TooManyRequests", "no").with_header("x-ms-retry-after-ms", "20")));
    bench.lab.then(HttpMethod::Get, Fault::LoseRequest);
    let (code, out, err) = bench.upload(&[]);
    assert_eq!((code, out.trim()), (0, "5 rows: 5 created"), "{err}");
    assert!(err.contains("1 PFX files in") && err.contains("5/5 rows, 0 not done"), "{err}");
    assert_eq!(bench.lab.records().len(), 5);
    let mut report = Report::new(vec![Marker::new("client secret", CLIENT_SECRET), Marker::new("token", "token-1-of-the-tests")]);
    let result = std::fs::read_to_string(bench.path("result.csv")).unwrap();
    for (place, text) in [("stdout", &out), ("stderr", &err), ("result file", &result)] {
        report.bytes(place, text.as_bytes());
        assert!(!text.contains(PASSWORD), "{place}");
    }
    report.finish();
    assert_eq!(result.lines().count(), 6);

    let (code, out, _) = bench.upload(&[]);
    assert_eq!((code, out.trim()), (0, "5 rows: 5 done-before"));
    let other = bench.path("other.csv");
    let (code, out, _) = bench.run(&[
        "--token-env",
        "CARGO_PKG_NAME",
        "--graph",
        &bench.url,
        "--plain-http-on-loopback",
        "--result",
        &other,
        "--existing",
        "update",
    ]);
    assert_eq!((code, out.trim()), (0, "5 rows: 5 updated"), "the lab takes any token");
}

#[test]
fn a_row_that_is_not_done_makes_the_exit_code_1_and_says_why() {
    let bench = bench();
    let list = format!("file;upn;password\nwrong-password.p12;ec@example.test;{PASSWORD}\nnss.p12;nobody@example.test;{PASSWORD}\n");
    std::fs::write(bench.path("list.csv"), list).unwrap();
    let (code, out, err) = bench.upload(&[]);
    assert_eq!((code, out.trim()), (1, "2 rows: 2 refused"));
    assert!(err.contains("line 2 wrong-password.p12 ec@example.test: refused: the PFX does not open: the password is wrong"), "{err}");
    assert!(err.contains("no user with the UPN nobody@example.test") && err.contains("request-id request-"), "{err}");
}

#[test]
fn a_dry_run_needs_no_credential_and_sends_nothing() {
    let bench = bench();
    let (code, out, err) = bench.run(&["--dry-run"]);
    assert_eq!((code, out.trim()), (0, "5 rows: 5 checked"), "{err}");
    assert_eq!(bench.lab.seen().len(), 0);
}

#[test]
fn a_wrong_secret_stops_the_run_and_is_not_repeated() {
    let bench = bench();
    std::fs::write(bench.path("secret"), "a-wrong-client-secret").unwrap();
    let (code, out, err) = bench.upload(&["--concurrency", "1"]);
    assert_eq!((code, out.trim()), (1, "5 rows: 1 failed, 4 not-tried"), "{err}");
    assert!(!err.contains("a-wrong-client-secret") && bench.lab.seen().is_empty(), "{err}");
}

#[test]
fn what_cannot_be_begun_makes_the_exit_code_2() {
    let bench = bench();
    let (code, out, _) = run(&["--help"]);
    assert!(code == 0 && out.contains("--public-key FILE") && out.contains("Exit code"));
    for (arguments, word) in [
        (&["--frobnicate"][..], "unknown argument"),
        (&["--tenant", "t"], "--client-id"),
        (&["--token-env", "X"], "--result"),
        (&["--dry-run", "--purpose", "vpns"], "no such purpose"),
        (&["--tenant", "t", "--client-id", "c", "--secret-env", "X", "--graph", "http://127.0.0.1:1"], "give --authority"),
        (&["--dry-run", "--concurrency", "0"], "1 to 32"),
    ] {
        let (code, _, err) = run(arguments);
        assert!(code == 2 && err.contains(word), "{arguments:?}: {err}");
    }
    let (code, _, err) = bench.run(&["--dry-run", "--padding", "pkcs1"]);
    assert!(code == 2 && err.contains("not taken for new uploads"), "{err}");
    std::fs::write(bench.path("list.csv"), "file,upn,password\na.pfx,nobody,secret-of-the-list\n").unwrap();
    let (code, _, err) = bench.run(&["--dry-run"]);
    assert!(code == 2 && err.contains("line 2: `upn`") && !err.contains("secret-of-the-list"), "{err}");
}
