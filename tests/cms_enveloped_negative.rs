//! Envelopes that must be refused, each test named after what others learnt from theirs.
#![cfg(all(feature = "ring", feature = "aws-lc-rs"))]

#[path = "support/pki.rs"]
mod pki;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use intune_connector::crypto::{
    AeadAlgorithm, ContentCipherAlgorithm as Cipher, CryptoError, CryptoProvider, DecryptionKey, DigestAlgorithm,
    KeyTransportAlgorithm as Transport, Pbkdf2, UnwrapError, UnwrapRequest,
};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::enveloped::{
    CmsError, CmsErrorKind, EnvelopeBuilder, LegacyCiphers, Opening, decrypt, decrypt_encrypted_data,
};
use intune_connector::secret::{Password, SecretBytes};
use intune_connector::terms::KeyAlgorithm;
use rustls_pki_types::SubjectPublicKeyInfoDer;

const CONTENT: &[u8] = b"nobody else's business";
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
const ENVELOPED: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 3];
const AUTH_ENVELOPED: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 23];
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3];
const AES128_CBC: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 2];
const AES128_CFB: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 4];
const AES128_WRAP: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 5];
const AES128_GCM: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 6];
const RC4: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 3, 4];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 12];
const PWRI_KEK: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 3, 9];
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const RSAES_OAEP: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 7];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const STD_DH_SHA256_KDF: &[u8] = &[0x2b, 0x81, 4, 1, 11, 1];

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let len = content.len();
    let head = match len {
        0..0x80 => vec![tag, len as u8],
        0x80..0x100 => vec![tag, 0x81, len as u8],
        _ => vec![tag, 0x82, (len >> 8) as u8, len as u8],
    };
    [head, content].concat()
}

fn algorithm(oid: &[u8], parameters: &[u8]) -> Vec<u8> {
    tlv(0x30, &[&tlv(6, &[oid]), parameters])
}

fn info(content_type: &[u8], cipher: &[u8], ciphertext: &[u8]) -> Vec<u8> {
    tlv(0x30, &[&tlv(6, &[content_type]), cipher, &tlv(0x80, &[ciphertext])])
}

fn cbc() -> Vec<u8> {
    algorithm(AES128_CBC, &tlv(4, &[&[7; 16]]))
}

fn enveloped(recipients: &[&[u8]]) -> Vec<u8> {
    let data = tlv(0x30, &[&[2, 1, 2], &tlv(0x31, recipients), &info(DATA, &cbc(), &[9; 32])]);
    tlv(0x30, &[&tlv(6, &[ENVELOPED]), &tlv(0xa0, &[&data])])
}

/// An authenticated envelope for a shared key; everything about the content is given.
fn auth_enveloped(kekri: &[u8], info: &[u8], attributes: &[u8], mac: &[u8]) -> Vec<u8> {
    let data = tlv(0x30, &[&[2, 1, 0], &tlv(0x31, &[kekri]), info, attributes, mac]);
    tlv(0x30, &[&tlv(6, &[AUTH_ENVELOPED]), &tlv(0xa0, &[&data])])
}

fn kekri(wrap: &[u8], wrapped: &[u8]) -> Vec<u8> {
    tlv(0xa2, &[&[2, 1, 4], &tlv(0x30, &[&tlv(4, &[b"k"])]), wrap, &tlv(4, &[wrapped])])
}

fn pwri(derivation: &[u8], wrap: &[u8], wrapped: &[u8]) -> Vec<u8> {
    tlv(0xa3, &[&[2, 1, 0], derivation, wrap, &tlv(4, &[wrapped])])
}

fn pbkdf2(iterations: &[u8]) -> Vec<u8> {
    tlv(0xa0, &[&tlv(6, &[PBKDF2]), &tlv(0x30, &[&tlv(4, &[b"salt salt"]), &tlv(2, &[iterations])])])
}

/// Fails the test that makes it derive.
#[derive(Debug)]
struct NeverDerives;

impl Pbkdf2 for NeverDerives {
    fn derive(&self, _: DigestAlgorithm, _: &[u8], _: &[u8], _: u32, _: &mut [u8]) -> Result<(), CryptoError> {
        panic!("a key was derived")
    }
}

fn provider() -> CryptoProvider {
    CryptoProvider::ring_and_aws_lc_rs()
}

fn opening(message: &[u8]) -> Opening {
    Opening::parse(message, &Limits::default()).unwrap()
}

fn kek() -> SecretBytes {
    SecretBytes::copy_from(&[3; 16])
}

fn malformed<T>(result: &Result<T, CmsError>) -> bool {
    matches!(result, Err(CmsError::Malformed(_)))
}

/// A certificate with its key, which counts how often it is asked.
struct Party {
    certificate: Certificate,
    key: Counting,
}

#[derive(Debug)]
struct Counting(Arc<dyn DecryptionKey>, AtomicUsize);

#[async_trait]
impl DecryptionKey for Counting {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.0.public_key()
    }

    async fn unwrap(&self, request: &UnwrapRequest) -> Result<SecretBytes, UnwrapError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.unwrap(request).await
    }
}

impl Party {
    fn new(algorithm: KeyAlgorithm, name: &str) -> Self {
        let provider = provider();
        let identity = pki::leaf(&provider, &pki::root(&provider, "CA"), name, algorithm, |builder| builder);
        let key = provider.decryption_keys().unwrap().load(&identity.key).unwrap();
        let certificate = Certificate::from_der(&identity.certificate, &Limits::default()).unwrap();
        Self { certificate, key: Counting(key, AtomicUsize::new(0)) }
    }

    fn rid(&self) -> Vec<u8> {
        tlv(0x30, &[self.certificate.issuer().as_der(), &tlv(2, &[self.certificate.serial_raw()])])
    }

    fn ktri(&self, transport: &[u8], encrypted: &[u8]) -> Vec<u8> {
        tlv(0x30, &[&[2, 1, 0], &self.rid(), transport, &tlv(4, &[encrypted])])
    }

    fn kari(&self, point: &[u8], ukm: &[u8], scheme: &[u8]) -> Vec<u8> {
        let key = tlv(0xa1, &[&algorithm(EC_PUBLIC_KEY, &[]), &tlv(3, &[&[0], point])]);
        let keys = tlv(0x30, &[&tlv(0x30, &[&self.rid(), &tlv(4, &[&[5; 24]])])]);
        tlv(0xa1, &[&[2, 1, 3], &tlv(0xa0, &[&key]), ukm, scheme, &keys])
    }

    fn open(&self, message: &[u8]) -> Result<SecretBytes, CmsError> {
        let (provider, limits) = (provider(), Limits::default());
        decrypt(message, &self.certificate, &self.key, LegacyCiphers::Refuse, &provider, &limits).now_or_never().unwrap()
    }

    fn asked(&self) -> usize {
        self.key.1.load(Ordering::SeqCst)
    }
}

#[test]
fn cve_2025_15467_a_gcm_nonce_of_any_other_length_than_12_is_refused() {
    for len in [0, 1, 8, 11, 13, 16, 128, 4096] {
        let cipher = algorithm(AES128_GCM, &tlv(0x30, &[&tlv(4, &[&vec![1; len]]), &[2, 1, 16]]));
        let message = auth_enveloped(&kekri(&algorithm(AES128_WRAP, &[]), &[0; 24]), &info(DATA, &cipher, b"x"), &[], &tlv(4, &[&[0; 16]]));
        assert!(malformed(&opening(&message).decrypt_with_kek(b"k", &kek(), &provider())), "{len}");
    }
}

#[test]
fn cve_2026_34182_a_gcm_tag_shorter_than_16_is_refused() {
    let wrap = kekri(&algorithm(AES128_WRAP, &[]), &[0; 24]);
    // Announced and real lengths; `None` is the default of 12.
    for (announced, real) in
        [(None, 12), (None, 16), (Some(4), 4), (Some(12), 12), (Some(15), 15), (Some(16), 15), (Some(16), 0), (Some(12), 16)]
    {
        let announced = announced.map(|len| vec![2, 1, len]).unwrap_or_default();
        let cipher = algorithm(AES128_GCM, &tlv(0x30, &[&tlv(4, &[&[1; 12]]), &announced]));
        let message = auth_enveloped(&wrap, &info(DATA, &cipher, b"x"), &[], &tlv(4, &[&vec![0; real]]));
        assert!(malformed(&opening(&message).decrypt_with_kek(b"k", &kek(), &provider())), "{announced:?} {real}");
    }
}

#[test]
fn an_authenticated_envelope_without_a_mac_or_an_authenticated_cipher_is_refused() {
    let wrap = kekri(&algorithm(AES128_WRAP, &[]), &[0; 24]);
    let gcm = algorithm(AES128_GCM, &tlv(0x30, &[&tlv(4, &[&[1; 12]]), &[2, 1, 16]]));
    let no_mac = auth_enveloped(&wrap, &info(DATA, &gcm, b"x"), &[], &[]);
    assert!(malformed(&Opening::parse(&no_mac, &Limits::default())));
    let cbc = auth_enveloped(&wrap, &info(DATA, &cbc(), &[0; 16]), &[], &tlv(4, &[&[0; 16]]));
    let error = opening(&cbc).decrypt_with_kek(b"k", &kek(), &provider()).unwrap_err();
    assert!(matches!(error, CmsError::UnsupportedAlgorithm { role: "authenticated content cipher", .. }), "{error}");
    let bare = auth_enveloped(&wrap, &info(DATA, &algorithm(AES128_GCM, &[]), b"x"), &[], &tlv(4, &[&[0; 16]]));
    assert!(malformed(&opening(&bare).decrypt_with_kek(b"k", &kek(), &provider())));
}

#[test]
fn authenticated_attributes_are_demanded_for_other_contents_and_must_name_them() {
    let wrap = kekri(&algorithm(AES128_WRAP, &[]), &[0; 24]);
    let gcm = algorithm(AES128_GCM, &tlv(0x30, &[&tlv(4, &[&[1; 12]]), &[2, 1, 16]]));
    let parse = |content: &[u8], attributes: &[u8]| {
        let message = auth_enveloped(&wrap, &info(content, &gcm, b"x"), attributes, &tlv(4, &[&[0; 16]]));
        Opening::parse(&message, &Limits::default())
    };
    let attribute = |value: &[u8]| tlv(0x30, &[&tlv(6, &[CONTENT_TYPE]), &tlv(0x31, &[&tlv(6, &[value])])]);
    assert!(parse(DATA, &[]).is_ok());
    assert!(parse(ENVELOPED, &tlv(0xa1, &[&attribute(ENVELOPED)])).is_ok());
    assert!(malformed(&parse(ENVELOPED, &[])));
    assert!(malformed(&parse(ENVELOPED, &tlv(0xa1, &[&attribute(DATA)]))));
    assert!(malformed(&parse(DATA, &tlv(0xa1, &[]))));
    assert!(malformed(&parse(DATA, &tlv(0xa1, &[&attribute(DATA), &attribute(DATA)]))));
}

#[test]
fn authenticated_content_is_not_given_out_when_anything_was_changed() {
    let party = Party::new(KeyAlgorithm::EcP256, "CN=device");
    let builder = EnvelopeBuilder::authenticated(AeadAlgorithm::Aes256Gcm, Transport::RsaOaepSha256);
    let message = builder.recipient(&party.certificate).build(CONTENT, &provider()).unwrap();
    assert_eq!(party.open(&message).unwrap().secret_bytes(), CONTENT);
    // The ciphertext and the tag are the end of the message.
    for from_end in 1..=16 + 2 + CONTENT.len() {
        let mut changed = message.clone();
        let at = changed.len() - from_end;
        changed[at] ^= 1;
        let error = party.open(&changed).unwrap_err();
        assert!(matches!(error.kind(), CmsErrorKind::Decryption | CmsErrorKind::Malformed), "{error}");
    }
}

#[test]
fn cve_2025_9230_a_key_wrapped_for_a_password_is_never_read_beyond_its_end() {
    let wrap = algorithm(PWRI_KEK, &cbc());
    for len in [0, 1, 2, 8, 15, 16, 17, 31, 33] {
        let message = enveloped(&[&pwri(&pbkdf2(&[1]), &wrap, &vec![0; len])]);
        assert!(malformed(&opening(&message).decrypt_with_password(&Password::from("p"), &provider())), "{len}");
    }
    // Whole blocks of noise: check bytes and length are wrong, as one failure (or as noise, once in 256 times).
    for seed in 0..64_u8 {
        let noise: Vec<u8> = (0..32).map(|at: u8| at.wrapping_mul(31).wrapping_add(seed.wrapping_mul(57))).collect();
        let message = enveloped(&[&pwri(&pbkdf2(&[1]), &wrap, &noise)]);
        let result = opening(&message).decrypt_with_password(&Password::from("p"), &provider());
        assert!(matches!(result, Err(CmsError::Decryption) | Ok(_)), "{result:?}");
    }
}

#[test]
fn cve_2026_9076_a_stream_cipher_does_not_wrap_a_key_for_a_password() {
    for cipher in [algorithm(AES128_CFB, &tlv(4, &[&[0; 16]])), algorithm(RC4, &[5, 0]), algorithm(RC4, &[])] {
        let message = enveloped(&[&pwri(&pbkdf2(&[1]), &algorithm(PWRI_KEK, &cipher), &[0; 32])]);
        let error = opening(&message).decrypt_with_password(&Password::from("p"), &provider()).unwrap_err();
        assert!(matches!(error, CmsError::UnsupportedAlgorithm { role: "cipher of id-alg-PWRI-KEK", .. }), "{error}");
    }
}

#[test]
fn cve_2026_42766_absent_parameters_of_a_password_recipient_are_an_error() {
    let good = algorithm(PWRI_KEK, &cbc());
    let no_parameters = tlv(0xa0, &[&tlv(6, &[PBKDF2])]);
    for (derivation, wrap) in [
        (Vec::new(), good.clone()),
        (no_parameters, good.clone()),
        (tlv(0xa0, &[&tlv(6, &[PBKDF2]), &[5, 0]]), good),
        (pbkdf2(&[1]), algorithm(PWRI_KEK, &[])),
        (pbkdf2(&[1]), algorithm(PWRI_KEK, &[5, 0])),
        (pbkdf2(&[1]), algorithm(PWRI_KEK, &algorithm(AES128_CBC, &[]))),
        (pbkdf2(&[1]), algorithm(PWRI_KEK, &algorithm(AES128_CBC, &[5, 0]))),
        (pbkdf2(&[0]), algorithm(PWRI_KEK, &cbc())),
    ] {
        let message = enveloped(&[&pwri(&derivation, &wrap, &[0; 32])]);
        let result = opening(&message).decrypt_with_password(&Password::from("p"), &provider());
        assert!(malformed(&result), "{result:?}");
    }
}

#[test]
fn the_rounds_of_all_password_recipients_together_are_bounded_before_any_is_derived() {
    let one = pwri(&pbkdf2(&[0x0f, 0x42, 0x40]), &algorithm(PWRI_KEK, &cbc()), &[0; 32]);
    // Six times a million rounds: each alone is allowed, all together are not.
    let message = enveloped(&[&one, &one, &one, &one, &one, &one]);
    let provider = provider().with_pbkdf2(Arc::new(NeverDerives));
    let error = opening(&message).decrypt_with_password(&Password::from("p"), &provider).unwrap_err();
    assert!(matches!(&error, CmsError::Limit(limit) if limit.what == "kdf_iterations"), "{error}");
    let bomb = enveloped(&[&pwri(&pbkdf2(&[0x7f; 8]), &algorithm(PWRI_KEK, &cbc()), &[0; 32])]);
    assert!(matches!(opening(&bomb).decrypt_with_password(&Password::from("p"), &provider), Err(CmsError::Limit(_))));
}

#[test]
fn a_password_that_protects_nothing_is_not_written() {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    for nothing in ["", "\0", "\0\0\0"] {
        let password = Password::from(nothing);
        let built = EnvelopeBuilder::default().password_recipient(&password, 10_000).build(b"content", &provider);
        assert!(matches!(built, Err(CmsError::Crypto(_))), "{nothing:?}");
    }
}

#[test]
fn a_password_recipient_is_not_derived_unless_the_caller_opens_by_password() {
    let party = Party::new(KeyAlgorithm::EcP256, "CN=device");
    let bomb = pwri(&pbkdf2(&[0x7f; 8]), &algorithm(PWRI_KEK, &cbc()), &[0; 32]);
    let message = enveloped(&[&bomb]);
    assert!(matches!(party.open(&message), Err(CmsError::NotARecipient)));
    assert!(matches!(opening(&message).decrypt_with_kek(b"k", &kek(), &provider()), Err(CmsError::NotARecipient)));
    assert_eq!(party.asked(), 0);
}

#[test]
fn a_shared_key_with_another_wrap_than_aes_is_refused_by_name() {
    for wrap in [algorithm(AES128_CFB, &[]), algorithm(RC4, &[5, 0]), algorithm(AES128_CBC, &tlv(4, &[&[0; 16]]))] {
        let message = enveloped(&[&kekri(&wrap, &[0; 24])]);
        let error = opening(&message).decrypt_with_kek(b"k", &kek(), &provider()).unwrap_err();
        assert!(matches!(error, CmsError::UnsupportedAlgorithm { role: "key wrap", .. }), "{error}");
    }
    for len in [0, 1, 8, 16, 23, 25] {
        let message = enveloped(&[&kekri(&algorithm(AES128_WRAP, &[]), &vec![0; len])]);
        let result = opening(&message).decrypt_with_kek(b"k", &kek(), &provider());
        assert!(matches!(result, Err(CmsError::Decryption) | Ok(_)), "{result:?}");
    }
}

#[test]
fn cve_2026_28389_optional_parameters_of_a_key_agreement_may_be_missing() {
    let party = Party::new(KeyAlgorithm::EcP256, "CN=device");
    let spki = party.key.public_key();
    let point = &spki[spki.len() - 65..];
    let wrap = algorithm(AES128_WRAP, &[]);
    let ukm = tlv(0xa1, &[&tlv(4, &[b"ukm"])]);
    for ukm in [&[][..], &ukm] {
        // A sound structure around noise: one failure, or noise.
        let message = enveloped(&[&party.kari(point, ukm, &algorithm(STD_DH_SHA256_KDF, &wrap))]);
        assert!(matches!(party.open(&message), Err(CmsError::Decryption) | Ok(_)));
    }
    let asked = party.asked();
    for scheme in [algorithm(STD_DH_SHA256_KDF, &[]), algorithm(STD_DH_SHA256_KDF, &[5, 0]), algorithm(STD_DH_SHA256_KDF, &tlv(0x30, &[]))]
    {
        assert!(malformed(&party.open(&enveloped(&[&party.kari(point, &[], &scheme)]))));
    }
    assert_eq!(party.asked(), asked, "what is wrong without the key is told without the key");
}

#[test]
fn a_point_that_is_not_on_the_curve_fails_like_any_other_damage() {
    let party = Party::new(KeyAlgorithm::EcP256, "CN=device");
    let spki = party.key.public_key();
    let mut point = spki[spki.len() - 65..].to_vec();
    point[64] ^= 1;
    for point in [point, vec![0], vec![4; 65], vec![], vec![4; 97]] {
        let message = enveloped(&[&party.kari(&point, &[], &algorithm(STD_DH_SHA256_KDF, &algorithm(AES128_WRAP, &[])))]);
        assert!(matches!(party.open(&message), Err(CmsError::Decryption) | Ok(_)));
    }
}

#[test]
fn oaep_without_parameters_means_the_defaults() {
    let party = Party::new(KeyAlgorithm::Rsa2048, "CN=device");
    let mut opened = opening(&enveloped(&[&party.ktri(&algorithm(RSAES_OAEP, &[]), &[1; 256])]));
    let request = opened.unwrap_request(&party.certificate, &provider()).unwrap();
    assert_eq!(request.algorithm(), Some(Transport::RsaOaepSha1));
    let null = party.open(&enveloped(&[&party.ktri(&algorithm(RSAES_OAEP, &[5, 0]), &[1; 256])]));
    assert!(malformed(&null), "{null:?}");
}

#[test]
fn cve_2019_1563_only_the_recipient_that_is_ours_is_tried_and_once() {
    let (ours, other) = (Party::new(KeyAlgorithm::Rsa2048, "CN=ours"), Party::new(KeyAlgorithm::Rsa2048, "CN=other"));
    let ec = Party::new(KeyAlgorithm::EcP256, "CN=ec");
    let builder = EnvelopeBuilder::default().recipient(&other.certificate).recipient(&ec.certificate).recipient(&ours.certificate);
    let message = builder.build(CONTENT, &provider()).unwrap();
    assert_eq!(ours.open(&message).unwrap().secret_bytes(), CONTENT);
    assert_eq!((ours.asked(), other.asked()), (1, 0));
    assert_eq!(ec.open(&message).unwrap().secret_bytes(), CONTENT);
    assert_eq!(ec.asked(), 1);
    // Bad padding for us is not mended by another recipient, nor by a second one of ours.
    let rsa = algorithm(RSA_ENCRYPTION, &[5, 0]);
    let message = enveloped(&[&ours.ktri(&rsa, &[1; 256]), &ours.ktri(&rsa, &[2; 256]), &other.ktri(&rsa, &[3; 256])]);
    assert!(matches!(ours.open(&message), Err(CmsError::Decryption) | Ok(_)));
    assert_eq!((ours.asked(), other.asked()), (2, 0));
}

#[test]
fn an_envelope_without_recipients_is_for_nobody() {
    let party = Party::new(KeyAlgorithm::EcP256, "CN=device");
    let message = enveloped(&[]);
    assert!(matches!(party.open(&message), Err(CmsError::NotARecipient)));
    assert!(matches!(opening(&message).decrypt_with_password(&Password::from("p"), &provider()), Err(CmsError::NotARecipient)));
    assert!(matches!(opening(&message).decrypt_with_kek(b"k", &kek(), &provider()), Err(CmsError::NotARecipient)));
    assert!(matches!(EnvelopeBuilder::default().build(CONTENT, &provider()), Err(CmsError::Certificate(_))));
}

#[test]
fn a_key_of_the_wrong_kind_is_called_unsuitable_and_nothing_else() {
    let (rsa, ec) = (Party::new(KeyAlgorithm::Rsa2048, "CN=rsa"), Party::new(KeyAlgorithm::EcP256, "CN=ec"));
    for (certificate, key) in [(&rsa.certificate, &ec.key), (&ec.certificate, &rsa.key)] {
        let message = EnvelopeBuilder::default().recipient(certificate).build(CONTENT, &provider()).unwrap();
        let (provider, limits) = (provider(), Limits::default());
        let result = decrypt(&message, certificate, key, LegacyCiphers::Refuse, &provider, &limits).now_or_never().unwrap();
        assert!(matches!(result, Err(CmsError::KeyUnsuitable(_))), "{result:?}");
    }
}

#[test]
fn a_message_cannot_have_a_key_asked_for_what_its_certificate_is_not_for() {
    let (rsa, ec) = (Party::new(KeyAlgorithm::Rsa2048, "CN=rsa"), Party::new(KeyAlgorithm::EcP256, "CN=ec"));
    // A key agreement that names an RSA certificate, with a sender's key that claims to be RSA too; key transport to an EC one.
    let claimed = tlv(0xa1, &[&algorithm(RSA_ENCRYPTION, &[5, 0]), &tlv(3, &[&[0], &[4; 65]])]);
    let keys = tlv(0x30, &[&tlv(0x30, &[&rsa.rid(), &tlv(4, &[&[5; 24]])])]);
    let scheme = algorithm(STD_DH_SHA256_KDF, &algorithm(AES128_WRAP, &[]));
    let kari = tlv(0xa1, &[&[2, 1, 3], &tlv(0xa0, &[&claimed]), &scheme, &keys]);
    let ktri = ec.ktri(&algorithm(RSA_ENCRYPTION, &[5, 0]), &[1; 256]);
    for (party, recipient) in [(&rsa, &kari), (&ec, &ktri)] {
        let result = party.open(&enveloped(&[recipient]));
        assert!(matches!(result, Err(CmsError::NotARecipient)), "{result:?}");
        assert_eq!(party.asked(), 0);
    }
    // It does not hide the recipient that fits either.
    let ktri = rsa.ktri(&algorithm(RSA_ENCRYPTION, &[5, 0]), &[1; 256]);
    assert!(matches!(rsa.open(&enveloped(&[&kari, &ktri])), Err(CmsError::Decryption) | Ok(_)));
    assert_eq!(rsa.asked(), 1);
}

#[test]
fn an_authenticated_cipher_that_the_provider_lacks_is_not_called_damage() {
    let party = Party::new(KeyAlgorithm::Rsa2048, "CN=rsa");
    let builder = EnvelopeBuilder::authenticated(AeadAlgorithm::Aes192Gcm, Transport::RsaOaepSha256);
    let message = builder.recipient(&party.certificate).build(CONTENT, &provider()).unwrap();
    let ring = CryptoProvider::ring_only();
    let mut opening = opening(&message);
    let request = opening.unwrap_request(&party.certificate, &ring).unwrap();
    let key = party.key.unwrap(&request).now_or_never().unwrap();
    let result = opening.finish(key, &ring);
    assert!(matches!(result, Err(CmsError::Crypto(CryptoError::Unsupported(_)))), "{result:?}");
}

#[test]
fn other_content_types_are_told_by_name() {
    // digestedData, encryptedData, signedAndEnvelopedData, compressedData
    for oid in [&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 5][..], &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 6]] {
        let message = tlv(0x30, &[&tlv(6, &[oid]), &tlv(0xa0, &[&tlv(0x30, &[&[2, 1, 0]])])]);
        assert!(matches!(Opening::parse(&message, &Limits::default()), Err(CmsError::ContentType(_))));
    }
    for oid in [&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 4][..], &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 9]] {
        let message = tlv(0x30, &[&tlv(6, &[oid]), &tlv(0xa0, &[&tlv(0x30, &[&[2, 1, 0]])])]);
        let error = decrypt_encrypted_data(&message, &kek(), LegacyCiphers::Refuse, &provider(), &Limits::default()).unwrap_err();
        assert!(matches!(error, CmsError::ContentType(_)), "{error}");
    }
}

#[test]
fn what_stands_around_the_content_does_not_hinder_it() {
    // As Bouncy Castle streams it: indefinite lengths, the ciphertext in chunks; with originatorInfo and unprotectedAttrs.
    fn indefinite(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        [&[tag, 0x80][..], &parts.concat(), &[0, 0]].concat()
    }
    let provider = provider();
    let ciphertext = provider.content_cipher().unwrap().encrypt(Cipher::Aes128Cbc, &[8; 16], &[7; 16], &[b'x'; 100]).unwrap();
    let wrapped = provider.key_wrap().unwrap().wrap(kek().secret_bytes(), &[8; 16]).unwrap();
    let root = pki::root(&provider, "CA");
    let originator = tlv(0xa0, &[&tlv(0xa0, &[&root.certificate])]);
    let chunks: Vec<Vec<u8>> = ciphertext.chunks(30).map(|chunk| tlv(4, &[chunk])).collect();
    let chunks = indefinite(0xa0, &chunks.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let info = indefinite(0x30, &[&tlv(6, &[DATA]), &cbc(), &chunks]);
    let attributes = tlv(0xa1, &[&tlv(0x30, &[&tlv(6, &[CONTENT_TYPE]), &tlv(0x31, &[&tlv(6, &[DATA])])])]);
    let recipients = indefinite(0x31, &[&kekri(&algorithm(AES128_WRAP, &[]), &wrapped)]);
    let data = indefinite(0x30, &[&[2, 1, 2], &originator, &recipients, &info, &attributes]);
    let message = indefinite(0x30, &[&tlv(6, &[ENVELOPED]), &indefinite(0xa0, &[&data])]);
    assert_eq!(opening(&message).decrypt_with_kek(b"k", &kek(), &provider).unwrap().secret_bytes(), [b'x'; 100]);
}

#[test]
fn authenticated_attributes_are_part_of_what_is_authenticated() {
    let provider = provider();
    let attributes = tlv(0x30, &[&tlv(6, &[CONTENT_TYPE]), &tlv(0x31, &[&tlv(6, &[ENVELOPED])])]);
    let seal = |aad: &[u8]| provider.aead().unwrap().seal(AeadAlgorithm::Aes128Gcm, &[8; 16], &[1; 12], aad, CONTENT).unwrap();
    let wrapped = provider.key_wrap().unwrap().wrap(kek().secret_bytes(), &[8; 16]).unwrap();
    let gcm = algorithm(AES128_GCM, &tlv(0x30, &[&tlv(4, &[&[1; 12]]), &[2, 1, 16]]));
    let open = |aad: &[u8]| {
        let sealed = seal(aad);
        let (ciphertext, tag) = sealed.split_at(CONTENT.len());
        let wrap = kekri(&algorithm(AES128_WRAP, &[]), &wrapped);
        let message = auth_enveloped(&wrap, &info(ENVELOPED, &gcm, ciphertext), &tlv(0xa1, &[&attributes]), &tlv(4, &[tag]));
        opening(&message).decrypt_with_kek(b"k", &kek(), &provider)
    };
    // RFC 5083 section 2.2: the DER of the attributes under the tag of a SET.
    assert_eq!(open(&tlv(0x31, &[&attributes])).unwrap().secret_bytes(), CONTENT);
    assert!(matches!(open(&tlv(0xa1, &[&attributes])), Err(CmsError::Decryption)));
    assert!(matches!(open(&[]), Err(CmsError::Decryption)));
}
