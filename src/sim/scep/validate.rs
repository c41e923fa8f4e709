//! `validateRequest`

use super::check;
use super::code::result;
use super::parameters::{bounded, optional, permit, required, wrapped};
use crate::sim::Inner;
use crate::sim::endpoint::Endpoint;
use crate::sim::reply::{self, Answered};
use crate::sim::request::Ask;
use crate::sim::state::State;

/// The longest transactionId, in characters. Ours: a SCEP transactionID has at most 255 bytes, which may be sent in hexadecimal.
pub(super) const LONGEST_ID: usize = 1_024;

pub(super) fn validate(inner: &Inner, state: &mut State, ask: &Ask<'_>) -> Answered {
    permit(inner, state, ask)?;
    let request = wrapped(ask, "request")?;
    let transaction = bounded(&request, "transactionId", LONGEST_ID)?;
    let certificate_request = required(&request, "certificateRequest")?;
    optional(&request, "callerInfo")?;
    if state.ledger.is_full_for(transaction) {
        return Err(reply::full("transactions"));
    }
    let now = inner.runtime.now();
    let opened = check::open(inner, state, certificate_request);
    let verdict = match &opened {
        Ok(opened) => check::validate(inner, state, opened),
        Err(rejection) => Err(rejection.clone()),
    };
    let (code, text) = match (state.provoked.next(Endpoint::ValidateRequest), &verdict) {
        (Some(code), _) => (code, "provoked".to_owned()),
        (None, Ok(())) => ("Success".to_owned(), String::new()),
        (None, Err(rejection)) => (rejection.code.to_string(), rejection.text.clone()),
    };
    let challenge = opened.as_ref().ok().map(|opened| (opened.request_id(), opened.digest.as_str()));
    state.ledger.validated(transaction, challenge, &code, now);
    Ok(result(&state.base, &code, &text))
}
