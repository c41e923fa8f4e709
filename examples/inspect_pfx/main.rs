//! Says what is in a PFX file, how well it is protected and who takes it, or precisely why it does not open and what to do then.
//!
//! `inspect_pfx FILE [--password PW | --password-file F | --no-password] [--mac-password PW] [--max-iterations N] [--json]`
//!
//! Without a password option the empty password is tried. No secret is printed. Exit code: 0 opened, 2 refused, 1 usage.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program talks to its user")]

mod advice;
mod platforms;
mod print;
mod report;
mod strength;

use std::process::ExitCode;

use intune_connector::crypto::CryptoProvider;
use intune_connector::limits::Limits;
use intune_connector::message::pfx::{self, PfxPasswords};
use intune_connector::secret::Password;

const USAGE: &str =
    "usage: inspect_pfx FILE [--password PW | --password-file F | --no-password] [--mac-password PW] [--max-iterations N] [--json]";

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(1);
        }
    };
    let der = match std::fs::read(&arguments.file) {
        Ok(der) => der,
        Err(error) => {
            eprintln!("{}: {error}", arguments.file);
            return ExitCode::from(1);
        }
    };
    let safes = arguments.password.as_ref();
    let mac = arguments.mac_password.as_ref().or(safes);
    let mut limits = Limits::default();
    limits.kdf_iterations = arguments.max_iterations.unwrap_or(limits.kdf_iterations);
    let outcome = pfx::open(&der, PfxPasswords::separate(mac, safes), &provider(), &limits);
    let report = match &outcome {
        Ok(opened) => report::opened(opened),
        Err(error) => report::refused(error, &der, arguments.password_given),
    };
    if arguments.json {
        println!("{report:#}");
    } else {
        print!("{}", print::plainly(&arguments.file, &report));
    }
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

fn provider() -> CryptoProvider {
    CryptoProvider::ring_and_aws_lc_rs()
}

struct Arguments {
    file: String,
    password: Option<Password>,
    /// Whether a password, or its absence, was asked for.
    password_given: bool,
    mac_password: Option<Password>,
    max_iterations: Option<u64>,
    json: bool,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut file = None;
        let mut password = None;
        let mut mac_password = None;
        let mut max_iterations = None;
        let mut json = false;
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            let given = match word.as_str() {
                "--password" => Some(Password::from(value()?)),
                "--password-file" => Some(password_file(&value()?)?),
                "--no-password" => None,
                "--mac-password" => {
                    mac_password = Some(Password::from(value()?));
                    continue;
                }
                "--max-iterations" => {
                    let value = value()?;
                    max_iterations = Some(value.parse().map_err(|_| format!("{value} is not a number of iterations"))?);
                    continue;
                }
                "--json" => {
                    json = true;
                    continue;
                }
                option if option.starts_with("--") => return Err(format!("unknown option {option}")),
                _ if file.is_none() => {
                    file = Some(word);
                    continue;
                }
                _ => return Err("only one file is inspected at a time".to_owned()),
            };
            if password.replace(given).is_some() {
                return Err("the password is given twice".to_owned());
            }
        }
        let file = file.ok_or("no file is given")?;
        let password_given = password.is_some();
        Ok(Self { file, password: password.unwrap_or_else(|| Some("".into())), password_given, mac_password, max_iterations, json })
    }
}

/// The file's bytes without one line end, which editors add.
fn password_file(path: &str) -> Result<Password, String> {
    let mut bytes = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    Ok(Password::new(bytes))
}
