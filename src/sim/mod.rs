//! A simulated Intune: the public services and an open queue, with faults on request. For development; it refuses other than loopback addresses.
//!
//! [`SimulatedIntune`] is a state machine from an HTTP request to its answer, with two fronts: [`SimulatedIntune::transport`] in process, on
//! whatever clock the runtime has, and [`SimulatedIntune::serve`] over HTTP. All ids, keys and secrets are random at each start, so what it
//! gives out is worth nothing anywhere else, and nothing else is worth anything here.
//!
//! What it knows of Intune is what is public. Where that ends, `docs/simulator.md` says what it does instead.
//!
//! ```
//! use std::sync::Arc;
//!
//! use intune_connector::adapters::StdRuntime;
//! use intune_connector::crypto::CryptoProvider;
//! use intune_connector::sim::{ExpectedCsr, FaultPlan, SimulatedIntune};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = Arc::new(StdRuntime::new()?);
//! let intune = SimulatedIntune::builder(CryptoProvider::aws_lc_rs(), runtime).seed(7).faults(FaultPlan::mild()).build()?;
//! let challenge = intune.issue_challenge(&ExpectedCsr::new("CN=Jane"))?;
//! let transport = intune.transport(); // for clients, with `intune.cloud()`
//! # let _ = (challenge, transport);
//! # Ok(())
//! # }
//! ```

mod answer;
mod arrivals;
mod builder;
mod control;
mod encoding;
mod endpoint;
mod entra;
mod error;
mod faults;
mod graph;
mod handle;
mod identity;
mod ledger;
mod location;
mod open_queue;
mod reply;
mod request;
mod revocation;
mod scep;
mod server;
mod state;
mod tenant;
mod transport;

use core::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use answer::{SimAnswer, SimOutcome};
pub use arrivals::Arrival;
pub use builder::SimulatedIntuneBuilder;
pub use endpoint::Endpoint;
pub use entra::Role;
pub use error::SimError;
pub use faults::{Fault, FaultPlan, PlayedFault, RetryAfter};
pub use graph::PfxRecord;
pub use ledger::{FailureEntry, FindingKind, LedgerFinding, NotifiedCertificate, TransactionEntry, ValidationEntry};
pub use location::Stale;
pub use open_queue::{NotEnqueued, OpenQueue, OpenQueueSettings};
pub use revocation::{RevocationEntry, RevocationRequest, RevocationResultEntry, RevocationState};
pub use scep::{ChallengeFlaw, ExpectedCsr, IssuedChallenge, RegisteredKey, RejectionCode};
pub use server::SimServer;

use self::builder::{OpenQueueMount, Settings};
use self::identity::{Identity, guid};
use self::request::Ask;
use self::state::State;
use crate::adapters::http::HttpRequest;
use crate::crypto::CryptoProvider;
use crate::ports::Runtime;

/// The host in process. No such host exists (RFC 2606).
const IN_PROCESS_HOST: &str = "simulated-intune.example";
const IN_PROCESS_BASE: &str = "https://simulated-intune.example";

/// A simulated Intune with one tenant, one registered app, and whatever faults are planned. Clones are the same one.
#[derive(Clone)]
pub struct SimulatedIntune {
    inner: Arc<Inner>,
}

struct Inner {
    provider: CryptoProvider,
    runtime: Arc<dyn Runtime>,
    settings: Settings,
    identity: Identity,
    open_queue: OpenQueueMount,
    state: Mutex<State>,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimulatedIntune {
    /// Starts to build one. Keys are made by the provider, times are the runtime's.
    #[must_use]
    pub fn builder(provider: CryptoProvider, runtime: Arc<dyn Runtime>) -> SimulatedIntuneBuilder {
        SimulatedIntuneBuilder::new(provider, runtime)
    }

    /// Answers one request. Nothing waits and nothing is sent here.
    #[must_use]
    pub fn answer(&self, request: &HttpRequest) -> SimAnswer {
        let ask = match Ask::read(request) {
            Ok(ask) => ask,
            Err(refusal) => return SimAnswer::respond(refusal),
        };
        let inner = &*self.inner;
        let mut state = inner.state();
        if state.base == IN_PROCESS_BASE && !location::is_in_process(&ask.host) {
            return SimAnswer::now(SimOutcome::UnknownHost);
        }
        let route = endpoint::route(&ask);
        let endpoint = route.endpoint(ask.method());
        let answer = if endpoint == Endpoint::Control {
            SimAnswer::respond(handle::handle(inner, &mut state, &ask, &route, handle::Bent::default()))
        } else {
            state.arrivals.add(endpoint, request, inner.runtime.now(), inner.settings.record_bodies);
            faults::play(inner, &mut state, &ask, &route)
        };
        drop(state);
        self.with_ids(answer, &ask)
    }

    /// Adds the ids by which Microsoft's support finds a request.
    fn with_ids(&self, answer: SimAnswer, ask: &Ask<'_>) -> SimAnswer {
        let id = guid(&self.inner.provider).unwrap_or_default();
        let activity = ask.header("client-request-id").filter(|id| id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_graphic()));
        let activity = activity.unwrap_or(&id).to_owned();
        let add = |response: crate::adapters::http::HttpResponse| {
            response.with_header("request-id", id.as_str()).with_header("client-request-id", activity.as_str())
        };
        let outcome = match answer.outcome {
            SimOutcome::Respond(response) => SimOutcome::Respond(add(response)),
            SimOutcome::TruncateAfter(response, length) => SimOutcome::TruncateAfter(add(response), length),
            other => other,
        };
        SimAnswer { outcome, ..answer }
    }
}

impl fmt::Debug for SimulatedIntune {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedIntune").field("identity", &self.inner.identity).finish_non_exhaustive()
    }
}
