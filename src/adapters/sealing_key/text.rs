//! Keys as text: 64 hexadecimal digits each, on lines of their own or with commas between; the current one first.

use std::sync::Arc;

use super::error::SealingKeyError;
use crate::secret::SecretBytes;

pub(super) const KEY: usize = 32;
/// As many as the connector takes.
pub(super) const MOST_KEYS: usize = 64;
/// A list is not longer, in bytes.
pub(super) const LONGEST: usize = 64 << 10;

/// Reads a list; empty lines, and lines that start with `#`, say nothing.
pub(super) fn read(text: &[u8]) -> Result<Vec<Arc<SecretBytes>>, SealingKeyError> {
    if text.len() > LONGEST {
        return Err(SealingKeyError::TooLong);
    }
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.starts_with(b"#"));
    let words = lines.flat_map(|line| line.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii).filter(|word| !word.is_empty());
    let mut keys: Vec<Arc<SecretBytes>> = Vec::new();
    for (at, word) in words.enumerate() {
        if at >= MOST_KEYS {
            return Err(SealingKeyError::TooMany);
        }
        let key = key(word).ok_or(SealingKeyError::Malformed(at + 1))?;
        if keys.iter().any(|other| other.secret_bytes() == key.secret_bytes()) {
            return Err(SealingKeyError::Repeated(at + 1));
        }
        keys.push(Arc::new(key));
    }
    if keys.is_empty() { Err(SealingKeyError::Empty) } else { Ok(keys) }
}

fn key(word: &[u8]) -> Option<SecretBytes> {
    let mut key = SecretBytes::zeroed(KEY);
    if word.len() != 2 * KEY {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    for (byte, pair) in key.secret_bytes_mut().iter_mut().zip(word.as_chunks::<2>().0) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(key)
}

/// A key as a line, and what follows it.
pub(super) fn line(key: &SecretBytes, rest: &[u8]) -> SecretBytes {
    // Of the full size from the start, so that no unwiped copy is left by growing.
    let mut text = Vec::with_capacity(2 * key.len() + 1 + rest.len());
    for byte in key.secret_bytes() {
        for digit in [byte >> 4, byte & 0xf] {
            text.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
        }
    }
    text.push(b'\n');
    text.extend_from_slice(rest);
    SecretBytes::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_and_what_is_wrong_is_named_without_the_key() {
        let (new, old) = (SecretBytes::new(vec![0xab; KEY]), SecretBytes::new(vec![0x0f; KEY]));
        let text = line(&new, line(&old, b"").secret_bytes());
        let bytes = |text: &[u8]| read(text).map(|keys| keys.iter().map(|key| key.secret_bytes()[0]).collect::<Vec<_>>());
        assert_eq!(bytes(text.secret_bytes()).unwrap(), [0xab, 0x0f]);
        let (new, old) = ("AB".repeat(KEY), "0f".repeat(KEY));
        for text in [format!("{new},{old}"), format!("\u{feff}# since May\r\n{new}\r\n\r\n  {old}  "), format!(" {new} , {old},\n#{old}")] {
            assert_eq!(bytes(text.as_bytes()).unwrap(), [0xab, 0x0f], "{text}");
        }
        let many: Vec<String> = (0..=MOST_KEYS).map(|number| format!("{number:064x}")).collect();
        for (text, problem) in [
            (String::new(), "there is no key"),
            ("# nothing\n".to_owned(), "there is no key"),
            (format!("{new}\n{}", &old[1..]), "key 2 of the list is not 64"),
            (format!("{new}\n{}g", &old[1..]), "key 2 of the list is not 64"),
            (format!("{new},{new}"), "key 2 of the list stands there twice"),
            (many.join(","), "more than 64"),
            (format!("#{}", "x".repeat(LONGEST)), "longer than 64 KiB"),
        ] {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(problem) && !error.contains(&old[..16]), "{error}");
        }
        assert!(read(many[1..].join("\n").as_bytes()).is_ok());
    }
}
