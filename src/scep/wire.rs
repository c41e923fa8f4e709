//! Between the service and the messages: what is read of a request in which order, and how a reply mirrors it.

use rustls_pki_types::CertificateDer;

use super::AlgorithmPolicy;
use crate::crypto::{
    ContentCipherAlgorithm, CryptoProvider, DigestAlgorithm, KeyTransportAlgorithm, SignatureAlgorithm, UnwrapError, UnwrapRequest,
};
use crate::ids::TransactionId;
use crate::limits::Limits;
use crate::message::algorithm::{PublicKeyAlgorithm, SignatureIdentifier};
use crate::message::certificate::Certificate;
use crate::message::csr::{Csr, Possession};
use crate::message::enveloped::{CmsError, Opening};
use crate::message::scep::{
    CertRep, EmptyContent, FailInfo, IssuerAndSerialNumber, MessageType, Nonce, ReplyTo, ScepMessageError, ScepRequest,
};
use crate::message::signed::{LegacyDigests, SignedToBeSigned, certs_only};
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

/// How a CSR must be bound to the outer signer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binding {
    /// A first enrolment: the signer's certificate is the client's own, and its key is the CSR's.
    SameKey,
    /// A renewal: the signer's certificate is one of ours, and the CSR asks for its subject and names. The key may be a new one.
    SameNames,
}

/// A request whose CSR has verified and is bound to the signer.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) transaction_id: TransactionId,
    pub(super) csr: Csr,
    pub(super) signer: Certificate,
    /// The certificate that is renewed is the signer's.
    pub(super) is_renewal: bool,
    pub(super) nonce: Nonce,
}

/// What a reply says.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// The certificate alone.
    Certificate(Vec<u8>),
    /// The CRL alone.
    Crl(Vec<u8>),
    Pending,
    Failure(FailInfo),
}

/// How replies are written, whatever the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) algorithms: AlgorithmPolicy,
    pub(super) empty: EmptyContent,
}

impl Verified {
    /// Whether the digest under the CSR's own signature is allowed. The CSR is verified: this tells a stranger nothing.
    pub(super) fn csr_allowed(&self, policy: AlgorithmPolicy) -> bool {
        let weak = matches!(self.csr.signature_algorithm(), Some(SignatureIdentifier::RsaPkcs1(DigestAlgorithm::Sha1)));
        !weak || policy.allows_3des_and_sha1()
    }
}

/// By what a reply mirrors its request.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    to: ReplyTo,
    /// The certificate that the answer is encrypted to.
    pub(super) recipient: Certificate,
    cipher: Option<ContentCipherAlgorithm>,
    transport: KeyTransportAlgorithm,
    digest: DigestAlgorithm,
}

impl Incoming {
    /// Reads a message and verifies its outer signature. Algorithms that are refused by policy are read, so that they can be answered; the
    /// key is not asked for a cipher that is refused.
    pub(super) fn parse(
        message: &[u8],
        policy: AlgorithmPolicy,
        provider: &CryptoProvider,
        limits: &Limits,
    ) -> Result<Self, ScepMessageError> {
        let request = ScepRequest::parse_of_any_type(message, LegacyDigests::AllowSha1, provider, limits)?;
        let opening = request.open(policy.ciphers(), limits).ok();
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

    pub(super) fn signer(&self) -> &Certificate {
        self.request.signer()
    }

    pub(super) fn nonce(&self) -> &Nonce {
        self.request.sender_nonce()
    }

    /// Whether the content key is encrypted to the key of that certificate.
    pub(super) fn is_to(&self, recipient: &Certificate) -> bool {
        let named = |opening: &Opening| !matches!(opening.key_transport(recipient), Err(CmsError::NotARecipient));
        self.opening.as_ref().is_some_and(named)
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
        policy.allows(self.reply.cipher, self.reply.digest)
    }

    /// Whether a reply can be encrypted to the client: only RSA keys of 2048 bits or more can.
    pub(super) fn signer_can_decrypt(&self) -> bool {
        matches!(self.request.signer().public_key_algorithm(), PublicKeyAlgorithm::Rsa { bits } if *bits >= 2_048)
    }

    /// What to ask the decryption key.
    pub(super) fn unwrap_request(&mut self, recipient: &Certificate, provider: &CryptoProvider) -> Result<UnwrapRequest, OpenError> {
        // What is wrong here is visible without the key.
        self.opening.as_mut().and_then(|opening| opening.unwrap_request(recipient, provider).ok()).ok_or(OpenError::Bad)
    }

    /// Decrypts the body of a GetCert or GetCRL; absent for everything that is wrong with it.
    pub(super) fn query(
        self,
        unwrapped: Result<SecretBytes, UnwrapError>,
        provider: &CryptoProvider,
        limits: &Limits,
    ) -> Result<Option<IssuerAndSerialNumber>, OpenError> {
        let Some(opening) = self.opening else { return Ok(None) };
        match opening.finish_or_ciphertext(unwrapped, provider) {
            // What did not decrypt is read like what did: somebody else's envelope can be sent as a query.
            Ok(decrypted) => Ok(IssuerAndSerialNumber::from_der(decrypted.bytes(), limits).ok().filter(|_| decrypted.is_content())),
            Err(CmsError::KeyUnavailable(_)) => Err(OpenError::Unavailable),
            Err(_) => Ok(None),
        }
    }

    /// Decrypts, and verifies the CSR's own signature and that it is bound to the outer signer; only then reads the CSR.
    pub(super) fn verify(
        self,
        unwrapped: Result<SecretBytes, UnwrapError>,
        binding: Binding,
        provider: &CryptoProvider,
        limits: &Limits,
    ) -> Result<Verified, OpenError> {
        let opening = self.opening.ok_or(OpenError::Bad)?;
        let decrypted = match opening.finish_or_ciphertext(unwrapped, provider) {
            Ok(decrypted) => decrypted,
            Err(CmsError::KeyUnavailable(_)) => return Err(OpenError::Unavailable),
            Err(_) => return Err(OpenError::Bad),
        };
        let signer = self.request.signer();
        let possession = match binding {
            Binding::SameKey => Possession::OfSignersKey,
            Binding::SameNames => Possession::OfOwnKey,
        };
        let Ok(Some(csr)) = Csr::proven(&decrypted, signer, possession, provider, limits) else { return Err(OpenError::Bad) };
        if binding == Binding::SameNames && !asks_for_names_of(&csr, signer) {
            return Err(OpenError::Bad);
        }
        Ok(Verified {
            transaction_id: self.request.transaction_id().clone(),
            signer: signer.clone(),
            is_renewal: binding == Binding::SameNames,
            nonce: *self.request.sender_nonce(),
            csr,
        })
    }
}

/// Whether a CSR asks for the subject of a certificate and for its subjectAltName, no more and no less.
fn asks_for_names_of(csr: &Csr, certificate: &Certificate) -> bool {
    let (asked, has) = (csr.subject_alt_names(), certificate.subject_alt_names());
    csr.subject().matches(certificate.subject())
        && !csr.has_unknown_subject_alt_names()
        && !certificate.has_unknown_subject_alt_names()
        && asked.iter().all(|name| has.contains(name))
        && has.iter().all(|name| asked.contains(name))
}

impl Reply {
    /// The reply but for its signature: the certificate, or why there is none. `signable` is what the RA's key can.
    pub(super) fn write(
        self,
        content: Content,
        form: Form,
        signable: &[SignatureAlgorithm],
        signer: &Certificate,
        provider: &CryptoProvider,
    ) -> Result<SignedToBeSigned, OpenError> {
        // Clients that send single DES with SHA-1 read what they do not write: micromdm's scepclient does.
        let single_des = self.cipher == Some(ContentCipherAlgorithm::DesCbc);
        let algorithm = match self.digest {
            DigestAlgorithm::Sha1 if form.algorithms.allows_3des_and_sha1() && !single_des => SignatureAlgorithm::RsaPkcs1Sha1,
            DigestAlgorithm::Sha384 => SignatureAlgorithm::RsaPkcs1Sha384,
            DigestAlgorithm::Sha512 => SignatureAlgorithm::RsaPkcs1Sha512,
            _ => SignatureAlgorithm::RsaPkcs1Sha256,
        };
        let algorithm = if signable.contains(&algorithm) { algorithm } else { SignatureAlgorithm::RsaPkcs1Sha256 };
        let content = match content {
            Content::Certificate(der) => certs_only(&[CertificateDer::from(der)], &[]),
            Content::Crl(der) => certs_only(&[], &[der]),
            Content::Pending => {
                let reply = CertRep::pending(self.to).empty_content(form.empty);
                return reply.to_be_signed(signer, algorithm, provider).map_err(|_| OpenError::Bad);
            }
            Content::Failure(reason) => {
                let reply = CertRep::failure(self.to, reason).empty_content(form.empty);
                return reply.to_be_signed(signer, algorithm, provider).map_err(|_| OpenError::Bad);
            }
        };
        let cipher = self.cipher.filter(|_| !single_des).unwrap_or(ContentCipherAlgorithm::Aes128Cbc);
        let ciphers = form.algorithms.ciphers();
        let reply = CertRep::success_with(self.to, &content, &self.recipient, cipher, self.transport, ciphers, provider)
            .map_err(|_| OpenError::Bad)?;
        reply.to_be_signed(signer, algorithm, provider).map_err(|_| OpenError::Bad)
    }
}
