//! How a PFX that is written is protected: keys, certificates and integrity, each chosen apart.

use crate::codec::pkcs12::oid;
use crate::crypto::{ContentCipherAlgorithm, DigestAlgorithm};
use crate::terms::PfxProfile;

/// Protection of a PFX: how keys are encrypted, how certificates are, and what vouches for the whole.
///
/// The profiles ([`PfxProfile`]) are the three combinations whose readers are known; take another one only for a reader that you have tried.
/// RC2 and RC4 cannot be chosen: no reader needs them.
///
/// ```
/// use intune_connector::message::pfx::{Pbes2Cipher, PfxDigest, PfxEncryption, PfxIntegrity, PfxProfile, PfxProtection};
///
/// // What GnuTLS writes: AES-128 at 600,000 rounds.
/// let aes_128 = PfxEncryption::Pbes2 { cipher: Pbes2Cipher::Aes128Cbc, prf: PfxDigest::Sha256, iterations: 600_000 };
/// let mac = PfxIntegrity::Mac { digest: PfxDigest::Sha256, iterations: 600_000 };
/// let protection = PfxProtection::new(aes_128, aes_128, mac);
/// assert_ne!(protection, PfxProtection::from(PfxProfile::Modern));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PfxProtection {
    /// For private keys and other secrets.
    pub keys: PfxEncryption,
    /// For certificates.
    pub certificates: CertificateProtection,
    /// For the file as a whole.
    pub integrity: PfxIntegrity,
}

impl PfxProtection {
    /// Each part explicitly.
    #[must_use]
    pub fn new(keys: PfxEncryption, certificates: impl Into<CertificateProtection>, integrity: PfxIntegrity) -> Self {
        Self { keys, certificates: certificates.into(), integrity }
    }

    /// The same algorithms with this iteration count everywhere: with a smaller one in one place, that is where the password is guessed.
    #[must_use]
    pub fn iterations(mut self, count: u32) -> Self {
        let encryptions = match &mut self.certificates {
            CertificateProtection::Encrypted(certificates) => [Some(&mut self.keys), Some(certificates)],
            CertificateProtection::Clear => [Some(&mut self.keys), None],
        };
        for encryption in encryptions.into_iter().flatten() {
            match encryption {
                PfxEncryption::Pbes1TripleDes { iterations } | PfxEncryption::Pbes2 { iterations, .. } => *iterations = count,
            }
        }
        match &mut self.integrity {
            PfxIntegrity::Mac { iterations, .. } | PfxIntegrity::Pbmac1 { iterations, .. } => *iterations = count,
            PfxIntegrity::DangerouslyNone => {}
        }
        self
    }

    /// Whether anything rests on the key derivation of PKCS#12 (RFC 7292 appendix B).
    pub(super) fn uses_pkcs12_kdf(&self) -> bool {
        let pbes1 = |encryption| matches!(encryption, PfxEncryption::Pbes1TripleDes { .. });
        let certificates = match self.certificates {
            CertificateProtection::Encrypted(encryption) => pbes1(encryption),
            CertificateProtection::Clear => false,
        };
        matches!(self.integrity, PfxIntegrity::Mac { .. }) || pbes1(self.keys) || certificates
    }

    /// Every iteration count that stands in the file.
    pub(super) fn all_iterations(&self) -> impl Iterator<Item = u32> {
        let certificates = match self.certificates {
            CertificateProtection::Encrypted(encryption) => Some(encryption.iterations()),
            CertificateProtection::Clear => None,
        };
        let integrity = match self.integrity {
            PfxIntegrity::Mac { iterations, .. } | PfxIntegrity::Pbmac1 { iterations, .. } => Some(iterations),
            PfxIntegrity::DangerouslyNone => None,
        };
        [Some(self.keys.iterations()), certificates, integrity].into_iter().flatten()
    }
}

impl From<PfxProfile> for PfxProtection {
    fn from(profile: PfxProfile) -> Self {
        let iterations = profile.default_iterations();
        let (encryption, integrity) = match profile {
            PfxProfile::Modern => (aes_256(iterations), PfxIntegrity::Mac { digest: PfxDigest::Sha256, iterations }),
            PfxProfile::Compat => (PfxEncryption::Pbes1TripleDes { iterations }, PfxIntegrity::Mac { digest: PfxDigest::Sha1, iterations }),
            PfxProfile::Pbmac1 => {
                (aes_256(iterations), PfxIntegrity::Pbmac1 { prf: PfxDigest::Sha256, hmac: PfxDigest::Sha256, iterations })
            }
        };
        Self::new(encryption, encryption, integrity)
    }
}

const fn aes_256(iterations: u32) -> PfxEncryption {
    PfxEncryption::Pbes2 { cipher: Pbes2Cipher::Aes256Cbc, prf: PfxDigest::Sha256, iterations }
}

/// Password-based encryption. Iterations: 2,000 to 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PfxEncryption {
    /// Three-key 3DES under the PKCS#12 derivation with SHA-1 (RFC 7292 appendix C): for old readers and random passwords only.
    Pbes1TripleDes {
        /// Rounds of the derivation; key and initialisation vector take them each.
        iterations: u32,
    },
    /// A cipher under PBKDF2 (RFC 8018 section 6.2).
    Pbes2 {
        /// The cipher.
        cipher: Pbes2Cipher,
        /// The digest of PBKDF2's HMAC. SHA-1 is the standard's default and is then left out of the file, as DER demands.
        prf: PfxDigest,
        /// Rounds of the derivation.
        iterations: u32,
    },
}

impl PfxEncryption {
    pub(super) const fn iterations(self) -> u32 {
        match self {
            Self::Pbes1TripleDes { iterations } | Self::Pbes2 { iterations, .. } => iterations,
        }
    }
}

/// How certificates lie in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateProtection {
    /// Encrypted: who owns the file is not shown to whoever carries it.
    Encrypted(PfxEncryption),
    /// In clear, as node-forge writes them and as trust stores without a password are.
    Clear,
}

impl From<PfxEncryption> for CertificateProtection {
    fn from(encryption: PfxEncryption) -> Self {
        Self::Encrypted(encryption)
    }
}

/// What vouches for the file. Iterations: 2,000 to 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PfxIntegrity {
    /// An HMAC under the PKCS#12 derivation (RFC 7292 appendix B). SHA-1 and SHA-256 are read nearly everywhere; go-pkcs12 refuses
    /// SHA-384 (source read), Bouncy Castle 1.72 everything else (measured).
    Mac {
        /// The digest of both derivation and HMAC.
        digest: PfxDigest,
        /// Rounds of the derivation.
        iterations: u32,
    },
    /// An HMAC under PBKDF2 (RFC 9579). See [`PfxProfile::Pbmac1`] for who reads it.
    Pbmac1 {
        /// The digest of PBKDF2's HMAC.
        prf: PfxDigest,
        /// The digest of the HMAC over the file; the key is as long as its output.
        hmac: PfxDigest,
        /// Rounds of the derivation.
        iterations: u32,
    },
    /// Nothing: whoever carries the file can replace what is in it, and readers cannot tell a wrong password from damage.
    /// For trust stores that something else vouches for. Apple's importer refuses such files (source read).
    DangerouslyNone,
}

/// The ciphers of [`PfxEncryption::Pbes2`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pbes2Cipher {
    /// AES-128-CBC: iOS does not read it (source read).
    Aes128Cbc,
    /// AES-192-CBC: iOS does not read it (source read).
    Aes192Cbc,
    /// AES-256-CBC.
    Aes256Cbc,
}

impl Pbes2Cipher {
    pub(super) const fn algorithm(self) -> ContentCipherAlgorithm {
        match self {
            Self::Aes128Cbc => ContentCipherAlgorithm::Aes128Cbc,
            Self::Aes192Cbc => ContentCipherAlgorithm::Aes192Cbc,
            Self::Aes256Cbc => ContentCipherAlgorithm::Aes256Cbc,
        }
    }

    pub(super) const fn key_len(self) -> usize {
        match self {
            Self::Aes128Cbc => 16,
            Self::Aes192Cbc => 24,
            Self::Aes256Cbc => 32,
        }
    }

    pub(super) const fn oid(self) -> &'static str {
        match self {
            Self::Aes128Cbc => oid::AES_128_CBC,
            Self::Aes192Cbc => oid::AES_192_CBC,
            Self::Aes256Cbc => oid::AES_256_CBC,
        }
    }
}

/// The digests that may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PfxDigest {
    /// SHA-1: for old readers and random passwords only.
    Sha1,
    /// SHA-224
    Sha224,
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
}

impl PfxDigest {
    pub(super) const fn algorithm(self) -> DigestAlgorithm {
        match self {
            Self::Sha1 => DigestAlgorithm::Sha1,
            Self::Sha224 => DigestAlgorithm::Sha224,
            Self::Sha256 => DigestAlgorithm::Sha256,
            Self::Sha384 => DigestAlgorithm::Sha384,
            Self::Sha512 => DigestAlgorithm::Sha512,
        }
    }
}
