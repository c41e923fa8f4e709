#![cfg(all(feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, reason = "a helper that fails, fails its test")]

use super::*;
use crate::codec::der::write;
use crate::crypto::{SigningKey, sign_now};
use crate::message::ToBeSigned;
use crate::terms::{KeyAlgorithm, oid};

fn provider() -> CryptoProvider {
    CryptoProvider::ring_and_aws_lc_rs()
}

fn attribute(number: &'static str, values: &[&[u8]]) -> Vec<u8> {
    write::sequence(&[&write::oid(&oid(number)), &write::value(write::SET, values)])
}

/// A signed request with these attributes in this order; `None` leaves the field out.
fn request(attributes: Option<&[Vec<u8>]>) -> Vec<u8> {
    let provider = provider();
    let generated = provider.key_generation().unwrap().generate(KeyAlgorithm::EcP256).unwrap();
    let key = provider.signing_keys().unwrap().load(&generated).unwrap();
    let subject = Name::parse_cert_str("CN=Jane").unwrap();
    let attributes = attributes.map(|attributes| write::context(0, &[&attributes.concat()])).unwrap_or_default();
    let message = write::sequence(&[&write::unsigned(0), subject.as_der(), &key.public_key(), &attributes]);
    let signed = ToBeSigned::new(message, key.algorithms()[0]);
    let signature = sign_now(key.as_ref() as &dyn SigningKey, signed.algorithm(), signed.message()).unwrap();
    signed.finish(&signature)
}

fn read(attributes: &[Vec<u8>]) -> Result<Csr, X509Error> {
    Csr::from_der(&request(Some(attributes)), &Limits::default())
}

fn client_auth() -> Vec<u8> {
    use crate::codec::x509::extensions as ext;
    let value = ext::encode_extended_key_usage(&[oid("1.3.6.1.5.5.7.3.2")]);
    write::sequence(&[&ext::encode_extension(&oid(ext::EXTENDED_KEY_USAGE), false, &value)])
}

#[test]
fn unsorted_attributes_as_strongswan_writes_them_are_read_and_verified_as_received() {
    let challenge = attribute(CHALLENGE_PASSWORD, &[&write::value(write::PRINTABLE_STRING, &[b"secret"])]);
    for number in [EXTENSION_REQUEST, MICROSOFT_EXTENSION_REQUEST] {
        let attributes = [attribute(number, &[&client_auth()]), challenge.clone()];
        assert!(attributes[0] > attributes[1], "unsorted");
        let csr = read(&attributes).unwrap();
        csr.verify_self_signature(&provider()).unwrap();
        assert_eq!(csr.challenge_password().unwrap().secret_str(), Some("secret"));
        assert_eq!(csr.extended_key_usage(), [oid("1.3.6.1.5.5.7.3.2")]);
        assert_eq!(csr.attribute_oids(), [oid(number), oid(CHALLENGE_PASSWORD)]);
    }
}

#[test]
fn a_request_without_the_attributes_field_is_read() {
    let csr = Csr::from_der(&request(None), &Limits::default()).unwrap();
    csr.verify_self_signature(&provider()).unwrap();
    assert!(csr.challenge_password().is_none() && csr.attribute_oids().is_empty());
}

#[test]
fn challenges_of_every_string_type_become_the_same_text() {
    for (tag, octets, text) in [
        (0x13, &b"Ge heim1"[..], "Ge heim1"),
        (0x0c, "Gehéim".as_bytes(), "Gehéim"),
        (0x16, b"a*b@c", "a*b@c"),
        (0x14, b"Geh\xe9im", "Gehéim"),
        (0x1e, b"\0G\0e\0h\0\xe9", "Gehé"),
        (0x1e, b"\xd8\x3d\xde\x00", "😀"),
        (0x1c, b"\0\0\0G\0\x01\xf6\0", "G😀"),
    ] {
        let csr = read(&[attribute(CHALLENGE_PASSWORD, &[&write::value(tag, &[octets])])]).unwrap();
        assert_eq!(csr.challenge_password().unwrap().secret_str(), Some(text), "tag {tag:#x}");
    }
}

#[test]
fn ambiguous_or_malformed_attributes_are_refused() {
    let text = write::utf8_string("a");
    let challenge = attribute(CHALLENGE_PASSWORD, &[&text]);
    let extensions = attribute(EXTENSION_REQUEST, &[&client_auth()]);
    let doubled = write::sequence(&[&client_auth()[2..], &client_auth()[2..]]);
    for (attributes, what) in [
        (vec![challenge.clone(), challenge], "two challenges"),
        (vec![attribute(CHALLENGE_PASSWORD, &[&text, &text])], "two values"),
        (vec![attribute(CHALLENGE_PASSWORD, &[])], "no value"),
        (vec![attribute(CHALLENGE_PASSWORD, &[&write::unsigned(5)])], "a number"),
        (vec![attribute(CHALLENGE_PASSWORD, &[&write::value(0x1e, &[b"\0a\0"])])], "odd BMPString"),
        (vec![attribute(CHALLENGE_PASSWORD, &[&write::value(0x1e, &[b"\xd8\x3d"])])], "lone surrogate"),
        (vec![extensions.clone(), extensions], "two extension requests"),
        (vec![attribute(EXTENSION_REQUEST, &[&doubled])], "an extension twice"),
        (vec![attribute(EXTENSION_REQUEST, &[&text])], "no extensions"),
    ] {
        assert!(matches!(read(&attributes), Err(X509Error::Malformed { .. })), "{what}");
    }
}
