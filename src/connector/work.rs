//! One attempt at one request: steps, each journalled before its effect, until there is a result or a reason to wait.

use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};

use super::inner::{Active, Held, Inner, Ready, Stored};
use super::intake::{Standing, standing, was_asked};
use crate::event::EventId;
use crate::flow::{QueueSettings, Step, Task};
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
    /// Another owner has the request.
    Lost,
}

/// Works on a request until it is done or has to wait.
pub(super) async fn attempt(inner: &Inner, settings: &QueueSettings, mut active: Active) -> Worked {
    if active.held.row.version == 0 {
        match inner.advance(&mut active.held.row, RowState::Received, None).await {
            Stored::Yes => {}
            Stored::Unknown => return journal_away(inner, settings, active),
            Stored::Conflict => match take_over(inner, active).await {
                TakeOver::Go(mine) => active = mine,
                TakeOver::End(worked) => return worked,
                TakeOver::JournalAway(mine) => return journal_away(inner, settings, mine),
            },
        }
    }
    let mut commits = 0;
    loop {
        let left = active.held.job.deadline.since(inner.now());
        if left.is_zero() {
            let failure = Failure::new(ErrorClass::Deadline, "the deadline of the request passed before it was done");
            return finish(inner, active, Err(failure)).await;
        }
        if let Some(state) = active.uncommitted {
            match inner.advance(&mut active.held.row, state, None).await {
                Stored::Yes => active.uncommitted = None,
                Stored::Conflict => {
                    left_behind(inner, &active.held, active.task.as_ref(), OWNED_ELSEWHERE);
                    return Worked::Lost;
                }
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
                return finish(inner, active, Err(failure)).await;
            }
            Some(Ok(Step::Commit(state))) => {
                commits += 1;
                if commits > MOST_COMMITS {
                    let failure = Failure::new(ErrorClass::Internal, "the flow made no progress");
                    return finish(inner, active, Err(failure)).await;
                }
                // A row that says that the CA was asked goes on saying so when the request begins anew: the next process must know it.
                let forgets = state == RowState::Planned && was_asked(active.held.row.state);
                active.uncommitted = Some(if forgets { active.held.row.state } else { state });
            }
            Some(Ok(Step::Done(outcome))) => return finish(inner, active, Ok(outcome)).await,
            Some(Ok(Step::Failed(failure))) => return finish(inner, active, Err(failure)).await,
            Some(Ok(Step::LeaveToOthers(why))) => {
                inner.control.count(active.held.job.meta.flow, |counters| counters.received = counters.received.saturating_sub(1));
                active.held.job.emit(&inner.context, EventId::RequestLeftToOthers, |event| event.with_message(&why));
                // A final row: a repeat is neither worked on nor answered. When it cannot be stored, a repeat finds out anew.
                let _ = inner.advance(&mut active.held.row, RowState::Failed, None).await;
                return Worked::Lost;
            }
            Some(Ok(Step::Wait(pause))) => return again(inner, active, pause),
            Some(Ok(Step::Retry { failure, retry })) => {
                if retry == Retry::Never || active.held.job.attempt >= settings.max_attempts {
                    return finish(inner, active, Err(failure)).await;
                }
                if let Some(id) = active.held.events.attempt_failed {
                    active.held.job.emit(&inner.context, id, |event| describe(event, &failure).with_ca(active.held.ca.clone()));
                }
                inner.control.count(active.held.job.meta.flow, |counters| counters.retried += 1);
                let pause = inner.backoff(settings, active.held.job.attempt, retry);
                active.held.job.attempt += 1;
                active.held.row.attempt = active.held.job.attempt - 1;
                return again(inner, active, pause);
            }
        }
    }
}

enum TakeOver {
    Go(Active),
    End(Worked),
    JournalAway(Active),
}

/// The row was there already, though the journal could not say so at download.
async fn take_over(inner: &Inner, mut active: Active) -> TakeOver {
    let Some(rows) = inner.load(vec![active.held.row.key]).await else { return TakeOver::JournalAway(active) };
    let Some(row) = rows.into_iter().next() else { return TakeOver::JournalAway(active) };
    let standing = standing(Some(row.state));
    active.held.row = row;
    if standing == Standing::Resume {
        active.held.job.find_first = true;
        return TakeOver::Go(active);
    }
    TakeOver::End(match inner.open_outcome(&active.held.row) {
        Some(outcome) => Worked::Done(Ready {
            held: active.held,
            outcome,
            uploads: 0,
            failed_calls: 0,
            repeat: standing == Standing::Repeat,
            since: inner.now(),
        }),
        None => Worked::Lost,
    })
}

fn again(inner: &Inner, mut active: Active, pause: Duration) -> Worked {
    // Never later than the deadline, so that giving up is not late.
    let left = active.held.job.deadline.since(inner.now());
    active.held.due = inner.monotonic().saturating_add(pause.min(left));
    active.held.ca = catch_unwind(AssertUnwindSafe(|| active.task.ca().cloned())).unwrap_or_default();
    Worked::Again(active)
}

fn journal_away(inner: &Inner, settings: &QueueSettings, mut active: Active) -> Worked {
    active.journal_failures = active.journal_failures.saturating_add(1);
    let pause = inner.backoff(settings, active.journal_failures, Retry::Later).max(settings.backoff_base.min(Duration::from_millis(50)));
    again(inner, active, pause)
}

async fn finish(inner: &Inner, active: Active, result: Result<Outcome, Failure>) -> Worked {
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
    // Not stored: the upload stores it before it sends anything.
    let blob = inner.seal_outcome(&held.row, RowState::Packed, &outcome);
    if inner.advance(&mut held.row, RowState::Packed, blob).await == Stored::Conflict {
        if outcome.failure().is_none() {
            left_behind(inner, &held, task.as_ref(), OWNED_ELSEWHERE);
        }
        return Worked::Lost;
    }
    drop(task);
    held.due = inner.monotonic();
    Worked::Done(Ready { held, outcome, uploads: 0, failed_calls: 0, repeat: false, since: inner.now() })
}

const OWNED_ELSEWHERE: &str = "another instance has taken the request over";

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
