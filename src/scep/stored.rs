//! What the journal knows of a transaction: read before anything is done, written before and after each effect.

use core::time::Duration;

use rustls_pki_types::CertificateDer;

use super::enrol::Enrolment;
use super::record::{self, FailureNote, Latest, Record, Told};
use super::service::{Inner, Subject};
use super::step::{Input, Stored};
use crate::event::EventId;
use crate::flow::seal::SealError;
use crate::ids::IdempotencyKey;
use crate::ports::{CertificateStatus, Change, CommitAnswer, Issued, LoadRequest, PortError, Row, RowKey, RowKind, RowState, SealedBlob};
use crate::retry::ErrorClass;
use crate::secret::SecretBytes;
use crate::terms::Flow;
use crate::time::Timestamp;

impl Enrolment<'_> {
    pub(super) async fn load(&self, keys: Vec<RowKey>) -> Result<Vec<Row>, Input> {
        let inner = self.inner;
        let loaded = inner.within(self.deadline, &self.subject, inner.journal.load(LoadRequest::Keys(keys))).await;
        loaded.map_err(|error| self.journal_failed(&error))
    }

    pub(super) async fn look_up(&mut self, latest_key: RowKey, latest: Latest) -> Input {
        let inner = self.inner;
        let now = inner.now();
        let rows = match self.load(vec![self.row_key, latest_key]).await {
            Ok(rows) => rows,
            Err(input) => return input,
        };
        let (mut own, mut of_id) = (None, None);
        for row in rows {
            let place = if row.key == self.row_key { &mut own } else { &mut of_id };
            *place = Some(row);
        }
        let (mut version, mut epoch) = (0, 0);
        if let Some(row) = of_id {
            (version, epoch) = (row.version, row.lease_epoch);
            let stored = match inner.sealer.open(&row).and_then(Latest::decode) {
                Ok(stored) => stored,
                Err(error) => return self.does_not_open(error),
            };
            let reused = stored.nonce == latest.nonce && stored.message != latest.message;
            if reused {
                return self.not_its_turn("The senderNonce was used by another message of the transaction.");
            }
            if stored.transaction != latest.transaction {
                match self.is_open(stored.transaction, now).await {
                    Ok(true) => return self.not_its_turn("The transactionID belongs to another request, which is still open."),
                    Ok(false) => {}
                    Err(input) => return input,
                }
            }
        }
        match own {
            Some(row) if row.state.is_final() && (inner.persistence.repeats_until(&row) <= now || self.failed_in_passing(&row)) => {
                self.start_anew(now, row.version, row.lease_epoch, latest_key, &latest, (version, epoch))
            }
            Some(row) => self.adopt(row).await,
            None => self.start_anew(now, 0, 0, latest_key, &latest, (version, epoch)),
        }
    }

    /// Whether it ended without a certificate since the CA was away, and nobody was told of it: the client may simply come again.
    fn failed_in_passing(&self, row: &Row) -> bool {
        let inner = self.inner;
        let failure = || inner.sealer.open(row).and_then(Record::decode).ok()?.failure;
        row.state == RowState::Failed
            && inner.notifier.tells_nobody()
            && failure().is_some_and(|note| matches!(note.hresult, record::E_UNAVAILABLE | record::E_TIMEOUT))
    }

    fn not_its_turn(&mut self, reason: &str) -> Input {
        self.fail(ErrorClass::Request, reason, record::E_DENIED);
        self.inner.emit(EventId::RequestConflict, &self.subject, 0, |event| event.with_message(reason));
        Input::NotItsTurn
    }

    /// Whether that transaction is being worked on, or waits for the CA.
    async fn is_open(&self, transaction: IdempotencyKey, now: Timestamp) -> Result<bool, Input> {
        let inner = self.inner;
        let rows = self.load(vec![RowKey { kind: RowKind::ScepTransaction, key: transaction }]).await?;
        let Some(row) = rows.into_iter().next().filter(|row| !row.state.is_final()) else { return Ok(false) };
        if row.lease_until > now {
            return Ok(true);
        }
        let record = inner.sealer.open(&row).and_then(Record::decode).map_err(|error| self.does_not_open(error))?;
        Ok(record.pending.is_some() && row.created.saturating_add(inner.persistence.pending_lifetime) > now)
    }

    /// Takes over what is stored of the request.
    pub(super) async fn adopt(&mut self, mut row: Row) -> Input {
        let inner = self.inner;
        let record = match inner.sealer.open(&row).and_then(Record::decode) {
            Ok(record) => record,
            Err(error) => return self.does_not_open(error),
        };
        let Ok(run_key) = record::run_key(&inner.context.provider, row.key.key, row.created) else { return Input::JournalFailed };
        let now = inner.now();
        let busy_elsewhere = !row.state.is_final() && row.lease_until > now && row.owner.as_ref() != Some(&inner.context.instance);
        self.run_key = run_key;
        row.delivery = row.delivery.saturating_add(1);
        self.subject.delivery = row.delivery;
        if row.state.is_final() {
            inner.emit(EventId::RequestRepeated, &self.subject, 0, |event| event);
        }
        match inner.authority_of(&record) {
            Ok(authority) => self.authority = authority,
            Err(error) => return self.journal_failed(&error),
        }
        if !row.state.is_final() && record.is_renewal {
            match inner.status_of_signer(&record, self.deadline, &self.subject).await {
                Ok(CertificateStatus::Revoked) => {
                    self.fail(ErrorClass::Request, "The certificate to be renewed was revoked while the request waited.", record::E_DENIED);
                    return Input::StatusRevoked;
                }
                Ok(_) => {}
                Err(error) => return self.journal_failed(&error),
            }
        }
        let mut record = record;
        if row.state == RowState::Asked && record.pending.is_none() {
            // An earlier run asked, and its end is not known.
            record.lost = record.lost.saturating_add(1);
        }
        if let Some(failure) = &record.failure {
            self.fail(ErrorClass::Request, &failure.description, failure.hresult);
        }
        if let Some(certificate) = &record.certificate {
            let issued = Issued::new(CertificateDer::from(certificate.clone()));
            self.issued = Some(match &record.ca_side_id {
                Some(id) => issued.with_ca_side_id(id.clone()),
                None => issued,
            });
        }
        self.plan = record.pending.as_ref().map(|pending| pending.plan.clone());
        let is_told = match record.told {
            Told::Yes => true,
            Told::No => false,
            Told::Stored => match self.load(vec![RowKey { kind: RowKind::Notification, key: run_key }]).await {
                Ok(rows) => {
                    self.notification = rows.into_iter().next();
                    self.notification.as_ref().is_some_and(|row| row.state != RowState::Failed)
                }
                Err(input) => return input,
            },
        };
        let stored = Stored { state: row.state, is_pending: record.pending.is_some() && record.certificate.is_none(), is_told };
        self.record = record;
        self.row = Some(row);
        if busy_elsewhere { Input::BusyElsewhere } else { Input::Known(stored) }
    }

    fn start_anew(
        &mut self,
        now: Timestamp,
        version: u64,
        lease_epoch: u64,
        latest_key: RowKey,
        latest: &Latest,
        (latest_version, latest_epoch): (u64, u64),
    ) -> Input {
        let inner = self.inner;
        let run_key = record::run_key(&inner.context.provider, self.row_key.key, now);
        // Sealed when it is committed.
        let mut pointer = Row::new(latest_key, Flow::Scep, now, SealedBlob::new(Vec::new()));
        // Nothing is ever done for it: it is forgotten with the transactions of its time.
        pointer.state = RowState::Acknowledged;
        (pointer.version, pointer.lease_epoch) = (latest_version, latest_epoch);
        let blob = inner.sealer.seal(&pointer, latest.encode().bytes());
        let (Ok(run_key), Ok(blob)) = (run_key, blob) else { return Input::JournalFailed };
        pointer.blob = blob;
        self.run_key = run_key;
        let mut row = Row::new(self.row_key, Flow::Scep, now, SealedBlob::new(Vec::new()));
        (row.version, row.lease_epoch) = (version, lease_epoch);
        self.row = Some(row);
        self.latest = Some(pointer);
        Input::New
    }

    pub(super) fn does_not_open(&self, error: SealError) -> Input {
        self.journal_failed(&PortError::misconfigured(error.to_string()))
    }

    fn journal_failed(&self, error: &PortError) -> Input {
        self.inner.journal_failed(&self.subject, error);
        Input::JournalFailed
    }

    pub(super) async fn commit(&mut self, state: RowState) -> Input {
        let inner = self.inner;
        let now = inner.now();
        let Some(mut row) = self.row.clone() else { return Input::JournalFailed };
        if matches!(state, RowState::Failed | RowState::OrphanSuspected) {
            if self.failure.reason.is_empty() {
                let reason = "The service could not be notified, so the certificate was withheld.";
                self.fail(ErrorClass::Transient, reason, record::E_UNAVAILABLE);
            }
            self.record.failure.get_or_insert_with(|| FailureNote {
                hresult: self.failure.hresult,
                description: self.failure.reason.clone(),
                stage: String::new(),
            });
        }
        let suspicion = match self.suspicion(&row, state).await {
            Ok(suspicion) => suspicion,
            Err(input) => return input,
        };
        if state == RowState::Acknowledged && self.record.told == Told::Yes {
            // It holds the challenge, and nothing is asked with it any more.
            self.record.csr = SecretBytes::zeroed(0);
        }
        // A certificate that is released again keeps the time of its first release.
        if row.state != RowState::Acknowledged {
            row.updated = now;
        }
        row.state = state;
        if state == RowState::Asked && self.record.pending.is_some() {
            // Nobody works on it: any instance may take the next poll.
            (row.owner, row.lease_until) = (None, now);
            row.due = row.created.saturating_add(inner.persistence.pending_lifetime);
        } else {
            row.owner = Some(inner.context.instance.clone());
            row.lease_until = self.deadline.saturating_add(Duration::from_secs(30)).max(now);
            // Nobody but the client works on it before this; then `maintain` clears it away.
            let from = if state == RowState::Issued { now } else { row.created };
            row.due = from.saturating_add(inner.persistence.replay_window).max(row.lease_until);
        }
        let Ok(blob) = inner.sealer.seal(&row, self.record.encode().bytes()) else { return Input::JournalFailed };
        row.blob = blob;
        let (latest, listed) = (self.latest.take(), suspicion.is_some());
        let changes: Vec<Change> = core::iter::once(row.clone()).chain(latest).chain(suspicion).map(Change::new).collect();
        // What was done after the deadline, a revocation for one, must be stored too.
        let deadline = self.deadline.max(now).saturating_add(Duration::from_secs(5));
        let stored = inner.within(deadline, &self.subject, inner.journal.commit(changes)).await;
        match stored.as_deref() {
            Ok([CommitAnswer::Stored(version), others @ ..]) => {
                row.version = *version;
                self.row = Some(row);
                // A row of the ledger that another looks at is there already; it reads from this one how the transaction ended.
                let others = if listed { others.split_last().map_or(others, |(_, others)| others) } else { others };
                let all = others.iter().all(|answer| matches!(answer, CommitAnswer::Stored(_)));
                if all { Input::Committed } else { Input::Conflict }
            }
            Ok(_) => Input::Conflict,
            Err(error) => self.journal_failed(error),
        }
    }
}

impl Inner {
    pub(super) fn journal_failed(&self, subject: &Subject, error: &PortError) {
        self.emit(EventId::JournalFailure, subject, 0, |event| event.with_error_class(error.class()).with_message(&error.to_string()));
    }
}
