//! Puts a service together; every configuration mistake surfaces in one `build()`.

use core::fmt;
use core::sync::atomic::AtomicI64;
use core::time::Duration;
use std::sync::{Arc, RwLock};

use rustls_pki_types::CertificateDer;

use super::admission::Gate;
use super::config::{Admission, AlgorithmPolicy, NotificationPolicy, Persistence, RegistrationAuthority};
use super::service::{Authority, Inner, KeyLocks, Service};
use crate::crypto::{CryptoProvider, SlotName};
use crate::flow::seal::Sealer;
use crate::flow::{Context, Finding, module_findings};
use crate::ids::{CaName, InstanceId, TemplateName, TenantId};
use crate::limits::Limits;
use crate::message::algorithm::PublicKeyAlgorithm;
use crate::message::certificate::Certificate;
use crate::message::path;
use crate::policy::IssuancePolicy;
use crate::ports::{CertificateAuthority, ChallengeValidator, EventSink, Journal, Runtime, ScepNotifier};
use crate::secret::SecretBytes;

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
    ra: RegistrationAuthority,
    validator: Arc<dyn ChallengeValidator>,
    notifier: Arc<dyn ScepNotifier>,
    tenant: Option<TenantId>,
    instance: Option<InstanceId>,
    runtime: Option<Arc<dyn Runtime>>,
    sink: Option<Arc<dyn EventSink>>,
    policy: Option<IssuancePolicy>,
    template: Option<TemplateName>,
    validity: Duration,
    notification: NotificationPolicy,
    algorithms: AlgorithmPolicy,
    admission: Admission,
    persistence: Persistence,
    limits: Limits,
    sealing_key: Option<SecretBytes>,
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
        ra: RegistrationAuthority,
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
            validity: Duration::from_secs(365 * 86_400),
            notification: NotificationPolicy::default(),
            algorithms: AlgorithmPolicy::default(),
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

    /// Sets bounds for reading messages.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the key of 32 bytes that journal rows are sealed with; required when the journal is durable. Otherwise a fresh one is made.
    #[must_use]
    pub fn sealing_key(mut self, key: SecretBytes) -> Self {
        self.sealing_key = Some(key);
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
    pub async fn build(self) -> Result<Service, ScepBuildError> {
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
        let authority = self.authority(chain, &mut findings);
        let provider = Arc::new(self.provider);
        let sealer = match self.sealing_key {
            Some(key) => Sealer::new(provider.clone(), key),
            None => Sealer::random(provider.clone()),
        };
        if sealer.is_err() {
            findings.push(Finding::new(
                "scep.sealing_key",
                "no rows can be sealed with it",
                "give 32 random bytes and a provider with `random` and `aead`",
            ));
        }
        let (Some(tenant), Some(instance), Some(runtime), Some(sink), Some(policy), Some(authority), Ok(sealer)) =
            (self.tenant, self.instance, self.runtime, self.sink, self.policy, authority, sealer)
        else {
            return Err(ScepBuildError { findings });
        };
        if !findings.is_empty() {
            return Err(ScepBuildError { findings });
        }
        let limits = Limits { input_bytes: self.admission.max_message.min(self.limits.input_bytes), ..self.limits };
        Ok(Service::new(Inner {
            context: Context { tenant, instance, provider, runtime, sink, limits },
            journal: self.journal,
            ca_name: self.ca_name,
            ca_is_idempotent: self.ca.capabilities().idempotent_issue,
            ca: self.ca,
            signing_key: self.ra.signing_key,
            decryption_key: self.ra.decryption_key,
            validator: self.validator,
            notifier: self.notifier,
            policy,
            template: self.template,
            validity: self.validity,
            notification: self.notification,
            algorithms: self.algorithms,
            requests: Gate::new(self.admission.requests, 0),
            key_operations: Gate::new(self.admission.key_operations, self.admission.key_queue),
            admission: self.admission,
            persistence: self.persistence,
            sealer,
            issuing_authority: self.issuing_authority,
            authority: RwLock::new(Arc::new(authority)),
            locks: KeyLocks::default(),
            looked_at: AtomicI64::new(i64::MIN),
        }))
    }

    fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
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
        check(
            self.journal.is_durable() && self.sealing_key.is_none(),
            "sealing_key",
            "the journal is durable and a fresh key would not open its rows after a restart",
            "set one with `sealing_key`, kept apart from the journal",
        );
        check(
            self.issuing_authority.as_ref().is_some_and(|name| name.is_empty() || name.chars().count() > 256),
            "issuing_authority",
            "it is empty or longer than 256 characters",
            "set the issuer's common name",
        );
        let slots =
            [SlotName::Random, SlotName::Digest, SlotName::Verification, SlotName::ContentCipher, SlotName::KeyTransport, SlotName::Aead];
        if self.provider.is_fips_approved_only() && self.algorithms == AlgorithmPolicy::DangerousAllow3DesAndSha1 {
            findings.push(Finding::new(
                "scep.algorithms",
                "3DES and SHA-1 are allowed, but the crypto provider is restricted to what FIPS approves",
                "leave `algorithms` at `AlgorithmPolicy::Modern`",
            ));
        }
        if self.fips == Fips::Required {
            let keys = [("signing_key", self.ra.signing_key.fips()), ("decryption_key", self.ra.decryption_key.fips())];
            let outside = keys.into_iter().filter(|(_, fips)| !fips).map(|(setting, _)| format!("scep.ra.{setting}"));
            findings.extend(module_findings(&self.provider, slots, outside));
        }
        for slot in slots.into_iter().filter(|slot| !self.provider.has(*slot)) {
            let problem = format!("the crypto provider `{}` has no slot `{}`", self.provider.name(), slot.as_str());
            findings.push(Finding::new(
                format!("scep.provider.{}", slot.as_str()),
                problem,
                "use a complete provider (feature `aws-lc-rs`) or fill the slot",
            ));
        }
        findings
    }

    /// Reads and checks the certificates of RA and CA.
    fn authority(&self, chain: Vec<CertificateDer<'static>>, findings: &mut Vec<Finding>) -> Option<Authority> {
        let mut read = |setting: &str, der: &CertificateDer<'static>| match Certificate::from_der(der, &self.limits) {
            Ok(certificate) => Some(certificate),
            Err(error) => {
                findings.push(Finding::new(setting, format!("it cannot be read: {error}"), "give an X.509 certificate as DER"));
                None
            }
        };
        let signing = read("scep.ra.signing_certificate", &self.ra.signing_certificate);
        let decryption = read("scep.ra.decryption_certificate", &self.ra.decryption_certificate);
        let issuers: Vec<Certificate> = chain.iter().filter_map(|der| read("scep.ca", der)).collect();
        let (signing, decryption) = (signing?, decryption?);
        let mut check = |wrong: bool, setting: &str, problem: &str, remedy: &str| {
            if wrong {
                findings.push(Finding::new(format!("scep.ra.{setting}"), problem, remedy));
            }
        };
        let rsa =
            |certificate: &Certificate| matches!(certificate.public_key_algorithm(), PublicKeyAlgorithm::Rsa { bits } if *bits >= 2_048);
        check(!rsa(&signing), "signing_certificate", "its key is not RSA of 2048 bits or more", "use an RSA certificate of an RA");
        check(!rsa(&decryption), "decryption_certificate", "its key is not RSA of 2048 bits or more", "use an RSA certificate of an RA");
        check(
            self.ra.signing_key.public_key().as_ref() != signing.spki(),
            "signing_key",
            "it does not belong to the signing certificate",
            "give the key of that certificate",
        );
        check(
            self.ra.decryption_key.public_key().as_ref() != decryption.spki(),
            "decryption_key",
            "it does not belong to the decryption certificate",
            "give the key of that certificate",
        );
        check(
            signing.key_usage().is_some_and(|usage| !usage.digital_signature),
            "signing_certificate",
            "its keyUsage has no digitalSignature (RFC 8894 section 2.1.2)",
            "have it issued with digitalSignature; a CA that serves SCEP itself needs it too",
        );
        check(
            decryption.key_usage().is_some_and(|usage| !usage.key_encipherment),
            "decryption_certificate",
            "its keyUsage has no keyEncipherment (RFC 8894 section 2.1.2)",
            "have it issued with keyEncipherment; a CA that serves SCEP itself needs it too",
        );
        if let (Some(runtime), Some((_, above))) = (&self.runtime, issuers.split_first()) {
            let now = runtime.now();
            for (setting, certificate) in [("signing_certificate", &signing), ("decryption_certificate", &decryption)] {
                let is_ca = chain.first().is_some_and(|issuer| issuer.as_ref() == certificate.der().as_ref());
                let fits = path::verify_chain(
                    &self.provider,
                    certificate,
                    &issuers,
                    above.last().map_or(&issuers[..1], core::slice::from_ref),
                    now,
                );
                check(
                    !is_ca && fits.is_err(),
                    setting,
                    "it is not issued by the CA, or not valid now",
                    "have the CA issue it: clients verify replies by the CA",
                );
            }
        }
        Some(Authority { signing, decryption, chain })
    }
}
