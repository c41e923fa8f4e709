//! The certificate authority.

use core::fmt::Debug;
use core::time::Duration;

use async_trait::async_trait;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, CertificateSigningRequestDer};
use serde::{Deserialize, Serialize};

use super::{Approved, HiddenCsr, PortError};
use crate::ids::{CaName, IdempotencyKey, Oid, SerialNumber, Sid, TemplateName};
use crate::terms::{KeyAlgorithm, KeyUsage, RevocationReason, SubjectAltName};
use crate::time::Timestamp;

/// How certificates are named when they are revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RevokeBy {
    /// Issuer and serial number.
    Serial,
    /// The certificate's DER.
    Certificate,
    /// The CA-side id given when it was issued.
    CaSideId,
}

/// What a CA back end can do. There is no default: each implementation says it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaCapabilities {
    /// `issue` with the same idempotency key gives the same certificate instead of a second one.
    pub idempotent_issue: bool,
    /// `find` can tell whether a request was issued.
    pub find: bool,
    /// How long after a lost answer the CA may still issue; `find` is trusted to say `Absent` only after that.
    pub in_flight: Duration,
    /// How certificates are revoked; empty when it cannot revoke.
    pub revoke_by: Vec<RevokeBy>,
    /// `lookup` can tell whether the CA issued a certificate of a serial number.
    pub lookup_by_serial: bool,
    /// It can put the SID extension into certificates.
    pub sid_extension: bool,
    /// It can put URI names into certificates.
    pub uri_san: bool,
    /// It may answer `Pending`.
    pub pending: bool,
}

impl CaCapabilities {
    /// The least: no idempotency, no find, no lookup, no revocation, no SID extension, no URI, never pending, answers lost for 60 s at most.
    #[must_use]
    pub fn minimal() -> Self {
        Self {
            idempotent_issue: false,
            find: false,
            in_flight: Duration::from_secs(60),
            revoke_by: Vec::new(),
            lookup_by_serial: false,
            sid_extension: false,
            uri_san: false,
            pending: false,
        }
    }
}

/// What the certificate shall hold. The CSR says the same; back ends that cannot copy from a CSR build from this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CertificatePlan {
    /// The CA.
    pub ca: CaName,
    /// The template or profile.
    pub template: Option<TemplateName>,
    /// The subject as DER `Name`.
    pub subject: Vec<u8>,
    /// The subjectAltName; the SID URI is among them where the policy asks for one.
    pub subject_alt_names: Vec<SubjectAltName>,
    /// The key's algorithm.
    pub key: KeyAlgorithm,
    /// The keyUsage.
    pub key_usage: KeyUsage,
    /// The extendedKeyUsage.
    pub extended_key_usage: Vec<Oid>,
    /// The SID for the extension 1.3.6.1.4.1.311.25.2; absent for no extension.
    pub sid_extension: Option<Sid>,
    /// The latest end of validity.
    pub not_after: Timestamp,
}

impl CertificatePlan {
    /// A plan without names and usages.
    #[must_use]
    pub fn new(ca: CaName, subject: Vec<u8>, key: KeyAlgorithm, not_after: Timestamp) -> Self {
        Self {
            ca,
            template: None,
            subject,
            subject_alt_names: Vec::new(),
            key,
            key_usage: KeyUsage::SIGN_AND_ENCIPHER,
            extended_key_usage: Vec::new(),
            sid_extension: None,
            not_after,
        }
    }

    /// The plan as bytes that no other plan has, each part with its length before it. Their SHA-256 is
    /// [`ApprovalSubject::plan_digest`](super::ApprovalSubject::plan_digest): a back end that issues from the plan compares it.
    #[must_use]
    pub fn digest_input(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |part: &[u8]| {
            out.extend_from_slice(&(part.len() as u64).to_be_bytes());
            out.extend_from_slice(part);
        };
        put(b"certificate-plan-1");
        put(self.ca.as_str().as_bytes());
        put(self.template.as_ref().map_or("", |template| template.as_str()).as_bytes());
        put(&self.subject);
        put(&(self.subject_alt_names.len() as u64).to_be_bytes());
        for name in &self.subject_alt_names {
            let (kind, text) = match name {
                SubjectAltName::Upn(text) => (b"upn", text.clone()),
                SubjectAltName::Email(text) => (b"eml", text.clone()),
                SubjectAltName::Dns(text) => (b"dns", text.clone()),
                SubjectAltName::Uri(text) => (b"uri", text.clone()),
                SubjectAltName::Ip(ip) => (b"ip_", ip.to_string()),
            };
            put(kind);
            put(text.as_bytes());
        }
        put(format!("{:?}", self.key).as_bytes());
        let KeyUsage { digital_signature, content_commitment, key_encipherment, data_encipherment, key_agreement, key_cert_sign, crl_sign } =
            self.key_usage;
        let bits = [digital_signature, content_commitment, key_encipherment, data_encipherment, key_agreement, key_cert_sign, crl_sign];
        put(&bits.map(u8::from));
        put(&(self.extended_key_usage.len() as u64).to_be_bytes());
        for usage in &self.extended_key_usage {
            put(usage.as_str().as_bytes());
        }
        put(self.sid_extension.as_ref().map(ToString::to_string).unwrap_or_default().as_bytes());
        put(&self.not_after.as_micros().to_be_bytes());
        out
    }
}

/// One request to issue. Made by the connector only: CSR and plan are those of the approval.
#[non_exhaustive]
pub struct IssueRequest<'a> {
    /// The proof that it may be issued.
    pub approved: &'a Approved,
    /// Names the request for ever; pass it to CAs that take an idempotency key.
    pub key: IdempotencyKey,
    /// The CSR. A CSR from a SCEP client holds its challenge: do not log it.
    pub csr: &'a CertificateSigningRequestDer<'a>,
    /// What the certificate shall hold.
    pub plan: &'a CertificatePlan,
    /// Answer before this time.
    pub deadline: Timestamp,
}

impl Debug for IssueRequest<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("IssueRequest")
            .field("approved", &self.approved)
            .field("key", &self.key)
            .field("csr", &HiddenCsr(self.csr))
            .field("plan", &self.plan)
            .field("deadline", &self.deadline)
            .finish()
    }
}

/// A certificate and what the CA calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Issued {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Issuers up to, and with or without, the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The CA's own name for it, needed by some to revoke.
    pub ca_side_id: Option<String>,
}

impl Issued {
    /// A certificate without chain and id.
    #[must_use]
    pub fn new(certificate: CertificateDer<'static>) -> Self {
        Self { certificate, chain: Vec::new(), ca_side_id: None }
    }

    /// Adds issuers.
    #[must_use]
    pub fn with_chain(mut self, chain: Vec<CertificateDer<'static>>) -> Self {
        self.chain = chain;
        self
    }

    /// Adds the CA's own name.
    #[must_use]
    pub fn with_ca_side_id(mut self, id: impl Into<String>) -> Self {
        self.ca_side_id = Some(id.into());
        self
    }
}

/// The answer to a request to issue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum IssueAnswer {
    /// Done.
    Issued(Box<Issued>),
    /// Not yet: ask `status` with this id after that time.
    Pending {
        /// What to ask for.
        poll_id: String,
        /// When to ask.
        after: Duration,
    },
}

/// Asks about a pending request.
#[derive(Debug)]
#[non_exhaustive]
pub struct StatusRequest<'a> {
    /// The request.
    pub key: IdempotencyKey,
    /// As given by `Pending`.
    pub poll_id: &'a str,
    /// Answer before this time.
    pub deadline: Timestamp,
}

/// Asks whether a request was issued.
#[non_exhaustive]
pub struct FindRequest<'a> {
    /// The request.
    pub key: IdempotencyKey,
    /// The CSR that was, or will be, asked with.
    pub csr: &'a CertificateSigningRequestDer<'a>,
    /// The public key, as SubjectPublicKeyInfo DER.
    pub public_key: &'a [u8],
    /// The plan.
    pub plan: &'a CertificatePlan,
    /// Answer before this time.
    pub deadline: Timestamp,
}

impl Debug for FindRequest<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FindRequest")
            .field("key", &self.key)
            .field("csr", &HiddenCsr(self.csr))
            .field("public_key", &self.public_key)
            .field("plan", &self.plan)
            .field("deadline", &self.deadline)
            .finish()
    }
}

/// Whether a request was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindAnswer {
    /// It was.
    Found(Box<Issued>),
    /// It was not, and will not be unless asked again.
    Absent,
    /// The CA cannot say.
    CannotTell,
}

/// All that was issued for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindAllAnswer {
    /// These certificates, revoked ones included; none when there is none.
    Certificates(Vec<Issued>),
    /// The CA cannot say.
    CannotTell,
}

/// Asks whether the CA issued a certificate of this serial number.
#[derive(Debug)]
#[non_exhaustive]
pub struct LookupRequest<'a> {
    /// The serial number.
    pub serial: &'a SerialNumber,
    /// Answer before this time.
    pub deadline: Timestamp,
}

/// Whether a certificate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CertificateStatus {
    /// It is not revoked.
    Good,
    /// It is revoked, or on hold.
    Revoked,
    /// The CA does not say; its CRL is asked where it matters.
    #[default]
    Unknown,
}

/// What a CA knows of a certificate that it issued.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct KnownCertificate {
    /// The certificate, needed by CAs that revoke by [`RevokeBy::Certificate`].
    pub certificate: Option<CertificateDer<'static>>,
    /// The CA's own name for it, needed by CAs that revoke by [`RevokeBy::CaSideId`].
    pub ca_side_id: Option<String>,
    /// Whether it counts: SCEP renews and gives out again what is not revoked.
    pub status: CertificateStatus,
}

impl KnownCertificate {
    /// From its parts, with [`CertificateStatus::Unknown`].
    #[must_use]
    pub fn new(certificate: Option<CertificateDer<'static>>, ca_side_id: Option<String>) -> Self {
        Self { certificate, ca_side_id, status: CertificateStatus::Unknown }
    }

    /// Sets whether it counts.
    #[must_use]
    pub fn with_status(mut self, status: CertificateStatus) -> Self {
        self.status = status;
        self
    }
}

/// Whether the CA issued a certificate of a serial number, revoked ones included.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LookupAnswer {
    /// It did.
    Found(Box<KnownCertificate>),
    /// It certainly did not.
    Absent,
    /// The CA cannot say. A revocation that names no issuer is then left alone unless another CA says `Found`, and every other one `Absent`.
    CannotTell,
}

/// One request to revoke.
#[derive(Debug)]
#[non_exhaustive]
pub struct RevokeCall<'a> {
    /// The serial number.
    pub serial: &'a SerialNumber,
    /// The certificate, when it is known.
    pub certificate: Option<&'a CertificateDer<'a>>,
    /// The CA-side id, when it is known.
    pub ca_side_id: Option<&'a str>,
    /// The reason.
    pub reason: RevocationReason,
    /// Answer before this time.
    pub deadline: Timestamp,
}

/// What became of a request to revoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevokeAnswer {
    /// Revoked now.
    Revoked,
    /// It was revoked before: the desired state.
    AlreadyRevoked,
    /// The CA has no such certificate: final.
    UnknownSerial,
}

/// Asks to sign the certificates that follow the CA's own.
#[derive(Debug)]
#[non_exhaustive]
pub struct SignNextCaRequest<'a> {
    /// The next CA's certificate, and those of its RA and issuers.
    pub certificates: &'a [CertificateDer<'static>],
    /// Answer before this time.
    pub deadline: Timestamp,
}

macro_rules! request_constructor {
    ($type:ident <'a> ( $($field:ident : $ty:ty),* )) => {
        impl<'a> $type<'a> {
            /// A request from its parts; the connector makes it, tests of an implementation may too.
            #[must_use]
            pub fn new($($field: $ty),*) -> Self {
                Self { $($field),* }
            }
        }
    };
}

request_constructor!(StatusRequest<'a>(key: IdempotencyKey, poll_id: &'a str, deadline: Timestamp));
request_constructor!(FindRequest<'a>(
    key: IdempotencyKey,
    csr: &'a CertificateSigningRequestDer<'a>,
    public_key: &'a [u8],
    plan: &'a CertificatePlan,
    deadline: Timestamp
));
request_constructor!(SignNextCaRequest<'a>(certificates: &'a [CertificateDer<'static>], deadline: Timestamp));
request_constructor!(LookupRequest<'a>(serial: &'a SerialNumber, deadline: Timestamp));
request_constructor!(RevokeCall<'a>(
    serial: &'a SerialNumber,
    certificate: Option<&'a CertificateDer<'a>>,
    ca_side_id: Option<&'a str>,
    reason: RevocationReason,
    deadline: Timestamp
));

/// Issues and revokes certificates.
///
/// Called concurrently up to the configured limit per CA. A call may be repeated after [`Effect::Unknown`](crate::retry::Effect::Unknown)
/// only through `find`. A `Misconfigured` error stops this CA until its cool-down ends. Do not log CSRs from SCEP: they hold challenges.
#[async_trait]
pub trait CertificateAuthority: Debug + Send + Sync {
    /// What this back end can do; asked once by `build()`.
    fn capabilities(&self) -> CaCapabilities;

    /// Issues one certificate for what `request.approved` allows, and for nothing else.
    ///
    /// # Errors
    /// `Rejected` ends the request; `Transient` with [`Effect::None`](crate::retry::Effect::None) is retried, with `Unknown` goes to `find`.
    async fn issue(&self, request: IssueRequest<'_>) -> Result<IssueAnswer, PortError>;

    /// The state of a pending request. The default: this CA never answers `Pending`.
    ///
    /// # Errors
    /// As for `issue`.
    async fn status(&self, request: StatusRequest<'_>) -> Result<IssueAnswer, PortError> {
        let _ = request;
        Err(PortError::unsupported("this CA has no pending requests"))
    }

    /// Whether a request was issued, after an answer was lost, or before the first ask when another instance may have asked. A certificate
    /// that another request got for the same public key is not it: SCEP clients keep their keys from one request to the next.
    ///
    /// # Errors
    /// Retried; nothing is asked again before it answers.
    async fn find(&self, request: FindRequest<'_>) -> Result<FindAnswer, PortError>;

    /// Every certificate that was issued for a request, when it was asked more than once: the connector revokes those that nobody gets. By
    /// the request's own key, whatever the CA knows it by: never by the public key, which SCEP clients keep, or certificates in use are revoked.
    /// The default: what `find` gives, which is enough for a CA that is idempotent.
    ///
    /// # Errors
    /// Tried again later.
    async fn find_all(&self, request: FindRequest<'_>) -> Result<FindAllAnswer, PortError> {
        Ok(match self.find(request).await? {
            FindAnswer::Found(issued) => FindAllAnswer::Certificates(vec![*issued]),
            FindAnswer::Absent => FindAllAnswer::Certificates(Vec::new()),
            FindAnswer::CannotTell => FindAllAnswer::CannotTell,
        })
    }

    /// Whether this CA issued a certificate of that serial number and whether it counts, asked when a revocation names no issuer or the CA
    /// revokes by more than the serial number, and by SCEP before it renews a certificate or gives one out again. Security duty: an
    /// `Absent` that is not certain lets the connector tell Intune that a certificate does not exist, which ends its revocation. The
    /// default: this CA cannot say.
    ///
    /// # Errors
    /// Retried; nothing is revoked before it answers.
    async fn lookup(&self, request: LookupRequest<'_>) -> Result<LookupAnswer, PortError> {
        let _ = request;
        Ok(LookupAnswer::CannotTell)
    }

    /// Revokes a certificate. Must be idempotent: a second call answers `AlreadyRevoked`.
    ///
    /// # Errors
    /// `Transient` is retried whatever the effect, since revoking twice is harmless.
    async fn revoke(&self, request: RevokeCall<'_>) -> Result<RevokeAnswer, PortError>;

    /// The issuing certificate first, then its issuers up to the root.
    ///
    /// # Errors
    /// As the back end fails.
    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError>;

    /// The newest CRL. The default: this CA gives none.
    ///
    /// # Errors
    /// As the back end fails.
    async fn crl(&self) -> Result<CertificateRevocationListDer<'static>, PortError> {
        Err(PortError::unsupported("this CA gives no CRL"))
    }

    /// The answer to SCEP's GetNextCACert: the certificates as `message::scep::next_ca_certificates_to_be_signed` builds it, signed by the
    /// key of this CA. Asked once for each set of certificates, and again after a restart. The default: this CA signs none.
    ///
    /// Security duty: clients will trust what is signed here. Sign only certificates that the operator has named to the CA, or whose rollover
    /// it knows of.
    ///
    /// # Errors
    /// As the back end fails; clients then get no next certificate.
    async fn sign_next_ca(&self, request: SignNextCaRequest<'_>) -> Result<Vec<u8>, PortError> {
        let _ = request;
        Err(PortError::unsupported("this CA signs no answer to GetNextCACert"))
    }
}
