//! The CMS files of the vector corpus that are signed, only carry certificates, or are of a kind that is not read: what becomes of
//! each, and why. The enveloped and encrypted ones are in `cms_enveloped_vectors.rs`.
#![cfg(all(feature = "ring", feature = "aws-lc-rs"))]

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use intune_connector::crypto::CryptoProvider;
use intune_connector::limits::Limits;
use intune_connector::message::signed::{CmsError, LegacyDigests, ShortRsaKeys, Signed, VerifyOptions};

/// What becomes of a file, with every opt-in for old peers.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// Every signer verifies with a certificate in the message.
    Verifies,
    /// There is no signer: this many certificates and CRLs.
    Carries(usize, usize),
    /// It parses and does not verify: a part of the error.
    Unverified(&'static str),
    /// Another content type, told by its object identifier.
    OtherKind(&'static str),
    /// It is refused: a part of the error.
    Refused(&'static str),
}

use Fate::{Carries, OtherKind, Refused, Unverified, Verifies};

const DETACHED: &str = "detached and was not given";
const NO_ATTRIBUTES: &str = "other than id-data is signed without attributes";

/// Every file that is not a fuzzer's, its fate, and the reason where it differs from `openssl cms -verify -noverify` (3.0).
const FATES: &[(&str, Fate, &str)] = &[
    ("gnutls-cms/detached.p7b", Unverified(DETACHED), "detached: the content is not in the corpus; openssl says the same"),
    ("gnutls-cms/full.p7b", Verifies, ""),
    ("gnutls-cms/openssl-keyid.p7b", Verifies, ""),
    ("gnutls-cms/openssl.p7b", Verifies, ""),
    (
        "gnutls-cms/pkcs7-cat.p7",
        Verifies,
        "the content (a catalogue) is no OCTET STRING: its content octets are hashed (PKCS#7 1.5 section 9.3); openssl cms does not read it",
    ),
    ("gnutls-cms/pkcs7-eddsa-sig.p7s", Verifies, "Ed25519 with SHA-512 (RFC 8419), which openssl 3.0 does not do in CMS"),
    ("gnutls-cms/pkcs7.smime", Verifies, ""),
    ("gnutls-cms/rfc4134-4.5.p7b", Verifies, "SHA-1 and RSA of 1024 bits: by both opt-ins only"),
    ("gnutls-cms/rfc4490.p7b", Unverified("certificate is missing"), "GOST, and the signer's certificate is not in it"),
    ("gnutls-cms/single-ca.p7b", Unverified(DETACHED), "has a signer, and no content; openssl says the same"),
    ("boringssl-cms/nss.p7c", Carries(3, 0), ""),
    ("boringssl-cms/openssl_crl.p7c", Carries(0, 1), "one CRL of version 1, which rasn's typed decoder loses"),
    ("boringssl-cms/sign_sha1.p7s", Unverified(DETACHED), "neither content nor certificate is in the corpus; openssl says the same"),
    ("boringssl-cms/sign_sha1_key_id.p7s", Unverified(DETACHED), "neither content nor certificate is in the corpus; openssl says the same"),
    ("boringssl-cms/sign_sha256.p7s", Unverified(DETACHED), "neither content nor certificate is in the corpus; openssl says the same"),
    (
        "boringssl-cms/sign_sha256_cert2.p7s",
        Unverified(DETACHED),
        "neither content nor certificate is in the corpus; openssl says the same",
    ),
    (
        "boringssl-cms/sign_sha256_key_id.p7s",
        Unverified(DETACHED),
        "neither content nor certificate is in the corpus; openssl says the same",
    ),
    ("boringssl-cms/windows.p7c", Carries(1, 0), ""),
    ("rustcrypto-cms/GoodCACert.pem", Refused("a value has another tag"), "a certificate or a key, not a ContentInfo"),
    ("rustcrypto-cms/ValidCertificatePathTest1EE.pem", Refused("a value has another tag"), "a certificate or a key, not a ContentInfo"),
    ("rustcrypto-cms/cert.pem", Refused("a value has another tag"), "a certificate or a key, not a ContentInfo"),
    ("rustcrypto-cms/certData.bin", OtherKind("1.2.840.113549.1.7.1"), "bare id-data"),
    ("rustcrypto-cms/cms_der.bin", Verifies, ""),
    ("rustcrypto-cms/compressed_data.bin", OtherKind("1.2.840.113549.1.9.16.1.9"), "CompressedData, told by name"),
    ("rustcrypto-cms/ec384-ee-key.der", Refused("a value has another tag"), "a certificate or a key, not a ContentInfo"),
    ("rustcrypto-cms/p256-pub.der", Refused("a value has another tag"), "a certificate or a key, not a ContentInfo"),
    ("rustcrypto-cms/pkits.p7b", Carries(2, 0), ""),
    ("rustcrypto-cms/rsa2048-priv.der", Refused("a value has another tag"), "a certificate or a key, not a ContentInfo"),
    ("rustcrypto-cms/rsa_cert.der", Refused("a value has another tag"), "a certificate or a key, not a ContentInfo"),
    ("rustcrypto-cms/scep_der.bin", Verifies, ""),
    ("rustcrypto-cms/sceptest_cert-selfsigned.pem", Refused("a value has another tag"), "a certificate or a key, not a ContentInfo"),
    ("rustcrypto-cms/sceptest_key.pem", Refused("a value has another tag"), "a certificate or a key, not a ContentInfo"),
    ("rustcrypto-cms/signer_info_explicit_attrs.bin", Refused("not a SEQUENCE"), "a bare [0]"),
    ("dotnet-cms/Net-TestData-contoso.com.p7b", Carries(2, 0), ""),
    ("dotnet-cms/Net-TestData-testclient1_at_contoso.com.p7b", Carries(2, 0), ""),
    ("dotnet-cms/Net-TestData-testclienteku.contoso.com.p7b", Carries(2, 0), ""),
    ("dotnet-cms/Net-TestData-testnoeku.contoso.com.p7b", Carries(2, 0), ""),
    ("dotnet-cms/Net-TestData-testselfsignedclienteku.contoso.com.p7b", Carries(1, 0), ""),
    ("dotnet-cms/Net-TestData-testselfsignedservereku.contoso.com.p7b", Carries(1, 0), ""),
    ("dotnet-cms/Net-TestData-testservereku.contoso.com.p7b", Carries(2, 0), ""),
    ("dotnet-cms/Security-TestData-certchain.p7b", Carries(3, 0), ""),
    ("dotnet-cms/Security-TestData-certchain.p7c", Carries(3, 0), ""),
    ("dotnet-cms/Security-TestData-empty.p7b", Carries(0, 0), ""),
    ("dotnet-cms/Security-TestData-empty.p7c", Carries(0, 0), ""),
    ("dotnet-cms/Security-TestData-singlecert.p7b", Carries(1, 0), ""),
    ("dotnet-cms/Security-TestData-singlecert.p7c", Carries(1, 0), ""),
    ("openssl-cms/ciphertext_from_1_1_1.cms", OtherKind("1.2.840.113549.1.7.3"), "EnvelopedData: see cms_enveloped_vectors.rs"),
    ("openssl-cms/no_md_attr.cms", Refused("there is no messageDigest"), ""),
    ("openssl-cms/no_ct_attr.cms", Refused("there is no contentType"), "openssl smime accepts it"),
    ("openssl-cms/bad_signtime_attr.cms", Refused("must be signed is not"), "signingTime is unsigned; openssl smime accepts it"),
    ("openssl-cms/ct_multiple_attr.cms", Refused("is there twice"), "contentType twice; openssl smime accepts it"),
    ("openssl-cms/pkcs7-md4.pem", Unverified("MD4"), "MD4 is refused by name"),
    ("openssl-cms/pkcs7-md4-encrypted.pem", OtherKind("1.2.840.113549.1.7.4"), "signedAndEnvelopedData of PKCS#7 1.5, which CMS dropped"),
    ("openssl-cms/malformed.pkcs7", Refused("there is no content"), "a ContentInfo without content"),
    ("openssl-cms/pkcs7.pem", Refused("not a SEQUENCE"), "text that says nothing"),
    ("openssl-cms/pkcs7-1.pem", Unverified("MD2"), "MD2 is refused by name, and so would be its RSA key of 512 bits"),
    ("openssl-cms/pkcs7-empty-digest-set.eml", Unverified(DETACHED), "the content beside it does not help: see security_lessons.rs"),
    ("pyca-cms/amazon-roots.der", Carries(2, 0), ""),
    ("pyca-cms/amazon-roots.p7b", Carries(2, 0), ""),
    ("pyca-cms/ascii-san.pem", Refused("a value has another tag"), "a certificate or a key, not a ContentInfo"),
    ("pyca-cms/authenticode.der", Verifies, "SpcIndirectDataContent is no OCTET STRING: as for the catalogue"),
    ("pyca-cms/isrg.pem", Carries(1, 0), ""),
    ("pyca-cms/non-ascii-san.pem", Refused("a value has another tag"), "a certificate or a key, not a ContentInfo"),
    (
        "asn1crypto-cms/cms-signed-indefinite-length.der",
        Unverified("the signature does not verify"),
        "the content was changed: openssl finds another digest too",
    ),
    (
        "asn1crypto-cms/pkcs7-signed-digested.pem",
        Unverified(NO_ATTRIBUTES),
        "DigestedData signed without attributes, and openssl finds a bad signature",
    ),
    ("asn1crypto-cms/cms-compressed.pem", OtherKind("1.2.840.113549.1.9.16.1.9"), "CompressedData, told by name"),
    ("asn1crypto-cms/cms-digested.pem", OtherKind("1.2.840.113549.1.7.5"), "DigestedData, told by name"),
    ("asn1crypto-cms/cms-signed.der", Verifies, ""),
    (
        "asn1crypto-cms/cms-signed-digested.der",
        Unverified(NO_ATTRIBUTES),
        "DigestedData signed without attributes, and openssl finds a bad signature",
    ),
    ("asn1crypto-cms/cms-signed.pem", Verifies, ""),
    (
        "asn1crypto-cms/pkcs7-signed-digested.der",
        Unverified(NO_ATTRIBUTES),
        "DigestedData signed without attributes, and openssl finds a bad signature",
    ),
    ("asn1crypto-cms/cms-compressed.der", OtherKind("1.2.840.113549.1.9.16.1.9"), "CompressedData, told by name"),
    ("asn1crypto-cms/pkcs7-signed.der", Verifies, ""),
    ("asn1crypto-cms/cms-digested.der", OtherKind("1.2.840.113549.1.7.5"), "DigestedData, told by name"),
    ("asn1crypto-cms/pkcs7-signed.pem", Verifies, ""),
    (
        "asn1crypto-cms/cms-signed-digested.pem",
        Unverified(NO_ATTRIBUTES),
        "DigestedData signed without attributes, and openssl finds a bad signature",
    ),
];

fn fate_of(message: &[u8], limits: &Limits, provider: &CryptoProvider) -> Result<(&'static str, String), String> {
    let signed = match Signed::parse(message, limits) {
        Ok(signed) => signed,
        Err(CmsError::ContentType(oid)) => return Ok(("OtherKind", oid.as_str().to_owned())),
        Err(error) => return Err(error.to_string()),
    };
    if signed.signer_count() == 0 {
        assert!(matches!(signed.verify(VerifyOptions::default().detached(b""), provider), Err(CmsError::NotSigned)));
        return Ok(("Carries", format!("{} {}", signed.certificates().len(), signed.crls().len())));
    }
    let options = VerifyOptions::default().legacy_digests(LegacyDigests::AllowSha1).short_rsa_keys(ShortRsaKeys::DangerouslyAllow1024Bits);
    match signed.verify(options, provider) {
        Ok(verified) => {
            assert_eq!(verified.signers().len(), signed.signer_count());
            Ok(("Verifies", String::new()))
        }
        Err(error) => Ok(("Unverified", error.to_string())),
    }
}

impl Fate {
    fn is(&self, found: &Result<(&'static str, String), String>) -> bool {
        match (self, found) {
            (Verifies, Ok(("Verifies", _))) => true,
            (Carries(certificates, crls), Ok(("Carries", counts))) => *counts == format!("{certificates} {crls}"),
            (Unverified(part), Ok(("Unverified", error))) | (Refused(part), Err(error)) => error.contains(part),
            (OtherKind(oid), Ok(("OtherKind", found))) => found == oid,
            _ => false,
        }
    }
}

/// The DER inside PEM or a one-part S/MIME file.
fn unarmour(bytes: Vec<u8>) -> Vec<u8> {
    let Ok(text) = core::str::from_utf8(&bytes) else { return bytes };
    let text = text.replace("\r\n", "\n");
    let body = if let Some((_, rest)) = text.split_once("-----BEGIN ") {
        let rest = rest.split_once("-----").map_or("", |(_, rest)| rest);
        rest.split_once("-----END").map_or("", |(body, _)| body)
    } else if let Some((_, rest)) = text.split_once("name=\"smime.p7s\"").filter(|_| text.contains("multipart/signed")) {
        // Two parts, the second of which is the signature.
        rest.split_once("\n\n").map_or("", |(_, rest)| rest.split_once("\n--").map_or(rest, |(body, _)| body))
    } else if let Some((_, body)) = text.split_once("\n\n").filter(|_| text.starts_with("MIME") || text.contains("Content-")) {
        body
    } else {
        return bytes;
    };
    support::base64(body)
}

#[test]
fn every_signed_file_of_the_corpus_has_the_fate_that_the_table_says() {
    const KINDS: &[&str] = &["signed", "smime", "data", "compressed", "digested", "not-cms", "signed-and-enveloped"];
    let Some(folder) = support::vectors() else { return };
    let manifest = std::fs::read_to_string(folder.join("manifest.tsv")).unwrap();
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let mut limits = Limits::default();
    limits.input_bytes = 4 << 20;
    let (mut wrong, mut seen, mut unlisted, mut fuzzed) = (Vec::new(), BTreeSet::new(), Vec::new(), 0);
    for row in manifest.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [file, _, _, _, expected, .., kind] = columns.as_slice() else { panic!("a row has too few columns: {row}") };
        if !KINDS.contains(&kind.trim_end_matches("+pem")) {
            continue;
        }
        let message = unarmour(std::fs::read(folder.join(file)).unwrap());
        let start = Instant::now();
        let found = fate_of(&message, &limits, &provider);
        assert!(start.elapsed() < Duration::from_secs(2), "{file} took {:?}", start.elapsed());
        if std::env::var_os("CMS_VECTORS_SHOW").is_some() {
            println!("{expected}\t{kind}\t{file}\t{found:?}");
        }
        if *expected == "no-crash" {
            fuzzed += 1;
            continue;
        }
        // What the manifest demands holds for every file, in the table or not.
        let accepted = matches!(&found, Ok((fate, _)) if *fate != "Unverified");
        match *expected {
            "ok" if found.is_err() => wrong.push(format!("{file}: must parse: {found:?}")),
            "reject" if accepted => wrong.push(format!("{file}: must be refused: {found:?}")),
            _ => {}
        }
        match FATES.iter().find(|(name, _, _)| name == file) {
            Some((_, fate, _)) if fate.is(&found) => {}
            Some((_, fate, _)) => wrong.push(format!("{file}: {fate:?} expected: {found:?}")),
            None => unlisted.push(*file),
        }
        seen.insert((*file).to_owned());
    }
    println!("{} files with a fate, {fuzzed} of fuzzers, {} not in the table: {unlisted:?}", FATES.len(), unlisted.len());
    wrong.extend(FATES.iter().filter(|(file, _, _)| !seen.contains(*file)).map(|(file, _, _)| format!("{file}: not in the corpus")));
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(unlisted.is_empty(), "without a fate: {unlisted:?}");
}
