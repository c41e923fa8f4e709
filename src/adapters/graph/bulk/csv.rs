//! CSV as RFC 4180 has it, with what spreadsheets do to it: a byte order mark, line feeds alone, semicolons. Bounded, and every error has its line.

use crate::secret::SecretBytes;

/// The most fields of a record.
const FIELDS: usize = 64;
/// The longest field in bytes.
const FIELD_BYTES: usize = 64 << 10;

/// One record.
#[derive(Debug)]
pub(super) struct Record {
    /// The line on which it begins, from 1.
    pub(super) line: usize,
    /// The fields; one may be a password.
    pub(super) fields: Vec<SecretBytes>,
    /// Where the next record begins.
    pub(super) end: usize,
    /// Whether a line end follows: what a crash cut off has none.
    pub(super) complete: bool,
}

impl Record {
    /// A blank line.
    pub(super) fn is_blank(&self) -> bool {
        matches!(self.fields.as_slice(), [only] if only.is_empty())
    }
}

/// What is wrong in a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
#[non_exhaustive]
pub struct CsvProblem {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there, and what to do.
    pub problem: String,
}

impl CsvProblem {
    pub(super) fn new(line: usize, problem: impl Into<String>) -> Self {
        Self { line, problem: problem.into() }
    }
}

/// Reads record after record; ends after the first error.
pub(super) struct Records<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
    separator: u8,
    failed: bool,
}

impl<'a> Records<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        let at = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let first = text.get(at..).unwrap_or_default().split(|byte| *byte == b'\n').next().unwrap_or_default();
        // A spreadsheet of a country with decimal commas.
        let separator = if first.contains(&b';') && !first.contains(&b',') { b';' } else { b',' };
        Self { text, at, line: 1, separator, failed: false }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn record(&mut self) -> Result<Record, CsvProblem> {
        let line = self.line;
        let wide = matches!(self.text, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
        if wide {
            return Err(CsvProblem::new(line, "the file is UTF-16: save it as CSV in UTF-8"));
        }
        let mut fields = Vec::new();
        loop {
            if fields.len() >= FIELDS {
                return Err(CsvProblem::new(line, format!("there are more than {FIELDS} fields")));
            }
            let field = if self.peek() == Some(b'"') { self.quoted()? } else { self.bare()? };
            if field.len() > FIELD_BYTES {
                return Err(CsvProblem::new(line, format!("a field is longer than {FIELD_BYTES} bytes")));
            }
            if core::str::from_utf8(field.secret_bytes()).is_err() {
                return Err(CsvProblem::new(line, "a field is not UTF-8: save the file as CSV in UTF-8"));
            }
            fields.push(field);
            let complete = match (self.peek(), self.text.get(self.at + 1)) {
                (Some(byte), _) if byte == self.separator => {
                    self.at += 1;
                    continue;
                }
                (Some(b'\r'), Some(b'\n')) => {
                    self.at += 2;
                    true
                }
                (Some(b'\n'), _) => {
                    self.at += 1;
                    true
                }
                (None, _) => false,
                (Some(b'\r'), _) => {
                    return Err(CsvProblem::new(self.line, "a carriage return without a line feed stands outside of quotes"));
                }
                (Some(_), _) => {
                    return Err(CsvProblem::new(self.line, "something follows a closing quote: double the quotes inside a field"));
                }
            };
            self.line += usize::from(complete);
            return Ok(Record { line, fields, end: self.at, complete });
        }
    }

    fn bare(&mut self) -> Result<SecretBytes, CsvProblem> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let ends = |byte: &u8| *byte == self.separator || matches!(byte, b'\r' | b'\n' | b'"');
        let len = rest.iter().position(ends).unwrap_or(rest.len());
        if rest.get(len) == Some(&b'"') {
            return Err(CsvProblem::new(
                self.line,
                "a quote stands inside a field that is not quoted: quote the field, and double the quote",
            ));
        }
        self.at += len;
        Ok(SecretBytes::copy_from(rest.get(..len).unwrap_or_default()))
    }

    fn quoted(&mut self) -> Result<SecretBytes, CsvProblem> {
        let from = self.line;
        let inside = self.text.get(self.at + 1..).unwrap_or_default();
        let mut len = 0;
        let mut quotes = 0;
        loop {
            match (inside.get(len), inside.get(len + 1)) {
                (Some(b'"'), Some(b'"')) => {
                    len += 2;
                    quotes += 1;
                }
                (Some(b'"'), _) => break,
                (Some(byte), _) => {
                    self.line += usize::from(*byte == b'\n');
                    len += 1;
                }
                (None, _) => return Err(CsvProblem::new(from, "a quoted field does not end")),
            }
        }
        self.at += len + 2;
        let mut field = SecretBytes::zeroed(len - quotes);
        let mut out = field.secret_bytes_mut().iter_mut();
        let mut doubled = false;
        for byte in inside.get(..len).unwrap_or_default() {
            doubled = *byte == b'"' && !doubled;
            if !doubled && let Some(place) = out.next() {
                *place = *byte;
            }
        }
        Ok(field)
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, CsvProblem>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.at >= self.text.len() {
            return None;
        }
        let record = self.record();
        self.failed = record.is_err();
        Some(record)
    }
}

/// A record with its line end, quoted where that is needed.
pub(super) fn line(fields: &[&str]) -> String {
    let mut out = String::new();
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        if field.contains([',', ';', '"', '\r', '\n']) || field.starts_with(' ') || field.ends_with(' ') {
            out.push('"');
            out.push_str(&field.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(field);
        }
    }
    out.push_str("\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(usize, Vec<String>)>, CsvProblem> {
        let text_of = |field: &SecretBytes| String::from_utf8(field.secret_bytes().to_vec()).unwrap();
        Records::new(text.as_bytes()).map(|record| record.map(|r| (r.line, r.fields.iter().map(text_of).collect()))).collect()
    }

    fn fields(text: &str) -> Vec<Vec<String>> {
        read(text).unwrap().into_iter().map(|(_, fields)| fields).collect()
    }

    #[test]
    fn the_rules_of_rfc_4180_hold() {
        assert_eq!(fields("a,b\r\nc,d"), [["a", "b"], ["c", "d"]]);
        assert_eq!(fields("a,b\nc,d\n"), [["a", "b"], ["c", "d"]]);
        assert_eq!(fields("\"a,1\",\"b\r\n2\"\r\n\"c\"\"3\",\"\"\r\n"), [["a,1", "b\r\n2"], ["c\"3", ""]]);
        assert_eq!(fields("\"\"\"\"\"\",\n"), [["\"\"", ""]]);
        assert_eq!(fields(""), Vec::<Vec<String>>::new());
        assert_eq!(fields(" a , b\n"), [[" a ", " b"]]);
    }

    #[test]
    fn what_spreadsheets_write_is_read() {
        assert_eq!(fields("\u{feff}file;upn\r\na,1;b\r\n"), [["file", "upn"], ["a,1", "b"]]);
        assert!(Records::new(b"\xff\xfef\0").next().unwrap().unwrap_err().problem.contains("UTF-16"));
        let latin1 = Records::new(b"file\nM\xfcller\n").nth(1).unwrap().unwrap_err();
        assert!(latin1.line == 2 && latin1.problem.contains("UTF-8"), "{latin1}");
    }

    #[test]
    fn errors_and_records_have_their_lines() {
        let lines: Vec<usize> = read("h\n\"a\nb\"\nc\n").unwrap().into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [1, 2, 4]);
        for (text, line) in [("h\na\"b\n", 2), ("h\n\"a\"b\n", 2), ("h\nx\n\"a\n\n", 3), ("h\na\rb\n", 2)] {
            assert_eq!(read(text).unwrap_err().line, line, "{text:?}");
        }
        assert!(read(&"x,".repeat(100)).unwrap_err().problem.contains("64 fields"));
        assert!(read(&"x".repeat(70_000)).unwrap_err().problem.contains("longer"));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let written = line(&["a", "b,c", "say \"no\"", "x;y", " z "]);
        assert_eq!(fields(&written), [["a", "b,c", "say \"no\"", "x;y", " z "]]);
    }
    proptest::proptest! {
        #[test]
        fn whatever_is_read_ends_and_whatever_is_written_comes_back(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
            syntax in "[a\",;\\r\\n ]{0,40}",
            texts in proptest::collection::vec("[a-c\",; \r\n\u{e4}]{0,12}", 2..6),
        ) {
            for text in [&bytes[..], syntax.as_bytes()] {
                let records: Vec<_> = Records::new(text).collect();
                proptest::prop_assert!(records.len() <= text.len());
                let ends: Vec<usize> = records.iter().flatten().map(|record| record.end).collect();
                proptest::prop_assert!(ends.windows(2).all(|pair| pair[0] < pair[1]) && ends.iter().all(|end| *end <= text.len()));
            }
            let head = "x,y\r\n";
            let written = line(&texts.iter().map(String::as_str).collect::<Vec<_>>());
            proptest::prop_assert_eq!(fields(&format!("{head}{written}")).pop().unwrap(), texts);
        }
    }
}
