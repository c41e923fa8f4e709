//! What the user sets.

use core::time::Duration;
use std::sync::Arc;

use crate::flow::Finding;
use crate::ports::IntuneQueue;

/// Sends health messages to a queue.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HealthConfig {
    /// Where they go.
    pub queue: Arc<dyn IntuneQueue>,
    /// Time between two messages. Default 1 h.
    pub interval: Duration,
    /// Tries for one message. Default 3.
    pub attempts: u32,
    /// Time between two tries of one message. Default 30 s.
    pub pause: Duration,
}

impl HealthConfig {
    /// The defaults, with this queue.
    #[must_use]
    pub fn new(queue: Arc<dyn IntuneQueue>) -> Self {
        Self { queue, interval: Duration::from_secs(3_600), attempts: 3, pause: Duration::from_secs(30) }
    }

    /// Sets the time between two messages.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets the tries for one message.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets the time between two tries of one message.
    #[must_use]
    pub fn with_pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    pub(crate) fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.interval.is_zero() {
            findings.push(Finding::new("health.interval", "messages would be sent without a pause", "set more than zero"));
        }
        if self.attempts == 0 {
            findings.push(Finding::new("health.attempts", "no message could ever be sent", "set at least 1"));
        }
        findings
    }
}
