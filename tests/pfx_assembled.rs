//! PFX files put together value by value: what the standards allow and few programs write, and what they forbid.
#![cfg(all(feature = "ring", feature = "aws-lc-rs", feature = "legacy-ciphers"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod pfx_assembly;
mod support;

use intune_connector::crypto::{ContentCipherAlgorithm as Cipher, CryptoProvider, DigestAlgorithm as Digest, pkcs12_kdf};
use intune_connector::limits::{Budget, Limits};
use intune_connector::message::pfx::{self, OpenOptions, OpenedPfx, OtherBagKind, PasswordForm, PfxError, PfxErrorKind};
use intune_connector::secret::{Password, PrivateKeyPkcs8};
use intune_connector::terms::KeyAlgorithm;
use pfx_assembly::*;

const SALT: &[u8] = b"salt of a file";
const FORMS: [Form; 3] = [Form::Der, Form::Indefinite, Form::Chunked];

fn provider() -> CryptoProvider {
    CryptoProvider::ring_and_aws_lc_rs()
}

fn key() -> PrivateKeyPkcs8 {
    provider().key_generation().unwrap().generate(KeyAlgorithm::EcP256).unwrap()
}

/// A certificate in shape only.
fn certificate(key: &PrivateKeyPkcs8, subject: &str, issuer: &str) -> Vec<u8> {
    let spki = provider().signing_keys().unwrap().load(key).unwrap().public_key();
    let name = |text: &str| {
        let attribute = Form::Der.sequence(&[&oid("2.5.4.3"), &tlv(UTF8_STRING, &[text.as_bytes()])]);
        Form::Der.sequence(&[&tlv(SET, &[&attribute])])
    };
    let algorithm = Form::Der.sequence(&[&oid("1.2.840.10045.4.3.2")]);
    let time = tlv(0x17, &[b"260101000000Z"]);
    let validity = Form::Der.sequence(&[&time, &time]);
    let tbs = Form::Der.sequence(&[&integer(1), &algorithm, &name(issuer), &validity, &name(subject), spki.as_ref()]);
    Form::Der.sequence(&[&tbs, &algorithm, &tlv(0x03, &[&[0, 1, 2, 3]])])
}

fn open(file: &[u8], password: Option<&Password>) -> Result<OpenedPfx, PfxError> {
    pfx::open(file, password, &provider(), &Limits::default())
}

fn kind(file: &[u8]) -> PfxErrorKind {
    open(file, None).unwrap_err().kind()
}

/// How a password becomes bytes.
type Formed = Option<Vec<u8>>;

fn bmp(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect()
}

fn widened(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().chain(&[0]).flat_map(|byte| [0, *byte]).collect()
}

fn mac(form: Form, auth_safe: &[u8], password: &[u8], digest: (&str, Digest), iterations: Option<u64>) -> Vec<u8> {
    let provider = provider();
    let mut key = vec![0; digest.1.output_len()];
    let rounds = iterations.unwrap_or(1) as u32;
    pkcs12_kdf(provider.digest().unwrap(), digest.1, password, SALT, 3, rounds, &mut key).unwrap();
    let value = provider.hmac().unwrap().hmac(digest.1, &key, &[auth_safe]).unwrap();
    let info = form.sequence(&[&form.algorithm(digest.0, &null()), &form.octets(value.as_ref())]);
    form.sequence(&[&info, &form.octets(SALT), &iterations.map(integer).unwrap_or_default()])
}

/// A file with a MAC by SHA-256 around safes.
fn with_mac(form: Form, safes: &[Vec<u8>], password: &[u8]) -> Vec<u8> {
    let auth_safe = form.sequence(&[&safes.concat()]);
    form.pfx(&form.data(&auth_safe), &mac(form, &auth_safe, password, ("2.16.840.1.101.3.4.2.1", Digest::Sha256), Some(3)))
}

struct Encryption {
    algorithm: Vec<u8>,
    ciphertext: Vec<u8>,
}

fn pbes1(form: Form, id: &str, cipher: Cipher, key_len: usize, password: &[u8], plaintext: &[u8]) -> Encryption {
    let provider = provider();
    let (mut key, mut iv) = (vec![0; key_len], vec![0; cipher.iv_len()]);
    pkcs12_kdf(provider.digest().unwrap(), Digest::Sha1, password, SALT, 1, 5, &mut key).unwrap();
    if !iv.is_empty() {
        pkcs12_kdf(provider.digest().unwrap(), Digest::Sha1, password, SALT, 2, 5, &mut iv).unwrap();
    }
    let ciphertext = provider.content_cipher().unwrap().encrypt(cipher, &key, &iv, plaintext).unwrap();
    Encryption { algorithm: form.algorithm(id, &form.sequence(&[&form.octets(SALT), &integer(5)])), ciphertext }
}

/// What of PBES2 varies.
struct Pbes2<'a> {
    cipher: Cipher,
    key_len: usize,
    cipher_id: &'a str,
    cipher_parameters: Vec<u8>,
    key_length: Option<u64>,
    /// `None`: left out, HMAC-SHA-1.
    prf: Option<(&'a str, Digest)>,
}

const IV: [u8; 16] = *b"sixteen IV bytes";

impl Pbes2<'_> {
    fn aes256() -> Self {
        Self {
            cipher: Cipher::Aes256Cbc,
            key_len: 32,
            cipher_id: "2.16.840.1.101.3.4.1.42",
            cipher_parameters: tlv(OCTET_STRING, &[&IV]),
            key_length: None,
            prf: Some(("1.2.840.113549.2.9", Digest::Sha256)),
        }
    }

    fn encrypt(&self, form: Form, password: &[u8], plaintext: &[u8]) -> Encryption {
        let provider = provider();
        let mut key = vec![0; self.key_len];
        let prf = self.prf.map_or(Digest::Sha1, |(_, digest)| digest);
        provider.pbkdf2().unwrap().derive(prf, password, SALT, 7, &mut key).unwrap();
        let iv = &IV[..self.cipher.iv_len()];
        let ciphertext = provider.content_cipher().unwrap().encrypt(self.cipher, &key, iv, plaintext).unwrap();
        let prf = self.prf.map(|(id, _)| form.algorithm(id, &null())).unwrap_or_default();
        let length = self.key_length.map(integer).unwrap_or_default();
        let kdf = form.algorithm("1.2.840.113549.1.5.12", &form.sequence(&[&form.octets(SALT), &integer(7), &length, &prf]));
        let cipher = form.algorithm(self.cipher_id, &self.cipher_parameters);
        Encryption { algorithm: form.algorithm("1.2.840.113549.1.5.13", &form.sequence(&[&kdf, &cipher])), ciphertext }
    }
}

fn shrouded(form: Form, encryption: &Encryption) -> Vec<u8> {
    form.bag(SHROUDED_KEY_BAG, &form.sequence(&[&encryption.algorithm, &form.octets(&encryption.ciphertext)]), &[])
}

#[test]
fn every_ber_form_at_every_level_opens_with_key_certificate_and_names() {
    let key = key();
    let certificate = certificate(&key, "leaf", "root");
    for outer in FORMS {
        for inner in FORMS {
            let name = inner.attribute(FRIENDLY_NAME, &[&inner.string(BMP_STRING, &[0, b'N', 0, b'a'])]);
            let id = inner.attribute(LOCAL_KEY_ID, &[&inner.octets(&[1, 2, 3, 4])]);
            let encrypted_key = Pbes2::aes256().encrypt(inner, b"pw", key.secret_pkcs8_der());
            let safe = inner.sequence(&[&inner.certificate_bag(&certificate, &[name, id]), &shrouded(inner, &encrypted_key)]);
            let encrypted = Pbes2::aes256().encrypt(outer, b"pw", &safe);
            let file = with_mac(outer, &[outer.encrypted_safe(&encrypted.algorithm, &encrypted.ciphertext)], &bmp("pw"));
            let opened = open(&file, Some(&"pw".into())).unwrap_or_else(|error| panic!("{outer:?} {inner:?}: {error}"));
            assert!(matches!(opened, OpenedPfx::MacVerified(_)));
            let identity = opened.contents().identity().unwrap();
            assert_eq!(identity.key.key.secret_pkcs8_der(), key.secret_pkcs8_der());
            assert_eq!(identity.certificate.der.as_ref(), certificate);
            assert_eq!(identity.certificate.friendly_name.as_deref(), Some("Na"), "{inner:?}");
            assert_eq!(identity.certificate.local_key_id.as_deref(), Some(&[1, 2, 3, 4][..]));
            let followed = [&file[..], b"\r\n\0\0trailing"].concat();
            assert_eq!(open(&followed, Some(&"pw".into())).unwrap().contents().trailing_bytes, 12);
            let padded = [&safe[..], &[0, 0, 0]].concat();
            let encrypted = Pbes2::aes256().encrypt(outer, b"pw", &padded);
            let file_with_padded_safe = with_mac(outer, &[outer.encrypted_safe(&encrypted.algorithm, &encrypted.ciphertext)], &bmp("pw"));
            assert_eq!(open(&file_with_padded_safe, Some(&"pw".into())).unwrap().contents().trailing_bytes, 3);
            for cut in (0..file.len()).step_by(61) {
                assert!(open(&file[..cut], Some(&"pw".into())).is_err(), "{outer:?} {cut}");
            }
        }
    }
}

#[test]
fn every_scheme_of_pbes1_and_pbes2_opens() {
    let key = key();
    let pkcs8 = key.secret_pkcs8_der();
    let rc2 = |bits: u16| Cipher::Rc2Cbc { effective_bits: bits };
    let mut bags = Vec::new();
    for (last, cipher, key_len) in [
        (1, Cipher::Rc4, 16),
        (2, Cipher::Rc4, 5),
        (3, Cipher::DesEde3Cbc, 24),
        (4, Cipher::DesEde3Cbc, 16),
        (5, rc2(128), 16),
        (6, rc2(40), 5),
    ] {
        let id = format!("1.2.840.113549.1.12.1.{last}");
        bags.push((id.clone(), shrouded(Form::Der, &pbes1(Form::Der, &id, cipher, key_len, &bmp("pw"), pkcs8))));
    }
    // RC2 by its version: 160 is 40 bits, 120 is 64, 58 is 128, 256 and above the bits themselves, none 32 (RFC 8018 appendix B.2.3).
    for (version, bits, key_len) in [(Some(160), 40, 5), (Some(120), 64, 8), (Some(58), 128, 16), (Some(256), 256, 32), (None, 32, 4)] {
        let iv = tlv(OCTET_STRING, &[&IV[..8]]);
        let cipher_parameters = Form::Der.sequence(&[&version.map(integer).unwrap_or_default(), &iv]);
        for key_length in [Some(key_len as u64), Some(16)] {
            let key_len = key_length.unwrap() as usize;
            let scheme = Pbes2 {
                cipher: rc2(bits),
                key_len,
                cipher_id: "1.2.840.113549.3.2",
                cipher_parameters: cipher_parameters.clone(),
                key_length,
                prf: None,
            };
            bags.push((format!("RC2 {version:?} {key_len}"), shrouded(Form::Der, &scheme.encrypt(Form::Der, b"pw", pkcs8))));
        }
    }
    let prfs = [
        ("1.2.840.113549.2.7", Digest::Sha1),
        ("1.2.840.113549.2.8", Digest::Sha224),
        ("1.2.840.113549.2.9", Digest::Sha256),
        ("1.2.840.113549.2.10", Digest::Sha384),
        ("1.2.840.113549.2.11", Digest::Sha512),
        ("1.2.840.113549.2.13", Digest::Sha512_256),
        #[cfg(feature = "rare-digests")]
        ("1.2.840.113549.2.12", Digest::Sha512_224),
    ];
    for prf in prfs.map(Some).into_iter().chain([None]) {
        for (id, cipher, key_len) in [
            ("2.16.840.1.101.3.4.1.2", Cipher::Aes128Cbc, 16),
            ("2.16.840.1.101.3.4.1.22", Cipher::Aes192Cbc, 24),
            ("2.16.840.1.101.3.4.1.42", Cipher::Aes256Cbc, 32),
            ("1.2.840.113549.3.7", Cipher::DesEde3Cbc, 24),
        ] {
            for key_length in [None, Some(key_len as u64)] {
                let cipher_parameters = tlv(OCTET_STRING, &[&IV[..cipher.iv_len()]]);
                let scheme = Pbes2 { cipher, key_len, cipher_id: id, cipher_parameters, key_length, prf };
                bags.push((format!("{id} {prf:?} {key_length:?}"), shrouded(Form::Der, &scheme.encrypt(Form::Der, b"pw", pkcs8))));
            }
        }
    }
    for (what, bag) in &bags {
        let file = with_mac(Form::Der, &[Form::Der.data(&Form::Der.sequence(&[bag]))], &bmp("pw"));
        let opened = open(&file, Some(&"pw".into())).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(opened.contents().keys[0].key.secret_pkcs8_der(), pkcs8, "{what}");
    }
}

#[test]
fn every_form_of_a_password_is_found_in_mac_pbes1_and_pbes2() {
    let key = key();
    let pkcs8 = key.secret_pkcs8_der();
    const TEXT: &str = "Zürich §7";
    let latin1: Vec<u8> = TEXT.chars().map(|character| character as u8).collect();
    let pkcs12_forms = [bmp(TEXT), widened(TEXT.as_bytes())];
    let pkcs5_forms = [TEXT.as_bytes().to_vec(), latin1.clone(), bmp(TEXT)[..TEXT.chars().count() * 2].to_vec(), bmp(TEXT)];
    for mac_form in &pkcs12_forms {
        for safe_form in &pkcs12_forms {
            let bag = shrouded(Form::Der, &pbes1(Form::Der, "1.2.840.113549.1.12.1.3", Cipher::DesEde3Cbc, 24, safe_form, pkcs8));
            let file = with_mac(Form::Der, &[Form::Der.data(&Form::Der.sequence(&[&bag]))], mac_form);
            assert_eq!(open(&file, Some(&TEXT.into())).unwrap().contents().keys.len(), 1);
        }
        for safe_form in &pkcs5_forms {
            let bag = shrouded(Form::Der, &Pbes2::aes256().encrypt(Form::Der, safe_form, pkcs8));
            let file = with_mac(Form::Der, &[Form::Der.data(&Form::Der.sequence(&[&bag]))], mac_form);
            assert_eq!(open(&file, Some(&TEXT.into())).unwrap().contents().keys.len(), 1);
        }
    }
    // Latin-1 widened is what a program with a Latin-1 locale makes; the password may be given as such bytes too.
    let file = with_mac(Form::Der, &[], &widened(&latin1));
    let opened = open(&file, Some(&TEXT.into())).unwrap();
    assert_eq!(opened.mac().unwrap().password_form(), PasswordForm::Bmp, "U+0000 to U+00FF widen to themselves");
    assert!(open(&file, Some(&Password::new(latin1))).is_ok());
}

#[test]
fn absent_and_empty_passwords_open_in_every_combination() {
    let key = key();
    let pkcs8 = key.secret_pkcs8_der();
    let forms: [Formed; 2] = [Some(vec![0, 0]), None];
    for mac_form in &forms {
        for safe_form in &forms {
            let safe_bytes = safe_form.clone().unwrap_or_default();
            let pbes1 = pbes1(Form::Der, "1.2.840.113549.1.12.1.3", Cipher::DesEde3Cbc, 24, &safe_bytes, pkcs8);
            let pbes2 = Pbes2::aes256().encrypt(Form::Der, b"", pkcs8);
            for encryption in [pbes1, pbes2] {
                let safe = Form::Der.data(&Form::Der.sequence(&[&shrouded(Form::Der, &encryption)]));
                for file in [
                    with_mac(Form::Der, core::slice::from_ref(&safe), &mac_form.clone().unwrap_or_default()),
                    Form::Der.unauthenticated(core::slice::from_ref(&safe)),
                ] {
                    assert!(open(&file, None).is_ok(), "{mac_form:?} {safe_form:?}");
                    assert!(open(&file, Some(&"".into())).is_ok(), "{mac_form:?} {safe_form:?}");
                    assert!(open(&file, Some(&"x".into())).is_err());
                }
            }
        }
    }
}

#[test]
fn nested_safes_are_read_as_sequence_and_as_set_wherever_they_stand() {
    let key = key();
    let certificate = certificate(&key, "leaf", "root");
    for form in FORMS {
        for tag in [SEQUENCE, SET] {
            for depth in [1, 2, 5] {
                let bag = (0..depth).fold(form.certificate_bag(&certificate, &[]), |inside, _| {
                    form.bag(SAFE_CONTENTS_BAG, &form.holder(tag, &[&inside, &inside]), &[])
                });
                let encrypted =
                    Pbes2::aes256().encrypt(form, b"pw", &form.sequence(&[&bag, &form.bag(KEY_BAG, key.secret_pkcs8_der(), &[])]));
                let safe = form.encrypted_safe(&encrypted.algorithm, &encrypted.ciphertext);
                let opened = open(&with_mac(form, &[safe], &bmp("pw")), Some(&"pw".into())).unwrap();
                assert_eq!(opened.contents().certificates.len(), 1 << depth, "{form:?} {tag:x} {depth}");
                assert_eq!(opened.contents().identities().count(), 1);
            }
        }
    }
}

#[test]
fn odd_but_legal_contents_open() {
    let key = key();
    let certificate = certificate(&key, "leaf", "root");
    let der = Form::Der;
    // Nothing inside; empty safes; certificates only; keys only; everything twice.
    for (safes, keys, certificates) in [
        (vec![], 0, 0),
        (vec![der.sequence(&[]), der.sequence(&[])], 0, 0),
        (vec![der.sequence(&[&der.certificate_bag(&certificate, &[])])], 0, 1),
        (vec![der.sequence(&[&der.bag(KEY_BAG, key.secret_pkcs8_der(), &[])])], 1, 0),
        (vec![der.sequence(&[&der.bag(KEY_BAG, key.secret_pkcs8_der(), &[]), &der.certificate_bag(&certificate, &[])]); 2], 2, 2),
    ] {
        let safes: Vec<Vec<u8>> = safes.iter().map(|safe| der.data(safe)).collect();
        let opened = open(&with_mac(der, &safes, &bmp("pw")), Some(&"pw".into())).unwrap();
        assert_eq!((opened.contents().keys.len(), opened.contents().certificates.len()), (keys, certificates));
        assert_eq!(opened.contents().identities().count(), if certificates == 0 { 0 } else { keys });
    }
    // SDSI, a wallet's secret, a CRL, unknown bags, and keys of algorithms that nobody here computes with.
    let ed448 = der.sequence(&[&integer(0), &der.sequence(&[&oid("1.3.101.113")]), &der.octets(&tlv(OCTET_STRING, &[&[7; 57]]))]);
    let typed = |id: &str, value: &[u8]| der.sequence(&[&oid(id), &der.explicit(value)]);
    let bags = [
        der.bag(CERT_BAG, &typed(SDSI_CERTIFICATE, &tlv(0x16, &[b"(cert)"])), &[]),
        der.bag(SECRET_BAG, &typed("1.2.840.113549.1.12.10.1.2", &der.octets(b"secret")), &[]),
        der.bag(SECRET_BAG, &der.octets(b"wallet"), &[]),
        der.bag(CRL_BAG, &typed("1.2.840.113549.1.9.23.1", &der.octets(b"crl")), &[]),
        der.bag("1.2.3.4.5", &null(), &[]),
        der.bag(KEY_BAG, &ed448, &[]),
        der.certificate_bag(&certificate, &[der.attribute("1.2.3", &[]), der.attribute("1.2.4", &[&null(), &null()])]),
    ];
    let opened = open(&with_mac(der, &[der.data(&der.sequence(&[&bags.concat()]))], &bmp("pw")), Some(&"pw".into())).unwrap();
    let kinds: Vec<OtherBagKind> = opened.contents().others.iter().map(|other| other.kind).collect();
    use OtherBagKind::{Crl, OtherCertificate, Secret, Unknown};
    assert_eq!(kinds, [OtherCertificate, Secret, Secret, Crl, Unknown]);
    assert_eq!((opened.contents().keys.len(), opened.contents().certificates.len()), (1, 1));
    assert_eq!(opened.contents().keys[0].key.secret_pkcs8_der(), ed448);
}

#[test]
fn a_mac_with_default_iterations_or_any_digest_is_verified() {
    let auth_safe = Form::Der.sequence(&[]);
    let digests = [
        ("1.3.14.3.2.26", Digest::Sha1),
        ("2.16.840.1.101.3.4.2.4", Digest::Sha224),
        ("2.16.840.1.101.3.4.2.1", Digest::Sha256),
        ("2.16.840.1.101.3.4.2.2", Digest::Sha384),
        ("2.16.840.1.101.3.4.2.3", Digest::Sha512),
        ("2.16.840.1.101.3.4.2.6", Digest::Sha512_256),
        #[cfg(feature = "rare-digests")]
        ("2.16.840.1.101.3.4.2.5", Digest::Sha512_224),
        #[cfg(feature = "rare-digests")]
        ("1.3.6.1.4.1.1722.12.2.1.16", Digest::Blake2b512),
        #[cfg(feature = "rare-digests")]
        ("1.3.6.1.4.1.1722.12.2.2.8", Digest::Blake2s256),
    ];
    for digest in digests {
        for iterations in [None, Some(1), Some(2)] {
            let file = Form::Der.pfx(&Form::Der.data(&auth_safe), &mac(Form::Der, &auth_safe, &bmp("pw"), digest, iterations));
            let opened = open(&file, Some(&"pw".into())).unwrap_or_else(|error| panic!("{digest:?}: {error}"));
            assert_eq!(opened.mac().unwrap().iterations(), iterations.unwrap_or(1) as u32);
        }
    }
}

/// The work that a refusal took, in key derivation iterations.
fn refused(file: &[u8]) -> (PfxErrorKind, u64) {
    let password = Password::from("pw");
    let mut budget = Budget::new(&Limits::default());
    let error = pfx::open_with(file, &OpenOptions::new(&password), &provider(), &mut budget).unwrap_err();
    (error.kind(), budget.spent_kdf_iterations())
}

#[test]
fn bombs_and_broken_parameters_are_refused_before_any_work() {
    let der = Form::Der;
    let auth_safe = der.sequence(&[]);
    let sha256 = der.algorithm("2.16.840.1.101.3.4.2.1", &null());
    let mac_with = |value: &[u8], iterations: &[u8]| {
        let info = der.sequence(&[&sha256, &der.octets(value)]);
        der.pfx(&der.data(&auth_safe), &der.sequence(&[&info, &der.octets(SALT), iterations]))
    };
    let raw_integer = |octets: &[u8]| tlv(INTEGER, &[octets]);
    use PfxErrorKind::{Damaged, LimitExceeded};
    for (iterations, kind) in [
        (integer(50_000_000), LimitExceeded),
        (integer(0x7fff_ffff), LimitExceeded),
        (raw_integer(&[0, 0x80, 0, 0, 0, 0, 0, 0, 0]), LimitExceeded),
        (raw_integer(&[1; 40]), LimitExceeded),
        (integer(0), Damaged),
        (raw_integer(&[0xff]), Damaged),
        (raw_integer(&[]), Damaged),
    ] {
        assert_eq!(refused(&mac_with(&[0; 32], &iterations)), (kind, 0), "{iterations:02x?}");
    }
    for value in [&[][..], &[0; 16], &[0; 31], &[0; 33], &[0; 64]] {
        assert_eq!(refused(&mac_with(value, &integer(1))), (Damaged, 0), "{} octets", value.len());
    }
    for version in [0, 1, 2, 4, 99] {
        assert_eq!(kind(&der.sequence(&[&integer(version), &der.data(&auth_safe)])), Damaged);
    }
    for auth_safe in [der.sequence(&[&oid(DATA)]), der.sequence(&[&oid(ENCRYPTED_DATA)]), der.content_info(DATA, &integer(1))] {
        assert!(open(&der.pfx(&auth_safe, &[]), None).is_err());
    }
    // PBMAC1: key length missing, tiny, huge; iterations; unknown parts.
    let pbmac1 = |kdf: &[u8], hmac: &str, value: &[u8]| {
        let algorithm = der.algorithm("1.2.840.113549.1.5.14", &der.sequence(&[kdf, &der.algorithm(hmac, &null())]));
        let info = der.sequence(&[&algorithm, &der.octets(value)]);
        der.pfx(&der.data(&auth_safe), &der.sequence(&[&info, &der.octets(b"NOT USED"), &integer(1)]))
    };
    let pbkdf2 = |iterations: u64, length: Option<u64>| {
        let prf = der.algorithm("1.2.840.113549.2.9", &null());
        let length = length.map(integer).unwrap_or_default();
        der.algorithm("1.2.840.113549.1.5.12", &der.sequence(&[&der.octets(SALT), &integer(iterations), &length, &prf]))
    };
    for (iterations, length, kind) in [
        (1, None, Damaged),
        (1, Some(0), Damaged),
        (1, Some(1), Damaged),
        (1, Some(19), Damaged),
        (1, Some(1 << 40), Damaged),
        (0, Some(32), Damaged),
        (0x7fff_ffff, Some(32), LimitExceeded),
    ] {
        assert_eq!(refused(&pbmac1(&pbkdf2(iterations, length), "1.2.840.113549.2.9", &[0; 32])), (kind, 0), "{iterations} {length:?}");
    }
    assert_eq!(refused(&pbmac1(&pbkdf2(1, Some(32)), "1.2.840.113549.2.9", &[0; 16])), (Damaged, 0));
    assert_eq!(refused(&pbmac1(&pbkdf2(1, Some(32)), "1.2.3", &[0; 32])), (PfxErrorKind::UnsupportedAlgorithm, 0));
    // scrypt of 2^40 blocks, and with forbidden parameters.
    for (cost, kind) in [(1 << 40, LimitExceeded), (3, Damaged), (1, Damaged), (0, Damaged)] {
        let scrypt = der.algorithm("1.3.6.1.4.1.11591.4.11", &der.sequence(&[&der.octets(SALT), &integer(cost), &integer(8), &integer(1)]));
        let cipher = der.algorithm("2.16.840.1.101.3.4.1.42", &tlv(OCTET_STRING, &[&IV]));
        let algorithm = der.algorithm("1.2.840.113549.1.5.13", &der.sequence(&[&scrypt, &cipher]));
        assert_eq!(refused(&der.unauthenticated(&[der.encrypted_safe(&algorithm, &[0; 16])])), (kind, 0), "{cost}");
    }
}

#[test]
fn the_sum_of_the_work_is_bounded_and_the_error_has_both_numbers() {
    let der = Form::Der;
    let parameters = der.sequence(&[&der.octets(SALT), &integer(1_000_000), &der.algorithm("1.2.840.113549.2.9", &null())]);
    let kdf = der.algorithm("1.2.840.113549.1.5.12", &parameters);
    let cipher = der.algorithm("2.16.840.1.101.3.4.1.42", &tlv(OCTET_STRING, &[&IV]));
    let algorithm = der.algorithm("1.2.840.113549.1.5.13", &der.sequence(&[&kdf, &cipher]));
    let file = der.unauthenticated(&[der.encrypted_safe(&algorithm, &[0; 16])]);
    let limits = |kdf_iterations| {
        let mut limits = Limits::default();
        limits.kdf_iterations = kdf_iterations;
        limits
    };
    let PfxError::LimitExceeded(limit) = pfx::open(&file, &Password::from("pw"), &provider(), &limits(999_999)).unwrap_err() else {
        panic!("another error");
    };
    assert_eq!((limit.what, limit.limit, limit.needed), ("kdf_iterations", 999_999, 1_000_000));
    assert!(limit.to_string().contains("999999") && limit.to_string().contains("1000000"), "{limit}");
    // One budget over two files: what the first has spent is missing for the second.
    let (password, mut budget) = (Password::from("pw"), Budget::new(&limits(20)));
    let small = with_mac(der, &[], &bmp("pw"));
    let mut opened = 0;
    while pfx::open_with(&small, &OpenOptions::new(&password), &provider(), &mut budget).is_ok() {
        opened += 1;
    }
    assert_eq!((opened, budget.spent_kdf_iterations()), (6, 18), "3 iterations each");
}
