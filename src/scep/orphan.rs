//! Certificates that nobody may have: revoked at once, or stored until the CA answers.

use core::time::Duration;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;

use super::authority::Authority;
use super::enrol::Enrolment;
use super::record::Record;
use super::service::{Inner, Subject};
use super::step::Input;
use crate::event::EventId;
use crate::ids::{IdempotencyKey, SerialNumber};
use crate::message::certificate::Certificate;
use crate::ports::{Change, PortError, RevokeCall, Row, RowKey, RowKind, RowState, SealedBlob};
use crate::terms::{Flow, RevocationReason};

impl Enrolment<'_> {
    pub(super) async fn hand_to_revocation(&mut self) -> Input {
        let handed = self.inner.hand_to_revocation(&self.record, self.run_key, &self.subject).await;
        if handed { Input::HandedToRevocation } else { Input::JournalFailed }
    }
}

impl Inner {
    /// Revokes a certificate that nobody may have; what cannot be revoked now is stored for `maintain`. Whether either was done.
    pub(super) async fn hand_to_revocation(&self, record: &Record, run_key: IdempotencyKey, subject: &Subject) -> bool {
        let revoked = self.revoke(record, subject).await;
        self.emit(EventId::CertificateHandedToRevocation, subject, 0, |event| {
            let event = event.with_detail("revoked", if revoked.is_ok() { "true" } else { "false" });
            match self.serial_of(record) {
                Some(serial) => event.with_detail("serial", &serial.to_string()),
                None => event,
            }
        });
        if revoked.is_ok() {
            return true;
        }
        let (now, key) = (self.now(), RowKey { kind: RowKind::Orphan, key: run_key });
        let deadline = now.saturating_add(Duration::from_secs(10));
        let mut row = Row::new(key, Flow::Scep, now, SealedBlob::new(Vec::new()));
        row.state = RowState::OrphanSuspected;
        row.due = now.saturating_add(self.persistence.backoff(1));
        row.attempt = 1;
        let stored = match self.sealer.seal(&row, record.copy().encode().bytes()) {
            Ok(blob) => {
                row.blob = blob;
                self.within(deadline, subject, self.journal.commit(vec![Change::new(row)])).await.map(drop)
            }
            Err(error) => Err(PortError::rejected(error.to_string())),
        };
        if let Err(error) = &stored {
            self.journal_failed(subject, error);
        }
        stored.is_ok()
    }

    pub(super) fn serial_of(&self, record: &Record) -> Option<SerialNumber> {
        Some(Certificate::from_der(record.certificate.as_deref()?, &self.context.limits).ok()?.serial()?.clone())
    }

    /// The CA that was asked for a certificate, with the RA before it. No other will do: its certificates may have the same serial numbers.
    pub(super) fn authority_of(&self, record: &Record) -> Result<Arc<Authority>, PortError> {
        let authorities = self.authorities();
        let Some(name) = &record.ca else { return Ok(authorities.current.clone()) };
        authorities.named(name).cloned().ok_or_else(|| {
            PortError::misconfigured(format!(
                "the CA {name}, which was asked, is none of the service's: it was renamed, or replaced before a restart"
            ))
        })
    }

    /// One attempt to revoke.
    pub(super) async fn revoke(&self, record: &Record, subject: &Subject) -> Result<(), PortError> {
        let deadline = self.now().saturating_add(Duration::from_secs(10));
        let serial = self.serial_of(record).ok_or_else(|| PortError::rejected("the certificate cannot be read"))?;
        let certificate = record.certificate.as_deref().map(CertificateDer::from);
        let call =
            RevokeCall::new(&serial, certificate.as_ref(), record.ca_side_id.as_deref(), RevocationReason::CessationOfOperation, deadline);
        let authority = self.authority_of(record)?;
        self.ask(deadline, subject, &authority.issuer, false, authority.issuer.ca.revoke(call)).await.map(drop)
    }
}
