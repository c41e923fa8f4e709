//! RSA public keys in the forms that tools for PFX import read.

use crate::codec::der::{DerError, Rules, Tag, single};
use crate::limits::{Budget, Limits};

/// rsaEncryption (RFC 8017 appendix A.1)
const RSA_ENCRYPTION: &str = "1.2.840.113549.1.1.1";
/// `BCRYPT_RSAPUBLIC_MAGIC` of bcrypt.h: "RSA1".
const RSA_PUBLIC_MAGIC: u32 = 0x3141_5352;

/// Why a public key cannot be exported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublicKeyError {
    /// Not a SubjectPublicKeyInfo.
    #[error("not a well-formed SubjectPublicKeyInfo: {0}")]
    Malformed(&'static str),
    /// Not an RSA key.
    #[error("the key is not RSA")]
    NotRsa,
}

impl From<DerError> for PublicKeyError {
    fn from(error: DerError) -> Self {
        match error {
            DerError::Malformed { problem, .. } => Self::Malformed(problem),
            DerError::Limit(_) => Self::Malformed("it is too large"),
        }
    }
}

/// An RSA public key, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsaPublicKey {
    spki: Vec<u8>,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl RsaPublicKey {
    /// Parses a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7) of an RSA key.
    ///
    /// # Errors
    /// [`PublicKeyError`]: malformed, or another algorithm.
    pub fn from_spki(spki: &[u8]) -> Result<Self, PublicKeyError> {
        let mut budget = Budget::new(&Limits::default());
        let mut outer = single(spki, Rules::Der, &mut budget)?.inner()?;
        let mut algorithm = outer.sequence(&mut budget)?;
        let oid = algorithm.expect(Tag::OID, &mut budget)?.oid()?;
        if oid.is_none_or(|oid| oid.as_str() != RSA_ENCRYPTION) {
            return Err(PublicKeyError::NotRsa);
        }
        let key = outer.expect(Tag::BIT_STRING, &mut budget)?.bit_octets()?;
        outer.finish()?;
        let mut numbers = single(key, Rules::Der, &mut budget)?.inner()?;
        let modulus = positive(numbers.expect(Tag::INTEGER, &mut budget)?.integer()?)?;
        let exponent = positive(numbers.expect(Tag::INTEGER, &mut budget)?.integer()?)?;
        numbers.finish()?;
        Ok(Self { spki: spki.to_vec(), modulus, exponent })
    }

    /// The SubjectPublicKeyInfo as given.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The modulus, big-endian without leading zeros.
    #[must_use]
    pub fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// The public exponent, big-endian without leading zeros.
    #[must_use]
    pub fn exponent(&self) -> &[u8] {
        &self.exponent
    }

    /// The length of the modulus in bits.
    #[must_use]
    pub fn bits(&self) -> usize {
        let leading = self.modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
        self.modulus.len() * 8 - leading
    }

    /// `PUBLIC KEY` in PEM with lines of 64 characters (RFC 7468 section 13). The header is the very first text, as import tools demand.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let text = base64(&self.spki);
        let mut pem = String::with_capacity(text.len() + text.len() / 64 + 64);
        pem.push_str("-----BEGIN PUBLIC KEY-----\n");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, next) = rest.split_at(rest.len().min(64));
            pem.push_str(line);
            pem.push('\n');
            rest = next;
        }
        pem.push_str("-----END PUBLIC KEY-----\n");
        pem
    }

    /// CNG's `RSAPUBLICBLOB` (bcrypt.h): six 32-bit little-endian words (magic, bits, lengths of exponent, modulus and the absent primes),
    /// then exponent and modulus, big-endian.
    #[must_use]
    pub fn to_cng_public_blob(&self) -> Vec<u8> {
        // An RSA key fits its input limit, so its lengths fit 32 bits.
        let word = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let header = [RSA_PUBLIC_MAGIC, word(self.bits()), word(self.exponent.len()), word(self.modulus.len()), 0, 0];
        let mut blob: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
        blob.extend_from_slice(&self.exponent);
        blob.extend_from_slice(&self.modulus);
        blob
    }
}

fn positive(integer: &[u8]) -> Result<Vec<u8>, PublicKeyError> {
    let start = integer.iter().position(|byte| *byte != 0);
    match (integer.first(), start) {
        (Some(first), Some(start)) if first & 0x80 == 0 => Ok(integer.iter().skip(start).copied().collect()),
        _ => Err(PublicKeyError::Malformed("an RSA number is not positive")),
    }
}

/// Standard Base64 with padding (RFC 4648 section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for position in 0..4 {
            let digit = ALPHABET[(group >> (18 - 6 * position) & 63) as usize];
            text.push(if position <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 2048-bit key whose modulus is 256 bytes of (i+2) mod 10 with the exponent 65537.
    fn spki() -> Vec<u8> {
        let modulus: Vec<u8> = (0..256u32).map(|i| ((i + 2) % 10) as u8).collect();
        let mut key = vec![0x30, 0x82, 0x01, 0x09, 0x02, 0x82, 0x01, 0x00];
        key.extend_from_slice(&modulus);
        key.extend_from_slice(&[0x02, 0x03, 1, 0, 1]);
        let algorithm = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
        let mut bits = vec![0x03, 0x82, 0x01, 0x0e, 0x00];
        bits.extend_from_slice(&key);
        let len = algorithm.len() + bits.len();
        let mut spki = vec![0x30, 0x82, (len >> 8) as u8, len as u8];
        spki.extend_from_slice(&algorithm);
        spki.extend_from_slice(&bits);
        spki
    }

    #[test]
    fn pem_lines_are_64_characters_long() {
        let key = RsaPublicKey::from_spki(&spki()).unwrap();
        let pem = key.to_pem();
        let lines: Vec<&str> = pem.lines().collect();
        assert_eq!((lines[0], lines[lines.len() - 1]), ("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"));
        let body = &lines[1..lines.len() - 1];
        assert!(body[..body.len() - 1].iter().all(|line| line.len() == 64), "{pem}");
        assert!(lines[1].starts_with("MIIBITANBgkqhkiG9w0BAQEFAAOCAQ4AMIIBCQKCAQACAwQFBgcICQABAgMEBQYH"), "{pem}");
    }

    #[test]
    fn the_cng_blob_holds_magic_sizes_exponent_and_modulus() {
        let key = RsaPublicKey::from_spki(&spki()).unwrap();
        let blob = key.to_cng_public_blob();
        assert_eq!(&blob[..4], b"RSA1");
        assert_eq!(key.bits(), 2042, "the top byte of this modulus is 2");
        assert_eq!(&blob[8..24], &[3, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&blob[24..30], &[1, 0, 1, 2, 3, 4]);
        assert_eq!(blob.len(), 24 + 3 + 256);
    }

    #[test]
    fn what_is_not_an_rsa_key_is_refused() {
        let mut other = spki();
        other[16] = 2; // another arc of pkcs-1
        assert_eq!(RsaPublicKey::from_spki(&other), Err(PublicKeyError::NotRsa));
        assert!(RsaPublicKey::from_spki(&spki()[..100]).is_err());
        assert!(RsaPublicKey::from_spki(&[spki(), vec![0]].concat()).is_err());
    }

    #[test]
    fn base64_matches_the_vectors_of_rfc_4648() {
        for (plain, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")] {
            assert_eq!(base64(plain.as_bytes()), text);
        }
    }
}
