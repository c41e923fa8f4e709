//! A CA of one P-256 key that remembers the last thousand certificates: its memory does not grow.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::crypto::{CryptoProvider, SignatureAlgorithm, SigningKey, sign_now};
use intune_connector::ids::{IdempotencyKey, SerialNumber};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::CertificateBuilder;
use intune_connector::message::csr::Csr;
use intune_connector::message::name::Name;
use intune_connector::ports::{
    CaCapabilities, CertificateAuthority, FindAnswer, FindRequest, IssueAnswer, IssueRequest, Issued, PortError, RevokeAnswer, RevokeBy,
    RevokeCall, Runtime,
};
use intune_connector::terms::KeyAlgorithm;
use intune_connector::time::Timestamp;
use rustls_pki_types::CertificateDer;

use crate::faults::{Faults, lost};

const ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;
const REMEMBERED: usize = 1_000;

#[derive(Debug)]
pub struct LoadCa {
    provider: CryptoProvider,
    key: Arc<dyn SigningKey>,
    name: Name,
    certificate: CertificateDer<'static>,
    time: Duration,
    runtime: Arc<dyn Runtime>,
    faults: Arc<Faults>,
    issued: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    by_key: HashMap<IdempotencyKey, Issued>,
    order: VecDeque<IdempotencyKey>,
}

impl LoadCa {
    pub fn new(
        provider: CryptoProvider,
        time: Duration,
        runtime: Arc<dyn Runtime>,
        faults: Arc<Faults>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let key = provider.signing_keys()?.load(&provider.key_generation()?.generate(KeyAlgorithm::EcP256)?)?;
        let name = Name::parse_cert_str("CN=Load CA")?;
        let now = Timestamp::system_now();
        let spki = key.public_key();
        let until = now.saturating_add(Duration::from_secs(3_650 * 86_400));
        let unsigned = CertificateBuilder::new(name.clone(), &spki, now, until, SerialNumber::from_be_bytes(&[1])?)
            .ca(Some(0))
            .key_identifiers_of(&provider, &spki)?
            .to_be_signed(ALGORITHM)?;
        let signature = sign_now(&*key, ALGORITHM, unsigned.message())?;
        let certificate = CertificateDer::from(unsigned.finish(&signature));
        Ok(Self { provider, key, name, certificate, time, runtime, faults, issued: Mutex::default() })
    }

    fn known(&self, key: IdempotencyKey) -> Option<Issued> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner).by_key.get(&key).cloned()
    }

    fn remember(&self, key: IdempotencyKey, issued: Issued) {
        let mut ledger = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.by_key.insert(key, issued);
        ledger.order.push_back(key);
        if ledger.order.len() > REMEMBERED
            && let Some(oldest) = ledger.order.pop_front()
        {
            ledger.by_key.remove(&oldest);
        }
    }

    async fn take_time(&self) {
        if !self.time.is_zero() {
            self.runtime.sleep(self.time).await;
        }
    }
}

#[async_trait]
impl CertificateAuthority for LoadCa {
    fn capabilities(&self) -> CaCapabilities {
        let mut can = CaCapabilities::minimal();
        (can.idempotent_issue, can.find) = (true, true);
        can.in_flight = Duration::from_secs(1);
        can.revoke_by = vec![RevokeBy::Serial];
        can
    }

    async fn issue(&self, request: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
        let is_lost = self.faults.before("issue")?;
        self.take_time().await;
        let issued = match self.known(request.key) {
            Some(issued) => issued,
            None => {
                let broken = |error: &dyn std::fmt::Display| PortError::rejected(format!("the certificate was not made: {error}"));
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
                let signature = sign_now(&*self.key, ALGORITHM, unsigned.message()).map_err(|error| broken(&error))?;
                let issued = Issued::new(CertificateDer::from(unsigned.finish(&signature)));
                self.remember(request.key, issued.clone());
                issued
            }
        };
        if is_lost { Err(lost("issue")) } else { Ok(IssueAnswer::Issued(Box::new(issued))) }
    }

    async fn find(&self, request: FindRequest<'_>) -> Result<FindAnswer, PortError> {
        self.faults.before("find")?;
        Ok(self.known(request.key).map_or(FindAnswer::Absent, |issued| FindAnswer::Found(Box::new(issued))))
    }

    async fn revoke(&self, _: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
        let is_lost = self.faults.before("revoke")?;
        self.take_time().await;
        if is_lost { Err(lost("revoke")) } else { Ok(RevokeAnswer::Revoked) }
    }

    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
        Ok(vec![self.certificate.clone()])
    }
}
