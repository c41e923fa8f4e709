//! The engine on real clocks and threads: the built-in runtime and tokio.
#![cfg(all(feature = "revoke", feature = "tokio"))]

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use intune_connector::adapters::{InMemoryQueue, RecordingSink, StdRuntime, TokioRuntime, VolatileJournal};
use intune_connector::connector::{CaLimits, Connector, QueueSettings};
use intune_connector::crypto::CryptoProvider;
use intune_connector::ports::{
    CaCapabilities, CertificateAuthority, FindAnswer, FindRequest, IssueAnswer, IssueRequest, Payload, PortError, QueueItem, RequestMeta,
    RevokeAnswer, RevokeBy, RevokeCall, RevokeRequest, Runtime,
};
use intune_connector::revoke::RevokeConfig;
use intune_connector::terms::Flow;
use rustls_pki_types::CertificateDer;

/// A CA whose revocations take a while and fail now and then.
#[derive(Debug)]
struct SlowCa {
    runtime: Arc<dyn Runtime>,
    calls: AtomicU32,
    pause: Duration,
}

#[async_trait]
impl CertificateAuthority for SlowCa {
    fn capabilities(&self) -> CaCapabilities {
        let mut can = CaCapabilities::minimal();
        can.revoke_by = vec![RevokeBy::Serial];
        can
    }
    async fn issue(&self, _: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
        Err(PortError::unsupported("it only revokes"))
    }
    async fn find(&self, _: FindRequest<'_>) -> Result<FindAnswer, PortError> {
        Ok(FindAnswer::CannotTell)
    }
    async fn revoke(&self, _: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
        self.runtime.sleep(self.pause).await;
        if self.calls.fetch_add(1, Ordering::SeqCst) % 5 == 4 {
            return Err(PortError::transient("503"));
        }
        Ok(RevokeAnswer::Revoked)
    }
    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
        Err(PortError::unsupported("it only revokes"))
    }
}

struct Rig {
    queue: Arc<InMemoryQueue>,
    sink: Arc<RecordingSink>,
    ca: Arc<SlowCa>,
    connector: Arc<Connector>,
}

fn rig(runtime: Arc<dyn Runtime>, requests: usize, pause: Duration) -> Rig {
    let queue = Arc::new(InMemoryQueue::new());
    for number in 0..requests {
        let meta = RequestMeta::new(format!("r{number}").parse().unwrap(), "tenant".parse().unwrap(), Flow::Revoke);
        let mut request = RevokeRequest::new(format!("{:04X}", number + 1));
        request.issuer = Some("CA".to_owned());
        queue.push(QueueItem::new(meta, Payload::Revoke(request)));
    }
    let sink = Arc::new(RecordingSink::new());
    let ca = Arc::new(SlowCa { runtime: Arc::clone(&runtime), calls: AtomicU32::new(0), pause });
    let settings = QueueSettings::new(queue.clone())
        .with_poll_interval(Duration::from_millis(20))
        .with_backoff(Duration::from_millis(1), Duration::from_millis(20))
        .with_max_attempts(20);
    let config = RevokeConfig::new(queue.clone(), "CA".parse().unwrap(), ca.clone()).with_settings(settings);
    let connector = Connector::builder(CryptoProvider::ring_and_aws_lc_rs(), Arc::new(VolatileJournal::new()))
        .tenant("tenant".parse().unwrap())
        .instance("one".parse().unwrap())
        .sink(sink.clone())
        .runtime(runtime)
        // One call in five fails, and nobody waits here for a retry budget of one in ten.
        .ca_limits("CA".parse().unwrap(), CaLimits::new().with_retry_budget(100, 6_000))
        .revoke(config)
        .build()
        .unwrap();
    Rig { queue, sink, ca, connector: Arc::new(connector) }
}

/// Ready when the queue has so many results.
async fn answered(queue: &InMemoryQueue, runtime: &dyn Runtime, count: usize) {
    for _ in 0..5_000 {
        if queue.accepted().len() >= count {
            return;
        }
        runtime.sleep(Duration::from_millis(5)).await;
    }
}

fn check(rig: &Rig, count: usize) {
    assert!(rig.queue.unanswered().is_empty() && rig.queue.waiting() == 0);
    assert_eq!(rig.queue.accepted().len(), count);
    let about_requests = rig.sink.admin_events().iter().filter(|event| event.key.flow == Some(Flow::Revoke)).count();
    assert_eq!(about_requests, count, "one Admin event each");
    let summary = rig.connector.summary();
    let flow = &summary.flows[&Flow::Revoke];
    assert_eq!((flow.counters.succeeded, flow.latency.len()), (count as u64, count));
    assert!(flow.latency.median().unwrap() <= flow.latency.p99().unwrap());
    assert!(flow.counters.retried > 0);
}

#[test]
fn two_hundred_requests_run_on_plain_threads() {
    let runtime = Arc::new(StdRuntime::new().unwrap());
    let rig = rig(runtime.clone(), 200, Duration::from_millis(1));
    let summary = runtime.block_on(rig.connector.run_until(answered(&rig.queue, &*runtime, 200)));
    assert_eq!(summary.left, 0);
    check(&rig, 200);
}

#[test]
fn two_hundred_requests_run_as_a_tokio_task() {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime::new(tokio.handle().clone(), 64));
    let rig = rig(Arc::clone(&runtime), 200, Duration::from_millis(1));
    let (connector, queue) = (Arc::clone(&rig.connector), Arc::clone(&rig.queue));
    let task = tokio.spawn(async move { connector.run_until(answered(&queue, &*runtime, 200)).await });
    assert_eq!(tokio.block_on(task).unwrap().left, 0);
    check(&rig, 200);
}

#[test]
fn a_dropped_run_touches_no_port_afterwards_and_a_new_one_goes_on() {
    let runtime = Arc::new(StdRuntime::new().unwrap());
    let rig = rig(runtime.clone(), 60, Duration::from_millis(20));
    runtime.block_on(async {
        let run = Box::pin(rig.connector.run_until(core::future::pending()));
        futures_util::future::select(run, runtime.sleep(Duration::from_millis(70))).await;
    });
    let (calls, uploads, events) = (rig.ca.calls.load(Ordering::SeqCst), rig.queue.uploads().len(), rig.sink.events().len());
    assert!(calls > 0);
    runtime.block_on(runtime.sleep(Duration::from_millis(100)));
    assert_eq!(rig.ca.calls.load(Ordering::SeqCst), calls);
    assert_eq!((rig.queue.uploads().len(), rig.sink.events().len()), (uploads, events));
    // What was being worked on is taken up when the queue delivers it again.
    for (_, id) in rig.queue.unanswered() {
        let number: usize = id.as_str()[1..].parse().unwrap();
        let meta = RequestMeta::new(id, "tenant".parse().unwrap(), Flow::Revoke);
        let mut request = RevokeRequest::new(format!("{:04X}", number + 1));
        request.issuer = Some("CA".to_owned());
        rig.queue.push(QueueItem::new(meta, Payload::Revoke(request)));
    }
    runtime.block_on(rig.connector.run_until(answered(&rig.queue, &*runtime, 60)));
    assert!(rig.queue.unanswered().is_empty(), "{:?}", rig.queue.unanswered());
    for number in 0..60 {
        let admin = rig.sink.events_of(&format!("r{number}")).iter().filter(|event| matches!(event.id.code(), 3000 | 3001)).count();
        assert_eq!(admin, 1, "r{number}");
    }
}
