//! A queue and two CAs for fleets, with what each wrote down; asked in the same process, or over a socket by other ones.

#![allow(dead_code, clippy::unwrap_used, reason = "support of tests, each of which uses a part of it")]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::connector::{ConnectorBuilder, QueueSettings};
use intune_connector::crypto::{CryptoProvider, SignatureAlgorithm, SigningKey, sign_now};
use intune_connector::ids::{CaName, IdempotencyKey, SerialNumber};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::{Certificate, CertificateBuilder};
use intune_connector::message::csr::Csr;
use intune_connector::message::name::Name;
use intune_connector::pkcs::PkcsConfig;
use intune_connector::policy::{IssuancePolicy, RecipientPolicy};
use intune_connector::ports::{
    Batch, CaCapabilities, CertificateAuthority, CertificatePlan, CertificateStatus, CompleteAnswer, CompleteRequest, ExtendLeaseRequest,
    FindAllAnswer, FindAnswer, FindRequest, IntuneQueue, IssueAnswer, IssueRequest, Issued, KnownCertificate, LookupAnswer, LookupRequest,
    Outcome, Payload, PkcsRequest, PortError, QueueCapabilities, QueueItem, ReceiveRequest, RequestMeta, ResultItem, RevokeAnswer,
    RevokeBy, RevokeCall, RevokeRequest, Runtime, StatusRequest,
};
use intune_connector::revoke::RevokeConfig;
use intune_connector::terms::{Flow, KeyAlgorithm, KeyUsage, SubjectAltName, oids};
use intune_connector::time::Timestamp;
use rustls_pki_types::CertificateDer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub const TENANT: &str = "contoso.example";
pub const CAS: [&str; 2] = ["North CA", "South CA"];
/// How long the queue keeps a delivered request from others, unless that is prolonged.
pub const QUEUE_LEASE: Duration = Duration::from_secs(8);
const SIGN: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;
const DAY: Duration = Duration::from_secs(86_400);
const MOST: u32 = 16 << 20;

pub fn provider() -> &'static CryptoProvider {
    static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(CryptoProvider::ring_and_aws_lc_rs);
    &PROVIDER
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Ask {
    Receive { flow: Flow, max: usize },
    Complete { instance: String, results: Vec<ResultItem> },
    Extend { requests: Vec<String> },
    Issue { ca: usize, instance: String, key: IdempotencyKey, csr: Vec<u8>, plan: CertificatePlan },
    FindAll { key: IdempotencyKey },
    Lookup { serial: SerialNumber },
    Revoke { serial: SerialNumber },
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    Items(Vec<(RequestMeta, Body)>),
    Certificates(Vec<Vec<u8>>),
    /// Whether it was before; absent when nothing is known of it.
    Revoked(Option<bool>),
    Done,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Body {
    Pkcs { ca: usize, account: String },
    Revoke { serial: SerialNumber },
}

/// What an instance is configured with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Configuration {
    pub roots: Vec<Vec<u8>>,
    pub device: Vec<u8>,
}

pub struct Request {
    meta: RequestMeta,
    body: Body,
    leased_until: Option<Timestamp>,
    pub ca: Option<usize>,
    /// Every result that came, each once.
    pub results: Vec<Outcome>,
    pub uploads: u32,
    /// Delivered again after its result came.
    again: bool,
    /// Who uploaded first.
    pub by: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub key: Option<IdempotencyKey>,
    pub serial: SerialNumber,
    pub certificate: Vec<u8>,
    pub revoked: u32,
    pub asked_by: String,
}

#[derive(Default)]
pub struct Ledgers {
    pub requests: Vec<Request>,
    ids: HashMap<String, usize>,
    waiting: BTreeMap<Flow, VecDeque<usize>>,
    out: VecDeque<usize>,
    pub open: usize,
    pub issued: Vec<Entry>,
    by_serial: HashMap<SerialNumber, usize>,
    by_key: HashMap<IdempotencyKey, Vec<usize>>,
    pub odd: Vec<String>,
}

/// The judges' side.
pub struct Lab {
    keys: Vec<Arc<dyn SigningKey>>,
    roots: Vec<Certificate>,
    pub configuration: Configuration,
    state: Mutex<Ledgers>,
}

impl fmt::Debug for Lab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lab")
    }
}

fn key(algorithm: KeyAlgorithm) -> Arc<dyn SigningKey> {
    let key = provider().key_generation().unwrap().generate(algorithm).unwrap();
    provider().signing_keys().unwrap().load(&key).unwrap()
}

fn serial() -> SerialNumber {
    let mut bytes = [0; 16];
    provider().random().unwrap().fill(&mut bytes).unwrap();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_be_bytes(&bytes).unwrap()
}

fn sign(key: &dyn SigningKey, builder: CertificateBuilder) -> Certificate {
    let unsigned = builder.to_be_signed(SIGN).unwrap();
    let signature = sign_now(key, SIGN, unsigned.message()).unwrap();
    Certificate::from_der(&unsigned.finish(&signature), &Limits::default()).unwrap()
}

impl Lab {
    pub fn new(now: Timestamp) -> Arc<Self> {
        let keys: Vec<_> = CAS.iter().map(|_| key(KeyAlgorithm::EcP256)).collect();
        let roots: Vec<Certificate> = keys
            .iter()
            .zip(CAS)
            .map(|(key, name)| {
                let spki = key.public_key();
                let subject = Name::parse_cert_str(&format!("CN={name},O=TEST ONLY do not trust")).unwrap();
                let usage = KeyUsage { key_cert_sign: true, crl_sign: true, ..KeyUsage::default() };
                let builder = CertificateBuilder::new(subject, &spki, now.saturating_sub(DAY), now.saturating_add(DAY * 7_000), serial())
                    .key_usage(usage)
                    .ca(None)
                    .key_identifiers_of(provider(), &spki)
                    .unwrap();
                sign(&**key, builder)
            })
            .collect();
        let device_key = key(KeyAlgorithm::Rsa2048);
        let subject = Name::parse_cert_str("CN=device").unwrap();
        let device = certify((&*keys[0], &roots[0]), subject, &device_key.public_key(), now, |builder| {
            builder.key_usage(KeyUsage::SIGN_AND_ENCIPHER)
        });
        let configuration = Configuration { roots: roots.iter().map(|root| root.der().to_vec()).collect(), device: device.der().to_vec() };
        Arc::new(Self { keys, roots, configuration, state: Mutex::default() })
    }

    pub fn state(&self) -> MutexGuard<'_, Ledgers> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn push_pkcs(&self, ca: usize) {
        let account = format!("user{}@{TENANT}", self.state().requests.len());
        self.push(Flow::Pkcs, Some(ca), Body::Pkcs { ca, account });
    }

    pub fn push_revocation(&self) {
        let serial = serial();
        let mut state = self.state();
        let at = state.issued.len();
        state.by_serial.insert(serial.clone(), at);
        state.issued.push(Entry { key: None, serial: serial.clone(), certificate: Vec::new(), revoked: 0, asked_by: String::new() });
        drop(state);
        self.push(Flow::Revoke, None, Body::Revoke { serial });
    }

    fn push(&self, flow: Flow, ca: Option<usize>, body: Body) {
        let mut state = self.state();
        let at = state.requests.len();
        let mut meta = RequestMeta::new(format!("request {at}").parse().unwrap(), TENANT.parse().unwrap(), flow);
        meta.device = Some("device".parse().unwrap());
        state.ids.insert(meta.id.to_string(), at);
        state.waiting.entry(flow).or_default().push_back(at);
        state.open += 1;
        state.requests.push(Request { meta, body, leased_until: None, ca, results: Vec::new(), uploads: 0, again: false, by: None });
    }

    pub fn answer(&self, ask: Ask, now: Timestamp) -> Reply {
        let mut state = self.state();
        match ask {
            Ask::Receive { flow, max } => Reply::Items(state.deliver(flow, max, now)),
            Ask::Complete { instance, results } => {
                results.into_iter().for_each(|result| state.complete(&instance, result));
                Reply::Done
            }
            Ask::Extend { requests } => {
                for at in requests.iter().filter_map(|id| state.ids.get(id).copied()).collect::<Vec<_>>() {
                    let request = &mut state.requests[at];
                    if request.leased_until.is_some() {
                        request.leased_until = Some(now.saturating_add(QUEUE_LEASE));
                    }
                }
                Reply::Done
            }
            Ask::Issue { ca, instance, key, csr, plan } => {
                drop(state);
                let csr = Csr::from_der(&csr, &Limits::default()).unwrap();
                csr.verify_self_signature(provider()).unwrap();
                let subject = Name::from_der(&plan.subject).unwrap();
                let certificate = certify((&*self.keys[ca], &self.roots[ca]), subject, csr.spki(), now, |builder| {
                    let builder = builder.key_usage(plan.key_usage).extended_key_usage(&plan.extended_key_usage);
                    builder.subject_alt_names(&plan.subject_alt_names)
                });
                let (serial, certificate) = (certificate.serial().unwrap().clone(), certificate.der().to_vec());
                let mut state = self.state();
                let at = state.issued.len();
                state.by_serial.insert(serial.clone(), at);
                state.by_key.entry(key).or_default().push(at);
                let entry = Entry { key: Some(key), serial, certificate: certificate.clone(), revoked: 0, asked_by: instance };
                state.issued.push(entry);
                Reply::Certificates(vec![certificate])
            }
            Ask::FindAll { key } => {
                let found = state.by_key.get(&key).into_iter().flatten();
                Reply::Certificates(found.map(|at| state.issued[*at].certificate.clone()).collect())
            }
            Ask::Lookup { serial } => {
                let known = state.by_serial.get(&serial).map(|at| state.issued[*at].revoked > 0);
                Reply::Revoked(known)
            }
            Ask::Revoke { serial } => {
                let Some(at) = state.by_serial.get(&serial).copied() else { return Reply::Revoked(None) };
                state.issued[at].revoked += 1;
                Reply::Revoked(Some(state.issued[at].revoked > 1))
            }
        }
    }

    /// Answers whoever connects, for ever.
    pub fn serve(self: &Arc<Self>, socket: &Path, ca_takes: Duration) {
        let (lab, listener) = (Arc::clone(self), UnixListener::bind(socket).unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let lab = Arc::clone(&lab);
                std::thread::spawn(move || {
                    // An asker that was killed hears nothing.
                    let Ok(ask) = read::<Ask>(&stream) else { return };
                    let is_issue = matches!(ask, Ask::Issue { .. });
                    let reply = lab.answer(ask, Timestamp::system_now());
                    if is_issue {
                        std::thread::sleep(ca_takes);
                    }
                    let _ = write(&stream, &reply);
                });
            }
        });
    }

    /// Certificates that live and that nobody got.
    pub fn undelivered(&self) -> usize {
        let state = self.state();
        let delivered: std::collections::HashSet<&SerialNumber> = state
            .requests
            .iter()
            .flat_map(|request| &request.results)
            .filter_map(|outcome| match outcome {
                Outcome::Pkcs(result) => Some(&result.serial),
                _ => None,
            })
            .collect();
        state.issued.iter().filter(|entry| entry.key.is_some() && entry.revoked == 0 && !delivered.contains(&entry.serial)).count()
    }

    /// What went wrong with the requests, by the ledgers of queue and CAs.
    pub fn wrong(&self) -> Vec<String> {
        let state = self.state();
        let mut wrong = state.odd.clone();
        let mut delivered = HashMap::new();
        for request in &state.requests {
            let id = &request.meta.id;
            match (&request.results[..], &request.body) {
                ([Outcome::Pkcs(result)], Body::Pkcs { .. }) => {
                    if delivered.insert(result.serial.clone(), id).is_some() {
                        wrong.push(format!("{id}: it got another one's certificate"));
                    }
                    match state.by_serial.get(&result.serial).map(|at| &state.issued[*at]) {
                        Some(entry) if entry.revoked == 0 => {}
                        Some(_) => wrong.push(format!("{id}: its certificate is revoked")),
                        None => wrong.push(format!("{id}: no CA issued its certificate")),
                    }
                }
                ([outcome @ Outcome::Revoke(_)], Body::Revoke { serial }) => {
                    if outcome.failure().is_some() || state.by_serial.get(serial).is_none_or(|at| state.issued[*at].revoked == 0) {
                        wrong.push(format!("{id}: not revoked: {outcome:?}"));
                    }
                }
                ([], _) => wrong.push(format!("{id}: lost, there is no result")),
                ([one], _) => wrong.push(format!("{id}: {one:?}")),
                (several, _) => wrong.push(format!("{id}: {} different results", several.len())),
            }
        }
        wrong
    }

    /// Requests by who completed them, but the first ones: those for a CA, or those for none.
    pub fn shares(&self, ca: Option<usize>, first: usize) -> BTreeMap<String, usize> {
        let mut shares = BTreeMap::new();
        for request in self.state().requests.iter().skip(first).filter(|request| request.ca == ca && request.by.is_some()) {
            *shares.entry(request.by.clone().unwrap_or_default()).or_default() += 1;
        }
        shares
    }
}

fn certify(
    (key, root): (&dyn SigningKey, &Certificate),
    subject: Name,
    spki: &[u8],
    now: Timestamp,
    fill: impl FnOnce(CertificateBuilder) -> CertificateBuilder,
) -> Certificate {
    // Shorter than any plan of these tests.
    let (start, end) = (now.saturating_sub(Duration::from_secs(300)), now.saturating_add(DAY * 300));
    let builder = CertificateBuilder::new(subject, spki, start, end, serial()).issuer(root.subject().clone()).end_entity();
    sign(key, fill(builder).key_identifiers_of(provider(), root.spki()).unwrap())
}

impl Ledgers {
    fn deliver(&mut self, flow: Flow, max: usize, now: Timestamp) -> Vec<(RequestMeta, Body)> {
        // What was given out longest ago first; a lease that was prolonged goes to the end.
        for _ in 0..self.out.len() {
            let Some(at) = self.out.pop_front() else { break };
            let request = &self.requests[at];
            match request.leased_until {
                None => {}
                Some(until) if until > now => {
                    self.out.push_back(at);
                    if until == now.saturating_add(QUEUE_LEASE) {
                        break;
                    }
                }
                Some(_) => self.waiting.entry(request.meta.flow).or_default().push_front(at),
            }
        }
        let mut items = Vec::new();
        while items.len() < max
            && let Some(at) = self.waiting.entry(flow).or_default().pop_front()
        {
            let request = &mut self.requests[at];
            request.leased_until = Some(now.saturating_add(QUEUE_LEASE));
            items.push((request.meta.clone(), request.body.clone()));
            self.out.push_back(at);
        }
        items
    }

    fn complete(&mut self, instance: &str, result: ResultItem) {
        let Some(at) = self.ids.get(result.meta.id.as_str()).copied() else {
            self.odd.push(format!("{}: a result of something that was never asked for", result.meta.id));
            return;
        };
        let request = &mut self.requests[at];
        request.uploads += 1;
        request.by.get_or_insert_with(|| instance.to_owned());
        let is_first = request.results.is_empty();
        if !request.results.contains(&result.outcome) {
            request.results.push(result.outcome);
        }
        request.leased_until = None;
        if is_first && at.is_multiple_of(7) {
            // Given out once more, as queues do now and then.
            request.again = true;
            let flow = request.meta.flow;
            self.waiting.entry(flow).or_default().push_back(at);
        } else if is_first || core::mem::take(&mut request.again) {
            self.open -= 1;
        }
    }
}

pub fn write(mut to: impl Write, message: &impl Serialize) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    to.write_all(&(bytes.len() as u32).to_be_bytes())?;
    to.write_all(&bytes)?;
    to.flush()
}

pub fn read<T: DeserializeOwned>(mut from: impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > MOST {
        return Err(io::Error::other("a message is too long"));
    }
    let mut bytes = vec![0; length as usize];
    from.read_exact(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// How an instance reaches the lab.
#[derive(Debug, Clone)]
pub enum Way {
    /// In the same process; calls take this long, those of a CA ten times as long.
    Here(Arc<Lab>, Arc<dyn Runtime>, Duration),
    /// Over a socket.
    There(PathBuf),
}

impl Way {
    async fn call(&self, ask: Ask) -> Result<Reply, PortError> {
        match self {
            Self::Here(lab, runtime, takes) => {
                let takes = if matches!(ask, Ask::Issue { .. } | Ask::Revoke { .. }) { *takes * 10 } else { *takes };
                runtime.sleep(takes).await;
                Ok(lab.answer(ask, runtime.now()))
            }
            Self::There(socket) => {
                let (done, answer) = futures_channel::oneshot::channel();
                let socket = socket.clone();
                // On a thread of its own: the connector has others in hand meanwhile.
                std::thread::spawn(move || {
                    let call = || -> io::Result<Reply> {
                        let stream = UnixStream::connect(&socket)?;
                        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
                        write(&stream, &ask)?;
                        read(&stream)
                    };
                    done.send(call()).map_err(drop)
                });
                match answer.await {
                    Ok(Ok(reply)) => Ok(reply),
                    other => Err(PortError::transient(format!("the lab is away: {other:?}"))),
                }
            }
        }
    }
}

fn unexpected(reply: &Reply) -> PortError {
    PortError::rejected(format!("an unexpected answer: {reply:?}"))
}

#[derive(Debug)]
pub struct LabQueue {
    way: Way,
    device: CertificateDer<'static>,
}

#[async_trait]
impl IntuneQueue for LabQueue {
    fn capabilities(&self) -> QueueCapabilities {
        let mut capabilities = QueueCapabilities::new(vec![Flow::Pkcs, Flow::Revoke]);
        capabilities.lease = Some(QUEUE_LEASE);
        capabilities
    }

    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, PortError> {
        let items = match self.way.call(Ask::Receive { flow: request.flow, max: request.max }).await? {
            Reply::Items(items) => items,
            other => return Err(unexpected(&other)),
        };
        let item = |(meta, body)| {
            let payload = match body {
                Body::Pkcs { ca, account } => {
                    let mut request = PkcsRequest::new(CAS[ca].parse().unwrap(), format!("CN={account}"), self.device.clone());
                    request.subject_alt_names = vec![SubjectAltName::Upn(account)];
                    request.extended_key_usage = vec![oids::CLIENT_AUTH.parse().unwrap()];
                    request.key = KeyAlgorithm::EcP256;
                    Payload::Pkcs(Box::new(request))
                }
                Body::Revoke { serial } => {
                    let mut request = RevokeRequest::new(serial.to_string());
                    request.issuer = Some(CAS[0].to_owned());
                    Payload::Revoke(request)
                }
            };
            QueueItem::new(meta, payload)
        };
        Ok(Batch::new(items.into_iter().map(item).collect()))
    }

    async fn complete(&self, request: CompleteRequest) -> Result<Vec<CompleteAnswer>, PortError> {
        let count = request.results.len();
        match self.way.call(Ask::Complete { instance: request.instance.to_string(), results: request.results }).await? {
            Reply::Done => Ok(vec![CompleteAnswer::Accepted; count]),
            other => Err(unexpected(&other)),
        }
    }

    async fn extend_lease(&self, request: ExtendLeaseRequest) -> Result<(), PortError> {
        self.way.call(Ask::Extend { requests: request.requests.iter().map(ToString::to_string).collect() }).await.map(drop)
    }
}

#[derive(Debug)]
pub struct LabCa {
    way: Way,
    number: usize,
    instance: String,
    root: CertificateDer<'static>,
}

impl LabCa {
    fn issued(&self, der: Vec<u8>) -> Issued {
        Issued::new(der.into()).with_chain(vec![self.root.clone()])
    }

    async fn all(&self, key: IdempotencyKey) -> Result<Vec<Issued>, PortError> {
        match self.way.call(Ask::FindAll { key }).await? {
            Reply::Certificates(found) => Ok(found.into_iter().map(|der| self.issued(der)).collect()),
            other => Err(unexpected(&other)),
        }
    }
}

#[async_trait]
impl CertificateAuthority for LabCa {
    fn capabilities(&self) -> CaCapabilities {
        let mut capabilities = CaCapabilities::minimal();
        capabilities.find = true;
        capabilities.in_flight = Duration::from_secs(1);
        capabilities.revoke_by = vec![RevokeBy::Serial];
        capabilities.lookup_by_serial = true;
        capabilities
    }

    async fn issue(&self, request: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
        let (csr, plan) = (request.csr.to_vec(), request.plan.clone());
        let ask = Ask::Issue { ca: self.number, instance: self.instance.clone(), key: request.key, csr, plan };
        match self.way.call(ask).await? {
            Reply::Certificates(mut issued) if issued.len() == 1 => Ok(IssueAnswer::Issued(Box::new(self.issued(issued.swap_remove(0))))),
            other => Err(unexpected(&other)),
        }
    }

    async fn status(&self, _: StatusRequest<'_>) -> Result<IssueAnswer, PortError> {
        Err(PortError::rejected("nothing is ever pending"))
    }

    async fn find(&self, request: FindRequest<'_>) -> Result<FindAnswer, PortError> {
        let found = self.all(request.key).await?;
        Ok(found.into_iter().next().map_or(FindAnswer::Absent, |issued| FindAnswer::Found(Box::new(issued))))
    }

    async fn find_all(&self, request: FindRequest<'_>) -> Result<FindAllAnswer, PortError> {
        Ok(FindAllAnswer::Certificates(self.all(request.key).await?))
    }

    async fn lookup(&self, request: LookupRequest<'_>) -> Result<LookupAnswer, PortError> {
        match self.way.call(Ask::Lookup { serial: request.serial.clone() }).await? {
            Reply::Revoked(Some(revoked)) => {
                let status = if revoked { CertificateStatus::Revoked } else { CertificateStatus::Good };
                Ok(LookupAnswer::Found(Box::new(KnownCertificate::default().with_status(status))))
            }
            Reply::Revoked(None) => Ok(LookupAnswer::Absent),
            other => Err(unexpected(&other)),
        }
    }

    async fn revoke(&self, request: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
        match self.way.call(Ask::Revoke { serial: request.serial.clone() }).await? {
            Reply::Revoked(Some(false)) => Ok(RevokeAnswer::Revoked),
            Reply::Revoked(Some(true)) => Ok(RevokeAnswer::AlreadyRevoked),
            Reply::Revoked(None) => Ok(RevokeAnswer::UnknownSerial),
            other => Err(unexpected(&other)),
        }
    }

    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
        Ok(vec![self.root.clone()])
    }
}

/// Adds the flows: PKCS with these CAs, when there are any, and revocation.
pub fn flows(
    builder: ConnectorBuilder,
    name: &str,
    way: &Way,
    configuration: &Configuration,
    cas: &[usize],
    revokes: bool,
    settings: impl Fn(QueueSettings) -> QueueSettings,
) -> ConnectorBuilder {
    let queue = Arc::new(LabQueue { way: way.clone(), device: configuration.device.clone().into() });
    let settings = settings(QueueSettings::new(queue.clone()));
    let ca_name = |number: usize| -> CaName { CAS[number].parse().unwrap() };
    let ca = |number: usize| {
        let root = configuration.roots[number].clone().into();
        Arc::new(LabCa { way: way.clone(), number, instance: name.to_owned(), root })
    };
    let mut builder = builder.tenant(TENANT.parse().unwrap()).instance(name.parse().unwrap());
    if let Some((first, more)) = cas.split_first() {
        let issuance = IssuancePolicy::deny_all().allow_upn_suffix(TENANT).allow_extended_key_usage(oids::CLIENT_AUTH.parse().unwrap());
        let recipients = RecipientPolicy::new().trust_root(configuration.roots[0].clone().into());
        let mut pkcs = PkcsConfig::new(queue.clone(), ca_name(*first), ca(*first), issuance, recipients);
        for number in more {
            pkcs = pkcs.with_ca(ca_name(*number), ca(*number));
        }
        builder = builder.flow(pkcs.with_settings(settings.clone()).with_pfx_iterations(2_000));
    }
    if revokes {
        builder = builder.flow(RevokeConfig::new(queue, ca_name(0), ca(0)).with_settings(settings));
    }
    builder
}
