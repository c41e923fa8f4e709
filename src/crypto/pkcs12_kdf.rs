//! The key derivation of PKCS#12 (RFC 7292 appendix B), over the digest slot.

use zeroize::{Zeroize as _, Zeroizing};

use super::{CryptoError, Digest, DigestAlgorithm, DigestKdf, DigestOutput};

/// Derives `out` from a password after RFC 7292 appendix B.2.
///
/// `password_bmp` is the password as a `BMPString` with its two terminating zero bytes (appendix B.1); an absent password is an empty
/// slice. `id` is 1 for a key, 2 for an IV, 3 for a MAC key. The caller has charged `iterations` to its budget.
///
/// # Errors
/// [`CryptoError::InvalidArgument`] for zero iterations or an `id` other than 1, 2 and 3; [`CryptoError::Unsupported`] when the digest
/// slot lacks the algorithm; [`CryptoError::NotApproved`] over the digest slot of a provider that is restricted to what FIPS approves.
pub fn pkcs12_kdf(
    digest: &dyn Digest,
    algorithm: DigestAlgorithm,
    password_bmp: &[u8],
    salt: &[u8],
    id: u8,
    iterations: u32,
    out: &mut [u8],
) -> Result<(), CryptoError> {
    digest.permits(DigestKdf::Pkcs12)?;
    if iterations == 0 {
        return Err(CryptoError::InvalidArgument("the PKCS#12 key derivation needs at least one iteration"));
    }
    if !(1..=3).contains(&id) {
        return Err(CryptoError::InvalidArgument("the PKCS#12 key derivation knows the ids 1, 2 and 3"));
    }
    // u and v of the appendix, in bytes.
    let u = algorithm.output_len();
    let v = algorithm.block_len();

    // 1. D: v copies of the id.
    let d = [id; 128];
    let d = &d[..v];

    // 2. to 4. I = S || P: salt and password, each repeated to whole blocks (nothing when empty).
    let s_len = salt.len().div_ceil(v) * v;
    let p_len = password_bmp.len().div_ceil(v) * v;
    let mut i = Zeroizing::new(Vec::with_capacity(s_len + p_len));
    i.extend(salt.iter().cycle().take(s_len));
    i.extend(password_bmp.iter().cycle().take(p_len));

    // 5. c = ceil(n / u) blocks of output; 7. and 8. their concatenation, cut to n.
    let mut blocks = out.chunks_mut(u).peekable();
    while let Some(block) = blocks.next() {
        // 6.A. A = H^r(D || I)
        let a = Wiped(digest.digest_repeated(algorithm, &[d, &i], iterations)?);
        block.copy_from_slice(&a.0.as_ref()[..block.len()]);
        if blocks.peek().is_none() {
            break;
        }

        // 6.B. B: A repeated to one block.
        let mut b = Zeroizing::new([0_u8; 128]);
        for (to, from) in b[..v].iter_mut().zip(a.0.as_ref().iter().cycle()) {
            *to = *from;
        }

        // 6.C. I_j = (I_j + B + 1) mod 2^v for each block.
        for i_j in i.chunks_exact_mut(v) {
            let mut carry = 1_u16;
            for (x, y) in i_j.iter_mut().zip(&b[..v]).rev() {
                carry += u16::from(*x) + u16::from(*y);
                let [high, low] = carry.to_be_bytes();
                *x = low;
                carry = u16::from(high);
            }
        }
    }
    Ok(())
}

/// An intermediate digest, wiped at the end.
struct Wiped(DigestOutput);

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
