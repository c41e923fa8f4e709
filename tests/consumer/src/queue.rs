//! A queue that leases what it delivers and takes health messages.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::ports::{
    Batch, CompleteAnswer, CompleteRequest, ExtendLeaseRequest, HealthMessage, IntuneQueue, Outcome, PortError, QueueCapabilities,
    QueueItem, ReceiveRequest, ResultItem,
};
use intune_connector::terms::Flow;

#[derive(Debug, Default)]
pub struct OwnQueue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: Vec<QueueItem>,
    results: Vec<ResultItem>,
    health: Vec<HealthMessage>,
    polls: u32,
}

impl OwnQueue {
    pub fn push(&self, item: QueueItem) {
        self.with(|state| state.waiting.push(item));
    }

    pub fn results(&self) -> Vec<ResultItem> {
        self.with(|state| state.results.clone())
    }

    /// The only result.
    pub fn outcome(&self) -> Outcome {
        let mut results = self.results();
        assert_eq!(results.len(), 1, "{results:?}");
        results.remove(0).outcome
    }

    pub fn health(&self) -> Vec<HealthMessage> {
        self.with(|state| state.health.clone())
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut State) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl IntuneQueue for OwnQueue {
    fn capabilities(&self) -> QueueCapabilities {
        let mut capabilities = QueueCapabilities::new(vec![Flow::Pkcs, Flow::PkcsRecrypt, Flow::PkcsImport, Flow::Revoke, Flow::Health]);
        capabilities.minimum_interval = Duration::from_millis(1);
        capabilities.lease = Some(Duration::from_secs(120));
        capabilities.max_batch = 10;
        capabilities
    }

    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, PortError> {
        self.with(|state| {
            state.polls += 1;
            let (ours, others): (Vec<_>, Vec<_>) = state.waiting.drain(..).partition(|item| item.meta.flow == request.flow);
            state.waiting = others;
            let (now, later): (Vec<_>, Vec<_>) = ours.into_iter().enumerate().partition(|(number, _)| *number < request.max);
            state.waiting.extend(later.into_iter().map(|(_, item)| item));
            let mut batch = Batch::new(now.into_iter().map(|(_, item)| item).collect());
            batch.next_poll = Some(Duration::from_millis(5));
            Ok(batch)
        })
    }

    async fn complete(&self, request: CompleteRequest) -> Result<Vec<CompleteAnswer>, PortError> {
        self.with(|state| {
            let answer = |result| {
                state.results.push(result);
                CompleteAnswer::Accepted
            };
            Ok(request.results.into_iter().map(answer).collect())
        })
    }

    async fn extend_lease(&self, request: ExtendLeaseRequest) -> Result<(), PortError> {
        match request.requests.is_empty() {
            true => Err(PortError::rejected("there is nothing to extend").with_code("empty")),
            false => Ok(()),
        }
    }

    async fn report_health(&self, message: HealthMessage) -> Result<(), PortError> {
        self.with(|state| state.health.push(message));
        Ok(())
    }
}
