//! Who is let in, that each call is taken once, and what errors say.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::adapters::entra::{AccessToken, TokenSource};
use intune_connector::adapters::http::{HttpMethod, HttpRequest, HttpResponse};
use intune_connector::adapters::http_queue::{HttpQueue, HttpQueueConfig, QueueAuthentication};
use intune_connector::ports::{
    CompleteAnswer, CompleteRequest, HealthMessage, IntuneQueue as _, Outcome, PortError, PortErrorKind, QueueCapabilities, QueueItem,
    ReceiveRequest, RecryptResult, ResultItem, Runtime as _,
};
use intune_connector::retry::{Effect, Retry};
use intune_connector::secret::Password;
use intune_connector::terms::Flow;
use intune_connector::time::Timestamp;

use crate::tenant;
use crate::wire::{BASE, Fault, Lab, TOKEN, block_on, ids, meta, provider};

#[test]
fn a_captured_call_is_not_taken_a_second_time() {
    let lab = Lab::new();
    lab.fill(&["a", "b"]);
    assert_eq!(lab.receive(1).unwrap().len(), 1);
    let captured = lab.wire.last();
    let answer = lab.server.handle(&captured.request());
    assert_eq!(answer.status, 409);
    assert_eq!(lab.server.waiting(), 1, "the second request did not go out");
    // Not in other letters, either.
    let mut shouted = captured.clone();
    shouted.headers.iter_mut().filter(|(name, _)| name == "Request-Id").for_each(|(_, value)| value.make_ascii_uppercase());
    assert_eq!(lab.server.handle(&shouted.request()).status, 409);
}

#[test]
fn a_captured_call_is_too_old_when_its_id_is_forgotten() {
    let lab = Lab::new();
    lab.fill(&["a"]);
    assert_eq!(lab.receive(1).unwrap().len(), 1);
    let captured = lab.wire.last().request();
    for minutes in 1..=30 {
        lab.clock.advance(Duration::from_secs(60));
        let status = lab.server.handle(&captured).status;
        assert!(matches!(status, 409 | 400), "{status} after {minutes} minutes");
    }
}

#[test]
fn each_call_has_an_id_of_its_own_and_the_time() {
    let lab = Lab::new();
    lab.fill(&["a"]);
    lab.wire.fault(Fault::LoseAnswer);
    assert!(lab.receive(1).is_err());
    assert_eq!(lab.receive(1).unwrap().len(), 1);
    let posts: Vec<_> = lab.wire.calls().into_iter().filter(|call| call.operation() == "receive").collect();
    let (first, second) = (&posts[0], &posts[1]);
    assert_ne!(first.header("Request-Id"), second.header("Request-Id"));
    assert_eq!(first.body, second.body, "the delivery is the same");
    assert_eq!(first.header("Request-Timestamp"), "2027-01-15T08:00:00.000000Z");
}

#[test]
fn a_call_that_a_proxy_repeats_is_an_error_that_may_pass() {
    let lab = Lab::new();
    lab.fill(&["a"]);
    lab.wire.fault(Fault::Twice);
    let error = lab.receive(1).unwrap_err();
    assert_eq!((error.kind(), error.effect(), error.code()), (PortErrorKind::Transient, Effect::Unknown, Some("replayedRequest")));
    assert_eq!(ids(&lab.receive(1).unwrap()), ["a"], "and nothing is lost by it");
}

#[test]
fn a_clock_that_is_off_is_named_with_both_sides() {
    let lab = Lab::new();
    // The client has a clock of its own.
    let clock = crate::wire::Clock::new();
    clock.set_back(Duration::from_secs(400));
    let queue = HttpQueue::with_capabilities(
        crate::wire::config(),
        lab.wire.clone(),
        clock.clone(),
        provider(),
        QueueCapabilities::new(vec![Flow::Revoke]),
    );
    let queue = queue.unwrap();
    let receive = || block_on(queue.receive(ReceiveRequest::new(Flow::Revoke, "one".parse().unwrap(), 1)));
    let error = receive().unwrap_err();
    assert_eq!((error.kind(), error.code()), (PortErrorKind::Misconfigured, Some("clockSkew")));
    assert!(error.to_string().contains("this machine's clock is 400 s behind the queue's"), "{error}");
    clock.advance(Duration::from_secs(100));
    assert!(receive().is_ok());
}

#[test]
fn nobody_is_let_in_without_the_token() {
    let lab = Lab::new();
    lab.fill(&["a"]);
    assert_eq!(lab.receive(1).unwrap().len(), 1);
    let call = lab.wire.last();
    let with = |authorization: Option<&str>| {
        let mut call = call.clone();
        call.headers.retain(|(name, _)| name != "Authorization" && name != "Request-Id");
        call.headers.push(("Request-Id".to_owned(), format!("00000000-0000-4000-8000-{:012x}", authorization.map_or(0, str::len))));
        call.headers.extend(authorization.map(|value| ("Authorization".to_owned(), value.to_owned())));
        lab.server.handle(&call.request())
    };
    let (longer, shorter) = (format!("Bearer {TOKEN}x"), format!("Bearer {}", &TOKEN[1..]));
    for wrong in [None, Some(""), Some("Bearer"), Some("Bearer "), Some(TOKEN), Some("Basic Zm9v"), Some(&longer), Some(&shorter)] {
        let answer = with(wrong);
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{wrong:?}");
    }
    assert_eq!(with(Some(&format!("bearer {TOKEN}"))).status, 200);
}

#[test]
fn a_queue_without_tokens_lets_nobody_in_unless_it_is_told_to() {
    use intune_connector::sim::{OpenQueue, OpenQueueSettings};
    let clock = crate::wire::Clock::new();
    let settings = || OpenQueueSettings::new("contoso.com".parse().unwrap());
    let ask = |queue: &OpenQueue, bearer: Option<&str>| {
        let request = HttpRequest::new(HttpMethod::Get, format!("{BASE}/open-queue/v1/capabilities"));
        queue.handle(&match bearer {
            Some(token) => request.with_bearer(token),
            None => request,
        })
    };
    let ask = |queue: &OpenQueue, bearer| ask(queue, bearer).status;
    let closed = OpenQueue::new(settings(), clock.clone());
    assert_eq!((ask(&closed, None), ask(&closed, Some("")), ask(&closed, Some("x"))), (401, 401, 401));
    let open = OpenQueue::new(settings().dangerous_without_token(), clock);
    assert_eq!(ask(&open, None), 200);
}

/// Gives the tokens of a list, and keeps those that were refused.
#[derive(Debug, Default)]
struct Tokens {
    next: Mutex<VecDeque<&'static str>>,
    refused: Mutex<Vec<String>>,
}

#[async_trait]
impl TokenSource for Tokens {
    async fn token(&self, scope: &str, _: Duration) -> Result<Arc<AccessToken>, PortError> {
        assert_eq!(scope, "api://queue/.default");
        let next = self.next.lock().unwrap().pop_front();
        let token = next.ok_or_else(|| PortError::misconfigured("there are no more tokens"))?;
        Ok(Arc::new(AccessToken::new(Password::from(token), Timestamp::from_micros(i64::MAX))))
    }

    fn refused(&self, _: &str, token: &AccessToken) {
        self.refused.lock().unwrap().push(token.secret_str().to_owned());
    }
}

fn with_tokens(tokens: &[&'static str]) -> (Lab, Arc<Tokens>) {
    let source = Arc::new(Tokens::default());
    source.next.lock().unwrap().push_back(TOKEN);
    let lab = Lab::with(
        |settings| settings,
        |config| HttpQueueConfig::new(config.base, config.tenant, QueueAuthentication::bearer(source.clone(), "api://queue/.default")),
    );
    source.next.lock().unwrap().extend(tokens);
    (lab, source)
}

#[test]
fn a_refused_token_is_dropped_and_another_one_tried_once() {
    let (lab, source) = with_tokens(&["old", TOKEN]);
    lab.fill(&["a"]);
    assert_eq!(lab.receive(1).unwrap().len(), 1);
    assert_eq!(*source.refused.lock().unwrap(), ["old"]);
    let receives: BTreeSet<_> = lab
        .wire
        .calls()
        .into_iter()
        .filter(|call| call.operation() == "receive")
        .map(|call| call.header("Request-Id").to_owned())
        .collect();
    assert_eq!(receives.len(), 2, "each has an id of its own");
}

#[test]
fn two_refused_tokens_are_an_error_for_the_operator() {
    let (lab, source) = with_tokens(&["old", "older", TOKEN]);
    let error = lab.receive(1).unwrap_err();
    assert_eq!((error.kind(), error.code(), error.effect()), (PortErrorKind::Misconfigured, Some("unauthorized"), Effect::None));
    assert_eq!(*source.refused.lock().unwrap(), ["old", "older"]);
    assert_eq!(source.next.lock().unwrap().len(), 1);
}

#[test]
fn a_token_that_does_not_change_is_not_tried_twice() {
    let (lab, source) = with_tokens(&["old", "old"]);
    assert!(lab.receive(1).is_err());
    assert_eq!(*source.refused.lock().unwrap(), ["old"]);
    assert_eq!(lab.wire.calls().iter().filter(|call| call.operation() == "receive").count(), 1);
}

#[test]
fn with_mutual_tls_no_header_names_the_client() {
    let lab = Lab::with(
        |settings| settings.dangerous_without_token(),
        |config| HttpQueueConfig::new(config.base, config.tenant, QueueAuthentication::MutualTls),
    );
    assert!(lab.receive(1).unwrap().is_empty());
    assert!(lab.wire.calls().iter().all(|call| call.header("Authorization").is_empty()));
}

#[test]
fn a_redirect_is_not_followed_and_a_sign_in_page_is_no_batch() {
    let lab = Lab::new();
    lab.wire.fault(Fault::Answer(HttpResponse::new(302, Vec::new()).with_header("Location", "https://elsewhere.example/")));
    assert_eq!(lab.receive(1).unwrap_err().kind(), PortErrorKind::Misconfigured);
    let page = b"<!DOCTYPE html><html><head><title>Sign in to the Wi-Fi</title></head></html>".to_vec();
    lab.wire.fault(Fault::Answer(HttpResponse::new(200, page)));
    let error = lab.receive(1).unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Transient);
    assert!(error.to_string().contains("`Sign in to the Wi-Fi`"), "{error}");
    lab.wire.fault(Fault::Answer(HttpResponse::new(503, Vec::new()).with_header("Retry-After", "120")));
    let error = lab.receive(1).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (PortErrorKind::Throttled, Retry::After(Duration::from_secs(120))));
}

#[test]
fn a_queue_that_takes_no_health_messages_says_so() {
    let lab = Lab::new();
    lab.wire.fault(Fault::Answer(HttpResponse::new(501, Vec::new())));
    let message = || HealthMessage::new("contoso.com".parse().unwrap(), "one".parse().unwrap(), lab.clock.now());
    assert_eq!(block_on(lab.queue.report_health(message())).unwrap_err().kind(), PortErrorKind::Unsupported);
    block_on(lab.queue.report_health(message())).unwrap();
    assert_eq!(lab.server.health_messages(), [message()]);
}

#[test]
fn an_upload_with_too_few_answers_is_an_error_and_none_is_guessed() {
    let lab = Lab::new();
    lab.fill(&["a", "b"]);
    assert_eq!(lab.receive(2).unwrap().len(), 2);
    lab.wire.fault(Fault::Answer(HttpResponse::new(200, br#"{"answers": [{"answer": "accepted"}]}"#.to_vec())));
    let error = lab.complete(&[("a", "x"), ("b", "x")]).unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Transient);
    assert!(error.to_string().contains("1 answers to 2 results"), "{error}");
}

#[test]
fn many_results_are_uploaded_in_parts_and_one_that_never_fits_is_refused() {
    let lab = Lab::with(|settings| settings.with_max_batch(3).with_max_body(40_000), |config| config.with_max_upload_bytes(64 << 10));
    let sizes = [10, 20_000, 60_000, 10, 20_000, 10, 10];
    for number in 0..sizes.len() {
        lab.push(Flow::PkcsRecrypt, &format!("r{number}"), tenant::recrypt());
    }
    for _ in 0..3 {
        block_on(lab.queue.receive(ReceiveRequest::new(Flow::PkcsRecrypt, "one".parse().unwrap(), 9))).unwrap();
    }
    let result = |(number, size): (usize, &usize)| {
        ResultItem::new(meta(Flow::PkcsRecrypt, &format!("r{number}")), Outcome::Recrypt(RecryptResult::new(vec![7; *size])))
    };
    let results = sizes.iter().enumerate().map(result).collect();
    let answers = block_on(lab.queue.complete(CompleteRequest::new(Flow::PkcsRecrypt, "one".parse().unwrap(), results))).unwrap();
    assert_eq!(answers.len(), 7);
    for (at, answer) in answers.iter().enumerate() {
        assert_eq!(matches!(answer, CompleteAnswer::Refused(_)), at == 2, "{at}: {answer:?}");
    }
    assert_eq!(lab.server.accepted().len(), 6);
}

#[test]
fn what_the_server_does_not_serve_is_named() {
    let lab = Lab::new();
    let other = HttpQueueConfig::new(BASE, "fabrikam.example".parse().unwrap(), crate::wire::config().authentication);
    let ask = |config: HttpQueueConfig, flow: Flow| {
        let capabilities = QueueCapabilities::new(vec![flow]);
        let queue = HttpQueue::with_capabilities(config, lab.wire.clone(), lab.clock.clone(), provider(), capabilities).unwrap();
        block_on(queue.receive(ReceiveRequest::new(flow, "one".parse().unwrap(), 1))).unwrap_err()
    };
    let foreign = ask(other, Flow::Revoke);
    assert_eq!((foreign.kind(), foreign.code()), (PortErrorKind::Misconfigured, Some("foreignTenant")));
    let unserved = ask(crate::wire::config(), Flow::Scep);
    assert_eq!((unserved.kind(), unserved.code()), (PortErrorKind::Unsupported, Some("unsupportedFlow")));
    let mut lost = crate::wire::config();
    lost.base = "https://queue.contoso.example/open-queue/v2".to_owned();
    assert!(
        block_on(HttpQueue::connect(lost, lab.wire.clone(), lab.clock.clone(), provider())).is_ok(),
        "any base will do for the simulator"
    );
}

#[test]
fn malformed_calls_are_refused_with_what_is_wrong() {
    let lab = Lab::new();
    assert!(lab.receive(1).is_ok());
    let call = lab.wire.last();
    let mut number = 0;
    let mut ask = |edit: &dyn Fn(&mut crate::wire::Exchange)| {
        let mut call = call.clone();
        number += 1;
        call.headers.retain(|(name, _)| name != "Request-Id");
        call.headers.push(("Request-Id".to_owned(), format!("00000000-0000-4000-8000-{number:012}")));
        edit(&mut call);
        let answer = lab.server.handle(&call.request());
        (answer.status, String::from_utf8(answer.body.secret_bytes().to_vec()).unwrap())
    };
    let drop = |name: &'static str| move |call: &mut crate::wire::Exchange| call.headers.retain(|(given, _)| given != name);
    let body = |text: &'static str| move |call: &mut crate::wire::Exchange| call.body = Some(text.to_owned());
    assert_eq!(ask(&|_| ()).0, 200);
    for (edit, status, says) in [
        (&drop("Request-Id") as &dyn Fn(&mut crate::wire::Exchange), 400, "`Request-Id` is missing"),
        (&drop("Request-Timestamp"), 400, "`Request-Timestamp` is missing"),
        (&drop("Content-Type"), 415, "application/json"),
        (&body("{"), 400, "it ends too early"),
        (&body("[]"), 400, "it is no JSON object"),
        (&body("{}"), 400, "`tenant` is missing"),
        (
            &body(r#"{"tenant": "contoso.com", "flow": "revoke", "instance": "one", "max": 1, "maxBytes": 65536, "delivery": "x"}"#),
            400,
            "GUID",
        ),
        (&|call| call.url = call.url.replace("receive", "recieve"), 404, "no such operation"),
        (&|call| call.method = HttpMethod::Get, 405, "POST"),
    ] {
        let (given, text) = ask(edit);
        assert!(given == status && text.contains(says), "{given} {text}");
    }
}

#[test]
fn ids_of_calls_are_bounded_and_none_is_forgotten_early() {
    let lab = Lab::with(|settings| settings.with_most_kept(3), |config| config);
    for _ in 0..3 {
        assert!(lab.receive(1).is_ok());
    }
    let error = lab.receive(1).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (PortErrorKind::Throttled, Retry::After(Duration::from_secs(30))));
    lab.clock.advance(Duration::from_secs(601));
    assert!(lab.receive(1).is_ok());
}

#[test]
fn secrets_are_in_no_debug_text_and_no_error() {
    let lab = Lab::new();
    lab.push(Flow::PkcsImport, "a", tenant::import(tenant::IMPORT_PASSWORD));
    let mut shown = format!("{:?} {:?} {:?}", lab.queue, lab.server, crate::wire::config());
    let receive = || {
        let request = ReceiveRequest::new(Flow::PkcsImport, "one".parse().unwrap(), 1);
        block_on(lab.queue.receive(request)).map(|batch| batch.items)
    };
    // Each failure carries the whole batch, or a part of it.
    lab.wire.fault(Fault::Edit("]", String::new()));
    shown += &format!("{0} {0:?}", receive().unwrap_err());
    let body = lab.wire.last().answer;
    assert!(body.contains("\"pfx\""), "{body}");
    for status in [200, 400, 401, 500] {
        lab.wire.fault(Fault::Answer(HttpResponse::new(status, body.trim_end_matches('}').as_bytes().to_vec())));
        shown += &format!("{0} {0:?}", receive().unwrap_err());
    }
    lab.wire.fault(Fault::Edit("\"paddingScheme\"", "\"padding\"".to_owned()));
    let items: Vec<QueueItem> = receive().unwrap();
    shown += &format!("{items:?}");
    let document: serde_json::Value = serde_json::from_str(&body).unwrap();
    let pfx = document["items"][0]["request"]["pfx"].as_str().unwrap();
    let runs = |text: &str| text.as_bytes().chunks_exact(24).map(|run| String::from_utf8(run.to_vec()).unwrap()).collect::<Vec<_>>();
    for secret in runs(pfx).into_iter().chain([TOKEN.to_owned()]) {
        assert!(!shown.contains(&secret), "{secret} is in {shown}");
    }
}
