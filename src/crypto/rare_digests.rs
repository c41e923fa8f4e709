//! Digests that few PFX files use and no backend has: SHA-512/224 and BLAKE2; and PBKDF2 where a backend would build it from single HMACs.
//!
//! Never reached in a FIPS module's place: the backends ask here only when they are none.

use super::{CryptoError, DigestAlgorithm, DigestOutput};

#[cfg(feature = "rare-digests")]
mod software {
    use blake2::{Blake2b512, Blake2s256};
    use sha2::{Digest, Sha512_224, Sha512_256};
    use zeroize::{Zeroize as _, Zeroizing};

    use super::{CryptoError, DigestAlgorithm, DigestOutput};

    fn unsupported<T>() -> Result<T, CryptoError> {
        Err(CryptoError::Unsupported("this digest"))
    }

    pub(in crate::crypto) fn digest(algorithm: DigestAlgorithm, parts: &[&[u8]]) -> Result<DigestOutput, CryptoError> {
        fn of<D: Digest>(parts: &[&[u8]]) -> Result<DigestOutput, CryptoError> {
            let mut state = D::new();
            parts.iter().for_each(|part| state.update(part));
            DigestOutput::new(&state.finalize())
        }
        match algorithm {
            DigestAlgorithm::Sha512_224 => of::<Sha512_224>(parts),
            DigestAlgorithm::Blake2b512 => of::<Blake2b512>(parts),
            DigestAlgorithm::Blake2s256 => of::<Blake2s256>(parts),
            _ => unsupported(),
        }
    }

    pub(in crate::crypto) fn pbkdf2(
        prf: DigestAlgorithm,
        password: &[u8],
        salt: &[u8],
        iterations: u32,
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        if iterations == 0 {
            return Err(CryptoError::InvalidArgument("PBKDF2 needs at least one iteration"));
        }
        match prf {
            DigestAlgorithm::Sha512_224 => pbkdf2_with::<Sha512_224>(prf, password, salt, iterations, out),
            DigestAlgorithm::Sha512_256 => pbkdf2_with::<Sha512_256>(prf, password, salt, iterations, out),
            DigestAlgorithm::Blake2b512 => pbkdf2_with::<Blake2b512>(prf, password, salt, iterations, out),
            DigestAlgorithm::Blake2s256 => pbkdf2_with::<Blake2s256>(prf, password, salt, iterations, out),
            _ => return unsupported(),
        }
        Ok(())
    }

    /// PBKDF2 (RFC 8018 section 5.2) with HMAC (RFC 2104): the two keyed states are made once, so a round costs two compressions.
    fn pbkdf2_with<D: Digest + Clone>(prf: DigestAlgorithm, password: &[u8], salt: &[u8], iterations: u32, out: &mut [u8]) {
        let block_len = prf.block_len();
        let mut pad = Zeroizing::new([0_u8; 128]);
        if password.len() > block_len {
            let mut hashed = D::digest(password);
            pad[..hashed.len()].copy_from_slice(&hashed);
            hashed.as_mut_slice().zeroize();
        } else {
            pad[..password.len()].copy_from_slice(password);
        }
        pad.iter_mut().for_each(|byte| *byte ^= 0x36);
        let inner = D::new_with_prefix(&pad[..block_len]);
        pad.iter_mut().for_each(|byte| *byte ^= 0x36 ^ 0x5c);
        let outer = D::new_with_prefix(&pad[..block_len]);
        let hmac = |parts: &[&[u8]]| {
            let mut state = inner.clone();
            parts.iter().for_each(|part| state.update(part));
            outer.clone().chain_update(state.finalize()).finalize()
        };
        for (index, block) in (1_u32..).zip(out.chunks_mut(prf.output_len())) {
            let mut u = hmac(&[salt, &index.to_be_bytes()]);
            block.copy_from_slice(&u[..block.len()]);
            for _ in 1..iterations {
                u = hmac(&[&u]);
                for (byte, next) in block.iter_mut().zip(&u) {
                    *byte ^= next;
                }
            }
            u.as_mut_slice().zeroize();
        }
    }
}

#[cfg(feature = "rare-digests")]
pub(super) use software::{digest, pbkdf2};

#[cfg(not(feature = "rare-digests"))]
pub(super) fn digest(algorithm: DigestAlgorithm, _parts: &[&[u8]]) -> Result<DigestOutput, CryptoError> {
    Err(missing(algorithm))
}

#[cfg(not(feature = "rare-digests"))]
fn missing(algorithm: DigestAlgorithm) -> CryptoError {
    CryptoError::Unsupported(match algorithm {
        DigestAlgorithm::Sha512_224 => "SHA-512/224 (feature `rare-digests`)",
        DigestAlgorithm::Blake2b512 => "BLAKE2b-512 (feature `rare-digests`)",
        DigestAlgorithm::Blake2s256 => "BLAKE2s-256 (feature `rare-digests`)",
        _ => "this digest",
    })
}
