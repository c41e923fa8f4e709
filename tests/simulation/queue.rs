//! Intune's queue and its ledger: leases, repeats, other orders, lost answers, results put off and refused.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::adapters::VirtualRuntime;
use intune_connector::ids::{CaName, InstanceId, RequestId, SerialNumber};
use intune_connector::ports::{
    Batch, CompleteAnswer, CompleteRequest, ExtendLeaseRequest, HealthMessage, ImportKeyName, ImportRequest, IntuneQueue, Outcome, Payload,
    PkcsRequest, PortError, QueueCapabilities, QueueItem, ReceiveRequest, RecryptRequest, RequestMeta, ResultItem, RevokeRequest,
    Runtime as _,
};
use intune_connector::retry::Effect;
use intune_connector::secret::SecretBytes;
use intune_connector::terms::{Flow, KeyAlgorithm, PaddingScheme, PfxProfile, SubjectAltName, oids};

use crate::plan::Chance;
use crate::process::Process;
use crate::shared::SHARED;

const LEASE: Duration = Duration::from_secs(300);
/// After a revocation that failed for a reason that may pass.
const OFFERED_AGAIN: Duration = Duration::from_secs(1_800);

/// One request as the service knows it.
#[derive(Debug)]
pub struct Entry {
    pub flow: Flow,
    pub id: RequestId,
    /// Of the certificate to be revoked.
    pub serial: Option<SerialNumber>,
    /// When it can be had.
    pub arrives: Duration,
    pub deliveries: u32,
    pub first_delivery: Option<Duration>,
    lease: Option<(InstanceId, Duration)>,
    /// So often it is delivered though it is leased or has a result.
    again: u32,
    /// The result that was taken, and when.
    pub accepted: Option<(Outcome, Duration)>,
    /// Every result that came, in order, whatever was answered.
    pub uploads: Vec<Outcome>,
    /// The service will take no result any more.
    pub refused: bool,
    /// Another result came after the one that was taken.
    pub changed: bool,
}

impl Entry {
    pub fn new(flow: Flow, number: usize, serial: Option<SerialNumber>, arrives: Duration) -> Self {
        let id = format!("{flow}-{number}").parse().unwrap();
        Self {
            flow,
            id,
            serial,
            arrives,
            deliveries: 0,
            first_delivery: None,
            lease: None,
            again: 0,
            accepted: None,
            uploads: Vec::new(),
            refused: false,
            changed: false,
        }
    }

    pub fn is_ended(&self) -> bool {
        self.refused || self.accepted.as_ref().is_some_and(|(outcome, _)| !outcome.is_offered_again())
    }

    fn item(&self, ca: &CaName) -> QueueItem {
        let recipient = SHARED.device.certificate.der().clone();
        let payload = match self.flow {
            Flow::Pkcs => {
                let account = format!("{}@contoso.example", self.id);
                let mut request = PkcsRequest::new(ca.clone(), format!("CN={account}"), recipient);
                request.subject_alt_names = vec![SubjectAltName::Upn(account)];
                request.extended_key_usage = vec![oids::CLIENT_AUTH.parse().unwrap()];
                request.key = KeyAlgorithm::EcP256;
                request.pfx_profile = PfxProfile::Pbmac1;
                Payload::Pkcs(Box::new(request))
            }
            Flow::PkcsRecrypt => Payload::Recrypt(Box::new(RecryptRequest::new(SHARED.payload.clone(), recipient))),
            Flow::PkcsImport => Payload::Import(Box::new(ImportRequest::new(
                import_key_name(),
                PaddingScheme::OaepSha256,
                SHARED.encrypted_password.clone(),
                SecretBytes::copy_from(&SHARED.pfx),
                recipient,
            ))),
            _ => {
                let mut request = RevokeRequest::new(self.serial.as_ref().map(ToString::to_string).unwrap_or_default());
                request.issuer = Some(ca.as_str().to_owned());
                Payload::Revoke(request)
            }
        };
        let mut meta = RequestMeta::new(self.id.clone(), "contoso.example".parse().unwrap(), self.flow);
        meta.device = Some("device".parse().unwrap());
        QueueItem::new(meta, payload)
    }
}

pub fn import_key_name() -> ImportKeyName {
    ImportKeyName { provider: "Key Storage".to_owned(), key: "import".to_owned() }
}

/// The service.
#[derive(Debug)]
pub struct Service {
    pub ca: CaName,
    pub entries: Mutex<Vec<Entry>>,
    pub redelivers_elsewhere: bool,
}

impl Service {
    pub fn is_done(&self) -> bool {
        self.entries.lock().unwrap().iter().all(Entry::is_ended)
    }

    /// Delivers each request once more, as queues do now and then; its result is known by now.
    pub fn deliver_all_again(&self, now: Duration) {
        for entry in self.entries.lock().unwrap().iter_mut().filter(|entry| !entry.refused) {
            entry.arrives = now;
            entry.lease = None;
            entry.again = 1;
        }
    }
}

/// The queue as one process reaches it.
#[derive(Debug)]
pub struct QueuePort {
    pub service: Arc<Service>,
    pub process: Arc<Process>,
    pub chance: Arc<Chance>,
    pub runtime: VirtualRuntime,
}

impl QueuePort {
    fn tell(&self, line: impl FnOnce() -> String) {
        self.chance.tell(|| format!("{}/{} {}", self.process.instance, self.process.number, line()));
    }

    async fn wait(&self, from: u64, to: u64) {
        self.runtime.sleep(self.chance.seconds(from, to)).await;
    }

    /// What is free now, in the order of the seed.
    fn deliver(&self, request: &ReceiveRequest, repeat: bool) -> Vec<QueueItem> {
        let now = self.runtime.monotonic();
        let mut entries = self.service.entries.lock().unwrap();
        let mut free: Vec<usize> = (0..entries.len())
            .filter(|index| {
                let entry = &entries[*index];
                let leased = entry.lease.as_ref().is_some_and(|(_, until)| *until > now);
                entry.flow == request.flow && entry.arrives <= now && ((!entry.is_ended() && !leased) || entry.again > 0)
            })
            .collect();
        if repeat {
            // Also what somebody has, or what has ended.
            let known: Vec<usize> =
                (0..entries.len()).filter(|index| entries[*index].flow == request.flow && entries[*index].deliveries > 0).collect();
            if !known.is_empty() {
                free.push(known[self.chance.below(known.len() as u64) as usize]);
            }
        }
        for last in (1..free.len()).rev() {
            free.swap(last, self.chance.below(last as u64 + 1) as usize);
        }
        free.truncate(request.max);
        for index in &free {
            let entry = &mut entries[*index];
            entry.deliveries += 1;
            entry.first_delivery.get_or_insert(now);
            entry.lease = Some((request.instance.clone(), now + LEASE));
            entry.again = entry.again.saturating_sub(1);
        }
        free.iter().map(|index| entries[*index].item(&self.service.ca)).collect()
    }

    fn judge(&self, result: ResultItem) -> CompleteAnswer {
        let now = self.runtime.monotonic();
        let put_off = self.chance.strikes();
        // Once in a while for good.
        let refuses = put_off && self.chance.one_in(6);
        let mut entries = self.service.entries.lock().unwrap();
        let Some(entry) = entries.iter_mut().find(|entry| entry.flow == result.meta.flow && entry.id == result.meta.id) else {
            return CompleteAnswer::Refused("no such request".to_owned());
        };
        entry.uploads.push(result.outcome.clone());
        let id = entry.id.clone();
        let answer = if entry.refused {
            CompleteAnswer::Refused("the request is gone".to_owned())
        } else if refuses && entry.accepted.is_none() {
            entry.refused = true;
            CompleteAnswer::Refused("the device has left".to_owned())
        } else if put_off {
            CompleteAnswer::TryAgain("not now".to_owned())
        } else {
            match &entry.accepted {
                Some((accepted, _)) if *accepted == result.outcome => CompleteAnswer::Accepted,
                Some((accepted, _)) if !accepted.is_offered_again() => {
                    entry.changed = true;
                    CompleteAnswer::Refused("another result was accepted before".to_owned())
                }
                _ => {
                    if result.outcome.is_offered_again() {
                        entry.arrives = now + OFFERED_AGAIN;
                    }
                    entry.accepted = Some((result.outcome, now));
                    entry.lease = None;
                    CompleteAnswer::Accepted
                }
            }
        };
        drop(entries);
        self.tell(|| format!("  result of {id}: {answer:?}"));
        answer
    }
}

#[async_trait]
impl IntuneQueue for QueuePort {
    fn capabilities(&self) -> QueueCapabilities {
        let mut capabilities = QueueCapabilities::new(vec![Flow::Pkcs, Flow::PkcsRecrypt, Flow::PkcsImport, Flow::Revoke]);
        capabilities.lease = Some(LEASE);
        capabilities.redelivers_elsewhere = self.service.redelivers_elsewhere;
        capabilities
    }

    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, PortError> {
        self.process.pass().await;
        let fault = self.chance.strikes().then(|| self.chance.below(5));
        self.tell(|| format!("receive {} fault {fault:?}", request.flow));
        let items = match fault {
            Some(0) => return Err(PortError::transient("no connection").with_effect(Effect::None)),
            Some(1) => {
                self.deliver(&request, false);
                self.wait(0, 5).await;
                return Err(PortError::transient("the answer to the download was lost"));
            }
            Some(2) => {
                let items = self.deliver(&request, false);
                self.wait(10, 90).await;
                items
            }
            Some(3) => {
                self.wait(0, 20).await;
                return Err(PortError::transient("slow down").with_retry_after(Duration::from_secs(40)));
            }
            fault => self.deliver(&request, fault.is_some()),
        };
        self.tell(|| format!("  delivered {:?}", items.iter().map(|item| item.meta.id.as_str()).collect::<Vec<_>>()));
        self.process.pass().await;
        Ok(Batch::new(items))
    }

    async fn complete(&self, request: CompleteRequest) -> Result<Vec<CompleteAnswer>, PortError> {
        self.process.pass().await;
        let fault = self.chance.strikes().then(|| self.chance.below(4));
        self.tell(|| {
            let ids: Vec<&str> = request.results.iter().map(|result| result.meta.id.as_str()).collect();
            format!("complete {ids:?} fault {fault:?}")
        });
        match fault {
            Some(0) => return Err(PortError::transient("no connection").with_effect(Effect::None)),
            Some(1) => self.wait(10, 90).await,
            _ => {}
        }
        let answers = request.results.into_iter().map(|result| self.judge(result)).collect();
        match fault {
            Some(2) => return Err(PortError::transient("the answer to the upload was lost")),
            Some(3) => self.wait(10, 90).await,
            _ => {}
        }
        self.process.pass().await;
        Ok(answers)
    }

    async fn extend_lease(&self, request: ExtendLeaseRequest) -> Result<(), PortError> {
        self.process.pass().await;
        if self.chance.strikes() {
            return Err(PortError::transient("no connection"));
        }
        let now = self.runtime.monotonic();
        let mut entries = self.service.entries.lock().unwrap();
        for entry in entries.iter_mut().filter(|entry| entry.flow == request.flow && request.requests.contains(&entry.id)) {
            if let Some((holder, until)) = &mut entry.lease
                && *holder == request.instance
            {
                *until = now + LEASE;
            }
        }
        Ok(())
    }

    async fn report_health(&self, _: HealthMessage) -> Result<(), PortError> {
        self.process.pass().await;
        if self.chance.strikes() { Err(PortError::transient("no connection")) } else { Ok(()) }
    }
}
