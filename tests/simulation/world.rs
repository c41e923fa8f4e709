//! One seed: a queue, a CA, a journal, and the machines on which connectors run, end and start again.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{Either, join, join_all, join4, select};
use intune_connector::adapters::{MemoryDecryptionKeys, VirtualRuntime};
use intune_connector::connector::{Connector, QueueSettings};
use intune_connector::crypto::{ContentCipherAlgorithm, CryptoProvider, KeyTransportAlgorithm};
use intune_connector::health::HealthConfig;
use intune_connector::import::ImportConfig;
use intune_connector::pkcs::PkcsConfig;
use intune_connector::policy::{IssuancePolicy, RecipientPolicy};
use intune_connector::ports::{CertificateAuthority, IntuneQueue, JournalScope, Runtime as _};
use intune_connector::recrypt::{RecryptConfig, RecryptKey};
use intune_connector::revoke::RevokeConfig;
use intune_connector::scep::{self, NotificationPolicy, RegistrationAuthority};
use intune_connector::secret::SecretBytes;
use intune_connector::terms::{Flow, oids};

use crate::ca::{Ca, CaPort, Kind};
use crate::desk::{Desk, DeskPort};
use crate::device;
use crate::journal::{JournalPort, Store};
use crate::judge;
use crate::plan::{Chance, Wanted};
use crate::process::{MachineRuntime, Process, WallClock};
use crate::queue::{Entry, QueuePort, Service, import_key_name};
use crate::random::Seeded;
use crate::shared::{DAY, SHARED, START};
use crate::sink::{AdminLog, Sink};

const CA_NAME: &str = "Contoso Issuing CA";
const SEALING_KEY: [u8; 32] = [7; 32];
pub const DEADLINE: Duration = Duration::from_secs(6 * 3_600);
/// A world that is not done by then has lost something.
const GIVE_UP: Duration = Duration::from_secs(5 * 86_400);
/// For what the sweep does after the last request has ended.
const SWEEP_TIME: Duration = Duration::from_secs(5_400);
const LEASE: Duration = Duration::from_secs(480);

/// What a seed came to.
pub struct Played {
    pub requests: u64,
    pub faults: u64,
    pub restarts: u64,
    pub clock_jumps: u64,
    pub wrong: Vec<String>,
    pub digest: u64,
    pub trace: Vec<String>,
}

pub struct World {
    pub chance: Arc<Chance>,
    pub runtime: VirtualRuntime,
    pub service: Arc<Service>,
    pub ca: Arc<Ca>,
    pub store: Arc<Store>,
    pub desk: Arc<Desk>,
    pub log: AdminLog,
    /// When processes ended, or were stopped for so long that others took over.
    pub ends: Mutex<Vec<Duration>>,
    /// By how much wall clocks jumped in all, in microseconds, whatever the direction.
    pub jumped: Mutex<u64>,
    pub provider: CryptoProvider,
    notification: NotificationPolicy,
    pub devices: usize,
    machines: Vec<Machine>,
    number: AtomicU32,
    /// The processes that are still to end.
    ends_left: AtomicU32,
    over: AtomicBool,
    weather_is_over: AtomicBool,
    devices_are_done: AtomicBool,
}

struct Machine {
    clock: Arc<WallClock>,
    /// After how many points its processes end, the first one last.
    ends: Mutex<Vec<u64>>,
    process: Mutex<Option<Arc<Process>>>,
    service: Mutex<Option<Arc<scep::Service>>>,
}

/// Plays one seed from its start to its end.
pub fn play(seed: u64, wanted: Wanted) -> Played {
    let world = World::new(seed, wanted);
    let machines = (0..world.machines.len()).map(|index| world.machine(index));
    let done = world.runtime.block_on(join4(join_all(machines), world.weather(), world.all_devices(), world.story()));
    let mut wrong = judge::wrong(&world);
    if done.is_err() {
        wrong.push("everything waits for something that never comes".to_owned());
    }
    world.store.tell_rows();
    let (digest, trace) = world.chance.trace();
    let restarts = world.ends.lock().unwrap().len() as u64;
    let requests = (world.service.entries.lock().unwrap().len() + world.devices) as u64;
    Played { requests, faults: world.chance.faults(), restarts, clock_jumps: world.chance.clock_jumps(), wrong, digest, trace }
}

impl World {
    fn new(seed: u64, wanted: Wanted) -> Self {
        let runtime = VirtualRuntime::new(START);
        let chance = Arc::new(Chance::new(seed, wanted, runtime.clone()));
        let kind = [Kind::Searchable, Kind::Idempotent, Kind::SearchableAndIdempotent, Kind::Blind][chance.below(4) as usize];
        let ca = Arc::new(Ca::new(kind, chance.clone(), runtime.clone()));
        let machines = 1 + chance.below(3);
        let scope = if machines > 1 || chance.one_in(2) { JournalScope::Fleet } else { JournalScope::Instance };
        let store = Arc::new(Store::new(scope, chance.clone(), runtime.clone()));
        let mut entries = Vec::new();
        for (flow, least) in [(Flow::Pkcs, 8), (Flow::PkcsRecrypt, 4), (Flow::PkcsImport, 4), (Flow::Revoke, 4)] {
            for number in 0..least + chance.below(2) as usize {
                let serial = (flow == Flow::Revoke).then(|| ca.issue_before(&format!("left the company {number}")));
                let arrives = if chance.one_in(3) { chance.seconds(0, 1_800) } else { Duration::ZERO };
                entries.push(Entry::new(flow, number, serial, arrives));
            }
        }
        let service = Arc::new(Service {
            ca: CA_NAME.parse().unwrap(),
            entries: Mutex::new(entries),
            redelivers_elsewhere: machines > 1 || chance.one_in(2),
        });
        let restarts = 2 + chance.below(3);
        let machines: Vec<Machine> = (0..machines)
            .map(|_| Machine { clock: Arc::default(), ends: Mutex::default(), process: Mutex::default(), service: Mutex::default() })
            .collect();
        for _ in 0..restarts {
            let machine = &machines[chance.below(machines.len() as u64) as usize];
            let most = [40, 120, 250][chance.below(3) as usize];
            machine.ends.lock().unwrap().push(1 + chance.below(most));
        }
        let devices = chance.below(4) as usize;
        let notification = [NotificationPolicy::NotifyBeforeRelease, NotificationPolicy::IssueThenNotify][chance.below(2) as usize];
        chance.tell(|| format!("{kind:?} {scope:?} {} machines, {restarts} restarts", machines.len()));
        Self {
            provider: SHARED.provider.clone().with_random(Arc::new(Seeded::new(seed ^ 0x5eed))),
            chance,
            runtime,
            service,
            ca,
            store,
            desk: Arc::default(),
            notification,
            devices,
            log: AdminLog::default(),
            ends: Mutex::default(),
            jumped: Mutex::default(),
            machines,
            number: AtomicU32::new(0),
            ends_left: AtomicU32::new(restarts as u32),
            over: AtomicBool::new(false),
            weather_is_over: AtomicBool::new(false),
            devices_are_done: AtomicBool::new(false),
        }
    }

    /// The processes of one machine, one after the other.
    async fn machine(&self, index: usize) {
        let machine = &self.machines[index];
        loop {
            let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
            let end = machine.ends.lock().unwrap().pop();
            let instance = format!("machine-{index}").parse().unwrap();
            let process = Process::new(instance, number, machine.clock.clone(), end);
            *machine.process.lock().unwrap() = Some(process.clone());
            self.chance.tell(|| format!("{}/{number} starts, ends after {end:?} points", process.instance));
            let has_ended = {
                let life = process.run(&self.runtime, self.live(machine, &process));
                matches!(select(pin!(life), pin!(process.ended())).await, Either::Right(_))
            };
            *machine.service.lock().unwrap() = None;
            if !has_ended {
                return;
            }
            self.chance.tell(|| format!("{}/{number} has ended", process.instance));
            self.store.process_ended(number);
            self.ends.lock().unwrap().push(self.runtime.monotonic());
            self.ends_left.fetch_sub(1, Ordering::Relaxed);
            self.runtime.sleep(self.chance.seconds(0, 900)).await;
        }
    }

    /// What one process does: the connector, and the SCEP service with its upkeep.
    async fn live(&self, machine: &Machine, process: &Arc<Process>) {
        let connector = self.connector(process);
        let now = || process.clock.at(self.runtime.now());
        let scep = async {
            if self.devices == 0 {
                return;
            }
            let service = Arc::new(self.scep(process).await);
            *machine.service.lock().unwrap() = Some(service.clone());
            while !self.over.load(Ordering::Relaxed) {
                service.maintain(now()).await;
                self.runtime.sleep(Duration::from_secs(240)).await;
            }
            // Two days: what a client did not come back for is revoked a day later.
            for _ in 0..48 {
                service.maintain(now()).await;
                self.runtime.sleep(Duration::from_secs(3_600)).await;
            }
        };
        join(connector.run_until(self.until_over()), scep).await;
    }

    async fn all_devices(&self) {
        join_all((0..self.devices).map(|number| device::enrol(self, number))).await;
        self.devices_are_done.store(true, Ordering::Relaxed);
    }

    /// A device's request to any machine: the answer, unless nobody is there, or the process ends meanwhile.
    pub async fn knock(&self, request: scep::Request) -> Option<scep::Response> {
        let machine = &self.machines[self.chance.below(self.machines.len() as u64) as usize];
        let process = machine.process.lock().unwrap().clone()?;
        let service = machine.service.lock().unwrap().clone()?;
        self.chance.tell(|| format!("a device knocks at {}/{}", process.instance, process.number));
        let answer = process.run(&self.runtime, service.handle(request));
        let answer = match select(pin!(process.ended()), pin!(answer)).await {
            Either::Right((answer, _)) if !process.has_ended() => Some(answer),
            _ => None,
        };
        // The way back is no better than the others.
        answer.filter(|_| !self.chance.strikes())
    }

    async fn until_over(&self) {
        while !self.over.load(Ordering::Relaxed) {
            self.runtime.sleep(Duration::from_secs(300)).await;
        }
    }

    /// Clocks that jump, and processes that are stopped beyond their leases and go on.
    async fn weather(&self) {
        for _ in 0..1 + self.chance.below(4) {
            self.runtime.sleep(self.chance.seconds(0, 900)).await;
            let machine = &self.machines[self.chance.below(self.machines.len() as u64) as usize];
            if self.chance.one_in(4) {
                let time = self.chance.seconds(1, 1_500);
                if let Some(process) = &*machine.process.lock().unwrap() {
                    self.chance.tell(|| format!("{}/{} is stopped for {} s", process.instance, process.number, time.as_secs()));
                    process.stop(self.runtime.monotonic(), time);
                    self.chance.count_stop();
                    if time >= LEASE / 2 {
                        // Others take over what it has, as if it had ended, and tell the same once more.
                        self.ends.lock().unwrap().push(self.runtime.monotonic());
                    }
                }
                continue;
            }
            let day = 86_400_000_000;
            let micros = match self.chance.below(5) {
                0 => 1_000_000,
                1 => -1_000_000,
                2 => -7_200_000_000,
                3 => self.chance.below(2 * day + 1) as i64 - day as i64,
                _ => self.chance.below(7_200_000_001) as i64,
            };
            machine.clock.jump(micros);
            *self.jumped.lock().unwrap() += micros.unsigned_abs();
            self.chance.tell(|| format!("a wall clock jumps by {micros} microseconds"));
            self.chance.count_clock_jump();
        }
        self.weather_is_over.store(true, Ordering::Relaxed);
    }

    /// Until all has ended, then each request once more, then time for the sweep.
    async fn story(&self) {
        let is_over = || {
            self.service.is_done()
                && self.devices_are_done.load(Ordering::Relaxed)
                && self.weather_is_over.load(Ordering::Relaxed)
                && self.chance.is_spent()
                && self.ends_left.load(Ordering::Relaxed) == 0
        };
        while !is_over() && self.runtime.monotonic() < GIVE_UP {
            self.runtime.sleep(Duration::from_secs(30)).await;
        }
        self.chance.calm_down();
        self.chance.tell(|| "all has ended; each request is delivered once more".to_owned());
        self.service.deliver_all_again(self.runtime.monotonic());
        let until = self.ca.busy_until().max(self.runtime.monotonic()) + SWEEP_TIME;
        self.runtime.sleep(until - self.runtime.monotonic()).await;
        self.over.store(true, Ordering::Relaxed);
    }

    async fn scep(&self, process: &Arc<Process>) -> scep::Service {
        let runtime = Arc::new(MachineRuntime { inner: self.runtime.clone(), clock: process.clock.clone() });
        let desk = Arc::new(DeskPort {
            desk: self.desk.clone(),
            process: process.clone(),
            chance: self.chance.clone(),
            runtime: self.runtime.clone(),
        });
        let policy =
            IssuancePolicy::deny_all().accept_names_checked_by_validator().allow_extended_key_usage(oids::CLIENT_AUTH.parse().unwrap());
        let ra = &SHARED.stored;
        loop {
            let built = scep::Service::builder(
                self.provider.clone(),
                Arc::new(JournalPort { store: self.store.clone(), process: process.clone() }),
                self.service.ca.clone(),
                Arc::new(CaPort { ca: self.ca.clone(), process: process.clone() }),
                RegistrationAuthority::single(ra.certificate.der().clone(), ra.signing.clone(), ra.decryption.clone()),
                desk.clone(),
                desk.clone(),
            )
            .tenant("contoso.example".parse().unwrap())
            .instance(process.instance.clone())
            .runtime(runtime.clone())
            .sink(Arc::new(self.sink(process)))
            .policy(policy.clone())
            .notification(self.notification)
            .sealing_key(SecretBytes::copy_from(&SEALING_KEY))
            .build()
            .await;
            match built {
                Ok(service) => return service,
                // The CA is away: started again later.
                Err(error) => self.chance.tell(|| error.to_string()),
            }
            self.runtime.sleep(Duration::from_secs(30)).await;
        }
    }

    fn sink(&self, process: &Arc<Process>) -> Sink {
        Sink { log: self.log.clone(), process: process.clone(), chance: self.chance.clone(), runtime: self.runtime.clone() }
    }

    fn connector(&self, process: &Arc<Process>) -> Connector {
        let runtime = Arc::new(MachineRuntime { inner: self.runtime.clone(), clock: process.clock.clone() });
        let queue: Arc<dyn IntuneQueue> = Arc::new(QueuePort {
            service: self.service.clone(),
            process: process.clone(),
            chance: self.chance.clone(),
            runtime: self.runtime.clone(),
        });
        let ca: Arc<dyn CertificateAuthority> = Arc::new(CaPort { ca: self.ca.clone(), process: process.clone() });
        let journal = Arc::new(JournalPort { store: self.store.clone(), process: process.clone() });
        let settings = || {
            QueueSettings::new(queue.clone())
                .with_max_attempts(40)
                .with_poll_interval(Duration::from_secs(600))
                .with_deadline(DEADLINE)
                .with_batch(8)
        };
        let issuance =
            IssuancePolicy::deny_all().allow_upn_suffix("contoso.example").allow_extended_key_usage(oids::CLIENT_AUTH.parse().unwrap());
        let recipients = RecipientPolicy::new().pin_certificate(SHARED.device.certificate.der().clone());
        let (cipher, transport) = (ContentCipherAlgorithm::Aes256Cbc, KeyTransportAlgorithm::RsaOaepSha256);
        let pkcs = PkcsConfig::new(queue.clone(), self.service.ca.clone(), ca.clone(), issuance, recipients.clone())
            .with_pfx_iterations(2_000)
            .with_envelope(cipher, transport);
        let key = RecryptKey::new(SHARED.stored.certificate.der().clone(), SHARED.stored.decryption.clone());
        let recrypt = RecryptConfig::new(queue.clone(), key, recipients.clone()).with_envelope(cipher, transport);
        let keys = MemoryDecryptionKeys::new();
        keys.insert(import_key_name(), SHARED.stored.decryption.clone());
        let import = ImportConfig::new(queue.clone(), Arc::new(keys), recipients).with_envelope(cipher, transport);
        let revoke = RevokeConfig::new(queue.clone(), self.service.ca.clone(), ca);
        Connector::builder(self.provider.clone(), journal)
            .sealing_key(SecretBytes::copy_from(&SEALING_KEY))
            .tenant("contoso.example".parse().unwrap())
            .instance(process.instance.clone())
            // A clock that jumps ahead by a day forgets what is a day old.
            .retention(7 * DAY)
            // Looked at four times in a lease: what idle machines cost is not tried here.
            .lease(LEASE)
            .runtime(runtime)
            .sink(Arc::new(self.sink(process)))
            .flow(pkcs.with_settings(settings()))
            .flow(recrypt.with_settings(settings()))
            .flow(import.with_settings(settings()))
            .flow(revoke.with_settings(settings()))
            .health(HealthConfig::new(queue))
            .build()
            .unwrap()
    }
}
