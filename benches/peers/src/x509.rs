//! Certificates and requests: parse, and read what a connector reads of them.
//!
//! Some peers decode names and extensions when they parse, others when they are asked; so the operation is parsing *and* reading the same
//! list of values. A peer without an accessor for a value leaves it out, which is to its advantage.

use std::collections::BTreeMap;

use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::csr::Csr;
use intune_connector::terms::{SubjectAltName, oids};
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::{ObjectIdentifier, PrintableStringRef, Utf8StringRef};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName as RcAltName, SubjectKeyIdentifier};
use x509_parser::prelude::FromDer as _;

use crate::fixtures::{LEAF, REQUEST};
use crate::{Contender, Row};

/// Takes each value that was read.
type Sink<'a> = &'a mut dyn FnMut(&'static str, &[u8]);
type Reader = fn(&[u8], Sink<'_>);

fn row(der: &'static [u8], readers: &[(&'static str, Reader)]) -> Row {
    let contenders = readers
        .iter()
        .map(|(peer, read)| {
            let read = *read;
            Contender::new(peer, move || read(std::hint::black_box(der), &mut |_, value| _ = std::hint::black_box(value)))
        })
        .collect();
    let readers = readers.to_vec();
    let check = move || {
        let values = |read: Reader| {
            let mut values = BTreeMap::<_, Vec<Vec<u8>>>::new();
            read(der, &mut |what, value| values.entry(what).or_default().push(value.to_vec()));
            values
        };
        let all = values(readers[0].1);
        for (peer, read) in &readers {
            let read = values(*read);
            assert!(!read.is_empty(), "{peer} reads nothing");
            for (what, value) in &read {
                assert_eq!(all.get(what), Some(value), "{what} by {peer}");
            }
        }
    };
    Row { contenders, check: Box::new(check) }
}

pub fn certificate() -> Row {
    row(LEAF, &[("intune-connector", ours), ("x509-parser", x509_parser), ("RustCrypto x509-cert", rustcrypto), ("openssl", openssl)])
}

pub fn request() -> Row {
    row(
        REQUEST,
        &[
            ("intune-connector", our_request),
            ("x509-parser", x509_parser_request),
            ("RustCrypto x509-cert", rustcrypto_request),
            ("openssl", openssl_request),
        ],
    )
}

fn our_alt_names(names: &[SubjectAltName], sink: Sink<'_>) {
    for name in names {
        match name {
            SubjectAltName::Dns(name) => sink("dns", name.as_bytes()),
            SubjectAltName::Email(name) => sink("email", name.as_bytes()),
            SubjectAltName::Uri(name) => sink("uri", name.as_bytes()),
            _ => {}
        }
    }
}

fn ours(der: &[u8], sink: Sink<'_>) {
    let certificate = Certificate::from_der(der, &Limits::default()).unwrap();
    sink("subject", certificate.subject().common_name().unwrap().as_bytes());
    sink("issuer", certificate.issuer().common_name().unwrap().as_bytes());
    sink("serial", certificate.serial_raw());
    sink("not before", &certificate.not_before().as_secs().to_be_bytes());
    sink("not after", &certificate.not_after().as_secs().to_be_bytes());
    sink("public key", &certificate.spki()[certificate.spki().len() - 270..]);
    sink("signature", certificate.signature());
    our_alt_names(certificate.subject_alt_names(), sink);
    let usage = certificate.key_usage().unwrap();
    sink("digitalSignature", &[u8::from(usage.digital_signature)]);
    sink("keyCertSign", &[u8::from(usage.key_cert_sign)]);
    sink("clientAuth", &[u8::from(certificate.extended_key_usage().iter().any(|usage| usage.as_str() == oids::CLIENT_AUTH))]);
    sink("ca", &[u8::from(certificate.is_ca())]);
    sink("key identifier", certificate.subject_key_identifier().unwrap());
}

fn our_request(der: &[u8], sink: Sink<'_>) {
    let request = Csr::from_der(der, &Limits::default()).unwrap();
    sink("subject", request.subject().common_name().unwrap().as_bytes());
    sink("public key", &request.spki()[request.spki().len() - 270..]);
    sink("challenge", request.challenge_password().unwrap().secret_bytes());
    our_alt_names(request.subject_alt_names(), sink);
    let usage = request.key_usage().unwrap();
    sink("digitalSignature", &[u8::from(usage.digital_signature)]);
    sink("clientAuth", &[u8::from(request.extended_key_usage().iter().any(|usage| usage.as_str() == oids::CLIENT_AUTH))]);
    sink("attributes", &[request.attribute_oids().len() as u8]);
}

fn x509_parser_alt_names(names: &x509_parser::extensions::SubjectAlternativeName<'_>, sink: Sink<'_>) {
    use x509_parser::extensions::GeneralName;
    for name in &names.general_names {
        match name {
            GeneralName::DNSName(name) => sink("dns", name.as_bytes()),
            GeneralName::RFC822Name(name) => sink("email", name.as_bytes()),
            GeneralName::URI(name) => sink("uri", name.as_bytes()),
            _ => {}
        }
    }
}

fn x509_parser(der: &[u8], sink: Sink<'_>) {
    let (rest, certificate) = x509_parser::certificate::X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    sink("subject", certificate.subject().iter_common_name().last().unwrap().as_str().unwrap().as_bytes());
    sink("issuer", certificate.issuer().iter_common_name().last().unwrap().as_str().unwrap().as_bytes());
    sink("serial", certificate.raw_serial());
    sink("not before", &certificate.validity().not_before.timestamp().to_be_bytes());
    sink("not after", &certificate.validity().not_after.timestamp().to_be_bytes());
    sink("public key", &certificate.public_key().subject_public_key.data);
    sink("signature", &certificate.signature_value.data);
    x509_parser_alt_names(certificate.subject_alternative_name().unwrap().unwrap().value, sink);
    let usage = certificate.key_usage().unwrap().unwrap().value;
    sink("digitalSignature", &[u8::from(usage.digital_signature())]);
    sink("keyCertSign", &[u8::from(usage.key_cert_sign())]);
    sink("clientAuth", &[u8::from(certificate.extended_key_usage().unwrap().unwrap().value.client_auth)]);
    sink("ca", &[u8::from(certificate.is_ca())]);
    let key_identifier = certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0),
        _ => None,
    });
    sink("key identifier", key_identifier.unwrap());
}

fn x509_parser_request(der: &[u8], sink: Sink<'_>) {
    use x509_parser::cri_attributes::ParsedCriAttribute;
    use x509_parser::extensions::ParsedExtension;
    let (rest, request) = x509_parser::certification_request::X509CertificationRequest::from_der(der).unwrap();
    assert!(rest.is_empty());
    let info = &request.certification_request_info;
    sink("subject", info.subject.iter_common_name().last().unwrap().as_str().unwrap().as_bytes());
    sink("public key", &info.subject_pki.subject_public_key.data);
    for attribute in info.iter_attributes() {
        match attribute.parsed_attribute() {
            ParsedCriAttribute::ChallengePassword(challenge) => sink("challenge", challenge.0.as_bytes()),
            ParsedCriAttribute::ExtensionRequest(extensions) => {
                for extension in &extensions.extensions {
                    match extension.parsed_extension() {
                        ParsedExtension::SubjectAlternativeName(names) => x509_parser_alt_names(names, sink),
                        ParsedExtension::KeyUsage(usage) => sink("digitalSignature", &[u8::from(usage.digital_signature())]),
                        ParsedExtension::ExtendedKeyUsage(usage) => sink("clientAuth", &[u8::from(usage.client_auth)]),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    sink("attributes", &[info.attributes().len() as u8]);
}

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap(oids::CLIENT_AUTH);

fn rustcrypto_name(what: &'static str, name: &x509_cert::name::Name, sink: Sink<'_>) {
    let value = name.iter().filter(|attribute| attribute.oid == COMMON_NAME).last().unwrap();
    match value.value.decode_as::<Utf8StringRef<'_>>() {
        Ok(text) => sink(what, text.as_str().as_bytes()),
        Err(_) => sink(what, value.value.decode_as::<PrintableStringRef<'_>>().unwrap().as_str().as_bytes()),
    }
}

fn rustcrypto_alt_names(names: &RcAltName, sink: Sink<'_>) {
    for name in &names.0 {
        match name {
            GeneralName::DnsName(name) => sink("dns", name.as_str().as_bytes()),
            GeneralName::Rfc822Name(name) => sink("email", name.as_str().as_bytes()),
            GeneralName::UniformResourceIdentifier(name) => sink("uri", name.as_str().as_bytes()),
            _ => {}
        }
    }
}

fn rustcrypto(der: &[u8], sink: Sink<'_>) {
    let certificate = x509_cert::Certificate::from_der(der).unwrap();
    let tbs = certificate.tbs_certificate();
    rustcrypto_name("subject", tbs.subject(), sink);
    rustcrypto_name("issuer", tbs.issuer(), sink);
    sink("serial", tbs.serial_number().as_bytes());
    sink("not before", &(tbs.validity().not_before.to_unix_duration().as_secs() as i64).to_be_bytes());
    sink("not after", &(tbs.validity().not_after.to_unix_duration().as_secs() as i64).to_be_bytes());
    sink("public key", tbs.subject_public_key_info().subject_public_key.raw_bytes());
    sink("signature", certificate.signature().raw_bytes());
    rustcrypto_alt_names(&tbs.get_extension::<RcAltName>().unwrap().unwrap().1, sink);
    let usage = tbs.get_extension::<KeyUsage>().unwrap().unwrap().1;
    sink("digitalSignature", &[u8::from(usage.digital_signature())]);
    sink("keyCertSign", &[u8::from(usage.key_cert_sign())]);
    let extended = tbs.get_extension::<ExtendedKeyUsage>().unwrap().unwrap().1;
    sink("clientAuth", &[u8::from(extended.0.contains(&CLIENT_AUTH))]);
    sink("ca", &[u8::from(tbs.get_extension::<BasicConstraints>().unwrap().unwrap().1.ca)]);
    sink("key identifier", tbs.get_extension::<SubjectKeyIdentifier>().unwrap().unwrap().1.0.as_bytes());
}

fn rustcrypto_request(der: &[u8], sink: Sink<'_>) {
    const EXTENSION_REQUEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.14");
    const CHALLENGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.7");
    const ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
    const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
    const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
    let request = x509_cert::request::CertReq::from_der(der).unwrap();
    rustcrypto_name("subject", &request.info.subject, sink);
    sink("public key", request.info.public_key.subject_public_key.raw_bytes());
    for attribute in request.info.attributes.iter() {
        let value = attribute.values.get(0).unwrap();
        match attribute.oid {
            CHALLENGE => sink("challenge", value.decode_as::<Utf8StringRef<'_>>().unwrap().as_str().as_bytes()),
            EXTENSION_REQUEST => {
                for extension in value.decode_as::<x509_cert::ext::Extensions>().unwrap() {
                    let value = extension.extn_value.as_bytes();
                    match extension.extn_id {
                        ALT_NAME => rustcrypto_alt_names(&RcAltName::from_der(value).unwrap(), sink),
                        KEY_USAGE => sink("digitalSignature", &[u8::from(KeyUsage::from_der(value).unwrap().digital_signature())]),
                        EXTENDED_KEY_USAGE => {
                            sink("clientAuth", &[u8::from(ExtendedKeyUsage::from_der(value).unwrap().0.contains(&CLIENT_AUTH))]);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    sink("attributes", &[request.info.attributes.len() as u8]);
}

fn openssl_name(what: &'static str, name: &openssl::x509::X509NameRef, sink: Sink<'_>) {
    let entry = name.entries_by_nid(openssl::nid::Nid::COMMONNAME).last().unwrap();
    sink(what, entry.data().as_slice());
}

fn openssl(der: &[u8], sink: Sink<'_>) {
    let certificate = openssl::x509::X509::from_der(der).unwrap();
    openssl_name("subject", certificate.subject_name(), sink);
    openssl_name("issuer", certificate.issuer_name(), sink);
    sink("serial", &certificate.serial_number().to_bn().unwrap().to_vec());
    let epoch = openssl::asn1::Asn1Time::from_unix(0).unwrap();
    let seconds = |time: &openssl::asn1::Asn1TimeRef| {
        let passed = epoch.diff(time).unwrap();
        (i64::from(passed.days) * 86_400 + i64::from(passed.secs)).to_be_bytes()
    };
    sink("not before", &seconds(certificate.not_before()));
    sink("not after", &seconds(certificate.not_after()));
    sink("signature", certificate.signature().as_slice());
    for name in certificate.subject_alt_names().unwrap() {
        if let Some(name) = name.dnsname() {
            sink("dns", name.as_bytes());
        } else if let Some(name) = name.email() {
            sink("email", name.as_bytes());
        } else if let Some(name) = name.uri() {
            sink("uri", name.as_bytes());
        }
    }
    sink("key identifier", certificate.subject_key_id().unwrap().as_slice());
}

/// The crate cannot look into the extensions of a request; it makes their list.
fn openssl_request(der: &[u8], sink: Sink<'_>) {
    let request = openssl::x509::X509Req::from_der(der).unwrap();
    openssl_name("subject", request.subject_name(), sink);
    assert_eq!(request.extensions().unwrap().len(), 3);
}
