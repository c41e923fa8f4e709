//! Opens a PFX and encrypts its password, and the whole PFX, to a device: what the import flow does, by hand. On request also writes
//! the PFX anew, under another password and profile.
//!
//! `reencrypt_pfx FILE PASSWORD [--recipient CERT.pem | --throw-away rsa|ec] [--profile modern|compat|pbmac1 NEW-PASSWORD] --out DIR`
//!
//! PASSWORD is `--password-file F` (one line; `-` reads it from the standard input), `--password-env NAME`, or, where nobody else can see
//! the list of processes, `--password PW`; NEW-PASSWORD is the same with `--new-` in front.
//! Without `--recipient` a throw-away recipient is made (RSA unless told otherwise), and both envelopes are opened again to show that
//! they open. Only a PFX whose MAC verifies is taken. Exit code: 0 done, 2 refused, 1 usage.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program talks to its user")]

use std::error::Error;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use intune_connector::crypto::{CryptoProvider, sign_now, unwrap_now};
use intune_connector::ids::SerialNumber;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::{Certificate, CertificateBuilder};
use intune_connector::message::enveloped::Opening;
use intune_connector::message::name::Name;
use intune_connector::message::pfx::{self, OpenedPfx, PfxProfile};
use intune_connector::message::reencrypt::{Recipient, password_envelope, reencrypt, reencrypt_pfx};
use intune_connector::secret::{Password, PrivateKeyPkcs8, SecretBytes};
use intune_connector::terms::{KeyAlgorithm, KeyUsage};
use intune_connector::time::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

const USAGE: &str =
    "usage: reencrypt_pfx FILE --password-file F|--password-env NAME|--password PW [--recipient CERT.pem | --throw-away rsa|ec]
                     [--profile modern|compat|pbmac1 --new-password-file F|--new-password-env NAME|--new-password PW] --out DIR";

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(1);
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("refused: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let (provider, limits) = (CryptoProvider::ring_and_aws_lc_rs(), Limits::default());

    // The password must open the file, and the file must be what its MAC says.
    let file = SecretBytes::new(std::fs::read(&arguments.file).map_err(|error| format!("{}: {error}", arguments.file))?);
    let opened = pfx::open(file.secret_bytes(), &arguments.password, &provider, &limits)?.into_mac_verified()?;
    let identity = opened.contents().identity()?;
    println!("opened {}: {} certificate(s) with the key", arguments.file, identity.certificates().count());
    let opened = OpenedPfx::MacVerified(opened);

    let out = Path::new(&arguments.out);
    std::fs::create_dir_all(out).map_err(|error| format!("{}: {error}", arguments.out))?;
    to_device(arguments, &file, out, &provider, &limits)?;
    if let Some((profile, password)) = &arguments.anew {
        let anew = reencrypt_pfx(&opened, *profile, password, &provider)?;
        let path = out.join("reencrypted.pfx");
        std::fs::write(&path, anew.pfx.secret_bytes())?;
        println!("wrote {} ({} bytes) under the new password", path.display(), anew.pfx.len());
        for left_out in anew.left_out {
            println!("  {left_out}");
        }
    }
    Ok(())
}

fn to_device(
    arguments: &Arguments,
    file: &SecretBytes,
    out: &Path,
    provider: &CryptoProvider,
    limits: &Limits,
) -> Result<(), Box<dyn Error>> {
    let (certificate, throw_away_key) = match &arguments.recipient {
        RecipientChoice::Certificate(pem) => {
            let der = CertificateDer::from_pem_file(pem).map_err(|error| format!("{pem} is not a certificate in PEM: {error}"))?;
            (Certificate::from_der(&der, limits)?, None)
        }
        RecipientChoice::ThrowAway(algorithm) => {
            let (certificate, key) = throw_away_recipient(*algorithm, provider, limits)?;
            (certificate, Some(key))
        }
    };
    let recipient = Recipient::new(&certificate);
    let envelopes = [
        ("password.p7m", arguments.password.secret_bytes(), password_envelope(&arguments.password, recipient, provider)?),
        ("pfx.p7m", file.secret_bytes(), reencrypt(file, recipient, provider)?),
    ];
    for (name, secret, envelope) in envelopes {
        let path = out.join(name);
        std::fs::write(&path, &envelope)?;
        println!("wrote {} ({} bytes) for {}", path.display(), envelope.len(), certificate.subject());
        if let Some(key) = &throw_away_key {
            let mut opening = Opening::parse(&envelope, limits)?;
            let request = opening.unwrap_request(&certificate, provider)?;
            let unwrapped = unwrap_now(provider.decryption_keys()?.load(key)?.as_ref(), &request);
            if opening.finish(unwrapped, provider)?.secret_bytes() != secret {
                return Err("the envelope holds something else".into());
            }
            println!("  and the throw-away recipient's key opens it");
        }
    }
    Ok(())
}

/// A key and a self-signed certificate that live as long as this run.
fn throw_away_recipient(
    algorithm: KeyAlgorithm,
    provider: &CryptoProvider,
    limits: &Limits,
) -> Result<(Certificate, PrivateKeyPkcs8), Box<dyn Error>> {
    let key = provider.key_generation()?.generate(algorithm)?;
    let signer = provider.signing_keys()?.load(&key)?;
    let now = Timestamp::system_now();
    let name = Name::parse_cert_str("CN=Throw-away recipient,O=TEST")?;
    let serial = SerialNumber::from_hex("01")?;
    let spki = signer.public_key();
    let signed_with = *signer.algorithms().first().ok_or("the provider cannot sign with its own key")?;
    let usage = match algorithm {
        KeyAlgorithm::EcP256 => KeyUsage { key_agreement: true, ..KeyUsage::default() },
        _ => KeyUsage::SIGN_AND_ENCIPHER,
    };
    let to_be_signed = CertificateBuilder::new(name, &spki, now, now.saturating_add(Duration::from_secs(86_400)), serial)
        .key_usage(usage)
        .to_be_signed(signed_with)?;
    let signature = sign_now(signer.as_ref(), signed_with, to_be_signed.message())?;
    Ok((Certificate::from_der(&to_be_signed.finish(&signature), limits)?, key))
}

struct Arguments {
    file: String,
    password: Password,
    recipient: RecipientChoice,
    anew: Option<(PfxProfile, Password)>,
    out: String,
}

enum RecipientChoice {
    Certificate(String),
    ThrowAway(KeyAlgorithm),
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut file, mut password, mut recipient, mut profile, mut new_password, mut out) = (None, None, None, None, None, None);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--password" => password = Some(Password::from(value()?)),
                "--password-file" => password = Some(password_from_file(&value()?)?),
                "--password-env" => password = Some(password_from_env(&value()?)?),
                "--new-password" => new_password = Some(Password::from(value()?)),
                "--new-password-file" => new_password = Some(password_from_file(&value()?)?),
                "--new-password-env" => new_password = Some(password_from_env(&value()?)?),
                "--recipient" => recipient = Some(RecipientChoice::Certificate(value()?)),
                "--throw-away" => {
                    recipient = Some(RecipientChoice::ThrowAway(match value()?.as_str() {
                        "rsa" => KeyAlgorithm::Rsa2048,
                        "ec" => KeyAlgorithm::EcP256,
                        other => return Err(format!("--throw-away is rsa or ec, not {other}")),
                    }));
                }
                "--profile" => {
                    profile = Some(match value()?.as_str() {
                        "modern" => PfxProfile::Modern,
                        "compat" => PfxProfile::Compat,
                        "pbmac1" => PfxProfile::Pbmac1,
                        other => return Err(format!("--profile is modern, compat or pbmac1, not {other}")),
                    });
                }
                "--out" => out = Some(value()?),
                _ if word.starts_with("--") => return Err(format!("unknown option {word}")),
                _ if file.is_some() => return Err(format!("one FILE at a time, so what is {word}?")),
                _ => file = Some(word),
            }
        }
        let anew = match (profile, new_password) {
            (None, None) => None,
            (profile, Some(password)) => Some((profile.unwrap_or_default(), password)),
            (Some(_), None) => {
                return Err("--profile needs a new password: --new-password-file, --new-password-env or --new-password".into());
            }
        };
        Ok(Self {
            file: file.ok_or("FILE is missing")?,
            password: password.ok_or("the password is missing: --password-file, --password-env or --password")?,
            recipient: recipient.unwrap_or(RecipientChoice::ThrowAway(KeyAlgorithm::Rsa2048)),
            anew,
            out: out.ok_or("--out is missing")?,
        })
    }
}

/// The first line of a file, or of the standard input.
fn password_from_file(name: &str) -> Result<Password, String> {
    let failed = |error| format!("{name}: {error}");
    // Larger than any password: a buffer that grew would leave copies behind.
    let mut bytes = SecretBytes::zeroed(4_096);
    let mut source: Box<dyn std::io::Read> =
        if name == "-" { Box::new(std::io::stdin()) } else { Box::new(std::fs::File::open(name).map_err(failed)?) };
    let mut len = 0;
    loop {
        match source.read(&mut bytes.secret_bytes_mut()[len..]).map_err(failed)? {
            0 if len == bytes.len() => return Err(format!("{name} is longer than a password")),
            0 => break,
            read => len += read,
        }
    }
    let line = bytes.secret_bytes()[..len].split(|byte| *byte == b'\n').next().unwrap_or_default();
    let len = line.strip_suffix(b"\r").unwrap_or(line).len();
    bytes.truncate(len);
    Ok(Password::from(bytes))
}

fn password_from_env(name: &str) -> Result<Password, String> {
    std::env::var(name).map(Password::from).map_err(|error| format!("the environment variable {name}: {error}"))
}
