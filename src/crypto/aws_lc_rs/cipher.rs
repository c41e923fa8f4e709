//! AES-CBC and AES-GCM from aws-lc-rs.

use aws_lc_rs::aead;
use aws_lc_rs::cipher::{AES_128, AES_192, AES_256, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

use super::is_fips;
use crate::crypto::padding::{pad, unpad};
use crate::crypto::{Aead, AeadAlgorithm, ContentCipher, ContentCipherAlgorithm, CryptoError, SecureRandom};
use crate::secret::SecretBytes;

const BLOCK: u8 = 16;

#[derive(Debug)]
pub(in crate::crypto) struct AwsLcContentCipher;

impl AwsLcContentCipher {
    fn key(algorithm: ContentCipherAlgorithm, key: &[u8]) -> Result<UnboundCipherKey, CryptoError> {
        let algorithm = match algorithm {
            ContentCipherAlgorithm::Aes128Cbc => &AES_128,
            ContentCipherAlgorithm::Aes192Cbc => &AES_192,
            ContentCipherAlgorithm::Aes256Cbc => &AES_256,
            ContentCipherAlgorithm::DesEde3Cbc => return Err(CryptoError::Unsupported("3DES")),
            ContentCipherAlgorithm::DesCbc => return Err(CryptoError::Unsupported("single DES")),
            ContentCipherAlgorithm::Rc2Cbc { .. } => return Err(CryptoError::Unsupported("RC2")),
            ContentCipherAlgorithm::Rc4 => return Err(CryptoError::Unsupported("RC4")),
        };
        UnboundCipherKey::new(algorithm, key).map_err(|_| CryptoError::InvalidArgument("the AES key has the wrong length"))
    }

    fn iv(iv: &[u8]) -> Result<FixedLength<16>, CryptoError> {
        FixedLength::try_from(iv).map_err(|_| CryptoError::InvalidArgument("the AES-CBC IV is not 16 bytes long"))
    }
}

impl ContentCipher for AwsLcContentCipher {
    fn supports(&self, algorithm: ContentCipherAlgorithm) -> bool {
        use ContentCipherAlgorithm as A;
        matches!(algorithm, A::Aes128Cbc | A::Aes192Cbc | A::Aes256Cbc)
    }

    fn encrypt(&self, algorithm: ContentCipherAlgorithm, key: &[u8], iv: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let key = EncryptingKey::cbc(Self::key(algorithm, key)?).map_err(|_| CryptoError::Failed)?;
        let iv = EncryptionContext::Iv128(Self::iv(iv)?);
        let mut out = pad(plaintext, BLOCK);
        key.less_safe_encrypt(&mut out, iv).map_err(|_| CryptoError::Failed)?;
        Ok(out)
    }

    fn decrypt(&self, algorithm: ContentCipherAlgorithm, key: &[u8], iv: &[u8], ciphertext: &[u8]) -> Result<SecretBytes, CryptoError> {
        let key = DecryptingKey::cbc(Self::key(algorithm, key)?).map_err(|_| CryptoError::Failed)?;
        let iv = DecryptionContext::Iv128(Self::iv(iv)?);
        if ciphertext.is_empty() || !ciphertext.len().is_multiple_of(usize::from(BLOCK)) {
            return Err(CryptoError::Failed);
        }
        let mut out = SecretBytes::copy_from(ciphertext);
        key.decrypt(out.secret_bytes_mut(), iv).map_err(|_| CryptoError::Failed)?;
        unpad(out, BLOCK)
    }

    fn fips(&self) -> bool {
        is_fips()
    }
}

#[derive(Debug)]
pub(in crate::crypto) struct AwsLcAead;

impl AwsLcAead {
    fn key(algorithm: AeadAlgorithm, key: &[u8], nonce: &[u8]) -> Result<(aead::LessSafeKey, aead::Nonce), CryptoError> {
        let algorithm = match algorithm {
            AeadAlgorithm::Aes128Gcm => &aead::AES_128_GCM,
            AeadAlgorithm::Aes192Gcm => &aead::AES_192_GCM,
            AeadAlgorithm::Aes256Gcm => &aead::AES_256_GCM,
        };
        let key = aead::UnboundKey::new(algorithm, key).map_err(|_| CryptoError::InvalidArgument("the AES key has the wrong length"))?;
        let nonce = aead::Nonce::try_assume_unique_for_key(nonce)
            .map_err(|_| CryptoError::InvalidArgument("the AES-GCM nonce is not 12 bytes long"))?;
        Ok((aead::LessSafeKey::new(key), nonce))
    }
}

impl Aead for AwsLcAead {
    fn seal(&self, algorithm: AeadAlgorithm, key: &[u8], nonce: &[u8], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let (key, nonce) = Self::key(algorithm, key, nonce)?;
        // Room for the tag from the start: a growing buffer would leave plaintext behind.
        let mut out = Vec::with_capacity(plaintext.len() + 16);
        out.extend_from_slice(plaintext);
        key.seal_in_place_append_tag(nonce, aead::Aad::from(aad), &mut out).map_err(|_| CryptoError::Failed)?;
        Ok(out)
    }

    fn seal_with_random_nonce(
        &self,
        algorithm: AeadAlgorithm,
        key: &[u8],
        random: &dyn SecureRandom,
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<([u8; 12], Vec<u8>), CryptoError> {
        let native = match algorithm {
            AeadAlgorithm::Aes128Gcm => &aead::AES_128_GCM,
            AeadAlgorithm::Aes256Gcm => &aead::AES_256_GCM,
            // The library draws nonces for these two only.
            AeadAlgorithm::Aes192Gcm => {
                let mut nonce = [0; 12];
                random.fill(&mut nonce)?;
                return Ok((nonce, self.seal(algorithm, key, &nonce, aad, plaintext)?));
            }
        };
        let key =
            aead::RandomizedNonceKey::new(native, key).map_err(|_| CryptoError::InvalidArgument("the AES key has the wrong length"))?;
        // Room for the tag from the start: a growing buffer would leave plaintext behind.
        let mut out = Vec::with_capacity(plaintext.len() + 16);
        out.extend_from_slice(plaintext);
        let nonce = key.seal_in_place_append_tag(aead::Aad::from(aad), &mut out).map_err(|_| CryptoError::Failed)?;
        Ok((*nonce.as_ref(), out))
    }

    fn open(
        &self,
        algorithm: AeadAlgorithm,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        ciphertext_and_tag: &[u8],
    ) -> Result<SecretBytes, CryptoError> {
        let (key, nonce) = Self::key(algorithm, key, nonce)?;
        let mut out = SecretBytes::copy_from(ciphertext_and_tag);
        let len = key.open_in_place(nonce, aead::Aad::from(aad), out.secret_bytes_mut()).map_err(|_| CryptoError::Failed)?.len();
        out.truncate(len);
        Ok(out)
    }

    fn fips(&self) -> bool {
        is_fips()
    }
}
