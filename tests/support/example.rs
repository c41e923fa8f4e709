//! The examples as programs.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "a helper that fails, fails its test")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The program of that example; cargo builds examples for `cargo test`, and it is built here when it is not there yet.
pub fn example(name: &str) -> PathBuf {
    // target/debug/deps/this-test
    let target = std::env::current_exe().unwrap().parent().and_then(Path::parent).unwrap().to_path_buf();
    let program = target.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !program.is_file() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let build = Command::new(cargo)
            .args(["build", "--all-features", "--example", name, "--manifest-path"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
            .arg("--target-dir")
            .arg(target.parent().unwrap())
            .status()
            .unwrap();
        assert!(build.success(), "the example does not build");
    }
    program
}
