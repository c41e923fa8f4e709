//! The hour after a download, and what survives a restart.

use core::sync::atomic::Ordering;

use futures_util::FutureExt as _;
use intune_connector::ports::{
    IntuneQueue, Journal, JournalScope, PortError, PortErrorKind, PruneRequest, ReceiveRequest, RowKind, RowState, Runtime,
};
use intune_connector::retry::{Effect, Retry};
use intune_connector::secret::SecretBytes;
use intune_connector::terms::Flow;

use crate::rig::{Bench, DOWNLOAD, Faulty, HOUR, Kept, MINUTE, answer, block_on, brings, complete, ids, item, receive, revoked};

#[test]
fn a_second_download_within_the_hour_is_not_made_and_the_batch_survives_a_restart() {
    for kept in Kept::both() {
        let bench = Bench::on(kept.open());
        bench.script.then(DOWNLOAD, brings(&[item("a", "01", Some("CA")), item("b", "02", None), item("c", "03", None)]));
        let queue = bench.queue();
        assert_eq!(receive(&queue, 9).unwrap().next_poll, Some(HOUR));
        complete(&queue, &[("b", revoked())]).unwrap();
        bench.clock.advance(20 * MINUTE);
        let Bench { script, clock, journal } = bench;
        drop((queue, journal));

        let bench = Bench { script, clock, journal: kept.open() };
        let queue = bench.queue();
        let batch = receive(&queue, 9).unwrap();
        let mut again = ids(&batch.items);
        again.sort_unstable();
        assert_eq!(again, ["a", "c"], "what was not accepted, without a call");
        assert_eq!(batch.next_poll, Some(40 * MINUTE));
        let batch = receive(&queue, 9).unwrap();
        assert!(batch.items.is_empty() && batch.next_poll == Some(40 * MINUTE), "not twice at a time");
        bench.clock.advance(40 * MINUTE - core::time::Duration::from_secs(1));
        assert_eq!(receive(&queue, 9).unwrap().items.len(), 2, "nobody prolonged them");
        assert_eq!(receive(&queue, 9).unwrap().items.len(), 0);
        assert_eq!(bench.script.count(DOWNLOAD), 1);
        complete(&queue, &[("a", revoked()), ("c", revoked())]).unwrap();
        bench.clock.advance(core::time::Duration::from_secs(1));
        receive(&queue, 9).unwrap();
        assert_eq!(bench.script.count(DOWNLOAD), 2, "the hour is over");
    }
}

#[test]
fn an_answer_that_was_lost_waits_the_hour_across_a_restart() {
    for kept in Kept::both() {
        let bench = Bench::on(kept.open());
        bench.script.then_fails(DOWNLOAD, || PortError::transient("connection reset after the request was sent"));
        let queue = bench.queue();
        assert_eq!(receive(&queue, 9).unwrap_err().retry(), Retry::After(HOUR));
        bench.clock.advance(MINUTE);
        let Bench { script, clock, journal } = bench;
        drop((queue, journal));
        let bench = Bench { script, clock, journal: kept.open() };
        let queue = bench.queue();
        assert_eq!(receive(&queue, 9).unwrap().next_poll, Some(59 * MINUTE));
        assert_eq!(bench.script.count(DOWNLOAD), 1);
        bench.clock.advance(59 * MINUTE);
        receive(&queue, 9).unwrap();
        assert_eq!(bench.script.count(DOWNLOAD), 2);
    }
}

#[test]
fn a_call_that_is_dropped_under_way_waits_the_hour() {
    let bench = Bench::new();
    bench.script.then_never_answers(DOWNLOAD);
    let queue = bench.queue();
    assert!(queue.receive(ReceiveRequest::new(Flow::Revoke, "one".parse().unwrap(), 9)).now_or_never().is_none());
    assert_eq!(receive(&queue, 9).unwrap().next_poll, Some(HOUR));
    assert_eq!(bench.script.count(DOWNLOAD), 1);
}

#[test]
fn an_error_that_did_nothing_ends_the_cool_down() {
    let bench = Bench::new();
    bench.script.then_fails(DOWNLOAD, || PortError::transient("no such host").with_effect(Effect::None)).then(DOWNLOAD, answer(401, ""));
    bench.script.then(DOWNLOAD, brings(&[item("a", "01", None)]));
    let queue = bench.queue();
    assert_eq!(receive(&queue, 9).unwrap_err().retry(), Retry::Later);
    assert_eq!(receive(&queue, 9).unwrap_err().kind(), PortErrorKind::Misconfigured);
    assert_eq!(ids(&receive(&queue, 9).unwrap().items), ["a"]);
}

#[test]
fn what_a_dropped_call_had_given_out_is_given_out_again() {
    let journal = Faulty::new(JournalScope::Instance);
    let bench = Bench::on(journal.clone());
    bench.script.then(DOWNLOAD, brings(&[item("r1", "01", None), item("r2", "02", None)]));
    let queue = bench.queue();
    assert_eq!(ids(&receive(&queue, 1).unwrap().items), ["r1"]);
    journal.hang_after_the_next_commit();
    let call = queue.receive(ReceiveRequest::new(Flow::Revoke, "one".parse().unwrap(), 9)).now_or_never();
    journal.hangs.store(false, Ordering::SeqCst);
    let given = match call {
        Some(batch) => batch.unwrap(),
        None => receive(&queue, 9).unwrap(),
    };
    assert_eq!(ids(&given.items), ["r2"], "the caller's time-out took it from nobody");
}

#[test]
fn no_download_goes_out_when_its_hour_cannot_be_stored() {
    let journal = Faulty::new(JournalScope::Instance);
    let bench = Bench::on(journal.clone());
    let queue = bench.queue();
    journal.fails.store(true, Ordering::SeqCst);
    assert!(receive(&queue, 9).unwrap_err().to_string().contains("disk is full"));
    assert_eq!(bench.script.count(DOWNLOAD), 0);
    journal.fails.store(false, Ordering::SeqCst);
    receive(&queue, 9).unwrap();
    assert_eq!(bench.script.count(DOWNLOAD), 1);
}

#[test]
fn a_batch_that_the_journal_does_not_take_is_kept_until_it_does_and_not_given_out_before() {
    let journal = Faulty::new(JournalScope::Instance);
    let bench = Bench::on(journal.clone());
    bench.script.then(DOWNLOAD, brings(&[item("a", "01", None)]));
    let queue = bench.queue();
    // The cool-down is stored, the batch is not.
    *journal.commits_left.lock().unwrap() = Some(1);
    assert!(receive(&queue, 9).is_err());
    assert!(receive(&queue, 9).is_err());
    *journal.commits_left.lock().unwrap() = None;
    assert_eq!(ids(&receive(&queue, 9).unwrap().items), ["a"]);
    assert_eq!(bench.script.count(DOWNLOAD), 1);
}

#[test]
fn a_batch_is_given_out_in_parts_without_another_call() {
    let bench = Bench::new();
    let items: Vec<_> = (0..5).map(|number| item(&format!("r{number}"), "01", None)).collect();
    bench.script.then(DOWNLOAD, brings(&items));
    let queue = bench.queue();
    let mut seen = Vec::new();
    for (count, next) in [(2, None), (2, None), (1, Some(HOUR)), (0, Some(HOUR))] {
        let batch = receive(&queue, 2).unwrap();
        assert_eq!((batch.items.len(), batch.next_poll), (count, next));
        seen.extend(batch.items.iter().map(|item| item.meta.id.as_str().to_owned()));
    }
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), bench.script.count(DOWNLOAD)), (5, 1));
}

#[test]
fn the_hour_outlives_any_retention_and_is_forgotten_after_it() {
    let journal = Faulty::new(JournalScope::Instance);
    let bench = Bench::on(journal.clone());
    let queue = bench.queue();
    receive(&queue, 9).unwrap();
    let prune = || block_on(journal.prune(PruneRequest::new(bench.clock.now(), 100))).unwrap();
    assert_eq!(prune(), 0);
    bench.clock.advance(HOUR + MINUTE);
    assert_eq!(prune(), 1);
    receive(&queue, 9).unwrap();
    assert_eq!(bench.script.count(DOWNLOAD), 2);
}

#[test]
fn an_accepted_request_is_final_and_pruned() {
    let journal = Faulty::new(JournalScope::Instance);
    let bench = Bench::on(journal.clone());
    let (queue, _) = bench.with(&[item("a", "01", None)]);
    let state = || journal.rows.rows().into_iter().find(|row| row.key.kind == RowKind::Revocation).map(|row| row.state);
    assert_eq!(state(), Some(RowState::Received));
    complete(&queue, &[("a", revoked())]).unwrap();
    assert_eq!(state(), Some(RowState::Acknowledged));
    bench.clock.advance(MINUTE);
    block_on(journal.prune(PruneRequest::new(bench.clock.now(), 100))).unwrap();
    assert_eq!(state(), None);
}

#[test]
fn what_is_stored_is_sealed_and_another_key_is_reported_once() {
    let journal = Faulty::new(JournalScope::Instance);
    let bench = Bench::on(journal.clone());
    bench.with(&[item("the-context", "0A1B", Some("the-issuer"))]);
    for row in journal.rows.rows() {
        let text = String::from_utf8_lossy(row.blob.as_bytes()).into_owned();
        assert!(!text.contains("the-context") && !text.contains("the-issuer"), "{text}");
    }
    let queue = bench.builder().sealing_key(SecretBytes::new(vec![8; 32])).build().unwrap();
    let error = receive(&queue, 9).unwrap_err();
    assert!(error.kind() == PortErrorKind::Misconfigured && error.to_string().contains("sealing key"), "{error}");
    assert_eq!(receive(&queue, 9).unwrap().next_poll, Some(HOUR), "the hour needs no key");
    // Intune offers it again: it is stored anew under the new key.
    bench.clock.advance(HOUR);
    bench.script.then(DOWNLOAD, brings(&[item("the-context", "0A1B", Some("the-issuer"))]));
    assert_eq!(ids(&receive(&queue, 9).unwrap().items), ["the-context"]);
}
