//! Bytes that must not outlive their use: wiped on drop, not `Clone`, not `Serialize`, hidden in `Debug`.
//!
//! ```compile_fail,E0277
//! fn stored<T: serde::Serialize>(_: T) {}
//! stored(intune_connector::secret::Password::from("not like this"));
//! ```
//!
//! ```compile_fail,E0599
//! let copy = intune_connector::secret::Password::from("not like this").clone();
//! ```

use core::fmt;

use zeroize::{Zeroize, Zeroizing};

/// Secret bytes: a decrypted content, a content key, a payload with a challenge in it.
///
/// Wiped when dropped. The buffer is never grown in place, so no unwiped copy is left behind by a reallocation.
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes the bytes over; the vector's spare capacity is wiped with it on drop.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A zeroed buffer of `len` bytes, to be filled in place.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        Self::new(vec![0; len])
    }

    /// A copy of `bytes`; the caller's own copy stays the caller's to wipe.
    #[must_use]
    pub fn copy_from(bytes: &[u8]) -> Self {
        Self::new(bytes.to_vec())
    }

    /// The secret itself: do not log it, do not keep a copy.
    #[must_use]
    pub fn secret_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The secret itself, writable in place.
    #[must_use]
    pub fn secret_bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Shortens the secret to `len` bytes, wiping what is cut off.
    pub fn truncate(&mut self, len: usize) {
        if len < self.0.len() {
            self.0[len..].zeroize();
            self.0.truncate(len);
        }
    }
}

impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(..)")
    }
}

/// A password as opaque bytes, usually UTF-8 text.
///
/// *Empty* and *absent* are different in PKCS#12 (RFC 7292 appendix B.1): an absent password is `Option::None` where one is asked for.
pub struct Password(SecretBytes);

impl Password {
    /// Takes the bytes over.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(SecretBytes::new(bytes))
    }

    /// The bytes, for a key derivation: do not log them, do not keep a copy.
    #[must_use]
    pub fn secret_bytes(&self) -> &[u8] {
        self.0.secret_bytes()
    }

    /// The password as text when it is UTF-8.
    #[must_use]
    pub fn secret_str(&self) -> Option<&str> {
        core::str::from_utf8(self.0.secret_bytes()).ok()
    }

    /// The bytes as `SecretBytes`.
    #[must_use]
    pub fn into_secret_bytes(self) -> SecretBytes {
        self.0
    }
}

impl From<&str> for Password {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes().to_vec())
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl From<SecretBytes> for Password {
    fn from(bytes: SecretBytes) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// A private key as PKCS#8 `PrivateKeyInfo` DER (RFC 5958).
pub struct PrivateKeyPkcs8(SecretBytes);

impl PrivateKeyPkcs8 {
    /// Takes DER over; it is not parsed here.
    #[must_use]
    pub fn new(der: Vec<u8>) -> Self {
        Self(SecretBytes::new(der))
    }

    /// The DER: do not log it, do not keep a copy.
    #[must_use]
    pub fn secret_pkcs8_der(&self) -> &[u8] {
        self.0.secret_bytes()
    }
}

impl From<SecretBytes> for PrivateKeyPkcs8 {
    fn from(der: SecretBytes) -> Self {
        Self(der)
    }
}

impl fmt::Debug for PrivateKeyPkcs8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKeyPkcs8(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_secrets_shows_no_byte_of_them() {
        let shown = format!(
            "{:?} {:?} {:?}",
            SecretBytes::copy_from(b"hunter2"),
            Password::from("hunter2"),
            PrivateKeyPkcs8::new(b"hunter2".to_vec())
        );
        assert_eq!(shown, "SecretBytes(..) Password(..) PrivateKeyPkcs8(..)");
    }

    #[test]
    fn truncate_cuts_and_never_grows() {
        let mut secret = SecretBytes::copy_from(b"abcdef");
        secret.truncate(2);
        secret.truncate(9);
        assert_eq!(secret.secret_bytes(), b"ab");
    }
}
