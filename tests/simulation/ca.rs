//! CAs of each kind and their ledger. What a CA was told to do it does in its own time, whether or not anybody still waits for the answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::adapters::VirtualRuntime;
use intune_connector::crypto::sign_now;
use intune_connector::ids::{IdempotencyKey, SerialNumber};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::CertificateBuilder;
use intune_connector::message::csr::Csr;
use intune_connector::message::name::Name;
use intune_connector::ports::{
    CaCapabilities, CertificateAuthority, CertificatePlan, CertificateStatus, FindAllAnswer, FindAnswer, FindRequest, IssueAnswer,
    IssueRequest, Issued, KnownCertificate, LookupAnswer, LookupRequest, PortError, RevokeAnswer, RevokeBy, RevokeCall, Runtime as _,
    StatusRequest,
};
use intune_connector::retry::Effect;
use rustls_pki_types::CertificateDer;

use crate::plan::Chance;
use crate::process::Process;
use crate::shared::{DAY, SHARED};

/// How long it may still issue after a lost answer, as it says.
pub const IN_FLIGHT: Duration = Duration::from_secs(120);

/// What the CA can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Searchable,
    Idempotent,
    SearchableAndIdempotent,
    /// Neither.
    Blind,
}

/// One certificate.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: Option<IdempotencyKey>,
    pub subject: String,
    pub serial: SerialNumber,
    pub certificate: CertificateDer<'static>,
    pub revoked: bool,
    /// Not as planned, so that it may not be delivered.
    pub spoilt: bool,
}

/// What it will do.
#[derive(Debug)]
struct Order {
    key: IdempotencyKey,
    spki: Vec<u8>,
    plan: CertificatePlan,
    spoilt: bool,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    orders: BTreeMap<(Duration, u64), Order>,
    next: u64,
    /// Until when a request is pending.
    pending: BTreeMap<String, (IdempotencyKey, Duration)>,
    /// Whose requests it refused for good.
    refused: Vec<String>,
}

/// The CA.
#[derive(Debug)]
pub struct Ca {
    pub kind: Kind,
    pub chance: Arc<Chance>,
    pub runtime: VirtualRuntime,
    state: Mutex<State>,
}

impl Ca {
    pub fn new(kind: Kind, chance: Arc<Chance>, runtime: VirtualRuntime) -> Self {
        Self { kind, chance, runtime, state: Mutex::default() }
    }

    pub fn is_idempotent(&self) -> bool {
        matches!(self.kind, Kind::Idempotent | Kind::SearchableAndIdempotent)
    }

    pub fn is_searchable(&self) -> bool {
        matches!(self.kind, Kind::Searchable | Kind::SearchableAndIdempotent)
    }

    /// The ledger, with all that is due by now.
    pub fn ledger(&self) -> Vec<Entry> {
        self.state().entries.clone()
    }

    /// The subjects of requests that it refused.
    pub fn refused(&self) -> Vec<String> {
        self.state().refused.clone()
    }

    /// When the last certificate that it was asked for will be there.
    pub fn busy_until(&self) -> Duration {
        self.state().orders.keys().last().map_or(Duration::ZERO, |(due, _)| *due)
    }

    /// A certificate that is there before all.
    pub fn issue_before(&self, name: &str) -> SerialNumber {
        let mut state = self.state();
        let subject = Name::parse_cert_str(&format!("CN={name}")).unwrap();
        let plan = CertificatePlan::new(
            "CA".parse().unwrap(),
            subject.as_der().to_vec(),
            intune_connector::terms::KeyAlgorithm::EcP256,
            self.runtime.now().saturating_add(90 * DAY),
        );
        let spki = SHARED.ca_key.public_key().to_vec();
        self.make(&mut state, None, &spki, &plan, false, Duration::ZERO);
        state.entries.last().unwrap().serial.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap();
        let now = self.runtime.monotonic();
        while let Some(entry) = state.orders.first_entry()
            && entry.key().0 <= now
        {
            let ((due, _), order) = entry.remove_entry();
            let known = self.is_idempotent() && state.entries.iter().any(|entry| entry.key == Some(order.key));
            if !known {
                self.make(&mut state, Some(order.key), &order.spki, &order.plan, order.spoilt, due);
            }
        }
        state
    }

    fn make(&self, state: &mut State, key: Option<IdempotencyKey>, spki: &[u8], plan: &CertificatePlan, spoilt: bool, at: Duration) {
        let mut bytes = [0x40; 16];
        bytes[1..].fill_with(|| self.chance.below(256) as u8);
        let serial = SerialNumber::from_be_bytes(&bytes).unwrap();
        let now = crate::shared::START.saturating_add(at);
        let begin = if spoilt { now.saturating_add(2 * DAY) } else { now.saturating_sub(Duration::from_secs(300)) };
        let subject = Name::from_der(&plan.subject).unwrap();
        let shown = subject.to_string();
        let builder = CertificateBuilder::new(subject, spki, begin, plan.not_after, serial.clone())
            .issuer(SHARED.ca.subject().clone())
            .end_entity()
            .key_usage(plan.key_usage)
            .extended_key_usage(&plan.extended_key_usage)
            .subject_alt_names(&plan.subject_alt_names);
        let unsigned = builder.to_be_signed(SHARED.ca_key.algorithms()[0]).unwrap();
        let signature = sign_now(&*SHARED.ca_key, unsigned.algorithm(), unsigned.message()).unwrap();
        self.chance.tell(|| format!("CA issued {shown} as {serial}{}", if spoilt { ", spoilt" } else { "" }));
        let certificate = unsigned.finish(&signature).into();
        state.entries.push(Entry { key, subject: shown, serial, certificate, revoked: false, spoilt });
    }

    /// It will issue after that time.
    fn order(&self, request: &IssueRequest<'_>, after: Duration, spoilt: bool) {
        let due = self.runtime.monotonic() + after;
        let spki = Csr::from_der(request.csr, &Limits::default()).unwrap().spki().to_vec();
        let mut state = self.state();
        state.next += 1;
        let number = state.next;
        state.orders.insert((due, number), Order { key: request.key, spki, plan: request.plan.clone(), spoilt });
    }

    fn newest(&self, key: IdempotencyKey) -> Option<Issued> {
        let state = self.state();
        let mut own = state.entries.iter().filter(|entry| entry.key == Some(key));
        // An idempotent one has one; another gives the newest, as a search by date does.
        let found = if self.is_idempotent() { own.next() } else { own.next_back() };
        found.map(answer)
    }
}

pub fn answer(entry: &Entry) -> Issued {
    Issued::new(entry.certificate.clone()).with_chain(vec![SHARED.ca.der().clone()]).with_ca_side_id(format!("id-{}", entry.serial))
}

/// The CA as one process reaches it.
#[derive(Debug)]
pub struct CaPort {
    pub ca: Arc<Ca>,
    pub process: Arc<Process>,
}

impl CaPort {
    fn tell(&self, line: impl FnOnce() -> String) {
        self.ca.chance.tell(|| format!("{}/{} {}", self.process.instance, self.process.number, line()));
    }

    async fn wait(&self, from: u64, to: u64) {
        self.ca.runtime.sleep(self.ca.chance.seconds(from, to)).await;
    }

    async fn answer(&self, key: IdempotencyKey) -> Result<IssueAnswer, PortError> {
        self.process.pass().await;
        match self.ca.newest(key) {
            Some(issued) => Ok(IssueAnswer::Issued(Box::new(issued))),
            None => Err(PortError::transient("the CA's own database is away")),
        }
    }
}

fn short(key: &IdempotencyKey) -> String {
    key.as_hex()[..8].to_owned()
}

#[async_trait]
impl CertificateAuthority for CaPort {
    fn capabilities(&self) -> CaCapabilities {
        let mut capabilities = CaCapabilities::minimal();
        capabilities.idempotent_issue = self.ca.is_idempotent();
        capabilities.find = self.ca.is_searchable();
        capabilities.in_flight = IN_FLIGHT;
        capabilities.revoke_by = vec![RevokeBy::Serial];
        capabilities.lookup_by_serial = true;
        capabilities.uri_san = true;
        capabilities.pending = true;
        capabilities
    }

    async fn issue(&self, request: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
        self.process.pass().await;
        let (ca, chance) = (&*self.ca, &*self.ca.chance);
        let lost = || PortError::transient("the connection broke after the request was sent");
        let fault = chance.strikes().then(|| chance.below(12));
        self.tell(|| format!("issue {} {} fault {fault:?}", short(&request.key), request.approved.subject().identity));
        match fault {
            Some(0) => return Err(PortError::transient("the CA is busy").with_effect(Effect::None)),
            Some(1) => {
                return Err(PortError::new(intune_connector::ports::PortErrorKind::Throttled, "slow down")
                    .with_effect(Effect::None)
                    .with_retry_after(Duration::from_secs(30)));
            }
            // The request never came there.
            Some(2) => {
                self.wait(0, 30).await;
                return Err(lost());
            }
            // It came, and the answer did not.
            Some(3) => {
                ca.order(&request, Duration::ZERO, false);
                self.wait(0, 30).await;
                return Err(lost());
            }
            // The connection broke, and the CA issues later.
            Some(4 | 5) => {
                ca.order(&request, chance.seconds(1, IN_FLIGHT.as_secs() - 1), false);
                return Err(lost());
            }
            // Later than it says.
            Some(6) => {
                ca.order(&request, IN_FLIGHT + chance.seconds(1, 900), false);
                return Err(lost());
            }
            // So slow that nobody waits for it.
            Some(7) => {
                let time = chance.seconds(100, 200);
                ca.order(&request, time, false);
                ca.runtime.sleep(time).await;
            }
            Some(8) => {
                let ready = ca.runtime.monotonic() + chance.seconds(5, 600);
                ca.order(&request, ready - ca.runtime.monotonic(), false);
                let poll_id = format!("poll-{}-{}", short(&request.key), chance.below(1_000_000));
                ca.state().pending.insert(poll_id.clone(), (request.key, ready));
                self.process.pass().await;
                return Ok(IssueAnswer::Pending { poll_id, after: chance.seconds(1, 60) });
            }
            Some(9) if chance.one_in(3) => {
                ca.state().refused.push(Name::from_der(&request.plan.subject).unwrap().to_string());
                return Err(PortError::rejected("denied by the CA's policy").with_code("0x80094012"));
            }
            Some(10) if chance.one_in(3) => ca.order(&request, Duration::ZERO, true),
            _ => {
                let time = Duration::from_millis(chance.below(2_000));
                ca.order(&request, time, false);
                ca.runtime.sleep(time).await;
            }
        }
        self.answer(request.key).await
    }

    async fn status(&self, request: StatusRequest<'_>) -> Result<IssueAnswer, PortError> {
        self.process.pass().await;
        let fault = self.ca.chance.strikes();
        self.tell(|| format!("status {} fault {fault}", request.poll_id));
        if fault {
            return Err(PortError::transient("no connection"));
        }
        let known = self.ca.state().pending.get(request.poll_id).copied();
        match known {
            Some((key, ready)) if ready <= self.ca.runtime.monotonic() => self.answer(key).await,
            Some(_) => {
                self.process.pass().await;
                Ok(IssueAnswer::Pending { poll_id: request.poll_id.to_owned(), after: self.ca.chance.seconds(1, 60) })
            }
            None => Err(PortError::rejected("there is no such pending request")),
        }
    }

    async fn find(&self, request: FindRequest<'_>) -> Result<FindAnswer, PortError> {
        self.process.pass().await;
        let fault = self.ca.chance.strikes();
        self.tell(|| format!("find {} fault {fault}", short(&request.key)));
        if fault {
            self.wait(0, 130).await;
            return Err(PortError::transient("no connection"));
        }
        let found = self.ca.newest(request.key);
        let now = self.ca.runtime.monotonic();
        let is_pending = self.ca.state().pending.values().any(|(key, ready)| *key == request.key && *ready > now);
        self.process.pass().await;
        Ok(match found {
            _ if !self.ca.is_searchable() => FindAnswer::CannotTell,
            Some(issued) => FindAnswer::Found(Box::new(issued)),
            None if is_pending => FindAnswer::CannotTell,
            None => FindAnswer::Absent,
        })
    }

    async fn find_all(&self, request: FindRequest<'_>) -> Result<FindAllAnswer, PortError> {
        self.process.pass().await;
        let fault = self.ca.chance.strikes();
        self.tell(|| format!("find all of {} fault {fault}", short(&request.key)));
        if fault {
            return Err(PortError::transient("no connection"));
        }
        let found = self.ca.state().entries.iter().filter(|entry| entry.key == Some(request.key)).map(answer).collect();
        self.process.pass().await;
        Ok(if self.ca.is_searchable() { FindAllAnswer::Certificates(found) } else { FindAllAnswer::CannotTell })
    }

    async fn lookup(&self, request: LookupRequest<'_>) -> Result<LookupAnswer, PortError> {
        self.process.pass().await;
        if self.ca.chance.strikes() {
            return Err(PortError::transient("no connection"));
        }
        let state = self.ca.state();
        let entry = state.entries.iter().find(|entry| entry.serial == *request.serial);
        Ok(entry.map_or(LookupAnswer::Absent, |entry| {
            let status = if entry.revoked { CertificateStatus::Revoked } else { CertificateStatus::Good };
            let known = KnownCertificate::new(Some(entry.certificate.clone()), answer(entry).ca_side_id);
            LookupAnswer::Found(Box::new(known.with_status(status)))
        }))
    }

    async fn revoke(&self, call: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
        self.process.pass().await;
        let fault = self.ca.chance.strikes().then(|| self.ca.chance.below(2));
        self.tell(|| format!("revoke {} fault {fault:?}", call.serial));
        if fault == Some(0) {
            return Err(PortError::transient("no connection").with_effect(Effect::None));
        }
        let answer = {
            let mut state = self.ca.state();
            match state.entries.iter_mut().find(|entry| entry.serial == *call.serial) {
                None => RevokeAnswer::UnknownSerial,
                Some(entry) if entry.revoked => RevokeAnswer::AlreadyRevoked,
                Some(entry) => {
                    entry.revoked = true;
                    RevokeAnswer::Revoked
                }
            }
        };
        self.process.pass().await;
        if fault.is_some() { Err(PortError::transient("the answer was lost")) } else { Ok(answer) }
    }

    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
        self.process.pass().await;
        if self.ca.chance.strikes() {
            return Err(PortError::transient("no connection"));
        }
        Ok(vec![SHARED.ca.der().clone()])
    }
}
