//! A request and its answer, without any HTTP library's types.

use core::fmt::{self, Debug};
use core::time::Duration;

use crate::secret::SecretBytes;

/// A method that the services behind this crate know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HttpMethod {
    /// GET
    Get,
    /// POST
    Post,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
}

impl HttpMethod {
    /// The method's token.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

impl fmt::Display for HttpMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One request.
///
/// `Debug` hides header values and body: tokens and challenges are among them.
#[non_exhaustive]
pub struct HttpRequest {
    /// What is done.
    pub method: HttpMethod,
    /// The absolute URL.
    pub url: String,
    /// Names as they are sent, and values; order is kept.
    pub headers: Vec<(String, SecretBytes)>,
    /// The body; absent for none.
    pub body: Option<SecretBytes>,
    /// The longest time from the start of the connection to the last byte of the answer.
    pub timeout: Duration,
    /// The longest body that an answer may have, in bytes.
    pub max_answer: usize,
}

impl HttpRequest {
    /// The default of `timeout`.
    pub const TIMEOUT: Duration = Duration::from_secs(60);
    /// The default of `max_answer`, in bytes.
    pub const MAX_ANSWER: usize = 4 << 20;

    /// A request without headers and body, with the default bounds.
    #[must_use]
    pub fn new(method: HttpMethod, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: Vec::new(), body: None, timeout: Self::TIMEOUT, max_answer: Self::MAX_ANSWER }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl AsRef<str>) -> Self {
        self.headers.push((name.into(), SecretBytes::copy_from(value.as_ref().as_bytes())));
        self
    }

    /// Adds `Authorization: Bearer`.
    #[must_use]
    pub fn with_bearer(mut self, token: &str) -> Self {
        const SCHEME: &[u8] = b"Bearer ";
        let mut value = SecretBytes::zeroed(SCHEME.len() + token.len());
        let (scheme, rest) = value.secret_bytes_mut().split_at_mut(SCHEME.len());
        scheme.copy_from_slice(SCHEME);
        rest.copy_from_slice(token.as_bytes());
        self.headers.push(("Authorization".to_owned(), value));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, content_type: &str, body: SecretBytes) -> Self {
        self.body = Some(body);
        self.with_header("Content-Type", content_type)
    }

    /// Sets the longest time for all of it.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the longest body of an answer, in bytes.
    #[must_use]
    pub fn with_max_answer(mut self, bytes: usize) -> Self {
        self.max_answer = bytes;
        self
    }

    /// The value of the first header of that name, in any case, when it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name))?;
        core::str::from_utf8(value.secret_bytes()).ok()
    }
}

impl Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A query may hold what a user typed; path and host are enough to tell requests apart.
        f.debug_struct("HttpRequest")
            .field("method", &self.method)
            .field("url", &self.url.split('?').next().unwrap_or_default())
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("body", &self.body.as_ref().map(SecretBytes::len))
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The answer, whatever its status.
///
/// `Debug` hides the body.
#[non_exhaustive]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body, whole.
    pub body: SecretBytes,
}

impl HttpResponse {
    /// An answer without headers.
    #[must_use]
    pub fn new(status: u16, body: impl Into<SecretBytes>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// The value of the first header of that name; give the name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

impl Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponse")
            .field("status", &self.status)
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("body", &format_args!("({} bytes)", self.body.len()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_shown_has_a_token_or_a_body() {
        let request = HttpRequest::new(HttpMethod::Post, "https://a.example/b?name=hunter2")
            .with_bearer("hunter2")
            .with_body("text/plain", SecretBytes::copy_from(b"hunter2"));
        let response = HttpResponse::new(200, b"hunter2".to_vec()).with_header("Set-Cookie", "hunter2");
        let shown = format!("{request:?} {response:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("https://a.example/b") && shown.contains("set-cookie"), "{shown}");
        assert_eq!(request.header("authorization"), Some("Bearer hunter2"));
    }
}
