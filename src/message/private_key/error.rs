//! Why a private key is not imported, told apart for the operator who owns it.

use core::fmt;

use crate::crypto::{CryptoError, MissingSlot};
use crate::limits::LimitExceeded;
use crate::message::pfx::{PfxError, PfxErrorKind};

/// The forms in which a private key comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyFormat {
    /// PKCS#8 `PrivateKeyInfo` (RFC 5958), in PEM `PRIVATE KEY`.
    Pkcs8,
    /// PKCS#8 `EncryptedPrivateKeyInfo` (RFC 5958 section 3), in PEM `ENCRYPTED PRIVATE KEY`.
    EncryptedPkcs8,
    /// PKCS#1 `RSAPrivateKey` (RFC 8017 appendix A.1.2), in PEM `RSA PRIVATE KEY`.
    Pkcs1,
    /// SEC 1 `ECPrivateKey` (RFC 5915), in PEM `EC PRIVATE KEY`.
    Sec1,
    /// PEM text (RFC 7468) of any of the above.
    Pem,
    /// CNG `BCRYPT_RSAPRIVATE_BLOB` ("RSA2"): modulus, exponent and primes.
    RsaPrivateBlob,
    /// CNG `BCRYPT_RSAFULLPRIVATE_BLOB` ("RSA3"): all numbers of the key; what Microsoft's PFX import module writes.
    RsaFullPrivateBlob,
    /// CNG `BCRYPT_ECCPRIVATE_BLOB` ("ECS2" for ECDSA, "ECK2" for ECDH on P-256, and so on).
    EccPrivateBlob,
    /// CryptoAPI `PRIVATEKEYBLOB` with an RSA key, as `.pvk` tools and old providers write it.
    CapiPrivateKeyBlob,
}

impl fmt::Display for KeyFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pkcs8 => "PKCS#8 key",
            Self::EncryptedPkcs8 => "encrypted PKCS#8 key",
            Self::Pkcs1 => "PKCS#1 RSA key",
            Self::Sec1 => "SEC 1 EC key",
            Self::Pem => "PEM file",
            Self::RsaPrivateBlob => "RSAPRIVATEBLOB",
            Self::RsaFullPrivateBlob => "RSAFULLPRIVATEBLOB",
            Self::EccPrivateBlob => "ECCPRIVATEBLOB",
            Self::CapiPrivateKeyBlob => "PRIVATEKEYBLOB of CryptoAPI",
        })
    }
}

/// Why a private key is not imported. Never holds a part of the key or a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivateKeyError {
    /// The bytes are no form of private key that is known here.
    #[error("not a private key in a known form: {0}")]
    UnknownFormat(&'static str),
    /// The bytes hold a public key or a certificate.
    #[error("this is {0}: it holds the public half only; the private key is needed")]
    PublicOnly(&'static str),
    /// The form is known, and something in it is broken.
    #[error("the {format} is damaged: {problem}")]
    Malformed {
        /// What the bytes are.
        format: KeyFormat,
        /// What is wrong with them.
        problem: &'static str,
    },
    /// The numbers of the key do not belong together: the file was changed, or put together wrongly.
    #[error("the numbers of the RSA key do not belong together: {0}")]
    Inconsistent(&'static str),
    /// The key or its wrapping is of a kind that is not read here; says what to do.
    #[error("the key cannot be imported: {0}")]
    Unsupported(&'static str),
    /// The key is encrypted, and no password was given.
    #[error("the key is encrypted: give its password")]
    PasswordNeeded,
    /// The key does not decrypt.
    #[error("the password is wrong or the file is damaged; an encrypted key has no checksum that could tell the two apart")]
    WrongPasswordOrDamaged,
    /// The file holds several private keys where one is needed.
    #[error("the file holds {0} private keys where exactly one is needed: split it")]
    SeveralKeys(usize),
    /// The key is encrypted in a way that is not supported; says which.
    #[error(transparent)]
    Encryption(PfxError),
    /// Reading the key would cost more than the limits allow.
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
    /// The provider has not what is needed.
    #[error(transparent)]
    MissingSlot(#[from] MissingSlot),
    /// The provider refused or failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

impl PrivateKeyError {
    pub(super) fn malformed(format: KeyFormat, problem: &'static str) -> Self {
        Self::Malformed { format, problem }
    }

    /// What the decryption of an `EncryptedPrivateKeyInfo` says, in terms of a key.
    pub(super) fn from_decryption(error: PfxError) -> Self {
        match error {
            PfxError::Damaged(problem) => Self::malformed(KeyFormat::EncryptedPkcs8, problem),
            PfxError::LimitExceeded(limit) => Self::LimitExceeded(limit),
            PfxError::MissingSlot(slot) => Self::MissingSlot(slot),
            PfxError::Crypto(error) => Self::Crypto(error),
            other if matches!(other.kind(), PfxErrorKind::WrongPassword | PfxErrorKind::WrongPasswordOrDamaged) => {
                Self::WrongPasswordOrDamaged
            }
            other => Self::Encryption(other),
        }
    }
}
