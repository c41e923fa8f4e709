//! What integration tests share: outside programs, the vector corpus, scratch folders.
//!
//! A test that needs something that is not there says `SKIPPED` and passes; with `INTUNE_CONNECTOR_REQUIRE_TOOLS=1` (CI) it fails.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Whether what is missing must fail the test.
pub fn required() -> bool {
    std::env::var_os("INTUNE_CONNECTOR_REQUIRE_TOOLS").is_some_and(|value| value == "1")
}

/// Says that a test is skipped, or fails where it may not be.
pub fn skip(what: &str) {
    assert!(!required(), "{what} is missing, and INTUNE_CONNECTOR_REQUIRE_TOOLS=1 demands it");
    eprintln!("SKIPPED: {what} missing");
}

/// The path of an outside program; `None` (after saying so) when it is not installed.
pub fn tool(name: &str) -> Option<PathBuf> {
    let found = std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).map(|dir| dir.join(name)).find(|candidate| candidate.is_file()));
    if found.is_none() {
        skip(name);
    }
    found
}

/// The folder into which `.ci/interop-tools` installs what no distribution brings in the version that is needed.
fn interop_tools() -> PathBuf {
    std::env::var_os("INTUNE_CONNECTOR_INTEROP_TOOLS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interop-tools"), PathBuf::from)
}

/// A Python that has pyca/cryptography; `None` (after saying so) when it is not installed.
pub fn python_cryptography() -> Option<PathBuf> {
    let python = interop_tools().join("python/bin/python3");
    let found = python.is_file();
    if !found {
        skip("Python's cryptography (.ci/interop-tools)");
    }
    found.then_some(python)
}

/// A Python that has Microsoft's MSAL; `None` (after saying so) when it is not installed.
pub fn python_msal() -> Option<PathBuf> {
    let python = python_cryptography()?;
    let found = Command::new(&python).args(["-c", "import msal"]).output().is_ok_and(|output| output.status.success());
    if !found {
        skip("MSAL for Python (.ci/interop-tools)");
    }
    found.then_some(python)
}

/// node and the folder of modules in which node-forge lies; `None` (after saying so) when one is missing.
pub fn node_forge() -> Option<(PathBuf, PathBuf)> {
    let modules = interop_tools().join("node/node_modules");
    if !modules.join("node-forge").is_dir() {
        skip("node-forge (.ci/interop-tools)");
        return None;
    }
    Some((tool("node")?, modules))
}

/// The folder of vectors; `None` (after saying so) when it is not there.
pub fn vectors() -> Option<PathBuf> {
    let folder = std::env::var_os("INTUNE_CONNECTOR_VECTORS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"), PathBuf::from);
    if folder.join("manifest.tsv").is_file() {
        Some(folder)
    } else {
        skip("the vector corpus (set INTUNE_CONNECTOR_VECTORS)");
        None
    }
}

/// The folder of scripts that drive other SCEP clients; `None` (after saying so) when it is not there.
pub fn scep_clients() -> Option<PathBuf> {
    let folder = std::env::var_os("INTUNE_CONNECTOR_SCEP_CLIENTS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/tools/scep-clients"), PathBuf::from);
    if folder.join("lib.sh").is_file() {
        Some(folder)
    } else {
        skip("the scripts of SCEP clients (set INTUNE_CONNECTOR_SCEP_CLIENTS)");
        None
    }
}

/// pkilint's linter of certificates; `None` (after saying so) when it is not installed.
pub fn lint_pkix_cert() -> Option<PathBuf> {
    let linter = interop_tools().join("python/bin/lint_pkix_cert");
    let found = linter.is_file();
    if !found {
        skip("pkilint (.ci/interop-tools)");
    }
    found.then_some(linter)
}

/// Runs a program and gives its output; panics with both streams when it fails.
pub fn run(command: &mut Command) -> Output {
    let output = try_run(command);
    assert!(
        output.status.success(),
        "{command:?} failed with {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Runs a program and gives its output, whatever its exit status.
pub fn try_run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"))
}

/// A scratch folder that is removed when dropped.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

/// The octets of base64; whatever is not of its alphabet is skipped.
pub fn base64(text: &str) -> Vec<u8> {
    let digit = |byte| match byte {
        b'A'..=b'Z' => Some(u32::from(byte - b'A')),
        b'a'..=b'z' => Some(u32::from(byte - b'a') + 26),
        b'0'..=b'9' => Some(u32::from(byte - b'0') + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits: Vec<u32> = text.bytes().filter_map(digit).collect();
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let value = group.iter().fold(0u32, |value, digit| value << 6 | digit) << (6 * (4 - group.len()));
        out.extend_from_slice(&value.to_be_bytes()[1..group.len()]);
    }
    out
}

/// Base64 in one line.
pub fn to_base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let letter = |at: usize| char::from(LETTERS[(word >> (18 - 6 * at)) as usize & 63]);
        text.extend((0..4).map(|at| if at <= chunk.len() { letter(at) } else { '=' }));
    }
    text
}
