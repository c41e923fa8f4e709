//! What would the connector do? A handful of requests against your policies, with nothing issued, revoked or uploaded.
//!
//! `cargo run --example dry_run` prints a table, and with `--json` the same for programs. With the feature `http-queue`, `--recorded FILE`
//! judges the requests in a file in place of those below.

use core::time::Duration;
use std::sync::Arc;

use intune_connector::adapters::{InMemoryQueue, LocalCa, StdRuntime};
use intune_connector::crypto::{CryptoProvider, SignatureAlgorithm, sign_now};
use intune_connector::dry_run::{DryRun, RequestReport, judge_csr};
use intune_connector::ids::{CaName, SerialNumber};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::CertificateBuilder;
use intune_connector::message::csr::CsrBuilder;
use intune_connector::message::name::Name;
use intune_connector::pkcs::PkcsConfig;
use intune_connector::policy::{IssuancePolicy, RecipientPolicy, ScepApproval};
use intune_connector::ports::{Payload, PkcsRequest, QueueItem, RequestMeta, RevokeRequest, Runtime as _, Vouched};
use intune_connector::revoke::RevokeConfig;
use intune_connector::terms::{Flow, KeyAlgorithm, SubjectAltName, oids};
use intune_connector::time::Timestamp;
use rustls_pki_types::CertificateDer;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "\
usage: dry_run [--json] [--recorded FILE]

  --json           for programs, in place of a table
  --recorded FILE  judge these requests in place of made-up ones: {\"items\":[...]} as an open queue answers (docs/open-queue.md),
                   and as `dry_run::write_recorded` writes; needs the feature `http-queue`

The policies, the CA and the tenant contoso.example stand in the source: put yours there. Nothing is issued, revoked or uploaded.";

fn main() -> Fallible<()> {
    let (mut json, mut recorded) = (false, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json = true,
            "--recorded" => recorded = Some(arguments.next().ok_or("--recorded needs a file")?),
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(());
            }
            other => return Err(format!("unknown argument {other}\n\n{USAGE}").into()),
        }
    }
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let runtime = Arc::new(StdRuntime::new()?);
    let name: CaName = "Contoso Issuing CA".parse()?;
    let ca = Arc::new(LocalCa::new(provider.clone(), name.clone(), KeyAlgorithm::EcP256)?); // yours: it is asked for nothing
    let queue = Arc::new(InMemoryQueue::new()); // yours: it is not called
    let device = device(&provider)?;

    // The flows are those of the connector, not a copy of their rules.
    let issuance = IssuancePolicy::deny_all().allow_upn_suffix("contoso.example").allow_extended_key_usage(oids::CLIENT_AUTH.parse()?);
    let recipients = RecipientPolicy::new().pin_certificate(device.clone());
    let dry = DryRun::new(provider.clone(), "contoso.example".parse()?, "connector-1".parse()?, runtime.clone())
        .flow(PkcsConfig::new(queue.clone(), name.clone(), ca.clone(), issuance.clone(), recipients))
        .flow(RevokeConfig::new(queue, name.clone(), ca));

    let items = match &recorded {
        Some(path) => read(path)?,
        None => made_up(&name, &device)?,
    };
    let mut report = runtime.block_on(dry.run(items));

    if recorded.is_none() {
        // SCEP: a recorded CSR, supposing that Intune accepts its challenge and vouches for nothing beyond it.
        let vouched = Vouched::default();
        let approval = ScepApproval::new(name, Duration::from_secs(86_400 * 365), &vouched);
        let verdict = judge_csr(&provider, &issuance, &csr(&provider)?, &approval, &Limits::default(), runtime.now());
        report.push(RequestReport::new("scep-1", Flow::Scep, verdict));
    }

    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{report}");
    }
    Ok(())
}

/// Requests in a file.
#[cfg(feature = "http-queue")]
fn read(path: &str) -> Fallible<Vec<QueueItem>> {
    let file = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    Ok(intune_connector::dry_run::read_recorded(&file).map_err(|error| format!("{path}: {error}"))?)
}

#[cfg(not(feature = "http-queue"))]
fn read(_: &str) -> Fallible<Vec<QueueItem>> {
    Err("--recorded needs the feature `http-queue`: cargo run --features http-queue --example dry_run".into())
}

/// One request for each verdict.
fn made_up(name: &CaName, device: &CertificateDer<'static>) -> Fallible<Vec<QueueItem>> {
    let ask = |upn: &str| -> Fallible<PkcsRequest> {
        let mut request = PkcsRequest::new(name.clone(), "CN=jane", device.clone());
        request.key = KeyAlgorithm::EcP256;
        request.subject_alt_names = vec![SubjectAltName::Upn(upn.to_owned())];
        request.extended_key_usage = vec![oids::CLIENT_AUTH.parse()?];
        Ok(request)
    };
    let mut too_long = ask("jane@contoso.example")?;
    too_long.validity = Duration::from_secs(86_400 * 3_650);
    let mut own = RevokeRequest::new("1A2B");
    own.issuer = Some(name.to_string());
    let mut others = RevokeRequest::new("1A2B");
    others.issuer = Some("Fabrikam CA".to_owned());
    Ok(vec![
        item("issue-1", Flow::Pkcs, Payload::Pkcs(Box::new(ask("jane@contoso.example")?)))?,
        item("issue-2", Flow::Pkcs, Payload::Pkcs(Box::new(ask("administrator@fabrikam.example")?)))?,
        item("issue-3", Flow::Pkcs, Payload::Pkcs(Box::new(too_long)))?,
        item("issue-4", Flow::Pkcs, Payload::Malformed("the profile has no CA".to_owned()))?,
        item("revoke-1", Flow::Revoke, Payload::Revoke(own))?,
        item("revoke-2", Flow::Revoke, Payload::Revoke(others))?,
    ])
}

fn item(id: &str, flow: Flow, payload: Payload) -> Fallible<QueueItem> {
    Ok(QueueItem::new(RequestMeta::new(id.parse()?, "contoso.example".parse()?, flow), payload))
}

/// The certificate of a device.
fn device(provider: &CryptoProvider) -> Fallible<CertificateDer<'static>> {
    let pair = provider.key_generation()?.generate(KeyAlgorithm::Rsa2048)?;
    let key = provider.signing_keys()?.load(&pair)?;
    let now = Timestamp::system_now();
    let until = now.saturating_add(Duration::from_secs(86_400));
    let name = Name::parse_cert_str("CN=device-1")?;
    let unsigned = CertificateBuilder::new(name, &key.public_key(), now, until, SerialNumber::from_be_bytes(&[1])?)
        .to_be_signed(SignatureAlgorithm::RsaPkcs1Sha256)?;
    let signature = sign_now(&*key, SignatureAlgorithm::RsaPkcs1Sha256, unsigned.message())?;
    Ok(CertificateDer::from(unsigned.finish(&signature)))
}

/// A CSR that asks for an address that the policy does not list.
fn csr(provider: &CryptoProvider) -> Fallible<Vec<u8>> {
    let pair = provider.key_generation()?.generate(KeyAlgorithm::EcP256)?;
    let key = provider.signing_keys()?.load(&pair)?;
    let unsigned = CsrBuilder::new(Name::parse_cert_str("CN=device-2")?, &key.public_key())
        .subject_alt_names(&[SubjectAltName::Dns("vpn.contoso.example".to_owned())])
        .extended_key_usage(&[oids::CLIENT_AUTH.parse()?])
        .to_be_signed(SignatureAlgorithm::EcdsaP256Sha256)?;
    let signature = sign_now(&*key, SignatureAlgorithm::EcdsaP256Sha256, unsigned.message())?;
    Ok(unsigned.finish(&signature))
}
