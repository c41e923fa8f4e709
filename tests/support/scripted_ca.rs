//! A certificate authority that does what a test tells it, and keeps a ledger. Needs `pki` beside it.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic, reason = "a helper that fails, fails its test")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::crypto::CryptoProvider;
use intune_connector::ids::IdempotencyKey;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::CertificateBuilder;
use intune_connector::message::csr::Csr;
use intune_connector::message::name::Name;
use intune_connector::ports::{
    CaCapabilities, CertificateAuthority, CertificatePlan, FindAnswer, FindRequest, IssueAnswer, IssueRequest, Issued, PortError,
    RevokeAnswer, RevokeCall, StatusRequest,
};
use intune_connector::terms::KeyAlgorithm;
use intune_connector::time::Timestamp;
use rustls_pki_types::CertificateDer;

use crate::pki::{self, Identity};

type Edit = Box<dyn FnOnce(CertificateBuilder) -> CertificateBuilder + Send>;

/// What happens at the next call to issue.
pub enum Next {
    /// Nothing is issued.
    Fail(PortError),
    /// It is issued, and this is answered.
    IssueAndFail(PortError),
    /// It is issued when asked for the state; so often it is not ready.
    Pend(u32),
    /// It is issued otherwise than planned.
    Edit(Edit),
    /// Another subject.
    Subject(&'static str),
    /// Another key.
    OtherKey,
    /// The future never ends.
    Hang,
    /// The adapter panics.
    Panic,
}

#[derive(Default)]
struct State {
    next: VecDeque<Next>,
    fail_revoke: VecDeque<PortError>,
    fail_find: VecDeque<PortError>,
    calls: Vec<String>,
    issued: Vec<(IdempotencyKey, Vec<u8>, CertificateDer<'static>)>,
    revoked: Vec<String>,
    pending: Option<(u32, CertificateDer<'static>)>,
}

pub struct ScriptedCa {
    provider: Arc<CryptoProvider>,
    pub root: Identity,
    pub capabilities: CaCapabilities,
    state: Mutex<State>,
}

impl std::fmt::Debug for ScriptedCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScriptedCa")
    }
}

impl ScriptedCa {
    /// One that can do everything but issue twice the same.
    pub fn new(provider: Arc<CryptoProvider>) -> Self {
        let mut capabilities = CaCapabilities::minimal();
        capabilities.find = true;
        capabilities.in_flight = Duration::ZERO;
        capabilities.sid_extension = true;
        capabilities.uri_san = true;
        capabilities.pending = true;
        let root = pki::root(&provider, "scripted CA");
        Self { provider, root, capabilities, state: Mutex::default() }
    }

    pub fn next(&self, next: Next) {
        self.state.lock().unwrap().next.push_back(next);
    }

    pub fn fail_next_revoke(&self, error: PortError) {
        self.state.lock().unwrap().fail_revoke.push_back(error);
    }

    pub fn fail_next_find(&self, error: PortError) {
        self.state.lock().unwrap().fail_find.push_back(error);
    }

    /// Ledger: the calls in order.
    pub fn calls(&self) -> Vec<String> {
        self.state.lock().unwrap().calls.clone()
    }

    /// Ledger: what was issued.
    pub fn issued(&self) -> Vec<CertificateDer<'static>> {
        self.state.lock().unwrap().issued.iter().map(|(_, _, certificate)| certificate.clone()).collect()
    }

    /// Ledger: the public keys of what was issued.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.state.lock().unwrap().issued.iter().map(|(_, key, _)| key.clone()).collect()
    }

    /// Ledger: the serial numbers that were revoked.
    pub fn revoked(&self) -> Vec<String> {
        self.state.lock().unwrap().revoked.clone()
    }

    fn make(
        &self,
        csr: &[u8],
        plan: &CertificatePlan,
        subject: Option<&str>,
        other_key: bool,
        edit: Option<Edit>,
    ) -> CertificateDer<'static> {
        let csr = Csr::from_der(csr, &Limits::default()).unwrap();
        let spki = if other_key { pki::new_key(&self.provider, KeyAlgorithm::EcP256).1.public_key().to_vec() } else { csr.spki().to_vec() };
        let subject = subject.map_or_else(|| Name::from_der(&plan.subject), |text| Ok(Name::parse_cert_str(text).unwrap())).unwrap();
        let now = Timestamp::system_now();
        pki::certify(&self.provider, &self.root, &subject, &spki, now.saturating_sub(pki::DAY), plan.not_after, |builder| {
            let builder = builder
                .subject_alt_names(&plan.subject_alt_names)
                .extended_key_usage(&plan.extended_key_usage)
                .key_usage(plan.key_usage)
                .sid(plan.sid_extension.clone());
            match edit {
                Some(edit) => edit(builder),
                None => builder,
            }
        })
    }

    fn answer(&self, certificate: CertificateDer<'static>) -> Issued {
        Issued::new(certificate).with_chain(vec![self.root.certificate.clone()]).with_ca_side_id("17")
    }
}

#[async_trait]
impl CertificateAuthority for ScriptedCa {
    fn capabilities(&self) -> CaCapabilities {
        self.capabilities.clone()
    }

    async fn issue(&self, request: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
        let now = Timestamp::system_now();
        assert!(request.approved.expires() > now && request.deadline > now);
        assert_eq!(request.approved.subject().ca, request.plan.ca);
        let next = {
            let mut state = self.state.lock().unwrap();
            state.calls.push("issue".to_owned());
            state.next.pop_front()
        };
        let (subject, other_key, mut edit) = match &next {
            Some(Next::Subject(text)) => (Some(*text), false, None),
            Some(Next::OtherKey) => (None, true, None),
            _ => (None, false, None),
        };
        let next = match next {
            Some(Next::Fail(error)) => return Err(error),
            Some(Next::Hang) => std::future::pending().await,
            Some(Next::Panic) => panic!("the adapter has a bug"),
            Some(Next::Edit(function)) => {
                edit = Some(function);
                None
            }
            other => other,
        };
        let certificate = self.make(request.csr, request.plan, subject, other_key, edit);
        let key = Csr::from_der(request.csr, &Limits::default()).unwrap().spki().to_vec();
        let mut state = self.state.lock().unwrap();
        if let Some(Next::Pend(times)) = next {
            state.pending = Some((times, certificate.clone()));
        }
        state.issued.push((request.key, key, certificate.clone()));
        match next {
            Some(Next::IssueAndFail(error)) => Err(error),
            Some(Next::Pend(_)) => Ok(IssueAnswer::Pending { poll_id: "p1".to_owned(), after: Duration::ZERO }),
            _ => Ok(IssueAnswer::Issued(Box::new(self.answer(certificate)))),
        }
    }

    async fn status(&self, request: StatusRequest<'_>) -> Result<IssueAnswer, PortError> {
        assert_eq!(request.poll_id, "p1");
        let mut state = self.state.lock().unwrap();
        state.calls.push("status".to_owned());
        match state.pending.take() {
            Some((0, certificate)) => Ok(IssueAnswer::Issued(Box::new(self.answer(certificate)))),
            Some((times, certificate)) => {
                state.pending = Some((times - 1, certificate));
                Ok(IssueAnswer::Pending { poll_id: "p1".to_owned(), after: Duration::ZERO })
            }
            None => Err(PortError::rejected("there is no such request")),
        }
    }

    async fn find(&self, request: FindRequest<'_>) -> Result<FindAnswer, PortError> {
        let mut state = self.state.lock().unwrap();
        state.calls.push("find".to_owned());
        if let Some(error) = state.fail_find.pop_front() {
            return Err(error);
        }
        let found = state.issued.iter().find(|(key, public_key, _)| *key == request.key || public_key == request.public_key);
        Ok(found.map_or(FindAnswer::Absent, |(_, _, certificate)| FindAnswer::Found(Box::new(self.answer(certificate.clone())))))
    }

    async fn revoke(&self, request: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
        assert_eq!(request.ca_side_id, Some("17"));
        let mut state = self.state.lock().unwrap();
        state.calls.push("revoke".to_owned());
        if let Some(error) = state.fail_revoke.pop_front() {
            return Err(error);
        }
        state.revoked.push(request.serial.to_string());
        Ok(RevokeAnswer::Revoked)
    }

    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
        Ok(vec![self.root.certificate.clone()])
    }
}
