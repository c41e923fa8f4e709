//! The queue: its two directions stand in `requests` and `results`.

use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::super::revocation_actions::RevocationActions;
use super::config::{MOST_REQUESTS, RevocationsBuilder, Settings};
use super::requests::{Came, Turn};
use super::step::{self, Standing};
use super::stored::Store;
use crate::crypto::CryptoProvider;
use crate::ids::{InstanceId, TenantId};
use crate::ports::{
    Batch, CompleteAnswer, CompleteRequest, ExtendLeaseRequest, IntuneQueue, Journal, JournalScope, PortError, QueueCapabilities,
    ReceiveRequest, RenewRequest, Row, RowKey, Runtime,
};
use crate::terms::Flow;
use crate::time::Timestamp;

/// How long a request stays with the instance that was given it, unless it prolongs that.
pub(super) const LEASE: Duration = Duration::from_secs(900);

/// Intune's revocation requests as the queue of the flow `revoke`.
///
/// - *Nothing is lost*: what a download brought is in the journal before it is given out, and stays until Intune has accepted its result. After
///   a crash it is given out again without a call, and once more when whoever was given it neither answers nor prolongs it for 15 minutes:
///   that may have been a run of the connector that was dropped. Then it is left to Intune to offer it again. (What a crash meets between Intune's answer and its storing comes back only when Intune
///   offers it again.)
/// - *No call too early*: Intune gives out nothing for an hour after a download. The hour is stored before the call goes out, so that neither
///   a lost answer nor a restart leads to a call that is in vain; an error that certainly did nothing ends it. Until then
///   [`receive`](IntuneQueue::receive) gives what is stored, and says when to come again. It calls nobody before that, so the flow's
///   `poll_interval` may be a minute: stored requests and failed downloads then do not wait for the hour of its default.
/// - *Nobody else's requests are answered*: [`own_issuers`](RevocationsBuilder::own_issuers) leaves them where they are, and so does the flow.
///
/// The journal's scope is that of the cool-down: with [`JournalScope::Fleet`] one download serves all instances of the tenant, and one takes
/// over what another left. With a journal of one instance each instance downloads by itself: let one instance of a tenant have this queue,
/// since Intune would give the requests to whoever comes first in the hour, and nothing to the others.
///
/// The `requestContext` is the request's id; one that is too long for an id, or has no place in a log, is known by its digest. A request's
/// `issuer` is `issuerName`, or `caConfiguration` where that is absent; with `own_issuers`, whichever of the two is an own name.
///
/// ```
/// use std::sync::Arc;
///
/// use intune_connector::adapters::StdRuntime;
/// use intune_connector::adapters::intune::{IntuneRevocations, RevocationActions};
/// use intune_connector::connector::{Connector, QueueSettings};
/// use intune_connector::crypto::CryptoProvider;
/// use intune_connector::ports::{CertificateAuthority, EventSink, Journal};
/// use intune_connector::revoke::RevokeConfig;
/// use intune_connector::secret::SecretBytes;
///
/// fn connector(
///     actions: Arc<dyn RevocationActions>,
///     journal: Arc<dyn Journal>,
///     ca: Arc<dyn CertificateAuthority>,
///     sink: Arc<dyn EventSink>,
///     sealing_key: &[u8],
/// ) -> Result<Connector, Box<dyn std::error::Error>> {
///     let (provider, runtime) = (CryptoProvider::ring_and_aws_lc_rs(), Arc::new(StdRuntime::new()?));
///     let (tenant, name) = ("contoso.example".parse()?, "Contoso Issuing CA".parse()?);
///     let queue = IntuneRevocations::builder(actions, journal.clone(), tenant, runtime.clone(), provider.clone())
///         .own_issuers(["Contoso Issuing CA"])
///         .sealing_key(SecretBytes::copy_from(sealing_key))
///         .build()?;
///     let queue = Arc::new(queue);
///     let settings = QueueSettings::new(queue.clone()).with_poll_interval(core::time::Duration::from_secs(60));
///     let connector = Connector::builder(provider, journal)
///         .tenant("contoso.example".parse()?)
///         .instance("connector-1".parse()?)
///         .sink(sink)
///         .runtime(runtime)
///         .sealing_key(SecretBytes::copy_from(sealing_key))
///         .revoke(RevokeConfig::new(queue, name, ca).with_settings(settings))
///         .build()?;
///     Ok(connector)
/// }
/// ```
#[derive(Debug)]
pub struct IntuneRevocations {
    pub(super) actions: Arc<dyn RevocationActions>,
    pub(super) store: Store,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) settings: Settings,
    pub(super) turn: futures_util::lock::Mutex<Turn>,
    pub(super) handed: Mutex<HashMap<RowKey, Handed>>,
}

/// What this process was given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handed {
    pub(super) until: Timestamp,
    pub(super) lease_epoch: u64,
    /// How often.
    pub(super) times: u32,
}

impl IntuneRevocations {
    /// Starts the settings. `tenant` is that of the connector.
    #[must_use]
    pub fn builder(
        actions: Arc<dyn RevocationActions>,
        journal: Arc<dyn Journal>,
        tenant: TenantId,
        runtime: Arc<dyn Runtime>,
        provider: CryptoProvider,
    ) -> RevocationsBuilder {
        RevocationsBuilder::new(actions, journal, tenant, runtime, provider)
    }

    pub(super) fn new(actions: Arc<dyn RevocationActions>, store: Store, runtime: Arc<dyn Runtime>, settings: Settings) -> Self {
        Self { actions, store, runtime, settings, turn: futures_util::lock::Mutex::default(), handed: Mutex::default() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.runtime.now()
    }

    pub(super) fn handed(&self) -> MutexGuard<'_, HashMap<RowKey, Handed>> {
        self.handed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn standing(&self, row: &Row, instance: &InstanceId, now: Timestamp) -> Standing {
        let handed = self.handed().get(&row.key).copied();
        step::standing(row, handed, instance, self.store.journal.scope(), now)
    }
}

fn only_revoke(flow: Flow) -> Result<(), PortError> {
    match flow {
        Flow::Revoke => Ok(()),
        other => {
            Err(PortError::unsupported(format!("Intune's revocation API has nothing for the flow {other}; give it to `revoke` alone")))
        }
    }
}

#[async_trait]
impl IntuneQueue for IntuneRevocations {
    fn capabilities(&self) -> QueueCapabilities {
        let mut capabilities = QueueCapabilities::new(vec![Flow::Revoke]);
        // Between two parts of what one download brought; `next_poll` says when the next download is due.
        capabilities.minimum_interval = Duration::from_secs(1);
        capabilities.lease = Some(LEASE);
        // Intune may offer what is not answered in the hour to whoever comes next.
        capabilities.redelivers_elsewhere = true;
        capabilities.max_batch = MOST_REQUESTS;
        capabilities
    }

    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, PortError> {
        only_revoke(request.flow)?;
        let mut turn = self.turn.lock().await;
        self.save(&mut turn, &request.instance).await?;
        let mut given = self.give(&mut turn, &request).await?;
        if given.items.is_empty() && !given.more {
            match self.download(&mut turn).await? {
                Came::Wait(wait) => {
                    let mut batch = Batch::new(Vec::new());
                    batch.next_poll = Some(wait);
                    return Ok(batch);
                }
                Came::Requests => {
                    self.save(&mut turn, &request.instance).await?;
                    given = self.give(&mut turn, &request).await?;
                }
            }
        }
        let end = if given.more { None } else { self.store.cool_down().await.ok().flatten() };
        // From here on nothing waits: a caller that gave up before has been given nothing.
        let mut items = self.hand_over(given.items);
        if items.len() < request.max {
            self.report_unidentified(&mut turn, &mut items);
        }
        let mut batch = Batch::new(items);
        batch.next_poll = end.map(|row| step::left(row.due, self.now())).filter(|wait| !wait.is_zero());
        Ok(batch)
    }

    async fn complete(&self, request: CompleteRequest) -> Result<Vec<CompleteAnswer>, PortError> {
        only_revoke(request.flow)?;
        self.upload_all(&request.results).await
    }

    async fn extend_lease(&self, request: ExtendLeaseRequest) -> Result<(), PortError> {
        only_revoke(request.flow)?;
        let now = self.now();
        let until = now.saturating_add(LEASE);
        let mut held = Vec::with_capacity(request.requests.len());
        for id in &request.requests {
            let key = self.store.row_key(id)?;
            if let Some(handed) = self.handed().get_mut(&key) {
                handed.until = until;
                held.push((key, handed.lease_epoch));
            }
        }
        // A journal of one instance has nobody to keep them from.
        if self.store.journal.scope() == JournalScope::Fleet && !held.is_empty() {
            self.store.journal.renew(RenewRequest::new(held, request.instance, now, LEASE)).await?;
        }
        Ok(())
    }
}
