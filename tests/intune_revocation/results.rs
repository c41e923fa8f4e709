//! Uploads: what is taken, what is tried again, what is refused.

use intune_connector::conformance::{CheckResult, QueueUnderTest, check_queue};
use intune_connector::ports::{
    CompleteAnswer, CompleteRequest, IntuneQueue, Outcome, PortError, PortErrorKind, ReceiveRequest, RecryptResult, ResultItem,
    RevocationError, RevokeResult,
};
use intune_connector::retry::Effect;
use intune_connector::terms::Flow;
use serde_json::Value;

use crate::rig::{Bench, DOWNLOAD, HOUR, UPLOAD, answer, block_on, brings, complete, ids, item, meta, receive, revoked};

fn items(count: usize) -> Vec<Value> {
    (0..count).map(|number| item(&format!("r{number}"), "01", None)).collect()
}

fn failed(error: RevocationError) -> Outcome {
    Outcome::Revoke(RevokeResult::failed(error, "no"))
}

/// Microsoft: upload ok; `value` is false, "test", absent. The text "true" is taken by the C# client alone.
#[test]
fn an_upload_counts_only_when_value_is_true() {
    for body in [r#"{"value":true}"#, r#"{"value":"true"}"#, r#"{"Value":"True"}"#, r#"{"@odata.context":"x","value":true,"y":[]}"#] {
        let bench = Bench::new();
        let (queue, _) = bench.with(&items(2));
        bench.script.then(UPLOAD, answer(200, body));
        assert_eq!(complete(&queue, &[("r0", revoked()), ("r1", revoked())]).unwrap(), [const { CompleteAnswer::Accepted }; 2], "{body}");
    }
    for body in [r#"{"value":false}"#, r#"{"value":"test"}"#, r#"{"value":1}"#, r#"{"value":null}"#, "{}"] {
        let bench = Bench::new();
        let (queue, _) = bench.with(&items(1));
        bench.script.then(UPLOAD, answer(200, body));
        let answers = complete(&queue, &[("r0", revoked())]).unwrap();
        assert!(matches!(&answers[..], [CompleteAnswer::TryAgain(why)] if why.contains("value")), "{body}: {answers:?}");
        assert_eq!(complete(&queue, &[("r0", revoked())]).unwrap(), [CompleteAnswer::Accepted], "the next upload is taken");
    }
    for body in ["", "[]", "true", "<html></html>"] {
        let bench = Bench::new();
        let (queue, _) = bench.with(&items(1));
        bench.script.then(UPLOAD, answer(200, body));
        assert!(complete(&queue, &[("r0", revoked())]).is_err(), "{body}");
    }
}

#[test]
fn of_several_results_that_are_not_taken_the_call_fails_so_that_the_connector_halves_them() {
    let bench = Bench::new();
    let (queue, _) = bench.with(&items(2));
    bench.script.then(UPLOAD, answer(200, r#"{"value":false}"#));
    let error = complete(&queue, &[("r0", revoked()), ("r1", revoked())]).unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Transient);
    assert!(error.to_string().contains("`false`"), "{error}");
}

/// Microsoft: an empty list and none.
#[test]
fn an_empty_list_is_never_uploaded() {
    let bench = Bench::new();
    let (queue, _) = bench.with(&items(1));
    assert_eq!(complete(&queue, &[]).unwrap_err().kind(), PortErrorKind::Rejected);
    let answers = complete(&queue, &[("unknown", revoked())]).unwrap();
    assert!(matches!(answers[..], [CompleteAnswer::Refused(_)]));
    assert_eq!(bench.script.count(UPLOAD), 0);
}

#[test]
fn each_result_has_its_own_answer_whatever_the_others_are() {
    let bench = Bench::new();
    let (queue, _) = bench.with(&items(3));
    let mut chatty = RevokeResult::succeeded(None);
    chatty.message = Some("done".to_owned());
    let wrong = Outcome::Recrypt(RecryptResult::new(vec![1]));
    let results = [("r0", revoked()), ("unknown", revoked()), ("r1", wrong), ("r2", Outcome::Revoke(chatty))];
    let answers = complete(&queue, &results).unwrap();
    let refused =
        |at: usize, why: &str| assert!(matches!(&answers[at], CompleteAnswer::Refused(text) if text.contains(why)), "{answers:?}");
    assert_eq!(answers[0], CompleteAnswer::Accepted);
    refused(1, "no such request");
    refused(2, "no result of a revocation");
    refused(3, "a success carries an error message");
    assert_eq!(bench.script.uploaded(), [("r0".to_owned(), "None".to_owned())]);

    let mut foreign = ResultItem::new(meta("r1"), revoked());
    foreign.meta.tenant = "fabrikam.example".parse().unwrap();
    let answers = block_on(queue.complete(CompleteRequest::new(Flow::Revoke, "one".parse().unwrap(), vec![foreign]))).unwrap();
    assert!(matches!(&answers[..], [CompleteAnswer::Refused(why)] if why.contains("another tenant")));
}

#[test]
fn a_repeated_result_is_accepted_without_a_call_and_another_one_is_refused() {
    let bench = Bench::new();
    let (queue, _) = bench.with(&items(1));
    for _ in 0..3 {
        assert_eq!(complete(&queue, &[("r0", revoked())]).unwrap(), [CompleteAnswer::Accepted]);
    }
    assert_eq!(bench.script.count(UPLOAD), 1);
    let answers = complete(&queue, &[("r0", failed(RevocationError::ConflictError))]).unwrap();
    assert!(matches!(&answers[..], [CompleteAnswer::Refused(why)] if why.contains("another result")), "{answers:?}");
}

#[test]
fn an_upload_whose_answer_is_lost_may_be_repeated() {
    let bench = Bench::new();
    let (queue, _) = bench.with(&items(1));
    bench.script.then_fails(UPLOAD, || PortError::transient("connection reset"));
    assert_eq!(complete(&queue, &[("r0", revoked())]).unwrap_err().effect(), Effect::Unknown);
    assert_eq!(complete(&queue, &[("r0", revoked())]).unwrap(), [CompleteAnswer::Accepted]);
    let bodies = bench.script.bodies(UPLOAD);
    assert!(bodies.len() == 2 && bodies[0] == bodies[1], "byte for byte");
}

#[test]
fn results_go_up_in_lists_of_the_set_size_and_what_was_taken_stays_taken() {
    let bench = Bench::new();
    bench.script.then(DOWNLOAD, brings(&items(5)));
    let queue = bench.builder().max_requests(2).build().unwrap();
    receive(&queue, 9).unwrap();
    bench.script.then(UPLOAD, answer(200, r#"{"value":true}"#)).then(UPLOAD, answer(500, ""));
    let results: Vec<(&str, Outcome)> = ["r0", "r1", "r2", "r3", "r4"].into_iter().map(|id| (id, revoked())).collect();
    let answers = complete(&queue, &results).unwrap();
    assert_eq!(answers[..2], [const { CompleteAnswer::Accepted }; 2]);
    assert!(answers[2..].iter().all(|answer| matches!(answer, CompleteAnswer::TryAgain(why) if why.contains("500"))), "{answers:?}");
    assert_eq!(bench.script.count(UPLOAD), 2, "no further call after one that failed");
    assert_eq!(complete(&queue, &results).unwrap(), [const { CompleteAnswer::Accepted }; 5]);
    let sizes: Vec<usize> = bench
        .script
        .bodies(UPLOAD)
        .iter()
        .map(|body| serde_json::from_str::<Value>(body).unwrap()["results"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [2, 2, 2, 1]);
}

#[test]
fn a_request_that_intune_offers_again_is_given_out_again_but_not_while_it_is_in_hand() {
    let bench = Bench::new();
    let (queue, given) = bench.with(&items(2));
    assert_eq!(ids(&given).len(), 2);
    complete(&queue, &[("r0", failed(RevocationError::ServiceUnavailableException))]).unwrap();
    // The connector goes on holding r1.
    for _ in 0..6 {
        bench.clock.advance(HOUR / 6);
        let extension = intune_connector::ports::ExtendLeaseRequest::new(Flow::Revoke, "one".parse().unwrap(), vec!["r1".parse().unwrap()]);
        block_on(queue.extend_lease(extension)).unwrap();
    }
    bench.script.then(DOWNLOAD, brings(&items(2)));
    assert_eq!(ids(&receive(&queue, 9).unwrap().items), ["r0"]);
    assert_eq!(complete(&queue, &[("r0", revoked()), ("r1", revoked())]).unwrap(), [const { CompleteAnswer::Accepted }; 2]);
}

#[test]
fn another_flow_is_none_of_this_queue() {
    let bench = Bench::new();
    let queue = bench.queue();
    assert_eq!(queue.capabilities().flows, [Flow::Revoke]);
    let error = block_on(queue.receive(ReceiveRequest::new(Flow::Pkcs, "one".parse().unwrap(), 1))).unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Unsupported);
    assert_eq!(bench.script.count(DOWNLOAD), 0);
}

#[test]
fn the_queue_passes_the_conformance_suite() {
    let bench = Bench::new();
    bench.script.then(DOWNLOAD, brings(&items(3)));
    let queue = bench.queue();
    let test = QueueUnderTest::new(&queue, Flow::Revoke, "one".parse().unwrap(), "never given out".parse().unwrap());
    let report = block_on(check_queue(&test));
    assert!(report.is_passed(), "{report}");
    let skipped: Vec<&str> =
        report.checks.iter().filter(|check| matches!(check.result, CheckResult::Skipped(_))).map(|check| check.name.as_str()).collect();
    assert_eq!(skipped, ["a health message is taken, or called unsupported"], "{report}");
    assert_eq!(bench.script.count(DOWNLOAD), 1);
}
