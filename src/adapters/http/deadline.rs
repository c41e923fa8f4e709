//! A budget of time over several steps.

use core::future::Future;
use core::pin::pin;
use core::time::Duration;
use std::sync::Arc;

use futures_util::future::{Either, select};

use crate::ports::Runtime;

/// The end of a budget on the runtime's clock that never goes back.
#[derive(Debug, Clone)]
pub(crate) struct Deadline {
    runtime: Arc<dyn Runtime>,
    until: Duration,
}

impl Deadline {
    pub(crate) fn after(runtime: &Arc<dyn Runtime>, budget: Duration) -> Self {
        Self { until: runtime.monotonic().saturating_add(budget), runtime: Arc::clone(runtime) }
    }

    /// What is left; zero when it has passed.
    pub(crate) fn left(&self) -> Duration {
        self.until.saturating_sub(self.runtime.monotonic())
    }

    /// What the future gives; nothing when the deadline comes first, and then the future is dropped.
    pub(crate) async fn within<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        match select(pin!(future), self.runtime.sleep(self.left())).await {
            Either::Left((output, _)) => Some(output),
            Either::Right(_) => None,
        }
    }
}
