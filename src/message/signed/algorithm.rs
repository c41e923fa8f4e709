//! Signature algorithm identifiers as SignerInfo uses them (RFC 3370, RFC 5754, RFC 4056, RFC 8419).

use crate::codec::cms::{AlgorithmIdentifier, oids};
use crate::codec::der::write;
use crate::codec::rsassa_pss::RSASSA_PSS;
use crate::crypto::{DigestAlgorithm, SignatureAlgorithm};
use crate::limits::Budget;
use crate::message::algorithm::{PublicKeyAlgorithm, SignatureIdentifier, identifier_parts, pss_parameters};
use crate::message::cms_error::CmsError;
use crate::terms::oid;

const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const ECDSA_SHA1: &str = "1.2.840.10045.4.1";
const RSA_SHA1: &str = "1.2.840.113549.1.1.5";
/// sha1WithRSASignature of OIW, which old Windows writes.
const RSA_SHA1_OIW: &str = "1.3.14.3.2.29";

/// The digest over content and attributes that goes with a signature algorithm. RFC 8419 section 3.1 demands SHA-512 for Ed25519.
pub(super) fn digest_of(algorithm: SignatureAlgorithm) -> DigestAlgorithm {
    algorithm.digest().unwrap_or(DigestAlgorithm::Sha512)
}

/// The identifier to write. PKCS#1 v1.5 is written as rsaEncryption: strongSwan before 5.9.11 and older Cisco read nothing else.
pub(super) fn signature_identifier(algorithm: SignatureAlgorithm) -> AlgorithmIdentifier {
    let (number, parameters) = match algorithm {
        SignatureAlgorithm::RsaPkcs1Sha1
        | SignatureAlgorithm::RsaPkcs1Sha224
        | SignatureAlgorithm::RsaPkcs1Sha256
        | SignatureAlgorithm::RsaPkcs1Sha384
        | SignatureAlgorithm::RsaPkcs1Sha512 => (oids::RSA_ENCRYPTION, write::null()),
        other => identifier_parts(other),
    };
    AlgorithmIdentifier::new(oid(number), (!parameters.is_empty()).then_some(parameters))
}

/// What to verify with, from both identifiers of a SignerInfo and the kind of key.
///
/// rsaEncryption and id-ecPublicKey say no digest: the one over the content is meant.
pub(super) fn signature_algorithm(
    signature: &AlgorithmIdentifier,
    digest: DigestAlgorithm,
    key: &PublicKeyAlgorithm,
    budget: &mut Budget,
) -> Result<SignatureAlgorithm, CmsError> {
    let unsupported = |role| CmsError::UnsupportedAlgorithm { role, oid: signature.algorithm.clone() };
    let identifier = match signature.algorithm.as_str() {
        oids::RSA_ENCRYPTION => SignatureIdentifier::RsaPkcs1(digest),
        EC_PUBLIC_KEY => SignatureIdentifier::Ecdsa(digest),
        RSA_SHA1 | RSA_SHA1_OIW => SignatureIdentifier::RsaPkcs1(DigestAlgorithm::Sha1),
        ECDSA_SHA1 => SignatureIdentifier::Ecdsa(DigestAlgorithm::Sha1),
        RSASSA_PSS => {
            // RFC 4056 section 3: the parameters are never left out in a signature.
            let parameters = signature.parameters.as_deref().ok_or(CmsError::Malformed("RSASSA-PSS has no parameters"))?;
            let parameters = pss_parameters(parameters, budget).ok_or_else(|| unsupported("combination of RSASSA-PSS parameters"))?;
            SignatureIdentifier::RsaPss(parameters)
        }
        _ => SignatureIdentifier::from_der(&signature.encode()).ok_or_else(|| unsupported("signature algorithm"))?,
    };
    identifier.with_key(key).ok_or_else(|| unsupported("signature algorithm with this digest and the signer's key"))
}
