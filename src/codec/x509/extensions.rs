//! The values of the extensions that this crate understands (RFC 5280 section 4.2, MS-WCCE section 2.2.2.7.7).

use core::net::IpAddr;

use rasn_pkix as pkix;

use crate::codec::der::{DerError, Rules, Tag, Tlv, single, write};
use crate::codec::x509::string;
use crate::ids::{Oid, Sid};
use crate::limits::Budget;
use crate::terms::{KeyUsage, SubjectAltName, oids};

/// id-ce-subjectKeyIdentifier
pub const SUBJECT_KEY_IDENTIFIER: &str = "2.5.29.14";
/// id-ce-keyUsage
pub const KEY_USAGE: &str = "2.5.29.15";
/// id-ce-subjectAltName
pub const SUBJECT_ALT_NAME: &str = "2.5.29.17";
/// id-ce-basicConstraints
pub const BASIC_CONSTRAINTS: &str = "2.5.29.19";
/// id-ce-cRLNumber
pub const CRL_NUMBER: &str = "2.5.29.20";
/// id-ce-cRLReasons
pub const CRL_REASON: &str = "2.5.29.21";
/// id-ce-nameConstraints
pub const NAME_CONSTRAINTS: &str = "2.5.29.30";
/// id-ce-cRLDistributionPoints
pub const CRL_DISTRIBUTION_POINTS: &str = "2.5.29.31";
/// id-ce-authorityKeyIdentifier
pub const AUTHORITY_KEY_IDENTIFIER: &str = "2.5.29.35";
/// id-ce-extKeyUsage
pub const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
/// szOID_APPLICATION_CERT_POLICIES: Windows reads usages there as well as in extKeyUsage.
pub const APPLICATION_POLICIES: &str = "1.3.6.1.4.1.311.21.10";
/// szOID_ENROLL_CERTTYPE_EXTENSION: the template's name, a BMPString.
pub const TEMPLATE_NAME: &str = "1.3.6.1.4.1.311.20.2";

/// Reads keyUsage.
///
/// # Errors
/// When it is not a BIT STRING.
pub fn decode_key_usage(value: &[u8], budget: &mut Budget) -> Result<KeyUsage, DerError> {
    let value = single(value, Rules::Ber, budget)?;
    if value.tag() != Tag::BIT_STRING {
        return Err(value.error("keyUsage is not a BIT STRING"));
    }
    let first = value.bit_string()?.1.first().copied().unwrap_or(0);
    let bit = |index: u8| first & (0x80 >> index) != 0;
    Ok(KeyUsage {
        digital_signature: bit(0),
        content_commitment: bit(1),
        key_encipherment: bit(2),
        data_encipherment: bit(3),
        key_agreement: bit(4),
        key_cert_sign: bit(5),
        crl_sign: bit(6),
    })
}

/// Writes keyUsage.
#[must_use]
pub fn encode_key_usage(usage: KeyUsage) -> Vec<u8> {
    write::named_bits(&[
        usage.digital_signature,
        usage.content_commitment,
        usage.key_encipherment,
        usage.data_encipherment,
        usage.key_agreement,
        usage.key_cert_sign,
        usage.crl_sign,
    ])
}

/// Reads extKeyUsage: the purposes, and whether there are others, with arcs over 32 bits.
///
/// # Errors
/// When it is not a SEQUENCE OF OBJECT IDENTIFIER.
pub fn decode_extended_key_usage(value: &[u8], budget: &mut Budget) -> Result<(Vec<Oid>, bool), DerError> {
    let mut purposes = single(value, Rules::Ber, budget)?.inner()?;
    let (mut out, mut unknown) = (Vec::new(), false);
    while !purposes.is_empty() {
        match purposes.expect(Tag::OID, budget)?.oid()? {
            Some(purpose) => out.push(purpose),
            None => unknown = true,
        }
    }
    Ok((out, unknown))
}

/// Reads the policies of Microsoft's application policies extension: `SEQUENCE OF SEQUENCE { OBJECT IDENTIFIER, ... }` (MS-WCCE section
/// 2.2.2.7.7.3). Its other parts are left out, and whether there are policies with arcs over 32 bits is told.
///
/// # Errors
/// When it is malformed.
pub fn decode_application_policies(value: &[u8], budget: &mut Budget) -> Result<(Vec<Oid>, bool), DerError> {
    let mut policies = single(value, Rules::Ber, budget)?.inner()?;
    let (mut out, mut unknown) = (Vec::new(), false);
    while !policies.is_empty() {
        match policies.expect(Tag::SEQUENCE, budget)?.inner()?.expect(Tag::OID, budget)?.oid()? {
            Some(policy) => out.push(policy),
            None => unknown = true,
        }
    }
    Ok((out, unknown))
}

/// Writes extKeyUsage.
#[must_use]
pub fn encode_extended_key_usage(purposes: &[Oid]) -> Vec<u8> {
    write::sequence_of(&purposes.iter().map(write::oid).collect::<Vec<_>>())
}

/// Reads basicConstraints: whether it is a CA, and its path length.
///
/// # Errors
/// When it is malformed.
pub fn decode_basic_constraints(value: &[u8]) -> Result<(bool, Option<u64>), &'static str> {
    const WRONG: &str = "basicConstraints is malformed";
    let (constraints, rest) = rasn::ber::decode_with_remainder::<pkix::BasicConstraints>(value).map_err(|_| WRONG)?;
    if !rest.is_empty() {
        return Err(WRONG);
    }
    let path_len = constraints.path_len_constraint.map(|length| u64::try_from(length).map_err(|_| WRONG)).transpose()?;
    Ok((constraints.ca, path_len))
}

/// Writes basicConstraints.
#[must_use]
pub fn encode_basic_constraints(ca: bool, path_len: Option<u8>) -> Vec<u8> {
    let ca = if ca { write::boolean(true) } else { Vec::new() };
    let path_len = path_len.map(|length| write::unsigned(u64::from(length))).unwrap_or_default();
    write::sequence(&[&ca, &path_len])
}

/// Reads subjectKeyIdentifier; `None` when it is malformed.
#[must_use]
pub fn decode_subject_key_identifier(value: &[u8]) -> Option<Vec<u8>> {
    match rasn::ber::decode_with_remainder::<pkix::SubjectKeyIdentifier>(value) {
        Ok((identifier, [])) => Some(identifier.to_vec()),
        _ => None,
    }
}

/// Reads the keyIdentifier of authorityKeyIdentifier; `None` when it is malformed or absent.
#[must_use]
pub fn decode_authority_key_identifier(value: &[u8]) -> Option<Vec<u8>> {
    match rasn::ber::decode_with_remainder::<pkix::AuthorityKeyIdentifier>(value) {
        Ok((identifier, [])) => identifier.key_identifier.map(|octets| octets.to_vec()),
        _ => None,
    }
}

/// Writes authorityKeyIdentifier with a keyIdentifier.
#[must_use]
pub fn encode_authority_key_identifier(identifier: &[u8]) -> Vec<u8> {
    write::sequence(&[&write::context_primitive(0, identifier)])
}

/// Reads subjectAltName: the names of known forms, and whether there are others.
///
/// # Errors
/// When it is not a SEQUENCE of tagged values. A known form with malformed content counts as unknown.
pub fn decode_subject_alt_names(value: &[u8], budget: &mut Budget) -> Result<(Vec<SubjectAltName>, bool), DerError> {
    let value = single(value, Rules::Ber, budget)?;
    if value.tag() != Tag::SEQUENCE {
        return Err(value.error("subjectAltName is not a SEQUENCE"));
    }
    let mut inner = value.inner()?;
    let (mut names, mut unknown) = (Vec::new(), false);
    while !inner.is_empty() {
        let name = inner.any(budget)?;
        if !name.tag().is_context() {
            return Err(name.error("a GeneralName has no context tag"));
        }
        match decode_general_name(&name, budget) {
            Some(name) => names.push(name),
            None => unknown = true,
        }
    }
    Ok((names, unknown))
}

fn decode_general_name(name: &Tlv<'_>, budget: &mut Budget) -> Option<SubjectAltName> {
    let ascii = |name: &Tlv<'_>| {
        let octets = name.primitive().ok()?;
        core::str::from_utf8(octets).ok().filter(|text| text.is_ascii()).map(str::to_owned)
    };
    match name.tag().number() {
        0 => {
            let (oid, value) = decode_other_name(name, budget).ok()?;
            let text = (oid?.as_str() == oids::UPN).then(|| string::decode(&value, budget))?;
            text.map(SubjectAltName::Upn)
        }
        1 => ascii(name).map(SubjectAltName::Email),
        2 => ascii(name).map(SubjectAltName::Dns),
        6 => ascii(name).map(SubjectAltName::Uri),
        7 => match name.primitive().ok()? {
            octets if octets.len() == 4 => <[u8; 4]>::try_from(octets).ok().map(|octets| SubjectAltName::Ip(IpAddr::from(octets))),
            octets => <[u8; 16]>::try_from(octets).ok().map(|octets| SubjectAltName::Ip(IpAddr::from(octets))),
        },
        _ => None,
    }
}

/// `OtherName ::= SEQUENCE { type-id OBJECT IDENTIFIER, value [0] EXPLICIT ANY }` under an implicit tag.
fn decode_other_name<'a>(name: &Tlv<'a>, budget: &mut Budget) -> Result<(Option<Oid>, Tlv<'a>), DerError> {
    let mut inner = name.inner()?;
    let oid = inner.expect(Tag::OID, budget)?.oid()?;
    let value = inner.expect(Tag::context(0), budget)?.explicit(budget)?;
    inner.finish()?;
    Ok((oid, value))
}

fn encode_other_name(oid: &Oid, value: &[u8]) -> Vec<u8> {
    write::context(0, &[&write::oid(oid), &write::context(0, &[value])])
}

/// Writes subjectAltName.
///
/// # Errors
/// When a name is empty, or not ASCII where IA5String is demanded: internationalised domains must come in A-label form.
pub fn encode_subject_alt_names(names: &[SubjectAltName]) -> Result<Vec<u8>, &'static str> {
    let ia5 = |tag: u8, text: &str| match text {
        "" => Err("a subject alternative name is empty"),
        text if !text.is_ascii() => Err("an e-mail address, DNS name or URI is not ASCII"),
        text => Ok(write::context_primitive(tag, text.as_bytes())),
    };
    let names = names.iter().map(|name| match name {
        SubjectAltName::Upn(upn) if upn.is_empty() => Err("a user principal name is empty"),
        SubjectAltName::Upn(upn) => Ok(encode_other_name(&crate::terms::oid(oids::UPN), &write::utf8_string(upn))),
        SubjectAltName::Email(text) => ia5(1, text),
        SubjectAltName::Dns(text) => ia5(2, text),
        SubjectAltName::Uri(text) => ia5(6, text),
        SubjectAltName::Ip(IpAddr::V4(address)) => Ok(write::context_primitive(7, &address.octets())),
        SubjectAltName::Ip(IpAddr::V6(address)) => Ok(write::context_primitive(7, &address.octets())),
    });
    Ok(write::sequence_of(&names.collect::<Result<Vec<_>, _>>()?))
}

/// Reads the SID extension (MS-WCCE section 2.2.2.7.7.4), strictly: one otherName with one SID as text.
///
/// # Errors
/// When it is anything else.
pub fn decode_sid(value: &[u8], budget: &mut Budget) -> Result<Sid, DerError> {
    let outer = single(value, Rules::Der, budget)?;
    let wrong = || outer.error("the SID extension does not hold exactly one SID");
    let mut names = if outer.tag() == Tag::SEQUENCE { outer.inner()? } else { return Err(wrong()) };
    let (oid, value) = decode_other_name(&names.expect(Tag::context(0), budget)?, budget)?;
    names.finish()?;
    if oid.is_none_or(|oid| oid.as_str() != oids::SID_OTHER_NAME) || value.tag() != Tag::OCTET_STRING {
        return Err(wrong());
    }
    core::str::from_utf8(value.primitive()?).ok().and_then(|text| text.parse().ok()).ok_or_else(wrong)
}

/// Writes the SID extension.
#[must_use]
pub fn encode_sid(sid: &Sid) -> Vec<u8> {
    let text = write::octet_string(sid.to_string().as_bytes());
    write::sequence(&[&encode_other_name(&crate::terms::oid(oids::SID_OTHER_NAME), &text)])
}

/// Writes cRLDistributionPoints with one point and its URI.
///
/// # Errors
/// When the URI is empty or not ASCII.
pub fn encode_crl_distribution_point(uri: &str) -> Result<Vec<u8>, &'static str> {
    const WRONG: &str = "the URI of a CRL distribution point is empty or not ASCII";
    let uri = rasn::types::Ia5String::try_from(uri.to_owned()).ok().filter(|_| !uri.is_empty()).ok_or(WRONG)?;
    let point = pkix::DistributionPoint {
        distribution_point: Some(pkix::DistributionPointName::FullName(vec![pkix::GeneralName::Uri(uri)])),
        ..Default::default()
    };
    rasn::der::encode(&vec![point]).map_err(|_| WRONG)
}

/// Writes one `Extension`.
#[must_use]
pub fn encode_extension(oid: &Oid, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { write::boolean(true) } else { Vec::new() };
    write::sequence(&[&write::oid(oid), &critical, &write::octet_string(value)])
}
