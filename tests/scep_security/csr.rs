//! What a device may ask for in its CSR, through the service: a refusal is told to the service behind the challenge, and the CA is not asked.

use std::process::Command;
use std::sync::atomic::Ordering;

use intune_connector::ids::Sid;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::{Certificate, CertificateBuilder};
use intune_connector::message::csr::CsrBuilder;
use intune_connector::message::name::Name;
use intune_connector::message::scep::{MessageType, PkiRequestBuilder, PkiStatus};
use intune_connector::ports::{Verdict, Vouched};
use intune_connector::scep::RenewalPolicy;
use intune_connector::secret::Password;
use intune_connector::terms::{KeyUsage, SubjectAltName, oids};
use rustls_pki_types::CertificateDer;

use crate::forge::{self, SHA256, Sealed, csr, csr_of_parts, extension, extension_request, key_trans, wrap};
use crate::make::{attribute, integer, oid, sequence, tlv};
use crate::scep_lab::{CHALLENGE, Client, Lab, TestCa, name, self_signed, shared_key};
use crate::support;
use crate::watched::{GRANTED, LocalService, NOT_VERIFIED, REFUSED, Watched, outcome};

const TEMPLATE: &str = "IntuneUser";
const SID: &str = "S-1-5-21-3623811015-3361044348-30300820-1013";

fn bmp(text: &str) -> Vec<u8> {
    tlv(0x1e, &[&text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>()])
}

fn ca_true() -> Vec<u8> {
    sequence(&[&tlv(1, &[&[0xff]])])
}

/// Sends a CSR whose challenge is good; it must be refused by that rule, and everybody whom it concerns be told.
fn refused_by(rule: &str, what: &str, csr: Vec<u8>) {
    let lab = Lab::new(|builder| builder.template(TEMPLATE.parse().unwrap()));
    let client = Client { csr, ..Client::new(shared_key(2), "CN=device", what) };
    let (message, to) = client.message(&lab.ra);
    let reply = client.reply(&lab.post(&message), &to, &lab.ra);
    assert_eq!((outcome(&reply), reply.fail_info_text()), (REFUSED, None), "{what}");
    assert_eq!(lab.codes(), [4003, 4004, 6, 4008, 4001], "{what}");
    let refusal = lab.sink.events().into_iter().find(|event| event.id.code() == 6).unwrap();
    assert_eq!(refusal.details.get("rule").map(String::as_str), Some(rule), "{what}: {refusal:?}");
    let admin = &lab.admin()[0];
    let detail = |name: &str| admin.details.get(name).map(String::as_str);
    assert_eq!((detail("stage"), detail("notified")), (Some("policy"), Some("true")), "{what}");
    assert_eq!((lab.validator.calls.load(Ordering::SeqCst), lab.ca.asks.load(Ordering::SeqCst)), (1, 0), "{what}");
    let told = lab.notifier.failures.lock().unwrap();
    assert_eq!(told.len(), 1, "{what}");
    assert_eq!(told[0].0, 0x8009_4012_u32 as i32, "{what}");
    assert!(lab.notifier.successes.lock().unwrap().is_empty());
    drop(told);
    // The same request again is not refused by chance alone.
    assert_eq!(outcome(&client.reply(&lab.post(&message), &to, &lab.ra)), REFUSED, "{what}");
    assert_eq!(lab.ca.asks.load(Ordering::SeqCst), 0, "{what}");
}

#[test]
fn csr_extensions_that_choose_for_the_ca_are_refused_and_the_service_is_told() {
    let key = shared_key(2);
    let subject = name("CN=device");
    let cases: &[(&str, &str, Vec<u8>)] = &[
        ("ca-certificate", "2.5.29.19", ca_true()),
        ("ca-certificate", "2.5.29.19", sequence(&[&tlv(1, &[&[0xff]]), &integer(&[0])])),
        ("csr-extension", "1.3.6.1.4.1.311.20.2", bmp("SubCA")),
        ("csr-extension", "1.3.6.1.4.1.311.20.2", bmp("intuneuser")),
        ("csr-extension", "1.3.6.1.4.1.311.20.2", bmp("IntuneUser\0")),
        ("csr-extension", "1.3.6.1.4.1.311.20.2", tlv(0x0c, &[TEMPLATE.as_bytes()])),
        ("csr-extension", "1.3.6.1.4.1.311.21.7", sequence(&[&oid("1.3.6.1.4.1.311.21.8.1"), &integer(&[100]), &integer(&[1])])),
        ("csr-extension", "1.3.6.1.4.1.311.21.8", sequence(&[])),
        ("csr-extension", "1.3.6.1.4.1.311.21.10", sequence(&[&sequence(&[&oid("1.3.6.1.4.1.311.20.2.1")])])),
        ("csr-extension", "1.3.6.1.4.1.311.21.1", integer(&[0])),
        ("csr-extension", "2.5.29.30", sequence(&[])),
        ("csr-extension", "2.5.29.31", sequence(&[])),
        ("csr-extension", "2.5.29.35", sequence(&[])),
        ("csr-extension", "2.5.29.36", sequence(&[])),
        ("csr-extension", "2.5.29.32", sequence(&[&sequence(&[&oid("2.5.29.32.0")])])),
        ("csr-extension", "1.3.6.1.5.5.7.1.1", sequence(&[])),
        ("csr-extension", "1.3.6.1.5.5.7.1.24", sequence(&[])),
        ("csr-extension", "1.2.3.4", vec![5, 0]),
        ("key-usage", "2.5.29.15", tlv(3, &[&[1, 0x06]])),
        ("extended-key-usage", "2.5.29.37", sequence(&[&oid(oids::ANY_EXTENDED_KEY_USAGE)])),
        ("extended-key-usage", "2.5.29.37", sequence(&[&oid(oids::CERTIFICATE_REQUEST_AGENT)])),
        ("extended-key-usage", "2.5.29.37", sequence(&[&oid(oids::SMART_CARD_LOGON)])),
    ];
    let usage = extension("2.5.29.37", &sequence(&[&oid(oids::CLIENT_AUTH)]));
    for (rule, kind, value) in cases {
        let asked = extension(kind, value);
        let extensions: Vec<&[u8]> = if *kind == "2.5.29.37" { vec![&asked] } else { vec![&asked, &usage] };
        // In both spellings of the attribute.
        for spelling in ["1.2.840.113549.1.9.14", "1.3.6.1.4.1.311.2.1.14"] {
            let attributes = attribute(spelling, &[&sequence(&extensions)]);
            refused_by(rule, &format!("{kind} {value:02x?} in {spelling}"), csr_of_parts(key, &subject, &attributes, key));
        }
    }
}

#[test]
fn csr_extensions_in_two_requests_at_once_are_not_read_at_all() {
    let watched = Watched::new(|builder| builder);
    let (key, usage) = (shared_key(2), extension("2.5.29.37", &sequence(&[&oid(oids::CLIENT_AUTH)])));
    let harmless = extension_request(&[&usage]);
    let ca = extension("2.5.29.19", &ca_true());
    for (what, attributes) in [
        ("one in each spelling", [harmless.clone(), attribute("1.3.6.1.4.1.311.2.1.14", &[&sequence(&[&ca])])].concat()),
        ("two", [harmless.clone(), extension_request(&[&ca])].concat()),
        ("two values", attribute("1.2.840.113549.1.9.14", &[&sequence(&[&usage]), &sequence(&[&ca])])),
        ("one extension twice", extension_request(&[&usage, &usage])),
        ("two challenges", [harmless, attribute("1.2.840.113549.1.9.7", &[&tlv(0x13, &[b"another"])])].concat()),
    ] {
        let csr = csr_of_parts(key, &name("CN=device"), &attributes, key);
        let client = Client { csr, ..Client::new(key, "CN=device", what) };
        let (message, to) = client.message(&watched.lab.ra);
        assert_eq!(outcome(&client.reply(&watched.post(&message), &to, &watched.lab.ra)), NOT_VERIFIED, "{what}");
    }
    assert_eq!(watched.asked(), (0, 0));
}

#[test]
fn csr_extensions_in_odd_encodings_get_no_certificate() {
    let watched = Watched::new(|builder| builder);
    let key = shared_key(2);
    let usage = extension("2.5.29.37", &sequence(&[&oid(oids::CLIENT_AUTH)]));
    let ca = |octets: &[u8]| ("2.5.29.19", octets.to_vec());
    let use_of_key = |octets: &[u8]| ("2.5.29.15", octets.to_vec());
    for (what, (kind, value)) in [
        ("TRUE as BER may have it", ca(&[0x30, 3, 1, 1, 1])),
        ("TRUE of two octets", ca(&[0x30, 4, 1, 2, 0, 0xff])),
        ("an open length", ca(&[0x30, 0x80, 1, 1, 0xff, 0, 0])),
        ("a length in more octets than needed", ca(&[0x30, 0x81, 3, 1, 1, 0xff])),
        ("something behind", ca(&[0x30, 0, 0x30, 3, 1, 1, 0xff])),
        ("the wrong order", ca(&[0x30, 6, 2, 1, 0, 1, 1, 0xff])),
        ("both", ca(&[0x30, 6, 1, 1, 0, 1, 1, 0xff])),
        ("a SET", ca(&[0x31, 3, 1, 1, 0xff])),
        ("without SEQUENCE", ca(&[1, 1, 0xff])),
        ("cut off", ca(&[0x30, 3, 1, 1])),
        ("empty", ca(&[])),
        ("keyCertSign with unused bits that are none", use_of_key(&[3, 2, 0, 4])),
        ("keyCertSign in a longer string", use_of_key(&[3, 3, 0, 4, 0])),
        ("keyCertSign in pieces", use_of_key(&[0x23, 4, 3, 2, 2, 4])),
        ("keyCertSign as octets", use_of_key(&[4, 1, 4])),
        ("keyCertSign and something behind", use_of_key(&[3, 2, 2, 4, 5, 0])),
        ("no usage at all", use_of_key(&[3, 1, 0])),
        ("no purpose at all", ("2.5.29.37", sequence(&[]))),
    ] {
        let asked = extension(kind, &value);
        let attributes = if kind == "2.5.29.37" { extension_request(&[&asked]) } else { extension_request(&[&asked, &usage]) };
        let client = Client { csr: csr_of_parts(key, &name("CN=device"), &attributes, key), ..Client::new(key, "CN=device", what) };
        let (message, to) = client.message(&watched.lab.ra);
        let got = outcome(&client.reply(&watched.post(&message), &to, &watched.lab.ra));
        assert!([REFUSED, NOT_VERIFIED].contains(&got), "{what}: {got:?}");
    }
    assert_eq!(watched.asked().1, 0);
}

#[test]
fn csr_extensions_are_not_joined_by_attributes_that_ad_cs_obeys() {
    let (key, subject) = (shared_key(2), name("CN=device"));
    let pair = |name: &str, value: &str| attribute("1.3.6.1.4.1.311.13.2.1", &[&sequence(&[&bmp(name), &bmp(value)])]);
    let usage = extension_request(&[&extension("2.5.29.37", &sequence(&[&oid(oids::CLIENT_AUTH)]))]);
    for (what, attributes) in [
        ("a template", pair("CertificateTemplate", "SubCA")),
        ("the configured template", pair("CertificateTemplate", TEMPLATE)),
        ("names", pair("SAN", "upn=administrator@contoso.com")),
        ("a validity", pair("ValidityPeriodUnits", "99")),
        ("a requester", pair("RequesterName", "CONTOSO\\administrator")),
        ("an unknown attribute", attribute("1.2.3.4", &[&[5, 0]])),
        ("an archived private key", attribute("1.3.6.1.4.1.311.21.13", &[&[5, 0]])),
    ] {
        refused_by("csr-extension", what, csr_of_parts(key, &subject, &[usage.clone(), attributes].concat(), key));
    }
}

#[test]
fn csr_extensions_that_are_allowed_are_served_and_not_copied() {
    let local = LocalService::new(|builder| builder.template(TEMPLATE.parse().unwrap()));
    let (key, subject) = (shared_key(2), name("CN=device"));
    let theirs = [0xd5; 20];
    let asked = [
        extension("2.5.29.37", &sequence(&[&oid(oids::CLIENT_AUTH)])),
        extension("1.3.6.1.4.1.311.20.2", &bmp(TEMPLATE)),
        extension("2.5.29.14", &tlv(4, &[&theirs])),
        extension("2.5.29.19", &sequence(&[])),
        extension("2.5.29.1", &sequence(&[&tlv(0x80, &[&theirs])])),
        extension("2.5.29.3", &sequence(&[&tlv(4, &[&theirs])])),
        extension("2.16.840.1.113730.1.11", &tlv(0x16, &[&theirs])),
    ];
    let asked: Vec<&[u8]> = asked.iter().map(Vec::as_slice).collect();
    let client_info = attribute("1.3.6.1.4.1.311.13.2.3", &[&tlv(0x16, &[b"10.0.22631.2"])]);
    let csr = csr_of_parts(key, &subject, &[extension_request(&asked), client_info].concat(), key);
    let client = Client { csr, ..Client::new(key, "CN=device", "copied") };
    let reply = local.post(&client);
    assert_eq!(outcome(&reply), GRANTED);
    let certificate = client.certificate(&reply);
    let found: Vec<String> = certificate.extensions().iter().filter_map(|extension| extension.oid()).map(ToString::to_string).collect();
    for absent in ["1.3.6.1.4.1.311.20.2", "2.5.29.1", "2.5.29.3", "2.16.840.1.113730.1.11"] {
        assert!(!found.iter().any(|kind| kind == absent), "{absent} in {found:?}");
    }
    assert!(!certificate.der().windows(theirs.len()).any(|window| window == theirs), "nothing of the device's own values");
    assert!(!certificate.is_ca());
    assert!(certificate.subject_alt_names().is_empty());
}

fn vouching(sid: Option<&str>) -> LocalService {
    let mut vouched = Vouched::default();
    vouched.sid = sid.map(|sid| sid.parse().unwrap());
    LocalService::with_validator(|builder| builder, move |_| Ok(Verdict::Accepted(vouched.clone())))
}

fn sid_uri(sid: &str) -> SubjectAltName {
    SubjectAltName::Uri(format!("tag:microsoft.com,2022-09-14:sid:{sid}"))
}

#[test]
fn identity_by_a_sid_extension_is_refused_whoever_vouches_for_what() {
    let sid: Sid = SID.parse().unwrap();
    refused_by("sid", "nobody vouches", csr(shared_key(2), "CN=device", |builder| builder.sid(Some(sid.clone()))));
    let malformed = extension_request(&[&extension(oids::SID_EXTENSION, &[5, 0])]);
    let key = shared_key(2);
    let client = Client { csr: csr_of_parts(key, &name("CN=device"), &malformed, key), ..Client::new(key, "CN=device", "malformed") };
    assert_eq!(vouching(Some(SID)).post(&client).status(), PkiStatus::Failure);
    let local = vouching(Some(SID));
    let client = Client { csr: csr(key, "CN=device", |builder| builder.sid(Some(sid.clone()))), ..Client::new(key, "CN=device", "sid") };
    assert_eq!(outcome(&local.post(&client)), REFUSED, "not even the one that is vouched for: the device wrote it");
    // The RA's alone.
    assert_eq!(local.ca.issued().len(), 1);
}

#[test]
fn identity_by_names_of_kinds_that_are_never_issued_is_refused() {
    let key = shared_key(2);
    let usage = extension("2.5.29.37", &sequence(&[&oid(oids::CLIENT_AUTH)]));
    let other = |kind: &str, value: &[u8]| tlv(0xa0, &[&oid(kind), &tlv(0xa0, &[value])]);
    for (what, names) in [
        ("a SID as another name", other(oids::SID_OTHER_NAME, &tlv(4, &[SID.as_bytes()]))),
        ("a UPN that is no text", other(oids::UPN, &tlv(0x0c, &[b"administrator@contoso.com\xff"]))),
        ("a UPN of another string type", other(oids::UPN, &tlv(4, &[b"administrator@contoso.com"]))),
        ("a Kerberos principal", other("1.3.6.1.5.2.2", &sequence(&[]))),
        ("a directory name", tlv(0xa4, &[name("CN=administrator").as_der()])),
        ("a registered id", tlv(0x88, &[&[0x2a, 3]])),
        ("an address of five octets", tlv(0x87, &[&[10, 0, 0, 1, 0]])),
        ("a DNS name that is no ASCII", tlv(0x82, &["d\u{fc}sseldorf.example".as_bytes()])),
        ("a DNS name with a zero octet", tlv(0x82, &[b"dc1.contoso.com\0.lab.example"])),
        ("an unknown kind", tlv(0x89, &[b"x"])),
    ] {
        let names = extension("2.5.29.17", &sequence(&[&tlv(0x82, &[b"device.lab.example"]), &names]));
        refused_by("alt-name-syntax", what, csr_of_parts(key, &name("CN=device"), &extension_request(&[&names, &usage]), key));
    }
}

#[test]
fn identity_by_a_subject_whose_text_cannot_be_read_is_refused() {
    let key = shared_key(2);
    let usage = extension_request(&[&extension("2.5.29.37", &sequence(&[&oid(oids::CLIENT_AUTH)]))]);
    for (what, value) in [
        ("UTF-8 that is none", tlv(0x0c, &[b"administrator\xff"])),
        ("UTF-8 that is none behind a zero octet", tlv(0x0c, &[b"administrator\0\xff"])),
        ("a zero octet", tlv(0x0c, &[b"administrator\0"])),
        ("a PrintableString with other octets", tlv(0x13, &[b"administrator\0\xe4"])),
        ("an IA5String with other octets", tlv(0x16, &[b"administrator\x80"])),
        ("a BMPString of odd length", tlv(0x1e, &[b"\0a\0b\0"])),
        ("a BMPString with half a pair", tlv(0x1e, &[&[0xd8, 0, 0, b'a']])),
        ("a GeneralString", tlv(0x1b, &[b"administrator"])),
        ("UTF-8 in pieces that is none", tlv(0x2c, &[&tlv(0x0c, &[b"administrator"]), &tlv(0x0c, &[b"\0\xff"])])),
        ("a UniversalString beyond Unicode", tlv(0x1c, &[&[0, 0x11, 0, 0]])),
    ] {
        let subject = sequence(&[&tlv(0x31, &[&sequence(&[&oid("2.5.4.3"), &value])])]);
        let subject = Name::from_der(&subject).unwrap();
        refused_by("subject", what, csr_of_parts(key, &subject, &usage, key));
    }
}

#[test]
fn identity_by_a_sid_uri_passes_only_when_that_sid_is_vouched_for() {
    const ADMINISTRATOR: &str = "S-1-5-21-3623811015-3361044348-30300820-500";
    const ANOTHER: &str = "S-1-5-21-3623811015-3361044348-30300820-1014";
    let key = shared_key(2);
    let other_spelling = SubjectAltName::Uri(format!("TAG:microsoft.com,2022-09-14:sid:{SID}"));
    let other_prefix = SubjectAltName::Uri(format!("urn:x:sid:{SID}"));
    for (what, names, vouched, expected) in [
        ("nobody vouches", vec![sid_uri(SID)], None, REFUSED),
        ("another is vouched for", vec![sid_uri(SID)], Some(ANOTHER), REFUSED),
        ("one vouched for and one not", vec![sid_uri(SID), sid_uri(ANOTHER)], Some(SID), REFUSED),
        ("the administrator, vouched for", vec![sid_uri(ADMINISTRATOR)], Some(ADMINISTRATOR), REFUSED),
        ("another spelling", vec![other_spelling], Some(SID), REFUSED),
        ("another prefix", vec![other_prefix], Some(SID), REFUSED),
        ("vouched for", vec![sid_uri(SID)], Some(SID), GRANTED),
        ("vouched for and not asked for", vec![], Some(SID), GRANTED),
        ("neither", vec![], None, GRANTED),
    ] {
        let local = vouching(vouched);
        let client =
            Client { csr: csr(key, "CN=device", |builder| builder.subject_alt_names(&names)), ..Client::new(key, "CN=device", what) };
        let reply = local.post(&client);
        assert_eq!(outcome(&reply), expected, "{what}");
        assert_eq!(local.ca.issued().len(), 1 + usize::from(expected == GRANTED), "{what}");
        if expected == GRANTED {
            let certificate = client.certificate(&reply);
            assert_eq!(certificate.sid(), vouched.map(|sid| sid.parse().unwrap()).as_ref(), "{what}");
            assert_eq!(certificate.subject_alt_names(), names, "{what}");
        }
    }
}

/// An RSA key that the crate does not load, in openssl's hands.
struct OutsideKey {
    dir: tempfile::TempDir,
    spki: Vec<u8>,
}

impl OutsideKey {
    fn new(bits: u32) -> Self {
        let dir = support::scratch();
        let mut command = Command::new("openssl");
        command.current_dir(dir.path()).args(["genpkey", "-algorithm", "RSA", "-pkeyopt", &format!("rsa_keygen_bits:{bits}")]);
        support::run(command.args(["-out", "key.pem"]));
        let mut command = Command::new("openssl");
        let spki = support::run(command.current_dir(dir.path()).args(["pkey", "-in", "key.pem", "-pubout", "-outform", "DER"])).stdout;
        Self { dir, spki }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        std::fs::write(self.dir.path().join("message"), message).unwrap();
        let mut command = Command::new("openssl");
        support::run(command.current_dir(self.dir.path()).args(["dgst", "-sha256", "-sign", "key.pem", "message"])).stdout
    }

    fn csr(&self, subject: &Name) -> Vec<u8> {
        let unsigned = CsrBuilder::new(subject.clone(), &self.spki)
            .challenge_password(&Password::from(CHALLENGE))
            .extended_key_usage(&[oids::CLIENT_AUTH.parse().unwrap()])
            .subject_alt_names(&[SubjectAltName::Dns("device.lab.example".to_owned())])
            .to_be_signed(SHA256)
            .unwrap();
        let signature = self.sign(unsigned.message());
        unsigned.finish(&signature)
    }

    fn self_signed(&self, subject: &str) -> Certificate {
        let like = self_signed(subject, shared_key(2));
        let unsigned =
            CertificateBuilder::new(name(subject), &self.spki, like.not_before(), like.not_after(), like.serial().unwrap().clone())
                .key_usage(KeyUsage::SIGN_AND_ENCIPHER)
                .to_be_signed(SHA256)
                .unwrap();
        let signature = self.sign(unsigned.message());
        Certificate::from_der(&CertificateDer::from(unsigned.finish(&signature)), &Limits::default()).unwrap()
    }
}

#[test]
fn client_keys_of_1024_bits_get_no_certificate_neither_first_nor_by_renewal() {
    if support::tool("openssl").is_none() {
        return;
    }
    for (bits, served) in [(1_024, false), (2_047, false), (2_048, true)] {
        let ca = TestCa::new(shared_key(0)).that_looks_up();
        let watched = Watched::before(ca, |builder| builder.renewal(RenewalPolicy::CertificateSuffices));
        let ra = watched.lab.ra.clone();
        let key = OutsideKey::new(bits);
        // A first enrolment.
        let (signer, csr) = (key.self_signed("CN=short"), key.csr(&name("CN=short")));
        let sealed = Sealed::new(&csr);
        let envelope = sealed.envelope(&[key_trans(&ra, &wrap(&ra, &sealed.key))]);
        let client = Client { signer, csr, ..Client::new(shared_key(2), "CN=short", "first") };
        let (message, to) = client.message_around(&envelope, SHA256, |message| key.sign(message));
        let response = watched.post(&message);
        let got = response.status == 200 && client.reply(&response, &to, &ra).status() == PkiStatus::Success;
        assert_eq!((got, watched.asked().1), (served, u32::from(served)), "{bits} bits, first: {}", response.status);
        // The new key of a renewal.
        let holder = watched.lab.client();
        let (message, to) = holder.message(&ra);
        let certificate = holder.certificate(&holder.reply(&watched.post(&message), &to, &ra));
        let before = watched.asked().1;
        let renewer =
            Client { signer: certificate.clone(), csr: key.csr(certificate.subject()), ..Client::new(shared_key(2), "CN=x", "renewal") };
        let builder = PkiRequestBuilder::new(MessageType::RenewalReq, renewer.transaction.clone(), &renewer.csr);
        let (message, to) = renewer.message_with(&ra, builder);
        let reply = renewer.reply(&watched.post(&message), &to, &ra);
        let expected: &[_] = if served { &[GRANTED] } else { &[REFUSED, NOT_VERIFIED] };
        assert!(expected.contains(&outcome(&reply)), "{bits} bits, renewal: {:?}", outcome(&reply));
        assert_eq!(watched.asked().1 - before, u32::from(served), "{bits} bits, renewal");
    }
}

#[test]
fn oversize_names_and_usages_are_refused_and_the_service_is_told() {
    let key = shared_key(2);
    let dns = |text: String| SubjectAltName::Dns(text);
    let long_dns = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(62)].join(".");
    assert_eq!(long_dns.len(), 254);
    let named = |names: Vec<SubjectAltName>| csr(key, "CN=device", |builder| builder.subject_alt_names(&names));
    let subject = |text: String| forge::csr_named(key, name(&text), |builder| builder);
    refused_by("alt-name-syntax", "a DNS name of 254 bytes", named(vec![dns(long_dns)]));
    refused_by("alt-name-syntax", "a label of 64 bytes", named(vec![dns("a".repeat(64) + ".example")]));
    refused_by("alt-name-syntax", "33 names", named((0..33).map(|number| dns(format!("h{number}.example"))).collect()));
    refused_by("alt-name-syntax", "a long address", named(vec![SubjectAltName::Email("a".repeat(320) + "@contoso.com")]));
    refused_by("alt-name-syntax", "a long UPN", named(vec![SubjectAltName::Upn("a".repeat(30_000) + "@contoso.com")]));
    refused_by("alt-name-syntax", "a long URI", named(vec![SubjectAltName::Uri("https://".to_owned() + &"a".repeat(400))]));
    refused_by("subject", "a long common name", subject(format!("CN={}", "x".repeat(30_000))));
    refused_by("subject", "many attributes", subject(vec!["OU=x"; 1_000].join(",")));
    let usages = vec![oids::CLIENT_AUTH.parse().unwrap(); 33];
    refused_by("extended-key-usage", "33 usages", csr(key, "CN=device", |builder| builder.extended_key_usage(&usages)));
    // The longest that are none of these.
    let lab = Lab::new(|builder| builder);
    let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    let names: Vec<SubjectAltName> = (0..31).map(|number| dns(format!("h{number}.example"))).chain([dns(longest)]).collect();
    let csr = forge::csr_named(key, name(&format!("CN={}", "x".repeat(4_000))), |builder| {
        let usages = vec![oids::CLIENT_AUTH.parse().unwrap(); 32];
        builder.subject_alt_names(&names).extended_key_usage(&usages)
    });
    let client = Client { csr, ..Client::new(key, "CN=device", "longest") };
    let (message, to) = client.message(&lab.ra);
    assert_eq!(outcome(&client.reply(&lab.post(&message), &to, &lab.ra)), GRANTED);
}
