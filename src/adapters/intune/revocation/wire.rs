//! Bodies in the service's own spelling, and answers read as tolerantly as Microsoft's clients do together.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::super::actions::HttpAnswer;
use super::super::fault::Asked;
use super::super::revocation_actions::RevocationAction;
use super::super::wire::{body, cut};
use super::config::{ErrorCodeForm, MOST_REQUESTS};
use super::record::Record;
use crate::adapters::http::{fit, quoted};
use crate::ports::{PortError, RevocationError};
use crate::secret::SecretBytes;

/// A longer serial number, in bytes of its text, is none.
const MOST_SERIAL: usize = 256;
/// A longer name of an issuer, in bytes, is none.
const MOST_NAME: usize = 4_096;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DownloadBody<'a> {
    download_parameters: DownloadParameters<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DownloadParameters<'a> {
    max_requests: usize,
    // Written as null when absent, as Microsoft's clients do.
    issuer_name: Option<&'a str>,
}

#[derive(Serialize)]
struct UploadBody<'a> {
    results: &'a [UploadedResult<'a>],
}

/// One result as the service takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UploadedResult<'a> {
    request_context: &'a str,
    succeeded: bool,
    error_code: ErrorCode,
    error_message: Option<&'a str>,
}

/// `None` or an error, in the form that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ErrorCode(Option<RevocationError>, ErrorCodeForm);

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.1, self.0) {
            (ErrorCodeForm::Names, error) => serializer.serialize_str(error.map_or("None", RevocationError::name)),
            (ErrorCodeForm::Numbers, error) => serializer.collect_str(&error.map_or(0, RevocationError::code)),
        }
    }
}

impl<'a> UploadedResult<'a> {
    /// A result that the service takes: the rules of both of Microsoft's clients together. A blank message counts as none, and a long one is
    /// cut to the 255 UTF-16 units that the descriptions of the validation API may have; for this API no limit is known.
    pub(super) fn new(
        request_context: &'a str,
        succeeded: bool,
        error: Option<RevocationError>,
        message: Option<&'a str>,
        form: ErrorCodeForm,
    ) -> Result<Self, &'static str> {
        let error_message = message.filter(|message| !message.trim().is_empty()).map(cut);
        match (succeeded, error, error_message) {
            (true, Some(_), _) => Err("a success carries an error code"),
            (true, None, Some(_)) => Err("a success carries an error message"),
            (false, None, _) => Err("a failure carries no error code"),
            _ => Ok(Self { request_context, succeeded, error_code: ErrorCode(error, form), error_message }),
        }
    }
}

pub(super) fn download(max_requests: usize, issuer_name: Option<&str>) -> Result<SecretBytes, PortError> {
    body(&DownloadBody { download_parameters: DownloadParameters { max_requests, issuer_name } })
}

/// The service refuses an empty list.
pub(super) fn upload(results: &[UploadedResult<'_>]) -> Result<SecretBytes, PortError> {
    if results.is_empty() {
        return Err(PortError::rejected("there are no results to upload, and Intune takes no empty list"));
    }
    body(&UploadBody { results })
}

fn asked(action: RevocationAction) -> Asked {
    Asked {
        call: action.to_string(),
        outcome: match action {
            RevocationAction::DownloadRevocationRequests => "requests",
            RevocationAction::UploadRevocationResults => "verdict",
        },
        holds: "another host must not see the token",
        too_large: "the list is larger than the service takes: lower `max_requests` of the queue",
        max_body: action.max_answer(),
    }
}

/// What a download brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Downloaded {
    /// Those that can be answered, each once.
    pub(super) records: Vec<Record>,
    /// How many came without a context: nobody can answer them.
    pub(super) unidentified: usize,
}

/// Reads the answer to a download.
pub(super) fn read_download(answer: &HttpAnswer) -> Result<Downloaded, PortError> {
    let asked = asked(RevocationAction::DownloadRevocationRequests);
    asked.check(answer)?;
    let wrong = |problem: &str| asked.no_answer(answer, &format!("{problem}{}", quoted(&answer.body)));
    let Some(Value::Object(object)) = parsed(answer) else { return Err(wrong("the body is no JSON object")) };
    let items = match member(&object, "value") {
        Some(Value::Array(items)) => items,
        Some(_) => return Err(wrong("`value` is no list")),
        None => return Err(wrong("there is no `value`")),
    };
    let mut found = Downloaded::default();
    let mut contexts = std::collections::HashSet::new();
    // More than the API gives are left to a later download.
    for item in items.iter().take(MOST_REQUESTS) {
        match item.as_object().and_then(|item| record(item, answer.activity.as_deref())) {
            Some(record) if contexts.insert(record.context.clone()) => found.records.push(record),
            // Twice in one answer: the first stands.
            Some(_) => {}
            None => found.unidentified += 1,
        }
    }
    if found.records.is_empty() && found.unidentified > 0 {
        return Err(wrong("no request in it has a text `requestContext`, so that none can be answered"));
    }
    Ok(found)
}

/// `None` without a context.
fn record(item: &Map<String, Value>, activity: Option<&str>) -> Option<Record> {
    let context = member(item, "requestContext").and_then(Value::as_str).filter(|context| !context.trim().is_empty())?;
    let mut problems = Vec::new();
    let serial = match member(item, "serialNumber") {
        Some(Value::String(serial)) if serial.trim().is_empty() => Err("`serialNumber` is blank"),
        Some(Value::String(serial)) if serial.len() > MOST_SERIAL => Err("`serialNumber` is too long"),
        Some(Value::String(serial)) => Ok(serial.clone()),
        Some(Value::Null) | None => Err("`serialNumber` is missing"),
        Some(_) => Err("`serialNumber` is no text"),
    };
    let serial = serial.map_err(|problem| problems.push(problem)).ok();
    let mut name = |name: &str, no_text, too_long| match member(item, name) {
        Some(Value::String(text)) if text.len() > MOST_NAME => {
            problems.push(too_long);
            None
        }
        Some(Value::String(text)) => Some(text.clone()).filter(|text| !text.trim().is_empty()),
        Some(Value::Null) | None => None,
        Some(_) => {
            problems.push(no_text);
            None
        }
    };
    let issuer_name = name("issuerName", "`issuerName` is no text", "`issuerName` is too long");
    let ca_configuration = name("caConfiguration", "`caConfiguration` is no text", "`caConfiguration` is too long");
    Some(Record {
        context: context.to_owned(),
        serial,
        issuer_name,
        ca_configuration,
        problem: (!problems.is_empty()).then(|| problems.join(", ")),
        activity: activity.map(str::to_owned),
        accepted: None,
    })
}

/// Reads the answer to an upload: `None` when the results are taken, else why not.
pub(super) fn read_upload(answer: &HttpAnswer) -> Result<Option<String>, PortError> {
    let asked = asked(RevocationAction::UploadRevocationResults);
    asked.check(answer)?;
    let object = match parsed(answer) {
        Some(Value::Object(object)) => object,
        _ => return Err(asked.no_answer(answer, &format!("the body is no JSON object{}", quoted(&answer.body)))),
    };
    let problem = match member(&object, "value") {
        Some(Value::Bool(true)) => return Ok(None),
        Some(Value::String(text)) if text.trim().eq_ignore_ascii_case("true") => return Ok(None),
        Some(value) => format!("Intune did not take the results: `value` is `{}`", fit(&value.to_string())),
        None => format!("Intune did not say that it took the results: there is no `value`{}", quoted(&answer.body)),
    };
    Ok(Some(problem))
}

fn parsed(answer: &HttpAnswer) -> Option<Value> {
    let body = answer.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&answer.body);
    serde_json::from_slice(body).ok()
}

/// A member in its own spelling, or else in any case: servers and clients of this API write `value` and `Value`.
fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| object.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_both_clients_hold_for_a_result() {
        let new = |succeeded, error, message| UploadedResult::new("c", succeeded, error, message, ErrorCodeForm::Names);
        let error = Some(RevocationError::ConflictError);
        assert!(new(true, error, None).is_err());
        assert!(new(true, None, Some("x")).is_err());
        assert!(new(false, None, Some("x")).is_err());
        assert!(new(false, None, None).is_err());
        assert!(new(true, None, Some(" ")).is_ok_and(|result| result.error_message.is_none()));
        assert!(new(false, error, None).is_ok());
        assert!(new(false, error, Some(&"x".repeat(300))).is_ok_and(|result| result.error_message.is_some_and(|text| text.len() == 255)));
    }

    #[test]
    fn no_body_makes_the_readers_panic() {
        for body in
            ["", "null", "[]", "1", "\"\"", "{", "{\"value\":", "{\"value\":[{}]}", "{\"value\":[null,1,[]]}", "\u{feff}{}", "<html>"]
        {
            let answer = HttpAnswer::new(200, body.as_bytes().to_vec(), crate::time::Timestamp::default());
            assert!(read_download(&answer).is_err(), "{body}");
            assert!(!matches!(read_upload(&answer), Ok(None)), "{body}");
        }
        let deep = format!("{{\"value\":{}", "[".repeat(100_000));
        assert!(read_download(&HttpAnswer::new(200, deep.into_bytes(), crate::time::Timestamp::default())).is_err());
    }
}
