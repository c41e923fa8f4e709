//! The CAs that the service stands before, each with the RA that clients talk to: the current one, the next, and former ones.

use core::fmt;
use core::time::Duration;
use std::sync::{Arc, PoisonError};

use rustls_pki_types::CertificateDer;

use super::config::{CaCertificates, Persistence};
use super::http::{Response, media_type};
use super::service::{Inner, Service, Subject};
use super::wire::Incoming;
use crate::crypto::{CryptoProvider, DecryptionKey, SigningKey};
use crate::flow::Finding;
use crate::ids::{CaName, TemplateName};
use crate::limits::Limits;
use crate::message::algorithm::PublicKeyAlgorithm;
use crate::message::certificate::Certificate;
use crate::message::path;
use crate::message::scep::next_ca_certificates;
use crate::message::signed::certs_only;
use crate::ports::{CertificateAuthority, PortError, RegistrationAuthority, SignNextCaRequest};
use crate::time::Timestamp;

/// Most former authorities that are remembered: a daily rollover for a week.
const FORMER: usize = 8;

/// A CA as the service asks it.
#[derive(Debug, Clone)]
pub(super) struct Issuer {
    pub(super) name: CaName,
    pub(super) ca: Arc<dyn CertificateAuthority>,
    pub(super) template: Option<TemplateName>,
    pub(super) is_idempotent: bool,
    /// How long after a lost answer it may still issue.
    pub(super) in_flight: Duration,
}

impl Issuer {
    pub(super) fn new(name: CaName, ca: Arc<dyn CertificateAuthority>, template: Option<TemplateName>) -> Self {
        let capabilities = ca.capabilities();
        Self { name, ca, template, is_idempotent: capabilities.idempotent_issue, in_flight: capabilities.in_flight }
    }
}

/// A CA and the RA before it, as last read.
#[derive(Clone)]
pub(super) struct Authority {
    pub(super) issuer: Issuer,
    pub(super) signing: Certificate,
    pub(super) signing_key: Arc<dyn SigningKey>,
    pub(super) decryption: Certificate,
    pub(super) decryption_key: Arc<dyn DecryptionKey>,
    /// The issuing certificate first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// The issuing certificate.
    pub(super) certificate: Certificate,
    /// Set on former ones: requests to it are opened before this.
    pub(super) opens_until: Option<Timestamp>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("issuer", &self.issuer.name).field("opens_until", &self.opens_until).finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads and checks the certificates of an RA and its CA. `setting` is where findings point.
    pub(super) fn read(
        issuer: Issuer,
        ra: &RegistrationAuthority,
        chain: Vec<CertificateDer<'static>>,
        setting: &str,
        surroundings: (&CryptoProvider, &Limits, Option<Timestamp>),
        findings: &mut Vec<Finding>,
    ) -> Option<Self> {
        let (provider, limits, now) = surroundings;
        let mut read = |part: &str, der: &CertificateDer<'static>| match Certificate::from_der(der, limits) {
            Ok(certificate) => Some(certificate),
            Err(error) => {
                let problem = format!("it cannot be read: {error}");
                findings.push(Finding::new(format!("{setting}.{part}"), problem, "give an X.509 certificate as DER"));
                None
            }
        };
        let signing = read("ra.signing_certificate", &ra.signing_certificate);
        let decryption = read("ra.decryption_certificate", &ra.decryption_certificate);
        let issuers: Vec<Certificate> = chain.iter().filter_map(|der| read("ca", der)).collect();
        let (signing, decryption, certificate) = (signing?, decryption?, issuers.first()?.clone());
        let mut check = |wrong: bool, part: &str, problem: &str, remedy: &str| {
            if wrong {
                findings.push(Finding::new(format!("{setting}.ra.{part}"), problem, remedy));
            }
        };
        let rsa =
            |certificate: &Certificate| matches!(certificate.public_key_algorithm(), PublicKeyAlgorithm::Rsa { bits } if *bits >= 2_048);
        check(!rsa(&signing), "signing_certificate", "its key is not RSA of 2048 bits or more", "use an RSA certificate of an RA");
        check(!rsa(&decryption), "decryption_certificate", "its key is not RSA of 2048 bits or more", "use an RSA certificate of an RA");
        check(
            ra.signing_key.public_key().as_ref() != signing.spki(),
            "signing_key",
            "it does not belong to the signing certificate",
            "give the key of that certificate",
        );
        check(
            ra.decryption_key.public_key().as_ref() != decryption.spki(),
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
        let roots = if issuers.len() > 1 { &issuers[issuers.len() - 1..] } else { &issuers[..1] };
        for (part, certificate) in [("signing_certificate", &signing), ("decryption_certificate", &decryption)] {
            let is_ca = issuers[0].der() == certificate.der();
            let fits = now.is_none_or(|now| path::verify_chain(provider, certificate, &issuers, roots, now).is_ok());
            check(
                !is_ca && !fits,
                part,
                "it is not issued by the CA, or not valid now",
                "have the CA issue it: clients verify replies by the CA",
            );
        }
        let (signing_key, decryption_key) = (ra.signing_key.clone(), ra.decryption_key.clone());
        Some(Self { issuer, signing, signing_key, decryption, decryption_key, chain, certificate, opens_until: None })
    }

    /// The CA serves SCEP itself, without an RA.
    fn is_ca_alone(&self) -> bool {
        self.signing.der() == self.certificate.der() && self.decryption.der() == self.certificate.der()
    }

    /// RA first, then the issuing certificate and its issuers.
    pub(super) fn certificates(&self) -> Vec<CertificateDer<'static>> {
        let mut certificates: Vec<CertificateDer<'static>> = Vec::new();
        let all = [self.decryption.der(), self.signing.der()].into_iter().chain(&self.chain);
        for certificate in all {
            if !certificates.contains(certificate) {
                certificates.push(certificate.clone());
            }
        }
        certificates
    }

    fn answer(&self, form: CaCertificates) -> Response {
        let alone = self.is_ca_alone() && (self.chain.len() == 1 || form == CaCertificates::IssuingCertificateAlone);
        if alone {
            return Response::ok(media_type::CA_CERT, self.certificate.der().as_ref().to_vec());
        }
        Response::ok(media_type::CA_RA_CERT, certs_only(&self.certificates(), &[]))
    }

    fn opens_at(&self, now: Timestamp) -> bool {
        self.opens_until.is_none_or(|until| now < until)
    }
}

/// A CA that follows the current one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NextCa {
    pub(super) name: CaName,
    pub(super) ca: Arc<dyn CertificateAuthority>,
    pub(super) ra: RegistrationAuthority,
    pub(super) template: Option<TemplateName>,
}

impl NextCa {
    /// With the certificates and keys that clients will talk to.
    #[must_use]
    pub fn new(name: CaName, ca: Arc<dyn CertificateAuthority>, ra: RegistrationAuthority) -> Self {
        Self { name, ca, ra, template: None }
    }

    /// Sets the template that it is asked for.
    #[must_use]
    pub fn template(mut self, template: TemplateName) -> Self {
        self.template = Some(template);
        self
    }
}

/// Why a CA does not follow the current one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RolloverError {
    /// The configuration of the next CA is wrong.
    #[error("the next CA cannot be served:{}", list(.0))]
    Configuration(Vec<Finding>),
    /// The current CA did not sign the answer to GetNextCACert.
    #[error("the current CA signed no answer to GetNextCACert: {0}")]
    NotSigned(#[source] PortError),
    /// What the current CA signed is not the answer to GetNextCACert.
    #[error("what the current CA signed is not these certificates under its own key: {0}")]
    WrongSignature(String),
    /// No next CA was announced.
    #[error("there is no next CA; announce it first, and give clients time to fetch its certificates")]
    NoNextCa,
}

fn list(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("\n- {finding}")).collect()
}

/// All that the service stands before.
#[derive(Debug)]
pub(super) struct Authorities {
    pub(super) current: Arc<Authority>,
    next: Option<Arc<Authority>>,
    /// The newest first.
    former: Vec<Arc<Authority>>,
    /// The answer to GetCACert.
    pub(super) ca_certificates: Response,
    /// The answer to GetNextCACert.
    pub(super) next_ca_certificates: Option<Response>,
}

impl Authorities {
    pub(super) fn new(current: Authority, former: Vec<Authority>, form: CaCertificates) -> Self {
        Self {
            ca_certificates: current.answer(form),
            current: Arc::new(current),
            next: None,
            former: former.into_iter().map(Arc::new).collect(),
            next_ca_certificates: None,
        }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Authority>> {
        core::iter::once(&self.current).chain(&self.next).chain(&self.former)
    }

    /// The CAs' names.
    pub(super) fn names(&self) -> impl Iterator<Item = &CaName> {
        self.all().map(|authority| &authority.issuer.name)
    }

    /// Whom the request is encrypted to; the current one when it is to none.
    pub(super) fn recipient(&self, incoming: &Incoming, now: Timestamp) -> &Arc<Authority> {
        let named = self.all().find(|authority| authority.opens_at(now) && incoming.is_to(&authority.decryption));
        named.unwrap_or(&self.current)
    }

    /// Whether requests to that certificate are known, if not opened.
    pub(super) fn has_recipient(&self, certificate: &CertificateDer<'_>) -> bool {
        self.all().any(|authority| authority.decryption.der() == certificate)
    }

    /// Whether that certificate has a key of an RA, a former one too: it is no client's.
    pub(super) fn is_ra(&self, certificate: &Certificate) -> bool {
        self.all().flat_map(|authority| [&authority.signing, &authority.decryption]).any(|own| own.spki() == certificate.spki())
    }

    /// The CA of that subject and key, a former one too.
    pub(super) fn issuer_of(&self, provider: &CryptoProvider, certificate: &Certificate) -> Option<&Arc<Authority>> {
        self.all().find(|authority| {
            authority.certificate.subject().matches(certificate.issuer())
                && certificate.verify_signed_by(provider, authority.certificate.spki()).is_ok()
        })
    }

    /// The CA of that name.
    pub(super) fn named(&self, name: &CaName) -> Option<&Arc<Authority>> {
        self.all().find(|authority| authority.issuer.name == *name)
    }

    fn with_former(&self, former: Vec<Arc<Authority>>) -> Self {
        Self {
            current: self.current.clone(),
            next: self.next.clone(),
            former,
            ca_certificates: self.ca_certificates.clone(),
            next_ca_certificates: self.next_ca_certificates.clone(),
        }
    }

    /// With another RA before the current CA, or another chain above it. A replaced RA opens requests for some time.
    fn with_current(&self, current: Authority, now: Timestamp, persistence: &Persistence, form: CaCertificates) -> Self {
        let mut former = self.former.clone();
        if current.decryption.der() != self.current.decryption.der() {
            retire(&mut former, &self.current, now, persistence);
        }
        former.retain(|old| old.decryption.der() != current.decryption.der());
        Self {
            ca_certificates: current.answer(form),
            current: Arc::new(current),
            next: self.next.clone(),
            former,
            next_ca_certificates: self.next_ca_certificates.clone(),
        }
    }
}

fn retire(former: &mut Vec<Arc<Authority>>, authority: &Authority, now: Timestamp, persistence: &Persistence) {
    let until = now.saturating_add(persistence.cached_certificates);
    former.insert(0, Arc::new(Authority { opens_until: Some(until), ..authority.clone() }));
    former.truncate(FORMER);
}

impl Inner {
    pub(super) fn authorities(&self) -> Arc<Authorities> {
        self.authorities.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Swaps them for what `change` makes of them, one change after another.
    fn change_authorities<E>(&self, change: impl FnOnce(&Authorities) -> Result<Authorities, E>) -> Result<(), E> {
        let mut authorities = self.authorities.write().unwrap_or_else(PoisonError::into_inner);
        *authorities = Arc::new(change(&authorities)?);
        Ok(())
    }

    /// Puts another RA before the CA, or another chain above it; `false` when another CA has become the current one meanwhile.
    pub(super) fn replace_current(&self, current: Authority) -> bool {
        let now = self.now();
        let change = |authorities: &Authorities| {
            let same_ca = authorities.current.issuer.name == current.issuer.name;
            if same_ca { Ok(authorities.with_current(current, now, &self.persistence, self.ca_certificates)) } else { Err(()) }
        };
        self.change_authorities(change).is_ok()
    }

    /// Opens requests to that RA as well, for as long as clients may go by it.
    pub(super) fn add_former(&self, authority: Authority) {
        let until = self.now().saturating_add(self.persistence.cached_certificates);
        let change = |authorities: &Authorities| {
            let mut former = authorities.former.clone();
            former.push(Arc::new(Authority { opens_until: Some(until), ..authority }));
            former.truncate(FORMER);
            Ok::<_, core::convert::Infallible>(authorities.with_former(former))
        };
        let Ok(()) = self.change_authorities(change);
    }

    /// Takes over what the CA now answers as its chain; a CA that does not answer changes nothing.
    pub(super) async fn refresh_chain(&self) {
        let subject = Subject { scope: "maintain".to_owned(), delivery: 0 };
        let authority = self.authorities().current.clone();
        let answer = self.ask(self.soon(), &subject, &authority.issuer, false, authority.issuer.ca.chain()).await;
        let Ok(chain) = answer else { return };
        if chain == authority.chain {
            return;
        }
        // Another issuing key is another CA: that is a rollover, which nobody does in passing.
        let same_key = |first: &CertificateDer<'static>| {
            Certificate::from_der(first, &self.context.limits).ok().filter(|first| first.spki() == authority.certificate.spki())
        };
        let Some(certificate) = chain.first().and_then(same_key) else { return };
        let _ = self.replace_current(Authority { chain, certificate, ..Authority::clone(&authority) });
    }
}

impl Service {
    /// Announces the CA that will follow: GetNextCACert answers its certificates, signed by the current CA, and requests that are encrypted
    /// to its RA are served by it from now on (RFC 8894 sections 4.7 and 5.1). To be announced again after a restart.
    ///
    /// # Errors
    /// [`RolloverError`]; what was announced before stays.
    pub async fn announce_next_ca(&self, next: NextCa) -> Result<(), RolloverError> {
        let inner = &self.0;
        let mut findings = Vec::new();
        let subject = Subject { scope: "rollover".to_owned(), delivery: 0 };
        let chain = inner.within(inner.soon(), &subject, next.ca.chain()).await.unwrap_or_default();
        if chain.is_empty() {
            findings.push(Finding::new("scep.next_ca", "the CA gave no chain", "make the CA reachable; answer at least its certificate"));
        }
        let issuer = Issuer::new(next.name, next.ca, next.template);
        let surroundings = (inner.context.provider.as_ref(), &inner.context.limits, Some(inner.now()));
        let authority = Authority::read(issuer, &next.ra, chain, "scep.next_ca", surroundings, &mut findings);
        let Some(authority) = authority.filter(|_| findings.is_empty()) else { return Err(RolloverError::Configuration(findings)) };
        let authorities = inner.authorities();
        let current = authorities.current.clone();
        // What was stored of a request names its CA.
        let is_another = |known: &Authority| known.certificate.spki() != authority.certificate.spki();
        let mut served = [&current].into_iter().chain(&authorities.former);
        if served.any(|known| known.issuer.name == authority.issuer.name && is_another(known)) {
            let problem = format!("its name {} is that of another CA, the current one or a former one", authority.issuer.name);
            let finding = Finding::new("scep.next_ca", problem, "give each CA a name of its own");
            return Err(RolloverError::Configuration(vec![finding]));
        }
        if authority.certificate.der() == current.certificate.der() {
            let finding = Finding::new("scep.next_ca", "it is the current CA", "announce the CA that follows");
            return Err(RolloverError::Configuration(vec![finding]));
        }
        let certificates = authority.certificates();
        let deadline = inner.soon();
        let request = SignNextCaRequest::new(&certificates, deadline);
        let answer = inner.within(deadline, &subject, current.issuer.ca.sign_next_ca(request)).await.map_err(RolloverError::NotSigned)?;
        let read = next_ca_certificates(&answer, &current.certificate, &inner.context.provider, &inner.context.limits);
        let signed = read.map_err(|error| RolloverError::WrongSignature(error.to_string()))?;
        if signed.len() != certificates.len() || !certificates.iter().all(|certificate| signed.contains(certificate)) {
            return Err(RolloverError::WrongSignature("they are other certificates".to_owned()));
        }
        inner.change_authorities(|authorities| {
            Ok(Authorities {
                current: authorities.current.clone(),
                next: Some(Arc::new(authority)),
                former: authorities.former.clone(),
                ca_certificates: authorities.ca_certificates.clone(),
                next_ca_certificates: Some(Response::ok(media_type::NEXT_CA_CERT, answer)),
            })
        })
    }

    /// Makes the announced CA the current one. Requests to the former one are opened, and served by it, until cached answers to GetCACert
    /// have aged out ([`Persistence::cached_certificates`]); its certificates are renewed by the new one. Not remembered over a restart: to
    /// know the former CA then, build the service with it, announce the next one and roll over again.
    ///
    /// # Errors
    /// [`RolloverError::NoNextCa`].
    pub fn roll_over(&self) -> Result<(), RolloverError> {
        let inner = &self.0;
        inner.change_authorities(|authorities| {
            let Some(next) = &authorities.next else { return Err(RolloverError::NoNextCa) };
            let mut former = authorities.former.clone();
            retire(&mut former, &authorities.current, inner.now(), &inner.persistence);
            Ok(Authorities {
                ca_certificates: next.answer(inner.ca_certificates),
                current: next.clone(),
                next: None,
                former,
                next_ca_certificates: None,
            })
        })
    }
}
