//! The approval of CSRs that devices made, after a challenge validator has vouched for them.

use core::time::Duration;

use super::issuance::{ids, key_algorithm, key_usage_for, mint};
use super::names::{NamesAre, check_names};
use super::{IssuancePolicy, PolicyError, PolicyRefusal, Rule, SidPolicy};
use crate::crypto::CryptoProvider;
use crate::ids::{CaName, TemplateName};
use crate::message::csr::Csr;
use crate::ports::{Approved, CertificatePlan, Vouched};
use crate::terms::{Flow, KeyUsage, oids};
use crate::time::Timestamp;

/// Extensions that a device's CSR may ask for: subjectAltName, keyUsage, extendedKeyUsage, and those of the service's list of
/// February 2026 that choose nothing at the CA (facts, A.11).
const EXTENSIONS: [&str; 8] =
    ["2.5.29.17", "2.5.29.15", "2.5.29.37", "2.5.29.19", "2.5.29.14", "2.5.29.1", "2.5.29.3", "2.16.840.1.113730.1.11"];
/// Extensions that name a template. The service's list has them, but a CA may follow them instead of the profile.
const TEMPLATE_EXTENSIONS: [&str; 2] = [TEMPLATE_NAME, "1.3.6.1.4.1.311.21.8"];
/// The extension that names a template; harmless where it names the one that the profile has.
const TEMPLATE_NAME: &str = "1.3.6.1.4.1.311.20.2";
/// challengePassword, extensionRequest in its two spellings, and what Windows clients add about themselves: OS version, client info,
/// CSP. Name-value pairs (1.3.6.1.4.1.311.13.2.1) tell AD CS the template and the validity, and are refused.
const ATTRIBUTES: [&str; 6] = [
    "1.2.840.113549.1.9.7",
    "1.2.840.113549.1.9.14",
    "1.3.6.1.4.1.311.2.1.14",
    "1.3.6.1.4.1.311.13.2.3",
    "1.3.6.1.4.1.311.21.20",
    "1.3.6.1.4.1.311.13.2.2",
];

/// What is known about a device's CSR beside the CSR, once the validator has accepted it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ScepApproval<'a> {
    /// The CA that shall issue.
    pub ca: CaName,
    /// The template or profile, chosen by configuration, never by the device.
    pub template: Option<TemplateName>,
    /// How long the certificate shall be valid.
    pub validity: Duration,
    /// What the validator vouches for.
    pub vouched: &'a Vouched,
    /// Whether a CSR that names a template is served all the same; the name in it is not used by this crate, but the CA sees it.
    pub tolerate_template_extension: bool,
}

impl<'a> ScepApproval<'a> {
    /// Without a template.
    #[must_use]
    pub fn new(ca: CaName, validity: Duration, vouched: &'a Vouched) -> Self {
        Self { ca, template: None, validity, vouched, tolerate_template_extension: false }
    }

    /// Sets the template.
    #[must_use]
    pub fn with_template(mut self, template: Option<TemplateName>) -> Self {
        self.template = template;
        self
    }

    /// Serves CSRs that name a template.
    #[must_use]
    pub fn tolerating_template_extension(mut self) -> Self {
        self.tolerate_template_extension = true;
        self
    }
}

impl IssuancePolicy {
    /// Derives the plan of a CSR that a device made, and approves it. Call it only after the validator has accepted the CSR.
    ///
    /// A SID extension in the CSR is always refused: it is the device's claim. A SID URI passes only when the validator vouches for it.
    ///
    /// # Errors
    /// [`PolicyError::Refused`] is final.
    pub fn approve_csr(
        &self,
        provider: &CryptoProvider,
        csr: &Csr,
        approval: &ScepApproval<'_>,
        now: Timestamp,
    ) -> Result<(CertificatePlan, Approved), PolicyError> {
        let trust =
            if self.accept_checked_names && approval.vouched.names_checked { NamesAre::CheckedByValidator } else { NamesAre::Listed };
        check_asked_extensions(csr, approval)?;
        let key = key_algorithm(csr.public_key_algorithm()).ok_or_else(|| {
            PolicyRefusal::new(Rule::Key, "the key is neither RSA of 2048, 3072 or 4096 bits nor on P-256 or P-384".to_owned())
        })?;
        let mut plan =
            CertificatePlan::new(approval.ca.clone(), csr.subject().as_der().to_vec(), key, now.saturating_add(approval.validity));
        plan.template.clone_from(&approval.template);
        plan.subject_alt_names = csr.subject_alt_names().to_vec();
        plan.extended_key_usage = csr.extended_key_usage().to_vec();
        plan.key_usage = csr.key_usage().unwrap_or_else(|| key_usage_for(key));
        if plan.key_usage == KeyUsage::default() {
            return Err(PolicyRefusal::new(Rule::KeyUsage, "the CSR asks for a keyUsage without any usage that is known").into());
        }

        let asked = check_names(self, &plan.subject_alt_names, trust)?;
        let vouched = approval.vouched;
        let sid = match (asked, &vouched.sid) {
            (Some(_), _) if self.sid_setting() == SidPolicy::Off => {
                return Err(PolicyRefusal::new(Rule::Sid, "the CSR holds a SID URI and the SID policy is `Off`").into());
            }
            (Some(asked), Some(sid)) if asked != *sid => {
                return Err(PolicyRefusal::new(Rule::Sid, "the CSR holds another SID than the validator vouches for").into());
            }
            (Some(asked), None) if !vouched.names_checked => {
                let reason = format!("the CSR holds {asked}, for which the validator does not vouch");
                return Err(PolicyRefusal::new(Rule::Sid, reason).into());
            }
            (Some(asked), _) => Some(asked),
            (None, vouched) => vouched.clone(),
        };
        // The device's own URI stays as it is, since the validator has seen it; the extension is ours to add.
        plan.sid_extension = sid.filter(|_| self.sid_setting().writes_extension());
        self.check(&plan, &ids(vouched.device.as_ref(), vouched.user.as_ref()), trust, now)?;
        let approved = mint(provider, Flow::Scep, csr, &plan, now)?;
        Ok((plan, approved))
    }
}

fn check_asked_extensions(csr: &Csr, approval: &ScepApproval<'_>) -> Result<(), PolicyRefusal> {
    let refuse = |rule, reason: String| Err(PolicyRefusal::new(rule, reason));
    for extension in csr.requested_extensions() {
        let oid = extension.oid().map_or("with an overlong object identifier", |oid| oid.as_str());
        if oid == oids::SID_EXTENSION {
            return refuse(Rule::Sid, "the CSR asks for a SID extension; a device must not choose its SID".to_owned());
        }
        let is_configured = oid == TEMPLATE_NAME && csr.asks_for_no_template_but(approval.template.as_ref());
        let tolerated = is_configured || approval.tolerate_template_extension && TEMPLATE_EXTENSIONS.contains(&oid);
        if !tolerated && !EXTENSIONS.contains(&oid) {
            return refuse(Rule::CsrExtension, format!("the CSR asks for the extension {oid}, which devices may not ask for"));
        }
    }
    for attribute in csr.attribute_oids() {
        if !ATTRIBUTES.contains(&attribute.as_str()) {
            return refuse(Rule::CsrExtension, format!("the CSR holds the attribute {attribute}, which devices may not send"));
        }
    }
    if csr.has_overlong_types() {
        return refuse(Rule::CsrExtension, "the CSR holds a usage or attribute with an overlong object identifier".to_owned());
    }
    if csr.has_unknown_subject_alt_names() {
        return refuse(Rule::AltNameSyntax, "the subjectAltName of the CSR holds a kind of name that is never issued".to_owned());
    }
    if csr.requests_ca() {
        return refuse(Rule::CaCertificate, "the CSR asks for a CA certificate".to_owned());
    }
    Ok(())
}
