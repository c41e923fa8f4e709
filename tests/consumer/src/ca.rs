//! A CA that issues with a key of its own, and revokes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::crypto::{CryptoProvider, SignatureAlgorithm, SigningKey};
use intune_connector::ids::{CaName, IdempotencyKey, SerialNumber};
use intune_connector::limits::Limits;
use intune_connector::message::ToBeSigned;
use intune_connector::message::certificate::{Certificate, CertificateBuilder};
use intune_connector::message::crl::CrlBuilder;
use intune_connector::message::csr::Csr;
use intune_connector::message::name::Name;
use intune_connector::ports::{
    CaCapabilities, CertificateAuthority, FindAnswer, FindRequest, IssueAnswer, IssueRequest, Issued, KnownCertificate, LookupAnswer,
    LookupRequest, PortError, RevokeAnswer, RevokeBy, RevokeCall, StatusRequest,
};
use intune_connector::retry::Effect;
use intune_connector::terms::{KeyUsage, RevocationReason};
use intune_connector::time::Timestamp;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

const HOUR: Duration = Duration::from_secs(3_600);
const ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;

#[derive(Debug)]
pub struct OwnCa {
    provider: CryptoProvider,
    name: CaName,
    signer: Option<(Arc<dyn SigningKey>, Certificate)>,
    ledger: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    issued: BTreeMap<IdempotencyKey, CertificateDer<'static>>,
    pending: BTreeMap<String, (IdempotencyKey, CertificateDer<'static>)>,
    serials: BTreeMap<SerialNumber, Option<(Timestamp, RevocationReason)>>,
    answer_pending: bool,
}

impl OwnCa {
    /// A CA that only knows and revokes serial numbers.
    pub fn without_key(provider: CryptoProvider, name: CaName) -> Self {
        Self { provider, name, signer: None, ledger: Mutex::default() }
    }

    /// A CA with a P-256 key and a certificate signed by itself.
    pub async fn new(provider: CryptoProvider, name: CaName, key: Arc<dyn SigningKey>) -> Result<Self, PortError> {
        let subject = Name::parse_cert_str(&format!("CN={name},O=Consumer")).map_err(|error| fault("no name", error))?;
        let now = Timestamp::system_now();
        let unsigned = CertificateBuilder::new(
            subject,
            key.public_key().as_ref(),
            now.saturating_sub(HOUR),
            now.saturating_add(2_000 * 24 * HOUR),
            serial(&provider)?,
        )
        .ca(Some(0))
        .key_identifiers_of(&provider, key.public_key().as_ref())
        .and_then(|builder| builder.to_be_signed(ALGORITHM))
        .map_err(|error| fault("no certificate of the CA's own", error))?;
        let der = sign(&*key, unsigned).await?;
        let certificate =
            Certificate::from_der(&der, &Limits::default()).map_err(|error| fault("no certificate of the CA's own", error))?;
        Ok(Self { signer: Some((key, certificate)), ..Self::without_key(provider, name) })
    }

    pub fn name(&self) -> CaName {
        self.name.clone()
    }

    /// Its own certificate.
    pub fn root(&self) -> CertificateDer<'static> {
        self.signer.as_ref().map(|(_, certificate)| certificate.der().clone()).expect("this CA has a key")
    }

    /// Makes it known without issuing.
    pub fn enter(&self, serial: SerialNumber) {
        self.ledger().serials.insert(serial, None);
    }

    pub fn is_revoked(&self, serial: &SerialNumber) -> bool {
        self.ledger().serials.get(serial).is_some_and(Option::is_some)
    }

    /// The next request is answered by `Pending`.
    pub fn answer_pending(&self) {
        self.ledger().answer_pending = true;
    }

    /// A certificate beside the port, such as a device's or a service's.
    pub async fn issue_to(&self, subject: &str, public_key: &[u8]) -> Result<CertificateDer<'static>, PortError> {
        let subject = Name::parse_cert_str(subject).map_err(|error| fault("no name", error))?;
        let builder = |builder: CertificateBuilder| builder.key_usage(KeyUsage::SIGN_AND_ENCIPHER);
        self.make(subject, public_key, Timestamp::system_now().saturating_add(300 * 24 * HOUR), builder).await
    }

    async fn make(
        &self,
        subject: Name,
        public_key: &[u8],
        not_after: Timestamp,
        fill: impl FnOnce(CertificateBuilder) -> CertificateBuilder,
    ) -> Result<CertificateDer<'static>, PortError> {
        let Some((key, own)) = &self.signer else { return Err(PortError::unsupported("this CA has no key")) };
        let serial = serial(&self.provider)?;
        let builder = CertificateBuilder::new(
            subject,
            public_key,
            Timestamp::system_now().saturating_sub(Duration::from_secs(60)),
            not_after,
            serial.clone(),
        );
        let unsigned = fill(builder.issuer(own.subject().clone()).end_entity())
            .key_identifiers_of(&self.provider, own.spki())
            .and_then(|builder| builder.to_be_signed(ALGORITHM))
            .map_err(|error| fault("the certificate cannot be made", error))?;
        let der = CertificateDer::from(sign(&**key, unsigned).await?);
        self.enter(serial);
        Ok(der)
    }

    fn issued(&self, certificate: CertificateDer<'static>) -> Box<Issued> {
        Box::new(Issued::new(certificate).with_chain(vec![self.root()]).with_ca_side_id("own-1"))
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sign(key: &dyn SigningKey, unsigned: ToBeSigned) -> Result<Vec<u8>, PortError> {
    let signature = key.sign(unsigned.algorithm(), unsigned.message()).await;
    let signature = signature.map_err(|error| PortError::transient("the CA's key is away").with_effect(Effect::None).with_source(error))?;
    Ok(unsigned.finish(&signature))
}

fn serial(provider: &CryptoProvider) -> Result<SerialNumber, PortError> {
    let mut bytes = [0x20; 16];
    provider
        .random()
        .map_err(|error| fault("no randomness", error))?
        .fill(&mut bytes[1..])
        .map_err(|error| fault("no randomness", error))?;
    SerialNumber::from_be_bytes(&bytes).map_err(|error| fault("no serial number", error))
}

fn fault(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> PortError {
    PortError::misconfigured(what).with_source(error)
}

#[async_trait]
impl CertificateAuthority for OwnCa {
    fn capabilities(&self) -> CaCapabilities {
        let mut capabilities = CaCapabilities::minimal();
        capabilities.idempotent_issue = true;
        capabilities.find = true;
        capabilities.revoke_by = vec![RevokeBy::Serial];
        capabilities.lookup_by_serial = true;
        capabilities.sid_extension = true;
        capabilities.uri_san = true;
        capabilities.pending = true;
        capabilities
    }

    async fn issue(&self, request: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
        if request.approved.subject().ca != self.name || request.approved.expires() < Timestamp::system_now() {
            return Err(PortError::rejected("the approval is not for this CA, or has expired"));
        }
        if let Some(known) = self.ledger().issued.get(&request.key) {
            return Ok(IssueAnswer::Issued(self.issued(known.clone())));
        }
        let refused = |error| PortError::rejected("the request is malformed").with_source(error);
        let csr = Csr::from_der(request.csr, &Limits::default()).map_err(refused)?;
        csr.verify_self_signature(&self.provider).map_err(refused)?;
        let plan = request.plan;
        let subject = Name::from_der(&plan.subject).map_err(refused)?;
        let certificate = self
            .make(subject, csr.spki(), plan.not_after, |builder| {
                builder
                    .key_usage(plan.key_usage)
                    .extended_key_usage(&plan.extended_key_usage)
                    .subject_alt_names(&plan.subject_alt_names)
                    .sid(plan.sid_extension.clone())
            })
            .await?;
        let mut ledger = self.ledger();
        if std::mem::take(&mut ledger.answer_pending) {
            let poll_id = format!("poll-{}", request.key.as_uuid());
            ledger.pending.insert(poll_id.clone(), (request.key, certificate));
            return Ok(IssueAnswer::Pending { poll_id, after: Duration::from_millis(1) });
        }
        ledger.issued.insert(request.key, certificate.clone());
        drop(ledger);
        Ok(IssueAnswer::Issued(self.issued(certificate)))
    }

    async fn status(&self, request: StatusRequest<'_>) -> Result<IssueAnswer, PortError> {
        let pending = self.ledger().pending.remove(request.poll_id);
        match pending {
            Some((key, certificate)) => {
                self.ledger().issued.insert(key, certificate.clone());
                Ok(IssueAnswer::Issued(self.issued(certificate)))
            }
            None => Err(PortError::rejected("nothing is pending under this id")),
        }
    }

    async fn find(&self, request: FindRequest<'_>) -> Result<FindAnswer, PortError> {
        let known = self.ledger().issued.get(&request.key).cloned();
        Ok(known.map_or(FindAnswer::Absent, |certificate| FindAnswer::Found(self.issued(certificate))))
    }

    async fn lookup(&self, request: LookupRequest<'_>) -> Result<LookupAnswer, PortError> {
        let known = self.ledger().serials.contains_key(request.serial);
        Ok(if known { LookupAnswer::Found(Box::new(KnownCertificate::new(None, None))) } else { LookupAnswer::Absent })
    }

    async fn revoke(&self, request: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
        Ok(match self.ledger().serials.get_mut(request.serial) {
            None => RevokeAnswer::UnknownSerial,
            Some(Some(_)) => RevokeAnswer::AlreadyRevoked,
            Some(entry) => {
                *entry = Some((Timestamp::system_now(), request.reason));
                RevokeAnswer::Revoked
            }
        })
    }

    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
        Ok(self.signer.iter().map(|(_, certificate)| certificate.der().clone()).collect())
    }

    async fn crl(&self) -> Result<CertificateRevocationListDer<'static>, PortError> {
        let Some((key, own)) = &self.signer else { return Err(PortError::unsupported("this CA has no key")) };
        let now = Timestamp::system_now();
        let mut builder = CrlBuilder::new(own.subject().clone(), now, now.saturating_add(24 * HOUR), 1);
        for (serial, revoked) in &self.ledger().serials {
            if let Some((date, reason)) = revoked {
                builder = builder.revoked(serial.clone(), *date, *reason);
            }
        }
        let unsigned = builder.to_be_signed(ALGORITHM).map_err(|error| fault("the list cannot be made", error))?;
        Ok(CertificateRevocationListDer::from(sign(&**key, unsigned).await?))
    }
}
