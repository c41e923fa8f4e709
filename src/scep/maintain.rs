//! Work without a client: stored notifications, certificates to be revoked, transactions that their clients left.

use core::sync::atomic::Ordering;
use core::time::Duration;

use super::ask::is_denial;
use super::record::{self, Record};
use super::service::{Inner, Service, Subject};
use crate::event::EventId;
use crate::flow::credential::{Credential, day};
use crate::message::certificate::Certificate;
use crate::message::csr::Csr;
use crate::ports::{
    Change, ClaimRequest, FindAnswer, FindRequest, IssueAnswer, Issued, LoadRequest, PortError, PortErrorKind, PruneRequest, Row, RowKind,
    RowState, StatusRequest,
};
use crate::retry::{ErrorClass, Retry};
use crate::secret::SecretBytes;
use crate::terms::Flow;
use crate::time::Timestamp;

/// Rows taken in one call, so that a call ends.
const BATCH: usize = 100;
/// Rows forgotten in one transaction of the journal, and such transactions in one call.
const PRUNED_AT_ONCE: usize = 1_000;
const PRUNES: usize = 120;
/// How long another instance leaves claimed rows alone.
const LEASE: Duration = Duration::from_secs(600);
/// Attempts to revoke an orphan before an operator is told; then it is tried once a day.
const REVOKE_ATTEMPTS: u32 = 30;
const DAY: Duration = Duration::from_secs(86_400);

/// What one call of [`Service::maintain`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Maintained {
    /// Stored notifications that the notifier accepted.
    pub notified: u64,
    /// Stored notifications that stay for a later call.
    pub waiting: u64,
    /// Stored notifications given up, with event 4002 or 4001.
    pub given_up: u64,
    /// Orphaned certificates revoked.
    pub revoked: u64,
    /// Due rows that do not open with the sealing keys, or were changed by somebody else; they stay, and are looked at again.
    pub unopened: u64,
    /// Finished rows forgotten.
    pub pruned: u64,
    /// When the next call has something to do, as far as is known.
    pub next_due: Option<Timestamp>,
}

impl Service {
    /// Does what is due: retries stored notifications, revokes certificates that were never released, clears away what clients left.
    /// Call it at least once a minute, from one task; several instances may share a journal.
    pub async fn maintain(&self, now: Timestamp) -> Maintained {
        let inner = &self.0;
        let mut done = Maintained::default();
        for kind in [RowKind::Notification, RowKind::Orphan, RowKind::ScepTransaction] {
            let claim = ClaimRequest::new(kind, Flow::Scep, inner.context.instance.clone(), BATCH, now, LEASE);
            let component = Subject { scope: "maintain".to_owned(), delivery: 0 };
            let rows = match inner.within(inner.soon(), &component, inner.journal.claim(claim)).await {
                Ok(rows) => rows,
                Err(error) => {
                    inner.journal_failed(&component, &error);
                    continue;
                }
            };
            for row in rows {
                inner.maintain_row(row, now, &mut done).await;
            }
        }
        inner.refresh_chain().await;
        inner.keep_registration(now).await;
        inner.look_at_credentials(now);
        let component = Subject { scope: "maintain".to_owned(), delivery: 0 };
        if let Some(problem) = inner.sealer.problem() {
            inner.journal_failed(&component, &PortError::misconfigured(format!("the sealing keys cannot be read: {problem}")));
        }
        let before = now.saturating_sub(inner.persistence.longest());
        // As many as come between two calls at a thousand enrolments a second.
        for _ in 0..PRUNES {
            let prune = PruneRequest::new(before, PRUNED_AT_ONCE);
            let pruned = inner.within(inner.soon(), &component, inner.journal.prune(prune)).await.unwrap_or(0);
            done.pruned = done.pruned.saturating_add(pruned);
            if pruned < PRUNED_AT_ONCE as u64 {
                break;
            }
        }
        let open = LoadRequest::Open { kind: RowKind::Notification, max: BATCH };
        if let Ok(rows) = inner.within(inner.soon(), &component, inner.journal.load(open)).await {
            done.next_due = rows.iter().map(|row| row.due).min();
        }
        done
    }
}

impl Inner {
    /// Warns once a day of RA certificates that end soon.
    fn look_at_credentials(&self, now: Timestamp) {
        if self.looked_at.swap(day(now), Ordering::Relaxed) == day(now) {
            return;
        }
        let authority = self.authorities().current.clone();
        let credential = |name: &str, certificate: &Certificate| Credential { name: name.to_owned(), not_after: certificate.not_after() };
        let mut credentials = vec![credential("RA signing certificate", &authority.signing)];
        if authority.decryption.der() != authority.signing.der() {
            credentials.push(credential("RA decryption certificate", &authority.decryption));
        }
        self.context.warn_of_expiry(Some(Flow::Scep), &credentials, now);
    }

    pub(super) fn soon(&self) -> Timestamp {
        self.now().saturating_add(Duration::from_secs(30))
    }

    async fn maintain_row(&self, row: Row, now: Timestamp, done: &mut Maintained) {
        let mut record = match self.sealer.open(&row).and_then(Record::decode) {
            Ok(record) => record,
            Err(error) => {
                // It stays for whoever has its key. Told once in a call, of the first one.
                if done.unopened == 0 {
                    let component = Subject { scope: "maintain".to_owned(), delivery: 0 };
                    self.journal_failed(&component, &PortError::misconfigured(error.to_string()));
                }
                done.unopened += 1;
                return;
            }
        };
        let subject = Subject { scope: record.scope.clone(), delivery: row.delivery };
        // A client that has come back at last is served first.
        let lock = self.locks.of(row.key.key);
        let Some(_turn) = lock.try_turn() else { return };
        if row.key.kind == RowKind::ScepTransaction && !self.is_unchanged(&row, &subject).await {
            return;
        }
        let mut row = match row.key.kind {
            RowKind::Notification => self.retry_notification(row, &record, &subject, now, done).await,
            RowKind::Orphan if record.suspicion.is_some() => self.sweep(row, &mut record, &subject, now, done).await,
            RowKind::Orphan => self.retry_revocation(row, &record, &subject, now, done).await,
            _ => self.clear_away(row, &record, &subject, now).await,
        };
        if row.state.is_final() && row.key.kind != RowKind::ScepTransaction {
            // It holds the challenge, and nothing is asked with it any more.
            record.csr = SecretBytes::zeroed(0);
        }
        match self.sealer.seal(&row, record.encode().bytes()) {
            Ok(blob) => row.blob = blob,
            Err(error) => return self.journal_failed(&subject, &PortError::misconfigured(error.to_string())),
        }
        let stored = self.within(self.soon(), &subject, self.journal.commit(vec![Change::new(row)])).await;
        if let Err(error) = stored {
            self.journal_failed(&subject, &error);
        }
    }

    /// Whether the row is still as it was claimed.
    async fn is_unchanged(&self, row: &Row, subject: &Subject) -> bool {
        let loaded = self.within(self.soon(), subject, self.journal.load(LoadRequest::Keys(vec![row.key]))).await;
        loaded.is_ok_and(|rows| rows.first().is_some_and(|stored| stored.version == row.version))
    }

    fn later(&self, mut row: Row, now: Timestamp) -> Row {
        row.due = now.saturating_add(self.persistence.backoff(row.attempt));
        row.owner = None;
        row.lease_until = now;
        row
    }

    async fn retry_notification(&self, mut row: Row, record: &Record, subject: &Subject, now: Timestamp, done: &mut Maintained) -> Row {
        row.attempt = row.attempt.saturating_add(1);
        row.updated = now;
        let notified = match self.tell(record, None, self.soon(), subject, row.attempt).await {
            Ok(()) => true,
            Err(error) if is_final(&error) || row.attempt >= self.persistence.spool_attempts => false,
            Err(error) => {
                done.waiting += 1;
                let mut row = self.later(row, now);
                if let Retry::After(wait) = error.retry() {
                    row.due = row.due.max(now.saturating_add(wait));
                }
                return row;
            }
        };
        *(if notified { &mut done.notified } else { &mut done.given_up }) += 1;
        row.state = if notified { RowState::Acknowledged } else { RowState::Failed };
        // The Admin event that the request's own end left to this.
        let told = if notified { "true" } else { "false" };
        match &record.failure {
            Some(note) => self.emit(EventId::ScepRequestIssuedFailure, subject, row.attempt, |event| {
                event.with_detail("stage", &note.stage).with_detail("notified", told).with_message(&note.description)
            }),
            None if notified => {
                self.emit(EventId::ScepRequestSuccess, subject, row.attempt, |event| event.with_detail("released", "true"));
            }
            None => self.emit(EventId::ScepRequestUploadFailure, subject, row.attempt, |event| {
                event.with_detail("released", "true").with_error_class(ErrorClass::Transient)
            }),
        }
        row
    }

    async fn retry_revocation(&self, mut row: Row, record: &Record, subject: &Subject, now: Timestamp, done: &mut Maintained) -> Row {
        row.attempt = row.attempt.saturating_add(1);
        row.updated = now;
        match self.revoke(record, subject).await {
            Ok(_) => {
                done.revoked += 1;
                row.state = RowState::Acknowledged;
                row
            }
            Err(_) if row.attempt < REVOKE_ATTEMPTS => self.later(row, now),
            // It stays in the ledger until it is revoked, or an operator closes it.
            Err(error) => {
                if row.attempt == REVOKE_ATTEMPTS {
                    self.emit(EventId::CertificateHandedToRevocation, subject, row.attempt, |event| {
                        event.with_detail("revoked", "false").with_error_class(error.class()).with_message("It must be revoked by hand.")
                    });
                }
                row = self.later(row, now);
                row.due = now.saturating_add(DAY);
                row
            }
        }
    }

    /// The client has not come back in its time: what may have been issued for it is revoked.
    async fn clear_away(&self, mut row: Row, record: &Record, subject: &Subject, now: Timestamp) -> Row {
        let left = match (&record.certificate, row.state) {
            (Some(_), _) => Left::Certificate(Box::new(record.copy())),
            (None, RowState::Asked) if record.pending.is_some() => self.ask_about_pending(&row, record, subject).await,
            // The ledger of orphans has it.
            (None, RowState::OrphanSuspected) if record.lost > 0 => Left::Nothing,
            (None, RowState::Asked | RowState::OrphanSuspected) => self.find_again(&row, record, subject).await,
            (None, _) => Left::Nothing,
        };
        if record.pending.is_some() && row.attempt == 0 {
            self.emit(EventId::ScepRequestIssuedFailure, subject, row.attempt, |event| {
                event
                    .with_detail("stage", "issue")
                    .with_detail("notified", "false")
                    .with_error_class(ErrorClass::Deadline)
                    .with_message("The request waited for the CA until its time was over.")
            });
        }
        row.attempt = row.attempt.saturating_add(1);
        row.state = match left {
            Left::Nothing => RowState::Failed,
            Left::Certificate(found) => match record::run_key(&self.context.provider, row.key.key, row.created) {
                Ok(key) if self.hand_to_revocation(&found, key, subject).await => RowState::Failed,
                _ => return self.later(row, now),
            },
            Left::CaIsAway if row.attempt < REVOKE_ATTEMPTS => return self.later(row, now),
            Left::CaIsAway => {
                let reason = "The CA does not answer; look there for a certificate that nobody has.";
                if !self.suspect_left(&row, record, subject, reason).await {
                    return self.later(row, now);
                }
                RowState::Failed
            }
            Left::Unknown(reason) if self.suspect_left(&row, record, subject, reason).await => RowState::Failed,
            Left::Unknown(_) => return self.later(row, now),
        };
        row
    }

    /// Lists what may have been issued; an operator is told once. Whether it is listed.
    async fn suspect_left(&self, row: &Row, record: &Record, subject: &Subject, reason: &str) -> bool {
        let listed = self.list_suspicion(row, record, reason, subject).await;
        if listed {
            self.emit(EventId::AnswerLost, subject, row.attempt, |event| event.with_message(reason));
        }
        listed
    }

    /// What became of a request that the CA held, at the end of its time.
    async fn ask_about_pending(&self, row: &Row, record: &Record, subject: &Subject) -> Left {
        let poll_id = record.pending.as_ref().map_or("", |pending| &pending.poll_id);
        let Ok(key) = record::run_key(&self.context.provider, row.key.key, row.created) else { return Left::CaIsAway };
        let Ok(authority) = self.authority_of(record) else {
            return Left::Unknown("The CA that holds the request is none of the service's; deny it there.");
        };
        let request = StatusRequest::new(key, poll_id, self.soon());
        match self.ask(self.soon(), subject, &authority.issuer, false, authority.issuer.ca.status(request)).await {
            Ok(IssueAnswer::Issued(issued)) => Left::Certificate(Box::new(with_certificate(record, *issued))),
            Ok(IssueAnswer::Pending { .. }) => Left::Unknown("The CA still holds the request; deny it there."),
            Err(error) if is_denial(&error) => Left::Nothing,
            Err(_) => Left::CaIsAway,
        }
    }

    async fn find_again(&self, row: &Row, record: &Record, subject: &Subject) -> Left {
        let unknown = Left::Unknown("The CA cannot say whether it issued; look for a certificate that nobody has.");
        let Ok(csr) = Csr::from_der(record.csr.secret_bytes(), &self.context.limits) else { return unknown };
        let Ok(key) = record::run_key(&self.context.provider, row.key.key, row.created) else { return Left::CaIsAway };
        let Ok(asked) = self.authority_of(record) else { return unknown };
        let plan = self.plan_to_find(record, &csr, row.created);
        let der = rustls_pki_types::CertificateSigningRequestDer::from(record.csr.secret_bytes());
        let request = FindRequest::new(key, &der, csr.spki(), &plan, self.soon());
        match self.ask(self.soon(), subject, &asked.issuer, false, asked.issuer.ca.find(request)).await {
            // In use, and found by its key.
            Ok(FindAnswer::Found(issued)) if record.renews(&issued.certificate) => Left::Nothing,
            Ok(FindAnswer::Found(issued)) => Left::Certificate(Box::new(with_certificate(record, *issued))),
            Ok(FindAnswer::Absent) => Left::Nothing,
            Ok(FindAnswer::CannotTell) => unknown,
            Err(error) if error.retry() == Retry::Never => unknown,
            Err(_) => Left::CaIsAway,
        }
    }
}

/// Whether Intune will never take it. A permission that was taken away may be given back: the device has its certificate, and Intune must
/// still be told.
fn is_final(error: &PortError) -> bool {
    matches!(error.kind(), PortErrorKind::Rejected | PortErrorKind::Unsupported)
}

/// What a client has left behind.
enum Left {
    Nothing,
    Certificate(Box<Record>),
    /// Nobody can say, now or later; for an operator.
    Unknown(&'static str),
    CaIsAway,
}

fn with_certificate(record: &Record, issued: Issued) -> Record {
    let mut record = record.copy();
    record.certificate = Some(issued.certificate.as_ref().to_vec());
    record.ca_side_id = issued.ca_side_id;
    record
}
