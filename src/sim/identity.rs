//! What one simulated tenant is made of: ids, keys and secrets, all random, none kept.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use super::SimError;
use super::encoding::base64_url;
use crate::adapters::LocalCa;
use crate::crypto::{CryptoProvider, DigestAlgorithm, SignatureAlgorithm, SigningKey};
use crate::ids::CaName;
use crate::message::certificate::Certificate;
use crate::message::name::Name;
use crate::ports::Runtime;
use crate::secret::{Password, SecretBytes};
use crate::terms::{KeyAlgorithm, KeyUsage};

/// The subject's common name of the simulator's own CA.
const CA_NAME: &str = "Simulated Intune TEST CA";
const YEAR: Duration = Duration::from_secs(365 * 86_400);

pub(super) struct Identity {
    /// The tenant, and a domain of it.
    pub(super) tenant: String,
    pub(super) domain: String,
    pub(super) client: String,
    pub(super) client_object: String,
    pub(super) secret: Password,
    pub(super) control_key: Password,
    /// Opens the open queue.
    pub(super) queue_token: Password,
    pub(super) token_key: Arc<dyn SigningKey>,
    pub(super) token_key_id: String,
    pub(super) ca: Arc<LocalCa>,
    /// Encrypts challenges: AES-256.
    pub(super) challenge_secret: SecretBytes,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("tenant", &self.tenant).field("client", &self.client).finish_non_exhaustive()
    }
}

impl Identity {
    pub(super) fn new(provider: &CryptoProvider, runtime: &Arc<dyn Runtime>) -> Result<Self, SimError> {
        let clock = Arc::clone(runtime);
        let name: CaName = CA_NAME.parse().map_err(|_| SimError::Invalid("the simulator's CA has no name".to_owned()))?;
        let ca = LocalCa::with_clock(provider.clone(), name, KeyAlgorithm::EcP256, move || clock.now())?;
        let token_key = signing_key(provider)?;
        let digest = provider.digest()?.digest(DigestAlgorithm::Sha256, &[&token_key.public_key()])?;
        Ok(Self {
            tenant: guid(provider)?,
            domain: format!("contoso-{}.onmicrosoft.example", super::encoding::hex(&random::<4>(provider)?)),
            client: guid(provider)?,
            client_object: guid(provider)?,
            secret: Password::from(base64_url(&random::<30>(provider)?)),
            control_key: Password::from(base64_url(&random::<30>(provider)?)),
            queue_token: Password::from(base64_url(&random::<30>(provider)?)),
            token_key,
            token_key_id: base64_url(digest.as_ref()),
            ca: Arc::new(ca),
            challenge_secret: SecretBytes::new(random::<32>(provider)?.to_vec()),
        })
    }

    /// Whether that names the tenant: its id or its domain.
    pub(super) fn is_tenant(&self, name: &str) -> bool {
        name.eq_ignore_ascii_case(&self.tenant) || name.eq_ignore_ascii_case(&self.domain)
    }
}

/// A certificate of the simulator's CA for a key that signs challenges.
pub(super) fn challenge_certificate(ca: &LocalCa, key: &dyn SigningKey) -> Result<Certificate, SimError> {
    let subject = Name::parse_cert_str("CN=Simulated Intune challenge signing TEST")
        .map_err(|_| SimError::Invalid("the name of the challenge's signer cannot be encoded".to_owned()))?;
    let usage = KeyUsage { digital_signature: true, ..KeyUsage::default() };
    Ok(ca.issue_service_certificate(subject, &key.public_key(), usage, &[], YEAR)?)
}

/// A P-256 key: made in microseconds, so that thousands of simulators can be started.
pub(super) fn signing_key(provider: &CryptoProvider) -> Result<Arc<dyn SigningKey>, SimError> {
    let generated = provider.key_generation()?.generate(KeyAlgorithm::EcP256)?;
    let key = provider.signing_keys()?.load(&generated)?;
    if key.algorithms().contains(&SignatureAlgorithm::EcdsaP256Sha256) {
        Ok(key)
    } else {
        Err(SimError::Invalid("the provider's P-256 keys do not sign with SHA-256".to_owned()))
    }
}

pub(super) fn random<const N: usize>(provider: &CryptoProvider) -> Result<[u8; N], SimError> {
    let mut bytes = [0; N];
    provider.random()?.fill(&mut bytes)?;
    Ok(bytes)
}

/// A random GUID (RFC 9562 version 4).
pub(super) fn guid(provider: &CryptoProvider) -> Result<String, SimError> {
    let number = u128::from_be_bytes(random(provider)?) & !(0xf << 76 | 0b11 << 62) | 0x4 << 76 | 0b10 << 62;
    let hex = format!("{number:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    Ok([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
}
