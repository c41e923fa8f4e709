//! Reading EnvelopedData.

use subtle::{Choice, ConditionallySelectable as _};

use super::LegacyCiphers;
use super::algorithm::{content_cipher, key_transport};
use crate::codec::cms::{CertificateIdentifier, ContentInfo, EnvelopedData, RecipientInfo, oids};
use crate::crypto::{ContentCipherAlgorithm, CryptoProvider, DecryptionKey, KeyTransportAlgorithm, UnwrapError, UnwrapRequest};
use crate::ids::Oid;
use crate::limits::{Budget, Limits};
use crate::message::certificate::Certificate;
use crate::message::cms_error::{CmsError, rejected_or_unavailable};
use crate::message::signed::identifies;
use crate::secret::SecretBytes;

/// How a recipient gets the content key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecipientKind {
    /// RSA (KeyTransRecipientInfo); the kind that is opened.
    KeyTransport,
    /// Diffie-Hellman (KeyAgreeRecipientInfo).
    KeyAgreement,
    /// A shared key (KEKRecipientInfo).
    KeyEncryptionKey,
    /// A password (PasswordRecipientInfo). Never derived here.
    Password,
    /// Something else (OtherRecipientInfo).
    Other,
}

/// One recipient of an envelope, by what the message says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientId {
    kind: RecipientKind,
    identifier: Option<CertificateIdentifier>,
}

impl RecipientId {
    /// The kind.
    #[must_use]
    pub fn kind(&self) -> RecipientKind {
        self.kind
    }

    /// Whether it names this certificate, by issuer and serial number or by key identifier.
    #[must_use]
    pub fn is(&self, certificate: &Certificate) -> bool {
        self.identifier.as_ref().is_some_and(|identifier| identifies(identifier, certificate))
    }

    /// The DER of the issuer's name and the content octets of the serial number, when it is named so.
    #[must_use]
    pub fn issuer_and_serial(&self) -> Option<(&[u8], &[u8])> {
        match &self.identifier {
            Some(CertificateIdentifier::IssuerAndSerialNumber { issuer, serial }) => Some((issuer, serial)),
            _ => None,
        }
    }
}

/// An envelope that is being opened.
///
/// Exactly one recipient is tried, the one that names our certificate: trying others would make an oracle of the key.
#[derive(Debug)]
pub struct Opening {
    enveloped: EnvelopedData,
    recipients: Vec<RecipientId>,
    limits: Limits,
    legacy: LegacyCiphers,
    pending: Option<Pending>,
}

/// What `finish` needs, fixed before the private key is asked.
#[derive(Debug)]
struct Pending {
    cipher: ContentCipherAlgorithm,
    iv: Vec<u8>,
    substitute: SecretBytes,
}

impl Opening {
    /// Reads a `ContentInfo` with EnvelopedData, in DER or BER.
    ///
    /// # Errors
    /// [`CmsError::Malformed`], [`CmsError::ContentType`], [`CmsError::Limit`]. All of this is public: no key has been used.
    pub fn parse(message: &[u8], limits: &Limits) -> Result<Self, CmsError> {
        let mut budget = Budget::new(limits);
        let info = ContentInfo::decode(message, &mut budget)?;
        if info.content_type.as_str() != oids::ENVELOPED_DATA {
            return Err(CmsError::ContentType(info.content_type));
        }
        let content = info.content.ok_or(CmsError::Malformed("there is no content"))?;
        let enveloped = EnvelopedData::decode(content, &mut budget)?;
        let recipients = enveloped.recipient_infos.iter().map(recipient_id).collect();
        Ok(Self { enveloped, recipients, limits: limits.clone(), legacy: LegacyCiphers::Refuse, pending: None })
    }

    /// Whether 3DES is read.
    #[must_use]
    pub fn legacy_ciphers(mut self, legacy: LegacyCiphers) -> Self {
        self.legacy = legacy;
        self
    }

    /// The recipients in the message's order.
    #[must_use]
    pub fn recipients(&self) -> &[RecipientId] {
        &self.recipients
    }

    /// What the decrypted content claims to be; id-data as a rule.
    #[must_use]
    pub fn content_type(&self) -> &Oid {
        &self.enveloped.encrypted_content_info.content_type
    }

    /// The content cipher, so that an answer can use the same.
    ///
    /// # Errors
    /// [`CmsError::UnsupportedAlgorithm`] when it is none that is read here.
    pub fn content_cipher(&self) -> Result<ContentCipherAlgorithm, CmsError> {
        let identifier = &self.enveloped.encrypted_content_info.content_encryption_algorithm;
        content_cipher(identifier, &mut Budget::new(&self.limits)).map(|(cipher, _, _)| cipher)
    }

    /// How the content key is encrypted to this recipient.
    ///
    /// # Errors
    /// [`CmsError::NotARecipient`], or [`CmsError::UnsupportedAlgorithm`].
    pub fn key_transport(&self, recipient: &Certificate) -> Result<KeyTransportAlgorithm, CmsError> {
        self.ours(recipient).map(|(transport, _)| transport)
    }

    fn ours(&self, recipient: &Certificate) -> Result<(KeyTransportAlgorithm, &[u8]), CmsError> {
        let ktri = self.enveloped.recipient_infos.iter().find_map(|info| match info {
            RecipientInfo::KeyTrans(ktri) if identifies(&ktri.rid, recipient) => Some(ktri),
            _ => None,
        });
        let ktri = ktri.ok_or(CmsError::NotARecipient)?;
        let transport = key_transport(&ktri.key_encryption_algorithm, &mut Budget::new(&self.limits))?;
        Ok((transport, &ktri.encrypted_key))
    }

    /// What to ask the key of `recipient`: the content key encrypted to it. Draws the substitute key, before anything is decrypted.
    ///
    /// # Errors
    /// [`CmsError::NotARecipient`], [`CmsError::UnsupportedAlgorithm`], [`CmsError::WeakAlgorithm`], [`CmsError::MissingSlot`], [`CmsError::Crypto`]:
    /// whatever can be said without the key is said here.
    pub fn unwrap_request(&mut self, recipient: &Certificate, provider: &CryptoProvider) -> Result<UnwrapRequest, CmsError> {
        let (transport, encrypted_key) = self.ours(recipient)?;
        provider.permits_decryption(transport)?;
        let request = UnwrapRequest::new(transport, encrypted_key.to_vec());
        let info = &self.enveloped.encrypted_content_info;
        let (cipher, iv, key_len) = content_cipher(&info.content_encryption_algorithm, &mut Budget::new(&self.limits))?;
        if cipher == ContentCipherAlgorithm::DesEde3Cbc && self.legacy != LegacyCiphers::AllowTripleDes {
            return Err(CmsError::WeakAlgorithm("3DES (LegacyCiphers::AllowTripleDes)"));
        }
        if info.encrypted_content.is_none() {
            return Err(CmsError::Malformed("there is no encrypted content"));
        }
        provider.content_cipher()?.check(cipher)?;
        let mut substitute = SecretBytes::zeroed(key_len);
        provider.random()?.fill(substitute.secret_bytes_mut())?;
        self.pending = Some(Pending { cipher, iv, substitute });
        Ok(request)
    }

    /// Decrypts the content with what the key answered.
    ///
    /// A rejected or badly sized content key is replaced, in constant time, by the substitute: the same work follows and fails
    /// (or, once in about 256 times, gives noise, as a damaged message would), so that padding cannot be told from content.
    ///
    /// # Errors
    /// [`CmsError::Decryption`] for every failure but [`CmsError::KeyUnavailable`], which is worth a retry.
    pub fn finish(self, unwrapped: Result<SecretBytes, UnwrapError>, provider: &CryptoProvider) -> Result<SecretBytes, CmsError> {
        let Pending { cipher, iv, substitute } = self.pending.ok_or(CmsError::NotARecipient)?;
        let key = choose_key(&substitute, rejected_or_unavailable(unwrapped)?.as_ref());
        let content = self.enveloped.encrypted_content_info.encrypted_content.unwrap_or_default();
        provider.content_cipher()?.decrypt(cipher, key.secret_bytes(), &iv, &content).map_err(|_| CmsError::Decryption)
    }
}

/// The unwrapped key when there is one of the right length, else the substitute; the bytes are chosen by the same steps in both cases.
fn choose_key(substitute: &SecretBytes, unwrapped: Option<&SecretBytes>) -> SecretBytes {
    let (mut key, stand_in) = (SecretBytes::zeroed(substitute.len()), SecretBytes::zeroed(substitute.len()));
    let (candidate, good) = match unwrapped {
        Some(unwrapped) if unwrapped.len() == substitute.len() => (unwrapped, 1),
        _ => (&stand_in, 0),
    };
    let good = Choice::from(good);
    let pairs = substitute.secret_bytes().iter().zip(candidate.secret_bytes());
    for (out, (substitute, candidate)) in key.secret_bytes_mut().iter_mut().zip(pairs) {
        *out = u8::conditional_select(substitute, candidate, good);
    }
    key
}

/// Decrypts an envelope with the key of `recipient`: parse, ask the key, finish.
///
/// # Errors
/// As for [`Opening::parse`], [`Opening::unwrap_request`] and [`Opening::finish`].
pub async fn decrypt(
    message: &[u8],
    recipient: &Certificate,
    key: &dyn DecryptionKey,
    legacy: LegacyCiphers,
    provider: &CryptoProvider,
    limits: &Limits,
) -> Result<SecretBytes, CmsError> {
    let mut opening = Opening::parse(message, limits)?.legacy_ciphers(legacy);
    let request = opening.unwrap_request(recipient, provider)?;
    let unwrapped = key.unwrap(&request).await;
    opening.finish(unwrapped, provider)
}

fn recipient_id(info: &RecipientInfo) -> RecipientId {
    let (kind, identifier) = match info {
        RecipientInfo::KeyTrans(ktri) => (RecipientKind::KeyTransport, Some(ktri.rid.clone())),
        RecipientInfo::KeyAgree(_) => (RecipientKind::KeyAgreement, None),
        RecipientInfo::Kek(_) => (RecipientKind::KeyEncryptionKey, None),
        RecipientInfo::Password(_) => (RecipientKind::Password, None),
        RecipientInfo::Other(_) => (RecipientKind::Other, None),
    };
    RecipientId { kind, identifier }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_missing_or_of_another_length_is_replaced_by_the_substitute() {
        let substitute = SecretBytes::copy_from(&[7; 32]);
        let good = SecretBytes::copy_from(&[9; 32]);
        assert_eq!(choose_key(&substitute, Some(&good)).secret_bytes(), [9; 32]);
        for bad in [None, Some(SecretBytes::copy_from(&[9; 16])), Some(SecretBytes::copy_from(&[9; 33])), Some(SecretBytes::zeroed(0))] {
            assert_eq!(choose_key(&substitute, bad.as_ref()).secret_bytes(), [7; 32]);
        }
    }
}
