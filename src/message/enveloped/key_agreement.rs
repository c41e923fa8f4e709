//! ECDH recipients (RFC 5753, RFC 8418): from the shared secret to the content key and back.

use super::key_wrap::KeyWrapAlgorithm;
use crate::codec::cms::{
    AlgorithmIdentifier, CertificateIdentifier, KeyAgreeRecipientInfo, Originator, RecipientEncryptedKey, ecc_cms_shared_info, oids,
};
use crate::codec::der::{Reader, Rules, write};
use crate::codec::x509::spki::SubjectPublicKeyInfo;
use crate::crypto::{CryptoError, CryptoProvider, DigestAlgorithm, UnwrapRequest};
use crate::limits::Budget;
use crate::message::certificate::Certificate;
use crate::message::cms_error::CmsError;
use crate::secret::SecretBytes;
use crate::terms::oid;

/// `dhSinglePass-stdDH` and `-cofactorDH` with the KDF of ANSI X9.63; on curves of cofactor 1 both are the same.
const X963_SCHEMES: &[(&str, DigestAlgorithm)] = &[
    (oids::STD_DH_SHA256_KDF, DigestAlgorithm::Sha256),
    (oids::STD_DH_SHA384_KDF, DigestAlgorithm::Sha384),
    (oids::STD_DH_SHA512_KDF, DigestAlgorithm::Sha512),
    (oids::STD_DH_SHA224_KDF, DigestAlgorithm::Sha224),
    (oids::STD_DH_SHA1_KDF, DigestAlgorithm::Sha1),
    (oids::COFACTOR_DH_SHA1_KDF, DigestAlgorithm::Sha1),
    (oids::COFACTOR_DH_SHA224_KDF, DigestAlgorithm::Sha224),
    (oids::COFACTOR_DH_SHA256_KDF, DigestAlgorithm::Sha256),
    (oids::COFACTOR_DH_SHA384_KDF, DigestAlgorithm::Sha384),
    (oids::COFACTOR_DH_SHA512_KDF, DigestAlgorithm::Sha512),
];

/// What turns the shared secret into the content key, known before the secret is.
#[derive(Debug)]
pub(super) struct Agreement {
    digest: DigestAlgorithm,
    shared_info: Vec<u8>,
    kek_len: usize,
    wrapped: Vec<u8>,
}

impl Agreement {
    /// What to ask the recipient's key, and what to do with its answer.
    pub(super) fn read(
        kari: &KeyAgreeRecipientInfo,
        wrapped: &[u8],
        recipient: &Certificate,
        provider: &CryptoProvider,
        budget: &mut Budget,
    ) -> Result<(UnwrapRequest, Self), CmsError> {
        provider.permits_agreement(recipient.spki())?;
        let scheme = &kari.key_encryption_algorithm;
        let (_, digest) = X963_SCHEMES
            .iter()
            .find(|(text, _)| *text == scheme.algorithm.as_str())
            .ok_or_else(|| CmsError::UnsupportedAlgorithm { role: "key agreement", oid: scheme.algorithm.clone() })?;
        let parameters = scheme.parameters.as_deref().ok_or(CmsError::Malformed("a key agreement names no key wrap"))?;
        let mut reader = Reader::new(parameters, Rules::Ber);
        let key_wrap = AlgorithmIdentifier::read(&mut reader, budget)?;
        reader.finish()?;
        let wrap = KeyWrapAlgorithm::read(&key_wrap)?;
        let peer_spki = peer(&kari.originator, recipient, budget)?;
        // Asked now, so that nothing but the key can fail later.
        provider.key_wrap()?.check(wrap.key_len())?;
        provider.digest()?.digest(*digest, &[])?;
        let shared_info = ecc_cms_shared_info(&key_wrap, kari.ukm.as_deref(), wrap.key_bits());
        let agreement = Self { digest: *digest, shared_info, kek_len: wrap.key_len(), wrapped: wrapped.to_vec() };
        Ok((UnwrapRequest::key_agreement(peer_spki), agreement))
    }

    /// The content key; `None` when it does not unwrap. Without a shared secret `stand_in` takes its place, for the same work.
    pub(super) fn content_key(
        &self,
        shared_secret: Option<&SecretBytes>,
        stand_in: &SecretBytes,
        provider: &CryptoProvider,
    ) -> Result<Option<SecretBytes>, CmsError> {
        let secret = shared_secret.unwrap_or(stand_in);
        let kek = x963_kdf(provider, self.digest, secret, &self.shared_info, self.kek_len)?;
        Ok(provider.key_wrap()?.unwrap(kek.secret_bytes(), &self.wrapped).ok())
    }
}

/// The sender's SubjectPublicKeyInfo: our own algorithm with the sender's key, after checking that they do not contradict each other.
fn peer(originator: &Originator, recipient: &Certificate, budget: &mut Budget) -> Result<Vec<u8>, CmsError> {
    let Originator::Key { algorithm, public_key } = originator else {
        return Err(CmsError::Malformed("a key agreement with a static key of the sender, whose certificate would be needed"));
    };
    let ours = SubjectPublicKeyInfo::decode(recipient.spki(), budget)?.algorithm;
    if !ours.is(algorithm.algorithm.as_str()) {
        return Err(CmsError::Malformed("the sender's key is of another kind than the recipient's"));
    }
    // RFC 5753 section 3.1.1: absent, NULL, or the named curve.
    let same_curve = match (&algorithm.parameters, ours.parameters) {
        (None, _) => true,
        (Some(theirs), _) if theirs.as_slice() == [5, 0] => true,
        (Some(theirs), Some(ours)) => theirs.as_slice() == ours.raw(),
        (Some(_), None) => false,
    };
    if !same_curve {
        return Err(CmsError::Malformed("the sender's key is on another curve than the recipient's"));
    }
    Ok(write::sequence(&[ours.raw, &write::bit_octets(public_key)]))
}

/// KDF and key wrap that fit a key (RFC 5753 section 8); `None` when it is no key for ECDH.
fn defaults(spki: &SubjectPublicKeyInfo<'_>) -> Option<(DigestAlgorithm, KeyWrapAlgorithm)> {
    if spki.algorithm.is(oids::X25519) {
        return Some((DigestAlgorithm::Sha256, KeyWrapAlgorithm::Aes128));
    }
    let curve = spki.named_curve().filter(|_| spki.algorithm.is(oids::EC_PUBLIC_KEY))?;
    match curve.as_str() {
        oids::SECP256R1 => Some((DigestAlgorithm::Sha256, KeyWrapAlgorithm::Aes128)),
        oids::SECP384R1 => Some((DigestAlgorithm::Sha384, KeyWrapAlgorithm::Aes256)),
        oids::SECP521R1 => Some((DigestAlgorithm::Sha512, KeyWrapAlgorithm::Aes256)),
        _ => None,
    }
}

/// Encrypts the content key to an EC or X25519 certificate under a fresh ephemeral key.
pub(super) fn encrypt(
    recipient: &Certificate,
    rid: CertificateIdentifier,
    (kdf, wrap): (Option<DigestAlgorithm>, Option<KeyWrapAlgorithm>),
    content_key: &SecretBytes,
    provider: &CryptoProvider,
    budget: &mut Budget,
) -> Result<KeyAgreeRecipientInfo, CmsError> {
    let spki = SubjectPublicKeyInfo::decode(recipient.spki(), budget)?;
    let (default_kdf, default_wrap) = defaults(&spki).ok_or(CmsError::Certificate("the recipient's key is no key for ECDH"))?;
    if recipient.key_usage().is_some_and(|usage| !usage.key_agreement) {
        return Err(CmsError::Certificate("the recipient's certificate is not for keyAgreement"));
    }
    let (kdf, wrap) = (kdf.unwrap_or(default_kdf), wrap.unwrap_or(default_wrap));
    let scheme = X963_SCHEMES.iter().find(|(_, digest)| *digest == kdf);
    let (scheme, _) = scheme.filter(|_| kdf != DigestAlgorithm::Sha1).ok_or(CryptoError::Unsupported("this digest in a key agreement"))?;

    let (ephemeral, shared_secret) = provider.key_agreement()?.agree_ephemeral(recipient.spki())?;
    let ephemeral = SubjectPublicKeyInfo::decode(&ephemeral, budget)?;
    let mut reader = Reader::new(ephemeral.algorithm.raw, Rules::Ber);
    let originator = Originator::Key { algorithm: AlgorithmIdentifier::read(&mut reader, budget)?, public_key: ephemeral.key.to_vec() };
    let key_wrap = wrap.identifier();
    let shared_info = ecc_cms_shared_info(&key_wrap, None, wrap.key_bits());
    let kek = x963_kdf(provider, kdf, &shared_secret, &shared_info, wrap.key_len())?;
    let encrypted_key = provider.key_wrap()?.wrap(kek.secret_bytes(), content_key.secret_bytes())?;
    Ok(KeyAgreeRecipientInfo {
        originator,
        ukm: None,
        key_encryption_algorithm: AlgorithmIdentifier::new(oid(scheme), Some(key_wrap.encode())),
        recipient_encrypted_keys: vec![RecipientEncryptedKey { rid, encrypted_key }],
    })
}

/// The key derivation function of ANSI X9.63 (SEC 1 section 3.6.1).
fn x963_kdf(
    provider: &CryptoProvider,
    digest: DigestAlgorithm,
    secret: &SecretBytes,
    shared_info: &[u8],
    len: usize,
) -> Result<SecretBytes, CmsError> {
    let mut key = SecretBytes::zeroed(len);
    let slot = provider.digest()?;
    for (chunk, counter) in key.secret_bytes_mut().chunks_mut(digest.output_len()).zip(1_u32..) {
        let block = zeroize::Zeroizing::new(slot.digest(digest, &[secret.secret_bytes(), &counter.to_be_bytes(), shared_info])?);
        for (out, byte) in chunk.iter_mut().zip((*block).as_ref()) {
            *out = *byte;
        }
    }
    Ok(key)
}

#[cfg(all(test, feature = "aws-lc-rs"))]
mod tests {
    use super::*;

    /// NIST CAVP, ansx963_2001, SHA-256: [shared secret length 192, SharedInfo length 0, key data length 128], COUNT 0.
    #[test]
    fn the_kdf_gives_what_nist_published() {
        let secret = SecretBytes::new(vec![
            0x96, 0xc0, 0x56, 0x19, 0xd5, 0x6c, 0x32, 0x8a, 0xb9, 0x5f, 0xe8, 0x4b, 0x18, 0x26, 0x4b, 0x08, 0x72, 0x5b, 0x85, 0xe3, 0x3f,
            0xd3, 0x4f, 0x08,
        ]);
        let key = x963_kdf(&CryptoProvider::aws_lc_rs(), DigestAlgorithm::Sha256, &secret, &[], 16).unwrap();
        let expected = [0x44, 0x30, 0x24, 0xc3, 0xda, 0xe6, 0x6b, 0x95, 0xe6, 0xf5, 0x67, 0x06, 0x01, 0x55, 0x8f, 0x71];
        assert_eq!(key.secret_bytes(), expected);
    }

    #[test]
    fn a_key_longer_than_the_digest_takes_more_blocks() {
        let provider = CryptoProvider::aws_lc_rs();
        let secret = SecretBytes::copy_from(b"secret");
        let short = x963_kdf(&provider, DigestAlgorithm::Sha1, &secret, b"info", 20).unwrap();
        let long = x963_kdf(&provider, DigestAlgorithm::Sha1, &secret, b"info", 32).unwrap();
        assert_eq!(short.secret_bytes(), &long.secret_bytes()[..20]);
        assert_ne!(&long.secret_bytes()[20..], &long.secret_bytes()[..12]);
    }
}
