//! Says what is in a PFX file, or precisely why it does not open.
//!
//! `inspect_pfx FILE [--password PW | --password-file F | --no-password] [--mac-password PW] [--json]`
//!
//! Without a password option the empty password is tried. No secret is printed. Exit code: 0 opened, 2 refused, 1 usage.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program talks to its user")]

use std::process::ExitCode;

use intune_connector::crypto::CryptoProvider;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::pfx::{self, OpenedPfx, PfxContents, PfxError, PfxPasswords, Protection};
use intune_connector::secret::Password;
use serde_json::{Value, json};

const USAGE: &str = "usage: inspect_pfx FILE [--password PW | --password-file F | --no-password] [--mac-password PW] [--json]";

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
    let outcome = pfx::open(&der, PfxPasswords::separate(mac, safes), &provider(), &Limits::default());
    let report = match &outcome {
        Ok(opened) => opened_report(opened),
        Err(error) => error_report(error),
    };
    if arguments.json {
        println!("{report:#}");
    } else {
        print_plainly(&arguments.file, &report);
    }
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

fn provider() -> CryptoProvider {
    CryptoProvider::ring_and_aws_lc_rs()
}

struct Arguments {
    file: String,
    password: Option<Password>,
    mac_password: Option<Password>,
    json: bool,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut file = None;
        let mut password = None;
        let mut mac_password = None;
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
        Ok(Self { file, password: password.unwrap_or_else(|| Some("".into())), mac_password, json })
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

fn error_report(error: &PfxError) -> Value {
    json!({
        "keys": [],
        "certificates": [],
        "mac": null,
        "error": { "kind": error.kind().as_str(), "oid": error.oid(), "message": error.to_string() },
    })
}

fn opened_report(opened: &OpenedPfx) -> Value {
    let contents = opened.contents();
    let mac = opened.mac().map(|mac| {
        json!({
            "algorithm": mac.algorithm(),
            "pbmac1": mac.is_pbmac1(),
            "iterations": mac.iterations(),
            "salt_length": mac.salt_len(),
            "password_form": format!("{:?}", mac.password_form()),
        })
    });
    let keys = contents.keys.iter().map(|key| {
        let certificate = contents.identities().find(|identity| std::ptr::eq(identity.key, key)).map(|identity| {
            json!({ "certificate": index_of(contents, identity.certificate), "chain": identity.chain.iter().map(|above| index_of(contents, above)).collect::<Vec<_>>() })
        });
        json!({
            "friendly_name": key.friendly_name,
            "local_key_id": key.local_key_id.as_deref().map(hex),
            "protection": protection(&key.protection),
            "identity": certificate,
            "attributes": attributes(&key.attributes),
        })
    });
    let certificates = contents.certificates.iter().map(|certificate| {
        json!({
            "friendly_name": certificate.friendly_name,
            "local_key_id": certificate.local_key_id.as_deref().map(hex),
            "subject": parsed(certificate).map(|parsed| parsed.subject().to_string()),
            "issuer": parsed(certificate).map(|parsed| parsed.issuer().to_string()),
            "serial": parsed(certificate).map(|parsed| hex(parsed.serial_raw())),
            "not_after": parsed(certificate).map(|parsed| parsed.not_after().to_string()),
            "public_key": parsed(certificate).map(|parsed| parsed.public_key_algorithm().to_string()),
            "thumbprint": parsed(certificate).and_then(|parsed| parsed.thumbprint(&provider()).ok()).map(|thumbprint| thumbprint.to_string()),
            "length": certificate.der.len(),
            "protection": protection(&certificate.protection),
            "attributes": attributes(&certificate.attributes),
        })
    });
    let others = contents.others.iter().map(
        |other| json!({ "kind": other.kind.as_str(), "oid": other.oid, "friendly_name": other.friendly_name, "length": other.value.len() }),
    );
    json!({
        "keys": keys.collect::<Vec<_>>(),
        "certificates": certificates.collect::<Vec<_>>(),
        "others": others.collect::<Vec<_>>(),
        "mac": mac,
        "trailing_bytes": contents.trailing_bytes,
        "error": null,
    })
}

/// `None` when it is not a well-formed certificate: the file still opens.
fn parsed(certificate: &pfx::PfxCertificate) -> Option<Certificate> {
    Certificate::from_der(&certificate.der, &Limits::default()).ok()
}

fn index_of(contents: &PfxContents, wanted: &pfx::PfxCertificate) -> Option<usize> {
    contents.certificates.iter().position(|certificate| std::ptr::eq(certificate, wanted))
}

fn protection(protection: &Protection) -> Value {
    match protection {
        Protection::Encrypted { scheme, iterations } => json!({ "scheme": scheme, "iterations": iterations }),
        _ => Value::Null,
    }
}

fn attributes(attributes: &[pfx::PfxAttribute]) -> Vec<String> {
    attributes.iter().map(|attribute| attribute.name.map_or_else(|| attribute.oid.clone(), str::to_owned)).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn print_plainly(file: &str, report: &Value) {
    if let Some(error) = report["error"].as_object() {
        println!("{file} does not open.");
        println!("  kind     {}", plain(&error["kind"]));
        println!("  reason   {}", plain(&error["message"]));
        return;
    }
    println!("{file} opens.");
    match &report["mac"] {
        Value::Null => println!("  MAC          none: nothing proves that the file is unchanged"),
        mac => println!("  MAC          {}, {} iterations: verified", plain(&mac["algorithm"]), mac["iterations"]),
    }
    for (title, member) in [("key", "keys"), ("certificate", "certificates"), ("other", "others")] {
        for (index, entry) in report[member].as_array().into_iter().flatten().enumerate() {
            let name = entry["friendly_name"].as_str().map_or_else(|| "without a name".to_owned(), |name| format!("{name:?}"));
            let how = match (&entry["protection"], &entry["kind"]) {
                (Value::Null, Value::String(kind)) => format!("{kind} {}", plain(&entry["oid"])),
                (Value::Null, _) => "in clear".to_owned(),
                (protection, _) => format!("{}, {} iterations", plain(&protection["scheme"]), protection["iterations"]),
            };
            println!("  {title:<12} {index}: {name}, {how}");
            if let Some(subject) = entry["subject"].as_str() {
                println!("               {subject}, valid until {}, {}", plain(&entry["not_after"]), plain(&entry["public_key"]));
            }
            if member == "keys" {
                match &entry["identity"] {
                    Value::Null => println!("               has no certificate in this file"),
                    identity => {
                        println!("               belongs to certificate {}, chain above it {}", identity["certificate"], identity["chain"])
                    }
                }
            }
        }
    }
    if report["trailing_bytes"] != json!(0) {
        println!("  note         {} bytes after the end of the PFX were ignored", report["trailing_bytes"]);
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
