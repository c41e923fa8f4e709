//! CMS against openssl and certtool, both directions, and what must be refused.
#![cfg(all(feature = "ring", feature = "aws-lc-rs"))]

mod cms_support;
mod support;

use std::path::Path;
use std::process::Command;

use cms_support::Party;
use futures_util::FutureExt as _;
use intune_connector::crypto::{
    ContentCipherAlgorithm as Cipher, CryptoProvider, KeyTransportAlgorithm as Transport, SignatureAlgorithm, UnwrapError, sign_now,
    unwrap_now,
};
use intune_connector::limits::Limits;
use intune_connector::message::enveloped::{CmsError, EnvelopeBuilder, LegacyCiphers, Opening, decrypt};
use intune_connector::message::signed::{LegacyDigests, Signed, SignedAttribute, SignedBuilder, SignedContent, VerifyOptions, certs_only};
use intune_connector::secret::SecretBytes;
use support::{run, scratch, tool, try_run};

const CONTENT: &[u8] = b"a content of more than one block, \x00\xff and not text";

fn open(message: &[u8], party: &Party, provider: &CryptoProvider) -> Result<SecretBytes, CmsError> {
    let key = party.decryption_key(provider);
    decrypt(message, &party.certificate, key.as_ref(), LegacyCiphers::AllowTripleDes, provider, &Limits::default())
        .now_or_never()
        .expect("a software key does not wait")
}

fn sign(builder: SignedBuilder<'_>, party: &Party, algorithm: SignatureAlgorithm, provider: &CryptoProvider) -> Vec<u8> {
    let to_be_signed = builder.to_be_signed(&party.certificate, algorithm, provider).expect("nothing is missing");
    let key = party.signing_key(provider);
    let signature = sign_now(key.as_ref(), to_be_signed.algorithm(), to_be_signed.message()).expect("the key signs");
    to_be_signed.finish(&signature)
}

#[test]
fn openssl_decrypts_every_envelope_that_we_write() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let party = Party::rsa(&openssl, dir.path(), "device");
    let other = Party::rsa(&openssl, dir.path(), "other");
    let transports =
        [Transport::RsaPkcs1v15, Transport::RsaOaepSha1, Transport::RsaOaepSha256, Transport::RsaOaepSha384, Transport::RsaOaepSha512];
    for cipher in [Cipher::Aes128Cbc, Cipher::Aes192Cbc, Cipher::Aes256Cbc, Cipher::DesEde3Cbc] {
        for transport in transports {
            let message = EnvelopeBuilder::new(cipher, transport)
                .legacy_ciphers(LegacyCiphers::AllowTripleDes)
                .recipient(&other.certificate)
                .recipient(&party.certificate)
                .build(CONTENT, &provider)
                .unwrap();
            let file = dir.path().join("message.der");
            std::fs::write(&file, &message).unwrap();
            let mut command = Command::new(&openssl);
            command.args(["cms", "-decrypt", "-binary", "-inform", "DER", "-in"]).arg(&file);
            command.arg("-recip").arg(&party.cert_file).arg("-inkey").arg(&party.key_file);
            assert_eq!(run(&mut command).stdout, CONTENT, "{cipher:?} {transport:?}");
            for reader in [&party, &other] {
                assert_eq!(open(&message, reader, &provider).unwrap().secret_bytes(), CONTENT, "{cipher:?} {transport:?}");
            }
        }
    }
}

#[test]
fn envelopes_of_openssl_are_opened_in_der_and_streamed_ber() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let (party, other) = (Party::rsa(&openssl, dir.path(), "device"), Party::rsa(&openssl, dir.path(), "other"));
    let long = vec![0x5a; 100_000];
    let (input, output) = (dir.path().join("content"), dir.path().join("message.der"));
    std::fs::write(&input, &long).unwrap();
    let oaep = |hash: &str| vec!["-keyopt".into(), "rsa_padding_mode:oaep".into(), "-keyopt".into(), format!("rsa_oaep_md:{hash}")];
    let transports: [Vec<String>; 6] = [vec![], oaep("sha1"), oaep("sha256"), oaep("sha384"), oaep("sha512"), vec!["-keyid".into()]];
    for cipher in ["-aes-128-cbc", "-aes-192-cbc", "-aes-256-cbc", "-des3"] {
        for transport in &transports {
            for stream in [&[][..], &["-stream", "-indef"]] {
                let mut command = Command::new(&openssl);
                command.args(["cms", "-encrypt", "-binary", "-outform", "DER", cipher, "-in"]).arg(&input);
                command.arg("-out").arg(&output).args(stream);
                command.arg("-recip").arg(&other.cert_file);
                command.arg("-recip").arg(&party.cert_file).args(transport);
                run(&mut command);
                let message = std::fs::read(&output).unwrap();
                assert_eq!(message.starts_with(&[0x30, 0x80]), !stream.is_empty(), "openssl streams when asked");
                let content = open(&message, &party, &provider);
                assert_eq!(content.unwrap().secret_bytes(), long, "{cipher} {transport:?} {stream:?}");
            }
        }
    }
}

#[test]
fn oaep_with_two_different_hashes_is_refused_by_name_before_the_key_is_used() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let party = Party::rsa(&openssl, dir.path(), "device");
    let input = dir.path().join("content");
    std::fs::write(&input, CONTENT).unwrap();
    let mut command = Command::new(&openssl);
    command.args(["cms", "-encrypt", "-binary", "-outform", "DER", "-aes-128-cbc", "-in"]).arg(&input).arg("-recip").arg(&party.cert_file);
    command.args(["-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256", "-keyopt", "rsa_mgf1_md:sha1"]);
    let message = run(&mut command).stdout;
    let mut opening = Opening::parse(&message, &Limits::default()).unwrap();
    let error = opening.unwrap_request(&party.certificate, &provider).unwrap_err();
    assert!(matches!(error, CmsError::UnsupportedOaepHashes { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("2.16.840.1.101.3.4.2.1") && text.contains("1.3.14.3.2.26"), "{text}");
}

#[test]
fn triple_des_is_refused_unless_opted_in() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let party = Party::rsa(&openssl, dir.path(), "device");
    let builder = EnvelopeBuilder::new(Cipher::DesEde3Cbc, Transport::RsaPkcs1v15).recipient(&party.certificate);
    assert!(matches!(builder.build(CONTENT, &provider), Err(CmsError::WeakAlgorithm(_))));
    let message = builder.legacy_ciphers(LegacyCiphers::AllowTripleDes).build(CONTENT, &provider).unwrap();
    let mut opening = Opening::parse(&message, &Limits::default()).unwrap();
    assert!(matches!(opening.unwrap_request(&party.certificate, &provider), Err(CmsError::WeakAlgorithm(_))));
}

#[test]
fn single_des_of_openssl_is_read_by_its_own_opt_in_alone_and_never_written() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let party = Party::rsa(&openssl, dir.path(), "device");
    let input = dir.path().join("content");
    std::fs::write(&input, CONTENT).unwrap();
    let mut command = Command::new(&openssl);
    command.args(["cms", "-encrypt", "-binary", "-outform", "DER", "-des-cbc", "-provider", "legacy", "-provider", "default", "-in"]);
    let output = try_run(command.arg(&input).arg("-recip").arg(&party.cert_file));
    if !output.status.success() {
        support::skip("the legacy provider of openssl");
        return;
    }
    let opening = |legacy| Opening::parse(&output.stdout, &Limits::default()).unwrap().legacy_ciphers(legacy);
    assert_eq!(opening(LegacyCiphers::Refuse).content_cipher().unwrap(), Cipher::DesCbc);
    for legacy in [LegacyCiphers::Refuse, LegacyCiphers::AllowTripleDes] {
        let error = opening(legacy).unwrap_request(&party.certificate, &provider).unwrap_err();
        assert!(matches!(error, CmsError::WeakAlgorithm(_)) && error.to_string().contains("DangerousReadSingleDes"), "{error}");
    }
    let key = party.decryption_key(&provider);
    let read = |unwrapped: Option<SecretBytes>| {
        let mut opening = opening(LegacyCiphers::DangerousReadSingleDes);
        let request = opening.unwrap_request(&party.certificate, &provider).unwrap();
        opening.finish(unwrapped.map_or_else(|| unwrap_now(key.as_ref(), &request), Ok), &provider)
    };
    assert_eq!(read(None).unwrap().secret_bytes(), CONTENT);
    // A key of 3DES length is no key for it: the substitute takes its place.
    for len in [0, 7, 16, 24] {
        let content = read(Some(SecretBytes::copy_from(&vec![1; len])));
        assert!(content.is_err() || content.is_ok_and(|content| content.secret_bytes() != CONTENT), "{len}");
    }
    let builder = EnvelopeBuilder::new(Cipher::DesCbc, Transport::RsaPkcs1v15).recipient(&party.certificate);
    assert!(builder.legacy_ciphers(LegacyCiphers::DangerousReadSingleDes).build(CONTENT, &provider).is_err());
}

#[test]
fn a_wrong_recipient_is_told_before_any_key_is_used() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let (party, other) = (Party::rsa(&openssl, dir.path(), "device"), Party::rsa(&openssl, dir.path(), "other"));
    let message = EnvelopeBuilder::default().recipient(&other.certificate).build(CONTENT, &provider).unwrap();
    assert!(matches!(open(&message, &party, &provider), Err(CmsError::NotARecipient)));
}

/// Position of `needle` in `haystack`.
fn find(haystack: &[u8], needle: &[u8]) -> usize {
    haystack.windows(needle.len()).position(|window| window == needle).expect("the needle is there")
}

#[test]
fn every_failure_inside_the_decryption_is_the_same_value() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let party = Party::rsa(&openssl, dir.path(), "device");
    let key = party.decryption_key(&provider);
    let content = vec![7; 4096];
    let mut seen = Vec::new();
    for transport in [Transport::RsaPkcs1v15, Transport::RsaOaepSha256] {
        let message = EnvelopeBuilder::new(Cipher::Aes256Cbc, transport).recipient(&party.certificate).build(&content, &provider).unwrap();
        let request = Opening::parse(&message, &Limits::default()).unwrap().unwrap_request(&party.certificate, &provider).unwrap();
        let at = find(&message, request.ciphertext().unwrap());
        let good = unwrap_now(key.as_ref(), &request).unwrap();
        let mut outcomes: Vec<(&str, Result<SecretBytes, CmsError>)> = Vec::new();
        // A damaged encrypted key: bad padding.
        let mut damaged = message.clone();
        damaged[at + 100] ^= 1;
        outcomes.push(("bad transport padding", open(&damaged, &party, &provider)));
        // A content key of another length, well padded.
        let spki = party.certificate.spki();
        let short = provider.key_transport().unwrap().encrypt(transport, spki, &[1; 16]).unwrap();
        let mut replaced = message.clone();
        replaced[at..at + short.len()].copy_from_slice(&short);
        outcomes.push(("content key of another length", open(&replaced, &party, &provider)));
        // Another content key of the right length.
        let wrong = provider.key_transport().unwrap().encrypt(transport, spki, &[1; 32]).unwrap();
        replaced[at..at + wrong.len()].copy_from_slice(&wrong);
        outcomes.push(("another content key", open(&replaced, &party, &provider)));
        // A damaged last block: bad content padding.
        let mut damaged = message.clone();
        let last = damaged.len() - 17;
        damaged[last] ^= 0x80;
        outcomes.push(("bad content padding", open(&damaged, &party, &provider)));
        // Content that is not whole blocks.
        let mut opening = Opening::parse(&message, &Limits::default()).unwrap();
        opening.unwrap_request(&party.certificate, &provider).unwrap();
        outcomes.push(("rejected by the key", opening.finish(Err(UnwrapError::Rejected), &provider)));
        for (what, outcome) in outcomes {
            match outcome {
                Err(error) => seen.push((what, format!("{error} {error:?}"))),
                // A random key hits valid padding once in about 256 times; what comes out is then noise.
                Ok(noise) => assert!(noise.secret_bytes() != content, "{what}"),
            }
        }
        // The good path still works with the very same pieces.
        let mut opening = Opening::parse(&message, &Limits::default()).unwrap();
        opening.unwrap_request(&party.certificate, &provider).unwrap();
        assert_eq!(opening.finish(Ok(good), &provider).unwrap().secret_bytes(), content);
    }
    assert!(seen.len() >= 8, "most of ten failures are errors: {seen:?}");
    assert!(seen.iter().all(|(_, shown)| shown == "the message could not be decrypted Decryption"), "{seen:?}");
}

#[test]
fn more_recipients_than_the_limit_are_refused_before_any_is_looked_at() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let party = Party::rsa(&openssl, dir.path(), "device");
    let mut builder = EnvelopeBuilder::default();
    for _ in 0..=Limits::default().recipients {
        builder = builder.recipient(&party.certificate);
    }
    let message = builder.build(CONTENT, &provider).unwrap();
    let error = Opening::parse(&message, &Limits::default()).unwrap_err();
    assert!(matches!(&error, CmsError::Limit(limit) if limit.what == "recipients"), "{error}");
}

#[test]
fn a_key_out_of_reach_is_retryable_and_not_a_decryption_failure() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let party = Party::rsa(&openssl, dir.path(), "device");
    let message = EnvelopeBuilder::default().recipient(&party.certificate).build(CONTENT, &provider).unwrap();
    let mut opening = Opening::parse(&message, &Limits::default()).unwrap();
    opening.unwrap_request(&party.certificate, &provider).unwrap();
    let error = opening.finish(Err(UnwrapError::Unavailable(None)), &provider).unwrap_err();
    assert!(matches!(error, CmsError::KeyUnavailable(_)));
    assert_eq!(error.retry(), intune_connector::retry::Retry::Later);
}

fn verify_by_openssl(openssl: &Path, dir: &Path, message: &[u8], signer: &Party, detached: Option<&Path>) -> std::process::Output {
    let file = dir.join("signed.der");
    std::fs::write(&file, message).expect("written");
    let mut command = Command::new(openssl);
    command
        .args(["cms", "-verify", "-binary", "-inform", "DER", "-purpose", "any", "-in"])
        .arg(&file)
        .arg("-CAfile")
        .arg(&signer.cert_file);
    if let Some(content) = detached {
        command.arg("-content").arg(content);
    }
    try_run(&mut command)
}

#[test]
fn openssl_verifies_what_we_sign() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let rsa = Party::rsa(&openssl, dir.path(), "rsa");
    let p256 = Party::make(&openssl, dir.path(), "p256", &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let p384 = Party::make(&openssl, dir.path(), "p384", &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"]);
    for (party, algorithm) in [
        (&rsa, SignatureAlgorithm::RsaPkcs1Sha256),
        (&rsa, SignatureAlgorithm::RsaPkcs1Sha384),
        (&rsa, SignatureAlgorithm::RsaPkcs1Sha512),
        (&rsa, SignatureAlgorithm::RsaPssSha256),
        (&p256, SignatureAlgorithm::EcdsaP256Sha256),
        (&p384, SignatureAlgorithm::EcdsaP384Sha384),
    ] {
        for content in [CONTENT, b""] {
            let builder = SignedBuilder::new(SignedContent::Attached(content))
                .attribute(SignedAttribute::printable_string("2.16.840.1.113733.1.9.2".parse().unwrap(), "19"))
                .certificate(party.certificate.der());
            let message = sign(builder, party, algorithm, &provider);
            let output = verify_by_openssl(&openssl, dir.path(), &message, party, None);
            assert!(output.status.success(), "{algorithm:?}: {}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(output.stdout, content, "{algorithm:?}");
            let signed = Signed::parse(&message, &Limits::default()).unwrap();
            let verified = signed.verify(VerifyOptions::default(), &provider).unwrap();
            let signer = verified.single_signer().unwrap();
            assert_eq!((verified.content(), signer.algorithm()), (content, algorithm));
            let value = signer.attribute(&"2.16.840.1.113733.1.9.2".parse().unwrap()).unwrap();
            assert_eq!(value, Some(&[0x13, 2, b'1', b'9'][..]));
        }
    }
    // RSA is written as rsaEncryption.
    let message = sign(SignedBuilder::new(SignedContent::Absent), &rsa, SignatureAlgorithm::RsaPkcs1Sha256, &provider);
    let text = run(Command::new(&openssl).args(["cms", "-cmsout", "-print", "-noout", "-inform", "DER", "-in"]).arg({
        let file = dir.path().join("absent.der");
        std::fs::write(&file, &message).unwrap();
        file
    }))
    .stdout;
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("rsaEncryption") && text.contains("eContent: <ABSENT>"), "{text}");
    let detached = dir.path().join("detached");
    std::fs::write(&detached, CONTENT).unwrap();
    let builder = SignedBuilder::new(SignedContent::Detached(CONTENT)).certificate(rsa.certificate.der());
    let message = sign(builder, &rsa, SignatureAlgorithm::RsaPkcs1Sha256, &provider);
    assert!(verify_by_openssl(&openssl, dir.path(), &message, &rsa, Some(&detached)).status.success());
    let signed = Signed::parse(&message, &Limits::default()).unwrap();
    assert!(matches!(signed.verify(VerifyOptions::default(), &provider), Err(CmsError::Detached)));
    assert!(signed.verify(VerifyOptions::default().detached(CONTENT), &provider).is_ok());
    assert!(matches!(signed.verify(VerifyOptions::default().detached(b"x"), &provider), Err(CmsError::Signature)));
}

#[test]
fn what_openssl_signs_is_verified_in_every_form() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let input = dir.path().join("content");
    std::fs::write(&input, CONTENT).unwrap();
    let rsa = Party::rsa(&openssl, dir.path(), "rsa");
    let ec = Party::make(&openssl, dir.path(), "ec", &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    for (party, forms) in [
        (&rsa, &[&[][..], &["-stream", "-indef"], &["-noattr"], &["-keyid"], &["-md", "sha512"], &["-keyopt", "rsa_padding_mode:pss"]][..]),
        (&ec, &[&[][..], &["-stream", "-indef"], &["-noattr"], &["-keyid"]]),
    ] {
        for form in forms {
            let mut command = Command::new(&openssl);
            command.args(["cms", "-sign", "-binary", "-nodetach", "-outform", "DER", "-in"]).arg(&input);
            command.arg("-signer").arg(&party.cert_file).arg("-inkey").arg(&party.key_file);
            if !form.contains(&"-md") {
                command.args(["-md", "sha256"]);
            }
            command.args(*form);
            if form.contains(&"rsa_padding_mode:pss") {
                command.args(["-keyopt", "rsa_pss_saltlen:digest"]);
            }
            let message = run(&mut command).stdout;
            let signed = Signed::parse(&message, &Limits::default()).unwrap_or_else(|error| panic!("{form:?}: {error}"));
            let verified = signed.verify(VerifyOptions::default(), &provider).unwrap_or_else(|error| panic!("{form:?}: {error}"));
            assert_eq!(verified.content(), CONTENT, "{form:?}");
            assert_eq!(verified.single_signer().unwrap().has_signed_attributes(), !form.contains(&"-noattr"));
            // One flipped bit anywhere in the content is noticed.
            let mut damaged = message.clone();
            damaged[find(&message, b"more than") + 3] ^= 1;
            let signed = Signed::parse(&damaged, &Limits::default()).unwrap();
            assert!(matches!(signed.verify(VerifyOptions::default(), &provider), Err(CmsError::Signature)), "{form:?}");
        }
    }
}

#[test]
fn sha1_signatures_are_refused_unless_opted_in() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let rsa = Party::rsa(&openssl, dir.path(), "rsa");
    let input = dir.path().join("content");
    std::fs::write(&input, CONTENT).unwrap();
    let mut command = Command::new(&openssl);
    command.args(["cms", "-sign", "-binary", "-nodetach", "-md", "sha1", "-outform", "DER", "-in"]).arg(&input);
    let message = run(command.arg("-signer").arg(&rsa.cert_file).arg("-inkey").arg(&rsa.key_file)).stdout;
    let signed = Signed::parse(&message, &Limits::default()).unwrap();
    assert!(matches!(signed.verify(VerifyOptions::default(), &provider), Err(CmsError::WeakAlgorithm(_))));
    assert!(signed.verify(VerifyOptions::default().legacy_digests(LegacyDigests::AllowSha1), &provider).is_ok());
}

#[test]
fn the_signer_is_found_by_its_identifier_and_not_by_its_place() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let (rsa, other) = (Party::rsa(&openssl, dir.path(), "rsa"), Party::rsa(&openssl, dir.path(), "other"));
    let both = SignedBuilder::new(SignedContent::Attached(CONTENT)).certificate(other.certificate.der()).certificate(rsa.certificate.der());
    let message = sign(both, &rsa, SignatureAlgorithm::RsaPkcs1Sha256, &provider);
    let signed = Signed::parse(&message, &Limits::default()).unwrap();
    let verified = signed.verify(VerifyOptions::default(), &provider).unwrap();
    assert_eq!(verified.single_signer().unwrap().certificate().der(), rsa.certificate.der());
    let none = SignedBuilder::new(SignedContent::Attached(CONTENT)).certificate(other.certificate.der());
    let message = sign(none, &rsa, SignatureAlgorithm::RsaPkcs1Sha256, &provider);
    let signed = Signed::parse(&message, &Limits::default()).unwrap();
    assert!(matches!(signed.verify(VerifyOptions::default(), &provider), Err(CmsError::SignerNotFound)));
}

#[test]
fn attributes_out_of_order_verify_whether_signed_as_sent_or_as_sorted() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let rsa = Party::rsa(&openssl, dir.path(), "rsa");
    let build = || {
        SignedBuilder::new(SignedContent::Attached(CONTENT))
            .certificate(rsa.certificate.der())
            .to_be_signed(&rsa.certificate, SignatureAlgorithm::RsaPkcs1Sha256, &provider)
            .unwrap()
    };
    let sorted = build().message().to_vec();
    // The SET has a header of two bytes; its first attribute, contentType, is moved behind messageDigest.
    let first = 2 + usize::from(sorted[3]);
    let unsorted = [&sorted[..2], &sorted[2 + first..], &sorted[2..2 + first]].concat();
    let key = rsa.signing_key(&provider);
    for (signed_bytes, sent, verifies) in
        [(&sorted, &unsorted, true), (&unsorted, &unsorted, true), (&sorted, &sorted, true), (&unsorted, &sorted, false)]
    {
        let signature = sign_now(key.as_ref(), SignatureAlgorithm::RsaPkcs1Sha256, signed_bytes).unwrap();
        let mut message = build().finish(&signature);
        let at = find(&message, &sorted[2..]);
        message[at..at + sent.len() - 2].copy_from_slice(&sent[2..]);
        let signed = Signed::parse(&message, &Limits::default()).unwrap();
        assert_eq!(signed.verify(VerifyOptions::default(), &provider).is_ok(), verifies);
    }
}

#[test]
fn signed_attributes_replayed_as_content_do_not_verify() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let rsa = Party::rsa(&openssl, dir.path(), "rsa");
    let to_be_signed = SignedBuilder::new(SignedContent::Attached(CONTENT))
        .certificate(rsa.certificate.der())
        .to_be_signed(&rsa.certificate, SignatureAlgorithm::RsaPkcs1Sha256, &provider)
        .unwrap();
    // openssl signs the very same bytes as content without attributes: a valid signature in CMS's letter.
    let input = dir.path().join("attributes");
    std::fs::write(&input, to_be_signed.message()).expect("the key signs");
    let mut command = Command::new(&openssl);
    command.args(["cms", "-sign", "-binary", "-nodetach", "-noattr", "-md", "sha256", "-outform", "DER", "-in"]).arg(&input);
    let message = run(command.arg("-signer").arg(&rsa.cert_file).arg("-inkey").arg(&rsa.key_file)).stdout;
    assert!(verify_by_openssl(&openssl, dir.path(), &message, &rsa, None).status.success(), "openssl does not mind");
    let signed = Signed::parse(&message, &Limits::default()).unwrap();
    assert!(matches!(signed.verify(VerifyOptions::default(), &provider), Err(CmsError::Signature)));
}

#[test]
fn certs_only_messages_are_read_by_openssl_and_certtool_and_never_verify() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let (a, b) = (Party::rsa(&openssl, dir.path(), "a"), Party::rsa(&openssl, dir.path(), "b"));
    let message = certs_only(&[a.certificate.der().clone(), b.certificate.der().clone()], &[]);
    let file = dir.path().join("certs.p7b");
    std::fs::write(&file, &message).unwrap();
    let printed = run(Command::new(&openssl).args(["pkcs7", "-inform", "DER", "-print_certs", "-noout", "-in"]).arg(&file)).stdout;
    assert_eq!(String::from_utf8_lossy(&printed).matches("subject=").count(), 2);
    let signed = Signed::parse(&message, &Limits::default()).unwrap();
    assert_eq!((signed.certificates().len(), signed.signer_count()), (2, 0));
    assert!(matches!(signed.verify(VerifyOptions::default(), &provider), Err(CmsError::NotSigned)));
    if let Some(certtool) = tool("certtool") {
        let printed = run(Command::new(certtool).args(["--p7-info", "--inder", "--infile"]).arg(&file)).stdout;
        assert_eq!(String::from_utf8_lossy(&printed).matches("BEGIN CERTIFICATE").count(), 2);
    }
}

#[test]
fn what_certtool_signs_is_verified_and_it_verifies_what_we_sign() {
    let (Some(openssl), Some(certtool)) = (tool("openssl"), tool("certtool")) else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let rsa = Party::rsa(&openssl, dir.path(), "rsa");
    let (input, output) = (dir.path().join("content"), dir.path().join("signed.p7"));
    std::fs::write(&input, CONTENT).unwrap();
    let mut command = Command::new(&certtool);
    command.args(["--p7-sign", "--p7-time", "--p7-include-cert", "--outder", "--infile"]).arg(&input).arg("--outfile").arg(&output);
    run(command.arg("--load-certificate").arg(&rsa.cert_file).arg("--load-privkey").arg(&rsa.key_file));
    let signed = Signed::parse(&std::fs::read(&output).unwrap(), &Limits::default()).unwrap();
    assert_eq!(signed.verify(VerifyOptions::default(), &provider).unwrap().content(), CONTENT);
    let builder = SignedBuilder::new(SignedContent::Attached(CONTENT)).certificate(rsa.certificate.der());
    std::fs::write(&output, sign(builder, &rsa, SignatureAlgorithm::RsaPkcs1Sha256, &provider)).unwrap();
    let mut command = Command::new(&certtool);
    command.args(["--p7-verify", "--inder", "--infile"]).arg(&output).arg("--load-certificate").arg(&rsa.cert_file);
    run(&mut command);
}
