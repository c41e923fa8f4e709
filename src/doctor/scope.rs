//! What every check gets: clock, threads, a deadline, and containment.

use core::future::Future;
use core::pin::pin;
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};

use super::report::{Check, Finding};
use crate::crypto::CryptoProvider;
use crate::limits::Limits;
use crate::ports::Runtime;
use crate::time::Timestamp;

/// The surroundings of a check.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) limits: Limits,
    /// The longest time for one check.
    pub(super) timeout: Duration,
}

impl Scope {
    pub(super) fn now(&self) -> Timestamp {
        self.runtime.now()
    }

    /// Runs one check: what takes too long or panics is a finding of its own, and the others go on.
    pub(super) async fn guard(&self, check: Check, subject: &str, work: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
        let work = pin!(AssertUnwindSafe(work).catch_unwind());
        match select(work, self.runtime.sleep(self.timeout)).await {
            Either::Left((Ok(findings), _)) => findings,
            Either::Left((Err(_), _)) => {
                let what = "code panicked in this check; the panic was contained";
                vec![Finding::error(check, subject, what, "report it, with what the adapter behind it is")]
            }
            Either::Right(((), _)) => {
                let what = format!("there was no answer within {} s", self.timeout.as_secs());
                vec![Finding::error(check, subject, what, "see whether it hangs, or is behind a firewall that drops packets")]
            }
        }
    }

    /// Runs blocking or CPU work on the runtime's threads.
    pub(super) async fn offload<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, &'static str> {
        let (done, result) = futures_channel::oneshot::channel();
        let queued = self.runtime.offload(Box::new(move || {
            let _ = done.send(catch_unwind(AssertUnwindSafe(job)));
        }));
        if queued.is_err() {
            return Err("too much work is waiting on the runtime's threads");
        }
        match result.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_)) | Err(_) => Err("code panicked in this check; the panic was contained"),
        }
    }
}
