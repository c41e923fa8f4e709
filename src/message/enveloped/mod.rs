//! Encrypting to certificates and decrypting: CMS EnvelopedData (RFC 5652 section 6), RSA recipients.
//!
//! Keys may be remote, so opening is split: [`Opening::parse`], [`Opening::unwrap_request`], the key's own `unwrap`, [`Opening::finish`].
//! [`decrypt`] does all four.

mod algorithm;
mod build;
mod open;

pub use super::cms_error::{CmsError, CmsErrorKind};
pub use build::EnvelopeBuilder;
pub use open::{Opening, RecipientId, RecipientKind, decrypt};

/// Whether 3DES may be used, which some stored payloads and old devices need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LegacyCiphers {
    /// Only AES.
    #[default]
    Refuse,
    /// Also 3DES-CBC: 64-bit blocks, 112-bit strength, disallowed by NIST for encryption since 2023. Needs the feature `legacy-ciphers`.
    AllowTripleDes,
}
