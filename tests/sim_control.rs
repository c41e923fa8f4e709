//! The simulator's control endpoint, call by call as `docs/simulator.md` lists them, and a persistent client under many fault plans.

#![cfg(all(feature = "sim", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod sim_support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use intune_connector::adapters::http::{HttpMethod, HttpRequest};
use intune_connector::adapters::http_queue::{HttpQueue, HttpQueueConfig, QueueAuthentication, StaticToken};
use intune_connector::ports::{IntuneQueue as _, ReceiveRequest};
use intune_connector::secret::Password;
use intune_connector::sim::{Endpoint, ExpectedCsr, FaultPlan, RevocationRequest, SimOutcome};
use intune_connector::terms::{Flow, KeyAlgorithm};
use serde_json::{Value, json};
use sim_support::{Device, GRAPH_SCOPE, INTUNE_SCOPE, Lab, body, post, upn};

fn did(lab: &Lab, path: &str, sent: &Value) -> Value {
    let answer = lab.control(HttpMethod::Post, path, Some(sent));
    assert_eq!(answer.status, 200, "{path}: {}", body(&answer));
    body(&answer)
}

fn read(lab: &Lab, path: &str) -> Value {
    let answer = lab.control(HttpMethod::Get, path, None);
    assert_eq!(answer.status, 200, "{path}: {}", body(&answer));
    body(&answer)
}

#[test]
fn a_challenge_is_issued_changed_and_refused() {
    let lab = Lab::new();
    let expected = json!({ "subject": "CN=Jane,O=Contoso", "subjectAltNames": [{ "upn": "jane@contoso.example" }], "requestId": "r-1" });
    let issued = did(&lab, "challenges", &json!({ "expected": expected }));
    assert_eq!(issued["requestId"], "r-1");
    let device = Device::new(KeyAlgorithm::EcP256);
    let csr = device.csr(issued["challenge"].as_str());
    assert_eq!(lab.validate("t", &csr), "Success");
    did(&lab, "challenges/condition", &json!({ "requestId": "r-1", "registeredKey": "missing" }));
    assert_eq!(lab.validate("t", &csr), "AadKeyIdentifierListMissing");
    did(&lab, "challenges/condition", &json!({ "requestId": "r-1", "targeted": false, "registeredKey": "notDemanded" }));
    assert_eq!(lab.validate("t", &csr), "ScepProfileNoLongerTargetedToTheClient");
    did(&lab, "challenges/signer", &json!({}));
    assert_eq!(lab.validate("t", &csr), "SigningCertThumbprintMismatch");
    let flawed = did(&lab, "challenges", &json!({ "expected": { "subject": "CN=Jane,O=Contoso" }, "flaw": "otherTenant" }));
    assert_eq!(lab.validate("t", &device.csr(flawed["challenge"].as_str())), "ChallengeDecryptionError");
    for (path, bad) in [
        ("challenges", json!({})),
        ("challenges", json!({ "expected": { "subject": "no name" } })),
        ("challenges", json!({ "expected": { "subject": "", "hash": "SHA-2" } })),
        ("challenges", json!({ "expected": { "subject": "" }, "flaw": "ugly" })),
        ("codes", json!({ "endpoint": "token", "code": "x" })),
        ("codes", json!({ "endpoint": "validateRequest", "code": "x", "times": 1_000_000 })),
        ("faults", json!({ "steps": [{ "endpoint": "token", "call": 0, "fault": { "kind": "dropBefore" } }] })),
        ("faults", json!({ "steps": [{ "endpoint": "token", "call": 1, "fault": { "kind": "status", "status": 101 } }] })),
        ("faults", json!({ "steps": [{ "endpoint": "token", "call": 1, "fault": { "kind": "status", "status": 600 } }] })),
        ("roles", json!({ "grant": ["Directory.Read.All"] })),
        ("users", json!({ "userPrincipalName": " " })),
        ("app-certificates", json!({ "certificate": "AA==" })),
        ("revocations", json!({ "serialNumber": "" })),
    ] {
        assert_eq!(lab.control(HttpMethod::Post, path, Some(&bad)).status, 400, "{path} {bad}");
    }
    assert_eq!(lab.control(HttpMethod::Post, "challenges/condition", Some(&json!({ "requestId": "nobody" }))).status, 404);
    assert_eq!(lab.control(HttpMethod::Post, "weather", None).status, 404);
    assert_eq!(lab.control(HttpMethod::Get, "weather", None).status, 404);
    assert_eq!(lab.control(HttpMethod::Delete, "ledger", None).status, 405);
}

#[test]
fn tenant_roles_licence_location_and_tokens_are_set() {
    let lab = Lab::new();
    let token = lab.token(GRAPH_SCOPE);
    let before = read(&lab, "tenant");
    assert_eq!((before["tenant"].as_str(), &before["licensed"]), (Some(lab.intune.tenant_id()), &json!(true)));
    assert_eq!(did(&lab, "roles", &json!({ "revoke": ["scep_challenge_provider"] }))["roles"].as_array().unwrap().len(), 3);
    assert_eq!(lab.discover("PkiConnectorFEService"), None);
    did(&lab, "roles", &json!({ "grant": ["scep_challenge_provider"] }));
    did(&lab, "licence", &json!({ "licensed": false }));
    assert_eq!(lab.discover("PkiConnectorFEService"), None);
    did(&lab, "licence", &json!({ "licensed": true }));
    did(&lab, "location", &json!({ "stale": "gone" }));
    assert_ne!(read(&lab, "tenant")["scepBase"], before["scepBase"]);
    assert_eq!(lab.send(&lab.discovery_request(&token)).status, 200);
    did(&lab, "tokens/expire", &json!({}));
    assert_eq!(lab.send(&lab.discovery_request(&token)).status, 401);
    assert!(did(&lab, "users", &json!({ "userPrincipalName": "jane@contoso.example" }))["id"].is_string());
    assert_eq!(read(&lab, "certificates"), json!([]));
}

#[test]
fn the_ledger_and_the_arrivals_are_read() {
    let lab = Lab::with(|builder| builder.record_bodies(true));
    let context = did(&lab, "revocations", &json!({ "serialNumber": "01AB", "caConfiguration": "A" }))["requestContext"].clone();
    let parameters = json!({ "downloadParameters": { "maxRequests": 5, "issuerName": null } });
    lab.send(&lab.revocation_request(&lab.token(INTUNE_SCOPE), "downloadRevocationRequests", &parameters));
    let ledger = read(&lab, "ledger");
    assert_eq!((&ledger["revocations"][0]["state"], &ledger["openRevocations"]), (&json!("givenOut"), &json!([context])));
    did(&lab, "revocations/end-cool-down", &json!({}));
    let arrivals = read(&lab, "arrivals");
    let download = arrivals.as_array().unwrap().last().unwrap();
    assert_eq!((&download["endpoint"], &download["method"]), (&json!("downloadRevocationRequests"), &json!("POST")));
    assert_eq!(serde_json::from_str::<Value>(download["body"].as_str().unwrap()).unwrap(), parameters);
    assert!(download["headers"].as_array().unwrap().contains(&json!(["Authorization", "(hidden)"])));
    assert!(!arrivals.to_string().contains("Bearer ey"));
    let silent = Lab::new();
    silent.token(INTUNE_SCOPE);
    assert_eq!(read(&silent, "arrivals")[0]["body"], Value::Null);
}

#[test]
fn the_open_queue_is_filled_and_read_and_its_client_is_served() {
    let lab = Lab::new();
    let tenant = lab.intune.tenant_id();
    let item = json!({ "kind": "revoke", "meta": { "flow": "revoke", "id": "revoke-1", "tenant": tenant }, "request": { "serial": "01" } });
    assert_eq!(did(&lab, "open-queue/items", &json!({ "items": [item] })), json!({ "enqueued": 1 }));
    assert_eq!(lab.control(HttpMethod::Post, "open-queue/items", Some(&json!({ "items": [{}] }))).status, 400);
    let connect = |token: &str| {
        let token = StaticToken::new(Password::from(token)).unwrap();
        let config = HttpQueueConfig::new(lab.base.as_str(), tenant.parse().unwrap(), QueueAuthentication::bearer(Arc::new(token), "any"));
        HttpQueue::connect(config, lab.intune.transport(), lab.clock.clone(), sim_support::provider()).now_or_never().unwrap()
    };
    assert!(connect("wrong").is_err());
    let queue = connect(lab.intune.open_queue_token()).unwrap();
    let request = ReceiveRequest::new(Flow::Revoke, "connector-1".parse().unwrap(), 5);
    let batch = queue.receive(request).now_or_never().unwrap().unwrap();
    assert_eq!(batch.items.len(), 1);
    let ledger = read(&lab, "open-queue");
    assert_eq!((&ledger["waiting"], &ledger["unanswered"]), (&json!(0), &json!([{ "flow": "revoke", "requestId": "revoke-1" }])));
    assert_eq!(lab.count(Endpoint::OpenQueue), 3);
}

/// Sends what `make` makes, which asks for tokens and locations anew, until the answer is one that `good` takes.
fn persist(lab: &Lab, mut make: impl FnMut(&Lab) -> Option<HttpRequest>, good: impl Fn(&Value) -> bool) {
    for _ in 0..200 {
        let Some(request) = make(lab) else { continue };
        let SimOutcome::Respond(answer) = lab.intune.answer(&request).outcome else { continue };
        let body = serde_json::from_slice::<Value>(answer.body.secret_bytes()).unwrap_or_default();
        if answer.status == 200 && good(&body) {
            return;
        }
        lab.clock.advance(Duration::from_secs(1));
    }
    panic!("no good answer in 200 tries");
}

/// A token, or nothing in this try.
fn token(lab: &Lab, scope: &str) -> Option<String> {
    let SimOutcome::Respond(answer) = lab.intune.answer(&lab.token_request(lab.intune.tenant_id(), &lab.secret_fields(scope))).outcome
    else {
        return None;
    };
    Some(serde_json::from_slice::<Value>(answer.body.secret_bytes()).ok()?["access_token"].as_str()?.to_owned())
}

fn base(lab: &Lab, service: &str) -> Option<String> {
    let request = lab.discovery_request(&token(lab, GRAPH_SCOPE)?);
    let SimOutcome::Respond(answer) = lab.intune.answer(&request).outcome else { return None };
    let body = serde_json::from_slice::<Value>(answer.body.secret_bytes()).ok()?;
    let found = body["value"].as_array()?.iter().find(|entry| entry["providerName"] == service)?;
    Some(found["uri"].as_str()?.to_owned())
}

fn call(lab: &Lab, service: &str, path: &str, sent: &Value) -> Option<HttpRequest> {
    let url = format!("{}/{path}", base(lab, service)?);
    Some(post(&url, &token(lab, INTUNE_SCOPE)?, "5019-05-05", sent))
}

#[test]
fn a_client_that_persists_loses_and_doubles_nothing_under_a_hundred_harsh_plans() {
    use base64::Engine as _;
    let device = Device::new(KeyAlgorithm::EcP256);
    let expected = ExpectedCsr::new("CN=Jane,O=Contoso").with_subject_alt_names([upn()]);
    let (scep, revocation) = ("ScepRequestValidationFEService", "PkiConnectorFEService");
    for seed in 0..100 {
        let lab = Lab::with(|builder| builder.seed(seed).faults(FaultPlan::harsh()));
        for number in 0..2 {
            let issued = lab.intune.issue_challenge(&expected).unwrap();
            let csr = base64::prelude::BASE64_STANDARD.encode(device.csr(issued.challenge.secret_str()));
            let id = format!("t-{number}");
            let request = json!({ "request": { "transactionId": id, "certificateRequest": csr, "callerInfo": "test" } });
            let success = |body: &Value| body["code"] == "Success";
            persist(&lab, |lab| call(lab, scep, "ScepActions/validateRequest", &request), success);
            let notification = json!({ "notification": {
                "transactionId": id, "certificateRequest": csr, "certificateThumbprint": format!("{number:040X}"), "certificateSerialNumber": "01",
                "certificateExpirationDateUtc": "2027-06-11T16:11:20.090Z", "issuingCertificateAuthority": "CA", "callerInfo": "test",
            } });
            persist(&lab, |lab| call(lab, scep, "ScepActions/successNotification", &notification), success);
            lab.intune.enqueue_revocation(RevocationRequest::new(format!("{number}")).with_request_context(format!("c-{number}"))).unwrap();
        }
        let download = json!({ "downloadParameters": { "maxRequests": 500, "issuerName": null } });
        let mut waits = 0;
        persist(
            &lab,
            |lab| {
                // Whatever was given out and got lost comes again after the cool-down.
                waits += 1;
                lab.clock.advance(Duration::from_secs(3_600));
                call(lab, revocation, "CertificateAuthorityRequests/downloadRevocationRequests", &download)
            },
            |body| body["value"].as_array().is_some_and(|value| value.len() == 2),
        );
        let results =
            json!({ "results": [{ "requestContext": "c-0", "succeeded": true }, { "requestContext": "c-1", "succeeded": true }] });
        persist(
            &lab,
            |lab| call(lab, revocation, "CertificateAuthorityRequests/uploadRevocationResults", &results),
            |body| body["value"] == true,
        );
        let (lost, doubled, findings) = (lab.intune.lost(), lab.intune.doubled(), lab.intune.findings());
        assert!(lost.is_empty() && doubled.is_empty() && findings.is_empty(), "seed {seed}: {lost:?} {doubled:?} {findings:?}");
        assert!(lab.intune.open_revocations().is_empty(), "seed {seed}");
        assert!(lab.intune.played_faults().len() >= 5 && lab.intune.arrivals().len() >= 20, "seed {seed}");
        let endpoints: BTreeSet<Endpoint> = lab.intune.arrivals().iter().map(|arrival| arrival.endpoint).collect();
        assert_eq!(endpoints.len(), 6, "{endpoints:?}");
    }
}
