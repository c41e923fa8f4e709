//! What a transaction asks of its CA: to issue, what became of it, whether the certificate is as planned and still counts.

use core::future::Future;
use core::time::Duration;
use std::sync::PoisonError;

use rustls_pki_types::CertificateSigningRequestDer;

use super::authority::{Authority, Issuer};
use super::config::PendingPolicy;
use super::enrol::Enrolment;
use super::record::{self, Pending};
use super::service::{Inner, Subject};
use super::step::Input;
use crate::event::EventId;
use crate::flow::ca_gate::Entry;
use crate::message::certificate::Certificate;
use crate::message::crl::Crl;
use crate::policy::post_issue::{self, Expected, Tolerance};
use crate::ports::{
    CertificateStatus, FindAnswer, FindRequest, IssueAnswer, IssueRequest, Issued, LookupAnswer, LookupRequest, PortError, PortErrorKind,
    Row, StatusRequest,
};
use crate::retry::{Effect, ErrorClass, Retry};
use crate::time::Timestamp;

/// Whether the CA says that it will not issue what it held. Every other error leaves that open, one of credentials too.
pub(super) fn is_denial(error: &PortError) -> bool {
    error.kind() == PortErrorKind::Rejected && error.effect() == Effect::None
}

impl Enrolment<'_> {
    pub(super) async fn issue(&mut self, attempt: u32) -> Input {
        let inner = self.inner;
        if attempt > 1 {
            inner.context.runtime.sleep(self.pause(attempt - 1)).await;
        }
        let started = inner.context.runtime.monotonic();
        let csr = CertificateSigningRequestDer::from(self.record.csr.secret_bytes());
        let (Some(plan), Some(approved)) = (&self.plan, &self.approved) else { return Input::IssueRefused };
        let ca = self.authority.issuer.ca.clone();
        let request = IssueRequest { approved, key: self.run_key, csr: &csr, plan, deadline: self.deadline };
        let mut answer = inner.ask(self.deadline, &self.subject, &self.authority.issuer, attempt > 1, ca.issue(request)).await;
        let mut held: Option<String> = None;
        loop {
            let (poll_id, after) = match answer {
                Ok(IssueAnswer::Issued(issued)) => {
                    self.took(*issued);
                    let took = inner.context.runtime.monotonic().saturating_sub(started);
                    inner.emit(EventId::ScepIssuedSuccess, &self.subject, attempt, |event| event.with_duration(took));
                    return Input::Issued;
                }
                Ok(IssueAnswer::Pending { poll_id, after }) if inner.pending == PendingPolicy::AnswerPending => {
                    self.waits(poll_id, after);
                    return Input::StillPending;
                }
                // The service behind the challenge knows no pending requests: the CA is asked while there is time.
                Ok(IssueAnswer::Pending { poll_id, after }) => (poll_id, after),
                // As far as is known, the CA still holds it: to have it issued once more would give two certificates.
                Err(error) => match held.filter(|_| !is_denial(&error)) {
                    Some(poll_id) => (poll_id, self.pause(1)),
                    None => return self.not_issued(&error, attempt),
                },
            };
            if self.deadline.since(inner.now()) <= after {
                self.fail(
                    ErrorClass::Deadline,
                    "The CA holds the request for approval, and the client does not wait for it.",
                    record::E_TIMEOUT,
                );
                self.emit_issue_failure(attempt);
                self.record.lost = self.record.lost.saturating_add(1);
                return Input::StillPending;
            }
            inner.context.runtime.sleep(after.max(Duration::from_millis(100))).await;
            let request = StatusRequest::new(self.run_key, &poll_id, self.deadline);
            answer = inner.ask(self.deadline, &self.subject, &self.authority.issuer, false, ca.status(request)).await;
            held = Some(poll_id);
        }
    }

    fn not_issued(&mut self, error: &PortError, attempt: u32) -> Input {
        let inner = self.inner;
        let hresult = if error.retry() == Retry::Never { record::E_DENIED } else { record::E_UNAVAILABLE };
        self.fail(error.class(), &error.to_string(), hresult);
        let time_left = self.deadline.since(inner.now()) > self.pause(attempt);
        match error.retry() {
            _ if error.effect() != Effect::None => {
                inner.emit(EventId::AnswerLost, &self.subject, attempt, |event| {
                    event.with_error_class(error.class()).with_message(&error.to_string())
                });
                self.lost = Some(inner.now());
                self.record.lost = self.record.lost.saturating_add(1);
                Input::IssueLost
            }
            Retry::Later | Retry::After(_) if time_left && attempt < inner.persistence.issue_attempts => Input::IssueNotDone,
            _ => {
                self.emit_issue_failure(attempt);
                Input::IssueRefused
            }
        }
    }

    fn emit_issue_failure(&self, attempt: u32) {
        self.inner.emit(EventId::ScepIssuedFailure, &self.subject, attempt, |event| {
            event.with_error_class(self.failure.class).with_message(&self.failure.reason)
        });
    }

    pub(super) async fn find(&mut self) -> Input {
        let inner = self.inner;
        let csr = CertificateSigningRequestDer::from(self.record.csr.secret_bytes());
        let (Some(plan), Some(read)) = (&self.plan, &self.csr) else { return Input::CannotTell };
        let ca = self.authority.issuer.ca.clone();
        // Long enough after the deadline of the request itself: it must be known what the CA did.
        let patience = self.deadline.max(inner.now().saturating_add(Duration::from_secs(10)));
        let request = FindRequest::new(self.run_key, &csr, read.spki(), plan, patience);
        match inner.ask(patience, &self.subject, &self.authority.issuer, false, ca.find(request)).await {
            Ok(FindAnswer::Found(issued)) => {
                if let Some(reason) = self.is_unusable(&issued).await {
                    self.fail(ErrorClass::Request, reason, record::E_DENIED);
                    self.emit_issue_failure(0);
                    return Input::NoVerdict;
                }
                self.took(*issued);
                // It is one of those whose answer was lost.
                self.record.lost = self.record.lost.saturating_sub(1);
                inner.emit(EventId::ScepIssuedSuccess, &self.subject, 0, |event| event.with_detail("found", "true"));
                Input::Issued
            }
            Ok(FindAnswer::Absent) if self.may_still_issue() => {
                self.fail(ErrorClass::Transient, "The CA may still issue what it was asked for.", record::E_UNAVAILABLE);
                Input::AbsentSoFar
            }
            Ok(FindAnswer::Absent) => Input::Absent,
            Ok(_) => {
                if !self.authority.issuer.is_idempotent {
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

    /// Whether the CA's time to issue after a lost answer is not over. What an earlier run lost, it lost before its lease ended.
    fn may_still_issue(&self) -> bool {
        let issuer = &self.authority.issuer;
        if self.lost.is_none()
            && !issuer.is_idempotent
            && let Some(row) = self.row.as_ref().filter(|row| row.updated > self.inner.now())
        {
            // The wall clock was set back. As long again, by the other clock, from when the row was first seen so.
            let wait = row.lease_until.since(row.updated).saturating_add(issuer.in_flight);
            return self.inner.waited_for(row) < wait;
        }
        let lost = self.lost.or_else(|| self.row.as_ref().map(|row| row.lease_until));
        let until = lost.map(|lost| lost.saturating_add(issuer.in_flight));
        !issuer.is_idempotent && !issuer.in_flight.is_zero() && until.is_some_and(|until| self.inner.now() < until)
    }

    /// Why what the CA has found must not go out. Clients keep their keys, so a CA that goes by the key may find an older certificate.
    async fn is_unusable(&self, issued: &Issued) -> Option<&'static str> {
        if self.record.renews(&issued.certificate) {
            return Some("The CA found the certificate that is to be renewed, and no new one.");
        }
        let certificate = Certificate::from_der(&issued.certificate, &self.inner.context.limits).ok()?;
        let deadline = self.deadline.max(self.inner.soon());
        let status = self.inner.status_of(&self.authority, &certificate, deadline, &self.subject).await;
        matches!(status, Ok(CertificateStatus::Revoked)).then_some("The certificate that the CA found for the request has been revoked.")
    }

    fn took(&mut self, issued: Issued) {
        self.record.pending = None;
        if self.authority.issuer.is_idempotent {
            // There is this one and no other.
            self.record.lost = 0;
        }
        self.record.certificate = Some(issued.certificate.as_ref().to_vec());
        self.record.ca_side_id.clone_from(&issued.ca_side_id);
        self.issued = Some(issued);
    }

    pub(super) async fn check(&mut self) -> Input {
        let inner = self.inner;
        let (Some(issued), Some(plan), Some(csr)) = (self.issued.clone(), self.plan.clone(), &self.csr) else { return Input::CheckFailed };
        let (public_key, now) = (csr.spki().to_vec(), inner.now());
        let (provider, limits, authority) = (inner.context.provider.clone(), inner.context.limits.clone(), self.authority.clone());
        // A CA that held the request counts the validity from its approval.
        let waited = self.started().map_or(Duration::ZERO, |started| now.since(started));
        let mut tolerance = Tolerance::default();
        tolerance.not_after = tolerance.not_after.saturating_add(waited);
        let work = move || {
            let anchor = &authority.certificate;
            let above = issued.chain.iter().filter(|der| *der != anchor.der());
            let above: Vec<Certificate> = above.filter_map(|der| Certificate::from_der(der, &limits).ok()).collect();
            // The CA that is configured is the anchor, whether or not its own root is known.
            let expected = Expected::new(&plan, &public_key, &[], now).with_tolerance(tolerance);
            let checked = post_issue::check_with(&provider, &limits, &issued.certificate, &above, core::slice::from_ref(anchor), &expected);
            checked.map(|checked| checked.certificate)
        };
        let reason = match inner.context.offload(work).await {
            Ok(Ok(certificate)) => {
                self.checked = Some(certificate);
                return Input::CheckPassed;
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        self.fail(ErrorClass::Policy, &reason, record::E_UNEXPECTED);
        self.emit_issue_failure(0);
        Input::CheckFailed
    }

    /// Remembers that the CA holds the request.
    fn waits(&mut self, poll_id: String, after: Duration) {
        let at = self.inner.now().saturating_add(after);
        self.record.pending = self.plan.clone().map(|plan| Pending { poll_id, at, plan });
    }

    /// Asks the CA about the request that it holds, no sooner than the CA wants to be asked.
    pub(super) async fn poll(&mut self) -> Input {
        let inner = self.inner;
        let Some(pending) = self.record.pending.clone().filter(|pending| pending.at <= inner.now()) else { return Input::NotDueYet };
        let ca = self.authority.issuer.ca.clone();
        let started = inner.context.runtime.monotonic();
        let request = StatusRequest::new(self.run_key, &pending.poll_id, self.deadline);
        match inner.ask(self.deadline, &self.subject, &self.authority.issuer, false, ca.status(request)).await {
            Ok(IssueAnswer::Issued(issued)) => {
                self.took(*issued);
                let took = inner.context.runtime.monotonic().saturating_sub(started);
                inner.emit(EventId::ScepIssuedSuccess, &self.subject, 0, |event| event.with_duration(took).with_detail("pending", "true"));
                Input::Issued
            }
            Ok(IssueAnswer::Pending { poll_id, after }) => {
                self.waits(poll_id, after);
                Input::StillPending
            }
            Err(error) if is_denial(&error) => {
                self.fail(error.class(), &error.to_string(), record::E_DENIED);
                self.record.pending = None;
                self.emit_issue_failure(0);
                Input::IssueRefused
            }
            // It may still issue: the next poll asks again.
            Err(_) => Input::NotDueYet,
        }
    }

    pub(super) async fn check_status(&mut self) -> Input {
        let inner = self.inner;
        let certificate = self.record.certificate.as_deref().and_then(|der| Certificate::from_der(der, &inner.context.limits).ok());
        let Some(certificate) = certificate else { return Input::JournalFailed };
        match inner.status_of(&self.authority, &certificate, self.deadline, &self.subject).await {
            Ok(CertificateStatus::Revoked) => {
                self.fail(ErrorClass::Request, "The certificate of this transaction has been revoked.", record::E_DENIED);
                Input::StatusRevoked
            }
            Ok(_) => Input::StatusGood,
            Err(error) => {
                self.fail(error.class(), &error.to_string(), record::E_UNAVAILABLE);
                Input::NoVerdict
            }
        }
    }
}

impl Inner {
    /// Asks a CA when its gate lets a call through, and waits for that for three quarters of the time that is left. A `repeat` comes after a
    /// failed call. When the gate stays shut nothing was done.
    pub(super) async fn ask<T>(
        &self,
        deadline: Timestamp,
        subject: &Subject,
        issuer: &Issuer,
        repeat: bool,
        call: impl Future<Output = Result<T, PortError>>,
    ) -> Result<T, PortError> {
        let gate = self.context.gates.of(&issuer.name);
        let mut patience = deadline.since(self.now()) / 4 * 3;
        loop {
            match gate.ask(&self.context, repeat) {
                Entry::Go(permit) => {
                    let answer = self.within(deadline, subject, call).await;
                    // Clients wait here, and an operator who mends the CA looks on: it is not left alone for minutes at the first such answer.
                    permit.settle(&answer, None);
                    return answer;
                }
                Entry::Wait { pause, .. } if pause <= patience => {
                    patience -= pause;
                    self.context.runtime.sleep(pause).await;
                }
                Entry::Wait { .. } => {
                    let message = format!("the CA {} is left alone for a while, since calls failed", issuer.name);
                    return Err(PortError::transient(message).with_effect(Effect::None));
                }
            }
        }
    }

    /// Whether a certificate of that CA still counts: by the CA's word, or else by its CRL.
    pub(super) async fn status_of(
        &self,
        authority: &Authority,
        certificate: &Certificate,
        deadline: Timestamp,
        subject: &Subject,
    ) -> Result<CertificateStatus, PortError> {
        let Some(serial) = certificate.serial() else { return Ok(CertificateStatus::Revoked) };
        let ca = &authority.issuer.ca;
        match self.ask(deadline, subject, &authority.issuer, false, ca.lookup(LookupRequest::new(serial, deadline))).await? {
            LookupAnswer::Absent => return Ok(CertificateStatus::Revoked),
            LookupAnswer::Found(known) if known.status != CertificateStatus::Unknown => return Ok(known.status),
            LookupAnswer::Found(_) | LookupAnswer::CannotTell => {}
        }
        let crl = match self.ask(deadline, subject, &authority.issuer, false, ca.crl()).await {
            Ok(crl) => crl,
            Err(error) if error.kind() == PortErrorKind::Unsupported => return Ok(CertificateStatus::Unknown),
            Err(error) => return Err(error),
        };
        let (provider, limits) = (self.context.provider.clone(), self.context.limits.clone());
        let (serial, issuer, now) = (serial.clone(), authority.certificate.clone(), self.now());
        let work = move || {
            let crl = Crl::from_der(&crl, &limits).ok()?;
            let current = crl.next_update().is_none_or(|next| now < next) && !crl.has_unknown_critical_extensions();
            let ours = crl.issuer().matches(issuer.subject()) && crl.verify_signed_by(&provider, issuer.spki()).is_ok();
            (current && ours).then(|| crl.is_revoked(&serial))
        };
        match self.context.offload(work).await {
            Ok(Some(true)) => Ok(CertificateStatus::Revoked),
            Ok(Some(false)) => Ok(CertificateStatus::Good),
            Ok(None) => Err(PortError::transient("the CA's CRL cannot be read, is not signed by the CA, or has ended")),
            Err(error) => Err(PortError::transient(error.to_string())),
        }
    }
}

/// So many rows are waited for at a time; when there are more, all begin anew.
const MOST_AHEAD: usize = 10_000;

impl Inner {
    /// How long this version of a row has been known here to be ahead of the wall clock.
    fn waited_for(&self, row: &Row) -> Duration {
        let now = self.context.runtime.monotonic();
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        if ahead.len() >= MOST_AHEAD {
            ahead.clear();
        }
        let seen = ahead.entry(row.key).or_insert((row.version, now));
        if seen.0 != row.version {
            *seen = (row.version, now);
        }
        now.saturating_sub(seen.1)
    }
}
