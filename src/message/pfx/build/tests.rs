//! Each refusal of the writer, and that what it writes reads back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::super::tests::{Sample, attribute, bag, certificate, certificate_bag, key, open, provider, without_mac};
use super::*;
use crate::codec::der::write;
use crate::codec::pkcs12::ber;
use crate::message::pfx::{MacInfo, OtherBagKind, Pbes2Cipher, PfxDigest, PfxEncryption, PfxErrorKind, PfxIntegrity, PfxProfile};
use crate::message::reencrypt::reencrypt_pfx;
use crate::secret::Password;

const AES: PfxEncryption = PfxEncryption::Pbes2 { cipher: Pbes2Cipher::Aes256Cbc, prf: PfxDigest::Sha256, iterations: 2_000 };
const MAC: PfxIntegrity = PfxIntegrity::Mac { digest: PfxDigest::Sha256, iterations: 2_000 };
const DIGESTS: [PfxDigest; 5] = [PfxDigest::Sha1, PfxDigest::Sha224, PfxDigest::Sha256, PfxDigest::Sha384, PfxDigest::Sha512];
const CSP: &str = "Microsoft Software Key Storage Provider";

fn cheap() -> PfxProtection {
    PfxProtection::new(AES, AES, MAC)
}

fn build(builder: &PfxBuilder<'_>) -> SecretBytes {
    builder.build(&Password::from("hunter2"), &provider()).unwrap()
}

fn refusal(builder: &PfxBuilder<'_>) -> String {
    let error = builder.build(&Password::from("hunter2"), &provider()).unwrap_err();
    assert_eq!(error.kind(), PfxErrorKind::InvalidInput, "{error}");
    error.to_string()
}

#[test]
fn every_encryption_and_integrity_reads_back_as_it_was_chosen() {
    let sample = Sample::new();
    let mut encryptions = vec![(PfxEncryption::Pbes1TripleDes { iterations: 2_001 }, "pbeWithSHAAnd3-KeyTripleDES-CBC".to_owned(), 2_001)];
    for (cipher, name) in [(Pbes2Cipher::Aes128Cbc, "aes128"), (Pbes2Cipher::Aes192Cbc, "aes192"), (Pbes2Cipher::Aes256Cbc, "aes256")] {
        for (prf, iterations) in DIGESTS.into_iter().zip(2_002..) {
            let described = format!("PBES2, PBKDF2 with HMAC-{}, {name}-CBC", prf.algorithm());
            encryptions.push((PfxEncryption::Pbes2 { cipher, prf, iterations }, described, u64::from(iterations)));
        }
    }
    let mut integrities = DIGESTS.map(|digest| PfxIntegrity::Mac { digest, iterations: 3_000 }).to_vec();
    integrities.extend(DIGESTS.map(|hmac| PfxIntegrity::Pbmac1 { prf: PfxDigest::Sha256, hmac, iterations: 3_000 }));
    integrities.extend(DIGESTS.map(|prf| PfxIntegrity::Pbmac1 { prf, hmac: PfxDigest::Sha512, iterations: 3_000 }));
    let certificates = encryptions.iter().cycle().skip(5);
    for (((keys, key_scheme, key_count), (certs, cert_scheme, cert_count)), integrity) in
        encryptions.iter().zip(certificates).zip(integrities.iter().cycle())
    {
        let protection = PfxProtection::new(*keys, *certs, *integrity);
        let builder = PfxBuilder::new(protection).key(&sample.key).certificate(&sample.chain[0]);
        let opened = open(build(&builder).secret_bytes(), "hunter2").unwrap();
        let is_pbmac1 = matches!(integrity, PfxIntegrity::Pbmac1 { .. });
        assert_eq!(opened.mac().map(|mac: &MacInfo| (mac.is_pbmac1(), mac.iterations())), Some((is_pbmac1, 3_000)), "{integrity:?}");
        let identity = opened.contents().identity().unwrap();
        let shown = |scheme: &str, iterations| super::super::Protection::Encrypted { scheme: scheme.to_owned(), iterations };
        assert_eq!(identity.key.protection, shown(key_scheme, *key_count));
        assert_eq!(identity.certificate.protection, shown(cert_scheme, *cert_count));
    }
}

#[test]
fn mac_and_safes_take_their_own_passwords() {
    let sample = Sample::new();
    let (mac, safes) = (Password::from("mac"), Password::from("safes"));
    let both = PfxPasswords::separate(Some(&mac), Some(&safes));
    let file = PfxBuilder::new(cheap()).key(&sample.key).certificate(&sample.chain[0]).build(both, &provider()).unwrap();
    let open = |passwords| super::super::open(file.secret_bytes(), passwords, &provider(), &crate::limits::Limits::default());
    assert!(open(both).unwrap().contents().identity().is_ok());
    for wrong in [PfxPasswords::from(&mac), PfxPasswords::from(&safes), PfxPasswords::separate(Some(&safes), Some(&mac))] {
        assert_eq!(open(wrong).unwrap_err().kind(), PfxErrorKind::WrongPassword);
    }
}

#[test]
fn a_password_is_demanded_where_it_protects_something_and_nowhere_else() {
    let sample = Sample::new();
    let (password, empty, binary) = (Password::from("x"), Password::from(""), Password::new(vec![0xff]));
    let clear_store = PfxProtection::new(AES, CertificateProtection::Clear, PfxIntegrity::DangerouslyNone);
    let sealed_store = PfxProtection::new(AES, CertificateProtection::Clear, MAC);
    let root = || TrustedCertificate::new(&sample.chain[2]);
    let store = |protection| PfxBuilder::new(protection).trusted_certificate(root());
    let file = store(clear_store).build(PfxPasswords::absent(), &provider()).unwrap();
    assert!(matches!(open(file.secret_bytes(), ""), Ok(super::super::OpenedPfx::Unauthenticated(_))));
    assert!(store(sealed_store).build(PfxPasswords::separate(Some(&password), None), &provider()).is_ok());
    for (protection, passwords) in [
        (sealed_store, PfxPasswords::absent()),
        (cheap(), PfxPasswords::separate(Some(&password), None)),
        (cheap(), PfxPasswords::separate(None, Some(&password))),
        (cheap(), PfxPasswords::from(&empty)),
        (cheap(), PfxPasswords::from(&binary)),
        (cheap(), PfxPasswords::separate(Some(&empty), Some(&password))),
    ] {
        let error = store(protection).build(passwords, &provider()).unwrap_err();
        assert!(error.to_string().contains("password"), "{error}");
    }
    let with_key = PfxBuilder::new(clear_store).key(&sample.key).certificate(&sample.chain[0]);
    assert!(with_key.build(PfxPasswords::absent(), &provider()).is_err(), "a key is always encrypted");
}

#[test]
fn a_password_of_zeros_is_refused_since_the_file_would_open_without_one() {
    let sample = Sample::new();
    let builder = PfxBuilder::new(cheap()).key(&sample.key).certificate(&sample.chain[0]);
    for zeros in ["\0", "\0\0\0"] {
        assert_eq!(builder.build(&Password::from(zeros), &provider()).unwrap_err().kind(), PfxErrorKind::InvalidInput);
    }
    assert!(builder.build(&Password::from("\0x"), &provider()).is_ok());
}

#[test]
fn a_file_needs_something_in_it_and_a_key_its_certificate() {
    let sample = Sample::new();
    let empty = || PfxBuilder::new(cheap());
    assert!(refusal(&empty()).contains("no private key and no certificate"));
    assert!(refusal(&empty().key(&sample.key)).contains("no certificate"));
    assert!(refusal(&empty().certificate(&sample.chain[0])).contains("no private key"));
    assert!(refusal(&empty().friendly_name("of what?")).contains("no private key and no certificate"));
    let contents = PfxContents::default();
    assert!(refusal(&empty().contents(&contents)).contains("no private key and no certificate"));
    let garbage = CertificateDer::from(vec![0x30, 0x00]);
    assert!(refusal(&empty().key(&sample.key).certificate(&garbage)).contains("certificate is malformed"));
    let not_pkcs8 = PrivateKeyPkcs8::new(vec![0x30, 0x00]);
    let error = empty().key(&not_pkcs8).certificate(&sample.chain[0]).build(&Password::from("x"), &provider()).unwrap_err();
    assert_eq!(error.kind(), PfxErrorKind::Crypto);
}

#[test]
fn each_iteration_count_is_checked_on_its_own() {
    let sample = Sample::new();
    let aes = |iterations| PfxEncryption::Pbes2 { cipher: Pbes2Cipher::Aes256Cbc, prf: PfxDigest::Sha256, iterations };
    let mac = |iterations| PfxIntegrity::Mac { digest: PfxDigest::Sha256, iterations };
    let pbmac1 = |iterations| PfxIntegrity::Pbmac1 { prf: PfxDigest::Sha256, hmac: PfxDigest::Sha256, iterations };
    for wrong in [0, 1, 1_999, 1_000_001, u32::MAX] {
        for protection in [
            PfxProtection::new(aes(wrong), AES, MAC),
            PfxProtection::new(AES, aes(wrong), MAC),
            PfxProtection::new(AES, AES, mac(wrong)),
            PfxProtection::new(AES, AES, pbmac1(wrong)),
            PfxProtection::new(PfxEncryption::Pbes1TripleDes { iterations: wrong }, AES, MAC),
            cheap().iterations(wrong),
        ] {
            let builder = PfxBuilder::new(protection).key(&sample.key).certificate(&sample.chain[0]);
            assert!(refusal(&builder).contains("2,000 to 1,000,000"), "{protection:?}");
        }
    }
}

#[test]
fn names_that_readers_refuse_are_refused_wherever_they_stand() {
    let sample = Sample::new();
    let builder = || PfxBuilder::new(cheap()).key(&sample.key).certificate(&sample.chain[0]);
    for name in ["😀", "a\u{10000}", "", "a\0b", "line\nbreak", "\u{85}"] {
        let store = PfxBuilder::new(cheap()).trusted_certificate(TrustedCertificate::new(&sample.chain[2]).friendly_name(name));
        for builder in [builder().friendly_name(name), builder().csp_name(name), store] {
            let said = refusal(&builder);
            let expected = if name.chars().any(|c| c > '\u{ffff}') { "basic multilingual plane" } else { "control characters" };
            assert!(said.contains(expected), "{name:?}: {said}");
        }
    }
    assert!(builder().friendly_name("\u{ffff}").build(&Password::from("x"), &provider()).is_ok(), "the last one that fits");
}

#[test]
fn a_key_of_another_certificate_is_refused_in_every_way_of_giving_it() {
    let (sample, other) = (Sample::new(), Sample::new());
    let mixed = || PfxIdentity::new(&sample.key, &other.chain[0]);
    for builder in [
        PfxBuilder::new(cheap()).key(&sample.key).certificate(&other.chain[0]),
        PfxBuilder::new(cheap()).identity(mixed()),
        PfxBuilder::new(cheap()).key(&sample.key).certificate(&sample.chain[0]).identity(mixed()),
    ] {
        let error = builder.build(&Password::from("hunter2"), &provider()).unwrap_err();
        assert_eq!(error.kind(), PfxErrorKind::KeyMismatch);
    }
}

#[test]
fn a_chain_given_in_any_order_is_written_upwards_and_each_certificate_once() {
    let sample = Sample::new();
    let stranger = certificate(&key(), "stranger", "nobody");
    let [leaf, inter, root] = &sample.chain;
    let chain = [root, &stranger, leaf, inter, root];
    let file = build(&PfxBuilder::new(cheap()).key(&sample.key).certificate(leaf).chain(chain));
    let opened = open(file.secret_bytes(), "hunter2").unwrap();
    let found = opened.contents().certificates.iter().map(|certificate| &certificate.der).collect::<Vec<_>>();
    assert_eq!(found, [leaf, inter, root, &stranger]);
}

#[test]
fn several_keys_share_their_issuers_and_keep_their_own_names_and_ids() {
    let first = Sample::new();
    let second_key = key();
    let second = certificate(&second_key, "second", "inter");
    let file = build(
        &PfxBuilder::new(cheap())
            .key(&first.key)
            .certificate(&first.chain[0])
            .chain(&first.chain[1..])
            .friendly_name("one")
            .identity(PfxIdentity::new(&second_key, &second).chain(&first.chain[1..]).friendly_name("two")),
    );
    let opened = open(file.secret_bytes(), "hunter2").unwrap();
    let identities = opened.contents().identities().collect::<Vec<_>>();
    assert_eq!(identities.iter().map(|identity| identity.key.friendly_name.as_deref()).collect::<Vec<_>>(), [Some("one"), Some("two")]);
    for identity in &identities {
        assert_eq!(identity.key.local_key_id, identity.certificate.local_key_id);
        assert!(identity.chain.iter().map(|above| &above.der).eq(&first.chain[1..]));
    }
    assert_ne!(identities[0].key.local_key_id, identities[1].key.local_key_id);
    assert_eq!(opened.contents().certificates.len(), 4, "shared issuers stand there once");
}

#[test]
fn a_trust_store_carries_names_and_the_java_attribute_unless_told_otherwise() {
    let sample = Sample::new();
    let file = build(
        &PfxBuilder::new(cheap())
            .trusted_certificate(TrustedCertificate::new(&sample.chain[2]).friendly_name("root"))
            .trusted_certificate(TrustedCertificate::new(&sample.chain[1]).java_trust(JavaTrust::Unmarked)),
    );
    let opened = open(file.secret_bytes(), "hunter2").unwrap();
    let [root, inter] = &opened.contents().certificates[..] else { panic!("two certificates") };
    assert_eq!(root.friendly_name.as_deref(), Some("root"));
    let java = root.attributes.iter().find(|attribute| attribute.oid == oid::JAVA_TRUSTED_KEY_USAGE).unwrap();
    assert_eq!(java.values, [der::oid("2.5.29.37.0")]);
    assert!(inter.attributes.is_empty());
    assert!(opened.contents().keys.is_empty());
}

/// A file as another program might write it: two identities under one id, a lone key, names, attributes of all kinds, other bags.
fn foreign(first: &Sample, second: &Sample, lone: &PrivateKeyPkcs8) -> Vec<u8> {
    let set = |attributes: &[&[u8]]| der::tlv(ber::SET, attributes);
    let one = |id: &str, value: &[u8]| der::sequence(&[&der::oid(id), &der::tlv(ber::SET, &[value])]);
    let id = one(oid::LOCAL_KEY_ID, &der::octet_string(&[1]));
    let named = |name: &str| one(oid::FRIENDLY_NAME, &der::tlv(0x1e, &[&super::super::password::bmp(name, false)]));
    let csp = one(oid::MS_CSP_NAME, &der::tlv(0x1e, &[&super::super::password::bmp(CSP, false)]));
    let machine = one(oid::MS_LOCAL_KEYSET, &[]);
    let unknown = one("1.2.3.4", &[0x30, 0x80, 0x24, 0x80, 0x04, 0x01, b'a', 0x04, 0x01, b'b', 0, 0, 0, 0]);
    let crl = der::sequence(&[&der::oid("1.2.840.113549.1.9.23.1"), &der::tlv(ber::context(0), &[&der::octet_string(&[0x30, 0])])]);
    let wallet = der::sequence(&[&der::oid("1.2.3.9"), &der::tlv(ber::context(0), &[&der::octet_string(b"wallet")])]);
    let bags = [
        certificate_bag(&first.chain[2], &attribute(oid::JAVA_TRUSTED_KEY_USAGE, &der::oid("2.5.29.37.0"))),
        certificate_bag(&first.chain[0], &set(&[&id, &named("first")])),
        certificate_bag(&first.chain[1], &id_set(&id)),
        certificate_bag(&second.chain[0], &set(&[&id, &named("second")])),
        bag(oid::KEY_BAG, first.key.secret_pkcs8_der(), &set(&[&id, &named("first"), &csp, &machine, &unknown])),
        bag(oid::KEY_BAG, second.key.secret_pkcs8_der(), &set(&[&id, &named("second")])),
        bag(oid::KEY_BAG, lone.secret_pkcs8_der(), &set(&[&named("lone")])),
        bag(oid::CRL_BAG, &crl, &[]),
        bag(oid::SECRET_BAG, &wallet, &set(&[&named("wallet")])),
        bag("1.2.3.5", &der::octet_string(b"?"), &[]),
    ];
    without_mac(&[&der::sequence(&[&bags.concat()])])
}

fn id_set(id: &[u8]) -> Vec<u8> {
    der::tlv(ber::SET, &[id])
}

#[test]
fn all_that_a_file_held_is_written_again_with_its_attributes() {
    let (first, second, lone) = (Sample::new(), Sample::new(), key());
    let read = open(&foreign(&first, &second, &lone), "").unwrap();
    let file = build(&PfxBuilder::new(cheap()).contents(read.contents()));
    let written = open(file.secret_bytes(), "hunter2").unwrap();
    let written = written.contents();
    let names = written.keys.iter().map(|key| key.friendly_name.as_deref()).collect::<Vec<_>>();
    assert_eq!(names, [Some("first"), Some("second"), Some("lone")]);
    let identities = written.identities().collect::<Vec<_>>();
    assert_eq!(identities.len(), 2);
    assert_ne!(identities[0].key.local_key_id, identities[1].key.local_key_id, "one id for two pairs is not kept");
    for identity in &identities {
        assert_eq!(identity.key.local_key_id, identity.certificate.local_key_id);
        assert!(identity.chain.iter().all(|above| above.local_key_id.is_none()));
    }
    let attributes = |key: &super::super::PfxKey, oid: &str| key.attributes.iter().find(|found| found.oid == oid).map(|a| a.values.clone());
    let key = identities[0].key;
    assert_eq!(attributes(key, oid::MS_CSP_NAME), Some(vec![der::tlv(0x1e, &[&super::super::password::bmp(CSP, false)])]));
    assert_eq!(attributes(key, oid::MS_LOCAL_KEYSET), Some(vec![]));
    assert_eq!(attributes(key, "1.2.3.4"), Some(vec![vec![0x30, 4, 4, 2, b'a', b'b']]), "kept in DER");
    assert!(written.certificates.iter().map(|certificate| &certificate.der).eq([
        &first.chain[0],
        &first.chain[1],
        &first.chain[2],
        &second.chain[0]
    ]));
    assert_eq!(written.certificates[2].attributes.len(), 1, "the Java mark of the root");
    let others = written.others.iter().map(|other| (other.kind, other.oid.as_str())).collect::<Vec<_>>();
    assert_eq!(
        others,
        [(OtherBagKind::Crl, "1.2.840.113549.1.9.23.1"), (OtherBagKind::Secret, "1.2.3.9"), (OtherBagKind::Unknown, "1.2.3.5")]
    );
    assert_eq!(written.others[1].value.secret_bytes(), der::octet_string(b"wallet"));
    assert_eq!(written.others[1].friendly_name.as_deref(), Some("wallet"));
    assert!(written.others.iter().all(|other| other.protection != super::super::Protection::Clear), "a secret is never in clear");
}

#[test]
fn a_lone_key_does_not_keep_the_id_that_links_another_key_to_its_certificate() {
    let (sample, lone) = (Sample::new(), key());
    let id = |id: u8| attribute(oid::LOCAL_KEY_ID, &der::octet_string(&[id]));
    for (lone_id, expected) in [(1, None), (2, Some(vec![2]))] {
        let bags = [
            bag(oid::KEY_BAG, lone.secret_pkcs8_der(), &id(lone_id)),
            bag(oid::KEY_BAG, sample.key.secret_pkcs8_der(), &id(1)),
            certificate_bag(&sample.chain[0], &id(1)),
        ];
        let read = open(&without_mac(&[&der::sequence(&[&bags.concat()])]), "").unwrap();
        let file = build(&PfxBuilder::new(cheap()).contents(read.contents()));
        let written = open(file.secret_bytes(), "hunter2").unwrap();
        let keys = &written.contents().keys;
        assert_eq!((&keys[0].local_key_id, &keys[1].local_key_id), (&Some(vec![1]), &expected));
        assert_eq!(keys[1].key.secret_pkcs8_der(), lone.secret_pkcs8_der());
    }
}

#[test]
fn one_identity_out_of_several_keeps_its_attributes_unless_they_are_set_anew() {
    let (first, second, lone) = (Sample::new(), Sample::new(), key());
    let read = open(&foreign(&first, &second, &lone), "").unwrap();
    let identity = read.contents().identities().next().unwrap();
    let kept = || PfxIdentity::kept(&identity);
    let written = |identity| open(build(&PfxBuilder::new(cheap()).identity(identity)).secret_bytes(), "hunter2").unwrap();
    let has = |opened: &super::super::OpenedPfx, oid: &str| opened.contents().keys[0].attributes.iter().any(|found| found.oid == oid);
    let same = written(kept());
    assert_eq!(same.contents().keys[0].local_key_id, Some(vec![1]), "alone, the pair keeps its id");
    assert!(has(&same, oid::MS_LOCAL_KEYSET) && has(&same, oid::MS_CSP_NAME) && has(&same, "1.2.3.4"));
    let other = written(kept().friendly_name("new").csp_name("other").windows_store(WindowsStore::User));
    assert_eq!(other.contents().keys[0].friendly_name.as_deref(), Some("new"));
    assert!(!has(&other, oid::MS_LOCAL_KEYSET) && has(&other, oid::MS_CSP_NAME));
    assert_eq!(other.contents().keys[0].attributes.len(), 4, "no attribute stands there twice");
}

#[test]
fn what_cannot_be_kept_is_an_error_of_the_builder_and_a_named_loss_of_reencryption() {
    let sample = Sample::new();
    let emoji = attribute(oid::FRIENDLY_NAME, &der::tlv(0x1e, &[&super::super::password::bmp("😀", false)]));
    let odd = attribute("1.2.3.4", &[0x23, 0x80, 0x03, 2, 0, 1, 0, 0]);
    let no_name = attribute(oid::FRIENDLY_NAME, &[2, 1, 5]);
    let java = der::sequence(&[&der::oid(oid::PKCS8_SHROUDED_KEY_BAG), &der::tlv(ber::context(0), &[&der::octet_string(b"sealed")])]);
    for (bags, said) in [
        ([certificate_bag(&sample.chain[2], &emoji), Vec::new()], "basic multilingual plane"),
        ([certificate_bag(&sample.chain[2], &odd), Vec::new()], "the attribute 1.2.3.4 was left out"),
        ([certificate_bag(&sample.chain[2], &no_name), Vec::new()], "the attribute 1.2.840.113549.1.9.20 was left out"),
        ([certificate_bag(&sample.chain[2], &[]), bag(oid::SECRET_BAG, &java, &[])], "old password"),
    ] {
        let read = open(&without_mac(&[&der::sequence(&[&bags.concat()])]), "").unwrap();
        let builder = PfxBuilder::new(cheap()).contents(read.contents());
        refusal(&builder);
        let (file, left_out) = builder.build_leaving_out((&Password::from("hunter2")).into(), &provider()).unwrap();
        assert_eq!(left_out.len(), 1);
        assert!(left_out[0].to_string().contains(said), "{}", left_out[0]);
        assert_eq!(open(file.secret_bytes(), "hunter2").unwrap().contents().certificates.len(), 1);
    }
}

#[test]
fn each_of_many_losses_is_named_once() {
    let sample = Sample::new();
    // A tag of several octets has no DER form that is known without its type.
    let odd = |number: u32| {
        let id = der::tlv(6, &[&[0x2a, 0x80 | (number / 128 + 1) as u8, (number % 128) as u8][..]]);
        der::sequence(&[&id, &der::tlv(ber::SET, &[&[0x1f, 0x20, 0]])])
    };
    let numbers = (0..15_000).chain(0..15_000).map(odd).collect::<Vec<_>>().concat();
    let certificate = certificate_bag(&sample.chain[2], &der::tlv(ber::SET, &[&numbers]));
    let read = open(&without_mac(&[&der::sequence(&[&certificate])]), "").unwrap();
    let (_, left_out) =
        PfxBuilder::new(cheap()).contents(read.contents()).build_leaving_out((&Password::from("hunter2")).into(), &provider()).unwrap();
    assert_eq!(left_out.len(), 15_000);
}

#[test]
fn a_file_without_a_mac_is_not_given_one() {
    let sample = Sample::new();
    let read = open(&without_mac(&[&der::sequence(&[&certificate_bag(&sample.chain[2], &[])])]), "").unwrap();
    let error = reencrypt_pfx(&read, PfxProfile::Modern, &Password::from("x"), &provider()).unwrap_err();
    assert_eq!(error.kind(), PfxErrorKind::Unauthenticated);
}

#[test]
fn the_windows_key_usage_stands_once_among_the_attributes_of_the_pkcs8_structure() {
    let sample = Sample::new();
    let exchange = bags::with_key_usage(&sample.key, WindowsKeyUsage::Exchange).unwrap();
    let again = bags::with_key_usage(&PrivateKeyPkcs8::new(exchange.to_vec()), WindowsKeyUsage::Signature).unwrap();
    let attribute =
        |bits: &[u8]| der::sequence(&[&der::oid(oid::KEY_USAGE), &der::tlv(ber::SET, &[&der::tlv(write::BIT_STRING, &[bits])])]);
    let holds = |key: &[u8], part: Vec<u8>| key.windows(part.len()).any(|window| window == part);
    assert!(holds(&exchange, attribute(&[4, 0x10])));
    assert!(holds(&again, attribute(&[7, 0x80])) && !holds(&again, attribute(&[4, 0x10])));
    assert_eq!(again.len(), exchange.len());
    let builder = PfxBuilder::new(cheap()).key(&sample.key).certificate(&sample.chain[0]).windows_key_usage(WindowsKeyUsage::Exchange);
    let opened = open(build(&builder).secret_bytes(), "hunter2").unwrap();
    assert_eq!(opened.contents().identity().unwrap().key.key.secret_pkcs8_der(), &exchange[..]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_name_is_written_exactly_or_refused(name in "\\PC{0,20}") {
        let sample = Sample::new();
        let builder = PfxBuilder::new(cheap()).key(&sample.key).certificate(&sample.chain[0]).friendly_name(&name);
        let fits = !name.is_empty() && name.chars().all(|c| c <= '\u{ffff}' && !c.is_control());
        match builder.build(&Password::from("hunter2"), &provider()) {
            Ok(file) => {
                prop_assert!(fits);
                let opened = open(file.secret_bytes(), "hunter2").unwrap();
                prop_assert_eq!(opened.contents().keys[0].friendly_name.as_deref(), Some(name.as_str()));
            }
            Err(error) => prop_assert!(!fits && error.kind() == PfxErrorKind::InvalidInput),
        }
    }
}
