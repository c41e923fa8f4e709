//! What a SCEP client says over HTTP (RFC 8894 section 4): operation, message, and the base64 of a GET as real clients write it.

use core::time::Duration;
use std::net::IpAddr;

use crate::limits::LimitExceeded;

/// The media types of SCEP, without parameters: some clients compare the whole header text.
pub mod media_type {
    /// GetCACaps
    pub const TEXT: &str = "text/plain";
    /// GetCACert with one certificate
    pub const CA_CERT: &str = "application/x-x509-ca-cert";
    /// GetCACert with RA certificates or a chain
    pub const CA_RA_CERT: &str = "application/x-x509-ca-ra-cert";
    /// GetNextCACert
    pub const NEXT_CA_CERT: &str = "application/x-x509-next-ca-cert";
    /// CertRep
    pub const PKI_MESSAGE: &str = "application/x-pki-message";
}

/// The HTTP method, as far as SCEP knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// Anything else: answered with 405.
    Other,
}

impl Method {
    /// The method of that name; case matters (RFC 9110 section 9.1).
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "POST" => Self::Post,
            _ => Self::Other,
        }
    }
}

/// One HTTP request below the SCEP mount point. The path's suffix and the content type do not matter.
#[derive(Clone)]
#[non_exhaustive]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The query as received, without the `?` and *not decoded*: decoding as a form destroys the '+' of base64.
    pub raw_query: String,
    /// The body of a POST.
    pub body: Vec<u8>,
    /// Who asks, as far as is known. The service does not look at it; what is in front of it limits clients by it.
    pub peer: Option<IpAddr>,
}

impl Request {
    /// A GET.
    #[must_use]
    pub fn get(raw_query: impl Into<String>) -> Self {
        Self { method: Method::Get, raw_query: raw_query.into(), body: Vec::new(), peer: None }
    }

    /// A POST.
    #[must_use]
    pub fn post(raw_query: impl Into<String>, body: Vec<u8>) -> Self {
        Self { method: Method::Post, raw_query: raw_query.into(), body, peer: None }
    }

    /// A request with another method is answered with 405.
    #[must_use]
    pub fn new(method: Method, raw_query: impl Into<String>, body: Vec<u8>) -> Self {
        Self { method, raw_query: raw_query.into(), body, peer: None }
    }

    /// Whether it asks for PKIOperation, the only one that takes private keys and a body. Tells it by method and query alone.
    #[must_use]
    pub fn is_pki_operation(&self) -> bool {
        self.method != Method::Other && operation_name(&self.raw_query).is_some_and(|name| name.eq_ignore_ascii_case(b"PKIOperation"))
    }

    /// Adds the client's address.
    #[must_use]
    pub fn with_peer(mut self, peer: IpAddr) -> Self {
        self.peer = Some(peer);
        self
    }
}

impl core::fmt::Debug for Request {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("raw_query", &format_args!("{} bytes", self.raw_query.len()))
            .field("body", &format_args!("{} bytes", self.body.len()))
            .field("peer", &self.peer)
            .finish()
    }
}

/// The answer. Send `media_type` without parameters, and `Retry-After` when it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// The HTTP status: 200 for every CertRep, a FAILURE too.
    pub status: u16,
    /// The Content-Type.
    pub media_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// The Retry-After header, in seconds; with 503.
    pub retry_after: Option<Duration>,
}

impl Response {
    pub(crate) fn ok(media_type: &'static str, body: Vec<u8>) -> Self {
        Self { status: 200, media_type, body, retry_after: None }
    }

    pub(crate) fn error(status: u16, text: &'static str) -> Self {
        Self { status, media_type: media_type::TEXT, body: text.as_bytes().to_vec(), retry_after: None }
    }

    pub(crate) fn busy(after: Duration) -> Self {
        Self { retry_after: Some(after), ..Self::error(503, "the server is busy, try again later\n") }
    }
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    GetCaCaps,
    GetCaCert,
    GetNextCaCert,
    PkiMessage(Vec<u8>),
}

/// Why a request is not even an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HttpError {
    MethodNotAllowed,
    UnknownOperation,
    NoMessage,
    BadBase64,
    TooLong(LimitExceeded),
}

impl HttpError {
    pub(crate) fn response(self) -> Response {
        match self {
            Self::MethodNotAllowed => Response::error(405, "SCEP uses GET and POST\n"),
            Self::UnknownOperation => Response::error(404, "unknown or missing operation\n"),
            Self::NoMessage => Response::error(400, "PKIOperation without a message\n"),
            Self::BadBase64 => Response::error(400, "the message is not base64\n"),
            Self::TooLong(_) => Response::error(413, "the message is too long\n"),
        }
    }
}

/// Reads method, query and body; nothing of the message itself.
pub(crate) fn operation(request: Request, max_message: usize) -> Result<Operation, HttpError> {
    if request.method == Method::Other {
        return Err(HttpError::MethodNotAllowed);
    }
    let len = request.raw_query.len().max(request.body.len()) as u64;
    let too_long = move || HttpError::TooLong(LimitExceeded { what: "input_bytes", limit: max_message as u64, needed: len });
    // Base64 grows by a third, percent escapes by three at most, line breaks by a little: what is longer cannot hold a message in bounds.
    if request.raw_query.len() > max_message.saturating_mul(5).saturating_add(4_096) {
        return Err(too_long());
    }
    let name = operation_name(&request.raw_query).ok_or(HttpError::UnknownOperation)?;
    let is = |operation: &str| name.eq_ignore_ascii_case(operation.as_bytes());
    if is("PKIOperation") {
        let message = match request.method {
            Method::Post if !request.body.is_empty() => request.body,
            Method::Post => return Err(HttpError::NoMessage),
            _ => {
                let raw = parameter(&request.raw_query, "message").ok_or(HttpError::NoMessage)?;
                base64_decode(&percent_decode(raw)).ok_or(HttpError::BadBase64)?
            }
        };
        return match message.len() {
            0 => Err(HttpError::NoMessage),
            len if len > max_message => Err(too_long()),
            _ => Ok(Operation::PkiMessage(message)),
        };
    }
    // A `message` beside these is any text (`default` from Windows): ignored. Some clients POST them.
    if is("GetCACaps") {
        Ok(Operation::GetCaCaps)
    } else if is("GetCACert") {
        Ok(Operation::GetCaCert)
    } else if is("GetNextCACert") {
        Ok(Operation::GetNextCaCert)
    } else {
        Err(HttpError::UnknownOperation)
    }
}

fn operation_name(raw_query: &str) -> Option<Vec<u8>> {
    parameter(raw_query, "operation").map(percent_decode)
}

/// The raw value of the first parameter of that name.
fn parameter<'a>(raw_query: &'a str, name: &str) -> Option<&'a str> {
    raw_query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// Undoes percent escapes; what is no escape stands for itself, '+' too.
fn percent_decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digit = |at: usize| tail.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                rest = &tail[2..];
            }
            _ => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

/// Decodes base64 as clients send it: line breaks anywhere, a space for '+' (a form decoder in between), the url-safe letters, and
/// padding or none. Bits after the last whole byte must be zero or the padding absent; anything else is refused.
fn base64_decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut count, mut padding) = (0u32, 0u32, 0usize);
    for &byte in text {
        let value = match byte {
            b'\r' | b'\n' | b'\t' => continue,
            b'=' => {
                padding += 1;
                continue;
            }
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b' ' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        if padding > 0 {
            return None;
        }
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    (padding <= 2 && count < 6 && bits == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = &[0xfb, 0xef, 0xbe, 0xff, 0xff, 0x30, 0x00];

    fn get(query: &str) -> Result<Operation, HttpError> {
        operation(Request::get(query), 65_536)
    }

    #[test]
    fn base64_of_a_get_is_read_in_every_spelling_that_clients_use() {
        for message in [
            "%2B%2B%2B%2B%2F%2F8wAA%3D%3D",  // escaped as RFC 8894 says
            "++++//8wAA==",                  // macOS: raw plus and slash
            "++++//8wAA%3D%3D",              // macOS: only '=' escaped
            "    //8wAA==",                  // a proxy decoded the form
            "----__8wAA",                    // url-safe, without padding
            "%2b%2b%2b%2b//8w%0D%0AAA==%0A", // wrapped lines (Cisco, sscep)
            "++++//8wAA=",                   // half the padding
        ] {
            assert_eq!(get(&format!("operation=PKIOperation&message={message}")), Ok(Operation::PkiMessage(MESSAGE.to_vec())), "{message}");
        }
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for message in ["++++//8wAB==", "A", "AAAA%00", "AA==AA==", "AAA%3DAA", "A%", "====", "AA===", "ü"] {
            let refused = get(&format!("operation=PKIOperation&message={message}"));
            assert!(matches!(refused, Err(HttpError::BadBase64 | HttpError::NoMessage)), "{message}: {refused:?}");
        }
    }

    #[test]
    fn a_message_beside_the_get_operations_is_ignored() {
        assert_eq!(get("operation=GetCACaps&message=default"), Ok(Operation::GetCaCaps));
        assert_eq!(get("message=&operation=GetCACert"), Ok(Operation::GetCaCert));
        assert_eq!(get("operation=getcacaps"), Ok(Operation::GetCaCaps));
    }

    #[test]
    fn unknown_operations_and_methods_have_their_own_status() {
        assert_eq!(get("operation=Enroll").unwrap_err().response().status, 404);
        assert_eq!(get("").unwrap_err().response().status, 404);
        assert_eq!(operation(Request::new(Method::from_name("PUT"), "operation=GetCACaps", vec![]), 9).unwrap_err().response().status, 405);
        assert_eq!(operation(Request::post("operation=PKIOperation", vec![]), 9).unwrap_err().response().status, 400);
    }

    #[test]
    fn pki_operation_is_told_before_the_body_is_read_however_it_is_spelt() {
        let is = |method, query: &str| Request::new(method, query, vec![]).is_pki_operation();
        for query in ["operation=PKIOperation", "Operation=pkioperation&operation=GetCACaps", "x=1&operation=%50KI%4fperation&message=A"] {
            assert!(is(Method::Get, query) && is(Method::Post, query), "{query}");
            assert!(!is(Method::Other, query), "{query}");
        }
        for query in ["", "operation=GetCACert", "operation=GetCACaps&operation=PKIOperation", "message=operation%3DPKIOperation"] {
            assert!(!is(Method::Post, query), "{query}");
        }
    }

    #[test]
    fn too_long_messages_are_refused_before_and_after_decoding() {
        assert_eq!(operation(Request::post("operation=PKIOperation", vec![0; 65]), 64).unwrap_err().response().status, 413);
        assert_eq!(
            operation(Request::get(format!("operation=PKIOperation&message={}", "A".repeat(88))), 64).unwrap_err().response().status,
            413
        );
        assert_eq!(
            operation(Request::get(format!("operation=PKIOperation&message={}", "A".repeat(8_000))), 64).unwrap_err().response().status,
            413
        );
    }

    #[test]
    fn debug_of_a_request_does_not_show_its_message() {
        assert!(!format!("{:?}", Request::get("operation=PKIOperation&message=AAAA")).contains("AAAA"));
    }
}
