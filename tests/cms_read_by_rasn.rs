//! What we write in CMS, `rasn-cms` reads: a decoder that shares no line with ours.
#![cfg(all(feature = "ring", feature = "aws-lc-rs"))]

use std::time::Duration;

use intune_connector::adapters::LocalCa;
use intune_connector::crypto::{ContentCipherAlgorithm, CryptoProvider, KeyTransportAlgorithm, SignatureAlgorithm, sign_now};
use intune_connector::message::enveloped::EnvelopeBuilder;
use intune_connector::message::name::Name;
use intune_connector::message::signed::{SignedBuilder, SignedContent};
use intune_connector::terms::{KeyAlgorithm, KeyUsage};

#[test]
fn rasn_cms_finds_in_our_messages_what_we_put_there() {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let ca = LocalCa::new(provider.clone(), "ca".parse().unwrap(), KeyAlgorithm::EcP256).unwrap();
    let key = provider.key_generation().unwrap().generate(KeyAlgorithm::Rsa2048).unwrap();
    let signer = provider.signing_keys().unwrap().load(&key).unwrap();
    let subject = Name::parse_cert_str("CN=reader").unwrap();
    let day = Duration::from_secs(86_400);
    let certificate = ca.issue_service_certificate(subject, &signer.public_key(), KeyUsage::SIGN_AND_ENCIPHER, &[], day).unwrap();
    let parsed: rasn_pkix::Certificate = rasn::der::decode(certificate.der()).unwrap();
    let identifier = rasn_cms::IssuerAndSerialNumber {
        issuer: parsed.tbs_certificate.issuer.clone(),
        serial_number: parsed.tbs_certificate.serial_number.clone(),
    };

    let envelope = EnvelopeBuilder::new(ContentCipherAlgorithm::Aes256Cbc, KeyTransportAlgorithm::RsaOaepSha256)
        .recipient(&certificate)
        .build(b"the content", &provider)
        .unwrap();
    let outer: rasn_cms::ContentInfo = rasn::der::decode(&envelope).unwrap();
    let enveloped: rasn_cms::EnvelopedData = rasn::der::decode(outer.content.as_bytes()).unwrap();
    assert_eq!(enveloped.version, 0.into());
    assert_eq!(enveloped.encrypted_content_info.encrypted_content.as_ref().map(|content| content.len()), Some(16));
    let recipients = enveloped.recipient_infos.to_vec();
    let [rasn_cms::RecipientInfo::KeyTransRecipientInfo(recipient)] = recipients.as_slice() else { panic!("one key transport recipient") };
    assert_eq!(recipient.rid, rasn_cms::RecipientIdentifier::IssuerAndSerialNumber(identifier.clone()));
    assert_eq!(recipient.encrypted_key.len(), 256);

    let message = SignedBuilder::new(SignedContent::Attached(b"the content"))
        .certificate(certificate.der())
        .to_be_signed(&certificate, SignatureAlgorithm::RsaPkcs1Sha256, &provider)
        .unwrap();
    let signature = sign_now(&*signer, SignatureAlgorithm::RsaPkcs1Sha256, message.message()).unwrap();
    let message = message.finish(&signature);
    let outer: rasn_cms::ContentInfo = rasn::der::decode(&message).unwrap();
    let signed: rasn_cms::SignedData = rasn::der::decode(outer.content.as_bytes()).unwrap();
    assert_eq!(signed.encap_content_info.content.as_deref(), Some(b"the content".as_slice()));
    let signers = signed.signer_infos.to_vec();
    let [info] = signers.as_slice() else { panic!("one signer") };
    assert_eq!(info.sid, rasn_cms::SignerIdentifier::IssuerAndSerialNumber(identifier));
    assert_eq!(info.signature.as_ref(), signature);
    // contentType and messageDigest (RFC 5652 section 5.3).
    assert_eq!(info.signed_attrs.as_ref().map(|attributes| attributes.to_vec().len()), Some(2));
}
