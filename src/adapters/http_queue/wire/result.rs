//! Results on the wire, and what the queue says to them.

use serde::Serialize;
use serde_json::Value;

use super::json::{Object, Problem, write_time};
use super::names::{read_class, read_import_payload, read_revocation_error, write_class, write_import_payload};
use super::request::{MetaBody, meta_body, read_meta};
use crate::adapters::http::Base64;
use crate::adapters::http::fit;
use crate::event::printable;
use crate::ids::Thumbprint;
use crate::ports::{CompleteAnswer, Failure, ImportResult, Outcome, PkcsResult, RecryptResult, ResultItem, RevocationError, RevokeResult};

#[derive(Serialize)]
pub(super) struct ResultBody<'a> {
    meta: MetaBody<'a>,
    kind: &'static str,
    result: OutcomeBody<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum OutcomeBody<'a> {
    Pkcs(Box<PkcsBody<'a>>),
    Recrypt { envelope: Base64<'a> },
    Import(ImportBody<'a>),
    Revoke(RevokeBody<'a>),
    Failed(FailureBody<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PkcsBody<'a> {
    pfx_envelope: Base64<'a>,
    password_envelope: Base64<'a>,
    thumbprint: String,
    serial: String,
    not_after: String,
    ca: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImportBody<'a> {
    payload: &'static str,
    password_envelope: Base64<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pfx_envelope: Option<Base64<'a>>,
}

#[derive(Serialize)]
struct RevokeBody<'a> {
    succeeded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

#[derive(Serialize)]
struct FailureBody<'a> {
    class: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    message: &'a str,
}

#[derive(Serialize)]
pub(super) struct AnswerBody<'a> {
    answer: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

pub(super) fn result_body(item: &ResultItem) -> ResultBody<'_> {
    let (kind, result) = match &item.outcome {
        Outcome::Pkcs(result) => (
            "pkcs",
            OutcomeBody::Pkcs(Box::new(PkcsBody {
                pfx_envelope: Base64(&result.pfx_envelope),
                password_envelope: Base64(&result.password_envelope),
                thumbprint: result.thumbprint.to_string(),
                serial: result.serial.to_string(),
                not_after: write_time(result.not_after),
                ca: result.ca.as_str(),
            })),
        ),
        Outcome::Recrypt(result) => ("recrypt", OutcomeBody::Recrypt { envelope: Base64(&result.envelope) }),
        Outcome::Import(result) => (
            "import",
            OutcomeBody::Import(ImportBody {
                payload: write_import_payload(result.payload),
                password_envelope: Base64(&result.password_envelope),
                pfx_envelope: result.pfx_envelope.as_deref().map(Base64),
            }),
        ),
        // The note is the operator's own, and stays here.
        Outcome::Revoke(RevokeResult { error, message, note: _ }) => (
            "revoke",
            OutcomeBody::Revoke(RevokeBody {
                succeeded: error.is_none(),
                error: error.map(RevocationError::name),
                message: message.as_deref(),
            }),
        ),
        Outcome::Failed(Failure { class, code, message }) => {
            ("failed", OutcomeBody::Failed(FailureBody { class: write_class(*class), code: code.as_deref(), message }))
        }
    };
    ResultBody { meta: meta_body(&item.meta), kind, result }
}

/// Reads one result.
pub(crate) fn read_result(value: &Value) -> Result<ResultItem, Problem> {
    let object = Object::of(value, "the result")?;
    let meta = read_meta(object)?;
    let result = object.object("result")?;
    let outcome = match object.text("kind")? {
        "pkcs" => Outcome::Pkcs(Box::new(read_pkcs(result)?)),
        "recrypt" => Outcome::Recrypt(RecryptResult::new(result.bytes("envelope")?)),
        "import" => Outcome::Import(ImportResult::new(
            result.name("payload", read_import_payload)?,
            result.bytes("passwordEnvelope")?,
            result.optional_bytes("pfxEnvelope")?,
        )),
        "revoke" => Outcome::Revoke(read_revoke(result)?),
        "failed" => Outcome::Failed(
            Failure::new(result.name("class", read_class)?, result.text("message")?)
                .with_code(result.optional_text("code")?.map(str::to_owned)),
        ),
        _ => return Err(Problem("`kind` is a kind of result that this version does not know".to_owned())),
    };
    Ok(ResultItem::new(meta, outcome))
}

fn read_pkcs(result: Object<'_>) -> Result<PkcsResult, Problem> {
    let thumbprint = Thumbprint::try_from(result.text("thumbprint")?.to_owned());
    Ok(PkcsResult::new(
        result.bytes("pfxEnvelope")?,
        result.bytes("passwordEnvelope")?,
        thumbprint.map_err(|error| Problem(format!("`thumbprint`: {error}")))?,
        result.parsed("serial")?,
        result.time("notAfter")?,
        result.parsed("ca")?,
    ))
}

fn read_revoke(result: Object<'_>) -> Result<RevokeResult, Problem> {
    let error = result.optional_name("error", read_revocation_error)?;
    if result.flag("succeeded")? == error.is_some() {
        return Err(Problem("a revocation has succeeded exactly when it has no `error`".to_owned()));
    }
    let message = result.optional_text("message")?.map(printable);
    Ok(RevokeResult { error, message, note: None })
}

pub(super) fn answer_body(answer: &CompleteAnswer) -> AnswerBody<'_> {
    match answer {
        CompleteAnswer::Accepted => AnswerBody { answer: "accepted", reason: None },
        CompleteAnswer::TryAgain(reason) => AnswerBody { answer: "tryAgain", reason: Some(reason) },
        CompleteAnswer::Refused(reason) => AnswerBody { answer: "refused", reason: Some(reason) },
    }
}

/// Reads what the queue says to one result. An answer that is not understood is no refusal: the result is offered again.
pub(super) fn read_answer(value: &Value) -> CompleteAnswer {
    let read = || -> Result<CompleteAnswer, Problem> {
        let object = Object::of(value, "the answer")?;
        let reason = || -> Result<String, Problem> { Ok(fit(object.optional_text("reason")?.unwrap_or("no reason was given"))) };
        Ok(match object.text("answer")? {
            "accepted" => CompleteAnswer::Accepted,
            "tryAgain" => CompleteAnswer::TryAgain(reason()?),
            "refused" => CompleteAnswer::Refused(reason()?),
            other => CompleteAnswer::TryAgain(format!("the queue gave an answer that this version does not know: `{}`", fit(other))),
        })
    };
    read().unwrap_or_else(|problem| CompleteAnswer::TryAgain(format!("the queue's answer could not be read: {problem}")))
}
