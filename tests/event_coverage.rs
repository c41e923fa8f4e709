//! Every documented event is raised, in the right order: one Admin event for each own request, and the same keys in every run.

#![cfg(all(feature = "pkcs", feature = "import", feature = "revoke", feature = "scep", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/pki.rs"]
mod pki;
#[path = "support/scep_lab.rs"]
mod scep_lab;
#[path = "support/scripted_ca.rs"]
mod scripted_ca;
#[path = "support/tenant.rs"]
mod tenant;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use intune_connector::event::{Channel, Event, EventId, EventKey};
use intune_connector::message::scep::PkiStatus;
use intune_connector::ports::{CompleteAnswer, Payload, PortError, QueueItem, RowKind};
use intune_connector::retry::Effect;
use intune_connector::revoke::RevokeConfig;
use intune_connector::scep::{NotificationPolicy, Persistence};
use intune_connector::terms::{Flow, SubjectAltName};
use intune_connector::time::Timestamp;
use scep_lab::{Client, Fault, Lab, shared_key};
use scripted_ca::Next;
use tenant::{FLOWS, IMPORT_PASSWORD, KEYS, Tenant, import, meta, pkcs, pkcs_request, recrypt, recrypt_request, revoke};

/// What happens to a request before it is pushed, the request, and its events in order.
struct Scenario {
    id: &'static str,
    flow: Flow,
    before: fn(&Tenant),
    payload: fn() -> Payload,
    events: &'static [u16],
}

fn nothing(_: &Tenant) {}

fn ca_away(tenant: &Tenant) {
    tenant.ca.next(Next::Fail(PortError::transient("the CA is away").with_effect(Effect::None)));
}

fn keys_away(tenant: &Tenant) {
    tenant.keys.errors.lock().unwrap().push_back(PortError::transient("the vault is sealed"));
}

fn revoker_away(tenant: &Tenant) {
    tenant.revoker.errors.lock().unwrap().push_back(PortError::transient("connection reset"));
}

fn three_times(fault: fn(&Tenant), tenant: &Tenant) {
    (0..3).for_each(|_| fault(tenant));
}

fn damaged_payload() -> Payload {
    let mut request = recrypt_request();
    request.payload.truncate(100);
    Payload::Recrypt(Box::new(request))
}

fn for_somebody_else() -> Payload {
    let mut request = recrypt_request();
    request.recipient = KEYS.service.certificate.clone();
    Payload::Recrypt(Box::new(request))
}

fn forbidden() -> Payload {
    let mut request = pkcs_request("ca");
    request.subject_alt_names = vec![SubjectAltName::Upn("admin@fabrikam.com".into())];
    Payload::Pkcs(Box::new(request))
}

const SCENARIOS: &[Scenario] = &[
    Scenario { id: "pkcs", flow: Flow::Pkcs, before: nothing, payload: || pkcs("ca"), events: &[1020, 1050, 1102, 1000] },
    Scenario { id: "pkcs-retry", flow: Flow::Pkcs, before: ca_away, payload: || pkcs("ca"), events: &[1020, 1051, 1050, 1102, 1000] },
    Scenario {
        id: "pkcs-given-up",
        flow: Flow::Pkcs,
        before: |tenant| three_times(ca_away, tenant),
        payload: || pkcs("ca"),
        events: &[1020, 1051, 1051, 1052, 1102, 1001],
    },
    Scenario {
        id: "pkcs-rejected",
        flow: Flow::Pkcs,
        before: |tenant| tenant.ca.next(Next::Fail(PortError::rejected("denied"))),
        payload: || pkcs("ca"),
        events: &[1020, 1052, 1102, 1001],
    },
    Scenario {
        id: "pkcs-lost-answer",
        flow: Flow::Pkcs,
        before: |tenant| tenant.ca.next(Next::IssueAndFail(PortError::transient("the connection broke"))),
        payload: || pkcs("ca"),
        events: &[1020, 16, 1051, 1050, 1102, 1000],
    },
    Scenario { id: "pkcs-policy", flow: Flow::Pkcs, before: nothing, payload: forbidden, events: &[1020, 6, 1052, 1102, 1001] },
    Scenario {
        id: "pkcs-wrong-certificate",
        flow: Flow::Pkcs,
        before: |tenant| tenant.ca.next(Next::Subject("CN=administrator")),
        payload: || pkcs("ca"),
        events: &[1020, 11, 1052, 1102, 1001],
    },
    Scenario {
        id: "pkcs-panic",
        flow: Flow::Pkcs,
        before: |tenant| tenant.ca.next(Next::Panic),
        payload: || pkcs("ca"),
        events: &[1020, 12, 16, 1051, 1050, 1102, 1000],
    },
    Scenario {
        id: "pkcs-digicert",
        flow: Flow::Pkcs,
        before: nothing,
        payload: || pkcs("Symantec"),
        events: &[1020, 1032, 1050, 1102, 1000],
    },
    Scenario {
        id: "pkcs-malformed",
        flow: Flow::Pkcs,
        before: nothing,
        payload: || Payload::Malformed("no JSON".to_owned()),
        events: &[1020, 10, 1102, 1001],
    },
    Scenario { id: "recrypt", flow: Flow::PkcsRecrypt, before: nothing, payload: recrypt, events: &[1220, 1251, 1250, 1302, 1200] },
    Scenario {
        id: "recrypt-damaged",
        flow: Flow::PkcsRecrypt,
        before: nothing,
        payload: damaged_payload,
        events: &[1220, 1252, 1302, 1201],
    },
    Scenario {
        id: "recrypt-foreign-device",
        flow: Flow::PkcsRecrypt,
        before: nothing,
        payload: for_somebody_else,
        events: &[1220, 6, 1253, 1302, 1201],
    },
    Scenario {
        id: "import",
        flow: Flow::PkcsImport,
        before: nothing,
        payload: || import(IMPORT_PASSWORD),
        events: &[2020, 2050, 2102, 2000],
    },
    Scenario {
        id: "import-retry",
        flow: Flow::PkcsImport,
        before: keys_away,
        payload: || import(IMPORT_PASSWORD),
        events: &[2020, 2051, 2050, 2102, 2000],
    },
    Scenario {
        id: "import-given-up",
        flow: Flow::PkcsImport,
        before: |tenant| three_times(keys_away, tenant),
        payload: || import(IMPORT_PASSWORD),
        events: &[2020, 2051, 2051, 2052, 2102, 2001],
    },
    Scenario {
        id: "import-wrong-password",
        flow: Flow::PkcsImport,
        before: nothing,
        payload: || import("another password"),
        events: &[2020, 2052, 2102, 2001],
    },
    Scenario { id: "revoke", flow: Flow::Revoke, before: nothing, payload: || revoke("01", "ca"), events: &[3020, 3050, 3102, 3000] },
    Scenario {
        id: "revoke-retry",
        flow: Flow::Revoke,
        before: revoker_away,
        payload: || revoke("02", "ca"),
        events: &[3020, 3052, 3050, 3102, 3000],
    },
    Scenario {
        id: "revoke-given-up",
        flow: Flow::Revoke,
        before: |tenant| three_times(revoker_away, tenant),
        payload: || revoke("03", "ca"),
        events: &[3020, 3052, 3052, 3051, 3102, 3001],
    },
    Scenario {
        id: "revoke-unknown",
        flow: Flow::Revoke,
        before: nothing,
        payload: || revoke("0F", "ca"),
        events: &[3020, 3051, 3102, 3001],
    },
    Scenario {
        id: "revoke-digicert",
        flow: Flow::Revoke,
        before: nothing,
        payload: || revoke("04", "Symantec"),
        events: &[3020, 3032, 3050, 3102, 3000],
    },
];

/// Runs all scenarios one after the other on a fresh connector.
fn run_scenarios() -> Tenant {
    let tenant = Tenant::new();
    for scenario in SCENARIOS {
        (scenario.before)(&tenant);
        tenant.run(scenario.flow, scenario.id, (scenario.payload)());
    }
    tenant
}

/// What every flow does beside requests: failed downloads and uploads, refusals, repeats, conflicts, foreigners, health, modes.
fn run_oddities(tenant: &Tenant) {
    for flow in FLOWS {
        let queue = tenant.queue(flow);
        queue.fail_next_receive(PortError::transient("no network"));
        queue.fail_next_complete(PortError::transient("no network"));
        let payload = match flow {
            Flow::Pkcs => pkcs("ca"),
            Flow::PkcsRecrypt => recrypt(),
            Flow::PkcsImport => import(IMPORT_PASSWORD),
            _ => revoke("21", "ca"),
        };
        tenant.run(flow, &format!("odd-{flow}"), payload);
    }
    tenant.queue(Flow::Pkcs).answer_next("odd-refused".parse().unwrap(), CompleteAnswer::Refused("gone".into()));
    tenant.run(Flow::Pkcs, "odd-refused", pkcs("ca"));
    tenant.run(Flow::Revoke, "revoke", revoke("01", "ca"));
    tenant.run(Flow::Revoke, "revoke", revoke("01FF", "ca"));
    tenant.run(Flow::Revoke, "odd-unknown", Payload::Unknown("Rotate".to_owned()));
    let mut foreign = meta(Flow::Revoke, "odd-foreign");
    foreign.tenant = "fabrikam.com".parse().unwrap();
    tenant.queue(Flow::Revoke).push(QueueItem::new(foreign, revoke("22", "ca")));
    tenant.settle();
    // One that is repeated, one that is given up.
    tenant.queue(Flow::Pkcs).fail_next_health(PortError::transient("503"));
    tenant.queue(Flow::Pkcs).fail_next_health(PortError::rejected("401"));
    let handle = tenant.connector.handle();
    handle.pause(Flow::Revoke).unwrap();
    handle.resume(Flow::Revoke).unwrap();
    let queue = tenant.queues.iter().find(|(flow, _)| *flow == Flow::Revoke).unwrap().1.clone();
    handle.reconfigure(RevokeConfig::new(queue, "ca".parse().unwrap(), tenant.revoker.clone())).unwrap();
    (0..10).for_each(|_| {
        std::thread::sleep(Duration::from_millis(2));
        tenant.settle();
    });
    tenant.runtime.block_on(tenant.connector.run_until(std::future::ready(())));
}

fn of_requests(tenant: &Tenant) -> Vec<Event> {
    tenant.sink.events().into_iter().filter(|event| event.key.attempt > 0 && event.key.flow != Some(Flow::Health)).collect()
}

/// The SCEP service, through every way that raises an event.
fn run_scep() -> Vec<Event> {
    let mut events = Vec::new();
    let mut run = |lab: Lab, prepare: &dyn Fn(&Lab), client: Option<Client>, expected: &[u16]| {
        prepare(&lab);
        let client = client.unwrap_or_else(|| lab.client());
        let (message, to) = client.message(&lab.ra);
        let status = client.reply(&lab.post(&message), &to, &lab.ra).status();
        let now = Timestamp::system_now();
        for hours in 1..=4 {
            lab.runtime.block_on(lab.service.maintain(now.saturating_add(Duration::from_secs(hours * 3_600))));
        }
        assert_eq!(lab.codes(), expected);
        assert_eq!(lab.admin().len(), 1, "one Admin event a request");
        assert!(status == PkiStatus::Success || expected.last() != Some(&4000));
        events.extend(lab.sink.events());
    };
    let strict = || Lab::new(|builder| builder);
    let spool = || {
        let persistence = Persistence::default().with_spool_attempts(3).with_backoff(Duration::from_millis(1), Duration::from_secs(1));
        Lab::new(|builder| builder.notification(NotificationPolicy::IssueThenNotify).persistence(persistence))
    };
    run(strict(), &|_| {}, None, &[4003, 4004, 4006, 4008, 4000]);
    let thief = Client::with_challenge(shared_key(2), "CN=thief", "t", "guess");
    run(strict(), &|_| {}, Some(thief), &[4003, 4005, 4001]);
    run(strict(), &|lab| lab.ca.faults.lock().unwrap().push(Fault::Reject), None, &[4003, 4004, 4007, 4008, 4001]);
    run(spool(), &|lab| lab.notifier.fail.store(1, Ordering::SeqCst), None, &[4003, 4004, 4006, 4009, 4008, 4000]);
    run(spool(), &|lab| lab.notifier.fail.store(99, Ordering::SeqCst), None, &[4003, 4004, 4006, 4009, 4009, 4009, 4002]);
    let full = |lab: &Lab| {
        lab.notifier.fail.store(1, Ordering::SeqCst);
        *lab.journal.refuse.lock().unwrap() = Some(RowKind::Notification);
    };
    run(spool(), &full, None, &[4003, 4004, 4006, 4009, 4010, 4002]);
    let closed = |lab: &Lab| *lab.journal.refuse.lock().unwrap() = Some(RowKind::ScepTransaction);
    let lab = strict();
    closed(&lab);
    let (message, _) = lab.client().message(&lab.ra);
    lab.post(&message);
    assert_eq!(lab.codes(), [4003, 4004, 13, 4001]);
    events.extend(lab.sink.events());
    events
}

#[test]
fn each_way_of_a_request_raises_its_events_in_order() {
    let tenant = run_scenarios();
    for scenario in SCENARIOS {
        assert_eq!(tenant.codes(scenario.id), scenario.events, "{}", scenario.id);
    }
}

#[test]
fn all_61_documented_events_are_raised_and_every_own_request_has_one_admin_event() {
    let tenant = run_scenarios();
    run_oddities(&tenant);
    // Batches stand around their requests: download, then requests, then upload, then the outcome.
    for (flow, order) in [
        (Flow::Pkcs, [1003, 1002, 1020, 1050, 1101, 1102, 1100, 1000].as_slice()),
        (Flow::PkcsRecrypt, &[1203, 1202, 1220, 1251, 1250, 1301, 1302, 1300, 1200]),
        (Flow::PkcsImport, &[2203, 2202, 2020, 2050, 2101, 2102, 2100, 2000]),
        (Flow::Revoke, &[3003, 3002, 3020, 3050, 3101, 3102, 3100, 3000]),
    ] {
        let of_flow: Vec<u16> =
            tenant.sink.events().iter().filter(|event| event.key.flow == Some(flow)).map(|event| event.id.code()).collect();
        assert!(of_flow.windows(order.len()).any(|window| window == order), "{flow}: {of_flow:?}");
    }
    let mut raised: BTreeSet<u16> = tenant.sink.events().iter().map(|event| event.id.code()).collect();
    raised.extend(run_scep().iter().map(|event| event.id.code()));
    let documented: BTreeSet<u16> = EventId::ALL.iter().filter(|id| id.is_documented()).map(|id| id.code()).collect();
    assert_eq!(documented.len(), 61);
    let missing: Vec<_> = documented.difference(&raised).collect();
    assert!(missing.is_empty(), "never raised: {missing:?}");
    // 4 and 5 come from the connector's own certificates: see tests/credentials.rs.
    let own: BTreeSet<u16> = raised.difference(&documented).copied().collect();
    assert_eq!(own, BTreeSet::from([1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18]));

    let admin = |id: &str| tenant.sink.events_of(id).iter().filter(|event| event.id.channel() == Channel::Admin).count();
    for scenario in SCENARIOS {
        assert_eq!(admin(scenario.id), 1, "{}", scenario.id);
    }
    assert_eq!([admin("odd-refused"), admin("odd-unknown"), admin("odd-foreign")], [1, 0, 0]);
}

#[test]
fn the_same_requests_give_the_same_event_keys_in_every_run() {
    let keys = || of_requests(&run_scenarios()).into_iter().map(|event| event.key).collect::<Vec<EventKey>>();
    let (first, second) = (keys(), keys());
    assert!(first.len() > 80, "{}", first.len());
    assert_eq!(first, second);
    let distinct: BTreeSet<&EventKey> = first.iter().collect();
    assert_eq!(distinct.len(), first.len(), "no two events of one run share a key");
}

#[test]
fn events_say_request_correlation_ca_attempt_duration_and_class() {
    let tenant = run_scenarios();
    let failed = tenant.sink.events_of("pkcs-given-up");
    assert!(failed.iter().all(|event| event.correlation == ["activity-1".parse().unwrap()]));
    let attempts: Vec<u32> = failed.iter().map(|event| event.key.attempt).collect();
    assert_eq!(attempts, [1, 1, 2, 3, 3, 3]);
    let last = failed.last().unwrap();
    assert_eq!(last.ca.as_ref().map(|ca| ca.as_str()), Some("ca"));
    assert!(last.duration_micros.is_some() && last.error_class.is_some(), "{last:?}");
}
