//! Work that comes to its end when nobody waits for it any more.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::ScepTask;

/// Drives the work itself; dropped before its end, it hands the rest to a task. So the usual request needs no change of threads.
pub(super) struct Finish<T: Send + 'static> {
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    spawn: Arc<dyn Fn(ScepTask) + Send + Sync>,
}

impl<T: Send + 'static> Finish<T> {
    pub(super) fn new(work: impl Future<Output = T> + Send + 'static, spawn: Arc<dyn Fn(ScepTask) + Send + Sync>) -> Self {
        Self { work: Some(Box::pin(work)), spawn }
    }
}

impl<T: Send + 'static> Future for Finish<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // Work that panics is not put back.
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        match work.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(output),
            Poll::Pending => {
                self.work = Some(work);
                Poll::Pending
            }
        }
    }
}

impl<T: Send + 'static> Drop for Finish<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            let rest = Box::pin(async move {
                drop(work.await);
            });
            // Runtimes that are going down may panic here; what is lost is left to `Service::maintain`.
            let _ = catch_unwind(AssertUnwindSafe(|| (self.spawn)(rest)));
        }
    }
}
