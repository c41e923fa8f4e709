//! HTTP in front of the SCEP service, over requests in memory: each rule of the adapter.

#![cfg(all(feature = "scep-http", feature = "ring", feature = "aws-lc-rs"))]

#[path = "support/scep_lab.rs"]
mod scep_lab;
mod support;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame};
use intune_connector::adapters::{ForwardingHeader, PeerAddr, RateLimit, ScepHttp, ScepHttpRefusals, ScepTask, TrustedProxies};
use intune_connector::message::scep::PkiStatus;
use intune_connector::scep::{self, Admission};
use scep_lab::{Fault, Lab};
use tower_service::Service as _;

static TOKIO: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());

/// A body in pieces that ends, stalls for good, or breaks off.
#[derive(Default)]
struct Pieces {
    pieces: VecDeque<Bytes>,
    end: End,
}

#[derive(Default, PartialEq)]
enum End {
    #[default]
    Ends,
    Stalls,
    Breaks,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        match (self.pieces.pop_front(), &self.end) {
            (Some(piece), _) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            (None, End::Ends) => Poll::Ready(None),
            (None, End::Stalls) => Poll::Pending,
            (None, End::Breaks) => Poll::Ready(Some(Err("connection reset"))),
        }
    }
}

fn pieces(of: &[u8]) -> Pieces {
    Pieces { pieces: of.chunks(700).map(Bytes::copy_from_slice).collect(), end: End::Ends }
}

fn server(lab: &Lab) -> ScepHttp {
    ScepHttp::new(lab.service.clone(), |task| {
        TOKIO.spawn(task);
    })
}

fn request(method: Method, uri: &str, body: Pieces) -> Request<Pieces> {
    Request::builder().method(method).uri(uri).body(body).unwrap()
}

fn post(body: Pieces) -> Request<Pieces> {
    request(Method::POST, "/scep?operation=PKIOperation", body)
}

fn from(peer: &str, mut request: Request<Pieces>) -> Request<Pieces> {
    request.extensions_mut().insert(PeerAddr(peer.parse().unwrap()));
    request
}

/// Head and body of the answer; the declared length is that of the body.
fn call(server: &ScepHttp, request: Request<Pieces>) -> (http::response::Parts, Vec<u8>) {
    let is_head = request.method() == Method::HEAD;
    let Ok(response): Result<Response<_>, Infallible> = TOKIO.block_on(server.clone().call(request));
    let (head, body) = response.into_parts();
    let mut body = pin!(body);
    let mut out = Vec::new();
    while let Some(Ok(frame)) = TOKIO.block_on(poll_fn(|context| body.as_mut().poll_frame(context))) {
        out.extend_from_slice(&frame.into_data().unwrap());
    }
    let declared = header(&head.headers, "content-length").parse::<usize>().unwrap();
    assert!(declared == out.len() || is_head && out.is_empty(), "{declared} {}", out.len());
    (head, out)
}

fn status(server: &ScepHttp, request: Request<Pieces>) -> u16 {
    call(server, request).0.status.as_u16()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

fn refusals(server: &ScepHttp) -> [u64; 4] {
    let ScepHttpRefusals { rate_limited, too_long, too_slow, overloaded, .. } = server.refusals();
    [rate_limited, too_long, too_slow, overloaded]
}

#[test]
fn a_client_enrols_by_post_whatever_the_path_and_the_content_type() {
    let lab = Lab::new(|builder| builder);
    let server = server(&lab);
    for (path, content_type) in [
        ("/scep", None),
        ("/scep/pkiclient.exe", Some("application/octet-stream")),
        ("/certsrv/mscep/mscep.dll/pkiclient.exe", Some("application/x-www-form-urlencoded")),
        ("/", Some("application/x-pki-message;charset=utf-8")),
    ] {
        let client = lab.client();
        let (message, to) = client.message(&lab.ra);
        let mut request = request(Method::POST, &format!("{path}?operation=PKIOperation"), pieces(&message));
        if let Some(value) = content_type {
            request.headers_mut().insert("content-type", value.parse().unwrap());
        }
        let (head, body) = call(&server, request);
        assert_eq!(head.status, StatusCode::OK);
        assert_eq!(header(&head.headers, "content-type"), "application/x-pki-message", "without parameters");
        let mut answer = lab.handle(scep::Request::get(""));
        (answer.status, answer.media_type, answer.body) = (200, "application/x-pki-message", body);
        let reply = client.reply(&answer, &to, &lab.ra);
        assert_eq!(reply.status(), PkiStatus::Success);
        client.certificate(&reply);
    }
    assert_eq!(lab.ca.certificates(), 4);
}

#[test]
fn the_raw_plus_of_a_get_arrives() {
    let lab = Lab::new(|builder| builder);
    let client = lab.client();
    let message = (0..200).map(|_| support::to_base64(&client.message(&lab.ra).0)).find(|text| text.contains('+')).unwrap();
    let (head, _) = call(&server(&lab), request(Method::GET, &format!("/scep?operation=PKIOperation&message={message}"), pieces(b"")));
    assert_eq!((head.status, lab.ca.certificates()), (StatusCode::OK, 1));
}

#[test]
fn the_get_operations_answer_with_exact_media_types() {
    let lab = Lab::new(|builder| builder);
    let server = server(&lab);
    for (query, media_type) in [
        ("operation=GetCACaps", "text/plain"),
        ("operation=GetCACaps&message=default", "text/plain"),
        ("operation=GetCACert", "application/x-x509-ca-ra-cert"),
    ] {
        for method in [Method::GET, Method::POST] {
            let mut request = request(method, &format!("http://host/any?{query}"), pieces(b""));
            *request.version_mut() = Version::HTTP_10;
            let (head, body) = call(&server, request);
            assert_eq!((head.status, header(&head.headers, "content-type")), (StatusCode::OK, media_type));
            assert_eq!(header(&head.headers, "cache-control"), "no-store");
            assert!(!body.is_empty());
        }
    }
    assert_eq!(status(&server, request(Method::GET, "/scep", pieces(b""))), 404);
}

#[test]
fn other_methods_get_405_with_the_allowed_ones_and_head_gets_no_body() {
    let lab = Lab::new(|builder| builder);
    for method in [Method::HEAD, Method::PUT, Method::OPTIONS, Method::from_bytes(b"get").unwrap()] {
        let (head, body) =
            call(&server(&lab), request(method.clone(), "/scep?operation=PKIOperation", Pieces { end: End::Stalls, ..pieces(b"") }));
        assert_eq!((head.status.as_u16(), header(&head.headers, "allow")), (405, "GET, POST"), "{method}");
        assert_eq!(body.is_empty(), method == Method::HEAD);
    }
}

#[test]
fn what_declares_to_be_too_long_is_refused_before_a_byte_of_it_is_read() {
    let lab = Lab::new(|builder| builder.admission(Admission::default().with_max_message(4_096)));
    let server = server(&lab);
    for length in ["4097", "18446744073709551615", "99999999999999999999999999"] {
        let mut request = post(Pieces { end: End::Stalls, ..pieces(b"") });
        request.headers_mut().insert("content-length", length.parse().unwrap());
        let (head, _) = call(&server, request);
        assert_eq!((head.status.as_u16(), header(&head.headers, "connection")), (413, "close"));
    }
    assert_eq!(refusals(&server), [0, 3, 0, 0]);
}

#[test]
fn a_body_that_grows_too_long_is_refused_where_it_does() {
    let lab = Lab::new(|builder| builder.admission(Admission::default().with_max_message(4_096)));
    let server = server(&lab);
    // It would never end: only the bound ends it.
    assert_eq!(status(&server, post(Pieces { end: End::Stalls, ..pieces(&[0x30; 4_097]) })), 413);
    assert_eq!(status(&server, post(pieces(&[0x30; 4_096]))), 400, "as long as allowed, but no message");
    assert_eq!(refusals(&server), [0, 1, 0, 0]);
    let mut request = post(Pieces { end: End::Stalls, ..pieces(&[0x30; 4_097]) });
    *request.version_mut() = Version::HTTP_2;
    assert!(!call(&server, request).0.headers.contains_key("connection"), "HTTP/2 has no such header");
}

#[test]
fn a_body_that_trickles_is_ended_by_the_deadline_and_gives_its_place_back() {
    let lab = Lab::new(|builder| builder);
    let server = server(&lab).body_deadline(Duration::from_millis(50)).bodies(1);
    for _ in 0..2 {
        let start = Instant::now();
        let (head, _) = call(&server, post(Pieces { end: End::Stalls, ..pieces(b"0123") }));
        assert_eq!((head.status.as_u16(), header(&head.headers, "connection")), (408, "close"));
        assert!(start.elapsed() >= Duration::from_millis(50));
    }
    assert_eq!(refusals(&server), [0, 0, 2, 0]);
    assert_eq!(status(&server, post(Pieces { end: End::Breaks, ..pieces(b"0123") })), 400);
}

#[test]
fn no_more_bodies_than_allowed_are_read_at_a_time() {
    let lab = Lab::new(|builder| builder);
    let server = server(&lab).bodies(1);
    let mut slow = server.clone().call(post(Pieces { end: End::Stalls, ..pieces(b"0123") }));
    assert!(slow.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let (head, _) = call(&server, post(pieces(b"0123")));
    assert_eq!((head.status.as_u16(), header(&head.headers, "retry-after")), (503, "5"));
    drop(slow);
    assert_eq!(status(&server, post(pieces(b"0123"))), 400, "the place came back");
    assert_eq!(refusals(&server), [0, 0, 0, 1]);
}

#[test]
fn a_busy_service_says_when_to_come_again() {
    let lab = Lab::new(|builder| builder.admission(Admission::default().with_requests(1)));
    lab.ca.faults.lock().unwrap().push(Fault::Hang);
    let server = server(&lab);
    let client = lab.client();
    let (message, _) = client.message(&lab.ra);
    let mut first = Box::pin(lab.service.handle(scep::Request::post("operation=PKIOperation", message.clone())));
    assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let (head, _) = call(&server, post(pieces(&message)));
    assert_eq!((head.status.as_u16(), header(&head.headers, "retry-after")), (503, "5"));
}

#[test]
fn an_address_that_asks_too_often_gets_429_and_others_do_not() {
    let lab = Lab::new(|builder| builder);
    let server = server(&lab).rate_limit(RateLimit::new(Duration::from_secs(3_600), 2));
    let ask = |peer| call(&server, from(peer, post(pieces(b"0123")))).0;
    assert_eq!(ask("192.0.2.1:1000").status.as_u16(), 400);
    assert_eq!(ask("192.0.2.1:1001").status.as_u16(), 400);
    let refused = ask("[::ffff:192.0.2.1]:1002");
    assert_eq!(refused.status.as_u16(), 429);
    let wait: u64 = header(&refused.headers, "retry-after").parse().unwrap();
    assert!((3_500..=3_600).contains(&wait), "{wait}");
    assert_eq!(ask("198.51.100.7:1000").status.as_u16(), 400);
    // An escaped name is the same operation; a GET takes the same key.
    let escaped = request(Method::GET, "/scep?operation=%50KIOperation&message=AAAA", pieces(b""));
    assert_eq!(status(&server, from("192.0.2.1:1", escaped)), 429);
    // What takes no key is not limited.
    for _ in 0..50 {
        assert_eq!(status(&server, from("192.0.2.1:1", request(Method::GET, "/?operation=GetCACert", pieces(b"")))), 200);
    }
    assert_eq!(refusals(&server), [2, 0, 0, 0]);
    let unlimited = server.clone().unlimited(["192.0.2.0/24".parse().unwrap()]);
    assert_eq!(status(&unlimited, from("192.0.2.1:1000", post(pieces(b"0123")))), 400);
    assert_eq!(status(&server.without_rate_limit(), from("192.0.2.1:1000", post(pieces(b"0123")))), 400);
}

#[test]
fn requests_without_an_address_are_limited_together() {
    let lab = Lab::new(|builder| builder);
    let server = server(&lab).rate_limit(RateLimit::new(Duration::from_secs(3_600), 1));
    assert_eq!(status(&server, post(pieces(b"0123"))), 400);
    assert_eq!(status(&server, post(pieces(b"0123"))), 429);
}

#[test]
fn a_made_up_header_neither_evades_the_limit_nor_uses_up_that_of_others() {
    let lab = Lab::new(|builder| builder);
    let limit = RateLimit::new(Duration::from_secs(3_600), 1);
    let proxies = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()], ForwardingHeader::XForwardedFor);
    let server = server(&lab).rate_limit(limit).trusted_proxies(proxies);
    let ask = |peer: &str, forwarded: &str| {
        let mut request = from(peer, post(pieces(b"0123")));
        request.headers_mut().insert("x-forwarded-for", forwarded.parse().unwrap());
        status(&server, request)
    };
    // Straight to the server, in the name of others.
    assert_eq!(ask("203.0.113.5:1", "192.0.2.1"), 400);
    assert_eq!(ask("203.0.113.5:1", "192.0.2.2"), 429);
    // Through the proxy, which appends the true address.
    assert_eq!(ask("10.0.0.1:1", "192.0.2.1, 203.0.113.6"), 400);
    assert_eq!(ask("10.0.0.1:1", "192.0.2.2, 203.0.113.6"), 429);
    assert_eq!(ask("10.0.0.1:1", "\", 203.0.113.6"), 429);
    // Those in whose name it asked are served.
    assert_eq!(ask("10.0.0.1:1", "192.0.2.1"), 400);
    assert_eq!(ask("10.0.0.1:1", "192.0.2.2"), 400);
}

/// The answer to a request of a client that is under way after the first poll. A busy machine may finish it within one: then another lab.
fn under_way(
    spawn: impl Fn(ScepTask) + Clone + Send + Sync + 'static,
) -> (Lab, <ScepHttp as tower_service::Service<Request<Pieces>>>::Future) {
    for _ in 0..1_000 {
        let lab = Lab::new(|builder| builder);
        let mut server = ScepHttp::new(lab.service.clone(), spawn.clone());
        let (message, _) = lab.client().message(&lab.ra);
        let mut answer = server.call(post(pieces(&message)));
        if answer.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            return (lab, answer);
        }
    }
    panic!("every request was finished within one poll");
}

#[test]
fn a_client_that_hangs_up_does_not_stop_its_request_half_way() {
    let tasks: Arc<Mutex<Vec<ScepTask>>> = Arc::default();
    let spawned = Arc::clone(&tasks);
    let (lab, answer) = under_way(move |task| spawned.lock().unwrap().push(task));
    assert!(tasks.lock().unwrap().is_empty(), "a client that stays needs no task");
    drop(answer);
    let task = tasks.lock().unwrap().pop().expect("it was spawned");
    TOKIO.block_on(task);
    assert_eq!(lab.codes().last(), Some(&4000), "issued, notified, concluded");
    assert_eq!((lab.ca.certificates(), lab.ca.asks.load(Ordering::SeqCst)), (1, 1));
}

#[test]
fn a_client_that_stays_needs_no_task_and_a_spawner_that_panics_harms_nobody() {
    let spawn = |_| panic!("the runtime is going down");
    let lab = Lab::new(|builder| builder);
    let (message, _) = lab.client().message(&lab.ra);
    let (head, body) = call(&ScepHttp::new(lab.service.clone(), spawn), post(pieces(&message)));
    assert!(head.status.as_u16() == 200 && body.len() > 1_500);
    // One that hangs up meanwhile: its request is left to `maintain`, and others are served.
    let (lab, answer) = under_way(spawn);
    drop(answer);
    let (message, _) = lab.client().message(&lab.ra);
    let (head, _) = call(&ScepHttp::new(lab.service.clone(), spawn), post(pieces(&message)));
    assert_eq!(head.status.as_u16(), 200);
}

#[test]
fn refusals_say_one_of_a_few_sentences_and_nothing_of_the_inside() {
    let lab = Lab::new(|builder| builder.admission(Admission::default().with_max_message(4_096)));
    let plain = server(&lab).without_rate_limit().body_deadline(Duration::from_millis(20));
    let limited = server(&lab).rate_limit(RateLimit::new(Duration::from_secs(3_600), 1));
    let full = server(&lab).without_rate_limit().bodies(0);
    assert_eq!(status(&limited, post(pieces(b"0123"))), 400);
    let get = |query: &str| request(Method::GET, &format!("/scep?{query}"), pieces(b""));
    let stalled = |of: &[u8]| post(Pieces { end: End::Stalls, ..pieces(of) });
    for (server, request, status, sentence) in [
        (&plain, post(pieces(b"0123")), 400, "the message is not a SCEP request\n"),
        (&plain, post(Pieces { end: End::Breaks, ..pieces(b"0123") }), 400, "the message is not complete\n"),
        (&plain, stalled(b"0123"), 408, "the message took too long to arrive\n"),
        (&plain, stalled(&[0x30; 4_097]), 413, "the message is too long\n"),
        (&plain, get("operation=PKIOperation&message=%3Cscript%3E"), 400, "the message is not base64\n"),
        (&plain, get("operation=%3Cscript%3E"), 404, "unknown or missing operation\n"),
        (&plain, request(Method::PUT, "/scep?operation=PKIOperation", pieces(b"")), 405, "SCEP uses GET and POST\n"),
        (&limited, post(pieces(b"0123")), 429, "too many requests from this address, try again later\n"),
        (&full, post(pieces(b"0123")), 503, "the server is busy, try again later\n"),
    ] {
        let (head, body) = call(server, request);
        assert_eq!((head.status.as_u16(), String::from_utf8(body).unwrap().as_str()), (status, sentence));
        assert_eq!(header(&head.headers, "content-type"), "text/plain");
        assert!(!head.headers.contains_key("server"));
    }
}

#[test]
fn it_mounts_in_an_axum_router() {
    let lab = Lab::new(|builder| builder);
    let mut router = axum::Router::new().nest_service("/scep", server(&lab));
    let mut get = |path: &str| {
        let request = Request::builder().uri(format!("{path}?operation=GetCACaps")).body(axum::body::Body::empty()).unwrap();
        let Ok(response): Result<Response<_>, Infallible> = TOKIO.block_on(router.call(request));
        response.status().as_u16()
    };
    assert_eq!([get("/scep"), get("/scep/"), get("/scep/pkiclient.exe"), get("/other")], [200, 200, 200, 404]);
}
