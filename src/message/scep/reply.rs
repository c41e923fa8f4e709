//! CertRep, written by the server.

use rustls_pki_types::CertificateDer;

use super::attributes::{decimal, nonce};
use super::{FailInfo, MessageType, Nonce, PkiStatus, TransactionName};
use crate::codec::scep::oids;
use crate::crypto::{ContentCipherAlgorithm, CryptoProvider, KeyTransportAlgorithm, SignatureAlgorithm, SigningKey};
use crate::message::certificate::Certificate;
use crate::message::cms_error::CmsError;
use crate::message::enveloped::{EnvelopeBuilder, LegacyCiphers};
use crate::message::signed::{SignedAttribute, SignedBuilder, SignedContent, SignedToBeSigned, certs_only};
use crate::terms::oid;

/// What ties an answer to its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyTo {
    transaction: TransactionName,
    sender_nonce: Nonce,
}

impl ReplyTo {
    /// From the request's transactionID and senderNonce.
    #[must_use]
    pub fn new(transaction: TransactionName, sender_nonce: Nonce) -> Self {
        Self { transaction, sender_nonce }
    }

    /// The transactionID.
    #[must_use]
    pub fn transaction(&self) -> &TransactionName {
        &self.transaction
    }

    /// The request's senderNonce, which is the answer's recipientNonce.
    #[must_use]
    pub fn sender_nonce(&self) -> &Nonce {
        &self.sender_nonce
    }
}

/// What stands in the place of the envelope in a FAILURE or PENDING.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum EmptyContent {
    /// An empty OCTET STRING. Without it OpenSSL's PKCS#7 verification fails and certmonger reports a bad signature (measured).
    #[default]
    Empty,
    /// Nothing, which is the letter of RFC 8894 section 3.2.2.
    Absent,
}

/// An answer to a request.
#[derive(Debug)]
pub struct CertRep {
    reply_to: ReplyTo,
    status: PkiStatus,
    fail: Option<(FailInfo, Option<&'static str>)>,
    envelope: Option<Vec<u8>>,
    empty: EmptyContent,
}

impl CertRep {
    /// The request is granted: the issued certificate alone (Apple takes the first of several for its own), encrypted to `recipient`,
    /// which is the certificate that signed the request.
    ///
    /// # Errors
    /// As for [`EnvelopeBuilder::build`].
    pub fn success(
        reply_to: ReplyTo,
        issued: &CertificateDer<'_>,
        recipient: &Certificate,
        cipher: ContentCipherAlgorithm,
        transport: KeyTransportAlgorithm,
        legacy: LegacyCiphers,
        provider: &CryptoProvider,
    ) -> Result<Self, CmsError> {
        let content = certs_only(core::slice::from_ref(issued), &[]);
        Self::success_with(reply_to, &content, recipient, cipher, transport, legacy, provider)
    }

    /// The request is granted, with this degenerate SignedData: for GetCRL the CRL alone ([`certs_only`]).
    ///
    /// # Errors
    /// As for [`EnvelopeBuilder::build`].
    pub fn success_with(
        reply_to: ReplyTo,
        content: &[u8],
        recipient: &Certificate,
        cipher: ContentCipherAlgorithm,
        transport: KeyTransportAlgorithm,
        legacy: LegacyCiphers,
        provider: &CryptoProvider,
    ) -> Result<Self, CmsError> {
        let envelope = EnvelopeBuilder::new(cipher, transport).legacy_ciphers(legacy).recipient(recipient).build(content, provider)?;
        Ok(Self { reply_to, status: PkiStatus::Success, fail: None, envelope: Some(envelope), empty: EmptyContent::default() })
    }

    /// The request is refused.
    #[must_use]
    pub fn failure(reply_to: ReplyTo, reason: FailInfo) -> Self {
        Self { reply_to, status: PkiStatus::Failure, fail: Some((reason, None)), envelope: None, empty: EmptyContent::default() }
    }

    /// The request waits.
    #[must_use]
    pub fn pending(reply_to: ReplyTo) -> Self {
        Self { reply_to, status: PkiStatus::Pending, fail: None, envelope: None, empty: EmptyContent::default() }
    }

    /// Adds failInfoText to a FAILURE. Fixed texts only: a text from an error tells strangers too much.
    #[must_use]
    pub fn fail_info_text(mut self, text: &'static str) -> Self {
        if let Some((_, slot)) = &mut self.fail {
            *slot = Some(text);
        }
        self
    }

    /// What stands in the place of the envelope in a FAILURE or PENDING.
    #[must_use]
    pub fn empty_content(mut self, empty: EmptyContent) -> Self {
        self.empty = empty;
        self
    }

    /// The outcome.
    #[must_use]
    pub fn status(&self) -> PkiStatus {
        self.status
    }

    /// What the key of `signer` (the CA or the RA) must sign. The signer's certificate goes along; the senderNonce is fresh.
    ///
    /// # Errors
    /// As for [`SignedBuilder::to_be_signed`].
    pub fn to_be_signed(
        &self,
        signer: &Certificate,
        algorithm: SignatureAlgorithm,
        provider: &CryptoProvider,
    ) -> Result<SignedToBeSigned, CmsError> {
        let content = match (&self.envelope, self.empty) {
            (Some(envelope), _) => SignedContent::Attached(envelope),
            (None, EmptyContent::Empty) => SignedContent::Attached(&[]),
            (None, EmptyContent::Absent) => SignedContent::Absent,
        };
        let mut builder = SignedBuilder::new(content)
            .attribute(decimal(oids::MESSAGE_TYPE, MessageType::CertRep.number()))
            .attribute(decimal(oids::PKI_STATUS, self.status.number()))
            .attribute(self.reply_to.transaction.attribute())
            .attribute(nonce(oids::RECIPIENT_NONCE, &self.reply_to.sender_nonce))
            .attribute(nonce(oids::SENDER_NONCE, &Nonce::random(provider)?))
            .certificate(signer.der());
        if let Some((reason, text)) = self.fail {
            builder = builder.attribute(decimal(oids::FAIL_INFO, reason.number()));
            if let Some(text) = text {
                builder = builder.attribute(SignedAttribute::utf8_string(oid(oids::FAIL_INFO_TEXT), text));
            }
        }
        builder.to_be_signed(signer, algorithm, provider)
    }

    /// Signs with `key` and gives the message.
    ///
    /// # Errors
    /// As for [`CertRep::to_be_signed`], and [`CmsError::Sign`].
    pub async fn sign(
        &self,
        signer: &Certificate,
        key: &dyn SigningKey,
        algorithm: SignatureAlgorithm,
        provider: &CryptoProvider,
    ) -> Result<Vec<u8>, CmsError> {
        let to_be_signed = self.to_be_signed(signer, algorithm, provider)?;
        let signature = key.sign(to_be_signed.algorithm(), to_be_signed.message()).await?;
        Ok(to_be_signed.finish(&signature))
    }
}
