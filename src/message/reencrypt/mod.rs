//! PFX files, passwords and payloads from one key or password to another, as the import and recrypt flows need it.
//!
//! | from | to | by |
//! |---|---|---|
//! | a PFX | a PFX under another password or profile | [`reencrypt_pfx`] |
//! | a PFX (the whole file) | CMS for a device | [`reencrypt`] |
//! | the password of a PFX | CMS for a device | [`password_envelope`] |
//! | a password encrypted to the connector's key | the password | [`PasswordOpening`] |
//! | CMS for the connector | CMS for a device | [`Opening`](super::enveloped::Opening), then [`reencrypt`] |

mod password;
mod payload;
mod pfx;

pub use super::cms_error::{CmsError, CmsErrorKind};
pub use password::{LegacyPadding, PasswordOpening, TransportedPassword, encrypt_password, max_password_len};
pub use payload::{Recipient, password_envelope, reencrypt};
pub use pfx::{ReencryptedPfx, reencrypt_pfx};
