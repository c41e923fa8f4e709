//! Writing a PFX: DER, one shrouded key, leaf first and then its issuers.

use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::derive::{self, Purpose};
use super::error::PfxError;
use super::password;
use super::public_key::{self, CertificateParts};
use crate::codec::pkcs12::{ber, der, oid};
use crate::crypto::{ContentCipherAlgorithm, CryptoProvider, DigestAlgorithm, DigestKdf};
use crate::limits::{Budget, Limits};
use crate::secret::{Password, PrivateKeyPkcs8, SecretBytes};
use crate::terms::PfxProfile;

/// Writes a PFX with one key, its certificate and the chain above.
#[derive(Debug)]
pub struct PfxBuilder<'a> {
    profile: PfxProfile,
    key: Option<&'a PrivateKeyPkcs8>,
    certificate: Option<&'a CertificateDer<'a>>,
    chain: Vec<&'a CertificateDer<'a>>,
    friendly_name: Option<&'a str>,
    csp_name: Option<&'a str>,
    windows_store: WindowsStore,
    iterations: u32,
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

/// Fewest and most iterations that are written: OpenSSL's and Windows' count, and what this crate's own default limits read.
const ITERATIONS: core::ops::RangeInclusive<u32> = 2_000..=1_000_000;
/// macOS is said to refuse MAC salts of 16 octets; 8 is what OpenSSL writes.
const MAC_SALT: usize = 8;
const PBKDF2_SALT: usize = 16;
const PBES1_SALT: usize = 8;

impl<'a> PfxBuilder<'a> {
    /// An empty file in the profile.
    #[must_use]
    pub fn new(profile: PfxProfile) -> Self {
        let iterations = profile.default_iterations();
        Self {
            profile,
            key: None,
            certificate: None,
            chain: Vec::new(),
            friendly_name: None,
            csp_name: None,
            windows_store: WindowsStore::User,
            iterations,
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

    /// The certificates above, the issuer of the certificate first. Written in this order.
    #[must_use]
    pub fn chain(mut self, chain: impl IntoIterator<Item = &'a CertificateDer<'a>>) -> Self {
        self.chain = chain.into_iter().collect();
        self
    }

    /// The name under which devices list key and certificate. Characters beyond the basic multilingual plane cannot be written.
    #[must_use]
    pub fn friendly_name(mut self, name: &'a str) -> Self {
        self.friendly_name = Some(name);
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
        self.windows_store = store;
        self
    }

    /// Iterations of each key derivation, MAC included: 2,000 to 1,000,000.
    #[must_use]
    pub fn iterations(mut self, iterations: u32) -> Self {
        self.iterations = iterations;
        self
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`PfxError::KeyMismatch`] when the key does not belong to the certificate; [`PfxError::InvalidInput`] when something is missing
    /// or cannot be written; [`PfxError::UnsupportedAlgorithm`] when the provider lacks 3DES for [`PfxProfile::Compat`];
    /// otherwise the provider's failure.
    pub fn build(&self, password: &Password, provider: &CryptoProvider) -> Result<SecretBytes, PfxError> {
        let key = self.key.ok_or(PfxError::InvalidInput("no private key was given"))?;
        let certificate = self.certificate.ok_or(PfxError::InvalidInput("no certificate was given"))?;
        if !ITERATIONS.contains(&self.iterations) {
            return Err(PfxError::InvalidInput("the iteration count is outside 2,000 to 1,000,000"));
        }
        if self.profile != PfxProfile::Pbmac1 {
            // A restricted provider says so before anything is done with the key.
            provider.digest()?.permits(DigestKdf::Pkcs12)?;
        }
        let text = password.secret_str().ok_or(PfxError::InvalidInput("the password is not UTF-8"))?;
        if text.is_empty() {
            return Err(PfxError::InvalidInput("the password is empty and would protect nothing"));
        }
        let friendly_name = self.friendly_name.map(bmp_string).transpose()?;
        let parts = CertificateParts::find(certificate).ok_or(PfxError::InvalidInput("the certificate is malformed"))?;
        // The provider's loader checks the private key against its public half, so a key that merely states one does not pass.
        if public_key::computed(key, provider)? != parts.public_key {
            return Err(PfxError::KeyMismatch);
        }
        let local_key_id = provider.digest()?.digest(DigestAlgorithm::Sha1, &[certificate.as_ref()])?;
        let mut identity_attributes = vec![attribute(oid::LOCAL_KEY_ID, &der::octet_string(local_key_id.as_ref()))];
        identity_attributes.extend(friendly_name.map(|name| attribute(oid::FRIENDLY_NAME, &name)));
        let mut key_attributes = identity_attributes.clone();
        if let Some(name) = self.csp_name {
            key_attributes.push(attribute(oid::MS_CSP_NAME, &bmp_string(name)?));
        }
        if self.windows_store == WindowsStore::Machine {
            key_attributes.push(attribute(oid::MS_LOCAL_KEYSET, &[]));
        }
        let (identity_attributes, key_attributes) = (der::set_of(identity_attributes), der::set_of(key_attributes));

        let mut bags = vec![cert_bag(certificate, &identity_attributes)];
        bags.extend(self.chain.iter().map(|certificate| cert_bag(certificate, &[])));
        let certificates = self.encrypt(&der::tlv(ber::SEQUENCE, &[&bags.concat()]), text, provider)?;
        let certificate_safe = encrypted_data(&certificates);

        let shrouded = self.encrypt(key.secret_pkcs8_der(), text, provider)?;
        let shrouded = der::sequence(&[&shrouded.algorithm, &der::octet_string(&shrouded.ciphertext)]);
        let key_bag = safe_bag(oid::PKCS8_SHROUDED_KEY_BAG, &shrouded, &key_attributes);
        let key_safe = data(&der::sequence(&[&key_bag]));

        let auth_safe = der::sequence(&[&certificate_safe, &key_safe]);
        let mac_data = self.mac_data(&auth_safe, text, provider)?;
        Ok(SecretBytes::new(der::sequence(&[&der::integer(3), &data(&auth_safe), &mac_data])))
    }

    fn encrypt(&self, plaintext: &[u8], password: &str, provider: &CryptoProvider) -> Result<Encrypted, PfxError> {
        match self.profile {
            PfxProfile::Modern | PfxProfile::Pbmac1 => self.encrypt_pbes2(plaintext, password, provider),
            PfxProfile::Compat => self.encrypt_pbes1(plaintext, password, provider),
        }
    }

    /// AES-256-CBC under PBKDF2-HMAC-SHA-256, key length omitted.
    fn encrypt_pbes2(&self, plaintext: &[u8], password: &str, provider: &CryptoProvider) -> Result<Encrypted, PfxError> {
        let iv = random::<16>(provider)?;
        let (key, kdf) = self.pbkdf2(password, KeyLength::Omitted, provider)?;
        let ciphertext = provider.content_cipher()?.encrypt(ContentCipherAlgorithm::Aes256Cbc, &key, &iv, plaintext)?;
        let cipher = der::sequence(&[&der::oid(oid::AES_256_CBC), &der::octet_string(&iv)]);
        Ok(Encrypted { algorithm: der::sequence(&[&der::oid(oid::PBES2), &der::sequence(&[&kdf, &cipher])]), ciphertext })
    }

    /// A key of 32 bytes and the AlgorithmIdentifier of its derivation: PRF explicit, with NULL parameters.
    fn pbkdf2(&self, password: &str, key_length: KeyLength, provider: &CryptoProvider) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), PfxError> {
        const LENGTH: u8 = 32;
        let salt = random::<PBKDF2_SALT>(provider)?;
        // What is written costs what the caller asked for: the budget only guards reading.
        let mut own = Budget::new(&Limits::default());
        let password = password.as_bytes();
        let key = derive::pbkdf2(provider, DigestAlgorithm::Sha256, password, &salt, self.iterations, usize::from(LENGTH), &mut own)?;
        let prf = der::sequence(&[&der::oid(oid::HMAC_SHA256), &der::null()]);
        let length = match key_length {
            KeyLength::Omitted => Vec::new(),
            KeyLength::Written => der::integer(u32::from(LENGTH)),
        };
        let parameters = der::sequence(&[&der::octet_string(&salt), &der::integer(self.iterations), &length, &prf]);
        Ok((key, der::sequence(&[&der::oid(oid::PBKDF2), &parameters])))
    }

    fn encrypt_pbes1(&self, plaintext: &[u8], password: &str, provider: &CryptoProvider) -> Result<Encrypted, PfxError> {
        let cipher = provider.content_cipher()?;
        if !cipher.supports(ContentCipherAlgorithm::DesEde3Cbc) {
            return Err(PfxError::not_in_provider(oid::PBE_SHA1_3DES));
        }
        let salt = random::<PBES1_SALT>(provider)?;
        let password = password::bmp(password, true);
        let derive = |purpose, len| derive::pkcs12(provider, DigestAlgorithm::Sha1, purpose, &password, &salt, self.iterations, len);
        let key = derive(Purpose::EncryptionKey, 24)?;
        let iv = derive(Purpose::InitialisationVector, 8)?;
        let ciphertext = cipher.encrypt(ContentCipherAlgorithm::DesEde3Cbc, &key, &iv, plaintext)?;
        let parameters = der::sequence(&[&der::octet_string(&salt), &der::integer(self.iterations)]);
        Ok(Encrypted { algorithm: der::sequence(&[&der::oid(oid::PBE_SHA1_3DES), &parameters]), ciphertext })
    }

    /// The MAC's count equals the encryption's: a smaller one would be where the password is guessed.
    fn mac_data(&self, auth_safe: &[u8], password: &str, provider: &CryptoProvider) -> Result<Vec<u8>, PfxError> {
        match self.profile {
            PfxProfile::Modern => self.pkcs12_mac(DigestAlgorithm::Sha256, auth_safe, password, provider),
            PfxProfile::Compat => self.pkcs12_mac(DigestAlgorithm::Sha1, auth_safe, password, provider),
            PfxProfile::Pbmac1 => self.pbmac1(auth_safe, password, provider),
        }
    }

    fn pkcs12_mac(
        &self,
        digest: DigestAlgorithm,
        auth_safe: &[u8],
        password: &str,
        provider: &CryptoProvider,
    ) -> Result<Vec<u8>, PfxError> {
        let salt = random::<MAC_SALT>(provider)?;
        let password = password::bmp(password, true);
        let key = derive::pkcs12(provider, digest, Purpose::MacKey, &password, &salt, self.iterations, digest.output_len())?;
        let mac = provider.hmac()?.hmac(digest, &key, &[auth_safe])?;
        let algorithm = der::sequence(&[&der::oid(derive::digest_oid(digest)), &der::null()]);
        let digest_info = der::sequence(&[&algorithm, &der::octet_string(mac.as_ref())]);
        Ok(der::sequence(&[&digest_info, &der::octet_string(&salt), &der::integer(self.iterations)]))
    }

    /// The salt outside the parameters is not used and says so, as in the samples of RFC 9579; the unused count is left at its default.
    fn pbmac1(&self, auth_safe: &[u8], password: &str, provider: &CryptoProvider) -> Result<Vec<u8>, PfxError> {
        let (key, kdf) = self.pbkdf2(password, KeyLength::Written, provider)?;
        let mac = provider.hmac()?.hmac(DigestAlgorithm::Sha256, &key, &[auth_safe])?;
        let hmac = der::sequence(&[&der::oid(oid::HMAC_SHA256), &der::null()]);
        let algorithm = der::sequence(&[&der::oid(oid::PBMAC1), &der::sequence(&[&kdf, &hmac])]);
        let digest_info = der::sequence(&[&algorithm, &der::octet_string(mac.as_ref())]);
        Ok(der::sequence(&[&digest_info, &der::octet_string(b"NOT USED")]))
    }
}

/// Whether PBKDF2's parameters say how long the key is: PBMAC1 demands it, PBES2 readers are safest without.
#[derive(Debug, Clone, Copy)]
enum KeyLength {
    Omitted,
    Written,
}

struct Encrypted {
    /// The AlgorithmIdentifier.
    algorithm: Vec<u8>,
    ciphertext: Vec<u8>,
}

fn random<const LEN: usize>(provider: &CryptoProvider) -> Result<[u8; LEN], PfxError> {
    let mut bytes = [0; LEN];
    provider.random()?.fill(&mut bytes)?;
    Ok(bytes)
}

fn bmp_string(name: &str) -> Result<Vec<u8>, PfxError> {
    const BMP_STRING: u8 = 0x1e;
    if name.is_empty() || name.chars().any(|character| character.is_control()) {
        return Err(PfxError::InvalidInput("a friendly name or CSP name is empty or holds control characters"));
    }
    if name.chars().any(|character| u32::from(character) > 0xffff) {
        return Err(PfxError::InvalidInput(
            "a friendly name or CSP name holds a character beyond the basic multilingual plane, such as an emoji",
        ));
    }
    Ok(der::tlv(BMP_STRING, &[&password::bmp(name, false)]))
}

/// A `PKCS12Attribute` with one value, or, when `value` is empty, none.
fn attribute(id: &str, value: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::oid(id), &der::tlv(ber::SET, &[value])])
}

fn cert_bag(certificate: &CertificateDer<'_>, attributes: &[u8]) -> Vec<u8> {
    let value = der::tlv(ber::context(0), &[&der::octet_string(certificate)]);
    safe_bag(oid::CERT_BAG, &der::sequence(&[&der::oid(oid::X509_CERTIFICATE), &value]), attributes)
}

fn safe_bag(id: &str, value: &[u8], attributes: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::oid(id), &der::tlv(ber::context(0), &[value]), attributes])
}

/// A ContentInfo of type `data`.
fn data(contents: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::oid(oid::DATA), &der::tlv(ber::context(0), &[&der::octet_string(contents)])])
}

/// A ContentInfo of type `encryptedData`.
fn encrypted_data(encrypted: &Encrypted) -> Vec<u8> {
    const ENCRYPTED_CONTENT: u8 = 0x80;
    let content = der::tlv(ENCRYPTED_CONTENT, &[&encrypted.ciphertext]);
    let info = der::sequence(&[&der::oid(oid::DATA), &encrypted.algorithm, &content]);
    let encrypted_data = der::sequence(&[&der::integer(0), &info]);
    der::sequence(&[&der::oid(oid::ENCRYPTED_DATA), &der::tlv(ber::context(0), &[&encrypted_data])])
}
