//! Several instances over one journal.

use core::time::Duration;
use std::sync::Arc;

use futures_util::future::{join, join_all, select};

use super::rig::{Rig, id, item, item_for};
use crate::adapters::VolatileJournal;
use crate::connector::{Connector, FleetRefused};
use crate::event::EventId;
use crate::ports::{Journal as _, JournalScope, Outcome, RowKind, Runtime as _};
use crate::terms::Flow;

const CA: &str = "Test CA";

fn rig() -> Rig {
    Rig { journal: Arc::new(VolatileJournal::shared()), ..Rig::new() }
}

fn instance(rig: &Rig, name: &str, cas: &[&str]) -> Connector {
    rig.builder().instance(name.parse().unwrap()).flow(rig.spec_for(rig.settings(), cas)).build().unwrap()
}

fn told(rig: &Rig, id: EventId) -> Vec<String> {
    let events = rig.sink.events();
    let told = events.iter().filter(|event| event.id == id);
    told.map(|event| event.message.clone()).collect()
}

fn received(connector: &Connector) -> u64 {
    connector.summary().flows[&Flow::Pkcs].counters.received
}

#[test]
fn the_101st_instance_does_no_work_and_says_so_once_until_another_one_ends() {
    let rig = rig();
    let (early, more) = (instance(&rig, "early", &[CA]), instance(&rig, "one more", &[CA]));
    let others: Vec<Connector> = (0..99).map(|number| instance(&rig, &format!("n{number}"), &[CA])).collect();
    let others = join_all(others.iter().map(|other| other.run_until(rig.sleep(420))));
    let first = async {
        rig.sleep(5).await;
        // Its first run ends while all places are taken, the second one gets that of the instance that ends.
        let refused = more.run_until(rig.sleep(130)).await.refused.unwrap();
        assert!(matches!(refused, FleetRefused::Full { .. }), "{refused:?}");
        assert!(refused.to_string().starts_with("100 instances of the tenant `tenant` are running"), "{refused}");
        assert_eq!((more.handle().refused(), received(&more)), (Some(refused), 0));
        let second = more.run_until(rig.sleep(270)).await;
        assert_eq!((second.refused, second.left), (None, 0));
        more.handle().fleet()
    };
    let (members, (), _) = rig.block_on(async {
        let early = async {
            assert_eq!(early.run_until(rig.sleep(250)).await.refused, None);
        };
        let (members, rest) = join(first, join(early, others)).await;
        (members, rest.0, rest.1)
    });
    assert_eq!(members.iter().filter(|member| member.is_running).count(), 100);
    assert!(!members.iter().any(|member| member.instance.as_str() == "early"));
    assert_eq!(told(&rig, EventId::InstanceRefused).len(), 1);
    let free = rig.journal.rows().iter().filter(|row| row.key.kind == RowKind::Instance && row.owner.is_none()).count();
    assert_eq!(free, 100, "places are given back");
}

#[test]
fn an_expired_place_is_taken_when_no_other_is_free() {
    let rig = rig();
    let mut dead = Vec::new();
    for number in 0..100 {
        let connector = instance(&rig, &format!("n{number}"), &[CA]);
        rig.block_on(async {
            let _ = select(Box::pin(connector.run_until(core::future::pending())), rig.sleep(1)).await;
        });
        dead.push(connector);
    }
    // The last ones still have their leases.
    let more = instance(&rig, "one more", &[CA]);
    rig.queue.push(item("r1", "ok"));
    let summary = rig.run_for(&more, 5);
    assert_eq!((summary.refused, received(&more)), (None, 1));
}

#[test]
fn a_second_process_with_the_same_name_is_refused_while_the_first_lives() {
    let rig = rig();
    let (one, twin) = (instance(&rig, "one", &[CA]), instance(&rig, "one", &[CA]));
    let (_, refused) = rig.block_on(join(one.run_until(rig.sleep(300)), async {
        rig.sleep(10).await;
        twin.run_until(rig.sleep(200)).await.refused
    }));
    let refused = refused.unwrap();
    assert_eq!(refused, FleetRefused::SameName { instance: "one".parse().unwrap() });
    let told = told(&rig, EventId::InstanceRefused);
    assert!(matches!(&told[..], [text] if text.ends_with(&refused.to_string())), "{told:?}");
    rig.queue.push(item("r1", "ok"));
    assert_eq!(rig.run_for(&twin, 5).refused, None);
    assert_eq!(received(&twin), 1, "at once when the first has ended");
}

#[test]
fn two_processes_with_one_name_that_start_at_once_do_not_both_work() {
    let rig = rig();
    let (one, twin) = (instance(&rig, "one", &[CA]), instance(&rig, "one", &[CA]));
    let (a, b) = rig.block_on(join(one.run_until(rig.sleep(300)), twin.run_until(rig.sleep(300))));
    assert_eq!([a.refused, b.refused].iter().flatten().count(), 1);
}

#[test]
fn a_process_that_follows_a_dead_one_of_its_name_waits_half_a_lease_and_is_not_refused() {
    let rig = rig();
    let (dead, next) = (instance(&rig, "one", &[CA]), instance(&rig, "one", &[CA]));
    rig.block_on(async {
        let _ = select(Box::pin(dead.run_until(core::future::pending())), rig.sleep(10)).await;
    });
    rig.queue.push(item("r1", "ok"));
    assert_eq!((rig.run_for(&next, 25).refused, received(&next)), (None, 0));
    assert_eq!((rig.run_for(&next, 40).refused, received(&next)), (None, 1));
    assert_eq!(told(&rig, EventId::InstanceRefused).len(), 0);
}

#[test]
fn a_single_round_takes_a_place_works_and_gives_it_back() {
    let rig = rig();
    let one = instance(&rig, "one", &[CA]);
    rig.queue.push(item("r1", "ok"));
    let report = rig.block_on(one.run_once());
    assert_eq!((report.refused, received(&one)), (None, 1));
    assert!(rig.journal.rows().iter().any(|row| row.key.kind == RowKind::Instance && row.owner.is_none()));
}

#[test]
fn a_journal_of_one_instance_has_no_places() {
    let rig = Rig::new();
    let one = instance(&rig, "one", &[CA]);
    rig.run_for(&one, 200);
    assert_eq!(rig.journal.scope(), JournalScope::Instance);
    assert!(rig.journal.rows().is_empty() && one.handle().fleet().is_empty());
}

#[test]
fn different_versions_are_told_once() {
    let rig = rig();
    let (one, mut two) = (instance(&rig, "one", &[CA]), instance(&rig, "two", &[CA]));
    Arc::get_mut(&mut two.inner).unwrap().fleet.version = "0.0.1".to_owned();
    rig.block_on(join(one.run_until(rig.sleep(400)), two.run_until(rig.sleep(400))));
    let events = rig.sink.events();
    let skews: Vec<_> = events.iter().filter(|event| event.id == EventId::VersionSkew).collect();
    assert_eq!(skews.len(), 2, "one from each");
    assert_eq!(skews[0].details["versions"], format!("0.0.1 (1), {} (1)", env!("CARGO_PKG_VERSION")));
    assert_eq!(one.inner.fleet_findings().len(), 1);
    let members = one.handle().fleet();
    assert_eq!(members.iter().map(|member| member.instance.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!((members[0].flows.clone(), members[0].routes.len()), (vec![Flow::Pkcs], 1));
}

#[test]
fn requests_go_to_whoever_has_their_ca_whoever_downloads_them() {
    let rig = rig();
    let (one, two) = (instance(&rig, "one", &[CA]), instance(&rig, "two", &["Other CA"]));
    rig.block_on(join(one.run_until(rig.sleep(300)), async {
        let work = two.run_until(rig.sleep(280));
        let push = async {
            rig.sleep(20).await;
            for number in 0..40 {
                rig.queue.push(item_for(&format!("a{number}"), "ok", CA));
                rig.queue.push(item_for(&format!("b{number}"), "ok", "Other CA"));
            }
            rig.queue.push(item_for("nobody", "ok", "Third CA"));
        };
        join(work, push).await
    }));
    assert_eq!(rig.queue.unanswered(), []);
    let accepted = rig.queue.accepted();
    let failed: Vec<_> = accepted.iter().filter(|(_, outcome)| outcome.failure().is_some()).map(|((_, id), _)| id.clone()).collect();
    assert_eq!((accepted.len(), failed), (81, vec![id("nobody")]));
    assert!(rig.ledger.effects.lock().unwrap().values().all(|count| *count == 1));
    assert!(["a0", "b0", "b39"].iter().all(|request| rig.admin_count(request) == 1));
}

#[test]
fn what_no_instance_can_do_any_more_fails_after_its_deadline() {
    let rig = rig();
    let (one, two) = (instance(&rig, "one", &[CA]), instance(&rig, "two", &["Other CA"]));
    one.handle().pause(Flow::Pkcs).unwrap();
    rig.block_on(join(one.run_until(rig.sleep(300)), async {
        rig.sleep(20).await;
        rig.queue.push(item("r1", "ok"));
        two.run_until(rig.sleep(7_200)).await
    }));
    let Some(Outcome::Failed(failure)) = rig.queue.result_of(Flow::Pkcs, &id("r1")) else { panic!("no failure") };
    assert!(failure.message.contains("no running instance of the tenant that has the CA `Test CA`"), "{failure:?}");
    assert_eq!((rig.admin_count("r1"), rig.ledger.effects.lock().unwrap().len()), (1, 0));
}

#[test]
fn a_dead_instances_request_is_taken_over_when_its_lease_has_ended_and_a_living_ones_never() {
    let rig = rig();
    let (dead, living) = (instance(&rig, "dead", &[CA]), instance(&rig, "living", &[CA]));
    rig.queue.push(item("r1", "slow:300"));
    rig.block_on(async {
        let _ = select(Box::pin(dead.run_until(core::future::pending())), rig.sleep(200)).await;
    });
    let died = rig.runtime.monotonic();
    rig.block_on(async {
        let idle = instance(&rig, "idle", &[CA]);
        let idle = async {
            rig.sleep(120).await;
            idle.run_until(rig.sleep(500)).await;
        };
        join(living.run_until(rig.sleep(700)), idle).await
    });
    let attempts = rig.ledger.attempts.lock().unwrap()[&id("r1")].clone();
    assert_eq!(attempts.len(), 2, "the living one kept it for five leases: {attempts:?}");
    let waited = attempts[1].saturating_sub(died);
    assert!(waited > Duration::from_secs(40) && waited < Duration::from_secs(80), "{waited:?}");
    assert_eq!((rig.queue.unanswered(), rig.admin_count("r1")), (vec![], 1));
}
