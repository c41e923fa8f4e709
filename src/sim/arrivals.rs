//! What arrived, request by request, for whoever compares clients.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::endpoint::Endpoint;
use crate::adapters::http::{HttpMethod, HttpRequest};
use crate::secret::SecretBytes;
use crate::time::Timestamp;

/// Most requests that are remembered; the oldest are forgotten first.
const MOST: usize = 10_000;
/// Most bytes of their bodies.
const MOST_BYTES: usize = 64 << 20;

/// One request as it came.
///
/// The value of `Authorization` is left out. A body is kept only when the simulator was told to record bodies: it holds challenges and secrets.
#[derive(Debug)]
#[non_exhaustive]
pub struct Arrival {
    /// When.
    pub at: Timestamp,
    /// For which endpoint.
    pub endpoint: Endpoint,
    /// The method.
    pub method: HttpMethod,
    /// The URL.
    pub url: String,
    /// Names and values. Names are as they were sent in process, and in lower case when they came to the server.
    pub headers: Vec<(String, String)>,
    /// The body, when bodies are recorded.
    pub body: Option<SecretBytes>,
}

impl Arrival {
    fn of(endpoint: Endpoint, request: &HttpRequest, at: Timestamp, bodies: bool) -> Self {
        let shown = |(name, value): &(String, SecretBytes)| {
            let hidden = ["authorization", "proxy-authorization", "cookie", super::control::KEY_HEADER];
            let value = match hidden.iter().any(|hidden| name.eq_ignore_ascii_case(hidden)) {
                true => "(hidden)".to_owned(),
                false => String::from_utf8_lossy(value.secret_bytes()).into_owned(),
            };
            (name.clone(), value)
        };
        let body = request.body.as_ref().filter(|_| bodies).map(|body| SecretBytes::copy_from(body.secret_bytes()));
        let headers = request.headers.iter().map(shown).collect();
        Self { at, endpoint, method: request.method, url: request.url.clone(), headers, body }
    }

    fn copy(&self) -> Self {
        let body = self.body.as_ref().map(|body| SecretBytes::copy_from(body.secret_bytes()));
        Self { at: self.at, endpoint: self.endpoint, method: self.method, url: self.url.clone(), headers: self.headers.clone(), body }
    }

    pub(super) fn to_json(&self) -> Value {
        let body = self.body.as_ref().map(|body| String::from_utf8_lossy(body.secret_bytes()).into_owned());
        json!({
            "at": self.at.to_string(), "endpoint": self.endpoint, "method": self.method.as_str(), "url": self.url,
            "headers": self.headers, "body": body,
        })
    }
}

#[derive(Debug, Default)]
pub(super) struct Arrivals {
    kept: VecDeque<Arrival>,
    bytes: usize,
}

impl Arrivals {
    pub(super) fn add(&mut self, endpoint: Endpoint, request: &HttpRequest, at: Timestamp, bodies: bool) {
        let arrival = Arrival::of(endpoint, request, at, bodies);
        self.bytes += size(&arrival);
        self.kept.push_back(arrival);
        while self.kept.len() > MOST || self.bytes > MOST_BYTES {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes -= size(&oldest);
        }
    }

    pub(super) fn all(&self) -> Vec<Arrival> {
        self.kept.iter().map(Arrival::copy).collect()
    }
}

fn size(arrival: &Arrival) -> usize {
    let headers: usize = arrival.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    arrival.url.len() + headers + arrival.body.as_ref().map_or(0, SecretBytes::len)
}
