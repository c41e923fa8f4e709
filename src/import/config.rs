//! What the user sets for the import flow.

use core::time::Duration;
use std::sync::Arc;

use super::run::ImportWorker;
use super::step::Accepts;
use crate::crypto::{ContentCipherAlgorithm, CryptoProvider, KeyTransportAlgorithm};
use crate::flow::{Finding, FlowSpec, KEY_TIMEOUT, QueueSettings, envelope_findings, key_timeout_finding};
use crate::message::enveloped::LegacyCiphers;
use crate::policy::RecipientPolicy;
use crate::ports::{DecryptionKeys, ImportPayload, IntuneQueue};

/// The import flow: where requests come from, which keys open passwords, and for whom they are encrypted.
#[derive(Debug, Clone)]
pub struct ImportConfig {
    pub(super) settings: QueueSettings,
    pub(super) keys: Arc<dyn DecryptionKeys>,
    pub(super) recipients: RecipientPolicy,
    pub(super) payload: ImportPayload,
    pub(super) accepts: Accepts,
    pub(super) cipher: ContentCipherAlgorithm,
    pub(super) transport: KeyTransportAlgorithm,
    pub(super) legacy: LegacyCiphers,
    pub(super) key_timeout: Duration,
}

impl ImportConfig {
    /// The flow with these keys. Results hold the password alone, which is what Microsoft documents.
    #[must_use]
    pub fn new(queue: Arc<dyn IntuneQueue>, keys: Arc<dyn DecryptionKeys>, recipients: RecipientPolicy) -> Self {
        Self {
            settings: QueueSettings::new(queue),
            keys,
            recipients,
            payload: ImportPayload::Password,
            accepts: Accepts::default(),
            cipher: ContentCipherAlgorithm::Aes256Cbc,
            transport: KeyTransportAlgorithm::RsaPkcs1v15,
            legacy: LegacyCiphers::Refuse,
            key_timeout: KEY_TIMEOUT,
        }
    }

    /// Sets poll interval, concurrency, attempts and the like; the queue is that of the settings.
    #[must_use]
    pub fn with_settings(mut self, settings: QueueSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets what results hold: the password alone (default), or the PFX file too.
    #[must_use]
    pub fn with_payload(mut self, payload: ImportPayload) -> Self {
        self.payload = payload;
        self
    }

    /// Sets how envelopes are encrypted. Default AES-256-CBC and RSAES-PKCS1-v1_5, which every reader of CMS understands.
    #[must_use]
    pub fn with_envelope(mut self, cipher: ContentCipherAlgorithm, transport: KeyTransportAlgorithm) -> Self {
        self.cipher = cipher;
        self.transport = transport;
        self
    }

    /// Sets after what time a call of the key store or of a remote key is abandoned and tried again. Default 30 s.
    #[must_use]
    pub fn with_key_timeout(mut self, timeout: Duration) -> Self {
        self.key_timeout = timeout;
        self
    }

    /// Lets envelopes be encrypted with 3DES, whose 64-bit blocks and 112-bit strength are below today's measure. For devices that read
    /// nothing else.
    #[must_use]
    pub fn dangerous_allow_triple_des_envelopes(mut self) -> Self {
        self.legacy = LegacyCiphers::AllowTripleDes;
        self
    }

    /// Decrypts passwords that were encrypted with RSAES-PKCS1-v1_5. Whoever can feed the queue then has a padding oracle to try: failures
    /// go on with a random password through the same steps to the same error, but only OAEP has no oracle by design. For old records.
    #[must_use]
    pub fn dangerous_accept_pkcs1_passwords(mut self) -> Self {
        self.accepts.pkcs1 = true;
        self
    }

    /// Decrypts passwords that were encrypted with RSAES-OAEP and SHA-1. For old records.
    #[must_use]
    pub fn dangerous_accept_oaep_sha1_passwords(mut self) -> Self {
        self.accepts.oaep_sha1 = true;
        self
    }

    /// Forwards PFX files without a MAC: nothing then proves that the password fits, or that the file is what its owner uploaded.
    #[must_use]
    pub fn dangerous_accept_unauthenticated_pfx(mut self) -> Self {
        self.accepts.unauthenticated_pfx = true;
        self
    }

    pub(super) fn findings(&self, provider: &CryptoProvider) -> Vec<Finding> {
        let mut findings = Vec::new();
        for problem in self.recipients.problems() {
            findings.push(Finding::new(
                "import.recipients",
                problem,
                "trust the device CA, pin a certificate, or opt out by `RecipientPolicy::dangerous_encrypt_to_anyone`",
            ));
        }
        if self.cipher == ContentCipherAlgorithm::DesEde3Cbc && self.legacy != LegacyCiphers::AllowTripleDes {
            findings.push(Finding::new(
                "import.envelope",
                "3DES is too weak for new envelopes",
                "use AES-256-CBC, or opt in by `ImportConfig::dangerous_allow_triple_des_envelopes`",
            ));
        }
        findings.extend(envelope_findings("import", provider, self.cipher, self.transport));
        if self.legacy == LegacyCiphers::AllowTripleDes && provider.is_fips_approved_only() {
            findings.push(Finding::new(
                "import.triple_des",
                "3DES is allowed for envelopes, but the crypto provider is restricted to what FIPS approves",
                "leave out `ImportConfig::dangerous_allow_triple_des_envelopes`",
            ));
        }
        if self.accepts.pkcs1 && provider.permits_decryption(KeyTransportAlgorithm::RsaPkcs1v15).is_err() {
            findings.push(Finding::new(
                "import.pkcs1_passwords",
                "passwords encrypted with RSAES-PKCS1-v1_5 are accepted, but the crypto provider is restricted to what FIPS approves",
                "leave out `ImportConfig::dangerous_accept_pkcs1_passwords`, and have the files uploaded with OAEP",
            ));
        }
        findings.extend(key_timeout_finding("import", self.key_timeout));
        findings
    }
}

impl From<ImportConfig> for FlowSpec {
    fn from(config: ImportConfig) -> Self {
        let settings = config.settings.clone();
        Self::new(Arc::new(ImportWorker::new(config)), settings)
    }
}
