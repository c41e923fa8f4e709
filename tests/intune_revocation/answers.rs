//! What is sent, and what is made of answers.

use std::path::Path;

use intune_connector::adapters::intune::{ErrorCodeForm, IntuneRevocations};
use intune_connector::ports::{Failure, Outcome, Payload, PortErrorKind, RevocationError, RevokeRequest, RevokeResult};
use intune_connector::retry::{Effect, ErrorClass, Retry};
use serde_json::{Value, json};

use crate::rig::{Bench, DOWNLOAD, HOUR, UPLOAD, answer, brings, complete, ids, item, receive, revoked};

fn results() -> Vec<(&'static str, Outcome)> {
    let failed = |error, message: &str| Outcome::Revoke(RevokeResult::failed(error, message));
    vec![
        ("a", Outcome::Revoke(RevokeResult::succeeded(Some("was revoked before".to_owned())))),
        ("b", failed(RevocationError::ConflictError, "Zürich \"CA\" – 東京")),
        ("c", failed(RevocationError::ServiceTooBusyException, "")),
    ]
}

#[test]
fn the_bodies_are_those_of_the_golden_files() {
    let golden = |body: Option<&String>, file: &str| {
        let body = body.unwrap().clone() + "\n";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/intune").join(file);
        if std::env::var_os("INTUNE_CONNECTOR_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, &body).unwrap();
        }
        assert_eq!(body, std::fs::read_to_string(&path).unwrap(), "{file}");
    };
    for (form, file) in
        [(ErrorCodeForm::Names, "uploadRevocationResults.json"), (ErrorCodeForm::Numbers, "uploadRevocationResults-numbers.json")]
    {
        let bench = Bench::new();
        bench.script.then(DOWNLOAD, brings(&["a", "b", "c"].map(|context| item(context, "01", None))));
        let queue = bench.builder().error_codes(form).build().unwrap();
        receive(&queue, 9).unwrap();
        complete(&queue, &results()).unwrap();
        golden(bench.script.bodies(UPLOAD).first(), file);
        golden(bench.script.bodies(DOWNLOAD).first(), "downloadRevocationRequests.json");
    }
    let bench = Bench::new();
    let queue = bench.builder().max_requests(500).issuer_filter("Contoso \"Zürich\" CA").build().unwrap();
    receive(&queue, 9).unwrap();
    golden(bench.script.bodies(DOWNLOAD).first(), "downloadRevocationRequests-issuer.json");
}

/// Microsoft: download with two items, all four members.
#[test]
fn a_download_maps_all_four_members() {
    let bench = Bench::new();
    let (_, given) = bench.with(&[
        json!({ "requestContext": "ctx=1", "serialNumber": "0A1B", "issuerName": "CA one", "caConfiguration": "profile" }),
        json!({ "requestContext": "ctx=2", "serialNumber": "0A1C", "caConfiguration": "profile" }),
        json!({ "requestContext": "ctx=3", "serialNumber": "0A1D", "issuerName": null, "caConfiguration": " ", "later": { "a": 1 } }),
    ]);
    let issuers = [Some("CA one"), Some("profile"), None];
    for (at, (item, issuer)) in given.iter().zip(issuers).enumerate() {
        let mut wanted = RevokeRequest::new(["0A1B", "0A1C", "0A1D"][at]);
        wanted.issuer = issuer.map(str::to_owned);
        assert!(matches!(&item.payload, Payload::Revoke(request) if *request == wanted), "{item:?}");
        assert_eq!(item.meta.id.as_str(), format!("ctx={}", at + 1));
        assert_eq!(item.meta.correlation[0].as_str(), "5b2f6d0c-activity");
    }
    assert_eq!(given.len(), 3);
}

#[test]
fn members_of_a_download_are_read_in_pascal_case_too() {
    let bench = Bench::new();
    let body = r#"{"Value":[{"RequestContext":"c","SerialNumber":"01","IssuerName":"CA","CaConfiguration":null}]}"#;
    bench.script.then(DOWNLOAD, answer(200, body));
    let given = receive(&bench.queue(), 9).unwrap().items;
    assert!(matches!(&given[0].payload, Payload::Revoke(request) if request.issuer.as_deref() == Some("CA")), "{given:?}");
}

/// Microsoft: `value` is a string, and there is none.
#[test]
fn a_download_without_a_list_is_an_error() {
    for body in
        [r#"{"value":"[]"}"#, r#"{"value":null}"#, r#"{"value":{}}"#, r#"{"values":[]}"#, "{}", "[]", "", "null", r#"{"value":[1]}"#]
    {
        let bench = Bench::new();
        bench.script.then(DOWNLOAD, answer(200, body));
        let error = receive(&bench.queue(), 9).unwrap_err();
        assert_eq!((error.kind(), error.effect()), (PortErrorKind::Transient, Effect::Unknown), "{body}");
        assert!(
            error.to_string().contains("downloadRevocationRequests gave no requests") && error.to_string().contains("activity"),
            "{error}"
        );
    }
    let bench = Bench::new();
    assert!(receive(&bench.queue(), 9).unwrap().items.is_empty(), "an empty list is normal");
}

/// Microsoft: max -1 (which cannot be written here), 0 and 501 are errors, 1 and 500 are not.
#[test]
fn settings_that_the_service_does_not_take_are_refused_with_what_to_do() {
    let bench = Bench::new();
    for bad in [0, 501, usize::MAX] {
        let error = bench.builder().max_requests(bad).build().unwrap_err();
        assert!(error.to_string().contains("revocations.max_requests") && error.to_string().contains("1 to 500"), "{error}");
    }
    for good in [1, 500] {
        assert!(bench.builder().max_requests(good).build().is_ok());
    }
    assert!(bench.builder().issuer_filter("\u{20ac}".repeat(256)).build().is_ok());
    let builder = bench.builder().issuer_filter("x".repeat(257)).own_issuers([" "]).cool_down(HOUR * 25).max_requests(0);
    let error = builder.sealing_key(intune_connector::secret::SecretBytes::zeroed(16)).build().unwrap_err();
    let settings: Vec<&str> = error.findings().iter().map(|finding| finding.setting.as_str()).collect();
    assert_eq!(
        settings,
        ["max_requests", "issuer_filter", "own_issuers", "cool_down", "sealing_key"].map(|of| format!("revocations.{of}"))
    );
}

#[test]
fn a_durable_journal_needs_a_sealing_key() {
    let folder = tempfile::tempdir().unwrap();
    let journal = std::sync::Arc::new(intune_connector::adapters::SqliteJournal::open(folder.path().join("journal")).unwrap());
    let bench = Bench::on(journal.clone());
    let tenant = "contoso.example".parse().unwrap();
    let builder = IntuneRevocations::builder(bench.script.clone(), journal, tenant, bench.clock.clone(), crate::rig::provider());
    assert!(builder.build().unwrap_err().to_string().contains("revocations.sealing_key"));
}

#[test]
fn items_that_cannot_be_read_are_kept_and_reported_one_by_one() {
    let bench = Bench::new();
    let (queue, given) = bench.with(&[
        json!({ "requestContext": "null serial", "serialNumber": null }),
        json!({ "requestContext": "no serial" }),
        json!({ "requestContext": "number", "serialNumber": 17 }),
        json!({ "requestContext": "odd issuer", "serialNumber": "01", "issuerName": { "cn": "CA" } }),
        json!({ "requestContext": 5, "serialNumber": "01" }),
        json!("nothing"),
        item("good", "01", None),
        item("good", "02", None),
    ]);
    let problems: Vec<String> = given
        .iter()
        .map(|item| match &item.payload {
            Payload::Malformed(problem) => format!("{}: {problem}", item.meta.id),
            Payload::Unknown(kind) => kind.clone(),
            Payload::Revoke(request) => format!("{}: {}", item.meta.id, request.serial),
            other => panic!("{other:?}"),
        })
        .collect();
    let mut sorted: Vec<&str> = problems.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    assert_eq!(
        sorted,
        [
            "good: 01",
            "no serial: `serialNumber` is missing",
            "null serial: `serialNumber` is missing",
            "number: `serialNumber` is no text",
            "odd issuer: `issuerName` is no text",
            "revocation request without `requestContext` (2 of them)",
        ]
    );
    // What nobody can revoke is ended; what another may read is not.
    let failed = || Outcome::Failed(Failure::new(ErrorClass::Request, "the request could not be read"));
    complete(&queue, &[("no serial", failed()), ("odd issuer", failed()), ("good", failed())]).unwrap();
    let codes: Vec<String> = bench.script.uploaded().into_iter().map(|(_, code)| code).collect();
    assert_eq!(codes, ["DataSerializationError", "RetryableServiceException", "NonRetryableServiceException"]);
}

#[test]
fn a_context_that_is_no_id_is_known_by_its_digest_and_goes_back_as_it_came() {
    let contexts = ["x".repeat(300), "line\nbreak \u{202e}".to_owned(), "sha256:forged".to_owned(), " short ".to_owned()];
    let items: Vec<Value> = contexts.iter().map(|context| item(context, "01", None)).collect();
    let bench = Bench::new();
    let (queue, given) = bench.with(&items);
    let found = ids(&given);
    assert_eq!(found.len(), 4);
    let (digests, plain): (Vec<&str>, Vec<&str>) = found.into_iter().partition(|id| id.starts_with("sha256:") && id.len() == 71);
    assert_eq!((digests.len(), plain), (3, vec![" short "]));
    let results: Vec<(&str, Outcome)> = given.iter().map(|item| (item.meta.id.as_str(), revoked())).collect();
    complete(&queue, &results).unwrap();
    let mut sent: Vec<String> = bench.script.uploaded().into_iter().map(|(context, _)| context).collect();
    let mut wanted = contexts.to_vec();
    sent.sort();
    wanted.sort();
    assert_eq!(sent, wanted);
}

#[test]
fn each_status_says_who_must_do_what_and_names_the_call() {
    use PortErrorKind as K;
    for (status, kind, effect, advice) in [
        (302, K::Misconfigured, Effect::Unknown, "redirect"),
        (400, K::Rejected, Effect::Unknown, "`api-version`"),
        (401, K::Misconfigured, Effect::None, "`scep_challenge_provider`"),
        (403, K::Misconfigured, Effect::None, "licences"),
        (404, K::Transient, Effect::None, "discover its location anew"),
        (407, K::Misconfigured, Effect::None, "proxy"),
        (413, K::Rejected, Effect::Unknown, "`max_requests`"),
        (429, K::Throttled, Effect::None, "too many"),
        (502, K::Transient, Effect::Unknown, "Bad gateway"),
        (503, K::Throttled, Effect::Unknown, "overloaded"),
        (204, K::Transient, Effect::Unknown, "no answer of the service"),
    ] {
        let page = "<html><head><title>Bad gateway</title></head></html>";
        let bench = Bench::new();
        bench.script.then(DOWNLOAD, answer(status, page));
        let download = receive(&bench.queue(), 9).unwrap_err();
        let bench = Bench::new();
        let (queue, _) = bench.with(&[item("a", "01", None)]);
        bench.script.then(UPLOAD, answer(status, page));
        let upload = complete(&queue, &[("a", revoked())]).unwrap_err();
        for (error, call) in [(download, "downloadRevocationRequests"), (upload, "uploadRevocationResults")] {
            let text = error.to_string();
            assert_eq!((error.kind(), error.effect(), error.code()), (kind, effect, Some(status.to_string().as_str())), "{text}");
            assert!(text.contains(advice) && text.contains(call) && text.contains("5b2f6d0c-activity"), "{status}: {text}");
        }
    }
}

#[test]
fn retry_after_is_kept() {
    let bench = Bench::new();
    bench.script.then(DOWNLOAD, answer(429, "").with_retry_after("120")).then(DOWNLOAD, answer(503, "").with_retry_after("7200"));
    let queue = bench.queue();
    let minute = core::time::Duration::from_secs(60);
    assert_eq!(receive(&queue, 9).unwrap_err().retry(), Retry::After(2 * minute));
    assert_eq!(receive(&queue, 9).unwrap().next_poll, Some(2 * minute), "no call before that");
    bench.clock.advance(2 * minute);
    // It may have been counted, and it asks for more than the hour.
    assert_eq!(receive(&queue, 9).unwrap_err().retry(), Retry::After(2 * HOUR));
    assert_eq!(bench.script.count(DOWNLOAD), 2);
}

#[test]
fn a_download_longer_than_the_bound_is_an_error() {
    let bench = Bench::new();
    let long = format!(r#"{{"value":[],"x":"{}"}}"#, "x".repeat(DOWNLOAD.max_answer()));
    bench.script.then(DOWNLOAD, answer(200, &long));
    let text = receive(&bench.queue(), 9).unwrap_err().to_string();
    assert!(text.contains("longer than 4096 KiB") && text.len() < 500, "{text}");
}
