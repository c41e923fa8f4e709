//! A request that ends the process each time is parked, and can be taken up again or dropped.

use std::sync::atomic::Ordering;

use futures_util::future::select;

use super::rig::{Rig, id, item};
use crate::connector::{Connector, RequestError};
use crate::event::EventId;
use crate::ports::{Outcome, RowState};
use crate::terms::Flow;

/// A process that ends in the middle, after so many seconds.
fn ends_after(rig: &Rig, connector: &Connector, seconds: u64) {
    rig.block_on(async {
        let _ = select(Box::pin(connector.run_until(core::future::pending())), rig.sleep(seconds)).await;
    });
}

fn tries(rig: &Rig, request: &str) -> u32 {
    rig.ledger.effects.lock().unwrap().get(&id(request)).copied().unwrap_or(0)
}

/// A rig whose request `bad` has ended the process often enough.
fn poisoned() -> Rig {
    let rig = Rig::new();
    rig.queue.push(item("bad", "slow:300"));
    for start in 0..8 {
        rig.queue.push(item(&format!("ok{start}"), "ok"));
        ends_after(&rig, &rig.connector(rig.settings().with_concurrency(3)), 5);
    }
    rig
}

#[test]
fn a_request_that_was_worked_on_at_five_ends_of_the_process_is_parked_and_others_are_not_held_up() {
    let rig = poisoned();
    for start in 0..8 {
        assert_eq!(rig.admin_count(&format!("ok{start}")), 1, "ok{start}");
    }
    assert_eq!(rig.codes_of("bad").iter().filter(|code| **code == EventId::RequestParked.code()).count(), 1);
    assert_eq!((rig.admin_count("bad"), tries(&rig, "bad")), (1, 6), "one before it was a suspect, and five after");
    let connector = rig.connector(rig.settings());
    let parked = rig.block_on(connector.handle().parked(10)).unwrap();
    assert_eq!(parked.len(), 1);
    assert_eq!((parked[0].meta.id.as_str(), parked[0].state, parked[0].crashes), ("bad", RowState::Parked, 5));
    assert!(parked[0].problem.as_ref().is_some_and(|problem| problem.contains('5')));
    rig.run_for(&connector, 400);
    assert_eq!(tries(&rig, "bad"), 6);
    assert_eq!(rig.block_on(connector.handle().request(parked[0].key)).unwrap(), parked[0]);
    assert!(rig.queue.result_of(Flow::Pkcs, &id("bad")).is_none());
}

#[test]
fn of_two_suspects_only_the_one_in_work_is_blamed() {
    let rig = Rig::new();
    rig.queue.push(item("a", "slow:300"));
    rig.queue.push(item("b", "slow:300"));
    for _ in 0..7 {
        ends_after(&rig, &rig.connector(rig.settings()), 5);
    }
    let connector = rig.connector(rig.settings());
    let parked = rig.block_on(connector.handle().parked(10)).unwrap();
    assert_eq!(parked.len(), 1, "the other one waited: {parked:?}");
    let other = if parked[0].meta.id.as_str() == "a" { "b" } else { "a" };
    assert!(tries(&rig, other) < 6);
    // It gets through once it is let live.
    rig.run_for(&connector, 400);
    assert!(matches!(rig.queue.result_of(Flow::Pkcs, &id(other)), Some(Outcome::Pkcs(_))));
}

#[test]
fn a_parked_request_is_taken_up_again() {
    let rig = poisoned();
    let connector = rig.connector(rig.settings());
    let handle = connector.handle();
    let key = rig.block_on(handle.parked(1)).unwrap()[0].key;
    let redrive = async {
        rig.sleep(1).await;
        handle.redrive(key).await.unwrap();
        assert!(matches!(handle.redrive(key).await, Err(RequestError::NotParked(_))));
        rig.sleep(900).await;
    };
    let found_first = rig.ledger.found_first.load(Ordering::SeqCst);
    rig.block_on(connector.run_until(redrive));
    assert!(matches!(rig.queue.result_of(Flow::Pkcs, &id("bad")), Some(Outcome::Pkcs(_))));
    assert!(rig.ledger.found_first.load(Ordering::SeqCst) > found_first, "the CA was asked before, which is not forgotten");
    assert!(rig.block_on(handle.parked(1)).unwrap().is_empty());
}

#[test]
fn a_dropped_request_is_answered_with_a_failure_and_not_worked_on() {
    let rig = poisoned();
    let connector = rig.connector(rig.settings());
    let handle = connector.handle();
    let key = rig.block_on(handle.parked(1)).unwrap()[0].key;
    rig.block_on(handle.drop_request(key)).unwrap();
    rig.run_for(&connector, 400);
    let outcome = rig.queue.result_of(Flow::Pkcs, &id("bad")).unwrap();
    assert!(outcome.failure().is_some_and(|failure| failure.contains("operator")), "{outcome:?}");
    assert_eq!(tries(&rig, "bad"), 6);
    let unknown = crate::ids::IdempotencyKey::new([9; 32]);
    assert!(matches!(rig.block_on(handle.request(unknown)), Err(RequestError::Unknown)));
}
