//! What can be asked and changed while the connector runs.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::task::AtomicWaker;
use serde::{Deserialize, Serialize};

use super::builder::{BuildError, spec_findings};
use super::fleet::{FleetRefused, Member};
use super::inner::Inner;
use super::schedule::{Completions, HeldBack};
use super::stored::LatencySamples;
use crate::event::EventId;
use crate::flow::ca_gate::CaStatus;
use crate::flow::{Finding, FlowSpec};
use crate::ids::CaName;
use crate::ports::{FlowCounters, JournalStats};
use crate::terms::Flow;
use crate::time::Timestamp;

/// What a flow does at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FlowMode {
    /// It polls and works.
    Running,
    /// It starts nothing; what is being worked on goes on to its next pause, and finished results are uploaded.
    Paused,
    /// It polls no more, but finishes what it holds.
    Draining,
}

/// How a flow stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlowStatus {
    /// What it does.
    pub mode: FlowMode,
    /// Requests in hand, finished results not yet accepted among them.
    pub held: usize,
    /// Of these, worked on at the moment.
    pub working: usize,
    /// Of these, results that wait for their upload.
    pub results: usize,
    /// Counts since the connector was built.
    pub counters: FlowCounters,
    /// Why nothing is downloaded for now, if so; events 23 and 24 tell when that begins and ends.
    pub held_back: Option<HeldBack>,
}

/// How the journal stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct JournalStatus {
    /// Its sizes, as it told them last; absent before its first answer.
    pub stats: Option<JournalStats>,
    /// When it told them. It is asked about once a minute while the connector runs.
    pub asked: Option<Timestamp>,
    /// How long its open rows will take at the pace at which this instance ended requests in the last five minutes; other instances of a
    /// fleet shorten it. Absent when nothing has ended in that time.
    pub time_to_drain: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct FlowControl {
    pub(super) spec: Arc<FlowSpec>,
    pub(super) mode: FlowMode,
    pub(super) counters: FlowCounters,
    pub(super) latency: LatencySamples,
    pub(super) gauges: (usize, usize, usize),
    pub(super) held_back: Option<HeldBack>,
}

/// What runs and handles share.
#[derive(Debug)]
pub(super) struct Control {
    flows: Mutex<BTreeMap<Flow, FlowControl>>,
    journal: Mutex<Option<(JournalStats, Timestamp)>>,
    completions: Mutex<Completions>,
    generation: AtomicU64,
    number: AtomicU32,
    look: AtomicBool,
    pub(super) waker: AtomicWaker,
}

impl Control {
    pub(super) fn new(specs: Vec<FlowSpec>) -> Self {
        let flows = specs.into_iter().map(|spec| {
            let control = FlowControl {
                mode: FlowMode::Running,
                counters: FlowCounters::default(),
                latency: LatencySamples::default(),
                gauges: (0, 0, 0),
                held_back: None,
                spec: Arc::new(spec),
            };
            (control.spec.flow(), control)
        });
        Self {
            flows: Mutex::new(flows.collect()),
            journal: Mutex::default(),
            completions: Mutex::default(),
            generation: AtomicU64::new(0),
            number: AtomicU32::new(0),
            look: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    pub(super) fn flows(&self) -> MutexGuard<'_, BTreeMap<Flow, FlowControl>> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the journal told last, and when.
    pub(super) fn journal(&self) -> Option<(JournalStats, Timestamp)> {
        *self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_journal(&self, told: (JournalStats, Timestamp)) {
        *self.journal.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
    }

    fn completions(&self) -> MutexGuard<'_, Completions> {
        self.completions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, flow: Flow, change: impl FnOnce(&mut FlowCounters)) {
        if let Some(control) = self.flows().get_mut(&flow) {
            change(&mut control.counters);
        }
    }

    pub(super) fn finished(&self, flow: Flow, failed: bool, took: Duration, now: Duration) {
        self.completions().add(now);
        if let Some(control) = self.flows().get_mut(&flow) {
            control.latency.add(took);
            if failed {
                control.counters.failed += 1;
            } else {
                control.counters.succeeded += 1;
            }
        }
    }

    /// A number for events that have none of their own.
    pub(super) fn next_number(&self) -> u32 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The journal has something new.
    pub(super) fn look_again(&self) {
        self.look.store(true, Ordering::Release);
        self.changed();
    }

    /// Whether the journal is to be looked at before its time.
    pub(super) fn take_look(&self) -> bool {
        self.look.swap(false, Ordering::AcqRel)
    }

    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.waker.wake();
    }
}

/// A flow that the connector does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connector was built without the flow {0}; add it to the builder")]
pub struct UnknownFlow(pub Flow);

/// Asks and changes a connector from anywhere, running or not. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) inner: Arc<Inner>,
}

impl Handle {
    fn set(&self, flow: Flow, mode: FlowMode, event: EventId) -> Result<(), UnknownFlow> {
        let changed = {
            let mut flows = self.inner.control.flows();
            let control = flows.get_mut(&flow).ok_or(UnknownFlow(flow))?;
            core::mem::replace(&mut control.mode, mode) != mode
        };
        if changed {
            let number = self.inner.control.next_number();
            self.inner.emit(event, Some(flow), "mode", number, |event| event.with_detail("mode", &format!("{mode:?}")));
            self.inner.control.changed();
        }
        Ok(())
    }

    /// Stops a flow: it polls no more and starts no attempt; others go on.
    ///
    /// # Errors
    /// [`UnknownFlow`] when it was not configured.
    pub fn pause(&self, flow: Flow) -> Result<(), UnknownFlow> {
        self.set(flow, FlowMode::Paused, EventId::FlowPaused)
    }

    /// Lets a paused or drained flow go on.
    ///
    /// # Errors
    /// [`UnknownFlow`] when it was not configured.
    pub fn resume(&self, flow: Flow) -> Result<(), UnknownFlow> {
        self.set(flow, FlowMode::Running, EventId::FlowResumed)
    }

    /// Lets a flow finish what it holds without taking more; it is drained when [`FlowStatus::held`] is 0.
    ///
    /// # Errors
    /// [`UnknownFlow`] when it was not configured.
    pub fn drain(&self, flow: Flow) -> Result<(), UnknownFlow> {
        self.set(flow, FlowMode::Draining, EventId::FlowPaused)
    }

    /// Replaces the configuration of a flow for new work; what is in hand is finished by the old one.
    ///
    /// # Errors
    /// [`BuildError`] with all findings; nothing is changed then.
    pub fn reconfigure(&self, spec: impl Into<FlowSpec>) -> Result<(), BuildError> {
        let spec = spec.into();
        let flow = spec.flow();
        let mut findings = spec_findings(&spec, &self.inner.context.provider);
        let mut renewed = spec.worker.credentials();
        {
            let mut flows = self.inner.control.flows();
            match flows.get_mut(&flow) {
                Some(control) if findings.is_empty() => {
                    let before = control.spec.worker.credentials();
                    renewed.retain(|credential| !before.contains(credential));
                    control.spec = Arc::new(spec);
                }
                Some(_) => {}
                None => {
                    findings.push(Finding::new(flow.as_str(), "the connector was built without this flow", "add it to the builder"));
                }
            }
        }
        if !findings.is_empty() {
            return Err(BuildError::new(findings));
        }
        let number = self.inner.control.next_number();
        self.inner.emit(EventId::ConfigurationChanged, Some(flow), "configuration", number, |event| event);
        for credential in renewed {
            self.inner.emit(EventId::CertificateRenewed, Some(flow), &credential.name, number, |event| {
                event.with_detail("credential", &credential.name).with_detail("not_after", &credential.not_after.to_string())
            });
        }
        self.inner.control.changed();
        Ok(())
    }

    /// How each flow stands.
    #[must_use]
    pub fn status(&self) -> BTreeMap<Flow, FlowStatus> {
        let flows = self.inner.control.flows();
        let status = flows.iter().map(|(flow, control)| {
            let (held, working, results) = control.gauges;
            (*flow, FlowStatus { mode: control.mode, held, working, results, counters: control.counters, held_back: control.held_back })
        });
        status.collect()
    }

    /// The instances that share the journal, this one among them, as they were when it last looked: at least once in each lease while it
    /// runs. Those that have ended or died stay in the list until another one takes their place. Empty with a journal of one instance.
    #[must_use]
    pub fn fleet(&self) -> Vec<Member> {
        self.inner.fleet.state().members.clone()
    }

    /// Why this instance may not work beside the others at present.
    #[must_use]
    pub fn refused(&self) -> Option<FleetRefused> {
        self.inner.fleet.state().refused.clone()
    }

    /// How the journal stands, and how long what is open in it will take. Answers at once, by what the journal told last.
    #[must_use]
    pub fn journal_status(&self) -> JournalStatus {
        let Some((stats, asked)) = self.inner.control.journal() else { return JournalStatus::default() };
        let time_to_drain = self.inner.control.completions().time_to_drain(stats.open, self.inner.monotonic());
        JournalStatus { stats: Some(stats), asked: Some(asked), time_to_drain }
    }

    /// How each CA of the flows does, by its name.
    #[must_use]
    pub fn ca_status(&self) -> BTreeMap<CaName, CaStatus> {
        let specs: Vec<Arc<FlowSpec>> = self.inner.control.flows().values().map(|control| Arc::clone(&control.spec)).collect();
        let names = specs.iter().flat_map(|spec| spec.worker.authorities()).map(|(name, _)| name);
        self.inner.context.gates.status(names, &*self.inner.context.runtime)
    }

    /// When each credential ends that the connector works with, by its name: the flows' certificates, and what
    /// [`watch_credential`](super::ConnectorBuilder::watch_credential) was told of. For a metric such as "days left".
    #[must_use]
    pub fn credentials(&self) -> BTreeMap<String, Timestamp> {
        self.inner.credentials().into_iter().map(|credential| (credential.name, credential.not_after)).collect()
    }
}
