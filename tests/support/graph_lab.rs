//! A small Graph in process: users, `userPfxCertificates` in pages of two, `$filter`, and what goes wrong on demand.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic, reason = "support of a test")]

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::adapters::entra::{AccessToken, TokenSource};
use intune_connector::adapters::http::{HttpError, HttpErrorKind, HttpMethod, HttpRequest, HttpResponse, HttpTransport};
use intune_connector::ports::PortError;
use intune_connector::time::Timestamp;
use serde_json::{Value, json};

pub const GRAPH: &str = "https://graph.microsoft.com";
pub const CERTIFICATES: &str = "/beta/deviceManagement/userPfxCertificates";

/// What happens to one request in place of a plain answer.
pub enum Fault {
    /// This answer, and nothing is done.
    Answer(HttpResponse),
    /// It is done, and the answer is lost.
    LoseAnswer,
    /// It is lost on the way, and the client cannot know.
    LoseRequest,
    /// It is not sent.
    NoConnection,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: HttpMethod,
    pub url: String,
    pub token: String,
    pub body: Option<Value>,
    pub raw: Vec<u8>,
    pub client_request_id: String,
}

#[derive(Default)]
struct Inner {
    users: Vec<(String, String)>,
    records: Vec<Value>,
    faults: VecDeque<(HttpMethod, Fault)>,
    seen: Vec<Seen>,
    good_token: Option<String>,
}

#[derive(Default)]
pub struct GraphLab {
    inner: Mutex<Inner>,
}

impl std::fmt::Debug for GraphLab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GraphLab")
    }
}

impl GraphLab {
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub fn user(&self, upn: &str) -> &Self {
        let mut inner = self.inner.lock().unwrap();
        let number = inner.users.len() + 1;
        inner.users.push((upn.to_owned(), format!("00000000-aaaa-bbbb-cccc-{number:012}")));
        self
    }

    /// The next request of that method meets that fault.
    pub fn then(&self, method: HttpMethod, fault: Fault) -> &Self {
        self.inner.lock().unwrap().faults.push_back((method, fault));
        self
    }

    /// From now on only this token is good.
    pub fn demand(&self, token: &str) {
        self.inner.lock().unwrap().good_token = Some(token.to_owned());
    }

    pub fn put(&self, record: Value) {
        self.inner.lock().unwrap().records.push(record);
    }

    pub fn records(&self) -> Vec<Value> {
        self.inner.lock().unwrap().records.clone()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.inner.lock().unwrap().seen.clone()
    }

    pub fn count(&self, method: HttpMethod) -> usize {
        self.seen().iter().filter(|seen| seen.method == method).count()
    }
}

#[async_trait]
impl HttpTransport for GraphLab {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = self.handle(request);
        // The answer is under way: whoever stops waiting now does not know what was done.
        let mut arrived = false;
        std::future::poll_fn(move |context| {
            context.waker().wake_by_ref();
            if std::mem::replace(&mut arrived, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        answer
    }
}

impl GraphLab {
    pub fn handle(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut inner = self.inner.lock().unwrap();
        let raw = request.body.as_ref().map(|body| body.secret_bytes().to_vec()).unwrap_or_default();
        let token = request.header("authorization").unwrap().strip_prefix("Bearer ").unwrap().to_owned();
        let client_request_id = request.header("client-request-id").unwrap().to_owned();
        assert_eq!(request.header("accept"), Some("application/json"));
        let body = request.body.as_ref().map(|_| {
            assert_eq!(request.header("content-type"), Some("application/json"));
            serde_json::from_slice(&raw).unwrap()
        });
        let seen = Seen { method: request.method, url: request.url, token, body, raw, client_request_id };
        inner.seen.push(seen.clone());
        let number = inner.seen.len();
        let at = inner.faults.iter().position(|(method, _)| *method == seen.method);
        let fault = at.and_then(|at| inner.faults.remove(at)).map(|(_, fault)| fault);
        let named = |answer: HttpResponse| {
            answer.with_header("request-id", format!("request-{number}")).with_header("client-request-id", seen.client_request_id.clone())
        };
        match fault {
            Some(Fault::Answer(answer)) => Ok(named(answer)),
            Some(Fault::LoseRequest) => Err(HttpError::new(HttpErrorKind::Timeout, "graph.microsoft.com: no answer in time")),
            Some(Fault::NoConnection) => Err(HttpError::new(HttpErrorKind::Connect, "graph.microsoft.com: refused")),
            Some(Fault::LoseAnswer) => {
                inner.answer(&seen);
                Err(HttpError::new(HttpErrorKind::Closed, "graph.microsoft.com: the connection ended"))
            }
            None => Ok(named(inner.answer(&seen))),
        }
    }
}

impl Inner {
    fn answer(&mut self, seen: &Seen) -> HttpResponse {
        if self.good_token.as_ref().is_some_and(|good| *good != seen.token) {
            return error(401, "InvalidAuthenticationToken", "Access token is empty.");
        }
        let path = seen.url.strip_prefix(GRAPH).expect("nothing goes elsewhere");
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let path = unescape(path);
        let parameter = |name: &str| {
            query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| unescape(value))
        };
        match (seen.method, path.as_str()) {
            (HttpMethod::Get, "/beta/users") => {
                let wanted = literals(parameter("$filter").unwrap().strip_prefix("userPrincipalName eq ").unwrap());
                let user = |(upn, id): &(String, String)| json!({ "id": id, "userPrincipalName": upn });
                let found: Vec<Value> = self.users.iter().filter(|(upn, _)| upn.eq_ignore_ascii_case(&wanted[0])).map(user).collect();
                reply(200, &json!({ "value": found }))
            }
            (HttpMethod::Get, CERTIFICATES) => self.list(parameter("$filter"), parameter("$skiptoken")),
            (HttpMethod::Post, CERTIFICATES) => self.create(seen.body.clone().unwrap()),
            (method, path) => {
                let key = path.strip_prefix(CERTIFICATES).expect("a path of Graph");
                // Both forms of a key that OData has.
                let id = match key.strip_prefix("('") {
                    Some(quoted) => quoted.strip_suffix("')").unwrap().replace("''", "'"),
                    None => key.strip_prefix('/').unwrap().to_owned(),
                };
                let Some(at) = self.records.iter().position(|record| record["id"] == id) else {
                    return error(404, "ResourceNotFound", "no such record");
                };
                match method {
                    HttpMethod::Delete => {
                        self.records.remove(at);
                        HttpResponse::new(204, Vec::new())
                    }
                    HttpMethod::Patch => {
                        let changes = seen.body.clone().unwrap();
                        self.records[at].as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
                        reply(200, &public(&self.records[at]))
                    }
                    _ => panic!("{method} {path}"),
                }
            }
        }
    }

    fn list(&self, filter: Option<String>, skip: Option<String>) -> HttpResponse {
        let wanted = filter.as_deref().map(literals).unwrap_or_default();
        let is = |record: &Value, member: &str, at: usize| {
            wanted.get(at).is_none_or(|wanted| record[member].as_str().unwrap().to_lowercase() == *wanted)
        };
        let found: Vec<&Value> =
            self.records.iter().filter(|record| is(record, "userPrincipalName", 0) && is(record, "thumbprint", 1)).collect();
        let skip: usize = skip.map_or(0, |skip| skip.parse().unwrap());
        let page: Vec<Value> = found.iter().skip(skip).take(2).map(|record| public(record)).collect();
        let mut body = json!({ "@odata.context": "https://graph.microsoft.com/beta/$metadata#x", "value": page });
        if found.len() > skip + 2 {
            body["@odata.nextLink"] = format!("{GRAPH}{CERTIFICATES}?$skiptoken={}", skip + 2).into();
        }
        reply(200, &body)
    }

    fn create(&mut self, mut record: Value) -> HttpResponse {
        let upn = record["userPrincipalName"].as_str().unwrap();
        let Some((_, user)) = self.users.iter().find(|(known, _)| known.eq_ignore_ascii_case(upn)) else {
            return error(400, "BadRequest", "An error has occurred");
        };
        let id = format!("{}-{}", user.replace('-', ""), record["thumbprint"].as_str().unwrap());
        if self.records.iter().any(|record| record["id"] == id) {
            return error(409, "Conflict", "there is one");
        }
        record["id"] = id.into();
        self.records.push(record.clone());
        reply(201, &public(&record))
    }
}

/// A record as it is given out: what was secret comes back blank.
fn public(record: &Value) -> Value {
    let mut record = record.clone();
    record["encryptedPfxBlob"] = "AA==".into();
    record["encryptedPfxPassword"] = "".into();
    record
}

pub fn reply(status: u16, body: &Value) -> HttpResponse {
    HttpResponse::new(status, body.to_string().into_bytes())
}

/// The gateway's envelope: JSON as text in JSON.
pub fn error(status: u16, code: &str, message: &str) -> HttpResponse {
    let inner = json!({ "_version": 3, "Message": format!("{message} - Operation ID (for customer support): 0 - Activity ID: 5b2f6d0c"), "CustomApiErrorPhrase": "", "RetryAfter": null, "ErrorSourceService": "", "HttpHeaders": "{}" });
    reply(status, &json!({ "error": { "code": code, "message": inner.to_string(), "innerError": { "request-id": "inner" } } }))
}

/// The string literals of a filter, read as OData reads them.
fn literals(filter: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = filter.chars().peekable();
    while let Some(character) = rest.next() {
        if character != '\'' {
            continue;
        }
        let mut literal = String::new();
        loop {
            match rest.next().expect("a literal ends") {
                '\'' if rest.peek() == Some(&'\'') => {
                    rest.next();
                    literal.push('\'');
                }
                '\'' => break,
                other => literal.push(other),
            }
        }
        found.push(literal);
    }
    found
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let hex = [rest.next().unwrap(), rest.next().unwrap()];
            u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
        } else {
            byte
        });
    }
    String::from_utf8(bytes).unwrap()
}

/// Gives `token-1` until it is refused, then `token-2`, and so on.
#[derive(Debug, Default)]
pub struct Tokens {
    refused: Mutex<usize>,
    fails: Mutex<Option<PortError>>,
}

impl Tokens {
    pub fn refusals(&self) -> usize {
        *self.refused.lock().unwrap()
    }

    pub fn fail(&self, error: PortError) {
        *self.fails.lock().unwrap() = Some(error);
    }
}

#[async_trait]
impl TokenSource for Tokens {
    async fn token(&self, scope: &str, _: Duration) -> Result<Arc<AccessToken>, PortError> {
        assert_eq!(scope, "https://graph.microsoft.com/.default");
        if let Some(error) = self.fails.lock().unwrap().take() {
            return Err(error);
        }
        let token = format!("token-{}-of-the-tests", self.refusals() + 1);
        Ok(Arc::new(AccessToken::new(token.into(), Timestamp::from_secs(4_000_000_000))))
    }

    fn refused(&self, scope: &str, token: &AccessToken) {
        assert_eq!(scope, "https://graph.microsoft.com/.default");
        let mut refused = self.refused.lock().unwrap();
        if token.secret_str() == format!("token-{}-of-the-tests", *refused + 1) {
            *refused += 1;
        }
    }
}

pub const TENANT: &str = "contoso.example";
pub const CLIENT_SECRET: &str = "the-client-secret-of-the-tests";

/// The lab and a token endpoint over plain HTTP on a loopback address, until the process ends.
pub fn serve(lab: Arc<GraphLab>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let base = url.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (lab, base) = (lab.clone(), base.clone());
            std::thread::spawn(move || serve_one(&lab, &base, &stream.unwrap()));
        }
    });
    url
}

fn serve_one(lab: &GraphLab, base: &str, mut stream: &TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let method =
        [HttpMethod::Get, HttpMethod::Post, HttpMethod::Patch, HttpMethod::Delete].into_iter().find(|known| known.as_str() == method)?;
    let mut request = HttpRequest::new(method, format!("{GRAPH}{path}"));
    let mut length = 0;
    let mut content_type = String::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "content-type" => content_type = value.to_owned(),
            _ => request = request.with_header(name, value),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let answer = if path == format!("/{TENANT}/oauth2/v2.0/token") {
        let form = String::from_utf8(body).unwrap();
        let good =
            form.contains(&format!("client_secret={CLIENT_SECRET}")) && form.contains("scope=https%3A%2F%2Fgraph.microsoft.com%2F.default");
        let token = json!({ "token_type": "Bearer", "expires_in": 3_599, "access_token": "token-1-of-the-tests" });
        if good { reply(200, &token) } else { reply(401, &json!({ "error": "invalid_client", "error_description": "AADSTS7000215: no" })) }
    } else {
        if length > 0 {
            request = request.with_body(&content_type, body.into());
        }
        lab.handle(request).ok()?
    };
    let text = String::from_utf8(answer.body.secret_bytes().to_vec()).unwrap().replace(GRAPH, base);
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\nContent-Type: application/json\r\n", answer.status);
    answer.headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    if answer.status != 204 {
        head += &format!("Content-Length: {}\r\n", text.len());
    }
    stream.write_all(format!("{head}\r\n{text}").as_bytes()).ok()
}
