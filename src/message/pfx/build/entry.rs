//! What a PFX can hold, as the writer takes it.

use rustls_pki_types::CertificateDer;

use crate::message::pfx::contents::{Identity, PfxAttribute, PfxCertificate, PfxKey};
use crate::secret::PrivateKeyPkcs8;

/// A private key with its certificate and the certificates above it, to be written.
///
/// Key and certificate get one localKeyId (the SHA-1 of the certificate), the chain gets none: readers that pair by it find the leaf.
#[derive(Debug, Clone)]
pub struct PfxIdentity<'a> {
    pub(super) key: KeyPart<'a>,
    pub(super) leaf: CertificatePart<'a>,
    pub(super) chain: Vec<CertificatePart<'a>>,
    /// As the reader of a file leaves it.
    pub(super) chain_is_in_order: bool,
    pub(super) local_key_id: Option<&'a [u8]>,
    pub(super) csp_name: Option<&'a str>,
    pub(super) windows_store: Option<WindowsStore>,
    pub(super) key_usage: Option<WindowsKeyUsage>,
}

/// A private key, its name and the attributes that it came with.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyPart<'a> {
    pub(super) pkcs8: &'a PrivateKeyPkcs8,
    pub(super) friendly_name: Name<'a>,
    pub(super) kept: Option<&'a [PfxAttribute]>,
}

/// A certificate, its name and the attributes that it came with.
#[derive(Debug, Clone, Copy)]
pub(super) struct CertificatePart<'a> {
    pub(super) der: &'a CertificateDer<'a>,
    pub(super) friendly_name: Name<'a>,
    pub(super) kept: &'a [PfxAttribute],
    pub(super) java_trust: JavaTrust,
}

/// Where a name comes from: what the caller sets must be writable, what a file held is kept where it can be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Name<'a> {
    None,
    Set(&'a str),
    Kept(&'a str),
}

impl<'a> From<&'a Option<String>> for Name<'a> {
    fn from(name: &'a Option<String>) -> Self {
        name.as_deref().map_or(Self::None, Self::Kept)
    }
}

impl<'a> KeyPart<'a> {
    pub(super) fn kept(key: &'a PfxKey) -> Self {
        Self { pkcs8: &key.key, friendly_name: Name::from(&key.friendly_name), kept: Some(&key.attributes) }
    }
}

impl<'a> CertificatePart<'a> {
    pub(super) fn bare(der: &'a CertificateDer<'a>) -> Self {
        Self { der, friendly_name: Name::None, kept: &[], java_trust: JavaTrust::Unmarked }
    }

    pub(super) fn kept(certificate: &'a PfxCertificate) -> Self {
        let friendly_name = Name::from(&certificate.friendly_name);
        Self { der: &certificate.der, friendly_name, kept: &certificate.attributes, java_trust: JavaTrust::Unmarked }
    }
}

impl<'a> PfxIdentity<'a> {
    /// A key and its certificate.
    #[must_use]
    pub fn new(key: &'a PrivateKeyPkcs8, certificate: &'a CertificateDer<'a>) -> Self {
        Self {
            key: KeyPart { pkcs8: key, friendly_name: Name::None, kept: None },
            leaf: CertificatePart::bare(certificate),
            chain: Vec::new(),
            chain_is_in_order: true,
            local_key_id: None,
            csp_name: None,
            windows_store: None,
            key_usage: None,
        }
    }

    /// An identity of a file that was read, with its chain, its names and all its attributes, also those that this crate does not know.
    ///
    /// Its localKeyId is kept when key and certificate agree on it.
    #[must_use]
    pub fn kept(identity: &Identity<'a>) -> Self {
        let (key, certificate) = (identity.key, identity.certificate);
        Self {
            key: KeyPart::kept(key),
            leaf: CertificatePart::kept(certificate),
            chain: identity.chain.iter().map(|above| CertificatePart::kept(above)).collect(),
            chain_is_in_order: true,
            local_key_id: key.local_key_id.as_deref().filter(|id| !id.is_empty() && certificate.local_key_id.as_deref() == Some(id)),
            csp_name: None,
            windows_store: None,
            key_usage: None,
        }
    }

    /// The certificates above. They are written in the order in which they issued each other, whatever their order here;
    /// what is not linked by its name follows.
    #[must_use]
    pub fn chain(mut self, chain: impl IntoIterator<Item = &'a CertificateDer<'a>>) -> Self {
        self.chain = chain.into_iter().map(CertificatePart::bare).collect();
        self.chain_is_in_order = false;
        self
    }

    /// The name under which devices list key and certificate. Characters beyond the basic multilingual plane cannot be written.
    #[must_use]
    pub fn friendly_name(mut self, name: &'a str) -> Self {
        (self.key.friendly_name, self.leaf.friendly_name) = (Name::Set(name), Name::Set(name));
        self
    }

    /// The Windows provider that shall store the key, such as `Microsoft Software Key Storage Provider`; others ignore it.
    #[must_use]
    pub fn csp_name(mut self, name: &'a str) -> Self {
        self.csp_name = Some(name);
        self
    }

    /// For whom Windows stores the key; others ignore it.
    #[must_use]
    pub fn windows_store(mut self, store: WindowsStore) -> Self {
        self.windows_store = Some(store);
        self
    }

    /// For what old Windows providers may use the key; others ignore it. Replaces such a mark inside the PKCS#8 structure.
    #[must_use]
    pub fn windows_key_usage(mut self, usage: WindowsKeyUsage) -> Self {
        self.key_usage = Some(usage);
        self
    }
}

/// A certificate without its key, to be written: an entry of a trust store.
#[derive(Debug, Clone, Copy)]
pub struct TrustedCertificate<'a>(pub(super) CertificatePart<'a>);

impl<'a> TrustedCertificate<'a> {
    /// A certificate that Java takes as trusted for every purpose.
    #[must_use]
    pub fn new(certificate: &'a CertificateDer<'a>) -> Self {
        Self(CertificatePart { java_trust: JavaTrust::AnyPurpose, ..CertificatePart::bare(certificate) })
    }

    /// The name in lists; Java's alias. Characters beyond the basic multilingual plane cannot be written.
    #[must_use]
    pub fn friendly_name(mut self, name: &'a str) -> Self {
        self.0.friendly_name = Name::Set(name);
        self
    }

    /// Whether Java sees the entry.
    #[must_use]
    pub fn java_trust(mut self, trust: JavaTrust) -> Self {
        self.0.java_trust = trust;
        self
    }
}

/// Whether a certificate without a key carries the attribute 2.16.840.1.113894.746875.1.1, without which Java's key stores do not show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum JavaTrust {
    /// Trusted for every purpose (`anyExtendedKeyUsage`), as keytool writes it. Others than Java ignore it.
    #[default]
    AnyPurpose,
    /// Not marked: Java does not see the entry.
    Unmarked,
}

/// For whom Windows stores the key when it imports the file without being told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WindowsStore {
    /// The user who imports it: no attribute is written.
    #[default]
    User,
    /// The machine: the attribute 1.3.6.1.4.1.311.17.2 is written.
    Machine,
}

/// The key usage attribute (2.5.29.15) that Windows puts among the attributes of the PKCS#8 structure for keys of its old providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WindowsKeyUsage {
    /// `AT_KEYEXCHANGE`: decrypts and signs (`openssl pkcs12 -keyex`).
    Exchange,
    /// `AT_SIGNATURE`: signs only (`openssl pkcs12 -keysig`).
    Signature,
}
