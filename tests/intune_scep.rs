//! Intune's SCEP validation API without HTTP: bodies, answers, and both notification policies from a client's message to the last call.
//!
//! Rows of Microsoft's `TestMatrix.csv` and unit tests are named in the comments. `INTUNE_CONNECTOR_WRITE_GOLDEN=1` rewrites the golden files.

#![cfg(all(feature = "intune", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/scep_lab.rs"]
mod scep_lab;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use intune_connector::adapters::intune::{HttpAnswer, IntuneScep, ScepAction, ScepActions, ScepCall};
use intune_connector::adapters::{RecordingSink, StdRuntime, VolatileJournal};
use intune_connector::ids::{SerialNumber, Thumbprint, TransactionId};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::scep::{FailInfo, PkiStatus, ScepResponse};
use intune_connector::policy::IssuancePolicy;
use intune_connector::ports::{
    ChallengeValidator, FailureNotification, PortError, PortErrorKind, ScepNotifier, SuccessNotification, ValidateRequest,
    ValidatorCapabilities, Verdict,
};
use intune_connector::retry::{Effect, Retry};
use intune_connector::scep::{
    NotificationPolicy, PendingPolicy, Persistence, RegistrationAuthority, RenewalPolicy, Request, Response, Service, ServiceBuilder,
};
use intune_connector::terms::{KeyUsage, oids};
use intune_connector::time::Timestamp;
use rustls_pki_types::CertificateSigningRequestDer;
use scep_lab::{CHALLENGE, Client, Fault, TestCa, name, provider, shared_key};
use serde_json::{Value, json};

const DAY: Duration = Duration::from_secs(86_400);
use ScepAction::{FailureNotification as FAILURE, SuccessNotification as SUCCESS, ValidateRequest as VALIDATE};

/// What Microsoft's unit tests let the service say.
fn ok() -> HttpAnswer {
    answer(200, r#"{"@odata.context":"https://fef.example/$metadata#x","code":"Success","errorDescription":""}"#)
}

fn code(code: &str) -> HttpAnswer {
    answer(200, &json!({ "code": code, "errorDescription": "the service's own text" }).to_string())
}

fn answer(status: u16, body: &str) -> HttpAnswer {
    HttpAnswer::new(status, body.as_bytes().to_vec(), Timestamp::from_secs(784_111_777)).with_activity("5b2f6d0c-activity")
}

/// An answer, or how the transport fails.
type Scripted = Result<HttpAnswer, fn() -> PortError>;

/// Answers as scripted, then `Success`; keeps what it was asked.
#[derive(Debug, Default)]
struct Script {
    answers: Mutex<VecDeque<(ScepAction, Scripted)>>,
    calls: Mutex<Vec<(ScepAction, Value)>>,
}

impl Script {
    /// The next call of that kind gets that answer.
    fn then(&self, action: ScepAction, answer: HttpAnswer) -> &Self {
        self.answers.lock().unwrap().push_back((action, Ok(answer)));
        self
    }

    fn actions(&self) -> Vec<ScepAction> {
        self.calls.lock().unwrap().iter().map(|(action, _)| *action).collect()
    }

    /// The one member of each body.
    fn bodies(&self) -> Vec<Value> {
        let inner = |(action, body): &(ScepAction, Value)| {
            let members = body.as_object().unwrap();
            assert_eq!(members.len(), 1);
            members[if *action == VALIDATE { "request" } else { "notification" }].clone()
        };
        self.calls.lock().unwrap().iter().map(inner).collect()
    }
}

#[async_trait]
impl ScepActions for Script {
    async fn post(&self, call: ScepCall<'_>) -> Result<HttpAnswer, PortError> {
        let body = serde_json::from_slice(call.body.secret_bytes()).unwrap();
        self.calls.lock().unwrap().push((call.action, body));
        let mut answers = self.answers.lock().unwrap();
        let at = answers.iter().position(|(action, _)| *action == call.action);
        match at.and_then(|at| answers.remove(at)) {
            Some((_, answer)) => answer.map_err(|error| error()),
            None => Ok(ok()),
        }
    }
}

fn intune(script: &Arc<Script>) -> IntuneScep {
    IntuneScep::new(script.clone()).with_provider_name("Contoso-SCEP/2.1".parse().unwrap())
}

fn transaction() -> TransactionId {
    TransactionId::try_from(b"transaction+1/=".to_vec()).unwrap()
}

/// No CSR, which the adapter does not read.
fn csr() -> CertificateSigningRequestDer<'static> {
    CertificateSigningRequestDer::from((0..=255).collect::<Vec<u8>>())
}

fn validate(script: &Arc<Script>) -> Result<Verdict, PortError> {
    intune(script).validate(ValidateRequest::new(&csr(), &transaction())).now_or_never().unwrap()
}

fn validate_with(answer: HttpAnswer) -> Result<Verdict, PortError> {
    let script = Arc::new(Script::default());
    script.then(VALIDATE, answer);
    validate(&script)
}

fn succeed(intune: &IntuneScep, issuer: &str) -> Result<(), PortError> {
    let (id, csr) = (transaction(), csr());
    let serial = SerialNumber::from_hex("00:1a:2b:ff").unwrap();
    let not_after = Timestamp::from_micros(1_528_737_680_904_000);
    let notification = SuccessNotification::new(&id, &csr, Thumbprint::new([0xAB; 20]), serial, not_after, issuer.to_owned());
    intune.success(notification).now_or_never().unwrap()
}

fn fail(intune: &IntuneScep, hresult: u32, description: &str) -> Result<(), PortError> {
    let (id, csr) = (transaction(), csr());
    let mut notification = FailureNotification::new(&id, &csr, hresult as i32, "");
    notification.description = description.to_owned();
    intune.failure(notification).now_or_never().unwrap()
}

/// Keeps the bytes of the body alone.
#[derive(Debug, Default)]
struct Raw(Mutex<Vec<u8>>);

#[async_trait]
impl ScepActions for Raw {
    async fn post(&self, call: ScepCall<'_>) -> Result<HttpAnswer, PortError> {
        *self.0.lock().unwrap() = call.body.secret_bytes().to_vec();
        Ok(ok())
    }
}

#[test]
fn the_bodies_are_those_of_the_golden_files() {
    let raw = Arc::new(Raw::default());
    let intune = IntuneScep::new(raw.clone()).with_provider_name("Contoso-SCEP/2.1".parse().unwrap());
    let labelled =
        intune.clone().with_ca_configuration("profile A".parse().unwrap()).with_certificate_authority("Zürich CA".parse().unwrap());
    let golden = |file: &str| {
        let body = String::from_utf8(raw.0.lock().unwrap().clone()).unwrap() + "\n";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/intune").join(file);
        if std::env::var_os("INTUNE_CONNECTOR_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, &body).unwrap();
        }
        assert_eq!(body, std::fs::read_to_string(&path).unwrap(), "{file}");
    };
    intune.validate(ValidateRequest::new(&csr(), &transaction())).now_or_never().unwrap().unwrap();
    golden("validateRequest.json");
    succeed(&intune, "Contoso Issuing CA").unwrap();
    golden("successNotification.json");
    succeed(&labelled, "Contoso \"Zürich\" CA – 東京").unwrap();
    golden("successNotification-labelled.json");
    fail(&intune, 0x8000_FFFF, "The CA is away.").unwrap();
    golden("failureNotification.json");
}

#[test]
fn a_body_has_exactly_the_members_of_the_service_and_explicit_nulls() {
    let script = Arc::new(Script::default());
    validate(&script).unwrap();
    succeed(&intune(&script), "CA").unwrap();
    fail(&intune(&script), 0x8000_FFFF, "away").unwrap();
    let bodies = script.bodies();
    let members = |body: &Value| body.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let sorted = |mut names: Vec<&str>| {
        names.sort_unstable();
        names.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(members(&bodies[0]), sorted(vec!["transactionId", "certificateRequest", "callerInfo"]));
    assert_eq!(
        members(&bodies[1]),
        sorted(vec![
            "transactionId",
            "certificateRequest",
            "certificateThumbprint",
            "certificateSerialNumber",
            "certificateExpirationDateUtc",
            "issuingCertificateAuthority",
            "callerInfo",
            "caConfiguration",
            "certificateAuthority",
        ])
    );
    assert_eq!((&bodies[1]["caConfiguration"], &bodies[1]["certificateAuthority"]), (&Value::Null, &Value::Null));
    assert_eq!(bodies[1]["certificateThumbprint"], "AB".repeat(20));
    assert_eq!(bodies[1]["certificateSerialNumber"], "1A2BFF");
    assert_eq!(bodies[1]["certificateExpirationDateUtc"], "2018-06-11T17:21:20.904Z");
    assert_eq!(members(&bodies[2]), sorted(vec!["transactionId", "certificateRequest", "hResult", "errorDescription", "callerInfo"]));
    assert_eq!(bodies[2]["hResult"], json!(-2_147_418_113_i64));
}

#[test]
fn a_description_is_cut_to_255_characters_and_never_empty() {
    let script = Arc::new(Script::default());
    for text in ["x".repeat(300), "\u{20ac}".repeat(300), "\u{1f355}".repeat(300), String::new(), " \n".to_owned()] {
        fail(&intune(&script), 1, &text).unwrap();
    }
    let texts: Vec<String> = script.bodies().iter().map(|body| body["errorDescription"].as_str().unwrap().to_owned()).collect();
    assert_eq!(texts.iter().map(|text| text.chars().count()).collect::<Vec<_>>(), [255, 255, 127, 19, 19]);
}

#[test]
fn an_issuer_without_a_name_is_a_mistake_of_the_configuration() {
    let script = Arc::new(Script::default());
    let error = succeed(&intune(&script), "  ").unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Misconfigured);
    assert!(error.to_string().contains("`issuing_authority`"), "{error}");
    assert!(script.actions().is_empty());
}

/// Unit tests of Microsoft's clients: validate succeeds.
#[test]
fn success_vouches_for_the_names_and_for_nothing_else() {
    let Verdict::Accepted(vouched) = validate_with(ok()).unwrap() else { panic!("not accepted") };
    assert!(vouched.names_checked);
    assert_eq!((vouched.device, vouched.user, vouched.sid), (None, None, None));
    // Only the code counts.
    for body in [r#"{"code":"Success"}"#, r#"{"code":"Success","errorDescription":null}"#, " {\"code\":\"Success\"}\r\n"] {
        assert!(matches!(validate_with(answer(200, body)), Ok(Verdict::Accepted(_))), "{body}");
    }
}

/// Unit tests of Microsoft's clients: validate with ChallengeDecryptionError and ChallengeDecodingError.
#[test]
fn each_rejection_keeps_its_code_and_is_explained() {
    let codes = [
        "CertificateRequestDecodingFailed",
        "ChallengePasswordMissing",
        "ChallengeDeserializationError",
        "ChallengeDecryptionError",
        "ChallengeDecodingError",
        "ChallengeInvalidTimestamp",
        "ChallengeExpired",
        "SubjectNameMissing",
        "SubjectNameMismatch",
        "SubjectAltNameMissing",
        "SubjectAltNameMismatch",
        "KeyUsageMismatch",
        "KeyLengthMismatch",
        "EnhancedKeyUsageMissing",
        "EnhancedKeyUsageMismatch",
        "AadKeyIdentifierListMissing",
        "RegisteredKeyMismatch",
        "SigningCertThumbprintMismatch",
        "ScepProfileNoLongerTargetedToTheClient",
        "SignatureValidationFailed",
        "BadCertificateRequestIdInChallenge",
        "BadDeviceIdInChallenge",
        "BadUserIdInChallenge",
    ];
    for name in codes {
        let Ok(Verdict::Rejected { code, description }) = validate_with(code(name)) else { panic!("{name}") };
        assert_eq!(code, name);
        assert!(description.contains("the service's own text") && !description.contains("not known"), "{description}");
    }
    for name in ["QuotaExceeded", "success", "SUCCESS", "Success ", "", "challengeExpired"] {
        let Ok(Verdict::Rejected { code, description }) = validate_with(code(name)) else { panic!("{name}") };
        assert_eq!(code, name, "the raw code is kept");
        assert!(description.contains("not known") || description.contains("in its case"), "{description}");
    }
    let error = validate_with(code("Unknown")).unwrap_err();
    assert_eq!((error.kind(), error.code()), (PortErrorKind::Transient, Some("Unknown")));
}

#[test]
fn whatever_is_no_clear_success_accepts_nothing() {
    let long = format!(r#"{{"code":"Success","errorDescription":"{}"}}"#, "x".repeat(HttpAnswer::MAX_BODY));
    let bodies = [
        "",
        "null",
        "true",
        "\"Success\"",
        "Success",
        "[\"Success\"]",
        "[{\"code\":\"Success\"}]",
        "{}",
        r#"{"errorDescription":""}"#,
        r#"{"code":null}"#,
        r#"{"code":0}"#,
        r#"{"code":true}"#,
        r#"{"code":["Success"]}"#,
        r#"{"Code":"Success"}"#,
        r#"{"value":{"code":"Success"}}"#,
        r#"{"code":"ChallengeExpired","code":"Success"}"#,
        r#"{"code":"Success"} {"code":"ChallengeExpired"}"#,
        r#"{"code":"Success""#,
        "<html><head><title>Sign in</title></head><body>code Success</body></html>",
        "\u{feff}{\"code\":\"Success\"}",
        long.as_str(),
    ];
    for body in bodies {
        let error = validate_with(answer(200, body)).map_or_else(|error| error, |verdict| panic!("{body}: {verdict:?}"));
        assert_eq!((error.kind(), error.effect()), (PortErrorKind::Transient, Effect::Unknown), "{body}");
        assert!(error.to_string().contains("no verdict") && error.to_string().contains("5b2f6d0c-activity"), "{error}");
    }
    for status in [0, 100, 201, 202, 204, 206, 302, 400, 401, 403, 404, 500, 503, 600, 65_535] {
        assert!(validate_with(answer(status, r#"{"code":"Success"}"#)).is_err(), "{status}");
    }
}

/// Unit tests of Microsoft's clients: HTTP 401 is an error with its status.
#[test]
fn each_status_says_who_must_do_what() {
    use PortErrorKind as K;
    for (status, kind, advice) in [
        (302, K::Misconfigured, "redirect"),
        (400, K::Rejected, "`api-version`"),
        (401, K::Misconfigured, "`scep_challenge_provider`"),
        (403, K::Misconfigured, "licences"),
        (404, K::Transient, "discover its location anew"),
        (407, K::Misconfigured, "proxy"),
        (408, K::Transient, "waiting"),
        (410, K::Transient, "discover its location anew"),
        (413, K::Rejected, "larger"),
        (418, K::Rejected, "`api-version`"),
        (421, K::Transient, "discover its location anew"),
        (429, K::Throttled, "too many"),
        (500, K::Transient, "failed"),
        (502, K::Transient, "gateway"),
        (503, K::Throttled, "overloaded"),
        (204, K::Transient, "no answer of the service"),
    ] {
        let error = validate_with(answer(status, "")).unwrap_err();
        let text = error.to_string();
        assert_eq!((error.kind(), error.code()), (kind, Some(status.to_string().as_str())), "{text}");
        assert!(text.contains(advice) && text.contains("5b2f6d0c-activity"), "{status}: {text}");
    }
}

#[test]
fn retry_after_is_read_as_seconds_and_as_a_date() {
    for status in [429, 503, 500] {
        for (value, wait) in [
            ("120", Retry::After(Duration::from_secs(120))),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Retry::After(Duration::from_secs(120))),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Retry::After(Duration::ZERO)),
            ("999999999999", Retry::After(DAY)),
            ("soon", Retry::Later),
        ] {
            assert_eq!(validate_with(answer(status, "").with_retry_after(value)).unwrap_err().retry(), wait, "{status} {value}");
        }
    }
    assert_eq!(validate_with(answer(401, "").with_retry_after("120")).unwrap_err().retry(), Retry::Never);
}

#[test]
fn what_an_error_body_says_is_shown_and_what_may_be_a_challenge_is_not() {
    let page = "<!DOCTYPE html>\n<html><head><TITLE>502 - Bad\u{1b}[2J Gateway</TITLE></head><body>long</body></html>";
    let text = validate_with(answer(502, page)).unwrap_err().to_string();
    assert!(text.contains("502 - Bad") && text.contains("Gateway") && text.contains("HTML page"), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains("<body>"), "{text}");

    let inner = json!({ "_version": 3, "Message": "An internal error - Operation ID (for customer support): 0 - Activity ID: 1",
        "CustomApiErrorPhrase": "TenantNotFound", "RetryAfter": null });
    let envelope = json!({ "error": { "code": "InternalServerError", "message": inner.to_string() } }).to_string();
    let text = validate_with(answer(500, &envelope)).unwrap_err().to_string();
    assert!(text.contains("InternalServerError: TenantNotFound: An internal error - Operation ID"), "{text}");

    let secret = "QUJD".repeat(200);
    let echo = json!({ "code": "ChallengeDecodingError", "errorDescription": format!("cannot decode '{secret}' at 7") }).to_string();
    let Ok(Verdict::Rejected { description, .. }) = validate_with(answer(200, &echo)) else { panic!("not rejected") };
    assert!(description.contains("cannot decode '[hidden]' at 7"), "{description}");
    for body in [format!("{{\"code\": 7, \"request\": \"{secret}\"}}"), secret.clone(), format!("<html><title>{secret}</title>")] {
        for status in [200, 500] {
            let error = validate_with(answer(status, &body)).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("QUJDQUJD"), "{error:?}");
        }
    }
    let text = validate_with(answer(500, &"word ".repeat(10_000))).unwrap_err().to_string();
    assert!(text.len() < 1_200, "{}", text.len());
}

/// Unit tests of Microsoft's clients: notifications accepted and rejected. A 200 alone is not an acceptance.
#[test]
fn a_notification_counts_only_when_the_service_says_success() {
    let script = Arc::new(Script::default());
    let intune = intune(&script);
    succeed(&intune, "CA").unwrap();
    fail(&intune, 1, "x").unwrap();
    script.then(SUCCESS, code("ChallengeExpired")).then(FAILURE, code("SubjectNameMismatch"));
    let (success, failure) = (succeed(&intune, "CA").unwrap_err(), fail(&intune, 1, "x").unwrap_err());
    assert_eq!((success.kind(), success.code()), (PortErrorKind::Rejected, Some("ChallengeExpired")));
    assert_eq!((failure.kind(), failure.code(), failure.retry()), (PortErrorKind::Rejected, Some("SubjectNameMismatch"), Retry::Never));
    script.then(SUCCESS, answer(200, "{}")).then(FAILURE, answer(503, "").with_retry_after("7"));
    assert_eq!(succeed(&intune, "CA").unwrap_err().kind(), PortErrorKind::Transient);
    assert_eq!(fail(&intune, 1, "x").unwrap_err().retry(), Retry::After(Duration::from_secs(7)));
}

#[test]
fn nothing_that_is_shown_of_the_adapter_or_its_errors_has_the_csr() {
    let script = Arc::new(Script::default());
    script.answers.lock().unwrap().push_back((VALIDATE, Err(|| PortError::transient("no such host"))));
    let error = validate(&script).unwrap_err();
    let base64 = script.bodies()[0]["certificateRequest"].as_str().unwrap().to_owned();
    assert!(!format!("{error} {error:?} {:?}", IntuneScep::new(Arc::new(Raw::default()))).contains(&base64));
}

/// A SCEP server with Intune behind it.
struct Rig {
    script: Arc<Script>,
    ca: Arc<TestCa>,
    ra: Certificate,
    sink: Arc<RecordingSink>,
    runtime: Arc<StdRuntime>,
    service: Service,
}

fn service(script: &Arc<Script>, change: impl FnOnce(ServiceBuilder) -> ServiceBuilder) -> Result<Rig, Vec<String>> {
    let ca = Arc::new(TestCa::new(shared_key(0)).that_looks_up());
    let key = shared_key(1);
    let until = Timestamp::system_now().saturating_add(500 * DAY);
    let ra = ca.make(name("CN=TEST RA"), &key.spki, |builder| builder.key_usage(KeyUsage::SIGN_AND_ENCIPHER), until);
    let ra = Certificate::from_der(&ra, &Limits::default()).unwrap();
    let authority = RegistrationAuthority::single(ra.der().clone(), key.signing.clone(), key.decryption.clone().unwrap());
    let (sink, runtime, intune) = (Arc::new(RecordingSink::new()), Arc::new(StdRuntime::new().unwrap()), Arc::new(intune(script)));
    // The names are not on any list: that Intune has compared them is what lets them pass.
    let policy = IssuancePolicy::deny_all().accept_names_checked_by_validator();
    let policy = policy.allow_extended_key_usage(oids::CLIENT_AUTH.parse().unwrap());
    let journal = Arc::new(VolatileJournal::new());
    let builder = Service::builder(provider().clone(), journal, "Lab CA".parse().unwrap(), ca.clone(), authority, intune.clone(), intune)
        .tenant("contoso.example".parse().unwrap())
        .instance("lab-1".parse().unwrap())
        .sink(sink.clone())
        .runtime(runtime.clone())
        .policy(policy)
        .persistence(Persistence::default().with_backoff(Duration::from_millis(5), Duration::from_secs(60)));
    match runtime.block_on(change(builder).build()) {
        Ok(service) => Ok(Rig { script: script.clone(), ca, ra, sink, runtime, service }),
        Err(error) => Err(error.findings.into_iter().map(|finding| format!("{}: {}", finding.setting, finding.problem)).collect()),
    }
}

fn rig(notification: NotificationPolicy) -> Rig {
    service(&Arc::new(Script::default()), |builder| builder.notification(notification)).unwrap()
}

impl Rig {
    fn client(&self) -> Client {
        Client::new(shared_key(2), "CN=device-1", "transaction+1/=")
    }

    fn ask(&self, client: &Client) -> ScepResponse {
        let (message, to) = client.message(&self.ra);
        let request = Request::post("operation=PKIOperation", message);
        let response: Response = self.runtime.block_on(self.service.handle(request));
        client.reply(&response, &to, &self.ra)
    }

    fn codes(&self) -> Vec<u16> {
        self.sink.events().iter().map(|event| event.id.code()).collect()
    }

    /// All calls are of one transaction, with one CSR, and none is shown in an event.
    fn one_transaction(&self, client: &Client) {
        let bodies = self.script.bodies();
        for body in &bodies {
            assert_eq!(body["transactionId"].as_str().unwrap().as_bytes(), client.transaction.as_bytes());
            assert_eq!(body["certificateRequest"], bodies[0]["certificateRequest"]);
        }
        let events = format!("{:?}", self.sink.events());
        assert!(!events.contains(CHALLENGE) && !events.contains(bodies[0]["certificateRequest"].as_str().unwrap()));
    }
}

#[test]
fn a_client_enrols_and_intune_is_told_before_the_certificate_goes_out() {
    for policy in [NotificationPolicy::NotifyBeforeRelease, NotificationPolicy::IssueThenNotify] {
        let rig = rig(policy);
        let client = rig.client();
        let certificate = client.certificate(&rig.ask(&client));
        assert_eq!(rig.script.actions(), [VALIDATE, SUCCESS]);
        assert_eq!(rig.codes(), [4003, 4004, 4006, 4008, 4000]);
        rig.one_transaction(&client);
        let told = &rig.script.bodies()[1];
        assert_eq!(told["certificateThumbprint"], certificate.thumbprint(provider()).unwrap().to_string());
        assert_eq!(told["certificateSerialNumber"], certificate.serial().unwrap().to_string());
        assert_eq!(told["certificateExpirationDateUtc"], certificate.not_after().to_string());
        assert_eq!((&told["issuingCertificateAuthority"], &told["callerInfo"]), (&json!("TEST CA"), &json!("Contoso-SCEP/2.1")));
    }
}

/// `TestMatrix.csv` row 22: challenge validation fails.
#[test]
fn a_challenge_that_intune_refuses_gets_no_certificate_and_nobody_is_notified() {
    for policy in [NotificationPolicy::NotifyBeforeRelease, NotificationPolicy::IssueThenNotify] {
        for refusal in ["ChallengeExpired", "KeyLengthMismatch", "NeverHeardOf", "success"] {
            let rig = rig(policy);
            rig.script.then(VALIDATE, code(refusal));
            let client = rig.client();
            let reply = rig.ask(&client);
            assert_eq!((reply.status(), reply.fail_info()), (PkiStatus::Failure, Some(FailInfo::BadRequest)));
            assert_eq!(rig.script.actions(), [VALIDATE]);
            assert_eq!(rig.codes(), [4003, 4005, 4001]);
            assert_eq!(rig.sink.events()[1].details["code"], refusal);
            assert_eq!(rig.ca.asks.load(Ordering::SeqCst), 0);
        }
    }
}

/// `TestMatrix.csv` rows 23 (validate answers 500) and 25 (no token is to be had; its text has lost a *not*).
#[test]
fn a_validation_without_an_answer_gets_no_certificate_and_nobody_is_notified() {
    let faults: [Scripted; 5] = [
        Ok(answer(500, "")),
        Ok(answer(401, "")),
        Ok(answer(200, "<html>")),
        Err(|| PortError::misconfigured("no token for the tenant")),
        Err(|| PortError::transient("no such host")),
    ];
    for fault in faults {
        let rig = rig(NotificationPolicy::NotifyBeforeRelease);
        rig.script.answers.lock().unwrap().push_back((VALIDATE, fault));
        let client = rig.client();
        assert_eq!(rig.ask(&client).status(), PkiStatus::Failure);
        assert_eq!((rig.script.actions(), rig.codes()), (vec![VALIDATE], vec![4003, 4005, 4001]));
        assert_eq!(rig.ca.asks.load(Ordering::SeqCst), 0);
        // The device comes again, and its challenge is asked about anew.
        client.certificate(&rig.ask(&client));
        assert_eq!(rig.script.actions(), [VALIDATE, VALIDATE, SUCCESS]);
    }
}

/// `TestMatrix.csv` row 24: the success notification answers 500.
#[test]
fn the_strict_policy_withholds_a_certificate_that_intune_could_not_be_told_of() {
    let rig = rig(NotificationPolicy::NotifyBeforeRelease);
    for _ in 0..3 {
        rig.script.then(SUCCESS, answer(500, ""));
    }
    let client = rig.client();
    let reply = rig.ask(&client);
    assert_eq!((reply.status(), reply.fail_info()), (PkiStatus::Failure, Some(FailInfo::BadRequest)));
    assert_eq!(rig.script.actions(), [VALIDATE, SUCCESS, SUCCESS, SUCCESS]);
    assert_eq!((rig.ca.certificates(), rig.ca.revoked.lock().unwrap().len()), (1, 1), "it is not left valid");
    let codes = rig.codes();
    assert_eq!(codes[..6], [4003, 4004, 4006, 4009, 4009, 4009]);
    assert_eq!((codes.contains(&4008), codes.last()), (false, Some(&4002)));
    rig.one_transaction(&client);
}

#[test]
fn a_notification_that_intune_refuses_withholds_at_once() {
    let rig = rig(NotificationPolicy::NotifyBeforeRelease);
    rig.script.then(SUCCESS, code("ScepProfileNoLongerTargetedToTheClient"));
    assert_eq!(rig.ask(&rig.client()).status(), PkiStatus::Failure);
    assert_eq!(rig.script.actions(), [VALIDATE, SUCCESS]);
    assert_eq!(rig.ca.revoked.lock().unwrap().len(), 1);
}

#[test]
fn the_strict_policy_tries_a_passing_fault_again_while_the_client_waits() {
    let rig = rig(NotificationPolicy::NotifyBeforeRelease);
    rig.script.then(SUCCESS, answer(503, "").with_retry_after("1")).then(SUCCESS, answer(200, "<html>proxy</html>"));
    let client = rig.client();
    client.certificate(&rig.ask(&client));
    assert_eq!(rig.script.actions(), [VALIDATE, SUCCESS, SUCCESS, SUCCESS]);
    assert_eq!(rig.codes(), [4003, 4004, 4006, 4009, 4009, 4008, 4000]);
    rig.one_transaction(&client);
}

#[test]
fn the_spooling_policy_releases_and_tells_intune_later_in_the_same_transaction() {
    let rig = rig(NotificationPolicy::IssueThenNotify);
    rig.script.then(SUCCESS, answer(500, "")).then(SUCCESS, answer(429, "").with_retry_after("30"));
    let client = rig.client();
    client.certificate(&rig.ask(&client));
    assert_eq!(rig.codes(), [4003, 4004, 4006, 4009]);
    let maintain = |now| rig.runtime.block_on(rig.service.maintain(now));
    let now = Timestamp::system_now().saturating_add(Duration::from_secs(1));
    assert_eq!(maintain(now).notified, 0);
    assert_eq!(maintain(now.saturating_add(Duration::from_secs(600))).notified, 1);
    assert_eq!(rig.script.actions(), [VALIDATE, SUCCESS, SUCCESS, SUCCESS]);
    assert_eq!(rig.codes(), [4003, 4004, 4006, 4009, 4009, 4008, 4000]);
    rig.one_transaction(&client);
}

#[test]
fn intune_is_told_of_a_ca_that_refuses_after_a_good_validation() {
    for policy in [NotificationPolicy::NotifyBeforeRelease, NotificationPolicy::IssueThenNotify] {
        let rig = rig(policy);
        rig.ca.faults.lock().unwrap().push(Fault::Reject);
        let client = rig.client();
        assert_eq!(rig.ask(&client).status(), PkiStatus::Failure);
        assert_eq!(rig.script.actions(), [VALIDATE, FAILURE]);
        assert_eq!(rig.codes(), [4003, 4004, 4007, 4008, 4001]);
        let told = &rig.script.bodies()[1];
        assert!(told["hResult"].as_i64().is_some_and(|number| i32::try_from(number).is_ok() && number < 0), "{told}");
        assert!(told["errorDescription"].as_str().is_some_and(|text| text.contains("denies")), "{told}");
        rig.one_transaction(&client);
        // After the failure notification nothing is issued for the request.
        assert_eq!(rig.ask(&client).status(), PkiStatus::Failure);
        assert_eq!((rig.ca.certificates(), rig.script.actions().len()), (0, 2));
    }
}

/// `TestMatrix.csv` row 21, as far as it is the connector's: a renewal is validated by its challenge like any request.
#[test]
fn settings_that_intune_does_not_know_are_refused_at_build() {
    assert_eq!(IntuneScep::new(Arc::new(Raw::default())).capabilities(), ValidatorCapabilities::minimal());
    let script = Arc::new(Script::default());
    let built = |change: fn(ServiceBuilder) -> ServiceBuilder| service(&script, change).map(|_| ());
    assert_eq!(built(|builder| builder), Ok(()));
    let pending = built(|builder| builder.pending(PendingPolicy::AnswerPending)).unwrap_err();
    assert!(pending.len() == 1 && pending[0].starts_with("scep.pending: "), "{pending:?}");
    let renewal = built(|builder| builder.renewal(RenewalPolicy::CertificateSuffices)).unwrap_err();
    assert!(renewal.iter().any(|finding| finding.starts_with("scep.renewal: ") && finding.contains("a challenge")), "{renewal:?}");
}
