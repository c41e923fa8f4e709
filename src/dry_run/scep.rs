//! What the issuance policy says to a CSR.

use super::report::{Verdict, WouldIssue};
use crate::crypto::CryptoProvider;
use crate::limits::Limits;
use crate::message::csr::Csr;
use crate::policy::{IssuancePolicy, PolicyError, ScepApproval};
use crate::retry::ErrorClass;
use crate::time::Timestamp;

/// Says what the policy says to a recorded CSR, as the SCEP service would ask it once the validator had accepted the challenge.
///
/// The validator is not asked: `approval.vouched` is what you suppose that it would vouch for. `csr` is PKCS#10 DER; it may hold a challenge,
/// and nothing of that is in the verdict. CPU work: one signature check.
#[must_use]
pub fn judge_csr(
    provider: &CryptoProvider,
    policy: &IssuancePolicy,
    csr: &[u8],
    approval: &ScepApproval<'_>,
    limits: &Limits,
    now: Timestamp,
) -> Verdict {
    let csr = match Csr::from_der(csr, limits) {
        Ok(csr) => csr,
        Err(error) => return Verdict::Malformed { reason: crate::event::printable(&format!("the CSR cannot be read: {error}")) },
    };
    match policy.approve_csr(provider, &csr, approval, now) {
        // The approval ends here, unseen by any CA.
        Ok((plan, _)) => Verdict::WouldIssue(Box::new(WouldIssue::new(plan, None))),
        Err(PolicyError::Refused(refusal)) => {
            Verdict::RefusedByPolicy { rule: refusal.rule.as_str().to_owned(), reason: crate::event::printable(&refusal.to_string()) }
        }
        Err(error) => Verdict::WouldFail { class: ErrorClass::Configuration, code: None, reason: error.to_string() },
    }
}
