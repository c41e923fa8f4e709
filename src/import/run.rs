//! The import flow in motion.

use std::sync::Arc;

use async_trait::async_trait;

use super::config::ImportConfig;
use super::step::{self, Accepts, Attempt, MOST_KEYS, Opened, Verdict};
use crate::crypto::{CryptoProvider, DecryptionKey, SlotName, UnwrapError, unwrap_now};
use crate::event::EventId;
use crate::flow::{Accepted, Context, Finding, FlowEvents, Job, ReplaceCa, Step, Task, Worker};
use crate::ids::CaName;
use crate::limits::Limits;
use crate::message::enveloped::{CmsError, EnvelopeBuilder};
use crate::message::pfx::{self, OpenedPfx};
use crate::message::reencrypt::{LegacyPadding, PasswordOpening};
use crate::policy::{ApprovedRecipient, PolicyRefusal};
use crate::ports::{Failure, ImportPayload, ImportRequest, ImportResult, Outcome, Payload, PortError, QueueItem};
use crate::retry::ErrorClass;
use crate::secret::{Password, SecretBytes};
use crate::terms::Flow;

/// Makes tasks of import requests.
#[derive(Debug)]
pub(super) struct ImportWorker {
    config: Arc<ImportConfig>,
}

impl ImportWorker {
    pub(super) fn new(config: ImportConfig) -> Self {
        Self { config: Arc::new(config) }
    }
}

#[async_trait]
impl Worker for ImportWorker {
    fn flow(&self) -> Flow {
        Flow::PkcsImport
    }

    fn events(&self) -> FlowEvents {
        FlowEvents {
            // 2202 and 2203 instead of 2002 and 2003, as documented.
            download_success: EventId::PkcsImportDownloadSuccess,
            download_failure: EventId::PkcsImportDownloadFailure,
            downloaded_request: EventId::PkcsImportDownloadedRequest,
            attempt_failed: Some(EventId::PkcsImportReencryptFailedAttempt),
            failed: Some(EventId::PkcsImportReencryptFailure),
            upload_success: EventId::PkcsImportUploadSuccess,
            upload_failure: EventId::PkcsImportUploadFailure,
            uploaded_request: EventId::PkcsImportUploadedRequest,
            request_success: EventId::PkcsImportRequestSuccess,
            request_failure: EventId::PkcsImportRequestFailure,
        }
    }

    fn required_slots(&self) -> Vec<SlotName> {
        use SlotName::{ContentCipher, Digest, Hmac, KeyTransport, Pbkdf2, Random, Verification};
        vec![Random, Digest, Hmac, Pbkdf2, ContentCipher, KeyTransport, Verification]
    }

    fn findings(&self, provider: &CryptoProvider) -> Vec<Finding> {
        self.config.findings(provider)
    }

    fn with_authorities(&self, _: ReplaceCa<'_>) -> Arc<dyn Worker> {
        Arc::new(Self { config: Arc::clone(&self.config) })
    }

    fn accept(&self, _: &Context, item: QueueItem) -> Accepted {
        match item.payload {
            Payload::Import(request) => {
                Accepted::Task(Box::new(ImportTask { config: Arc::clone(&self.config), request: Arc::new(*request) }))
            }
            _ => Accepted::Foreign("it is no import request".to_owned()),
        }
    }
}

/// The work on one request. Nothing is kept between attempts: each decrypts anew, so no password waits in memory.
#[derive(Debug)]
struct ImportTask {
    config: Arc<ImportConfig>,
    request: Arc<ImportRequest>,
}

impl ImportTask {
    /// Asks the policy, off the async threads since it verifies signatures.
    async fn approve(&self, context: &Context, job: &Job) -> Result<ApprovedRecipient, Step> {
        let (config, request, provider) = (Arc::clone(&self.config), Arc::clone(&self.request), Arc::clone(&context.provider));
        let (limits, device, now) = (context.limits.clone(), job.meta.device.clone(), context.runtime.now());
        let check = move || config.recipients.check_der(&provider, &limits, &request.recipient, device.as_ref(), now);
        context.offload(check).await?.map_err(|refusal| self.refused(context, job, &refusal))
    }

    fn refused(&self, context: &Context, job: &Job, refusal: &PolicyRefusal) -> Step {
        let failure = Failure::from(refusal);
        job.emit(context, EventId::PolicyRefusal, |event| {
            event.with_message(&refusal.reason).with_error_class(ErrorClass::Policy).with_detail("rule", refusal.rule.as_str())
        });
        Step::Failed(failure)
    }

    /// Looks at the file's outermost structure, before any key is used.
    async fn inspect(&self, context: &Context) -> Result<(), Step> {
        let (request, limits) = (Arc::clone(&self.request), context.limits.clone());
        let has_mac = context.offload(move || pfx::has_mac(request.pfx.secret_bytes(), &limits)).await?;
        step::file(has_mac, self.config.accepts).map_err(Step::Failed)
    }

    /// Decrypts the password with each key until one opens the PFX.
    async fn decrypt(&self, context: &Context, legacy: LegacyPadding) -> Result<Password, Step> {
        let store = self.config.keys.find(&self.request.key_name);
        let keys = context.within(self.config.key_timeout, store).await;
        let keys = keys.unwrap_or_else(|| Err(PortError::transient("the key store did not answer in time")));
        let keys = keys.map_err(|error| Step::from_port_error(&error))?;
        let mut attempts = Vec::new();
        let mut good = None;
        for key in keys.into_iter().take(MOST_KEYS) {
            let (attempt, password) = self.try_key(context, key, legacy).await?;
            let is_good = matches!(attempt, Attempt::Good);
            attempts.push(attempt);
            if is_good {
                good = password;
                break;
            }
        }
        match (step::conclude(attempts), good) {
            (Verdict::Good, Some(password)) => Ok(password),
            (Verdict::Good, None) => Err(Step::Failed(Failure::new(ErrorClass::Internal, "a good key gave no password"))),
            (Verdict::Retry(failure), _) => Err(Step::retry(failure)),
            (Verdict::Fail(failure), _) => Err(Step::Failed(failure)),
        }
    }

    /// One key: decrypt, then open the PFX with the password, or with a random one when it was not decrypted.
    async fn try_key(
        &self,
        context: &Context,
        key: Arc<dyn DecryptionKey>,
        legacy: LegacyPadding,
    ) -> Result<(Attempt, Option<Password>), Step> {
        if let Err(error) = context.provider.permits_key(key.fips()) {
            return Ok((Attempt::Failed(usage(&CmsError::from(error))), None));
        }
        // Drawn before anything is decrypted.
        let opening = PasswordOpening::new(self.request.encrypted_password.clone(), self.request.padding, legacy, &context.provider)
            .map_err(|error| Step::Failed(usage(&error)))?;
        let request = opening.unwrap_request().clone();
        let remote = if key.is_local() {
            None
        } else {
            let answer = context.within(self.config.key_timeout, key.unwrap(&request)).await;
            Some(answer.unwrap_or(Err(UnwrapError::Unavailable(None))))
        };
        let job = OpenJob {
            provider: Arc::clone(&context.provider),
            limits: context.limits.clone(),
            import: Arc::clone(&self.request),
            accepts: self.config.accepts,
        };
        let work = move || {
            let unwrapped = remote.unwrap_or_else(|| unwrap_now(&*key, &request));
            job.open(opening, unwrapped)
        };
        Ok(context.offload(work).await?)
    }

    /// Encrypts to the device.
    async fn encrypt(&self, context: &Context, recipient: ApprovedRecipient, password: Password) -> Result<ImportResult, Step> {
        let (config, request, provider) = (Arc::clone(&self.config), Arc::clone(&self.request), Arc::clone(&context.provider));
        let work = move || -> Result<ImportResult, Failure> {
            let envelope =
                EnvelopeBuilder::new(config.cipher, config.transport).legacy_ciphers(config.legacy).recipient(recipient.certificate());
            let seal = |content: &[u8]| envelope.build(content, &provider).map_err(|error| usage(&error));
            let password_envelope = seal(password.secret_bytes())?;
            let pfx_envelope = match config.payload {
                ImportPayload::Password => None,
                ImportPayload::Pfx => Some(seal(request.pfx.secret_bytes())?),
            };
            Ok(ImportResult::new(config.payload, password_envelope, pfx_envelope))
        };
        context.offload(work).await?.map_err(Step::Failed)
    }

    async fn run(&self, context: &Context, job: &Job) -> Result<ImportResult, Step> {
        let legacy = step::padding(self.request.padding, self.config.accepts).map_err(|failure| {
            job.emit(context, EventId::PolicyRefusal, |event| event.with_message(&failure.message).with_error_class(ErrorClass::Policy));
            Step::Failed(failure)
        })?;
        let recipient = self.approve(context, job).await?;
        self.inspect(context).await?;
        let password = self.decrypt(context, legacy).await?;
        self.encrypt(context, recipient, password).await
    }
}

/// What is needed to open the PFX on a CPU thread.
struct OpenJob {
    provider: Arc<CryptoProvider>,
    limits: Limits,
    import: Arc<ImportRequest>,
    accepts: Accepts,
}

impl OpenJob {
    fn open(&self, opening: PasswordOpening, unwrapped: Result<SecretBytes, UnwrapError>) -> (Attempt, Option<Password>) {
        if matches!(unwrapped, Err(UnwrapError::Unavailable(_))) {
            return (Attempt::Unavailable, None);
        }
        let decrypted = unwrapped.is_ok();
        let password = match opening.finish(unwrapped) {
            Ok(password) => password.into_password(),
            Err(error) => return (Attempt::Failed(usage(&error)), None),
        };
        let opened = match pfx::open(self.import.pfx.secret_bytes(), &password, &self.provider, &self.limits) {
            Ok(OpenedPfx::MacVerified(_)) => Opened::MacVerified,
            Ok(_) => Opened::Unauthenticated,
            Err(error) => Opened::Not(error),
        };
        (step::judge(opened, decrypted, self.accepts), Some(password))
    }
}

/// A failure of this side, not of the request.
fn usage(error: &CmsError) -> Failure {
    Failure::new(ErrorClass::Configuration, error.to_string())
}

#[async_trait]
impl Task for ImportTask {
    fn ca(&self) -> Option<&CaName> {
        None
    }

    async fn step(&mut self, context: &Context, job: &Job) -> Step {
        let started = context.runtime.monotonic();
        match self.run(context, job).await {
            Ok(result) => {
                job.emit(context, EventId::PkcsImportReencryptSuccess, |event| {
                    event
                        .with_duration(context.runtime.monotonic().saturating_sub(started))
                        .with_detail("provider", &self.request.key_name.provider)
                        .with_detail("key", &self.request.key_name.key)
                });
                Step::Done(Outcome::Import(result))
            }
            Err(step) => step,
        }
    }
}
