//! How a [`LocalCa`] answers as a [`CertificateAuthority`].

use core::time::Duration;

use async_trait::async_trait;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use super::ledger::{By, sha256};
use super::{LocalCa, LocalCaError, LocalCaFault, Pending, Repeats, sign};
use crate::crypto::{SignError, sign_now};
use crate::limits::Limits;
use crate::message::X509Error;
use crate::message::crl::CrlBuilder;
use crate::message::csr::Csr;
use crate::message::enveloped::CmsError;
use crate::message::scep::next_ca_certificates_to_be_signed;
use crate::ports::{
    CaCapabilities, CertificateAuthority, CertificateStatus, FindAnswer, FindRequest, IssueAnswer, IssueRequest, KnownCertificate,
    LookupAnswer, LookupRequest, PortError, RevokeAnswer, RevokeBy, RevokeCall, SignNextCaRequest, StatusRequest,
};
use crate::retry::Effect;

/// How long a caller waits before it asks about a pending request.
const POLL_AFTER: Duration = Duration::from_secs(1);

#[async_trait]
impl CertificateAuthority for LocalCa {
    fn capabilities(&self) -> CaCapabilities {
        CaCapabilities {
            idempotent_issue: self.repeats == Repeats::ReturnSame,
            find: true,
            in_flight: Duration::ZERO,
            revoke_by: vec![RevokeBy::Serial, RevokeBy::Certificate, RevokeBy::CaSideId],
            lookup_by_serial: true,
            sid_extension: true,
            uri_san: true,
            pending: true,
        }
    }

    async fn issue(&self, request: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
        let csr = self.check(&request)?;
        let (fault, hold) = {
            let mut state = self.state();
            if self.repeats == Repeats::ReturnSame {
                if let Some(entry) = state.ledger.find(By::Key(&request.key)).map_err(unreadable)? {
                    return Ok(IssueAnswer::Issued(Box::new(self.answer(&entry))));
                }
                if let Some(poll_id) = state.pending_of(request.key) {
                    return Ok(IssueAnswer::Pending { poll_id: poll_id.to_owned(), after: POLL_AFTER });
                }
            }
            (state.faults.next_issue(), state.hold)
        };
        match fault {
            LocalCaFault::FailTransiently => return Err(PortError::transient("the CA is busy (injected)").with_effect(Effect::None)),
            LocalCaFault::Reject => return Err(PortError::rejected("denied by policy module (injected)").with_code("0x80094012")),
            LocalCaFault::Misconfigured => {
                return Err(PortError::misconfigured("template not supported (injected)").with_code("0x80094800"));
            }
            LocalCaFault::Pending { polls } => return Ok(self.keep_pending(&request, &csr, polls, hold)),
            LocalCaFault::None if !hold.is_zero() => return Ok(self.keep_pending(&request, &csr, 0, hold)),
            _ => {}
        }
        let issued = self.issue_plan(request.key, csr.spki(), request.plan, &fault).map_err(refused)?;
        match fault {
            LocalCaFault::LoseAnswer => Err(PortError::transient("the connection broke after the request was sent (injected)")),
            _ => Ok(IssueAnswer::Issued(Box::new(issued))),
        }
    }

    async fn status(&self, request: StatusRequest<'_>) -> Result<IssueAnswer, PortError> {
        let pending = {
            let now = (self.clock)();
            let mut state = self.state();
            match state.pending.get_mut(request.poll_id) {
                Some(pending) if pending.until > now => {
                    let after = pending.until.since(now).min(POLL_AFTER);
                    return Ok(IssueAnswer::Pending { poll_id: request.poll_id.to_owned(), after });
                }
                Some(pending) if pending.polls_left > 0 => {
                    pending.polls_left -= 1;
                    return Ok(IssueAnswer::Pending { poll_id: request.poll_id.to_owned(), after: POLL_AFTER });
                }
                Some(_) => state.pending.remove(request.poll_id),
                None => {
                    return match state.ledger.find(By::Key(&request.key)).map_err(unreadable)? {
                        Some(entry) => Ok(IssueAnswer::Issued(Box::new(self.answer(&entry)))),
                        None => Err(PortError::rejected("there is no such pending request")),
                    };
                }
            }
        };
        let Some(pending) = pending else { return Err(PortError::rejected("there is no such pending request")) };
        let issued = self.issue_plan(pending.key, &pending.spki, &pending.plan, &LocalCaFault::None).map_err(refused)?;
        Ok(IssueAnswer::Issued(Box::new(issued)))
    }

    async fn find(&self, request: FindRequest<'_>) -> Result<FindAnswer, PortError> {
        let mut state = self.state();
        Ok(match state.ledger.find(By::Key(&request.key)).map_err(unreadable)? {
            Some(entry) => FindAnswer::Found(Box::new(self.answer(&entry))),
            None if state.pending_of(request.key).is_some() => FindAnswer::CannotTell,
            None => FindAnswer::Absent,
        })
    }

    async fn lookup(&self, request: LookupRequest<'_>) -> Result<LookupAnswer, PortError> {
        Ok(match self.state().ledger.find(By::Serial(request.serial)).map_err(unreadable)? {
            Some(entry) => {
                let issued = self.answer(&entry);
                let status = if entry.revoked.is_some() { CertificateStatus::Revoked } else { CertificateStatus::Good };
                LookupAnswer::Found(Box::new(KnownCertificate::new(Some(issued.certificate), issued.ca_side_id).with_status(status)))
            }
            None => LookupAnswer::Absent,
        })
    }

    async fn revoke(&self, request: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
        let now = (self.clock)();
        let mut state = self.state();
        if state.faults.next_revocation_fails() {
            return Err(PortError::transient("the CA is busy (injected)"));
        }
        Ok(match state.ledger.revoke(request.serial, now, request.reason).map_err(unreadable)? {
            None => RevokeAnswer::UnknownSerial,
            Some(true) => RevokeAnswer::Revoked,
            Some(false) => RevokeAnswer::AlreadyRevoked,
        })
    }

    /// Signs whatever it is shown: its operator is whoever runs it.
    async fn sign_next_ca(&self, request: SignNextCaRequest<'_>) -> Result<Vec<u8>, PortError> {
        let wrong = |error: CmsError| PortError::rejected(format!("the CA cannot sign the certificates: {error}"));
        let unsigned = next_ca_certificates_to_be_signed(request.certificates, &self.certificate, self.algorithm, &self.provider);
        let unsigned = unsigned.map_err(wrong)?;
        let signature = sign_now(self.key.as_ref(), unsigned.algorithm(), unsigned.message()).map_err(|error| refused(error.into()))?;
        Ok(unsigned.finish(&signature))
    }

    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
        Ok(vec![self.certificate.der().clone()])
    }

    async fn crl(&self) -> Result<CertificateRevocationListDer<'static>, PortError> {
        let now = (self.clock)();
        let builder = {
            let mut state = self.state();
            state.crl_number += 1;
            let week = now.saturating_add(Duration::from_secs(7 * 86_400));
            let mut builder = CrlBuilder::new(self.certificate.subject().clone(), now, week, state.crl_number);
            if let Some(identifier) = self.certificate.subject_key_identifier() {
                builder = builder.authority_key_identifier(identifier);
            }
            for (serial, date, reason) in state.ledger.revoked() {
                builder = builder.revoked(serial.clone(), *date, *reason);
            }
            builder
        };
        let signed = builder.to_be_signed(self.algorithm).map_err(|error| refused(error.into()))?;
        sign(self.key.as_ref(), signed).map(CertificateRevocationListDer::from).map_err(refused)
    }
}

impl LocalCa {
    fn keep_pending(&self, request: &IssueRequest<'_>, csr: &Csr, polls_left: u32, hold: Duration) -> IssueAnswer {
        let poll_id = format!("local-pending-{}", request.key);
        let (spki, plan, until) = (csr.spki().to_vec(), request.plan.clone(), (self.clock)().saturating_add(hold));
        self.state().pending.insert(poll_id.clone(), Pending { key: request.key, spki, plan, polls_left, until });
        IssueAnswer::Pending { poll_id, after: POLL_AFTER }
    }

    /// The approval covers this request, and the request holds its key: the CA does not trust its caller to have looked.
    fn check(&self, request: &IssueRequest<'_>) -> Result<Csr, PortError> {
        let approval = request.approved.subject();
        if approval.ca != self.name || request.plan.ca != self.name {
            return Err(PortError::misconfigured("the request is for another CA; check the CA name in the configuration"));
        }
        if request.approved.expires() <= (self.clock)() {
            return Err(PortError::rejected("the approval has expired"));
        }
        let digest = self.digest(request.csr)?;
        let plan_digest = self.digest(&request.plan.digest_input())?;
        if approval.csr_digest != digest || approval.plan_digest != plan_digest || approval.template != request.plan.template {
            return Err(PortError::rejected("the approval is for another request"));
        }
        let malformed = |error: X509Error| PortError::rejected("the certification request was refused").with_source(error);
        let csr = Csr::from_der(request.csr, &Limits::default()).map_err(malformed)?;
        csr.verify_self_signature(&self.provider).map_err(malformed)?;
        Ok(csr)
    }

    pub(super) fn digest(&self, bytes: &[u8]) -> Result<[u8; 32], PortError> {
        sha256(&self.provider, bytes).map_err(|error| PortError::misconfigured("the CA cannot hash").with_source(error))
    }
}

fn refused(error: LocalCaError) -> PortError {
    match error {
        LocalCaError::Sign(SignError::Unavailable(_)) => PortError::transient("the CA's key is unavailable").with_effect(Effect::None),
        // A certificate that was not entered was not handed out either.
        LocalCaError::Ledger(error) => unreadable(error),
        error => PortError::rejected(format!("the CA cannot issue this: {error}")),
    }
}

fn unreadable(error: std::io::Error) -> PortError {
    PortError::transient("the CA's ledger cannot be read or written").with_effect(Effect::None).with_source(error)
}
