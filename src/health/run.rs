//! Sends one message.

use core::time::Duration;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};

use super::HealthConfig;
use super::step::{Next, after};
use crate::event::EventId;
use crate::flow::{Context, EventScope};
use crate::ports::{HealthMessage, PortError};
use crate::retry::Retry;
use crate::terms::Flow;

/// Longest wait for an answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Sends a message, trying again as configured, and raises 5000, 5001 or 5002. Never fails, never panics.
pub(crate) async fn send(context: &Context, config: &HealthConfig, message: HealthMessage) {
    let scope = format!("health@{}", message.at);
    for attempt in 1..=config.attempts.max(1) {
        let queue = Arc::clone(&config.queue);
        let copy = message.clone();
        let call = Box::pin(AssertUnwindSafe(async move { queue.report_health(copy).await }).catch_unwind());
        let result = match select(call, context.runtime.sleep(CALL_TIMEOUT)).await {
            Either::Left((Ok(result), _)) => result,
            Either::Left((Err(_), _)) => Err(PortError::transient("the adapter panicked in `IntuneQueue::report_health`")),
            Either::Right(_) => Err(PortError::transient("`IntuneQueue::report_health` gave no answer")),
        };
        let next = after(
            match &result {
                Ok(()) => Ok(()),
                Err(error) => Err(error.retry()),
            },
            attempt,
            config.attempts,
        );
        let id = match next {
            Next::Sent => EventId::HealthMessageUploadSuccess,
            Next::Again => EventId::HealthMessageUploadFailedAttempt,
            Next::GiveUp => EventId::HealthMessageUploadFailure,
        };
        let scope = EventScope { flow: Some(Flow::Health), name: &scope, delivery: 1, attempt };
        context.emit(id, scope, |event| match &result {
            Ok(()) => event,
            Err(error) => event.with_error_class(error.class()).with_message(&error.to_string()),
        });
        if next != Next::Again {
            return;
        }
        let asked = match result.map_err(|error| error.retry()) {
            Err(Retry::After(after)) => after,
            _ => Duration::ZERO,
        };
        context.runtime.sleep(config.pause.max(asked)).await;
    }
}
