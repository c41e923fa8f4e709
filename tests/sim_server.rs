//! The simulator over real sockets and as a program, and the crate's own SCEP validator against it.

#![cfg(all(feature = "sim", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/example.rs"]
mod example;
mod sim_support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use intune_connector::adapters::TokioRuntime;
use intune_connector::adapters::http::{HttpMethod, HttpRequest};
use intune_connector::adapters::intune::{HttpAnswer, IntuneScep, ScepActions, ScepCall};
use intune_connector::ids::{SerialNumber, Thumbprint, TransactionId};
use intune_connector::ports::{
    ChallengeValidator as _, FailureNotification, PortError, ScepNotifier as _, SuccessNotification, ValidateRequest, Verdict,
};
use intune_connector::secret::SecretBytes;
use intune_connector::sim::{Endpoint, ExpectedCsr, Fault, FaultPlan, SimError, SimulatedIntune};
use intune_connector::terms::KeyAlgorithm;
use intune_connector::time::Timestamp;
use rustls_pki_types::CertificateSigningRequestDer;
use serde_json::{Value, json};
use sim_support::{Device, INTUNE_SCOPE, Lab, percent, provider, upn};

/// Plain HTTP/1.1 over a socket: status, header and as much of the body as came.
fn exchange(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Option<(u16, String, Vec<u8>)> {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
        .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some((status, head, answer[end + 4..].to_vec()))
}

/// A simulator that serves on a thread of its own until it is dropped.
struct Served {
    intune: SimulatedIntune,
    address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Served {
    fn start() -> Self {
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let runtime = Arc::new(TokioRuntime::new(tokio.handle().clone(), 4));
        let intune = SimulatedIntune::builder(provider(), runtime).build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = intune.listen(listener).unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = thread::spawn(move || tokio.block_on(server.run(stopped.map(|_| ()))).unwrap());
        Self { intune, address, stop: Some(stop), thread: Some(thread) }
    }

    fn token(&self) -> (u16, String, Value) {
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", self.intune.client_id()),
            ("client_secret", self.intune.client_secret()),
            ("scope", INTUNE_SCOPE),
        ];
        let body = fields.map(|(name, value)| format!("{name}={}", percent(value))).join("&");
        let path = format!("/{}/oauth2/v2.0/token", self.intune.tenant_id());
        let (status, head, body) =
            exchange(self.address, "POST", &path, "Content-Type: application/x-www-form-urlencoded\r\n", &body).unwrap();
        (status, head, serde_json::from_slice(&body).unwrap())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn clients_are_served_over_http_and_told_this_address() {
    let served = Served::start();
    let (status, head, token) = served.token();
    assert_eq!((status, token["token_type"].as_str()), (200, Some("Bearer")), "{token}");
    assert!(head.contains("request-id: ") && head.contains("cache-control: no-store"), "{head}");
    let cloud = served.intune.cloud();
    assert_eq!(cloud.authority, format!("http://{}/", served.address));
    assert!(cloud.dangerous_plain_http_on_loopback && cloud.host_suffixes.contains("127.0.0.1"));
    let path = format!("/{}/v2.0/.well-known/openid-configuration", served.intune.tenant_id());
    let (_, _, body) = exchange(served.address, "GET", &path, "", "").unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert!(body["token_endpoint"].as_str().unwrap().starts_with(&cloud.authority));
    assert_eq!(exchange(served.address, "PUT", "/", "", "").unwrap().0, 405);
    assert_eq!(exchange(served.address, "GET", "/nothing", "", "").unwrap().0, 404);
}

#[test]
fn behind_a_proxy_clients_are_told_the_proxys_address() {
    let lab = Lab::with(|builder| builder.base_url("https://localhost:8443/"));
    let server = lab.intune.listen(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    let cloud = lab.intune.cloud();
    assert_eq!((server.base_url(), cloud.authority.as_str()), ("https://localhost:8443", "https://localhost:8443/"));
    assert!(!cloud.dangerous_plain_http_on_loopback);
}

#[test]
fn a_base_url_with_a_path_under_which_nothing_would_be_found_is_refused() {
    for base in [
        "https://localhost:8443/intune",
        "localhost:8443",
        "ftp://localhost",
        "https://",
        "https://localhost?x",
        "https://a@b",
        "https://a b",
    ] {
        let built = SimulatedIntune::builder(provider(), Arc::new(sim_support::Clock::default())).base_url(base).build();
        assert!(built.unwrap_err().to_string().contains("scheme and authority"), "{base}");
    }
    assert!(Lab::with(|builder| builder.base_url("https://localhost:8443/")).discover("PkiConnectorFEService").is_some());
}

#[test]
fn an_address_of_version_6_is_served_too() {
    let lab = Lab::new();
    let Ok(listener) = TcpListener::bind("[::1]:0") else { return };
    let server = lab.intune.listen(listener).unwrap();
    assert!(server.base_url().starts_with("http://[::1]:"));
    assert!(lab.intune.cloud().host_suffixes.contains("[::1]"));
}

#[test]
fn drops_and_truncations_end_connections() {
    let served = Served::start();
    let plan = FaultPlan::none()
        .with_fault(Endpoint::Metadata, 1, Fault::DropBefore)
        .with_fault(Endpoint::Metadata, 2, Fault::DropAfter)
        .with_fault(Endpoint::Metadata, 3, Fault::Truncate);
    served.intune.set_faults(1, plan);
    let get = || exchange(served.address, "GET", "/common/discovery/v2.0/keys", "", "");
    assert!(get().is_none());
    assert!(get().is_none());
    let (status, head, body) = get().expect("a truncated answer has a header");
    let announced: usize = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    assert!(status == 200 && body.len() < announced, "{} of {announced}", body.len());
    assert_eq!(get().unwrap().2.len(), announced);
}

#[test]
fn a_body_that_is_too_long_is_refused() {
    let served = Served::start();
    let mut stream = TcpStream::connect(served.address).unwrap();
    write!(stream, "POST /x/oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Length: 17000000\r\n\r\n").unwrap();
    // The server may have ended the connection before all of it is written.
    let _ = stream.write_all(&vec![b'a'; 17_000_000]);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 413"), "{:?}", String::from_utf8_lossy(&answer));
    assert_eq!(served.token().0, 200, "it still serves");
}

#[test]
fn the_control_endpoint_wants_its_key() {
    let served = Served::start();
    let body = json!({ "expected": { "subject": "CN=Jane" } }).to_string();
    let ask = |headers: &str| exchange(served.address, "POST", "/control/v1/challenges", headers, &body).unwrap();
    assert_eq!(ask("").0, 401);
    assert_eq!(ask("x-control-key: wrong\r\n").0, 401);
    let (status, _, issued) = ask(&format!("x-control-key: {}\r\n", served.intune.control_key()));
    let issued: Value = serde_json::from_slice(&issued).unwrap();
    assert!(status == 200 && issued["challenge"].as_str().is_some_and(|challenge| challenge.len() > 500), "{issued}");
}

#[test]
fn other_addresses_than_loopback_are_refused() {
    let lab = Lab::new();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let Ok(listener) = TcpListener::bind(address) else { continue };
        let error = lab.intune.listen(listener).unwrap_err();
        assert!(matches!(error, SimError::NotLoopback(_)) && error.to_string().contains("127.0.0.1"), "{error}");
    }
    assert!(lab.intune.cloud().graph.starts_with("https://"), "its address is as before");
}

/// Posts into the simulator with a token and a location of its own: the least that a client must do.
#[derive(Debug)]
struct Thin(SimulatedIntune);

#[async_trait]
impl ScepActions for Thin {
    async fn post(&self, call: ScepCall<'_>) -> Result<HttpAnswer, PortError> {
        let base = self.0.cloud().graph;
        let lab = Lab { intune: self.0.clone(), clock: Arc::default(), base };
        let token = lab.token(INTUNE_SCOPE);
        let url = format!("{}/{}", lab.discover("ScepRequestValidationFEService").unwrap(), call.action);
        let request = HttpRequest::new(HttpMethod::Post, url)
            .with_bearer(&token)
            .with_header("api-version", "2018-02-20")
            .with_body("application/json; charset=utf-8", SecretBytes::copy_from(call.body.secret_bytes()));
        let answer = self.0.transport().send(request).await?;
        Ok(HttpAnswer::new(answer.status, answer.body.secret_bytes().to_vec(), Timestamp::default()))
    }
}

#[test]
fn the_crates_own_validator_and_notifier_are_understood() {
    let lab = Lab::new();
    let scep = IntuneScep::new(Arc::new(Thin(lab.intune.clone()))).with_ca_configuration("Contoso CA".parse().unwrap());
    let expected = ExpectedCsr::new("CN=Jane,O=Contoso").with_subject_alt_names([upn()]);
    let csr = |device: &Device| {
        let issued = lab.intune.issue_challenge(&expected).unwrap();
        CertificateSigningRequestDer::from(device.csr(issued.challenge.secret_str()))
    };
    let device = Device::new(KeyAlgorithm::EcP256);
    let good = csr(&device);
    let transaction = TransactionId::try_from(b"t-1".to_vec()).unwrap();
    let verdict =
        |csr: &CertificateSigningRequestDer<'_>| scep.validate(ValidateRequest::new(csr, &transaction)).now_or_never().unwrap().unwrap();
    assert!(matches!(verdict(&good), Verdict::Accepted(_)));
    let success = SuccessNotification::new(
        &transaction,
        &good,
        Thumbprint::new([0xab; 20]),
        SerialNumber::from_be_bytes(&[1, 2]).unwrap(),
        Timestamp::from_secs(1_900_000_000),
        "Contoso CA".to_owned(),
    );
    scep.success(success).now_or_never().unwrap().unwrap();
    let entry = lab.intune.transactions().remove(0);
    assert_eq!(
        (entry.certificates[0].thumbprint.as_str(), entry.certificates[0].ca_configuration.as_deref()),
        ("AB".repeat(20).as_str(), Some("Contoso CA"))
    );
    let joe = Device { subject: "CN=Joe".to_owned(), ..Device::new(KeyAlgorithm::EcP256) };
    let Verdict::Rejected { code, .. } = verdict(&csr(&joe)) else { panic!("accepted") };
    assert_eq!(code, "SubjectNameMismatch");
    let other = TransactionId::try_from(b"t-2".to_vec()).unwrap();
    let failing = csr(&device);
    scep.validate(ValidateRequest::new(&failing, &other)).now_or_never().unwrap().unwrap();
    scep.failure(FailureNotification::new(&other, &failing, -2_147_418_113, "the CA failed")).now_or_never().unwrap().unwrap();
    assert!(lab.intune.findings().is_empty() && lab.intune.lost().is_empty());
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_example_prints_one_line_of_json_and_serves_what_it_says() {
    let command = Command::new(example::example("simulator"))
        .args(["--listen", "127.0.0.1:0", "--seed", "7", "--faults", "none", "--user", "jane@contoso.example"])
        .stdout(Stdio::piped())
        .spawn();
    let mut running = Running(command.unwrap());
    let mut lines = BufReader::new(running.0.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    let member = |name: &str| told[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {told}")).to_owned();
    let address: SocketAddr = member("graph").strip_prefix("http://").unwrap().parse().unwrap();
    let path = member("tokenEndpoint").strip_prefix(&member("graph")).unwrap().to_owned();
    let fields = [
        ("grant_type", "client_credentials".to_owned()),
        ("client_id", member("clientId")),
        ("client_secret", member("clientSecret")),
        ("scope", member("intuneScope")),
    ];
    let body = fields.map(|(name, value)| format!("{name}={}", percent(&value))).join("&");
    let (status, _, _) = exchange(address, "POST", &path, "Content-Type: application/x-www-form-urlencoded\r\n", &body).unwrap();
    assert_eq!(status, 200);
    let queue = format!("{}/capabilities", member("openQueue").strip_prefix(&member("graph")).unwrap());
    let bearer = format!("Authorization: Bearer {}\r\n", member("openQueueToken"));
    assert_eq!(exchange(address, "GET", &queue, &bearer, "").unwrap().0, 200);
    assert_eq!(exchange(address, "GET", &queue, "", "").unwrap().0, 401);
    let control = format!("x-control-key: {}\r\n", member("controlKey"));
    let (status, _, ledger) = exchange(address, "GET", "/control/v1/ledger", &control, "").unwrap();
    assert_eq!((status, &serde_json::from_slice::<Value>(&ledger).unwrap()["lost"]), (200, &json!([])));
    #[cfg(unix)]
    {
        let stopped = Command::new("kill").args(["-TERM", &running.0.id().to_string()]).status().unwrap();
        assert!(stopped.success() && running.0.wait().unwrap().success());
    }
}

#[test]
fn the_example_refuses_other_addresses_and_unknown_arguments_with_2() {
    for arguments in [
        &["--listen", "0.0.0.0:0"][..],
        &["--listen", "192.0.2.1:80"],
        &["--listen", "127.0.0.1:0", "--faults", "wild"],
        &["--verbose"],
        &[],
    ] {
        let output = Command::new(example::example("simulator")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("usage: simulator"));
    }
    let help = Command::new(example::example("simulator")).arg("--help").output().unwrap();
    assert!(help.status.success() && String::from_utf8(help.stdout).unwrap().contains("--faults none|mild|harsh"));
}

#[test]
fn a_delayed_answer_of_the_server_comes() {
    let served = Served::start();
    served.intune.set_faults(1, FaultPlan::none().with_fault(Endpoint::Token, 1, Fault::Delay { millis: 1 }));
    assert_eq!(served.token().0, 200);
    assert_eq!(served.intune.played_faults().len(), 1);
}
