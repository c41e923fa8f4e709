//! A client of the simulator, as plain as can be: it writes requests by hand, so that what it proves is the simulator's.

#![allow(dead_code, reason = "each test file uses a part")]

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use intune_connector::adapters::http::{HttpMethod, HttpRequest, HttpResponse};
use intune_connector::crypto::{CryptoProvider, SigningKey, sign_now};
use intune_connector::ids::Oid;
use intune_connector::message::csr::CsrBuilder;
use intune_connector::message::name::Name;
use intune_connector::ports::{Busy, Runtime};
use intune_connector::secret::{Password, SecretBytes};
use intune_connector::sim::{Endpoint, SimOutcome, SimulatedIntune, SimulatedIntuneBuilder};
use intune_connector::terms::{KeyAlgorithm, KeyUsage, SubjectAltName};
use intune_connector::time::Timestamp;
use serde_json::{Value, json};

pub const INTUNE_SCOPE: &str = "https://api.manage.microsoft.com//.default";
pub const GRAPH_SCOPE: &str = "https://graph.microsoft.com/.default";
pub const INTUNE_APP: &str = "0000000a-0000-0000-c000-000000000000";

pub fn provider() -> CryptoProvider {
    CryptoProvider::ring_and_aws_lc_rs()
}

/// A clock that stands until it is moved; sleeping moves it.
#[derive(Debug, Default)]
pub struct Clock(Mutex<Duration>);

impl Clock {
    pub fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Runtime for Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1_800_000_000).saturating_add(self.monotonic())
    }
    fn monotonic(&self) -> Duration {
        *self.0.lock().unwrap()
    }
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.advance(duration);
        Box::pin(std::future::ready(()))
    }
    fn offload(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Busy> {
        job();
        Ok(())
    }
}

pub struct Lab {
    pub intune: SimulatedIntune,
    pub clock: Arc<Clock>,
    pub base: String,
}

impl Lab {
    pub fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub fn with(set: impl FnOnce(SimulatedIntuneBuilder) -> SimulatedIntuneBuilder) -> Self {
        let clock = Arc::new(Clock::default());
        let intune = set(SimulatedIntune::builder(provider(), clock.clone())).build().unwrap();
        let base = intune.cloud().graph;
        Self { intune, clock, base }
    }

    pub fn send(&self, request: &HttpRequest) -> HttpResponse {
        match self.intune.answer(request).outcome {
            SimOutcome::Respond(response) => response,
            other => panic!("{other:?}"),
        }
    }

    pub fn token_request(&self, tenant: &str, fields: &[(&str, &str)]) -> HttpRequest {
        form_request(&format!("{}/{tenant}/oauth2/v2.0/token", self.base), fields)
    }

    pub fn secret_fields<'a>(&'a self, scope: &'a str) -> [(&'a str, &'a str); 4] {
        let secret = self.intune.client_secret();
        [("grant_type", "client_credentials"), ("client_id", self.intune.client_id()), ("client_secret", secret), ("scope", scope)]
    }

    pub fn token(&self, scope: &str) -> String {
        let answer = self.send(&self.token_request(self.intune.tenant_id(), &self.secret_fields(scope)));
        assert_eq!(answer.status, 200, "{}", body(&answer));
        body(&answer)["access_token"].as_str().unwrap().to_owned()
    }

    pub fn discovery_request(&self, token: &str) -> HttpRequest {
        let url = format!("{}/v1.0/servicePrincipals/appId={INTUNE_APP}/endpoints", self.base);
        HttpRequest::new(HttpMethod::Get, url).with_bearer(token)
    }

    /// The base of a service; `None` when discovery does not list it.
    pub fn discover(&self, name: &str) -> Option<String> {
        let answer = self.send(&self.discovery_request(&self.token(GRAPH_SCOPE)));
        assert_eq!(answer.status, 200, "{}", body(&answer));
        let services = body(&answer)["value"].as_array().unwrap().clone();
        let found = services.iter().find(|service| service["providerName"] == name)?;
        Some(found["uri"].as_str().unwrap().to_owned())
    }

    pub fn scep_request(&self, token: &str, action: &str, body: &Value) -> HttpRequest {
        let base = self.discover("ScepRequestValidationFEService").unwrap();
        post(&format!("{base}/ScepActions/{action}"), token, "2018-02-20", body)
    }

    pub fn revocation_request(&self, token: &str, action: &str, body: &Value) -> HttpRequest {
        let base = self.discover("PkiConnectorFEService").unwrap();
        post(&format!("{base}/CertificateAuthorityRequests/{action}"), token, "5019-05-05", body)
    }

    pub fn validate_request(&self, transaction: &str, csr: &[u8]) -> HttpRequest {
        let request = json!({ "transactionId": transaction, "certificateRequest": BASE64_STANDARD.encode(csr), "callerInfo": "test" });
        self.scep_request(&self.token(INTUNE_SCOPE), "validateRequest", &json!({ "request": request }))
    }

    /// The code that a validation is answered with.
    pub fn validate(&self, transaction: &str, csr: &[u8]) -> String {
        code(&self.send(&self.validate_request(transaction, csr)))
    }

    pub fn success_request(&self, transaction: &str, csr: &[u8], thumbprint: &str) -> HttpRequest {
        let notification = json!({
            "transactionId": transaction, "certificateRequest": BASE64_STANDARD.encode(csr), "certificateThumbprint": thumbprint,
            "certificateSerialNumber": "01AB", "certificateExpirationDateUtc": "2027-06-11T16:11:20.090Z",
            "issuingCertificateAuthority": "Contoso CA", "callerInfo": "test", "caConfiguration": "Contoso CA", "certificateAuthority": null,
        });
        self.scep_request(&self.token(INTUNE_SCOPE), "successNotification", &json!({ "notification": notification }))
    }

    pub fn failure_request(&self, transaction: &str, csr: &[u8], hresult: i64, description: &str) -> HttpRequest {
        let notification = json!({
            "transactionId": transaction, "certificateRequest": BASE64_STANDARD.encode(csr), "hResult": hresult,
            "errorDescription": description, "callerInfo": "test",
        });
        self.scep_request(&self.token(INTUNE_SCOPE), "failureNotification", &json!({ "notification": notification }))
    }

    pub fn control(&self, method: HttpMethod, path: &str, body: Option<&Value>) -> HttpResponse {
        let mut request =
            HttpRequest::new(method, format!("{}/control/v1/{path}", self.base)).with_header("x-control-key", self.intune.control_key());
        if let Some(body) = body {
            request = request.with_body("application/json", SecretBytes::new(body.to_string().into_bytes()));
        }
        self.send(&request)
    }

    pub fn clock_seconds(&self) -> u64 {
        self.clock.monotonic().as_secs()
    }

    pub fn count(&self, endpoint: Endpoint) -> usize {
        self.intune.arrivals().iter().filter(|arrival| arrival.endpoint == endpoint).count()
    }
}

pub fn post(url: &str, token: &str, version: &str, body: &Value) -> HttpRequest {
    HttpRequest::new(HttpMethod::Post, url)
        .with_bearer(token)
        .with_header("api-version", version)
        .with_header("client-request-id", "00000000-0000-4000-8000-000000000001")
        .with_body("application/json; charset=utf-8", SecretBytes::new(body.to_string().into_bytes()))
}

pub fn form_request(url: &str, fields: &[(&str, &str)]) -> HttpRequest {
    let encoded: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", percent(value))).collect();
    let body = SecretBytes::new(encoded.join("&").into_bytes());
    HttpRequest::new(HttpMethod::Post, url).with_body("application/x-www-form-urlencoded", body)
}

pub fn percent(text: &str) -> String {
    text.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

pub fn body(answer: &HttpResponse) -> Value {
    serde_json::from_slice(answer.body.secret_bytes()).unwrap()
}

pub fn code(answer: &HttpResponse) -> String {
    assert_eq!(answer.status, 200, "{}", body(answer));
    body(answer)["code"].as_str().unwrap().to_owned()
}

/// A device's CSR, with what may be wrong in it.
pub struct Device {
    pub subject: String,
    pub names: Vec<SubjectAltName>,
    pub usage: Option<KeyUsage>,
    pub purposes: Vec<Oid>,
    pub key: Arc<dyn SigningKey>,
    pub extension: Option<Oid>,
}

pub fn client_auth() -> Oid {
    "1.3.6.1.5.5.7.3.2".parse().unwrap()
}

pub fn upn() -> SubjectAltName {
    SubjectAltName::Upn("jane@contoso.example".to_owned())
}

impl Device {
    pub fn new(algorithm: KeyAlgorithm) -> Self {
        let provider = provider();
        let generated = provider.key_generation().unwrap().generate(algorithm).unwrap();
        let key = provider.signing_keys().unwrap().load(&generated).unwrap();
        let usage = Some(KeyUsage::SIGN_AND_ENCIPHER);
        Self { subject: "CN=Jane,O=Contoso".to_owned(), names: vec![upn()], usage, purposes: vec![client_auth()], key, extension: None }
    }

    pub fn csr(&self, challenge: Option<&str>) -> Vec<u8> {
        let mut builder = CsrBuilder::new(Name::parse_cert_str(&self.subject).unwrap(), &self.key.public_key())
            .subject_alt_names(&self.names)
            .extended_key_usage(&self.purposes);
        if let Some(usage) = self.usage {
            builder = builder.key_usage(usage);
        }
        if let Some(challenge) = challenge {
            builder = builder.challenge_password(&Password::from(challenge));
        }
        if let Some(oid) = &self.extension {
            builder = builder.extension(oid.clone(), false, &[5, 0]);
        }
        let unsigned = builder.to_be_signed(self.key.algorithms()[0]).unwrap();
        let signature = sign_now(self.key.as_ref(), unsigned.algorithm(), unsigned.message()).unwrap();
        unsigned.finish(&signature)
    }
}
