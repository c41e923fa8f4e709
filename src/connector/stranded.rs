//! Requests that no running instance can do, such as those of a CA that was taken out of the configuration: failed by any instance of their
//! flow.

use core::time::Duration;
use std::sync::Arc;

use super::inner::{InHand, Inner, Ready, Stored, Taken};
use super::intake::{hold, was_asked};
use super::join::{STARTING, routes_of};
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

/// Pure: whether nobody works on a row of another route any more: its time is over by long, or nobody has begun it and `has_anybody` says
/// that nobody can.
fn is_stranded(row: &Row, own: &[Route], deadline: Duration, now: Timestamp, has_anybody: impl FnOnce(&Route) -> bool) -> bool {
    let Some(route) = row.route.as_ref().filter(|route| !own.contains(route)) else { return false };
    let is_left = row.owner.is_none() || row.lease_until.saturating_add(GRACE) < now;
    let is_late = row.created.saturating_add(deadline).saturating_add(GRACE) < now;
    let is_fresh = row.state == RowState::Received && row.owner.is_none();
    is_left && (is_late || (is_fresh && row.created.saturating_add(STARTING) < now && !has_anybody(route)))
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
    let (mut taken, deadline) = (Vec::new(), spec.settings.deadline);
    let has_anybody = |route: &Route| inner.has_anybody(flow, route);
    for row in rows.into_iter().filter(|row| row.flow == flow && is_stranded(row, &own, deadline, now, has_anybody)) {
        let content = match inner.open(&row) {
            Ok(content) => content,
            Err(error) => {
                inner.refuse_row(&row, flow, error).await;
                continue;
            }
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
            let message = format!(
                "no running instance of the tenant that has the CA `{ca}` worked on it in time: add the CA to one, or change the profile"
            );
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::IdempotencyKey;
    use crate::ports::{RowKey, SealedBlob};
    use crate::terms::Flow;

    #[test]
    fn only_what_nobody_works_on_is_stranded() {
        let at = Timestamp::from_secs;
        let key = RowKey { kind: RowKind::Request, key: IdempotencyKey::new([1; 32]) };
        let mut row = Row::new(key, Flow::Pkcs, at(0), SealedBlob::new(Vec::new()));
        row.route = Some("ca A".parse().unwrap());
        let stranded = |row: &Row, now, has| is_stranded(row, &["ca B".parse().unwrap()], Duration::from_secs(3_600), at(now), |_| has);
        assert!(!stranded(&row, 60, false) && stranded(&row, 61, false), "instances that start together are waited for");
        assert!(!stranded(&row, 4_200, true) && stranded(&row, 4_201, true), "somebody who can does not");
        let begun = Row { state: RowState::Planned, ..row.clone() };
        assert!(!stranded(&begun, 4_200, false) && stranded(&begun, 4_201, false));
        let held = Row { owner: Some("x".parse().unwrap()), lease_until: at(4_000), ..row.clone() };
        assert!(!stranded(&held, 4_600, false) && stranded(&held, 4_601, false), "it may be in hand");
        assert!(!stranded(&Row { route: Some("ca B".parse().unwrap()), ..row.clone() }, 9_999, false));
        assert!(!stranded(&Row { route: None, ..row }, 9_999, false));
    }
}
