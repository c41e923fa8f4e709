//! SignedData against openssl and certtool, both directions: every algorithm, form and kind of key.
#![cfg(all(feature = "ring", feature = "aws-lc-rs"))]

mod cms_support;
mod support;

use std::path::Path;
use std::process::Command;

use cms_support::Party;
use intune_connector::crypto::{CryptoProvider, SignatureAlgorithm, sign_now};
use intune_connector::limits::Limits;
use intune_connector::message::signed::{
    CmsError, LegacyDigests, ShortRsaKeys, SignatureOver, Signed, SignedBuilder, SignedContent, SignerNamedBy, VerifiedSigner,
    VerifyOptions,
};
use support::{run, scratch, tool, try_run};

const CONTENT: &[u8] = b"a content of more than one block, \x00\xff and not text";

fn sign(builder: SignedBuilder<'_>, party: &Party, algorithm: SignatureAlgorithm, provider: &CryptoProvider) -> Vec<u8> {
    let to_be_signed = builder.to_be_signed(&party.certificate, algorithm, provider).expect("nothing is missing");
    let key = party.signing_key(provider);
    let signature = sign_now(key.as_ref(), algorithm, to_be_signed.message()).expect("the key signs");
    to_be_signed.finish(&signature)
}

fn verify_by_openssl(openssl: &Path, dir: &Path, message: &[u8], signer: &Party, detached: Option<&Path>) -> std::process::Output {
    let file = dir.join("signed.der");
    std::fs::write(&file, message).expect("written");
    let mut command = Command::new(openssl);
    command.args(["cms", "-verify", "-binary", "-inform", "DER", "-purpose", "any", "-in"]).arg(&file);
    command.arg("-CAfile").arg(&signer.cert_file);
    if let Some(content) = detached {
        command.arg("-content").arg(content);
    }
    try_run(&mut command)
}

fn signed_by_openssl(openssl: &Path, dir: &Path, party: &Party, form: &[&str]) -> Vec<u8> {
    let input = dir.join("to-be-signed");
    std::fs::write(&input, CONTENT).expect("written");
    let mut command = Command::new(openssl);
    command.args(["cms", "-sign", "-binary", "-outform", "DER", "-in"]).arg(&input);
    run(command.arg("-signer").arg(&party.cert_file).arg("-inkey").arg(&party.key_file).args(form)).stdout
}

fn verify(message: &[u8], options: VerifyOptions<'_>, provider: &CryptoProvider) -> Result<Vec<SignatureAlgorithm>, CmsError> {
    let signed = Signed::parse(message, &Limits::default())?;
    let verified = signed.verify(options, provider)?;
    assert_eq!(verified.content(), CONTENT);
    Ok(verified.signers().iter().map(VerifiedSigner::algorithm).collect())
}

#[test]
fn pss_of_openssl_is_verified_with_any_salt_and_any_hashes() {
    let Some(openssl) = tool("openssl") else { return };
    let dir = scratch();
    let rsa = Party::rsa(&openssl, dir.path(), "rsa");
    // A modulus of a whole number of octets and one bit, where the encoded message is an octet shorter.
    let odd = Party::make(&openssl, dir.path(), "odd", &["rsa:2049"]);
    let restricted = [
        "rsa-pss",
        "-pkeyopt",
        "rsa_keygen_bits:2048",
        "-pkeyopt",
        "rsa_pss_keygen_md:sha256",
        "-pkeyopt",
        "rsa_pss_keygen_mgf1_md:sha256",
    ];
    let restricted = Party::make(&openssl, dir.path(), "restricted", &restricted);
    for provider in [CryptoProvider::ring_and_aws_lc_rs(), CryptoProvider::aws_lc_rs()] {
        for (party, md, mgf1, salt, expected) in [
            (&rsa, "sha256", "sha256", "digest", Some(32)),
            (&rsa, "sha256", "sha256", "max", Some(222)),
            (&rsa, "sha256", "sha256", "0", Some(0)),
            (&rsa, "sha384", "sha384", "20", Some(20)),
            (&rsa, "sha512", "sha512", "digest", Some(64)),
            (&rsa, "sha512", "sha1", "17", Some(17)),
            (&rsa, "sha224", "sha256", "28", Some(28)),
            (&odd, "sha256", "sha256", "max", None),
            (&odd, "sha384", "sha512", "48", Some(48)),
            (&restricted, "sha256", "sha256", "digest", Some(32)),
            (&restricted, "sha256", "sha256", "max", Some(222)),
        ] {
            let (mgf1_opt, salt_opt) = (format!("rsa_mgf1_md:{mgf1}"), format!("rsa_pss_saltlen:{salt}"));
            let options = ["-nodetach", "-md", md, "-keyopt", "rsa_padding_mode:pss", "-keyopt", &salt_opt, "-keyopt", &mgf1_opt];
            let message = signed_by_openssl(&openssl, dir.path(), party, &options);
            let algorithms = verify(&message, VerifyOptions::default(), &provider).unwrap_or_else(|error| panic!("{options:?}: {error}"));
            let found = algorithms[0].pss_parameters().expect("PSS");
            assert!(expected.is_none_or(|expected| found.salt_len == expected), "{options:?}: {found:?}");
            let mut damaged = message.clone();
            let last = damaged.len() - 1;
            damaged[last] ^= 1;
            assert!(matches!(verify(&damaged, VerifyOptions::default(), &provider), Err(CmsError::Signature)), "{options:?}");
        }
    }
    // SHA-1, which the parameters mean when they are left out, is asked about as everywhere.
    let options = ["-nodetach", "-md", "sha1", "-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:20"];
    let message = signed_by_openssl(&openssl, dir.path(), &rsa, &options);
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    assert!(matches!(verify(&message, VerifyOptions::default(), &provider), Err(CmsError::WeakAlgorithm(_))));
    assert!(verify(&message, VerifyOptions::default().legacy_digests(LegacyDigests::AllowSha1), &provider).is_ok());
}

#[test]
fn every_curve_and_digest_of_openssl_is_verified() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    for curve in ["P-256", "P-384", "P-521"] {
        let ec = Party::make(&openssl, dir.path(), curve, &["ec", "-pkeyopt", &format!("ec_paramgen_curve:{curve}")]);
        for md in ["sha256", "sha384", "sha512"] {
            for form in [&["-nodetach"][..], &["-nodetach", "-noattr"], &["-nodetach", "-keyid"], &["-nodetach", "-stream", "-indef"]] {
                let message = signed_by_openssl(&openssl, dir.path(), &ec, &[form, &["-md", md]].concat());
                assert!(verify(&message, VerifyOptions::default(), &provider).is_ok(), "{curve} {md} {form:?}");
            }
        }
        let message = signed_by_openssl(&openssl, dir.path(), &ec, &["-nodetach", "-md", "sha224"]);
        let error = verify(&message, VerifyOptions::default(), &provider).unwrap_err().to_string();
        assert!(error.contains("ECDSA with SHA-224"), "{error}");
    }
    let rsa = Party::rsa(&openssl, dir.path(), "rsa");
    let message = signed_by_openssl(&openssl, dir.path(), &rsa, &["-nodetach", "-md", "sha224"]);
    assert_eq!(verify(&message, VerifyOptions::default(), &provider).unwrap(), [SignatureAlgorithm::RsaPkcs1Sha224]);
}

#[test]
fn detached_content_and_certificates_given_beside_the_message_are_used() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let (rsa, other) = (Party::rsa(&openssl, dir.path(), "rsa"), Party::rsa(&openssl, dir.path(), "other"));
    let given = [other.certificate.clone(), rsa.certificate.clone()];
    for form in [&["-nocerts"][..], &["-nocerts", "-keyid"], &["-nocerts", "-noattr"]] {
        let message = signed_by_openssl(&openssl, dir.path(), &rsa, &[form, &["-md", "sha256"]].concat());
        let detached = VerifyOptions::default().detached(CONTENT);
        assert!(matches!(verify(&message, VerifyOptions::default(), &provider), Err(CmsError::Detached)), "{form:?}");
        assert!(matches!(verify(&message, detached, &provider), Err(CmsError::SignerNotFound)), "{form:?}");
        assert!(matches!(verify(&message, detached.certificates(&given[..1]), &provider), Err(CmsError::SignerNotFound)), "{form:?}");
        assert!(verify(&message, detached.certificates(&given), &provider).is_ok(), "{form:?}");
    }
}

#[test]
fn several_signers_are_all_verified() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let rsa = Party::rsa(&openssl, dir.path(), "rsa");
    let ec = Party::make(&openssl, dir.path(), "ec", &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"]);
    let (signer, key) = (ec.cert_file.to_str().unwrap(), ec.key_file.to_str().unwrap());
    let message = signed_by_openssl(&openssl, dir.path(), &rsa, &["-nodetach", "-md", "sha256", "-signer", signer, "-inkey", key]);
    assert_eq!(verify(&message, VerifyOptions::default(), &provider).unwrap().len(), 2);
    // Ours with two signers, one of them by key identifier.
    let part = |party: &Party, algorithm, named_by| {
        let builder = SignedBuilder::new(SignedContent::Attached(CONTENT)).certificate(party.certificate.der()).signer_named_by(named_by);
        let part = builder.to_be_signed(&party.certificate, algorithm, &provider).unwrap();
        let signature = sign_now(party.signing_key(&provider).as_ref(), algorithm, part.message()).unwrap();
        (part, signature)
    };
    let (first, signature) = part(&rsa, SignatureAlgorithm::RsaPkcs1Sha512, SignerNamedBy::SubjectKeyIdentifier);
    let second = part(&ec, SignatureAlgorithm::EcdsaP384Sha384, SignerNamedBy::IssuerAndSerialNumber);
    let message = first.finish_with(&signature, vec![second]).unwrap();
    assert_eq!(verify(&message, VerifyOptions::default(), &provider).unwrap().len(), 2);
    let file = dir.path().join("two.der");
    std::fs::write(&file, &message).unwrap();
    run(Command::new(&openssl).args(["cms", "-verify", "-noverify", "-binary", "-inform", "DER", "-in"]).arg(&file));
}

/// A message with `extra` at the end of the value that is `levels` deep the last of each. Lengths become BER: no signature covers them.
fn with_at_the_end(der: &[u8], levels: usize, extra: &[u8]) -> Vec<u8> {
    let header = 2 + if der[1] & 0x80 == 0 { 0 } else { usize::from(der[1] & 0x7f) };
    let mut content = der[header..].to_vec();
    if levels == 0 {
        content.extend_from_slice(extra);
    } else {
        let (mut start, mut next) = (0, 0);
        while next < content.len() {
            start = next;
            let (first, long) = (content[start + 1], usize::from(content[start + 1] & 0x7f));
            let octets = if first & 0x80 == 0 { &content[start + 1..start + 2] } else { &content[start + 2..start + 2 + long] };
            let len = octets.iter().fold(0, |len, octet| len << 8 | usize::from(*octet));
            next = start + 2 + if first & 0x80 == 0 { 0 } else { long } + len;
        }
        let last = with_at_the_end(&content[start..], levels - 1, extra);
        content.truncate(start);
        content.extend(last);
    }
    let len = u16::try_from(content.len()).expect("a small message").to_be_bytes();
    [&[der[0], 0x82, len[0], len[1]][..], &content].concat()
}

#[test]
fn countersignatures_are_left_alone() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let rsa = Party::rsa(&openssl, dir.path(), "rsa");
    let message = signed_by_openssl(&openssl, dir.path(), &rsa, &["-nodetach", "-md", "sha256"]);
    // An unsigned attribute 1.2.840.113549.1.9.`last` with an empty SEQUENCE, as it would never be if it were read.
    let unsigned = |last| [0xa1, 17, 0x30, 15, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, last, 0x31, 2, 0x30, 0];
    // ContentInfo, [0], SignedData, SET OF SignerInfo, SignerInfo.
    let with_unsigned = |last| with_at_the_end(&message, 4, &unsigned(last));
    let countersigned = with_unsigned(6);
    assert_eq!(verify(&countersigned, VerifyOptions::default(), &provider).unwrap().len(), 1);
    // It did stand among the unsigned attributes: signingTime may not.
    assert!(Signed::parse(&with_unsigned(5), &Limits::default()).is_err());
    // It vouches for the signature, which still has to be that of the content.
    let at = countersigned.len() - unsigned(6).len() - 1;
    let mut damaged = countersigned.clone();
    damaged[at] ^= 1;
    assert!(matches!(verify(&damaged, VerifyOptions::default(), &provider), Err(CmsError::Signature)));
}

#[test]
fn openssl_and_certtool_verify_every_form_that_we_write() {
    let Some(openssl) = tool("openssl") else { return };
    let certtool = tool("certtool");
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let rsa = Party::rsa(&openssl, dir.path(), "rsa");
    let ec = |curve: &str| Party::make(&openssl, dir.path(), curve, &["ec", "-pkeyopt", &format!("ec_paramgen_curve:{curve}")]);
    let (p256, p521, ed) = (ec("P-256"), ec("P-521"), Party::make(&openssl, dir.path(), "ed", &["ed25519"]));
    for (party, algorithm) in [
        (&rsa, SignatureAlgorithm::RsaPkcs1Sha256),
        (&rsa, SignatureAlgorithm::RsaPssSha256),
        (&rsa, SignatureAlgorithm::RsaPssSha384),
        (&rsa, SignatureAlgorithm::RsaPssSha512),
        (&p256, SignatureAlgorithm::EcdsaP256Sha256),
        (&p521, SignatureAlgorithm::EcdsaP521Sha512),
        (&ed, SignatureAlgorithm::Ed25519),
    ] {
        for over in [SignatureOver::Attributes, SignatureOver::Content] {
            for named_by in [SignerNamedBy::IssuerAndSerialNumber, SignerNamedBy::SubjectKeyIdentifier] {
                let case = format!("{algorithm:?} {over:?} {named_by:?}");
                let build = |content| {
                    let builder = SignedBuilder::new(content).certificate(party.certificate.der());
                    sign(builder.signature_over(over).signer_named_by(named_by), party, algorithm, &provider)
                };
                let attached = build(SignedContent::Attached(CONTENT));
                assert_eq!(verify(&attached, VerifyOptions::default(), &provider).unwrap(), [algorithm], "{case}");
                let detached = build(SignedContent::Detached(CONTENT));
                assert!(verify(&detached, VerifyOptions::default().detached(CONTENT), &provider).is_ok(), "{case}");
                let content = dir.path().join("content");
                std::fs::write(&content, CONTENT).unwrap();
                // OpenSSL 3.0 has no Ed25519 in CMS.
                if algorithm != SignatureAlgorithm::Ed25519 {
                    for (message, content) in [(&attached, None), (&detached, Some(content.as_path()))] {
                        let output = verify_by_openssl(&openssl, dir.path(), message, party, content);
                        assert!(output.status.success(), "{case}: {}", String::from_utf8_lossy(&output.stderr));
                        assert_eq!(output.stdout, CONTENT);
                    }
                }
                // GnuTLS 3.7 verifies PSS in PKCS#7 with SHA-256 only, openssl's as ours, and finds signers by issuer and serial number.
                let gnutls = named_by == SignerNamedBy::IssuerAndSerialNumber
                    && !matches!(algorithm, SignatureAlgorithm::RsaPssSha384 | SignatureAlgorithm::RsaPssSha512);
                if let Some(certtool) = certtool.as_ref().filter(|_| gnutls) {
                    let file = dir.path().join("ours.p7");
                    std::fs::write(&file, &attached).unwrap();
                    let mut command = Command::new(certtool);
                    command.args(["--p7-verify", "--inder", "--infile"]).arg(&file).arg("--load-certificate").arg(&party.cert_file);
                    let output = try_run(&mut command);
                    assert!(output.status.success(), "{case}: {}", String::from_utf8_lossy(&output.stderr));
                }
            }
        }
    }
}

#[test]
fn what_certtool_signs_with_every_kind_of_key_is_verified() {
    let (Some(openssl), Some(certtool)) = (tool("openssl"), tool("certtool")) else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let (input, output) = (dir.path().join("content"), dir.path().join("signed.p7"));
    std::fs::write(&input, CONTENT).unwrap();
    for (name, key) in [
        ("rsa", &["rsa:2048"][..]),
        ("p256", &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        ("p521", &["ec", "-pkeyopt", "ec_paramgen_curve:P-521"]),
        ("ed", &["ed25519"]),
    ] {
        let party = Party::make(&openssl, dir.path(), name, key);
        for form in [&["--p7-sign", "--p7-include-cert"][..], &["--p7-sign", "--p7-time", "--p7-include-cert"], &["--p7-detached-sign"]] {
            let mut command = Command::new(&certtool);
            command.args(form).args(["--outder", "--infile"]).arg(&input).arg("--outfile").arg(&output);
            run(command.arg("--load-certificate").arg(&party.cert_file).arg("--load-privkey").arg(&party.key_file));
            let message = std::fs::read(&output).unwrap();
            let given = [party.certificate.clone()];
            let options = VerifyOptions::default().detached(CONTENT).certificates(&given);
            verify(&message, options, &provider).unwrap_or_else(|error| panic!("{name} {form:?}: {error}"));
        }
    }
}

#[test]
fn short_rsa_keys_are_refused_unless_opted_in_by_an_alarming_name_and_dsa_by_name() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let short = Party::make(&openssl, dir.path(), "short", &["rsa:1024"]);
    let allowed = VerifyOptions::default().short_rsa_keys(ShortRsaKeys::DangerouslyAllow1024Bits);
    for form in [&["-md", "sha256"][..], &["-md", "sha384"], &["-md", "sha256", "-keyopt", "rsa_padding_mode:pss"]] {
        let message = signed_by_openssl(&openssl, dir.path(), &short, &[form, &["-nodetach"]].concat());
        assert!(matches!(verify(&message, VerifyOptions::default(), &provider), Err(CmsError::WeakAlgorithm(_))));
        assert!(verify(&message, allowed, &provider).is_ok(), "{form:?}");
        let mut damaged = message.clone();
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        assert!(matches!(verify(&damaged, allowed, &provider), Err(CmsError::Signature)));
        assert!(matches!(verify(&message, allowed, &CryptoProvider::aws_lc_rs().fips_approved_only()), Err(CmsError::Crypto(_))));
    }
    let shorter = Party::make(&openssl, dir.path(), "shorter", &["rsa:768"]);
    let message = signed_by_openssl(&openssl, dir.path(), &shorter, &["-nodetach", "-md", "sha256"]);
    assert!(verify(&message, allowed, &provider).is_err(), "768 bits by no option");
    let parameters = dir.path().join("dsa.pem");
    run(Command::new(&openssl).args(["dsaparam", "-out"]).arg(&parameters).arg("2048"));
    let dsa = Party::make(&openssl, dir.path(), "dsa", &[&format!("dsa:{}", parameters.display())]);
    let message = signed_by_openssl(&openssl, dir.path(), &dsa, &["-nodetach", "-md", "sha256"]);
    let error = verify(&message, allowed, &provider).unwrap_err().to_string();
    assert!(error.contains("DSA with SHA-256"), "{error}");
}
