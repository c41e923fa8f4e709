//! Writing EnvelopedData and AuthEnvelopedData.

use super::algorithm::{AeadCipher, Cipher, key_transport_identifier};
use super::{KeyWrapAlgorithm, LegacyCiphers, key_agreement, key_wrap, password};
use crate::codec::cms::{
    AlgorithmIdentifier, AuthEnvelopedData, ContentInfo, EncryptedContentInfo, EnvelopedData, KeyTransRecipientInfo, RecipientInfo, oids,
};
use crate::crypto::{AeadAlgorithm, ContentCipherAlgorithm, CryptoProvider, DigestAlgorithm, KeyTransportAlgorithm};
use crate::limits::{Budget, Limits};
use crate::message::algorithm::PublicKeyAlgorithm;
use crate::message::certificate::Certificate;
use crate::message::cms_error::CmsError;
use crate::message::signed::issuer_and_serial;
use crate::secret::{Password, SecretBytes};
use crate::terms::oid;

/// Encrypts content to the holders of certificates, of a shared key or of a password.
///
/// The default is AES-256-CBC under RSA PKCS#1 v1.5, which .NET, Windows, Apple and every SCEP client measured read.
/// EnvelopedData protects confidentiality only: whoever must not change the content unnoticed signs it as well.
#[derive(Debug)]
pub struct EnvelopeBuilder<'a> {
    protection: Protection,
    transport: KeyTransportAlgorithm,
    agreement: (Option<DigestAlgorithm>, Option<KeyWrapAlgorithm>),
    legacy: LegacyCiphers,
    recipients: Vec<Recipient<'a>>,
}

#[derive(Debug, Clone, Copy)]
enum Protection {
    Enveloped(ContentCipherAlgorithm),
    Authenticated(AeadAlgorithm),
}

#[derive(Debug)]
enum Recipient<'a> {
    Certificate(&'a Certificate),
    Kek { key_identifier: &'a [u8], kek: &'a SecretBytes },
    Password { password: &'a Password, iterations: u32 },
}

impl Default for EnvelopeBuilder<'_> {
    fn default() -> Self {
        Self::new(ContentCipherAlgorithm::Aes256Cbc, KeyTransportAlgorithm::RsaPkcs1v15)
    }
}

impl<'a> EnvelopeBuilder<'a> {
    /// EnvelopedData with this cipher; `transport` is for recipients with RSA keys.
    #[must_use]
    pub fn new(cipher: ContentCipherAlgorithm, transport: KeyTransportAlgorithm) -> Self {
        Self::with(Protection::Enveloped(cipher), transport)
    }

    /// AuthEnvelopedData with AES-GCM (RFC 5084, 12-byte nonce, 16-byte tag): a change of the content is noticed. OpenSSL from 3.0 and
    /// Bouncy Castle read it; Windows and Apple are not known to.
    #[must_use]
    pub fn authenticated(cipher: AeadAlgorithm, transport: KeyTransportAlgorithm) -> Self {
        Self::with(Protection::Authenticated(cipher), transport)
    }

    fn with(protection: Protection, transport: KeyTransportAlgorithm) -> Self {
        Self { protection, transport, agreement: (None, None), legacy: LegacyCiphers::Refuse, recipients: Vec::new() }
    }

    /// Whether a 3DES cipher may be written.
    #[must_use]
    pub fn legacy_ciphers(mut self, legacy: LegacyCiphers) -> Self {
        self.legacy = legacy;
        self
    }

    /// Sets digest of the key derivation and key wrap for EC and X25519 recipients. Without it they follow the key (RFC 5753 section 8):
    /// SHA-256 and AES-128 for P-256 and X25519, SHA-384 and AES-256 for P-384, SHA-512 and AES-256 for P-521.
    #[must_use]
    pub fn key_agreement(mut self, kdf: DigestAlgorithm, wrap: KeyWrapAlgorithm) -> Self {
        self.agreement = (Some(kdf), Some(wrap));
        self
    }

    /// Adds a recipient, named by issuer and serial number: by RSA key transport, or by ephemeral-static ECDH for keys on P-256, P-384,
    /// P-521 and X25519. Whether it may read the content is for a policy to say, not for this.
    #[must_use]
    pub fn recipient(mut self, certificate: &'a Certificate) -> Self {
        self.recipients.push(Recipient::Certificate(certificate));
        self
    }

    /// Adds a recipient that shares the AES key `kek` (16, 24 or 32 bytes) with the sender and knows it by `key_identifier`.
    #[must_use]
    pub fn kek_recipient(mut self, key_identifier: &'a [u8], kek: &'a SecretBytes) -> Self {
        self.recipients.push(Recipient::Kek { key_identifier, kek });
        self
    }

    /// Adds whoever knows the password as a recipient: PBKDF2 with HMAC-SHA-256 and this many rounds, id-alg-PWRI-KEK with AES-256.
    /// The message can be attacked by guessing, 600,000 rounds and a long password keep that slow.
    #[must_use]
    pub fn password_recipient(mut self, password: &'a Password, iterations: u32) -> Self {
        self.recipients.push(Recipient::Password { password, iterations });
        self
    }

    /// Encrypts `content` under a fresh key and gives the DER of a `ContentInfo`.
    ///
    /// # Errors
    /// [`CmsError::Certificate`] without recipients, or when one's key is neither RSA nor for ECDH or its keyUsage forbids keyAgreement;
    /// [`CmsError::WeakAlgorithm`] for 3DES without the opt-in; [`CmsError::MissingSlot`] and [`CmsError::Crypto`] from the provider, the
    /// latter also for a password that is empty or of zero bytes only.
    pub fn build(&self, content: &[u8], provider: &CryptoProvider) -> Result<Vec<u8>, CmsError> {
        if self.recipients.is_empty() {
            return Err(CmsError::Certificate("an envelope needs a recipient"));
        }
        match self.protection {
            Protection::Enveloped(cipher) => {
                let cipher = Cipher::generate(cipher, self.legacy, provider)?;
                let key = fresh_key(cipher.key_len, provider)?;
                let encrypted = provider.content_cipher()?.encrypt(cipher.algorithm, key.secret_bytes(), &cipher.iv, content)?;
                let enveloped = EnvelopedData {
                    recipient_infos: self.recipient_infos(&key, provider)?,
                    encrypted_content_info: data(cipher.identifier()?, encrypted),
                };
                Ok(ContentInfo::encode(&oid(oids::ENVELOPED_DATA), &enveloped.encode()))
            }
            Protection::Authenticated(cipher) => {
                let key = fresh_key(cipher.key_len(), provider)?;
                let (cipher, mut encrypted) = AeadCipher::seal(cipher, &key, content, provider)?;
                let mac = encrypted.split_off(content.len());
                let enveloped = AuthEnvelopedData {
                    recipient_infos: self.recipient_infos(&key, provider)?,
                    auth_encrypted_content_info: data(cipher.identifier()?, encrypted),
                    auth_attrs: None,
                    mac,
                };
                Ok(ContentInfo::encode(&oid(oids::AUTH_ENVELOPED_DATA), &enveloped.encode()))
            }
        }
    }

    fn recipient_infos(&self, key: &SecretBytes, provider: &CryptoProvider) -> Result<Vec<RecipientInfo>, CmsError> {
        self.recipients.iter().map(|recipient| self.recipient_info(recipient, key, provider)).collect()
    }

    fn recipient_info(&self, recipient: &Recipient<'_>, key: &SecretBytes, provider: &CryptoProvider) -> Result<RecipientInfo, CmsError> {
        Ok(match recipient {
            Recipient::Certificate(certificate) => match certificate.public_key_algorithm() {
                PublicKeyAlgorithm::Rsa { .. } => RecipientInfo::KeyTrans(KeyTransRecipientInfo {
                    rid: issuer_and_serial(certificate),
                    key_encryption_algorithm: key_transport_identifier(self.transport),
                    encrypted_key: provider.key_transport()?.encrypt(self.transport, certificate.spki(), key.secret_bytes())?,
                }),
                _ => {
                    let budget = &mut Budget::new(&Limits::default());
                    let rid = issuer_and_serial(certificate);
                    RecipientInfo::KeyAgree(key_agreement::encrypt(certificate, rid, self.agreement, key, provider, budget)?)
                }
            },
            Recipient::Kek { key_identifier, kek } => RecipientInfo::Kek(key_wrap::encrypt(key_identifier, kek, key, provider)?),
            Recipient::Password { password, iterations } => {
                RecipientInfo::Password(password::encrypt(password, *iterations, key, provider)?)
            }
        })
    }
}

fn fresh_key(len: usize, provider: &CryptoProvider) -> Result<SecretBytes, CmsError> {
    let mut key = SecretBytes::zeroed(len);
    provider.random()?.fill(key.secret_bytes_mut())?;
    Ok(key)
}

fn data(content_encryption_algorithm: AlgorithmIdentifier, encrypted: Vec<u8>) -> EncryptedContentInfo {
    EncryptedContentInfo { content_type: oid(oids::DATA), content_encryption_algorithm, encrypted_content: Some(encrypted) }
}
