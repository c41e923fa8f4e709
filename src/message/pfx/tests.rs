//! What other programs cannot be made to write: structures put together by hand around real keys.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;

use proptest::prelude::*;
use rustls_pki_types::CertificateDer;

use super::*;
use crate::codec::der::{Reader, Rules, write};
use crate::codec::pkcs12::{ber, der, oid};
use crate::crypto::{ContentCipher, ContentCipherAlgorithm, CryptoError, CryptoProvider};
use crate::limits::Limits;
use crate::secret::{Password, PrivateKeyPkcs8, SecretBytes};
use crate::terms::KeyAlgorithm;

pub(super) fn provider() -> CryptoProvider {
    CryptoProvider::ring_and_aws_lc_rs()
}

pub(super) fn key() -> PrivateKeyPkcs8 {
    provider().key_generation().unwrap().generate(KeyAlgorithm::EcP256).unwrap()
}

fn name(common_name: &str) -> Vec<u8> {
    let attribute = der::sequence(&[&der::oid("2.5.4.3"), &der::tlv(0x0c, &[common_name.as_bytes()])]);
    der::sequence(&[&der::set_of(vec![attribute])])
}

/// A certificate in shape only: nothing in this module verifies signatures.
pub(super) fn certificate(key: &PrivateKeyPkcs8, subject: &str, issuer: &str) -> CertificateDer<'static> {
    let spki = provider().signing_keys().unwrap().load(key).unwrap().public_key();
    let algorithm = der::sequence(&[&der::oid("1.2.840.10045.4.3.2")]);
    let time = der::tlv(0x17, &[b"260101000000Z"]);
    let validity = der::sequence(&[&time, &time]);
    let (issuer, subject) = (name(issuer), name(subject));
    let tbs = der::sequence(&[&der::integer(1), &algorithm, &issuer, &validity, &subject, spki.as_ref()]);
    CertificateDer::from(der::sequence(&[&tbs, &algorithm, &der::tlv(write::BIT_STRING, &[&[0, 1, 2, 3]])]))
}

/// A file of ours: leaf, intermediate and root.
pub(super) struct Sample {
    pub(super) key: PrivateKeyPkcs8,
    pub(super) chain: [CertificateDer<'static>; 3],
}

impl Sample {
    pub(super) fn new() -> Self {
        let key = key();
        let chain =
            [certificate(&key, "leaf", "inter"), certificate(&self::key(), "inter", "root"), certificate(&self::key(), "root", "root")];
        Self { key, chain }
    }

    fn builder(&self, profile: PfxProfile) -> PfxBuilder<'_> {
        PfxBuilder::new(profile).key(&self.key).certificate(&self.chain[0]).chain(&self.chain[1..]).friendly_name("Łukasz")
    }

    fn build(&self, profile: PfxProfile) -> SecretBytes {
        self.builder(profile).build(&Password::from("hunter2"), &provider()).unwrap()
    }
}

pub(super) fn open(file: &[u8], password: &str) -> Result<OpenedPfx, PfxError> {
    super::open(file, &Password::from(password), &provider(), &Limits::default())
}

fn kind(file: &[u8], password: &str) -> PfxErrorKind {
    open(file, password).unwrap_err().kind()
}

/// A PFX without MAC around safes in clear.
pub(super) fn without_mac(safes: &[&[u8]]) -> Vec<u8> {
    let safes = safes.iter().map(|safe| data(safe)).collect::<Vec<_>>().concat();
    der::sequence(&[&der::integer(3), &data(&der::sequence(&[&safes]))])
}

fn data(content: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::oid(oid::DATA), &der::tlv(ber::context(0), &[&der::octet_string(content)])])
}

pub(super) fn bag(id: &str, value: &[u8], attributes: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::oid(id), &der::tlv(ber::context(0), &[value]), attributes])
}

pub(super) fn certificate_bag(certificate: &[u8], attributes: &[u8]) -> Vec<u8> {
    let value = der::tlv(ber::context(0), &[&der::octet_string(certificate)]);
    bag(oid::CERT_BAG, &der::sequence(&[&der::oid(oid::X509_CERTIFICATE), &value]), attributes)
}

pub(super) fn attribute(id: &str, value: &[u8]) -> Vec<u8> {
    der::tlv(ber::SET, &[&der::sequence(&[&der::oid(id), &der::tlv(ber::SET, &[value])])])
}

#[test]
fn what_each_profile_writes_reads_back_whole() {
    let sample = Sample::new();
    for profile in [PfxProfile::Modern, PfxProfile::Compat, PfxProfile::Pbmac1] {
        let opened = open(sample.build(profile).secret_bytes(), "hunter2").unwrap().into_mac_verified().unwrap();
        assert_eq!(opened.mac().iterations(), profile.default_iterations());
        assert_eq!(opened.mac().is_pbmac1(), profile == PfxProfile::Pbmac1);
        let identity = opened.identity().unwrap();
        assert_eq!(identity.key.key.secret_pkcs8_der(), sample.key.secret_pkcs8_der());
        assert_eq!(identity.key.friendly_name.as_deref(), Some("Łukasz"));
        assert_eq!(identity.certificate.local_key_id, identity.key.local_key_id);
        assert!(identity.certificates().map(|certificate| &certificate.der).eq(&sample.chain));
        assert!(opened.certificates[1..].iter().all(|issuer| issuer.local_key_id.is_none() && issuer.friendly_name.is_none()));
        let Protection::Encrypted { iterations, .. } = identity.key.protection else { panic!("the key lies in clear") };
        assert_eq!(iterations, u64::from(profile.default_iterations()), "encryption and MAC cost the same to guess");
    }
}

#[test]
fn a_wrong_password_and_damage_are_told_apart() {
    let file = Sample::new().build(PfxProfile::Modern);
    let file = file.secret_bytes();
    assert_eq!(kind(file, "hunter3"), PfxErrorKind::WrongPassword);
    assert_eq!(kind(file, ""), PfxErrorKind::WrongPassword);
    assert_eq!(super::open(file, None, &provider(), &Limits::default()).unwrap_err().kind(), PfxErrorKind::WrongPassword);
    assert_eq!(kind(&file[..file.len() - 1], "hunter2"), PfxErrorKind::Damaged);
    assert_eq!(kind(b"", "hunter2"), PfxErrorKind::Damaged);
    assert_eq!(kind(b"-----BEGIN CERTIFICATE-----", "hunter2"), PfxErrorKind::Damaged);
}

#[test]
fn without_a_mac_the_error_says_that_the_cause_cannot_be_known() {
    let sample = Sample::new();
    let file = sample.build(PfxProfile::Modern);
    let mut budget = crate::limits::Budget::new(&Limits::default());
    let mut fields = Reader::new(file.secret_bytes(), Rules::Der).sequence(&mut budget).unwrap();
    let (version, auth_safe) = (fields.any(&mut budget).unwrap(), fields.any(&mut budget).unwrap());
    let stripped = der::sequence(&[version.raw(), auth_safe.raw()]);
    assert!(matches!(open(&stripped, "hunter2"), Ok(OpenedPfx::Unauthenticated(_))), "a removed MAC shows in the type");
    assert!(has_mac(file.secret_bytes(), &Limits::default()).unwrap());
    assert!(!has_mac(&stripped, &Limits::default()).unwrap());
    assert_eq!(has_mac(&stripped[1..], &Limits::default()).unwrap_err().kind(), PfxErrorKind::Damaged);
    assert_eq!(open(&stripped, "hunter2").unwrap().into_mac_verified().unwrap_err().kind(), PfxErrorKind::Unauthenticated);
    assert_eq!(kind(&stripped, "hunter3"), PfxErrorKind::WrongPasswordOrDamaged);
}

#[test]
fn no_bit_can_be_flipped_and_no_byte_cut_unnoticed() {
    let sample = Sample::new();
    let builder = sample.builder(PfxProfile::Modern).iterations(2_000);
    let file = builder.build(&Password::from("hunter2"), &provider()).unwrap();
    let file = file.secret_bytes();
    // Each attempt costs three derivations: a sample of positions, other ones in each run of the property below.
    for position in (0..file.len()).step_by(41) {
        let mut flipped = file.to_vec();
        flipped[position] ^= 1 << (position % 8);
        if let Ok(opened) = open(&flipped, "hunter2") {
            // Only what the MAC does not cover may change: the NULL parameters of its own algorithm, for one.
            let identity = opened.contents().identity().unwrap();
            assert_eq!(identity.key.key.secret_pkcs8_der(), sample.key.secret_pkcs8_der(), "byte {position}");
            assert!(identity.certificates().map(|certificate| &certificate.der).eq(&sample.chain), "byte {position}");
        }
        assert!(open(&file[..position], "hunter2").is_err());
    }
}

#[test]
fn key_derivation_is_charged_before_it_runs_and_summed_over_the_file() {
    let sample = Sample::new();
    let builder = sample.builder(PfxProfile::Modern).iterations(10_000);
    let file = builder.build(&Password::from("hunter2"), &provider()).unwrap();
    let with = |kdf_iterations| {
        super::open(file.secret_bytes(), &Password::from("hunter2"), &provider(), &Limits { kdf_iterations, ..Limits::default() })
    };
    assert!(with(30_000).is_ok(), "MAC, certificates and key");
    for too_few in [9_999, 29_999] {
        let PfxError::LimitExceeded(limit) = with(too_few).unwrap_err() else { panic!("another error") };
        assert_eq!((limit.what, limit.limit), ("kdf_iterations", too_few));
    }
}

#[test]
fn a_key_that_does_not_belong_to_the_certificate_is_not_written() {
    let sample = Sample::new();
    let other = key();
    let refused = sample.builder(PfxProfile::Modern).key(&other).build(&Password::from("hunter2"), &provider()).unwrap_err();
    assert_eq!(refused.kind(), PfxErrorKind::KeyMismatch);
}

#[test]
fn what_readers_could_not_open_is_not_written() {
    let sample = Sample::new();
    let kind = |builder: PfxBuilder<'_>, password: &str| builder.build(&Password::from(password), &provider()).unwrap_err().kind();
    let builder = || sample.builder(PfxProfile::Modern);
    assert_eq!(kind(builder().friendly_name("😀"), "hunter2"), PfxErrorKind::InvalidInput);
    assert_eq!(kind(builder().friendly_name("a\0b"), "hunter2"), PfxErrorKind::InvalidInput);
    assert_eq!(kind(builder().iterations(1), "hunter2"), PfxErrorKind::InvalidInput);
    assert_eq!(kind(builder().iterations(u32::MAX), "hunter2"), PfxErrorKind::InvalidInput);
    assert_eq!(kind(builder(), ""), PfxErrorKind::InvalidInput);
    assert_eq!(kind(PfxBuilder::new(PfxProfile::Modern), "hunter2"), PfxErrorKind::InvalidInput);
    let not_utf8 = builder().build(&Password::new(vec![0xff]), &provider()).unwrap_err();
    assert_eq!(not_utf8.kind(), PfxErrorKind::InvalidInput);
}

#[test]
fn nested_safe_contents_are_read_and_their_depth_is_bounded() {
    let sample = Sample::new();
    let inner = certificate_bag(&sample.chain[0], &[]);
    let nest = |depth: usize, tag| (0..depth).fold(inner.clone(), |inside, _| bag(oid::SAFE_CONTENTS_BAG, &der::tlv(tag, &[&inside]), &[]));
    for tag in [write::SEQUENCE, ber::SET] {
        let opened = open(&without_mac(&[&der::sequence(&[&nest(3, tag)])]), "").unwrap();
        assert_eq!(opened.contents().certificates[0].der, sample.chain[0]);
    }
    assert_eq!(kind(&without_mac(&[&der::sequence(&[&nest(3_000, write::SEQUENCE)])]), ""), PfxErrorKind::LimitExceeded);
}

#[test]
fn bags_of_other_types_are_kept_and_named() {
    let secret = der::sequence(&[&der::oid("1.2.3.4"), &der::tlv(ber::context(0), &[&der::octet_string(b"wallet")])]);
    let unknown = bag("1.2.3.5", &der::octet_string(b"?"), &attribute(oid::FRIENDLY_NAME, &der::tlv(0x1e, &[&[0, b'x']])));
    let bags = [bag(oid::SECRET_BAG, &secret, &[]), bag(oid::CRL_BAG, &secret, &[]), unknown].concat();
    let opened = open(&without_mac(&[&der::sequence(&[&bags])]), "").unwrap();
    let found = opened.contents().others.iter().map(|other| (other.kind, other.oid.as_str())).collect::<Vec<_>>();
    assert_eq!(found, [(OtherBagKind::Secret, "1.2.3.4"), (OtherBagKind::Crl, "1.2.3.4"), (OtherBagKind::Unknown, "1.2.3.5")]);
    assert_eq!(opened.contents().others[2].friendly_name.as_deref(), Some("x"));
    assert_eq!(opened.contents().identity().unwrap_err().kind(), PfxErrorKind::Empty);
}

#[test]
fn odd_attributes_cost_neither_key_nor_certificate() {
    let sample = Sample::new();
    let odd: [&[u8]; 5] =
        [&der::tlv(0x1e, &[&[0, b'a', 0]]), &der::tlv(0x1e, &[&[0xd8, 0x3d]]), &der::integer(7), &der::tlv(0x0c, &[&[0xff]]), &[]];
    for value in odd {
        let bags = certificate_bag(&sample.chain[0], &attribute(oid::FRIENDLY_NAME, value));
        let opened = open(&without_mac(&[&der::sequence(&[&bags])]), "").unwrap();
        assert_eq!(opened.contents().certificates.len(), 1, "{value:02x?}");
    }
}

#[test]
fn pairing_goes_by_public_key_although_all_bags_have_one_id() {
    let (first, second) = (Sample::new(), Sample::new());
    let id = attribute(oid::LOCAL_KEY_ID, &der::octet_string(&[1]));
    let bags = [
        certificate_bag(&second.chain[0], &id),
        certificate_bag(&first.chain[0], &id),
        bag(oid::KEY_BAG, first.key.secret_pkcs8_der(), &id),
        bag(oid::KEY_BAG, second.key.secret_pkcs8_der(), &id),
    ];
    let opened = open(&without_mac(&[&der::sequence(&[&bags.concat()])]), "").unwrap();
    let leaves = opened.contents().identities().map(|identity| &identity.certificate.der).collect::<Vec<_>>();
    assert_eq!(leaves, [&first.chain[0], &second.chain[0]]);
    assert_eq!(opened.contents().identity().unwrap_err().kind(), PfxErrorKind::SeveralIdentities);
}

#[test]
fn chains_come_out_leaf_first_and_cycles_end() {
    let sample = Sample::new();
    let cycle = [certificate(&key(), "inter", "other"), certificate(&key(), "other", "inter")];
    let bags = [
        certificate_bag(&cycle[1], &[]),
        certificate_bag(&cycle[0], &[]),
        certificate_bag(&sample.chain[0], &[]),
        bag(oid::KEY_BAG, sample.key.secret_pkcs8_der(), &[]),
    ];
    let opened = open(&without_mac(&[&der::sequence(&[&bags.concat()])]), "").unwrap();
    let chain = opened.contents().identity().unwrap().chain.iter().map(|above| &above.der).collect::<Vec<_>>();
    assert_eq!(chain, [&cycle[0], &cycle[1]]);
}

#[test]
fn public_key_modes_and_unknown_content_types_are_refused_by_name() {
    let content = |id: &str| der::sequence(&[&der::oid(id), &der::tlv(ber::context(0), &[&der::sequence(&[])])]);
    let around = |auth_safe: &[u8]| der::sequence(&[&der::integer(3), auth_safe]);
    for (id, said) in [(oid::SIGNED_DATA, "signedData"), (oid::ENVELOPED_DATA, "envelopedData"), ("1.2.3", "1.2.3")] {
        for file in [around(&content(id)), around(&data(&der::sequence(&[&content(id)])))] {
            let error = open(&file, "").unwrap_err();
            assert_eq!(error.kind(), PfxErrorKind::UnsupportedMode);
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}

#[test]
fn an_unknown_algorithm_is_named_with_its_identifier() {
    let algorithm = der::sequence(&[&der::oid("1.2.840.113549.1.5.3"), &der::sequence(&[&der::octet_string(&[0; 8]), &der::integer(1)])]);
    let shrouded = der::sequence(&[&algorithm, &der::octet_string(&[0; 16])]);
    let bags = bag(oid::PKCS8_SHROUDED_KEY_BAG, &shrouded, &[]);
    let error = open(&without_mac(&[&der::sequence(&[&bags])]), "").unwrap_err();
    assert_eq!(error.oid(), Some("1.2.840.113549.1.5.3"));
    assert!(error.to_string().contains("pbeWithMD5AndDES-CBC"), "{error}");
}

#[test]
fn a_provider_without_ciphers_says_what_it_lacks() {
    let sample = Sample::new();
    let file = sample.build(PfxProfile::Modern);
    let bare = CryptoProvider::empty("bare");
    let error = super::open(file.secret_bytes(), &Password::from("hunter2"), &bare, &Limits::default()).unwrap_err();
    assert_eq!(error.kind(), PfxErrorKind::Crypto);
    assert!(error.to_string().contains("bare"), "{error}");
}

/// Ciphers as a build without the feature `legacy-ciphers` has them.
#[derive(Debug)]
struct AesOnly;

impl ContentCipher for AesOnly {
    fn supports(&self, algorithm: ContentCipherAlgorithm) -> bool {
        algorithm == ContentCipherAlgorithm::Aes256Cbc
    }
    fn encrypt(&self, algorithm: ContentCipherAlgorithm, key: &[u8], iv: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        provider().content_cipher().unwrap().encrypt(algorithm, key, iv, plaintext)
    }
    fn decrypt(&self, algorithm: ContentCipherAlgorithm, key: &[u8], iv: &[u8], ciphertext: &[u8]) -> Result<SecretBytes, CryptoError> {
        provider().content_cipher().unwrap().decrypt(algorithm, key, iv, ciphertext)
    }
}

#[test]
fn without_legacy_ciphers_compat_is_refused_by_name_in_both_directions() {
    let sample = Sample::new();
    let aes_only = provider().with_content_cipher(Arc::new(AesOnly));
    assert!(sample.builder(PfxProfile::Modern).build(&Password::from("hunter2"), &aes_only).is_ok());
    let not_written = sample.builder(PfxProfile::Compat).build(&Password::from("hunter2"), &aes_only).unwrap_err();
    let file = sample.build(PfxProfile::Compat);
    let not_read = super::open(file.secret_bytes(), &Password::from("hunter2"), &aes_only, &Limits::default()).unwrap_err();
    for error in [not_written, not_read] {
        assert_eq!(error.oid(), Some(oid::PBE_SHA1_3DES));
        assert!(error.to_string().contains("legacy-ciphers"), "{error}");
    }
}

#[test]
fn debug_shows_neither_key_nor_secret_bag() {
    let sample = Sample::new();
    let secret = der::sequence(&[&der::oid("1.2.3.4"), &der::tlv(ber::context(0), &[&der::octet_string(b"wallet")])]);
    let bags = [bag(oid::KEY_BAG, sample.key.secret_pkcs8_der(), &[]), bag(oid::SECRET_BAG, &secret, &[])].concat();
    let shown = format!("{:?}", open(&without_mac(&[&der::sequence(&[&bags])]), "").unwrap());
    assert!(shown.contains("PrivateKeyPkcs8(..)") && shown.contains("SecretBytes(..)"));
    let needle = format!("{:?}", &sample.key.secret_pkcs8_der()[..8]);
    assert!(!shown.contains(needle.trim_matches(['[', ']'])) && !shown.contains("wallet"));
    let builder = format!("{:?}", sample.builder(PfxProfile::Modern));
    assert!(!builder.contains(needle.trim_matches(['[', ']'])));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_password_and_name_that_is_written_reads_back(
        password in "\\PC{1,40}",
        name in "[a-zA-Z0-9 äöüßŁęąλж中文]{1,40}",
        profile in prop::sample::select(vec![PfxProfile::Modern, PfxProfile::Compat, PfxProfile::Pbmac1]),
    ) {
        let sample = Sample::new();
        let builder = sample.builder(profile).friendly_name(&name).iterations(2_000);
        let file = builder.build(&Password::from(password.as_str()), &provider()).unwrap();
        let opened = open(file.secret_bytes(), &password).unwrap();
        let identity = opened.contents().identity().unwrap();
        prop_assert_eq!(identity.key.friendly_name.as_deref(), Some(name.as_str()));
        prop_assert_eq!(identity.key.key.secret_pkcs8_der(), sample.key.secret_pkcs8_der());
    }

    #[test]
    fn bytes_of_any_kind_end_in_a_result(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = open(&bytes, "hunter2");
        let _ = open(&without_mac(&[&bytes]), "hunter2");
    }

    #[test]
    fn changed_files_end_in_a_result_and_never_in_other_keys(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let sample = Sample::new();
        let bags = [certificate_bag(&sample.chain[0], &[]), bag(oid::KEY_BAG, sample.key.secret_pkcs8_der(), &[])].concat();
        let mut file = without_mac(&[&der::sequence(&[&bags])]);
        for (position, byte) in changes {
            let position = position.index(file.len());
            file[position] = byte;
        }
        if let Ok(opened) = open(&file, "") {
            prop_assert!(matches!(opened, OpenedPfx::Unauthenticated(_)));
        }
    }
}

/// A certificate in shape only, with as many extensions before its key identifiers as it takes to make finding them dear.
fn laborious_certificate(spki: &[u8], number: u32, subject: &str, issuer: &str) -> Vec<u8> {
    let extension = |id: &str, value: &[u8]| der::sequence(&[&der::oid(id), &der::octet_string(value)]);
    let mut extensions = vec![extension("1.2.3", &[]); 300];
    extensions.push(extension("2.5.29.14", &der::octet_string(&number.to_be_bytes())));
    extensions.push(extension("2.5.29.35", &der::sequence(&[&der::tlv(0x80, &[b"none"])])));
    let extensions = der::tlv(ber::context(3), &[&der::sequence(&extensions.iter().map(Vec::as_slice).collect::<Vec<_>>())]);
    let empty = der::sequence(&[]);
    let tbs = der::sequence(&[&der::integer(number), &empty, &name(issuer), &empty, &name(subject), spki, &extensions]);
    der::sequence(&[&tbs])
}

#[test]
fn many_keys_and_certificates_under_two_names_are_paired_without_reading_each_once_for_all_others() {
    let key = key();
    let loaded = provider().signing_keys().unwrap().load(&key).unwrap();
    let spki = loaded.public_key();
    let names = |number: u32| if number.is_multiple_of(2) { ("a", "b") } else { ("b", "a") };
    let certificates = (0..256).map(|number| {
        let (subject, issuer) = names(number);
        certificate_bag(&laborious_certificate(spki.as_ref(), number, subject, issuer), &[])
    });
    let keys = (0..700).map(|_| bag(oid::KEY_BAG, key.secret_pkcs8_der(), &[]));
    let bags = certificates.chain(keys).collect::<Vec<_>>().concat();
    let file = without_mac(&[&der::sequence(&[&bags])]);
    assert!(file.len() < Limits::default().input_bytes, "{}", file.len());
    // Minutes where it is quadratic in keys and certificates.
    let opened = open(&file, "").unwrap();
    assert_eq!(opened.contents().identities().count(), 700);
    assert!(opened.contents().identities().all(|identity| identity.chain.len() == 255));
    let written = PfxBuilder::new(PfxProfile::Modern).contents(opened.contents()).iterations(2_000);
    assert!(written.plan_for_tests(&provider()).is_ok());
}

#[test]
fn a_key_that_nobody_knows_is_not_paired_by_its_id_with_a_certificate_of_another_algorithm() {
    let (sample, ed448) = (Sample::new(), "1.3.101.113");
    let algorithm = der::sequence(&[&der::oid(ed448)]);
    let spki = der::sequence(&[&algorithm, &der::tlv(write::BIT_STRING, &[&[0, 1, 2, 3]])]);
    let key = der::sequence(&[&der::integer(0), &algorithm, &der::octet_string(&[4, 5, 6])]);
    let id = attribute(oid::LOCAL_KEY_ID, &der::octet_string(&[1]));
    let own = laborious_certificate(&spki, 1, "a", "b");
    let bags = [bag(oid::KEY_BAG, &key, &id), certificate_bag(&sample.chain[0], &id), certificate_bag(&own, &id)];
    let opened = open(&without_mac(&[&der::sequence(&[&bags.concat()])]), "").unwrap();
    assert_eq!(opened.contents().identity().unwrap().certificate.der.as_ref(), own);
    let opened = open(&without_mac(&[&der::sequence(&[&bags[..2].concat()])]), "").unwrap();
    assert_eq!(opened.contents().identities().count(), 0);
}
