//! What an attacker learns from answers: one answer for all that is wrong inside, one private-key operation at most; downgrades; the RA's keys.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use intune_connector::crypto::{ContentCipherAlgorithm, KeyTransportAlgorithm};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::enveloped::LegacyCiphers;
use intune_connector::message::scep::{Nonce, PkiRequestBuilder, ReplyTo, TransactionName};
use intune_connector::scep::{AlgorithmPolicy, RegistrationAuthority, Request};
use intune_connector::terms::KeyUsage;
use intune_connector::time::Timestamp;

use crate::forge::{self, AES_128_CBC, RSA_ENCRYPTION, SENDER_NONCE, Sealed, TRANSACTION_ID, around, key_trans, wrap};
use crate::make::{DATA, SIGNED_DATA, algorithm, attribute, content_info, integer, oid, sequence, tlv};
use crate::scep_lab::{Client, KeyPair, Lab, TestCa, name, provider, shared_key};
use crate::support;
use crate::watched::{BAD_ALG, GRANTED, NOT_VERIFIED, Shape, Watched, WatchedDecryption, WatchedSigning, outcome};

/// The shapes of the answers to PKCSReqs with these envelopes; they must all be one, which a control that is served is not.
fn all_alike(watched: &Watched, envelopes: Vec<(String, Vec<u8>)>) -> Shape {
    let mut first: Option<(String, Shape)> = None;
    for (number, (what, envelope)) in envelopes.into_iter().enumerate() {
        let client = Client::new(shared_key(2), "CN=device", &format!("t-{number:05}"));
        let (message, to) = around(&client, &envelope);
        let shape = watched.shape(&client, &message, &to);
        let (first_what, first) = first.get_or_insert_with(|| (what.clone(), shape.clone()));
        assert_eq!(shape, *first, "{what} against {first_what}");
    }
    assert_eq!(watched.asked(), (0, 0));
    let control = Client::new(shared_key(2), "CN=device", "control");
    let sealed = Sealed::new(&control.csr);
    let envelope = sealed.envelope(&[key_trans(&watched.lab.ra, &wrap(&watched.lab.ra, &sealed.key))]);
    let (message, to) = around(&control, &envelope);
    assert_eq!(watched.shape(&control, &message, &to).outcome, GRANTED);
    first.unwrap().1
}

#[test]
fn bleichenbacher_finds_one_answer_and_one_operation_whatever_the_content_key_is() {
    let key = shared_key(1).decryption.clone().unwrap();
    let shapes = [WatchedDecryption::new(key.clone()), WatchedDecryption::remote(key)].map(wrong_content_keys);
    for shape in &shapes {
        assert_eq!((shape.outcome, shape.text.as_deref(), shape.unwraps, shape.signatures), (NOT_VERIFIED, None, 1, 1));
    }
    assert_eq!(shapes[0], shapes[1], "where the key is does not show");
}

/// The answer to content keys that are wrong in every way.
fn wrong_content_keys(decryption: WatchedDecryption) -> Shape {
    let watched = Watched::with_key(TestCa::new(shared_key(0)), decryption, |builder| builder);
    let ra = watched.lab.ra.clone();
    let sealed = Sealed::new(&Client::new(shared_key(2), "CN=device", "x").csr);
    let good = wrap(&ra, &sealed.key);
    let mut envelopes = Vec::new();
    let mut add = |what: String, encrypted: &[u8]| envelopes.push((what, sealed.envelope(&[key_trans(&ra, encrypted)])));
    // What decrypts to anything: almost surely to no padding at all.
    for at in [0, 1, 2, 100, 200, 254, 255] {
        let mut tampered = good.clone();
        tampered[at] ^= 1;
        add(format!("bit {at}"), &tampered);
    }
    // A good padding around a key that does not fit, or is another.
    for len in [0, 1, 8, 15, 17, 24, 32, 48, 200, 245] {
        add(format!("a key of {len} bytes"), &wrap(&ra, &vec![7; len]));
    }
    add("another key".to_owned(), &wrap(&ra, &[7; 16]));
    add("encrypted to another RSA key".to_owned(), &forge_wrap(shared_key(3), &sealed.key));
    // Numbers at the edges: 0, 1, and above the modulus.
    let mut one = vec![0; 256];
    one[255] = 1;
    add("zero".to_owned(), &[0; 256]);
    add("one".to_owned(), &one);
    add("above the modulus".to_owned(), &[0xff; 256]);
    // Lengths are public, and still tell nothing.
    add("too short".to_owned(), &good[..255]);
    add("too long".to_owned(), &[&[0], &good[..]].concat());
    add("empty".to_owned(), &[]);
    all_alike(&watched, envelopes)
}

fn forge_wrap(key: &KeyPair, secret: &[u8]) -> Vec<u8> {
    provider().key_transport().unwrap().encrypt(KeyTransportAlgorithm::RsaPkcs1v15, &key.spki, secret).unwrap()
}

#[test]
fn bleichenbacher_gets_no_operation_at_all_without_a_good_outer_signature() {
    let watched = Watched::new(|builder| builder);
    let client = watched.lab.client();
    let (message, _) = client.message(&watched.lab.ra);
    // The signature, and the content that it is over.
    for from_the_end in [1, 100, 255] {
        let mut tampered = message.clone();
        let at = tampered.len() - from_the_end;
        tampered[at] ^= 1;
        let _ = watched.post(&tampered);
    }
    let mut tampered = message.clone();
    tampered[200] ^= 1;
    assert_eq!(watched.post(&tampered).status, 400);
    assert_eq!((watched.unwraps(), watched.signing.asked.load(Ordering::SeqCst)), (0, 0));
}

#[test]
fn several_recipients_only_ours_is_asked_and_once_however_often_it_is_named() {
    let watched = Watched::new(|builder| builder);
    let ra = watched.lab.ra.clone();
    let ca = Certificate::from_der(&watched.lab.ca.certificate, &Limits::default()).unwrap();
    let client = watched.lab.client();
    let sealed = Sealed::new(&client.csr);
    let (good, bad) = (key_trans(&ra, &wrap(&ra, &sealed.key)), key_trans(&ra, &wrap(&ra, &[7; 16])));
    let others: Vec<Vec<u8>> = (0..20).map(|_| key_trans(&ca, &wrap(&ra, &sealed.key))).collect();
    // A try in each recipient: only the first that names us counts, so that a message is one guess.
    let guesses: Vec<Vec<u8>> = (0..30u8).map(|guess| key_trans(&ra, &[guess; 256])).collect();
    for (what, recipients, expected, unwraps) in [
        ("ours behind those of others", [&others[..], std::slice::from_ref(&good)].concat(), GRANTED, 1),
        ("guesses, and the good one last", [&guesses[..], std::slice::from_ref(&good)].concat(), NOT_VERIFIED, 1),
        ("a bad one before the good one", vec![bad.clone(), good.clone()], NOT_VERIFIED, 1),
        ("others alone", others.clone(), NOT_VERIFIED, 0),
        ("none", vec![], NOT_VERIFIED, 0),
        ("more than a message may have", vec![good.clone(); 65], NOT_VERIFIED, 0),
    ] {
        let before = watched.unwraps();
        let client = Client { csr: client.csr.clone(), ..Client::new(shared_key(2), "CN=device-1", what) };
        let (message, to) = around(&client, &sealed.envelope(&recipients));
        let reply = client.reply(&watched.post(&message), &to, &watched.lab.ra);
        assert_eq!((outcome(&reply), watched.unwraps() - before), (expected, unwraps), "{what}");
    }
    assert_eq!(watched.asked(), (1, 1));
}

#[test]
fn cbc_padding_of_every_kind_gets_one_answer() {
    let watched = Watched::new(|builder| builder);
    let ra = watched.lab.ra.clone();
    let client = Client::new(shared_key(2), "CN=device", "x");
    let sealed = Sealed::new(&client.csr);
    let wrapped = key_trans(&ra, &wrap(&ra, &sealed.key));
    // The last octet of the block before the last one goes through all differences: one of them gives a padding of one octet.
    let at = sealed.ciphertext.len() - 17;
    let envelopes: Vec<(String, Vec<u8>)> = (1..=255u8)
        .step_by(2)
        .map(|difference| {
            let mut ciphertext = sealed.ciphertext.clone();
            ciphertext[at] ^= difference;
            let tampered = Sealed { iv: sealed.iv, key: sealed.key, ciphertext };
            (format!("difference {difference}"), tampered.envelope(std::slice::from_ref(&wrapped)))
        })
        .collect();
    let shape = all_alike(&watched, envelopes);
    assert_eq!((shape.outcome, shape.text, shape.unwraps), (NOT_VERIFIED, None, 1));
    // A good padding after the wrong CSR, at each possible length of the padding.
    let watched = Watched::new(|builder| builder);
    let envelopes = (0..16)
        .map(|len| {
            let sealed = Sealed::new(&vec![0x30; 1_000 + len]);
            let wrapped = key_trans(&watched.lab.ra, &wrap(&watched.lab.ra, &sealed.key));
            (format!("{len} more"), sealed.envelope(&[wrapped]))
        })
        .collect();
    assert_eq!(all_alike(&watched, envelopes).outcome, NOT_VERIFIED);
}

#[test]
fn cbc_padding_lengths_and_parameters_that_show_outside_are_refused() {
    let watched = Watched::new(|builder| builder);
    let ra = watched.lab.ra.clone();
    let client = watched.lab.client();
    let sealed = Sealed::new(&client.csr);
    let recipients = [key_trans(&ra, &wrap(&ra, &sealed.key))];
    let cipher = |iv: &[u8]| algorithm(AES_128_CBC, &tlv(4, &[iv]));
    let len = sealed.ciphertext.len();
    for (what, cipher, ciphertext) in [
        ("a block and a half", cipher(&sealed.iv), Some(&sealed.ciphertext[..24])),
        ("one octet less", cipher(&sealed.iv), Some(&sealed.ciphertext[..len - 1])),
        ("empty", cipher(&sealed.iv), Some(&[][..])),
        ("absent", cipher(&sealed.iv), None),
        ("one block", cipher(&sealed.iv), Some(&sealed.ciphertext[..16])),
        ("a short IV", cipher(&sealed.iv[..15]), Some(&sealed.ciphertext[..])),
        ("a long IV", cipher(&[&sealed.iv[..], &[0]].concat()), Some(&sealed.ciphertext[..])),
        ("no IV", algorithm(AES_128_CBC, &[]), Some(&sealed.ciphertext[..])),
        ("an IV of NULL", algorithm(AES_128_CBC, &[5, 0]), Some(&sealed.ciphertext[..])),
    ] {
        let client = Client { csr: Vec::new(), ..Client::new(shared_key(2), "CN=device-1", what) };
        let (message, to) = around(&client, &forge::envelope(&recipients, &cipher, ciphertext));
        let reply = client.reply(&watched.post(&message), &to, &watched.lab.ra);
        assert_eq!((outcome(&reply), reply.fail_info_text()), (NOT_VERIFIED, None), "{what}");
    }
    assert_eq!(watched.asked(), (0, 0));
}

const POLICIES: [AlgorithmPolicy; 3] =
    [AlgorithmPolicy::Modern, AlgorithmPolicy::DangerousAllow3DesAndSha1, AlgorithmPolicy::DangerousReadSingleDes];

#[test]
fn downgrade_finds_nothing_weak_in_the_capabilities_and_a_man_in_the_middle_of_them_gains_nothing() {
    for policy in POLICIES {
        let watched = Watched::new(|builder| builder.algorithms(policy));
        let caps = watched.lab.runtime.block_on(watched.service.handle(Request::get("operation=GetCACaps")));
        let caps = String::from_utf8(caps.body).unwrap();
        let weak = policy != AlgorithmPolicy::Modern;
        for (word, listed) in [("DES3", weak), ("SHA-1", weak), ("AES", true), ("SHA-256", true)] {
            assert_eq!(caps.lines().any(|line| line == word), listed, "{policy:?} {word}");
        }
        assert!(caps.lines().all(|line| !["DES", "MD5", "RC2", "SHA-0"].contains(&line)), "{caps}");
        // The client was told by the man in the middle that there is nothing else: ciphers that no policy has.
        let client = watched.lab.client();
        let wrapped = [key_trans(&watched.lab.ra, &wrap(&watched.lab.ra, &[7; 8]))];
        for (what, identifier) in [
            ("DES-CBC", algorithm("1.3.14.3.2.7", &tlv(4, &[&[1; 8]]))),
            ("DES-ECB", algorithm("1.3.14.3.2.6", &[])),
            ("RC2", algorithm("1.2.840.113549.3.2", &sequence(&[&integer(&[58]), &tlv(4, &[&[1; 8]])]))),
            ("RC4", algorithm("1.2.840.113549.3.4", &[5, 0])),
            ("none", algorithm("1.2.3.4", &[])),
        ] {
            let (message, to) = around(&client, &forge::envelope(&wrapped, &identifier, Some(&[1; 64])));
            let reply = client.reply(&watched.post(&message), &to, &watched.lab.ra);
            assert_eq!(outcome(&reply), BAD_ALG, "{policy:?} {what}");
        }
        assert_eq!((watched.unwraps(), watched.asked()), (0, (0, 0)));
    }
}

/// Signs as the software keys of the crate do not.
fn openssl_sign(digest: &str, client: &Client, message: &[u8]) -> Vec<u8> {
    let dir = support::scratch();
    let (key, input) = (dir.path().join("key"), dir.path().join("message"));
    std::fs::write(&key, client.key.pkcs8.secret_pkcs8_der()).unwrap();
    std::fs::write(&input, message).unwrap();
    let mut command = Command::new("openssl");
    support::run(command.args(["dgst", digest, "-keyform", "DER", "-sign"]).arg(&key).arg(&input)).stdout
}

fn openssl_digest(digest: &str, message: &[u8]) -> Vec<u8> {
    let dir = support::scratch();
    let input = dir.path().join("message");
    std::fs::write(&input, message).unwrap();
    support::run(Command::new("openssl").args(["dgst", digest, "-binary"]).arg(Path::new(&input))).stdout
}

/// A PKCSReq whose digest and signature are openssl's.
fn signed_with(digest: &str, digest_oid: &str, client: &Client, envelope: &[u8]) -> (Vec<u8>, ReplyTo) {
    let (transaction, nonce) = (TransactionName::new(client.transaction.clone()), Nonce::random(provider()).unwrap());
    let mut attributes = [
        attribute("1.2.840.113549.1.9.3", &[&oid(DATA)]),
        attribute("1.2.840.113549.1.9.4", &[&tlv(4, &[&openssl_digest(digest, envelope)])]),
        attribute(forge::MESSAGE_TYPE, &[&tlv(0x13, &[b"19"])]),
        attribute(TRANSACTION_ID, &[&transaction.to_der()]),
        attribute(SENDER_NONCE, &[&tlv(4, &[nonce.as_bytes()])]),
    ];
    attributes.sort();
    let attributes: Vec<&[u8]> = attributes.iter().map(Vec::as_slice).collect();
    let signature = openssl_sign(digest, client, &tlv(0x31, &attributes));
    let algorithm_of_digest = algorithm(digest_oid, &[5, 0]);
    let sid = sequence(&[client.signer.issuer().as_der(), &integer(client.signer.serial_raw())]);
    let signer_info = sequence(&[
        &integer(&[1]),
        &sid,
        &algorithm_of_digest,
        &tlv(0xa0, &attributes),
        &algorithm(RSA_ENCRYPTION, &[5, 0]),
        &tlv(4, &[&signature]),
    ]);
    let signed = sequence(&[
        &integer(&[1]),
        &tlv(0x31, &[&algorithm_of_digest]),
        &content_info(DATA, &tlv(4, &[envelope])),
        &tlv(0xa0, &[client.signer.der()]),
        &tlv(0x31, &[&signer_info]),
    ]);
    (content_info(SIGNED_DATA, &signed), ReplyTo::new(transaction, nonce))
}

#[test]
fn downgrade_to_md5_is_no_request_under_any_policy_and_to_sha1_only_under_those_that_say_so() {
    if support::tool("openssl").is_none() {
        return;
    }
    for policy in POLICIES {
        let watched = Watched::new(|builder| builder.algorithms(policy));
        let legacy = policy != AlgorithmPolicy::Modern;
        for (digest, digest_oid, expected) in [
            ("-md5", "1.2.840.113549.2.5", None),
            ("-sha1", "1.3.14.3.2.26", Some(if legacy { GRANTED } else { BAD_ALG })),
            ("-sha256", "2.16.840.1.101.3.4.2.1", Some(GRANTED)),
        ] {
            let before = watched.asked();
            let client = Client::new(shared_key(2), "CN=device", digest);
            let sealed = Sealed::new(&client.csr);
            let envelope = sealed.envelope(&[key_trans(&watched.lab.ra, &wrap(&watched.lab.ra, &sealed.key))]);
            let (message, to) = signed_with(digest, digest_oid, &client, &envelope);
            let response = watched.post(&message);
            match expected {
                None => assert_eq!(response.status, 400, "{policy:?} {digest}"),
                Some(expected) => {
                    assert_eq!(outcome(&client.reply(&response, &to, &watched.lab.ra)), expected, "{policy:?} {digest}");
                }
            }
            let served = u32::from(expected == Some(GRANTED));
            assert_eq!(watched.asked(), (before.0 + served, before.1 + served), "{policy:?} {digest}");
        }
    }
}

/// A service with a key for each use.
fn pair(decryption: WatchedDecryption) -> (Watched, Certificate) {
    let mut lab = Lab::new(|builder| builder);
    let until = Timestamp::system_now().saturating_add(std::time::Duration::from_secs(86_400));
    let usage = |usage: KeyUsage, subject: &str, key: &KeyPair| {
        let der = lab.ca.make(name(subject), &key.spki, |builder| builder.key_usage(usage), until);
        Certificate::from_der(&der, &Limits::default()).unwrap()
    };
    let signs = usage(KeyUsage { digital_signature: true, ..KeyUsage::default() }, "CN=RA signs", shared_key(1));
    let decrypts = usage(KeyUsage { key_encipherment: true, ..KeyUsage::default() }, "CN=RA decrypts", shared_key(3));
    let (decryption, signing) = (Arc::new(decryption), Arc::new(WatchedSigning::new(shared_key(1).signing.clone())));
    let ra = RegistrationAuthority::pair(signs.der().clone(), signing.clone(), decrypts.der().clone(), decryption.clone());
    let builder = lab.builder_before(lab.journal.clone(), ra, lab.validator.clone());
    let service = lab.runtime.block_on(builder.build()).unwrap();
    lab.ra = signs;
    (Watched { lab, service, decryption, signing }, decrypts)
}

const TRANSPORTS: [KeyTransportAlgorithm; 3] =
    [KeyTransportAlgorithm::RsaPkcs1v15, KeyTransportAlgorithm::RsaOaepSha1, KeyTransportAlgorithm::RsaOaepSha256];

fn message_by(client: &Client, transport: KeyTransportAlgorithm, to: &Certificate) -> (Vec<u8>, ReplyTo) {
    let builder = PkiRequestBuilder::pkcs_req(client.transaction.clone(), &client.csr);
    client.message_with(to, builder.algorithms(ContentCipherAlgorithm::Aes128Cbc, transport, LegacyCiphers::Refuse))
}

#[test]
fn ra_keys_of_a_pair_are_each_asked_for_their_own_use_alone() {
    let (watched, decrypts) = pair(WatchedDecryption::new(shared_key(3).decryption.clone().unwrap()));
    for (number, transport) in TRANSPORTS.into_iter().enumerate() {
        let client = watched.lab.client();
        let (message, to) = message_by(&client, transport, &decrypts);
        client.certificate(&client.reply(&watched.post(&message), &to, &watched.lab.ra));
        assert_eq!(*watched.decryption.asked.lock().unwrap(), TRANSPORTS[..=number].iter().copied().map(Some).collect::<Vec<_>>());
        assert_eq!(watched.signing.asked.load(Ordering::SeqCst) as usize, number + 1);
    }
    // What is encrypted to the key that signs is opened by neither.
    let client = watched.lab.client();
    let (message, to) = client.message(&watched.lab.ra);
    assert_eq!(outcome(&client.reply(&watched.post(&message), &to, &watched.lab.ra)), NOT_VERIFIED);
    assert_eq!(watched.unwraps(), TRANSPORTS.len());
}

#[test]
fn ra_keys_in_a_module_without_pkcs1_v1_5_serve_oaep_and_refuse_the_rest_alike() {
    let decryption = WatchedDecryption::only_oaep(shared_key(3).decryption.clone().unwrap());
    let (watched, decrypts) = pair(decryption);
    for transport in TRANSPORTS {
        let client = watched.lab.client();
        let (message, to) = message_by(&client, transport, &decrypts);
        let reply = client.reply(&watched.post(&message), &to, &watched.lab.ra);
        let expected = if transport == KeyTransportAlgorithm::RsaPkcs1v15 { NOT_VERIFIED } else { GRANTED };
        assert_eq!(outcome(&reply), expected, "{transport:?}");
    }
    // A content key that is broken gets what a good one gets: the module never looked at it.
    let mut shapes = Vec::new();
    for secret in [&[7; 16][..], &[7; 15]] {
        let client = Client::new(shared_key(2), "CN=device", "same");
        let sealed = Sealed::new(&client.csr);
        let envelope = sealed.envelope(&[key_trans(&decrypts, &forge_wrap(shared_key(3), secret))]);
        let (message, to) = around(&client, &envelope);
        shapes.push(watched.shape(&client, &message, &to));
    }
    assert_eq!(shapes[0], shapes[1]);
}
