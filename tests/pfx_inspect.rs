//! The example `inspect_pfx`, run as its users run it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

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
    for arguments in [
        &[][..],
        &["a", "b"],
        &["--unknown"],
        &["a", "--password"],
        &["a", "--password", "x", "--no-password"],
        &["a", "--max-iterations", "x"],
        &["/absent"],
    ] {
        assert_eq!(support::try_run(Command::new(&program).args(arguments)).status.code(), Some(1), "{arguments:?}");
    }
}

/// The options that the manifest's password column stands for.
fn options(column: &str) -> Vec<String> {
    let given = |options: &[&str]| options.iter().map(|option| (*option).to_owned()).collect();
    if column == "(absent)" {
        return given(&["--no-password"]);
    }
    match column.strip_prefix("mac=").and_then(|rest| rest.split_once("|cipher=")) {
        Some((mac, safes)) => given(&["--password", safes, "--mac-password", mac]),
        None => given(&["--password", column.strip_prefix("(latin1)").unwrap_or(column)]),
    }
}

/// What is wrong with a page about a file that should be as `expected`.
fn fault(expected: &str, output: &Output) -> Option<String> {
    let Ok(page) = core::str::from_utf8(&output.stdout) else { return Some("it is not UTF-8".to_owned()) };
    let opened = match (output.status.code(), expected) {
        (Some(0), "reject") => return Some("it opened".to_owned()),
        (Some(2), "ok" | "quirk" | "two-pw") => return Some(format!("it did not open: {page}")),
        (Some(0), _) => true,
        (Some(2), _) => false,
        (code, _) => return Some(format!("it ended with {code:?}")),
    };
    let steers = |character: &char| {
        (character.is_control() && *character != '\n') || matches!(*character, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
    };
    if let Some(character) = page.chars().find(steers) {
        return Some(format!("it prints {character:?}"));
    }
    let lines: Vec<&str> = page.lines().map(str::trim).collect();
    let has = |start: &str| lines.iter().any(|line| line.strip_prefix(start).is_some_and(|rest| !rest.trim().is_empty()));
    let missing = |wanted: &[&str]| wanted.iter().find(|start| !has(start)).map(|start| format!("it has no line {start:?}: {page}"));
    if !output.stderr.is_empty() {
        Some("it prints to the error stream".to_owned())
    } else if page.contains("the scheme is not one that this program knows") {
        Some(format!("it cannot judge a scheme that it opened: {page}"))
    } else if !opened {
        missing(&["kind", "reason", "to do"])
    } else if lines.iter().any(|line| line.starts_with("key 0:")) {
        missing(&["MAC:", "protection", "certificate", "iOS, iPadOS", "Windows 10 1709"])
    } else {
        missing(&["MAC:", "Note: there is n"])
    }
}

#[test]
fn every_file_of_the_corpus_gets_a_page_that_can_be_acted_on() {
    let (Some(program), Some(folder)) = (program(), support::vectors()) else { return };
    let manifest = std::fs::read_to_string(folder.join("manifest.tsv")).unwrap();
    let rows: Vec<Vec<&str>> =
        manifest.lines().map(|line| line.split('\t').collect()).filter(|row: &Vec<&str>| row.get(8) == Some(&"pfx")).collect();
    assert!(rows.len() > 500, "the manifest has lost its rows");
    let (next, faults) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let output = support::try_run(Command::new(&program).arg(folder.join(row[0])).args(options(row[2])));
                    if let Some(what) = fault(row[4], &output) {
                        faults.lock().unwrap().push(format!("{} ({}): {what}", row[0], row[4]));
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{} files:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn what_is_no_pfx_is_named_with_what_to_do_about_it() {
    let Some(program) = program() else { return };
    let folder = support::scratch();
    for (content, expected) in [
        (&b""[..], "the file is empty"),
        (b"-----BEGIN CERTIFICATE-----\n", "PEM text without a private key"),
        (b"Bag Attributes\n-----BEGIN PRIVATE KEY-----\n", "openssl pkcs12 -export"),
        (b"\xfe\xed\xfe\xed\0\0\0\x02", "keytool -importkeystore"),
        (b"PK\x03\x04", "ZIP"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"MIIKCgIBAzCCCdAGCSqGSIb3DQEH", "Base64"),
    ] {
        let file = folder.path().join("file");
        std::fs::write(&file, content).unwrap();
        let output = inspect(&program, &file, &["--password", "x"]);
        let page = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(2), "{page}");
        assert!(page.contains("to do") && page.contains(expected), "{expected}: {page}");
    }
}

#[test]
fn a_name_cannot_steer_the_terminal_and_an_unasked_password_is_hinted_at() {
    let (Some(program), Some(openssl)) = (program(), support::tool("openssl")) else { return };
    let (folder, file) = sample(&openssl);
    let hint = inspect(&program, &file, &[]);
    assert!(String::from_utf8_lossy(&hint.stdout).contains("no password was given"));
    let run = |arguments: &[&str]| support::run(Command::new(&openssl).args(arguments).current_dir(folder.path()));
    let name = "a\u{1b}[2Jb";
    run(&["pkcs12", "-export", "-inkey", "k.pem", "-in", "c.pem", "-name", name, "-passout", "pass:Secret-123", "-out", "b.p12"]);
    let output = inspect(&program, &folder.path().join("b.p12"), &["--password", "Secret-123"]);
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(page.contains("a\\u{1b}[2Jb") && !page.contains('\u{1b}'), "{page}");
}
