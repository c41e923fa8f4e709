//! A certificate plan, and the terms in it, as fields of a record. The numbers never change: old rows must be read.

use super::record::{RecordReader, RecordWriter};
use crate::ids::CaName;
use crate::ports::CertificatePlan;
use crate::terms::{KeyAlgorithm, KeyUsage, SubjectAltName};
use crate::time::Timestamp;

mod field {
    pub(super) const SUBJECT: u8 = 20;
    pub(super) const NAME: u8 = 21;
    pub(super) const KEY_USAGE: u8 = 22;
    pub(super) const PURPOSE: u8 = 23;
    pub(super) const SID: u8 = 24;
    pub(super) const NOT_AFTER: u8 = 25;
    pub(super) const TEMPLATE: u8 = 26;
    pub(super) const KEY: u8 = 27;
}

/// In the order of their numbers in rows.
const KEYS: [KeyAlgorithm; 5] =
    [KeyAlgorithm::Rsa2048, KeyAlgorithm::Rsa3072, KeyAlgorithm::Rsa4096, KeyAlgorithm::EcP256, KeyAlgorithm::EcP384];

/// The number of a key algorithm.
pub(crate) fn key_number(key: KeyAlgorithm) -> u8 {
    KEYS.iter().position(|known| *known == key).map_or(u8::MAX, |at| at as u8)
}

/// The key algorithm of a number.
pub(crate) fn key_of(number: u8) -> Option<KeyAlgorithm> {
    KEYS.get(usize::from(number)).copied()
}

/// A name with its kind.
pub(crate) fn name_bytes(name: &SubjectAltName) -> Vec<u8> {
    let (kind, text) = match name {
        SubjectAltName::Upn(text) => (0, text.clone()),
        SubjectAltName::Email(text) => (1, text.clone()),
        SubjectAltName::Dns(text) => (2, text.clone()),
        SubjectAltName::Uri(text) => (3, text.clone()),
        SubjectAltName::Ip(ip) => (4, ip.to_string()),
    };
    [&[kind], text.as_bytes()].concat()
}

/// The name from its bytes.
pub(crate) fn name_of(value: &[u8]) -> Option<SubjectAltName> {
    let (kind, name) = value.split_first()?;
    let name = core::str::from_utf8(name).ok()?.to_owned();
    Some(match kind {
        0 => SubjectAltName::Upn(name),
        1 => SubjectAltName::Email(name),
        2 => SubjectAltName::Dns(name),
        3 => SubjectAltName::Uri(name),
        4 => SubjectAltName::Ip(name.parse().ok()?),
        _ => return None,
    })
}

/// Adds a plan, without its CA.
pub(crate) fn encode(writer: &mut RecordWriter, plan: &CertificatePlan) {
    let usage = plan.key_usage;
    let bits = [
        usage.digital_signature,
        usage.content_commitment,
        usage.key_encipherment,
        usage.data_encipherment,
        usage.key_agreement,
        usage.key_cert_sign,
        usage.crl_sign,
    ];
    writer
        .field(field::SUBJECT, &plan.subject)
        .field(field::KEY_USAGE, &bits.map(u8::from))
        .field(field::KEY, &[key_number(plan.key)])
        .field(field::NOT_AFTER, &plan.not_after.as_micros().to_be_bytes())
        .optional(field::TEMPLATE, plan.template.as_ref().map(|template| template.as_str().as_bytes()))
        .optional(field::SID, plan.sid_extension.as_ref().map(ToString::to_string).as_deref().map(str::as_bytes));
    for name in &plan.subject_alt_names {
        writer.field(field::NAME, &name_bytes(name));
    }
    for purpose in &plan.extended_key_usage {
        writer.field(field::PURPOSE, purpose.as_str().as_bytes());
    }
}

/// The plan in a record, for that CA; absent when it is not whole.
pub(crate) fn decode(reader: &RecordReader, ca: CaName) -> Option<CertificatePlan> {
    let key = reader.get(field::KEY)?.first().copied().and_then(key_of)?;
    let not_after = Timestamp::from_micros(reader.integer(field::NOT_AFTER)?);
    let mut plan = CertificatePlan::new(ca, reader.get(field::SUBJECT)?.to_vec(), key, not_after);
    let &[digital_signature, content_commitment, key_encipherment, data_encipherment, key_agreement, key_cert_sign, crl_sign] =
        reader.get(field::KEY_USAGE)?
    else {
        return None;
    };
    plan.key_usage = KeyUsage {
        digital_signature: digital_signature == 1,
        content_commitment: content_commitment == 1,
        key_encipherment: key_encipherment == 1,
        data_encipherment: data_encipherment == 1,
        key_agreement: key_agreement == 1,
        key_cert_sign: key_cert_sign == 1,
        crl_sign: crl_sign == 1,
    };
    for (number, value) in reader.fields() {
        let text = || core::str::from_utf8(value).ok();
        match number {
            field::TEMPLATE => plan.template = Some(text()?.parse().ok()?),
            field::SID => plan.sid_extension = Some(text()?.parse().ok()?),
            field::PURPOSE => plan.extended_key_usage.push(text()?.parse().ok()?),
            field::NAME => plan.subject_alt_names.push(name_of(value)?),
            _ => {}
        }
    }
    Some(plan)
}
