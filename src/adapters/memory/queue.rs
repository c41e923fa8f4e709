//! A queue in memory with a ledger and faults on request.

use core::time::Duration;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::ids::RequestId;
use crate::ports::{
    Batch, CompleteAnswer, CompleteRequest, HealthMessage, IntuneQueue, Outcome, PortError, QueueCapabilities, QueueItem, ReceiveRequest,
    ResultItem,
};
use crate::terms::Flow;

/// A tenant's queue in memory, for tests and demonstrations. Its ledger tells what was delivered, uploaded and accepted, so that what is
/// lost or doubled is judged from outside the connector.
#[derive(Debug)]
pub struct InMemoryQueue {
    capabilities: QueueCapabilities,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<Flow, VecDeque<QueueItem>>,
    delivered: HashMap<(Flow, RequestId), u32>,
    accepted: HashMap<(Flow, RequestId), Outcome>,
    changed: Vec<RequestId>,
    uploads: Vec<ResultItem>,
    health: Vec<HealthMessage>,
    receives: u64,
    fail_receives: VecDeque<PortError>,
    fail_completes: VecDeque<PortError>,
    lose_completes: u32,
    fail_health: VecDeque<PortError>,
    answers: HashMap<RequestId, VecDeque<CompleteAnswer>>,
    next_poll: Option<Duration>,
}

impl Default for InMemoryQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl InMemoryQueue {
    /// Without requests; serves the four queue-driven flows.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capabilities(QueueCapabilities::new(vec![Flow::Pkcs, Flow::PkcsRecrypt, Flow::PkcsImport, Flow::Revoke]))
    }

    /// Without requests, with these capabilities.
    #[must_use]
    pub fn with_capabilities(capabilities: QueueCapabilities) -> Self {
        Self { capabilities, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request. Push an equal one again for a repeated delivery.
    pub fn push(&self, item: QueueItem) {
        self.lock().waiting.entry(item.meta.flow).or_default().push_back(item);
    }

    /// Fault: the next poll fails with this error; several calls queue several failures.
    pub fn fail_next_receive(&self, error: PortError) {
        self.lock().fail_receives.push_back(error);
    }

    /// Fault: the next upload fails with this error and takes nothing.
    pub fn fail_next_complete(&self, error: PortError) {
        self.lock().fail_completes.push_back(error);
    }

    /// Fault: the next `count` uploads are taken, but the answer is lost.
    pub fn lose_next_complete_answers(&self, count: u32) {
        self.lock().lose_completes += count;
    }

    /// Fault: the next health message fails with this error.
    pub fn fail_next_health(&self, error: PortError) {
        self.lock().fail_health.push_back(error);
    }

    /// Fault: the next upload for this request gets this answer instead of being judged; several calls queue several answers.
    pub fn answer_next(&self, request: RequestId, answer: CompleteAnswer) {
        self.lock().answers.entry(request).or_default().push_back(answer);
    }

    /// Names this time in each batch as the earliest for the next poll.
    pub fn set_next_poll(&self, after: Option<Duration>) {
        self.lock().next_poll = after;
    }

    /// Ledger: requests not yet delivered.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().waiting.values().map(VecDeque::len).sum()
    }

    /// Ledger: how often each request was delivered.
    #[must_use]
    pub fn deliveries(&self) -> HashMap<(Flow, RequestId), u32> {
        self.lock().delivered.clone()
    }

    /// Ledger: requests that were delivered and have no accepted result.
    #[must_use]
    pub fn unanswered(&self) -> Vec<(Flow, RequestId)> {
        let state = self.lock();
        let mut open: Vec<_> = state.delivered.keys().filter(|key| !state.accepted.contains_key(*key)).cloned().collect();
        open.sort();
        open
    }

    /// Ledger: the first accepted result of each request; the last one where the one before made the service offer the request again.
    #[must_use]
    pub fn accepted(&self) -> HashMap<(Flow, RequestId), Outcome> {
        self.lock().accepted.clone()
    }

    /// Ledger: the accepted result of one request.
    #[must_use]
    pub fn result_of(&self, flow: Flow, request: &RequestId) -> Option<Outcome> {
        self.lock().accepted.get(&(flow, request.clone())).cloned()
    }

    /// Ledger: every uploaded result in order, refused and repeated ones too.
    #[must_use]
    pub fn uploads(&self) -> Vec<ResultItem> {
        self.lock().uploads.clone()
    }

    /// Ledger: requests for which another result was uploaded than the accepted one.
    #[must_use]
    pub fn changed_results(&self) -> Vec<RequestId> {
        self.lock().changed.clone()
    }

    /// Ledger: how often it was polled.
    #[must_use]
    pub fn receives(&self) -> u64 {
        self.lock().receives
    }

    /// Ledger: the health messages that were taken.
    #[must_use]
    pub fn health_messages(&self) -> Vec<HealthMessage> {
        self.lock().health.clone()
    }
}

impl State {
    fn judge(&mut self, flow: Flow, result: ResultItem) -> CompleteAnswer {
        self.uploads.push(result.clone());
        let ResultItem { meta, outcome } = result;
        if let Some(answer) = self.answers.get_mut(&meta.id).and_then(VecDeque::pop_front) {
            return answer;
        }
        let key = (flow, meta.id);
        if !self.delivered.contains_key(&key) {
            return CompleteAnswer::Refused("no such request was delivered".to_owned());
        }
        match self.accepted.get(&key) {
            Some(accepted) if *accepted != outcome && !accepted.is_offered_again() => {
                self.changed.push(key.1);
                CompleteAnswer::Refused("another result was accepted before".to_owned())
            }
            Some(accepted) if *accepted == outcome => CompleteAnswer::Accepted,
            _ => {
                self.accepted.insert(key, outcome);
                CompleteAnswer::Accepted
            }
        }
    }
}

#[async_trait]
impl IntuneQueue for InMemoryQueue {
    fn capabilities(&self) -> QueueCapabilities {
        self.capabilities.clone()
    }

    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, PortError> {
        let mut state = self.lock();
        state.receives += 1;
        if let Some(error) = state.fail_receives.pop_front() {
            return Err(error);
        }
        let waiting = state.waiting.entry(request.flow).or_default();
        let count = waiting.len().min(request.max).min(self.capabilities.max_batch);
        let items: Vec<QueueItem> = waiting.drain(..count).collect();
        for item in &items {
            *state.delivered.entry((item.meta.flow, item.meta.id.clone())).or_insert(0) += 1;
        }
        let mut batch = Batch::new(items);
        batch.next_poll = state.next_poll;
        Ok(batch)
    }

    async fn complete(&self, request: CompleteRequest) -> Result<Vec<CompleteAnswer>, PortError> {
        let mut state = self.lock();
        if let Some(error) = state.fail_completes.pop_front() {
            return Err(error);
        }
        let answers = request.results.into_iter().map(|result| state.judge(request.flow, result)).collect();
        if state.lose_completes > 0 {
            state.lose_completes -= 1;
            return Err(PortError::transient("the answer to the upload was lost"));
        }
        Ok(answers)
    }

    async fn report_health(&self, message: HealthMessage) -> Result<(), PortError> {
        let mut state = self.lock();
        match state.fail_health.pop_front() {
            Some(error) => Err(error),
            None => {
                state.health.push(message);
                Ok(())
            }
        }
    }
}
