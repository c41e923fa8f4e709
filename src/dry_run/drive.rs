//! Drives one task as the engine does, without journal and upload.

use core::time::Duration;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

use crate::flow::{Context, Job, Step, Task};
use crate::ports::{Failure, Outcome};
use crate::retry::ErrorClass;

/// Most steps of one task: more is a loop in a flow.
const MOST_STEPS: u32 = 64;
/// Attempts at what may work later. The connector's own patience is longer.
const ATTEMPTS: u32 = 3;
/// Between two attempts, and the longest wait that a task gets.
const PAUSE: Duration = Duration::from_secs(1);

/// How a task ended.
#[derive(Debug)]
pub(super) enum End {
    Done(Outcome),
    Failed(Failure),
    /// It may work later.
    Retry(Failure),
    LeftToOthers(String),
}

/// Steps until the task ends.
pub(super) async fn drive(context: &Context, mut task: Box<dyn Task>, mut job: Job) -> End {
    for _ in 0..MOST_STEPS {
        match AssertUnwindSafe(task.step(context, &job)).catch_unwind().await {
            Ok(Step::Commit(_) | Step::Renew) => {}
            Ok(Step::Done(outcome)) => return End::Done(outcome),
            Ok(Step::Failed(failure)) => return End::Failed(failure),
            Ok(Step::LeaveToOthers(why)) => return End::LeftToOthers(why),
            Ok(Step::Retry { failure, .. }) if job.attempt >= ATTEMPTS => return End::Retry(failure),
            Ok(Step::Retry { .. }) => {
                job.attempt += 1;
                context.runtime.sleep(PAUSE).await;
            }
            Ok(Step::Wait(pause) | Step::Pending(pause)) => context.runtime.sleep(pause.min(PAUSE)).await,
            Err(_) => return End::Failed(panicked()),
        }
    }
    End::Failed(Failure::new(ErrorClass::Internal, "the flow made no progress"))
}

/// The failure of a request at which code panicked, as the engine reports it.
pub(super) fn panicked() -> Failure {
    Failure::new(ErrorClass::Internal, "code panicked while it worked on the request; the panic was contained")
}
