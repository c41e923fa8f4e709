//! What an end means: pure.

use zeroize::Zeroize as _;

use super::ca::Asked;
use super::drive::End;
use super::report::{Recipient, Verdict, WouldIssue};
use crate::limits::Limits;
use crate::ports::{Failure, Outcome, Payload, RevokeResult};
use crate::retry::ErrorClass;

/// For whom a request's result would be encrypted.
pub(super) fn recipient(payload: &Payload, limits: &Limits) -> Option<Recipient> {
    match payload {
        Payload::Pkcs(request) => Recipient::read(&request.recipient, limits),
        Payload::Recrypt(request) => Recipient::read(&request.recipient, limits),
        Payload::Import(request) => Recipient::read(&request.recipient, limits),
        _ => None,
    }
}

/// What a CA was asked decides; how the task ended after that is the dry run's own doing.
pub(super) fn conclude(asked: Vec<Asked>, end: End, recipient: Option<Recipient>) -> Verdict {
    let mut lookups = Vec::new();
    let mut serial = None;
    for asked in asked {
        match asked {
            Asked::Issue(plan) => return Verdict::WouldIssue(Box::new(WouldIssue::new(*plan, recipient))),
            Asked::Revoke { ca, serial, reason } => return Verdict::WouldRevoke { ca, serial, reason },
            Asked::Lookup { ca, serial: of } => {
                lookups.push(ca.to_string());
                serial = Some(of);
            }
        }
    }
    if let Some(serial) = serial {
        let names = lookups.join(", ");
        let reason = format!("who issued the serial number {serial} is known to the CAs alone, and {names} was not asked: `allow_lookups`");
        return Verdict::Undecided { reason };
    }
    match end {
        End::Done(outcome) => done(outcome, recipient),
        End::Failed(failure) => failed(failure),
        End::Retry(failure) => Verdict::WouldTryAgain { reason: failure.message },
        End::LeftToOthers(reason) => Verdict::LeftToOthers { reason },
    }
}

/// An outcome that was made without a CA. Results are wiped, though they are encrypted.
pub(super) fn done(outcome: Outcome, recipient: Option<Recipient>) -> Verdict {
    match outcome {
        Outcome::Recrypt(mut result) => {
            let bytes = result.envelope.len();
            result.envelope.zeroize();
            Verdict::WouldUpload { recipient, bytes }
        }
        Outcome::Import(mut result) => {
            let bytes = result.password_envelope.len() + result.pfx_envelope.as_ref().map_or(0, Vec::len);
            result.password_envelope.zeroize();
            result.pfx_envelope.zeroize();
            Verdict::WouldUpload { recipient, bytes }
        }
        Outcome::Revoke(RevokeResult { error: Some(error), message, .. }) => Verdict::WouldFail {
            class: if error.is_retryable() { ErrorClass::Transient } else { ErrorClass::Request },
            code: Some(error.code().to_string()),
            reason: message.unwrap_or_else(|| format!("{error:?}")),
        },
        Outcome::Failed(failure) => failed(failure),
        // No CA was asked, so nothing can have been issued or revoked.
        Outcome::Pkcs(_) | Outcome::Revoke(_) => {
            failed(Failure::new(ErrorClass::Internal, "the flow claims a result that only a CA can give, and asked none"))
        }
    }
}

fn failed(failure: Failure) -> Verdict {
    match failure.class {
        ErrorClass::Policy => {
            Verdict::RefusedByPolicy { rule: failure.code.unwrap_or_else(|| "policy".to_owned()), reason: failure.message }
        }
        class => Verdict::WouldFail { class, code: failure.code, reason: failure.message },
    }
}
