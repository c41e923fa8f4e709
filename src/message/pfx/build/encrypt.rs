//! Encryption of safes and keys, and the MAC, as a [`PfxProtection`] says.

use zeroize::Zeroizing;

use crate::codec::pkcs12::{ber, der, oid};
use crate::crypto::{ContentCipherAlgorithm, CryptoProvider, DigestAlgorithm};
use crate::limits::{Budget, Limits};
use crate::message::pfx::derive::{self, Purpose};
use crate::message::pfx::error::PfxError;
use crate::message::pfx::password::{self, PfxPasswords};
use crate::message::pfx::protection::{PfxEncryption, PfxIntegrity, PfxProtection};
use crate::secret::Password;

/// macOS is said to refuse MAC salts of 16 octets; 8 is what OpenSSL writes.
const MAC_SALT: usize = 8;
const PBKDF2_SALT: usize = 16;
const PBES1_SALT: usize = 8;

/// Protects under the passwords of one file.
pub(super) struct Protector<'a> {
    protection: PfxProtection,
    passwords: PfxPasswords<'a>,
    provider: &'a CryptoProvider,
}

/// What a cipher made of a plaintext.
pub(super) struct Encrypted {
    /// The AlgorithmIdentifier.
    algorithm: Vec<u8>,
    ciphertext: Vec<u8>,
}

impl Encrypted {
    /// `EncryptedPrivateKeyInfo ::= SEQUENCE { encryptionAlgorithm, encryptedData OCTET STRING }` (RFC 5958 section 3).
    pub(super) fn private_key_info(&self) -> Vec<u8> {
        der::sequence(&[&self.algorithm, &der::octet_string(&self.ciphertext)])
    }

    /// A ContentInfo of type `encryptedData` (RFC 5652 section 8).
    pub(super) fn content_info(&self) -> Vec<u8> {
        const ENCRYPTED_CONTENT: u8 = 0x80;
        let content = der::tlv(ENCRYPTED_CONTENT, &[&self.ciphertext]);
        let info = der::sequence(&[&der::oid(oid::DATA), &self.algorithm, &content]);
        let encrypted_data = der::sequence(&[&der::integer(0), &info]);
        der::sequence(&[&der::oid(oid::ENCRYPTED_DATA), &der::tlv(ber::context(0), &[&encrypted_data])])
    }
}

impl<'a> Protector<'a> {
    pub(super) fn new(protection: PfxProtection, passwords: PfxPasswords<'a>, provider: &'a CryptoProvider) -> Self {
        Self { protection, passwords, provider }
    }

    /// Encrypts a plaintext under the password of the safes.
    pub(super) fn encrypt(&self, encryption: PfxEncryption, plaintext: &[u8]) -> Result<Encrypted, PfxError> {
        let password = text(self.passwords.safes)?;
        let cipher = self.provider.content_cipher()?;
        match encryption {
            PfxEncryption::Pbes1TripleDes { iterations } => {
                if !cipher.supports(ContentCipherAlgorithm::DesEde3Cbc) {
                    return Err(PfxError::not_in_provider(oid::PBE_SHA1_3DES));
                }
                let salt = self.random::<PBES1_SALT>()?;
                let password = password::bmp(password, true);
                let derive =
                    |purpose, len| derive::pkcs12(self.provider, DigestAlgorithm::Sha1, purpose, &password, &salt, iterations, len);
                let key = derive(Purpose::EncryptionKey, 24)?;
                let iv = derive(Purpose::InitialisationVector, 8)?;
                let ciphertext = cipher.encrypt(ContentCipherAlgorithm::DesEde3Cbc, &key, &iv, plaintext)?;
                let parameters = der::sequence(&[&der::octet_string(&salt), &der::integer(iterations)]);
                Ok(Encrypted { algorithm: der::sequence(&[&der::oid(oid::PBE_SHA1_3DES), &parameters]), ciphertext })
            }
            PfxEncryption::Pbes2 { cipher: aes, prf, iterations } => {
                if !cipher.supports(aes.algorithm()) {
                    return Err(PfxError::not_in_provider(aes.oid()));
                }
                let iv = self.random::<16>()?;
                let (key, kdf) = self.pbkdf2(password, prf.algorithm(), iterations, aes.key_len(), KeyLength::Omitted)?;
                let ciphertext = cipher.encrypt(aes.algorithm(), &key, &iv, plaintext)?;
                let scheme = der::sequence(&[&der::oid(aes.oid()), &der::octet_string(&iv)]);
                Ok(Encrypted { algorithm: der::sequence(&[&der::oid(oid::PBES2), &der::sequence(&[&kdf, &scheme])]), ciphertext })
            }
        }
    }

    /// The `MacData` over an AuthenticatedSafe; empty when the protection has none.
    pub(super) fn mac_data(&self, auth_safe: &[u8]) -> Result<Vec<u8>, PfxError> {
        match self.protection.integrity {
            PfxIntegrity::Mac { digest, iterations } => self.pkcs12_mac(digest.algorithm(), iterations, auth_safe),
            PfxIntegrity::Pbmac1 { prf, hmac, iterations } => self.pbmac1(prf.algorithm(), hmac.algorithm(), iterations, auth_safe),
            PfxIntegrity::DangerouslyNone => Ok(Vec::new()),
        }
    }

    fn pkcs12_mac(&self, digest: DigestAlgorithm, iterations: u32, auth_safe: &[u8]) -> Result<Vec<u8>, PfxError> {
        let salt = self.random::<MAC_SALT>()?;
        let password = password::bmp(text(self.passwords.mac)?, true);
        let key = derive::pkcs12(self.provider, digest, Purpose::MacKey, &password, &salt, iterations, digest.output_len())?;
        let mac = self.provider.hmac()?.hmac(digest, &key, &[auth_safe])?;
        let algorithm = der::sequence(&[&der::oid(derive::digest_oid(digest)), &der::null()]);
        let digest_info = der::sequence(&[&algorithm, &der::octet_string(mac.as_ref())]);
        Ok(der::sequence(&[&digest_info, &der::octet_string(&salt), &der::integer(iterations)]))
    }

    /// The salt outside the parameters is not used and says so, as in the samples of RFC 9579; the unused count is left at its default.
    fn pbmac1(&self, prf: DigestAlgorithm, hmac: DigestAlgorithm, iterations: u32, auth_safe: &[u8]) -> Result<Vec<u8>, PfxError> {
        let (key, kdf) = self.pbkdf2(text(self.passwords.mac)?, prf, iterations, hmac.output_len(), KeyLength::Written)?;
        let mac = self.provider.hmac()?.hmac(hmac, &key, &[auth_safe])?;
        let scheme = der::sequence(&[&der::oid(derive::prf_oid(hmac)), &der::null()]);
        let algorithm = der::sequence(&[&der::oid(oid::PBMAC1), &der::sequence(&[&kdf, &scheme])]);
        let digest_info = der::sequence(&[&algorithm, &der::octet_string(mac.as_ref())]);
        Ok(der::sequence(&[&digest_info, &der::octet_string(b"NOT USED")]))
    }

    /// A key and the AlgorithmIdentifier of its derivation: the PRF explicit with NULL parameters, unless it is the standard's default.
    fn pbkdf2(
        &self,
        password: &str,
        prf: DigestAlgorithm,
        iterations: u32,
        key_len: usize,
        key_length: KeyLength,
    ) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), PfxError> {
        let salt = self.random::<PBKDF2_SALT>()?;
        // What is written costs what the caller asked for: the budget only guards reading.
        let mut own = Budget::new(&Limits::default());
        let key = derive::pbkdf2(self.provider, prf, password.as_bytes(), &salt, iterations, key_len, &mut own)?;
        let length = match key_length {
            KeyLength::Omitted => Vec::new(),
            KeyLength::Written => der::integer(key_len as u32),
        };
        let prf = match prf {
            DigestAlgorithm::Sha1 => Vec::new(),
            prf => der::sequence(&[&der::oid(derive::prf_oid(prf)), &der::null()]),
        };
        let parameters = der::sequence(&[&der::octet_string(&salt), &der::integer(iterations), &length, &prf]);
        Ok((key, der::sequence(&[&der::oid(oid::PBKDF2), &parameters])))
    }

    fn random<const LEN: usize>(&self) -> Result<[u8; LEN], PfxError> {
        let mut bytes = [0; LEN];
        self.provider.random()?.fill(&mut bytes)?;
        Ok(bytes)
    }
}

/// Whether PBKDF2's parameters say how long the key is: PBMAC1 demands it, PBES2 readers are safest without.
#[derive(Debug, Clone, Copy)]
enum KeyLength {
    Omitted,
    Written,
}

fn text(password: Option<&Password>) -> Result<&str, PfxError> {
    let password = password.ok_or(PfxError::InvalidInput("no password was given for what it has to protect"))?;
    match password.secret_str() {
        None => Err(PfxError::InvalidInput("the password is not UTF-8")),
        // HMAC fills keys up with zeros, and PKCS#12 repeats the password over a block: one of zeros derives what the empty one does.
        Some(text) if text.bytes().all(|byte| byte == 0) => {
            Err(PfxError::InvalidInput("the password is empty, or zero characters only, and would protect nothing"))
        }
        Some(text) => Ok(text),
    }
}
