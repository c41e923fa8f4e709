//! The CA, its RA if there is one, and the SCEP service before them.

use std::sync::Arc;
use std::time::Duration;

use intune_connector::adapters::{DangerousStaticChallenge, LocalCa, NoNotification, StdRuntime, VolatileJournal};
use intune_connector::crypto::CryptoProvider;
use intune_connector::message::name::Name;
use intune_connector::policy::IssuancePolicy;
use intune_connector::scep::{AlgorithmPolicy, RegistrationAuthority, Service};
use intune_connector::secret::Password;
use intune_connector::terms::{KeyAlgorithm, KeyUsage, oids};

use crate::Result;
use crate::arguments::{Algorithms, Arguments, Ra, Renewal};
use crate::files::{JsonLines, write_pem};

/// The CA and the keys by which clients talk to it. Writes `ca.pem`, and `ra.pem` when there is an RA.
pub fn certificate_authority(provider: &CryptoProvider, arguments: &Arguments) -> Result<(Arc<LocalCa>, RegistrationAuthority)> {
    let name = "SCEP example CA".parse()?;
    let ledger = arguments.dir.join("ledger.bin");
    let (ca, authority) = match arguments.ra {
        Ra::None => {
            // That of an earlier run would be the wrong one to encrypt to.
            let _ = std::fs::remove_file(arguments.dir.join("ra.pem"));
            let (ca, authority) = LocalCa::serving_scep(provider.clone(), name, arguments.ca)?;
            (ca.ledger_file(ledger)?, authority)
        }
        Ra::Rsa => {
            let ca = LocalCa::new(provider.clone(), name, arguments.ca)?.ledger_file(ledger)?;
            let key = provider.key_generation()?.generate(KeyAlgorithm::Rsa2048)?;
            let (signing, decryption) = (provider.signing_keys()?.load(&key)?, provider.decryption_keys()?.load(&key)?);
            let subject = Name::parse_cert_str("CN=SCEP example RA,O=TEST ONLY do not trust")?;
            let year = Duration::from_secs(365 * 86_400);
            let certificate = ca.issue_service_certificate(subject, &signing.public_key(), KeyUsage::SIGN_AND_ENCIPHER, &[], year)?;
            write_pem(&arguments.dir.join("ra.pem"), "CERTIFICATE", certificate.der())?;
            (ca, RegistrationAuthority::single(certificate.der().clone(), signing, decryption))
        }
    };
    write_pem(&arguments.dir.join("ca.pem"), "CERTIFICATE", ca.certificate().der())?;
    Ok((Arc::new(ca), authority))
}

/// The service: one static challenge, nobody to notify.
pub async fn service(
    provider: CryptoProvider,
    ca: Arc<LocalCa>,
    authority: RegistrationAuthority,
    arguments: &Arguments,
) -> Result<Service> {
    if arguments.pending_seconds.is_some() {
        return Err("--pending is not served yet".into());
    }
    if arguments.renewal == Renewal::WithoutChallenge {
        return Err("--renewal-without-challenge is not served yet".into());
    }
    // A demonstration: whoever knows the challenge gets any name. CSRs without extendedKeyUsage are served as well.
    let policy = IssuancePolicy::dangerous_allow_any_identity().allow_extended_key_usage(oids::ANY_EXTENDED_KEY_USAGE.parse()?);
    let algorithms = match arguments.algorithms {
        Algorithms::Legacy => AlgorithmPolicy::DangerousAllow3DesAndSha1,
        Algorithms::Modern => AlgorithmPolicy::Modern,
    };
    let service = Service::builder(
        provider,
        Arc::new(VolatileJournal::new()),
        ca.name().clone(),
        ca,
        authority,
        Arc::new(DangerousStaticChallenge::new(Password::from(arguments.challenge.as_str()))?),
        Arc::new(NoNotification),
    )
    .tenant("example.invalid".parse()?)
    .instance("scep-example".parse()?)
    .runtime(Arc::new(StdRuntime::new()?))
    .sink(Arc::new(JsonLines::create(&arguments.dir)?))
    .policy(policy)
    .algorithms(algorithms)
    .validity(Duration::from_secs(90 * 86_400));
    Ok(service.build().await?)
}
