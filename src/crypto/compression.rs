//! Derivations that hash one block thousands of times, over the compression functions of SHA-1 and SHA-256 themselves: *ring* and
//! aws-lc-rs spend as much time around a single block as on it, and *ring*'s SHA-1 is slow.
//!
//! Never reached in a FIPS module's place: only providers with *ring* ask here.

use zeroize::{Zeroize as _, Zeroizing};

use super::{CryptoError, Digest, DigestAlgorithm, DigestOutput, Hmac};

/// Bytes in a block of SHA-1 and of SHA-256.
const BLOCK: usize = 64;

/// Whether this is the quickest way here. Without instructions for SHA-256 the assembler of the backends is, in spite of what is around it.
pub(super) fn is_quickest(algorithm: DigestAlgorithm) -> bool {
    match algorithm {
        DigestAlgorithm::Sha1 => true,
        DigestAlgorithm::Sha256 => has_sha256_instructions(),
        _ => false,
    }
}

fn has_sha256_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    let found = std::arch::is_x86_feature_detected!("sha");
    #[cfg(target_arch = "aarch64")]
    let found = std::arch::is_aarch64_feature_detected!("sha2");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found = false;
    found
}

/// [`Digest::digest_repeated`] for an algorithm that [`is_quickest`] names; the first digest, which may be long, by `digest`.
pub(super) fn digest_repeated(
    digest: &dyn Digest,
    algorithm: DigestAlgorithm,
    parts: &[&[u8]],
    rounds: u32,
) -> Result<DigestOutput, CryptoError> {
    let mut first = digest.digest(algorithm, parts)?;
    let repeated = match algorithm {
        DigestAlgorithm::Sha1 => SHA1.repeat(first.as_ref(), rounds),
        _ => SHA256.repeat(first.as_ref(), rounds),
    };
    first.zeroize();
    repeated
}

/// PBKDF2 (RFC 8018 section 5.2) for a PRF that [`is_quickest`] names; the first HMAC, over a salt of any length, by `hmac`.
pub(super) fn pbkdf2(
    digest: &dyn Digest,
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
    // RFC 2104 section 2: a key longer than a block is hashed, a shorter one filled up with zeros.
    let mut key = Zeroizing::new([0; BLOCK]);
    if password.len() > BLOCK {
        let mut hashed = digest.digest(prf, &[password])?;
        key[..hashed.as_ref().len()].copy_from_slice(hashed.as_ref());
        hashed.zeroize();
    } else {
        key[..password.len()].copy_from_slice(password);
    }
    for (index, block) in (1_u32..).zip(out.chunks_mut(prf.output_len())) {
        let mut first = hmac.hmac(prf, password, &[salt, &index.to_be_bytes()])?;
        match prf {
            DigestAlgorithm::Sha1 => SHA1.pbkdf2_block(&key, first.as_ref(), iterations, block),
            _ => SHA256.pbkdf2_block(&key, first.as_ref(), iterations, block),
        }
        first.zeroize();
    }
    Ok(())
}

/// A hash with blocks of 64 bytes and a state of 32-bit words that is its output.
struct Compression<const WORDS: usize> {
    initial: [u32; WORDS],
    compress: fn(&mut [u32; WORDS], &[[u8; BLOCK]]),
}

/// FIPS 180-4 section 5.3.1.
const SHA1: Compression<5> =
    Compression { initial: [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0], compress: sha1::block_api::compress };

/// FIPS 180-4 section 5.3.3.
const SHA256: Compression<8> = Compression {
    initial: [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19],
    compress: sha2::block_api::compress256,
};

impl<const WORDS: usize> Compression<WORDS> {
    /// Bytes of an output.
    const LEN: usize = WORDS * 4;

    /// A block that ends a message (FIPS 180-4 section 5.1.1): room for one output, and behind it the padding of a message that has
    /// `before` bytes in earlier blocks.
    fn last_block(before: usize) -> Zeroizing<[[u8; BLOCK]; 1]> {
        let mut block = Zeroizing::new([[0; BLOCK]; 1]);
        block[0][Self::LEN] = 0x80;
        block[0][BLOCK - 8..].copy_from_slice(&((before + Self::LEN) as u64 * 8).to_be_bytes());
        block
    }

    fn write(state: &[u32; WORDS], out: &mut [u8]) {
        for (bytes, word) in out.chunks_exact_mut(4).zip(state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
    }

    fn read(bytes: &[u8]) -> Zeroizing<[u32; WORDS]> {
        let mut words = Zeroizing::new([0; WORDS]);
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u32::from_be_bytes(*bytes);
        }
        words
    }

    /// `first` hashed `rounds - 1` times more.
    fn repeat(&self, first: &[u8], rounds: u32) -> Result<DigestOutput, CryptoError> {
        let mut block = Self::last_block(0);
        block[0][..Self::LEN].copy_from_slice(first);
        let mut state = Zeroizing::new(self.initial);
        for _ in 1..rounds {
            *state = self.initial;
            (self.compress)(&mut state, &*block);
            Self::write(&state, &mut block[0]);
        }
        DigestOutput::new(&block[0][..Self::LEN])
    }

    /// One block of output: the exclusive or of `first` and the HMACs that follow it.
    fn pbkdf2_block(&self, key: &[u8; BLOCK], first: &[u8], iterations: u32, out: &mut [u8]) {
        let keyed = |pad: u8| {
            let mut block = Zeroizing::new([*key]);
            block[0].iter_mut().for_each(|byte| *byte ^= pad);
            let mut state = Zeroizing::new(self.initial);
            (self.compress)(&mut state, &*block);
            state
        };
        let (inner, outer) = (keyed(0x36), keyed(0x5c));
        let mut block = Self::last_block(BLOCK);
        block[0][..Self::LEN].copy_from_slice(first);
        let mut sum = Self::read(first);
        let mut state = inner.clone();
        for _ in 1..iterations {
            *state = *inner;
            (self.compress)(&mut state, &*block);
            Self::write(&state, &mut block[0]);
            *state = *outer;
            (self.compress)(&mut state, &*block);
            Self::write(&state, &mut block[0]);
            sum.iter_mut().zip(&*state).for_each(|(sum, word)| *sum ^= word);
        }
        Self::write(&sum, &mut block[0]);
        out.copy_from_slice(&block[0][..out.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::CryptoProvider;
    use crate::crypto::hmac::pbkdf2_over_hmac;

    #[test]
    fn derivations_over_the_compression_function_are_those_over_whole_digests() {
        /// A slot without the shortcut.
        #[derive(Debug)]
        struct Plain(CryptoProvider);
        impl Digest for Plain {
            fn digest(&self, algorithm: DigestAlgorithm, parts: &[&[u8]]) -> Result<DigestOutput, CryptoError> {
                self.0.digest().unwrap().digest(algorithm, parts)
            }
        }
        let provider = CryptoProvider::ring_only();
        let (digest, hmac) = (provider.digest().unwrap(), provider.hmac().unwrap());
        for algorithm in [DigestAlgorithm::Sha1, DigestAlgorithm::Sha256] {
            for (password, rounds, len) in [(0, 1, 1), (19, 2, 20), (64, 3, 32), (65, 7, 33), (200, 100, 100)] {
                let (password, salt) = (vec![0x5a; password], [1, 2, 3, 4, 5, 6, 7, 8, 9]);
                let parts: [&[u8]; 2] = [&salt, &password];
                let expected = Plain(provider.clone()).digest_repeated(algorithm, &parts, rounds).unwrap();
                assert_eq!(digest_repeated(digest, algorithm, &parts, rounds).unwrap(), expected, "{algorithm} {rounds}");
                let (mut expected, mut derived) = (vec![0; len], vec![0; len]);
                pbkdf2_over_hmac(hmac, algorithm, &password, &salt, rounds, &mut expected).unwrap();
                pbkdf2(digest, hmac, algorithm, &password, &salt, rounds, &mut derived).unwrap();
                assert_eq!(derived, expected, "{algorithm} {rounds}");
            }
        }
    }
}
