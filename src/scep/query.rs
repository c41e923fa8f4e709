//! CertPoll, GetCert and GetCRL.

use std::sync::Arc;

use super::authority::Authority;
use super::enrol::{Enrolment, Outcome};
use super::record::{self, Latest, Record};
use super::renewal::Signer;
use super::service::{Inner, Subject};
use super::step::Stage;
use super::wire::{Content, Incoming, OpenError};
use crate::ids::SerialNumber;
use crate::message::certificate::Certificate;
use crate::message::scep::{FailInfo, IssuerAndSerialNumber, MessageType};
use crate::ports::{LoadRequest, LookupAnswer, LookupRequest, PortError, PortErrorKind, Row, RowKey, RowKind};
use crate::retry::ErrorClass;
use crate::time::Timestamp;

/// What a GetCert or GetCRL that is not answered gets, whatever is wrong with it. One answer: what the envelope decrypts to must not show
/// before it has proven to be the sender's own question.
fn no_such_certificate() -> Outcome {
    let reason = "No certificate of the sender's own matches, or the query could not be read.";
    Outcome::refused(Stage::Verify, FailInfo::BadCertId, ErrorClass::Request, reason)
}

fn no_such_transaction() -> Outcome {
    let reason = "No request of that transactionID was signed by this key.";
    Outcome::refused(Stage::Verify, FailInfo::BadCertId, ErrorClass::Request, reason)
}

impl Inner {
    /// Answers for the pending, or finished, request of that transactionID, to the key that signed it; with the certificate that the answer
    /// is encrypted to, the original request's.
    ///
    /// The envelope is not opened: transactionID and signature say all there is to know (RFC 8894 section 3.3.3).
    pub(super) async fn poll(&self, incoming: &Incoming, subject: Subject, deadline: Timestamp) -> (Outcome, Option<Certificate>) {
        let journal = Outcome::TryLater { reason: "The journal is away." };
        let (provider, tenant) = (&self.context.provider, &self.context.tenant);
        let key = record::latest_key(provider, tenant, incoming.transaction_id());
        let signer_key = record::sha256(provider, incoming.signer().spki());
        let (Ok(key), Ok(signer_key)) = (key, signer_key) else { return (journal, None) };
        let latest = match self.load_row(RowKey { kind: RowKind::ScepTransactionId, key }, deadline, &subject).await {
            Ok(Some(row)) => self.sealer.open(&row).and_then(Latest::decode),
            Ok(None) => return (no_such_transaction(), None),
            Err(()) => return (journal, None),
        };
        let latest = match latest {
            Ok(latest) => latest,
            Err(error) => {
                self.journal_failed(&subject, &PortError::misconfigured(error.to_string()));
                return (journal, None);
            }
        };
        if latest.signer_key != signer_key {
            return (no_such_transaction(), None);
        }
        let row = match self.load_row(RowKey { kind: RowKind::ScepTransaction, key: latest.transaction }, deadline, &subject).await {
            Ok(Some(row)) => row,
            Ok(None) => return (no_such_transaction(), None),
            Err(()) => return (journal, None),
        };
        let held_until = row.created.saturating_add(self.persistence.pending_lifetime);
        let until = if row.state.is_final() { self.persistence.repeats_until(&row) } else { held_until };
        if until <= self.now() {
            return (no_such_transaction(), None);
        }
        let record = match self.sealer.open(&row).and_then(Record::decode) {
            Ok(record) => record,
            Err(error) => {
                self.journal_failed(&subject, &PortError::misconfigured(error.to_string()));
                return (journal, None);
            }
        };
        let original = record.signer.as_deref().and_then(|der| Certificate::from_der(der, &self.context.limits).ok());
        let Some(original) = original else { return (journal, None) };
        let authority = self.authorities().current.clone();
        let outcome = Enrolment::resume(self, authority, row, record, subject, deadline).await;
        (outcome, Some(original))
    }

    async fn load_row(&self, key: RowKey, deadline: Timestamp, subject: &Subject) -> Result<Option<Row>, ()> {
        let rows = self.within(deadline, subject, self.journal.load(LoadRequest::Keys(vec![key]))).await;
        match rows {
            Ok(rows) => Ok(rows.into_iter().next()),
            Err(error) => {
                self.journal_failed(subject, &error);
                Err(())
            }
        }
    }

    /// Answers a GetCert with a certificate of the asker's own key or, to a client that shows a certificate of ours, own subject; a GetCRL
    /// with the newest CRL.
    pub(super) async fn query(&self, incoming: Incoming, authority: Arc<Authority>, subject: &Subject, deadline: Timestamp) -> Outcome {
        let signer = match self.signer(incoming.signer()).await {
            Ok(signer) => signer,
            Err(not_served) => {
                self.emit_not_served(subject, &not_served);
                return Outcome::refused(Stage::Verify, FailInfo::BadRequest, not_served.class, &not_served.reason);
            }
        };
        let (message_type, asker) = (incoming.message_type(), incoming.signer().clone());
        let asked = match self.open(incoming, authority.clone(), deadline, Incoming::query).await {
            Ok(asked) => asked.filter(|asked| asked.issuer.matches(authority.certificate.subject())),
            Err(OpenError::Bad) => None,
            Err(OpenError::Unavailable) => return Outcome::TryLater { reason: "The decryption key is unavailable." },
            Err(OpenError::Busy) => return Outcome::TryLater { reason: "Too many private-key operations are waiting." },
        };
        match message_type {
            MessageType::GetCrl => self.crl(asked, &authority, subject, deadline).await,
            _ => self.certificate(asked, &asker, &signer, &authority, subject, deadline).await,
        }
    }

    async fn crl(&self, asked: Option<IssuerAndSerialNumber>, authority: &Authority, subject: &Subject, deadline: Timestamp) -> Outcome {
        if asked.is_none() {
            return no_such_certificate();
        }
        match self.ask(deadline, subject, &authority.issuer, false, authority.issuer.ca.crl()).await {
            Ok(crl) => Outcome::Told(Content::Crl(crl.as_ref().to_vec())),
            Err(error) => self.no_answer(&error),
        }
    }

    async fn certificate(
        &self,
        asked: Option<IssuerAndSerialNumber>,
        asker: &Certificate,
        signer: &Signer,
        authority: &Authority,
        subject: &Subject,
        deadline: Timestamp,
    ) -> Outcome {
        // The CA is asked in any case, for a number that nobody has if need be: its time must not tell whether the envelope could be read.
        let Some(serial) = asked.map(|asked| asked.serial).or_else(|| self.any_serial()) else { return no_such_certificate() };
        let call = authority.issuer.ca.lookup(LookupRequest::new(&serial, deadline));
        let found = self.ask(deadline, subject, &authority.issuer, false, call).await;
        let known = match found {
            Ok(LookupAnswer::Found(known)) => known,
            Ok(_) => return no_such_certificate(),
            Err(error) => return self.no_answer(&error),
        };
        let Some(der) = known.certificate else { return no_such_certificate() };
        let Ok(certificate) = Certificate::from_der(&der, &self.context.limits) else { return no_such_certificate() };
        let same_key = certificate.spki() == asker.spki();
        let same_subject =
            matches!(signer, Signer::Ours(_)) && !asker.subject().is_empty() && certificate.subject().matches(asker.subject());
        let is_it = certificate.serial() == Some(&serial);
        if is_it && (same_key || same_subject) { Outcome::Told(Content::Certificate(der.as_ref().to_vec())) } else { no_such_certificate() }
    }

    fn any_serial(&self) -> Option<SerialNumber> {
        let mut bytes = [0; 16];
        self.context.provider.random().ok()?.fill(&mut bytes).ok()?;
        bytes[0] = 0x7f;
        SerialNumber::from_be_bytes(&bytes).ok()
    }

    fn no_answer(&self, error: &PortError) -> Outcome {
        match error.kind() {
            PortErrorKind::Unsupported | PortErrorKind::Rejected => {
                Outcome::refused(Stage::Issue, FailInfo::BadRequest, error.class(), &error.to_string())
            }
            _ => Outcome::TryLater { reason: "The CA is away." },
        }
    }
}
