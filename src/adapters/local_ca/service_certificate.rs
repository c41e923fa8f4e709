//! Certificates that are issued without any approval, for what tests and examples need beside the connector.

use core::time::Duration;

use super::{LedgerEntry, LocalCa, LocalCaError};
use crate::ids::Oid;
use crate::message::certificate::{Certificate, CertificateBuilder};
use crate::message::name::Name;
use crate::terms::{KeyUsage, SubjectAltName, oid, oids};

impl LocalCa {
    /// Issues a certificate without any approval, for what tests and examples need beside the connector: an RA, a device that receives,
    /// a server. It is no CA certificate, it has no names but its subject, and only this in-memory CA can do it.
    ///
    /// # Errors
    /// [`LocalCaError::Validity`] when it would outlive the CA; [`LocalCaError`] when it cannot be built.
    pub fn issue_service_certificate(
        &self,
        subject: Name,
        spki: &[u8],
        usage: KeyUsage,
        purposes: &[Oid],
        validity: Duration,
    ) -> Result<Certificate, LocalCaError> {
        let usage = KeyUsage { key_cert_sign: false, crl_sign: false, ..usage };
        self.issue_unapproved(subject, spki, validity, |builder| builder.key_usage(usage).extended_key_usage(purposes))
    }

    /// As [`LocalCa::issue_service_certificate`], for a TLS server with these names and addresses.
    ///
    /// # Errors
    /// As [`LocalCa::issue_service_certificate`].
    pub fn issue_server_certificate(
        &self,
        subject: Name,
        spki: &[u8],
        names: &[SubjectAltName],
        validity: Duration,
    ) -> Result<Certificate, LocalCaError> {
        let usage = KeyUsage { digital_signature: true, ..KeyUsage::default() };
        self.issue_unapproved(subject, spki, validity, |builder| {
            builder.key_usage(usage).extended_key_usage(&[oid(oids::SERVER_AUTH)]).subject_alt_names(names)
        })
    }

    fn issue_unapproved(
        &self,
        subject: Name,
        spki: &[u8],
        validity: Duration,
        fill: impl FnOnce(CertificateBuilder) -> CertificateBuilder,
    ) -> Result<Certificate, LocalCaError> {
        let now = (self.clock)();
        let not_after = now.saturating_add(validity);
        if not_after > self.certificate.not_after() {
            return Err(LocalCaError::Validity);
        }
        let certificate = self.sign_certificate(fill(self.builder(subject, spki, now, not_after)?))?;
        let entry = LedgerEntry::new(&self.provider, &certificate, None)?;
        self.state().ledger.record(entry).map_err(LocalCaError::Ledger)?;
        Ok(certificate)
    }
}
