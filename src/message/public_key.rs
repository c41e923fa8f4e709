//! RSA public keys in the forms that tools for PFX import read and write.
//!
//! Microsoft's module writes an `RSAPUBLICBLOB` or PEM and reads both. It takes a PEM file that it cannot read for a blob, and then says
//! something misleading; here each form has its own errors.

use super::pem;
use crate::codec::der::{DerError, Rules, Tag, single, write};
use crate::limits::{Budget, Limits};

/// rsaEncryption (RFC 8017 appendix A.1)
const RSA_ENCRYPTION: &str = "1.2.840.113549.1.1.1";
/// The `AlgorithmIdentifier` of rsaEncryption with NULL.
const RSA_ALGORITHM: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// `BCRYPT_RSAPUBLIC_MAGIC` of bcrypt.h: "RSA1".
const RSA_PUBLIC_MAGIC: u32 = 0x3141_5352;
/// `BCRYPT_RSAPRIVATE_MAGIC`: "RSA2".
const RSA_PRIVATE_MAGIC: u32 = 0x3241_5352;
/// `BCRYPT_RSAFULLPRIVATE_MAGIC`: "RSA3".
const RSA_FULL_PRIVATE_MAGIC: u32 = 0x3341_5352;

/// Why a public key is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublicKeyError {
    /// Not a well-formed public key in the form that it starts as.
    #[error("not a well-formed public key: {0}")]
    Malformed(&'static str),
    /// Not an RSA key.
    #[error("the key is not RSA")]
    NotRsa,
    /// A private key was given: keep it, and hand out its public half only.
    #[error("this is a private key where a public one is expected; do not hand it out")]
    PrivateKey,
    /// Neither PEM, nor an RSAPUBLICBLOB, nor DER.
    #[error("the bytes are neither PEM, nor an RSAPUBLICBLOB, nor the DER of a public key")]
    UnknownFormat,
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
        let (modulus, exponent) = rsa_public_key(key, &mut budget)?;
        Ok(Self { spki: spki.to_vec(), modulus, exponent })
    }

    /// Parses an `RSAPublicKey` (RFC 8017 appendix A.1.1), as PEM `RSA PUBLIC KEY` holds it.
    ///
    /// # Errors
    /// [`PublicKeyError`]: malformed.
    pub fn from_pkcs1(der: &[u8]) -> Result<Self, PublicKeyError> {
        let (modulus, exponent) = rsa_public_key(der, &mut Budget::new(&Limits::default()))?;
        Ok(Self::from_numbers(modulus, exponent))
    }

    /// Parses CNG's `RSAPUBLICBLOB`, the form that Microsoft's import module writes unless told otherwise.
    ///
    /// The lengths of the primes, which mean nothing in a public blob, are ignored.
    ///
    /// # Errors
    /// [`PublicKeyError`]: another blob, a private one among them, or lengths that do not fit.
    pub fn from_cng_public_blob(blob: &[u8]) -> Result<Self, PublicKeyError> {
        let header: &[u8; 24] = blob.first_chunk().ok_or(PublicKeyError::Malformed("an RSAPUBLICBLOB is shorter than its header"))?;
        let word = |index: usize| u32::from_le_bytes([header[index], header[index + 1], header[index + 2], header[index + 3]]);
        match word(0) {
            RSA_PUBLIC_MAGIC => {}
            RSA_PRIVATE_MAGIC | RSA_FULL_PRIVATE_MAGIC => return Err(PublicKeyError::PrivateKey),
            _ => return Err(PublicKeyError::Malformed("it has not the magic RSA1 of an RSAPUBLICBLOB")),
        }
        let length = |index: usize| usize::try_from(word(index)).unwrap_or(usize::MAX);
        let numbers = blob.get(header.len()..).unwrap_or_default();
        let too_short = PublicKeyError::Malformed("an RSAPUBLICBLOB is shorter than its header says");
        let (exponent, modulus) = numbers.split_at_checked(length(8)).ok_or(too_short.clone())?;
        match modulus.len().checked_sub(length(12)) {
            Some(0) => {}
            Some(_) => return Err(PublicKeyError::Malformed("bytes follow the end of the RSAPUBLICBLOB")),
            None => return Err(too_short),
        }
        let key = Self::from_numbers(unsigned(modulus)?, unsigned(exponent)?);
        // Some writers state whole bytes.
        if !(key.bits()..=modulus.len() * 8).contains(&length(4)) {
            return Err(PublicKeyError::Malformed("the stated length in bits is not that of the modulus"));
        }
        Ok(key)
    }

    /// Parses PEM: one `PUBLIC KEY` or `RSA PUBLIC KEY` (RFC 7468 section 13).
    ///
    /// # Errors
    /// [`PublicKeyError`]: no such block, several, a private key, or malformed.
    pub fn from_pem(text: &[u8]) -> Result<Self, PublicKeyError> {
        let blocks = pem::blocks(text).ok_or(PublicKeyError::Malformed("a BEGIN line of the PEM text has no END line of the same name"))?;
        if blocks.iter().any(|block| block.label.ends_with(b"PRIVATE KEY")) {
            return Err(PublicKeyError::PrivateKey);
        }
        let [block] = blocks.as_slice() else {
            return Err(PublicKeyError::Malformed("the PEM text does not hold exactly one block"));
        };
        let der = block.decode().ok_or(PublicKeyError::Malformed("the PEM text is not base64"))?;
        match block.label {
            b"PUBLIC KEY" => Self::from_spki(&der),
            b"RSA PUBLIC KEY" => Self::from_pkcs1(&der),
            _ => Err(PublicKeyError::Malformed("the PEM block is not a PUBLIC KEY")),
        }
    }

    /// Reads a public key in any of these forms: PEM, `RSAPUBLICBLOB`, SubjectPublicKeyInfo, `RSAPublicKey`.
    ///
    /// # Errors
    /// [`PublicKeyError`], of the form that the bytes start as.
    pub fn read(bytes: &[u8]) -> Result<Self, PublicKeyError> {
        match bytes {
            [b'R', b'S', b'A', b'1' | b'2' | b'3', ..] => Self::from_cng_public_blob(bytes),
            // The CryptoAPI blob of a private key.
            [0x07, 0x02, 0, 0, ..] => Err(PublicKeyError::PrivateKey),
            _ if pem::is_pem(bytes) => Self::from_pem(bytes),
            [0x30, ..] => match Self::from_spki(bytes) {
                Err(PublicKeyError::Malformed(_)) if Self::from_pkcs1(bytes).is_ok() => Self::from_pkcs1(bytes),
                other => other,
            },
            _ => Err(PublicKeyError::UnknownFormat),
        }
    }

    fn from_numbers(modulus: Vec<u8>, exponent: Vec<u8>) -> Self {
        let key = write::sequence(&[&write::integer(&modulus), &write::integer(&exponent)]);
        Self { spki: write::sequence(&[&RSA_ALGORITHM, &write::bit_octets(&key)]), modulus, exponent }
    }

    /// The SubjectPublicKeyInfo: as given, or made of the numbers.
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
        pem::encode("PUBLIC KEY", &self.spki)
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

/// Modulus and exponent of `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }`.
fn rsa_public_key(der: &[u8], budget: &mut Budget) -> Result<(Vec<u8>, Vec<u8>), PublicKeyError> {
    let mut numbers = single(der, Rules::Der, budget)?.inner()?;
    let modulus = positive(numbers.expect(Tag::INTEGER, budget)?.integer()?)?;
    let exponent = positive(numbers.expect(Tag::INTEGER, budget)?.integer()?)?;
    numbers.finish()?;
    Ok((modulus, exponent))
}

fn positive(integer: &[u8]) -> Result<Vec<u8>, PublicKeyError> {
    if integer.first().is_some_and(|first| first & 0x80 != 0) { Err(NOT_POSITIVE) } else { unsigned(integer) }
}

/// A number that is not zero, without leading zeros.
fn unsigned(bytes: &[u8]) -> Result<Vec<u8>, PublicKeyError> {
    let start = bytes.iter().position(|byte| *byte != 0).ok_or(NOT_POSITIVE)?;
    Ok(bytes.iter().skip(start).copied().collect())
}

const NOT_POSITIVE: PublicKeyError = PublicKeyError::Malformed("an RSA number is not positive");

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
    fn every_form_is_read_back_to_the_same_key() {
        let key = RsaPublicKey::from_spki(&spki()).unwrap();
        let pkcs1 = write::sequence(&[&write::integer(key.modulus()), &write::integer(key.exponent())]);
        let forms =
            [key.spki().to_vec(), key.to_pem().into(), key.to_cng_public_blob(), pem::encode("RSA PUBLIC KEY", &pkcs1).into(), pkcs1];
        for form in forms {
            let read = RsaPublicKey::read(&form).unwrap();
            assert_eq!((read.modulus(), read.exponent()), (key.modulus(), key.exponent()));
            assert_eq!(RsaPublicKey::read(&read.to_cng_public_blob()).unwrap(), RsaPublicKey::read(read.to_pem().as_bytes()).unwrap());
            assert!(RsaPublicKey::read(&form[..form.len() - 7]).is_err());
        }
    }

    #[test]
    fn a_blob_may_be_padded_and_state_whole_bytes_but_not_lie() {
        let key = RsaPublicKey::from_spki(&spki()).unwrap();
        let blob = |bits: u32, exponent: &[u8], modulus: &[u8], prime: u32| {
            let words = [RSA_PUBLIC_MAGIC, bits, exponent.len() as u32, modulus.len() as u32, prime, 0];
            [words.iter().flat_map(|word| word.to_le_bytes()).collect(), exponent.to_vec(), modulus.to_vec()].concat()
        };
        for good in [
            blob(2048, &[1, 0, 1], key.modulus(), 0),
            blob(2042, &[0, 1, 0, 1], &[&[0], key.modulus()].concat(), 0),
            blob(2042, &[1, 0, 1], key.modulus(), 128),
        ] {
            assert_eq!(RsaPublicKey::read(&good).unwrap().modulus(), key.modulus());
            assert!(RsaPublicKey::read(&[&good[..], &[0]].concat()).is_err(), "a byte follows");
        }
        for bad in [blob(2041, &[1, 0, 1], key.modulus(), 0), blob(2049, &[1, 0, 1], key.modulus(), 0), blob(2042, &[0], key.modulus(), 0)]
        {
            assert!(RsaPublicKey::read(&bad).is_err());
        }
        let mut long = key.to_cng_public_blob();
        long[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(RsaPublicKey::read(&long).is_err());
    }

    #[test]
    fn a_private_key_given_for_a_public_one_is_named() {
        let mut blob = RsaPublicKey::from_spki(&spki()).unwrap().to_cng_public_blob();
        for digit in [b'2', b'3'] {
            blob[3] = digit;
            assert_eq!(RsaPublicKey::read(&blob), Err(PublicKeyError::PrivateKey));
        }
        assert_eq!(RsaPublicKey::read(pem::encode("PRIVATE KEY", &[1]).as_bytes()), Err(PublicKeyError::PrivateKey));
        assert_eq!(RsaPublicKey::read(b"?"), Err(PublicKeyError::UnknownFormat));
    }
}
