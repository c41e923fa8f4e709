//! Writing and reading again is the identity: PFX files over all protections, mixes of bags, names and passwords of all of Unicode; CMS
//! envelopes and signatures over any content; key blobs.

#![cfg(all(feature = "ring", feature = "aws-lc-rs", feature = "legacy-ciphers"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/pki.rs"]
mod pki;

use std::sync::{Arc, OnceLock};

use intune_connector::crypto::{AeadAlgorithm, ContentCipherAlgorithm, CryptoProvider, KeyTransportAlgorithm, sign_now, unwrap_now};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::enveloped::{EnvelopeBuilder, LegacyCiphers, Opening};
use intune_connector::message::pfx::{
    self, CertificateProtection, OtherBagKind, Pbes2Cipher, PfxBuilder, PfxContents, PfxDigest, PfxEncryption, PfxIdentity, PfxIntegrity,
    PfxProtection, TrustedCertificate, WindowsKeyUsage, WindowsStore,
};
use intune_connector::message::private_key;
use intune_connector::message::reencrypt::reencrypt_pfx;
use intune_connector::message::signed::{Signed, SignedBuilder, SignedContent, VerifyOptions};
use intune_connector::secret::{Password, PrivateKeyPkcs8, SecretBytes};
use intune_connector::terms::KeyAlgorithm;
use pki::Identity;
use proptest::prelude::*;
use proptest::sample::select;
use rustls_pki_types::CertificateDer;

/// A root, an issuer below it and keys of each kind below that; made once, since the properties are about files and not about keys.
struct Pool {
    provider: Arc<CryptoProvider>,
    root: Identity,
    leaves: Vec<Identity>,
}

fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| {
        let provider = pki::provider();
        let root = pki::root(&provider, "property root");
        let kinds = [KeyAlgorithm::EcP256, KeyAlgorithm::EcP384, KeyAlgorithm::Rsa2048, KeyAlgorithm::EcP256];
        let leaf = |(index, kind)| pki::leaf(&provider, &root, &format!("CN=leaf {index}"), kind, |builder| builder);
        let leaves = kinds.into_iter().enumerate().map(leaf).collect();
        Pool { provider, root, leaves }
    })
}

/// Any text, with what is rare made common: surrogate pairs, combining marks, zeros, both ends of planes, forms that normalise.
fn any_text() -> impl Strategy<Value = String> {
    let rare = select(vec![
        '\0',
        '\u{301}',
        'e',
        'é',
        'ﬁ',
        '\u{ffff}',
        '\u{10000}',
        '\u{10ffff}',
        '😀',
        '\u{feff}',
        '\u{202e}',
        'ß',
        'Å',
        '\u{d7ff}',
        '\u{e000}',
    ]);
    let lengths = prop_oneof![8 => 1..20_usize, 1 => 20..200_usize, 1 => 1_000..3_000_usize];
    lengths
        .prop_flat_map(move |length| proptest::collection::vec(prop_oneof![any::<char>(), rare.clone()], length))
        .prop_map(String::from_iter)
        .prop_filter("a password of zeros protects nothing", |text| text.chars().any(|character| character != '\0'))
}

/// What a friendly name may be: characters of the basic multilingual plane that are no controls.
fn any_name() -> impl Strategy<Value = String> {
    let plane = any::<u16>().prop_filter_map("no surrogate, no control", |unit| char::from_u32(unit.into()).filter(|c| !c.is_control()));
    let rare = select(vec!['\u{301}', '\u{200d}', '\u{feff}', '\u{ffff}', '\u{fffe}', 'ł', '中', 'ß', ' ', '"']);
    proptest::collection::vec(prop_oneof![plane, rare], 1..60).prop_map(String::from_iter)
}

fn any_protection() -> impl Strategy<Value = PfxProtection> {
    let digest = || select(vec![PfxDigest::Sha1, PfxDigest::Sha224, PfxDigest::Sha256, PfxDigest::Sha384, PfxDigest::Sha512]);
    let cipher = || select(vec![Pbes2Cipher::Aes128Cbc, Pbes2Cipher::Aes192Cbc, Pbes2Cipher::Aes256Cbc]);
    let encryption = move || {
        prop_oneof![
            Just(PfxEncryption::Pbes1TripleDes { iterations: 2_000 }),
            (cipher(), digest()).prop_map(|(cipher, prf)| PfxEncryption::Pbes2 { cipher, prf, iterations: 2_000 }),
        ]
    };
    let certificates = prop_oneof![4 => encryption().prop_map(CertificateProtection::Encrypted), 1 => Just(CertificateProtection::Clear)];
    let integrity = prop_oneof![
        digest().prop_map(|digest| PfxIntegrity::Mac { digest, iterations: 2_000 }),
        (digest(), digest()).prop_map(|(prf, hmac)| PfxIntegrity::Pbmac1 { prf, hmac, iterations: 2_000 }),
        Just(PfxIntegrity::DangerouslyNone),
    ];
    (encryption(), certificates, integrity).prop_map(|(keys, certificates, integrity)| PfxProtection::new(keys, certificates, integrity))
}

fn any_bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..most)
}

fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len();
    let header = match length {
        0..0x80 => vec![tag, length as u8],
        0x80..0x100 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [&header, contents].concat()
}

/// A bag that no other program is asked for here: CRL, secret, or of a type that nobody knows, with attributes.
#[derive(Debug, Clone)]
struct OtherBag {
    kind: OtherBagKind,
    value: Vec<u8>,
    name: Option<String>,
    id: Option<Vec<u8>>,
    attribute: Option<Vec<u8>>,
}

fn any_other_bag() -> impl Strategy<Value = OtherBag> {
    let kind = select(vec![OtherBagKind::Crl, OtherBagKind::Secret, OtherBagKind::Unknown]);
    let value = any_bytes(300).prop_map(|bytes| tlv(4, &bytes));
    let id = proptest::collection::vec(any::<u8>(), 1..30);
    (kind, value, proptest::option::of(any_name()), proptest::option::of(id), proptest::option::of(any_bytes(60)))
        .prop_map(|(kind, value, name, id, attribute)| OtherBag { kind, value, name, id, attribute })
}

impl OtherBag {
    fn encode(&self) -> Vec<u8> {
        const PKCS9: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9];
        let pkcs9 = |arcs: &[u8]| tlv(6, &[&PKCS9, arcs].concat());
        let attribute = |id: &[u8], value: &[u8]| tlv(0x30, &[id, &tlv(0x31, value)].concat());
        let typed = |id: &[u8]| tlv(0x30, &[id, &tlv(0xa0, &self.value)].concat());
        let (arc, value) = match self.kind {
            OtherBagKind::Crl => (4, typed(&pkcs9(&[23, 1]))),
            OtherBagKind::Secret => (5, typed(&tlv(6, &[0x2a, 3, 4]))),
            _ => (99, self.value.clone()),
        };
        let mut attributes = Vec::new();
        if let Some(name) = &self.name {
            attributes.push(attribute(&pkcs9(&[20]), &tlv(0x1e, &name.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>())));
        }
        attributes.extend(self.id.iter().map(|id| attribute(&pkcs9(&[21]), &tlv(4, id))));
        attributes.extend(self.attribute.iter().map(|value| attribute(&tlv(6, &[0x2a, 3, 5]), &tlv(4, value))));
        attributes.sort();
        let id = tlv(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1, arc]);
        let set = if attributes.is_empty() { Vec::new() } else { tlv(0x31, &attributes.concat()) };
        tlv(0x30, &[id, tlv(0xa0, &value), set].concat())
    }
}

/// A file without MAC that holds these bags in clear, as another program may have written it.
fn opened(bags: &[OtherBag]) -> PfxContents {
    const DATA: [u8; 11] = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
    let data = |contents: &[u8]| tlv(0x30, &[&DATA[..], &tlv(0xa0, &tlv(4, contents))].concat());
    let bags = bags.iter().map(OtherBag::encode).collect::<Vec<_>>().concat();
    let file = tlv(0x30, &[&[2, 1, 3][..], &data(&tlv(0x30, &data(&tlv(0x30, &bags))))].concat());
    match pfx::open(&file, None, &pool().provider, &Limits::default()).unwrap() {
        pfx::OpenedPfx::Unauthenticated(contents) => contents.dangerous_into_unauthenticated_contents(),
        _ => panic!("there is no MAC"),
    }
}

fn assert_others(contents: &PfxContents, bags: &[OtherBag]) -> Result<(), TestCaseError> {
    prop_assert_eq!(contents.others.len(), bags.len());
    for (found, bag) in contents.others.iter().zip(bags) {
        prop_assert_eq!((found.kind, found.value.secret_bytes()), (bag.kind, &bag.value[..]));
        prop_assert_eq!((&found.friendly_name, &found.local_key_id), (&bag.name, &bag.id));
        let unknown = found.attributes.iter().find(|attribute| attribute.oid == "1.2.3.5").map(|attribute| attribute.values.clone());
        prop_assert_eq!(unknown, bag.attribute.as_ref().map(|value| vec![tlv(4, value)]));
    }
    Ok(())
}

fn same_key(found: &PrivateKeyPkcs8, written: &PrivateKeyPkcs8) -> bool {
    found.secret_pkcs8_der() == written.secret_pkcs8_der()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pfx_reads_back_as_it_was_written(
        protection in any_protection(),
        password in any_text(),
        names in proptest::collection::vec(proptest::option::of(any_name()), 1..4),
        trusted in proptest::option::of(any_name()),
        bags in proptest::collection::vec(any_other_bag(), 0..4),
        (csp, machine, exchange, first) in (proptest::option::of(any_name()), any::<bool>(), any::<bool>(), 0..4_usize),
    ) {
        let pool = pool();
        let (provider, limits) = (&*pool.provider, Limits::default());
        let chain = [pool.root.certificate.clone()];
        let leaves = names.iter().enumerate().map(|(index, name)| (&pool.leaves[(first + index) % pool.leaves.len()], name)).collect::<Vec<_>>();
        let others = opened(&bags);
        let mut builder = PfxBuilder::new(protection).contents(&others);
        for (leaf, name) in &leaves {
            let mut identity = PfxIdentity::new(&leaf.key, &leaf.certificate).chain(&chain);
            if let Some(name) = name {
                identity = identity.friendly_name(name);
            }
            if let Some(csp) = &csp {
                identity = identity.csp_name(csp);
            }
            if machine {
                identity = identity.windows_store(WindowsStore::Machine);
            }
            if exchange {
                identity = identity.windows_key_usage(WindowsKeyUsage::Exchange);
            }
            builder = builder.identity(identity);
        }
        let alone = pool.leaves[(first + 3) % 4].certificate.clone();
        if let Some(name) = &trusted {
            builder = builder.trusted_certificate(TrustedCertificate::new(&alone).friendly_name(name));
        }
        let typed = Password::from(password.as_str());
        let file = builder.build(&typed, provider).unwrap();
        let opened = pfx::open(file.secret_bytes(), &typed, provider, &limits).unwrap();
        prop_assert_eq!(opened.mac().is_some(), !matches!(protection.integrity, PfxIntegrity::DangerouslyNone));
        let contents = opened.contents();
        prop_assert_eq!(contents.identities().count(), leaves.len());
        for (identity, (leaf, name)) in contents.identities().zip(&leaves) {
            prop_assert!(exchange || same_key(&identity.key.key, &leaf.key));
            prop_assert_eq!((&identity.key.friendly_name, &identity.certificate.friendly_name), (*name, *name));
            prop_assert!(identity.key.local_key_id.is_some() && identity.key.local_key_id == identity.certificate.local_key_id);
            let certificates = identity.certificates().map(|certificate| &certificate.der).collect::<Vec<_>>();
            prop_assert_eq!(certificates, [&leaf.certificate, &pool.root.certificate]);
            let has = |oid: &str| identity.key.attributes.iter().any(|attribute| attribute.oid == oid);
            prop_assert_eq!((has("1.3.6.1.4.1.311.17.1"), has("1.3.6.1.4.1.311.17.2")), (csp.is_some(), machine));
        }
        let expected = leaves.len() + 1 + usize::from(trusted.is_some());
        prop_assert_eq!(contents.certificates.len(), expected);
        if let Some(name) = &trusted {
            let found: Vec<&CertificateDer<'_>> =
                contents.certificates.iter().filter(|found| found.friendly_name.as_ref() == Some(name)).map(|found| &found.der).collect();
            prop_assert!(found.contains(&&alone));
        }
        assert_others(contents, &bags)?;

        let wrong = Password::from(format!("{password}x"));
        prop_assert!(pfx::open(file.secret_bytes(), &wrong, provider, &limits).is_err());
        prop_assert!(pfx::open(file.secret_bytes(), None, provider, &limits).is_err());
    }

    #[test]
    fn a_reencrypted_pfx_holds_what_the_first_one_held(
        (from, to) in (any_protection(), any_protection()),
        (password, other) in (any_text(), any_text()),
        name in proptest::option::of(any_name()),
        bags in proptest::collection::vec(any_other_bag(), 0..3),
        first in 0..4_usize,
    ) {
        let pool = pool();
        let (provider, limits) = (&*pool.provider, Limits::default());
        let (leaf, chain) = (&pool.leaves[first], [pool.root.certificate.clone()]);
        let others = opened(&bags);
        let mut identity = PfxIdentity::new(&leaf.key, &leaf.certificate).chain(&chain).csp_name("provider");
        if let Some(name) = &name {
            identity = identity.friendly_name(name);
        }
        let file = PfxBuilder::new(from).identity(identity).contents(&others).build(&Password::from(password.as_str()), provider).unwrap();
        let first = pfx::open(file.secret_bytes(), &Password::from(password.as_str()), provider, &limits).unwrap();
        let again = reencrypt_pfx(&first, to, &Password::from(other.as_str()), provider);
        if matches!(from.integrity, PfxIntegrity::DangerouslyNone) {
            prop_assert!(again.is_err(), "nobody vouches for it");
            return Ok(());
        }
        let second = pfx::open(again.unwrap().pfx.secret_bytes(), &Password::from(other.as_str()), provider, &limits).unwrap();
        let (first, second) = (first.contents().identity().unwrap(), second.contents());
        assert_others(second, &bags)?;
        let second = second.identity().unwrap();
        prop_assert!(same_key(&second.key.key, &leaf.key));
        prop_assert_eq!((&second.key.friendly_name, &second.key.local_key_id), (&name, &first.key.local_key_id));
        let (mut before, mut after) = (first.key.attributes.clone(), second.key.attributes.clone());
        before.sort_by(|a, b| a.oid.cmp(&b.oid));
        after.sort_by(|a, b| a.oid.cmp(&b.oid));
        prop_assert_eq!(before, after);
        prop_assert!(second.certificates().map(|it| &it.der).eq([&leaf.certificate, &pool.root.certificate]));
    }

    #[test]
    fn an_envelope_gives_back_what_was_put_in(
        content in any_bytes(5_000),
        cipher in select(vec![ContentCipherAlgorithm::Aes128Cbc, ContentCipherAlgorithm::Aes192Cbc, ContentCipherAlgorithm::Aes256Cbc, ContentCipherAlgorithm::DesEde3Cbc]),
        transport in select(vec![
            KeyTransportAlgorithm::RsaPkcs1v15, KeyTransportAlgorithm::RsaOaepSha1, KeyTransportAlgorithm::RsaOaepSha256,
            KeyTransportAlgorithm::RsaOaepSha384, KeyTransportAlgorithm::RsaOaepSha512,
        ]),
    ) {
        let pool = pool();
        let (provider, limits, leaf) = (&*pool.provider, Limits::default(), &pool.leaves[2]);
        let certificate = Certificate::from_der(&leaf.certificate, &limits).unwrap();
        let builder = EnvelopeBuilder::new(cipher, transport).legacy_ciphers(LegacyCiphers::AllowTripleDes);
        let message = builder.recipient(&certificate).build(&content, provider).unwrap();
        let mut opening = Opening::parse(&message, &limits).unwrap().legacy_ciphers(LegacyCiphers::AllowTripleDes);
        let request = opening.unwrap_request(&certificate, provider).unwrap();
        let key = provider.decryption_keys().unwrap().load(&leaf.key).unwrap();
        let found = opening.finish(unwrap_now(&*key, &request), provider).unwrap();
        prop_assert_eq!(found.secret_bytes(), content);
    }

    #[test]
    fn every_kind_of_recipient_reads_what_was_put_in_and_no_other_does(
        content in any_bytes(2_000),
        cipher in select(vec![Ok(ContentCipherAlgorithm::Aes128Cbc), Ok(ContentCipherAlgorithm::Aes256Cbc), Err(AeadAlgorithm::Aes128Gcm), Err(AeadAlgorithm::Aes192Gcm), Err(AeadAlgorithm::Aes256Gcm)]),
        password in any_text(),
        (identifier, kek) in (any_bytes(40), select(vec![16, 24, 32_usize]).prop_flat_map(|len| proptest::collection::vec(any::<u8>(), len))),
    ) {
        let pool = pool();
        let (provider, limits) = (&*pool.provider, Limits::default());
        let certificates = pool.leaves.iter().map(|leaf| Certificate::from_der(&leaf.certificate, &limits).unwrap()).collect::<Vec<_>>();
        let (kek, typed) = (SecretBytes::new(kek), Password::from(password.as_str()));
        let transport = KeyTransportAlgorithm::RsaOaepSha256;
        let builder = match cipher {
            Ok(cipher) => EnvelopeBuilder::new(cipher, transport),
            Err(cipher) => EnvelopeBuilder::authenticated(cipher, transport),
        };
        let builder = certificates.iter().fold(builder, EnvelopeBuilder::recipient);
        let message = builder.kek_recipient(&identifier, &kek).password_recipient(&typed, 100).build(&content, provider).unwrap();
        let parse = || Opening::parse(&message, &limits).unwrap();
        for (leaf, certificate) in pool.leaves.iter().zip(&certificates) {
            let mut opening = parse();
            let request = opening.unwrap_request(certificate, provider).unwrap();
            let key = provider.decryption_keys().unwrap().load(&leaf.key).unwrap();
            let found = opening.finish(unwrap_now(&*key, &request), provider).unwrap();
            prop_assert_eq!(found.secret_bytes(), &content[..]);
        }
        let found = parse().decrypt_with_kek(&identifier, &kek, provider).unwrap();
        prop_assert_eq!(found.secret_bytes(), &content[..]);
        let found = parse().decrypt_with_password(&typed, provider).unwrap();
        prop_assert_eq!(found.secret_bytes(), &content[..]);
        let other = SecretBytes::new(kek.secret_bytes().iter().map(|byte| byte ^ 1).collect());
        let wrong = Password::from(format!("{password}x"));
        for outcome in [parse().decrypt_with_kek(&identifier, &other, provider), parse().decrypt_with_password(&wrong, provider)] {
            // Without authentication one in 256 ends in noise.
            prop_assert!(outcome.map_or(true, |noise| cipher.is_ok() && noise.secret_bytes() != content));
        }
    }

    #[test]
    fn a_signature_verifies_over_its_content_and_no_other(content in any_bytes(3_000), detached in any::<bool>(), signer in 0..4_usize, change in any::<u8>()) {
        let pool = pool();
        let (provider, limits, leaf) = (&*pool.provider, Limits::default(), &pool.leaves[signer]);
        let certificate = Certificate::from_der(&leaf.certificate, &limits).unwrap();
        let signed_content = if detached { SignedContent::Detached(&content) } else { SignedContent::Attached(&content) };
        let builder = SignedBuilder::new(signed_content).certificate(&leaf.certificate);
        let unsigned = builder.to_be_signed(&certificate, pki::algorithm_of(&*leaf.signer), provider).unwrap();
        let signature = sign_now(&*leaf.signer, unsigned.algorithm(), unsigned.message()).unwrap();
        let message = unsigned.finish(&signature);
        let signed = Signed::parse(&message, &limits).unwrap();
        let options = || if detached { VerifyOptions::default().detached(&content) } else { VerifyOptions::default() };
        let verified = signed.verify(options(), provider).unwrap();
        prop_assert_eq!(verified.content(), &content[..]);
        prop_assert_eq!(verified.single_signer().unwrap().certificate().der(), &leaf.certificate);
        if detached {
            let other = [&content[..], &[change]].concat();
            prop_assert!(signed.verify(VerifyOptions::default().detached(&other), provider).is_err());
        }
    }

    #[test]
    fn a_key_reads_back_from_pem_whatever_stands_around_it(
        before in "[a-zA-Z0-9 :\\n]{0,200}", after in "[a-zA-Z0-9 :\\n]{0,200}", crlf in any::<bool>(), width in 1..100_usize, key in 0..4_usize,
    ) {
        let key = &pool().leaves[key].key;
        let end = if crlf { "\r\n" } else { "\n" };
        let text = base64(key.secret_pkcs8_der());
        let lines = text.as_bytes().chunks(width).map(|line| String::from_utf8_lossy(line).into_owned()).collect::<Vec<_>>().join(end);
        let pem = format!("{before}{end}-----BEGIN PRIVATE KEY-----{end}{lines}{end}-----END PRIVATE KEY-----{end}{after}");
        let found = private_key::read(pem.as_bytes(), None, &pool().provider, &Limits::default()).unwrap();
        prop_assert!(same_key(&found, key));
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let quantum = |chunk: &[u8]| {
        let word = (0..3).fold(0_u32, |word, index| word << 8 | u32::from(chunk.get(index).copied().unwrap_or(0)));
        (0..4_usize).map(move |index| (index, ALPHABET[(word >> (18 - 6 * index) & 63) as usize])).collect::<Vec<_>>()
    };
    let encode = |chunk: &[u8]| {
        quantum(chunk).into_iter().map(|(index, letter)| if index > chunk.len() { '=' } else { char::from(letter) }).collect::<String>()
    };
    bytes.chunks(3).map(encode).collect()
}

#[test]
fn rsa_keys_read_back_from_key_blobs() {
    let provider = &pool().provider;
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::Rsa2048, KeyAlgorithm::Rsa3072] {
        let (key, signer) = pki::new_key(provider, algorithm);
        let blob = private_key::to_cng_full_private_blob(&key).unwrap();
        let found = private_key::read(blob.secret_bytes(), None, provider, &Limits::default()).unwrap();
        assert!(same_key(&found, &key), "the blob holds all numbers, and PKCS#8 has one form of them");
        assert_eq!(provider.signing_keys().unwrap().load(&found).unwrap().public_key(), signer.public_key());
        let cut = &blob.secret_bytes()[..blob.len() - 1];
        assert!(private_key::read(cut, None, provider, &Limits::default()).is_err());
    }
}
