//! Leases, and what a lost answer loses: nothing.

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use intune_connector::ports::{
    CompleteAnswer, CompleteRequest, ExtendLeaseRequest, IntuneQueue as _, Outcome, Payload, PortErrorKind, QueueItem, ReceiveRequest,
    RecryptRequest, ResultItem, RevocationError, RevokeRequest, RevokeResult,
};
use intune_connector::terms::Flow;

use crate::wire::{Fault, Lab, block_on, failure, id, ids, meta};

const LEASE: Duration = Duration::from_secs(300);

#[test]
fn a_batch_whose_answer_was_lost_comes_again_at_once_and_counts_once() {
    let lab = Lab::new();
    lab.fill(&["a", "b", "c"]);
    lab.wire.fault(Fault::LoseAnswer);
    let error = lab.receive(2).unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Transient);
    assert_eq!(ids(&lab.receive(2).unwrap()), ["a", "b"]);
    assert_eq!(ids(&lab.receive(2).unwrap()), ["c"]);
    assert!(lab.server.deliveries().values().all(|count| *count == 1), "{:?}", lab.server.deliveries());
}

#[test]
fn a_call_that_was_dropped_half_way_is_asked_for_again() {
    let lab = Lab::new();
    lab.fill(&["a"]);
    lab.wire.fault(Fault::Hang);
    {
        let mut call = pin!(lab.queue.receive(ReceiveRequest::new(Flow::Revoke, "one".parse().unwrap(), 1)));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert_eq!(lab.server.leases().len(), 1);
    assert_eq!(ids(&lab.receive(1).unwrap()), ["a"]);
}

#[test]
fn a_batch_that_cannot_be_read_comes_again() {
    let lab = Lab::new();
    lab.fill(&["a"]);
    lab.wire.fault(Fault::Edit("]", String::new()));
    let error = lab.receive(1).unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
    assert_eq!(ids(&lab.receive(1).unwrap()), ["a"]);
}

#[test]
fn a_repeated_delivery_never_holds_more_than_is_asked_for_and_keeps_nothing_back() {
    let lab = Lab::new();
    lab.fill(&["a", "b", "c"]);
    lab.wire.fault(Fault::LoseAnswer);
    assert!(lab.receive(3).is_err());
    assert_eq!(ids(&lab.receive(1).unwrap()), ["a"]);
    assert_eq!(ids(&lab.receive(9).unwrap()), ["b", "c"]);
}

#[test]
fn a_lease_keeps_others_away_until_it_ends_and_then_another_instance_takes_over() {
    let lab = Lab::new();
    lab.fill(&["a"]);
    assert_eq!(ids(&lab.receive_as("one", 9).unwrap()), ["a"]);
    lab.clock.advance(LEASE - Duration::from_secs(1));
    assert!(lab.receive_as("two", 9).unwrap().is_empty());
    assert!(lab.receive_as("one", 9).unwrap().is_empty(), "its holder does not get it twice either");
    lab.clock.advance(Duration::from_secs(1));
    assert_eq!(ids(&lab.receive_as("two", 9).unwrap()), ["a"]);
    assert_eq!(lab.server.leases().values().map(|by| by.as_str()).collect::<Vec<_>>(), ["two"]);
    assert_eq!(lab.server.deliveries()[&(Flow::Revoke, id("a"))], 2);
}

#[test]
fn a_prolonged_lease_lasts_and_one_that_ended_is_told() {
    let lab = Lab::new();
    lab.fill(&["a", "b"]);
    assert_eq!(lab.receive_as("one", 1).unwrap().len(), 1);
    let extend = |requests: &[&str]| {
        let requests = requests.iter().map(|request| id(request)).collect();
        block_on(lab.queue.extend_lease(ExtendLeaseRequest::new(Flow::Revoke, "one".parse().unwrap(), requests)))
    };
    lab.clock.advance(LEASE - Duration::from_secs(1));
    extend(&["a"]).unwrap();
    lab.clock.advance(LEASE - Duration::from_secs(1));
    assert_eq!(ids(&lab.receive_as("two", 9).unwrap()), ["b"], "a is still kept");
    let error = extend(&["a", "b", "never"]).unwrap_err();
    assert!(error.to_string().contains("leases of 2 requests"), "{error}");
}

#[test]
fn of_two_instances_the_first_result_stands() {
    let lab = Lab::new();
    lab.fill(&["a"]);
    assert_eq!(lab.receive_as("one", 1).unwrap().len(), 1);
    lab.clock.advance(LEASE);
    assert_eq!(lab.receive_as("two", 1).unwrap().len(), 1);
    assert_eq!(lab.complete(&[("a", "first")]).unwrap(), [CompleteAnswer::Accepted]);
    assert!(matches!(&lab.complete(&[("a", "second")]).unwrap()[..], [CompleteAnswer::Refused(_)]));
    assert_eq!(lab.server.result_of(Flow::Revoke, &id("a")), Some(failure("first")));
    assert_eq!(lab.server.changed_results(), [(Flow::Revoke, id("a"))]);
    lab.clock.advance(LEASE);
    assert!(lab.receive_as("two", 1).unwrap().is_empty(), "what is answered is not offered");
}

#[test]
fn an_upload_whose_answer_was_lost_is_accepted_when_it_is_repeated() {
    let lab = Lab::new();
    lab.fill(&["a", "b"]);
    assert_eq!(lab.receive(2).unwrap().len(), 2);
    lab.wire.fault(Fault::LoseAnswer);
    assert!(lab.complete(&[("a", "x"), ("b", "y")]).is_err());
    assert_eq!(lab.complete(&[("a", "x"), ("b", "y")]).unwrap(), [CompleteAnswer::Accepted, CompleteAnswer::Accepted]);
    assert!(lab.server.changed_results().is_empty());
    assert_eq!(lab.server.uploads().len(), 4);
    assert_eq!(lab.server.unanswered(), []);
}

#[test]
fn a_request_that_never_left_loses_nothing() {
    let lab = Lab::new();
    lab.fill(&["a"]);
    lab.wire.fault(Fault::LoseRequest);
    assert!(lab.receive(1).is_err());
    assert_eq!(lab.server.waiting(), 1);
    assert_eq!(ids(&lab.receive(1).unwrap()), ["a"]);
}

#[test]
fn a_revocation_that_may_pass_is_offered_again_when_its_lease_ends() {
    let lab = Lab::new();
    lab.fill(&["a"]);
    assert_eq!(lab.receive(1).unwrap().len(), 1);
    let complete = |outcome: Outcome| {
        let result = ResultItem::new(meta(Flow::Revoke, "a"), outcome);
        block_on(lab.queue.complete(CompleteRequest::new(Flow::Revoke, "one".parse().unwrap(), vec![result])))
    };
    let busy = Outcome::Revoke(RevokeResult::failed(RevocationError::ServiceTooBusyException, "busy"));
    assert_eq!(complete(busy.clone()).unwrap(), [CompleteAnswer::Accepted]);
    assert!(lab.receive(1).unwrap().is_empty());
    lab.clock.advance(LEASE);
    assert_eq!(ids(&lab.receive(1).unwrap()), ["a"]);
    let done = Outcome::Revoke(RevokeResult::succeeded(None));
    assert_eq!(complete(done.clone()).unwrap(), [CompleteAnswer::Accepted]);
    lab.clock.advance(LEASE);
    assert!(lab.receive(1).unwrap().is_empty());
    assert_eq!(lab.server.result_of(Flow::Revoke, &id("a")), Some(done));
    assert!(matches!(&complete(busy).unwrap()[..], [CompleteAnswer::Refused(_)]));
}

#[test]
fn a_request_that_is_offered_again_is_answered_by_the_same_result() {
    let lab = Lab::new();
    lab.fill(&["a"]);
    assert_eq!(lab.receive(1).unwrap().len(), 1);
    assert_eq!(lab.complete(&[("a", "x")]).unwrap(), [CompleteAnswer::Accepted]);
    assert!(lab.server.offer_again(Flow::Revoke, &id("a")) && !lab.server.offer_again(Flow::Revoke, &id("never")));
    assert_eq!(ids(&lab.receive(1).unwrap()), ["a"]);
    assert_eq!(lab.complete(&[("a", "x")]).unwrap(), [CompleteAnswer::Accepted]);
    assert_eq!(lab.server.waiting(), 0);
}

#[test]
fn a_kind_of_a_later_version_is_delivered_as_unknown_and_its_neighbours_as_they_are() {
    let lab = Lab::new();
    lab.push(Flow::Revoke, "new", Payload::Unknown("attest".to_owned()));
    lab.fill(&["a", "b"]);
    lab.wire.fault(Fault::Edit("\"serial\"", "\"number\"".to_owned()));
    let items = lab.receive(9).unwrap();
    assert!(matches!(&items[0].payload, Payload::Unknown(kind) if kind == "attest"), "{items:?}");
    // Both lost their serial number on the way.
    assert!(items[1..].iter().all(|item| matches!(&item.payload, Payload::Malformed(problem) if problem == "`serial` is missing")));
}

#[test]
fn a_malformed_item_leaves_its_neighbours_whole() {
    let lab = Lab::new();
    lab.fill(&["a"]);
    lab.push(Flow::Revoke, "b", Payload::Revoke(RevokeRequest::new("02")));
    lab.fill(&["c"]);
    lab.wire.fault(Fault::Edit("\"serial\":\"02\"", "\"serial\":[]".to_owned()));
    let items = lab.receive(9).unwrap();
    assert_eq!(ids(&items), ["a", "b", "c"]);
    let malformed: Vec<bool> = items.iter().map(|item| matches!(item.payload, Payload::Malformed(_))).collect();
    assert_eq!(malformed, [false, true, false]);
}

#[test]
fn items_without_an_id_are_told_and_never_answered() {
    let lab = Lab::new();
    lab.fill(&["a"]);
    lab.wire.fault(Fault::Edit("\"id\"", "\"Id\"".to_owned()));
    let items = lab.receive(1).unwrap();
    assert!(matches!(&items[0].payload, Payload::Unknown(text) if text == "unreadable: `id` is missing"), "{items:?}");
}

#[test]
fn a_batch_that_is_too_long_is_asked_for_in_parts_by_a_client_whose_server_does_not_look() {
    let lab = Lab::new();
    lab.fill(&["a", "b", "c", "d"]);
    let long = intune_connector::adapters::http::HttpResponse::new(200, vec![b' '; 17 << 20]);
    lab.wire.fault(Fault::Answer(long));
    assert_eq!(ids(&lab.receive(4).unwrap()), ["a", "b"]);
    assert_eq!(ids(&lab.receive(4).unwrap()), ["c", "d"]);
}

#[test]
fn no_batch_is_longer_than_the_client_reads_and_what_never_fits_is_answered() {
    let lab = Lab::with(|settings| settings, |config| config.with_max_batch_bytes(64 << 10));
    let big = |bytes: usize| stored_payload(bytes);
    for (name, bytes) in [("a", 30_000), ("b", 30_000), ("giant", 60_000), ("c", 100)] {
        lab.push(Flow::PkcsRecrypt, name, big(bytes));
    }
    let receive = || block_on(lab.queue.receive(ReceiveRequest::new(Flow::PkcsRecrypt, "one".parse().unwrap(), 9))).unwrap().items;
    assert_eq!(ids(&receive()), ["a"]);
    let rest = receive();
    assert_eq!(ids(&rest), ["b", "giant", "c"]);
    assert!(matches!(&rest[1].payload, Payload::Malformed(problem) if problem.contains("more than the 65536")), "{:?}", rest[1]);
    assert!(lab.wire.calls().iter().all(|call| call.answer.len() <= 64 << 10));
}

fn stored_payload(bytes: usize) -> Payload {
    Payload::Recrypt(Box::new(RecryptRequest::new(vec![7; bytes], vec![1].into())))
}

#[test]
fn requests_are_put_in_line_as_they_are_delivered_and_a_bad_one_stops_all() {
    let lab = Lab::new();
    lab.fill(&["a", "b"]);
    assert_eq!(lab.receive(9).unwrap().len(), 2);
    let delivered = lab.wire.last().answer;
    let other = Lab::new();
    assert_eq!(other.server.enqueue_json(delivered.as_bytes()), Ok(2));
    assert_eq!(ids(&other.receive(9).unwrap()), ["a", "b"]);
    for (bad, says) in [
        (delivered.replace("contoso.com", "fabrikam.com"), "another tenant"),
        (delivered.clone(), "already"),
        (delivered.replace("\"a\"", "\"c\"").replace("\"b\"", "\"\""), "item 1: `id`"),
        (delivered.replace("\"serial\"", "\"number\""), "item 0: `serial` is missing"),
        (delivered.replace("\"flow\":\"revoke\"", "\"flow\":\"scep\""), "does not serve the flow scep"),
        ("{}".to_owned(), "`items` is missing"),
        ("<".to_owned(), "no JSON"),
    ] {
        let error = other.server.enqueue_json(bad.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(other.server.waiting(), 0);
}

#[test]
fn the_queue_keeps_no_more_than_it_was_told() {
    let lab = Lab::with(|settings| settings.with_most_kept(2), |config| config);
    lab.fill(&["a", "b"]);
    let third = lab.server.enqueue(QueueItem::new(meta(Flow::Revoke, "c"), Payload::Revoke(RevokeRequest::new("01"))));
    assert!(third.unwrap_err().to_string().contains("no more than 2 requests"));
}
