//! The command line.

use std::path::PathBuf;

use intune_connector::terms::KeyAlgorithm;

pub const USAGE: &str = "\
usage: scep_service --listen ADDR --challenge SECRET --ca rsa|ec --dir DIR [options]

  --listen ADDR               address and port, such as 127.0.0.1:8080; port 0 takes a free one
  --challenge SECRET          the challenge password that every client must send
  --ca rsa|ec                 the key of the CA: RSA-2048 or EC P-256
  --dir DIR                   gets ca.pem, crl.pem (renewed), ra.pem (if there is an RA), admin.jsonl, operational.jsonl, ledger.bin and journal.sqlite;
                              files of these names are overwritten
  --ra                        an RSA RA in front of an RSA CA; with --ca ec there always is one, without it an RSA CA serves SCEP itself
  --pending SECONDS           the CA holds each request that long, and clients poll
  --renewal-without-challenge clients that sign with a certificate of this CA need no challenge
  --legacy                    3DES and SHA-1 too, for old devices; and single DES from clients that know no SHA-2 (micromdm's scepclient)
  --tls                       HTTPS, with a server certificate of the example's CA
  --tls-cert FILE             HTTPS, with this certificate chain (PEM) and
  --tls-key FILE              this private key (PEM)
  --help                      this text

For trying clients: one static challenge for everybody, any name is issued, and the CA's key dies with the program.
";

pub enum Command {
    Serve(Arguments),
    Help,
}

#[derive(Debug)]
pub struct Arguments {
    pub listen: String,
    pub challenge: String,
    pub ca: KeyAlgorithm,
    pub ra: Ra,
    pub pending_seconds: Option<u64>,
    pub renewal: Renewal,
    pub algorithms: Algorithms,
    pub tls: Tls,
    pub dir: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ra {
    /// The CA serves SCEP with its own key.
    None,
    Rsa,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    WithChallenge,
    WithoutChallenge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithms {
    Modern,
    Legacy,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    Off,
    /// A server certificate of the example's own CA.
    SelfMade,
    Files {
        certificates: PathBuf,
        key: PathBuf,
    },
}

/// Reads the command line.
///
/// # Errors
/// A sentence that says which argument is wrong.
pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let (mut listen, mut challenge, mut ca, mut dir, mut pending_seconds) = (None, None, None, None, None);
    let (mut ra, mut renewal, mut algorithms) = (Ra::None, Renewal::WithChallenge, Algorithms::Modern);
    let (mut self_made, mut certificates, mut key) = (false, None, None);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            "--listen" => listen = Some(value()?),
            "--challenge" => challenge = Some(value()?).filter(|challenge| !challenge.is_empty()),
            "--dir" => dir = Some(PathBuf::from(value()?)),
            "--ca" => {
                ca = Some(match value()?.as_str() {
                    "rsa" => KeyAlgorithm::Rsa2048,
                    "ec" => KeyAlgorithm::EcP256,
                    other => return Err(format!("--ca is rsa or ec, not {other}")),
                });
            }
            "--pending" => {
                let seconds = value()?;
                pending_seconds = Some(seconds.parse().map_err(|_| format!("--pending needs a number of seconds, not {seconds}"))?);
            }
            "--ra" => ra = Ra::Rsa,
            "--renewal-without-challenge" => renewal = Renewal::WithoutChallenge,
            "--legacy" => algorithms = Algorithms::Legacy,
            "--tls" => self_made = true,
            "--tls-cert" => certificates = Some(PathBuf::from(value()?)),
            "--tls-key" => key = Some(PathBuf::from(value()?)),
            other => return Err(format!("{other} is no option")),
        }
    }
    let tls = match (certificates, key) {
        (Some(certificates), Some(key)) => Tls::Files { certificates, key },
        (Some(_), None) => return Err("--tls-cert needs --tls-key".to_owned()),
        (None, Some(_)) => return Err("--tls-key needs --tls-cert".to_owned()),
        (None, None) if self_made => Tls::SelfMade,
        (None, None) => Tls::Off,
    };
    let ca = ca.ok_or("--ca is missing: rsa or ec")?;
    Ok(Command::Serve(Arguments {
        listen: listen.ok_or("--listen is missing")?,
        challenge: challenge.ok_or("--challenge is missing or empty")?,
        dir: dir.ok_or("--dir is missing")?,
        ra: if ca.is_rsa() { ra } else { Ra::Rsa },
        ca,
        pending_seconds,
        renewal,
        algorithms,
        tls,
    }))
}
