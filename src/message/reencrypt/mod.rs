//! Passwords and payloads from one key to another, as the import and recrypt flows need it.

mod password;
mod payload;

pub use super::cms_error::{CmsError, CmsErrorKind};
pub use password::{LegacyPadding, PasswordOpening, TransportedPassword, encrypt_password, max_password_len};
pub use payload::{Recipient, password_envelope, reencrypt};
