//! From Intune to the flow: what is due is downloaded and stored, and what is stored is given out.

use core::time::Duration;
use std::collections::HashMap;

use super::super::revocation_actions::{RevocationAction, RevocationCall};
use super::queue::{Handed, IntuneRevocations, LEASE};
use super::record::Record;
use super::step::{self, Standing};
use super::stored::Content;
use super::wire;
use crate::flow::seal::SealError;
use crate::ids::{InstanceId, RequestId};
use crate::ports::{Payload, PortError, QueueItem, ReceiveRequest, RequestMeta, Row, RowKey, RowState, SealedBlob};
use crate::retry::{Effect, Retry};
use crate::terms::Flow;
use crate::time::Timestamp;

/// After so long no row is looked for any more that this process was given.
const FORGOTTEN: Duration = Duration::from_secs(86_400);
/// When another instance downloads at this very time.
const MOMENT: Duration = Duration::from_secs(5);
/// A row that does not open is kept for so long: until then the right key may come back.
const KEEP_SEALED: Duration = Duration::from_secs(2 * 86_400);

/// What one `receive` leaves to the next.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Downloaded, and the journal did not take them yet.
    pub(super) unsaved: Vec<Record>,
    /// Came without a context and were not reported yet.
    pub(super) unidentified: usize,
    /// That rows do not open was reported.
    pub(super) reported_sealed: bool,
}

/// What is given out.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) items: Vec<(Row, QueueItem)>,
    /// More waits in the journal.
    pub(super) more: bool,
}

pub(super) enum Came {
    Requests,
    /// Not before this time.
    Wait(Duration),
}

impl IntuneRevocations {
    /// Stores what a download brought. It is kept in memory while the journal does not take it.
    pub(super) async fn save(&self, turn: &mut Turn, instance: &InstanceId) -> Result<(), PortError> {
        if turn.unsaved.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let mut fresh = Vec::with_capacity(turn.unsaved.len());
        for record in &turn.unsaved {
            let key = self.store.row_key(&self.store.request_id(&record.context)?)?;
            fresh.push((key, record));
        }
        let known = self.store.rows(fresh.iter().map(|(key, _)| *key).collect()).await?;
        let mut known: HashMap<RowKey, Row> = known.into_iter().map(|row| (row.key, row)).collect();
        let mut rows = Vec::with_capacity(fresh.len());
        for (at, (key, record)) in fresh.into_iter().enumerate() {
            let mut row = match known.remove(&key) {
                // A microsecond apart, so that they are given out in Intune's order.
                None => Row::new(key, Flow::Revoke, now.saturating_add(Duration::from_micros(at as u64)), SealedBlob::new(Vec::new())),
                // Offered again while it is worked on: the result is on its way.
                Some(row) if !row.state.is_final() && self.standing(&row, instance, now) == Standing::InHand => continue,
                Some(row) => offered_again(row, now),
            };
            self.store.seal(&mut row, record)?;
            self.handed().remove(&key);
            rows.push(row);
        }
        // A conflict means that another instance has stored the same.
        self.store.commit(rows).await?;
        turn.unsaved.clear();
        Ok(())
    }

    /// Gives out what is stored and in nobody's hands, oldest first.
    pub(super) async fn give(&self, turn: &mut Turn, request: &ReceiveRequest) -> Result<Given, PortError> {
        let now = self.now();
        let (mut given, mut chosen, mut changes) = (Given::default(), Vec::new(), Vec::new());
        let (mut keyless, mut changed) = (0_usize, 0_usize);
        for mut row in self.store.open_rows().await? {
            let standing = self.standing(&row, &request.instance, now);
            if standing == Standing::InHand {
                continue;
            }
            match (standing, self.store.open(&row)?) {
                (_, Content::OfOthers) => {}
                (_, Content::Sealed(error)) => {
                    *(if error == SealError::UnknownKey { &mut keyless } else { &mut changed }) += 1;
                    if now.since(row.created) > KEEP_SEALED {
                        // It cannot be sealed anew. Nothing reads it any more: when Intune offers the request again, it is written afresh.
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
                (_, Content::Own(_, record)) => {
                    self.handed().remove(&row.key);
                    let mut row = let_go(row, now);
                    self.store.seal(&mut row, &record)?;
                    changes.push(row);
                }
            }
        }
        // What another instance took over and ended.
        self.handed().retain(|_, handed| now.since(handed.until) < FORGOTTEN);
        if chosen.is_empty() && keyless + changed > 0 && !turn.reported_sealed {
            turn.reported_sealed = true;
            return Err(PortError::misconfigured(format!(
                "{} stored revocation requests do not open: {keyless} were sealed with a key that is not among the sealing keys, so add that of \
                 the earlier run; {changed} were changed by somebody else. They wait until Intune offers them again, and are dropped after two \
                 days",
                keyless + changed
            )));
        }
        let count = chosen.len();
        let rows = chosen.iter().map(|(row, ..)| row.clone()).chain(changes).collect();
        let stored = self.store.commit(rows).await?;
        let own = self.settings.own_issuers.as_ref();
        for ((row, id, record), _) in chosen.into_iter().zip(stored.into_iter().take(count)).filter(|(_, stored)| *stored) {
            let item = record.item(id, &self.store.tenant, own);
            given.items.push((row, item));
        }
        Ok(given)
    }

    /// Remembers what the caller now has.
    pub(super) fn hand_over(&self, given: Vec<(Row, QueueItem)>) -> Vec<QueueItem> {
        let mut handed = self.handed();
        let mut hand = |(row, item): (Row, QueueItem)| {
            let times = handed.get(&row.key).map_or(0, |before| before.times).saturating_add(1);
            handed.insert(row.key, Handed { until: row.lease_until, lease_epoch: row.lease_epoch, times });
            item
        };
        given.into_iter().map(&mut hand).collect()
    }

    /// Downloads, unless it is too early. Stores first that it does.
    pub(super) async fn download(&self, turn: &mut Turn) -> Result<Came, PortError> {
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
    pub(super) fn report_unidentified(&self, turn: &mut Turn, items: &mut Vec<QueueItem>) {
        let id = format!("without requestContext, {}", self.now()).parse::<RequestId>();
        if let (Ok(id), true) = (id, turn.unidentified > 0) {
            let kind = format!("revocation request without `requestContext` ({} of them)", turn.unidentified);
            items.push(QueueItem::new(RequestMeta::new(id, self.store.tenant.clone(), Flow::Revoke), Payload::Unknown(kind)));
            turn.unidentified = 0;
        }
    }
}

/// The row of a request that Intune offers again.
fn offered_again(mut row: Row, now: Timestamp) -> Row {
    // Who had it counts as a delivery.
    row.delivery = row.delivery.saturating_add(u32::from(row.state.is_final()));
    (row.state, row.owner) = (RowState::Received, None);
    (row.lease_until, row.due, row.updated) = (now, now, now);
    row
}

/// Left unanswered: Intune may offer it again.
fn let_go(mut row: Row, now: Timestamp) -> Row {
    (row.state, row.owner, row.updated) = (RowState::Parked, None, now);
    row
}
