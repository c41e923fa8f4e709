//! Private keys as other programs keep them: key blobs of Windows, PEM and DER. All become PKCS#8, which every key loader takes.
//!
//! [`read`] finds out what the bytes are. With it a tenant takes over the key of Microsoft's connector, where that key could be exported
//! (`docs/import-keys.md` tells how, and what to do where it could not):
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use intune_connector::adapters::MemoryDecryptionKeys;
//! use intune_connector::crypto::CryptoProvider;
//! use intune_connector::limits::Limits;
//! use intune_connector::message::private_key;
//! use intune_connector::ports::ImportKeyName;
//! use zeroize::Zeroizing;
//!
//! let provider = CryptoProvider::ring_and_aws_lc_rs();
//! let blob = Zeroizing::new(std::fs::read("PFXEncryptionKey.blob")?); // RSAFULLPRIVATEBLOB
//! let key = private_key::read(&blob, None, &provider, &Limits::default())?;
//! let keys = MemoryDecryptionKeys::new();
//! let name = ImportKeyName { provider: "Microsoft Software Key Storage Provider".into(), key: "PFXEncryptionKey".into() };
//! keys.insert(name, provider.decryption_keys()?.load(&key)?);
//! # Ok(())
//! # }
//! ```
//!
//! The numbers of an RSA blob are checked against each other here. Those of PKCS#8, PKCS#1 and SEC 1 are passed on as they are; the key
//! loader checks them. Nothing is decided about size or strength: that is the loader's part, too.

mod blob;
mod der;
mod error;
mod number;
mod rsa;
mod sec1;

pub use error::{KeyFormat, PrivateKeyError};

use super::pem;
use super::pfx::decrypt_private_key_info;
use crate::crypto::CryptoProvider;
use crate::limits::{Budget, Limits};
use crate::secret::{Password, PrivateKeyPkcs8, SecretBytes};

/// Reads one private key in any [`KeyFormat`], recognised by its first bytes. Nothing may follow it, but text around PEM.
///
/// The password is for `EncryptedPkcs8`; other forms ignore it. Key derivations are charged to [`Limits::kdf_iterations`] first; a
/// wrong password costs up to three, one for each form of its text. The caller's own copy of `bytes` stays the caller's to wipe.
///
/// # Errors
/// [`PrivateKeyError`], for the owner of the key: what the bytes are instead, what is broken, or that the password does not fit.
pub fn read(
    bytes: &[u8],
    password: Option<&Password>,
    provider: &CryptoProvider,
    limits: &Limits,
) -> Result<PrivateKeyPkcs8, PrivateKeyError> {
    Budget::new(limits).check_input(bytes.len())?;
    match bytes {
        [] => Err(PrivateKeyError::UnknownFormat("there are no bytes")),
        // What PowerShell's redirection makes of text.
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            Err(PrivateKeyError::UnknownFormat("it is UTF-16 text; save it as ASCII or UTF-8 (PowerShell: Set-Content -Encoding ascii)"))
        }
        _ => match blob::Blob::recognise(bytes) {
            Some(blob) => blob.read(bytes),
            None if pem::is_pem(bytes) => read_pem(bytes, password, provider, limits),
            None => read_der(bytes, password, provider, limits),
        },
    }
}

/// Writes an RSA key as `RSAFULLPRIVATEBLOB`, which Microsoft's PFX import module reads (`Import-IntunePrivateKey`): the way for a key that
/// was made here to a connector on Windows. The blob is the key in clear; wipe every copy of it.
///
/// # Errors
/// [`PrivateKeyError`]: not a whole RSA key, or its numbers do not belong together.
pub fn to_cng_full_private_blob(key: &PrivateKeyPkcs8) -> Result<SecretBytes, PrivateKeyError> {
    let not_rsa = PrivateKeyError::Unsupported("it is not an RSA key of two primes");
    let numbers = der::rsa_numbers(key.secret_pkcs8_der()).ok_or(not_rsa)?;
    numbers.to_pkcs8(KeyFormat::Pkcs8)?;
    blob::full_private_blob(&numbers)
}

fn read_der(
    der: &[u8],
    password: Option<&Password>,
    provider: &CryptoProvider,
    limits: &Limits,
) -> Result<PrivateKeyPkcs8, PrivateKeyError> {
    let mut budget = Budget::new(limits);
    match der::Structure::recognise(der, &mut budget)? {
        der::Structure::Key(KeyFormat::EncryptedPkcs8) => {
            let password = password.ok_or(PrivateKeyError::PasswordNeeded)?;
            decrypt_private_key_info(der, password, der::is_private_key_info, provider, limits)
                .map(Into::into)
                .map_err(PrivateKeyError::from_decryption)
        }
        der::Structure::Key(format) => der::read(format, der, &mut budget),
        der::Structure::Refused(error) => Err(error),
    }
}

fn read_pem(
    text: &[u8],
    password: Option<&Password>,
    provider: &CryptoProvider,
    limits: &Limits,
) -> Result<PrivateKeyPkcs8, PrivateKeyError> {
    let malformed = |problem| PrivateKeyError::malformed(KeyFormat::Pem, problem);
    let blocks = pem::blocks(text).ok_or(malformed("a BEGIN line has no END line of the same name"))?;
    // Certificates, curve parameters and the like may stand beside the key.
    let keys: Vec<_> = blocks.iter().filter(|block| block.label.ends_with(b"PRIVATE KEY")).collect();
    let block = match keys.as_slice() {
        [key] => key,
        [] => return Err(PrivateKeyError::PublicOnly("a PEM file without a private key")),
        several => return Err(PrivateKeyError::SeveralKeys(several.len())),
    };
    match block.label {
        b"PRIVATE KEY" | b"ENCRYPTED PRIVATE KEY" | b"RSA PRIVATE KEY" | b"EC PRIVATE KEY" if !block.has_headers() => {
            let der = block.decode().ok_or(malformed("its text is not base64"))?;
            read_der(&der, password, provider, limits)
        }
        b"OPENSSH PRIVATE KEY" => Err(PrivateKeyError::Unsupported("it is an OpenSSH key; convert it: ssh-keygen -p -m PKCS8 -f key")),
        b"DSA PRIVATE KEY" => Err(PrivateKeyError::Unsupported("DSA keys are not supported; an RSA or EC key is needed")),
        b"RSA PRIVATE KEY" | b"EC PRIVATE KEY" => Err(PrivateKeyError::Unsupported(
            "it is encrypted in the way before PKCS#8 (Proc-Type), with a key from one MD5; convert it: openssl pkcs8 -topk8",
        )),
        _ => Err(PrivateKeyError::Unsupported("its PEM label is none that is known; convert it: openssl pkcs8 -topk8")),
    }
}
