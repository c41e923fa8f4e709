//! The connector: flows, queue, journal and events brought together.
//!
//! [`Connector::builder`] takes the configuration and names every mistake in it at once; [`Connector::run_until`] does the work.
//! Nothing is spawned: all of it happens inside the future of the run, beside CPU work on the runtime's threads.
//!
//! Panics of adapters are contained where panics unwind; with `panic = "abort"` they end the process.

mod builder;
mod claim;
mod content;
mod digest;
mod engine;
mod fleet;
mod guarantees;
mod handle;
mod inner;
mod intake;
mod item;
mod join;
mod ledger;
mod requests;
mod schedule;
mod stored;
mod stranded;
mod upload;
mod work;

use core::future::Future;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) use builder::worker_findings;
pub use builder::{BuildError, ConnectorBuilder};
pub(crate) use digest::idempotency_key;
pub use fleet::{FleetRefused, Member};
pub use guarantees::{Durability, Guarantees, Issuance};
pub use handle::{FlowMode, FlowStatus, Handle, JournalStatus, UnknownFlow};
pub use requests::{OrphanRecord, RequestError, RequestRecord};
pub use schedule::HeldBack;
pub use stored::LatencySamples;

pub use crate::flow::ca_gate::{BreakerState, CaLimits, CaStatus};
pub use crate::flow::{Finding, FlowSpec, QueueSettings};

use crate::crypto::CryptoProvider;
use crate::event::EventId;
use crate::ports::{FlowCounters, Journal};
use crate::terms::Flow;

/// A configured connector.
#[derive(Debug)]
pub struct Connector {
    inner: Arc<inner::Inner>,
}

/// What one flow did, since the connector was built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlowSummary {
    /// Counts.
    pub counters: FlowCounters,
    /// Time from download to the end of each request.
    pub latency: LatencySamples,
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// By flow.
    pub flows: BTreeMap<Flow, FlowSummary>,
    /// Requests still in hand when the drain ended; a later run of the same connector goes on with those that wait.
    pub left: usize,
    /// The instance had no place among those of its tenant when the run ended, and did no work without one.
    pub refused: Option<FleetRefused>,
}

/// What a single round did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunReport {
    /// When something is to be done next, from now; absent when nothing will be before a flow is resumed.
    pub next_due: Option<Duration>,
    /// Requests in hand.
    pub held: usize,
    /// The instance has no place among those of its tenant, so nothing was done.
    pub refused: Option<FleetRefused>,
}

impl Connector {
    /// Starts a configuration.
    #[must_use]
    pub fn builder(provider: CryptoProvider, journal: Arc<dyn Journal>) -> ConnectorBuilder {
        ConnectorBuilder::new(provider, journal)
    }

    /// Polls each flow that is due once, makes one attempt at each request that is due, uploads once, and returns.
    ///
    /// What waits stays in hand for the next call. Waits while another run of this connector goes on.
    pub async fn run_once(&self) -> RunReport {
        let ended = engine::run(&self.inner, engine::Kind::Once, core::future::pending()).await;
        RunReport { next_due: ended.next_due, held: ended.held, refused: self.inner.fleet.state().refused.clone() }
    }

    /// Works until `stop` is ready, then takes no more work, finishes what it holds within the drain time-out, and says what was done.
    ///
    /// Errors of queue, CA and journal never end it. After it has returned nothing of the connector runs; when its future is dropped
    /// instead, at most running CPU work finishes, which touches no port. Waits while another run of this connector goes on.
    pub async fn run_until(&self, stop: impl Future<Output = ()>) -> Summary {
        let inner = &self.inner;
        let flows: Vec<String> = inner.control.flows().keys().map(ToString::to_string).collect();
        let number = inner.control.next_number();
        inner.emit(EventId::ConnectorStarted, None, "run", number, |event| {
            event
                .with_detail("version", env!("CARGO_PKG_VERSION"))
                .with_detail("provider", inner.context.provider.name())
                .with_detail("flows", &flows.join(" "))
                .with_detail("journal", if inner.journal.is_durable() { "durable" } else { "volatile" })
        });
        let ended = engine::run(inner, engine::Kind::Until, stop).await;
        inner.emit(EventId::ConnectorStopped, None, "run", number, |event| event.with_detail("left", &ended.held.to_string()));
        Summary { left: ended.held, refused: inner.fleet.state().refused.clone(), ..self.summary() }
    }

    /// What was done since the connector was built.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let flows = self.inner.control.flows();
        let flows: BTreeMap<Flow, FlowSummary> = flows
            .iter()
            .map(|(flow, control)| (*flow, FlowSummary { counters: control.counters, latency: control.latency.clone() }))
            .collect();
        Summary { flows, ..Summary::default() }
    }

    /// A handle to pause, drain, reconfigure and ask, from anywhere.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { inner: Arc::clone(&self.inner) }
    }

    /// Which promises hold with the ports as they are.
    #[must_use]
    pub fn guarantees(&self) -> Guarantees {
        Guarantees::of(&*self.inner.journal, &self.inner.control)
    }
}

#[cfg(test)]
mod tests;
