//! The tenant's file of the examples: what it refuses, what it says, and where it lets requests go.

#![cfg(all(feature = "intune", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../examples/support/tenant_file.rs"]
mod tenant_file;

use std::sync::Arc;

use intune_connector::adapters::VirtualRuntime;
use intune_connector::adapters::http::ProxySetting;
use intune_connector::crypto::CryptoProvider;
use intune_connector::time::Timestamp;
use tenant_file::TenantFile;

const SECRET: &str = "hunter2-is-no-good-password";
const HEAD: &str = "tenant = \"contoso.example\"\nclient_id = \"00000000-0000-0000-0000-000000000000\"\n";

fn read(text: &str) -> Result<TenantFile, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tenant.toml");
    std::fs::write(&path, text).unwrap();
    TenantFile::load(&path).map_err(|error| error.to_string())
}

fn mistake(text: &str) -> String {
    read(text).err().unwrap()
}

#[test]
fn the_example_that_help_shows_is_read() {
    let file = read(tenant_file::EXAMPLE).unwrap();
    assert_eq!(file.secret_files().len(), 1);
    // What is commented out is read as well, where it does not contradict the rest.
    let whole = tenant_file::EXAMPLE.replace("# simulator", "simulator").replace("# proxy", "proxy").replace("# roots_file", "roots_file");
    assert!(read(&whole).unwrap().simulator.is_some());
}

#[test]
fn a_secret_in_the_wrong_place_is_told_by_its_line_and_not_repeated() {
    for (text, line, word) in [
        (format!("{HEAD}[credential]\nclient_secret = \"{SECRET}\"\n"), 4, "secret_file"),
        (format!("{HEAD}credential = \"{SECRET}\"\n"), 3, "expected a section [credential]"),
        (format!("{HEAD}[credential]\nsecret_file = [\"{SECRET}\"]\n"), 4, "expected"),
        (format!("{HEAD}cloud = \"{SECRET}\"\n[credential]\n"), 3, "us-government"),
        (format!("{HEAD}[credential]\nsecret_file = {SECRET}\n"), 4, ""),
        (format!("{HEAD}[credential]\n{SECRET}\n"), 4, ""),
        (format!("{HEAD}[credential]\nsecret_file = \"{SECRET}\n"), 4, ""),
        (format!("{HEAD}[credential]\nsecret_file = \"a\"\nsecret_file = \"{SECRET}\"\n"), 5, "duplicate"),
    ] {
        let told = mistake(&text);
        assert!(!told.contains("hunter2") && told.contains(&format!("line {line}: ")) && told.contains(word), "{told}");
    }
}

#[test]
fn a_simulator_is_on_this_machine_and_no_proxy_of_the_environment_is_asked_for_the_way() {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let with = |simulator: &str| read(&format!("{HEAD}simulator = \"{simulator}\"\n[credential]\nsecret_variable = \"PATH\"\n")).unwrap();
    let clients = |simulator: &str| {
        let runtime = Arc::new(VirtualRuntime::new(Timestamp::system_now()));
        with(simulator).clients(&provider, runtime).map(|clients| clients.cloud).map_err(|error| error.to_string())
    };
    for good in ["http://127.0.0.1:8080", "http://[::1]:8080/"] {
        assert!(matches!(with(good).proxy().unwrap(), ProxySetting::Direct));
        assert_eq!(clients(good).unwrap().graph, good.trim_end_matches('/'));
    }
    for bad in ["http://203.0.113.7:8080", "http://localhost:8080", "https://127.0.0.1:8080", "127.0.0.1:8080"] {
        assert!(clients(bad).is_err(), "{bad}");
    }
    let real = read(&format!("{HEAD}[credential]\nsecret_variable = \"PATH\"\n")).unwrap();
    assert!(matches!(real.proxy().unwrap(), ProxySetting::Environment));
}

#[test]
fn a_proxy_s_user_without_a_proxy_and_two_credentials_are_refused() {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    for (section, word) in [
        ("secret_variable = \"PATH\"\n[network]\nproxy_user = \"connector\"\n", "need proxy"),
        ("secret_variable = \"PATH\"\nfederated_token_file = \"token\"\n", "give one of"),
        ("certificate_file = \"app.pem\"\n", "belong together"),
        ("secret_variable = \"PATH\"\nexpires = \"soon\"\n", "2027-01-31T00:00:00Z"),
    ] {
        let runtime = Arc::new(VirtualRuntime::new(Timestamp::system_now()));
        let told = read(&format!("{HEAD}[credential]\n{section}")).unwrap().clients(&provider, runtime).err().unwrap().to_string();
        assert!(told.contains(word), "{told}");
    }
}
