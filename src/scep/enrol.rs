//! Performs the actions of one transaction: journal, validator, CA, check, notifier.

use core::time::Duration;

use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};

use super::NotificationPolicy;
use super::record::{self, FailureNote, Record};
use super::service::{Inner, Subject};
use super::step::{Action, Ending, Input, Notified, Rules, Stage, Transaction};
use super::wire::Verified;
use crate::event::EventId;
use crate::ids::{IdempotencyKey, SerialNumber};
use crate::message::certificate::Certificate;
use crate::message::scep::FailInfo;
use crate::policy::post_issue::{self, Expected};
use crate::policy::{PolicyError, ScepApproval};
use crate::ports::{
    Approved, CertificatePlan, Change, CommitAnswer, FailureNotification, FindAnswer, FindRequest, IssueAnswer, IssueRequest, Issued,
    LoadRequest, PortError, RevokeCall, Row, RowKey, RowKind, RowState, StatusRequest, SuccessNotification, ValidateRequest, Verdict,
};
use crate::retry::{Effect, ErrorClass, Retry};
use crate::secret::SecretBytes;
use crate::terms::{Flow, RevocationReason};
use crate::time::Timestamp;

/// How a request ended, for the reply and the Admin event.
#[derive(Debug)]
pub(super) enum Outcome {
    Released { certificate: Vec<u8>, notified: Notified, repeated: bool, delivery: u32 },
    Refused { stage: Stage, fail_info: FailInfo, notified: Notified, class: ErrorClass, reason: String, withheld: bool },
    TryLater { reason: &'static str },
}

impl Outcome {
    pub(super) fn refused(stage: Stage, fail_info: FailInfo, class: ErrorClass, reason: &str) -> Self {
        Self::Refused { stage, fail_info, notified: Notified::NotDue, class, reason: reason.to_owned(), withheld: false }
    }
}

/// One verified request on its way.
pub(super) struct Enrolment<'a> {
    inner: &'a Inner,
    subject: Subject,
    deadline: Timestamp,
    verified: Verified,
    row: Option<Row>,
    row_key: RowKey,
    run_key: IdempotencyKey,
    record: Record,
    approval: Option<(CertificatePlan, Approved)>,
    issued: Option<Issued>,
    failure: Failure,
}

/// What is known of the failure that ends the request.
#[derive(Debug)]
struct Failure {
    class: ErrorClass,
    reason: String,
    hresult: i32,
}

impl<'a> Enrolment<'a> {
    pub(super) fn new(inner: &'a Inner, verified: Verified, subject: Subject, deadline: Timestamp) -> Self {
        let record = Record {
            scope: subject.scope.clone(),
            transaction_id: verified.transaction_id.clone(),
            csr: SecretBytes::copy_from(verified.csr.der()),
            certificate: None,
            ca_side_id: None,
            failure: None,
        };
        let nowhere = IdempotencyKey::new([0; 32]);
        Self {
            inner,
            subject,
            deadline,
            verified,
            row: None,
            row_key: RowKey { kind: RowKind::ScepTransaction, key: nowhere },
            run_key: nowhere,
            record,
            approval: None,
            issued: None,
            failure: Failure { class: ErrorClass::Request, reason: String::new(), hresult: record::E_UNEXPECTED },
        }
    }

    pub(super) async fn run(mut self) -> Outcome {
        let inner = self.inner;
        let transaction_id = &self.record.transaction_id;
        let key = record::transaction_key(&inner.context.provider, &inner.context.tenant, transaction_id, self.record.csr.secret_bytes());
        let Ok(key) = key else { return Outcome::TryLater { reason: "The crypto provider failed." } };
        self.row_key.key = key;
        let lock = inner.locks.of(key);
        let outcome = match inner.within(self.deadline, &self.subject.clone(), async { Ok(lock.lock().await) }).await {
            Ok(_turn) => self.transact().await,
            Err(_) => Outcome::TryLater { reason: "The same request is still being worked on." },
        };
        inner.locks.forget(key, lock);
        outcome
    }

    async fn transact(&mut self) -> Outcome {
        let mut transaction = Transaction::new(Rules {
            notification: self.inner.notification,
            issue_attempts: self.inner.persistence.issue_attempts,
            notify_attempts: self.inner.persistence.notify_attempts,
            ca_is_idempotent: self.inner.ca_is_idempotent,
        });
        let mut input = self.look_up().await;
        loop {
            input = match transaction.next(input) {
                Action::Finish(ending) => return self.outcome(ending),
                Action::Validate => self.validate().await,
                Action::Commit(state) => self.commit(state).await,
                Action::Issue(attempt) => self.issue(attempt).await,
                Action::Find => self.find().await,
                Action::Check => self.check().await,
                Action::NotifySuccess(attempt) => self.notify_success(attempt).await,
                Action::NotifyFailure(attempt) => self.notify_failure(attempt).await,
                Action::SpoolSuccess | Action::SpoolFailure => self.spool().await,
                Action::Revoke => self.hand_to_revocation().await,
            };
        }
    }

    async fn look_up(&mut self) -> Input {
        let inner = self.inner;
        let now = inner.now();
        let loaded = inner.within(self.deadline, &self.subject, inner.journal.load(LoadRequest::Keys(vec![self.row_key]))).await;
        let row = match loaded {
            Ok(rows) => rows.into_iter().next(),
            Err(error) => return self.journal_failed(&error),
        };
        let Some(mut row) = row else { return self.start_anew(now, 0, 0) };
        if row.state.is_final() && row.created.saturating_add(inner.persistence.replay_window) <= now {
            return self.start_anew(now, row.version, row.lease_epoch);
        }
        let Ok(record) = inner.sealer.open(row.key, &row.blob).and_then(Record::decode) else {
            let error = PortError::misconfigured("a stored transaction does not open with the sealing key");
            return self.journal_failed(&error);
        };
        let busy_elsewhere = !row.state.is_final() && row.lease_until > now && row.owner.as_ref() != Some(&inner.context.instance);
        let Ok(run_key) = record::run_key(&inner.context.provider, row.key.key, row.created) else { return Input::JournalFailed };
        self.run_key = run_key;
        row.delivery = row.delivery.saturating_add(1);
        self.subject.delivery = row.delivery;
        if row.state.is_final() {
            inner.emit(EventId::RequestRepeated, &self.subject, 0, |event| event);
        }
        if let Some(failure) = &record.failure {
            self.failure = Failure { class: ErrorClass::Request, reason: failure.description.clone(), hresult: failure.hresult };
        }
        let state = row.state;
        if let Some(certificate) = &record.certificate {
            let issued = Issued::new(CertificateDer::from(certificate.clone()));
            self.issued = Some(match &record.ca_side_id {
                Some(id) => issued.with_ca_side_id(id.clone()),
                None => issued,
            });
        }
        self.record = record;
        self.row = Some(row);
        Input::Known { state: Some(state), busy_elsewhere }
    }

    fn start_anew(&mut self, now: Timestamp, version: u64, lease_epoch: u64) -> Input {
        let inner = self.inner;
        let Ok(run_key) = record::run_key(&inner.context.provider, self.row_key.key, now) else { return Input::JournalFailed };
        self.run_key = run_key;
        let Ok(blob) = inner.sealer.seal(self.row_key, self.record.encode().bytes()) else { return Input::JournalFailed };
        let mut row = Row::new(self.row_key, Flow::Scep, now, blob);
        row.version = version;
        row.lease_epoch = lease_epoch;
        self.row = Some(row);
        Input::Known { state: None, busy_elsewhere: false }
    }

    fn journal_failed(&self, error: &PortError) -> Input {
        self.inner.journal_failed(&self.subject, error);
        Input::JournalFailed
    }

    async fn validate(&mut self) -> Input {
        let inner = self.inner;
        let csr = CertificateSigningRequestDer::from(self.record.csr.secret_bytes());
        let started = inner.context.runtime.monotonic();
        let call = inner.validator.validate(ValidateRequest::new(&csr, &self.record.transaction_id));
        let verdict = inner.within(self.deadline, &self.subject, call).await;
        let took = inner.context.runtime.monotonic().saturating_sub(started);
        let vouched = match verdict {
            Ok(Verdict::Accepted(vouched)) => {
                inner.emit(EventId::ScepVerifySuccess, &self.subject, 0, |event| event.with_duration(took));
                vouched
            }
            Ok(Verdict::Rejected { code, description }) => {
                self.failure = Failure { class: ErrorClass::Request, reason: format!("{description} ({code})"), hresult: record::E_DENIED };
                inner.emit(EventId::ScepVerifyFailure, &self.subject, 0, |event| {
                    event.with_duration(took).with_error_class(ErrorClass::Request).with_detail("code", &code).with_message(&description)
                });
                return Input::Rejected;
            }
            Err(error) => {
                self.failure = Failure { class: error.class(), reason: error.to_string(), hresult: record::E_UNAVAILABLE };
                inner.emit(EventId::ScepVerifyFailure, &self.subject, 0, |event| {
                    event.with_duration(took).with_error_class(error.class()).with_message(&error.to_string())
                });
                return Input::NoVerdict;
            }
        };
        let approval = ScepApproval::new(inner.ca_name.clone(), inner.validity, &vouched).with_template(inner.template.clone());
        match inner.policy.approve_csr(&inner.context.provider, &self.verified.csr, &approval, inner.now()) {
            Ok(approval) => {
                self.approval = Some(approval);
                Input::Accepted
            }
            Err(PolicyError::Refused(refusal)) => {
                self.failure = Failure { class: ErrorClass::Policy, reason: refusal.to_string(), hresult: record::E_POLICY };
                inner.emit(EventId::PolicyRefusal, &self.subject, 0, |event| {
                    event.with_error_class(ErrorClass::Policy).with_detail("rule", refusal.rule.as_str()).with_message(&refusal.to_string())
                });
                Input::PolicyRefused
            }
            Err(error) => {
                self.failure = Failure { class: ErrorClass::Internal, reason: error.to_string(), hresult: record::E_UNEXPECTED };
                Input::PolicyRefused
            }
        }
    }

    async fn commit(&mut self, state: RowState) -> Input {
        let inner = self.inner;
        let now = inner.now();
        let Some(mut row) = self.row.clone() else { return Input::JournalFailed };
        if matches!(state, RowState::Failed | RowState::OrphanSuspected) {
            self.record.failure.get_or_insert_with(|| FailureNote {
                hresult: self.failure.hresult,
                description: self.failure.reason.clone(),
                stage: String::new(),
            });
        }
        let Ok(blob) = inner.sealer.seal(row.key, self.record.encode().bytes()) else { return Input::JournalFailed };
        row.blob = blob;
        row.state = state;
        row.updated = now;
        row.owner = Some(inner.context.instance.clone());
        row.lease_until = self.deadline.saturating_add(Duration::from_secs(30)).max(now);
        // Nobody but the client works on it before this; then `maintain` clears it away.
        row.due = row.created.saturating_add(inner.persistence.replay_window).max(row.lease_until);
        let stored = inner
            .within(
                self.deadline.saturating_add(Duration::from_secs(5)),
                &self.subject,
                inner.journal.commit(vec![Change { row: row.clone() }]),
            )
            .await;
        match stored.map(|answers| answers.into_iter().next()) {
            Ok(Some(CommitAnswer::Stored(version))) => {
                row.version = version;
                self.row = Some(row);
                Input::Committed
            }
            Ok(_) => Input::Conflict,
            Err(error) => self.journal_failed(&error),
        }
    }

    async fn issue(&mut self, attempt: u32) -> Input {
        let inner = self.inner;
        if attempt > 1 {
            inner.context.runtime.sleep(self.pause(attempt - 1)).await;
        }
        let started = inner.context.runtime.monotonic();
        let csr = CertificateSigningRequestDer::from(self.record.csr.secret_bytes());
        let Some((plan, approved)) = &self.approval else { return Input::IssueRefused };
        let request = IssueRequest { approved, key: self.run_key, csr: &csr, plan, deadline: self.deadline };
        let mut answer = inner.within(self.deadline, &self.subject, inner.ca.issue(request)).await;
        // Intune knows no pending requests and clients of PKCSReq wait: the CA is polled while there is time.
        loop {
            let error = match answer {
                Ok(IssueAnswer::Issued(issued)) => {
                    self.took(*issued);
                    let took = inner.context.runtime.monotonic().saturating_sub(started);
                    inner.emit(EventId::ScepIssuedSuccess, &self.subject, attempt, |event| event.with_duration(took));
                    return Input::Issued;
                }
                Ok(IssueAnswer::Pending { poll_id, after }) => {
                    if self.deadline.since(inner.now()) <= after {
                        self.fail(
                            ErrorClass::Deadline,
                            "The CA holds the request for approval, which SCEP clients do not wait for.",
                            record::E_TIMEOUT,
                        );
                        self.emit_issue_failure(attempt);
                        return Input::StillPending;
                    }
                    inner.context.runtime.sleep(after.max(Duration::from_millis(100))).await;
                    let request = StatusRequest::new(self.run_key, &poll_id, self.deadline);
                    answer = inner.within(self.deadline, &self.subject, inner.ca.status(request)).await;
                    continue;
                }
                Err(error) => error,
            };
            self.fail(
                error.class(),
                &error.to_string(),
                if error.retry() == Retry::Never { record::E_DENIED } else { record::E_UNAVAILABLE },
            );
            let none = error.effect() == Effect::None;
            let time_left = self.deadline.since(inner.now()) > self.pause(attempt);
            return match error.retry() {
                _ if !none => {
                    inner.emit(EventId::AnswerLost, &self.subject, attempt, |event| {
                        event.with_error_class(error.class()).with_message(&error.to_string())
                    });
                    Input::IssueLost
                }
                Retry::Later | Retry::After(_) if time_left && attempt < inner.persistence.issue_attempts => Input::IssueNotDone,
                _ => {
                    self.emit_issue_failure(attempt);
                    Input::IssueRefused
                }
            };
        }
    }

    fn emit_issue_failure(&self, attempt: u32) {
        self.inner.emit(EventId::ScepIssuedFailure, &self.subject, attempt, |event| {
            event.with_error_class(self.failure.class).with_message(&self.failure.reason)
        });
    }

    async fn find(&mut self) -> Input {
        let inner = self.inner;
        let csr = CertificateSigningRequestDer::from(self.record.csr.secret_bytes());
        let Some((plan, _)) = &self.approval else { return Input::CannotTell };
        // Long enough after the deadline of the request itself: it must be known what the CA did.
        let patience = self.deadline.max(inner.now().saturating_add(Duration::from_secs(10)));
        let request = FindRequest::new(self.run_key, &csr, self.verified.csr.spki(), plan, patience);
        match inner.within(patience, &self.subject, inner.ca.find(request)).await {
            Ok(FindAnswer::Found(issued)) => {
                self.took(*issued);
                inner.emit(EventId::ScepIssuedSuccess, &self.subject, 0, |event| event.with_detail("found", "true"));
                Input::Issued
            }
            Ok(FindAnswer::Absent) => Input::Absent,
            Ok(_) => {
                if !inner.ca_is_idempotent {
                    self.emit_issue_failure(0);
                }
                Input::CannotTell
            }
            Err(error) => {
                self.fail(error.class(), &error.to_string(), record::E_UNAVAILABLE);
                self.emit_issue_failure(0);
                Input::NoVerdict
            }
        }
    }

    fn took(&mut self, issued: Issued) {
        self.record.certificate = Some(issued.certificate.as_ref().to_vec());
        self.record.ca_side_id.clone_from(&issued.ca_side_id);
        self.issued = Some(issued);
    }

    async fn check(&mut self) -> Input {
        let inner = self.inner;
        let (Some(issued), Some((plan, _))) = (self.issued.clone(), &self.approval) else { return Input::CheckFailed };
        let (plan, public_key, now) = (plan.clone(), self.verified.csr.spki().to_vec(), inner.now());
        let (provider, limits, authority) = (inner.context.provider.clone(), inner.context.limits.clone(), inner.authority());
        let work = move || {
            let mut chain = issued.chain;
            chain.extend(authority.chain.iter().cloned());
            // The CA that is configured is the anchor, whether or not its own root is known.
            let expected = Expected::new(&plan, &public_key, authority.chain.get(..1).unwrap_or_default(), now);
            post_issue::check(&provider, &limits, &issued.certificate, &chain, &expected).map(drop)
        };
        let reason = match inner.context.offload(work).await {
            Ok(Ok(())) => return Input::CheckPassed,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        self.fail(ErrorClass::Policy, &reason, record::E_UNEXPECTED);
        self.emit_issue_failure(0);
        Input::CheckFailed
    }

    async fn notify_success(&mut self, attempt: u32) -> Input {
        if attempt > 1 {
            self.inner.context.runtime.sleep(self.pause(attempt - 1)).await;
        }
        let deadline = self.notify_deadline();
        let told = self.inner.tell(&self.record, deadline, &self.subject, attempt).await;
        self.after_telling(told, attempt)
    }

    async fn notify_failure(&mut self, attempt: u32) -> Input {
        if attempt > 1 {
            self.inner.context.runtime.sleep(self.pause(attempt - 1)).await;
        }
        let stage = if self.failure.class == ErrorClass::Policy && self.approval.is_none() { Stage::Policy } else { Stage::Issue };
        let note =
            FailureNote { hresult: self.failure.hresult, description: self.failure.reason.clone(), stage: stage.as_str().to_owned() };
        self.record.failure = Some(note);
        let deadline = self.notify_deadline();
        let told = self.inner.tell(&self.record, deadline, &self.subject, attempt).await;
        self.after_telling(told, attempt)
    }

    /// A client that gets its certificate anyway does not wait long; telling of a failure gets a little time also after the deadline.
    fn notify_deadline(&self) -> Timestamp {
        let soon = self.inner.now().saturating_add(Duration::from_secs(10));
        if self.inner.notification == NotificationPolicy::IssueThenNotify || self.record.failure.is_some() { soon } else { self.deadline }
    }

    fn after_telling(&mut self, told: Result<(), PortError>, attempt: u32) -> Input {
        match told {
            Ok(()) => Input::Notified,
            Err(error) => {
                let again = error.retry() != Retry::Never && self.deadline.since(self.inner.now()) > self.pause(attempt);
                Input::NotNotified { again }
            }
        }
    }

    async fn spool(&mut self) -> Input {
        let inner = self.inner;
        let now = inner.now();
        let key = RowKey { kind: RowKind::Notification, key: self.run_key };
        let Ok(blob) = inner.sealer.seal(key, self.record.encode().bytes()) else { return self.not_spooled("the row could not be sealed") };
        let mut row = Row::new(key, Flow::Scep, now, blob);
        row.attempt = 1;
        row.delivery = self.subject.delivery;
        row.due = now.saturating_add(inner.persistence.backoff(1));
        let deadline = now.saturating_add(Duration::from_secs(10));
        match inner.within(deadline, &self.subject, inner.journal.commit(vec![Change { row }])).await {
            Ok(answers) if answers.iter().all(|answer| matches!(answer, CommitAnswer::Stored(_))) => Input::Spooled,
            // A row of that key is there already: an earlier run spooled it.
            Ok(_) => Input::Spooled,
            Err(error) => self.not_spooled(&error.to_string()),
        }
    }

    fn not_spooled(&self, reason: &str) -> Input {
        self.inner.emit(EventId::ScepNotifySaveToDiskFailed, &self.subject, 0, |event| {
            event.with_error_class(ErrorClass::Transient).with_message(reason)
        });
        Input::NotSpooled
    }

    async fn hand_to_revocation(&mut self) -> Input {
        self.inner.hand_to_revocation(&self.record, self.run_key, &self.subject).await;
        if self.failure.reason.is_empty() {
            self.fail(ErrorClass::Transient, "The service could not be notified, so the certificate was withheld.", record::E_UNAVAILABLE);
        }
        Input::HandedToRevocation
    }

    fn fail(&mut self, class: ErrorClass, reason: &str, hresult: i32) {
        self.failure = Failure { class, reason: reason.to_owned(), hresult };
    }

    fn pause(&self, attempt: u32) -> Duration {
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
            (Ending::TryLater | Ending::Released { .. }, _) => {
                Outcome::TryLater { reason: "The journal is away, or another instance works on it." }
            }
        }
    }
}

impl Inner {
    pub(super) fn journal_failed(&self, subject: &Subject, error: &PortError) {
        self.emit(EventId::JournalFailure, subject, 0, |event| event.with_error_class(error.class()).with_message(&error.to_string()));
    }

    /// One attempt to notify, with its event 4008 or 4009.
    pub(super) async fn tell(&self, record: &Record, deadline: Timestamp, subject: &Subject, attempt: u32) -> Result<(), PortError> {
        let csr = CertificateSigningRequestDer::from(record.csr.secret_bytes());
        let started = self.context.runtime.monotonic();
        let kind = if record.failure.is_some() { "failure" } else { "success" };
        let result = match &record.failure {
            Some(note) => {
                let notification = FailureNotification::new(&record.transaction_id, &csr, note.hresult, &note.description);
                self.within(deadline, subject, self.notifier.failure(notification)).await
            }
            None => match self.success_of(record, &csr) {
                Some(notification) => self.within(deadline, subject, self.notifier.success(notification)).await,
                None => Err(PortError::rejected("the issued certificate cannot be read")),
            },
        };
        let took = self.context.runtime.monotonic().saturating_sub(started);
        match &result {
            Ok(()) => {
                self.emit(EventId::ScepNotifySuccess, subject, attempt, |event| event.with_duration(took).with_detail("notification", kind))
            }
            Err(error) => self.emit(EventId::ScepNotifyAttemptFailed, subject, attempt, |event| {
                event.with_duration(took).with_detail("notification", kind).with_error_class(error.class()).with_message(&error.to_string())
            }),
        }
        result
    }

    fn success_of<'a>(&self, record: &'a Record, csr: &'a CertificateSigningRequestDer<'a>) -> Option<SuccessNotification<'a>> {
        let certificate = Certificate::from_der(record.certificate.as_deref()?, &self.context.limits).ok()?;
        let thumbprint = certificate.thumbprint(&self.context.provider).ok()?;
        let issuer = self.issuing_authority.clone().or_else(|| certificate.issuer().common_name());
        let issuer = issuer.unwrap_or_else(|| certificate.issuer().to_string()).chars().take(256).collect();
        let serial = certificate.serial()?.clone();
        Some(SuccessNotification::new(&record.transaction_id, csr, thumbprint, serial, certificate.not_after(), issuer))
    }

    /// Revokes a certificate that nobody may have; what cannot be revoked now is stored for `maintain`.
    pub(super) async fn hand_to_revocation(&self, record: &Record, run_key: IdempotencyKey, subject: &Subject) {
        let revoked = self.revoke(record, subject).await;
        self.emit(EventId::CertificateHandedToRevocation, subject, 0, |event| {
            let event = event.with_detail("revoked", if revoked.is_ok() { "true" } else { "false" });
            match self.serial_of(record) {
                Some(serial) => event.with_detail("serial", &serial.to_string()),
                None => event,
            }
        });
        if revoked.is_ok() {
            return;
        }
        let (now, key) = (self.now(), RowKey { kind: RowKind::Orphan, key: run_key });
        let deadline = now.saturating_add(Duration::from_secs(10));
        let stored = match self.sealer.seal(key, record.copy().encode().bytes()) {
            Ok(blob) => {
                let mut row = Row::new(key, Flow::Scep, now, blob);
                row.state = RowState::OrphanSuspected;
                row.due = now.saturating_add(self.persistence.backoff(1));
                row.attempt = 1;
                self.within(deadline, subject, self.journal.commit(vec![Change { row }])).await.map(drop)
            }
            Err(error) => Err(PortError::rejected(error.to_string())),
        };
        if let Err(error) = stored {
            self.journal_failed(subject, &error);
        }
    }

    pub(super) fn serial_of(&self, record: &Record) -> Option<SerialNumber> {
        Some(Certificate::from_der(record.certificate.as_deref()?, &self.context.limits).ok()?.serial()?.clone())
    }

    /// One attempt to revoke.
    pub(super) async fn revoke(&self, record: &Record, subject: &Subject) -> Result<(), PortError> {
        let deadline = self.now().saturating_add(Duration::from_secs(10));
        let serial = self.serial_of(record).ok_or_else(|| PortError::rejected("the certificate cannot be read"))?;
        let certificate = record.certificate.as_deref().map(CertificateDer::from);
        let call =
            RevokeCall::new(&serial, certificate.as_ref(), record.ca_side_id.as_deref(), RevocationReason::CessationOfOperation, deadline);
        self.within(deadline, subject, self.ca.revoke(call)).await.map(drop)
    }
}
