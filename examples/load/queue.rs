//! A queue that makes requests as they are asked for, and keeps of each only what judges its result.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use intune_connector::ids::RequestId;
use intune_connector::ports::{
    Batch, CompleteAnswer, CompleteRequest, HealthMessage, IntuneQueue, Outcome, Payload, PkcsRequest, PortError, QueueCapabilities,
    QueueItem, ReceiveRequest, RequestMeta, RevokeRequest,
};
use intune_connector::terms::{Flow, KeyAlgorithm, oids};
use rustls_pki_types::CertificateDer;

use crate::arguments::{Arguments, Work};
use crate::faults::{Faults, lost};

/// Makes the requests of one process.
#[derive(Debug)]
pub struct LoadQueue {
    work: Work,
    batch: usize,
    rate: Option<u32>,
    requests: u64,
    /// No request comes before.
    opens: Instant,
    /// Before the numbers in ids: other runs over the same journal have others.
    prefix: String,
    recipient: CertificateDer<'static>,
    faults: Arc<Faults>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// None before the first poll.
    start: Option<Instant>,
    end: Option<Instant>,
    made: u64,
    open: BTreeMap<u64, ()>,
    again: VecDeque<u64>,
    accepted: u64,
    failed: u64,
    unknown: u64,
    first_failure: Option<String>,
}

/// The queue's own account.
#[derive(Debug, Clone, Default)]
pub struct Account {
    pub made: u64,
    pub accepted: u64,
    pub failed: u64,
    /// Results of requests that are not open: uploaded again, or never delivered.
    pub again: u64,
    /// From the first download to the last result.
    pub took: Duration,
    pub first_failure: Option<String>,
}

impl LoadQueue {
    pub fn new(arguments: &Arguments, requests: u64, prefix: String, recipient: CertificateDer<'static>, faults: Arc<Faults>) -> Self {
        let Arguments { work, batch, rate, .. } = *arguments;
        let opens = Instant::now() + arguments.after;
        Self { work, batch, rate, requests, opens, prefix, recipient, faults, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_done(&self) -> bool {
        let state = self.lock();
        state.made == self.requests && state.open.is_empty()
    }

    pub fn account(&self) -> Account {
        let state = self.lock();
        let took = state.start.zip(state.end).map(|(start, end)| end - start).unwrap_or_default();
        Account {
            made: state.made,
            accepted: state.accepted,
            failed: state.failed,
            again: state.unknown,
            took,
            first_failure: state.first_failure.clone(),
        }
    }

    pub fn flow(&self) -> Flow {
        if self.work == Work::Revoke { Flow::Revoke } else { Flow::Pkcs }
    }

    fn item(&self, number: u64) -> Result<QueueItem, PortError> {
        let broken = |error: &dyn std::fmt::Display| PortError::rejected(format!("no request could be made: {error}"));
        let id: RequestId = format!("{}-{number}", self.prefix).parse().map_err(|error| broken(&error))?;
        let tenant = crate::TENANT.parse().map_err(|error| broken(&error))?;
        let mut meta = RequestMeta::new(id, tenant, self.flow());
        let payload = if self.work == Work::Revoke {
            let mut request = RevokeRequest::new(format!("{:032x}", number + 1));
            request.issuer = Some(crate::CA.to_owned());
            Payload::Revoke(request)
        } else {
            let ca = crate::CA.parse().map_err(|error| broken(&error))?;
            let mut request = PkcsRequest::new(ca, format!("CN={}", crate::DEVICE), self.recipient.clone());
            request.extended_key_usage = vec![oids::CLIENT_AUTH.parse().map_err(|error| broken(&error))?];
            request.key = if self.work == Work::PkcsP256 { KeyAlgorithm::EcP256 } else { KeyAlgorithm::Rsa2048 };
            request.validity = Duration::from_secs(90 * 86_400);
            meta.device = Some(crate::DEVICE.parse().map_err(|error| broken(&error))?);
            Payload::Pkcs(Box::new(request))
        };
        Ok(QueueItem::new(meta, payload))
    }
}

#[async_trait]
impl IntuneQueue for LoadQueue {
    fn capabilities(&self) -> QueueCapabilities {
        let mut can = QueueCapabilities::new(vec![self.flow()]);
        can.max_batch = self.batch;
        can
    }

    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, PortError> {
        if Instant::now() < self.opens {
            return Ok(Batch::default());
        }
        let is_lost = self.faults.before("receive")?;
        let numbers = {
            let mut state = self.lock();
            let since = state.start.get_or_insert_with(Instant::now).elapsed();
            let most = self.rate.map_or(self.requests, |rate| self.requests.min((since.as_secs_f64() * f64::from(rate)) as u64));
            let mut numbers = Vec::new();
            while numbers.len() < request.max {
                if let Some(number) = state.again.pop_front() {
                    numbers.push(number);
                } else if state.made < most {
                    numbers.push(state.made);
                    let made = state.made;
                    state.open.insert(made, ());
                    state.made += 1;
                } else {
                    break;
                }
            }
            if is_lost {
                state.again.extend(numbers.drain(..));
            }
            numbers
        };
        if is_lost {
            return Err(lost("receive"));
        }
        let items = numbers.into_iter().map(|number| self.item(number)).collect::<Result<Vec<_>, _>>()?;
        Ok(Batch::new(items))
    }

    async fn complete(&self, request: CompleteRequest) -> Result<Vec<CompleteAnswer>, PortError> {
        let is_lost = self.faults.before("complete")?;
        let mut state = self.lock();
        state.end = Some(Instant::now());
        for result in &request.results {
            let number = result.meta.id.as_str().rsplit_once('-').and_then(|(_, number)| number.parse().ok());
            match number.and_then(|number: u64| state.open.remove(&number)) {
                Some(()) => state.accepted += 1,
                None => state.unknown += 1,
            }
            let failure = match &result.outcome {
                Outcome::Failed(failure) => Some(failure.message.clone()),
                Outcome::Revoke(revoked) if revoked.error.is_some() => Some(revoked.message.clone().unwrap_or_default()),
                _ => None,
            };
            if failure.is_some() {
                state.failed += 1;
                state.first_failure = state.first_failure.take().or(failure);
            }
        }
        drop(state);
        if is_lost { Err(lost("complete")) } else { Ok(vec![CompleteAnswer::Accepted; request.results.len()]) }
    }

    async fn report_health(&self, _: HealthMessage) -> Result<(), PortError> {
        Ok(())
    }
}
