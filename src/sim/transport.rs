//! The front in process: an [`HttpTransport`] without a network, on the runtime's clock.

use core::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::{SimOutcome, SimulatedIntune};
use crate::adapters::http::{HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpTransport};

impl SimulatedIntune {
    /// Carries requests straight into the simulator. Delays are waited for on the runtime's clock, and no longer than the request's time-out.
    #[must_use]
    pub fn transport(&self) -> Arc<dyn HttpTransport> {
        Arc::new(InProcess(self.clone()))
    }
}

struct InProcess(SimulatedIntune);

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InProcess(SimulatedIntune)")
    }
}

#[async_trait]
impl HttpTransport for InProcess {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = self.0.answer(&request);
        let wait = answer.delay.min(request.timeout);
        if !wait.is_zero() {
            self.0.inner.runtime.sleep(wait).await;
        }
        let failed = |kind, text: &str| Err(HttpError::new(kind, format!("{text} (simulated)")));
        if answer.delay > request.timeout {
            return failed(HttpErrorKind::Timeout, "there was no answer in time");
        }
        match answer.outcome {
            SimOutcome::Respond(response) if response.body.len() > request.max_answer => {
                failed(HttpErrorKind::TooLarge, "the answer is longer than was allowed")
            }
            SimOutcome::Respond(response) => Ok(response),
            SimOutcome::TruncateAfter(..) => failed(HttpErrorKind::Closed, "the connection ended in the middle of the answer"),
            SimOutcome::Close => failed(HttpErrorKind::Closed, "the connection ended before the answer"),
            SimOutcome::UnknownHost => failed(HttpErrorKind::Dns, "there is no such host"),
        }
    }
}
