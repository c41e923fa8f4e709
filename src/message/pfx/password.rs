//! Passwords as key derivations take them: the standard's form first, then the forms that real programs have used instead.

use zeroize::Zeroizing;

use crate::secret::Password;

/// The two passwords that a PFX may have; nearly all files have one for both.
///
/// `None` is an *absent* password, which RFC 7292 appendix B.1 keeps apart from an empty one. Since programs mix the two up,
/// each is also tried as the other.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct PfxPasswords<'a> {
    /// Protects integrity.
    pub mac: Option<&'a Password>,
    /// Encrypts keys and certificates.
    pub safes: Option<&'a Password>,
}

impl<'a> PfxPasswords<'a> {
    /// No password at all.
    #[must_use]
    pub const fn absent() -> Self {
        Self { mac: None, safes: None }
    }

    /// Different passwords for integrity and for encryption.
    #[must_use]
    pub const fn separate(mac: Option<&'a Password>, safes: Option<&'a Password>) -> Self {
        Self { mac, safes }
    }
}

impl<'a> From<Option<&'a Password>> for PfxPasswords<'a> {
    fn from(password: Option<&'a Password>) -> Self {
        Self { mac: password, safes: password }
    }
}

impl<'a> From<&'a Password> for PfxPasswords<'a> {
    fn from(password: &'a Password) -> Self {
        Some(password).into()
    }
}

/// How a password became the bytes that a key is derived from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PasswordForm {
    /// UTF-16 big endian with a terminating zero: the PKCS#12 standard (RFC 7292 appendix B.1).
    Bmp,
    /// No bytes at all: an absent password.
    ZeroLength,
    /// Each byte of the UTF-8 form widened to 16 bits: OpenSSL before 1.1.0.
    WidenedUtf8,
    /// UTF-8: the standard for PBES2 and PBMAC1 (RFC 8018 section 3).
    Utf8,
    /// UTF-8 with a terminating zero byte.
    Utf8Terminated,
    /// ISO 8859-1.
    Latin1,
    /// UTF-16 big endian without the terminating zero.
    BmpUnterminated,
}

/// A password in one form.
pub(super) struct FormedPassword {
    pub(super) form: PasswordForm,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

/// Forms for the PKCS#12 key derivation (PBES1 and the MAC), in the order in which they are tried.
pub(super) fn pkcs12_forms(password: Option<&Password>) -> Vec<FormedPassword> {
    let mut forms = Forms::default();
    match password {
        None => {
            forms.add(PasswordForm::ZeroLength, Zeroizing::default());
            forms.add(PasswordForm::Bmp, Zeroizing::new(vec![0, 0]));
        }
        Some(password) => {
            let bytes = password.secret_bytes();
            if let Some(text) = password.secret_str() {
                forms.add(PasswordForm::Bmp, bmp(text, true));
            }
            if bytes.is_empty() {
                forms.add(PasswordForm::ZeroLength, Zeroizing::default());
            }
            // Also the Latin-1 form, when the password was given as such bytes.
            forms.add(PasswordForm::WidenedUtf8, widened(bytes));
            // C strings handed to the derivation as they are, with and without their end.
            let mut terminated = Zeroizing::new(Vec::with_capacity(bytes.len() + 1));
            terminated.extend_from_slice(bytes);
            terminated.push(0);
            forms.add(PasswordForm::Utf8Terminated, terminated);
            forms.add(PasswordForm::Utf8, Zeroizing::new(bytes.to_vec()));
        }
    }
    forms.0
}

/// Forms for PBKDF2 and scrypt (PBES2 and PBMAC1), in the order in which they are tried.
pub(super) fn pkcs5_forms(password: Option<&Password>) -> Vec<FormedPassword> {
    let mut forms = Forms::default();
    let Some(password) = password else {
        forms.add(PasswordForm::ZeroLength, Zeroizing::default());
        return forms.0;
    };
    let bytes = password.secret_bytes();
    forms.add(PasswordForm::Utf8, Zeroizing::new(bytes.to_vec()));
    if let Some(text) = password.secret_str() {
        if let Some(latin1) = latin1(text) {
            forms.add(PasswordForm::Latin1, latin1);
        }
        // HMAC pads its key with zeros up to a block, so the terminating zero only matters beyond a block.
        let unterminated = bmp(text, false);
        if !unterminated.is_empty() {
            let longer_than_a_block = unterminated.len() + 2 > 64;
            forms.add(PasswordForm::BmpUnterminated, unterminated);
            if longer_than_a_block {
                forms.add(PasswordForm::Bmp, bmp(text, true));
            }
        }
    }
    forms.0
}

/// UTF-16 big endian, surrogate pairs included, and a terminating zero if asked for.
pub(super) fn bmp(text: &str, terminated: bool) -> Zeroizing<Vec<u8>> {
    // A UTF-8 byte gives at most one UTF-16 unit: no reallocation.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() * 2 + 2));
    for unit in text.encode_utf16() {
        bytes.extend_from_slice(&unit.to_be_bytes());
    }
    if terminated {
        bytes.extend_from_slice(&[0, 0]);
    }
    bytes
}

fn widened(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(bytes.len() * 2 + 2));
    for byte in bytes {
        out.extend_from_slice(&[0, *byte]);
    }
    out.extend_from_slice(&[0, 0]);
    out
}

fn latin1(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    for character in text.chars() {
        out.push(u8::try_from(u32::from(character)).ok()?);
    }
    Some(out)
}

/// Forms in order, each once.
#[derive(Default)]
struct Forms(Vec<FormedPassword>);

impl Forms {
    fn add(&mut self, form: PasswordForm, bytes: Zeroizing<Vec<u8>>) {
        if self.0.iter().all(|known| known.bytes != bytes) {
            self.0.push(FormedPassword { form, bytes });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(formed: Vec<FormedPassword>) -> Vec<PasswordForm> {
        formed.into_iter().map(|formed| formed.form).collect()
    }

    #[test]
    fn an_ascii_password_has_one_standard_form_before_the_quirks() {
        let password = Password::from("ab");
        let formed = pkcs12_forms(Some(&password));
        assert_eq!(formed[0].bytes[..], [0, b'a', 0, b'b', 0, 0]);
        assert_eq!(forms(formed), [PasswordForm::Bmp, PasswordForm::Utf8Terminated, PasswordForm::Utf8]);
        assert_eq!(forms(pkcs5_forms(Some(&password))), [PasswordForm::Utf8, PasswordForm::BmpUnterminated]);
    }

    #[test]
    fn empty_and_absent_are_each_tried_as_the_other() {
        let empty = Password::from("");
        assert_eq!(forms(pkcs12_forms(Some(&empty))), [PasswordForm::Bmp, PasswordForm::ZeroLength, PasswordForm::Utf8Terminated]);
        assert_eq!(forms(pkcs12_forms(None)), [PasswordForm::ZeroLength, PasswordForm::Bmp]);
        assert_eq!(forms(pkcs5_forms(None)), [PasswordForm::ZeroLength]);
    }

    #[test]
    fn characters_beyond_the_bmp_become_surrogate_pairs() {
        assert_eq!(bmp("😀", true)[..], [0xd8, 0x3d, 0xde, 0x00, 0, 0]);
    }

    #[test]
    fn non_ascii_passwords_have_a_widened_and_a_latin1_form() {
        let password = Password::from("ö");
        assert_eq!(
            forms(pkcs12_forms(Some(&password))),
            [PasswordForm::Bmp, PasswordForm::WidenedUtf8, PasswordForm::Utf8Terminated, PasswordForm::Utf8]
        );
        assert_eq!(forms(pkcs5_forms(Some(&password))), [PasswordForm::Utf8, PasswordForm::Latin1, PasswordForm::BmpUnterminated]);
    }
}
