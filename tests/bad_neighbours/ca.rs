//! A CA that answers wrong in every way that CAs and the lines to them do, and keeps a ledger of what it really did.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::adapters::VirtualRuntime;
use intune_connector::crypto::CryptoProvider;
use intune_connector::ids::IdempotencyKey;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::CertificateBuilder;
use intune_connector::message::csr::Csr;
use intune_connector::message::name::Name;
use intune_connector::ports::{
    CaCapabilities, CertificateAuthority, FindAnswer, FindRequest, IssueAnswer, IssueRequest, Issued, PortError, PortErrorKind,
    RevokeAnswer, RevokeBy, RevokeCall, Runtime, StatusRequest,
};
use intune_connector::retry::Effect;
use intune_connector::terms::{KeyAlgorithm, SubjectAltName, oids};
use rustls_pki_types::CertificateDer;

use crate::pki::{self, DAY, Identity};

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wrong {
    TimeOut,
    ThrottledFor,
    Throttled,
    ServerError,
    HalfClosed,
    LostAfterIssue,
    Trickle,
    SomebodyElses,
    OtherKey,
    ForeignCa,
    Expired,
    Subject,
    AltName,
    Usages,
    Longer,
    Garbage,
    Truncated,
    Panic,
}

pub const ALL: [Wrong; 18] = [
    Wrong::TimeOut,
    Wrong::ThrottledFor,
    Wrong::Throttled,
    Wrong::ServerError,
    Wrong::HalfClosed,
    Wrong::LostAfterIssue,
    Wrong::Trickle,
    Wrong::SomebodyElses,
    Wrong::OtherKey,
    Wrong::ForeignCa,
    Wrong::Expired,
    Wrong::Subject,
    Wrong::AltName,
    Wrong::Usages,
    Wrong::Longer,
    Wrong::Garbage,
    Wrong::Truncated,
    Wrong::Panic,
];

#[derive(Default)]
struct State {
    dice: u64,
    /// So many percent of the calls go wrong, while any are left to go wrong.
    percent: u64,
    left: u64,
    wrong: BTreeMap<Wrong, u64>,
    /// Ledger: what was issued as it was asked for.
    good: HashMap<IdempotencyKey, Vec<CertificateDer<'static>>>,
    last: Option<CertificateDer<'static>>,
    revoked: HashSet<String>,
    calls: u64,
}

impl State {
    fn throw(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % sides
    }

    fn next(&mut self, of: &[Wrong]) -> Option<Wrong> {
        self.calls += 1;
        // What can only go unanswered does so less often, or the other faults would be rare.
        let percent = if of.len() == ALL.len() { self.percent } else { self.percent / 2 };
        if self.left == 0 || self.throw(100) >= percent {
            return None;
        }
        let number = usize::try_from(self.throw(of.len() as u64)).unwrap();
        self.left -= 1;
        *self.wrong.entry(of[number]).or_default() += 1;
        Some(of[number])
    }
}

pub struct BadCa {
    provider: Arc<CryptoProvider>,
    runtime: VirtualRuntime,
    pub root: Identity,
    foreign: Identity,
    state: Mutex<State>,
}

impl std::fmt::Debug for BadCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BadCa")
    }
}

impl BadCa {
    pub fn new(provider: Arc<CryptoProvider>, runtime: VirtualRuntime, seed: u64) -> Self {
        let (root, foreign) = (pki::root(&provider, "bad CA"), pki::root(&provider, "foreign CA"));
        let state = State { dice: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, ..State::default() };
        Self { provider, runtime, root, foreign, state: Mutex::new(state) }
    }

    /// From now on so many percent of the calls go wrong, until so many did.
    pub fn go_wrong(&self, percent: u64, times: u64) {
        let mut state = self.state.lock().unwrap();
        state.percent = percent;
        state.left = times;
    }

    /// Calls that are still to go wrong.
    pub fn left(&self) -> u64 {
        self.state.lock().unwrap().left
    }

    pub fn calls(&self) -> u64 {
        self.state.lock().unwrap().calls
    }

    /// Ledger: how often each went wrong.
    pub fn wrong(&self) -> BTreeMap<Wrong, u64> {
        self.state.lock().unwrap().wrong.clone()
    }

    /// Ledger: the certificates as they were asked for, by the request's key.
    pub fn good(&self) -> HashMap<IdempotencyKey, Vec<CertificateDer<'static>>> {
        self.state.lock().unwrap().good.clone()
    }

    /// Ledger: the serial numbers that were revoked.
    pub fn revoked(&self) -> HashSet<String> {
        self.state.lock().unwrap().revoked.clone()
    }

    fn make(&self, request: &IssueRequest<'_>, wrong: Option<Wrong>) -> CertificateDer<'static> {
        let plan = request.plan;
        let spki = match wrong {
            Some(Wrong::OtherKey | Wrong::SomebodyElses) => pki::new_key(&self.provider, KeyAlgorithm::EcP256).1.public_key().to_vec(),
            _ => Csr::from_der(request.csr, &Limits::default()).unwrap().spki().to_vec(),
        };
        let subject = match wrong {
            Some(Wrong::Subject | Wrong::SomebodyElses) => Name::parse_cert_str("CN=administrator").unwrap(),
            _ => Name::from_der(&plan.subject).unwrap(),
        };
        let issuer = if wrong == Some(Wrong::ForeignCa) { &self.foreign } else { &self.root };
        let now = self.runtime.now();
        let (not_before, not_after) = match wrong {
            Some(Wrong::Expired) => (now.saturating_sub(2 * DAY), now.saturating_sub(DAY)),
            Some(Wrong::Longer) => (now.saturating_sub(DAY / 24), plan.not_after.saturating_add(400 * DAY)),
            _ => (now.saturating_sub(DAY / 24), plan.not_after),
        };
        let mut names = plan.subject_alt_names.clone();
        if wrong == Some(Wrong::AltName) {
            names = vec![SubjectAltName::Upn("administrator@contoso.com".into())];
        }
        let mut purposes = plan.extended_key_usage.clone();
        if wrong == Some(Wrong::Usages) {
            purposes.push(oids::SERVER_AUTH.parse().unwrap());
        }
        pki::certify(&self.provider, issuer, &subject, &spki, not_before, not_after, |builder: CertificateBuilder| {
            builder.subject_alt_names(&names).extended_key_usage(&purposes).key_usage(plan.key_usage).sid(plan.sid_extension.clone())
        })
    }

    fn issue_well(&self, request: &IssueRequest<'_>) -> CertificateDer<'static> {
        let certificate = self.make(request, None);
        let mut state = self.state.lock().unwrap();
        state.good.entry(request.key).or_default().push(certificate.clone());
        state.last = Some(certificate.clone());
        certificate
    }

    fn answer(&self, certificate: CertificateDer<'static>) -> Issued {
        Issued::new(certificate).with_chain(vec![self.root.certificate.clone()])
    }

    /// What is wrong with a call before the CA does anything.
    async fn away(&self, wrong: Wrong) -> PortError {
        match wrong {
            Wrong::TimeOut => std::future::pending().await,
            Wrong::ThrottledFor => {
                PortError::new(PortErrorKind::Throttled, "429").with_effect(Effect::None).with_retry_after(Duration::from_secs(2))
            }
            Wrong::Throttled => PortError::new(PortErrorKind::Throttled, "429").with_effect(Effect::None),
            Wrong::ServerError => PortError::transient("500").with_effect(Effect::None),
            // Past the hook, which would print each of them.
            Wrong::Panic => std::panic::resume_unwind(Box::new("the adapter has a bug")),
            _ => PortError::transient("the connection was closed before the answer was complete"),
        }
    }
}

const NO_ANSWER: [Wrong; 6] = [Wrong::TimeOut, Wrong::ThrottledFor, Wrong::Throttled, Wrong::ServerError, Wrong::HalfClosed, Wrong::Panic];

#[async_trait]
impl CertificateAuthority for BadCa {
    fn capabilities(&self) -> CaCapabilities {
        let mut can = CaCapabilities::minimal();
        can.find = true;
        can.in_flight = Duration::ZERO;
        can.revoke_by = vec![RevokeBy::Serial];
        can
    }

    async fn issue(&self, request: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
        self.runtime.sleep(Duration::from_millis(20)).await;
        let wrong = self.state.lock().unwrap().next(&ALL);
        let certificate = match wrong {
            None => self.issue_well(&request),
            Some(wrong) if NO_ANSWER.contains(&wrong) => return Err(self.away(wrong).await),
            Some(Wrong::LostAfterIssue) => {
                self.issue_well(&request);
                return Err(PortError::transient("the connection broke after the request was sent"));
            }
            // A byte a second: the answer is not there before the deadline.
            Some(Wrong::Trickle) => {
                self.issue_well(&request);
                std::future::pending().await
            }
            Some(Wrong::SomebodyElses) => {
                let last = self.state.lock().unwrap().last.clone();
                last.unwrap_or_else(|| self.make(&request, wrong))
            }
            Some(Wrong::Garbage) => CertificateDer::from(vec![0x5a; 700]),
            Some(Wrong::Truncated) => {
                let whole = self.make(&request, None);
                CertificateDer::from(whole[..whole.len() / 2].to_vec())
            }
            Some(_) => self.make(&request, wrong),
        };
        Ok(IssueAnswer::Issued(Box::new(self.answer(certificate))))
    }

    async fn status(&self, _: StatusRequest<'_>) -> Result<IssueAnswer, PortError> {
        Err(PortError::unsupported("nothing is ever pending here"))
    }

    async fn find(&self, request: FindRequest<'_>) -> Result<FindAnswer, PortError> {
        self.runtime.sleep(Duration::from_millis(5)).await;
        let wrong = self.state.lock().unwrap().next(&NO_ANSWER);
        if let Some(wrong) = wrong {
            return Err(self.away(wrong).await);
        }
        let found = self.state.lock().unwrap().good.get(&request.key).and_then(|all| all.last().cloned());
        Ok(found.map_or(FindAnswer::Absent, |certificate| FindAnswer::Found(Box::new(self.answer(certificate)))))
    }

    async fn revoke(&self, request: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
        let wrong = self.state.lock().unwrap().next(&NO_ANSWER);
        if let Some(wrong) = wrong {
            return Err(self.away(wrong).await);
        }
        let new = self.state.lock().unwrap().revoked.insert(request.serial.to_string());
        Ok(if new { RevokeAnswer::Revoked } else { RevokeAnswer::AlreadyRevoked })
    }

    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
        Ok(vec![self.root.certificate.clone()])
    }
}
