//! The post-issue check: a certificate as planned passes, and each way to differ is refused as itself.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/pki.rs"]
mod pki;

use std::collections::HashSet;

use intune_connector::ids::Oid;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::CertificateBuilder;
use intune_connector::message::name::Name;
use intune_connector::policy::post_issue::{self, Expected, Mismatch, PostIssueError};
use intune_connector::ports::CertificatePlan;
use intune_connector::terms::{KeyAlgorithm, KeyUsage, SubjectAltName, oids};
use intune_connector::time::Timestamp;
use pki::{DAY, Identity};
use rustls_pki_types::CertificateDer;

fn oid(text: &str) -> Oid {
    text.parse().unwrap()
}

fn names() -> Vec<SubjectAltName> {
    vec![SubjectAltName::Upn("jane@contoso.com".into()), SubjectAltName::Dns("pc7.contoso.com".into())]
}

struct Scene {
    root: Identity,
    spki: Vec<u8>,
    plan: CertificatePlan,
    now: Timestamp,
}

fn scene() -> Scene {
    let provider = pki::provider();
    let now = Timestamp::system_now();
    let subject = Name::parse_cert_str("CN=jane,O=Contoso").unwrap();
    let mut plan =
        CertificatePlan::new("ca".parse().unwrap(), subject.as_der().to_vec(), KeyAlgorithm::EcP256, now.saturating_add(100 * DAY));
    plan.subject_alt_names = names();
    plan.extended_key_usage = vec![oid(oids::CLIENT_AUTH)];
    plan.key_usage = KeyUsage { digital_signature: true, ..KeyUsage::default() };
    plan.sid_extension = Some("S-1-5-21-1-2-3-1013".parse().unwrap());
    let (_, signer) = pki::new_key(&provider, KeyAlgorithm::EcP256);
    Scene { root: pki::root(&provider, "issuing CA"), spki: signer.public_key().to_vec(), plan, now }
}

fn as_planned(builder: CertificateBuilder) -> CertificateBuilder {
    builder
        .subject_alt_names(&names())
        .extended_key_usage(&[oid(oids::CLIENT_AUTH)])
        .key_usage(KeyUsage { digital_signature: true, ..KeyUsage::default() })
        .sid(Some("S-1-5-21-1-2-3-1013".parse().unwrap()))
}

impl Scene {
    fn check(&self, certificate: &CertificateDer<'_>) -> Option<Mismatch> {
        let provider = pki::provider();
        let roots = [self.root.certificate.clone()];
        let expected = Expected::new(&self.plan, &self.spki, &roots, self.now);
        match post_issue::check(&provider, &Limits::default(), certificate, &[], &expected) {
            Ok(checked) => {
                assert_eq!(checked.chain, roots);
                None
            }
            Err(PostIssueError::Mismatch { kind, .. }) => Some(kind),
            Err(other) => panic!("{other}"),
        }
    }

    fn issue(&self, edit: impl FnOnce(CertificateBuilder) -> CertificateBuilder) -> CertificateDer<'static> {
        self.issue_valid("CN=jane,O=Contoso", self.now, self.plan.not_after, edit)
    }

    fn issue_valid(
        &self,
        subject: &str,
        not_before: Timestamp,
        not_after: Timestamp,
        edit: impl FnOnce(CertificateBuilder) -> CertificateBuilder,
    ) -> CertificateDer<'static> {
        let subject = Name::parse_cert_str(subject).unwrap();
        pki::certify(&pki::provider(), &self.root, &subject, &self.spki, not_before, not_after, edit)
    }
}

#[test]
fn a_certificate_as_planned_passes_also_with_names_in_another_order_or_case() {
    let scene = scene();
    assert_eq!(scene.check(&scene.issue(as_planned)), None);
    let reordered = scene.issue(|builder| {
        as_planned(builder)
            .subject_alt_names(&[SubjectAltName::Dns("PC7.contoso.com".into()), SubjectAltName::Upn("jane@contoso.com".into())])
    });
    assert_eq!(scene.check(&reordered), None);
    let shorter = scene.issue_valid("CN=Jane,O=contoso", scene.now, scene.now.saturating_add(DAY), as_planned);
    assert_eq!(scene.check(&shorter), None);
}

#[test]
fn each_difference_is_refused_as_itself() {
    let scene = scene();
    let provider = pki::provider();
    let (now, end) = (scene.now, scene.plan.not_after);
    let subject = "CN=jane,O=Contoso";
    let other_key = pki::leaf_valid(&provider, &scene.root, subject, KeyAlgorithm::EcP256, now, end, as_planned);
    let other_root = pki::root(&provider, "other CA");
    let name = Name::parse_cert_str(subject).unwrap();
    let more_names = |more: SubjectAltName| {
        let mut list = names();
        list.push(more);
        list
    };
    let table = [
        ("no certificate", vec![0x30, 0x00].into(), Mismatch::Syntax),
        ("another key", other_key.certificate, Mismatch::PublicKey),
        ("another subject", scene.issue_valid("CN=john,O=Contoso", now, end, as_planned), Mismatch::Subject),
        ("a name is missing", scene.issue(|b| as_planned(b).subject_alt_names(&names()[..1])), Mismatch::SubjectAltName),
        (
            "another UPN",
            scene.issue(|b| as_planned(b).subject_alt_names(&[SubjectAltName::Upn("john@contoso.com".into()), names()[1].clone()])),
            Mismatch::SubjectAltName,
        ),
        (
            "an extra name",
            scene.issue(|b| as_planned(b).subject_alt_names(&more_names(SubjectAltName::Upn("admin@contoso.com".into())))),
            Mismatch::SubjectAltName,
        ),
        ("the SID is dropped", scene.issue(|b| as_planned(b).sid(None)), Mismatch::Sid),
        ("another SID", scene.issue(|b| as_planned(b).sid(Some("S-1-5-21-1-2-3-1014".parse().unwrap()))), Mismatch::Sid),
        (
            "a wider usage",
            scene.issue(|b| as_planned(b).extended_key_usage(&[oid(oids::CLIENT_AUTH), oid(oids::SERVER_AUTH)])),
            Mismatch::ExtendedKeyUsage,
        ),
        ("a wider key usage", scene.issue(|b| as_planned(b).key_usage(KeyUsage::SIGN_AND_ENCIPHER)), Mismatch::KeyUsage),
        ("a CA", scene.issue(|b| as_planned(b).ca(None)), Mismatch::CaCertificate),
        ("valid for longer", scene.issue_valid(subject, now, end.saturating_add(2 * DAY), as_planned), Mismatch::NotAfter),
        ("valid in the future", scene.issue_valid(subject, now.saturating_add(DAY), end, as_planned), Mismatch::NotBefore),
        ("already over", scene.issue_valid(subject, now.saturating_sub(2 * DAY), now.saturating_sub(DAY), as_planned), Mismatch::Expired),
        ("another issuer", pki::certify(&provider, &other_root, &name, &scene.spki, now, end, as_planned), Mismatch::Chain),
    ];
    for (what, certificate, expected) in &table {
        assert_eq!(scene.check(certificate), Some(*expected), "{what}");
    }
    let tested: HashSet<Mismatch> = table.iter().map(|(_, _, kind)| *kind).collect();
    assert!(Mismatch::ALL.iter().all(|kind| tested.contains(kind)), "a kind of mismatch is not tested");
}

#[test]
fn a_certificate_without_extended_key_usage_is_good_for_anything_and_so_refused() {
    let scene = scene();
    let without = scene.issue(|builder| {
        builder
            .subject_alt_names(&names())
            .key_usage(KeyUsage { digital_signature: true, ..KeyUsage::default() })
            .sid(Some("S-1-5-21-1-2-3-1013".parse().unwrap()))
    });
    assert_eq!(scene.check(&without), Some(Mismatch::ExtendedKeyUsage));
}

#[test]
fn usages_in_microsofts_extension_or_behind_an_overlong_identifier_count_as_usages() {
    let scene = scene();
    let policies = |last: &[u8]| {
        let oid = [&[0x2b, 0x06, 0x01], last].concat();
        let len = oid.len() as u8;
        [&[0x30, len + 4, 0x30, len + 2, 0x06, len], &oid[..]].concat()
    };
    let application = || oid("1.3.6.1.4.1.311.21.10");
    let client_auth = policies(&[0x05, 0x05, 0x07, 0x03, 0x02]);
    let request_agent = policies(&[0x04, 0x01, 0x82, 0x37, 0x14, 0x02, 0x01]);
    assert_eq!(scene.check(&scene.issue(|b| as_planned(b).extension(application(), false, &client_auth))), None);
    for value in [&request_agent[..], &[0x30, 0x03, 0x02, 0x01, 0x01]] {
        let wider = scene.issue(|b| as_planned(b).extension(application(), false, value));
        assert_eq!(scene.check(&wider), Some(Mismatch::ExtendedKeyUsage));
    }
    // clientAuth and 2.5.29.37.4294967296, which is anyExtendedKeyUsage when the last arc is cut to 32 bits.
    let mut usages = vec![0x30, 20, 0x06, 8, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];
    usages.extend_from_slice(&[0x06, 8, 0x55, 0x1d, 0x25, 0x90, 0x80, 0x80, 0x80, 0x00]);
    let overlong = scene.issue(|b| as_planned(b).extended_key_usage(&[]).extension(oid("2.5.29.37"), false, &usages));
    assert_eq!(scene.check(&overlong), Some(Mismatch::ExtendedKeyUsage));
}
