//! JSON in and out, without leaving secrets behind and without quoting them.

use core::fmt::{self, Display};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value};
use zeroize::Zeroize as _;

use crate::adapters::http::secret_json;
use crate::secret::SecretBytes;
use crate::time::Timestamp;

/// No text but base64 is longer, in bytes.
pub(crate) const MAX_TEXT: usize = 8_192;
/// No list within an item is longer.
pub(crate) const MAX_LIST: usize = 1_000;
/// A document has no more values than about this, however large it is: each costs memory.
const MAX_VALUES: usize = 500_000;

/// What is wrong with a document: names members, never values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem(pub(crate) String);

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn problem<T>(text: impl Into<String>) -> Result<T, Problem> {
    Err(Problem(text.into()))
}

/// A document that was read. Its texts are wiped when it is dropped: PFX files are among them.
pub(crate) struct Document(Value);

impl Document {
    /// Reads UTF-8 JSON; the top is an object.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Problem> {
        if body.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count() > MAX_VALUES {
            return problem(format!("it has more than {MAX_VALUES} values"));
        }
        // The error's own text quotes what it read.
        let document = serde_json::from_slice(body).map(Self).map_err(|error| {
            let what = if error.is_eof() { "it ends too early" } else { "it is no JSON" };
            Problem(format!("{what}: line {}, column {}", error.line(), error.column()))
        })?;
        if document.0.is_object() { Ok(document) } else { problem("it is no JSON object") }
    }

    pub(crate) fn top(&self) -> Result<Object<'_>, Problem> {
        Object::of(&self.0, "the document")
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(map) => map.values_mut().for_each(wipe),
        _ => {}
    }
}

/// An object whose members are read by name; others are passed over, and `null` is absent.
#[derive(Clone, Copy)]
pub(crate) struct Object<'a>(&'a Map<String, Value>);

impl<'a> Object<'a> {
    pub(crate) fn of(value: &'a Value, name: &str) -> Result<Self, Problem> {
        value.as_object().map(Self).ok_or_else(|| Problem(format!("{name} is no object")))
    }

    fn optional(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn required<T>(name: &str, value: Option<T>) -> Result<T, Problem> {
        value.ok_or_else(|| Problem(format!("`{name}` is missing")))
    }

    pub(crate) fn members(self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(crate) fn object(self, name: &str) -> Result<Object<'a>, Problem> {
        Self::of(Self::required(name, self.optional(name))?, &format!("`{name}`"))
    }

    pub(crate) fn optional_object(self, name: &str) -> Result<Option<Object<'a>>, Problem> {
        self.optional(name).map(|value| Self::of(value, &format!("`{name}`"))).transpose()
    }

    /// A list; absent is empty.
    pub(crate) fn list(self, name: &str, most: usize) -> Result<&'a [Value], Problem> {
        match self.optional(name) {
            None => Ok(&[]),
            Some(Value::Array(values)) if values.len() <= most => Ok(values),
            Some(Value::Array(_)) => problem(format!("`{name}` has more than {most} entries")),
            Some(_) => problem(format!("`{name}` is no list")),
        }
    }

    pub(crate) fn required_list(self, name: &str, most: usize) -> Result<&'a [Value], Problem> {
        Self::required(name, self.optional(name))?;
        self.list(name, most)
    }

    pub(crate) fn optional_text(self, name: &str) -> Result<Option<&'a str>, Problem> {
        self.optional(name).map(|value| text(value, name)).transpose()
    }

    pub(crate) fn text(self, name: &str) -> Result<&'a str, Problem> {
        Self::required(name, self.optional_text(name)?)
    }

    pub(crate) fn optional_number(self, name: &str) -> Result<Option<u64>, Problem> {
        match self.optional(name).map(Value::as_u64) {
            None => Ok(None),
            Some(Some(number)) => Ok(Some(number)),
            Some(None) => problem(format!("`{name}` is no whole number from 0 on")),
        }
    }

    pub(crate) fn number(self, name: &str) -> Result<u64, Problem> {
        Self::required(name, self.optional_number(name)?)
    }

    pub(crate) fn flag(self, name: &str) -> Result<bool, Problem> {
        match self.optional(name).map(Value::as_bool) {
            None => Ok(false),
            Some(Some(flag)) => Ok(flag),
            Some(None) => problem(format!("`{name}` is neither true nor false")),
        }
    }

    pub(crate) fn optional_bytes(self, name: &str) -> Result<Option<Vec<u8>>, Problem> {
        let Some(value) = self.optional(name) else { return Ok(None) };
        let decoded = value.as_str().and_then(|text| STANDARD.decode(text).ok());
        decoded.map(Some).ok_or_else(|| Problem(format!("`{name}` is no standard base64 with padding")))
    }

    pub(crate) fn bytes(self, name: &str) -> Result<Vec<u8>, Problem> {
        Self::required(name, self.optional_bytes(name)?)
    }

    pub(crate) fn optional_time(self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let time = |text| read_time(text).ok_or_else(|| Problem(format!("`{name}` is no time of RFC 3339")));
        self.optional_text(name)?.map(time).transpose()
    }

    pub(crate) fn time(self, name: &str) -> Result<Timestamp, Problem> {
        Self::required(name, self.optional_time(name)?)
    }

    /// What is parsed from a text by its own rules.
    pub(crate) fn optional_parsed<T: core::str::FromStr>(self, name: &str) -> Result<Option<T>, Problem>
    where
        T::Err: Display,
    {
        self.optional_text(name)?.map(|text| parsed(text, name)).transpose()
    }

    pub(crate) fn parsed<T: core::str::FromStr>(self, name: &str) -> Result<T, Problem>
    where
        T::Err: Display,
    {
        Self::required(name, self.optional_parsed(name)?)
    }

    /// One of a set of names.
    pub(crate) fn optional_name<T>(self, name: &str, read: fn(&str) -> Option<T>) -> Result<Option<T>, Problem> {
        let Some(text) = self.optional_text(name)? else { return Ok(None) };
        read(text).map(Some).ok_or_else(|| Problem(format!("`{name}` has a value that this version does not know")))
    }

    pub(crate) fn name<T>(self, name: &str, read: fn(&str) -> Option<T>) -> Result<T, Problem> {
        Self::required(name, self.optional_name(name, read)?)
    }
}

/// A text of bounded length.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, Problem> {
    match value.as_str() {
        Some(text) if text.len() <= MAX_TEXT => Ok(text),
        Some(_) => problem(format!("`{name}` is longer than {MAX_TEXT} bytes")),
        None => problem(format!("`{name}` is no text")),
    }
}

/// The errors of identifiers name what is wrong, never the text.
pub(crate) fn parsed<T: core::str::FromStr>(text: &str, name: &str) -> Result<T, Problem>
where
    T::Err: Display,
{
    text.parse().map_err(|error| Problem(format!("`{name}`: {error}")))
}

/// RFC 3339, in UTC with microseconds. What lies outside of the years 0 to 9999 is written as the end that is nearer.
pub(crate) fn write_time(time: Timestamp) -> String {
    const FIRST: i64 = -62_167_219_200_000_000;
    const LAST: i64 = 253_402_300_799_999_999;
    let micros = time.as_micros().clamp(FIRST, LAST);
    chrono::DateTime::from_timestamp_micros(micros).unwrap_or_default().format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// RFC 3339, with any offset; finer parts than microseconds are cut.
pub(crate) fn read_time(text: &str) -> Option<Timestamp> {
    let short = Some(text).filter(|text| text.len() <= 40)?;
    let time = chrono::DateTime::parse_from_rfc3339(short).ok()?;
    Some(Timestamp::from_micros(time.timestamp_micros()))
}

/// Writes a document.
pub(crate) fn write(value: &impl Serialize) -> Result<SecretBytes, Problem> {
    secret_json(value).ok_or_else(|| Problem("it cannot be written as JSON".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_microseconds_and_read_with_any_offset() {
        let time = Timestamp::from_micros(1_528_737_680_904_123);
        assert_eq!(write_time(time), "2018-06-11T17:21:20.904123Z");
        for text in ["2018-06-11T17:21:20.904123Z", "2018-06-11T19:21:20.904123+02:00", "2018-06-11T17:21:20.9041239Z"] {
            assert_eq!(read_time(text), Some(time), "{text}");
        }
        for wrong in ["", "2018-06-11", "2018-06-11T17:21:20", "1528737680", "2018-13-11T17:21:20Z"] {
            assert_eq!(read_time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_that_rfc_3339_cannot_say_are_written_as_its_ends() {
        assert_eq!(write_time(Timestamp::from_micros(i64::MAX)), "9999-12-31T23:59:59.999999Z");
        assert_eq!(write_time(Timestamp::from_micros(i64::MIN)), "0000-01-01T00:00:00.000000Z");
        assert!(read_time(&write_time(Timestamp::from_micros(i64::MAX))).is_some());
    }

    #[test]
    fn problems_name_members_and_quote_no_value() {
        let document = Document::read(br#"{"a": "hunter2", "b": ["hunter2"], "c": 1.5}"#).unwrap();
        let top = document.top().unwrap();
        let problems = [
            top.bytes("a").unwrap_err(),
            top.text("b").unwrap_err(),
            top.number("c").unwrap_err(),
            top.time("a").unwrap_err(),
            top.name("a", |_| None::<u8>).unwrap_err(),
            top.parsed::<crate::ids::Oid>("a").unwrap_err(),
            top.list("b", 0).unwrap_err(),
            Document::read(b"{\"a\": hunter2}").err().unwrap(),
            Document::read(b"{\"hunter2\": \"hunter2").err().unwrap(),
            Document::read(b"[\"hunter2\"]").err().unwrap(),
        ];
        for problem in problems {
            assert!(!problem.to_string().contains("hunter2"), "{problem}");
        }
        assert_eq!(top.text("d").unwrap_err().to_string(), "`d` is missing");
    }

    #[test]
    fn a_document_of_too_many_values_is_refused_before_it_is_read() {
        let body = format!("[{}1]", "1,".repeat(MAX_VALUES));
        assert_eq!(Document::read(body.as_bytes()).err(), Some(Problem("it has more than 500000 values".to_owned())));
    }
}
