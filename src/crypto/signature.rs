//! Signature algorithms.

use serde::{Deserialize, Serialize};

use super::DigestAlgorithm;

/// Signature algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-1: verification of old objects only.
    RsaPkcs1Sha1,
    /// RSASSA-PKCS1-v1_5 with SHA-224: verification only, no backend signs with it.
    RsaPkcs1Sha224,
    /// RSASSA-PKCS1-v1_5 with SHA-256
    RsaPkcs1Sha256,
    /// RSASSA-PKCS1-v1_5 with SHA-384
    RsaPkcs1Sha384,
    /// RSASSA-PKCS1-v1_5 with SHA-512
    RsaPkcs1Sha512,
    /// RSASSA-PSS with SHA-256, MGF1-SHA-256, salt of 32 bytes
    RsaPssSha256,
    /// RSASSA-PSS with SHA-384, MGF1-SHA-384, salt of 48 bytes
    RsaPssSha384,
    /// RSASSA-PSS with SHA-512, MGF1-SHA-512, salt of 64 bytes
    RsaPssSha512,
    /// RSASSA-PSS with other parameters than those three: verification only. Made by [`SignatureAlgorithm::rsa_pss`].
    RsaPss(PssParameters),
    /// ECDSA on P-256 with SHA-256, signature as DER
    EcdsaP256Sha256,
    /// ECDSA on P-256 with SHA-384, signature as DER
    EcdsaP256Sha384,
    /// ECDSA on P-256 with SHA-512, signature as DER
    EcdsaP256Sha512,
    /// ECDSA on P-384 with SHA-256, signature as DER
    EcdsaP384Sha256,
    /// ECDSA on P-384 with SHA-384, signature as DER
    EcdsaP384Sha384,
    /// ECDSA on P-384 with SHA-512, signature as DER
    EcdsaP384Sha512,
    /// ECDSA on P-521 with SHA-256, signature as DER
    EcdsaP521Sha256,
    /// ECDSA on P-521 with SHA-384, signature as DER
    EcdsaP521Sha384,
    /// ECDSA on P-521 with SHA-512, signature as DER
    EcdsaP521Sha512,
    /// Ed25519
    Ed25519,
}

/// What varies in RSASSA-PSS (RFC 8017 section 8.1). The mask generation function is MGF1, the trailer 0xBC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PssParameters {
    /// The hash of the message.
    pub digest: DigestAlgorithm,
    /// The hash inside MGF1; usually the same.
    pub mask_digest: DigestAlgorithm,
    /// Bytes of salt; usually as many as the hash has, with OpenSSL's defaults as many as fit.
    pub salt_len: u16,
}

impl SignatureAlgorithm {
    /// RSASSA-PSS with these parameters, by its own name where it has one.
    #[must_use]
    pub fn rsa_pss(parameters: PssParameters) -> Self {
        [Self::RsaPssSha256, Self::RsaPssSha384, Self::RsaPssSha512]
            .into_iter()
            .find(|named| named.pss_parameters() == Some(parameters))
            .unwrap_or(Self::RsaPss(parameters))
    }

    /// The parameters of RSASSA-PSS; `None` for other algorithms.
    #[must_use]
    pub fn pss_parameters(self) -> Option<PssParameters> {
        let same = |digest: DigestAlgorithm, salt_len| Some(PssParameters { digest, mask_digest: digest, salt_len });
        match self {
            Self::RsaPssSha256 => same(DigestAlgorithm::Sha256, 32),
            Self::RsaPssSha384 => same(DigestAlgorithm::Sha384, 48),
            Self::RsaPssSha512 => same(DigestAlgorithm::Sha512, 64),
            Self::RsaPss(parameters) => Some(parameters),
            _ => None,
        }
    }

    /// The digest that hashes the message; `None` for Ed25519, which hashes inside.
    #[must_use]
    pub fn digest(self) -> Option<DigestAlgorithm> {
        match self {
            Self::RsaPkcs1Sha1 => Some(DigestAlgorithm::Sha1),
            Self::RsaPkcs1Sha224 => Some(DigestAlgorithm::Sha224),
            Self::RsaPkcs1Sha256 | Self::RsaPssSha256 | Self::EcdsaP256Sha256 | Self::EcdsaP384Sha256 | Self::EcdsaP521Sha256 => {
                Some(DigestAlgorithm::Sha256)
            }
            Self::RsaPkcs1Sha384 | Self::RsaPssSha384 | Self::EcdsaP256Sha384 | Self::EcdsaP384Sha384 | Self::EcdsaP521Sha384 => {
                Some(DigestAlgorithm::Sha384)
            }
            Self::RsaPkcs1Sha512 | Self::RsaPssSha512 | Self::EcdsaP256Sha512 | Self::EcdsaP384Sha512 | Self::EcdsaP521Sha512 => {
                Some(DigestAlgorithm::Sha512)
            }
            Self::RsaPss(parameters) => Some(parameters.digest),
            Self::Ed25519 => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pss_with_the_usual_parameters_has_its_own_name() {
        let usual = PssParameters { digest: DigestAlgorithm::Sha256, mask_digest: DigestAlgorithm::Sha256, salt_len: 32 };
        assert_eq!(SignatureAlgorithm::rsa_pss(usual), SignatureAlgorithm::RsaPssSha256);
        for other in [PssParameters { salt_len: 20, ..usual }, PssParameters { mask_digest: DigestAlgorithm::Sha1, ..usual }] {
            assert_eq!(SignatureAlgorithm::rsa_pss(other), SignatureAlgorithm::RsaPss(other));
        }
    }
}
