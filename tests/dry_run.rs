//! The dry run: what would be done is said, and nothing is done.

#![cfg(all(feature = "pkcs", feature = "import", feature = "revoke", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/pki.rs"]
mod pki;
#[path = "support/scripted_ca.rs"]
mod scripted_ca;
#[path = "support/tenant.rs"]
mod tenant;

use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;
use intune_connector::adapters::{InMemoryQueue, StdRuntime, VirtualRuntime};
use intune_connector::dry_run::{DryRun, DryRunReport, RequestReport, Verdict, judge_csr};
use intune_connector::import::ImportConfig;
use intune_connector::limits::Limits;
use intune_connector::message::csr::CsrBuilder;
use intune_connector::message::name::Name;
use intune_connector::pkcs::PkcsConfig;
use intune_connector::policy::{IssuancePolicy, RecipientPolicy, ScepApproval};
use intune_connector::ports::{
    Batch, CaCapabilities, CertificateAuthority, CompleteAnswer, CompleteRequest, ExtendLeaseRequest, FindAnswer, FindRequest,
    HealthMessage, IntuneQueue, IssueAnswer, IssueRequest, KnownCertificate, LookupAnswer, LookupRequest, Payload, PkcsRequest, PortError,
    QueueCapabilities, QueueItem, ReceiveRequest, RevokeAnswer, RevokeBy, RevokeCall, RevokeRequest, SignNextCaRequest, StatusRequest,
    Vouched,
};
use intune_connector::recrypt::{RecryptConfig, RecryptKey};
use intune_connector::retry::ErrorClass;
use intune_connector::revoke::RevokeConfig;
use intune_connector::secret::Password;
use intune_connector::terms::{Flow, KeyAlgorithm, PaddingScheme, RevocationReason, SubjectAltName, oids};
use intune_connector::time::Timestamp;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use tenant::{FaultyKeys, IMPORT_PASSWORD, KEYS, import, import_request, meta, oid, pkcs_request, recrypt, revoke};

/// A CA that nobody may ask for anything; `issued` are the serial numbers that a look-up finds, where look-ups are allowed.
#[derive(Debug)]
struct ForbiddenCa {
    by: RevokeBy,
    lookups: Option<&'static [&'static str]>,
}

#[async_trait]
impl CertificateAuthority for ForbiddenCa {
    fn capabilities(&self) -> CaCapabilities {
        let mut can = CaCapabilities::minimal();
        can.revoke_by = vec![self.by];
        can.lookup_by_serial = true;
        can.find = true;
        can.idempotent_issue = true;
        can.pending = true;
        can.sid_extension = true;
        can
    }
    async fn issue(&self, _: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
        std::process::abort()
    }
    async fn status(&self, _: StatusRequest<'_>) -> Result<IssueAnswer, PortError> {
        std::process::abort()
    }
    async fn find(&self, _: FindRequest<'_>) -> Result<FindAnswer, PortError> {
        std::process::abort()
    }
    async fn lookup(&self, request: LookupRequest<'_>) -> Result<LookupAnswer, PortError> {
        let Some(issued) = self.lookups else { std::process::abort() };
        let known = issued.contains(&request.serial.to_string().as_str());
        Ok(if known { LookupAnswer::Found(Box::new(KnownCertificate::new(None, None))) } else { LookupAnswer::Absent })
    }
    async fn revoke(&self, _: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
        std::process::abort()
    }
    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
        std::process::abort()
    }
    async fn crl(&self) -> Result<CertificateRevocationListDer<'static>, PortError> {
        std::process::abort()
    }
    async fn sign_next_ca(&self, _: SignNextCaRequest<'_>) -> Result<Vec<u8>, PortError> {
        std::process::abort()
    }
}

/// A queue that nobody may call.
#[derive(Debug)]
struct ForbiddenQueue;

#[async_trait]
impl IntuneQueue for ForbiddenQueue {
    fn capabilities(&self) -> QueueCapabilities {
        std::process::abort()
    }
    async fn receive(&self, _: ReceiveRequest) -> Result<Batch, PortError> {
        std::process::abort()
    }
    async fn complete(&self, _: CompleteRequest) -> Result<Vec<CompleteAnswer>, PortError> {
        std::process::abort()
    }
    async fn extend_lease(&self, _: ExtendLeaseRequest) -> Result<(), PortError> {
        std::process::abort()
    }
    async fn report_health(&self, _: HealthMessage) -> Result<(), PortError> {
        std::process::abort()
    }
}

struct World {
    queue: Arc<dyn IntuneQueue>,
    ca: Arc<ForbiddenCa>,
    keys: Arc<FaultyKeys>,
    lookups: bool,
}

impl World {
    fn new() -> Self {
        let ca = Arc::new(ForbiddenCa { by: RevokeBy::Serial, lookups: None });
        Self { queue: Arc::new(ForbiddenQueue), ca, keys: Arc::default(), lookups: false }
    }

    /// All flows, as a connector would be built of them.
    fn run(&self, items: Vec<QueueItem>) -> DryRunReport {
        let runtime = VirtualRuntime::new(Timestamp::system_now());
        let issuance = IssuancePolicy::deny_all()
            .allow_upn_suffix("contoso.com")
            .allow_sid_domain("S-1-5-21-1-2-3".parse().unwrap())
            .allow_extended_key_usage(oid(oids::CLIENT_AUTH));
        let recipients = || RecipientPolicy::new().trust_root(KEYS.root.certificate.clone());
        let (queue, ca) = (|| self.queue.clone(), || self.ca.clone());
        let key = KEYS.provider.decryption_keys().unwrap().load(&KEYS.service.key).unwrap();
        let mut dry =
            DryRun::new(KEYS.provider.clone(), "contoso.com".parse().unwrap(), "connector-1".parse().unwrap(), Arc::new(runtime.clone()))
                .flow(PkcsConfig::new(queue(), "ca".parse().unwrap(), ca(), issuance, recipients()))
                .flow(RecryptConfig::new(queue(), RecryptKey::new(KEYS.service.certificate.clone(), key), recipients()))
                .flow(ImportConfig::new(queue(), self.keys.clone(), recipients()))
                .flow(RevokeConfig::new(queue(), "ca".parse().unwrap(), ca()).with_ca("other".parse().unwrap(), ca()));
        if self.lookups {
            dry = dry.allow_lookups();
        }
        runtime.block_on(dry.run(items)).unwrap()
    }

    fn judge(&self, flow: Flow, payload: Payload) -> Verdict {
        let report = self.run(vec![QueueItem::new(meta(flow, "r1"), payload)]);
        assert_eq!(report.configuration, []);
        report.requests.into_iter().next().unwrap().verdict
    }
}

fn judge(flow: Flow, payload: Payload) -> Verdict {
    World::new().judge(flow, payload)
}

fn pkcs_with(edit: impl FnOnce(&mut PkcsRequest)) -> Payload {
    let mut request = pkcs_request("ca");
    edit(&mut request);
    Payload::Pkcs(Box::new(request))
}

fn refused(verdict: Verdict) -> (String, String) {
    match verdict {
        Verdict::RefusedByPolicy { rule, reason } => (rule, reason),
        other => panic!("{other:?}"),
    }
}

fn failed(verdict: Verdict) -> (ErrorClass, Option<String>, String) {
    match verdict {
        Verdict::WouldFail { class, code, reason } => (class, code, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_permitted_request_would_be_issued_and_the_ca_is_not_asked() {
    let Verdict::WouldIssue(would) = judge(Flow::Pkcs, pkcs_with(|request| request.template = None)) else { panic!() };
    assert_eq!((would.ca.as_str(), would.subject.as_str(), would.key), ("ca", "CN=jane", KeyAlgorithm::EcP256));
    assert_eq!(would.subject_alt_names, [SubjectAltName::Upn("jane@contoso.com".into())]);
    assert_eq!(would.extended_key_usage, [oid(oids::CLIENT_AUTH)]);
    assert_eq!(would.sid_extension, Some("S-1-5-21-1-2-3-1013".parse().unwrap()));
    assert!(would.key_usage.digital_signature && !would.key_usage.key_cert_sign);
    let days = would.not_after.since(Timestamp::system_now()).as_secs() / 86_400;
    assert!((363..=365).contains(&days), "{days}");
    assert_eq!(would.recipient.unwrap().subject, "CN=dev-1");
}

#[test]
fn a_refusal_of_a_policy_names_its_rule_and_its_sentence() {
    let upn = pkcs_with(|request| request.subject_alt_names = vec![SubjectAltName::Upn("admin@fabrikam.example".into())]);
    let (rule, reason) = refused(judge(Flow::Pkcs, upn));
    assert_eq!(rule, "upn-suffix");
    assert!(reason.contains("refused by policy rule `upn-suffix`"), "{reason}");
    let (rule, _) = refused(judge(Flow::Pkcs, pkcs_with(|request| request.template = Some("Administrator".parse().unwrap()))));
    assert_eq!(rule, "template");
    let (rule, _) = refused(judge(Flow::Pkcs, pkcs_with(|request| request.recipient = KEYS.root.certificate.clone())));
    assert!(rule.starts_with("recipient-"), "{rule}");
    let mut legacy = import_request(IMPORT_PASSWORD);
    legacy.padding = PaddingScheme::Pkcs1;
    let (rule, reason) = refused(judge(Flow::PkcsImport, Payload::Import(Box::new(legacy))));
    assert_eq!(rule, "padding-scheme");
    assert!(reason.contains("dangerous_accept_pkcs1_passwords"), "{reason}");
}

#[test]
fn what_is_re_encrypted_would_be_uploaded_for_its_recipient_and_is_dropped() {
    for (flow, payload) in [(Flow::PkcsRecrypt, recrypt()), (Flow::PkcsImport, import(IMPORT_PASSWORD))] {
        let Verdict::WouldUpload { recipient, bytes } = judge(flow, payload) else { panic!("{flow}") };
        assert_eq!(recipient.unwrap().subject, "CN=dev-1");
        assert!(bytes > 256, "{bytes}");
    }
}

#[test]
fn a_request_that_would_fail_names_class_and_code() {
    let (class, code, _) = failed(judge(Flow::PkcsImport, import("wrong")));
    assert_eq!((class, code.as_deref()), (ErrorClass::Request, Some("password-rejected")));
    let (class, _, reason) = failed(judge(Flow::Pkcs, pkcs_with(|request| request.ca = "unknown".parse().unwrap())));
    assert_eq!(class, ErrorClass::Configuration);
    assert!(reason.contains("\"unknown\", which is not configured"), "{reason}");
    let (_, code, _) = failed(judge(Flow::Revoke, revoke("not a number", "ca")));
    assert_eq!(code.as_deref(), Some("4002"));
}

#[test]
fn a_key_store_that_is_away_means_that_the_connector_would_try_again() {
    let world = World::new();
    for _ in 0..3 {
        world.keys.errors.lock().unwrap().push_back(PortError::transient("the HSM is away"));
    }
    let Verdict::WouldTryAgain { reason } = world.judge(Flow::PkcsImport, import(IMPORT_PASSWORD)) else { panic!() };
    assert_eq!(reason, "the HSM is away");
    // One failure passes.
    world.keys.errors.lock().unwrap().push_back(PortError::transient("the HSM is away"));
    assert!(matches!(world.judge(Flow::PkcsImport, import(IMPORT_PASSWORD)), Verdict::WouldUpload { .. }));
}

#[test]
fn a_panic_is_contained_and_other_requests_are_judged() {
    let world = World::new();
    *world.keys.panic.lock().unwrap() = Some("planted".to_owned());
    let items = vec![
        QueueItem::new(meta(Flow::PkcsImport, "r1"), import(IMPORT_PASSWORD)),
        QueueItem::new(meta(Flow::PkcsRecrypt, "r2"), recrypt()),
    ];
    let report = world.run(items);
    let (class, _, reason) = failed(report.requests[0].verdict.clone());
    assert_eq!(class, ErrorClass::Internal);
    assert!(!reason.contains("planted"));
    assert_eq!(report.count("would-upload"), 1);
}

#[test]
fn a_revocation_of_an_own_ca_would_be_done_and_one_of_another_is_left_to_others() {
    let Verdict::WouldRevoke { ca, serial, reason } = judge(Flow::Revoke, revoke("0x1A", "ca")) else { panic!() };
    assert_eq!((ca.as_str(), serial.to_string().as_str(), reason), ("ca", "1A", RevocationReason::CessationOfOperation));
    let Verdict::LeftToOthers { reason } = judge(Flow::Revoke, revoke("1A", "Fabrikam CA")) else { panic!() };
    assert!(reason.contains("none of the connector's CAs"), "{reason}");
}

#[test]
fn a_revocation_without_issuer_is_undecided_until_look_ups_are_allowed() {
    let issuerless = || Payload::Revoke(RevokeRequest::new("1A"));
    let Verdict::Undecided { reason } = judge(Flow::Revoke, issuerless()) else { panic!() };
    assert!(reason.contains("allow_lookups") && reason.contains("1A"), "{reason}");
    let with = |by, issued| World { ca: Arc::new(ForbiddenCa { by, lookups: Some(issued) }), lookups: true, ..World::new() };
    // Both CAs are the same one here, so a hit is ambiguous, and none is nobody's.
    let (_, code, reason) = failed(with(RevokeBy::Serial, &["1A"]).judge(Flow::Revoke, issuerless()));
    assert_eq!(code.as_deref(), Some("4005"), "{reason}");
    assert!(matches!(with(RevokeBy::Serial, &[]).judge(Flow::Revoke, issuerless()), Verdict::LeftToOthers { .. }));
    // A CA that wants the certificate is asked for it before.
    let by_certificate = || revoke("1A", "ca");
    assert!(matches!(with(RevokeBy::Certificate, &["1A"]).judge(Flow::Revoke, by_certificate()), Verdict::WouldRevoke { .. }));
    let unasked = World { ca: Arc::new(ForbiddenCa { by: RevokeBy::Certificate, lookups: None }), ..World::new() };
    assert!(matches!(unasked.judge(Flow::Revoke, by_certificate()), Verdict::Undecided { .. }));
}

#[test]
fn what_the_engine_sorts_out_is_sorted_out_here() {
    let item = |id, payload| QueueItem::new(meta(Flow::Revoke, id), payload);
    let mut foreign = item("r3", revoke("1A", "ca"));
    foreign.meta.tenant = "fabrikam.example".parse().unwrap();
    let mut late = item("r4", revoke("1A", "ca"));
    late.meta.deadline = Some(Timestamp::from_secs(1));
    let mut unconfigured = item("r5", revoke("1A", "ca"));
    unconfigured.meta.flow = Flow::Scep;
    let items = vec![
        item("r1", Payload::Malformed("no\u{7}serial".into())),
        item("r2", Payload::Unknown("escrow".into())),
        foreign,
        late,
        unconfigured,
        item("r4", revoke("1A", "ca")),
        item("r4", revoke("2B", "ca")),
        item("r6", recrypt()),
    ];
    let report = World::new().run(items);
    let verdicts: Vec<&str> = report.requests.iter().map(|request| request.verdict.as_str()).collect();
    let left = "left-to-others";
    assert_eq!(verdicts, ["malformed", left, left, "would-revoke", left, "repeated", "repeated", left]);
    assert_eq!(report.requests[0].verdict, Verdict::Malformed { reason: "no\u{fffd}serial".into() });
    assert_eq!(report.requests[3].notes, ["its deadline has passed: the connector would give it up"]);
    assert_eq!(report.requests[5].verdict, Verdict::Repeated { same: true });
    assert_eq!(report.requests[6].verdict, Verdict::Repeated { same: false });
    assert_eq!((report.count(left), report.count("would-issue")), (4, 0));
}

#[test]
fn whatever_is_requested_and_however_the_ca_revokes_it_is_asked_for_nothing_but_look_ups() {
    let issuerless = || Payload::Revoke(RevokeRequest::new("1A"));
    for by in [RevokeBy::Serial, RevokeBy::Certificate, RevokeBy::CaSideId] {
        for lookups in [None, Some(&["1A"][..]), Some(&[][..])] {
            let world = World { ca: Arc::new(ForbiddenCa { by, lookups }), lookups: lookups.is_some(), ..World::new() };
            let payloads = [
                (Flow::Pkcs, tenant::pkcs("ca")),
                (Flow::Pkcs, tenant::pkcs("other")),
                (Flow::Pkcs, pkcs_with(|request| request.key = KeyAlgorithm::EcP384)),
                (Flow::PkcsRecrypt, recrypt()),
                (Flow::PkcsImport, import(IMPORT_PASSWORD)),
                (Flow::Revoke, revoke("1A", "ca")),
                (Flow::Revoke, revoke("1A", "other")),
                (Flow::Revoke, revoke("no number", "ca")),
                (Flow::Revoke, issuerless()),
            ];
            let numbered = payloads.into_iter().enumerate();
            let items: Vec<_> = numbered.map(|(at, (flow, payload))| QueueItem::new(meta(flow, &format!("r{at}")), payload)).collect();
            let report = world.run(items);
            // The CA and the queue end the process when they are called.
            assert_eq!((report.requests.len(), report.count("would-upload")), (9, 2), "{report}");
            assert!(report.count("would-issue") >= 1, "{report}");
        }
    }
}

#[test]
fn a_live_queue_is_never_downloaded_from_and_gets_no_result() {
    let queue = Arc::new(InMemoryQueue::new());
    queue.push(QueueItem::new(meta(Flow::Pkcs, "live"), tenant::pkcs("ca")));
    let world = World { queue: queue.clone(), ..World::new() };
    assert!(matches!(world.judge(Flow::Pkcs, tenant::pkcs("ca")), Verdict::WouldIssue(_)));
    assert_eq!((queue.receives(), queue.waiting(), queue.uploads().len()), (0, 1, 0));
}

#[test]
fn mistakes_in_the_configuration_are_reported_and_requests_are_judged_all_the_same() {
    let runtime = Arc::new(StdRuntime::with_threads(1, 64).unwrap());
    let ca = Arc::new(ForbiddenCa { by: RevokeBy::Serial, lookups: None });
    let config = PkcsConfig::new(
        Arc::new(ForbiddenQueue),
        "ca".parse().unwrap(),
        ca,
        IssuancePolicy::dangerous_allow_any_identity(),
        RecipientPolicy::new(),
    );
    let dry = DryRun::new(KEYS.provider.clone(), "contoso.com".parse().unwrap(), "i1".parse().unwrap(), runtime.clone()).flow(config);
    let report = runtime.block_on(dry.run(vec![QueueItem::new(meta(Flow::Pkcs, "r1"), tenant::pkcs("ca"))]));
    assert_eq!(report.configuration[0].setting, "pkcs.recipients");
    assert_eq!(refused(report.requests[0].verdict.clone()).0, "recipient-trust");
    assert!(report.to_string().contains("The connector would not start: pkcs.recipients"), "{report}");
}

#[test]
fn table_and_json_say_the_same_and_hold_no_secret() {
    let items = vec![
        QueueItem::new(meta(Flow::Pkcs, "issue-1"), tenant::pkcs("ca")),
        QueueItem::new(meta(Flow::PkcsImport, "import-1"), import(IMPORT_PASSWORD)),
        QueueItem::new(meta(Flow::PkcsRecrypt, "recrypt-1"), recrypt()),
        QueueItem::new(meta(Flow::Revoke, "revoke-1"), revoke("1A", "ca")),
    ];
    let report = World::new().run(items);
    let (table, json) = (report.to_string(), serde_json::to_value(&report).unwrap());
    for (at, request) in report.requests.iter().enumerate() {
        assert!(table.lines().any(|line| line.starts_with(&request.id) && line.contains(request.verdict.as_str())), "{table}");
        assert_eq!(json["requests"][at]["verdict"], request.verdict.as_str());
        assert_eq!(json["requests"][at]["device"], "dev-1");
    }
    assert_eq!(json["requests"][0]["subject"], "CN=jane");
    assert_eq!(json["requests"][3]["serial"], "1A");
    assert_eq!(json["counts"]["would-upload"], 2);
    assert!(table.ends_with("1 would-issue, 1 would-revoke, 2 would-upload"), "{table}");
    for shown in [table, json.to_string(), format!("{report:?}")] {
        assert!(!shown.contains(IMPORT_PASSWORD) && !shown.contains("Recrypt-Content-Marker"), "{shown}");
    }
}

fn csr(subject: &str, upn: &str) -> Vec<u8> {
    let (_, signer) = pki::new_key(&KEYS.provider, KeyAlgorithm::EcP256);
    let algorithm = pki::algorithm_of(&*signer);
    let to_be_signed = CsrBuilder::new(Name::parse_cert_str(subject).unwrap(), &signer.public_key())
        .subject_alt_names(&[SubjectAltName::Upn(upn.into())])
        .extended_key_usage(&[oid(oids::CLIENT_AUTH)])
        .challenge_password(&Password::from("Challenge-Marker-9"))
        .to_be_signed(algorithm)
        .unwrap();
    let signature = intune_connector::crypto::sign_now(&*signer, algorithm, to_be_signed.message()).unwrap();
    to_be_signed.finish(&signature)
}

#[test]
fn a_csr_is_held_against_the_policy_without_a_validator_and_its_challenge_is_not_shown() {
    let vouched = Vouched::default();
    let approval = ScepApproval::new("ca".parse().unwrap(), Duration::from_secs(86_400 * 365), &vouched);
    let policy = IssuancePolicy::deny_all().allow_upn_suffix("contoso.com").allow_extended_key_usage(oid(oids::CLIENT_AUTH));
    let say = |csr: &[u8]| judge_csr(&KEYS.provider, &policy, csr, &approval, &Limits::default(), Timestamp::system_now());
    let good = say(&csr("CN=jane", "jane@contoso.com"));
    let Verdict::WouldIssue(would) = &good else { panic!("{good:?}") };
    assert_eq!((would.subject.as_str(), would.recipient.as_ref()), ("CN=jane", None));
    let (rule, _) = refused(say(&csr("CN=jane", "jane@fabrikam.example")));
    assert_eq!(rule, "upn-suffix");
    assert!(matches!(say(b"no CSR"), Verdict::Malformed { .. }));
    let mut report = DryRunReport::new("contoso.com".parse().unwrap(), Timestamp::system_now());
    report.push(RequestReport::new("csr-1", Flow::Scep, good));
    let shown = format!("{report} {report:?} {}", serde_json::to_string(&report).unwrap());
    assert!(shown.contains("jane@contoso.com") && !shown.contains("Challenge-Marker"), "{shown}");
}

#[cfg(feature = "http-queue")]
#[test]
fn recorded_requests_come_to_the_verdicts_of_the_requests_themselves() {
    use intune_connector::dry_run::{read_recorded, write_recorded};
    let items = || {
        vec![
            QueueItem::new(meta(Flow::Pkcs, "r1"), tenant::pkcs("ca")),
            QueueItem::new(meta(Flow::Pkcs, "r2"), pkcs_with(|request| request.template = Some("Administrator".parse().unwrap()))),
            QueueItem::new(meta(Flow::PkcsImport, "r3"), import(IMPORT_PASSWORD)),
            QueueItem::new(meta(Flow::PkcsRecrypt, "r4"), recrypt()),
            QueueItem::new(meta(Flow::Revoke, "r5"), revoke("1A", "ca")),
            QueueItem::new(meta(Flow::Revoke, "r6"), Payload::Malformed("no serial".into())),
        ]
    };
    let record = write_recorded(&items()).unwrap();
    let read = World::new().run(read_recorded(record.secret_bytes()).unwrap());
    let verdicts = |report: &DryRunReport| report.requests.iter().map(|request| request.verdict.as_str()).collect::<Vec<_>>();
    assert_eq!(verdicts(&read), ["would-issue", "refused-by-policy", "would-upload", "would-upload", "would-revoke", "malformed"]);
    assert_eq!(verdicts(&read), verdicts(&World::new().run(items())));
    for wrong in [&b"{}"[..], b"[]", b"", br#"{"items":[{"meta":{"id":"hunter2"}}]}"#] {
        let error = read_recorded(wrong).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
