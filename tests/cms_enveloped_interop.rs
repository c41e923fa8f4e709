//! EC, shared-key and password recipients and authenticated envelopes against openssl, both directions.
#![cfg(all(feature = "ring", feature = "aws-lc-rs"))]

mod cms_support;
mod support;

use std::path::Path;
use std::process::Command;

use cms_support::Party;
use futures_util::FutureExt as _;
use intune_connector::crypto::{
    AeadAlgorithm as Aead, ContentCipherAlgorithm as Cipher, CryptoProvider, DigestAlgorithm as Digest, KeyTransportAlgorithm as Transport,
};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::enveloped::{
    CmsError, EnvelopeBuilder, KeyWrapAlgorithm as Wrap, LegacyCiphers, Opening, RecipientKind, decrypt, decrypt_encrypted_data,
};
use intune_connector::secret::{Password, PrivateKeyPkcs8, SecretBytes};
use support::{run, scratch, tool};

const CONTENT: &[u8] = b"a content of more than one block, \x00\xff and not text";
const CURVES: [&str; 3] = ["P-256", "P-384", "P-521"];

fn ec(openssl: &Path, dir: &Path, curve: &str) -> Party {
    Party::make(openssl, dir, &format!("ec-{curve}"), &["ec", "-pkeyopt", &format!("ec_paramgen_curve:{curve}")])
}

fn open(message: &[u8], party: &Party, provider: &CryptoProvider) -> Result<SecretBytes, CmsError> {
    let key = party.decryption_key(provider);
    decrypt(message, &party.certificate, key.as_ref(), LegacyCiphers::Refuse, provider, &Limits::default())
        .now_or_never()
        .expect("a software key does not wait")
}

fn encrypted_by(openssl: &Path, dir: &Path, content: &[u8], arguments: &[&str], files: &[&Path]) -> Vec<u8> {
    let (input, output) = (dir.join("content"), dir.join("message.der"));
    std::fs::write(&input, content).unwrap();
    let mut command = Command::new(openssl);
    command.args(["cms", "-encrypt", "-binary", "-outform", "DER", "-in"]).arg(&input).arg("-out").arg(&output);
    for argument in arguments {
        match argument.strip_prefix("FILE").and_then(|number| number.parse::<usize>().ok()) {
            Some(number) => command.arg(files[number]),
            None => command.arg(argument),
        };
    }
    run(&mut command);
    std::fs::read(&output).unwrap()
}

fn decrypted_by(openssl: &Path, dir: &Path, message: &[u8], arguments: &[&str], party: Option<&Party>) -> Vec<u8> {
    let file = dir.join("ours.der");
    std::fs::write(&file, message).unwrap();
    let mut command = Command::new(openssl);
    command.args(["cms", "-decrypt", "-binary", "-inform", "DER", "-in"]).arg(&file).args(arguments);
    if let Some(party) = party {
        command.arg("-recip").arg(&party.cert_file).arg("-inkey").arg(&party.key_file);
    }
    run(&mut command).stdout
}

#[test]
fn openssl_decrypts_what_we_encrypt_to_elliptic_curve_keys() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    for curve in CURVES {
        let party = ec(&openssl, dir.path(), curve);
        let message = EnvelopeBuilder::default().recipient(&party.certificate).build(CONTENT, &provider).unwrap();
        assert_eq!(decrypted_by(&openssl, dir.path(), &message, &[], Some(&party)), CONTENT, "{curve}");
        assert_eq!(open(&message, &party, &provider).unwrap().secret_bytes(), CONTENT, "{curve}");
        for kdf in [Digest::Sha224, Digest::Sha256, Digest::Sha384, Digest::Sha512] {
            for wrap in [Wrap::Aes128, Wrap::Aes192, Wrap::Aes256] {
                let builder = EnvelopeBuilder::new(Cipher::Aes192Cbc, Transport::RsaOaepSha256).key_agreement(kdf, wrap);
                let message = builder.recipient(&party.certificate).build(CONTENT, &provider).unwrap();
                assert_eq!(decrypted_by(&openssl, dir.path(), &message, &[], Some(&party)), CONTENT, "{curve} {kdf} {wrap:?}");
                assert_eq!(open(&message, &party, &provider).unwrap().secret_bytes(), CONTENT, "{curve} {kdf} {wrap:?}");
            }
        }
    }
}

#[test]
fn what_openssl_encrypts_to_elliptic_curve_keys_is_opened() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let rsa = Party::rsa(&openssl, dir.path(), "other");
    let long = vec![0x5a; 70_000];
    for curve in CURVES {
        let party = ec(&openssl, dir.path(), curve);
        for cipher in ["-aes-128-cbc", "-aes-192-cbc", "-aes-256-cbc", "-aes-256-gcm"] {
            for options in [
                &["-recip", "FILE0"][..],
                &["-recip", "FILE0", "-keyopt", "ecdh_kdf_md:sha256"],
                &["-recip", "FILE0", "-keyopt", "ecdh_kdf_md:sha224"],
                &["-recip", "FILE0", "-keyopt", "ecdh_kdf_md:sha384", "-aes256-wrap"],
                &["-recip", "FILE0", "-keyopt", "ecdh_kdf_md:sha512", "-aes192-wrap"],
                &["-recip", "FILE0", "-keyopt", "ecdh_cofactor_mode:1", "-aes128-wrap"],
                &["-recip", "FILE0", "-keyopt", "ecdh_cofactor_mode:1", "-keyopt", "ecdh_kdf_md:sha256", "-stream", "-indef"],
                &["-keyid", "-recip", "FILE0"],
                &["-recip", "FILE1", "-recip", "FILE0", "-stream", "-indef"],
            ] {
                let arguments = [&[cipher], options].concat();
                let message = encrypted_by(&openssl, dir.path(), &long, &arguments, &[&party.cert_file, &rsa.cert_file]);
                let content = open(&message, &party, &provider);
                assert_eq!(content.unwrap_or_else(|error| panic!("{curve} {arguments:?}: {error}")).secret_bytes(), long);
            }
        }
        let message = encrypted_by(&openssl, dir.path(), &long, &["-aes-256-cbc", "-des3-wrap", "-recip", "FILE0"], &[&party.cert_file]);
        let error = open(&message, &party, &provider).unwrap_err();
        assert!(matches!(&error, CmsError::UnsupportedAlgorithm { role: "key wrap", .. }), "{error}");
    }
}

#[test]
fn x25519_recipients_read_what_is_written() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let file = |name: &str| dir.path().join(name);
    let ca = Party::make(&openssl, dir.path(), "ca", &["ed25519"]);
    run(Command::new(&openssl).args(["genpkey", "-algorithm", "X25519", "-outform", "DER", "-out"]).arg(file("x.key")));
    run(Command::new(&openssl).args(["pkey", "-pubout", "-inform", "DER", "-in"]).arg(file("x.key")).arg("-out").arg(file("x.pub")));
    let mut command = Command::new(&openssl);
    command.args(["x509", "-new", "-subj", "/CN=x25519", "-days", "30", "-outform", "DER", "-force_pubkey"]).arg(file("x.pub"));
    let der = run(command.arg("-CA").arg(&ca.cert_file).arg("-CAkey").arg(&ca.key_file)).stdout;
    let certificate = Certificate::from_der(&der, &Limits::default()).unwrap();
    let pkcs8 = PrivateKeyPkcs8::new(std::fs::read(file("x.key")).unwrap());
    let key = provider.decryption_keys().unwrap().load(&pkcs8).unwrap();
    for kdf in [Digest::Sha256, Digest::Sha512] {
        let builder = EnvelopeBuilder::default().key_agreement(kdf, Wrap::Aes256);
        let message = builder.recipient(&certificate).build(CONTENT, &provider).unwrap();
        let limits = Limits::default();
        let content = decrypt(&message, &certificate, key.as_ref(), LegacyCiphers::Refuse, &provider, &limits);
        assert_eq!(content.now_or_never().unwrap().unwrap().secret_bytes(), CONTENT);
    }
}

#[test]
fn authenticated_envelopes_go_both_ways() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let (rsa, ec) = (Party::rsa(&openssl, dir.path(), "device"), ec(&openssl, dir.path(), "P-256"));
    for (name, aead) in [("-aes-128-gcm", Aead::Aes128Gcm), ("-aes-192-gcm", Aead::Aes192Gcm), ("-aes-256-gcm", Aead::Aes256Gcm)] {
        for party in [&rsa, &ec] {
            for content in [CONTENT, b""] {
                let builder = EnvelopeBuilder::authenticated(aead, Transport::RsaOaepSha256);
                let message = builder.recipient(&party.certificate).build(content, &provider).unwrap();
                assert!(Opening::parse(&message, &Limits::default()).unwrap().is_authenticated());
                assert_eq!(open(&message, party, &provider).unwrap().secret_bytes(), content);
                assert_eq!(decrypted_by(&openssl, dir.path(), &message, &[], Some(party)), content, "{name}");
            }
            for stream in [&[][..], &["-stream", "-indef"]] {
                let arguments = [&[name, "-recip", "FILE0"], stream].concat();
                let message = encrypted_by(&openssl, dir.path(), CONTENT, &arguments, &[&party.cert_file]);
                assert_eq!(open(&message, party, &provider).unwrap().secret_bytes(), CONTENT, "{arguments:?}");
            }
        }
    }
}

#[test]
fn shared_keys_go_both_ways() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    for len in [16_usize, 24, 32] {
        let kek = SecretBytes::new((0..len as u8).collect());
        let hex: String = kek.secret_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let options = ["-secretkey", hex.as_str(), "-secretkeyid", "c0ffee"];
        let message = EnvelopeBuilder::default().kek_recipient(&[0xc0, 0xff, 0xee], &kek).build(CONTENT, &provider).unwrap();
        assert_eq!(decrypted_by(&openssl, dir.path(), &message, &options, None), CONTENT);
        for cipher in ["-aes-256-cbc", "-aes-128-gcm"] {
            let message = encrypted_by(&openssl, dir.path(), CONTENT, &[&[cipher], &options[..]].concat(), &[]);
            let opening = || Opening::parse(&message, &Limits::default()).unwrap();
            assert_eq!(opening().recipients()[0].kind(), RecipientKind::KeyEncryptionKey);
            assert_eq!(opening().recipients()[0].kek_identifier(), Some(&[0xc0, 0xff, 0xee][..]));
            let content = opening().decrypt_with_kek(&[0xc0, 0xff, 0xee], &kek, &provider);
            assert_eq!(content.unwrap().secret_bytes(), CONTENT);
            assert!(matches!(opening().decrypt_with_kek(b"other", &kek, &provider), Err(CmsError::NotARecipient)));
            let wrong = SecretBytes::zeroed(len);
            let failed = opening().decrypt_with_kek(&[0xc0, 0xff, 0xee], &wrong, &provider);
            assert!(!failed.is_ok_and(|content| content.secret_bytes() == CONTENT));
            let short = opening().decrypt_with_kek(&[0xc0, 0xff, 0xee], &SecretBytes::zeroed(8), &provider);
            assert!(matches!(short, Err(CmsError::Crypto(_))));
        }
    }
}

#[test]
fn passwords_go_both_ways() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let password = Password::from("Straße 7");
    let options = ["-pwri_password", "Straße 7"];
    for cipher in [Cipher::Aes128Cbc, Cipher::Aes192Cbc, Cipher::Aes256Cbc] {
        let builder = EnvelopeBuilder::new(cipher, Transport::RsaOaepSha256).password_recipient(&password, 10_000);
        let message = builder.build(CONTENT, &provider).unwrap();
        assert_eq!(decrypted_by(&openssl, dir.path(), &message, &options, None), CONTENT, "{cipher:?}");
    }
    for cipher in ["-aes-128-cbc", "-aes-192-cbc", "-aes-256-cbc"] {
        let message = encrypted_by(&openssl, dir.path(), CONTENT, &[&[cipher], &options[..]].concat(), &[]);
        let opening = || Opening::parse(&message, &Limits::default()).unwrap();
        assert_eq!(opening().recipients()[0].kind(), RecipientKind::Password);
        assert_eq!(opening().decrypt_with_password(&password, &provider).unwrap().secret_bytes(), CONTENT, "{cipher}");
        let wrong = opening().decrypt_with_password(&Password::from("Strasse 7"), &provider);
        assert!(!wrong.is_ok_and(|content| content.secret_bytes() == CONTENT));
    }
    let message = encrypted_by(&openssl, dir.path(), CONTENT, &[&["-des3"], &options[..]].concat(), &[]);
    let opening = || Opening::parse(&message, &Limits::default()).unwrap();
    assert!(matches!(opening().decrypt_with_password(&password, &provider), Err(CmsError::WeakAlgorithm(_))));
    let opened = opening().legacy_ciphers(LegacyCiphers::AllowTripleDes).decrypt_with_password(&password, &provider);
    assert_eq!(opened.unwrap().secret_bytes(), CONTENT);
}

#[test]
fn one_message_serves_every_kind_of_recipient() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let (rsa, p256, p384) = (Party::rsa(&openssl, dir.path(), "rsa"), ec(&openssl, dir.path(), "P-256"), ec(&openssl, dir.path(), "P-384"));
    let (kek, password) = (SecretBytes::copy_from(&[7; 32]), Password::from("one of many"));
    let message = EnvelopeBuilder::default()
        .recipient(&rsa.certificate)
        .recipient(&p256.certificate)
        .recipient(&p384.certificate)
        .kek_recipient(b"shared", &kek)
        .password_recipient(&password, 2_000)
        .build(CONTENT, &provider)
        .unwrap();
    for party in [&rsa, &p256, &p384] {
        assert_eq!(open(&message, party, &provider).unwrap().secret_bytes(), CONTENT);
        assert_eq!(decrypted_by(&openssl, dir.path(), &message, &[], Some(party)), CONTENT);
    }
    let opening = || Opening::parse(&message, &Limits::default()).unwrap();
    assert_eq!(opening().decrypt_with_kek(b"shared", &kek, &provider).unwrap().secret_bytes(), CONTENT);
    assert_eq!(opening().decrypt_with_password(&password, &provider).unwrap().secret_bytes(), CONTENT);
    assert_eq!(decrypted_by(&openssl, dir.path(), &message, &["-pwri_password", "one of many"], None), CONTENT);
}

#[test]
fn encrypted_data_of_openssl_is_decrypted() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let (input, key) = (dir.path().join("content"), SecretBytes::copy_from(&[0xab; 32]));
    std::fs::write(&input, CONTENT).unwrap();
    let mut command = Command::new(&openssl);
    command.args(["cms", "-EncryptedData_encrypt", "-binary", "-outform", "DER", "-aes-256-cbc", "-secretkey", &"ab".repeat(32), "-in"]);
    let message = run(command.arg(&input)).stdout;
    let read = |key: &SecretBytes| decrypt_encrypted_data(&message, key, LegacyCiphers::Refuse, &provider, &Limits::default());
    assert_eq!(read(&key).unwrap().secret_bytes(), CONTENT);
    assert!(matches!(read(&SecretBytes::zeroed(16)), Err(CmsError::Crypto(_))));
    assert!(matches!(Opening::parse(&message, &Limits::default()), Err(CmsError::ContentType(_))));
}

#[test]
fn oaep_labels_of_openssl_are_honoured() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let party = Party::rsa(&openssl, dir.path(), "device");
    let options = ["-aes-128-cbc", "-recip", "FILE0", "-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_label:6c6162656c"];
    let message = encrypted_by(&openssl, dir.path(), CONTENT, &options, &[&party.cert_file]);
    assert_eq!(open(&message, &party, &provider).unwrap().secret_bytes(), CONTENT);
}

#[test]
fn a_certificate_whose_key_usage_forbids_agreement_is_refused() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let make = |name: &str, usage: &str| {
        let options = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-addext", usage];
        Party::make(&openssl, dir.path(), name, &options)
    };
    let (signs, agrees) = (make("signs", "keyUsage=digitalSignature"), make("agrees", "keyUsage=keyAgreement"));
    let build = |party: &Party| EnvelopeBuilder::default().recipient(&party.certificate).build(CONTENT, &provider);
    assert!(matches!(build(&signs), Err(CmsError::Certificate(_))));
    assert_eq!(open(&build(&agrees).unwrap(), &agrees, &provider).unwrap().secret_bytes(), CONTENT);
}
