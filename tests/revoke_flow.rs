//! The revocation flow through the engine: every event in its order, and what is answered, left alone or tried again.
#![cfg(feature = "revoke")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use intune_connector::adapters::{InMemoryQueue, RecordingSink, StdRuntime, VolatileJournal};
use intune_connector::connector::{Connector, QueueSettings};
use intune_connector::crypto::CryptoProvider;
use intune_connector::event::EventId;
use intune_connector::ids::{RequestId, SerialNumber};
use intune_connector::ports::{
    CaCapabilities, CertificateAuthority, FindAnswer, FindRequest, IssueAnswer, IssueRequest, KnownCertificate, LookupAnswer,
    LookupRequest, Outcome, Payload, PortError, QueueItem, RequestMeta, RevocationError, RevokeAnswer, RevokeBy, RevokeCall, RevokeRequest,
    RevokeResult,
};
use intune_connector::revoke::{AlreadyRevoked, IssuerlessRequests, RevokeConfig, SerialSpelling};
use intune_connector::terms::{Flow, RevocationReason};
use rustls_pki_types::CertificateDer;

/// A CA that knows serial numbers and keeps a ledger of what it revoked.
#[derive(Debug)]
struct Ledger {
    issued: Vec<SerialNumber>,
    lookup: bool,
    by: RevokeBy,
    revoked: Mutex<Vec<(SerialNumber, RevocationReason, Option<String>)>>,
    errors: Mutex<VecDeque<PortError>>,
}

impl Ledger {
    fn with(serials: &[&str]) -> Arc<Self> {
        let issued = serials.iter().map(|serial| SerialNumber::from_hex(serial).unwrap()).collect();
        Arc::new(Self { issued, lookup: true, by: RevokeBy::Serial, revoked: Mutex::default(), errors: Mutex::default() })
    }

    fn fail(&self, error: PortError) {
        self.errors.lock().unwrap().push_back(error);
    }

    fn revoked(&self) -> Vec<String> {
        self.revoked.lock().unwrap().iter().map(|(serial, ..)| serial.to_string()).collect()
    }

    fn next_error(&self) -> Result<(), PortError> {
        self.errors.lock().unwrap().pop_front().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl CertificateAuthority for Ledger {
    fn capabilities(&self) -> CaCapabilities {
        let mut can = CaCapabilities::minimal();
        can.revoke_by = vec![self.by];
        can.lookup_by_serial = self.lookup;
        can
    }

    async fn issue(&self, _: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
        Err(PortError::unsupported("it only revokes"))
    }

    async fn find(&self, _: FindRequest<'_>) -> Result<FindAnswer, PortError> {
        Ok(FindAnswer::CannotTell)
    }

    async fn lookup(&self, request: LookupRequest<'_>) -> Result<LookupAnswer, PortError> {
        Ok(match (self.lookup, self.issued.contains(request.serial)) {
            (false, _) => LookupAnswer::CannotTell,
            (true, false) => LookupAnswer::Absent,
            (true, true) => LookupAnswer::Found(Box::new(KnownCertificate::new(None, Some(format!("id of {}", request.serial))))),
        })
    }

    async fn revoke(&self, call: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
        self.next_error()?;
        if !self.issued.contains(call.serial) {
            return Ok(RevokeAnswer::UnknownSerial);
        }
        let mut revoked = self.revoked.lock().unwrap();
        if revoked.iter().any(|(serial, ..)| serial == call.serial) {
            return Ok(RevokeAnswer::AlreadyRevoked);
        }
        revoked.push((call.serial.clone(), call.reason, call.ca_side_id.map(str::to_owned)));
        Ok(RevokeAnswer::Revoked)
    }

    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
        Err(PortError::unsupported("it only revokes"))
    }
}

/// One connector with the revocation flow.
struct Rig {
    queue: Arc<InMemoryQueue>,
    sink: Arc<RecordingSink>,
    runtime: Arc<StdRuntime>,
    connector: Connector,
}

impl Rig {
    fn new(cas: &[(&str, &Arc<Ledger>)], adjust: impl FnOnce(RevokeConfig) -> RevokeConfig) -> Self {
        let queue = Arc::new(InMemoryQueue::new());
        let sink = Arc::new(RecordingSink::new());
        let runtime = Arc::new(StdRuntime::new().unwrap());
        let mut all = cas.iter();
        let (name, first) = all.next().unwrap();
        let mut config = RevokeConfig::new(queue.clone(), name.parse().unwrap(), (*first).clone());
        for (name, ca) in all {
            config = config.with_ca(name.parse().unwrap(), (*ca).clone());
        }
        let settings = QueueSettings::new(queue.clone())
            .with_poll_interval(Duration::from_millis(1))
            .with_max_attempts(3)
            .with_backoff(Duration::from_millis(1), Duration::from_millis(2));
        let config = adjust(config.with_settings(settings));
        let connector = Connector::builder(CryptoProvider::ring_and_aws_lc_rs(), Arc::new(VolatileJournal::new()))
            .tenant("contoso.example".parse().unwrap())
            .instance("one".parse().unwrap())
            .sink(sink.clone())
            .runtime(runtime.clone())
            .revoke(config)
            .build()
            .unwrap();
        Self { queue, sink, runtime, connector }
    }

    fn push(&self, id: &str, serial: &str, issuer: Option<&str>) {
        let mut request = RevokeRequest::new(serial);
        request.issuer = issuer.map(str::to_owned);
        let meta = RequestMeta::new(id.parse().unwrap(), "contoso.example".parse().unwrap(), Flow::Revoke);
        self.queue.push(QueueItem::new(meta, Payload::Revoke(request)));
    }

    /// Runs until nothing is in hand and nothing waits.
    fn settle(&self) {
        self.runtime.block_on(async {
            for _ in 0..200 {
                let report = self.connector.run_once().await;
                if report.held == 0 && self.queue.waiting() == 0 {
                    return;
                }
                if let Some(due) = report.next_due {
                    use intune_connector::ports::Runtime as _;
                    self.runtime.sleep(due).await;
                }
            }
            panic!("work is left after 200 rounds");
        });
    }

    fn ids(&self, scope: &str) -> Vec<u16> {
        self.sink.events_of(scope).iter().map(|event| event.id.code()).collect()
    }

    fn all_ids(&self) -> Vec<u16> {
        self.sink.events().iter().map(|event| event.id.code()).collect()
    }

    fn result(&self, id: &str) -> Option<RevokeResult> {
        match self.queue.result_of(Flow::Revoke, &id.parse::<RequestId>().unwrap()) {
            Some(Outcome::Revoke(result)) => Some(result),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    fn error(&self, id: &str) -> Option<RevocationError> {
        self.result(id).expect("an answer").error
    }
}

fn unchanged(config: RevokeConfig) -> RevokeConfig {
    config
}

#[test]
fn a_revocation_raises_its_events_in_the_documented_order() {
    let ca = Ledger::with(&["0A1B"]);
    let rig = Rig::new(&[("Contoso CA", &ca)], unchanged);
    rig.push("r1", "0a:1b", Some("Contoso CA"));
    rig.settle();
    assert_eq!(rig.all_ids(), [3002, 3020, 3050, 3102, 3100, 3000]);
    assert_eq!(ca.revoked(), ["0A1B"]);
    assert_eq!(ca.revoked.lock().unwrap()[0].1, RevocationReason::CessationOfOperation, "the default, since Intune names none");
    assert_eq!(rig.result("r1"), Some(RevokeResult::succeeded(None)));
    let success = &rig.sink.events_of("r1").into_iter().find(|event| event.id == EventId::RevokeSuccess).unwrap();
    assert_eq!(success.ca.as_ref().map(|ca| ca.as_str()), Some("Contoso CA"));
}

#[test]
fn a_transient_error_raises_3052_and_is_tried_again() {
    let ca = Ledger::with(&["01"]);
    let rig = Rig::new(&[("Contoso CA", &ca)], unchanged);
    ca.fail(PortError::transient("connection reset"));
    rig.push("r1", "01", Some("Contoso CA"));
    rig.settle();
    assert_eq!(rig.ids("r1"), [3020, 3052, 3050, 3102, 3000]);
    assert_eq!(rig.error("r1"), None);
}

#[test]
fn after_the_last_attempt_3051_is_raised_and_intune_may_offer_the_request_again() {
    let ca = Ledger::with(&["01"]);
    let rig = Rig::new(&[("Contoso CA", &ca)], unchanged);
    for _ in 0..3 {
        ca.fail(PortError::transient("connection reset"));
    }
    rig.push("r1", "01", Some("Contoso CA"));
    rig.settle();
    assert_eq!(rig.ids("r1"), [3020, 3052, 3052, 3051, 3102, 3001]);
    assert_eq!(rig.error("r1"), Some(RevocationError::ServiceUnavailableException));

    // Offered again, it is worked on anew, and the revocation is not lost.
    rig.push("r1", "01", Some("Contoso CA"));
    rig.settle();
    assert_eq!(ca.revoked(), ["01"]);
    assert_eq!(rig.error("r1"), None);
    assert_eq!(rig.ids("r1")[6..], [3020, 3050, 3102, 3000]);

    // Now it is finished: a repeat is answered and not worked on.
    rig.push("r1", "01", Some("Contoso CA"));
    rig.settle();
    assert_eq!(rig.ids("r1")[10..], [EventId::RequestRepeated.code()]);
}

#[test]
fn a_final_error_of_the_ca_is_not_tried_again() {
    let ca = Ledger::with(&["01"]);
    let rig = Rig::new(&[("Contoso CA", &ca)], unchanged);
    ca.fail(PortError::rejected("not by this account"));
    rig.push("r1", "01", Some("Contoso CA"));
    rig.settle();
    assert_eq!(rig.ids("r1"), [3020, 3051, 3102, 3001]);
    assert_eq!(rig.error("r1"), Some(RevocationError::NonRetryableServiceException));
}

#[test]
fn failed_polls_and_uploads_raise_3003_and_3101() {
    let ca = Ledger::with(&["01"]);
    let rig = Rig::new(&[("Contoso CA", &ca)], unchanged);
    rig.queue.fail_next_receive(PortError::transient("no route"));
    rig.queue.fail_next_complete(PortError::transient("no route"));
    rig.push("r1", "01", Some("Contoso CA"));
    rig.settle();
    assert_eq!(rig.all_ids(), [3003, 3002, 3020, 3050, 3101, 3102, 3100, 3000]);
}

#[test]
fn the_ca_named_symantec_routes_to_digicert() {
    let ca = Ledger::with(&["01"]);
    let rig = Rig::new(&[("Symantec", &ca)], unchanged);
    rig.push("r1", "01", Some("Symantec"));
    rig.settle();
    assert_eq!(rig.ids("r1"), [3020, 3032, 3050, 3102, 3000]);

    // Found by a search, it is known only later.
    let (other, digicert) = (Ledger::with(&[]), Ledger::with(&["02"]));
    let rig = Rig::new(&[("Contoso CA", &other), ("Symantec", &digicert)], unchanged);
    rig.push("r2", "02", None);
    rig.settle();
    assert_eq!(rig.ids("r2"), [3020, 3032, 3050, 3102, 3000]);
}

#[test]
fn already_revoked_is_success_with_a_note_or_a_conflict_by_choice() {
    let ca = Ledger::with(&["01"]);
    let rig = Rig::new(&[("Contoso CA", &ca)], unchanged);
    rig.push("r1", "01", Some("Contoso CA"));
    rig.push("r2", "1", Some("Contoso CA"));
    rig.settle();
    let noted: Vec<_> = ["r1", "r2"].map(|id| rig.result(id).unwrap()).into_iter().filter(|result| result.note.is_some()).collect();
    assert_eq!(noted.len(), 1, "one of the two came second");
    assert_eq!(noted[0].error, None);
    assert_eq!(noted[0].message, None, "nothing is uploaded beside a success");
    assert_eq!(ca.revoked().len(), 1);

    let rig = Rig::new(&[("Contoso CA", &ca)], |config| config.with_already_revoked(AlreadyRevoked::ReportConflict));
    rig.push("r3", "01", Some("Contoso CA"));
    rig.settle();
    assert_eq!(rig.error("r3"), Some(RevocationError::ConflictError));
    assert_eq!(rig.ids("r3"), [3020, 3051, 3102, 3001]);
}

#[test]
fn an_unknown_serial_is_final_with_its_own_code() {
    let ca = Ledger::with(&["01"]);
    let rig = Rig::new(&[("Contoso CA", &ca)], unchanged);
    rig.push("r1", "02", Some("Contoso CA"));
    rig.settle();
    assert_eq!(rig.error("r1"), Some(RevocationError::CertificateNotFoundError));
    assert_eq!(rig.ids("r1"), [3020, 3051, 3102, 3001]);
}

#[test]
fn requests_of_other_issuers_are_left_alone_and_reported() {
    let ca = Ledger::with(&["01"]);
    let rig = Rig::new(&[("Contoso CA", &ca)], |config| config.with_issuerless_requests(IssuerlessRequests::AreOurs));
    rig.push("r1", "01", Some("Fabrikam CA"));
    rig.settle();
    assert_eq!(rig.result("r1"), None, "an answer would cancel the other CA's revocation");
    assert!(ca.revoked().is_empty());
    assert!(rig.ids("r1").contains(&EventId::RequestLeftToOthers.code()));
    assert!(rig.sink.admin_events().is_empty());
}

#[test]
fn without_issuer_only_exactly_one_hit_is_acted_on() {
    let (a, b) = (Ledger::with(&["01", "03"]), Ledger::with(&["02", "03"]));
    let rig = Rig::new(&[("A", &a), ("B", &b)], unchanged);
    rig.push("one", "02", None);
    rig.push("two", "03", None);
    rig.push("none", "04", Some(""));
    rig.settle();
    assert_eq!((a.revoked(), b.revoked()), (vec![], vec!["02".to_owned()]));
    assert_eq!(rig.error("one"), None);
    assert_eq!(rig.error("two"), Some(RevocationError::ConflictError));
    assert_eq!(rig.result("none"), None);
    assert_eq!(rig.ids("none").last(), Some(&EventId::RequestLeftToOthers.code()));

    let rig = Rig::new(&[("A", &a), ("B", &b)], |config| config.with_issuerless_requests(IssuerlessRequests::AreOurs));
    rig.push("none", "04", None);
    rig.settle();
    assert_eq!(rig.error("none"), Some(RevocationError::CertificateNotFoundError));
}

#[test]
fn a_request_that_may_be_anothers_gets_no_final_answer_when_the_ca_refuses() {
    let ca = Ledger::with(&["01"]);
    let rig = Rig::new(&[("Contoso CA", &ca)], unchanged);
    ca.fail(PortError::rejected("not by this account"));
    rig.push("r1", "01", None);
    rig.settle();
    assert_eq!(rig.result("r1"), None, "a final answer would end another CA's revocation");
    assert_eq!(rig.ids("r1").last(), Some(&EventId::RequestLeftToOthers.code()));

    // Where all such requests are ours, it is final.
    let rig = Rig::new(&[("Contoso CA", &ca)], |config| config.with_issuerless_requests(IssuerlessRequests::AreOurs));
    ca.fail(PortError::rejected("not by this account"));
    rig.push("r1", "01", None);
    rig.settle();
    assert_eq!(rig.error("r1"), Some(RevocationError::NonRetryableServiceException));

    // A passing fault asks for another offer, which ends nobody's revocation.
    let rig = Rig::new(&[("Contoso CA", &ca)], unchanged);
    (0..3).for_each(|_| ca.fail(PortError::transient("connection reset")));
    rig.push("r1", "01", None);
    rig.settle();
    assert!(rig.error("r1").is_some_and(RevocationError::is_retryable));
}

#[test]
fn the_reason_is_the_requests_own_or_the_configured_one() {
    let ca = Ledger::with(&["01", "02"]);
    let rig = Rig::new(&[("Contoso CA", &ca)], |config| config.with_default_reason(RevocationReason::Superseded));
    rig.push("r1", "01", Some("Contoso CA"));
    let mut request = RevokeRequest::new("02");
    request.issuer = Some("Contoso CA".to_owned());
    request.reason = Some(RevocationReason::KeyCompromise);
    let meta = RequestMeta::new("r2".parse().unwrap(), "contoso.example".parse().unwrap(), Flow::Revoke);
    rig.queue.push(QueueItem::new(meta, Payload::Revoke(request)));
    rig.settle();
    let mut reasons: Vec<_> = ca.revoked.lock().unwrap().iter().map(|(serial, reason, _)| (serial.to_string(), *reason)).collect();
    reasons.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(reasons, [("01".to_owned(), RevocationReason::Superseded), ("02".to_owned(), RevocationReason::KeyCompromise)]);
}

#[test]
fn serial_numbers_are_read_in_every_spelling() {
    let spellings = ["0A1B2C", "a1b2c", "0x0a1b2c", "0a:1b:2c", "0A 1B 2C", "00000A1B2C"];
    for (number, spelling) in spellings.into_iter().enumerate() {
        let ca = Ledger::with(&["0A1B2C"]);
        let rig = Rig::new(&[("Contoso CA", &ca)], unchanged);
        rig.push(&format!("r{number}"), spelling, Some("Contoso CA"));
        rig.settle();
        assert_eq!(ca.revoked(), ["0A1B2C"], "{spelling}");
    }
    let ca = Ledger::with(&["0A1B2C"]);
    let rig = Rig::new(&[("Contoso CA", &ca)], |config| config.with_serial_spelling(SerialSpelling::Decimal));
    rig.push("decimal", "662316", Some("Contoso CA"));
    rig.push("wrong", "12ab", Some("Contoso CA"));
    rig.settle();
    assert_eq!(ca.revoked(), ["0A1B2C"]);
    assert_eq!(rig.error("wrong"), Some(RevocationError::ParameterDataInvalidError));
    assert_eq!(rig.ids("wrong"), [3020, 3051, 3102, 3001]);
}

#[test]
fn a_ca_that_revokes_by_its_own_id_is_given_that_id() {
    let ca = Arc::new(Ledger { by: RevokeBy::CaSideId, ..Arc::into_inner(Ledger::with(&["01"])).unwrap() });
    let rig = Rig::new(&[("Contoso CA", &ca)], unchanged);
    rig.push("r1", "01", Some("Contoso CA"));
    rig.push("r2", "02", Some("Contoso CA"));
    rig.settle();
    assert_eq!(ca.revoked.lock().unwrap()[0].2.as_deref(), Some("id of 01"));
    assert_eq!(rig.error("r2"), Some(RevocationError::CertificateNotFoundError));
}

#[test]
fn an_alias_names_the_same_ca() {
    let ca = Ledger::with(&["01"]);
    let rig =
        Rig::new(&[("Contoso CA", &ca)], |config| config.with_issuer_alias(&"Contoso CA".parse().unwrap(), "CN=Contoso CA, O=Contoso"));
    rig.push("r1", "01", Some("CN=Contoso CA, O=Contoso"));
    rig.settle();
    assert_eq!(ca.revoked(), ["01"]);
}

#[test]
fn a_ca_that_cannot_revoke_is_found_by_build() {
    #[derive(Debug)]
    struct Mute;
    #[async_trait]
    impl CertificateAuthority for Mute {
        fn capabilities(&self) -> CaCapabilities {
            CaCapabilities::minimal()
        }
        async fn issue(&self, _: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
            Err(PortError::unsupported("no"))
        }
        async fn find(&self, _: FindRequest<'_>) -> Result<FindAnswer, PortError> {
            Ok(FindAnswer::CannotTell)
        }
        async fn revoke(&self, _: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
            Err(PortError::unsupported("no"))
        }
        async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
            Err(PortError::unsupported("no"))
        }
    }
    let queue = Arc::new(InMemoryQueue::new());
    let error = Connector::builder(CryptoProvider::ring_and_aws_lc_rs(), Arc::new(VolatileJournal::new()))
        .tenant("contoso.example".parse().unwrap())
        .instance("one".parse().unwrap())
        .sink(Arc::new(RecordingSink::new()))
        .runtime(Arc::new(StdRuntime::new().unwrap()))
        .revoke(RevokeConfig::new(queue, "Contoso CA".parse().unwrap(), Arc::new(Mute)))
        .build()
        .unwrap_err();
    let findings = error.findings();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].setting, "revoke.ca.Contoso CA");
}

#[test]
fn a_lost_answer_to_an_upload_revokes_nothing_twice() {
    let ca = Ledger::with(&["01"]);
    let rig = Rig::new(&[("Contoso CA", &ca)], unchanged);
    rig.queue.lose_next_complete_answers(2);
    rig.push("r1", "01", Some("Contoso CA"));
    rig.settle();
    assert_eq!(ca.revoked().len(), 1);
    assert_eq!(rig.queue.uploads().len(), 3, "sent three times");
    assert!(rig.queue.changed_results().is_empty(), "and the same each time");
    assert_eq!(rig.sink.admin_events().len(), 1);
}
