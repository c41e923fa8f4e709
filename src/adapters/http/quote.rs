//! What another side says in an error, made fit for a log.

use serde_json::Value;

use crate::event::printable;

/// So much of what the service says is shown.
const QUOTE_CHARS: usize = 300;

/// A longer run of base64 is no word: it may be the challenge, repeated.
const LONGEST_RUN: usize = 60;

/// A sentence with it, or nothing.
pub(crate) fn says(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("; it says: {text}") }
}

/// What a body that is no answer says, for the operator: a page's title, the innermost message of the gateway's envelope, or its beginning.
pub(crate) fn quoted(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return "; the body is empty".to_owned();
    }
    if let Some(message) = serde_json::from_str::<Value>(text).ok().as_ref().and_then(enveloped) {
        return says(&fit(&message));
    }
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        let title = lower.find("<title>").map(|at| at + 7).and_then(|start| {
            let end = lower.get(start..)?.find("</title>")?;
            text.get(start..start + end)
        });
        return title
            .map_or_else(|| "; the body is an HTML page".to_owned(), |title| format!("; the body is an HTML page, `{}`", fit(title)));
    }
    format!("; it begins `{}`", fit(text))
}

/// The text of `{"error": {"code", "message"}}`, whose message is often a JSON document as text.
fn enveloped(body: &Value) -> Option<String> {
    let error = body.get("error")?;
    let code = error.get("code").and_then(Value::as_str).unwrap_or_default();
    let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
    let inner = serde_json::from_str::<Value>(message).ok();
    let member = |name: &str| inner.as_ref().and_then(|inner| inner.get(name)).and_then(Value::as_str).filter(|text| !text.is_empty());
    let parts = [Some(code).filter(|code| !code.is_empty()), member("CustomApiErrorPhrase"), member("Message").or(Some(message))];
    Some(parts.into_iter().flatten().collect::<Vec<_>>().join(": "))
}

/// Makes what the service says fit for a log: short, printable, and without anything that may be a challenge.
pub(crate) fn fit(text: &str) -> String {
    let text = without_tokens(text);
    let mut out = String::new();
    // The last two begin a digit that JSON (.NET writes `\u002B` for a `+`) or a form has escaped.
    let is_digit = |character: char| character.is_ascii_alphanumeric() || matches!(character, '+' | '/' | '=' | '-' | '_' | '\\' | '%');
    // A piece ends after what is no digit of base64.
    for piece in text.split_inclusive(|character| !is_digit(character)) {
        let run = piece.trim_end_matches(|character| !is_digit(character));
        match piece.strip_prefix(run) {
            Some(rest) if run.len() > LONGEST_RUN => {
                out.push_str("[hidden]");
                out.push_str(rest);
            }
            _ => out.push_str(piece),
        }
    }
    let short: String = out.chars().take(QUOTE_CHARS).collect();
    let cut = short.len() < out.len();
    printable(&short) + if cut { "\u{2026}" } else { "" }
}

/// The text without what follows the word `Bearer`, unless that is a word as well.
fn without_tokens(text: &str) -> String {
    const SCHEME: &str = "bearer ";
    let (mut out, lower) = (String::with_capacity(text.len()), text.to_ascii_lowercase());
    let mut rest = (text, lower.as_str());
    while let Some(at) = rest.1.find(SCHEME).map(|at| at + SCHEME.len()) {
        let (before, after) = rest.0.split_at(at);
        let end = after.find(|character: char| character.is_whitespace() || "\"'<>,;\\".contains(character)).unwrap_or(after.len());
        let (token, more) = after.split_at(end);
        out.push_str(before);
        out.push_str(if token.bytes().all(|byte| byte.is_ascii_lowercase()) { token } else { "[hidden]" });
        rest = (more, rest.1.get(at + end..).unwrap_or_default());
    }
    out.push_str(rest.0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_hidden_however_json_or_a_form_spells_it() {
        let plain = "QUJD+0FB".repeat(40);
        for spelt in
            [plain.clone(), plain.replace('+', "\\u002B"), plain.replace('+', "\\u002b").replace('Q', "\\u0051"), plain.replace('+', "%2B")]
        {
            for body in [
                format!(r#"{{"sent":"{spelt}"}}"#),
                format!(r#"["{spelt}"]"#),
                format!(r#""{spelt}""#),
                format!(r#"{{"error":{{"code":"x","message":"{spelt}"}}}}"#),
                format!(r#"{{"error":{{"code":"x","message":"{{\"Message\":\"{}\"}}"}}}}"#, spelt.replace('\\', "\\\\")),
                format!(r#"{{"error":{{"message":"","details":"{spelt}"}}}}"#),
                format!(r#"{{"error":"{spelt}"}}"#),
            ] {
                let text = quoted(body.as_bytes());
                assert!(!text.contains("QUJD") && !text.contains("UJD") && text.chars().count() < 400, "{body}: {text}");
            }
        }
    }

    #[test]
    fn a_token_that_is_repeated_is_hidden_however_short_it_is() {
        for (said, shown) in [
            ("Authorization: Bearer opaque-1", "Authorization: Bearer [hidden]"),
            ("'BEARER aB.c' and \"bearer x1\"", "'BEARER [hidden]' and \"bearer [hidden]\""),
            ("Bearer token is missing, \u{130}bearer \u{e9}\u{130} z", "Bearer token is missing, \u{130}bearer [hidden] z"),
            ("at its end: bearer ", "at its end: bearer "),
            ("no bearer", "no bearer"),
        ] {
            assert_eq!(fit(said), shown);
        }
    }
}
