//! PKCS#12 files (RFC 7292): open what OpenSSL, NSS, Java, Windows and others write; write what devices read.
//!
//! [`open`] verifies the integrity of the file before it decrypts anything, charges every key derivation to
//! [`Limits`](crate::limits::Limits) before running it, and gives a result typed by what was proven: [`OpenedPfx`].
//! [`PfxBuilder`] writes a key with its certificates in a [`PfxProfile`].
//!
//! ```
//! use intune_connector::crypto::CryptoProvider;
//! use intune_connector::limits::Limits;
//! use intune_connector::message::pfx::{self, PfxErrorKind};
//! use intune_connector::secret::Password;
//!
//! let provider = CryptoProvider::empty("asked for nothing before the structure is sound");
//! let outcome = pfx::open(b"not a PFX", &Password::from("correct horse"), &provider, &Limits::default());
//! assert_eq!(outcome.unwrap_err().kind(), PfxErrorKind::Damaged);
//! ```

mod attributes;
mod build;
mod contents;
mod derive;
mod encrypted_key;
mod error;
mod integrity;
mod mac;
mod open;
mod pairing;
mod password;
mod protection;
mod public_key;
mod safes;
mod scheme;
#[cfg(all(test, feature = "ring", feature = "aws-lc-rs", feature = "legacy-ciphers"))]
mod tests;

pub use crate::terms::PfxProfile;
pub use build::{JavaTrust, LeftOut, PfxBuilder, PfxIdentity, TrustedCertificate, WindowsKeyUsage, WindowsStore};
pub use contents::{
    Identity, MacInfo, MacVerified, OpenedPfx, OtherBagKind, PfxAttribute, PfxCertificate, PfxContents, PfxKey, PfxOther, Protection,
    SignatureVerified, Unauthenticated,
};
pub(super) use encrypted_key::decrypt_private_key_info;
pub use error::{AlgorithmRemedy, PasswordUse, PfxError, PfxErrorKind};
pub use open::{OpenOptions, PfxOpening, has_mac, open, open_with, open_with_key, unverified_signer_certificates};
pub use password::{PasswordForm, PfxPasswords};
pub use protection::{CertificateProtection, Pbes2Cipher, PfxDigest, PfxEncryption, PfxIntegrity, PfxProtection};
