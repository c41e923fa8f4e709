//! A SCEP server over HTTP in front of a CA in memory, with one challenge for all: to try clients against, not to enrol devices.
//!
//! `scep_service --listen ADDR --challenge SECRET --ca rsa|ec --dir DIR [--legacy]`
//!
//! Prints one line `ready URL` when it serves. DIR gets `ca.pem`, `crl.pem` and the event logs `admin.jsonl` and `operational.jsonl`.
//! Stops at Ctrl-C, after the requests in hand. With `--ca ec` the CA signs by ECDSA; the RA that clients talk to is always RSA.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program talks to its user")]

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use intune_connector::adapters::{DangerousStaticChallenge, LocalCa, NoNotification, StdRuntime, VolatileJournal};
use intune_connector::crypto::CryptoProvider;
use intune_connector::event::{Channel, Event};
use intune_connector::message::name::Name;
use intune_connector::policy::IssuancePolicy;
use intune_connector::ports::{CertificateAuthority, EventSink};
use intune_connector::scep::{self, AlgorithmPolicy, RegistrationAuthority, Service};
use intune_connector::secret::Password;
use intune_connector::terms::{KeyAlgorithm, KeyUsage, oids};
use intune_connector::time::Timestamp;

const USAGE: &str = "usage: scep_service --listen ADDR --challenge SECRET --ca rsa|ec --dir DIR [--legacy]";
/// The service itself refuses messages over 64 KiB; this is what is read at all.
const MAX_BODY: usize = 256 << 10;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    std::fs::create_dir_all(&arguments.dir)?;

    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let ca = Arc::new(LocalCa::new(provider.clone(), "SCEP example CA".parse()?, arguments.ca)?);
    let service = service(provider, ca.clone(), &arguments).await?;
    write_pem(&arguments.dir.join("ca.pem"), "CERTIFICATE", ca.certificate().der())?;
    write_crl(&ca, &arguments.dir).await?;

    let listener = tokio::net::TcpListener::bind(&arguments.listen).await?;
    let router = axum::Router::new().fallback(answer).with_state(service.clone()).into_make_service_with_connect_info::<SocketAddr>();
    println!("ready http://{}/scep", listener.local_addr()?);
    std::io::stdout().flush()?;

    let upkeep = tokio::spawn(maintain(service.clone(), ca.clone(), arguments.dir.clone()));
    axum::serve(listener, router).with_graceful_shutdown(stop()).await?;
    upkeep.abort();
    service.maintain(Timestamp::system_now()).await;
    write_crl(&ca, &arguments.dir).await
}

/// The service: an RA certificate from the CA, one static challenge, nobody to notify.
async fn service(provider: CryptoProvider, ca: Arc<LocalCa>, arguments: &Arguments) -> Result<Service> {
    let key = provider.key_generation()?.generate(KeyAlgorithm::Rsa2048)?;
    let (signing, decryption) = (provider.signing_keys()?.load(&key)?, provider.decryption_keys()?.load(&key)?);
    let subject = Name::parse_cert_str("CN=SCEP example RA,O=TEST ONLY do not trust")?;
    let year = Duration::from_secs(365 * 86_400);
    let certificate = ca.issue_service_certificate(subject, &signing.public_key(), KeyUsage::SIGN_AND_ENCIPHER, &[], year)?;

    // A demonstration: whoever knows the challenge gets any name. CSRs without extendedKeyUsage are served as well.
    let policy = IssuancePolicy::dangerous_allow_any_identity().allow_extended_key_usage(oids::ANY_EXTENDED_KEY_USAGE.parse()?);
    let algorithms = if arguments.legacy { AlgorithmPolicy::DangerousAllow3DesAndSha1 } else { AlgorithmPolicy::Modern };
    let service = Service::builder(
        provider,
        Arc::new(VolatileJournal::new()),
        ca.name().clone(),
        ca,
        RegistrationAuthority::single(certificate.der().clone(), signing, decryption),
        Arc::new(DangerousStaticChallenge::new(Password::from(arguments.challenge.as_str()))?),
        Arc::new(NoNotification),
    )
    .tenant("example.invalid".parse()?)
    .instance("scep-example".parse()?)
    .runtime(Arc::new(StdRuntime::new()?))
    .sink(Arc::new(JsonLines::create(&arguments.dir)?))
    .policy(policy)
    .algorithms(algorithms)
    .validity(Duration::from_secs(90 * 86_400));
    Ok(service.build().await?)
}

/// Any path is the service's. The query goes in as received: decoding would destroy the '+' of base64.
async fn answer(State(service): State<Service>, ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request) -> Response {
    let method = scep::Method::from_name(request.method().as_str());
    let query = request.uri().query().unwrap_or_default().to_owned();
    let Ok(body) = to_bytes(request.into_body(), MAX_BODY).await else { return status(413) };
    let request = scep::Request::new(method, query, body.to_vec()).with_peer(peer.ip());
    // On a task of its own: a client that hangs up must not stop a request half way.
    let Ok(answer) = tokio::spawn(async move { service.handle(request).await }).await else { return status(500) };
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status.try_into().unwrap_or_default();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.media_type));
    if let Some(after) = answer.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    response
}

fn status(code: u16) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code.try_into().unwrap_or_default();
    response
}

/// Stored notifications, orphans and the CRL, every ten seconds.
async fn maintain(service: Service, ca: Arc<LocalCa>, dir: PathBuf) {
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        service.maintain(Timestamp::system_now()).await;
        if let Err(error) = write_crl(&ca, &dir).await {
            eprintln!("the CRL was not written: {error}");
        }
    }
}

async fn stop() {
    // Without a signal handler it serves until it is killed.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn write_crl(ca: &LocalCa, dir: &Path) -> Result<()> {
    write_pem(&dir.join("crl.pem"), "X509 CRL", &ca.crl().await?)
}

fn write_pem(path: &Path, label: &str, der: &[u8]) -> Result<()> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        for chunk in line.chunks(3) {
            let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
            for at in 0..4 {
                text.push(if at <= chunk.len() { char::from(LETTERS[(word >> (18 - 6 * at)) as usize & 63]) } else { '=' });
            }
        }
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    // Whoever reads it meanwhile sees the old file or the new one.
    let new = path.with_extension("new");
    std::fs::write(&new, text)?;
    Ok(std::fs::rename(new, path)?)
}

/// Writes each event as one line of JSON.
#[derive(Debug)]
struct JsonLines {
    admin: Mutex<BufWriter<File>>,
    operational: Mutex<BufWriter<File>>,
}

impl JsonLines {
    fn create(dir: &Path) -> Result<Self> {
        let open = |name| File::create(dir.join(name)).map(|file| Mutex::new(BufWriter::new(file)));
        Ok(Self { admin: open("admin.jsonl")?, operational: open("operational.jsonl")? })
    }
}

impl EventSink for JsonLines {
    fn emit(&self, event: &Event) {
        let log = if event.id.channel() == Channel::Admin { &self.admin } else { &self.operational };
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk must not stop the service.
        let _ = serde_json::to_writer(&mut *log, event);
        let _ = log.write_all(b"\n");
        let _ = log.flush();
    }
}

struct Arguments {
    listen: String,
    challenge: String,
    ca: KeyAlgorithm,
    dir: PathBuf,
    legacy: bool,
}

impl Arguments {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let (mut listen, mut challenge, mut ca, mut dir, mut legacy) = (None, None, None, None, false);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"));
            match argument.as_str() {
                "--listen" => listen = Some(value()?),
                "--challenge" => challenge = Some(value()?),
                "--dir" => dir = Some(PathBuf::from(value()?)),
                "--ca" => {
                    ca = Some(match value()?.as_str() {
                        "rsa" => KeyAlgorithm::Rsa2048,
                        "ec" => KeyAlgorithm::EcP256,
                        _ => return Err(format!("--ca is rsa or ec\n{USAGE}").into()),
                    });
                }
                "--legacy" => legacy = true,
                _ => return Err(format!("{argument} is no option\n{USAGE}").into()),
            }
        }
        match (listen, challenge, ca, dir) {
            (Some(listen), Some(challenge), Some(ca), Some(dir)) => Ok(Self { listen, challenge, ca, dir, legacy }),
            _ => Err(USAGE.into()),
        }
    }
}
