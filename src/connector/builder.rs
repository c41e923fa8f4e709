//! From configuration to a connector, with every mistake named at once.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::Connector;
use super::engine::RunState;
use super::fleet::Fleet;
use super::handle::Control;
use super::inner::{Inner, Known, Options};
use super::schedule::HoldLimits;
use crate::crypto::{CryptoProvider, SlotName};
use crate::event::{Event, EventId, printable};
use crate::flow::ca_gate::{CaLimits, Gates};
use crate::flow::credential::WatchedCredential;
use crate::flow::seal::{Sealer, key_finding};
use crate::flow::{Context, Finding, FlowSpec, Worker, module_findings};
use crate::health::{CountingSink, HealthConfig};
use crate::ids::{CaName, InstanceId, TenantId};
use crate::limits::Limits;
use crate::ports::{EventSink, Journal, JournalScope, Runtime, SealingKeys};
use crate::terms::Flow;
use crate::time::Timestamp;

/// Slots that the engine itself needs: random for jitter and nonces, digest for idempotency keys, AEAD for sealed rows.
const OWN_SLOTS: [SlotName; 3] = [SlotName::Random, SlotName::Digest, SlotName::Aead];

/// The lease where nobody else can take a request: what the next run of the instance finds, it takes over at once.
const NOBODY_ELSE: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildError {
    findings: Vec<Finding>,
}

impl BuildError {
    pub(super) fn new(findings: Vec<Finding>) -> Self {
        Self { findings }
    }

    /// The findings; at least one.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the connector cannot be built:")?;
        self.findings.iter().try_for_each(|finding| write!(f, "\n- {finding}"))
    }
}

impl std::error::Error for BuildError {}

/// Whether slots outside a validated FIPS module are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fips {
    NotAsked,
    Required,
}

/// Builds a [`Connector`].
#[derive(Debug)]
pub struct ConnectorBuilder {
    provider: CryptoProvider,
    journal: Arc<dyn Journal>,
    tenant: Option<TenantId>,
    instance: Option<InstanceId>,
    sink: Option<Arc<dyn EventSink>>,
    runtime: Option<Arc<dyn Runtime>>,
    limits: Limits,
    flows: Vec<FlowSpec>,
    health: Option<HealthConfig>,
    watched: Vec<WatchedCredential>,
    fips: Fips,
    durable: bool,
    sealing_key: Option<SealingKeys>,
    options: Options,
    ca_limits: BTreeMap<CaName, CaLimits>,
}

/// Drops everything.
#[derive(Debug)]
struct NullSink;

impl EventSink for NullSink {
    fn enabled(&self, _: EventId) -> bool {
        false
    }
    fn emit(&self, _: &Event) {}
}

impl ConnectorBuilder {
    pub(super) fn new(provider: CryptoProvider, journal: Arc<dyn Journal>) -> Self {
        Self {
            provider,
            journal,
            tenant: None,
            instance: None,
            sink: None,
            runtime: None,
            limits: Limits::default(),
            flows: Vec::new(),
            health: None,
            watched: Vec::new(),
            fips: Fips::NotAsked,
            durable: false,
            sealing_key: None,
            options: Options {
                ca_concurrency: 8,
                drain_timeout: Duration::from_secs(30),
                retention: Duration::from_secs(86_400),
                upload_patience: Duration::from_secs(86_400),
                journal_timeout: Duration::from_secs(30),
                lease: Duration::from_secs(60),
                hold: HoldLimits { result_age: Duration::from_secs(600), free_percent: 5 },
            },
            ca_limits: BTreeMap::new(),
        }
    }

    /// Sets the tenant; required.
    #[must_use]
    pub fn tenant(mut self, tenant: TenantId) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// Sets the name of this instance; required, and different for each instance of a tenant.
    #[must_use]
    pub fn instance(mut self, instance: InstanceId) -> Self {
        self.instance = Some(instance);
        self
    }

    /// Sets where events go; required, unless [`without_events_nobody_learns_of_failures`](Self::without_events_nobody_learns_of_failures).
    #[must_use]
    pub fn sink(mut self, sink: Arc<dyn EventSink>) -> Self {
        self.sink = Some(sink);
        self
    }

    /// Drops all events.
    #[must_use]
    pub fn without_events_nobody_learns_of_failures(mut self) -> Self {
        self.sink = Some(Arc::new(NullSink));
        self
    }

    /// Sets clocks, timers and CPU threads; required. `StdRuntime` needs nothing else.
    #[must_use]
    pub fn runtime(mut self, runtime: Arc<dyn Runtime>) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Sets the bounds for reading input.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Adds a flow; at most one of each.
    #[must_use]
    pub fn flow(mut self, flow: impl Into<FlowSpec>) -> Self {
        self.flows.push(flow.into());
        self
    }

    /// Adds the PKCS flow.
    #[cfg(feature = "pkcs")]
    #[must_use]
    pub fn pkcs(self, config: crate::pkcs::PkcsConfig) -> Self {
        self.flow(config)
    }

    /// Adds the PKCS recrypt flow.
    #[cfg(feature = "pkcs")]
    #[must_use]
    pub fn recrypt(self, config: crate::recrypt::RecryptConfig) -> Self {
        self.flow(config)
    }

    /// Adds the import flow.
    #[cfg(feature = "import")]
    #[must_use]
    pub fn import(self, config: crate::import::ImportConfig) -> Self {
        self.flow(config)
    }

    /// Adds the revocation flow.
    #[cfg(feature = "revoke")]
    #[must_use]
    pub fn revoke(self, config: crate::revoke::RevokeConfig) -> Self {
        self.flow(config)
    }

    /// Sends health messages.
    #[must_use]
    pub fn health(mut self, config: HealthConfig) -> Self {
        self.health = Some(config);
        self
    }

    /// Watches when a credential of an adapter ends, such as a client secret: from 30 days before, each day event 4 warns of it, and health
    /// messages say so. `expires` is asked often and must answer at once; it answers `None` where the end is not known.
    #[must_use]
    pub fn watch_credential(mut self, name: impl Into<String>, expires: impl Fn() -> Option<Timestamp> + Send + Sync + 'static) -> Self {
        self.watched.push(WatchedCredential { name: printable(&name.into()), expires: Arc::new(expires) });
        self
    }

    /// Sets how many requests of all flows are worked on at a time for one CA. Default 8.
    #[must_use]
    pub fn ca_concurrency(mut self, requests: usize) -> Self {
        self.options.ca_concurrency = requests;
        self
    }

    /// Sets how the calls of the CA of that name are limited, for all flows together: its nominal rate, when it is left alone, and how many
    /// attempts may be repeats.
    #[must_use]
    pub fn ca_limits(mut self, ca: CaName, limits: CaLimits) -> Self {
        self.ca_limits.insert(ca, limits);
        self
    }

    /// Sets how long `run_until` goes on with what it holds after the stop. Default 30 s.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.options.drain_timeout = timeout;
        self
    }

    /// Sets how long finished requests are remembered: for so long a repeat is recognised. Default 24 h.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.options.retention = retention;
        self
    }

    /// Sets for how long a finished result is offered to a queue that does not take it. Default 24 h.
    #[must_use]
    pub fn upload_patience(mut self, patience: Duration) -> Self {
        self.options.upload_patience = patience;
        self
    }

    /// Sets how long a request in hand is kept from the other instances of a shared journal without a sign of life. Default 60 s. Shorter: a
    /// dead instance's requests are taken over sooner. Longer: a journal or a network that is away for a while costs less.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.options.lease = lease;
        self
    }

    /// Sets for how long a finished result of a flow may wait for its upload before the flow downloads nothing more, until the result is
    /// taken. Default 10 minutes. See [`FlowStatus::held_back`](super::FlowStatus::held_back).
    #[must_use]
    pub fn hold_downloads_when_results_wait(mut self, age: Duration) -> Self {
        self.options.hold.result_age = age;
        self
    }

    /// Sets how many percent of the journal's storage must be free: with less, no flow downloads anything. Default 5; 0 never holds back. It
    /// is looked at once a minute, and only where the journal tells its room.
    #[must_use]
    pub fn hold_downloads_when_storage_is_below(mut self, percent: u8) -> Self {
        self.options.hold.free_percent = percent;
        self
    }

    /// Restricts the provider to what FIPS approves ([`CryptoProvider::fips_approved_only`]), and refuses to build unless every needed slot
    /// is filled by a FIPS module and every key that is given says that it is inside one. `docs/fips.md` tells what remains possible.
    ///
    /// Imported keys are found later: one that is outside of a module fails its request.
    #[must_use]
    pub fn require_fips(mut self) -> Self {
        self.fips = Fips::Required;
        self.provider = self.provider.fips_approved_only().fips_keys_only();
        self
    }

    /// Refuses to build with a journal that is lost with the process.
    #[must_use]
    pub fn require_durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Seals what the journal keeps with these keys: a [`SealingKey`](crate::ports::SealingKey) such as
    /// [`SealingKeyFile`](crate::adapters::SealingKeyFile), or one key of 32 random bytes as `SecretBytes`. They must survive the process, be the
    /// same for all instances of the tenant, and be kept apart from the journal.
    ///
    /// Required with a durable journal. Otherwise a fresh key is drawn, which ends with the process as the rows do.
    #[must_use]
    pub fn sealing_key(mut self, keys: impl Into<SealingKeys>) -> Self {
        self.sealing_key = Some(keys.into());
        self
    }

    /// Checks everything and builds.
    ///
    /// # Errors
    /// [`BuildError`] with every mistake, each with setting and remedy.
    pub fn build(self) -> Result<Connector, BuildError> {
        let mut findings = self.findings();
        let provider = Arc::new(self.provider);
        let (Some(tenant), Some(instance), Some(sink), Some(runtime), true) =
            (self.tenant, self.instance, self.sink, self.runtime, findings.is_empty())
        else {
            return Err(BuildError::new(findings));
        };
        let sealer = match Sealer::new(Arc::clone(&provider), tenant.clone(), Arc::clone(&runtime), self.sealing_key) {
            Ok(sealer) => sealer,
            Err(error) => {
                findings.push(Finding::new("provider.random", error.to_string(), "use another crypto provider"));
                return Err(BuildError::new(findings));
            }
        };
        let mut incarnation = [0; 16];
        if let Err(error) = provider
            .random()
            .map_err(|error| error.to_string())
            .and_then(|random| random.fill(&mut incarnation).map_err(|error| error.to_string()))
        {
            findings.push(Finding::new("provider.random", error, "use another crypto provider"));
            return Err(BuildError::new(findings));
        }
        let counts = Arc::new(CountingSink::new(sink));
        let built = runtime.now();
        let mut options = self.options;
        if self.journal.scope() == JournalScope::Instance {
            options.lease = NOBODY_ELSE;
        }
        let gates = Arc::new(Gates::new(options.ca_concurrency, self.ca_limits));
        let sink = Arc::clone(&counts) as Arc<dyn EventSink>;
        let context = Context { tenant, instance, provider, runtime, sink, limits: self.limits, gates };
        let inner = Inner {
            context,
            journal: self.journal,
            sealer,
            options,
            health: self.health,
            watched: self.watched,
            counts,
            control: Control::new(self.flows),
            fleet: Fleet::new(incarnation),
            known: Mutex::new(Known::new()),
            in_hand: Arc::default(),
            state: futures_util::lock::Mutex::new(RunState::default()),
            built,
        };
        Ok(Connector { inner: Arc::new(inner) })
    }

    fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut check = |wrong: bool, setting: &str, problem: &str, remedy: &str| {
            if wrong {
                findings.push(Finding::new(setting, problem, remedy));
            }
        };
        check(self.tenant.is_none(), "tenant", "it is not set", "call `tenant`");
        check(self.instance.is_none(), "instance", "it is not set", "call `instance` with a name of its own for each instance");
        check(self.sink.is_none(), "sink", "it is not set", "call `sink`");
        check(self.runtime.is_none(), "runtime", "it is not set", "call `runtime` with a `StdRuntime`");
        check(self.flows.is_empty() && self.health.is_none(), "flow", "there is nothing to do", "add at least one flow");
        check(self.options.ca_concurrency == 0, "ca_concurrency", "no CA could ever be asked", "set at least 1");
        check(self.options.retention.is_zero(), "retention", "no repeat would be recognised", "set more than zero");
        check(
            self.options.hold.free_percent > 90,
            "hold_downloads_when_storage_is_below",
            "hardly any storage is so empty",
            "set 0 to 90 percent",
        );
        check(self.options.upload_patience.is_zero(), "upload_patience", "no upload would be repeated", "set more than zero");
        check(
            self.durable && !self.journal.is_durable(),
            "journal",
            "it is lost with the process, but `require_durable` was called",
            "use a durable journal",
        );
        let mut seen: BTreeSet<Flow> = BTreeSet::new();
        for spec in &self.flows {
            let flow = spec.flow();
            check(!seen.insert(flow), flow.as_str(), "the flow was added twice", "add each flow once");
        }
        findings.extend(key_finding("sealing_key", &*self.journal, self.sealing_key.as_ref()));
        findings.extend(slot_findings(&self.provider, "the engine", &OWN_SLOTS));
        for spec in &self.flows {
            findings.extend(spec_findings(spec, &self.provider));
        }
        findings.extend(self.ca_limits.iter().flat_map(|(ca, limits)| limits.findings(ca)));
        findings.extend(self.health.iter().flat_map(HealthConfig::findings));
        if self.fips == Fips::Required {
            let mut needed: BTreeSet<SlotName> = OWN_SLOTS.into();
            needed.extend(self.flows.iter().flat_map(|spec| spec.worker.required_slots()));
            let keys = self.flows.iter().flat_map(|spec| spec.worker.keys_outside_fips());
            findings.extend(module_findings(&self.provider, needed, keys));
        }
        findings
    }
}

/// What is wrong with one flow.
pub(super) fn spec_findings(spec: &FlowSpec, provider: &CryptoProvider) -> Vec<Finding> {
    let mut findings = spec.settings.findings(spec.flow());
    findings.extend(worker_findings(&*spec.worker, provider));
    findings
}

/// What is wrong with a flow beside its queue and its pace.
pub(crate) fn worker_findings(worker: &dyn Worker, provider: &CryptoProvider) -> Vec<Finding> {
    let mut findings = slot_findings(provider, &format!("the flow {}", worker.flow()), &worker.required_slots());
    findings.extend(worker.findings(provider));
    findings
}

fn slot_findings(provider: &CryptoProvider, who: &str, slots: &[SlotName]) -> Vec<Finding> {
    let missing = slots.iter().filter(|slot| !provider.has(**slot));
    let finding = |slot: &SlotName| {
        let name = slot.as_str();
        Finding::new(
            format!("provider.{name}"),
            format!("{who} needs it, and the crypto provider `{}` does not fill it", provider.name()),
            format!("use a complete provider (feature `aws-lc-rs`) or fill the slot with `with_{name}`"),
        )
    };
    missing.map(finding).collect()
}
