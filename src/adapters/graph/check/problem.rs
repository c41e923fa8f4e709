//! What can be wrong with a PFX before it is uploaded.

use core::fmt;

use crate::adapters::graph::purpose::IntendedPurpose;
use crate::ids::Thumbprint;
use crate::message::pfx::PfxErrorKind;
use crate::time::Timestamp;

/// One thing that is wrong or odd. Holds no password and no part of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PfxProblem {
    /// The file does not open with the password.
    #[error("the PFX does not open: {message}")]
    DoesNotOpen {
        /// Why, for decisions.
        kind: PfxErrorKind,
        /// Why, for people.
        message: String,
    },
    /// Nothing proves that the file is unchanged.
    #[error("the PFX has no MAC: export it again with a password and a MAC")]
    NoMac,
    /// There is no key with its certificate.
    #[error("the PFX holds no private key together with its certificate ({keys} keys, {certificates} certificates)")]
    NoIdentity {
        /// How many keys it holds.
        keys: usize,
        /// How many certificates.
        certificates: usize,
    },
    /// There are several keys with certificates.
    #[error("the PFX holds several private keys, with the certificates {}: export one alone", thumbprints.iter().map(Thumbprint::to_string).collect::<Vec<_>>().join(", "))]
    SeveralIdentities {
        /// The certificates that have their key in the file.
        thumbprints: Vec<Thumbprint>,
    },
    /// The certificate is another than was expected.
    #[error("the certificate of the private key is {found}, not {expected}")]
    OtherCertificate {
        /// The one that was named.
        expected: Thumbprint,
        /// The one in the file.
        found: Thumbprint,
    },
    /// The certificate cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    /// It is over.
    #[error("the certificate expired at {0}")]
    Expired(Timestamp),
    /// It has not begun.
    #[error("the certificate is not valid before {0}: check the clock, or wait")]
    NotYetValid(Timestamp),
    /// The service does not support the purpose.
    #[error("the service does not support the purpose {0}: use smimeEncryption, smimeSigning or wifi")]
    PurposeUnsupported(IntendedPurpose),
    /// No profile asks for the purpose.
    #[error("the purpose is unassigned: no profile will deliver this certificate")]
    PurposeUnassigned,
    /// The key usage does not fit the purpose.
    #[error("the certificate's key usage lacks {0}, which {1} needs")]
    KeyUsage(&'static str, IntendedPurpose),
    /// The extended key usage does not fit the purpose.
    #[error("the certificate's extended key usage lacks {0}, which {1} needs")]
    ExtendedKeyUsage(&'static str, IntendedPurpose),
    /// No mail address of the certificate is the user's.
    #[error("no rfc822Name of the certificate is {0}: mail programs will not take it for this user's")]
    MailAddress(String),
    /// A CA's certificate is no user's.
    #[error("the certificate is a CA's: its key must not be given to devices")]
    CaCertificate,
    /// Devices may not take the key.
    #[error("devices may not import a key of this kind ({0}): RSA of 2048 bits or more is safe, EC P-256 and P-384 mostly")]
    KeyKind(String),
    /// There is no password, or an empty one.
    #[error("the password is empty: whoever reads the record would read the key")]
    PasswordEmpty,
    /// The connector may read the password in another encoding.
    #[error(
        "the password is not ASCII, and tools disagree on its encoding: use another password, or choose the encoding that your connector expects"
    )]
    PasswordNotAscii,
    /// The chosen encoding has not all characters of the password.
    #[error("the password is not text of the chosen encoding")]
    PasswordEncoding,
    /// The password does not fit into the RSA ciphertext.
    #[error(
        "the password is longer than the {max} bytes that the import key carries with this padding: use a shorter one, a larger key or a smaller hash"
    )]
    PasswordTooLong {
        /// The longest in bytes.
        max: usize,
    },
    /// The user principal name has no place in a record.
    #[error("the user principal name is not of the form user@domain, or longer than 1,024 bytes")]
    UserPrincipalName,
    /// The crypto provider failed.
    #[error("the crypto provider cannot do it: {0}")]
    Provider(String),
}

/// A PFX is not uploaded: everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PfxRefused {
    /// The reasons; at least one.
    pub problems: Vec<PfxProblem>,
    /// What else is odd.
    pub warnings: Vec<PfxProblem>,
    /// The certificate, as far as it was found.
    pub thumbprint: Option<Thumbprint>,
}

impl fmt::Display for PfxRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if at == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for PfxRefused {}
