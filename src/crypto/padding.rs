//! PKCS#7 padding (RFC 5652 section 6.3), checked in the same time whatever is wrong.

use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _, ConstantTimeGreater as _};

use super::CryptoError;
use crate::secret::SecretBytes;

/// `plaintext` and its padding in one buffer that never grows.
pub(super) fn pad(plaintext: &[u8], block_len: u8) -> Vec<u8> {
    let block = usize::from(block_len);
    let fill = block_len - u8::try_from(plaintext.len() % block).expect("a remainder is under the block length");
    let len = plaintext.len() + usize::from(fill);
    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(plaintext);
    out.resize(len, fill);
    out
}

/// Cuts the padding off; looks at the whole last block in any case.
pub(super) fn unpad(mut padded: SecretBytes, block_len: u8) -> Result<SecretBytes, CryptoError> {
    let bytes = padded.secret_bytes();
    let Some((&fill, _)) = bytes.split_last() else { return Err(CryptoError::Failed) };
    if !bytes.len().is_multiple_of(usize::from(block_len)) {
        return Err(CryptoError::Failed);
    }
    let mut good = !fill.ct_eq(&0) & !fill.ct_gt(&block_len);
    for (distance, byte) in (0..block_len).zip(bytes.iter().rev()) {
        let in_padding: Choice = fill.ct_gt(&distance);
        good &= !in_padding | byte.ct_eq(&fill);
    }
    let cut = u8::conditional_select(&0, &fill, good);
    let len = bytes.len() - usize::from(cut);
    if bool::from(good) {
        padded.truncate(len);
        Ok(padded)
    } else {
        Err(CryptoError::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_goes_on_and_comes_off_for_every_length() {
        for len in 0..40 {
            let plaintext = vec![0x5a; len];
            let padded = pad(&plaintext, 16);
            assert_eq!(padded.len() % 16, 0);
            assert!(padded.len() > len);
            assert_eq!(unpad(padded.into(), 16).unwrap().secret_bytes(), plaintext);
        }
    }

    #[test]
    fn every_wrong_byte_of_the_padding_is_noticed() {
        for fill in 1..=8_u8 {
            let good = pad(&vec![0xee; usize::from(8 - fill)], 8);
            for position in 0..usize::from(fill) {
                let mut bad = good.clone();
                bad[7 - position] ^= 0x80;
                assert_eq!(unpad(bad.into(), 8).unwrap_err(), CryptoError::Failed, "{fill} {position}");
            }
        }
    }

    #[test]
    fn empty_partial_zero_and_overlong_paddings_fail() {
        for bad in [vec![], vec![1; 7], vec![0; 8], vec![9; 8], vec![255; 8]] {
            assert_eq!(unpad(bad.into(), 8).unwrap_err(), CryptoError::Failed);
        }
    }
}
