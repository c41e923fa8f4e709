//! The connector's public key, to which passwords are encrypted.

use core::fmt;

use crate::adapters::graph::record::{padding, padding_name};
use crate::event::printable;
use crate::message::public_key::{PublicKeyError, RsaPublicKey};
use crate::message::reencrypt::max_password_len;
use crate::terms::PaddingScheme;

/// Why an import key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportKeyError {
    /// The key file is not read.
    #[error("the connector's public key: {0}; give the PEM or RSAPUBLICBLOB file that the key was exported to")]
    PublicKey(#[from] PublicKeyError),
    /// A name is missing or has no place in a record.
    #[error("the {0} of the connector's key is empty, longer than 256 bytes, or holds control characters")]
    Name(&'static str),
    /// The padding is retired or unknown.
    #[error("the padding {0} is not taken for new uploads: use oaepSha512, or oaepSha384 or oaepSha256 for a small key")]
    Padding(String),
    /// The key carries no password at all with this padding.
    #[error("an RSA key of {bits} bits carries no password with {padding}: use a key of 2048 bits or more, or a smaller hash")]
    TooSmall {
        /// Its size in bits.
        bits: usize,
        /// The padding's name.
        padding: &'static str,
    },
}

/// The public key of the connector, where the connector finds its private half, and how passwords are encrypted to it.
#[derive(Clone)]
pub struct ImportKey {
    public: RsaPublicKey,
    provider_name: String,
    key_name: String,
    padding: PaddingScheme,
}

impl ImportKey {
    /// From the exported file: PEM, CNG's `RSAPUBLICBLOB`, or DER. Provider and key have the names that the connector knows them by. The
    /// padding is oaepSha512.
    ///
    /// # Errors
    /// [`ImportKeyError`].
    pub fn read(file: &[u8], provider_name: impl Into<String>, key_name: impl Into<String>) -> Result<Self, ImportKeyError> {
        Self::read_with_padding(file, provider_name, key_name, padding_name(PaddingScheme::OaepSha512))
    }

    /// The same with a padding by Graph's name: for a key that is too small for oaepSha512.
    ///
    /// # Errors
    /// [`ImportKeyError`].
    pub fn read_with_padding(
        file: &[u8],
        provider_name: impl Into<String>,
        key_name: impl Into<String>,
        padding: &str,
    ) -> Result<Self, ImportKeyError> {
        let public = RsaPublicKey::read(file)?;
        let (provider_name, key_name) = (provider_name.into(), key_name.into());
        let is_name = |name: &str| !name.trim().is_empty() && name.len() <= 256 && printable(name) == name;
        if !is_name(&provider_name) {
            return Err(ImportKeyError::Name("provider's name"));
        }
        if !is_name(&key_name) {
            return Err(ImportKeyError::Name("name"));
        }
        Self { public, provider_name, key_name, padding: PaddingScheme::OaepSha512 }.with_padding(padding)
    }

    /// Sets the padding by Graph's name, in any case. `none`, `pkcs1` and `oaepSha1` are refused: Microsoft's import tool has retired them.
    ///
    /// # Errors
    /// [`ImportKeyError::Padding`], [`ImportKeyError::TooSmall`].
    pub fn with_padding(self, name: &str) -> Result<Self, ImportKeyError> {
        let scheme = padding(name).ok_or_else(|| ImportKeyError::Padding(printable(name)))?;
        self.with_scheme(scheme)
    }

    fn with_scheme(mut self, scheme: PaddingScheme) -> Result<Self, ImportKeyError> {
        let name = padding_name(scheme);
        if matches!(scheme, PaddingScheme::Pkcs1 | PaddingScheme::OaepSha1) {
            return Err(ImportKeyError::Padding(name.to_owned()));
        }
        if max_password_len(scheme, self.public.modulus().len()).is_none() {
            return Err(ImportKeyError::TooSmall { bits: self.public.bits(), padding: name });
        }
        self.padding = scheme;
        Ok(self)
    }

    /// The longest password in bytes.
    #[must_use]
    pub fn max_password_len(&self) -> usize {
        max_password_len(self.padding, self.public.modulus().len()).unwrap_or_default()
    }

    /// The key.
    #[must_use]
    pub fn public(&self) -> &RsaPublicKey {
        &self.public
    }

    /// The key storage provider on the connector.
    #[must_use]
    pub fn provider_name(&self) -> &str {
        &self.provider_name
    }

    /// The name of the key in it.
    #[must_use]
    pub fn key_name(&self) -> &str {
        &self.key_name
    }

    /// The padding.
    #[must_use]
    pub fn padding(&self) -> PaddingScheme {
        self.padding
    }
}

impl fmt::Debug for ImportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportKey")
            .field("bits", &self.public.bits())
            .field("provider_name", &self.provider_name)
            .field("key_name", &self.key_name)
            .field("padding", &self.padding)
            .finish()
    }
}
