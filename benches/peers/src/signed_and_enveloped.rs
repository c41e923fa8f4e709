//! CMS: 4 KiB of content, RSA-2048, AES-256-CBC, SHA-256; keys and certificates parsed before. What the crate `cms` leaves to its users
//! (decryption, verification) is put together here with `rsa`, `aes` and `sha2`.

use cbc::cipher::{BlockDecryptMut as _, KeyIvInit as _, block_padding::Pkcs7};
use cms::builder::{
    ContentEncryptionAlgorithm, EnvelopedDataBuilder, KeyEncryptionInfo, KeyTransRecipientInfoBuilder, SignedDataBuilder, SignerInfoBuilder,
};
use cms::cert::{CertificateChoices, IssuerAndSerialNumber};
use cms::content_info::ContentInfo;
use cms::enveloped_data::{EnvelopedData, RecipientIdentifier, RecipientInfo};
use cms::signed_data::{EncapsulatedContentInfo, SignedData, SignerIdentifier};
use der::asn1::OctetString;
use der::{Any, Decode as _, Encode as _, Tag};
use intune_connector::crypto::{CryptoProvider, SignatureAlgorithm, sign_now};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::enveloped::{self, EnvelopeBuilder, LegacyCiphers};
use intune_connector::message::signed::{Signed, SignedBuilder, SignedContent, VerifyOptions};
use intune_connector::secret::PrivateKeyPkcs8;
use openssl::cms::{CMSOptions, CmsContentInfo};
use openssl::pkey::PKey;
use openssl::stack::Stack;
use openssl::symm::Cipher;
use openssl::x509::X509;
use rsa::pkcs1v15::{Signature, SigningKey, VerifyingKey};
use rsa::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _};
use rsa::rand_core::OsRng;
use rsa::signature::Verifier as _;
use rsa::{Pkcs1v15Encrypt, RsaPrivateKey, RsaPublicKey};
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use x509_cert_02 as rc_x509;

use crate::fixtures::{CONTENT, ENVELOPED, ISSUER, KEY, LEAF, SIGNED};
use crate::{Contender, OURS, Row};

const RUSTCRYPTO: &str = "RustCrypto cms";
const ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::RsaPkcs1Sha256;

fn provider() -> CryptoProvider {
    CryptoProvider::ring_and_aws_lc_rs()
}

fn our_leaf() -> Certificate {
    Certificate::from_der(LEAF, &Limits::default()).unwrap()
}

fn openssl_objects() -> (PKey<openssl::pkey::Private>, X509) {
    (PKey::private_key_from_pkcs8(KEY).unwrap(), X509::from_der(LEAF).unwrap())
}

fn rustcrypto_key() -> RsaPrivateKey {
    RsaPrivateKey::from_pkcs8_der(KEY).unwrap()
}

fn rustcrypto_leaf() -> rc_x509::Certificate {
    rc_x509::Certificate::from_der(LEAF).unwrap()
}

fn issuer_and_serial(certificate: &rc_x509::Certificate) -> IssuerAndSerialNumber {
    IssuerAndSerialNumber {
        issuer: certificate.tbs_certificate.issuer.clone(),
        serial_number: certificate.tbs_certificate.serial_number.clone(),
    }
}

// EnvelopedData

pub fn enveloped_build() -> Row {
    let (ours, rustcrypto, openssl) = (enveloper_ours(), enveloper_rustcrypto(), enveloper_openssl());
    let contenders = vec![Contender::new(OURS, ours), Contender::new(RUSTCRYPTO, rustcrypto), Contender::new("openssl", openssl)];
    let check = || {
        let (key, leaf) = openssl_objects();
        for message in [enveloper_ours()(), enveloper_rustcrypto()(), enveloper_openssl()()] {
            assert!(CmsContentInfo::from_der(&message).unwrap().decrypt(&key, &leaf).unwrap() == CONTENT);
        }
    };
    Row { contenders, check: Box::new(check) }
}

fn enveloper_ours() -> impl Fn() -> Vec<u8> {
    let (provider, leaf) = (provider(), our_leaf());
    move || EnvelopeBuilder::default().recipient(&leaf).build(CONTENT, &provider).unwrap()
}

fn enveloper_rustcrypto() -> impl Fn() -> Vec<u8> {
    let leaf = rustcrypto_leaf();
    let public_key = RsaPublicKey::from_public_key_der(&leaf.tbs_certificate.subject_public_key_info.to_der().unwrap()).unwrap();
    move || {
        let (mut rng, mut key_rng) = (OsRng, OsRng);
        let recipient = RecipientIdentifier::IssuerAndSerialNumber(issuer_and_serial(&leaf));
        let recipient = KeyTransRecipientInfoBuilder::new(recipient, KeyEncryptionInfo::Rsa(public_key.clone()), &mut key_rng).unwrap();
        let mut builder = EnvelopedDataBuilder::new(None, CONTENT, ContentEncryptionAlgorithm::Aes256Cbc, None).unwrap();
        let enveloped = builder.add_recipient_info(recipient).unwrap().build_with_rng(&mut rng).unwrap();
        let content = Any::encode_from(&enveloped).unwrap();
        ContentInfo { content_type: const_oid::db::rfc5911::ID_ENVELOPED_DATA, content }.to_der().unwrap()
    }
}

fn enveloper_openssl() -> impl Fn() -> Vec<u8> {
    let mut recipients = Stack::new().unwrap();
    recipients.push(openssl_objects().1).unwrap();
    move || CmsContentInfo::encrypt(&recipients, CONTENT, Cipher::aes_256_cbc(), CMSOptions::BINARY).unwrap().to_der().unwrap()
}

pub fn enveloped_open() -> Row {
    let (ours, rustcrypto, openssl) = (opener_ours(), opener_rustcrypto(), opener_openssl());
    let contenders = vec![Contender::new(OURS, ours), Contender::new(RUSTCRYPTO, rustcrypto), Contender::new("openssl", openssl)];
    let check = || {
        assert!(opener_ours()() == CONTENT);
        assert!(opener_rustcrypto()() == CONTENT);
        assert!(opener_openssl()() == CONTENT);
    };
    Row { contenders, check: Box::new(check) }
}

fn opener_ours() -> impl Fn() -> Vec<u8> {
    let (provider, leaf) = (provider(), our_leaf());
    let key = provider.decryption_keys().unwrap().load(&PrivateKeyPkcs8::new(KEY.to_vec())).unwrap();
    let limits = Limits::default();
    move || {
        let decryption = enveloped::decrypt(ENVELOPED, &leaf, &*key, LegacyCiphers::Refuse, &provider, &limits);
        poll_once(decryption).unwrap().secret_bytes().to_vec()
    }
}

/// Keys in software are ready at once.
fn poll_once<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("a key in software waits"),
    }
}

fn opener_rustcrypto() -> impl Fn() -> Vec<u8> {
    let (key, leaf) = (rustcrypto_key(), rustcrypto_leaf());
    move || {
        let info = ContentInfo::from_der(ENVELOPED).unwrap();
        let enveloped: EnvelopedData = info.content.decode_as().unwrap();
        let wanted = RecipientIdentifier::IssuerAndSerialNumber(issuer_and_serial(&leaf));
        let recipient = enveloped.recip_infos.0.iter().find_map(|recipient| match recipient {
            RecipientInfo::Ktri(recipient) if recipient.rid == wanted => Some(recipient),
            _ => None,
        });
        // With blinding, as whoever decrypts for strangers must.
        let content_key = key.decrypt_blinded(&mut OsRng, Pkcs1v15Encrypt, recipient.unwrap().enc_key.as_bytes()).unwrap();
        let content = enveloped.encrypted_content;
        let iv: OctetString = content.content_enc_alg.parameters.unwrap().decode_as().unwrap();
        let cipher = cbc::Decryptor::<aes::Aes256>::new_from_slices(&content_key, iv.as_bytes()).unwrap();
        cipher.decrypt_padded_vec_mut::<Pkcs7>(content.encrypted_content.unwrap().as_bytes()).unwrap()
    }
}

fn opener_openssl() -> impl Fn() -> Vec<u8> {
    let (key, leaf) = openssl_objects();
    move || CmsContentInfo::from_der(ENVELOPED).unwrap().decrypt(&key, &leaf).unwrap()
}

// SignedData

pub fn signed_build() -> Row {
    let (ours, rustcrypto, openssl) = (signer_ours(), signer_rustcrypto(), signer_openssl());
    let contenders = vec![Contender::new(OURS, ours), Contender::new(RUSTCRYPTO, rustcrypto), Contender::new("openssl", openssl)];
    let check = || {
        for message in [signer_ours()(), signer_rustcrypto()(), signer_openssl()()] {
            assert!(verify_openssl(&message) == CONTENT);
            assert_eq!(parse_rustcrypto(&message).1.len(), 1);
        }
    };
    Row { contenders, check: Box::new(check) }
}

/// The signer's certificate is put in; signed attributes are contentType and messageDigest. (OpenSSL adds signingTime.)
fn signer_ours() -> impl Fn() -> Vec<u8> {
    let (provider, leaf) = (provider(), our_leaf());
    let key = provider.signing_keys().unwrap().load(&PrivateKeyPkcs8::new(KEY.to_vec())).unwrap();
    let der = CertificateDer::from(LEAF);
    move || {
        let unsigned =
            SignedBuilder::new(SignedContent::Attached(CONTENT)).certificate(&der).to_be_signed(&leaf, ALGORITHM, &provider).unwrap();
        let signature = sign_now(&*key, ALGORITHM, unsigned.message()).unwrap();
        unsigned.finish(&signature)
    }
}

fn signer_rustcrypto() -> impl Fn() -> Vec<u8> {
    let (key, leaf) = (SigningKey::<Sha256>::new(rustcrypto_key()), rustcrypto_leaf());
    move || {
        let content = EncapsulatedContentInfo {
            econtent_type: const_oid::db::rfc5911::ID_DATA,
            econtent: Some(Any::new(Tag::OctetString, CONTENT).unwrap()),
        };
        let digest = spki::AlgorithmIdentifierOwned { oid: const_oid::db::rfc5912::ID_SHA_256, parameters: None };
        let signer = SignerIdentifier::IssuerAndSerialNumber(issuer_and_serial(&leaf));
        let signer = SignerInfoBuilder::new(&key, signer, digest.clone(), &content, None).unwrap();
        let mut builder = SignedDataBuilder::new(&content);
        builder.add_digest_algorithm(digest).unwrap();
        builder.add_certificate(CertificateChoices::Certificate(leaf.clone())).unwrap();
        builder.add_signer_info::<_, Signature>(signer).unwrap().build().unwrap().to_der().unwrap()
    }
}

fn signer_openssl() -> impl Fn() -> Vec<u8> {
    let (key, leaf) = openssl_objects();
    let options = CMSOptions::BINARY | CMSOptions::NOSMIMECAP;
    move || CmsContentInfo::sign(Some(&leaf), Some(&key), None, Some(CONTENT), options).unwrap().to_der().unwrap()
}

pub fn signed_verify() -> Row {
    let provider = provider();
    let contenders = vec![
        Contender::new(OURS, move || verify_ours(SIGNED, &provider)),
        Contender::new(RUSTCRYPTO, || verify_rustcrypto(SIGNED)),
        Contender::new("openssl", || verify_openssl(SIGNED)),
    ];
    let check = || {
        assert!(verify_ours(SIGNED, &self::provider()) == CONTENT);
        assert!(verify_rustcrypto(SIGNED) == CONTENT);
        assert!(verify_openssl(SIGNED) == CONTENT);
    };
    Row { contenders, check: Box::new(check) }
}

fn verify_ours(message: &[u8], provider: &CryptoProvider) -> Vec<u8> {
    let signed = Signed::parse(message, &Limits::default()).unwrap();
    signed.verify(VerifyOptions::default(), provider).unwrap().content().to_vec()
}

fn verify_rustcrypto(message: &[u8]) -> Vec<u8> {
    let info = ContentInfo::from_der(message).unwrap();
    let signed: SignedData = info.content.decode_as().unwrap();
    let content: OctetString = signed.encap_content_info.econtent.unwrap().decode_as().unwrap();
    for signer in signed.signer_infos.0.iter() {
        let SignerIdentifier::IssuerAndSerialNumber(wanted) = &signer.sid else { panic!("another identifier") };
        let certificates = signed.certificates.as_ref().unwrap();
        let certificate = certificates.0.iter().find_map(|choice| match choice {
            CertificateChoices::Certificate(certificate) if issuer_and_serial(certificate) == *wanted => Some(certificate),
            _ => None,
        });
        let attributes = signer.signed_attrs.as_ref().unwrap();
        let of_type = |oid| attributes.iter().find(|attribute| attribute.oid == oid).unwrap().values.get(0).unwrap();
        let digest: OctetString = of_type(const_oid::db::rfc5911::ID_MESSAGE_DIGEST).decode_as().unwrap();
        assert_eq!(digest.as_bytes(), Sha256::digest(content.as_bytes()).as_slice());
        let content_type: der::asn1::ObjectIdentifier = of_type(const_oid::db::rfc5911::ID_CONTENT_TYPE).decode_as().unwrap();
        assert_eq!(content_type, signed.encap_content_info.econtent_type);
        let spki = certificate.unwrap().tbs_certificate.subject_public_key_info.to_der().unwrap();
        let key = VerifyingKey::<Sha256>::new(RsaPublicKey::from_public_key_der(&spki).unwrap());
        let signature = Signature::try_from(signer.signature.as_bytes()).unwrap();
        key.verify(&attributes.to_der().unwrap(), &signature).unwrap();
    }
    content.into_bytes()
}

fn verify_openssl(message: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    let mut signed = CmsContentInfo::from_der(message).unwrap();
    // The signature, not the path of the signer's certificate, as with the others.
    let options = CMSOptions::BINARY | CMSOptions::NO_SIGNER_CERT_VERIFY;
    signed.verify(None, None, None, Some(&mut content), options).unwrap();
    content
}

/// Parsing alone: content, certificates as they are, signers. The `openssl` crate has no accessor; it builds the tree, certificates included.
pub fn signed_parse() -> Row {
    let contenders = vec![
        Contender::new(OURS, || Signed::parse(std::hint::black_box(SIGNED), &Limits::default()).unwrap()),
        Contender::new(RUSTCRYPTO, || {
            let info = ContentInfo::from_der(std::hint::black_box(SIGNED)).unwrap();
            info.content.decode_as::<SignedData>().unwrap()
        }),
        Contender::new("openssl", || CmsContentInfo::from_der(std::hint::black_box(SIGNED)).unwrap()),
    ];
    let check = || {
        let ours = Signed::parse(SIGNED, &Limits::default()).unwrap();
        let mut certificates: Vec<Vec<u8>> = ours.certificates().map(|certificate| certificate.to_vec()).collect();
        certificates.sort();
        let (content, mut theirs) = parse_rustcrypto(SIGNED);
        theirs.sort();
        assert!(ours.unverified_content() == Some(CONTENT) && certificates.len() == 2);
        assert!(content == CONTENT && theirs == certificates);
        assert!(certificates.iter().any(|der| der == LEAF) && certificates.iter().any(|der| der == ISSUER));
        assert!(verify_openssl(SIGNED) == CONTENT);
    };
    Row { contenders, check: Box::new(check) }
}

fn parse_rustcrypto(message: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let signed: SignedData = ContentInfo::from_der(message).unwrap().content.decode_as().unwrap();
    let content: OctetString = signed.encap_content_info.econtent.unwrap().decode_as().unwrap();
    let certificates = signed.certificates.unwrap().0.iter().map(|choice| choice.to_der().unwrap()).collect();
    (content.into_bytes(), certificates)
}
