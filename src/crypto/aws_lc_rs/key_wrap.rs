//! AES key wrap (RFC 3394): aws-lc-rs's own for 128 and 256 bits; for 192 bits, which it leaves out, over its AES block function.

use aws_lc_rs::cipher::{self, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::key_wrap::{AES_128, AES_256, AesKek, KeyWrap as _};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::is_fips;
use crate::crypto::{CryptoError, KeyWrap};
use crate::secret::SecretBytes;

/// The default initial value (RFC 3394 section 2.2.3.1).
const INITIAL_VALUE: [u8; 8] = [0xa6; 8];

#[derive(Debug)]
pub(in crate::crypto) struct AwsLcKeyWrap;

enum Kek {
    Native(AesKek),
    Aes192,
}

impl Kek {
    fn new(kek: &[u8]) -> Result<Self, CryptoError> {
        let native = match kek.len() {
            16 => AesKek::new(&AES_128, kek),
            32 => AesKek::new(&AES_256, kek),
            24 => return Ok(Self::Aes192),
            _ => return Err(CryptoError::InvalidArgument("the key encryption key is not 16, 24 or 32 bytes long")),
        };
        native.map(Self::Native).map_err(|_| CryptoError::Failed)
    }
}

impl KeyWrap for AwsLcKeyWrap {
    fn wrap(&self, kek: &[u8], key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        if key.len() < 16 || !key.len().is_multiple_of(8) {
            return Err(CryptoError::InvalidArgument("the key to wrap is not a multiple of 8 bytes, 16 at least"));
        }
        match Kek::new(kek)? {
            Kek::Native(native) => {
                let mut out = vec![0; key.len() + 8];
                native.wrap(key, &mut out).map_err(|_| CryptoError::Failed)?;
                Ok(out)
            }
            Kek::Aes192 => wrap_192(kek, key),
        }
    }

    fn unwrap(&self, kek: &[u8], wrapped: &[u8]) -> Result<SecretBytes, CryptoError> {
        let kek_kind = Kek::new(kek)?;
        if wrapped.len() < 24 || !wrapped.len().is_multiple_of(8) {
            return Err(CryptoError::Failed);
        }
        match kek_kind {
            Kek::Native(native) => {
                // The library wants room for the input's length.
                let mut out = SecretBytes::zeroed(wrapped.len());
                let len = native.unwrap(wrapped, out.secret_bytes_mut()).map_err(|_| CryptoError::Failed)?.len();
                out.truncate(len);
                Ok(out)
            }
            Kek::Aes192 => unwrap_192(kek, wrapped),
        }
    }

    fn fips(&self) -> bool {
        is_fips()
    }
}

/// RFC 3394 section 2.2.1, index based.
fn wrap_192(kek: &[u8], key: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let aes = UnboundCipherKey::new(&cipher::AES_192, kek).and_then(EncryptingKey::ecb).map_err(|_| CryptoError::Failed)?;
    let mut out = Zeroizing::new([&INITIAL_VALUE[..], key].concat());
    let mut t = 0_u64;
    let mut block = Zeroizing::new([0_u8; 16]);
    for _ in 0..6 {
        let (a, r) = out.split_at_mut(8);
        for r in r.chunks_exact_mut(8) {
            t += 1;
            block[..8].copy_from_slice(a);
            block[8..].copy_from_slice(r);
            aes.less_safe_encrypt(&mut block[..], EncryptionContext::None).map_err(|_| CryptoError::Failed)?;
            for ((a, new), t) in a.iter_mut().zip(&block[..8]).zip(t.to_be_bytes()) {
                *a = new ^ t;
            }
            r.copy_from_slice(&block[8..]);
        }
    }
    Ok(core::mem::take(&mut *out))
}

/// RFC 3394 section 2.2.2, index based.
fn unwrap_192(kek: &[u8], wrapped: &[u8]) -> Result<SecretBytes, CryptoError> {
    let aes = UnboundCipherKey::new(&cipher::AES_192, kek).and_then(DecryptingKey::ecb).map_err(|_| CryptoError::Failed)?;
    let (a, r) = wrapped.split_first_chunk::<8>().ok_or(CryptoError::Failed)?;
    let mut a = *a;
    let mut out = SecretBytes::copy_from(r);
    let mut t = 6 * (r.len() / 8) as u64;
    let mut block = Zeroizing::new([0_u8; 16]);
    for _ in 0..6 {
        for r in out.secret_bytes_mut().chunks_exact_mut(8).rev() {
            for ((byte, a), t) in block.iter_mut().zip(a).zip(t.to_be_bytes()) {
                *byte = a ^ t;
            }
            block[8..].copy_from_slice(r);
            aes.decrypt(&mut block[..], DecryptionContext::None).map_err(|_| CryptoError::Failed)?;
            a.copy_from_slice(&block[..8]);
            r.copy_from_slice(&block[8..]);
            t -= 1;
        }
    }
    if bool::from(a.ct_eq(&INITIAL_VALUE)) { Ok(out) } else { Err(CryptoError::Failed) }
}
