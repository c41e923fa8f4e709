//! Password-based encryption schemes: PKCS#12 PBES1, PKCS#5 PBES1 with SHA-1, PBES2 with PBKDF2 or scrypt.

use zeroize::Zeroizing;

use super::derive::{self, Purpose};
use super::error::{PasswordUse, PfxError};
use super::password::{FormedPassword, PasswordForm, pkcs5_forms, pkcs12_forms};
use crate::codec::der::Octets;
use crate::codec::pkcs5::{AlgorithmIdentifier, PbeParameter, Pbes2Params, Pbkdf2Params, Rc2CbcParameter, ScryptParams};
use crate::codec::pkcs12::oid;
use crate::crypto::{ContentCipherAlgorithm, CryptoError, CryptoProvider, DigestAlgorithm, ScryptParameters};
use crate::limits::Budget;
use crate::secret::{Password, SecretBytes};

/// A scheme read from an AlgorithmIdentifier, checked as far as can be before the password is touched.
#[derive(Debug)]
pub(super) struct Scheme<'a> {
    oid: String,
    kdf: Kdf<'a>,
    cipher: ContentCipherAlgorithm,
    cipher_oid: String,
    /// How many bytes are derived; single DES takes a third of the key of its cipher.
    key_len: usize,
    /// `None`: derived with the key.
    iv: Option<Octets<'a>>,
    single_des: bool,
}

#[derive(Debug)]
enum Kdf<'a> {
    Pkcs12 { salt: Octets<'a>, iterations: u32 },
    Pbkdf1 { salt: Octets<'a>, iterations: u32 },
    Pbkdf2 { prf: DigestAlgorithm, salt: Octets<'a>, iterations: u32 },
    Scrypt { parameters: ScryptParameters, salt: Octets<'a> },
}

impl<'a> Scheme<'a> {
    pub(super) fn decode(algorithm: &AlgorithmIdentifier<'a>, budget: &mut Budget) -> Result<Self, PfxError> {
        if algorithm.oid == oid::PBES2 {
            return Self::pbes2(algorithm, budget);
        }
        let (cipher, key_len) = match algorithm.oid.as_str() {
            oid::PBE_SHA1_RC4_128 => (ContentCipherAlgorithm::Rc4, 16),
            oid::PBE_SHA1_RC4_40 => (ContentCipherAlgorithm::Rc4, 5),
            oid::PBE_SHA1_3DES => (ContentCipherAlgorithm::DesEde3Cbc, 24),
            oid::PBE_SHA1_2DES => (ContentCipherAlgorithm::DesEde3Cbc, 16),
            oid::PBE_SHA1_RC2_128 => (ContentCipherAlgorithm::Rc2Cbc { effective_bits: 128 }, 16),
            oid::PBE_SHA1_RC2_40 => (ContentCipherAlgorithm::Rc2Cbc { effective_bits: 40 }, 5),
            oid::PBE_PKCS5_SHA1_DES => (ContentCipherAlgorithm::DesEde3Cbc, 8),
            oid::PBE_PKCS5_SHA1_RC2 => (ContentCipherAlgorithm::Rc2Cbc { effective_bits: 64 }, 8),
            other => return Err(PfxError::unsupported(other)),
        };
        let PbeParameter { salt, iterations } = PbeParameter::decode(algorithm, budget)?;
        let iterations = derive::iterations(iterations, budget)?;
        let pkcs5 = matches!(algorithm.oid.as_str(), oid::PBE_PKCS5_SHA1_DES | oid::PBE_PKCS5_SHA1_RC2);
        Ok(Self {
            oid: algorithm.oid.clone(),
            kdf: if pkcs5 { Kdf::Pbkdf1 { salt, iterations } } else { Kdf::Pkcs12 { salt, iterations } },
            cipher,
            cipher_oid: algorithm.oid.clone(),
            key_len,
            iv: None,
            single_des: algorithm.oid == oid::PBE_PKCS5_SHA1_DES,
        })
    }

    fn pbes2(algorithm: &AlgorithmIdentifier<'a>, budget: &mut Budget) -> Result<Self, PfxError> {
        let params = Pbes2Params::decode(algorithm, budget)?;
        let (kdf, stated_len) = Kdf::decode(&params.key_derivation, budget)?;
        let stated_len = match stated_len {
            None => None,
            Some(length @ 1..=128) => Some(length as usize),
            Some(_) => return Err(PfxError::Damaged("a key length is out of range")),
        };
        let scheme = &params.scheme;
        let (cipher, iv, natural_len) = match scheme.oid.as_str() {
            oid::AES_128_CBC => (ContentCipherAlgorithm::Aes128Cbc, scheme.iv(budget)?, 16),
            oid::AES_192_CBC => (ContentCipherAlgorithm::Aes192Cbc, scheme.iv(budget)?, 24),
            oid::AES_256_CBC => (ContentCipherAlgorithm::Aes256Cbc, scheme.iv(budget)?, 32),
            oid::DES_EDE3_CBC => (ContentCipherAlgorithm::DesEde3Cbc, scheme.iv(budget)?, 24),
            oid::DES_CBC => (ContentCipherAlgorithm::DesEde3Cbc, scheme.iv(budget)?, 8),
            oid::RC2_CBC => {
                let Rc2CbcParameter { effective_bits, iv } = Rc2CbcParameter::decode(scheme, budget)?;
                (ContentCipherAlgorithm::Rc2Cbc { effective_bits }, iv, usize::from(effective_bits).div_ceil(8))
            }
            other => return Err(PfxError::unsupported(other)),
        };
        let is_rc2 = matches!(cipher, ContentCipherAlgorithm::Rc2Cbc { .. });
        if !is_rc2 && stated_len.is_some_and(|stated| stated != natural_len) {
            return Err(PfxError::Damaged("a key length does not fit its cipher"));
        }
        if iv.as_ref().len() != cipher.iv_len() {
            return Err(PfxError::Damaged("an initialisation vector has the wrong length"));
        }
        Ok(Self {
            oid: oid::PBES2.to_owned(),
            kdf,
            cipher,
            cipher_oid: scheme.oid.clone(),
            key_len: stated_len.unwrap_or(natural_len),
            iv: Some(iv),
            single_des: scheme.oid == oid::DES_CBC,
        })
    }

    /// What an operator calls it: scheme, cipher and PRF.
    pub(super) fn description(&self) -> String {
        let name = |dotted: &str| oid::name(dotted).map_or_else(|| dotted.to_owned(), str::to_owned);
        match &self.kdf {
            Kdf::Pkcs12 { .. } | Kdf::Pbkdf1 { .. } => name(&self.oid),
            Kdf::Pbkdf2 { prf, .. } => format!("PBES2, PBKDF2 with HMAC-{prf}, {}", name(&self.cipher_oid)),
            Kdf::Scrypt { .. } => format!("PBES2, scrypt, {}", name(&self.cipher_oid)),
        }
    }

    /// The iteration count, or scrypt's cost.
    pub(super) fn iterations(&self) -> u64 {
        match &self.kdf {
            Kdf::Pkcs12 { iterations, .. } | Kdf::Pbkdf1 { iterations, .. } | Kdf::Pbkdf2 { iterations, .. } => u64::from(*iterations),
            Kdf::Scrypt { parameters, .. } => parameters.cost,
        }
    }

    /// What deriving key and initialisation vector from one form of a password is charged.
    pub(super) fn cost(&self) -> u64 {
        match &self.kdf {
            Kdf::Pkcs12 { iterations, .. } => {
                let (digest, iv_len) = (DigestAlgorithm::Sha1, self.cipher.iv_len());
                derive::pkcs12_cost(*iterations, derive::blocks(self.key_len, digest) + derive::blocks(iv_len, digest))
            }
            Kdf::Pbkdf1 { iterations, .. } => u64::from(*iterations),
            Kdf::Pbkdf2 { prf, iterations, .. } => u64::from(*iterations) * derive::blocks(self.key_len, *prf),
            Kdf::Scrypt { parameters, .. } => derive::scrypt_cost(*parameters),
        }
    }

    fn key_and_iv(&self, password: &[u8], provider: &CryptoProvider, budget: &mut Budget) -> Result<KeyAndIv, PfxError> {
        let given_iv = || self.iv.as_ref().map_or_else(Vec::new, |iv| iv.as_ref().to_vec());
        let (mut key, iv) = match &self.kdf {
            Kdf::Pkcs12 { salt, iterations } => {
                let (salt, digest, iv_len) = (salt.as_ref(), DigestAlgorithm::Sha1, self.cipher.iv_len());
                budget.charge_kdf(self.cost())?;
                let key = derive::pkcs12(provider, digest, Purpose::EncryptionKey, password, salt, *iterations, self.key_len)?;
                let iv = if iv_len == 0 {
                    Zeroizing::default()
                } else {
                    derive::pkcs12(provider, digest, Purpose::InitialisationVector, password, salt, *iterations, iv_len)?
                };
                (key, iv.to_vec())
            }
            Kdf::Pbkdf1 { salt, iterations } => {
                let derived = derive::pbkdf1(provider, DigestAlgorithm::Sha1, password, salt.as_ref(), *iterations, budget)?;
                (Zeroizing::new(derived[..8].to_vec()), derived[8..16].to_vec())
            }
            Kdf::Pbkdf2 { prf, salt, iterations } => {
                (derive::pbkdf2(provider, *prf, password, salt.as_ref(), *iterations, self.key_len, budget)?, given_iv())
            }
            Kdf::Scrypt { parameters, salt } => {
                (derive::scrypt(provider, *parameters, password, salt.as_ref(), self.key_len, budget)?, given_iv())
            }
        };
        if self.single_des {
            // DES is triple DES with three equal keys.
            key = Zeroizing::new([&key[..], &key[..], &key[..]].concat());
        }
        Ok(KeyAndIv { key, iv })
    }
}

impl<'a> Kdf<'a> {
    fn decode(algorithm: &AlgorithmIdentifier<'a>, budget: &mut Budget) -> Result<(Self, Option<u64>), PfxError> {
        match algorithm.oid.as_str() {
            oid::PBKDF2 => {
                let Pbkdf2Params { salt, iterations, key_length, prf } = Pbkdf2Params::decode(algorithm, budget)?;
                let prf = derive::prf_by_oid(&prf).ok_or_else(|| PfxError::unsupported(&prf))?;
                Ok((Self::Pbkdf2 { prf, salt, iterations: derive::iterations(iterations, budget)? }, key_length))
            }
            oid::SCRYPT => {
                let params = ScryptParams::decode(algorithm, budget)?;
                let small = |value| u32::try_from(value).map_err(|_| PfxError::Damaged("scrypt has a parameter out of range"));
                let parameters = ScryptParameters {
                    cost: params.cost,
                    block_size: small(params.block_size)?,
                    parallelization: small(params.parallelization)?,
                };
                Ok((Self::Scrypt { parameters, salt: params.salt }, params.key_length))
            }
            other => Err(PfxError::unsupported(other)),
        }
    }
}

struct KeyAndIv {
    key: Zeroizing<Vec<u8>>,
    iv: Vec<u8>,
}

/// Decrypts under one password, remembering which of its forms fitted.
pub(super) struct Decryptor<'a> {
    password: Option<&'a Password>,
    provider: &'a CryptoProvider,
    /// Whether a MAC over the file was verified: then damage is excluded.
    authenticated: bool,
    pkcs12: FormOrder,
    pkcs5: FormOrder,
}

/// The forms of a password, the one that fitted last in front.
#[derive(Default)]
struct FormOrder(Option<Vec<FormedPassword>>);

impl FormOrder {
    fn prefer(&mut self, index: usize) {
        if let Some(forms) = &mut self.0
            && index < forms.len()
        {
            forms[..=index].rotate_right(1);
        }
    }
}

impl<'a> Decryptor<'a> {
    pub(super) fn new(
        password: Option<&'a Password>,
        provider: &'a CryptoProvider,
        authenticated: bool,
        preferred: Option<PasswordForm>,
    ) -> Self {
        let mut pkcs12 = FormOrder(Some(pkcs12_forms(password)));
        let position = pkcs12.0.iter().flatten().position(|formed| Some(formed.form) == preferred);
        pkcs12.prefer(position.unwrap_or(0));
        Self { password, provider, authenticated, pkcs12, pkcs5: FormOrder::default() }
    }

    /// Decrypts `ciphertext`; `fits` says whether a plaintext has the shape that it must have.
    pub(super) fn decrypt(
        &mut self,
        scheme: &Scheme<'_>,
        ciphertext: &[u8],
        fits: fn(&[u8]) -> bool,
        budget: &mut Budget,
    ) -> Result<SecretBytes, PfxError> {
        let slot = self.provider.content_cipher()?;
        match slot.check(scheme.cipher) {
            Err(CryptoError::Unsupported(_)) => return Err(PfxError::not_in_provider(&scheme.cipher_oid)),
            other => other?,
        }
        if scheme.cipher != ContentCipherAlgorithm::Rc4
            && (ciphertext.is_empty() || !ciphertext.len().is_multiple_of(scheme.cipher.iv_len()))
        {
            return Err(PfxError::Damaged("encrypted data is empty or not a whole number of cipher blocks"));
        }
        let order = if matches!(scheme.kdf, Kdf::Pkcs12 { .. }) { &mut self.pkcs12 } else { &mut self.pkcs5 };
        let forms = order.0.get_or_insert_with(|| pkcs5_forms(self.password));
        let mut fitting = None;
        for (attempt, formed) in forms.iter().enumerate() {
            let KeyAndIv { key, iv } = match scheme.key_and_iv(&formed.bytes, self.provider, budget) {
                Err(PfxError::LimitExceeded(_)) if attempt > 0 => break,
                other => other?,
            };
            match slot.decrypt(scheme.cipher, &key, &iv, ciphertext) {
                Ok(plaintext) if fits(plaintext.secret_bytes()) => {
                    fitting = Some((attempt, plaintext));
                    break;
                }
                Ok(_) | Err(CryptoError::Failed) => {}
                Err(CryptoError::InvalidArgument(_)) => return Err(PfxError::Damaged("encrypted data does not fit its cipher")),
                Err(CryptoError::Unsupported(_)) => return Err(PfxError::not_in_provider(&scheme.cipher_oid)),
                Err(other) => return Err(other.into()),
            }
        }
        match fitting {
            Some((attempt, plaintext)) => {
                order.prefer(attempt);
                Ok(plaintext)
            }
            None if self.authenticated => Err(PfxError::WrongPassword(PasswordUse::Safes)),
            None => Err(PfxError::WrongPasswordOrDamaged),
        }
    }
}
