//! Writing EnvelopedData.

use super::LegacyCiphers;
use super::algorithm::{content_cipher_identifier, key_transport_identifier};
use crate::codec::cms::{ContentInfo, EncryptedContentInfo, EnvelopedData, KeyTransRecipientInfo, RecipientInfo, oids};
use crate::crypto::{ContentCipherAlgorithm, CryptoError, CryptoProvider, KeyTransportAlgorithm};
use crate::message::algorithm::PublicKeyAlgorithm;
use crate::message::certificate::Certificate;
use crate::message::cms_error::CmsError;
use crate::message::signed::issuer_and_serial;
use crate::secret::SecretBytes;
use crate::terms::oid;

/// Encrypts content to the holders of certificates.
///
/// The default is AES-256-CBC under RSA PKCS#1 v1.5, which .NET, Windows, Apple and every SCEP client measured read.
/// EnvelopedData protects confidentiality only: whoever must not change the content unnoticed signs it as well.
#[derive(Debug)]
pub struct EnvelopeBuilder<'a> {
    cipher: ContentCipherAlgorithm,
    transport: KeyTransportAlgorithm,
    legacy: LegacyCiphers,
    recipients: Vec<&'a Certificate>,
}

impl Default for EnvelopeBuilder<'_> {
    fn default() -> Self {
        Self::new(ContentCipherAlgorithm::Aes256Cbc, KeyTransportAlgorithm::RsaPkcs1v15)
    }
}

impl<'a> EnvelopeBuilder<'a> {
    /// An envelope with this cipher and this way to transport the content key.
    #[must_use]
    pub fn new(cipher: ContentCipherAlgorithm, transport: KeyTransportAlgorithm) -> Self {
        Self { cipher, transport, legacy: LegacyCiphers::Refuse, recipients: Vec::new() }
    }

    /// Whether a 3DES cipher may be written.
    #[must_use]
    pub fn legacy_ciphers(mut self, legacy: LegacyCiphers) -> Self {
        self.legacy = legacy;
        self
    }

    /// Adds a recipient, named by issuer and serial number. Whether it may read the content is for a policy to say, not for this.
    #[must_use]
    pub fn recipient(mut self, certificate: &'a Certificate) -> Self {
        self.recipients.push(certificate);
        self
    }

    /// Encrypts `content` under a fresh key and gives the DER of a `ContentInfo`.
    ///
    /// # Errors
    /// [`CmsError::Certificate`] without recipients or when one has no RSA key; [`CmsError::WeakAlgorithm`] for 3DES without the opt-in;
    /// [`CmsError::MissingSlot`] and [`CmsError::Crypto`] from the provider.
    pub fn build(&self, content: &[u8], provider: &CryptoProvider) -> Result<Vec<u8>, CmsError> {
        if self.recipients.is_empty() {
            return Err(CmsError::Certificate("an envelope needs a recipient"));
        }
        if self.recipients.iter().any(|recipient| !matches!(recipient.public_key_algorithm(), PublicKeyAlgorithm::Rsa { .. })) {
            return Err(CmsError::Certificate("the recipient's key is not RSA"));
        }
        if self.cipher == ContentCipherAlgorithm::DesEde3Cbc && self.legacy != LegacyCiphers::AllowTripleDes {
            return Err(CmsError::WeakAlgorithm("3DES (LegacyCiphers::AllowTripleDes)"));
        }
        let key_len = self.cipher.key_len().ok_or(CryptoError::Unsupported("this cipher in an envelope"))?;
        let (random, cipher, transport) = (provider.random()?, provider.content_cipher()?, provider.key_transport()?);

        let mut key = SecretBytes::zeroed(key_len);
        random.fill(key.secret_bytes_mut())?;
        let mut iv = vec![0; self.cipher.iv_len()];
        random.fill(&mut iv)?;
        let identifier = content_cipher_identifier(self.cipher, &iv).ok_or(CryptoError::Unsupported("this cipher in an envelope"))?;
        let encrypted = cipher.encrypt(self.cipher, key.secret_bytes(), &iv, content)?;

        let mut recipient_infos = Vec::with_capacity(self.recipients.len());
        for recipient in &self.recipients {
            recipient_infos.push(RecipientInfo::KeyTrans(KeyTransRecipientInfo {
                rid: issuer_and_serial(recipient),
                key_encryption_algorithm: key_transport_identifier(self.transport),
                encrypted_key: transport.encrypt(self.transport, recipient.spki(), key.secret_bytes())?,
            }));
        }
        let enveloped = EnvelopedData {
            recipient_infos,
            encrypted_content_info: EncryptedContentInfo {
                content_type: oid(oids::DATA),
                content_encryption_algorithm: identifier,
                encrypted_content: Some(encrypted),
            },
        };
        Ok(ContentInfo::encode(&oid(oids::ENVELOPED_DATA), &enveloped.encode()))
    }
}
