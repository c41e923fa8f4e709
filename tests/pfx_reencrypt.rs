//! PFX files written anew: what OpenSSL wrote and reads back, and every file of the corpus.

#![cfg(all(feature = "ring", feature = "aws-lc-rs", feature = "legacy-ciphers"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cms_support;
mod pfx_support;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use cms_support::Party;
use intune_connector::limits::Limits;
use intune_connector::message::pfx::{
    self, LeftOut, OpenedPfx, OtherBagKind, PfxAttribute, PfxContents, PfxErrorKind, PfxPasswords, PfxProfile, PfxProtection,
};
use intune_connector::message::reencrypt::{Recipient, password_envelope, reencrypt, reencrypt_pfx};
use intune_connector::secret::{Password, SecretBytes};
use pfx_support::{ASCII, NAME, Pki, provider, stdout};

const NEW: &str = "Neues-Paßwort-9";

fn open(file: &[u8], password: &str) -> OpenedPfx {
    pfx::open(file, &Password::from(password), &provider(), &Limits::default()).unwrap()
}

/// What OpenSSL shows of a file, as lines with how often they stand there: bags may change places.
fn shown(openssl: &Path, file: &Path, password: &str) -> BTreeMap<String, usize> {
    let mut command = Command::new(openssl);
    let text = stdout(command.args(["pkcs12", "-nodes", "-passin", &format!("pass:{password}"), "-in"]).arg(file));
    let mut lines = BTreeMap::new();
    for line in text.lines() {
        *lines.entry(line.to_owned()).or_default() += 1;
    }
    lines
}

#[test]
fn openssl_sees_the_same_names_attributes_key_and_certificates_under_the_new_password() {
    let Some(openssl) = support::tool("openssl") else { return };
    for pki in Pki::rsa_and_ec(&openssl) {
        let (old, new) = (pki.path("old.p12"), pki.path("new.p12"));
        let mut command = Command::new(&openssl);
        command.args(["pkcs12", "-export", "-inkey", "leaf.key", "-in", "leaf.pem", "-certfile", "chain.pem", "-name", NAME]);
        command.args(["-CSP", "Microsoft Software Key Storage Provider", "-LMK", "-keyex", "-passout", &format!("pass:{ASCII}"), "-out"]);
        stdout(command.arg(&old).current_dir(pki.folder.path()));
        let before = shown(&openssl, &old, ASCII);
        for attribute in ["friendlyName: ", "localKeyID: ", "Microsoft CSP Name: ", "Microsoft Local Key set", "X509v3 Key Usage: 10"] {
            assert!(before.keys().any(|line| line.contains(attribute)), "{attribute}: {before:?}");
        }
        for profile in [PfxProfile::Modern, PfxProfile::Compat] {
            let anew = reencrypt_pfx(&open(&fs::read(&old).unwrap(), ASCII), profile, &Password::from(NEW), &provider()).unwrap();
            assert_eq!(anew.left_out, []);
            fs::write(&new, anew.pfx.secret_bytes()).unwrap();
            assert_eq!(shown(&openssl, &new, NEW), before, "{profile:?}");
            let wrong = pfx::open(anew.pfx.secret_bytes(), &Password::from(ASCII), &provider(), &Limits::default()).unwrap_err();
            assert_eq!(wrong.kind(), PfxErrorKind::WrongPassword, "the old password is worth nothing any more");
        }
    }
}

#[test]
fn password_and_file_reach_devices_with_rsa_and_ec_keys() {
    let Some(openssl) = support::tool("openssl") else { return };
    let pki = Pki::new(&openssl, &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let (folder, password) = (support::scratch(), Password::from(NEW));
    let file = SecretBytes::new(fs::read(pki.write(PfxProfile::Modern, NEW)).unwrap());
    let curve = |name: &'static str| ["ec", "-pkeyopt", name];
    let [p256, p384, p521] = ["ec_paramgen_curve:P-256", "ec_paramgen_curve:P-384", "ec_paramgen_curve:P-521"].map(curve);
    for key in [&["rsa:2048"][..], &["rsa:4096"], &p256, &p384, &p521] {
        let device = Party::make(&openssl, folder.path(), "device", key);
        let recipient = Recipient::new(&device.certificate);
        for (envelope, secret) in [
            (password_envelope(&password, recipient, &provider()).unwrap(), password.secret_bytes()),
            (reencrypt(&file, recipient, &provider()).unwrap(), file.secret_bytes()),
        ] {
            let input = folder.path().join("envelope.der");
            fs::write(&input, envelope).unwrap();
            let mut command = Command::new(&openssl);
            command.args(["cms", "-decrypt", "-binary", "-inform", "DER", "-in"]).arg(&input);
            command.arg("-recip").arg(&device.cert_file).arg("-inkey").arg(&device.key_file);
            assert_eq!(support::run(&mut command).stdout, secret, "{key:?}");
        }
    }
}

/// What must be the same after writing: keys and certificates with their names and foreign attributes.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    keys: Vec<(Vec<u8>, Option<String>, Vec<String>)>,
    certificates: Vec<(Vec<u8>, Option<String>, Vec<String>)>,
    others: Vec<(OtherBagKind, String)>,
    pairs: usize,
}

/// `lost`: what is known to be left out, to be left out here as well.
fn summary(contents: &PfxContents, lost: &[LeftOut]) -> Summary {
    let name = |name: &Option<String>| {
        let kept = |name: &&String| {
            !name.is_empty() && !lost.iter().any(|lost| matches!(lost, LeftOut::FriendlyName { name: lost } if lost == *name))
        };
        name.as_ref().filter(kept).cloned()
    };
    let attributes = |attributes: &[PfxAttribute]| {
        let own = ["1.2.840.113549.1.9.20", "1.2.840.113549.1.9.21"];
        let is_lost = |oid: &String| lost.iter().any(|lost| matches!(lost, LeftOut::Attribute { oid: lost } if lost == oid));
        let mut kept = attributes
            .iter()
            .map(|attribute| attribute.oid.clone())
            .filter(|oid| !own.contains(&oid.as_str()) && !is_lost(oid))
            .collect::<Vec<_>>();
        kept.sort();
        kept
    };
    let mut keys = Vec::new();
    for key in &contents.keys {
        keys.push((key.key.secret_pkcs8_der().to_vec(), name(&key.friendly_name), attributes(&key.attributes)));
    }
    let mut certificates: Vec<(Vec<u8>, _, _)> = Vec::new();
    for certificate in &contents.certificates {
        // One that stands twice in a file is written once.
        if certificates.iter().all(|(der, ..)| der != certificate.der.as_ref()) {
            certificates.push((certificate.der.to_vec(), name(&certificate.friendly_name), attributes(&certificate.attributes)));
        }
    }
    let is_lost =
        |kind, oid: &String| lost.iter().any(|lost| matches!(lost, LeftOut::Bag { kind: k, oid: o, .. } if *k == kind && o == oid));
    let mut others =
        contents.others.iter().map(|other| (other.kind, other.oid.clone())).filter(|(kind, oid)| !is_lost(*kind, oid)).collect::<Vec<_>>();
    keys.sort();
    certificates.sort();
    others.sort_by_key(|(kind, oid)| (kind.as_str(), oid.clone()));
    Summary { keys, certificates, others, pairs: contents.identities().count() }
}

#[test]
fn every_authenticated_file_of_the_corpus_is_written_anew_with_all_that_it_holds() {
    let Some(folder) = support::vectors() else { return };
    let manifest = fs::read_to_string(folder.join("manifest.tsv")).unwrap();
    let protection = PfxProtection::from(PfxProfile::Modern).iterations(2_000);
    let (mut written, mut unwritten, mut lost, mut faults) = (0, Vec::new(), BTreeMap::<String, usize>::new(), Vec::new());
    let rows = manifest.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    for row in rows.filter(|row| row.get(8) == Some(&"pfx") && ["ok", "quirk"].contains(&row[4])) {
        let password = (row[2] != "(absent)").then(|| Password::from(row[2].strip_prefix("(latin1)").unwrap_or(row[2])));
        let file = fs::read(folder.join(row[0])).unwrap();
        let Ok(opened) = pfx::open(&file, PfxPasswords::from(password.as_ref()), &provider(), &Limits::default()) else { continue };
        let anew = match reencrypt_pfx(&opened, protection, &Password::from(NEW), &provider()) {
            Ok(anew) => anew,
            Err(error) if error.kind() == PfxErrorKind::Unauthenticated && opened.mac().is_none() => continue,
            // Nothing is in it, or nothing but a secret key of Java, encrypted in itself under the old password.
            Err(error) if error.kind() == PfxErrorKind::InvalidInput && holds_neither_key_nor_certificate(opened.contents()) => {
                unwritten.push((row[0].to_owned(), error.to_string()));
                continue;
            }
            Err(error) => {
                faults.push(format!("{}: {error}", row[0]));
                continue;
            }
        };
        let reread = open(anew.pfx.secret_bytes(), NEW);
        if summary(reread.contents(), &[]) != summary(opened.contents(), &anew.left_out) {
            faults.push(format!("{}: another content", row[0]));
        }
        for left_out in anew.left_out {
            *lost.entry(left_out.to_string()).or_default() += 1;
        }
        written += 1;
    }
    println!("{written} files written anew; not: {unwritten:#?}; left out: {lost:#?}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(written > 250, "only {written} files");
}

fn holds_neither_key_nor_certificate(contents: &PfxContents) -> bool {
    contents.keys.is_empty() && contents.certificates.is_empty()
}
