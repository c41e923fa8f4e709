//! Just enough DER to open `SubjectPublicKeyInfo` (RFC 5280 section 4.1.2.7) and to see what a PKCS#8 key is.
//!
//! The backends take bare keys; which algorithm a key is for is decided here, once and strictly, and not by trial.

use super::{CryptoError, DigestAlgorithm, PssParameters};
use crate::codec::rsassa_pss::RsassaPssParameters;
use crate::limits::{Budget, Limits};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const NULL: u8 = 0x05;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// rsaEncryption, 1.2.840.113549.1.1.1
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// id-RSASSA-PSS, 1.2.840.113549.1.1.10
const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
/// id-ecPublicKey, 1.2.840.10045.2.1
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// secp256r1, 1.2.840.10045.3.1.7
const SECP256R1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// secp384r1, 1.3.132.0.34
const SECP384R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// secp521r1, 1.3.132.0.35
const SECP521R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
/// id-X25519, 1.3.101.110
const X25519: &[u8] = &[0x2b, 0x65, 0x6e];
/// id-Ed25519, 1.3.101.112
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

const MALFORMED_PUBLIC: CryptoError = CryptoError::InvalidKey("the SubjectPublicKeyInfo is malformed");
const MALFORMED_PRIVATE: CryptoError = CryptoError::InvalidKey("the PKCS#8 structure is malformed");
const UNKNOWN: CryptoError = CryptoError::InvalidKey("it is neither RSA, P-256, P-384, P-521, Ed25519 nor X25519");
pub(super) const RSA_TOO_SMALL: CryptoError = CryptoError::InvalidKey("RSA keys under 2048 bits are refused");
const RSA_TOO_LARGE: CryptoError = CryptoError::InvalidKey("RSA keys over 8192 bits are refused");

/// Smallest and largest RSA modulus that any operation takes (NIST SP 800-131A revision 2; the backends' own ceiling).
const RSA_BITS: core::ops::RangeInclusive<usize> = 2048..=8192;

/// Refuses RSA keys that are too weak or too costly.
pub(super) fn check_rsa_bits(bits: usize) -> Result<(), CryptoError> {
    if bits < *RSA_BITS.start() {
        Err(RSA_TOO_SMALL)
    } else if bits > *RSA_BITS.end() {
        Err(RSA_TOO_LARGE)
    } else {
        Ok(())
    }
}

/// A public key, borrowed from its `SubjectPublicKeyInfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PublicKey<'a> {
    /// `RSAPublicKey` DER (RFC 8017 appendix A.1.1).
    Rsa { key: &'a [u8], bits: usize },
    /// `RSAPublicKey` DER of a key for RSASSA-PSS alone (RFC 4055 section 3.1), with what it restricts signatures to.
    RsaPss { key: &'a [u8], bits: usize, restriction: Option<PssParameters> },
    /// An uncompressed point (RFC 5480 section 2.2): 65 bytes.
    EcP256(&'a [u8]),
    /// An uncompressed point: 97 bytes.
    EcP384(&'a [u8]),
    /// An uncompressed point: 133 bytes.
    EcP521(&'a [u8]),
    /// 32 bytes (RFC 8410).
    Ed25519(&'a [u8]),
    /// 32 bytes (RFC 8410).
    X25519(&'a [u8]),
}

impl<'a> PublicKey<'a> {
    /// Opens a `SubjectPublicKeyInfo`.
    pub(super) fn from_spki(spki: &'a [u8]) -> Result<Self, CryptoError> {
        let (oid, parameters, key) = split_spki(spki).ok_or(MALFORMED_PUBLIC)?;
        match kind(oid, parameters).ok_or(UNKNOWN)? {
            Kind::Rsa => {
                let bits = rsa_public_bits(key).ok_or(MALFORMED_PUBLIC)?;
                Ok(Self::Rsa { key, bits })
            }
            Kind::RsaPss => {
                let bits = rsa_public_bits(key).ok_or(MALFORMED_PUBLIC)?;
                Ok(Self::RsaPss { key, bits, restriction: pss_restriction(parameters)? })
            }
            Kind::EcP256 if is_uncompressed(key, 32) => Ok(Self::EcP256(key)),
            Kind::EcP384 if is_uncompressed(key, 48) => Ok(Self::EcP384(key)),
            Kind::EcP521 if is_uncompressed(key, 66) => Ok(Self::EcP521(key)),
            Kind::EcP256 | Kind::EcP384 | Kind::EcP521 => Err(CryptoError::InvalidKey("the point is not in uncompressed form")),
            Kind::Ed25519 if key.len() == 32 => Ok(Self::Ed25519(key)),
            Kind::X25519 if key.len() == 32 => Ok(Self::X25519(key)),
            Kind::Ed25519 | Kind::X25519 => Err(MALFORMED_PUBLIC),
        }
    }

    /// Opens `RSAPublicKey` DER, as the backends give it.
    pub(super) fn from_rsa(key: &'a [u8]) -> Result<Self, CryptoError> {
        let bits = rsa_public_bits(key).ok_or(MALFORMED_PUBLIC)?;
        Ok(Self::Rsa { key, bits })
    }

    /// Refuses an RSA key that is too weak or too costly, or that its owner restricted to other parameters than `used`
    /// (`None` for PKCS#1 v1.5). A restriction says the hashes, and the fewest bytes of salt.
    pub(super) fn check_rsa_use(self, used: Option<PssParameters>) -> Result<(), CryptoError> {
        match (self, used) {
            (Self::Rsa { bits, .. } | Self::RsaPss { bits, restriction: None, .. }, Some(_)) | (Self::Rsa { bits, .. }, None) => {
                check_rsa_bits(bits)
            }
            (Self::RsaPss { bits, restriction: Some(restriction), .. }, Some(used))
                if (used.digest, used.mask_digest) == (restriction.digest, restriction.mask_digest)
                    && used.salt_len >= restriction.salt_len =>
            {
                check_rsa_bits(bits)
            }
            (Self::RsaPss { .. }, _) => Err(CryptoError::InvalidKey("it is restricted to other RSASSA-PSS parameters")),
            _ => Ok(()),
        }
    }

    /// Writes the `SubjectPublicKeyInfo`.
    pub(super) fn to_spki(self) -> Vec<u8> {
        let (oid, parameters, key) = match self {
            Self::Rsa { key, .. } => (RSA_ENCRYPTION, tlv(NULL, &[&[]]), key),
            // Never written with a restriction: no backend makes such keys.
            Self::RsaPss { key, .. } => (RSASSA_PSS, Vec::new(), key),
            Self::EcP256(key) => (EC_PUBLIC_KEY, tlv(OBJECT_IDENTIFIER, &[SECP256R1]), key),
            Self::EcP384(key) => (EC_PUBLIC_KEY, tlv(OBJECT_IDENTIFIER, &[SECP384R1]), key),
            Self::EcP521(key) => (EC_PUBLIC_KEY, tlv(OBJECT_IDENTIFIER, &[SECP521R1]), key),
            Self::Ed25519(key) => (ED25519, Vec::new(), key),
            Self::X25519(key) => (X25519, Vec::new(), key),
        };
        let algorithm = tlv(SEQUENCE, &[&tlv(OBJECT_IDENTIFIER, &[oid]), &parameters]);
        tlv(SEQUENCE, &[&algorithm, &tlv(BIT_STRING, &[&[0], key])])
    }
}

/// What a private key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PrivateKeyKind {
    Rsa { bits: usize },
    EcP256,
    EcP384,
    EcP521,
    Ed25519,
    X25519,
}

impl PrivateKeyKind {
    /// Looks into a PKCS#8 `PrivateKeyInfo` or `OneAsymmetricKey` (RFC 5958 section 2) and refuses what cannot be used.
    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, CryptoError> {
        let (oid, parameters, key) = split_pkcs8(der).ok_or(MALFORMED_PRIVATE)?;
        match kind(oid, parameters) {
            Some(Kind::Rsa) => {
                let bits = rsa_private_bits(key).ok_or(MALFORMED_PRIVATE)?;
                check_rsa_bits(bits)?;
                Ok(Self::Rsa { bits })
            }
            Some(Kind::EcP256) => Ok(Self::EcP256),
            Some(Kind::EcP384) => Ok(Self::EcP384),
            Some(Kind::EcP521) => Ok(Self::EcP521),
            Some(Kind::X25519) => Ok(Self::X25519),
            Some(Kind::Ed25519) => Ok(Self::Ed25519),
            Some(Kind::RsaPss) | None => Err(UNKNOWN),
        }
    }
}

/// The 32 bytes of an X25519 key in PKCS#8 (RFC 8410 section 7), which the backends do not unpack.
#[cfg(feature = "aws-lc-rs")]
pub(super) fn x25519_private_key(der: &[u8]) -> Option<&[u8]> {
    let (oid, _, key) = split_pkcs8(der)?;
    if oid == X25519 { whole(key, OCTET_STRING) } else { None }
}

enum Kind {
    Rsa,
    RsaPss,
    EcP256,
    EcP384,
    EcP521,
    Ed25519,
    X25519,
}

fn kind(oid: &[u8], parameters: &[u8]) -> Option<Kind> {
    if oid == RSA_ENCRYPTION {
        // RFC 3279 section 2.3.1 asks for NULL; some writers leave it out.
        return (parameters.is_empty() || parameters == [NULL, 0]).then_some(Kind::Rsa);
    }
    if oid == EC_PUBLIC_KEY {
        let curve = whole(parameters, OBJECT_IDENTIFIER)?;
        return match curve {
            SECP256R1 => Some(Kind::EcP256),
            SECP384R1 => Some(Kind::EcP384),
            SECP521R1 => Some(Kind::EcP521),
            _ => None,
        };
    }
    match oid {
        RSASSA_PSS => Some(Kind::RsaPss),
        ED25519 if parameters.is_empty() => Some(Kind::Ed25519),
        X25519 if parameters.is_empty() => Some(Kind::X25519),
        _ => None,
    }
}

/// `SEQUENCE { SEQUENCE { OID, parameters }, BIT STRING }` as (OID, parameters, key).
fn split_spki(spki: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (algorithm, rest) = read(whole(spki, SEQUENCE)?, SEQUENCE)?;
    let (oid, parameters) = read(algorithm, OBJECT_IDENTIFIER)?;
    let (unused_bits, key) = whole(rest, BIT_STRING)?.split_first()?;
    (*unused_bits == 0).then_some((oid, parameters, key))
}

/// `SEQUENCE { version, SEQUENCE { OID, parameters }, OCTET STRING, ... }` as (OID, parameters, key).
fn split_pkcs8(der: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (version, rest) = read(whole(der, SEQUENCE)?, INTEGER)?;
    let (algorithm, rest) = read(rest, SEQUENCE)?;
    let (oid, parameters) = read(algorithm, OBJECT_IDENTIFIER)?;
    let (key, _attributes_and_public_key) = read(rest, OCTET_STRING)?;
    matches!(version, [0 | 1]).then_some((oid, parameters, key))
}

fn rsa_public_bits(key: &[u8]) -> Option<usize> {
    let (modulus, rest) = read(whole(key, SEQUENCE)?, INTEGER)?;
    whole(rest, INTEGER)?;
    positive_bits(modulus)
}

/// Modulus and exponent of `RSAPublicKey` DER, big-endian without leading zeros.
pub(super) fn rsa_public_parts(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (modulus, rest) = read(whole(key, SEQUENCE)?, INTEGER)?;
    let exponent = whole(rest, INTEGER)?;
    positive_bits(modulus)?;
    positive_bits(exponent)?;
    Some((modulus.strip_prefix(&[0]).unwrap_or(modulus), exponent.strip_prefix(&[0]).unwrap_or(exponent)))
}

/// The parameters in the key's identifier; absent means that the owner restricts nothing (RFC 4055 section 3.1).
fn pss_restriction(parameters: &[u8]) -> Result<Option<PssParameters>, CryptoError> {
    if parameters.is_empty() {
        return Ok(None);
    }
    let parameters = RsassaPssParameters::decode(parameters, &mut Budget::new(&Limits::default())).map_err(|_| MALFORMED_PUBLIC)?;
    let digests = DigestAlgorithm::from_oid(&parameters.hash).zip(DigestAlgorithm::from_oid(&parameters.mask_hash));
    let (digest, mask_digest) = digests.ok_or(CryptoError::Unsupported("the hash that an RSASSA-PSS key is restricted to"))?;
    let salt_len = u16::try_from(parameters.salt_length).map_err(|_| MALFORMED_PUBLIC)?;
    Ok(Some(PssParameters { digest, mask_digest, salt_len }))
}

fn rsa_private_bits(key: &[u8]) -> Option<usize> {
    let (_version, rest) = read(whole(key, SEQUENCE)?, INTEGER)?;
    let (modulus, _rest) = read(rest, INTEGER)?;
    positive_bits(modulus)
}

/// The bit length of a positive DER INTEGER in its shortest form.
fn positive_bits(integer: &[u8]) -> Option<usize> {
    let magnitude = match integer {
        [0, rest @ ..] if rest.first().is_some_and(|byte| byte & 0x80 != 0) => rest,
        [first, ..] if (1..0x80).contains(first) => integer,
        _ => return None,
    };
    let leading_zeros = magnitude.first()?.leading_zeros() as usize;
    Some(magnitude.len() * 8 - leading_zeros)
}

fn is_uncompressed(point: &[u8], coordinate_len: usize) -> bool {
    point.len() == 1 + 2 * coordinate_len && point.first() == Some(&4)
}

/// The value of the one element that `input` is.
fn whole(input: &[u8], tag: u8) -> Option<&[u8]> {
    let (value, rest) = read(input, tag)?;
    rest.is_empty().then_some(value)
}

/// The value of the element at the start of `input`, and what follows it. Lengths must be definite and shortest (X.690 section 10.1).
fn read(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => {
            let (&len, rest) = rest.split_first()?;
            (len >= 0x80).then_some((usize::from(len), rest))?
        }
        0x82 => {
            let (len, rest) = rest.split_first_chunk::<2>()?;
            let len = usize::from(u16::from_be_bytes(*len));
            (len > 0xff).then_some((len, rest))?
        }
        _ => return None,
    };
    rest.split_at_checked(len)
}

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(len + 4);
    out.push(tag);
    match u16::try_from(len).expect("public keys are under 64 KiB").to_be_bytes() {
        [0, low] if low < 0x80 => out.push(low),
        [0, low] => out.extend([0x81, low]),
        [high, low] => out.extend([0x82, high, low]),
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rsa_key(bits: usize) -> Vec<u8> {
        let mut modulus = vec![0];
        modulus.resize(1 + bits / 8, 0xff);
        tlv(SEQUENCE, &[&tlv(INTEGER, &[&modulus]), &tlv(INTEGER, &[&[1, 0, 1]])])
    }

    #[test]
    fn each_kind_of_key_survives_the_way_to_spki_and_back() {
        let rsa = rsa_key(2048);
        let mut point = vec![4];
        point.resize(133, 7);
        for key in [
            PublicKey::from_rsa(&rsa).unwrap(),
            PublicKey::EcP256(&point[..65]),
            PublicKey::EcP384(&point[..97]),
            PublicKey::EcP521(&point),
            PublicKey::Ed25519(&point[..32]),
            PublicKey::X25519(&point[..32]),
        ] {
            assert_eq!(PublicKey::from_spki(&key.to_spki()).unwrap(), key);
        }
    }

    #[test]
    fn an_rsa_pss_key_signs_only_as_its_owner_restricted_it() {
        let rsa = rsa_key(2048);
        let used = |digest, salt_len| Some(PssParameters { digest, mask_digest: digest, salt_len });
        let free = PublicKey::RsaPss { key: &rsa, bits: 2048, restriction: None };
        assert_eq!(PublicKey::from_spki(&free.to_spki()).unwrap(), free);
        let parameters = RsassaPssParameters {
            hash: crate::terms::oid(DigestAlgorithm::Sha256.oid()),
            mask_hash: crate::terms::oid(DigestAlgorithm::Sha256.oid()),
            salt_length: 32,
        };
        let algorithm = tlv(SEQUENCE, &[&tlv(OBJECT_IDENTIFIER, &[RSASSA_PSS]), &parameters.encode()]);
        let spki = tlv(SEQUENCE, &[&algorithm, &tlv(BIT_STRING, &[&[0], &rsa])]);
        let restricted = PublicKey::from_spki(&spki).unwrap();
        for (parameters, allowed) in [
            (used(DigestAlgorithm::Sha256, 32), true),
            (used(DigestAlgorithm::Sha256, 222), true),
            (used(DigestAlgorithm::Sha256, 31), false),
            (used(DigestAlgorithm::Sha512, 64), false),
            (None, false),
        ] {
            assert_eq!(restricted.check_rsa_use(parameters).is_ok(), allowed, "{parameters:?}");
            assert_eq!(free.check_rsa_use(parameters).is_ok(), parameters.is_some(), "{parameters:?}");
            assert!(PublicKey::from_rsa(&rsa).unwrap().check_rsa_use(parameters).is_ok());
        }
    }

    #[test]
    fn truncated_and_lengthened_spki_is_refused() {
        let spki = PublicKey::from_rsa(&rsa_key(2048)).unwrap().to_spki();
        for end in 0..spki.len() {
            assert!(PublicKey::from_spki(&spki[..end]).is_err());
        }
        let longer = [&spki[..], &[0]].concat();
        assert!(PublicKey::from_spki(&longer).is_err());
    }

    #[test]
    fn a_length_in_more_bytes_than_needed_is_refused() {
        assert_eq!(read(&[0x30, 0x81, 0x01, 0x00], SEQUENCE), None);
        assert_eq!(read(&[0x30, 0x82, 0x00, 0x01, 0x00], SEQUENCE), None);
        assert_eq!(read(&[0x30, 0x80, 0x00, 0x00], SEQUENCE), None);
    }

    #[test]
    fn a_compressed_point_is_refused() {
        let mut point = vec![2];
        point.resize(33, 7);
        let spki = PublicKey::EcP256(&point).to_spki();
        assert!(matches!(PublicKey::from_spki(&spki), Err(CryptoError::InvalidKey(_))));
    }

    #[test]
    fn modulus_bits_are_counted_and_bounded() {
        assert_eq!(positive_bits(&[0, 0x80]), Some(8));
        assert_eq!(positive_bits(&[1, 0]), Some(9));
        assert_eq!(positive_bits(&[0]), None);
        assert_eq!(positive_bits(&[0, 1]), None);
        assert_eq!(positive_bits(&[0x80]), None);
        assert_eq!(check_rsa_bits(2047), Err(RSA_TOO_SMALL));
        assert_eq!(check_rsa_bits(2048), Ok(()));
        assert_eq!(check_rsa_bits(8193), Err(RSA_TOO_LARGE));
    }
}
