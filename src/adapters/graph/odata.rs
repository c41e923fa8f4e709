//! URLs of OData calls: literals are escaped first as OData's, then as a URL's.

use core::fmt::Write as _;

/// A string literal of OData (ABNF of OData 4.01, `string`): in apostrophes, those inside doubled.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Everything but RFC 3986's unreserved characters as `%XX` of its UTF-8.
pub(super) fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_apostrophe_is_doubled_and_then_percent_encoded() {
        assert_eq!(percent(&literal("o'hara@contoso.example")), "%27o%27%27hara%40contoso.example%27");
    }

    #[test]
    fn nothing_ends_a_literal_or_a_query_early() {
        let nasty = percent(&literal("x' or 1 eq 1 &$top=1#/../\u{fc}"));
        assert!(nasty.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%-._~".contains(&byte)), "{nasty}");
        assert_eq!(nasty.matches("%27").count(), 4);
        assert!(nasty.ends_with("%C3%BC%27"), "{nasty}");
    }
}
