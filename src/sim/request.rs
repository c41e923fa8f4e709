//! What a handler reads of a request.

use serde_json::{Map, Value};

use super::encoding::{form, percent_decoded};
use super::reply;
use crate::adapters::http::{HttpMethod, HttpRequest, HttpResponse};
use crate::secret::SecretBytes;

/// A request with its URL taken apart.
pub(super) struct Ask<'a> {
    pub(super) request: &'a HttpRequest,
    /// The host, without port, in lower case.
    pub(super) host: String,
    /// The segments of the path, decoded; empty ones are left out, since bases may end in `/`.
    pub(super) path: Vec<String>,
    /// Names and values of the query, decoded.
    pub(super) query: Vec<(String, String)>,
}

impl<'a> Ask<'a> {
    /// Takes a request apart.
    ///
    /// # Errors
    /// The answer to a URL that cannot be read.
    pub(super) fn read(request: &'a HttpRequest) -> Result<Self, HttpResponse> {
        let malformed = || reply::text(400, "the URL cannot be read");
        let after = request.url.split_once("://").map(|(_, after)| after).ok_or_else(malformed)?;
        let end = after.find(['/', '?', '#']).unwrap_or(after.len());
        let (authority, rest) = after.split_at_checked(end).ok_or_else(malformed)?;
        let rest = rest.split('#').next().unwrap_or_default();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        let path = segments.map(|segment| percent_decoded(segment, false)).collect::<Option<_>>().ok_or_else(malformed)?;
        Ok(Self { request, host: host_of(authority), path, query: form(query).ok_or_else(malformed)? })
    }

    pub(super) fn method(&self) -> HttpMethod {
        self.request.method
    }

    pub(super) fn segments(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.request.header(name)
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn body(&self) -> &[u8] {
        self.request.body.as_ref().map_or(&[], SecretBytes::secret_bytes)
    }

    /// The bearer token.
    pub(super) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    }

    pub(super) fn media_type(&self) -> String {
        self.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }
}

/// The host of an authority: without user, port and brackets.
pub(super) fn host_of(authority: &str) -> String {
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    host.to_ascii_lowercase()
}

/// A member by name, in any case: the services are .NET, and Microsoft's C# client writes both forms.
pub(super) fn member<'v>(object: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    object.get(name).or_else(|| object.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

/// A copy, for a request that is handled twice or later.
pub(super) fn copy(request: &HttpRequest) -> HttpRequest {
    HttpRequest {
        method: request.method,
        url: request.url.clone(),
        headers: request.headers.iter().map(|(name, value)| (name.clone(), SecretBytes::copy_from(value.secret_bytes()))).collect(),
        body: request.body.as_ref().map(|body| SecretBytes::copy_from(body.secret_bytes())),
        timeout: request.timeout,
        max_answer: request.max_answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_empty_segments_are_left_out() {
        let request = HttpRequest::new(HttpMethod::Get, "https://Sim.example:8443//v1.0/a%3Db/?$filter=a+eq+'o''hara'&x=%2B#top");
        let ask = Ask::read(&request).unwrap();
        assert_eq!((ask.host.as_str(), ask.segments()), ("sim.example", vec!["v1.0", "a=b"]));
        assert_eq!((ask.query("$filter"), ask.query("x")), (Some("a eq 'o''hara'"), Some("+")));
        assert_eq!(host_of("user@[::1]:80"), "::1");
        assert!(Ask::read(&HttpRequest::new(HttpMethod::Get, "/v1.0")).is_err());
    }
}
