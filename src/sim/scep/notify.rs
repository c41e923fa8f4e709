//! `successNotification` and `failureNotification`

use serde_json::{Map, Value};

use super::check::{self, Opened};
use super::code::result;
use super::parameters::{bounded, optional, permit, required, wrapped};
use super::validate::LONGEST_ID;
use crate::adapters::http::HttpResponse;
use crate::sim::Inner;
use crate::sim::endpoint::Endpoint;
use crate::sim::ledger::{FailureEntry, NotifiedCertificate};
use crate::sim::reply::{self, Answered, gateway_error};
use crate::sim::request::{Ask, member};
use crate::sim::state::State;

/// The longest names and numbers, in UTF-16 units (facts A.6).
const LONGEST_NAME: usize = 256;
const LONGEST_DESCRIPTION: usize = 255;

pub(super) fn success(inner: &Inner, state: &mut State, ask: &Ask<'_>) -> Answered {
    permit(inner, state, ask)?;
    let notification = wrapped(ask, "notification")?;
    let transaction = bounded(&notification, "transactionId", LONGEST_ID)?;
    let certificate = NotifiedCertificate {
        at: inner.runtime.now(),
        thumbprint: bounded(&notification, "certificateThumbprint", LONGEST_NAME)?.to_owned(),
        serial_number: bounded(&notification, "certificateSerialNumber", LONGEST_NAME)?.to_owned(),
        expiration: bounded(&notification, "certificateExpirationDateUtc", LONGEST_NAME)?.to_owned(),
        issuing_authority: bounded(&notification, "issuingCertificateAuthority", LONGEST_NAME)?.to_owned(),
        ca_configuration: optional(&notification, "caConfiguration")?.map(str::to_owned),
        certificate_authority: optional(&notification, "certificateAuthority")?.map(str::to_owned),
        times: 1,
    };
    let opened = match open(inner, state, &notification, Endpoint::SuccessNotification, transaction)? {
        Ok(opened) => opened,
        Err(refused) => return Ok(refused),
    };
    state.ledger.succeeded(transaction, opened.request_id(), &opened.digest, certificate);
    Ok(result(&state.base, "Success", ""))
}

pub(super) fn failure(inner: &Inner, state: &mut State, ask: &Ask<'_>) -> Answered {
    permit(inner, state, ask)?;
    let notification = wrapped(ask, "notification")?;
    let transaction = bounded(&notification, "transactionId", LONGEST_ID)?;
    let failure = FailureEntry {
        at: inner.runtime.now(),
        hresult: hresult(&notification)?,
        description: bounded(&notification, "errorDescription", LONGEST_DESCRIPTION)?.to_owned(),
    };
    match open(inner, state, &notification, Endpoint::FailureNotification, transaction)? {
        Ok(_) => {}
        Err(refused) => return Ok(refused),
    }
    state.ledger.failed(transaction, failure);
    Ok(result(&state.base, "Success", ""))
}

/// The notification's CSR, with its challenge authentic and perhaps too old; or the code that refuses it.
fn open(
    inner: &Inner,
    state: &mut State,
    notification: &Map<String, Value>,
    endpoint: Endpoint,
    transaction: &str,
) -> Result<Result<Opened, HttpResponse>, HttpResponse> {
    let certificate_request = required(notification, "certificateRequest")?;
    optional(notification, "callerInfo")?;
    if state.ledger.is_full_for(transaction) {
        return Err(reply::full("transactions"));
    }
    if let Some(code) = state.provoked.next(endpoint) {
        return Ok(Err(result(&state.base, &code, "provoked")));
    }
    let opened = check::open(inner, state, certificate_request);
    Ok(opened.map_err(|rejection| result(&state.base, rejection.code.as_str(), &rejection.text)))
}

/// An HRESULT as a number: signed as it should be, or unsigned as Microsoft's C# sample sends it.
fn hresult(notification: &Map<String, Value>) -> Result<i64, HttpResponse> {
    let wrong = |text: &str| gateway_error(400, "BadRequest", text);
    let number = member(notification, "hResult").ok_or_else(|| wrong("The member `hResult` is missing."))?;
    let number = number.as_i64().ok_or_else(|| wrong("The member `hResult` is no whole number."))?;
    if (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(&number) {
        Ok(number)
    } else {
        Err(wrong("The member `hResult` has more than 32 bits."))
    }
}
