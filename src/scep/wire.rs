//! Between the service and the messages: what is read of a request in which order, and how a reply mirrors it.

use rustls_pki_types::CertificateDer;

use super::AlgorithmPolicy;
use crate::crypto::{
    ContentCipherAlgorithm, CryptoProvider, DigestAlgorithm, KeyTransportAlgorithm, SignatureAlgorithm, UnwrapError, UnwrapRequest,
};
use crate::ids::TransactionId;
use crate::limits::Limits;
use crate::message::algorithm::PublicKeyAlgorithm;
use crate::message::certificate::Certificate;
use crate::message::csr::Csr;
use crate::message::enveloped::{CmsError, LegacyCiphers, Opening};
use crate::message::scep::{CertRep, FailInfo, MessageType, ReplyTo, ScepMessageError, ScepRequest};
use crate::message::signed::{LegacyDigests, SignedToBeSigned};
use crate::secret::SecretBytes;

/// Why a request could not be opened, or a reply not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OpenError {
    /// Everything that is wrong inside: one value.
    Bad,
    /// The key is away.
    Unavailable,
    /// Too much work is waiting.
    Busy,
}

/// A request whose outer signature has verified.
#[derive(Debug)]
pub(super) struct Incoming {
    request: ScepRequest,
    /// Absent when what is inside is no envelope; told only after the same work as for one.
    opening: Option<Opening>,
    reply: Reply,
}

/// A request whose CSR has verified and is bound to the signer.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) transaction_id: TransactionId,
    pub(super) csr: Csr,
}

/// By what a reply mirrors its request.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    to: ReplyTo,
    recipient: Certificate,
    cipher: Option<ContentCipherAlgorithm>,
    transport: KeyTransportAlgorithm,
    digest: DigestAlgorithm,
}

impl Incoming {
    /// Reads a message and verifies its outer signature. Algorithms that are refused by policy are read, so that they can be answered.
    pub(super) fn parse(message: &[u8], provider: &CryptoProvider, limits: &Limits) -> Result<Self, ScepMessageError> {
        let request = ScepRequest::parse(message, LegacyDigests::AllowSha1, provider, limits)?;
        let opening = request.open(LegacyCiphers::AllowTripleDes, limits).ok();
        let reply = Reply {
            to: request.reply_to(),
            recipient: request.signer().clone(),
            cipher: opening.as_ref().and_then(|opening| opening.content_cipher().ok()),
            transport: KeyTransportAlgorithm::RsaPkcs1v15,
            digest: request.digest(),
        };
        Ok(Self { request, opening, reply })
    }

    pub(super) fn message_type(&self) -> MessageType {
        self.request.message_type()
    }

    pub(super) fn transaction_id(&self) -> &TransactionId {
        self.request.transaction_id()
    }

    /// What a reply needs, with the key transport that the client used toward `recipient`: Windows uses OAEP and reads it.
    pub(super) fn reply(&self, recipient: &Certificate) -> Reply {
        let used = self.opening.as_ref().and_then(|opening| opening.key_transport(recipient).ok());
        Reply { transport: used.unwrap_or(self.reply.transport), ..self.reply.clone() }
    }

    /// Whether digest, cipher and key transport are allowed. An envelope that cannot be read is let through to the one answer for it.
    pub(super) fn algorithms_allowed(&self, policy: AlgorithmPolicy, recipient: &Certificate, provider: &CryptoProvider) -> bool {
        let transport = self.opening.as_ref().and_then(|opening| opening.key_transport(recipient).ok());
        if transport.is_some_and(|transport| provider.permits_decryption(transport).is_err()) {
            return false;
        }
        let cipher = self.opening.as_ref().map(Opening::content_cipher);
        if matches!(cipher, Some(Err(CmsError::UnsupportedAlgorithm { .. }))) {
            return false;
        }
        let modern = self.reply.digest != DigestAlgorithm::Sha1 && self.reply.cipher != Some(ContentCipherAlgorithm::DesEde3Cbc);
        modern || policy == AlgorithmPolicy::DangerousAllow3DesAndSha1
    }

    /// Whether a reply can be encrypted to the client: only RSA keys of 2048 bits or more can.
    pub(super) fn signer_can_decrypt(&self) -> bool {
        matches!(self.request.signer().public_key_algorithm(), PublicKeyAlgorithm::Rsa { bits } if *bits >= 2_048)
    }

    /// Whether the signer's certificate is the client's own, as in a first enrolment; the outer signature has shown that it holds the key.
    pub(super) fn signer_is_self_signed(&self) -> bool {
        self.request.signer().is_self_issued()
    }

    /// What to ask the decryption key.
    pub(super) fn unwrap_request(&mut self, recipient: &Certificate, provider: &CryptoProvider) -> Result<UnwrapRequest, OpenError> {
        // What is wrong here is visible without the key.
        self.opening.as_mut().and_then(|opening| opening.unwrap_request(recipient, provider).ok()).ok_or(OpenError::Bad)
    }

    /// Decrypts, and verifies that the outer signer's key has signed the CSR inside and is the one asked for; only then reads the CSR.
    pub(super) fn verify(
        self,
        unwrapped: Result<SecretBytes, UnwrapError>,
        provider: &CryptoProvider,
        limits: &Limits,
    ) -> Result<Verified, OpenError> {
        let opening = self.opening.ok_or(OpenError::Bad)?;
        let decrypted = match opening.finish_or_ciphertext(unwrapped, provider) {
            Ok(decrypted) => decrypted,
            Err(CmsError::KeyUnavailable(_)) => return Err(OpenError::Unavailable),
            Err(_) => return Err(OpenError::Bad),
        };
        match Csr::signed_by(&decrypted, self.request.signer(), provider, limits) {
            Ok(Some(csr)) => Ok(Verified { transaction_id: self.request.transaction_id().clone(), csr }),
            Ok(None) | Err(_) => Err(OpenError::Bad),
        }
    }
}

impl Reply {
    /// The reply but for its signature: the certificate, or why there is none. `signable` is what the RA's key can.
    pub(super) fn write(
        self,
        content: Result<Vec<u8>, FailInfo>,
        policy: AlgorithmPolicy,
        signable: &[SignatureAlgorithm],
        signer: &Certificate,
        provider: &CryptoProvider,
    ) -> Result<SignedToBeSigned, OpenError> {
        let legacy = policy == AlgorithmPolicy::DangerousAllow3DesAndSha1;
        let algorithm = match self.digest {
            DigestAlgorithm::Sha1 if legacy => SignatureAlgorithm::RsaPkcs1Sha1,
            DigestAlgorithm::Sha384 => SignatureAlgorithm::RsaPkcs1Sha384,
            DigestAlgorithm::Sha512 => SignatureAlgorithm::RsaPkcs1Sha512,
            _ => SignatureAlgorithm::RsaPkcs1Sha256,
        };
        let algorithm = if signable.contains(&algorithm) { algorithm } else { SignatureAlgorithm::RsaPkcs1Sha256 };
        let reply = match content {
            Ok(certificate) => {
                let certificate = CertificateDer::from(certificate);
                let cipher = self.cipher.unwrap_or(ContentCipherAlgorithm::Aes128Cbc);
                let ciphers = if legacy { LegacyCiphers::AllowTripleDes } else { LegacyCiphers::Refuse };
                CertRep::success(self.to, &certificate, &self.recipient, cipher, self.transport, ciphers, provider)
                    .map_err(|_| OpenError::Bad)?
            }
            Err(reason) => CertRep::failure(self.to, reason),
        };
        reply.to_be_signed(signer, algorithm, provider).map_err(|_| OpenError::Bad)
    }
}
