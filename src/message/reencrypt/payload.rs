//! Secrets and stored payloads, encrypted to another recipient.

use crate::crypto::{ContentCipherAlgorithm, CryptoProvider, KeyTransportAlgorithm};
use crate::message::certificate::Certificate;
use crate::message::cms_error::CmsError;
use crate::message::enveloped::{EnvelopeBuilder, LegacyCiphers};
use crate::secret::{Password, SecretBytes};

/// To whom, and how. Whether that certificate may be encrypted to is for a policy to say before.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Recipient<'a> {
    /// The certificate, with a key that is RSA, on P-256, P-384 or P-521, or X25519.
    pub certificate: &'a Certificate,
    /// The content cipher.
    pub cipher: ContentCipherAlgorithm,
    /// The key transport, for an RSA key; the others agree on a key (RFC 5753) by the digest and key wrap that suit them.
    pub transport: KeyTransportAlgorithm,
    /// Whether 3DES may be written.
    pub legacy: LegacyCiphers,
}

impl<'a> Recipient<'a> {
    /// AES-256-CBC under RSA PKCS#1 v1.5, what devices are known to read; under ECDH for an EC key.
    #[must_use]
    pub fn new(certificate: &'a Certificate) -> Self {
        Self {
            certificate,
            cipher: ContentCipherAlgorithm::Aes256Cbc,
            transport: KeyTransportAlgorithm::RsaPkcs1v15,
            legacy: LegacyCiphers::Refuse,
        }
    }

    /// Other algorithms.
    #[must_use]
    pub fn algorithms(mut self, cipher: ContentCipherAlgorithm, transport: KeyTransportAlgorithm, legacy: LegacyCiphers) -> Self {
        (self.cipher, self.transport, self.legacy) = (cipher, transport, legacy);
        self
    }
}

/// Encrypts a secret (a PFX, a decrypted payload) to a recipient. With [`Opening`](crate::message::enveloped::Opening) before it,
/// a stored payload moves from the connector's key to the device's: parse, ask the key, finish, `reencrypt`.
///
/// # Errors
/// As for [`EnvelopeBuilder::build`].
pub fn reencrypt(secret: &SecretBytes, recipient: Recipient<'_>, provider: &CryptoProvider) -> Result<Vec<u8>, CmsError> {
    envelope(secret.secret_bytes(), recipient, provider)
}

/// Encrypts a password's bytes, as they are, to a device: what Microsoft's connector delivers for an imported PFX.
///
/// # Errors
/// As for [`EnvelopeBuilder::build`].
pub fn password_envelope(password: &Password, recipient: Recipient<'_>, provider: &CryptoProvider) -> Result<Vec<u8>, CmsError> {
    envelope(password.secret_bytes(), recipient, provider)
}

fn envelope(content: &[u8], recipient: Recipient<'_>, provider: &CryptoProvider) -> Result<Vec<u8>, CmsError> {
    EnvelopeBuilder::new(recipient.cipher, recipient.transport)
        .legacy_ciphers(recipient.legacy)
        .recipient(recipient.certificate)
        .build(content, provider)
}
