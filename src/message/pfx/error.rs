//! Why a PFX does not open or cannot be written, told apart for the operator who owns the file.

use serde::{Deserialize, Serialize};

use crate::codec::der::DerError;
use crate::codec::pkcs12::oid;
use crate::crypto::{CryptoError, MissingSlot};
use crate::limits::LimitExceeded;
use crate::message::cms_error::CmsError;

/// The kinds of [`PfxError`]; their names in kebab-case are stable and stand in serialised forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PfxErrorKind {
    /// The password does not fit; see [`PfxError::WrongPassword`] for what else it may be.
    WrongPassword,
    /// Without a MAC a wrong password and a damaged file look alike.
    WrongPasswordOrDamaged,
    /// The structure of the file is broken.
    Damaged,
    /// The file uses an algorithm that is not supported, or that a provider restricted to what FIPS approves refuses.
    UnsupportedAlgorithm,
    /// The file is protected by public keys instead of a password.
    UnsupportedMode,
    /// The file is signed, by nobody who was named.
    UntrustedSigner,
    /// The signature over the file does not verify.
    Signature,
    /// The private key does not open what is encrypted to public keys.
    WrongKey,
    /// The private key could not be reached.
    KeyUnavailable,
    /// Reading the file would cost more than the limits allow.
    LimitExceeded,
    /// The file opened, but there is no key with its certificate in it.
    Empty,
    /// The file opened, but holds several keys with certificates where one was asked for.
    SeveralIdentities,
    /// The file opened, but nothing proves that it is unchanged.
    Unauthenticated,
    /// The key does not belong to the certificate.
    KeyMismatch,
    /// Something given to the writer cannot be written.
    InvalidInput,
    /// The crypto provider lacks something or failed.
    Crypto,
}

impl PfxErrorKind {
    /// The kebab-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong-password",
            Self::WrongPasswordOrDamaged => "wrong-password-or-damaged",
            Self::Damaged => "damaged",
            Self::UnsupportedAlgorithm => "unsupported-algorithm",
            Self::UnsupportedMode => "unsupported-mode",
            Self::UntrustedSigner => "untrusted-signer",
            Self::Signature => "signature",
            Self::WrongKey => "wrong-key",
            Self::KeyUnavailable => "key-unavailable",
            Self::LimitExceeded => "limit-exceeded",
            Self::Empty => "empty",
            Self::SeveralIdentities => "several-identities",
            Self::Unauthenticated => "unauthenticated",
            Self::KeyMismatch => "key-mismatch",
            Self::InvalidInput => "invalid-input",
            Self::Crypto => "crypto",
        }
    }
}

impl core::fmt::Display for PfxErrorKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which of the two passwords a file may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PasswordUse {
    /// The one that protects integrity.
    Mac,
    /// The one that encrypts keys and certificates.
    Safes,
}

/// What helps against [`PfxError::UnsupportedAlgorithm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AlgorithmRemedy {
    /// This crate does not implement it: another export of the same key and certificates opens.
    ExportAgain,
    /// The crypto provider in use lacks it; the providers of this crate have it with this feature.
    Feature(&'static str),
    /// The crypto provider in use lacks it.
    OtherProvider,
    /// It is refused as too weak unless this option allows it.
    OptIn(&'static str),
}

impl core::fmt::Display for AlgorithmRemedy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::ExportAgain => f.write_str("export the file again with AES-256 and SHA-256"),
            Self::Feature(feature) => {
                write!(f, "the crypto provider in use lacks it; build with the feature `{feature}`, or export the file again")
            }
            Self::OptIn(option) => write!(f, "it is refused as too weak unless `{option}` allows it; export the file again with SHA-256"),
            Self::OtherProvider => f.write_str("the crypto provider in use lacks it; use another one, or export the file again"),
        }
    }
}

/// Why a PFX does not open or cannot be written. Never holds a password or a part of a key.
///
/// Toward peers report only that it failed: the kinds are for the owner of the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PfxError {
    /// The password does not fit.
    ///
    /// A MAC cannot tell a wrong password from a file that was changed after it was written, and nothing is decrypted to find out:
    /// when the password is certain, the file is damaged.
    #[error("{}", match .0 {
        PasswordUse::Mac => "the password is wrong (or, if it is certainly right, the file was changed: its MAC does not match)",
        PasswordUse::Safes => "the password is right by the MAC, but keys or certificates do not decrypt under it: give their own password, or the writing program is at fault",
    })]
    WrongPassword(PasswordUse),
    /// Nothing decrypts, and there is no MAC that could tell why.
    #[error("the password is wrong or the file is damaged; it has no MAC, so the two cannot be told apart")]
    WrongPasswordOrDamaged,
    /// The structure is broken.
    #[error("the file is damaged or not a PFX file: {0}; ask for it again (binary transfer, DER not PEM)")]
    Damaged(&'static str),
    /// An algorithm is not supported.
    #[error("the file uses {} ({oid}), which is not supported: {remedy}", .name.unwrap_or("an unknown algorithm"))]
    UnsupportedAlgorithm {
        /// Its object identifier.
        oid: String,
        /// Its usual name, when it has one.
        name: Option<&'static str>,
        /// What can be done.
        remedy: AlgorithmRemedy,
    },
    /// The file uses public keys where a password alone was given, or a content type that is not defined for PFX files.
    #[error("the file is protected in a way that is not supported here: {mode}; {remedy}")]
    UnsupportedMode {
        /// What it uses.
        mode: String,
        /// What can be done.
        remedy: &'static str,
    },
    /// The file is signed, by nobody who was named.
    #[error(
        "the file is signed, but not by a certificate that was named as signer: check whose signature is expected, or export the file again with a password"
    )]
    UntrustedSigner,
    /// The signature over the file does not verify.
    #[error("the signature over the file does not verify: the file was changed or is damaged; ask for it again")]
    Signature,
    /// A safe is encrypted to public keys, and the key that was given does not open it.
    #[error("a safe of the file is encrypted to public keys, and the certificate and key given do not open it: use those of a recipient")]
    WrongKey,
    /// The private key could not be reached; try later.
    #[error("the private key is unavailable; try again later")]
    KeyUnavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// Reading the file would cost more than the limits allow.
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
    /// There is no key with its certificate.
    #[error("the file opened, but it holds no private key together with its certificate ({keys} keys, {certificates} certificates)")]
    Empty {
        /// How many keys it holds.
        keys: usize,
        /// How many certificates it holds.
        certificates: usize,
    },
    /// There are several keys with certificates.
    #[error("the file holds {count} keys with certificates where exactly one is needed: export it again with one")]
    SeveralIdentities {
        /// How many.
        count: usize,
    },
    /// Nothing proves that the file is unchanged.
    #[error("the file has no MAC, so nothing proves that it is unchanged: export it again with a password and a MAC")]
    Unauthenticated,
    /// The key does not belong to the certificate.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// Something given to the writer cannot be written.
    #[error("cannot write the PFX file: {0}")]
    InvalidInput(&'static str),
    /// The provider has not what is needed.
    #[error(transparent)]
    MissingSlot(#[from] MissingSlot),
    /// The provider refused or failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

impl PfxError {
    /// The kind, for decisions and serialised forms.
    #[must_use]
    pub fn kind(&self) -> PfxErrorKind {
        match self {
            Self::WrongPassword(_) => PfxErrorKind::WrongPassword,
            Self::WrongPasswordOrDamaged => PfxErrorKind::WrongPasswordOrDamaged,
            Self::Damaged(_) => PfxErrorKind::Damaged,
            Self::UnsupportedAlgorithm { .. } => PfxErrorKind::UnsupportedAlgorithm,
            Self::UnsupportedMode { .. } => PfxErrorKind::UnsupportedMode,
            Self::UntrustedSigner => PfxErrorKind::UntrustedSigner,
            Self::Signature => PfxErrorKind::Signature,
            Self::WrongKey => PfxErrorKind::WrongKey,
            Self::KeyUnavailable(_) => PfxErrorKind::KeyUnavailable,
            Self::LimitExceeded(_) => PfxErrorKind::LimitExceeded,
            Self::Empty { .. } => PfxErrorKind::Empty,
            Self::SeveralIdentities { .. } => PfxErrorKind::SeveralIdentities,
            Self::Unauthenticated => PfxErrorKind::Unauthenticated,
            Self::KeyMismatch => PfxErrorKind::KeyMismatch,
            Self::InvalidInput(_) => PfxErrorKind::InvalidInput,
            Self::Crypto(CryptoError::NotApproved { .. }) => PfxErrorKind::UnsupportedAlgorithm,
            Self::MissingSlot(_) | Self::Crypto(_) => PfxErrorKind::Crypto,
        }
    }

    /// The object identifier of what is not supported.
    #[must_use]
    pub fn oid(&self) -> Option<&str> {
        match self {
            Self::UnsupportedAlgorithm { oid, .. } => Some(oid),
            _ => None,
        }
    }

    /// The file is signed, and no signer was named.
    pub(super) fn needs_a_signer() -> Self {
        Self::UnsupportedMode {
            mode: "integrity by a signature (signedData) instead of a password".to_owned(),
            remedy: "name the certificate of the expected signer (`OpenOptions::signers`), or export the file again with a password",
        }
    }

    /// A safe is encrypted to public keys, and no key was given.
    pub(super) fn needs_a_key() -> Self {
        Self::UnsupportedMode {
            mode: "encryption to a public key (envelopedData) instead of a password".to_owned(),
            remedy: "give a recipient's certificate and private key (`open_with_key`), or export the file again with a password",
        }
    }

    pub(super) fn unsupported_content_type(dotted: &str) -> Self {
        let mode = match oid::name(dotted) {
            Some(name) => format!("content of type {name} ({dotted})"),
            None => format!("content of the unknown type {dotted}"),
        };
        Self::UnsupportedMode { mode, remedy: "export it again with a password" }
    }

    /// What a signature over the file, or an envelope around a safe, came to.
    pub(super) fn from_cms(error: CmsError) -> Self {
        match error {
            CmsError::Malformed(problem) => Self::Damaged(problem),
            CmsError::Limit(limit) => limit.into(),
            CmsError::UnsupportedAlgorithm { oid, .. } => Self::unsupported(oid.as_str()),
            CmsError::WeakAlgorithm(_) => Self::UnsupportedAlgorithm {
                oid: oid::SHA1.to_owned(),
                name: oid::name(oid::SHA1),
                remedy: AlgorithmRemedy::OptIn("OpenOptions::legacy_digests"),
            },
            CmsError::NotARecipient | CmsError::Decryption | CmsError::KeyUnsuitable(_) => Self::WrongKey,
            CmsError::KeyUnavailable(source) => Self::KeyUnavailable(source),
            CmsError::SignerNotFound => Self::UntrustedSigner,
            CmsError::Signature | CmsError::NotSigned => Self::Signature,
            CmsError::MissingSlot(missing) => missing.into(),
            CmsError::Crypto(error) => error.into(),
            _ => Self::Damaged("its signature or envelope is malformed"),
        }
    }

    /// The format names an algorithm that this crate does not implement.
    pub(super) fn unsupported(oid: &str) -> Self {
        Self::UnsupportedAlgorithm { oid: oid.to_owned(), name: oid::name(oid), remedy: AlgorithmRemedy::ExportAgain }
    }

    /// The provider lacks an algorithm that this crate understands.
    pub(super) fn not_in_provider(oid: &str) -> Self {
        let remedy = match oid {
            oid::PBE_SHA1_3DES
            | oid::PBE_SHA1_2DES
            | oid::PBE_SHA1_RC2_128
            | oid::PBE_SHA1_RC2_40
            | oid::PBE_SHA1_RC4_128
            | oid::PBE_SHA1_RC4_40
            | oid::PBE_PKCS5_SHA1_DES
            | oid::PBE_PKCS5_SHA1_RC2
            | oid::DES_EDE3_CBC
            | oid::DES_CBC
            | oid::RC2_CBC => AlgorithmRemedy::Feature("legacy-ciphers"),
            oid::SHA512_224 | oid::HMAC_SHA512_224 | oid::BLAKE2B_512 | oid::BLAKE2S_256 => AlgorithmRemedy::Feature("rare-digests"),
            oid::SCRYPT => AlgorithmRemedy::Feature("scrypt"),
            _ => AlgorithmRemedy::OtherProvider,
        };
        Self::UnsupportedAlgorithm { oid: oid.to_owned(), name: oid::name(oid), remedy }
    }
}

impl From<DerError> for PfxError {
    fn from(error: DerError) -> Self {
        match error {
            DerError::Malformed { problem, .. } => Self::Damaged(problem),
            DerError::Limit(limit) => Self::LimitExceeded(limit),
        }
    }
}
