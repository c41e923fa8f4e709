//! Performs what `step` decides for a recrypt request.

use std::sync::Arc;

use async_trait::async_trait;

use super::config::{RecryptConfig, RecryptKey};
use super::step::{Action, Answer, Phase, Verdict};
use crate::crypto::{CryptoProvider, SlotName, UnwrapError, UnwrapRequest, unwrap_now};
use crate::event::EventId;
use crate::flow::credential::Credential;
use crate::flow::{Accepted, Context, Finding, FlowEvents, Job, ReplaceCa, Step, Task, Worker};
use crate::ids::CaName;
use crate::limits::Limits;
use crate::message::certificate::Certificate;
use crate::message::enveloped::{CmsError, Opening};
use crate::policy::ApprovedRecipient;
use crate::ports::{Failure, Outcome, Payload, QueueItem, RecryptRequest, RecryptResult};
use crate::retry::ErrorClass;
use crate::secret::SecretBytes;
use crate::terms::Flow;

/// The flow, as the engine drives it.
#[derive(Debug)]
pub(super) struct RecryptWorker {
    config: Arc<RecryptConfig>,
}

impl RecryptWorker {
    pub(super) fn new(config: RecryptConfig) -> Self {
        Self { config: Arc::new(config) }
    }
}

#[async_trait]
impl Worker for RecryptWorker {
    fn flow(&self) -> Flow {
        Flow::PkcsRecrypt
    }

    fn events(&self) -> FlowEvents {
        FlowEvents {
            download_success: EventId::PkcsRecryptDownloadSuccess,
            download_failure: EventId::PkcsRecryptDownloadFailure,
            downloaded_request: EventId::PkcsRecryptDownloadedRequest,
            // There is no event for an attempt (facts, E.3 number 6), and which of 1252 and 1253 it is only the task knows.
            attempt_failed: None,
            failed: None,
            upload_success: EventId::PkcsRecryptUploadSuccess,
            upload_failure: EventId::PkcsRecryptUploadFailure,
            uploaded_request: EventId::PkcsRecryptUploadedRequest,
            request_success: EventId::PkcsRecryptRequestSuccess,
            request_failure: EventId::PkcsRecryptRequestFailure,
        }
    }

    fn required_slots(&self) -> Vec<SlotName> {
        use SlotName::{ContentCipher, Digest, KeyTransport, Random, Verification};
        vec![Random, Digest, ContentCipher, KeyTransport, Verification]
    }

    fn findings(&self, provider: &CryptoProvider) -> Vec<Finding> {
        self.config.findings(provider)
    }

    fn keys_outside_fips(&self) -> Vec<String> {
        self.config.keys_outside_fips()
    }

    fn credentials(&self) -> Vec<Credential> {
        self.config.credentials()
    }

    fn with_authorities(&self, _: ReplaceCa<'_>) -> Arc<dyn Worker> {
        Arc::new(Self { config: Arc::clone(&self.config) })
    }

    fn accept(&self, _context: &Context, item: QueueItem) -> Accepted {
        let Payload::Recrypt(request) = item.payload else {
            return Accepted::Foreign("the payload is not that of a recrypt request".to_owned());
        };
        Accepted::Task(Box::new(RecryptTask {
            config: self.config.clone(),
            request: Arc::from(request),
            phase: Phase::New,
            recipient: None,
            content: None,
        }))
    }
}

#[derive(Debug)]
struct RecryptTask {
    config: Arc<RecryptConfig>,
    request: Arc<RecryptRequest>,
    phase: Phase,
    recipient: Option<ApprovedRecipient>,
    content: Option<Arc<SecretBytes>>,
}

#[async_trait]
impl Task for RecryptTask {
    fn ca(&self) -> Option<&CaName> {
        None
    }

    async fn step(&mut self, context: &Context, job: &Job) -> Step {
        loop {
            let done = match self.phase.next() {
                Action::Approve => self.approve(context, job).await,
                Action::Open => self.open(context, job).await,
                Action::Seal => match self.seal(context, job).await {
                    Ok(outcome) => return Step::Done(outcome),
                    Err(step) => Err(step),
                },
            };
            if let Err(step) = done {
                return step;
            }
        }
    }
}

impl RecryptTask {
    fn judge(&mut self, job: &Job, answer: Answer) -> Verdict {
        let (phase, verdict) = self.phase.on(answer, job.attempt, self.config.settings.max_attempts);
        self.phase = phase;
        verdict
    }

    async fn approve(&mut self, context: &Context, job: &Job) -> Result<(), Step> {
        let (config, request, device) = (self.config.clone(), self.request.clone(), job.meta.device.clone());
        let (provider, limits, now) = (context.provider.clone(), context.limits.clone(), context.runtime.now());
        let decision =
            context.offload(move || config.recipients.check_der(&provider, &limits, &request.recipient, device.as_ref(), now)).await?;
        match decision {
            Ok(recipient) => {
                self.recipient = Some(recipient);
                self.judge(job, Answer::Done);
                Ok(())
            }
            Err(refusal) => {
                job.emit(context, EventId::PolicyRefusal, |event| {
                    event.with_error_class(ErrorClass::Policy).with_message(&refusal.reason).with_detail("rule", refusal.rule.as_str())
                });
                self.judge(job, Answer::Failed);
                Err(fail(context, job, EventId::PkcsRecryptReencryptFailure, Failure::from(&refusal)))
            }
        }
    }

    async fn open(&mut self, context: &Context, job: &Job) -> Result<(), Step> {
        let result = self.decrypt(context).await?;
        let (answer, failure) = match result {
            Ok(content) => {
                self.content = Some(Arc::new(content));
                self.judge(job, Answer::Done);
                job.emit(context, EventId::PkcsRecryptDecryptSuccess, |event| event);
                return Ok(());
            }
            Err(error @ CmsError::KeyUnavailable(_)) => (Answer::KeyUnavailable, Failure::new(ErrorClass::Transient, error.to_string())),
            Err(error @ CmsError::MissingSlot(_)) => (Answer::Failed, Failure::new(ErrorClass::Configuration, error.to_string())),
            Err(error) => (Answer::Failed, Failure::new(ErrorClass::Request, error.to_string())),
        };
        Err(match self.judge(job, answer) {
            Verdict::Retry { last: false } => Step::retry(failure),
            Verdict::Retry { last: true } => {
                tell_failed(context, job, EventId::PkcsRecryptDecryptFailure, &failure);
                Step::retry(failure)
            }
            _ => fail(context, job, EventId::PkcsRecryptDecryptFailure, failure),
        })
    }

    /// Parsing, local keys and the content cipher run on the CPU threads; a remote key is awaited between, and counts as away when it gives
    /// no answer in time.
    async fn decrypt(&self, context: &Context) -> Result<Result<SecretBytes, CmsError>, Step> {
        let (config, request) = (self.config.clone(), self.request.clone());
        let (provider, limits) = (context.provider.clone(), context.limits.clone());
        let opened = context.offload(move || begin(&config.keys, &request, &provider, &limits)).await?;
        let (opening, unwrap, key) = match opened {
            Ok(Begun::Opened(content)) => return Ok(Ok(content)),
            Ok(Begun::Remote { opening, unwrap, key }) => (opening, unwrap, key),
            Err(error) => return Ok(Err(error)),
        };
        let answer = context.within(self.config.key_timeout, key.key.unwrap(&unwrap)).await;
        let content_key = answer.unwrap_or(Err(UnwrapError::Unavailable(None)));
        let provider = context.provider.clone();
        Ok(context.offload(move || opening.finish(content_key, &provider)).await?)
    }

    async fn seal(&mut self, context: &Context, job: &Job) -> Result<Outcome, Step> {
        let (Some(recipient), Some(content)) = (self.recipient.clone(), self.content.clone()) else {
            return Err(Step::Failed(Failure::new(ErrorClass::Internal, "the request took a way that does not exist")));
        };
        let (config, provider) = (self.config.clone(), context.provider.clone());
        let sealed = context.offload(move || recipient.seal(content.secret_bytes(), config.cipher, config.transport, &provider)).await?;
        match sealed {
            Ok(envelope) => {
                self.judge(job, Answer::Done);
                job.emit(context, EventId::PkcsRecryptReencryptSuccess, |event| event);
                Ok(Outcome::Recrypt(RecryptResult::new(envelope)))
            }
            Err(error) => {
                self.judge(job, Answer::Failed);
                let failure = Failure::new(ErrorClass::Internal, error.to_string());
                Err(fail(context, job, EventId::PkcsRecryptReencryptFailure, failure))
            }
        }
    }
}

enum Begun {
    Opened(SecretBytes),
    Remote { opening: Box<Opening>, unwrap: UnwrapRequest, key: RecryptKey },
}

/// CPU work: finds the key that the payload is for, and opens it when the key is at hand.
fn begin(keys: &[RecryptKey], request: &RecryptRequest, provider: &CryptoProvider, limits: &Limits) -> Result<Begun, CmsError> {
    let mut opening = Opening::parse(&request.payload, limits)?;
    let mut last = None;
    for key in keys {
        // Unreadable certificates were reported by `build()`.
        let Ok(certificate) = Certificate::from_der(&key.certificate, limits) else { continue };
        match opening.unwrap_request(&certificate, provider) {
            Ok(unwrap) if key.key.is_local() => {
                let content_key = unwrap_now(&*key.key, &unwrap);
                return opening.finish(content_key, provider).map(Begun::Opened);
            }
            Ok(unwrap) => return Ok(Begun::Remote { opening: Box::new(opening), unwrap, key: key.clone() }),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or(CmsError::NotARecipient))
}

fn tell_failed(context: &Context, job: &Job, event: EventId, failure: &Failure) {
    job.emit(context, event, |event| event.with_error_class(failure.class).with_message(&failure.message));
}

fn fail(context: &Context, job: &Job, event: EventId, failure: Failure) -> Step {
    tell_failed(context, job, event, &failure);
    Step::Failed(failure)
}
