//! The attributes of bags.

use super::contents::PfxAttribute;
use super::contents::{PfxCertificate, PfxKey, PfxOther};
use super::error::PfxError;
use crate::codec::der::{Reader, Rules, Tag, Tlv, single};
use crate::codec::pkcs12::{Attribute, oid};
use crate::codec::x509::extensions::decode_key_usage;
use crate::limits::{Budget, Limits};
use crate::terms::KeyUsage;

/// The attributes of a bag. What is odd in them never costs the key or certificate that they describe.
#[derive(Default)]
pub(super) struct Attributes {
    pub(super) friendly_name: Option<String>,
    pub(super) local_key_id: Option<Vec<u8>>,
    pub(super) all: Vec<PfxAttribute>,
}

impl Attributes {
    pub(super) fn read(attributes: &[Attribute<'_>], budget: &mut Budget) -> Result<Self, PfxError> {
        let mut read = Self::default();
        for attribute in attributes {
            if let Some(value) = attribute.values.first() {
                match attribute.id.as_str() {
                    oid::FRIENDLY_NAME if read.friendly_name.is_none() => read.friendly_name = text(value, budget),
                    oid::LOCAL_KEY_ID if read.local_key_id.is_none() => {
                        let is_octets = value.tag() == Tag::OCTET_STRING;
                        let id = if is_octets { value.octets(budget)?.into_owned() } else { value.content().to_vec() };
                        read.local_key_id = Some(id);
                    }
                    _ => {}
                }
            }
            read.all.push(PfxAttribute {
                name: oid::name(&attribute.id),
                oid: attribute.id.clone(),
                values: attribute.values.iter().map(|value| value.raw().to_vec()).collect(),
            });
        }
        Ok(read)
    }
}

/// A friendlyName: BMPString by the standard, other string types in real files. Broken UTF-16 is shown with replacement characters.
fn text(value: &Tlv<'_>, budget: &mut Budget) -> Option<String> {
    let octets = value.octets(budget).ok()?;
    match value.tag() {
        Tag::BMP_STRING => {
            let units = octets.chunks_exact(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
            let text = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect::<String>();
            // Some writers count a terminating zero in.
            Some(text.trim_end_matches('\0').to_owned())
        }
        Tag::UTF8_STRING | Tag::PRINTABLE_STRING | Tag::IA5_STRING | Tag::VISIBLE_STRING => {
            Some(String::from_utf8_lossy(&octets).into_owned())
        }
        Tag::TELETEX_STRING => Some(octets.iter().map(|byte| char::from(*byte)).collect()),
        _ => None,
    }
}

fn first_value<'a>(attributes: &'a [PfxAttribute], wanted: &str) -> Option<&'a [u8]> {
    attributes.iter().find(|attribute| attribute.oid == wanted)?.values.first().map(Vec::as_slice)
}

fn csp_name(attributes: &[PfxAttribute]) -> Option<String> {
    let mut budget = Budget::new(&Limits::default());
    let value = single(first_value(attributes, oid::MS_CSP_NAME)?, Rules::Ber, &mut budget).ok()?;
    text(&value, &mut budget)
}

fn is_local_machine(attributes: &[PfxAttribute]) -> bool {
    attributes.iter().any(|attribute| attribute.oid == oid::MS_LOCAL_KEYSET)
}

fn key_usage(attributes: &[PfxAttribute]) -> Option<KeyUsage> {
    let mut budget = Budget::new(&Limits::default());
    decode_key_usage(first_value(attributes, oid::KEY_USAGE)?, &mut budget).ok()
}

/// The key usage among the attributes of a PKCS#8 structure (RFC 5958 section 2), where Windows puts it.
fn pkcs8_key_usage(pkcs8: &[u8]) -> Option<KeyUsage> {
    let mut budget = Budget::new(&Limits::default());
    let mut fields = Reader::new(pkcs8, Rules::Ber).sequence(&mut budget).ok()?;
    fields.expect(Tag::INTEGER, &mut budget).ok()?;
    fields.expect(Tag::SEQUENCE, &mut budget).ok()?;
    fields.expect(Tag::OCTET_STRING, &mut budget).ok()?;
    let mut attributes = fields.expect(Tag::context(0), &mut budget).ok()?.inner().ok()?;
    while !attributes.is_empty() {
        let mut attribute = attributes.sequence(&mut budget).ok()?;
        let id = attribute.expect(Tag::OID, &mut budget).ok()?.dotted_oid().ok()?;
        if id == oid::KEY_USAGE {
            let value = attribute.set(&mut budget).ok()?.any(&mut budget).ok()?;
            return decode_key_usage(value.raw(), &mut budget).ok();
        }
    }
    None
}

/// The purposes in the values of the attribute: one object identifier in each, or a SEQUENCE of them.
fn java_trusted_key_usage(attributes: &[PfxAttribute]) -> Option<Vec<String>> {
    let attribute = attributes.iter().find(|attribute| attribute.oid == oid::JAVA_TRUSTED_KEY_USAGE)?;
    let mut budget = Budget::new(&Limits::default());
    let mut purposes = Vec::new();
    for value in &attribute.values {
        let Ok(value) = single(value, Rules::Ber, &mut budget) else { continue };
        if value.tag() == Tag::OID {
            purposes.extend(value.dotted_oid());
        } else if let Ok(mut inner) = value.inner() {
            while let Ok(purpose) = inner.any(&mut budget) {
                purposes.extend(purpose.dotted_oid());
            }
        }
    }
    Some(purposes)
}

impl PfxKey {
    /// The Windows provider that the key came from and goes to (1.3.6.1.4.1.311.17.1).
    #[must_use]
    pub fn csp_name(&self) -> Option<String> {
        csp_name(&self.attributes)
    }

    /// Whether Windows stores the key for the machine and not for the user (1.3.6.1.4.1.311.17.2).
    #[must_use]
    pub fn is_local_machine(&self) -> bool {
        is_local_machine(&self.attributes)
    }

    /// What the key may be used for (2.5.29.15), by the attribute of the bag or of the PKCS#8 structure, where Windows puts it.
    #[must_use]
    pub fn key_usage(&self) -> Option<KeyUsage> {
        key_usage(&self.attributes).or_else(|| pkcs8_key_usage(self.key.secret_pkcs8_der()))
    }
}

impl PfxCertificate {
    /// The Windows provider of the certificate's key (1.3.6.1.4.1.311.17.1), which some writers put here as well.
    #[must_use]
    pub fn csp_name(&self) -> Option<String> {
        csp_name(&self.attributes)
    }

    /// For which purposes Java trusts the certificate (2.16.840.1.113894.746875.1.1), as dotted object identifiers; `2.5.29.37.0` is any.
    /// `None` when Java does not take it for a trusted certificate.
    #[must_use]
    pub fn java_trusted_key_usage(&self) -> Option<Vec<String>> {
        java_trusted_key_usage(&self.attributes)
    }
}

impl PfxOther {
    /// The Windows provider (1.3.6.1.4.1.311.17.1).
    #[must_use]
    pub fn csp_name(&self) -> Option<String> {
        csp_name(&self.attributes)
    }
}

#[cfg(all(test, feature = "ring", feature = "aws-lc-rs", feature = "legacy-ciphers"))]
mod tests {
    use crate::codec::der::write;
    use crate::codec::pkcs12::{der, oid};
    use crate::message::pfx::tests::{Sample, bag, certificate_bag, open, without_mac};

    fn set(attributes: &[(&str, &[u8])]) -> Vec<u8> {
        der::set_of(attributes.iter().map(|(id, value)| der::sequence(&[&der::oid(id), &der::tlv(write::SET, &[value])])).collect())
    }

    #[test]
    fn what_microsoft_and_java_say_of_a_key_and_a_certificate_is_read_and_kept() {
        let sample = Sample::new();
        let usage = write::named_bits(&[true, false, true]);
        let csp = der::tlv(write::BMP_STRING, &[&[0, b'K', 0, b'S', 0, b'P']]);
        let on_key = set(&[(oid::MS_CSP_NAME, &csp), (oid::MS_LOCAL_KEYSET, &[]), (oid::KEY_USAGE, &usage), ("1.2.3", &[5, 0])]);
        let on_certificate = set(&[(oid::JAVA_TRUSTED_KEY_USAGE, &der::oid("2.5.29.37.0"))]);
        let bags = [bag(oid::KEY_BAG, sample.key.secret_pkcs8_der(), &on_key), certificate_bag(&sample.chain[0], &on_certificate)].concat();
        let opened = open(&without_mac(&[&der::sequence(&[&bags])]), "").unwrap();
        let (key, certificate) = (&opened.contents().keys[0], &opened.contents().certificates[0]);
        assert_eq!(key.csp_name().as_deref(), Some("KSP"));
        assert!(key.is_local_machine());
        let read = key.key_usage().unwrap();
        assert!(read.digital_signature && read.key_encipherment && !read.key_cert_sign);
        assert_eq!(key.attributes.len(), 4, "unknown ones are kept");
        assert_eq!(certificate.java_trusted_key_usage(), Some(vec!["2.5.29.37.0".to_owned()]));
        assert_eq!((certificate.csp_name(), certificate.friendly_name.as_deref()), (None, None));
    }

    #[test]
    fn the_key_usage_that_windows_puts_into_the_private_key_is_found() {
        let sample = Sample::new();
        let usage = der::sequence(&[&der::oid(oid::KEY_USAGE), &der::tlv(write::SET, &[&[3, 2, 0, 0x10]])]);
        let pkcs8 = sample.key.secret_pkcs8_der();
        // An EC key of this crate's provider has no attributes yet; they follow the private key (RFC 5958 section 2).
        let mut budget = crate::limits::Budget::new(&crate::limits::Limits::default());
        let mut fields = crate::codec::der::Reader::new(pkcs8, crate::codec::der::Rules::Der).sequence(&mut budget).unwrap();
        let parts: Vec<&[u8]> = (0..3).map(|_| fields.any(&mut budget).unwrap().raw()).collect();
        let with_usage = der::sequence(&[parts[0], parts[1], parts[2], &der::tlv(0xa0, &[&usage])]);
        let opened = open(&without_mac(&[&der::sequence(&[&bag(oid::KEY_BAG, &with_usage, &[])])]), "").unwrap();
        assert!(opened.contents().keys[0].key_usage().unwrap().data_encipherment);
    }
}
