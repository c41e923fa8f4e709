//! One call: its headers, its token, and the one repetition with a new token.

use std::sync::Arc;

use super::answer::refused;
use super::config::{Checked, QueueAuthentication};
use super::wire::{Operation, REQUEST_ID, REQUEST_TIMESTAMP, write_time};
use crate::adapters::entra::AccessToken;
use crate::adapters::http::{HttpErrorKind, HttpRequest, HttpResponse, HttpTransport, guid};
use crate::crypto::CryptoProvider;
use crate::ports::{PortError, Runtime};
use crate::secret::SecretBytes;

/// Other answers than batches are small.
pub(super) const SMALL_ANSWER: usize = 4 << 20;

/// What makes calls.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) settings: Checked,
    pub(super) transport: Arc<dyn HttpTransport>,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) provider: CryptoProvider,
}

/// Why a call has no answer that can be read.
#[derive(Debug)]
pub(super) struct CallError {
    pub(super) error: PortError,
    /// The queue finds the call too large.
    pub(super) call_too_large: bool,
    /// The answer is larger than was allowed.
    pub(super) answer_too_large: bool,
}

impl From<PortError> for CallError {
    fn from(error: PortError) -> Self {
        Self { error, call_too_large: false, answer_too_large: false }
    }
}

impl From<CallError> for PortError {
    fn from(error: CallError) -> Self {
        error.error
    }
}

impl Caller {
    /// Calls; a token that is refused is dropped, and another one tried once.
    pub(super) async fn call(
        &self,
        operation: Operation,
        body: Option<&SecretBytes>,
        max_answer: usize,
    ) -> Result<HttpResponse, CallError> {
        let token = self.token().await?;
        let response = self.send(operation, body, token.as_deref(), max_answer).await;
        let Some(token) = token else { return response.map_err(|(error, _)| error) };
        match response {
            Err((_, Some(401 | 403))) => {
                self.drop_token(&token);
                let next = self.token().await?;
                match next {
                    // A source that has no other: its refusal stands.
                    Some(next) if next.secret_str() == token.secret_str() => response.map_err(|(error, _)| error),
                    next => {
                        let again = self.send(operation, body, next.as_deref(), max_answer).await;
                        if let (Err((_, Some(401 | 403))), Some(next)) = (&again, &next) {
                            self.drop_token(next);
                        }
                        again.map_err(|(error, _)| error)
                    }
                }
            }
            response => response.map_err(|(error, _)| error),
        }
    }

    async fn token(&self) -> Result<Option<Arc<AccessToken>>, PortError> {
        match &self.settings.config.authentication {
            QueueAuthentication::Bearer { source, scope } => source.token(scope, self.settings.config.timeout).await.map(Some),
            QueueAuthentication::MutualTls => Ok(None),
        }
    }

    fn drop_token(&self, token: &AccessToken) {
        if let QueueAuthentication::Bearer { source, scope } = &self.settings.config.authentication {
            source.refused(scope, token);
        }
    }

    /// One HTTP call, with an id of its own; the error comes with the status where there was an answer.
    async fn send(
        &self,
        operation: Operation,
        body: Option<&SecretBytes>,
        token: Option<&AccessToken>,
        max_answer: usize,
    ) -> Result<HttpResponse, (CallError, Option<u16>)> {
        let asked = self.runtime.now();
        let id = guid(&self.provider).map_err(|error| (error.into(), None))?;
        let mut request = HttpRequest::new(operation.method(), self.settings.url(operation))
            .with_timeout(self.settings.config.timeout)
            .with_max_answer(max_answer)
            .with_header("Accept", "application/json")
            .with_header(REQUEST_ID, id)
            .with_header(REQUEST_TIMESTAMP, write_time(asked));
        if let Some(token) = token {
            request = request.with_bearer(token.secret_str());
        }
        if let Some(body) = body {
            request = request.with_body("application/json", SecretBytes::copy_from(body.secret_bytes()));
        }
        let response = self.transport.send(request).await.map_err(|error| {
            let answer_too_large = error.kind() == HttpErrorKind::TooLarge;
            (CallError { error: error.into(), call_too_large: false, answer_too_large }, None)
        })?;
        if response.status == 200 {
            return Ok(response);
        }
        let call_too_large = response.status == 413;
        let error = refused(operation, &response, asked, self.runtime.now());
        Err((CallError { error, call_too_large, answer_too_large: false }, Some(response.status)))
    }
}
