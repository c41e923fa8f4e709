//! The slot traits and the algorithms that they name.

use core::fmt::Debug;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{DecryptionKey, SignatureAlgorithm, SigningKey};
use crate::ids::Oid;
use crate::secret::{PrivateKeyPkcs8, SecretBytes};
use crate::terms::KeyAlgorithm;

/// Why a crypto operation did not succeed.
///
/// Verification and decryption failures carry no detail: wrong key, bad padding and bad tag are one value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// The slot does not implement the algorithm.
    #[error("the crypto provider does not support {0}; use another provider or enable the feature that brings it")]
    Unsupported(&'static str),
    /// The key is malformed, of the wrong kind or of a refused size.
    #[error("the key cannot be used: {0}")]
    InvalidKey(&'static str),
    /// An argument has the wrong length or is out of range.
    #[error("invalid argument to a crypto operation: {0}")]
    InvalidArgument(&'static str),
    /// The provider is restricted to what FIPS approves, and this is not; see [`CryptoProvider::fips_approved_only`].
    ///
    /// [`CryptoProvider::fips_approved_only`]: super::CryptoProvider::fips_approved_only
    #[error("{what} is not approved by FIPS, and the crypto provider is restricted to what is; {instead}")]
    NotApproved {
        /// What was asked for.
        what: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// The operation failed; verification and decryption say no more than this.
    #[error("the crypto operation failed")]
    Failed,
}

/// Digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DigestAlgorithm {
    /// SHA-1: names, old MACs, old PRFs; never for new signatures.
    Sha1,
    /// SHA-224
    Sha224,
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
    /// SHA-512/224
    Sha512_224,
    /// SHA-512/256
    Sha512_256,
    /// BLAKE2b with 64 bytes of output (RFC 7693): MACs of few PFX files.
    Blake2b512,
    /// BLAKE2s with 32 bytes of output (RFC 7693): MACs of few PFX files.
    Blake2s256,
}

impl core::fmt::Display for DigestAlgorithm {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Sha1 => "SHA-1",
            Self::Sha224 => "SHA-224",
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
            Self::Sha512_224 => "SHA-512/224",
            Self::Sha512_256 => "SHA-512/256",
            Self::Blake2b512 => "BLAKE2b-512",
            Self::Blake2s256 => "BLAKE2s-256",
        })
    }
}

impl DigestAlgorithm {
    /// Output length in bytes.
    #[must_use]
    pub const fn output_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha224 | Self::Sha512_224 => 28,
            Self::Sha256 | Self::Sha512_256 | Self::Blake2s256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 | Self::Blake2b512 => 64,
        }
    }

    /// The object identifier (RFC 3370, RFC 5754, NIST CSOR).
    pub(crate) const fn oid(self) -> &'static str {
        match self {
            Self::Sha1 => "1.3.14.3.2.26",
            Self::Sha224 => "2.16.840.1.101.3.4.2.4",
            Self::Sha256 => "2.16.840.1.101.3.4.2.1",
            Self::Sha384 => "2.16.840.1.101.3.4.2.2",
            Self::Sha512 => "2.16.840.1.101.3.4.2.3",
            Self::Sha512_224 => "2.16.840.1.101.3.4.2.5",
            Self::Sha512_256 => "2.16.840.1.101.3.4.2.6",
            Self::Blake2b512 => "1.3.6.1.4.1.1722.12.2.1.16",
            Self::Blake2s256 => "1.3.6.1.4.1.1722.12.2.2.8",
        }
    }

    /// The digest of signatures that an object identifier names: SHA-1 and SHA-2.
    pub(crate) fn from_oid(oid: &Oid) -> Option<Self> {
        [Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512, Self::Sha512_224, Self::Sha512_256]
            .into_iter()
            .find(|digest| digest.oid() == oid.as_str())
    }

    /// Block length in bytes, `v` in RFC 7292 appendix B.
    #[must_use]
    pub const fn block_len(self) -> usize {
        match self {
            Self::Sha1 | Self::Sha224 | Self::Sha256 | Self::Blake2s256 => 64,
            Self::Sha384 | Self::Sha512 | Self::Sha512_224 | Self::Sha512_256 | Self::Blake2b512 => 128,
        }
    }
}

/// A digest or HMAC value of at most 64 bytes, on the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DigestOutput {
    bytes: [u8; 64],
    len: usize,
}

impl DigestOutput {
    /// Copies a value.
    ///
    /// # Errors
    /// [`CryptoError::InvalidArgument`] when it is longer than 64 bytes.
    pub fn new(value: &[u8]) -> Result<Self, CryptoError> {
        if value.len() > 64 {
            return Err(CryptoError::InvalidArgument("a digest is at most 64 bytes long"));
        }
        let mut bytes = [0; 64];
        bytes[..value.len()].copy_from_slice(value);
        Ok(Self { bytes, len: value.len() })
    }
}

impl zeroize::Zeroize for DigestOutput {
    /// Wipes the bytes; the length stays.
    fn zeroize(&mut self) {
        self.bytes.zeroize();
    }
}

impl AsRef<[u8]> for DigestOutput {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// How a content key or a password is encrypted to an RSA key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KeyTransportAlgorithm {
    /// RSAES-PKCS1-v1_5
    RsaPkcs1v15,
    /// RSAES-OAEP, SHA-1 and MGF1-SHA-1
    RsaOaepSha1,
    /// RSAES-OAEP, SHA-256 and MGF1-SHA-256
    RsaOaepSha256,
    /// RSAES-OAEP, SHA-384 and MGF1-SHA-384
    RsaOaepSha384,
    /// RSAES-OAEP, SHA-512 and MGF1-SHA-512
    RsaOaepSha512,
}

/// Content ciphers without integrity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ContentCipherAlgorithm {
    /// AES-128-CBC with PKCS#7 padding
    Aes128Cbc,
    /// AES-192-CBC with PKCS#7 padding
    Aes192Cbc,
    /// AES-256-CBC with PKCS#7 padding
    Aes256Cbc,
    /// Three-key (24 bytes) or two-key (16 bytes) 3DES-CBC with PKCS#7 padding
    DesEde3Cbc,
    /// Single DES-CBC with PKCS#7 padding, 56-bit strength: decrypted for clients that know nothing else, never encrypted
    DesCbc,
    /// RC2-CBC with PKCS#7 padding and this many effective key bits
    Rc2Cbc {
        /// Effective key bits (RFC 2268 section 2), 40 or 128 in PKCS#12.
        effective_bits: u16,
    },
    /// RC4, without an IV
    Rc4,
}

impl ContentCipherAlgorithm {
    /// Key length in bytes; `None` where it varies (RC2, RC4, and 3DES with 16 or 24).
    #[must_use]
    pub const fn key_len(self) -> Option<usize> {
        match self {
            Self::Aes128Cbc => Some(16),
            Self::Aes192Cbc => Some(24),
            Self::Aes256Cbc => Some(32),
            Self::DesEde3Cbc => Some(24),
            Self::DesCbc => Some(8),
            Self::Rc2Cbc { .. } | Self::Rc4 => None,
        }
    }

    /// Initialisation vector length in bytes.
    #[must_use]
    pub const fn iv_len(self) -> usize {
        match self {
            Self::Aes128Cbc | Self::Aes192Cbc | Self::Aes256Cbc => 16,
            Self::DesEde3Cbc | Self::DesCbc | Self::Rc2Cbc { .. } => 8,
            Self::Rc4 => 0,
        }
    }
}

/// Authenticated ciphers; the nonce is 12 bytes and the tag 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AeadAlgorithm {
    /// AES-128-GCM
    Aes128Gcm,
    /// AES-192-GCM
    Aes192Gcm,
    /// AES-256-GCM
    Aes256Gcm,
}

impl AeadAlgorithm {
    /// Key length in bytes.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes192Gcm => 24,
            Self::Aes256Gcm => 32,
        }
    }
}

/// scrypt's cost (RFC 7914 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScryptParameters {
    /// N, a power of two
    pub cost: u64,
    /// r
    pub block_size: u32,
    /// p
    pub parallelization: u32,
}

/// Random bytes for keys, nonces and serial numbers.
pub trait SecureRandom: Debug + Send + Sync {
    /// Fills `out`.
    ///
    /// # Errors
    /// [`CryptoError::Failed`] when the system's generator fails.
    fn fill(&self, out: &mut [u8]) -> Result<(), CryptoError>;
    /// Whether the implementation runs inside a validated FIPS module, for the algorithms that FIPS approves.
    fn fips(&self) -> bool {
        false
    }
}

/// Password derivations that this crate builds over the digest slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DigestKdf {
    /// The derivation of PKCS#12 (RFC 7292 appendix B).
    Pkcs12,
    /// PBKDF1 (RFC 8018 section 5.1).
    Pbkdf1,
}

/// Digests over parts, as if they were one message.
pub trait Digest: Debug + Send + Sync {
    /// Hashes the concatenation of `parts`.
    ///
    /// # Errors
    /// [`CryptoError::Unsupported`] when the algorithm is missing.
    fn digest(&self, algorithm: DigestAlgorithm, parts: &[&[u8]]) -> Result<DigestOutput, CryptoError>;
    /// Hashes the concatenation of `parts`, then the output again and so on: `rounds` hashes in all, one at least, as the old key derivations
    /// demand. The caller has charged them. A backend that has something quicker than single digests does it here.
    ///
    /// # Errors
    /// As for [`Digest::digest`].
    fn digest_repeated(&self, algorithm: DigestAlgorithm, parts: &[&[u8]], rounds: u32) -> Result<DigestOutput, CryptoError> {
        one_by_one(|parts| self.digest(algorithm, parts), parts, rounds)
    }
    /// Whether keys may be derived from passwords over this slot in this way.
    ///
    /// # Errors
    /// [`CryptoError::NotApproved`] when the provider is restricted to what FIPS approves.
    fn permits(&self, kdf: DigestKdf) -> Result<(), CryptoError> {
        let _ = kdf;
        Ok(())
    }
    /// Whether the implementation runs inside a validated FIPS module, for the algorithms that FIPS approves.
    fn fips(&self) -> bool {
        false
    }
}

/// [`Digest::digest_repeated`] by single digests.
pub(super) fn one_by_one(
    digest: impl Fn(&[&[u8]]) -> Result<DigestOutput, CryptoError>,
    parts: &[&[u8]],
    rounds: u32,
) -> Result<DigestOutput, CryptoError> {
    let mut output = digest(parts)?;
    for _ in 1..rounds {
        output = digest(&[output.as_ref()])?;
    }
    Ok(output)
}

/// HMAC (RFC 2104).
pub trait Hmac: Debug + Send + Sync {
    /// The full-length HMAC over the concatenation of `parts`. Compare it in constant time.
    ///
    /// # Errors
    /// [`CryptoError::Unsupported`] when the algorithm is missing.
    fn hmac(&self, algorithm: DigestAlgorithm, key: &[u8], parts: &[&[u8]]) -> Result<DigestOutput, CryptoError>;
    /// Whether the implementation runs inside a validated FIPS module, for the algorithms that FIPS approves.
    fn fips(&self) -> bool {
        false
    }
}

/// PBKDF2 with HMAC (RFC 8018 section 5.2).
pub trait Pbkdf2: Debug + Send + Sync {
    /// Derives `out.len()` bytes. The caller has charged `iterations` to its budget.
    ///
    /// # Errors
    /// [`CryptoError::Unsupported`] for the PRF, [`CryptoError::InvalidArgument`] for zero iterations.
    fn derive(&self, prf: DigestAlgorithm, password: &[u8], salt: &[u8], iterations: u32, out: &mut [u8]) -> Result<(), CryptoError>;
    /// Whether the implementation runs inside a validated FIPS module, for the algorithms that FIPS approves.
    fn fips(&self) -> bool {
        false
    }
}

/// scrypt (RFC 7914).
pub trait Scrypt: Debug + Send + Sync {
    /// Derives `out.len()` bytes. The caller has checked the memory against its limits.
    ///
    /// # Errors
    /// [`CryptoError::InvalidArgument`] for parameters that RFC 7914 forbids.
    fn derive(&self, parameters: ScryptParameters, password: &[u8], salt: &[u8], out: &mut [u8]) -> Result<(), CryptoError>;
    /// Whether the implementation runs inside a validated FIPS module, for the algorithms that FIPS approves.
    fn fips(&self) -> bool {
        false
    }
}

/// Block and stream ciphers without integrity, as CMS and PKCS#12 use them.
pub trait ContentCipher: Debug + Send + Sync {
    /// Whether the algorithm is implemented.
    fn supports(&self, algorithm: ContentCipherAlgorithm) -> bool;
    /// As `supports`, with the reason.
    ///
    /// # Errors
    /// [`CryptoError::Unsupported`]; [`CryptoError::NotApproved`] when the provider is restricted to what FIPS approves.
    fn check(&self, algorithm: ContentCipherAlgorithm) -> Result<(), CryptoError> {
        if self.supports(algorithm) { Ok(()) } else { Err(CryptoError::Unsupported("the content cipher")) }
    }
    /// Pads (PKCS#7) and encrypts.
    ///
    /// # Errors
    /// [`CryptoError::Unsupported`], or [`CryptoError::InvalidArgument`] for a wrong key or IV length.
    fn encrypt(&self, algorithm: ContentCipherAlgorithm, key: &[u8], iv: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError>;
    /// Decrypts and removes the padding.
    ///
    /// # Errors
    /// As for `encrypt`; [`CryptoError::Failed`] for every fault of the ciphertext.
    fn decrypt(&self, algorithm: ContentCipherAlgorithm, key: &[u8], iv: &[u8], ciphertext: &[u8]) -> Result<SecretBytes, CryptoError>;
    /// Whether the implementation runs inside a validated FIPS module, for the algorithms that FIPS approves.
    fn fips(&self) -> bool {
        false
    }
}

/// Authenticated encryption.
pub trait Aead: Debug + Send + Sync {
    /// Encrypts; the 16-byte tag follows the ciphertext. A nonce must never repeat under one key.
    ///
    /// # Errors
    /// [`CryptoError::Unsupported`], or [`CryptoError::InvalidArgument`] for a wrong key or nonce length.
    fn seal(&self, algorithm: AeadAlgorithm, key: &[u8], nonce: &[u8], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError>;
    /// Encrypts under a random nonce; gives it, and the ciphertext with its tag. At most 2^32 times under one key
    /// (NIST SP 800-38D section 8.3).
    ///
    /// An implementation inside a FIPS module draws the nonce there: the module counts no other nonce as approved. By default it comes
    /// from `random`, the provider's slot.
    ///
    /// # Errors
    /// As for `seal`, and those of `random`.
    fn seal_with_random_nonce(
        &self,
        algorithm: AeadAlgorithm,
        key: &[u8],
        random: &dyn SecureRandom,
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<([u8; 12], Vec<u8>), CryptoError> {
        let mut nonce = [0; 12];
        random.fill(&mut nonce)?;
        Ok((nonce, self.seal(algorithm, key, &nonce, aad, plaintext)?))
    }
    /// Checks the tag and decrypts.
    ///
    /// # Errors
    /// As for `seal`; [`CryptoError::Failed`] when the tag does not match.
    fn open(
        &self,
        algorithm: AeadAlgorithm,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        ciphertext_and_tag: &[u8],
    ) -> Result<SecretBytes, CryptoError>;
    /// Whether the implementation runs inside a validated FIPS module, for the algorithms that FIPS approves.
    fn fips(&self) -> bool {
        false
    }
}

/// AES key wrap (RFC 3394).
pub trait KeyWrap: Debug + Send + Sync {
    /// Whether keys are wrapped and unwrapped under AES keys of this length in bytes; to be asked before a message is opened, since a failed
    /// unwrapping is not told from another.
    ///
    /// # Errors
    /// [`CryptoError::InvalidArgument`] for a length that is not AES's; [`CryptoError::NotApproved`] when the provider is restricted to what
    /// FIPS approves.
    fn check(&self, kek_len: usize) -> Result<(), CryptoError> {
        if matches!(kek_len, 16 | 24 | 32) {
            Ok(())
        } else {
            Err(CryptoError::InvalidArgument("the key encryption key is not 16, 24 or 32 bytes long"))
        }
    }
    /// Wraps a key under an AES key of 16, 24 or 32 bytes.
    ///
    /// # Errors
    /// [`CryptoError::InvalidArgument`] for lengths that RFC 3394 forbids.
    fn wrap(&self, kek: &[u8], key: &[u8]) -> Result<Vec<u8>, CryptoError>;
    /// Unwraps a key.
    ///
    /// # Errors
    /// [`CryptoError::Failed`] when the integrity check fails.
    fn unwrap(&self, kek: &[u8], wrapped: &[u8]) -> Result<SecretBytes, CryptoError>;
    /// Whether the implementation runs inside a validated FIPS module, for the algorithms that FIPS approves.
    fn fips(&self) -> bool {
        false
    }
}

/// Ephemeral ECDH toward a recipient's public key (RFC 5753, RFC 8418). The recipient's half is a [`DecryptionKey`].
pub trait KeyAgreement: Debug + Send + Sync {
    /// Makes an ephemeral key on the curve of `recipient_spki`; gives its SubjectPublicKeyInfo DER and the raw shared secret
    /// (the x-coordinate at the full length of the field, or X25519's output).
    ///
    /// # Errors
    /// [`CryptoError::Unsupported`] for the curve, [`CryptoError::InvalidKey`] for a bad point.
    fn agree_ephemeral(&self, recipient_spki: &[u8]) -> Result<(Vec<u8>, SecretBytes), CryptoError>;
    /// Whether the implementation runs inside a validated FIPS module, for the algorithms that FIPS approves.
    fn fips(&self) -> bool {
        false
    }
}

/// Key pair generation.
pub trait KeyGeneration: Debug + Send + Sync {
    /// A fresh key pair as PKCS#8. RSA takes tens of milliseconds to seconds: call it off the async threads.
    ///
    /// # Errors
    /// [`CryptoError::Unsupported`] for the algorithm, [`CryptoError::Failed`] when the generator fails.
    fn generate(&self, algorithm: KeyAlgorithm) -> Result<PrivateKeyPkcs8, CryptoError>;
    /// Whether the implementation runs inside a validated FIPS module, for the algorithms that FIPS approves.
    fn fips(&self) -> bool {
        false
    }
}

/// Signature verification.
pub trait SignatureVerification: Debug + Send + Sync {
    /// Verifies `signature` over `message` (not over its digest) with the key in `spki` (SubjectPublicKeyInfo DER).
    ///
    /// # Errors
    /// [`CryptoError::Failed`] when it does not verify; [`CryptoError::Unsupported`] for the algorithm.
    fn verify(&self, algorithm: SignatureAlgorithm, spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError>;
    /// As `verify`, and takes RSA keys from 1024 bits too, which can be factored at a price: only to read what was signed long ago.
    ///
    /// # Errors
    /// As `verify`; [`CryptoError::Unsupported`] where the implementation has no such keys, which is the default.
    fn dangerous_verify_with_short_rsa_key(
        &self,
        algorithm: SignatureAlgorithm,
        spki: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        let _ = (algorithm, spki, message, signature);
        Err(CryptoError::Unsupported("RSA keys under 2048 bits"))
    }
    /// Whether the implementation runs inside a validated FIPS module, for the algorithms that FIPS approves.
    fn fips(&self) -> bool {
        false
    }
}

/// RSA encryption toward a public key.
pub trait KeyTransport: Debug + Send + Sync {
    /// Whether the algorithm is implemented.
    fn supports(&self, algorithm: KeyTransportAlgorithm) -> bool;
    /// As `supports`, with the reason.
    ///
    /// # Errors
    /// [`CryptoError::Unsupported`]; [`CryptoError::NotApproved`] when the provider is restricted to what FIPS approves.
    fn check(&self, algorithm: KeyTransportAlgorithm) -> Result<(), CryptoError> {
        if self.supports(algorithm) { Ok(()) } else { Err(CryptoError::Unsupported("the key transport")) }
    }
    /// Encrypts `secret` to the key in `spki` (SubjectPublicKeyInfo DER).
    ///
    /// # Errors
    /// [`CryptoError::InvalidKey`] for keys under 2048 bits or not RSA, [`CryptoError::InvalidArgument`] when the secret is too long.
    fn encrypt(&self, algorithm: KeyTransportAlgorithm, spki: &[u8], secret: &[u8]) -> Result<Vec<u8>, CryptoError>;
    /// Whether the implementation runs inside a validated FIPS module, for the algorithms that FIPS approves.
    fn fips(&self) -> bool {
        false
    }
}

/// Opens software signing keys.
pub trait SigningKeyLoader: Debug + Send + Sync {
    /// Parses a PKCS#8 key.
    ///
    /// # Errors
    /// [`CryptoError::InvalidKey`] when it is malformed, inconsistent or of an unsupported size.
    fn load(&self, key: &PrivateKeyPkcs8) -> Result<Arc<dyn SigningKey>, CryptoError>;
    /// Whether the implementation runs inside a validated FIPS module, for the algorithms that FIPS approves.
    fn fips(&self) -> bool {
        false
    }
}

/// Opens software decryption keys.
pub trait DecryptionKeyLoader: Debug + Send + Sync {
    /// Parses a PKCS#8 key: RSA of 2048 bits or more, or a key for ECDH.
    ///
    /// # Errors
    /// [`CryptoError::InvalidKey`] when it is malformed, inconsistent or of an unsupported size.
    fn load(&self, key: &PrivateKeyPkcs8) -> Result<Arc<dyn DecryptionKey>, CryptoError>;
    /// Whether the implementation runs inside a validated FIPS module, for the algorithms that FIPS approves.
    fn fips(&self) -> bool {
        false
    }
}
