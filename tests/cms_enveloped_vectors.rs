//! The enveloped and encrypted files of the vector corpus: what opens, with which key, and why the others do not.
#![cfg(all(feature = "ring", feature = "aws-lc-rs"))]

#[path = "support/armour.rs"]
mod armour;
mod support;

use std::collections::BTreeSet;
use std::path::Path;

use intune_connector::crypto::CryptoProvider;
use intune_connector::limits::Limits;
use intune_connector::message::enveloped::{CmsError, LegacyCiphers, Opening, RecipientKind, decrypt_encrypted_data};
use intune_connector::secret::{Password, SecretBytes};

/// What becomes of a file.
enum Fate {
    /// Opens with this shared key, known by this name.
    Kek { name: &'static [u8], kek: &'static [u8] },
    /// Opens with this password.
    Password(&'static str),
    /// EncryptedData that opens with this content key.
    ContentKey(&'static [u8]),
    /// Parses with recipients of this kind only; the key is not at hand.
    NoKey(RecipientKind),
    /// EncryptedData whose key is not at hand, and that says this when another key is tried.
    NoContentKey(&'static str),
    /// Is of another content type, and says so.
    OtherType,
    /// Is refused with this text: by the parser, or by the opening that its one kind of recipient calls for.
    Refused(&'static str),
}

use Fate::{ContentKey, Kek, NoContentKey, NoKey, OtherType, Refused};

const SHARED: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0];

/// Every row whose kind is enveloped, auth-enveloped, encrypted or signed-and-enveloped, and the enveloped one among the S/MIME rows.
const FILES: &[(&str, Fate)] = &[
    // The RSA key beside it, rsa2048-priv.der, is not that of rsa_cert.der, which the message is for.
    ("rustcrypto-cms/enveloped_data_ktri.bin", NoKey(RecipientKind::KeyTransport)),
    ("rustcrypto-cms/enveloped_data_kekri.bin", Kek { name: &[0xde, 0xad, 0xbe, 0xef], kek: SHARED }),
    ("rustcrypto-cms/enveloped_data_pwri.bin", Fate::Password("password")),
    ("rustcrypto-cms/encrypted_data.bin", ContentKey(SHARED)),
    // A part of a PKCS#12 file: encrypted by PBES1, which belongs to the PFX reader.
    ("rustcrypto-cms/keyEncryptedData.bin", NoContentKey("content cipher 1.2.840.113549.1.12.1.6")),
    ("rustcrypto-cms/1.3.6.1.4.1.22554.5.6.1_ML-KEM-512-ipd_kemri_auth.der", NoKey(RecipientKind::Other)),
    ("rustcrypto-cms/1.3.6.1.4.1.22554.5.6.1_ML-KEM-512-ipd_kemri_id-alg-hkdf-with-sha256.der", NoKey(RecipientKind::Other)),
    // A stream cipher (CFB) as the key encryption, and two bytes of wrapped key.
    ("openssl-cms/cms_pwri_kek_oob.der", Refused("cipher of id-alg-PWRI-KEK 2.16.840.1.101.3.4.1.4 is not supported")),
    // Two recipients on P-256 with the 3DES key wrap; the keys are not in the corpus.
    ("openssl-cms/ciphertext_from_1_1_1.cms", NoKey(RecipientKind::KeyAgreement)),
    ("openssl-cms/pkcs7-md4-encrypted.pem", OtherType),
    ("pyca-cms/enveloped-no-content.der", NoKey(RecipientKind::KeyTransport)),
    ("pyca-cms/enveloped-rsa-oaep.pem", NoKey(RecipientKind::KeyTransport)),
    ("pyca-cms/enveloped-triple-des.pem", NoKey(RecipientKind::KeyTransport)),
    ("pyca-cms/enveloped.pem", NoKey(RecipientKind::KeyTransport)),
    ("asn1crypto-cms/cms-enveloped.der", NoKey(RecipientKind::KeyTransport)),
    ("asn1crypto-cms/cms-enveloped.pem", NoKey(RecipientKind::KeyTransport)),
    ("asn1crypto-cms/cms-encrypted.der", NoContentKey("the message could not be decrypted")),
    ("asn1crypto-cms/cms-encrypted.pem", NoContentKey("the message could not be decrypted")),
];

fn provider() -> CryptoProvider {
    CryptoProvider::ring_and_aws_lc_rs()
}

fn read(folder: &Path, file: &str) -> Vec<u8> {
    std::fs::read(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn opening(message: &[u8]) -> Result<Opening, CmsError> {
    Opening::parse(message, &Limits::default()).map(|opening| opening.legacy_ciphers(LegacyCiphers::AllowTripleDes))
}

fn content_key(message: &[u8], key: &[u8]) -> Result<SecretBytes, CmsError> {
    let key = SecretBytes::copy_from(key);
    decrypt_encrypted_data(message, &key, LegacyCiphers::AllowTripleDes, &provider(), &Limits::default())
}

/// What is wrong with the outcome, if anything.
fn check(message: &[u8], fate: &Fate) -> Result<(), String> {
    let opened = |content: Result<SecretBytes, CmsError>| match content {
        Ok(content) if !content.is_empty() => Ok(()),
        Ok(_) => Err("opened to nothing".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    let refused = |content: Result<SecretBytes, CmsError>, text: &str| match content {
        Err(error) if error.to_string().contains(text) => Ok(()),
        Err(error) => Err(format!("refused by another name: {error}")),
        Ok(_) => Err("opened".to_owned()),
    };
    match fate {
        Kek { name, kek } => opened(opening(message).unwrap().decrypt_with_kek(name, &SecretBytes::copy_from(kek), &provider())),
        Fate::Password(password) => opened(opening(message).unwrap().decrypt_with_password(&Password::from(*password), &provider())),
        ContentKey(key) => opened(content_key(message, key)),
        NoKey(kind) => match opening(message) {
            Ok(opening) if opening.recipients().iter().all(|recipient| recipient.kind() == *kind) => Ok(()),
            Ok(opening) => Err(format!("other recipients: {:?}", opening.recipients())),
            Err(error) => Err(error.to_string()),
        },
        NoContentKey(text) => refused(content_key(message, SHARED), text),
        OtherType => match opening(message) {
            Err(CmsError::ContentType(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        },
        Refused(text) => match opening(message) {
            Ok(opening) => refused(opening.decrypt_with_password(&Password::from("password"), &provider()), text),
            Err(error) => refused(Err(error), text),
        },
    }
}

#[test]
fn every_enveloped_file_of_the_corpus_opens_or_has_its_reason() {
    let Some(folder) = support::vectors() else { return };
    let manifest = std::fs::read_to_string(folder.join("manifest.tsv")).unwrap();
    let (mut seen, mut wrong, mut fuzzed) = (BTreeSet::new(), Vec::new(), 0);
    for row in manifest.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let (Some(file), Some(kind)) = (columns.first(), columns.last()) else { continue };
        let listed = FILES.iter().find(|(name, _)| name == file);
        let ours = ["enveloped", "auth-enveloped", "encrypted", "signed-and-enveloped"].contains(&kind.trim_end_matches("+pem"));
        if !ours && listed.is_none() {
            continue;
        }
        let message = armour::unarmour(read(&folder, file));
        let Some((name, fate)) = listed else {
            if columns[4] == "no-crash" {
                // Whatever comes out: without a panic, and nothing opens by accident.
                assert!(opening(&message).and_then(|opening| opening.decrypt_with_password(&Password::from(""), &provider())).is_err());
                fuzzed += 1;
            } else {
                wrong.push(format!("{file}: not in the table"));
            }
            continue;
        };
        seen.insert(*name);
        if let Err(problem) = check(&message, fate) {
            wrong.push(format!("{file}: {problem}"));
        }
    }
    for (name, _) in FILES {
        if !seen.contains(name) {
            wrong.push(format!("{name}: not in the manifest"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    println!("{} files as listed, {fuzzed} fuzzed ones without a panic", seen.len());
}

#[test]
fn every_recipient_of_an_agreement_is_told_by_its_name() {
    let Some(folder) = support::vectors() else { return };
    let message = armour::unarmour(read(&folder, "openssl-cms/ciphertext_from_1_1_1.cms"));
    let opening = opening(&message).unwrap();
    assert_eq!(opening.recipients().len(), 2);
    assert!(opening.recipients().iter().all(|recipient| recipient.issuer_and_serial().is_some()));
}
