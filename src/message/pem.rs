//! Textual encoding (RFC 7468): what key files are written in.

use core::ops::Range;

use zeroize::Zeroizing;

/// What stands between a pair of encapsulation boundaries.
#[derive(Debug)]
pub(super) struct Block<'a> {
    /// `PRIVATE KEY` of `-----BEGIN PRIVATE KEY-----`.
    pub(super) label: &'a [u8],
    body: &'a [u8],
}

impl Block<'_> {
    /// Whether the block has the encryption headers of RFC 1421, which PKCS#8 has replaced.
    pub(super) fn has_headers(&self) -> bool {
        self.body.contains(&b':')
    }

    /// The bytes; `None` when the text is not base64 with its padding.
    pub(super) fn decode(&self) -> Option<Zeroizing<Vec<u8>>> {
        decode_base64(self.body)
    }
}

/// Whether the text has an encapsulation boundary at all.
pub(super) fn is_pem(text: &[u8]) -> bool {
    find(text, BEGIN).is_some()
}

/// The blocks of a text in order; what stands between them is explanatory (RFC 7468 section 5.2). `None` when a boundary has no end.
pub(super) fn blocks(text: &[u8]) -> Option<Vec<Block<'_>>> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(begin) = find(rest, BEGIN) {
        let after = rest.get(begin.end..)?;
        let label_end = find(after, DASHES)?;
        let label = after.get(..label_end.start)?;
        let after = after.get(label_end.end..)?;
        let end = find(after, END)?;
        let body = after.get(..end.start)?;
        rest = after.get(end.end..)?.strip_prefix(label)?.strip_prefix(DASHES)?;
        blocks.push(Block { label, body });
    }
    Some(blocks)
}

/// One block with lines of 64 characters.
pub(super) fn encode(label: &str, bytes: &[u8]) -> String {
    let text = encode_base64(bytes);
    let mut pem = String::with_capacity(text.len() + text.len() / 64 + 2 * label.len() + 40);
    pem.push_str("-----BEGIN ");
    pem.push_str(label);
    pem.push_str("-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, next) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = next;
    }
    pem.push_str("-----END ");
    pem.push_str(label);
    pem.push_str("-----\n");
    pem
}

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

fn find(text: &[u8], wanted: &[u8]) -> Option<Range<usize>> {
    let start = text.windows(wanted.len()).position(|window| window == wanted)?;
    Some(start..start + wanted.len())
}

/// Standard Base64 with padding (RFC 4648 section 4).
fn encode_base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for position in 0..4 {
            let digit = ALPHABET[(group >> (18 - 6 * position) & 63) as usize];
            text.push(if position <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// The reverse; white space is skipped anywhere, and nothing else is.
fn decode_base64(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 4 * 3 + 3));
    let (mut group, mut digits, mut padding) = (Zeroizing::new(0u32), 0, 0);
    for character in text.iter().filter(|character| !character.is_ascii_whitespace()) {
        let digit = match character {
            b'=' => {
                padding += 1;
                0
            }
            _ if padding > 0 => return None,
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        *group = *group << 6 | u32::from(digit);
        digits += 1;
        if digits == 4 {
            let [_, octets @ ..] = group.to_be_bytes();
            match padding {
                0 => bytes.extend_from_slice(&octets),
                1 if octets[2] == 0 => bytes.extend_from_slice(&octets[..2]),
                2 if octets[1..] == [0, 0] => bytes.extend_from_slice(&octets[..1]),
                _ => return None,
            }
            (*group, digits) = (0, 0);
        }
    }
    (digits == 0 && padding <= 2).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_matches_the_vectors_of_rfc_4648_both_ways() {
        for (plain, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")] {
            assert_eq!(encode_base64(plain.as_bytes()), text);
            assert_eq!(decode_base64(text.as_bytes()).unwrap().as_slice(), plain.as_bytes());
        }
        assert_eq!(decode_base64(b" Zm9v\r\nYg=\n=\t").unwrap().as_slice(), b"foob");
    }

    #[test]
    fn what_is_not_canonical_base64_is_refused() {
        for text in ["Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "Zm9v====", "Zm-v", "====", "Zm9v\u{a0}"] {
            assert!(decode_base64(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn text_between_the_blocks_is_skipped_and_an_open_block_is_an_error() {
        let text =
            [b"Bag Attributes \xff\n".to_vec(), encode("A", &[1; 100]).into(), b"\nmore\r\n".to_vec(), encode("B C", b"").into()].concat();
        let found = blocks(&text).unwrap();
        assert_eq!(found.iter().map(|block| block.label).collect::<Vec<_>>(), [&b"A"[..], b"B C"]);
        assert_eq!(found[0].decode().unwrap().as_slice(), [1; 100]);
        for broken in
            ["-----BEGIN A-----\nZg==\n", "-----BEGIN A-----\nZg==\n-----END B-----\n", "-----BEGIN A", "-----BEGIN A-----Zg==-----END A"]
        {
            assert!(is_pem(broken.as_bytes()) && blocks(broken.as_bytes()).is_none(), "{broken}");
        }
    }
}
