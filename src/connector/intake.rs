//! From a poll to work in hand: what a delivered item is, by the journal and what is known.

use core::time::Duration;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::content::Content;
use super::digest::idempotency_key;
use super::inner::{Active, Held, InHand, Inner, Ready, Taken as InHandMark};
use crate::event::EventId;
use crate::flow::seal::SealError;
use crate::flow::{Accepted, FlowSpec, Job, Lease, Resumed};
use crate::ids::IdempotencyKey;
use crate::ports::{
    CommitAnswer, Failure, JournalScope, Outcome, Payload, QueueItem, ReceiveRequest, RequestMeta, Row, RowKey, RowKind, RowState,
    SealedBlob,
};
use crate::retry::ErrorClass;
use crate::time::Timestamp;

/// What a poll, or a claim, brought.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) failed: bool,
    pub(super) items: usize,
    pub(super) asked: usize,
    pub(super) next_poll: Option<Duration>,
    pub(super) active: Vec<Active>,
    pub(super) ready: Vec<Ready>,
    pub(super) repeats: Vec<Ready>,
    /// Open rows were delivered again: whoever may have them should look at the journal.
    pub(super) look: bool,
    /// Rows in hand that were claimed anew, under a new epoch.
    pub(super) anew: Vec<Row>,
    /// What another instance of the tenant can do and this one cannot.
    pub(super) elsewhere: Vec<Held>,
}

/// What a delivered item is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Never seen, or its row cannot be used.
    New,
    /// In the journal, where somebody works on it or will.
    Journalled,
    /// Finished: answered again, not worked on again.
    Repeat,
}

/// So long a row whose key is not known is left alone when its request is delivered again: an instance that has the key may be at work.
const KEY_MAY_COME: Duration = Duration::from_secs(86_400);

/// Pure: where an item stands by its row.
pub(super) fn standing(state: Option<RowState>) -> Standing {
    match state {
        None => Standing::New,
        Some(state) if state.is_final() => Standing::Repeat,
        Some(_) => Standing::Journalled,
    }
}

/// Pure: whether something outside may have been asked for the request already.
pub(super) fn was_asked(state: RowState) -> bool {
    matches!(state, RowState::Asked | RowState::Issued | RowState::OrphanSuspected | RowState::Packed | RowState::Uploading)
}

/// Polls a flow once and sorts what comes.
pub(super) async fn poll(inner: &Inner, spec: &Arc<FlowSpec>, max: usize, number: u32) -> Taken {
    let flow = spec.flow();
    let events = spec.worker.events();
    let request = ReceiveRequest::new(flow, inner.context.instance.clone(), max);
    let queue = Arc::clone(&spec.settings.queue);
    let call = async { queue.receive(request).await };
    let batch = match inner.guarded("IntuneQueue::receive", Some(flow), spec.settings.call_timeout, call).await {
        Ok(batch) => batch,
        Err(error) => {
            inner.emit(events.download_failure, Some(flow), "download", number, |event| {
                event.with_error_class(error.class()).with_message(&error.to_string())
            });
            let next_poll = match error.retry() {
                crate::retry::Retry::After(after) => Some(after),
                _ => None,
            };
            return Taken { failed: true, asked: max, next_poll, ..Taken::default() };
        }
    };
    let mut taken = Taken { items: batch.items.len(), asked: max, next_poll: batch.next_poll, ..Taken::default() };
    if !batch.items.is_empty() {
        inner.emit(events.download_success, Some(flow), "download", number, |event| {
            event.with_detail("requests", &batch.items.len().to_string())
        });
    }
    admit(inner, spec, batch.items, &mut taken).await;
    taken
}

async fn admit(inner: &Inner, spec: &Arc<FlowSpec>, items: Vec<QueueItem>, taken: &mut Taken) {
    let mut own = Vec::new();
    for item in items {
        let Ok(key) = idempotency_key(&inner.context.provider, &item) else {
            // The digest slot is checked by `build()`; without it nothing can be told apart, so the item is left alone.
            inner.context.emit(EventId::RequestLeftToOthers, scope(spec, &item.meta), |event| event.with_message("It has no digest."));
            continue;
        };
        if let Some(problem) = foreign(inner, spec, &item.meta) {
            note(inner, spec, EventId::RequestLeftToOthers, key, &item.meta, &problem);
            continue;
        }
        if let Payload::Unknown(kind) = &item.payload {
            let problem = format!("This version does not know the kind `{kind}`; it is not answered.");
            note(inner, spec, EventId::MalformedRequest, key, &item.meta, &problem);
            continue;
        }
        if inner.known().is_other(item.meta.flow, &item.meta.id, key) {
            note(inner, spec, EventId::RequestConflict, key, &item.meta, "The first payload stands; this one is not worked on.");
            continue;
        }
        let lease = if inner.journal.scope() == JournalScope::Fleet { Lease::over() } else { Lease::for_ever() };
        // What is in hand already will be answered by the work on it.
        let mark = InHandMark { flow: item.meta.flow, id: item.meta.id.clone(), epoch: 0, lease: Arc::clone(&lease) };
        if let Some(in_hand) = InHand::take(&inner.in_hand, key, mark) {
            inner.known().remember(item.meta.flow, &item.meta.id, key);
            own.push((item, key, in_hand, lease));
        }
    }
    if own.is_empty() {
        return;
    }
    let keys = own.iter().map(|(_, key, ..)| row_key(*key)).collect();
    let rows = inner.load(keys).await;
    let journal_answered = rows.is_some();
    let mut rows: HashMap<RowKey, Row> = rows.unwrap_or_default().into_iter().map(|row| (row.key, row)).collect();
    let (first_active, first_ready) = (taken.active.len(), taken.ready.len());
    for (item, key, in_hand, lease) in own {
        let row = rows.remove(&row_key(key));
        let for_others = inner.is_for_others(spec, super::item::route(&item).as_ref()).await;
        sort(inner, spec, item, in_hand, lease, row, key, journal_answered, for_others, taken);
    }
    hand_over(inner, core::mem::take(&mut taken.elsewhere)).await;
    // Rows that cannot be stored now stay as they are: the work stores them before anything else.
    let Taken { active, ready, .. } = taken;
    let active = active[first_active..].iter_mut().map(|active| &mut active.held);
    let fresh: Vec<&mut Box<Held>> = active.chain(ready[first_ready..].iter_mut().map(|ready| &mut ready.held)).collect();
    let (rows, mut fresh): (Vec<Row>, Vec<&mut Box<Held>>) =
        fresh.into_iter().filter_map(|held| Some((inner.next_row(&held.row, &held.content, RowState::Received)?, held))).unzip();
    let asked = inner.clocks();
    if let Some(answers) = inner.commit(rows.clone()).await {
        for ((held, row), answer) in fresh.iter_mut().zip(rows).zip(answers) {
            if let CommitAnswer::Stored(version) = answer {
                held.row = row;
                held.row.version = version;
                held.job.lease.prolong(asked, inner.options.lease);
            }
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "all are needed to place one item")]
fn sort(
    inner: &Inner,
    spec: &Arc<FlowSpec>,
    item: QueueItem,
    in_hand: InHand,
    lease: Arc<Lease>,
    row: Option<Row>,
    key: IdempotencyKey,
    journal_answered: bool,
    for_others: bool,
    taken: &mut Taken,
) {
    let now = inner.now();
    let mut standing = standing(row.as_ref().map(|row| row.state));
    let mut content = Content::new(&item);
    let kept = row.as_ref().map(|row| inner.open(row));
    let mut row = row.unwrap_or_else(|| Row::new(row_key(key), item.meta.flow, now, SealedBlob::new(Vec::new())));
    let is_sound = !matches!(kept, Some(Err(_)));
    let error = kept.as_ref().and_then(|kept| kept.as_ref().err()).copied();
    let kept = kept.and_then(Result::ok);
    if let Some(error) = error
        && (error != SealError::Foreign)
        && now.since(row.updated) < KEY_MAY_COME
    {
        note(inner, spec, EventId::JournalRowRefused, key, &item.meta, &format!("It is left alone for now: {error}."));
        return;
    }
    if !is_sound {
        // Nothing in it counts, so the CA may have been asked.
        note(
            inner,
            spec,
            EventId::JournalRowRefused,
            key,
            &item.meta,
            "Its row does not open; it is worked on anew, and the CA is asked first what it did.",
        );
        standing = Standing::New;
        content.find_first = true;
    }
    if row.state == RowState::Acknowledged
        && is_sound
        && kept.as_ref().and_then(Content::outcome).is_some_and(|outcome| outcome.is_offered_again())
    {
        // The queue was told to offer it again, and does: worked on anew.
        standing = Standing::New;
    }
    match standing {
        Standing::New => {}
        Standing::Journalled => {
            taken.look = true;
            return;
        }
        Standing::Repeat => {
            row.delivery = row.delivery.saturating_add(1);
            note(inner, spec, EventId::RequestRepeated, key, &item.meta, "");
            if let Some(content) = kept
                && let Some(outcome) = content.outcome()
                && row.state != RowState::Parked
            {
                let held = hold(inner, spec, row, content, in_hand, lease, true);
                taken.repeats.push(ready(held, outcome, true, now));
            }
            return;
        }
    }
    if row.version > 0 {
        (row.attempt, row.created) = (0, now);
        row.delivery = row.delivery.saturating_add(1);
    }
    row.route = super::item::route(&item);
    in_hand.under(row.lease_epoch);
    let mut held = hold(inner, spec, row, content, in_hand, lease, journal_answered);
    if for_others {
        held.content.given_back = true;
        tell_downloaded(inner, &held);
        taken.elsewhere.push(*held);
        return;
    }
    begin(inner, spec, item, held, None, taken);
}

fn ready(held: Box<Held>, outcome: Outcome, repeat: bool, since: Timestamp) -> Ready {
    Ready { held, outcome, uploads: 0, failed_calls: 0, repeat, since }
}

fn tell_downloaded(inner: &Inner, held: &Held) {
    inner.control.count(held.job.meta.flow, |counters| counters.received += 1);
    let device = held.job.meta.device.clone();
    held.job.emit(&inner.context, held.events.downloaded_request, |event| match &device {
        Some(device) => event.with_detail("device", device.as_str()),
        None => event,
    });
}

/// Stores requests for whoever can do them. Nothing else keeps them, so it goes on until the journal has answered.
async fn hand_over(inner: &Inner, requests: Vec<Held>) {
    let rows: Vec<Row> = requests
        .iter()
        .filter_map(|held| {
            let row = Row { owner: None, state: RowState::Received, updated: inner.now(), ..held.row.clone() };
            inner.seal(row, &held.content)
        })
        .collect();
    let mut pause = Duration::from_secs(1);
    // In a conflict somebody else has stored it.
    while inner.commit(rows.clone()).await.is_none() {
        inner.context.runtime.sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(60));
    }
}

/// A request in hand.
pub(super) fn hold(
    inner: &Inner,
    spec: &FlowSpec,
    row: Row,
    content: Content,
    in_hand: InHand,
    lease: Arc<Lease>,
    journal_answered: bool,
) -> Box<Held> {
    let elsewhere = inner.journal.scope() == JournalScope::Instance && spec.settings.queue.capabilities().redelivers_elsewhere;
    let limit = row.created.saturating_add(spec.settings.deadline);
    let job = Job {
        key: row.key.key,
        delivery: row.delivery,
        attempt: row.attempt.saturating_add(1),
        deadline: content.meta.deadline.map_or(limit, |deadline| deadline.min(limit)),
        find_first: elsewhere || content.find_first || !journal_answered,
        meta: content.meta.clone(),
        lease,
    };
    let received = inner.monotonic();
    let ca = content.ca.clone();
    let events = spec.worker.events();
    Box::new(Held { job, row, content, ca, events, received, due: received, round: 0, is_suspect: false, in_hand })
}

/// Makes a task of a request, or its end; a request that was begun before has what its task kept.
pub(super) fn begin(inner: &Inner, spec: &FlowSpec, item: QueueItem, mut held: Box<Held>, kept: Option<Resumed<'_>>, taken: &mut Taken) {
    let now = inner.now();
    if kept.is_none() {
        tell_downloaded(inner, &held);
    }
    let end = |mut held: Box<Held>, outcome: Outcome, taken: &mut Taken| {
        held.content.end(&outcome, &inner.context.instance);
        taken.ready.push(ready(held, outcome, false, now));
    };
    if let Payload::Malformed(problem) = &item.payload {
        held.job.emit(&inner.context, EventId::MalformedRequest, |event| event.with_message(problem));
        let outcome = Outcome::Failed(Failure::new(ErrorClass::Request, format!("the request could not be read: {problem}")));
        return end(held, outcome, taken);
    }
    let accepted = catch_unwind(AssertUnwindSafe(|| match kept {
        Some(kept) => spec.worker.resume(&inner.context, item, kept),
        None => spec.worker.accept(&inner.context, item),
    }));
    match accepted {
        Ok(Accepted::Task(task)) => {
            let (digicert, ca) = catch_unwind(AssertUnwindSafe(|| (task.digicert_event(), task.ca().cloned()))).unwrap_or_default();
            if let Some(id) = digicert.filter(|_| kept.is_none()) {
                held.job.emit(&inner.context, id, |event| event.with_ca(ca.clone()));
            }
            held.ca = ca;
            taken.active.push(Active { held, task, uncommitted: None, journal_failures: 0 });
        }
        Ok(Accepted::Foreign(problem)) => {
            inner.control.count(held.job.meta.flow, |counters| counters.received = counters.received.saturating_sub(1));
            note(inner, spec, EventId::RequestLeftToOthers, held.job.key, &held.job.meta, &problem);
        }
        Ok(Accepted::Refused(outcome)) => {
            super::work::report_failed(inner, &held, &outcome);
            end(held, outcome, taken);
        }
        Err(_) => {
            held.job.emit(&inner.context, EventId::PanicContained, |event| event.with_detail("where", "accept"));
            let outcome = Outcome::Failed(Failure::new(ErrorClass::Internal, "code panicked while it read the request"));
            super::work::report_failed(inner, &held, &outcome);
            end(held, outcome, taken);
        }
    }
}

pub(super) fn row_key(key: IdempotencyKey) -> RowKey {
    RowKey { kind: RowKind::Request, key }
}

fn foreign(inner: &Inner, spec: &FlowSpec, meta: &RequestMeta) -> Option<String> {
    if meta.tenant != inner.context.tenant {
        Some("It is of another tenant.".to_owned())
    } else if meta.flow != spec.flow() {
        Some(format!("It is of the flow {}, but was delivered to {}.", meta.flow, spec.flow()))
    } else {
        None
    }
}

fn scope<'a>(spec: &FlowSpec, meta: &'a RequestMeta) -> crate::flow::EventScope<'a> {
    crate::flow::EventScope { flow: Some(spec.flow()), name: meta.id.as_str(), delivery: 1, attempt: 0 }
}

/// Reports an oddity once, however often it is delivered.
fn note(inner: &Inner, spec: &FlowSpec, id: EventId, key: IdempotencyKey, meta: &RequestMeta, text: &str) {
    let new = inner.known().noted.insert((id, key), ());
    if new {
        inner.context.emit(id, scope(spec, meta), |event| event.with_correlation(meta.correlation.clone()).with_message(text));
    }
}
