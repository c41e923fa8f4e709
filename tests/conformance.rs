//! The in-memory adapters pass the conformance suite, and adapters that are broken in one way fail the check that is about it.
#![cfg(feature = "conformance")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use async_trait::async_trait;
use intune_connector::adapters::{
    InMemoryQueue, LocalCa, LocalCaFault, LocalCaFaults, MemoryDecryptionKeys, RecordingSink, Repeats, StdRuntime, VolatileJournal,
};
use intune_connector::conformance::{
    CaUnderTest, CheckResult, QueueUnderTest, Report, check_certificate_authority, check_decryption_keys, check_event_sink, check_journal,
    check_queue,
};
use intune_connector::crypto::{CryptoProvider, DecryptionKey, UnwrapError, UnwrapRequest};
use intune_connector::event::{Event, EventId, EventKey};
use intune_connector::ports::*;
use intune_connector::secret::SecretBytes;
use intune_connector::terms::{Flow, KeyAlgorithm};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, SubjectPublicKeyInfoDer};

static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(CryptoProvider::ring_and_aws_lc_rs);
static RUNTIME: LazyLock<StdRuntime> = LazyLock::new(|| StdRuntime::new().unwrap());

/// Nothing failed, and nothing was skipped but these.
fn assert_passes(report: &Report, skipped: &[&str]) {
    assert!(report.is_passed(), "{report}");
    let really: Vec<&str> =
        report.checks.iter().filter(|check| matches!(check.result, CheckResult::Skipped(_))).map(|check| check.name.as_str()).collect();
    assert_eq!(really, skipped, "{report}");
}

/// Exactly these checks failed.
fn assert_fails(report: &Report, failed: &[&str]) {
    assert!(!report.is_passed());
    let really: Vec<&str> = report.failures().map(|check| check.name.as_str()).collect();
    assert_eq!(really, failed, "{report}");
}

// ---- certificate authorities

fn check_ca(ca: &dyn CertificateAuthority, key: KeyAlgorithm) -> Report {
    let test = CaUnderTest::new(ca, "Test CA".parse().unwrap(), &PROVIDER, &*RUNTIME).with_key(key);
    RUNTIME.block_on(check_certificate_authority(&test))
}

fn local(key: KeyAlgorithm) -> LocalCa {
    LocalCa::new(PROVIDER.clone(), "Test CA".parse().unwrap(), key).unwrap()
}

#[test]
fn the_local_ca_passes_with_rsa_and_with_ec() {
    assert_passes(&check_ca(&local(KeyAlgorithm::EcP256), KeyAlgorithm::EcP256), &[]);
    assert_passes(&check_ca(&local(KeyAlgorithm::Rsa2048), KeyAlgorithm::Rsa2048), &[]);
}

#[test]
fn the_local_ca_passes_with_its_ledger_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let ca = local(KeyAlgorithm::EcP256).ledger_file(folder.path().join("ledger")).unwrap();
    assert_passes(&check_ca(&ca, KeyAlgorithm::EcP256), &[]);
}

#[test]
fn a_pending_certificate_is_waited_for() {
    let ca = local(KeyAlgorithm::EcP256);
    ca.inject_faults(LocalCaFaults::none().every(3, LocalCaFault::Pending { polls: 1 }));
    assert_passes(&check_ca(&ca, KeyAlgorithm::EcP256), &[]);
}

/// The local CA with one thing wrong.
#[derive(Debug)]
struct Broken {
    ca: LocalCa,
    fault: Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    ClaimsIdempotencyItHasNot,
    FindDenies,
    LookupDenies,
    RevokesTwice,
    KnowsEverySerial,
    EmptyChain,
    NoCrlEntry,
    ClaimsNothing,
    Panics,
}

fn broken(fault: Fault) -> Report {
    let ca = local(KeyAlgorithm::EcP256);
    let ca = if fault == Fault::ClaimsIdempotencyItHasNot { ca.repeats(Repeats::IssueAgain) } else { ca };
    check_ca(&Broken { ca, fault }, KeyAlgorithm::EcP256)
}

#[async_trait]
impl CertificateAuthority for Broken {
    fn capabilities(&self) -> CaCapabilities {
        let mut can = self.ca.capabilities();
        if self.fault == Fault::ClaimsIdempotencyItHasNot {
            can.idempotent_issue = true;
        }
        if self.fault == Fault::ClaimsNothing {
            return CaCapabilities::minimal();
        }
        can
    }

    async fn issue(&self, request: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
        self.ca.issue(request).await
    }

    async fn status(&self, request: StatusRequest<'_>) -> Result<IssueAnswer, PortError> {
        self.ca.status(request).await
    }

    async fn find(&self, request: FindRequest<'_>) -> Result<FindAnswer, PortError> {
        if self.fault == Fault::FindDenies { Ok(FindAnswer::Absent) } else { self.ca.find(request).await }
    }

    async fn lookup(&self, request: LookupRequest<'_>) -> Result<LookupAnswer, PortError> {
        if self.fault == Fault::LookupDenies { Ok(LookupAnswer::Absent) } else { self.ca.lookup(request).await }
    }

    async fn revoke(&self, call: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
        match (self.fault, self.ca.revoke(call).await?) {
            (Fault::Panics, _) => panic!("a bug of the adapter"),
            (Fault::RevokesTwice, RevokeAnswer::AlreadyRevoked) => Ok(RevokeAnswer::Revoked),
            (Fault::KnowsEverySerial, RevokeAnswer::UnknownSerial) => Ok(RevokeAnswer::AlreadyRevoked),
            (_, answer) => Ok(answer),
        }
    }

    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
        if self.fault == Fault::EmptyChain { Ok(Vec::new()) } else { self.ca.chain().await }
    }

    async fn crl(&self) -> Result<CertificateRevocationListDer<'static>, PortError> {
        if self.fault == Fault::NoCrlEntry { local(KeyAlgorithm::EcP256).crl().await } else { self.ca.crl().await }
    }
}

#[test]
fn a_ca_that_issues_twice_for_one_key_though_it_claims_idempotency_is_found() {
    assert_fails(&broken(Fault::ClaimsIdempotencyItHasNot), &["the same idempotency key gives the same certificate"]);
}

#[test]
fn a_ca_that_denies_what_it_issued_is_found() {
    assert_fails(&broken(Fault::FindDenies), &["find knows what was issued", "what was issued is never called Absent"]);
    assert_fails(
        &broken(Fault::LookupDenies),
        &["what was issued is never called Absent", "lookup knows the serial numbers that were issued"],
    );
}

#[test]
fn a_ca_that_answers_revocations_wrongly_is_found() {
    assert_fails(&broken(Fault::RevokesTwice), &["an issued certificate is revoked once, and the second time already revoked"]);
    assert_fails(&broken(Fault::KnowsEverySerial), &["an unknown serial number is called unknown"]);
    assert_fails(&broken(Fault::NoCrlEntry), &["the CRL is signed by the CA and lists what was revoked"]);
}

#[test]
fn a_ca_without_its_own_certificate_is_found() {
    let report = broken(Fault::EmptyChain);
    assert!(matches!(report.result_of("the chain begins with the issuing certificate"), Some(CheckResult::Failed(_))), "{report}");
}

#[test]
fn what_a_ca_does_not_claim_is_skipped() {
    let report = broken(Fault::ClaimsNothing);
    assert_passes(
        &report,
        &[
            "the same idempotency key gives the same certificate",
            "find knows what was issued",
            "find says Absent for what was never asked",
            "the SID extension is written",
            "the SID URI is written",
            "an issued certificate is revoked once, and the second time already revoked",
            "an unknown serial number is called unknown",
            "lookup knows the serial numbers that were issued",
        ],
    );
}

#[test]
fn a_panic_of_the_adapter_fails_its_checks_and_no_other() {
    assert_fails(
        &broken(Fault::Panics),
        &[
            "an issued certificate is revoked once, and the second time already revoked",
            "an unknown serial number is called unknown",
            "lookup knows the serial numbers that were issued",
            "the CRL is signed by the CA and lists what was revoked",
        ],
    );
}

#[test]
fn a_ca_that_does_not_issue_as_planned_is_found() {
    for fault in [LocalCaFault::DropSid, LocalCaFault::WrongKey, LocalCaFault::ExtraExtendedKeyUsage("1.3.6.1.5.5.7.3.1".parse().unwrap())]
    {
        let ca = local(KeyAlgorithm::EcP256);
        let failing = if fault == LocalCaFault::DropSid { "the SID extension is written" } else { "a certificate is issued as planned" };
        ca.inject_faults(LocalCaFaults::none().every(1, fault));
        let report = check_ca(&ca, KeyAlgorithm::EcP256);
        assert!(matches!(report.result_of(failing), Some(CheckResult::Failed(_))), "{report}");
    }
}

// ---- journals

fn check_rows(journal: &dyn Journal) -> Report {
    RUNTIME.block_on(check_journal(journal, &PROVIDER))
}

#[test]
fn the_volatile_journal_passes() {
    assert_passes(&check_rows(&VolatileJournal::new()), &[]);
}

#[cfg(feature = "sqlite")]
#[test]
fn the_sqlite_journal_passes_anew_and_after_it_was_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let journal = intune_connector::adapters::SqliteJournal::open(folder.path().join("journal.db")).unwrap();
        assert_passes(&check_rows(&journal), &[]);
    }
}

/// The volatile journal with one thing wrong.
#[derive(Debug)]
struct BrokenJournal {
    inner: VolatileJournal,
    fault: JournalFault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JournalFault {
    IgnoresVersions,
    IgnoresEpochs,
    ClaimsWhatIsLeased,
    ClaimsInAnswersAlone,
    ClaimsMoreThanAsked,
    ForgetsOwnRows,
    IgnoresRoutes,
    PrunesOpenRows,
    RenewsForAnyone,
    ForgetsBlobs,
}

fn broken_journal(fault: JournalFault) -> Report {
    check_rows(&BrokenJournal { inner: VolatileJournal::new(), fault })
}

impl BrokenJournal {
    fn stored(&self, key: RowKey) -> Option<Row> {
        self.inner.rows().into_iter().find(|row| row.key == key)
    }
}

#[async_trait]
impl Journal for BrokenJournal {
    fn scope(&self) -> JournalScope {
        self.inner.scope()
    }

    fn is_durable(&self) -> bool {
        false
    }

    async fn load(&self, request: LoadRequest) -> Result<Vec<Row>, PortError> {
        self.inner.load(request).await
    }

    async fn commit(&self, mut changes: Vec<Change>) -> Result<Vec<CommitAnswer>, PortError> {
        let mut answers = Vec::new();
        for mut change in changes.drain(..) {
            match (self.fault, self.stored(change.row.key)) {
                (JournalFault::IgnoresVersions, Some(stored)) => change.row.version = stored.version,
                (JournalFault::IgnoresEpochs, Some(stored)) => change.row.lease_epoch = stored.lease_epoch,
                (JournalFault::ForgetsBlobs, _) => change.row.blob = SealedBlob::new(Vec::new()),
                _ => {}
            }
            answers.extend(self.inner.commit(vec![change]).await?);
        }
        Ok(answers)
    }

    async fn claim(&self, mut request: ClaimRequest) -> Result<Vec<Row>, PortError> {
        match self.fault {
            JournalFault::IgnoresRoutes => request.routes = None,
            JournalFault::ForgetsOwnRows => request.own = false,
            JournalFault::ClaimsMoreThanAsked => request.max += 1,
            _ => {}
        }
        if self.fault == JournalFault::ClaimsInAnswersAlone {
            let copy = VolatileJournal::new();
            for mut row in self.inner.rows() {
                row.version = 0;
                copy.commit(vec![Change::new(row)]).await?;
            }
            return copy.claim(request).await;
        }
        if self.fault == JournalFault::ClaimsWhatIsLeased {
            for mut row in self.inner.rows() {
                row.owner = None;
                self.inner.commit(vec![Change::new(row)]).await?;
            }
        }
        self.inner.claim(request).await
    }

    async fn renew(&self, mut request: RenewRequest) -> Result<Vec<RowKey>, PortError> {
        if self.fault == JournalFault::RenewsForAnyone {
            return Ok(request.rows.drain(..).map(|(key, _)| key).collect());
        }
        self.inner.renew(request).await
    }

    async fn prune(&self, request: PruneRequest) -> Result<u64, PortError> {
        if self.fault == JournalFault::PrunesOpenRows {
            for mut row in self.inner.rows() {
                row.state = RowState::Failed;
                row.updated = intune_connector::time::Timestamp::from_secs(5);
                self.inner.commit(vec![Change::new(row)]).await?;
            }
        }
        self.inner.prune(request).await
    }

    async fn stats(&self) -> Result<JournalStats, PortError> {
        self.inner.stats().await
    }
}

#[test]
fn a_journal_that_ignores_versions_or_epochs_is_found() {
    let report = broken_journal(JournalFault::IgnoresVersions);
    for name in [
        "a commit of an older version is a conflict and changes nothing",
        "a new row does not replace one that is there",
        "of commits at the same time one wins",
    ] {
        assert!(matches!(report.result_of(name), Some(CheckResult::Failed(_))), "{report}");
    }
    assert_fails(&broken_journal(JournalFault::IgnoresEpochs), &["a commit by an older owner is a conflict"]);
}

/// These checks failed; others may have met what they left behind.
fn assert_found(fault: JournalFault, names: &[&str]) {
    let report = broken_journal(fault);
    for name in names {
        assert!(matches!(report.result_of(name), Some(CheckResult::Failed(_))), "{name}: {report}");
    }
}

#[test]
fn a_journal_that_breaks_leases_is_found() {
    assert_found(
        JournalFault::ClaimsWhatIsLeased,
        &[
            "a claimed row belongs to its owner until the lease ends",
            "an instance that has started anew takes its own rows, whatever their lease",
            "a change with a lease keeps the row from others until it ends",
            "of claims at the same time each row goes to one owner",
        ],
    );
    let report = broken_journal(JournalFault::RenewsForAnyone);
    assert_fails(&report, &["only its owner prolongs a lease", "a lease that was taken over is not prolonged"]);
}

#[test]
fn a_journal_that_claims_the_wrong_rows_is_found() {
    let routes = "rows with a route are claimed for that route alone, rows without one for any";
    assert_found(JournalFault::IgnoresRoutes, &[routes]);
    assert_found(JournalFault::ForgetsOwnRows, &["an instance that has started anew takes its own rows, whatever their lease"]);
    assert_found(JournalFault::ClaimsMoreThanAsked, &["a claim takes no more rows than asked for"]);
    assert_found(JournalFault::ClaimsInAnswersAlone, &["each claim raises version and epoch, in what it gives and in what is stored"]);
}

#[test]
fn a_journal_that_loses_content_is_found() {
    assert_fails(&broken_journal(JournalFault::ForgetsBlobs), &["a stored row is read back as it was"]);
    assert_fails(
        &broken_journal(JournalFault::PrunesOpenRows),
        &["only final rows are pruned", "parked rows are listed, and kept as long as asked for"],
    );
}

// ---- queues

fn filled() -> InMemoryQueue {
    let queue = InMemoryQueue::with_capabilities(QueueCapabilities::new(vec![Flow::Revoke]));
    for number in 0..3 {
        let meta = RequestMeta::new(format!("r{number}").parse().unwrap(), "contoso.example".parse().unwrap(), Flow::Revoke);
        queue.push(QueueItem::new(meta, Payload::Revoke(RevokeRequest::new("01"))));
    }
    queue
}

fn check_requests(queue: &dyn IntuneQueue) -> Report {
    let test = QueueUnderTest::new(queue, Flow::Revoke, "one".parse().unwrap(), "never given out".parse().unwrap());
    RUNTIME.block_on(check_queue(&test))
}

#[test]
fn the_in_memory_queue_passes() {
    assert_passes(&check_requests(&filled()), &["the lease of a received request can be prolonged"]);
}

#[test]
fn a_queue_with_too_few_requests_is_no_pass() {
    assert!(!check_requests(&InMemoryQueue::with_capabilities(QueueCapabilities::new(vec![Flow::Revoke]))).is_passed());
}

#[derive(Debug)]
struct BrokenQueue {
    inner: InMemoryQueue,
    fault: QueueFault,
    uploads: AtomicUsize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum QueueFault {
    GivesMoreThanAsked,
    AnswersOnce,
    RefusesRepeats,
    LeasesWithoutExtension,
}

fn broken_queue(fault: QueueFault) -> Report {
    check_requests(&BrokenQueue { inner: filled(), fault, uploads: AtomicUsize::new(0) })
}

#[async_trait]
impl IntuneQueue for BrokenQueue {
    fn capabilities(&self) -> QueueCapabilities {
        let mut capabilities = self.inner.capabilities();
        if self.fault == QueueFault::LeasesWithoutExtension {
            capabilities.lease = Some(core::time::Duration::from_secs(60));
        }
        capabilities
    }

    async fn receive(&self, mut request: ReceiveRequest) -> Result<Batch, PortError> {
        if self.fault == QueueFault::GivesMoreThanAsked {
            request.max += 1;
        }
        self.inner.receive(request).await
    }

    async fn complete(&self, request: CompleteRequest) -> Result<Vec<CompleteAnswer>, PortError> {
        let before = self.uploads.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.inner.complete(request).await?;
        match self.fault {
            QueueFault::AnswersOnce => answers.truncate(1),
            QueueFault::RefusesRepeats if before > 1 => answers.fill(CompleteAnswer::Refused("known".to_owned())),
            _ => {}
        }
        Ok(answers)
    }

    async fn extend_lease(&self, _: ExtendLeaseRequest) -> Result<(), PortError> {
        Err(PortError::unsupported("no"))
    }

    async fn report_health(&self, message: HealthMessage) -> Result<(), PortError> {
        self.inner.report_health(message).await
    }
}

#[test]
fn broken_queues_are_found() {
    let more = broken_queue(QueueFault::GivesMoreThanAsked);
    assert!(matches!(more.result_of("a batch holds no more than was asked for"), Some(CheckResult::Failed(_))), "{more}");
    assert_fails(&broken_queue(QueueFault::AnswersOnce), &["each result has its answer, in order, whatever the others are"]);
    assert_fails(&broken_queue(QueueFault::RefusesRepeats), &["a repeated result is accepted again"]);
    assert_fails(&broken_queue(QueueFault::LeasesWithoutExtension), &["the lease of a received request can be prolonged"]);
}

// ---- sinks

#[test]
fn the_recording_sink_passes_and_keeps_all() {
    let sink = RecordingSink::new();
    let read_back = || sink.events().into_iter().map(|event| event.key).collect::<Vec<EventKey>>();
    assert_passes(&RUNTIME.block_on(check_event_sink(&sink, Some(&read_back))), &[]);
    let unread = RUNTIME.block_on(check_event_sink(&RecordingSink::new(), None));
    assert_passes(&unread, &["what was emitted by one thread is kept in its order"]);
}

#[test]
fn a_sink_that_forgets_panics_or_changes_its_mind_is_found() {
    #[derive(Debug, Default)]
    struct Fickle {
        asked: AtomicUsize,
        kept: Mutex<Vec<EventKey>>,
    }
    impl EventSink for Fickle {
        fn enabled(&self, _: EventId) -> bool {
            self.asked.fetch_add(1, Ordering::SeqCst) % 2 == 1 || self.asked.load(Ordering::SeqCst) > 100
        }
        fn emit(&self, event: &Event) {
            assert!(event.message.len() < 1_000, "no room for so long a text");
            if event.key.delivery != 7 {
                self.kept.lock().unwrap().push(event.key.clone());
            }
        }
    }
    let sink = Fickle::default();
    let read_back = || sink.kept.lock().unwrap().clone();
    let report = RUNTIME.block_on(check_event_sink(&sink, Some(&read_back)));
    assert_fails(
        &report,
        &[
            "enabled gives the same answer each time",
            "long and empty texts are taken",
            "what was emitted by one thread is kept in its order",
        ],
    );
}

// ---- key stores

fn name() -> ImportKeyName {
    ImportKeyName { provider: "memory".to_owned(), key: "k".to_owned() }
}

fn fresh_key() -> Arc<dyn DecryptionKey> {
    let key = PROVIDER.key_generation().unwrap().generate(KeyAlgorithm::Rsa2048).unwrap();
    PROVIDER.decryption_keys().unwrap().load(&key).unwrap()
}

fn store(keys: Vec<Arc<dyn DecryptionKey>>) -> Report {
    let store = MemoryDecryptionKeys::new();
    keys.into_iter().for_each(|key| store.insert(name(), key));
    RUNTIME.block_on(check_decryption_keys(&store, &name(), &PROVIDER))
}

#[test]
fn keys_in_memory_pass() {
    assert_passes(&store(vec![fresh_key(), fresh_key()]), &[]);
}

#[test]
fn broken_keys_are_found() {
    /// Calls a bad ciphertext unavailable, which the connector would try for ever.
    #[derive(Debug)]
    struct NeverRejects(Arc<dyn DecryptionKey>);
    #[async_trait]
    impl DecryptionKey for NeverRejects {
        fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
            self.0.public_key()
        }
        async fn unwrap(&self, request: &UnwrapRequest) -> Result<SecretBytes, UnwrapError> {
            self.0.unwrap(request).await.map_err(|_| UnwrapError::Unavailable(None))
        }
    }
    /// Shows another key's public half.
    #[derive(Debug)]
    struct Mismatched(Arc<dyn DecryptionKey>, Arc<dyn DecryptionKey>);
    #[async_trait]
    impl DecryptionKey for Mismatched {
        fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
            self.1.public_key()
        }
        async fn unwrap(&self, request: &UnwrapRequest) -> Result<SecretBytes, UnwrapError> {
            self.0.unwrap(request).await
        }
    }
    let (one, two) = (fresh_key(), fresh_key());
    assert_fails(
        &store(vec![Arc::new(NeverRejects(one.clone()))]),
        &["a damaged ciphertext is rejected, not called unavailable", "a key agreement asked of an RSA key is called unsupported"],
    );
    assert_fails(
        &store(vec![Arc::new(Mismatched(one.clone(), two))]),
        &["each key decrypts what is encrypted to its public key", "a dropped call leaves the key usable"],
    );
    assert_fails(&store(vec![one.clone(), one]), &["no key is there twice"]);
    assert_fails(&store(vec![]), &["the named key is found"]);
}
