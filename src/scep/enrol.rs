//! One transaction, from the row that knows it to the outcome: performs the actions of `step`.

use core::time::Duration;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};

use super::authority::Authority;
use super::config::RenewalPolicy;
use super::record::{self, Latest, Record, Told};
use super::service::{Inner, Subject};
use super::step::{Action, Ending, Input, Notified, Rules, Stage, Transaction};
use super::wire::Verified;
use crate::event::EventId;
use crate::ids::IdempotencyKey;
use crate::message::certificate::Certificate;
use crate::message::csr::Csr;
use crate::message::scep::FailInfo;
use crate::policy::{PolicyError, ScepApproval};
use crate::ports::{Approved, CertificatePlan, Issued, Row, RowKey, RowKind, ValidateRequest, Verdict, Vouched};
use crate::retry::ErrorClass;
use crate::secret::SecretBytes;
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
    pub(super) row: Option<Row>,
    pub(super) row_key: RowKey,
    /// Stored with the first commit.
    pub(super) latest: Option<Row>,
    pub(super) run_key: IdempotencyKey,
    pub(super) record: Record,
    pub(super) plan: Option<CertificatePlan>,
    pub(super) approved: Option<Approved>,
    pub(super) issued: Option<Issued>,
    /// The certificate, once its check has passed.
    pub(super) checked: Option<Certificate>,
    /// The stored news of an earlier run that was given up.
    pub(super) notification: Option<Row>,
    /// When the CA's answer was lost.
    pub(super) lost: Option<Timestamp>,
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
            lost: 0,
            suspicion: None,
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
            lost: None,
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
