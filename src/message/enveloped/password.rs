//! Password recipients (RFC 5652 section 6.2.4, RFC 3211): PBKDF2 and the key wrap made for passwords.

use subtle::ConstantTimeEq as _;

use super::LegacyCiphers;
use super::algorithm::Cipher;
use crate::codec::cms::{AlgorithmIdentifier, PasswordRecipientInfo, Pbkdf2Params, oids};
use crate::codec::der::{Reader, Rules};
use crate::crypto::{ContentCipherAlgorithm, CryptoError, CryptoProvider, DigestAlgorithm};
use crate::limits::Budget;
use crate::message::cms_error::CmsError;
use crate::secret::{Password, SecretBytes};
use crate::terms::oid;

const PRFS: &[(&str, DigestAlgorithm)] = &[
    (oids::HMAC_WITH_SHA1, DigestAlgorithm::Sha1),
    (oids::HMAC_WITH_SHA224, DigestAlgorithm::Sha224),
    (oids::HMAC_WITH_SHA256, DigestAlgorithm::Sha256),
    (oids::HMAC_WITH_SHA384, DigestAlgorithm::Sha384),
    (oids::HMAC_WITH_SHA512, DigestAlgorithm::Sha512),
];

/// What comes before the content key in what is wrapped: its length and three check bytes.
const HEADER: usize = 4;

/// One password recipient, checked and not yet derived.
#[derive(Debug)]
pub(super) struct PasswordUnwrap<'a> {
    prf: DigestAlgorithm,
    salt: Vec<u8>,
    iterations: u32,
    cipher: Cipher,
    wrapped: &'a [u8],
}

impl<'a> PasswordUnwrap<'a> {
    /// Reads one and charges its rounds; nothing is derived.
    pub(super) fn read(
        recipient: &'a PasswordRecipientInfo,
        legacy: LegacyCiphers,
        provider: &CryptoProvider,
        budget: &mut Budget,
    ) -> Result<Self, CmsError> {
        provider.permits_password_recipients()?;
        let wrap = &recipient.key_encryption_algorithm;
        if wrap.algorithm.as_str() != oids::PWRI_KEK {
            return Err(CmsError::UnsupportedAlgorithm { role: "key wrap of a password recipient", oid: wrap.algorithm.clone() });
        }
        let parameters = wrap.parameters.as_deref().ok_or(CmsError::Malformed("id-alg-PWRI-KEK names no cipher"))?;
        let mut reader = Reader::new(parameters, Rules::Ber);
        let identifier = AlgorithmIdentifier::read(&mut reader, budget)?;
        reader.finish()?;
        // Only CBC ciphers are read: a stream cipher here would give the key away (RFC 3211 section 2.3.1). Single DES is for contents alone.
        let cipher = Cipher::read(&identifier, "cipher of id-alg-PWRI-KEK", budget)?;
        if cipher.algorithm == ContentCipherAlgorithm::DesCbc {
            return Err(CmsError::UnsupportedAlgorithm { role: "cipher of id-alg-PWRI-KEK", oid: identifier.algorithm });
        }
        cipher.check(legacy, provider)?;
        let block = cipher.algorithm.iv_len();
        let wrapped = recipient.encrypted_key.as_slice();
        if wrapped.len() < 2 * block || !wrapped.len().is_multiple_of(block) {
            return Err(CmsError::Malformed("a key wrapped for a password is not two or more blocks long"));
        }

        let derivation = recipient.key_derivation_algorithm.as_ref();
        let derivation = derivation.ok_or(CmsError::Malformed("a password recipient names no key derivation"))?;
        if derivation.algorithm.as_str() != oids::PBKDF2 {
            return Err(CmsError::UnsupportedAlgorithm { role: "key derivation", oid: derivation.algorithm.clone() });
        }
        let parameters = derivation.parameters.as_deref().ok_or(CmsError::Malformed("PBKDF2 has no parameters"))?;
        let parameters = Pbkdf2Params::decode(parameters, budget)?;
        if parameters.key_length.is_some_and(|len| len != cipher.key_len as u64) {
            return Err(CmsError::Malformed("PBKDF2 is told another key length than the cipher has"));
        }
        let prf = PRFS.iter().find(|(text, _)| *text == parameters.prf.as_str()).map(|(_, prf)| *prf);
        let prf = prf.ok_or(CmsError::UnsupportedAlgorithm { role: "PRF of PBKDF2", oid: parameters.prf })?;
        budget.charge_kdf(parameters.iteration_count.saturating_mul(blocks(cipher.key_len, prf)))?;
        let iterations = u32::try_from(parameters.iteration_count).ok().filter(|count| *count > 0);
        let iterations = iterations.ok_or(CmsError::Malformed("PBKDF2 has no or too many iterations"))?;
        Ok(Self { prf, salt: parameters.salt, iterations, cipher, wrapped })
    }

    /// Derives the key and unwraps; `None` when the check bytes do not fit.
    pub(super) fn content_key(&self, password: &Password, provider: &CryptoProvider) -> Result<Option<SecretBytes>, CmsError> {
        let mut kek = SecretBytes::zeroed(self.cipher.key_len);
        provider.pbkdf2()?.derive(self.prf, password.secret_bytes(), &self.salt, self.iterations, kek.secret_bytes_mut())?;
        let Some(padded) = unwrap(&self.cipher, &kek, self.wrapped, provider)? else { return Ok(None) };
        let Some(([len, check @ ..], rest)) = padded.secret_bytes().split_first_chunk::<HEADER>() else { return Ok(None) };
        let Some(start) = rest.first_chunk::<3>() else { return Ok(None) };
        let expected = start.map(|byte| !byte);
        let key = rest.get(..usize::from(*len));
        // The length is looked at only when the check bytes are right, and never beyond what is there.
        Ok(key.filter(|_| bool::from(check.ct_eq(&expected))).map(SecretBytes::copy_from))
    }
}

/// Iterations count once for each block of PBKDF2's output.
fn blocks(key_len: usize, prf: DigestAlgorithm) -> u64 {
    key_len.div_ceil(prf.output_len()) as u64
}

/// Encrypts the content key under a password.
pub(super) fn encrypt(
    password: &Password,
    iterations: u32,
    content_key: &SecretBytes,
    provider: &CryptoProvider,
) -> Result<PasswordRecipientInfo, CmsError> {
    provider.permits_password_recipients()?;
    // HMAC fills keys up with zeros: a password of zeros derives what the empty one does.
    if password.secret_bytes().iter().all(|byte| *byte == 0) {
        return Err(CryptoError::InvalidArgument("the password is empty, or zero bytes only, and would protect nothing").into());
    }
    let cipher = Cipher::generate(ContentCipherAlgorithm::Aes256Cbc, LegacyCiphers::Refuse, provider)?;
    let mut salt = vec![0; 16];
    provider.random()?.fill(&mut salt)?;
    let mut kek = SecretBytes::zeroed(cipher.key_len);
    provider.pbkdf2()?.derive(DigestAlgorithm::Sha256, password.secret_bytes(), &salt, iterations, kek.secret_bytes_mut())?;

    // Length, check bytes, key, random up to whole blocks.
    let (block, len) = (cipher.iv.len(), content_key.len());
    let mut padded = SecretBytes::zeroed((HEADER + len).next_multiple_of(block).max(2 * block));
    provider.random()?.fill(padded.secret_bytes_mut())?;
    let too_short = CryptoError::InvalidArgument("the content key is too short or too long for a password recipient");
    let Some((header, rest)) = padded.secret_bytes_mut().split_first_chunk_mut::<HEADER>() else { return Err(too_short.into()) };
    let (Ok(len_byte), Some(start), Some(key)) = (u8::try_from(len), content_key.secret_bytes().first_chunk::<3>(), rest.get_mut(..len))
    else {
        return Err(too_short.into());
    };
    *header = [len_byte, !start[0], !start[1], !start[2]];
    key.copy_from_slice(content_key.secret_bytes());

    let parameters = Pbkdf2Params { salt, iteration_count: u64::from(iterations), key_length: None, prf: oid(oids::HMAC_WITH_SHA256) };
    Ok(PasswordRecipientInfo {
        key_derivation_algorithm: Some(AlgorithmIdentifier::new(oid(oids::PBKDF2), Some(parameters.encode()))),
        key_encryption_algorithm: AlgorithmIdentifier::new(oid(oids::PWRI_KEK), Some(cipher.identifier()?.encode())),
        encrypted_key: wrap(&cipher, &kek, &padded, provider)?,
    })
}

/// RFC 3211 section 2.3.1: CBC twice, the second time with the last block of the first as the IV.
fn wrap(cipher: &Cipher, kek: &SecretBytes, padded: &SecretBytes, provider: &CryptoProvider) -> Result<Vec<u8>, CmsError> {
    let once = cbc_encrypt(cipher, kek, &cipher.iv, padded.secret_bytes(), provider)?;
    let (_, last) = once.split_at(once.len().saturating_sub(cipher.iv.len()));
    cbc_encrypt(cipher, kek, last, &once, provider)
}

/// RFC 3211 section 2.3.2. `None` when the cipher refuses.
fn unwrap(cipher: &Cipher, kek: &SecretBytes, wrapped: &[u8], provider: &CryptoProvider) -> Result<Option<SecretBytes>, CmsError> {
    let block = cipher.iv.len();
    let last_two = wrapped.len().checked_sub(2 * block).and_then(|start| wrapped.get(start..)?.split_at_checked(block));
    let Some((before_last, last)) = last_two else { return Ok(None) };
    // The last block of the first pass is the IV of the second.
    let Some(iv) = cbc_decrypt(cipher, kek, before_last, last, provider)? else { return Ok(None) };
    let Some(once) = cbc_decrypt(cipher, kek, iv.secret_bytes(), wrapped, provider)? else { return Ok(None) };
    cbc_decrypt(cipher, kek, &cipher.iv, once.secret_bytes(), provider)
}

/// CBC over whole blocks without padding: the slot pads, so its last block is cut off.
fn cbc_encrypt(cipher: &Cipher, key: &SecretBytes, iv: &[u8], blocks: &[u8], provider: &CryptoProvider) -> Result<Vec<u8>, CmsError> {
    let mut out = provider.content_cipher()?.encrypt(cipher.algorithm, key.secret_bytes(), iv, blocks)?;
    out.truncate(blocks.len());
    Ok(out)
}

/// CBC over whole blocks without padding: the slot wants padding, so a block of it is encrypted to the end first.
fn cbc_decrypt(
    cipher: &Cipher,
    key: &SecretBytes,
    iv: &[u8],
    blocks: &[u8],
    provider: &CryptoProvider,
) -> Result<Option<SecretBytes>, CmsError> {
    let slot = provider.content_cipher()?;
    let (_, last) = blocks.split_at(blocks.len().saturating_sub(cipher.iv.len()));
    let padding = slot.encrypt(cipher.algorithm, key.secret_bytes(), last, &[])?;
    Ok(slot.decrypt(cipher.algorithm, key.secret_bytes(), iv, &[blocks, &padding].concat()).ok())
}
