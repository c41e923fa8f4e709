//! What the user sets for the recrypt flow.

use core::time::Duration;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;

use super::run::RecryptWorker;
use crate::crypto::{ContentCipherAlgorithm, CryptoProvider, DecryptionKey, KeyTransportAlgorithm};
use crate::flow::credential::Credential;
use crate::flow::{Finding, FlowSpec, KEY_TIMEOUT, QueueSettings, envelope_findings, key_timeout_finding};
use crate::limits::Limits;
use crate::message::certificate::Certificate;
use crate::policy::RecipientPolicy;
use crate::ports::IntuneQueue;

/// A certificate to which stored payloads are encrypted, and its private key.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RecryptKey {
    /// By its issuer and serial number, or its subject key identifier, payloads name the key.
    pub certificate: CertificateDer<'static>,
    /// The key; it may be remote.
    pub key: Arc<dyn DecryptionKey>,
}

impl RecryptKey {
    /// A key from its parts.
    #[must_use]
    pub fn new(certificate: CertificateDer<'static>, key: Arc<dyn DecryptionKey>) -> Self {
        Self { certificate, key }
    }
}

/// The recrypt flow: where requests come from, which keys open stored payloads, and for whom they are encrypted again.
#[derive(Debug, Clone)]
pub struct RecryptConfig {
    pub(super) settings: QueueSettings,
    pub(super) keys: Vec<RecryptKey>,
    pub(super) recipients: RecipientPolicy,
    pub(super) cipher: ContentCipherAlgorithm,
    pub(super) transport: KeyTransportAlgorithm,
    pub(super) key_timeout: Duration,
}

impl RecryptConfig {
    /// The flow with one key.
    #[must_use]
    pub fn new(queue: Arc<dyn IntuneQueue>, key: RecryptKey, recipients: RecipientPolicy) -> Self {
        Self {
            settings: QueueSettings::new(queue),
            keys: vec![key],
            recipients,
            cipher: ContentCipherAlgorithm::Aes256Cbc,
            transport: KeyTransportAlgorithm::RsaPkcs1v15,
            key_timeout: KEY_TIMEOUT,
        }
    }

    /// Adds a key, such as the one before a rotation.
    #[must_use]
    pub fn with_key(mut self, key: RecryptKey) -> Self {
        self.keys.push(key);
        self
    }

    /// Sets poll interval, concurrency, attempts and the like; the queue is that of the settings.
    #[must_use]
    pub fn with_settings(mut self, settings: QueueSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets how envelopes are encrypted. Default AES-256-CBC and RSAES-PKCS1-v1_5, which every reader of CMS understands.
    #[must_use]
    pub fn with_envelope(mut self, cipher: ContentCipherAlgorithm, transport: KeyTransportAlgorithm) -> Self {
        self.cipher = cipher;
        self.transport = transport;
        self
    }

    /// Sets after what time a call of a remote key is abandoned and tried again. Default 30 s.
    #[must_use]
    pub fn with_key_timeout(mut self, timeout: Duration) -> Self {
        self.key_timeout = timeout;
        self
    }

    /// The certificates of the keys; an unreadable one is a finding of `build()`.
    pub(super) fn credentials(&self) -> Vec<Credential> {
        let parsed = self.keys.iter().filter_map(|key| Certificate::from_der(&key.certificate, &Limits::default()).ok());
        parsed
            .map(|certificate| {
                let serial = certificate.serial().map(|serial| format!(" {serial}")).unwrap_or_default();
                Credential { name: format!("recrypt certificate{serial}"), not_after: certificate.not_after() }
            })
            .collect()
    }

    /// The keys that do not say that they are inside a FIPS module.
    pub(super) fn keys_outside_fips(&self) -> Vec<String> {
        let outside = self.keys.iter().enumerate().filter(|(_, key)| !key.key.fips());
        outside.map(|(number, _)| format!("pkcs-recrypt.keys[{number}]")).collect()
    }

    pub(super) fn findings(&self, provider: &CryptoProvider) -> Vec<Finding> {
        let mut findings = Vec::new();
        findings.extend(envelope_findings("pkcs-recrypt", provider, self.cipher, self.transport));
        for problem in self.recipients.problems() {
            findings.push(Finding::new(
                "pkcs-recrypt.recipients",
                problem,
                "trust the device CA, pin a certificate, or opt out by `RecipientPolicy::dangerous_encrypt_to_anyone`",
            ));
        }
        findings.extend(key_timeout_finding("pkcs-recrypt", self.key_timeout));
        for (number, key) in self.keys.iter().enumerate() {
            let setting = format!("pkcs-recrypt.keys[{number}]");
            match Certificate::from_der(&key.certificate, &Limits::default()) {
                Err(error) => findings.push(Finding::new(setting, format!("the certificate cannot be read: {error}"), "give it as DER")),
                Ok(certificate) if certificate.spki() != key.key.public_key().as_ref() => {
                    findings.push(Finding::new(
                        setting,
                        "the private key is not that of the certificate",
                        "pair each key with its certificate",
                    ));
                }
                Ok(_) => {}
            }
        }
        findings
    }
}

impl From<RecryptConfig> for FlowSpec {
    fn from(config: RecryptConfig) -> Self {
        let settings = config.settings.clone();
        Self::new(Arc::new(RecryptWorker::new(config)), settings)
    }
}
