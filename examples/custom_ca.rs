//! Your own CA behind the connector: implement `CertificateAuthority`, hand it to the PKCS flow, serve one request.
//!
//! This CA signs with a key in memory. Yours may call an HTTP API, an HSM or a program: what it must keep is in the documentation of the
//! trait, and the conformance suite (feature `conformance`) tells what it breaks.

use core::time::Duration;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use intune_connector::adapters::{InMemoryQueue, RecordingSink, StdRuntime, VolatileJournal};
use intune_connector::connector::Connector;
use intune_connector::crypto::{CryptoProvider, SignatureAlgorithm, SigningKey};
use intune_connector::ids::{CaName, IdempotencyKey, SerialNumber};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::CertificateBuilder;
use intune_connector::message::csr::Csr;
use intune_connector::message::name::Name;
use intune_connector::pkcs::PkcsConfig;
use intune_connector::policy::{IssuancePolicy, RecipientPolicy};
use intune_connector::ports::{
    CaCapabilities, CertificateAuthority, FindAnswer, FindRequest, IssueAnswer, IssueRequest, Issued, Outcome, Payload, PkcsRequest,
    PortError, QueueItem, RequestMeta, RevokeAnswer, RevokeCall,
};
use intune_connector::terms::{Flow, KeyAlgorithm, SubjectAltName, oids};
use intune_connector::time::Timestamp;
use rustls_pki_types::CertificateDer;

const ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;

/// A CA of one key. The ledger makes it idempotent: the same request never gets a second certificate.
#[derive(Debug)]
struct MyCa {
    provider: CryptoProvider,
    key: Arc<dyn SigningKey>,
    name: Name,
    certificate: CertificateDer<'static>,
    ledger: Mutex<Vec<(IdempotencyKey, Issued)>>,
}

impl MyCa {
    fn new(provider: CryptoProvider) -> Result<Self, Box<dyn std::error::Error>> {
        let pair = provider.key_generation()?.generate(KeyAlgorithm::EcP256)?;
        let key = provider.signing_keys()?.load(&pair)?;
        let name = Name::parse_cert_str("CN=My CA,O=Contoso")?;
        let now = Timestamp::system_now();
        let until = now.saturating_add(Duration::from_secs(3_650 * 86_400));
        let spki = key.public_key();
        let unsigned = CertificateBuilder::new(name.clone(), &spki, now, until, SerialNumber::from_be_bytes(&[1])?)
            .ca(Some(0))
            .key_identifiers_of(&provider, &spki)?
            .to_be_signed(ALGORITHM)?;
        let signature = intune_connector::crypto::sign_now(&*key, ALGORITHM, unsigned.message())?;
        let certificate = CertificateDer::from(unsigned.finish(&signature));
        Ok(Self { provider, key, name, certificate, ledger: Mutex::default() })
    }

    fn issued(&self, key: IdempotencyKey) -> Option<Issued> {
        let ledger = self.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        ledger.iter().find(|(known, _)| *known == key).map(|(_, issued)| issued.clone())
    }
}

#[async_trait]
impl CertificateAuthority for MyCa {
    fn capabilities(&self) -> CaCapabilities {
        // Claim only what holds: the connector's promises follow from it.
        let mut can = CaCapabilities::minimal();
        can.idempotent_issue = true;
        can.find = true;
        can.uri_san = true;
        can
    }

    async fn issue(&self, request: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
        if let Some(issued) = self.issued(request.key) {
            return Ok(IssueAnswer::Issued(Box::new(issued)));
        }
        let broken = |error: &dyn std::fmt::Display| PortError::rejected(format!("the certificate was not made: {error}"));
        // The plan is what was approved; from the CSR only the public key is needed.
        let plan = request.plan;
        let csr = Csr::from_der(request.csr, &Limits::default()).map_err(|error| broken(&error))?;
        let subject = Name::from_der(&plan.subject).map_err(|error| broken(&error))?;
        let mut serial = [0; 16];
        self.provider.random().map_err(|error| broken(&error))?.fill(&mut serial).map_err(|error| broken(&error))?;
        serial[0] = serial[0] & 0x7f | 0x40;
        let serial = SerialNumber::from_be_bytes(&serial).map_err(|error| broken(&error))?;
        let unsigned = CertificateBuilder::new(subject, csr.spki(), Timestamp::system_now(), plan.not_after, serial)
            .issuer(self.name.clone())
            .end_entity()
            .key_usage(plan.key_usage)
            .extended_key_usage(&plan.extended_key_usage)
            .subject_alt_names(&plan.subject_alt_names)
            .key_identifiers_of(&self.provider, &self.key.public_key())
            .and_then(|builder| builder.to_be_signed(ALGORITHM))
            .map_err(|error| broken(&error))?;
        let signature = self.key.sign(ALGORITHM, unsigned.message()).await.map_err(|error| PortError::transient(error.to_string()))?;
        let issued = Issued::new(CertificateDer::from(unsigned.finish(&signature)));
        self.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((request.key, issued.clone()));
        Ok(IssueAnswer::Issued(Box::new(issued)))
    }

    async fn find(&self, request: FindRequest<'_>) -> Result<FindAnswer, PortError> {
        Ok(self.issued(request.key).map_or(FindAnswer::Absent, |issued| FindAnswer::Found(Box::new(issued))))
    }

    async fn revoke(&self, _: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
        Err(PortError::unsupported("this CA does not revoke"))
    }

    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
        Ok(vec![self.certificate.clone()])
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let ca_name: CaName = "My CA".parse()?;
    let ca = Arc::new(MyCa::new(provider.clone())?);
    let queue = Arc::new(InMemoryQueue::new());
    let sink = Arc::new(RecordingSink::new());
    let runtime = Arc::new(StdRuntime::new()?);

    // A device that the recipient policy pins. In production it trusts the CA of Intune's device certificates instead.
    let device = intune_connector::adapters::LocalCa::new(provider.clone(), "Devices".parse()?, KeyAlgorithm::Rsa2048)?;
    let device_key = provider.key_generation()?.generate(KeyAlgorithm::Rsa2048)?;
    let device_spki = provider.decryption_keys()?.load(&device_key)?.public_key();
    let month = Duration::from_secs(30 * 86_400);
    let usage = intune_connector::terms::KeyUsage::SIGN_AND_ENCIPHER;
    let device = device.issue_service_certificate(Name::parse_cert_str("CN=device-1")?, &device_spki, usage, &[], month)?;

    let client_auth = oids::CLIENT_AUTH.parse()?;
    let mut request = PkcsRequest::new(ca_name.clone(), "CN=jane", device.der().clone());
    request.subject_alt_names = vec![SubjectAltName::Upn("jane@contoso.com".to_owned())];
    request.extended_key_usage = vec![oids::CLIENT_AUTH.parse()?];
    let mut meta = RequestMeta::new("request-1".parse()?, "contoso.com".parse()?, Flow::Pkcs);
    meta.device = Some("device-1".parse()?);
    queue.push(QueueItem::new(meta, Payload::Pkcs(Box::new(request))));

    let issuance = IssuancePolicy::deny_all().allow_upn_suffix("contoso.com").allow_extended_key_usage(client_auth);
    let recipients = RecipientPolicy::new().pin_certificate(device.der().clone());
    let connector = Connector::builder(provider, Arc::new(VolatileJournal::new()))
        .tenant("contoso.com".parse()?)
        .instance("example".parse()?)
        .sink(sink.clone())
        .runtime(runtime.clone())
        .pkcs(PkcsConfig::new(queue.clone(), ca_name, ca, issuance, recipients))
        .build()?;
    runtime.block_on(async { while connector.run_once().await.held > 0 {} });

    let mut out = std::io::stdout();
    for event in sink.events() {
        std::io::Write::write_all(&mut out, format!("{} {} {}\n", event.id.code(), event.id.name(), event.message).as_bytes())?;
    }
    match queue.result_of(Flow::Pkcs, &"request-1".parse()?) {
        Some(Outcome::Pkcs(result)) => {
            let line = format!("issued by {} with serial number {}, until {}\n", result.ca, result.serial, result.not_after);
            std::io::Write::write_all(&mut out, line.as_bytes())?;
            Ok(())
        }
        other => Err(format!("the request was not served: {other:?}").into()),
    }
}
