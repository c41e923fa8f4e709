//! DER, PFX files and CMS messages assembled from parts, so that each part can be wrong.

use intune_connector::crypto::{CryptoProvider, DigestAlgorithm, pkcs12_kdf};
use intune_connector::limits::Limits;
use intune_connector::message::pfx::{self, OpenedPfx, PfxError};
use intune_connector::secret::Password;

pub const PASSWORD: &str = "Secret-123";
const SALT: [u8; 8] = [7; 8];

pub const DATA: &str = "1.2.840.113549.1.7.1";
pub const SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
pub const ENVELOPED_DATA: &str = "1.2.840.113549.1.7.3";
pub const ENCRYPTED_DATA: &str = "1.2.840.113549.1.7.6";
pub const CERT_BAG: &str = "1.2.840.113549.1.12.10.1.3";
pub const SAFE_CONTENTS_BAG: &str = "1.2.840.113549.1.12.10.1.6";
pub const FRIENDLY_NAME: &str = "1.2.840.113549.1.9.20";
pub const LOCAL_KEY_ID: &str = "1.2.840.113549.1.9.21";
pub const SHA256: &str = "2.16.840.1.101.3.4.2.1";

/// Tag, length, value.
pub fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    let mut out = vec![tag];
    match value.len() {
        len @ 0..=0x7f => out.push(len as u8),
        len @ 0x80..=0xff => out.extend([0x81, len as u8]),
        len @ 0x100..=0xffff => out.extend([0x82, (len >> 8) as u8, len as u8]),
        len => out.extend([0x83, (len >> 16) as u8, (len >> 8) as u8, len as u8]),
    }
    out.extend(value);
    out
}

pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, parts)
}

pub fn integer(octets: &[u8]) -> Vec<u8> {
    tlv(2, &[octets])
}

pub fn oid(text: &str) -> Vec<u8> {
    let arcs: Vec<u64> = text.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut value = Vec::new();
    for arc in core::iter::once(arcs[0] * 40 + arcs[1]).chain(arcs[2..].iter().copied()) {
        let groups = (1..10).find(|groups| arc >> (7 * groups) == 0).unwrap();
        for group in (0..groups).rev() {
            value.push((arc >> (7 * group)) as u8 & 0x7f | if group == 0 { 0 } else { 0x80 });
        }
    }
    tlv(6, &[&value])
}

pub fn algorithm(text: &str, parameters: &[u8]) -> Vec<u8> {
    sequence(&[&oid(text), parameters])
}

/// `ContentInfo`, without content when `content` is empty.
pub fn content_info(kind: &str, content: &[u8]) -> Vec<u8> {
    let explicit = if content.is_empty() { Vec::new() } else { tlv(0xa0, &[content]) };
    sequence(&[&oid(kind), &explicit])
}

pub fn attribute(kind: &str, values: &[&[u8]]) -> Vec<u8> {
    sequence(&[&oid(kind), &tlv(0x31, values)])
}

/// A certBag with these attributes.
pub fn cert_bag(certificate: &[u8], attributes: &[&[u8]]) -> Vec<u8> {
    let value = sequence(&[&oid("1.2.840.113549.1.9.22.1"), &tlv(0xa0, &[&tlv(4, &[certificate])])]);
    let set = if attributes.is_empty() { Vec::new() } else { tlv(0x31, attributes) };
    sequence(&[&oid(CERT_BAG), &tlv(0xa0, &[&value]), &set])
}

/// A safe in clear with these bags.
pub fn safe(bags: &[&[u8]]) -> Vec<u8> {
    content_info(DATA, &tlv(4, &[&sequence(bags)]))
}

/// An encrypted safe.
pub fn encrypted_safe(scheme: &[u8], ciphertext: Option<&[u8]>) -> Vec<u8> {
    let content = ciphertext.map(|octets| tlv(0x80, &[octets])).unwrap_or_default();
    let encrypted = sequence(&[&integer(&[0]), &sequence(&[&oid(DATA), scheme, &content])]);
    content_info(ENCRYPTED_DATA, &encrypted)
}

/// PBES2 with PBKDF2-HMAC-SHA-256 of these iterations, and AES-256-CBC.
pub fn pbes2(iterations: &[u8]) -> Vec<u8> {
    let kdf = sequence(&[&tlv(4, &[&SALT]), &integer(iterations), &algorithm("1.2.840.113549.2.9", &[5, 0])]);
    let cipher = algorithm("2.16.840.1.101.3.4.1.42", &tlv(4, &[&[1; 16]]));
    algorithm("1.2.840.113549.1.5.13", &sequence(&[&algorithm("1.2.840.113549.1.5.12", &kdf), &cipher]))
}

/// A PFX of version 3 around `AuthenticatedSafe` DER.
pub fn pfx(auth_safe: &[u8], mac_data: &[u8]) -> Vec<u8> {
    sequence(&[&integer(&[3]), &content_info(DATA, &tlv(4, &[auth_safe])), mac_data])
}

/// A PFX with these safes and a good MAC.
pub fn pfx_of(safes: &[&[u8]]) -> Vec<u8> {
    let auth_safe = sequence(safes);
    let mac = mac(&auth_safe, 1);
    pfx(&auth_safe, &mac_data(&mac, &integer(&[1])))
}

/// The HMAC-SHA-256 by the PKCS#12 derivation.
pub fn mac(auth_safe: &[u8], iterations: u32) -> Vec<u8> {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let password: Vec<u8> = PASSWORD.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect();
    let mut key = [0; 32];
    pkcs12_kdf(provider.digest().unwrap(), DigestAlgorithm::Sha256, &password, &SALT, 3, iterations, &mut key).unwrap();
    provider.hmac().unwrap().hmac(DigestAlgorithm::Sha256, &key, &[auth_safe]).unwrap().as_ref().to_vec()
}

/// `MacData` with a value and encoded iterations, which may be missing.
pub fn mac_data(mac: &[u8], iterations: &[u8]) -> Vec<u8> {
    let info = sequence(&[&algorithm(SHA256, &[5, 0]), &tlv(4, &[mac])]);
    sequence(&[&info, &tlv(4, &[&SALT]), iterations])
}

/// A PFX with PBMAC1: HMAC-SHA-256 under a PBKDF2 key of `key_len` bytes, which is truly used when it is possible.
pub fn pfx_pbmac1(auth_safe: &[u8], key_len: usize, encoded_key_len: &[u8], edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let mut key = vec![0; key_len];
    provider.pbkdf2().unwrap().derive(DigestAlgorithm::Sha256, PASSWORD.as_bytes(), &SALT, 1000, &mut key).unwrap();
    let mut mac = provider.hmac().unwrap().hmac(DigestAlgorithm::Sha256, &key, &[auth_safe]).unwrap().as_ref().to_vec();
    edit(&mut mac);
    let hmac = algorithm("1.2.840.113549.2.9", &[5, 0]);
    let kdf = sequence(&[&tlv(4, &[&SALT]), &integer(&[3, 0xe8]), encoded_key_len, &hmac]);
    let parameters = sequence(&[&algorithm("1.2.840.113549.1.5.12", &kdf), &hmac]);
    let info = sequence(&[&algorithm("1.2.840.113549.1.5.14", &parameters), &tlv(4, &[&mac])]);
    pfx(auth_safe, &sequence(&[&info, &tlv(4, &[b"NOT USED"]), &integer(&[1])]))
}

pub fn open(der: &[u8]) -> Result<OpenedPfx, PfxError> {
    open_under(der, &Limits::default())
}

pub fn open_under(der: &[u8], limits: &Limits) -> Result<OpenedPfx, PfxError> {
    let password = Password::from(PASSWORD);
    pfx::open(der, &password, &CryptoProvider::ring_and_aws_lc_rs(), limits)
}
