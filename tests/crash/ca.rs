//! The CA and its ledger, in the judges' process.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use intune_connector::ids::{IdempotencyKey, SerialNumber};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::csr::Csr;
use intune_connector::message::name::Name;
use intune_connector::ports::{CaCapabilities, CertificatePlan, RevokeBy};
use intune_connector::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fixture::{FIXTURE, certify, provider};
use crate::random::Random;
use crate::wire::Reply;

/// For so long after an ask a certificate may still come.
pub const IN_FLIGHT: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CaKind {
    /// `find` tells what it has issued.
    Searchable,
    /// The same key gets the same certificate; there is no `find`.
    Idempotent,
    /// Neither.
    Blind,
    /// Searchable; the answer to each first ask is lost.
    AnswersLate,
    /// Searchable; each first ask is answered by an error, and issued afterwards, within the time that it declares.
    IssuesLate,
    /// Idempotent and searchable; each certificate is pending at first.
    Pending,
}

impl CaKind {
    pub const ALL: [Self; 6] = [Self::Searchable, Self::Idempotent, Self::Blind, Self::AnswersLate, Self::IssuesLate, Self::Pending];

    pub fn capabilities(self) -> CaCapabilities {
        let mut capabilities = CaCapabilities::minimal();
        capabilities.idempotent_issue = matches!(self, Self::Idempotent | Self::Pending);
        capabilities.find = !matches!(self, Self::Idempotent | Self::Blind);
        capabilities.in_flight = IN_FLIGHT;
        capabilities.revoke_by = vec![RevokeBy::Serial];
        capabilities.lookup_by_serial = self != Self::Blind;
        capabilities.pending = self == Self::Pending;
        capabilities
    }
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub key: Option<IdempotencyKey>,
    pub certificate: Certificate,
    pub serial: SerialNumber,
    pub revoked: bool,
}

#[derive(Debug)]
struct Held {
    key: IdempotencyKey,
    csr: Vec<u8>,
    plan: CertificatePlan,
    due: Timestamp,
}

#[derive(Debug)]
pub struct Ca {
    pub kind: CaKind,
    pub ledger: Vec<Entry>,
    asked: BTreeMap<IdempotencyKey, u32>,
    held: Vec<Held>,
    random: Random,
}

impl Ca {
    pub fn new(kind: CaKind, seed: u64) -> Self {
        Self { kind, ledger: Vec::new(), asked: BTreeMap::new(), held: Vec::new(), random: Random::new(seed) }
    }

    /// A certificate that nobody asked for by this connector.
    pub fn certify(&mut self, name: &str, now: Timestamp) -> SerialNumber {
        let (spki, subject) = (FIXTURE.device.0.signing.public_key(), Name::parse_cert_str(&format!("CN={name}")).unwrap());
        let usage = intune_connector::terms::KeyUsage::SIGN_AND_ENCIPHER;
        let certificate = certify(&FIXTURE.ca, &FIXTURE.root, subject, &spki, now, (usage, &[], &[]));
        self.enter(None, certificate)
    }

    fn enter(&mut self, key: Option<IdempotencyKey>, certificate: Certificate) -> SerialNumber {
        let serial = certificate.serial().unwrap().clone();
        self.ledger.push(Entry { key, certificate, serial: serial.clone(), revoked: false });
        serial
    }

    fn issue_now(&mut self, key: IdempotencyKey, csr: &[u8], plan: &CertificatePlan, now: Timestamp) -> Reply {
        let csr = Csr::from_der(csr, &Limits::default()).unwrap();
        csr.verify_self_signature(provider()).unwrap();
        let extras = (plan.key_usage, &plan.extended_key_usage[..], &plan.subject_alt_names[..]);
        let certificate = certify(&FIXTURE.ca, &FIXTURE.root, Name::from_der(&plan.subject).unwrap(), csr.spki(), now, extras);
        let reply = issued(&certificate);
        self.enter(Some(key), certificate);
        reply
    }

    fn found(&self, key: IdempotencyKey) -> Option<Reply> {
        self.ledger.iter().find(|entry| entry.key == Some(key)).map(|entry| issued(&entry.certificate))
    }

    /// What has become due.
    pub fn work(&mut self, now: Timestamp) {
        while let Some(at) = self.held.iter().position(|held| held.due <= now) {
            let held = self.held.swap_remove(at);
            self.issue_now(held.key, &held.csr, &held.plan, now);
        }
    }

    pub fn is_at_rest(&self) -> bool {
        self.held.is_empty()
    }

    pub fn issue(&mut self, key: IdempotencyKey, csr: &[u8], plan: &CertificatePlan, now: Timestamp) -> Reply {
        self.work(now);
        let asked = self.asked.entry(key).or_default();
        *asked += 1;
        let first = *asked == 1;
        if self.kind.capabilities().idempotent_issue
            && let Some(found) = self.found(key)
        {
            return found;
        }
        match self.kind {
            CaKind::AnswersLate if first => {
                self.issue_now(key, csr, plan, now);
                Reply::Lost
            }
            CaKind::IssuesLate if first => {
                let after = Duration::from_millis(200 + self.random.below(2_600));
                self.held.push(Held { key, csr: csr.to_vec(), plan: plan.clone(), due: now.saturating_add(after) });
                Reply::Lost
            }
            CaKind::Pending => {
                if !self.held.iter().any(|held| held.key == key) {
                    let due = now.saturating_add(Duration::from_millis(500 + self.random.below(2_000)));
                    self.held.push(Held { key, csr: csr.to_vec(), plan: plan.clone(), due });
                }
                pending(key)
            }
            _ => self.issue_now(key, csr, plan, now),
        }
    }

    pub fn status(&mut self, key: IdempotencyKey, now: Timestamp) -> Reply {
        self.work(now);
        self.found(key).unwrap_or_else(|| pending(key))
    }

    pub fn find(&mut self, key: IdempotencyKey, now: Timestamp) -> Reply {
        self.work(now);
        let is_pending = self.kind == CaKind::Pending && self.held.iter().any(|held| held.key == key);
        match self.found(key) {
            _ if !self.kind.capabilities().find => Reply::CannotTell,
            Some(found) => found,
            None if is_pending => Reply::CannotTell,
            None => Reply::Absent,
        }
    }

    /// All that was issued for it, revoked or not.
    pub fn find_all(&mut self, key: IdempotencyKey, now: Timestamp) -> Reply {
        self.work(now);
        if !self.kind.capabilities().find {
            return Reply::CannotTell;
        }
        let found = self.ledger.iter().filter(|entry| entry.key == Some(key));
        Reply::Certificates(found.map(|entry| entry.certificate.der().to_vec()).collect())
    }

    pub fn lookup(&self, serial: &SerialNumber) -> Reply {
        match self.ledger.iter().find(|entry| entry.serial == *serial) {
            _ if self.kind == CaKind::Blind => Reply::CannotTell,
            Some(entry) => Reply::Revoked { before: entry.revoked },
            None => Reply::Absent,
        }
    }

    pub fn revoke(&mut self, serial: &SerialNumber) -> Reply {
        match self.ledger.iter_mut().find(|entry| entry.serial == *serial) {
            Some(entry) => Reply::Revoked { before: std::mem::replace(&mut entry.revoked, true) },
            None => Reply::Absent,
        }
    }

    /// What was issued for a request, lives, and is not among what was delivered, by its request.
    pub fn undelivered(&self, delivered: &BTreeSet<SerialNumber>) -> Vec<IdempotencyKey> {
        let living = self.ledger.iter().filter(|entry| !entry.revoked && !delivered.contains(&entry.serial));
        living.filter_map(|entry| entry.key).collect()
    }
}

fn issued(certificate: &Certificate) -> Reply {
    Reply::Issued { certificate: certificate.der().to_vec(), chain: FIXTURE.root.der().to_vec() }
}

fn pending(key: IdempotencyKey) -> Reply {
    Reply::Pending { poll_id: format!("pending-{key}"), after: Duration::from_secs(1) }
}
