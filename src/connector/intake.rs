//! From a poll to work in hand: what a delivered item is, by the journal and what is known.

use core::time::Duration;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::digest::idempotency_key;
use super::inner::{Active, Held, InHand, Inner, Ready};
use crate::event::EventId;
use crate::flow::{Accepted, FlowSpec, Job};
use crate::ids::IdempotencyKey;
use crate::ports::{
    CommitAnswer, Failure, JournalScope, Outcome, Payload, QueueItem, ReceiveRequest, RequestMeta, Row, RowKey, RowKind, RowState,
    SealedBlob,
};
use crate::retry::ErrorClass;

/// What a poll brought.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) failed: bool,
    pub(super) items: usize,
    pub(super) asked: usize,
    pub(super) next_poll: Option<Duration>,
    pub(super) active: Vec<Active>,
    pub(super) ready: Vec<Ready>,
    pub(super) repeats: Vec<Ready>,
}

/// What a delivered item is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Never seen.
    New,
    /// Begun by a run or an owner that is gone, before there was a result.
    Resume,
    /// There is a result that nobody accepted yet.
    Upload,
    /// Finished: answered again, not worked on again.
    Repeat,
}

/// Pure: where an item stands by its row.
pub(super) fn standing(state: Option<RowState>) -> Standing {
    match state {
        None => Standing::New,
        Some(RowState::Packed | RowState::Uploading) => Standing::Upload,
        Some(state) if state.is_final() => Standing::Repeat,
        Some(_) => Standing::Resume,
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
        let known = inner.known().keys.get(&(item.meta.flow, item.meta.id.clone())).copied();
        if known.is_some_and(|known| known != key) {
            note(inner, spec, EventId::RequestConflict, key, &item.meta, "The first payload stands; this one is not worked on.");
            continue;
        }
        // What is in hand already will be answered by the work on it.
        if let Some(in_hand) = InHand::take(&inner.in_hand, key, item.meta.flow, &item.meta.id) {
            inner.known().keys.insert((item.meta.flow, item.meta.id.clone()), key);
            own.push((item, key, in_hand));
        }
    }
    if own.is_empty() {
        return;
    }
    let keys = own.iter().map(|(_, key, _)| row_key(*key)).collect();
    let rows = inner.load(keys).await;
    let journal_answered = rows.is_some();
    let mut rows: HashMap<RowKey, Row> = rows.unwrap_or_default().into_iter().map(|row| (row.key, row)).collect();
    let first_active = taken.active.len();
    for (item, key, in_hand) in own {
        let row = rows.remove(&row_key(key));
        sort(inner, spec, item, in_hand, key, row, journal_answered, taken);
    }
    // Rows that cannot be stored now stay at version 0: the work stores them before anything else.
    let fresh = taken.active[first_active..].iter_mut().filter(|active| active.held.row.version == 0);
    let mut fresh: Vec<&mut Active> = fresh.collect();
    fresh.iter_mut().for_each(|active| inner.stamp(&mut active.held.row, RowState::Received));
    let rows = fresh.iter().map(|active| active.held.row.clone()).collect();
    if let Some(answers) = inner.commit(rows).await {
        for (active, answer) in fresh.iter_mut().zip(answers) {
            if let CommitAnswer::Stored(version) = answer {
                active.held.row.version = version;
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
    key: IdempotencyKey,
    row: Option<Row>,
    journal_answered: bool,
    taken: &mut Taken,
) {
    let now = inner.now();
    let mut standing = standing(row.as_ref().map(|row| row.state));
    let mut row = row.unwrap_or_else(|| Row::new(row_key(key), item.meta.flow, now, SealedBlob::new(Vec::new())));
    if row.state == RowState::Acknowledged && inner.open_outcome(&row).is_some_and(|outcome| outcome.is_offered_again()) {
        // The queue was told to offer it again, and does: worked on anew.
        standing = Standing::Resume;
        (row.attempt, row.blob) = (0, SealedBlob::new(Vec::new()));
    }
    if standing != Standing::New {
        row.delivery = row.delivery.saturating_add(1);
    }
    let limit = now.saturating_add(spec.settings.deadline);
    let elsewhere = inner.journal.scope() == JournalScope::Instance && spec.settings.queue.capabilities().redelivers_elsewhere;
    // A result that was made but does not open any more means that the CA was asked, too.
    let begun = was_asked(row.state);
    let job = Job {
        key,
        delivery: row.delivery,
        attempt: row.attempt.saturating_add(1),
        deadline: item.meta.deadline.map_or(limit, |deadline| deadline.min(limit)),
        find_first: elsewhere || begun || !journal_answered,
        meta: item.meta.clone(),
    };
    let received = inner.monotonic();
    let mut held =
        Box::new(Held { job, row, ca: None, events: spec.worker.events(), received, due: received, round: 0, _in_hand: in_hand });
    let ready = |held, outcome, repeat| Ready { held, outcome, uploads: 0, failed_calls: 0, repeat, since: now };
    if standing == Standing::Repeat {
        note(inner, spec, EventId::RequestRepeated, key, &item.meta, "");
        if let Some(outcome) = inner.open_outcome(&held.row) {
            taken.repeats.push(ready(held, outcome, true));
        }
        return;
    }
    inner.control.count(item.meta.flow, |counters| counters.received += 1);
    let device = item.meta.device.clone();
    held.job.emit(&inner.context, held.events.downloaded_request, |event| match &device {
        Some(device) => event.with_detail("device", device.as_str()),
        None => event,
    });
    if standing == Standing::Upload
        && let Some(outcome) = inner.open_outcome(&held.row)
    {
        taken.ready.push(ready(held, outcome, false));
        return;
    }
    if let Payload::Malformed(problem) = &item.payload {
        held.job.emit(&inner.context, EventId::MalformedRequest, |event| event.with_message(problem));
        let outcome = Outcome::Failed(Failure::new(ErrorClass::Request, format!("the request could not be read: {problem}")));
        taken.ready.push(ready(held, outcome, false));
        return;
    }
    match catch_unwind(AssertUnwindSafe(|| spec.worker.accept(&inner.context, item))) {
        Ok(Accepted::Task(task)) => {
            let (digicert, ca) = catch_unwind(AssertUnwindSafe(|| (task.digicert_event(), task.ca().cloned()))).unwrap_or_default();
            if let Some(id) = digicert {
                held.job.emit(&inner.context, id, |event| event.with_ca(ca.clone()));
            }
            held.ca = ca;
            taken.active.push(Active { held, task, uncommitted: None, journal_failures: 0 });
        }
        Ok(Accepted::Foreign(problem)) => {
            inner.control.count(held.job.meta.flow, |counters| counters.received = counters.received.saturating_sub(1));
            note(inner, spec, EventId::RequestLeftToOthers, key, &held.job.meta, &problem);
        }
        Ok(Accepted::Refused(outcome)) => {
            super::work::report_failed(inner, &held, &outcome);
            taken.ready.push(ready(held, outcome, false));
        }
        Err(_) => {
            held.job.emit(&inner.context, EventId::PanicContained, |event| event.with_detail("where", "accept"));
            let outcome = Outcome::Failed(Failure::new(ErrorClass::Internal, "code panicked while it read the request"));
            super::work::report_failed(inner, &held, &outcome);
            taken.ready.push(ready(held, outcome, false));
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
