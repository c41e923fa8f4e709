//! Tokens of Entra ID over a scripted transport, on a virtual clock: what is sent, what is kept, and what errors say.

#![cfg(all(feature = "intune", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/pki.rs"]
mod pki;
#[path = "support/scripted_http.rs"]
mod scripted_http;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use intune_connector::adapters::entra::{
    AccessToken, ClientCredentials, ClientCredentialsBuilder, Credential, SecretSource, TokenSource, credential_warning,
};
use intune_connector::adapters::http::{HttpErrorKind, HttpResponse};
use intune_connector::adapters::{StdRuntime, VirtualRuntime};
use intune_connector::crypto::{CryptoProvider, SignError, SignatureAlgorithm, SigningKey};
use intune_connector::ports::{PortError, PortErrorKind};
use intune_connector::retry::{Effect, Retry};
use intune_connector::secret::Password;
use intune_connector::terms::KeyAlgorithm;
use intune_connector::time::Timestamp;
use pki::{DAY, Identity};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use scripted_http::{Counting, Reply, Script, To, golden};
use serde_json::{Value, json};

const TENANT: &str = "contoso.onmicrosoft.example";
const CLIENT: &str = "c11e0000-0000-4000-8000-000000000001";
const SECRET: &str = "s3cr~t.With&Odd=Letters+%";
const SCOPE: &str = "https://api.manage.microsoft.com//.default";
const ENDPOINT: &str = "https://login.microsoftonline.com/contoso.onmicrosoft.example/oauth2/v2.0/token";
const START: Timestamp = Timestamp::from_secs(1_790_000_000);
const MINUTE: Duration = Duration::from_secs(60);

struct Rig {
    script: Arc<Script>,
    runtime: VirtualRuntime,
    tokens: ClientCredentials,
}

impl Rig {
    fn new(credential: Credential) -> Self {
        Self::with(credential, |builder| builder)
    }

    fn with(credential: Credential, change: impl FnOnce(ClientCredentialsBuilder) -> ClientCredentialsBuilder) -> Self {
        let (script, runtime) = (Script::new(), VirtualRuntime::new(START));
        let provider = pki::provider().as_ref().clone().with_random(Arc::new(Counting::default()));
        let builder = change(ClientCredentials::builder(TENANT, CLIENT, credential));
        let tokens = builder.build(script.clone(), Arc::new(runtime.clone()), provider).unwrap();
        Self { script, runtime, tokens }
    }

    fn secret() -> Self {
        Self::new(Credential::client_secret(Password::from(SECRET)))
    }

    fn token(&self) -> Result<Arc<AccessToken>, PortError> {
        self.runtime.block_on(self.tokens.token(SCOPE, MINUTE)).unwrap()
    }

    fn text(&self) -> String {
        self.token().unwrap().secret_str().to_owned()
    }

    fn hits(&self) -> usize {
        self.script.hits()[0]
    }
}

fn certificate(key: KeyAlgorithm, days: u32) -> Identity {
    let provider = pki::provider();
    let root = pki::root(&provider, "Contoso");
    let (from, to) = (START.saturating_sub(DAY), START.saturating_add(days * DAY));
    pki::leaf_valid(&provider, &root, "CN=connector", key, from, to, |builder| builder)
}

/// A part of a JWT.
fn unbase64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bits = 0_u32;
    let mut out = Vec::new();
    for (at, byte) in text.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|letter| *letter == byte).unwrap_or_else(|| panic!("no base64url: {text}"));
        bits = bits << 6 | u32::try_from(digit).unwrap();
        if at % 4 > 0 {
            out.push(u8::try_from(bits >> (6 - 2 * (at % 4)) & 0xff).unwrap());
        }
    }
    out
}

fn json_part(text: &str) -> Value {
    serde_json::from_slice(&unbase64(text)).unwrap()
}

#[test]
fn the_token_requests_are_those_of_the_golden_files() {
    let secret = Rig::secret();
    secret.text();
    golden("token-client-secret.http", &secret.script.seen()[0].as_text());

    let federated = Rig::new(Credential::federated_token(Password::from("eyJhbGciOiJSUzI1NiJ9.e30.c2ln")));
    federated.text();
    golden("token-federated.http", &federated.script.seen()[0].as_text());

    let identity = certificate(KeyAlgorithm::Rsa2048, 30);
    let assertion = Rig::new(Credential::certificate(identity.certificate.clone(), identity.signer.clone()));
    assertion.text();
    let seen = &assertion.script.seen()[0];
    let (jwt, text) = (seen.field("client_assertion").unwrap(), seen.as_text());
    let parts: Vec<&str> = jwt.split('.').collect();
    let thumbprint = json_part(parts[0])["x5t#S256"].as_str().unwrap().to_owned();
    // Key and signature differ from run to run.
    let header = String::from_utf8(unbase64(parts[0])).unwrap().replace(&thumbprint, "{thumbprint}");
    let claims = String::from_utf8(unbase64(parts[1])).unwrap();
    golden("token-assertion.http", &text.replace(&jwt, &format!("{header}.{claims}.{{signature}}")));
}

#[test]
fn the_scope_of_intune_is_sent_with_both_slashes() {
    let rig = Rig::secret();
    rig.text();
    let seen = &rig.script.seen()[0];
    assert!(seen.body.contains("scope=https%3A%2F%2Fapi.manage.microsoft.com%2F%2F.default&"), "{}", seen.body);
    assert_eq!((seen.field("scope").as_deref(), seen.field("client_secret").as_deref()), (Some(SCOPE), Some(SECRET)));
    assert_eq!((seen.url.as_str(), seen.method), (ENDPOINT, "POST"));
}

#[test]
fn an_assertion_is_signed_by_the_certificates_key_and_good_for_ten_minutes() {
    let identity = certificate(KeyAlgorithm::Rsa2048, 30);
    let rig = Rig::new(Credential::certificate(identity.certificate.clone(), identity.signer.clone()));
    let first = rig.token().unwrap();
    rig.tokens.refused(SCOPE, &first);
    rig.text();
    let mut ids = Vec::new();
    for seen in rig.script.seen() {
        assert_eq!(seen.field("client_assertion_type").as_deref(), Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
        assert_eq!(seen.field("client_secret"), None);
        let jwt = seen.field("client_assertion").unwrap();
        let (signed, signature) = jwt.rsplit_once('.').unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let digest =
            pki::provider().digest().unwrap().digest(intune_connector::crypto::DigestAlgorithm::Sha256, &[&identity.certificate]).unwrap();
        let (header, mut claims) = (json_part(header), json_part(claims));
        assert_eq!((&header["alg"], &header["typ"], header.as_object().unwrap().len()), (&json!("PS256"), &json!("JWT"), 3));
        assert_eq!(unbase64(header["x5t#S256"].as_str().unwrap()), digest.as_ref());
        ids.push(claims["jti"].take());
        let now = START.as_secs();
        assert_eq!(claims, json!({ "aud": ENDPOINT, "iss": CLIENT, "sub": CLIENT, "jti": null, "nbf": now, "exp": now + 600 }));
        let verification = pki::provider();
        let verified = verification.verification().unwrap().verify(
            SignatureAlgorithm::RsaPssSha256,
            &identity.spki(),
            signed.as_bytes(),
            &unbase64(signature),
        );
        assert!(verified.is_ok(), "{verified:?}");
    }
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1], "an assertion is used once");
}

#[test]
fn a_secret_and_a_federated_token_are_read_anew_at_each_fetch() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credential");
    for (credential, field) in [
        (Credential::client_secret(SecretSource::file(&path)), "client_secret"),
        (Credential::federated_token(SecretSource::file(&path)), "client_assertion"),
    ] {
        let rig = Rig::new(credential);
        for content in ["first\n", "second\r\n"] {
            std::fs::write(&path, content).unwrap();
            let token = rig.token().unwrap();
            rig.tokens.refused(SCOPE, &token);
            assert_eq!(rig.script.seen().last().unwrap().field(field).as_deref(), Some(content.trim_end()));
        }
        // A token that is kept needs no secret.
        rig.text();
        std::fs::remove_file(&path).unwrap();
        rig.text();
        assert_eq!(rig.hits(), 3);
        rig.runtime.advance(2 * 60 * MINUTE);
        let error = rig.token().unwrap_err();
        assert_eq!((error.kind(), error.effect()), (PortErrorKind::Misconfigured, Effect::None));
        assert!(error.to_string().contains("secret file"), "{error}");
        assert_eq!(rig.hits(), 3, "without a secret nothing is sent");
    }
}

#[test]
fn each_scope_has_a_token_of_its_own() {
    let rig = Rig::secret();
    let graph = "https://graph.microsoft.com/.default";
    let of = |scope: &str| rig.runtime.block_on(rig.tokens.token(scope, MINUTE)).unwrap().unwrap().secret_str().to_owned();
    assert_eq!([of(SCOPE), of(graph), of(SCOPE), of(graph)], ["token-1", "token-2", "token-1", "token-2"]);
    // The same words with one slash are another scope.
    assert_eq!(of("https://api.manage.microsoft.com/.default"), "token-3");
}

#[test]
fn many_who_need_a_token_share_one_fetch() {
    let rig = Rig::secret();
    let all = rig.runtime.block_on(join_all((0..50).map(|_| rig.tokens.token(SCOPE, MINUTE)))).unwrap();
    assert!(all.into_iter().all(|token| token.unwrap().secret_str() == "token-1"));
    assert_eq!(rig.hits(), 1);
}

#[test]
fn threads_with_executors_of_their_own_share_one_fetch() {
    let (script, runtime) = (Script::new(), Arc::new(StdRuntime::with_threads(1, 16).unwrap()));
    let tokens = ClientCredentials::builder(TENANT, CLIENT, Credential::client_secret(Password::from(SECRET)))
        .build(script.clone(), runtime.clone(), pki::provider().as_ref().clone())
        .unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(runtime.block_on(tokens.token(SCOPE, MINUTE)).unwrap().secret_str(), "token-1"));
        }
    });
    assert_eq!(script.hits(), [1, 0, 0]);
}

#[test]
fn many_who_need_a_token_share_one_failure_and_the_next_asks_again() {
    let rig = Rig::secret();
    rig.script.answer(To::Entra, 500, "");
    let all = rig.runtime.block_on(join_all((0..50).map(|_| rig.tokens.token(SCOPE, MINUTE)))).unwrap();
    assert!(all.into_iter().all(|token| token.unwrap_err().code() == Some("500")));
    assert_eq!((rig.hits(), rig.text().as_str(), rig.hits()), (1, "token-1", 2));
}

#[test]
fn a_dropped_leader_leaves_no_waiter_hanging() {
    let rig = Rig::secret();
    rig.script.then(To::Entra, Reply::Hang);
    let mut leader = rig.tokens.token(SCOPE, MINUTE).boxed();
    assert!(leader.as_mut().now_or_never().is_none());
    let mut waiters = join_all((0..5).map(|_| rig.tokens.token(SCOPE, MINUTE))).boxed();
    assert!(waiters.as_mut().now_or_never().is_none());
    drop(leader);
    assert!(rig.runtime.block_on(waiters).unwrap().into_iter().all(|token| token.unwrap().secret_str() == "token-1"));
    assert_eq!(rig.hits(), 2);
}

#[test]
fn an_endpoint_that_never_answers_costs_a_caller_its_own_time_and_no_more() {
    let rig = Rig::secret();
    rig.script.then(To::Entra, Reply::Hang);
    let error = rig.token().unwrap_err();
    assert_eq!((error.kind(), error.effect()), (PortErrorKind::Transient, Effect::None));
    assert_eq!(intune_connector::ports::Runtime::monotonic(&rig.runtime), MINUTE);
    assert!(error.to_string().contains("within 60 s"), "{error}");
    // The transport is told the time for one request.
    assert_eq!(rig.script.seen()[0].timeout, Duration::from_secs(30));
    assert_eq!(rig.text(), "token-1");
}

#[test]
fn a_token_is_renewed_early_and_the_old_one_serves_while_that_fails() {
    let rig = Rig::secret();
    assert_eq!(rig.text(), "token-1");
    rig.runtime.advance(54 * MINUTE);
    assert_eq!((rig.text().as_str(), rig.hits()), ("token-1", 1));
    rig.runtime.advance(MINUTE);
    for kind in [HttpErrorKind::Dns, HttpErrorKind::Timeout] {
        rig.script.fail(To::Entra, kind);
        assert_eq!(rig.text(), "token-1");
        assert_eq!(rig.text(), "token-1", "and it is not tried again at once");
        rig.runtime.advance(MINUTE);
    }
    assert_eq!(rig.hits(), 3);
    assert_eq!((rig.text().as_str(), rig.hits()), ("token-2", 4));
}

#[test]
fn while_one_caller_renews_the_others_go_on_with_the_old_token() {
    let rig = Rig::secret();
    rig.text();
    rig.runtime.advance(56 * MINUTE);
    let mut renewing = rig.tokens.token(SCOPE, MINUTE).boxed();
    assert!(renewing.as_mut().now_or_never().is_none());
    assert_eq!(rig.tokens.token(SCOPE, MINUTE).now_or_never().unwrap().unwrap().secret_str(), "token-1");
    assert_eq!(rig.runtime.block_on(renewing).unwrap().unwrap().secret_str(), "token-2");
    assert_eq!(rig.hits(), 2);
}

#[test]
fn an_old_token_is_given_to_nobody_after_its_end() {
    let rig = Rig::secret();
    rig.text();
    rig.runtime.advance(60 * MINUTE);
    rig.script.fail(To::Entra, HttpErrorKind::Dns);
    let error = rig.token().unwrap_err();
    assert_eq!((error.kind(), error.effect()), (PortErrorKind::Transient, Effect::None));
    assert_eq!(rig.text(), "token-2");
}

#[test]
fn only_the_kept_token_is_dropped_when_it_is_refused() {
    let rig = Rig::secret();
    let old = rig.token().unwrap();
    rig.tokens.refused(SCOPE, &old);
    assert_eq!(rig.text(), "token-2");
    // Late news of the first, or of another scope, costs nothing.
    rig.tokens.refused(SCOPE, &old);
    rig.tokens.refused("https://other.example/.default", &rig.token().unwrap());
    assert_eq!((rig.text().as_str(), rig.hits()), ("token-2", 2));
}

#[test]
fn a_time_to_wait_is_kept_in_seconds_and_as_a_date() {
    // Two minutes after the start of the clock.
    for value in ["120", "Mon, 21 Sep 2026 14:15:20 GMT"] {
        let rig = Rig::secret();
        rig.script.then(To::Entra, Reply::Answer(HttpResponse::new(429, Vec::new()).with_header("Retry-After", value)));
        let error = rig.token().unwrap_err();
        assert_eq!((error.kind(), error.retry()), (PortErrorKind::Throttled, Retry::After(2 * MINUTE)), "{value}");
        rig.runtime.advance(MINUTE);
        assert_eq!(rig.token().unwrap_err().retry(), Retry::After(MINUTE), "{value}");
        assert_eq!(rig.hits(), 1, "it is not asked before");
        rig.runtime.advance(MINUTE);
        assert_eq!(rig.text(), "token-1");
    }
}

#[test]
fn how_a_request_ends_without_an_answer_is_told_with_its_id() {
    for (kind, expected) in [
        (HttpErrorKind::Dns, PortErrorKind::Transient),
        (HttpErrorKind::Connect, PortErrorKind::Transient),
        (HttpErrorKind::Tls, PortErrorKind::Transient),
        (HttpErrorKind::Proxy, PortErrorKind::Transient),
        (HttpErrorKind::Timeout, PortErrorKind::Transient),
        (HttpErrorKind::Closed, PortErrorKind::Transient),
        (HttpErrorKind::TooLarge, PortErrorKind::Transient),
        (HttpErrorKind::Request, PortErrorKind::Misconfigured),
    ] {
        let rig = Rig::secret();
        rig.script.fail(To::Entra, kind);
        let error = rig.token().unwrap_err();
        // Whatever became of the request for a token, the call that needs it was not made.
        assert_eq!((error.kind(), error.effect()), (expected, Effect::None), "{kind:?}");
        let id = rig.script.seen()[0].header("client-request-id").to_owned();
        assert!(id.len() == 36 && error.to_string().contains(&id) && error.to_string().contains(SCOPE), "{error}");
    }
}

#[test]
fn no_error_and_no_debug_shows_secret_assertion_or_token() {
    let identity = certificate(KeyAlgorithm::Rsa2048, 30);
    let credentials: [fn(&Identity) -> Credential; 3] = [
        |_| Credential::client_secret(Password::from(SECRET)),
        |_| Credential::federated_token(Password::from("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJodW50ZXIyIn0.c2lnbmF0dXJl")),
        |identity| Credential::certificate(identity.certificate.clone(), identity.signer.clone()),
    ];
    for credential in credentials {
        for (status, body) in [
            (200, r#"{"access_token":"TOKEN"}"#.to_owned()),
            (200, r#"{"access_token":"TOKEN","token_type":"Bearer","expires_in":-1}"#.to_owned()),
            (200, "PROOF".to_owned()),
            (200, "<html><title>PROOF TOKEN".to_owned()),
            (400, "PROOF".to_owned()),
            (401, json!({ "error": "invalid_client", "error_description": "AADSTS7000215: bad PROOF", "trace_id": "PROOF" }).to_string()),
            (502, "<html><head><title>PROOF</title>".to_owned()),
        ] {
            // The first request shows what is to be hidden; assertions differ each time, so a whole one is repeated by the script.
            let rig = Rig::new(credential(&identity));
            let mut shown = format!("{:?} {:?}", rig.tokens, credential(&identity));
            let proof = {
                rig.text();
                let seen = &rig.script.seen()[0];
                seen.field("client_secret").or_else(|| seen.field("client_assertion")).unwrap()
            };
            let token = rig.token().unwrap();
            rig.tokens.refused(SCOPE, &token);
            rig.script.answer(To::Entra, status, &body.replace("PROOF", &proof).replace("TOKEN", "a-token-of-the-service"));
            let error = rig.token().unwrap_err();
            shown += &format!("{error} {error:?} {token:?}");
            for hidden in [proof.as_str(), "a-token-of-the-service", "token-1", "c2lnbmF0dXJl"] {
                assert!(!shown.contains(hidden), "{status} {body}: {shown}");
            }
        }
    }
}

#[test]
fn the_end_of_a_credential_is_the_certificates_or_the_one_that_was_told() {
    let secret = |expires: Option<u32>| {
        let credential = Credential::client_secret(Password::from(SECRET));
        let end = expires.map(|days| START.saturating_add(days * DAY));
        Rig::new(end.map_or_else(|| Credential::client_secret(Password::from(SECRET)), |end| credential.with_expires(end)))
    };
    assert_eq!(secret(None).tokens.credential_expires(), None);
    assert_eq!(secret(Some(20)).tokens.credential_expires(), Some(START.saturating_add(20 * DAY)));
    let identity = certificate(KeyAlgorithm::Rsa2048, 30);
    let end = START.saturating_add(30 * DAY);
    let credential = || Credential::certificate(identity.certificate.clone(), identity.signer.clone());
    assert_eq!(Rig::new(credential()).tokens.credential_expires(), Some(end));
    assert_eq!(Rig::new(credential().with_expires(START.saturating_add(90 * DAY))).tokens.credential_expires(), Some(end));
    assert!(credential_warning(Some(end), START, 30 * DAY).unwrap().contains("30 days"));
}

#[test]
fn a_certificate_that_has_ended_is_told_before_anything_is_sent() {
    let identity = certificate(KeyAlgorithm::Rsa2048, 30);
    let rig = Rig::new(Credential::certificate(identity.certificate.clone(), identity.signer.clone()));
    rig.runtime.advance(31 * DAY);
    let error = rig.token().unwrap_err();
    assert_eq!((error.kind(), rig.hits()), (PortErrorKind::Misconfigured, 0));
    assert!(error.to_string().contains("renew it") && error.to_string().contains("clock"), "{error}");
}

/// A key in a vault, which may be away.
#[derive(Debug)]
struct Remote {
    key: Arc<dyn SigningKey>,
    fails: fn() -> Option<SignError>,
}

#[async_trait]
impl SigningKey for Remote {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.key.public_key()
    }

    fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        vec![SignatureAlgorithm::RsaPssSha256]
    }

    async fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let mut waited = false;
        std::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            if std::mem::replace(&mut waited, true) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        match (self.fails)() {
            Some(error) => Err(error),
            None => self.key.sign(algorithm, message).await,
        }
    }
}

#[test]
fn a_remote_key_signs_and_when_it_is_away_a_later_call_may_succeed() {
    let identity = certificate(KeyAlgorithm::Rsa2048, 30);
    let with = |fails: fn() -> Option<SignError>| {
        let key = Arc::new(Remote { key: identity.signer.clone(), fails });
        Rig::new(Credential::certificate(identity.certificate.clone(), key))
    };
    assert_eq!(with(|| None).text(), "token-1");
    for (fails, kind) in [
        (with(|| Some(SignError::Unavailable(None))), PortErrorKind::Transient),
        (with(|| Some(SignError::Rejected)), PortErrorKind::Misconfigured),
    ] {
        assert_eq!((fails.token().unwrap_err().kind(), fails.hits()), (kind, 0));
    }
}

#[test]
fn build_lists_every_mistake_at_once() {
    let build = |builder: ClientCredentialsBuilder, provider: CryptoProvider| {
        let built = builder.build(Script::new(), Arc::new(VirtualRuntime::new(START)), provider);
        let Err(error) = built else { panic!("built") };
        error.findings().iter().map(|finding| finding.setting.clone()).collect::<Vec<_>>()
    };
    let secret = || Credential::client_secret(Password::from(SECRET));
    let provider = pki::provider().as_ref().clone();
    let (ours, others) = (certificate(KeyAlgorithm::Rsa2048, 30), certificate(KeyAlgorithm::EcP256, 30));
    let all = ClientCredentials::builder("", " ", Credential::certificate(ours.certificate.clone(), others.signer.clone()))
        .authority("http://login.example/")
        .fetch_timeout(Duration::ZERO);
    assert_eq!(
        build(all, provider.clone()),
        ["entra.tenant", "entra.client_id", "entra.authority", "entra.fetch_timeout", "entra.credential"]
    );
    for tenant in ["common", "Organizations", "consumers", "a/b", "..", "a b", "a?b", "contoso\u{fc}.example"] {
        assert_eq!(build(ClientCredentials::builder(tenant, CLIENT, secret()), provider.clone()), ["entra.tenant"], "{tenant}");
    }
    for client in ["", "a b", "c\u{e9}", "c\r\nd"] {
        assert_eq!(build(ClientCredentials::builder(TENANT, client, secret()), provider.clone()), ["entra.client_id"], "{client}");
    }
    let elliptic = Credential::certificate(others.certificate.clone(), others.signer.clone());
    let garbage = Credential::certificate(CertificateDer::from(b"\x30\x03abc".to_vec()), ours.signer.clone());
    for credential in [elliptic, garbage] {
        assert_eq!(build(ClientCredentials::builder(TENANT, CLIENT, credential), provider.clone()), ["entra.credential"]);
    }
    let empty = CryptoProvider::empty("none");
    assert_eq!(build(ClientCredentials::builder(TENANT, CLIENT, secret()), empty), ["provider.random"]);
}

#[test]
fn plain_http_is_taken_for_a_loopback_authority_alone_and_only_when_allowed() {
    let build = |authority: &str, allowed: bool| {
        ClientCredentials::builder(TENANT, CLIENT, Credential::client_secret(Password::from(SECRET)))
            .authority(authority)
            .dangerous_plain_http_on_loopback(allowed)
            .build(Script::new(), Arc::new(VirtualRuntime::new(START)), pki::provider().as_ref().clone())
            .is_ok()
    };
    assert!(build("http://127.0.0.1:8080/", true) && build("https://login.microsoftonline.us", false));
    assert!(!build("http://127.0.0.1:8080/", false) && !build("http://login.example/", true) && !build("http://localhost/", true));
}
