//! From a result to its acceptance by the queue, and the one Admin event of each request.

use core::time::Duration;
use std::sync::Arc;

use super::inner::{Inner, Ready, Stored};
use super::work::describe_outcome;
use crate::flow::FlowSpec;
use crate::ports::{CommitAnswer, CompleteAnswer, CompleteRequest, ResultItem, RowState};
use crate::retry::{ErrorClass, Retry};

/// What an upload leaves.
#[derive(Debug)]
pub(super) struct Uploaded {
    /// To be uploaded again, each with the time when it is due.
    pub(super) later: Vec<Ready>,
    /// When the queue answered: the most failed calls that one of the results had behind it.
    pub(super) answered: Option<u32>,
}

/// Uploads results.
pub(super) async fn upload(inner: &Inner, spec: &Arc<FlowSpec>, batch: Vec<Ready>, number: u32) -> Uploaded {
    let flow = spec.flow();
    let events = spec.worker.events();
    let (mut batch, mut later) = mark_uploading(inner, spec, batch).await;
    if batch.is_empty() {
        return Uploaded { later, answered: None };
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
            park(inner, given_up, "The queue took no results for too long.").await;
            return Uploaded { later, answered: None };
        }
    };
    let (mut accepted, mut refused, mut patience) = (Vec::new(), Vec::new(), Vec::new());
    let mut not_now = 0_usize;
    for (mut ready, answer) in batch.drain(..).zip(answers) {
        match answer {
            CompleteAnswer::Accepted => accepted.push(ready),
            CompleteAnswer::TryAgain(_) => {
                not_now += 1;
                ready.failed_calls = 0;
                let pause = pause(inner, spec, core::slice::from_ref(&ready), Retry::Later);
                retry_later(inner, ready, pause, &mut later, &mut patience);
            }
            CompleteAnswer::Refused(reason) => refused.push((ready, reason)),
        }
    }
    acknowledge(inner, &accepted).await;
    for ready in accepted.iter().filter(|ready| !ready.repeat) {
        ready.held.job.emit(&inner.context, events.uploaded_request, |event| event);
    }
    let batch_event = if accepted.is_empty() { events.upload_failure } else { events.upload_success };
    inner.emit(batch_event, Some(flow), "upload", number, |event| {
        event
            .with_detail("accepted", &accepted.len().to_string())
            .with_detail("again", &not_now.to_string())
            .with_detail("refused", &refused.len().to_string())
    });
    for ready in accepted.iter().filter(|ready| !ready.repeat) {
        conclude(inner, ready, None);
    }
    for (ready, reason) in refused {
        park(inner, vec![ready], &format!("The queue refused the result: {reason}")).await;
    }
    park(inner, patience, "The queue put the result off for too long.").await;
    Uploaded { later, answered: failed_calls }
}

/// Commits `Uploading` for what was not yet; what another owner has is dropped, and what cannot be stored waits.
async fn mark_uploading(inner: &Inner, spec: &FlowSpec, batch: Vec<Ready>) -> (Vec<Ready>, Vec<Ready>) {
    let (mut go, mut mark) = (Vec::new(), Vec::new());
    for mut ready in batch {
        if ready.repeat || ready.held.row.state == RowState::Uploading {
            go.push(ready);
        } else {
            let mut row = ready.held.row.clone();
            inner.stamp(&mut row, RowState::Uploading);
            if let Some(blob) = inner.seal_outcome(&row, RowState::Uploading, &ready.outcome) {
                row.blob = blob;
            }
            core::mem::swap(&mut ready.held.row, &mut row);
            mark.push((ready, row));
        }
    }
    let rows = mark.iter().map(|(ready, _)| ready.held.row.clone()).collect();
    let Some(answers) = inner.commit(rows).await else {
        let mut later = Vec::new();
        let mut given_up = Vec::new();
        let back: Vec<Ready> = mark
            .into_iter()
            .map(|(mut ready, before)| {
                ready.held.row = before;
                ready
            })
            .collect();
        let pause = pause(inner, spec, &back, Retry::Later);
        for ready in back {
            retry_later(inner, ready, pause, &mut later, &mut given_up);
        }
        park(inner, given_up, "The journal took no result for too long.").await;
        return (go, later);
    };
    let mut later = Vec::new();
    for ((mut ready, before), answer) in mark.into_iter().zip(answers) {
        let stored = match answer {
            CommitAnswer::Stored(version) => {
                ready.held.row.version = version;
                Stored::Yes
            }
            CommitAnswer::Conflict => {
                let blob = Some(ready.held.row.blob.clone());
                ready.held.row = before;
                inner.advance(&mut ready.held.row, RowState::Uploading, blob).await
            }
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

async fn acknowledge(inner: &Inner, accepted: &[Ready]) {
    close(inner, accepted.iter().filter(|ready| !ready.repeat), RowState::Acknowledged).await;
}

async fn close(inner: &Inner, ended: impl Iterator<Item = &Ready> + Send, state: RowState) {
    let rows = ended
        .map(|ready| {
            let mut row = ready.held.row.clone();
            inner.stamp(&mut row, state);
            if let Some(blob) = inner.seal_outcome(&row, state, &ready.outcome) {
                row.blob = blob;
            }
            row.owner = None;
            row
        })
        .collect();
    // An error is reported by the journal's event; the queue has the result, so nothing is undone.
    let _ = inner.commit(rows).await;
}

/// Ends requests whose result nobody took.
async fn park(inner: &Inner, given_up: Vec<Ready>, why: &str) {
    let given_up: Vec<Ready> = given_up.into_iter().filter(|ready| !ready.repeat).collect();
    close(inner, given_up.iter(), RowState::Parked).await;
    for ready in &given_up {
        conclude(inner, ready, Some(why));
    }
}

/// The one Admin event of a request, after its final state is stored.
fn conclude(inner: &Inner, ready: &Ready, lost: Option<&str>) {
    let took = inner.monotonic().saturating_sub(ready.held.received);
    let failed = lost.is_some() || ready.outcome.failure().is_some();
    let id = if failed { ready.held.events.request_failure } else { ready.held.events.request_success };
    ready.held.job.emit(&inner.context, id, |event| {
        let event = describe_outcome(event, &ready.outcome).with_duration(took).with_ca(ready.held.ca.clone());
        let event = event.with_detail("attempts", &ready.held.job.attempt.to_string());
        match lost {
            Some(why) => event.with_message(why),
            None => event,
        }
    });
    inner.control.finished(ready.held.job.meta.flow, failed, took);
}
