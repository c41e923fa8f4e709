//! Who signed a request: a client with a certificate of its own making, or one with a certificate of ours that it wants renewed.

use std::sync::Arc;

use super::authority::Authority;
use super::config::RenewalPolicy;
use super::record::Record;
use super::service::{Inner, Subject};
use super::wire::{Binding, Incoming};
use crate::event::EventId;
use crate::message::certificate::Certificate;
use crate::message::scep::MessageType;
use crate::ports::{CertificateStatus, PortError};
use crate::retry::ErrorClass;
use crate::time::Timestamp;

/// The signer of a request.
#[derive(Debug)]
pub(super) enum Signer {
    /// Its certificate is its own claim; it holds the key.
    SelfSigned,
    /// Its certificate was issued by this CA, and is in time.
    Ours(Arc<Authority>),
}

/// Why a request by this signer is not served. All of it shows outside of the envelope.
#[derive(Debug)]
pub(super) struct NotServed {
    pub(super) class: ErrorClass,
    pub(super) reason: String,
}

impl NotServed {
    fn new(class: ErrorClass, reason: impl Into<String>) -> Self {
        Self { class, reason: reason.into() }
    }
}

impl Inner {
    /// Looks at the signer's certificate. CPU work: a signature check or two.
    pub(super) async fn signer(&self, certificate: &Certificate) -> Result<Signer, NotServed> {
        if certificate.is_self_issued() {
            return Ok(Signer::SelfSigned);
        }
        let (authorities, provider, signer) = (self.authorities(), self.context.provider.clone(), certificate.clone());
        let issuer = self.context.offload(move || authorities.issuer_of(&provider, &signer).cloned()).await;
        let issuer = issuer.map_err(|error| NotServed::new(ErrorClass::Transient, error.to_string()))?;
        let stranger = || NotServed::new(ErrorClass::Request, "The signer's certificate is neither self-signed nor issued by this CA.");
        let authority = issuer.ok_or_else(stranger)?;
        if !certificate.is_valid_at(self.now()) {
            return Err(NotServed::new(ErrorClass::Request, "The signer's certificate has ended, or is not valid yet."));
        }
        let is_ra = self.authorities().is_ra(certificate);
        if certificate.is_ca() || is_ra || !certificate.unknown_critical_extensions().is_empty() {
            return Err(NotServed::new(ErrorClass::Request, "The signer's certificate is not a client's."));
        }
        Ok(Signer::Ours(authority))
    }

    /// What binds the CSR of this request to its signer, after all checks of a renewal that need no private key.
    pub(super) async fn binding(&self, incoming: &Incoming, deadline: Timestamp, subject: &Subject) -> Result<Binding, NotServed> {
        let certificate = incoming.signer();
        let authority = match self.signer(certificate).await? {
            Signer::SelfSigned if incoming.message_type() == MessageType::RenewalReq => {
                return Err(NotServed::new(ErrorClass::Request, "A RenewalReq must be signed by the certificate that is to be renewed."));
            }
            Signer::SelfSigned => return Ok(Binding::SameKey),
            Signer::Ours(authority) => authority,
        };
        if self.renewal == RenewalPolicy::Refuse {
            return Err(NotServed::new(ErrorClass::Policy, "Certificates are not renewed here."));
        }
        match self.status_of(&authority, certificate, deadline, subject).await {
            Ok(CertificateStatus::Good) => Ok(Binding::SameNames),
            Ok(CertificateStatus::Revoked) => Err(NotServed::new(ErrorClass::Request, "The certificate to be renewed is revoked.")),
            Ok(CertificateStatus::Unknown) => {
                let reason = "The CA says neither by lookup nor by a CRL whether the certificate to be renewed is revoked.";
                Err(NotServed::new(ErrorClass::Configuration, reason))
            }
            Err(error) => Err(NotServed::new(error.class(), error.to_string())),
        }
    }

    /// Whether the certificate that is to be renewed still counts, long after the request was let in.
    pub(super) async fn status_of_signer(
        &self,
        record: &Record,
        deadline: Timestamp,
        subject: &Subject,
    ) -> Result<CertificateStatus, PortError> {
        let signer = record.signer.as_deref().and_then(|der| Certificate::from_der(der, &self.context.limits).ok());
        let Some(signer) = signer else { return Ok(CertificateStatus::Revoked) };
        let (authorities, provider, certificate) = (self.authorities(), self.context.provider.clone(), signer.clone());
        let issuer = self.context.offload(move || authorities.issuer_of(&provider, &certificate).cloned()).await;
        match issuer.map_err(|error| PortError::transient(error.to_string()))? {
            Some(authority) => self.status_of(&authority, &signer, deadline, subject).await,
            None => Ok(CertificateStatus::Revoked),
        }
    }

    /// Says that the verification failed before the envelope was opened.
    pub(super) fn emit_not_served(&self, subject: &Subject, not_served: &NotServed) {
        self.emit(EventId::ScepVerifyFailure, subject, 0, |event| {
            event.with_error_class(not_served.class).with_message(&not_served.reason)
        });
    }
}
