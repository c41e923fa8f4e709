//! A CA that is down for half an hour while 10,000 requests wait: it is hardly asked, and when it is back it gets its nominal rate and no peak.
//!
//! Judged is by the CA's own ledger of the times at which it was called, on a virtual clock.

#![cfg(all(feature = "pkcs", feature = "revoke", feature = "ring", feature = "aws-lc-rs"))]
#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic, clippy::cast_precision_loss, reason = "a test fails by panicking")]

#[path = "support/pki.rs"]
mod pki;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::adapters::{InMemoryQueue, LocalCa, RecordingSink, VirtualRuntime, VolatileJournal};
use intune_connector::connector::{BreakerState, CaLimits, Connector, QueueSettings};
use intune_connector::event::EventId;
use intune_connector::ids::CaName;
use intune_connector::pkcs::PkcsConfig;
use intune_connector::policy::{IssuancePolicy, RecipientPolicy};
use intune_connector::ports::{
    CaCapabilities, CertificateAuthority, FindAnswer, FindRequest, IssueAnswer, IssueRequest, Outcome, Payload, PkcsRequest, PortError,
    PortErrorKind, QueueItem, RequestMeta, RevokeAnswer, RevokeBy, RevokeCall, RevokeRequest, Runtime as _, StatusRequest,
};
use intune_connector::retry::Effect;
use intune_connector::revoke::RevokeConfig;
use intune_connector::terms::{Flow, KeyAlgorithm, SubjectAltName, oids};
use intune_connector::time::Timestamp;
use rustls_pki_types::CertificateDer;

const OUTAGE: Duration = Duration::from_secs(1_800);
const REVOCATIONS: usize = 9_800;
const CERTIFICATES: usize = 200;
/// How long a call takes when the CA works.
const LATENCY: Duration = Duration::from_millis(50);

/// After that a silent CA counts as failing.
const CA_TIMEOUT: Duration = Duration::from_secs(20);

/// How the CA is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Down {
    /// It says so at once.
    Answers,
    /// It says nothing.
    Silent,
    /// By turns it answers 500, 429 and nothing.
    Mixed,
}

/// A CA that is down until a time, and writes down each call.
#[derive(Debug)]
struct DownCa {
    runtime: VirtualRuntime,
    inner: LocalCa,
    down: Down,
    calls: Mutex<Vec<Duration>>,
}

impl DownCa {
    async fn call(&self) -> Result<(), PortError> {
        let now = self.runtime.monotonic();
        let number = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(now);
            calls.len()
        };
        if now >= OUTAGE {
            self.runtime.sleep(LATENCY).await;
            return Ok(());
        }
        match (self.down, number % 3) {
            (Down::Answers, _) | (Down::Mixed, 0) => Err(PortError::transient("503").with_effect(Effect::None)),
            (Down::Mixed, 1) => Err(PortError::new(PortErrorKind::Throttled, "429").with_effect(Effect::None)),
            _ => std::future::pending().await,
        }
    }
}

#[async_trait]
impl CertificateAuthority for DownCa {
    fn capabilities(&self) -> CaCapabilities {
        let mut can = self.inner.capabilities();
        can.revoke_by = vec![RevokeBy::Serial];
        can
    }
    async fn issue(&self, request: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
        self.call().await?;
        self.inner.issue(request).await
    }
    async fn status(&self, request: StatusRequest<'_>) -> Result<IssueAnswer, PortError> {
        self.call().await?;
        self.inner.status(request).await
    }
    async fn find(&self, request: FindRequest<'_>) -> Result<FindAnswer, PortError> {
        self.call().await?;
        self.inner.find(request).await
    }
    async fn revoke(&self, _: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
        self.call().await?;
        Ok(RevokeAnswer::Revoked)
    }
    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
        self.call().await?;
        self.inner.chain().await
    }
}

/// What the CA saw.
#[derive(Debug)]
struct Seen {
    during: usize,
    first_after: Duration,
    after: usize,
    most_in_a_window: usize,
    most_in_a_bucket: usize,
    mean: f64,
}

impl Seen {
    fn of(calls: &[Duration]) -> Self {
        let second = Duration::from_secs(1);
        let after: Vec<Duration> = calls.iter().copied().filter(|call| *call >= OUTAGE).collect();
        let (first, last) = (after[0], *after.last().unwrap());
        let within = |from: Duration| after.partition_point(|call| *call < from + second) - after.partition_point(|call| *call < from);
        // A window that holds the most begins with a call.
        let most_in_a_window = after.iter().map(|call| within(*call)).max().unwrap();
        let seconds = (last - first).as_secs() + 1;
        let most_in_a_bucket = (0..seconds).map(|bucket| within(first + Duration::from_secs(bucket))).max().unwrap();
        Self {
            during: calls.len() - after.len(),
            first_after: first - OUTAGE,
            after: after.len(),
            most_in_a_window,
            most_in_a_bucket,
            mean: after.len() as f64 / seconds as f64,
        }
    }
}

fn play(down: Down, limits: CaLimits, certificates: usize, revocations: usize) -> Seen {
    let provider = pki::provider();
    let runtime = VirtualRuntime::new(Timestamp::system_now());
    let name: CaName = "Issuing CA".parse().unwrap();
    let clock = runtime.clone();
    let inner = LocalCa::with_clock((*provider).clone(), name.clone(), KeyAlgorithm::EcP256, move || clock.now()).unwrap();
    let ca = Arc::new(DownCa { runtime: runtime.clone(), inner, down, calls: Mutex::default() });
    let (queue, sink) = (Arc::new(InMemoryQueue::new()), Arc::new(RecordingSink::new()));
    let device_ca = pki::root(&provider, "device CA");
    let device = pki::device(&provider, &device_ca, "dev-1");
    for number in 0..certificates {
        let mut request = PkcsRequest::new(name.clone(), format!("CN=user-{number}"), device.certificate.clone());
        request.key = KeyAlgorithm::EcP256;
        request.subject_alt_names = vec![SubjectAltName::Upn(format!("user-{number}@contoso.com"))];
        request.extended_key_usage = vec![oids::CLIENT_AUTH.parse().unwrap()];
        let mut meta = RequestMeta::new(format!("p{number}").parse().unwrap(), "contoso.com".parse().unwrap(), Flow::Pkcs);
        meta.device = Some("dev-1".parse().unwrap());
        queue.push(QueueItem::new(meta, Payload::Pkcs(Box::new(request))));
    }
    for number in 0..revocations {
        let meta = RequestMeta::new(format!("v{number}").parse().unwrap(), "contoso.com".parse().unwrap(), Flow::Revoke);
        let mut request = RevokeRequest::new(format!("{:04X}", number + 1));
        request.issuer = Some(name.to_string());
        queue.push(QueueItem::new(meta, Payload::Revoke(request)));
    }
    let settings = || QueueSettings::new(queue.clone()).with_poll_interval(Duration::from_secs(1));
    let issuance = IssuancePolicy::deny_all().allow_upn_suffix("contoso.com").allow_extended_key_usage(oids::CLIENT_AUTH.parse().unwrap());
    let recipients = RecipientPolicy::new().trust_root(device_ca.certificate.clone());
    let pkcs = PkcsConfig::new(queue.clone(), name.clone(), ca.clone(), issuance, recipients)
        .with_settings(settings())
        .with_ca_timeout(CA_TIMEOUT)
        .with_pfx_iterations(2_000);
    let revoke = RevokeConfig::new(queue.clone(), name.clone(), ca.clone()).with_settings(settings()).with_ca_timeout(CA_TIMEOUT);
    let connector = Connector::builder((*provider).clone(), Arc::new(VolatileJournal::new()))
        .tenant("contoso.com".parse().unwrap())
        .instance("one".parse().unwrap())
        .sink(sink.clone())
        .runtime(Arc::new(runtime.clone()))
        .ca_limits(name.clone(), limits)
        .pkcs(pkcs)
        .revoke(revoke)
        .build()
        .unwrap();
    let handle = connector.handle();

    let all = certificates + revocations;
    // One run: at the end of each, calls under way would be abandoned.
    let watch = async {
        runtime.sleep(OUTAGE / 2).await;
        let status = handle.ca_status()[&name];
        assert_ne!(status.breaker, BreakerState::Closed, "{status:?}");
        assert!(status.failed_calls >= 5 && status.times_opened > 5, "{status:?}");
        assert!(status.until.is_none_or(|until| until > runtime.now()), "{status:?}");
        assert_eq!(sink.count(EventId::CaUnavailable), 1, "it is told once");
        assert_eq!(queue.accepted().len(), 0, "nothing is given up");
        for _ in 0..120 {
            runtime.sleep(Duration::from_secs(60)).await;
            if queue.accepted().len() == all {
                return;
            }
        }
        panic!("{} of {all} are done", queue.accepted().len());
    };
    runtime.block_on(connector.run_until(watch)).unwrap();
    let failed = queue.accepted().values().filter(|outcome| !is_success(outcome)).count();
    assert_eq!(failed, 0, "all requests are done");
    assert_eq!(ca.inner.issued().len(), certificates, "one certificate each");
    assert_eq!((sink.count(EventId::CaUnavailable), sink.count(EventId::CaAvailableAgain)), (1, 1));
    assert_eq!(handle.ca_status()[&name].breaker, BreakerState::Closed);
    let seen = Seen::of(&ca.calls.lock().unwrap());
    println!(
        "{down:?}, {:?} calls/s: {} calls in the outage, the first {:.1} s after it; then {} calls, {:.1} a second, at most {} in any second, at most {} in a 1 s \
         bucket ({:.2} x the mean)",
        limits.calls_per_second,
        seen.during,
        seen.first_after.as_secs_f64(),
        seen.after,
        seen.mean,
        seen.most_in_a_window,
        seen.most_in_a_bucket,
        seen.most_in_a_bucket as f64 / seen.mean
    );
    seen
}

fn is_success(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Pkcs(_) => true,
        Outcome::Revoke(result) => result.error.is_none(),
        _ => false,
    }
}

#[test]
fn after_an_outage_a_ca_sees_its_nominal_rate_and_no_peak() {
    for (down, rate, part) in [(Down::Mixed, 50.0, 1), (Down::Answers, 10.0, 10), (Down::Silent, 20.0, 10)] {
        let seen = play(down, CaLimits::new().with_calls_per_second(rate), CERTIFICATES / part, REVOCATIONS / part);
        assert!(seen.most_in_a_window as f64 <= rate * 1.1, "{seen:?}");
        assert!(seen.most_in_a_bucket as f64 <= seen.mean * 3.0, "{seen:?}");
        // Before it is shut, eight under way fail; then about one call in half a minute tries.
        assert!(seen.during <= 150, "{seen:?}");
        assert!(seen.first_after <= Duration::from_secs(76), "{seen:?}");
        assert!(seen.mean >= rate * 0.7, "the rate is used: {seen:?}");
    }
}

#[test]
fn without_a_nominal_rate_the_concurrency_is_the_limit_and_there_is_no_peak_either() {
    let seen = play(Down::Mixed, CaLimits::new(), 50, REVOCATIONS / 5);
    assert!(seen.most_in_a_bucket as f64 <= seen.mean * 3.0, "{seen:?}");
    // Eight at a time, each 50 ms.
    assert!(seen.most_in_a_window <= 161, "{seen:?}");
    assert!(seen.during <= 150, "{seen:?}");
}
