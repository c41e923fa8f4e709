//! Reading EnvelopedData and AuthEnvelopedData.

use super::LegacyCiphers;
use super::algorithm::key_transport;
#[cfg(feature = "scep")]
use super::content::Decrypted;
use super::content::{Content, Prepared};
use super::key_agreement::Agreement;
use super::key_wrap;
use super::password::PasswordUnwrap;
use super::recipient::RecipientId;
use crate::codec::cms::{AuthEnvelopedData, ContentInfo, EnvelopedData, KeyTransRecipientInfo, RecipientInfo, oids};
use crate::crypto::{ContentCipherAlgorithm, CryptoProvider, DecryptionKey, KeyTransportAlgorithm, UnwrapError, UnwrapRequest};
use crate::ids::Oid;
use crate::limits::{Budget, Limits};
use crate::message::algorithm::PublicKeyAlgorithm;
use crate::message::certificate::Certificate;
use crate::message::cms_error::{CmsError, rejected_or_unavailable};
use crate::message::signed::identifies;
use crate::secret::{Password, SecretBytes};

/// An envelope that is being opened.
///
/// Exactly one recipient is tried, the one that names our certificate: trying others would make an oracle of the key.
#[derive(Debug)]
pub struct Opening {
    recipient_infos: Vec<RecipientInfo>,
    content: Content,
    recipients: Vec<RecipientId>,
    limits: Limits,
    legacy: LegacyCiphers,
    pending: Option<Pending>,
}

/// What `finish` needs, fixed before the private key is asked.
#[derive(Debug)]
struct Pending {
    prepared: Prepared,
    /// What the key's answer is: the shared secret of an agreement, or the content key.
    agreement: Option<Agreement>,
}

impl Opening {
    /// Reads a `ContentInfo` with EnvelopedData or AuthEnvelopedData, in DER or BER. Nothing is derived or decrypted.
    ///
    /// # Errors
    /// [`CmsError::Malformed`], [`CmsError::ContentType`], [`CmsError::Limit`]. All of this is public: no key has been used.
    pub fn parse(message: &[u8], limits: &Limits) -> Result<Self, CmsError> {
        let mut budget = Budget::new(limits);
        let info = ContentInfo::decode(message, &mut budget)?;
        let content_type = info.content_type.as_str();
        if ![oids::ENVELOPED_DATA, oids::AUTH_ENVELOPED_DATA].contains(&content_type) {
            return Err(CmsError::ContentType(info.content_type));
        }
        let value = info.content.ok_or(CmsError::Malformed("there is no content"))?;
        let (recipient_infos, content) = if content_type == oids::ENVELOPED_DATA {
            let enveloped = EnvelopedData::decode(value, &mut budget)?;
            (enveloped.recipient_infos, Content::unauthenticated(enveloped.encrypted_content_info))
        } else {
            let mut enveloped = AuthEnvelopedData::decode(value, &mut budget)?;
            (core::mem::take(&mut enveloped.recipient_infos), Content::authenticated(enveloped)?)
        };
        let recipients = recipient_infos.iter().flat_map(RecipientId::all).collect();
        Ok(Self { recipient_infos, content, recipients, limits: limits.clone(), legacy: LegacyCiphers::Refuse, pending: None })
    }

    /// Whether 3DES and single DES are read.
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

    /// Whether a change of the content would be noticed (AuthEnvelopedData). Either way anybody can encrypt to a recipient: who sent the
    /// content is for a signature to say.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.content.is_authenticated()
    }

    /// What the decrypted content claims to be; id-data as a rule.
    #[must_use]
    pub fn content_type(&self) -> &Oid {
        &self.content.info.content_type
    }

    /// The content cipher, so that an answer can use the same.
    ///
    /// # Errors
    /// [`CmsError::UnsupportedAlgorithm`] when it is none that is read here, or an authenticated one.
    pub fn content_cipher(&self) -> Result<ContentCipherAlgorithm, CmsError> {
        self.content.cipher(&mut Budget::new(&self.limits)).map(|cipher| cipher.algorithm)
    }

    /// How the content key is encrypted to this recipient, an RSA one.
    ///
    /// # Errors
    /// [`CmsError::NotARecipient`], or [`CmsError::UnsupportedAlgorithm`].
    pub fn key_transport(&self, recipient: &Certificate) -> Result<KeyTransportAlgorithm, CmsError> {
        let ktri = self.recipient_infos.iter().find_map(|info| key_trans(info, recipient)).ok_or(CmsError::NotARecipient)?;
        key_transport(&ktri.key_encryption_algorithm, &mut Budget::new(&self.limits)).map(|(transport, _)| transport)
    }

    /// What to ask the key of `recipient`: to decrypt the content key, or to agree on the secret that it is wrapped under.
    /// Draws the substitute key, before anything is decrypted.
    ///
    /// # Errors
    /// [`CmsError::NotARecipient`], [`CmsError::UnsupportedAlgorithm`], [`CmsError::WeakAlgorithm`], [`CmsError::MissingSlot`],
    /// [`CmsError::Crypto`]: whatever can be said without the key is said here.
    pub fn unwrap_request(&mut self, recipient: &Certificate, provider: &CryptoProvider) -> Result<UnwrapRequest, CmsError> {
        let mut budget = Budget::new(&self.limits);
        let found = self.recipient_infos.iter().find_map(|info| match info {
            RecipientInfo::KeyTrans(_) => {
                let ktri = key_trans(info, recipient).filter(|_| may_decrypt(recipient))?;
                let request = key_transport(&ktri.key_encryption_algorithm, &mut budget).and_then(|(algorithm, label)| {
                    provider.permits_decryption(algorithm)?;
                    let request = UnwrapRequest::with_label(algorithm, ktri.encrypted_key.clone(), label).with_implicit_rejection();
                    Ok((request, None))
                });
                Some(request)
            }
            RecipientInfo::KeyAgree(kari) => {
                let named = kari.recipient_encrypted_keys.iter().find(|key| identifies(&key.rid, recipient));
                let key = named.filter(|_| may_agree(recipient))?;
                let agreement = Agreement::read(kari, &key.encrypted_key, recipient, provider, &mut budget);
                Some(agreement.map(|(request, agreement)| (request, Some(agreement))))
            }
            RecipientInfo::Kek(_) | RecipientInfo::Password(_) | RecipientInfo::Other(_) => None,
        });
        let (request, agreement) = found.ok_or(CmsError::NotARecipient)??;
        let prepared = self.content.prepare(self.legacy, provider, &self.limits)?;
        self.pending = Some(Pending { prepared, agreement });
        Ok(request)
    }

    /// Decrypts the content with what the key answered.
    ///
    /// A rejected or badly sized content key is replaced, in constant time, by the substitute: the same work follows and fails
    /// (or, once in about 256 times without authentication, gives noise, as a damaged message would), so that padding cannot be told
    /// from content.
    ///
    /// # Errors
    /// [`CmsError::Decryption`] for every failure but [`CmsError::KeyUnavailable`], which is worth a retry, and what is the same whatever
    /// is encrypted: [`CmsError::KeyUnsuitable`], and [`CmsError::Crypto`] for an algorithm that the provider lacks or may not use.
    pub fn finish(self, unwrapped: Result<SecretBytes, UnwrapError>, provider: &CryptoProvider) -> Result<SecretBytes, CmsError> {
        let (content, prepared, key) = self.content_key(unwrapped, provider)?;
        content.decrypt(&prepared, key.as_ref(), provider)
    }

    /// The same, with the ciphertext in the place of a content that does not decrypt: who answers strangers goes on with it as with a
    /// content, and the answer's time says nothing of the padding.
    ///
    /// # Errors
    /// Those of [`Opening::finish`] that say nothing of what is encrypted.
    #[cfg(feature = "scep")]
    pub(crate) fn finish_or_ciphertext(
        self,
        unwrapped: Result<SecretBytes, UnwrapError>,
        provider: &CryptoProvider,
    ) -> Result<Decrypted, CmsError> {
        let (content, prepared, key) = self.content_key(unwrapped, provider)?;
        Ok(content.decrypt_or_keep(&prepared, key.as_ref(), provider))
    }

    fn content_key(
        self,
        unwrapped: Result<SecretBytes, UnwrapError>,
        provider: &CryptoProvider,
    ) -> Result<(Content, Prepared, Option<SecretBytes>), CmsError> {
        let Pending { prepared, agreement } = self.pending.ok_or(CmsError::NotARecipient)?;
        let answer = rejected_or_unavailable(unwrapped)?;
        let key = match agreement {
            Some(agreement) => agreement.content_key(answer.as_ref(), &prepared.substitute, provider)?,
            None => answer,
        };
        Ok((self.content, prepared, key))
    }

    /// Decrypts with a key that was shared beforehand (KEKRecipientInfo, AES key wrap) and that the message names by `key_identifier`.
    ///
    /// # Errors
    /// [`CmsError::NotARecipient`], [`CmsError::UnsupportedAlgorithm`], [`CmsError::Crypto`] when `kek` is not as long as the message says,
    /// [`CmsError::Decryption`] for all that the key shows.
    pub fn decrypt_with_kek(self, key_identifier: &[u8], kek: &SecretBytes, provider: &CryptoProvider) -> Result<SecretBytes, CmsError> {
        let kekri = self.recipient_infos.iter().find_map(|info| match info {
            RecipientInfo::Kek(kekri) if kekri.key_identifier == key_identifier => Some(kekri),
            _ => None,
        });
        let kekri = kekri.ok_or(CmsError::NotARecipient)?;
        let prepared = self.content.prepare(self.legacy, provider, &self.limits)?;
        let key = key_wrap::decrypt(kekri, kek, provider)?;
        self.content.decrypt(&prepared, key.as_ref(), provider)
    }

    /// Decrypts with a password (PasswordRecipientInfo, PBKDF2). CPU work: as many rounds as the sender chose, for each password recipient.
    ///
    /// The rounds of all password recipients together are charged to [`Limits::kdf_iterations`] before the first is derived.
    ///
    /// # Errors
    /// [`CmsError::NotARecipient`] without a password recipient, [`CmsError::Limit`], what is wrong with a recipient when no other is
    /// left to try, and [`CmsError::Decryption`] for a wrong password as for damage.
    pub fn decrypt_with_password(self, password: &Password, provider: &CryptoProvider) -> Result<SecretBytes, CmsError> {
        let mut budget = Budget::new(&self.limits);
        let prepared = self.content.prepare(self.legacy, provider, &self.limits)?;
        let (mut candidates, mut refused) = (Vec::new(), None);
        for info in &self.recipient_infos {
            let RecipientInfo::Password(pwri) = info else { continue };
            match PasswordUnwrap::read(pwri, self.legacy, provider, &mut budget) {
                Ok(candidate) => candidates.push(candidate),
                Err(error @ CmsError::Limit(_)) => return Err(error),
                Err(error) => refused = Some(error),
            }
        }
        if candidates.is_empty() {
            return Err(refused.unwrap_or(CmsError::NotARecipient));
        }
        let mut key = None;
        for candidate in &candidates {
            key = candidate.content_key(password, provider)?;
            if key.is_some() {
                break;
            }
        }
        self.content.decrypt(&prepared, key.as_ref(), provider)
    }
}

/// Whether key transport can be for this certificate: a message must not have a key asked for what it is not for.
fn may_decrypt(recipient: &Certificate) -> bool {
    use PublicKeyAlgorithm as K;
    match recipient.public_key_algorithm() {
        K::RsaPss { .. } | K::EcP256 | K::EcP384 | K::EcP521 | K::Ed25519 => false,
        K::Other(algorithm) => algorithm.as_str() != oids::X25519,
        K::Rsa { .. } | K::Unknown => true,
    }
}

/// Whether a key agreement can be.
fn may_agree(recipient: &Certificate) -> bool {
    use PublicKeyAlgorithm as K;
    !matches!(recipient.public_key_algorithm(), K::Rsa { .. } | K::RsaPss { .. } | K::Ed25519)
}

/// The key transport of this certificate's holder.
fn key_trans<'a>(info: &'a RecipientInfo, recipient: &Certificate) -> Option<&'a KeyTransRecipientInfo> {
    match info {
        RecipientInfo::KeyTrans(ktri) if identifies(&ktri.rid, recipient) => Some(ktri),
        _ => None,
    }
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
