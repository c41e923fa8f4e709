//! Distinguished names: kept as received, compared as names, printed for people.

use core::fmt;
use core::ops::Range;

pub use self::cert_str::NameError;
use super::X509Error;
use crate::codec::der::oid_from_octets;
use crate::codec::x509::{name as codec, string};
use crate::ids::Oid;
use crate::limits::{Budget, Limits};

mod cert_str;

/// An RFC 5280 `Name`, its DER kept verbatim. `==` compares the bytes; [`Name::matches`] compares as names.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name {
    der: Vec<u8>,
    rdns: Vec<Vec<Attribute>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Attribute {
    oid: Option<Oid>,
    text: Option<String>,
    /// Where the content of the type and the whole value lie in the name's DER.
    oid_octets: Range<usize>,
    raw: Range<usize>,
}

/// Type, name in text, other names understood.
pub(super) const KEYWORDS: &[(&str, &str, &[&str])] = &[
    ("2.5.4.3", "CN", &[]),
    ("2.5.4.4", "SN", &["SURNAME"]),
    ("2.5.4.5", "SERIALNUMBER", &[]),
    ("2.5.4.6", "C", &[]),
    ("2.5.4.7", "L", &[]),
    ("2.5.4.8", "ST", &["S"]),
    ("2.5.4.9", "STREET", &[]),
    ("2.5.4.10", "O", &[]),
    ("2.5.4.11", "OU", &[]),
    ("2.5.4.12", "T", &["TITLE"]),
    ("2.5.4.13", "DESCRIPTION", &[]),
    ("2.5.4.17", "POSTALCODE", &[]),
    ("2.5.4.20", "PHONE", &[]),
    ("2.5.4.42", "G", &["GIVENNAME", "GN"]),
    ("2.5.4.43", "I", &["INITIALS"]),
    ("2.5.4.44", "GENERATIONQUALIFIER", &[]),
    ("2.5.4.46", "DNQUALIFIER", &["DNQ"]),
    ("2.5.4.65", "PSEUDONYM", &[]),
    ("2.5.4.97", "ORGANIZATIONIDENTIFIER", &[]),
    ("1.2.840.113549.1.9.1", "E", &["EMAIL", "EMAILADDRESS"]),
    ("1.2.840.113549.1.9.2", "UNSTRUCTUREDNAME", &[]),
    ("1.2.840.113549.1.9.8", "UNSTRUCTUREDADDRESS", &[]),
    ("0.9.2342.19200300.100.1.1", "UID", &["USERID"]),
    ("0.9.2342.19200300.100.1.25", "DC", &[]),
];

impl Name {
    /// Reads a `Name`; nothing may follow it.
    ///
    /// # Errors
    /// [`X509Error::Malformed`], or [`X509Error::Limit`] beyond the default [`Limits`].
    pub fn from_der(der: &[u8]) -> Result<Self, X509Error> {
        let mut budget = Budget::new(&Limits::default());
        budget.check_input(der.len())?;
        Self::read(der, &mut budget)
    }

    pub(crate) fn read(der: &[u8], budget: &mut Budget) -> Result<Self, X509Error> {
        let attribute = |attribute: codec::AttributeTypeAndValue<'_>, budget: &mut Budget| Attribute {
            oid: oid_from_octets(attribute.oid.content()),
            oid_octets: attribute.oid.offset()..attribute.oid.offset() + attribute.oid.content().len(),
            text: string::decode(&attribute.value, budget),
            raw: attribute.value.range(),
        };
        let rdns = codec::decode(der, attribute, budget).map_err(X509Error::der("name"))?;
        Ok(Self { der: der.to_vec(), rdns })
    }

    /// Parses a subject in the syntax of Windows' `CertStrToName`, as Intune profiles use it: `CN="Doe, Jane",OU=A+OU=B,O=Contoso`.
    ///
    /// Separators are `,` and `;`, and `+` within one RDN. White space around keys and values is dropped. A value in quotes keeps everything,
    /// a quote in it is doubled. A value that starts with `#` is hexadecimal and becomes an OCTET STRING. Keys are those of Windows in either
    /// case, and `OID.1.2.3` or `1.2.3`. The RDNs are encoded in the order of the text. Beyond Windows, a backslash before one of `, + ; = " < > #`
    /// takes that character literally, since Intune escapes so; any other backslash stands for itself. Empty text is the empty name.
    ///
    /// # Errors
    /// [`NameError`] says what is wrong and where.
    pub fn parse_cert_str(text: &str) -> Result<Self, NameError> {
        let der = cert_str::parse(text)?;
        Self::from_der(&der).map_err(|_| NameError::too_long())
    }

    /// The DER, verbatim.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// Whether it has no RDN.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rdns.is_empty()
    }

    /// The last common name that is text.
    #[must_use]
    pub fn common_name(&self) -> Option<String> {
        self.texts("2.5.4.3").last().map(str::to_owned)
    }

    /// The values of all attributes of a type that are text, in the order of the encoding.
    pub fn texts<'a>(&'a self, oid: &'a str) -> impl Iterator<Item = &'a str> {
        let of_type = move |attribute: &&Attribute| attribute.oid.as_ref().is_some_and(|found| found.as_str() == oid);
        self.rdns.iter().flatten().filter(of_type).filter_map(|attribute| attribute.text.as_deref())
    }

    /// Every attribute in the order of the encoding: its type, absent when an arc is over 32 bits, and its value, absent when it is not text.
    pub fn attributes(&self) -> impl Iterator<Item = (Option<&Oid>, Option<&str>)> {
        self.rdns.iter().flatten().map(|attribute| (attribute.oid.as_ref(), attribute.text.as_deref()))
    }

    /// Whether a value is of a string type that its octets do not fit, or of one that is not read here. What others read in it is not known.
    pub(crate) fn has_unreadable_text(&self) -> bool {
        let is_string = |attribute: &Attribute| {
            let identifier = self.der.get(attribute.raw.start).copied().unwrap_or(0);
            // UTF8String, NumericString to IA5String, GraphicString to UniversalString, BMPString; in pieces as well.
            matches!(identifier & !0x20, 0x0c | 0x12..=0x16 | 0x19..=0x1c | 0x1e)
        };
        self.rdns.iter().flatten().any(|attribute| attribute.text.is_none() && is_string(attribute))
    }

    /// Whether both are the same name: string types, letter case and white space at the ends and in multiples do not matter
    /// (RFC 5280 section 7.1, with lower-casing in place of stringprep). The order of RDNs matters, that within an RDN does not.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.der == other.der || (self.rdns.len() == other.rdns.len() && self.folded() == other.folded())
    }

    /// The name with what does not matter for comparison taken out.
    pub(crate) fn folded(&self) -> Vec<Vec<(&[u8], Vec<u8>)>> {
        self.rdns.iter().map(|rdn| self.folded_rdn(rdn)).collect()
    }

    fn folded_rdn(&self, rdn: &[Attribute]) -> Vec<(&[u8], Vec<u8>)> {
        let mut folded: Vec<_> =
            rdn.iter().map(|attribute| (&self.der[attribute.oid_octets.clone()], self.folded_value(attribute))).collect();
        folded.sort();
        folded
    }

    fn folded_value(&self, attribute: &Attribute) -> Vec<u8> {
        match &attribute.text {
            // The leading zero octet keeps text apart from the DER of values that are not text.
            Some(text) => format!("\0{}", text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()).into_bytes(),
            None => self.der[attribute.raw.clone()].to_vec(),
        }
    }
}

impl fmt::Display for Name {
    /// RFC 4514: the last RDN first; control characters as hexadecimal pairs. Beyond its table, `E`, `G`, `SN`, `T` and
    /// `SERIALNUMBER` are named, since operators read this.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rdn) in self.rdns.iter().rev().enumerate() {
            for (inner, attribute) in rdn.iter().enumerate() {
                match (index, inner) {
                    (0, 0) => {}
                    (_, 0) => f.write_str(",")?,
                    _ => f.write_str("+")?,
                }
                attribute.write(f, &self.der)?;
            }
        }
        Ok(())
    }
}

impl Attribute {
    fn write(&self, f: &mut fmt::Formatter<'_>, name: &[u8]) -> fmt::Result {
        let raw = &name[self.raw.clone()];
        let keyword = self.oid.as_ref().and_then(|oid| KEYWORDS.iter().find(|(number, ..)| *number == oid.as_str()));
        let text = match (keyword, &self.oid, &self.text) {
            (Some((_, keyword, _)), _, Some(text)) => {
                write!(f, "{keyword}=")?;
                text
            }
            (_, Some(oid), _) => return write_hex(f, oid.as_str(), raw),
            (_, None, _) => return write_hex(f, "?", raw),
        };
        let last = text.chars().count().saturating_sub(1);
        for (index, character) in text.chars().enumerate() {
            match character {
                ',' | '+' | '"' | '\\' | '<' | '>' | ';' => write!(f, "\\{character}")?,
                '#' | ' ' if index == 0 => write!(f, "\\{character}")?,
                ' ' if index == last => f.write_str("\\ ")?,
                // Bidirectional controls reorder what an operator reads, line separators split log lines.
                c if c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                    let mut octets = [0; 4];
                    c.encode_utf8(&mut octets).bytes().try_for_each(|octet| write!(f, "\\{octet:02X}"))?;
                }
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, key: &str, octets: &[u8]) -> fmt::Result {
    write!(f, "{key}=#")?;
    octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}
