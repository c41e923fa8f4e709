//! Requests: read by the server, written by a client.

use super::attributes::{Attributes, decimal, nonce};
use super::{MessageType, Nonce, ReplyTo, ScepMessageError, TransactionName};
use crate::codec::scep::oids;
use crate::crypto::{ContentCipherAlgorithm, CryptoProvider, DigestAlgorithm, KeyTransportAlgorithm, SignatureAlgorithm, SigningKey};
use crate::ids::TransactionId;
use crate::limits::Limits;
use crate::message::certificate::Certificate;
use crate::message::cms_error::CmsError;
use crate::message::enveloped::{EnvelopeBuilder, LegacyCiphers, Opening};
use crate::message::signed::{LegacyDigests, Signed, SignedBuilder, SignedContent, SignedToBeSigned, VerifyOptions};

/// A request whose outer signature has verified.
///
/// That proves possession of the signer's key and nothing else: the signer's certificate is the sender's own claim until a flow has checked it.
#[derive(Debug)]
pub struct ScepRequest {
    message_type: Result<MessageType, UnknownType>,
    transaction: TransactionName,
    sender_nonce: Nonce,
    signer: Certificate,
    digest: DigestAlgorithm,
    envelope: Vec<u8>,
}

impl ScepRequest {
    /// Reads and verifies a request. Nothing inside the envelope is looked at.
    ///
    /// # Errors
    /// [`ScepMessageError::Cms`] for what is malformed, too weak or not verified, [`ScepMessageError::Signers`],
    /// [`ScepMessageError::Attribute`], [`ScepMessageError::UnknownMessageType`], [`ScepMessageError::UnexpectedMessageType`] for a CertRep.
    pub fn parse(message: &[u8], legacy: LegacyDigests, provider: &CryptoProvider, limits: &Limits) -> Result<Self, ScepMessageError> {
        let request = Self::parse_of_any_type(message, legacy, provider, limits)?;
        match request.message_type {
            Ok(MessageType::CertRep) => Err(ScepMessageError::UnexpectedMessageType(MessageType::CertRep)),
            Ok(_) => Ok(request),
            Err(UnknownType) => Err(ScepMessageError::UnknownMessageType),
        }
    }

    /// The same for who refuses unknown types, and CertReps, by an answer.
    pub(crate) fn parse_of_any_type(
        message: &[u8],
        legacy: LegacyDigests,
        provider: &CryptoProvider,
        limits: &Limits,
    ) -> Result<Self, ScepMessageError> {
        let signed = Signed::parse(message, limits)?;
        if signed.signer_count() != 1 {
            return Err(ScepMessageError::Signers);
        }
        let verified = signed.verify(VerifyOptions::default().legacy_digests(legacy), provider)?;
        let signer = verified.single_signer().ok_or(ScepMessageError::Signers)?;
        let attributes = Attributes(signer);
        let message_type = match attributes.message_type() {
            Ok(message_type) => Ok(message_type),
            Err(ScepMessageError::UnknownMessageType) => Err(UnknownType),
            Err(error) => return Err(error),
        };
        Ok(Self {
            message_type,
            transaction: attributes.transaction()?,
            sender_nonce: attributes.nonce(oids::SENDER_NONCE, "senderNonce")?.ok_or(ScepMessageError::Attribute("senderNonce"))?,
            // The two may differ: what is weak counts.
            digest: signer.algorithm().digest().filter(|digest| *digest == DigestAlgorithm::Sha1).unwrap_or(signer.digest()),
            envelope: verified.content().to_vec(),
            signer: signer.certificate().clone(),
        })
    }

    /// The message type; CertRep, which is no request, for a type that is unknown.
    #[must_use]
    pub fn message_type(&self) -> MessageType {
        self.message_type.unwrap_or(MessageType::CertRep)
    }

    /// The transactionID.
    #[must_use]
    pub fn transaction_id(&self) -> &TransactionId {
        self.transaction.id()
    }

    /// The transactionID with its string type.
    #[must_use]
    pub fn transaction(&self) -> &TransactionName {
        &self.transaction
    }

    /// The sender's nonce.
    #[must_use]
    pub fn sender_nonce(&self) -> &Nonce {
        &self.sender_nonce
    }

    /// The certificate that the request came with and whose key signed it; self-signed in a first enrolment. Not trusted by that.
    #[must_use]
    pub fn signer(&self) -> &Certificate {
        &self.signer
    }

    /// The digest under the signature, so that the answer can use the same; SHA-1 when it is over the content or over the attributes.
    #[must_use]
    pub fn digest(&self) -> DigestAlgorithm {
        self.digest
    }

    /// The RSA signature algorithm for the answer: PKCS#1 v1.5 with the request's digest, SHA-256 when that has none.
    #[must_use]
    pub fn reply_signature_algorithm(&self) -> SignatureAlgorithm {
        match self.digest {
            DigestAlgorithm::Sha1 => SignatureAlgorithm::RsaPkcs1Sha1,
            DigestAlgorithm::Sha384 => SignatureAlgorithm::RsaPkcs1Sha384,
            DigestAlgorithm::Sha512 => SignatureAlgorithm::RsaPkcs1Sha512,
            _ => SignatureAlgorithm::RsaPkcs1Sha256,
        }
    }

    /// Reads the envelope inside: ask the key of the certificate it names, then [`Opening::finish`].
    ///
    /// # Errors
    /// As for [`Opening::parse`].
    pub fn open(&self, legacy: LegacyCiphers, limits: &Limits) -> Result<Opening, CmsError> {
        Ok(Opening::parse(&self.envelope, limits)?.legacy_ciphers(legacy))
    }

    /// What an answer needs to know of this request.
    #[must_use]
    pub fn reply_to(&self) -> ReplyTo {
        ReplyTo::new(self.transaction.clone(), self.sender_nonce)
    }
}

/// A messageType that RFC 8894 does not know, or withdrew.
#[derive(Debug, Clone, Copy)]
struct UnknownType;

/// A client's request. Its content holds the challenge: `Debug` hides it.
pub struct PkiRequestBuilder<'a> {
    message_type: MessageType,
    transaction: TransactionName,
    content: &'a [u8],
    cipher: ContentCipherAlgorithm,
    transport: KeyTransportAlgorithm,
    legacy: LegacyCiphers,
}

impl core::fmt::Debug for PkiRequestBuilder<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PkiRequestBuilder")
            .field("message_type", &self.message_type)
            .field("transaction", &self.transaction)
            .finish_non_exhaustive()
    }
}

impl<'a> PkiRequestBuilder<'a> {
    /// A PKCSReq around the DER of a PKCS#10 request; the challenge is inside it.
    #[must_use]
    pub fn pkcs_req(transaction: TransactionId, csr: &'a [u8]) -> Self {
        Self::new(MessageType::PkcsReq, transaction, csr)
    }

    /// A request of any type around its body in DER.
    #[must_use]
    pub fn new(message_type: MessageType, transaction: TransactionId, content: &'a [u8]) -> Self {
        Self {
            message_type,
            transaction: TransactionName::new(transaction),
            content,
            cipher: ContentCipherAlgorithm::Aes128Cbc,
            transport: KeyTransportAlgorithm::RsaPkcs1v15,
            legacy: LegacyCiphers::Refuse,
        }
    }

    /// Replaces the transactionID, to give it another string type.
    #[must_use]
    pub fn transaction(mut self, transaction: TransactionName) -> Self {
        self.transaction = transaction;
        self
    }

    /// The content cipher and key transport. The default is what RFC 8894 section 2.9 asks of everyone: AES-128-CBC, PKCS#1 v1.5.
    #[must_use]
    pub fn algorithms(mut self, cipher: ContentCipherAlgorithm, transport: KeyTransportAlgorithm, legacy: LegacyCiphers) -> Self {
        (self.cipher, self.transport, self.legacy) = (cipher, transport, legacy);
        self
    }

    /// Encrypts to the server's certificate; what is left is the signature by the key of `signer`.
    ///
    /// # Errors
    /// As for [`EnvelopeBuilder::build`] and [`SignedBuilder::to_be_signed`].
    pub fn to_be_signed(
        &self,
        signer: &Certificate,
        server: &Certificate,
        algorithm: SignatureAlgorithm,
        provider: &CryptoProvider,
    ) -> Result<PkiRequestToBeSigned, CmsError> {
        let envelope = EnvelopeBuilder::new(self.cipher, self.transport)
            .legacy_ciphers(self.legacy)
            .recipient(server)
            .build(self.content, provider)?;
        let sender_nonce = Nonce::random(provider)?;
        let signed = SignedBuilder::new(SignedContent::Attached(&envelope))
            .attribute(decimal(oids::MESSAGE_TYPE, self.message_type.number()))
            .attribute(self.transaction.attribute())
            .attribute(nonce(oids::SENDER_NONCE, &sender_nonce))
            .certificate(signer.der())
            .to_be_signed(signer, algorithm, provider)?;
        Ok(PkiRequestToBeSigned { signed, reply_to: ReplyTo::new(self.transaction.clone(), sender_nonce) })
    }

    /// Encrypts and signs; gives the message, and what the answer must refer to.
    ///
    /// # Errors
    /// As for [`PkiRequestBuilder::to_be_signed`], and [`CmsError::Sign`].
    pub async fn sign(
        &self,
        signer: &Certificate,
        key: &dyn SigningKey,
        server: &Certificate,
        algorithm: SignatureAlgorithm,
        provider: &CryptoProvider,
    ) -> Result<(Vec<u8>, ReplyTo), CmsError> {
        let to_be_signed = self.to_be_signed(signer, server, algorithm, provider)?;
        let signature = key.sign(to_be_signed.signed.algorithm(), to_be_signed.signed.message()).await?;
        Ok(to_be_signed.finish(&signature))
    }
}

/// A request that lacks only its signature.
#[derive(Debug)]
pub struct PkiRequestToBeSigned {
    signed: SignedToBeSigned,
    reply_to: ReplyTo,
}

impl PkiRequestToBeSigned {
    /// The bytes to sign.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        self.signed.message()
    }

    /// The finished message, and what the answer must refer to.
    #[must_use]
    pub fn finish(self, signature: &[u8]) -> (Vec<u8>, ReplyTo) {
        (self.signed.finish(signature), self.reply_to)
    }
}
