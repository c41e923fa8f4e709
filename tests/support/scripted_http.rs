//! A transport that answers as scripted and keeps what it was asked: Entra ID, Graph and Intune without a network.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic, reason = "support of tests, each of which uses a part of it")]

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::future::pending;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::adapters::http::{HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpTransport};
use intune_connector::crypto::{CryptoError, SecureRandom};
use serde_json::{Value, json};

/// What Microsoft's test data shows of a base URI.
pub const SCEP_BASE: &str =
    "https://fef.msub01.manage.microsoft.com/RACerts/ScepRequestValidationFEService/Gateway/StatelessScepRequestValidationService";
pub const REVOCATION_BASE: &str =
    "https://fef.msub01.manage.microsoft.com/RACerts/StatelessPkiConnectorService/Gateway/StatelessPkiConnectorService";

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    Entra,
    Graph,
    Intune,
}

/// A request as it was sent.
#[derive(Debug, Clone)]
pub struct Seen {
    pub to: To,
    pub method: &'static str,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub timeout: Duration,
    pub max_answer: usize,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// A field of a form.
    pub fn field(&self, name: &str) -> Option<String> {
        let unescaped = |text: &str| {
            let mut out = Vec::new();
            let mut bytes = text.bytes();
            while let Some(byte) = bytes.next() {
                out.push(match byte {
                    b'%' => u8::from_str_radix(&format!("{}{}", bytes.next().unwrap() as char, bytes.next().unwrap() as char), 16).unwrap(),
                    other => other,
                });
            }
            String::from_utf8(out).unwrap()
        };
        self.body.split('&').filter_map(|pair| pair.split_once('=')).find(|(given, _)| *given == name).map(|(_, value)| unescaped(value))
    }

    /// The request in the form of the golden files.
    pub fn as_text(&self) -> String {
        let mut out = format!("{} {}\n", self.method, self.url);
        for (name, value) in &self.headers {
            writeln!(out, "{name}: {value}").unwrap();
        }
        if self.body.is_empty() { out } else { format!("{out}\n{}\n", self.body) }
    }
}

/// What the next request gets.
pub enum Reply {
    Answer(HttpResponse),
    Fail(HttpErrorKind),
    /// Nothing, ever.
    Hang,
}

#[derive(Default)]
pub struct Script {
    replies: Mutex<VecDeque<(To, Reply)>>,
    seen: Mutex<Vec<Seen>>,
    /// The list that Graph gives when nothing is scripted.
    pub services: Mutex<Option<Value>>,
    tokens: AtomicU32,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

impl Script {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn then(&self, to: To, reply: Reply) -> &Self {
        self.replies.lock().unwrap().push_back((to, reply));
        self
    }

    pub fn answer(&self, to: To, status: u16, body: &str) -> &Self {
        self.then(to, Reply::Answer(HttpResponse::new(status, body.as_bytes().to_vec())))
    }

    pub fn fail(&self, to: To, kind: HttpErrorKind) -> &Self {
        self.then(to, Reply::Fail(kind))
    }

    /// What Graph lists from now on.
    pub fn list(&self, services: Value) -> &Self {
        *self.services.lock().unwrap() = Some(json!({ "value": services }));
        self
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn seen_by(&self, to: To) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.to == to).collect()
    }

    /// How often each was asked: Entra ID, Graph, Intune.
    pub fn hits(&self) -> [usize; 3] {
        [To::Entra, To::Graph, To::Intune].map(|to| self.seen_by(to).len())
    }

    /// Whether all that was scripted was asked for.
    pub fn is_spent(&self) -> bool {
        self.replies.lock().unwrap().is_empty()
    }

    fn ordinary(&self, to: To) -> HttpResponse {
        let body = match to {
            To::Entra => {
                let number = self.tokens.fetch_add(1, Ordering::SeqCst) + 1;
                json!({ "token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": format!("token-{number}") })
            }
            To::Graph => self.services.lock().unwrap().clone().unwrap_or_else(|| {
                json!({
                    "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#servicePrincipals('x')/endpoints",
                    "value": [
                        { "id": "1", "capability": "x", "providerId": "y", "providerName": "ScepRequestValidationFEService", "uri": SCEP_BASE },
                        { "id": "2", "providerName": "PkiConnectorFEService", "uri": REVOCATION_BASE },
                    ],
                })
            }),
            To::Intune => json!({ "code": "Success", "errorDescription": "" }),
        };
        HttpResponse::new(200, body.to_string().into_bytes())
    }
}

#[async_trait]
impl HttpTransport for Script {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let to = match &request.url {
            url if url.contains("/oauth2/v2.0/token") => To::Entra,
            url if url.contains("graph.microsoft.com") => To::Graph,
            _ => To::Intune,
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        self.seen.lock().unwrap().push(Seen {
            to,
            method: request.method.as_str(),
            url: request.url.clone(),
            headers: request.headers.iter().map(|(name, value)| (name.clone(), text(value.secret_bytes()))).collect(),
            body: request.body.as_ref().map(|body| text(body.secret_bytes())).unwrap_or_default(),
            timeout: request.timeout,
            max_answer: request.max_answer,
        });
        let reply = {
            let mut replies = self.replies.lock().unwrap();
            let at = replies.iter().position(|(whom, _)| *whom == to);
            at.and_then(|at| replies.remove(at)).map(|(_, reply)| reply)
        };
        // A real transport waits; so that others get their turn in the meantime, this one does as well.
        yield_once().await;
        match reply {
            None => Ok(self.ordinary(to)),
            Some(Reply::Answer(answer)) => Ok(answer),
            Some(Reply::Fail(kind)) => Err(HttpError::new(kind, format!("scripted: {kind:?}"))),
            Some(Reply::Hang) => pending().await,
        }
    }
}

async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// Random numbers that count, so that identifiers of calls are the same each time.
#[derive(Debug, Default)]
pub struct Counting(AtomicU32);

impl SecureRandom for Counting {
    fn fill(&self, out: &mut [u8]) -> Result<(), CryptoError> {
        let number = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        out.fill(0);
        if let Some(last) = out.last_mut() {
            *last = u8::try_from(number % 256).unwrap();
        }
        Ok(())
    }
}

/// Compares with a file under `tests/golden/intune`; `INTUNE_CONNECTOR_WRITE_GOLDEN=1` writes it.
pub fn golden(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/intune").join(file);
    if std::env::var_os("INTUNE_CONNECTOR_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{file}");
}
