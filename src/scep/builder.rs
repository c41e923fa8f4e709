//! Puts a service together; every configuration mistake surfaces in one `build()`.

use core::fmt;
use core::sync::atomic::AtomicI64;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, RwLock};

use rustls_pki_types::CertificateDer;

use super::admission::Gate;
use super::authority::{Authorities, Authority, Issuer};
use super::config::{Admission, AlgorithmPolicy, CaCertificates, NotificationPolicy, PendingPolicy, Persistence, RenewalPolicy};
use super::locks::KeyLocks;
use super::nonces::NonceCache;
use super::registration::{self, RegistrationAuthoritySource};
use super::service::{Inner, Service};
use super::wire::Form;
use crate::crypto::{ContentCipherAlgorithm, CryptoProvider, SlotName};
use crate::flow::ca_gate::{CONCURRENCY, CaLimits, Gates};
use crate::flow::seal::{Sealer, key_finding};
use crate::flow::{Context, Finding, module_findings};
use crate::ids::{CaName, InstanceId, TemplateName, TenantId};
use crate::limits::Limits;
use crate::message::scep::EmptyContent;
use crate::policy::IssuancePolicy;
use crate::ports::{
    CertificateAuthority, ChallengeValidator, EventSink, Journal, RegistrationAuthority, Runtime, ScepNotifier, SealingKeys,
};

/// Everything that is wrong with the configuration of a SCEP service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct ScepBuildError {
    /// One for each mistake.
    pub findings: Vec<Finding>,
}

impl fmt::Display for ScepBuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the SCEP service cannot be built:")?;
        self.findings.iter().try_for_each(|finding| write!(f, "\n- {finding}"))
    }
}

/// Makes a [`Service`]; see [`Service::builder`].
#[derive(Debug)]
pub struct ServiceBuilder {
    provider: CryptoProvider,
    journal: Arc<dyn Journal>,
    ca_name: CaName,
    ca: Arc<dyn CertificateAuthority>,
    ra: RegistrationAuthoritySource,
    validator: Arc<dyn ChallengeValidator>,
    notifier: Arc<dyn ScepNotifier>,
    tenant: Option<TenantId>,
    instance: Option<InstanceId>,
    runtime: Option<Arc<dyn Runtime>>,
    sink: Option<Arc<dyn EventSink>>,
    policy: Option<IssuancePolicy>,
    template: Option<TemplateName>,
    ca_limits: CaLimits,
    validity: Duration,
    notification: NotificationPolicy,
    renewal: RenewalPolicy,
    pending: PendingPolicy,
    ca_certificates: CaCertificates,
    algorithms: AlgorithmPolicy,
    empty: EmptyContent,
    admission: Admission,
    persistence: Persistence,
    limits: Limits,
    sealing_key: Option<SealingKeys>,
    issuing_authority: Option<String>,
    fips: Fips,
}

/// Whether what is outside of a FIPS module is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fips {
    NotAsked,
    Required,
}

impl ServiceBuilder {
    pub(super) fn new(
        provider: CryptoProvider,
        journal: Arc<dyn Journal>,
        ca_name: CaName,
        ca: Arc<dyn CertificateAuthority>,
        ra: RegistrationAuthoritySource,
        validator: Arc<dyn ChallengeValidator>,
        notifier: Arc<dyn ScepNotifier>,
    ) -> Self {
        Self {
            provider,
            journal,
            ca_name,
            ca,
            ra,
            validator,
            notifier,
            tenant: None,
            instance: None,
            runtime: None,
            sink: None,
            policy: None,
            template: None,
            ca_limits: CaLimits::default(),
            validity: Duration::from_secs(365 * 86_400),
            notification: NotificationPolicy::default(),
            renewal: RenewalPolicy::default(),
            pending: PendingPolicy::default(),
            ca_certificates: CaCertificates::default(),
            algorithms: AlgorithmPolicy::default(),
            empty: EmptyContent::default(),
            admission: Admission::default(),
            persistence: Persistence::default(),
            limits: Limits::default(),
            sealing_key: None,
            issuing_authority: None,
            fips: Fips::NotAsked,
        }
    }

    /// Sets the tenant; required.
    #[must_use]
    pub fn tenant(mut self, tenant: TenantId) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// Sets the name of this running instance; required.
    #[must_use]
    pub fn instance(mut self, instance: InstanceId) -> Self {
        self.instance = Some(instance);
        self
    }

    /// Sets clocks, timers and CPU threads; required.
    #[must_use]
    pub fn runtime(mut self, runtime: Arc<dyn Runtime>) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Sets where events go; required.
    #[must_use]
    pub fn sink(mut self, sink: Arc<dyn EventSink>) -> Self {
        self.sink = Some(sink);
        self
    }

    /// Sets what may be issued; required. An accepted challenge alone proves little: see [`IssuancePolicy`].
    #[must_use]
    pub fn policy(mut self, policy: IssuancePolicy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Sets the template that the CA is asked for. A template in a CSR is refused.
    #[must_use]
    pub fn template(mut self, template: TemplateName) -> Self {
        self.template = Some(template);
        self
    }

    /// Sets how long certificates shall be valid. Default one year.
    #[must_use]
    pub fn validity(mut self, validity: Duration) -> Self {
        self.validity = validity;
        self
    }

    /// Sets when the client gets its certificate. Default [`NotificationPolicy::NotifyBeforeRelease`].
    #[must_use]
    pub fn notification(mut self, policy: NotificationPolicy) -> Self {
        self.notification = policy;
        self
    }

    /// Sets whether a certificate of ours gets its holder a new one. Default [`RenewalPolicy::WithChallenge`].
    #[must_use]
    pub fn renewal(mut self, policy: RenewalPolicy) -> Self {
        self.renewal = policy;
        self
    }

    /// Sets what becomes of a request that the CA holds for approval. Default [`PendingPolicy::WaitForTheDeadline`].
    #[must_use]
    pub fn pending(mut self, policy: PendingPolicy) -> Self {
        self.pending = policy;
        self
    }

    /// Sets how GetCACert answers for a CA without an RA that has issuers. Default [`CaCertificates::Chain`].
    #[must_use]
    pub fn ca_certificates(mut self, form: CaCertificates) -> Self {
        self.ca_certificates = form;
        self
    }

    /// Sets what FAILURE and PENDING hold in the place of the envelope. Default [`EmptyContent::Empty`], which real clients need;
    /// [`EmptyContent::Absent`] is the letter of RFC 8894 sections 3.3.2.2 and 3.3.2.3.
    #[must_use]
    pub fn empty_content(mut self, empty: EmptyContent) -> Self {
        self.empty = empty;
        self
    }

    /// Sets which algorithms clients may use. Default [`AlgorithmPolicy::Modern`].
    #[must_use]
    pub fn algorithms(mut self, policy: AlgorithmPolicy) -> Self {
        self.algorithms = policy;
        self
    }

    /// Sets how much is let in.
    #[must_use]
    pub fn admission(mut self, admission: Admission) -> Self {
        self.admission = admission;
        self
    }

    /// Sets attempts, backoff and the replay window.
    #[must_use]
    pub fn persistence(mut self, persistence: Persistence) -> Self {
        self.persistence = persistence;
        self
    }

    /// Sets how the calls of the CA are limited: its nominal rate, when it is left alone, and how many calls may be repeats. A connector
    /// that asks the same CA has limits of its own.
    #[must_use]
    pub fn ca_limits(mut self, limits: CaLimits) -> Self {
        self.ca_limits = limits;
        self
    }

    /// Sets bounds for reading messages.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the keys that journal rows are sealed with: a [`SealingKey`](crate::ports::SealingKey), or one key of 32 random bytes as
    /// `SecretBytes`; required when the journal is durable. Otherwise a fresh one is made.
    #[must_use]
    pub fn sealing_key(mut self, keys: impl Into<SealingKeys>) -> Self {
        self.sealing_key = Some(keys.into());
        self
    }

    /// Sets the issuing authority's name in success notifications, at most 256 characters. Revocation requests come back with it, so never
    /// change it. Default: the CN of the issuer.
    #[must_use]
    pub fn issuing_authority(mut self, name: impl Into<String>) -> Self {
        self.issuing_authority = Some(name.into());
        self
    }

    /// Restricts the provider to what FIPS approves ([`CryptoProvider::fips_approved_only`]), and refuses to build unless every needed slot
    /// is filled by a FIPS module and the keys of the RA say that they are inside one.
    ///
    /// Most clients of SCEP then fail: requests must be encrypted with RSAES-OAEP and AES and signed with SHA-2, and nearly all clients know
    /// RSA PKCS#1 v1.5 alone. They get the failure `badAlg`.
    #[must_use]
    pub fn require_fips(mut self) -> Self {
        self.fips = Fips::Required;
        self.provider = self.provider.fips_approved_only().fips_keys_only();
        self
    }

    /// Checks everything, asks the CA for its chain, and makes the service.
    ///
    /// # Errors
    /// [`ScepBuildError`] lists every mistake.
    pub async fn build(mut self) -> Result<Service, ScepBuildError> {
        let mut findings = self.findings();
        let chain = match self.ca.chain().await {
            Ok(chain) if !chain.is_empty() => chain,
            Ok(_) => {
                findings.push(Finding::new("scep.ca", "the CA gave an empty chain", "let `chain` answer at least the issuing certificate"));
                Vec::new()
            }
            Err(error) => {
                findings.push(Finding::new("scep.ca", format!("the CA gave no chain: {error}"), "make the CA reachable"));
                Vec::new()
            }
        };
        self.check_status_source(&mut findings).await;
        let provider = Arc::new(self.provider.clone());
        let context = match (&self.tenant, &self.instance, &self.runtime, &self.sink) {
            (Some(tenant), Some(instance), Some(runtime), Some(sink)) => Some(Context {
                tenant: tenant.clone(),
                instance: instance.clone(),
                provider,
                runtime: runtime.clone(),
                sink: sink.clone(),
                limits: Limits { input_bytes: self.admission.max_message.min(self.limits.input_bytes), ..self.limits.clone() },
                gates: Arc::new(Gates::new(CONCURRENCY, BTreeMap::from([(self.ca_name.clone(), self.ca_limits)]))),
            }),
            _ => None,
        };
        let sealer = context
            .as_ref()
            .map(|context| Sealer::new(context.provider.clone(), context.tenant.clone(), context.runtime.clone(), self.sealing_key.take()));
        if let (Some(Err(error)), true) = (&sealer, findings.is_empty()) {
            findings.push(Finding::new(
                "scep.sealing_key",
                error.to_string(),
                "give 32 random bytes, and a provider with `random` and `aead`",
            ));
        }
        let authorities = self.authorities(context.as_ref(), chain, &mut findings).await.filter(|_| findings.is_empty());
        let (Some((current, former)), Some(context), Some(policy), Some(Ok(sealer))) = (authorities, context, self.policy, sealer) else {
            return Err(ScepBuildError { findings });
        };
        let managed = match self.ra {
            RegistrationAuthoritySource::Managed(managed) => Some(managed),
            RegistrationAuthoritySource::Given(_) => None,
        };
        Ok(Service::new(Inner {
            context,
            journal: self.journal,
            authorities: RwLock::new(Arc::new(Authorities::new(current, former, self.ca_certificates))),
            managed,
            validator: self.validator,
            notifier: self.notifier,
            policy,
            validity: self.validity,
            notification: self.notification,
            renewal: self.renewal,
            pending: self.pending,
            ca_certificates: self.ca_certificates,
            form: Form { algorithms: self.algorithms, empty: self.empty },
            requests: Gate::new(self.admission.requests, 0),
            key_operations: Gate::new(self.admission.key_operations, self.admission.key_queue),
            admission: self.admission,
            nonces: NonceCache::new(self.persistence.replay_window),
            persistence: self.persistence,
            sealer,
            issuing_authority: self.issuing_authority,
            locks: KeyLocks::default(),
            registration_after: AtomicI64::new(i64::MIN),
            looked_at: AtomicI64::new(i64::MIN),
            ahead: Mutex::default(),
        }))
    }

    /// A renewal without a challenge rests on the certificate's status: somebody must know it.
    async fn check_status_source(&self, findings: &mut Vec<Finding>) {
        let rests_on_status = self.renewal == RenewalPolicy::CertificateSuffices;
        if rests_on_status && !self.ca.capabilities().lookup_by_serial && self.ca.crl().await.is_err() {
            findings.push(Finding::new(
                "scep.renewal",
                "the certificate suffices, but the CA says neither by lookup nor by a CRL whether it is revoked",
                "implement `lookup` or `crl`, or leave `renewal` at `RenewalPolicy::WithChallenge`",
            ));
        }
    }

    /// The authorities to start with.
    async fn authorities(
        &self,
        context: Option<&Context>,
        chain: Vec<CertificateDer<'static>>,
        findings: &mut Vec<Finding>,
    ) -> Option<(Authority, Vec<Authority>)> {
        let issuer = Issuer::new(self.ca_name.clone(), self.ca.clone(), self.template.clone());
        let (ra, former) = match &self.ra {
            RegistrationAuthoritySource::Given(ra) => (RegistrationAuthority::clone(ra), Vec::new()),
            // Nothing is asked of a CA while the configuration is known to be wrong.
            RegistrationAuthoritySource::Managed(_) if !findings.is_empty() => return None,
            RegistrationAuthoritySource::Managed(managed) => {
                let context = context?;
                match registration::first(managed, context, &issuer, &chain, self.persistence.cached_certificates).await {
                    Ok(found) => found,
                    Err(error) => {
                        let problem = format!("there is no certificate for the RA: {error}");
                        findings.push(Finding::new("scep.ra", problem, "let the CA issue it, or give a `RegistrationAuthority`"));
                        return None;
                    }
                }
            }
        };
        if self.fips == Fips::Required {
            let keys = [("signing_key", ra.signing_key.fips()), ("decryption_key", ra.decryption_key.fips())];
            let outside = keys.into_iter().filter(|(_, fips)| !fips).map(|(setting, _)| format!("scep.ra.{setting}"));
            findings.extend(module_findings(&self.provider, SLOTS, outside));
        }
        let surroundings = (&self.provider, &self.limits, self.runtime.as_ref().map(|runtime| runtime.now()));
        let current = Authority::read(issuer, &ra, chain, "scep", surroundings, findings)?;
        Some((current, former))
    }

    fn findings(&self) -> Vec<Finding> {
        let mut findings = self.ca_limits.findings(&self.ca_name);
        let mut check = |wrong: bool, setting: &str, problem: &str, remedy: &str| {
            if wrong {
                findings.push(Finding::new(format!("scep.{setting}"), problem, remedy));
            }
        };
        check(self.tenant.is_none(), "tenant", "there is none", "set it with `tenant`");
        check(self.instance.is_none(), "instance", "there is none", "set it with `instance`");
        check(self.runtime.is_none(), "runtime", "there is none", "set one with `runtime`, such as `StdRuntime`");
        check(self.sink.is_none(), "sink", "there is none: nobody would learn of failures", "set one with `sink`");
        check(self.policy.is_none(), "policy", "there is none: a challenge proves little", "set an `IssuancePolicy` with `policy`");
        check(self.validity.is_zero(), "validity", "certificates would end at once", "set more than zero");
        let too_long = self.policy.as_ref().is_some_and(|policy| self.validity > policy.longest_validity());
        check(too_long, "validity", "it is longer than the policy allows", "shorten it, or raise `max_validity` of the policy");
        check(self.admission.max_message < 1_024, "admission.max_message", "no request fits", "set at least 1 KiB; 64 KiB suits all");
        check(self.admission.deadline.is_zero(), "admission.deadline", "every request would be given up at once", "set more than zero");
        check(self.admission.requests == 0, "admission.requests", "no request would be let in", "set at least 1");
        check(self.admission.key_operations == 0, "admission.key_operations", "no request could be opened", "set at least 1");
        check(self.persistence.issue_attempts == 0, "persistence.issue_attempts", "the CA would never be asked", "set at least 1");
        check(self.persistence.notify_attempts == 0, "persistence.notify_attempts", "nobody would be notified", "set at least 1");
        check(
            self.persistence.backoff_base.is_zero(),
            "persistence.backoff_base",
            "retries would follow without a pause",
            "set more than zero",
        );
        check(self.persistence.pending_lifetime.is_zero(), "persistence.pending_lifetime", "no poll would find its request", "set days");
        let validator = self.validator.capabilities();
        check(
            self.pending == PendingPolicy::AnswerPending && !validator.pending,
            "pending",
            "clients would get PENDING, but the challenges of the validator do not outlive a wait, or its service knows no pending requests",
            "leave it at `PendingPolicy::WaitForTheDeadline`, as Intune needs it",
        );
        check(
            self.renewal == RenewalPolicy::CertificateSuffices && !validator.renewal_without_challenge,
            "renewal",
            "the certificate suffices, but the validator wants a challenge with each request",
            "leave it at `RenewalPolicy::WithChallenge`, as Intune needs it",
        );
        if let RegistrationAuthoritySource::Managed(managed) = &self.ra {
            findings.extend(managed.finding());
        }
        findings.extend(key_finding("scep.sealing_key", &*self.journal, self.sealing_key.as_ref()));
        let mut check = |wrong: bool, setting: &str, problem: &str, remedy: &str| {
            if wrong {
                findings.push(Finding::new(format!("scep.{setting}"), problem, remedy));
            }
        };
        check(
            self.issuing_authority.as_ref().is_some_and(|name| name.is_empty() || name.chars().count() > 256),
            "issuing_authority",
            "it is empty or longer than 256 characters",
            "set the issuer's common name",
        );
        let restricted = self.provider.is_fips_approved_only();
        let has_des = self.provider.content_cipher().is_ok_and(|cipher| cipher.supports(ContentCipherAlgorithm::DesCbc));
        if self.algorithms == AlgorithmPolicy::DangerousReadSingleDes && !restricted && !has_des {
            findings.push(Finding::new(
                "scep.algorithms",
                "single DES is to be read, but the crypto provider does not have it",
                "enable the feature `legacy-ciphers`, or leave `algorithms` at `AlgorithmPolicy::Modern`",
            ));
        }
        if restricted && self.algorithms.allows_3des_and_sha1() {
            findings.push(Finding::new(
                "scep.algorithms",
                "weak algorithms (3DES, SHA-1) are allowed, but the crypto provider is restricted to what FIPS approves",
                "leave `algorithms` at `AlgorithmPolicy::Modern`",
            ));
        }
        for slot in SLOTS.into_iter().filter(|slot| !self.provider.has(*slot)) {
            let problem = format!("the crypto provider `{}` has no slot `{}`", self.provider.name(), slot.as_str());
            findings.push(Finding::new(
                format!("scep.provider.{}", slot.as_str()),
                problem,
                "use a complete provider (feature `aws-lc-rs`) or fill the slot",
            ));
        }
        findings
    }
}

/// What the service needs of the provider.
const SLOTS: [SlotName; 6] =
    [SlotName::Random, SlotName::Digest, SlotName::Verification, SlotName::ContentCipher, SlotName::KeyTransport, SlotName::Aead];
