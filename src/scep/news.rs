//! What the service behind the challenge is told of a transaction, now or from a stored row later.

use rustls_pki_types::CertificateSigningRequestDer;

use super::NotificationPolicy;
use super::enrol::Enrolment;
use super::record::{FailureNote, Record, Told};
use super::service::{Inner, Subject};
use super::step::{Input, Stage};
use crate::event::EventId;
use crate::message::certificate::Certificate;
use crate::ports::{Change, FailureNotification, PortError, Row, RowKey, RowKind, SealedBlob, SuccessNotification};
use crate::retry::{ErrorClass, Retry};
use crate::terms::Flow;
use crate::time::Timestamp;
use core::time::Duration;

impl Enrolment<'_> {
    pub(super) async fn notify_success(&mut self, attempt: u32) -> Input {
        if attempt > 1 {
            self.inner.context.runtime.sleep(self.pause(attempt - 1)).await;
        }
        let deadline = self.notify_deadline();
        let told = self.inner.tell(&self.record, self.checked.as_ref(), deadline, &self.subject, attempt).await;
        if told.is_ok() {
            self.record.told = Told::Yes;
        }
        self.after_telling(told, attempt)
    }

    pub(super) async fn notify_failure(&mut self, attempt: u32) -> Input {
        if attempt > 1 {
            self.inner.context.runtime.sleep(self.pause(attempt - 1)).await;
        }
        let stage = if self.failure.class == ErrorClass::Policy && self.approved.is_none() { Stage::Policy } else { Stage::Issue };
        let note =
            FailureNote { hresult: self.failure.hresult, description: self.failure.reason.clone(), stage: stage.as_str().to_owned() };
        self.record.failure = Some(note);
        let deadline = self.notify_deadline();
        let told = self.inner.tell(&self.record, self.checked.as_ref(), deadline, &self.subject, attempt).await;
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

    pub(super) async fn spool(&mut self) -> Input {
        let inner = self.inner;
        let now = inner.now();
        let key = RowKey { kind: RowKind::Notification, key: self.run_key };
        let mut row = Row::new(key, Flow::Scep, now, SealedBlob::new(Vec::new()));
        if let Some(given_up) = &self.notification {
            (row.version, row.lease_epoch) = (given_up.version, given_up.lease_epoch);
        }
        row.attempt = 1;
        row.delivery = self.subject.delivery;
        row.due = now.saturating_add(inner.persistence.backoff(1));
        let Ok(blob) = inner.sealer.seal(&row, self.record.encode().bytes()) else {
            return self.not_spooled("the row could not be sealed");
        };
        row.blob = blob;
        let deadline = now.saturating_add(Duration::from_secs(10));
        match inner.within(deadline, &self.subject, inner.journal.commit(vec![Change::new(row)])).await {
            // A conflict says that a row of that key is there already: an earlier run stored it.
            Ok(_) => {
                self.record.told = Told::Stored;
                Input::Spooled
            }
            Err(error) => self.not_spooled(&error.to_string()),
        }
    }

    fn not_spooled(&self, reason: &str) -> Input {
        self.inner.emit(EventId::ScepNotifySaveToDiskFailed, &self.subject, 0, |event| {
            event.with_error_class(ErrorClass::Transient).with_message(reason)
        });
        Input::NotSpooled
    }
}

impl Inner {
    /// One attempt to notify, with its event 4008 or 4009.
    pub(super) async fn tell(
        &self,
        record: &Record,
        certificate: Option<&Certificate>,
        deadline: Timestamp,
        subject: &Subject,
        attempt: u32,
    ) -> Result<(), PortError> {
        let csr = CertificateSigningRequestDer::from(record.csr.secret_bytes());
        let started = self.context.runtime.monotonic();
        let kind = if record.failure.is_some() { "failure" } else { "success" };
        let result = match &record.failure {
            Some(note) => {
                let notification = FailureNotification::new(&record.transaction_id, &csr, note.hresult, &note.description);
                self.within(deadline, subject, self.notifier.failure(notification)).await
            }
            None => match self.success_of(record, certificate, &csr) {
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

    fn success_of<'a>(
        &self,
        record: &'a Record,
        certificate: Option<&Certificate>,
        csr: &'a CertificateSigningRequestDer<'a>,
    ) -> Option<SuccessNotification<'a>> {
        let read;
        let certificate = match certificate {
            Some(certificate) => certificate,
            None => {
                read = Certificate::from_der(record.certificate.as_deref()?, &self.context.limits).ok()?;
                &read
            }
        };
        let thumbprint = certificate.thumbprint(&self.context.provider).ok()?;
        let issuer = self.issuing_authority.clone().or_else(|| certificate.issuer().common_name());
        let issuer = issuer.unwrap_or_else(|| certificate.issuer().to_string()).chars().take(256).collect();
        let serial = certificate.serial()?.clone();
        Some(SuccessNotification::new(&record.transaction_id, csr, thumbprint, serial, certificate.not_after(), issuer))
    }
}
