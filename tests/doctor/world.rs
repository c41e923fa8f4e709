//! A tenant that is well, on a scripted transport, until a test spoils it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use intune_connector::adapters::VirtualRuntime;
use intune_connector::adapters::entra::{AccessToken, TokenSource};
use intune_connector::adapters::http::{HttpError, HttpErrorKind, HttpMethod, HttpRequest, HttpResponse, HttpTransport};
use intune_connector::crypto::CryptoProvider;
use intune_connector::doctor::{Doctor, NetworkProbe, OnlineChecks, Report, TlsHandshake};
use intune_connector::ports::{PortError, PortErrorKind, Runtime};
use intune_connector::secret::Password;
use intune_connector::terms::KeyAlgorithm;
use intune_connector::time::Timestamp;
use rustls_pki_types::CertificateDer;

use crate::pki;

pub const AUTHORITY: &str = "login.microsoftonline.com";
pub const GRAPH: &str = "graph.microsoft.com";
pub const INTUNE: &str = "fef.msub01.manage.microsoft.com";
/// A token's marker: it must be nowhere.
pub const TOKEN: &str = "Token-Marker-31";

/// Now, without fractions of a second, as dates have none.
pub fn now() -> Timestamp {
    Timestamp::from_secs(Timestamp::system_now().as_secs())
}

pub fn date(time: Timestamp) -> String {
    chrono::DateTime::from_timestamp_micros(time.as_micros()).unwrap().format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// What a URL that holds some text is answered with.
#[derive(Debug, Clone)]
pub enum Reply {
    Status(u16, String),
    Error(HttpErrorKind, &'static str),
    Never,
    Panic,
}

/// Answers by what the URL holds, and remembers what was asked.
#[derive(Debug)]
pub struct Script {
    pub replies: Mutex<Vec<(&'static str, Reply)>>,
    pub asked: Mutex<Vec<(HttpMethod, String)>>,
    /// The services' clock; absent when they tell no time.
    pub clock: Mutex<Option<Timestamp>>,
}

#[async_trait]
impl HttpTransport for Script {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.asked.lock().unwrap().push((request.method, request.url.clone()));
        let reply = self.replies.lock().unwrap().iter().rev().find(|(part, _)| request.url.contains(part)).map(|(_, reply)| reply.clone());
        match reply.unwrap_or_else(|| panic!("nothing is scripted for {}", request.url)) {
            Reply::Status(status, body) => {
                let answer = HttpResponse::new(status, body.into_bytes());
                let clock = *self.clock.lock().unwrap();
                Ok(match clock {
                    Some(time) => answer.with_header("Date", date(time)),
                    None => answer,
                })
            }
            Reply::Error(kind, text) => Err(HttpError::new(kind, text)),
            Reply::Never => core::future::pending().await,
            Reply::Panic => panic!("planted"),
        }
    }
}

/// Tokens with roles, or errors, by scope.
#[derive(Debug, Default)]
pub struct Tokens {
    pub roles: Mutex<BTreeMap<&'static str, Vec<&'static str>>>,
    pub errors: Mutex<BTreeMap<&'static str, (PortErrorKind, &'static str, &'static str)>>,
    pub opaque: Mutex<bool>,
    pub ends: Mutex<Option<Timestamp>>,
    pub refused: Mutex<Vec<String>>,
}

/// Graph's scope, or Intune's.
fn short(scope: &str) -> &'static str {
    if scope.contains("graph") { "graph" } else { "intune" }
}

#[async_trait]
impl TokenSource for Tokens {
    async fn token(&self, scope: &str, _: Duration) -> Result<Arc<AccessToken>, PortError> {
        if let Some((kind, text, code)) = self.errors.lock().unwrap().get(short(scope)) {
            return Err(PortError::new(*kind, *text).with_code(*code));
        }
        let roles = self.roles.lock().unwrap().get(short(scope)).cloned().unwrap_or_default();
        let payload = serde_json::json!({ "roles": roles, "marker": TOKEN }).to_string();
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let text = if *self.opaque.lock().unwrap() { TOKEN.to_owned() } else { format!("e30.{}.{TOKEN}", encode(&payload)) };
        Ok(Arc::new(AccessToken::new(Password::from(text.as_str()), now().saturating_add(Duration::from_secs(3_600)))))
    }
    fn refused(&self, scope: &str, _: &AccessToken) {
        self.refused.lock().unwrap().push(short(scope).to_owned());
    }
    fn credential_expires(&self) -> Option<Timestamp> {
        *self.ends.lock().unwrap()
    }
}

/// A network in which every host is well.
#[derive(Debug)]
pub struct Network {
    pub proxy: Mutex<Option<String>>,
    pub dns: Mutex<Result<Vec<IpAddr>, HttpError>>,
    pub reach: Mutex<Result<(), HttpError>>,
    pub tls: Mutex<Result<TlsHandshake, HttpError>>,
    pub looked_at: Mutex<Vec<String>>,
}

#[async_trait]
impl NetworkProbe for Network {
    fn proxy(&self, _: &str) -> Option<String> {
        self.proxy.lock().unwrap().clone()
    }
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, HttpError> {
        self.looked_at.lock().unwrap().push(host.to_owned());
        self.dns.lock().unwrap().clone()
    }
    async fn reach_proxy(&self, _: &str) -> Result<(), HttpError> {
        self.reach.lock().unwrap().clone()
    }
    async fn handshake(&self, _: &str, port: u16) -> Result<TlsHandshake, HttpError> {
        assert_eq!(port, 443);
        self.tls.lock().unwrap().clone()
    }
}

/// A server's certificate that ends after so many days.
pub fn certificate(days: u64) -> CertificateDer<'static> {
    let provider = pki::provider();
    let root = pki::root(&provider, "proxy");
    let end = now().saturating_add(Duration::from_secs(days * 86_400 + 60));
    let from = now().saturating_sub(Duration::from_secs(86_400));
    pki::leaf_valid(&provider, &root, "CN=server", KeyAlgorithm::EcP256, from, end, |builder| builder).certificate
}

pub struct World {
    pub script: Arc<Script>,
    pub tokens: Arc<Tokens>,
    pub network: Arc<Network>,
}

impl World {
    pub fn new() -> Self {
        let list = serde_json::json!({"value": [
            {"providerName": "ScepRequestValidationFEService", "uri": format!("https://{INTUNE}/RACerts/Scep")},
            {"providerName": "PkiConnectorFEService", "uri": format!("https://{INTUNE}/RACerts/Pki")},
        ]});
        let ok = |body: &str| Reply::Status(200, body.to_owned());
        let replies = vec![
            ("openid-configuration", ok("{}")),
            ("/servicePrincipals/", ok(&list.to_string())),
            ("/userPfxCertificates", ok(r#"{"value":[]}"#)),
        ];
        let tokens = Tokens::default();
        let roles = [("graph", vec!["Application.Read.All", "DeviceManagementConfiguration.ReadWrite.All", "User.Read.All"])];
        *tokens.roles.lock().unwrap() = roles.into_iter().chain([("intune", vec!["scep_challenge_provider"])]).collect();
        *tokens.ends.lock().unwrap() = Some(now().saturating_add(Duration::from_secs(90 * 86_400)));
        let network = Network {
            proxy: Mutex::default(),
            dns: Mutex::new(Ok(vec!["203.0.113.7".parse().unwrap()])),
            reach: Mutex::new(Ok(())),
            tls: Mutex::new(Ok(TlsHandshake::new("TLSv1_3", Some(certificate(100))))),
            looked_at: Mutex::default(),
        };
        let script = Script { replies: Mutex::new(replies), asked: Mutex::default(), clock: Mutex::new(Some(now())) };
        Self { script: Arc::new(script), tokens: Arc::new(tokens), network: Arc::new(network) }
    }

    /// Later replies come first.
    pub fn reply(&self, part: &'static str, reply: Reply) {
        self.script.replies.lock().unwrap().push((part, reply));
    }

    pub fn checks(&self) -> OnlineChecks {
        OnlineChecks::new("contoso.example", self.tokens.clone(), self.script.clone()).network(self.network.clone()).with_import()
    }

    pub fn run(&self) -> Report {
        self.run_with(self.checks())
    }

    pub fn run_with(&self, checks: OnlineChecks) -> Report {
        run(|doctor| doctor.online(checks))
    }
}

/// Runs on a clock that begins now, and jumps over what waits.
pub fn run(edit: impl FnOnce(Doctor) -> Doctor) -> Report {
    let runtime = VirtualRuntime::new(now());
    let doctor = Doctor::new(CryptoProvider::ring_and_aws_lc_rs(), Arc::new(runtime.clone()) as Arc<dyn Runtime>);
    runtime.block_on(edit(doctor).run()).unwrap()
}
