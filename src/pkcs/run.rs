//! Performs what `step` decides for a PKCS request.

use core::future::Future;
use core::time::Duration;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use zeroize::Zeroizing;

use super::config::{Authority, PkcsConfig};
use super::kept::{self, Made, Suspect};
use super::pool::KeyPool;
use super::step::{Abilities, Action, Answer, Machine, Phase, Verdict};
use crate::crypto::{ContentCipherAlgorithm, CryptoError, CryptoProvider, DigestKdf, SignatureAlgorithm, SlotName, sign_now};
use crate::event::EventId;
use crate::flow::ca_gate::Visitor;
use crate::flow::record::RecordReader;
use crate::flow::{Accepted, Context, Finding, FlowEvents, Job, Kept, ReplaceCa, Resumed, Step, Suspicion, Swept, Task, Worker};
use crate::ids::{CaName, IdempotencyKey};
use crate::limits::Limits;
use crate::message::certificate::Certificate;
use crate::message::csr::{Csr, CsrBuilder};
use crate::message::name::Name;
use crate::message::pfx::PfxBuilder;
use crate::policy::post_issue::{self, Checked, Expected, Mismatch, PostIssueError};
use crate::policy::{ApprovedRecipient, PolicyError};
use crate::ports::{
    CaCapabilities, CertificateAuthority, Failure, FindAnswer, FindRequest, IssueAnswer, IssueRequest, Issued, Outcome, Payload,
    PkcsRequest, PkcsResult, PortError, PortErrorKind, QueueItem, RequestMeta, RevokeCall, StatusRequest,
};
use crate::retry::{Effect, ErrorClass, Retry};
use crate::secret::{Password, SecretBytes};
use crate::terms::{Flow, KeyAlgorithm, PfxProfile, RevocationReason};
use crate::time::Timestamp;

/// The CA name that stands for DigiCert (facts, E.2: events 1032 and 3032).
const DIGICERT: &str = "Symantec";
/// Devices may refuse certificates that are valid for less (facts, D.6).
const SHORTEST_USUAL_VALIDITY: Duration = Duration::from_secs(5 * 86_400);

/// The flow, as the engine drives it.
#[derive(Debug)]
pub(super) struct PkcsWorker {
    config: Arc<PkcsConfig>,
    pool: Arc<KeyPool>,
}

impl PkcsWorker {
    pub(super) fn new(config: PkcsConfig) -> Self {
        Self { pool: Arc::new(KeyPool::new(config.key_pool.clone())), config: Arc::new(config) }
    }
}

#[async_trait]
impl Worker for PkcsWorker {
    fn flow(&self) -> Flow {
        Flow::Pkcs
    }

    fn events(&self) -> FlowEvents {
        FlowEvents {
            download_success: EventId::PkcsDownloadSuccess,
            download_failure: EventId::PkcsDownloadFailure,
            downloaded_request: EventId::PkcsDownloadedRequest,
            attempt_failed: Some(EventId::PkcsIssuedFailedAttempt),
            failed: Some(EventId::PkcsIssuedFailure),
            upload_success: EventId::PkcsUploadSuccess,
            upload_failure: EventId::PkcsUploadFailure,
            uploaded_request: EventId::PkcsUploadedRequest,
            request_success: EventId::PkcsRequestSuccess,
            request_failure: EventId::PkcsRequestFailure,
        }
    }

    fn required_slots(&self) -> Vec<SlotName> {
        use SlotName::{ContentCipher, Digest, Hmac, KeyGeneration, KeyTransport, Pbkdf2, Random, SigningKeys, Verification};
        vec![Random, Digest, Hmac, Pbkdf2, ContentCipher, KeyGeneration, Verification, KeyTransport, SigningKeys]
    }

    fn findings(&self, provider: &CryptoProvider) -> Vec<Finding> {
        self.config.findings(provider)
    }

    fn authorities(&self) -> Vec<(CaName, CaCapabilities)> {
        let of = |(name, authority): (&CaName, &Authority)| authority.ca.as_ref().map(|ca| (name.clone(), ca.capabilities()));
        self.config.authorities.iter().filter_map(of).collect()
    }

    fn with_authorities(&self, replace: ReplaceCa<'_>) -> Arc<dyn Worker> {
        Arc::new(Self::new(self.config.with_authorities(replace)))
    }

    fn set_idle(&self, context: &Context, is_idle: bool) {
        self.pool.set_idle(context, is_idle);
    }

    fn accept(&self, _context: &Context, item: QueueItem) -> Accepted {
        match self.task(item) {
            Ok(task) => Accepted::Task(Box::new(task)),
            Err(other) => other,
        }
    }

    fn resume(&self, context: &Context, item: QueueItem, resumed: Resumed<'_>) -> Accepted {
        match self.task(item) {
            Ok(mut task) => {
                task.restore(context, resumed);
                Accepted::Task(Box::new(task))
            }
            Err(other) => other,
        }
    }

    async fn sweep(&self, context: &Context, suspicion: &RecordReader, delivered: Option<&[u8]>) -> Swept {
        super::sweep::sweep(&self.config, context, suspicion, delivered).await
    }
}

impl PkcsWorker {
    fn task(&self, item: QueueItem) -> Result<PkcsTask, Accepted> {
        let Payload::Pkcs(request) = item.payload else {
            return Err(Accepted::Foreign("the payload is not that of a PKCS request".to_owned()));
        };
        let known = self.config.authorities.get(&request.ca).and_then(|authority| Some((authority, authority.ca.clone()?)));
        let Some((authority, ca)) = known else {
            let message = format!("the profile names the CA {:?}, which is not configured in this connector", request.ca.as_str());
            return Err(Accepted::Refused(Outcome::Failed(Failure::new(ErrorClass::Configuration, message))));
        };
        Ok(PkcsTask {
            config: self.config.clone(),
            pool: Arc::clone(&self.pool),
            authority: authority.clone(),
            abilities: Abilities::from(&ca.capabilities()),
            ca,
            request: Arc::from(request),
            machine: None,
            committing: false,
            made: None,
            recipient: None,
            issued: None,
            checked: None,
            asked_at: None,
            failure: None,
            told_issued: false,
            is_others: false,
            key: None,
            visitor: Visitor::default(),
        })
    }
}

#[derive(Debug)]
struct PkcsTask {
    config: Arc<PkcsConfig>,
    pool: Arc<KeyPool>,
    authority: Authority,
    ca: Arc<dyn CertificateAuthority>,
    abilities: Abilities,
    request: Arc<PkcsRequest>,
    machine: Option<Machine>,
    /// The engine was asked to commit; it calls again only when that is stored.
    committing: bool,
    made: Option<Arc<Made>>,
    recipient: Option<Arc<ApprovedRecipient>>,
    issued: Option<Arc<Issued>>,
    checked: Option<Arc<Checked>>,
    /// Monotonic, for the duration in events.
    asked_at: Option<Duration>,
    /// With what the request ends when it fails.
    failure: Option<Failure>,
    told_issued: bool,
    /// The certificate is another worker's, who may have delivered it.
    is_others: bool,
    /// What the CA knows the request by.
    key: Option<IdempotencyKey>,
    /// At the gate of the CA.
    visitor: Visitor,
}

#[async_trait]
impl Task for PkcsTask {
    fn ca(&self) -> Option<&CaName> {
        Some(&self.request.ca)
    }

    fn digicert_event(&self) -> Option<EventId> {
        (self.request.ca.as_str() == DIGICERT).then_some(EventId::PkcsDigiCertRequest)
    }

    async fn step(&mut self, context: &Context, job: &Job) -> Step {
        if self.machine.is_none() {
            self.key = Some(job.key);
            self.machine = Some(Machine::new(self.abilities, job.find_first));
        }
        if core::mem::take(&mut self.committing) {
            self.tell(Answer::Committed, context.runtime.now());
        }
        loop {
            let now = context.runtime.now();
            let Some(action) = self.machine.as_ref().map(|machine| machine.next(now)) else { return self.fail() };
            if matches!(action, Action::Find | Action::Issue | Action::Status(_) | Action::Revoke)
                && let Err(shut) = self.visitor.enter(context, job, &self.request.ca)
            {
                // A certificate that failed its check is told of as such, whatever the CA says now.
                return if action == Action::Revoke && matches!(shut, Step::Failed(_)) { self.fail() } else { shut };
            }
            let done = match action {
                Action::Make => self.make(context, job, now).await,
                Action::Commit(state) => {
                    if self.machine.as_ref().is_some_and(|machine| machine.phase == Phase::Suspect) {
                        self.tell_lost(
                            context,
                            job,
                            "The CA is asked again without knowing; a certificate may exist that nobody gets.",
                            None,
                        );
                    }
                    self.committing = true;
                    return Step::Commit(state);
                }
                Action::Wait(pause) if self.machine.as_ref().is_some_and(Machine::is_pending) => return Step::Pending(pause),
                Action::Wait(pause) => return Step::Wait(pause),
                Action::Find => self.find(context, job, now).await,
                Action::Issue => self.issue(context, job, now).await,
                Action::Status(poll_id) => self.status(context, job, &poll_id).await,
                Action::Check => self.check(context, job).await,
                Action::Revoke => self.revoke(context, job).await,
                Action::Pack => match self.pack(context, job).await {
                    Ok(outcome) => return Step::Done(outcome),
                    Err(stop) => Err(stop),
                },
                Action::Fail => return self.fail(),
            };
            let ended = done.err().map(|step| self.visitor.excuse(step));
            self.visitor.leave();
            if let Some(step) = ended {
                return step;
            }
        }
    }

    fn keep(&self) -> Kept {
        let (Some(made), Some(machine)) = (&self.made, &self.machine) else { return Kept::default() };
        let issued = self.issued.as_deref();
        Kept {
            task: Some(kept::write(made, machine, issued)),
            certificate: issued.map(|issued| (issued.certificate.to_vec(), issued.ca_side_id.clone())),
        }
    }

    fn suspicion(&self, ended: bool) -> Option<Suspicion> {
        let (made, machine) = (self.made.as_ref()?, self.machine.as_ref()?);
        let (most, known) = machine.suspicion(ended, self.issued.is_some() && !self.is_others)?;
        let record = Suspect::write(made, &self.request.ca, self.key?, self.issued.as_deref().filter(|_| known));
        Some(Suspicion { record: SecretBytes::copy_from(record.bytes()), most, after: self.abilities.in_flight })
    }

    fn if_not_taken(&self) -> Option<SecretBytes> {
        let record = Suspect::write(self.made.as_ref()?, &self.request.ca, self.key?, Some(self.issued.as_deref()?));
        Some(SecretBytes::copy_from(record.bytes()))
    }

    fn left_behind(&self, context: &Context, job: &Job, why: &str) {
        let Some(phase) = self.machine.as_ref().map(|machine| &machine.phase) else { return };
        match phase {
            // What happened at the CA was told when it happened.
            Phase::Refused => {}
            _ if self.issued.is_some() => {
                self.tell_handed_over(context, job, why, "left to the ledger of orphans");
            }
            Phase::Pending { .. } => {
                self.tell_lost(context, job, "The request ended while the CA may still issue; nobody gets that certificate.", None);
            }
            _ => {}
        }
    }

    fn give_up(&mut self, mut failure: Failure) -> Outcome {
        let suspected = self.machine.as_ref().is_some_and(Machine::may_have_issued);
        if self.issued.is_some() {
            failure.message.push_str("; a certificate was issued and is not delivered");
        } else if suspected {
            failure.message.push_str("; a certificate may have been issued that nobody gets");
        }
        Outcome::Failed(failure)
    }
}

impl PkcsTask {
    /// Goes on where the row says that an earlier run was; what is not whole is begun anew.
    fn restore(&mut self, context: &Context, resumed: Resumed<'_>) {
        let now = context.runtime.now();
        let Some(restored) = kept::read(resumed.task, self.request.ca.clone(), self.abilities, resumed.find_first, now) else { return };
        self.key = Some(resumed.key);
        self.made = Some(Arc::new(restored.made));
        self.issued = restored.issued.map(Arc::new);
        self.failure = match restored.machine.phase {
            Phase::Refused => Some(Failure::new(ErrorClass::Transient, "the connector ended while the request failed")),
            Phase::Revoke { .. } => Some(Failure::new(ErrorClass::Policy, "the CA's certificate was refused by the post-issue check")),
            _ => None,
        };
        self.machine = Some(restored.machine);
    }

    /// For whom the result is encrypted; asked again after a restart, since the policy may have changed.
    async fn recipient(&mut self, context: &Context, job: &Job) -> Result<Arc<ApprovedRecipient>, MakeError> {
        if let Some(recipient) = &self.recipient {
            return Ok(Arc::clone(recipient));
        }
        let (config, request, device) = (self.config.clone(), self.request.clone(), job.meta.device.clone());
        let (provider, limits, now) = (context.provider.clone(), context.limits.clone(), context.runtime.now());
        let check = context.offload(move || config.recipients.check_der(&provider, &limits, &request.recipient, device.as_ref(), now));
        let recipient = Arc::new(check.await.map_err(MakeError::message)??);
        self.recipient = Some(Arc::clone(&recipient));
        Ok(recipient)
    }

    fn tell(&mut self, answer: Answer, now: Timestamp) -> Verdict {
        self.machine.as_mut().map_or(Verdict::Fail, |machine| machine.on(answer, now))
    }

    fn fail(&mut self) -> Step {
        Step::Failed(
            self.failure.clone().unwrap_or_else(|| Failure::new(ErrorClass::Internal, "the request took a way that does not exist")),
        )
    }

    fn made(&self) -> Result<Arc<Made>, Step> {
        self.made.clone().ok_or_else(|| Step::Failed(Failure::new(ErrorClass::Internal, "the key pair is missing")))
    }

    /// Goes on, or ends the step, after an answer of the CA.
    fn judge(&mut self, answer: Answer, retry: Retry, now: Timestamp) -> Result<(), Step> {
        match self.tell(answer, now) {
            Verdict::GoOn => Ok(()),
            Verdict::Retry => {
                let failure = self.failure.clone().unwrap_or_else(|| Failure::new(ErrorClass::Transient, "the CA did not answer"));
                let retry = if retry == Retry::Never { Retry::Later } else { retry };
                Err(Step::Retry { failure, retry })
            }
            Verdict::Fail => Err(self.fail()),
        }
    }

    /// Notes an error of the CA; gives the answer that it is.
    fn note_error(&mut self, error: &PortError) -> Answer {
        let again = error.retry() != Retry::Never;
        self.failure = Some(Failure::new(error.class(), error.to_string()).with_code(error.code().map(str::to_owned)));
        match error.effect() {
            Effect::None => Answer::NotDone { again },
            Effect::Unknown => Answer::Lost { again },
        }
    }

    fn tell_lost(&self, context: &Context, job: &Job, message: &str, error: Option<&PortError>) {
        job.emit(context, EventId::AnswerLost, |event| {
            let event = event.with_ca(Some(self.request.ca.clone())).with_message(message);
            match error {
                Some(error) => event.with_error_class(error.class()).with_detail("error", &error.to_string()),
                None => event.with_detail("orphan", "suspected"),
            }
        });
    }

    /// A call of the CA, abandoned after the configured time. A panic of the adapter is contained and reported. In both cases the effect
    /// is unknown, as when an answer is lost on the way.
    async fn call<T, F>(&self, context: &Context, job: &Job, call: impl FnOnce() -> F + Send) -> Result<T, PortError>
    where
        F: Future<Output = Result<T, PortError>> + Send,
    {
        // Within the block, since an adapter may panic before it gives its future.
        let call = AssertUnwindSafe(async move { call().await }).catch_unwind();
        let answer = match context.within(self.config.ca_timeout, call).await {
            Some(Ok(answer)) => answer,
            Some(Err(_)) => {
                job.emit(context, EventId::PanicContained, |event| event.with_ca(Some(self.request.ca.clone())).with_detail("where", "ca"));
                Err(PortError::transient("the CA's adapter panicked; the panic was contained"))
            }
            None => Err(PortError::transient("the CA did not answer in time")),
        };
        self.visitor.settle(&answer, self.config.cool_down);
        answer
    }

    fn deadline(&self, now: Timestamp, job: &Job) -> Timestamp {
        job.deadline.min(now.saturating_add(self.config.ca_timeout))
    }

    async fn make(&mut self, context: &Context, job: &Job, now: Timestamp) -> Result<(), Step> {
        let (config, request, meta) = (self.config.clone(), self.request.clone(), job.meta.clone());
        let (provider, limits, pool) = (context.provider.clone(), context.limits.clone(), Arc::clone(&self.pool));
        let made = context.offload(move || make(&config, &pool, &request, &meta, &provider, &limits, now)).await?;
        match made {
            Ok((made, recipient)) => {
                self.made = Some(Arc::new(made));
                self.recipient = Some(Arc::new(recipient));
                self.tell(Answer::Made, now);
                Ok(())
            }
            Err(error) => Err(self.refuse(context, job, &error)),
        }
    }

    fn refuse(&self, context: &Context, job: &Job, error: &MakeError) -> Step {
        let MakeError::Policy(error) = error else {
            return Step::Failed(Failure::new(ErrorClass::Internal, error.to_string()));
        };
        if let PolicyError::Refused(refusal) = error {
            job.emit(context, EventId::PolicyRefusal, |event| {
                event
                    .with_ca(Some(self.request.ca.clone()))
                    .with_error_class(ErrorClass::Policy)
                    .with_message(&refusal.reason)
                    .with_detail("rule", refusal.rule.as_str())
            });
        }
        Step::Failed(error.to_failure())
    }

    async fn issue(&mut self, context: &Context, job: &Job, now: Timestamp) -> Result<(), Step> {
        let made = self.made()?;
        let approved = {
            let (config, made, meta) = (self.config.clone(), made.clone(), job.meta.clone());
            let (provider, limits) = (context.provider.clone(), context.limits.clone());
            let approval = context.offload(move || -> Result<_, MakeError> {
                let csr = Csr::from_der(&made.csr, &limits).map_err(MakeError::message)?;
                Ok(config.issuance.approve(&provider, &csr, &made.plan, &meta, now)?)
            });
            match approval.await? {
                Ok(approved) => approved,
                Err(error) => return Err(self.refuse(context, job, &error)),
            }
        };
        // Whoever was stopped for longer than its lease finds out here, before it asks.
        if !job.lease.holds(&*context.runtime) {
            return Err(Step::Renew);
        }
        self.asked_at = Some(context.runtime.monotonic());
        // Until the answer is here it counts as lost: this future may be dropped.
        let asked = self.machine.clone();
        self.tell(Answer::Lost { again: true }, now);
        let request =
            IssueRequest { approved: &approved, key: job.key, csr: &made.csr, plan: &made.plan, deadline: self.deadline(now, job) };
        let answer = self.call(context, job, || self.ca.issue(request)).await;
        self.machine = asked;
        self.take_issue_answer(context, job, answer)
    }

    async fn status(&mut self, context: &Context, job: &Job, poll_id: &str) -> Result<(), Step> {
        let deadline = self.deadline(context.runtime.now(), job);
        let request = StatusRequest { key: job.key, poll_id, deadline };
        let answer = self.call(context, job, || self.ca.status(request)).await;
        self.take_issue_answer(context, job, answer)
    }

    fn take_issue_answer(&mut self, context: &Context, job: &Job, answer: Result<IssueAnswer, PortError>) -> Result<(), Step> {
        let now = context.runtime.now();
        match answer {
            Ok(IssueAnswer::Issued(issued)) => {
                self.issued = Some(Arc::from(issued));
                self.judge(Answer::Issued, Retry::Later, now)
            }
            Ok(IssueAnswer::Pending { poll_id, after }) => self.judge(Answer::Pending { poll_id, after }, Retry::Later, now),
            Err(error) => {
                let answer = self.note_error(&error);
                if matches!(answer, Answer::Lost { .. }) {
                    self.tell_lost(context, job, "It is not known whether the CA issued.", Some(&error));
                }
                self.judge(answer, error.retry(), now)
            }
        }
    }

    async fn find(&mut self, context: &Context, job: &Job, now: Timestamp) -> Result<(), Step> {
        let made = self.made()?;
        let deadline = self.deadline(now, job);
        let request = FindRequest { key: job.key, csr: &made.csr, public_key: &made.public_key, plan: &made.plan, deadline };
        let answer = self.call(context, job, || self.ca.find(request)).await;
        let now = context.runtime.now();
        match answer {
            Ok(FindAnswer::Found(issued)) => {
                let ours = Certificate::from_der(&issued.certificate, &context.limits)
                    .map_or(true, |certificate| certificate.spki() == made.public_key.as_slice());
                if !ours {
                    return self.judge(Answer::FoundForOther, Retry::Later, now);
                }
                self.issued = Some(Arc::from(issued));
                self.judge(Answer::Found, Retry::Later, now)
            }
            Ok(FindAnswer::Absent) => self.judge(Answer::Absent, Retry::Later, now),
            Ok(FindAnswer::CannotTell) => self.judge(Answer::CannotTell, Retry::Later, now),
            Err(error) if error.kind() == PortErrorKind::Unsupported => self.judge(Answer::CannotTell, Retry::Later, now),
            Err(error) => {
                let answer = self.note_error(&error);
                self.judge(answer, error.retry(), now)
            }
        }
    }

    async fn check(&mut self, context: &Context, job: &Job) -> Result<(), Step> {
        let made = self.made()?;
        let Some(issued) = self.issued.clone() else { return Err(self.fail()) };
        let mut fresh = false;
        let result = loop {
            let chain = self.ca_chain(context, job, &mut fresh).await?;
            let roots: Vec<_> = match &self.authority.roots[..] {
                [] => chain.last().cloned().into_iter().collect(),
                pinned => pinned.to_vec(),
            };
            let now = context.runtime.now();
            let (provider, limits, made, issued) = (context.provider.clone(), context.limits.clone(), made.clone(), issued.clone());
            let tolerance = self.config.tolerance;
            let result = context
                .offload(move || {
                    let issuers: Vec<_> = issued.chain.iter().chain(chain.iter()).cloned().collect();
                    let expected = Expected::new(&made.plan, &made.public_key, &roots, now).with_tolerance(tolerance);
                    post_issue::check(&provider, &limits, &issued.certificate, &issuers, &expected)
                })
                .await?;
            // The CA may have got a new certificate since its chain was asked for.
            if matches!(&result, Err(PostIssueError::Mismatch { kind: Mismatch::Chain, .. })) && !fresh {
                self.authority.shared.set_chain(None);
                continue;
            }
            break result;
        };
        let now = context.runtime.now();
        match result {
            Ok(checked) => {
                self.checked = Some(Arc::new(checked));
                self.tell(Answer::Passed, now);
                Ok(())
            }
            Err(PostIssueError::Policy(error)) => Err(Step::Failed(error.to_failure())),
            Err(mismatch) => {
                let text = format!("the CA's certificate was refused by the post-issue check: {mismatch}");
                self.failure =
                    Some(Failure::new(ErrorClass::Policy, crate::event::printable(&text)).with_code(Some("post-issue".to_owned())));
                // A certificate for another key may be in use: where another worker may have asked, it is that worker's, who may have
                // delivered it, and one that names somebody else was not made for this request, but answered to it.
                let for_another_key = matches!(&mismatch, PostIssueError::Mismatch { kind: Mismatch::PublicKey, .. });
                let others = for_another_key && (job.find_first || names_somebody_else(&issued, &made, &context.limits));
                let revoke =
                    !others && Certificate::from_der(&issued.certificate, &context.limits).is_ok_and(|leaf| leaf.serial().is_some());
                self.tell(Answer::Mismatch { revoke }, now);
                self.is_others = others;
                if others {
                    self.tell_revocation(context, job, "not asked for: it is for another key, and may be in use by whoever asked for it");
                } else if !revoke {
                    self.tell_revocation(context, job, "not possible: the certificate or its serial number cannot be read");
                }
                Ok(())
            }
        }
    }

    /// The CA's chain, asked for once and kept; `fresh` says that it was asked for just now.
    async fn ca_chain(&mut self, context: &Context, job: &Job, fresh: &mut bool) -> Result<Arc<[CertificateDer<'static>]>, Step> {
        if let Some(chain) = self.authority.shared.chain() {
            return Ok(chain);
        }
        *fresh = true;
        self.visitor.enter(context, job, &self.request.ca)?;
        match self.call(context, job, || self.ca.chain()).await {
            Ok(chain) => {
                let chain: Arc<[_]> = chain.into();
                self.authority.shared.set_chain(Some(chain.clone()));
                Ok(chain)
            }
            Err(error) if error.retry() != Retry::Never => Err(Step::from_port_error(&error)),
            // Without it the check has the pinned roots and what came with the certificate, or fails.
            Err(_) => Ok(Arc::from([])),
        }
    }

    async fn revoke(&mut self, context: &Context, job: &Job) -> Result<(), Step> {
        let Some(issued) = self.issued.clone() else { return Err(self.fail()) };
        let Ok(certificate) = Certificate::from_der(&issued.certificate, &context.limits) else { return Err(self.fail()) };
        let now = context.runtime.now();
        let Some(serial) = certificate.serial() else { return Err(self.fail()) };
        let request = RevokeCall::new(
            serial,
            Some(&issued.certificate),
            issued.ca_side_id.as_deref(),
            RevocationReason::CessationOfOperation,
            now.saturating_add(self.config.ca_timeout),
        );
        let answer = self.call(context, job, || self.ca.revoke(request)).await;
        let now = context.runtime.now();
        match answer {
            Ok(answer) => {
                self.tell(Answer::Revoked, now);
                self.tell_revocation(context, job, &format!("{answer:?}"));
            }
            Err(error) => {
                self.tell(Answer::RevokeFailed { again: error.retry() != Retry::Never }, now);
                if self.machine.as_ref().is_some_and(|machine| machine.next(now) == Action::Fail) {
                    self.tell_revocation(context, job, &format!("failed: {error}; the certificate is an orphan, revoke it by hand"));
                }
            }
        }
        Ok(())
    }

    fn tell_revocation(&self, context: &Context, job: &Job, revocation: &str) {
        self.tell_handed_over(context, job, self.failure.as_ref().map_or("", |failure| &failure.message), revocation);
    }

    fn tell_handed_over(&self, context: &Context, job: &Job, why: &str, revocation: &str) {
        let serial = self
            .issued
            .as_ref()
            .and_then(|issued| Certificate::from_der(&issued.certificate, &context.limits).ok())
            .and_then(|certificate| certificate.serial().map(ToString::to_string))
            .unwrap_or_else(|| "unknown".to_owned());
        job.emit(context, EventId::CertificateHandedToRevocation, |event| {
            event
                .with_ca(Some(self.request.ca.clone()))
                .with_error_class(ErrorClass::Policy)
                .with_message(why)
                .with_detail("serial", &serial)
                .with_detail("revocation", revocation)
        });
    }

    async fn pack(&mut self, context: &Context, job: &Job) -> Result<Outcome, Step> {
        let made = self.made()?;
        let (Some(checked), Some(issued)) = (self.checked.clone(), self.issued.clone()) else { return Err(self.fail()) };
        if !core::mem::replace(&mut self.told_issued, true) {
            self.tell_issued(context, job, &checked);
        }
        let (config, request, provider) = (self.config.clone(), self.request.clone(), context.provider.clone());
        let packed = match self.recipient(context, job).await {
            Ok(to) => context.offload(move || pack(&config, &request, &made, &to, &issued, &checked, &provider)).await?,
            Err(error) => Err(error),
        };
        match packed {
            Ok(result) => Ok(Outcome::Pkcs(Box::new(result))),
            Err(error) => {
                self.failure = Some(Failure::new(ErrorClass::Internal, error.to_string()));
                self.tell(Answer::Unpackable, context.runtime.now());
                Err(Step::Wait(Duration::ZERO))
            }
        }
    }

    fn tell_issued(&self, context: &Context, job: &Job, checked: &Checked) {
        let duration = self.asked_at.map(|asked| context.runtime.monotonic().saturating_sub(asked));
        job.emit(context, EventId::PkcsIssuedSuccess, |event| {
            let mut event = event
                .with_ca(Some(self.request.ca.clone()))
                .with_detail("serial", &checked.serial.to_string())
                .with_detail("not-after", &checked.certificate.not_after().to_string());
            if let Some(duration) = duration {
                event = event.with_duration(duration);
            }
            let valid_for = checked.certificate.not_after().since(context.runtime.now());
            if valid_for < SHORTEST_USUAL_VALIDITY {
                event = event.with_detail("warning", "valid for less than 5 days: devices may refuse it");
            }
            event
        });
    }
}

/// Whether a certificate has another subject than the one that was asked for.
fn names_somebody_else(issued: &Issued, made: &Made, limits: &Limits) -> bool {
    match (Certificate::from_der(&issued.certificate, limits), Name::from_der(&made.plan.subject)) {
        (Ok(leaf), Ok(planned)) => !leaf.subject().matches(&planned),
        _ => false,
    }
}

/// Why nothing could be made of a request.
#[derive(Debug, thiserror::Error)]
enum MakeError {
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("{0}")]
    Message(String),
}

impl MakeError {
    fn message(error: impl core::fmt::Display) -> Self {
        Self::Message(error.to_string())
    }
}

impl From<crate::policy::PolicyRefusal> for MakeError {
    fn from(refusal: crate::policy::PolicyRefusal) -> Self {
        Self::Policy(refusal.into())
    }
}

/// CPU work: policies first, so that a refused request costs no key pair.
fn make(
    config: &PkcsConfig,
    pool: &KeyPool,
    request: &PkcsRequest,
    meta: &RequestMeta,
    provider: &CryptoProvider,
    limits: &Limits,
    now: Timestamp,
) -> Result<(Made, ApprovedRecipient), MakeError> {
    let plan = config.issuance.plan(request, meta, now)?;
    let recipient = config.recipients.check_der(provider, limits, &request.recipient, meta.device.as_ref(), now)?;
    if request.pfx_profile != PfxProfile::Pbmac1 {
        provider.digest().map_err(PolicyError::from)?.permits(DigestKdf::Pkcs12).map_err(PolicyError::from)?;
    }
    let ciphers = provider.content_cipher().map_err(PolicyError::from)?;
    if request.pfx_profile == PfxProfile::Compat && !ciphers.supports(ContentCipherAlgorithm::DesEde3Cbc) {
        return Err(
            PolicyError::from(CryptoError::Unsupported("3DES, which the PKCS#12 profile Compat needs (feature `legacy-ciphers`)")).into()
        );
    }
    let key = match pool.take(request.key) {
        Some(key) => key,
        None => provider.key_generation().map_err(PolicyError::from)?.generate(request.key).map_err(PolicyError::from)?,
    };
    let signer = provider.signing_keys().map_err(PolicyError::from)?.load(&key).map_err(PolicyError::from)?;
    let public_key = signer.public_key().to_vec();
    let subject = Name::from_der(&plan.subject).map_err(MakeError::message)?;
    let mut builder = CsrBuilder::new(subject, &public_key)
        .subject_alt_names(&plan.subject_alt_names)
        .extended_key_usage(&plan.extended_key_usage)
        .key_usage(plan.key_usage)
        .sid(plan.sid_extension.clone());
    if let Some(template) = &plan.template {
        builder = builder.template(template);
    }
    let to_be_signed = builder.to_be_signed(signature_algorithm(request.key)).map_err(MakeError::message)?;
    let signature = sign_now(&*signer, to_be_signed.algorithm(), to_be_signed.message()).map_err(MakeError::message)?;
    let csr = CertificateSigningRequestDer::from(to_be_signed.finish(&signature));
    Ok((Made { plan, key, public_key, csr }, recipient))
}

fn signature_algorithm(key: KeyAlgorithm) -> SignatureAlgorithm {
    match key {
        KeyAlgorithm::EcP256 => SignatureAlgorithm::EcdsaP256Sha256,
        KeyAlgorithm::EcP384 => SignatureAlgorithm::EcdsaP384Sha384,
        _ => SignatureAlgorithm::RsaPkcs1Sha256,
    }
}

/// 160 random bits as 40 hexadecimal digits: ASCII, so that every reader of PKCS#12 derives the same key from it.
fn random_password(provider: &CryptoProvider) -> Result<Password, PolicyError> {
    let mut bytes = Zeroizing::new([0u8; 20]);
    provider.random()?.fill(&mut *bytes)?;
    let digit = |value: u8| char::from_digit(u32::from(value), 16).map_or(b'0', |digit| digit as u8);
    let mut text = Vec::with_capacity(40);
    for byte in bytes.iter() {
        text.extend_from_slice(&[digit(byte >> 4), digit(byte & 0x0f)]);
    }
    Ok(Password::new(text))
}

/// CPU work: the PKCS#12 file and the two envelopes.
fn pack(
    config: &PkcsConfig,
    request: &PkcsRequest,
    made: &Made,
    recipient: &ApprovedRecipient,
    issued: &Issued,
    checked: &Checked,
    provider: &CryptoProvider,
) -> Result<PkcsResult, MakeError> {
    let password = random_password(provider)?;
    let mut builder = PfxBuilder::new(request.pfx_profile).key(&made.key).certificate(&issued.certificate).chain(&checked.chain);
    // PKCS#12 has no room for characters beyond the basic multilingual plane; a name is not worth a certificate.
    let bmp = |c: char| if u32::from(c) > 0xffff { char::REPLACEMENT_CHARACTER } else { c };
    let friendly_name: Option<String> = request.friendly_name.as_ref().map(|name| name.chars().map(bmp).collect());
    if let Some(name) = &friendly_name {
        builder = builder.friendly_name(name);
    }
    if let Some(iterations) = config.iterations {
        builder = builder.iterations(iterations);
    }
    let file = builder.build(&password, provider).map_err(MakeError::message)?;
    let seal = |content: &[u8]| recipient.seal(content, config.cipher, config.transport, provider).map_err(MakeError::message);
    Ok(PkcsResult::new(
        seal(file.secret_bytes())?,
        seal(password.secret_bytes())?,
        checked.certificate.thumbprint(provider).map_err(MakeError::message)?,
        checked.serial.clone(),
        checked.certificate.not_after(),
        request.ca.clone(),
    ))
}
