//! Public key and signature algorithms, and their identifiers (RFC 3279, 4055, 5480, 5754, 8410).

use serde::{Deserialize, Serialize};

use crate::codec::der::{DerError, write};
use crate::codec::rsassa_pss::{RSASSA_PSS, RsassaPssParameters};
use crate::codec::x509::spki::{AlgorithmIdentifier, SubjectPublicKeyInfo};
use crate::crypto::{DigestAlgorithm, PssParameters, SignatureAlgorithm};
use crate::ids::Oid;
use crate::limits::{Budget, Limits};
use crate::terms::oid;

const RSA_ENCRYPTION: &str = "1.2.840.113549.1.1.1";
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const P521: &str = "1.3.132.0.35";
const ED25519: &str = "1.3.101.112";

/// The algorithm of a public key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PublicKeyAlgorithm {
    /// RSA, for any use.
    Rsa {
        /// Bits of the modulus.
        bits: usize,
    },
    /// RSA, for RSASSA-PSS signatures alone (RFC 4055 section 1.2).
    RsaPss {
        /// Bits of the modulus.
        bits: usize,
    },
    /// Elliptic curve key on P-256.
    EcP256,
    /// Elliptic curve key on P-384.
    EcP384,
    /// Elliptic curve key on P-521.
    EcP521,
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
            Self::RsaPss { bits } => write!(f, "RSASSA-PSS {bits}"),
            Self::EcP256 => f.write_str("EC P-256"),
            Self::EcP384 => f.write_str("EC P-384"),
            Self::EcP521 => f.write_str("EC P-521"),
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
            RSASSA_PSS => info.rsa_bits(budget).map_or(Self::Unknown, |bits| Self::RsaPss { bits }),
            ED25519 => Self::Ed25519,
            EC_PUBLIC_KEY => match info.named_curve() {
                Some(curve) if curve.as_str() == P256 => Self::EcP256,
                Some(curve) if curve.as_str() == P384 => Self::EcP384,
                Some(curve) if curve.as_str() == P521 => Self::EcP521,
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
    /// RSASSA-PSS.
    RsaPss(PssParameters),
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
            "1.2.840.113549.1.1.14" => Self::RsaPkcs1(DigestAlgorithm::Sha224),
            "1.2.840.113549.1.1.11" => Self::RsaPkcs1(DigestAlgorithm::Sha256),
            "1.2.840.113549.1.1.12" => Self::RsaPkcs1(DigestAlgorithm::Sha384),
            "1.2.840.113549.1.1.13" => Self::RsaPkcs1(DigestAlgorithm::Sha512),
            "1.2.840.10045.4.3.2" => Self::Ecdsa(DigestAlgorithm::Sha256),
            "1.2.840.10045.4.3.3" => Self::Ecdsa(DigestAlgorithm::Sha384),
            "1.2.840.10045.4.3.4" => Self::Ecdsa(DigestAlgorithm::Sha512),
            ED25519 => Self::Ed25519,
            // A certificate or request with SHA-1 in PSS is not known in the field: refused rather than asked about.
            RSASSA_PSS => {
                let parameters = pss_parameters(identifier.parameters?.raw(), budget)?;
                return (parameters.digest != DigestAlgorithm::Sha1).then_some(Self::RsaPss(parameters));
            }
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
            (Self::RsaPkcs1(D::Sha224), K::Rsa { .. }) => SignatureAlgorithm::RsaPkcs1Sha224,
            (Self::RsaPkcs1(D::Sha256), K::Rsa { .. }) => SignatureAlgorithm::RsaPkcs1Sha256,
            (Self::RsaPkcs1(D::Sha384), K::Rsa { .. }) => SignatureAlgorithm::RsaPkcs1Sha384,
            (Self::RsaPkcs1(D::Sha512), K::Rsa { .. }) => SignatureAlgorithm::RsaPkcs1Sha512,
            (Self::RsaPss(parameters), K::Rsa { .. } | K::RsaPss { .. }) => SignatureAlgorithm::rsa_pss(parameters),
            (Self::Ecdsa(D::Sha256), K::EcP256) => SignatureAlgorithm::EcdsaP256Sha256,
            (Self::Ecdsa(D::Sha384), K::EcP256) => SignatureAlgorithm::EcdsaP256Sha384,
            (Self::Ecdsa(D::Sha512), K::EcP256) => SignatureAlgorithm::EcdsaP256Sha512,
            (Self::Ecdsa(D::Sha256), K::EcP384) => SignatureAlgorithm::EcdsaP384Sha256,
            (Self::Ecdsa(D::Sha384), K::EcP384) => SignatureAlgorithm::EcdsaP384Sha384,
            (Self::Ecdsa(D::Sha512), K::EcP384) => SignatureAlgorithm::EcdsaP384Sha512,
            (Self::Ecdsa(D::Sha256), K::EcP521) => SignatureAlgorithm::EcdsaP521Sha256,
            (Self::Ecdsa(D::Sha384), K::EcP521) => SignatureAlgorithm::EcdsaP521Sha384,
            (Self::Ecdsa(D::Sha512), K::EcP521) => SignatureAlgorithm::EcdsaP521Sha512,
            (Self::Ed25519, K::Ed25519) => SignatureAlgorithm::Ed25519,
            _ => return None,
        })
    }
}

/// `RSASSA-PSS-params` whose hashes are known.
pub(crate) fn pss_parameters(der: &[u8], budget: &mut Budget) -> Option<PssParameters> {
    let parameters = RsassaPssParameters::decode(der, budget).ok()?;
    Some(PssParameters {
        digest: DigestAlgorithm::from_oid(&parameters.hash)?,
        mask_digest: DigestAlgorithm::from_oid(&parameters.mask_hash)?,
        salt_len: u16::try_from(parameters.salt_length).ok()?,
    })
}

/// The object identifier of a digest.
pub(crate) fn digest_oid(digest: DigestAlgorithm) -> Oid {
    oid(digest.oid())
}

/// The digest that a signature algorithm hashes the message with; `None` for Ed25519, which hashes inside.
#[must_use]
pub fn digest_of(algorithm: SignatureAlgorithm) -> Option<DigestAlgorithm> {
    algorithm.digest()
}

/// The `AlgorithmIdentifier` of a signature.
pub(crate) fn identifier_der(algorithm: SignatureAlgorithm) -> Vec<u8> {
    let (number, parameters) = identifier_parts(algorithm);
    write::algorithm_identifier(&oid(number), &parameters)
}

/// Its object identifier and the DER of its parameters: NULL for RSA PKCS#1 (RFC 4055 section 5), none for ECDSA and Ed25519.
pub(crate) fn identifier_parts(algorithm: SignatureAlgorithm) -> (&'static str, Vec<u8>) {
    use SignatureAlgorithm as S;
    match algorithm {
        S::RsaPkcs1Sha1 => ("1.2.840.113549.1.1.5", write::null()),
        S::RsaPkcs1Sha224 => ("1.2.840.113549.1.1.14", write::null()),
        S::RsaPkcs1Sha256 => ("1.2.840.113549.1.1.11", write::null()),
        S::RsaPkcs1Sha384 => ("1.2.840.113549.1.1.12", write::null()),
        S::RsaPkcs1Sha512 => ("1.2.840.113549.1.1.13", write::null()),
        S::EcdsaP256Sha256 | S::EcdsaP384Sha256 | S::EcdsaP521Sha256 => ("1.2.840.10045.4.3.2", Vec::new()),
        S::EcdsaP256Sha384 | S::EcdsaP384Sha384 | S::EcdsaP521Sha384 => ("1.2.840.10045.4.3.3", Vec::new()),
        S::EcdsaP256Sha512 | S::EcdsaP384Sha512 | S::EcdsaP521Sha512 => ("1.2.840.10045.4.3.4", Vec::new()),
        S::Ed25519 => (ED25519, Vec::new()),
        S::RsaPssSha256 | S::RsaPssSha384 | S::RsaPssSha512 | S::RsaPss(_) => {
            let parameters = algorithm.pss_parameters().map(|parameters| RsassaPssParameters {
                hash: digest_oid(parameters.digest),
                mask_hash: digest_oid(parameters.mask_digest),
                salt_length: u64::from(parameters.salt_len),
            });
            (RSASSA_PSS, parameters.map(|parameters| parameters.encode()).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signature_algorithm_survives_its_identifier() {
        use DigestAlgorithm as D;
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
            (S::RsaPkcs1Sha224, &rsa),
            (S::EcdsaP256Sha512, &PublicKeyAlgorithm::EcP256),
            (S::EcdsaP384Sha512, &PublicKeyAlgorithm::EcP384),
            (S::EcdsaP521Sha256, &PublicKeyAlgorithm::EcP521),
            (S::EcdsaP521Sha384, &PublicKeyAlgorithm::EcP521),
            (S::EcdsaP521Sha512, &PublicKeyAlgorithm::EcP521),
            (S::RsaPss(PssParameters { digest: D::Sha256, mask_digest: D::Sha1, salt_len: 222 }), &rsa),
            (
                S::RsaPss(PssParameters { digest: D::Sha224, mask_digest: D::Sha224, salt_len: 0 }),
                &PublicKeyAlgorithm::RsaPss { bits: 2048 },
            ),
            (S::Ed25519, &PublicKeyAlgorithm::Ed25519),
        ] {
            let identifier = SignatureIdentifier::from_der(&identifier_der(algorithm)).unwrap();
            assert_eq!(identifier.with_key(key), Some(algorithm));
            let other = if matches!(key, PublicKeyAlgorithm::Rsa { .. } | PublicKeyAlgorithm::RsaPss { .. }) {
                PublicKeyAlgorithm::EcP256
            } else {
                rsa.clone()
            };
            assert_eq!(identifier.with_key(&other), None, "{algorithm:?} with another key");
        }
    }

    #[test]
    fn pss_with_another_salt_is_not_taken_for_the_usual_one_and_sha1_in_it_is_not_taken() {
        let mut der = identifier_der(SignatureAlgorithm::RsaPssSha256);
        let last = der.len() - 1;
        assert_eq!(der[last], 32);
        der[last] = 20;
        let sha256 = DigestAlgorithm::Sha256;
        let short = PssParameters { digest: sha256, mask_digest: sha256, salt_len: 20 };
        assert_eq!(SignatureIdentifier::from_der(&der), Some(SignatureIdentifier::RsaPss(short)));
        let sha1 = PssParameters { digest: DigestAlgorithm::Sha1, mask_digest: DigestAlgorithm::Sha1, salt_len: 20 };
        assert_eq!(SignatureIdentifier::from_der(&identifier_der(SignatureAlgorithm::RsaPss(sha1))), None);
    }

    #[test]
    fn a_key_for_pss_alone_does_not_verify_pkcs1_signatures() {
        let key = PublicKeyAlgorithm::RsaPss { bits: 2048 };
        assert_eq!(SignatureIdentifier::RsaPkcs1(DigestAlgorithm::Sha256).with_key(&key), None);
    }
}
