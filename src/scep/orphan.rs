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
use crate::flow::seal::SealError;
use crate::ids::{IdempotencyKey, SerialNumber};
use crate::message::certificate::Certificate;
use crate::ports::{Change, CommitAnswer, LoadRequest, PortError, RevokeAnswer, RevokeCall, Row, RowKey, RowKind, RowState, SealedBlob};
use crate::terms::{Flow, RevocationReason};
use crate::time::Timestamp;

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
        let stored = async {
            let known = self.journal.load(LoadRequest::Keys(vec![key])).await?.into_iter().next();
            self.store(self.known_orphan(known, key, record, now).map_err(|error| PortError::rejected(error.to_string()))?).await
        };
        let stored = self.within(deadline, subject, stored).await;
        if let Err(error) = &stored {
            self.journal_failed(subject, error);
        }
        stored.is_ok()
    }

    /// The row of a certificate to be revoked. What else is suspected of the same transaction stays in it.
    fn known_orphan(&self, known: Option<Row>, key: RowKey, record: &Record, now: Timestamp) -> Result<Row, SealError> {
        let mut row = known.unwrap_or_else(|| Row::new(key, Flow::Scep, now, SealedBlob::new(Vec::new())));
        let mut entry = record.copy();
        if row.version > 0 {
            entry.suspicion = self.sealer.open(&row).and_then(Record::decode)?.suspicion;
            if let Some(suspicion) = &mut entry.suspicion {
                // This one is none of those that are looked for.
                suspicion.most = suspicion.most.saturating_add(1);
            }
        }
        row.state = RowState::OrphanSuspected;
        (row.owner, row.lease_until, row.updated) = (None, now, now);
        row.due = now.saturating_add(self.persistence.backoff(1));
        row.attempt = 1;
        row.blob = self.sealer.seal(&row, entry.encode().bytes())?;
        Ok(row)
    }

    /// Stores one row, unless somebody has changed it.
    pub(super) async fn store(&self, row: Row) -> Result<(), PortError> {
        match self.journal.commit(vec![Change::new(row)]).await?.as_slice() {
            [CommitAnswer::Stored(_)] => Ok(()),
            _ => Err(PortError::transient("the row was changed by another in the meantime")),
        }
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
    pub(super) async fn revoke(&self, record: &Record, subject: &Subject) -> Result<RevokeAnswer, PortError> {
        let deadline = self.now().saturating_add(Duration::from_secs(10));
        let serial = self.serial_of(record).ok_or_else(|| PortError::rejected("the certificate cannot be read"))?;
        let certificate = record.certificate.as_deref().map(CertificateDer::from);
        let call =
            RevokeCall::new(&serial, certificate.as_ref(), record.ca_side_id.as_deref(), RevocationReason::CessationOfOperation, deadline);
        let authority = self.authority_of(record)?;
        self.ask(deadline, subject, &authority.issuer, false, authority.issuer.ca.revoke(call)).await
    }
}
