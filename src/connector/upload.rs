//! From a result to its acceptance by the queue, and the one Admin event of each request.

use core::time::Duration;
use std::sync::Arc;

use super::inner::{Held, Inner, Ready, Stored};
use super::ledger::REDRIVE;
use super::work::describe_outcome;
use crate::flow::{FlowSpec, Suspicion};
use crate::ports::{CommitAnswer, CompleteAnswer, CompleteRequest, ResultItem, RowState};
use crate::retry::{ErrorClass, Retry};
use crate::secret::SecretBytes;

/// What an upload leaves.
#[derive(Debug)]
pub(super) struct Uploaded {
    /// To be uploaded again, each with the time when it is due.
    pub(super) later: Vec<Ready>,
    /// When the queue answered: the most failed calls that one of the results had behind it.
    pub(super) answered: Option<u32>,
    /// Ends that could not be stored.
    pub(super) unclosed: Vec<Unclosed>,
}

/// A request that has ended, though that is not stored yet.
#[derive(Debug)]
pub(super) struct Unclosed {
    pub(super) held: Box<Held>,
    pub(super) state: RowState,
    pub(super) tries: u32,
    pub(super) due: Duration,
}

/// Uploads results.
pub(super) async fn upload(inner: &Inner, spec: &Arc<FlowSpec>, batch: Vec<Ready>, number: u32) -> Uploaded {
    let flow = spec.flow();
    let events = spec.worker.events();
    let (mut batch, mut later) = mark_uploading(inner, spec, batch).await;
    if batch.is_empty() {
        return Uploaded { later, answered: None, unclosed: Vec::new() };
    }
    let failed_calls = batch.iter().map(|ready| ready.failed_calls).max();
    let results = batch.iter().map(|ready| ResultItem::new(ready.held.job.meta.clone(), ready.outcome.clone())).collect();
    let request = CompleteRequest::new(flow, inner.context.instance.clone(), results);
    let queue = Arc::clone(&spec.settings.queue);
    let call = async { queue.complete(request).await };
    let answers = match inner.guarded("IntuneQueue::complete", Some(flow), spec.settings.call_timeout, call).await {
        Ok(answers) if answers.len() == batch.len() => answers,
        broken => {
            let (class, text, retry) = match broken {
                Ok(_) => (ErrorClass::Internal, "the queue did not answer for each result".to_owned(), Retry::Later),
                Err(error) => (error.class(), error.to_string(), error.retry()),
            };
            inner.emit(events.upload_failure, Some(flow), "upload", number, |event| {
                event.with_error_class(class).with_message(&text).with_detail("results", &batch.len().to_string())
            });
            let mut given_up = Vec::new();
            let pause = pause(inner, spec, &batch, retry);
            for mut ready in batch {
                ready.failed_calls = ready.failed_calls.saturating_add(1);
                retry_later(inner, ready, pause, &mut later, &mut given_up);
            }
            let unclosed = park(inner, spec, given_up, "The queue took no results for too long.").await;
            return Uploaded { later, answered: None, unclosed };
        }
    };
    let (mut accepted, mut refused, mut patience) = (Vec::new(), Vec::new(), Vec::new());
    let (mut not_now, mut repeats) = (0_usize, 0_usize);
    for (mut ready, answer) in batch.drain(..).zip(answers) {
        match answer {
            CompleteAnswer::Accepted => {
                repeats += usize::from(ready.repeat);
                accepted.push(ready);
            }
            CompleteAnswer::TryAgain(_) => {
                not_now += 1;
                ready.failed_calls = 0;
                let pause = pause(inner, spec, core::slice::from_ref(&ready), Retry::Later);
                retry_later(inner, ready, pause, &mut later, &mut patience);
            }
            CompleteAnswer::Refused(reason) => refused.push((ready, reason)),
        }
    }
    let accepted: Vec<Ready> = accepted.into_iter().filter(|ready| !ready.repeat).collect();
    for ready in &accepted {
        ready.held.job.emit(&inner.context, events.uploaded_request, |event| event);
    }
    let batch_event = if accepted.is_empty() && repeats == 0 { events.upload_failure } else { events.upload_success };
    inner.emit(batch_event, Some(flow), "upload", number, |event| {
        event
            .with_detail("accepted", &(accepted.len() + repeats).to_string())
            .with_detail("again", &not_now.to_string())
            .with_detail("refused", &refused.len().to_string())
    });
    // Told before it is stored: a process that ends in between tells it again, by the same key.
    let mut own = Vec::with_capacity(accepted.len());
    for ready in accepted {
        // Whoever took it over while this instance stood still tells of it.
        if ready.held.job.lease.holds(&*inner.context.runtime) || inner.renew_one(&ready.held).await != Stored::Conflict {
            conclude(inner, &ready, None);
            own.push(ready);
        }
    }
    let mut unclosed = close(inner, spec, own.into_iter().map(|ready| ended(ready.held, RowState::Acknowledged)).collect()).await;
    for (ready, reason) in refused {
        unclosed.extend(park(inner, spec, vec![ready], &format!("The queue refused the result: {reason}")).await);
    }
    unclosed.extend(park(inner, spec, patience, "The queue put the result off for too long.").await);
    Uploaded { later, answered: failed_calls, unclosed }
}

/// Commits `Uploading` for what was not yet; what another owner has is dropped, and what cannot be stored waits.
async fn mark_uploading(inner: &Inner, spec: &FlowSpec, batch: Vec<Ready>) -> (Vec<Ready>, Vec<Ready>) {
    let (mut go, mut mark, mut rows, mut later) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for mut ready in batch {
        if ready.repeat || ready.held.row.state == RowState::Uploading {
            go.push(ready);
        } else if let Some(row) = inner.next_row(&ready.held.row, &ready.held.content, RowState::Uploading) {
            rows.push(row);
            mark.push(ready);
        } else {
            ready.held.due = inner.monotonic().saturating_add(spec.settings.backoff_base);
            later.push(ready);
        }
    }
    let asked = inner.clocks();
    let Some(answers) = inner.commit(rows.clone()).await else {
        let mut given_up = Vec::new();
        let pause = pause(inner, spec, &mark, Retry::Later);
        for ready in mark {
            retry_later(inner, ready, pause, &mut later, &mut given_up);
        }
        // What the journal does not take stays in hand: it holds the result.
        later.extend(given_up);
        return (go, later);
    };
    for ((mut ready, mut row), answer) in mark.into_iter().zip(rows).zip(answers) {
        let stored = match answer {
            CommitAnswer::Stored(version) => {
                row.version = version;
                ready.held.row = row;
                ready.held.job.lease.prolong(asked, inner.options.lease);
                Stored::Yes
            }
            CommitAnswer::Conflict => inner.advance(&mut ready.held, RowState::Uploading).await,
        };
        match stored {
            Stored::Yes => go.push(ready),
            Stored::Conflict => {}
            Stored::Unknown => {
                ready.held.due = inner.monotonic().saturating_add(spec.settings.backoff_base);
                later.push(ready);
            }
        }
    }
    (go, later)
}

/// One backoff for a whole batch, so that it stays together.
fn pause(inner: &Inner, spec: &FlowSpec, batch: &[Ready], retry: Retry) -> Duration {
    let failures = batch.iter().map(|ready| ready.uploads).max().unwrap_or(0).saturating_add(1);
    inner.backoff(&spec.settings, failures, retry).max(Duration::from_millis(1))
}

/// Puts a result off, or gives it up when the patience is at its end.
fn retry_later(inner: &Inner, mut ready: Ready, pause: Duration, later: &mut Vec<Ready>, given_up: &mut Vec<Ready>) {
    let now = inner.now();
    ready.uploads = ready.uploads.saturating_add(1);
    if ready.repeat || now.since(ready.since) >= inner.options.upload_patience {
        given_up.push(ready);
        return;
    }
    ready.held.due = inner.monotonic().saturating_add(pause);
    later.push(ready);
}

fn ended(held: Box<Held>, state: RowState) -> Unclosed {
    Unclosed { held, state, tries: 0, due: Duration::ZERO }
}

/// Stores that requests have ended; gives those whose end is not stored, to be tried again. The queue has the results, so nothing is undone.
pub(super) async fn close(inner: &Inner, spec: &FlowSpec, ended: Vec<Unclosed>) -> Vec<Unclosed> {
    let (mut rows, mut beside, mut going, mut left) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for mut end in ended {
        if end.state == RowState::Acknowledged {
            end.held.content.if_not_taken = None;
        }
        if let Some(record) = &end.held.content.if_not_taken {
            let record = SecretBytes::copy_from(record.secret_bytes());
            match inner.orphan_row(&end.held, Suspicion { record, most: 1, after: REDRIVE }).await {
                Some(orphan) => beside.extend(orphan),
                None => {
                    left.push(end);
                    continue;
                }
            }
        }
        match inner.next_row(&end.held.row, &end.held.content, end.state) {
            Some(row) => {
                rows.push(row);
                going.push(end);
            }
            None => left.push(end),
        }
    }
    rows.extend(beside);
    match inner.commit(rows).await {
        Some(answers) => {
            for (mut end, answer) in going.into_iter().zip(answers) {
                // In a conflict, an earlier commit of ours may be what is stored, or somebody else has it.
                if answer == CommitAnswer::Conflict && inner.advance(&mut end.held, end.state).await == Stored::Unknown {
                    left.push(end);
                }
            }
        }
        None => left.extend(going),
    }
    for end in &mut left {
        end.tries = end.tries.saturating_add(1);
        end.due = inner.monotonic().saturating_add(inner.backoff(&spec.settings, end.tries, Retry::Later).max(Duration::from_millis(50)));
    }
    left
}

/// Ends requests whose result nobody took.
async fn park(inner: &Inner, spec: &FlowSpec, given_up: Vec<Ready>, why: &str) -> Vec<Unclosed> {
    let mut given_up: Vec<Ready> = given_up.into_iter().filter(|ready| !ready.repeat).collect();
    for ready in &mut given_up {
        ready.held.content.problem = Some(why.to_owned());
        conclude(inner, ready, Some(why));
    }
    close(inner, spec, given_up.into_iter().map(|ready| ended(ready.held, RowState::Parked)).collect()).await
}

/// The one Admin event of a request, before its final state is stored.
fn conclude(inner: &Inner, ready: &Ready, lost: Option<&str>) {
    let took = inner.monotonic().saturating_sub(ready.held.received);
    let failed = lost.is_some() || ready.outcome.failure().is_some();
    let id = if failed { ready.held.events.request_failure } else { ready.held.events.request_success };
    let mut context = inner.context.clone();
    if let Some(teller) = &ready.held.content.teller {
        context.instance = teller.clone();
    }
    ready.held.job.emit(&context, id, |event| {
        let event = describe_outcome(event, &ready.outcome).with_duration(took).with_ca(ready.held.ca.clone());
        let event = event.with_detail("attempts", &ready.held.job.attempt.to_string());
        match lost {
            Some(why) => event.with_message(why),
            None => event,
        }
    });
    inner.control.finished(ready.held.job.meta.flow, failed, took, inner.monotonic());
}
