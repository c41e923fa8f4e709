//! The simulator's revocation service: cool-down, cut before filter, both spellings of codes, and what is inconsistent.

#![cfg(all(feature = "sim", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod sim_support;

use std::time::Duration;

use intune_connector::adapters::http::HttpMethod;
use intune_connector::sim::{FindingKind, RevocationRequest, RevocationState};
use serde_json::{Value, json};
use sim_support::{INTUNE_SCOPE, Lab, body};

const HOUR: Duration = Duration::from_secs(3_600);

fn enqueue(lab: &Lab, labels: &[&str]) {
    for (number, label) in labels.iter().enumerate() {
        let request = RevocationRequest::new(format!("{number:02X}")).with_issuer_name("CN=Contoso").with_ca_configuration(*label);
        lab.intune.enqueue_revocation(request.with_request_context(format!("c{number}"))).unwrap();
    }
}

fn download(lab: &Lab, most: i64, issuer: Value) -> (u16, Value) {
    let parameters = json!({ "downloadParameters": { "maxRequests": most, "issuerName": issuer } });
    let answer = lab.send(&lab.revocation_request(&lab.token(INTUNE_SCOPE), "downloadRevocationRequests", &parameters));
    (answer.status, body(&answer))
}

fn contexts(lab: &Lab, most: i64, issuer: Value) -> Vec<String> {
    let (status, body) = download(lab, most, issuer);
    assert_eq!(status, 200, "{body}");
    body["value"].as_array().unwrap().iter().map(|request| request["requestContext"].as_str().unwrap().to_owned()).collect()
}

fn upload(lab: &Lab, results: Value) -> (u16, Value) {
    let answer = lab.send(&lab.revocation_request(&lab.token(INTUNE_SCOPE), "uploadRevocationResults", &json!({ "results": results })));
    (answer.status, body(&answer))
}

#[test]
fn all_four_members_are_given_and_then_nothing_for_an_hour() {
    let lab = Lab::new();
    enqueue(&lab, &["A"]);
    let (_, answer) = download(&lab, 100, Value::Null);
    let request = json!({ "requestContext": "c0", "serialNumber": "00", "issuerName": "CN=Contoso", "caConfiguration": "A" });
    assert_eq!(answer["value"], json!([request]));
    lab.clock.advance(HOUR - Duration::from_secs(1));
    assert_eq!(contexts(&lab, 100, Value::Null), [""; 0]);
    lab.clock.advance(Duration::from_secs(1));
    assert_eq!(contexts(&lab, 100, Value::Null), ["c0"], "what was not answered is offered again");
}

#[test]
fn an_empty_download_silences_the_tenant_too() {
    let lab = Lab::new();
    assert_eq!(contexts(&lab, 1, Value::Null), [""; 0]);
    enqueue(&lab, &["A"]);
    assert_eq!(contexts(&lab, 1, Value::Null), [""; 0]);
    lab.intune.end_cool_down();
    assert_eq!(contexts(&lab, 1, Value::Null), ["c0"]);
}

#[test]
fn the_filter_is_the_configuration_and_comes_after_the_cut() {
    let lab = Lab::new();
    enqueue(&lab, &["A", "B"]);
    assert_eq!(contexts(&lab, 1, json!("B")), [""; 0]);
    lab.clock.advance(HOUR);
    assert_eq!(contexts(&lab, 2, json!("CN=Contoso")), [""; 0], "the issuer's name is not what is compared");
    lab.clock.advance(HOUR);
    assert_eq!(contexts(&lab, 2, json!("B")), ["c1"]);
    lab.clock.advance(HOUR);
    assert_eq!(contexts(&lab, 2, json!("")), ["c0", "c1"], "an empty filter is none");
}

#[test]
fn max_requests_is_from_1_to_500() {
    let lab = Lab::new();
    for (most, status) in [(-1, 400), (0, 400), (1, 200), (500, 200), (501, 400)] {
        assert_eq!(download(&lab, most, Value::Null).0, status, "{most}");
    }
}

#[test]
fn results_are_taken_by_name_and_by_number_in_either_case_of_members() {
    let lab = Lab::new();
    enqueue(&lab, &["A", "A", "A", "A"]);
    contexts(&lab, 100, Value::Null);
    let results = json!([
        { "requestContext": "c0", "succeeded": true, "errorCode": "None", "errorMessage": null },
        { "RequestContext": "c1", "Succeeded": false, "ErrorCode": "4005", "ErrorMessage": "already revoked" },
        { "requestContext": "c2", "succeeded": true },
        { "requestContext": "c3", "succeeded": false, "errorCode": "ServiceTooBusyException", "errorMessage": "later" },
    ]);
    for _ in 0..2 {
        assert_eq!(upload(&lab, results.clone()).1["value"], true);
    }
    let states: Vec<RevocationState> = lab.intune.revocations().iter().map(|entry| entry.state).collect();
    assert_eq!(states, [RevocationState::Succeeded, RevocationState::Failed, RevocationState::Succeeded, RevocationState::Waiting]);
    assert!(lab.intune.revocations().iter().all(|entry| entry.results.len() == 1), "a repeat is not counted");
    assert!(lab.intune.findings().is_empty());
    assert_eq!(lab.intune.open_revocations(), ["c3"]);
    lab.clock.advance(HOUR);
    assert_eq!(contexts(&lab, 100, Value::Null), ["c3"], "a retryable code offers the request again");
}

#[test]
fn inconsistent_and_malformed_results_are_refused_and_none_of_the_batch_is_taken() {
    let lab = Lab::new();
    enqueue(&lab, &["A", "A"]);
    contexts(&lab, 100, Value::Null);
    let good = json!({ "requestContext": "c0", "succeeded": true });
    for bad in [
        json!({ "requestContext": "c1", "succeeded": true, "errorCode": "ConflictError" }),
        json!({ "requestContext": "c1", "succeeded": true, "errorMessage": "done" }),
        json!({ "requestContext": "c1", "succeeded": false, "errorCode": "None" }),
        json!({ "requestContext": "c1", "succeeded": false }),
        json!({ "requestContext": "c1", "succeeded": "true" }),
        json!({ "requestContext": null, "succeeded": true }),
        json!({ "requestContext": "c1", "succeeded": false, "errorCode": "4999" }),
        json!("c1"),
    ] {
        assert_eq!(upload(&lab, json!([good, bad])).0, 400, "{bad}");
    }
    assert_eq!(upload(&lab, json!([])).0, 400);
    assert_eq!(upload(&lab, Value::Null).0, 400);
    assert_eq!(lab.intune.open_revocations(), ["c0", "c1"]);
}

#[test]
fn another_final_result_and_an_unknown_request_are_found() {
    let lab = Lab::new();
    enqueue(&lab, &["A"]);
    upload(&lab, json!([{ "requestContext": "c0", "succeeded": true }]));
    contexts(&lab, 100, Value::Null);
    upload(&lab, json!([{ "requestContext": "c0", "succeeded": true }]));
    upload(&lab, json!([{ "requestContext": "c0", "succeeded": false, "errorCode": "CertificateNotFoundError" }]));
    let kinds: Vec<FindingKind> = lab.intune.findings().iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [FindingKind::RevocationAnsweredTwice, FindingKind::UnknownRevocation], "c0 was answered before it was given out");
    assert_eq!(lab.intune.revocations()[0].state, RevocationState::Succeeded);
}

#[test]
fn the_control_endpoint_revokes_what_was_notified() {
    let lab = Lab::new();
    let device = sim_support::Device::new(intune_connector::terms::KeyAlgorithm::EcP256);
    let expected = intune_connector::sim::ExpectedCsr::new("CN=Jane,O=Contoso").with_subject_alt_names([sim_support::upn()]);
    let issued = lab.intune.issue_challenge(&expected).unwrap();
    let csr = device.csr(issued.challenge.secret_str());
    assert_eq!(lab.validate("t", &csr), "Success");
    lab.send(&lab.success_request("t", &csr, "AB"));
    let answer = lab.control(HttpMethod::Post, "revocations/of-transaction", Some(&json!({ "transactionId": "t" })));
    assert_eq!(answer.status, 200, "{}", body(&answer));
    let (_, downloaded) = download(&lab, 10, json!("Contoso CA"));
    assert_eq!((&downloaded["value"][0]["serialNumber"], &downloaded["value"][0]["issuerName"]), (&json!("01AB"), &json!("Contoso CA")));
    let none = lab.control(HttpMethod::Post, "revocations/of-transaction", Some(&json!({ "transactionId": "u" })));
    assert_eq!(none.status, 400);
}
