//! Keys that PFX passwords are encrypted to.

use std::sync::Arc;

use crate::crypto::{CryptoError, CryptoProvider, DecryptionKey, MissingSlot};
use crate::message::public_key::{PublicKeyError, RsaPublicKey};
use crate::secret::PrivateKeyPkcs8;
use crate::terms::KeyAlgorithm;

/// Why no key was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportKeyError {
    /// Passwords are encrypted to RSA keys only.
    #[error("passwords of imported files are encrypted to RSA keys; use RSA of 2048, 3072 or 4096 bits")]
    NotRsa,
    /// The crypto provider lacks a slot.
    #[error(transparent)]
    MissingSlot(#[from] MissingSlot),
    /// The crypto provider failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The provider gave a public key that cannot be exported.
    #[error(transparent)]
    PublicKey(#[from] PublicKeyError),
}

/// A fresh key: the private half to keep, the public half for the upload tool.
#[derive(Debug)]
#[non_exhaustive]
pub struct GeneratedImportKey {
    /// The private half. Store it where every instance of the tenant reaches it, and nobody else.
    pub private_key: PrivateKeyPkcs8,
    /// The private half, ready for a key store.
    pub decryption_key: Arc<dyn DecryptionKey>,
    /// The public half: `to_pem` and `to_cng_public_blob` are what upload tools read.
    pub public_key: RsaPublicKey,
}

/// Makes a key for PFX import. CPU work of tens of milliseconds to seconds: keep it off async threads.
///
/// Microsoft's tool makes 2048 bits; with the default OAEP-SHA-512 such a key carries passwords of up to 126 bytes.
///
/// # Errors
/// [`ImportKeyError`]: not RSA, or a provider that cannot.
pub fn generate_import_key(provider: &CryptoProvider, algorithm: KeyAlgorithm) -> Result<GeneratedImportKey, ImportKeyError> {
    if !algorithm.is_rsa() {
        return Err(ImportKeyError::NotRsa);
    }
    let private_key = provider.key_generation()?.generate(algorithm)?;
    let decryption_key = provider.decryption_keys()?.load(&private_key)?;
    let public_key = RsaPublicKey::from_spki(&decryption_key.public_key())?;
    Ok(GeneratedImportKey { private_key, decryption_key, public_key })
}
