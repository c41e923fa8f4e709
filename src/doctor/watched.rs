//! The transport that the doctor's calls go through: it lets reading through alone, and looks at the dates of answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use url::Url;

use super::clock::{Skew, skew};
use crate::adapters::http::{HttpError, HttpErrorKind, HttpMethod, HttpRequest, HttpResponse, HttpTransport};
use crate::ports::Runtime;

/// Nothing but GET passes: no download of revocation requests, no upload, no validation.
#[derive(Debug)]
pub(super) struct Watched {
    inner: Arc<dyn HttpTransport>,
    runtime: Arc<dyn Runtime>,
    skews: Mutex<BTreeMap<String, Skew>>,
}

impl Watched {
    pub(super) fn new(inner: Arc<dyn HttpTransport>, runtime: Arc<dyn Runtime>) -> Self {
        Self { inner, runtime, skews: Mutex::default() }
    }

    /// The least skew of each host: a slow way or a cache makes it look larger, nothing makes it look smaller.
    pub(super) fn skews(&self) -> BTreeMap<String, Skew> {
        self.skews.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, url: &str, skew: Skew) {
        let Some(host) = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)) else { return };
        let mut skews = self.skews.lock().unwrap_or_else(PoisonError::into_inner);
        let least = skews.entry(host).or_insert(skew);
        if skew.by() < least.by() {
            *least = skew;
        }
    }
}

#[async_trait]
impl HttpTransport for Watched {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if request.method != HttpMethod::Get {
            return Err(HttpError::new(HttpErrorKind::Request, "the doctor reads, and sends nothing else"));
        }
        let (url, sent) = (request.url.clone(), self.runtime.now());
        let answer = self.inner.send(request).await?;
        let received = self.runtime.now();
        if let Some(skew) = answer.header("date").and_then(|date| skew(date, answer.header("age"), sent, received)) {
            self.note(&url, skew);
        }
        Ok(answer)
    }
}
