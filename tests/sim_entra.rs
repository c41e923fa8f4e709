//! The simulator's authority: secrets and assertions really verified, scopes byte for byte, roles, metadata, discovery.

#![cfg(all(feature = "sim", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod sim_support;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use intune_connector::adapters::http::{HttpMethod, HttpRequest, HttpResponse};
use intune_connector::crypto::{DigestAlgorithm, SignatureAlgorithm, SigningKey, sign_now};
use intune_connector::ids::SerialNumber;
use intune_connector::message::certificate::CertificateBuilder;
use intune_connector::message::name::Name;
use intune_connector::ports::Runtime as _;
use intune_connector::sim::{Role, Stale};
use intune_connector::terms::KeyAlgorithm;
use intune_connector::time::Timestamp;
use serde_json::{Value, json};
use sim_support::{GRAPH_SCOPE, INTUNE_SCOPE, Lab, body, form_request, percent, provider};

/// The number in `error_codes`, after the answer was found to be Entra's kind of no.
fn refused(answer: &HttpResponse) -> (u16, u64) {
    let body = body(answer);
    let code = body["error_codes"][0].as_u64().unwrap();
    assert!(body["error_description"].as_str().unwrap().starts_with(&format!("AADSTS{code}: ")), "{body}");
    assert!(body["error"].is_string() && body["trace_id"].is_string() && body["correlation_id"].is_string());
    (answer.status, code)
}

fn ask(lab: &Lab, fields: &[(&str, &str)]) -> HttpResponse {
    lab.send(&lab.token_request(lab.intune.tenant_id(), fields))
}

#[test]
fn a_token_has_audience_roles_and_an_end() {
    let lab = Lab::new();
    let claims = |scope: &str| -> Value {
        let token = lab.token(scope);
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
    };
    let intune = claims(INTUNE_SCOPE);
    assert_eq!((&intune["aud"], &intune["roles"]), (&json!("https://api.manage.microsoft.com/"), &json!(["scep_challenge_provider"])));
    assert_eq!(intune["exp"].as_i64().unwrap() - intune["iat"].as_i64().unwrap(), 3_600);
    assert_eq!((&intune["tid"], &intune["appid"]), (&json!(lab.intune.tenant_id()), &json!(lab.intune.client_id())));
    let graph = claims(GRAPH_SCOPE);
    assert_eq!(graph["aud"], "https://graph.microsoft.com");
    assert_eq!(graph["roles"].as_array().unwrap().len(), 3);
    for role in Role::ALL {
        lab.intune.revoke_role(role);
    }
    assert!(claims(GRAPH_SCOPE).get("roles").is_none());
}

#[test]
fn one_slash_in_the_scope_is_aadsts500011_and_two_are_right() {
    let lab = Lab::new();
    let single = "https://api.manage.microsoft.com/.default";
    assert_eq!(refused(&ask(&lab, &lab.secret_fields(single))), (400, 500_011));
    assert_eq!(ask(&lab, &lab.secret_fields(INTUNE_SCOPE)).status, 200);
    let lenient = Lab::with(|builder| builder.intune_audience_without_slash(true));
    assert_eq!(ask(&lenient, &lenient.secret_fields(single)).status, 200);
}

/// Microsoft's reference library has one setting, `MS_GRAPH_RESOURCE_URL`, for Graph's address and its audience.
#[test]
fn its_own_address_is_graphs_audience_as_well_and_nothing_that_looks_like_it() {
    let lab = Lab::new();
    let own = format!("{}/.default", lab.base);
    let answer = ask(&lab, &lab.secret_fields(&own));
    assert_eq!(answer.status, 200, "{}", body(&answer));
    let token = body(&answer)["access_token"].as_str().unwrap().to_owned();
    assert_eq!(lab.send(&lab.discovery_request(&token)).status, 200);
    // It is none for Intune.
    let validation = lab.scep_request(&token, "validateRequest", &json!({}));
    assert_eq!(lab.send(&validation).status, 401);
    for other in [format!("{}.evil.example/.default", lab.base), format!("{}//x/.default", lab.base), "/.default".to_owned()] {
        assert_eq!(refused(&ask(&lab, &lab.secret_fields(&other))), (400, 500_011), "{other}");
    }
}

#[test]
fn what_is_wrong_is_said_with_entras_code() {
    let lab = Lab::new();
    let client = lab.intune.client_id();
    let secret = lab.intune.client_secret();
    let fields = |client: &str, secret: &str, scope: &str| {
        ask(&lab, &[("grant_type", "client_credentials"), ("client_id", client), ("client_secret", secret), ("scope", scope)])
    };
    assert_eq!(refused(&fields(client, "wrong", INTUNE_SCOPE)), (401, 7_000_215));
    assert_eq!(refused(&fields(client, &format!("{secret}x"), INTUNE_SCOPE)), (401, 7_000_215));
    assert_eq!(refused(&fields("00000000-0000-0000-0000-000000000000", secret, INTUNE_SCOPE)), (400, 700_016));
    assert_eq!(refused(&fields(client, secret, "https://graph.microsoft.com/User.Read")), (400, 1_002_012));
    assert_eq!(refused(&fields(client, secret, "https://contoso.example/.default")), (400, 500_011));
    assert_eq!(refused(&ask(&lab, &[("client_id", client)])), (400, 900_144));
    assert_eq!(refused(&ask(&lab, &[("grant_type", "password"), ("client_id", client)])), (400, 70_003));
    assert_eq!(
        refused(&ask(&lab, &[("grant_type", "client_credentials"), ("client_id", client), ("scope", INTUNE_SCOPE)])),
        (401, 7_000_218)
    );
    let other = lab.token_request("11111111-2222-4333-8444-555555555555", &lab.secret_fields(INTUNE_SCOPE));
    assert_eq!(refused(&lab.send(&other)), (400, 90_002));
    assert_eq!(
        lab.send(&lab.token_request(lab.intune.domain(), &lab.secret_fields(INTUNE_SCOPE))).status,
        200,
        "the domain stands for the id"
    );
    lab.intune.expire_secret(Some(lab.clock.now()));
    assert_eq!(refused(&fields(client, secret, INTUNE_SCOPE)), (401, 7_000_222));
}

#[test]
fn no_answer_and_no_debug_text_shows_the_secret() {
    let lab = Lab::new();
    let secret = lab.intune.client_secret();
    let answer = ask(&lab, &[("grant_type", "client_credentials"), ("client_id", "x"), ("client_secret", secret), ("scope", INTUNE_SCOPE)]);
    let shown = format!("{} {:?} {:?}", body(&answer), lab.intune, lab.intune.arrivals());
    assert!(!shown.contains(secret) && !shown.contains(lab.intune.control_key()));
}

#[test]
fn the_secret_is_taken_as_basic_and_version_1_takes_a_resource() {
    let lab = Lab::new();
    let basic = BASE64_STANDARD.encode(format!("{}:{}", lab.intune.client_id(), percent(lab.intune.client_secret())));
    let request = lab
        .token_request(lab.intune.tenant_id(), &[("grant_type", "client_credentials"), ("scope", INTUNE_SCOPE)])
        .with_header("Authorization", format!("Basic {basic}"));
    assert_eq!(lab.send(&request).status, 200);
    let url = format!("{}/{}/oauth2/token", lab.base, lab.intune.tenant_id());
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", lab.intune.client_id()),
        ("client_secret", lab.intune.client_secret()),
        ("resource", "https://api.manage.microsoft.com/"),
    ];
    let answer = lab.send(&form_request(&url, &fields));
    assert_eq!((answer.status, &body(&answer)["resource"]), (200, &json!("https://api.manage.microsoft.com/")));
}

/// An app's certificate, and what it signs.
struct App {
    key: Arc<dyn SigningKey>,
    certificate: Vec<u8>,
}

impl App {
    fn new(lab: &Lab) -> Self {
        let provider = provider();
        let generated = provider.key_generation().unwrap().generate(KeyAlgorithm::Rsa2048).unwrap();
        let key = provider.signing_keys().unwrap().load(&generated).unwrap();
        let now = lab.clock.now();
        let until = now.saturating_add(Duration::from_secs(86_400));
        let subject = Name::parse_cert_str("CN=app").unwrap();
        let serial = SerialNumber::from_be_bytes(&[1]).unwrap();
        let unsigned = CertificateBuilder::new(subject, &key.public_key(), now, until, serial)
            .to_be_signed(SignatureAlgorithm::RsaPkcs1Sha256)
            .unwrap();
        let signature = sign_now(key.as_ref(), unsigned.algorithm(), unsigned.message()).unwrap();
        Self { certificate: unsigned.finish(&signature), key }
    }

    fn header(&self, name: &str, digest: DigestAlgorithm, algorithm: &str) -> Value {
        let digest = provider().digest().unwrap().digest(digest, &[&self.certificate]).unwrap();
        json!({ "typ": "JWT", "alg": algorithm, name: BASE64_URL_SAFE_NO_PAD.encode(digest.as_ref()) })
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let algorithm = if header["alg"] == "PS256" { SignatureAlgorithm::RsaPssSha256 } else { SignatureAlgorithm::RsaPkcs1Sha256 };
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = sign_now(self.key.as_ref(), algorithm, signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

fn claims(lab: &Lab, id: &str) -> Value {
    let now = lab.clock.now().as_secs();
    json!({
        "aud": format!("{}/{}/oauth2/v2.0/token", lab.base, lab.intune.tenant_id()), "iss": lab.intune.client_id(),
        "sub": lab.intune.client_id(), "jti": id, "nbf": now, "exp": now + 600,
    })
}

fn with_assertion(lab: &Lab, assertion: &str) -> HttpResponse {
    ask(
        lab,
        &[
            ("grant_type", "client_credentials"),
            ("client_id", lab.intune.client_id()),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion),
            ("scope", INTUNE_SCOPE),
        ],
    )
}

#[test]
fn a_certificates_assertion_is_really_verified() {
    let lab = Lab::new();
    let app = App::new(&lab);
    let ps256 = app.header("x5t#S256", DigestAlgorithm::Sha256, "PS256");
    assert_eq!(refused(&with_assertion(&lab, &app.sign(&ps256, &claims(&lab, "0")))), (401, 700_027), "not registered yet");
    lab.intune.register_certificate(&app.certificate).unwrap();
    assert_eq!(with_assertion(&lab, &app.sign(&ps256, &claims(&lab, "1"))).status, 200);
    let rs256 = app.header("x5t", DigestAlgorithm::Sha1, "RS256");
    let once = app.sign(&rs256, &claims(&lab, "2"));
    assert_eq!(with_assertion(&lab, &once).status, 200);
    assert_eq!(refused(&with_assertion(&lab, &once)), (401, 700_027), "a jti is taken once");

    let changed = |name: &str, value: Value| {
        let mut claims = claims(&lab, name);
        claims[name] = value;
        refused(&with_assertion(&lab, &app.sign(&ps256, &claims)))
    };
    let now = lab.clock.now().as_secs();
    assert_eq!(changed("aud", json!("https://login.example/")), (401, 700_023));
    assert_eq!(changed("iss", json!("somebody")), (401, 700_021));
    assert_eq!(changed("sub", json!("somebody")), (401, 700_021));
    assert_eq!(changed("exp", json!(now - 301)), (401, 700_024));
    assert_eq!(changed("exp", json!(now + 100_000)), (401, 700_024));
    assert_eq!(changed("nbf", json!(now + 301)), (401, 700_024));
    assert_eq!(changed("jti", Value::Null), (401, 50_027));

    let good = app.sign(&ps256, &claims(&lab, "3"));
    let (head, _) = good.rsplit_once('.').unwrap();
    assert_eq!(refused(&with_assertion(&lab, &format!("{head}.{}", BASE64_URL_SAFE_NO_PAD.encode([7; 256])))), (401, 700_027));
    let stranger = App::new(&lab);
    assert_eq!(refused(&with_assertion(&lab, &stranger.sign(&ps256, &claims(&lab, "4")))), (401, 700_027), "another key's signature");
    let mut none = ps256.clone();
    none["alg"] = json!("none");
    assert_eq!(refused(&with_assertion(&lab, &app.sign(&none, &claims(&lab, "5")))).0, 401);
    assert_eq!(refused(&with_assertion(&lab, "a.b.c")), (401, 50_027));
    lab.clock.advance(Duration::from_secs(86_401));
    assert_eq!(refused(&with_assertion(&lab, &app.sign(&ps256, &claims(&lab, "6")))), (401, 1_000_502));
}

#[test]
fn a_federated_issuers_token_stands_for_the_credential() {
    let lab = Lab::new();
    let issuer = App::new(&lab);
    lab.intune.federate("https://cluster.example", "system:serviceaccount:a:b", &issuer.key.public_key()).unwrap();
    let now = lab.clock.now().as_secs();
    let token = |subject: &str, audience: &str| {
        let claims = json!({ "iss": "https://cluster.example", "sub": subject, "aud": [audience], "iat": now, "exp": now + 3_600 });
        issuer.sign(&json!({ "alg": "RS256", "kid": "k" }), &claims)
    };
    let good = token("system:serviceaccount:a:b", "api://AzureADTokenExchange");
    for _ in 0..2 {
        assert_eq!(with_assertion(&lab, &good).status, 200, "a token from a file is sent until it ends");
    }
    assert_eq!(refused(&with_assertion(&lab, &token("other", "api://AzureADTokenExchange"))), (401, 700_213));
    assert_eq!(refused(&with_assertion(&lab, &token("system:serviceaccount:a:b", "other"))), (401, 700_212));
}

#[test]
fn metadata_names_the_token_endpoint_and_the_key_verifies_tokens() {
    let lab = Lab::new();
    let get = |path: &str| body(&lab.send(&HttpRequest::new(HttpMethod::Get, format!("{}/{path}", lab.base))));
    let tenant = lab.intune.tenant_id();
    let configuration = get(&format!("{tenant}/v2.0/.well-known/openid-configuration"));
    assert_eq!(configuration["token_endpoint"], format!("{}/{tenant}/oauth2/v2.0/token", lab.base));
    let instance = get("common/discovery/instance?api-version=1.1&authorization_endpoint=x");
    assert_eq!(instance["tenant_discovery_endpoint"], format!("{}/{tenant}/v2.0/.well-known/openid-configuration", lab.base));
    let keys = get(&format!("{tenant}/discovery/v2.0/keys"));
    let point: Vec<u8> =
        ["x", "y"].iter().flat_map(|name| BASE64_URL_SAFE_NO_PAD.decode(keys["keys"][0][name].as_str().unwrap()).unwrap()).collect();
    let token = lab.token(INTUNE_SCOPE);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_FIXED, [&[4], point.as_slice()].concat());
    key.verify(signed.as_bytes(), &signature).unwrap();
}

#[test]
fn discovery_wants_a_role_and_lists_no_service_without_a_licence_or_the_role_in_intune() {
    let lab = Lab::new();
    let scep = "ScepRequestValidationFEService";
    assert!(lab.discover(scep).unwrap().contains("/RACerts/ScepRequestValidationFEService/Gateway/"));
    lab.intune.set_licensed(false);
    assert_eq!(lab.discover(scep), None);
    lab.intune.set_licensed(true);
    lab.intune.revoke_role(Role::ScepChallengeProvider);
    assert_eq!(lab.discover(scep), None);
    lab.intune.grant(Role::ScepChallengeProvider);
    assert!(lab.discover(scep).is_some());

    let before = lab.token(GRAPH_SCOPE);
    lab.intune.revoke_role(Role::ApplicationReadAll);
    assert_eq!(lab.send(&lab.discovery_request(&before)).status, 200, "a token keeps its roles");
    let answer = lab.send(&lab.discovery_request(&lab.token(GRAPH_SCOPE)));
    assert_eq!((answer.status, &body(&answer)["error"]["code"]), (403, &json!("Authorization_RequestDenied")));
    assert_eq!(lab.send(&lab.discovery_request(&lab.token(INTUNE_SCOPE))).status, 401, "another audience");
    lab.intune.expire_tokens();
    assert_eq!(lab.send(&lab.discovery_request(&before)).status, 401);
}

#[test]
fn bases_move_and_may_end_in_a_slash() {
    let lab = Lab::with(|builder| builder.bases_end_in_slash(true));
    let first = lab.discover("PkiConnectorFEService").unwrap();
    assert!(first.ends_with('/'));
    lab.intune.move_location(Stale::Gone);
    assert_ne!(lab.discover("PkiConnectorFEService").unwrap(), first);
}

#[test]
fn no_two_simulators_share_an_id_a_key_or_a_secret_and_the_ca_says_test() {
    let (one, other) = (Lab::with(|builder| builder.seed(1)), Lab::with(|builder| builder.seed(1)));
    assert_ne!(one.intune.tenant_id(), other.intune.tenant_id());
    assert_ne!(one.intune.client_id(), other.intune.client_id());
    assert_ne!(one.intune.client_secret(), other.intune.client_secret());
    assert_ne!(one.intune.control_key(), other.intune.control_key());
    assert_ne!(one.intune.ca_certificate(), other.intune.ca_certificate());
    let certificate =
        intune_connector::message::certificate::Certificate::from_der(&one.intune.ca_certificate(), &Default::default()).unwrap();
    let subject: Vec<String> = certificate.subject().attributes().filter_map(|(_, text)| text.map(str::to_owned)).collect();
    assert!(subject.iter().all(|text| text.contains("TEST")), "{subject:?}");
    assert!(certificate.not_before() <= Timestamp::from_secs(1_800_000_000));
}
