//! The syntax of Windows' `CertStrToName`.

use super::KEYWORDS;
use crate::codec::der::write;
use crate::codec::x509::string;
use crate::ids::Oid;

/// Why a subject text was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("subject name not understood at character {position}: {problem}")]
#[non_exhaustive]
pub struct NameError {
    /// The character where it went wrong, from 1.
    pub position: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

impl NameError {
    pub(super) fn too_long() -> Self {
        Self { position: 1, problem: "the name is longer than the default limits allow" }
    }
}

/// Longest text: far beyond any subject, and small enough that nothing here can cost much.
const MAX_CHARACTERS: usize = 64 * 1024;

/// The DER of the `Name` that the text stands for.
pub(super) fn parse(text: &str) -> Result<Vec<u8>, NameError> {
    let mut parser = Parser { characters: text.chars().take(MAX_CHARACTERS + 1).collect(), position: 0 };
    if parser.characters.len() > MAX_CHARACTERS {
        return Err(NameError::too_long());
    }
    let mut rdns = Vec::new();
    parser.skip_white();
    while parser.peek().is_some() {
        let mut rdn = vec![parser.attribute()?];
        loop {
            match parser.next() {
                Some('+') => rdn.push(parser.attribute()?),
                Some(_) => {
                    parser.skip_white();
                    if parser.peek().is_none() {
                        return Err(parser.error("the text ends after a separator"));
                    }
                    break;
                }
                None => break,
            }
        }
        rdns.push(write::set_of(rdn));
    }
    Ok(write::sequence_of(&rdns))
}

struct Parser {
    characters: Vec<char>,
    position: usize,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.position).copied()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.position += 1;
        Some(character)
    }

    fn skip_white(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.position += 1;
        }
    }

    fn error(&self, problem: &'static str) -> NameError {
        NameError { position: self.position + 1, problem }
    }

    /// `key = value`; stops at a separator or at the end.
    fn attribute(&mut self) -> Result<Vec<u8>, NameError> {
        self.skip_white();
        let start = self.position;
        let mut key = String::new();
        loop {
            match self.next() {
                Some('=') => break,
                Some(',' | ';' | '+' | '"') | None => {
                    self.position = start;
                    return Err(self.error("a key with `=` is missing"));
                }
                Some(character) => key.push(character),
            }
        }
        let oid =
            key_oid(key.trim()).ok_or(NameError { position: start + 1, problem: "the key is not known; use `OID.1.2.3=` for others" })?;
        self.skip_white();
        let value = match self.peek() {
            Some('#') => write::octet_string(&self.hexadecimal()?),
            Some('"') => {
                let at = self.position;
                let text = self.quoted()?;
                encode(&oid, &text).map_err(|problem| NameError { position: at + 1, problem })?
            }
            _ => {
                let at = self.position;
                let text = self.plain()?;
                encode(&oid, &text).map_err(|problem| NameError { position: at + 1, problem })?
            }
        };
        Ok(write::sequence(&[&write::oid(&oid), &value]))
    }

    fn quoted(&mut self) -> Result<String, NameError> {
        let open = self.position;
        self.position += 1;
        let mut text = String::new();
        loop {
            match self.next() {
                Some('"') if self.peek() == Some('"') => {
                    self.position += 1;
                    text.push('"');
                }
                Some('"') => break,
                Some(character) => text.push(character),
                None => return Err(NameError { position: open + 1, problem: "a quote is not closed" }),
            }
        }
        self.skip_white();
        match self.peek() {
            None | Some(',' | ';' | '+') => Ok(text),
            Some(_) => Err(self.error("something follows the closing quote")),
        }
    }

    fn plain(&mut self) -> Result<String, NameError> {
        let mut text = String::new();
        // Trailing white space is dropped, but not before an escaped character.
        let mut keep = 0;
        loop {
            match self.peek() {
                None | Some(',' | ';' | '+') => break,
                Some('"') => return Err(self.error("a quote stands inside a value; put the whole value in quotes and double it")),
                Some('=') => return Err(self.error("an `=` stands inside a value; put the whole value in quotes")),
                Some('\\') if self.characters.get(self.position + 1).is_some_and(|c| r#",+;="<>#"#.contains(*c)) => {
                    self.position += 1;
                    text.extend(self.next());
                    keep = text.len();
                }
                Some(character) => {
                    self.position += 1;
                    text.push(character);
                    if !character.is_whitespace() {
                        keep = text.len();
                    }
                }
            }
        }
        text.truncate(keep);
        Ok(text)
    }

    fn hexadecimal(&mut self) -> Result<Vec<u8>, NameError> {
        self.position += 1;
        let mut digits = Vec::new();
        while let Some(character) = self.peek() {
            match character.to_digit(16) {
                Some(digit) => digits.push(digit as u8),
                None if character.is_whitespace() => {}
                None if matches!(character, ',' | ';' | '+') => break,
                None => return Err(self.error("a value after `#` is not hexadecimal; put it in quotes if it is text")),
            }
            self.position += 1;
        }
        if digits.len() % 2 == 1 {
            return Err(self.error("a hexadecimal value has an odd number of digits"));
        }
        Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
    }
}

fn key_oid(key: &str) -> Option<Oid> {
    let upper = key.to_ascii_uppercase();
    let known = KEYWORDS.iter().find(|(_, keyword, others)| *keyword == upper || others.contains(&upper.as_str()));
    match known {
        Some((number, ..)) => number.parse().ok(),
        None => upper.strip_prefix("OID.").unwrap_or(&upper).parse().ok(),
    }
}

/// The value by its type: IA5String for `E` and `DC`, PrintableString for `C`, `SERIALNUMBER` and `DNQUALIFIER`, else a DirectoryString
/// (RFC 5280 appendix A.1).
fn encode(oid: &Oid, text: &str) -> Result<Vec<u8>, &'static str> {
    match oid.as_str() {
        "1.2.840.113549.1.9.1" | "0.9.2342.19200300.100.1.25" if text.is_ascii() => Ok(write::value(write::IA5_STRING, &[text.as_bytes()])),
        "0.9.2342.19200300.100.1.25" => Err("a domain component is not ASCII"),
        "2.5.4.6" if text.len() != 2 || !text.bytes().all(|byte| byte.is_ascii_alphabetic()) => Err("a country is not two letters"),
        "2.5.4.5" | "2.5.4.46" if !string::is_printable(text) => {
            Err("a serial number or qualifier holds a character that PrintableString lacks")
        }
        _ => Ok(string::encode_directory_string(text)),
    }
}

#[cfg(test)]
mod tests {
    use crate::message::name::Name;

    fn shown(text: &str) -> String {
        Name::parse_cert_str(text).unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
    }

    #[test]
    fn quotes_escapes_and_separators_are_read_as_windows_reads_them() {
        assert_eq!(shown(r#"CN="Doe, Jane",O=Contoso"#), r"O=Contoso,CN=Doe\, Jane");
        assert_eq!(shown(r#"CN="Bob ""Gage""""#), r#"CN=Bob \"Gage\""#);
        assert_eq!(shown(" cn = Jane Doe ; ou = A + ou = B "), "OU=A+OU=B,CN=Jane Doe");
        assert_eq!(shown("1.2.3 = # AB CD 01"), "1.2.3=#0403abcd01");
        assert_eq!(shown("OID.1.2.3=#ABCD01"), "1.2.3=#0403abcd01");
        assert_eq!(shown(r"CN=Doe\, Jane\+1"), r"CN=Doe\, Jane\+1");
        assert_eq!(shown(r"CN=CONTOSO\jane"), r"CN=CONTOSO\\jane");
        assert_eq!(shown(r#"CN="""#), "CN=");
        assert_eq!(shown("CN=\"two\r\nlines\""), r"CN=two\0D\0Alines");
        assert!(Name::parse_cert_str("  ").unwrap().is_empty());
    }

    #[test]
    fn string_types_follow_rfc_5280() {
        let tag = |text: &str| {
            let name = Name::parse_cert_str(text).unwrap();
            name.der[name.rdns[0][0].raw.start]
        };
        assert_eq!((tag("CN=Jane"), tag("CN=J*ne"), tag("CN=Jäne")), (0x13, 0x0c, 0x0c));
        assert_eq!((tag("E=a@example.test"), tag("DC=example"), tag("C=DE"), tag("SERIALNUMBER=1")), (0x16, 0x16, 0x13, 0x13));
    }

    #[test]
    fn errors_name_the_position() {
        for (text, position) in [
            ("CN=a,", 6),
            ("CN=a,,O=b", 6),
            ("CN", 1),
            ("CN=a,XY=b", 6),
            ("CN=\"a", 4),
            ("CN=\"a\"b", 7),
            ("CN=a\"b", 5),
            ("CN=a=b", 5),
            ("C=DEU", 3),
            ("1.2.3=#abc", 11),
            ("1.2.3=#zz", 8),
            ("=a", 1),
        ] {
            assert_eq!(Name::parse_cert_str(text).map_err(|error| error.position), Err(position), "{text}");
        }
    }

    #[test]
    fn names_match_across_string_types_case_and_white_space() {
        let a = Name::parse_cert_str("CN=Jane  Doe,O=Contoso").unwrap();
        let b = Name::from_der(&utf8_name()).unwrap();
        assert!(a.matches(&b) && b.matches(&a) && a != b);
        assert!(!a.matches(&Name::parse_cert_str("O=Contoso,CN=Jane Doe").unwrap()));
        assert!(!a.matches(&Name::parse_cert_str("CN=JaneDoe,O=Contoso").unwrap()));
        let (x, y) = (Name::parse_cert_str("OU=A+OU=B").unwrap(), Name::parse_cert_str("OU=b+OU=a").unwrap());
        assert!(x.matches(&y));
    }

    fn utf8_name() -> Vec<u8> {
        use crate::codec::der::write;
        let attribute =
            |oid: &str, text: &str| write::set_of(vec![write::sequence(&[&write::oid(&oid.parse().unwrap()), &write::utf8_string(text)])]);
        write::sequence_of(&[attribute("2.5.4.3", " jane doe "), attribute("2.5.4.10", "CONTOSO")])
    }
}
