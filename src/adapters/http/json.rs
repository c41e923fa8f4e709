//! JSON documents that hold secrets.
//!
//! Each is counted first and then written into a buffer of that size: no copy is left by growing.

use std::io;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};

use crate::secret::SecretBytes;

/// Writes a document; `None` when the value cannot be JSON. serde's error is not handed on: it could quote what was written.
pub(crate) fn secret_json(value: &impl Serialize) -> Option<SecretBytes> {
    let mut length = Length(0);
    serde_json::to_writer(&mut length, value).ok()?;
    let mut document = SecretBytes::zeroed(length.0);
    serde_json::to_writer(document.secret_bytes_mut(), value).ok()?;
    Some(document)
}

/// Standard base64 on one line, written without a copy in between.
pub(crate) struct Base64<'a>(pub(crate) &'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

/// Counts what is written.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_the_vectors_of_rfc_4648() {
        for (plain, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")] {
            assert_eq!(secret_json(&Base64(plain.as_bytes())).unwrap().secret_bytes(), format!("\"{text}\"").as_bytes());
        }
        assert_eq!(secret_json(&Base64(&[0xfb, 0xff, 0xbf])).unwrap().secret_bytes(), b"\"+/+/\"");
    }
}
