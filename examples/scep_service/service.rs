//! The CA, its RA if there is one, and the SCEP service before them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use intune_connector::adapters::{
    DangerousStaticChallenge, InMemoryRegistrationAuthorities, LocalCa, NoNotification, SqliteJournal, TokioRuntime,
};
use intune_connector::crypto::CryptoProvider;
use intune_connector::message::name::Name;
use intune_connector::policy::IssuancePolicy;
use intune_connector::scep::{
    AlgorithmPolicy, ManagedRegistrationAuthority, PendingPolicy, RegistrationAuthoritySource, RenewalPolicy, Service,
};
use intune_connector::secret::{Password, SecretBytes};
use intune_connector::terms::oids;

use crate::Result;
use crate::arguments::{Algorithms, Arguments, Ra, Renewal};
use crate::files::{JsonLines, write_pem};

/// The CA, and where the keys come from by which clients talk to it. Writes `ca.pem`.
pub fn certificate_authority(provider: &CryptoProvider, arguments: &Arguments) -> Result<(Arc<LocalCa>, RegistrationAuthoritySource)> {
    let name = "SCEP example CA".parse()?;
    let ledger = arguments.dir.join("ledger.bin");
    let (ca, ra) = match arguments.ra {
        Ra::None => {
            let (ca, ra) = LocalCa::serving_scep(provider.clone(), name, arguments.ca)?;
            (ca, ra.into())
        }
        Ra::Rsa => {
            let subject = Name::parse_cert_str("CN=SCEP example RA,O=TEST ONLY do not trust")?;
            let store = Arc::new(InMemoryRegistrationAuthorities::single(provider.clone()));
            (LocalCa::new(provider.clone(), name, arguments.ca)?, ManagedRegistrationAuthority::new(subject, store).into())
        }
    };
    let ca = ca.ledger_file(ledger)?;
    write_pem(&arguments.dir.join("ca.pem"), "CERTIFICATE", ca.certificate().der())?;
    Ok((Arc::new(ca), ra))
}

/// The service: one static challenge, nobody to notify. Writes `ra.pem` when there is an RA.
pub async fn service(
    provider: CryptoProvider,
    ca: Arc<LocalCa>,
    ra: RegistrationAuthoritySource,
    arguments: &Arguments,
) -> Result<Service> {
    // A demonstration: whoever knows the challenge gets any name. CSRs without extendedKeyUsage are served as well.
    let policy = IssuancePolicy::dangerous_allow_any_identity().allow_extended_key_usage(oids::ANY_EXTENDED_KEY_USAGE.parse()?);
    let algorithms = match arguments.algorithms {
        Algorithms::Legacy => AlgorithmPolicy::DangerousReadSingleDes,
        Algorithms::Modern => AlgorithmPolicy::Modern,
    };
    let renewal = match arguments.renewal {
        Renewal::WithChallenge => RenewalPolicy::WithChallenge,
        Renewal::WithoutChallenge => RenewalPolicy::CertificateSuffices,
    };
    let pending = match arguments.pending_seconds {
        Some(_) => PendingPolicy::AnswerPending,
        None => PendingPolicy::WaitForTheDeadline,
    };
    let mut sealing_key = SecretBytes::zeroed(32);
    provider.random()?.fill(sealing_key.secret_bytes_mut())?;
    let service = Service::builder(
        provider,
        Arc::new(journal(&arguments.dir)?),
        ca.name().clone(),
        ca.clone(),
        ra,
        Arc::new(DangerousStaticChallenge::new(Password::from(arguments.challenge.as_str()))?),
        Arc::new(NoNotification),
    )
    .tenant("example.invalid".parse()?)
    .instance("scep-example".parse()?)
    .runtime(Arc::new(TokioRuntime::with_work_on_the_workers(tokio::runtime::Handle::current())))
    .sink(Arc::new(JsonLines::create(&arguments.dir)?))
    .policy(policy)
    .algorithms(algorithms)
    .renewal(renewal)
    .pending(pending)
    .sealing_key(sealing_key)
    .validity(Duration::from_secs(90 * 86_400));
    let service = service.build().await?;
    // Not before: the RA's certificate need not wait.
    ca.hold_requests(Duration::from_secs(arguments.pending_seconds.unwrap_or(0)));
    let ra_pem = arguments.dir.join("ra.pem");
    match (arguments.ra, service.ca_certificates().first()) {
        (Ra::Rsa, Some(certificate)) => write_pem(&ra_pem, "CERTIFICATE", certificate)?,
        // That of an earlier run would be the wrong one to encrypt to.
        _ => drop(std::fs::remove_file(ra_pem)),
    }
    Ok(service)
}

/// An empty journal: the CA of an earlier run, whose transactions the old one has, died with its process.
fn journal(dir: &Path) -> Result<SqliteJournal> {
    for file in ["journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm"] {
        let _ = std::fs::remove_file(dir.join(file));
    }
    Ok(SqliteJournal::open(dir.join("journal.sqlite"))?)
}
