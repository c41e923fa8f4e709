//! The ledger of orphans: certificates that may exist at a CA and that no client gets, watched there until they are revoked.

use core::time::Duration;

use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};

use super::authority::Authority;
use super::enrol::Enrolment;
use super::maintain::Maintained;
use super::record::{self, Record};
use super::service::{Inner, Subject};
use super::step::Input;
use crate::event::EventId;
use crate::flow::record::{RecordReader, RecordWriter};
use crate::flow::seal::SealError;
use crate::ids::IdempotencyKey;
use crate::message::certificate::Certificate;
use crate::message::csr::Csr;
use crate::ports::{
    CertificatePlan, FindAllAnswer, FindRequest, Issued, LoadRequest, PortError, PortErrorKind, RevokeAnswer, Row, RowKey, RowKind,
    RowState, SealedBlob,
};
use crate::secret::SecretBytes;
use crate::terms::{Flow, KeyAlgorithm};
use crate::time::Timestamp;

/// Between two looks at the CA.
const PAUSE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(86_400));
/// How long a CA that can be searched is watched for what may still show up. Longer than any CA keeps a request in hand.
const WATCH: Duration = Duration::from_secs(7 * 86_400);
const BY_HAND: &str = "The CA cannot tell whether it has issued; look there for a certificate that nobody has, then close the entry.";

mod field {
    pub(super) const TRANSACTION: u8 = 30;
    pub(super) const STARTED: u8 = 31;
    pub(super) const MOST: u8 = 32;
    pub(super) const SETTLED: u8 = 33;
    pub(super) const DELIVERED: u8 = 34;
    pub(super) const REVOKED: u8 = 35;
    pub(super) const NOTE: u8 = 36;
}

/// What a row of the ledger knows beside the record of the transaction.
#[derive(Debug, Clone)]
pub(crate) struct Suspicion {
    /// The key of the transaction's row.
    transaction: IdempotencyKey,
    /// When it began: another time means that the row is of a later run.
    started: Timestamp,
    /// How many certificates it may be.
    pub(super) most: u32,
    /// The transaction has ended, with this certificate released, or with none.
    settled: bool,
    delivered: Option<Vec<u8>>,
    pub(super) revoked: Vec<String>,
    pub(super) note: Option<String>,
}

impl Suspicion {
    pub(super) fn encode(&self, writer: &mut RecordWriter) {
        writer
            .field(field::TRANSACTION, self.transaction.as_bytes())
            .field(field::STARTED, &self.started.as_micros().to_be_bytes())
            .field(field::MOST, &i64::from(self.most).to_be_bytes())
            .optional(field::SETTLED, self.settled.then_some(&[1][..]))
            .optional(field::DELIVERED, self.delivered.as_deref())
            .optional(field::NOTE, self.note.as_deref().map(str::as_bytes));
        for serial in &self.revoked {
            writer.field(field::REVOKED, serial.as_bytes());
        }
    }

    pub(super) fn decode(r: &RecordReader) -> Option<Self> {
        let revoked = r.fields().filter(|(number, _)| *number == field::REVOKED);
        Some(Self {
            transaction: IdempotencyKey::new(r.get(field::TRANSACTION)?.try_into().ok()?),
            started: Timestamp::from_micros(r.integer(field::STARTED)?),
            most: u32::try_from(r.integer(field::MOST)?).ok()?,
            settled: r.get(field::SETTLED).is_some(),
            delivered: r.get(field::DELIVERED).map(<[u8]>::to_vec),
            revoked: revoked.filter_map(|(_, serial)| Some(core::str::from_utf8(serial).ok()?.to_owned())).collect(),
            note: r.text(field::NOTE).map(str::to_owned),
        })
    }

    /// What is released is none of those that nobody gets.
    fn settle(&mut self, record: &Record, state: RowState) {
        self.delivered = record.certificate.clone().filter(|_| state == RowState::Acknowledged);
        self.settled = true;
    }
}

/// Whether a transaction in that state will release nothing more than it has.
fn has_ended(state: RowState) -> bool {
    state.is_final() || state == RowState::OrphanSuspected
}

/// What a look at a CA has shown.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// These were revoked; none when there was none.
    Revoked(Vec<String>),
    /// The CA cannot be searched.
    CannotTell,
    NotNow(String),
}

/// Pure: when to look again; `None` when the row is done.
fn after(look: &Look, revoked: usize, most: u32, age: Duration) -> Option<Duration> {
    let all = revoked >= usize::try_from(most).unwrap_or(usize::MAX);
    match look {
        Look::Revoked(_) if age >= WATCH => None,
        Look::Revoked(found) if all && !found.is_empty() => None,
        // The older it is, the rarer it is looked at: next when it is twice as old.
        Look::Revoked(_) => Some(age.clamp(PAUSE.0, PAUSE.1)),
        // Until an operator says that it is settled.
        Look::CannotTell => Some(PAUSE.1),
        Look::NotNow(_) => Some(PAUSE.0),
    }
}

impl Enrolment<'_> {
    /// The row of the ledger that goes with a commit to that state, when a certificate may exist that this transaction does not know.
    pub(super) async fn suspicion(&self, row: &Row, state: RowState) -> Result<Option<Row>, Input> {
        let is_due = match state {
            // Asked once more: from now on there may be two.
            RowState::Asked => self.record.pending.is_none() && !self.authority.issuer.is_idempotent,
            state => has_ended(state) && !has_ended(row.state),
        };
        if !is_due || self.record.lost == 0 {
            return Ok(None);
        }
        let key = RowKey { kind: RowKind::Orphan, key: self.run_key };
        let known = self.load(vec![key]).await?.into_iter().next();
        let row = self.inner.suspect(known, key, row, &self.record, state, &self.authority, None);
        row.map(Some).map_err(|error| self.does_not_open(error))
    }
}

impl Inner {
    /// The row of the ledger for a transaction that is in that state from now on.
    #[allow(clippy::too_many_arguments, reason = "one call for each of the two that write it")]
    fn suspect(
        &self,
        known: Option<Row>,
        key: RowKey,
        transaction: &Row,
        record: &Record,
        state: RowState,
        authority: &Authority,
        note: Option<&str>,
    ) -> Result<Row, SealError> {
        let now = self.now();
        let mut row = known.unwrap_or_else(|| Row::new(key, Flow::Scep, now, SealedBlob::new(Vec::new())));
        let mut entry = match row.version {
            0 => record.copy(),
            _ => self.sealer.open(&row).and_then(Record::decode)?,
        };
        if row.version == 0 {
            // What the transaction itself knows is its own to revoke.
            (entry.certificate, entry.ca_side_id, entry.pending) = (None, None, None);
        }
        // The last ask of a transaction that is left as asked is not counted yet.
        let is_left = state == RowState::Failed && transaction.state == RowState::Asked;
        let most = record.lost.saturating_add(u32::from(is_left && note.is_some())).max(1);
        let mut suspicion = entry.suspicion.take().unwrap_or_else(|| Suspicion {
            transaction: transaction.key.key,
            started: transaction.created,
            most,
            settled: false,
            delivered: None,
            revoked: Vec::new(),
            note: None,
        });
        suspicion.most = suspicion.most.max(most);
        suspicion.note = note.map(str::to_owned).or(suspicion.note);
        if has_ended(state) {
            suspicion.settle(record, state);
        }
        entry.suspicion = Some(suspicion);
        (row.state, row.owner, row.lease_until, row.updated) = (RowState::OrphanSuspected, None, now, now);
        row.due = now.saturating_add(authority.issuer.in_flight).saturating_add(Duration::from_secs(1));
        row.blob = self.sealer.seal(&row, entry.encode().bytes())?;
        Ok(row)
    }

    /// Puts what may have been issued for a transaction without a client into the ledger. Whether it is there.
    pub(super) async fn list_suspicion(&self, row: &Row, record: &Record, note: &str, subject: &Subject) -> bool {
        let Ok(key) = record::run_key(&self.context.provider, row.key.key, row.created) else { return false };
        let key = RowKey { kind: RowKind::Orphan, key };
        // Of a CA that is none of the service's any more it is listed all the same.
        let authority = self.authority_of(record).unwrap_or_else(|_| self.authorities().current.clone());
        let stored = async {
            let known = self.journal.load(LoadRequest::Keys(vec![key])).await?.into_iter().next();
            let row = self.suspect(known, key, row, record, RowState::Failed, &authority, Some(note));
            self.store(row.map_err(|error| PortError::misconfigured(error.to_string()))?).await
        };
        let stored = self.within(self.soon(), subject, stored).await;
        if let Err(error) = &stored {
            self.journal_failed(subject, error);
        }
        stored.is_ok()
    }

    /// Looks at the CA for one row of the ledger.
    pub(super) async fn sweep(&self, mut row: Row, record: &mut Record, subject: &Subject, now: Timestamp, done: &mut Maintained) -> Row {
        let Some(mut suspicion) = record.suspicion.take() else { return row };
        row.attempt = row.attempt.saturating_add(1);
        (row.owner, row.lease_until, row.updated) = (None, now, now);
        if let Err(pause) = self.settled(&mut suspicion, subject).await {
            row.due = now.saturating_add(pause);
            record.suspicion = Some(suspicion);
            return row;
        }
        let look = self.look(record, &suspicion, subject).await;
        if let Look::Revoked(serials) = &look {
            for serial in serials.iter().filter(|serial| !suspicion.revoked.contains(serial)).cloned().collect::<Vec<_>>() {
                done.revoked += 1;
                self.emit(EventId::CertificateHandedToRevocation, subject, row.attempt, |event| {
                    event
                        .with_message("A certificate that nobody got was found at the CA.")
                        .with_detail("serial", &serial)
                        .with_detail("revoked", "true")
                });
                suspicion.revoked.push(serial);
            }
        }
        if look == Look::CannotTell && suspicion.note.as_deref() != Some(BY_HAND) {
            self.emit(EventId::AnswerLost, subject, row.attempt, |event| event.with_message(BY_HAND));
        }
        suspicion.note = match &look {
            Look::CannotTell => Some(BY_HAND.to_owned()),
            Look::NotNow(reason) => Some(reason.clone()),
            Look::Revoked(_) => None,
        };
        match after(&look, suspicion.revoked.len(), suspicion.most, now.since(row.created)) {
            Some(pause) => row.due = now.saturating_add(pause),
            None => row.state = RowState::Acknowledged,
        }
        record.suspicion = Some(suspicion);
        row
    }

    /// Finds out what the transaction released; else, when to try again.
    async fn settled(&self, suspicion: &mut Suspicion, subject: &Subject) -> Result<(), Duration> {
        if suspicion.settled {
            return Ok(());
        }
        let key = RowKey { kind: RowKind::ScepTransaction, key: suspicion.transaction };
        let loaded = self.within(self.soon(), subject, self.journal.load(LoadRequest::Keys(vec![key]))).await;
        let row = loaded.map_err(|_| PAUSE.0)?.into_iter().next().filter(|row| row.created == suspicion.started);
        let record = row.as_ref().and_then(|row| self.sealer.open(row).and_then(Record::decode).ok());
        match (row, record) {
            (Some(row), Some(record)) if has_ended(row.state) => suspicion.settle(&record, row.state),
            (Some(row), Some(_)) => return Err(if row.lease_until > self.now() { PAUSE.0 } else { PAUSE.0 * 10 }),
            // Nothing is revoked without knowing what was released.
            _ => {
                suspicion.note = Some("the row of its transaction is gone or does not open; look at the CA by hand".to_owned());
                return Err(PAUSE.1);
            }
        }
        Ok(())
    }

    /// Revokes what the CA has issued for the transaction and nobody got. Only certificates for its own key: others are somebody else's.
    async fn look(&self, record: &mut Record, suspicion: &Suspicion, subject: &Subject) -> Look {
        let Ok(csr) = Csr::from_der(record.csr.secret_bytes(), &self.context.limits) else { return Look::CannotTell };
        let key = match record::run_key(&self.context.provider, suspicion.transaction, suspicion.started) {
            Ok(key) => key,
            Err(error) => return Look::NotNow(error.to_string()),
        };
        let authority = match self.authority_of(record) {
            Ok(authority) => authority,
            Err(error) => return Look::NotNow(error.to_string()),
        };
        let plan = self.plan_to_find(record, &csr, suspicion.started);
        let der = CertificateSigningRequestDer::from(record.csr.secret_bytes());
        let request = FindRequest::new(key, &der, csr.spki(), &plan, self.soon());
        let found = match self.ask(self.soon(), subject, &authority.issuer, false, authority.issuer.ca.find_all(request)).await {
            Ok(FindAllAnswer::Certificates(found)) => Some(found),
            Ok(FindAllAnswer::CannotTell) => None,
            Err(error) if error.kind() == PortErrorKind::Unsupported => None,
            Err(error) => return Look::NotNow(error.to_string()),
        };
        let cannot_tell = found.is_none();
        let known = record.certificate.as_ref().map(|der| {
            let issued = Issued::new(CertificateDer::from(der.clone()));
            record.ca_side_id.iter().fold(issued, |issued, id| issued.with_ca_side_id(id.clone()))
        });
        let mut revoked = Vec::new();
        for issued in known.into_iter().chain(found.unwrap_or_default()) {
            let is_delivered = suspicion.delivered.as_deref() == Some(issued.certificate.as_ref());
            // The one that is to be renewed is in use, whatever its key finds; so may be one that is older than the transaction.
            if is_delivered || record.renews(&issued.certificate) {
                continue;
            }
            let Ok(certificate) = Certificate::from_der(&issued.certificate, &self.context.limits) else { continue };
            let Some(serial) = certificate.serial().filter(|_| certificate.spki() == csr.spki()) else { continue };
            if certificate.not_before() < suspicion.started.saturating_sub(PAUSE.1) {
                continue;
            }
            let mut of_it = record.copy();
            (of_it.certificate, of_it.ca_side_id) = (Some(issued.certificate.as_ref().to_vec()), issued.ca_side_id);
            match self.revoke(&of_it, subject).await {
                // What was revoked before was not one of those that are looked for, or was counted then.
                Ok(RevokeAnswer::Revoked) => revoked.push(serial.to_string()),
                Ok(_) => {}
                Err(error) => return Look::NotNow(error.to_string()),
            }
        }
        // It is revoked.
        (record.certificate, record.ca_side_id) = (None, None);
        if revoked.is_empty() && cannot_tell { Look::CannotTell } else { Look::Revoked(revoked) }
    }

    /// The plan is not stored; key and CSR say what is looked for.
    pub(super) fn plan_to_find(&self, record: &Record, csr: &Csr, started: Timestamp) -> CertificatePlan {
        let ca = record.ca.clone().unwrap_or_else(|| self.authorities().current.issuer.name.clone());
        let mut plan = CertificatePlan::new(ca, csr.subject().as_der().to_vec(), KeyAlgorithm::Rsa2048, started);
        plan.subject_alt_names = csr.subject_alt_names().to_vec();
        plan
    }

    /// A row of the ledger as it is when an operator has settled it.
    pub(super) fn closed(&self, mut row: Row) -> Result<Row, SealError> {
        let mut record = self.sealer.open(&row).and_then(Record::decode)?;
        // It holds the challenge, and nothing is asked with it any more.
        record.csr = SecretBytes::zeroed(0);
        (row.state, row.owner, row.updated) = (RowState::Acknowledged, None, self.now());
        row.blob = self.sealer.seal(&row, record.encode().bytes())?;
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_done_when_all_that_may_exist_is_revoked_or_the_watch_is_over_and_never_when_the_ca_cannot_tell() {
        let (young, found, nothing) = (Duration::from_secs(5), Look::Revoked(vec!["01".into()]), Look::Revoked(Vec::new()));
        assert_eq!(after(&found, 1, 1, young), None);
        assert_eq!(after(&found, 1, 2, young), Some(PAUSE.0));
        assert_eq!(after(&nothing, 0, 1, young), Some(PAUSE.0));
        assert_eq!(after(&nothing, 0, 1, Duration::from_secs(7_200)), Some(Duration::from_secs(7_200)));
        assert_eq!(after(&nothing, 0, 1, WATCH), None);
        assert_eq!(after(&Look::CannotTell, 0, 1, WATCH), Some(PAUSE.1));
        assert_eq!(after(&Look::NotNow(String::new()), 0, 1, WATCH), Some(PAUSE.0));
    }
}
