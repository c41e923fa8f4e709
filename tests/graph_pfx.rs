//! Graph's `userPfxCertificates` from the admin's side: calls, checks before the upload, and what is sent.
//!
//! Rows of Microsoft's unit tests are named in the comments. `INTUNE_CONNECTOR_WRITE_GOLDEN=1` rewrites the golden files.

#![cfg(all(feature = "graph", feature = "ring", feature = "aws-lc-rs", feature = "legacy-ciphers"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/graph_lab.rs"]
mod graph_lab;
#[path = "support/pki.rs"]
mod pki;
#[path = "support/scan.rs"]
mod scan;

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use graph_lab::{CERTIFICATES, Fault, GRAPH, GraphLab, Tokens, error, reply};
use intune_connector::adapters::VirtualRuntime;
use intune_connector::adapters::graph::{
    CheckedPfx, GraphError, GraphErrorKind, GraphPfx, GraphSettings, ImportKey, ImportKeyError, IntendedPurpose, PasswordEncoding,
    PfxCandidate, PfxChecks, PfxFilter, PfxId, PfxProblem, PfxRefused, Removal, Strictness, UserPfxCertificate,
};
use intune_connector::adapters::http::{HttpMethod, HttpResponse};
use intune_connector::crypto::{CryptoProvider, DecryptionKey, unwrap_now};
use intune_connector::ids::Thumbprint;
use intune_connector::message::certificate::CertificateBuilder;
use intune_connector::message::pfx::{PfxBuilder, PfxErrorKind, PfxIdentity, TrustedCertificate};
use intune_connector::message::public_key::RsaPublicKey;
use intune_connector::message::reencrypt::{LegacyPadding, PasswordOpening};
use intune_connector::ports::{PortError, PortErrorKind, Runtime as _};
use intune_connector::retry::{Effect, Retry};
use intune_connector::secret::{Password, SecretBytes};
use intune_connector::terms::{KeyAlgorithm, KeyUsage, PaddingScheme, PfxProfile, SubjectAltName, oids};
use intune_connector::time::Timestamp;
use pki::{DAY, Identity};
use scan::{Marker, Report};
use serde_json::{Value, json};

const UPN: &str = "anna@contoso.example";
const PASSWORD: &str = "correct-horse-battery-staple";

static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(CryptoProvider::ring_and_aws_lc_rs);
static ROOT: LazyLock<Identity> = LazyLock::new(|| pki::root(&PROVIDER, "Mail CA"));
static IMPORT: LazyLock<Arc<dyn DecryptionKey>> = LazyLock::new(|| {
    let key = PROVIDER.key_generation().unwrap().generate(KeyAlgorithm::Rsa2048).unwrap();
    PROVIDER.decryption_keys().unwrap().load(&key).unwrap()
});

fn import_key() -> ImportKey {
    let public = RsaPublicKey::from_spki(&IMPORT.public_key()).unwrap();
    ImportKey::read(public.to_pem().as_bytes(), "Contoso HSM Provider", "pfx-import-2026").unwrap()
}

fn mail_usage(builder: CertificateBuilder) -> CertificateBuilder {
    builder
        .key_usage(KeyUsage { key_agreement: true, ..KeyUsage::SIGN_AND_ENCIPHER })
        .extended_key_usage(&[oids::EMAIL_PROTECTION.parse().unwrap()])
        .subject_alt_names(&[SubjectAltName::Email("Anna@Contoso.example".to_owned())])
}

fn mail_leaf() -> Identity {
    pki::leaf(&PROVIDER, &ROOT, "CN=Anna", KeyAlgorithm::EcP256, mail_usage)
}

fn pfx_of(identity: &Identity, password: &str) -> SecretBytes {
    PfxBuilder::new(PfxProfile::Modern)
        .key(&identity.key)
        .certificate(&identity.certificate)
        .chain([&ROOT.certificate])
        .iterations(2_000)
        .build(&Password::from(password), &PROVIDER)
        .unwrap()
}

fn thumbprint(der: &[u8]) -> Thumbprint {
    intune_connector::message::certificate::Certificate::from_der(der, &Default::default()).unwrap().thumbprint(&PROVIDER).unwrap()
}

fn check_with(
    checks: &PfxChecks,
    pfx: &SecretBytes,
    password: &str,
    upn: &str,
    purpose: IntendedPurpose,
) -> Result<CheckedPfx, PfxRefused> {
    checks.run(&PfxCandidate::new(pfx, &password.into(), upn, purpose), &PROVIDER, Timestamp::system_now())
}

fn check(pfx: &SecretBytes, password: &str) -> Result<CheckedPfx, PfxRefused> {
    check_with(&PfxChecks::new(import_key()), pfx, password, UPN, IntendedPurpose::SmimeEncryption)
}

fn problems(outcome: Result<CheckedPfx, PfxRefused>) -> Vec<PfxProblem> {
    outcome.unwrap_err().problems
}

/// A certificate ready to be sent, with its password decryptable by `IMPORT`.
fn sealed() -> UserPfxCertificate {
    sealed_for(UPN)
}

fn sealed_for(upn: &str) -> UserPfxCertificate {
    let pfx = pfx_of(&mail_leaf(), PASSWORD);
    check_with(&PfxChecks::new(import_key()), &pfx, PASSWORD, upn, IntendedPurpose::SmimeEncryption).unwrap().seal(pfx)
}

fn decrypt(base64: &str, scheme: PaddingScheme) -> Vec<u8> {
    let opening = PasswordOpening::new(unbase64(base64), scheme, LegacyPadding::Refuse, &PROVIDER).unwrap();
    let unwrapped = unwrap_now(IMPORT.as_ref(), opening.unwrap_request());
    opening.finish(unwrapped).unwrap().password().secret_bytes().to_vec()
}

fn unbase64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |byte| DIGITS.iter().position(|digit| *digit == byte).unwrap() as u32;
    let digits: Vec<u32> = text.bytes().filter(|byte| *byte != b'=').map(digit).collect();
    let mut out = Vec::new();
    for group in digits.chunks(4) {
        let word = group.iter().fold(0, |word, digit| word << 6 | digit) << (6 * (4 - group.len()));
        out.extend_from_slice(&word.to_be_bytes()[1..group.len()]);
    }
    out
}

struct Bench {
    lab: Arc<GraphLab>,
    tokens: Arc<Tokens>,
    runtime: VirtualRuntime,
    client: GraphPfx,
}

fn bench_with(settings: GraphSettings) -> Bench {
    let (lab, tokens) = (GraphLab::new(), Arc::new(Tokens::default()));
    let runtime = VirtualRuntime::new(Timestamp::from_secs(784_111_777));
    let client = GraphPfx::new(lab.clone(), tokens.clone(), Arc::new(runtime.clone()), PROVIDER.clone(), settings).unwrap();
    lab.user(UPN);
    Bench { lab, tokens, runtime, client }
}

fn bench() -> Bench {
    bench_with(GraphSettings::global())
}

impl Bench {
    fn block<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future).unwrap()
    }

    fn create(&self, certificate: &UserPfxCertificate) -> Result<intune_connector::adapters::graph::Created, GraphError> {
        self.block(self.client.create(certificate))
    }

    fn list(&self) -> Result<Vec<intune_connector::adapters::graph::PfxRecord>, GraphError> {
        self.block(self.client.list(PfxFilter::All))
    }
}

fn record(number: usize, upn: &str) -> Value {
    json!({ "id": format!("user-{number:040}"), "thumbprint": format!("{number:040}"), "userPrincipalName": upn, "intendedPurpose": "smimeSigning" })
}

// ---- the PFX object (Microsoft's unit tests)

#[test]
fn the_padding_none_is_refused_and_the_default_is_oaep_sha512_which_decrypts() {
    for retired in ["none", "pkcs1", "Pkcs1", "oaepSha1", "pss"] {
        assert!(matches!(import_key().with_padding(retired), Err(ImportKeyError::Padding(_))), "{retired}");
    }
    let bench = bench();
    bench.create(&sealed()).unwrap();
    let body = &bench.lab.records()[0];
    assert_eq!(body["paddingScheme"], "oaepSha512");
    assert_eq!(decrypt(body["encryptedPfxPassword"].as_str().unwrap(), PaddingScheme::OaepSha512), PASSWORD.as_bytes());
}

#[test]
fn oaep_with_sha256_sha384_and_sha512_decrypts_to_the_password() {
    let schemes =
        [("oaepSha256", PaddingScheme::OaepSha256), ("OaepSha384", PaddingScheme::OaepSha384), ("oaepSha512", PaddingScheme::OaepSha512)];
    for (name, scheme) in schemes {
        let bench = bench();
        let pfx = pfx_of(&mail_leaf(), PASSWORD);
        let checks = PfxChecks::new(import_key().with_padding(name).unwrap());
        let checked = check_with(&checks, &pfx, PASSWORD, UPN, IntendedPurpose::SmimeSigning).unwrap();
        bench.create(&checked.seal(pfx)).unwrap();
        let body = &bench.lab.records()[0];
        assert!(body["paddingScheme"].as_str().unwrap().eq_ignore_ascii_case(name));
        assert_eq!(decrypt(body["encryptedPfxPassword"].as_str().unwrap(), scheme), PASSWORD.as_bytes(), "{name}");
    }
}

#[test]
fn the_blob_is_base64_of_the_file_as_it_is() {
    let bench = bench();
    let file = std::fs::read("examples/connector/imported/openssl-modern.p12").unwrap();
    let pfx = SecretBytes::copy_from(&file);
    bench.create(&check(&pfx, "import-me").unwrap().seal(pfx)).unwrap();
    let blob = bench.lab.records()[0]["encryptedPfxBlob"].as_str().unwrap().to_owned();
    assert_eq!(unbase64(&blob), file);
    assert_eq!(blob, scan::base64(&file));
}

#[test]
fn a_file_that_is_no_pfx_is_refused() {
    for file in [&b"no certificate"[..], b"", b"-----BEGIN CERTIFICATE-----", &ROOT.certificate] {
        let refused = check(&SecretBytes::copy_from(file), PASSWORD).unwrap_err();
        assert!(matches!(refused.problems[..], [PfxProblem::DoesNotOpen { kind: PfxErrorKind::Damaged, .. }]), "{refused:?}");
        assert_eq!(refused.thumbprint, None);
    }
}

#[test]
fn a_wrong_password_is_refused() {
    let refused = check(&pfx_of(&mail_leaf(), "1234"), "12345").unwrap_err();
    assert!(matches!(refused.problems[..], [PfxProblem::DoesNotOpen { kind: PfxErrorKind::WrongPassword, .. }]), "{refused:?}");
    let another = SecretBytes::new(std::fs::read("examples/connector/imported/wrong-password.p12").unwrap());
    assert!(check(&another, "import-me").unwrap_err().to_string().contains("password is wrong"));
}

#[test]
fn a_key_needs_the_names_by_which_its_connector_finds_it() {
    let pem = import_key().public().to_pem();
    for (provider, key) in [("", "k"), ("  ", "k"), ("p", ""), ("p\n", "k"), ("p", &"k".repeat(300))] {
        assert!(matches!(ImportKey::read(pem.as_bytes(), provider, key), Err(ImportKeyError::Name(_))), "{provider:?} {key:?}");
    }
}

// ---- checks before the upload

#[test]
fn passwords_are_as_long_as_key_and_hash_allow_and_no_longer() {
    for (padding, max) in [("oaepSha256", 190), ("oaepSha384", 158), ("oaepSha512", 126)] {
        let key = import_key().with_padding(padding).unwrap();
        assert_eq!(key.max_password_len(), max);
        let checks = PfxChecks::new(key);
        let longest = "x".repeat(max);
        check_with(&checks, &pfx_of(&mail_leaf(), &longest), &longest, UPN, IntendedPurpose::SmimeEncryption).unwrap();
        let longer = "x".repeat(max + 1);
        let outcome = check_with(&checks, &pfx_of(&mail_leaf(), &longer), &longer, UPN, IntendedPurpose::SmimeEncryption);
        assert_eq!(problems(outcome), [PfxProblem::PasswordTooLong { max }], "{padding}");
    }
}

#[test]
fn a_key_of_1024_bits_carries_nothing_with_sha512() {
    let mut modulus = vec![0xC1; 128];
    modulus[127] = 0x0D;
    let words = [0x3141_5352u32, 1_024, 3, 128, 0, 0];
    let blob = [words.iter().flat_map(|word| word.to_le_bytes()).collect(), vec![1, 0, 1], modulus].concat();
    let error = ImportKey::read(&blob, "p", "k").unwrap_err();
    assert_eq!(error, ImportKeyError::TooSmall { bits: 1_024, padding: "oaepSha512" });
    assert!(error.to_string().contains("2048"), "{error}");
}

#[test]
fn key_files_are_read_as_pem_and_as_blob_and_a_private_or_cut_one_is_named() {
    let public = import_key().public().clone();
    let blob = public.to_cng_public_blob();
    let pem_with_text = format!("exported by hand\n{}", public.to_pem());
    for form in [public.to_pem().into_bytes(), blob.clone(), public.spki().to_vec(), pem_with_text.into_bytes()] {
        assert_eq!(ImportKey::read(&form, "p", "k").unwrap().public().modulus(), public.modulus());
    }
    let mut odd = blob.clone();
    odd[16] = 128; // the length of a prime, which says nothing in a public blob
    assert!(ImportKey::read(&odd, "p", "k").is_ok());
    for digit in [b'2', b'3'] {
        let mut private = blob.clone();
        private[3] = digit;
        assert!(ImportKey::read(&private, "p", "k").unwrap_err().to_string().contains("private key"));
    }
    for cut in [&blob[..20], &blob[..blob.len() - 1]] {
        assert!(ImportKey::read(cut, "p", "k").unwrap_err().to_string().contains("shorter"));
    }
    let broken = public.to_pem().replace("-----END", "-----FIN");
    let told = ImportKey::read(broken.as_bytes(), "p", "k").unwrap_err().to_string();
    assert!(told.contains("END line"), "not as Microsoft's module, which takes it for a blob: {told}");
}

#[test]
fn a_password_that_is_not_ascii_is_refused_unless_an_encoding_is_chosen() {
    let password = "pässword-ü-1234";
    let pfx = pfx_of(&mail_leaf(), password);
    assert_eq!(problems(check(&pfx, password)), [PfxProblem::PasswordNotAscii]);
    for (encoding, bytes) in [
        (PasswordEncoding::Utf8, password.as_bytes().to_vec()),
        (PasswordEncoding::Latin1, password.chars().map(|character| character as u8).collect()),
    ] {
        let checks = PfxChecks::new(import_key()).with_password_encoding(encoding);
        let checked = check_with(&checks, &pfx, password, UPN, IntendedPurpose::SmimeEncryption).unwrap();
        let bench = bench();
        bench.create(&checked.seal(SecretBytes::copy_from(pfx.secret_bytes()))).unwrap();
        assert_eq!(decrypt(bench.lab.records()[0]["encryptedPfxPassword"].as_str().unwrap(), PaddingScheme::OaepSha512), bytes);
    }
    assert!(problems(check(&pfx, "")).contains(&PfxProblem::PasswordEmpty));
}

#[test]
fn files_of_openssl_nss_and_java_in_aes_and_in_3des_pass() {
    for name in ["openssl-modern", "openssl-legacy", "openssl-ec", "nss", "keytool"] {
        let pfx = SecretBytes::new(std::fs::read(format!("examples/connector/imported/{name}.p12")).unwrap());
        let user = name.trim_start_matches("openssl-").replace("modern", "openssl");
        let upn = format!("{user}@example.test");
        let checks = PfxChecks::new(import_key());
        let checked = check_with(&checks, &pfx, "import-me", &upn, IntendedPurpose::SmimeSigning).unwrap();
        assert_eq!(checked.warnings, [], "{name}");
    }
}

#[test]
fn the_thumbprint_is_the_leafs_also_when_the_chain_comes_first() {
    let leaf = mail_leaf();
    let checked = check(&pfx_of(&leaf, PASSWORD), PASSWORD).unwrap();
    assert_eq!(checked.thumbprint, thumbprint(&leaf.certificate));
    assert_ne!(checked.thumbprint, thumbprint(&ROOT.certificate));
    let pfx = pfx_of(&leaf, PASSWORD);
    let password = Password::from(PASSWORD);
    let candidate = PfxCandidate::new(&pfx, &password, UPN, IntendedPurpose::SmimeEncryption);
    let candidate = candidate.with_thumbprint(Some(thumbprint(&ROOT.certificate)));
    let refused = PfxChecks::new(import_key()).run(&candidate, &PROVIDER, Timestamp::system_now()).unwrap_err();
    assert!(matches!(refused.problems[..], [PfxProblem::OtherCertificate { found, .. }] if found == checked.thumbprint));
}

#[test]
fn a_file_with_two_keys_or_none_is_refused_and_says_which() {
    let (one, two) = (mail_leaf(), mail_leaf());
    let both = PfxBuilder::new(PfxProfile::Modern)
        .identity(PfxIdentity::new(&one.key, &one.certificate))
        .identity(PfxIdentity::new(&two.key, &two.certificate))
        .iterations(2_000)
        .build(&Password::from(PASSWORD), &PROVIDER)
        .unwrap();
    let problems = problems(check(&both, PASSWORD));
    let [PfxProblem::SeveralIdentities { thumbprints }] = &problems[..] else { panic!("{problems:?}") };
    for identity in [&one, &two] {
        let thumbprint = thumbprint(&identity.certificate);
        assert!(thumbprints.contains(&thumbprint) && problems[0].to_string().contains(&thumbprint.to_string()));
    }
    let strangers = PfxBuilder::new(PfxProfile::Modern).identity(PfxIdentity::new(&one.key, &two.certificate));
    assert!(strangers.iterations(2_000).build(&Password::from(PASSWORD), &PROVIDER).is_err(), "a key with another's certificate");
    let certificates = PfxBuilder::new(PfxProfile::Modern)
        .trusted_certificate(TrustedCertificate::new(&ROOT.certificate))
        .iterations(2_000)
        .build(&Password::from(PASSWORD), &PROVIDER)
        .unwrap();
    let none = self::problems(check(&certificates, PASSWORD));
    assert_eq!(none, [PfxProblem::NoIdentity { keys: 0, certificates: 1 }]);
}

#[test]
fn a_file_without_mac_is_refused_for_the_right_and_for_a_wrong_password() {
    let pfx = SecretBytes::new(pki::without_mac(pfx_of(&mail_leaf(), PASSWORD).secret_bytes()));
    assert_eq!(problems(check(&pfx, PASSWORD)), [PfxProblem::NoMac]);
    let wrong = problems(check(&pfx, "a-guess"));
    assert!(matches!(wrong[..], [PfxProblem::NoMac | PfxProblem::DoesNotOpen { .. }]), "{wrong:?}");
}

#[test]
fn dates_are_refused_or_warned_of_as_configured() {
    let now = Timestamp::system_now();
    let valid = |from, to| pfx_of(&pki::leaf_valid(&PROVIDER, &ROOT, "CN=Anna", KeyAlgorithm::EcP256, from, to, mail_usage), PASSWORD);
    let over = valid(now.saturating_sub(30 * DAY), now.saturating_sub(DAY));
    let early = valid(now.saturating_add(DAY), now.saturating_add(30 * DAY));
    assert!(matches!(problems(check(&over, PASSWORD))[..], [PfxProblem::Expired(_)]));
    assert!(matches!(problems(check(&early, PASSWORD))[..], [PfxProblem::NotYetValid(_)]));
    let lenient = PfxChecks::new(import_key()).with_expired(Strictness::Warn).with_not_yet_valid(Strictness::Warn);
    for pfx in [over, early] {
        let checked = check_with(&lenient, &pfx, PASSWORD, UPN, IntendedPurpose::SmimeEncryption).unwrap();
        assert!(matches!(checked.warnings[..], [PfxProblem::Expired(_) | PfxProblem::NotYetValid(_)]));
    }
}

#[test]
fn a_purpose_that_the_service_has_not_is_refused_and_one_that_the_certificate_has_not_is_warned_of() {
    let checks = PfxChecks::new(import_key());
    let mail = pfx_of(&mail_leaf(), PASSWORD);
    let purpose = |pfx: &SecretBytes, upn: &str, purpose| check_with(&checks, pfx, PASSWORD, upn, purpose);
    assert_eq!(problems(purpose(&mail, UPN, IntendedPurpose::Vpn)), [PfxProblem::PurposeUnsupported(IntendedPurpose::Vpn)]);
    assert_eq!(purpose(&mail, UPN, IntendedPurpose::Unassigned).unwrap().warnings, [PfxProblem::PurposeUnassigned]);
    assert_eq!(purpose(&mail, UPN, IntendedPurpose::SmimeSigning).unwrap().warnings, []);
    let wifi = purpose(&mail, UPN, IntendedPurpose::Wifi).unwrap().warnings;
    assert_eq!(wifi, [PfxProblem::ExtendedKeyUsage("clientAuth", IntendedPurpose::Wifi)]);
    let other = purpose(&mail, "bert@contoso.example", IntendedPurpose::SmimeEncryption).unwrap().warnings;
    assert_eq!(other, [PfxProblem::MailAddress("bert@contoso.example".to_owned())]);
    let client = pki::leaf(&PROVIDER, &ROOT, "CN=Anna", KeyAlgorithm::Rsa2048, |builder| {
        builder
            .key_usage(KeyUsage { digital_signature: true, ..KeyUsage::default() })
            .extended_key_usage(&[oids::CLIENT_AUTH.parse().unwrap()])
    });
    let warnings = purpose(&pfx_of(&client, PASSWORD), UPN, IntendedPurpose::SmimeEncryption).unwrap().warnings;
    assert_eq!(
        warnings,
        [
            PfxProblem::KeyUsage("keyEncipherment", IntendedPurpose::SmimeEncryption),
            PfxProblem::ExtendedKeyUsage("emailProtection", IntendedPurpose::SmimeEncryption),
            PfxProblem::MailAddress(UPN.to_owned()),
        ]
    );
    let ca = pki::leaf(&PROVIDER, &ROOT, "CN=Sub", KeyAlgorithm::EcP256, |builder| mail_usage(builder).ca(None));
    assert_eq!(problems(check(&pfx_of(&ca, PASSWORD), PASSWORD)), [PfxProblem::CaCertificate]);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let now = Timestamp::system_now();
    let old =
        pki::leaf_valid(&PROVIDER, &ROOT, "CN=Anna", KeyAlgorithm::EcP256, now.saturating_sub(9 * DAY), now.saturating_sub(DAY), |b| b);
    let password = "ä".repeat(8);
    let refused = check_with(&PfxChecks::new(import_key()), &pfx_of(&old, &password), &password, "anna", IntendedPurpose::Vpn).unwrap_err();
    assert!(
        matches!(
            refused.problems[..],
            [PfxProblem::UserPrincipalName, PfxProblem::PurposeUnsupported(_), PfxProblem::PasswordNotAscii, PfxProblem::Expired(_)]
        ),
        "{refused:?}"
    );
    assert_eq!(refused.thumbprint, Some(thumbprint(&old.certificate)));
}

// ---- what is sent

#[test]
fn the_body_of_a_create_is_the_golden_one() {
    let bench = bench();
    let pfx = SecretBytes::new(std::fs::read("examples/connector/imported/openssl-modern.p12").unwrap());
    let blob = scan::base64(pfx.secret_bytes());
    let checks = PfxChecks::new(import_key());
    let checked = check_with(&checks, &pfx, "import-me", "O'Hara\"Jo\"@contoso.example", IntendedPurpose::SmimeEncryption);
    let certificate = checked.unwrap().seal(pfx);
    let _ = bench.create(&certificate);
    let _ = bench.block(bench.client.update(&"user-1".parse().unwrap(), &certificate));
    for (method, name) in [(HttpMethod::Post, "create.json"), (HttpMethod::Patch, "update.json")] {
        let seen = bench.lab.seen().into_iter().find(|seen| seen.method == method).unwrap();
        let raw = String::from_utf8(seen.raw).unwrap();
        let password = seen.body.unwrap()["encryptedPfxPassword"].as_str().unwrap().to_owned();
        assert_eq!(unbase64(&password).len(), 256);
        // The one differs each time, the other is long: both are compared elsewhere.
        let fixed = raw.replace(&password, "(password)").replace(&blob, "(file)") + "\n";
        let path = Path::new("tests/golden/graph").join(name);
        if std::env::var_os("INTUNE_CONNECTOR_WRITE_GOLDEN").is_some_and(|value| value == "1") {
            std::fs::create_dir_all("tests/golden/graph").unwrap();
            std::fs::write(&path, &fixed).unwrap();
        }
        assert_eq!(fixed, std::fs::read_to_string(&path).unwrap(), "{name}");
    }
}

#[test]
fn an_upn_with_an_apostrophe_finds_its_own_records_and_no_others() {
    let bench = bench();
    let upn = "O'Hara@contoso.example";
    bench.lab.user(upn);
    bench.lab.put(record(1, "x@contoso.example"));
    let created = bench.create(&sealed_for(upn)).unwrap();
    let found = bench.block(bench.client.list(PfxFilter::User("o'hara@CONTOSO.example".to_owned()))).unwrap();
    assert_eq!(found, std::slice::from_ref(&created.record));
    assert_eq!(bench.block(bench.client.find(upn, created.record.thumbprint.unwrap())).unwrap(), Some(created.record.clone()));
    let user = bench.block(bench.client.user_id(upn)).unwrap();
    assert_eq!(PfxId::of(&user, created.record.thumbprint.unwrap()), created.record.id);
    // What would list everything if it were not escaped.
    let injection = "x' or userPrincipalName ne '@contoso.example".to_owned();
    assert_eq!(bench.block(bench.client.list(PfxFilter::User(injection))).unwrap(), []);
    assert!(bench.lab.seen().iter().all(|seen| !seen.url.contains('\'') && !seen.url.contains(' ')));
    assert!(bench.lab.seen().iter().any(|seen| seen.url.contains("%27o%27%27hara%40contoso.example%27")));
}

#[test]
fn an_unknown_upn_is_named() {
    let bench = bench();
    let error = bench.block(bench.client.user_id("nobody@contoso.example")).unwrap_err();
    assert_eq!((error.kind(), error.effect()), (GraphErrorKind::NotFound, Effect::None));
    assert!(error.to_string().contains("no user with the UPN nobody@contoso.example"), "{error}");
}

#[test]
fn a_key_is_quoted_in_an_update_and_a_delete_ends_with_204() {
    let bench = bench();
    let certificate = sealed();
    let id = bench.create(&certificate).unwrap().record.id;
    assert!(bench.block(bench.client.update(&id, &certificate)).unwrap().unwrap().starts_with("request-"));
    let seen = bench.lab.seen();
    let update = seen.last().unwrap();
    assert_eq!(update.url, format!("{GRAPH}{CERTIFICATES}(%27{id}%27)"));
    assert!(update.body.as_ref().unwrap().get("createdDateTime").is_none());
    assert_eq!(bench.block(bench.client.delete(&id)).unwrap(), Removal::Deleted);
    assert_eq!(bench.block(bench.client.delete(&id)).unwrap(), Removal::NotThere);
    assert_eq!(bench.lab.records().len(), 0);
    let error = bench.block(bench.client.update(&id, &certificate)).unwrap_err();
    assert_eq!(error.kind(), GraphErrorKind::NotFound);
}

// ---- paging

#[test]
fn all_pages_are_read() {
    let bench = bench();
    (0..7).for_each(|number| bench.lab.put(record(number, UPN)));
    assert_eq!(bench.list().unwrap().len(), 7);
    assert_eq!(bench.lab.count(HttpMethod::Get), 4);
    let mut pages = bench.client.pages(PfxFilter::All);
    let sizes: Vec<usize> = std::iter::from_fn(|| bench.block(pages.next()).unwrap().map(|page| page.len())).collect();
    assert_eq!(sizes, [2, 2, 2, 1]);
}

#[test]
fn a_link_to_another_host_scheme_or_port_or_in_a_circle_is_not_followed() {
    for link in [
        "https://graph.microsoft.com.evil.example/beta/x",
        "http://graph.microsoft.com/beta/x",
        "https://graph.microsoft.com:8443/beta/x",
        "https://user:pw@graph.microsoft.com/beta/x",
        "https://graph.microsoft.com@evil.example/x",
        "/beta/x",
        "",
        &format!("{GRAPH}{CERTIFICATES}"),
    ] {
        let bench = bench();
        let page = reply(200, &json!({ "value": [], "@odata.nextLink": link }));
        bench.lab.then(HttpMethod::Get, Fault::Answer(page));
        let error = bench.list().unwrap_err();
        assert_eq!(error.kind(), GraphErrorKind::Answer, "{link}");
        assert_eq!(bench.lab.seen().len(), 1, "{link}");
    }
}

#[test]
fn a_listing_is_bounded_and_never_cut_off_silently() {
    let mut few = GraphSettings::global();
    few.max_pages = 2;
    let bench = bench_with(few.clone());
    (0..5).for_each(|number| bench.lab.put(record(number, UPN)));
    assert!(bench.list().unwrap_err().to_string().contains("max_pages"));
    few.max_pages = 10;
    few.max_records = 3;
    let bench = bench_with(few);
    (0..5).for_each(|number| bench.lab.put(record(number, UPN)));
    assert!(bench.list().unwrap_err().to_string().contains("max_records"));
}

#[test]
fn a_page_that_failed_is_asked_for_again() {
    let bench = bench();
    (0..3).for_each(|number| bench.lab.put(record(number, UPN)));
    let mut pages = bench.client.pages(PfxFilter::All);
    bench.lab.then(HttpMethod::Get, Fault::Answer(error(400, "BadRequest", "no")));
    assert!(bench.block(pages.next()).is_err());
    assert_eq!(bench.block(pages.next()).unwrap().unwrap().len(), 2);
    assert_eq!(bench.block(pages.next()).unwrap().unwrap().len(), 1);
    assert_eq!(bench.block(pages.next()).unwrap(), None);
}

#[test]
fn what_is_no_listing_is_an_error() {
    for body in [r#"{"value":"x"}"#, r#"{"code":"x"}"#, "[]", "", "<html>", r#"{"value":[{"thumbprint":"x"}]}"#] {
        let bench = bench();
        bench.lab.then(HttpMethod::Get, Fault::Answer(HttpResponse::new(200, body.as_bytes().to_vec())));
        let error = bench.list().unwrap_err();
        assert_eq!(error.kind(), GraphErrorKind::Answer, "{body}");
        assert_eq!(error.request_id(), Some("request-1"));
    }
}

// ---- waits

#[test]
fn a_429_is_waited_for_as_it_says_in_every_form() {
    let date = "Sun, 06 Nov 1994 08:51:07 GMT"; // 90 s after the clock of the bench
    for (name, value, millis) in
        [("Retry-After", "7", 7_000), ("Retry-After", date, 90_000), ("x-ms-retry-after-ms", "1500", 1_500), ("none", "", 2_000)]
    {
        let bench = bench();
        for method in [HttpMethod::Get, HttpMethod::Post] {
            bench.lab.then(method, Fault::Answer(error(429, "TooManyRequests", "slow down").with_header(name, value)));
        }
        bench.list().unwrap();
        assert_eq!(bench.runtime.monotonic(), Duration::from_millis(millis), "{name} {value}");
        // What was refused so was not done: it is sent again at once, without a search.
        let before = bench.lab.count(HttpMethod::Get);
        assert!(!bench.create(&sealed()).unwrap().found);
        assert_eq!((bench.lab.count(HttpMethod::Post), bench.lab.count(HttpMethod::Get)), (2, before));
    }
}

#[test]
fn a_wait_that_is_too_long_is_told_and_not_waited() {
    let bench = bench();
    bench.lab.then(HttpMethod::Get, Fault::Answer(error(429, "TooManyRequests", "no").with_header("Retry-After", "3600")));
    let error = bench.list().unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (GraphErrorKind::Throttled, Some(Duration::from_secs(3_600))));
    assert_eq!(bench.runtime.monotonic(), Duration::ZERO);
    let port = PortError::from(error);
    assert_eq!((port.kind(), port.retry()), (PortErrorKind::Throttled, Retry::After(Duration::from_secs(3_600))));
}

#[test]
fn attempts_are_counted_and_end() {
    let bench = bench();
    for _ in 0..20 {
        bench.lab.then(HttpMethod::Get, Fault::Answer(HttpResponse::new(502, b"<html><title>Bad Gateway</title></html>".to_vec())));
    }
    let error = bench.list().unwrap_err();
    assert_eq!((error.kind(), error.status()), (GraphErrorKind::Unavailable, Some(502)));
    assert!(error.to_string().contains("Bad Gateway"), "{error}");
    assert_eq!(bench.lab.seen().len(), 6);
    let ids: std::collections::BTreeSet<String> = bench.lab.seen().into_iter().map(|seen| seen.client_request_id).collect();
    assert_eq!(ids.len(), 1, "one call has one id, however often it is sent");
}

// ---- tokens

#[test]
fn a_token_is_dropped_after_a_401_and_another_is_tried_once() {
    let bench = bench();
    bench.lab.demand("token-2-of-the-tests");
    bench.list().unwrap();
    assert_eq!((bench.tokens.refusals(), bench.lab.seen().len()), (1, 2));
    bench.lab.demand("another");
    let error = bench.list().unwrap_err();
    assert_eq!((error.kind(), error.status(), error.effect()), (GraphErrorKind::Denied, Some(401), Effect::None));
    assert_eq!(bench.lab.seen().len(), 4);
}

#[test]
fn a_403_names_the_permissions() {
    let bench = bench();
    for _ in 0..2 {
        bench.lab.then(HttpMethod::Post, Fault::Answer(error(403, "Forbidden", "Application is not authorized")));
    }
    let error = bench.create(&sealed()).unwrap_err();
    let told = error.to_string();
    for word in ["DeviceManagementConfiguration.ReadWrite.All", "User.Read.All", "admin consent", "Application is not authorized"] {
        assert!(told.contains(word), "{told}");
    }
    assert!(error.concerns_all() && bench.tokens.refusals() == 2);
    assert_eq!(PortError::from(error).kind(), PortErrorKind::Misconfigured);
}

#[test]
fn without_a_token_graph_is_not_contacted() {
    let bench = bench();
    bench.tokens.fail(PortError::misconfigured("the client secret is wrong"));
    let error = bench.list().unwrap_err();
    assert!(error.kind() == GraphErrorKind::Token && error.concerns_all() && error.to_string().contains("client secret"), "{error}");
    // No call was sent, so there is no id by which Microsoft would find it.
    assert_eq!((bench.lab.seen().len(), error.client_request_id()), (0, None));
    bench.tokens.fail(PortError::misconfigured("no token for the scope: the client secret is wrong"));
    assert_eq!(bench.list().unwrap_err().to_string(), "no token for the scope: the client secret is wrong");
    bench.tokens.fail(PortError::transient("no route"));
    bench.list().unwrap();
}

// ---- errors

#[test]
fn a_nested_error_is_unwrapped_and_has_its_ids() {
    let bench = bench();
    bench.lab.then(HttpMethod::Post, Fault::Answer(error(400, "BadRequest", "Certificate is malformed")));
    let error = bench.create(&sealed()).unwrap_err();
    let told = error.to_string();
    assert!(told.contains("BadRequest: Certificate is malformed") && told.contains("Activity ID: 5b2f6d0c"), "{told}");
    assert!(!told.contains("_version") && !told.contains('{'), "{told}");
    assert_eq!(error.request_id(), Some("request-1"));
    assert_eq!(error.client_request_id(), Some(&*bench.lab.seen()[0].client_request_id));
    assert!(told.contains("request-id request-1"), "{told}");
    for word in ["UPN", "licence", "provider"] {
        assert!(told.contains(word), "what is likely wrong is named: {told}");
    }
}

#[test]
fn a_bare_400_for_a_user_who_is_not_there_says_so() {
    let bench = bench();
    let error = bench.create(&sealed_for("nobody@contoso.example")).unwrap_err();
    assert_eq!((error.kind(), error.effect()), (GraphErrorKind::Refused, Effect::None));
    assert!(error.to_string().contains("the tenant has no user with the UPN nobody@contoso.example"), "{error}");
}

#[test]
fn graph_is_an_https_origin_unless_it_is_a_simulator_on_this_machine() {
    let make = |settings| {
        GraphPfx::new(
            GraphLab::new(),
            Arc::new(Tokens::default()),
            Arc::new(VirtualRuntime::new(Timestamp::default())),
            PROVIDER.clone(),
            settings,
        )
    };
    for bad in ["http://graph.microsoft.com", "http://127.0.0.1:8080", "graph.microsoft.com", "https://u:p@graph.microsoft.com", "ftp://x"]
    {
        assert_eq!(make(GraphSettings::at(bad)).unwrap_err().findings().len(), 1, "{bad}");
    }
    assert!(make(GraphSettings::at("http://127.0.0.1:8080/").dangerously_plain_http_on_loopback()).is_ok());
    assert!(make(GraphSettings::at("http://localhost:8080").dangerously_plain_http_on_loopback()).is_err(), "a name may lead elsewhere");
    let mut bad = GraphSettings::at("http://graph.example");
    (bad.version, bad.attempts) = ("../v1.0".to_owned(), 0);
    assert_eq!(make(bad).unwrap_err().findings().len(), 3, "all at once");
    assert!(make(GraphSettings::us_government()).is_ok() && make(GraphSettings::china()).is_ok());
}

// ---- nothing doubled

#[test]
fn a_create_whose_answer_is_lost_leads_to_one_record() {
    let bench = bench();
    bench.lab.then(HttpMethod::Post, Fault::LoseAnswer);
    let created = bench.create(&sealed()).unwrap();
    assert!(created.found);
    assert_eq!((bench.lab.records().len(), bench.lab.count(HttpMethod::Post)), (1, 1));
}

#[test]
fn a_create_that_is_lost_on_the_way_is_sent_again_after_a_search() {
    for fault in [Fault::LoseRequest, Fault::Answer(error(503, "ServiceUnavailable", "later").with_header("Retry-After", "9"))] {
        let bench = bench();
        bench.lab.then(HttpMethod::Post, fault);
        let created = bench.create(&sealed()).unwrap();
        assert!(!created.found);
        let order: Vec<HttpMethod> = bench.lab.seen().iter().map(|seen| seen.method).collect();
        assert_eq!(order, [HttpMethod::Post, HttpMethod::Get, HttpMethod::Post]);
        assert_eq!(bench.lab.records().len(), 1);
    }
}

#[test]
fn a_create_that_was_not_sent_is_sent_again_without_a_search() {
    let bench = bench();
    bench.lab.then(HttpMethod::Post, Fault::NoConnection);
    bench.create(&sealed()).unwrap();
    assert_eq!((bench.lab.count(HttpMethod::Post), bench.lab.count(HttpMethod::Get)), (2, 0));
}

#[test]
fn an_answer_that_says_nothing_of_the_record_has_it_looked_up() {
    let bench = bench();
    let certificate = sealed();
    bench.create(&certificate).unwrap();
    bench.lab.then(HttpMethod::Post, Fault::Answer(HttpResponse::new(201, Vec::new())));
    assert!(bench.create(&certificate).unwrap().found);
}

#[test]
fn a_create_that_nobody_answers_for_has_an_unknown_effect() {
    let bench = bench();
    bench.lab.then(HttpMethod::Post, Fault::LoseRequest);
    for _ in 0..6 {
        bench.lab.then(HttpMethod::Get, Fault::LoseRequest);
    }
    let error = bench.create(&sealed()).unwrap_err();
    assert_eq!((error.kind(), error.effect()), (GraphErrorKind::NoAnswer, Effect::Unknown));
    assert!(error.to_string().contains("the search for the record failed"), "{error}");
    assert_eq!(bench.lab.count(HttpMethod::Post), 1);
}

#[test]
fn a_record_that_is_there_already_is_a_conflict() {
    let bench = bench();
    let certificate = sealed();
    bench.create(&certificate).unwrap();
    let error = bench.create(&certificate).unwrap_err();
    assert_eq!((error.kind(), error.status()), (GraphErrorKind::Conflict, Some(409)));
    // After a lost answer the same 409 means that the first attempt did it.
    let bench = self::bench();
    bench.lab.then(HttpMethod::Post, Fault::LoseAnswer).then(HttpMethod::Get, Fault::Answer(reply(200, &json!({ "value": [] }))));
    assert!(bench.create(&certificate).unwrap().found);
    assert_eq!((bench.lab.records().len(), bench.lab.count(HttpMethod::Post)), (1, 2));
}

#[test]
fn an_update_and_a_delete_are_repeated() {
    let bench = bench();
    let certificate = sealed();
    let id = bench.create(&certificate).unwrap().record.id;
    bench.lab.then(HttpMethod::Patch, Fault::LoseAnswer).then(HttpMethod::Delete, Fault::LoseAnswer);
    bench.block(bench.client.update(&id, &certificate)).unwrap();
    assert_eq!(bench.block(bench.client.delete(&id)).unwrap(), Removal::NotThere);
    assert_eq!(bench.lab.records().len(), 0);
}

// ---- secrets

#[test]
fn secrets_are_in_no_debug_text_and_in_no_error() {
    let mut report = Report::new(vec![
        Marker::new("password", PASSWORD),
        Marker::new("token", "token-1-of-the-tests"),
        Marker::new("token", "token-2-of-the-tests"),
    ]);
    let leaf = mail_leaf();
    let pfx = pfx_of(&leaf, PASSWORD);
    report.marker(Marker::new("PFX", &pfx.secret_bytes()[100..140]));
    let bench = bench();
    let checks = PfxChecks::new(import_key());
    let password = Password::from(PASSWORD);
    let candidate = PfxCandidate::new(&pfx, &password, UPN, IntendedPurpose::SmimeEncryption);
    report.bytes("candidate", format!("{candidate:?} {checks:?}").as_bytes());
    let checked = checks.run(&candidate, &PROVIDER, Timestamp::system_now()).unwrap();
    report.bytes("checked", format!("{checked:?}").as_bytes());
    for refused in [check(&pfx, "wrong").unwrap_err(), check(&pfx_of(&leaf, &PASSWORD.repeat(9)), &PASSWORD.repeat(9)).unwrap_err()] {
        report.error("refused", &refused);
    }
    let certificate = checked.seal(SecretBytes::copy_from(pfx.secret_bytes()));
    report.bytes("certificate", format!("{certificate:?} {:?}", bench.client).as_bytes());
    // A service that repeats what it was sent.
    bench.create(&certificate).unwrap();
    let sent = String::from_utf8(bench.lab.seen()[0].raw.clone()).unwrap();
    let blob = bench.lab.records()[0]["encryptedPfxBlob"].as_str().unwrap().to_owned();
    for body in [sent.clone(), json!({ "error": { "code": "BadRequest", "message": sent } }).to_string(), format!("<p>{blob}")] {
        bench.lab.then(HttpMethod::Post, Fault::Answer(HttpResponse::new(400, body.into_bytes())));
        report.error("graph", &bench.create(&certificate).unwrap_err());
    }
    for fault in [Fault::LoseRequest, Fault::NoConnection] {
        bench.lab.then(HttpMethod::Get, fault);
    }
    bench.list().unwrap();
    report.finish();
}
