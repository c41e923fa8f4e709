//! What is encrypted: a content without integrity, or an authenticated one.

use subtle::{Choice, ConditionallySelectable as _};

use super::LegacyCiphers;
use super::algorithm::{AeadCipher, Cipher};
use crate::codec::cms::{AuthEnvelopedData, EncryptedContentInfo, SignedAttributes, oids};
use crate::codec::der::{Rules, single};
use crate::crypto::{CryptoError, CryptoProvider};
use crate::ids::Oid;
use crate::limits::{Budget, Limits};
use crate::message::cms_error::CmsError;
use crate::secret::SecretBytes;

/// An encrypted content with what decrypting it takes beside the key.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) info: EncryptedContentInfo,
    authentication: Option<Authentication>,
}

#[derive(Debug)]
struct Authentication {
    mac: Vec<u8>,
    /// The attributes as received under the tag of a SET; empty without them (RFC 5083 section 2.2).
    additional_data: Vec<u8>,
}

impl Content {
    pub(super) fn unauthenticated(info: EncryptedContentInfo) -> Self {
        Self { info, authentication: None }
    }

    /// Checks the attributes: they must be there when the content is not id-data, and must then repeat its type (RFC 5083 section 2.1).
    pub(super) fn authenticated(enveloped: AuthEnvelopedData) -> Result<Self, CmsError> {
        let info = enveloped.auth_encrypted_content_info;
        match &enveloped.auth_attrs {
            Some(attributes) => check_content_type(attributes, &info.content_type)?,
            None if info.content_type.as_str() == oids::DATA => {}
            None => return Err(CmsError::Malformed("a content other than id-data is authenticated without attributes")),
        }
        let additional_data = enveloped.auth_attrs.map(|attributes| attributes.to_be_verified()).unwrap_or_default();
        Ok(Self { info, authentication: Some(Authentication { mac: enveloped.mac, additional_data }) })
    }

    pub(super) fn is_authenticated(&self) -> bool {
        self.authentication.is_some()
    }

    /// The cipher of a content without integrity.
    pub(super) fn cipher(&self, budget: &mut Budget) -> Result<Cipher, CmsError> {
        Cipher::read(&self.info.content_encryption_algorithm, "content cipher", budget)
    }

    /// Everything that can be refused without the key, and the substitute key, drawn before the key is asked.
    pub(super) fn prepare(&self, legacy: LegacyCiphers, provider: &CryptoProvider, limits: &Limits) -> Result<Prepared, CmsError> {
        let budget = &mut Budget::new(limits);
        let (decryption, key_len) = match &self.authentication {
            Some(Authentication { mac, .. }) => {
                let cipher = AeadCipher::read(&self.info.content_encryption_algorithm, mac, budget)?;
                provider.aead()?;
                let key_len = cipher.algorithm.key_len();
                (Decryption::Authenticated(cipher), key_len)
            }
            None => {
                let cipher = self.cipher(budget)?;
                cipher.check(legacy, provider)?;
                let key_len = cipher.key_len;
                (Decryption::Unauthenticated(cipher), key_len)
            }
        };
        if self.info.encrypted_content.is_none() {
            return Err(CmsError::Malformed("there is no encrypted content"));
        }
        let mut substitute = SecretBytes::zeroed(key_len);
        provider.random()?.fill(substitute.secret_bytes_mut())?;
        Ok(Prepared { decryption, substitute })
    }

    /// Decrypts with `key`, or with the substitute where there is none of the right length. An authenticated content comes out
    /// only after its tag was found right.
    pub(super) fn decrypt(
        &self,
        prepared: &Prepared,
        key: Option<&SecretBytes>,
        provider: &CryptoProvider,
    ) -> Result<SecretBytes, CmsError> {
        let key = choose_key(&prepared.substitute, key);
        let content = self.info.encrypted_content.as_deref().unwrap_or_default();
        match (&prepared.decryption, &self.authentication) {
            (Decryption::Unauthenticated(cipher), None) => cipher.decrypt(&key, content, provider),
            (Decryption::Authenticated(cipher), Some(Authentication { mac, additional_data })) => {
                let sealed = [content, mac].concat();
                provider.aead()?.open(cipher.algorithm, key.secret_bytes(), &cipher.nonce, additional_data, &sealed).map_err(|error| {
                    match error {
                        // An authenticated cipher that the provider lacks, which no key changes.
                        CryptoError::Unsupported(_) | CryptoError::NotApproved { .. } => CmsError::Crypto(error),
                        _ => CmsError::Decryption,
                    }
                })
            }
            _ => Err(CmsError::Decryption),
        }
    }

    /// The same for who must go on with as much work when the decryption failed.
    #[cfg(feature = "scep")]
    pub(super) fn decrypt_or_keep(self, prepared: &Prepared, key: Option<&SecretBytes>, provider: &CryptoProvider) -> Decrypted {
        match self.decrypt(prepared, key, provider) {
            Ok(content) => Decrypted::Content(content),
            Err(_) => Decrypted::Ciphertext(self.info.encrypted_content.unwrap_or_default()),
        }
    }
}

/// What is left of a decryption whose outcome must not show.
#[cfg(feature = "scep")]
#[derive(Debug)]
pub(crate) enum Decrypted {
    /// The content, or what came out under a wrong key and looks padded.
    Content(SecretBytes),
    /// Nothing came out: as many bytes to go on with.
    Ciphertext(Vec<u8>),
}

#[cfg(feature = "scep")]
impl Decrypted {
    /// The bytes to go on with.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Content(content) => content.secret_bytes(),
            Self::Ciphertext(ciphertext) => ciphertext,
        }
    }

    /// Whether they can be what the sender encrypted.
    pub(crate) fn is_content(&self) -> bool {
        matches!(self, Self::Content(_))
    }
}

/// How to decrypt, fixed before any key is asked.
#[derive(Debug)]
pub(super) struct Prepared {
    decryption: Decryption,
    pub(super) substitute: SecretBytes,
}

#[derive(Debug)]
enum Decryption {
    Unauthenticated(Cipher),
    Authenticated(AeadCipher),
}

fn check_content_type(attributes: &SignedAttributes, content_type: &Oid) -> Result<(), CmsError> {
    let mut found = attributes.attributes.iter().filter(|attribute| attribute.attr_type.as_str() == oids::CONTENT_TYPE);
    let (Some(attribute), None) = (found.next(), found.next()) else {
        return Err(CmsError::Malformed("the authenticated attributes name no content type, or several"));
    };
    let [value] = attribute.values.as_slice() else {
        return Err(CmsError::Malformed("the authenticated content type has not one value"));
    };
    let named = single(value, Rules::Ber, &mut Budget::new(&Limits::default()))?.oid()?;
    if named.as_ref() != Some(content_type) {
        return Err(CmsError::Malformed("the authenticated content type is not that of the content"));
    }
    Ok(())
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
