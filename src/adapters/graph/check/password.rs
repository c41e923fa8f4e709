//! How a password becomes the bytes that are encrypted.

use super::problem::PfxProblem;
use crate::secret::{Password, SecretBytes};

/// How a password becomes bytes. ASCII is the same in all of them; tools and connectors disagree on everything else: Microsoft's import module
/// writes the low byte of each UTF-16 unit (Latin-1, with losses), other parts of its code UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PasswordEncoding {
    /// Anything but ASCII is refused.
    #[default]
    AsciiOnly,
    /// UTF-8. This crate's connector tries it first.
    Utf8,
    /// Latin-1, as Microsoft's module writes it; a character that it has not is refused.
    Latin1,
}

impl PasswordEncoding {
    pub(super) fn encode(self, password: &Password) -> Result<Password, PfxProblem> {
        let bytes = password.secret_bytes();
        if bytes.is_empty() {
            return Err(PfxProblem::PasswordEmpty);
        }
        if bytes.is_ascii() {
            return Ok(Password::from(SecretBytes::copy_from(bytes)));
        }
        match (self, password.secret_str()) {
            (Self::AsciiOnly, _) => Err(PfxProblem::PasswordNotAscii),
            (_, None) => Err(PfxProblem::PasswordEncoding),
            (Self::Utf8, Some(_)) => Ok(Password::from(SecretBytes::copy_from(bytes))),
            (Self::Latin1, Some(text)) => {
                let mut out = SecretBytes::zeroed(text.chars().count());
                for (byte, character) in out.secret_bytes_mut().iter_mut().zip(text.chars()) {
                    *byte = u8::try_from(u32::from(character)).map_err(|_| PfxProblem::PasswordEncoding)?;
                }
                Ok(Password::from(out))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_is_not_ascii_needs_a_chosen_encoding() {
        let encode = |encoding: PasswordEncoding, text: &str| encoding.encode(&text.into()).map(|out| out.secret_bytes().to_vec());
        assert_eq!(encode(PasswordEncoding::AsciiOnly, "p\u{e4}ss"), Err(PfxProblem::PasswordNotAscii));
        assert_eq!(encode(PasswordEncoding::Utf8, "p\u{e4}ss"), Ok(b"p\xc3\xa4ss".to_vec()));
        assert_eq!(encode(PasswordEncoding::Latin1, "p\u{e4}ss"), Ok(b"p\xe4ss".to_vec()));
        // Microsoft's module would write 0xac and 0x3c 0x55, and nothing would open with that.
        assert_eq!(encode(PasswordEncoding::Latin1, "\u{20ac}"), Err(PfxProblem::PasswordEncoding));
        assert_eq!(encode(PasswordEncoding::Latin1, "\u{1f355}"), Err(PfxProblem::PasswordEncoding));
        for encoding in [PasswordEncoding::AsciiOnly, PasswordEncoding::Utf8, PasswordEncoding::Latin1] {
            assert_eq!(encode(encoding, "plain"), Ok(b"plain".to_vec()));
            assert_eq!(encode(encoding, ""), Err(PfxProblem::PasswordEmpty));
        }
        let no_text = Password::new(vec![b'p', 0xe4]);
        assert_eq!(PasswordEncoding::Utf8.encode(&no_text).unwrap_err(), PfxProblem::PasswordEncoding);
    }
}
