//! The example `inspect_pfx`, run as its users run it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Cargo builds examples beside the tests, unless a single test was asked for.
fn program() -> Option<PathBuf> {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().and_then(Path::parent).unwrap().join("examples/inspect_pfx");
    if program.is_file() {
        Some(program)
    } else {
        support::skip("the built example inspect_pfx");
        None
    }
}

/// A file by OpenSSL: key and certificate, password `Secret-123`.
fn sample(openssl: &Path) -> (tempfile::TempDir, PathBuf) {
    let folder = support::scratch();
    let run = |arguments: &[&str]| support::run(Command::new(openssl).args(arguments).current_dir(folder.path()));
    run(&["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out", "c.pem", "-subj", "/CN=Alice"]);
    run(&["pkcs12", "-export", "-inkey", "k.pem", "-in", "c.pem", "-name", "alice", "-passout", "pass:Secret-123", "-out", "a.p12"]);
    let file = folder.path().join("a.p12");
    (folder, file)
}

fn inspect(program: &Path, file: &Path, arguments: &[&str]) -> Output {
    support::try_run(Command::new(program).arg(file).args(arguments))
}

#[test]
fn a_file_that_opens_is_described_and_exits_with_0() {
    let (Some(program), Some(openssl)) = (program(), support::tool("openssl")) else { return };
    let (folder, file) = sample(&openssl);
    std::fs::write(folder.path().join("password"), "Secret-123\n").unwrap();
    let password_file = folder.path().join("password").display().to_string();
    for password in [["--password", "Secret-123"], ["--password-file", password_file.as_str()]] {
        let output = inspect(&program, &file, &[&password[..], &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0));
        let report = serde_json::from_slice::<Value>(&output.stdout).unwrap();
        assert_eq!(report["keys"][0]["friendly_name"], "alice");
        assert_eq!(report["keys"][0]["identity"]["certificate"], 0);
        assert_eq!(report["certificates"][0]["subject"], "CN=Alice");
        assert_eq!(report["mac"]["iterations"], 2048);
        assert_eq!(report["error"], Value::Null);
        assert!(!String::from_utf8_lossy(&output.stdout).contains("Secret-123"));
    }
    let plain = inspect(&program, &file, &["--password", "Secret-123"]);
    assert!(String::from_utf8_lossy(&plain.stdout).contains("CN=Alice"));
}

#[test]
fn a_file_that_is_refused_says_why_and_exits_with_2() {
    let (Some(program), Some(openssl)) = (program(), support::tool("openssl")) else { return };
    let (folder, file) = sample(&openssl);
    let refused = |file: &Path, arguments: &[&str]| {
        let output = inspect(&program, file, &[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(2));
        let report = serde_json::from_slice::<Value>(&output.stdout).unwrap();
        assert!(report["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
        report["error"]["kind"].as_str().unwrap().to_owned()
    };
    assert_eq!(refused(&file, &["--password", "wrong"]), "wrong-password");
    assert_eq!(refused(&file, &["--no-password"]), "wrong-password");
    assert_eq!(refused(&file, &["--password", "Secret-123", "--mac-password", "other"]), "wrong-password");
    let cut = folder.path().join("cut.p12");
    std::fs::write(&cut, &std::fs::read(&file).unwrap()[..500]).unwrap();
    assert_eq!(refused(&cut, &["--password", "Secret-123"]), "damaged");
}

#[test]
fn wrong_usage_exits_with_1() {
    let Some(program) = program() else { return };
    for arguments in [&[][..], &["a", "b"], &["--unknown"], &["a", "--password"], &["a", "--password", "x", "--no-password"], &["/absent"]]
    {
        assert_eq!(support::try_run(Command::new(&program).args(arguments)).status.code(), Some(1), "{arguments:?}");
    }
}
