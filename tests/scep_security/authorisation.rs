//! Who gets a certificate: challenges, message types, signatures, signers, repeats, serial numbers.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use intune_connector::adapters::CallbackValidator;
use intune_connector::ids::SerialNumber;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::{Certificate, CertificateBuilder};
use intune_connector::message::csr::Csr;
use intune_connector::message::enveloped::LegacyCiphers;
use intune_connector::message::name::Name;
use intune_connector::message::scep::{MessageType, PkiRequestBuilder};
use intune_connector::ports::{PortError, Verdict, Vouched};
use intune_connector::scep::{RenewalPolicy, Request, Response};
use intune_connector::terms::KeyUsage;
use intune_connector::time::Timestamp;

use crate::forge::{self, SHA256, Sealed, around, key_trans, message_with, reply_to, wrap};
use crate::make::tlv;
use crate::scep_lab::{CHALLENGE, Client, Lab, TestCa, self_signed, shared_key, sign};
use crate::watched::{GRANTED, LocalService, NOT_VERIFIED, REFUSED, Watched, outcome};

const DAY: Duration = Duration::from_secs(86_400);

fn rejected(description: &str) -> Result<Verdict, PortError> {
    Ok(Verdict::Rejected { code: "ChallengeInvalid".to_owned(), description: description.to_owned() })
}

/// A service of the lab with another validator.
fn with_validator(lab: &Lab, validator: impl Fn(&Csr) -> Result<Verdict, PortError> + Send + Sync + 'static) -> impl Fn(&[u8]) -> Response {
    let validator = Arc::new(CallbackValidator::new(move |csr: &Csr, _: &_| validator(csr)));
    let service = lab.runtime.block_on(lab.builder_with(lab.journal.clone(), validator).build()).unwrap();
    move |message| lab.runtime.block_on(service.handle(Request::post("operation=PKIOperation", message.to_vec())))
}

#[test]
fn challenge_is_bound_to_the_csr_that_the_validator_was_shown_whole() {
    let lab = Lab::new(|builder| builder);
    let shown: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let seen = shown.clone();
    // As Intune: the challenge was made for one subject.
    let post = with_validator(&lab, move |csr| {
        seen.lock().unwrap().push(csr.der().to_vec());
        let good = csr.challenge_password().is_some_and(|given| given.secret_bytes() == CHALLENGE.as_bytes());
        let made_for = csr.subject().to_string() == "CN=device-a";
        if good && made_for { Ok(Verdict::Accepted(Vouched::default())) } else { rejected("the challenge is not for this subject") }
    });
    for (subject, expected) in [("CN=administrator", REFUSED), ("CN=device-a,O=Lab", REFUSED), ("CN=device-a", GRANTED)] {
        let client = Client::new(shared_key(2), subject, &format!("t-{subject}"));
        let (message, to) = client.message(&lab.ra);
        let reply = client.reply(&post(&message), &to, &lab.ra);
        assert_eq!(outcome(&reply), expected, "{subject}");
        assert_eq!(shown.lock().unwrap().pop().unwrap(), client.csr, "the whole CSR, byte by byte");
        if expected == GRANTED {
            assert_eq!(client.certificate(&reply).subject().to_string(), subject);
        }
    }
    assert_eq!(lab.ca.asks.load(Ordering::SeqCst), 1);
}

#[test]
fn challenge_is_bound_to_the_csr_also_when_a_captured_envelope_is_sent_by_another() {
    let watched = Watched::new(|builder| builder);
    let victim = watched.lab.client();
    let sealed = Sealed::new(&victim.csr);
    let envelope = sealed.envelope(&[key_trans(&watched.lab.ra, &wrap(&watched.lab.ra, &sealed.key))]);
    // Every kind of certificate that a thief can make: of its own name, of the victim's, and one that claims to be issued by our CA.
    let now = Timestamp::system_now();
    let foreign = TestCa::new(shared_key(3));
    let forged = foreign.make(victim.signer.subject().clone(), &shared_key(3).spki, |builder| builder, now.saturating_add(DAY));
    for (what, signer) in [
        ("its own name", self_signed("CN=thief", shared_key(3))),
        ("the victim's name", self_signed("CN=device-1", shared_key(3))),
        ("a forged issuer", Certificate::from_der(&forged, &Limits::default()).unwrap()),
    ] {
        let thief = Client { signer, ..Client::new(shared_key(3), "CN=thief", &format!("captured: {what}")) };
        let (message, to) = around(&thief, &envelope);
        let reply = thief.reply(&watched.post(&message), &to, &watched.lab.ra);
        assert!([NOT_VERIFIED, REFUSED].contains(&outcome(&reply)), "{what}: {:?}", outcome(&reply));
    }
    assert_eq!(watched.asked(), (0, 0));
    // The envelope was good.
    let (message, to) = around(&victim, &envelope);
    victim.certificate(&victim.reply(&watched.post(&message), &to, &watched.lab.ra));
}

#[test]
fn message_types_that_are_no_requests_reach_neither_key_nor_challenge_nor_ca() {
    let watched = Watched::new(|builder| builder);
    let client = watched.lab.client();
    let sealed = Sealed::new(&client.csr);
    let envelope = sealed.envelope(&[key_trans(&watched.lab.ra, &wrap(&watched.lab.ra, &sealed.key))]);
    let transaction = tlv(0x13, &[b"types"]);
    let numbers =
        (0..=40u16).chain([99, 127, 128, 255, 256, 275, 18 + 256, 19 + 256]).filter(|number| ![17, 19, 20, 21, 22].contains(number));
    let odd = ["", " 19", "19 ", "019", "+19", "-19", "19.0", "0x13", "19\0", "19,18", "PKCSReq", "\u{661}\u{669}"];
    let texts: Vec<String> = numbers.map(|number| number.to_string()).chain(odd.map(str::to_owned)).collect();
    for text in &texts {
        let (message, nonce) = message_with(&client, &tlv(0x0c, &[text.as_bytes()]), &transaction, &envelope);
        let response = watched.post(&message);
        let reply = client.reply(&response, &reply_to(&transaction, nonce).unwrap(), &watched.lab.ra);
        assert_eq!(outcome(&reply), REFUSED, "{text:?}");
    }
    assert_eq!((watched.unwraps(), watched.asked()), (0, (0, 0)));
    assert!(watched.lab.journal.rows.rows().is_empty());
    // The control: the same but for the type.
    let (message, nonce) = message_with(&client, &tlv(0x0c, &[b"19"]), &transaction, &envelope);
    let reply = client.reply(&watched.post(&message), &reply_to(&transaction, nonce).unwrap(), &watched.lab.ra);
    assert_eq!((outcome(&reply), watched.unwraps(), watched.asked()), (GRANTED, 1, (1, 1)));
}

#[test]
fn csr_signature_that_is_missing_broken_or_of_another_key_gets_nothing() {
    let watched = Watched::new(|builder| builder);
    let client = Client::new(shared_key(2), "CN=device", "csr");
    let good = client.csr.clone();
    let parsed = Csr::from_der(&good, &Limits::default()).unwrap();
    let subject = parsed.subject().clone();
    let info = &good[4..good.len() - 256 - 5 - 15];
    let again = |algorithm: &[u8], signature: &[u8]| crate::make::sequence(&[info, algorithm, &tlv(3, &[&[0], signature])]);
    let sha256 = crate::make::algorithm("1.2.840.113549.1.1.11", &[5, 0]);
    let signature = &good[good.len() - 256..];
    assert_eq!(again(&sha256, signature), good, "the parts are where they are thought to be");
    let mut broken = signature.to_vec();
    broken[200] ^= 1;
    let mut other_challenge = good.clone();
    let at = good.windows(CHALLENGE.len()).position(|window| window == CHALLENGE.as_bytes()).unwrap();
    other_challenge[at] ^= 1;
    let mut unused_bits = good.clone();
    unused_bits[good.len() - 257] = 1;
    let mut one = vec![0; 256];
    one[255] = 1;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("one bit", again(&sha256, &broken)),
        ("empty", again(&sha256, &[])),
        ("zero", again(&sha256, &[0; 256])),
        ("one", again(&sha256, &one)),
        ("above the modulus", again(&sha256, &[0xff; 256])),
        ("too short", again(&sha256, &signature[1..])),
        ("too long", again(&sha256, &[&[0], signature].concat())),
        ("unused bits", unused_bits),
        ("RSA without a digest", again(&crate::make::algorithm(forge::RSA_ENCRYPTION, &[5, 0]), signature)),
        ("MD5", again(&crate::make::algorithm("1.2.840.113549.1.1.4", &[5, 0]), signature)),
        ("another digest", again(&crate::make::algorithm("1.2.840.113549.1.1.13", &[5, 0]), signature)),
        ("an unknown algorithm", again(&crate::make::algorithm("1.2.3.4", &[]), signature)),
        ("of another key", forge::csr_of_parts(client.key, &subject, &[], shared_key(3))),
        ("over another challenge", other_challenge),
        ("cut off", good[..good.len() - 1].to_vec()),
        ("followed by an octet", [&good[..], &[0]].concat()),
    ];
    for (what, csr) in cases {
        let client = Client { csr, ..Client::new(shared_key(2), "CN=device", what) };
        let (message, to) = client.message(&watched.lab.ra);
        let reply = client.reply(&watched.post(&message), &to, &watched.lab.ra);
        assert_eq!((outcome(&reply), reply.fail_info_text()), (NOT_VERIFIED, None), "{what}");
    }
    assert_eq!(watched.asked(), (0, 0));
    let (message, to) = client.message(&watched.lab.ra);
    client.certificate(&client.reply(&watched.post(&message), &to, &watched.lab.ra));
}

#[test]
fn signer_of_another_subject_is_served_as_for_cisco_and_of_another_key_never() {
    let watched = Watched::new(|builder| builder);
    let own = Client::new(shared_key(2), "CN=device", "cisco");
    // Cisco's routers sign with a certificate whose subject is their serial number or host name.
    let cisco = Client { signer: self_signed("SERIALNUMBER=FCZ1234,CN=router", shared_key(2)), ..own };
    let (message, to) = cisco.message(&watched.lab.ra);
    let certificate = cisco.certificate(&cisco.reply(&watched.post(&message), &to, &watched.lab.ra));
    assert_eq!(certificate.subject().to_string(), "CN=device");
    assert_eq!(watched.asked(), (1, 1));
    for subject in ["CN=device", "CN=another"] {
        let other = Client { csr: cisco.csr.clone(), ..Client::new(shared_key(3), subject, subject) };
        let (message, to) = other.message(&watched.lab.ra);
        assert_eq!(outcome(&other.reply(&watched.post(&message), &to, &watched.lab.ra)), NOT_VERIFIED, "{subject}");
    }
    assert_eq!(watched.asked(), (1, 1));
}

#[test]
fn signer_whose_certificate_names_another_key_than_signed_is_no_sender() {
    let watched = Watched::new(|builder| builder);
    let victim = Client::new(shared_key(2), "CN=device", "v");
    // The victim's certificate and CSR under the thief's signature.
    let sealed = Sealed::new(&victim.csr);
    let envelope = sealed.envelope(&[key_trans(&watched.lab.ra, &wrap(&watched.lab.ra, &sealed.key))]);
    let thief = |message: &[u8]| intune_connector::crypto::sign_now(shared_key(3).signing.as_ref(), SHA256, message).unwrap();
    let (message, _) = victim.message_around(&envelope, SHA256, thief);
    assert_eq!(watched.post(&message).status, 400);
    assert_eq!((watched.unwraps(), watched.asked()), (0, (0, 0)));
}

#[test]
fn renewal_by_certificates_that_only_look_like_ours_is_refused_before_the_key_is_asked() {
    let ca = TestCa::new(shared_key(0)).that_looks_up();
    let watched = Watched::before(ca, |builder| builder.renewal(RenewalPolicy::CertificateSuffices));
    let holder = watched.lab.client();
    let (message, to) = holder.message(&watched.lab.ra);
    let real = holder.certificate(&holder.reply(&watched.post(&message), &to, &watched.lab.ra));
    let (unwraps, thief) = (watched.unwraps(), shared_key(3));
    // Issuer, serial number, subject and times of a real certificate, the key of the thief, and a signature that is not our CA's.
    let forged = |issuer: Name, signer: usize| {
        let unsigned = CertificateBuilder::new(real.subject().clone(), &thief.spki, real.not_before(), real.not_after(), serial_of(&real))
            .issuer(issuer)
            .key_usage(KeyUsage::SIGN_AND_ENCIPHER)
            .subject_alt_names(real.subject_alt_names())
            .to_be_signed(SHA256)
            .unwrap();
        Certificate::from_der(&sign(shared_key(signer).signing.as_ref(), unsigned), &Limits::default()).unwrap()
    };
    for (what, signer) in [
        ("a copy under the thief's signature", forged(real.issuer().clone(), 3)),
        ("a copy under the RA's signature", forged(watched.lab.ra.subject().clone(), 1)),
        ("a copy under the holder's signature", forged(real.subject().clone(), 2)),
    ] {
        for message_type in [MessageType::RenewalReq, MessageType::PkcsReq] {
            let csr = forge::csr(thief, &real.subject().to_string(), |builder| builder);
            let client = Client { signer: signer.clone(), csr, ..Client::new(thief, "CN=x", &format!("{what} {message_type}")) };
            let builder = PkiRequestBuilder::new(message_type, client.transaction.clone(), &client.csr);
            let (message, to) = client.message_with(&watched.lab.ra, builder);
            let reply = client.reply(&watched.post(&message), &to, &watched.lab.ra);
            // One that names itself as its issuer is a first enrolment like any other: its challenge is looked at, and it was good.
            let first = signer.is_self_issued() && message_type == MessageType::PkcsReq;
            assert_eq!(outcome(&reply), if first { GRANTED } else { REFUSED }, "{what} {message_type}");
        }
    }
    assert_eq!(watched.unwraps(), unwraps + 1, "asked for the one first enrolment alone");
    assert_eq!(watched.asked(), (2, 2));
}

fn serial_of(certificate: &Certificate) -> SerialNumber {
    certificate.serial().unwrap().clone()
}

#[test]
fn replay_of_a_captured_message_issues_nothing_and_shows_its_sender_nothing() {
    let watched = Watched::new(|builder| builder);
    let client = watched.lab.client();
    let (message, to) = client.message(&watched.lab.ra);
    let certificate = client.certificate(&client.reply(&watched.post(&message), &to, &watched.lab.ra));
    for _ in 0..20 {
        let reply = client.reply(&watched.post(&message), &to, &watched.lab.ra);
        assert_eq!(client.certificate(&reply).der(), certificate.der(), "only the client's key opens it");
        let opening = reply.open(LegacyCiphers::Refuse, &Limits::default()).unwrap();
        assert!(opening.key_transport(&self_signed("CN=thief", shared_key(3))).is_err());
    }
    assert_eq!(watched.asked(), (1, 1));
    assert_eq!(watched.lab.notifier.successes.lock().unwrap().len(), 1);
}

#[test]
fn replay_of_a_challenge_is_for_its_validator_to_see_and_it_sees_each_new_request() {
    let lab = Lab::new(|builder| builder);
    let uses = Arc::new(AtomicUsize::new(0));
    let counter = uses.clone();
    let post = with_validator(&lab, move |_| match counter.fetch_add(1, Ordering::SeqCst) {
        0 => Ok(Verdict::Accepted(Vouched::default())),
        _ => rejected("the challenge was used before"),
    });
    let first = lab.client();
    let (message, to) = first.message(&lab.ra);
    first.certificate(&first.reply(&post(&message), &to, &lab.ra));
    // Another device, another key, another transaction with the same challenge; and the same device once more.
    for other in [Client::new(shared_key(3), "CN=thief", "other"), lab.client()] {
        let (message, to) = other.message(&lab.ra);
        assert_eq!(outcome(&other.reply(&post(&message), &to, &lab.ra)), REFUSED);
    }
    assert_eq!((uses.load(Ordering::SeqCst), lab.ca.asks.load(Ordering::SeqCst)), (3, 1));
    // What was answered is answered again without the challenge.
    first.certificate(&first.reply(&post(&message), &to, &lab.ra));
    assert_eq!(uses.load(Ordering::SeqCst), 3);
}

const ENROLMENTS: usize = 1_000;
const THREADS: usize = 16;

#[test]
fn duplicate_serials_are_not_among_a_thousand_enrolments_over_sixteen_threads() {
    let local = LocalService::new(|builder| builder);
    let (next, serials) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    shared_key(2);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let number @ 0..ENROLMENTS = next.fetch_add(1, Ordering::SeqCst) {
                    let client = Client::new(shared_key(2), &format!("CN=device-{number}"), &format!("t-{number}"));
                    let certificate = client.certificate(&local.post(&client));
                    assert_eq!(certificate.subject().to_string(), format!("CN=device-{number}"), "nobody gets another's certificate");
                    serials.lock().unwrap().push(certificate.serial_raw().to_vec());
                }
            });
        }
    });
    let serials = serials.into_inner().unwrap();
    let distinct: HashSet<&Vec<u8>> = serials.iter().collect();
    assert_eq!((serials.len(), distinct.len()), (ENROLMENTS, ENROLMENTS));
    assert!(serials.iter().all(|serial| serial.len() >= 10), "from a generator, not from a counter");
    assert_eq!(local.lab.notifier.successes.lock().unwrap().len(), ENROLMENTS);
    // And the RA's own.
    assert_eq!(local.ca.issued().len(), ENROLMENTS + 1);
}

#[test]
fn duplicate_serials_do_not_come_from_the_same_request_twice_at_once() {
    let lab = Lab::new(|builder| builder);
    for _ in 0..20 {
        let client = lab.client();
        let (message, to) = client.message(&lab.ra);
        let before = lab.ca.asks.load(Ordering::SeqCst);
        let answers: Vec<Response> = std::thread::scope(|scope| {
            let both = [scope.spawn(|| lab.post(&message)), scope.spawn(|| lab.post(&message))];
            both.map(|thread| thread.join().unwrap()).into()
        });
        let certificates: Vec<Certificate> = answers.iter().map(|answer| client.certificate(&client.reply(answer, &to, &lab.ra))).collect();
        assert_eq!(certificates[0].der(), certificates[1].der());
        assert_eq!(lab.ca.asks.load(Ordering::SeqCst), before + 1);
    }
}
