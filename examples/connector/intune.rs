//! The far side, as the example sees it: in memory, or over HTTP.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use intune_connector::adapters::{CallbackValidator, InMemoryQueue};
use intune_connector::ids::RequestId;
use intune_connector::ports::{
    ChallengeValidator, CompleteAnswer, FailureNotification, IntuneQueue, Outcome, PortError, QueueItem, ScepNotifier, SuccessNotification,
    Verdict, Vouched,
};
use intune_connector::terms::Flow;

use crate::device::Checked;

/// What gives out work, takes results, and knows challenges. Its ledger is what the run is judged by.
pub trait Intune {
    /// Adds a request.
    fn push(&self, item: QueueItem) -> Checked<()>;
    /// Lets these requests' results be refused at first, the polls and uploads fail, and this request come twice.
    fn arrange_faults(&self, refused_at_first: &[&str], again: QueueItem) -> Checked<()>;
    /// Where the connector takes requests of that flow.
    fn queue(&self, flow: Flow) -> Arc<dyn IntuneQueue>;
    fn accepted(&self) -> HashMap<(Flow, RequestId), Outcome>;
    fn changed_results(&self) -> Vec<RequestId>;
    /// A challenge for the device of that name.
    fn challenge(&self, device: &str) -> Checked<String>;
    fn validator(&self) -> Arc<dyn ChallengeValidator>;
    fn notifier(&self) -> Arc<dyn ScepNotifier>;
    /// Thumbprints of the certificates that it was told of.
    fn notified(&self) -> Vec<String>;
    /// What it saw, for the report.
    fn summary(&self) -> String;
}

/// Everything in this process, without HTTP.
pub struct InMemory {
    queue: Arc<InMemoryQueue>,
    notifications: Arc<Notifications>,
}

/// Counts what it is told.
#[derive(Debug, Default)]
struct Notifications {
    certificates: Mutex<Vec<String>>,
    failures: AtomicUsize,
}

#[async_trait]
impl ScepNotifier for Notifications {
    async fn success(&self, notification: SuccessNotification<'_>) -> Result<(), PortError> {
        let mut told = self.certificates.lock().map_err(|_| PortError::transient("the list is poisoned"))?;
        told.push(notification.thumbprint.to_string());
        Ok(())
    }

    async fn failure(&self, _: FailureNotification<'_>) -> Result<(), PortError> {
        self.failures.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl InMemory {
    pub fn new() -> Self {
        Self { queue: Arc::new(InMemoryQueue::new()), notifications: Arc::default() }
    }
}

impl Intune for InMemory {
    fn push(&self, item: QueueItem) -> Checked<()> {
        self.queue.push(item);
        Ok(())
    }

    fn arrange_faults(&self, refused_at_first: &[&str], again: QueueItem) -> Checked<()> {
        for id in refused_at_first {
            self.queue.answer_next(id.parse()?, CompleteAnswer::TryAgain("the service is busy".into()));
        }
        self.queue.fail_next_receive(PortError::transient("the connection was reset"));
        self.queue.lose_next_complete_answers(1);
        self.queue.push(again);
        Ok(())
    }

    fn queue(&self, _: Flow) -> Arc<dyn IntuneQueue> {
        self.queue.clone()
    }

    fn accepted(&self) -> HashMap<(Flow, RequestId), Outcome> {
        self.queue.accepted()
    }

    fn changed_results(&self) -> Vec<RequestId> {
        self.queue.changed_results()
    }

    fn challenge(&self, device: &str) -> Checked<String> {
        Ok(format!("made for {device}"))
    }

    fn validator(&self) -> Arc<dyn ChallengeValidator> {
        // As Intune does: the challenge was made for one device and one profile; whoever knows it gets those names and no others.
        Arc::new(CallbackValidator::new(|csr, _| {
            let expected = csr.subject().common_name().map(|name| format!("made for {name}")).unwrap_or_default();
            if csr.challenge_password().is_some_and(|given| given.secret_bytes() == expected.as_bytes()) {
                let mut vouched = Vouched::default();
                vouched.names_checked = true;
                Ok(Verdict::Accepted(vouched))
            } else {
                Ok(Verdict::Rejected {
                    code: "ChallengeDecryptionError".into(),
                    description: "the challenge is not for this device".into(),
                })
            }
        }))
    }

    fn notifier(&self) -> Arc<dyn ScepNotifier> {
        self.notifications.clone()
    }

    fn notified(&self) -> Vec<String> {
        self.notifications.certificates.lock().map(|told| told.clone()).unwrap_or_default()
    }

    fn summary(&self) -> String {
        "Intune was simulated in memory; with `--features sim` it is a server, and every call goes over HTTP.".to_owned()
    }
}
