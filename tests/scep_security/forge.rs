//! SCEP messages assembled from parts, so that each part can be wrong.

use intune_connector::crypto::{ContentCipherAlgorithm, KeyTransportAlgorithm, SignatureAlgorithm, sign_now};
use intune_connector::message::certificate::Certificate;
use intune_connector::message::csr::CsrBuilder;
use intune_connector::message::name::Name;
use intune_connector::message::scep::{Nonce, ReplyTo, TransactionName};
use intune_connector::message::signed::{SignedAttribute, SignedBuilder, SignedContent};
use intune_connector::secret::Password;
use intune_connector::terms::{SubjectAltName, oids};

use crate::make::{DATA, ENVELOPED_DATA, algorithm, attribute, content_info, integer, oid, sequence, tlv};
use crate::scep_lab::{CHALLENGE, Client, KeyPair, name, provider, sign};

pub const SHA256: SignatureAlgorithm = SignatureAlgorithm::RsaPkcs1Sha256;
pub const RSA_ENCRYPTION: &str = "1.2.840.113549.1.1.1";
pub const AES_128_CBC: &str = "2.16.840.1.101.3.4.1.2";
pub const MESSAGE_TYPE: &str = "2.16.840.1.113733.1.9.2";
pub const SENDER_NONCE: &str = "2.16.840.1.113733.1.9.5";
pub const TRANSACTION_ID: &str = "2.16.840.1.113733.1.9.7";

/// AES-128-CBC with a key that the test knows.
pub struct Sealed {
    pub key: [u8; 16],
    pub iv: [u8; 16],
    pub ciphertext: Vec<u8>,
}

impl Sealed {
    pub fn new(content: &[u8]) -> Self {
        let (mut key, mut iv) = ([0; 16], [0; 16]);
        provider().random().unwrap().fill(&mut key).unwrap();
        provider().random().unwrap().fill(&mut iv).unwrap();
        let cipher = provider().content_cipher().unwrap();
        let ciphertext = cipher.encrypt(ContentCipherAlgorithm::Aes128Cbc, &key, &iv, content).unwrap();
        Self { key, iv, ciphertext }
    }

    /// The envelope for these recipients.
    pub fn envelope(&self, recipients: &[Vec<u8>]) -> Vec<u8> {
        envelope(recipients, &algorithm(AES_128_CBC, &tlv(4, &[&self.iv])), Some(&self.ciphertext))
    }
}

/// A content key, or anything else, under the key of that certificate by PKCS#1 v1.5.
pub fn wrap(recipient: &Certificate, secret: &[u8]) -> Vec<u8> {
    provider().key_transport().unwrap().encrypt(KeyTransportAlgorithm::RsaPkcs1v15, recipient.spki(), secret).unwrap()
}

/// A KeyTransRecipientInfo that names this certificate.
pub fn key_trans(recipient: &Certificate, encrypted_key: &[u8]) -> Vec<u8> {
    let rid = sequence(&[recipient.issuer().as_der(), &integer(recipient.serial_raw())]);
    sequence(&[&integer(&[0]), &rid, &algorithm(RSA_ENCRYPTION, &[5, 0]), &tlv(4, &[encrypted_key])])
}

/// An EnvelopedData; `cipher` is an AlgorithmIdentifier.
pub fn envelope(recipients: &[Vec<u8>], cipher: &[u8], ciphertext: Option<&[u8]>) -> Vec<u8> {
    let recipients: Vec<&[u8]> = recipients.iter().map(Vec::as_slice).collect();
    let ciphertext = ciphertext.map(|octets| tlv(0x80, &[octets])).unwrap_or_default();
    let content = sequence(&[&oid(DATA), cipher, &ciphertext]);
    content_info(ENVELOPED_DATA, &sequence(&[&integer(&[0]), &tlv(0x31, &recipients), &content]))
}

/// A PKCSReq with that envelope under a good signature.
pub fn around(client: &Client, envelope: &[u8]) -> (Vec<u8>, ReplyTo) {
    client.message_around(envelope, SHA256, |message| sign_now(client.key.signing.as_ref(), SHA256, message).unwrap())
}

/// A message with these values of messageType and transactionID in DER, under a good signature.
pub fn message_with(client: &Client, message_type: &[u8], transaction: &[u8], envelope: &[u8]) -> (Vec<u8>, Nonce) {
    let nonce = Nonce::random(provider()).unwrap();
    let attribute = |kind: &str, value: &[u8]| SignedAttribute::from_der(kind.parse().unwrap(), value.to_vec());
    let unsigned = SignedBuilder::new(SignedContent::Attached(envelope))
        .attribute(attribute(MESSAGE_TYPE, message_type))
        .attribute(attribute(TRANSACTION_ID, transaction))
        .attribute(attribute(SENDER_NONCE, &tlv(4, &[nonce.as_bytes()])))
        .certificate(client.signer.der())
        .to_be_signed(&client.signer, SHA256, provider())
        .unwrap();
    let signature = sign_now(client.key.signing.as_ref(), SHA256, unsigned.message()).unwrap();
    (unsigned.finish(&signature), nonce)
}

/// What the answer to [`message_with`] must refer to; absent when that transactionID is none.
pub fn reply_to(transaction: &[u8], nonce: Nonce) -> Option<ReplyTo> {
    TransactionName::from_der(transaction).ok().map(|transaction| ReplyTo::new(transaction, nonce))
}

/// A CSR as the lab's clients make it, with a change.
pub fn csr(key: &KeyPair, subject: &str, edit: impl FnOnce(CsrBuilder) -> CsrBuilder) -> Vec<u8> {
    csr_named(key, name(subject), edit)
}

pub fn csr_named(key: &KeyPair, subject: Name, edit: impl FnOnce(CsrBuilder) -> CsrBuilder) -> Vec<u8> {
    let builder = CsrBuilder::new(subject, &key.spki)
        .challenge_password(&Password::from(CHALLENGE))
        .extended_key_usage(&[oids::CLIENT_AUTH.parse().unwrap()])
        .subject_alt_names(&[SubjectAltName::Dns("device.lab.example".to_owned())]);
    sign(key.signing.as_ref(), edit(builder).to_be_signed(SHA256).unwrap())
}

/// A CSR with these attributes besides the challenge, signed by `signer`.
pub fn csr_of_parts(key: &KeyPair, subject: &Name, attributes: &[u8], signer: &KeyPair) -> Vec<u8> {
    let challenge = attribute("1.2.840.113549.1.9.7", &[&tlv(0x13, &[CHALLENGE.as_bytes()])]);
    let info = sequence(&[&integer(&[0]), subject.as_der(), &key.spki, &tlv(0xa0, &[&challenge, attributes])]);
    let signature = sign_now(signer.signing.as_ref(), SHA256, &info).unwrap();
    sequence(&[&info, &algorithm("1.2.840.113549.1.1.11", &[5, 0]), &tlv(3, &[&[0], &signature])])
}

/// The attribute that asks for these extensions.
pub fn extension_request(extensions: &[&[u8]]) -> Vec<u8> {
    attribute("1.2.840.113549.1.9.14", &[&sequence(extensions)])
}

/// One extension.
pub fn extension(kind: &str, value: &[u8]) -> Vec<u8> {
    sequence(&[&oid(kind), &tlv(4, &[value])])
}

/// Tag and value of each element.
pub fn elements(mut der: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    while let [tag, first, rest @ ..] = der {
        let octets = if *first < 0x80 { 0 } else { usize::from(first & 0x7f) };
        let len =
            if octets == 0 { usize::from(*first) } else { rest[..octets].iter().fold(0, |len, octet| len << 8 | usize::from(*octet)) };
        found.push((*tag, rest[octets..octets + len].to_vec()));
        der = &rest[octets + len..];
    }
    found
}
