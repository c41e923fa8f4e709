//! The password of an imported PFX, encrypted straight to the connector's RSA key.

use crate::codec::der::{Rules, single};
use crate::crypto::{CryptoProvider, DecryptionKey, DigestAlgorithm, KeyTransportAlgorithm, UnwrapError, UnwrapRequest};
use crate::limits::{Budget, Limits};
use crate::message::cms_error::{CmsError, rejected_or_unavailable};
use crate::secret::{Password, SecretBytes};
use crate::terms::PaddingScheme;

/// Whether the paddings that Microsoft's import tool has retired are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LegacyPadding {
    /// OAEP with SHA-2 only.
    #[default]
    Refuse,
    /// Also PKCS#1 v1.5 and OAEP with SHA-1, for old records. PKCS#1 v1.5 invites padding oracles: whoever can feed the queue and sees
    /// the time of an answer attacks the key.
    DangerouslyAllowPkcs1AndOaepSha1,
}

fn transport(scheme: PaddingScheme, legacy: LegacyPadding) -> Result<KeyTransportAlgorithm, CmsError> {
    let refuse = legacy != LegacyPadding::DangerouslyAllowPkcs1AndOaepSha1;
    match scheme {
        PaddingScheme::Pkcs1 if refuse => Err(CmsError::WeakAlgorithm("pkcs1 (LegacyPadding::DangerouslyAllowPkcs1AndOaepSha1)")),
        PaddingScheme::OaepSha1 if refuse => Err(CmsError::WeakAlgorithm("oaepSha1 (LegacyPadding::DangerouslyAllowPkcs1AndOaepSha1)")),
        PaddingScheme::Pkcs1 => Ok(KeyTransportAlgorithm::RsaPkcs1v15),
        PaddingScheme::OaepSha1 => Ok(KeyTransportAlgorithm::RsaOaepSha1),
        PaddingScheme::OaepSha256 => Ok(KeyTransportAlgorithm::RsaOaepSha256),
        PaddingScheme::OaepSha384 => Ok(KeyTransportAlgorithm::RsaOaepSha384),
        PaddingScheme::OaepSha512 => Ok(KeyTransportAlgorithm::RsaOaepSha512),
    }
}

/// The longest password in bytes that a key of `modulus_bytes` carries (RFC 8017 sections 7.1.1 and 7.2.1); `None` when it carries none.
#[must_use]
pub fn max_password_len(scheme: PaddingScheme, modulus_bytes: usize) -> Option<usize> {
    let overhead = match scheme {
        PaddingScheme::Pkcs1 => 11,
        PaddingScheme::OaepSha1 => 2 * DigestAlgorithm::Sha1.output_len() + 2,
        PaddingScheme::OaepSha256 => 2 * DigestAlgorithm::Sha256.output_len() + 2,
        PaddingScheme::OaepSha384 => 2 * DigestAlgorithm::Sha384.output_len() + 2,
        PaddingScheme::OaepSha512 => 2 * DigestAlgorithm::Sha512.output_len() + 2,
    };
    modulus_bytes.checked_sub(overhead).filter(|len| *len > 0)
}

/// Encrypts a PFX password to a connector's public key (SubjectPublicKeyInfo DER), as the upload tool does. The bytes are taken as they are.
///
/// # Errors
/// [`CmsError::PasswordTooLong`] names the most that fits, [`CmsError::WeakAlgorithm`] for retired paddings without the opt-in,
/// [`CmsError::Certificate`] for a key that is not RSA, [`CmsError::MissingSlot`] and [`CmsError::Crypto`] from the provider.
pub fn encrypt_password(
    provider: &CryptoProvider,
    spki: &[u8],
    scheme: PaddingScheme,
    legacy: LegacyPadding,
    password: &Password,
) -> Result<Vec<u8>, CmsError> {
    let transport = transport(scheme, legacy)?;
    let modulus_bytes = rsa_modulus_bytes(spki).ok_or(CmsError::Certificate("the key is not RSA"))?;
    let max = max_password_len(scheme, modulus_bytes).ok_or(CmsError::Certificate("the key is too small for this padding"))?;
    if password.secret_bytes().len() > max {
        return Err(CmsError::PasswordTooLong { max });
    }
    Ok(provider.key_transport()?.encrypt(transport, spki, password.secret_bytes())?)
}

/// Modulus length of an RSA SubjectPublicKeyInfo in bytes.
fn rsa_modulus_bytes(spki: &[u8]) -> Option<usize> {
    let mut budget = Budget::new(&Limits::default());
    let mut inner = single(spki, Rules::Der, &mut budget).ok()?.inner().ok()?;
    inner.sequence(&mut budget).ok()?;
    let key = inner.any(&mut budget).ok()?.bit_octets().ok()?;
    let mut key = single(key, Rules::Der, &mut budget).ok()?.inner().ok()?;
    let modulus = key.any(&mut budget).ok()?.integer().ok()?;
    Some(modulus.len() - modulus.iter().take_while(|octet| **octet == 0).count())
}

/// A password that came through a private key. Whether the decryption worked is not told: a wrong one fails later, at the PFX's MAC,
/// as a mistyped one would.
#[derive(Debug)]
pub struct TransportedPassword(Password);

impl TransportedPassword {
    /// The password to open the PFX with.
    #[must_use]
    pub fn password(&self) -> &Password {
        &self.0
    }

    /// Takes the password out.
    #[must_use]
    pub fn into_password(self) -> Password {
        self.0
    }
}

/// A password that is being decrypted.
#[derive(Debug)]
pub struct PasswordOpening {
    request: UnwrapRequest,
    substitute: SecretBytes,
}

impl PasswordOpening {
    /// Prepares the decryption; the substitute password is drawn now, before anything is decrypted.
    ///
    /// # Errors
    /// [`CmsError::WeakAlgorithm`] for retired paddings without the opt-in, [`CmsError::MissingSlot`], [`CmsError::Crypto`].
    pub fn new(ciphertext: Vec<u8>, scheme: PaddingScheme, legacy: LegacyPadding, provider: &CryptoProvider) -> Result<Self, CmsError> {
        let transport = transport(scheme, legacy)?;
        provider.permits_decryption(transport)?;
        let request = UnwrapRequest::new(transport, ciphertext);
        // 24 characters of 6 random bits each: not to be guessed, and text like a real password, since the reader of the PFX tries more
        // forms of a password that is text: other bytes would be done with sooner.
        let mut substitute = SecretBytes::zeroed(24);
        provider.random()?.fill(substitute.secret_bytes_mut())?;
        for byte in substitute.secret_bytes_mut() {
            *byte = b'0' + (*byte & 63);
        }
        Ok(Self { request, substitute })
    }

    /// What to ask the key.
    #[must_use]
    pub fn unwrap_request(&self) -> &UnwrapRequest {
        &self.request
    }

    /// The password, or the substitute when the key rejected the ciphertext: the caller's next steps are the same and end in the same error.
    ///
    /// # Errors
    /// [`CmsError::KeyUnavailable`] only, worth a retry.
    pub fn finish(self, unwrapped: Result<SecretBytes, UnwrapError>) -> Result<TransportedPassword, CmsError> {
        let password = rejected_or_unavailable(unwrapped)?.unwrap_or(self.substitute);
        Ok(TransportedPassword(Password::from(password)))
    }

    /// Asks the key and finishes.
    ///
    /// # Errors
    /// As for [`PasswordOpening::finish`].
    pub async fn decrypt(self, key: &dyn DecryptionKey) -> Result<TransportedPassword, CmsError> {
        let unwrapped = key.unwrap(&self.request).await;
        self.finish(unwrapped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_substitute_is_text_like_a_password_so_that_the_reader_tries_as_many_forms_of_it() {
        let provider = CryptoProvider::ring_and_aws_lc_rs();
        let open = || PasswordOpening::new(vec![0; 256], PaddingScheme::OaepSha512, LegacyPadding::Refuse, &provider).unwrap();
        let substitutes: Vec<_> = (0..50).map(|_| open().finish(Err(UnwrapError::Rejected)).unwrap().into_password()).collect();
        for substitute in &substitutes {
            assert!(substitute.secret_str().is_some_and(|text| text.len() == 24 && text.chars().all(|c| c.is_ascii_graphic())));
        }
        assert!(substitutes.windows(2).all(|pair| pair[0].secret_bytes() != pair[1].secret_bytes()));
    }

    #[test]
    fn the_longest_password_follows_key_and_hash() {
        let table = [
            (128, [Some(86), Some(62), Some(30), None, Some(117)]),
            (256, [Some(214), Some(190), Some(158), Some(126), Some(245)]),
            (384, [Some(342), Some(318), Some(286), Some(254), Some(373)]),
            (512, [Some(470), Some(446), Some(414), Some(382), Some(501)]),
        ];
        let schemes = [
            PaddingScheme::OaepSha1,
            PaddingScheme::OaepSha256,
            PaddingScheme::OaepSha384,
            PaddingScheme::OaepSha512,
            PaddingScheme::Pkcs1,
        ];
        for (modulus, lens) in table {
            for (scheme, len) in schemes.into_iter().zip(lens) {
                assert_eq!(max_password_len(scheme, modulus), len, "{scheme:?} {modulus}");
            }
        }
    }

    #[test]
    fn retired_paddings_need_the_alarming_opt_in() {
        for scheme in [PaddingScheme::Pkcs1, PaddingScheme::OaepSha1] {
            assert!(matches!(transport(scheme, LegacyPadding::Refuse), Err(CmsError::WeakAlgorithm(_))));
            assert!(transport(scheme, LegacyPadding::DangerouslyAllowPkcs1AndOaepSha1).is_ok());
        }
    }
}
