//! Checks of an event sink.

use core::time::Duration;
use std::time::Instant;

use super::report::{Report, demand, only_if};
use crate::event::{Event, EventId, EventKey};
use crate::ids::{InstanceId, TenantId};
use crate::ports::EventSink;
use crate::terms::Flow;
use crate::time::Timestamp;

/// Events emitted by each thread of the load check.
const EVENTS: u32 = 500;
/// Above this mean a sink is not cheap: one PKCS request raises about ten events and takes tens of milliseconds.
const MEAN: Duration = Duration::from_millis(5);

/// Checks a sink. With `read_back`, which gives the keys of what the sink kept in its order, it is also checked that nothing is lost or
/// reordered; a sink that drops under load by design (and counts it) is checked without.
pub async fn check_event_sink(sink: &dyn EventSink, read_back: Option<&(dyn Fn() -> Vec<EventKey> + Sync)>) -> Report {
    let mut report = Report::new("EventSink");
    report
        .run("every event id is taken", async {
            for id in EventId::ALL {
                if sink.enabled(*id) {
                    sink.emit(&event("every id", 1, *id));
                }
            }
            Ok(())
        })
        .await;
    report
        .run("enabled gives the same answer each time", async {
            let answers = || EventId::ALL.iter().map(|id| sink.enabled(*id)).collect::<Vec<_>>();
            let first = answers();
            demand(answers() == first, || "two rounds of the same questions were answered differently".to_owned())
        })
        .await;
    report
        .run("long and empty texts are taken", async {
            let long = "x".repeat(1_000_000);
            sink.emit(&event("long", 1, EventId::ConnectorStarted).with_message(&long).with_detail(&long, &long));
            sink.emit(&event("", 0, EventId::ConnectorStarted).with_detail("", ""));
            Ok(())
        })
        .await;
    report
        .run("emit is cheap and works from several threads", async {
            let started = Instant::now();
            std::thread::scope(|scope| {
                for thread in 0..4 {
                    scope.spawn(move || {
                        for number in 0..EVENTS {
                            sink.emit(&event(&format!("thread {thread}"), number, EventId::PkcsDownloadedRequest));
                        }
                    });
                }
            });
            let mean = started.elapsed() / (4 * EVENTS);
            demand(mean <= MEAN, || format!("an event took {mean:?} on average: buffer, and write elsewhere"))
        })
        .await;
    report
        .run("what was emitted by one thread is kept in its order", async {
            let Some(read_back) = read_back else {
                return only_if(false, "no way to read back was given");
            };
            let kept = read_back();
            for thread in 0..4 {
                let scope = format!("thread {thread}");
                let numbers: Vec<u32> = kept.iter().filter(|key| key.scope == scope).map(|key| key.delivery).collect();
                demand(numbers == (0..EVENTS).collect::<Vec<_>>(), || format!("of {EVENTS} events {} came back in order", numbers.len()))?;
            }
            Ok(())
        })
        .await;
    report
}

fn event(scope: &str, number: u32, id: EventId) -> Event {
    let name = "conformance-test";
    let key = EventKey {
        tenant: TenantId::try_from(name.to_owned()).expect("a constant id parses"),
        instance: InstanceId::try_from(name.to_owned()).expect("a constant id parses"),
        flow: Some(Flow::Pkcs),
        scope: scope.to_owned(),
        delivery: number,
        attempt: 1,
        event: id,
    };
    Event::new(key, Timestamp::system_now())
}
