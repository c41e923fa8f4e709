//! One attempt at one request: steps, each journalled before its effect, until there is a result or a reason to wait.

use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};

use super::inner::{Active, Held, Inner, Ready, Stored};
use super::intake::was_asked;
use crate::event::EventId;
use crate::flow::{Kept, QueueSettings, Step, Suspicion, Task};
use crate::ports::{Failure, Outcome, RowState};
use crate::retry::{ErrorClass, Retry};

/// Most states that one attempt may commit: more is a loop in a flow.
const MOST_COMMITS: u32 = 64;

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Worked {
    /// With a result, a failure too.
    Done(Ready),
    /// To be called again when it is due.
    Again(Active),
    /// The same; it may be given back to the journal meanwhile.
    Pending(Active),
    /// Another owner has the request.
    Lost,
}

/// Works on a request until it is done or has to wait.
pub(super) async fn attempt(inner: &Inner, settings: &QueueSettings, mut active: Active) -> Worked {
    if active.held.row.version == 0 {
        match inner.advance(&mut active.held, RowState::Received).await {
            Stored::Yes => {}
            Stored::Unknown => return journal_away(inner, settings, active),
            // It is in the journal already, though that could not be said at download: whoever claims the row works on it.
            Stored::Conflict => return Worked::Lost,
        }
    }
    if active.held.is_suspect && active.uncommitted.is_none() {
        // Counted before anything is done with it: when the process ends in the middle, the next one knows.
        active.held.content.crashes = active.held.content.crashes.saturating_add(1);
        let state = active.held.row.state;
        match inner.advance(&mut active.held, state).await {
            Stored::Yes => {}
            Stored::Unknown => {
                active.held.content.crashes -= 1;
                return journal_away(inner, settings, active);
            }
            Stored::Conflict => return Worked::Lost,
        }
    }
    let mut commits = 0;
    loop {
        let left = active.held.job.deadline.since(inner.now());
        if left.is_zero() {
            let failure = Failure::new(ErrorClass::Deadline, "the deadline of the request passed before it was done");
            return finish(inner, settings, active, Err(failure)).await;
        }
        if let Some(state) = active.uncommitted {
            let (kept, suspicion) = keep(active.task.as_ref(), false);
            active.held.content.keep(kept);
            match inner.advance_with(&mut active.held, state, suspicion).await {
                Stored::Yes => active.uncommitted = None,
                Stored::Conflict => return Worked::Lost,
                Stored::Unknown => return journal_away(inner, settings, active),
            }
        }
        let step = {
            let Active { task, held, .. } = &mut active;
            let step = AssertUnwindSafe(task.step(&inner.context, &held.job)).catch_unwind();
            match select(step, inner.context.runtime.sleep(left)).await {
                Either::Left((step, _)) => Some(step),
                Either::Right(((), _)) => None,
            }
        };
        match step {
            None => {
                if matches!(active.held.row.state, RowState::Asked) {
                    active.held.job.emit(&inner.context, EventId::AnswerLost, |event| {
                        event
                            .with_ca(active.held.ca.clone())
                            .with_message("The deadline of the request passed while it waited for an answer.")
                    });
                }
            }
            Some(Err(_)) => {
                active.held.job.emit(&inner.context, EventId::PanicContained, |event| event.with_detail("where", "step"));
                if active.held.row.state == RowState::Asked {
                    active.held.job.emit(&inner.context, EventId::AnswerLost, |event| {
                        event.with_ca(active.held.ca.clone()).with_message("Code panicked while it waited for an answer.")
                    });
                }
                let failure = Failure::new(ErrorClass::Internal, "code panicked while it worked on the request; the panic was contained");
                return finish(inner, settings, active, Err(failure)).await;
            }
            Some(Ok(Step::Commit(state))) => {
                commits += 1;
                if commits > MOST_COMMITS {
                    let failure = Failure::new(ErrorClass::Internal, "the flow made no progress");
                    return finish(inner, settings, active, Err(failure)).await;
                }
                // A row that says that the CA was asked goes on saying so when the request begins anew: the next process must know it.
                let forgets = state == RowState::Planned && was_asked(active.held.row.state);
                active.uncommitted = Some(if forgets { active.held.row.state } else { state });
            }
            Some(Ok(Step::Renew)) => match inner.renew_one(&active.held).await {
                Stored::Yes => {}
                Stored::Conflict => return Worked::Lost,
                Stored::Unknown => return journal_away(inner, settings, active),
            },
            Some(Ok(Step::Done(outcome))) => return finish(inner, settings, active, Ok(outcome)).await,
            Some(Ok(Step::Failed(failure))) => return finish(inner, settings, active, Err(failure)).await,
            Some(Ok(Step::LeaveToOthers(why))) => {
                inner.control.count(active.held.job.meta.flow, |counters| counters.received = counters.received.saturating_sub(1));
                active.held.job.emit(&inner.context, EventId::RequestLeftToOthers, |event| event.with_message(&why));
                // A final row: a repeat is neither worked on nor answered. When it cannot be stored, a repeat finds out anew.
                active.held.content.forget();
                let _ = inner.advance(&mut active.held, RowState::Failed).await;
                return Worked::Lost;
            }
            Some(Ok(Step::Wait(pause))) => return again(inner, active, pause).await,
            Some(Ok(Step::Pending(pause))) => {
                return match again(inner, active, pause).await {
                    Worked::Again(active) => Worked::Pending(active),
                    other => other,
                };
            }
            Some(Ok(Step::Retry { failure, retry })) => {
                if retry == Retry::Never || active.held.job.attempt >= settings.max_attempts {
                    return finish(inner, settings, active, Err(failure)).await;
                }
                if let Some(id) = active.held.events.attempt_failed {
                    active.held.job.emit(&inner.context, id, |event| describe(event, &failure).with_ca(active.held.ca.clone()));
                }
                inner.control.count(active.held.job.meta.flow, |counters| counters.retried += 1);
                let pause = inner.backoff(settings, active.held.job.attempt, retry);
                active.held.job.attempt += 1;
                active.held.row.attempt = active.held.job.attempt - 1;
                return again(inner, active, pause).await;
            }
        }
    }
}

/// What a task keeps and suspects; nothing when its code panics.
fn keep(task: &dyn Task, ended: bool) -> (Kept, Option<Suspicion>) {
    catch_unwind(AssertUnwindSafe(|| (task.keep(), task.suspicion(ended)))).unwrap_or_default()
}

async fn again(inner: &Inner, mut active: Active, pause: Duration) -> Worked {
    if active.held.is_suspect {
        // The attempt ended and the process did not: it was not this request.
        (active.held.is_suspect, active.held.content.crashes) = (false, 0);
        let (kept, _) = keep(active.task.as_ref(), false);
        active.held.content.keep(kept);
        let state = active.held.row.state;
        if inner.advance(&mut active.held, state).await == Stored::Conflict {
            return Worked::Lost;
        }
    }
    wait(inner, active, pause)
}

fn wait(inner: &Inner, mut active: Active, pause: Duration) -> Worked {
    // Never later than the deadline, so that giving up is not late.
    let left = active.held.job.deadline.since(inner.now());
    active.held.due = inner.monotonic().saturating_add(pause.min(left));
    active.held.ca = catch_unwind(AssertUnwindSafe(|| active.task.ca().cloned())).unwrap_or_default();
    Worked::Again(active)
}

fn journal_away(inner: &Inner, settings: &QueueSettings, mut active: Active) -> Worked {
    active.journal_failures = active.journal_failures.saturating_add(1);
    let pause = inner.backoff(settings, active.journal_failures, Retry::Later).max(settings.backoff_base.min(Duration::from_millis(50)));
    wait(inner, active, pause)
}

/// Gives a request that waits for long back to the journal, with what its task has made. `None` when that is done.
pub(super) async fn put_back(inner: &Inner, mut active: Active) -> Option<Active> {
    let (kept, _) = keep(active.task.as_ref(), false);
    active.held.content.keep(kept);
    let pause = active.held.due.saturating_sub(inner.monotonic());
    let due = inner.now().saturating_add(pause);
    if inner.give_back(&mut active.held, due).await { None } else { Some(active) }
}

pub(super) async fn finish(inner: &Inner, settings: &QueueSettings, active: Active, result: Result<Outcome, Failure>) -> Worked {
    let Active { mut held, mut task, .. } = active;
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(failure) => {
            left_behind(inner, &held, task.as_ref(), &failure.message);
            let spare = failure.clone();
            catch_unwind(AssertUnwindSafe(|| task.give_up(failure))).unwrap_or(Outcome::Failed(spare))
        }
    };
    held.row.attempt = held.job.attempt;
    if outcome.failure().is_some() {
        report_failed(inner, &held, &outcome);
    }
    let (kept, suspicion) = keep(task.as_ref(), outcome.failure().is_some());
    held.content.keep(kept);
    held.content.end(&outcome, &inner.context.instance);
    if outcome.failure().is_none() {
        held.content.if_not_taken = catch_unwind(AssertUnwindSafe(|| task.if_not_taken())).unwrap_or_default();
    }
    (held.is_suspect, held.content.crashes) = (false, 0);
    let mut suspicion = suspicion;
    let mut failures = 0;
    loop {
        let is_suspected = suspicion.is_some();
        match inner.advance_with(&mut held, RowState::Packed, suspicion).await {
            Stored::Conflict => return Worked::Lost,
            // What may exist at the CA is stored with the result or not at all; the result alone the upload stores before it sends anything.
            Stored::Unknown if is_suspected => {
                failures += 1;
                let pause = inner.backoff(settings, failures, Retry::Later).max(Duration::from_millis(50));
                inner.context.runtime.sleep(pause).await;
                (_, suspicion) = keep(task.as_ref(), outcome.failure().is_some());
            }
            _ => break,
        }
    }
    drop(task);
    held.due = inner.monotonic();
    Worked::Done(Ready { held, outcome, uploads: 0, failed_calls: 0, repeat: false, since: inner.now() })
}

/// Lets a task report what it leaves behind at a CA when its request ends without a result of its own.
fn left_behind(inner: &Inner, held: &Held, task: &dyn Task, why: &str) {
    let _ = catch_unwind(AssertUnwindSafe(|| task.left_behind(&inner.context, &held.job, why)));
}

/// Raises the flow's event of a failure for good.
pub(super) fn report_failed(inner: &Inner, held: &Held, outcome: &Outcome) {
    if let Some(id) = held.events.failed {
        held.job.emit(&inner.context, id, |event| describe_outcome(event, outcome).with_ca(held.ca.clone()));
    }
}

fn describe(event: crate::event::Event, failure: &Failure) -> crate::event::Event {
    let event = event.with_error_class(failure.class).with_message(&failure.message);
    match &failure.code {
        Some(code) => event.with_detail("code", code),
        None => event,
    }
}

/// Adds why an outcome is a failure.
pub(super) fn describe_outcome(event: crate::event::Event, outcome: &Outcome) -> crate::event::Event {
    match outcome {
        Outcome::Failed(failure) => describe(event, failure),
        Outcome::Revoke(result) => {
            let event = match result.error {
                Some(error) => event.with_detail("code", &error.code().to_string()),
                None => event,
            };
            event.with_message(result.message.as_deref().or(result.note.as_deref()).unwrap_or_default())
        }
        _ => event,
    }
}
