//! Algorithm identifiers of envelopes, to and from the crypto layer's names.

use crate::codec::cms::{AlgorithmIdentifier, RsaesOaepParameters, oids};
use crate::codec::der::write;
use crate::crypto::{ContentCipherAlgorithm, DigestAlgorithm, KeyTransportAlgorithm};
use crate::ids::Oid;
use crate::limits::Budget;
use crate::message::cms_error::CmsError;
use crate::terms::oid;

const DIGESTS: &[(&str, DigestAlgorithm)] = &[
    (oids::SHA1, DigestAlgorithm::Sha1),
    (oids::SHA224, DigestAlgorithm::Sha224),
    (oids::SHA256, DigestAlgorithm::Sha256),
    (oids::SHA384, DigestAlgorithm::Sha384),
    (oids::SHA512, DigestAlgorithm::Sha512),
];

/// The digest that an object identifier names.
pub(super) fn digest_algorithm(oid: &Oid) -> Option<DigestAlgorithm> {
    DIGESTS.iter().find(|(text, _)| *text == oid.as_str()).map(|(_, digest)| *digest)
}

const CIPHERS: &[(&str, ContentCipherAlgorithm)] = &[
    (oids::AES128_CBC, ContentCipherAlgorithm::Aes128Cbc),
    (oids::AES192_CBC, ContentCipherAlgorithm::Aes192Cbc),
    (oids::AES256_CBC, ContentCipherAlgorithm::Aes256Cbc),
    (oids::DES_EDE3_CBC, ContentCipherAlgorithm::DesEde3Cbc),
];

/// The identifier of a content cipher with its IV.
pub(super) fn content_cipher_identifier(cipher: ContentCipherAlgorithm, iv: &[u8]) -> Option<AlgorithmIdentifier> {
    let (text, _) = CIPHERS.iter().find(|(_, known)| *known == cipher)?;
    Some(AlgorithmIdentifier::new(oid(text), Some(write::octet_string(iv))))
}

/// A content cipher, its IV and its key length.
pub(super) fn content_cipher(
    identifier: &AlgorithmIdentifier,
    budget: &mut Budget,
) -> Result<(ContentCipherAlgorithm, Vec<u8>, usize), CmsError> {
    let unsupported = || CmsError::UnsupportedAlgorithm { role: "content cipher", oid: identifier.algorithm.clone() };
    let (_, cipher) = CIPHERS.iter().find(|(text, _)| *text == identifier.algorithm.as_str()).ok_or_else(unsupported)?;
    let iv = identifier.octet_string_parameter(budget)?;
    if iv.len() != cipher.iv_len() {
        return Err(CmsError::Malformed("the IV of the content cipher has the wrong length"));
    }
    let key_len = cipher.key_len().ok_or_else(unsupported)?;
    Ok((*cipher, iv, key_len))
}

/// The identifier of a key transport.
pub(super) fn key_transport_identifier(transport: KeyTransportAlgorithm) -> AlgorithmIdentifier {
    let hash = match transport {
        KeyTransportAlgorithm::RsaPkcs1v15 => return AlgorithmIdentifier::new(oid(oids::RSA_ENCRYPTION), Some(write::null())),
        KeyTransportAlgorithm::RsaOaepSha1 => oids::SHA1,
        KeyTransportAlgorithm::RsaOaepSha256 => oids::SHA256,
        KeyTransportAlgorithm::RsaOaepSha384 => oids::SHA384,
        KeyTransportAlgorithm::RsaOaepSha512 => oids::SHA512,
    };
    let parameters = RsaesOaepParameters { hash: oid(hash), mask_hash: oid(hash), label: Vec::new() };
    AlgorithmIdentifier::new(oid(oids::RSAES_OAEP), Some(parameters.encode()))
}

/// The key transport that an identifier names; OAEP with two different hashes or a label is refused by name.
pub(super) fn key_transport(identifier: &AlgorithmIdentifier, budget: &mut Budget) -> Result<KeyTransportAlgorithm, CmsError> {
    match identifier.algorithm.as_str() {
        oids::RSA_ENCRYPTION if identifier.has_no_parameters() => Ok(KeyTransportAlgorithm::RsaPkcs1v15),
        oids::RSA_ENCRYPTION => Err(CmsError::Malformed("rsaEncryption with parameters")),
        oids::RSAES_OAEP => {
            let parameters = RsaesOaepParameters::decode(identifier.parameters.as_deref(), budget)?;
            if !parameters.label.is_empty() {
                return Err(CmsError::UnsupportedAlgorithm { role: "OAEP label", oid: oid(oids::P_SPECIFIED) });
            }
            if parameters.hash != parameters.mask_hash {
                return Err(CmsError::UnsupportedAlgorithm {
                    role: "hash of MGF1 that is not the hash of OAEP,",
                    oid: parameters.mask_hash,
                });
            }
            match digest_algorithm(&parameters.hash) {
                Some(DigestAlgorithm::Sha1) => Ok(KeyTransportAlgorithm::RsaOaepSha1),
                Some(DigestAlgorithm::Sha256) => Ok(KeyTransportAlgorithm::RsaOaepSha256),
                Some(DigestAlgorithm::Sha384) => Ok(KeyTransportAlgorithm::RsaOaepSha384),
                Some(DigestAlgorithm::Sha512) => Ok(KeyTransportAlgorithm::RsaOaepSha512),
                _ => Err(CmsError::UnsupportedAlgorithm { role: "OAEP hash", oid: parameters.hash }),
            }
        }
        _ => Err(CmsError::UnsupportedAlgorithm { role: "key transport", oid: identifier.algorithm.clone() }),
    }
}
