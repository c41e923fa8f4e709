//! What the engine does when the ports behave.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;

use super::rig::{Rig, ToyWorker, id, item, item_for};
use crate::adapters::{InMemoryQueue, VirtualRuntime};
use crate::connector::{Connector, Durability, FlowMode, FlowSpec, QueueSettings};
use crate::crypto::{CryptoProvider, SlotName};
use crate::event::{EventId, EventKey};
use crate::health::HealthConfig;
use crate::ports::{
    Batch, CompleteAnswer, CompleteRequest, HealthMessage, IntuneQueue, Outcome, Payload, PortError, QueueCapabilities, QueueItem,
    ReceiveRequest, RequestMeta, RowState, Runtime as _,
};
use crate::terms::Flow;
use crate::time::Timestamp;

#[test]
fn a_request_raises_its_events_in_order_and_ends_acknowledged() {
    let rig = Rig::new();
    rig.queue.push(item_for("r1", "ok", "Symantec"));
    let connector = rig.connector(rig.settings());
    let summary = rig.run_for(&connector, 5);
    assert_eq!(rig.codes_of("r1"), [1020, 1032, 1102, 1000]);
    let all: Vec<u16> = rig.sink.events().iter().map(|event| event.id.code()).collect();
    assert_eq!(all, [1, 1002, 1020, 1032, 1102, 1100, 1000, 2]);
    assert!(matches!(rig.queue.result_of(Flow::Pkcs, &id("r1")), Some(Outcome::Pkcs(_))));
    assert_eq!(rig.journal.rows().iter().map(|row| row.state).collect::<Vec<_>>(), [RowState::Acknowledged]);
    let counters = summary.flows[&Flow::Pkcs].counters;
    assert_eq!((counters.received, counters.succeeded, counters.failed), (1, 1, 0));
    assert_eq!(summary.flows[&Flow::Pkcs].latency.len(), 1);
    assert_eq!(connector.guarantees().durability, Durability::Volatile);
}

#[test]
fn every_own_request_ends_with_exactly_one_admin_event_and_foreign_ones_with_none() {
    let rig = Rig::new();
    let own = [
        ("ok", true),
        ("retry:2", true),
        ("retry:99", false),
        ("fail", false),
        ("panic", false),
        ("panic-accept", false),
        ("refuse", false),
        ("never", false),
        ("slow:30", true),
        ("wait:40", true),
        ("loop", false),
        ("throttled", true),
    ];
    for (script, _) in own {
        rig.queue.push(item(script, script));
    }
    for script in ["foreign", "leave"] {
        rig.queue.push(item(script, script));
    }
    let meta = |name: &str| RequestMeta::new(id(name), "tenant".parse().unwrap(), Flow::Pkcs);
    rig.queue.push(QueueItem::new(meta("malformed"), Payload::Malformed("no JSON".to_owned())));
    rig.queue.push(QueueItem::new(meta("unknown"), Payload::Unknown("Wifi".to_owned())));
    let stranger = RequestMeta::new(id("stranger"), "other-tenant".parse().unwrap(), Flow::Pkcs);
    rig.queue.push(QueueItem::new(stranger, Payload::Unknown("x".to_owned())));
    let connector = rig.connector(rig.settings().with_deadline(Duration::from_secs(900)));
    let summary = rig.run_for(&connector, 2_000);
    for (script, succeeds) in own.into_iter().chain([("malformed", false)]) {
        assert_eq!(rig.admin_count(script), 1, "{script}: {:?}", rig.codes_of(script));
        assert_eq!(rig.codes_of(script).last(), Some(&if succeeds { 1000 } else { 1001 }), "{script}");
        assert!(rig.queue.result_of(Flow::Pkcs, &id(script)).is_some(), "{script} is answered");
    }
    for script in ["foreign", "leave", "unknown", "stranger"] {
        assert_eq!(rig.admin_count(script), 0, "{script}");
        assert!(rig.queue.result_of(Flow::Pkcs, &id(script)).is_none(), "{script} is left alone");
    }
    assert_eq!(rig.codes_of("malformed"), [1020, 10, 1102, 1001]);
    assert_eq!(rig.codes_of("unknown"), [10]);
    assert_eq!(rig.codes_of("stranger"), [7]);
    assert_eq!(rig.codes_of("retry:2"), [1020, 1051, 1051, 1102, 1000]);
    assert_eq!(rig.codes_of("retry:99"), [1020, 1051, 1051, 1051, 1051, 1052, 1102, 1001]);
    assert_eq!(rig.codes_of("panic"), [1020, 12, 16, 1052, 1102, 1001]);
    assert_eq!(rig.codes_of("never"), [1020, 16, 1052, 1102, 1001]);
    assert_eq!(rig.ledger.unjournalled.load(Ordering::SeqCst), 0, "every effect came after its commit");
    let counters = summary.flows[&Flow::Pkcs].counters;
    assert_eq!((counters.received, counters.succeeded, counters.failed, summary.left), (13, 5, 8, 0));
    // retry:2 twice, retry:99 four times, throttled once.
    assert_eq!(counters.retried, 7);
    let keys: Vec<EventKey> = rig.sink.events().into_iter().map(|event| event.key).collect();
    for (index, key) in keys.iter().enumerate() {
        assert!(!keys[..index].contains(key), "{key:?} is raised twice");
    }
}

#[test]
fn a_finished_batch_replayed_thousands_of_times_does_not_hold_up_new_requests() {
    let rig = Rig::new();
    for number in 0..40 {
        rig.queue.push(item(&format!("old{number}"), "ok"));
    }
    let connector = rig.connector(rig.settings());
    rig.run_for(&connector, 1);
    assert_eq!(rig.queue.accepted().len(), 40);
    let mut new = 0;
    for round in 0..500 {
        for number in 0..40 {
            rig.queue.push(item(&format!("old{number}"), "ok"));
        }
        if round % 10 == 0 {
            rig.queue.push(item(&format!("new{new}"), "ok"));
            new += 1;
        }
    }
    // 20,050 items in batches of 50, at most a second for each batch.
    let summary = rig.run_for(&connector, 410);
    let unanswered: Vec<_> = (0..new).filter(|n| rig.queue.result_of(Flow::Pkcs, &id(&format!("new{n}"))).is_none()).collect();
    assert!(unanswered.is_empty(), "{unanswered:?} of {new}");
    for number in 0..40 {
        let name = format!("old{number}");
        assert_eq!(rig.ledger.effects.lock().unwrap()[&id(&name)], 1, "{name} is worked on once");
        assert_eq!(rig.admin_count(&name), 1);
        assert_eq!(rig.codes_of(&name).iter().filter(|code| **code == 9).count(), 1, "reported once");
    }
    assert!(rig.queue.changed_results().is_empty(), "repeats are answered byte for byte");
    assert!(rig.queue.uploads().len() > 40 + new, "repeats are answered");
    assert_eq!(summary.flows[&Flow::Pkcs].counters.received, 40 + new as u64);
    assert_eq!(rig.journal.rows().len(), 40 + new);
}

#[test]
fn the_same_id_with_another_payload_is_a_conflict_and_is_not_worked_on() {
    let rig = Rig::new();
    rig.queue.push(item("r1", "ok"));
    rig.queue.push(item("r1", "retry:1"));
    let connector = rig.connector(rig.settings());
    rig.run_for(&connector, 5);
    rig.queue.push(item("r1", "retry:1"));
    rig.run_for(&connector, 60);
    assert_eq!(rig.ledger.effects.lock().unwrap()[&id("r1")], 1);
    assert_eq!(rig.codes_of("r1"), [8, 1020, 1102, 1000]);
    assert_eq!(rig.queue.uploads().len(), 1);
}

#[test]
fn an_upload_that_is_put_off_or_lost_is_repeated_byte_for_byte_until_it_is_accepted() {
    let rig = Rig::new();
    for name in ["r1", "r2", "r3"] {
        rig.queue.push(item(name, "ok"));
    }
    rig.queue.answer_next(id("r1"), CompleteAnswer::TryAgain("busy".to_owned()));
    rig.queue.answer_next(id("r1"), CompleteAnswer::TryAgain("busy".to_owned()));
    rig.queue.fail_next_complete(PortError::transient("503"));
    rig.queue.lose_next_complete_answers(1);
    let connector = rig.connector(rig.settings());
    rig.run_for(&connector, 120);
    for name in ["r1", "r2", "r3"] {
        assert_eq!(rig.codes_of(name), [1020, 1102, 1000]);
        let uploads: Vec<_> = rig.queue.uploads().into_iter().filter(|upload| upload.meta.id == id(name)).collect();
        assert!(uploads.len() >= 2 && uploads.windows(2).all(|pair| pair[0] == pair[1]), "{name}");
    }
    assert!(rig.sink.count(EventId::PkcsUploadFailure) >= 2, "the failed call and the lost answer");
    assert!(rig.queue.unanswered().is_empty() && rig.queue.changed_results().is_empty());
}

#[test]
fn a_result_that_the_queue_refuses_for_good_is_parked_and_reported_once() {
    let rig = Rig::new();
    rig.queue.push(item("r1", "ok"));
    rig.queue.answer_next(id("r1"), CompleteAnswer::Refused("gone".to_owned()));
    let connector = rig.connector(rig.settings());
    rig.run_for(&connector, 120);
    assert_eq!(rig.codes_of("r1"), [1020, 1001]);
    assert_eq!(rig.journal.rows()[0].state, RowState::Parked);
    assert_eq!(rig.queue.uploads().len(), 1);
}

#[test]
fn concurrency_is_bounded_by_flow_and_by_ca() {
    let rig = Rig::new();
    for number in 0..30 {
        rig.queue.push(item_for(&format!("r{number}"), "slow:5", if number % 2 == 0 { "A" } else { "B" }));
    }
    let connector = rig.builder().ca_concurrency(3).flow(rig.spec(rig.settings().with_concurrency(5))).build().unwrap();
    let summary = rig.run_for(&connector, 300);
    assert_eq!(summary.flows[&Flow::Pkcs].counters.succeeded, 30);
    assert_eq!(rig.ledger.most_busy.load(Ordering::SeqCst), 5);
    assert_eq!(rig.ledger.most_by_ca.load(Ordering::SeqCst), 3);
}

#[test]
fn retries_keep_to_the_jittered_range_and_to_the_other_sides_retry_after() {
    let rig = Rig::new();
    rig.queue.push(item("r1", "retry:4"));
    rig.queue.push(item("r2", "throttled"));
    let connector = rig.connector(rig.settings().with_backoff(Duration::from_secs(2), Duration::from_secs(10)));
    rig.run_for(&connector, 600);
    let attempts = rig.ledger.attempts.lock().unwrap();
    let pauses: Vec<Duration> = attempts[&id("r1")].windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses.len(), 4);
    for (pause, most) in pauses.iter().zip([2, 4, 8, 10]) {
        assert!(*pause <= Duration::from_secs(most), "{pauses:?}");
    }
    assert!(pauses.iter().any(|pause| !pause.is_zero()), "jitter is not nothing: {pauses:?}");
    let throttled = &attempts[&id("r2")];
    let pause = throttled[1] - throttled[0];
    assert!(pause >= Duration::from_secs(90) && pause <= Duration::from_secs(92), "{pause:?}");
}

#[test]
fn the_requests_own_earlier_deadline_ends_it() {
    let rig = Rig::new();
    let mut late = item("r1", "never");
    late.meta.deadline = Some(Timestamp::from_secs(1_800_000_020));
    rig.queue.push(late);
    let mut waiting = item("r2", "wait:5000");
    waiting.meta.deadline = Some(Timestamp::from_secs(1_800_000_030));
    rig.queue.push(waiting);
    let connector = rig.connector(rig.settings());
    rig.run_for(&connector, 100);
    for (name, seconds) in [("r1", 20), ("r2", 30)] {
        let event = rig.sink.admin_events().into_iter().find(|event| event.key.scope == name).unwrap();
        assert_eq!(event.id, EventId::PkcsRequestFailure);
        assert_eq!(event.error_class, Some(crate::retry::ErrorClass::Deadline));
        assert_eq!(event.at, Timestamp::from_secs(1_800_000_000 + seconds));
    }
}

#[test]
fn a_stop_takes_no_more_work_and_drains_within_its_time() {
    let rig = Rig::new();
    for number in 0..8 {
        rig.queue.push(item(&format!("r{number}"), "slow:10"));
    }
    rig.queue.push(item("long", "slow:300"));
    let settings = rig.settings().with_concurrency(9).with_poll_interval(Duration::from_secs(1));
    let connector = rig.builder().drain_timeout(Duration::from_secs(25)).flow(rig.spec(settings)).build().unwrap();
    let stop = async {
        rig.sleep(5).await;
        for number in 0..5 {
            rig.queue.push(item(&format!("after{number}"), "ok"));
        }
    };
    let summary = rig.block_on(connector.run_until(stop));
    assert_eq!((rig.queue.accepted().len(), summary.left), (8, 1));
    assert_eq!(rig.queue.waiting(), 5, "nothing was taken after the stop");
    assert_eq!(rig.ledger.busy.load(Ordering::SeqCst), 0, "nothing of ours runs");
    let events = rig.sink.events();
    let (started, stopped) = (events.first().unwrap(), events.last().unwrap());
    assert_eq!((started.id, stopped.id), (EventId::ConnectorStarted, EventId::ConnectorStopped));
    assert_eq!(stopped.at.since(started.at), Duration::from_secs(30));
}

#[test]
fn a_request_abandoned_by_a_stop_is_asked_for_at_the_ca_first_when_it_comes_again() {
    let rig = Rig::new();
    rig.queue.push(item("r1", "slow:300"));
    let connector = rig.connector(rig.settings());
    assert_eq!(rig.run_for(&connector, 1).left, 1);
    assert_eq!(rig.ledger.found_first.load(Ordering::SeqCst), 0);
    rig.queue.push(item("r1", "slow:300"));
    rig.run_for(&connector, 400);
    assert_eq!(rig.ledger.found_first.load(Ordering::SeqCst), 1);
    assert_eq!(rig.admin_count("r1"), 1);
}

#[test]
fn find_comes_first_when_the_queue_delivers_elsewhere_too() {
    let mut rig = Rig::new();
    let mut capabilities = QueueCapabilities::new(vec![Flow::Pkcs]);
    capabilities.redelivers_elsewhere = true;
    rig.queue = Arc::new(InMemoryQueue::with_capabilities(capabilities));
    rig.queue.push(item("r1", "ok"));
    let connector = rig.connector(rig.settings());
    rig.run_for(&connector, 1);
    assert_eq!(rig.ledger.found_first.load(Ordering::SeqCst), 1);
    assert_eq!(connector.guarantees().redelivered_elsewhere, [Flow::Pkcs]);
}

#[test]
fn a_flow_is_paused_drained_resumed_and_reconfigured_while_the_run_goes_on() {
    let rig = Rig::new();
    let connector = rig.connector(rig.settings().with_poll_interval(Duration::from_secs(1)));
    let handle = connector.handle();
    let script = async {
        rig.sleep(1).await;
        handle.pause(Flow::Pkcs).unwrap();
        rig.queue.push(item("r1", "ok"));
        rig.sleep(10).await;
        assert_eq!(rig.queue.waiting(), 1, "a paused flow takes nothing");
        handle.resume(Flow::Pkcs).unwrap();
        rig.sleep(2).await;
        assert_eq!(rig.queue.accepted().len(), 1);
        rig.queue.push(item("r2", "slow:20"));
        rig.sleep(2).await;
        let status = handle.status()[&Flow::Pkcs].clone();
        assert_eq!((status.mode, status.held, status.working), (FlowMode::Running, 1, 1));
        handle.drain(Flow::Pkcs).unwrap();
        rig.queue.push(item("r3", "ok"));
        rig.sleep(30).await;
        assert_eq!((rig.queue.accepted().len(), rig.queue.waiting(), handle.status()[&Flow::Pkcs].held), (2, 1, 0));
        handle.reconfigure(rig.marked_spec(rig.settings(), 9)).unwrap();
        handle.resume(Flow::Pkcs).unwrap();
        rig.sleep(2).await;
        let Some(Outcome::Pkcs(result)) = rig.queue.result_of(Flow::Pkcs, &id("r3")) else { panic!("no result") };
        assert_eq!(result.pfx_envelope[0], 9, "new work is done by the new configuration");
        assert!(handle.reconfigure(rig.spec(rig.settings().with_batch(0))).is_err());
        assert!(handle.pause(Flow::Revoke).is_err());
    };
    rig.block_on(connector.run_until(script));
    let own: Vec<u16> = rig.sink.events().iter().map(|event| event.id.code()).filter(|code| *code < 1_000).collect();
    assert_eq!(own, [1, 14, 15, 14, 3, 15, 2]);
}

#[test]
fn one_round_polls_once_tries_each_request_once_and_says_when_to_come_again() {
    let rig = Rig::new();
    for number in 0..120 {
        rig.queue.push(item(&format!("r{number}"), "ok"));
    }
    rig.queue.push(item("again", "retry:1"));
    let connector = rig.connector(rig.settings().with_backoff(Duration::from_secs(8), Duration::from_secs(8)));
    let report = rig.block_on(connector.run_once());
    assert_eq!((rig.queue.receives(), rig.queue.accepted().len(), report.held), (1, 50, 0));
    assert_eq!(report.next_due, Some(Duration::ZERO), "the batch was full");
    rig.block_on(connector.run_once());
    let report = rig.block_on(connector.run_once());
    assert_eq!((rig.queue.accepted().len(), report.held), (120, 1));
    let due = report.next_due.unwrap();
    assert!(due <= Duration::from_secs(8), "{due:?}");
    rig.runtime.advance(due);
    let report = rig.block_on(connector.run_once());
    assert_eq!((rig.queue.accepted().len(), report.held), (121, 0));
}

#[test]
fn the_queues_own_pace_is_kept() {
    let mut rig = Rig::new();
    let mut capabilities = QueueCapabilities::new(vec![Flow::Pkcs]);
    capabilities.minimum_interval = Duration::from_secs(50);
    rig.queue = Arc::new(InMemoryQueue::with_capabilities(capabilities));
    let connector = rig.connector(rig.settings());
    rig.run_for(&connector, 499);
    assert_eq!(rig.queue.receives(), 10);
    rig.queue.set_next_poll(Some(Duration::from_secs(250)));
    rig.run_for(&connector, 520);
    assert_eq!(rig.queue.receives(), 13);
}

#[test]
fn back_pressure_stops_polling_while_the_hands_are_full() {
    let rig = Rig::new();
    for number in 0..500 {
        rig.queue.push(item(&format!("r{number}"), "wait:300"));
    }
    let connector = rig.connector(rig.settings().with_concurrency(4).with_batch(10));
    let stop = async {
        rig.sleep(200).await;
        assert_eq!(rig.queue.waiting(), 490, "what is held is bounded");
        connector.handle().pause(Flow::Pkcs).unwrap();
    };
    rig.block_on(connector.run_until(stop));
}

#[test]
fn finished_rows_are_forgotten_after_their_retention() {
    let rig = Rig::new();
    rig.queue.push(item("r1", "ok"));
    let connector = rig.builder().retention(Duration::from_secs(600)).flow(rig.spec(rig.settings())).build().unwrap();
    rig.run_for(&connector, 500);
    assert_eq!(rig.journal.rows().len(), 1);
    rig.run_for(&connector, 300);
    assert_eq!(rig.journal.rows().len(), 0);
}

#[test]
fn health_messages_carry_counts_and_are_tried_again() {
    let rig = Rig::new();
    rig.queue.push(item("r1", "ok"));
    rig.queue.fail_next_health(PortError::transient("503"));
    let health = HealthConfig::new(Arc::clone(&rig.queue) as Arc<dyn IntuneQueue>).with_interval(Duration::from_secs(600));
    let connector = rig.builder().flow(rig.spec(rig.settings())).health(health).build().unwrap();
    rig.run_for(&connector, 700);
    let messages = rig.queue.health_messages();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[1].flows[&Flow::Pkcs].succeeded, 1);
    assert_eq!(messages[1].events[&1000], 1);
    let codes: Vec<u16> = rig.sink.events().iter().map(|event| event.id.code()).filter(|code| *code >= 5_000).collect();
    assert_eq!(codes, [5001, 5000, 5000]);
}

#[test]
fn every_mistake_of_a_configuration_is_named_at_once() {
    let rig = Rig::new();
    let error = Connector::builder(CryptoProvider::empty("nothing"), Arc::clone(&rig.journal) as _).require_durable().build().unwrap_err();
    let settings: Vec<&str> = error.findings().iter().map(|finding| finding.setting.as_str()).collect();
    assert_eq!(
        settings,
        ["tenant", "instance", "sink", "runtime", "flow", "journal", "provider.random", "provider.digest", "provider.aead"]
    );
    let worker = |flow, slots| {
        let (ledger, journal) = (Arc::clone(&rig.ledger), Arc::clone(&rig.journal));
        Arc::new(ToyWorker { flow, ledger, journal, mark: 0, slots, cas: Vec::new() })
    };
    let wrong: QueueSettings = rig.settings().with_batch(0).with_max_attempts(0);
    let provider = CryptoProvider::empty("partial").with_random(Arc::new(NoRandom));
    let error = Connector::builder(provider, Arc::clone(&rig.journal) as _)
        .tenant("t".parse().unwrap())
        .instance("i".parse().unwrap())
        .without_events_nobody_learns_of_failures()
        .runtime(Arc::new(rig.runtime.clone()))
        .flow(FlowSpec::new(worker(Flow::Pkcs, vec![SlotName::KeyGeneration]), wrong))
        .flow(FlowSpec::new(worker(Flow::Pkcs, Vec::new()), rig.settings()))
        .flow(FlowSpec::new(worker(Flow::Scep, Vec::new()), rig.settings()))
        .require_fips()
        .build()
        .unwrap_err();
    let settings: Vec<&str> = error.findings().iter().map(|finding| finding.setting.as_str()).collect();
    assert_eq!(
        settings,
        [
            "pkcs",
            "provider.digest",
            "provider.aead",
            "pkcs.max_attempts",
            "pkcs.batch",
            "provider.key_generation",
            "scep.queue",
            "provider.random"
        ]
    );
    let text = error.to_string();
    assert!(text.contains("the flow pkcs needs it, and the crypto provider `partial` does not fill it"), "{text}");
    assert!(text.contains("with_key_generation"), "{text}");
}

#[derive(Debug)]
struct NoRandom;

impl crate::crypto::SecureRandom for NoRandom {
    fn fill(&self, _: &mut [u8]) -> Result<(), crate::crypto::CryptoError> {
        Err(crate::crypto::CryptoError::Failed)
    }
}

#[test]
fn a_run_can_be_moved_to_another_thread() {
    fn assert_send<T: Send>(value: T) -> T {
        value
    }
    let rig = Rig::new();
    let connector = rig.connector(rig.settings());
    rig.block_on(assert_send(connector.run_until(core::future::ready(()))));
    rig.block_on(assert_send(connector.run_once()));
}

#[test]
fn a_health_message_that_takes_longer_than_its_interval_holds_nothing_up() {
    #[derive(Debug)]
    struct Slow(VirtualRuntime, AtomicU32);
    #[async_trait]
    impl IntuneQueue for Slow {
        fn capabilities(&self) -> QueueCapabilities {
            QueueCapabilities::new(Vec::new())
        }
        async fn receive(&self, _: ReceiveRequest) -> Result<Batch, PortError> {
            Ok(Batch::new(Vec::new()))
        }
        async fn complete(&self, _: CompleteRequest) -> Result<Vec<CompleteAnswer>, PortError> {
            Ok(Vec::new())
        }
        async fn report_health(&self, _: HealthMessage) -> Result<(), PortError> {
            assert_eq!(self.1.fetch_add(1, Ordering::SeqCst) % 2, 0, "one at a time");
            self.0.sleep(Duration::from_secs(10)).await;
            self.1.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }
    let rig = Rig::new();
    let slow = Arc::new(Slow(rig.runtime.clone(), AtomicU32::new(0)));
    let health = HealthConfig::new(slow.clone()).with_interval(Duration::from_secs(1));
    let connector = rig.builder().flow(rig.spec(rig.settings())).health(health).build().unwrap();
    rig.block_on(connector.run_once());
    assert_eq!(slow.1.load(Ordering::SeqCst), 2, "one message, sent to its end");
    rig.run_for(&connector, 25);
    assert!((6..=8).contains(&slow.1.load(Ordering::SeqCst)), "{slow:?}");
}
