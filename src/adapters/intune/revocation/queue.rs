//! The queue: what is stored is given out, what is due is downloaded, and results go up under the contexts that are stored.

use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::super::revocation_actions::{RevocationAction, RevocationActions, RevocationCall};
use super::config::{MOST_REQUESTS, RevocationsBuilder, Settings};
use super::record::Record;
use super::step::{self, Standing};
use super::stored::{Content, Store};
use super::wire::{self, UploadedResult};
use crate::crypto::CryptoProvider;
use crate::ids::{InstanceId, RequestId, TenantId};
use crate::ports::{
    Batch, CompleteAnswer, CompleteRequest, ExtendLeaseRequest, IntuneQueue, Journal, JournalScope, Payload, PortError, QueueCapabilities,
    QueueItem, ReceiveRequest, RenewRequest, RequestMeta, ResultItem, RevocationError, Row, RowKey, RowState, Runtime, SealedBlob,
};
use crate::retry::{Effect, Retry};
use crate::terms::Flow;
use crate::time::Timestamp;

/// How long a request stays with the instance that was given it, unless it prolongs that.
const LEASE: Duration = Duration::from_secs(900);
/// After so long no row is looked for any more that this process was given.
const FORGOTTEN: Duration = Duration::from_secs(86_400);
/// When another instance downloads at this very time.
const MOMENT: Duration = Duration::from_secs(5);
/// A row that does not open is kept for so long: until then the right key may come back.
const KEEP_SEALED: Duration = Duration::from_secs(2 * 86_400);

/// Intune's revocation requests as the queue of the flow `revoke`.
///
/// - *Nothing is lost*: what a download brought is in the journal before it is given out, and stays until Intune has accepted its result. After
///   a crash it is given out again without a call. (What a crash meets between Intune's answer and its storing comes back only when Intune
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
    actions: Arc<dyn RevocationActions>,
    store: Store,
    runtime: Arc<dyn Runtime>,
    settings: Settings,
    turn: futures_util::lock::Mutex<Turn>,
    handed: Mutex<HashMap<RowKey, Handed>>,
}

/// What one `receive` leaves to the next.
#[derive(Debug, Default)]
struct Turn {
    /// Downloaded, and the journal did not take them yet.
    unsaved: Vec<Record>,
    /// Came without a context and were not reported yet.
    unidentified: usize,
    /// That rows do not open was reported.
    reported_sealed: bool,
}

/// What this process was given.
#[derive(Debug, Clone, Copy)]
struct Handed {
    until: Timestamp,
    lease_epoch: u64,
}

/// What is given out.
#[derive(Debug, Default)]
struct Given {
    items: Vec<QueueItem>,
    /// More waits in the journal.
    more: bool,
}

enum Came {
    Requests,
    /// Not before this time.
    Wait(Duration),
}

/// A result that Intune shall take.
struct Sendable {
    at: usize,
    row: Row,
    record: Record,
    error: Option<RevocationError>,
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

    fn now(&self) -> Timestamp {
        self.runtime.now()
    }

    fn handed(&self) -> MutexGuard<'_, HashMap<RowKey, Handed>> {
        self.handed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn standing(&self, row: &Row, instance: &InstanceId, now: Timestamp) -> Standing {
        let until = self.handed().get(&row.key).map(|handed| handed.until);
        step::standing(row, until, instance, self.store.journal.scope(), now)
    }

    /// Stores what a download brought. It is kept in memory while the journal does not take it.
    async fn save(&self, turn: &mut Turn, instance: &InstanceId) -> Result<(), PortError> {
        if turn.unsaved.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let mut fresh = Vec::with_capacity(turn.unsaved.len());
        for record in &turn.unsaved {
            let key = self.store.row_key(&self.store.request_id(&record.context)?)?;
            fresh.push((key, self.store.seal(key, record)?));
        }
        let known = self.store.rows(fresh.iter().map(|(key, _)| *key).collect()).await?;
        let mut known: HashMap<RowKey, Row> = known.into_iter().map(|row| (row.key, row)).collect();
        let mut rows = Vec::with_capacity(fresh.len());
        for (at, (key, blob)) in fresh.into_iter().enumerate() {
            let row = match known.remove(&key) {
                // A microsecond apart, so that they are given out in Intune's order.
                None => Row::new(key, Flow::Revoke, now.saturating_add(Duration::from_micros(at as u64)), blob),
                // Offered again while it is worked on: the result is on its way.
                Some(row) if !row.state.is_final() && self.standing(&row, instance, now) == Standing::InHand => continue,
                Some(row) => offered_again(row, blob, now),
            };
            self.handed().remove(&key);
            rows.push(row);
        }
        // A conflict means that another instance has stored the same.
        self.store.commit(rows).await?;
        turn.unsaved.clear();
        Ok(())
    }

    /// Gives out what is stored and in nobody's hands, oldest first.
    async fn give(&self, turn: &mut Turn, request: &ReceiveRequest) -> Result<Given, PortError> {
        let now = self.now();
        let (mut given, mut chosen, mut changes, mut sealed) = (Given::default(), Vec::new(), Vec::new(), 0_usize);
        for mut row in self.store.open_rows().await? {
            let standing = self.standing(&row, &request.instance, now);
            if standing == Standing::InHand {
                continue;
            }
            match (standing, self.store.open(&row)?) {
                (_, Content::OfOthers) => {}
                (_, Content::Sealed) => {
                    sealed += 1;
                    if now.since(row.created) > KEEP_SEALED {
                        changes.push(let_go(row, now));
                    }
                }
                (Standing::Give, Content::Own(..)) if chosen.len() >= request.max => given.more = true,
                (Standing::Give, Content::Own(id, record)) => {
                    row.delivery = row.delivery.saturating_add(u32::from(row.owner.is_some()));
                    row.owner = Some(request.instance.clone());
                    row.lease_until = now.saturating_add(LEASE);
                    row.updated = now;
                    chosen.push((row, id, record));
                }
                (_, Content::Own(..)) => {
                    self.handed().remove(&row.key);
                    changes.push(let_go(row, now));
                }
            }
        }
        // What another instance took over and ended.
        self.handed().retain(|_, handed| now.since(handed.until) < FORGOTTEN);
        if chosen.is_empty() && sealed > 0 && !turn.reported_sealed {
            turn.reported_sealed = true;
            return Err(PortError::misconfigured(format!(
                "{sealed} stored revocation requests do not open with the sealing key: start with the key of the earlier run; without it they \
                 wait until Intune offers them again, and are dropped after two days"
            )));
        }
        let count = chosen.len();
        let rows = chosen.iter().map(|(row, ..)| row.clone()).chain(changes).collect();
        let stored = self.store.commit(rows).await?;
        let own = self.settings.own_issuers.as_ref();
        for ((row, id, record), _) in chosen.into_iter().zip(stored.into_iter().take(count)).filter(|(_, stored)| *stored) {
            self.handed().insert(row.key, Handed { until: row.lease_until, lease_epoch: row.lease_epoch });
            given.items.push(record.item(id, &self.store.tenant, own));
        }
        Ok(given)
    }

    /// Downloads, unless it is too early. Stores first that it does.
    async fn download(&self, turn: &mut Turn) -> Result<Came, PortError> {
        let body = wire::download(self.settings.max_requests, self.settings.issuer_filter.as_deref())?;
        let now = self.now();
        let before = self.store.cool_down().await?;
        let wait = before.as_ref().map(|row| step::left(row.due, now)).unwrap_or_default();
        if !wait.is_zero() {
            return Ok(Came::Wait(wait));
        }
        let until = now.saturating_add(self.settings.cool_down);
        let Some(row) = self.store.begin_cool_down(before, until, now).await? else { return Ok(Came::Wait(MOMENT)) };
        let call = RevocationCall::new(RevocationAction::DownloadRevocationRequests, &body);
        let read = match self.actions.post(call).await {
            Ok(answer) => wire::read_download(&answer),
            Err(error) => Err(error),
        };
        match read {
            Ok(downloaded) => {
                let own = self.settings.own_issuers.as_ref();
                turn.unidentified += downloaded.unidentified;
                turn.unsaved.extend(downloaded.records.into_iter().filter(|record| record.is_passed(own)));
                Ok(Came::Requests)
            }
            Err(error) => Err(self.failed(row, error).await),
        }
    }

    /// What did nothing ends the cool-down; anything else may have been counted.
    async fn failed(&self, row: Row, error: PortError) -> PortError {
        let now = self.now();
        if error.effect() == Effect::None {
            let after = match error.retry() {
                Retry::After(after) => after,
                _ => Duration::ZERO,
            };
            // When that is not stored, the cool-down holds: the next download is late.
            let _ = self.store.end_cool_down(row, now.saturating_add(after), now).await;
            return error;
        }
        let wait = step::left(row.due, now);
        match error.retry() {
            Retry::Never => error,
            Retry::Later => error.with_retry_after(wait),
            Retry::After(after) => error.with_retry_after(after.max(wait)),
        }
    }

    /// Reports those that nobody can answer.
    fn report_unidentified(&self, turn: &mut Turn, items: &mut Vec<QueueItem>) {
        let id = format!("without requestContext, {}", self.now()).parse::<RequestId>();
        if let (Ok(id), true) = (id, turn.unidentified > 0) {
            let kind = format!("revocation request without `requestContext` ({} of them)", turn.unidentified);
            items.push(QueueItem::new(RequestMeta::new(id, self.store.tenant.clone(), Flow::Revoke), Payload::Unknown(kind)));
            turn.unidentified = 0;
        }
    }

    /// What is to be sent, and the answers to what is not.
    fn sort(
        &self,
        results: &[ResultItem],
        rows: &mut HashMap<RowKey, Row>,
    ) -> Result<(Vec<Option<CompleteAnswer>>, Vec<Sendable>), PortError> {
        let (mut answers, mut sendable) = (Vec::with_capacity(results.len()), Vec::new());
        for (at, result) in results.iter().enumerate() {
            let row = rows.remove(&self.store.row_key(&result.meta.id)?);
            let answer = match (row, result.meta.tenant == self.store.tenant && result.meta.flow == Flow::Revoke) {
                (_, false) => Some(CompleteAnswer::Refused("it is of another tenant or flow".to_owned())),
                (None, true) => Some(CompleteAnswer::Refused("Intune gave out no such request, or it was answered long ago".to_owned())),
                (Some(row), true) => match self.store.open(&row)? {
                    Content::Own(_, record) => match judge(at, row, record, result) {
                        Ok(send) => {
                            sendable.push(send);
                            None
                        }
                        Err(answer) => Some(answer),
                    },
                    // The right key may come back with the next start.
                    _ => Some(CompleteAnswer::TryAgain("the stored request does not open with the sealing key".to_owned())),
                },
            };
            answers.push(answer);
        }
        Ok((answers, sendable))
    }

    /// Sends results: `None` when Intune took them.
    async fn upload(&self, results: &[ResultItem], chunk: &[Sendable]) -> Result<Option<String>, PortError> {
        let mut wire_results = Vec::with_capacity(chunk.len());
        for send in chunk {
            let outcome = results.get(send.at).map(|result| step::verdict(&send.record, &result.outcome));
            let Some(Ok((error, message))) = outcome else { return Err(PortError::rejected("a result is none of a revocation")) };
            let result = UploadedResult::new(&send.record.context, error.is_none(), error, message, self.settings.form);
            wire_results.push(result.map_err(PortError::rejected)?);
        }
        let body = wire::upload(&wire_results)?;
        let call = RevocationCall::new(RevocationAction::UploadRevocationResults, &body);
        wire::read_upload(&self.actions.post(call).await?)
    }

    /// Ends the rows of what Intune took.
    async fn acknowledge(&self, chunk: Vec<Sendable>) {
        let now = self.now();
        let keys: Vec<RowKey> = chunk.iter().map(|send| send.row.key).collect();
        let mut rows = Vec::with_capacity(chunk.len());
        for Sendable { mut row, mut record, error, .. } in chunk {
            record.accepted = Some(step::number(error));
            let Ok(blob) = self.store.seal(row.key, &record) else { continue };
            (row.blob, row.state, row.owner, row.updated) = (blob, RowState::Acknowledged, None, now);
            rows.push(row);
        }
        // Intune has the results. What is not stored is given out again after a restart, and answered with the same result.
        let _ = self.store.commit(rows).await;
        let mut handed = self.handed();
        keys.iter().for_each(|key| {
            handed.remove(key);
        });
    }
}

/// The row of a request that Intune offers again.
fn offered_again(mut row: Row, blob: SealedBlob, now: Timestamp) -> Row {
    // Who had it counts as a delivery.
    row.delivery = row.delivery.saturating_add(u32::from(row.state.is_final()));
    (row.blob, row.state, row.owner) = (blob, RowState::Received, None);
    (row.lease_until, row.due, row.updated) = (now, now, now);
    row
}

/// Left unanswered: Intune may offer it again.
fn let_go(mut row: Row, now: Timestamp) -> Row {
    (row.state, row.owner, row.updated) = (RowState::Parked, None, now);
    row
}

/// Whether a result can be sent, or what is answered without.
fn judge(at: usize, row: Row, record: Record, result: &ResultItem) -> Result<Sendable, CompleteAnswer> {
    let refused = |reason: &str| CompleteAnswer::Refused(format!("Intune would not take the result: {reason}"));
    let (error, message) = step::verdict(&record, &result.outcome).map_err(refused)?;
    UploadedResult::new(&record.context, error.is_none(), error, message, super::config::ErrorCodeForm::default()).map_err(refused)?;
    match record.accepted {
        Some(accepted) if accepted == step::number(error) => Err(CompleteAnswer::Accepted),
        Some(_) => Err(CompleteAnswer::Refused("Intune has accepted another result of it".to_owned())),
        None => Ok(Sendable { at, row, record, error }),
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
        if given.items.len() < request.max {
            self.report_unidentified(&mut turn, &mut given.items);
        }
        let mut batch = Batch::new(given.items);
        if !given.more {
            let end = self.store.cool_down().await.ok().flatten().map(|row| step::left(row.due, self.now()));
            batch.next_poll = end.filter(|wait| !wait.is_zero());
        }
        Ok(batch)
    }

    async fn complete(&self, request: CompleteRequest) -> Result<Vec<CompleteAnswer>, PortError> {
        only_revoke(request.flow)?;
        if request.results.is_empty() {
            return Err(PortError::rejected("there are no results to upload, and Intune takes no empty list"));
        }
        let results = request.results;
        let keys = results.iter().map(|result| self.store.row_key(&result.meta.id)).collect::<Result<_, _>>()?;
        let mut rows = self.store.rows(keys).await?.into_iter().map(|row| (row.key, row)).collect();
        let (mut answers, sendable) = self.sort(&results, &mut rows)?;
        let (mut sendable, mut taken, mut given_up) = (sendable.into_iter().peekable(), false, None::<String>);
        while sendable.peek().is_some() {
            let chunk: Vec<Sendable> = sendable.by_ref().take(self.settings.max_requests).collect();
            let places: Vec<usize> = chunk.iter().map(|send| send.at).collect();
            let said = match &given_up {
                Some(problem) => Ok(Some(problem.clone())),
                None => self.upload(&results, &chunk).await,
            };
            let answer = match said {
                Ok(None) => {
                    self.acknowledge(chunk).await;
                    taken = true;
                    CompleteAnswer::Accepted
                }
                // One of them may be what Intune does not like: the connector finds it by halves when the call as a whole fails.
                Ok(Some(problem)) if !taken && chunk.len() > 1 => return Err(PortError::transient(problem)),
                Ok(Some(problem)) => CompleteAnswer::TryAgain(problem),
                Err(error) if !taken => return Err(error),
                Err(error) => {
                    let problem = error.to_string();
                    given_up = Some(problem.clone());
                    CompleteAnswer::TryAgain(problem)
                }
            };
            for at in places {
                if let Some(place) = answers.get_mut(at) {
                    *place = Some(answer.clone());
                }
            }
        }
        Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(|| CompleteAnswer::TryAgain("it was not sent".to_owned()))).collect())
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
