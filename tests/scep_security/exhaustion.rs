//! Messages made to cost much or to be read past their end: refused in bounded work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use intune_connector::crypto::{CryptoError, DecryptionKey, SignatureAlgorithm, SignatureVerification, UnwrapError, UnwrapRequest};
use intune_connector::scep::{Admission, RegistrationAuthority, Request};
use intune_connector::secret::SecretBytes;
use rustls_pki_types::SubjectPublicKeyInfoDer;

use crate::forge::{self, Sealed, around, elements, key_trans, wrap};
use crate::make::{DATA, SIGNED_DATA, attribute, content_info, integer, oid, sequence, tlv};
use crate::scep_lab::{Client, Lab, TestCa, name, provider, shared_key};
use crate::watched::{GRANTED, LARGEST, NOT_VERIFIED, REFUSED, Watched, outcome};

/// What takes milliseconds, in an unoptimised build on a busy machine.
const SOON: Duration = Duration::from_secs(3);

/// Octets in that many layers of this header, as deep as they fit.
fn nested(tag: u8, room: usize) -> Vec<u8> {
    // From the inside out, into the end of a buffer.
    let mut out = Vec::new();
    loop {
        let len = out.len();
        let header: Vec<u8> = match len {
            0..=0x7f => vec![len as u8, tag],
            0x80..=0xff => vec![len as u8, 0x81, tag],
            _ => vec![len as u8, (len >> 8) as u8, 0x82, tag],
        };
        if len + header.len() > room {
            out.reverse();
            return out;
        }
        out.extend(header);
    }
}

fn repeated(pattern: &[u8], room: usize) -> Vec<u8> {
    pattern.iter().copied().cycle().take(room).collect()
}

fn random(room: usize) -> Vec<u8> {
    let mut bytes = vec![0; room];
    provider().random().unwrap().fill(&mut bytes).unwrap();
    bytes
}

/// Junk of every kind, none longer than `room`.
fn junk(room: usize) -> Vec<(&'static str, Vec<u8>)> {
    let value_room = room - 8;
    vec![
        ("zeros", vec![0; room]),
        ("ones", vec![0xff; room]),
        ("random", random(room)),
        ("headers of SEQUENCE", vec![0x30; room]),
        ("open SEQUENCEs", repeated(&[0x30, 0x80], room)),
        ("open OCTET STRINGs", repeated(&[0x24, 0x80], room)),
        ("open contexts", repeated(&[0xa0, 0x80], room)),
        ("open and closed", repeated(&[0x30, 0x80, 0, 0], room)),
        ("SEQUENCEs in each other", nested(0x30, room)),
        ("OCTET STRINGs in each other", nested(0x24, room)),
        ("SETs in each other", nested(0x31, room)),
        ("many NULLs", sequence(&[&repeated(&[5, 0], value_room & !1)])),
        ("many empty SEQUENCEs", sequence(&[&repeated(&[0x30, 0], value_room & !1)])),
        ("a length of 4 GiB", [&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &random(room - 6)[..]].concat()),
        ("a length of 2^63", [&[0x30, 0x88, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], &random(room - 10)[..]].concat()),
        ("a length in 126 octets", [&[0x30, 0xfe], &vec![0; room - 2][..]].concat()),
        ("an endless tag", [&[0x3f], &vec![0xff; room - 1][..]].concat()),
        ("an endless OID", tlv(6, &[&vec![0x81; value_room]])),
        ("a long INTEGER", tlv(2, &[&vec![0x7f; value_room]])),
    ]
}

/// SignedData with a part that is a bomb.
fn signed_bombs() -> Vec<(&'static str, Vec<u8>)> {
    let room = LARGEST - 200;
    let message = |version: &[u8], digests: &[u8], content: &[u8], certificates: &[u8], signers: &[u8]| {
        let signed = sequence(&[version, &tlv(0x31, &[digests]), content, &tlv(0xa0, &[certificates]), &tlv(0x31, &[signers])]);
        content_info(SIGNED_DATA, &signed)
    };
    let (one, data) = (integer(&[1]), content_info(DATA, &tlv(4, &[b"x"])));
    let digest = sequence(&[&oid("2.16.840.1.101.3.4.2.1")]);
    vec![
        ("many digests", message(&one, &repeated(&digest, room / digest.len() * digest.len()), &data, &[], &[])),
        ("many NULL digests", message(&one, &repeated(&[5, 0], room & !1), &data, &[], &[])),
        ("many certificates", message(&one, &digest, &data, &repeated(&[0x30, 0], room & !1), &[])),
        ("nested certificates", message(&one, &digest, &data, &nested(0x30, room), &[])),
        ("many signers", message(&one, &digest, &data, &[], &repeated(&[0x30, 0], room & !1))),
        ("nested content", message(&one, &digest, &sequence(&[&oid(DATA), &tlv(0xa0, &[&nested(0x24, room)])]), &[], &[])),
        ("content in many pieces", {
            let pieces = tlv(0x24, &[&repeated(&[4, 1, 0], room / 3 * 3)]);
            message(&one, &digest, &sequence(&[&oid(DATA), &tlv(0xa0, &[&pieces])]), &[], &[])
        }),
        ("a long version", message(&integer(&vec![0x7f; room]), &digest, &data, &[], &[])),
    ]
}

/// Counts how many signatures are verified.
#[derive(Debug)]
struct CountedVerification(AtomicU32);

impl SignatureVerification for CountedVerification {
    fn verify(&self, algorithm: SignatureAlgorithm, spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        provider().verification().unwrap().verify(algorithm, spki, message, signature)
    }
}

#[test]
fn exhaustion_by_messages_of_any_junk_ends_soon_in_400_or_413_without_a_signature_verified() {
    let counted = Arc::new(CountedVerification(AtomicU32::new(0)));
    let lab = Lab::on(provider().clone().with_verification(counted.clone()), TestCa::new(shared_key(0)), |builder| builder);
    let at_start = counted.0.load(Ordering::SeqCst);
    let mut messages = junk(LARGEST);
    messages.extend(junk(999));
    messages.extend(signed_bombs());
    for (what, message) in messages {
        assert!(message.len() <= LARGEST, "{what}");
        let start = Instant::now();
        assert_eq!(lab.post(&message).status, 400, "{what}");
        assert!(start.elapsed() < SOON, "{what} took {:?}", start.elapsed());
    }
    for (what, message) in junk(LARGEST + 1) {
        let status = lab.post(&message).status;
        assert_eq!(status, if message.len() > LARGEST { 413 } else { 400 }, "{what}");
    }
    // As a GET: no longer than its base64 may be, percent-escaped or not.
    for (what, letters, status) in [("base64", "MIAA".repeat(LARGEST / 4), 400), ("too much base64", "MIAA".repeat(LARGEST), 413)] {
        let response = lab.handle(Request::get(format!("operation=PKIOperation&message={letters}")));
        assert_eq!(response.status, status, "{what}");
    }
    assert_eq!(lab.handle(Request::get(format!("operation=PKIOperation&message={}", "%".repeat(1 << 20)))).status, 413);
    assert_eq!(lab.handle(Request::get(format!("operation={}", "%41".repeat(100_000)))).status, 404);
    // A good message with many more signers is none of one sender.
    let client = lab.client();
    let (message, _) = client.message(&lab.ra);
    assert_eq!(lab.post(&with_signers_repeated(&message, 20)).status, 400);
    assert_eq!(counted.0.load(Ordering::SeqCst), at_start);
    assert_eq!(lab.ca.asks.load(Ordering::SeqCst), 0);
    // It still serves.
    let (message, to) = client.message(&lab.ra);
    client.certificate(&client.reply(&lab.post(&message), &to, &lab.ra));
}

/// The same SignedData with its one SignerInfo that often.
fn with_signers_repeated(message: &[u8], times: usize) -> Vec<u8> {
    let signed = elements(&elements(&elements(message)[0].1)[1].1);
    let parts = elements(&signed[0].1);
    let (signers, others) = parts.split_last().unwrap();
    let others: Vec<Vec<u8>> = others.iter().map(|(tag, value)| tlv(*tag, &[value])).collect();
    let mut parts: Vec<&[u8]> = others.iter().map(Vec::as_slice).collect();
    let signers = tlv(signers.0, &[&signers.1.repeat(times)]);
    parts.push(&signers);
    content_info(SIGNED_DATA, &sequence(&parts))
}

#[test]
fn exhaustion_inside_a_good_signature_costs_one_private_key_operation_at_most() {
    let watched = Watched::new(|builder| builder);
    let ra = watched.lab.ra.clone();
    let room = LARGEST - 4_000;
    let mut number = 0;
    let mut post = |what: &str, envelope: &[u8]| {
        number += 1;
        let client = Client::new(shared_key(2), "CN=device", &format!("bomb-{number}"));
        let (message, to) = around(&client, envelope);
        let (before, start) = (watched.unwraps(), Instant::now());
        let reply = client.reply(&watched.post(&message), &to, &ra);
        assert!(start.elapsed() < SOON, "{what} took {:?}", start.elapsed());
        assert!(watched.unwraps() - before <= 1, "{what}");
        outcome(&reply)
    };
    for (what, envelope) in junk(room) {
        assert_eq!(post(what, &envelope), NOT_VERIFIED, "the envelope is {what}");
    }
    for (what, content) in junk(room) {
        let sealed = Sealed::new(&content);
        assert_eq!(post(what, &sealed.envelope(&[key_trans(&ra, &wrap(&ra, &sealed.key))])), NOT_VERIFIED, "the content is {what}");
    }
    let sealed = Sealed::new(b"x");
    let many = vec![key_trans(&ra, &[7; 16]); 500];
    assert_eq!(post("many recipients", &sealed.envelope(&many)), NOT_VERIFIED);
    let tiny = vec![vec![0x30, 0]; 30_000];
    assert_eq!(post("many tiny recipients", &sealed.envelope(&tiny)), NOT_VERIFIED);
    assert_eq!(watched.asked(), (0, 0));
}

#[test]
fn exhaustion_by_a_csr_that_its_holder_signed_ends_soon_and_never_at_the_ca() {
    let watched = Watched::new(|builder| builder);
    let (ra, key, subject) = (watched.lab.ra.clone(), shared_key(2), name("CN=device"));
    let room = LARGEST - 6_000;
    // All of them ask for the usage that makes them good but for the bomb.
    let client_auth = forge::extension("2.5.29.37", &sequence(&[&oid("1.3.6.1.5.5.7.3.2")]));
    let with = |extensions: &[u8]| forge::extension_request(&[&client_auth, extensions]);
    let beside = |attribute: Vec<u8>| [with(&[]), attribute].concat();
    let unknown = attribute("1.2.3.4", &[&[5, 0]]);
    let san = |names: Vec<u8>| with(&forge::extension("2.5.29.17", &sequence(&[&names])));
    let dns = tlv(0x82, &[b"a.lab.example"]);
    let usage = oid("1.3.6.1.5.5.7.3.2");
    let extension = forge::extension("1.2.3.4", &[5, 0]);
    let many = |one: &[u8]| one.repeat(room / one.len());
    for (what, attributes) in [
        ("many attributes", beside(many(&unknown))),
        ("an attribute of many values", beside(attribute("1.2.3.4", &[&repeated(&[5, 0], room & !1)]))),
        ("a deep attribute", beside(attribute("1.2.3.4", &[&nested(0x30, room)]))),
        ("many names", san(many(&dns))),
        ("many extensions", with(&many(&extension))),
        ("many extensions of as many types", {
            let extensions: Vec<u8> = (0..2_000).flat_map(|number| forge::extension(&format!("1.2.3.{number}"), &[5, 0])).collect();
            with(&extensions)
        }),
        ("many usages", forge::extension_request(&[&forge::extension("2.5.29.37", &sequence(&[&many(&usage)]))])),
        ("a deep name", san(tlv(0xa0, &[&nested(0x30, room)]))),
        ("a long name", san(tlv(0x82, &[&vec![b'a'; room]]))),
        ("a long extension", with(&forge::extension("2.5.29.14", &tlv(4, &[&vec![7; room]])))),
        ("a long challenge beside the good one", beside(attribute("1.2.840.113549.1.9.7", &[&tlv(0x0c, &[&vec![b'a'; room]])]))),
    ] {
        let csr = forge::csr_of_parts(key, &subject, &attributes, key);
        let client = Client { csr, ..Client::new(key, "CN=device", what) };
        let (message, to) = client.message(&ra);
        assert!(message.len() <= LARGEST, "{what}: {}", message.len());
        let start = Instant::now();
        let reply = client.reply(&watched.post(&message), &to, &ra);
        assert!(start.elapsed() < SOON, "{what} took {:?}", start.elapsed());
        // A long extension that is allowed changes nothing: it is not copied.
        let expected: &[_] = if what == "a long extension" { &[GRANTED] } else { &[REFUSED, NOT_VERIFIED] };
        assert!(expected.contains(&outcome(&reply)), "{what}: {:?}", outcome(&reply));
        assert_eq!(watched.asked().1, u32::from(what == "a long extension"), "{what}");
        watched.lab.ca.asks.store(0, Ordering::SeqCst);
    }
}

/// A key in a module that never answers.
#[derive(Debug)]
struct StuckKey {
    key: Arc<dyn DecryptionKey>,
    asked: AtomicU32,
}

#[async_trait]
impl DecryptionKey for StuckKey {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.key.public_key()
    }
    async fn unwrap(&self, request: &UnwrapRequest) -> Result<SecretBytes, UnwrapError> {
        if self.asked.fetch_add(1, Ordering::SeqCst) == 0 {
            std::future::pending::<()>().await;
        }
        self.key.unwrap(request).await
    }
}

#[test]
fn exhaustion_of_the_private_key_operations_gets_503_and_leaves_the_rest_at_work() {
    let lab = Lab::new(|builder| builder);
    let pair = shared_key(1);
    let key = Arc::new(StuckKey { key: pair.decryption.clone().unwrap(), asked: AtomicU32::new(0) });
    let ra = RegistrationAuthority::single(lab.ra.der().clone(), pair.signing.clone(), key.clone());
    let builder = lab.builder_before(lab.journal.clone(), ra, lab.validator.clone());
    let service = lab.runtime.block_on(builder.admission(Admission::default().with_key_operations(1, 0)).build()).unwrap();
    let (first, second) = (lab.client(), lab.client());
    let (message, _) = first.message(&lab.ra);
    let mut stuck = Box::pin(service.handle(Request::post("operation=PKIOperation", message)));
    while key.asked.load(Ordering::SeqCst) == 0 {
        assert!(stuck.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        std::thread::yield_now();
    }
    let _ = lab.sink.take();
    let (message, to) = second.message(&lab.ra);
    let response = lab.runtime.block_on(service.handle(Request::post("operation=PKIOperation", message.clone())));
    assert_eq!((response.status, response.retry_after), (503, Some(Duration::from_secs(5))));
    assert_eq!(lab.codes(), [4003, 4001]);
    assert_eq!(lab.admin()[0].details.get("stage").map(String::as_str), Some("admission"));
    assert_eq!((key.asked.load(Ordering::SeqCst), lab.validator.calls.load(Ordering::SeqCst)), (1, 0));
    let caps = lab.runtime.block_on(service.handle(Request::get("operation=GetCACaps")));
    assert_eq!(caps.status, 200, "what takes no key is served");
    drop(stuck);
    let response = lab.runtime.block_on(service.handle(Request::post("operation=PKIOperation", message)));
    second.certificate(&second.reply(&response, &to, &lab.ra));
}
