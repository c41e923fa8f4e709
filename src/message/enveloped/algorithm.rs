//! Algorithm identifiers of envelopes, to and from the crypto layer's names.

use super::LegacyCiphers;
use crate::codec::cms::{AlgorithmIdentifier, GcmParameters, RsaesOaepParameters, oids};
use crate::codec::der::write;
use crate::crypto::{AeadAlgorithm, ContentCipherAlgorithm, CryptoError, CryptoProvider, DigestAlgorithm, KeyTransportAlgorithm};
use crate::ids::Oid;
use crate::limits::Budget;
use crate::message::cms_error::CmsError;
use crate::secret::SecretBytes;
use crate::terms::oid;

/// The only lengths of a GCM nonce and tag that are written and read.
const GCM_NONCE: usize = 12;
const GCM_TAG: u64 = 16;

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
    (oids::DES_CBC, ContentCipherAlgorithm::DesCbc),
];

const AEADS: &[(&str, AeadAlgorithm)] = &[
    (oids::AES128_GCM, AeadAlgorithm::Aes128Gcm),
    (oids::AES192_GCM, AeadAlgorithm::Aes192Gcm),
    (oids::AES256_GCM, AeadAlgorithm::Aes256Gcm),
];

/// A cipher without integrity, with its IV.
#[derive(Debug, Clone)]
pub(super) struct Cipher {
    pub(super) algorithm: ContentCipherAlgorithm,
    pub(super) iv: Vec<u8>,
    pub(super) key_len: usize,
}

impl Cipher {
    /// A cipher with a fresh IV, to write.
    pub(super) fn generate(algorithm: ContentCipherAlgorithm, legacy: LegacyCiphers, provider: &CryptoProvider) -> Result<Self, CmsError> {
        let key_len = match algorithm {
            ContentCipherAlgorithm::DesCbc | ContentCipherAlgorithm::Rc2Cbc { .. } | ContentCipherAlgorithm::Rc4 => None,
            known => known.key_len(),
        };
        let key_len = key_len.ok_or(CryptoError::Unsupported("this cipher in an envelope"))?;
        legacy.check(algorithm)?;
        let mut iv = vec![0; algorithm.iv_len()];
        provider.random()?.fill(&mut iv)?;
        Ok(Self { algorithm, iv, key_len })
    }

    /// Reads an identifier; the role names it in the error.
    pub(super) fn read(identifier: &AlgorithmIdentifier, role: &'static str, budget: &mut Budget) -> Result<Self, CmsError> {
        let unsupported = || CmsError::UnsupportedAlgorithm { role, oid: identifier.algorithm.clone() };
        let (_, algorithm) = CIPHERS.iter().find(|(text, _)| *text == identifier.algorithm.as_str()).ok_or_else(unsupported)?;
        let iv = identifier.octet_string_parameter(budget)?;
        if iv.len() != algorithm.iv_len() {
            return Err(CmsError::Malformed("the IV of a cipher has the wrong length"));
        }
        let key_len = algorithm.key_len().ok_or_else(unsupported)?;
        Ok(Self { algorithm: *algorithm, iv, key_len })
    }

    /// Refuses what is not opted in and what the provider cannot do.
    pub(super) fn check(&self, legacy: LegacyCiphers, provider: &CryptoProvider) -> Result<(), CmsError> {
        legacy.check(self.algorithm)?;
        Ok(provider.content_cipher()?.check(self.algorithm)?)
    }

    pub(super) fn identifier(&self) -> Result<AlgorithmIdentifier, CmsError> {
        let (text, _) =
            CIPHERS.iter().find(|(_, known)| *known == self.algorithm).ok_or(CryptoError::Unsupported("this cipher in an envelope"))?;
        Ok(AlgorithmIdentifier::new(oid(text), Some(write::octet_string(&self.iv))))
    }

    /// One failure for every fault of key and ciphertext.
    pub(super) fn decrypt(&self, key: &SecretBytes, ciphertext: &[u8], provider: &CryptoProvider) -> Result<SecretBytes, CmsError> {
        let cipher = provider.content_cipher()?;
        cipher.decrypt(self.algorithm, key.secret_bytes(), &self.iv, ciphertext).map_err(|_| CmsError::Decryption)
    }
}

/// An authenticated cipher with its nonce.
#[derive(Debug, Clone)]
pub(super) struct AeadCipher {
    pub(super) algorithm: AeadAlgorithm,
    pub(super) nonce: Vec<u8>,
}

impl AeadCipher {
    /// Encrypts under a fresh nonce: the cipher with that nonce, and the ciphertext with its tag.
    pub(super) fn seal(
        algorithm: AeadAlgorithm,
        key: &SecretBytes,
        content: &[u8],
        provider: &CryptoProvider,
    ) -> Result<(Self, Vec<u8>), CmsError> {
        let (aead, random) = (provider.aead()?, provider.random()?);
        let (nonce, sealed) = aead.seal_with_random_nonce(algorithm, key.secret_bytes(), random, &[], content)?;
        Ok((Self { algorithm, nonce: nonce.to_vec() }, sealed))
    }

    /// Reads an identifier together with the tag it speaks of. Nonces of other lengths than 12 bytes and tags of other lengths than 16
    /// are refused: the provider must never see lengths that a stranger chose, and short tags can be forged.
    pub(super) fn read(identifier: &AlgorithmIdentifier, mac: &[u8], budget: &mut Budget) -> Result<Self, CmsError> {
        let (_, algorithm) = AEADS
            .iter()
            .find(|(text, _)| *text == identifier.algorithm.as_str())
            .ok_or_else(|| CmsError::UnsupportedAlgorithm { role: "authenticated content cipher", oid: identifier.algorithm.clone() })?;
        let parameters = GcmParameters::decode(identifier, budget)?;
        if parameters.nonce.len() != GCM_NONCE {
            return Err(CmsError::Malformed("the nonce of AES-GCM is not 12 bytes long"));
        }
        if parameters.icv_len != GCM_TAG {
            return Err(CmsError::Malformed("the authentication tag of AES-GCM is announced shorter than 16 bytes, which can be forged"));
        }
        if mac.len() as u64 != GCM_TAG {
            return Err(CmsError::Malformed("the authentication tag of AES-GCM is not 16 bytes long"));
        }
        Ok(Self { algorithm: *algorithm, nonce: parameters.nonce })
    }

    pub(super) fn identifier(&self) -> Result<AlgorithmIdentifier, CmsError> {
        let (text, _) = AEADS.iter().find(|(_, known)| *known == self.algorithm).ok_or(CryptoError::Unsupported("this cipher"))?;
        let parameters = GcmParameters { nonce: self.nonce.clone(), icv_len: GCM_TAG };
        Ok(AlgorithmIdentifier::new(oid(text), Some(parameters.encode())))
    }
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

/// The key transport that an identifier names, with the OAEP label; OAEP with two different hashes is refused with both names.
pub(super) fn key_transport(identifier: &AlgorithmIdentifier, budget: &mut Budget) -> Result<(KeyTransportAlgorithm, Vec<u8>), CmsError> {
    match identifier.algorithm.as_str() {
        oids::RSA_ENCRYPTION if identifier.has_no_parameters() => Ok((KeyTransportAlgorithm::RsaPkcs1v15, Vec::new())),
        oids::RSA_ENCRYPTION => Err(CmsError::Malformed("rsaEncryption with parameters")),
        oids::RSAES_OAEP => {
            let parameters = RsaesOaepParameters::decode(identifier.parameters.as_deref(), budget)?;
            if parameters.hash != parameters.mask_hash {
                return Err(CmsError::UnsupportedOaepHashes { hash: parameters.hash, mask_hash: parameters.mask_hash });
            }
            let algorithm = match digest_algorithm(&parameters.hash) {
                Some(DigestAlgorithm::Sha1) => KeyTransportAlgorithm::RsaOaepSha1,
                Some(DigestAlgorithm::Sha256) => KeyTransportAlgorithm::RsaOaepSha256,
                Some(DigestAlgorithm::Sha384) => KeyTransportAlgorithm::RsaOaepSha384,
                Some(DigestAlgorithm::Sha512) => KeyTransportAlgorithm::RsaOaepSha512,
                _ => return Err(CmsError::UnsupportedAlgorithm { role: "OAEP hash", oid: parameters.hash }),
            };
            Ok((algorithm, parameters.label))
        }
        _ => Err(CmsError::UnsupportedAlgorithm { role: "key transport", oid: identifier.algorithm.clone() }),
    }
}
