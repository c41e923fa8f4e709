//! The judges' process: the queue, the CA and the devices, each with what it wrote down, and the socket that they are asked over.

use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use intune_connector::ids::{IdempotencyKey, RequestId, SerialNumber};
use intune_connector::message::enveloped::EnvelopeBuilder;
use intune_connector::message::reencrypt::{LegacyPadding, encrypt_password};
use intune_connector::ports::{Outcome, RequestMeta, ResultItem, RowKey};
use intune_connector::secret::Password;
use intune_connector::terms::{Flow, PaddingScheme};
use intune_connector::time::Timestamp;

use crate::ca::{Ca, CaKind};
use crate::clock::Clock;
use crate::device::Device;
use crate::fixture::{FIXTURE, IMPORT_PASSWORD, PAYLOAD, TENANT, provider};
use crate::wire::{self, Ask, Body, Item, Reply};

/// How long the queue keeps a delivered request from others.
const LEASE: Duration = Duration::from_secs(20);
/// How long the connector may take to revoke what nobody got.
const SWEEP: Duration = Duration::from_secs(3_600);

pub struct Request {
    pub item: Item,
    leased_until: Option<Timestamp>,
    /// The connector has it in its journal.
    kept: bool,
    /// Every result that came, each once.
    pub results: Vec<Outcome>,
    pub uploads: u32,
    /// Uploads before the second delivery of a finished request, once there was one.
    before_again: Option<u32>,
    /// Of a revocation.
    pub serial: Option<SerialNumber>,
}

pub struct State {
    pub clock: Clock,
    pub ca: Ca,
    pub requests: Vec<Request>,
    pub devices: Vec<Device>,
    /// By transaction.
    pub notified: BTreeMap<Vec<u8>, Vec<String>>,
    /// The versions that the journal said it had stored.
    pub stored: BTreeMap<RowKey, u64>,
    pub census: BTreeMap<String, u32>,
    /// What the connector has once kept is not delivered again before there is a result.
    delivers_once: bool,
    sweep_since: Option<Timestamp>,
    pub refusals: Vec<String>,
    pub odd: Vec<String>,
}

pub struct World {
    state: Mutex<State>,
    reached: Mutex<mpsc::Sender<String>>,
    closed: AtomicBool,
}

impl World {
    pub fn new(flow: Flow, kind: CaKind, seed: u64, requests: usize, delivers_once: bool) -> (Arc<Self>, mpsc::Receiver<String>) {
        let clock = Clock::new();
        let mut ca = Ca::new(kind, seed);
        let mut state_requests = Vec::new();
        let mut devices = Vec::new();
        for number in 0..requests {
            if flow == Flow::Scep {
                devices.push(Device::new(number, clock.now()));
                continue;
            }
            let (mut serial, name) = (None, format!("user{number}@{TENANT}"));
            let body = match flow {
                Flow::Pkcs => Body::Pkcs { account: name },
                Flow::PkcsRecrypt => {
                    use intune_connector::crypto::{ContentCipherAlgorithm::Aes256Cbc, KeyTransportAlgorithm::RsaOaepSha256};
                    let builder = EnvelopeBuilder::new(Aes256Cbc, RsaOaepSha256).recipient(&FIXTURE.connector.1);
                    Body::Recrypt { payload: builder.build(PAYLOAD, provider()).unwrap() }
                }
                Flow::PkcsImport => {
                    let (spki, password) = (FIXTURE.import.signing.public_key(), Password::from(IMPORT_PASSWORD));
                    let password = encrypt_password(provider(), &spki, PaddingScheme::OaepSha256, LegacyPadding::Refuse, &password);
                    Body::Import { password: password.unwrap(), pfx: FIXTURE.pfx.clone() }
                }
                _ => {
                    let of = ca.certify(&format!("left the company {number}"), clock.now());
                    serial = Some(of.clone());
                    Body::Revoke { serial: of }
                }
            };
            let id: RequestId = format!("{flow}-{number}").parse().unwrap();
            let mut meta = RequestMeta::new(id, TENANT.parse().unwrap(), flow);
            meta.device = Some("device".parse().unwrap());
            let item = Item { meta, body };
            state_requests.push(Request {
                item,
                leased_until: None,
                kept: false,
                results: Vec::new(),
                uploads: 0,
                before_again: None,
                serial,
            });
        }
        let (reached, points) = mpsc::channel();
        let state = State {
            clock,
            ca,
            requests: state_requests,
            devices,
            notified: BTreeMap::new(),
            stored: BTreeMap::new(),
            census: BTreeMap::new(),
            delivers_once,
            sweep_since: None,
            refusals: Vec::new(),
            odd: Vec::new(),
        };
        (Arc::new(Self { state: Mutex::new(state), reached: Mutex::new(reached), closed: AtomicBool::new(false) }), points)
    }

    /// A judge that panicked has still written down what it saw.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers whoever connects, until it is closed.
    pub fn serve(self: &Arc<Self>, socket: &Path) {
        let (world, listener) = (Arc::clone(self), UnixListener::bind(socket).unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if world.closed.load(Ordering::SeqCst) {
                    return;
                }
                let world = Arc::clone(&world);
                std::thread::spawn(move || {
                    // An asker that was killed hears nothing.
                    if let Ok(ask) = wire::read(&stream) {
                        let _ = wire::write(&stream, &world.answer(ask));
                    }
                });
            }
        });
    }

    pub fn close(&self, socket: &Path) {
        self.closed.store(true, Ordering::SeqCst);
        let _ = std::os::unix::net::UnixStream::connect(socket);
    }

    fn answer(&self, ask: Ask) -> Reply {
        let mut state = self.state();
        let now = state.clock.now();
        match ask {
            Ask::Receive { flow, max } => Reply::Items(state.deliver(flow, max, now)),
            Ask::Complete { results } => {
                results.into_iter().for_each(|result| state.complete(result));
                Reply::Done
            }
            Ask::Issue { key, csr, plan } => state.ca.issue(key, &csr, &plan, now),
            Ask::Status { key, .. } => state.ca.status(key, now),
            Ask::Find { key } => state.ca.find(key, now),
            Ask::FindAll { key } => state.ca.find_all(key, now),
            Ask::Lookup { serial } => state.ca.lookup(&serial),
            Ask::Revoke { serial } => state.ca.revoke(&serial),
            Ask::Knock => match state.devices.iter_mut().enumerate().find(|(_, device)| device.is_ready(now)) {
                Some((number, device)) => Reply::Message { device: number, body: device.message(now) },
                None => Reply::Done,
            },
            Ask::Answered { device, status, retry_after, body } => {
                if let Some(device) = state.devices.get_mut(device) {
                    device.take(status, retry_after, &body, now);
                }
                Reply::Done
            }
            Ask::Notified { transaction, thumbprint } => {
                let told = state.notified.entry(transaction).or_default();
                if !told.contains(&thumbprint) {
                    told.push(thumbprint);
                }
                Reply::Done
            }
            Ask::Stored { rows } => {
                for (key, version) in rows {
                    let stored = state.stored.entry(key).or_default();
                    *stored = (*stored).max(version);
                }
                Reply::Done
            }
            Ask::Kept => {
                state.requests.iter_mut().filter(|request| request.leased_until.is_some()).for_each(|request| request.kept = true);
                Reply::Done
            }
            Ask::Reached { point } => {
                let _ = self.reached.lock().unwrap_or_else(PoisonError::into_inner).send(point);
                Reply::Done
            }
            Ask::Census { points } => {
                for (point, count) in points {
                    let most = state.census.entry(point).or_default();
                    *most = (*most).max(count);
                }
                Reply::Done
            }
            Ask::IsOver => Reply::Is(state.is_over(now)),
            Ask::Refused { why } => {
                state.refusals.push(why);
                Reply::Done
            }
        }
    }
}

impl State {
    fn deliver(&mut self, flow: Flow, max: usize, now: Timestamp) -> Vec<Item> {
        let mut items = Vec::new();
        for request in self.requests.iter_mut().filter(|request| request.item.meta.flow == flow) {
            let is_withheld = self.delivers_once && request.kept && request.results.is_empty();
            if items.len() < max && request.is_open() && !is_withheld && request.leased_until.is_none_or(|until| until <= now) {
                request.leased_until = Some(now.saturating_add(LEASE));
                items.push(request.item.clone());
            }
        }
        items
    }

    fn complete(&mut self, result: ResultItem) {
        let Some(request) = self.requests.iter_mut().find(|request| request.item.meta.id == result.meta.id) else {
            self.odd.push(format!("{}: a result of something that was never asked for", result.meta.id));
            return;
        };
        request.uploads += 1;
        request.leased_until = None;
        if !request.results.contains(&result.outcome) {
            request.results.push(result.outcome);
        }
        // Once all have a result, each is delivered once more, as queues do now and then.
        if self.requests.iter().all(|request| !request.results.is_empty()) {
            for request in &mut self.requests {
                request.before_again.get_or_insert(request.uploads);
            }
        }
    }

    pub fn is_answered(&self) -> bool {
        let told = |device: &Device| device.got.is_some() && self.notified.contains_key(device.transaction());
        self.requests.iter().all(|request| !request.is_open()) && self.devices.iter().all(told)
    }

    /// The requests of certificates that live and that nobody got.
    pub fn undelivered(&self) -> Vec<IdempotencyKey> {
        let results = self.requests.iter().flat_map(|request| &request.results);
        let pkcs = results.filter_map(|result| match result {
            Outcome::Pkcs(result) => Some(result.serial.clone()),
            _ => None,
        });
        let devices = self.devices.iter().filter_map(|device| device.got.as_ref()?.serial().cloned());
        self.ca.undelivered(&pkcs.chain(devices).collect())
    }

    fn is_over(&mut self, now: Timestamp) -> bool {
        self.ca.work(now);
        match self.sweep_since {
            None => self.is_answered() && self.ca.is_at_rest(),
            Some(since) => self.undelivered().is_empty() || now.since(since) > SWEEP,
        }
    }

    /// Whether the connector must still revoke something, which it is given time for.
    pub fn begin_sweep(&mut self) -> bool {
        if self.sweep_since.is_some() || self.ca.kind == CaKind::Blind || self.undelivered().is_empty() {
            return false;
        }
        self.sweep_since = Some(self.clock.now());
        true
    }

    /// The connector's process is gone: calls are cut off, and the queue may offer at once what it had delivered.
    pub fn after_death(&mut self, offer_at_once: bool) {
        for request in self.requests.iter_mut().filter(|_| offer_at_once) {
            request.leased_until = None;
        }
        self.devices.iter_mut().for_each(Device::hang_up);
    }
}

impl Request {
    /// As it was before anybody asked for it.
    pub fn anew(&self) -> Self {
        let (item, serial) = (self.item.clone(), self.serial.clone());
        Self { item, leased_until: None, kept: false, results: Vec::new(), uploads: 0, before_again: None, serial }
    }

    fn is_open(&self) -> bool {
        self.results.is_empty() || self.before_again.is_some_and(|uploads| self.uploads <= uploads)
    }
}
