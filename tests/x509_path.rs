//! Certificates, requests and chains by this crate alone: what must verify, and what must be refused.

#![cfg(all(feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, reason = "a helper that fails, fails its test")]

use std::sync::Arc;
use std::time::Duration;

use intune_connector::crypto::{CryptoProvider, SignatureAlgorithm, SigningKey, sign_now};
use intune_connector::ids::{Oid, SerialNumber, Sid};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::{Certificate, CertificateBuilder, sid_extension_value};
use intune_connector::message::csr::{Csr, CsrBuilder};
use intune_connector::message::name::Name;
use intune_connector::message::path::{PathError, verify_chain};
use intune_connector::message::{ToBeSigned, X509Error};
use intune_connector::secret::Password;
use intune_connector::terms::{KeyAlgorithm, KeyUsage, SubjectAltName};
use intune_connector::time::Timestamp;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

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

fn name(common_name: &str) -> Name {
    Name::parse_cert_str(&format!("CN={common_name},O=Test")).unwrap()
}

struct Party {
    name: Name,
    key: Arc<dyn SigningKey>,
}

fn party(common_name: &str) -> Party {
    Party { name: name(common_name), key: key(KeyAlgorithm::EcP256) }
}

fn builder(subject: &Party, serial: u8) -> CertificateBuilder {
    let (from, to) = (NOW.saturating_sub(Duration::from_secs(3600)), NOW.saturating_add(Duration::from_secs(3600)));
    CertificateBuilder::new(subject.name.clone(), &subject.key.public_key(), from, to, SerialNumber::from_be_bytes(&[serial]).unwrap())
}

fn issue(builder: CertificateBuilder, issuer: &Party) -> Certificate {
    let signed = builder.issuer(issuer.name.clone()).to_be_signed(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    Certificate::from_der(&finish(signed, issuer.key.as_ref()), &Limits::default()).unwrap()
}

fn verify(leaf: &Certificate, intermediates: &[Certificate], roots: &[Certificate]) -> Result<usize, PathError> {
    verify_chain(&provider(), leaf, intermediates, roots, NOW).map(|chain| chain.len())
}

#[test]
fn a_chain_over_an_intermediate_verifies_leaf_first() {
    let (root, middle, end) = (party("Root"), party("Middle"), party("End"));
    let root_certificate = issue(builder(&root, 1).ca(Some(1)), &root);
    let middle_certificate = issue(builder(&middle, 2).ca(Some(0)), &root);
    let leaf = issue(builder(&end, 3), &middle);
    let (intermediates, roots) = ([middle_certificate.clone()], [root_certificate.clone()]);
    let chain = verify_chain(&provider(), &leaf, &intermediates, &roots, NOW).unwrap();
    assert_eq!(chain, vec![leaf.der().clone(), middle_certificate.der().clone(), root_certificate.der().clone()]);
    assert_eq!(verify(&root_certificate, &[], &roots), Ok(1), "a root itself");
    assert!(matches!(verify(&leaf, &[], &roots), Err(PathError::UnknownIssuer { .. })));
    assert!(matches!(verify(&leaf, &intermediates, &[]), Err(PathError::UnknownIssuer { .. })));
}

#[test]
fn an_expired_certificate_anywhere_is_refused() {
    let (root, end) = (party("Root"), party("End"));
    let root_certificate = issue(builder(&root, 1).ca(None), &root);
    let leaf = issue(builder(&end, 3), &root);
    for at in [NOW.saturating_add(Duration::from_secs(3601)), NOW.saturating_sub(Duration::from_secs(3601))] {
        let result = verify_chain(&provider(), &leaf, &[], std::slice::from_ref(&root_certificate), at);
        assert!(matches!(result, Err(PathError::NotValidNow { .. })), "{result:?}");
    }
    let serial = SerialNumber::from_be_bytes(&[9]).unwrap();
    let old = CertificateBuilder::new(root.name.clone(), &root.key.public_key(), Timestamp::from_secs(0), Timestamp::from_secs(9), serial);
    let old = issue(old.ca(None), &root);
    assert!(matches!(verify(&leaf, &[], &[old]), Err(PathError::NotValidNow { .. })));
}

#[test]
fn an_issuer_must_be_a_ca_that_may_sign_and_whose_path_length_suffices() {
    let (root, middle, lower, end) = (party("Root"), party("Middle"), party("Lower"), party("End"));
    let roots = [issue(builder(&root, 1).ca(None), &root)];
    let leaf = issue(builder(&end, 3), &middle);
    let no_ca = issue(builder(&middle, 2), &root);
    assert!(matches!(verify(&leaf, &[no_ca], &roots), Err(PathError::NotACa { .. })));
    let no_sign = issue(builder(&middle, 2).key_usage(KeyUsage { crl_sign: true, ..KeyUsage::default() }).ca(None), &root);
    assert!(matches!(verify(&leaf, &[no_sign], &roots), Err(PathError::NotACa { .. })));
    let short = [issue(builder(&middle, 2).ca(Some(0)), &root), issue(builder(&lower, 4).ca(None), &middle)];
    let deep_leaf = issue(builder(&end, 5), &lower);
    assert!(matches!(verify(&deep_leaf, &short, &roots), Err(PathError::PathLength { .. })));
    let enough = [issue(builder(&middle, 2).ca(Some(1)), &root), issue(builder(&lower, 4).ca(None), &middle)];
    assert_eq!(verify(&deep_leaf, &enough, &roots), Ok(4));
}

#[test]
fn a_wrong_signature_is_refused() {
    let (root, other, end) = (party("Root"), Party { name: name("Root"), key: key(KeyAlgorithm::EcP256) }, party("End"));
    let roots = [issue(builder(&root, 1).ca(None), &root)];
    let forged = issue(builder(&end, 3), &other);
    assert!(matches!(verify(&forged, &[], &roots), Err(PathError::Signature { reason: X509Error::BadSignature, .. })));
}

#[test]
fn unknown_critical_extensions_and_name_constraints_are_refused() {
    let (root, end) = (party("Root"), party("End"));
    let oid = |text: &str| text.parse::<Oid>().unwrap();
    let roots = [issue(builder(&root, 1).ca(None), &root)];
    let leaf = issue(builder(&end, 3).extension(oid("1.2.3.4"), true, &[5, 0]), &root);
    assert!(matches!(verify(&leaf, &[], &roots), Err(PathError::UnknownCriticalExtension { .. })));
    let tolerated = issue(builder(&end, 3).extension(oid("1.2.3.4"), false, &[5, 0]), &root);
    assert_eq!(verify(&tolerated, &[], &roots), Ok(2));
    for critical in [true, false] {
        let constrained = issue(builder(&root, 1).ca(None).extension(oid("2.5.29.30"), critical, &[0x30, 0]), &root);
        assert!(matches!(verify(&tolerated, &[], &[constrained]), Err(PathError::UnknownCriticalExtension { .. })));
    }
}

#[test]
fn cross_signed_cas_find_the_root_and_their_cycles_end() {
    let (root, a, b, end) = (party("Root"), party("A"), party("B"), party("End"));
    let leaf = issue(builder(&end, 3), &a);
    let cycle = [issue(builder(&a, 4).ca(None), &b), issue(builder(&b, 5).ca(None), &a)];
    let roots = [issue(builder(&root, 1).ca(None), &root)];
    assert!(verify(&leaf, &cycle, &roots).is_err());
    let mut with_way_out = cycle.to_vec();
    with_way_out.push(issue(builder(&b, 6).ca(None), &root));
    assert_eq!(verify(&leaf, &with_way_out, &roots), Ok(4));
}

#[test]
fn a_thousand_intermediates_of_one_name_cost_a_bounded_number_of_checks() {
    let (root, end) = (party("Root"), party("End"));
    let roots = [issue(builder(&root, 1).ca(None), &root)];
    let wrong = party("Same");
    let template = issue(builder(&wrong, 2).ca(None), &root);
    // The same certificate with other key bytes each: names fit, signatures do not.
    let many: Vec<Certificate> = (0..1000u32)
        .filter_map(|index| {
            let mut der = template.der().to_vec();
            let spki = template.spki();
            let at = der.windows(spki.len()).position(|window| window == spki)? + spki.len() - 4;
            der[at..at + 4].copy_from_slice(&index.to_be_bytes());
            Certificate::from_der(&der, &Limits::default()).ok()
        })
        .collect();
    assert_eq!(many.len(), 1000);
    let signer = Party { name: name("Same"), key: key(KeyAlgorithm::EcP256) };
    let leaf = issue(builder(&end, 3), &signer);
    assert_eq!(verify(&leaf, &many, &roots), Err(PathError::TooMuchWork));
}

#[test]
fn every_changed_byte_of_the_signed_part_breaks_the_signature() {
    let root = party("Root");
    let certificate = issue(builder(&root, 1).ca(None), &root);
    certificate.verify_signed_by(&provider(), certificate.spki()).unwrap();
    let der = certificate.der().to_vec();
    let (mut verified, mut parsed) = (0, 0);
    for index in 0..der.len() {
        let mut changed = der.clone();
        changed[index] ^= 1;
        if let Ok(read) = Certificate::from_der(&changed, &Limits::default()) {
            parsed += 1;
            verified += usize::from(read.verify_signed_by(&provider(), certificate.spki()).is_ok());
        }
    }
    assert!(parsed > 200, "the test reached the verification: {parsed}");
    assert_eq!(verified, 0);
}

#[test]
fn every_changed_byte_of_a_request_is_noticed() {
    for algorithm in [KeyAlgorithm::EcP256, KeyAlgorithm::EcP384] {
        let key = key(algorithm);
        let request = CsrBuilder::new(name("Jane"), &key.public_key()).challenge_password(&Password::from("pass"));
        let der = finish(request.to_be_signed(key.algorithms()[0]).unwrap(), key.as_ref());
        Csr::from_der(&der, &Limits::default()).unwrap().verify_self_signature(&provider()).unwrap();
        for index in 0..der.len() {
            let mut changed = der.clone();
            changed[index] ^= 1;
            let accepted = Csr::from_der(&changed, &Limits::default()).is_ok_and(|csr| csr.verify_self_signature(&provider()).is_ok());
            assert!(!accepted, "byte {index}");
        }
    }
}

#[test]
fn what_a_request_asks_for_is_read_back() {
    let key = key(KeyAlgorithm::EcP256);
    let names = [
        SubjectAltName::Upn("jäne@contoso.test".to_owned()),
        SubjectAltName::Email("jane@contoso.test".to_owned()),
        SubjectAltName::Dns("device.contoso.test".to_owned()),
        SubjectAltName::Uri("tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-1001".to_owned()),
        SubjectAltName::Ip("2001:db8::1".parse().unwrap()),
        SubjectAltName::Ip("192.0.2.1".parse().unwrap()),
    ];
    let purposes: Vec<Oid> = vec!["1.3.6.1.5.5.7.3.2".parse().unwrap(), "1.3.6.1.4.1.311.20.2.2".parse().unwrap()];
    let sid: Sid = "S-1-5-21-1-2-3-1001".parse().unwrap();
    for challenge in ["plain 1", "ünïcode*"] {
        let request = CsrBuilder::new(name("Jane"), &key.public_key())
            .subject_alt_names(&names)
            .extended_key_usage(&purposes)
            .key_usage(KeyUsage::SIGN_AND_ENCIPHER)
            .sid(Some(sid.clone()))
            .template(&"User".parse().unwrap())
            .challenge_password(&Password::from(challenge));
        let der = finish(request.to_be_signed(key.algorithms()[0]).unwrap(), key.as_ref());
        let csr = Csr::from_der(&der, &Limits::default()).unwrap();
        csr.verify_self_signature(&provider()).unwrap();
        assert_eq!(csr.subject_alt_names(), names);
        assert!(!csr.has_unknown_subject_alt_names());
        assert_eq!((csr.extended_key_usage(), csr.key_usage(), csr.sid()), (&purposes[..], Some(KeyUsage::SIGN_AND_ENCIPHER), Some(&sid)));
        assert_eq!(csr.challenge_password().unwrap().secret_str(), Some(challenge));
        assert!(!format!("{csr:?}").contains(challenge));
        assert_eq!(csr.spki(), &*key.public_key());
    }
}

#[test]
fn the_sid_extension_has_the_published_bytes() {
    for (sid, hex) in [
        ("S-1-5-21-1-2-3-1001", "3025a023060a2b060104018237190201a0150413532d312d352d32312d312d322d332d31303031"),
        (
            "S-1-5-21-3623811015-3361044348-30300820-1013",
            "303ea03c060a2b060104018237190201a02e042c532d312d352d32312d333632333831313031352d333336313034343334382d33303330303832302d31303133",
        ),
        (
            "S-1-5-21-1004336348-1177238915-682003330-512",
            "303ea03c060a2b060104018237190201a02e042c532d312d352d32312d313030343333363334382d313137373233383931352d3638323030333333302d353132",
        ),
    ] {
        let value = sid_extension_value(&sid.parse().unwrap());
        assert_eq!(value.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), hex);
        let holder = party("Holder");
        let certificate = issue(builder(&holder, 1).sid(Some(sid.parse().unwrap())), &holder);
        assert_eq!(certificate.sid().map(ToString::to_string).as_deref(), Some(sid));
    }
}

#[test]
fn a_malformed_sid_extension_makes_the_certificate_unreadable() {
    let holder = party("Holder");
    for value in [&[0x30, 0][..], &[5, 0], &sid_extension_value(&"S-1-5-21-1-2-3-1001".parse().unwrap())[..20]] {
        let oid = "1.3.6.1.4.1.311.25.2".parse().unwrap();
        let signed = builder(&holder, 1).extension(oid, false, value).to_be_signed(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let read = Certificate::from_der(&finish(signed, holder.key.as_ref()), &Limits::default());
        assert!(matches!(read, Err(X509Error::Malformed { what: "SID extension", .. })), "{read:?}");
    }
}

#[test]
fn names_that_cannot_be_encoded_are_refused_when_building() {
    let holder = party("Holder");
    for name in [SubjectAltName::Email(String::new()), SubjectAltName::Dns("bücher.test".to_owned()), SubjectAltName::Upn(String::new())] {
        let built = builder(&holder, 1).subject_alt_names(&[name]).to_be_signed(SignatureAlgorithm::EcdsaP256Sha256);
        assert!(matches!(built, Err(X509Error::CannotBuild(_))));
    }
}

#[test]
fn no_damage_to_an_input_makes_a_reader_panic_or_accept_trailing_data() {
    use intune_connector::message::crl::{Crl, CrlBuilder};
    use intune_connector::terms::RevocationReason;
    let holder = party("Holder");
    let sid = Some("S-1-5-21-1-2-3-1001".parse().unwrap());
    let names = [SubjectAltName::Upn("a@b.test".to_owned()), SubjectAltName::Dns("b.test".to_owned())];
    let certificate = issue(builder(&holder, 1).ca(Some(1)).sid(sid.clone()).subject_alt_names(&names), &holder);
    let request = CsrBuilder::new(name("Jane"), &holder.key.public_key()).sid(sid).challenge_password(&Password::from("pass"));
    let request = finish(request.to_be_signed(SignatureAlgorithm::EcdsaP256Sha256).unwrap(), holder.key.as_ref());
    let list = CrlBuilder::new(name("Holder"), NOW, NOW, 1).revoked(
        SerialNumber::from_be_bytes(&[1]).unwrap(),
        NOW,
        RevocationReason::KeyCompromise,
    );
    let list = finish(list.to_be_signed(SignatureAlgorithm::EcdsaP256Sha256).unwrap(), holder.key.as_ref());
    let limits = Limits::default();
    type Reader<'a> = (&'a [u8], &'a dyn Fn(&[u8]) -> bool);
    let readers: [Reader<'_>; 4] = [
        (certificate.der(), &|der| Certificate::from_der(der, &limits).is_ok()),
        (&request, &|der| Csr::from_der(der, &limits).is_ok()),
        (&list, &|der| Crl::from_der(der, &limits).is_ok()),
        (certificate.subject().as_der(), &|der| Name::from_der(der).map(|name| name.to_string()).is_ok()),
    ];
    for (der, reads) in readers {
        assert!(reads(der));
        for end in 0..der.len() {
            assert!(!reads(&der[..end]), "cut off at {end}");
        }
        assert!(!reads(&[der, &[0]].concat()), "trailing data");
        for index in 0..der.len() {
            for value in [0x00, 0x01, 0x1f, 0x24, 0x30, 0x7f, 0x80, 0x84, 0xff] {
                let mut changed = der.to_vec();
                changed[index] = value;
                reads(&changed);
            }
        }
    }
}
