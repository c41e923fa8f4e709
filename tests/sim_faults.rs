//! The simulator's faults: each kind does what it says, a seed replays, and the control endpoint sets them.

#![cfg(all(feature = "sim", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod sim_support;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::FutureExt as _;
use intune_connector::adapters::http::{HttpErrorKind, HttpMethod, HttpRequest};
use intune_connector::sim::{Endpoint, ExpectedCsr, Fault, FaultPlan, RetryAfter, SimOutcome, Stale};
use intune_connector::terms::KeyAlgorithm;
use serde_json::json;
use sim_support::{Device, GRAPH_SCOPE, INTUNE_SCOPE, Lab, body, code, upn};

/// A lab, a good CSR, and a validation request that was made before any fault.
fn ready() -> (Lab, HttpRequest, Vec<u8>) {
    let lab = Lab::new();
    let expected = ExpectedCsr::new("CN=Jane,O=Contoso").with_subject_alt_names([upn()]);
    let issued = lab.intune.issue_challenge(&expected).unwrap();
    let csr = Device::new(KeyAlgorithm::EcP256).csr(issued.challenge.secret_str());
    let request = lab.validate_request("t", &csr);
    (lab, request, csr)
}

fn with(lab: &Lab, fault: Fault) {
    lab.intune.set_faults(1, FaultPlan::none().with_fault(Endpoint::ValidateRequest, 1, fault));
}

fn validations(lab: &Lab) -> usize {
    lab.intune.transactions().first().map_or(0, |entry| entry.validations.len())
}

#[test]
fn a_drop_before_does_nothing_and_a_drop_after_has_done_it() {
    for (fault, done) in [(Fault::DropBefore, 0), (Fault::DropAfter, 1)] {
        let (lab, request, _) = ready();
        with(&lab, fault);
        assert!(matches!(lab.intune.answer(&request).outcome, SimOutcome::Close));
        assert_eq!(validations(&lab), done);
        let played = lab.intune.played_faults();
        assert_eq!((played.len(), played[0].endpoint, played[0].call, played[0].fault), (1, Endpoint::ValidateRequest, 1, fault));
        assert_eq!(code(&lab.send(&request)), "Success", "the second call has no fault");
    }
}

#[test]
fn a_duplicate_is_done_twice_and_answered_once() {
    let (lab, request, _) = ready();
    with(&lab, Fault::Duplicate);
    assert_eq!(code(&lab.send(&request)), "Success");
    assert_eq!(validations(&lab), 2);
}

#[test]
fn a_reordered_request_arrives_after_the_next_one() {
    let (lab, request, csr) = ready();
    let success = lab.success_request("t", &csr, "AB");
    with(&lab, Fault::Reorder);
    assert!(matches!(lab.intune.answer(&request).outcome, SimOutcome::Close));
    assert_eq!(code(&lab.send(&success)), "Success");
    assert_eq!(lab.intune.findings().len(), 1, "the notification came before its validation");
    assert_eq!(validations(&lab), 1);
}

#[test]
fn a_reordered_request_that_is_the_last_has_arrived_when_the_ledger_is_read() {
    let (lab, request, _) = ready();
    with(&lab, Fault::Reorder);
    let _ = lab.intune.answer(&request);
    assert_eq!(validations(&lab), 1);
}

#[test]
fn a_truncated_answer_announces_more_than_it_has() {
    let (lab, request, _) = ready();
    with(&lab, Fault::Truncate);
    let SimOutcome::TruncateAfter(response, length) = lab.intune.answer(&request).outcome else { panic!("not truncated") };
    assert!(length < response.body.len());
    assert_eq!(validations(&lab), 1);
}

#[test]
fn statuses_come_with_both_forms_of_retry_after() {
    for (retry_after, expected) in
        [(Some(RetryAfter::Seconds(3)), Some("3")), (Some(RetryAfter::Date(3)), Some("Fri, 15 Jan 2027 08:00:03 GMT")), (None, None)]
    {
        let (lab, request, _) = ready();
        with(&lab, Fault::Status { status: 503, retry_after, done: false });
        let answer = lab.send(&request);
        assert_eq!((answer.status, answer.header("retry-after")), (503, expected));
        assert_eq!(validations(&lab), 0);
    }
    let (lab, request, _) = ready();
    with(&lab, Fault::HtmlPage { done: true });
    let answer = lab.send(&request);
    assert_eq!((answer.status, answer.header("content-type")), (502, Some("text/html")));
    assert!(answer.body.secret_bytes().starts_with(b"<!DOCTYPE html>"));
    assert_eq!(validations(&lab), 1);
}

#[test]
fn wrong_json_is_a_200_that_says_no_success() {
    for seed in 0..20 {
        let (lab, request, _) = ready();
        lab.intune.set_faults(seed, FaultPlan::none().with_fault(Endpoint::ValidateRequest, 1, Fault::WrongJson));
        let answer = lab.send(&request);
        assert_eq!(answer.status, 200);
        assert!(!String::from_utf8_lossy(answer.body.secret_bytes()).contains("Success"));
    }
}

#[test]
fn a_stale_location_moves_the_service_and_discovery_can_tell_the_old_one() {
    let (lab, request, csr) = ready();
    let before = lab.discover("ScepRequestValidationFEService").unwrap();
    with(&lab, Fault::StaleLocation { stale: Stale::Misdirected });
    assert_eq!(lab.send(&request).status, 421);
    assert_eq!(lab.send(&request).status, 421);
    let after = lab.discover("ScepRequestValidationFEService").unwrap();
    assert_ne!(after, before);
    assert_eq!(lab.validate("t", &csr), "Success");
    lab.intune.set_faults(1, FaultPlan::none().with_fault(Endpoint::Discovery, 1, Fault::StaleLocation { stale: Stale::default() }));
    assert_eq!(lab.discover("ScepRequestValidationFEService").unwrap(), before);
    assert_eq!(lab.discover("ScepRequestValidationFEService").unwrap(), after);
}

#[test]
fn an_expired_token_is_refused_by_the_service_or_given_by_the_authority() {
    let (lab, request, _) = ready();
    with(&lab, Fault::ExpiredToken);
    let answer = lab.send(&request);
    assert_eq!(answer.status, 401);
    assert!(body(&answer).to_string().contains("token is expired"));
    assert_eq!(code(&lab.send(&request)), "Success");
    lab.intune.set_faults(1, FaultPlan::none().with_fault(Endpoint::Token, 1, Fault::ExpiredToken));
    assert_eq!(lab.send(&lab.discovery_request(&lab.token(GRAPH_SCOPE))).status, 401);
    assert_eq!(lab.send(&lab.discovery_request(&lab.token(GRAPH_SCOPE))).status, 200);
}

#[test]
fn the_transport_waits_on_the_clock_and_tells_every_end_as_a_network_does() {
    let kind = |fault: Fault, timeout: u64| {
        let (lab, request, _) = ready();
        with(&lab, fault);
        let transport = lab.intune.transport();
        let sent = transport.send(request.with_timeout(Duration::from_secs(timeout)));
        let kind = sent.now_or_never().unwrap().map(|answer| answer.status).map_err(|error| error.kind());
        (kind, lab.clock_seconds())
    };
    assert_eq!(kind(Fault::Delay { millis: 5_000 }, 60), (Ok(200), 5));
    assert_eq!(kind(Fault::Delay { millis: 90_000 }, 60), (Err(HttpErrorKind::Timeout), 60));
    for fault in [Fault::DropBefore, Fault::DropAfter, Fault::Reorder, Fault::Truncate] {
        assert_eq!(kind(fault, 60).0, Err(HttpErrorKind::Closed), "{fault:?}");
    }
    assert_eq!(kind(Fault::StaleLocation { stale: Stale::UnknownHost }, 60).0, Err(HttpErrorKind::Dns));
    let lab = Lab::new();
    let transport = lab.intune.transport();
    let elsewhere = transport.send(HttpRequest::new(HttpMethod::Get, "https://login.microsoftonline.com/common/discovery/instance"));
    assert_eq!(elsewhere.now_or_never().unwrap().unwrap_err().kind(), HttpErrorKind::Dns);
    let short = transport.send(lab.discovery_request("x").with_max_answer(5));
    assert_eq!(short.now_or_never().unwrap().unwrap_err().kind(), HttpErrorKind::TooLarge);
}

#[test]
fn a_seed_replays_and_every_kind_comes() {
    let run = |seed: u64| {
        let lab = Lab::with(|builder| builder.seed(seed).faults(FaultPlan::harsh()));
        for _ in 0..200 {
            let _ = lab.intune.answer(&lab.token_request(lab.intune.tenant_id(), &lab.secret_fields(INTUNE_SCOPE)));
            let _ = lab.intune.answer(&lab.discovery_request("none"));
        }
        lab.intune.played_faults()
    };
    let first = run(7);
    assert_eq!(first, run(7));
    assert_ne!(first, run(8));
    let kinds: BTreeSet<String> = first.iter().map(|played| format!("{:?}", played.fault).split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(kinds.len(), 11, "{kinds:?}");
}

#[test]
fn a_plan_that_is_set_again_replays_with_the_same_number_of_faults() {
    let lab = Lab::new();
    let plan = FaultPlan::none().with_rate(1_000).with_most(2);
    for round in 1..=2 {
        lab.intune.set_faults(7, plan.clone());
        for _ in 0..4 {
            let _ = lab.intune.answer(&lab.token_request(lab.intune.tenant_id(), &lab.secret_fields(INTUNE_SCOPE)));
        }
        assert_eq!(lab.intune.played_faults().len(), 2 * round);
    }
    let played = lab.intune.played_faults();
    assert_eq!(played[..2], played[2..]);
}

#[test]
fn an_end_can_be_set_to_the_faults() {
    let lab = Lab::with(|builder| builder.faults(FaultPlan::none().with_rate(1_000).with_most(5)));
    for _ in 0..50 {
        let _ = lab.intune.answer(&lab.discovery_request("none"));
    }
    assert_eq!(lab.intune.played_faults().len(), 5);
}

#[test]
fn the_control_endpoint_sets_a_plan_and_lists_what_was_played() {
    let lab = Lab::new();
    let plan = json!({
        "seed": 3, "preset": "none", "ratesPerMille": { "discovery": 0 },
        "steps": [
            { "endpoint": "token", "call": 1, "fault": { "kind": "status", "status": 429, "retryAfter": { "seconds": 2 } } },
            { "endpoint": "token", "call": 2, "fault": { "kind": "delay", "millis": 700 } },
        ],
    });
    let answer = lab.control(HttpMethod::Post, "faults", Some(&plan));
    assert_eq!((answer.status, body(&answer)), (200, json!({ "seed": 3 })));
    let request = lab.token_request(lab.intune.tenant_id(), &lab.secret_fields(INTUNE_SCOPE));
    let first = lab.send(&request);
    assert_eq!((first.status, first.header("retry-after")), (429, Some("2")));
    assert_eq!(lab.intune.answer(&request).delay, Duration::from_millis(700));
    let listed = body(&lab.control(HttpMethod::Get, "faults", None));
    assert_eq!(
        (&listed["count"], &listed["played"][1]),
        (&json!(2), &json!({ "endpoint": "token", "call": 2, "fault": { "kind": "delay", "millis": 700 } }))
    );
    for bad in [
        json!({ "preset": "wild" }),
        json!({ "steps": [{ "endpoint": "control", "call": 1, "fault": { "kind": "dropBefore" } }] }),
        json!({ "rate": 1 }),
    ] {
        assert_eq!(lab.control(HttpMethod::Post, "faults", Some(&bad)).status, 400, "{bad}");
    }
}
