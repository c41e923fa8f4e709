//! RSA private keys put together from their numbers.

use zeroize::Zeroizing;

use super::error::{KeyFormat, PrivateKeyError};
use super::number::Number;
use crate::codec::der::write;
use crate::secret::PrivateKeyPkcs8;

/// Largest modulus in bytes: 8192 bits, the ceiling of the crypto providers. Bounds the work of an import.
const MAX_MODULUS: usize = 1024;
/// Largest public exponent in bytes. Windows and the crypto providers stay within it; 65537 is what they make.
const MAX_EXPONENT: usize = 4;

/// rsaEncryption with NULL parameters (RFC 8017 appendix A.1).
const RSA_ALGORITHM: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// rsaEncryption alone, as encoded.
pub(super) const RSA_ENCRYPTION: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// The numbers of an RSA key as a blob holds them: big-endian, leading zeros allowed.
pub(super) struct RsaNumbers<'a> {
    pub(super) modulus: &'a [u8],
    pub(super) public_exponent: &'a [u8],
    pub(super) prime1: &'a [u8],
    pub(super) prime2: &'a [u8],
    /// Computed when the blob leaves them out.
    pub(super) derived: Option<Derived<'a>>,
}

/// The numbers that follow from the others.
pub(super) struct Derived<'a> {
    pub(super) exponent1: &'a [u8],
    pub(super) exponent2: &'a [u8],
    pub(super) coefficient: &'a [u8],
    pub(super) private_exponent: &'a [u8],
}

impl RsaNumbers<'_> {
    /// Checks that the numbers belong together and writes them as PKCS#8.
    pub(super) fn to_pkcs8(&self, format: KeyFormat) -> Result<PrivateKeyPkcs8, PrivateKeyError> {
        let malformed = |problem| PrivateKeyError::malformed(format, problem);
        let (modulus, exponent) = (significant(self.modulus), significant(self.public_exponent));
        let (prime1, prime2) = (significant(self.prime1), significant(self.prime2));
        if modulus.is_empty() || modulus.len() > MAX_MODULUS {
            return Err(malformed("the modulus is zero or larger than 8192 bits"));
        }
        if exponent.len() > MAX_EXPONENT {
            return Err(malformed("the public exponent is larger than 32 bits"));
        }
        if prime1.len() > modulus.len() || prime2.len() > modulus.len() {
            return Err(malformed("a prime is longer than the modulus"));
        }
        let e = exponent.iter().fold(0, |value, byte| value << 8 | u32::from(*byte));
        if e < 3 || e & 1 == 0 {
            return Err(malformed("the public exponent is even or too small"));
        }

        let digits = |bytes: &[u8]| bytes.len().div_ceil(4);
        let n = Number::from_be(modulus, digits(modulus));
        let p = Number::from_be(prime1, digits(prime1));
        let q = Number::from_be(prime2, digits(prime2));
        if !p.is_odd() || !q.is_odd() || !p.times(&q).equals(&n) {
            return Err(PrivateKeyError::Inconsistent("the modulus is not the product of the two primes"));
        }
        let (p1, q1) = (p.less_one(), q.less_one());
        let no_inverse = PrivateKeyError::Inconsistent("the public exponent does not fit the primes");
        let (Some(dp), Some(dq)) = (p1.inverse_of(e), q1.inverse_of(e)) else { return Err(no_inverse) };
        let Some(q_inverse) = q.inverse(&p) else {
            return Err(PrivateKeyError::Inconsistent("the two primes share a factor"));
        };
        let d = match &self.derived {
            None => {
                // (p - 1)(q - 1), the exponent's inverse modulo which PKCS#1 calls d.
                let Some(d) = p1.times(&q1).inverse_of(e) else { return Err(no_inverse) };
                d
            }
            Some(derived) => {
                let number =
                    |bytes: &[u8], like: &Number| Number::from_be(significant(bytes), digits(significant(bytes)).max(like.digits()));
                if !number(derived.exponent1, &p).equals(&dp)
                    || !number(derived.exponent2, &q).equals(&dq)
                    || !number(derived.coefficient, &p).equals(&q_inverse)
                {
                    return Err(PrivateKeyError::Inconsistent("an exponent or the coefficient does not follow from the primes"));
                }
                // Modulo lcm(p-1, q-1) or (p-1)(q-1): both are in use, so d is checked against its remainders.
                let d = number(derived.private_exponent, &n);
                let fits = d.digits() == n.digits() && d.is_below(&n) && d.modulo(&p1).equals(&dp) && d.modulo(&q1).equals(&dq);
                if !fits {
                    return Err(PrivateKeyError::Inconsistent("the private exponent does not belong to the public one"));
                }
                d
            }
        };
        Ok(rsa_pkcs8(&[modulus, exponent, &d.to_be(), prime1, prime2, &dp.to_be(), &dq.to_be(), &q_inverse.to_be()]))
    }
}

/// `RSAPrivateKey` of RFC 8017 appendix A.1.2 from its numbers in order, version 0.
fn rsa_pkcs8(numbers: &[&[u8]; 8]) -> PrivateKeyPkcs8 {
    let version = write::unsigned(0);
    let integers = numbers.map(|number| Zeroizing::new(write::integer(number)));
    let mut parts: Vec<&[u8]> = vec![&version];
    parts.extend(integers.iter().map(|integer| integer.as_slice()));
    wrap(&RSA_ALGORITHM, &Zeroizing::new(write::sequence(&parts)))
}

/// A PKCS#1 key as PKCS#8.
pub(super) fn from_pkcs1(rsa_private_key: &[u8]) -> PrivateKeyPkcs8 {
    wrap(&RSA_ALGORITHM, rsa_private_key)
}

/// `PrivateKeyInfo ::= SEQUENCE { version 0, privateKeyAlgorithm, privateKey OCTET STRING }` (RFC 5958).
pub(super) fn wrap(algorithm: &[u8], private_key: &[u8]) -> PrivateKeyPkcs8 {
    let octets = Zeroizing::new(write::octet_string(private_key));
    PrivateKeyPkcs8::new(write::sequence(&[&write::unsigned(0), algorithm, &octets]))
}

/// Without leading zeros.
pub(super) fn significant(bytes: &[u8]) -> &[u8] {
    bytes.iter().position(|byte| *byte != 0).and_then(|start| bytes.get(start..)).unwrap_or_default()
}
