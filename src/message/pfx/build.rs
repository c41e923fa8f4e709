//! Writing a PFX: DER, shrouded keys, each leaf first and then its issuers.

mod attributes;
mod bags;
mod encrypt;
mod entry;
mod kept;
#[cfg(all(test, feature = "ring", feature = "aws-lc-rs", feature = "legacy-ciphers"))]
mod tests;

use std::collections::HashSet;

use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

pub use self::entry::{JavaTrust, PfxIdentity, TrustedCertificate, WindowsKeyUsage, WindowsStore};
pub use self::kept::LeftOut;

use self::attributes::Attributes;
use self::encrypt::Protector;
use self::entry::{CertificatePart, KeyPart, Name};
use self::kept::Kept;
use super::contents::{PfxContents, PfxOther};
use super::error::PfxError;
use super::pairing;
use super::password::PfxPasswords;
use super::protection::{CertificateProtection, PfxProtection};
use super::public_key::{self, CertificateParts};
use crate::codec::pkcs12::{der, oid};
use crate::crypto::{CryptoProvider, DigestAlgorithm, DigestKdf};
use crate::secret::{PrivateKeyPkcs8, SecretBytes};

/// Writes a PFX.
///
/// The usual file, one key with its certificate, is described by [`key`](Self::key), [`certificate`](Self::certificate) and the methods
/// after them. [`identity`](Self::identity) adds further keys, [`trusted_certificate`](Self::trusted_certificate) certificates without a
/// key, [`contents`](Self::contents) all that another file held.
///
/// ```
/// # #[cfg(all(feature = "ring", feature = "aws-lc-rs"))] {
/// use intune_connector::crypto::CryptoProvider;
/// use intune_connector::limits::Limits;
/// use intune_connector::message::pfx::{self, PfxBuilder, PfxProfile, TrustedCertificate};
/// use intune_connector::secret::Password;
/// use rustls_pki_types::CertificateDer;
///
/// let provider = CryptoProvider::ring_and_aws_lc_rs();
/// # let root = CertificateDer::from(vec![0x30, 0]);
/// let password = Password::from("a random one of 128 bits");
/// let store = PfxBuilder::new(PfxProfile::Modern)
///     .trusted_certificate(TrustedCertificate::new(&root).friendly_name("Contoso root"))
///     .build(&password, &provider)?;
/// let opened = pfx::open(store.secret_bytes(), &password, &provider, &Limits::default())?;
/// assert_eq!(opened.contents().certificates[0].friendly_name.as_deref(), Some("Contoso root"));
/// # }
/// # Ok::<(), intune_connector::message::pfx::PfxError>(())
/// ```
#[derive(Debug)]
pub struct PfxBuilder<'a> {
    protection: PfxProtection,
    key: Option<&'a PrivateKeyPkcs8>,
    certificate: Option<&'a CertificateDer<'a>>,
    /// What is said of the key and the certificate above, whichever comes first.
    details: Vec<Detail<'a>>,
    identities: Vec<PfxIdentity<'a>>,
    trusted: Vec<TrustedCertificate<'a>>,
    contents: Vec<&'a PfxContents>,
}

#[derive(Debug, Clone)]
enum Detail<'a> {
    Chain(Vec<&'a CertificateDer<'a>>),
    FriendlyName(&'a str),
    CspName(&'a str),
    WindowsStore(WindowsStore),
    WindowsKeyUsage(WindowsKeyUsage),
}

/// Fewest and most iterations that are written: OpenSSL's and Windows' count, and what this crate's own default limits read of one key in
/// each profile.
const ITERATIONS: core::ops::RangeInclusive<u32> = 2_000..=1_000_000;

impl<'a> PfxBuilder<'a> {
    /// An empty file in a [`PfxProfile`](super::PfxProfile), or under a [`PfxProtection`] put together by hand.
    #[must_use]
    pub fn new(protection: impl Into<PfxProtection>) -> Self {
        Self {
            protection: protection.into(),
            key: None,
            certificate: None,
            details: Vec::new(),
            identities: Vec::new(),
            trusted: Vec::new(),
            contents: Vec::new(),
        }
    }

    /// The private key; it must belong to the certificate.
    #[must_use]
    pub fn key(mut self, key: &'a PrivateKeyPkcs8) -> Self {
        self.key = Some(key);
        self
    }

    /// The certificate of the key.
    #[must_use]
    pub fn certificate(mut self, certificate: &'a CertificateDer<'a>) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// The certificates above, as for [`PfxIdentity::chain`].
    #[must_use]
    pub fn chain(self, chain: impl IntoIterator<Item = &'a CertificateDer<'a>>) -> Self {
        self.detail(Detail::Chain(chain.into_iter().collect()))
    }

    /// The name under which devices list key and certificate. Characters beyond the basic multilingual plane cannot be written.
    #[must_use]
    pub fn friendly_name(self, name: &'a str) -> Self {
        self.detail(Detail::FriendlyName(name))
    }

    /// The Windows provider that shall store the key, such as `Microsoft Software Key Storage Provider`; others ignore it.
    #[must_use]
    pub fn csp_name(self, name: &'a str) -> Self {
        self.detail(Detail::CspName(name))
    }

    /// For whom Windows stores the key; others ignore it.
    #[must_use]
    pub fn windows_store(self, store: WindowsStore) -> Self {
        self.detail(Detail::WindowsStore(store))
    }

    /// For what old Windows providers may use the key; others ignore it.
    #[must_use]
    pub fn windows_key_usage(self, usage: WindowsKeyUsage) -> Self {
        self.detail(Detail::WindowsKeyUsage(usage))
    }

    /// Adds a key with its certificate. Several keys in one file are read by Windows, NSS, Java and OpenSSL; iOS and Python's
    /// `cryptography` see the first one only (source read, measured).
    #[must_use]
    pub fn identity(mut self, identity: PfxIdentity<'a>) -> Self {
        self.identities.push(identity);
        self
    }

    /// Adds a certificate without a key: a file of these alone is a trust store.
    #[must_use]
    pub fn trusted_certificate(mut self, certificate: TrustedCertificate<'a>) -> Self {
        self.trusted.push(certificate);
        self
    }

    /// Adds all that a file held: keys with their certificates, lone keys and certificates, bags of other types, with names and attributes.
    ///
    /// Certificates come out leaf first, and localKeyIds stay on keys and their certificates only. What cannot be written again makes
    /// [`build`](Self::build) fail; [`reencrypt_pfx`](crate::message::reencrypt::reencrypt_pfx) leaves it out and names it.
    #[must_use]
    pub fn contents(mut self, contents: &'a PfxContents) -> Self {
        self.contents.push(contents);
        self
    }

    /// Iterations of each key derivation, MAC included: 2,000 to 1,000,000. For different counts see [`PfxProtection`].
    #[must_use]
    pub fn iterations(mut self, iterations: u32) -> Self {
        self.protection = self.protection.iterations(iterations);
        self
    }

    /// Writes the file: under one password, or under [`PfxPasswords::separate`] ones, which few programs can open.
    ///
    /// # Errors
    /// [`PfxError::KeyMismatch`] when a key does not belong to its certificate; [`PfxError::InvalidInput`] when something is missing
    /// or cannot be written; [`PfxError::UnsupportedAlgorithm`] when the provider lacks a cipher, such as 3DES for
    /// [`PfxProfile::Compat`](super::PfxProfile::Compat); otherwise the provider's failure.
    pub fn build<'p>(&self, passwords: impl Into<PfxPasswords<'p>>, provider: &CryptoProvider) -> Result<SecretBytes, PfxError> {
        let plan = self.plan(provider)?;
        match plan.kept.left_out.first() {
            Some(left_out) => Err(PfxError::InvalidInput(left_out.reason())),
            None => plan.write(self.protection, passwords.into(), provider),
        }
    }

    /// Writes the file without what cannot be written again of files that were read.
    pub(in crate::message) fn build_leaving_out(
        &self,
        passwords: PfxPasswords<'_>,
        provider: &CryptoProvider,
    ) -> Result<(SecretBytes, Vec<LeftOut>), PfxError> {
        let plan = self.plan(provider)?;
        let file = plan.write(self.protection, passwords, provider)?;
        Ok((file, plan.kept.left_out))
    }

    /// Everything but the encryption.
    #[cfg(test)]
    pub(super) fn plan_for_tests(&self, provider: &CryptoProvider) -> Result<usize, PfxError> {
        self.plan(provider).map(|plan| plan.certificates.len())
    }

    fn detail(mut self, detail: Detail<'a>) -> Self {
        self.details.push(detail);
        self
    }

    /// All bags in their order, checked; nothing is encrypted yet.
    fn plan(&self, provider: &CryptoProvider) -> Result<Plan, PfxError> {
        if self.protection.all_iterations().any(|count| !ITERATIONS.contains(&count)) {
            return Err(PfxError::InvalidInput("an iteration count is outside 2,000 to 1,000,000"));
        }
        if self.protection.uses_pkcs12_kdf() {
            // A restricted provider says so before anything is done with the key.
            provider.digest()?.permits(DigestKdf::Pkcs12)?;
        }
        let identities = self.all_identities()?;
        let leaves = identities.iter().map(|identity| identity.leaf.der.as_ref()).collect();
        let mut draft = Draft { provider, plan: Plan::default(), written: HashSet::new(), leaves, local_key_ids: HashSet::new() };
        for identity in &identities {
            draft.identity(identity, &identities)?;
        }
        for contents in &self.contents {
            draft.rest(contents)?;
        }
        for TrustedCertificate(certificate) in &self.trusted {
            draft.certificate(certificate, None)?;
        }
        let plan = draft.plan;
        if plan.keys.is_empty() && plan.certificates.is_empty() && plan.others.is_empty() {
            let nothing = "no private key and no certificate was given";
            return Err(PfxError::InvalidInput(plan.kept.left_out.first().map_or(nothing, LeftOut::reason)));
        }
        Ok(plan)
    }

    fn all_identities(&self) -> Result<Vec<PfxIdentity<'a>>, PfxError> {
        let mut identities = Vec::new();
        match (self.key, self.certificate) {
            (Some(key), Some(certificate)) => {
                let identity = PfxIdentity::new(key, certificate);
                identities.push(self.details.iter().fold(identity, |identity, detail| match detail {
                    Detail::Chain(chain) => identity.chain(chain.iter().copied()),
                    Detail::FriendlyName(name) => identity.friendly_name(name),
                    Detail::CspName(name) => identity.csp_name(name),
                    Detail::WindowsStore(store) => identity.windows_store(*store),
                    Detail::WindowsKeyUsage(usage) => identity.windows_key_usage(*usage),
                }));
            }
            (Some(_), None) => return Err(PfxError::InvalidInput("no certificate was given")),
            (None, Some(_)) => return Err(PfxError::InvalidInput("no private key was given")),
            (None, None) if self.details.is_empty() => {}
            (None, None) => return Err(PfxError::InvalidInput("no private key and no certificate was given")),
        }
        identities.extend(self.identities.iter().cloned());
        identities.extend(self.contents.iter().flat_map(|contents| contents.identities()).map(|identity| PfxIdentity::kept(&identity)));
        Ok(identities)
    }
}

/// The bags of a file, ready to be encrypted.
#[derive(Default)]
struct Plan {
    keys: Vec<KeyBag>,
    certificates: Vec<Zeroizing<Vec<u8>>>,
    others: Vec<Zeroizing<Vec<u8>>>,
    kept: Kept,
}

struct KeyBag {
    pkcs8: Zeroizing<Vec<u8>>,
    attributes: Vec<u8>,
}

/// A plan in the making.
struct Draft<'a> {
    provider: &'a CryptoProvider,
    plan: Plan,
    /// Certificates that the plan holds: each is written once.
    written: HashSet<&'a [u8]>,
    /// The certificates of keys, which are written with their keys.
    leaves: HashSet<&'a [u8]>,
    /// The ids that link keys to certificates.
    local_key_ids: HashSet<Vec<u8>>,
}

impl<'a> Draft<'a> {
    fn identity(&mut self, identity: &'a PfxIdentity<'a>, all: &[PfxIdentity<'a>]) -> Result<(), PfxError> {
        check_key(identity, self.provider)?;
        let leaf = identity.leaf.der;
        // One id on several pairs would link a key to a certificate that is not its own.
        let is_own = |id: &&[u8]| all.iter().all(|other| other.local_key_id != Some(*id) || other.leaf.der == leaf);
        let local_key_id = match identity.local_key_id.filter(is_own) {
            Some(id) => id.to_vec(),
            None => self.provider.digest()?.digest(DigestAlgorithm::Sha1, &[leaf.as_ref()])?.as_ref().to_vec(),
        };
        self.certificate(&identity.leaf, Some(&local_key_id))?;
        for above in in_order(identity) {
            if !self.leaves.contains(above.der.as_ref()) {
                self.certificate(above, None)?;
            }
        }
        let mut attributes = Attributes::default();
        attributes.local_key_id(&local_key_id);
        self.local_key_ids.insert(local_key_id);
        let mut set = Vec::new();
        if let Some(name) = identity.csp_name {
            attributes.csp_name(name)?;
            set.push(oid::MS_CSP_NAME);
        }
        if let Some(store) = identity.windows_store {
            if store == WindowsStore::Machine {
                attributes.local_machine();
            }
            set.push(oid::MS_LOCAL_KEYSET);
        }
        let pkcs8 = match identity.key_usage {
            Some(usage) => bags::with_key_usage(identity.key.pkcs8, usage)?,
            None => Zeroizing::new(identity.key.pkcs8.secret_pkcs8_der().to_vec()),
        };
        self.key(&identity.key, pkcs8, attributes, &set)
    }

    /// What a file held beside its identities.
    fn rest(&mut self, contents: &'a PfxContents) -> Result<(), PfxError> {
        let has_certificate = |index| contents.pairs.iter().any(|pair| pair.key == index);
        for (_, key) in contents.keys.iter().enumerate().filter(|(index, _)| !has_certificate(*index)) {
            let mut attributes = Attributes::default();
            // The id of an identity would link a key to a certificate that is not its own.
            if let Some(id) = key.local_key_id.as_ref().filter(|id| !self.local_key_ids.contains(*id)) {
                attributes.local_key_id(id);
            }
            let pkcs8 = Zeroizing::new(key.key.secret_pkcs8_der().to_vec());
            self.key(&KeyPart::kept(key), pkcs8, attributes, &[])?;
        }
        for certificate in &contents.certificates {
            self.certificate(&CertificatePart::kept(certificate), None)?;
        }
        contents.others.iter().try_for_each(|other| self.other(other))
    }

    fn key(&mut self, part: &KeyPart<'_>, pkcs8: Zeroizing<Vec<u8>>, mut attributes: Attributes, set: &[&str]) -> Result<(), PfxError> {
        self.name(&mut attributes, part.friendly_name)?;
        attributes.kept(part.kept.unwrap_or_default(), set, &mut self.plan.kept);
        self.plan.keys.push(KeyBag { pkcs8, attributes: attributes.encode() });
        Ok(())
    }

    fn certificate(&mut self, part: &CertificatePart<'a>, local_key_id: Option<&[u8]>) -> Result<(), PfxError> {
        if !self.written.insert(part.der.as_ref()) {
            return Ok(());
        }
        let mut attributes = Attributes::default();
        if let Some(id) = local_key_id {
            attributes.local_key_id(id);
        }
        self.name(&mut attributes, part.friendly_name)?;
        if part.java_trust == JavaTrust::AnyPurpose {
            attributes.java_trusted_for_any_purpose();
        }
        attributes.kept(part.kept, &[], &mut self.plan.kept);
        self.plan.certificates.push(bags::certificate(part.der, &attributes.encode()));
        Ok(())
    }

    fn other(&mut self, other: &PfxOther) -> Result<(), PfxError> {
        let mut attributes = Attributes::default();
        if let Some(id) = &other.local_key_id {
            attributes.local_key_id(id);
        }
        self.name(&mut attributes, Name::from(&other.friendly_name))?;
        attributes.kept(&other.attributes, &[], &mut self.plan.kept);
        match bags::other(other, &attributes.encode()) {
            Some(bag) => self.plan.others.push(bag),
            None => self.plan.kept.left_out_bag(other.kind, &other.oid),
        }
        Ok(())
    }

    fn name(&mut self, attributes: &mut Attributes, name: Name<'_>) -> Result<(), PfxError> {
        match name {
            Name::None => {}
            Name::Set(name) => attributes.friendly_name(name)?,
            Name::Kept(name) => attributes.kept_name(name, &mut self.plan.kept),
        }
        Ok(())
    }
}

impl Plan {
    fn write(&self, protection: PfxProtection, passwords: PfxPasswords<'_>, provider: &CryptoProvider) -> Result<SecretBytes, PfxError> {
        let protector = Protector::new(protection, passwords, provider);
        let mut safes = Vec::new();
        if !self.certificates.is_empty() {
            let contents = bags::safe_contents(&self.certificates);
            safes.push(match protection.certificates {
                CertificateProtection::Encrypted(encryption) => protector.encrypt(encryption, &contents)?.content_info(),
                CertificateProtection::Clear => bags::data(&contents),
            });
        }
        if !self.keys.is_empty() {
            let mut keys = Vec::with_capacity(self.keys.len());
            for key in &self.keys {
                let shrouded = protector.encrypt(protection.keys, &key.pkcs8)?.private_key_info();
                keys.push(bags::safe_bag(&oid::contents(oid::PKCS8_SHROUDED_KEY_BAG), &shrouded, &key.attributes));
            }
            safes.push(bags::data(&bags::safe_contents(&keys)));
        }
        if !self.others.is_empty() {
            safes.push(protector.encrypt(protection.keys, &bags::safe_contents(&self.others))?.content_info());
        }
        let auth_safe = der::sequence(&safes.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let mac_data = protector.mac_data(&auth_safe)?;
        Ok(SecretBytes::new(der::sequence(&[&der::integer(3), &bags::data(&auth_safe), &mac_data])))
    }
}

/// The key must be that of the certificate. For a key of the caller's the provider computes that, so that one which merely states a public
/// key does not pass; for a kept one of an algorithm that the provider does not know, what the file says has to do.
fn check_key(identity: &PfxIdentity<'_>, provider: &CryptoProvider) -> Result<(), PfxError> {
    let parts = CertificateParts::find(identity.leaf.der);
    let public_key = match (public_key::computed(identity.key.pkcs8, provider), identity.key.kept) {
        (Ok(public_key), _) => Some(public_key),
        (Err(_), Some(_)) => public_key::of_private_key(identity.key.pkcs8, provider),
        (Err(error), None) => return Err(error),
    };
    match (parts, public_key) {
        (Some(parts), Some(public_key)) if parts.public_key != public_key => Err(PfxError::KeyMismatch),
        (None, _) if identity.key.kept.is_none() => Err(PfxError::InvalidInput("the certificate is malformed")),
        _ => Ok(()),
    }
}

/// The chain from the leaf's issuer upwards, as far as names link it; then the rest.
fn in_order<'i, 'a>(identity: &'i PfxIdentity<'a>) -> Vec<&'i CertificatePart<'a>> {
    if identity.chain_is_in_order {
        return identity.chain.iter().collect();
    }
    let all = core::iter::once(&identity.leaf).chain(&identity.chain);
    let parts = all.map(|part| CertificateParts::find(part.der)).collect::<Vec<_>>();
    // The leaf has index 0 among the parts.
    let linked = pairing::chain_above(0, &parts).into_iter().map(|index| index - 1).collect::<Vec<_>>();
    let known = linked.iter().copied().collect::<HashSet<_>>();
    let rest = (0..identity.chain.len()).filter(|index| !known.contains(index));
    linked.iter().copied().chain(rest).filter_map(|index| identity.chain.get(index)).collect()
}
