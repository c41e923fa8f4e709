//! Answers in each service's own shape.

use serde_json::{Value, json};

use crate::adapters::http::HttpResponse;
use crate::time::Timestamp;

/// How a handler answers: the error is an answer too, one that says no.
pub(super) type Answered = Result<HttpResponse, HttpResponse>;

pub(super) fn text(status: u16, text: &str) -> HttpResponse {
    HttpResponse::new(status, text.as_bytes().to_vec()).with_header("content-type", "text/plain; charset=utf-8")
}

pub(super) fn json(status: u16, body: &Value) -> HttpResponse {
    HttpResponse::new(status, body.to_string().into_bytes()).with_header("content-type", "application/json; charset=utf-8")
}

pub(super) fn no_content() -> HttpResponse {
    HttpResponse::new(204, Vec::new())
}

/// Something failed inside the simulator, such as the provider's random numbers.
pub(super) fn internal(what: &str) -> HttpResponse {
    text(500, &format!("the simulated Intune failed: {what}"))
}

/// A table is full: the simulator bounds what it keeps.
pub(super) fn full(what: &str) -> HttpResponse {
    text(507, &format!("the simulated Intune keeps no more {what}; start a new one"))
}

/// An OData answer.
pub(super) fn odata(status: u16, body: &Value) -> HttpResponse {
    let media_type = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8";
    HttpResponse::new(status, body.to_string().into_bytes()).with_header("content-type", media_type).with_header("odata-version", "4.0")
}

/// An error of Microsoft Graph.
pub(super) fn graph_error(status: u16, code: &str, message: &str, at: Timestamp) -> HttpResponse {
    odata(status, &json!({ "error": { "code": code, "message": message, "innerError": { "date": at.to_string() } } }))
}

/// An error of Intune's gateway: the message is a JSON document as text (facts A.7).
pub(super) fn gateway_error(status: u16, code: &str, message: &str) -> HttpResponse {
    let inner = json!({
        "_version": 3,
        "Message": format!("{message} - Operation ID (for customer support): 00000000-0000-0000-0000-000000000000"),
        "CustomApiErrorPhrase": "",
        "RetryAfter": null,
        "ErrorSourceService": "",
        "HttpHeaders": "{}",
    });
    odata(status, &json!({ "error": { "code": code, "message": inner.to_string() } }))
}
