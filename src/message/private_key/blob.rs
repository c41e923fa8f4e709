//! Key blobs of Windows: CNG (bcrypt.h) and the older CryptoAPI (wincrypt.h).

use zeroize::Zeroizing;

use super::error::{KeyFormat, PrivateKeyError};
use super::rsa::{Derived, RsaNumbers};
use super::sec1::{self, Curve};
use crate::secret::{PrivateKeyPkcs8, SecretBytes};

/// `BCRYPT_RSAPRIVATE_MAGIC`: "RSA2".
const RSA_PRIVATE: &[u8; 4] = b"RSA2";
/// `BCRYPT_RSAFULLPRIVATE_MAGIC`: "RSA3".
const RSA_FULL_PRIVATE: &[u8; 4] = b"RSA3";

/// What the first bytes say that the bytes are.
pub(super) enum Blob {
    Rsa(KeyFormat),
    Ec(Curve),
    CapiPrivate,
    /// Recognised, and not a private key that is read here.
    Refused(PrivateKeyError),
}

impl Blob {
    pub(super) fn recognise(bytes: &[u8]) -> Option<Self> {
        let public = |what| Some(Self::Refused(PrivateKeyError::PublicOnly(what)));
        let unsupported = |what| Some(Self::Refused(PrivateKeyError::Unsupported(what)));
        match bytes.first_chunk::<4>()? {
            RSA_PRIVATE => Some(Self::Rsa(KeyFormat::RsaPrivateBlob)),
            RSA_FULL_PRIVATE => Some(Self::Rsa(KeyFormat::RsaFullPrivateBlob)),
            b"RSA1" => public("an RSAPUBLICBLOB"),
            b"ECS2" | b"ECK2" => Some(Self::Ec(Curve::P256)),
            b"ECS4" | b"ECK4" => Some(Self::Ec(Curve::P384)),
            b"ECS6" | b"ECK6" => Some(Self::Ec(Curve::P521)),
            b"ECS1" | b"ECS3" | b"ECS5" | b"ECK1" | b"ECK3" | b"ECK5" | b"ECDP" | b"ECKP" => public("an ECCPUBLICBLOB"),
            b"ECDV" | b"ECKV" => unsupported("it is an ECCPRIVATEBLOB that does not name its curve; export it as PKCS#8"),
            b"DSPB" | b"DPB2" | b"DHPB" => public("a DSA or DH public blob"),
            b"DSPV" | b"DPV2" | b"DHPV" => unsupported("DSA and DH keys are not supported; an RSA or EC key is needed"),
            b"KDBM" => unsupported("it is a CNG blob of a symmetric key; an RSA or EC key is needed"),
            [0x07, 0x02, 0, 0] => Some(Self::CapiPrivate),
            [0x06, 0x02, 0, 0] => public("a PUBLICKEYBLOB of CryptoAPI"),
            // The header of a .pvk file, 24 bytes in front of a PRIVATEKEYBLOB.
            [0x1e, 0xf1, 0xb5, 0xb0] => unsupported("it is a PVK file; convert it: openssl rsa -inform PVK -in key.pvk -out key.pem"),
            _ => None,
        }
    }

    /// Reads the blob.
    pub(super) fn read(self, bytes: &[u8]) -> Result<PrivateKeyPkcs8, PrivateKeyError> {
        match self {
            Self::Rsa(format) => rsa(format, bytes),
            Self::Ec(curve) => ec(curve, bytes),
            Self::CapiPrivate => capi(bytes),
            Self::Refused(error) => Err(error),
        }
    }
}

/// `BCRYPT_RSAKEY_BLOB`: Magic, BitLength, cbPublicExp, cbModulus, cbPrime1, cbPrime2 as little-endian words, then the numbers, big-endian.
fn rsa(format: KeyFormat, bytes: &[u8]) -> Result<PrivateKeyPkcs8, PrivateKeyError> {
    let mut fields = Fields { format, rest: bytes };
    let _magic = fields.word()?;
    let bits = fields.word()?;
    let [exponent_len, modulus_len, prime1_len, prime2_len] = [fields.word()?, fields.word()?, fields.word()?, fields.word()?];
    let public_exponent = fields.take(exponent_len)?;
    let modulus = fields.take(modulus_len)?;
    let prime1 = fields.take(prime1_len)?;
    let prime2 = fields.take(prime2_len)?;
    let derived = if format == KeyFormat::RsaFullPrivateBlob {
        Some(Derived {
            exponent1: fields.take(prime1_len)?,
            exponent2: fields.take(prime2_len)?,
            coefficient: fields.take(prime1_len)?,
            private_exponent: fields.take(modulus_len)?,
        })
    } else {
        None
    };
    fields.finish()?;
    check_bits(format, bits, modulus)?;
    RsaNumbers { modulus, public_exponent, prime1, prime2, derived }.to_pkcs8(format)
}

/// Writes an RSA key as `BCRYPT_RSAFULLPRIVATE_BLOB`.
pub(super) fn full_private_blob(key: &RsaNumbers<'_>) -> Result<SecretBytes, PrivateKeyError> {
    let derived = key.derived.as_ref().ok_or(PrivateKeyError::Inconsistent("numbers are missing"))?;
    let (half1, half2, whole) = (key.prime1.len(), key.prime2.len(), key.modulus.len());
    let bits = whole * 8 - key.modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    let mut blob = Vec::with_capacity(24 + key.public_exponent.len() + 2 * whole + 3 * half1 + 2 * half2);
    blob.extend_from_slice(RSA_FULL_PRIVATE);
    for length in [bits, key.public_exponent.len(), whole, half1, half2] {
        let length = u32::try_from(length).map_err(|_| PrivateKeyError::Inconsistent("a number is too large"))?;
        blob.extend_from_slice(&length.to_le_bytes());
    }
    let numbers = [
        (key.public_exponent, key.public_exponent.len()),
        (key.modulus, whole),
        (key.prime1, half1),
        (key.prime2, half2),
        (derived.exponent1, half1),
        (derived.exponent2, half2),
        (derived.coefficient, half1),
        (derived.private_exponent, whole),
    ];
    for (number, len) in numbers {
        let padding =
            len.checked_sub(number.len()).ok_or(PrivateKeyError::Inconsistent("a number is larger than the one it derives from"))?;
        blob.extend(core::iter::repeat_n(0, padding));
        blob.extend_from_slice(number);
    }
    Ok(SecretBytes::new(blob))
}

/// The stated length must hold the modulus and lie within its bytes: some writers state whole bytes.
fn check_bits(format: KeyFormat, stated: u32, modulus: &[u8]) -> Result<(), PrivateKeyError> {
    let leading = modulus.iter().take_while(|byte| **byte == 0).count() * 8
        + modulus.iter().find(|byte| **byte != 0).map_or(0, |byte| byte.leading_zeros() as usize);
    let most = modulus.len() * 8;
    match usize::try_from(stated) {
        Ok(stated) if (most - leading..=most).contains(&stated) => Ok(()),
        _ => Err(PrivateKeyError::malformed(format, "its stated length in bits is not that of the modulus")),
    }
}

/// `BCRYPT_ECCKEY_BLOB`: dwMagic, cbKey, then X, Y and d, big-endian, each cbKey long.
fn ec(curve: Curve, bytes: &[u8]) -> Result<PrivateKeyPkcs8, PrivateKeyError> {
    let format = KeyFormat::EccPrivateBlob;
    let mut fields = Fields { format, rest: bytes };
    let _magic = fields.word()?;
    let len = fields.word()?;
    if usize::try_from(len) != Ok(curve.field_len()) {
        return Err(PrivateKeyError::malformed(format, "its key length is not that of its curve"));
    }
    let (x, y, d) = (fields.take(len)?, fields.take(len)?, fields.take(len)?);
    fields.finish()?;
    Ok(sec1::to_pkcs8(curve, d, &[&[4], x, y].concat()))
}

/// `BLOBHEADER`, `RSAPUBKEY` and the numbers, all little-endian: modulus, primes, exponents, coefficient, private exponent.
fn capi(bytes: &[u8]) -> Result<PrivateKeyPkcs8, PrivateKeyError> {
    /// `CALG_RSA_KEYX` and `CALG_RSA_SIGN`.
    const RSA: [u32; 2] = [0x0000_a400, 0x0000_2400];
    let format = KeyFormat::CapiPrivateKeyBlob;
    let malformed = |problem| PrivateKeyError::malformed(format, problem);
    let mut fields = Fields { format, rest: bytes };
    let _type_and_version = fields.word()?;
    if !RSA.contains(&fields.word()?) {
        return Err(PrivateKeyError::Unsupported("it is a PRIVATEKEYBLOB of another algorithm than RSA; an RSA key is needed"));
    }
    if fields.take(4)? != RSA_PRIVATE {
        return Err(malformed("its RSAPUBKEY is not that of a private key"));
    }
    let (bits, exponent) = (fields.word()?, fields.word()?);
    if bits == 0 || bits % 16 != 0 {
        return Err(malformed("its length in bits is not a multiple of 16"));
    }
    let (modulus_len, prime_len) = (bits / 8, bits / 16);
    let mut number = |len| fields.take(len).map(reversed);
    let (modulus, prime1, prime2) = (number(modulus_len)?, number(prime_len)?, number(prime_len)?);
    let (exponent1, exponent2, coefficient) = (number(prime_len)?, number(prime_len)?, number(prime_len)?);
    let private_exponent = number(modulus_len)?;
    fields.finish()?;
    check_bits(format, bits, &modulus)?;
    let derived = Derived { exponent1: &exponent1, exponent2: &exponent2, coefficient: &coefficient, private_exponent: &private_exponent };
    let public_exponent = &exponent.to_be_bytes();
    RsaNumbers { modulus: &modulus, public_exponent, prime1: &prime1, prime2: &prime2, derived: Some(derived) }.to_pkcs8(format)
}

fn reversed(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(bytes.to_vec());
    out.reverse();
    out
}

/// Fields of a blob, one after another.
struct Fields<'a> {
    format: KeyFormat,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn word(&mut self) -> Result<u32, PrivateKeyError> {
        let (word, rest) = self.rest.split_first_chunk().ok_or_else(|| self.cut_off())?;
        self.rest = rest;
        Ok(u32::from_le_bytes(*word))
    }

    fn take(&mut self, len: u32) -> Result<&'a [u8], PrivateKeyError> {
        let split = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let (field, rest) = split.ok_or_else(|| self.cut_off())?;
        self.rest = rest;
        Ok(field)
    }

    fn cut_off(&self) -> PrivateKeyError {
        PrivateKeyError::malformed(self.format, "it is shorter than its header says")
    }

    fn finish(self) -> Result<(), PrivateKeyError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(PrivateKeyError::malformed(self.format, "it is longer than its header says: bytes follow its end"))
        }
    }
}
