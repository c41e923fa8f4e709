//! Which certificates may be issued at all, and the approval that a certificate authority is shown.

use core::time::Duration;
use std::net::IpAddr;

use super::names::{NamesAre, check_names, contains_folded};
use super::sid::check_sid;
use super::subject::check_subject;
use super::{PolicyError, PolicyRefusal, Rule, SidDomain, SidPolicy, SubjectRule};
use crate::crypto::{CryptoProvider, DigestAlgorithm};
use crate::ids::{DeviceId, Oid, Sid, TemplateName, UserId};
use crate::message::algorithm::PublicKeyAlgorithm;
use crate::message::certificate::Extension;
use crate::message::csr::Csr;
use crate::message::name::Name;
use crate::ports::{ApprovalSubject, Approved, CertificatePlan, PkcsRequest, RequestMeta};
use crate::terms::{Flow, KeyAlgorithm, KeyUsage, SID_URI_PREFIX, SubjectAltName, oids};
use crate::time::Timestamp;

/// The longest validity that Intune profiles offer: 24 months.
const MAX_VALIDITY: Duration = Duration::from_secs(731 * 86_400);
/// An approval is made right before the CA is asked; a CA call that takes longer is asked anew with a new one.
const APPROVAL_LIFETIME: Duration = Duration::from_secs(600);
/// Usages with which a holder acts for others; allowed only when named one by one.
const PRIVILEGED_USAGES: [&str; 3] = [oids::ANY_EXTENDED_KEY_USAGE, oids::CERTIFICATE_REQUEST_AGENT, oids::SMART_CARD_LOGON];
/// Most extended key usages in a certificate, repeated ones counted; Intune profiles have a handful.
const USAGES: usize = 32;

/// What the plan can say, and basicConstraints and subjectKeyIdentifier, which choose nothing.
const OWN_EXTENSIONS: [&str; 7] =
    ["2.5.29.17", "2.5.29.15", "2.5.29.37", "2.5.29.19", "2.5.29.14", "1.3.6.1.4.1.311.20.2", oids::SID_EXTENSION];

/// What may stand in the certificates that the connector has issued.
///
/// Refuses everything that is not allowed. Without it, whoever can put requests into the queue becomes any user: the CA trusts the
/// connector to name subjects (AD CS: *Supply in the request*). Never allowed, by any setting: CA certificates, the key usages
/// keyCertSign and cRLSign, subjects of more than 4,096 bytes, and more than 32 alternative names or extended key usages.
#[derive(Debug, Clone)]
pub struct IssuancePolicy {
    pub(super) any_identity: bool,
    pub(super) accept_checked_names: bool,
    pub(super) upn_suffixes: Vec<String>,
    pub(super) email_domains: Vec<String>,
    pub(super) dns_suffixes: Vec<String>,
    pub(super) uri_schemes: Vec<String>,
    pub(super) ip_networks: Vec<(IpAddr, u8)>,
    pub(super) subject_rule: SubjectRule,
    subject_attributes: Vec<(Oid, String)>,
    sid_policy: SidPolicy,
    pub(super) sid_domains: Vec<SidDomain>,
    pub(super) built_in_sids: Vec<Sid>,
    usages: Vec<Oid>,
    keys: Vec<KeyAlgorithm>,
    max_validity: Duration,
    templates: Vec<TemplateName>,
    any_template: bool,
}

impl Default for IssuancePolicy {
    fn default() -> Self {
        Self::deny_all()
    }
}

impl IssuancePolicy {
    /// Allows nothing but the key algorithms of [`KeyAlgorithm`] (RSA from 2048 bits, P-256, P-384) and 731 days.
    #[must_use]
    pub fn deny_all() -> Self {
        use KeyAlgorithm::{EcP256, EcP384, Rsa2048, Rsa3072, Rsa4096};
        Self {
            any_identity: false,
            accept_checked_names: false,
            upn_suffixes: Vec::new(),
            email_domains: Vec::new(),
            dns_suffixes: Vec::new(),
            uri_schemes: Vec::new(),
            ip_networks: Vec::new(),
            subject_rule: SubjectRule::BoundToRequest,
            subject_attributes: Vec::new(),
            sid_policy: SidPolicy::default(),
            sid_domains: Vec::new(),
            built_in_sids: Vec::new(),
            usages: Vec::new(),
            keys: vec![Rsa2048, Rsa3072, Rsa4096, EcP256, EcP384],
            max_validity: MAX_VALIDITY,
            templates: Vec::new(),
            any_template: false,
        }
    }

    /// Whoever feeds the queue becomes any user: every name, every SID domain, every template and every usage is allowed, except for
    /// built-in SIDs and the usages anyExtendedKeyUsage, certificate request agent and smart-card logon, which must still be named.
    #[must_use]
    pub fn dangerous_allow_any_identity() -> Self {
        Self { any_identity: true, any_template: true, ..Self::deny_all() }
    }

    /// Allows UPNs with this part after the `@`; subdomains are named one by one. Compared without case.
    #[must_use]
    pub fn allow_upn_suffix(mut self, suffix: impl Into<String>) -> Self {
        self.upn_suffixes.push(suffix.into());
        self
    }

    /// Allows e-mail addresses with this part after the `@`, in the subjectAltName and in the subject's E.
    #[must_use]
    pub fn allow_email_domain(mut self, domain: impl Into<String>) -> Self {
        self.email_domains.push(domain.into());
        self
    }

    /// Allows this DNS name and all names below it.
    #[must_use]
    pub fn allow_dns_suffix(mut self, suffix: impl Into<String>) -> Self {
        self.dns_suffixes.push(suffix.into());
        self
    }

    /// Allows URIs of this scheme. SID URIs are ruled by the SID settings alone.
    #[must_use]
    pub fn allow_uri_scheme(mut self, scheme: impl Into<String>) -> Self {
        self.uri_schemes.push(scheme.into());
        self
    }

    /// Allows addresses whose first `prefix_bits` bits are those of `network`.
    #[must_use]
    pub fn allow_ip_network(mut self, network: IpAddr, prefix_bits: u8) -> Self {
        self.ip_networks.push((network, prefix_bits));
        self
    }

    /// Sets the rule for CN, UID, serialNumber, G and SN of the subject.
    #[must_use]
    pub fn subject_rule(mut self, rule: SubjectRule) -> Self {
        self.subject_rule = rule;
        self
    }

    /// Allows each attribute of `name` with its value, such as those of `O=Contoso,C=DE`.
    #[must_use]
    pub fn allow_subject_attributes(mut self, name: &Name) -> Self {
        let texts = name.attributes().filter_map(|(oid, value)| Some((oid?.clone(), value?.to_owned())));
        self.subject_attributes.extend(texts);
        self
    }

    /// Sets where SIDs are written.
    #[must_use]
    pub fn sid_policy(mut self, policy: SidPolicy) -> Self {
        self.sid_policy = policy;
        self
    }

    /// Allows accounts of this domain, from RID 1000 on.
    #[must_use]
    pub fn allow_sid_domain(mut self, domain: SidDomain) -> Self {
        self.sid_domains.push(domain);
        self
    }

    /// Allows one account whatever its RID and domain. RIDs under 1000 are built-in: 500 is the domain's Administrator.
    #[must_use]
    pub fn allow_built_in_sid(mut self, sid: Sid) -> Self {
        self.built_in_sids.push(sid);
        self
    }

    /// Allows an extendedKeyUsage. Certificate request agent makes its holder enrol for anybody, smart-card logon logs on to
    /// Windows, anyExtendedKeyUsage is all of it.
    #[must_use]
    pub fn allow_extended_key_usage(mut self, usage: Oid) -> Self {
        self.usages.push(usage);
        self
    }

    /// Allows these key algorithms and no other.
    #[must_use]
    pub fn only_keys(mut self, keys: impl IntoIterator<Item = KeyAlgorithm>) -> Self {
        self.keys = keys.into_iter().collect();
        self
    }

    /// Sets the longest validity.
    #[must_use]
    pub fn max_validity(mut self, validity: Duration) -> Self {
        self.max_validity = validity;
        self
    }

    /// Allows a template or profile of the CA. A request without template is always allowed; the CA's default applies to it.
    #[must_use]
    pub fn allow_template(mut self, template: TemplateName) -> Self {
        self.templates.push(template);
        self
    }

    /// SCEP: names that the challenge validator has compared with the profile (as Intune does) are not held against the lists of this
    /// policy. SIDs, usages, keys and validity are.
    #[must_use]
    pub fn accept_names_checked_by_validator(mut self) -> Self {
        self.accept_checked_names = true;
        self
    }

    /// Where SIDs are written.
    #[must_use]
    pub fn sid_setting(&self) -> SidPolicy {
        self.sid_policy
    }

    /// Whether any SID could be approved: if so, a CA must be able to write it.
    #[must_use]
    pub fn allows_sids(&self) -> bool {
        self.any_identity || !self.sid_domains.is_empty() || !self.built_in_sids.is_empty()
    }

    /// The longest validity.
    #[must_use]
    pub fn longest_validity(&self) -> Duration {
        self.max_validity
    }

    /// Turns a request into what its certificate shall hold, or refuses it.
    ///
    /// # Errors
    /// [`PolicyRefusal`] names the rule; the refusal is final.
    pub fn plan(&self, request: &PkcsRequest, meta: &RequestMeta, now: Timestamp) -> Result<CertificatePlan, PolicyRefusal> {
        let subject = Name::parse_cert_str(&request.subject).map_err(|error| PolicyRefusal::new(Rule::SubjectSyntax, error.to_string()))?;
        let mut plan =
            CertificatePlan::new(request.ca.clone(), subject.as_der().to_vec(), request.key, now.saturating_add(request.validity));
        plan.template.clone_from(&request.template);
        plan.subject_alt_names.clone_from(&request.subject_alt_names);
        plan.extended_key_usage.clone_from(&request.extended_key_usage);
        plan.key_usage = key_usage_for(request.key);

        let asked = check_names(self, &plan.subject_alt_names, NamesAre::Listed)?;
        if asked.is_some() && (asked != request.sid || !self.sid_policy.writes_uri()) {
            let reason = "the subjectAltName holds a SID that is not the request's, or the SID policy writes no URI";
            return Err(PolicyRefusal::new(Rule::Sid, reason));
        }
        if let Some(sid) = request.sid.as_ref().filter(|_| self.sid_policy != SidPolicy::Off) {
            if self.sid_policy.writes_uri() && asked.is_none() {
                plan.subject_alt_names.push(SubjectAltName::Uri(format!("{SID_URI_PREFIX}{sid}")));
            }
            plan.sid_extension = self.sid_policy.writes_extension().then(|| sid.clone());
        }
        self.check(&plan, &ids(meta.device.as_ref(), meta.user.as_ref()), NamesAre::Listed, now)?;
        Ok(plan)
    }

    /// Every rule, on a plan from anywhere: a request, a device's CSR, or a journal row of an earlier run. The subject may name `ids`.
    pub(super) fn check(&self, plan: &CertificatePlan, ids: &[&str], trust: NamesAre, now: Timestamp) -> Result<(), PolicyRefusal> {
        let refuse = |rule, reason: String| Err(PolicyRefusal::new(rule, reason));
        if let Some(template) = plan.template.as_ref().filter(|template| !self.any_template && !self.templates.contains(template)) {
            return refuse(Rule::Template, format!("the template {template} is not allowed; see `allow_template`"));
        }
        let subject = Name::from_der(&plan.subject).map_err(|error| PolicyRefusal::new(Rule::SubjectSyntax, error.to_string()))?;
        if subject.is_empty() && plan.subject_alt_names.is_empty() {
            return refuse(Rule::NoName, "neither subject nor subjectAltName names anybody".to_owned());
        }
        let uri_sid = check_names(self, &plan.subject_alt_names, trust)?;
        check_subject(self, &subject, &plan.subject_alt_names, ids, trust)?;
        if let Some(sid) = &plan.sid_extension {
            check_sid(self, sid)?;
            if uri_sid.as_ref().is_some_and(|other| other != sid) {
                return refuse(Rule::Sid, "SID extension and SID URI differ".to_owned());
            }
        }
        if plan.extended_key_usage.is_empty() && !self.names_usage(oids::ANY_EXTENDED_KEY_USAGE) {
            let reason = "no extendedKeyUsage is asked for, which means any usage; name the usages in the profile".to_owned();
            return refuse(Rule::ExtendedKeyUsage, reason);
        }
        if plan.extended_key_usage.len() > USAGES {
            let reason = format!("there are {} extendedKeyUsages; at most {USAGES} are allowed", plan.extended_key_usage.len());
            return refuse(Rule::ExtendedKeyUsage, reason);
        }
        for usage in &plan.extended_key_usage {
            let free = self.any_identity && !PRIVILEGED_USAGES.contains(&usage.as_str());
            if !free && !self.usages.contains(usage) {
                return refuse(
                    Rule::ExtendedKeyUsage,
                    format!("the extendedKeyUsage {usage} is not allowed; see `allow_extended_key_usage`"),
                );
            }
        }
        if plan.key_usage.key_cert_sign || plan.key_usage.crl_sign {
            return refuse(Rule::KeyUsage, "keyCertSign and cRLSign are never allowed".to_owned());
        }
        if !self.keys.contains(&plan.key) {
            return refuse(Rule::Key, format!("the key algorithm {:?} is not allowed; see `only_keys`", plan.key));
        }
        if plan.not_after <= now {
            return refuse(Rule::Validity, "the validity has ended before it begins".to_owned());
        }
        if plan.not_after.since(now) > self.max_validity {
            let days = self.max_validity.as_secs() / 86_400;
            return refuse(Rule::Validity, format!("a validity to {} is longer than {days} days; see `max_validity`", plan.not_after));
        }
        Ok(())
    }

    /// Approves a CSR of the connector's own making for its plan: every rule is checked, and that the CSR says what the plan says.
    ///
    /// Call it right before the CA is asked; after a restart, again with the stored plan.
    ///
    /// # Errors
    /// [`PolicyError::Refused`] is final.
    pub fn approve(
        &self,
        provider: &CryptoProvider,
        csr: &Csr,
        plan: &CertificatePlan,
        meta: &RequestMeta,
        now: Timestamp,
    ) -> Result<Approved, PolicyError> {
        self.check(plan, &ids(meta.device.as_ref(), meta.user.as_ref()), NamesAre::Listed, now)?;
        check_own_extensions(csr, plan)?;
        mint(provider, meta.flow, csr, plan, now)
    }

    fn names_usage(&self, usage: &str) -> bool {
        self.usages.iter().any(|named| named.as_str() == usage)
    }

    pub(super) fn listed_attribute(&self, attribute: &Oid, value: &str) -> bool {
        self.subject_attributes.iter().any(|(oid, listed)| oid == attribute && listed.eq_ignore_ascii_case(value))
    }

    pub(super) fn knows_account_domain(&self, domain: &str) -> bool {
        contains_folded(&self.upn_suffixes, domain) || contains_folded(&self.email_domains, domain)
    }
}

/// The one place where approvals are made: plan checked before, CSR held against the plan here.
pub(super) fn mint(
    provider: &CryptoProvider,
    flow: Flow,
    csr: &Csr,
    plan: &CertificatePlan,
    now: Timestamp,
) -> Result<Approved, PolicyError> {
    check_csr(csr, plan)?;
    csr.ensure_possession(provider)
        .map_err(|error| PolicyRefusal::new(Rule::CsrMismatch, format!("the CSR's own signature does not verify: {error}")))?;
    let sha256 = |bytes: &[u8]| -> Result<[u8; 32], PolicyError> {
        let mut out = [0; 32];
        out.copy_from_slice(provider.digest()?.digest(DigestAlgorithm::Sha256, &[bytes])?.as_ref());
        Ok(out)
    };
    let subject = ApprovalSubject {
        flow,
        csr_digest: sha256(csr.der())?,
        plan_digest: sha256(&plan.digest_input())?,
        ca: plan.ca.clone(),
        template: plan.template.clone(),
        identity: identity(plan),
    };
    #[expect(clippy::disallowed_methods, reason = "the issuance policy is the finished validation")]
    let approved = Approved::mint(subject, now.saturating_add(APPROVAL_LIFETIME));
    Ok(approved)
}

/// What a subject may name beside the subjectAltName.
pub(super) fn ids<'a>(device: Option<&'a DeviceId>, user: Option<&'a UserId>) -> Vec<&'a str> {
    device.map(DeviceId::as_str).into_iter().chain(user.map(UserId::as_str)).collect()
}

/// keyEncipherment is for RSA keys only (RFC 8813 section 3).
pub(super) fn key_usage_for(key: KeyAlgorithm) -> KeyUsage {
    if key.is_rsa() { KeyUsage::SIGN_AND_ENCIPHER } else { KeyUsage { digital_signature: true, ..KeyUsage::default() } }
}

/// The key algorithm of a public key; absent when it is none that may be issued for.
pub(super) fn key_algorithm(key: &PublicKeyAlgorithm) -> Option<KeyAlgorithm> {
    match key {
        PublicKeyAlgorithm::Rsa { bits: 2048 } => Some(KeyAlgorithm::Rsa2048),
        PublicKeyAlgorithm::Rsa { bits: 3072 } => Some(KeyAlgorithm::Rsa3072),
        PublicKeyAlgorithm::Rsa { bits: 4096 } => Some(KeyAlgorithm::Rsa4096),
        PublicKeyAlgorithm::EcP256 => Some(KeyAlgorithm::EcP256),
        PublicKeyAlgorithm::EcP384 => Some(KeyAlgorithm::EcP384),
        _ => None,
    }
}

/// Holds a CSR against its plan.
fn check_csr(csr: &Csr, plan: &CertificatePlan) -> Result<(), PolicyRefusal> {
    let differs = if csr.subject().as_der() != plan.subject {
        "the subject"
    } else if key_algorithm(csr.public_key_algorithm()) != Some(plan.key) {
        "the key algorithm"
    } else if csr.subject_alt_names().iter().any(|name| !plan.subject_alt_names.contains(name)) {
        "the subjectAltName"
    } else if csr.extended_key_usage().iter().any(|usage| !plan.extended_key_usage.contains(usage)) {
        "the extendedKeyUsage"
    } else if csr.key_usage().is_some_and(|usage| usage != plan.key_usage) {
        "the keyUsage"
    } else if csr.sid().is_some() && csr.sid() != plan.sid_extension.as_ref() {
        "the SID extension"
    } else {
        return Ok(());
    };
    Err(PolicyRefusal::new(Rule::CsrMismatch, format!("{differs} of the CSR is not that of the plan")))
}

/// A CSR of the connector's own making asks for nothing that the plan does not say: CAs copy extensions from CSRs.
fn check_own_extensions(csr: &Csr, plan: &CertificatePlan) -> Result<(), PolicyRefusal> {
    let is_planned = |extension: &Extension| extension.oid().is_some_and(|oid| OWN_EXTENSIONS.contains(&oid.as_str()));
    let other_template = !csr.asks_for_no_template_but(plan.template.as_ref());
    if other_template
        || csr.requests_ca()
        || csr.has_unknown_subject_alt_names()
        || csr.has_overlong_types()
        || !csr.requested_extensions().iter().all(is_planned)
    {
        return Err(PolicyRefusal::new(Rule::CsrMismatch, "the CSR asks for more than the plan says"));
    }
    Ok(())
}

/// Whom the certificate names, for the audit log.
fn identity(plan: &CertificatePlan) -> String {
    let of_name = |name: &SubjectAltName| match name {
        SubjectAltName::Upn(text) | SubjectAltName::Email(text) | SubjectAltName::Dns(text) => Some(text.clone()),
        _ => None,
    };
    let from_names = plan.subject_alt_names.iter().find_map(of_name);
    from_names.unwrap_or_else(|| Name::from_der(&plan.subject).map(|name| name.to_string()).unwrap_or_default())
}
