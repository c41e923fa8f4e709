//! Looks for secrets in every spelling, for characters that have no place in a log, and for text without bound.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic, reason = "support of a test")]

use std::collections::BTreeSet;
use std::sync::Arc;

use intune_connector::event::Event;
use intune_connector::ports::EventSink;

const LONGEST_TEXT: usize = 8_192;

/// A secret to look for.
pub struct Marker {
    name: String,
    /// Spellings as they are.
    exact: Vec<Vec<u8>>,
    /// Spellings in either case; lower case here.
    folded: Vec<Vec<u8>>,
}

impl Marker {
    pub fn new(name: &str, secret: impl AsRef<[u8]>) -> Self {
        let secret = secret.as_ref();
        assert!(secret.len() >= 12, "too short to be told from chance");
        let mut exact = vec![secret.to_vec()];
        exact.push(secret.iter().flat_map(|byte| [*byte, 0]).collect());
        exact.push(secret.iter().flat_map(|byte| [0, *byte]).collect());
        let decimal: Vec<String> = secret.iter().map(u8::to_string).collect();
        exact.push(decimal.join(", ").into_bytes());
        exact.push(decimal.join(",").into_bytes());
        exact.push(secret.escape_ascii().to_string().into_bytes());
        for lead in 0..3 {
            // The letters that depend on the secret alone, wherever it begins.
            let text = base64(&[&vec![0; lead], secret].concat());
            let letters = &text[[0, 2, 3][lead]..(lead + secret.len()) * 8 / 6];
            exact.push(letters.as_bytes().to_vec());
            exact.push(letters.replace('+', "-").replace('/', "_").into_bytes());
        }
        let hex = |between: &str| secret.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(between).into_bytes();
        Self { name: name.to_owned(), exact, folded: vec![hex(""), hex(" "), hex(":")] }
    }

    fn is_in(&self, haystack: &[u8], folded: &[u8]) -> bool {
        let holds = |haystack: &[u8], needle: &[u8]| find(haystack, needle);
        self.exact.iter().any(|needle| holds(haystack, needle)) || self.folded.iter().any(|needle| holds(folded, needle))
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> bool {
    let Some((first, rest)) = needle.split_first() else { return false };
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|byte| byte == first) {
        from += at + 1;
        if haystack[from..].starts_with(rest) {
            return true;
        }
    }
    false
}

pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            out.push(if at <= chunk.len() { char::from(LETTERS[(word >> (18 - 6 * at)) as usize & 63]) } else { '=' });
        }
    }
    out
}

fn has_no_place_in_a_log(c: char) -> bool {
    c.is_control() || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Collects what is wrong; everything is told at once.
pub struct Report {
    markers: Vec<Marker>,
    seen: Vec<(String, Vec<u8>)>,
    problems: BTreeSet<String>,
}

impl Report {
    pub fn new(markers: Vec<Marker>) -> Self {
        Self { markers, seen: Vec::new(), problems: BTreeSet::new() }
    }

    /// Adds a secret that became known late; what was seen before is scanned too.
    pub fn marker(&mut self, marker: Marker) {
        self.markers.push(marker);
    }

    /// Bytes that may hold anything but a secret.
    pub fn bytes(&mut self, place: &str, bytes: &[u8]) {
        self.seen.push((place.to_owned(), bytes.to_vec()));
    }

    /// Text that an operator reads: printable and bounded.
    pub fn text(&mut self, place: &str, text: &str) {
        self.bytes(place, text.as_bytes());
        if let Some(bad) = text.chars().find(|c| has_no_place_in_a_log(*c)) {
            self.problems.insert(format!("{place}: {bad:?} in {:?}", text.chars().take(120).collect::<String>()));
        }
        if text.len() > LONGEST_TEXT {
            self.problems.insert(format!("{place}: {} bytes of text", text.len()));
        }
    }

    /// Every text in a value, member names included.
    pub fn json(&mut self, place: &str, value: &serde_json::Value) {
        match value {
            serde_json::Value::String(text) => self.text(place, text),
            serde_json::Value::Array(items) => items.iter().for_each(|item| self.json(place, item)),
            serde_json::Value::Object(members) => {
                for (name, value) in members {
                    self.text(place, name);
                    self.json(&format!("{place}.{name}"), value);
                }
            }
            _ => {}
        }
    }

    pub fn event(&mut self, event: &Event) {
        let place = format!("event {}", event.id.code());
        self.json(&place, &serde_json::to_value(event).unwrap());
        self.text(&place, &format!("{event:?}"));
    }

    /// An error and everything below it.
    pub fn error(&mut self, place: &str, error: &dyn std::error::Error) {
        let mut next = Some(error);
        let mut depth = 0;
        while let Some(error) = next {
            self.text(place, &error.to_string());
            self.bytes(place, format!("{error:?} {error:#?}").as_bytes());
            next = error.source();
            depth += 1;
            assert!(depth < 32, "{place}: a chain of errors without end");
        }
    }

    pub fn problems(&self) -> Vec<String> {
        let mut problems: BTreeSet<String> = self.problems.clone();
        for (place, bytes) in &self.seen {
            let folded = bytes.to_ascii_lowercase();
            for marker in self.markers.iter().filter(|marker| marker.is_in(bytes, &folded)) {
                problems.insert(format!("{place}: holds the {}", marker.name));
            }
        }
        problems.into_iter().collect()
    }

    pub fn finish(self) {
        assert!(!self.seen.is_empty(), "nothing was scanned");
        let problems = self.problems();
        assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    }
}

/// What reaches subscribers of `tracing`.
pub struct Traced(#[cfg(feature = "tracing")] Arc<std::sync::Mutex<Vec<String>>>);

#[cfg(feature = "tracing")]
mod collect {
    use std::fmt::Write as _;
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};

    pub struct Collector(pub Arc<Mutex<Vec<String>>>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            write!(self.0, " {field}={value:?}").unwrap();
        }
        fn record_str(&mut self, field: &Field, value: &str) {
            write!(self.0, " {field}={value}").unwrap();
        }
    }

    impl tracing::Subscriber for Collector {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            metadata.target().starts_with("intune_connector")
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            let mut line = Line(String::new());
            event.record(&mut line);
            self.0.lock().unwrap().push(line.0);
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }
}

#[cfg(feature = "tracing")]
impl Traced {
    pub fn install() -> Self {
        let lines = Arc::default();
        tracing::subscriber::set_global_default(collect::Collector(Arc::clone(&lines))).unwrap();
        Self(lines)
    }

    pub fn lines(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap().clone();
        assert!(!lines.is_empty());
        lines
    }
}

#[cfg(not(feature = "tracing"))]
impl Traced {
    pub fn install() -> Self {
        Self()
    }

    pub fn lines(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The sink that forwards to `tracing`, where the feature is on.
pub fn tracing_sink() -> Option<Arc<dyn EventSink>> {
    #[cfg(feature = "tracing")]
    return Some(Arc::new(intune_connector::adapters::TracingSink::new()));
    #[cfg(not(feature = "tracing"))]
    None
}
