//! Settings of a simulator.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::arrivals::Arrivals;
use super::entra::{Credentials, Role};
use super::faults::{FaultPlan, FaultState};
use super::graph::PfxStore;
use super::identity::Identity;
use super::ledger::Ledger;
use super::location::Location;
use super::revocation::RevocationBook;
use super::scep::{Challenges, ProvokedCodes};
use super::state::State;
use super::{IN_PROCESS_BASE, Inner, OpenQueue, OpenQueueSettings, SimError, SimulatedIntune};
use crate::adapters::http::{HttpRequest, HttpResponse};
use crate::crypto::CryptoProvider;
use crate::ports::Runtime;
use crate::secret::Password;

type Answers = Arc<dyn Fn(&HttpRequest) -> HttpResponse + Send + Sync>;

/// What answers below `/open-queue/v1`.
pub(super) enum OpenQueueMount {
    /// The simulator's own.
    Own(Arc<OpenQueue>),
    /// Another's.
    Other(Answers),
}

impl OpenQueueMount {
    pub(super) fn handle(&self, request: &HttpRequest) -> HttpResponse {
        match self {
            Self::Own(queue) => queue.handle(request),
            Self::Other(answers) => answers(request),
        }
    }

    pub(super) fn own(&self) -> Option<&Arc<OpenQueue>> {
        match self {
            Self::Own(queue) => Some(queue),
            Self::Other(_) => None,
        }
    }
}

pub(super) struct Settings {
    pub(super) token_life: Duration,
    pub(super) challenge_life: Duration,
    pub(super) cool_down: Duration,
    pub(super) reoffer: bool,
    pub(super) page_size: usize,
    pub(super) bases_end_in_slash: bool,
    pub(super) intune_audience_without_slash: bool,
    pub(super) record_bodies: bool,
}

/// Builds a [`SimulatedIntune`].
pub struct SimulatedIntuneBuilder {
    provider: CryptoProvider,
    runtime: Arc<dyn Runtime>,
    settings: Settings,
    seed: u64,
    plan: FaultPlan,
    base: String,
    open_queue: Option<Answers>,
}

impl SimulatedIntuneBuilder {
    pub(super) fn new(provider: CryptoProvider, runtime: Arc<dyn Runtime>) -> Self {
        const HOUR: Duration = Duration::from_secs(3_600);
        let settings = Settings {
            token_life: HOUR,
            challenge_life: HOUR,
            cool_down: HOUR,
            reoffer: true,
            page_size: 100,
            bases_end_in_slash: false,
            intune_audience_without_slash: false,
            record_bodies: false,
        };
        Self { provider, runtime, settings, seed: 0, plan: FaultPlan::none(), base: IN_PROCESS_BASE.to_owned(), open_queue: None }
    }

    /// Sets what chance gives the faults. It makes no key and no secret: those are the provider's random numbers. Default 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets the plan of faults. Default none.
    #[must_use]
    pub fn faults(mut self, plan: FaultPlan) -> Self {
        self.plan = plan;
        self
    }

    /// Sets scheme and authority under which clients reach it, without a `/` at the end, such as `http://127.0.0.1:8080`.
    /// The default is a host that exists in process alone, and for [`SimulatedIntune::serve`] its own address.
    #[must_use]
    pub fn base_url(mut self, base: impl Into<String>) -> Self {
        self.base = base.into().trim_end_matches('/').to_owned();
        self
    }

    /// Sets how long tokens are good. Default an hour.
    #[must_use]
    pub fn token_life(mut self, life: Duration) -> Self {
        self.settings.token_life = life;
        self
    }

    /// Sets how long challenges are good that say nothing else. Default an hour, as users report of Intune.
    #[must_use]
    pub fn challenge_life(mut self, life: Duration) -> Self {
        self.settings.challenge_life = life;
        self
    }

    /// Sets how long no revocation requests are given out after a download. Default an hour.
    #[must_use]
    pub fn cool_down(mut self, time: Duration) -> Self {
        self.settings.cool_down = time;
        self
    }

    /// Sets whether a revocation request that was given out and not answered is given out again after the cool-down. Default yes; what Intune
    /// does is not public.
    #[must_use]
    pub fn offer_unanswered_revocations_again(mut self, again: bool) -> Self {
        self.settings.reoffer = again;
        self
    }

    /// Sets how many items a page of Graph has, at least one. Default 100.
    #[must_use]
    pub fn page_size(mut self, items: usize) -> Self {
        self.settings.page_size = items.clamp(1, 1_000);
        self
    }

    /// Sets whether the base URIs that discovery gives end in `/`. Default no.
    #[must_use]
    pub fn bases_end_in_slash(mut self, slash: bool) -> Self {
        self.settings.bases_end_in_slash = slash;
        self
    }

    /// Sets whether Intune's audience is taken without the `/` at its end as well, so that a scope with one slash before `.default` works.
    /// Default no: it ends in AADSTS500011.
    #[must_use]
    pub fn intune_audience_without_slash(mut self, taken: bool) -> Self {
        self.settings.intune_audience_without_slash = taken;
        self
    }

    /// Sets whether the bodies of requests are kept, to compare clients. They hold challenges, secrets and passwords. Default no.
    #[must_use]
    pub fn record_bodies(mut self, record: bool) -> Self {
        self.settings.record_bodies = record;
        self
    }

    /// Sets what answers below `/open-queue/v1` in the place of the simulator's own [`OpenQueue`]. It runs while the simulator waits, and must not call it.
    #[must_use]
    pub fn open_queue(mut self, queue: impl Fn(&HttpRequest) -> HttpResponse + Send + Sync + 'static) -> Self {
        self.open_queue = Some(Arc::new(queue));
        self
    }

    /// Makes the tenant: ids, keys and secrets, all random.
    ///
    /// # Errors
    /// [`SimError`] when the provider lacks a slot, a key or certificate cannot be made, or the base URL is more than scheme and authority.
    pub fn build(self) -> Result<SimulatedIntune, SimError> {
        if !is_scheme_and_authority(&self.base) {
            let text = format!("the base URL `{}`: give scheme and authority alone, such as https://localhost:8443", self.base);
            return Err(SimError::Invalid(text));
        }
        let identity = Identity::new(&self.provider, &self.runtime)?;
        let open_queue = match self.open_queue {
            Some(answers) => OpenQueueMount::Other(answers),
            None => OpenQueueMount::Own(Arc::new(own_queue(&identity, &self.runtime)?)),
        };
        let state = State {
            base: self.base,
            location: Location::default(),
            roles: BTreeSet::from(Role::ALL),
            licensed: true,
            credentials: Credentials::default(),
            token_generation: 0,
            challenges: Challenges::new(&self.provider, &identity.ca)?,
            provoked: ProvokedCodes::default(),
            ledger: Ledger::default(),
            revocation: RevocationBook::default(),
            pfx: PfxStore::default(),
            faults: FaultState::new(self.seed, self.plan),
            arrivals: Arrivals::default(),
        };
        let inner = Inner {
            provider: self.provider,
            runtime: self.runtime,
            settings: self.settings,
            identity,
            open_queue,
            state: Mutex::new(state),
        };
        Ok(SimulatedIntune { inner: Arc::new(inner) })
    }
}

/// A path would be a part of every request's, and no endpoint would be found.
fn is_scheme_and_authority(base: &str) -> bool {
    let authority = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"));
    authority
        .is_some_and(|authority| !authority.is_empty() && authority.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@".contains(&byte)))
}

fn own_queue(identity: &Identity, runtime: &Arc<dyn Runtime>) -> Result<OpenQueue, SimError> {
    let tenant = identity.tenant.parse().map_err(|_| SimError::Invalid("the tenant's id is none".to_owned()))?;
    let token = Password::new(identity.queue_token.secret_bytes().to_vec());
    Ok(OpenQueue::new(OpenQueueSettings::new(tenant).with_token(token), Arc::clone(runtime)))
}

impl fmt::Debug for SimulatedIntuneBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedIntuneBuilder")
            .field("seed", &self.seed)
            .field("plan", &self.plan)
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}
