//! SCEP messages: client and server against each other, against openssl, and what must be refused.
#![cfg(all(feature = "ring", feature = "aws-lc-rs"))]

mod cms_support;
mod support;

use std::process::Command;
use std::sync::Arc;

use cms_support::Party;
use futures_util::FutureExt as _;
use intune_connector::crypto::{
    ContentCipherAlgorithm as Cipher, CryptoError, CryptoProvider, DigestAlgorithm, KeyTransportAlgorithm as Transport, SignatureAlgorithm,
    SignatureVerification, sign_now, unwrap_now,
};
use intune_connector::ids::TransactionId;
use intune_connector::limits::Limits;
use intune_connector::message::enveloped::{CmsError, LegacyCiphers, Opening};
use intune_connector::message::scep::{
    CertRep, EmptyContent, FailInfo, MessageType, Nonce, PkiRequestBuilder, PkiStatus, ReplyTo, ScepMessageError, ScepRequest,
    ScepResponse, TransactionName,
};
use intune_connector::message::signed::{LegacyDigests, Signed, SignedAttribute, SignedBuilder, SignedContent};
use intune_connector::secret::SecretBytes;
use support::{scratch, tool, try_run};

const SHA256: SignatureAlgorithm = SignatureAlgorithm::RsaPkcs1Sha256;

struct Setup {
    dir: tempfile::TempDir,
    openssl: std::path::PathBuf,
    provider: CryptoProvider,
    client: Party,
    server: Party,
}

fn setup() -> Option<Setup> {
    let openssl = tool("openssl")?;
    let dir = scratch();
    let client = Party::rsa(&openssl, dir.path(), "client");
    let server = Party::rsa(&openssl, dir.path(), "server");
    Some(Setup { dir, openssl, provider: CryptoProvider::ring_and_aws_lc_rs(), client, server })
}

impl Setup {
    fn request(&self, builder: &PkiRequestBuilder<'_>) -> (Vec<u8>, ReplyTo) {
        let key = self.client.signing_key(&self.provider);
        builder
            .sign(&self.client.certificate, key.as_ref(), &self.server.certificate, SHA256, &self.provider)
            .now_or_never()
            .expect("a software key does not wait")
            .expect("the request is built")
    }

    fn parse(&self, message: &[u8]) -> Result<ScepRequest, ScepMessageError> {
        ScepRequest::parse(message, LegacyDigests::Refuse, &self.provider, &Limits::default())
    }

    fn open(&self, mut opening: Opening, party: &Party) -> Result<SecretBytes, CmsError> {
        let request = opening.unwrap_request(&party.certificate, &self.provider)?;
        opening.finish(unwrap_now(party.decryption_key(&self.provider).as_ref(), &request), &self.provider)
    }

    fn reply(&self, reply: &CertRep) -> Vec<u8> {
        let key = self.server.signing_key(&self.provider);
        reply
            .sign(&self.server.certificate, key.as_ref(), SHA256, &self.provider)
            .now_or_never()
            .expect("a software key does not wait")
            .expect("the reply is built")
    }

    fn read(&self, message: &[u8], request: &ReplyTo) -> Result<ScepResponse, ScepMessageError> {
        ScepResponse::parse(message, request, &self.server.certificate, LegacyDigests::Refuse, &self.provider, &Limits::default())
    }

    fn success(&self, request: &ScepRequest, cipher: Cipher, transport: Transport) -> CertRep {
        let issued = self.client.certificate.der();
        CertRep::success(request.reply_to(), issued, request.signer(), cipher, transport, LegacyCiphers::Refuse, &self.provider)
            .expect("the reply is encrypted")
    }
}

fn transaction(text: &[u8]) -> TransactionId {
    TransactionId::try_from(text.to_vec()).expect("a transactionID")
}

fn attribute(oid: &str, value: &[u8]) -> SignedAttribute {
    SignedAttribute::from_der(oid.parse().expect("an OID"), value.to_vec())
}

/// Any set of attributes, signed by the client over some content.
fn message_with(setup: &Setup, attributes: Vec<SignedAttribute>) -> Vec<u8> {
    let mut builder = SignedBuilder::new(SignedContent::Attached(b"content")).certificate(setup.client.certificate.der());
    for attribute in attributes {
        builder = builder.attribute(attribute);
    }
    let to_be_signed = builder.to_be_signed(&setup.client.certificate, SHA256, &setup.provider).expect("to be signed");
    let key = setup.client.signing_key(&setup.provider);
    let signature = sign_now(key.as_ref(), SHA256, to_be_signed.message()).expect("signed");
    to_be_signed.finish(&signature)
}

const MESSAGE_TYPE: &str = "2.16.840.1.113733.1.9.2";
const SENDER_NONCE: &str = "2.16.840.1.113733.1.9.5";
const TRANSACTION_ID: &str = "2.16.840.1.113733.1.9.7";

fn usual(message_type: &str) -> Vec<SignedAttribute> {
    vec![
        SignedAttribute::printable_string(MESSAGE_TYPE.parse().expect("an OID"), message_type),
        SignedAttribute::printable_string(TRANSACTION_ID.parse().expect("an OID"), "t1"),
        SignedAttribute::octet_string(SENDER_NONCE.parse().expect("an OID"), &[7; 16]),
    ]
}

#[test]
fn a_request_goes_round_and_its_answer_comes_back() {
    let Some(setup) = setup() else { return };
    for (cipher, transport) in [
        (Cipher::Aes128Cbc, Transport::RsaPkcs1v15),
        (Cipher::Aes256Cbc, Transport::RsaOaepSha256),
        (Cipher::Aes128Cbc, Transport::RsaOaepSha1),
    ] {
        let builder = PkiRequestBuilder::pkcs_req(transaction(b"A+b/="), b"a request").algorithms(cipher, transport, LegacyCiphers::Refuse);
        let (message, ours) = setup.request(&builder);
        let request = setup.parse(&message).unwrap();
        assert_eq!((request.message_type(), request.transaction_id().as_bytes()), (MessageType::PkcsReq, &b"A+b/="[..]));
        assert_eq!(request.signer().der(), setup.client.certificate.der());
        let opening = request.open(LegacyCiphers::Refuse, &Limits::default()).unwrap();
        assert_eq!(opening.content_cipher().unwrap(), cipher);
        assert_eq!(opening.key_transport(&setup.server.certificate).unwrap(), transport);
        assert_eq!(setup.open(opening, &setup.server).unwrap().secret_bytes(), b"a request");

        let answer = setup.reply(&setup.success(&request, cipher, transport));
        let response = setup.read(&answer, &ours).unwrap();
        assert_eq!(response.status(), PkiStatus::Success);
        let inner = setup.open(response.open(LegacyCiphers::Refuse, &Limits::default()).unwrap(), &setup.client).unwrap();
        let certs = Signed::parse(inner.secret_bytes(), &Limits::default()).unwrap();
        let certs: Vec<_> = certs.certificates().collect();
        assert_eq!(certs, [setup.client.certificate.der().clone()], "the issued certificate and nothing else");
    }
}

#[test]
fn openssl_verifies_every_kind_of_answer_and_reads_rsa_encryption_and_the_nonces() {
    let Some(setup) = setup() else { return };
    let (message, ours) = setup.request(&PkiRequestBuilder::pkcs_req(transaction(b"T1"), b"a request"));
    let request = setup.parse(&message).unwrap();
    let answers = [
        (setup.success(&request, Cipher::Aes128Cbc, Transport::RsaPkcs1v15), true),
        (CertRep::failure(request.reply_to(), FailInfo::BadRequest).fail_info_text("refused"), true),
        (CertRep::pending(request.reply_to()), true),
        (CertRep::pending(request.reply_to()).empty_content(EmptyContent::Absent), false),
    ];
    let mut nonces = Vec::new();
    for (answer, openssl_pkcs7_reads_it) in answers {
        let message = setup.reply(&answer);
        let file = setup.dir.path().join("certrep.der");
        std::fs::write(&file, &message).unwrap();
        let mut command = Command::new(&setup.openssl);
        command.args(["smime", "-verify", "-noverify", "-binary", "-inform", "DER", "-in"]).arg(&file);
        let output = try_run(&mut command);
        let what = answer.status();
        assert_eq!(output.status.success(), openssl_pkcs7_reads_it, "{what}: {}", String::from_utf8_lossy(&output.stderr));
        let mut command = Command::new(&setup.openssl);
        command.args(["cms", "-cmsout", "-print", "-noout", "-inform", "DER", "-in"]).arg(&file);
        let printed = String::from_utf8_lossy(&try_run(&mut command).stdout).into_owned();
        // Once in the certificate's key, once as the signature algorithm.
        assert!(printed.contains("algorithm: rsaEncryption (1.2.840.113549.1.1.1)"), "{printed}");
        let response = setup.read(&message, &ours).unwrap();
        assert_eq!(response.status(), answer.status());
        let signed = message.windows(17).filter(|window| window.starts_with(&[0x10]) && window[1..] == *ours.sender_nonce().as_bytes());
        assert_eq!(signed.count(), 1, "recipientNonce is the request's senderNonce, and senderNonce is not");
        nonces.push(message);
    }
    let failure = setup.reply(&CertRep::failure(request.reply_to(), FailInfo::BadAlg).fail_info_text("refused"));
    let response = setup.read(&failure, &ours).unwrap();
    assert_eq!((response.fail_info(), response.fail_info_text()), (Some(FailInfo::BadAlg), Some("refused")));
}

#[test]
fn only_the_message_types_of_the_rfc_are_accepted() {
    let Some(setup) = setup() else { return };
    for number in 0..=255u8 {
        let known = [17, 19, 20, 21, 22].contains(&number);
        if !known && number > 30 && number % 32 != 0 {
            continue;
        }
        let outcome = setup.parse(&message_with(&setup, usual(&number.to_string())));
        match (number, outcome) {
            (_, Ok(request)) => assert!(known && request.message_type().number() == number, "{number}"),
            (3, Err(ScepMessageError::UnexpectedMessageType(MessageType::CertRep))) => {}
            (_, Err(ScepMessageError::UnknownMessageType)) => assert!(!known, "{number}"),
            (_, Err(error)) => panic!("{number}: {error}"),
        }
    }
    for odd in ["019", "19 ", "+19", "", "nineteen", "0x13", "1900000000000000000000"] {
        assert!(matches!(setup.parse(&message_with(&setup, usual(odd))), Err(ScepMessageError::UnknownMessageType)), "{odd:?}");
    }
}

#[test]
fn a_transaction_id_is_echoed_with_the_type_it_came_with() {
    let Some(setup) = setup() else { return };
    for tag in [0x13u8, 0x0c, 0x16, 0x14] {
        let name = TransactionName::from_der(&[tag, 3, b'a', 0xe9, b'c']).unwrap();
        let builder = PkiRequestBuilder::pkcs_req(transaction(b"x"), b"a request").transaction(name.clone());
        let (message, ours) = setup.request(&builder);
        let request = setup.parse(&message).unwrap();
        assert_eq!((request.transaction().string_type(), request.transaction_id().as_bytes()), (tag, &[b'a', 0xe9, b'c'][..]));
        let answer = setup.reply(&CertRep::pending(request.reply_to()));
        assert!(answer.windows(5).any(|window| window == [tag, 3, b'a', 0xe9, b'c']));
        assert!(setup.read(&answer, &ours).is_ok());
        assert_eq!(TransactionName::from_der(&name.to_der()).unwrap(), name);
    }
    for wrong in [&[0x13u8, 0][..], &[0x04, 1, b'a'], &[0x1e, 2, 0, b'a'], &[0x13, 1], &[]] {
        assert!(TransactionName::from_der(wrong).is_err(), "{wrong:?}");
    }
    let long = [&[0x13u8, 0x82, 1, 0][..], &[b'a'; 256]].concat();
    assert!(TransactionName::from_der(&long).is_err());
}

#[test]
fn attributes_that_are_missing_doubled_or_of_another_type_are_refused() {
    let Some(setup) = setup() else { return };
    assert!(setup.parse(&message_with(&setup, usual("19"))).is_ok());
    for index in 0..3 {
        let mut missing = usual("19");
        missing.remove(index);
        assert!(matches!(setup.parse(&message_with(&setup, missing)), Err(ScepMessageError::Attribute(_))), "missing {index}");
        let mut doubled = usual("19");
        doubled.push(usual("17").swap_remove(index));
        assert!(matches!(setup.parse(&message_with(&setup, doubled)), Err(ScepMessageError::Attribute(_))), "doubled {index}");
        for wrong in [&[0x02u8, 1, 19][..], &[0x30, 0], &[0x04, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[0x05, 0]] {
            let mut confused = usual("19");
            confused[index] = attribute([MESSAGE_TYPE, TRANSACTION_ID, SENDER_NONCE][index], wrong);
            assert!(matches!(setup.parse(&message_with(&setup, confused)), Err(ScepMessageError::Attribute(_))), "{index} {wrong:?}");
        }
    }
}

#[test]
fn a_damaged_request_is_not_verified_and_its_envelope_not_looked_at() {
    let Some(setup) = setup() else { return };
    let (message, ours) = setup.request(&PkiRequestBuilder::pkcs_req(transaction(b"T1"), b"a request"));
    let (mut refused, step) = (0, 37);
    for position in (0..message.len()).step_by(step) {
        let mut damaged = message.clone();
        damaged[position] ^= 1;
        match setup.parse(&damaged) {
            Err(error) => {
                assert_ne!(error.fail_info(), FailInfo::BadTime);
                refused += 1;
            }
            // Some bytes are under no signature: the list of digests, the certificate but for its key. They change nothing that counts.
            Ok(request) => {
                assert_eq!((request.transaction_id().as_bytes(), request.sender_nonce()), (&b"T1"[..], ours.sender_nonce()));
                let opening = request.open(LegacyCiphers::Refuse, &Limits::default()).unwrap();
                assert_eq!(setup.open(opening, &setup.server).unwrap().secret_bytes(), b"a request", "byte {position}");
            }
        }
    }
    assert!(refused > message.len() / step / 2, "{refused}");
}

/// Takes every signature for good: whose it is is not asked here.
#[derive(Debug)]
struct Credulous;

impl SignatureVerification for Credulous {
    fn verify(&self, _: SignatureAlgorithm, _: &[u8], _: &[u8], _: &[u8]) -> Result<(), CryptoError> {
        Ok(())
    }
}

#[test]
fn sha1_under_the_signature_shows_in_the_digest_although_the_content_has_another() {
    let Some(setup) = setup() else { return };
    let (mut message, _) = setup.request(&PkiRequestBuilder::pkcs_req(transaction(b"T1"), b"a request"));
    // rsaEncryption in the SignerInfo, the last one, becomes sha1WithRSAEncryption.
    let rsa_encryption = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    let at = message.windows(9).rposition(|window| window == rsa_encryption).unwrap();
    let provider = setup.provider.clone().with_verification(Arc::new(Credulous));
    let parse = |message: &[u8], legacy| ScepRequest::parse(message, legacy, &provider, &Limits::default());
    assert_eq!(parse(&message, LegacyDigests::AllowSha1).unwrap().digest(), DigestAlgorithm::Sha256);
    message[at + 8] = 5;
    assert_eq!(parse(&message, LegacyDigests::AllowSha1).unwrap().digest(), DigestAlgorithm::Sha1);
    assert!(parse(&message, LegacyDigests::Refuse).is_err());
}

#[test]
fn an_answer_to_another_request_or_from_another_server_is_refused() {
    let Some(setup) = setup() else { return };
    let (message, ours) = setup.request(&PkiRequestBuilder::pkcs_req(transaction(b"T1"), b"a request"));
    let request = setup.parse(&message).unwrap();
    let answer = setup.reply(&CertRep::pending(request.reply_to()));
    let other_nonce = ReplyTo::new(ours.transaction().clone(), Nonce::new([1; 16]));
    assert!(matches!(setup.read(&answer, &other_nonce), Err(ScepMessageError::AnotherRequest)));
    let other_id = ReplyTo::new(TransactionName::new(transaction(b"T2")), *ours.sender_nonce());
    assert!(matches!(setup.read(&answer, &other_id), Err(ScepMessageError::AnotherRequest)));
    let stranger = CertRep::pending(request.reply_to());
    let key = setup.client.signing_key(&setup.provider);
    let forged = stranger.sign(&setup.client.certificate, key.as_ref(), SHA256, &setup.provider).now_or_never().unwrap().unwrap();
    assert!(matches!(setup.read(&forged, &ours), Err(ScepMessageError::Cms(CmsError::SignerNotFound))));
    assert!(matches!(setup.read(&message, &ours), Err(ScepMessageError::Cms(CmsError::SignerNotFound))));
}
