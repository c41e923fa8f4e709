//! Certificates, requests and revocation lists against openssl and certtool: they read what we write, we read what they write.

#![cfg(all(feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, reason = "a helper that fails, fails its test")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use intune_connector::adapters::LocalCa;
use intune_connector::crypto::{CryptoProvider, SignatureAlgorithm, SigningKey, sign_now};
use intune_connector::ids::{Oid, SerialNumber};
use intune_connector::limits::Limits;
use intune_connector::message::ToBeSigned;
use intune_connector::message::certificate::{Certificate, CertificateBuilder};
use intune_connector::message::crl::{Crl, CrlBuilder};
use intune_connector::message::csr::{Csr, CsrBuilder};
use intune_connector::message::name::Name;
use intune_connector::message::path::verify_chain;
use intune_connector::secret::Password;
use intune_connector::terms::{KeyAlgorithm, KeyUsage, RevocationReason, SubjectAltName};
use intune_connector::time::Timestamp;

fn provider() -> CryptoProvider {
    CryptoProvider::ring_and_aws_lc_rs()
}

fn key(algorithm: KeyAlgorithm) -> Arc<dyn SigningKey> {
    let provider = provider();
    let generated = provider.key_generation().unwrap().generate(algorithm).unwrap();
    provider.signing_keys().unwrap().load(&generated).unwrap()
}

fn finish(signed: ToBeSigned, key: &dyn SigningKey) -> Vec<u8> {
    let signature = sign_now(key, signed.algorithm(), signed.message()).unwrap();
    signed.finish(&signature)
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn text(command: &mut Command) -> String {
    let output = support::run(command);
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn names() -> Vec<SubjectAltName> {
    vec![
        SubjectAltName::Upn("jane@contoso.test".to_owned()),
        SubjectAltName::Email("jane@contoso.test".to_owned()),
        SubjectAltName::Dns("device.contoso.test".to_owned()),
        SubjectAltName::Uri("tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-1001".to_owned()),
        SubjectAltName::Ip("192.0.2.1".parse().unwrap()),
    ]
}

#[test]
fn openssl_and_certtool_verify_our_requests_of_every_key_size() {
    let (Some(openssl), Some(certtool)) = (support::tool("openssl"), support::tool("certtool")) else { return };
    let folder = support::scratch();
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::Rsa3072, KeyAlgorithm::Rsa4096, KeyAlgorithm::EcP256, KeyAlgorithm::EcP384] {
        let key = key(algorithm);
        let subject = Name::parse_cert_str("CN=\"Doe, Jane\",OU=Müller,O=Contoso,C=DE,E=jane@contoso.test").unwrap();
        let builder = CsrBuilder::new(subject, &key.public_key())
            .subject_alt_names(&names())
            .extended_key_usage(&["1.3.6.1.5.5.7.3.2".parse().unwrap()])
            .key_usage(KeyUsage::SIGN_AND_ENCIPHER)
            .sid(Some("S-1-5-21-1-2-3-1001".parse().unwrap()))
            .challenge_password(&Password::from("Chall*enge"));
        let der = finish(builder.to_be_signed(key.algorithms()[0]).unwrap(), key.as_ref());
        let path = write(folder.path(), "request.der", &der);
        let shown = text(Command::new(&openssl).args(["req", "-inform", "DER", "-verify", "-noout", "-text", "-in"]).arg(&path));
        for expected in [
            "verify OK",
            "CN = \"Doe, Jane\"",
            "UPN::jane@contoso.test",
            "email:jane@contoso.test",
            "DNS:device.contoso.test",
            "URI:tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-1001",
            "IP Address:192.0.2.1",
            "TLS Web Client Authentication",
            "Digital Signature, Key Encipherment",
            "1.3.6.1.4.1.311.25.2",
            "Chall*enge",
        ] {
            assert!(shown.contains(expected), "{algorithm:?}: {expected} is missing in\n{shown}");
        }
        let shown = text(Command::new(&certtool).args(["--crq-info", "--inder", "--infile"]).arg(&path));
        assert!(shown.contains("Self signature: verified") && shown.contains("jane@contoso.test"), "{shown}");
    }
}

#[test]
fn openssl_and_certtool_read_and_verify_our_certificates_and_lists() {
    let (Some(openssl), Some(certtool)) = (support::tool("openssl"), support::tool("certtool")) else { return };
    let folder = support::scratch();
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcP256] {
        let ca_key = key(algorithm);
        let now = Timestamp::system_now();
        let until = now.saturating_add(Duration::from_secs(86_400));
        let ca_name = Name::parse_cert_str("CN=Interop CA,O=TEST ONLY").unwrap();
        let serial = |number: u8| SerialNumber::from_be_bytes(&[0xf0, number]).unwrap();
        let mut algorithms = vec![ca_key.algorithms()[0]];
        if algorithm.is_rsa() {
            algorithms.extend([SignatureAlgorithm::RsaPssSha256, SignatureAlgorithm::RsaPkcs1Sha512]);
        }
        for signature in algorithms {
            let ca = CertificateBuilder::new(ca_name.clone(), &ca_key.public_key(), now, until, serial(1))
                .ca(Some(0))
                .key_identifiers_of(&provider(), &ca_key.public_key())
                .unwrap();
            let ca = finish(ca.to_be_signed(signature).unwrap(), ca_key.as_ref());
            let ca_certificate = Certificate::from_der(&ca, &Limits::default()).unwrap();
            let leaf_key = key(KeyAlgorithm::EcP256);
            let leaf = CertificateBuilder::new(Name::parse_cert_str("").unwrap(), &leaf_key.public_key(), now, until, serial(2))
                .issuer(ca_name.clone())
                .end_entity()
                .key_usage(KeyUsage { digital_signature: true, ..KeyUsage::default() })
                .extended_key_usage(&["1.3.6.1.5.5.7.3.2".parse().unwrap()])
                .subject_alt_names(&names())
                .sid(Some("S-1-5-21-1-2-3-1001".parse().unwrap()))
                .crl_distribution_point("http://ca.test/crl")
                .unwrap()
                .key_identifiers_of(&provider(), &ca_key.public_key())
                .unwrap();
            let leaf = finish(leaf.to_be_signed(signature).unwrap(), ca_key.as_ref());
            let crl = CrlBuilder::new(ca_name.clone(), now, until, 7)
                .authority_key_identifier(ca_certificate.subject_key_identifier().unwrap())
                .revoked(serial(2), now, RevocationReason::KeyCompromise)
                .revoked(serial(3), now, RevocationReason::Unspecified);
            let crl = finish(crl.to_be_signed(signature).unwrap(), ca_key.as_ref());

            let pem = |kind: &str, der: &[u8], name: &str| {
                let der = write(folder.path(), "one.der", der);
                let out = folder.path().join(name);
                support::run(Command::new(&openssl).args([kind, "-inform", "DER", "-in"]).arg(der).arg("-out").arg(&out));
                out
            };
            let (ca_pem, leaf_pem, crl_pem) = (pem("x509", &ca, "ca.pem"), pem("x509", &leaf, "leaf.pem"), pem("crl", &crl, "crl.pem"));
            let shown = text(Command::new(&openssl).args(["x509", "-noout", "-text", "-in"]).arg(&leaf_pem));
            for expected in ["X509v3 Subject Alternative Name: critical", "UPN::jane@contoso.test", "URI:http://ca.test/crl", "0xf002"] {
                assert!(shown.to_uppercase().contains(&expected.to_uppercase()), "{expected} is missing in\n{shown}");
            }
            let verified = text(Command::new(&openssl).args(["verify", "-x509_strict", "-CAfile"]).arg(&ca_pem).arg(&leaf_pem));
            assert!(verified.contains("OK"), "{verified}");
            let listed = text(Command::new(&openssl).args(["crl", "-noout", "-text", "-CAfile"]).arg(&ca_pem).arg("-in").arg(&crl_pem));
            for expected in ["verify OK", "Serial Number: F002", "Key Compromise", "Serial Number: F003"] {
                assert!(listed.contains(expected), "{expected} is missing in\n{listed}");
            }
            let revoked = support::try_run(
                Command::new(&openssl).args(["verify", "-crl_check", "-CAfile"]).arg(&ca_pem).arg("-CRLfile").arg(&crl_pem).arg(&leaf_pem),
            );
            assert!(String::from_utf8_lossy(&revoked.stderr).contains("certificate revoked"));
            let shown =
                text(Command::new(&certtool).args(["--verify", "--load-ca-certificate"]).arg(&ca_pem).arg("--infile").arg(&leaf_pem));
            assert!(shown.contains("Verified"), "{shown}");
            let shown = text(Command::new(&certtool).args(["--crl-info", "--infile"]).arg(&crl_pem));
            assert!(shown.contains("f002"), "{shown}");

            let crl = Crl::from_der(&crl, &Limits::default()).unwrap();
            crl.verify_signed_by(&provider(), &ca_key.public_key()).unwrap();
            assert_eq!((crl.entries().len(), crl.entries()[0].reason, crl.crl_number()), (2, Some(1), Some(&[7][..])));
            assert!(crl.is_revoked(&serial(2)) && !crl.is_revoked(&serial(4)));
            assert!(crl.verify_signed_by(&provider(), &leaf_key.public_key()).is_err());
        }
    }
}

const REQUEST_CONFIG: &str = "[req]
distinguished_name=dn
req_extensions=ext
attributes=attributes
prompt=no
string_mask=utf8only
[dn]
C=DE
O=Contoso
CN=Jané Doe
[attributes]
challengePassword=CHALLENGE
[ext]
basicConstraints=CA:false
keyUsage=digitalSignature,keyEncipherment
extendedKeyUsage=clientAuth,1.3.6.1.4.1.311.20.2.2
subjectAltName=otherName:1.3.6.1.4.1.311.20.2.3;UTF8:jane@contoso.test,email:jane@contoso.test,DNS:device.contoso.test,URI:urn:x,IP:192.0.2.1,dirName:dn
";

#[test]
fn we_read_and_verify_the_requests_that_openssl_writes() {
    let Some(openssl) = support::tool("openssl") else { return };
    let folder = support::scratch();
    for challenge in ["plain1", "Gr\u{fc}\u{df}e*"] {
        let config = write(folder.path(), "req.cnf", REQUEST_CONFIG.replace("CHALLENGE", challenge).as_bytes());
        for arguments in [
            &["-newkey", "rsa:2048"][..],
            &["-newkey", "rsa:2048", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"],
            &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
            &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-sha384"],
            &["-newkey", "ed25519"],
        ] {
            let out = folder.path().join("out.der");
            let key_out = folder.path().join("key.pem");
            support::run(
                Command::new(&openssl)
                    .args(["req", "-new", "-nodes", "-utf8", "-outform", "DER", "-config"])
                    .arg(&config)
                    .args(arguments)
                    .arg("-keyout")
                    .arg(key_out)
                    .arg("-out")
                    .arg(&out),
            );
            let csr = Csr::from_der(&std::fs::read(&out).unwrap(), &Limits::default()).unwrap();
            csr.verify_self_signature(&provider()).unwrap();
            assert_eq!(csr.subject().to_string(), "CN=Jané Doe,O=Contoso,C=DE", "{arguments:?}");
            assert_eq!(csr.challenge_password().unwrap().secret_str(), Some(challenge));
            assert!(csr.has_unknown_subject_alt_names(), "the directory name");
            assert_eq!(csr.subject_alt_names().len(), 5);
            assert_eq!(csr.subject_alt_names()[0], SubjectAltName::Upn("jane@contoso.test".to_owned()));
            assert_eq!(
                csr.extended_key_usage().iter().map(Oid::as_str).collect::<Vec<_>>(),
                ["1.3.6.1.5.5.7.3.2", "1.3.6.1.4.1.311.20.2.2"]
            );
            assert!(!csr.requests_ca());
        }
    }
}

#[test]
fn we_read_and_verify_the_requests_that_certtool_writes() {
    let Some(certtool) = support::tool("certtool") else { return };
    let folder = support::scratch();
    let template = "cn = \"Jane\"\ndns_name = \"device.contoso.test\"\nchallenge_password = \"secret1\"\nsigning_key\ntls_www_client\n\
                    other_name_utf8 = \"1.3.6.1.4.1.311.20.2.3 jane@contoso.test\"\n";
    let template = write(folder.path(), "template.cfg", template.as_bytes());
    for kind in ["rsa", "ecdsa", "ed25519"] {
        let (key, out) = (folder.path().join("key.pem"), folder.path().join("out.der"));
        let mut generate = Command::new(&certtool);
        generate.args(["--generate-privkey", "--key-type", kind, "--outfile"]).arg(&key);
        if kind != "ed25519" {
            generate.args(["--bits", if kind == "rsa" { "2048" } else { "256" }]);
        }
        support::run(&mut generate);
        support::run(
            Command::new(&certtool)
                .args(["--generate-request", "--outder", "--load-privkey"])
                .arg(&key)
                .arg("--template")
                .arg(&template)
                .arg("--outfile")
                .arg(&out),
        );
        let csr = Csr::from_der(&std::fs::read(&out).unwrap(), &Limits::default()).unwrap();
        csr.verify_self_signature(&provider()).unwrap();
        assert_eq!(csr.challenge_password().unwrap().secret_str(), Some("secret1"));
        assert!(csr.subject_alt_names().contains(&SubjectAltName::Dns("device.contoso.test".to_owned())));
        assert!(csr.subject_alt_names().contains(&SubjectAltName::Upn("jane@contoso.test".to_owned())), "{:?}", csr.subject_alt_names());
    }
}

#[test]
fn we_read_and_verify_the_certificates_that_openssl_writes() {
    let Some(openssl) = support::tool("openssl") else { return };
    let folder = support::scratch();
    for arguments in [
        &["-newkey", "rsa:3072"][..],
        &["-newkey", "rsa:2048", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"],
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-sha384"],
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-sha256"],
        &["-newkey", "ed25519"],
    ] {
        let out = folder.path().join("out.der");
        support::run(
            Command::new(&openssl)
                .args(["req", "-x509", "-nodes", "-subj", "/CN=Root", "-days", "2", "-outform", "DER", "-keyout"])
                .arg(folder.path().join("key.pem"))
                .args(arguments)
                // The last is an object identifier with an arc of 128 bits, and its value is not even DER.
                .args(["-addext", "keyUsage=critical,keyCertSign", "-addext", "2.25.340282366920938463463374607431768211455=DER:ff"])
                .arg("-out")
                .arg(&out),
        );
        let der = std::fs::read(&out).unwrap();
        let certificate = Certificate::from_der(&der, &Limits::default()).unwrap();
        certificate.verify_signed_by(&provider(), certificate.spki()).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
        assert!(certificate.is_ca() && certificate.is_self_issued() && certificate.key_usage().unwrap().key_cert_sign);
        assert_eq!((certificate.der().as_ref(), certificate.common_name_text()), (&der[..], "Root".to_owned()));
        assert!(certificate.extensions().iter().any(|extension| extension.oid().is_none() && extension.value() == [0xff]));
        let now = Timestamp::system_now().saturating_add(Duration::from_secs(60));
        assert_eq!(verify_chain(&provider(), &certificate, &[], std::slice::from_ref(&certificate), now).unwrap().len(), 1);
    }
}

trait CommonName {
    fn common_name_text(&self) -> String;
}

impl CommonName for Certificate {
    fn common_name_text(&self) -> String {
        self.subject().common_name().unwrap_or_default()
    }
}

#[test]
fn openssl_verifies_the_service_certificates_of_the_local_ca() {
    let Some(openssl) = support::tool("openssl") else { return };
    let folder = support::scratch();
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcP256] {
        let ca = LocalCa::new(provider(), "Interop \"quoted\", Inc".parse().unwrap(), algorithm).unwrap();
        assert!(ca.certificate().subject().to_string().contains("TEST ONLY"));
        let device = key(KeyAlgorithm::EcP256);
        let subject = Name::parse_cert_str("CN=device").unwrap();
        let validity = Duration::from_secs(3600);
        let certificate = ca.issue_service_certificate(subject, &device.public_key(), KeyUsage::SIGN_AND_ENCIPHER, &[], validity).unwrap();
        let pem = |certificate: &Certificate, name: &str| {
            let der = write(folder.path(), "one.der", certificate.der());
            let out = folder.path().join(name);
            support::run(Command::new(&openssl).args(["x509", "-inform", "DER", "-in"]).arg(der).arg("-out").arg(&out));
            out
        };
        let (root, leaf) = (pem(ca.certificate(), "root.pem"), pem(&certificate, "leaf.pem"));
        let verified = text(Command::new(&openssl).args(["verify", "-x509_strict", "-CAfile"]).arg(root).arg(leaf));
        assert!(verified.contains("OK"), "{verified}");
    }
}

#[test]
fn every_certificate_of_the_corpus_is_read_or_the_reason_is_known() {
    let Some(vectors) = support::vectors() else { return };
    let (mut read, mut refused) = (0usize, Vec::new());
    let mut folders: Vec<_> = std::fs::read_dir(vectors).unwrap().flatten().filter(|entry| entry.path().is_dir()).collect();
    folders.sort_by_key(std::fs::DirEntry::path);
    for folder in folders {
        for file in std::fs::read_dir(folder.path()).unwrap().flatten() {
            let Ok(content) = std::fs::read_to_string(file.path()) else { continue };
            for block in content.split("-----BEGIN CERTIFICATE-----").skip(1) {
                let body: String = block.split("-----END").next().unwrap_or("").chars().filter(|c| !c.is_whitespace()).collect();
                let Some(der) = base64(&body) else { continue };
                match Certificate::from_der(&der, &Limits::default()) {
                    Ok(certificate) => {
                        assert_eq!(certificate.der().as_ref(), &der[..]);
                        read += 1;
                    }
                    Err(error) => refused.push(format!("{}: {error}", file.path().display())),
                }
            }
        }
    }
    println!("read {read}, refused {}", refused.len());
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(read >= 5, "only {read} certificates were found");
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut out, mut bits, mut held) = (Vec::new(), 0u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let digit = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".iter().position(|known| *known == byte)?;
        bits = bits << 6 | digit as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    Some(out)
}
