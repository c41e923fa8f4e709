//! CertRep, read by a client.

use super::attributes::Attributes;
use super::{FailInfo, MessageType, PkiStatus, ReplyTo, ScepMessageError};
use crate::codec::scep::oids;
use crate::crypto::CryptoProvider;
use crate::limits::Limits;
use crate::message::certificate::Certificate;
use crate::message::cms_error::CmsError;
use crate::message::enveloped::{LegacyCiphers, Opening};
use crate::message::signed::{LegacyDigests, Signed, VerifyOptions};

/// A CertRep whose signature by the server has verified and that answers our request.
#[derive(Debug)]
pub struct ScepResponse {
    status: PkiStatus,
    fail_info: Option<FailInfo>,
    fail_info_text: Option<String>,
    envelope: Vec<u8>,
}

impl ScepResponse {
    /// Reads an answer to `request` that must be signed by `server`, a certificate known from GetCACert.
    ///
    /// # Errors
    /// [`ScepMessageError::AnotherRequest`] for another transactionID or nonce, [`ScepMessageError::UnexpectedMessageType`],
    /// [`ScepMessageError::Attribute`], [`ScepMessageError::Signers`], and [`ScepMessageError::Cms`] when the signature is not the server's.
    pub fn parse(
        message: &[u8],
        request: &ReplyTo,
        server: &Certificate,
        legacy: LegacyDigests,
        provider: &CryptoProvider,
        limits: &Limits,
    ) -> Result<Self, ScepMessageError> {
        let signed = Signed::parse(message, limits)?;
        let options = VerifyOptions::default().detached(&[]).certificates(core::slice::from_ref(server)).legacy_digests(legacy);
        let verified = signed.verify(options, provider)?;
        let signer = verified.single_signer().ok_or(ScepMessageError::Signers)?;
        if signer.certificate().der() != server.der() {
            return Err(CmsError::SignerNotFound.into());
        }
        let attributes = Attributes(signer);
        let message_type = attributes.message_type()?;
        if message_type != MessageType::CertRep {
            return Err(ScepMessageError::UnexpectedMessageType(message_type));
        }
        let recipient_nonce = attributes.nonce(oids::RECIPIENT_NONCE, "recipientNonce")?;
        if attributes.transaction()? != *request.transaction() || recipient_nonce.as_ref() != Some(request.sender_nonce()) {
            return Err(ScepMessageError::AnotherRequest);
        }
        let (status, fail_info) = (attributes.pki_status()?, attributes.fail_info()?);
        if (status == PkiStatus::Failure) != fail_info.is_some() {
            return Err(ScepMessageError::Attribute("failInfo"));
        }
        Ok(Self { status, fail_info, fail_info_text: attributes.fail_info_text()?, envelope: verified.content().to_vec() })
    }

    /// The outcome.
    #[must_use]
    pub fn status(&self) -> PkiStatus {
        self.status
    }

    /// The reason of a FAILURE.
    #[must_use]
    pub fn fail_info(&self) -> Option<FailInfo> {
        self.fail_info
    }

    /// The server's text, without control characters, at most 255 characters.
    #[must_use]
    pub fn fail_info_text(&self) -> Option<&str> {
        self.fail_info_text.as_deref()
    }

    /// Reads the envelope of a SUCCESS; what comes out of it is a certs-only message ([`Signed::parse`]).
    ///
    /// # Errors
    /// As for [`Opening::parse`].
    pub fn open(&self, legacy: LegacyCiphers, limits: &Limits) -> Result<Opening, CmsError> {
        Ok(Opening::parse(&self.envelope, limits)?.legacy_ciphers(legacy))
    }
}
