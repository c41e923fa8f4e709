//! Taking PEM and one-part S/MIME files out of their armour.

/// The DER inside PEM or a one-part S/MIME file; anything else as it is.
pub fn unarmour(bytes: Vec<u8>) -> Vec<u8> {
    let Ok(text) = core::str::from_utf8(&bytes) else { return bytes };
    let text = text.replace("\r\n", "\n");
    let body = match (text.split_once("-----BEGIN "), text.split_once("\n\n")) {
        (Some((_, rest)), _) => rest.split_once("-----\n").and_then(|(_, rest)| rest.split_once("-----END")).map(|(body, _)| body),
        (None, Some((headers, body))) if headers.contains("Content-") => Some(body),
        _ => None,
    };
    body.map_or(bytes, |body| base64(body.as_bytes()))
}

fn base64(text: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits: Vec<u32> = text.iter().filter_map(|byte| ALPHABET.iter().position(|known| known == byte)).map(|at| at as u32).collect();
    let mut out = Vec::with_capacity(digits.len());
    for group in digits.chunks(4) {
        let value = group.iter().fold(0_u32, |value, digit| value << 6 | digit) << (6 * (4 - group.len()));
        out.extend_from_slice(&value.to_be_bytes()[1..group.len()]);
    }
    out
}
