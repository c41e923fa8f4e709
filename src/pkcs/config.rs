//! What the user sets for the PKCS flow.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustls_pki_types::CertificateDer;

use super::run::PkcsWorker;
use crate::crypto::{ContentCipherAlgorithm, CryptoProvider, KeyTransportAlgorithm};
use crate::flow::ca_gate::COOL_DOWN;
use crate::flow::{Finding, FlowSpec, QueueSettings, ReplaceCa, envelope_findings};
use crate::ids::CaName;
use crate::limits::Limits;
use crate::message::certificate::Certificate;
use crate::policy::post_issue::Tolerance;
use crate::policy::{IssuancePolicy, RecipientPolicy};
use crate::ports::{CertificateAuthority, IntuneQueue};
use crate::terms::KeyAlgorithm;

/// How long a call of a CA may take; slow ones (templates with manager approval aside) answer within seconds.
const CA_TIMEOUT: Duration = Duration::from_secs(120);
/// Keys that wait for a request.
const MOST_READY_KEYS: usize = 10_000;
/// What the PKCS#12 writer accepts.
const PFX_ITERATIONS: core::ops::RangeInclusive<u32> = 2_000..=1_000_000;

/// The PKCS flow: where requests come from, which CAs issue, what may be issued, and for whom it is encrypted.
#[derive(Debug, Clone)]
pub struct PkcsConfig {
    pub(super) settings: QueueSettings,
    pub(super) authorities: BTreeMap<CaName, Authority>,
    pub(super) issuance: IssuancePolicy,
    pub(super) recipients: RecipientPolicy,
    pub(super) tolerance: Tolerance,
    pub(super) cool_down: Duration,
    pub(super) ca_timeout: Duration,
    pub(super) cipher: ContentCipherAlgorithm,
    pub(super) transport: KeyTransportAlgorithm,
    pub(super) iterations: Option<u32>,
    pub(super) key_pool: BTreeMap<KeyAlgorithm, usize>,
}

impl PkcsConfig {
    /// The flow with one CA, known to the profiles as `ca_name`.
    #[must_use]
    pub fn new(
        queue: Arc<dyn IntuneQueue>,
        ca_name: CaName,
        ca: Arc<dyn CertificateAuthority>,
        issuance: IssuancePolicy,
        recipients: RecipientPolicy,
    ) -> Self {
        Self {
            settings: QueueSettings::new(queue),
            authorities: BTreeMap::from([(ca_name, Authority::new(ca))]),
            issuance,
            recipients,
            tolerance: Tolerance::default(),
            cool_down: COOL_DOWN,
            ca_timeout: CA_TIMEOUT,
            cipher: ContentCipherAlgorithm::Aes256Cbc,
            transport: KeyTransportAlgorithm::RsaPkcs1v15,
            iterations: None,
            key_pool: BTreeMap::new(),
        }
    }

    /// Adds a CA. The name `Symantec` stands for DigiCert: its requests raise event 1032 (the documented routing).
    #[must_use]
    pub fn with_ca(mut self, name: CaName, ca: Arc<dyn CertificateAuthority>) -> Self {
        self.authorities.insert(name, Authority::new(ca));
        self
    }

    /// Pins a root for a CA that was added before: issued certificates must chain to it or to another pinned one. Without a pin, the
    /// end of the chain that the CA names itself is trusted.
    #[must_use]
    pub fn with_ca_root(mut self, name: &CaName, root: CertificateDer<'static>) -> Self {
        if let Some(authority) = self.authorities.get_mut(name) {
            authority.roots.push(root);
        } else {
            self.authorities.insert(name.clone(), Authority { ca: None, roots: vec![root], shared: Arc::default() });
        }
        self
    }

    /// Sets poll interval, concurrency, attempts and the like; the queue is that of the settings.
    #[must_use]
    pub fn with_settings(mut self, settings: QueueSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets how exactly a CA must meet the planned validity.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: Tolerance) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Sets how long a CA is left alone after it said that it is misconfigured. Default 5 minutes.
    #[must_use]
    pub fn with_cool_down(mut self, cool_down: Duration) -> Self {
        self.cool_down = cool_down;
        self
    }

    /// Sets after what time a call of a CA is abandoned. Its effect is then unknown. Default 2 minutes.
    #[must_use]
    pub fn with_ca_timeout(mut self, timeout: Duration) -> Self {
        self.ca_timeout = timeout;
        self
    }

    /// Sets how envelopes are encrypted. Default AES-256-CBC and RSAES-PKCS1-v1_5, which every reader of CMS understands; the envelopes
    /// go to one recipient and are opened there, so no padding oracle is offered by this connector.
    #[must_use]
    pub fn with_envelope(mut self, cipher: ContentCipherAlgorithm, transport: KeyTransportAlgorithm) -> Self {
        self.cipher = cipher;
        self.transport = transport;
        self
    }

    /// Sets the rounds of the key derivation in PKCS#12 files. The password is random, so few rounds lose nothing; the default is that of
    /// the PKCS#12 writer.
    #[must_use]
    pub fn with_pfx_iterations(mut self, iterations: u32) -> Self {
        self.iterations = Some(iterations);
        self
    }

    /// Keeps so many key pairs of an algorithm ready, made while `run_until` goes on and the flow has nothing to do, so that a burst of requests does not wait for
    /// them: an RSA key takes a processor from tens of milliseconds to seconds. Off by default; at most 10,000 keys, of about 1 KiB each.
    /// Call it once for each algorithm. Ready keys lie in memory that is wiped, are never stored before a request has them, are given out
    /// once, and end with this configuration. A stop waits for the key that is being made, as for other CPU work.
    #[must_use]
    pub fn with_key_pool(mut self, algorithm: KeyAlgorithm, keys: usize) -> Self {
        self.key_pool.insert(algorithm, keys);
        self
    }

    pub(super) fn with_authorities(&self, replace: ReplaceCa<'_>) -> Self {
        let mut config = self.clone();
        for (name, authority) in &mut config.authorities {
            authority.ca = authority.ca.take().map(|ca| replace(name, ca));
            authority.shared = Arc::default();
        }
        config
    }

    pub(super) fn findings(&self, provider: &CryptoProvider) -> Vec<Finding> {
        let mut findings = Vec::new();
        for problem in self.recipients.problems() {
            findings.push(Finding::new(
                "pkcs.recipients",
                problem,
                "trust the device CA, pin a certificate, or opt out by `RecipientPolicy::dangerous_encrypt_to_anyone`",
            ));
        }
        for (name, authority) in &self.authorities {
            let setting = format!("pkcs.ca.{name}");
            let Some(ca) = &authority.ca else {
                findings.push(Finding::new(setting, "a root is pinned for a CA that is not configured", "add the CA before its root"));
                continue;
            };
            let can = ca.capabilities();
            let sid = self.issuance.sid_setting();
            if self.issuance.allows_sids() && sid.writes_extension() && !can.sid_extension {
                findings.push(Finding::new(
                    setting.clone(),
                    "the SID policy asks for the SID extension, which this CA cannot write",
                    "use another CA, or set `IssuancePolicy::sid_policy` to `Uri` or `Off`",
                ));
            }
            if self.issuance.allows_sids() && sid.writes_uri() && !can.uri_san {
                findings.push(Finding::new(
                    setting.clone(),
                    "the SID policy asks for a SID URI, and this CA cannot write URIs",
                    "use another CA, or set `IssuancePolicy::sid_policy` to `Extension` or `Off`",
                ));
            }
            for root in &authority.roots {
                if let Err(error) = Certificate::from_der(root, &Limits::default()) {
                    findings.push(Finding::new(setting.clone(), format!("a root cannot be read: {error}"), "give it as DER"));
                }
            }
        }
        findings.extend(envelope_findings("pkcs", provider, self.cipher, self.transport));
        if self.iterations.is_some_and(|iterations| !PFX_ITERATIONS.contains(&iterations)) {
            findings.push(Finding::new("pkcs.pfx_iterations", "PKCS#12 files are not written so", "set 2,000 to 1,000,000"));
        }
        if self.key_pool.values().fold(0usize, |sum, keys| sum.saturating_add(*keys)) > MOST_READY_KEYS {
            findings.push(Finding::new("pkcs.key_pool", "more than 10,000 keys would lie in memory", "set what a burst needs"));
        }
        if self.ca_timeout.is_zero() {
            findings.push(Finding::new("pkcs.ca_timeout", "every call of a CA would be abandoned at once", "set more than zero"));
        }
        findings
    }
}

impl From<PkcsConfig> for FlowSpec {
    fn from(config: PkcsConfig) -> Self {
        let settings = config.settings.clone();
        Self::new(Arc::new(PkcsWorker::new(config)), settings)
    }
}

/// A CA of the flow with what its requests share.
#[derive(Debug, Clone)]
pub(super) struct Authority {
    pub(super) ca: Option<Arc<dyn CertificateAuthority>>,
    pub(super) roots: Vec<CertificateDer<'static>>,
    pub(super) shared: Arc<Shared>,
}

impl Authority {
    fn new(ca: Arc<dyn CertificateAuthority>) -> Self {
        Self { ca: Some(ca), roots: Vec::new(), shared: Arc::default() }
    }
}

/// What the requests of one CA know together.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Its chain, as it named it last.
    chain: Mutex<Option<Arc<[CertificateDer<'static>]>>>,
}

impl Shared {
    pub(super) fn chain(&self) -> Option<Arc<[CertificateDer<'static>]>> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_chain(&self, chain: Option<Arc<[CertificateDer<'static>]>>) {
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = chain;
    }
}
