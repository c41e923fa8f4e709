//! The service: admission, reading and opening a request with one answer for all that is wrong inside, and the reply.

use core::fmt;
use core::future::Future;
use core::panic::AssertUnwindSafe;
use core::pin::pin;
use core::sync::atomic::AtomicI64;
use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, RwLock};

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use rustls_pki_types::CertificateDer;

use super::admission::{Gate, Permit};
use super::authority::{Authorities, Authority};
use super::builder::ServiceBuilder;
use super::caps;
use super::config::{Admission, CaCertificates, NotificationPolicy, PendingPolicy, Persistence, RenewalPolicy};
use super::enrol::{Enrolment, Origin, Outcome};
use super::http::{Operation, Request, Response, media_type, operation};
use super::locks::KeyLocks;
use super::nonces::NonceCache;
use super::record;
use super::registration::{ManagedRegistrationAuthority, RegistrationAuthoritySource};
use super::step::Stage;
use super::wire::{Content, Form, Incoming, OpenError, Reply};
use crate::crypto::{CryptoProvider, UnwrapError, sign_now, unwrap_now};
use crate::event::{Event, EventId};
use crate::flow::ca_gate::CaStatus;
use crate::flow::seal::Sealer;
use crate::flow::{Context, EventScope, OffloadError};
use crate::ids::CaName;
use crate::limits::Limits;
use crate::message::certificate::Certificate;
use crate::message::scep::{FailInfo, MessageType};
use crate::policy::IssuancePolicy;
use crate::ports::{CertificateAuthority, ChallengeValidator, Journal, PortError, RowKey, Runtime, ScepNotifier};
use crate::retry::{Effect, ErrorClass};
use crate::secret::SecretBytes;
use crate::terms::Flow;
use crate::time::Timestamp;

/// A SCEP server without a network: give it the parts of HTTP requests, send what it answers.
///
/// Cheap to clone. Let `handle` run to its end also when the client hangs up (spawn it): a dropped future leaves its request to
/// [`Service::maintain`], which must be called from time to time (every minute or so).
#[derive(Clone)]
pub struct Service(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) context: Context,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) authorities: RwLock<Arc<Authorities>>,
    pub(super) managed: Option<ManagedRegistrationAuthority>,
    pub(super) validator: Arc<dyn ChallengeValidator>,
    pub(super) notifier: Arc<dyn ScepNotifier>,
    pub(super) policy: IssuancePolicy,
    pub(super) validity: Duration,
    pub(super) notification: NotificationPolicy,
    pub(super) renewal: RenewalPolicy,
    pub(super) pending: PendingPolicy,
    pub(super) ca_certificates: CaCertificates,
    pub(super) form: Form,
    pub(super) admission: Admission,
    pub(super) requests: Gate,
    pub(super) key_operations: Gate,
    pub(super) persistence: Persistence,
    pub(super) sealer: Sealer,
    pub(super) issuing_authority: Option<String>,
    pub(super) locks: KeyLocks,
    pub(super) nonces: NonceCache,
    /// Before this, in microseconds, the RA's certificates are not renewed.
    pub(super) registration_after: AtomicI64,
    /// The day of the last look at the RA's certificates.
    pub(super) looked_at: AtomicI64,
    /// Since when, by the monotonic clock, rows are waited for whose times are ahead of a wall clock that was set back.
    pub(super) ahead: Mutex<HashMap<RowKey, (u64, Duration)>>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("tenant", &self.0.context.tenant)
            .field("instance", &self.0.context.instance)
            .field("ca", &self.0.authorities().current.issuer.name)
            .field("notification", &self.0.notification)
            .field("algorithms", &self.0.form.algorithms)
            .finish_non_exhaustive()
    }
}

impl Service {
    /// How each CA of the service does, by its name.
    #[must_use]
    pub fn ca_status(&self) -> BTreeMap<CaName, CaStatus> {
        let names: Vec<CaName> = self.0.authorities().names().cloned().collect();
        self.0.context.gates.status(names.into_iter(), &*self.0.context.runtime)
    }

    /// A service for one CA. `tenant`, `instance`, `runtime`, `sink` and `policy` must be set before `build`.
    #[must_use]
    pub fn builder(
        provider: CryptoProvider,
        journal: Arc<dyn Journal>,
        ca_name: CaName,
        ca: Arc<dyn CertificateAuthority>,
        ra: impl Into<RegistrationAuthoritySource>,
        validator: Arc<dyn ChallengeValidator>,
        notifier: Arc<dyn ScepNotifier>,
    ) -> ServiceBuilder {
        ServiceBuilder::new(provider, journal, ca_name, ca, ra.into(), validator, notifier)
    }

    pub(super) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// The certificates that GetCACert shows: the one that clients encrypt to, the one that signs replies when it is another, and the CA's
    /// with its issuers.
    #[must_use]
    pub fn ca_certificates(&self) -> Vec<CertificateDer<'static>> {
        self.0.authorities().current.certificates()
    }

    /// Answers one request. Never fails: what goes wrong is in the answer and the events.
    pub async fn handle(&self, request: Request) -> Response {
        let inner = &self.0;
        let Ok(_permit) = inner.requests.try_enter() else { return inner.busy() };
        match operation(request, inner.context.limits.input_bytes) {
            Ok(Operation::GetCaCaps) => Response::ok(media_type::TEXT, inner.capabilities().into_bytes()),
            Ok(Operation::GetCaCert) => inner.authorities().ca_certificates.clone(),
            Ok(Operation::GetNextCaCert) => {
                let next = inner.authorities().next_ca_certificates.clone();
                next.unwrap_or_else(|| Response::error(404, "there is no next CA certificate\n"))
            }
            Ok(Operation::PkiMessage(message)) => inner.pki_operation(message).await,
            Err(error) => error.response(),
        }
    }

    /// The clocks, timers and CPU threads that it was built with.
    #[must_use]
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.0.context.runtime
    }

    /// The largest PKIOperation message that it takes, in bytes: no more of a body need be read.
    #[must_use]
    pub fn max_message(&self) -> usize {
        self.0.context.limits.input_bytes
    }
}

/// The facts by which events of one request are made.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) scope: String,
    pub(super) delivery: u32,
}

/// Raises the Admin event of a request that was dropped before its end.
struct AdminGuard<'a> {
    inner: &'a Inner,
    subject: Subject,
    armed: bool,
}

impl Drop for AdminGuard<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.inner.emit(EventId::ScepRequestIssuedFailure, &self.subject, 0, |event| {
                event.with_detail("stage", "abandoned").with_detail("notified", "false").with_error_class(ErrorClass::Internal)
            });
        }
    }
}

impl Inner {
    pub(super) fn now(&self) -> Timestamp {
        self.context.runtime.now()
    }

    pub(super) fn busy(&self) -> Response {
        Response::busy(self.admission.retry_after)
    }

    pub(super) fn emit(&self, id: EventId, subject: &Subject, attempt: u32, fill: impl FnOnce(Event) -> Event) {
        let scope = EventScope { flow: Some(Flow::Scep), name: &subject.scope, delivery: subject.delivery, attempt };
        self.context.emit(id, scope, |event| fill(event.with_ca(Some(self.authorities().current.issuer.name.clone()))));
    }

    /// Waits for a port until the deadline. What is cut off, or panics, may have had its effect.
    pub(super) async fn within<T>(
        &self,
        deadline: Timestamp,
        subject: &Subject,
        call: impl Future<Output = Result<T, PortError>>,
    ) -> Result<T, PortError> {
        let left = deadline.since(self.now());
        if left.is_zero() {
            return Err(PortError::transient("the request's deadline has passed").with_effect(Effect::None));
        }
        let call = pin!(AssertUnwindSafe(call).catch_unwind());
        match select(call, self.context.runtime.sleep(left)).await {
            Either::Left((Ok(result), _)) => result,
            Either::Left((Err(_), _)) => {
                self.emit(EventId::PanicContained, subject, 0, |event| event.with_error_class(ErrorClass::Internal));
                Err(PortError::new(crate::ports::PortErrorKind::Rejected, "code of an adapter panicked"))
            }
            Either::Right(((), _)) => Err(PortError::transient("no answer before the request's deadline")),
        }
    }

    fn capabilities(&self) -> String {
        let has_next = self.authorities().next_ca_certificates.is_some();
        caps::body(self.form.algorithms, self.renewal != RenewalPolicy::Refuse, has_next)
    }

    async fn pki_operation(&self, message: Vec<u8>) -> Response {
        let deadline = self.now().saturating_add(self.admission.deadline);
        let (provider, limits, policy) = (self.context.provider.clone(), self.context.limits.clone(), self.form.algorithms);
        let read = self.context.offload(move || {
            let digest = record::sha256(&provider, &message).ok()?;
            let incoming = Incoming::parse(&message, policy, &provider, &limits).ok()?;
            Some((incoming, digest))
        });
        let (incoming, digest) = match read.await {
            Ok(Some(read)) => read,
            Ok(None) => {
                let subject = Subject { scope: "unreadable".to_owned(), delivery: 0 };
                self.emit(EventId::MalformedRequest, &subject, 0, |event| event.with_error_class(ErrorClass::Request));
                return Response::error(400, "the message is not a SCEP request\n");
            }
            Err(OffloadError::Busy) => return self.busy(),
            Err(OffloadError::Panicked) => return Response::error(500, "internal error\n"),
        };
        let number = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        let subject = Subject { scope: format!("{}#{number:08x}", incoming.transaction_id()), delivery: 1 };
        self.emit(EventId::ScepRequestReceived, &subject, 0, |event| {
            event.with_detail("messageType", &incoming.message_type().to_string())
        });
        let mut guard = AdminGuard { inner: self, subject: subject.clone(), armed: true };
        let authority = self.authorities().recipient(&incoming, self.now()).clone();
        let mut reply_to = incoming.reply(&authority.decryption);
        let (outcome, original) = self.serve(incoming, authority.clone(), digest, subject.clone(), deadline).await;
        if let Some(original) = original {
            reply_to.recipient = original;
        }
        let response = self.respond(&reply_to, &authority, &outcome, deadline, &subject).await;
        guard.armed = false;
        self.conclude(&outcome, response.status, &subject);
        response
    }

    /// Everything between reading the request and answering it; with the certificate that the answer goes to, when it is not the signer's.
    async fn serve(
        &self,
        incoming: Incoming,
        authority: Arc<Authority>,
        digest: [u8; 32],
        subject: Subject,
        deadline: Timestamp,
    ) -> (Outcome, Option<Certificate>) {
        // What the outside shows, before any private key is used.
        let allowed = incoming.algorithms_allowed(self.form.algorithms, &authority.decryption, &self.context.provider);
        if !allowed || !incoming.signer_can_decrypt() {
            let reason = "The algorithms of the request or the key of the client are not allowed.";
            return (Outcome::refused(Stage::Verify, FailInfo::BadAlg, ErrorClass::Unsupported, reason), None);
        }
        if self.nonces.is_reused(incoming.nonce(), &digest, self.now()) {
            return (self.nonce_reused(&subject), None);
        }
        match incoming.message_type() {
            MessageType::CertPoll => self.poll(&incoming, subject, deadline).await,
            MessageType::GetCert | MessageType::GetCrl => (self.query(incoming, authority, &subject, deadline).await, None),
            MessageType::PkcsReq | MessageType::RenewalReq => (self.enrol(incoming, authority, digest, subject, deadline).await, None),
            MessageType::CertRep => {
                let reason = "The messageType is unknown, withdrawn, or none of a request.";
                (Outcome::refused(Stage::Verify, FailInfo::BadRequest, ErrorClass::Request, reason), None)
            }
        }
    }

    async fn enrol(
        &self,
        incoming: Incoming,
        authority: Arc<Authority>,
        digest: [u8; 32],
        subject: Subject,
        deadline: Timestamp,
    ) -> Outcome {
        let refused = |fail_info, class, reason: &str| Outcome::refused(Stage::Verify, fail_info, class, reason);
        let binding = match self.binding(&incoming, deadline, &subject).await {
            Ok(binding) => binding,
            Err(not_served) => {
                self.emit_not_served(&subject, &not_served);
                return refused(FailInfo::BadRequest, not_served.class, &not_served.reason);
            }
        };
        let verify = move |incoming: Incoming, unwrapped, provider: &CryptoProvider, limits: &Limits| {
            incoming.verify(unwrapped, binding, provider, limits)
        };
        let verified = match self.open(incoming, authority.clone(), deadline, verify).await {
            Ok(verified) => verified,
            Err(OpenError::Bad) => return refused(FailInfo::BadMessageCheck, ErrorClass::Request, "The request could not be verified."),
            Err(OpenError::Unavailable) => return Outcome::TryLater { reason: "The decryption key is unavailable." },
            Err(OpenError::Busy) => return Outcome::TryLater { reason: "Too many private-key operations are waiting." },
        };
        if !verified.csr_allowed(self.form.algorithms) {
            return refused(FailInfo::BadAlg, ErrorClass::Unsupported, "The digest under the CSR's own signature is not allowed.");
        }
        let Ok(signer_key) = record::sha256(&self.context.provider, verified.signer.spki()) else {
            return Outcome::TryLater { reason: "The crypto provider failed." };
        };
        let origin = Origin { signer_key, nonce: *verified.nonce.as_bytes(), message: digest };
        if !self.nonces.remember(origin.nonce, &digest, self.now()) {
            return self.nonce_reused(&subject);
        }
        Enrolment::new(self, authority, verified, subject, deadline).run(origin).await
    }

    fn nonce_reused(&self, subject: &Subject) -> Outcome {
        let reason = "The senderNonce was used by another message.";
        self.emit(EventId::RequestConflict, subject, 0, |event| event.with_message(reason));
        Outcome::refused(Stage::Verify, FailInfo::BadRequest, ErrorClass::Request, reason)
    }

    /// Decrypts the envelope, and does the CPU work that follows in the same go. One error for everything that is wrong inside.
    pub(super) async fn open<T: Send + 'static>(
        &self,
        mut incoming: Incoming,
        authority: Arc<Authority>,
        deadline: Timestamp,
        then: impl FnOnce(Incoming, Result<SecretBytes, UnwrapError>, &CryptoProvider, &Limits) -> Result<T, OpenError> + Send + 'static,
    ) -> Result<T, OpenError> {
        let _permit = self.key_operation(deadline).await?;
        let provider = self.context.provider.clone();
        let limits = self.context.limits.clone();
        let key = authority.decryption_key.clone();
        if key.is_local() {
            let work = move || {
                let request = incoming.unwrap_request(&authority.decryption, &provider)?;
                let unwrapped = unwrap_now(key.as_ref(), &request);
                then(incoming, unwrapped, &provider, &limits)
            };
            return self.context.offload(work).await?;
        }
        let work = {
            let provider = provider.clone();
            move || incoming.unwrap_request(&authority.decryption, &provider).map(|request| (incoming, request))
        };
        let (incoming, request) = self.context.offload(work).await??;
        let left = deadline.since(self.now());
        let unwrapped = match select(key.unwrap(&request), self.context.runtime.sleep(left)).await {
            Either::Left((result, _)) => result,
            Either::Right(((), _)) => Err(UnwrapError::Unavailable(None)),
        };
        self.context.offload(move || then(incoming, unwrapped, &provider, &limits)).await?
    }

    async fn key_operation(&self, deadline: Timestamp) -> Result<Permit, OpenError> {
        let left = deadline.since(self.now());
        match select(pin!(self.key_operations.enter()), self.context.runtime.sleep(left)).await {
            Either::Left((Ok(permit), _)) => Ok(permit),
            Either::Left((Err(_), _)) | Either::Right(((), _)) => Err(OpenError::Busy),
        }
    }

    async fn respond(
        &self,
        reply_to: &Reply,
        authority: &Arc<Authority>,
        outcome: &Outcome,
        deadline: Timestamp,
        subject: &Subject,
    ) -> Response {
        let content = match outcome {
            Outcome::TryLater { .. } => return self.busy(),
            Outcome::Released { certificate, .. } => Content::Certificate(certificate.clone()),
            Outcome::Told(content) => content.clone(),
            Outcome::Pending => Content::Pending,
            Outcome::Refused { fail_info, .. } => Content::Failure(*fail_info),
        };
        match self.reply(reply_to, authority.clone(), content, deadline).await {
            Ok(der) => Response::ok(media_type::PKI_MESSAGE, der),
            Err(OpenError::Bad) => {
                self.emit(EventId::PanicContained, subject, 0, |event| event.with_message("The reply could not be written."));
                Response::error(500, "internal error\n")
            }
            Err(OpenError::Busy | OpenError::Unavailable) => self.busy(),
        }
    }

    async fn reply(
        &self,
        reply_to: &Reply,
        authority: Arc<Authority>,
        content: Content,
        deadline: Timestamp,
    ) -> Result<Vec<u8>, OpenError> {
        let _permit = self.key_operation(deadline).await?;
        let (provider, reply_to, form) = (self.context.provider.clone(), reply_to.clone(), self.form);
        let key = authority.signing_key.clone();
        if key.is_local() {
            let work = move || {
                let unsigned = reply_to.write(content, form, &key.algorithms(), &authority.signing, &provider)?;
                let signature = sign_now(key.as_ref(), unsigned.algorithm(), unsigned.message()).map_err(|_| OpenError::Unavailable)?;
                Ok(unsigned.finish(&signature))
            };
            return self.context.offload(work).await?;
        }
        let remote = key.clone();
        let unsigned =
            self.context.offload(move || reply_to.write(content, form, &remote.algorithms(), &authority.signing, &provider)).await??;
        let left = deadline.since(self.now());
        let signature = match select(key.sign(unsigned.algorithm(), unsigned.message()), self.context.runtime.sleep(left)).await {
            Either::Left((Ok(signature), _)) => signature,
            _ => return Err(OpenError::Unavailable),
        };
        Ok(unsigned.finish(&signature))
    }

    /// The Admin event: exactly one for each request, now or when its stored notification has ended.
    fn conclude(&self, outcome: &Outcome, status: u16, subject: &Subject) {
        use super::step::Notified;
        match outcome {
            Outcome::Released { notified: Notified::Later, .. } | Outcome::Refused { notified: Notified::Later, .. } => {}
            // The end is yet to come, or there is none.
            Outcome::Pending | Outcome::Told(_) => {}
            Outcome::Released { notified, repeated, delivery, .. } => {
                let id = if *notified == Notified::Yes { EventId::ScepRequestSuccess } else { EventId::ScepRequestUploadFailure };
                let subject = Subject { delivery: *delivery, ..subject.clone() };
                self.emit(id, &subject, 0, |event| {
                    let event = event.with_detail("released", if status == 200 { "true" } else { "false" });
                    if *repeated { event.with_detail("repeated", "true") } else { event }
                });
            }
            Outcome::Refused { withheld: true, .. } => {
                self.emit(EventId::ScepRequestUploadFailure, subject, 0, |event| event.with_detail("released", "false"));
            }
            Outcome::Refused { stage, notified, class, reason, .. } => {
                self.emit(EventId::ScepRequestIssuedFailure, subject, 0, |event| {
                    event
                        .with_detail("stage", stage.as_str())
                        .with_detail("notified", if *notified == Notified::Yes { "true" } else { "false" })
                        .with_error_class(*class)
                        .with_message(reason)
                });
            }
            Outcome::TryLater { reason } => {
                self.emit(EventId::ScepRequestIssuedFailure, subject, 0, |event| {
                    event
                        .with_detail("stage", "admission")
                        .with_detail("notified", "false")
                        .with_error_class(ErrorClass::Transient)
                        .with_message(reason)
                });
            }
        }
    }
}

impl From<OffloadError> for OpenError {
    fn from(error: OffloadError) -> Self {
        match error {
            OffloadError::Busy => Self::Busy,
            OffloadError::Panicked => Self::Bad,
        }
    }
}
