//! One transaction, from the row that knows it to the outcome: performs the actions of `step`.

use core::time::Duration;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};

use super::authority::Authority;
use super::config::RenewalPolicy;
use super::record::{self, FailureNote, Latest, Record, Told};
use super::service::{Inner, Subject};
use super::step::{Action, Ending, Input, Notified, Rules, Stage, Stored, Transaction};
use super::wire::Verified;
use crate::event::EventId;
use crate::ids::IdempotencyKey;
use crate::message::certificate::Certificate;
use crate::message::csr::Csr;
use crate::message::scep::FailInfo;
use crate::policy::{PolicyError, ScepApproval};
use crate::ports::{
    Approved, CertificatePlan, CertificateStatus, Change, CommitAnswer, Issued, LoadRequest, PortError, Row, RowKey, RowKind, RowState,
    ValidateRequest, Verdict, Vouched,
};
use crate::retry::ErrorClass;
use crate::secret::SecretBytes;
use crate::terms::Flow;
use crate::time::Timestamp;

/// How a request ended, for the reply and the Admin event.
#[derive(Debug)]
pub(super) enum Outcome {
    Released {
        certificate: Vec<u8>,
        notified: Notified,
        repeated: bool,
        delivery: u32,
    },
    Refused {
        stage: Stage,
        fail_info: FailInfo,
        notified: Notified,
        class: ErrorClass,
        reason: String,
        withheld: bool,
    },
    /// The CA holds the request: the client polls.
    Pending,
    /// The answer to a query: it ends nothing, and has no Admin event.
    Told(super::wire::Content),
    TryLater {
        reason: &'static str,
    },
}

impl Outcome {
    pub(super) fn refused(stage: Stage, fail_info: FailInfo, class: ErrorClass, reason: &str) -> Self {
        Self::Refused { stage, fail_info, notified: Notified::NotDue, class, reason: reason.to_owned(), withheld: false }
    }
}

/// One request on its way.
pub(super) struct Enrolment<'a> {
    pub(super) inner: &'a Inner,
    pub(super) authority: Arc<Authority>,
    pub(super) subject: Subject,
    pub(super) deadline: Timestamp,
    /// Absent once the certificate was released: nothing is asked with it any more.
    pub(super) csr: Option<Csr>,
    row: Option<Row>,
    row_key: RowKey,
    /// Stored with the first commit.
    latest: Option<Row>,
    pub(super) run_key: IdempotencyKey,
    pub(super) record: Record,
    pub(super) plan: Option<CertificatePlan>,
    pub(super) approved: Option<Approved>,
    pub(super) issued: Option<Issued>,
    /// The certificate, once its check has passed.
    pub(super) checked: Option<Certificate>,
    /// The stored news of an earlier run that was given up.
    pub(super) notification: Option<Row>,
    pub(super) failure: Failure,
}

/// What is known of the failure that ends the request.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) class: ErrorClass,
    pub(super) reason: String,
    pub(super) hresult: i32,
}

/// By what a repeat is told from a replay, and a poll from a stranger's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    /// SHA-256 of the signer's public key.
    pub(super) signer_key: [u8; 32],
    pub(super) nonce: [u8; 16],
    /// SHA-256 of the message.
    pub(super) message: [u8; 32],
}

const NOWHERE: IdempotencyKey = IdempotencyKey::new([0; 32]);

impl<'a> Enrolment<'a> {
    /// Of a verified PKCSReq or RenewalReq.
    pub(super) fn new(inner: &'a Inner, authority: Arc<Authority>, verified: Verified, subject: Subject, deadline: Timestamp) -> Self {
        let record = Record {
            scope: subject.scope.clone(),
            transaction_id: verified.transaction_id,
            csr: SecretBytes::copy_from(verified.csr.der()),
            certificate: None,
            ca_side_id: None,
            failure: None,
            ca: Some(authority.issuer.name.clone()),
            signer: Some(verified.signer.der().as_ref().to_vec()),
            is_renewal: verified.is_renewal,
            told: Told::No,
            pending: None,
        };
        Self::with(inner, authority, Some(verified.csr), record, subject, deadline)
    }

    fn with(inner: &'a Inner, authority: Arc<Authority>, csr: Option<Csr>, record: Record, subject: Subject, deadline: Timestamp) -> Self {
        Self {
            inner,
            authority,
            subject,
            deadline,
            csr,
            row: None,
            row_key: RowKey { kind: RowKind::ScepTransaction, key: NOWHERE },
            latest: None,
            run_key: NOWHERE,
            record,
            plan: None,
            approved: None,
            issued: None,
            checked: None,
            notification: None,
            failure: Failure { class: ErrorClass::Request, reason: String::new(), hresult: record::E_UNEXPECTED },
        }
    }

    /// From the message to the outcome.
    pub(super) async fn run(mut self, origin: Origin) -> Outcome {
        let (inner, provider, tenant) = (self.inner, &self.inner.context.provider, &self.inner.context.tenant);
        let key = record::transaction_key(provider, tenant, &self.record.transaction_id, self.record.csr.secret_bytes());
        let latest = record::latest_key(provider, tenant, &self.record.transaction_id);
        let (Ok(key), Ok(latest_key)) = (key, latest) else {
            return Outcome::TryLater { reason: "The crypto provider failed." };
        };
        self.row_key.key = key;
        let latest_key = RowKey { kind: RowKind::ScepTransactionId, key: latest_key };
        let Origin { signer_key, nonce, message } = origin;
        let latest = Latest { transaction: key, signer_key, nonce, message };
        let lock = inner.locks.of(key);
        match inner.within(self.deadline, &self.subject.clone(), async { Ok(lock.turn().await) }).await {
            Ok(_turn) => {
                let input = self.look_up(latest_key, latest).await;
                self.transact(input).await
            }
            Err(_) => Outcome::TryLater { reason: "The same request is still being worked on." },
        }
    }

    /// Goes on with a stored transaction, for a poll.
    pub(super) async fn resume(
        inner: &'a Inner,
        authority: Arc<Authority>,
        row: Row,
        record: Record,
        subject: Subject,
        deadline: Timestamp,
    ) -> Outcome {
        let csr = Csr::from_der(record.csr.secret_bytes(), &inner.context.limits).ok();
        let key = row.key.key;
        let mut enrolment = Self::with(inner, authority, csr, record.copy(), subject, deadline);
        enrolment.row_key = row.key;
        let lock = inner.locks.of(key);
        match inner.within(deadline, &enrolment.subject.clone(), async { Ok(lock.turn().await) }).await {
            Ok(_turn) => {
                // Read again: it may have ended while this waited for its turn.
                let input = match enrolment.load(vec![row.key]).await {
                    Ok(rows) => match rows.into_iter().next() {
                        Some(row) => enrolment.adopt(row).await,
                        None => Input::JournalFailed,
                    },
                    Err(input) => input,
                };
                enrolment.transact(input).await
            }
            Err(_) => Outcome::TryLater { reason: "The same request is still being worked on." },
        }
    }

    async fn transact(&mut self, mut input: Input) -> Outcome {
        let mut transaction = Transaction::new(Rules {
            notification: self.inner.notification,
            issue_attempts: self.inner.persistence.issue_attempts,
            notify_attempts: self.inner.persistence.notify_attempts,
            ca_is_idempotent: self.authority.issuer.is_idempotent,
            pending: self.inner.pending,
            tells_nobody: self.inner.notifier.tells_nobody(),
        });
        loop {
            input = match transaction.next(input) {
                Action::Finish(ending) => return self.outcome(ending),
                Action::Validate => self.validate().await,
                Action::Commit(state) => self.commit(state).await,
                Action::Issue(attempt) => self.issue(attempt).await,
                Action::Find => self.find().await,
                Action::Poll => self.poll().await,
                Action::CheckStatus => self.check_status().await,
                Action::Check => self.check().await,
                Action::NotifySuccess(attempt) => self.notify_success(attempt).await,
                Action::NotifyFailure(attempt) => self.notify_failure(attempt).await,
                Action::SpoolSuccess | Action::SpoolFailure => self.spool().await,
                Action::Revoke => self.hand_to_revocation().await,
            };
        }
    }

    async fn load(&self, keys: Vec<RowKey>) -> Result<Vec<Row>, Input> {
        let inner = self.inner;
        let loaded = inner.within(self.deadline, &self.subject, inner.journal.load(LoadRequest::Keys(keys))).await;
        loaded.map_err(|error| self.journal_failed(&error))
    }

    async fn look_up(&mut self, latest_key: RowKey, latest: Latest) -> Input {
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
            let Ok(stored) = inner.sealer.open(row.key, &row.blob).and_then(Latest::decode) else { return self.does_not_open() };
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
        let failure = || inner.sealer.open(row.key, &row.blob).and_then(Record::decode).ok()?.failure;
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
        let Ok(record) = inner.sealer.open(row.key, &row.blob).and_then(Record::decode) else { return Err(self.does_not_open()) };
        Ok(record.pending.is_some() && row.created.saturating_add(inner.persistence.pending_lifetime) > now)
    }

    /// Takes over what is stored of the request.
    async fn adopt(&mut self, mut row: Row) -> Input {
        let inner = self.inner;
        let Ok(record) = inner.sealer.open(row.key, &row.blob).and_then(Record::decode) else { return self.does_not_open() };
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
        let blob = inner.sealer.seal(latest_key, latest.encode().bytes());
        let (Ok(run_key), Ok(blob)) = (run_key, blob) else { return Input::JournalFailed };
        self.run_key = run_key;
        let mut row = Row::new(self.row_key, Flow::Scep, now, crate::ports::SealedBlob::new(Vec::new()));
        (row.version, row.lease_epoch) = (version, lease_epoch);
        self.row = Some(row);
        let mut row = Row::new(latest_key, Flow::Scep, now, blob);
        // Nothing is ever done for it: it is forgotten with the transactions of its time.
        row.state = RowState::Acknowledged;
        (row.version, row.lease_epoch) = (latest_version, latest_epoch);
        self.latest = Some(row);
        Input::New
    }

    fn does_not_open(&self) -> Input {
        self.journal_failed(&PortError::misconfigured("a stored transaction does not open with the sealing key"))
    }

    fn journal_failed(&self, error: &PortError) -> Input {
        self.inner.journal_failed(&self.subject, error);
        Input::JournalFailed
    }

    async fn validate(&mut self) -> Input {
        let inner = self.inner;
        let renewed = self.record.signer.as_deref().filter(|_| self.record.is_renewal).map(CertificateDer::from);
        let started = inner.context.runtime.monotonic();
        let verdict = match &renewed {
            Some(certificate) if inner.renewal == RenewalPolicy::CertificateSuffices => Ok(self.renewed_by(certificate)),
            renewed => {
                let csr = CertificateSigningRequestDer::from(self.record.csr.secret_bytes());
                let request = ValidateRequest::new(&csr, &self.record.transaction_id).renewing(renewed.as_ref());
                inner.within(self.deadline, &self.subject, inner.validator.validate(request)).await
            }
        };
        let took = inner.context.runtime.monotonic().saturating_sub(started);
        let vouched = match verdict {
            Ok(Verdict::Accepted(vouched)) => {
                inner.emit(EventId::ScepVerifySuccess, &self.subject, 0, |event| {
                    let event = event.with_duration(took);
                    if renewed.is_some() { event.with_detail("renewal", "true") } else { event }
                });
                vouched
            }
            Ok(Verdict::Rejected { code, description }) => {
                self.fail(ErrorClass::Request, &format!("{description} ({code})"), record::E_DENIED);
                inner.emit(EventId::ScepVerifyFailure, &self.subject, 0, |event| {
                    event.with_duration(took).with_error_class(ErrorClass::Request).with_detail("code", &code).with_message(&description)
                });
                return Input::Rejected;
            }
            Err(error) => {
                self.fail(error.class(), &error.to_string(), record::E_UNAVAILABLE);
                inner.emit(EventId::ScepVerifyFailure, &self.subject, 0, |event| {
                    event.with_duration(took).with_error_class(error.class()).with_message(&error.to_string())
                });
                return Input::NoVerdict;
            }
        };
        self.approve(&vouched)
    }

    /// The names of a renewal are those of the certificate; of these it vouches for the SID alone, which was granted when it was issued.
    /// Nobody has granted other usages than those that it has.
    fn renewed_by(&self, certificate: &CertificateDer<'_>) -> Verdict {
        let rejected = |code: &str, description: &str| Verdict::Rejected { code: code.to_owned(), description: description.to_owned() };
        let Ok(certificate) = Certificate::from_der(certificate, &self.inner.context.limits) else {
            return rejected("Certificate", "The certificate to be renewed cannot be read.");
        };
        let granted = certificate.extended_key_usage();
        let asked = self.csr.as_ref().map(Csr::extended_key_usage).unwrap_or_default();
        if !granted.is_empty() && !asked.iter().all(|usage| granted.contains(usage)) {
            return rejected("ExtendedKeyUsage", "The CSR asks for an extendedKeyUsage that the certificate to be renewed does not have.");
        }
        Verdict::Accepted(Vouched { sid: crate::policy::sid_of(&certificate), ..Vouched::default() })
    }

    fn approve(&mut self, vouched: &Vouched) -> Input {
        let inner = self.inner;
        let issuer = &self.authority.issuer;
        let approval = ScepApproval::new(issuer.name.clone(), inner.validity, vouched).with_template(issuer.template.clone());
        let Some(csr) = &self.csr else { return Input::NoVerdict };
        match inner.policy.approve_csr(&inner.context.provider, csr, &approval, inner.now()) {
            Ok((plan, approved)) => {
                if plan.subject_alt_names.is_empty() {
                    inner.emit(EventId::NoSubjectAltName, &self.subject, 0, |event| event);
                }
                (self.plan, self.approved) = (Some(plan), Some(approved));
                Input::Accepted
            }
            Err(PolicyError::Refused(refusal)) => {
                self.fail(ErrorClass::Policy, &refusal.to_string(), record::E_POLICY);
                inner.emit(EventId::PolicyRefusal, &self.subject, 0, |event| {
                    event.with_error_class(ErrorClass::Policy).with_detail("rule", refusal.rule.as_str()).with_message(&refusal.to_string())
                });
                Input::PolicyRefused
            }
            Err(error) => {
                self.fail(ErrorClass::Internal, &error.to_string(), record::E_UNEXPECTED);
                Input::PolicyRefused
            }
        }
    }

    async fn commit(&mut self, state: RowState) -> Input {
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
        if state == RowState::Acknowledged && self.record.told == Told::Yes {
            // It holds the challenge, and nothing is asked with it any more.
            self.record.csr = SecretBytes::zeroed(0);
        }
        let Ok(blob) = inner.sealer.seal(row.key, self.record.encode().bytes()) else { return Input::JournalFailed };
        row.blob = blob;
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
        let changes: Vec<Change> = core::iter::once(row.clone()).chain(self.latest.take()).map(|row| Change { row }).collect();
        // What was done after the deadline, a revocation for one, must be stored too.
        let deadline = self.deadline.max(now).saturating_add(Duration::from_secs(5));
        let stored = inner.within(deadline, &self.subject, inner.journal.commit(changes)).await;
        match stored.as_deref() {
            Ok([CommitAnswer::Stored(version), others @ ..]) => {
                row.version = *version;
                self.row = Some(row);
                let all = others.iter().all(|answer| matches!(answer, CommitAnswer::Stored(_)));
                if all { Input::Committed } else { Input::Conflict }
            }
            Ok(_) => Input::Conflict,
            Err(error) => self.journal_failed(error),
        }
    }

    /// When the transaction began.
    pub(super) fn started(&self) -> Option<Timestamp> {
        self.row.as_ref().map(|row| row.created)
    }

    pub(super) fn fail(&mut self, class: ErrorClass, reason: &str, hresult: i32) {
        self.failure = Failure { class, reason: reason.to_owned(), hresult };
    }

    pub(super) fn pause(&self, attempt: u32) -> Duration {
        self.inner.persistence.backoff(attempt).min(self.inner.admission.deadline)
    }

    fn outcome(&mut self, ending: Ending) -> Outcome {
        let class = self.failure.class;
        let reason = core::mem::take(&mut self.failure.reason);
        let refused =
            |stage, notified, withheld| Outcome::Refused { stage, fail_info: FailInfo::BadRequest, notified, class, reason, withheld };
        match (ending, self.record.certificate.take()) {
            (Ending::Released { notified, repeated }, Some(certificate)) => {
                Outcome::Released { certificate, notified, repeated, delivery: self.subject.delivery }
            }
            (Ending::Refused { stage, notified }, _) => refused(stage, notified, false),
            (Ending::Withheld, _) => refused(Stage::Issue, Notified::No, true),
            (Ending::RefusedBefore, _) => refused(Stage::Issue, Notified::NotDue, false),
            (Ending::NotItsTurn | Ending::Revoked, _) => refused(Stage::Verify, Notified::NotDue, false),
            (Ending::Pending, _) => Outcome::Pending,
            (Ending::TryLater | Ending::Released { .. }, _) => {
                Outcome::TryLater { reason: "The journal or the CA is away, or another instance works on it." }
            }
        }
    }
}

impl Inner {
    pub(super) fn journal_failed(&self, subject: &Subject, error: &PortError) {
        self.emit(EventId::JournalFailure, subject, 0, |event| event.with_error_class(error.class()).with_message(&error.to_string()));
    }
}
