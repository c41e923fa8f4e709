//! Public key and signature algorithms, and their identifiers (RFC 3279, 4055, 5480, 5754, 8410).

use serde::{Deserialize, Serialize};

use crate::codec::der::{DerError, Tag, write};
use crate::codec::x509::spki::{AlgorithmIdentifier, SubjectPublicKeyInfo};
use crate::crypto::{DigestAlgorithm, SignatureAlgorithm};
use crate::ids::Oid;
use crate::limits::{Budget, Limits};
use crate::terms::oid;

const RSA_ENCRYPTION: &str = "1.2.840.113549.1.1.1";
const RSA_PSS: &str = "1.2.840.113549.1.1.10";
const MGF1: &str = "1.2.840.113549.1.1.8";
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const ED25519: &str = "1.3.101.112";

/// The algorithm of a public key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PublicKeyAlgorithm {
    /// RSA; keys restricted to RSASSA-PSS are [`PublicKeyAlgorithm::Other`].
    Rsa {
        /// Bits of the modulus.
        bits: usize,
    },
    /// Elliptic curve key on P-256.
    EcP256,
    /// Elliptic curve key on P-384.
    EcP384,
    /// Ed25519.
    Ed25519,
    /// Another one: its algorithm, or its curve when it is an elliptic curve key.
    Other(Oid),
    /// Another one, whose object identifier has arcs over 32 bits, or an RSA key that is malformed.
    Unknown,
}

impl core::fmt::Display for PublicKeyAlgorithm {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA {bits}"),
            Self::EcP256 => f.write_str("EC P-256"),
            Self::EcP384 => f.write_str("EC P-384"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Other(oid) => write!(f, "{oid}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl PublicKeyAlgorithm {
    /// The algorithm of the key in a SubjectPublicKeyInfo; `None` when that is malformed.
    #[must_use]
    pub fn of_spki(spki: &[u8]) -> Option<Self> {
        Self::read(spki, &mut Budget::new(&Limits::default())).ok()
    }

    pub(crate) fn read(spki: &[u8], budget: &mut Budget) -> Result<Self, DerError> {
        let info = SubjectPublicKeyInfo::decode(spki, budget)?;
        let Some(algorithm) = info.algorithm.algorithm.clone() else { return Ok(Self::Unknown) };
        Ok(match algorithm.as_str() {
            RSA_ENCRYPTION => info.rsa_bits(budget).map_or(Self::Unknown, |bits| Self::Rsa { bits }),
            ED25519 => Self::Ed25519,
            EC_PUBLIC_KEY => match info.named_curve() {
                Some(curve) if curve.as_str() == P256 => Self::EcP256,
                Some(curve) if curve.as_str() == P384 => Self::EcP384,
                Some(curve) => Self::Other(curve),
                None => Self::Other(algorithm),
            },
            _ => Self::Other(algorithm),
        })
    }
}

/// What an `AlgorithmIdentifier` of a signature says. For ECDSA the curve is said by the key only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureIdentifier {
    /// RSASSA-PKCS1-v1_5 with this digest.
    RsaPkcs1(DigestAlgorithm),
    /// RSASSA-PSS with this digest, MGF1 with the same, and a salt as long as the digest.
    RsaPss(DigestAlgorithm),
    /// ECDSA with this digest.
    Ecdsa(DigestAlgorithm),
    /// Ed25519.
    Ed25519,
}

impl SignatureIdentifier {
    /// Reads an `AlgorithmIdentifier`; `None` for algorithms and parameters that this crate does not verify.
    #[must_use]
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let mut budget = Budget::new(&Limits::default());
        let identifier = AlgorithmIdentifier::decode(der, &mut budget).ok()?;
        Self::from_identifier(&identifier, &mut budget)
    }

    pub(crate) fn from_identifier(identifier: &AlgorithmIdentifier<'_>, budget: &mut Budget) -> Option<Self> {
        let found = match identifier.algorithm.as_ref()?.as_str() {
            "1.2.840.113549.1.1.5" => Self::RsaPkcs1(DigestAlgorithm::Sha1),
            "1.2.840.113549.1.1.11" => Self::RsaPkcs1(DigestAlgorithm::Sha256),
            "1.2.840.113549.1.1.12" => Self::RsaPkcs1(DigestAlgorithm::Sha384),
            "1.2.840.113549.1.1.13" => Self::RsaPkcs1(DigestAlgorithm::Sha512),
            "1.2.840.10045.4.3.2" => Self::Ecdsa(DigestAlgorithm::Sha256),
            "1.2.840.10045.4.3.3" => Self::Ecdsa(DigestAlgorithm::Sha384),
            ED25519 => Self::Ed25519,
            RSA_PSS => return pss_digest(identifier, budget).map(Self::RsaPss),
            _ => return None,
        };
        // NULL or absent: RFC 4055 section 5 asks to accept both for RSA; others must have none, yet NULL is seen.
        identifier.parameters_are_null_or_absent().then_some(found)
    }

    /// The full algorithm, given the signer's key; `None` when they do not fit or are not supported together.
    #[must_use]
    pub fn with_key(self, key: &PublicKeyAlgorithm) -> Option<SignatureAlgorithm> {
        use DigestAlgorithm as D;
        use PublicKeyAlgorithm as K;
        Some(match (self, key) {
            (Self::RsaPkcs1(D::Sha1), K::Rsa { .. }) => SignatureAlgorithm::RsaPkcs1Sha1,
            (Self::RsaPkcs1(D::Sha256), K::Rsa { .. }) => SignatureAlgorithm::RsaPkcs1Sha256,
            (Self::RsaPkcs1(D::Sha384), K::Rsa { .. }) => SignatureAlgorithm::RsaPkcs1Sha384,
            (Self::RsaPkcs1(D::Sha512), K::Rsa { .. }) => SignatureAlgorithm::RsaPkcs1Sha512,
            (Self::RsaPss(D::Sha256), K::Rsa { .. }) => SignatureAlgorithm::RsaPssSha256,
            (Self::RsaPss(D::Sha384), K::Rsa { .. }) => SignatureAlgorithm::RsaPssSha384,
            (Self::RsaPss(D::Sha512), K::Rsa { .. }) => SignatureAlgorithm::RsaPssSha512,
            (Self::Ecdsa(D::Sha256), K::EcP256) => SignatureAlgorithm::EcdsaP256Sha256,
            (Self::Ecdsa(D::Sha384), K::EcP256) => SignatureAlgorithm::EcdsaP256Sha384,
            (Self::Ecdsa(D::Sha256), K::EcP384) => SignatureAlgorithm::EcdsaP384Sha256,
            (Self::Ecdsa(D::Sha384), K::EcP384) => SignatureAlgorithm::EcdsaP384Sha384,
            (Self::Ed25519, K::Ed25519) => SignatureAlgorithm::Ed25519,
            _ => return None,
        })
    }
}

/// `RSASSA-PSS-params` (RFC 4055 section 3.1) that say one digest throughout and a salt of its length.
fn pss_digest(identifier: &AlgorithmIdentifier<'_>, budget: &mut Budget) -> Option<DigestAlgorithm> {
    let mut parameters = identifier.parameters.filter(|parameters| parameters.tag() == Tag::SEQUENCE)?.inner().ok()?;
    let hash = parameters.expect(Tag::context(0), budget).ok()?.explicit(budget).ok()?;
    let mask = parameters.expect(Tag::context(1), budget).ok()?.explicit(budget).ok()?;
    let salt = parameters.expect(Tag::context(2), budget).ok()?.explicit(budget).ok()?;
    if let Some(trailer) = parameters.optional(Tag::context(3), budget).ok()?
        && trailer.explicit(budget).ok()?.unsigned() != Ok(1)
    {
        return None;
    }
    parameters.finish().ok()?;
    let digest = digest_from_der(hash.raw(), budget)?;
    let mask = AlgorithmIdentifier::decode(mask.raw(), budget).ok()?;
    let mask_digest = digest_from_der(mask.parameters.filter(|_| mask.is(MGF1))?.raw(), budget)?;
    let salt_fits = salt.tag() == Tag::INTEGER && salt.unsigned().ok()? == digest.output_len() as u64;
    (mask_digest == digest && salt_fits).then_some(digest)
}

/// The digest that an `AlgorithmIdentifier` names.
pub(crate) fn digest_from_der(der: &[u8], budget: &mut Budget) -> Option<DigestAlgorithm> {
    let identifier = AlgorithmIdentifier::decode(der, budget).ok()?;
    let digest = match identifier.algorithm.as_ref()?.as_str() {
        "1.3.14.3.2.26" => DigestAlgorithm::Sha1,
        "2.16.840.1.101.3.4.2.4" => DigestAlgorithm::Sha224,
        "2.16.840.1.101.3.4.2.1" => DigestAlgorithm::Sha256,
        "2.16.840.1.101.3.4.2.2" => DigestAlgorithm::Sha384,
        "2.16.840.1.101.3.4.2.3" => DigestAlgorithm::Sha512,
        "2.16.840.1.101.3.4.2.5" => DigestAlgorithm::Sha512_224,
        "2.16.840.1.101.3.4.2.6" => DigestAlgorithm::Sha512_256,
        _ => return None,
    };
    identifier.parameters_are_null_or_absent().then_some(digest)
}

/// The object identifier of a digest.
pub(crate) fn digest_oid(digest: DigestAlgorithm) -> Oid {
    oid(match digest {
        DigestAlgorithm::Sha1 => "1.3.14.3.2.26",
        DigestAlgorithm::Sha224 => "2.16.840.1.101.3.4.2.4",
        DigestAlgorithm::Sha256 => "2.16.840.1.101.3.4.2.1",
        DigestAlgorithm::Sha384 => "2.16.840.1.101.3.4.2.2",
        DigestAlgorithm::Sha512 => "2.16.840.1.101.3.4.2.3",
        DigestAlgorithm::Sha512_224 => "2.16.840.1.101.3.4.2.5",
        DigestAlgorithm::Sha512_256 => "2.16.840.1.101.3.4.2.6",
        DigestAlgorithm::Blake2b512 => "1.3.6.1.4.1.1722.12.2.1.16",
        DigestAlgorithm::Blake2s256 => "1.3.6.1.4.1.1722.12.2.2.8",
    })
}

/// The digest that a signature algorithm hashes the message with; `None` for Ed25519, which hashes inside.
#[must_use]
pub fn digest_of(algorithm: SignatureAlgorithm) -> Option<DigestAlgorithm> {
    use SignatureAlgorithm as S;
    match algorithm {
        S::RsaPkcs1Sha1 => Some(DigestAlgorithm::Sha1),
        S::RsaPkcs1Sha256 | S::RsaPssSha256 | S::EcdsaP256Sha256 | S::EcdsaP384Sha256 => Some(DigestAlgorithm::Sha256),
        S::RsaPkcs1Sha384 | S::RsaPssSha384 | S::EcdsaP256Sha384 | S::EcdsaP384Sha384 => Some(DigestAlgorithm::Sha384),
        S::RsaPkcs1Sha512 | S::RsaPssSha512 => Some(DigestAlgorithm::Sha512),
        S::Ed25519 => None,
    }
}

/// The `AlgorithmIdentifier` of a signature: NULL parameters for RSA PKCS#1 (RFC 4055 section 5), none for ECDSA and Ed25519.
pub(crate) fn identifier_der(algorithm: SignatureAlgorithm) -> Vec<u8> {
    use SignatureAlgorithm as S;
    let null = write::null();
    let plain = |number: &'static str, parameters: &[u8]| write::algorithm_identifier(&oid(number), parameters);
    match algorithm {
        S::RsaPkcs1Sha1 => plain("1.2.840.113549.1.1.5", &null),
        S::RsaPkcs1Sha256 => plain("1.2.840.113549.1.1.11", &null),
        S::RsaPkcs1Sha384 => plain("1.2.840.113549.1.1.12", &null),
        S::RsaPkcs1Sha512 => plain("1.2.840.113549.1.1.13", &null),
        S::RsaPssSha256 => pss_identifier(DigestAlgorithm::Sha256),
        S::RsaPssSha384 => pss_identifier(DigestAlgorithm::Sha384),
        S::RsaPssSha512 => pss_identifier(DigestAlgorithm::Sha512),
        S::EcdsaP256Sha256 | S::EcdsaP384Sha256 => plain("1.2.840.10045.4.3.2", &[]),
        S::EcdsaP256Sha384 | S::EcdsaP384Sha384 => plain("1.2.840.10045.4.3.3", &[]),
        S::Ed25519 => plain(ED25519, &[]),
    }
}

fn pss_identifier(digest: DigestAlgorithm) -> Vec<u8> {
    let hash = write::algorithm_identifier(&digest_oid(digest), &write::null());
    let mask = write::algorithm_identifier(&oid(MGF1), &hash);
    let salt = write::unsigned(digest.output_len() as u64);
    let parameters = write::sequence(&[&write::context(0, &[&hash]), &write::context(1, &[&mask]), &write::context(2, &[&salt])]);
    write::algorithm_identifier(&oid(RSA_PSS), &parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signature_algorithm_survives_its_identifier() {
        use SignatureAlgorithm as S;
        let rsa = PublicKeyAlgorithm::Rsa { bits: 2048 };
        for (algorithm, key) in [
            (S::RsaPkcs1Sha1, &rsa),
            (S::RsaPkcs1Sha256, &rsa),
            (S::RsaPkcs1Sha384, &rsa),
            (S::RsaPkcs1Sha512, &rsa),
            (S::RsaPssSha256, &rsa),
            (S::RsaPssSha384, &rsa),
            (S::RsaPssSha512, &rsa),
            (S::EcdsaP256Sha256, &PublicKeyAlgorithm::EcP256),
            (S::EcdsaP256Sha384, &PublicKeyAlgorithm::EcP256),
            (S::EcdsaP384Sha256, &PublicKeyAlgorithm::EcP384),
            (S::EcdsaP384Sha384, &PublicKeyAlgorithm::EcP384),
            (S::Ed25519, &PublicKeyAlgorithm::Ed25519),
        ] {
            let identifier = SignatureIdentifier::from_der(&identifier_der(algorithm)).unwrap();
            assert_eq!(identifier.with_key(key), Some(algorithm));
            let other = if *key == rsa { PublicKeyAlgorithm::EcP256 } else { rsa.clone() };
            assert_eq!(identifier.with_key(&other), None, "{algorithm:?} with another key");
        }
    }

    #[test]
    fn pss_with_a_short_salt_is_not_taken_for_the_usual_one() {
        let mut der = identifier_der(SignatureAlgorithm::RsaPssSha256);
        let last = der.len() - 1;
        assert_eq!(der[last], 32);
        der[last] = 20;
        assert_eq!(SignatureIdentifier::from_der(&der), None);
    }
}
