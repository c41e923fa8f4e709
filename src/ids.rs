//! Identifiers, parsed once: what has one of these types has been checked.

use core::fmt;
use core::str::FromStr;
use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Why a text is not an identifier of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}: {reason}")]
#[non_exhaustive]
pub struct InvalidId {
    /// The kind of identifier.
    pub kind: &'static str,
    /// What is wrong with the text; never the text itself.
    pub reason: &'static str,
}

const fn invalid(kind: &'static str, reason: &'static str) -> InvalidId {
    InvalidId { kind, reason }
}

fn check_text(kind: &'static str, text: &str) -> Result<(), InvalidId> {
    if text.is_empty() {
        Err(invalid(kind, "it is empty"))
    } else if text.len() > 256 {
        Err(invalid(kind, "it is longer than 256 bytes"))
    } else if text.chars().any(is_unprintable) {
        Err(invalid(kind, "it holds a control character or an invisible formatting character"))
    } else {
        Ok(())
    }
}

/// Whether a character has no place in a log: it can forge lines, hide text or turn its direction around.
pub(crate) const fn is_unprintable(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        ///
        /// 1 to 256 bytes without control characters and invisible formatting characters, so that it can stand in a log as it is.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                check_text($kind, &text)?;
                Ok(Self(text))
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.0)
            }
        }
    };
}

text_id!(/// A tenant, as domain or GUID.
    TenantId, "tenant id");
text_id!(/// One running connector of a tenant.
    InstanceId, "instance id");
text_id!(/// A request as the queue names it; unique in a tenant and flow.
    RequestId, "request id");
text_id!(/// A device.
    DeviceId, "device id");
text_id!(/// A user.
    UserId, "user id");
text_id!(/// An id that another system's log carries for the same work.
    CorrelationId, "correlation id");
text_id!(/// A certificate authority as configured and as requests name it. `Symantec` is routed to DigiCert's events.
    CaName, "CA name");
text_id!(/// What an instance must have to work on a request, such as its CA: rows of a shared journal go to instances that can.
    Route, "route");
text_id!(/// A certificate template or profile of a CA.
    TemplateName, "template name");

/// A SCEP transactionID (RFC 8894 section 3.2.1.1): 1 to 255 bytes, kept as received and never re-encoded as text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct TransactionId(Vec<u8>);

impl TransactionId {
    /// The bytes as received.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for TransactionId {
    type Error = InvalidId;
    fn try_from(bytes: Vec<u8>) -> Result<Self, InvalidId> {
        match bytes.len() {
            1..=255 => Ok(Self(bytes)),
            _ => Err(invalid("transactionID", "it is not 1 to 255 bytes long")),
        }
    }
}

impl From<TransactionId> for Vec<u8> {
    fn from(id: TransactionId) -> Vec<u8> {
        id.0
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransactionId({self})")
    }
}

/// A certificate serial number: a positive integer of at most 20 octets (RFC 5280 section 4.1.2.2), without leading zeros.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SerialNumber(Vec<u8>);

impl SerialNumber {
    /// From big-endian bytes; leading zeros are dropped.
    ///
    /// # Errors
    /// Refuses zero and more than 20 significant octets.
    pub fn from_be_bytes(bytes: &[u8]) -> Result<Self, InvalidId> {
        let start = bytes.iter().position(|byte| *byte != 0);
        match start {
            None => Err(invalid("serial number", "it is zero or empty")),
            Some(start) if bytes.len() - start > 20 => Err(invalid("serial number", "it is longer than 20 octets")),
            Some(start) => Ok(Self(bytes[start..].to_vec())),
        }
    }

    /// From hexadecimal text in either case; `0x`, colons, spaces and leading zeros are allowed, as CAs and queues differ.
    ///
    /// # Errors
    /// Refuses anything else.
    pub fn from_hex(text: &str) -> Result<Self, InvalidId> {
        let text = text.trim();
        let text = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
        if text.len() > 128 {
            return Err(invalid("serial number", "it is longer than 20 octets"));
        }
        let mut digits = Vec::with_capacity(text.len());
        for character in text.chars().filter(|c| !matches!(c, ':' | ' ')) {
            match character.to_digit(16) {
                Some(digit) => digits.push(digit as u8),
                None => return Err(invalid("serial number", "it holds something else than hexadecimal digits")),
            }
        }
        if digits.len() % 2 == 1 {
            digits.insert(0, 0);
        }
        let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        Self::from_be_bytes(&bytes)
    }

    /// The significant bytes, big-endian.
    #[must_use]
    pub fn as_be_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<String> for SerialNumber {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        Self::from_hex(&text)
    }
}

impl FromStr for SerialNumber {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::from_hex(text)
    }
}

impl From<SerialNumber> for String {
    fn from(serial: SerialNumber) -> String {
        serial.to_string()
    }
}

impl fmt::Display for SerialNumber {
    /// Upper-case hexadecimal, two digits an octet, without separators.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0, true)
    }
}

impl fmt::Debug for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SerialNumber({self})")
    }
}

/// The SHA-1 of a certificate's DER: a name for it, as Windows and Intune use it, not a protection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Thumbprint([u8; 20]);

impl Thumbprint {
    /// From the 20 bytes of the digest.
    #[must_use]
    pub const fn new(digest: [u8; 20]) -> Self {
        Self(digest)
    }

    /// The 20 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl TryFrom<String> for Thumbprint {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        from_hex_exact(&text).map(Self).ok_or(invalid("thumbprint", "it is not 40 hexadecimal digits"))
    }
}

impl From<Thumbprint> for String {
    fn from(thumbprint: Thumbprint) -> String {
        thumbprint.to_string()
    }
}

impl fmt::Display for Thumbprint {
    /// Upper-case hexadecimal, as the SCEP notification sends it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0, true)
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}

/// A domain account's security identifier, `S-1-5-21-a-b-c-rid`, parsed strictly: no leading zeros, each part below 2^32.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sid {
    domain: [u32; 3],
    rid: u32,
}

impl Sid {
    /// The three sub-authorities of the domain.
    #[must_use]
    pub const fn domain(&self) -> [u32; 3] {
        self.domain
    }

    /// The relative id; under 1000 are built-in accounts such as Administrator (500).
    #[must_use]
    pub const fn rid(&self) -> u32 {
        self.rid
    }
}

impl FromStr for Sid {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        const WRONG: InvalidId = invalid("SID", "it is not S-1-5-21 with four more decimal parts below 2^32");
        let rest = text.strip_prefix("S-1-5-21-").ok_or(WRONG)?;
        let mut parts = rest.split('-').map(|part| {
            let canonical = part.len() <= 10 && part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
            if canonical { part.parse::<u32>().map_err(|_| WRONG) } else { Err(WRONG) }
        });
        let mut next = || parts.next().unwrap_or(Err(WRONG));
        let sid = Self { domain: [next()?, next()?, next()?], rid: next()? };
        if parts.next().is_some() { Err(WRONG) } else { Ok(sid) }
    }
}

impl TryFrom<String> for Sid {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Sid> for String {
    fn from(sid: Sid) -> String {
        sid.to_string()
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.domain;
        write!(f, "S-1-5-21-{a}-{b}-{c}-{}", self.rid)
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sid({self})")
    }
}

/// An object identifier in dotted decimal form.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Oid(Cow<'static, str>);

impl Oid {
    /// A constant of this crate: nothing is checked or copied.
    pub(crate) const fn from_static(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// The dotted decimal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The arcs.
    pub fn arcs(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.split('.').filter_map(|arc| arc.parse().ok())
    }
}

impl FromStr for Oid {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        const WRONG: InvalidId = invalid("object identifier", "it is not 2 to 40 decimal arcs below 2^32 with dots between");
        let mut arcs = [0u32; 2];
        let mut count = 0;
        for part in text.split('.') {
            let canonical = !part.is_empty() && part.len() <= 10 && (part == "0" || !part.starts_with('0'));
            let arc = part.parse::<u32>().ok().filter(|_| canonical && part.bytes().all(|b| b.is_ascii_digit())).ok_or(WRONG)?;
            if count < 2 {
                arcs[count] = arc;
            }
            count += 1;
        }
        let root_fits = arcs[0] <= 2 && (arcs[0] == 2 || arcs[1] < 40);
        if (2..=40).contains(&count) && root_fits { Ok(Self(Cow::Owned(text.to_owned()))) } else { Err(WRONG) }
    }
}

impl TryFrom<String> for Oid {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Oid> for String {
    fn from(oid: Oid) -> String {
        oid.0.into_owned()
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Oid({})", self.0)
    }
}

/// Names one request for ever: SHA-256 over tenant, flow, request id and payload digest.
///
/// The same request id with another payload gives another key, which the connector reports as a conflict.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdempotencyKey([u8; 32]);

impl IdempotencyKey {
    /// From the 32 bytes of the digest.
    #[must_use]
    pub const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn as_hex(&self) -> String {
        self.to_string()
    }

    /// The first 128 bits as a version 8 UUID (RFC 9562 section 5.8), for CAs that take a UUID as request id.
    #[must_use]
    pub fn as_uuid(&self) -> String {
        let mut b = [0u8; 16];
        b.copy_from_slice(&self.0[..16]);
        b[6] = b[6] & 0x0f | 0x80;
        b[8] = b[8] & 0x3f | 0x80;
        let hex = |range: core::ops::Range<usize>| b[range].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        format!("{}-{}-{}-{}-{}", hex(0..4), hex(4..6), hex(6..8), hex(8..10), hex(10..16))
    }
}

impl TryFrom<String> for IdempotencyKey {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        from_hex_exact(&text).map(Self).ok_or(invalid("idempotency key", "it is not 64 hexadecimal digits"))
    }
}

impl From<IdempotencyKey> for String {
    fn from(key: IdempotencyKey) -> String {
        key.as_hex()
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0, false)
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKey({self})")
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8], upper: bool) -> fmt::Result {
    bytes.iter().try_for_each(|byte| if upper { write!(f, "{byte:02X}") } else { write!(f, "{byte:02x}") })
}

fn from_hex_exact<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut out = [0u8; N];
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_forge_or_hide_log_lines_are_refused() {
        for bad in ["a\nb", "a\u{1b}[2J", "a\0", "a\u{202e}b", "a\u{2066}b", "a\u{61c}b", "a\u{200b}b", "\u{feff}a", "a\u{e0041}", ""] {
            assert!(bad.parse::<RequestId>().is_err() && bad.parse::<CaName>().is_err(), "{bad:?}");
        }
        assert!("Zürich CA №1 – 東京".parse::<CaName>().is_ok());
        assert!((0..=0x10_ffff).filter_map(char::from_u32).filter(|c| c.is_control()).all(is_unprintable));
    }

    #[test]
    fn sids_are_parsed_strictly() {
        let sid: Sid = "S-1-5-21-3623811015-3361044348-30300820-1013".parse().unwrap();
        assert_eq!((sid.rid(), sid.to_string().as_str()), (1013, "S-1-5-21-3623811015-3361044348-30300820-1013"));
        for wrong in [
            "S-1-5-21-1-2-3",
            "S-1-5-21-1-2-3-4-5",
            "S-1-5-32-544",
            "s-1-5-21-1-2-3-4",
            "S-1-5-21-01-2-3-4",
            "S-1-5-21-4294967296-2-3-4",
            "S-1-5-21-1-2-3-",
            "S-1-5-21-1-2-3-+4",
            "S-1-5-21-1-2-3-4 ",
        ] {
            assert!(wrong.parse::<Sid>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn serial_numbers_compare_across_spellings() {
        let plain = SerialNumber::from_hex("0A1B2C").unwrap();
        for spelling in ["a1b2c", "0x0a1b2c", "0a:1b:2c", "000A1B2C", " 0A 1B 2C "] {
            assert_eq!(SerialNumber::from_hex(spelling).unwrap(), plain, "{spelling}");
        }
        assert_eq!(plain.to_string(), "0A1B2C");
        assert!(SerialNumber::from_hex("").is_err());
        assert!(SerialNumber::from_hex("0").is_err());
        assert!(SerialNumber::from_hex("12x4").is_err());
        assert!(SerialNumber::from_be_bytes(&[1; 21]).is_err());
    }

    #[test]
    fn text_ids_refuse_control_characters_and_do_not_quote_them() {
        let error = RequestId::try_from("a\u{1b}[31mb".to_owned()).unwrap_err();
        assert_eq!(error.to_string(), "not a valid request id: it holds a control character or an invisible formatting character");
        assert!(RequestId::try_from(String::new()).is_err());
        assert!(RequestId::try_from("x".repeat(257)).is_err());
    }

    #[test]
    fn object_identifiers_are_canonical() {
        assert!("1.3.6.1.4.1.311.25.2".parse::<Oid>().is_ok());
        for wrong in ["", "1", "1.", "3.1", "1.40.1", "1.02.3", "1.2.4294967296", "1.2.a"] {
            assert!(wrong.parse::<Oid>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn idempotency_key_is_a_version_8_uuid() {
        let key = IdempotencyKey::new([0xff; 32]);
        assert_eq!(key.as_uuid(), "ffffffff-ffff-8fff-bfff-ffffffffffff");
        assert_eq!(IdempotencyKey::try_from(key.as_hex()).unwrap(), key);
    }
}
