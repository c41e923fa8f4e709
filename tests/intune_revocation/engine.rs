//! The connector on top: what a CA is asked, and what Intune is told, across crashes.

use core::time::Duration;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use intune_connector::adapters::intune::IntuneRevocations;
use intune_connector::adapters::{LocalCa, RecordingSink};
use intune_connector::connector::{Connector, QueueSettings};
use intune_connector::ids::SerialNumber;
use intune_connector::message::name::Name;
use intune_connector::ports::{
    CaCapabilities, CertificateAuthority, FindAnswer, FindRequest, IssueAnswer, IssueRequest, LookupAnswer, LookupRequest, PortError,
    RevokeAnswer, RevokeCall, Runtime as _,
};
use intune_connector::revoke::{AlreadyRevoked, RevokeConfig, SerialSpelling};
use intune_connector::secret::SecretBytes;
use intune_connector::terms::{KeyAlgorithm, KeyUsage};
use rustls_pki_types::CertificateDer;
use serde_json::Value;

use crate::rig::{Bench, DOWNLOAD, HOUR, Kept, MINUTE, UPLOAD, block_on, brings, item, key, provider};

/// A local CA that counts what it is asked.
#[derive(Debug)]
struct Ca {
    local: LocalCa,
    asked: AtomicUsize,
    /// It does not answer.
    hangs: AtomicBool,
}

static SHARED: LazyLock<Vec<u8>> = LazyLock::new(|| new_ca().local.certificate().spki().to_vec());

fn new_ca() -> Ca {
    let local = LocalCa::new(provider(), "Contoso CA".parse().unwrap(), KeyAlgorithm::EcP256).unwrap();
    Ca { local, asked: AtomicUsize::new(0), hangs: AtomicBool::new(false) }
}

impl Ca {
    fn new() -> Arc<Self> {
        Arc::new(new_ca())
    }

    /// The serial number of a fresh certificate.
    fn issue(&self) -> SerialNumber {
        let subject = Name::parse_cert_str("CN=device").unwrap();
        let usage = KeyUsage { digital_signature: true, ..KeyUsage::default() };
        let certificate = self.local.issue_service_certificate(subject, &SHARED, usage, &[], HOUR * 24).unwrap();
        certificate.serial().unwrap().clone()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn revoked(&self) -> usize {
        self.local.issued().iter().filter(|entry| entry.revoked.is_some()).count()
    }
}

#[async_trait]
impl CertificateAuthority for Ca {
    fn capabilities(&self) -> CaCapabilities {
        self.local.capabilities()
    }
    async fn issue(&self, request: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
        self.local.issue(request).await
    }
    async fn find(&self, request: FindRequest<'_>) -> Result<FindAnswer, PortError> {
        self.local.find(request).await
    }
    async fn lookup(&self, request: LookupRequest<'_>) -> Result<LookupAnswer, PortError> {
        self.local.lookup(request).await
    }
    async fn revoke(&self, call: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.hangs.load(Ordering::SeqCst) {
            core::future::pending::<()>().await;
        }
        self.local.revoke(call).await
    }
    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
        self.local.chain().await
    }
}

/// A process: from its start to its end, which may be a crash.
struct Process {
    connector: Connector,
    sink: Arc<RecordingSink>,
}

fn start(bench: &Bench, queue: IntuneRevocations, ca: &Arc<Ca>, adjust: impl FnOnce(RevokeConfig) -> RevokeConfig) -> Process {
    let queue = Arc::new(queue);
    let settings = QueueSettings::new(queue.clone()).with_poll_interval(MINUTE).with_backoff(Duration::from_secs(1), MINUTE);
    let config = RevokeConfig::new(queue, "Contoso CA".parse().unwrap(), ca.clone()).with_settings(settings);
    let sink = Arc::new(RecordingSink::new());
    let connector = Connector::builder(provider(), bench.journal.clone())
        .tenant("contoso.example".parse().unwrap())
        .instance("one".parse().unwrap())
        .sink(sink.clone())
        .runtime(bench.clock.clone())
        .sealing_key(key())
        .revoke(adjust(config))
        .build()
        .unwrap();
    Process { connector, sink }
}

impl Process {
    /// Goes on for that long.
    fn run_for(&self, bench: &Bench, time: Duration) {
        let end = bench.clock.monotonic() + time;
        for _ in 0..10_000 {
            let report = block_on(self.connector.run_once());
            let due = report.next_due.unwrap_or(time).max(Duration::from_millis(1));
            if bench.clock.monotonic() + due > end {
                bench.clock.advance(end - bench.clock.monotonic());
                return;
            }
            bench.clock.advance(due);
        }
        panic!("the connector does not come to rest");
    }

    fn ids(&self, request: &str) -> Vec<u16> {
        self.sink.events_of(request).iter().map(|event| event.id.code()).collect()
    }
}

fn text(serial: &SerialNumber) -> String {
    serial.to_string()
}

#[test]
fn a_crash_between_revocation_and_upload_sends_the_same_result_and_asks_the_ca_no_second_time() {
    for kept in Kept::both() {
        let ca = Ca::new();
        let (done, open) = (ca.issue(), ca.issue());
        let bench = Bench::on(kept.open());
        bench.script.then(DOWNLOAD, brings(&[item("r1", &text(&done), Some("Contoso CA")), item("r2", &text(&open), Some("Contoso CA"))]));
        // The process ends while Intune takes nothing.
        for _ in 0..1_000 {
            bench.script.then_fails(UPLOAD, || PortError::transient("connection reset"));
        }
        let first = start(&bench, bench.queue(), &ca, |config| config);
        first.run_for(&bench, 2 * MINUTE);
        assert_eq!((ca.asked(), ca.revoked()), (2, 2));
        assert!(bench.script.count(UPLOAD) > 0);
        let mut sent = bench.script.uploaded();
        sent.sort();
        sent.dedup();
        let Bench { clock, journal, script } = bench;
        assert_eq!(script.count(DOWNLOAD), 1);
        drop((first, journal, script));

        let bench = Bench { clock, journal: kept.open(), script: Arc::default() };
        let second = start(&bench, bench.queue(), &ca, |config| config);
        second.run_for(&bench, 10 * MINUTE);
        assert_eq!((ca.asked(), ca.revoked()), (2, 2), "the CA is not asked again");
        assert_eq!(bench.script.count(DOWNLOAD), 0, "the hour is not over");
        let mut sent_again = bench.script.uploaded();
        sent_again.sort();
        assert_eq!((sent_again.len(), sent_again), (2, sent), "the same results, once");
        for request in ["r1", "r2"] {
            assert_eq!(second.ids(request).into_iter().filter(|id| *id == 3_000).count(), 1, "{:?}", second.ids(request));
        }
        second.run_for(&bench, HOUR);
        assert_eq!((bench.script.count(DOWNLOAD), bench.script.uploaded().len()), (1, 2), "the next hour begins as usual");
    }
}

#[test]
fn a_run_that_was_dropped_in_its_work_leaves_the_request_to_the_next_one() {
    let ca = Ca::new();
    let serial = ca.issue();
    let bench = Bench::new();
    bench.script.then(DOWNLOAD, brings(&[item("r1", &text(&serial), Some("Contoso CA"))]));
    let process = start(&bench, bench.queue(), &ca, |config| config);
    ca.hangs.store(true, Ordering::SeqCst);
    assert!(process.connector.run_once().now_or_never().is_none());
    assert_eq!(ca.asked(), 1);
    ca.hangs.store(false, Ordering::SeqCst);
    process.run_for(&bench, 2 * HOUR);
    assert_eq!(bench.script.uploaded(), [("r1".to_owned(), "None".to_owned())]);
    assert_eq!(ca.revoked(), 1);
}

#[test]
fn a_crash_before_the_ca_was_asked_revokes_after_the_restart() {
    for kept in Kept::both() {
        let ca = Ca::new();
        let serial = ca.issue();
        let bench = Bench::on(kept.open());
        let (queue, given) = bench.with(&[item("r1", &text(&serial), Some("Contoso CA"))]);
        assert_eq!(given.len(), 1);
        let Bench { script, clock, journal } = bench;
        drop((queue, given, journal));
        let bench = Bench { script, clock, journal: kept.open() };
        start(&bench, bench.queue(), &ca, |config| config).run_for(&bench, MINUTE);
        assert_eq!((ca.asked(), ca.revoked(), bench.script.count(DOWNLOAD)), (1, 1, 1));
        assert_eq!(bench.script.uploaded(), [("r1".to_owned(), "None".to_owned())]);
    }
}

#[test]
fn requests_of_other_cas_are_left_alone_and_do_not_starve_own_ones() {
    let ca = Ca::new();
    let bench = Bench::new();
    let mut items: Vec<Value> = (0..60).map(|number| item(&format!("f{number}"), "01", Some("Fabrikam CA"))).collect();
    // The same requests of others come hour by hour.
    bench.script.then(DOWNLOAD, brings(&items));
    let serial = ca.issue();
    items.push(item("own", &text(&serial), Some("Contoso CA")));
    bench.script.then(DOWNLOAD, brings(&items)).then(DOWNLOAD, brings(&items[..60]));
    let process = start(&bench, bench.queue(), &ca, |config| config);
    process.run_for(&bench, 3 * HOUR);
    assert_eq!((ca.asked(), ca.revoked()), (1, 1));
    assert_eq!(bench.script.uploaded(), [("own".to_owned(), "None".to_owned())]);
    assert!((3..=4).contains(&bench.script.count(DOWNLOAD)), "{}", bench.script.count(DOWNLOAD));
}

#[test]
fn the_connector_downloads_once_an_hour_however_often_it_polls() {
    let bench = Bench::new();
    let process = start(&bench, bench.queue(), &Ca::new(), |config| config);
    process.run_for(&bench, 10 * HOUR - MINUTE);
    assert_eq!(bench.script.count(DOWNLOAD), 10);
}

#[test]
fn serial_numbers_are_matched_in_any_spelling() {
    let ca = Ca::new();
    let serials: Vec<SerialNumber> = (0..4).map(|_| ca.issue()).collect();
    let hex: Vec<String> = serials.iter().map(text).collect();
    let pairs: Vec<&str> = (0..hex[1].len() / 2).map(|at| &hex[1][2 * at..2 * at + 2]).collect();
    let colons = pairs.join(":");
    let zeros = format!("0x0000{}", hex[2].to_ascii_lowercase());
    let decimal = serials[3].as_be_bytes().iter().fold(0_u128, |value, byte| value << 8 | u128::from(*byte)).to_string();
    let own = Some("Contoso CA");
    let bench = Bench::new();
    bench.script.then(
        DOWNLOAD,
        brings(&[item("plain", &hex[0], own), item("colons", &colons, own), item("zeros", &zeros, own), item("none", "xyz", own)]),
    );
    start(&bench, bench.queue(), &ca, |config| config).run_for(&bench, MINUTE);
    assert_eq!(ca.revoked(), 3);
    let code = |bench: &Bench, id: &str| bench.script.uploaded().into_iter().find(|(context, _)| context == id).unwrap().1;
    assert_eq!(code(&bench, "none"), "ParameterDataInvalidError");

    let bench = Bench::new();
    bench.script.then(DOWNLOAD, brings(&[item("decimal", &decimal, own), item("unknown", "17", own)]));
    start(&bench, bench.queue(), &ca, |config| config.with_serial_spelling(SerialSpelling::Decimal)).run_for(&bench, MINUTE);
    assert_eq!(ca.revoked(), 4);
    assert_eq!((code(&bench, "decimal").as_str(), code(&bench, "unknown").as_str()), ("None", "CertificateNotFoundError"));
}

#[test]
fn a_certificate_that_was_revoked_before_is_a_success_or_a_conflict_as_set() {
    for (report, code) in [(AlreadyRevoked::ReportSuccess, "None"), (AlreadyRevoked::ReportConflict, "ConflictError")] {
        let ca = Ca::new();
        let serial = text(&ca.issue());
        let bench = Bench::new();
        bench.script.then(DOWNLOAD, brings(&[item("first", &serial, None)])).then(DOWNLOAD, brings(&[item("second", &serial, None)]));
        let process = start(&bench, bench.queue(), &ca, |config| config.with_already_revoked(report));
        process.run_for(&bench, HOUR + MINUTE);
        assert_eq!(bench.script.uploaded(), [("first".to_owned(), "None".to_owned()), ("second".to_owned(), code.to_owned())]);
        assert_eq!(ca.revoked(), 1);
    }
}

#[test]
fn a_failure_that_may_pass_is_worked_on_anew_when_intune_offers_it_again() {
    let ca = Ca::new();
    let serial = text(&ca.issue());
    ca.local.inject_faults(intune_connector::adapters::LocalCaFaults::none().fail_revocations(5));
    let bench = Bench::new();
    let one = [item("r1", &serial, Some("Contoso CA"))];
    bench.script.then(DOWNLOAD, brings(&one)).then(DOWNLOAD, brings(&one));
    let process = start(&bench, bench.queue(), &ca, |config| config);
    process.run_for(&bench, HOUR + MINUTE);
    let codes: Vec<String> = bench.script.uploaded().into_iter().map(|(_, code)| code).collect();
    assert_eq!(codes, ["ServiceUnavailableException", "None"]);
    assert_eq!(ca.revoked(), 1);
}

#[test]
fn a_result_that_intune_never_takes_keeps_no_other_from_being_taken() {
    let ca = Ca::new();
    let items: Vec<Value> = (0..8).map(|number| item(&format!("r{number}"), &text(&ca.issue()), Some("Contoso CA"))).collect();
    let bench = Bench::new();
    bench.script.then(DOWNLOAD, brings(&items));
    *bench.script.dislikes.lock().unwrap() = Some("r5".to_owned());
    let process = start(&bench, bench.queue(), &ca, |config| config);
    process.run_for(&bench, 50 * MINUTE);
    for number in 0..8 {
        let is_done = process.ids(&format!("r{number}")).contains(&3_000);
        assert_eq!(is_done, number != 5, "r{number}");
    }
    assert_eq!(ca.asked(), 8, "only the uploads are repeated");
}

#[test]
fn a_sealing_key_of_another_length_is_refused() {
    let bench = Bench::new();
    let config = RevokeConfig::new(Arc::new(bench.queue()), "Contoso CA".parse().unwrap(), Ca::new());
    let builder = Connector::builder(provider(), bench.journal.clone()).revoke(config).sealing_key(SecretBytes::zeroed(16));
    assert!(builder.build().unwrap_err().to_string().contains("sealing_key: it is not 32 bytes long"));
}
