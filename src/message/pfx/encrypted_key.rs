//! `EncryptedPrivateKeyInfo` (RFC 5958 section 3) outside a PFX: the same schemes, the same forms of the password.

use super::error::PfxError;
use super::scheme::{Decryptor, Scheme};
use crate::codec::der::{Reader, Rules, Tag};
use crate::codec::pkcs5::AlgorithmIdentifier;
use crate::crypto::CryptoProvider;
use crate::limits::{Budget, Limits};
use crate::secret::{Password, SecretBytes};

/// Decrypts to what `fits` takes for a private key, each derivation charged to `limits`.
pub(in crate::message) fn decrypt_private_key_info(
    der: &[u8],
    password: &Password,
    fits: fn(&[u8]) -> bool,
    provider: &CryptoProvider,
    limits: &Limits,
) -> Result<SecretBytes, PfxError> {
    let mut budget = Budget::new(limits);
    budget.check_input(der.len())?;
    let mut outer = Reader::new(der, Rules::Der);
    let mut fields = outer.field(Tag::SEQUENCE, "an EncryptedPrivateKeyInfo is no SEQUENCE", &mut budget)?.inner()?;
    outer.end("bytes follow the EncryptedPrivateKeyInfo")?;
    let algorithm = AlgorithmIdentifier::read(&mut fields, &mut budget)?;
    let encrypted = fields.field(Tag::OCTET_STRING, "an EncryptedPrivateKeyInfo has no encrypted data", &mut budget)?.primitive()?;
    fields.end("an EncryptedPrivateKeyInfo holds more than algorithm and data")?;
    let scheme = Scheme::decode(&algorithm, &mut budget)?;
    Decryptor::new(Some(password), provider, false, None).decrypt(&scheme, encrypted, fits, &mut budget)
}
