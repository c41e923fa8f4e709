//! RSA verification for what the backends leave out: RSASSA-PSS with other salts and masks, SHA-224, keys under 2048 bits.
//!
//! Everything here is public, so nothing needs constant time. The padding is built and compared whole (RFC 8017 section 8.2.2), never
//! parsed: forgeries such as Bleichenbacher's of 2006 live in parsers.

use super::spki::{PublicKey, RSA_TOO_SMALL};
use super::{CryptoError, Digest, DigestAlgorithm, PssParameters, SignatureAlgorithm};
use crate::codec::der::write;
use crate::terms::oid;

/// Which RSA keys are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShortKeys {
    Refuse,
    FromBits1024,
}

/// Verifies an RSA signature with any digest of the slot.
pub(super) fn verify(
    digest: &dyn Digest,
    algorithm: SignatureAlgorithm,
    key: PublicKey<'_>,
    message: &[u8],
    signature: &[u8],
    short: ShortKeys,
) -> Result<(), CryptoError> {
    let parameters = algorithm.pss_parameters();
    let refused = key.check_rsa_use(parameters);
    let (PublicKey::Rsa { key, bits } | PublicKey::RsaPss { key, bits, .. }) = key else { return Err(CryptoError::Failed) };
    if refused != Err(RSA_TOO_SMALL) || short == ShortKeys::Refuse || bits < 1024 {
        refused?;
    }
    let encoded = public_operation(key, signature).ok_or(CryptoError::Failed)?;
    match (algorithm, parameters, algorithm.digest()) {
        (_, Some(parameters), _) => verify_pss(digest, parameters, bits, message, &encoded),
        (
            SignatureAlgorithm::RsaPkcs1Sha1
            | SignatureAlgorithm::RsaPkcs1Sha224
            | SignatureAlgorithm::RsaPkcs1Sha256
            | SignatureAlgorithm::RsaPkcs1Sha384
            | SignatureAlgorithm::RsaPkcs1Sha512,
            None,
            Some(hash),
        ) => {
            let expected = pkcs1_encoding(digest, hash, message, encoded.len())?;
            if expected == encoded { Ok(()) } else { Err(CryptoError::Failed) }
        }
        _ => Err(CryptoError::Failed),
    }
}

/// EMSA-PKCS1-v1_5-ENCODE (RFC 8017 section 9.2).
fn pkcs1_encoding(digest: &dyn Digest, hash: DigestAlgorithm, message: &[u8], len: usize) -> Result<Vec<u8>, CryptoError> {
    let hashed = digest.digest(hash, &[message])?;
    let identifier = write::algorithm_identifier(&oid(hash.oid()), &write::null());
    let info = write::sequence(&[&identifier, &write::octet_string(hashed.as_ref())]);
    let padding = len.checked_sub(info.len() + 3).filter(|padding| *padding >= 8).ok_or(CryptoError::Failed)?;
    Ok([&[0, 1][..], &vec![0xff; padding], &[0], &info].concat())
}

/// EMSA-PSS-VERIFY (RFC 8017 section 9.1.2) on the output of the public operation, which is as long as the modulus.
fn verify_pss(digest: &dyn Digest, parameters: PssParameters, bits: usize, message: &[u8], encoded: &[u8]) -> Result<(), CryptoError> {
    let (hash_len, salt_len) = (parameters.digest.output_len(), usize::from(parameters.salt_len));
    let encoded_bits = bits - 1;
    // One octet shorter than the modulus when the modulus has a whole number of octets and one bit.
    let (above, encoded) = encoded.split_at(encoded.len() - encoded_bits.div_ceil(8));
    if above.iter().any(|octet| *octet != 0) {
        return Err(CryptoError::Failed);
    }
    let block_len = encoded.len().checked_sub(hash_len + 1).filter(|len| *len > salt_len).ok_or(CryptoError::Failed)?;
    let (masked, rest) = encoded.split_at(block_len);
    let (stated, trailer) = rest.split_at(hash_len);
    let unused_bits = 8 * encoded.len() - encoded_bits;
    let unused = !(0xff_u8 >> unused_bits);
    if trailer != [0xbc] || masked.first().is_none_or(|first| first & unused != 0) {
        return Err(CryptoError::Failed);
    }
    let mut block = mgf1(digest, parameters.mask_digest, stated, block_len)?;
    for (octet, masked) in block.iter_mut().zip(masked) {
        *octet ^= masked;
    }
    if let Some(first) = block.first_mut() {
        *first &= !unused;
    }
    let (padding, salt) = block.split_at(block_len - salt_len);
    let is_padding = padding.split_last().is_some_and(|(last, zeros)| *last == 1 && zeros.iter().all(|octet| *octet == 0));
    let hashed = digest.digest(parameters.digest, &[message])?;
    let actual = digest.digest(parameters.digest, &[&[0; 8], hashed.as_ref(), salt])?;
    if is_padding && actual.as_ref() == stated { Ok(()) } else { Err(CryptoError::Failed) }
}

/// MGF1 (RFC 8017 appendix B.2.1).
fn mgf1(digest: &dyn Digest, hash: DigestAlgorithm, seed: &[u8], len: usize) -> Result<Vec<u8>, CryptoError> {
    let mut mask = Vec::with_capacity(len + hash.output_len());
    let mut counter = 0u32;
    while mask.len() < len {
        mask.extend_from_slice(digest.digest(hash, &[seed, &counter.to_be_bytes()])?.as_ref());
        counter += 1;
    }
    mask.truncate(len);
    Ok(mask)
}

/// RSAVP1 (RFC 8017 section 5.2.2): the signature to the power of the public exponent, as long as the modulus.
///
/// `None` when the key is not one (even modulus, exponent under 3, even, or over 33 bits) or the signature is not below the modulus.
fn public_operation(key: &[u8], signature: &[u8]) -> Option<Vec<u8>> {
    let (modulus, exponent) = super::spki::rsa_public_parts(key)?;
    let exponent = exponent.iter().try_fold(0u64, |value, octet| (value >> 56 == 0).then_some(value << 8 | u64::from(*octet)))?;
    if signature.len() != modulus.len() || modulus.last()? & 1 == 0 || exponent & 1 == 0 || !(3..1 << 33).contains(&exponent) {
        return None;
    }
    let modulus_limbs = limbs(modulus);
    let base = limbs(signature);
    if !is_less(&base, &modulus_limbs) {
        return None;
    }
    let field = Montgomery::new(modulus_limbs);
    let base = field.enter(base);
    let mut power = base.clone();
    for bit in (0..exponent.ilog2()).rev() {
        power = field.multiply(&power, &power);
        if exponent >> bit & 1 == 1 {
            power = field.multiply(&power, &base);
        }
    }
    let mut one = vec![0; base.len()];
    one[0] = 1;
    let power = field.multiply(&power, &one);
    let octets: Vec<u8> = power.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect();
    Some(octets[octets.len() - modulus.len()..].to_vec())
}

/// Big-endian octets as limbs, least significant first.
fn limbs(octets: &[u8]) -> Vec<u64> {
    octets.rchunks(8).map(|chunk| chunk.iter().fold(0, |limb, octet| limb << 8 | u64::from(*octet))).collect()
}

fn is_less(a: &[u64], b: &[u64]) -> bool {
    a.iter().rev().lt(b.iter().rev())
}

/// `a -= b`, the borrow out of the top limb dropped. Both have the same length.
fn subtract(a: &mut [u64], b: &[u64]) {
    let mut borrow = false;
    for (a, b) in a.iter_mut().zip(b) {
        let (difference, first) = a.overflowing_sub(*b);
        let (difference, second) = difference.overflowing_sub(u64::from(borrow));
        (*a, borrow) = (difference, first || second);
    }
}

/// Arithmetic modulo an odd number by Montgomery's method.
struct Montgomery {
    modulus: Vec<u64>,
    /// The negative inverse of the lowest limb modulo 2^64.
    inverse: u64,
}

impl Montgomery {
    fn new(modulus: Vec<u64>) -> Self {
        let lowest = modulus[0];
        // Newton's iteration doubles the correct bits: an odd number is its own inverse modulo 8.
        let inverse = (0..5).fold(lowest, |x, _| x.wrapping_mul(2u64.wrapping_sub(lowest.wrapping_mul(x))));
        Self { modulus, inverse: inverse.wrapping_neg() }
    }

    /// `value * 2^(64 n)` modulo the modulus, by doubling.
    fn enter(&self, mut value: Vec<u64>) -> Vec<u64> {
        for _ in 0..64 * self.modulus.len() {
            let mut carry = 0;
            for limb in &mut value {
                (*limb, carry) = (*limb << 1 | carry, *limb >> 63);
            }
            if carry == 1 || !is_less(&value, &self.modulus) {
                subtract(&mut value, &self.modulus);
            }
        }
        value
    }

    /// `a * b / 2^(64 n)` modulo the modulus; both are below it.
    fn multiply(&self, a: &[u64], b: &[u64]) -> Vec<u64> {
        let len = self.modulus.len();
        let mut sum = vec![0u64; len + 1];
        for b in b {
            let mut top = add_product(&mut sum, a, *b);
            let factor = sum[0].wrapping_mul(self.inverse);
            top += add_product(&mut sum, &self.modulus, factor);
            // The lowest limb is zero now: shift it out.
            sum.rotate_left(1);
            sum[len] = top;
        }
        if sum[len] != 0 || !is_less(&sum[..len], &self.modulus) {
            subtract(&mut sum[..len], &self.modulus);
        }
        sum.truncate(len);
        sum
    }
}

/// `sum += a * factor`; the carry out of `sum`, which is one limb longer than `a`.
fn add_product(sum: &mut [u64], a: &[u64], factor: u64) -> u64 {
    let mut carry = 0u128;
    for (sum, a) in sum.iter_mut().zip(a.iter().chain(&[0])) {
        let value = u128::from(*sum) + u128::from(*a) * u128::from(factor) + carry;
        *sum = value as u64;
        carry = value >> 64;
    }
    carry as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
        write::sequence(&[&write::value(2, &[modulus]), &write::value(2, &[exponent])])
    }

    #[test]
    fn small_powers_come_out_as_computed_by_hand() {
        // 0xc5 is 197, a prime: 100^3 mod 197 = 28, 196^3 = -1, 5^65537 = 5^(65537 mod 196) = 5^73.
        let modulus = [0, 0xc5];
        assert_eq!(public_operation(&key(&modulus, &[3]), &[100]), Some(vec![28]));
        assert_eq!(public_operation(&key(&modulus, &[3]), &[196]), Some(vec![196]));
        let by_hand = (0..73).fold(1u32, |power, _| power * 5 % 197);
        assert_eq!(public_operation(&key(&modulus, &[1, 0, 1]), &[5]), Some(vec![by_hand as u8]));
    }

    #[test]
    fn carries_over_limbs_are_kept() {
        // n = 2^192 - 237: x = n - 1 = -1, so x^3 = -1; and (2^96)^3 = 2^288 = 2^96 * 237.
        let mut modulus = vec![0];
        modulus.extend([0xff; 23]);
        modulus.push(0x13);
        let mut minus_one = modulus[1..].to_vec();
        minus_one[23] -= 1;
        assert_eq!(public_operation(&key(&modulus, &[3]), &minus_one), Some(minus_one));
        let mut x = [0; 24];
        x[11] = 1;
        let mut expected = [0; 24];
        expected[11] = 237;
        assert_eq!(public_operation(&key(&modulus, &[3]), &x), Some(expected.to_vec()));
    }

    #[test]
    fn what_is_no_key_or_no_signature_is_refused() {
        let modulus = [0, 0xc5];
        assert_eq!(public_operation(&key(&modulus, &[3]), &[197]), None, "not below the modulus");
        assert_eq!(public_operation(&key(&modulus, &[3]), &[0, 100]), None, "too long");
        assert_eq!(public_operation(&key(&modulus, &[1]), &[100]), None, "an exponent of one");
        assert_eq!(public_operation(&key(&modulus, &[4]), &[100]), None, "an even exponent");
        assert_eq!(public_operation(&key(&modulus, &[2, 0, 0, 0, 1]), &[100]), None, "a large exponent");
        assert_eq!(public_operation(&key(&[0, 0xc4], &[3]), &[100]), None, "an even modulus");
    }
}
