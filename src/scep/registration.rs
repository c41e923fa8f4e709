//! The service's own certificates: issued at the first start, renewed before they end.

use core::fmt;
use core::sync::atomic::Ordering;
use core::time::Duration;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};

use super::authority::{Authority, Issuer};
use super::record;
use super::service::Inner;
use crate::crypto::{SignatureAlgorithm, SigningKey};
use crate::event::EventId;
use crate::flow::{Context, EventScope, Finding};
use crate::ids::TemplateName;
use crate::limits::Limits;
use crate::message::certificate::Certificate;
use crate::message::csr::{Csr, CsrBuilder};
use crate::message::name::Name;
use crate::policy::post_issue::{self, Expected};
use crate::policy::{RegistrationProfile, RegistrationUse, approve_registration_authority};
use crate::ports::{
    IssueAnswer, IssueRequest, PortError, RegistrationAuthority, RegistrationAuthorityStore, RegistrationKey, RegistrationKeys,
    StatusRequest,
};
use crate::retry::ErrorClass;
use crate::terms::Flow;
use crate::time::Timestamp;

/// How long after a failed renewal nothing is tried.
const AFTER_FAILURE: Duration = Duration::from_secs(3_600);
/// How long the CA may take for the certificates of the service.
const PATIENCE: Duration = Duration::from_secs(60);

/// A registration authority whose certificates the service has its CA issue, and renews itself.
///
/// What it asks for is fixed: this subject, digitalSignature and keyEncipherment, no names, no purposes; for the keys of the store alone.
#[derive(Clone)]
#[non_exhaustive]
pub struct ManagedRegistrationAuthority {
    subject: Name,
    store: Arc<dyn RegistrationAuthorityStore>,
    template: Option<TemplateName>,
    validity: Duration,
    renew_before: Duration,
}

impl ManagedRegistrationAuthority {
    /// With this subject; certificates of one year, renewed 30 days before they end.
    #[must_use]
    pub fn new(subject: Name, store: Arc<dyn RegistrationAuthorityStore>) -> Self {
        let day = Duration::from_secs(86_400);
        Self { subject, store, template: None, validity: 365 * day, renew_before: 30 * day }
    }

    /// Sets the template that the CA is asked for.
    #[must_use]
    pub fn template(mut self, template: TemplateName) -> Self {
        self.template = Some(template);
        self
    }

    /// Sets how long the certificates shall be valid, and how long before their end they are renewed.
    #[must_use]
    pub fn validity(mut self, validity: Duration, renew_before: Duration) -> Self {
        (self.validity, self.renew_before) = (validity, renew_before);
        self
    }

    /// Whether a certificate ends so soon that it is to be renewed.
    fn is_due(&self, authority: &Authority, now: Timestamp) -> bool {
        [&authority.signing, &authority.decryption].into_iter().any(|certificate| {
            // A CA that gives less time than asked, since it ends itself perhaps, is asked later in proportion, not again and again.
            let given = certificate.not_after().since(certificate.not_before()).min(self.validity);
            let before = self.renew_before.as_secs_f64() * given.as_secs_f64() / self.validity.as_secs_f64();
            certificate.not_after().since(now).as_secs_f64() <= before
        })
    }

    pub(super) fn finding(&self) -> Option<Finding> {
        let wrong = self.subject.is_empty() || self.validity <= self.renew_before;
        let problem = "the subject is empty, or the certificates would be renewed as soon as they are issued";
        wrong.then(|| Finding::new("scep.ra", problem, "give a subject, and a validity longer than the time before the end"))
    }
}

impl fmt::Debug for ManagedRegistrationAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedRegistrationAuthority").field("subject", &self.subject).field("store", &self.store).finish_non_exhaustive()
    }
}

/// Where the certificates and keys come from that clients talk to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RegistrationAuthoritySource {
    /// Given; whoever gave them renews them.
    Given(Box<RegistrationAuthority>),
    /// Issued and renewed by the service.
    Managed(ManagedRegistrationAuthority),
}

impl From<RegistrationAuthority> for RegistrationAuthoritySource {
    fn from(ra: RegistrationAuthority) -> Self {
        Self::Given(Box::new(ra))
    }
}

impl From<ManagedRegistrationAuthority> for RegistrationAuthoritySource {
    fn from(ra: ManagedRegistrationAuthority) -> Self {
        Self::Managed(ra)
    }
}

/// The authorities to start with: the current one, and former ones whose keys still open requests.
pub(super) async fn first(
    managed: &ManagedRegistrationAuthority,
    context: &Context,
    issuer: &Issuer,
    chain: &[CertificateDer<'static>],
    cached: Duration,
) -> Result<(RegistrationAuthority, Vec<Authority>), PortError> {
    let now = context.runtime.now();
    let mut stored = managed.store.load().await?;
    let newest = stored.last().filter(|ra| is_in_time(managed, ra, context, issuer, chain).is_some()).cloned();
    let current = match newest {
        Some(ra) => {
            stored.pop();
            ra
        }
        None => {
            let ra = obtain(managed, context, issuer, chain).await?;
            managed.store.keep(&ra, now.saturating_add(cached)).await?;
            ra
        }
    };
    let former = stored.iter().rev().filter_map(|ra| {
        let mut authority = read(ra, context, issuer, chain)?;
        authority.opens_until = Some(now.saturating_add(cached));
        Some(authority)
    });
    let former = former.collect();
    Ok((current, former))
}

/// As the service can use it; absent when it does not fit the CA or has ended.
fn read(ra: &RegistrationAuthority, context: &Context, issuer: &Issuer, chain: &[CertificateDer<'static>]) -> Option<Authority> {
    let surroundings = (context.provider.as_ref(), &context.limits, Some(context.runtime.now()));
    let mut findings = Vec::new();
    let authority = Authority::read(issuer.clone(), ra, chain.to_vec(), "scep", surroundings, &mut findings);
    authority.filter(|_| findings.is_empty())
}

fn is_in_time(
    managed: &ManagedRegistrationAuthority,
    ra: &RegistrationAuthority,
    context: &Context,
    issuer: &Issuer,
    chain: &[CertificateDer<'static>],
) -> Option<Authority> {
    read(ra, context, issuer, chain).filter(|authority| !managed.is_due(authority, context.runtime.now()))
}

/// Makes keys and has the CA issue for them.
async fn obtain(
    managed: &ManagedRegistrationAuthority,
    context: &Context,
    issuer: &Issuer,
    chain: &[CertificateDer<'static>],
) -> Result<RegistrationAuthority, PortError> {
    let no_key = || PortError::misconfigured("the store gave no decryption key; give the key that opens requests as `decrypting`");
    match managed.store.new_keys().await? {
        RegistrationKeys::Single(key) => {
            let certificate = issue(managed, context, issuer, chain, &key, RegistrationUse::Both).await?;
            Ok(RegistrationAuthority::single(certificate, key.signing, key.decryption.ok_or_else(no_key)?))
        }
        RegistrationKeys::Pair { signing, decryption } => {
            let opens = decryption.decryption.clone().ok_or_else(no_key)?;
            let signs = issue(managed, context, issuer, chain, &signing, RegistrationUse::Signing).await?;
            let certificate = issue(managed, context, issuer, chain, &decryption, RegistrationUse::Decryption).await?;
            Ok(RegistrationAuthority::pair(signs, signing.signing, certificate, opens))
        }
    }
}

async fn issue(
    managed: &ManagedRegistrationAuthority,
    context: &Context,
    issuer: &Issuer,
    chain: &[CertificateDer<'static>],
    key: &RegistrationKey,
    usage: RegistrationUse,
) -> Result<CertificateDer<'static>, PortError> {
    let wrong = |error: &dyn fmt::Display| PortError::misconfigured(format!("the request for the RA's certificate was not made: {error}"));
    let (provider, limits, runtime) = (context.provider.as_ref(), &context.limits, &context.runtime);
    let csr = request(managed, key.signing.as_ref(), usage, limits).await?;
    let profile = RegistrationProfile {
        ca: &issuer.name,
        template: managed.template.as_ref(),
        subject: &managed.subject,
        validity: managed.validity,
        usage,
    };
    let now = runtime.now();
    let (plan, approved) =
        approve_registration_authority(provider, &csr, profile, key.signing.as_ref(), now).map_err(|error| wrong(&error))?;
    let parts = [b"scep-ra".as_slice(), context.tenant.as_str().as_bytes(), issuer.name.as_str().as_bytes(), csr.spki()];
    let run_key = record::key_of(provider, &parts).map_err(|error| wrong(&error))?;
    let deadline = now.saturating_add(PATIENCE);
    let der = CertificateSigningRequestDer::from(csr.der());
    let late = || PortError::transient("the CA gave no answer about the RA's certificate in time");
    let request = IssueRequest { approved: &approved, key: run_key, csr: &der, plan: &plan, deadline };
    let mut answer = context.within(PATIENCE, issuer.ca.issue(request)).await.unwrap_or_else(|| Err(late()))?;
    let issued = loop {
        match answer {
            IssueAnswer::Issued(issued) => break issued,
            IssueAnswer::Pending { poll_id, after } => {
                let left = deadline.since(runtime.now());
                if left <= after {
                    return Err(PortError::transient("the CA holds the request for the RA's certificate; approve it there"));
                }
                runtime.sleep(after.max(Duration::from_millis(100))).await;
                let request = StatusRequest::new(run_key, &poll_id, deadline);
                answer = context.within(left, issuer.ca.status(request)).await.unwrap_or_else(|| Err(late()))?;
            }
        }
    };
    let mut above = issued.chain;
    above.extend(chain.iter().cloned());
    let roots = chain.get(..1).unwrap_or_default();
    let expected = Expected::new(&plan, csr.spki(), roots, runtime.now());
    let checked = post_issue::check(provider, limits, &issued.certificate, &above, &expected);
    let checked = checked.map_err(|error| PortError::misconfigured(format!("the CA issued no usable certificate for the RA: {error}")))?;
    let usable = checked.certificate.key_usage().is_none_or(|found| {
        (found.digital_signature || usage == RegistrationUse::Decryption) && (found.key_encipherment || usage == RegistrationUse::Signing)
    });
    if !usable {
        return Err(PortError::misconfigured(
            "the CA left out a key usage of the RA's certificate; let its template take them from the request",
        ));
    }
    Ok(issued.certificate)
}

async fn request(
    managed: &ManagedRegistrationAuthority,
    key: &dyn SigningKey,
    usage: RegistrationUse,
    limits: &Limits,
) -> Result<Csr, PortError> {
    let wrong =
        |error: &dyn fmt::Display| PortError::misconfigured(format!("the request for the RA's certificate was not signed: {error}"));
    let algorithm = SignatureAlgorithm::RsaPkcs1Sha256;
    let unsigned = CsrBuilder::new(managed.subject.clone(), key.public_key().as_ref()).key_usage(usage.key_usage());
    let unsigned = unsigned.to_be_signed(algorithm).map_err(|error| wrong(&error))?;
    let signature = key.sign(algorithm, unsigned.message()).await.map_err(|error| wrong(&error))?;
    Csr::from_der(&unsigned.finish(&signature), limits).map_err(|error| wrong(&error))
}

impl Inner {
    /// Takes over what another instance has renewed, and renews what ends soon.
    pub(super) async fn keep_registration(&self, now: Timestamp) {
        let Some(managed) = &self.managed else { return };
        // A store that keeps nothing must not have the CA issue each minute.
        if now < Timestamp::from_micros(self.registration_after.load(Ordering::Relaxed)) {
            return;
        }
        let current = self.authorities().current.clone();
        if let Err(error) = self.renew_registration(managed, &current, now).await {
            self.registration_after.store(now.saturating_add(AFTER_FAILURE).as_micros(), Ordering::Relaxed);
            let scope = EventScope { flow: Some(Flow::Scep), name: "RA certificate", delivery: 0, attempt: 0 };
            self.context.emit(EventId::CredentialExpiring, scope, |event| {
                event.with_error_class(ErrorClass::Transient).with_message(&error.to_string()).with_detail("credential", "RA certificate")
            });
        }
    }

    async fn renew_registration(
        &self,
        managed: &ManagedRegistrationAuthority,
        current: &Authority,
        now: Timestamp,
    ) -> Result<(), PortError> {
        let (context, issuer, chain) = (&self.context, &current.issuer, current.chain.as_slice());
        let stored = managed.store.load().await?;
        self.open_for_others(&stored, issuer, chain);
        let newer = stored.last().filter(|ra| ra.decryption_certificate != *current.decryption.der());
        if let Some(authority) = newer.and_then(|ra| is_in_time(managed, ra, context, issuer, chain)) {
            self.take_over(authority, "taken over from another instance");
            return Ok(());
        }
        if !managed.is_due(current, now) {
            return Ok(());
        }
        let ra = obtain(managed, context, issuer, chain).await?;
        managed.store.keep(&ra, now.saturating_add(self.persistence.cached_certificates)).await?;
        let unusable = || PortError::misconfigured("the CA issued no usable certificate for the RA");
        self.take_over(read(&ra, context, issuer, chain).ok_or_else(unusable)?, "renewed");
        Ok(())
    }

    /// Opens requests to what other instances have shown to clients, though a still newer one has followed.
    fn open_for_others(&self, stored: &[RegistrationAuthority], issuer: &Issuer, chain: &[CertificateDer<'static>]) {
        let Some((_, older)) = stored.split_last() else { return };
        let authorities = self.authorities();
        let unknown = older.iter().filter(|ra| !authorities.has_recipient(&ra.decryption_certificate));
        for authority in unknown.filter_map(|ra| read(ra, &self.context, issuer, chain)) {
            self.add_former(authority);
        }
    }

    fn take_over(&self, authority: Authority, how: &str) {
        let serials = [&authority.signing, &authority.decryption].map(Certificate::serial);
        let serial = serials.into_iter().flatten().map(ToString::to_string).next().unwrap_or_default();
        if self.replace_current(authority) {
            let scope = EventScope { flow: Some(Flow::Scep), name: "RA certificate", delivery: 0, attempt: 0 };
            self.context.emit(EventId::CertificateRenewed, scope, |event| event.with_detail("serial", &serial).with_message(how));
        }
    }
}
