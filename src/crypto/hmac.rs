//! HMAC and PBKDF2 for the digests that a backend has, but not inside its own HMAC and PBKDF2.

use zeroize::Zeroizing;

use super::{CryptoError, Digest, DigestAlgorithm, DigestOutput, Hmac};

/// HMAC (RFC 2104 section 2) over a digest slot.
pub(super) fn hmac_over_digest(
    digest: &dyn Digest,
    algorithm: DigestAlgorithm,
    key: &[u8],
    parts: &[&[u8]],
) -> Result<DigestOutput, CryptoError> {
    let block_len = algorithm.block_len();
    let mut inner = Zeroizing::new([0_u8; 128]);
    if key.len() > block_len {
        let hashed = Zeroizing::new(digest.digest(algorithm, &[key])?);
        inner[..(*hashed).as_ref().len()].copy_from_slice((*hashed).as_ref());
    } else {
        inner[..key.len()].copy_from_slice(key);
    }
    let mut outer = inner.clone();
    inner.iter_mut().for_each(|byte| *byte ^= 0x36);
    outer.iter_mut().for_each(|byte| *byte ^= 0x5c);
    let mut inner_parts = Vec::with_capacity(parts.len() + 1);
    inner_parts.push(&inner[..block_len]);
    inner_parts.extend_from_slice(parts);
    let inner_digest = Zeroizing::new(digest.digest(algorithm, &inner_parts)?);
    digest.digest(algorithm, &[&outer[..block_len], (*inner_digest).as_ref()])
}

/// PBKDF2 (RFC 8018 section 5.2) over an HMAC slot.
pub(super) fn pbkdf2_over_hmac(
    hmac: &dyn Hmac,
    prf: DigestAlgorithm,
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    out: &mut [u8],
) -> Result<(), CryptoError> {
    if iterations == 0 {
        return Err(CryptoError::InvalidArgument("PBKDF2 needs at least one iteration"));
    }
    for (index, block) in (1_u32..).zip(out.chunks_mut(prf.output_len())) {
        let mut u = Zeroizing::new(hmac.hmac(prf, password, &[salt, &index.to_be_bytes()])?);
        block.copy_from_slice(&(*u).as_ref()[..block.len()]);
        for _ in 1..iterations {
            *u = hmac.hmac(prf, password, &[(*u).as_ref()])?;
            for (byte, next) in block.iter_mut().zip((*u).as_ref()) {
                *byte ^= next;
            }
        }
    }
    Ok(())
}
