//! What a PFX holds, typed by what was proven about it.

use core::ops::Deref;

use rustls_pki_types::CertificateDer;

use super::error::PfxError;
use super::password::PasswordForm;
use crate::codec::pkcs12::oid;
use crate::message::certificate::Certificate;
use crate::secret::{PrivateKeyPkcs8, SecretBytes};

/// An opened PFX. The variant says what was proven before anything was decrypted.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenedPfx {
    /// The MAC fits the password: the file is what its writer wrote, or its writer's password is known to someone else.
    MacVerified(MacVerified),
    /// A signature over the file was verified, by a certificate that the caller named in [`OpenOptions::signers`](super::OpenOptions).
    SignatureVerified(SignatureVerified),
    /// The file has no MAC: anybody may have put together what is in it.
    Unauthenticated(Unauthenticated),
}

impl OpenedPfx {
    /// What the file holds, whatever was proven.
    #[must_use]
    pub fn contents(&self) -> &PfxContents {
        match self {
            Self::MacVerified(pfx) => &pfx.contents,
            Self::SignatureVerified(pfx) => &pfx.contents,
            Self::Unauthenticated(pfx) => &pfx.contents,
        }
    }

    /// The MAC that was verified.
    #[must_use]
    pub fn mac(&self) -> Option<&MacInfo> {
        match self {
            Self::MacVerified(pfx) => Some(&pfx.mac),
            Self::SignatureVerified(_) | Self::Unauthenticated(_) => None,
        }
    }

    /// Insists on a verified MAC.
    ///
    /// # Errors
    /// [`PfxError::Unauthenticated`] when the file has none.
    pub fn into_mac_verified(self) -> Result<MacVerified, PfxError> {
        match self {
            Self::MacVerified(pfx) => Ok(pfx),
            Self::SignatureVerified(_) | Self::Unauthenticated(_) => Err(PfxError::Unauthenticated),
        }
    }
}

/// Contents whose MAC was verified; only [`open`](super::open) makes one.
#[derive(Debug)]
pub struct MacVerified {
    contents: PfxContents,
    mac: MacInfo,
}

impl MacVerified {
    pub(super) fn new(contents: PfxContents, mac: MacInfo) -> Self {
        Self { contents, mac }
    }

    /// The MAC.
    #[must_use]
    pub fn mac(&self) -> &MacInfo {
        &self.mac
    }

    /// What the file holds.
    #[must_use]
    pub fn contents(&self) -> &PfxContents {
        &self.contents
    }

    /// What the file holds, by value; the proof is given up.
    #[must_use]
    pub fn into_contents(self) -> PfxContents {
        self.contents
    }
}

impl Deref for MacVerified {
    type Target = PfxContents;
    fn deref(&self) -> &PfxContents {
        &self.contents
    }
}

/// Contents whose signature was verified (RFC 7292 section 3.1, public-key integrity); only [`open_with`](super::open_with) and its like
/// make one.
#[derive(Debug)]
pub struct SignatureVerified {
    contents: PfxContents,
    signers: Vec<Certificate>,
}

impl SignatureVerified {
    pub(super) fn new(contents: PfxContents, signers: Vec<Certificate>) -> Self {
        Self { contents, signers }
    }

    /// The certificates whose keys signed, of those that the caller named; at least one. Their validity and revocation were not looked at.
    #[must_use]
    pub fn signers(&self) -> &[Certificate] {
        &self.signers
    }

    /// What the file holds, by value; the proof is given up.
    #[must_use]
    pub fn into_contents(self) -> PfxContents {
        self.contents
    }

    /// What the file holds.
    #[must_use]
    pub fn contents(&self) -> &PfxContents {
        &self.contents
    }
}

impl Deref for SignatureVerified {
    type Target = PfxContents;
    fn deref(&self) -> &PfxContents {
        &self.contents
    }
}

/// Contents that nothing vouches for.
#[derive(Debug)]
pub struct Unauthenticated {
    contents: PfxContents,
}

impl Unauthenticated {
    pub(super) fn new(contents: PfxContents) -> Self {
        Self { contents }
    }

    /// What the file holds.
    #[must_use]
    pub fn contents(&self) -> &PfxContents {
        &self.contents
    }

    /// What the file holds, by value, although whoever carried the file may have changed or replaced it.
    #[must_use]
    pub fn dangerous_into_unauthenticated_contents(self) -> PfxContents {
        self.contents
    }
}

impl Deref for Unauthenticated {
    type Target = PfxContents;
    fn deref(&self) -> &PfxContents {
        &self.contents
    }
}

/// How the file's MAC was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MacInfo {
    algorithm: String,
    pbmac1: bool,
    iterations: u32,
    salt_len: usize,
    password_form: PasswordForm,
}

impl MacInfo {
    pub(super) fn new(algorithm_oid: &str, pbmac1: bool, iterations: u32, salt_len: usize, password_form: PasswordForm) -> Self {
        let algorithm = oid::name(algorithm_oid).unwrap_or(algorithm_oid).to_owned();
        Self { algorithm, pbmac1, iterations, salt_len, password_form }
    }

    /// The digest of the MAC, or the HMAC of PBMAC1, by its usual name.
    #[must_use]
    pub fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// Whether it is a PBMAC1 (RFC 9579) instead of the PKCS#12 MAC.
    #[must_use]
    pub fn is_pbmac1(&self) -> bool {
        self.pbmac1
    }

    /// The iteration count: the smaller, the easier the password is guessed.
    #[must_use]
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Length of the salt in bytes.
    #[must_use]
    pub fn salt_len(&self) -> usize {
        self.salt_len
    }

    /// How the writer turned the password into bytes.
    #[must_use]
    pub fn password_form(&self) -> PasswordForm {
        self.password_form
    }
}

/// Keys, certificates and the rest, in the order of the file.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct PfxContents {
    /// Private keys.
    pub keys: Vec<PfxKey>,
    /// X.509 certificates.
    pub certificates: Vec<PfxCertificate>,
    /// Bags of other types: kept and named, never dropped silently.
    pub others: Vec<PfxOther>,
    /// Bytes after the end of the PFX, or inside of it after the end of the list of safes or of a safe, which were ignored.
    pub trailing_bytes: usize,
    pub(super) pairs: Vec<Pair>,
}

/// A key, its leaf and the chain above, as indices.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) key: usize,
    pub(super) leaf: usize,
    pub(super) chain: Vec<usize>,
}

impl PfxContents {
    /// Each key that has its certificate in the file, with the chain above it.
    pub fn identities(&self) -> impl Iterator<Item = Identity<'_>> {
        self.pairs.iter().map(|pair| Identity {
            key: &self.keys[pair.key],
            certificate: &self.certificates[pair.leaf],
            chain: pair.chain.iter().map(|index| &self.certificates[*index]).collect(),
        })
    }

    /// The one key that has its certificate in the file.
    ///
    /// # Errors
    /// [`PfxError::Empty`] when there is none, [`PfxError::SeveralIdentities`] when there are several.
    pub fn identity(&self) -> Result<Identity<'_>, PfxError> {
        let mut identities = self.identities();
        match (identities.next(), self.pairs.len()) {
            (Some(identity), 1) => Ok(identity),
            (None, _) => Err(PfxError::Empty { keys: self.keys.len(), certificates: self.certificates.len() }),
            (Some(_), count) => Err(PfxError::SeveralIdentities { count }),
        }
    }
}

/// A key with its certificate and the certificates above it, leaf first.
#[derive(Debug)]
#[non_exhaustive]
pub struct Identity<'a> {
    /// The private key.
    pub key: &'a PfxKey,
    /// The certificate of its public key.
    pub certificate: &'a PfxCertificate,
    /// The issuers as far as the file holds them: the issuer of `certificate` first. Linked by name only: not a validated path.
    pub chain: Vec<&'a PfxCertificate>,
}

impl<'a> Identity<'a> {
    /// The certificate and its chain, leaf first.
    pub fn certificates(&self) -> impl Iterator<Item = &'a PfxCertificate> + use<'a, '_> {
        core::iter::once(self.certificate).chain(self.chain.iter().copied())
    }
}

/// How a bag was protected in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protection {
    /// It lay in clear.
    Clear,
    /// It was encrypted to public keys.
    ToPublicKeys {
        /// The content cipher by its usual name.
        cipher: String,
    },
    /// It was encrypted under a password.
    Encrypted {
        /// The scheme by its usual name.
        scheme: String,
        /// Its iteration count, or scrypt's cost.
        iterations: u64,
    },
}

/// A private key.
#[derive(Debug)]
#[non_exhaustive]
pub struct PfxKey {
    /// The key; of any algorithm, not parsed.
    pub key: PrivateKeyPkcs8,
    /// The name that the file gives it.
    pub friendly_name: Option<String>,
    /// Links it to its certificate.
    pub local_key_id: Option<Vec<u8>>,
    /// All attributes of the bag, the two above included.
    pub attributes: Vec<PfxAttribute>,
    /// How it was protected.
    pub protection: Protection,
}

/// An X.509 certificate.
#[derive(Debug)]
#[non_exhaustive]
pub struct PfxCertificate {
    /// The certificate as it lies in the file; not parsed.
    pub der: CertificateDer<'static>,
    /// The name that the file gives it.
    pub friendly_name: Option<String>,
    /// Links it to its key.
    pub local_key_id: Option<Vec<u8>>,
    /// All attributes of the bag, the two above included.
    pub attributes: Vec<PfxAttribute>,
    /// How it was protected.
    pub protection: Protection,
}

/// A bag that is neither a private key nor an X.509 certificate.
#[derive(Debug)]
#[non_exhaustive]
pub struct PfxOther {
    /// What it is.
    pub kind: OtherBagKind,
    /// The object identifier of the bag, or of the type inside for CRL, secret and certificate bags.
    pub oid: String,
    /// The value as encoded in the file, wiped on drop since it may be a secret.
    pub value: SecretBytes,
    /// The name that the file gives it.
    pub friendly_name: Option<String>,
    /// The link to a key or certificate.
    pub local_key_id: Option<Vec<u8>>,
    /// All attributes of the bag.
    pub attributes: Vec<PfxAttribute>,
    /// How it was protected.
    pub protection: Protection,
}

/// The bag types of [`PfxOther`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OtherBagKind {
    /// A certificate that is not X.509, such as SDSI.
    OtherCertificate,
    /// A certificate revocation list.
    Crl,
    /// A secret: a symmetric key of Java, a wallet entry.
    Secret,
    /// A type that RFC 7292 does not define.
    Unknown,
}

impl OtherBagKind {
    /// The name of the kind.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OtherCertificate => "other-certificate",
            Self::Crl => "crl",
            Self::Secret => "secret",
            Self::Unknown => "unknown",
        }
    }
}

/// An attribute of a bag.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PfxAttribute {
    /// Its object identifier.
    pub oid: String,
    /// Its usual name, when it has one.
    pub name: Option<&'static str>,
    /// Its values as encoded in the file: one by the standard.
    pub values: Vec<Vec<u8>>,
}
