//! Attributes of bags (RFC 7292 section 4.2 and what Microsoft and Java add), as DER.

use crate::codec::der::normalised;
use crate::codec::der::write::{BMP_STRING, OID};
use crate::codec::pkcs12::{ber, der, oid};
use crate::message::pfx::build::Kept;
use crate::message::pfx::contents::PfxAttribute;
use crate::message::pfx::error::PfxError;
use crate::message::pfx::password;

const NAME_EMPTY: &str = "a friendly name or CSP name is empty or holds control characters";
const NAME_BEYOND_BMP: &str = "a friendly name or CSP name holds a character beyond the basic multilingual plane, such as an emoji";

/// The attributes of one bag.
#[derive(Default)]
pub(super) struct Attributes {
    encoded: Vec<Vec<u8>>,
    /// Whether a name was given, written or not.
    is_named: bool,
}

impl Attributes {
    pub(super) fn local_key_id(&mut self, id: &[u8]) {
        self.add(oid::LOCAL_KEY_ID, &der::octet_string(id));
    }

    pub(super) fn friendly_name(&mut self, name: &str) -> Result<(), PfxError> {
        self.add(oid::FRIENDLY_NAME, &bmp_string(name)?);
        self.is_named = true;
        Ok(())
    }

    pub(super) fn csp_name(&mut self, name: &str) -> Result<(), PfxError> {
        self.add(oid::MS_CSP_NAME, &bmp_string(name)?);
        Ok(())
    }

    /// Its presence says it: the attribute has no value.
    pub(super) fn local_machine(&mut self) {
        self.add(oid::MS_LOCAL_KEYSET, &[]);
    }

    /// `anyExtendedKeyUsage`: what keytool writes for a trusted certificate and go-pkcs12 for trust stores.
    pub(super) fn java_trusted_for_any_purpose(&mut self) {
        const ANY_EXTENDED_KEY_USAGE: &str = "2.5.29.37.0";
        self.add(oid::JAVA_TRUSTED_KEY_USAGE, &der::oid(ANY_EXTENDED_KEY_USAGE));
    }

    /// The attributes of a bag that was read and whose name was given before, without those that this writer decides (`set`) and those that it sets anew in any case.
    pub(super) fn kept(&mut self, attributes: &[PfxAttribute], set: &[&str], kept: &mut Kept) {
        for attribute in attributes {
            let dotted = attribute.oid.as_str();
            let is_name = dotted == oid::FRIENDLY_NAME;
            if dotted == oid::LOCAL_KEY_ID || set.contains(&dotted) || (is_name && self.is_named) {
                continue;
            }
            if is_name {
                // It is of a type that says no name.
                kept.left_out_attribute(dotted);
                continue;
            }
            let values = attribute.values.iter().map(|value| normalised(value)).collect::<Option<Vec<_>>>();
            match (oid::encoded(dotted), values) {
                (Some(id), Some(values)) => {
                    let values = der::set_of(values.iter().map(|value| value.to_vec()).collect());
                    self.encoded.push(der::sequence(&[&der::tlv(OID, &[&id]), &values]));
                }
                _ => kept.left_out_attribute(dotted),
            }
        }
    }

    /// The name of a bag that was read, where it can be written.
    pub(super) fn kept_name(&mut self, name: &str, kept: &mut Kept) {
        self.is_named = true;
        match bmp_string(name) {
            Ok(value) => self.add(oid::FRIENDLY_NAME, &value),
            Err(_) if name.is_empty() => {}
            Err(_) => kept.left_out_name(name),
        }
    }

    /// `bagAttributes SET OF PKCS12Attribute OPTIONAL`: nothing when there is none.
    pub(super) fn encode(self) -> Vec<u8> {
        if self.encoded.is_empty() { Vec::new() } else { der::set_of(self.encoded) }
    }

    /// A `PKCS12Attribute` with one value, or, when `value` is empty, none.
    fn add(&mut self, id: &str, value: &[u8]) {
        self.encoded.push(der::sequence(&[&der::oid(id), &der::tlv(ber::SET, &[value])]));
    }
}

/// A name as BMPString: surrogate pairs would fit in it, but OpenSSL refuses them and the type does not define them.
fn bmp_string(name: &str) -> Result<Vec<u8>, PfxError> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(PfxError::InvalidInput(NAME_EMPTY));
    }
    if name.chars().any(|character| u32::from(character) > 0xffff) {
        return Err(PfxError::InvalidInput(NAME_BEYOND_BMP));
    }
    Ok(der::tlv(BMP_STRING, &[&password::bmp(name, false)]))
}
