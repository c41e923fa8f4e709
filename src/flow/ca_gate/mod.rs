//! The gate in front of each CA: all flows of a connector pass through it, so that the CA as a whole is spared, and not each request alone.
//!
//! While it is shut requests wait, which is no attempt; their deadlines go on.

mod budget;
mod limits;
mod machine;
mod pace;
mod visitor;

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use limits::CaLimits;
pub use machine::BreakerState;
#[cfg(any(feature = "pkcs", feature = "revoke"))]
pub(crate) use visitor::Visitor;

use super::{Context, EventScope};
use crate::event::EventId;
use crate::ids::CaName;
use crate::ports::{PortError, PortErrorKind, Runtime};
use crate::time::Timestamp;
use machine::{Change, Decision, Machine, Ticket, Verdict};

/// How long a CA is left alone after it said that settings or permissions are wrong: long enough not to hammer it, short enough that a
/// mended one is used soon.
pub(crate) const COOL_DOWN: Duration = Duration::from_secs(300);
/// Calls of one CA at a time, where nothing else is set.
pub(crate) const CONCURRENCY: usize = 8;

/// How the calls of one CA go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaStatus {
    /// Whether it is asked.
    pub breaker: BreakerState,
    /// Until when it is left alone; absent while it is asked.
    pub until: Option<Timestamp>,
    /// Calls that failed in a row until now.
    pub failures_in_a_row: u32,
    /// Calls under way.
    pub in_flight: u32,
    /// Calls since the connector was built.
    pub calls: u64,
    /// Of these, those that failed in passing, were throttled or met wrong settings.
    pub failed_calls: u64,
    /// How often it was left alone.
    pub times_opened: u64,
}

/// The gates of all CAs.
#[derive(Debug)]
pub(crate) struct Gates {
    full: u32,
    limits: BTreeMap<CaName, CaLimits>,
    gates: Mutex<BTreeMap<CaName, Arc<Gate>>>,
}

impl Default for Gates {
    fn default() -> Self {
        Self::new(CONCURRENCY, BTreeMap::new())
    }
}

impl Gates {
    pub(crate) fn new(concurrency: usize, limits: BTreeMap<CaName, CaLimits>) -> Self {
        Self { full: u32::try_from(concurrency).unwrap_or(u32::MAX), limits, gates: Mutex::default() }
    }

    /// The gate of a configured CA.
    pub(crate) fn of(&self, ca: &CaName) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(ca) {
            return Arc::clone(gate);
        }
        let limits = self.limits.get(ca).copied().unwrap_or_default();
        let gate = Arc::new(Gate { ca: ca.clone(), machine: Mutex::new(Machine::new(&limits, self.full)) });
        gates.insert(ca.clone(), Arc::clone(&gate));
        gate
    }

    pub(crate) fn status(&self, names: impl Iterator<Item = CaName>, runtime: &dyn Runtime) -> BTreeMap<CaName, CaStatus> {
        names.map(|name| (name.clone(), self.of(&name).status(runtime))).collect()
    }
}

/// What stands in front of one CA.
#[derive(Debug)]
pub(crate) struct Gate {
    ca: CaName,
    machine: Mutex<Machine>,
}

/// Whether the CA may be called.
#[derive(Debug)]
pub(crate) enum Entry {
    /// One call.
    Go(Permit),
    /// Not now; `misconfigured` when an operator must act first.
    Wait { pause: Duration, misconfigured: bool },
}

impl Gate {
    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for one call; a `repeat` belongs to an attempt after a failed one.
    pub(crate) fn ask(self: &Arc<Self>, context: &Context, repeat: bool) -> Entry {
        let (now, random) = (context.runtime.monotonic(), context.random());
        match self.machine().ask(repeat, now, random) {
            Decision::Go(ticket) => {
                let (gate, context) = (Arc::clone(self), context.clone());
                Entry::Go(Permit { gate, context, ticket, settled: AtomicBool::new(false), failed: AtomicBool::new(false) })
            }
            Decision::Wait { pause, misconfigured } => Entry::Wait { pause, misconfigured },
        }
    }

    fn status(&self, runtime: &dyn Runtime) -> CaStatus {
        let mut machine = self.machine();
        let (breaker, left) = machine.state(runtime.monotonic());
        CaStatus {
            breaker,
            until: left.map(|left| runtime.now().saturating_add(left)),
            failures_in_a_row: machine.in_a_row,
            in_flight: machine.in_flight,
            calls: machine.calls,
            failed_calls: machine.failed_calls,
            times_opened: machine.times_opened,
        }
    }

    fn answer(&self, context: &Context, ticket: Ticket, verdict: Verdict, error: Option<&PortError>) {
        let (now, random) = (context.runtime.monotonic(), context.random());
        let (change, number) = {
            let mut machine = self.machine();
            (machine.answer(ticket, verdict, now, random), machine.times_opened)
        };
        let Some(change) = change else { return };
        let id = match change {
            Change::Opened(_) => EventId::CaUnavailable,
            Change::Closed => EventId::CaAvailableAgain,
        };
        // The time tells the numbers of one process from those of the next.
        let name = format!("{}@{}", self.ca, context.runtime.now());
        let scope = EventScope { flow: None, name: &name, delivery: u32::try_from(number).unwrap_or(u32::MAX), attempt: 0 };
        context.emit(id, scope, |event| {
            let event = event.with_ca(Some(self.ca.clone()));
            let event = match change {
                Change::Opened(pause) => event.with_detail("pause-seconds", &pause.as_secs().to_string()),
                Change::Closed => event,
            };
            match error {
                Some(error) => event.with_error_class(error.class()).with_message(&error.to_string()),
                None => event,
            }
        });
    }
}

/// One call of a CA. Dropped without an answer it counts as not made.
#[derive(Debug)]
pub(crate) struct Permit {
    gate: Arc<Gate>,
    context: Context,
    ticket: Ticket,
    settled: AtomicBool,
    failed: AtomicBool,
}

impl Permit {
    /// Tells the gate how the call ended; only the first telling counts. A CA that says that it is misconfigured is left alone for
    /// `cool_down`; without one that is a failure like another.
    pub(crate) fn settle<T>(&self, answer: &Result<T, PortError>, cool_down: Option<Duration>) {
        let error = answer.as_ref().err();
        let verdict = match error.map(PortError::kind) {
            // To refuse a request, or to be unable to do a thing, is an answer of a CA that works.
            None | Some(PortErrorKind::Rejected | PortErrorKind::Unsupported) => Verdict::Healthy,
            Some(PortErrorKind::Transient) => Verdict::Failed,
            Some(PortErrorKind::Throttled) => Verdict::Throttled(error.and_then(PortError::retry_after)),
            Some(PortErrorKind::Misconfigured) => cool_down.map_or(Verdict::Failed, Verdict::Misconfigured),
        };
        if !self.settled.swap(true, Ordering::AcqRel) {
            self.failed.store(verdict != Verdict::Healthy, Ordering::Release);
            self.gate.answer(&self.context, self.ticket, verdict, error);
        }
    }

    /// Whether the call was to find out whether the CA is back, and it is not: that says nothing about the request.
    fn was_vain_probe(&self) -> bool {
        self.ticket.is_probe && self.failed.load(Ordering::Acquire)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.settled.swap(true, Ordering::AcqRel) {
            self.gate.answer(&self.context, self.ticket, Verdict::Unused, None);
        }
    }
}
