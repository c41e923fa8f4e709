//! `application/x-www-form-urlencoded`, written into a buffer of the right size: no copy of a secret is left by growing.

use crate::secret::SecretBytes;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// The form; everything but letters, digits, `-`, `.`, `_` and `~` is escaped.
pub(super) fn form(fields: &[(&str, &str)]) -> SecretBytes {
    let size = |text: &str| text.bytes().map(|byte| if is_plain(byte) { 1 } else { 3 }).sum::<usize>();
    let length: usize = fields.iter().map(|(name, value)| size(name) + size(value) + 2).sum();
    let mut out = Vec::with_capacity(length);
    for (name, value) in fields {
        if !out.is_empty() {
            out.push(b'&');
        }
        escape(&mut out, name);
        out.push(b'=');
        escape(&mut out, value);
    }
    SecretBytes::new(out)
}

fn escape(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        if is_plain(byte) {
            out.push(byte);
        } else {
            let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or_default();
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 0xf)]);
        }
    }
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_back_as_it_was_and_its_buffer_never_grew() {
        let fields = [("scope", "https://api.manage.microsoft.com//.default"), ("client_secret", "a&b=c+d %~\u{20ac}\"'"), ("empty", "")];
        let body = form(&fields);
        let read: Vec<(String, String)> = url::form_urlencoded::parse(body.secret_bytes()).into_owned().collect();
        let expected: Vec<(String, String)> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(read, expected);
        assert!(body.secret_bytes().starts_with(b"scope=https%3A%2F%2Fapi.manage.microsoft.com%2F%2F.default&"));
    }
}
