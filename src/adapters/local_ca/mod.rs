//! A certificate authority in memory. Its key dies with the process and its subject says `TEST ONLY`.

mod authority;
mod faults;
mod ledger;
#[cfg(feature = "scep")]
mod scep;
mod service_certificate;
#[cfg(test)]
mod tests;

use core::fmt;
use core::time::Duration;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::faults::{LocalCaFault, LocalCaFaults};
use self::ledger::Ledger;
pub use self::ledger::LedgerEntry;
use crate::crypto::{CryptoProvider, SignError, SignatureAlgorithm, SigningKey, sign_now};
use crate::ids::{CaName, IdempotencyKey, SerialNumber};
use crate::limits::Limits;
use crate::message::certificate::{Certificate, CertificateBuilder};
use crate::message::name::Name;
use crate::message::{ToBeSigned, X509Error};
use crate::ports::{CertificatePlan, Issued};
use crate::secret::PrivateKeyPkcs8;
use crate::terms::{KeyAlgorithm, KeyUsage};
use crate::time::Timestamp;

/// What a [`LocalCa`] does when it is asked again with an idempotency key that it has served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Repeats {
    /// Answers with the same certificate.
    #[default]
    ReturnSame,
    /// Issues another one, as many real CAs do; the ledger then shows the double.
    IssueAgain,
}

/// Why a [`LocalCa`] was not made or did not issue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalCaError {
    /// A certificate or list was not built, or the provider lacks a slot.
    #[error(transparent)]
    X509(#[from] X509Error),
    /// The CA's key did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The validity asked for ends before it begins, or beyond the CA's own.
    #[error("the validity asked for lies outside that of the CA")]
    Validity,
    /// The key of a CA that serves SCEP itself is not RSA: clients could not encrypt to it.
    #[error("a CA that serves SCEP itself needs an RSA key; use an RSA key, or an RA certificate with one")]
    NotRsa,
    /// The ledger's file was not made, written or read.
    #[error("the ledger's file cannot be used: {0}")]
    Ledger(#[source] io::Error),
}

type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A CA in memory for tests, examples and trials: real X.509 version 3 certificates and version 2 revocation lists from a key made at start.
///
/// Never for production: key and ledger are lost with the process. Subjects are taken from the approved plan as they are.
pub struct LocalCa {
    provider: CryptoProvider,
    name: CaName,
    key: Arc<dyn SigningKey>,
    algorithm: SignatureAlgorithm,
    certificate: Certificate,
    repeats: Repeats,
    crl_uri: Option<String>,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ledger: Ledger,
    pending: HashMap<String, Pending>,
    faults: LocalCaFaults,
    hold: Duration,
    crl_number: u64,
}

#[derive(Debug, Clone)]
struct Pending {
    key: IdempotencyKey,
    spki: Vec<u8>,
    plan: CertificatePlan,
    polls_left: u32,
    until: Timestamp,
}

impl LocalCa {
    /// A self-signed CA with a fresh key, on this machine's clock, valid for ten years.
    ///
    /// # Errors
    /// [`LocalCaError`] when the provider cannot generate, load or use such a key.
    pub fn new(provider: CryptoProvider, name: CaName, algorithm: KeyAlgorithm) -> Result<Self, LocalCaError> {
        Self::with_clock(provider, name, algorithm, Timestamp::system_now)
    }

    /// As [`LocalCa::new`], on another clock.
    ///
    /// # Errors
    /// As [`LocalCa::new`].
    pub fn with_clock(
        provider: CryptoProvider,
        name: CaName,
        algorithm: KeyAlgorithm,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Result<Self, LocalCaError> {
        let usage = KeyUsage { key_cert_sign: true, crl_sign: true, ..KeyUsage::default() };
        Ok(Self::make(provider, name, algorithm, clock, usage)?.0)
    }

    /// The CA, and its key for whoever must use it otherwise than by signing.
    fn make(
        provider: CryptoProvider,
        name: CaName,
        algorithm: KeyAlgorithm,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
        usage: KeyUsage,
    ) -> Result<(Self, PrivateKeyPkcs8), LocalCaError> {
        let generated = provider.key_generation().map_err(X509Error::from)?.generate(algorithm).map_err(X509Error::Crypto)?;
        let key = provider.signing_keys().map_err(X509Error::from)?.load(&generated).map_err(X509Error::Crypto)?;
        let algorithm = key.algorithms().first().copied().ok_or(X509Error::UnsupportedSignature)?;
        let quoted = name.as_str().replace('"', "\"\"");
        let subject = Name::parse_cert_str(&format!("CN=\"{quoted}\",O=TEST ONLY do not trust"))
            .map_err(|_| X509Error::CannotBuild("the CA's name does not fit a subject"))?;
        let (spki, now) = (key.public_key(), clock());
        let year = Duration::from_secs(365 * 86_400);
        let not_before = now.saturating_sub(Duration::from_secs(86_400));
        let signed = CertificateBuilder::new(subject, &spki, not_before, now.saturating_add(10 * year), random_serial(&provider)?)
            .key_usage(usage)
            .ca(None)
            .key_identifiers_of(&provider, &spki)?
            .to_be_signed(algorithm)?;
        let certificate = Certificate::from_der(&sign(key.as_ref(), signed)?, &Limits::default())?;
        let (clock, state) = (Arc::new(clock), Mutex::default());
        let ca = Self { provider, name, key, algorithm, certificate, repeats: Repeats::default(), crl_uri: None, clock, state };
        Ok((ca, generated))
    }

    /// What a repeated request gets.
    #[must_use]
    pub fn repeats(mut self, repeats: Repeats) -> Self {
        self.repeats = repeats;
        self
    }

    /// Puts a CRL distribution point into certificates issued from now on.
    #[must_use]
    pub fn crl_distribution_point(mut self, uri: impl Into<String>) -> Self {
        self.crl_uri = Some(uri.into());
        self
    }

    /// Keeps the ledger in that file instead of in memory, and of each certificate about 50 bytes of index. The file is made anew: what an
    /// earlier process left in it was signed by a key that is gone. Nobody else may write to it, and it is of no use after the process.
    ///
    /// # Errors
    /// [`LocalCaError::Ledger`] when the file cannot be made or written.
    pub fn ledger_file(self, path: impl AsRef<Path>) -> Result<Self, LocalCaError> {
        self.state().ledger.move_to(path.as_ref(), &self.provider).map_err(LocalCaError::Ledger)?;
        Ok(self)
    }

    /// Answers to another name from now on; the subject of its certificates stays.
    #[must_use]
    pub fn renamed(mut self, name: CaName) -> Self {
        self.name = name;
        self
    }

    /// Makes the coming calls fail as planned; replaces what was planned before.
    pub fn inject_faults(&self, faults: LocalCaFaults) {
        self.state().faults = faults;
    }

    /// Holds the requests to come for approval, which is given after that time: until then they are pending.
    pub fn hold_requests(&self, wait: Duration) {
        self.state().hold = wait;
    }

    /// The name that requests must carry.
    #[must_use]
    pub fn name(&self) -> &CaName {
        &self.name
    }

    /// The CA's own certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Every certificate issued so far, in order: to judge what was lost or doubled. What a ledger's file does not give back is missing.
    #[must_use]
    pub fn issued(&self) -> Vec<LedgerEntry> {
        self.state().ledger.all()
    }

    fn builder(&self, subject: Name, spki: &[u8], now: Timestamp, not_after: Timestamp) -> Result<CertificateBuilder, LocalCaError> {
        // Five minutes for devices whose clocks are behind.
        let not_before = now.saturating_sub(Duration::from_secs(300)).max(self.certificate.not_before());
        let builder = CertificateBuilder::new(subject, spki, not_before, not_after, random_serial(&self.provider)?)
            .issuer(self.certificate.subject().clone())
            .end_entity();
        Ok(match &self.crl_uri {
            Some(uri) => builder.crl_distribution_point(uri)?,
            None => builder,
        })
    }

    fn sign_certificate(&self, builder: CertificateBuilder) -> Result<Certificate, LocalCaError> {
        let signed = builder.key_identifiers_of(&self.provider, self.certificate.spki())?.to_be_signed(self.algorithm)?;
        Ok(Certificate::from_der(&sign(self.key.as_ref(), signed)?, &Limits::default())?)
    }

    /// Issues what a plan asks for and enters it in the ledger.
    fn issue_plan(&self, key: IdempotencyKey, spki: &[u8], plan: &CertificatePlan, fault: &LocalCaFault) -> Result<Issued, LocalCaError> {
        let now = (self.clock)();
        let mut not_after = plan.not_after;
        if let LocalCaFault::LongerValidity(by) = fault {
            not_after = not_after.saturating_add(*by);
        }
        not_after = not_after.min(self.certificate.not_after());
        let spki = match fault {
            LocalCaFault::WrongKey => self.other_key()?,
            _ => spki.to_vec(),
        };
        let mut purposes = plan.extended_key_usage.clone();
        if let LocalCaFault::ExtraExtendedKeyUsage(extra) = fault {
            purposes.push(extra.clone());
        }
        let sid = plan.sid_extension.clone().filter(|_| !matches!(fault, LocalCaFault::DropSid));
        let builder = self
            .builder(Name::from_der(&plan.subject)?, &spki, now, not_after)?
            .key_usage(plan.key_usage)
            .extended_key_usage(&purposes)
            .subject_alt_names(&plan.subject_alt_names)
            .sid(sid);
        let certificate = self.sign_certificate(builder)?;
        let entry = LedgerEntry::new(&self.provider, &certificate, Some(key))?;
        let issued = self.answer(&entry);
        self.state().ledger.record(entry).map_err(LocalCaError::Ledger)?;
        Ok(issued)
    }

    fn other_key(&self) -> Result<Vec<u8>, LocalCaError> {
        let generated =
            self.provider.key_generation().map_err(X509Error::from)?.generate(KeyAlgorithm::EcP256).map_err(X509Error::Crypto)?;
        let key = self.provider.signing_keys().map_err(X509Error::from)?.load(&generated).map_err(X509Error::Crypto)?;
        Ok(key.public_key().to_vec())
    }

    fn answer(&self, entry: &LedgerEntry) -> Issued {
        Issued::new(entry.certificate.clone())
            .with_chain(vec![self.certificate.der().clone()])
            .with_ca_side_id(format!("local-{}", entry.serial))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LocalCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalCa").field("name", &self.name).field("subject", self.certificate.subject()).finish_non_exhaustive()
    }
}

impl State {
    fn pending_of(&self, key: IdempotencyKey) -> Option<&str> {
        self.pending.iter().find(|(_, pending)| pending.key == key).map(|(id, _)| id.as_str())
    }
}

fn sign(key: &dyn SigningKey, signed: ToBeSigned) -> Result<Vec<u8>, LocalCaError> {
    let signature = sign_now(key, signed.algorithm(), signed.message())?;
    Ok(signed.finish(&signature))
}

/// 128 random bits (at least 64 are demanded by the CA/Browser Forum's Baseline Requirements, section 7.1).
fn random_serial(provider: &CryptoProvider) -> Result<SerialNumber, LocalCaError> {
    let mut bytes = [0u8; 16];
    provider.random().map_err(X509Error::from)?.fill(&mut bytes).map_err(X509Error::Crypto)?;
    let serial = SerialNumber::from_be_bytes(&bytes).map_err(|_| X509Error::CannotBuild("the random serial number is zero"))?;
    Ok(serial)
}
