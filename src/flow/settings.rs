//! What all queue-driven flows let the user set, and what `build()` says about mistakes.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use crate::ports::IntuneQueue;
use crate::terms::Flow;

/// The queue of a flow, and how eagerly the flow works.
///
/// Made by [`QueueSettings::new`] with defaults that suit a tenant of some ten thousand devices; set the fields that shall differ.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct QueueSettings {
    /// Where requests come from and results go to.
    pub queue: Arc<dyn IntuneQueue>,
    /// Time between two polls; the queue's own minimum wins. Default 30 s, for revocation 1 h.
    pub poll_interval: Duration,
    /// Requests worked on at a time. Default 8.
    pub concurrency: usize,
    /// Attempts before a request is reported as failed. Default 5.
    pub max_attempts: u32,
    /// The first backoff is up to this long; each further one up to twice as long. Default 1 s.
    pub backoff_base: Duration,
    /// No backoff is longer. Default 5 min.
    pub backoff_cap: Duration,
    /// Time from download after which a request is given up; the request's own deadline wins when it is earlier. Default 1 h.
    pub deadline: Duration,
    /// Requests asked for in one poll, and results sent in one upload; the queue's own maximum wins. Default 50.
    pub batch: usize,
    /// Time after which a call of the queue is abandoned. Default 60 s.
    pub call_timeout: Duration,
}

impl QueueSettings {
    /// The defaults, with this queue.
    #[must_use]
    pub fn new(queue: Arc<dyn IntuneQueue>) -> Self {
        Self {
            queue,
            poll_interval: Duration::from_secs(30),
            concurrency: 8,
            max_attempts: 5,
            backoff_base: Duration::from_secs(1),
            backoff_cap: Duration::from_secs(300),
            deadline: Duration::from_secs(3_600),
            batch: 50,
            call_timeout: Duration::from_secs(60),
        }
    }

    /// Sets the time between two polls.
    #[must_use]
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// Sets how many requests are worked on at a time.
    #[must_use]
    pub fn with_concurrency(mut self, requests: usize) -> Self {
        self.concurrency = requests;
        self
    }

    /// Sets after how many attempts a request is reported as failed.
    #[must_use]
    pub fn with_max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Sets the bounds of the backoff.
    #[must_use]
    pub fn with_backoff(mut self, base: Duration, cap: Duration) -> Self {
        self.backoff_base = base;
        self.backoff_cap = cap;
        self
    }

    /// Sets the time from download after which a request is given up.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets how many requests are asked for, or results sent, in one call.
    #[must_use]
    pub fn with_batch(mut self, items: usize) -> Self {
        self.batch = items;
        self
    }

    /// What is wrong with the settings of this flow.
    pub(crate) fn findings(&self, flow: Flow) -> Vec<Finding> {
        let capabilities = self.queue.capabilities();
        let mut findings = Vec::new();
        let mut check = |wrong: bool, field: &str, problem: &str, remedy: &str| {
            if wrong {
                findings.push(Finding::new(format!("{flow}.{field}"), problem, remedy));
            }
        };
        check(
            !capabilities.flows.contains(&flow),
            "queue",
            "the queue has no requests for this flow",
            "use a queue that names the flow in `IntuneQueue::capabilities`, or leave the flow out",
        );
        check(capabilities.max_batch == 0, "queue", "the queue takes no items in a batch", "let it declare a `max_batch` of at least 1");
        check(self.concurrency == 0, "concurrency", "no request could ever be worked on", "set at least 1");
        check(self.concurrency > 10_000, "concurrency", "more than 10,000 requests at a time", "set at most 10,000");
        check(self.max_attempts == 0, "max_attempts", "no request could ever be tried", "set at least 1");
        check(self.batch == 0, "batch", "no request could ever be taken", "set at least 1");
        check(self.poll_interval.is_zero(), "poll_interval", "the queue would be polled without a pause", "set more than zero");
        check(self.backoff_base.is_zero(), "backoff_base", "retries would follow without a pause", "set more than zero");
        check(self.backoff_cap < self.backoff_base, "backoff_cap", "it is shorter than `backoff_base`", "set at least `backoff_base`");
        check(self.deadline.is_zero(), "deadline", "every request would be given up at once", "set more than zero");
        check(self.call_timeout.is_zero(), "call_timeout", "every call would be abandoned at once", "set more than zero");
        findings
    }
}

/// One mistake in the configuration, found by `build()`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The setting, such as `pkcs.concurrency` or `provider.aead`.
    pub setting: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    /// A finding from its parts.
    #[must_use]
    pub fn new(setting: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { setting: setting.into(), problem: problem.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.setting, self.problem, self.remedy)
    }
}
