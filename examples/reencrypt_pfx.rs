//! Opens a PFX and encrypts its password, and the whole PFX, to a device: what the import flow does, by hand.
//!
//! `reencrypt_pfx FILE --password PW [--recipient CERT.pem] --out DIR`
//!
//! Without `--recipient` a throw-away recipient is made, and both envelopes are opened again to show that they open.
//! Only a PFX whose MAC verifies is taken. Exit code: 0 done, 2 refused, 1 usage.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program talks to its user")]

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use intune_connector::crypto::{CryptoProvider, SignatureAlgorithm, sign_now, unwrap_now};
use intune_connector::ids::SerialNumber;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::{Certificate, CertificateBuilder};
use intune_connector::message::enveloped::Opening;
use intune_connector::message::name::Name;
use intune_connector::message::pfx;
use intune_connector::message::reencrypt::{Recipient, password_envelope, reencrypt};
use intune_connector::secret::{Password, PrivateKeyPkcs8, SecretBytes};
use intune_connector::terms::{KeyAlgorithm, KeyUsage};
use intune_connector::time::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

const USAGE: &str = "usage: reencrypt_pfx FILE --password PW [--recipient CERT.pem] --out DIR";

fn main() -> ExitCode {
    let Some(arguments) = Arguments::parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(1);
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
    let file = SecretBytes::new(std::fs::read(&arguments.file)?);
    let opened = pfx::open(file.secret_bytes(), Some(&arguments.password), &provider, &limits)?.into_mac_verified()?;
    let identity = opened.contents().identity()?;
    println!("opened {}: {} certificate(s) with the key", arguments.file, identity.certificates().count());

    let (certificate, throw_away_key) = match &arguments.recipient {
        Some(pem) => (Certificate::from_der(&CertificateDer::from_pem_file(pem)?, &limits)?, None),
        None => {
            let (certificate, key) = throw_away_recipient(&provider, &limits)?;
            (certificate, Some(key))
        }
    };

    let recipient = Recipient::new(&certificate);
    let envelopes = [
        ("password.p7m", arguments.password.secret_bytes(), password_envelope(&arguments.password, recipient, &provider)?),
        ("pfx.p7m", file.secret_bytes(), reencrypt(&file, recipient, &provider)?),
    ];
    std::fs::create_dir_all(&arguments.out)?;
    for (name, secret, envelope) in envelopes {
        let path = Path::new(&arguments.out).join(name);
        std::fs::write(&path, &envelope)?;
        println!("wrote {} ({} bytes) for {}", path.display(), envelope.len(), certificate.subject());
        if let Some(key) = &throw_away_key {
            let mut opening = Opening::parse(&envelope, &limits)?;
            let request = opening.unwrap_request(&certificate, &provider)?;
            let unwrapped = unwrap_now(provider.decryption_keys()?.load(key)?.as_ref(), &request);
            if opening.finish(unwrapped, &provider)?.secret_bytes() != secret {
                return Err("the envelope holds something else".into());
            }
            println!("  and the throw-away recipient's key opens it");
        }
    }
    Ok(())
}

/// A key and a self-signed certificate that live as long as this run.
fn throw_away_recipient(provider: &CryptoProvider, limits: &Limits) -> Result<(Certificate, PrivateKeyPkcs8), Box<dyn Error>> {
    let key = provider.key_generation()?.generate(KeyAlgorithm::Rsa2048)?;
    let signer = provider.signing_keys()?.load(&key)?;
    let now = Timestamp::system_now();
    let name = Name::parse_cert_str("CN=Throw-away recipient,O=TEST")?;
    let serial = SerialNumber::from_hex("01")?;
    let spki = signer.public_key();
    let to_be_signed = CertificateBuilder::new(name, &spki, now, now.saturating_add(Duration::from_secs(86_400)), serial)
        .key_usage(KeyUsage::SIGN_AND_ENCIPHER)
        .to_be_signed(SignatureAlgorithm::RsaPkcs1Sha256)?;
    let signature = sign_now(signer.as_ref(), SignatureAlgorithm::RsaPkcs1Sha256, to_be_signed.message())?;
    Ok((Certificate::from_der(&to_be_signed.finish(&signature), limits)?, key))
}

struct Arguments {
    file: String,
    password: Password,
    recipient: Option<String>,
    out: String,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let (mut file, mut password, mut recipient, mut out) = (None, None, None, None);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--password" => password = Some(Password::from(words.next()?)),
                "--recipient" => recipient = Some(words.next()?),
                "--out" => out = Some(words.next()?),
                _ if word.starts_with("--") || file.is_some() => return None,
                _ => file = Some(word),
            }
        }
        Some(Self { file: file?, password: password?, recipient, out: out? })
    }
}
