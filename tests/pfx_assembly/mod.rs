//! Puts PFX files together value by value, in DER and in the forms that BER allows.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;
pub const INTEGER: u8 = 0x02;
pub const OCTET_STRING: u8 = 0x04;
pub const OID: u8 = 0x06;
pub const UTF8_STRING: u8 = 0x0c;
pub const BMP_STRING: u8 = 0x1e;

pub const DATA: &str = "1.2.840.113549.1.7.1";
pub const ENCRYPTED_DATA: &str = "1.2.840.113549.1.7.6";
pub const KEY_BAG: &str = "1.2.840.113549.1.12.10.1.1";
pub const SHROUDED_KEY_BAG: &str = "1.2.840.113549.1.12.10.1.2";
pub const CERT_BAG: &str = "1.2.840.113549.1.12.10.1.3";
pub const CRL_BAG: &str = "1.2.840.113549.1.12.10.1.4";
pub const SECRET_BAG: &str = "1.2.840.113549.1.12.10.1.5";
pub const SAFE_CONTENTS_BAG: &str = "1.2.840.113549.1.12.10.1.6";
pub const X509_CERTIFICATE: &str = "1.2.840.113549.1.9.22.1";
pub const SDSI_CERTIFICATE: &str = "1.2.840.113549.1.9.22.2";
pub const FRIENDLY_NAME: &str = "1.2.840.113549.1.9.20";
pub const LOCAL_KEY_ID: &str = "1.2.840.113549.1.9.21";

/// How values are written that hold values, and strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Definite lengths, strings in one piece.
    Der,
    /// Indefinite lengths wherever values hold values.
    Indefinite,
    /// Indefinite lengths, and strings in chunks of chunks.
    Chunked,
}

pub fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match content.len() {
        len @ 0..=0x7f => out.push(len as u8),
        len @ 0x80..=0xff => out.extend([0x81, len as u8]),
        len @ 0x100..=0xffff => out.extend([0x82, (len >> 8) as u8, len as u8]),
        len => out.extend([0x83, (len >> 16) as u8, (len >> 8) as u8, len as u8]),
    }
    out.extend(content);
    out
}

impl Form {
    /// A value that holds values.
    pub fn holder(self, tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        if self == Self::Der {
            return tlv(tag, parts);
        }
        [&[tag, 0x80][..], &parts.concat(), &[0, 0]].concat()
    }

    pub fn sequence(self, parts: &[&[u8]]) -> Vec<u8> {
        self.holder(SEQUENCE, parts)
    }

    /// A string under a primitive tag.
    pub fn string(self, tag: u8, octets: &[u8]) -> Vec<u8> {
        if self != Self::Chunked {
            return tlv(tag, &[octets]);
        }
        let (first, rest) = octets.split_at(octets.len() / 2);
        let (second, third) = rest.split_at(rest.len() / 3);
        let nested = tlv(OCTET_STRING | 0x20, &[&tlv(OCTET_STRING, &[second]), &tlv(OCTET_STRING, &[])]);
        [&[tag | 0x20, 0x80][..], &tlv(OCTET_STRING, &[first]), &nested, &tlv(OCTET_STRING, &[third]), &[0, 0]].concat()
    }

    pub fn octets(self, octets: &[u8]) -> Vec<u8> {
        self.string(OCTET_STRING, octets)
    }

    /// `[0] EXPLICIT`.
    pub fn explicit(self, value: &[u8]) -> Vec<u8> {
        self.holder(0xa0, &[value])
    }

    /// A ContentInfo.
    pub fn content_info(self, content_type: &str, content: &[u8]) -> Vec<u8> {
        self.sequence(&[&oid(content_type), &self.explicit(content)])
    }

    pub fn data(self, content: &[u8]) -> Vec<u8> {
        self.content_info(DATA, &self.octets(content))
    }

    pub fn bag(self, id: &str, value: &[u8], attributes: &[Vec<u8>]) -> Vec<u8> {
        let attributes = if attributes.is_empty() { Vec::new() } else { self.holder(SET, &[&attributes.concat()]) };
        self.sequence(&[&oid(id), &self.explicit(value), &attributes])
    }

    pub fn attribute(self, id: &str, values: &[&[u8]]) -> Vec<u8> {
        self.sequence(&[&oid(id), &self.holder(SET, values)])
    }

    pub fn certificate_bag(self, certificate: &[u8], attributes: &[Vec<u8>]) -> Vec<u8> {
        let value = self.sequence(&[&oid(X509_CERTIFICATE), &self.explicit(&self.octets(certificate))]);
        self.bag(CERT_BAG, &value, attributes)
    }

    /// A PFX around an authSafe ContentInfo and, if there is any, a MacData.
    pub fn pfx(self, auth_safe: &[u8], mac_data: &[u8]) -> Vec<u8> {
        self.sequence(&[&integer(3), auth_safe, mac_data])
    }

    /// A PFX without MAC around safes.
    pub fn unauthenticated(self, safes: &[Vec<u8>]) -> Vec<u8> {
        self.pfx(&self.data(&self.sequence(&[&safes.concat()])), &[])
    }

    /// The `AlgorithmIdentifier` of an object identifier and the encoding of its parameters.
    pub fn algorithm(self, id: &str, parameters: &[u8]) -> Vec<u8> {
        self.sequence(&[&oid(id), parameters])
    }

    /// A safe of type encryptedData.
    pub fn encrypted_safe(self, algorithm: &[u8], ciphertext: &[u8]) -> Vec<u8> {
        let info = self.sequence(&[&oid(DATA), algorithm, &self.string(0x80, ciphertext)]);
        self.content_info(ENCRYPTED_DATA, &self.sequence(&[&integer(0), &info]))
    }
}

pub fn integer(value: u64) -> Vec<u8> {
    let octets = value.to_be_bytes();
    let skip = octets.iter().take_while(|octet| **octet == 0).count().min(7);
    let pad: &[u8] = if octets[skip] & 0x80 != 0 { &[0] } else { &[] };
    tlv(INTEGER, &[pad, &octets[skip..]])
}

pub fn null() -> Vec<u8> {
    vec![5, 0]
}

pub fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u64> = dotted.split('.').map(|arc| arc.parse().expect("a number")).collect();
    let mut content = Vec::new();
    for arc in core::iter::once(arcs[0] * 40 + arcs[1]).chain(arcs[2..].iter().copied()) {
        let groups = (64 - arc.leading_zeros()).div_ceil(7).max(1);
        content.extend((0..groups).rev().map(|group| (arc >> (7 * group)) as u8 & 0x7f | if group == 0 { 0 } else { 0x80 }));
    }
    tlv(OID, &[&content])
}
