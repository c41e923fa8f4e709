//! What answers say of the inside: nothing but the numbers of the RFC and a few fixed sentences.

use std::sync::atomic::Ordering;

use intune_connector::limits::Limits;
use intune_connector::message::enveloped::LegacyCiphers;
use intune_connector::message::scep::PkiStatus;
use intune_connector::ports::RowKind;
use intune_connector::scep::{Admission, Method, NotificationPolicy, Request, Response};

use crate::forge::csr;
use crate::scep_lab::{CHALLENGE, Client, Fault, Lab, shared_key};

/// Every text that is ever sent.
const SENTENCES: [&str; 7] = [
    "the message is not a SCEP request\n",
    "the server is busy, try again later\n",
    "SCEP uses GET and POST\n",
    "unknown or missing operation\n",
    "PKIOperation without a message\n",
    "the message is not base64\n",
    "the message is too long\n",
];

/// What the inside says when it fails: of the CA, the validator, the notifier, the journal, the policy, the code; and secrets.
const INSIDE: [&str; 22] = [
    "the CA denies it",
    "0x80094014",
    "the CA is away",
    "the CA's code panics",
    "panicked",
    "the connection broke",
    "somebody else",
    "WrongChallenge",
    "missing or wrong",
    "no space left on device",
    "journal",
    "devices may not",
    "csr-extension",
    "1.2.3.4",
    "allow_",
    "src/scep",
    "Error",
    "error:",
    "padding",
    "decryption",
    CHALLENGE,
    "lab-1",
];

fn says_nothing(what: &str, response: &Response) {
    assert_eq!(response.media_type, "text/plain", "{what}");
    let text = std::str::from_utf8(&response.body).unwrap();
    assert!(SENTENCES.contains(&text), "{what}: {text}");
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn error_text_of_a_failure_is_its_number_whatever_failed_inside() {
    type Break = fn(&Lab) -> Client;
    let cases: &[(&str, PkiStatus, Break)] = &[
        ("the CA refuses", PkiStatus::Failure, |lab| {
            lab.ca.faults.lock().unwrap().push(Fault::Reject);
            lab.client()
        }),
        ("the CA fails each time", PkiStatus::Failure, |lab| {
            lab.ca.faults.lock().unwrap().extend([Fault::Fail; 9]);
            lab.client()
        }),
        ("the CA issues something else", PkiStatus::Failure, |lab| {
            lab.ca.faults.lock().unwrap().push(Fault::WrongSubject);
            lab.client()
        }),
        ("the validator is away", PkiStatus::Failure, |lab| {
            lab.validator.away.store(9, Ordering::SeqCst);
            lab.client()
        }),
        ("the challenge is wrong", PkiStatus::Failure, |_| Client::with_challenge(shared_key(2), "CN=thief", "t", "guess")),
        ("the notifier is away", PkiStatus::Failure, |lab| {
            lab.notifier.fail.store(99, Ordering::SeqCst);
            lab.client()
        }),
        ("the policy refuses", PkiStatus::Failure, |_| {
            let asked = csr(shared_key(2), "CN=device", |builder| builder.extension("1.2.3.4".parse().unwrap(), false, &[5, 0]));
            Client { csr: asked, ..Client::new(shared_key(2), "CN=device", "policy") }
        }),
        ("no CSR", PkiStatus::Failure, |lab| Client { csr: b"no CSR".to_vec(), ..lab.client() }),
        ("the CA loses its answer", PkiStatus::Success, |lab| {
            lab.ca.faults.lock().unwrap().push(Fault::LoseAnswer);
            lab.client()
        }),
        ("the CA's code panics", PkiStatus::Success, |lab| {
            lab.ca.faults.lock().unwrap().push(Fault::Panic);
            lab.client()
        }),
    ];
    for (what, status, wrong) in cases {
        for notification in [NotificationPolicy::NotifyBeforeRelease, NotificationPolicy::IssueThenNotify] {
            if *what == "the notifier is away" && notification == NotificationPolicy::IssueThenNotify {
                continue;
            }
            let lab = Lab::new(|builder| builder.notification(notification));
            let client = wrong(&lab);
            let (message, to) = client.message(&lab.ra);
            // The second time from the journal.
            for _ in 0..2 {
                let response = lab.post(&message);
                let reply = client.reply(&response, &to, &lab.ra);
                assert_eq!(reply.fail_info_text(), None, "{what}");
                for text in INSIDE {
                    assert!(!holds(&response.body, text.as_bytes()), "{what}: {text}");
                }
                if reply.status() != *status {
                    // What failed in passing succeeds when it is asked for again.
                    assert_eq!((reply.status(), *what), (PkiStatus::Success, "the CA fails each time"));
                }
            }
        }
    }
}

#[test]
fn error_text_of_http_is_one_of_a_few_sentences() {
    let lab = Lab::new(|builder| builder.admission(Admission::default().with_max_message(8_192)));
    let client = lab.client();
    let (message, _) = client.message(&lab.ra);
    let mut broken = message.clone();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    *lab.journal.refuse.lock().unwrap() = Some(RowKind::ScepTransaction);
    let requests = [
        ("a journal that is full", Request::post("operation=PKIOperation", message.clone()), 503),
        ("a wrong signature", Request::post("operation=PKIOperation", broken), 400),
        ("cut off", Request::post("operation=PKIOperation", message[..700].to_vec()), 400),
        ("no SCEP", Request::post("operation=PKIOperation", b"<script>alert(1)</script>".to_vec()), 400),
        ("nothing", Request::post("operation=PKIOperation", Vec::new()), 400),
        ("too long", Request::post("operation=PKIOperation", vec![0; 8_193]), 413),
        ("no base64", Request::get("operation=PKIOperation&message=%00%3Cscript%3E"), 400),
        ("no message", Request::get("operation=PKIOperation"), 400),
        ("an unknown operation", Request::get("operation=../../etc/passwd"), 404),
        ("an operation that is markup", Request::get("operation=%3Cscript%3E"), 404),
        ("none", Request::get(""), 404),
        ("another method", Request::new(Method::Other, "operation=PKIOperation", message), 405),
    ];
    for (what, request, status) in requests {
        let response = lab.handle(request);
        assert_eq!(response.status, status, "{what}");
        says_nothing(what, &response);
    }
    // GetNextCACert has a sentence of its own.
    let response = lab.handle(Request::get("operation=GetNextCACert"));
    assert_eq!((response.status, response.body.as_slice()), (404, &b"there is no next CA certificate\n"[..]));
}

#[test]
fn error_text_is_not_hidden_in_the_envelope_of_a_success_either() {
    let lab = Lab::new(|builder| builder);
    lab.ca.faults.lock().unwrap().push(Fault::LoseAnswer);
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    let reply = client.reply(&lab.post(&message), &to, &lab.ra);
    let content = client.content(&reply);
    assert_eq!((content.certificates().len(), content.crls().len(), content.signer_count()), (1, 0, 0));
    assert_eq!(content.unverified_content(), None);
    assert!(reply.open(LegacyCiphers::Refuse, &Limits::default()).unwrap().recipients().len() == 1);
}
