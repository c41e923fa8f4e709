//! Intune's queue.

use core::fmt::Debug;
use core::time::Duration;
use std::collections::BTreeMap;

use async_trait::async_trait;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::{ImportKeyName, PortError, RevocationError};
use crate::event::printable;
use crate::ids::{
    CaName, CorrelationId, DeviceId, InstanceId, Oid, RequestId, SerialNumber, Sid, TemplateName, TenantId, Thumbprint, UserId,
};
use crate::retry::ErrorClass;
use crate::secret::SecretBytes;
use crate::terms::{Flow, KeyAlgorithm, PaddingScheme, PfxProfile, RevocationReason, SubjectAltName};
use crate::time::Timestamp;

/// What a queue serves.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueCapabilities {
    /// The flows that it has requests for.
    pub flows: Vec<Flow>,
    /// The shortest allowed time between two polls of one flow.
    pub minimum_interval: Duration,
    /// How long a delivered request is kept from others; absent when requests are not leased.
    pub lease: Option<Duration>,
    /// A request may be delivered to another instance while or after this one works on it.
    pub redelivers_elsewhere: bool,
    /// The most items in one batch.
    pub max_batch: usize,
}

impl QueueCapabilities {
    /// A queue without leases that serves these flows.
    #[must_use]
    pub fn new(flows: Vec<Flow>) -> Self {
        Self { flows, minimum_interval: Duration::ZERO, lease: None, redelivers_elsewhere: false, max_batch: 100 }
    }
}

/// What is known of a request beside its payload. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RequestMeta {
    /// The queue's id, unique in tenant and flow.
    pub id: RequestId,
    /// The tenant.
    pub tenant: TenantId,
    /// The flow.
    pub flow: Flow,
    /// The device that will get the result.
    #[serde(default)]
    pub device: Option<DeviceId>,
    /// The user.
    #[serde(default)]
    pub user: Option<UserId>,
    /// Ids of the same work in other systems' logs.
    #[serde(default)]
    pub correlation: Vec<CorrelationId>,
    /// After this time the result is of no use.
    #[serde(default)]
    pub deadline: Option<Timestamp>,
}

impl RequestMeta {
    /// Without device, user, correlation and deadline.
    #[must_use]
    pub fn new(id: RequestId, tenant: TenantId, flow: Flow) -> Self {
        Self { id, tenant, flow, device: None, user: None, correlation: Vec::new(), deadline: None }
    }
}

/// A request to issue a certificate for a key pair that the connector makes.
#[derive(Debug)]
#[non_exhaustive]
pub struct PkcsRequest {
    /// The CA, as the profile names it.
    pub ca: CaName,
    /// The template.
    pub template: Option<TemplateName>,
    /// The subject in CertStrToName syntax, variables already resolved: `CN="Doe, Jane",O=Contoso`.
    pub subject: String,
    /// The subjectAltName.
    pub subject_alt_names: Vec<SubjectAltName>,
    /// The extendedKeyUsage.
    pub extended_key_usage: Vec<Oid>,
    /// The key pair to make.
    pub key: KeyAlgorithm,
    /// How long the certificate shall be valid.
    pub validity: Duration,
    /// The account's SID, where it is known.
    pub sid: Option<Sid>,
    /// For whom the result is encrypted.
    pub recipient: CertificateDer<'static>,
    /// How the PKCS#12 file is protected.
    pub pfx_profile: PfxProfile,
    /// The friendlyName in the PKCS#12 file.
    pub friendly_name: Option<String>,
}

impl PkcsRequest {
    /// The required parts; RSA-2048 and one year by default.
    #[must_use]
    pub fn new(ca: CaName, subject: impl Into<String>, recipient: CertificateDer<'static>) -> Self {
        Self {
            ca,
            template: None,
            subject: subject.into(),
            subject_alt_names: Vec::new(),
            extended_key_usage: Vec::new(),
            key: KeyAlgorithm::Rsa2048,
            validity: Duration::from_secs(365 * 86_400),
            sid: None,
            recipient,
            pfx_profile: PfxProfile::Modern,
            friendly_name: None,
        }
    }
}

/// A request to re-encrypt a stored payload for another recipient.
#[derive(Debug)]
#[non_exhaustive]
pub struct RecryptRequest {
    /// The stored payload: CMS EnvelopedData to the connector's key.
    pub payload: Vec<u8>,
    /// For whom it shall be encrypted.
    pub recipient: CertificateDer<'static>,
}

impl RecryptRequest {
    /// A request from its parts.
    #[must_use]
    pub fn new(payload: Vec<u8>, recipient: CertificateDer<'static>) -> Self {
        Self { payload, recipient }
    }
}

/// A request to re-encrypt an imported PFX for a device. The PFX is protected by its password only: a secret at rest.
#[derive(Debug)]
#[non_exhaustive]
pub struct ImportRequest {
    /// The key that the password is encrypted to.
    pub key_name: ImportKeyName,
    /// How.
    pub padding: PaddingScheme,
    /// The encrypted password.
    pub encrypted_password: Vec<u8>,
    /// The PFX file.
    pub pfx: SecretBytes,
    /// For whom it shall be encrypted.
    pub recipient: CertificateDer<'static>,
}

impl ImportRequest {
    /// A request from its parts.
    #[must_use]
    pub fn new(
        key_name: ImportKeyName,
        padding: PaddingScheme,
        encrypted_password: Vec<u8>,
        pfx: SecretBytes,
        recipient: CertificateDer<'static>,
    ) -> Self {
        Self { key_name, padding, encrypted_password, pfx, recipient }
    }
}

/// A request to revoke a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RevokeRequest {
    /// The serial number as the queue gives it, in any spelling.
    pub serial: String,
    /// The issuer's name as configured for the CA; absent: all own CAs are searched.
    pub issuer: Option<String>,
    /// The reason; Intune names none.
    pub reason: Option<RevocationReason>,
}

impl RevokeRequest {
    /// A request without issuer and reason.
    #[must_use]
    pub fn new(serial: impl Into<String>) -> Self {
        Self { serial: serial.into(), issuer: None, reason: None }
    }
}

/// What a request asks for.
#[derive(Debug)]
#[non_exhaustive]
pub enum Payload {
    /// Issue.
    Pkcs(Box<PkcsRequest>),
    /// Re-encrypt a stored payload.
    Recrypt(Box<RecryptRequest>),
    /// Re-encrypt an imported PFX.
    Import(Box<ImportRequest>),
    /// Revoke.
    Revoke(RevokeRequest),
    /// The queue delivered something that could not be read; the reason holds no secret.
    Malformed(String),
    /// A kind that this version does not know; kept for the report, never answered.
    Unknown(String),
}

/// One delivered request.
#[derive(Debug)]
#[non_exhaustive]
pub struct QueueItem {
    /// Which one.
    pub meta: RequestMeta,
    /// What it asks for.
    pub payload: Payload,
}

impl QueueItem {
    /// An item from its parts.
    #[must_use]
    pub fn new(meta: RequestMeta, payload: Payload) -> Self {
        Self { meta, payload }
    }
}

/// Asks for requests.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiveRequest {
    /// Of this flow.
    pub flow: Flow,
    /// For this instance.
    pub instance: InstanceId,
    /// At most so many.
    pub max: usize,
}

impl ReceiveRequest {
    /// A request from its parts.
    #[must_use]
    pub fn new(flow: Flow, instance: InstanceId, max: usize) -> Self {
        Self { flow, instance, max }
    }
}

/// Delivered requests.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Batch {
    /// The requests.
    pub items: Vec<QueueItem>,
    /// Poll no earlier than after this time, where the service said so.
    pub next_poll: Option<Duration>,
}

impl Batch {
    /// A batch of these requests.
    #[must_use]
    pub fn new(items: Vec<QueueItem>) -> Self {
        Self { items, next_poll: None }
    }
}

/// The result of a PKCS request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PkcsResult {
    /// CMS EnvelopedData to the recipient; its content is the PKCS#12 file.
    pub pfx_envelope: Vec<u8>,
    /// CMS EnvelopedData to the recipient; its content is the PKCS#12 file's password.
    pub password_envelope: Vec<u8>,
    /// SHA-1 of the certificate.
    pub thumbprint: Thumbprint,
    /// Its serial number.
    pub serial: SerialNumber,
    /// Its end of validity.
    pub not_after: Timestamp,
    /// The CA that issued it.
    pub ca: CaName,
}

impl PkcsResult {
    /// A result from its parts.
    #[must_use]
    pub fn new(
        pfx_envelope: Vec<u8>,
        password_envelope: Vec<u8>,
        thumbprint: Thumbprint,
        serial: SerialNumber,
        not_after: Timestamp,
        ca: CaName,
    ) -> Self {
        Self { pfx_envelope, password_envelope, thumbprint, serial, not_after, ca }
    }
}

/// The result of a recrypt request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RecryptResult {
    /// CMS EnvelopedData to the new recipient, with the same content.
    pub envelope: Vec<u8>,
}

impl RecryptResult {
    /// A result from its parts.
    #[must_use]
    pub fn new(envelope: Vec<u8>) -> Self {
        Self { envelope }
    }
}

/// What an import result holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ImportPayload {
    /// The password alone; the service has the PFX (what Microsoft documents).
    Password,
    /// The PFX file, and its password in an envelope of its own.
    Pfx,
}

/// The result of an import request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImportResult {
    /// What was asked for.
    pub payload: ImportPayload,
    /// CMS EnvelopedData to the device; its content is the password as opaque bytes.
    pub password_envelope: Vec<u8>,
    /// CMS EnvelopedData to the device; its content is the PFX file. With [`ImportPayload::Pfx`] only.
    pub pfx_envelope: Option<Vec<u8>>,
}

impl ImportResult {
    /// A result from its parts.
    #[must_use]
    pub fn new(payload: ImportPayload, password_envelope: Vec<u8>, pfx_envelope: Option<Vec<u8>>) -> Self {
        Self { payload, password_envelope, pfx_envelope }
    }
}

/// The result of a revocation request. It succeeded exactly when there is no error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RevokeResult {
    /// Why it failed.
    pub error: Option<RevocationError>,
    /// For the administrator; absent on success.
    pub message: Option<String>,
    /// For the operator's log, such as "already revoked"; not uploaded.
    pub note: Option<String>,
}

impl RevokeResult {
    /// It is revoked.
    #[must_use]
    pub fn succeeded(note: Option<String>) -> Self {
        Self { error: None, message: None, note: note.map(|note| printable(&note)) }
    }

    /// Whether it failed for a reason that may pass, so that the service offers the request again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.error.is_some_and(RevocationError::is_retryable)
    }

    /// It is not.
    #[must_use]
    pub fn failed(error: RevocationError, message: impl Into<String>) -> Self {
        Self { error: Some(error), message: Some(printable(&message.into())), note: None }
    }
}

/// Why a request ended without what it asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// The class.
    pub class: ErrorClass,
    /// The other side's code, where there is one.
    pub code: Option<String>,
    /// A sentence without secrets.
    pub message: String,
}

impl Failure {
    /// A failure without code. Control characters in the message are replaced, and overlong text is cut.
    #[must_use]
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, code: None, message: printable(&message.into()) }
    }

    /// Adds the other side's code.
    #[must_use]
    pub fn with_code(mut self, code: Option<String>) -> Self {
        self.code = code.map(|code| printable(&code));
        self
    }
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
    /// Issued and packed.
    Pkcs(Box<PkcsResult>),
    /// Re-encrypted.
    Recrypt(RecryptResult),
    /// Re-encrypted.
    Import(ImportResult),
    /// Revoked or not.
    Revoke(RevokeResult),
    /// Failed for good.
    Failed(Failure),
}

impl Outcome {
    /// Whether the service offers the request again after this: a revocation that failed for a reason that may pass (B.2, codes from 4100).
    /// The connector then works on it anew; every other finished request is only answered again.
    #[must_use]
    pub fn is_offered_again(&self) -> bool {
        matches!(self, Self::Revoke(result) if result.is_retryable())
    }

    /// Why it failed, when it did.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        match self {
            Self::Failed(failure) => Some(failure.message.clone()),
            Self::Revoke(RevokeResult { error: Some(error), message, .. }) => Some(message.clone().unwrap_or_else(|| format!("{error:?}"))),
            _ => None,
        }
    }
}

/// One result to upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ResultItem {
    /// Of this request.
    pub meta: RequestMeta,
    /// The result.
    pub outcome: Outcome,
}

impl ResultItem {
    /// A result from its parts.
    #[must_use]
    pub fn new(meta: RequestMeta, outcome: Outcome) -> Self {
        Self { meta, outcome }
    }
}

/// Uploads results of one flow.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompleteRequest {
    /// The flow.
    pub flow: Flow,
    /// From this instance.
    pub instance: InstanceId,
    /// At least one result.
    pub results: Vec<ResultItem>,
}

impl CompleteRequest {
    /// A request from its parts.
    #[must_use]
    pub fn new(flow: Flow, instance: InstanceId, results: Vec<ResultItem>) -> Self {
        Self { flow, instance, results }
    }
}

/// What the queue says to one uploaded result.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompleteAnswer {
    /// Taken; a repeat of the same result is taken as well.
    Accepted,
    /// Not now: upload it again.
    TryAgain(String),
    /// Never: the request is gone or the result is refused.
    Refused(String),
}

/// Keeps delivered requests from others.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExtendLeaseRequest {
    /// The flow.
    pub flow: Flow,
    /// The instance that holds them.
    pub instance: InstanceId,
    /// The requests.
    pub requests: Vec<RequestId>,
}

impl ExtendLeaseRequest {
    /// A request from its parts.
    #[must_use]
    pub fn new(flow: Flow, instance: InstanceId, requests: Vec<RequestId>) -> Self {
        Self { flow, instance, requests }
    }
}

/// Counts of one flow since start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FlowCounters {
    /// Requests received.
    pub received: u64,
    /// Requests that succeeded and were acknowledged.
    pub succeeded: u64,
    /// Requests that failed and were acknowledged.
    pub failed: u64,
    /// Attempts that were repeated.
    pub retried: u64,
    /// Polls that failed.
    pub poll_failures: u64,
}

/// How the connector is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HealthMessage {
    /// The tenant.
    pub tenant: TenantId,
    /// The instance.
    pub instance: InstanceId,
    /// When.
    pub at: Timestamp,
    /// The version of this crate.
    pub version: String,
    /// Counts by flow.
    pub flows: BTreeMap<Flow, FlowCounters>,
    /// Events since the last message, by number.
    pub events: BTreeMap<u16, u64>,
    /// What an operator should look at, in sentences.
    pub findings: Vec<String>,
    /// When each credential ends that the connector works with, by its name.
    #[serde(default)]
    pub credentials: BTreeMap<String, Timestamp>,
}

impl HealthMessage {
    /// A message without counts.
    #[must_use]
    pub fn new(tenant: TenantId, instance: InstanceId, at: Timestamp) -> Self {
        Self {
            tenant,
            instance,
            at,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            flows: BTreeMap::new(),
            events: BTreeMap::new(),
            findings: Vec::new(),
            credentials: BTreeMap::new(),
        }
    }
}

/// The queue of a tenant.
///
/// Delivery is at least once: the connector recognises repeats. `receive` is called once per poll interval and flow, `complete` whenever
/// results wait. Payloads hold secrets: implementations must not log them.
#[async_trait]
pub trait IntuneQueue: Debug + Send + Sync {
    /// What it serves; asked once by `build()`.
    fn capabilities(&self) -> QueueCapabilities;

    /// Takes requests. A dropped call may lose a delivery until the queue offers it again.
    ///
    /// # Errors
    /// The flow's download-failure event is raised and the next poll tries again.
    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, PortError>;

    /// Uploads results; one answer for each, in order. Must be idempotent by request id.
    ///
    /// # Errors
    /// The same results are uploaded again with backoff, byte for byte.
    async fn complete(&self, request: CompleteRequest) -> Result<Vec<CompleteAnswer>, PortError>;

    /// Prolongs leases while work goes on. The default: requests are not leased.
    ///
    /// # Errors
    /// Work goes on; the result may be refused.
    async fn extend_lease(&self, request: ExtendLeaseRequest) -> Result<(), PortError> {
        let _ = request;
        Ok(())
    }

    /// Takes a health message. The default: the queue takes none.
    ///
    /// # Errors
    /// Retried a few times, then dropped with an event.
    async fn report_health(&self, message: HealthMessage) -> Result<(), PortError> {
        let _ = message;
        Err(PortError::unsupported("this queue takes no health messages"))
    }
}
