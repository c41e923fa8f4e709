//! For whom anything is encrypted.

use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::{PolicyRefusal, Rule};
use crate::crypto::{ContentCipherAlgorithm, CryptoProvider, DigestAlgorithm, KeyTransportAlgorithm};
use crate::ids::DeviceId;
use crate::limits::Limits;
use crate::message::algorithm::PublicKeyAlgorithm;
use crate::message::certificate::Certificate;
use crate::message::enveloped::{CmsError, EnvelopeBuilder};
use crate::message::path;
use crate::terms::SubjectAltName;
use crate::time::Timestamp;

/// Whether a recipient's certificate must name the device that the request is for.
///
/// It names it when the device id is the subject's common name, or a name or the end of a URI (after `/` or `:`) in the subjectAltName.
/// A pinned certificate is a service's and is not held against the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DeviceBinding {
    /// It must, and a request that names no device is refused.
    #[default]
    Require,
    /// It must when the request names a device.
    RequireWhenNamed,
    /// It need not: any device that the roots know gets any user's key.
    DangerousIgnore,
}

/// Which certificates may receive private keys and passwords.
///
/// Without it the connector is a decryption service: whoever can put a request into the queue names himself as the recipient.
#[derive(Debug, Clone, Default)]
pub struct RecipientPolicy {
    roots: Vec<CertificateDer<'static>>,
    intermediates: Vec<CertificateDer<'static>>,
    pinned_certificates: Vec<CertificateDer<'static>>,
    pinned_spki_sha256: Vec<[u8; 32]>,
    binding: DeviceBinding,
    anyone: bool,
}

impl RecipientPolicy {
    /// Trusts nobody; `build()` refuses it until a root or a pin is added.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Encrypts to whatever certificate a request brings, so that whoever feeds the queue reads every private key. For tests.
    #[must_use]
    pub fn dangerous_encrypt_to_anyone() -> Self {
        Self { anyone: true, binding: DeviceBinding::DangerousIgnore, ..Self::default() }
    }

    /// Trusts certificates that chain to this one, such as Intune's device CA.
    #[must_use]
    pub fn trust_root(mut self, root: CertificateDer<'static>) -> Self {
        self.roots.push(root);
        self
    }

    /// Adds a certificate that stands between roots and recipients.
    #[must_use]
    pub fn with_intermediate(mut self, intermediate: CertificateDer<'static>) -> Self {
        self.intermediates.push(intermediate);
        self
    }

    /// Trusts exactly this certificate, such as that of a service.
    #[must_use]
    pub fn pin_certificate(mut self, certificate: CertificateDer<'static>) -> Self {
        self.pinned_certificates.push(certificate);
        self
    }

    /// Trusts certificates with the public key whose SubjectPublicKeyInfo has this SHA-256.
    #[must_use]
    pub fn pin_spki_sha256(mut self, digest: [u8; 32]) -> Self {
        self.pinned_spki_sha256.push(digest);
        self
    }

    /// Sets whether the recipient must be the request's device.
    #[must_use]
    pub fn device_binding(mut self, binding: DeviceBinding) -> Self {
        self.binding = binding;
        self
    }

    /// What is wrong with the policy itself; empty when it can be used.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.anyone && self.roots.is_empty() && self.pinned_certificates.is_empty() && self.pinned_spki_sha256.is_empty() {
            problems.push("no recipient is trusted: add `trust_root`, `pin_certificate` or `pin_spki_sha256`".to_owned());
        }
        for (kind, list) in
            [("root", &self.roots), ("intermediate", &self.intermediates), ("pinned certificate", &self.pinned_certificates)]
        {
            for (number, der) in list.iter().enumerate() {
                if let Err(error) = Certificate::from_der(der, &Limits::default()) {
                    problems.push(format!("{kind} number {} cannot be read: {error}", number + 1));
                }
            }
        }
        problems
    }

    /// Decides whether anything may be encrypted to `certificate` for `device`.
    ///
    /// CPU work: up to some signature checks.
    ///
    /// # Errors
    /// [`PolicyRefusal`] names the rule; it is final for this certificate.
    pub fn check(
        &self,
        provider: &CryptoProvider,
        certificate: &Certificate,
        device: Option<&DeviceId>,
        now: Timestamp,
    ) -> Result<ApprovedRecipient, PolicyRefusal> {
        let refuse = |rule, reason: String| Err(PolicyRefusal::new(rule, reason));
        let approved = || Ok(ApprovedRecipient { certificate: certificate.clone() });
        match certificate.public_key_algorithm() {
            PublicKeyAlgorithm::Rsa { bits } if *bits >= 2048 => {}
            other => return refuse(Rule::RecipientKey, format!("the recipient's key is {other:?}; RSA of 2048 bits or more is needed")),
        }
        if now < certificate.not_before() || now > certificate.not_after() {
            let reason = format!("the recipient's certificate is valid from {} to {}", certificate.not_before(), certificate.not_after());
            return refuse(Rule::RecipientValidity, reason);
        }
        if certificate.key_usage().is_some_and(|usage| !usage.key_encipherment) {
            return refuse(Rule::RecipientKeyUsage, "the recipient's certificate is not for keyEncipherment".to_owned());
        }
        if certificate.is_ca() {
            return refuse(Rule::RecipientKeyUsage, "the recipient's certificate is a CA's".to_owned());
        }
        if self.anyone || self.is_pinned(provider, certificate) {
            return approved();
        }
        self.check_chain(provider, certificate, now)?;
        self.check_device(certificate, device)?;
        approved()
    }

    /// Reads a certificate and decides, as [`check`](Self::check) does.
    ///
    /// # Errors
    /// In addition [`Rule::RecipientSyntax`].
    pub fn check_der(
        &self,
        provider: &CryptoProvider,
        limits: &Limits,
        certificate: &CertificateDer<'_>,
        device: Option<&DeviceId>,
        now: Timestamp,
    ) -> Result<ApprovedRecipient, PolicyRefusal> {
        let parsed = Certificate::from_der(certificate, limits)
            .map_err(|error| PolicyRefusal::new(Rule::RecipientSyntax, format!("the recipient's certificate cannot be read: {error}")))?;
        self.check(provider, &parsed, device, now)
    }

    fn is_pinned(&self, provider: &CryptoProvider, certificate: &Certificate) -> bool {
        if self.pinned_certificates.iter().any(|pin| pin.as_ref() == certificate.der().as_ref()) {
            return true;
        }
        // Without a digest nothing is pinned by digest: less is trusted. `build()` reports the missing slot.
        let spki = provider.digest().ok().and_then(|digest| digest.digest(DigestAlgorithm::Sha256, &[certificate.spki()]).ok());
        spki.is_some_and(|spki| self.pinned_spki_sha256.iter().any(|pin| pin.as_slice() == spki.as_ref()))
    }

    fn check_chain(&self, provider: &CryptoProvider, leaf: &Certificate, now: Timestamp) -> Result<(), PolicyRefusal> {
        let read = |list: &[CertificateDer<'static>]| -> Vec<Certificate> {
            // Unreadable ones were reported by `problems`; without them less is trusted.
            list.iter().filter_map(|der| Certificate::from_der(der, &Limits::default()).ok()).collect()
        };
        path::verify_chain(provider, leaf, &read(&self.intermediates), &read(&self.roots), now).map_err(|error| {
            PolicyRefusal::new(
                Rule::RecipientTrust,
                format!("the recipient's certificate ({}) is neither pinned nor chains to a configured root: {error}", leaf.subject()),
            )
        })?;
        Ok(())
    }

    fn check_device(&self, leaf: &Certificate, device: Option<&DeviceId>) -> Result<(), PolicyRefusal> {
        let refuse = |reason: String| Err(PolicyRefusal::new(Rule::RecipientDevice, reason));
        match (self.binding, device) {
            (DeviceBinding::DangerousIgnore, _) | (DeviceBinding::RequireWhenNamed, None) => Ok(()),
            (DeviceBinding::Require, None) => {
                refuse("the request names no device that the recipient could be held against; see `device_binding`".to_owned())
            }
            (_, Some(device)) if names_device(leaf, device) => Ok(()),
            (_, Some(device)) => refuse(format!("the recipient's certificate ({}) does not name the device {device}", leaf.subject())),
        }
    }
}

fn names_device(leaf: &Certificate, device: &DeviceId) -> bool {
    let device = device.as_str();
    let is_device = |text: &str| text.eq_ignore_ascii_case(device);
    leaf.subject().common_name().is_some_and(|name| is_device(&name))
        || leaf.subject_alt_names().iter().any(|name| match name {
            SubjectAltName::Dns(text) | SubjectAltName::Upn(text) | SubjectAltName::Email(text) => is_device(text),
            SubjectAltName::Uri(text) => is_device(text) || text.rsplit(['/', ':']).next().is_some_and(is_device),
            SubjectAltName::Ip(_) => false,
        })
}

/// A recipient that the policy has approved: nothing is encrypted without one.
#[derive(Debug, Clone)]
pub struct ApprovedRecipient {
    certificate: Certificate,
}

impl ApprovedRecipient {
    /// The certificate to encrypt to.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Encrypts `content` to the recipient as CMS EnvelopedData. CPU work: one RSA encryption.
    ///
    /// # Errors
    /// As the envelope builder fails.
    pub fn seal(
        &self,
        content: &[u8],
        cipher: ContentCipherAlgorithm,
        transport: KeyTransportAlgorithm,
        provider: &CryptoProvider,
    ) -> Result<Vec<u8>, CmsError> {
        EnvelopeBuilder::new(cipher, transport).recipient(&self.certificate).build(content, provider)
    }
}
