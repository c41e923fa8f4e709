//! Certificate authorities: whether they answer, and what ends.

use std::sync::Arc;

use super::expiry::expiry;
use super::report::{Check, Finding};
use super::scope::Scope;
use crate::ids::CaName;
use crate::message::certificate::Certificate;
use crate::message::crl::Crl;
use crate::ports::{CaCapabilities, CertificateAuthority, PortError, PortErrorKind};
use crate::time::Timestamp;

/// Asks a CA for what changes nothing: capabilities, chain and CRL.
pub(super) async fn check(scope: &Scope, name: &CaName, ca: &Arc<dyn CertificateAuthority>) -> Vec<Finding> {
    let subject = name.as_str();
    let mut findings = scope.guard(Check::Ca, subject, async { capabilities(subject, &ca.capabilities()) }).await;
    let mut issuer = None;
    let chain = async {
        match ca.chain().await {
            Ok(chain) => {
                let (found, first) = read_chain(scope, subject, &chain);
                issuer = first;
                found
            }
            Err(error) => vec![unanswered(Check::Ca, subject, "its chain", &error)],
        }
    };
    findings.extend(scope.guard(Check::Ca, subject, chain).await);
    let crl = async {
        match ca.crl().await {
            Ok(crl) => read_crl(scope, subject, &crl, issuer.as_ref()),
            Err(error) => vec![unanswered(Check::Crl, subject, "a CRL", &error)],
        }
    };
    findings.extend(scope.guard(Check::Crl, subject, crl).await);
    findings
}

fn capabilities(subject: &str, can: &CaCapabilities) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !can.idempotent_issue && !can.find {
        let what = "it is neither idempotent nor can it find: after a lost answer a second certificate may come into being";
        findings.push(Finding::info(Check::Ca, subject, what));
    }
    if can.revoke_by.is_empty() {
        findings.push(Finding::info(Check::Ca, subject, "it cannot revoke; certificates that fail the post-issue check stay valid"));
    }
    findings
}

fn unanswered(check: Check, subject: &str, what: &str, error: &PortError) -> Finding {
    let text = format!("it does not give {what}: {error}");
    match error.kind() {
        PortErrorKind::Unsupported => Finding::skipped(check, subject, format!("it gives none of {what}: {error}")),
        PortErrorKind::Misconfigured => {
            Finding::error(check, subject, text, "correct the address, the credential or the permissions of the connector at the CA")
        }
        _ => Finding::error(check, subject, text, "see that the CA runs, and that this host reaches it by name and port"),
    }
}

fn read_chain(scope: &Scope, subject: &str, chain: &[rustls_pki_types::CertificateDer<'static>]) -> (Vec<Finding>, Option<Certificate>) {
    let now = scope.now();
    let mut findings = Vec::new();
    let mut first = None;
    if chain.is_empty() {
        let cure = "let `CertificateAuthority::chain` give the issuing certificate first";
        findings.push(Finding::error(Check::Ca, subject, "its chain is empty", cure));
    }
    for (at, der) in chain.iter().enumerate() {
        let certificate = match Certificate::from_der(der, &scope.limits) {
            Ok(certificate) => certificate,
            Err(error) => {
                let what = format!("certificate {at} of its chain cannot be read: {error}");
                findings.push(Finding::error(Check::CaCertificate, subject, what, "give the chain as DER"));
                continue;
            }
        };
        if at == 0 {
            findings.push(Finding::ok(Check::Ca, subject, format!("it answers, and issues as {}", certificate.subject())));
            if !certificate.is_ca() {
                let cure = "let `CertificateAuthority::chain` give the issuing certificate first";
                findings.push(Finding::error(Check::CaCertificate, subject, "its first certificate is not a CA's", cure));
            }
        }
        let name = format!("the certificate {}", certificate.subject());
        let cure = "renew it, and give the new one to the devices as a trusted root or intermediate before the old one ends";
        findings.push(expiry(Check::CaCertificate, subject, &name, certificate.not_after(), now, cure));
        if certificate.not_before() > now {
            let what = format!("{name} is valid from {} on", certificate.not_before());
            findings.push(Finding::error(Check::CaCertificate, subject, what, "see the clock of this host, and that of the CA"));
        }
        if at == 0 {
            first = Some(certificate);
        }
    }
    (findings, first)
}

fn read_crl(scope: &Scope, subject: &str, der: &[u8], issuer: Option<&Certificate>) -> Vec<Finding> {
    let crl = match Crl::from_der(der, &scope.limits) {
        Ok(crl) => crl,
        Err(error) => return vec![Finding::error(Check::Crl, subject, format!("its CRL cannot be read: {error}"), "publish it as DER")],
    };
    if let Some(issuer) = issuer
        && let Err(error) = crl.verify_signed_by(&scope.provider, issuer.spki())
    {
        let what = format!("its CRL is not signed by its first certificate: {error}");
        return vec![Finding::error(Check::Crl, subject, what, "give the CRL of the issuing CA, signed by the key that issues")];
    }
    vec![judge_crl(subject, &crl, scope.now())]
}

fn judge_crl(subject: &str, crl: &Crl, now: Timestamp) -> Finding {
    let count = crl.entries().len();
    match crl.next_update() {
        Some(next) if next <= now => {
            let cure = "publish a new CRL: devices and servers that check revocation refuse certificates until then";
            Finding::error(Check::Crl, subject, format!("its CRL should have been replaced at {next}"), cure)
        }
        _ if crl.this_update() > now => {
            let what = format!("its CRL is of {}, which is in the future", crl.this_update());
            Finding::warning(Check::Crl, subject, what, "see the clock of this host, and that of the CA")
        }
        Some(next) => Finding::ok(Check::Crl, subject, format!("its CRL of {count} entries is replaced at {next}")),
        None => Finding::info(Check::Crl, subject, format!("its CRL of {count} entries does not say when it is replaced")),
    }
}
