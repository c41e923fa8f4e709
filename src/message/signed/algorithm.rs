//! Signature algorithm identifiers as SignerInfo uses them (RFC 3370, RFC 5754, RFC 4056, RFC 8419).

use crate::codec::cms::{AlgorithmIdentifier, oids, read_oid};
use crate::codec::der::{Rules, Tag, single, write};
use crate::crypto::{DigestAlgorithm, SignatureAlgorithm};
use crate::limits::Budget;
use crate::message::algorithm::PublicKeyAlgorithm;
use crate::message::cms_error::CmsError;
use crate::message::enveloped::{digest_algorithm, digest_oid};
use crate::terms::oid;

const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
const ECDSA_SHA384: &str = "1.2.840.10045.4.3.3";
const ED25519: &str = "1.3.101.112";
const RSA_SHA1: &str = "1.2.840.113549.1.1.5";
const RSA_SHA256: &str = "1.2.840.113549.1.1.11";
const RSA_SHA384: &str = "1.2.840.113549.1.1.12";
const RSA_SHA512: &str = "1.2.840.113549.1.1.13";

/// The digest over content and attributes that goes with a signature algorithm.
pub(super) fn digest_of(algorithm: SignatureAlgorithm) -> DigestAlgorithm {
    match algorithm {
        SignatureAlgorithm::RsaPkcs1Sha1 => DigestAlgorithm::Sha1,
        SignatureAlgorithm::RsaPkcs1Sha256
        | SignatureAlgorithm::RsaPssSha256
        | SignatureAlgorithm::EcdsaP256Sha256
        | SignatureAlgorithm::EcdsaP384Sha256 => DigestAlgorithm::Sha256,
        SignatureAlgorithm::RsaPkcs1Sha384
        | SignatureAlgorithm::RsaPssSha384
        | SignatureAlgorithm::EcdsaP256Sha384
        | SignatureAlgorithm::EcdsaP384Sha384 => DigestAlgorithm::Sha384,
        SignatureAlgorithm::RsaPkcs1Sha512 | SignatureAlgorithm::RsaPssSha512 | SignatureAlgorithm::Ed25519 => DigestAlgorithm::Sha512,
    }
}

/// The identifier to write. PKCS#1 v1.5 is written as rsaEncryption: strongSwan before 5.9.11 and older Cisco read nothing else.
pub(super) fn signature_identifier(algorithm: SignatureAlgorithm) -> AlgorithmIdentifier {
    match algorithm {
        SignatureAlgorithm::RsaPkcs1Sha1
        | SignatureAlgorithm::RsaPkcs1Sha256
        | SignatureAlgorithm::RsaPkcs1Sha384
        | SignatureAlgorithm::RsaPkcs1Sha512 => AlgorithmIdentifier::new(oid(oids::RSA_ENCRYPTION), Some(write::null())),
        SignatureAlgorithm::RsaPssSha256 | SignatureAlgorithm::RsaPssSha384 | SignatureAlgorithm::RsaPssSha512 => {
            let digest = digest_of(algorithm);
            let hash = digest_oid(digest).map(|hash| write::algorithm_identifier(&hash, &write::null())).unwrap_or_default();
            let mask = write::algorithm_identifier(&oid(oids::MGF1), &hash);
            let salt = write::unsigned(digest.output_len() as u64);
            let parameters = write::sequence(&[&write::context(0, &[&hash]), &write::context(1, &[&mask]), &write::context(2, &[&salt])]);
            AlgorithmIdentifier::new(oid(oids::RSASSA_PSS), Some(parameters))
        }
        SignatureAlgorithm::EcdsaP256Sha256 | SignatureAlgorithm::EcdsaP384Sha256 => AlgorithmIdentifier::new(oid(ECDSA_SHA256), None),
        SignatureAlgorithm::EcdsaP256Sha384 | SignatureAlgorithm::EcdsaP384Sha384 => AlgorithmIdentifier::new(oid(ECDSA_SHA384), None),
        SignatureAlgorithm::Ed25519 => AlgorithmIdentifier::new(oid(ED25519), None),
    }
}

/// What to verify with, from both identifiers of a SignerInfo and the kind of key.
pub(super) fn signature_algorithm(
    signature: &AlgorithmIdentifier,
    digest: DigestAlgorithm,
    key: &PublicKeyAlgorithm,
    budget: &mut Budget,
) -> Result<SignatureAlgorithm, CmsError> {
    let unsupported = || CmsError::UnsupportedAlgorithm { role: "signature algorithm", oid: signature.algorithm.clone() };
    let named = match signature.algorithm.as_str() {
        oids::RSA_ENCRYPTION | EC_PUBLIC_KEY => digest,
        RSA_SHA1 => DigestAlgorithm::Sha1,
        RSA_SHA256 | ECDSA_SHA256 => DigestAlgorithm::Sha256,
        RSA_SHA384 | ECDSA_SHA384 => DigestAlgorithm::Sha384,
        RSA_SHA512 => DigestAlgorithm::Sha512,
        oids::RSASSA_PSS => return pss(signature, digest, budget),
        ED25519 => return Ok(SignatureAlgorithm::Ed25519),
        _ => return Err(unsupported()),
    };
    if named != digest {
        return Err(CmsError::Malformed("the signature algorithm and the digest algorithm name different digests"));
    }
    let is_ec = matches!(signature.algorithm.as_str(), EC_PUBLIC_KEY | ECDSA_SHA256 | ECDSA_SHA384);
    match (is_ec, key, digest) {
        (false, PublicKeyAlgorithm::Rsa { .. }, DigestAlgorithm::Sha1) => Ok(SignatureAlgorithm::RsaPkcs1Sha1),
        (false, PublicKeyAlgorithm::Rsa { .. }, DigestAlgorithm::Sha256) => Ok(SignatureAlgorithm::RsaPkcs1Sha256),
        (false, PublicKeyAlgorithm::Rsa { .. }, DigestAlgorithm::Sha384) => Ok(SignatureAlgorithm::RsaPkcs1Sha384),
        (false, PublicKeyAlgorithm::Rsa { .. }, DigestAlgorithm::Sha512) => Ok(SignatureAlgorithm::RsaPkcs1Sha512),
        (true, PublicKeyAlgorithm::EcP256, DigestAlgorithm::Sha256) => Ok(SignatureAlgorithm::EcdsaP256Sha256),
        (true, PublicKeyAlgorithm::EcP256, DigestAlgorithm::Sha384) => Ok(SignatureAlgorithm::EcdsaP256Sha384),
        (true, PublicKeyAlgorithm::EcP384, DigestAlgorithm::Sha256) => Ok(SignatureAlgorithm::EcdsaP384Sha256),
        (true, PublicKeyAlgorithm::EcP384, DigestAlgorithm::Sha384) => Ok(SignatureAlgorithm::EcdsaP384Sha384),
        _ => Err(unsupported()),
    }
}

/// `RSASSA-PSS-params` (RFC 4055 section 3.1): only equal hashes and a salt of the hash's length are read.
fn pss(signature: &AlgorithmIdentifier, digest: DigestAlgorithm, budget: &mut Budget) -> Result<SignatureAlgorithm, CmsError> {
    let unsupported = || CmsError::UnsupportedAlgorithm { role: "combination of RSASSA-PSS parameters", oid: signature.algorithm.clone() };
    let mut inner = single(signature.parameters.as_deref().ok_or_else(unsupported)?, Rules::Ber, budget)?.inner()?;
    let hash = inner.optional(Tag::context(0), budget)?.ok_or_else(unsupported)?;
    let hash = read_oid(&mut hash.inner()?.sequence(budget)?, budget)?;
    let mask = inner.optional(Tag::context(1), budget)?.ok_or_else(unsupported)?;
    let mut mask = mask.inner()?.sequence(budget)?;
    let generator = read_oid(&mut mask, budget)?;
    let mask_hash = read_oid(&mut mask.sequence(budget)?, budget)?;
    let salt = inner.optional(Tag::context(2), budget)?.ok_or_else(unsupported)?.explicit(budget)?.unsigned()?;
    let fits = generator.as_str() == oids::MGF1
        && digest_algorithm(&hash) == Some(digest)
        && mask_hash == hash
        && salt == digest.output_len() as u64;
    match digest {
        DigestAlgorithm::Sha256 if fits => Ok(SignatureAlgorithm::RsaPssSha256),
        DigestAlgorithm::Sha384 if fits => Ok(SignatureAlgorithm::RsaPssSha384),
        DigestAlgorithm::Sha512 if fits => Ok(SignatureAlgorithm::RsaPssSha512),
        _ => Err(unsupported()),
    }
}
