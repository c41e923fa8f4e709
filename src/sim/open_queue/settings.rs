//! What a simulated queue serves, and to whom.

use core::time::Duration;

use crate::ids::TenantId;
use crate::ports::QueueCapabilities;
use crate::secret::Password;
use crate::terms::Flow;

/// The settings of an [`OpenQueue`](super::OpenQueue).
#[derive(Debug)]
#[non_exhaustive]
pub struct OpenQueueSettings {
    /// The tenant that is served.
    pub tenant: TenantId,
    /// The flows that are served. Default: PKCS, recrypt, import and revocation.
    pub flows: Vec<Flow>,
    /// Bearer tokens that are taken. None at first: then nobody is let in.
    pub tokens: Vec<Password>,
    /// Nobody is asked for a token.
    pub dangerous_without_token: bool,
    /// How long a delivered request is kept from other instances. Default 5 min.
    pub lease: Duration,
    /// The shortest time between two polls that clients are told. Default none.
    pub minimum_interval: Duration,
    /// The most items in one batch. Default 100.
    pub max_batch: usize,
    /// How far a client's clock may be off, and for how long ids of calls are remembered on either side. Default 5 min.
    pub window: Duration,
    /// The longest body that is taken, in bytes. Default 16 MiB.
    pub max_body: usize,
    /// The most requests, results and health messages that are kept. Default 100,000.
    pub most_kept: usize,
}

impl OpenQueueSettings {
    /// For that tenant, with the defaults for the rest.
    #[must_use]
    pub fn new(tenant: TenantId) -> Self {
        Self {
            tenant,
            flows: vec![Flow::Pkcs, Flow::PkcsRecrypt, Flow::PkcsImport, Flow::Revoke],
            tokens: Vec::new(),
            dangerous_without_token: false,
            lease: Duration::from_secs(300),
            minimum_interval: Duration::ZERO,
            max_batch: 100,
            window: Duration::from_secs(300),
            max_body: 16 << 20,
            most_kept: 100_000,
        }
    }

    /// Sets the flows that are served.
    #[must_use]
    pub fn with_flows(mut self, flows: Vec<Flow>) -> Self {
        self.flows = flows;
        self
    }

    /// Takes a bearer token; several calls add several.
    #[must_use]
    pub fn with_token(mut self, token: Password) -> Self {
        self.tokens.push(token);
        self
    }

    /// Asks nobody for a token: for clients that the server in front knows by their certificates.
    #[must_use]
    pub fn dangerous_without_token(mut self) -> Self {
        self.dangerous_without_token = true;
        self
    }

    /// Sets how long a delivered request is kept from other instances; at least a second.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_secs(1));
        self
    }

    /// Sets the shortest time between two polls that clients are told.
    #[must_use]
    pub fn with_minimum_interval(mut self, interval: Duration) -> Self {
        self.minimum_interval = interval;
        self
    }

    /// Sets the most items in one batch, from 1 to 1,000.
    #[must_use]
    pub fn with_max_batch(mut self, items: usize) -> Self {
        self.max_batch = items.clamp(1, 1_000);
        self
    }

    /// Sets how far a client's clock may be off.
    #[must_use]
    pub fn with_window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Sets the longest body that is taken, in bytes.
    #[must_use]
    pub fn with_max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Sets how much is kept: so many requests, results, health messages, and ids of calls.
    #[must_use]
    pub fn with_most_kept(mut self, most: usize) -> Self {
        self.most_kept = most;
        self
    }

    pub(super) fn capabilities(&self) -> QueueCapabilities {
        let mut capabilities = QueueCapabilities::new(self.flows.clone());
        capabilities.minimum_interval = self.minimum_interval;
        capabilities.lease = Some(self.lease);
        capabilities.redelivers_elsewhere = true;
        capabilities.max_batch = self.max_batch;
        capabilities
    }
}
