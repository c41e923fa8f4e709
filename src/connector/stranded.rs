//! Requests that no running instance can do any more, such as those of a CA that was taken out of the configuration: failed when their time
//! is over, by any instance of their flow.

use core::time::Duration;
use std::sync::Arc;

use super::inner::{InHand, Inner, Ready, Stored, Taken};
use super::intake::{hold, was_asked};
use super::join::routes_of;
use super::work::report_failed;
use crate::event::EventId;
use crate::flow::{FlowSpec, Lease};
use crate::ids::Route;
use crate::ports::{Failure, LoadRequest, Outcome, Row, RowKind, RowState};
use crate::retry::ErrorClass;
use crate::time::Timestamp;

/// So many of the oldest rows are looked at.
const BATCH: usize = 256;
/// Whoever can do it has failed it long before.
const GRACE: Duration = Duration::from_secs(600);

/// Pure: whether a row's time is over by so much that nobody works on it.
fn is_stranded(row: &Row, own: &[Route], deadline: Duration, now: Timestamp) -> bool {
    let is_left = row.owner.is_none() || row.lease_until.saturating_add(GRACE) < now;
    row.route.as_ref().is_some_and(|route| !own.contains(route))
        && is_left
        && row.created.saturating_add(deadline).saturating_add(GRACE) < now
}

/// Takes such requests of a flow, as failures to be uploaded; those that have a result, with that.
pub(super) async fn take(inner: &Inner, spec: &Arc<FlowSpec>) -> Vec<Ready> {
    let (flow, own) = (spec.flow(), routes_of(spec));
    let call = async { inner.journal.load(LoadRequest::Open { kind: RowKind::Request, max: BATCH }).await };
    let rows = match inner.guarded("Journal::load", Some(flow), inner.options.journal_timeout, call).await {
        Ok(rows) => rows,
        Err(error) => {
            inner.journal_failed("Journal::load", &error);
            return Vec::new();
        }
    };
    let now = inner.now();
    let mut taken = Vec::new();
    for row in rows.into_iter().filter(|row| row.flow == flow && is_stranded(row, &own, spec.settings.deadline, now)) {
        let Some(content) = inner.open(&row) else {
            inner.refuse_row(&row, flow).await;
            continue;
        };
        let lease = Lease::over();
        let mark = Taken { flow, id: content.meta.id.clone(), epoch: row.lease_epoch, lease: Arc::clone(&lease) };
        let Some(in_hand) = InHand::take(&inner.in_hand, row.key.key, mark) else { continue };
        let state = row.state;
        let mut held = hold(inner, spec, row, content, in_hand, lease, true);
        let known = held.content.outcome();
        let is_new = known.is_none();
        let outcome = known.unwrap_or_else(|| {
            let ca = held.ca.as_ref().map(ToString::to_string).unwrap_or_default();
            let message = format!("no running instance of the tenant has the CA `{ca}`: add it to one, or change the profile");
            Outcome::Failed(Failure::new(ErrorClass::Configuration, message))
        });
        held.content.end(&outcome, &inner.context.instance);
        if inner.advance(&mut held, RowState::Packed).await != Stored::Yes {
            continue;
        }
        if is_new {
            if was_asked(state) {
                held.job.emit(&inner.context, EventId::AnswerLost, |event| {
                    event
                        .with_ca(held.ca.clone())
                        .with_message("No running instance has this CA any more; it may have issued a certificate.")
                });
            }
            report_failed(inner, &held, &outcome);
        }
        taken.push(Ready { held, outcome, uploads: 0, failed_calls: 0, repeat: false, since: now });
    }
    taken
}
