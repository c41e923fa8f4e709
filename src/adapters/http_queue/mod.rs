//! An `IntuneQueue` over an open HTTP protocol.
//!
//! **The protocol is this crate's own, and not Microsoft's.** How Microsoft's connector asks Intune for PKCS, recrypt, import and health
//! work is not public, so no one but Microsoft can serve that from Intune itself. This is for a back end of your own, and for the
//! simulator: it is documented in `docs/open-queue.md` and in `docs/open-queue.openapi.json`, so that the other half can be written in any
//! language.
//!
//! Delivery is at least once and nothing is lost by a lost answer: a `receive` whose answer did not come is repeated with the same delivery
//! token and brings the same requests at once; uploads are idempotent. Each HTTP call has an id of its own and the time, so that the queue
//! takes it once.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use intune_connector::adapters::http::HttpTransport;
//! # use intune_connector::adapters::http_queue::{HttpQueue, HttpQueueConfig, QueueAuthentication, StaticToken};
//! # use intune_connector::{crypto::CryptoProvider, ports::{PortError, Runtime}, secret::Password};
//! # async fn example(
//! #     secret: Password, transport: Arc<dyn HttpTransport>, runtime: Arc<dyn Runtime>, provider: CryptoProvider,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let token = Arc::new(StaticToken::new(secret)?);
//! let authentication = QueueAuthentication::bearer(token, "");
//! let config = HttpQueueConfig::new("https://queue.contoso.example", "contoso.example".parse()?, authentication);
//! let queue = Arc::new(HttpQueue::connect(config, transport, runtime, provider).await?); // it is asked for its capabilities
//! # Ok(())
//! # }
//! ```

mod answer;
mod call;
mod config;
mod token;
pub(crate) mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use self::answer::unreadable;
use self::call::{Caller, SMALL_ANSWER};
use self::wire::{ExtendLease, MAX_BATCH, Operation, Problem, Receive};
use super::http::{HttpResponse, HttpTransport, guid};
use crate::crypto::CryptoProvider;
use crate::ports::{
    Batch, CompleteAnswer, CompleteRequest, ExtendLeaseRequest, HealthMessage, IntuneQueue, PortError, QueueCapabilities, ReceiveRequest,
    ResultItem, Runtime,
};
use crate::secret::SecretBytes;
use crate::terms::Flow;

pub use config::{HttpQueueConfig, QueueAuthentication};
pub use token::StaticToken;

/// So many deliveries of one flow are asked for again.
const MOST_PENDING: usize = 8;

/// A queue that speaks the open protocol.
///
/// Security duties: the base URL decides who gets results and tokens, so take it from configuration that only the operator writes; the
/// transport verifies the queue's certificate. With [`QueueAuthentication::MutualTls`] the transport presents the client certificate.
#[derive(Debug)]
pub struct HttpQueue {
    caller: Caller,
    capabilities: QueueCapabilities,
    /// Deliveries whose answer did not come, by flow.
    pending: Mutex<BTreeMap<Flow, Vec<String>>>,
}

impl HttpQueue {
    /// Asks the queue for its capabilities. They stay: connect anew when the queue's change.
    ///
    /// # Errors
    /// `Misconfigured` for wrong settings or a refused credential, `Transient` when the queue cannot be reached or is none.
    pub async fn connect(
        config: HttpQueueConfig,
        transport: Arc<dyn HttpTransport>,
        runtime: Arc<dyn Runtime>,
        provider: CryptoProvider,
    ) -> Result<Self, PortError> {
        let caller = Caller { settings: config.checked()?, transport, runtime, provider };
        let response = caller.call(Operation::Capabilities, None, SMALL_ANSWER).await?;
        let capabilities = read(Operation::Capabilities, &response, wire::read_capabilities)?;
        Ok(Self { caller, capabilities, pending: Mutex::default() })
    }

    /// With capabilities that are known; nothing is asked yet, so the queue need not be there. `max_batch` is at most 1,000.
    ///
    /// # Errors
    /// `Misconfigured` for wrong settings.
    pub fn with_capabilities(
        config: HttpQueueConfig,
        transport: Arc<dyn HttpTransport>,
        runtime: Arc<dyn Runtime>,
        provider: CryptoProvider,
        mut capabilities: QueueCapabilities,
    ) -> Result<Self, PortError> {
        capabilities.max_batch = capabilities.max_batch.min(MAX_BATCH);
        let caller = Caller { settings: config.checked()?, transport, runtime, provider };
        Ok(Self { caller, capabilities, pending: Mutex::default() })
    }

    fn pending(&self) -> MutexGuard<'_, BTreeMap<Flow, Vec<String>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token of a delivery that did not come, or a new one.
    fn delivery(&self, flow: Flow) -> Result<Delivery<'_>, PortError> {
        let waiting = self.pending().get_mut(&flow).and_then(Vec::pop);
        let token = waiting.map_or_else(|| guid(&self.caller.provider), Ok)?;
        Ok(Delivery { queue: self, flow, token: Some(token) })
    }

    /// Uploads a part; `None` when it is too large for the queue.
    async fn upload(&self, request: &CompleteRequest, part: &[ResultItem]) -> Result<Option<Vec<CompleteAnswer>>, PortError> {
        let config = &self.caller.settings.config;
        let body = written(wire::write_complete(&config.tenant, request.flow, &request.instance, part))?;
        if body.len() > config.max_upload_bytes {
            return Ok(None);
        }
        let response = match self.caller.call(Operation::Complete, Some(&body), SMALL_ANSWER).await {
            Err(error) if error.call_too_large => return Ok(None),
            response => response?,
        };
        let answers = read(Operation::Complete, &response, wire::read_answers)?;
        if answers.len() == part.len() {
            Ok(Some(answers))
        } else {
            let problem = Problem(format!("it has {} answers to {} results", answers.len(), part.len()));
            Err(unreadable(Operation::Complete, &response, &problem))
        }
    }
}

/// A delivery that is under way: asked for again unless it came.
struct Delivery<'a> {
    queue: &'a HttpQueue,
    flow: Flow,
    token: Option<String>,
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            let mut pending = self.queue.pending();
            let waiting = pending.entry(self.flow).or_default();
            if waiting.len() < MOST_PENDING {
                waiting.push(token);
            }
        }
    }
}

fn written(body: Result<SecretBytes, Problem>) -> Result<SecretBytes, PortError> {
    body.map_err(|problem| PortError::rejected(format!("the call to the open queue could not be written: {problem}")))
}

fn read<T>(operation: Operation, response: &HttpResponse, reader: impl FnOnce(&[u8]) -> Result<T, Problem>) -> Result<T, PortError> {
    reader(response.body.secret_bytes()).map_err(|problem| unreadable(operation, response, &problem))
}

#[async_trait]
impl IntuneQueue for HttpQueue {
    fn capabilities(&self) -> QueueCapabilities {
        self.capabilities.clone()
    }

    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, PortError> {
        if request.max == 0 {
            return Ok(Batch::default());
        }
        let config = &self.caller.settings.config;
        let mut delivery = self.delivery(request.flow)?;
        let mut asked = Receive {
            tenant: config.tenant.clone(),
            flow: request.flow,
            instance: request.instance,
            max: request.max.min(self.capabilities.max_batch),
            max_bytes: config.max_batch_bytes,
            delivery: delivery.token.clone().unwrap_or_default(),
        };
        let response = loop {
            let body = written(asked.write())?;
            match self.caller.call(Operation::Receive, Some(&body), config.max_batch_bytes).await {
                // It is told how much we read, and does not look at it: fewer requests are smaller.
                Err(error) if error.answer_too_large && asked.max > 1 => asked.max /= 2,
                response => break response?,
            }
        };
        let mut batch = read(Operation::Receive, &response, |body| wire::read_batch(body, &config.tenant, request.flow))?;
        // What is too much comes again when its lease ends.
        batch.items.truncate(asked.max);
        delivery.token = None;
        Ok(batch)
    }

    async fn complete(&self, request: CompleteRequest) -> Result<Vec<CompleteAnswer>, PortError> {
        let mut answers = Vec::with_capacity(request.results.len());
        let mut parts: Vec<&[ResultItem]> = request.results.chunks(self.capabilities.max_batch.max(1)).rev().collect();
        while let Some(part) = parts.pop() {
            match self.upload(&request, part).await? {
                Some(more) => answers.extend(more),
                None if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                None => answers.push(CompleteAnswer::Refused("the result is larger than the queue takes".to_owned())),
            }
        }
        Ok(answers)
    }

    async fn extend_lease(&self, request: ExtendLeaseRequest) -> Result<(), PortError> {
        let mut lost = 0;
        for part in request.requests.chunks(self.capabilities.max_batch.max(1)) {
            let asked = ExtendLease {
                tenant: self.caller.settings.config.tenant.clone(),
                flow: request.flow,
                instance: request.instance.clone(),
                requests: part.to_vec(),
            };
            let response = self.caller.call(Operation::ExtendLease, Some(&written(asked.write())?), SMALL_ANSWER).await?;
            lost += read(Operation::ExtendLease, &response, wire::read_lost)?.len();
        }
        if lost == 0 {
            Ok(())
        } else {
            let message = format!("the leases of {lost} requests of the flow {} have ended; others may work on them as well", request.flow);
            Err(PortError::rejected(message))
        }
    }

    async fn report_health(&self, message: HealthMessage) -> Result<(), PortError> {
        let body = written(wire::write_health(&message))?;
        self.caller.call(Operation::Health, Some(&body), SMALL_ANSWER).await?;
        Ok(())
    }
}
