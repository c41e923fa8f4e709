//! The revocation flow in motion.

use core::future::Future;
use std::sync::Arc;

use async_trait::async_trait;

use super::config::{Authority, IssuerlessRequests, RevokeConfig};
use super::step::{self, Answer, Route, Search};
use crate::crypto::{CryptoProvider, SlotName};
use crate::event::EventId;
use crate::flow::ca_gate::{COOL_DOWN, Visitor};
use crate::flow::{Accepted, Context, Finding, FlowEvents, Job, ReplaceCa, Step, Task, Worker};
use crate::ids::{CaName, SerialNumber};
use crate::ports::{
    CaCapabilities, CertificateAuthority, Failure, KnownCertificate, LookupAnswer, LookupRequest, Outcome, Payload, PortError, QueueItem,
    RevocationError, RevokeAnswer, RevokeBy, RevokeCall, RevokeResult, RowState,
};
use crate::retry::ErrorClass;
use crate::terms::{Flow, RevocationReason};
use crate::time::Timestamp;

/// The name by which Intune's profiles route to DigiCert.
const DIGICERT: &str = "Symantec";

/// Makes tasks of revocation requests.
#[derive(Debug)]
pub(super) struct RevokeWorker {
    config: Arc<RevokeConfig>,
}

impl RevokeWorker {
    pub(super) fn new(config: RevokeConfig) -> Self {
        Self { config: Arc::new(config) }
    }
}

#[async_trait]
impl Worker for RevokeWorker {
    fn flow(&self) -> Flow {
        Flow::Revoke
    }

    fn events(&self) -> FlowEvents {
        FlowEvents {
            download_success: EventId::RevokeDownloadSuccess,
            download_failure: EventId::RevokeDownloadFailure,
            downloaded_request: EventId::RevokeDownloadedRequest,
            // 3052 and 3051: the other way round than in the other flows, as documented.
            attempt_failed: Some(EventId::RevokeFailedAttempt),
            failed: Some(EventId::RevokeFailure),
            upload_success: EventId::RevokeUploadSuccess,
            upload_failure: EventId::RevokeUploadFailure,
            uploaded_request: EventId::RevokeUploadedRequest,
            request_success: EventId::RevokeRequestSuccess,
            request_failure: EventId::RevokeRequestFailure,
        }
    }

    fn required_slots(&self) -> Vec<SlotName> {
        Vec::new()
    }

    fn findings(&self, _: &CryptoProvider) -> Vec<Finding> {
        self.config.findings()
    }

    fn authorities(&self) -> Vec<(CaName, CaCapabilities)> {
        self.config.authorities.iter().map(|authority| (authority.name.clone(), authority.ca.capabilities())).collect()
    }

    fn with_authorities(&self, replace: ReplaceCa<'_>) -> Arc<dyn Worker> {
        let mut config = RevokeConfig::clone(&self.config);
        for authority in &mut config.authorities {
            authority.ca = replace(&authority.name, Arc::clone(&authority.ca));
        }
        Arc::new(Self::new(config))
    }

    fn accept(&self, _: &Context, item: QueueItem) -> Accepted {
        let Payload::Revoke(request) = item.payload else {
            return Accepted::Foreign("it is no revocation request".to_owned());
        };
        let names: Vec<Vec<&str>> = self
            .config
            .authorities
            .iter()
            .map(|authority| core::iter::once(authority.name.as_str()).chain(authority.aliases.iter().map(String::as_str)).collect())
            .collect();
        let is_issuerless = request.issuer.as_deref().is_none_or(|issuer| issuer.trim().is_empty());
        let target = match step::route(request.issuer.as_deref(), &names, self.config.issuerless) {
            Route::LeaveAlone(reason) => return Accepted::Foreign(reason),
            Route::Ask(index) => Some(index),
            Route::Search => None,
        };
        let serial = match step::serial(&request.serial, self.config.spelling) {
            Ok(serial) => serial,
            // Without issuer it may be another's, whose spelling is not ours.
            Err(error) if is_issuerless => {
                return Accepted::Foreign(format!("it names no issuer, and its serial number is unreadable: {error}"));
            }
            Err(error) => {
                let result = RevokeResult::failed(RevocationError::ParameterDataInvalidError, error.to_string());
                return Accepted::Refused(Outcome::Revoke(result));
            }
        };
        Accepted::Task(Box::new(RevokeTask {
            reason: request.reason.unwrap_or(self.config.default_reason),
            config: Arc::clone(&self.config),
            serial,
            target,
            is_named: !is_issuerless,
            was_searched: false,
            searched: Vec::new(),
            known: None,
            is_committed: false,
            visitor: Visitor::default(),
        }))
    }
}

/// The work on one request.
#[derive(Debug)]
struct RevokeTask {
    config: Arc<RevokeConfig>,
    serial: SerialNumber,
    reason: RevocationReason,
    /// The CA, as soon as it is known.
    target: Option<usize>,
    /// The request named the CA, or a search found it.
    is_named: bool,
    was_searched: bool,
    /// What the first CAs told a search that goes on with the others.
    searched: Vec<LookupAnswer>,
    /// What a lookup told.
    known: Option<KnownCertificate>,
    is_committed: bool,
    /// At the gate of the CA that is asked.
    visitor: Visitor,
}

impl RevokeTask {
    fn authority(&self) -> Option<&Authority> {
        self.target.and_then(|index| self.config.authorities.get(index))
    }

    /// Whether the request is certainly for an own CA, so that a final answer cannot end another's revocation.
    fn is_ours(&self) -> bool {
        self.is_named || self.config.issuerless == IssuerlessRequests::AreOurs
    }

    /// What a failure means: a final one of a request that may be another's is not answered.
    fn fail(&self, failed: Step) -> Step {
        match failed {
            Step::Failed(failure) if !self.is_ours() && !step::failed(&failure).is_retryable() => {
                Step::LeaveToOthers(format!("it names no issuer, and the CA could not tell whether it is its own: {}", failure.message))
            }
            other => other,
        }
    }

    /// Until when the CA has time for one call.
    fn deadline(&self, context: &Context, job: &Job) -> Timestamp {
        job.deadline.min(context.runtime.now().saturating_add(self.config.ca_timeout))
    }

    /// Asks a CA when its gate lets a call through.
    ///
    /// # Errors
    /// The step that ends this one: the gate is shut, or the call failed.
    async fn ask<T>(
        &mut self,
        context: &Context,
        job: &Job,
        name: &CaName,
        call: impl Future<Output = Result<T, PortError>>,
    ) -> Result<T, Step> {
        if let Err(shut) = self.visitor.enter(context, job, name) {
            return Err(self.fail(shut));
        }
        let answer = context.within(self.config.ca_timeout, call).await;
        let answer = answer.unwrap_or_else(|| Err(PortError::transient("the CA did not answer in time")));
        self.visitor.settle(&answer, COOL_DOWN);
        let answer = answer.map_err(|error| {
            let step = self.fail(Step::from_port_error(&error));
            self.visitor.excuse(step)
        });
        self.visitor.leave();
        answer
    }

    async fn look_up(&mut self, context: &Context, job: &Job, name: &CaName, ca: &dyn CertificateAuthority) -> Result<LookupAnswer, Step> {
        let serial = self.serial.clone();
        let request = LookupRequest::new(&serial, self.deadline(context, job));
        self.ask(context, job, name, ca.lookup(request)).await
    }

    /// Asks every own CA who issued the certificate. `Some` when that ends the step.
    async fn search(&mut self, context: &Context, job: &Job) -> Option<Step> {
        let config = Arc::clone(&self.config);
        for authority in config.authorities.iter().skip(self.searched.len()) {
            match self.look_up(context, job, &authority.name, &*authority.ca).await {
                Ok(answer) => self.searched.push(answer),
                Err(step) => return Some(step),
            }
        }
        match step::judge(core::mem::take(&mut self.searched), self.config.issuerless) {
            Search::ActOn(index, known) => {
                self.target = Some(index);
                self.is_named = true;
                self.was_searched = true;
                self.known = Some(known);
                if let Some(name) = self.ca().filter(|name| name.as_str() == DIGICERT) {
                    job.emit(context, EventId::RevokeDigicertRequest, |event| event.with_ca(Some(name.clone())));
                }
                None
            }
            Search::NotFound => Some(Step::Done(Outcome::Revoke(step::not_found()))),
            Search::Ambiguous(indexes) => {
                let names: Vec<&str> =
                    indexes.iter().filter_map(|index| self.config.authorities.get(*index)).map(|a| a.name.as_str()).collect();
                Some(Step::Done(Outcome::Revoke(step::ambiguous(&names))))
            }
            Search::LeaveAlone(reason) => Some(Step::LeaveToOthers(reason.to_owned())),
        }
    }

    /// Learns what a CA needs that does not revoke by serial number. `Some` when that ends the step.
    async fn learn(&mut self, context: &Context, job: &Job) -> Option<Step> {
        let config = Arc::clone(&self.config);
        let authority = self.target.and_then(|index| config.authorities.get(index))?;
        let by = authority.ca.capabilities().revoke_by;
        if self.known.is_some() || by.contains(&RevokeBy::Serial) {
            return None;
        }
        match self.look_up(context, job, &authority.name, &*authority.ca).await {
            Ok(LookupAnswer::Found(known)) => {
                self.known = Some(*known);
                None
            }
            Ok(LookupAnswer::Absent) => Some(self.act_on(context, job, RevokeAnswer::UnknownSerial)),
            Ok(LookupAnswer::CannotTell) => {
                let message = "the CA does not revoke by serial number and cannot say which certificate has it";
                Some(self.fail(Step::Failed(Failure::new(ErrorClass::Unsupported, message))))
            }
            Err(step) => Some(step),
        }
    }

    fn act_on(&self, context: &Context, job: &Job, answer: RevokeAnswer) -> Step {
        match step::answer(answer, self.is_named, self.config.already_revoked, self.config.issuerless) {
            Answer::Revoked(result) => {
                let note = result.note.clone();
                job.emit(context, EventId::RevokeSuccess, |event| {
                    let event = event
                        .with_ca(self.ca().cloned())
                        .with_detail("serial", &self.serial.to_string())
                        .with_detail("reason", &self.reason.code().to_string());
                    match &note {
                        Some(note) => event.with_detail("note", note),
                        None => event,
                    }
                });
                Step::Done(Outcome::Revoke(result))
            }
            Answer::Failed(result) => Step::Done(Outcome::Revoke(result)),
            Answer::LeaveAlone(reason) => Step::LeaveToOthers(reason.to_owned()),
        }
    }
}

#[async_trait]
impl Task for RevokeTask {
    fn ca(&self) -> Option<&CaName> {
        self.authority().map(|authority| &authority.name)
    }

    fn digicert_event(&self) -> Option<EventId> {
        // A search raises it itself, once it knows the CA.
        self.ca().filter(|name| name.as_str() == DIGICERT && !self.was_searched).map(|_| EventId::RevokeDigicertRequest)
    }

    async fn step(&mut self, context: &Context, job: &Job) -> Step {
        if self.target.is_none()
            && let Some(step) = self.search(context, job).await
        {
            return step;
        }
        if let Some(step) = self.learn(context, job).await {
            return step;
        }
        if !self.is_committed {
            self.is_committed = true;
            return Step::Commit(RowState::Asked);
        }
        let config = Arc::clone(&self.config);
        let Some(authority) = self.target.and_then(|index| config.authorities.get(index)) else {
            return Step::Failed(Failure::new(ErrorClass::Internal, "the CA of the request is not configured any more"));
        };
        if !job.lease.holds(&*context.runtime) {
            return Step::Renew;
        }
        let (serial, known) = (self.serial.clone(), self.known.take());
        let call = RevokeCall::new(
            &serial,
            known.as_ref().and_then(|known| known.certificate.as_ref()),
            known.as_ref().and_then(|known| known.ca_side_id.as_deref()),
            self.reason,
            self.deadline(context, job),
        );
        let answer = self.ask(context, job, &authority.name, authority.ca.revoke(call)).await;
        self.known = known;
        match answer {
            Ok(answer) => self.act_on(context, job, answer),
            Err(step) => step,
        }
    }

    fn give_up(&mut self, failure: Failure) -> Outcome {
        let mut result = step::failed(&failure);
        if !self.is_ours() && !result.is_retryable() {
            // A contained panic, say: a final answer could end another CA's revocation.
            result.error = Some(RevocationError::RetryableServiceException);
        }
        Outcome::Revoke(result)
    }
}
