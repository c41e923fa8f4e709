//! The ciphers of old PFX files and old devices: 3DES, single DES (to decrypt only), RC2 and RC4, put in front of a slot that serves AES.
//!
//! Whether one may be *used* is run-time policy of the callers; this only says how.

use std::sync::Arc;

use super::{ContentCipher, ContentCipherAlgorithm, CryptoError};
use crate::secret::SecretBytes;

/// `modern` with the legacy ciphers added when the feature `legacy-ciphers` is on; without it they are errors that name the feature.
pub(super) fn with_legacy_ciphers(modern: Arc<dyn ContentCipher>) -> Arc<dyn ContentCipher> {
    Arc::new(WithLegacyCiphers { modern })
}

/// One slot for both: legacy algorithms are done here, all others by `modern`.
#[derive(Debug)]
struct WithLegacyCiphers {
    modern: Arc<dyn ContentCipher>,
}

impl ContentCipher for WithLegacyCiphers {
    fn supports(&self, algorithm: ContentCipherAlgorithm) -> bool {
        if is_legacy(algorithm) { backend::AVAILABLE } else { self.modern.supports(algorithm) }
    }

    fn check(&self, algorithm: ContentCipherAlgorithm) -> Result<(), CryptoError> {
        if is_legacy(algorithm) { backend::CHECK } else { self.modern.check(algorithm) }
    }

    fn encrypt(&self, algorithm: ContentCipherAlgorithm, key: &[u8], iv: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        if is_legacy(algorithm) {
            backend::encrypt(algorithm, key, iv, plaintext)
        } else {
            self.modern.encrypt(algorithm, key, iv, plaintext)
        }
    }

    fn decrypt(&self, algorithm: ContentCipherAlgorithm, key: &[u8], iv: &[u8], ciphertext: &[u8]) -> Result<SecretBytes, CryptoError> {
        if is_legacy(algorithm) {
            backend::decrypt(algorithm, key, iv, ciphertext)
        } else {
            self.modern.decrypt(algorithm, key, iv, ciphertext)
        }
    }

    fn fips(&self) -> bool {
        // Of the algorithms that FIPS approves: none of those done here is among them.
        self.modern.fips()
    }
}

fn is_legacy(algorithm: ContentCipherAlgorithm) -> bool {
    use ContentCipherAlgorithm as A;
    matches!(algorithm, A::DesEde3Cbc | A::DesCbc | A::Rc2Cbc { .. } | A::Rc4)
}

#[cfg(not(feature = "legacy-ciphers"))]
mod backend {
    use super::{ContentCipherAlgorithm, CryptoError, SecretBytes};

    pub(super) const AVAILABLE: bool = false;
    pub(super) const CHECK: Result<(), CryptoError> = Err(OFF);
    const OFF: CryptoError = CryptoError::Unsupported("3DES, DES, RC2 and RC4 without the feature `legacy-ciphers`");

    pub(super) fn encrypt(_: ContentCipherAlgorithm, _: &[u8], _: &[u8], _: &[u8]) -> Result<Vec<u8>, CryptoError> {
        Err(OFF)
    }

    pub(super) fn decrypt(_: ContentCipherAlgorithm, _: &[u8], _: &[u8], _: &[u8]) -> Result<SecretBytes, CryptoError> {
        Err(OFF)
    }
}

#[cfg(feature = "legacy-ciphers")]
mod backend {
    use cbc::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, consts::U8};
    use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, InnerIvInit as _, KeyInit as _, StreamCipher as _};
    use des::{Des, TdesEde2, TdesEde3};
    use rc2::Rc2;
    use rc4::Rc4;

    use super::{ContentCipherAlgorithm, CryptoError, SecretBytes};
    use crate::crypto::padding::{pad, unpad};

    pub(super) const AVAILABLE: bool = true;
    pub(super) const CHECK: Result<(), CryptoError> = Ok(());
    const BLOCK: u8 = 8;

    const KEY_LEN: CryptoError = CryptoError::InvalidArgument("the key has the wrong length for the legacy cipher");
    const IV_LEN: CryptoError = CryptoError::InvalidArgument("the IV of 3DES, DES and RC2 is 8 bytes long, RC4 has none");

    pub(super) fn encrypt(algorithm: ContentCipherAlgorithm, key: &[u8], iv: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        match algorithm {
            ContentCipherAlgorithm::DesEde3Cbc if key.len() == 16 => {
                cbc_encrypt(TdesEde2::new_from_slice(key).map_err(|_| KEY_LEN)?, iv, plaintext)
            }
            ContentCipherAlgorithm::DesEde3Cbc => cbc_encrypt(TdesEde3::new_from_slice(key).map_err(|_| KEY_LEN)?, iv, plaintext),
            ContentCipherAlgorithm::DesCbc => Err(CryptoError::Unsupported("encrypting with single DES")),
            ContentCipherAlgorithm::Rc2Cbc { effective_bits } => cbc_encrypt(rc2(key, effective_bits)?, iv, plaintext),
            ContentCipherAlgorithm::Rc4 => {
                let mut out = plaintext.to_vec();
                rc4(key, iv)?.apply_keystream(&mut out);
                Ok(out)
            }
            _ => Err(CryptoError::Unsupported("this cipher")),
        }
    }

    pub(super) fn decrypt(algorithm: ContentCipherAlgorithm, key: &[u8], iv: &[u8], ciphertext: &[u8]) -> Result<SecretBytes, CryptoError> {
        match algorithm {
            ContentCipherAlgorithm::DesEde3Cbc if key.len() == 16 => {
                cbc_decrypt(TdesEde2::new_from_slice(key).map_err(|_| KEY_LEN)?, iv, ciphertext)
            }
            ContentCipherAlgorithm::DesEde3Cbc => cbc_decrypt(TdesEde3::new_from_slice(key).map_err(|_| KEY_LEN)?, iv, ciphertext),
            ContentCipherAlgorithm::DesCbc => cbc_decrypt(Des::new_from_slice(key).map_err(|_| KEY_LEN)?, iv, ciphertext),
            ContentCipherAlgorithm::Rc2Cbc { effective_bits } => cbc_decrypt(rc2(key, effective_bits)?, iv, ciphertext),
            ContentCipherAlgorithm::Rc4 => {
                let mut out = SecretBytes::copy_from(ciphertext);
                rc4(key, iv)?.apply_keystream(out.secret_bytes_mut());
                Ok(out)
            }
            _ => Err(CryptoError::Unsupported("this cipher")),
        }
    }

    /// RFC 2268 section 2: keys of 1 to 128 bytes, 1 to 1024 effective bits. The crate panics outside of that.
    fn rc2(key: &[u8], effective_bits: u16) -> Result<Rc2, CryptoError> {
        if !(1..=128).contains(&key.len()) {
            return Err(KEY_LEN);
        }
        if !(1..=1024).contains(&effective_bits) {
            return Err(CryptoError::InvalidArgument("RC2 has 1 to 1024 effective key bits"));
        }
        Ok(Rc2::new_with_eff_key_len(key, usize::from(effective_bits)))
    }

    fn rc4(key: &[u8], iv: &[u8]) -> Result<Rc4, CryptoError> {
        if !iv.is_empty() {
            return Err(IV_LEN);
        }
        Rc4::new_from_slice(key).map_err(|_| KEY_LEN)
    }

    fn cbc_encrypt<C>(cipher: C, iv: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError>
    where
        C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U8>,
    {
        let mut cbc = cbc::Encryptor::inner_iv_slice_init(cipher, iv).map_err(|_| IV_LEN)?;
        let mut out = pad(plaintext, BLOCK);
        let (blocks, _) = Array::slice_as_chunks_mut(&mut out);
        cbc.encrypt_blocks(blocks);
        Ok(out)
    }

    fn cbc_decrypt<C>(cipher: C, iv: &[u8], ciphertext: &[u8]) -> Result<SecretBytes, CryptoError>
    where
        C: BlockCipherDecrypt + BlockSizeUser<BlockSize = U8>,
    {
        let mut cbc = cbc::Decryptor::inner_iv_slice_init(cipher, iv).map_err(|_| IV_LEN)?;
        let mut out = SecretBytes::copy_from(ciphertext);
        let (blocks, rest) = Array::slice_as_chunks_mut(out.secret_bytes_mut());
        if !rest.is_empty() {
            return Err(CryptoError::Failed);
        }
        cbc.decrypt_blocks(blocks);
        unpad(out, BLOCK)
    }
}
