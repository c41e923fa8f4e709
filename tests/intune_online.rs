//! The online client over a scripted transport, on a virtual clock: from a credential to the service's answer.
//!
//! Cases of Microsoft's unit tests are named in the comments. `INTUNE_CONNECTOR_WRITE_GOLDEN=1` rewrites the golden files.

#![cfg(all(feature = "intune", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/scripted_http.rs"]
mod scripted_http;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use intune_connector::adapters::VirtualRuntime;
use intune_connector::adapters::entra::{AccessToken, Credential, TokenSource};
use intune_connector::adapters::http::{HttpError, HttpErrorKind as K, HttpResponse};
use intune_connector::adapters::intune::{
    Cloud, HttpAnswer, IntuneOnline, IntuneOnlineBuilder, IntuneScep, RevocationAction, RevocationActions, RevocationCall, ScepAction,
    ScepActions, ScepCall,
};
use intune_connector::crypto::CryptoProvider;
use intune_connector::ids::TransactionId;
use intune_connector::ports::{
    ChallengeValidator, FailureNotification, PortError, PortErrorKind, Runtime, ScepNotifier, ValidateRequest, Verdict,
};
use intune_connector::retry::{Effect, Retry};
use intune_connector::secret::{Password, SecretBytes};
use intune_connector::time::Timestamp;
use rustls_pki_types::CertificateSigningRequestDer;
use scripted_http::{Counting, REVOCATION_BASE, Reply, SCEP_BASE, Script, To, golden};
use serde_json::json;

const TENANT: &str = "contoso.onmicrosoft.example";
const CLIENT: &str = "c11e0000-0000-4000-8000-000000000001";
const START: Timestamp = Timestamp::from_secs(1_790_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const BODY: &str = r#"{"request":{"transactionId":"t","certificateRequest":"challenge-hunter2","callerInfo":"Contoso-SCEP/2.1"}}"#;
use RevocationAction::{DownloadRevocationRequests as DOWNLOAD, UploadRevocationResults as UPLOAD};
use ScepAction::{FailureNotification as FAILURE, SuccessNotification as SUCCESS, ValidateRequest as VALIDATE};

struct Rig {
    script: Arc<Script>,
    runtime: VirtualRuntime,
    online: Arc<IntuneOnline>,
}

fn provider() -> CryptoProvider {
    CryptoProvider::ring_and_aws_lc_rs().with_random(Arc::new(Counting::default()))
}

impl Rig {
    fn new() -> Self {
        Self::with(Cloud::global(), |builder| builder)
    }

    fn with(cloud: Cloud, change: impl FnOnce(IntuneOnlineBuilder) -> IntuneOnlineBuilder) -> Self {
        let (script, runtime) = (Script::new(), VirtualRuntime::new(START));
        let credential = Credential::client_secret(Password::from("s3cr~t"));
        let tokens = cloud.tokens(TENANT, CLIENT, credential).build(script.clone(), Arc::new(runtime.clone()), provider()).unwrap();
        Self::over(script, runtime, Arc::new(tokens), |builder| change(builder.cloud(cloud)))
    }

    fn over(
        script: Arc<Script>,
        runtime: VirtualRuntime,
        tokens: Arc<dyn TokenSource>,
        change: impl FnOnce(IntuneOnlineBuilder) -> IntuneOnlineBuilder,
    ) -> Self {
        let builder = IntuneOnline::builder(TENANT, tokens, script.clone(), Arc::new(runtime.clone()), provider())
            .provider_name("Contoso-SCEP/2.1".parse().unwrap());
        Self { online: Arc::new(change(builder).build().unwrap()), script, runtime }
    }

    fn scep(&self, action: ScepAction) -> Result<HttpAnswer, PortError> {
        let body = SecretBytes::copy_from(BODY.as_bytes());
        self.runtime.block_on(ScepActions::post(&*self.online, ScepCall::new(action, &body))).unwrap()
    }

    fn validate(&self) -> Result<HttpAnswer, PortError> {
        self.scep(VALIDATE)
    }

    fn revocation(&self, action: RevocationAction) -> Result<HttpAnswer, PortError> {
        let body = SecretBytes::copy_from(b"{}");
        self.runtime.block_on(RevocationActions::post(&*self.online, RevocationCall::new(action, &body))).unwrap()
    }

    /// How often each was asked: Entra ID, Graph, Intune.
    fn hits(&self) -> [usize; 3] {
        self.script.hits()
    }

    /// Through [`IntuneScep`], as the SCEP service asks.
    fn verdict(&self) -> Result<Verdict, PortError> {
        let (csr, id) = (CertificateSigningRequestDer::from(vec![1, 2, 3]), TransactionId::try_from(b"t".to_vec()).unwrap());
        let intune = IntuneScep::new(self.online.clone());
        self.runtime.block_on(intune.validate(ValidateRequest::new(&csr, &id))).unwrap()
    }
}

fn answer_with(status: u16, header: (&str, &str)) -> Reply {
    Reply::Answer(HttpResponse::new(status, Vec::new()).with_header(header.0, header.1))
}

#[test]
fn the_requests_are_those_of_the_golden_files() {
    let rig = Rig::new();
    rig.validate().unwrap();
    rig.revocation(DOWNLOAD).unwrap();
    golden("discovery.http", &rig.script.seen_by(To::Graph)[0].as_text());
    golden("post-validateRequest.http", &rig.script.seen_by(To::Intune)[0].as_text());
    golden("post-downloadRevocationRequests.http", &rig.script.seen_by(To::Intune)[1].as_text());
}

#[test]
fn each_action_goes_to_its_own_path_and_version_under_the_discovered_base() {
    let rig = Rig::new();
    for action in [VALIDATE, SUCCESS, FAILURE] {
        rig.scep(action).unwrap();
    }
    for action in [DOWNLOAD, UPLOAD] {
        rig.revocation(action).unwrap();
    }
    let seen: Vec<(String, String)> =
        rig.script.seen_by(To::Intune).iter().map(|seen| (seen.url.clone(), seen.header("api-version").to_owned())).collect();
    let expected = [
        (SCEP_BASE, "ScepActions/validateRequest", "2018-02-20"),
        (SCEP_BASE, "ScepActions/successNotification", "2018-02-20"),
        (SCEP_BASE, "ScepActions/failureNotification", "2018-02-20"),
        (REVOCATION_BASE, "CertificateAuthorityRequests/downloadRevocationRequests", "5019-05-05"),
        (REVOCATION_BASE, "CertificateAuthorityRequests/uploadRevocationResults", "5019-05-05"),
    ];
    assert_eq!(seen, expected.map(|(base, path, version)| (format!("{base}/{path}"), version.to_owned())));
}

/// The headers of A.5, in its order, with both spellings of the user agent and no other.
#[test]
fn a_call_has_the_headers_of_the_service_and_no_others() {
    let rig = Rig::new();
    rig.validate().unwrap();
    rig.scep(SUCCESS).unwrap();
    let seen = rig.script.seen_by(To::Intune);
    let names: Vec<&str> = seen[0].headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Authorization", "Content-Type", "client-request-id", "api-version", "User-Agent", "UserAgent"]);
    assert_eq!(seen[0].header("Authorization"), "Bearer token-2");
    assert_eq!(seen[0].header("Content-Type"), "application/json; charset=utf-8");
    assert_eq!((seen[0].header("User-Agent"), seen[0].header("UserAgent")), ("Contoso-SCEP/2.1", "Contoso-SCEP/2.1"));
    assert_eq!((seen[0].method, seen[0].body.as_str()), ("POST", BODY));
    // Each HTTP call has an id of its own.
    let mut ids: Vec<String> = rig.script.seen().iter().map(|seen| seen.header("client-request-id").to_owned()).collect();
    assert!(ids.iter().all(|id| id.len() == 36), "{ids:?}");
    ids.sort();
    ids.dedup();
    // The two sources of random numbers of this test count alike.
    assert_eq!(ids.len(), 3);
    assert_ne!(seen[0].header("client-request-id"), seen[1].header("client-request-id"));
}

#[test]
fn the_tokens_scopes_are_byte_exact_and_intunes_has_two_slashes() {
    let rig = Rig::new();
    rig.validate().unwrap();
    let scopes: Vec<String> = rig.script.seen_by(To::Entra).iter().map(|seen| seen.field("scope").unwrap()).collect();
    assert_eq!(scopes, ["https://graph.microsoft.com/.default", "https://api.manage.microsoft.com//.default"]);
    // Graph's token goes to Graph, Intune's to Intune, and the credential to neither.
    assert_eq!(rig.script.seen_by(To::Graph)[0].header("Authorization"), "Bearer token-1");
    assert_eq!(rig.script.seen_by(To::Intune)[0].header("Authorization"), "Bearer token-2");
    for seen in [rig.script.seen_by(To::Graph), rig.script.seen_by(To::Intune)].concat() {
        assert!(!seen.as_text().contains("s3cr~t"));
    }
}

/// Unit tests of Microsoft's clients: validate succeeds; the calls for tokens are counted.
#[test]
fn later_calls_use_the_tokens_and_the_location_that_are_kept() {
    let rig = Rig::new();
    for action in [VALIDATE, SUCCESS, VALIDATE, FAILURE] {
        assert_eq!(rig.scep(action).unwrap().status, 200);
    }
    assert_eq!(rig.hits(), [2, 1, 4]);
}

#[test]
fn concurrent_calls_share_one_discovery_and_one_token() {
    let rig = Rig::new();
    let body = SecretBytes::copy_from(BODY.as_bytes());
    let calls = (0..40).map(|_| ScepActions::post(&*rig.online, ScepCall::new(VALIDATE, &body)));
    assert!(rig.runtime.block_on(join_all(calls)).unwrap().into_iter().all(|answer| answer.unwrap().status == 200));
    assert_eq!(rig.hits(), [2, 1, 40]);
}

#[test]
fn concurrent_calls_that_meet_a_stale_location_or_a_refused_token_share_one_renewal() {
    for (status, hits) in [(404, [2, 2, 81]), (502, [2, 2, 81]), (401, [3, 1, 81]), (403, [3, 1, 81])] {
        let rig = Rig::new();
        rig.validate().unwrap();
        for _ in 0..40 {
            rig.script.answer(To::Intune, status, "");
        }
        let body = SecretBytes::copy_from(BODY.as_bytes());
        let calls = (0..40).map(|_| ScepActions::post(&*rig.online, ScepCall::new(VALIDATE, &body)));
        assert!(rig.runtime.block_on(join_all(calls)).unwrap().into_iter().all(|answer| answer.unwrap().status == 200), "{status}");
        assert_eq!(rig.hits(), hits, "{status}");
    }
}

#[test]
fn a_dropped_caller_that_discovers_leaves_the_others_their_answer() {
    let rig = Rig::new();
    rig.script.then(To::Graph, Reply::Hang);
    let body = SecretBytes::copy_from(BODY.as_bytes());
    let mut leader = ScepActions::post(&*rig.online, ScepCall::new(VALIDATE, &body));
    let mut others = join_all((0..5).map(|_| ScepActions::post(&*rig.online, ScepCall::new(VALIDATE, &body)))).boxed();
    for _ in 0..4 {
        assert!(leader.as_mut().now_or_never().is_none() && others.as_mut().now_or_never().is_none());
    }
    drop(leader);
    assert!(rig.runtime.block_on(others).unwrap().into_iter().all(|answer| answer.unwrap().status == 200));
    assert_eq!(rig.hits(), [2, 2, 5]);
}

#[test]
fn a_base_with_and_without_a_slash_at_its_end_is_the_same() {
    for end in ["", "/", "//"] {
        let rig = Rig::new();
        rig.script.list(json!([{ "providerName": "ScepRequestValidationFEService", "uri": format!("{SCEP_BASE}{end}") }]));
        rig.validate().unwrap();
        assert_eq!(rig.script.seen_by(To::Intune)[0].url, format!("{SCEP_BASE}/ScepActions/validateRequest"));
    }
}

#[test]
fn service_names_are_read_from_either_member_in_any_case_and_the_first_usable_duplicate_counts() {
    for list in [
        json!([{ "serviceName": "sceprequestvalidationfeservice", "uri": SCEP_BASE }]),
        json!([{ "providerName": "SCEPREQUESTVALIDATIONFESERVICE", "uri": SCEP_BASE }]),
        json!([{ "providerName": "other", "uri": REVOCATION_BASE }, { "serviceName": "ScepRequestValidationFEService", "uri": SCEP_BASE }]),
        json!([
            { "providerName": "ScepRequestValidationFEService", "uri": "https://evil.example/x" },
            { "serviceName": "SCEPRequestValidationFEService", "uri": SCEP_BASE },
            { "providerName": "ScepRequestValidationFEService", "uri": REVOCATION_BASE },
        ]),
    ] {
        let rig = Rig::new();
        rig.script.list(list.clone());
        rig.validate().unwrap();
        assert_eq!(rig.script.seen_by(To::Intune)[0].url, format!("{SCEP_BASE}/ScepActions/validateRequest"), "{list}");
    }
}

#[test]
fn discovery_follows_pages_on_the_same_host_and_no_further_than_ten() {
    let page = |link: &str| json!({ "value": [{ "providerName": "other", "uri": SCEP_BASE }], "@odata.nextLink": link }).to_string();
    let link = "https://graph.microsoft.com/v1.0/servicePrincipals/appId=x/endpoints?$skiptoken=2";
    let rig = Rig::new();
    rig.script.answer(To::Graph, 200, &page(link));
    rig.validate().unwrap();
    assert_eq!((rig.hits(), rig.script.seen_by(To::Graph)[1].url.as_str()), ([2, 2, 1], link));

    let endless = Rig::new();
    for _ in 0..20 {
        endless.script.answer(To::Graph, 200, &page(link));
    }
    assert!(endless.validate().unwrap_err().to_string().contains("more than 10 pages"));
    assert_eq!(endless.hits(), [1, 10, 0]);

    let elsewhere = Rig::new();
    elsewhere.script.answer(To::Graph, 200, &page("https://graph.microsoft.com.evil.example/x"));
    let error = elsewhere.validate().unwrap_err();
    assert!(error.to_string().contains("elsewhere"), "{error}");
    assert_eq!(elsewhere.hits(), [1, 1, 0]);
}

/// Unit tests of Microsoft's clients: no token. `TestMatrix.csv` row 25 is this one with a certificate, which is a slip.
#[test]
fn without_a_token_neither_graph_nor_the_service_is_contacted() {
    let refusal =
        json!({ "error": "invalid_client", "error_description": "AADSTS7000222: expired", "error_codes": [7_000_222] }).to_string();
    let rig = Rig::new();
    rig.script.answer(To::Entra, 401, &refusal).answer(To::Entra, 401, &refusal);
    let error = rig.validate().unwrap_err();
    assert_eq!((error.kind(), error.effect(), error.code()), (PortErrorKind::Misconfigured, Effect::None, Some("AADSTS7000222")));
    assert_eq!(rig.hits(), [1, 0, 0]);
    assert!(rig.verdict().is_err());
    assert_eq!(rig.hits(), [2, 0, 0]);
}

#[test]
fn without_a_token_for_intune_the_service_is_not_contacted() {
    let rig = Rig::new();
    rig.validate().unwrap();
    rig.runtime.advance(2 * HOUR);
    rig.script.answer(To::Entra, 400, &json!({ "error": "invalid_resource", "error_codes": [500_011] }).to_string());
    let error = rig.validate().unwrap_err();
    assert!(error.to_string().contains("two slashes"), "{error}");
    assert_eq!((error.kind(), rig.hits()), (PortErrorKind::Misconfigured, [3, 1, 1]));
}

/// Unit tests of Microsoft's clients: discovery does not list the service.
#[test]
fn a_service_that_is_not_listed_is_its_own_error_and_is_not_contacted() {
    for list in [json!([]), json!([{ "providerName": "PkiConnectorFEService", "uri": REVOCATION_BASE }])] {
        let rig = Rig::new();
        rig.script.list(list);
        for _ in 0..3 {
            let error = rig.validate().unwrap_err();
            assert_eq!((error.kind(), error.effect()), (PortErrorKind::Misconfigured, Effect::None));
            for part in ["service not found", "`ScepRequestValidationFEService`", "`scep_challenge_provider`", "licences", TENANT] {
                assert!(error.to_string().contains(part), "{part}: {error}");
            }
        }
        assert_eq!(rig.hits(), [1, 1, 0], "and Graph is not asked each time");
        // The role is granted: a minute later the service is there.
        *rig.script.services.lock().unwrap() = None;
        rig.runtime.advance(MINUTE);
        assert_eq!(rig.validate().unwrap().status, 200);
        assert_eq!(rig.hits(), [2, 2, 1]);
    }
}

#[test]
fn a_location_outside_the_cloud_gets_neither_token_nor_csr() {
    for uri in [
        "https://fef.msub01.manage.microsoft.com.evil.example/x",
        "https://evilmanage.microsoft.com/x",
        "http://fef.msub01.manage.microsoft.com/x",
        "https://token@fef.msub01.manage.microsoft.com/x",
        "https://fef.msub01.manage.microsoft.com/x?y",
        "https://127.0.0.1/x",
        "http://127.0.0.1/x",
        "https://manage.microsoft.com.evil.example",
        "https://evil.example/manage.microsoft.com",
        "https://fef.manage.microsoft.com:443@evil.example",
        "https://manage.microsoft.com.",
        "https://m\u{430}nage.microsoft.com/x",
        "https://[::1]:443/x",
    ] {
        let rig = Rig::new();
        rig.script.list(json!([{ "providerName": "ScepRequestValidationFEService", "uri": uri }]));
        let error = rig.validate().unwrap_err();
        assert!(error.to_string().contains("is not used") && error.to_string().contains("`host_suffixes`"), "{uri}: {error}");
        assert_eq!((error.kind(), rig.hits()), (PortErrorKind::Misconfigured, [1, 1, 0]), "{uri}");
    }
}

/// Unit tests of Microsoft's clients: unknown host. There the next call discovers anew; here the same call does.
#[test]
fn an_unknown_host_clears_the_map_and_the_service_is_found_again() {
    for kind in [K::Dns, K::Connect, K::Tls] {
        let rig = Rig::new();
        rig.script.fail(To::Intune, kind);
        assert_eq!(rig.validate().unwrap().status, 200);
        assert_eq!(rig.hits(), [2, 2, 2], "{kind:?}: Graph twice, the service twice");
    }
}

#[test]
fn a_stale_location_is_discovered_anew_and_the_call_made_once_more() {
    for status in [404, 410, 421, 500, 502, 503] {
        for action in [VALIDATE, SUCCESS, FAILURE] {
            let rig = Rig::new();
            rig.validate().unwrap();
            // The tenant moves to another scale unit.
            let moved = "https://fef.msub02.manage.microsoft.com/x";
            rig.script.list(json!([{ "providerName": "ScepRequestValidationFEService", "uri": moved }])).answer(To::Intune, status, "");
            assert_eq!(rig.scep(action).unwrap().status, 200, "{status}");
            let urls: Vec<String> = rig.script.seen_by(To::Intune).into_iter().map(|seen| seen.url).collect();
            assert!(urls.len() == 3 && urls[1].starts_with(SCEP_BASE) && urls[2].starts_with(moved), "{urls:?}");
        }
    }
    let rig = Rig::new();
    rig.script.answer(To::Intune, 404, "");
    assert_eq!((rig.revocation(UPLOAD).unwrap().status, rig.hits()), (200, [2, 2, 2]));
}

#[test]
fn a_call_is_repeated_once_and_the_map_is_cleared_for_the_next() {
    let rig = Rig::new();
    rig.script.answer(To::Intune, 502, "").answer(To::Intune, 502, "<html><title>Bad gateway</title></html>");
    assert_eq!((rig.validate().unwrap().status, rig.hits()), (502, [2, 2, 2]));
    assert_eq!((rig.validate().unwrap().status, rig.hits()), (200, [2, 3, 3]));
}

#[test]
fn what_says_nothing_of_the_location_is_handed_back_and_clears_nothing() {
    for status in [204, 302, 400, 407, 408, 409, 413, 429] {
        let rig = Rig::new();
        rig.script.answer(To::Intune, status, "x");
        let answer = rig.validate().unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (status, b"x".as_slice()));
        rig.validate().unwrap();
        assert_eq!(rig.hits(), [2, 1, 2], "{status}");
    }
    for (kind, effect) in [
        (K::Timeout, Effect::Unknown),
        (K::Closed, Effect::Unknown),
        (K::TooLarge, Effect::Unknown),
        (K::Proxy, Effect::None),
        (K::Request, Effect::None),
    ] {
        let rig = Rig::new();
        rig.script.fail(To::Intune, kind);
        let error = rig.validate().unwrap_err();
        assert_eq!(error.effect(), effect, "{kind:?}");
        assert!(error.to_string().contains(rig.script.seen_by(To::Intune)[0].header("client-request-id")), "{error}");
        let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<HttpError>());
        assert_eq!(source.map(HttpError::kind), Some(kind));
        rig.validate().unwrap();
        assert_eq!(rig.hits(), [2, 1, 2], "{kind:?}");
    }
}

#[test]
fn a_download_that_may_have_been_seen_is_never_made_twice() {
    for kind in [K::Timeout, K::Closed, K::TooLarge, K::Proxy, K::Request] {
        let rig = Rig::new();
        rig.script.fail(To::Intune, kind);
        assert!(rig.revocation(DOWNLOAD).is_err(), "{kind:?}");
        assert_eq!(rig.hits(), [2, 1, 1], "{kind:?}");
    }
    for status in [200, 204, 302, 400, 408, 429, 500, 502, 503, 504, 600] {
        let rig = Rig::new();
        rig.script.answer(To::Intune, status, "");
        assert_eq!((rig.revocation(DOWNLOAD).unwrap().status, rig.hits()), (status, [2, 1, 1]), "{status}");
    }
    // Our own time is up while the service is silent.
    let rig = Rig::new();
    rig.script.then(To::Intune, Reply::Hang);
    let error = rig.revocation(DOWNLOAD).unwrap_err();
    assert_eq!((error.effect(), rig.hits()), (Effect::Unknown, [2, 1, 1]));
}

#[test]
fn a_download_that_was_certainly_not_done_is_made_once_more() {
    for kind in [K::Dns, K::Connect, K::Tls] {
        let rig = Rig::new();
        rig.script.fail(To::Intune, kind);
        assert_eq!((rig.revocation(DOWNLOAD).unwrap().status, rig.hits()), (200, [2, 2, 2]), "{kind:?}");
        // And once alone; nothing was done.
        rig.script.fail(To::Intune, kind).fail(To::Intune, kind);
        let error = rig.revocation(DOWNLOAD).unwrap_err();
        assert_eq!((error.effect(), rig.hits()[2]), (Effect::None, 4), "{kind:?}");
    }
    for status in [404, 410, 421] {
        let rig = Rig::new();
        rig.script.answer(To::Intune, status, "");
        assert_eq!((rig.revocation(DOWNLOAD).unwrap().status, rig.hits()), (200, [2, 2, 2]), "{status}");
    }
    for status in [401, 403] {
        let rig = Rig::new();
        rig.script.answer(To::Intune, status, "");
        assert_eq!((rig.revocation(DOWNLOAD).unwrap().status, rig.hits()), (200, [3, 1, 2]), "{status}");
    }
}

#[test]
fn what_a_first_attempt_may_have_done_is_not_forgotten_by_a_second_that_was_not_sent() {
    let rig = Rig::new();
    rig.script.answer(To::Intune, 502, "").fail(To::Intune, K::Dns);
    assert_eq!(rig.scep(SUCCESS).unwrap_err().effect(), Effect::Unknown);
    let rig = Rig::new();
    rig.script.answer(To::Intune, 404, "").fail(To::Intune, K::Dns);
    assert_eq!(rig.scep(SUCCESS).unwrap_err().effect(), Effect::None);
}

#[test]
fn when_graph_fails_on_the_way_to_a_repetition_the_services_own_answer_is_handed_back() {
    let rig = Rig::new();
    rig.validate().unwrap();
    rig.script.answer(To::Intune, 502, "first").answer(To::Graph, 500, "");
    let answer = rig.validate().unwrap();
    assert_eq!((answer.status, answer.body.as_slice(), rig.hits()), (502, b"first".as_slice(), [2, 2, 2]));
    rig.script.answer(To::Intune, 401, "no").answer(To::Entra, 500, "");
    assert_eq!(rig.validate().unwrap().status, 401);
}

#[test]
fn a_401_once_then_success_drops_and_renews_the_token() {
    for status in [401, 403] {
        let rig = Rig::new();
        rig.script.answer(To::Intune, status, "");
        assert_eq!(rig.validate().unwrap().status, 200);
        let tokens: Vec<String> = rig.script.seen_by(To::Intune).iter().map(|seen| seen.header("Authorization").to_owned()).collect();
        assert_eq!((tokens, rig.hits()), (vec!["Bearer token-2".to_owned(), "Bearer token-3".to_owned()], [3, 1, 2]));
        rig.validate().unwrap();
        assert_eq!(rig.hits(), [3, 1, 3], "the new one is kept");
    }
}

/// Unit tests of Microsoft's clients: `ServiceRoleMismatch`, HTTP 401 with its status.
#[test]
fn a_refusal_that_stays_is_handed_back_with_its_status_after_two_attempts() {
    let rig = Rig::new();
    for _ in 0..2 {
        rig.script.answer(To::Intune, 401, "");
    }
    let error = rig.verdict().unwrap_err();
    assert_eq!((error.kind(), error.code(), rig.hits()), (PortErrorKind::Misconfigured, Some("401"), [3, 1, 2]));
    assert!(error.to_string().contains("`scep_challenge_provider`"), "{error}");
}

#[test]
fn a_token_without_the_role_is_dropped_after_a_403_so_that_a_grant_counts_at_once() {
    let rig = Rig::new();
    for _ in 0..2 {
        rig.script.answer(To::Intune, 403, "");
    }
    assert_eq!(rig.validate().unwrap().status, 403);
    // Neither of the two is used again.
    rig.validate().unwrap();
    assert_eq!(rig.script.seen_by(To::Intune).last().unwrap().header("Authorization"), "Bearer token-4");
}

#[test]
fn token_and_location_may_both_be_renewed_in_one_call_and_no_more() {
    let rig = Rig::new();
    rig.script.answer(To::Intune, 401, "").answer(To::Intune, 404, "").answer(To::Intune, 401, "");
    assert_eq!((rig.validate().unwrap().status, rig.hits()), (401, [3, 2, 3]));
    assert!(rig.script.is_spent());
}

#[test]
fn graphs_refusals_name_the_missing_permission_and_the_service_is_not_contacted() {
    let denied = r#"{"error":{"code":"Authorization_RequestDenied","message":"Insufficient privileges to complete the operation."}}"#;
    for (status, body, kind, hits, part) in [
        (403, denied, PortErrorKind::Misconfigured, 2, "`Application.Read.All`"),
        (401, "", PortErrorKind::Misconfigured, 2, "`Application.Read.All`"),
        (404, "", PortErrorKind::Misconfigured, 1, "licence"),
        (400, "", PortErrorKind::Misconfigured, 1, "`graph_version`"),
        (302, "", PortErrorKind::Misconfigured, 1, "redirect"),
        (407, "", PortErrorKind::Misconfigured, 1, "proxy"),
        (500, "", PortErrorKind::Transient, 1, "failed"),
        (502, "<html><title>Bad gateway</title>", PortErrorKind::Transient, 1, "Bad gateway"),
        (200, "<html><title>Sign in</title>", PortErrorKind::Transient, 1, "Sign in"),
        (200, r#"{"value":"x"}"#, PortErrorKind::Transient, 1, "array `value`"),
        (204, "", PortErrorKind::Transient, 1, "no answer of Graph"),
    ] {
        let rig = Rig::new();
        for _ in 0..hits {
            rig.script.answer(To::Graph, status, body);
        }
        let error = rig.validate().unwrap_err();
        assert_eq!((error.kind(), error.effect(), rig.hits()[1..].to_vec()), (kind, Effect::None, vec![hits, 0]), "{status}: {error}");
        let id = rig.script.seen_by(To::Graph).last().unwrap().header("client-request-id").to_owned();
        assert!(error.to_string().contains(part) && error.to_string().contains(&id), "{part}: {error}");
    }
    let rig = Rig::new();
    rig.script.answer(To::Graph, 403, denied).answer(To::Graph, 403, denied);
    assert!(rig.validate().unwrap_err().to_string().contains("Authorization_RequestDenied: Insufficient privileges"));
    // The token from before the grant is dropped.
    rig.validate().unwrap();
    let tokens: Vec<String> = rig.script.seen_by(To::Graph).iter().map(|seen| seen.header("Authorization").to_owned()).collect();
    assert_eq!(tokens, ["Bearer token-1", "Bearer token-2", "Bearer token-3"]);
}

#[test]
fn graphs_time_to_wait_is_told() {
    let rig = Rig::new();
    rig.script.then(To::Graph, answer_with(429, ("Retry-After", "30")));
    let error = rig.validate().unwrap_err();
    assert_eq!((error.kind(), error.retry()), (PortErrorKind::Throttled, Retry::After(Duration::from_secs(30))));
}

#[test]
fn a_429_keeps_its_retry_after_in_seconds_and_as_a_date() {
    for value in ["90", "Mon, 21 Sep 2026 14:14:50 GMT"] {
        let rig = Rig::new();
        rig.script.then(To::Intune, answer_with(429, ("Retry-After", value)));
        rig.script.then(To::Intune, answer_with(429, ("Retry-After", value)));
        let answer = rig.validate().unwrap();
        assert_eq!((answer.status, answer.retry_after.as_deref(), answer.received), (429, Some(value), START));
        let error = rig.verdict().unwrap_err();
        assert_eq!((error.kind(), error.retry()), (PortErrorKind::Throttled, Retry::After(Duration::from_secs(90))), "{value}");
        assert_eq!(rig.hits(), [2, 1, 2]);
    }
}

#[test]
fn a_503_with_a_time_to_wait_is_not_tried_again_before_it() {
    let rig = Rig::new();
    rig.script.then(To::Intune, answer_with(503, ("Retry-After", "5")));
    assert_eq!((rig.validate().unwrap().status, rig.hits()), (503, [2, 1, 1]));
}

#[test]
fn an_html_page_of_a_gateway_keeps_its_status_whatever_its_size() {
    let rig = Rig::new();
    let page = format!("<html><head><title>502 Bad gateway</title></head>{}</html>", "x".repeat(200_000));
    rig.script.answer(To::Intune, 502, &page).answer(To::Intune, 502, &page);
    let error = rig.verdict().unwrap_err();
    assert_eq!((error.kind(), error.code()), (PortErrorKind::Transient, Some("502")));
    rig.script.answer(To::Intune, 502, &page).answer(To::Intune, 502, &page);
    let answer = rig.validate().unwrap();
    assert_eq!((answer.status, answer.body.len()), (502, HttpAnswer::MAX_BODY + 1));
    // The revocation service may send more, as a list.
    rig.script.answer(To::Intune, 200, &page);
    assert_eq!(rig.revocation(DOWNLOAD).unwrap().body.len(), page.len());
}

#[test]
fn an_answer_tells_the_id_of_the_call_that_it_answers() {
    let rig = Rig::new();
    rig.script.answer(To::Intune, 404, "");
    let answer = rig.validate().unwrap();
    assert_eq!(answer.activity.as_deref(), Some(rig.script.seen_by(To::Intune)[1].header("client-request-id")));
}

#[test]
fn a_call_takes_no_longer_than_its_time_at_whatever_stage() {
    for (to, hits, effect) in
        [(To::Entra, [1, 0, 0], Effect::None), (To::Graph, [1, 1, 0], Effect::None), (To::Intune, [2, 1, 1], Effect::Unknown)]
    {
        let rig = Rig::with(Cloud::global(), |builder| builder.timeout(Duration::from_secs(20)));
        rig.script.then(to, Reply::Hang);
        let error = rig.validate().unwrap_err();
        assert_eq!((error.kind(), error.effect(), rig.hits()), (PortErrorKind::Transient, effect, hits), "{to:?}");
        assert_eq!(rig.runtime.monotonic(), Duration::from_secs(20), "{to:?}");
        assert!(error.to_string().contains("within 20 s"), "{error}");
        rig.validate().unwrap();
    }
}

#[test]
fn the_time_of_a_call_is_shared_by_its_attempts() {
    let rig = Rig::new();
    rig.validate().unwrap();
    assert_eq!(rig.script.seen_by(To::Intune)[0].timeout, MINUTE);
    // The first attempt fails, then Graph is silent: the whole still ends after a minute, with what the service said.
    rig.script.answer(To::Intune, 502, "first").then(To::Graph, Reply::Hang);
    assert_eq!((rig.validate().unwrap().status, rig.runtime.monotonic()), (502, MINUTE));
}

#[test]
fn a_source_of_tokens_that_never_answers_is_bounded_as_well() {
    #[derive(Debug)]
    struct Never;

    #[async_trait]
    impl TokenSource for Never {
        async fn token(&self, _: &str, _: Duration) -> Result<Arc<AccessToken>, PortError> {
            std::future::pending().await
        }

        fn refused(&self, _: &str, _: &AccessToken) {}
    }

    let rig = Rig::over(Script::new(), VirtualRuntime::new(START), Arc::new(Never), |builder| builder);
    let error = rig.validate().unwrap_err();
    assert_eq!((error.kind(), error.effect(), rig.hits()), (PortErrorKind::Transient, Effect::None, [0, 0, 0]));
    assert_eq!(rig.runtime.monotonic(), MINUTE);
}

#[test]
fn locations_are_asked_for_anew_after_their_age_and_old_ones_serve_while_graph_is_away() {
    let rig = Rig::with(Cloud::global(), |builder| builder.discovery_max_age(Some(HOUR)));
    rig.validate().unwrap();
    rig.runtime.advance(HOUR - MINUTE);
    rig.validate().unwrap();
    assert_eq!(rig.hits()[1], 1);
    rig.runtime.advance(MINUTE);
    rig.script.answer(To::Graph, 500, "");
    for _ in 0..3 {
        assert_eq!(rig.validate().unwrap().status, 200);
    }
    assert_eq!(rig.hits()[1], 2, "a failure is not repeated at once");
    rig.runtime.advance(MINUTE);
    for _ in 0..3 {
        assert_eq!(rig.validate().unwrap().status, 200);
    }
    assert_eq!(rig.hits()[1], 3);
    let forever = Rig::with(Cloud::global(), |builder| builder.discovery_max_age(None));
    forever.validate().unwrap();
    forever.runtime.advance(10_000 * HOUR);
    forever.validate().unwrap();
    assert_eq!(forever.hits()[1], 1);
}

#[test]
fn everything_of_a_cloud_can_be_set() {
    let mut cloud = Cloud::us_government();
    cloud.graph = "http://127.0.0.1:8081/graph.microsoft.com".to_owned();
    cloud.authority = "http://127.0.0.1:8081/entra/".to_owned();
    cloud.graph_version = "beta".to_owned();
    cloud.intune_app_id = "app".to_owned();
    cloud.intune_scope = "api://simulated/.default".to_owned();
    cloud.scep_service = "Scep".to_owned();
    cloud.scep_version = "2030-01-01".to_owned();
    cloud.validate_request_path = "/v2/validate".to_owned();
    cloud.host_suffixes = ["127.0.0.1".to_owned()].into();
    cloud.dangerous_plain_http_on_loopback = true;
    let rig = Rig::with(cloud, |builder| builder);
    rig.script.list(json!([{ "providerName": "scep", "uri": "http://127.0.0.1:8081/scep/" }]));
    rig.validate().unwrap();
    let urls: Vec<String> = rig.script.seen().into_iter().map(|seen| seen.url).collect();
    assert_eq!(
        urls,
        [
            "http://127.0.0.1:8081/entra/contoso.onmicrosoft.example/oauth2/v2.0/token",
            "http://127.0.0.1:8081/graph.microsoft.com/beta/servicePrincipals/appId=app/endpoints",
            "http://127.0.0.1:8081/entra/contoso.onmicrosoft.example/oauth2/v2.0/token",
            "http://127.0.0.1:8081/scep/v2/validate",
        ]
    );
    assert_eq!(rig.script.seen_by(To::Intune)[0].header("api-version"), "2030-01-01");
    assert_eq!(rig.script.seen_by(To::Entra)[1].field("scope").as_deref(), Some("api://simulated/.default"));
}

#[test]
fn notifications_and_verdicts_pass_through_the_whole_client() {
    let rig = Rig::new();
    assert!(matches!(rig.verdict(), Ok(Verdict::Accepted(_))));
    rig.script.answer(To::Intune, 200, r#"{"code":"ChallengeDecryptionError","errorDescription":"x"}"#);
    assert!(matches!(rig.verdict(), Ok(Verdict::Rejected { code, .. }) if code == "ChallengeDecryptionError"));
    let (csr, id) = (CertificateSigningRequestDer::from(vec![1]), TransactionId::try_from(b"t".to_vec()).unwrap());
    let intune = IntuneScep::new(rig.online.clone());
    rig.runtime.block_on(intune.failure(FailureNotification::new(&id, &csr, 0x8000_ffff_u32 as i32, "Zürich is away"))).unwrap().unwrap();
    let seen = rig.script.seen_by(To::Intune).pop().unwrap();
    assert!(seen.body.contains("-2147418113") && seen.body.contains("Zürich"), "{}", seen.body);
}

#[test]
fn services_location_and_roles_are_told_for_diagnosis() {
    let rig = Rig::new();
    let services = rig.runtime.block_on(rig.online.services()).unwrap().unwrap();
    assert_eq!(services.get("ScepRequestValidationFEService").map(String::as_str), Some(SCEP_BASE));
    assert_eq!(rig.runtime.block_on(rig.online.location("pkiconnectorfeservice")).unwrap().unwrap(), REVOCATION_BASE);
    assert!(rig.runtime.block_on(rig.online.location("other")).unwrap().unwrap_err().to_string().contains("service not found"));
    let scope = rig.online.cloud().intune_scope.clone();
    let opaque = rig.runtime.block_on(rig.online.token_roles(&scope)).unwrap().unwrap_err();
    assert_eq!(opaque.kind(), PortErrorKind::Unsupported);
    // {"aud":"x","roles":["scep_challenge_provider"]}
    let jwt = "e30.eyJhdWQiOiJ4Iiwicm9sZXMiOlsic2NlcF9jaGFsbGVuZ2VfcHJvdmlkZXIiXX0.c2ln";
    let body = json!({ "token_type": "Bearer", "expires_in": 3599, "access_token": jwt }).to_string();
    rig.script.answer(To::Entra, 200, &body);
    let claims = rig.runtime.block_on(rig.online.token_roles("api://x/.default")).unwrap().unwrap();
    assert!(claims.has_role("scep_challenge_provider") && claims.audience.as_deref() == Some("x"));
    assert_eq!(rig.hits(), [3, 1, 0], "nothing was posted");
}

#[test]
fn no_error_and_no_debug_shows_a_token_or_a_challenge() {
    for (to, status) in [(To::Entra, 400), (To::Graph, 500), (To::Graph, 403), (To::Intune, 401), (To::Intune, 502)] {
        let rig = Rig::new();
        // It repeats what it was asked.
        for number in [1, 2, 3] {
            let sent = if to == To::Entra { "client_secret=s3cr~t".to_owned() } else { format!("Bearer token-{number}") };
            rig.script.answer(to, status, &format!("<html><title>Bad: {sent} and {}</title>", "AQID".repeat(20)));
        }
        let shown = match rig.verdict() {
            Ok(verdict) => panic!("{verdict:?}"),
            Err(error) => format!("{error} {error:?} {:?}", rig.online),
        };
        for hidden in ["token-", "AQID", "s3cr~t"] {
            assert!(!shown.contains(hidden), "{to:?} {status}: {shown}");
        }
    }
}

/// Unit tests of Microsoft's clients: each required setting missing is an error.
#[test]
fn build_lists_every_mistake_at_once_and_each_by_its_name() {
    let build = |tenant: &str, cloud: Cloud, change: fn(IntuneOnlineBuilder) -> IntuneOnlineBuilder, provider: CryptoProvider| {
        let (script, runtime) = (Script::new(), VirtualRuntime::new(START));
        let tokens = Cloud::global()
            .tokens(TENANT, CLIENT, Credential::client_secret(Password::from("x")))
            .build(script.clone(), Arc::new(runtime.clone()), self::provider())
            .unwrap();
        let builder = IntuneOnline::builder(tenant, Arc::new(tokens), script, Arc::new(runtime), provider).cloud(cloud);
        match change(builder).build() {
            Ok(_) => Vec::new(),
            Err(error) => error.findings().iter().map(|finding| finding.setting.clone()).collect::<Vec<_>>(),
        }
    };
    type Spoil = fn(&mut Cloud);
    let spoils: &[(&str, Spoil)] = &[
        ("cloud.authority", |cloud| cloud.authority.clear()),
        ("cloud.authority", |cloud| cloud.authority = "http://login.example/".to_owned()),
        ("cloud.graph", |cloud| cloud.graph.clear()),
        ("cloud.graph", |cloud| cloud.graph = "https://user@graph.example".to_owned()),
        ("cloud.graph_scope", |cloud| cloud.graph_scope.clear()),
        ("cloud.graph_scope", |cloud| cloud.graph_scope = "https://graph.example/".to_owned()),
        ("cloud.intune_scope", |cloud| cloud.intune_scope = " https://x/.default".to_owned()),
        ("cloud.intune_scope", |cloud| cloud.intune_scope = "/.default".to_owned()),
        ("cloud.graph_version", |cloud| cloud.graph_version = "v1.0/x".to_owned()),
        ("cloud.intune_app_id", |cloud| cloud.intune_app_id = "a'b".to_owned()),
        ("cloud.scep_service", |cloud| cloud.scep_service.clear()),
        ("cloud.scep_version", |cloud| cloud.scep_version = "2018\r\nX: y".to_owned()),
        ("cloud.revocation_service", |cloud| cloud.revocation_service = " ".to_owned()),
        ("cloud.revocation_version", |cloud| cloud.revocation_version.clear()),
        ("cloud.validate_request_path", |cloud| cloud.validate_request_path.clear()),
        ("cloud.success_notification_path", |cloud| cloud.success_notification_path = "a/../b".to_owned()),
        ("cloud.failure_notification_path", |cloud| cloud.failure_notification_path = "a?b".to_owned()),
        ("cloud.download_revocations_path", |cloud| cloud.download_revocations_path = "//evil.example/x".to_owned()),
        ("cloud.upload_revocations_path", |cloud| cloud.upload_revocations_path = "https://evil.example".to_owned()),
        ("cloud.host_suffixes", |cloud| cloud.host_suffixes.clear()),
        ("cloud.host_suffixes", |cloud| cloud.host_suffixes = ["com".to_owned()].into()),
        ("cloud.host_suffixes", |cloud| cloud.host_suffixes = [".manage.microsoft.com".to_owned()].into()),
        ("cloud.host_suffixes", |cloud| cloud.host_suffixes = [String::new()].into()),
        ("cloud.host_suffixes", |cloud| cloud.host_suffixes = ["https://manage.microsoft.com".to_owned()].into()),
    ];
    let mut worst = Cloud::global();
    for (name, spoil) in spoils {
        let mut cloud = Cloud::global();
        spoil(&mut cloud);
        assert_eq!(build(TENANT, cloud, |builder| builder, provider()), [*name]);
        spoil(&mut worst);
    }
    let zero = |builder: IntuneOnlineBuilder| {
        builder.timeout(Duration::ZERO).fetch_timeout(Duration::ZERO).discovery_max_age(Some(Duration::ZERO))
    };
    let mut all: Vec<&str> = spoils.iter().map(|(name, _)| *name).collect();
    all.dedup();
    all.extend(["intune.tenant", "intune.timeout", "intune.fetch_timeout", "intune.discovery_max_age", "provider.random"]);
    assert_eq!(build("a b", worst, zero, CryptoProvider::empty("none")), all);
    for tenant in ["", " ", "a/b", "..", "a%2fb", "a@b"] {
        assert_eq!(build(tenant, Cloud::global(), |builder| builder, provider()), ["intune.tenant"], "{tenant}");
    }
    // What is optional may be left out, and each preset is in order.
    for cloud in [Cloud::global(), Cloud::us_government(), Cloud::china()] {
        assert!(build(TENANT, cloud, |builder| builder.discovery_max_age(None), provider()).is_empty());
    }
}
