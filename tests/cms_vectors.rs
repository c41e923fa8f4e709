//! The CMS files of the vector corpus: `ok` rows parse, `reject` rows are refused, nothing crashes or hangs.
#![cfg(all(feature = "ring", feature = "aws-lc-rs"))]

mod support;

use std::time::{Duration, Instant};

use intune_connector::crypto::CryptoProvider;
use intune_connector::limits::Limits;
use intune_connector::message::enveloped::{CmsError, Opening, RecipientKind};
use intune_connector::message::signed::{LegacyDigests, Signed, VerifyOptions};

/// Rows marked `ok` that are refused here, with the reason. An unexpected pass fails the test.
const KNOWN_DIFFERENCES: &[(&str, &str)] = &[];

/// Signed files that must verify with the certificate they carry. Not among them, though signed and complete: one whose content was
/// changed (asn1crypto's indefinite-length file, which openssl refuses too), 1024-bit keys (rfc4134-4.5), and those of asn1crypto
/// that sign other content than id-data without attributes (openssl refuses them too).
const VERIFY: &[&str] = &[
    "gnutls-cms/full.p7b",
    "gnutls-cms/openssl-keyid.p7b",
    "gnutls-cms/openssl.p7b",
    "gnutls-cms/pkcs7-cat.p7",
    "gnutls-cms/pkcs7-eddsa-sig.p7s",
    "gnutls-cms/pkcs7.smime",
    "rustcrypto-cms/cms_der.bin",
    "rustcrypto-cms/scep_der.bin",
    "pyca-cms/authenticode.der",
    "asn1crypto-cms/cms-signed.der",
    "asn1crypto-cms/pkcs7-signed.der",
];

enum Outcome {
    Signed(Box<Signed>),
    Enveloped { openable: bool },
    OtherContentType,
    Refused(CmsError),
}

fn read(message: &[u8], limits: &Limits) -> Outcome {
    match Signed::parse(message, limits) {
        Ok(signed) => return Outcome::Signed(Box::new(signed)),
        Err(CmsError::ContentType(_)) => {}
        Err(error) => return Outcome::Refused(error),
    }
    match Opening::parse(message, limits) {
        Ok(opening) => {
            Outcome::Enveloped { openable: opening.recipients().iter().any(|recipient| recipient.kind() == RecipientKind::KeyTransport) }
        }
        Err(CmsError::ContentType(_)) => Outcome::OtherContentType,
        Err(error) => Outcome::Refused(error),
    }
}

/// The DER inside PEM or a one-part S/MIME file.
fn unarmour(bytes: Vec<u8>) -> Vec<u8> {
    let Ok(text) = core::str::from_utf8(&bytes) else { return bytes };
    let body = if let Some((_, rest)) = text.split_once("-----BEGIN ") {
        let rest = rest.split_once("-----").map_or("", |(_, rest)| rest);
        rest.split_once("-----END").map_or("", |(body, _)| body).to_owned()
    } else if let Some((_, body)) =
        text.replace("\r\n", "\n").split_once("\n\n").filter(|_| text.starts_with("MIME") || text.contains("Content-"))
    {
        body.to_owned()
    } else {
        return bytes;
    };
    let digits: Vec<u32> = body
        .bytes()
        .filter_map(|byte| match byte {
            b'A'..=b'Z' => Some(u32::from(byte - b'A')),
            b'a'..=b'z' => Some(u32::from(byte - b'a') + 26),
            b'0'..=b'9' => Some(u32::from(byte - b'0') + 52),
            b'+' => Some(62),
            b'/' => Some(63),
            _ => None,
        })
        .collect();
    let mut out = Vec::new();
    for group in digits.chunks(4) {
        let value = group.iter().fold(0u32, |value, digit| value << 6 | digit) << (6 * (4 - group.len()));
        out.extend_from_slice(&value.to_be_bytes()[1..group.len()]);
    }
    out
}

#[test]
fn the_cms_rows_of_the_corpus_come_out_as_expected() {
    let Some(folder) = support::vectors() else { return };
    let manifest = std::fs::read_to_string(folder.join("manifest.tsv")).unwrap();
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let mut limits = Limits::default();
    limits.input_bytes = 4 << 20;
    let (mut parsed, mut refused, mut verified, mut wrong) = (0, 0, Vec::new(), Vec::new());
    for row in manifest.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [file, _, _, _, expected, .., kind] = columns.as_slice() else { panic!("a row has too few columns: {row}") };
        let kind = kind.trim_end_matches("+pem");
        if ![
            "signed",
            "enveloped",
            "auth-enveloped",
            "encrypted",
            "smime",
            "data",
            "compressed",
            "digested",
            "not-cms",
            "signed-and-enveloped",
        ]
        .contains(&kind)
        {
            continue;
        }
        let message = unarmour(std::fs::read(folder.join(file)).unwrap());
        let start = Instant::now();
        let outcome = read(&message, &limits);
        let verdict = match &outcome {
            Outcome::Signed(signed) => {
                let options = VerifyOptions::default().legacy_digests(LegacyDigests::AllowSha1);
                Some(signed.verify(options, &provider).map(|_| ()))
            }
            _ => None,
        };
        assert!(start.elapsed() < Duration::from_secs(2), "{file} took {:?}", start.elapsed());
        let known = KNOWN_DIFFERENCES.iter().any(|(name, _)| name == file);
        let is_refused = matches!(outcome, Outcome::Refused(_));
        match &outcome {
            Outcome::Refused(error) => {
                refused += 1;
                if *expected == "ok" && !known {
                    wrong.push(format!("{file}: {error}"));
                }
            }
            // Content types that no flow reads are told apart by name, which is what `ok` and `optional` ask of them.
            Outcome::OtherContentType | Outcome::Enveloped { .. } | Outcome::Signed(_) => parsed += 1,
        }
        if known && !is_refused {
            wrong.push(format!("{file}: parses now, take it off the list"));
        }
        if let Some(Ok(())) = verdict {
            verified.push((*file).to_owned());
        }
        // A password recipient is never derived, so an envelope without another kind cannot be opened: refused, if late.
        let turned_away =
            matches!((&outcome, &verdict), (Outcome::Refused(_), _) | (_, Some(Err(_))) | (Outcome::Enveloped { openable: false }, _));
        if *expected == "reject" && !turned_away {
            wrong.push(format!("{file}: accepted"));
        }
        if std::env::var_os("CMS_VECTORS_SHOW").is_some() && !file.contains("fuzz") {
            let shown = match (&outcome, &verdict) {
                (Outcome::Refused(error), _) => format!("refused: {error}"),
                (_, Some(Err(error))) => format!("parsed, not verified: {error}"),
                (_, Some(Ok(()))) => "verified".into(),
                (Outcome::OtherContentType, _) => "another content type".into(),
                _ => "parsed".into(),
            };
            println!("{expected}\t{file}\t{shown}");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for file in VERIFY {
        assert!(verified.iter().any(|name| name == file), "{file} does not verify");
    }
    println!("{parsed} parsed, {refused} refused, {} verified", verified.len());
    assert!(parsed > 80, "the corpus has more than 80 CMS files that parse, {parsed} did");
}
