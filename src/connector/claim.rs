//! From the journal to work in hand: rows that are due and in nobody's hands, those of an earlier run and of dead instances among them.

use std::sync::Arc;

use super::content::Content;
use super::inner::{Held, InHand, Inner, Stored, Taken as Mark};
use super::intake::{Taken, begin, hold, was_asked};
use super::work;
use crate::event::EventId;
use crate::flow::seal::SealError;
use crate::flow::{FlowSpec, Lease, Resumed};
use crate::ids::{CaName, Route};
use crate::ports::{ClaimRequest, Failure, JournalScope, Row, RowKind, RowState};
use crate::retry::ErrorClass;

/// A request that was worked on when the process ended, so many times in a row, is what ended it.
pub(super) const MOST_CRASHES: u32 = 5;

impl Inner {
    /// Asks only for what this instance can do: requests of the flow's CAs, and those that need none.
    pub(super) fn with_routes(&self, request: ClaimRequest, spec: &FlowSpec) -> ClaimRequest {
        if self.journal.scope() == JournalScope::Instance {
            // Nobody else can do them, so they are answered here, if only by a failure.
            return request;
        }
        let routes = spec.worker.authorities().into_iter().filter_map(|(ca, _)| route_of(&ca)).collect();
        request.with_routes(routes)
    }
}

/// So many rows may have been in hand when the process ended: two for each of 10,000 workers, and a batch.
const MOST_OWN: usize = 10_000;

/// The route of requests for a CA.
pub(super) fn route_of(ca: &CaName) -> Option<Route> {
    format!("ca {ca}").parse().ok()
}

/// Claims rows of a flow; `own` at the start of a run, when what an earlier run had in hand is free.
pub(super) async fn claim(inner: &Inner, spec: &Arc<FlowSpec>, max: usize, own: bool) -> Taken {
    let (flow, me) = (spec.flow(), &inner.context.instance);
    let asked = inner.clocks();
    let most = if own { MOST_OWN } else { max };
    let request = ClaimRequest::new(RowKind::Request, flow, me.clone(), most, inner.now(), inner.options.lease);
    let request = inner.with_routes(request, spec);
    let request = if own { request.with_own() } else { request };
    let call = async { inner.journal.claim(request).await };
    let rows = match inner.guarded("Journal::claim", Some(flow), inner.options.journal_timeout, call).await {
        Ok(rows) => rows,
        Err(error) => {
            inner.journal_failed("Journal::claim", &error);
            return Taken { failed: true, asked: max, ..Taken::default() };
        }
    };
    let mut taken = Taken { items: rows.len(), asked: max, ..Taken::default() };
    let (anew, mut rows): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| inner.is_in_hand(row.key.key));
    taken.anew = anew;
    if rows.len() > max {
        // More than there are hands for: the rest waits for the next claim, as it is.
        let rest = rows.split_off(max).into_iter().map(|row| Row { owner: None, ..row }).collect();
        if inner.commit(rest).await.is_none() {
            return Taken { failed: true, ..taken };
        }
    }
    for row in rows {
        let lease = if inner.journal.scope() == JournalScope::Fleet { Lease::over() } else { Lease::for_ever() };
        lease.prolong(asked, inner.options.lease);
        let content = match inner.open(&row) {
            Ok(content) => content,
            Err(error) => {
                inner.refuse_row(&row, flow, error).await;
                continue;
            }
        };
        let mark = Mark { flow, id: content.meta.id.clone(), epoch: row.lease_epoch, lease: Arc::clone(&lease) };
        match InHand::take(&inner.in_hand, row.key.key, mark) {
            Some(in_hand) => take_up(inner, spec, row, content, in_hand, lease, &mut taken).await,
            None => taken.anew.push(row),
        }
    }
    taken
}

async fn take_up(inner: &Inner, spec: &Arc<FlowSpec>, row: Row, content: Content, in_hand: InHand, lease: Arc<Lease>, taken: &mut Taken) {
    let state = row.state;
    let mut held = hold(inner, spec, row, content, in_hand, lease, true);
    // Whoever gives a row back says so; this one was in the hands of a process that ended.
    held.is_suspect = !core::mem::take(&mut held.content.given_back);
    held.job.find_first |= was_asked(state);
    if held.content.crashes >= MOST_CRASHES {
        return park(inner, held).await;
    }
    if let Some(outcome) = held.content.outcome() {
        // As it was when the result was stored, so that its events have the same keys.
        held.job.attempt = held.row.attempt.max(1);
        taken.ready.push(super::inner::Ready { held, outcome, uploads: 0, failed_calls: 0, repeat: false, since: inner.now() });
        return;
    }
    let Some(item) = held.content.request() else {
        inner.refuse_row(&held.row, spec.flow(), SealError::Foreign).await;
        return;
    };
    let kept = held.content.task().map(|task| crate::secret::SecretBytes::copy_from(task.secret_bytes()));
    let none = crate::secret::SecretBytes::new(Vec::new());
    let resumed = Resumed { task: kept.as_ref().unwrap_or(&none), key: held.row.key.key, find_first: held.job.find_first };
    let given_up = held.content.given_up.clone();
    let others = taken.active.len();
    begin(inner, spec, item, held, Some(resumed), taken);
    // An operator wants no more of it; what it leaves at a CA goes to the ledger. One that came to its end at once left no task.
    if let Some(why) = given_up
        && taken.active.len() > others
        && let Some(active) = taken.active.pop()
    {
        let failure = Failure::new(ErrorClass::Internal, why);
        if let work::Worked::Done(ready) = work::finish(inner, &spec.settings, active, Err(failure)).await {
            taken.ready.push(ready);
        }
    }
}

/// Leaves a request for an operator: it ends the process each time.
async fn park(inner: &Inner, mut held: Box<Held>) {
    let why = format!("The connector ended {MOST_CRASHES} times in a row while it worked on this request.");
    held.content.problem = Some(why.clone());
    held.content.find_first |= was_asked(held.row.state);
    if inner.advance(&mut held, RowState::Parked).await != Stored::Yes {
        return;
    }
    held.job.emit(&inner.context, EventId::RequestParked, |event| event.with_message(&why));
    let id = held.events.request_failure;
    held.job.emit(&inner.context, id, |event| event.with_ca(held.ca.clone()).with_message(&why));
    inner.control.count(held.job.meta.flow, |counters| counters.failed += 1);
}
